// The module in Chromium, driven, against the real server on another origin.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { Identity, MemoryStorage, Replica } from '../../src/client/js/mentat-sync.js';
import { pages, serveApp } from './app-server.js';
import { Seats } from './seats.js';
import { World } from './world.js';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];
const QUIET = ['--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP insecure.example 127.0.0.1'];

/** @type {typeof import('playwright-core')} */
const { chromium } = createRequire(new URL('../../target/browser-test/', import.meta.url))('playwright-core');

const world = new World();
const app = await serveApp();
const ORIGIN = `http://localhost:${app.port}`;
/** @type {import('playwright-core').Browser} */
let browser;

before(async () => {
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: [...FLAGS, ...QUIET] });
});
after(async () => {
    await browser?.close();
    app.close();
    await world.end();
});

/** @param {string[]} flags */
const box = (...flags) => world.box('--cors-origin', ORIGIN, ...flags);

/** One tab. `do` fails where the page does; `tell` gives back the error. */
class Tab {
    /** @param {import('playwright-core').Page} page @param {string} module @param {string} address */
    constructor(page, module, address) {
        this.page = page;
        this.module = module;
        this.address = address;
    }

    /** @param {import('playwright-core').BrowserContext} context @param {string} module the address of it @param {string} [origin] */
    static async open(context, module, origin = ORIGIN) {
        const tab = new Tab(await context.newPage(), module, `${origin}/page.html`);
        await tab.load();
        return tab;
    }

    async load() {
        await this.page.goto(this.address);
        await this.page.waitForFunction('globalThis.run !== undefined');
        await this.do('load', this.module);
    }

    /** @param {string} call @param {unknown[]} args @returns {Promise<any>} */
    tell(call, ...args) {
        return this.page.evaluate(([call, args]) => /** @type {any} */ (globalThis).run(call, args), /** @type {const} */ ([call, args]));
    }

    /** @param {string} call @param {unknown[]} args @returns {Promise<any>} */
    async do(call, ...args) {
        const told = await this.tell(call, ...args);
        assert.ok(!told.error, `${call}: ${JSON.stringify(told)}`);
        return told.done;
    }

    /** @param {string} invite @param {string} name */
    async opens(invite, name) {
        await this.do('open', invite, name);
        return this;
    }
}

/** A device in Node. @param {Identity} identity */
const rival = (identity) => Replica.open(identity, { storage: new MemoryStorage() });

const texts = (/** @type {{ text: string }[]} */ entries) => entries.map(({ text }) => text);

test('the vectors hold in a page and in a worker, and the database keeps the contract of a storage', async () => {
    const server = await box();
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    const checks = await tab.do('vectors');
    assert.ok(checks > 250, `${checks}`);
    await tab.do('worker load', `${server.url}/mentat-sync.js`);
    assert.equal(await tab.do('worker vectors'), checks);
    assert.equal(await tab.do('storage', true), 5);
    assert.equal(await tab.do('storage', false), 5);
    console.log(`vectors: ${checks} checks of the module in Chromium ${browser.version()}, page and worker: all as the file has it`);
    await context.close();
});

test('a page commits offline, is loaded again, and loses a race by its own rule', async () => {
    const server = await box();
    const identity = Identity.generate(server.url);
    const invite = await identity.invite();
    const other = await rival(identity);
    await other.commit(Seats.booking(1, 'rival'));
    await other.sync();
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    await tab.opens(invite, 'seats');
    assert.equal((await tab.do('sync')).pulled, 1);
    assert.deepEqual(await tab.do('seats'), { 1: 'rival' });
    await context.setOffline(true);
    await tab.do('book', 2, 'page');
    await tab.do('book', 3, 'page');
    const offline = await tab.tell('sync');
    assert.deepEqual([offline.error, offline.transient], ['Offline', true]);
    assert.deepEqual(await tab.do('seats'), { 1: 'rival', 2: 'page', 3: 'page' });
    await context.setOffline(false);
    await tab.load();
    await tab.opens(invite, 'seats');
    assert.equal((await tab.do('status')).pending, 2);
    await other.commit(Seats.booking(2, 'rival'));
    await other.sync();
    const synced = await tab.do('sync');
    assert.deepEqual([synced.pulled, synced.pushed, synced.rebased], [1, 2, 2]);
    const seats = new Seats();
    await other.sync(seats);
    assert.deepEqual(seats.shown.taken, { 1: 'rival', 2: 'rival', 3: 'page', 4: 'page' });
    assert.deepEqual(await tab.do('seats'), seats.shown.taken);
    await context.close();
});

