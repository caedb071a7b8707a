//! The verbs of a [`Disk`] on a simulated box, each of them one step.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use mentat_sync::disk::{
    Disk, DiskFile, Handle, Held, Kind, Listed, Meta, Mode, Place, Result, Room, Target,
};
use rustix::io::Errno;

use super::machine::{Doing, SYNC_BELOW, Shared, SimDisk, State};
use super::schedule::{Schedule, actor};
use super::world::{Object, Synced, new_year};

impl SimDisk {
    /// Lets others go on; `how` says whether this one may, at once.
    fn stands_back(&self, mut state: MutexGuard<'_, State>, how: fn(&mut Schedule, usize) -> bool) {
        let Some(schedule) = &mut state.schedule else {
            return;
        };
        if !how(schedule, actor()) {
            state = self.wait(state);
        }
        if state.is_dead(self.process) {
            drop(state);
            let _ = self.end::<()>("wait", &Place::new(""));
        }
    }

    fn handle(&self, place: &Place, object: Object, writable: bool) -> Handle {
        Arc::new(SimFile {
            disk: self.clone(),
            place: place.clone(),
            object,
            writable,
            written: AtomicUsize::new(0),
        })
    }
}

/// Nothing is done where an error was ordered.
fn unless<T>(refused: Option<Errno>, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match refused {
        Some(errno) => Err(errno.into()),
        None => run(),
    }
}

impl Disk for SimDisk {
    fn open(&self, place: &Place) -> Result<Handle> {
        self.step(Doing::Read(None), "open", place, None, |world, refused| {
            unless(refused, || world.open(place))
        })
        .map(|object| self.handle(place, object, false))
    }

    fn open_to_write(&self, place: &Place) -> Result<Handle> {
        self.step(Doing::Read(None), "open", place, None, |world, refused| {
            unless(refused, || world.open(place))
        })
        .map(|object| self.handle(place, object, true))
    }

    fn create(&self, place: &Place) -> Result<Handle> {
        self.step(Doing::Create, "create", place, None, |world, refused| {
            unless(refused, || world.create(place))
        })
        .map(|object| self.handle(place, object, true))
    }

    fn meta(&self, place: &Place) -> Result<Meta> {
        self.step(
            Doing::Read(None),
            "look at",
            place,
            None,
            |world, refused| unless(refused, || Ok(world.meta(world.at(place)?))),
        )
    }

    fn list(&self, directory: &Place, each: &mut dyn FnMut(Listed) -> bool) -> Result<()> {
        let entries = self.step(
            Doing::Read(None),
            "list",
            directory,
            None,
            |world, refused| unless(refused, || world.list(directory)),
        )?;
        for entry in entries {
            if !each(entry) {
                break;
            }
        }
        Ok(())
    }

    fn make_directory(&self, place: &Place) -> Result<()> {
        self.step(
            Doing::Change(None),
            "make",
            place,
            None,
            |world, refused| unless(refused, || world.make_directory(place)),
        )
    }

    fn link(&self, from: &Place, to: &Place) -> Result<()> {
        self.step(
            Doing::Change(None),
            "link",
            from,
            Some(to),
            |world, refused| unless(refused, || world.link(from, to)),
        )
    }

    fn rename_new(&self, from: &Place, to: &Place) -> Result<()> {
        self.step(
            Doing::Change(None),
            "rename",
            from,
            Some(to),
            |world, refused| unless(refused, || world.rename(from, to, false)),
        )
    }

    fn rename_over(&self, from: &Place, to: &Place) -> Result<()> {
        self.step(
            Doing::Change(None),
            "rename",
            from,
            Some(to),
            |world, refused| unless(refused, || world.rename(from, to, true)),
        )
    }

    fn remove_file(&self, place: &Place) -> Result<()> {
        self.step(
            Doing::Change(None),
            "remove",
            place,
            None,
            |world, refused| unless(refused, || world.remove(place, Kind::File)),
        )
    }

    fn remove_directory(&self, place: &Place) -> Result<()> {
        self.step(
            Doing::Change(None),
            "remove",
            place,
            None,
            |world, refused| unless(refused, || world.remove(place, Kind::Directory)),
        )
    }

    fn sync(&self, targets: &[Target]) -> Result<()> {
        let Some(first) = targets.first() else {
            return Ok(());
        };
        let own = |handle: &Handle| {
            let file = handle.as_any().downcast_ref::<SimFile>();
            let file = file.expect("a simulated disk is given its own files");
            (file.object, file.place.clone())
        };
        let (place, only) = match first {
            Target::Directory(place) => (place.clone(), None),
            Target::File(handle) => {
                let (object, place) = own(handle);
                (place, (targets.len() == 1).then_some(object))
            }
        };
        self.step(
            Doing::Change(only),
            "sync",
            &place,
            None,
            |world, refused| {
                let mut found = Vec::new();
                for target in targets {
                    found.push(match target {
                        Target::File(handle) => Synced::File(own(handle).0),
                        Target::Directory(place) => Synced::Directory(world.at(place)?),
                    });
                }
                for target in found {
                    match refused {
                        Some(_) => world.doom(target),
                        None => world.sync(target),
                    }
                }
                unless(refused, || Ok(()))
            },
        )
    }

