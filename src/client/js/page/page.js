// The page at `/`: a look at one store, by whoever has its invite or its user's id.
//
// Nothing that comes from the server or out of a chunk becomes markup: all of it is text of nodes that are made here, or a
// picture of a type that was looked at. The secret is kept in this tab's sessionStorage, and sent in `Authorization` alone.
// SPDX-License-Identifier: Apache-2.0

import { Identity, Keyring, Keys, ROOT, Server, SyncError, keyIdOf } from './mentat-sync.js';

const KEPT = 'mentat-sync';
const PAGE = 50; // transactions that are loaded at a time
const WEIGHED = 32; // chunks of a transaction that are weighed for the list
const CHUNKS = 50; // chunks of a transaction that are shown at a time
const AT_A_TIME = 6; // requests, as browsers have connections
const SHOWN = 4 << 20; // bytes of a chunk that are fetched without being asked for
const TEXT = 64 << 10; // bytes of a text that are shown
const HEX = 2 << 10;
const BARS = 90;
const SLICE = 1000; // transactions that are listed at a time where old keys are looked for
const AHEAD = 400; // how far below the window what is older is loaded, in pixels

const here = new URL('.', location.href);
const address = (here.origin + here.pathname).replace(/\/+$/, '');

/**
 * @typedef {import('./mentat-sync.js').About} About
 * @typedef {import('./mentat-sync.js').Head} Head
 * @typedef {import('./mentat-sync.js').Listed} Listed
 *
 * @typedef {object} Row A line of the history.
 * @property {string} id
 * @property {number} seq
 * @property {Record<string, HTMLElement>} parts
 * @property {HTMLElement} button
 * @property {HTMLElement} element
 * @property {Listed} [transaction] once it was loaded
 * @property {Date} [date]
 * @property {number} [bytes]
 *
 * @typedef {object} Store
 * @property {string} user
 * @property {Keyring} [ring] none where there is a user's id alone
 * @property {Server} server
 * @property {Map<string, Date>} made when each came, by id
 * @property {AbortController} ended
 * @property {Map<string, Row>} rows
 * @property {Map<string, Promise<Keys[]>>} looked searches for keys from before a `rekey`, by what was looked for
 * @property {Head} head
 * @property {Head} [oldest] what the oldest that is loaded comes after
 * @property {string} [chosen]
 * @property {boolean} loading
 *
 * @typedef {{ secret: HTMLInputElement, show: HTMLInputElement, older: HTMLButtonElement }} Fields
 *
 * @typedef {object} JournalEntry
 * @property {string} [note]
 * @property {string} [text]
 * @property {string} [by]
 * @property {{ name: string, chunks: unknown[] }[]} files
 * @property {Uint8Array[]} [keys] of a `rekey`: those from before it
 * @property {boolean} isLast the last word under a user whom the store left
 */

/**
 * A part of the page.
 * @template {string} I @param {I} id @returns {I extends keyof Fields ? Fields[I] : HTMLElement}
 */
const at = (id) => /** @type {any} */ (document.getElementById(id));

/** The store that is looked at. @type {Store | undefined} */
let open;

/**
 * Makes an element; strings become text, never markup.
 * @param {string} name
 * @param {Record<string, string | number | undefined | ((event: Event) => unknown)>} attributes
 * @param {(Node | string | undefined)[]} children
 * @returns {HTMLElement}
 */
function make(name, attributes = {}, ...children) {
    const isSvg = ['svg', 'rect', 'line', 'title'].includes(name);
    const element = isSvg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (typeof value === 'function') element.addEventListener(key, value);
        else if (value !== undefined) element.setAttribute(key, `${value}`);
    }
    element.append(...children.filter((child) => child !== undefined));
    return /** @type {HTMLElement} */ (element);
}

/** @param {number} count */
const number = (count) => count.toLocaleString('en');
/** @param {number} count @param {string} one */
const many = (count, one) => `${number(count)} ${one}${count === 1 ? '' : 's'}`;

