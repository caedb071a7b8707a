//! Tests of the whole: one binary, so that it links once.

// A store made through the library, to be damaged.
mod stock;
// What fsck reports of a store, and what it does not.
mod fsck;
