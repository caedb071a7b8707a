// The vectors in Node.
import { readFileSync } from 'node:fs';

import * as module from '../../src/client/js/mentat-sync.js';
import { checkVectors } from './vectors.js';

const vectors = JSON.parse(readFileSync(new URL('../../src/client/vectors.json', import.meta.url), 'utf8'));
const checks = await checkVectors(vectors, module);
console.log(`vectors: ${checks} checks of the module in Node ${process.version}: all as the file has it`);
