// The envelope, the ids of transactions and the invites once more, written from CLIENT.md, section 4, over WebCrypto: what
// a browser has, and nothing of this repository. Holds itself to the vectors in the file that it is given.

import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';

const subtle = webcrypto.subtle;
const utf8 = (text) => new TextEncoder().encode(text);
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const unhex = (text) => new Uint8Array(Buffer.from(text, 'hex'));
const base64url = (bytes) => Buffer.from(bytes).toString('base64url');
const join = (...parts) => new Uint8Array(Buffer.concat(parts.map((part) => Uint8Array.from(part))));
const sha256 = async (bytes) => new Uint8Array(await subtle.digest('SHA-256', bytes));

const u32 = (number) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, number);
    return bytes;
};
const u64 = (number) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
    return bytes;
};

async function hmac(key, bytes) {
    const imported = await subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    return new Uint8Array(await subtle.sign('HMAC', imported, bytes));
}

// HKDF (RFC 5869) of up to 32 bytes: WebCrypto's own does both steps at once.
const extract = (salt, secret) => hmac(salt, secret);
const expand = async (key, info, length) => (await hmac(key, join(info, [1]))).slice(0, length);

async function derive(master) {
    const root = await extract(utf8('mentat-sync envelope 1'), master);
    return {
        id: await expand(root, utf8('key id'), 8),
        nonce: await expand(root, utf8('nonce'), 32),
        seal: await expand(root, utf8('seal'), 32),
    };
}

function padme(length) {
    const exponent = Math.floor(Math.log2(length));
    const step = 2 ** (exponent - (Math.floor(Math.log2(exponent)) + 1));
    return Math.ceil(length / step) * step;
}

const KINDS = { data: 1, entry: 2, checkpoint: 3 };

const uuid = (text) => unhex(text.replaceAll('-', ''));

function contextBytes(kind, context) {
    if (kind === 'data') return new Uint8Array();
    const place = uuid(kind === 'entry' ? context.parent : context.transaction);
    return join(place, u64(context.seq), u32(context.others.length), ...context.others.map(unhex));
}

const name = (keys, kind, context, plaintext) =>
    hmac(keys.nonce, join([kind], u64(context.length), context, plaintext));

async function cipher(keys, n, header, context) {
    const key = await expand(keys.seal, join(utf8('chunk'), n), 32);
    const imported = await subtle.importKey('raw', key, 'AES-GCM', false, ['encrypt', 'decrypt']);
    const how = { name: 'AES-GCM', iv: new Uint8Array(12), additionalData: join(header, context), tagLength: 128 };
    return [how, imported];
}

async function seal(keys, kind, context, plaintext) {
    const n = await name(keys, kind, context, plaintext);
    const header = join(utf8('MSE1'), [kind, 0, 0, 0], keys.id, n);
    const body = new Uint8Array(padme(plaintext.length + 4));
    body.set(u32(plaintext.length));
    body.set(plaintext, 4);
    return join(header, new Uint8Array(await subtle.encrypt(...(await cipher(keys, n, header, context)), body)));
}

const same = (one, two) => Buffer.compare(one, two) === 0;

class Refused extends Error {}
const check = (good, word) => {
    if (!good) throw new Refused(word);
};

async function open(keys, kind, context, chunk) {
    check(chunk.length >= 68, 'short');
    const header = chunk.slice(0, 48);
    check(same(header.slice(0, 4), utf8('MSE1')), 'magic');
    check(header[4] === kind, 'kind');
    check(header[5] === 0, 'flags');
    check(header[6] === 0 && header[7] === 0, 'reserved');
    check(same(header.slice(8, 16), keys.id), 'wrong-key');
    const room = chunk.length - 64;
    check(padme(room) === room, 'length');
    const n = header.slice(16);
    let body;
    try {
        body = new Uint8Array(await subtle.decrypt(...(await cipher(keys, n, header, context)), chunk.slice(48)));
    } catch {
        throw new Refused('tag');
    }
    const length = new DataView(body.buffer).getUint32(0);
    check(length + 4 <= room && padme(length + 4) === room, 'length');
    const plaintext = body.slice(4, 4 + length);
    check(body.slice(4 + length).every((byte) => byte === 0), 'padding');
    check(same(await name(keys, kind, context, plaintext), n), 'nonce');
    return plaintext;
}

