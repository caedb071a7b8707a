//! Users who are frozen, and users who move from box to box.

mod attacked;
mod cuts;
mod frozen;
mod ice;
mod sent;
mod simulated;
mod stopped;
mod there;
mod together;
