//! One rule taken away, for tests that must notice. Without the feature `mistakes` none can be
//! made, and the questions below are constants.

/// A rule of the store (DESIGN, Order of writes and Garbage; most are the model's too) that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A file that another process put there is answered about without a sync.
    NoVouch,
    /// Publishing replaces what has the name.
    Replace,
    /// A PUT answers before its last sync.
    AnswerBeforeSync,
    /// HEAD is replaced before what it reaches is synced.
    HeadBeforeObjects,
    /// HEAD is answered without its sync.
    NoReadSync,
    /// `log` is extended without a look at what it says of HEAD.
    NoLogCheck,
    /// The advance moves files out of `incoming/` before HEAD, where it should link.
    RenameInsteadOfLink,
    /// Locks are not taken.
    NoLock,
    /// A replayed transaction is accepted without the checks of a first one.
    NoReplayCheck,
    /// A deleted user's folder is emptied before its new place is synced.
    NoDeleteSync,
    /// The name of a directory just made or found is not synced.
    NoParentSync,
    /// Garbage collection does not look again under the lock.
    NoSecondLook,
    /// Garbage collection removes parents before children, chunks before transactions.
    ParentsFirst,
    /// A repair clears what looked like a leftover before it had the lock.
    NoRepairLook,
    /// A chunk that was read stays open.
    LeakedDescriptor,
    /// A bundle that continues HEAD is committed without a look at what is pending.
    FastForwardOverPending,
    /// A folder that came from outside is not synced before something is said about it.
    NoFolderSync,
    /// A HEAD that was read before a newer one was told is told after it.
    ToldOld,
    /// A folder's name is taken to be durable though the folder may have had another one since.
    NoNameSync,
    /// A mark in `lost+found` that cannot be looked at is taken for none.
    UnseenIsAbsent,
    /// A repair takes pending transactions away, and leaves it to others to find out.
    UntoldRepair,
    /// Garbage collection takes what a mark says was lost from the committed area.
    SweptThoughLost,
    /// Garbage collection takes what the chain names, where the committed area has lost it.
    SweptThoughNamed,
    /// Garbage collection takes what it found in one folder from another that came into the user's place.
    AnyFolderSwept,
    /// Garbage collection believes every date.
    BelieveDates,
    /// The transactions of a bundle are pending whether there is room for them or not.
    BundleUncounted,
    /// A transaction that can never be committed counts among the pending ones, and stays.
    DeadCounted,
    /// CHECKPOINT is replaced before what it names is synced.
    CheckpointBeforeChunks,
    /// A checkpoint relies on what somebody else put there, without a sync.
    CheckpointNotVouched,
    /// A transaction stands on a chunk that only a checkpoint has.
    CheckpointNotAdopted,
    /// A repair takes what CHECKPOINT names out of the committed area.
    RepairedThoughCheckpoint,
    /// A new checkpoint leaves what it does not name any more as old as it was.
    CheckpointNotTouched,
    /// A write does not look whether the user is frozen once it has the lock.
    NoFrozenLook,
    /// A user is gone by whatever move.
    NoMoveName,
    /// A user is said to be frozen before that is durable.
    NoFreezeSync,
    /// A user is gone before that is durable.
    NoGoneSync,
    /// A user who is found gone is taken to be so durably.
    NoGoneResync,
    /// A user is ready there before it is gone here.
    ReadyBeforeGone,
    /// A send that finds the name of an earlier move goes by that one.
    SameMoveAgain,
    /// A thaw asks for no force of who is gone or incoming.
    ThawedAnyway,
}

#[cfg(feature = "mistakes")]
impl Mistake {
    /// Each of them once.
    pub const ALL: [Mistake; 40] = [
        Mistake::NoVouch,
        Mistake::Replace,
        Mistake::AnswerBeforeSync,
        Mistake::HeadBeforeObjects,
        Mistake::NoReadSync,
        Mistake::NoLogCheck,
        Mistake::RenameInsteadOfLink,
        Mistake::NoLock,
        Mistake::NoReplayCheck,
        Mistake::NoDeleteSync,
        Mistake::NoParentSync,
        Mistake::NoSecondLook,
        Mistake::ParentsFirst,
        Mistake::NoRepairLook,
        Mistake::LeakedDescriptor,
        Mistake::FastForwardOverPending,
        Mistake::NoFolderSync,
        Mistake::ToldOld,
        Mistake::NoNameSync,
        Mistake::UnseenIsAbsent,
        Mistake::UntoldRepair,
        Mistake::SweptThoughLost,
        Mistake::SweptThoughNamed,
        Mistake::AnyFolderSwept,
        Mistake::BelieveDates,
        Mistake::BundleUncounted,
        Mistake::DeadCounted,
        Mistake::CheckpointBeforeChunks,
        Mistake::CheckpointNotVouched,
        Mistake::CheckpointNotAdopted,
        Mistake::RepairedThoughCheckpoint,
        Mistake::CheckpointNotTouched,
        Mistake::NoFrozenLook,
        Mistake::NoMoveName,
        Mistake::NoFreezeSync,
        Mistake::NoGoneSync,
        Mistake::NoGoneResync,
        Mistake::ReadyBeforeGone,
        Mistake::SameMoveAgain,
        Mistake::ThawedAnyway,
    ];
}

/// The mistake that this store makes, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mistakes {
    #[cfg(feature = "mistakes")]
    pub one: Option<Mistake>,
}

impl Mistakes {
    /// The mistake that `MENTAT_SYNC_MISTAKE` names, as in `NoLock`: for a server process that a test
    /// starts. Nothing reads it without the feature `mistakes`.
    ///
    /// # Panics
    /// If there is none of that name: a test would believe that it was made.
    #[cfg(feature = "mistakes")]
    pub fn of_environment() -> Self {
        let name = std::env::var("MENTAT_SYNC_MISTAKE").unwrap_or_default();
        if name.is_empty() || crate::disk::Skipped::named(&name).is_some() {
            return Self::default();
        }
        let one = Mistake::ALL
            .into_iter()
            .find(|mistake| format!("{mistake:?}") == name);
        assert!(one.is_some(), "no mistake is called {name}");
        Self { one }
    }

    /// None.
    #[cfg(not(feature = "mistakes"))]
    pub fn of_environment() -> Self {
        Self::default()
    }

    /// Whether the store makes this one.
    #[inline]
    pub fn made(&self, mistake: Mistake) -> bool {
        #[cfg(feature = "mistakes")]
        return self.one == Some(mistake);
        #[cfg(not(feature = "mistakes"))]
        {
            let _ = mistake;
            false
        }
    }
}
