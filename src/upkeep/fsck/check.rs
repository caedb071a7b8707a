//! The check of one user: what is known of the folder so far, and how findings are made.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::access::{is_foreign, unread};
use super::content_ids::ContentIds;
use super::filter::Filter;
use super::finding::{Finding, Kind, Severity};
use super::run::Run;
use super::seen_checkpoint::SeenCheckpoint;
use super::suspect::Suspect;
use crate::disk::{self, DirectoryIdentity, IfThere, Meta, Place};
use crate::model::{Checkpoint, ChunkDigest, ChunkId, Head, TransactionId, UserId, limits};
use crate::store::layout::{Area, Folder, Thing};
use crate::store::{self, Store};

/// The check of one user.
pub(super) struct Check<'a> {
    pub run: &'a Run<'a>,
    pub user: UserId,
    pub folder: Folder,
    /// Another one, or none, in this place means that the user was deleted or renamed.
    identity: DirectoryIdentity,
    gone: AtomicBool,
    pub chain: Chain,
    /// CHECKPOINT as it was read before HEAD.
    pub checkpoint: Option<Checkpoint>,
    /// The last look at CHECKPOINT, since when it may be another.
    pub checkpoint_now: Mutex<Option<SeenCheckpoint>>,
    /// Chunks and aliases that the chain names.
    pub named: Filter,
    /// An alias that the chain names cannot be read, so that any chunk may be the one it stands for.
    pub blind: AtomicBool,
    /// Transactions of the chain.
    pub members: Filter,
    /// Ids that transactions have by their content.
    pub content_ids: ContentIds,
    /// Chunks that were reported missing, so that each is reported once.
    pub missing: Mutex<HashSet<ChunkId>>,
    /// Committed chunks whose bytes are wrong.
    pub damaged: Mutex<BTreeSet<ChunkDigest>>,
    /// Places of which it has been said that they cannot be read, so that each is reported once.
    unread: Mutex<HashSet<Place>>,
    pub suspects: Mutex<Vec<Suspect>>,
    /// The head up to which the two filters know the chain.
    pub reached: Mutex<Option<Head>>,
    loose: Mutex<Noted>,
    foreign: Mutex<Noted>,
    todo: Mutex<Todo>,
}

/// Files and directories with the same fault, of which a copy may have many: one line tells of all.
#[derive(Default)]
struct Noted {
    number: u64,
    first: Option<Place>,
}

impl Noted {
    fn note(noted: &Mutex<Self>, place: &Place) {
        let mut noted = noted.lock().expect("nobody panics with this");
        noted.number += 1;
        noted.first.get_or_insert_with(|| place.clone());
    }

    fn take(noted: &Mutex<Self>) -> Option<(u64, Place)> {
        let noted = std::mem::take(&mut *noted.lock().expect("nobody panics with this"));
        Some((noted.number, noted.first?))
    }
}

/// The work that the check leaves to a repair.
#[derive(Default)]
pub(super) struct Todo {
    /// The first file or directory that is somebody else's.
    pub foreign: Option<Place>,
    /// `log` is to be rebuilt.
    pub log: bool,
    /// Files to be set aside.
    pub damaged: Vec<(Area, Thing)>,
    /// Chunks (and aliases) that the chain names, and that are not in the committed area.
    pub missing: Vec<Thing>,
    pub suspects: Vec<Suspect>,
    /// The tips of what is pending, where a device's `local` does not say which.
    pub local: Option<Vec<TransactionId>>,
    /// CHECKPOINT is to be set aside.
    pub checkpoint: bool,
    /// Chunks in `checkpoint/` whose bytes are wrong, or that are missing there.
    pub checkpoint_chunks: Vec<ChunkDigest>,
    /// Names in `lost+found/chunks`.
    pub marks: Vec<ChunkDigest>,
    /// Names in `incoming/tmp`.
    pub temporaries: Vec<String>,
}

