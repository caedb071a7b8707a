// What the stories happen in: servers, devices of the program, and a place for both.

import { spawn, execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const built = (/** @type {string} */ name) => new URL(`../../target/debug/${name}`, import.meta.url).pathname;
const PROGRAM = process.env.MENTAT_SYNC ?? built('mentat-sync');

/** One server over a data directory, at one address for as long as it lives. */
export class Box {
    #port = 0;
    /** @type {import('node:child_process').ChildProcess | undefined} */
    #process;

    /** @param {string} data @param {string[]} flags */
    constructor(data, flags) {
        this.data = data;
        this.flags = flags;
    }

    get url() {
        return `http://127.0.0.1:${this.#port}`;
    }

    async start() {
        const listen = ['--listen', `127.0.0.1:${this.#port}`];
        const args = ['serve', '--data', this.data, ...listen, ...this.flags];
        const run = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', openSync(`${this.data}.log`, 'a')] });
        this.#process = run;
        const said = await new Promise((resolve, reject) => {
            let text = '';
            run.stdout?.on('data', (piece) => {
                text += piece;
                const found = text.match(/http:\/\/127\.0\.0\.1:(\d+)/);
                if (found) resolve(found[1]);
            });
            run.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${text}`)));
        });
        this.#port = Number(said);
        return this;
    }

    async stop() {
        const run = this.#process;
        if (run === undefined || run.exitCode !== null) return;
        const gone = new Promise((resolve) => run.once('exit', resolve));
        run.kill('SIGTERM');
        await gone;
        this.#process = undefined;
    }

    async restart() {
        await this.stop();
        await this.start();
    }

    /** Keeps a copy of the data as they are, for `restore`. @param {string} name */
    async keep(name) {
        await this.stop();
        rmSync(`${this.data}.${name}`, { recursive: true, force: true });
        cpSync(this.data, `${this.data}.${name}`, { recursive: true });
        await this.start();
    }

    /** Puts a copy back in the place of the data; none: an empty box. @param {string} [name] */
    async restore(name) {
        await this.stop();
        rmSync(this.data, { recursive: true });
        if (name === undefined) mkdirSync(this.data);
        else cpSync(`${this.data}.${name}`, this.data, { recursive: true });
        await this.start();
    }
}

/** A folder of its own, with all that runs in it. */
export class World {
    folder = mkdtempSync(join(tmpdir(), 'browser-test-'));
    /** @type {Box[]} */
    #boxes = [];
    #count = 0;

    /** @param {string[]} flags */
    async box(...flags) {
        this.#count += 1;
        const data = join(this.folder, `data-${this.#count}`);
        mkdirSync(data);
        const box = new Box(data, flags);
        this.#boxes.push(box);
        return box.start();
    }

    /** A directory for a device of the program. */
    place() {
        this.#count += 1;
        const place = join(this.folder, `device-${this.#count}`);
        mkdirSync(place);
        return place;
    }

    /** A device of the program that has this invite. @param {string} invite */
    async clone(invite) {
        const place = this.place();
        const file = join(this.folder, `invite-${this.#count}`);
        writeFileSync(file, `${invite}\n`, { mode: 0o600 });
        await this.run(place, ['clone', '--invite-file', file, '--device', 'rust', place]);
        return place;
    }

    /**
     * Runs the program in a place.
     * @param {string} place @param {string[]} args @param {string} [input]
     * @returns {Promise<string>} what it says
     */
    run(place, args, input = '') {
        return this.#execute(PROGRAM, place, args, input);
    }

    /** Runs the example `todo` in a place. @param {string} place @param {string[]} args @returns {Promise<string>} what it says */
    todo(place, ...args) {
        return this.#execute(built('examples/todo'), place, ['.', ...args], '');
    }

    /** @param {string} program @param {string} place @param {string[]} args @param {string} input @returns {Promise<string>} */
    #execute(program, place, args, input) {
        return new Promise((resolve, reject) => {
            const run = execFile(program, args, { cwd: place, maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
                if (error) reject(new Error(`${program} ${args.join(' ')}: ${error.code}: ${stdout}${stderr}`));
                else resolve(stdout);
            });
            // It may have ended without reading any.
            run.stdin?.on('error', () => undefined).end(input);
        });
    }

    async end() {
        for (const box of this.#boxes) await box.stop();
        rmSync(this.folder, { recursive: true, force: true });
    }
}
