//! The answer: outcomes of handlers, refusals and their statuses, parts of files, zipped texts, and the line in the access log.

pub mod access;
pub mod error;
pub mod file;
mod json;
pub mod outcome;
pub mod problem;
pub mod statuses;

pub use json::json;
pub mod zipped;
