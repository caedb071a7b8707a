// @ts-check
/**
 * A device of mentat-sync for JavaScript: a page, a worker, Node 20 and whatever else has fetch and Web Crypto.
 *
 * One module without dependencies and without a build. It says and reads what the program `mentat-sync` does, byte for byte:
 * src/CLIENT.md describes it, src/client/vectors.json holds both to it, src/docs/browsers.md shows how to use it.
 *
 * - `Identity`: server, user and key, from an invite; `Keyring`: what seals and opens a chunk
 * - `Server`: the wire, one method a request; for a look at a store without a copy of it
 * - `Replica`: a whole copy of a store, for use offline, in a `Storage`: `IndexedDbStorage`, `MemoryStorage` or your own
 * - `SyncError`: what can go wrong, by name
 *
 * SPDX-License-Identifier: Apache-2.0
 * @module
 */

/** The id of the transaction that all chains begin after. */
export const ROOT = '00000000-0000-0000-0000-000000000000';

/** Sizes, counts and waits, each as the program has it, or smaller for a page's sake. */
const limits = {
    /** Bytes of a slice that `put` cuts: one MiB with the 4 bytes of its length. */
    slice: (1 << 20) - 4,
    /** Bytes of an entry, and of a checkpoint's body. */
    entry: 1 << 20,
    /** Bytes of a chunk's JSON or any other answer that is no bundle. */
    answer: 64 << 20,
    chunk: 1 << 30,
    transactionChunks: 100_000,
    transactionJson: 16 << 20,
    missingIds: 100_000,
    /** Transactions that are asked for at a time, and sent at a time. */
    pulled: 1000,
    pushed: 1000,
    /** Bytes that are held in memory before they are written to the storage. */
    held: 8 << 20,
    /** Bytes of chunks below which the server is not asked first which of them it lacks. */
    small: 64 << 10,
    /** Bytes of a bundle that is sent. */
    parcel: 16 << 20,
    /** Chunks that are fetched together where a bundle broke. */
    fetched: 16,
    tries: 3,
    /** How often others may be quicker in one sync. */
    races: 100,
    /** Entries that are read from the storage at a time. */
    listed: 64,
    /** Ids from before a rebase that are remembered. */
    renamed: 1000,
    /** Times, in milliseconds. */
    answerWait: 60_000,
    syncWait: 60_000,
    retryFirst: 200,
    retryMost: 30_000,
    retryAfterMost: 3_600_000,
    /** One long poll: less than most proxies' minute. */
    poll: 50_000,
    /** How often a wait looks for commits of other tabs. */
    look: 500,
    /** How long the lease of who syncs lasts where there are no Web Locks. */
    lease: 10_000,
};

// ---------------------------------------------------------------------------------------------------------------------
// What can go wrong

/**
 * @typedef {'Offline' | 'Refused' | 'Diverged' | 'WrongKey' | 'Forged' | 'UnopenedChunk' | 'Damaged' | 'NotThisReplica' |
 *   'Busy' | 'UnknownTransaction' | 'MissingChunks' | 'TooLong' | 'App' | 'Full' | 'Unsupported' | 'BadInvite'} ErrorName
 *
 * @typedef {object} Head
 * @property {string} id
 * @property {number} seq
 *
 * @typedef {object} ErrorDetails
 * @property {unknown} [cause]
 * @property {number} [retryAfter] Offline: milliseconds, the server's own word for when to try again
 * @property {number} [status] Refused: the status of the answer
 * @property {string} [code] Refused: the server's word, such as `quota-exceeded`
 * @property {'rollback' | 'fork' | 'empty' | 'other-store'} [how] Diverged
 * @property {Head} [common] Diverged: the newest transaction that both have
 * @property {number} [ours] Diverged: how many of ours, confirmed ones, come after it
 * @property {number} [theirs] Diverged: how many of theirs do
 * @property {string} [ourKey] WrongKey: the public id of our key
 * @property {string} [theirKey] WrongKey: that of the key that it is sealed with
 * @property {string} [transaction] Forged, UnknownTransaction
 * @property {string} [what] Forged: id, order, seq, envelope, digest, missing or garbage; BadInvite: not-an-invite, address, typo
 *   or newer; UnopenedChunk: the word of the vectors
 * @property {string[]} [chunks] MissingChunks, UnopenedChunk
 * @property {boolean} [passes] Offline: a try in a moment may succeed
 */

