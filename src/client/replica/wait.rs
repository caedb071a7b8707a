//! Waiting until there is something to sync.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::Replica;
use super::poll::Poll;
use crate::client::error::{Error, Result};
use crate::model::{TransactionId, limits};

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The server's HEAD is another than ours.
    Moved,
    /// A commit was made here since the wait began.
    Committed,
    /// The time is up.
    TimeIsUp,
}

impl Replica {
    /// Waits until somebody moved HEAD (one long poll after another), until a commit was made here by whichever process, or
    /// until the time is up.
    ///
    /// The question to the server waits on a thread of its own. It is left there when something was committed, for the next
    /// wait to go on with.
    ///
    /// # Errors
    /// Those of the remote.
    pub fn wait(&self, timeout: Duration) -> Result<Woken> {
        let disk = self.user.store().disk();
        let until = disk.elapsed() + timeout;
        let (seen, tip) = (self.head()?.id, self.tip()?);
        let mut kept = self
            .poll
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        loop {
            let left = until.saturating_sub(disk.elapsed());
            let poll = match kept.take().filter(|poll| poll.seen == seen) {
                Some(poll) => poll,
                None => self.ask(seen, left.min(limits::LONGEST_WAIT))?,
            };
            match poll.answer.recv_timeout(left.min(limits::LOOK_FOR_COMMITS)) {
                Ok(answer) => {
                    if answer?.id != seen {
                        return Ok(Woken::Moved);
                    }
                }
                Err(RecvTimeoutError::Timeout) => *kept = Some(poll),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Busy),
            }
            if self.tip()? != tip {
                return Ok(Woken::Committed);
            }
            if disk.elapsed() >= until {
                return Ok(Woken::TimeIsUp);
            }
        }
    }

    /// Begins to ask the server for another HEAD than this.
    fn ask(&self, seen: TransactionId, timeout: Duration) -> Result<Poll> {
        let remote = Arc::clone(&self.remote);
        let (tell, answer) = channel();
        let thread = std::thread::Builder::new().name("wait".to_owned());
        thread.spawn(move || {
            // Nobody may be there any more to hear it.
            let _ = tell.send(remote.wait(seen, timeout));
        })?;
        Ok(Poll { seen, answer })
    }
}
