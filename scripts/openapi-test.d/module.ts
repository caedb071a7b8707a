// The types of the module for pages are those of the document: what the server says is what the module gives out. Nothing of it runs.
import type { components, operations } from "./document.js";
import type { Limits, Listed, Listing, Server, Transaction } from "./mentat-sync.js";

type Schemas = components["schemas"];
type Query<O extends keyof operations> = operations[O]["parameters"]["query"];
type Given<M extends keyof Server> = Server[M] extends (...args: infer A) => unknown ? A : never;
type Got<M extends keyof Server> = Server[M] extends (...args: never[]) => Promise<infer R> ? NonNullable<R> : never;

/** Whether the two are of one type, both ways. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
/** The members of the second that the first has not, or has otherwise. */
type Made<A, B> = { [K in keyof A & keyof B]: Same<A[K], B[K]> extends true ? never : K }[keyof A & keyof B] | Exclude<keyof A, keyof B>;
function same<A, B>(..._made: Same<A, B> extends true ? [] : ["another type"]): void {}
/** All that the module tells of the answer is in the document, and of the same type. */
function within<A, B>(..._made: Made<Required<A>, Required<B>> extends never ? [] : ["not in the document", Made<Required<A>, Required<B>>]): void {}

same<Got<"transaction">, Schemas["Transaction"]>();
same<Got<"checkpoint">, Schemas["Checkpoint"]>();
same<Limits, Schemas["Limits"]>();
within<Got<"about">, Schemas["Store"]>();
within<Listing, Schemas["Listing"]>();
within<NonNullable<Given<"transactions">[0]>, NonNullable<Query<"getTransactions">> & { signal: AbortSignal }>();
// Without the word for what the server is not asked: all chunks.
type Part = Omit<NonNullable<Given<"bundle">[1]>, "chunks"> & { chunks: "none" };
within<Part, NonNullable<Query<"getBundle">>>();
same<Got<"missing">, Schemas["Missing"]["missing"]>();

// What a server answers may be given to whatever takes what the module gives, and what the module sends is what a server takes.
export const taken = (
  store: Schemas["Store"],
  listing: Schemas["Listing"],
  transaction: Schemas["Transaction"],
  ours: Transaction,
): [Got<"about">, Listing, Listed, Schemas["ProposedTransaction"]] => [store, listing, transaction, ours];