test('pages that are torn away in the middle of a sync lose nothing and say nothing twice', async () => {
    const server = await box();
    const identity = Identity.generate(server.url);
    const invite = await identity.invite();
    const other = await rival(identity);
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    const said = [];
    for (let round = 0; round < 8; round += 1) {
        await tab.opens(invite, 'torn');
        for (const part of ['a', 'b']) {
            said.push(`page ${round}${part}`);
            await tab.do('say', `page ${round}${part}`);
        }
        said.push(`rival ${round}`);
        await other.commit(`rival ${round}`);
        await other.sync();
        tab.tell('syncAlone').catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, round * 7));
        await tab.load();
    }
    await tab.opens(invite, 'torn');
    await tab.do('syncAlone');
    await other.sync();
    const all = texts(await tab.do('entries'));
    const theirs = [];
    for await (const { body } of other.entries()) theirs.push(new TextDecoder().decode(body));
    assert.deepEqual(all, theirs);
    assert.deepEqual([...all].sort(), said.sort());
    await context.close();
});

test('of two tabs one syncs at a time, nothing is lost, and each is told of the other', async () => {
    const server = await box();
    const invite = await Identity.generate(server.url).invite();
    const context = await browser.newContext();
    const tabs = await Promise.all([Tab.open(context, `${server.url}/mentat-sync.js`), Tab.open(context, `${server.url}/mentat-sync.js`)]);
    for (const tab of tabs) await tab.opens(invite, 'tabs');
    const say = async (/** @type {Tab} */ tab, /** @type {string} */ name) => {
        for (let at = 0; at < 10; at += 1) {
            await tab.do('say', `${name} ${at}`);
            if (at % 3 === 0) await tab.do('syncAlone');
        }
    };
    await Promise.all([say(tabs[0], 'one'), say(tabs[1], 'two')]);
    const many = (/** @type {string} */ name) => Array.from({ length: 30 }, (_, at) => `${name} ${at}`);
    await Promise.all([tabs[0].do('sayAll', many('three')), tabs[1].do('sayAll', many('four'))]);
    for (const tab of tabs) await tab.do('syncAlone');
    const [one, two] = await Promise.all(tabs.map((tab) => tab.do('entries')));
    assert.deepEqual(one, two);
    assert.equal(new Set(texts(one)).size, 80);
    assert.equal(one.length, 80);
    const waiting = tabs[0].do('wait', 30_000);
    await tabs[1].do('say', 'more');
    assert.equal(await waiting, 'committed');
    for (const tab of tabs) await tab.do('syncAlone');
    const moved = tabs[0].do('wait', 30_000);
    const other = await rival(await Identity.fromInvite(invite));
    await other.sync();
    await other.commit('rival');
    await other.sync();
    assert.equal(await moved, 'moved');
    await context.close();
});