/**
 * What went wrong, told apart by `name`, as in the program's library. Nothing that was durable before it is lost by any, and whatever
 * was tried may be tried again. `transient` says that the same may well succeed later, with nothing done about it.
 *
 * - `Offline`: the server was not reached, broke off, or is too busy
 * - `Refused`: it understood, and will not: `status`, `code`
 * - `Diverged`: its history is not ours: `how`, `common`, `ours`, `theirs`
 * - `WrongKey`: another key sealed it: this replica needs the present invite
 * - `Forged`: it gave out what no device of this store made; nothing of it was taken
 * - `Damaged`, `UnopenedChunk`: what is kept here is not what it must be
 * - `Busy`: another tab holds the replica for too long, or others were quicker each time
 * - `Full`: the browser gives no more room
 * - `Unsupported`: the surroundings lack something; mostly a secure context, which is https or localhost
 * - `NotThisReplica`, `UnknownTransaction`, `MissingChunks`, `TooLong`, `BadInvite`: what was asked for cannot be had
 * - `App`: the application threw: `cause`
 */
export class SyncError extends Error {
    /**
     * @param {ErrorName} name
     * @param {string} message
     * @param {ErrorDetails} [details]
     */
    constructor(name, message, details = {}) {
        super(message, details.cause === undefined ? undefined : { cause: details.cause });
        /** @type {ErrorName} */
        this.name = name;
        this.retryAfter = details.retryAfter;
        this.status = details.status;
        this.code = details.code;
        this.how = details.how;
        this.common = details.common;
        this.ours = details.ours;
        this.theirs = details.theirs;
        this.ourKey = details.ourKey;
        this.theirKey = details.theirKey;
        this.transaction = details.transaction;
        this.what = details.what;
        this.chunks = details.chunks;
        this.passes = details.passes;
    }

    /** Whether the same may well succeed later, with nothing done about it. */
    get transient() {
        return this.name === 'Offline' || this.name === 'Busy';
    }
}

/** @param {string} transaction @param {string} what @param {string} words */
const forged = (transaction, what, words) =>
    new SyncError('Forged', `the server's history was tampered with: the transaction ${transaction} ${words}`, {
        transaction,
        what,
    });

/** Why a chunk does not open: one word, as the vectors have it. */
export class OpenError extends Error {
    /**
     * @param {string} word
     * @param {string} [ourKey]
     * @param {string} [theirKey]
     */
    constructor(word, ourKey, theirKey) {
        super(word === 'wrong-key' ? `sealed with the key ${theirKey}, and ours is ${ourKey}` : `the chunk does not open: ${word}`);
        this.name = 'OpenError';
        this.word = word;
        this.ourKey = ourKey;
        this.theirKey = theirKey;
    }

    /** @param {string} transaction */
    in(transaction) {
        return this.#wrongKey() ?? forged(transaction, 'envelope', `has an entry that does not open: ${this.word}`);
    }

    /** @param {string} chunk */
    of(chunk) {
        const details = { what: this.word, chunks: [chunk] };
        return this.#wrongKey() ?? new SyncError('UnopenedChunk', `the chunk ${chunk} does not open: ${this.word}`, details);
    }

    #wrongKey() {
        if (this.word !== 'wrong-key') return undefined;
        const { ourKey, theirKey } = this;
        return new SyncError('WrongKey', `${this.message}: this replica needs the present invite`, { ourKey, theirKey });
    }
}

/** @param {unknown} error */
const named = (error) => (error instanceof SyncError ? error.name : undefined);

// ---------------------------------------------------------------------------------------------------------------------
// Bytes

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/** @param {string} text @returns {Bytes} */
const utf8 = (text) => new TextEncoder().encode(text);

/** @param {Uint8Array} bytes */
const textOf = (bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);

/** @param {Uint8Array} bytes */
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** @param {string} text @returns {Bytes} */
const unhex = (text) => Uint8Array.from({ length: text.length / 2 }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));

