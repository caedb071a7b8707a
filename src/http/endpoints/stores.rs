//! `/0.1/{user}/`: a user's store as a whole.

use actix_web::http::StatusCode;

use crate::http::answer::error::Error;
use crate::http::answer::outcome::Answer;
use crate::http::answer::problem::Problem;
use crate::http::blocking::{blocking, reading};
use crate::http::site::Site;
use crate::model::{Head, UserId, limits};
use crate::store::{self, Frozen, FrozenFile, User};
use crate::wire::{API, CheckpointSummary, Code, LimitsMessage, StoreMessage, UsedMessage};

/// The features of this server, by which a client knows what it may ask for.
const FEATURES: [&str; 6] = [
    "bundle",
    "wait",
    "events",
    "chunks-get",
    "checkpoint",
    "taskchampion",
];

/// `GET`: 200 with the head, the limits, the features, what is used where that is counted, and the checkpoint where there is one; an unknown user reads as
/// empty.
pub async fn get(site: &Site, user: UserId) -> Result<Answer, Error> {
    // The checkpoint first: HEAD has reached its transaction then.
    let (checkpoint, head, used) = reading(site, &user, move |user| {
        let checkpoint = match user.checkpoint() {
            // Nothing but a GET of the checkpoint itself fails for that.
            Err(error @ store::Error::Damaged { .. }) => {
                log::warn!(
                    "user {}: the checkpoint is not told: {error}",
                    user.id().short()
                );
                None
            }
            other => other?,
        };
        let head = user.head()?;
        Ok((checkpoint, head, used(user, head)?))
    })
    .await?;
    Ok(Answer::json(&StoreMessage {
        head: head.id,
        seq: head.seq,
        api: API.to_owned(),
        limits: LimitsMessage {
            chunk_bytes: site.store.options().chunk_bytes,
            transaction_bytes: limits::TRANSACTION_BYTES as u64,
            transaction_chunks: limits::TRANSACTION_CHUNKS as u64,
            bundle_transactions: limits::BUNDLE_TRANSACTIONS,
            missing_ids: limits::MISSING_IDS as u64,
            user_bytes: site.store.options().user_bytes,
            user_files: site.store.options().user_files,
        },
        features: FEATURES.map(str::to_owned).to_vec(),
        used,
        checkpoint: checkpoint.map(CheckpointSummary::from),
    }))
}

/// How much the user has, once that was counted. Nobody is counted who has committed nothing: anybody may ask about any uuid.
fn used(user: &User, head: Head) -> store::Result<Option<UsedMessage>> {
    if head == Head::ROOT {
        return Ok(None);
    }
    let Some((files, bytes)) = user.tally() else {
        user.begin_tally();
        return Ok(None);
    };
    let pending = user.count_pending()? as u64;
    Ok(Some(UsedMessage {
        bytes,
        files,
        pending,
    }))
}

/// `DELETE`: 204, all of it is gone, also when nothing was there; 403 `delete-disabled` unless the
/// operator allows it; 503 `busy`, and `moving` for a user who is on the way here, or has moved elsewhere.
pub async fn delete(site: &Site, user: UserId) -> Result<Answer, Error> {
    if !site.settings.allow_delete {
        let detail = "this server was not started with --allow-delete";
        return Err(Problem::new(Code::DeleteDisabled, detail).into());
    }
    if let Some(lock) = site.store.user(user).though_frozen().exclusive().await? {
        blocking(site, &user, move |_| match lock.frozen()? {
            FrozenFile::Absent | FrozenFile::Holds(Frozen::Frozen | Frozen::Ready) => lock.delete(),
            // All of it is elsewhere, or only a part of it here.
            _ => Err(store::Error::Moving),
        })
        .await?;
    }
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}
