//! Finding out whether a client that has closed its sending half is still there.
//!
//! A client that only listens (shutdown(2) of its sending half) and one that is gone look the same: nothing
//! more can be read. The machine of a client that is gone answers the next packet with a reset, but HTTP/1.1
//! has no message for a client that waits. Every answer begins with the same letters, though, and to a client
//! that reads it makes no difference when they come: so one of them goes ahead now and then.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::event::PollFlags;
use tokio::time::{Instant, Sleep, sleep_until};

use super::socket::Socket;
use crate::model::limits;

/// The letters with which every answer begins.
const BEGINNING: &[u8] = b"HTTP/1.";

/// The signs of a client's life.
#[derive(Default)]
pub struct Life {
    /// The client has closed its sending half.
    half_closed: bool,
    looking: Option<Looking>,
    /// The number of letters of [`BEGINNING`] that have been sent ahead.
    said: usize,
}

/// The looks at a client from which nothing is read.
struct Looking {
    timer: Pin<Box<Sleep>>,
    /// The time at which another letter is sent ahead.
    letter: Instant,
}

impl Life {
    /// Notes that the client has closed its sending half.
    pub fn half_close(&mut self) {
        self.half_closed = true;
    }

    /// Whether the client has closed its sending half.
    pub fn is_half_closed(&self) -> bool {
        self.half_closed
    }

    /// The number of letters of this answer that have been sent ahead, and are not to be sent again.
    ///
    /// # Errors
    /// `InvalidData` where the answer does not begin with them, and would come out wrong.
    pub fn said_of(&self, answer: &[u8]) -> io::Result<usize> {
        match answer.starts_with(&BEGINNING[..self.said]) {
            true => Ok(self.said),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Notes that the answer to which the letters belong is on its way now.
    pub fn has_written(&mut self) {
        self.said = 0;
    }

    /// Looks every [`limits::LOOK_FOR_LIFE`] whether the client is gone, and is never ready otherwise. Sends a
    /// letter ahead every [`limits::LETTER`] where an answer is owed of which nothing else has been sent.
    ///
    /// # Errors
    /// `ConnectionReset` where the client is gone.
    pub fn poll_gone<S: Socket>(
        &mut self,
        stream: &mut S,
        owed: bool,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let now = Instant::now();
            let looking = self.looking.get_or_insert_with(|| Looking {
                timer: Box::pin(sleep_until(now + limits::LOOK_FOR_LIFE)),
                letter: now + limits::LOOK_FOR_LIFE,
            });
            ready!(looking.timer.as_mut().poll(context));
            let seen = stream.look()?;
            if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            looking.timer.as_mut().reset(now + limits::LOOK_FOR_LIFE);
            let letter = BEGINNING.get(self.said..=self.said);
            if seen.contains(PollFlags::RDHUP) && owed && now >= looking.letter {
                looking.letter = now + limits::LETTER;
                if let Some(letter) = letter
                    && stream.say_now(letter).is_ok()
                {
                    self.said += 1;
                }
            }
        }
    }
}
