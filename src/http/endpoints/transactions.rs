//! `/0.1/{user}/transactions`: the chain, and what it is made of.

use std::fmt::Write;
use std::io;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HttpDate, TryIntoHeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::http::answer::error::Error;
use crate::http::answer::file::broken_off;
use crate::http::answer::json;
use crate::http::answer::outcome::{Answer, CHANGING, Contents, IMMUTABLE, Resource};
use crate::http::answer::problem::Problem;
use crate::http::blocking::{blocking, reading};
use crate::http::request::body::Body;
use crate::http::site::Site;
use crate::http::work::for_user;
use crate::model::{TransactionId, UserId, limits};
use crate::rules::proposal::{self, Flaw};
use crate::store::{self, Draft, Listing, Proposal, PutMode, PutTransaction};
use crate::wire::{Code, JSON, ListingQuery, NewestQuery, TransactionMessage, parse_transaction};

/// The length of an id in a listing, with its quotes and a comma.
const ENTRY: usize = 39;

/// The text after the last id of a listing.
const END: &str = "]}\n";

/// `GET …/transactions`: 200 with the ids after `from` up to HEAD, oldest first; or the `last` ones up to `to`, with the
/// number of the one before them. 400 `bad-query`, `malformed-id`; 404 `unknown-transaction` where `from` or `to` is not on
/// the chain.
pub async fn list(site: &Site, request: &RequestHead, user: UserId) -> Result<Answer, Error> {
    let newest = NewestQuery::parse(request.uri.query())?;
    let query = match newest {
        Some(_) => ListingQuery::parse(None)?,
        None => ListingQuery::parse(request.uri.query())?,
    };
    let found = reading(site, &user, move |user| {
        let (opening, mut listing) = match newest {
            Some(NewestQuery { last, to }) => match user.newest(last, to)? {
                Some((before, listing)) => (opening(before.id, Some(before.seq), last), listing),
                None => return Ok(None),
            },
            None => match user.listing(query.from, query.limit)? {
                Some(listing) => (opening(query.from, None, query.limit), listing),
                None => return Ok(None),
            },
        };
        let count = listing.left();
        let start = ids(&mut listing, true)?;
        Ok(Some((opening, listing, count, start)))
    });
    let Some((opening, listing, count, start)) = found.await? else {
        return Err(unknown().into());
    };
    let commas = count.saturating_sub(1);
    let length = opening.len() as u64 + count * (ENTRY as u64 - 1) + commas + END.len() as u64;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, CHANGING));
    if request.method == Method::HEAD {
        return Ok(Answer::headers_only(response, Some(length)));
    }
    let start = opening + &start;
    let response = if listing.left() == 0 {
        response.body(start + END)
    } else {
        let rest = rest(user, start, listing);
        response.body(SizedStream::new(length, rest))
    };
    Ok(response.into())
}

