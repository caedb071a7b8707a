// What the page at `/` promises, one story each. `page-test.js` tells them of the page as it is, `broken.js` of pages that are not.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

import { PAGE } from './stores.js';
import { axe, png, work } from './world.js';

const pictures = join(work, 'pictures');

/** What the stories are about: the world, its stores, a browser, and how long a page may take to show something. */
export const cast = { world: undefined, stores: undefined, browser: undefined, patience: 30_000 };

/** Each story by its name. @type {Map<string, () => Promise<void>>} */
export const stories = new Map();
const story = (name, told) => stories.set(name, told);

/** A tab that fails the story for whatever breaks the policy or throws, and that notes each address that is asked for. */
async function tab(options = {}, context = undefined) {
    const inside = context ?? (await cast.browser.newContext({ acceptDownloads: true, ...options }));
    const page = await inside.newPage();
    page.setDefaultTimeout(cast.patience);
    page.asked = [];
    page.got = [];
    page.wrong = [];
    page.on('request', (request) => page.asked.push(request.url()));
    page.on('response', (response) => page.got.push(response));
    page.on('console', (line) => line.type() === 'error' && !/Failed to load resource/.test(line.text()) && page.wrong.push(line.text()));
    page.on('pageerror', (error) => page.wrong.push(`${error}`));
    page.on('dialog', (dialog) => (page.wrong.push(`a dialog: ${dialog.message()}`), dialog.dismiss()));
    return page;
}

async function enter(page, secret) {
    await page.goto(`${cast.world.address}/`);
    await page.fill('#secret', secret);
    await page.keyboard.press('Enter');
    await page.waitForSelector('#store:not([hidden])');
    await page.waitForSelector('#history li time, #shown .hint');
}

const fine = (page) => assert.deepEqual(page.wrong, []);
const row = (page, index) => page.locator('#history button').nth(index);

async function choose(page, index) {
    await row(page, index).click();
    await page.waitForSelector('#shown dl');
}

