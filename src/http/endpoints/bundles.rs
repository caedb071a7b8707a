//! `/0.1/{user}/bundle`: a part of the chain as one tar, out and in.

use std::io::{self, Read};

use actix_web::body::SizedStream;
use actix_web::dev::RequestHead;
use actix_web::http::{Method, Version, header};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::heads;
use super::tars::{TarPiece, piece, pieces};
use super::transactions::too_many_pending;
use crate::http::answer::error::Error;
use crate::http::answer::outcome::{Answer, CHANGING, IMMUTABLE};
use crate::http::answer::problem::Problem;
use crate::http::blocking::reading;
use crate::http::request::body::Body;
use crate::http::request::choice::Choice;
use crate::http::site::Site;
use crate::model::{UserId, limits};
use crate::store::{self, BundleReader, Counts, Plan, PullBundle, PushBundle, User};
use crate::wire::{BadQuery, BundleMessage, BundleQuery, Code, CountsMessage, TAR};

/// `GET`: 200 with the tar of everything after `from` up to `to`, streamed (with `chunks=none`, the transactions and HEAD
/// alone); its `Content-Location`
/// is the address at which the same bytes can be had again. There, or with `If-Range`, 206 with a
/// part of it and 416 `range`; 304 on `If-None-Match`, 412 `precondition-failed` on `If-Match`. 400
/// `bad-query` (also where `to` comes before `from`), `malformed-id`; 404 `unknown-transaction`
/// where `from` or `to` is not on the chain.
///
/// A part, a HEAD and HTTP/1.0 need the length of the whole: a look at each of its files.
pub async fn get(site: &Site, request: &RequestHead, user: UserId) -> Result<Answer, Error> {
    let query = BundleQuery::parse(request.uri.query())?;
    let plan = plan(site, user, &query).await?;
    let (from, to) = (plan.from.id, plan.to.id);
    // Of other bytes: the tag and the address are others as well.
    let (tail, rest) = match query.chunks {
        true => ("", ""),
        false => ("-none", "&chunks=none"),
    };
    let tag = format!("\"{from}-{to}{tail}\"");
    let ranges = serves_ranges(request, &query);
    let bytes = match needs_length(request, ranges) {
        true => Some(bytes(site, user, &plan).await?),
        false => None,
    };
    let whole = bytes.unwrap_or_default();
    let choice = Choice::of(request.headers(), &tag, whole, ranges && bytes.is_some())?;
    let caching = match query.to {
        Some(_) => IMMUTABLE,
        None => CHANGING,
    };
    // Relative to the request's own address: it says the user's id no more often than that does,
    // and is right behind a proxy that serves this below another path.
    let pinned = format!("bundle?from={from}&to={to}{rest}");
    let mut response = choice.respond(tag, caching, whole);
    response.insert_header((header::CONTENT_LOCATION, pinned));
    if choice == Choice::NotModified {
        return Ok(response.finish().into());
    }
    response
        .insert_header((header::CONTENT_TYPE, TAR))
        .insert_header((header::ACCEPT_RANGES, "bytes"));
    if request.method == Method::HEAD {
        return Ok(Answer::headers_only(response, Some(whole)));
    }
    let (first, length) = (choice.first(), choice.length(bytes));
    let start = reading(site, &user, move |user| start(user, &plan, first, length)).await?;
    let pieces = pieces(user, start, length);
    let response = match length {
        Some(length) => response.body(SizedStream::new(length, pieces)),
        None => response.streaming(pieces),
    };
    Ok(response.into())
}

/// The plan of the bundle that a query asks for.
async fn plan(site: &Site, user: UserId, query: &BundleQuery) -> Result<Plan, Error> {
    let (from, to, limit) = (query.from, query.to, query.limit);
    let found = reading(site, &user, move |user| user.bundle(from, to, limit));
    match found.await? {
        PullBundle::Ready(plan) => Ok(Plan {
            chunks: query.chunks,
            ..plan
        }),
        PullBundle::ToBeforeFrom => Err(BadQuery::ToBeforeFrom.into()),
        PullBundle::UnknownTransaction(id) => {
            let detail = format!("{id} is not on the chain");
            Err(Problem::new(Code::UnknownTransaction, detail).into())
        }
    }
}

/// The length of a bundle, which takes a look at each of its files.
async fn bytes(site: &Site, user: UserId, plan: &Plan) -> Result<u64, Error> {
    let plan = plan.clone();
    reading(site, &user, move |user| user.bundle_bytes(&plan)).await
}

/// Whether parts are served: only of a bundle whose end the request names, by `to` or by `If-Range`.
fn serves_ranges(request: &RequestHead, query: &BundleQuery) -> bool {
    let pinned = query.to.is_some() || request.headers().contains_key(header::IF_RANGE);
    pinned && request.method == Method::GET
}

/// Whether the answer needs the length of the whole. HTTP/1.0 has no other way to tell a whole body from one
/// that broke off.
fn needs_length(request: &RequestHead, ranges: bool) -> bool {
    request.method == Method::HEAD
        || request.version == Version::HTTP_10
        || ranges && request.headers().contains_key(header::RANGE)
}

