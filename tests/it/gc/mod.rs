//! Garbage collection, on the simulated disk: what goes, what stays, in which order, and whatever
//! else happens meanwhile.

mod bench;
mod clock;
mod dates;
mod kills;
mod moved;
mod named;
mod oracle;
mod processes;
mod property;
mod rules;
mod second_look;