async function accessible(page) {
    await page.evaluate(readFileSync(axe, 'utf8'));
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(' ')}`);
    assert.deepEqual(told, []);
}

/** Scrolls down until so many rows of the history are there. */
async function scroll(page, rows) {
    for (let tries = 0; tries < 30 && (await page.locator('#history li').count()) < rows; tries += 1) {
        await page.mouse.wheel(0, 5000);
        await page.locator('#history li').last().scrollIntoViewIfNeeded();
        await page.waitForTimeout(200);
    }
    assert.equal(await page.locator('#history li').count(), rows);
}

const shows = (page, where, text) => page.waitForFunction(([where, text]) => document.querySelector(where)?.textContent.includes(text), [where, text]);

story('a store that was made by curl: text, JSON, pictures and hex, and more of it as one scrolls', async () => {
    const page = await tab();
    await enter(page, cast.stores.plain.user);
    assert.match(await page.textContent('#head'), /120 transactions/);
    await choose(page, 0);
    await page.waitForSelector('#shown pre.hex');
    assert.match(await page.textContent('#shown pre.hex'), /000000 {2}00 01 02/);
    await choose(page, 1);
    await page.waitForFunction(() => document.querySelector('#shown img')?.naturalWidth === 96);
    await choose(page, 2);
    await page.waitForSelector('#shown pre[aria-label="Preview, JSON"]');
    await shows(page, '#shown', '"eggs": 6');
    await page.waitForFunction(() => /of 1.0 GiB/.test(document.querySelector('#facts').textContent));
    assert.equal(await page.locator('#facts meter').count(), 2);
    assert.ok((await page.locator('#history li').count()) < 120);
    await scroll(page, 120);
    await page.waitForSelector('#older', { state: 'hidden' });
    // Down the parents, by the keyboard alone.
    await page.locator('#shown dl button').focus();
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('#shown dd')?.textContent === '117');
    fine(page);
});

story('the plot has each day’s transactions and bytes, and says what it covers', async () => {
    const { user, came } = cast.stores.plain;
    const page = await tab({ timezoneId: 'UTC' });
    await enter(page, user);
    const size = (count) => (count < 1024 ? `${count} bytes` : `${(count / 1024).toFixed(count < 10_240 ? 1 : 0)} KiB`);
    /** That the plot is of the newest so many. */
    const covers = async (count) => {
        await page.waitForFunction((count) => document.querySelector('#plot svg')?.getAttribute('aria-label').includes(`: ${count} from`), count);
        const bars = await page.locator('#plot svg').evaluateAll((all) => all.map((svg) => Object.fromEntries([...svg.querySelectorAll('rect title')].map(({ textContent }) => textContent.split(': ')))));
        const days = new Map();
        for (const { date, bytes } of came.slice(-count)) {
            const said = days.get(date) ?? { transactions: 0, bytes: 0 };
            days.set(date, { transactions: said.transactions + 1, bytes: said.bytes + bytes });
        }
        for (const [date, said] of days) {
            assert.equal(bars[0][date], `${said.transactions}`, date);
            assert.equal(bars[1][date], size(said.bytes), date);
        }
        assert.ok(Object.entries(bars[0]).every(([date, said]) => days.has(date) || said === '0'));
        const busiest = Math.max(...[...days.values()].map(({ transactions }) => transactions));
        const label = new RegExp(`${count} from ${[...days.keys()][0]} to ${[...days.keys()].pop()}, at most ${busiest} on 2026-`);
        assert.match(await page.getAttribute('#plot svg', 'aria-label'), label);
    };
    await page.waitForSelector('#plot svg');
    const [, newest] = (await page.textContent('#scope')).match(/^The newest (\d+) of 120, by the day/) ?? [];
    assert.ok(newest < 120);
    await covers(Number(newest));
    // Days are those of the person, as in the list: the first hour of a day is the day before in New York.
    const west = await tab({ timezoneId: 'America/New_York' });
    await enter(west, user);
    await west.waitForSelector('#plot svg');
    assert.match(await row(west, 0).locator('time').textContent(), /^Sep 8, 2026/);
    assert.match(await west.getAttribute('#plot svg', 'aria-label'), / to 2026-09-08,/);
    await scroll(page, 120);
    await shows(page, '#scope', 'All transactions, by the day');
    await covers(120);
    for (const one of [page, west]) fine(one);
});

story('a store of Taskwarrior’s own library, and one of its requests, show their sizes and bytes as hex', async () => {
    for (const user of [cast.stores.tasks, cast.stores.taskwarrior].filter((user) => user !== undefined)) {
        const page = await tab();
        await enter(page, user);
        assert.match(await page.textContent('#head'), /2 transactions/);
        for (const index of [0, 1]) {
            await choose(page, index);
            await page.waitForSelector('#shown pre.hex');
            assert.match(await page.textContent('#shown h3'), /Chunk 1: \d+ bytes/);
            assert.equal(await page.locator('#shown .trouble').count(), 0);
        }
        if (user === cast.stores.tasks) assert.match(await page.textContent('#shown'), /Chunk 1: 10 bytes.*opaque/s);
        fine(page);
    }
});

story('an encrypted store is read with its invite, and not without', async () => {
    const { invite, user } = cast.stores.journal;
    const page = await tab();
    await enter(page, invite);
    await shows(page, '#history', 'the garden · photo.png');
    await choose(page, 1);
    await shows(page, '#shown pre', 'a secret line');
    await choose(page, 0);
    await page.waitForFunction(() => document.querySelector('#shown img')?.naturalWidth === 96);
    const [saved] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download photo.png' }).click()]);
    assert.equal(saved.suggestedFilename(), 'photo.png');
    assert.deepEqual(readFileSync(await saved.path()), png());
    fine(page);
    const blind = await tab();
    await enter(blind, user);
    await choose(blind, 1);
    await blind.waitForFunction(() => /Encrypted, with the key [0-9a-f]{16}/.test(document.querySelector('#shown').textContent));
    assert.doesNotMatch(await blind.textContent('main'), /a secret line/);
    fine(blind);
});

story('what was sealed before a rekey is read with the present invite, and what came after it not with an old one', async () => {
    const { now, between, old } = cast.stores.rekeyed;
    const page = await tab();
    await enter(page, now);
    const said = ['after both', 'A rekey', 'pending at the rekey', 'quicker than the rekey', 'between the keys', 'A rekey', 'the garden · photo.png', 'a secret line'];
    for (const text of said) await shows(page, '#history', text);
    assert.equal(await page.locator('#history li').count(), said.length);
    const told = await page.locator('#history .says').allTextContents();
    said.forEach((text, index) => assert.ok(told[index].startsWith(text), `${told[index]}, not ${text}`));
    await choose(page, 6);
    await page.waitForFunction(() => document.querySelector('#shown img')?.naturalWidth === 96);
    // The keys themselves are not shown.
    await choose(page, 1);
    await shows(page, '#shown', 'hands on 2 old keys');
    assert.equal(await page.locator('#shown pre').count(), 0);
    fine(page);
    // At once, where a tab begins with what is old.
    const parent = await tab();
    await enter(parent, now);
    await choose(parent, 7);
    await shows(parent, '#shown pre', 'a secret line');
    fine(parent);
    // Under the users that were left there is a last word alone.
    for (const invite of [between, old]) {
        const left = await tab();
        await enter(left, invite);
        await shows(left, '#history', 'The store has a new invite');
        assert.equal(await left.locator('#history li').count(), 1);
        fine(left);
    }
});

story('another key is told as one', async () => {
    const { world, stores } = cast;
    const page = await tab();
    await page.goto(`${world.address}/`);
    const other = await page.evaluate(async ([address, user]) => {
        const { Identity } = await import('/page/mentat-sync.js');
        return new Identity(address, user, new Uint8Array(32).fill(7)).invite();
    }, [world.address, stores.journal.user]);
    await enter(page, other);
    for (const index of [0, 1]) {
        await choose(page, index);
        await page.waitForSelector('#shown .trouble');
        assert.match(await page.textContent('#shown .trouble'), /another key than the invite has/);
        assert.equal(await page.locator('#shown pre, #shown img').count(), 0);
    }
    fine(page);
});

story('nothing of a hostile store runs', async () => {
    const { world, stores } = cast;
    const page = await tab();
    await enter(page, stores.hostile);
    for (const index of [0, 1, 2]) {
        await choose(page, index);
        await page.waitForSelector('#shown pre, #shown h3 ~ div .hint');
        await page.waitForTimeout(500);
    }
    assert.equal(await page.locator('#shown pre').count(), 5);
    assert.equal(await page.locator('#store img, #store script, #store iframe').count(), 0);
    assert.match(await page.textContent('#shown'), /<script>alert\(3\)<\/script>/);
    await choose(page, 0);
    const named = page.getByRole('button', { name: /^Download \.\./ });
    const [saved] = await Promise.all([page.waitForEvent('download'), named.click()]);
    assert.doesNotMatch(saved.suggestedFilename(), /[/<>]|\.html$/);
    // Nor where a browser is sent to a chunk itself.
    const { chunks } = await (await world.ask(stores.hostile, `transactions/${(await (await world.ask(stores.hostile, 'head')).json()).head}`)).json();
    assert.equal(await (await world.ask(stores.hostile, `chunks/${chunks[1]}`)).text(), PAGE);
    await page.goto(`${world.address}/0.1/${stores.hostile}/chunks/${chunks[1]}`).catch((error) => assert.match(`${error}`, /Download is starting/));
    fine(page);
});

story('the browser holds the page to its policy, whatever its script would do', async () => {
    const { world } = cast;
    const page = await tab();
    await page.goto(`${world.address}/`);
    await page.waitForSelector('#enter:not([hidden])');
    const elsewhere = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(`<iframe src="${world.address}/"></iframe>`));
    await new Promise((done) => elsewhere.listen(0, '127.0.0.1', done));
    const other = `http://127.0.0.1:${elsewhere.address().port}`;
    try {
        const { broken, blocked } = await page.evaluate(async (other) => {
            const blocked = new Set();
            addEventListener('securitypolicyviolation', ({ effectiveDirective }) => blocked.add(effectiveDirective));
            const broken = [];
            const attempt = (name, work) => {
                try {
                    work();
                    broken.push(name);
                } catch {
                    // As it should be.
                }
            };
            const put = (name, attributes) => document.body.append(Object.entries(attributes).reduce((made, [key, value]) => (made.setAttribute(key, value), made), document.createElement(name)));
            attempt('markup of text', () => (document.createElement('p').innerHTML = '<p>'));
            attempt('a script of text', () => (document.createElement('script').text = '1'));
            attempt('a handler of text', () => put('p', { onclick: 'globalThis.ran = true', id: 'handler' }));
            attempt('an object', () => put('object', { data: other }));
            attempt('a script of elsewhere', () => put('script', { src: `${other}/x.js` }));
            attempt('a frame of text', () => put('iframe', { srcdoc: '<p>' }));
            document.getElementById('handler')?.click();
            attempt('a policy of its own', () => trustedTypes.createPolicy('any', {}));
            put('p', { style: 'color: red' });
            put('img', { src: `${other}/x.png` });
            put('iframe', { src: other });
            put('base', { href: other });
            put('link', { rel: 'stylesheet', href: `${other}/x.css` });
            put('video', { src: `${other}/x.mp4` });
            put('form', { action: other, id: 'form' });
            document.getElementById('form').submit();
            await fetch(other, { mode: 'no-cors' }).then(() => broken.push('a request'), () => undefined);
            await import(`${other}/x.js`).then(() => broken.push('an import'), () => undefined);
            // Later, since the driver's own call may do it.
            await new Promise((done) => setTimeout(() => done(attempt('eval', () => globalThis.eval('1'))), 300));
            return { broken, blocked: [...blocked].sort() };
        }, other);
        assert.deepEqual(broken, []);
        const all = ['base-uri', 'connect-src', 'form-action', 'frame-src', 'img-src', 'media-src', 'require-trusted-types-for', 'script-src-elem', 'style-src-attr', 'style-src-elem', 'trusted-types'];
        assert.deepEqual(all.filter((directive) => !blocked.includes(directive)), []);
        // Nor may another page have it in a frame.
        const frame = await tab();
        await frame.goto(other);
        await frame.waitForTimeout(300);
        assert.equal(await frame.frames()[1]?.locator('#secret').count().catch(() => 0), 0);
    } finally {
        elsewhere.close();
        elsewhere.closeAllConnections();
    }
});

