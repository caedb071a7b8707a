/**
 * The id that a transaction of a device has by its content; as HEAD it names the whole past.
 * @param {string} parent
 * @param {number} seq
 * @param {string[]} chunks the entry's first
 */
export function transactionId(parent: string, seq: number, chunks: string[]): Promise<string>;
/**
 * The bytes that a master gives: the key's public id, the key that names contents, and the one that seals them.
 * @param {Uint8Array} master
 */
export function deriveKeys(master: Uint8Array): Promise<{
    id: Uint8Array<ArrayBuffer>;
    nonce: Uint8Array<ArrayBuffer>;
    seal: Uint8Array<ArrayBuffer>;
}>;
/**
 * The id of the key that a chunk says it is sealed with; `undefined` where it is no sealed chunk.
 * @param {Uint8Array} chunk
 */
export function keyIdOf(chunk: Uint8Array): string | undefined;
/** @typedef {{ nonce: Bytes, app: Bytes }} Said An entry's contents: the application's bytes, and 16 random ones. */
/**
 * The chunk of an entry of a plain store: a JSON object, for whoever reads it with jq.
 * @param {Said} said
 */
export function plainEntry({ nonce, app }: Said): Bytes;
/**
 * Reads what `plainEntry` makes, and any other JSON object with 16 random bytes as its `nonce`: its application's bytes are all of it.
 * @param {Uint8Array} chunk
 * @returns {Said}
 */