/** @param {number} bytes */
function size(bytes) {
    let unit = 0;
    let left = bytes;
    while (left >= 1024 && unit < 4) [left, unit] = [left / 1024, unit + 1];
    return unit === 0 ? many(bytes, 'byte') : `${left.toFixed(left < 10 ? 1 : 0)} ${['', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

const dates = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
/** @param {Date} date */
const day = (date) => date.toISOString().slice(0, 10);
/** @param {Date | undefined} date */
const when = (date) => (date ? make('time', { datetime: date.toISOString() }, dates.format(date)) : 'at an unknown time');

// ---------------------------------------------------------------------------------------------------------------------
// What went wrong, in words

/** @type {Record<string, string>} */
const CODES = {
    'unknown-user': 'This server knows no such user, and takes no new ones. Perhaps the store has a new invite.',
    unauthorized: 'The server wants to know who asks, and did not hear it. A proxy may have taken the Authorization header away.',
    damaged: 'Something is wrong with this store on the server’s disk. Whoever runs it should run mentat-sync fsck.',
    moving: 'This store is being moved to another server. Try again later.',
    'not-found': 'This address does not answer as the server does. Is a proxy in between?',
    'unknown-transaction': 'There is no such transaction on the chain any more.',
};
/** @type {Record<string, string>} */
const NAMES = {
    Offline: 'The server does not answer.',
    WrongKey: 'This was sealed with another key than the invite has, and than those from before a rekey. An invite from before a rekey opens nothing that came after it.',
    UnopenedChunk: 'This chunk is not what its name says, or was sealed for another place.',
    Forged: 'This was made by no device of this store.',
    BadInvite: 'This is neither an invite nor a user id.',
    Unsupported: 'The browser does not let this page compute digests or decrypt: that needs https, or localhost.',
};

/** @param {unknown} error @returns {(Node | string)[]} */
function words(error) {
    const { code, name, word, message } = /** @type {{ code?: string, name?: string, word?: string, message?: string }} */ (error ?? {});
    const first = CODES[code ?? ''] ?? NAMES[name ?? ''] ?? (word === 'wrong-key' ? NAMES.WrongKey : word && NAMES.UnopenedChunk);
    return [make('strong', {}, first ?? 'Something went wrong.'), ` ${message ?? error}`];
}

/** @param {(Node | string)[]} said */
function trouble(...said) {
    at('trouble').replaceChildren(...(said.length === 0 ? [] : [make('div', { class: 'trouble' }, ...said)]));
}

// ---------------------------------------------------------------------------------------------------------------------
// Who looks

/** Takes a secret from the address, and out of it before anything else happens. */
function fromAddress() {
    const fragment = location.hash;
    if (fragment === '') return undefined;
    history.replaceState(null, '', location.pathname + location.search);
    return /^#ms\d/i.test(fragment) ? address + '/' + fragment : undefined;
}

/**
 * Whether the invite of another address may be this server by another name is for the person to say.
 * @param {string} text @returns {Promise<{ user: string, ring?: Keyring, elsewhere?: string }>}
 */
async function identify(text) {
    const said = text.trim();
    if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(said)) return { user: said.toLowerCase() };
    const identity = await Identity.fromInvite(said);
    return { user: identity.user, ring: await identity.keyring(), elsewhere: identity.server === address ? undefined : identity.server };
}

/** @param {string} text @param {boolean} sure the person said that it is this server */
async function enter(text, sure = false) {
    trouble();
    try {
        const { user, ring, elsewhere } = await identify(text);
        if (elsewhere !== undefined && !sure) {
            const go = make('button', { type: 'button', click: () => enter(text, true) }, 'It is the same server: look here');
            trouble(make('strong', {}, 'This invite is for another address: '), elsewhere, make('div', { class: 'acts' }, go));
            ask();
            return;
        }
        sessionStorage.setItem(KEPT, text);
        await look(user, ring);
    } catch (error) {
        sessionStorage.removeItem(KEPT);
        trouble(...words(error));
        ask();
    }
}

function ask() {
    at('enter').hidden = false;
    at('secret').focus();
}

function leave() {
    open?.ended.abort();
    open = undefined;
    sessionStorage.removeItem(KEPT);
    for (const id of ['store', 'leave']) at(id).hidden = true;
    for (const id of ['history', 'shown', 'plot', 'facts', 'head', 'live']) at(id).replaceChildren();
    at('where').textContent = address;
    at('secret').value = '';
    trouble();
    ask();
}

// ---------------------------------------------------------------------------------------------------------------------
// What is asked

/** A server whose answers' `Last-Modified` is kept, by the end of the path. @param {string} user */
function serverOf(user) {
    /** @type {Map<string, Date>} */
    const made = new Map();
    /** @type {typeof fetch} */
    const noting = async (input, init) => {
        const answer = await fetch(input, init);
        const said = answer.headers.get('last-modified');
        if (said !== null) made.set(new URL(answer.url).pathname.split('/').pop() ?? '', new Date(said));
        return answer;
    };
    return { server: new Server({ server: address, user }, { fetch: noting }), made };
}

/** How long a chunk is, without its bytes. @param {Store} store @param {string} id */
async function weigh({ user, ended: { signal } }, id) {
    const headers = { Authorization: `Bearer ${user}` };
    /** @type {RequestInit} */
    const how = { method: 'HEAD', headers, signal, credentials: 'omit', referrerPolicy: 'no-referrer' };
    const answer = await fetch(`${address}/0.1/-/chunks/${id}`, how).catch(() => undefined);
    return answer?.ok ? Number(answer.headers.get('content-length')) : undefined;
}

/** Does the work for each, some at a time. @template T @param {T[]} list @param {(one: T) => Promise<unknown>} work */
async function each(list, work) {
    let next = 0;
    const one = async () => {
        while (next < list.length) await work(list[next++]);
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, one));
}

// ---------------------------------------------------------------------------------------------------------------------
// Where HEAD is, live

/** @param {string} user @param {Keyring} [ring] */
async function look(user, ring) {
    const ended = new AbortController();
    const { server, made } = serverOf(user);
    open = { user, ring, server, made, ended, rows: new Map(), looked: new Map(), head: { id: ROOT, seq: 0 }, oldest: undefined, chosen: undefined, loading: false };
    const store = open;
    const about = await server.about();
    if (store !== open) return;
    at('enter').hidden = true;
    for (const id of ['store', 'leave']) at(id).hidden = false;
    at('where').textContent = `${address}, user ${user.slice(0, 8)}…`;
    showHead(store, { id: about.head, seq: about.seq });
    showFacts(store, about);
    at('history').replaceChildren();
    watch(store);
    if (about.used === undefined && (about.limits.user_bytes ?? about.limits.user_files) !== undefined) recount(store);
    await older();
}

/** A server that has just begun to count a user knows how much there is in a moment. @param {Store} store */
async function recount(store) {
    for (const wait of [1000, 4000, 20_000]) {
        await new Promise((done) => setTimeout(done, wait));
        const about = store === open ? await store.server.about().catch(() => undefined) : undefined;
        if (about?.used === undefined) continue;
        if (store === open) showFacts(store, about);
        return;
    }
}

/** @param {Store} store @param {Head} head */
function showHead(store, head) {
    store.head = head;
    const empty = head.id === ROOT;
    at('head').replaceChildren(empty ? 'Nothing yet' : many(head.seq, 'transaction'), make('span', { class: 'id' }, head.id));
    if (empty) at('shown').replaceChildren(make('p', { class: 'hint' }, 'Nothing has been committed for this user. To the server, a user who was never here and an id with a typo look alike.'));
}

/** @param {Store} store @param {About} about */
function showFacts({ ring }, { limits, used, checkpoint }) {
    /** @type {HTMLElement[]} */
    const facts = [];
    const fact = (/** @type {string} */ name, /** @type {(Node | string)[]} */ ...said) => facts.push(make('dt', {}, name), make('dd', {}, ...said));
    /** @param {string} name @param {number | undefined} most @param {number} has @param {(count: number) => string} told */
    const ofMost = (name, most, has, told) => {
        if (most === undefined) return [told(has)];
        const meter = make('meter', { min: 0, max: most, value: Math.min(has, most), high: most * 0.9, 'aria-label': `${name} used` });
        return [`${told(has)} of ${told(most)}`, meter];
    };
    if (used === undefined) {
        const most = limits.user_bytes === undefined ? 'this server keeps no count, and limits no user' : `at most ${size(limits.user_bytes)}; it is being counted`;
        fact('Used', most);
    } else {
        fact('Used', ...ofMost('Bytes', limits.user_bytes, used.bytes, size));
        fact('Files', ...ofMost('Files', limits.user_files, used.files, number));
        fact('Pending', many(used.pending, 'transaction'));
    }
    fact('A chunk', `at most ${size(limits.chunk_bytes)}`);
    fact('A transaction', `at most ${number(limits.transaction_chunks)} chunks`);
    if (checkpoint === undefined) fact('Checkpoint', 'none: a new device begins at the root');
    else {
        const go = make('button', { type: 'button', click: () => choose(checkpoint.transaction) }, 'Show it');
        fact('Checkpoint', `at transaction ${number(checkpoint.seq)} `, make('span', { class: 'id' }, checkpoint.transaction), ' ', go);
    }
    fact('Key', ring === undefined ? 'none here: what is encrypted is shown as it is stored' : ring.current === null ? 'none: this store is plain' : make('span', { class: 'id' }, ring.current.id));
    at('facts').replaceChildren(...facts);
}

/** @param {string} text @param {string} how */
function live(text, how) {
    at('live').textContent = text;
    at('live').className = how;
}

/** @param {Store} store */
async function watch(store) {
    let wait = 1000;
    const { signal } = store.ended;
    while (store === open) {
        try {
            live('Live: this changes as soon as a device has pushed.', 'is-live');
            const head = await store.server.wait(store.head.id, 50_000, signal);
            if (store !== open) return;
            wait = 1000;
            if (head !== undefined) await moved(store, head);
        } catch (error) {
            if (store !== open) return;
            const { retryAfter, name, message } = /** @type {SyncError} */ (error);
            const seconds = Math.round((retryAfter ?? wait) / 1000);
            live(`${NAMES[name] ?? ''} ${message}. Trying again in ${many(seconds, 'second')}.`, 'is-off');
            await new Promise((done) => setTimeout(done, seconds * 1000));
            wait = Math.min(wait * 2, 30_000);
        }
    }
}

/** @param {Store} store @param {Head} head */
async function moved(store, head) {
    const before = store.head;
    let told;
    try {
        told = await store.server.transactions({ from: before.id, limit: 1000 });
    } catch (error) {
        if (/** @type {SyncError} */ (error).code !== 'unknown-transaction') throw error;
    }
    if (told === undefined) trouble(make('strong', {}, 'The history was replaced.'), ' HEAD was at a transaction that is not on the chain any more: the server’s disk may have been restored from a copy.');
    const about = await store.server.about();
    if (store !== open) return;
    showHead(store, head);
    showFacts(store, about);
    if (told === undefined || told.transactions.length >= 1000) {
        store.rows.clear();
        store.oldest = undefined;
        at('history').replaceChildren();
        await older();
        return;
    }
    const rows = told.transactions.map((id, index) => row(store, id, before.seq + 1 + index)).reverse();
    at('history').prepend(...rows.map(({ element }) => element));
    await fill(store, rows);
}

// ---------------------------------------------------------------------------------------------------------------------
// The history

/** @param {Store} store @param {string} id @param {number} seq @returns {Row} */
function row(store, id, seq) {
    const found = store.rows.get(id);
    if (found !== undefined) return found;
    const parts = Object.fromEntries(['seq', 'when', 'size', 'says'].map((name) => [name, make('span', { class: name })]));
    parts.seq.textContent = number(seq);
    const button = make('button', { type: 'button', click: () => choose(id) }, parts.seq, parts.when, parts.size, parts.says);
    const made = { id, seq, parts, button, element: make('li', { value: seq }, button) };
    store.rows.set(id, made);
    return made;
}

async function older() {
    const store = open;
    if (store === undefined || store.loading) return;
    store.loading = true;
    at('older').disabled = true;
    try {
        if (store.oldest === undefined || store.oldest.seq > 0) {
            const told = await store.server.transactions({ last: PAGE, to: store.oldest?.id });
            if (store !== open) return;
            const before = told.seq ?? 0;
            const rows = told.transactions.map((id, index) => row(store, id, before + 1 + index)).reverse();
            store.oldest = { id: told.from, seq: before };
            at('history').append(...rows.map(({ element }) => element));
            await fill(store, rows);
            if (store !== open) return;
            if (store.chosen === undefined && rows.length > 0 && matchMedia('(min-width: 60rem)').matches) choose(rows[0].id, false);
        }
    } catch (error) {
        if (store === open) trouble(...words(error));
    } finally {
        store.loading = false;
        at('older').disabled = false;
        at('older').hidden = store.oldest !== undefined && store.oldest.seq === 0;
    }
    // Nothing tells of a button that has been in sight all the while.
    const { top, height } = at('older').getBoundingClientRect();
    if (store === open && height > 0 && store.oldest !== undefined && top < innerHeight + AHEAD && top > -AHEAD) older();
}

/** Says of each row when it was made, how much it is, and what it says. @param {Store} store @param {Row[]} rows */
async function fill(store, rows) {
    await each(rows, async (made) => {
        if (store !== open) return;
        try {
            const transaction = await store.server.transaction(made.id, store.ended.signal);
            if (transaction === undefined) return;
            made.transaction = transaction;
            made.date = store.made.get(made.id);
            made.parts.when.replaceChildren(when(made.date));
            const sizes = await Promise.all(transaction.chunks.slice(0, WEIGHED).map((id) => weigh(store, id)));
            made.bytes = sizes.reduce((/** @type {number} */ sum, bytes) => sum + (bytes ?? 0), 0);
            const more = transaction.chunks.length > WEIGHED ? 'more than ' : '';
            made.parts.size.textContent = transaction.chunks.length === 0 ? 'no chunks' : more + size(made.bytes);
            made.parts.says.textContent = `${many(transaction.chunks.length, 'chunk')} · ${made.id}`;
            if (sizes[0] !== undefined && sizes[0] <= TEXT) made.parts.says.textContent = await summary(store, transaction);
        } catch (error) {
            if (store === open) made.parts.says.textContent = /** @type {Error} */ (error).message;
        }
    });
    if (store === open) plot(store);
}

/** One line of what a transaction says. @param {Store} store @param {Listed} transaction @returns {Promise<string>} */
async function summary(store, transaction) {
    const chunk = await store.server.chunk(transaction.chunks[0], store.ended.signal);
    if (chunk === undefined) return 'The server does not have it.';
    const { bytes, note } = await opened(store, transaction, 0, chunk);
    const text = note === undefined ? textOf(bytes.subarray(0, 4096)) : undefined;
    if (text === undefined) return note ?? `${many(transaction.chunks.length, 'chunk')} · ${transaction.id}`;
    const entry = journal(bytes);
    /** @type {string} */
    const said = entry === undefined ? text : aside(entry) ?? [entry.note, entry.text, ...entry.files.map(({ name }) => name)].filter((part) => part).join(' · ');
    return said.replace(/\s+/g, ' ').slice(0, 200);
}

// ---------------------------------------------------------------------------------------------------------------------
// Over time

/** @param {Store} store */
function plot(store) {
    const rows = [...store.rows.values()].flatMap(({ date, bytes }) => (date === undefined ? [] : [{ date, bytes }]));
    const all = store.head.seq;
    at('scope').textContent = rows.length >= all ? (all === 0 ? 'Nothing to show yet.' : 'All transactions, by the day when they came to the server.') : `The newest ${number(rows.length)} of ${number(all)}, by the day when they came to the server; more of them as older ones are loaded.`;
    if (rows.length === 0) return at('plot').replaceChildren();
    const DAY = 86_400_000;
    // The person's days, as in the list.
    const days = rows.map(({ date }) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / DAY);
    const first = days.reduce((least, one) => Math.min(least, one));
    const span = days.reduce((most, one) => Math.max(most, one)) - first + 1;
    const step = Math.ceil(span / BARS);
    const bars = Array.from({ length: Math.max(Math.ceil(span / step), 14) }, () => ({ transactions: 0, bytes: 0 }));
    const offset = bars.length - Math.ceil(span / step);
    rows.forEach((made, index) => {
        const bar = bars[offset + Math.floor((days[index] - first) / step)];
        bar.transactions += 1;
        bar.bytes += made.bytes ?? 0;
    });
    const dateOf = (/** @type {number} */ index) => day(new Date((first + (index - offset) * step) * DAY));
    const per = step === 1 ? 'a day' : `in ${step} days`;
    at('plot').replaceChildren(chart(`Transactions ${per}`, 'transactions', number), chart(`Bytes ${per}`, 'bytes', size));

    /** @param {string} title @param {'transactions' | 'bytes'} what @param {(count: number) => string} told */
    function chart(title, what, told) {
        const most = bars.reduce((top, bar) => Math.max(top, bar[what]), 1);
        const sum = bars.reduce((total, bar) => total + bar[what], 0);
        const busiest = bars.findIndex((bar) => bar[what] === most);
        const label = `${title}: ${told(sum)} from ${dateOf(offset)} to ${dateOf(bars.length - 1)}, at most ${told(most)}${busiest < 0 ? '' : ` on ${dateOf(busiest)}`}`;
        const wide = 600 / bars.length;
        const shapes = bars.map((bar, index) => {
            const high = bar[what] === 0 ? 0 : Math.max((bar[what] / most) * 94, 1.5);
            const place = { x: index * wide + wide * 0.1, y: 98 - high, width: wide * 0.8, height: high };
            return make('rect', place, make('title', {}, `${dateOf(index)}: ${told(bar[what])}`));
        });
        const svg = make('svg', { viewBox: '0 0 600 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, make('line', { x1: 0, x2: 600, y1: 99, y2: 99 }), ...shapes);
        const ends = make('div', { class: 'ends', 'aria-hidden': 'true' }, make('span', {}, dateOf(0)), make('span', {}, dateOf(bars.length - 1)));
        return make('figure', {}, make('figcaption', {}, `${title}, at most ${told(most)}`), svg, ends);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// One transaction

/** @param {string} id @param {boolean} focus */
async function choose(id, focus = true) {
    const store = open;
    if (store === undefined) return;
    for (const made of store.rows.values()) {
        if (made.id === id) made.button.setAttribute('aria-current', 'true');
        else made.button.removeAttribute('aria-current');
    }
    store.chosen = id;
    free();
    const is = () => store === open && store.chosen === id;
    at('shown').replaceChildren(make('p', { class: 'hint' }, 'Loading …'));
    if (focus) at('one').focus();
    try {
        const transaction = store.rows.get(id)?.transaction ?? (await store.server.transaction(id, store.ended.signal));
        if (!is()) return;
        if (transaction === undefined) throw new SyncError('UnknownTransaction', id, { code: 'unknown-transaction' });
        const { seq, parent, chunks } = transaction;
        const facts = make('dl', {});
        const fact = (/** @type {string} */ name, /** @type {(Node | string)[]} */ ...said) => facts.append(make('dt', {}, name), make('dd', {}, ...said));
        fact('Number', number(seq));
        fact('Id', make('span', { class: 'id' }, id));
        fact('Came', when(store.made.get(id)));
        const up = parent === ROOT || parent === null ? 'the root' : make('button', { type: 'button', click: () => choose(parent) }, make('span', { class: 'id' }, parent));
        fact('Parent', up);
        fact('Chunks', number(chunks.length));
        const list = make('div', {});
        const made = store.rows.get(id);
        const back = made && make('button', { type: 'button', click: () => made.button.focus() }, 'Back to the history');
        at('shown').replaceChildren(facts, ...(back ? [back] : []), list);
        showChunks(store, transaction, list, 0, is);
    } catch (error) {
        if (is()) at('shown').replaceChildren(make('div', { class: 'trouble' }, ...words(error)));
    }
}

/** @param {Store} store @param {Listed} transaction @param {HTMLElement} list @param {number} from @param {() => boolean} is it is still to be shown */
function showChunks(store, transaction, list, from, is) {
    const { chunks } = transaction;
    const upTo = Math.min(from + CHUNKS, chunks.length);
    /** @type {{ element: HTMLElement, begin: () => Promise<unknown> }[]} */
    const shown = [];
    for (let index = from; index < upTo; index += 1) shown.push(showChunk(store, transaction, index));
    list.append(...shown.map(({ element }) => element));
    each(shown, async ({ begin }) => (is() ? begin() : undefined));
    if (upTo === chunks.length) return;
    /** @type {HTMLElement} */
    const more = make('button', { type: 'button', click: () => (more.remove(), showChunks(store, transaction, list, upTo, is)) }, `Show more of ${number(chunks.length)} chunks`);
    list.append(more);
}

/** @param {Store} store @param {Listed} transaction @param {number} index */
function showChunk(store, transaction, index) {
    const id = transaction.chunks[index];
    const title = make('h3', {}, `Chunk ${number(index + 1)}`);
    const inside = make('div', {});
    const acts = make('div', { class: 'acts' });
    const element = make('div', { class: 'chunk' }, title, make('div', { class: 'id' }, id), inside, acts);
    const fetched = () => store.server.chunk(id, store.ended.signal);
    /** @typedef {Uint8Array<ArrayBuffer>} Bytes */
    const attempt = (/** @type {(bytes: Bytes) => unknown} */ work) => async () => {
        try {
            const bytes = await fetched();
            if (bytes === undefined) throw new SyncError('MissingChunks', 'The server does not have it.');
            await work(/** @type {Bytes} */ (bytes));
        } catch (error) {
            inside.replaceChildren(make('div', { class: 'trouble' }, ...words(error)));
        }
    };
    const button = (/** @type {string} */ name, /** @type {(bytes: Bytes) => unknown} */ work) => make('button', { type: 'button', 'aria-label': `${name} of chunk ${index + 1}`, click: attempt(work) }, name);
    const show = async (/** @type {Bytes} */ bytes) => {
        const { bytes: plain, note, sealed } = await opened(store, transaction, index, bytes);
        const entry = index === 0 && note === undefined ? journal(plain) : undefined;
        const word = note ?? (entry && aside(entry));
        const preview = [word && make('p', { class: 'hint' }, word), ...files(store, transaction, index, plain), entry?.keys ? undefined : look_at(plain)];
        if (sealed) title.textContent += `, ${size(plain.length)} inside`;
        inside.replaceChildren(...preview.filter((part) => part !== undefined));
        acts.replaceChildren(button('Download', async (again) => save((await opened(store, transaction, index, again)).bytes, `${id.slice(0, 16)}.bin`)));
        if (sealed) acts.append(button('Download as stored', (again) => save(again, `${id.slice(0, 16)}.sealed.bin`)));
    };
    const begin = async () => {
        const bytes = await weigh(store, id);
        if (bytes !== undefined) title.textContent += `: ${size(bytes)}`;
        if (bytes === undefined || (bytes <= SHOWN && index < 8)) return attempt(show)();
        acts.replaceChildren(button('Preview', show), button('Download as stored', (whole) => save(whole, `${id.slice(0, 16)}.bin`)));
    };
    return { element, begin };
}

/**
 * A chunk's content, decrypted where there is a key for it, with a word where there is none.
 * @param {Store} store @param {Listed} transaction @param {number} index @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<{ bytes: Uint8Array<ArrayBuffer>, note?: string, sealed?: boolean }>}
 */
async function opened(store, transaction, index, bytes) {
    const { seq, chunks } = transaction;
    const parent = transaction.parent ?? ROOT;
    const key = keyIdOf(bytes);
    const ring = store.ring ?? new Keyring(null);
    if (ring.plain) {
        return { bytes, note: key === undefined ? undefined : `Encrypted, with the key ${key}. The invite opens it; below is what the server has.` };
    }
    await oldKeys(store, transaction, key);
    if (index === 0) return { bytes: (await ring.openEntry(parent, seq, chunks.slice(1), bytes)).app, sealed: true };
    return { bytes: await ring.open({ kind: 'data' }, bytes), sealed: true };
}

/** Looks for the keys from before a `rekey`, once a chunk of this transaction says another key than ours. @param {Store} store @param {Listed} transaction @param {string | undefined} key */
async function oldKeys(store, transaction, key) {
    const { ring, looked, head } = store;
    if (key === undefined || ring === undefined || [ring.current, ...ring.old].some((known) => known?.id === key)) return;
    // What was not found is looked for again after HEAD has moved, or where it was an error that kept it.
    const what = `${key} ${head.id}`;
    const finding = looked.get(what) ?? findOldKeys(store, transaction);
    looked.set(what, finding);
    try {
        const found = await finding;
        if (found.length > 0) ring.old = found;
    } catch (error) {
        looked.delete(what);
        throw error;
    }
}

/**
 * The keys that the entry of a `rekey` hands on. It is one of the first that are sealed with the present key, and all after it are;
 * being sealed, it is of somebody who has that key. What was pending when the `rekey` came may stand before it, and the entry of
 * another one, which has more of them, after it.
 * @param {Store} store @param {Listed} transaction @returns {Promise<Keys[]>}
 */
async function findOldKeys({ ring, server, head, ended: { signal } }, transaction) {
    const ours = ring?.current ?? undefined;
    if (ring === undefined || ours === undefined) return [];
    const entry = async (/** @type {string} */ id) => {
        const found = await server.transaction(id, signal);
        if (found === undefined || found.parent === null || found.chunks.length === 0) return undefined;
        const { parent, seq, chunks } = found;
        const bytes = await server.chunk(chunks[0], signal);
        return bytes !== undefined && keyIdOf(bytes) === ours.id ? { parent, seq, chunks, bytes } : undefined;
    };
    if ((await entry(head.id)) === undefined) return [];
    // An entry under our key may name a chunk from before.
    let from = (await entry(transaction.id)) === undefined ? transaction.id : ROOT;
    const after = async (/** @type {string} */ id) => (await server.transactions({ from: id, limit: SLICE, signal })).transactions;
    let slice = await after(from);
    while (slice.length > 0 && (await entry(slice[slice.length - 1])) === undefined) {
        from = slice[slice.length - 1];
        slice = await after(from);
    }
    if (slice.length === 0) return [];
    let [low, high] = [0, slice.length - 1];
    while (low < high) {
        const middle = (low + high) >> 1;
        if ((await entry(slice[middle])) === undefined) low = middle + 1;
        else high = middle;
    }
    /** @type {Uint8Array[]} */
    let masters = [];
    for (const id of await after(slice[low - 1] ?? from)) {
        const found = await entry(id);
        if (found === undefined) break;
        const { parent, seq, chunks, bytes } = found;
        const { keys } = journal((await ring.openEntry(parent, seq, chunks.slice(1), bytes)).app) ?? {};
        if (keys !== undefined) masters = keys;
        else if (masters.length > 0) break;
    }
    return Promise.all(masters.map((master) => Keys.derive(master)));
}

/** The entry of a journal, as the program writes it, where these bytes are one. @param {Uint8Array} bytes @returns {JournalEntry | undefined} */
function journal(bytes) {
    try {
        const entry = JSON.parse(textOf(bytes) ?? '');
        if (entry?.app !== 'journal' || typeof entry !== 'object') return undefined;
        const isFile = (/** @type {any} */ file) => typeof file?.name === 'string' && Array.isArray(file.chunks);
        const text = (/** @type {unknown} */ one) => (typeof one === 'string' ? one : undefined);
        /** @type {(one: unknown) => any[] | undefined} */
        const list = (one) => (Array.isArray(one) ? one : undefined);
        const masters = (entry.v === 1 ? list(entry.keys) : undefined)?.map(master).filter((key) => key !== undefined) ?? [];
        const keys = masters.length > 0 ? masters : undefined;
        return { note: text(entry.note), text: text(entry.text), by: text(entry.by), files: list(entry.files)?.filter(isFile) ?? [], keys, isLast: entry.moved === true };
    } catch {
        return undefined;
    }
}

/** The 32 bytes that a journal spells in base64url. @param {unknown} spelled */
function master(spelled) {
    const bytes = typeof spelled === 'string' && /^[\w-]{43}$/.test(spelled) ? Uint8Array.from(atob(spelled.replace(/-/g, '+').replace(/_/g, '/')), (one) => one.charCodeAt(0)) : undefined;
    return bytes?.length === 32 ? bytes : undefined;
}

/** What an entry says that is of the store itself, in words. Keys are for no eye. @param {JournalEntry} entry */
function aside({ keys, isLast }) {
    if (isLast) return 'The store has a new invite: this is the last word under its old user.';
    return keys && `A rekey: from here on all is sealed with a new key. This hands on ${many(keys.length, 'old key')}, which the page uses and does not show.`;
}

/** Names that say of what kind a file is, and of a kind that no browser runs. */
const INERT = /\.(avif|bz2|csv|flac|gif|gz|jpe?g|json|log|md|mp[34]|ogg|pdf|png|tar|toml|txt|wav|webm|webp|xz|ya?ml|zip|zst)$/i;

/** @param {Store} store @param {Listed} transaction @param {number} index @param {Uint8Array} bytes */
function files(store, { chunks }, index, bytes) {
    if (index !== 0) return [];
    const entry = journal(bytes);
    return (entry?.files ?? []).map(({ name, chunks: places }) => {
        // eslint-disable-next-line no-control-regex
        const plain = (name.split(/[/\\]/).pop() ?? '').replace(/[\u0000-\u001f\u007f"*:<>?|\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '_').slice(-100) || 'file';
        const parts = async () => {
            try {
                /** @type {Uint8Array<ArrayBuffer>[]} */
                const whole = [];
                for (const place of places) {
                    const id = typeof place === 'number' ? chunks[place] : place;
                    const sealed = typeof id === 'string' ? await store.server.chunk(id, store.ended.signal) : undefined;
                    if (sealed === undefined) throw new SyncError('MissingChunks', 'The server does not have all of it.');
                    whole.push(await (store.ring ?? new Keyring(null)).open({ kind: 'data' }, sealed));
                }
                save(whole, INERT.test(plain) ? plain : `${plain}.bin`);
            } catch (error) {
                trouble(...words(error));
            }
        };
        return make('div', { class: 'acts' }, make('button', { type: 'button', click: parts }, `Download ${name.slice(0, 100)}`));
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Bytes for the eye; whoever made them, none of them runs

/** Addresses of pictures that are shown, to be freed. @type {string[]} */
let pictures = [];

function free() {
    for (const picture of pictures) URL.revokeObjectURL(picture);
    pictures = [];
}

/** Text, if it is UTF-8 without control characters but white space; a character that is cut off at the end does no harm. @param {Uint8Array} bytes */
function textOf(bytes) {
    try {
        const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
        // eslint-disable-next-line no-control-regex
        return /[\u0000-\u0008\u000e-\u001f\u007f]/.test(text) ? undefined : text;
    } catch {
        return undefined;
    }
}

/** The type of a picture that is of pixels alone; no SVG, which is a document. @param {Uint8Array} bytes */
function picture(bytes) {
    const starts = (/** @type {string} */ text, from = 0) => [...text].every((letter, index) => bytes[from + index] === letter.charCodeAt(0));
    if (starts('\x89PNG\r\n\x1a\n')) return 'image/png';
    if (starts('\xff\xd8\xff')) return 'image/jpeg';
    if (starts('GIF87a') || starts('GIF89a')) return 'image/gif';
    if (starts('RIFF') && starts('WEBP', 8)) return 'image/webp';
    return undefined;
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
function look_at(bytes) {
    if (bytes.length === 0) return make('p', { class: 'hint' }, 'Empty.');
    const type = picture(bytes);
    if (type !== undefined) {
        const source = URL.createObjectURL(new Blob([bytes], { type }));
        pictures.push(source);
        const image = make('img', { src: source, alt: `A picture, ${type.slice(6)}, ${size(bytes.length)}` });
        image.addEventListener('error', () => image.replaceWith(pre(hexOf(bytes), 'hex', 'hex')), { once: true });
        return image;
    }
    const part = bytes.subarray(0, TEXT);
    const text = textOf(part);
    if (text === undefined) return pre(hexOf(bytes), 'hex', 'hex');
    const cut = part.length < bytes.length ? `\n… ${size(bytes.length - part.length)} more` : '';
    try {
        if (cut === '' && /^\s*[[{]/.test(text)) return pre(JSON.stringify(JSON.parse(text), null, 2), 'JSON');
    } catch {
        // It is shown as the text that it is.
    }
    return pre(text + cut, 'text');
}

/** Scrolls, so the keyboard must reach it. @param {string} text @param {string} kind @param {string} [name] */
const pre = (text, kind, name) => make('pre', { class: name, tabindex: 0, role: 'region', 'aria-label': `Preview, ${kind}` }, text);

/** @param {Uint8Array} bytes */
function hexOf(bytes) {
    const lines = [];
    for (let from = 0; from < Math.min(bytes.length, HEX); from += 16) {
        const line = [...bytes.subarray(from, from + 16)];
        const digits = line.map((byte) => byte.toString(16).padStart(2, '0')).join(' ').padEnd(47);
        const letters = line.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
        lines.push(`${from.toString(16).padStart(6, '0')}  ${digits}  ${letters}`);
    }
    if (bytes.length > HEX) lines.push(`… ${size(bytes.length - HEX)} more`);
    return lines.join('\n');
}

/** Saves bytes under a type that nothing runs. @param {Uint8Array<ArrayBuffer> | Uint8Array<ArrayBuffer>[]} bytes @param {string} name */
function save(bytes, name) {
    const source = URL.createObjectURL(new Blob([bytes].flat(), { type: 'application/octet-stream' }));
    const link = make('a', { href: source, download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(source), 60_000);
}

// ---------------------------------------------------------------------------------------------------------------------

at('enter').addEventListener('submit', (event) => {
    event.preventDefault();
    const text = at('secret').value;
    at('secret').value = '';
    enter(text);
});
at('show').addEventListener('change', () => at('secret').classList.toggle('secret', !at('show').checked));
at('leave').addEventListener('click', leave);
at('older').addEventListener('click', older);
new IntersectionObserver((seen) => seen.some(({ isIntersecting }) => isIntersecting) && older(), { rootMargin: `${AHEAD}px` }).observe(at('older'));
addEventListener('hashchange', () => {
    const invite = fromAddress();
    if (invite === undefined) return;
    leave();
    enter(invite);
});

at('where').textContent = address;
const begun = fromAddress() ?? sessionStorage.getItem(KEPT);
if (begun === null) ask();
else enter(begun);