story('the page and its files are less than 100 KiB, and each is the one that the page names', async () => {
    const page = await tab();
    await page.goto(`${cast.world.address}/`);
    await page.waitForSelector('#enter:not([hidden])');
    const files = page.got.filter((response) => !response.url().startsWith('data:') && !/favicon/.test(response.url()));
    assert.deepEqual(files.map((response) => new URL(response.url()).pathname).sort(), ['/', '/page/mentat-sync.js', '/page/page.css', '/page/page.js']);
    const weights = await Promise.all(files.map(async (response) => (await response.body()).length));
    const all = weights.reduce((sum, weight) => sum + weight);
    assert.ok(all < 100 << 10, `${all} bytes`);
    const named = await page.locator('link[href], script[src]').evaluateAll((all) => all.map((one) => [one.getAttribute('href') ?? one.getAttribute('src'), one.integrity]));
    assert.equal(named.length, 3);
    for (const [name, integrity] of named) assert.match(integrity, /^sha256-.{44}$/, name);
    fine(page);
});

story('the secret is in this tab over a reload, in no other, and in no address', async () => {
    const { world, stores, browser } = cast;
    const context = await browser.newContext();
    const page = await tab({}, context);
    await page.goto(`${world.address}/#${stores.journal.invite.split('#')[1]}`);
    assert.equal(new URL(page.url()).hash, '');
    await page.waitForSelector('#history li time');
    await choose(page, 0);
    const bare = new URL(world.address).href;
    assert.equal(page.url(), bare);
    await page.reload();
    await page.waitForSelector('#history li time');
    assert.equal(page.url(), bare);
    const kept = await page.evaluate(async () => [localStorage.length, document.cookie, (await indexedDB.databases()).length, (await caches.keys()).length]);
    assert.deepEqual(kept, [0, '', 0, 0]);
    const other = await tab({}, context);
    await other.goto(`${world.address}/`);
    await other.waitForSelector('#enter:not([hidden])');
    assert.equal(await other.evaluate(() => sessionStorage.length + localStorage.length), 0);
    const code = stores.journal.invite.split('#')[1].replaceAll('-', '').toLowerCase();
    const { user } = stores.journal;
    for (const url of page.asked) assert.ok(!url.includes(user) && !url.replaceAll('-', '').toLowerCase().includes(code), url);
    assert.ok(page.asked.every((url) => url.startsWith(world.address) || url.startsWith('data:') || url.startsWith('blob:')));
    assert.ok(!world.said.includes(user));
    await page.click('#leave');
    await page.reload();
    await page.waitForSelector('#enter:not([hidden])');
    fine(page);
    fine(other);
});