export function readPlainEntry(chunk: Uint8Array): Said;
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
export const ROOT: "00000000-0000-0000-0000-000000000000";
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
    constructor(name: ErrorName, message: string, details?: ErrorDetails);
    retryAfter: number | undefined;
    status: number | undefined;
    code: string | undefined;
    how: "rollback" | "empty" | "fork" | "moved" | "other-store" | undefined;
    common: Head | undefined;
    ours: number | undefined;
    theirs: number | undefined;
    ourKey: string | undefined;
    theirKey: string | undefined;
    transaction: string | undefined;
    what: string | undefined;
    chunks: string[] | undefined;
    passes: boolean | undefined;
    /** Whether the same may well succeed later, with nothing done about it. */
    get transient(): boolean;
}
/** Why a chunk does not open: one word, as the vectors have it. */
export class OpenError extends Error {
    /**
     * @param {string} word
     * @param {string} [ourKey]
     * @param {string} [theirKey]
     */
    constructor(word: string, ourKey?: string, theirKey?: string);
    word: string;
    ourKey: string | undefined;
    theirKey: string | undefined;
    /** @param {string} transaction */
    in(transaction: string): SyncError;
    /** @param {string} chunk */
    of(chunk: string): SyncError;
    #private;
}
export function chunkId(chunk: Uint8Array): Promise<string>;
export function padded(length: number): number;
/** The keys of one master. */
export class Keys {
    /** @param {Uint8Array} master */
    static derive(master: Uint8Array): Promise<Keys>;
    /** @param {Bytes} id @param {CryptoKey} nonce @param {CryptoKey} seal */
    constructor(id: Bytes, nonce: CryptoKey, seal: CryptoKey);
    /** The public id of the key, which each sealed chunk says in clear. */
    id: string;
    /**
     * Seals a plaintext for its place. Deterministic.
     * @param {Context} context
     * @param {Uint8Array} plaintext
     * @returns {Promise<Bytes>}
     */
    seal(context: Context, plaintext: Uint8Array): Promise<Bytes>;
    /**
     * Opens a chunk in its place: the plaintext, and nothing unless every byte of the chunk and of the place is as it was when it was
     * sealed. Of two things that are wrong the one that stands first in the chunk is told.
     * @param {Context} context
     * @param {Uint8Array} chunk
     * @returns {Promise<Bytes>}
     * @throws {OpenError}
     */
    open(context: Context, chunk: Uint8Array): Promise<Bytes>;
    #private;
}
/** All keys of a store: the present one, those from before a `rekey`, or none where the store is plain. */
export class Keyring {
    /** @param {Keys | null} current @param {Keys[]} [old] */
    constructor(current: Keys | null, old?: Keys[]);
    current: Keys | null;
    old: Keys[];
    /** Whether chunks are the bytes as they are. */
    get plain(): boolean;
    /** @param {Context} context @param {Uint8Array} plaintext @returns {Promise<Bytes>} */
    seal(context: Context, plaintext: Uint8Array): Promise<Bytes>;
    /**
     * Opens a chunk with the key that it says.
     * @param {Context} context @param {Uint8Array} chunk @returns {Promise<Bytes>}
     * @throws {OpenError}
     */
    open(context: Context, chunk: Uint8Array): Promise<Bytes>;
    /** @param {string} parent @param {number} seq @param {string[]} others @param {Said} said */
    sealEntry(parent: string, seq: number, others: string[], said: Said): Promise<Bytes>;
    /**
     * @param {string} parent @param {number} seq @param {string[]} others the other chunks of the transaction @param {Uint8Array} chunk
     * @returns {Promise<Said>}
     * @throws {OpenError}
     */
    openEntry(parent: string, seq: number, others: string[], chunk: Uint8Array): Promise<Said>;
}
/** Who we are to whom: the server's address, the user, and the key. `toString` and JSON show no secret. */
export class Identity {
    /**
     * A new store: a new user and a new key. The server need not know it yet.
     * @param {string} server
     * @param {{ plain?: boolean }} [options] `plain`: without encryption
     */
    static generate(server: string, { plain }?: {
        plain?: boolean;
    }): Identity;
    /**
     * Reads an invite: in upper or lower case, hyphens and white space left out, `O` for 0 and `I` or `L` for 1. What stands before the
     * `#` is the server's address, which need not be the page's.
     * @param {string} text
     * @throws {SyncError} `BadInvite`, with `what` of it
     */
    static fromInvite(text: string): Promise<Identity>;
    /**
     * @param {string} server
     * @param {string} user a uuid
     * @param {Uint8Array | null} [master] 32 bytes; none where the store is plain
     */
    constructor(server: string, user: string, master?: Uint8Array | null);
    /** The server's address. */
    server: string;
    /**
     * The invite that makes another device one of this store. Whoever has it reads and writes the store.
     * @returns {Promise<string>}
     */
    invite(): Promise<string>;
    /** The user's id, which is the access to the server: a secret. */
    get user(): string;
    /** Whether chunks are the bytes as they are. */
    get plain(): boolean;
    /** The keys of this store, without those from before a `rekey`. */
    keyring(): Promise<Keyring>;
    toString(): string;
    #private;
}
/**
 * One user of a server. The user's id is in the header `Authorization` of each request and nowhere else.
 *
 * Each method is one request, tried again up to three times where the server was not reached: all of them may be. Nothing that comes back
 * is believed but its form: a replica verifies it. Errors are `Offline` and `Refused`.
 */
