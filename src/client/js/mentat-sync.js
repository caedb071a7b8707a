// @ts-check
/**
 * A device of mentat-sync for JavaScript: a page, a worker, Node 20, Deno 2 and whatever else has fetch and Web Crypto.
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
    /** Transactions that are written together. */
    written: 200,
    /** Bytes of chunks below which the server is not asked first which of them it lacks. */
    small: 64 << 10,
    /** Bytes of a bundle that is sent. */
    parcel: 16 << 20,
    /** Zeroes at the end of a bundle: more than any maker of tars fills it up with. */
    tarEnd: 1 << 20,
    /** Chunks that are fetched together where a bundle broke. */
    fetched: 16,
    /** Slices that are written together: all of them are here, or none. */
    putTogether: 32,
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
 * @property {'rollback' | 'fork' | 'empty' | 'moved' | 'other-store'} [how] Diverged
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
     * Reads an invite: in upper or lower case, hyphens and white space left out, `O` for 0 and `I` or `L` for 1. What stands before the
     * `#` is the server's address, which need not be the page's.
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

// ---------------------------------------------------------------------------------------------------------------------
// Bundles: tars of chunks/ab/…, transactions/ab/….json and, last, HEAD

/**
 * @typedef {object} Transaction
 * @property {string} id
 * @property {number} seq
 * @property {string} parent
 * @property {string[]} chunks the entry's first
 *
 * @typedef {{ kind: 'chunk', id: string, bytes: Bytes } | { kind: 'transaction', id: string, bytes: Bytes }
 *   | { kind: 'head', bytes: Bytes }} Member
 */

const BLOCK = 512;

/** What came is no bundle. */
class Garbage extends Error {
    /** @param {string} words @param {'garbage' | 'digest'} [what] */
    constructor(words, what = 'garbage') {
        super(words);
        this.what = what;
    }
}

/** @param {number} bytes */
const padding = (bytes) => (BLOCK - (bytes % BLOCK)) % BLOCK;

/** @param {string} name @param {Uint8Array} bytes @returns {Bytes[]} */
function tarFile(name, bytes) {
    const header = new Uint8Array(BLOCK);
    /** @param {number} at @param {string} text */
    const write = (at, text) => header.set(utf8(text), at);
    write(0, name);
    write(100, '0000644\0');
    write(108, '0000000\0');
    write(116, '0000000\0');
    write(124, `${bytes.length.toString(8).padStart(11, '0')}\0`);
    write(136, '00000000000\0');
    write(148, '        ');
    write(156, '0');
    write(257, 'ustar\x0000');
    write(148, `${checksum(header).toString(8).padStart(6, '0')}\0 `);
    return [header, /** @type {Bytes} */ (bytes), new Uint8Array(padding(bytes.length))];
}

/** @param {Uint8Array} header */
const checksum = (header) => header.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 32 : byte), 0);

/** @param {string} id @param {Uint8Array} bytes */
const tarChunk = (id, bytes) => tarFile(`chunks/${id.slice(0, 2)}/${id}`, bytes);

/** @param {Transaction} transaction */
function tarTransaction({ id, seq, parent, chunks }) {
    return tarFile(`transactions/${id.slice(0, 2)}/${id}.json`, utf8(`${JSON.stringify({ id, seq, parent, chunks })}\n`));
}

/** Bytes that come in pieces, taken in whatever lengths are needed. */
class Pieces {
    /** @type {Uint8Array[]} */
    #ready = [];
    #length = 0;
    #from;

    /** @param {AsyncIterator<Uint8Array>} from */
    constructor(from) {
        this.#from = from;
    }

    /** So many bytes, or all that are left where `whole` is not asked for. @param {number} length @param {boolean} [whole] */
    async take(length, whole = true) {
        while (this.#length < length) {
            const { done, value } = await this.#from.next();
            if (done) {
                if (whole) throw new SyncError('Offline', 'the server broke off in the middle of its answer', { passes: true });
                break;
            }
            this.#ready.push(value);
            this.#length += value.length;
        }
        const taken = new Uint8Array(Math.min(length, this.#length));
        for (let at = 0; at < taken.length; ) {
            const piece = this.#ready[0].subarray(0, taken.length - at);
            taken.set(piece, at);
            at += piece.length;
            if (piece.length === this.#ready[0].length) this.#ready.shift();
            else this.#ready[0] = this.#ready[0].subarray(piece.length);
        }
        this.#length -= taken.length;
        return taken;
    }
}

/** @param {Uint8Array} header @returns {{ name: string, length: number }} */
function readHeader(header) {
    const field = (/** @type {number} */ at, /** @type {number} */ length) => {
        const bytes = header.subarray(at, at + length);
        const end = bytes.indexOf(0);
        return String.fromCharCode(...(end < 0 ? bytes : bytes.subarray(0, end)));
    };
    const octal = (/** @type {string} */ text) => (/^ *[0-7]+ *$/.test(text) ? parseInt(text.trim(), 8) : NaN);
    if (octal(field(148, 8)) !== checksum(header)) throw new Garbage('it is no tar');
    const length = octal(field(124, 12));
    if (!Number.isSafeInteger(length)) throw new Garbage('a size that is no number');
    const name = field(0, 100);
    if (header[156] !== 0x30 || field(345, 155) !== '') throw new Garbage(`${name} is no file that a bundle has`);
    return { name, length };
}

/** @param {string} name @returns {{ kind: 'chunk' | 'transaction', id: string, most: number } | { kind: 'head', id: '', most: number }} */
function memberOf(name) {
    if (name === 'HEAD') return { kind: 'head', id: '', most: 37 };
    const [, kind, ab, id, json] = name.match(/^(chunks|transactions)\/([0-9a-f]{2})\/([0-9a-f-]+)(\.json)?$/) ?? [];
    const fits = id !== undefined && id.startsWith(ab);
    if (fits && kind === 'chunks' && CHUNK.test(id) && !json) return { kind: 'chunk', id, most: limits.chunk };
    if (fits && kind === 'transactions' && UUID.test(id) && json) {
        return { kind: 'transaction', id, most: limits.transactionJson + 1024 };
    }
    throw new Garbage(`${name} is none of its names`);
}

/**
 * The members of a bundle as they come; each chunk is what its name says.
 * @param {AsyncIterator<Uint8Array>} from
 * @returns {AsyncGenerator<Member, void>}
 */
async function* membersOf(from) {
    const pieces = new Pieces(from);
    try {
        for (;;) {
            const header = await pieces.take(BLOCK);
            if (header.every((byte) => byte === 0)) break;
            const { name, length } = readHeader(header);
            const { kind, id, most } = memberOf(name);
            if (length > most) throw new Garbage(`${name} is too long`);
            const bytes = await pieces.take(length);
            await pieces.take(padding(length));
            if (kind === 'chunk' && (await chunkId(bytes)) !== id) throw new Garbage(`other bytes come as ${name}`, 'digest');
            yield kind === 'head' ? { kind, bytes } : { kind, id, bytes };
        }
        let end = 0;
        for (let rest = await pieces.take(BLOCK); rest.length > 0; rest = await pieces.take(limits.small, false)) {
            end += rest.length;
            if (end > limits.tarEnd || rest.some((byte) => byte !== 0)) throw new Garbage('something follows its end');
        }
    } finally {
        await from.return?.();
    }
}

/** @param {Bytes} bytes @param {string} id @returns {Transaction} */
function readTransaction(bytes, id) {
    const none = new Garbage(`${id} is no transaction`);
    let read;
    try {
        read = JSON.parse(textOf(bytes));
    } catch {
        throw none;
    }
    if (!isTransaction(read) || read.id !== id) throw none;
    const { seq, parent, chunks } = read;
    return { id, seq, parent, chunks };
}

/** @param {any} read @returns {read is Transaction} */
const isTransaction = (read) =>
    isHead(read) &&
    typeof (/** @type {any} */ (read).parent) === 'string' &&
    UUID.test(/** @type {any} */ (read).parent) &&
    Array.isArray(/** @type {any} */ (read).chunks) &&
    /** @type {any} */ (read).chunks.every((/** @type {unknown} */ chunk) => typeof chunk === 'string');

/** The bytes of a chunk that is kept here. @param {any} kept @returns {Bytes | undefined} */
function bytesKept(kept) {
    if (kept === undefined || kept instanceof Uint8Array) return /** @type {Bytes | undefined} */ (kept);
    throw new SyncError('Damaged', 'a chunk is kept that is no bytes');
}

/** A transaction that is kept here. @param {any} kept @returns {Transaction} */
function whole(kept) {
    if (isTransaction(kept)) return kept;
    throw new SyncError('Damaged', `a transaction is kept that is none: ${kept?.id}`);
}

/** @param {any} read @param {boolean} isNewest the end of the chain was asked for @returns {boolean} */
const isListing = ({ from, seq, transactions }, isNewest) =>
    typeof from === 'string' &&
    Array.isArray(transactions) &&
    transactions.every((id) => typeof id === 'string' && UUID.test(id)) &&
    (isNewest ? isHead({ id: from, seq }) : seq === undefined || Number.isSafeInteger(seq));

/** @param {any} read @returns {boolean} */
const isAbout = ({ head, seq, limits, features, used, checkpoint }) => {
    const isCount = (/** @type {unknown} */ count) => Number.isSafeInteger(count);
    const { chunk_bytes, transaction_chunks, user_bytes = 0, user_files = 0 } = limits ?? {};
    const { bytes, files, pending } = used ?? {};
    return (
        isHead({ id: head, seq }) &&
        [chunk_bytes, transaction_chunks, user_bytes, user_files].every(isCount) &&
        Array.isArray(features) &&
        (used === undefined || [bytes, files, pending].every(isCount)) &&
        (checkpoint === undefined || isHead({ id: checkpoint?.transaction, seq: checkpoint?.seq }))
    );
};

/** @param {any} read @returns {read is Head} */
const isHead = (read) => {
    const { id, seq } = read ?? {};
    return typeof id === 'string' && UUID.test(id) && Number.isSafeInteger(seq) && seq >= 0;
};

// ---------------------------------------------------------------------------------------------------------------------
// The wire

/**
 * @typedef {object} Refusal
 * @property {number} status
 * @property {string} code
 * @property {string} detail
 * @property {Head} [head]
 * @property {string[]} [missing]
 *
 * @typedef {object} Ask
 * @property {string} [method] GET, unless it is another
 * @property {string} [media] the media type that the answer must have; JSON, unless it is another
 * @property {string} [type] that of the body
 * @property {BodyInit} [body]
 * @property {Record<string, string>} [headers]
 * @property {number} [more] milliseconds that the answer may take longer than usual
 * @property {AbortSignal} [signal] ends it with `Offline`
 *
 * @typedef {{ response: Response, pieces: AsyncGenerator<Bytes, void>, refusal?: undefined } | { refusal: Refusal }} Reply
 *
 * @typedef {object} About
 * How a user's store stands, and what the server takes.
 * @property {string} head
 * @property {number} seq
 * @property {Limits} limits
 * @property {string[]} features
 * @property {{ bytes: number, files: number, pending: number }} [used] where the server counts that, and has done so
 * @property {{ transaction: string, seq: number }} [checkpoint]
 *
 * @typedef {object} Limits
 * @property {number} chunk_bytes
 * @property {number} transaction_bytes
 * @property {number} transaction_chunks
 * @property {number} bundle_transactions
 * @property {number} missing_ids
 * @property {number} [user_bytes] where there is a limit
 * @property {number} [user_files]
 *
 * @typedef {object} Listing
 * @property {string} from the transaction before the first of them
 * @property {number} [seq] with `last`: its number
 * @property {string[]} transactions
 *
 * @typedef {Omit<Transaction, 'parent'> & { parent: string | null }} Listed A transaction of the chain; the root, which all chains begin
 *   after, has no parent.
 *
 * @typedef {object} Checkpoint
 * @property {string} transaction
 * @property {number} seq
 * @property {string[]} chunks
 *
 * @typedef {{ kind: 'taken', head: Head } | { kind: 'lost', head: Head } | { kind: 'unknown-parent' }
 *   | { kind: 'missing', chunks: string[] }} PushAnswer
 */

const JSON_TYPE = 'application/json';
const PROBLEM = 'application/problem+json';
const TAR_TYPE = 'application/x-tar';
const OCTETS = 'application/octet-stream';

/** @param {number} ms @param {AbortSignal} [signal] ends it early @returns {Promise<void>} */
const pause = (ms, signal) =>
    new Promise((resolve) => {
        const end = () => {
            clearTimeout(timer);
            signal?.removeEventListener('abort', end);
            resolve();
        };
        const timer = setTimeout(end, ms);
        if (signal?.aborted) end();
        else signal?.addEventListener('abort', end);
    });

/** @param {Response} response @param {string} media */
const isOf = (response, media) => (response.headers.get('content-type') ?? '').split(';')[0].trim().toLowerCase() === media;

/** @param {string | null} said */
function retryAfter(said) {
    if (said === null) return undefined;
    const ms = /^\d+$/.test(said) ? Number(said) * 1000 : Date.parse(said) - Date.now();
    return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), limits.retryAfterMost) : undefined;
}

/**
 * One user of a server. The user's id is in the header `Authorization` of each request and nowhere else.
 *
 * Each method is one request, tried again up to three times where the server was not reached: all of them may be. Nothing that comes back
 * is believed but its form: a replica verifies it. Errors are `Offline` and `Refused`.
 */
export class Server {
    #user;
    #fetch;
    #tries;

