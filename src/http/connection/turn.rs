//! Whose turn it is on a connection: what its `Connection` and the service of its requests share.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::RequestHead;
use actix_web::http::{ConnectionType, Method, Version, header};
use bytes::Bytes;

use super::framing::{ChunkedEnd, Found, HeadEnd};
use super::socket::Socket;
use super::sound::sound;
use crate::disk::Handle;
use crate::http::request::body::announced;

/// A connection's turn, of which each side has a handle.
#[derive(Clone)]
pub struct Turn(pub(crate) Rc<RefCell<Shared>>);

/// Why something that came is no request that could be answered as what it is. Its service is handed
/// another request in its place, and answers that with the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no request of HTTP/1.1.
    Malformed,
    /// It has more of a head than is taken.
    TooLong,
    /// Its head did not come to its end in time.
    TooSlow,
}

/// What a turn knows.
pub(crate) struct Shared {
    pub(crate) phase: Phase,
    /// The request at hand has an answer, of which something may have been handed over.
    replied: bool,
    /// It has been handed over, to the last byte.
    answered: bool,
    /// All that was handed over has gone out.
    pub(crate) flushed: bool,
    /// More has been received than the request at hand.
    pub(crate) more: bool,
    /// The socket does not wake whoever waits for it, since nothing is read from it now.
    pub(crate) unheard: bool,
    /// The server stops.
    stopping: bool,
    /// What is to be said to the request that was handed out in place of another.
    pub(crate) refusal: Option<Refusal>,
    /// Whoever waits for the turn of what comes next.
    reader: Option<Waker>,
    outgoing: Outgoing,
    /// How much of files has gone out for the answer at hand.
    sent: u64,
}

/// A part of a file that is to go out after what was written.
enum Outgoing {
    Nothing,
    Part {
        file: Handle,
        offset: u64,
        left: usize,
        body: Option<Waker>,
    },
    /// It has gone out, but for so many bytes, which the system can only send as others do.
    Sent {
        left: usize,
    },
}

/// What is handed out next.
pub(crate) enum Phase {
    /// The head of a request, once it has come whole.
    Head(HeadEnd),
    /// So many bytes of a head that is whole and sound.
    Handing(usize),
    /// A whole head has been handed out, and nobody has said yet what follows.
    Decoding,
    /// So many bytes of a body.
    Body(u64),
    /// A body in chunks.
    Chunked(ChunkedEnd),
    /// The framing of its chunks is broken: nothing more comes of it.
    BrokenBody,
    /// The request is whole: what comes belongs to the next.
    Answering,
    /// The connection ends with this answer, and nothing more is looked at.
    Last,
    /// The same, as the client wants it: it has nothing more to say.
    Over,
}

impl Turn {
    /// The turn of a connection that has just been accepted, perhaps by a server that stops.
    pub(crate) fn new(stopping: bool) -> Self {
        Self(Rc::new(RefCell::new(Shared {
            phase: Phase::Head(HeadEnd::default()),
            replied: false,
            answered: false,
            flushed: true,
            more: false,
            unheard: false,
            stopping,
            refusal: None,
            reader: None,
            outgoing: Outgoing::Nothing,
            sent: 0,
        })))
    }

    /// Sends this part of a file after what was written before, from the system's own memory
    /// (sendfile(2)); says how much of it was sent. For the body of an answer to wait in: all of it is
    /// sent, or nothing where the file system has no such call.
    pub async fn send(&self, file: Handle, offset: u64, length: usize) -> usize {
        self.0.borrow_mut().outgoing = Outgoing::Part {
            file,
            offset,
            left: length,
            body: None,
        };
        let left = poll_fn(|context| {
            let mut shared = self.0.borrow_mut();
            match &mut shared.outgoing {
                Outgoing::Part { body, .. } => {
                    *body = Some(context.waker().clone());
                    Poll::Pending
                }
                Outgoing::Sent { left } => Poll::Ready(*left),
                Outgoing::Nothing => Poll::Ready(length),
            }
        })
        .await;
        self.0.borrow_mut().outgoing = Outgoing::Nothing;
        length - left
    }

    /// A request has been decoded, and this is its head. If it stands in the place of another, says what
    /// is to be said of that.
    pub fn begin(&self, head: &RequestHead) -> Option<Refusal> {
        let mut shared = self.0.borrow_mut();
        shared.replied = false;
        shared.answered = false;
        shared.sent = 0;
        let refusal = shared.refusal.take();
        shared.phase = if refusal.is_some() || head.method == Method::CONNECT {
            Phase::Last
        } else if head.headers().contains_key(header::TRANSFER_ENCODING) {
            Phase::Chunked(ChunkedEnd::default())
        } else {
            match announced(head.headers()) {
                None | Some(0) => Phase::Answering,
                Some(bytes) => Phase::Body(bytes),
            }
        };
        shared.wake_unheard();
        refusal
    }

    /// How many bytes of files [`Turn::send`] has sent for the answer at hand.
    pub fn sent(&self) -> u64 {
        self.0.borrow().sent
    }

    /// Whether the body at hand cannot be read on: its chunks are none.
    pub fn is_body_broken(&self) -> bool {
        matches!(self.0.borrow().phase, Phase::BrokenBody)
    }