/** @param {(Uint8Array | number[])[]} parts @returns {Bytes} */
function join(...parts) {
    const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.length;
    }
    return whole;
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
    let binary = '';
    for (const byte of bytes) binary += String.fromCharCode(byte);
    return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** The bytes of text in base64url, without padding and in its one spelling. @param {string} text @returns {Bytes | undefined} */
function unbase64url(text) {
    if (!/^[\w-]*$/.test(text) || text.length % 4 === 1) return undefined;
    const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    const bytes = Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
    return base64url(bytes) === text ? bytes : undefined;
}

/** @param {number} number @returns {Bytes} */
function u32(number) {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, number);
    return bytes;
}

/** @param {number} number @returns {Bytes} */
function u64(number) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
    return bytes;
}

/** Whether two are the same, in a time that says nothing of where they differ. @param {Uint8Array} one @param {Uint8Array} two */
function same(one, two) {
    let differ = one.length ^ two.length;
    for (let at = 0; at < one.length; at += 1) differ |= one[at] ^ two[at];
    return differ === 0;
}

/** @param {string | Uint8Array} said @returns {Bytes} */
const bytesOf = (said) => (typeof said === 'string' ? utf8(said) : Uint8Array.from(said));

/**
 * Web Crypto, which browsers give to secure contexts alone.
 * @returns {SubtleCrypto}
 */
function subtle() {
    const found = globalThis.crypto?.subtle;
    if (found !== undefined) return found;
    const why =
        globalThis.isSecureContext === false
            ? 'this page is no secure context: it must come over https, or from localhost'
            : 'there is no Web Crypto here';
    throw new SyncError('Unsupported', why);
}

/** @param {number} length @returns {Bytes} */
function random(length) {
    subtle();
    return crypto.getRandomValues(new Uint8Array(length));
}

/** @param {Bytes} bytes @returns {Promise<Bytes>} */
const sha256 = async (bytes) => new Uint8Array(await subtle().digest('SHA-256', bytes));

/**
 * The name of a chunk: the SHA-256 of its bytes.
 * @param {Uint8Array} chunk
 */
export const chunkId = async (chunk) => hex(await sha256(/** @type {Bytes} */ (chunk)));

const CHUNK = /^[0-9a-f]{64}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @param {string} text */
const unuuid = (text) => unhex(text.replaceAll('-', ''));

/** @param {Uint8Array} bytes */
const uuid = (bytes) => hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');

/**
 * The id that a transaction of a device has by its content; as HEAD it names the whole past.
 * @param {string} parent
 * @param {number} seq
 * @param {string[]} chunks the entry's first
 */
export async function transactionId(parent, seq, chunks) {
    const start = utf8('mentat-sync transaction 1\0');
    const hash = await sha256(join(start, unuuid(parent), u64(seq), u32(chunks.length), ...chunks.map(unhex)));
    const id = hash.slice(0, 16);
    id[6] = (id[6] & 0x0f) | 0x80;
    id[8] = (id[8] & 0x3f) | 0x80;
    return uuid(id);
}

// ---------------------------------------------------------------------------------------------------------------------
// Keys and the envelope (CLIENT, section 4)

/** @param {Bytes} key */
const hmacKey = (key) => subtle().importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);

/** @param {CryptoKey} key @param {Bytes} bytes @returns {Promise<Bytes>} */
const hmac = async (key, bytes) => new Uint8Array(await subtle().sign('HMAC', key, bytes));

/** HKDF-Expand (RFC 5869) of up to 32 bytes. @param {CryptoKey} key @param {Bytes} info @param {number} length */
const expand = async (key, info, length) => (await hmac(key, join(info, [1]))).slice(0, length);

/**
 * The bytes that a master gives: the key's public id, the key that names contents, and the one that seals them.
 * @param {Uint8Array} master
 */
export async function deriveKeys(master) {
    const extracted = await hmac(await hmacKey(utf8('mentat-sync envelope 1')), /** @type {Bytes} */ (master));
    const root = await hmacKey(extracted);
    return {
        id: await expand(root, utf8('key id'), 8),
        nonce: await expand(root, utf8('nonce'), 32),
        seal: await expand(root, utf8('seal'), 32),
    };
}

/**
 * @typedef {{ kind: 'data' } | { kind: 'entry', parent: string, seq: number, others: string[] }
 *   | { kind: 'checkpoint', transaction: string, seq: number, others: string[] }} Context
 * The place that a chunk is sealed for: it opens in no other one.
 */

