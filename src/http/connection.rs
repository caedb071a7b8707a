//! One connection: its requests one at a time, and its clients not for ever.
//!
//! actix decodes a pipelined request while the one before it is still being answered, and then writes
//! that answer as if it were to the later request: the answer to a GET that a HEAD follows loses its
//! body, and every answer before a `Connection: close` says that it is the last. So a [`Connection`]
//! hands out the bytes of one request, and those of the next when its answer is on its way.
//!
//! It also ends where nobody else looks: when the head of a request does not come to its end in time
//! (actix times the first one only), and when a client does not take its answer.
//!
//! What is no request at all actix refuses by itself, with an empty body; such an answer is replaced by one
//! that says why, as all refusals do.
//!
//! And it sends parts of files that are in memory without a copy of our own, see [`Turn::send`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_web::dev::RequestHead;
use actix_web::http::{ConnectionType, Method, StatusCode, header};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::body::announced;
use super::framing::{ChunkedEnd, Found, HeadEnd};
use super::problem::Problem;
use super::rooms::Place;
use super::socket::Socket;
use crate::disk::Handle;
use crate::wire::Code;

/// How much of the next request is read while one is being answered: enough to notice that the client
/// is gone, and for most a whole request.
const AHEAD: usize = 4096;

/// What is handed out in place of the first byte that is wrong in a head: actix takes it nowhere, and
/// refuses the request, after what is still to be answered.
pub(super) const WRONG: u8 = 0;

/// What is said to a client whose first request does not come to its end.
fn too_slow() -> Vec<u8> {
    let detail = "the head of the request did not come in time";
    Problem::new(Code::Timeout, detail).bare(StatusCode::REQUEST_TIMEOUT)
}

/// What is said where actix, which knows of no codes, has only a status for what is no request.
fn malformed(status: StatusCode) -> Vec<u8> {
    let detail = "this is no request of HTTP/1.1, or has more of a head than is taken";
    Problem::new(Code::MalformedRequest, detail).bare(status)
}

/// How long things may take that a client decides on.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The head of a request, from its first byte, or from the connection's start.
    pub head: Duration,
    /// Taking any more of an answer.
    pub taking: Duration,
}

/// Whose turn it is on a connection: what its [`Connection`] and the service of its requests share.
#[derive(Clone)]
pub struct Turn(Rc<RefCell<Shared>>);

