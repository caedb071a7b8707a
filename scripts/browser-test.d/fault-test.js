// The module, attacked: servers that answer anything at all, requests that are lost, storages that are full, clocks that jump. Every one
// ends with an error that has a name, shows nothing that is not true, and leaves all as it was: the next try gets it done.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Identity, MemoryStorage, Replica, ROOT, Server, SyncError } from '../../src/client/js/mentat-sync.js';
import { longHistory } from './long.js';
import { World } from './world.js';

const world = new World();
/** @type {import('./world.js').Box} */
let box;
before(async () => {
    box = await world.box();
});
after(() => world.end());

const text = (/** @type {Uint8Array} */ bytes) => new TextDecoder().decode(bytes);
const utf8 = (/** @type {string} */ said) => new TextEncoder().encode(said);

/** @param {Replica} replica */
async function bodies(replica) {
    const all = [];
    for await (const entry of replica.entries()) all.push(text(entry.body));
    return all;
}

/** @param {Identity} identity @param {typeof fetch} ours @param {import('../../src/client/js/mentat-sync.js').Storage} [storage] */
const device = (identity, ours = fetch, storage = new MemoryStorage()) => Replica.open(identity, { storage, tries: 1, fetch: ours });

/** The error of a piece of work, which must be one of the module's; none where it goes well. @param {() => Promise<unknown>} work @param {string} what @returns {Promise<SyncError | undefined>} */
async function errorOf(work, what) {
    try {
        await work();
        return undefined;
    } catch (error) {
        if (!(error instanceof SyncError)) throw new Error(`${what}: no error of the module`, { cause: error });
        assert.notEqual(error.name, 'App', what);
        assert.equal(typeof error.transient, 'boolean');
        return error;
    }
}

/** A store with some of everything. @param {Identity} identity */
async function fill(identity) {
    const ours = await device(identity);
    for (let at = 0; at < 4; at += 1) await ours.commit(`entry ${at}`, at === 2 ? await ours.put('a'.repeat(3000)) : []);
    await ours.sync();
    await ours.checkpoint('the state', await ours.put('beside'));
}

/** An answer, whole: it can be given again. @typedef {{ status: number, type: string, bytes: Uint8Array<ArrayBuffer> }} Whole */

/** @param {Response} answer @returns {Promise<Whole>} */
const wholeOf = async (answer) => ({
    status: answer.status,
    type: answer.headers.get('content-type') ?? '',
    bytes: new Uint8Array(await answer.arrayBuffer()),
});

/** @param {Whole} whole */
const answerOf = ({ status, type, bytes }) => {
    const empty = [204, 205, 304].includes(status);
    return new Response(empty ? null : bytes, { status, headers: type === '' ? {} : { 'content-type': type } });
};

/** @param {Whole} whole @param {number} at */
const flipped = (whole, at) => {
    const bytes = Uint8Array.from(whole.bytes);
    if (bytes.length > 0) bytes[Math.floor(at * (bytes.length - 1))] ^= 0x15;
    return answerOf({ ...whole, bytes });
};

/** @param {string} html @param {number} status */
const page = (html, status) => answerOf({ status, type: 'text/html', bytes: utf8(html) });
const problem = (/** @type {number} */ status, /** @type {unknown} */ body) =>
    answerOf({ status, type: 'application/problem+json', bytes: utf8(JSON.stringify(body)) });

/** A body that breaks off. @param {Whole} whole @param {number} part */
const broken = ({ status, type, bytes }, part) => {
    let left = true;
    const body = new ReadableStream({
        pull(controller) {
            if (!left) return controller.error(new TypeError('the connection broke'));
            left = false;
            return controller.enqueue(bytes.slice(0, Math.floor(bytes.length * part) + 1));
        },
    });
    return new Response(body, { status, headers: { 'content-type': type } });
};

const ID = '6ca788b6-d03c-88bb-bbfa-abc371b86e56';
/** @type {unknown[]} */
const SHAPES = [null, [], 7, 'x', {}, { head: 7 }, { head: ID }, { head: ID, seq: -1 }, { head: ID, seq: 9007199254740993 }, { head: ID, seq: 5 },
    { head: ROOT, seq: 0 }, { missing: [7, null] }, { missing: 'x' }, { transactions: 7 }, { transactions: [null], seq: 'x' }, { id: ID },
    { id: ID, seq: 1, parent: ROOT, chunks: [] }, { id: ID, seq: 1, parent: ROOT, chunks: [null] }, { transaction: ID, seq: 1, chunks: [] },
    { transaction: ID, seq: 1, chunks: ['00'.repeat(32)] }, { transaction: ID, seq: 1, chunks: ['../x'] }, { __proto__: null, constructor: 1 }];
