//! The one integration binary. Every test here starts from what a person or a client sees: a server
//! process, its answers, and the files that it leaves.

// Tests look into the directory, and break it, as a person with a shell does.
#![allow(clippy::disallowed_methods)]
// Tables and fixtures of tests, where the lint would only move words.
#![allow(
    clippy::type_complexity,
    clippy::needless_range_loop,
    clippy::collapsible_match,
    clippy::needless_borrow
)]
#![allow(clippy::needless_borrows_for_generic_args)]

// What the tests share: server processes on fresh directories, a plain HTTP client, builders of ids and chunks.
mod kit;

// Chunks that went missing or were cut short, and are uploaded again.
mod again;

// The envelope of a client's chunks, and its invites: vectors, a second writing, and every byte flipped.
mod envelope;
// The seed, told as a story of two devices.
mod story;
// One row for each way to be refused, and what is left behind by a refused request: nothing.
mod refusals;
// A device that reaches a server over HTTP, by the library: messages, trouble, TLS, proxies.
mod client_http;
// What the answers are made of: headers, conditions, ranges, framing, replays.
mod answers;
// The data directory as a person with a shell sees it.
mod files;
// What is built in with each of Cargo's two features alone.
mod features;
// Clients that are slow, or gone, or ahead of the answers; and how long the server waits for them.
mod patience;
// Files on their way into the network: by the system itself, where it cannot, and when they are cut meanwhile.
mod sending;
// Clients that mean harm: smuggled requests, floods, bombs, symlinks in the store, the fuzz targets' corpora.
mod hostile;
// Who asks: users said in a header, pages of other places, hosts that the server does not go by.
mod asking;
// What one user does or suffers, and what another one sees of it: a table; and the parts of what all share.
mod neighbours;
// How `serve` starts: what it makes of a directory, what it says, its exit codes.
mod starting;
// Sockets in the file system, sockets that are handed over, and the manager of services that does so.
mod sockets;
// TLS: the same promises through it, certificates that change, and clients that break it off.
mod tls;
// What the server says of itself, and that nobody waits for it to be read.
mod logging;
// How `serve` ends: what was sent to it is answered, and nobody can hold it up for ever.
mod stopping;
// A full disk, and a directory that cannot be written: tiny file systems in a mount namespace of their own.
mod full_disk;
// Random operations by several clients against a model of the protocol in memory.
mod property;
// One user's lock, log and threads, and what they are to everybody else: nothing.
mod locks;
// Who wins when many ask at once: threads, processes, and a kill in the middle.
mod races;
// Several servers on one directory, killed and started again, and many clients: HEAD stays linearizable.
mod killed;
// `log` in every way in which nothing can be read from it.
mod wrong_logs;
// System calls that fail, are late, or are the last one: through strace, at each call of each operation.
mod faults;
// A clock that jumps.
mod clocks;
// The campaign: everything at once and for long, on servers that die, stop and have slow and failing syncs; every answer
// and every copy is judged.
mod soak;
// Whether a history of HEAD is linearizable, and that the checker is right.
mod linear;
// `--uuid-chunk-ids`, with requests as Mentat's own client sends them.
mod uuid_ids;
// What must not grow: with the length of the chain, with the size of a chunk.
mod scale;
// Bundles and `chunks/missing` over HTTP, with the real `tar` and `curl`; and the fuzz target's corpus.
mod bundles;
// `chunks/get`, a bundle without its chunks, and that the server has each feature that it names.
mod asked;
// The subcommands beside `serve`: what they print, and their exit codes.
mod cli;
// The store of a device: what a server's commands leave alone, and what `fsck`, `log` and `snapshot` make of it.
mod replica_stores;
// TaskChampion's protocol beside ours: what its client is answered, and what becomes of the chain.
mod taskchampion;
// `scripts/from-taskchampion`, on files to the schema of the other server.
mod moving;
// The OpenAPI document: against the tables of the source, and against what the server answers.
mod openapi;
// The documents: their links, and what the code cites of them.
mod documents;
// The README and the pages under `src/docs`, run.
mod readme;
// The two clients of the page for whoever writes one, with races, lost answers and cut bundles.
mod clients;
// What `example` prints, tried: units, proxies, a compose file, lines of cron.
mod deploy;

// The simulated disk (tests/simulated-disk): what it keeps and loses, and processes that take turns on it.
mod sim;

// What is done to a store on the simulated disk, and what must hold of it whatever happens.
mod proof;

// Devices with replicas, by the library: what holds whatever is lost on the way, cut, or told wrongly.
mod client;

// The commands of a device, run as a person or a script runs them, against servers.
mod device;

// Power cuts: workloads cut at every step, on the simulated disk.
mod power_cuts;

// The checkpoint as clients, tools and a person with a shell see it.
mod checkpoint;

// The checkpoint beside others and power cuts, on the simulated disk; and each of its rules taken away.
mod checkpoint_stories;
// Broken on purpose: lying disks and stores with a rule taken away, each of which must be noticed.
mod broken;

// The scenarios that are cut and interleaved.
mod stories;

// Interleavings: several processes on one user, in every order that small bounds allow.
mod interleavings;

// Garbage collection: what goes, what stays, and what may happen meanwhile.
mod gc;

// A disk that fails or is full, and killed processes, at each step of each request.
mod failing_disk;
// A store made through the library, to be damaged.
mod stock;
// What fsck reports of a store, and what it does not.
mod fsck;
// Each kind of damage on each kind of file: what fsck says, what the server answers, what a repair makes of it.
mod damage;
// A repair that is killed, or fails, or has its power cut, at each of its steps.
mod repairs;
// Only absent is absent: looks that fail, marks that cannot be seen, servers that remember what a repair took.
mod absent;
// How a store is made: knowingly, where nothing else is, and by whom it is asked for; words for what was not meant.
mod made;
// What users are called: names, first digits, standard input; and what `users rm` asks and says.
mod names;
// Whose files are: root's tools beside a service's, and what is said of it.
mod owners;
// File systems that are not like the others: FUSE, without a rename that replaces nothing; networks; mounts inside.
mod file_systems;
// One of several boxes: the users that it is for, and all others.
mod shards;
// How much a user may have, and how full the disk may get.
mod quotas;
// How many transactions may be pending, on the simulated disk.
mod bounds;

// Waiting for another head: `head?wait=` and `events`.
mod waiting;
// What is told never goes back and is durable: several servers, slow and failing syncs, folders from outside.
mod told;
// A data directory that is moved away, removed or replaced under the server.
mod away;
// Users who are frozen, and users who move from box to box: what is answered meanwhile, and that nothing is lost.
mod moved;
// Copies of a store that is being written to, by each method, and what they restore to.
mod backups;
// The page at `/` for a person, and what it asks the server that programs seldom do.
mod page;
// The module for pages, as the server gives it out.
mod module;
// `health`: whether all is well, and the address that a server leaves.
mod health;
// Metrics: what is counted, and the address where that is told.
mod metrics;
// The format's document, and the store of each format that is kept.
mod format;
// The rules of the house, read off the source: arrows, circles, names, lengths, words.
mod house;
