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