const KINDS = { data: 1, entry: 2, checkpoint: 3 };
const MAGIC = utf8('MSE1');
const HEADER = 48;
const LENGTH = 4;
const TAG = 16;

/** @param {Context} context */
function contextBytes(context) {
    if (context.kind === 'data') return new Uint8Array();
    const place = context.kind === 'entry' ? context.parent : context.transaction;
    return join(unuuid(place), u64(context.seq), u32(context.others.length), ...context.others.map(unhex));
}

/** @param {number} length */
function padme(length) {
    if (length < 2) return length;
    const exponent = Math.floor(Math.log2(length));
    const step = 2 ** (exponent - (Math.floor(Math.log2(exponent)) + 1));
    return Math.ceil(length / step) * step;
}

/**
 * How long the body is whose plaintext has this length: Padmé of it and its 4 bytes of length, at most 12 % more.
 * @param {number} length
 */
export const padded = (length) => padme(length + LENGTH);

/** The keys of one master. */
export class Keys {
    #idBytes;
    #nonce;
    #seal;

    /** @param {Bytes} id @param {CryptoKey} nonce @param {CryptoKey} seal */
    constructor(id, nonce, seal) {
        /** The public id of the key, which each sealed chunk says in clear. */
        this.id = hex(id);
        this.#idBytes = id;
        this.#nonce = nonce;
        this.#seal = seal;
    }

    /** @param {Uint8Array} master */
    static async derive(master) {
        const { id, nonce, seal } = await deriveKeys(master);
        return new Keys(id, await hmacKey(nonce), await hmacKey(seal));
    }

