//! What an answer is made of: contents, refusals, statuses, and its line in the access log.

pub mod access;
pub mod content;
pub mod problem;
pub mod statuses;