    fn sync_everything(&self) -> Result<()> {
        self.sync_written(&Place::new(""))
    }

    fn sync_written(&self, directory: &Place) -> Result<()> {
        self.step(
            Doing::Change(None),
            SYNC_BELOW,
            directory,
            None,
            |world, refused| {
                let top = world.at(directory)?;
                unless(refused, || {
                    world.sync_below(top);
                    Ok(())
                })
            },
        )
    }

    fn sync_below(&self, directory: &Place) -> Result<()> {
        self.step(
            Doing::Change(None),
            "sync",
            directory,
            None,
            |world, refused| {
                let below = world.below(world.at(directory)?);
                for target in below {
                    match refused {
                        Some(_) => world.doom(target),
                        None => world.sync(target),
                    }
                }
                unless(refused, || Ok(()))
            },
        )
    }

    fn try_lock(&self, place: &Place, mode: Mode) -> Result<Option<Box<dyn Held>>> {
        let (inode, taken) =
            self.step(Doing::Read(None), "lock", place, None, |world, refused| {
                unless(refused, || {
                    let object = world.at(place)?;
                    let id = world.lock(object, self.process, mode);
                    Ok((world.meta(object).inode, id))
                })
            })?;
        if taken.is_none()
            && let Some(schedule) = &mut self.shared.state().schedule
        {
            schedule.lock_failed(actor());
        }
        Ok(taken.map(|id| {
            Box::new(SimLock {
                shared: self.shared.clone(),
                id,
                inode,
            }) as Box<dyn Held>
        }))
    }

    fn room(&self) -> Result<Room> {
        Ok(Room {
            free_bytes: 1 << 40,
            free_files: 1 << 20,
            bytes: 1 << 41,
            files: 1 << 21,
        })
    }

    fn now(&self) -> SystemTime {
        self.shared.state().world.now()
    }

    fn elapsed(&self) -> Duration {
        let now = self.shared.state().world.now();
        now.duration_since(new_year()).unwrap_or_default()
    }

    fn pause(&self, time: Duration) {
        let mut state = self.shared.state();
        state.world.clock += time;
        self.stands_back(state, Schedule::pause);
    }

    fn park(&self, time: Duration) {
        let state = self.shared.state();
        if state.schedule.is_none() {
            drop(state);
            return std::thread::park_timeout(time);
        }
        self.stands_back(state, Schedule::give_way);
    }

    fn random(&self) -> u64 {
        self.shared.state().random.next()
    }
}

struct SimLock {
    shared: Arc<Shared>,
    id: u64,
    inode: u64,
}

impl Held for SimLock {
    fn inode(&self) -> u64 {
        self.inode
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.world.unlock(self.id);
        if let Some(schedule) = &mut state.schedule {
            schedule.lock_released();
        }
    }
}

struct SimFile {
    disk: SimDisk,
    place: Place,
    object: Object,
    writable: bool,
    written: AtomicUsize,
}

impl SimFile {
    fn put(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        let kind = Doing::Change(Some(self.object));
        self.disk
            .step(kind, "write", &self.place, None, |world, refused| {
                if !self.writable {
                    return Err(Errno::BADF.into());
                }
                if refused.is_some() {
                    world.write(self.object, offset, &bytes[..bytes.len() / 2]);
                }
                unless(refused, || {
                    world.write(self.object, offset, bytes);
                    Ok(())
                })
            })
    }
}

impl DiskFile for SimFile {
    fn append(&self, bytes: &[u8]) -> Result<()> {
        let offset = self.written.fetch_add(bytes.len(), Ordering::SeqCst);
        self.put(offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.put(offset as usize, bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let kind = Doing::Read(Some(self.object));
        self.disk
            .step(kind, "read", &self.place, None, |world, refused| {
                unless(refused, || {
                    let bytes = &world.file(self.object)?.bytes;
                    let rest = bytes.get(offset as usize..).unwrap_or_default();
                    let length = rest.len().min(buffer.len());
                    buffer[..length].copy_from_slice(&rest[..length]);
                    Ok(length)
                })
            })
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        let kind = Doing::Change(Some(self.object));
        self.disk
            .step(kind, "cut", &self.place, None, |world, refused| {
                if !self.writable {
                    return Err(Errno::BADF.into());
                }
                unless(refused, || {
                    world.set_len(self.object, bytes as usize);
                    Ok(())
                })
            })
    }

    fn meta(&self) -> Result<Meta> {
        let kind = Doing::Read(Some(self.object));
        self.disk
            .step(kind, "look at", &self.place, None, |world, refused| {
                unless(refused, || Ok(world.meta(self.object)))
            })
    }

    fn touch(&self, time: SystemTime) -> Result<()> {
        let kind = Doing::Change(Some(self.object));
        self.disk
            .step(kind, "touch", &self.place, None, |world, refused| {
                unless(refused, || {
                    world.touch(self.object, time);
                    Ok(())
                })
            })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.shared.state().world.close(self.object);
    }
}
