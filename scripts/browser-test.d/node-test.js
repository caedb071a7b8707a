// The module in Node, over memory, against the real server, the program, and servers that lie, break off and forget.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';

import { Identity, Keyring, MemoryStorage, Replica, ROOT, Server, SyncError } from '../../src/client/js/mentat-sync.js';
import { Seats } from './seats.js';
import { checkStorage } from './storage.js';
import { World } from './world.js';

/** @typedef {import('../../src/client/js/mentat-sync.js').Entry} Entry */

const world = new World();
after(() => world.end());

const text = (/** @type {Uint8Array} */ bytes) => new TextDecoder().decode(bytes);

/** @param {Replica} replica @param {string} [from] */
async function bodies(replica, from) {
    const all = [];
    for await (const entry of replica.entries(from)) all.push(text(entry.body));
    return all;
}

/** A replica in memory, which can be opened again. @param {Identity} identity @param {object} [options] */
const device = (identity, options = {}) => Replica.open(identity, { storage: new MemoryStorage(), tries: 1, ...options });

/** Sees that it throws an error of this name, and gives it back. @param {string} name @param {() => Promise<unknown>} trial @returns {Promise<SyncError>} */
async function throwsNamed(name, trial) {
    try {
        await trial();
    } catch (error) {
        if (!(error instanceof SyncError)) throw error;
        assert.equal(error.name, name, error.message);
        return error;
    }
    throw new Error(`nothing is thrown, and should be ${name}`);
}

test('a replica in memory keeps the contract of a storage', async () => {
    await checkStorage(() => new MemoryStorage());
});

