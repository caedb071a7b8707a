//! The turns of the requests on a connection, as the service of these requests sees them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::RequestHead;
use actix_web::http::{ConnectionType, Method, Version, header};
use bytes::Bytes;

use super::file_part::FilePart;
use super::framing::{ChunkedEnd, announced};
use super::phase::{Phase, TurnState};
use super::refusal::Refusal;
use crate::disk::Handle;

/// A handle on the turns of one connection, of which the connection has one and the service of its requests
/// another. A clone is the same handle, and costs a count.
#[derive(Clone)]
pub struct Turns(pub(super) Rc<RefCell<TurnState>>);

impl Turns {
    /// The turns of a connection that has just been accepted, perhaps by a server that stops.
    pub fn new(stopping: bool) -> Self {
        Self(Rc::new(RefCell::new(TurnState::new(stopping))))
    }

    /// Sends `length` bytes of a file from `offset` on behind what was written before, from the system's own
    /// memory (sendfile(2)), and returns how many were sent: all of them, or fewer where the file system
    /// has no such call. For the body of an answer to wait in.
    pub async fn send(&self, file: Handle, offset: u64, length: usize) -> usize {
        self.0.borrow_mut().part = FilePart::new(file, offset, length);
        let done = |context: &mut Context<'_>| self.0.borrow_mut().part.poll_done(length, context);
        let left = poll_fn(done).await;
        self.0.borrow_mut().part = FilePart::None;
        length - left
    }

    /// Begins the turn of the request with this head, which actix has decoded. Returns the refusal where it is
    /// a stand-in for bytes that are no request.
    pub fn begin(&self, head: &RequestHead) -> Option<Refusal> {
        let mut state = self.0.borrow_mut();
        state.replied = false;
        state.answered = false;
        state.sent = 0;
        let refusal = state.refusal.take();
        state.phase = if refusal.is_some() || head.method == Method::CONNECT {
            Phase::Last
        } else if head.headers().contains_key(header::TRANSFER_ENCODING) {
            Phase::Chunked(ChunkedEnd::default())
        } else {
            match announced(head.headers()) {
                None | Some(0) => Phase::Answering,
                Some(bytes) => Phase::Body(bytes),
            }
        };
        state.wake_unheard();
        refusal
    }

    /// The bytes of files that [`Turns::send`] has sent for the answer at hand.
    pub fn sent(&self) -> u64 {
        self.0.borrow().sent
    }

    /// Whether the body at hand cannot be read on, since its chunks are broken.
    pub fn is_body_broken(&self) -> bool {
        matches!(self.0.borrow().phase, Phase::BrokenBody)
    }

    /// Whether the answer at hand should be the last on its connection: the server stops, and nothing
    /// has been received that still wants an answer.
    pub fn should_be_last(&self) -> bool {
        let state = self.0.borrow();
        state.stopping && !state.more
    }

    /// Takes the answer to the request with this head, and gives it back for actix to send. When all of it has
    /// been handed over, the turn is the next request's, unless either says that the connection ends.
    pub fn end(&self, head: &RequestHead, mut response: HttpResponse) -> HttpResponse {
        // actix reuses the head of an earlier response, perhaps to a client of HTTP/1.0, for which an answer
        // without a `Connection` would end the connection. It sets the version itself when it sends.
        response.head_mut().version = Version::HTTP_11;
        let mut state = self.0.borrow_mut();
        state.replied = true;
        let is_over = head.connection_type() == ConnectionType::Close;
        if is_over && matches!(state.phase, Phase::Answering) {
            state.phase = Phase::Over;
        } else if is_last(head, &response) {
            state.phase = Phase::Last;
        }
        drop(state);
        response.map_body(|_, body| match body.try_into_bytes() {
            // actix takes it in one go, before it reads on.
            Ok(bytes) => {
                self.pass();
                BoxBody::new(bytes)
            }
            Err(body) => BoxBody::new(PassingBody {
                body,
                turns: self.clone(),
                error: None,
            }),
        })
    }

    /// Notes that the answer has been handed over, and goes out.
    fn pass(&self) {
        let mut state = self.0.borrow_mut();
        state.answered = true;
        state.flushed = false;
    }

    /// Ready when all that was handed over has gone out, which is known of what actix flushes after the first call
    /// (`first`).
    fn poll_gone_out(&self, first: bool, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if first {
            state.flushed = false;
        }
        if state.flushed {
            return Poll::Ready(());
        }
        state.breaking = Some(context.waker().clone());
        Poll::Pending
    }

    /// Notes that the server stops: what has been received is answered, and then the connection ends.
    pub(super) fn stop(&self) {
        let mut state = self.0.borrow_mut();
        state.stopping = true;
        state.wake();
    }

    /// Whether bytes of a file are to go out behind what is written now.
    pub(super) fn has_more(&self) -> bool {
        self.0.borrow().part.is_going()
    }
}

/// The body of an answer, which passes the turn on when it has been handed over, or breaks off. Then actix drops
/// what it has not sent yet, perhaps the status line: so an error waits until all before it has gone out.
struct PassingBody {
    body: BoxBody,
    turns: Turns,
    /// The error with which it breaks off.
    error: Option<<BoxBody as MessageBody>::Error>,
}

impl MessageBody for PassingBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let first = this.error.is_none();
        if first {
            match ready!(this.body.as_pin_mut().poll_next(context)) {
                Some(Err(error)) => this.error = Some(error),
                other => return Poll::Ready(other),
            }
        }
        ready!(this.turns.poll_gone_out(first, context));
        Poll::Ready(this.error.take().map(Err))
    }
}

impl Drop for PassingBody {
    fn drop(&mut self) {
        self.turns.pass();
    }
}

/// Whether no other request is to be answered after the one with this head.
fn is_last(head: &RequestHead, response: &HttpResponse) -> bool {
    head.method == Method::CONNECT
        || head.connection_type() != ConnectionType::KeepAlive
        || response.head().connection_type() == ConnectionType::Close
}