export class Server {
    /**
     * @param {{ server: string, user: string }} identity
     * @param {{ fetch?: typeof fetch, tries?: number }} [options] `fetch`: another one, for tests
     */
    constructor({ server, user }: {
        server: string;
        user: string;
    }, { fetch: ours, tries }?: {
        fetch?: typeof fetch;
        tries?: number;
    });
    /** The server's address. */
    address: string;
    /** `GET …/`: HEAD, the limits, the features. @returns {Promise<About>} */
    about(): Promise<About>;
    /** Where HEAD is; the root for a user who has nothing. @param {AbortSignal} [signal] @returns {Promise<Head>} */
    head(signal?: AbortSignal): Promise<Head>;
    /**
     * HEAD as soon as it is another than `seen`; `undefined` when the time is up. One long poll, tried once.
     * @param {string} seen
     * @param {number} ms at most 300,000
     * @param {AbortSignal} [signal] ends it early, as if the time were up
     * @returns {Promise<Head | undefined>}
     */
    wait(seen: string, ms: number, signal?: AbortSignal): Promise<Head | undefined>;
    /**
     * A part of the chain, oldest first: after `from`, or the newest `last` up to `to`, with the number `seq` of the one before.
     * @param {{ from?: string, limit?: number, last?: number, to?: string, signal?: AbortSignal }} [what]
     * @returns {Promise<Listing>}
     */
    transactions({ from, limit, last, to, signal }?: {
        from?: string;
        limit?: number;
        last?: number;
        to?: string;
        signal?: AbortSignal;
    }): Promise<Listing>;
    /** One transaction of the chain; `undefined` where it is not on it. @param {string} id @param {AbortSignal} [signal] @returns {Promise<Listed | undefined>} */
    transaction(id: string, signal?: AbortSignal): Promise<Listed | undefined>;
    /**
     * The bytes of a chunk as the server has them, which are those of its name; `undefined` where it has none.
     * @param {string} id
     * @param {AbortSignal} [signal]
     */
    chunk(id: string, signal?: AbortSignal): Promise<Bytes | undefined>;
    /** Those of these chunks that are there, in this order. @param {string[]} ids @returns {Promise<AsyncGenerator<Member, void>>} */
    chunks(ids: string[]): Promise<AsyncGenerator<Member, void>>;
    /** Those of these chunks that are not there. @param {string[]} ids @returns {Promise<string[]>} */
    missing(ids: string[]): Promise<string[]>;
    /**
     * The chain after `from` as a bundle; `undefined` where `from` is not on it.
     * @param {string} from
     * @param {{ limit?: number, chunks?: 'all' | 'none' }} [options]
     */
    bundle(from: string, { limit, chunks }?: {
        limit?: number;
        chunks?: "all" | "none";
    }): Promise<AsyncGenerator<Member, void, any> | undefined>;
    /**
     * Sends a bundle. Chunks alone are an upload; with transactions, HEAD is to go to the last.
     * @param {[string, Uint8Array][]} chunks
     * @param {Transaction[]} [transactions]
     * @returns {Promise<PushAnswer>}
     */
    push(chunks: [string, Uint8Array][], transactions?: Transaction[]): Promise<PushAnswer>;
    /** `undefined` where there is none. @returns {Promise<Checkpoint | undefined>} */
    checkpoint(): Promise<Checkpoint | undefined>;
    /**
     * `undefined` when it is kept; otherwise why not.
     * @param {string} transaction
     * @param {string[]} chunks
     * @returns {Promise<Refusal | undefined>}
     */
    putCheckpoint(transaction: string, chunks: string[]): Promise<Refusal | undefined>;
    toString(): string;
    #private;
}
/** A replica in memory, for tests and for programs that live shortly. It is gone with the object. @implements {Storage} */
export class MemoryStorage implements Storage {
    /** @param {string[]} keys */
    get(keys: string[]): Promise<any[]>;
    /** @param {string} from @param {string} to @param {number} limit @returns {Promise<[string, any][]>} */
    range(from: string, to: string, limit: number): Promise<[string, any][]>;
    /** @param {[string, any][]} changes @param {number} [rev] */
    write(changes: [string, any][], rev?: number): Promise<boolean>;
    /** @template T @param {() => Promise<T>} work @param {number} ms @returns {Promise<T>} */
    alone<T>(work: () => Promise<T>, ms: number): Promise<T>;
    close(): Promise<void>;
    #private;
}
/** A replica in the browser's IndexedDB, which all tabs of an origin share. @implements {Storage} */
export class IndexedDbStorage implements Storage {
    /** @param {string} name of the database */
    constructor(name: string);
    /** @param {string[]} keys */
    get(keys: string[]): Promise<any[]>;
    /** @param {string} from @param {string} to @param {number} limit @returns {Promise<[string, any][]>} */
    range(from: string, to: string, limit: number): Promise<[string, any][]>;
    /** @param {[string, any][]} changes @param {number} [rev] */
    write(changes: [string, any][], rev?: number): Promise<boolean>;
    /** @template T @param {() => Promise<T>} work @param {number} ms @returns {Promise<T>} */
    alone<T>(work: () => Promise<T>, ms: number): Promise<T>;
    close(): Promise<void>;
    #private;
}
/** A whole copy of a store, for use offline. Any number of tabs and workers may have it open: one at a time syncs. */
export class Replica {
    /**
     * Opens the replica of this identity, and makes one where there is none. Asks no server.
     * @param {Identity} identity
     * @param {{ name?: string, storage?: Storage, fetch?: typeof fetch, tries?: number }} [options] `name` of the database; or a storage of
     *   your own
     * @returns {Promise<Replica>}
     * @throws {SyncError} `NotThisReplica` where there is one of another store, `Unsupported`, `Full`
     */
    static open(identity: Identity, { name, storage, ...options }?: {
        name?: string;
        storage?: Storage;
        fetch?: typeof fetch;
        tries?: number;
    }): Promise<Replica>;
    /** @param {Storage} storage @param {Server} server @param {Keyring} ring */
    constructor(storage: Storage, server: Server, ring: Keyring);
    /** Where the replica stands; asks nobody. `bytes` are those of the chunks that are pending. */
    status(): Promise<{
        base: Head;
        tip: Head;
        pending: number;
        bytes: any;
    }>;
    /**
     * Puts bytes beside, for an entry to name: in chunks of one MiB. Durable when it comes back; the same bytes are the same chunks.
     * @param {string | Uint8Array | ArrayBuffer | Blob} bytes
     * @returns {Promise<string[]>}
     */
    put(bytes: string | Uint8Array | ArrayBuffer | Blob): Promise<string[]>;
    /**
     * Says something, offline: a transaction after the tip, that names these chunks. Durable when it comes back.
     * @param {string | Uint8Array} bytes at most 1 MiB
     * @param {string[]} [chunks]
     * @returns {Promise<Entry>}
     */
    commit(bytes: string | Uint8Array, chunks?: string[]): Promise<Entry>;
    /**
     * Pushes what is pending and pulls what others said, until HEAD is our tip. Safe to call again after anything. The application is shown
     * all of it, also where the server cannot be reached.
     * @param {App} [app]
     * @returns {Promise<Synced>}
     */
    sync(app?: App): Promise<Synced>;
    /** Pulls what others said, and says again after it what is pending; sends nothing. @param {App} [app] @returns {Promise<Synced>} */
    pull(app?: App): Promise<Synced>;
    /**
     * The entries after one, oldest first: those of the chain, then those that are pending; each verified and opened as it is reached.
     * @param {string} [from]
     * @returns {AsyncGenerator<Entry, void>}
     */
    entries(from?: string): AsyncGenerator<Entry, void>;
    /** One entry, by its id or by one that it had before a rebase; `undefined` where there is none. @param {string} id */
    entry(id: string): Promise<Entry | undefined>;
    /**
     * The bytes of a chunk that an entry names, opened.
     * @param {string} chunk
     * @returns {Promise<Uint8Array>}
     */
    read(chunk: string): Promise<Uint8Array>;
    /** The same, from here or else from the server: the chunks of a saved state. @param {string} chunk @returns {Promise<Uint8Array>} */
    readThere(chunk: string): Promise<Uint8Array>;
    /**
     * Waits until there is something to sync, by long poll: `moved`, somebody moved HEAD, or another tab synced; `committed`, a commit was
     * made here since the last sync, by whichever tab; `back`, the server is to be reached again; `time-is-up`. While the server is not to be
     * reached it is asked again after pauses that grow to half a minute, and at once when the browser says that it is online.
     * @param {number} ms
     * @param {{ signal?: AbortSignal }} [options] `signal` ends it early, as if the time were up
     * @returns {Promise<'moved' | 'committed' | 'back' | 'time-is-up'>}
     */
    wait(ms: number, { signal }?: {
        signal?: AbortSignal;
    }): Promise<"moved" | "committed" | "back" | "time-is-up">;
    /**
     * Saves the state of the application with the server, for new devices to start from; the server keeps the newest. Needs the network.
     * @param {string | Uint8Array} bytes at most 1 MiB
     * @param {string[]} [chunks] that are here
     * @param {{ at?: string }} [options] the confirmed transaction that the state holds all of; without it, HEAD as the application was last
     *   shown it
     */
    checkpoint(bytes: string | Uint8Array, chunks?: string[], { at }?: {
        at?: string;
    }): Promise<void>;
    /**
     * The state that the server keeps, verified and opened; `undefined` where it keeps none. Its chunks are read by `readThere`.
     * @returns {Promise<{ at: Head, body: Uint8Array, chunks: string[] } | undefined>}
     */
    savedState(): Promise<{
        at: Head;
        body: Uint8Array;
        chunks: string[];
    } | undefined>;
    /**
     * How the server's history and ours have parted; `undefined` where they have not.
     * @returns {Promise<Divergence | undefined>}
     */
    diverged(): Promise<Divergence | undefined>;
    /** Puts back what a server lacks that was restored from a backup (`rollback`). @returns {Promise<number>} how many transactions */
    restore(): Promise<number>;
    /** Fills a server that knows nothing of this store (`empty`) with all of it. @returns {Promise<number>} how many transactions */
    seed(): Promise<number>;
    /**
     * Says again here, after what is here, all that an older replica of the same store has and this one has not, pending or confirmed: what a
     * server lost that was restored while others went on, and what was not sent before a `rekey`. The application is shown what is
     * here, and decides on each as in a rebase. Asks no server: a sync sends it. Run again after a break it goes on, and what others
     * imported is not said twice: an entry is known by its random bytes.
     * @param {Replica} old opened under its own `name`, or with its own identity
     * @param {App} [app]
     * @returns {Promise<Imported>}
     */
    import(old: Replica, app?: App): Promise<Imported>;
    /** Closes it. What is committed stays. */
    close(): Promise<void>;
    #private;
}
/**
 * An entry's contents: the application's bytes, and 16 random ones.
 */