struct Shared {
    phase: Phase,
    /// The request whose body is being handed out has been answered already.
    answered: bool,
    /// Whoever waits for the turn of what has been read ahead.
    reader: Option<Waker>,
    /// The client has said its last word: it is gone, or only listens.
    silent: bool,
    /// Whoever waits for that.
    listener: Option<Waker>,
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

enum Phase {
    /// The head of a request.
    Head(HeadEnd),
    /// A whole head has been handed out, and nobody has said yet what follows.
    Decoding,
    /// So many bytes of a body.
    Body(u64),
    /// A body in chunks.
    Chunked(ChunkedEnd),
    /// The request is whole: what comes belongs to the next.
    Answering,
    /// What was handed out of a head ended with [`WRONG`].
    WrongHead,
    /// A body's framing does not end, which actix would go on reading.
    WrongBody,
    /// The connection ends with this answer.
    Last,
}

impl Turn {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(Shared {
            phase: Phase::Head(HeadEnd::default()),
            answered: false,
            reader: None,
            silent: false,
            listener: None,
            outgoing: Outgoing::Nothing,
            sent: 0,
        })))
    }

    /// Waits until the client has said its last word. One that is gone looks like that, and so does
    /// one that only listens: whoever makes it wait answers at once, and both are served.
    pub async fn silence(&self) {
        poll_fn(|context| {
            let mut shared = self.0.borrow_mut();
            if shared.silent {
                return Poll::Ready(());
            }
            shared.listener = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
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

    /// A request has been decoded, and this is its head.
    pub fn begin(&self, head: &RequestHead) {
        let mut shared = self.0.borrow_mut();
        shared.answered = false;
        shared.sent = 0;
        shared.phase = if head.method == Method::CONNECT {
            Phase::Last
        } else if head.headers().contains_key(header::TRANSFER_ENCODING) {
            Phase::Chunked(ChunkedEnd::default())
        } else {
            match announced(head.headers()) {
                None | Some(0) => Phase::Answering,
                Some(bytes) => Phase::Body(bytes),
            }
        };
        shared.wake();
    }

    /// How many bytes of files [`Turn::send`] has sent for the answer at hand.
    pub fn sent(&self) -> u64 {
        self.0.borrow().sent
    }

    /// Whether something is to go out after what is written now.
    fn has_more(&self) -> bool {
        matches!(self.0.borrow().outgoing, Outgoing::Part { .. })
    }

    /// Its answer is there; `last` if no other request is to be answered on this connection.
    pub fn end(&self, last: bool) {
        let mut shared = self.0.borrow_mut();
        shared.answered = true;
        match shared.phase {
            _ if last => shared.phase = Phase::Last,
            Phase::Answering => shared.phase = Phase::Head(HeadEnd::default()),
            // The rest of its body comes first.
            _ => {}
        }
        shared.wake();
    }
}

/// Whether no other request is to be answered after the one with this head.
pub fn is_last(head: &RequestHead) -> bool {
    head.method == Method::CONNECT || head.connection_type() != ConnectionType::KeepAlive
}

/// Whether the system has no such call for this file, as some file systems have not.
fn is_refusal(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Shared {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn be_silent(&mut self) {
        self.silent = true;
        if let Some(listener) = self.listener.take() {
            listener.wake();
        }
    }

    /// Sends some more of the part of a file, if there is one.
    fn send_on<S: Socket>(
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

    /// Whether bytes may be handed out.
    fn is_open(&self) -> bool {
        matches!(
            self.phase,
            Phase::Head(_) | Phase::Body(_) | Phase::Chunked(_)
        )
    }

    /// How many of these bytes belong to what is being handed out now: at least one, or else what
    /// comes is wrong, as it may also be after those.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let (taken, ended) = match &mut self.phase {
            Phase::Head(head) => {
                let (taken, next) = match head.find(bytes) {
                    Found::More => return bytes.len(),
                    Found::End(end) => (end, Phase::Decoding),
                    Found::Wrong(at) => (at, Phase::WrongHead),
                };
                self.phase = next;
                return taken;
            }
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
                    self.phase = Phase::WrongBody;
                    return at;
                }
            },
            _ => (0, false),
        };
        if ended {
            self.phase = if self.answered {
                Phase::Head(HeadEnd::default())
            } else {
                Phase::Answering
            };
        }
        taken
    }

    /// Hands out what no head has, where the last bytes taken end before something wrong: there is
    /// room for it, since that was read into the buffer too.
    fn end_wrong_head(&self, buffer: &mut ReadBuf<'_>) {
        if matches!(self.phase, Phase::WrongHead) {
            buffer.put_slice(&[WRONG]);
        }
    }
}

/// A stream of requests, each handed out when the one before it has its answer.
pub struct Connection<S> {
    stream: S,
    turn: Turn,
    /// What has been read and belongs to the next request.
    ahead: BytesMut,
    patience: Patience,
    /// No answer has been written yet.
    fresh: bool,
    /// All that has been written has gone out: what comes next is the beginning of an answer.
    flushed: bool,
    /// What is still to go out in place of an answer of actix's own.
    instead: Bytes,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
    /// Its own among all connections.
    place: Option<Place>,
}

impl<S: Socket> Connection<S> {
    /// A connection that has just been accepted.
    pub fn new(stream: S, patience: Patience) -> Self {
        Self {
            stream,
            turn: Turn::new(),
            ahead: BytesMut::new(),
            patience,
            fresh: true,
            flushed: true,
            instead: Bytes::new(),
            reading: None,
            writing: None,
            place: None,
        }
    }