for (const plain of [false, true]) {
    const kind = plain ? 'plain' : 'encrypted';

    test(`two devices of a ${kind} store see the same, and the second to book a seat takes another`, async () => {
        const box = await world.box();
        const identity = Identity.generate(box.url, { plain });
        const [one, two] = [await device(identity), await device(await Identity.fromInvite(await identity.invite()))];
        const [ones, twos] = [new Seats(), new Seats()];
        await one.commit(Seats.booking(1, 'one'));
        const photo = Uint8Array.from({ length: 3_000_000 }, (_, at) => at % 253);
        const chunks = await two.put(photo);
        assert.equal(chunks.length, 3);
        const lost = await two.commit(Seats.booking(1, 'two'), chunks);
        await two.commit(Seats.booking(2, 'two'));
        assert.deepEqual(await one.sync(ones), { pulled: 0, pushed: 1, rebased: 0, dropped: 0, head: (await one.status()).tip });
        const raced = await two.sync(twos);
        assert.deepEqual([raced.pulled, raced.pushed, raced.rebased, raced.dropped], [1, 2, 2, 0]);
        await one.sync(ones);
        assert.deepEqual(ones.shown.taken, { 1: 'one', 2: 'two', 3: 'two' });
        assert.deepEqual(twos.shown, ones.shown);
        assert.deepEqual(twos.confirmed, ones.confirmed);
        assert.deepEqual(await bodies(one), await bodies(two));
        assert.equal((await two.status()).pending, 0);
        // The id that the commit gave is found though the entry has another now, and its file came along.
        const found = await two.entry(lost.id);
        assert.equal(text(found?.body ?? new Uint8Array()), Seats.booking(2, 'two'));
        const parts = await Promise.all((found?.chunks ?? []).map((chunk) => one.read(chunk)));
        assert.ok(Buffer.concat(parts).equals(photo));
        const nothing = await one.sync(ones);
        assert.deepEqual([nothing.pulled, nothing.pushed, nothing.rebased], [0, 0, 0]);
        await box.stop();
    });

    test(`the program and the module see one ${kind} store alike`, async () => {
        const box = await world.box();
        const place = world.place();
        await world.run(place, ['init', '.', '--server', box.url, '--device', 'desk', ...(plain ? ['--plain'] : [])]);
        writeFileSync(`${place}/photo.jpg`, Buffer.alloc(2_500_000, 'photo'));
        await world.run(place, ['commit', '-'], 'milk\n');
        await world.run(place, ['commit', 'photo.jpg', '--note', 'the garden']);
        await world.run(place, ['sync']);
        const invite = (await world.run(place, ['invite', '--force'])).trim();
        const identity = await Identity.fromInvite(invite);
        assert.equal(identity.plain, plain);
        const ours = await device(identity);
        assert.equal((await ours.sync()).pulled, 2);
        /** @type {Entry[]} */
        const entries = [];
        for await (const entry of ours.entries()) entries.push(entry);
        assert.equal(JSON.parse(text(entries[0].body)).text, 'milk\n');
        const [file] = JSON.parse(text(entries[1].body)).files;
        const parts = file.chunks.map((/** @type {number} */ place) => ours.read(entries[1].chunks[place - 1]));
        assert.ok(Buffer.concat(await Promise.all(parts)).equals(readFileSync(`${place}/photo.jpg`)));
        // The other way, with a race that the program loses.
        const journal = { v: 1, app: 'journal', by: 'page', at: '2026-11-28T09:12:04Z' };
        const chunks = await ours.put(Buffer.alloc(1_200_000, 'song'));
        const song = { name: 'song.ogg', size: 1_200_000, chunks: [1, 2] };
        await ours.commit(JSON.stringify({ ...journal, files: [song] }), chunks);
        const said = await ours.commit(JSON.stringify({ ...journal, text: 'eggs' }));
        await world.run(place, ['commit', '-'], 'bread');
        assert.equal((await ours.sync()).pushed, 2);
        await world.run(place, ['sync']);
        assert.equal(await world.run(place, ['cat', said.id]), 'eggs');
        const lines = (await world.run(place, ['follow', '--once'])).trim().split('\n').map((line) => JSON.parse(line));
        assert.deepEqual(lines.map((line) => line.text ?? line.files[0].name), ['milk\n', 'photo.jpg', 'song.ogg', 'eggs', 'bread']);
        const songId = lines[2].id;
        assert.equal(await world.run(place, ['cat', `${songId}:song.ogg`]), Buffer.alloc(1_200_000, 'song').toString());
        await ours.sync();
        assert.equal(JSON.parse((await bodies(ours)).at(-1) ?? '').text, 'bread');
        // A checkpoint of either is read by the other's kind.
        writeFileSync(`${place}/state`, 'the state');
        await world.run(place, ['commit', '--checkpoint', 'state']);
        const saved = await ours.savedState();
        assert.deepEqual(saved?.at, (await ours.status()).base);
        assert.equal(JSON.parse(text(saved?.body ?? new Uint8Array())).files[0].name, 'state');
        assert.equal(text(await ours.readThere(saved?.chunks[0] ?? '')), 'the state');
        await ours.commit('{"seat":1}');
        await ours.sync();
        const beside = await ours.put('beside');
        await ours.checkpoint('another state', beside);
        const fresh = await device(identity);
        const again = await fresh.savedState();
        assert.equal(text(again?.body ?? new Uint8Array()), 'another state');
        assert.equal(text(await fresh.readThere(again?.chunks[0] ?? '')), 'beside');
        // A new device of the program, and its own check of all that the module wrote.
        const cloned = await world.clone(invite);
        assert.equal((await world.run(cloned, ['cat', said.id])), 'eggs');
        assert.match(await world.run(cloned, ['fsck', '--data', '.mentat-sync/store', '--json']), /./);
        assert.match(await world.run(place, ['fsck', '--data', box.data, '--json']), /./);
        await box.stop();
    });

    test(`an answer that is lost leaves the entry of a ${kind} store said once`, async () => {
        const box = await world.box();
        const identity = Identity.generate(box.url, { plain });
        let lose = true;
        /** @type {typeof fetch} */
        const losing = async (input, init) => {
            const answer = await fetch(input, init);
            if (lose && init?.method === 'POST' && `${input}`.endsWith('/bundle')) throw new TypeError('the connection broke');
            return answer;
        };
        const [one, two] = [await device(identity, { fetch: losing }), await device(identity)];
        const ones = new Seats();
        await one.commit(Seats.booking(1, 'one'));
        const trouble = await throwsNamed('Offline', () => one.sync(ones));
        assert.ok(trouble.transient);
        // The application is shown what is pending all the same.
        assert.deepEqual(ones.shown.taken, { 1: 'one' });
        assert.deepEqual(ones.confirmed.taken, {});
        await two.sync();
        await two.commit(Seats.booking(2, 'two'));
        await two.sync();
        await one.commit(Seats.booking(3, 'one'));
        lose = false;
        const synced = await one.sync(ones);
        assert.deepEqual([synced.pulled, synced.pushed, synced.rebased], [1, 2, 1]);
        await two.sync();
        assert.deepEqual(await bodies(two), [Seats.booking(1, 'one'), Seats.booking(2, 'two'), Seats.booking(3, 'one')]);
        assert.deepEqual(ones.confirmed.taken, { 1: 'one', 2: 'two', 3: 'one' });
        await box.stop();
    });
}

/** @param {string} place */
const inviteOf = async (place) => Identity.fromInvite((await world.run(place, ['invite', '--force'])).trim());

/** Makes a new key on the program's device, and moves the store at the server. @param {import('./world.js').Box} box @param {string} place */
async function rekey(box, place) {
    const before = await inviteOf(place);
    await world.run(place, ['rekey', '--force']);
    const after = await inviteOf(place);
    await box.stop();
    await world.run(place, ['users', 'mv', '--data', box.data, before.user, after.user]);
    await box.start();
    return after;
}

/** What the entries of a journal say. @param {Replica} replica */
const journal = async (replica) => (await bodies(replica)).map((body) => JSON.parse(body).text ?? Object.keys(JSON.parse(body)).at(-1));

