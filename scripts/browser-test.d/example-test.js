// The example for pages, src/client/js/examples: one encrypted list in two browsers and in the example in Rust.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';

import { Identity, MemoryStorage, Replica } from '../../src/client/js/mentat-sync.js';
import { serveApp } from './app-server.js';
import { World } from './world.js';

/** @typedef {import('playwright-core').BrowserContext} BrowserContext */
/** @typedef {import('playwright-core').Page} Page */

const FLAGS = ['no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run', 'disable-background-networking', 'disable-component-update', 'disable-sync'];
const EXAMPLE = new URL('../../src/client/js/examples/', import.meta.url);
const require = createRequire(new URL('../../target/browser-test/', import.meta.url));
/** @type {typeof import('playwright-core')} */
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const world = new World();
/** What ends with the tests. @type {(() => unknown)[]} */
const ends = [];
after(async () => {
    for (const end of ends) await end();
    await world.end();
});

/** A box, and the page of the example from another origin, which the box may know of. @param {boolean} isNamed */
async function begin(isNamed = true) {
    const app = await serveApp();
    ends.push(() => app.close());
    const origin = `http://localhost:${app.port}`;
    return { app, origin, address: `${origin}/examples/todo.html`, server: await world.box(...(isNamed ? ['--cors-origin', origin] : [])) };
}

/** A browser with a profile of its own, on disk, and one tab of it. */
class Person {
    /** What the browser said against the page. @type {string[]} */
    wrong = [];

    /** @param {BrowserContext} profile @param {Page} tab */
    constructor(profile, tab) {
        this.profile = profile;
        this.tab = tab;
        this.tab.on('pageerror', (error) => this.wrong.push(`${error}`));
        this.tab.on('console', (line) => line.type() === 'error' && !/Failed to load resource|net::ERR/.test(line.text()) && this.wrong.push(line.text()));
        this.tab.on('dialog', (dialog) => (this.anew === undefined ? (this.wrong.push(dialog.message()), dialog.dismiss()) : dialog.accept(this.anew)));
    }

    /** @param {string} address @param {string} [folder] of the profile */
    static async sitDown(address, folder = world.place()) {
        const how = { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS.map((flag) => `--${flag}`) };
        const profile = await chromium.launchPersistentContext(folder, how);
        ends.push(() => profile.close());
        const person = new Person(profile, profile.pages()[0] ?? (await profile.newPage()));
        await person.tab.goto(address);
        return person;
    }

    /** @param {string} secret */
    async enter(secret) {
        await this.tab.getByLabel(/^The invite of a list/).fill(secret);
        await this.tab.keyboard.press('Enter');
    }

    /** By the keyboard alone. @param {string} text */
    async add(text) {
        await this.tab.getByLabel('What is to be done').waitFor();
        await this.tab.getByLabel('What is to be done').focus();
        await this.tab.keyboard.type(text);
        await this.tab.keyboard.press('Enter');
    }

    /** @param {string} text */
    async tick(text) {
        await this.tab.getByRole('checkbox', { name: text, exact: true }).check();
    }

    /** @param {string} text @param {string} anew */
    async edit(text, anew) {
        this.anew = anew;
        await this.tab.getByRole('button', { name: `Edit ${text}`, exact: true }).click();
        this.anew = undefined;
    }

    /** @param {string} text */
    async remove(text) {
        await this.tab.getByRole('button', { name: `Remove ${text}`, exact: true }).focus();
        await this.tab.keyboard.press('Enter');
    }

    /** Each to-do as the example in Rust prints it. */
    async list() {
        const rows = await this.tab.locator('#todos li').evaluateAll((items) =>
            items.map((item) => [item.querySelector('input')?.checked ? 'x' : ' ', item.querySelector('span')?.textContent]),
        );
        return rows.map(([done, text], index) => `${`${index + 1}`.padStart(3)} [${done}] ${text}\n`).join('');
    }

    /** Waits until it shows these, in any order. @param {string[]} rows as `[x] milk` */
    async shows(...rows) {
        await within(30_000, async () => assert.deepEqual((await this.list()).split('\n').filter(Boolean).map((line) => line.slice(4)).sort(), [...rows].sort()));
    }

