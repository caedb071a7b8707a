// Keeps the page itself, so that it opens without a network too. Its list is in IndexedDB.
const FILES = ['todo.html', 'todo.css', 'todo.js', '/mentat-sync.js'].map((path) => new URL(path, location).href);
const kept = caches.open('todo');
const newest = async (request) => {
    const answer = await fetch(request).catch(() => undefined);
    if (answer?.ok) await (await kept).put(request, answer.clone());
    return answer ?? (await kept).match(request, { ignoreSearch: true });
};
addEventListener('install', (event) => event.waitUntil(kept.then((cache) => cache.addAll(FILES))));
addEventListener('fetch', (event) => FILES.includes(event.request.url.replace(/[?#].*/, '')) && event.respondWith(newest(event.request)));