test('the old keys of a store are found after a rekey, all of them after two, and what was pending then comes before them', async () => {
    const box = await world.box();
    const place = world.place();
    await world.run(place, ['init', '.', '--server', box.url]);
    const before = await inviteOf(place);
    const other = await device(before);
    const said = ['one', 'two'];
    for (const word of said) {
        await world.run(place, ['commit', '-'], word);
        await world.run(place, ['sync']);
    }
    // The program has something pending that it must say again under the new key, since another device was quicker.
    await world.run(place, ['commit', '-'], 'pending');
    await other.sync();
    await other.commit(JSON.stringify({ v: 1, app: 'journal', by: 'page', at: '2026-11-28T09:12:04Z', text: 'quicker' }));
    await other.sync();
    const first = await rekey(box, place);
    await world.run(place, ['sync']);
    const storage = new MemoryStorage();
    const ours = await device(first, { storage });
    await ours.sync();
    assert.deepEqual(await journal(ours), ['one', 'two', 'quicker', 'pending', 'keys']);
    // Opened again, it has them still.
    assert.deepEqual(await journal(await device(first, { storage })), ['one', 'two', 'quicker', 'pending', 'keys']);
    await throwsNamed('NotThisReplica', () => device(before, { storage }));
    // Wherever an answer of the server ends, in the search for the keys.
    for (const most of [1, 2, 3, 4, 5]) {
        /** @type {typeof fetch} */
        const short = (input, init) => fetch(String(input).replace(/limit=\d+(?=&chunks=none)/, `limit=${most}`), init);
        const reader = await device(first, { fetch: short });
        await reader.sync();
        assert.deepEqual(await journal(reader), ['one', 'two', 'quicker', 'pending', 'keys'], `${most} in an answer`);
    }
    // And once more.
    const second = await rekey(box, place);
    await world.run(place, ['sync']);
    await world.run(place, ['commit', '-'], 'three');
    await world.run(place, ['sync']);
    const all = ['one', 'two', 'quicker', 'pending', 'keys', 'keys', 'three'];
    const kept = new MemoryStorage();
    const fresh = await device(second, { storage: kept });
    await fresh.sync();
    assert.deepEqual(await journal(fresh), all);
    assert.deepEqual(await journal(await device(second, { storage: kept })), all);
    await fresh.commit(JSON.stringify({ v: 1, app: 'journal', by: 'page', at: '2026-11-28T09:12:04Z', text: 'four' }));
    await fresh.sync();
    await world.run(place, ['sync']);
    assert.match(await world.run(place, ['follow', '--once']), /"four"/);
    // Whichever request is lost, also in the search for the keys: it ends a sync with that, not with another key, and the next one goes on.
    let lost = 0;
    for (let at = 1; at > 0; at += 1) {
        let count = 0;
        /** @type {typeof fetch} */
        const lossy = async (input, init) => {
            count += 1;
            if (count === at) throw new TypeError('the request was lost');
            return fetch(input, init);
        };
        const patient = await device(second, { fetch: lossy });
        const error = await patient.sync().then(() => undefined, (error) => error);
        if (count < at) break;
        lost += 1;
        assert.ok(error === undefined || error.name === 'Offline', `${at}: ${error}`);
        await patient.sync();
        assert.deepEqual(await journal(patient), [...all, 'four']);
    }
    assert.ok(lost > 6, `${lost}`);
    await box.stop();
});

test('a device whose store went to a new user and key is told that, is shown nothing else, and its words get there by import', async () => {
    for (const plain of [false, true]) {
        const box = await world.box();
        const place = world.place();
        await world.run(place, ['init', '.', '--server', box.url, ...(plain ? ['--plain'] : [])]);
        await world.run(place, ['commit', '-'], 'one');
        await world.run(place, ['sync']);
        const before = await inviteOf(place);
        const [old, young, lagging] = [await device(before), await device(before), await device(before)];
        await old.sync();
        const say = (/** @type {string} */ text) => JSON.stringify({ v: 1, app: 'journal', by: 'page', at: '2026-11-28T09:12:04Z', text });
        const file = new Uint8Array(1_300_000).map((_, at) => at % 241);
        await old.commit(say('not sent'), await old.put(file));
        await young.commit(say('never synced'));
        const after = await rekey(box, place);
        // Until the program has been there again, the old user has nothing.
        const gone = await throwsNamed('Diverged', () => old.sync());
        assert.deepEqual([gone.how, gone.ours, gone.transient], ['empty', 1, false]);
        await world.run(place, ['sync']);
        for (const [replica, ours] of /** @type {[Replica, number][]} */ ([[old, 1], [young, 0], [lagging, 0]])) {
            const seats = new Seats();
            seats.apply = (entry) => assert.doesNotMatch(text(entry.body), /moved/);
            const moved = await throwsNamed('Diverged', () => replica.sync(seats));
            assert.deepEqual([moved.how, moved.ours, moved.transient], ['moved', ours, false]);
            assert.match(moved.message, /this store has a new invite/);
            assert.equal((await replica.diverged())?.how, 'moved');
            await throwsNamed('Diverged', () => replica.seed());
            await throwsNamed('Diverged', () => replica.restore());
            assert.equal((await replica.status()).base.seq, ours);
        }
        // The way out: the new invite, and what was not sent.
        const fresh = await device(after);
        await fresh.sync();
        assert.deepEqual(await fresh.import(old), { said: 1, there: 0, dropped: 0 });
        assert.deepEqual(await fresh.import(old), { said: 0, there: 1, dropped: 0 });
        assert.deepEqual(await fresh.import(young), { said: 1, there: 0, dropped: 0 });
        await fresh.sync();
        await world.run(place, ['sync']);
        const lines = (await world.run(place, ['follow', '--once'])).trim().split('\n').map((line) => JSON.parse(line));
        assert.deepEqual(lines.map(({ text }) => text).filter((text) => text), ['one', 'not sent', 'never synced']);
        let found;
        for await (const entry of fresh.entries()) if (entry.chunks.length > 0) found = entry;
        const parts = await Promise.all((found?.chunks ?? []).map((chunk) => fresh.read(chunk)));
        assert.ok(Buffer.concat(parts).equals(file));
        await box.stop();
    }
});

