//! The phase of a connection between two requests, and the state that its two sides share.

use std::task::Waker;

use super::file_part::FilePart;
use super::framing::{ChunkedEnd, HeadEnd, Scan};
use super::refusal::Refusal;
use super::sound::sound;

/// The bytes that the connection hands to actix next.
pub enum Phase {
    /// The head of a request, once it has come whole.
    Head(HeadEnd),
    /// The next bytes, so many, of a head that is whole and sound.
    Handing(usize),
    /// No bytes: a whole head has been handed out, and the service has not told yet what follows it.
    Decoding,
    /// The next bytes, so many, of a body.
    Body(u64),
    /// A body in chunks.
    Chunked(ChunkedEnd),
    /// No more bytes of a body whose chunks are broken.
    BrokenBody,
    /// No bytes: the request is whole, and further bytes belong to the next one.
    Answering,
    /// No bytes any more: the connection ends with this answer, whatever the client may still send.
    Last,
    /// No bytes any more: the client wants the connection to end with this answer, and has nothing to add.
    Over,
}

/// The state that a connection and the service of its requests share.
pub struct TurnState {
    /// The bytes that are handed to actix next.
    pub phase: Phase,
    /// The request at hand has an answer, of which something may have been handed over.
    pub replied: bool,
    /// The answer has been handed over, to the last byte.
    pub answered: bool,
    /// All that was handed over has gone out.
    pub flushed: bool,
    /// More has been received than the request at hand.
    pub more: bool,
    /// The socket does not wake whoever waits for it, since nothing is read from it now.
    pub unheard: bool,
    /// The server stops.
    pub stopping: bool,
    /// The refusal with which the stand-in request is to be answered.
    pub refusal: Option<Refusal>,
    /// Wakes the reader of the connection, who waits for the turn of the next request.
    pub reader: Option<Waker>,
    /// Wakes the body of an answer that is about to break off, when all before has gone out.
    pub breaking: Option<Waker>,
    /// The part of a file that follows what was written.
    pub part: FilePart,
    /// Bytes of files that have gone out for the answer at hand.
    pub sent: u64,
}

impl TurnState {
    /// The state of a connection that has just been accepted, perhaps by a server that stops.
    pub fn new(stopping: bool) -> Self {
        Self {
            phase: Phase::Head(HeadEnd::default()),
            replied: false,
            answered: false,
            flushed: true,
            more: false,
            unheard: false,
            stopping,
            refusal: None,
            reader: None,
            breaking: None,
            part: FilePart::None,
            sent: 0,
        }
    }

    /// Wakes the reader, who looks again whose turn it is, unless the socket does that.
    pub fn wake_unheard(&mut self) {
        if self.unheard {
            self.wake();
        }
    }

    /// Wakes the reader.
    pub fn wake(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Keeps the waker of the reader, who waits for its turn.
    pub fn remember(&mut self, reader: &Waker) {
        match &mut self.reader {
            Some(before) => before.clone_from(reader),
            none => *none = Some(reader.clone()),
        }
    }

    /// Notes that all that was handed over has gone out.
    pub fn flush(&mut self) {
        if !self.flushed {
            self.flushed = true;
            self.breaking.take().into_iter().for_each(Waker::wake);
            self.wake_unheard();
        }
    }

    /// Gives the turn to the next request if the one at hand is whole and its answer has gone out.
    pub fn pass_on(&mut self) {
        if self.answered && self.flushed && matches!(self.phase, Phase::Answering) {
            self.answered = false;
            self.phase = Phase::Head(HeadEnd::default());
        }
    }

    /// Whether a request is whole and has no answer yet.
    pub fn owes_an_answer(&self) -> bool {
        !self.replied && self.flushed && matches!(self.phase, Phase::Answering)
    }

    /// Whether these bytes are one head, whole, sound and alone; then they count as handed out, as [`sound`] leaves
    /// them.
    pub fn is_one_head(&mut self, bytes: &mut [u8]) -> bool {
        let is_one =
            HeadEnd::default().find(bytes) == Scan::End(bytes.len()) && sound(bytes).is_ok();
        if is_one {
            self.phase = Phase::Decoding;
        }
        is_one
    }

    /// The number of these bytes that belong to the body which is being handed out. Those that follow belong
    /// to the next request, or are wrong.
    pub fn take_body(&mut self, bytes: &[u8]) -> usize {
        let (taken, ended) = match &mut self.phase {
            Phase::Body(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                (taken, *left == 0)
            }
            Phase::Chunked(chunked) => match chunked.find(bytes) {
                Scan::End(end) => (end, true),
                Scan::More => (bytes.len(), false),
                Scan::Wrong(at) => {
                    self.phase = Phase::BrokenBody;
                    return at;
                }
            },
            _ => (0, false),
        };
        if ended {
            self.phase = Phase::Answering;
        }
        taken
    }
}
