//! One user's folder: what is known of it while it is checked, and how findings are made.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::chain::Chain;
use super::doubts::Doubt;
use super::filter::Filter;
use super::{Finding, Kind, Run, Severity};
use crate::disk::{self, Meta, Place};
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId, UserId, limits};
use crate::store::layout::{Area, Folder, Thing};
use crate::store::{self, Store};

/// What the server must be able to do with a file or directory, as bits of its mode.
pub(super) const READ: u32 = 0o400;
pub(super) const READ_WRITE: u32 = 0o600;
pub(super) const ENTER: u32 = 0o700;

/// The check of one user.
pub(super) struct Check<'a> {
    pub run: &'a Run<'a>,
    pub user: UserId,
    pub folder: Folder,
    /// The folder's inode: another one, or none, means that the user was deleted or renamed.
    inode: u64,
    gone: AtomicBool,
    pub chain: Chain,
    /// Chunks and aliases that the chain names.
    pub named: Filter,
    /// An alias that the chain names cannot be read, so that any chunk may be the one it stands for.
    pub blind: AtomicBool,
    /// Transactions of the chain.
    pub members: Filter,
    /// Chunks that were reported missing, so that each is reported once.
    pub missing: Mutex<HashSet<ChunkId>>,
    /// Committed chunks whose bytes are wrong.
    pub damaged: Mutex<BTreeSet<ChunkDigest>>,
    pub doubts: Mutex<Vec<Doubt>>,
    /// The head up to which the two filters know the chain.
    pub reached: Mutex<Option<Head>>,
    loose: Mutex<(u64, Option<Place>)>,
    todo: Mutex<Todo>,
}

/// What a repair has to look at.
#[derive(Default)]
pub(super) struct Todo {
    pub log: bool,
    /// Files to be set aside.
    pub damaged: Vec<(Area, Thing)>,
    /// Chunks (and aliases) that the chain names, and that are not in the committed area.
    pub missing: Vec<Thing>,
    pub doubts: Vec<Doubt>,
    /// Names in `lost+found/chunks`.
    pub marks: Vec<ChunkDigest>,
    /// Names in `incoming/tmp`.
    pub temporaries: Vec<String>,
}

/// Adds one, unless there are as many as one run mends.
pub(super) fn remember<T>(list: &mut Vec<T>, item: T) {
    if list.len() < limits::FSCK_MENDED {
        list.push(item);
    }
}

impl Run<'_> {
    /// Checks one user.
    pub(super) fn user(&self, user: UserId) {
        let folder = Folder::of(&user);
        let inode = match self.store.disk().meta(folder.place()) {
            Ok(meta) => meta.inode,
            // Deleted or renamed since it was listed.
            Err(_) => return,
        };
        let mut check = Check {
            run: self,
            user,
            folder,
            inode,
            gone: AtomicBool::new(false),
            chain: Chain::default(),
            named: Filter::default(),
            blind: AtomicBool::new(false),
            members: Filter::default(),
            missing: Mutex::default(),
            damaged: Mutex::default(),
            doubts: Mutex::default(),
            reached: Mutex::default(),
            loose: Mutex::default(),
            todo: Mutex::default(),
        };
        check.read_chain();
        *check.reached.lock().expect("nobody panics with this") = check.chain.head;
        check.read_files();
        check.read_pending();
        check.settle();
        check.tell_loose();
        if self.options.repair && !check.is_gone() {
            check.repair();
        }
        if !check.is_gone() {
            check.tell_newest_sound();
            self.tally.users.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Check<'_> {
    pub fn store(&self) -> &Store {
        &self.run.store
    }

    pub fn threads(&self) -> usize {
        self.run.options.threads
    }

    /// What a repair has to look at.
    pub fn todo(&self) -> MutexGuard<'_, Todo> {
        self.todo.lock().expect("nobody panics with this")
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

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

    pub fn report(&self, kind: Kind, severity: Severity, place: Place, detail: impl Into<String>) {
        // What is missing because the whole folder went away was not damaged.
        let there = self.store().disk().meta(self.folder.place());
        if !there.is_ok_and(|meta| meta.inode == self.inode) {
            self.gone.store(true, Ordering::Relaxed);
        }
        if self.is_gone() {
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
                let other = match self.store().disk().meta(place) {
                    Ok(meta) => meta.kind != disk::Kind::File,
                    Err(_) => false,
                };
                if other {
                    self.not_a_file(place.clone());
                } else if lets_nobody_look(error) {
                    self.report(
                        Kind::Unchecked,
                        Severity::Unchecked,
                        place.clone(),
                        error.source.to_string(),
                    );
                } else {
                    let what = error.source.to_string();
                    self.damage(Kind::Unreadable, place.clone(), what);
                }
            }
            other => self.damage(Kind::Unreadable, place.clone(), other.to_string()),
        }
    }

    pub fn not_a_file(&self, place: Place) {
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
            let mut loose = self.loose.lock().expect("nobody panics with this");
            loose.0 += 1;
            loose.1.get_or_insert_with(|| place.clone());
        }
    }

    /// Nothing has been said about modes yet: for a part that is read again.
    pub fn forget_loose(&self) {
        *self.loose.lock().expect("nobody panics with this") = Default::default();
    }

    /// One line for all, since a copy by plain `tar x` has them everywhere.
    fn tell_loose(&self) {
        let loose = std::mem::take(&mut *self.loose.lock().expect("nobody panics with this"));
        if let (number, Some(first)) = loose {
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

/// Whether the disk did not even try: nothing is known of the file.
fn lets_nobody_look(error: &disk::Error) -> bool {
    use rustix::io::Errno;
    let ours = [
        Errno::ACCESS,
        Errno::PERM,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
    ];
    let number = error.source.raw_os_error();
    ours.iter()
        .any(|errno| number == Some(errno.raw_os_error()))
}