const CODES = ['unknown-transaction', 'unknown-user', 'unknown-chunk', 'no-checkpoint', 'unknown-parent', 'missing-chunks', 'not-a-descendant',
    'quota-exceeded', 'busy', 'moving', 'constructor', '', 7, null];

/** What a server, a proxy, or whoever is between may make of an answer. @type {[string, (whole: Whole, other: Whole) => Response | Promise<Response>][]} */
const LIES = [
    ['a page', () => page('<!doctype html><title>Please log in</title>', 200)],
    ['a page that it is not there', () => page('<h1>404</h1>', 404)],
    ['a page of a gateway', () => page('<h1>502</h1>', 502)],
    ['a page of a gateway that is busy', () => new Response('busy', { status: 503, headers: { 'retry-after': '99999999' } })],
    ['a way elsewhere', () => new Response(null, { status: 302, headers: { location: 'https://elsewhere.example/' } })],
    ['a way elsewhere, for good', () => new Response('moved', { status: 308, headers: { location: 'https://elsewhere.example/' } })],
    ['nothing', () => new Response(null, { status: 204 })],
    ['that nothing changed', () => new Response(null, { status: 304 })],
    ['no body', (whole) => answerOf({ ...whole, bytes: new Uint8Array() })],
    ['no type', (whole) => answerOf({ ...whole, type: '' })],
    ['another status', (whole) => answerOf({ ...whole, status: 206 })],
    ['status 418', (whole) => answerOf({ ...whole, status: 418 })],
    ['status 500', (whole) => answerOf({ ...whole, status: 500 })],
    ['zeroes', (whole) => answerOf({ ...whole, bytes: new Uint8Array(3_000_000) })],
    ['noise', (whole) => answerOf({ ...whole, bytes: whole.bytes.map((_, at) => (at * at * 31) >> 3) })],
    ['another user\'s', (_, other) => answerOf(other)],
    ['it twice', (whole) => answerOf({ ...whole, bytes: Uint8Array.from([...whole.bytes, ...whole.bytes]) })],
    ['a byte more', (whole) => answerOf({ ...whole, bytes: Uint8Array.from([...whole.bytes, 7]) })],
    ...[0, 0.2, 0.5, 0.8, 0.999].flatMap((part) => /** @type {typeof LIES} */ ([
        [`a part, ${part}`, (whole) => answerOf({ ...whole, bytes: whole.bytes.slice(0, Math.floor(whole.bytes.length * part)) })],
        [`a part, ${part}, that breaks off`, (whole) => broken(whole, part)],
    ])),
    ...[0, 0.02, 0.1, 0.3, 0.45, 0.62, 0.77, 0.9, 1].map((at) => /** @type {LIES[0]} */ ([`a byte that is another, ${at}`, (whole) => flipped(whole, at)])),
    ...SHAPES.map((shape) => /** @type {LIES[0]} */ ([JSON.stringify(shape), (whole) => answerOf({ ...whole, bytes: utf8(JSON.stringify(shape)) })])),
    ...CODES.flatMap((code) => [404, 409, 507].map((status) => /** @type {LIES[0]} */ ([`${status} ${code}`, () => problem(status, { code, detail: 7, missing: [ID], head: ID, seq: 3 })]))),
    ['a problem that is none', () => problem(409, [])],
    ['a problem that is null', () => problem(404, null)],
];

