//! A connection as actix reads it: its requests one at a time, and its clients not for ever.
//!
//! The page of this folder (`connection/mod.rs`) says why. A [`Connection`] hands out the bytes of one request,
//! and those of the next when the answer to it has gone out. In the place of anything that is no request it
//! hands out a stand-in of its own, which the service knows by its [`Turns`], whatever its bytes. It ends
//! where nobody else looks: when the head of a request does not come to its end in time, when no other request
//! comes, when a client does not take its answer, and when the server stops. And it sends the parts of files
//! that [`Turns::send`] orders.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Scan;
use super::life::Life;
use super::open::Open;
use super::phase::{Phase, TurnState};
use super::refusal::Refusal;
use super::socket::{Socket, Speech};
use super::sound::sound;
use super::turns::Turns;
use super::waits::{Awaited, Patience, Waits};
use crate::model::limits;

/// The request that is handed out in the place of bytes that are none. It does not matter what it asks for.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
/// The stand-in for what was meant to be a HEAD, whose answer has no body.
const STAND_IN_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A stream of requests, each handed out when the one before it has its answer. `P` is held until it ends.
pub struct Connection<S, P> {
    stream: S,
    turns: Turns,
    open: Open,
    number: u64,
    /// The bytes that have been read and not been handed out.
    ahead: BytesMut,
    patience: Patience,
    /// No head has been handed out yet.
    fresh: bool,
    waits: Waits,
    life: Life,
    /// Our side is closed.
    closed: bool,
    _held: P,
}

impl<S: Socket, P: Unpin> Connection<S, P> {
    /// A connection that has just been accepted, entered among the open ones until it is dropped; so long it
    /// holds `held`.
    pub fn new(stream: S, patience: Patience, open: &Open, held: P) -> Self {
        let (number, turns) = open.enter();
        Self {
            stream,
            turns,
            open: open.clone(),
            number,
            ahead: BytesMut::new(),
            patience,
            fresh: true,
            waits: Waits::default(),
            life: Life::default(),
            closed: false,
            _held: held,
        }
    }

    /// The handle by which the service of the requests tells the connection how far it is.
    pub fn turns(&self) -> Turns {
        self.turns.clone()
    }

    /// Gathers the head of a request, and hands it out when it is whole; hands out the stand-in where it is
    /// not sound, too long or too slow.
    fn read_head(
        &mut self,
        state: &mut TurnState,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while let Phase::Head(end) = &mut state.phase {
            let looked_at = end.length();
            match end.find(&self.ahead[looked_at..]) {
                Scan::More => {}
                Scan::End(more) => match sound(&mut self.ahead[..looked_at + more]) {
                    Ok(()) => state.phase = Phase::Handing(looked_at + more),
                    Err(refusal) => self.refuse(state, refusal),
                },
                Scan::Wrong(_) => {
                    let refusal = end.refusal();
                    self.refuse(state, refusal);
                }
            }
            if !matches!(state.phase, Phase::Head(_)) {
                break;
            }
            let before = buffer.filled().len();
            match Pin::new(&mut self.stream).poll_read(context, buffer) {
                Poll::Ready(read) => read?,
                Poll::Pending if ready!(self.time_head(state, context)) => continue,
                Poll::Pending => return Poll::Ready(Ok(())),
            }
            let read = &mut buffer.filled_mut()[before..];
            if read.is_empty() {
                self.life.half_close();
                return Poll::Ready(Ok(()));
            }
            if self.stream.speech() == Speech::InTheClear {
                self.ahead.extend_from_slice(read);
                buffer.set_filled(before);
                self.refuse(state, Refusal::InTheClear);
                break;
            }
            if self.ahead.is_empty() && state.is_one_head(read) {
                // Most come like that, and are where they should be already.
                self.fresh = false;
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(read);
            buffer.set_filled(before);
        }
        self.hand_out(state, buffer);
        Poll::Ready(Ok(()))
    }

    /// Has the stand-in handed out in the place of what has come, and answered with this refusal. Nothing that
    /// comes after it is looked at.
    fn refuse(&mut self, state: &mut TurnState, refusal: Refusal) {
        let begun = self.ahead.iter().position(|byte| !b"\r\n".contains(byte));
        let is_head = self.ahead[begun.unwrap_or(0)..].starts_with(b"HEAD ");
        let stand_in = if is_head { STAND_IN_HEAD } else { STAND_IN };
        self.ahead = stand_in.into();
        state.refusal = Some(refusal);
        state.phase = Phase::Handing(stand_in.len());
    }

    /// Hands out some more of a head.
    fn hand_out(&mut self, state: &mut TurnState, buffer: &mut ReadBuf<'_>) {
        if let Phase::Handing(left) = &mut state.phase {
            let length = (*left).min(buffer.remaining());
            buffer.put_slice(&self.ahead[..length]);
            self.ahead.advance(length);
            *left -= length;
            if *left == 0 {
                self.fresh = false;
                state.phase = Phase::Decoding;
            }
        }
    }

    /// Hands out some of a body.
    fn read_body(
        &mut self,
        state: &mut TurnState,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buffer.remaining());
            let taken = state.take_body(&self.ahead[..length]);
            buffer.put_slice(&self.ahead[..taken]);
            self.ahead.advance(taken);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = &buffer.filled()[before..];
        if read.is_empty() {
            self.life.half_close();
        }
        let taken = state.take_body(read);
        self.ahead.extend_from_slice(&read[taken..]);
        buffer.set_filled(before + taken);
        Poll::Ready(Ok(()))
    }

