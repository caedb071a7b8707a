//! Members of a pushed bundle become files, small ones on a few threads beside the one that reads: what
//! a file system takes to make a file is several times what it takes to check what is in it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::outcome::Step;
use super::tar::bad;
use crate::disk::{self, Disk, Handle, IfThere, Place};
use crate::model::limits;
use crate::store::dirs::make_dirs;
use crate::store::layout::{Area, Dir, Folder, Thing};
use crate::store::room::check_room;
use crate::store::{Error, Result};

/// Makes files in a folder of the shape that a user's has.
#[derive(Clone)]
pub struct Unpacker {
    pub disk: Arc<dyn Disk>,
    pub folder: Folder,
    /// Bytes of the disk that uploads leave free.
    pub min_free: u64,
}

impl Unpacker {
    /// The place of a member's file.
    pub fn place(&self, thing: &Thing) -> Place {
        self.folder.thing(Area::Committed, thing)
    }

    /// A new, empty file for a member; `None` where there is one of its name.
    pub fn create(&self, thing: &Thing) -> Result<Option<Handle>> {
        let place = self.place(thing);
        let mut created = self.disk.create(&place);
        if created.as_ref().is_err_and(disk::Error::is_absent) {
            created = make_dirs(
                &*self.disk,
                &self.folder,
                thing.dir(Area::Committed),
                &|_| {},
            )
            .and_then(|()| self.disk.create(&place));
        }
        match created {
            Ok(file) => Ok(Some(file)),
            Err(taken) if taken.is_taken() => Ok(None),
            // The folder is made before the first member is, so it has been taken away.
            Err(absent) if absent.is_absent() => Err(Error::UserGone),
            Err(other) => Err(other.into()),
        }
    }

    /// Writes more of a member. Fails where the disk has less than `min_free` left.
    pub fn append(&self, file: &Handle, bytes: &[u8]) -> Result<()> {
        check_room(&*self.disk, self.min_free, bytes.len() as u64)?;
        Ok(file.append(bytes)?)
    }

    /// Writes a whole member. Another content under its name refuses the push.
    pub fn write(&self, thing: &Thing, bytes: &[u8]) -> Step<()> {
        match self.create(thing)? {
            Some(file) => Ok(self.append(&file, bytes)?),
            None if self.holds(thing, bytes)? => Ok(()),
            None => {
                let name = self.place(thing);
                let name = name.name();
                Ok(bad(format!("two members named {name:?} differ"))?)
            }
        }
    }

    fn holds(&self, thing: &Thing, bytes: &[u8]) -> Result<bool> {
        let file = self.disk.open(&self.place(thing))?;
        let mut there = vec![0; bytes.len() + 1];
        let read = file.read_at(0, &mut there)?;
        Ok(&there[..read] == bytes)
    }
}

/// Members, whole. They go in batches: a thread that is woken for each does little else.
type Batch = Vec<(Thing, Vec<u8>)>;

/// The threads that write small members. Dropped, they write what they were given and end.
pub struct Crew {
    lanes: Vec<UnpackLane>,
    unpacker: Unpacker,
    given: usize,
    syncs: EarlySyncs,
}

/// Syncs of what has been written, beside the writing of the rest, so that most of the waiting for the disk is over when the last
/// of it comes.
#[derive(Default)]
pub struct EarlySyncs(Vec<JoinHandle<disk::Result<()>>>);

impl EarlySyncs {
    /// Starts another one.
    pub fn start(&mut self, unpacker: &Unpacker) {
        let Unpacker { disk, folder, .. } = unpacker.clone();
        let thread = std::thread::Builder::new().name("sync".to_owned());
        // With no thread to be had, the sync in the end does it all.
        self.0
            .extend(thread.spawn(move || disk.sync_written(folder.place())).ok());
    }

    /// Whether one of them is not over yet.
    pub fn are_running(&self) -> bool {
        self.0.iter().any(|sync| !sync.is_finished())
    }

    /// Waits for all of them: what one that failed was to make durable no later one does.
    pub fn finish(&mut self) -> Step<()> {
        for sync in self.0.drain(..) {
            let synced = sync
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            synced.if_there()?.ok_or(Error::UserGone)?;
        }
        Ok(())
    }
}

/// One of the threads: it makes all files of its directories, so that what has the same name comes one after
/// the other, and no two threads wait for one directory.
struct UnpackLane {
    batches: SyncSender<Batch>,
    next: Batch,
    thread: JoinHandle<Step<()>>,
}

impl Crew {
    /// Starts as many threads as are worth it; `None` where the system has none to give.
    pub fn start(unpacker: &Unpacker) -> Option<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let lane = |_| {
            let (batches, given) = sync_channel(limits::UNPACKED_AHEAD);
            let unpacker = unpacker.clone();
            let thread = std::thread::Builder::new().name("unpack".to_owned());
            let thread = thread.spawn(move || work(&unpacker, &given)).ok()?;
            let next = Batch::new();
            Some(UnpackLane {
                batches,
                next,
                thread,
            })
        };
        let lanes: Vec<_> = (0..threads.min(limits::UNPACKERS))
            .map_while(lane)
            .collect();
        (!lanes.is_empty()).then(|| Self {
            lanes,
            unpacker: unpacker.clone(),
            given: 0,
            syncs: EarlySyncs::default(),
        })
    }

    /// Gives the threads a member; `false` where one of them has failed: [`Crew::finish`] says how.
    pub fn give(&mut self, thing: Thing, bytes: Vec<u8>) -> bool {
        let Dir::Fan(_, byte) = thing.dir(Area::Committed) else {
            unreachable!("members stand in directories of their first bytes");
        };
        self.given += 1;
        if self.given.is_multiple_of(limits::SYNCED_EARLY) {
            self.syncs.start(&self.unpacker);
        }
        let lanes = self.lanes.len();
        let lane = &mut self.lanes[usize::from(byte) % lanes];
        lane.next.push((thing, bytes));
        lane.next.len() < limits::UNPACKED_AT_ONCE || lane.flush()
    }

    /// Waits until all that was given is written.
    pub fn finish(mut self) -> Step<()> {
        for lane in &mut self.lanes {
            // One that failed says why when it has ended.
            lane.flush();
        }
        let mut syncs = std::mem::take(&mut self.syncs);
        self.end()
            .into_iter()
            .try_for_each(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?;
        syncs.finish()
    }

    fn end(&mut self) -> Vec<std::thread::Result<Step<()>>> {
        let threads: Vec<_> = self.lanes.drain(..).map(|lane| lane.thread).collect();
        threads.into_iter().map(JoinHandle::join).collect()
    }
}

impl UnpackLane {
    fn flush(&mut self) -> bool {
        self.batches.send(std::mem::take(&mut self.next)).is_ok()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(unpacker: &Unpacker, given: &Receiver<Batch>) -> Step<()> {
    for (thing, bytes) in given.iter().flatten() {
        unpacker.write(&thing, &bytes)?;
    }
    Ok(())
}