test('after a fork what was lost is said again by import, once, and as the application wants it', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const [one, two] = [await device(identity), await device(identity)];
    const [ones, twos] = [new Seats(), new Seats()];
    await one.commit(Seats.booking(1, 'one'));
    await one.sync(ones);
    await two.sync(twos);
    await box.keep('one');
    await one.commit(Seats.booking(2, 'one'), await one.put('a letter'));
    await one.sync(ones);
    await two.sync(twos);
    await one.commit(Seats.booking(3, 'one'));
    await one.sync(ones);
    await one.commit(Seats.booking(4, 'pending'));
    // The server goes back; a third device, which saw nothing of it, goes on.
    await box.restore('one');
    const three = await device(identity);
    const threes = new Seats();
    await three.sync(threes);
    await three.commit(Seats.booking(2, 'three'));
    await three.sync(threes);
    for (const replica of [one, two]) assert.equal((await throwsNamed('Diverged', () => replica.sync())).how, 'fork');
    // Both of those who lost say it again; what both have comes once.
    /** @type {[Replica, object][]} */
    const lost = [
        [one, { said: 3, there: 0, dropped: 0 }],
        [two, { said: 0, there: 1, dropped: 0 }],
    ];
    for (const [old, imported] of lost) {
        const app = new Seats();
        const fresh = await device(identity);
        await fresh.sync(app);
        assert.deepEqual(await fresh.import(old, app), imported);
        assert.equal(await fresh.wait(50), imported === lost[0][1] ? 'committed' : 'time-is-up');
        await fresh.sync(app);
        assert.deepEqual(app.confirmed.taken, { 1: 'one', 2: 'three', 3: 'one', 4: 'one', 5: 'pending' });
        const [, , letter] = await bodies(fresh);
        assert.equal(letter, Seats.booking(3, 'one'));
    }
    const reader = await device(identity);
    await reader.sync();
    for await (const entry of reader.entries()) if (entry.seq === 3) assert.equal(text(await reader.read(entry.chunks[0])), 'a letter');
    // An application's error leaves what was said by then, and the next import goes on.
    const fresh = await device(identity, { tries: 1 });
    const broken = new Seats();
    let left = 1;
    broken.rebase = () => {
        left -= 1;
        if (left < 0) throw new TypeError('own');
        return 'drop';
    };
    await throwsNamed('App', () => fresh.import(one, broken));
    assert.deepEqual(await fresh.import(one), { said: 5 - 1, there: 0, dropped: 0 });
    await assert.rejects(() => fresh.import(/** @type {any} */ ({}), broken), TypeError);
    await box.stop();
});

test('another key is told as that, and nothing is taken', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const ours = await device(identity);
    await ours.commit('{"seat":1}');
    await ours.sync();
    const stranger = new Identity(box.url, identity.user, new Uint8Array(32));
    const theirs = await device(stranger);
    const error = await throwsNamed('WrongKey', () => theirs.sync());
    assert.equal(error.transient, false);
    assert.equal(error.theirKey, (await identity.keyring()).current?.id);
    assert.equal(error.ourKey, (await stranger.keyring()).current?.id);
    assert.deepEqual((await theirs.status()).base, { id: ROOT, seq: 0 });
    await box.stop();
});

test('a server that went back is told apart, and may be given back what it lacks', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const [one, two] = [await device(identity), await device(identity)];
    await one.commit('1');
    await one.sync();
    await two.sync();
    await box.keep('one');
    await one.commit('2');
    await one.commit('3');
    const { head } = await one.sync();
    await box.restore('one');
    const back = await throwsNamed('Diverged', () => one.sync());
    assert.deepEqual([back.how, back.common?.seq, back.ours, back.theirs, back.transient], ['rollback', 1, 2, 0, false]);
    await one.commit('4');
    assert.equal((await throwsNamed('Diverged', () => one.sync())).how, 'rollback');
    await throwsNamed('Diverged', () => one.seed());
    assert.equal(await one.restore(), 2);
    assert.equal(await one.restore(), 0);
    await one.sync();
    assert.deepEqual(await bodies(one), ['1', '2', '3', '4']);
    // Another device went on after the rollback.
    await box.restore('one');
    await two.commit('two');
    await two.sync();
    const fork = await throwsNamed('Diverged', () => one.sync());
    assert.deepEqual([fork.how, fork.common?.seq, fork.ours, fork.theirs], ['fork', 1, 3, 1]);
    await throwsNamed('Diverged', () => one.restore());
    // A new box.
    await box.restore();
    const empty = await throwsNamed('Diverged', () => one.sync());
    assert.deepEqual([empty.how, empty.ours], ['empty', 4]);
    assert.equal(await one.seed(), 4);
    assert.deepEqual(await one.diverged(), undefined);
    const fresh = await device(identity);
    await fresh.sync();
    assert.deepEqual(await bodies(fresh), ['1', '2', '3', '4']);
    assert.notEqual(head.id, (await fresh.status()).base.id);
    // Another store under the same user.
    await box.restore();
    const other = await device(new Identity(box.url, identity.user, null));
    await other.commit('other');
    await other.sync();
    assert.equal((await throwsNamed('Diverged', () => one.sync())).how, 'other-store');
    await box.stop();
});