/// The text before the first id of a listing: the transaction before it, and where the end of the chain was asked for,
/// that one's number.
fn opening(from: TransactionId, seq: Option<u64>, limit: u64) -> String {
    let seq = seq.map(|seq| format!(r#""seq":{seq},"#));
    let seq = seq.unwrap_or_default();
    format!(r#"{{"from":"{from}",{seq}"limit":{limit},"transactions":["#)
}

/// The next ids as they stand in the answer, so many as fit a piece; none at the end.
fn ids(listing: &mut Listing, first: bool) -> store::Result<String> {
    let read = listing.read(limits::PIECE / ENTRY)?;
    let mut text = String::with_capacity(read.len() * ENTRY);
    for (index, id) in read.iter().enumerate() {
        let comma = if first && index == 0 { "" } else { "," };
        write!(text, "{comma}\"{id}\"").expect("a String takes whatever is written");
    }
    Ok(text)
}

/// The text of a listing from `start` on. A failure is logged, and breaks the connection off, which never looks
/// like an end.
fn rest(user: UserId, start: String, listing: Listing) -> impl Stream<Item = io::Result<Bytes>> {
    let start = stream::iter([Ok(Bytes::from(start))]);
    let rest = stream::try_unfold(Some(listing), move |listing| async move {
        let Some(mut listing) = listing else {
            return Ok(None);
        };
        let read = for_user(&user, move || {
            let text = if listing.left() == 0 {
                return Ok((END.to_owned(), None));
            } else {
                ids(&mut listing, false)?
            };
            Ok((text, Some(listing)))
        });
        let read: store::Result<_> = read.await.map_err(broken_off)?;
        let (text, listing) = read.map_err(broken_off)?;
        Ok(Some((Bytes::from(text), listing)))
    });
    stream::StreamExt::chain(start, rest)
}

/// `GET …/transactions/{transaction}`: 200 with one that is on the chain, or the root; 206, 304, 412
/// and 416 as for any file. `Last-Modified` is when its file was made: when it was uploaded. 404 `unknown-transaction`, also for one that is pending or dead.
pub async fn get(site: &Site, user: UserId, id: TransactionId) -> Result<Answer, Error> {
    let mut more = Vec::new();
    let contents = if id == TransactionId::ROOT {
        // The root is stored nowhere; but the store decides whether the user is served at all.
        blocking(site, &user, move |user| user.head()).await?;
        Contents::Memory(json(&TransactionMessage::root()))
    } else {
        let found = reading(site, &user, move |user| user.transaction(id)).await?;
        let found = found.ok_or_else(unknown)?;
        let made = found.handle.opened().map_err(store::Error::from)?.modified;
        let made = HttpDate::from(made).try_into_value();
        more.extend(made.map(|made| (header::LAST_MODIFIED, made)));
        Contents::File(found, user)
    };
    Ok(Answer::Resource(Resource {
        tag: format!("\"{id}\""),
        media: JSON,
        caching: IMMUTABLE,
        ranges: true,
        more,
        contents,
    }))
}

/// `PUT …/transactions/{transaction}`: 201, it is there and pending, also when it was before. 400
/// `malformed-json`, `malformed-id`, `invalid-transaction`, also for one that is too long; 404
/// `missing-chunks`; 409 `unknown-parent`, `transaction-exists`; 503 `busy`; 507 `no-space`,
/// `quota-exceeded`.
pub async fn put(
    site: &Site,
    body: &mut Body,
    user: UserId,
    id: TransactionId,
) -> Result<Answer, Error> {
    let text = body.gather(limits::TRANSACTION_BYTES, too_long).await?;
    let uuids = site.store.options().uuid_chunk_ids;
    let proposal = text.read(move |text| propose(text, id, uuids)).await??;
    let outcome = match put_under(site, user, proposal, site.store.mode_to_put()).await? {
        PutTransaction::Crowded(proposal) => {
            put_under(site, user, *proposal, PutMode::Exclusive).await?
        }
        outcome => outcome,
    };
    match outcome {
        PutTransaction::Accepted => Ok(Answer::empty(StatusCode::CREATED)),
        refused => Err(refusal(refused).into()),
    }
}

async fn put_under(
    site: &Site,
    user: UserId,
    proposal: Proposal,
    mode: PutMode,
) -> Result<PutTransaction, Error> {
    Ok(match draft(site, user, proposal, mode).await? {
        Drafted::Put(outcome) => outcome,
        Drafted::Waiting(draft) => {
            let lock = site.store.user(user).lock_to_put(mode).await?;
            let lock = lock.ok_or(store::Error::UserGone)?;
            blocking(site, &user, move |_| lock.put_transaction(draft)).await?
        }
    })
}

/// The end of the work that writes a transaction.
enum Drafted {
    Put(PutTransaction),
    /// The lock was not to be had without waiting.
    Waiting(Draft),
}

/// Writes a transaction, and puts it if that needs no waiting. Where `log` must be mended first, that comes
/// before.
async fn draft(
    site: &Site,
    user: UserId,
    mut proposal: Proposal,
    mode: PutMode,
) -> Result<Drafted, Error> {
    let parent = proposal.parent;
    for _ in 0..limits::LOG_LOOKS {
        let drafted = blocking(site, &user, move |user| {
            let parent_seq = match user.parent_now(parent) {
                Err(store::Error::LogIsWrong) => return Ok(Err(proposal)),
                other => other?,
            };
            let draft = user.draft_after(proposal, parent_seq)?;
            Ok(Ok(match user.lock_to_put_now(mode) {
                Some(lock) => Drafted::Put(lock?.put_transaction(draft)?),
                None => Drafted::Waiting(draft),
            }))
        });
        match drafted.await? {
            Ok(drafted) => return Ok(drafted),
            Err(not_begun) => proposal = not_begun,
        }
        reading(site, &user, move |user| user.parent_now(parent)).await?;
    }
    Err(site.store.user(user).still_wrong().into())
}

/// Reads a proposal from the body of a request.
fn propose(text: &[u8], id: TransactionId, uuids: bool) -> Result<Proposal, Problem> {
    let proposed = parse_transaction(text, id)?;
    let invalid = |detail| Err(Problem::new(Code::InvalidTransaction, detail));
    match proposal::flaw(id, proposed.parent, &proposed.chunks, uuids) {
        Some(Flaw::NotAChunkId) => Err(super::chunks::not_a_chunk_id()),
        Some(Flaw::IsTheRoot) => invalid("the root is there from the start"),
        Some(Flaw::OwnParent) => invalid("a transaction is not its own parent"),
        None => Ok(Proposal {
            id,
            parent: proposed.parent,
            chunks: proposed.chunks,
            seq: proposed.seq,
        }),
    }
}

/// The refusal of a transaction that is longer than it may be.
pub(in crate::http) fn too_long(limit: u64) -> Problem {
    let detail = format!("a transaction is at most {limit} bytes long");
    Problem::new(Code::InvalidTransaction, detail).limit(limit)
}

/// The problem of a transaction that the store refused.
fn refusal(refused: PutTransaction) -> Problem {
    match refused {
        PutTransaction::Accepted => unreachable!("an acceptance is not a refusal"),
        PutTransaction::UnknownParent => {
            Problem::new(Code::UnknownParent, "its parent is not here")
        }
        PutTransaction::TransactionExists => Problem::new(
            Code::TransactionExists,
            "the id stands for a transaction with another parent or other chunks",
        ),
        PutTransaction::MissingChunks(chunks) => {
            Problem::new(Code::MissingChunks, "chunks that it names are not here").missing(chunks)
        }
        PutTransaction::WrongSeq { expected } => Problem::new(
            Code::InvalidTransaction,
            format!("seq is the parent's plus one, which is {expected}"),
        ),
        PutTransaction::TooManyPending { limit, used } => too_many_pending(limit, used, 1),
        PutTransaction::Crowded(_) => {
            Problem::busy("there is hardly room for more that is pending")
        }
    }
}

/// The refusal of so many more transactions (`wanted`) that would be pending beside the `used` ones of `limit`, with
/// advice. HEAD may go only where nothing follows, so the last of a line makes room.
pub(super) fn too_many_pending(limit: usize, used: usize, wanted: usize) -> Problem {
    let mut detail = format!(
        "{used} transactions that HEAD can still reach are pending, and with {wanted} more they would be more than \
         the {limit} that may be: "
    );
    if used > 0 {
        detail += "advance HEAD to the last of a line of them (which makes room for as many as it reaches, and \
                   for all that it leaves behind), or ";
    }
    detail += "send one line as a bundle whose HEAD is the last of it (which needs no room)";
    Problem::new(Code::QuotaExceeded, detail)
        .limit(limit as u64)
        .used(used as u64)
}

/// The refusal of a transaction that is not on the chain.
fn unknown() -> Problem {
    Problem::new(
        Code::UnknownTransaction,
        "there is no such transaction on the chain",
    )
}