    /**
     * @param {{ server: string, user: string }} identity
     * @param {{ fetch?: typeof fetch, tries?: number }} [options] `fetch`: another one, for tests
     */
    constructor({ server, user }, { fetch: ours, tries = limits.tries } = {}) {
        if (!/^https?:/.test(server)) throw new SyncError('Unsupported', `only http and https are to be had here, not ${server}`);
        /** The server's address. */
        this.address = server;
        this.#user = user;
        this.#fetch = ours ?? ((/** @type {RequestInfo | URL} */ input, /** @type {RequestInit} */ init) => fetch(input, init));
        this.#tries = tries;
    }

    /** `GET …/`: HEAD, the limits, the features. @returns {Promise<About>} */
    async about() {
        const told = await this.#told('');
        if (!isAbout(told)) throw this.#garbage('what it says of the store is not as it should be');
        return /** @type {About} */ (told);
    }

    /** Where HEAD is; the root for a user who has nothing. @param {AbortSignal} [signal] @returns {Promise<Head>} */
    async head(signal) {
        return this.#headOf(await this.#told('head', { signal }));
    }

    /**
     * HEAD as soon as it is another than `seen`; `undefined` when the time is up. One long poll, tried once.
     * @param {string} seen
     * @param {number} ms at most 300,000
     * @param {AbortSignal} [signal] ends it early, as if the time were up
     * @returns {Promise<Head | undefined>}
     */
    async wait(seen, ms, signal) {
        const seconds = Math.max(0, Math.min(300, Math.floor(ms / 1000)));
        const headers = { 'If-None-Match': `"${seen}"` };
        try {
            const reply = await this.#send(`head?wait=${seconds}`, { headers, more: seconds * 1000, signal });
            if (reply.refusal === undefined) return this.#headOf(await this.#json(reply));
            if (reply.refusal.status === 304) return undefined;
            throw refused(reply.refusal);
        } catch (error) {
            if (signal?.aborted) return undefined;
            throw error;
        }
    }

    /**
     * A part of the chain, oldest first: after `from`, or the newest `last` up to `to`, with the number `seq` of the one before.
     * @param {{ from?: string, limit?: number, last?: number, to?: string, signal?: AbortSignal }} [what]
     * @returns {Promise<Listing>}
     */
    async transactions({ from, limit, last, to, signal } = {}) {
        const query = new URLSearchParams();
        for (const [name, value] of Object.entries({ from, limit, last, to })) if (value !== undefined) query.set(name, `${value}`);
        const told = await this.#told(`transactions?${query}`, { signal });
        if (!isListing(told, last !== undefined)) throw this.#garbage('a listing is not as it should be');
        return /** @type {Listing} */ (told);
    }

    /** One transaction of the chain; `undefined` where it is not on it. @param {string} id @param {AbortSignal} [signal] @returns {Promise<Listed | undefined>} */
    async transaction(id, signal) {
        const told = await this.#told(`transactions/${id}`, { signal }, 'unknown-transaction');
        if (told === undefined) return undefined;
        const isWhole = id === ROOT ? isTransaction({ ...told, parent: ROOT }) && told.parent === null : isTransaction(told);
        if (!isWhole || told.id !== id) throw this.#garbage('it answers with another transaction');
        return /** @type {any} */ (told);
    }

    /**
     * The bytes of a chunk as the server has them, which are those of its name; `undefined` where it has none.
     * @param {string} id
     * @param {AbortSignal} [signal]
     */
    async chunk(id, signal) {
        return this.#again(async () => {
            const reply = await this.#send(`chunks/${id}`, { media: OCTETS, signal });
            if (reply.refusal?.code === 'unknown-chunk') return undefined;
            if (reply.refusal !== undefined) throw refused(reply.refusal);
            const bytes = await this.#whole(reply, limits.chunk);
            if (CHUNK.test(id) && (await chunkId(bytes)) !== id) throw new OpenError('digest').of(id);
            return bytes;
        }, signal);
    }

    /** Those of these chunks that are there, in this order. @param {string[]} ids @returns {Promise<AsyncGenerator<Member, void>>} */
    async chunks(ids) {
        const ask = { method: 'POST', media: TAR_TYPE, type: JSON_TYPE, body: JSON.stringify(ids) };
        const reply = await this.#again(() => this.#send('chunks/get', ask));
        if (reply.refusal !== undefined) throw refused(reply.refusal);
        return membersOf(reply.pieces);
    }

    /** Those of these chunks that are not there. @param {string[]} ids @returns {Promise<string[]>} */
    async missing(ids) {
        /** @type {Set<unknown>} */
        const missing = new Set();
        for (let at = 0; at < ids.length; at += limits.missingIds) {
            const body = JSON.stringify(ids.slice(at, at + limits.missingIds));
            const told = await this.#told('chunks/missing', { method: 'POST', type: JSON_TYPE, body });
            if (!Array.isArray(told.missing)) throw this.#garbage('a list of chunks is not as it should be');
            for (const id of told.missing) missing.add(id);
        }
        return ids.filter((id) => missing.has(id));
    }

    /**
     * The chain after `from` as a bundle; `undefined` where `from` is not on it.
     * @param {string} from
     * @param {{ limit?: number, chunks?: 'all' | 'none' }} [options]
     */
    async bundle(from, { limit = limits.pulled, chunks = 'all' } = {}) {
        const path = `bundle?from=${from}&limit=${limit}${chunks === 'none' ? '&chunks=none' : ''}`;
        const reply = await this.#again(() => this.#send(path, { media: TAR_TYPE }));
        if (reply.refusal?.code === 'unknown-transaction') return undefined;
        if (reply.refusal !== undefined) throw refused(reply.refusal);
        return membersOf(reply.pieces);
    }

    /**
     * Sends a bundle. Chunks alone are an upload; with transactions, HEAD is to go to the last.
     * @param {[string, Uint8Array][]} chunks
     * @param {Transaction[]} [transactions]
     * @returns {Promise<PushAnswer>}
     */
    async push(chunks, transactions = []) {
        const files = chunks.flatMap(([id, bytes]) => tarChunk(id, bytes)).concat(transactions.flatMap(tarTransaction));
        const last = transactions.at(-1);
        if (last !== undefined) files.push(...tarFile('HEAD', utf8(`${last.id}\n`)));
        const body = new Blob([...files, new Uint8Array(2 * BLOCK)]);
        const answer = await this.#again(async () => {
            const reply = await this.#send('bundle', { method: 'POST', type: TAR_TYPE, body });
            return reply.refusal ?? this.#headOf(await this.#json(reply));
        });
        if (!('code' in answer)) return { kind: 'taken', head: answer };
        const { code, head, missing } = answer;
        if (code === 'unknown-parent') return { kind: 'unknown-parent' };
        if (code === 'missing-chunks' && missing !== undefined) return { kind: 'missing', chunks: missing };
        if (['unknown-transaction', 'not-a-descendant', 'has-descendants'].includes(code) && head !== undefined) {
            return { kind: 'lost', head };
        }
        throw refused(answer);
    }

    /** `undefined` where there is none. @returns {Promise<Checkpoint | undefined>} */
    async checkpoint() {
        const told = await this.#told('checkpoint', {}, 'no-checkpoint');
        if (told === undefined) return undefined;
        const { transaction, seq, chunks } = told;
        const good = isHead({ id: transaction, seq }) && Array.isArray(chunks) && chunks.every((id) => typeof id === 'string');
        if (!good) throw this.#garbage('a checkpoint is not as it should be');
        return { transaction, seq, chunks };
    }

    /**
     * `undefined` when it is kept; otherwise why not.
     * @param {string} transaction
     * @param {string[]} chunks
     * @returns {Promise<Refusal | undefined>}
     */
    async putCheckpoint(transaction, chunks) {
        const body = JSON.stringify({ transaction, chunks });
        const reply = await this.#again(() => this.#send('checkpoint', { method: 'PUT', type: JSON_TYPE, body }));
        return reply.refusal;
    }

    /**
     * An answer in JSON; `undefined` where it is refused with the code `absent`.
     * @template {string | undefined} [A=undefined]
     * @param {string} path
     * @param {Ask} [ask]
     * @param {A} [absent]
     * @returns {Promise<Record<string, any> | (A extends string ? undefined : never)>}
     */
    async #told(path, ask = {}, absent) {
        return this.#again(async () => {
            const reply = await this.#send(path, ask);
            if (reply.refusal === undefined) return this.#json(reply);
            if (reply.refusal.code === absent) return /** @type {any} */ (undefined);
            throw refused(reply.refusal);
        }, ask.signal);
    }

    /**
     * Sends one request, once; comes back with the head of the answer, or with a refusal whole.
     * @param {string} path
     * @param {Ask} ask
     * @returns {Promise<Reply>}
     */
    async #send(path, { method = 'GET', media = JSON_TYPE, type, body, headers, more = 0, signal }) {
        const stalled = new AbortController();
        const end = () => stalled.abort();
        const wait = limits.answerWait + more;
        const timer = { id: setTimeout(end, wait) };
        const again = () => {
            clearTimeout(timer.id);
            timer.id = setTimeout(end, limits.answerWait);
        };
        const done = () => {
            clearTimeout(timer.id);
            signal?.removeEventListener('abort', end);
        };
        if (signal?.aborted) end();
        else signal?.addEventListener('abort', end);
        /** @type {Record<string, string>} */
        const sent = { Accept: media, Authorization: `Bearer ${this.#user}`, ...headers };
        if (type !== undefined) sent['Content-Type'] = type;
        /** @type {RequestInit} */
        const how = { method, headers: sent, body, signal: stalled.signal, redirect: 'manual', cache: 'no-store' };
        let response;
        try {
            const page = { credentials: /** @type {const} */ ('omit'), referrerPolicy: /** @type {const} */ ('no-referrer') };
            response = await this.#fetch.call(undefined, `${this.address}/0.1/-/${path}`, { ...how, ...page });
            again();
        } catch (cause) {
            done();
            throw await this.#unreached(cause, stalled.signal.aborted);
        }
        const pieces = this.#pieces(response, again, done);
        let isGood = false;
        try {
            const reply = await this.#reply(response, pieces, media);
            isGood = reply.refusal === undefined && response.body !== null;
            return reply;
        } finally {
            // Of a good one the body is still to come.
            if (!isGood) {
                done();
                if (!response.bodyUsed) response.body?.cancel().catch(() => undefined);
            }
        }
    }

    /** What an answer is by its head. @param {Response} response @param {AsyncGenerator<Bytes, void>} pieces @param {string} media @returns {Promise<Reply>} */
    async #reply(response, pieces, media) {
        const { status } = response;
        const reply = { response, pieces };
        if (status === 204 || (status >= 200 && status < 300 && isOf(response, media))) return reply;
        if (status === 304) return { refusal: { status, code: 'unchanged', detail: 'it answers what was not asked for' } };
        if (response.type === 'opaqueredirect' || (status >= 300 && status < 400)) {
            throw new SyncError('Offline', `${this.address} sends us elsewhere: use the address that it sends to`, { passes: false });
        }
        const problem = isOf(response, PROBLEM) ? await this.#json(reply) : undefined;
        const detail = `${problem?.detail ?? response.statusText}`.replaceAll(this.#user, '…').slice(0, 500);
        if ([408, 429, 503].includes(status) || (problem === undefined && status >= 500)) {
            const after = retryAfter(response.headers.get('retry-after'));
            throw new SyncError('Offline', `the server is too busy: ${detail} (${status})`, { retryAfter: after, passes: true });
        }
        if (problem === undefined || status < 400) throw this.#garbage(`${status} ${response.headers.get('content-type')}`);
        const { code, head: id, seq, missing } = problem;
        const head = isHead({ id, seq }) ? { id, seq } : undefined;
        const list = Array.isArray(missing) ? missing.filter((chunk) => typeof chunk === 'string') : undefined;
        return { refusal: { status, code: `${code}`, detail, head, missing: list } };
    }

    /** The body of an answer, as it comes. @param {Response} response @param {() => void} again @param {() => void} done @returns {AsyncGenerator<Bytes, void>} */
    async *#pieces(response, again, done) {
        const reader = response.body?.getReader();
        try {
            for (;;) {
                const piece = await reader?.read();
                if (piece === undefined || piece.done) return;
                again();
                yield /** @type {Bytes} */ (piece.value);
            }
        } catch (cause) {
            throw new SyncError('Offline', 'the server broke off in the middle of its answer', { cause, passes: true });
        } finally {
            done();
            // Not awaited: it may never come.
            reader?.cancel().catch(() => undefined);
        }
    }

    /** @param {{ pieces: AsyncGenerator<Bytes, void> }} reply @param {number} most */
    async #whole({ pieces }, most) {
        const parts = [];
        let length = 0;
        for await (const piece of pieces) {
            parts.push(piece);
            length += piece.length;
            if (length > most) throw this.#garbage(`an answer has more than ${most} bytes`);
        }
        return join(...parts);
    }

    /** @param {{ pieces: AsyncGenerator<Bytes, void> }} reply @returns {Promise<Record<string, any>>} */
    async #json(reply) {
        const bytes = await this.#whole(reply, limits.answer);
        try {
            const read = JSON.parse(textOf(bytes));
            if (typeof read === 'object' && read !== null) return read;
        } catch {
            // It is told below.
        }
        throw this.#garbage('an answer is not as it should be');
    }

    /** @param {Record<string, any>} told @returns {Head} */
    #headOf({ head: id, seq }) {
        if (!isHead({ id, seq })) throw this.#garbage('it says no HEAD');
        return { id, seq };
    }

    /** @param {string} what */
    #garbage(what) {
        return new SyncError('Offline', `${this.address} does not answer as a server of mentat-sync does: ${what}`, { passes: false });
    }

    /** Why there is no answer. Browsers do not say; so one question more, whose answer no page may read. @param {unknown} cause @param {boolean} ended */
    async #unreached(cause, ended) {
        const details = { cause, passes: true };
        if (ended) return new SyncError('Offline', `${this.address} does not answer`, details);
        const here = globalThis.location?.origin;
        if (here !== undefined && here !== new URL(this.address).origin && globalThis.navigator?.onLine !== false) {
            const signal = AbortSignal.timeout(5000);
            const mode = /** @type {const} */ ('no-cors');
            const there = await this.#fetch.call(undefined, `${this.address}/__lbheartbeat__`, { mode, signal }).catch(() => undefined);
            if (there !== undefined) {
                const words = `${this.address} is there, but this page may not read its answers: the server's --cors-origin must name ${here}`;
                return new SyncError('Offline', words, { ...details, code: 'cross-origin' });
            }
        }
        return new SyncError('Offline', `${this.address} cannot be reached`, details);
    }

    /**
     * Asks until there is an answer: again where the server was not reached and may be a moment later, after a random part of a time that
     * doubles, and not before the server's own word for when.
     * @template T
     * @param {() => Promise<T>} ask
     * @param {AbortSignal} [signal]
     * @returns {Promise<T>}
     */
    async #again(ask, signal) {
        let most = limits.retryFirst;
        for (let tried = 1; ; tried += 1) {
            try {
                return await ask();
            } catch (error) {
                const again = error instanceof SyncError && error.name === 'Offline' && error.passes && !signal?.aborted;
                const after = (again && error.retryAfter) || 0;
                const isOffline = globalThis.navigator?.onLine === false;
                if (!again || tried >= this.#tries || after > limits.retryMost || isOffline) throw error;
                await pause(Math.max(Math.random() * most, after), signal);
                most = Math.min(most * 2, limits.retryMost);
            }
        }
    }

    toString() {
        return `Server(${this.address})`;
    }
}