export type Said = {
    nonce: Bytes;
    app: Bytes;
};
export type ErrorName = "Offline" | "Refused" | "Diverged" | "WrongKey" | "Forged" | "UnopenedChunk" | "Damaged" | "NotThisReplica" | "Busy" | "UnknownTransaction" | "MissingChunks" | "TooLong" | "App" | "Full" | "Unsupported" | "BadInvite";
export type Head = {
    id: string;
    seq: number;
};
export type ErrorDetails = {
    cause?: unknown;
    /**
     * Offline: milliseconds, the server's own word for when to try again
     */
    retryAfter?: number | undefined;
    /**
     * Refused: the status of the answer
     */
    status?: number | undefined;
    /**
     * Refused: the server's word, such as `quota-exceeded`
     */
    code?: string | undefined;
    /**
     * Diverged
     */
    how?: "rollback" | "empty" | "fork" | "moved" | "other-store" | undefined;
    /**
     * Diverged: the newest transaction that both have
     */
    common?: Head | undefined;
    /**
     * Diverged: how many of ours, confirmed ones, come after it
     */
    ours?: number | undefined;
    /**
     * Diverged: how many of theirs do
     */
    theirs?: number | undefined;
    /**
     * WrongKey: the public id of our key
     */
    ourKey?: string | undefined;
    /**
     * WrongKey: that of the key that it is sealed with
     */
    theirKey?: string | undefined;
    /**
     * Forged, UnknownTransaction
     */
    transaction?: string | undefined;
    /**
     * Forged: id, order, seq, envelope, digest, missing or garbage; BadInvite: not-an-invite, address, typo
     * or newer; UnopenedChunk: the word of the vectors
     */
    what?: string | undefined;
    /**
     * MissingChunks, UnopenedChunk
     */
    chunks?: string[] | undefined;
    /**
     * Offline: a try in a moment may succeed
     */
    passes?: boolean | undefined;
};
export type Bytes = Uint8Array<ArrayBuffer>;
/**
 * The place that a chunk is sealed for: it opens in no other one.
 */
