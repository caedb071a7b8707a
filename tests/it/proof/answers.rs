//! What clients were answered, which is what must hold from then on; and whether each answer was
//! right when it was given.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mentat_sync::disk::Place;
use mentat_sync::model::TransactionId;

use super::cast::{self, Chunk, Content};
use super::moves::Ice;
use simulated_disk::{Step, World};

/// Something that an answer promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// HEAD was, or had passed, this transaction.
    Head(TransactionId),
    /// The chunk is there.
    Chunk(Chunk),
    /// The transaction is there, with this content.
    Transaction(Content),
    /// This was the checkpoint, or there was a later one.
    Checkpoint(&'static str),
}

/// All that was answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub facts: BTreeSet<Fact>,
    /// What somebody asked HEAD to become.
    pub aims: BTreeSet<TransactionId>,
    /// Contents that somebody put, answered or not.
    pub offered: BTreeSet<Content>,
    /// Counts the deletions asked for and answered; what is answered across one promises nothing.
    pub deletions: (usize, usize),
    /// Advances under way.
    pub advancing: Vec<TransactionId>,
    /// A folder came from outside: until something is said about it, nobody answers for it.
    pub brought: bool,
    /// Whether anybody freezes the user, and what was said of that.
    pub freezes: bool,
    pub ice: Ice,
    /// What should not have been answered, or done.
    pub wrong: Vec<String>,
}

impl Answers {
    /// The answers so far as a number, for those who look the same.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (&self.facts, &self.aims, &self.offered, self.deletions).hash(&mut hasher);
        self.ice.hash(&mut hasher);
        hasher.finish()
    }

    /// Whether a deletion is under way.
    pub fn deleting(&self) -> bool {
        self.deletions.0 != self.deletions.1
    }

    pub fn has(&self, fact: Fact) -> bool {
        self.facts.contains(&fact)
    }

    /// HEAD is at or past this one, by what was answered.
    pub fn passed(&self, id: TransactionId) -> bool {
        let passes = |fact: &Fact| matches!(fact, Fact::Head(head) if cast::is_on_line(id, *head));
        id == TransactionId::ROOT || self.facts.iter().any(passes)
    }

    /// Whether this transaction can still become visible, for all that was answered.
    pub fn may_live(&self, id: TransactionId) -> bool {
        let below = |fact: &Fact| match fact {
            Fact::Head(head) => cast::is_on_line(*head, id) || cast::is_on_line(id, *head),
            _ => true,
        };
        self.facts.iter().all(below)
    }
}

/// The answers, shared by those who ask.
#[derive(Clone, Default)]
pub struct Book(Arc<Mutex<Answers>>);

impl Book {
    pub fn new(answers: Answers) -> Self {
        Self(Arc::new(Mutex::new(answers)))
    }

    pub fn open(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wrong(&self, what: impl Into<String>) {
        self.open().wrong.push(what.into());
    }

    /// Looks over the shoulder of whoever replaces HEAD: it may only go to a proper descendant that
    /// has no pending descendants of its own.
    pub fn watch_head(&self, step: &Step, world: &World) {
        let head = cast::folder().join("HEAD");
        if step.verb != "rename" || step.to != Some(&head) {
            return;
        }
        let read = |place: &Place| {
            let bytes = world.read_file(place)?;
            std::str::from_utf8(&bytes).ok()?.trim_end().parse().ok()
        };
        let (Some(old), Some(new)) = (read(&head), read(step.place)) else {
            return self.wrong("HEAD is replaced, but one of the two is no id");
        };
        let (old, new): (TransactionId, TransactionId) = (old, new);
        if old == new || !cast::is_on_line(old, new) {
            self.wrong(format!(
                "HEAD moves from {old} to {new}, no proper descendant"
            ));
        }
        for (place, bytes, _) in world.files_below(&cast::folder().join("incoming/transactions")) {
            if cast::read(&bytes).is_some_and(|known| known.parent == new) {
                self.wrong(format!(
                    "HEAD moves to {new}, which has a descendant: {place:?}"
                ));
            }
        }
    }
}
