// The vectors in Node, and in Deno.
import { readFileSync } from 'node:fs';

import * as module from '../../src/client/js/mentat-sync.js';
import { checkVectors } from './vectors.js';

const vectors = JSON.parse(readFileSync(new URL('../../src/client/vectors.json', import.meta.url), 'utf8'));
const { Deno } = /** @type {any} */ (globalThis);
const where = Deno ? `Deno ${Deno.version.deno}` : `Node ${process.version}`;
const checks = await checkVectors(vectors, module);
console.log(`vectors: ${checks} checks of the module in ${where}: all as the file has it`);