    /// The same with a place, which is free again when it ends.
    pub fn holding(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// What the service of its requests is to tell it through.
    pub fn turn(&self) -> Turn {
        self.turn.clone()
    }

    /// Reads what may be handed out now.
    fn read_on(
        &mut self,
        shared: &mut Shared,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buffer.remaining());
            let taken = shared.take(&self.ahead[..length]);
            buffer.put_slice(&self.ahead[..taken]);
            self.ahead.advance(taken);
            shared.end_wrong_head(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(read) => read?,
            Poll::Pending => return self.time_head(shared, context),
        }
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            let taken = shared.take(read);
            self.ahead.extend_from_slice(&read[taken..]);
            buffer.set_filled(before + taken);
            shared.end_wrong_head(buffer);
        }
        Poll::Ready(Ok(()))
    }

    /// Sees to it that a head that has begun, or the first, comes to its end. A connection that is
    /// idle between two requests is for actix to end.
    fn time_head(&mut self, shared: &Shared, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &shared.phase {
            Phase::Head(head) if self.fresh || head.has_begun() => {}
            _ => {
                self.reading = None;
                return Poll::Pending;
            }
        }
        let patience = self.patience.head;
        let timer = self
            .reading
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(timer.as_mut().poll(context));
        if self.fresh {
            // Best effort: it is closed in any case.
            let _ = Pin::new(&mut self.stream).poll_write(context, &too_slow());
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Looks whether the client is still there, and keeps what it says for its turn.
    fn read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; AHEAD];
        while self.ahead.is_empty() {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Pending
    }

    /// What is to be said instead of this, if it is a refusal of actix's own: one without a word, where nobody
    /// has begun to answer.
    fn better_than(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let phase = &self.turn.0.borrow().phase;
        if !self.flushed || !matches!(phase, Phase::Decoding | Phase::WrongHead) {
            return None;
        }
        let answer = std::str::from_utf8(answer).ok()?;
        let head = answer.strip_prefix("HTTP/1.1 ")?.strip_suffix("\r\n\r\n")?;
        let empty = head.contains("\r\ncontent-length: 0\r\n");
        let status: StatusCode = head.get(..3)?.parse().ok()?;
        (empty && status.is_client_error()).then(|| malformed(status))
    }

    fn poll_write_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.instead.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.instead))?;
            self.instead.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Times how long a client takes nothing.
    fn time_write<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.writing = None;
            return polled;
        }
        let patience = self.patience.taking;
        let timer = self
            .writing
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Socket> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let turn = this.turn.clone();
        let mut shared = turn.0.borrow_mut();
        let before = buffer.filled().len();
        let polled = if matches!(shared.phase, Phase::WrongBody) {
            Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
        } else if shared.is_open() {
            this.read_on(&mut shared, context, buffer)
        } else {
            this.reading = None;
            this.read_ahead(context)
        };
        match &polled {
            // Otherwise it is the socket that wakes.
            Poll::Pending if !this.ahead.is_empty() => {
                shared.reader = Some(context.waker().clone());
            }
            Poll::Pending => {}
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {}
            Poll::Ready(_) => shared.be_silent(),
        }
        polled
    }
}