    /**
     * Seals a plaintext for its place. Deterministic.
     * @param {Context} context
     * @param {Uint8Array} plaintext
     * @returns {Promise<Bytes>}
     */
    async seal(context, plaintext) {
        const place = contextBytes(context);
        const n = await this.#name(context, place, plaintext);
        const header = join(MAGIC, [KINDS[context.kind], 0, 0, 0], this.#idBytes, n);
        const body = new Uint8Array(padded(plaintext.length));
        body.set(u32(plaintext.length));
        body.set(plaintext, LENGTH);
        const [how, key] = await this.#cipher(n, header, place);
        return join(header, new Uint8Array(await subtle().encrypt(how, key, body)));
    }

    /**
     * Opens a chunk in its place: the plaintext, and nothing unless every byte of the chunk and of the place is as it was when it was
     * sealed. Of two things that are wrong the one that stands first in the chunk is told.
     * @param {Context} context
     * @param {Uint8Array} chunk
     * @returns {Promise<Bytes>}
     * @throws {OpenError}
     */
    async open(context, chunk) {
        /** @param {boolean} good @param {string} word */
        const check = (good, word) => {
            if (!good) throw new OpenError(word, this.id, hex(chunk.slice(8, 16)));
        };
        check(chunk.length >= HEADER + LENGTH + TAG, 'short');
        check(same(chunk.subarray(0, 4), MAGIC), 'magic');
        check(chunk[4] === KINDS[context.kind], 'kind');
        check(chunk[5] === 0, 'flags');
        check(chunk[6] === 0 && chunk[7] === 0, 'reserved');
        check(same(chunk.subarray(8, 16), this.#idBytes), 'wrong-key');
        const room = chunk.length - HEADER - TAG;
        check(padme(room) === room, 'length');
        const n = Uint8Array.from(chunk.subarray(16, HEADER));
        const place = contextBytes(context);
        const body = await this.#decrypt(n, chunk, place);
        const length = new DataView(body.buffer).getUint32(0);
        check(length + LENGTH <= room && padded(length) === room, 'length');
        const plaintext = body.slice(LENGTH, LENGTH + length);
        check(body.subarray(LENGTH + length).every((byte) => byte === 0), 'padding');
        // The cipher alone binds no chunk to one key: this does.
        check(same(await this.#name(context, place, plaintext), n), 'nonce');
        return plaintext;
    }

    /** @param {Context} context @param {Bytes} place @param {Uint8Array} plaintext */
    #name(context, place, plaintext) {
        return hmac(this.#nonce, join([KINDS[context.kind]], u64(place.length), place, plaintext));
    }

    /**
     * @param {Bytes} n @param {Bytes} header @param {Bytes} place
     * @returns {Promise<[AesGcmParams, CryptoKey]>}
     */
    async #cipher(n, header, place) {
        const raw = await expand(this.#seal, join(utf8('chunk'), n), 32);
        const key = await subtle().importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt']);
        return [{ name: 'AES-GCM', iv: new Uint8Array(12), additionalData: join(header, place), tagLength: 128 }, key];
    }

    /** @param {Bytes} n @param {Uint8Array} chunk @param {Bytes} place @returns {Promise<Bytes>} */
    async #decrypt(n, chunk, place) {
        const [how, key] = await this.#cipher(n, join(chunk.subarray(0, HEADER)), place);
        try {
            return new Uint8Array(await subtle().decrypt(how, key, join(chunk.subarray(HEADER))));
        } catch {
            throw new OpenError('tag');
        }
    }
}

/**
 * The id of the key that a chunk says it is sealed with; `undefined` where it is no sealed chunk.
 * @param {Uint8Array} chunk
 */
export function keyIdOf(chunk) {
    const sealed = chunk.length >= HEADER + LENGTH + TAG && same(chunk.subarray(0, 4), MAGIC);
    return sealed ? hex(chunk.subarray(8, 16)) : undefined;
}

/** @typedef {{ nonce: Bytes, app: Bytes }} Said An entry's contents: the application's bytes, and 16 random ones. */

/**
 * The chunk of an entry of a plain store: a JSON object, for whoever reads it with jq.
 * @param {Said} said
 */
export function plainEntry({ nonce, app }) {
    const spelled = base64url(nonce);
    try {
        const text = textOf(app);
        const object = JSON.parse(text);
        // Half a surrogate pair is no text elsewhere.
        if (text.startsWith('{') && !Object.hasOwn(object, 'nonce') && !/\\u[dD][89a-fA-F]/.test(text)) {
            const comma = Object.keys(object).length > 0 ? ',' : '';
            return utf8(`{"nonce":"${spelled}"${comma}${text.slice(1)}`);
        }
    } catch {
        // It is said in base64.
    }
    return utf8(`{"bytes":"${base64url(app)}","nonce":"${spelled}"}`);
}

/**
 * Reads what `plainEntry` makes, and any other JSON object with 16 random bytes as its `nonce`: its application's bytes are all of it.
 * @param {Uint8Array} chunk
 * @returns {Said}
 */
export function readPlainEntry(chunk) {
    const none = new OpenError('entry');
    /** @type {Record<string, unknown>} */
    let object;
    let text;
    try {
        text = textOf(chunk);
        object = JSON.parse(text);
    } catch {
        throw none;
    }
    if (typeof object !== 'object' || object === null || Array.isArray(object)) throw none;
    const members = Object.keys(object).length;
    const [start, spelled] = text.match(/^\{"nonce":"([\w-]{22})"/) ?? [];
    if (start !== undefined && (members === 1 ? /^\s*\}/ : /^,/).test(text.slice(start.length))) {
        const nonce = unbase64url(spelled);
        const rest = text.slice(start.length + (members === 1 ? 0 : 1));
        if (nonce !== undefined) return { nonce, app: utf8(`{${rest}`) };
    }
    const nonce = typeof object.nonce === 'string' ? unbase64url(object.nonce) : undefined;
    if (nonce?.length !== 16) throw none;
    if (text.startsWith('{"bytes":"') && members === 2 && typeof object.bytes === 'string' && !text.includes('\\')) {
        const app = unbase64url(object.bytes);
        if (app === undefined) throw none;
        return { nonce, app };
    }
    return { nonce, app: Uint8Array.from(chunk) };
}

/** All keys of a store: the present one, those from before a `rekey`, or none where the store is plain. */
export class Keyring {
    /** @param {Keys | null} current @param {Keys[]} [old] */
    constructor(current, old = []) {
        this.current = current;
        this.old = old;
    }

    /** Whether chunks are the bytes as they are. */
    get plain() {
        return this.current === null;
    }

    /** @param {Context} context @param {Uint8Array} plaintext @returns {Promise<Bytes>} */
    async seal(context, plaintext) {
        return this.current === null ? Uint8Array.from(plaintext) : this.current.seal(context, plaintext);
    }

    /**
     * Opens a chunk with the key that it says.
     * @param {Context} context @param {Uint8Array} chunk @returns {Promise<Bytes>}
     * @throws {OpenError}
     */
    async open(context, chunk) {
        if (this.current === null) return Uint8Array.from(chunk);
        const said = keyIdOf(chunk);
        const keys = this.old.find((old) => old.id === said) ?? this.current;
        return keys.open(context, chunk);
    }

    /** @param {string} parent @param {number} seq @param {string[]} others @param {Said} said */
    async sealEntry(parent, seq, others, said) {
        if (this.plain) return plainEntry(said);
        return this.seal({ kind: 'entry', parent, seq, others }, join(said.nonce, said.app));
    }

    /**
     * @param {string} parent @param {number} seq @param {string[]} others the other chunks of the transaction @param {Uint8Array} chunk
     * @returns {Promise<Said>}
     * @throws {OpenError}
     */
    async openEntry(parent, seq, others, chunk) {
        if (this.plain) return readPlainEntry(chunk);
        const body = await this.open({ kind: 'entry', parent, seq, others }, chunk);
        if (body.length < 16) throw new OpenError('entry');
        return { nonce: body.slice(0, 16), app: body.slice(16) };
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Who we are to whom

const SYMBOLS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** @param {Uint8Array} bytes */
function base32(bytes) {
    const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
    return (bits.match(/.{1,5}/g) ?? []).map((five) => SYMBOLS[parseInt(five.padEnd(5, '0'), 2)]).join('');
}

/** @param {string} symbols @returns {Bytes | undefined} */
function unbase32(symbols) {
    const values = Array.from(symbols, (symbol) => SYMBOLS.indexOf(symbol));
    if (values.includes(-1)) return undefined;
    const bits = values.map((value) => value.toString(2).padStart(5, '0')).join('');
    const length = Math.floor(bits.length / 8);
    const rest = bits.slice(8 * length);
    if (rest.length >= 5 || rest.includes('1')) return undefined;
    return Uint8Array.from({ length }, (_, at) => parseInt(bits.slice(8 * at, 8 * at + 8), 2));
}

/** @param {string} host in lower case */
function isHost(host) {
    if (host.startsWith('[')) {
        try {
            return /^\[[0-9a-f:.]+\]$/.test(host) && new URL(`http://${host}`).hostname.startsWith('[');
        } catch {
            return false;
        }
    }
    const labels = host.replace(/\.$/, '').split('.');
    if (host.length > 253 || !labels.every((label) => /^[a-z0-9_-]{1,63}$/.test(label))) return false;
    // What ends in a number is read as an address, by each program in another way.
    return !/^\d+$/.test(labels[labels.length - 1]) || /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/.test(host);
}

/**
 * A server's address in its one spelling; `undefined` where it is none. Nothing secret stands in it.
 * @param {string} text
 */
function address(text) {
    // eslint-disable-next-line no-control-regex
    if (text.length > 1024 || /[\s#\u0000-\u001f\u007f-\u009f]/.test(text)) return undefined;
    const [, scheme, rest] = text.replace(/\/+$/, '').match(/^([^:]*):(.*)$/) ?? [];
    if (scheme?.toLowerCase() === 'unix') {
        const path = rest.replace(/^\/\/(?=\/)/, '');
        return /^\/(?!\/)./.test(path) ? `unix:${path}` : undefined;
    }
    const usual = { http: 80, https: 443 }[scheme?.toLowerCase()];
    const [, host, port, path] = rest?.match(/^\/\/(\[[^\]/]*\]|[^:/]*)(?::(\d+))?(\/.*)?$/) ?? [];
    if (usual === undefined || host === undefined || !isHost(host.toLowerCase())) return undefined;
    if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) return undefined;
    if (!/^(\/([\w.~!$&'()*+,;=:@-]|%[0-9a-f]{2})+)*$/i.test(path ?? '')) return undefined;
    if (/\/(\.|%2e){1,2}(\/|$)/i.test(path ?? '')) return undefined;
    const shown = port === undefined || Number(port) === usual ? '' : `:${Number(port)}`;
    return `${scheme.toLowerCase()}://${host.toLowerCase()}${shown}${path ?? ''}`;
}

/** @param {'not-an-invite' | 'address' | 'typo' | 'newer'} what @param {string} words */
const badInvite = (what, words) => new SyncError('BadInvite', words, { what });
const isNone = () => badInvite('not-an-invite', 'this is no invite: one is an address with #ms1 and letters and digits behind it');
const isTypo = () => badInvite('typo', 'there is a typo in the invite, or a part of it is missing');
const isNewer = () => badInvite('newer', 'the invite was made by a newer version of mentat-sync: this one cannot read it');

/** Who we are to whom: the server's address, the user, and the key. `toString` and JSON show no secret. */
export class Identity {
    #user;
    #master;

    /**
     * @param {string} server
     * @param {string} user a uuid
     * @param {Uint8Array | null} [master] 32 bytes; none where the store is plain
     */
    constructor(server, user, master = null) {
        const spelled = address(server);
        if (spelled === undefined) {
            throw badInvite('address', `not the address of a server, such as https://sync.example.org: ${server}`);
        }
        if (!UUID.test(user)) throw badInvite('typo', 'not the id of a user, which is a uuid in lower case');
        if (master !== null && master.length !== 32) throw badInvite('typo', 'a key has 32 bytes');
        /** The server's address. */
        this.server = spelled;
        this.#user = user;
        this.#master = master === null ? null : Uint8Array.from(master);
    }

    /**
     * A new store: a new user and a new key. The server need not know it yet.
     * @param {string} server
     * @param {{ plain?: boolean }} [options] `plain`: without encryption
     */
    static generate(server, { plain = false } = {}) {
        const user = random(16);
        user[6] = (user[6] & 0x0f) | 0x40;
        user[8] = (user[8] & 0x3f) | 0x80;
        return new Identity(server, uuid(user), plain ? null : random(32));
    }

    /**
     * Reads an invite: in upper or lower case, hyphens and white space left out, `O` for 0 and `I` or `L` for 1. The whole address of a
     * page will do where the invite is its fragment.
     * @param {string} text
     * @throws {SyncError} `BadInvite`, with `what` of it
     */
    static async fromInvite(text) {
        const at = text.indexOf('#');
        if (at < 0) throw isNone();
        const code = text.slice(at + 1).replace(/[-\s]/g, '');
        const symbols = code.toUpperCase().replaceAll('O', '0').replace(/[IL]/g, '1');
        if (/^MS[2-9]/.test(symbols)) throw isNewer();
        if (!symbols.startsWith('MS1')) throw isNone();
        const bytes = unbase32(symbols.slice(3));
        if (bytes === undefined || bytes.length < 5) throw isTypo();
        const body = bytes.slice(0, -4);
        if (!same((await sha256(body)).slice(0, 4), bytes.slice(-4))) throw isTypo();
        if (body[0] !== 1 || body[1] > 1) throw isNewer();
        if (body.length !== (body[1] === 1 ? 18 : 50)) throw isTypo();
        return new Identity(text.slice(0, at).trim(), uuid(body.slice(2, 18)), body[1] === 1 ? null : body.slice(18));
    }

    /**
     * The invite that makes another device one of this store. Whoever has it reads and writes the store.
     * @returns {Promise<string>}
     */
    async invite() {
        const body = join([1, this.plain ? 1 : 0], unuuid(this.#user), this.#master ?? []);
        const symbols = base32(join(body, (await sha256(body)).slice(0, 4)));
        const slash = this.server.startsWith('unix:') ? '' : '/';
        return `${this.server}${slash}#ms1${(symbols.match(/.{1,5}/g) ?? []).join('-')}`;
    }

    /** The user's id, which is the access to the server: a secret. */
    get user() {
        return this.#user;
    }

    /** Whether chunks are the bytes as they are. */
    get plain() {
        return this.#master === null;
    }

    /** The keys of this store, without those from before a `rekey`. */
    async keyring() {
        return new Keyring(this.#master === null ? null : await Keys.derive(this.#master));
    }

    toString() {
        return `${this.server} ${this.#user.slice(0, 8)}…`;
    }
}
