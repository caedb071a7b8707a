// Gives out the pages of the test, at an origin that is not the server's.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const here = (/** @type {string} */ path) => readFileSync(new URL(path, import.meta.url));
const files = new Map([
    ['/page.html', ['page.html', 'text/html']],
    ['/page.js', ['page.js', 'text/javascript']],
    ['/worker.js', ['worker.js', 'text/javascript']],
    ['/seats.js', ['seats.js', 'text/javascript']],
    ['/storage.js', ['storage.js', 'text/javascript']],
    ['/vectors.js', ['vectors.js', 'text/javascript']],
    ['/vectors.json', ['../../src/client/vectors.json', 'application/json']],
    ['/mentat-sync.js', ['../../src/client/js/mentat-sync.js', 'text/javascript']],
    ['/examples/todo.html', ['../../src/client/js/examples/todo.html', 'text/html']],
    ['/examples/todo.css', ['../../src/client/js/examples/todo.css', 'text/css']],
    ['/examples/todo.js', ['../../src/client/js/examples/todo.js', 'text/javascript']],
    ['/examples/todo-worker.js', ['../../src/client/js/examples/todo-worker.js', 'text/javascript']],
]);

/** What somebody who gives out a page would say of it. */
const STRICT = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src *; frame-ancestors 'none'; form-action 'none'; base-uri 'none'";

/** Pages that a test adds. @type {Map<string, string>} */
export const pages = new Map();

/** @returns {Promise<{ port: number, close: () => void }>} */
export const serveApp = () =>
    new Promise((resolve) => {
        const server = createServer((request, response) => {
            const page = pages.get(request.url ?? '');
            if (page !== undefined) return response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page);
            const [path, type] = files.get(request.url ?? '') ?? [];
            if (path === undefined) return response.writeHead(404).end();
            const strict = request.url?.startsWith('/examples/') ? { 'content-security-policy': STRICT } : {};
            return response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, ...strict }).end(here(path));
        });
        server.listen(0, '127.0.0.1', () => {
            const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
            resolve({ port, close: () => (server.close(), server.closeAllConnections()) });
        });
    });