impl<S: Socket> AsyncWrite for Connection<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.fresh = false;
        if this.instead.is_empty()
            && let Some(better) = this.better_than(bytes)
        {
            this.instead = better.into();
        }
        if this.instead.has_remaining() {
            let polled = this.poll_write_instead(context);
            let written = polled.map_ok(|()| bytes.len());
            return this.time_write(written, context);
        }
        this.flushed = false;
        let polled = if this.turn.has_more() {
            this.stream.poll_write_more(context, bytes)
        } else {
            Pin::new(&mut this.stream).poll_write(context, bytes)
        };
        this.time_write(polled, context)
    }

    /// actix calls this when all that it has to write is written.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        while this.turn.has_more() {
            let turn = this.turn.clone();
            let polled = turn.0.borrow_mut().send_on(&this.stream, context);
            ready!(this.time_write(polled, context))?;
        }
        this.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Grouping, Place, Real};
    use actix_web::http::header::{HeaderName, HeaderValue};
    use futures_util::FutureExt;
    use futures_util::future::{Either, join, select};
    use std::io::{Read, Write};
    use std::pin::pin;
    use tokio::net::UnixStream;

    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// What a server sees of a client that is the test.
    struct Seen {
        connection: Connection<UnixStream>,
        client: std::os::unix::net::UnixStream,
    }

    impl Seen {
        fn new(head: Duration) -> Self {
            let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
            server.set_nonblocking(true).unwrap();
            let patience = Patience { head, taking: head };
            let server = UnixStream::from_std(server).unwrap();
            Self {
                connection: Connection::new(server, patience),
                client,
            }
        }

        fn says(&mut self, bytes: &str) {
            self.client.write_all(bytes.as_bytes()).unwrap();
        }

        async fn read_once(&mut self) -> io::Result<String> {
            let mut bytes = [0; 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            let connection = &mut self.connection;
            poll_fn(|context| Pin::new(&mut *connection).poll_read(context, &mut buffer)).await?;
            Ok(String::from_utf8(buffer.filled().to_vec()).unwrap())
        }

        /// All that is handed out without more being said.
        async fn reads(&mut self) -> String {
            let mut read = String::new();
            // The runtime has to look at the socket first.
            tokio::time::sleep(Duration::from_millis(5)).await;
            while let Some(bytes) = self.read_once().now_or_never() {
                read += &bytes.unwrap();
            }
            read
        }

        fn begin(&self, headers: &[(&'static str, &'static str)]) {
            let mut head = RequestHead::default();
            for (name, value) in headers {
                let value = HeaderValue::from_static(value);
                head.headers.insert(HeaderName::from_static(name), value);
            }
            self.connection.turn().begin(&head);
        }
    }

    fn run(test: impl Future<Output = ()>) {
        actix_web::rt::System::new().block_on(test);
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_next_request_comes_when_the_last_has_its_answer() {
        run(async {
            let mut seen = Seen::new(LONG);
            seen.says(&GET.repeat(3));
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            assert_eq!(seen.reads().await, "");
            seen.connection.turn().end(false);
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            seen.connection.turn().end(true);
            assert_eq!(seen.reads().await, "");
        });
    }

    #[test]
    fn a_body_belongs_to_its_request() {
        run(async {
            for (body, header) in [
                ("hello", ("content-length", "5")),
                ("5\r\nhello\r\n0\r\n\r\n", ("transfer-encoding", "chunked")),
            ] {
                let mut seen = Seen::new(LONG);
                seen.says(&format!("{GET}{body}{GET}"));
                assert_eq!(seen.reads().await, GET);
                seen.begin(&[header]);
                assert_eq!(seen.reads().await, body);
                seen.connection.turn().end(false);
                assert_eq!(seen.reads().await, GET);
                // Answered before the body has come.
                seen.begin(&[header]);
                seen.connection.turn().end(false);
                seen.says(&format!("{body}{GET}"));
                assert_eq!(seen.reads().await, format!("{body}{GET}"));
            }
        });
    }

    #[test]
    fn whoever_waits_is_woken_when_the_turn_comes() {
        run(async {
            let mut seen = Seen::new(LONG);
            seen.says(&GET.repeat(2));
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            let turn = seen.connection.turn();
            let waiting = actix_web::rt::spawn(async move { seen.read_once().await.unwrap() });
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!waiting.is_finished());
            turn.end(false);
            assert_eq!(waiting.await.unwrap(), GET);
        });
    }

    #[test]
    fn a_client_that_goes_away_is_noticed_while_it_is_answered() {
        run(async {
            let mut seen = Seen::new(LONG);
            seen.says(GET);
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            let turn = seen.connection.turn();
            assert!(turn.silence().now_or_never().is_none());
            seen.client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(seen.read_once().await.unwrap(), "");
            assert!(turn.silence().now_or_never().is_some());
        });
    }

    #[test]
    fn a_head_comes_to_its_end_in_time_or_not_at_all() {
        run(async {
            // The first one.
            let mut seen = Seen::new(Duration::from_millis(50));
            seen.says("GET / HT");
            assert_eq!(seen.read_once().await.unwrap(), "GET / HT");
            let late = seen.read_once().await.unwrap_err();
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
            drop(seen.connection);
            let mut answer = Vec::new();
            seen.client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, too_slow());

            // A later one; but between two requests there is time.
            let mut seen = Seen::new(Duration::from_millis(50));
            seen.says(GET);
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            let connection = &mut seen.connection;
            poll_fn(|context| Pin::new(&mut *connection).poll_write(context, b"answer"))
                .await
                .unwrap();
            seen.connection.turn().end(false);
            assert_eq!(seen.reads().await, "");
            let idle = tokio::time::timeout(Duration::from_millis(150), seen.read_once()).await;
            assert!(idle.is_err());
            seen.says("GET / HT");
            assert_eq!(seen.read_once().await.unwrap(), "GET / HT");
            let late = seen.read_once().await.unwrap_err();
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_client_takes_its_answer_or_is_let_go() {
        run(async {
            let mut seen = Seen::new(Duration::from_millis(50));
            let connection = &mut seen.connection;
            let late = loop {
                let write =
                    poll_fn(|context| Pin::new(&mut *connection).poll_write(context, &[0; 65_536]));
                if let Err(error) = write.await {
                    break error;
                }
            };
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        });
    }

    /// A file with this in it.
    fn file(bytes: &[u8]) -> (tempfile::TempDir, Handle) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Real::new(folder.path(), Grouping::Off).unwrap();
        let file = disk.create(&Place::new("file")).unwrap();
        file.append(bytes).unwrap();
        (folder, file)
    }

    #[test]
    fn a_part_of_a_file_is_sent_after_what_was_written() {
        run(async {
            let (_folder, file) = file(b"a file");
            let mut seen = Seen::new(LONG);
            seen.client.set_nonblocking(true).unwrap();
            let turn = seen.connection.turn();
            let connection = &mut seen.connection;
            let sent = async {
                poll_fn(|context| Pin::new(&mut *connection).poll_write(context, b"this is "))
                    .await
                    .unwrap();
                poll_fn(|context| Pin::new(&mut *connection).poll_flush(context)).await
            };
            let (part, flushed) = join(turn.send(file, 2, 4), sent).await;
            flushed.unwrap();
            assert_eq!((part, turn.sent()), (4, 4));
            let mut taken = [0; 100];
            let length = seen.client.read(&mut taken).unwrap();
            assert_eq!(&taken[..length], b"this is file");
        });
    }

    #[test]
    fn a_file_that_has_become_shorter_is_an_error_and_no_end() {
        run(async {
            for there in [b"hello".as_slice(), b""] {
                let (_folder, file) = file(there);
                let mut seen = Seen::new(LONG);
                let turn = seen.connection.turn();
                let connection = &mut seen.connection;
                let flush = poll_fn(|context| Pin::new(&mut *connection).poll_flush(context));
                let sending = pin!(turn.send(file, 0, 6));
                match select(sending, flush).await {
                    Either::Right((Err(error), _)) => {
                        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                    }
                    Either::Right((Ok(()), _)) => panic!("it looks as if all of it were sent"),
                    Either::Left((sent, _)) => panic!("{sent} of 6 bytes are sent"),
                }
                assert_eq!(turn.sent(), there.len() as u64);
            }
        });
    }

    #[test]
    fn the_answer_to_a_slow_client_is_as_long_as_it_says() {
        let text = String::from_utf8(too_slow()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = format!("content-length: {}\r\n", body.len());
        assert!(head.contains(&length), "{length}");
        let problem: crate::wire::ProblemMessage = serde_json::from_str(body).unwrap();
        assert_eq!(
            (problem.status, problem.code),
            (408, crate::wire::Code::Timeout)
        );
    }
}