test('whatever a server answers to whatever request, it is told by name, and nothing untrue is ever seen', async () => {
    const identity = Identity.generate(box.url);
    const stranger = Identity.generate(box.url);
    await Promise.all([fill(identity), fill(stranger)]);
    /** @type {Map<string, Promise<Whole>>} */
    const known = new Map();
    const ask = (/** @type {any} */ input, /** @type {any} */ init, /** @type {string} */ user) => {
        const path = `${init.method} ${`${input}`.replace(/.*\/-\//, '')} ${init.body ?? ''} ${user}`;
        const headers = { ...init.headers, Authorization: `Bearer ${user}` };
        if (!known.has(path)) known.set(path, fetch(input, { ...init, headers, signal: undefined }).then(wholeOf));
        return /** @type {Promise<Whole>} */ (known.get(path));
    };
    const truth = ['entry 0', 'entry 1', 'entry 2', 'entry 3'];
    let [trials, told, all] = [0, 0, 0];
    /** @type {Map<string, number>} */
    const names = new Map();
    /** The requests that are made only where bundles break off. @type {Set<number>} */
    const byChunk = new Set();
    /** Asks all that a replica asks for; with `cut`, over a network on which no bundle comes whole. @param {boolean} cut @param {number} at @param {LIES[0] | undefined} lie */
    const trial = async (cut, at, lie) => {
        let count = 0;
        /** @type {typeof fetch} */
        const lying = async (input, init) => {
            count += 1;
            const whole = await ask(input, init, identity.user);
            if (count === at && lie !== undefined) return lie[1](whole, await ask(input, init, stranger.user));
            const isCut = cut && /bundle.*limit=1000$/.test(`${input}`) && whole.bytes.length > 2048;
            if (/limit=1&|chunks\/get/.test(`${input}`)) byChunk.add(count);
            return isCut ? broken(whole, 0.35) : answerOf(whole);
        };
        const storage = new MemoryStorage();
        const ours = await device(identity, lying, storage);
        const what = `request ${at}${cut ? ' of those by chunk' : ''}: ${lie?.[0]}`;
        const steps = [() => ours.sync(), async () => {
            const state = await ours.savedState();
            if (state === undefined) return;
            assert.equal(text(state.body), 'the state', what);
            assert.equal(text(await ours.readThere(state.chunks[0])), 'beside', what);
        }, () => ours.diverged(), () => ours.wait(0), async () => {
            // As a look at a store asks.
            const server = new Server(identity, { tries: 1, fetch: lying });
            const { limits, features } = await server.about();
            assert.ok(limits.chunk_bytes > 0 && features.includes !== undefined, what);
            const { transactions, seq } = await server.transactions({ last: 2 });
            assert.ok(transactions.every((id) => id.length === 36) && Number.isSafeInteger(seq), what);
            const found = await server.transaction((await server.head()).id);
            assert.ok(found === undefined || found.chunks.every((id) => typeof id === 'string'), what);
        }];
        for (const step of steps) {
            const error = await errorOf(step, what);
            if (error === undefined) continue;
            told += 1;
            names.set(error.name, (names.get(error.name) ?? 0) + 1);
            const { base, pending } = await ours.status();
            assert.deepEqual(await bodies(ours), truth.slice(0, base.seq), what);
            assert.equal(pending, 0);
        }
        // An honest server gets it done.
        const again = await device(identity, async (input, init) => answerOf(await ask(input, init, identity.user)), storage);
        await again.sync();
        assert.deepEqual(await bodies(again), truth, what);
        trials += 1;
        return count;
    };
    for (const cut of [false, true]) {
        const requests = await trial(cut, 0, undefined);
        assert.equal(told, 0, 'an honest server is told nothing of');
        assert.ok(requests >= 6, `${requests}`);
        const asked = cut ? [...byChunk] : Array.from({ length: requests }, (_, at) => at + 1);
        assert.ok(asked.length >= 4, `${asked}`);
        for (const at of asked) for (const lie of LIES) await trial(cut, at, lie);
        console.log(`${asked.length} requests${cut ? ' by chunk' : ''}, ${LIES.length} answers to each: ${told} errors: ${[...names].join(' ')}`);
        [told, all] = [0, all + told];
    }
    console.log(`${trials} trials, ${all} errors of the module, none without a name`);
    assert.ok(trials > 900 && names.size >= 5, `${trials}`);
});