test('a server that restarts is told when it is back, one that went back as that, and so is another key', async () => {
    const server = await box();
    const identity = Identity.generate(server.url);
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    await tab.opens(await identity.invite(), 'trouble');
    await tab.do('say', 'one');
    await tab.do('syncAlone');
    await server.stop();
    await tab.do('say', 'two');
    const away = await tab.tell('syncAlone');
    assert.deepEqual([away.error, away.transient], ['Offline', true]);
    const waiting = tab.do('wait', 60_000);
    await server.start();
    assert.equal(await waiting, 'back');
    assert.equal((await tab.do('syncAlone')).pushed, 1);

    await server.keep('two');
    await tab.do('say', 'three');
    await tab.do('syncAlone');
    await server.restore('two');
    const back = await tab.tell('syncAlone');
    assert.deepEqual([back.error, back.how, back.ours, back.transient], ['Diverged', 'rollback', 1, false]);
    assert.equal(await tab.do('restore'), 1);
    await tab.do('syncAlone');

    // Another device goes on after it went back: what was lost is said again in a replica beside the old one.
    const invite = await identity.invite();
    await server.restore('two');
    const other = await rival(identity);
    await other.sync();
    await other.commit('rival');
    await other.sync();
    assert.equal((await tab.tell('syncAlone')).how, 'fork');
    await tab.opens(invite, 'beside');
    await tab.do('syncAlone');
    assert.deepEqual(await tab.do('importFrom', invite, 'trouble'), { said: 1, there: 0, dropped: 0 });
    await tab.do('syncAlone');
    assert.deepEqual(texts(await tab.do('entries')), ['one', 'two', 'rival', 'three']);

    // An empty box is filled; one with another store under this user is left alone.
    await server.restore();
    const empty = await tab.tell('syncAlone');
    assert.deepEqual([empty.error, empty.how, empty.ours], ['Diverged', 'empty', 4]);
    assert.equal(await tab.do('seed'), 4);
    assert.equal((await tab.do('syncAlone')).head.seq, 4);

    const stranger = new Identity(server.url, identity.user, new Uint8Array(32));
    await tab.opens(await stranger.invite(), 'stranger');
    assert.equal((await tab.tell('syncAlone')).error, 'WrongKey');
    assert.equal((await tab.tell('open', await stranger.invite(), 'trouble')).error, 'NotThisReplica');
    // The invite of the store is the way out.
    await tab.opens(invite, 'right');
    assert.equal((await tab.do('syncAlone')).pulled, 4);
    await server.restore();
    await tab.opens(await new Identity(server.url, identity.user, null).invite(), 'plain');
    await tab.do('say', 'another store');
    await tab.do('syncAlone');
    await tab.opens(invite, 'right');
    assert.equal((await tab.tell('syncAlone')).how, 'other-store');
    await context.close();
});

test('a page whose store was given a new key by the program is told so, and goes on with the new invite', async () => {
    const server = await box();
    const place = world.place();
    await world.run(place, ['init', '.', '--server', server.url, '--device', 'rust']);
    await world.run(place, ['commit', '-'], 'one');
    await world.run(place, ['sync']);
    const inviteOf = async () => (await world.run(place, ['invite', '--force'])).trim();
    const before = await inviteOf();
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    await tab.opens(before, 'before');
    await tab.do('syncAlone');
    const journal = (/** @type {string} */ text) => JSON.stringify({ v: 1, app: 'journal', by: 'page', at: '2026-11-28T09:12:04Z', text });
    await tab.do('say', journal('not sent'));
    await world.run(place, ['rekey', '--force']);
    const after = await inviteOf();
    const [old, user] = await Promise.all([before, after].map(async (invite) => (await Identity.fromInvite(invite)).user));
    await server.stop();
    await world.run(place, ['users', 'mv', '--data', server.data, old, user]);
    await server.start();
    await world.run(place, ['sync']);
    const moved = await tab.tell('syncAlone');
    assert.deepEqual([moved.error, moved.how, moved.transient], ['Diverged', 'moved', false]);
    await tab.opens(after, 'after');
    assert.equal((await tab.do('syncAlone')).pulled, 2);
    assert.deepEqual(await tab.do('importFrom', before, 'before'), { said: 1, there: 0, dropped: 0 });
    assert.equal((await tab.do('syncAlone')).pushed, 1);
    await tab.load();
    await tab.opens(after, 'after');
    const said = texts(await tab.do('entries')).map((body) => JSON.parse(body).text);
    assert.deepEqual(said, ['one', undefined, 'not sent']);
    await world.run(place, ['sync']);
    assert.match(await world.run(place, ['follow', '--once']), /not sent/);
    await context.close();
});

