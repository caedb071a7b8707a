//! Bundles: a part of the chain as one tar, out and in (DESIGN, Bundle).

mod asked;
mod checks;
mod fast_forward;
mod intake;
mod members;
mod out;
mod outcome;
mod pending;
mod publish;
mod push;
mod sending;
mod staging;
mod tar;
mod transaction_members;
mod unpack;
mod window;

pub use asked::AskedReader;
pub use out::{BundleReader, Plan, PullBundle};
pub use outcome::{Counts, PushBundle};
#[cfg(feature = "client")]
pub(crate) use tar::{END, Members, Trouble, header, padding};
pub(in crate::store) use window::Window;

#[cfg(test)]
mod tests;
