// The stores that the page is shown: each kind that there is, and hostile ones.

import { randomUUID } from 'node:crypto';
import { appendFileSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { ROOT, png } from './world.js';

/** What `curl` would make: 120 transactions on days that are known, of texts and, the newest, of other kinds. */
async function byCurl(world) {
    const user = randomUUID();
    const came = [];
    let parent = ROOT;
    for (let day = 0; day < 120; day += 1) {
        const chunks = [`day ${day}: bought milk, eggs and bread\n`.repeat((day % 7) + 1)];
        if (day === 117) chunks.push(JSON.stringify({ list: ['milk', { eggs: 6 }], done: false }));
        if (day === 118) chunks.push(png());
        if (day === 119) chunks.push(Buffer.from(Array.from({ length: 300 }, (_, at) => at % 256)));
        parent = await world.commit(user, parent, ...chunks);
        // From the first of July on, one or two a day, an hour past midnight.
        const time = Date.UTC(2026, 6, 1, 1) / 1000 + Math.floor(day / 1.7) * 86_400;
        utimesSync(join(world.data, 'users', user, 'transactions', parent.slice(0, 2), `${parent}.json`), time, time);
        came.push({ date: new Date(time * 1000).toISOString().slice(0, 10), bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0) });
    }
    return { user, came };
}

const TASKS = `
import sys, uuid, taskchampion
server, client, folder = sys.argv[1:]
replica = taskchampion.Replica.new_on_disk(folder, True)
for description in ("buy milk", "buy eggs"):
    operations = taskchampion.Operations()
    task = replica.create_task(str(uuid.uuid4()), operations)
    task.set_description(description, operations)
    task.set_status(taskchampion.Status.Pending, operations)
    replica.commit_operations(operations)
    replica.sync_to_remote(server, client, "correct horse battery staple", False)
`;

/** What Taskwarrior's library makes, where scripts/taskchampion-py-test has put it; `undefined` elsewhere. */
async function byTaskwarrior(world) {
    const user = randomUUID();
    const there = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'mentat-sync-tools/taskchampion-py');
    try {
        for (const version of readdirSync(there)) {
            await world.execute(join(there, version, 'bin/python3'), ['-c', TASKS, world.address, user, join(world.folder, 'tasks')]);
        }
        return user;
    } catch (error) {
        if (error.code !== 'ENOENT') throw error;
        const line = 'skipped: the page: a store of Taskwarrior’s own library: scripts/taskchampion-py-test has not put it here';
        console.log(line);
        if (process.env.MENTAT_SYNC_SKIPPED) appendFileSync(process.env.MENTAT_SYNC_SKIPPED, `${line}\n`);
        return undefined;
    }
}

/** The same by the requests that the library makes, of bytes that are known. */
async function byItsRequests(world) {
    const user = randomUUID();
    let version = ROOT;
    for (const text of ['opaque \u0001\u0002\u00ff', 'more \u0000']) {
        const headers = { 'X-Client-Id': user, 'Content-Type': 'application/vnd.taskchampion.history-segment' };
        const answer = await fetch(`${world.address}/v1/client/add-version/${version}`, { method: 'POST', headers, body: Buffer.from(text, 'latin1') });
        if (!answer.ok) throw new Error(`add-version: ${answer.status}`);
        version = answer.headers.get('x-version-id');
    }
    return user;
}

export const PAGE = '<!doctype html><script>alert(3)</script><img src=x onerror=alert(1)><script>alert(2)</script>';

/** What somebody makes who would have the page run it. */
async function byAnEnemy(world) {
    const user = randomUUID();
    const markup = '<img src=x onerror=alert(1)><script>alert(2)</script>';
    const picture = '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(4)"><script>alert(5)</script></svg>';
    const entry = { v: 1, app: 'journal', note: markup, files: [{ name: `../${markup}.html`, size: 4, chunks: [1] }] };
    const keys = { v: 1, app: 'journal', keys: [markup, 7, null, { length: 43 }] };
    const first = await world.commit(user, ROOT, PAGE, picture, 'alert(6)', '{"__proto__":{"x":1}}', '\x89PNG\r\n\x1a\nno picture');
    const second = await world.commit(user, first, JSON.stringify(keys));
    await world.commit(user, second, JSON.stringify(entry), PAGE);
    return user;
}

/** A device that the program made: a text and a picture, encrypted. */
async function byTheProgram(world, name) {
    await world.run(['init', name, '--server', world.address]);
    await world.run(['-C', name, 'commit', '-'], 'a secret line\n');
    writeFileSync(join(world.folder, 'photo.png'), png());
    await world.run(['-C', name, 'commit', 'photo.png', '--note', 'the garden']);
    await world.run(['-C', name, 'push']);
}

const inviteOf = async (world, name) => (await world.run(['-C', name, 'invite', '--force'])).match(/http\S+#ms1\S+/i)[0];

const userOf = (world, name) => JSON.parse(readFileSync(join(world.folder, name, '.mentat-sync/remote'), 'utf8')).user;

/**
 * A store of two `rekey`s. When the second came something was pending, and another device was quicker: so it was said again, under the
 * new key, before the entry that hands on the old ones.
 */
async function withNewKeys(world) {
    const desk = (args, input) => world.run(['-C', 'desk', ...args], input);
    const rekey = async () => {
        const { old, new: now } = JSON.parse(await desk(['rekey', '--force', '--json']));
        return () => world.run(['users', 'mv', '-', '-', '--data', world.data], `${old}\n${now}\n`);
    };
    await byTheProgram(world, 'desk');
    const old = await inviteOf(world, 'desk');
    await (await rekey())();
    await desk(['sync']);
    await desk(['commit', '-'], 'between the keys\n');
    await desk(['sync']);
    const between = await inviteOf(world, 'desk');
    writeFileSync(join(world.folder, 'invite'), `${between}\n`, { mode: 0o600 });
    await world.run(['clone', 'lost', '--invite-file', 'invite']);
    await desk(['commit', '-'], 'pending at the rekey\n');
    const move = await rekey();
    await world.run(['-C', 'lost', 'commit', '-'], 'quicker than the rekey\n');
    await world.run(['-C', 'lost', 'sync']);
    await move();
    await desk(['sync']);
    await desk(['commit', '-'], 'after both\n');
    await desk(['sync']);
    return { old, between, now: await inviteOf(world, 'desk') };
}

export async function makeStores(world) {
    const stores = { plain: await byCurl(world), taskwarrior: await byTaskwarrior(world), tasks: await byItsRequests(world), hostile: await byAnEnemy(world) };
    const [big, live] = [randomUUID(), randomUUID()];
    await world.commit(live, ROOT, 'first');
    world.million(big);
    await byTheProgram(world, 'journal');
    return { ...stores, big, live, journal: { invite: await inviteOf(world, 'journal'), user: userOf(world, 'journal') }, rekeyed: await withNewKeys(world) };
}