async function transactionId(parent, seq, chunks) {
    const start = utf8('mentat-sync transaction 1\0');
    const id = (await sha256(join(start, uuid(parent), u64(seq), u32(chunks.length), ...chunks.map(unhex)))).slice(0, 16);
    id[6] = (id[6] & 0x0f) | 0x80;
    id[8] = (id[8] & 0x3f) | 0x80;
    return hex(id).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

const SYMBOLS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

async function readInvite(text) {
    const [, address, code] = text.trim().match(/^([^#]*)#([^]*)$/) ?? [];
    check(code !== undefined, 'not-an-invite');
    const symbols = code.replace(/[-\s]/g, '').toUpperCase().replaceAll('O', '0').replace(/[IL]/g, '1');
    check(!/^MS[2-9]/.test(symbols), 'newer');
    check(symbols.startsWith('MS1'), 'not-an-invite');
    const values = [...symbols.slice(3)].map((symbol) => SYMBOLS.indexOf(symbol));
    check(!values.includes(-1), 'typo');
    const bits = values.map((value) => value.toString(2).padStart(5, '0')).join('');
    const length = Math.floor(bits.length / 8);
    check(bits.length - 8 * length < 5 && !bits.slice(8 * length).includes('1') && length > 4, 'typo');
    const bytes = Uint8Array.from({ length }, (_, at) => parseInt(bits.slice(8 * at, 8 * at + 8), 2));
    const body = bytes.slice(0, -4);
    check(same((await sha256(body)).slice(0, 4), bytes.slice(-4)), 'typo');
    check(body[0] === 1 && body[1] <= 1, 'newer');
    check(body.length === (body[1] === 1 ? 18 : 50), 'typo');
    const url = address.replace(/\/+$/, '');
    check(/^(https?:\/\/[^/@?#\s][^@?#\s]*|unix:\/[^#\s]+)$/.test(url), 'address');
    return { url, user: hex(body.slice(2, 18)), master: body[1] === 1 ? null : hex(body.slice(18)) };
}

async function writeInvite({ url, user, master }) {
    const body = join([1, master === null ? 1 : 0], uuid(user), unhex(master ?? ''));
    const bytes = join(body, (await sha256(body)).slice(0, 4));
    const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    const symbols = bits.match(/.{1,5}/g).map((five) => SYMBOLS[parseInt(five.padEnd(5, '0'), 2)]);
    return `${url}${url.startsWith('unix:') ? '' : '/'}#ms1${symbols.join('').match(/.{1,5}/g).join('-')}`;
}

// An entry of a plain store; its application's bytes come back by the text alone.
function plainEntry(nonce, app) {
    const spelled = base64url(nonce);
    try {
        const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(app);
        const object = JSON.parse(text);
        if (text.startsWith('{') && !('nonce' in object)) {
            const comma = Object.keys(object).length > 0 ? ',' : '';
            return `{"nonce":"${spelled}"${comma}${text.slice(1)}`;
        }
    } catch {
        // It is said in base64.
    }
    return `{"bytes":"${base64url(app)}","nonce":"${spelled}"}`;
}

let checks = 0;
function equal(one, two, what) {
    checks += 1;
    if (one !== two) {
        console.error(`${what}: ${one}, and should be ${two}`);
        process.exit(1);
    }
}
async function refusedWith(word, what, trial) {
    let told = 'taken';
    try {
        await trial();
    } catch (error) {
        if (!(error instanceof Refused)) throw error;
        told = error.message;
    }
    equal(told, word, what);
}

const vectors = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const plaintextOf = (vector) =>
    vector.plaintext === undefined
        ? Uint8Array.from({ length: vector.plaintext_counted }, (_, at) => at % 251)
        : unhex(vector.plaintext);

for (const vector of vectors.keys) {
    const keys = await derive(unhex(vector.master));
    equal(hex(keys.id), vector.key_id, vector.comment);
    equal(hex(keys.nonce), vector.k_nonce, vector.comment);
    equal(hex(keys.seal), vector.k_seal, vector.comment);
}
const keys = await derive(unhex(vectors.keys[0].master));
for (const { length, padded } of vectors.padded) equal(padme(length + 4), padded, `padding of ${length}`);
for (const vector of vectors.sealed) {
    const context = contextBytes(vector.kind, vector.context);
    const chunk = await seal(keys, KINDS[vector.kind], context, plaintextOf(vector));
    equal(hex(await sha256(chunk)), vector.id, vector.comment);
    equal(chunk.length, vector.bytes, vector.comment);
    if (vector.chunk !== undefined) equal(hex(chunk), vector.chunk, vector.comment);
    const opened = await open(keys, KINDS[vector.kind], context, chunk);
    equal(same(opened, plaintextOf(vector)), true, vector.comment);
}
for (const vector of vectors.refused) {
    const context = contextBytes(vector.kind, vector.context);
    await refusedWith(vector.error, vector.comment, async () => {
        const body = await open(keys, KINDS[vector.kind], context, unhex(vector.chunk));
        check(vector.kind !== 'entry' || body.length >= 16, 'entry');
    });
}
for (const vector of vectors.entries) {
    equal(vector.nonce + vector.app, vector.body, vector.comment);
    equal(plainEntry(unhex(vector.nonce), unhex(vector.app)), vector.plain, vector.comment);
}
for (const vector of vectors.transaction_ids) {
    equal(await transactionId(vector.parent, vector.seq, vector.chunks), vector.id, vector.comment);
}
for (const vector of vectors.invites) {
    equal(await writeInvite(vector), vector.invite, vector.comment);
    for (const text of [vector.invite, ...vector.read_as_well]) {
        const read = await readInvite(text);
        equal(read.url, vector.url, vector.comment);
        equal(read.user, vector.user.replaceAll('-', ''), vector.comment);
        equal(read.master, vector.master, vector.comment);
    }
}
for (const vector of vectors.invites_refused) {
    await refusedWith(vector.error, vector.comment, () => readInvite(vector.invite));
}
console.log(`vectors-test: ${checks} checks by WebCrypto of Node ${process.version}: all as the file has it`);
