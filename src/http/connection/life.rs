//! Whether a client that has said its last word is still there.
//!
//! One that only listens (shutdown(2) of its sending half) and one that is gone look the same: nothing
//! more can be read. Whoever is gone answers the next packet with a reset, but HTTP/1.1 has nothing that
//! could be sent to who waits. Every answer begins with the same letters, though, and it makes no
//! difference to whoever reads on when they come: so one of them goes ahead now and then.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, send};
use tokio::time::{Instant, Sleep, sleep_until};

use super::socket::Socket;
use crate::model::limits;

/// What every answer begins with.
const BEGINNING: &[u8] = b"HTTP/1.";

/// What is known of a client's life.
#[derive(Default)]
pub struct Life {
    /// It has said its last word.
    half_closed: bool,
    looking: Option<Looking>,
    /// How many letters of [`BEGINNING`] have been sent ahead.
    said: usize,
}

/// The looks at a client of which nothing is read.
struct Looking {
    timer: Pin<Box<Sleep>>,
    /// When another letter is sent ahead.
    letter: Instant,
}

impl Life {
    /// The client has said its last word.
    pub fn is_half(&mut self) {
        self.half_closed = true;
    }

    /// Whether it has.
    pub fn is_half_closed(&self) -> bool {
        self.half_closed
    }

    /// How much of an answer that begins with this has been said already.
    pub fn said_of(&self, answer: &[u8]) -> io::Result<usize> {
        // An answer that begins otherwise would come out wrong.
        match answer.starts_with(&BEGINNING[..self.said]) {
            true => Ok(self.said),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// What has been said belongs to an answer that is on its way now.
    pub fn has_written(&mut self) {
        self.said = 0;
    }

    /// Looks now and then whether it is gone: fails then, and does nothing else. Sends letters ahead if
    /// an answer is owed, of which nothing has been said.
    pub fn poll_gone<S: Socket>(
        &mut self,
        stream: &S,
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
            let seen = look(stream)?;
            if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            looking.timer.as_mut().reset(now + limits::LOOK_FOR_LIFE);
            let letter = BEGINNING.get(self.said..=self.said);
            if seen.contains(PollFlags::RDHUP) && owed && now >= looking.letter {
                looking.letter = now + limits::LETTER;
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                if let Some(letter) = letter
                    && let Ok(1) = send(stream, letter, flags)
                {
                    self.said += 1;
                }
            }
        }
    }
}

/// What the system says of a socket without waiting.
fn look<S: Socket>(stream: &S) -> io::Result<PollFlags> {
    let mut sockets = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut sockets, Some(&Timespec::default()))?;
    Ok(sockets[0].revents())
}