    /// Ready when the time is up in which a head that has begun comes to its end, or another begins. The value
    /// says whether a refusal is handed out then; otherwise the connection just ends.
    fn time_head(&mut self, state: &mut TurnState, context: &mut Context<'_>) -> Poll<bool> {
        let speech = self.stream.speech();
        let begun = matches!(&state.phase, Phase::Head(end) if end.has_begun())
            || speech == Speech::Greeting;
        let (awaited, patience) = match (begun, state.stopping) {
            (false, true) => (Awaited::LastRequest, limits::LAST_REQUEST),
            (false, false) if !self.fresh => (Awaited::Request, limits::KEEP_ALIVE),
            _ => (Awaited::Head, self.patience.head),
        };
        ready!(self.waits.poll_over(awaited, patience, context));
        let is_heard = matches!(speech, Speech::Open | Speech::InTheClear);
        let is_refused = awaited == Awaited::Head && is_heard;
        if is_refused {
            self.refuse(state, Refusal::TooSlow);
        }
        Poll::Ready(is_refused)
    }

    /// Looks whether the client is still there, and keeps the bytes of its next request for their turn.
    fn read_ahead(&mut self, state: &TurnState, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [MaybeUninit::uninit(); limits::READ_AHEAD];
        while self.ahead.is_empty() && !self.life.is_half_closed() {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                self.life.half_close();
            }
            self.ahead.extend_from_slice(buffer.filled());
        }
        // Nothing more is read now, so no end of the stream will tell that the client is gone.
        (self.life).poll_gone(&mut self.stream, state.owes_an_answer(), context)
    }

    /// Has the socket send what it keeps back, if it keeps anything.
    fn flush_socket(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.time_write(Poll::Pending, context),
            // What follows may have waited for a while already, if nothing has been kept back here.
            Poll::Ready(flushed) => {
                self.note_moved();
                Poll::Ready(flushed)
            }
        }
    }

    /// Begins the client's time to take something anew, if it has taken something of what the socket keeps back.
    fn note_moved(&mut self) {
        if self.stream.has_moved() {
            self.waits.has_moved();
        }
    }

    /// Passes on how a write went, or that the client takes nothing for too long.
    fn time_write<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        self.note_moved();
        self.waits.time_write(polled, self.patience.taking, context)
    }

    /// Reads and throws away what the client still sends, until it closes too, or for [`limits::LINGER`]: if its
    /// bytes found nobody, it would be told that the connection broke off, and lose its answer.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let is_over = (self.waits).poll_over(Awaited::Close, limits::LINGER, context);
        let mut bytes = [MaybeUninit::uninit(); limits::READ_AHEAD];
        while is_over.is_pending() {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<S: Socket, P: Unpin> AsyncRead for Connection<S, P> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let turns = this.turns.clone();
        let mut state = turns.0.borrow_mut();
        state.pass_on();
        let polled = match state.phase {
            Phase::Head(_) => this.read_head(&mut state, context, buffer),
            Phase::Handing(_) => {
                this.hand_out(&mut state, buffer);
                Poll::Ready(Ok(()))
            }
            Phase::Body(_) | Phase::Chunked(_) => this.read_body(&mut state, context, buffer),
            // To actix it ends here, before it is whole.
            Phase::BrokenBody => Poll::Ready(Ok(())),
            Phase::Decoding | Phase::Answering | Phase::Last | Phase::Over => {
                this.read_ahead(&state, context)
            }
        };
        state.more = !this.ahead.is_empty();
        state.unheard = state.more || this.life.is_half_closed();
        if polled.is_pending() {
            // Besides the socket, the service wakes the reader.
            state.remember(context.waker());
        } else if !matches!(state.phase, Phase::Head(_)) {
            this.waits.has_come();
        }
        polled
    }
}

