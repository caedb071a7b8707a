//! Threads of a test that go on until they are told to end.

use std::sync::atomic::{AtomicBool, Ordering};

/// Raises a flag when it is dropped: whatever becomes of the test, those who go on until then end, and a failure is
/// told instead of waited for.
pub struct Ending<'a>(pub &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