test('whichever request of a write is lost, refused or answered with rubbish, each thing is said once', async () => {
    /** @type {[string, (ask: () => Promise<Response>) => Promise<Response>][]} */
    const troubles = [
        ['lost before it came there', async () => { throw new TypeError('lost'); }],
        ['its answer lost', async (ask) => { await (await ask()).arrayBuffer(); throw new TypeError('lost'); }],
        ['its answer broken off', async (ask) => broken(await wholeOf(await ask()), 0.4)],
        ['answered with a page', async (ask) => (await (await ask()).arrayBuffer(), page('<title>Log in</title>', 200))],
        ['never sent, and answered with a page', async () => page('<title>Log in</title>', 200)],
        ['answered by a gateway', async (ask) => (await (await ask()).arrayBuffer(), page('502', 502))],
        ['answered with nothing', async (ask) => (await (await ask()).arrayBuffer(), new Response(null, { status: 204 }))],
        ['answered with {}', async (ask) => answerOf({ ...(await wholeOf(await ask())), bytes: utf8('{}') })],
        ['answered with another HEAD', async (ask) => answerOf({ ...(await wholeOf(await ask())), bytes: utf8(JSON.stringify({ head: ID, seq: 3 })) })],
        ['refused', async () => problem(409, { code: 'has-descendants', head: ID, seq: 9 })],
        ['refused for a parent', async () => problem(409, { code: 'unknown-parent' })],
        ['refused for chunks that nobody named', async () => problem(404, { code: 'missing-chunks', missing: ['00'.repeat(32)] })],
    ];
    let trials = 0;
    for (const [what, trouble] of troubles) {
        for (let at = 1; at > 0; at += 1) {
            trials += 1;
            const identity = Identity.generate(box.url);
            let count = 0;
            /** @type {typeof fetch} */
            const bad = async (input, init) => {
                count += 1;
                return count === at ? trouble(() => fetch(input, init)) : fetch(input, init);
            };
            const storage = new MemoryStorage();
            const [ours, rival] = [await device(identity, bad, storage), await device(identity)];
            await ours.commit('first');
            const file = new Uint8Array(90_000).map((_, place) => (place * place) >> 4);
            await ours.commit('second', await ours.put(file));
            await rival.commit('rival');
            await rival.sync();
            const told = `${what}, ${at}`;
            const error = await errorOf(() => ours.sync(), told);
            if (error !== undefined) {
                const here = (await bodies(ours)).filter((body) => body !== 'rival');
                assert.deepEqual(here, ['first', 'second'], told);
                await ours.sync();
            }
            await errorOf(() => ours.checkpoint('state'), told);
            const used = count;
            const fresh = await device(identity, fetch, storage);
            await fresh.sync();
            await rival.sync();
            assert.deepEqual(await bodies(rival), ['rival', 'first', 'second'], told);
            assert.deepEqual(await bodies(fresh), ['rival', 'first', 'second'], told);
            if (used < at) break;
        }
    }
    console.log(`${trials} writes with a request that went wrong`);
});

/** A storage that fails at one call: before it does anything, or when it has done it. */
class Faulty extends MemoryStorage {
    /** @param {MemoryStorage} inner @param {number} at @param {'before' | 'after' | 'read'} how */
    constructor(inner, at, how) {
        super();
        this.inner = inner;
        this.left = at;
        this.how = how;
    }

    /** @template T @param {boolean} counts @param {() => Promise<T>} work @returns {Promise<T>} */
    async trouble(counts, work) {
        if (counts) this.left -= 1;
        if (!counts || this.left !== 0) return work();
        if (this.how === 'after') await work();
        throw new SyncError(this.how === 'read' ? 'Damaged' : 'Full', 'for the test');
    }

    /** @param {string[]} keys */
    get(keys) {
        return this.trouble(this.how === 'read', () => this.inner.get(keys));
    }

    /** @param {string} from @param {string} to @param {number} limit */
    range(from, to, limit) {
        return this.trouble(this.how === 'read', () => this.inner.range(from, to, limit));
    }

    /** @param {[string, any][]} changes @param {number} [rev] */
    write(changes, rev) {
        return this.trouble(this.how !== 'read', () => this.inner.write(changes, rev));
    }

    /** @template T @param {() => Promise<T>} work @param {number} ms @returns {Promise<T>} */
    alone(work, ms) {
        return this.inner.alone(work, ms);
    }
}