test('a browser that gives no more room is told as that, and what was said stays', async () => {
    const server = await box();
    const identity = Identity.generate(server.url);
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    const devtools = await context.newCDPSession(tab.page);
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: ORIGIN, quotaSize: 3_000_000 });
    await tab.opens(await identity.invite(), 'room');
    await tab.do('say', 'one');
    const full = await tab.tell('put', 8_000_000);
    assert.deepEqual([full.error, full.transient], ['Full', false]);
    assert.deepEqual(texts(await tab.do('entries')), ['one']);
    // The server has it even where the browser has no room to note that.
    const sync = await tab.tell('syncAlone');
    assert.ok(sync.done?.pushed === 1 || sync.error === 'Full', JSON.stringify(sync));
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: ORIGIN });
    assert.equal((await tab.do('put', 8_000_000)).length, 8);
    await tab.do('syncAlone');
    assert.equal((await tab.do('status')).base.seq, 1);
    await tab.do('say', 'two');
    assert.deepEqual(texts(await tab.do('entries')), ['one', 'two']);
    await context.close();
});

test('whichever write to the database finds no room, that is told by its name, all of it or nothing is written, and the next try goes on', async () => {
    const server = await box();
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    let failures = 0;
    for (let at = 1; at > 0; at += 1) {
        const identity = Identity.generate(server.url);
        const [invite, name] = [await identity.invite(), `room ${at}`];
        const other = await rival(identity);
        await other.commit('rival');
        await other.sync();
        await tab.do('noRoomAt', at);
        let full = 0;
        /** Tries it, and once more where there was no room. @param {string} call @param {unknown[]} args */
        const insists = async (call, ...args) => {
            const told = await tab.tell(call, ...args);
            if (told.error === undefined) return;
            assert.deepEqual([told.error, told.transient], ['Full', false], `${at}: ${call}: ${told.message}`);
            full += 1;
            await tab.do(call, ...args);
        };
        await insists('open', invite, name);
        await insists('say', 'one');
        await insists('put', 10_000);
        await insists('say', 'two');
        await insists('syncAlone');
        const reached = await tab.do('roomAgain');
        assert.equal(full, reached ? 1 : 0, `${at}`);
        assert.deepEqual(texts(await tab.do('entries')), ['rival', 'one', 'two'], `${at}`);
        assert.equal((await tab.do('status')).pending, 0);
        await other.sync();
        const theirs = [];
        for await (const { body } of other.entries()) theirs.push(new TextDecoder().decode(body));
        assert.deepEqual(theirs, ['rival', 'one', 'two'], `${at}`);
        if (!reached) break;
        failures += 1;
    }
    assert.ok(failures > 20, `${failures}`);
    await context.close();
});

test('a database that the browser closes unsaid is opened again, and one that it allows not is told as that', async () => {
    const server = await box();
    const invite = await Identity.generate(server.url).invite();
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    await tab.do('noDatabase', 'SecurityError');
    const refused = await tab.tell('open', invite, 'closed');
    assert.deepEqual([refused.error, refused.transient], ['Unsupported', false]);
    await tab.opens(invite, 'closed');
    await tab.do('say', 'one');
    await tab.do('noDatabase', 'InvalidStateError');
    await tab.do('say', 'two');
    assert.deepEqual(texts(await tab.do('entries')), ['one', 'two']);
    // Another tab clears the data: this one says that they are gone, and does not begin anew unasked.
    const other = await Tab.open(context, `${server.url}/mentat-sync.js`);
    await other.page.evaluate(() => new Promise((resolve, reject) => {
        const request = indexedDB.deleteDatabase('closed');
        request.onsuccess = resolve;
        request.onerror = reject;
    }));
    assert.equal((await tab.tell('say', 'three')).error, 'Damaged');
    await context.close();
});

for (const [what, jump] of /** @type {[string, number][]} */ ([['', 0], [', and with clocks that go to and fro', 86_400_000]])) {
    test(`two tabs without Web Locks lose nothing and say nothing twice${what}`, async () => {
        const server = await box();
        const invite = await Identity.generate(server.url).invite();
        const context = await browser.newContext();
        const open = () => Tab.open(context, `${server.url}/mentat-sync.js`);
        const tabs = await Promise.all([open(), open()]);
        for (const tab of tabs) {
            await tab.do('noLocks', jump);
            await tab.opens(invite, 'leased');
        }
        await Promise.all(tabs.map(async (tab, who) => {
            for (let at = 0; at < 6; at += 1) {
                await tab.do('say', `${who} ${at}`);
                const told = await tab.tell('syncAlone');
                // A lease that a clock took away may be held by two: then one of them is told to try again.
                assert.ok(told.error === undefined || (jump > 0 && told.error === 'Busy'), JSON.stringify(told));
            }
        }));
        for (const tab of [...tabs, ...tabs]) await tab.tell('syncAlone');
        const [one, two] = await Promise.all(tabs.map((tab) => tab.do('entries')));
        assert.deepEqual(one, two);
        assert.equal(one.some((/** @type {any} */ { pending }) => pending), false);
        const said = [0, 1].flatMap((who) => [0, 1, 2, 3, 4, 5].map((at) => `${who} ${at}`));
        assert.deepEqual(texts(one).sort(), said);
        await context.close();
    });
}

