//! Folders whose every file is durable, as far as this process knows, and the store as it was opened.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::disk::{DirectoryIdentity, Meta};
use crate::model::limits;

/// The folders that this process has synced as a whole, or made: the last [`limits::MET`] or somewhat
/// more. Only ever forgets.
#[derive(Default)]
pub(super) struct Met(Mutex<(HashSet<DirectoryIdentity>, HashSet<DirectoryIdentity>)>);

impl Met {
    /// Whether this very folder was synced as a whole.
    pub fn has(&self, folder: &DirectoryIdentity) -> bool {
        let both = self.0.lock().expect("no code panics while it holds this");
        both.0.contains(folder) || both.1.contains(folder)
    }

    /// Notes that a folder was synced as a whole, or made.
    pub fn insert(&self, folder: DirectoryIdentity) {
        let mut both = self.0.lock().expect("no code panics while it holds this");
        if both.0.len() >= limits::MET / 2 {
            both.1 = std::mem::take(&mut both.0);
        }
        both.0.insert(folder);
    }
}

/// The store as it was opened, to tell later whether it is still there.
///
/// By default nothing is compared, and every folder counts as met: for a store that is examined as it is.
#[derive(Default)]
pub(super) struct Opened {
    /// The data directory and `users/`.
    pub here: Option<[DirectoryIdentity; 2]>,
    /// The moment of the sync of everything, where the disk does that: whatever has not changed since is durable.
    since: Option<Mutex<Since>>,
}

/// When everything was synced, and the latest time that the clock showed since.
struct Since {
    all_synced: SystemTime,
    latest: SystemTime,
    /// The clock was put back: times tell nothing any more.
    put_back: bool,
}

impl Opened {
    /// To be called before everything is synced.
    pub fn new(top: &Meta, users: &Meta, now: SystemTime, syncs_everything: bool) -> Self {
        let since = Since {
            all_synced: now,
            latest: now,
            put_back: false,
        };
        Self {
            here: Some([top, users].map(DirectoryIdentity::of)),
            since: syncs_everything.then(|| Mutex::new(since)),
        }
    }

    /// Whether a folder that last changed then was in `users/` when everything was synced: whatever comes
    /// there has the time of its coming.
    pub fn was_here(&self, changed: SystemTime, now: SystemTime) -> bool {
        let Some(since) = &self.since else {
            return false;
        };
        let mut since = since.lock().expect("no code panics while it holds this");
        since.put_back |= now < since.latest;
        since.latest = since.latest.max(now);
        !since.put_back && changed + CLOCK_STEP < since.all_synced
    }
}

/// The longest step in which a file system's clock goes (FAT has two seconds).
const CLOCK_STEP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Grouping, Place, Real};

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        START + Duration::from_secs(seconds)
    }

    fn some_meta() -> (tempfile::TempDir, Meta) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Real::new(directory.path(), Grouping::Auto).unwrap();
        let meta = disk.meta(&Place::new("")).unwrap();
        (directory, meta)
    }

    #[test]
    fn only_what_has_not_changed_since_the_start_was_there_at_the_start() {
        let (_directory, meta) = some_meta();
        let opened = Opened::new(&meta, &meta, at(1000), true);
        assert!(opened.was_here(at(990), at(1001)));
        for changed in [at(999), at(1000), at(1001), at(5000)] {
            assert!(!opened.was_here(changed, at(1002)), "{changed:?}");
        }
        // Where syncing everything does nothing, the start says nothing.
        let opened = Opened::new(&meta, &meta, at(1000), false);
        assert!(!opened.was_here(at(990), at(1001)));
    }

    #[test]
    fn a_clock_that_was_put_back_tells_nothing_any_more() {
        let (_directory, meta) = some_meta();
        let opened = Opened::new(&meta, &meta, at(1000), true);
        assert!(opened.was_here(at(10), at(1500)));
        assert!(!opened.was_here(at(10), at(1400)));
        assert!(!opened.was_here(at(10), at(2000)), "nor later");
    }

    #[test]
    fn a_folder_is_another_one_though_it_has_the_inode_of_one_that_went() {
        let (_directory, meta) = some_meta();
        let met = Met::default();
        met.insert(DirectoryIdentity::of(&meta));
        assert!(met.has(&DirectoryIdentity::of(&meta)));
        let born = meta.born.map(|born| born + Duration::from_secs(1));
        if born.is_some() {
            assert!(!met.has(&DirectoryIdentity::of(&Meta { born, ..meta })));
        }
    }

    #[test]
    fn as_many_folders_are_remembered_as_the_limit_says() {
        let (_directory, meta) = some_meta();
        let met = Met::default();
        let folder = |inode| DirectoryIdentity::of(&Meta { inode, ..meta });
        for inode in 0..limits::MET as u64 {
            met.insert(folder(inode));
        }
        assert!((limits::MET as u64 / 2..limits::MET as u64).all(|inode| met.has(&folder(inode))));
        for inode in 0..limits::MET as u64 {
            met.insert(folder(inode + limits::MET as u64));
        }
        assert!(!met.has(&folder(0)), "it does not grow");
    }
}
