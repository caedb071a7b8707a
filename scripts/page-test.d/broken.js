// Pages that are broken on purpose, one thing at a time, by a proxy in front of the server: the story that has that promise must fail.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, request } from 'node:http';
import { after, before, test } from 'node:test';

import { makeStores } from './stores.js';
import { cast, stories } from './stories.js';
import { World, browse } from './world.js';

const FILES = ['page.css', 'mentat-sync.js', 'page.js'];

/**
 * What is broken: the beginning of the story that must fail, and in which file what stands instead of what; `policy` is what stands in
 * the policy instead of what, and `unsigned` leaves the digests of the page as they are.
 */
const BROKEN = {
    'a script of a text may run': ['the browser holds', { policy: [["; require-trusted-types-for 'script'; trusted-types 'none'", ''], ["script-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval'"]] }],
    'text becomes markup': ['the browser holds', { policy: [["require-trusted-types-for 'script'; ", '']] }],
    'a script comes from elsewhere': ['the browser holds', { policy: [["script-src 'self'", 'script-src *']] }],
    'requests go elsewhere': ['the browser holds', { policy: [["connect-src 'self'", 'connect-src *']] }],
    'pictures come from elsewhere': ['the browser holds', { policy: [["img-src 'self' blob:", 'img-src *']] }],
    'a form goes elsewhere': ['the browser holds', { policy: [["form-action 'none'; ", '']] }],
    'another page has it in a frame': ['the browser holds', { policy: [["frame-ancestors 'none'; ", '']], frame: true }],
    'a preview is markup': ['nothing of a hostile', { 'page.js': [["'aria-label': `Preview, ${kind}` }, text);", "'aria-label': `Preview, ${kind}` }, new DOMParser().parseFromString(text, 'text/html').body);"]], policy: [["; require-trusted-types-for 'script'; trusted-types 'none'", ''], ["script-src 'self'", "script-src 'self' 'unsafe-inline'"]] }],
    'a drawing is a picture': ['nothing of a hostile', { 'page.js': [["    if (starts('GIF87a')", "    if (starts('<svg')) return 'image/svg+xml';\n    if (starts('GIF87a')"]] }],
    'a file keeps a name that runs': ['nothing of a hostile', { 'page.js': [['INERT.test(plain) ? plain : `${plain}.bin`', 'plain']] }],
    'a file is not the one that the page names': ['the page and its files', { 'page.js': [['// The page at', '//  The page at']], unsigned: true }],
    'the page names no digests': ['the page and its files', { 'page.html': [[/ integrity="[^"]*"/g, '']] }],
    'the page is heavy': ['the page and its files', { 'page.css': [[/$/, `/*${'x'.repeat(60_000)}*/`]] }],
    'the page loads a fifth file': ['the page and its files', { 'page.js': [["at('where').textContent = address;\nconst", "fetch('openapi.json');\nconst"]] }],
    'the user is in the path of what is asked': ['the secret is', { 'mentat-sync.js': [['/0.1/-/', '/0.1/${this.user ?? `${globalThis.user}`}/']], 'page.js': [['open = { user,', 'globalThis.user = user;\n    open = { user,']] }],
    'the user is in a query': ['the secret is', { 'page.js': [['/0.1/-/chunks/${id}`', '/0.1/-/chunks/${id}?user=${open.user}`']] }],
    'the invite stays in the address': ['the secret is', { 'page.js': [["    history.replaceState(null, '', location.pathname + location.search);\n", '']] }],
    'the user comes into the address': ['the secret is', { 'page.js': [['        await look(user, ring);', "        history.replaceState(null, '', `?${user}`);\n        await look(user, ring);"]] }],
    'the secret is kept for ever': ['the secret is', { 'page.js': [[/sessionStorage/g, 'localStorage']] }],
    'the secret is kept in a cookie': ['the secret is', { 'page.js': [['        await look(user, ring);', '        document.cookie = `secret=${user}`;\n        await look(user, ring);']] }],
    'the secret is not kept': ['the secret is', { 'page.js': [['        sessionStorage.setItem(KEPT, text);\n', '']] }],
    'the secret is not forgotten': ['the secret is', { 'page.js': [['    open = undefined;\n    sessionStorage.removeItem(KEPT);\n', '    open = undefined;\n']] }],
    'the list is asked for as a whole': ['a million', { 'page.js': [['const PAGE = 50;', 'const PAGE = 100_000;']] }],
    'all of the list is loaded, piece by piece': ['a million', { 'page.js': [['top < innerHeight + AHEAD', 'true'], ['top > -AHEAD', 'true']] }],
    'what another key sealed is shown as if it were open': ['another key', { 'page.js': [['    await oldKeys(store, transaction, key);\n', '    if (key !== ring.current.id) return { bytes, sealed: true };\n']] }],
    'another key is no trouble': ['another key', { 'page.js': [["            inside.replaceChildren(make('div', { class: 'trouble' }, ...words(error)));", "            inside.replaceChildren(make('p', { class: 'hint' }, 'Empty.'));"]] }],
    'what is encrypted is not told as that': ['an encrypted store', { 'page.js': [['Encrypted, with the key ${key}.', 'Bytes.']] }],
    'old keys are not looked for': ['what was sealed before', { 'page.js': [['    await oldKeys(store, transaction, key);\n', '']] }],
    'old keys are looked for in one entry alone': ['what was sealed before', { 'page.js': [['of await after(slice[low - 1] ?? from)) {', 'of slice.slice(low, low + 1)) {']] }],
    'old keys are shown': ['what was sealed before', { 'page.js': [['    return keys && `A rekey', '    return undefined && `A rekey']] }],
    'the plot has each day as the one before': ['the plot', { 'page.js': [['date.getDate()) / DAY', 'date.getDate() - 1) / DAY']] }],
    'the plot has days that are not the person’s': ['the plot', { 'page.js': [['Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / DAY', 'Math.floor(date / DAY)']] }],
    'the plot counts no bytes': ['the plot', { 'page.js': [['bar.bytes += made.bytes ?? 0', 'bar.bytes += 1']] }],
    'the plot says that it is of all': ['the plot', { 'page.js': [['rows.length >= all ?', 'true ?']] }],
    'what is older is not loaded': ['a store that was made by curl', { 'page.js': [['isIntersecting) && older()', 'isIntersecting) && undefined'], ['top > -AHEAD) older()', 'top > -AHEAD) undefined']] }],
    'JSON is shown as it came': ['a store that was made by curl', { 'page.js': [['JSON.stringify(JSON.parse(text), null, 2)', 'text']] }],
    'the keyboard is not where the choice is': ['all of it is reached', { 'page.js': [["    if (focus) at('one').focus();\n", '']] }],
    'a choice is no button': ['all of it is reached', { 'page.js': [["const button = make('button', { type: 'button', click: () => choose(id) }, parts", "const button = make('div', { click: () => choose(id) }, parts"]] }],
    'a preview does not scroll by the keyboard': ['all of it is reached', { 'page.js': [['class: name, tabindex: 0,', 'class: name,']] }],
    'the keyboard is not seen': ['all of it is reached', { 'page.css': [[':focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }', ':focus-visible { outline: none; }']] }],
    'a field has no label': ['it is usable', { 'page.html': [['<label for="secret">Invite or user id</label>', '<p>Invite or user id</p>']] }],
    'text is too pale': ['it is usable', { 'page.css': [['--soft: #5c5a55', '--soft: #b0b0b0']] }],
    'a plot says nothing': ['it is usable', { 'page.js': [["role: 'img', 'aria-label': label }", "role: 'img' }"]] }],
    'it is wider than a phone': ['it is usable', { 'page.css': [['body { margin', 'body { min-width: 30rem; margin']] }],
    'what is pushed is not seen': ['a push is seen', { 'page.js': [["    at('history').prepend(...rows.map(({ element }) => element));\n", '']] }],
};

/** Makes the changes; none may be of something that is not there. */
function mend(text, changes, name) {
    let changed = text;
    for (const [from, to] of changes ?? []) {
        const after = changed.replace(from, typeof to === 'string' ? () => to : to);
        if (after === changed) throw new Error(`${name} has no ${from}`);
        changed = after;
    }
    return changed;
}

/** Answers as the server does, but for what is broken. */
class Proxy {
    broken = {};
    /** Breaks that could not be made. */
    missed = [];

    async start(address) {
        this.server = address;
        this.gate = createServer((asked, answer) => {
            const path = asked.url.split('?')[0];
            const file = path === '/' ? 'page.html' : path.slice('/page/'.length);
            const isPage = path === '/' || (path.startsWith('/page/') && FILES.includes(file));
            const work = isPage && asked.method === 'GET' ? this.page(file, answer) : this.pass(asked, answer);
            work.catch((error) => (this.missed.push(error), answer.destroy()));
        });
        await new Promise((done) => this.gate.listen(0, '127.0.0.1', done));
        return `http://127.0.0.1:${this.gate.address().port}`;
    }

    async pass(asked, answer) {
        const { hostname, port } = new URL(this.server);
        const on = request({ hostname, port, path: asked.url, method: asked.method, headers: asked.headers });
        on.on('response', (said) => {
            answer.writeHead(said.statusCode, said.headers);
            said.pipe(answer);
        });
        on.on('error', () => answer.destroy());
        answer.on('close', () => on.destroy());
        asked.pipe(on);
    }

    async file(name) {
        const said = await fetch(`${this.server}/${name === 'page.html' ? '' : `page/${name}`}`, { headers: { accept: 'text/html' } });
        return { headers: said.headers, text: mend(await said.text(), this.broken[name], name) };
    }

    async page(name, answer) {
        const { headers, text } = await this.file(name);
        const told = Object.fromEntries(['content-type', 'cache-control', 'content-security-policy', 'x-frame-options'].map((name) => [name, headers.get(name)]).filter(([, value]) => value !== null));
        if (name !== 'page.html') return answer.writeHead(200, told).end(text);
        told['content-security-policy'] = mend(told['content-security-policy'], this.broken.policy, 'the policy');
        if (this.broken.frame) delete told['x-frame-options'];
        let html = text;
        for (const file of this.broken.unsigned ? [] : FILES) {
            const digest = createHash('sha256').update((await this.file(file)).text).digest('base64');
            html = html.replace(new RegExp(`(page/${file}" integrity=")[^"]*`), `$1sha256-${digest}`);
        }
        return answer.writeHead(200, told).end(html);
    }

    end() {
        this.gate.close();
        this.gate.closeAllConnections();
    }
}

const proxy = new Proxy();

/** Stories that come to a good end through the proxy, and with as little patience. */
const good = new Set();

/** Tells a story of the page as it is, once: where one fails for want of time, the break may not be why. */
async function control(name, told) {
    if (good.has(name)) return;
    await told().catch((error) => assert.fail(`“${name}” fails where nothing is broken: ${error.message}`));
    good.add(name);
}

before(async () => {
    cast.world = new World();
    await cast.world.start();
    cast.world.address = await proxy.start(cast.world.address);
    cast.stores = await makeStores(cast.world);
    cast.browser = await browse();
    // As long as such a machine needs, and not much longer: most breaks are a wait for what does not come.
    const since = performance.now();
    await stories.get([...stories.keys()].find((name) => name.startsWith('an encrypted store')))();
    cast.patience = Math.min(Math.max(2000, performance.now() - since), 20_000);
});

after(async () => {
    await cast.browser?.close();
    proxy.end();
    await cast.world?.end();
});

const only = new RegExp(process.env.STORY ?? '');
const picked = Object.entries(BROKEN).filter(([what]) => only.test(what));
const began = performance.now();
let noticed = 0;
after(() => console.log(`page-test: ${noticed} of ${picked.length} pages that are broken on purpose noticed; ${Math.round((performance.now() - began) / 1000)} s`));

for (const [what, [begins, broken]] of picked) {
    test(`where ${what}, it is noticed`, async () => {
        const [name, told] = [...stories].find(([name]) => name.startsWith(begins)) ?? [];
        assert.ok(told, `no story begins with ${begins}`);
        proxy.broken = broken;
        const failed = await told().then(() => undefined, (error) => error);
        proxy.broken = {};
        for (const context of cast.browser.contexts()) await context.close();
        assert.deepEqual(proxy.missed.splice(0), []);
        assert.ok(failed, `nothing of “${name}” fails`);
        if (failed.name === 'TimeoutError') await control(name, told);
        noticed += 1;
    });
}
