// What the driver calls in a page, and in a worker of it.

import { Seats } from './seats.js';
import { checkStorage } from './storage.js';
import { checkVectors } from './vectors.js';

/** @typedef {typeof import('../../src/client/js/mentat-sync.js')} Module */
/** @typedef {import('../../src/client/js/mentat-sync.js').Replica} Replica */

/** @type {Module} */
let module;
/** @type {Replica} */
let replica;
let app = new Seats();
/** @type {() => boolean} */
let roomAgain = () => false;

/** What an error says, for the other side. @param {unknown} error */
const told = (error) => {
    const { name, message, transient, code, status, how, ours, theirs, what } = /** @type {any} */ (error);
    return { error: name, message, transient, code, status, how, ours, theirs, what };
};

export const calls = {
    /** @param {string} address */
    async load(address) {
        module = await import(address);
    },
    async vectors() {
        return checkVectors(await (await fetch('/vectors.json')).json(), module);
    },
    /** @param {boolean} hasLocks */
    async storage(hasLocks) {
        if (!hasLocks) Object.defineProperty(navigator, 'locks', { value: undefined, configurable: true });
        const name = `contract ${hasLocks}`;
        await checkStorage(() => new module.IndexedDbStorage(name));
        const again = new module.IndexedDbStorage(name);
        const [kept] = await again.get(['e']);
        await again.close();
        return kept;
    },
    /** @param {string} invite @param {string} name */
    async open(invite, name) {
        replica = await module.Replica.open(await module.Identity.fromInvite(invite), { name, tries: 1 });
        app = new Seats();
    },
    /** @param {number} seat @param {string} by */
    async book(seat, by) {
        return (await replica.commit(Seats.booking(seat, by))).id;
    },
    /** @param {string} text */
    async say(text) {
        return (await replica.commit(text)).id;
    },
    /** All of them at once. @param {string[]} texts */
    async sayAll(texts) {
        await Promise.all(texts.map((text) => replica.commit(text)));
    },
    /** @param {number} bytes */
    async put(bytes) {
        return replica.put(new Uint8Array(bytes).map((_, at) => (at * at) >> 5));
    },
    async sync() {
        return replica.sync(app);
    },
    async syncAlone() {
        return replica.sync();
    },
    async seats() {
        return app.shown.taken;
    },
    async status() {
        return replica.status();
    },
    /** @param {number} ms */
    async wait(ms) {
        return replica.wait(ms);
    },
    async restore() {
        return replica.restore();
    },
    /** From the n-th on, one write to the database finds no room; tells whether there was one. @param {number} at */
    async noRoomAt(at) {
        const { put } = IDBObjectStore.prototype;
        let left = at;
        IDBObjectStore.prototype.put = function (/** @type {unknown} */ value, /** @type {IDBValidKey | undefined} */ key) {
            left -= 1;
            if (left === 0) throw new DOMException('for the test', 'QuotaExceededError');
            return put.call(this, value, key);
        };
        roomAgain = () => {
            IDBObjectStore.prototype.put = put;
            return left <= 0;
        };
    },
    async roomAgain() {
        return roomAgain();
    },
    /** The browser closes the database, and tells nobody; or it allows none. @param {'InvalidStateError' | 'SecurityError'} name */
    async noDatabase(name) {
        const trouble = new DOMException('for the test', name);
        const { transaction } = IDBDatabase.prototype;
        const { open } = IDBFactory.prototype;
        if (name === 'SecurityError') {
            IDBFactory.prototype.open = () => {
                IDBFactory.prototype.open = open;
                throw trouble;
            };
        } else {
            IDBDatabase.prototype.transaction = () => {
                IDBDatabase.prototype.transaction = transaction;
                throw trouble;
            };
        }
    },
    /** There are no Web Locks, and the clock goes to and fro by this much. @param {number} ms */
    async noLocks(ms) {
        Object.defineProperty(navigator, 'locks', { value: undefined, configurable: true });
        const { now } = Date;
        let jump = 0;
        Date.now = () => now.call(Date) + (ms === 0 ? 0 : ((jump += 1) % 2) * ms);
    },
    async seed() {
        return replica.seed();
    },
    /** Says again what another replica of this store has, or one of it from before it had this invite. @param {string} invite @param {string} name */
    async importFrom(invite, name) {
        const old = await module.Replica.open(await module.Identity.fromInvite(invite), { name });
        const imported = await replica.import(old);
        await old.close();
        return imported;
    },
    async entries() {
        const all = [];
        for await (const { id, seq, body, chunks, pending } of replica.entries()) {
            all.push({ id, seq, text: new TextDecoder().decode(body), chunks, pending });
        }
        return all;
    },
    /** @param {string} address @param {string} user @param {string[]} names */
    async headers(address, user, names) {
        const answer = await fetch(address, { headers: { Authorization: `Bearer ${user}`, 'If-None-Match': '"x"' } });
        return [answer.status, ...names.map((name) => answer.headers.get(name))];
    },
    async worker() {
        const worker = new Worker('worker.js', { type: 'module' });
        return (/** @type {string} */ call, /** @type {unknown[]} */ args) =>
            new Promise((resolve) => {
                worker.onmessage = ({ data }) => resolve(data);
                worker.postMessage([call, args]);
            });
    },
};

/** @type {((call: string, args: unknown[]) => Promise<unknown>) | undefined} */
let worker;

/** @param {string} call @param {unknown[]} args */
export async function run(call, args) {
    try {
        if (call.startsWith('worker ')) {
            worker ??= await calls.worker();
            return await worker(call.slice(7), args);
        }
        const found = /** @type {Record<string, (...args: any[]) => unknown>} */ (calls)[call];
        return { done: await found(...args) };
    } catch (error) {
        return told(error);
    }
}

/** @type {any} */ (globalThis).run = run;