export type Context = {
    kind: "data";
} | {
    kind: "entry";
    parent: string;
    seq: number;
    others: string[];
} | {
    kind: "checkpoint";
    transaction: string;
    seq: number;
    others: string[];
};
export type Transaction = {
    id: string;
    seq: number;
    parent: string;
    /**
     * the entry's first
     */
    chunks: string[];
};
export type Member = {
    kind: "chunk";
    id: string;
    bytes: Bytes;
} | {
    kind: "transaction";
    id: string;
    bytes: Bytes;
} | {
    kind: "head";
    bytes: Bytes;
};
export type Refusal = {
    status: number;
    code: string;
    detail: string;
    head?: Head | undefined;
    missing?: string[] | undefined;
};
export type Ask = {
    /**
     * GET, unless it is another
     */
    method?: string | undefined;
    /**
     * the media type that the answer must have; JSON, unless it is another
     */
    media?: string | undefined;
    /**
     * that of the body
     */
    type?: string | undefined;
    body?: BodyInit | undefined;
    headers?: Record<string, string> | undefined;
    /**
     * milliseconds that the answer may take longer than usual
     */
    more?: number | undefined;
    /**
     * ends it with `Offline`
     */
    signal?: AbortSignal | undefined;
};
export type Reply = {
    response: Response;
    pieces: AsyncGenerator<Bytes, void>;
    refusal?: undefined;
} | {
    refusal: Refusal;
};
/**
 * How a user's store stands, and what the server takes.
 */
