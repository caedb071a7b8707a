//! The connections of the server: accepting, framing, turns, sending, ending.

pub mod accept;
pub mod framing;
pub mod life;
pub mod open;
pub mod socket;
pub mod sound;
pub mod stream;
pub mod turn;
pub mod workers;
