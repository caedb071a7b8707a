//! Users who are frozen, and users who move from box to box.

mod frozen;
mod sent;