test('a server that is full refuses, and what is pending stays', async () => {
    const box = await world.box('--max-user-bytes', '64KiB');
    const identity = Identity.generate(box.url);
    const ours = await device(identity);
    await ours.commit('1', await ours.put(new Uint8Array(200_000).map((_, at) => at * at)));
    const error = await throwsNamed('Refused', () => ours.sync());
    assert.deepEqual([error.status, error.code, error.transient], [507, 'quota-exceeded', false]);
    assert.equal((await ours.status()).pending, 1);
    box.flags = [];
    await box.restart();
    assert.equal((await ours.sync()).pushed, 1);
    await box.stop();
});

test('while the server is away what is said waits, and a wait tells when it is back', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const [one, two] = [await device(identity), await device(identity)];
    await one.commit('1');
    await one.sync();
    await box.stop();
    await one.commit('2');
    const error = await throwsNamed('Offline', () => one.sync());
    assert.ok(error.transient);
    assert.equal(await one.wait(300), 'time-is-up');
    const waiting = one.wait(60_000);
    await box.start();
    assert.equal(await waiting, 'back');
    assert.equal((await one.sync()).pushed, 1);
    // Somebody else moves HEAD; a commit is made here; nothing happens; nobody waits any more.
    const moved = one.wait(60_000);
    await two.sync();
    await two.commit('3');
    await two.sync();
    assert.equal(await moved, 'moved');
    await one.sync();
    const committed = one.wait(60_000);
    await one.commit('4');
    assert.equal(await committed, 'committed');
    assert.equal(await one.wait(60_000), 'committed', 'it was not synced since');
    await one.sync();
    assert.equal(await one.wait(1200), 'time-is-up');
    const ended = new AbortController();
    const given = one.wait(60_000, { signal: ended.signal });
    ended.abort();
    assert.equal(await given, 'time-is-up');
    await box.stop();
});

test('two tabs of one replica lose no commit, and each is shown what the other did', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const storage = new MemoryStorage();
    const [one, two] = [await device(identity, { storage }), await device(identity, { storage })];
    const say = async (/** @type {Replica} */ tab, /** @type {string} */ name) => {
        for (let at = 0; at < 20; at += 1) {
            await tab.commit(`${name} ${at}`);
            if (at % 5 === 0) await tab.sync();
        }
    };
    await Promise.all([say(one, 'one'), say(two, 'two'), say(one, 'three')]);
    await Promise.all([one.sync(), two.sync()]);
    const all = await bodies(one);
    assert.equal(new Set(all).size, 60);
    assert.equal(all.length, 60);
    for (const name of ['one', 'two', 'three']) {
        const own = all.filter((body) => body.startsWith(`${name} `));
        assert.deepEqual(own, Array.from({ length: 20 }, (_, at) => `${name} ${at}`));
    }
    await one.sync();
    const waiting = one.wait(30_000);
    await two.commit('more');
    assert.equal(await waiting, 'committed');
    await one.sync();
    await two.sync();
    const next = two.wait(30_000);
    await one.commit('again');
    await one.sync();
    // The other tab synced: this one is still to be shown it.
    assert.ok(['moved', 'committed'].includes(await next));
    await box.stop();
});

test('two devices that say the same say two things, and each keeps its own through a rebase', async () => {
    const box = await world.box();
    for (const plain of [false, true]) {
        const identity = Identity.generate(box.url, { plain });
        const storage = new MemoryStorage();
        const [one, two] = [await device(identity), await device(identity, { storage })];
        await one.commit('{"tick":1}');
        const { id } = await two.commit('{"tick":1}');
        const nonce = async () => {
            const [, [, transaction]] = [0, (await storage.range('p/', 'p0', 1))[0] ?? (await storage.range('t/', 't0', 9)).at(-1)];
            const [chunk] = await storage.get([`c/${transaction.chunks[0]}`]);
            const ring = await identity.keyring();
            return Buffer.from((await ring.openEntry(transaction.parent, transaction.seq, [], chunk)).nonce).toString('hex');
        };
        const before = await nonce();
        await one.sync();
        assert.equal((await two.sync()).rebased, 1);
        await one.sync();
        assert.equal((await bodies(one)).length, 2);
        assert.notEqual((await two.entry(id))?.id, id);
        assert.equal(await nonce(), before);
    }
    await box.stop();
});

/** What a server that lies makes of a bundle: its members, changed. @param {Identity} identity @param {(members: [string, Buffer][]) => [string, Buffer][]} change */
function lying(identity, change) {
    /** @type {typeof fetch} */
    const liar = async (input, init) => {
        const answer = await fetch(input, init);
        if (!`${input}`.includes('/bundle?') || !answer.ok) return answer;
        const members = change(untar(Buffer.from(await answer.arrayBuffer())));
        return new Response(tar(members), { status: 200, headers: { 'content-type': 'application/x-tar' } });
    };
    return liar;
}

