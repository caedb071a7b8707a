//! What an operator does in the years after installing. Findings are values; no paths, no HTTP.

pub mod gc;