test('whichever write or read of a storage fails, that is told by its name, and what was durable before stays', async () => {
    let failures = 0;
    for (const how of /** @type {const} */ (['before', 'after', 'read'])) {
        for (let at = 1; at > 0; at += 1) {
            const identity = Identity.generate(box.url);
            const [inner, rival] = [new MemoryStorage(), await device(identity)];
            const storage = new Faulty(inner, at, how);
            const what = `${how}, ${at}`;
            /** @type {string[]} */
            const said = [];
            let torn = false;
            /** Says it; where the storage failed, says it again unless it is here. @param {string} body @param {number} bytes */
            const say = async (body, bytes) => {
                for (;;) {
                    const error = await errorOf(async () => {
                        const ours = await Replica.open(identity, { storage, tries: 1 });
                        await ours.commit(body, bytes > 0 ? await ours.put(new Uint8Array(bytes).fill(7)) : []);
                    }, what);
                    torn ||= error !== undefined;
                    if (error !== undefined) assert.equal(error.name, how === 'read' ? 'Damaged' : 'Full', what);
                    const here = await Replica.open(identity, { storage: inner, tries: 1 });
                    if (error === undefined || (await bodies(here)).includes(body)) break;
                }
                said.push(body);
            };
            await say('one', 0);
            await say('two', 40_000);
            await rival.commit('rival');
            await rival.sync();
            const ours = await Replica.open(identity, { storage: inner, tries: 1 });
            const error = await errorOf(async () => {
                const faulty = await Replica.open(identity, { storage, tries: 1 });
                await faulty.sync();
                await faulty.status();
            }, what);
            torn ||= error !== undefined;
            const seen = await bodies(ours);
            for (const body of said) assert.ok(seen.includes(body), `${what}: ${body} is lost: ${seen}`);
            await ours.sync();
            await rival.sync();
            assert.deepEqual(await bodies(rival), ['rival', 'one', 'two'], what);
            assert.deepEqual(await bodies(ours), ['rival', 'one', 'two'], what);
            if (!torn) break;
            failures += 1;
        }
    }
    console.log(`${failures} calls of a storage that failed`);
    assert.ok(failures > 40, `${failures}`);
});

test('what is kept here and is not what it must be is told as damaged', async () => {
    const identity = Identity.generate(box.url);
    const storage = new MemoryStorage();
    const ours = await device(identity, fetch, storage);
    await ours.commit('one', await ours.put('a file'));
    await ours.sync();
    await ours.commit('two', await ours.put('another'));
    const keys = (await storage.range('', '~', Infinity)).map(([key]) => key);
    assert.ok(keys.length > 10);
    for (const key of keys) {
        for (const value of [undefined, null, 7, {}, { id: ID }, [], new Uint8Array(3), new Uint8Array(90), 'x']) {
            const [kept] = await storage.get([key]);
            await storage.write([[key, value]]);
            const steps = [() => Replica.open(identity, { storage, tries: 1 }), () => ours.status(), () => bodies(ours), () => ours.entry(ID), () => ours.diverged(),
                async () => {
                    for await (const { chunks } of ours.entries()) for (const chunk of chunks) await ours.read(chunk);
                }];
            for (const step of steps) {
                const error = await errorOf(step, `${key}: ${value}`);
                if (error !== undefined) assert.equal(error.transient, false, `${key}: ${value}: ${error}`);
            }
            await storage.write([[key, kept]]);
        }
    }
    assert.deepEqual(await bodies(ours), ['one', 'two']);
    assert.equal((await ours.sync()).pushed, 1);
});

test('an answer that never ends is given up', async () => {
    const identity = Identity.generate(box.url);
    const ours = await device(identity);
    await ours.commit('one');
    await ours.sync();
    const bundle = await wholeOf(await fetch(`${box.url}/0.1/${identity.user}/bundle`));
    let given = 0;
    /** @param {Uint8Array} first @param {string} type @returns {typeof fetch} */
    const endless = (first, type) => async () => {
        given = 0;
        const body = new ReadableStream({
            pull(controller) {
                controller.enqueue(given === 0 ? first : new Uint8Array(1 << 18));
                given += 1;
                if (given > 2000) controller.error(new Error('it takes all that comes'));
            },
        });
        return new Response(body, { status: 200, headers: { 'content-type': type } });
    };
    const tar = await device(identity, endless(bundle.bytes, bundle.type));
    assert.equal((await errorOf(() => tar.sync(), 'zeroes'))?.name, 'Forged');
    assert.ok(given < 20, `${given}`);
    const json = new Server(identity, { tries: 1, fetch: endless(utf8('{"head":"'), 'application/json') });
    assert.equal((await errorOf(() => json.head(), 'JSON'))?.name, 'Offline');
    assert.ok(given < 300, `${given}`);
});

