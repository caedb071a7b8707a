// The module in Deno, as a program there has it: from the server that it asks, with leave for the network to that server and for nothing
// else, so that what it asks of Deno beyond the web's own names would end it. Run by deno-test.js with the server and an invite.

import { Seats } from './seats.js';

const [address, invite] = /** @type {any} */ (globalThis).Deno.args;
/** @type {typeof import('../../src/client/js/mentat-sync.js')} */
const { Identity, IndexedDbStorage, MemoryStorage, Replica } = await import(`${address}/mentat-sync.js`);

/** @param {boolean} good @param {string} what */
const check = (good, what) => {
    if (!good) throw new Error(`in Deno: ${what}`);
};
const open = async () => Replica.open(await Identity.fromInvite(invite), { storage: new MemoryStorage() });

// A clone of what the driver said; then this one is the slower of two, and says its own otherwise.
const [ours, other] = [await open(), await open()];
const seats = new Seats();
check((await ours.sync(seats)).pulled === 1, 'what the other side said came');
const chunks = await ours.put(new Uint8Array(1_500_000).map((_, at) => at % 251));
const { id } = await ours.commit(Seats.booking(2, 'deno'), chunks);
await other.sync();
await other.commit(Seats.booking(2, 'rival'));
await other.sync();
const raced = await ours.sync(seats);
check(raced.pulled === 1 && raced.pushed === 1 && raced.rebased === 1, `a race was lost: ${JSON.stringify(raced)}`);
check(JSON.stringify(seats.shown.taken) === '{"1":"driver","2":"rival","3":"deno"}', JSON.stringify(seats.shown.taken));
const entry = await ours.entry(id);
const parts = await Promise.all((entry?.chunks ?? []).map((chunk) => ours.read(chunk)));
check(parts.length === 2 && parts[0].length + parts[1].length === 1_500_000, 'the chunks came along');

// A watch: the driver goes on as soon as it reads this line.
console.log('waiting');
check((await ours.wait(60_000)) === 'moved', 'a wait ends when HEAD moves');
await ours.sync(seats);
check(seats.shown.taken[4] === 'driver', 'and what moved it comes');

// There is no IndexedDB in Deno: that is told by name.
try {
    new IndexedDbStorage('x');
    check(false, 'there is an IndexedDB: then the contract of a storage is to be held here as well');
} catch (error) {
    check(/** @type {any} */ (error).name === 'Unsupported', `${error}`);
}
console.log('done');
