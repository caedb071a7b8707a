//! `/0.1/{user}/chunks/{chunk}`: immutable bytes.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};

use super::upload::{LongUpload, or_new};
use crate::http::answer::error::Error;
use crate::http::answer::outcome::{Answer, Contents, IMMUTABLE, Resource};
use crate::http::answer::problem::Problem;
use crate::http::blocking::blocking;
use crate::http::request::body::Body;
use crate::http::site::Site;
use crate::model::{ChunkId, UserId};
use crate::rules::proposal;
use crate::store::{self, PutChunk, Sealed};
use crate::wire::{Code, OCTETS};

/// The policy of bytes that a browser is made to show: nothing of them runs. They may be anybody's.
const POLICY: &str = "default-src 'none'; sandbox";

/// `GET`: 200 with the bytes, 206 with some of them, 304 when `If-None-Match` names the chunk. 400
/// `malformed-id`; 404 `unknown-chunk`; 412 `precondition-failed`; 416 `range`.
pub async fn get(site: &Site, user: UserId, id: ChunkId) -> Result<Answer, Error> {
    check(site, &id)?;
    // In place: a look-up that the kernel has in memory costs less than the way to a thread.
    let found = site.store.user(user).chunk(&id)?;
    let unknown = || Problem::new(Code::UnknownChunk, "there is no such chunk");
    Ok(Answer::Resource(Resource {
        tag: format!("\"{id}\""),
        media: OCTETS,
        caching: IMMUTABLE,
        ranges: true,
        more: vec![(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        )],
        contents: Contents::File(found.ok_or_else(unknown)?, user),
    }))
}

/// `PUT`: 201, the bytes are there, also when they were before. 400 `malformed-id`, `digest-mismatch`,
/// `incomplete-body`; 408 `timeout`; 409 `chunk-exists` (uuids only); 413 `too-large`; 503 `busy`;
/// 507 `no-space`, `quota-exceeded`.
///
/// A short body is stored in a group with others that come at the time, if uploads share their syncs; a
/// longer one is written and hashed while it comes, with two pieces of it in memory at most.
pub async fn put(site: &Site, body: &mut Body, user: UserId, id: ChunkId) -> Result<Answer, Error> {
    check(site, &id)?;
    let mut upload = LongUpload::new(user);
    let piece = upload.read(site, body).await?;
    let stored = match id {
        ChunkId::Digest(digest) if upload.is_short() && site.settings.together => {
            site.group_commit.put(user, digest, piece).await?
        }
        _ => finish(site, upload, piece, user, id).await?,
    };
    match stored {
        PutChunk::Stored => Ok(Answer::empty(StatusCode::CREATED)),
        PutChunk::DigestMismatch { actual } => {
            let detail = format!("the SHA-256 of these bytes is {actual}");
            Err(Problem::new(Code::DigestMismatch, detail).into())
        }
        PutChunk::ChunkExists => {
            let detail = "the id stands for other bytes";
            Err(Problem::new(Code::ChunkExists, detail).into())
        }
    }
}

/// Refuses an id that this server takes for no chunk's.
pub(super) fn check(site: &Site, id: &ChunkId) -> Result<(), Problem> {
    match proposal::is_chunk_id(id, site.store.options().uuid_chunk_ids) {
        true => Ok(()),
        false => Err(not_a_chunk_id()),
    }
}

/// The refusal of a uuid for a chunk, where only digests are chunk ids.
pub(super) fn not_a_chunk_id() -> Problem {
    Problem::new(
        Code::MalformedId,
        "not a chunk id (64 hex digits in lower case); uuids are taken with --uuid-chunk-ids",
    )
}

/// The end of the last piece of work of an upload.
enum Stored {
    Put(PutChunk),
    /// The lock was not to be had without waiting.
    Waiting(Sealed),
}

/// Writes the last piece, makes all of it durable, and gives it its name. The lock is taken only
/// then.
async fn finish(
    site: &Site,
    mut upload: LongUpload,
    piece: Vec<u8>,
    user: UserId,
    id: ChunkId,
) -> Result<PutChunk, Error> {
    let staged = upload.written().await?;
    let stored = blocking(site, &user, move |user| {
        let mut staged = or_new(user, staged)?;
        staged.write(&piece)?;
        let sealed = staged.seal()?;
        Ok(match user.shared_now() {
            Some(lock) => Stored::Put(lock?.put_chunk(sealed, &id)?),
            None => Stored::Waiting(sealed),
        })
    });
    match stored.await? {
        Stored::Put(put) => Ok(put),
        Stored::Waiting(sealed) => {
            let lock = site.store.user(user).shared().await?;
            let lock = lock.ok_or(store::Error::UserGone)?;
            blocking(site, &user, move |_| lock.put_chunk(sealed, &id)).await
        }
    }
}