export type About = {
    head: string;
    seq: number;
    limits: Limits;
    features: string[];
    /**
     * where the server counts that, and has done so
     */
    used?: {
        bytes: number;
        files: number;
        pending: number;
    } | undefined;
    checkpoint?: {
        transaction: string;
        seq: number;
    } | undefined;
};
export type Limits = {
    chunk_bytes: number;
    transaction_bytes: number;
    transaction_chunks: number;
    bundle_transactions: number;
    missing_ids: number;
    /**
     * where there is a limit
     */
    user_bytes?: number | undefined;
    user_files?: number | undefined;
};
export type Listing = {
    /**
     * the transaction before the first of them
     */
    from: string;
    /**
     * with `last`: its number
     */
    seq?: number | undefined;
    transactions: string[];
};
/**
 * A transaction of the chain; the root, which all chains begin
 * after, has no parent.
 */
export type Listed = Omit<Transaction, "parent"> & {
    parent: string | null;
};
export type Checkpoint = {
    transaction: string;
    seq: number;
    chunks: string[];
};
export type PushAnswer = {
    kind: "taken";
    head: Head;
} | {
    kind: "lost";
    head: Head;
} | {
    kind: "unknown-parent";
} | {
    kind: "missing";
    chunks: string[];
};
/**
 * The place of a replica: values under keys, in the order of the keys. A value is a number, a plain object or a `Uint8Array`.
 */
export type Storage = {
    /**
     * the values, `undefined` where there is none
     */
    get: (keys: string[]) => Promise<any[]>;
    /**
     * those with from ≤ key < to, the first ones
     */
    range: (from: string, to: string, limit: number) => Promise<[string, any][]>;
    /**
     * all of the changes or none, durable when it comes back;
     * `undefined` removes. With `rev`, only if the value under `state` has that `rev` (0: there is none); otherwise `false`
     */
    write: (changes: [string, any][], rev?: number) => Promise<boolean>;
    /**
     * does the work while nobody else does any; `Busy` when the time is up
     */
    alone: <T>(work: () => Promise<T>, ms: number) => Promise<T>;
    close: () => Promise<void>;
};
/**
 * A transaction as an application sees it: its entry, opened, and the chunks that it names.
 */
