//! A sync server for one box: the library under the program.
//!
//! The parts stand from the ground floor up: each knows only those before it. [`design`] says what is promised and in
//! which order it is written; [`store`] has the format of the files. For whoever runs a server: [`operations`], [`copies`], [`watching`], [`recipes`],
//! [`performance`] and [`testing`]; for whoever writes a client: [`protocol`] and [`write_a_client`].

pub mod model;

pub mod disk;

pub mod rules;

pub mod store;

pub mod upkeep;

pub mod wire;

#[cfg(feature = "serve")]
pub mod http;

#[cfg(feature = "client")]
pub mod client;

pub mod cli;

#[doc = include_str!("DESIGN.md")]
pub mod design {}

// Its examples are of the client's library, which stands elsewhere: they are not tests of this one.
#[cfg(not(doctest))]
#[doc = include_str!("CLIENT.md")]
pub mod client_design {}

// The pages for people; their commands are run by `tests/it/readme.rs`, and none of them is Rust.
#[cfg(not(doctest))]
#[doc = include_str!("docs/operations.md")]
pub mod operations {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/copies.md")]
pub mod copies {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/watching.md")]
pub mod watching {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/devices.md")]
pub mod devices {}

#[cfg(feature = "client")]
#[doc = include_str!("docs/apps.md")]
pub mod apps {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/browsers.md")]
pub mod browsers {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/protocol.md")]
pub mod protocol {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/write-a-client.md")]
pub mod write_a_client {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/taskwarrior.md")]
pub mod taskwarrior {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/recipes.md")]
pub mod recipes {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/performance.md")]
pub mod performance {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/scale.md")]
pub mod scale {}

#[cfg(not(doctest))]
#[doc = include_str!("docs/testing.md")]
pub mod testing {}
