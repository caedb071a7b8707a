//! A wait in place for what an async caller would await.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use super::{Error, Result};
use crate::disk::Disk;
use crate::model::limits;

/// The end of a wait for a lock that begins now, by the disk's clock.
pub(super) fn deadline(disk: &dyn Disk) -> Duration {
    disk.elapsed() + limits::LOCK_WAIT
}

/// Waits in place, until then at the most: for a thread that is nobody else's.
///
/// # Errors
/// [`Error::Busy`] when the time is up.
pub(super) fn wait_in_place<T>(
    disk: &dyn Disk,
    until: Duration,
    wanted: impl Future<Output = T>,
) -> Result<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut wanted = pin!(wanted);
    loop {
        if let Poll::Ready(got) = wanted.as_mut().poll(&mut context) {
            return Ok(got);
        }
        let left = until.saturating_sub(disk.elapsed());
        if left.is_zero() {
            return Err(Error::Busy);
        }
        // The disk's clock may be another one than the system's.
        disk.park(left.min(limits::LOCK_PAUSE.1));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