story('what is no invite is told in words', async () => {
    const { world, stores } = cast;
    const { invite } = stores.journal;
    const page = await tab();
    for (const [said, told] of [['milk', /neither an invite nor a user id/], [`${invite.slice(0, -1)}${invite.endsWith('0') ? '1' : '0'}`, /typo/]]) {
        await page.goto(`${world.address}/`);
        await page.fill('#secret', said);
        await page.keyboard.press('Enter');
        await page.waitForSelector('#trouble .trouble');
        assert.match(await page.textContent('#trouble'), told);
    }
    await enter(page, randomUUID());
    assert.match(await page.textContent('#shown'), /Nothing has been committed/);
    fine(page);
});

story('a push is seen at once', async () => {
    const { world, stores } = cast;
    const page = await tab();
    await enter(page, stores.live);
    const { head, seq } = await (await world.ask(stores.live, 'head')).json();
    await world.commit(stores.live, head, `said ${seq + 1}`);
    await shows(page, '#head', `${seq + 1} transactions`);
    await shows(page, '#history li', `said ${seq + 1}`);
    fine(page);
});

story('a server that goes and comes again is told', async () => {
    const { world, stores } = cast;
    const page = await tab();
    await enter(page, stores.live);
    await page.waitForSelector('#live.is-live');
    const listen = new URL(world.address).host;
    await world.stop();
    await page.waitForSelector('#live.is-off', { timeout: 20_000 });
    assert.match(await page.textContent('#live'), /does not answer.*Trying again in \d+ second/);
    await world.start(listen);
    await page.waitForSelector('#live.is-live', { timeout: 40_000 });
    fine(page);
});

