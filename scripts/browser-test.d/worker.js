// The same calls in a worker.
import { run } from './page.js';

onmessage = async ({ data: [call, args] }) => postMessage(await run(call, args));
