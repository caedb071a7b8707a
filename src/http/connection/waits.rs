//! Bounds on the time for which a connection waits for its client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// The waits whose length the operator chooses.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request, from its first byte, or from the connection's start.
    pub head: Duration,
    /// For a client to take any more of an answer.
    pub taking: Duration,
}

/// An event that a connection waits for, within a bound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The end of a head, or the first one.
    Head,
    /// Another request.
    Request,
    /// Another request, from a client that does not know yet that the server stops.
    LastRequest,
    /// The end of the client's side, once ours has been closed.
    Close,
}

/// The waits of one connection: one for something to be read, and one for something to be taken.
#[derive(Default)]
pub struct Waits {
    /// The thing that is waited for at present, and until when.
    awaited: Option<(Awaited, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl Waits {
    /// Ready when this has been waited for so long, without a break.
    pub fn poll_over(
        &mut self,
        awaited: Awaited,
        patience: Duration,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let until = match self.awaited {
            Some((before, until)) if before == awaited => until,
            _ => Instant::now() + patience,
        };
        self.awaited = Some((awaited, until));
        let timer = (self.timer).get_or_insert_with(|| Box::pin(sleep_until(until)));
        // Most waits end soon: a timer that rings too early is set anew then, and not for each.
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        loop {
            ready!(timer.as_mut().poll(context));
            if timer.deadline() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }

    /// Ends the wait for something to be read: it has come.
    pub fn has_come(&mut self) {
        self.awaited = None;
    }

    /// Notes that the client has taken something of what is being written.
    pub fn has_moved(&mut self) {
        self.writing = None;
    }

    /// Passes on how a write went.
    ///
    /// # Errors
    /// `TimedOut` when the client has taken nothing for so long; otherwise the write's own.
    pub fn time_write<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        patience: Duration,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.writing = None;
            return polled;
        }
        let timer = self
            .writing
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
