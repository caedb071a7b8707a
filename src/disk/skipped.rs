//! Syncs left out on purpose, in a server process that a test starts. Only with the feature `mistakes`.

use super::Target;

/// Syncs that [`super::Real`] leaves out although it is told to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    NoDirectorySync,
    NoFileSync,
    /// All is synced, but whether that failed is not asked.
    SyncErrorIgnored,
}

impl Skipped {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        [
            Self::NoDirectorySync,
            Self::NoFileSync,
            Self::SyncErrorIgnored,
        ]
        .into_iter()
        .find(|skipped| format!("{skipped:?}") == name)
    }

    /// The one that `MENTAT_SYNC_MISTAKE` names. It may name a mistake of the store's.
    pub fn of_environment() -> Option<Self> {
        Self::named(&std::env::var("MENTAT_SYNC_MISTAKE").ok()?)
    }

    /// The targets that are synced all the same.
    pub fn rest(self, targets: &[Target]) -> Vec<Target> {
        targets
            .iter()
            .filter_map(|target| match target {
                Target::File(file) if self != Self::NoFileSync => Some(Target::File(file.clone())),
                Target::Directory(place) if self != Self::NoDirectorySync => {
                    Some(Target::Directory(place.clone()))
                }
                _ => None,
            })
            .collect()
    }
}
