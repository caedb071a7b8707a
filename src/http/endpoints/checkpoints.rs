//! `/0.1/{user}/checkpoint`: a state that a new device can start from.

use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::http::answer::error::Error;
use crate::http::answer::json;
use crate::http::answer::outcome::{Answer, CHANGING, Contents, Resource};
use crate::http::answer::problem::Problem;
use crate::http::blocking::{blocking, reading};
use crate::http::request::body::Body;
use crate::http::request::conditions::may_change;
use crate::http::site::Site;
use crate::model::{Checkpoint, ChunkId, UserId, limits};
use crate::rules::proposal;
use crate::store::PutCheckpoint;
use crate::wire::{CheckpointMessage, Code, JSON, Malformed, ProposedCheckpoint, parse_checkpoint};

/// `GET`: 200 with the newest checkpoint, 304 when `If-None-Match` names it; 412 `precondition-failed` when `If-Match`
/// does not. 404 `no-checkpoint`, also where its transaction is not on the chain.
pub async fn get(site: &Site, user: UserId) -> Result<Answer, Error> {
    let found = reading(site, &user, move |user| Ok(user.checkpoint()?.map(told)));
    let (tag, bytes) = found.await?.ok_or_else(|| {
        let detail = "no device has put a checkpoint yet";
        Problem::new(Code::NoCheckpoint, detail)
    })?;
    Ok(Answer::Resource(Resource {
        tag,
        media: JSON,
        caching: CHANGING,
        ranges: false,
        more: Vec::new(),
        contents: Contents::Memory(bytes),
    }))
}

/// The entity tag of a checkpoint, and the answer that tells it: two devices may put different ones of one transaction, so
/// the tag is of all of it.
fn told(checkpoint: Checkpoint) -> (String, Bytes) {
    let bytes = json(&CheckpointMessage::from(checkpoint));
    (
        format!("\"{}\"", hex::encode(Sha256::digest(&bytes))),
        bytes,
    )
}

/// `PUT`: 204, it is the checkpoint, also when it was before. 412 `precondition-failed` where `If-Match` does not name
/// the present one: that is looked at under the lock under which it is replaced. 404 `missing-chunks`; 409
/// `unknown-transaction` and `checkpoint-older`, each with the current head. 400 `malformed-json`, `malformed-id`, also
/// of a uuid where chunks have none; 413 `too-large`, also of too many chunks; 503 `busy`; 507 `no-space`, `quota-exceeded`.
pub async fn put(
    site: &Site,
    request: &RequestHead,
    body: &mut Body,
    user: UserId,
) -> Result<Answer, Error> {
    let text = body
        .gather(limits::TRANSACTION_BYTES, Problem::too_large)
        .await?;
    let uuids = site.store.options().uuid_chunk_ids;
    let proposed = text.read(move |text| propose(text, uuids)).await??;
    let headers = request.headers().clone();
    let Some(lock) = site.store.user(user).exclusive().await? else {
        let head = blocking(site, &user, move |user| user.head()).await?;
        return match may_replace(&headers, None) {
            true => answer(PutCheckpoint::UnknownTransaction { head }),
            false => Err(other_than_named().into()),
        };
    };
    let put = blocking(site, &user, move |_| {
        if headers.contains_key(header::IF_MATCH) && !may_replace(&headers, lock.checkpoint_now()?)
        {
            return Ok(None);
        }
        lock.put_checkpoint(proposed.transaction, &proposed.chunks)
            .map(Some)
    });
    match put.await? {
        Some(outcome) => answer(outcome),
        None => Err(other_than_named().into()),
    }
}

/// Reads the body.
fn propose(text: &[u8], uuids: bool) -> Result<ProposedCheckpoint, Problem> {
    let proposed = parse_checkpoint(text).map_err(|malformed| match malformed {
        Malformed::TooManyChunks => {
            let limit = limits::TRANSACTION_CHUNKS as u64;
            let detail = format!("a checkpoint names at most {limit} chunks");
            Problem::new(Code::TooLarge, detail).limit(limit)
        }
        other => other.into(),
    })?;
    let is_chunk_id = |id: &ChunkId| proposal::is_chunk_id(id, uuids);
    if !proposed.chunks.iter().all(is_chunk_id) {
        return Err(super::chunks::not_a_chunk_id());
    }
    Ok(proposed)
}

/// Whether `If-Match` lets a request replace what there is.
fn may_replace(headers: &HeaderMap, present: Option<Checkpoint>) -> bool {
    match present.map(told) {
        Some((tag, _)) => may_change(headers, &tag),
        None => !headers.contains_key(header::IF_MATCH),
    }
}

fn other_than_named() -> Problem {
    let detail = "the checkpoint is another one than If-Match names, or there is none";
    Problem::new(Code::PreconditionFailed, detail)
}

fn answer(outcome: PutCheckpoint) -> Result<Answer, Error> {
    let problem = match outcome {
        PutCheckpoint::Stored => return Ok(Answer::empty(StatusCode::NO_CONTENT)),
        PutCheckpoint::UnknownTransaction { head } => {
            let detail = "its transaction is not on the chain, or is the root";
            Problem::of_advance(Code::UnknownTransaction, detail, head)
        }
        PutCheckpoint::Older { head, present } => {
            let detail = "there is a checkpoint of a later transaction";
            Problem::of_advance(Code::CheckpointOlder, detail, head).checkpoint(present.into())
        }
        PutCheckpoint::MissingChunks(missing) => {
            let detail = "chunks that it names are not here";
            Problem::new(Code::MissingChunks, detail).missing(missing)
        }
    };
    Err(problem.into())
}
