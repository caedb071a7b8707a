// A to-do list that works offline, in a page. Its entries and rules are those of the example in Rust, todo.rs: both may have one list.
import { Identity, Replica, ROOT } from '/mentat-sync.js';

const at = (id) => document.getElementById(id);
const tell = (error) => (at('trouble').textContent = error?.message ?? '');
const state = (text) => (at('state').textContent = text);
const rows = new Map();
let replica;

// What the server confirmed, and that with what is pending after it: each to-do by its id.
const confirmed = { at: ROOT, todos: new Map() };
let shown = structuredClone(confirmed);

/** An entry is `{"Add":{"id","text"}}`, `{"Edit":{"id","text"}}`, `{"Done":{"id"}}` or `{"Remove":{"id"}}`. */
function read({ body }) {
    const said = JSON.parse(new TextDecoder().decode(body));
    if (typeof said.app === 'string') return {}; // the program's own: a rekey hands on the old keys
    const [[what, { id, text }]] = Object.entries(said);
    const isWhole = ['Add', 'Edit'].includes(what) ? typeof text === 'string' : ['Done', 'Remove'].includes(what);
    if (!isWhole || typeof id !== 'string') throw new Error(`no word of a to-do list: ${what}`);
    return { what, id, text };
}

function step({ todos }, { what, id, text }) {
    if (what === 'Add') todos.set(id, { text, done: false });
    else if (what === 'Remove') todos.delete(id);
    else if (todos.has(id)) Object.assign(todos.get(id), what === 'Edit' ? { text } : { done: true });
}

const app = {
    position: () => confirmed.at,
    rewind: () => (shown = structuredClone(confirmed)),
    apply(entry) {
        for (const list of entry.pending ? [shown] : [shown, confirmed]) step(list, read(entry));
        if (!entry.pending) confirmed.at = entry.id;
    },
    // Others were quicker, and what they said is in `shown` now. The conflicts are about what they removed.
    rebase(ours) {
        const { what, id, text } = read(ours);
        if (!what || what === 'Add' || shown.todos.has(id)) return 'keep';
        // Who wrote it anew has it back; who ticked it off, or removed it as well, has nothing left to say.
        return what === 'Edit' ? { body: JSON.stringify({ Add: { id, text } }) } : 'drop';
    },
};

/** Says it: durable before it is shown, without any network. The sync below is woken by it. */
const say = (op) => replica.commit(JSON.stringify(op)).then((entry) => (app.apply(entry), show(), state('Kept here.'))).catch(tell);

function row(id) {
    const [item, label, tick, text, edit, remove] = ['li', 'label', 'input', 'span', 'button', 'button'].map((name) => document.createElement(name));
    [tick.type, edit.textContent, remove.textContent] = ['checkbox', 'Edit', 'Remove'];
    label.append(tick, ' ', text);
    item.append(label, edit, remove);
    tick.onchange = () => say({ Done: { id } });
    remove.onclick = () => say({ Remove: { id } });
    edit.onclick = () => {
        const anew = prompt('What is to be done', text.textContent)?.trim();
        if (anew) say({ Edit: { id, text: anew } });
    };
    return rows.set(id, { item, tick, text, edit, remove }).get(id);
}

/** Shows the list in the order of the ids, as todo.rs does. A row that stays is not moved, so that the keyboard stays where it is. */
function show() {
    for (const [id, { item }] of rows) {
        if (shown.todos.has(id)) continue;
        if (item.contains(document.activeElement)) at('text').focus();
        if (rows.delete(id)) item.remove();
    }
    let place = at('todos').firstChild;
    for (const [id, { text, done }] of [...shown.todos].sort(([one], [two]) => (one < two ? -1 : 1))) {
        const made = rows.get(id) ?? row(id);
        if (made.item === place) place = place.nextSibling;
        else at('todos').insertBefore(made.item, place);
        made.text.textContent = text; // whoever wrote it, it is text and no markup
        made.tick.checked = made.tick.disabled = done;
        for (const button of [made.edit, made.remove]) button.setAttribute('aria-label', `${button.textContent} ${text}`);
    }
}

async function follow() {
    for await (const entry of replica.entries()) app.apply(entry);
    for (;;) {
        show();
        const trouble = await replica.sync(app).then(() => undefined, (error) => error);
        tell(trouble?.transient ? undefined : trouble);
        show();
        const { pending } = await replica.status();
        state(`${pending === 0 ? 'All is sent.' : `${pending} to be sent.`} ${trouble?.transient ? trouble.message : ''}`);
        if (trouble) await new Promise((done) => setTimeout(done, trouble.transient ? 1000 : 10_000));
        await replica.wait(300_000).catch(() => undefined);
    }
}

async function open(secret) {
    const identity = secret.includes('#') ? await Identity.fromInvite(secret) : Identity.generate(secret);
    replica = await Replica.open(identity);
    at('invite').textContent = localStorage.invite = await identity.invite();
    [at('enter').hidden, at('add').hidden, at('share').hidden] = [true, false, false];
    navigator.storage?.persist?.();
    await follow();
}

at('enter').onsubmit = (event) => (event.preventDefault(), open(at('secret').value.trim()).catch(tell));
at('add').onsubmit = (event) => {
    event.preventDefault();
    say({ Add: { id: crypto.randomUUID(), text: at('text').value.trim() } });
    at('text').value = '';
};
const policy = globalThis.trustedTypes?.createPolicy('worker', { createScriptURL: () => 'todo-worker.js' });
navigator.serviceWorker?.register(policy?.createScriptURL('') ?? 'todo-worker.js');
if (localStorage.invite) open(localStorage.invite).catch(tell);
else at('enter').hidden = false;