export type Entry = {
    id: string;
    seq: number;
    parent: string;
    /**
     * the application's own bytes
     */
    body: Uint8Array;
    /**
     * the chunks beside the entry
     */
    chunks: string[];
    /**
     * the server has not confirmed it yet: it may get another id and another place
     */
    pending: boolean;
};
/**
 * What becomes of an entry that somebody else was quicker than: it is said as it is, not at all, or in other words.
 */
export type Rebase = "keep" | "drop" | {
    body: string | Uint8Array;
    chunks?: string[];
};
/**
 * An application that follows the chain. Its state is always: the confirmed entries in order, then ours that are pending. It must be
 * deterministic: the same entries, the same state, on every device. What it saves is the state of the confirmed entries together with
 * its position, in one write. Each of these may be async.
 */
export type App = {
    /**
     * the last confirmed entry that the state holds; `ROOT` where it holds none
     */
    position: () => string | Promise<string>;
    /**
     * takes an entry in, confirmed or pending, after all before it
     */
    apply: (entry: Entry) => unknown;
    /**
     * takes all pending entries out of the state; called at the beginning of each sync, whenever somebody else
     * was quicker, and when ours were confirmed; also when none are in it
     */
    rewind: () => unknown;
    /**
     * decides what becomes of a pending entry of ours: theirs are applied now, and
     * those of ours that came before this one. What is kept or replaced is applied next
     */
    rebase: (ours: Entry) => Rebase | Promise<Rebase>;
};
export type Synced = {
    /**
     * transactions of others that came
     */
    pulled: number;
    /**
     * transactions of ours that the server confirmed
     */
    pushed: number;
    /**
     * entries of ours that were said again after others
     */
    rebased: number;
    /**
     * entries of ours that the application had no more use for
     */
    dropped: number;
    /**
     * the newest transaction that the server confirmed
     */
    head: Head;
};
export type Imported = {
    /**
     * entries that are said again, and pending now
     */
    said: number;
    /**
     * entries that were said here already
     */
    there: number;
    /**
     * entries that the application had no use for
     */
    dropped: number;
};
export type Divergence = {
    /**
     * - `rollback`: theirs ends at a transaction of ours, as that of a server that was restored from a backup does. `restore` puts back what it lacks
     * - `fork`: both go on after a common transaction: another device went on after a rollback. A replica under another `name`, synced,
     * and `import` of this one there, say again what was lost
     * - `empty`: the server knows nothing of this store: another server, a new box, or the store has a new user. `seed` fills a new box
     * - `moved`: a device made a new key, and the store has another user. A replica of the new invite, synced, and `import` of this one there, say
     * again what was not sent
     * - `other-store`: nothing of theirs is ours: is the invite, or its address, the right one?
     */
    how: "rollback" | "fork" | "empty" | "moved" | "other-store";
    common: Head;
    ours: number;
    theirs: number;
};
export type State = {
    /**
     * counts the writes of it
     */
    rev: number;
    /**
     * which store it is, without saying it
     */
    user: string;
    key: string | null;
    head: Head;
    /**
     * of what is pending
     */
    tip: Head | null;
    /**
     * ids before and after a rebase
     */
    renamed: [string, string][];
    /**
     * the entry with the old keys, sealed with ours
     */
    keys: {
        transaction: Transaction;
        chunk: Bytes;
    } | null;
};
/**
 * What is pending, oldest first, and what it follows.
 */
export type Line = {
    state: State;
    base: Head;
    transactions: Transaction[];
};
export type Told = {
    entry: Entry;
    said: Said;
};
