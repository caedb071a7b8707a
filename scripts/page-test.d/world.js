// A server on a directory of its own, stores of all kinds in it, and a browser.

import { execFile, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { deflateSync } from 'node:zlib';

export const work = resolve('target/page-test');
const require = createRequire(join(work, 'package.json'));
const { chromium } = require('playwright-core');
export const axe = require.resolve('axe-core/axe.min.js');

const BINARY = resolve(process.env.MENTAT_SYNC ?? 'target/debug/mentat-sync');
const FLAGS = ['no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run', 'disable-background-networking', 'disable-component-update', 'disable-sync'];
export const ROOT = '00000000-0000-0000-0000-000000000000';

export const browse = () => chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS.map((flag) => `--${flag}`) });

export class World {
    folder = mkdtempSync(join(tmpdir(), 'mentat-page-'));
    data = join(this.folder, 'data');
    said = '';

    async start(listen = '127.0.0.1:0') {
        const flags = ['serve', '--data', this.data, '--listen', listen, '--max-user-bytes', '1GiB', '--max-user-files', '100000'];
        const env = { ...process.env, RUST_LOG: 'info' };
        this.server = spawn(BINARY, flags, { stdio: ['ignore', 'pipe', 'pipe'], env });
        for (const stream of [this.server.stdout, this.server.stderr]) stream.on('data', (text) => (this.said += text));
        for (let tries = 0; tries < 200; tries += 1) {
            this.address = [...this.said.matchAll(/ at (http:\/\/[\d.:]+)/g)].pop()?.[1];
            if (this.address !== undefined && (await fetch(`${this.address}/__lbheartbeat__`).catch(() => undefined))?.ok) return;
            await new Promise((done) => setTimeout(done, 50));
        }
        throw new Error(`the server does not start: ${this.said}`);
    }

    async stop() {
        const ended = new Promise((done) => this.server.once('exit', done));
        this.server.kill();
        await ended;
    }

    async end() {
        await this.stop();
        rmSync(this.folder, { recursive: true });
    }

    /** The program, as a device; what it says. */
    run(args, input) {
        return this.execute(BINARY, args, input);
    }

    /** Another program; what it says. */
    execute(program, args, input = '') {
        return new Promise((done, failed) => {
            const run = execFile(program, args, { cwd: this.folder }, (error, said, complained) => {
                if (error?.code === 'ENOENT') failed(error);
                else if (error) failed(new Error(`${program} ${args.join(' ')}: ${error.code}: ${said}${complained}`));
                else done(said);
            });
            run.stdin.on('error', () => undefined);
            run.stdin.end(input);
        });
    }

    async ask(user, path, options = {}) {
        const headers = { Authorization: `Bearer ${user}`, ...options.headers };
        const answer = await fetch(`${this.address}/0.1/-/${path}`, { ...options, headers });
        if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
        return answer;
    }

    /** Commits one transaction of these chunks, with the requests that curl would make. */
    async commit(user, parent, ...chunks) {
        const ids = [];
        for (const bytes of chunks) {
            const id = createHash('sha256').update(bytes).digest('hex');
            await this.ask(user, `chunks/${id}`, { method: 'PUT', body: bytes });
            ids.push(id);
        }
        const id = randomUUID();
        await this.ask(user, `transactions/${id}`, { method: 'PUT', body: JSON.stringify({ parent, chunks: ids }) });
        await this.ask(user, 'head', { method: 'PUT', body: JSON.stringify({ head: id }) });
        return id;
    }

    /** A store that looks as if it had a million transactions: the newest are there, and `log` tells of all. */
    million(user, count = 1_000_000) {
        const folder = join(this.data, 'users', user);
        mkdirSync(folder, { recursive: true });
        const idOf = (seq) => {
            const digits = createHash('md5').update(`${seq}`).digest('hex');
            return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
        };
        const lines = [];
        for (let seq = 1; seq <= count; seq += 1) lines.push(`${String(seq).padStart(12, '0')} ${idOf(seq)}\n`);
        writeFileSync(join(folder, 'log'), lines.join(''));
        for (let seq = count - 400; seq <= count; seq += 1) {
            const id = idOf(seq);
            mkdirSync(join(folder, 'transactions', id.slice(0, 2)), { recursive: true });
            const json = JSON.stringify({ id, seq, parent: idOf(seq - 1), chunks: [] });
            writeFileSync(join(folder, 'transactions', id.slice(0, 2), `${id}.json`), `${json}\n`);
        }
        for (const name of ['gate', 'lock']) writeFileSync(join(folder, name), '');
        writeFileSync(join(folder, 'HEAD'), `${idOf(count)}\n`);
    }
}

/** A picture that is one: a gradient. */
export function png(side = 96) {
    const chunk = (name, data) => {
        const body = Buffer.concat([Buffer.from(name), data]);
        const sum = Buffer.alloc(4);
        sum.writeUInt32BE(crc(body));
        const length = Buffer.alloc(4);
        length.writeUInt32BE(data.length);
        return Buffer.concat([length, body, sum]);
    };
    const head = Buffer.alloc(13);
    head.writeUInt32BE(side, 0);
    head.writeUInt32BE(side, 4);
    head.set([8, 2, 0, 0, 0], 8);
    const rows = Array.from({ length: side }, (_, y) => Buffer.from([0, ...Array.from({ length: side }, (_, x) => [x * 2, y * 2, 120]).flat()]));
    const start = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    return Buffer.concat([start, chunk('IHDR', head), chunk('IDAT', deflateSync(Buffer.concat(rows))), chunk('IEND', Buffer.alloc(0))]);
}

function crc(bytes) {
    let sum = 0xffffffff;
    for (const byte of bytes) {
        sum ^= byte;
        for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
    }
    return (sum ^ 0xffffffff) >>> 0;
}
