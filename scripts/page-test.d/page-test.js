// What the page at `/` promises, in Chromium against the real server.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { ROOT, World, axe, browse, png, work } from './world.js';

const world = new World();
const pictures = join(work, 'pictures');
const [plain, tasks, hostile, big, live] = Array.from({ length: 5 }, () => randomUUID());
let browser;
let invite;

/** A tab that fails the test for whatever breaks the policy or throws, and that notes each address that is asked for. */
async function tab(options = {}, context = undefined) {
    const inside = context ?? (await browser.newContext({ acceptDownloads: true, ...options }));
    const page = await inside.newPage();
    page.asked = [];
    page.wrong = [];
    page.on('request', (request) => page.asked.push(request.url()));
    page.on('console', (line) => line.type() === 'error' && !/Failed to load resource/.test(line.text()) && page.wrong.push(line.text()));
    page.on('pageerror', (error) => page.wrong.push(`${error}`));
    page.on('dialog', (dialog) => (page.wrong.push(`a dialog: ${dialog.message()}`), dialog.dismiss()));
    return page;
}

async function enter(page, secret) {
    await page.goto(`${world.address}/`);
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

before(async () => {
    mkdirSync(pictures, { recursive: true });
    await world.start();
    let parent = ROOT;
    for (let day = 0; day < 120; day += 1) {
        const chunks = [`day ${day}: bought milk, eggs and bread\n`.repeat((day % 7) + 1)];
        if (day === 117) chunks.push(JSON.stringify({ list: ['milk', { eggs: 6 }], done: false }));
        if (day === 118) chunks.push(png());
        if (day === 119) chunks.push(Buffer.from(Array.from({ length: 300 }, (_, at) => at % 256)));
        parent = await world.commit(plain, parent, ...chunks);
        const came = Date.UTC(2026, 6, 1) / 1000 + Math.floor(day / 1.7) * 86_400;
        utimesSync(join(world.data, 'users', plain, 'transactions', parent.slice(0, 2), `${parent}.json`), came, came);
    }
    let version = ROOT;
    for (const text of ['opaque \u0001\u0002\u00ff', 'more \u0000']) {
        const headers = { 'X-Client-Id': tasks, 'Content-Type': 'application/vnd.taskchampion.history-segment' };
        const answer = await fetch(`${world.address}/v1/client/add-version/${version}`, { method: 'POST', headers, body: Buffer.from(text, 'latin1') });
        assert.equal(answer.status, 200);
        version = answer.headers.get('x-version-id');
    }
    const markup = '<img src=x onerror=alert(1)><script>alert(2)</script>';
    const page = `<!doctype html><script>alert(3)</script>${markup}`;
    const picture = '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(4)"><script>alert(5)</script></svg>';
    const entry = { v: 1, app: 'journal', note: markup, files: [{ name: `../${markup}.html`, size: 4, chunks: [1] }] };
    const first = await world.commit(hostile, ROOT, page, picture, 'alert(6)', '{"__proto__":{"x":1}}', '\x89PNG\r\n\x1a\nno picture');
    await world.commit(hostile, first, JSON.stringify(entry), page);
    await world.commit(live, ROOT, 'first');
    world.million(big);
    world.run(['init', 'journal', '--server', world.address]);
    world.run(['-C', 'journal', 'commit', '-'], 'a secret line\n');
    writeFileSync(join(world.folder, 'photo.png'), png());
    world.run(['-C', 'journal', 'commit', 'photo.png', '--note', 'the garden']);
    world.run(['-C', 'journal', 'push']);
    invite = world.run(['-C', 'journal', 'invite', '--force']).match(/http\S+#ms1\S+/i)[0];
    browser = await browse();
});

after(async () => {
    await browser?.close();
    await world.end();
});

test('a store that was made by curl: text, JSON, pictures and hex, and more of it as one scrolls', async () => {
    const page = await tab();
    await enter(page, plain);
    assert.match(await page.textContent('#head'), /120 transactions/);
    await choose(page, 0);
    await page.waitForSelector('#shown pre.hex');
    assert.match(await page.textContent('#shown pre.hex'), /000000 {2}00 01 02/);
    await choose(page, 1);
    await page.waitForFunction(() => document.querySelector('#shown img')?.naturalWidth === 96);
    await choose(page, 2);
    await page.waitForSelector('#shown pre[aria-label="Preview, JSON"]');
    assert.match(await page.textContent('#shown'), /"eggs": 6/);
    await page.waitForFunction(() => /of 1.0 GiB/.test(document.querySelector('#facts').textContent));
    assert.equal(await page.locator('#facts meter').count(), 2);
    assert.ok((await page.locator('#history li').count()) < 120);
    for (let tries = 0; tries < 20 && (await page.locator('#history li').count()) < 120; tries += 1) {
        await page.mouse.wheel(0, 5000);
        await page.locator('#history li').last().scrollIntoViewIfNeeded();
        await page.waitForTimeout(200);
    }
    assert.equal(await page.locator('#history li').count(), 120);
    assert.ok(await page.isHidden('#older'));
    assert.match(await page.getAttribute('#plot svg', 'aria-label'), /120 from 2026-07-01 to 2026-09-09/);
    // Down the parents, by the keyboard alone.
    await page.locator('#shown dl button').focus();
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('#shown dd')?.textContent === '117');
    fine(page);
});

test('a store of TaskChampion’s shows its sizes, and bytes as hex', async () => {
    const page = await tab();
    await enter(page, tasks);
    await choose(page, 1);
    await page.waitForSelector('#shown pre.hex');
    assert.match(await page.textContent('#shown h3'), /10 bytes/);
    fine(page);
});

test('an encrypted store is read with its invite, and not without', async () => {
    const page = await tab();
    await enter(page, invite);
    await page.waitForFunction(() => /the garden · photo.png/.test(document.querySelector('#history').textContent));
    await choose(page, 1);
    await page.waitForFunction(() => /a secret line/.test(document.querySelector('#shown pre')?.textContent));
    await choose(page, 0);
    await page.waitForFunction(() => document.querySelector('#shown img')?.naturalWidth === 96);
    const [saved] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download photo.png' }).click()]);
    assert.equal(saved.suggestedFilename(), 'photo.png');
    assert.deepEqual(readFileSync(await saved.path()), png());
    fine(page);
    const user = JSON.parse(readFileSync(join(world.folder, 'journal/.mentat-sync/remote'), 'utf8')).user;
    const blind = await tab();
    await enter(blind, user);
    await choose(blind, 1);
    await blind.waitForFunction(() => /Encrypted, with the key [0-9a-f]{16}/.test(document.querySelector('#shown').textContent));
    assert.doesNotMatch(await blind.textContent('main'), /a secret line/);
    fine(blind);
});

test('another key is told as one', async () => {
    const page = await tab();
    const user = JSON.parse(readFileSync(join(world.folder, 'journal/.mentat-sync/remote'), 'utf8')).user;
    await page.goto(`${world.address}/`);
    const other = await page.evaluate(async ([address, user]) => {
        const { Identity } = await import('/page/mentat-sync.js');
        return new Identity(address, user, new Uint8Array(32).fill(7)).invite();
    }, [world.address, user]);
    await enter(page, other);
    await choose(page, 0);
    await page.waitForSelector('#shown .trouble');
    assert.match(await page.textContent('#shown .trouble'), /another key than the invite has/);
    fine(page);
});

test('nothing of a hostile store runs', async () => {
    const page = await tab();
    await enter(page, hostile);
    for (const index of [0, 1]) {
        await choose(page, index);
        await page.waitForSelector('#shown pre');
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
    const { chunks } = await (await world.ask(hostile, `transactions/${(await (await world.ask(hostile, 'head')).json()).head}`)).json();
    await page.goto(`${world.address}/0.1/${hostile}/chunks/${chunks[1]}`).catch((error) => assert.match(`${error}`, /Download is starting/));
    fine(page);
});

test('the secret is in this tab over a reload, in no other, and in no address', async () => {
    const context = await browser.newContext();
    const page = await tab({}, context);
    await page.goto(`${world.address}/#${invite.split('#')[1]}`);
    assert.equal(new URL(page.url()).hash, '');
    await page.waitForSelector('#history li time');
    await page.reload();
    await page.waitForSelector('#history li time');
    const other = await tab({}, context);
    await other.goto(`${world.address}/`);
    await other.waitForSelector('#enter:not([hidden])');
    assert.equal(await other.evaluate(() => sessionStorage.length + localStorage.length), 0);
    const code = invite.split('#')[1].replaceAll('-', '').toLowerCase();
    const user = JSON.parse(readFileSync(join(world.folder, 'journal/.mentat-sync/remote'), 'utf8')).user;
    for (const url of page.asked) assert.ok(!url.includes(user) && !url.replaceAll('-', '').toLowerCase().includes(code), url);
    assert.ok(page.asked.every((url) => url.startsWith(world.address) || url.startsWith('data:') || url.startsWith('blob:')));
    assert.ok(!world.said.includes(user));
    await page.click('#leave');
    await page.reload();
    await page.waitForSelector('#enter:not([hidden])');
    fine(page);
    fine(other);
});

test('what is no invite is told in words', async () => {
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

test('a push is seen at once, and a server that goes and comes again is told', async () => {
    const page = await tab();
    await enter(page, live);
    const { head } = await (await world.ask(live, 'head')).json();
    await world.commit(live, head, 'second');
    await page.waitForFunction(() => /2 transactions/.test(document.querySelector('#head').textContent));
    await page.waitForFunction(() => /second/.test(document.querySelector('#history li').textContent));
    const listen = new URL(world.address).host;
    await world.stop();
    await page.waitForSelector('#live.is-off', { timeout: 20_000 });
    assert.match(await page.textContent('#live'), /does not answer.*Trying again in \d+ second/);
    await world.start(listen);
    await page.waitForSelector('#live.is-live', { timeout: 40_000 });
    fine(page);
});

test('a million transactions are there at once', async () => {
    const page = await tab();
    await page.goto(`${world.address}/`);
    await page.evaluate((user) => sessionStorage.setItem('mentat-sync', user), big);
    const began = Date.now();
    await page.reload();
    const painted = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
    await page.waitForSelector('#history li time');
    const shown = Date.now() - began;
    console.log(`a million transactions: first paint after ${Math.round(painted)} ms, the newest shown after ${shown} ms`);
    assert.match(await page.textContent('#head'), /1,000,000 transactions/);
    assert.ok(shown < 10_000);
    const bytes = page.asked.filter((url) => /transactions\?/.test(url)).length;
    assert.ok(bytes < 8, `${bytes} listings`);
    fine(page);
});

test('it is usable by whoever does not see it, and is left in pictures', async () => {
    for (const [scheme, width] of [['light', 1280], ['dark', 1280], ['light', 390], ['dark', 390]]) {
        const page = await tab({ colorScheme: scheme, viewport: { width, height: width === 390 ? 844 : 900 }, deviceScaleFactor: 1 });
        const picture = (name) => page.screenshot({ path: join(pictures, `${name}-${width}-${scheme}.png`) });
        await page.goto(`${world.address}/`);
        await page.waitForSelector('#enter:not([hidden])');
        await accessible(page);
        await picture('enter');
        await enter(page, plain);
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