impl<S: Socket, P: Unpin> AsyncWrite for Connection<S, P> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.turns.0.borrow_mut().flushed = false;
        let said = this.life.said_of(bytes)?;
        let rest = &bytes[said..];
        let polled = if this.turns.has_more() {
            this.stream.poll_write_more(context, rest)
        } else {
            Pin::new(&mut this.stream).poll_write(context, rest)
        };
        let written = ready!(this.time_write(polled, context))?;
        this.life.has_written();
        Poll::Ready(Ok(said + written))
    }

    /// Sends the part of a file that is to follow, if there is one: actix flushes when all that it has to write
    /// is written.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.flush_socket(context))?;
        while this.turns.has_more() {
            let turns = this.turns.clone();
            let mut state = turns.0.borrow_mut();
            let polled = state.part.poll_send(&mut this.stream, context);
            state.sent += ready!(this.time_write(polled, context))? as u64;
        }
        ready!(this.flush_socket(context))?;
        this.turns.0.borrow_mut().flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closed {
            let polled = Pin::new(&mut this.stream).poll_shutdown(context);
            ready!(this.time_write(polled, context))?;
            this.closed = true;
        }
        let nothing_comes = match this.turns.0.borrow().phase {
            Phase::Head(_) | Phase::Over => this.ahead.is_empty(),
            _ => false,
        };
        if !nothing_comes && !this.life.is_half_closed() {
            ready!(this.linger(context));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, P> Drop for Connection<S, P> {
    fn drop(&mut self) {
        self.open.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Grouping, Handle, Place, Real};
    use actix_web::HttpResponse;
    use actix_web::body::{BodySize, MessageBody};
    use actix_web::dev::RequestHead;
    use actix_web::http::ConnectionType;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use bytes::Bytes;
    use futures_util::FutureExt;
    use futures_util::future::{Either, join, select};
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::pin::pin;
    use std::rc::Rc;
    use std::time::Duration;
    use tokio::net::UnixStream;

    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// A connection of which the test is the client.
    struct Seen {
        connection: Connection<UnixStream, ()>,
        client: std::os::unix::net::UnixStream,
        open: Open,
    }

    impl Seen {
        fn new(head: Duration) -> Self {
            let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
            server.set_nonblocking(true).unwrap();
            let (patience, open) = (Patience { head, taking: head }, Open::default());
            let server = UnixStream::from_std(server).unwrap();
            Self {
                connection: Connection::new(server, patience, &open, ()),
                open,
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

        /// The request at hand is answered, and the answer has gone out.
        async fn answers(&mut self, last: bool) {
            let mut head = RequestHead::default();
            if last {
                head.set_connection_type(ConnectionType::Close);
            }
            let _ = (self.connection.turns()).end(&head, HttpResponse::Ok().finish());
            self.flushes().await;
        }

        async fn flushes(&mut self) {
            let connection = &mut self.connection;
            poll_fn(|context| Pin::new(&mut *connection).poll_flush(context))
                .await
                .unwrap();
        }

        /// All that its client has got so far.
        fn got(&mut self) -> String {
            let mut got = [0; 1024];
            self.client.set_nonblocking(true).unwrap();
            let length = self.client.read(&mut got).unwrap_or(0);
            String::from_utf8(got[..length].to_vec()).unwrap()
        }

        fn begin(&self, headers: &[(&'static str, &'static str)]) -> Option<Refusal> {
            let mut head = RequestHead::default();
            for (name, value) in headers {
                let value = HeaderValue::from_static(value);
                head.headers.insert(HeaderName::from_static(name), value);
            }
            self.connection.turns().begin(&head)
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
            seen.answers(false).await;
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            seen.answers(true).await;
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
                seen.answers(false).await;
                assert_eq!(seen.reads().await, GET);
                // Answered before the body has come.
                seen.begin(&[header]);
                seen.answers(false).await;
                seen.says(&format!("{body}{GET}"));
                assert_eq!(seen.reads().await, format!("{body}{GET}"));
            }
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
            let turn = seen.connection.turns();
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
                let turn = seen.connection.turns();
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
    fn whoever_waits_is_woken_when_the_turn_comes() {
        run(async {
            let mut seen = Seen::new(LONG);
            seen.says(&GET.repeat(2));
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            let turn = seen.connection.turns();
            let seen = Rc::new(RefCell::new(seen));
            let waiting = actix_web::rt::spawn({
                let seen = Rc::clone(&seen);
                poll_fn(move |context| {
                    let mut bytes = [0; 1024];
                    let mut buffer = ReadBuf::new(&mut bytes);
                    let connection = &mut seen.borrow_mut().connection;
                    ready!(Pin::new(connection).poll_read(context, &mut buffer)).unwrap();
                    Poll::Ready(buffer.filled() == GET.as_bytes())
                })
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!waiting.is_finished());
            drop(turn.end(&RequestHead::default(), HttpResponse::Ok().finish()));
            let flush = |context: &mut Context<'_>| {
                Pin::new(&mut seen.borrow_mut().connection).poll_flush(context)
            };
            poll_fn(flush).await.unwrap();
            let woken = tokio::time::timeout(LONG, waiting).await.unwrap();
            assert!(woken.unwrap());
        });
    }

    #[test]
    fn the_next_request_comes_when_all_of_the_last_answer_has_gone_out() {
        run(async {
            let mut seen = Seen::new(LONG);
            seen.says(&GET.repeat(2));
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            let streamed = HttpResponse::Ok().streaming(futures_util::stream::pending::<
                Result<Bytes, actix_web::Error>,
            >());
            let response = seen
                .connection
                .turns()
                .end(&RequestHead::default(), streamed);
            assert_eq!(response.body().size(), BodySize::Stream);
            seen.flushes().await;
            assert_eq!(seen.reads().await, "");
            drop(response);
            assert_eq!(seen.reads().await, "");
            seen.flushes().await;
            assert_eq!(seen.reads().await, GET);
        });
    }

    #[test]
    fn an_answer_breaks_off_when_all_before_has_gone_out() {
        run(async {
            let mut seen = Seen::new(LONG);
            seen.says(GET);
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            let broken = [Ok(Bytes::from("before")), Err(io::Error::other("broken"))];
            let streamed = HttpResponse::Ok().streaming(futures_util::stream::iter(broken));
            let response = (seen.connection.turns()).end(&RequestHead::default(), streamed);
            let mut body = pin!(response.into_body());
            let mut next = async || poll_fn(|context| body.as_mut().poll_next(context)).await;
            assert_eq!(next().await.unwrap().unwrap(), "before");
            for _ in 0..2 {
                assert!(pin!(next()).now_or_never().is_none());
            }
            let (broken, ()) = tokio::time::timeout(LONG, join(next(), seen.flushes()))
                .await
                .unwrap();
            assert!(broken.unwrap().is_err());
        });
    }

    #[test]
    fn what_asks_for_another_protocol_is_handed_out_without_that() {
        run(async {
            let wish =
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n";
            let handed =
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: close,        \r\nUpgrade:    \r\n\r\n";
            for cut in 0..wish.len() {
                let mut seen = Seen::new(LONG);
                seen.says(&wish[..cut]);
                assert_eq!(seen.reads().await, "", "{cut}");
                seen.says(&(wish[cut..].to_owned() + GET));
                assert_eq!(seen.reads().await, handed, "{cut}");
                seen.begin(&[]);
                seen.answers(false).await;
                assert_eq!(seen.reads().await, GET, "{cut}");
            }
        });
    }

    #[test]
    fn what_is_no_request_is_handed_out_as_another_that_is_known_apart() {
        run(async {
            for (said, refusal) in [
                ("G\u{1}T / HTTP/1.1\r\nhost: x\r\n\r\n", Refusal::Malformed),
                ("GET / HTTP/1.1\r\n\r\n", Refusal::Malformed),
                ("GET / HTTP/1.1\nhost: x\r\n\r\n", Refusal::Malformed),
                (&format!("GET /{}", "x".repeat(64 << 10)), Refusal::TooLong),
                (
                    &format!(
                        "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
                        "a: b\r\n".repeat(120)
                    ),
                    Refusal::TooLong,
                ),
            ] {
                let mut seen = Seen::new(LONG);
                seen.says(said);
                assert_eq!(seen.reads().await.as_bytes(), STAND_IN, "{said}");
                assert_eq!(seen.begin(&[]), Some(refusal), "{said}");
                // Whoever sends the same is only somebody who does.
                let mut seen = Seen::new(LONG);
                seen.says(std::str::from_utf8(STAND_IN).unwrap());
                assert_eq!(seen.reads().await.as_bytes(), STAND_IN);
                assert_eq!(seen.begin(&[]), None);
            }
            // Whoever meant a HEAD awaits no body.
            let mut seen = Seen::new(LONG);
            seen.says("\r\nHEAD / HTTP/1.1\r\n\r\n");
            assert_eq!(seen.reads().await.as_bytes(), STAND_IN_HEAD);
        });
    }

    #[test]
    fn a_head_is_handed_out_whole_wherever_it_is_cut() {
        run(async {
            let two = GET.repeat(2);
            for cut in 0..=two.len() {
                let mut seen = Seen::new(LONG);
                seen.says(&two[..cut]);
                let first = seen.reads().await;
                assert_eq!(first, if cut < GET.len() { "" } else { GET }, "{cut}");
                seen.says(&two[cut..]);
                assert_eq!(first + &seen.reads().await, GET, "{cut}");
                seen.begin(&[]);
                seen.answers(false).await;
                assert_eq!(seen.reads().await, GET, "{cut}");
            }
        });
    }

    #[test]
    fn a_body_in_chunks_that_are_none_ends_before_it_is_whole() {
        run(async {
            let mut seen = Seen::new(LONG);
            seen.says(&format!("{GET}5\r\nhellox\r\n0\r\n\r\n{GET}"));
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[("transfer-encoding", "chunked")]);
            assert_eq!(seen.read_once().await.unwrap(), "5\r\nhello");
            for _ in 0..3 {
                assert_eq!(seen.read_once().await.unwrap(), "");
            }
            assert!(seen.connection.turns().is_body_broken());
        });
    }

    #[test]
    fn a_client_that_only_listens_is_there_and_one_that_is_gone_is_not() {
        run(async {
            let mut seen = Seen::new(LONG);
            seen.says(GET);
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            seen.client.shutdown(std::net::Shutdown::Write).unwrap();
            let wait = limits::LOOK_FOR_LIFE + Duration::from_millis(500);
            let read = tokio::time::timeout(wait, seen.read_once()).await;
            assert!(read.is_err(), "{read:?}");
            // It has been looked at, and what was sent for that is a part of the answer.
            assert_eq!(seen.got(), "H");
            let connection = &mut seen.connection;
            let answer = b"HTTP/1.1 200 OK\r\n\r\n";
            let written = poll_fn(|context| Pin::new(&mut *connection).poll_write(context, answer));
            assert_eq!(written.await.unwrap(), answer.len());
            assert_eq!(seen.got(), "TTP/1.1 200 OK\r\n\r\n");

            let mut seen = Seen::new(LONG);
            seen.says(GET);
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            drop(seen.client);
            let mut bytes = [0; 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            let connection = &mut seen.connection;
            let read =
                poll_fn(|context| Pin::new(&mut *connection).poll_read(context, &mut buffer));
            let gone = read.await.unwrap_err();
            assert_eq!(gone.kind(), io::ErrorKind::ConnectionReset);
        });
    }

    #[test]
    fn a_head_comes_to_its_end_in_time_or_not_at_all() {
        run(async {
            for said in ["", "GET / HT"] {
                let mut seen = Seen::new(Duration::from_millis(50));
                seen.says(said);
                assert_eq!(seen.read_once().await.unwrap().as_bytes(), STAND_IN);
                assert_eq!(seen.begin(&[]), Some(Refusal::TooSlow));
            }

            // A later one; but between two requests there is time.
            let mut seen = Seen::new(Duration::from_millis(50));
            seen.says(GET);
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            seen.answers(false).await;
            let idle = tokio::time::timeout(Duration::from_millis(150), seen.read_once()).await;
            assert!(idle.is_err());
            seen.says("HEAD / HT");
            assert_eq!(seen.read_once().await.unwrap().as_bytes(), STAND_IN_HEAD);
            assert_eq!(seen.begin(&[]), Some(Refusal::TooSlow));
        });
    }

    #[test]
    fn a_server_that_stops_answers_what_it_has_received() {
        run(async {
            let mut seen = Seen::new(LONG);
            seen.says(&GET.repeat(2));
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            seen.open.stop();
            assert!(!seen.connection.turns().should_be_last());
            seen.answers(false).await;
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            assert_eq!(seen.reads().await, "");
            assert!(seen.connection.turns().should_be_last());
            // Somebody who was told before that the connection stays may be about to say more.
            seen.answers(false).await;
            seen.says(GET);
            assert_eq!(seen.reads().await, GET);
            seen.begin(&[]);
            seen.answers(false).await;
            let ended = tokio::time::timeout(2 * limits::LAST_REQUEST, seen.read_once()).await;
            assert_eq!(ended.unwrap().unwrap(), "");
        });
    }

    #[test]
    fn an_idle_connection_hears_that_the_server_stops() {
        run(async {
            let mut seen = Seen::new(LONG);
            let open = seen.open.clone();
            let stop = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                open.stop();
            };
            let both = join(seen.read_once(), stop);
            let (read, ()) = tokio::time::timeout(2 * limits::LAST_REQUEST, both)
                .await
                .unwrap();
            assert_eq!(read.unwrap(), "");
        });
    }
}
