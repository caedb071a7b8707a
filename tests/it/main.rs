//! Tests of the whole: one binary, so that it links once.

/// The simulated disk: what it keeps and loses, and processes that take turns on it.
mod sim;

/// What is done to a store on the simulated disk, and what must hold of it whatever happens.
mod proof;

/// Power cuts: workloads cut at every step, on the simulated disk.
mod power_cuts;

/// Broken on purpose: lying disks and stores with a rule taken away, each of which must be noticed.
mod broken;

/// The scenarios that are cut and interleaved.
mod stories;

/// Interleavings: several processes on one user, in every order that small bounds allow.
mod interleavings;

/// Garbage collection: what goes, what stays, and what may happen meanwhile.
mod gc;
