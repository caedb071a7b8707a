// The page at `/` keeps its promises, in Chromium against the real server.

import { after, before, test } from 'node:test';

import { makeStores } from './stores.js';
import { cast, stories } from './stories.js';
import { World, browse } from './world.js';

before(async () => {
    cast.world = new World();
    await cast.world.start();
    cast.stores = await makeStores(cast.world);
    cast.browser = await browse();
});

after(async () => {
    await cast.browser?.close();
    await cast.world?.end();
});

const only = new RegExp(process.env.STORY ?? '');
for (const [name, told] of stories) if (only.test(name)) test(name, told);
