//! One rule of a replica taken away, for tests that must notice. Without the feature `mistakes` none can be made.

/// A rule of a replica (CLIENT, section 5) that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// A transaction that the server confirmed, though its answer was lost, is said again.
    LostAnswerNotRecognised,
    /// A rebase says an entry with other random bytes.
    NonceNotKept,
    /// An entry has no random bytes of its own.
    NoNonce,
    /// The tip of what is pending is set before what it names is there.
    LocalBeforeChunks,
    /// HEAD moves before what it reaches is verified.
    HeadBeforeVerification,
    /// The tip is set after each transaction that a rebase says again, and not once for all.
    RebaseInPlace,
    /// A commit sets the tip without a look whether it is still the one that it follows.
    CommitWithoutLook,
    /// A rebase keeps nothing of what was committed meanwhile.
    RebaseForgetsCommits,
    /// Chunks that killed commands put, and nothing needs, are never taken away.
    PutsStay,
}

#[cfg(feature = "mistakes")]
impl Slip {
    /// Each of them once.
    pub const ALL: [Slip; 9] = [
        Slip::LostAnswerNotRecognised,
        Slip::NonceNotKept,
        Slip::NoNonce,
        Slip::LocalBeforeChunks,
        Slip::HeadBeforeVerification,
        Slip::RebaseInPlace,
        Slip::CommitWithoutLook,
        Slip::RebaseForgetsCommits,
        Slip::PutsStay,
    ];
}

/// The slip that a replica makes, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slips {
    #[cfg(feature = "mistakes")]
    pub one: Option<Slip>,
}

impl Slips {
    /// Whether the replica makes this one.
    #[inline]
    pub fn made(&self, slip: Slip) -> bool {
        #[cfg(feature = "mistakes")]
        return self.one == Some(slip);
        #[cfg(not(feature = "mistakes"))]
        {
            let _ = slip;
            false
        }
    }
}