test('what a full server refuses is told with its code and stays pending', async () => {
    const server = await box('--max-user-bytes', '64KiB');
    const identity = Identity.generate(server.url);
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    await tab.opens(await identity.invite(), 'full');
    await tab.do('say', 'x'.repeat(100_000));
    const refused = await tab.tell('syncAlone');
    assert.deepEqual([refused.error, refused.code, refused.status], ['Refused', 'quota-exceeded', 507]);
    assert.equal((await tab.do('status')).pending, 1);
    await context.close();
});

for (const plain of [false, true]) {
    test(`the program and a page converge on one ${plain ? 'plain' : 'encrypted'} store`, async () => {
        const server = await box();
        const place = world.place();
        await world.run(place, ['init', '.', '--server', server.url, '--device', 'rust', ...(plain ? ['--plain'] : [])]);
        const journal = (/** @type {string} */ text) => JSON.stringify({ v: 1, app: 'journal', by: 'page', at: '2026-11-28T09:12:04Z', text });
        const context = await browser.newContext();
        const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
        await tab.opens((await world.run(place, ['invite', '--force'])).trim(), 'journal');
        for (let round = 0; round < 3; round += 1) {
            await world.run(place, ['commit', '-'], `rust ${round}`);
            await tab.do('say', journal(`page ${round}`));
            // Each loses the race in its turn.
            const syncs = [() => world.run(place, ['sync']), () => tab.do('syncAlone')];
            for (const sync of round % 2 === 0 ? syncs : syncs.reverse()) await sync();
        }
        await world.run(place, ['sync']);
        await tab.do('syncAlone');
        await world.run(place, ['sync']);
        const rust = (await world.run(place, ['follow', '--once'])).trim().split('\n').map((line) => JSON.parse(line));
        const page = await tab.do('entries');
        assert.deepEqual(page.map((/** @type {any} */ { id, seq, text }) => [id, seq, JSON.parse(text).text]), rust.map(({ id, seq, text }) => [id, seq, text]));
        assert.deepEqual(rust.map(({ text }) => text).sort(), ['page 0', 'page 1', 'page 2', 'rust 0', 'rust 1', 'rust 2']);
        await world.run(place, ['fsck', '--data', server.data]);
        await context.close();
    });
}

test('a page may ask where its origin is named, and nowhere else', async () => {
    const server = await box();
    const identity = Identity.generate(server.url);
    const invite = await identity.invite();
    const context = await browser.newContext();
    const tab = await Tab.open(context, `${server.url}/mentat-sync.js`);
    await tab.opens(invite, 'origins');
    await tab.do('say', 'x');
    await tab.do('syncAlone');
    const [status, etag] = await tab.do('headers', `${server.url}/0.1/-/head`, identity.user, ['etag']);
    assert.equal(status, 200);
    assert.match(etag, /^"[0-9a-f-]{36}"$/);
    const [, place] = await tab.do('headers', `${server.url}/0.1/-/bundle`, identity.user, ['content-location']);
    assert.match(place, /^bundle\?from=/);
    // The page of another place has the module from elsewhere, and is told what is the matter.
    const elsewhere = `http://127.0.0.1:${app.port}`;
    const stranger = await Tab.open(context, `${elsewhere}/mentat-sync.js`, elsewhere);
    assert.ok((await stranger.tell('load', `${server.url}/mentat-sync.js`)).error);
    await stranger.opens(invite, 'origins');
    const refused = await stranger.tell('syncAlone');
    assert.deepEqual([refused.error, refused.code], ['Offline', 'cross-origin']);
    assert.match(refused.message, new RegExp(`--cors-origin must name ${elsewhere}`));
    const answer = await fetch(`${server.url}/0.1/-/head`, { headers: { Origin: elsewhere, Authorization: `Bearer ${identity.user}` } });
    assert.deepEqual([answer.status, (await answer.json()).code], [403, 'cross-origin']);
    // A page that came over http from another machine has no Web Crypto.
    const insecure = `http://insecure.example:${app.port}`;
    const bare = await Tab.open(context, `${insecure}/mentat-sync.js`, insecure);
    const lacking = await bare.tell('open', invite, 'origins');
    assert.equal(lacking.error, 'Unsupported');
    assert.match(lacking.message, /secure context/);
    await context.close();
});

