mod document;
mod requests;
mod rows;
mod schema;
mod table;
