//! A folder of block files, served over FUSE. One of them is recorded: every write with its bytes, every
//! flush, and the marks that the clients set. The others are the disks that a power cut leaves.
//!
//! One thread serves them all, and a mark takes the same lock as a write, so that the recording has one
//! order: what stands before a mark had happened when the mark was set.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyWrite, Request, WriteFlags,
};

use crate::blocks::Blocks;
use crate::mark::Mark;

/// What happened to the recorded disk.
pub enum Event {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Everything before is durable.
    Flush,
    Mark(Mark),
}

/// One block file.
struct Disk {
    blocks: Blocks,
    bytes: u64,
    recorded: bool,
}

#[derive(Default)]
struct State {
    disks: HashMap<u64, Disk>,
    last: u64,
    recording: Vec<Event>,
}

/// The folder. Dropped, it is unmounted.
pub struct Devices {
    state: Arc<Mutex<State>>,
    at: PathBuf,
    _session: BackgroundSession,
}

impl Devices {
    /// Mounts an empty one here.
    pub fn mount(at: &Path) -> io::Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("crash-test".to_owned())];
        let session = fuser::spawn_mount(Served(Arc::clone(&state)), at, &config)?;
        Ok(Self {
            state,
            at: at.to_owned(),
            _session: session,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A new block file with this in it.
    pub fn add(&self, blocks: Blocks, bytes: u64) -> Device<'_> {
        let mut state = self.state();
        state.last = state.last.max(INodeNo::ROOT.0) + 1;
        let number = state.last;
        let disk = Disk {
            blocks,
            bytes,
            recorded: false,
        };
        state.disks.insert(number, disk);
        Device {
            devices: self,
            number,
        }
    }

    /// Sets a mark in the recording.
    pub fn mark(&self, mark: Mark) {
        self.state().recording.push(Event::Mark(mark));
    }

    /// The recording so far; a new one begins.
    pub fn take_recording(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().recording)
    }
}

/// A block file. Dropped, it is gone; nothing may have it mounted then.
pub struct Device<'a> {
    devices: &'a Devices,
    number: u64,
}

impl Device<'_> {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.devices.at.join(self.number.to_string())
    }

    /// From now on it is recorded; what it holds now.
    pub fn record(&self) -> Blocks {
        let mut state = self.devices.state();
        state.recording.clear();
        let disk = state
            .disks
            .get_mut(&self.number)
            .expect("it is there until this is dropped");
        disk.recorded = true;
        disk.blocks.clone()
    }
}

impl Drop for Device<'_> {
    fn drop(&mut self) {
        self.devices.state().disks.remove(&self.number);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nobody panics with the disks")
}

struct Served(Arc<Mutex<State>>);

/// A folder's listing may change at any time.
const FRESH: Duration = Duration::ZERO;

impl Served {
    fn attributes(&self, number: u64) -> Option<FileAttr> {
        let top = number == INodeNo::ROOT.0;
        let bytes = if top {
            0
        } else {
            lock(&self.0).disks.get(&number)?.bytes
        };
        Some(FileAttr {
            ino: INodeNo(number),
            size: bytes,
            blocks: bytes / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if top {
                FileType::Directory
            } else {
                FileType::RegularFile
            },
            perm: if top { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let number = name.to_str().and_then(|name| name.parse().ok());
        match number.and_then(|number| self.attributes(number)) {
            Some(found) => reply.entry(&FRESH, &found, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(number.0) {
            Some(found) => reply.attr(&FRESH, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    // mkfs cuts the file to the length that it has.
    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<fuser::TimeOrNow>,
        _: Option<fuser::TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.attributes(number.0) {
            Some(found) => reply.attr(&FRESH, &found),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = lock(&self.0);
        let Some(disk) = state.disks.get(&number.0) else {
            return reply.error(Errno::EIO);
        };
        let length = u64::from(length).min(disk.bytes.saturating_sub(offset));
        let mut buffer = vec![0; length as usize];
        disk.blocks.read(offset, &mut buffer);
        drop(state);
        reply.data(&buffer);
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = lock(&self.0);
        let Some(disk) = state.disks.get_mut(&number.0) else {
            return reply.error(Errno::EIO);
        };
        if offset + bytes.len() as u64 > disk.bytes {
            return reply.error(Errno::ENOSPC);
        }
        disk.blocks.write(offset, bytes);
        if disk.recorded {
            let bytes = bytes.to_vec();
            state.recording.push(Event::Write { offset, bytes });
        }
        drop(state);
        reply.written(bytes.len() as u32);
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = lock(&self.0);
        if state.disks.get(&number.0).is_some_and(|disk| disk.recorded) {
            state.recording.push(Event::Flush);
        }
        drop(state);
        reply.ok();
    }

    // Closing is no flush.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