/// Adds an item, unless there are as many as one run mends.
pub(super) fn remember<T>(list: &mut Vec<T>, item: T) {
    if list.len() < limits::FSCK_MENDED {
        list.push(item);
    }
}

/// The chain, as far as it is known.
#[derive(Default)]
pub(super) struct Chain {
    /// Where it ends, if HEAD says so and the transaction could be read.
    pub head: Option<Head>,
    /// All of it could be read and fits together: what it does not name is off the chain.
    pub whole: bool,
    /// A transaction, a chunk or HEAD is damaged.
    pub damaged: bool,
    /// Where a walk begins: HEAD or, where that does not tell, the best guess.
    pub top: (Option<TransactionId>, u64),
}

impl<'a> Check<'a> {
    /// A check of the user whose folder is this one, with nothing known yet.
    pub fn new(
        run: &'a Run<'a>,
        user: UserId,
        folder: Folder,
        identity: DirectoryIdentity,
    ) -> Self {
        Self {
            run,
            user,
            folder,
            identity,
            gone: AtomicBool::new(false),
            chain: Chain::default(),
            checkpoint: None,
            checkpoint_now: Mutex::default(),
            named: Filter::default(),
            blind: AtomicBool::new(false),
            members: Filter::default(),
            content_ids: ContentIds::default(),
            missing: Mutex::default(),
            damaged: Mutex::default(),
            unread: Mutex::default(),
            suspects: Mutex::default(),
            reached: Mutex::default(),
            loose: Mutex::default(),
            foreign: Mutex::default(),
            todo: Mutex::default(),
        }
    }
}