/** @param {Buffer} bytes @returns {[string, Buffer][]} */
function untar(bytes) {
    /** @type {[string, Buffer][]} */
    const members = [];
    for (let at = 0; bytes[at] !== 0; ) {
        const name = bytes.subarray(at, at + 100).toString().replace(/\0.*$/s, '');
        const length = parseInt(bytes.subarray(at + 124, at + 135).toString(), 8);
        members.push([name, bytes.subarray(at + 512, at + 512 + length)]);
        at += 512 + 512 * Math.ceil(length / 512);
    }
    return members;
}

/** @param {[string, Buffer][]} members */
function tar(members) {
    const blocks = members.flatMap(([name, bytes]) => {
        const header = Buffer.alloc(512);
        header.write(`${name}`, 0);
        header.write('0000644\0', 100);
        header.write('0000000\x000000000\0', 108);
        header.write(`${bytes.length.toString(8).padStart(11, '0')}\x0000000000000\0`, 124);
        header.write('        0', 148);
        header.write('ustar\x0000', 257);
        const sum = header.reduce((sum, byte) => sum + byte, 0);
        header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
        return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
    });
    return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

test('a server that lies is told as that, and moves nothing', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const ours = await device(identity);
    await ours.commit('one', await ours.put('first'));
    await ours.commit('two', await ours.put('second'));
    await ours.commit('three', await ours.put('third'));
    await ours.sync();
    const isA = (/** @type {string} */ kind) => (/** @type {[string, Buffer]} */ [name]) => name.startsWith(kind);
    const flip = (/** @type {Buffer} */ bytes) => {
        const flipped = Buffer.from(bytes);
        flipped[flipped.length - 20] ^= 1;
        return flipped;
    };
    const edit = (/** @type {Buffer} */ bytes, /** @type {Record<string, unknown>} */ fields) =>
        Buffer.from(`${JSON.stringify({ ...JSON.parse(bytes.toString()), ...fields })}\n`);
    /** @param {[string, Buffer][]} members @param {number} place @param {(bytes: Buffer) => Buffer} change @returns {[string, Buffer][]} */
    const at = (members, place, change) => {
        const [name] = members.filter(isA('transactions/'))[place];
        return members.map(([other, bytes]) => [other, other === name ? change(bytes) : bytes]);
    };
    /** @type {[string, string, (members: [string, Buffer][]) => [string, Buffer][]][]} */
    const lies = [
        ['digest', 'a chunk has other bytes', (members) => members.map(([name, bytes], place) => [name, place === 0 ? flip(bytes) : bytes])],
        ['missing', 'a chunk is left out', (members) => members.filter((_, place) => place !== 1)],
        ['missing', 'an entry is left out', (members) => members.filter((_, place) => place !== 0)],
        ['order', 'a transaction is left out', (members) => members.filter(([name]) => name !== members.filter(isA('transactions/'))[0][0])],
        ['order', 'the first comes twice', (members) => members.flatMap((member, place) => (place === 2 ? [member, member] : [member]))],
        ['seq', 'a number is another', (members) => at(members, 1, (bytes) => edit(bytes, { seq: 7 }))],
        ['order', 'a parent is another', (members) => at(members, 1, (bytes) => edit(bytes, { parent: ROOT }))],
        ['id', 'a chunk is dropped from the list', (members) => at(members, 1, (bytes) => edit(bytes, { chunks: JSON.parse(bytes.toString()).chunks.slice(0, 1) }))],
        ['id', 'no chunk is named', (members) => at(members, 1, (bytes) => edit(bytes, { chunks: [] }))],
        ['garbage', 'an id is that of another', (members) => at(members, 1, (bytes) => edit(bytes, { id: '6ca788b6-d03c-88bb-bbfa-abc371b86e56' }))],
        ['garbage', 'HEAD is another', (members) => members.map(([name, bytes]) => [name, name === 'HEAD' ? Buffer.from(`${ROOT}\n`) : bytes])],
        ['garbage', 'HEAD is left out', (members) => members.filter(([name]) => name !== 'HEAD')],
        ['garbage', 'something follows HEAD', (members) => [...members, members[0]]],
        ['garbage', 'a file has a name that none has', (members) => [['../etc/passwd', Buffer.from('x')], ...members]],
        ['garbage', 'a transaction is no JSON', (members) => at(members, 0, () => Buffer.from('{'))],
        ['order', 'the order is another', (members) => [...members.slice(3, 6), ...members.slice(0, 3), ...members.slice(6)]],
    ];
    for (const [what, how, change] of lies) {
        const victim = await device(identity, { fetch: lying(identity, change) });
        const error = await throwsNamed('Forged', () => victim.sync());
        assert.equal(error.what, what, `${how}: ${error.message}`);
        assert.equal(error.transient, false);
        assert.deepEqual((await victim.status()).base, { id: ROOT, seq: 0 }, how);
    }
    // A transaction with a right id whose entry is of another place: what only who has the key can tell.
    const { transactionId } = await import('../../src/client/js/mentat-sync.js');
    for (const how of ['swapped', 'of the first']) {
        const members = untar(Buffer.from(await (await fetch(`${box.url}/0.1/${identity.user}/bundle`)).arrayBuffer()));
        const [first, second] = members.filter(isA('transactions/')).map(([, bytes]) => JSON.parse(bytes.toString()));
        const chunks = how === 'swapped' ? [...second.chunks].reverse() : [first.chunks[0], second.chunks[1]];
        const id = await transactionId(first.id, 2, chunks);
        const forgery = Buffer.from(`${JSON.stringify({ id, seq: 2, parent: first.id, chunks })}\n`);
        const change = (/** @type {[string, Buffer][]} */ all) => [
            ...all.slice(0, 5),
            /** @type {[string, Buffer]} */ ([`transactions/${id.slice(0, 2)}/${id}.json`, forgery]),
            /** @type {[string, Buffer]} */ (['HEAD', Buffer.from(`${id}\n`)]),
        ];
        const victim = await device(identity, { fetch: lying(identity, change) });
        const error = await throwsNamed('Forged', () => victim.sync());
        assert.equal(error.what, 'envelope', error.message);
    }
    await box.stop();
});

