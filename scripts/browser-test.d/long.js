// A long history, made by a third implementation of the envelope over Node's own cryptography, and a server in this process that gives
// it out: for how the module bears a hundred thousand transactions, which no other server need make for it.

import { createCipheriv, createHash, createHmac } from 'node:crypto';

import { deriveKeys, padded } from '../../src/client/js/mentat-sync.js';

const ROOT = '00000000-0000-0000-0000-000000000000';
const PULLED = 1000;

/** @param {(string | Uint8Array)[]} parts */
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
const unuuid = (/** @type {string} */ id) => Buffer.from(id.replaceAll('-', ''), 'hex');
const u32 = (/** @type {number} */ number) => Buffer.from([number >>> 24, number >>> 16, number >>> 8, number]);
const u64 = (/** @type {number} */ number) => Buffer.concat([u32(0), u32(number)]);

/** @param {string} name @param {Uint8Array} bytes */
function member(name, bytes) {
    const block = Buffer.alloc(512 + 512 * Math.ceil(bytes.length / 512));
    block.write(name);
    block.write('0000644\0', 100);
    block.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124);
    block.write('        0', 148);
    block.write('ustar\x0000', 257);
    const sum = block.subarray(0, 512).reduce((sum, byte) => sum + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    block.set(bytes, 512);
    return block;
}

/**
 * So many transactions of a store, each an entry alone.
 * @param {Uint8Array} master @param {number} count
 */
export async function longHistory(master, count) {
    const keys = await deriveKeys(master);
    const hmac = (/** @type {Uint8Array} */ key, /** @type {Uint8Array} */ bytes) => createHmac('sha256', key).update(bytes).digest();
    /** @type {Buffer[]} */
    const members = [];
    const ids = [ROOT];
    for (let seq = 1; seq <= count; seq += 1) {
        const parent = ids[seq - 1];
        const body = Buffer.concat([sha256(`${seq}`).subarray(0, 16), Buffer.from(`{"tick":${seq}}`)]);
        const place = Buffer.concat([unuuid(parent), u64(seq), u32(0)]);
        const n = hmac(keys.nonce, Buffer.concat([Buffer.from([2]), u64(place.length), place, body]));
        const header = Buffer.concat([Buffer.from('MSE1\x02\0\0\0'), keys.id, n]);
        const key = hmac(keys.seal, Buffer.concat([Buffer.from('chunk'), n, Buffer.from([1])]));
        const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12)).setAAD(Buffer.concat([header, place]));
        const plain = Buffer.alloc(padded(body.length));
        u32(body.length).copy(plain);
        body.copy(plain, 4);
        const chunk = Buffer.concat([header, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
        const entry = sha256(chunk);
        const raw = sha256('mentat-sync transaction 1\0', unuuid(parent), u64(seq), u32(1), entry).subarray(0, 16);
        raw[6] = (raw[6] & 0x0f) | 0x80;
        raw[8] = (raw[8] & 0x3f) | 0x80;
        const id = raw.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
        const name = entry.toString('hex');
        members.push(member(`chunks/${name.slice(0, 2)}/${name}`, chunk));
        const json = JSON.stringify({ id, seq, parent, chunks: [name] });
        members.push(member(`transactions/${id.slice(0, 2)}/${id}.json`, Buffer.from(`${json}\n`)));
        ids.push(id);
    }
    const at = new Map(ids.map((id, seq) => [id, seq]));
    /** The answer to a request, by what stands behind the user. @param {string} path @returns {{ status: number, type: string, body: Uint8Array<ArrayBuffer> }} */
    const answer = (path) => {
        const from = path.match(/^bundle\?from=([0-9a-f-]{36})&limit=1000$/)?.[1];
        const seq = at.get(from ?? '');
        if (seq === undefined) return { status: 404, type: 'application/problem+json', body: Buffer.from('{"code":"unknown-transaction"}') };
        const last = Math.min(seq + PULLED, count);
        const parts = [...members.slice(2 * seq, 2 * last), member('HEAD', Buffer.from(`${ids[last]}\n`)), Buffer.alloc(1024)];
        return { status: 200, type: 'application/x-tar', body: Buffer.concat(parts) };
    };
    return { head: ids[count], answer };
}
