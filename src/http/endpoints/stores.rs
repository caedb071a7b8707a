//! `/0.1/{user}/`: a user's store as a whole.

use actix_web::http::StatusCode;

use crate::http::answer::error::Error;
use crate::http::answer::outcome::Answer;
use crate::http::answer::problem::Problem;
use crate::http::blocking::blocking;
use crate::http::site::Site;
use crate::model::{UserId, limits};
use crate::wire::{API, Code, LimitsMessage, StoreMessage};

/// `GET`: 200 with the head and the limits; an unknown user reads as empty.
pub async fn get(site: &Site, user: UserId) -> Result<Answer, Error> {
    let head = blocking(site, &user, move |user| user.head()).await?;
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
        },
    }))
}

/// `DELETE`: 204, all of it is gone, also when nothing was there; 403 `delete-disabled` unless the
/// operator allows it; 503 `busy`.
pub async fn delete(site: &Site, user: UserId) -> Result<Answer, Error> {
    if !site.settings.allow_delete {
        let detail = "this server was not started with --allow-delete";
        return Err(Problem::new(Code::DeleteDisabled, detail).into());
    }
    if let Some(lock) = site.store.user(user).exclusive().await? {
        blocking(site, &user, move |_| lock.delete()).await?;
    }
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}
