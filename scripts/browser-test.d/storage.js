// The contract of a storage, for each that there is.

/** @typedef {import('../../src/client/js/mentat-sync.js').Storage} Storage */

/** @param {boolean} good @param {string} what */
function check(good, what) {
    if (!good) throw new Error(`a storage: ${what}`);
}

/** @param {unknown} one @param {unknown} two @param {string} what */
const same = (one, two, what) => check(JSON.stringify(one) === JSON.stringify(two), `${what}: ${JSON.stringify(one)}`);

/** @param {() => Storage} make opens one that is empty the first time */
export async function checkStorage(make) {
    const storage = make();
    same(await storage.get(['a', 'state']), [undefined, undefined], 'nothing is there at first');
    const bytes = Uint8Array.from([1, 2, 3]);
    check(await storage.write([['b', 1], ['a', { deep: [1] }], ['c', bytes], ['state', { rev: 1 }]], 0), 'the first write');
    check(!(await storage.write([['b', 2]], 0)), 'a write with another rev is refused');
    check(!(await storage.write([['b', 2], ['state', { rev: 5 }]], 4)), 'and another');
    same(await storage.get(['b', 'state']), [1, { rev: 1 }], 'what was refused left nothing');
    check(await storage.write([['b', undefined], ['d', 4], ['state', { rev: 2 }]], 1), 'a write with the right rev');
    check(await storage.write([['e', 5]]), 'a write whatever the rev is');
    same(await storage.range('a', 'e', Infinity), [['a', { deep: [1] }], ['c', bytes], ['d', 4]], 'a range has the order of its keys');
    same(await storage.range('a', 'z', 2), [['a', { deep: [1] }], ['c', bytes]], 'a range has no more than is asked for');
    same(await storage.range('x', 'z', 2), [], 'a range may be empty');
    const [found] = await storage.get(['c']);
    check(found instanceof Uint8Array && found.length === 3 && found[2] === 3, 'bytes come back as bytes');
    /** @type {string[]} */
    const order = [];
    const hold = (/** @type {string} */ name) => async () => {
        order.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, 50));
        order.push(`${name} ends`);
        return name;
    };
    same(await Promise.all([storage.alone(hold('one'), 5000), storage.alone(hold('two'), 5000)]), ['one', 'two'], 'both come to their turn');
    same(order, ['one begins', 'one ends', 'two begins', 'two ends'], 'one at a time');
    const failed = await storage.alone(() => Promise.reject(new TypeError('own')), 5000).catch((error) => error);
    check(failed instanceof TypeError, 'the error of the work comes through');
    let end = () => {};
    const long = storage.alone(() => new Promise((/** @type {(value: void) => void} */ resolve) => (end = () => resolve())), 5000);
    const late = await storage.alone(hold('late'), 100).catch((error) => error.name);
    same(late, 'Busy', 'who waits too long is told');
    end();
    await long;
    same(await storage.alone(hold('after'), 5000), 'after', 'the turn comes again');
    check(!order.includes('late begins'), 'what was told busy is not done later');
    await storage.close();
}