test('the app of the documentation syncs two browsers, offline too', async () => {
    const server = await box();
    const invite = await Identity.generate(server.url).invite();
    const written = readFileSync(new URL('../../src/docs/browsers.md', import.meta.url), 'utf8');
    const [, page] = written.match(/```html\n([^]*?)```/) ?? [];
    pages.set('/todo.html', page.replace('https://sync.example.org', server.url));
    const open = async () => {
        const context = await browser.newContext();
        const tab = await context.newPage();
        tab.on('dialog', (dialog) => dialog.accept(invite));
        /** @type {Error[]} */
        const errors = [];
        tab.on('pageerror', (error) => errors.push(error));
        await tab.goto(`${ORIGIN}/todo.html`);
        return { context, tab, errors };
    };
    /** @param {import('playwright-core').Page} tab @param {string} text */
    const add = async (tab, text) => {
        await tab.fill('input', text);
        await tab.click('form button');
    };
    /** @param {import('playwright-core').Page} tab @param {string[]} items */
    const shows = (tab, items) => tab.waitForFunction((items) => {
        const shown = [...document.querySelectorAll('li')].map((item) => item.firstChild?.textContent?.trim());
        return JSON.stringify(shown.sort()) === items;
    }, JSON.stringify([...items].sort()), { timeout: 20_000 });
    const [one, two] = [await open(), await open()];
    await add(one.tab, 'milk');
    await shows(one.tab, ['milk']);
    await shows(two.tab, ['milk']);
    await two.context.setOffline(true);
    await add(two.tab, 'eggs');
    await shows(two.tab, ['milk', 'eggs']);
    await two.tab.click('li:has-text("milk") button');
    await shows(two.tab, ['eggs']);
    await add(one.tab, 'bread');
    await one.tab.click('li:has-text("milk") button');
    await shows(one.tab, ['bread']);
    await two.context.setOffline(false);
    for (const { tab } of [one, two]) await shows(tab, ['bread', 'eggs']);
    await one.tab.reload();
    await shows(one.tab, ['bread', 'eggs']);
    assert.deepEqual([...one.errors, ...two.errors], []);
    const chain = await rival(await Identity.fromInvite(invite));
    assert.equal((await chain.sync()).pulled, 4, 'milk was ticked off once');
});

test('a page that names the digest of the module takes that one and no other', async () => {
    const server = await box();
    const address = `${server.url}/mentat-sync.js`;
    const said = (await fetch(address, { headers: { 'Accept-Encoding': 'identity' } })).headers.get('repr-digest');
    const [, digest] = said?.match(/^sha-256=:(.*):$/) ?? [];
    const context = await browser.newContext();
    for (const [name, integrity, taken] of [['right', digest, true], ['wrong', digest.replace(/^./, (first) => (first === 'A' ? 'B' : 'A')), false]]) {
        const map = JSON.stringify({ integrity: { [address]: `sha256-${integrity}` } });
        pages.set(`/${name}.html`, `<!doctype html><script type="importmap">${map}</script>`);
        const tab = await context.newPage();
        await tab.goto(`${ORIGIN}/${name}.html`);
        const loaded = await tab.evaluate((address) => import(address).then(({ ROOT }) => ROOT, () => undefined), address);
        assert.equal(loaded !== undefined, taken, `${name}`);
    }
    await context.close();
});