/** @param {Refusal} refusal */
const refused = ({ status, code, detail }) =>
    new SyncError('Refused', `the server refuses: ${detail} (${code}, ${status})`, { status, code });

// ---------------------------------------------------------------------------------------------------------------------
// Where a replica is kept

/**
 * @typedef {object} Storage
 * The place of a replica: values under keys, in the order of the keys. A value is a number, a plain object or a `Uint8Array`.
 * @property {(keys: string[]) => Promise<any[]>} get the values, `undefined` where there is none
 * @property {(from: string, to: string, limit: number) => Promise<[string, any][]>} range those with from ≤ key < to, the first ones
 * @property {(changes: [string, any][], rev?: number) => Promise<boolean>} write all of the changes or none, durable when it comes back;
 *   `undefined` removes. With `rev`, only if the value under `state` has that `rev` (0: there is none); otherwise `false`
 * @property {<T>(work: () => Promise<T>, ms: number) => Promise<T>} alone does the work while nobody else does any; `Busy` when the time is up
 * @property {() => Promise<void>} close
 */

const busy = () => new SyncError('Busy', 'others are at it: try again');

/** A replica in memory, for tests and for programs that live shortly. It is gone with the object. @implements {Storage} */
export class MemoryStorage {
    /** @type {Map<string, any>} */
    #values = new Map();
    /** @type {string[] | undefined} */
    #sorted;
    /** @type {Promise<unknown>} */
    #last = Promise.resolve();