/// Reads the first piece of a bundle from its byte `first` on: an error of the members in it is the answer, which
/// could only break off if its head had gone out before.
fn start(
    user: &User,
    plan: &Plan,
    first: u64,
    length: Option<u64>,
) -> store::Result<TarPiece<BundleReader>> {
    let mut reader = user.read_bundle(plan)?;
    reader.skip(first)?;
    piece(reader, length.unwrap_or(u64::MAX))
}

/// `POST`: 200, all of the bundle is there and HEAD is the bundle's, with how much was new. 409 with the
/// current head where HEAD may not go there: `unknown-transaction`, `not-a-descendant`,
/// `has-descendants`, `missing-chunks`; all of it is pending then, which is why 507 comes before where there is no
/// room for that. 400 `bad-bundle`,
/// `incomplete-body`; 404 `missing-chunks`; 408 `timeout`; 409 `unknown-parent`,
/// `transaction-exists`, `chunk-exists`; 413 `too-large`; 503 `busy`; 507 `no-space`,
/// `quota-exceeded`.
pub async fn post(site: &Site, body: &mut Body, user: UserId) -> Result<Answer, Error> {
    let permit = site.limiters.pushes.take(body.who(), 1)?;
    let (send, receive) = mpsc::channel(limits::PUSH_PIECES);
    let (tell, mut told) = oneshot::channel();
    let user = site.store.user(user);
    // A thread beyond those that other requests share, since it is held until the client is done sending, and
    // waits for the user's lock.
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let mut incoming = Incoming {
            receive,
            piece: Bytes::new(),
            ended: false,
        };
        match user.push_bundle(&mut incoming) {
            Ok((outcome, leftovers)) => {
                // Nothing more is read. A send that fails has a client that is gone.
                drop(incoming);
                let _ = tell.send(Ok(outcome));
                if let Some(leftovers) = leftovers {
                    leftovers.clear();
                }
            }
            Err(error) => {
                drop(incoming);
                let _ = tell.send(Err(error));
            }
        }
    });
    let broke_off = |_| {
        log::error!("a push broke off");
        Problem::internal()
    };
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut told => break outcome.map_err(broke_off)??,
            next = next_piece(body, &send) => if next? {
                break told.await.map_err(broke_off)??;
            },
        }
    };
    if let PushBundle::Refused { why, .. } = &outcome {
        heads::note_race(site, why);
    }
    answer(outcome)
}

/// Hands the next piece of the body on; returns whether that was the end. Dropped, it loses nothing
/// that matters: the store has answered then.
async fn next_piece(body: &mut Body, send: &mpsc::Sender<Pushed>) -> Result<bool, Problem> {
    let piece = match body.next().await? {
        Some(bytes) => Pushed::More(bytes),
        None => Pushed::End,
    };
    let end = matches!(piece, Pushed::End);
    // Nobody listens any more once the store has answered, which it is about to tell.
    let _ = send.send(piece).await;
    Ok(end)
}

/// A pushed bundle on its way to the store.
enum Pushed {
    More(Bytes),
    End,
}

/// The body of a push, as the store reads it.
struct Incoming {
    receive: mpsc::Receiver<Pushed>,
    piece: Bytes,
    ended: bool,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.receive.blocking_recv() {
                Some(Pushed::More(bytes)) => self.piece = bytes,
                Some(Pushed::End) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = self.piece.len().min(buffer.len());
        let piece = self.piece.split_to(length);
        buffer[..length].copy_from_slice(&piece);
        Ok(length)
    }
}

/// The answer to a push.
fn answer(outcome: PushBundle) -> Result<Answer, Error> {
    let refusal = match outcome {
        PushBundle::Taken {
            head,
            stored,
            existing,
        } => {
            return Ok(Answer::json(&BundleMessage {
                head: head.id,
                seq: head.seq,
                stored: counts(stored),
                existing: counts(existing),
            }));
        }
        PushBundle::Refused { head, why } => heads::refused(head, why),
        PushBundle::Bad(why) => Problem::new(Code::BadBundle, why),
        PushBundle::Cut(_) => Problem::new(Code::IncompleteBody, "the body ended too early"),
        PushBundle::TooLarge { limit } => Problem::too_large(limit),
        PushBundle::UnknownParent(id) => {
            let detail = format!("the parent of {id} is neither in the bundle nor here");
            Problem::new(Code::UnknownParent, detail)
        }
        PushBundle::TransactionExists(id) => {
            let detail =
                format!("{id} stands for a transaction with another parent or other chunks");
            Problem::new(Code::TransactionExists, detail)
        }
        PushBundle::MissingChunks(chunks) => {
            let detail = "chunks that a transaction names are neither in the bundle nor here";
            Problem::new(Code::MissingChunks, detail).missing(chunks)
        }
        PushBundle::ChunkExists(alias) => {
            let detail = format!("the id {alias} stands for other bytes");
            Problem::new(Code::ChunkExists, detail)
        }
        PushBundle::TooManyPending {
            limit,
            used,
            wanted,
        } => too_many_pending(limit, used, wanted),
    };
    Err(refusal.into())
}

fn counts(counts: Counts) -> CountsMessage {
    CountsMessage {
        chunks: counts.chunks,
        transactions: counts.transactions,
        bytes: counts.bytes,
    }
}
