//! The connections of the server: accepting, framing, turns, sending, ending.
//!
//! actix-web parses the requests and writes the answers, but it never gets a connection to itself: between the
//! socket and actix stands a [`Connection`](stream::Connection), which decides what actix reads and when, and
//! sees all that it writes. This page says why.
//!
//! # What stock actix-web does wrong
//!
//! The versions are actix-http 3.20 under actix-web 4.18. Each point was met in this server before it had
//! connections of its own, and has a test.
//!
//! **Pipelined requests.** actix decodes the next request while the one before it is still being answered, and
//! then writes that answer as if it were to the later request: the answer to a GET that a HEAD follows loses
//! its body, and every answer before a `Connection: close` says that it is the last. So a connection hands out
//! the bytes of one request, and those of the next when the answer has gone out ([`turns`], [`phase`]).
//!
//! **Refusals of its own.** Bytes that are no request actix refuses by itself, with a status and an empty body,
//! behind whatever it is writing just then. A program can do nothing with such a refusal, and it cannot be
//! replaced on its way out: a wrapper would have to recognise it by its bytes, and once replaced pieces of
//! chunks that looked like one. So actix never sees anything that it would refuse: a head is handed out when it
//! is whole ([`framing`]) and one that actix takes ([`sound`]), and of a body in chunks only what is one. In
//! the place of anything else goes a stand-in request, which the service knows by its turn, whatever its bytes,
//! and answers when that comes, with a [`refusal`] that says why: 400, 431 or 408.
//!
//! **Lenient framing.** actix takes a line feed alone for a line end, which a proxy in front of it may not, so
//! that the two may see different requests; and a head of 128 KiB. [`framing`] is stricter.
//!
//! **Other protocols.** A request that asks for one by `Upgrade`, as `curl --http2` does with each, actix answers
//! with `connection: upgrade`, as if the connection became another protocol's, and then ends it without a word;
//! for a WebSocket it takes all that follows for the body. We have no other protocol, and a server may ignore
//! the wish (RFC 9110, 7.8): it is made spaces of ([`upgrade`]) before actix sees the head, the request is
//! answered like any other, and the connection stays for the next. CONNECT is none of these: what follows it
//! is meant for somebody else, so its connection ends with the answer.
//!
//! **Clients that are slow.** actix times the head of the first request on a connection and no later one,
//! and not a client that takes nothing of its answer. A connection times both ([`waits`]).
//!
//! **Half-closed clients.** A client may close its sending half and wait for its answer; to read from it looks
//! the same as from one that is gone. [`life`] finds out which it is, by a letter of the answer sent ahead.
//!
//! **Closing.** A socket that is closed while bytes of its client are unread is reset, and the client may lose
//! the answer that it was reading. A connection reads on for a moment before it ends (`linger`).
//!
//! **Copies.** Through actix, each byte of a file is copied into a buffer. [`file_part`] has the system send
//! it from its own memory, behind the head that actix has written.
//!
//! **TLS.** A connection stands on a [`socket`], and one that is secured ([`tls`]) is a socket as any other: the handshake is
//! part of the first head, in whose time it has to come to its end, and the door has counted the connection before it begins.
//!
//! # Why not `HttpServer`, nor actix-server under it
//!
//! `HttpServer` takes no stream of our own: it puts a TCP or Unix socket straight under the HTTP dispatcher, so
//! there is no place for a connection that does the above. actix-server, which it is made of, loses requests
//! when it stops: connections that the system has accepted and no worker has begun with are dropped, and its
//! graceful stop ends a connection behind the answer at hand, although the next request has been received.
//! Here, all connections that the system has accepted are served ([`accept`]), and all requests that have been
//! received are answered before a connection ends ([`open`], [`turns::Turns::should_be_last`]). A client that
//! was told before the stop that its connection stays has a moment for one more request.
//!
//! # The files
//!
//! - [`listen`] binds sockets, [`accept`] accepts connections, [`workers`] serve them, each with a runtime
//! - [`stream`] is the connection as actix reads and writes it, over a [`socket`], perhaps one with [`tls`], by the [`certificates`] of the operator
//! - [`framing`] and [`sound`] judge the bytes of requests; [`refusal`] names the verdicts
//! - [`upgrade`] passes over the wish for another protocol
//! - [`phase`] is where a connection stands between two requests; [`turns`] the service's handle on that
//! - [`waits`], [`life`] and [`open`] end it: for a slow client, a client that is gone, a server that stops
//! - [`file_part`] sends parts of files
//!
//! Nothing here knows of routes, problems or the store.

pub mod accept;
pub mod certificates;
pub mod file_part;
pub mod framing;
pub mod life;
pub mod listen;
pub mod open;
pub mod phase;
pub mod refusal;
pub mod socket;
pub mod sound;
pub mod stream;
pub mod tls;
pub mod turns;
pub mod upgrade;
pub mod waits;
pub mod workers;