impl Check<'_> {
    /// The store that is checked.
    pub fn store(&self) -> &Store {
        &self.run.store
    }

    /// How many files are read at a time.
    pub fn threads(&self) -> usize {
        self.run.options.threads
    }

    /// The work that is left to a repair so far.
    pub fn todo(&self) -> MutexGuard<'_, Todo> {
        self.todo.lock().expect("nobody panics with this")
    }

    /// Whether the user was deleted or renamed meanwhile, as far as anybody has looked: then nothing more is reported.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Looks whether the user was deleted or renamed meanwhile.
    pub fn has_gone(&self) -> bool {
        let gone = match self.store().disk().meta(self.folder.place()).if_there() {
            Ok(there) => there.is_none_or(|meta| DirectoryIdentity::of(&meta) != self.identity),
            // It may well be there.
            Err(_) => false,
        };
        if gone {
            self.gone.store(true, Ordering::Relaxed);
        }
        self.is_gone()
    }

    /// Adds to a counter of the run.
    pub fn count(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// Reports damage. To be called after the second look.
    pub fn damage(&self, kind: Kind, place: Place, detail: impl Into<String>) {
        self.report(kind, Severity::Damage, place, detail);
    }

    /// Reports something harmless. To be called after the second look.
    pub fn harmless(&self, kind: Kind, place: Place, detail: impl Into<String>) {
        self.report(kind, Severity::Harmless, place, detail);
    }

    /// Reports a finding, unless the whole folder is gone. Costs a look at the folder.
    pub fn report(&self, kind: Kind, severity: Severity, place: Place, detail: impl Into<String>) {
        // What is missing because the whole folder went away was not damaged.
        if self.has_gone() {
            return;
        }
        self.run.found(&Finding {
            kind,
            severity,
            user: Some(self.user),
            place,
            detail: detail.into(),
        });
    }

    /// Reports why a file could not be read. What is absent is no trouble here: the caller knows
    /// whether it should be there.
    pub fn trouble(&self, place: &Place, error: &store::Error, damaged: Kind) {
        match error {
            store::Error::Damaged { what, .. } => self.damage(damaged, place.clone(), what),
            store::Error::Disk(error) if error.is_absent() => {}
            store::Error::Disk(error) => {
                match self.store().disk().meta(place) {
                    Ok(meta) if meta.kind != disk::Kind::File => self.not_a_file(place.clone()),
                    // A file, or a symlink, on the way there, which is reported where it is.
                    Err(other) if other.is_out_of_shape() => {}
                    _ => self.unread(place, error),
                }
            }
            other => self.damage(Kind::Unreadable, place.clone(), other.to_string()),
        }
    }

    /// Reports that the disk did not let us look.
    pub fn unread(&self, place: &Place, error: &disk::Error) {
        if self.was_told(place) {
            return;
        }
        let (kind, severity) = unread(error);
        self.report(kind, severity, place.clone(), error.source.to_string());
    }

    /// Unwraps what a look found. A look that fails is reported, and tells nothing.
    pub fn seen<T, E: Into<store::Error>>(&self, place: &Place, looked: Result<T, E>) -> Option<T> {
        match looked {
            Ok(found) => Some(found),
            Err(error) => {
                let error = error.into();
                let place = match &error {
                    store::Error::Disk(error) => &error.place,
                    _ => place,
                };
                self.trouble(place, &error, Kind::Unreadable);
                None
            }
        }
    }

    /// Whether it has been said that this cannot be read.
    fn was_told(&self, place: &Place) -> bool {
        let mut told = self.unread.lock().expect("nobody panics with this");
        match told.len() < limits::FSCK_MENDED {
            true => !told.insert(place.clone()),
            false => told.contains(place),
        }
    }

    /// Whether there is such a file in this area.
    pub fn is_there(&self, area: Area, thing: &Thing) -> store::Result<bool> {
        let place = self.folder.thing(area, thing);
        Ok(self.store().disk().meta(&place).if_there()?.is_some())
    }

    /// Whether there is one in one of these areas, in their order.
    pub fn is_in(&self, areas: &[Area], thing: &Thing) -> store::Result<bool> {
        for area in areas {
            if self.is_there(*area, thing)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reports that something else stands where a file should, once for each place.
    pub fn not_a_file(&self, place: Place) {
        if self.was_told(&place) {
            return;
        }
        let what = "a symlink, a directory or a device where a file should be";
        self.damage(Kind::NotAFile, place, what);
    }

    /// Looks at the mode of something that the server needs with these bits.
    pub fn mode(&self, place: &Place, meta: &Meta, needs: u32) {
        if meta.mode & needs != needs {
            let what = format!(
                "mode {:04o}: its owner needs {needs:04o} for the server to use it",
                meta.mode
            );
            self.damage(Kind::ModeTight, place.clone(), what);
        }
        if meta.mode & 0o077 != 0 {
            Noted::note(&self.loose, place);
        }
        self.owner(place, meta);
    }

    /// Looks at whose something is.
    pub fn owner(&self, place: &Place, meta: &Meta) {
        if is_foreign(meta, self.run.owner) {
            Noted::note(&self.foreign, place);
        }
    }

    /// Forgets what was noted about modes and owners: for a part that is read again.
    pub fn forget_noted(&self) {
        Noted::take(&self.loose);
        Noted::take(&self.foreign);
    }

    /// Reports modes and owners in one line each, since a copy by plain `tar x` has them everywhere.
    pub fn tell_noted(&self) {
        if let Some((number, first)) = Noted::take(&self.foreign) {
            let owner = self.run.owner.user;
            let what = format!(
                "{number} files and directories, this first, are somebody else's, and uid {owner}, whose the \
                 data directory is, cannot read or write them"
            );
            self.todo().foreign = Some(first.clone());
            self.damage(Kind::ForeignOwner, first, what);
        }
        if let Some((number, first)) = Noted::take(&self.loose) {
            let what = format!(
                "{number} files and directories can be read by others, this one first; \
                 `chmod -R go=` on the folder ends that"
            );
            self.harmless(Kind::ModeLoose, first, what);
        }
    }

    /// The words for a transaction that names something.
    pub fn named_by(id: TransactionId, seq: u64) -> String {
        format!("transaction {id} (seq {seq}) names it")
    }
}
