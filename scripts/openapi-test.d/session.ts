// Two devices of one user, with the types that were generated: clone, commit, conflict, push. The address is the argument.
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import type { components, paths } from "./document.js";

type Schemas = components["schemas"];
// What GET of a path answers with 200, as the document has it.
type Got<P extends keyof paths> = paths[P] extends {
  get: { responses: { 200: { content: { "application/json": infer Body } } } };
} ? Body : never;

const ROOT = "00000000-0000-0000-0000-000000000000";
const store = `${process.argv[2]}/0.1/${randomUUID()}`;

async function get<P extends keyof paths>(_path: P, address: string): Promise<Got<P>> {
  const answer = await fetch(address);
  assert.equal(answer.status, 200);
  return (await answer.json()) as Got<P>;
}

async function upload(text: string): Promise<Schemas["ChunkId"]> {
  const chunk = createHash("sha256").update(text).digest("hex");
  assert.equal((await fetch(`${store}/chunks/${chunk}`, { method: "PUT", body: text })).status, 201);
  return chunk;
}

async function commit(parent: string, chunks: string[]): Promise<Schemas["TransactionId"]> {
  const id = randomUUID();
  const proposed: Schemas["ProposedTransaction"] = { parent, chunks };
  const answer = await fetch(`${store}/transactions/${id}`, { method: "PUT", body: JSON.stringify(proposed) });
  assert.equal(answer.status, 201);
  return id;
}

async function advance(head: string): Promise<Schemas["AdvanceConflictProblem"] | null> {
  const proposed: Schemas["ProposedHead"] = { head };
  const answer = await fetch(`${store}/head`, { method: "PUT", body: JSON.stringify(proposed) });
  return answer.status === 204 ? null : ((await answer.json()) as Schemas["AdvanceConflictProblem"]);
}

async function clone(after: string): Promise<string[]> {
  const texts: string[] = [];
  const listing = await get("/0.1/{user}/transactions", `${store}/transactions?from=${after}`);
  for (const id of listing.transactions) {
    const { chunks } = await get("/0.1/{user}/transactions/{transaction}", `${store}/transactions/${id}`);
    for (const chunk of chunks) texts.push(await (await fetch(`${store}/chunks/${chunk}`)).text());
  }
  return texts;
}

const version = await get("/__version__", `${process.argv[2]}/__version__`);
// A name that has one value only is of that type.
const name: "mentat-sync" = version.name;
assert.equal(name, "mentat-sync");

const phone = await commit(ROOT, [await upload("milk")]);
assert.equal(await advance(phone), null);
const laptop = await commit(ROOT, [await upload("eggs")]);
const lost = await advance(laptop);
assert(lost !== null);
const status: 409 = lost.status;
assert.deepEqual([status, lost.code, lost.head, lost.seq], [409, "not-a-descendant", phone, 1]);
assert.deepEqual(await clone(ROOT), ["milk"]);
const again = await commit(lost.head, [await upload("eggs")]);
assert.equal(await advance(again), null);
assert.deepEqual(await clone(phone), ["eggs"]);
const head = await get("/0.1/{user}/head", `${store}/head`);
assert.deepEqual(head, { head: again, seq: 2 });
console.log("typescript: clone, commit, conflict and push went well");
