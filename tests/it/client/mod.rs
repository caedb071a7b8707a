//! A replica against a server's store in this process: what each of its rules promises, whatever is lost, cut or told wrongly.

// The rules, each in a scenario of its own.
mod rules;
// Servers that are not the one that a device knew.
mod parting;
// The keys from before a `rekey`, for a device that has the present one alone.
mod old_keys;
// Devices that meet each other only by a server: what all of them must agree on.
mod convergence;
// What was put and is not named.
mod puts;
// What is told of how far long work is.
mod course;
// What several devices do at random, and what must be so in the end.
mod fleet;
// An application that shows whether something was said twice, or not at all.
mod ledger;
// A server that lies.
mod liar;
// A death and a power cut at each step.
mod cuts;
// Rules taken away that only the order of steps of two processes shows.
mod slips;
// A remote that loses requests and answers, and breaks off.
mod lossy;
// A new device that starts from a saved state.
mod states;
// What must not grow with what there is.
mod memory;
