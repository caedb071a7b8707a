//! `/v1/client`: the sync protocol of TaskChampion, which Taskwarrior speaks, over the same store. A version is a
//! transaction of one chunk, and the newest one is HEAD. Statuses, headers and bodies are those of
//! taskchampion-sync-server; refusals have a problem beside them.

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderName, HeaderValue};

use super::upload::{LongUpload, or_new};
use super::urgency::wanted;
use crate::http::answer::error::Error;
use crate::http::answer::outcome::{Answer, Contents, Resource};
use crate::http::answer::problem::Problem;
use crate::http::blocking::{blocking, mend, reading};
use crate::http::request::body::Body;
use crate::http::site::Site;
use crate::model::{Head, TransactionId, UserId};
use crate::rules::snapshots::Urgency;
use crate::store::{self, Addition, Append, Child, Exclusive};
use crate::wire::Code;
use crate::wire::taskchampion::{HISTORY_SEGMENT, PARENT_VERSION_ID, SNAPSHOT_REQUEST, VERSION_ID};

/// The caching of answers that belong to a user whom the address does not name.
pub(super) const NOT_STORED: &str = "no-store, max-age=0";

/// Refuses a body of another media type than this one.
///
/// # Errors
/// 400 `bad-content-type`
pub fn check_media(request: &RequestHead, media: &str) -> Result<(), Problem> {
    let said = request.headers().get(header::CONTENT_TYPE);
    let said = said.and_then(|said| said.as_bytes().split(|&byte| byte == b';').next());
    // Names of media are the same in either case (RFC 9110, 8.3.1).
    if said.is_some_and(|said| said.trim_ascii().eq_ignore_ascii_case(media.as_bytes())) {
        return Ok(());
    }
    let detail = format!("the body is to be {media}");
    Err(Problem::new(Code::BadContentType, detail))
}

/// `GET …/get-child-version/{parent}`: 200 with the bytes of the version that follows, and both of their ids; 404
/// `unknown-transaction` where a version may be added to this one, which is the newest, or there is none at all; 410
/// `gone` where the parent is not on the chain, or a transaction follows that is no version. 400 `malformed-id`; 403
/// `unknown-user`.
pub async fn child(site: &Site, user: UserId, parent: TransactionId) -> Result<Answer, Error> {
    match reading(site, &user, move |user| user.child(parent)).await? {
        Child::Chunk(version, content) => Ok(Answer::Resource(Resource {
            tag: format!("\"{version}\""),
            media: HISTORY_SEGMENT,
            caching: NOT_STORED,
            ranges: false,
            more: vec![id(VERSION_ID, version), id(PARENT_VERSION_ID, parent)],
            contents: Contents::File(content, user),
        })),
        Child::NotYet => {
            let detail = "no version follows this one yet";
            Err(Problem::new(Code::UnknownTransaction, detail).into())
        }
        Child::Gone => {
            let detail = "it is no version of this chain, or what follows it is none";
            Err(Problem::new(Code::Gone, detail).into())
        }
    }
}

/// `POST …/add-version/{parent}`: 200 with the id of the new version, durable and the newest, and whether a snapshot is wanted. 409
/// `not-a-descendant` with the newest version, which the next one is to follow, where that is not the parent; where
/// there is none, any parent will do but one that is pending. 400 `malformed-id`, `bad-content-type`, `empty-body`,
/// `incomplete-body`; 403 `unknown-user`; 408 `timeout`; 413 `too-large`; 503 `busy`; 507 `no-space`,
/// `quota-exceeded`.
///
/// A 409 whose newest version is the sender's own says that an earlier try got through: the client asks for it next.
pub async fn add(
    site: &Site,
    body: &mut Body,
    user: UserId,
    parent: TransactionId,
) -> Result<Answer, Error> {
    let before = site.store.user(user).mends();
    let mut upload = LongUpload::new(user);
    let piece = upload.read(site, body).await?;
    if body.received() == 0 {
        return Err(nothing_in_it().into());
    }
    let staged = upload.written().await?;
    let begun = blocking(site, &user, move |user| {
        let mut staged = or_new(user, staged)?;
        staged.write(&piece)?;
        let addition = match user.addition(parent, new_id(), staged)? {
            Ok(addition) => addition,
            Err(head) => return Ok(FirstStep::Ended(Append::Refused(head))),
        };
        Ok(match user.exclusive_now() {
            Some(lock) => FirstStep::Ended(lock?.append(addition, false)?),
            None => FirstStep::Waiting(addition),
        })
    });
    let appended = match begun.await? {
        FirstStep::Ended(appended) => appended,
        FirstStep::Waiting(addition) => append(site, user, addition, false).await?,
    };
    let appended = match appended {
        Append::LogIsWrong(addition) => {
            mend(site, &user, before).await?;
            append(site, user, *addition, true).await?
        }
        other => other,
    };
    match appended {
        Append::Appended(head) => Ok(added(head, wanted(site, user, head).await).into()),
        Append::Refused(head) => Err(refused(head).into()),
        // Where the mending did not help, the advance has said why.
        Append::LogIsWrong(_) => Err(store::Error::Busy.into()),
    }
}

/// The refusal of a body without a byte.
pub(super) fn nothing_in_it() -> Problem {
    Problem::new(Code::EmptyBody, "there is at least one byte in it")
}

/// An id that nobody has used.
fn new_id() -> TransactionId {
    TransactionId::from_bytes(*uuid::Uuid::new_v4().as_bytes())
}

/// The end of the first piece of work on a version.
enum FirstStep {
    Ended(Append),
    /// The lock was not to be had without waiting.
    Waiting(Addition),
}

/// Adds to the chain under the lock, which is waited for without a thread.
async fn append(
    site: &Site,
    user: UserId,
    addition: Addition,
    rebuild: bool,
) -> Result<Append, Error> {
    let lock: Option<Exclusive> = site.store.user(user).exclusive().await?;
    let lock = lock.ok_or(store::Error::UserGone)?;
    blocking(site, &user, move |_| lock.append(addition, rebuild)).await
}

fn added(head: Head, snapshot: Option<Urgency>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .insert_header(id(VERSION_ID, head.id))
        .insert_header((header::CACHE_CONTROL, NOT_STORED));
    match snapshot {
        Some(Urgency::High) => response.insert_header((SNAPSHOT_REQUEST, "urgency=high")),
        Some(Urgency::Low) => response.insert_header((SNAPSHOT_REQUEST, "urgency=low")),
        None => &mut response,
    };
    response.finish()
}

/// The refusal of a version that does not follow the newest.
fn refused(head: Head) -> Problem {
    let detail = "a version is to follow the newest, which is another one";
    Problem::of_advance(Code::NotADescendant, detail, head).with_header(
        HeaderName::from_static(PARENT_VERSION_ID),
        head.id.to_string(),
    )
}

pub(super) fn id(name: &'static str, id: TransactionId) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(&id.to_string());
    let value = value.expect("an id is of hex digits and hyphens");
    (HeaderName::from_static(name), value)
}