    /** @param {string[]} keys */
    async get(keys) {
        return keys.map((key) => this.#values.get(key));
    }

    /** @param {string} from @param {string} to @param {number} limit @returns {Promise<[string, any][]>} */
    async range(from, to, limit) {
        this.#sorted ??= [...this.#values.keys()].sort();
        let [low, high] = [0, this.#sorted.length];
        while (low < high) {
            const middle = (low + high) >> 1;
            if (this.#sorted[middle] < from) low = middle + 1;
            else high = middle;
        }
        /** @type {[string, any][]} */
        const found = [];
        for (; found.length < limit && this.#sorted[low] < to; low += 1) {
            found.push([this.#sorted[low], this.#values.get(this.#sorted[low])]);
        }
        return found;
    }

    /** @param {[string, any][]} changes @param {number} [rev] */
    async write(changes, rev) {
        if (rev !== undefined && (this.#values.get('state')?.rev ?? 0) !== rev) return false;
        for (const [key, value] of changes) {
            const known = this.#values.has(key);
            if (value === undefined) this.#values.delete(key);
            else this.#values.set(key, value);
            if (known === (value === undefined)) this.#sorted = undefined;
        }
        return true;
    }

    /** @template T @param {() => Promise<T>} work @param {number} ms @returns {Promise<T>} */
    async alone(work, ms) {
        const before = this.#last;
        let late = false;
        const mine = (async () => {
            await before.catch(() => undefined);
            return late ? undefined : { done: await work() };
        })();
        this.#last = mine;
        mine.catch(() => undefined);
        const began = before.then(
            () => true,
            () => true,
        );
        const wait = new AbortController();
        const first = await Promise.race([began, pause(ms, wait.signal).then(() => false)]);
        wait.abort();
        if (!first) {
            late = true;
            throw busy();
        }
        return /** @type {{ done: T }} */ (await mine).done;
    }

    async close() {}
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const answered = (request) =>
    new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });

/** @param {unknown} cause */
function unstored(cause) {
    if (cause instanceof SyncError) return cause;
    const { name, message } = /** @type {{ name?: string, message?: string }} */ (cause ?? {});
    if (name === 'QuotaExceededError') return new SyncError('Full', 'the browser gives this page no more room', { cause });
    return new SyncError('Damaged', `the replica's database: ${message}`, { cause });
}

/** @param {string} name @returns {IDBOpenDBRequest} */
function openDatabase(name) {
    try {
        return indexedDB.open(name, 1);
    } catch (cause) {
        const why = 'this page may not keep data here: its frame is closed off, or the browser is told to keep none';
        throw new SyncError('Unsupported', why, { cause });
    }
}

/** @param {IDBTransaction} transaction */
function abort(transaction) {
    try {
        transaction.abort();
    } catch {
        // It has ended already.
    }
}

/** A replica in the browser's IndexedDB, which all tabs of an origin share. @implements {Storage} */
export class IndexedDbStorage {
    #name;
    /** @type {Promise<IDBDatabase> | undefined} */
    #opened;

    /** @param {string} name of the database */
    constructor(name) {
        if (globalThis.indexedDB === undefined) {
            throw new SyncError('Unsupported', 'there is no IndexedDB here: open the replica with a storage of your own');
        }
        this.#name = name;
    }

    /** @returns {Promise<IDBDatabase>} */
    #database() {
        this.#opened ??= new Promise((resolve, reject) => {
            const request = openDatabase(this.#name);
            request.onupgradeneeded = () => request.result.createObjectStore('values');
            request.onerror = () => reject(unstored(request.error));
            request.onsuccess = () => {
                const database = request.result;
                const gone = () => {
                    this.#opened = undefined;
                    database.close();
                };
                // The page's data are cleared, or another tab removes the database.
                database.onclose = gone;
                database.onversionchange = gone;
                resolve(database);
            };
        });
        this.#opened.catch(() => (this.#opened = undefined));
        return this.#opened;
    }

    /**
     * Does a piece of work in one transaction, which ends well when the work has and it is on the disk.
     * @template T
     * @param {'readonly' | 'readwrite'} mode
     * @param {(store: IDBObjectStore) => Promise<T>} work awaits nothing but the store
     * @returns {Promise<T>}
     */
    async #with(mode, work) {
        try {
            const transaction = await this.#begin(mode);
            /** @type {Promise<DOMException | null | undefined>} */
            const ended = new Promise((resolve) => {
                transaction.oncomplete = () => resolve(undefined);
                transaction.onabort = () => resolve(transaction.error);
            });
            const done = await work(transaction.objectStore('values')).catch(async (error) => {
                // Nothing of it is to stay; and the transaction knows better why, if it ended by itself.
                abort(transaction);
                throw (await ended) ?? error;
            });
            const why = await ended;
            if (why === undefined) return done;
            throw why ?? new Error('the transaction was given up');
        } catch (error) {
            throw unstored(error);
        }
    }

    /** @param {'readonly' | 'readwrite'} mode @returns {Promise<IDBTransaction>} */
    async #begin(mode) {
        const begin = async () => (await this.#database()).transaction('values', mode, { durability: 'strict' });
        try {
            return await begin();
        } catch (error) {
            if (/** @type {any} */ (error)?.name !== 'InvalidStateError') throw error;
            // The browser closed the database, and not each of them says so.
            this.#opened = undefined;
            return begin();
        }
    }

    /** @param {string[]} keys */
    async get(keys) {
        return this.#with('readonly', (store) => Promise.all(keys.map((key) => answered(store.get(key)))));
    }

    /** @param {string} from @param {string} to @param {number} limit @returns {Promise<[string, any][]>} */
    async range(from, to, limit) {
        const range = IDBKeyRange.bound(from, to, false, true);
        const most = Number.isFinite(limit) ? limit : undefined;
        return this.#with('readonly', async (store) => {
            const [keys, values] = await Promise.all([answered(store.getAllKeys(range, most)), answered(store.getAll(range, most))]);
            return keys.map((key, at) => [/** @type {string} */ (key), values[at]]);
        });
    }

    /** @param {[string, any][]} changes @param {number} [rev] */
    async write(changes, rev) {
        return this.#with('readwrite', async (store) => {
            if (rev !== undefined && ((await answered(store.get('state')))?.rev ?? 0) !== rev) return false;
            const all = changes.map(([key, value]) => (value === undefined ? store.delete(key) : store.put(value, key)));
            await Promise.all(all.map((request) => answered(/** @type {IDBRequest<unknown>} */ (request))));
            return true;
        });
    }

    /** @template T @param {() => Promise<T>} work @param {number} ms @returns {Promise<T>} */
    async alone(work, ms) {
        const locks = globalThis.navigator?.locks;
        if (locks === undefined) return this.#leased(work, ms);
        let began = false;
        const start = () => {
            began = true;
            return work();
        };
        try {
            return await locks.request(`mentat-sync ${this.#name}`, { signal: AbortSignal.timeout(ms) }, start);
        } catch (error) {
            if (began) throw error;
            const isLate = ['TimeoutError', 'AbortError'].includes(/** @type {any} */ (error)?.name);
            throw isLate ? busy() : unstored(error);
        }
    }

    /**
     * Where there are no Web Locks: a lease in the database, which its holder renews. A holder that slept longer has lost it and may not
     * know it; then its writes, which all look at `rev`, are refused.
     * @template T @param {() => Promise<T>} work @param {number} ms @returns {Promise<T>}
     */
    async #leased(work, ms) {
        const owner = uuid(random(16));
        const until = performance.now() + ms;
        while (!(await this.#lease(owner, limits.lease))) {
            if (performance.now() >= until) throw busy();
            await pause(Math.random() * limits.look);
        }
        const renewal = setInterval(() => void this.#lease(owner, limits.lease).catch(() => undefined), limits.lease / 3);
        try {
            return await work();
        } finally {
            clearInterval(renewal);
            // One that is not given back ends by itself.
            await this.#lease(owner, 0).catch(() => undefined);
        }
    }

    /** Takes the lease, keeps it, or gives it back: 0 ms. @param {string} owner @param {number} ms */
    async #lease(owner, ms) {
        return this.#with('readwrite', async (store) => {
            const now = Date.now();
            const found = await answered(store.get('lease'));
            // One from the future is of a clock that was set back.
            const held = found !== undefined && found.until > now && found.until <= now + limits.lease;
            if (held && found.owner !== owner) return false;
            if (ms === 0 && found?.owner !== owner) return false;
            await answered(/** @type {IDBRequest<unknown>} */ (ms === 0 ? store.delete('lease') : store.put({ owner, until: now + ms }, 'lease')));
            return true;
        });
    }

    async close() {
        (await this.#opened)?.close();
        this.#opened = undefined;
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The replica

/**
 * @typedef {object} Entry
 * A transaction as an application sees it: its entry, opened, and the chunks that it names.
 * @property {string} id
 * @property {number} seq
 * @property {string} parent
 * @property {Uint8Array} body the application's own bytes
 * @property {string[]} chunks the chunks beside the entry
 * @property {boolean} pending the server has not confirmed it yet: it may get another id and another place
 *
 * @typedef {'keep' | 'drop' | { body: string | Uint8Array, chunks?: string[] }} Rebase
 * What becomes of an entry that somebody else was quicker than: it is said as it is, not at all, or in other words.
 *
 * @typedef {object} App
 * An application that follows the chain. Its state is always: the confirmed entries in order, then ours that are pending. It must be
 * deterministic: the same entries, the same state, on every device. What it saves is the state of the confirmed entries together with
 * its position, in one write. Each of these may be async.
 * @property {() => string | Promise<string>} position the last confirmed entry that the state holds; `ROOT` where it holds none
 * @property {(entry: Entry) => unknown} apply takes an entry in, confirmed or pending, after all before it
 * @property {() => unknown} rewind takes all pending entries out of the state; called at the beginning of each sync, whenever somebody else
 *   was quicker, and when ours were confirmed; also when none are in it
 * @property {(ours: Entry) => Rebase | Promise<Rebase>} rebase decides what becomes of a pending entry of ours: theirs are applied now, and
 *   those of ours that came before this one. What is kept or replaced is applied next
 *
 * @typedef {object} Synced
 * @property {number} pulled transactions of others that came
 * @property {number} pushed transactions of ours that the server confirmed
 * @property {number} rebased entries of ours that were said again after others
 * @property {number} dropped entries of ours that the application had no more use for
 * @property {Head} head the newest transaction that the server confirmed
 *
 * @typedef {object} Imported
 * @property {number} said entries that are said again, and pending now
 * @property {number} there entries that were said here already
 * @property {number} dropped entries that the application had no use for
 *
 * @typedef {object} Divergence
 * @property {'rollback' | 'fork' | 'empty' | 'moved' | 'other-store'} how
 *
 * - `rollback`: theirs ends at a transaction of ours, as that of a server that was restored from a backup does. `restore` puts back what it lacks
 * - `fork`: both go on after a common transaction: another device went on after a rollback. A replica under another `name`, synced,
 *   and `import` of this one there, say again what was lost
 * - `empty`: the server knows nothing of this store: another server, a new box, or the store has a new user. `seed` fills a new box
 * - `moved`: a device made a new key, and the store has another user. A replica of the new invite, synced, and `import` of this one there, say
 *   again what was not sent
 * - `other-store`: nothing of theirs is ours: is the invite, or its address, the right one?
 * @property {Head} common
 * @property {number} ours
 * @property {number} theirs
 *
 * @typedef {object} State
 * @property {number} rev counts the writes of it
 * @property {string} user which store it is, without saying it
 * @property {string | null} key
 * @property {Head} head
 * @property {Head | null} tip of what is pending
 * @property {[string, string][]} renamed ids before and after a rebase
 * @property {{ transaction: Transaction, chunk: Bytes } | null} keys the entry with the old keys, sealed with ours
 *
 * @typedef {{ state: State, base: Head, transactions: Transaction[] }} Line What is pending, oldest first, and what it follows.
 *
 * @typedef {{ entry: Entry, said: Said }} Told
 */

/** @param {Transaction | Head} of @returns {Head} */
const headOf = ({ id, seq }) => ({ id, seq });

/** @param {number} seq */
const keyOf = (seq) => `t/${`${seq}`.padStart(16, '0')}`;

/** @param {string} id @param {Uint8Array} bytes @returns {[string, any][]} */
const chunkChanges = (id, bytes) => [
    [`c/${id}`, bytes],
    [`n/${id}`, bytes.length],
];

/** @param {Transaction} transaction @returns {[string, any][]} */
const confirmChanges = (transaction) => [
    [keyOf(transaction.seq), transaction],
    [`i/${transaction.id}`, transaction.seq],
    [`p/${transaction.id}`, undefined],
];

/** @type {App} */
const NO_APP = { position: () => ROOT, apply: () => undefined, rewind: () => undefined, rebase: () => 'keep' };

/** @template T @param {() => T | Promise<T>} call @returns {Promise<T>} */
async function inApp(call) {
    try {
        return await call();
    } catch (cause) {
        throw new SyncError('App', `the application: ${/** @type {any} */ (cause)?.message ?? cause}`, { cause });
    }
}

/** @param {Rebase} said @returns {Rebase} */
function checkedRebase(said) {
    const good = said === 'keep' || said === 'drop' || typeof said?.body === 'string' || said?.body instanceof Uint8Array;
    if (!good) throw new TypeError("rebase answers 'keep', 'drop' or { body, chunks }");
    return said;
}

/** A whole copy of a store, for use offline. Any number of tabs and workers may have it open: one at a time syncs. */
export class Replica {
    #storage;
    #server;
    #ring;
    /** Where it stood when an application was last shown it. @type {{ head: string, tip: string | null } | undefined} */
    #shown;
    /** The server was not reached the last time. */
    #cut = false;
    /** The old keys are looked for, or were. @type {Promise<boolean> | undefined} */
    #searched;
    /** What a wait told last, and how long it waits before it tells that once more. */
    #told = { what: '', after: 0 };

    /** @param {Storage} storage @param {Server} server @param {Keyring} ring */
    constructor(storage, server, ring) {
        this.#storage = storage;
        this.#server = server;
        this.#ring = ring;
    }

    /**
     * Opens the replica of this identity, and makes one where there is none. Asks no server.
     * @param {Identity} identity
     * @param {{ name?: string, storage?: Storage, fetch?: typeof fetch, tries?: number }} [options] `name` of the database; or a storage of
     *   your own
     * @returns {Promise<Replica>}
     * @throws {SyncError} `NotThisReplica` where there is one of another store, `Unsupported`, `Full`
     */
    static async open(identity, { name, storage, ...options } = {}) {
        subtle();
        const ring = await identity.keyring();
        const place = storage ?? new IndexedDbStorage(name ?? `mentat-sync ${identity.user.slice(0, 8)}`);
        const user = await chunkId(utf8(identity.user));
        const key = ring.current?.id ?? null;
        const head = { id: ROOT, seq: 0 };
        await place.write([['state', { rev: 1, user, key, head, tip: null, renamed: [], keys: null }]], 0);
        /** @type {State[]} */
        const [state] = await place.get(['state']);
        if (state.user !== user || state.key !== key) {
            throw new SyncError('NotThisReplica', 'this is the replica of another store, or of this one before it had its present invite');
        }
        const replica = new Replica(place, new Server(identity, options), ring);
        if (state.keys !== null) await replica.#takeKeys(state.keys.transaction, state.keys.chunk);
        return replica;
    }

    /** Where the replica stands; asks nobody. `bytes` are those of the chunks that are pending. */
    async status() {
        const { state, transactions } = await this.#line();
        const lengths = await this.#storage.get(transactions.flatMap(({ chunks }) => chunks.map((id) => `n/${id}`)));
        const bytes = lengths.reduce((sum, length) => sum + (length ?? 0), 0);
        return { base: state.head, tip: state.tip ?? state.head, pending: transactions.length, bytes };
    }

    /**
     * Puts bytes beside, for an entry to name: in chunks of one MiB. Durable when it comes back; the same bytes are the same chunks.
     * @param {string | Uint8Array | ArrayBuffer | Blob} bytes
     * @returns {Promise<string[]>}
     */
    async put(bytes) {
        const blob = new Blob([typeof bytes === 'string' || bytes instanceof Blob ? bytes : Uint8Array.from(new Uint8Array(bytes))]);
        const ids = [];
        /** @type {[string, any][]} */
        let changes = [];
        for (let at = 0; at < blob.size; at += limits.slice) {
            const slice = new Uint8Array(await blob.slice(at, at + limits.slice).arrayBuffer());
            const chunk = await this.#ring.seal({ kind: 'data' }, slice);
            const id = await chunkId(chunk);
            changes.push(...chunkChanges(id, chunk));
            ids.push(id);
            if (ids.length % limits.putTogether === 0) {
                await this.#storage.write(changes);
                changes = [];
            }
        }
        if (changes.length > 0) await this.#storage.write(changes);
        return ids;
    }

    /**
     * Says something, offline: a transaction after the tip, that names these chunks. Durable when it comes back.
     * @param {string | Uint8Array} bytes at most 1 MiB
     * @param {string[]} [chunks]
     * @returns {Promise<Entry>}
     */
    async commit(bytes, chunks = []) {
        return this.#commit({ nonce: random(16), app: bytesOf(bytes) }, chunks);
    }

    /**
     * Pushes what is pending and pulls what others said, until HEAD is our tip. Safe to call again after anything. The application is shown
     * all of it, also where the server cannot be reached.
     * @param {App} [app]
     * @returns {Promise<Synced>}
     */
    async sync(app = NO_APP) {
        return this.#alone(async () => {
            const synced = { pulled: 0, pushed: 0, rebased: 0, dropped: 0, head: (await this.#state()).head };
            for (let race = 0; race < limits.races; race += 1) {
                const isPending = (await this.#state()).tip !== null;
                if (!isPending || !(await this.#pushAndShow(app, synced))) await this.#pullAndShow(app, synced);
                if ((await this.#state()).tip === null) return synced;
            }
            throw busy();
        });
    }

    /** Pulls what others said, and says again after it what is pending; sends nothing. @param {App} [app] @returns {Promise<Synced>} */
    async pull(app = NO_APP) {
        return this.#alone(async () => {
            const synced = { pulled: 0, pushed: 0, rebased: 0, dropped: 0, head: (await this.#state()).head };
            await this.#pullAndShow(app, synced);
            return synced;
        });
    }

    /**
     * The entries after one, oldest first: those of the chain, then those that are pending; each verified and opened as it is reached.
     * @param {string} [from]
     * @returns {AsyncGenerator<Entry, void>}
     */
    async *entries(from = ROOT) {
        for await (const { entry } of this.#saidAfter(from)) yield entry;
    }

    /** One entry, by its id or by one that it had before a rebase; `undefined` where there is none. @param {string} id */
    async entry(id) {
        const { renamed } = await this.#state();
        let now = id;
        for (const [old, later] of renamed) if (old === now) now = later;
        const found = (await this.#find(id)) ?? (await this.#find(now));
        return found && (await this.#said(found.transaction, !found.onChain)).entry;
    }

    /**
     * The bytes of a chunk that an entry names, opened.
     * @param {string} chunk
     * @returns {Promise<Uint8Array>}
     */
    async read(chunk) {
        const [bytes] = await this.#storage.get([`c/${chunk}`]);
        const kept = bytesKept(bytes);
        if (kept === undefined) throw missingChunks([chunk]);
        return this.#opened(chunk, kept);
    }

    /** The same, from here or else from the server: the chunks of a saved state. @param {string} chunk @returns {Promise<Uint8Array>} */
    async readThere(chunk) {
        const [bytes] = await this.#storage.get([`c/${chunk}`]);
        const there = bytesKept(bytes) ?? (await this.#server.chunk(chunk));
        if (there === undefined) throw missingChunks([chunk]);
        return this.#opened(chunk, there);
    }

    /**
     * Waits until there is something to sync, by long poll: `moved`, somebody moved HEAD, or another tab synced; `committed`, a commit was
     * made here since the last sync, by whichever tab; `back`, the server is to be reached again; `time-is-up`. While the server is not to be
     * reached it is asked again after pauses that grow to half a minute, and at once when the browser says that it is online.
     * @param {number} ms
     * @param {{ signal?: AbortSignal }} [options] `signal` ends it early, as if the time were up
     * @returns {Promise<'moved' | 'committed' | 'back' | 'time-is-up'>}
     */
    async wait(ms, { signal } = {}) {
        const state = await this.#state();
        const seen = this.#shown ?? { head: state.head.id, tip: state.tip?.id ?? null };
        const ended = new AbortController();
        const end = () => ended.abort();
        if (signal?.aborted) end();
        else signal?.addEventListener('abort', end);
        const until = performance.now() + ms;
        try {
            /** @type {Promise<'time-is-up'>} */
            const timeIsUp = pause(Math.min(ms, 2 ** 31 - 1), ended.signal).then(() => 'time-is-up');
            const looked = this.#look(seen, ended.signal);
            return await Promise.race([looked, this.#poll(seen.head, until, ended.signal), timeIsUp]);
        } finally {
            end();
            signal?.removeEventListener('abort', end);
        }
    }

    /**
     * Saves the state of the application with the server, for new devices to start from; the server keeps the newest. Needs the network.
     * @param {string | Uint8Array} bytes at most 1 MiB
     * @param {string[]} [chunks] that are here
     * @param {{ at?: string }} [options] the confirmed transaction that the state holds all of; without it, HEAD as the application was last
     *   shown it
     */
    async checkpoint(bytes, chunks = [], { at } = {}) {
        const transaction = at ?? this.#shown?.head ?? (await this.#state()).head.id;
        const found = await this.#find(transaction);
        if (found === undefined || !found.onChain) throw unknownTransaction(transaction);
        const body = checkedEntry(bytesOf(bytes), chunks);
        const first = await this.#ring.seal({ kind: 'checkpoint', transaction, seq: found.transaction.seq, others: chunks }, body);
        const id = await chunkId(first);
        await this.#bulk(await this.#server.missing([...new Set(chunks)]), 0);
        await this.#server.push([[id, first]]);
        const refusal = await this.#server.putCheckpoint(transaction, [id, ...chunks]);
        if (refusal === undefined) return;
        if (refusal.code === 'unknown-transaction') throw unknownTransaction(transaction);
        if (refusal.code === 'checkpoint-older') throw busy();
        if (refusal.code === 'missing-chunks') throw missingChunks(refusal.missing ?? []);
        throw refused(refusal);
    }

    /**
     * The state that the server keeps, verified and opened; `undefined` where it keeps none. Its chunks are read by `readThere`.
     * @returns {Promise<{ at: Head, body: Uint8Array, chunks: string[] } | undefined>}
     */
    async savedState() {
        const found = await this.#server.checkpoint();
        if (found === undefined) return undefined;
        const { transaction, seq, chunks } = found;
        const [first, ...others] = chunks;
        const isOurs = first !== undefined && chunks.every((id) => CHUNK.test(id));
        const chunk = isOurs ? await this.#server.chunk(first) : undefined;
        if (chunk === undefined) throw forged(transaction, 'missing', 'has a checkpoint that names chunks that are not there');
        try {
            const body = await this.#ring.open({ kind: 'checkpoint', transaction, seq, others }, chunk);
            return { at: { id: transaction, seq }, body, chunks: others };
        } catch (error) {
            throw error instanceof OpenError ? error.in(transaction) : error;
        }
    }

    /**
     * How the server's history and ours have parted; `undefined` where they have not.
     * @returns {Promise<Divergence | undefined>}
     */
    async diverged() {
        const { head: base } = await this.#state();
        const theirs = await this.#server.head().catch((error) => {
            // Where new users are not admitted, one who is not known has nothing.
            if (error?.code === 'unknown-user' && base.seq > 0) return { id: ROOT, seq: 0 };
            throw error;
        });
        /** @param {Divergence['how']} how @param {Head} common @returns {Divergence} */
        const parted = (how, common) => ({ how, common, ours: base.seq - common.seq, theirs: Math.max(0, theirs.seq - common.seq) });
        if (base.id === theirs.id) return undefined;
        if (base.seq === 0) return (await this.#isLastWordAt(theirs)) ? this.#moved(theirs.seq) : undefined;
        if (theirs.id === ROOT) return parted('empty', { id: ROOT, seq: 0 });
        const found = await this.#find(theirs.id);
        if (found?.onChain) return parted('rollback', headOf(found.transaction));
        if (await this.#isLastWordAt(theirs)) return this.#moved(theirs.seq);
        if (await this.#isThere(base)) return undefined;
        let [common, other] = [{ id: ROOT, seq: 0 }, base];
        while (other.seq - common.seq > 1) {
            const middle = await this.#numbered(common.seq + Math.floor((other.seq - common.seq) / 2));
            if (await this.#isThere(middle)) common = middle;
            else other = middle;
        }
        return parted(common.seq === 0 ? 'other-store' : 'fork', common);
    }

    /** Puts back what a server lacks that was restored from a backup (`rollback`). @returns {Promise<number>} how many transactions */
    async restore() {
        return this.#putBack('rollback');
    }

    /** Fills a server that knows nothing of this store (`empty`) with all of it. @returns {Promise<number>} how many transactions */
    async seed() {
        return this.#putBack('empty');
    }

    /**
     * Says again here, after what is here, all that an older replica of the same store has and this one has not, pending or confirmed: what a
     * server lost that was restored while others went on, and what was not sent before a `rekey`. The application is shown what is
     * here, and decides on each as in a rebase. Asks no server: a sync sends it. Run again after a break it goes on, and what others
     * imported is not said twice: an entry is known by its random bytes.
     * @param {Replica} old opened under its own `name`, or with its own identity
     * @param {App} [app]
     * @returns {Promise<Imported>}
     */
    async import(old, app = NO_APP) {
        if (!(#storage in old)) throw new TypeError('import takes a replica of this module');
        return this.#alone(async () => {
            await this.#show(app, { pulled: 0, pushed: 0, rebased: 0, dropped: 0, head: (await this.#state()).head });
            const common = await this.#newestOf(old);
            /** @type {Set<string>} */
            const here = new Set();
            for await (const { said } of this.#saidAfter(common)) here.add(hex(said.nonce));
            const imported = { said: 0, there: 0, dropped: 0 };
            for await (const { entry, said } of old.#saidAfter(common)) {
                if (here.has(hex(said.nonce))) imported.there += 1;
                else if (await this.#importOne(old, app, entry, said)) imported.said += 1;
                else imported.dropped += 1;
            }
            return imported;
        });
    }

    /** Closes it. What is committed stays. */
    async close() {
        await this.#storage.close();
    }

    // What is here

    /** @returns {Promise<State>} */
    async #state() {
        const [state] = await this.#storage.get(['state']);
        if (state === undefined) throw new SyncError('Damaged', 'the replica is gone: its data were cleared');
        if (!isHead(state.head) || !(state.tip === null || isHead(state.tip)) || !Array.isArray(state.renamed)) {
            throw new SyncError('Damaged', 'where the replica stands cannot be read');
        }
        return state;
    }

    /** @param {State} state @param {Partial<State>} patch @param {[string, any][]} changes */
    #write(state, patch, changes) {
        return this.#storage.write([...changes, ['state', { ...state, ...patch, rev: state.rev + 1 }]], state.rev);
    }

    /** @param {string} id @returns {Promise<{ transaction: Transaction, onChain: boolean } | undefined>} */
    async #find(id) {
        const [seq, pending] = await this.#storage.get([`i/${id}`, `p/${id}`]);
        const { head } = await this.#state();
        if (seq !== undefined && seq <= head.seq) {
            const [transaction] = await this.#storage.get([keyOf(seq)]);
            if (transaction?.id === id) return { transaction: whole(transaction), onChain: true };
        }
        return pending && { transaction: whole(pending), onChain: false };
    }

    /** @param {number} seq @returns {Promise<Head>} */
    async #numbered(seq) {
        const [transaction] = await this.#storage.get([keyOf(seq)]);
        if (transaction === undefined) throw new SyncError('Damaged', `the transaction with the number ${seq} is not here`);
        return headOf(whole(transaction));
    }

    /** @returns {Promise<Line>} */
    async #line() {
        for (;;) {
            const state = await this.#state();
            if (state.tip === null) return { state, base: state.head, transactions: [] };
            const found = await this.#storage.range('p/', 'p0', Infinity);
            const pending = new Map(found.map(([, transaction]) => [whole(transaction).id, whole(transaction)]));
            /** @type {Transaction[]} */
            const transactions = [];
            for (let at = pending.get(state.tip.id); at !== undefined; at = pending.get(at.parent)) {
                transactions.push(at);
                // No line goes in circles.
                pending.delete(at.id);
            }
            transactions.reverse();
            if ((await this.#state()).rev !== state.rev) continue;
            if (transactions.length === 0) throw new SyncError('Damaged', 'what is pending is not here');
            return { state, base: { id: transactions[0].parent, seq: transactions[0].seq - 1 }, transactions };
        }
    }

    /** @param {string} from @param {Head} to @returns {AsyncGenerator<Told, void>} */
    async *#confirmed(from, to) {
        const found = from === ROOT ? undefined : await this.#find(from);
        if (from !== ROOT && !found?.onChain) throw unknownTransaction(from);
        for (let seq = (found?.transaction.seq ?? 0) + 1; seq <= to.seq; seq += limits.listed) {
            const until = Math.min(seq + limits.listed, to.seq + 1);
            const listed = await this.#storage.range(keyOf(seq), keyOf(until), limits.listed);
            if (listed.length !== until - seq) throw new SyncError('Damaged', `transactions after the number ${seq - 1} are not here`);
            for (const [, transaction] of listed) yield await this.#said(whole(transaction), false);
        }
    }

    /** The entries after one, with their random bytes. @param {string} from @returns {AsyncGenerator<Told, void>} */
    async *#saidAfter(from) {
        const { state, transactions } = await this.#line();
        const at = transactions.findIndex(({ id }) => id === from);
        if (at < 0) yield* this.#confirmed(from, state.head);
        for (const { id } of transactions.slice(at + 1)) {
            const found = await this.#find(id);
            if (found === undefined) throw busy();
            yield await this.#said(found.transaction, !found.onChain);
        }
    }

    /** The entry of a transaction, with its random bytes. @param {Transaction} transaction @param {boolean} pending @returns {Promise<Told>} */
    async #said(transaction, pending) {
        const [chunk] = await this.#storage.get([`c/${transaction.chunks[0]}`]);
        const said = await this.#openEntry(transaction, bytesKept(chunk));
        return { entry: entryOf(transaction, said.app, pending), said };
    }

    /** @param {string} id @param {Uint8Array} bytes */
    async #opened(id, bytes) {
        try {
            // A sealed chunk tells by itself whether it is what was put.
            if (this.#ring.plain && (await chunkId(bytes)) !== id) throw new OpenError('digest');
            return await this.#ring.open({ kind: 'data' }, bytes);
        } catch (error) {
            throw error instanceof OpenError ? error.of(id) : error;
        }
    }

    /** A transaction after the tip, wherever that is by now. @param {Said} said @param {string[]} chunks @returns {Promise<Entry>} */
    async #commit(said, chunks) {
        for (;;) {
            const state = await this.#state();
            const { transaction, changes } = await this.#say(state.tip ?? state.head, said, chunks);
            if (await this.#write(state, { tip: headOf(transaction) }, changes)) return entryOf(transaction, said.app, true);
        }
    }

    /** What is said as a transaction after this one, and what must be written for it. @param {Head} parent @param {Said} said @param {string[]} others */
    async #say(parent, said, others) {
        checkedEntry(said.app, others);
        const here = await this.#storage.get(others.map((id) => `n/${id}`));
        const missing = others.filter((_, at) => here[at] === undefined);
        if (missing.length > 0) throw missingChunks(missing);
        const seq = parent.seq + 1;
        const chunk = await this.#ring.sealEntry(parent.id, seq, others, said);
        const first = await chunkId(chunk);
        const chunks = [first, ...others];
        /** @type {Transaction} */
        const transaction = { id: await transactionId(parent.id, seq, chunks), seq, parent: parent.id, chunks };
        /** @type {[string, any][]} */
        const changes = [...chunkChanges(first, chunk), [`p/${transaction.id}`, transaction]];
        return { transaction, changes, first };
    }

    // What others see of it

    /** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
    #alone(work) {
        return this.#storage.alone(async () => {
            try {
                const done = await work();
                this.#cut = false;
                if (this.#told.what.startsWith('back')) this.#told = { what: '', after: 0 };
                return done;
            } catch (error) {
                this.#cut = named(error) === 'Offline';
                throw error;
            }
        }, limits.syncWait);
    }

    /** @param {App} app @param {Synced} synced @returns {Promise<boolean>} whether all that was pending is confirmed */
    async #pushAndShow(app, synced) {
        const before = (await this.#state()).head;
        let sent = false;
        try {
            sent = await this.#push();
        } finally {
            synced.pushed += (await this.#state()).head.seq - before.seq;
            await this.#show(app, synced);
        }
        return sent;
    }

    /** @param {App} app @param {Synced} synced */
    async #pullAndShow(app, synced) {
        const { state, transactions } = await this.#line();
        try {
            await this.#pull();
        } finally {
            // Ours that an earlier try got through with.
            const confirmed = await this.#storage.get(transactions.map(({ id }) => `i/${id}`));
            const own = confirmed.filter((seq) => seq !== undefined).length;
            synced.pushed += own;
            synced.pulled += (await this.#state()).head.seq - state.head.seq - own;
            await this.#show(app, synced);
        }
    }

    /** Shows an application what is confirmed after its position, and what is pending after that: said again where HEAD has moved since. @param {App} app @param {Synced} synced */
    async #show(app, synced) {
        await inApp(() => app.rewind());
        const { head } = await this.#state();
        for await (const { entry } of this.#confirmed(await inApp(() => app.position()), head)) await inApp(() => app.apply(entry));
        const line = await this.#line();
        if (line.base.id === head.id) {
            for (const transaction of line.transactions) {
                const { entry } = await this.#said(transaction, true);
                await inApp(() => app.apply(entry));
            }
            this.#shown = { head: head.id, tip: line.state.tip?.id ?? null };
        } else {
            await this.#rebase(app, head, line, synced);
        }
        synced.head = head;
    }

    /** What is pending is said again, after what others said first; then all of it is put in its place in one write. @param {App} app @param {Head} head @param {Line} line @param {Synced} synced */
    async #rebase(app, head, line, synced) {
        let { state, transactions } = line;
        let [at, kept, dropped] = [head, 0, 0];
        /** @type {Map<string, any>} */
        const written = new Map();
        /** @type {Map<string, undefined>} */
        const removed = new Map();
        /** @type {[string, string][]} */
        const renamed = [];
        for (;;) {
            for (const old of transactions) {
                const { entry, said } = await this.#said(old, true);
                removed.set(`p/${old.id}`, undefined).set(`c/${old.chunks[0]}`, undefined).set(`n/${old.chunks[0]}`, undefined);
                const verdict = await inApp(async () => checkedRebase(await app.rebase(entry)));
                if (verdict === 'drop') {
                    dropped += 1;
                    continue;
                }
                const { body, chunks = [] } = verdict === 'keep' ? entry : verdict;
                const again = { nonce: said.nonce, app: bytesOf(body) };
                const { transaction, changes } = await this.#say(at, again, chunks);
                for (const [key, value] of changes) written.set(key, value);
                renamed.push([old.id, transaction.id]);
                at = headOf(transaction);
                kept += 1;
                await inApp(() => app.apply(entryOf(transaction, again.app, true)));
            }
            const tip = at.id === head.id ? null : at;
            const names = [...state.renamed, ...renamed].slice(-limits.renamed);
            const changes = [...removed, ...written];
            if (await this.#write(state, { tip, renamed: names }, changes)) {
                this.#shown = { head: head.id, tip: tip?.id ?? null };
                break;
            }
            // Something was committed here meanwhile: it is pending like the rest.
            const tipBefore = state.tip?.id;
            const now = await this.#line();
            const known = now.transactions.findIndex(({ id }) => id === tipBefore);
            if (now.state.head.id !== head.id || known < 0) throw busy();
            [state, transactions] = [now.state, now.transactions.slice(known + 1)];
        }
        synced.rebased += kept;
        synced.dropped += dropped;
    }

    // Push

    /** Sends all that is pending after HEAD. @returns {Promise<boolean>} `false` where others were quicker, or the server is not the one that it was */
    async #push() {
        const { state, base, transactions } = await this.#line();
        if (transactions.length === 0) return true;
        if (base.id !== state.head.id) return false;
        for (let at = 0; at < transactions.length; at += limits.pushed) {
            const answer = await this.#send(base.id, transactions.slice(at, at + limits.pushed));
            if (answer.kind !== 'taken' && answer.kind !== 'lost') return false;
            // An earlier try got through as far as this, and its answer was lost.
            const ours = transactions.find(({ id }) => id === answer.head.id);
            if (ours === undefined) return false;
            await this.#confirm(transactions, ours.seq);
            if (answer.kind === 'lost') return ours === transactions.at(-1);
        }
        return true;
    }

    /** Moves HEAD over pending transactions that the server has confirmed, up to this number. @param {Transaction[]} transactions @param {number} seq */
    async #confirm(transactions, seq) {
        for (;;) {
            const state = await this.#state();
            const confirmed = transactions.filter((transaction) => transaction.seq > state.head.seq && transaction.seq <= seq);
            const last = confirmed.at(-1);
            if (last === undefined) return;
            if (confirmed[0].parent !== state.head.id) throw busy();
            const tip = state.tip?.id === last.id ? null : state.tip;
            if (await this.#write(state, { head: headOf(last), tip }, confirmed.flatMap(confirmChanges))) return;
        }
    }

    /** Sends transactions of ours, each after the one before it, and the chunks of theirs that are not there; HEAD goes to the last. @param {string} base @param {Transaction[]} transactions @returns {Promise<PushAnswer>} */
    async #send(base, transactions) {
        const all = [...new Set(transactions.flatMap(({ chunks }) => chunks))];
        const lengths = await this.#lengths(all);
        const total = [...lengths.values()].reduce((sum, length) => sum + length, 0);
        let ids = total > limits.small ? await this.#server.missing(all) : all;
        for (let tried = 0; tried < limits.tries; tried += 1) {
            const bytes = ids.reduce((sum, id) => sum + (lengths.get(id) ?? 0), 0);
            if (bytes > limits.parcel) {
                const head = await this.#server.head();
                if (head.id !== base && head.id !== transactions[0].parent) return { kind: 'lost', head };
                ids = await this.#bulk(ids, limits.parcel);
            }
            const answer = await this.#server.push(await this.#bytesOf(ids), transactions);
            if (answer.kind !== 'missing') return answer;
            ids = await this.#server.missing(all);
        }
        throw busy();
    }

    /** Sends chunks alone, in as many bundles as they fill; gives back what is left for the last one, if it may be so large. @param {string[]} ids @param {number} left */
    async #bulk(ids, left) {
        const lengths = await this.#lengths(ids);
        /** @type {string[]} */
        let batch = [];
        let bytes = 0;
        for (const id of ids) {
            const length = lengths.get(id) ?? 0;
            if (bytes + length > limits.parcel && batch.length > 0) {
                await this.#server.push(await this.#bytesOf(batch));
                [batch, bytes] = [[], 0];
            }
            batch.push(id);
            bytes += length;
        }
        if (bytes <= left || batch.length === 0) return batch;
        await this.#server.push(await this.#bytesOf(batch));
        return [];
    }

    /** @param {string[]} ids @returns {Promise<Map<string, number>>} */
    async #lengths(ids) {
        const lengths = await this.#storage.get(ids.map((id) => `n/${id}`));
        const missing = ids.filter((_, at) => lengths[at] === undefined);
        if (missing.length > 0) throw missingChunks(missing);
        return new Map(ids.map((id, at) => [id, lengths[at]]));
    }

    /** @param {string[]} ids @returns {Promise<[string, Uint8Array][]>} */
    async #bytesOf(ids) {
        const bytes = await this.#storage.get(ids.map((id) => `c/${id}`));
        return ids.map((id, at) => {
            const kept = bytesKept(bytes[at]);
            if (kept === undefined) throw missingChunks([id]);
            return [id, kept];
        });
    }

    // Pull

    /** Pulls all that the server has after our HEAD, and moves it there. What is pending stays as it is. */
    async #pull() {
        for (let tried = 0; ; ) {
            const { came, chunks, cut } = await this.#pullSlice();
            if (cut === undefined) {
                if (came < limits.pulled) return;
                continue;
            }
            if (came > 0) continue;
            tried += 1;
            if (tried > limits.tries) throw cut;
            if (chunks > 0) {
                await this.#pullByChunk();
                tried = 0;
            }
        }
    }

    /** One bundle. What was verified before it broke off stays; nothing is visible that is not verified. */
    async #pullSlice() {
        const before = (await this.#state()).head;
        const members = await this.#server.bundle(before.id);
        if (members === undefined) throw await this.#parted();
        const intake = new Intake(before);
        let [chunks, cut] = [0, /** @type {SyncError | undefined} */ (undefined)];
        try {
            for await (const member of members) {
                if (intake.ended) throw new Garbage('something follows its HEAD');
                if (member.kind === 'chunk') {
                    chunks += 1;
                    intake.hold(member.id, member.bytes);
                    if (intake.heldBytes > limits.held) await this.#storage.write(intake.keep());
                } else if (member.kind === 'transaction') {
                    const transaction = readTransaction(member.bytes, member.id);
                    this.#verify(intake.at, transaction, intake);
                    await this.#checkChunks(transaction, intake);
                    intake.take(transaction);
                    if (intake.isFull) await this.#advance(intake);
                } else {
                    intake.end(member.bytes);
                }
            }
            if (!intake.ended) throw new Garbage('it has no HEAD');
            await intake.settled();
        } catch (error) {
            // Of two things that are wrong the earlier one is told.
            const first = await intake.settled().then(
                () => error,
                (earlier) => (intake.drop(), earlier),
            );
            if (first instanceof Garbage) throw garbage(intake.at, first);
            if (named(first) !== 'Offline') throw first;
            cut = /** @type {SyncError} */ (first);
        }
        await this.#advance(intake);
        return { came: intake.at.seq - before.seq, chunks, cut };
    }

    /** Writes what came and was verified, and moves HEAD over it. @param {Intake} intake */
    async #advance(intake) {
        await intake.settled();
        if (intake.from.id === intake.at.id) return;
        for (;;) {
            const state = await this.#state();
            if (state.head.id !== intake.from.id) throw busy();
            const tip = state.tip !== null && intake.ids.has(state.tip.id) ? null : state.tip;
            if (await this.#write(state, { head: intake.at, tip }, intake.changes)) return intake.written();
        }
    }

    /** A transaction that did not come in one piece is fetched by chunk: what has arrived is not fetched twice. */
    async #pullByChunk() {
        const before = (await this.#state()).head;
        const members = await this.#server.bundle(before.id, { limit: 1, chunks: 'none' });
        if (members === undefined) throw await this.#parted();
        try {
            const [transaction] = await transactionsOf(members);
            if (transaction === undefined) return;
            const here = await this.#storage.get(transaction.chunks.map((id) => `n/${id}`));
            const missing = [...new Set(transaction.chunks.filter((_, at) => here[at] === undefined))];
            for (let at = 0; at < missing.length; at += limits.fetched) {
                await this.#fetchChunks(before, missing.slice(at, at + limits.fetched));
            }
            const intake = new Intake(before);
            this.#verify(before, transaction, intake);
            await this.#checkChunks(transaction, intake);
            intake.take(transaction);
            await this.#advance(intake);
        } catch (error) {
            throw error instanceof Garbage ? garbage(before, error) : error;
        }
    }

    /** Fetches these chunks, and goes on as long as some come. @param {Head} before @param {string[]} wanted */
    async #fetchChunks(before, wanted) {
        const left = new Set(wanted);
        for (let tried = 0; left.size > 0; ) {
            const had = left.size;
            try {
                for await (const member of await this.#server.chunks([...left])) {
                    if (member.kind !== 'chunk' || !left.delete(member.id)) throw new Garbage('more comes than was asked for');
                    await this.#storage.write(chunkChanges(member.id, member.bytes));
                }
                if (left.size === had) throw forged(before.id, 'missing', 'is followed by one that names chunks that are not there');
            } catch (error) {
                if (named(error) !== 'Offline') throw error;
                tried = left.size < had ? 0 : tried + 1;
                if (tried > limits.tries) throw error;
            }
        }
    }

    /**
     * Sees that a transaction follows this one, has the id of its contents, and opens; the last two go on beside others, and nothing is written
     * before they are `settled`.
     * @param {Head} after @param {Transaction} transaction @param {Intake} intake
     */
    #verify(after, transaction, intake) {
        const { id, seq, parent, chunks } = transaction;
        if (parent !== after.id) throw forged(id, 'order', 'does not follow the one before it');
        if (seq !== after.seq + 1) throw forged(id, 'seq', 'has a wrong number');
        const isOurs = chunks.length > 0 && chunks.every((chunk) => CHUNK.test(chunk));
        if (!isOurs) throw forged(id, 'id', "has an id that is not its contents'");
        intake.check(this.#verifyContents(transaction, intake.chunk(chunks[0])));
    }

    /** @param {Transaction} transaction @param {Uint8Array | undefined} came the entry's chunk, if it came along */
    async #verifyContents(transaction, came) {
        const { id, seq, parent, chunks } = transaction;
        if ((await transactionId(parent, seq, chunks)) !== id) throw forged(id, 'id', "has an id that is not its contents'");
        const chunk = came ?? bytesKept((await this.#storage.get([`c/${chunks[0]}`]))[0]);
        const said = await this.#openEntry(transaction, chunk).catch(async (error) => {
            if (named(error) !== 'WrongKey' || !(await this.#findOldKeys())) throw error;
            return this.#openEntry(transaction, chunk);
        });
        if (isLastWord(said.app)) throw diverged(await this.#moved(seq));
    }

    /** @param {Transaction} transaction @param {Uint8Array | undefined} chunk @returns {Promise<Said>} */
    async #openEntry({ id, parent, seq, chunks }, chunk) {
        if (chunk === undefined) throw forged(id, 'missing', 'names chunks that did not come');
        try {
            return await this.#ring.openEntry(parent, seq, chunks.slice(1), chunk);
        } catch (error) {
            throw error instanceof OpenError ? error.in(id) : error;
        }
    }

    /** Sees that all chunks of a transaction came with it, or are here. @param {Transaction} transaction @param {Intake} intake */
    async #checkChunks({ id, chunks }, intake) {
        const rest = chunks.filter((chunk) => intake.chunk(chunk) === undefined);
        const here = rest.length === 0 ? [] : await this.#storage.get(rest.map((chunk) => `n/${chunk}`));
        if (here.includes(undefined)) throw forged(id, 'missing', 'names chunks that did not come');
    }

    // Keys from before a `rekey`: they are in the entry that it made, the first under the new key

    /** Looks on the server for the entry with the old keys. @returns {Promise<boolean>} whether there was one */
    async #findOldKeys() {
        const ours = this.#ring.current;
        if (ours === null) return false;
        this.#searched ??= this.#searchOldKeys(ours);
        try {
            return await this.#searched;
        } catch (error) {
            this.#searched = undefined;
            throw error;
        }
    }

    /** @param {Keys} ours @returns {Promise<boolean>} */
    async #searchOldKeys(ours) {
        const sealedWithOurs = async (/** @type {Transaction} */ { chunks }) => {
            const chunk = chunks.length > 0 && CHUNK.test(chunks[0]) ? await this.#server.chunk(chunks[0]) : undefined;
            return chunk !== undefined && keyIdOf(chunk) === ours.id;
        };
        /** @type {State['keys']} */
        let found = null;
        for (let [from, reached] = [{ id: ROOT, seq: 0 }, false]; ; ) {
            const members = await this.#server.bundle(from.id, { chunks: 'none' });
            const slice = members === undefined ? [] : await transactionsOf(members);
            const last = slice.at(-1);
            if (last === undefined) break;
            for (const { id, seq, parent } of slice) {
                if (parent !== from.id || seq !== from.seq + 1) throw forged(id, 'order', 'does not follow the one before it');
                from = { id, seq };
            }
            if (!reached && !(await sealedWithOurs(last))) continue;
            // The entry may be in a later answer than the first that is sealed with our key.
            let [low, high] = [0, reached ? 0 : slice.length - 1];
            reached = true;
            while (low < high) {
                const middle = (low + high) >> 1;
                if (await sealedWithOurs(slice[middle])) high = middle;
                else low = middle + 1;
            }
            const newest = await this.#takeKeysFrom(slice.slice(low), found);
            found = newest.found;
            if (newest.isLast) break;
        }
        if (found === null) return false;
        while (!(await this.#keepKeys(found)));
        return true;
    }

    /**
     * Takes over the old keys that the first of these have, which are all sealed with ours. What was pending when the `rekey` came may stand
     * before its entry, and that of another `rekey` may follow at once, which has more of them.
     * @param {Transaction[]} transactions
     * @param {State['keys']} found the entry before these that has some
     * @returns {Promise<{ found: State['keys'], isLast: boolean }>} the last that has some, and whether none after these may have more
     */
    async #takeKeysFrom(transactions, found) {
        for (const transaction of transactions) {
            const chunk = await this.#server.chunk(transaction.chunks[0]);
            if (chunk === undefined) throw forged(transaction.id, 'missing', 'names chunks that are not there');
            const isOfKeys = await this.#takeKeys(transaction, chunk);
            if (!isOfKeys && found !== null) return { found, isLast: true };
            if (isOfKeys) found = { transaction, chunk };
        }
        return { found, isLast: false };
    }

    /** @param {NonNullable<State['keys']>} keys */
    async #keepKeys(keys) {
        return this.#write(await this.#state(), { keys }, []);
    }

    /** Takes over the keys that an entry has, which is sealed with ours: no server can make it up. @param {Transaction} transaction @param {Bytes} chunk */
    async #takeKeys(transaction, chunk) {
        const { app } = await this.#openEntry(transaction, chunk);
        const { keys } = journalOf(app) ?? {};
        if (keys === undefined) return false;
        this.#ring.old = await Promise.all(keys.map((master) => Keys.derive(master)));
        return true;
    }

    // A server whose history is not ours

    /** @returns {Promise<SyncError>} */
    async #parted() {
        const divergence = await this.diverged();
        // It may know our HEAD by now.
        return divergence === undefined ? busy() : diverged(divergence);
    }

    /** @param {Head} ours */
    async #isThere(ours) {
        const theirs = await this.#server.transaction(ours.id);
        return theirs !== undefined && theirs.seq === ours.seq;
    }

    /** How it is where the server said the last word. @param {number} theirs @returns {Promise<Divergence>} */
    async #moved(theirs) {
        return { how: 'moved', common: { id: ROOT, seq: 0 }, ours: (await this.#state()).head.seq, theirs };
    }

    /** Whether the last word under this user stands at this place: what does not open is no word of ours. @param {Head} theirs */
    async #isLastWordAt(theirs) {
        if (theirs.id === ROOT) return false;
        const { parent = null, seq = 0, chunks = [] } = (await this.#server.transaction(theirs.id)) ?? {};
        if (parent === null || chunks.length !== 1 || !CHUNK.test(chunks[0])) return false;
        try {
            const chunk = await this.#server.chunk(chunks[0]);
            return chunk !== undefined && isLastWord((await this.#openEntry({ id: theirs.id, parent, seq, chunks }, chunk)).app);
        } catch (error) {
            if (['Forged', 'WrongKey', 'UnopenedChunk'].includes(named(error) ?? '')) return false;
            throw error;
        }
    }

    /** The newest transaction that the old replica's chain and ours have in common. @param {Replica} old @returns {Promise<string>} */
    async #newestOf(old) {
        const { head } = await old.#state();
        const isHere = async (/** @type {Head} */ { id }) => id === ROOT || (await this.#find(id))?.onChain === true;
        if (await isHere(head)) return head.id;
        let [common, other] = [{ id: ROOT, seq: 0 }, head];
        while (other.seq - common.seq > 1) {
            const middle = await old.#numbered(common.seq + Math.floor((other.seq - common.seq) / 2));
            if (await isHere(middle)) common = middle;
            else other = middle;
        }
        return common.id;
    }

    /** Says an entry of another replica here. @param {Replica} old @param {App} app @param {Entry} entry @param {Said} said @returns {Promise<boolean>} `false` where the application has no use for it */
    async #importOne(old, app, entry, said) {
        const chunks = [];
        for (const chunk of entry.chunks) chunks.push(await this.#importChunk(old, chunk));
        const theirs = { ...entry, chunks, pending: true };
        const verdict = await inApp(async () => checkedRebase(await app.rebase(theirs)));
        if (verdict === 'drop') return false;
        const again = verdict === 'keep' ? theirs : verdict;
        const ours = await this.#commit({ nonce: said.nonce, app: bytesOf(again.body) }, again.chunks ?? []);
        await inApp(() => app.apply(ours));
        return true;
    }

    /** Puts a chunk of another replica here; under the same keys it has the same name. @param {Replica} old @param {string} chunk */
    async #importChunk(old, chunk) {
        const [here] = await this.#storage.get([`n/${chunk}`]);
        if (here !== undefined) return chunk;
        const sealed = await this.#ring.seal({ kind: 'data' }, await old.read(chunk));
        const id = await chunkId(sealed);
        await this.#storage.write(chunkChanges(id, sealed));
        return id;
    }

    /** @param {'rollback' | 'empty'} how */
    async #putBack(how) {
        return this.#alone(async () => {
            const divergence = await this.diverged();
            if (divergence === undefined) return 0;
            if (divergence.how !== how) throw diverged(divergence);
            let base = divergence.common;
            const { head } = await this.#state();
            while (base.seq < head.seq) {
                const listed = await this.#storage.range(keyOf(base.seq + 1), keyOf(head.seq + 1), limits.listed);
                const answer = await this.#send(base.id, listed.map(([, transaction]) => transaction));
                if (answer.kind !== 'taken') throw busy();
                base = answer.head;
            }
            return head.seq - divergence.common.seq;
        });
    }

    // Waiting

    /** Looks for commits and syncs of other tabs. @param {{ head: string, tip: string | null }} seen @param {AbortSignal} ended @returns {Promise<'moved' | 'committed'>} */
    async #look(seen, ended) {
        for (;;) {
            const { head, tip } = await this.#state();
            if (head.id !== seen.head) return 'moved';
            if ((tip?.id ?? null) !== seen.tip && tip !== null) return 'committed';
            await pause(limits.look, ended);
            if (ended.aborted) return new Promise(() => undefined);
        }
    }

    /**
     * Tells that there is something to sync: later and later where that was told before, and came to nothing. A server may say where
     * HEAD is and give nothing out.
     * @template {'moved' | 'back'} W @param {W} word @param {string} seen @param {AbortSignal} ended @returns {Promise<W>}
     */
    async #tell(word, seen, ended) {
        const what = `${word} ${seen}`;
        const { after } = this.#told.what === what ? this.#told : { after: 0 };
        this.#told = { what, after: Math.min(Math.max(2 * after, limits.retryFirst), limits.retryMost) };
        if (after > 0) await pauseOrOnline(after, ended);
        return ended.aborted ? new Promise(() => undefined) : word;
    }

    /** Asks the server. @param {string} seen @param {number} until @param {AbortSignal} ended @returns {Promise<'moved' | 'back'>} */
    async #poll(seen, until, ended) {
        let most = limits.retryFirst;
        while (!ended.aborted) {
            const began = performance.now();
            try {
                const head = await this.#server.wait(seen, this.#cut ? 0 : Math.min(until - began, limits.poll), ended);
                if (ended.aborted) break;
                if (head !== undefined && head.id !== seen) return this.#tell('moved', seen, ended);
                if (this.#cut) {
                    this.#cut = false;
                    return this.#tell('back', seen, ended);
                }
                most = limits.retryFirst;
                // A server that does not wait is not asked all the time.
                if (performance.now() - began < 1000) await pause(5000, ended);
            } catch (error) {
                if (!(error instanceof SyncError) || !error.transient) throw error;
                this.#cut = true;
                await pauseOrOnline(Math.max(Math.random() * most, error.retryAfter ?? 0), ended);
                most = Math.min(2 * most, limits.retryMost);
            }
        }
        return new Promise(() => undefined);
    }
}

