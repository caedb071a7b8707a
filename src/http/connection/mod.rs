//! The connections of the server: accepting, framing, turns, sending, ending.

pub mod accept;
pub mod file_part;
pub mod framing;
pub mod life;
pub mod listen;
pub mod open;
pub mod phase;
pub mod refusal;
pub mod socket;
pub mod sound;
pub mod stream;
pub mod turns;
pub mod waits;
pub mod workers;