    /// Whether the answer at hand should be the last on its connection: the server stops, and nothing
    /// has been received that still wants an answer.
    pub fn should_be_last(&self) -> bool {
        let shared = self.0.borrow();
        shared.stopping && !shared.more
    }

    /// This is the answer to the request with this head. When all of it has been handed over, the turn is
    /// the next one's, unless one of the two says that the connection ends with it.
    pub fn end(&self, head: &RequestHead, mut response: HttpResponse) -> HttpResponse {
        // actix makes it of one that was sent before, perhaps to a client of HTTP/1.0, for whom what says
        // nothing would end the connection. It says itself for whom it is, when it is sent.
        response.head_mut().version = Version::HTTP_11;
        let mut shared = self.0.borrow_mut();
        shared.replied = true;
        let is_over = head.connection_type() == ConnectionType::Close;
        if is_over && matches!(shared.phase, Phase::Answering) {
            shared.phase = Phase::Over;
        } else if is_last(head, &response) {
            shared.phase = Phase::Last;
        }
        drop(shared);
        response.map_body(|_, body| match body.try_into_bytes() {
            // actix takes it in one go, before it reads on.
            Ok(bytes) => {
                self.pass();
                BoxBody::new(bytes)
            }
            Err(body) => BoxBody::new(Answer {
                body,
                turn: self.clone(),
            }),
        })
    }

    /// The answer has been handed over, and goes out.
    fn pass(&self) {
        let mut shared = self.0.borrow_mut();
        shared.answered = true;
        shared.flushed = false;
    }

    /// The server stops: what has been received is answered, and then the connection ends.
    pub(crate) fn stop(&self) {
        let mut shared = self.0.borrow_mut();
        shared.stopping = true;
        shared.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Whether something is to go out after what is written now.
    pub(crate) fn has_more(&self) -> bool {
        matches!(self.0.borrow().outgoing, Outgoing::Part { .. })
    }
}

/// The body of an answer, which passes the turn on when it has been handed over, or breaks off.
struct Answer {
    body: BoxBody,
    turn: Turn,
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.get_mut().body.as_pin_mut().poll_next(context)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.turn.pass();
    }
}

/// Whether no other request is to be answered after the one with this head.
fn is_last(head: &RequestHead, response: &HttpResponse) -> bool {
    head.method == Method::CONNECT
        || head.connection_type() != ConnectionType::KeepAlive
        || response.head().connection_type() == ConnectionType::Close
}

/// Whether the system has no such call for this file, as some file systems have not.
fn is_refusal(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Shared {
    /// Whoever reads looks again whose turn it is.
    fn wake_unheard(&mut self) {
        if self.unheard {
            self.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Whoever reads waits for its turn.
    pub(crate) fn remember(&mut self, reader: &Waker) {
        match &mut self.reader {
            Some(before) => before.clone_from(reader),
            none => *none = Some(reader.clone()),
        }
    }

    /// All that was handed over has gone out.
    pub(crate) fn flush(&mut self) {
        if !self.flushed {
            self.flushed = true;
            self.wake_unheard();
        }
    }

    /// Whether the server stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Gives the turn to the next request if the one at hand is whole and its answer has gone out.
    pub(crate) fn pass_on(&mut self) {
        if self.answered && self.flushed && matches!(self.phase, Phase::Answering) {
            self.answered = false;
            self.phase = Phase::Head(HeadEnd::default());
        }
    }

    /// Whether a request is whole and has no answer yet.
    pub(crate) fn owes_an_answer(&self) -> bool {
        !self.replied && self.flushed && matches!(self.phase, Phase::Answering)
    }

    /// Whether these bytes are one head, whole, sound and alone. It has been handed out then.
    pub(crate) fn is_one_head(&mut self, bytes: &[u8]) -> bool {
        let is_one =
            HeadEnd::default().find(bytes) == Found::End(bytes.len()) && sound(bytes).is_ok();
        if is_one {
            self.phase = Phase::Decoding;
        }
        is_one
    }

    /// Sends some more of the part of a file, if there is one.
    pub(crate) fn send_on<S: Socket>(
        &mut self,
        stream: &S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Outgoing::Part {
            file,
            offset,
            left,
            body,
        } = &mut self.outgoing
        else {
            return Poll::Ready(Ok(()));
        };
        let refused = match file.descriptor() {
            None => true,
            Some(descriptor) => {
                match ready!(stream.poll_send_file(context, descriptor, *offset, *left)) {
                    // It was longer when it was opened: the answer must not look like a whole one.
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Ok(sent) => {
                        *offset += sent as u64;
                        *left -= sent;
                        self.sent += sent as u64;
                        false
                    }
                    Err(cannot) if is_refusal(&cannot) => true,
                    Err(other) => return Poll::Ready(Err(other)),
                }
            }
        };
        if refused || *left == 0 {
            let (left, body) = (*left, body.take());
            self.outgoing = Outgoing::Sent { left };
            body.into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(()))
    }

    /// How many of these bytes belong to the body that is being handed out. What follows them is the
    /// next request's, or it is wrong.
    pub(crate) fn take_body(&mut self, bytes: &[u8]) -> usize {
        let (taken, ended) = match &mut self.phase {
            Phase::Body(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                (taken, *left == 0)
            }
            Phase::Chunked(chunked) => match chunked.find(bytes) {
                Found::End(end) => (end, true),
                Found::More => (bytes.len(), false),
                Found::Wrong(at) => {
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