/** What has come of a bundle and is not written yet. */
class Intake {
    /** Chunks that came, which no transaction has named yet. @type {Map<string, Bytes>} */
    held = new Map();
    heldBytes = 0;
    /** @type {[string, any][]} */
    changes = [];
    /** The transactions among them. @type {Set<string>} */
    ids = new Set();
    /** The chunks among them. @type {Map<string, Bytes>} */
    #fresh = new Map();
    ended = false;
    #bytes = 0;
    /** What is still to be seen of the transactions among them. @type {Promise<void>[]} */
    #checks = [];

    /** @param {Head} from HEAD, before it */
    constructor(from) {
        this.from = from;
        /** The last transaction that is right. */
        this.at = from;
    }

    /** The bytes of a chunk that is not written yet. @param {string} id */
    chunk(id) {
        return this.held.get(id) ?? this.#fresh.get(id);
    }

    /** @param {string} id @param {Bytes} bytes */
    hold(id, bytes) {
        this.held.set(id, bytes);
        // Each costs something, however short it is.
        this.heldBytes += bytes.length + BLOCK;
    }

    /** What is held, to be written without a transaction that names it: more comes than is held in memory. */
    keep() {
        const changes = [...this.held].flatMap(([id, bytes]) => chunkChanges(id, bytes));
        this.held.clear();
        this.heldBytes = 0;
        return changes;
    }