    /** @param {RegExp} words */
    async says(words) {
        await within(30_000, async () => assert.match((await this.tab.getByRole('status').textContent()) ?? '', words));
    }

    async isAccessible() {
        await this.tab.evaluate(axe);
        const { violations } = await this.tab.evaluate(() => /** @type {any} */ (globalThis).axe.run());
        assert.deepEqual(violations.map((/** @type {any} */ { help, nodes }) => `${help}: ${nodes.map((/** @type {any} */ { html }) => html)}`), []);
    }
}

/** Tries until it holds, or until the time is up. @param {number} ms @param {() => Promise<void>} look */
async function within(ms, look) {
    for (const until = performance.now() + ms; ; await new Promise((done) => setTimeout(done, 50))) {
        try {
            return await look();
        } catch (error) {
            if (performance.now() > until) throw error;
        }
    }
}

test('two browsers and the example in Rust have one encrypted list, and it decides what became of what others removed', async () => {
    const { address, server } = await begin();
    const one = await Person.sitDown(address);
    await one.isAccessible();
    await one.enter(server.url);
    const markup = '<img src=x onerror=alert(1)>';
    for (const text of ['milk', 'bread', markup]) await one.add(text);
    await one.shows('[ ] milk', '[ ] bread', `[ ] ${markup}`);
    await one.says(/^All is sent/);
    await one.tab.getByText('Another device').click();
    await one.isAccessible();
    const invite = (await one.tab.locator('#invite').textContent()) ?? '';

    const two = await Person.sitDown(address);
    await two.enter(invite);
    await two.shows('[ ] milk', '[ ] bread', `[ ] ${markup}`);
    assert.equal(await two.tab.locator('#todos img').count(), 0);
    const desk = await world.clone(invite);
    assert.equal(await world.todo(desk, 'sync'), await one.list());
    assert.equal(await two.list(), await one.list());

    // All three go on without a network; then one after the other has it back.
    const number = async (/** @type {string} */ text) => `${(await world.todo(desk, 'list')).split('\n').findIndex((line) => line.endsWith(text)) + 1}`;
    await two.profile.setOffline(true);
    await two.edit('milk', 'oat milk');
    await two.tick('bread');
    await two.add('eggs');
    await two.shows('[ ] oat milk', '[x] bread', '[ ] eggs', `[ ] ${markup}`);
    await two.says(/^3 to be sent/);
    await world.todo(desk, 'done', await number('milk'));
    await world.todo(desk, 'remove', await number('bread'));
    await world.todo(desk, 'add', 'salt');
    await one.remove('milk');
    await one.shows('[ ] bread', `[ ] ${markup}`);
    assert.equal(await one.tab.evaluate(() => document.activeElement?.id), 'text', 'the keyboard goes on');
    await one.remove('bread');
    await one.shows(`[ ] ${markup}`);
    await one.says(/^All is sent/);
    await two.profile.setOffline(false);
    await two.shows('[ ] oat milk', '[ ] eggs', `[ ] ${markup}`);
    await two.says(/^All is sent/);
    await one.shows('[ ] oat milk', '[ ] eggs', `[ ] ${markup}`);
    await world.todo(desk, 'sync');
    const rows = ['[x] oat milk', '[ ] eggs', '[ ] salt', `[ ] ${markup}`];
    await one.shows(...rows);
    await two.shows(...rows);
    assert.equal(await one.list(), await two.list());
    assert.equal(await world.todo(desk, 'list'), await one.list());

    // Three were added and two removed; then of three words of two's and of three of the desk's one each had no use any more.
    const chain = await Replica.open(await Identity.fromInvite(invite), { storage: new MemoryStorage() });
    assert.equal((await chain.sync()).head.seq, 3 + 2 + 2 + 2);
    const words = [];
    for await (const { body } of chain.entries()) words.push(Object.keys(JSON.parse(new TextDecoder().decode(body)))[0]);
    assert.deepEqual(words, ['Add', 'Add', 'Add', 'Remove', 'Remove', 'Add', 'Add', 'Done', 'Add']);

    // A removal that others are told of while the keyboard is on that very row.
    await two.tab.getByRole('button', { name: 'Remove salt', exact: true }).focus();
    await one.remove('eggs');
    await two.shows('[x] oat milk', '[ ] salt', `[ ] ${markup}`);
    assert.equal(await two.tab.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Remove salt');
    // A new key: whoever has the old invite is told so, and the list goes on under the new one.
    await world.todo(desk, 'sync');
    const { old, new: now } = JSON.parse(await world.run(desk, ['rekey', '--force', '--json']));
    await world.run(desk, ['users', 'mv', '-', '-', '--data', server.data], `${old}\n${now}\n`);
    assert.equal(await world.todo(desk, 'sync'), await two.list());
    const again = await Person.sitDown(address);
    await again.enter(await world.run(desk, ['invite', '--force']));
    await again.shows('[x] oat milk', '[ ] salt', `[ ] ${markup}`);
    await again.add('jam');
    await again.shows('[x] oat milk', '[ ] salt', '[ ] jam', `[ ] ${markup}`);
    await again.says(/^All is sent/);
    assert.equal(await world.todo(desk, 'sync'), await again.list());
    await within(30_000, async () => assert.match((await one.tab.getByRole('alert').textContent()) ?? '', /has a new invite/));
    for (const { wrong } of [one, two, again]) assert.deepEqual(wrong, []);
    await world.run(desk, ['fsck', '--data', server.data]);
});

test('the page opens again without any network, with all that was said', async () => {
    const { app, address, server } = await begin();
    const folder = world.place();
    const before = await Person.sitDown(address, folder);
    await before.enter(server.url);
    await before.add('milk');
    await before.shows('[ ] milk');
    await before.says(/^All is sent/);
    await before.tab.evaluate(() => navigator.serviceWorker.ready);
    await server.stop();
    app.close();
    await before.add('bread');
    await before.says(/^1 to be sent.*cannot be reached/);
    await before.profile.close();
    const person = await Person.sitDown(address, folder);
    await person.shows('[ ] milk', '[ ] bread');
    await person.tick('milk');
    await person.shows('[x] milk', '[ ] bread');
    await person.says(/^2 to be sent/);
    await person.tab.reload();
    await person.shows('[x] milk', '[ ] bread');
    const invite = (await person.tab.locator('#invite').textContent()) ?? '';
    await server.start();
    await person.says(/^All is sent/);
    const desk = await world.clone(invite);
    assert.equal(await world.todo(desk, 'sync'), await person.list());
    assert.deepEqual([...before.wrong, ...person.wrong], []);
});

test('what is wrong with an invite or a server is said, and nothing that was said is lost', async () => {
    const { address, origin, server } = await begin(false);
    const person = await Person.sitDown(address);
    const alert = person.tab.getByRole('alert');
    for (const [secret, told] of /** @type {[string, RegExp][]} */ ([['milk', /address of a server/], [`${server.url}/#ms1-00`, /invite/]])) {
        await person.enter(secret);
        await within(5000, async () => assert.match((await alert.textContent()) ?? '', told));
    }
    await person.enter(server.url);
    await person.add('milk');
    await person.says(new RegExp(`^1 to be sent.*--cors-origin must name ${origin}`));
    await person.shows('[ ] milk');
    // Nothing that is text becomes a part of the page, whatever the script does.
    const refused = await person.tab.evaluate(() => {
        try {
            document.body.innerHTML = '<p>markup';
            return false;
        } catch (error) {
            return error instanceof TypeError;
        }
    });
    assert.ok(refused);
});

test('the example is short enough to be read', () => {
    const files = readdirSync(EXAMPLE);
    const lines = files.map((file) => readFileSync(new URL(file, EXAMPLE), 'utf8').split('\n').length - 1);
    assert.ok(lines.reduce((sum, count) => sum + count) < 150, `${files.map((file, index) => `${file}: ${lines[index]}`)}`);
});
