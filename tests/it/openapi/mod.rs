mod document;
mod requests;
mod rows;
mod schema;
mod table;

pub use rows::{head_to, member, tar};