    /** @param {Transaction} transaction */
    take(transaction) {
        for (const id of transaction.chunks) {
            const bytes = this.held.get(id);
            if (bytes === undefined) continue;
            this.changes.push(...chunkChanges(id, bytes));
            this.#fresh.set(id, bytes);
        }
        this.#bytes += this.heldBytes;
        // What it does not name, nobody asked for.
        this.held.clear();
        this.heldBytes = 0;
        this.changes.push(...confirmChanges(transaction));
        this.ids.add(transaction.id);
        this.at = headOf(transaction);
    }

    /** @param {Promise<void>} check */
    check(check) {
        check.catch(() => undefined);
        this.#checks.push(check);
    }

    /** When all that was taken is right; fails with what is wrong of the earliest that is not. */
    async settled() {
        for (const check of this.#checks) await check;
    }

    /** Nothing is written of what has not been. */
    drop() {
        this.at = this.from;
        this.held.clear();
        this.heldBytes = 0;
        this.written();
    }

    get isFull() {
        return this.#bytes > limits.held || this.ids.size >= limits.written;
    }

    written() {
        this.from = this.at;
        this.changes = [];
        this.ids.clear();
        this.#fresh.clear();
        this.#checks = [];
        this.#bytes = 0;
    }

    /** @param {Bytes} head */
    end(head) {
        if (textOf(head) !== `${this.at.id}\n`) throw new Garbage('its HEAD is not the last of its transactions');
        this.ended = true;
    }
}

/** @param {AsyncGenerator<Member, void>} members */
async function transactionsOf(members) {
    const transactions = [];
    for await (const member of members) {
        if (member.kind === 'transaction') transactions.push(readTransaction(member.bytes, member.id));
        else if (member.kind === 'chunk') throw new Garbage('more comes than was asked for');
    }
    return transactions;
}

/**
 * What the module knows of an entry of the program's journal: the old masters, the newest first, that a `rekey` hands on; or the last
 * word under a user whom the store left.
 * @param {Uint8Array} app
 * @returns {{ keys?: Bytes[], moved?: true } | undefined}
 */
function journalOf(app) {
    try {
        const { v, app: name, by, at, text, files, keys, moved } = JSON.parse(textOf(app));
        if (v !== 1 || name !== 'journal' || typeof by !== 'string' || typeof at !== 'string') return undefined;
        if ((text ?? files ?? undefined) !== undefined) return undefined;
        if (moved === true && (keys ?? undefined) === undefined) return { moved };
        if (!Array.isArray(keys) || (moved ?? undefined) !== undefined) return undefined;
        const masters = keys.map((key) => unbase64url(key)).filter((key) => key?.length === 32);
        return masters.length === keys.length ? { keys: /** @type {Bytes[]} */ (masters) } : undefined;
    } catch {
        return undefined;
    }
}

/** Whether an application's bytes are the last word under a user whom the store left. @param {Uint8Array} app */
const isLastWord = (app) => journalOf(app)?.moved === true;

/** @param {Transaction} transaction @param {Uint8Array} body @param {boolean} pending @returns {Entry} */
function entryOf({ id, seq, parent, chunks }, body, pending) {
    return { id, seq, parent, body, chunks: chunks.slice(1), pending };
}

/** @param {Bytes} bytes @param {string[]} chunks */
function checkedEntry(bytes, chunks) {
    const tooLong = (/** @type {string} */ what) => new SyncError('TooLong', `${what} are too many`);
    if (bytes.length > limits.entry) throw tooLong(`${bytes.length} bytes`);
    if (chunks.length >= limits.transactionChunks) throw tooLong(`${chunks.length} chunks`);
    if (!chunks.every((id) => CHUNK.test(id))) throw missingChunks(chunks.filter((id) => !CHUNK.test(id)));
    return bytes;
}

/** @param {string[]} chunks */
const missingChunks = (chunks) => new SyncError('MissingChunks', `${chunks.length} chunks are not here, ${chunks[0]} for one`, { chunks });

/** @param {string} transaction */
const unknownTransaction = (transaction) =>
    new SyncError('UnknownTransaction', `there is no transaction ${transaction} here`, { transaction });

/** @param {Head} at @param {Garbage} why */
const garbage = (at, why) => forged(at.id, why.what, `is followed by something that is no history: ${why.message}`);

/** @param {Divergence} divergence */
function diverged(divergence) {
    const { how, common, ours, theirs } = divergence;
    const words = {
        rollback: `the server went back to ${common.id} (${common.seq}): it lacks ${ours} transactions that it had confirmed`,
        fork: `the server's history and ours part after ${common.id} (${common.seq}): ${theirs} of theirs and ${ours} of ours follow it`,
        empty: `the server does not know this store, which has ${ours} confirmed transactions: another server, a new box, or the store has a new invite`,
        moved: 'this store has a new invite: another device made a new key for it, and it is not at the server under this one any more',
        'other-store': `the server has another store under this user: none of its ${theirs} transactions is one of our ${ours}`,
    };
    return new SyncError('Diverged', words[how], divergence);
}

/** @param {number} ms @param {AbortSignal} ended */
async function pauseOrOnline(ms, ended) {
    const wake = new AbortController();
    const end = () => wake.abort();
    ended.addEventListener('abort', end);
    globalThis.addEventListener?.('online', end);
    await pause(ms, wake.signal);
    ended.removeEventListener('abort', end);
    globalThis.removeEventListener?.('online', end);
}
