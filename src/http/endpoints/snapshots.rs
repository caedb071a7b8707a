//! `/v1/client/snapshot`: TaskChampion's snapshot, which is the checkpoint where that is of one chunk.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::taskchampion::{NOT_STORED, id, nothing_in_it};
use super::upload::{LongUpload, or_new};
use crate::http::answer::error::Error;
use crate::http::answer::outcome::{Answer, Contents, Resource};
use crate::http::answer::problem::Problem;
use crate::http::blocking::{blocking, reading};
use crate::http::request::body::Body;
use crate::http::site::Site;
use crate::model::{ChunkId, TransactionId, UserId};
use crate::store::{self, PutCheckpoint, User};
use crate::wire::Code;
use crate::wire::taskchampion::{SNAPSHOT, VERSION_ID};

/// `GET …/snapshot`: 200 with the bytes of the snapshot and the id of its version; 404 `no-checkpoint` where there is none.
/// 400 `malformed-id`; 403 `unknown-user`.
pub async fn get(site: &Site, user: UserId) -> Result<Answer, Error> {
    let Some((version, content)) = reading(site, &user, User::snapshot).await? else {
        let detail = "no client has added a snapshot yet";
        return Err(Problem::new(Code::NoCheckpoint, detail).into());
    };
    Ok(Answer::Resource(Resource {
        tag: format!("\"snapshot-{version}\""),
        media: SNAPSHOT,
        caching: NOT_STORED,
        ranges: false,
        more: vec![id(VERSION_ID, version)],
        contents: Contents::File(content, user),
    }))
}

/// `POST …/add-snapshot/{version}`: 200, also where it is not kept: a newer one is there, or one of the same version, or
/// the version is not on the chain. What is kept is durable. 404 `unknown-transaction` for a user without a folder; 400
/// `malformed-id`, `bad-content-type`, `empty-body`, `incomplete-body`; 403 `unknown-user`; 408 `timeout`; 413
/// `too-large`; 503 `busy`; 507 `no-space`, `quota-exceeded`.
pub async fn add(
    site: &Site,
    body: &mut Body,
    user: UserId,
    version: TransactionId,
) -> Result<Answer, Error> {
    let mut upload = LongUpload::new(user);
    if !reading(site, &user, User::is_known).await? {
        let detail = "there is no version of this client";
        return Err(Problem::new(Code::UnknownTransaction, detail).into());
    }
    let piece = upload.read(site, body).await?;
    if body.received() == 0 {
        return Err(nothing_in_it().into());
    }
    let staged = upload.written().await?;
    if reading(site, &user, move |user| is_wanted(user, version)).await? {
        let sealed = blocking(site, &user, move |user| {
            let mut staged = or_new(user, staged)?;
            staged.write(&piece)?;
            staged.seal()
        });
        let sealed = sealed.await?;
        let chunk = ChunkId::Digest(sealed.digest());
        let theirs = site.store.user(user);
        let lock = theirs.shared().await?.ok_or(store::Error::UserGone)?;
        blocking(site, &user, move |_| lock.put_chunk(sealed, &chunk)).await?;
        let lock = theirs.exclusive().await?.ok_or(store::Error::UserGone)?;
        let put = blocking(site, &user, move |_| lock.put_checkpoint(version, &[chunk]));
        if let PutCheckpoint::MissingChunks(_) = put.await? {
            // It was here, and collected before the lock was had.
            return Err(store::Error::Busy.into());
        }
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, NOT_STORED));
    Ok(response.finish().into())
}

/// Whether a snapshot of this version is to be kept.
fn is_wanted(user: &User, version: TransactionId) -> store::Result<bool> {
    let Some(after) = user.listing(version, 1)? else {
        return Ok(false);
    };
    let seq = after.next_seq() - 1;
    if seq == 0 {
        return Ok(false);
    }
    Ok(match user.checkpoint()? {
        None => true,
        Some(present) if present.transaction == version => present.chunks.len() != 1,
        Some(present) => present.seq < seq,
    })
}
