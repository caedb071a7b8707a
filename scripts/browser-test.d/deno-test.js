// The module in Deno, driven: DENO names the program.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';

import { Identity, MemoryStorage, Replica } from '../../src/client/js/mentat-sync.js';
import { Seats } from './seats.js';
import { World } from './world.js';

const world = new World();
after(() => world.end());

test('in Deno a replica clones, loses a race, syncs and watches, with leave for its server alone', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const ours = await Replica.open(identity, { storage: new MemoryStorage() });
    await ours.commit(Seats.booking(1, 'driver'));
    await ours.sync();
    const { host } = new URL(box.url);
    const alone = new URL('deno-alone.js', import.meta.url).pathname;
    const leave = ['--no-prompt', `--allow-net=${host}`, `--allow-import=${host}`, '--no-config', '--no-lock', '--reload'];
    const args = ['run', ...leave, alone, box.url, await identity.invite()];
    const run = spawn(process.env.DENO ?? 'deno', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => run.once('exit', resolve));
    const lines = [];
    for await (const line of createInterface(/** @type {any} */ (run.stdout))) {
        lines.push(line);
        if (line !== 'waiting') continue;
        await ours.sync();
        await ours.commit(Seats.booking(4, 'driver'));
        await ours.sync();
    }
    assert.equal(await ended, 0);
    assert.deepEqual(lines, ['waiting', 'done']);
    await box.stop();
});
