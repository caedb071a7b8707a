//! Work for a request on a thread, with the refusal where it has no outcome.

use super::answer::problem::Problem;
use super::threads::{self, Begun, NoOutcome};
use crate::model::UserId;

/// Runs work for this user on a thread. Once started it goes on to its end, even if the client goes away.
///
/// # Errors
/// Those of [`outcome`].
pub async fn for_user<T: Send + 'static>(
    user: &UserId,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    outcome(threads::begin(user, work)).await
}

/// The outcome of work for a user.
///
/// # Errors
/// 503 `busy` where no thread was to be had in time, and nothing was done; 500 `internal` where the work
/// panicked.
pub async fn outcome<T>(begun: Begun<T>) -> Result<T, Problem> {
    begun.outcome().await.map_err(|none| match none {
        NoOutcome::Busy => Problem::busy("this user has as many requests under way as are served"),
        NoOutcome::BrokeOff => {
            log::error!("work for a request broke off");
            Problem::internal()
        }
    })
}

/// Runs work that is no user's in particular on a thread, of which there are some beyond those for users.
///
/// # Errors
/// 500 `internal` where the work panicked.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|broken| {
        log::error!("work for a request broke off: {broken}");
        Problem::internal()
    })
}
