// Holds the module to src/client/vectors.json, in whatever runs this: Node, a page, a worker.

/** @param {string} text */
const unhex = (text) => Uint8Array.from({ length: text.length / 2 }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));
/** @param {Uint8Array} bytes */
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
/** @param {any} vector */
const plaintextOf = (vector) =>
    vector.plaintext === undefined
        ? Uint8Array.from({ length: vector.plaintext_counted }, (_, at) => at % 251)
        : unhex(vector.plaintext);

/**
 * @param {any} vectors
 * @param {typeof import('../../src/client/js/mentat-sync.js')} module
 * @returns {Promise<number>} how many checks
 */
export async function checkVectors(vectors, module) {
    const { Identity, Keyring, Keys, OpenError, SyncError } = module;
    let checks = 0;
    /** @param {unknown} one @param {unknown} two @param {string} what */
    const equal = (one, two, what) => {
        checks += 1;
        if (one !== two) throw new Error(`${what}: ${one}, and should be ${two}`);
    };
    /** @param {string} word @param {string} what @param {() => Promise<unknown>} trial */
    const refusedWith = async (word, what, trial) => {
        /** @type {unknown} */
        let told = 'taken';
        try {
            await trial();
        } catch (error) {
            if (error instanceof OpenError) told = error.word;
            else if (error instanceof SyncError) told = error.what;
            else throw error;
        }
        equal(told, word, what);
    };
    for (const vector of vectors.keys) {
        const raw = await module.deriveKeys(unhex(vector.master));
        equal(hex(raw.id), vector.key_id, vector.comment);
        equal(hex(raw.nonce), vector.k_nonce, vector.comment);
        equal(hex(raw.seal), vector.k_seal, vector.comment);
        equal((await Keys.derive(unhex(vector.master))).id, vector.key_id, vector.comment);
    }
    const ring = new Keyring(await Keys.derive(unhex(vectors.keys[0].master)));
    for (const { length, padded } of vectors.padded) equal(module.padded(length), padded, `padding of ${length}`);
    for (const vector of vectors.sealed) {
        const place = { kind: vector.kind, ...vector.context };
        const chunk = await ring.seal(place, plaintextOf(vector));
        equal(await module.chunkId(chunk), vector.id, vector.comment);
        equal(chunk.length, vector.bytes, vector.comment);
        if (vector.chunk !== undefined) equal(hex(chunk), vector.chunk, vector.comment);
        equal(module.keyIdOf(chunk), vectors.keys[0].key_id, vector.comment);
        const opened = await ring.open(place, chunk);
        const plaintext = plaintextOf(vector);
        equal(opened.length === plaintext.length && opened.every((byte, at) => byte === plaintext[at]), true, vector.comment);
    }
    for (const vector of vectors.refused) {
        const { parent, seq, others } = vector.context ?? {};
        await refusedWith(vector.error, vector.comment, () =>
            vector.kind === 'entry'
                ? ring.openEntry(parent, seq, others, unhex(vector.chunk))
                : ring.open({ kind: vector.kind, ...vector.context }, unhex(vector.chunk)),
        );
    }
    for (const vector of vectors.entries) {
        const said = { nonce: unhex(vector.nonce), app: unhex(vector.app) };
        equal(vector.nonce + vector.app, vector.body, vector.comment);
        const plain = module.plainEntry(said);
        equal(new TextDecoder().decode(plain), vector.plain, vector.comment);
        const read = module.readPlainEntry(plain);
        equal(hex(read.nonce), vector.nonce, vector.comment);
        equal(hex(read.app), vector.app, vector.comment);
    }
    for (const vector of vectors.transaction_ids) {
        equal(await module.transactionId(vector.parent, vector.seq, vector.chunks), vector.id, vector.comment);
    }
    for (const vector of vectors.invites) {
        const master = vector.master === null ? null : unhex(vector.master);
        equal(await new Identity(vector.url, vector.user, master).invite(), vector.invite, vector.comment);
        for (const text of [vector.invite, ...vector.read_as_well]) {
            const read = await Identity.fromInvite(text);
            equal(read.server, vector.url, vector.comment);
            equal(read.user, vector.user, vector.comment);
            equal(await read.invite(), vector.invite, vector.comment);
        }
    }
    for (const vector of vectors.invites_refused) {
        await refusedWith(vector.error, vector.comment, () => Identity.fromInvite(vector.invite));
    }
    return checks;
}