test('what came of a bundle that broke off is kept, and a large transaction comes by chunk', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const ours = await device(identity);
    for (let at = 0; at < 5; at += 1) await ours.commit(`${at}`);
    const large = new Uint8Array(5_000_000).map((_, at) => (at * at) >> 3);
    await ours.commit('large', await ours.put(large));
    await ours.sync();
    /** @type {string[]} */
    const asked = [];
    let left = 40;
    /** @type {typeof fetch} */
    const breaking = async (input, init) => {
        const answer = await fetch(input, init);
        const path = `${input}`.replace(/.*\/-\//, '').replace(/\?.*/, '');
        asked.push(path);
        if (!answer.ok || (path !== 'bundle' && path !== 'chunks/get') || left === 0) return answer;
        left -= 1;
        const whole = new Uint8Array(await answer.arrayBuffer());
        const most = path === 'bundle' ? 6000 : 1_100_000;
        if (whole.length <= most) return new Response(whole, { status: 200, headers: answer.headers });
        const cut = new ReadableStream({
            start(controller) {
                controller.enqueue(whole.subarray(0, most));
            },
            pull(controller) {
                controller.error(new TypeError('the connection broke'));
            },
        });
        return new Response(cut, { status: 200, headers: answer.headers });
    };
    const theirs = await device(identity, { fetch: breaking });
    const seen = [];
    for (;;) {
        try {
            await theirs.sync();
            break;
        } catch (error) {
            assert.ok(error instanceof SyncError && error.name === 'Offline', `${error}`);
            seen.push((await theirs.status()).base.seq);
            assert.ok(seen.length < 20, `${seen}`);
        }
    }
    assert.deepEqual((await bodies(theirs)).length, 6);
    assert.ok(asked.includes('chunks/get'), `${asked}`);
    assert.ok(left > 0, 'it came though everything broke off');
    let last;
    for await (const entry of theirs.entries()) last = entry;
    const parts = await Promise.all((last?.chunks ?? []).map((chunk) => theirs.read(chunk)));
    assert.ok(Buffer.concat(parts).equals(large));
    await box.stop();
});

test('errors of the application end a sync and lose nothing', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const [one, two] = [await device(identity), await device(identity)];
    await one.commit(Seats.booking(1, 'one'));
    await one.sync();
    await two.commit(Seats.booking(1, 'two'));
    const app = new Seats();
    const rebase = app.rebase;
    app.rebase = () => /** @type {any} */ (undefined);
    const error = await throwsNamed('App', () => two.sync(app));
    assert.ok(error.cause instanceof TypeError);
    assert.equal((await two.status()).pending, 1);
    app.rebase = rebase;
    assert.equal((await two.sync(app)).rebased, 1);
    assert.deepEqual(app.confirmed.taken, { 1: 'one', 2: 'two' });
    await throwsNamed('MissingChunks', () => two.commit('x', ['00'.repeat(32)]));
    await throwsNamed('MissingChunks', () => two.commit('x', ['nonsense']));
    await throwsNamed('TooLong', () => two.commit(new Uint8Array((1 << 20) + 1)));
    await throwsNamed('UnknownTransaction', async () => bodies(two, '6ca788b6-d03c-88bb-bbfa-abc371b86e56'));
    await throwsNamed('MissingChunks', () => two.read('00'.repeat(32)));
    await box.stop();
});

test('an address has the one spelling that the program gives it, and what is none is refused', async () => {
    const rust = readFileSync(new URL('../../src/client/url.rs', import.meta.url), 'utf8');
    const tests = rust.slice(rust.indexOf('mod tests'));
    const unquote = (/** @type {string} */ literal) => JSON.parse(literal.replaceAll('\\0', '\\u0000'));
    const pairs = [...tests.matchAll(/\(\s*("(?:[^"\\]|\\.)*"),\s*("(?:[^"\\]|\\.)*"),?\s*\)/g)];
    assert.ok(pairs.length >= 10);
    for (const [, written, read] of pairs) {
        assert.equal(new Identity(unquote(written), '67e55044-10b1-426f-9247-bb680e5fe0c8').server, unquote(read));
    }
    const refused = tests.slice(tests.indexOf('for bad in'), tests.indexOf('assert!(bad'));
    const bad = [...refused.matchAll(/"(?:[^"\\]|\\.)*"/g)];
    assert.ok(bad.length >= 40);
    for (const [literal] of bad) {
        await throwsNamed('BadInvite', async () => new Identity(unquote(literal), '67e55044-10b1-426f-9247-bb680e5fe0c8'));
    }
});