test('a server that says where HEAD is and gives nothing out is asked less and less', async () => {
    const identity = Identity.generate(box.url);
    const [ours, other] = [await device(identity), await device(identity)];
    await other.commit('one');
    await other.sync();
    let asked = 0;
    const deaf = await device(identity, async (input, init) => {
        asked += 1;
        return `${input}`.includes('bundle') ? page('502', 502) : fetch(input, init);
    });
    const until = performance.now() + 3000;
    while (performance.now() < until) {
        await errorOf(() => deaf.sync(), 'deaf');
        await deaf.wait(Math.max(0, until - performance.now()));
    }
    assert.ok(asked < 60, `${asked} requests in three seconds`);
    assert.equal((await ours.sync()).pulled, 1);
});

test('clocks that jump harm nothing', async () => {
    const now = Date.now;
    let jump = 0;
    Date.now = () => now() + ((jump += 1) % 2 === 0 ? 4e11 : -4e11);
    try {
        const identity = Identity.generate(box.url);
        let count = 0;
        const ours = await device(identity, async (input, init) => {
            count += 1;
            const headers = { 'retry-after': new Date(now() + 500).toUTCString() };
            return count % 3 === 1 ? new Response('busy', { status: 503, headers }) : fetch(input, init);
        });
        for (let at = 0; at < 4; at += 1) await ours.commit(`${at}`);
        for (let tried = 0; (await ours.status()).pending > 0; tried += 1) {
            assert.ok(tried < 10);
            const error = await errorOf(() => ours.sync(), 'a clock');
            assert.ok(error === undefined || (error.name === 'Offline' && (error.retryAfter ?? 0) >= 0 && (error.retryAfter ?? 0) <= 3_600_000), `${error?.retryAfter}`);
        }
        assert.equal(await ours.wait(300), 'time-is-up');
    } finally {
        Date.now = now;
    }
});

/** A storage that keeps where the replica stands and the newest transactions, and lets go what is behind them. */
class Sieve extends MemoryStorage {
    /** @param {[string, any][]} changes @param {number} [rev] */
    async write(changes, rev) {
        const kept = changes.filter(([key]) => key === 'state' || key.startsWith('i/') || key.startsWith('t/')).slice(-9);
        return super.write(kept, rev);
    }
}

const LONG = Number(process.env.LONG ?? 10_000);

test(`a history of ${LONG} transactions comes in slices, in little memory, and stops nobody for long`, async () => {
    const identity = new Identity(box.url, '67e55044-10b1-426f-9247-bb680e5fe0c8', new Uint8Array(32).map((_, at) => at));
    const { head, answer } = await longHistory(new Uint8Array(32).map((_, at) => at), LONG);
    let requests = 0;
    const ours = await device(identity, async (input) => {
        requests += 1;
        const { status, type, body } = answer(`${input}`.replace(/.*\/-\//, ''));
        return new Response(body, { status, headers: { 'content-type': type } });
    }, new Sieve());
    const used = () => {
        /** @type {any} */ (globalThis).gc?.();
        const { heapUsed, arrayBuffers } = process.memoryUsage();
        return heapUsed + arrayBuffers;
    };
    const before = used();
    let [most, longest, at] = [0, 0, performance.now()];
    const look = setInterval(() => {
        longest = Math.max(longest, performance.now() - at);
        at = performance.now();
    }, 5);
    const sizes = setInterval(() => {
        most = Math.max(most, used() - before);
        at = performance.now();
    }, 500);
    const began = performance.now();
    const synced = await ours.sync({ position: () => head, apply: () => assert.fail('it has all of it'), rewind: () => undefined, rebase: () => 'keep' });
    clearInterval(look);
    clearInterval(sizes);
    const seconds = (performance.now() - began) / 1000;
    console.log(`${LONG} transactions: ${seconds.toFixed(1)} s, ${Math.round(most / 1e6)} MB at most, ${Math.round(longest)} ms without a turn for others`);
    assert.deepEqual([synced.pulled, synced.head.id], [LONG, head]);
    assert.equal(requests, Math.floor(LONG / 1000) + 1);
    assert.ok(most < 40e6, `${most} bytes`);
});
