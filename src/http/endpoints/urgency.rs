//! Whether a client of TaskChampion's is asked for a snapshot.

use std::time::{Duration, SystemTime};

use crate::http::blocking::reading;
use crate::http::site::Site;
use crate::model::{Head, UserId};
use crate::rules::snapshots::{SnapshotAge, Urgency, urgency};

/// The length of a day.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How much a snapshot is wanted from the client whose version is HEAD now. What is wrong with the one there is, is not
/// the client's matter: its version is there.
pub async fn wanted(site: &Site, user: UserId, head: Head) -> Option<Urgency> {
    let looked = reading(site, &user, |user| {
        let present = user.checkpoint()?.filter(|one| one.chunks.len() == 1);
        Ok(match present {
            Some(present) => Some((present.seq, user.checkpoint_time()?)),
            None => None,
        })
    });
    let present = match looked.await {
        Ok(present) => present,
        Err(error) => {
            error.log();
            return None;
        }
    };
    let age = present.map(|(seq, time)| {
        let since = time.and_then(|time| SystemTime::now().duration_since(time).ok());
        SnapshotAge {
            versions: head.seq.saturating_sub(seq + 1),
            days: since.unwrap_or_default().as_secs() / DAY.as_secs(),
        }
    });
    urgency(site.settings.snapshots, age)
}
