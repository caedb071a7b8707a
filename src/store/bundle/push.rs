//! In: a push from its first byte to its answer.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::intake::{DirsSeen, Intake};
use super::outcome::{Counts, PushBundle, Step, Stop};
use super::staging::Staging;
use super::window::Window;
use crate::model::Head;
use crate::store::tally::Amount;
use crate::store::to_sync::ToSync;
use crate::store::{Leftovers, Result, User};

impl User {
    /// Takes a bundle in and advances HEAD to its HEAD. Reads it to its end, with no lock held while
    /// it is waited for; takes the locks it needs, waiting in place; and makes the user's folder if
    /// there is none. Once all has come it is to be run to its end whatever becomes of the client.
    ///
    /// Memory does not depend on the size of the bundle, but for the 60 bytes that are remembered of
    /// each transaction, of which there are
    /// [`PUSHED_TRANSACTIONS`](crate::model::limits::PUSHED_TRANSACTIONS) at most.
    ///
    /// # Errors
    /// HEAD has not moved (but see [`Exclusive::advance`](crate::store::Exclusive::advance)); chunks and transactions that were verified
    /// before may have become pending.
    pub fn push_bundle(&self, from: &mut dyn Read) -> Result<(PushBundle, Option<Leftovers>)> {
        match self.try_push(from) {
            Ok(taken) => Ok(taken),
            Err(Stop::Outcome(outcome)) => Ok((*outcome, None)),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    fn try_push(&self, from: &mut dyn Read) -> Step<(PushBundle, Option<Leftovers>)> {
        self.state.check_writable()?;
        let began_at = match self.vouched_head()? {
            Some(head) => head,
            None => {
                self.admit()?;
                Head::ROOT
            }
        };
        let mut intake = Intake {
            user: self.clone(),
            staging: Staging::new(self.clone()),
            stamp: None,
            began_at,
            named: Some(HashSet::new()),
            lost: HashSet::new(),
            recent: Window::default(),
            numbers: HashMap::new(),
            numbered: 0,
            seen: DirsSeen::default(),
            met_damage: false,
            expected: Amount::default(),
            to_sync: ToSync::keeping(0),
            stored: Counts::default(),
            existing: Counts::default(),
        };
        let head = intake.read(from)?;
        if let Some((taken, leftovers)) = intake.fast_forward(head)? {
            return Ok((taken, Some(leftovers)));
        }
        intake.publish_chunks()?;
        intake.publish_waiting_aliases()?;
        intake.take_transactions(head)
    }
}
