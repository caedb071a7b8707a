//! Tests of the whole: one binary, so that it links once.

/// The simulated disk: what it keeps and loses, and processes that take turns on it.
mod sim;
