mod directory;
pub mod effort;
mod ending;
mod http;
mod ids;
mod server;
mod skips;

pub use directory::{Look, look, tree};
pub use ending::Ending;
pub use http::{Answer, Client, Connection};
pub use ids::{Chunk, ROOT, chunk, digest, transaction_id, transaction_json, user_id};
pub use server::{Device, Finished, Server, address_in, binary, run_with_deadline};
pub use skips::skipped;
