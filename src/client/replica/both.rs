//! Two pieces of work side by side.

use std::panic::resume_unwind;
use std::thread;

/// Does both, the second in a thread of this name; with no thread to be had, one after the other.
pub(super) fn both<T: Send>(
    name: &str,
    first: impl FnOnce() -> T,
    second: impl Fn() -> T + Sync,
) -> (T, T) {
    thread::scope(|scope| {
        let named = thread::Builder::new().name(name.to_owned());
        let beside = named.spawn_scoped(scope, &second);
        let first = first();
        let second = match beside {
            Ok(beside) => beside.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => second(),
        };
        (first, second)
    })
}