test('a look at a store without a copy of it: HEAD, the newest, each transaction, the root as well', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    const server = new Server(identity);
    assert.deepEqual(await server.transaction(ROOT), { id: ROOT, seq: 0, parent: null, chunks: [] });
    const ours = await device(identity);
    for (const word of ['one', 'two', 'three']) await ours.commit(word);
    const { head } = await ours.sync();
    const about = await server.about();
    assert.deepEqual([about.head, about.seq], [head.id, 3]);
    assert.ok(about.limits.chunk_bytes > 0 && about.features.includes('bundle'));
    const { transactions, seq, from } = await server.transactions({ last: 2 });
    assert.deepEqual([transactions.length, transactions[1], seq], [2, head.id, 1]);
    assert.equal((await server.transaction(transactions[0]))?.parent, from);
    assert.deepEqual((await server.transactions({ from, limit: 1 })).transactions, [transactions[0]]);
    assert.deepEqual(await server.chunk('00'.repeat(32)), undefined);
    assert.deepEqual(await server.missing(['00'.repeat(32)]), ['00'.repeat(32)]);
    await box.stop();
});

test('no error, no text and no address has the secrets', async () => {
    const box = await world.box();
    const identity = Identity.generate(box.url);
    /** @type {string[]} */
    const asked = [];
    const ours = await device(identity, { fetch: (/** @type {any} */ input, /** @type {any} */ init) => (asked.push(`${input}`), fetch(input, init)) });
    await ours.commit('x');
    await ours.sync();
    await box.stop();
    const error = await throwsNamed('Offline', () => ours.sync());
    const invite = await identity.invite();
    for (const said of [`${identity}`, JSON.stringify(identity), `${error.stack}`, `${new Server(identity)}`, ...asked]) {
        assert.ok(!said.includes(identity.user) && !said.includes(invite.slice(-20)), said);
    }
    assert.ok(asked.length > 0);
});

test('without Web Crypto the error says what is lacking', async () => {
    const real = Object.getOwnPropertyDescriptor(globalThis, 'crypto');
    Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true });
    try {
        const error = await throwsNamed('Unsupported', async () => Identity.generate('https://a.example'));
        assert.match(error.message, /Web Crypto/);
    } finally {
        Object.defineProperty(globalThis, 'crypto', real ?? {});
    }
    const identity = Identity.generate('https://a.example');
    assert.match((await throwsNamed('Unsupported', () => Replica.open(identity))).message, /IndexedDB/);
    assert.match((await throwsNamed('Unsupported', async () => new Server({ server: 'unix:/run/x', user: identity.user }))).message, /unix/);
});

test('devices with a bad network say each thing once, in one order', async () => {
    const box = await world.box();
    for (let seed = 1; seed <= Number(process.env.SEEDS ?? 6); seed += 1) {
        const identity = Identity.generate(box.url, { plain: seed % 3 === 0 });
        let dice = seed * 7919;
        const chance = (/** @type {number} */ part) => {
            dice = (dice * 1103515245 + 12345) % 2147483648;
            return (dice >> 8) % 100 < part;
        };
        let calm = false;
        /** @type {typeof fetch} */
        const bad = async (input, init) => {
            if (!calm && chance(15)) throw new TypeError('the request was lost');
            const answer = await fetch(input, init);
            if (!calm && chance(15)) {
                await answer.body?.cancel();
                throw new TypeError('the answer was lost');
            }
            return answer;
        };
        const stores = [new MemoryStorage(), new MemoryStorage(), new MemoryStorage()];
        const open = (/** @type {MemoryStorage} */ storage) => device(identity, { storage, fetch: bad });
        const devices = await Promise.all(stores.map(open));
        const said = [];
        for (let step = 0; step < 30; step += 1) {
            const who = step % 3;
            if (chance(60)) {
                said.push(`${who} ${step}`);
                await devices[who].commit(`${who} ${step}`);
            }
            try {
                // Two tabs, sometimes; and sometimes the page is closed and opened again.
                if (chance(10)) devices[who] = await open(stores[who]);
                const tabs = chance(20) ? [devices[who], await open(stores[who])] : [devices[who]];
                await Promise.all(tabs.map((tab) => tab.sync()));
            } catch (error) {
                assert.ok(error instanceof SyncError && error.transient, `seed ${seed}: ${error}`);
            }
        }
        calm = true;
        for (const one of [...devices, ...devices]) await one.sync();
        const [first, ...rest] = await Promise.all(devices.map((one) => bodies(one)));
        for (const other of rest) assert.deepEqual(other, first, `seed ${seed}`);
        assert.deepEqual([...first].sort(), [...said].sort(), `seed ${seed}`);
    }
    await box.stop();
});