story('a million transactions are there at once', async () => {
    const { world, stores } = cast;
    const page = await tab();
    await page.goto(`${world.address}/`);
    await page.evaluate((user) => sessionStorage.setItem('mentat-sync', user), stores.big);
    const began = Date.now();
    await page.reload();
    const painted = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
    await page.waitForSelector('#history li time');
    const shown = Date.now() - began;
    console.log(`a million transactions: first paint after ${Math.round(painted)} ms, the newest shown after ${shown} ms`);
    assert.match(await page.textContent('#head'), /1,000,000 transactions/);
    assert.ok(shown < 10_000);
    // It stays at what is seen, and a little more.
    const grew = page.waitForFunction(() => document.querySelectorAll('#history li').length > 100, undefined, { timeout: Math.min(cast.patience, 6000) });
    assert.ok(!(await grew.then(() => true, () => false)), 'more of the list is loaded than is looked at');
    const listings = page.got.filter((response) => /transactions\?/.test(response.url()));
    assert.ok(listings.length > 0 && listings.length < 4, `${listings.length} listings`);
    for (const listing of listings) assert.ok((await listing.body()).length < 10_000, 'a part of the list');
    fine(page);
});

story('all of it is reached by the keyboard, which is seen where it is', async () => {
    const page = await tab();
    await page.goto(`${cast.world.address}/`);
    const focus = () => page.evaluate(() => {
        const { tagName, id, textContent, className } = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        return { tagName, id, textContent, className, seen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
    });
    // The field has the keyboard from the beginning.
    await page.waitForFunction(() => document.activeElement.id === 'secret');
    await page.keyboard.type(cast.stores.journal.invite);
    await page.keyboard.press('Enter');
    await shows(page, '#history', 'a secret line');
    const tabTo = async (is) => {
        for (let tries = 0; tries < 40; tries += 1) {
            await page.keyboard.press('Tab');
            const at = await focus();
            if (at.tagName === 'BODY') continue;
            assert.ok(at.seen, `${at.tagName} ${at.id} ${at.textContent.slice(0, 40)}: the keyboard is not seen there`);
            if (is(at)) return;
        }
        assert.fail('it is not reached by the keyboard');
    };
    await tabTo(({ tagName, textContent }) => tagName === 'BUTTON' && textContent.includes('a secret line'));
    await page.keyboard.press('Enter');
    await shows(page, '#shown pre', 'a secret line');
    assert.equal((await focus()).id, 'one', 'what was chosen has the keyboard');
    await tabTo(({ textContent }) => textContent === 'Back to the history');
    await tabTo(({ tagName }) => tagName === 'PRE');
    await tabTo(({ textContent }) => textContent === 'Download');
    await page.getByRole('button', { name: 'Back to the history' }).focus();
    await page.keyboard.press('Enter');
    assert.match((await focus()).textContent, /a secret line/);
    fine(page);
});

story('it is usable by whoever does not see it, and is left in pictures', async () => {
    mkdirSync(pictures, { recursive: true });
    for (const [scheme, width] of [['light', 390], ['light', 1280], ['dark', 390], ['dark', 1280]]) {
        const page = await tab({ colorScheme: scheme, viewport: { width, height: width === 390 ? 844 : 900 }, deviceScaleFactor: 1 });
        const picture = (name) => page.screenshot({ path: join(pictures, `${name}-${width}-${scheme}.png`) });
        await page.goto(`${cast.world.address}/`);
        await page.waitForSelector('#enter:not([hidden])');
        await accessible(page);
        await picture('enter');
        await enter(page, cast.stores.plain.user);
        await choose(page, 1);
        await page.waitForSelector('#shown img');
        await page.waitForSelector('#plot svg');
        await accessible(page);
        const overflows = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
        assert.ok(!overflows, 'it is as wide as the screen');
        await page.evaluate(() => scrollTo(0, 0));
        await picture('store');
        await page.evaluate(() => document.querySelector('#one').scrollIntoView());
        await page.waitForTimeout(300);
        await picture('one');
        await page.getByRole('button', { name: 'Back to the history' }).click();
        assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-current')), 'true');
        fine(page);
        await page.context().close();
    }
    assert.ok(readdirSync(pictures).length >= 12);
});
