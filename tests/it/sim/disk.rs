//! A simulated box: one file system, and processes that each see it as a [`Disk`].
//!
//! Every verb is a step. At a step a process may be made to fail or to die, a test may look at the
//! world, and another process may get its turn (see `schedule`).

use std::any::Any;
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use mentat_sync::disk::{
    Disk, DiskFile, Entry, Error, Handle, Held, Kind, Meta, Mode, Place, Result, Room, Target,
};
use rustix::io::Errno;

use super::schedule::{Schedule, Turn};
use super::survive::Random;
use super::world::{Object, Reading, Synced, World};

/// What a verb is about to do.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    pub process: usize,
    pub verb: &'static str,
    pub place: &'a Place,
    pub to: Option<&'a Place>,
    /// The world will look different, or be more durable, afterwards.
    pub changes: bool,
    /// No earlier schedule of an exploration came here.
    pub fresh: bool,
}

/// What goes wrong for a process, by the number of its own step (the first is 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// This step is refused with this error, where the system could give it there.
    At(u64, Errno),
    /// So is every step from this one on.
    From(u64, Errno),
    /// The process ends instead of doing this step.
    Death(u64),
}

/// What a process that ends unwinds with.
pub struct Killed;

#[derive(Default)]
struct Process {
    steps: u64,
    dead: bool,
    fault: Fault,
}

type Watch = Box<dyn FnMut(&Step, &World) + Send>;

pub struct State {
    pub world: World,
    processes: Vec<Process>,
    pub schedule: Option<Schedule>,
    watch: Option<Watch>,
    trace: Vec<(usize, &'static str, Place)>,
    refused: Vec<&'static str>,
    random: Random,
}

impl State {
    pub fn is_dead(&self, process: usize) -> bool {
        self.processes[process].dead
    }

    pub fn kill(&mut self, process: usize) {
        self.processes[process].dead = true;
        self.world.unlock_all(process);
        if let Some(schedule) = &mut self.schedule {
            schedule.lock_released();
        }
    }
}

pub struct Shared {
    state: Mutex<State>,
    pub turned: Condvar,
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A process may end at any step; the state is whole between steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A simulated box.
#[derive(Clone)]
pub struct Sim {
    pub shared: Arc<Shared>,
}

impl Sim {
    /// A box with an empty data directory.
    pub fn new(reading: Reading) -> Self {
        Self::with_world(World::new(reading))
    }

    /// A box, just started, with this on its disk.
    pub fn with_world(world: World) -> Self {
        let random = Random(world.ticks);
        let state = State {
            world,
            processes: Vec::new(),
            schedule: None,
            watch: None,
            trace: Vec::new(),
            refused: Vec::new(),
            random,
        };
        let shared = Shared {
            state: Mutex::new(state),
            turned: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A new process.
    pub fn process(&self) -> SimDisk {
        let mut state = self.shared.state();
        state.processes.push(Process::default());
        SimDisk {
            shared: self.shared.clone(),
            process: state.processes.len() - 1,
        }
    }

    /// The world as it is now.
    pub fn world(&self) -> World {
        self.shared.state().world.clone()
    }

    /// Changes the world behind everybody's back.
    pub fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.shared.state().world)
    }

    /// The box after a power cut now: see [`World::survivor`].
    pub fn survivor(&self, seed: u64) -> Sim {
        Self::with_world(self.world().survivor(seed))
    }

    /// Calls this before every step.
    pub fn watch(&self, watch: impl FnMut(&Step, &World) + Send + 'static) {
        self.shared.state().watch = Some(Box::new(watch));
    }

    /// Ends the watching.
    pub fn unwatch(&self) {
        self.shared.state().watch = None;
    }

    /// What was done so far, a line each.
    pub fn trace(&self) -> String {
        let line = |(process, verb, place): &(usize, &'static str, Place)| {
            format!("    process {process}: {verb} {place:?}\n")
        };
        self.shared.state().trace.iter().map(line).collect()
    }

    /// The verbs that were refused by a fault.
    pub fn refused(&self) -> Vec<&'static str> {
        self.shared.state().refused.clone()
    }

    /// Forgets what was done so far.
    pub fn clear_trace(&self) {
        let mut state = self.shared.state();
        state.trace.clear();
        state.refused.clear();
    }
}

/// The disk as one process sees it.
#[derive(Clone)]
pub struct SimDisk {
    pub shared: Arc<Shared>,
    pub process: usize,
}

impl SimDisk {
    /// What goes wrong from now on, counting from the next step.
    pub fn set_fault(&self, fault: Fault) {
        let mut state = self.shared.state();
        let process = &mut state.processes[self.process];
        process.steps = 0;
        process.fault = fault;
    }

    /// How many steps there were since the fault was set, or since the process started.
    pub fn steps(&self) -> u64 {
        self.shared.state().processes[self.process].steps
    }

    /// Ends the process: its locks are free, and what it calls from now on unwinds.
    pub fn kill(&self) {
        self.shared.state().kill(self.process);
        self.shared.turned.notify_all();
    }

    /// The process is dead: unwinds, unless that is what it is doing already.
    fn end<T>(&self, verb: &'static str, place: &Place) -> Result<T> {
        if !std::thread::panicking() {
            resume_unwind(Box::new(Killed));
        }
        Err(error(verb, place, Errno::IO.into()))
    }

    /// One step: waits for its turn, and then does it unless it is to fail.
    fn step<T>(
        &self,
        kind: Doing,
        verb: &'static str,
        place: &Place,
        to: Option<&Place>,
        run: impl FnOnce(&mut World, Option<Errno>) -> io::Result<T>,
    ) -> Result<T> {
        let mut state = self.shared.state();
        if state.is_dead(self.process) {
            drop(state);
            return self.end(verb, place);
        }
        let mut fresh = true;
        if state.schedule.is_some() {
            let private = match kind {
                Doing::Read(Some(object)) | Doing::Change(Some(object)) => {
                    state.world.is_private(object)
                }
                Doing::Create => place.parent().name() == "tmp",
                Doing::Read(None) | Doing::Change(None) => false,
            };
            let turn = match &mut state.schedule {
                Some(schedule) => schedule.point(self.process, private),
                None => Turn::Go,
            };
            match turn {
                Turn::Go => {}
                Turn::Kill => state.kill(self.process),
                Turn::Wait => state = self.wait(state),
            }
            fresh = state.schedule.as_ref().is_none_or(Schedule::is_fresh);
        }
        if state.is_dead(self.process) {
            drop(state);
            return self.end(verb, place);
        }
        let changes = !matches!(kind, Doing::Read(_));
        let step = Step {
            process: self.process,
            verb,
            place,
            to,
            changes,
            fresh,
        };
        if let Some(schedule) = &mut state.schedule {
            schedule.stepped(self.process, changes);
        }
        if let Some(mut watch) = state.watch.take() {
            watch(&step, &state.world);
            state.watch = Some(watch);
        }
        state
            .trace
            .push((self.process, verb, to.unwrap_or(place).clone()));
        let process = &mut state.processes[self.process];
        process.steps += 1;
        let refused = match process.fault {
            Fault::At(step, errno) if step == process.steps => plausible(errno, verb),
            Fault::From(step, errno) if step <= process.steps => plausible(errno, verb),
            Fault::Death(step) if step <= process.steps => {
                state.kill(self.process);
                drop(state);
                return self.end(verb, place);
            }
            _ => None,
        };
        if refused.is_some() {
            state.refused.push(verb);
            state.trace.push((self.process, "(refused)", place.clone()));
        }
        run(&mut state.world, refused).map_err(|source| error(verb, to.unwrap_or(place), source))
    }

    /// Waits until it is this process's turn, or it is dead.
    pub fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.shared.turned.notify_all();
        while !state.is_dead(self.process)
            && (state.schedule.as_ref()).is_some_and(|schedule| !schedule.is_turn(self.process))
        {
            state = (self.shared.turned.wait(state)).unwrap_or_else(PoisonError::into_inner);
        }
        state
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

/// What a step does, and to which open file.
#[derive(Clone, Copy)]
enum Doing {
    Read(Option<Object>),
    Change(Option<Object>),
    Create,
}

/// The error, if the system could give it for this verb.
fn plausible(errno: Errno, verb: &str) -> Option<Errno> {
    let takes_room = matches!(
        verb,
        "create" | "make" | "link" | "rename" | "write" | "cut" | "sync"
    );
    let takes_descriptor = matches!(verb, "open" | "create" | "list" | "lock");
    let possible = match errno {
        Errno::NOSPC | Errno::DQUOT => takes_room,
        Errno::MFILE | Errno::NFILE => takes_descriptor,
        _ => true,
    };
    possible.then_some(errno)
}

fn error(verb: &'static str, place: &Place, source: io::Error) -> Error {
    Error {
        verb,
        place: place.clone(),
        source,
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

    fn list(&self, directory: &Place, each: &mut dyn FnMut(Entry) -> bool) -> Result<()> {
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
        let root = Place::new("");
        self.step(
            Doing::Change(None),
            "sync",
            &root,
            None,
            |world, refused| {
                unless(refused, || {
                    world.sync_everything();
                    Ok(())
                })
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
            schedule.lock_failed(self.process);
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
        })
    }

    fn now(&self) -> SystemTime {
        self.shared.state().world.now()
    }

    fn pause(&self, time: Duration) {
        let mut state = self.shared.state();
        state.world.clock += time;
        let Some(schedule) = &mut state.schedule else {
            return;
        };
        if !schedule.pause(self.process) {
            state = self.wait(state);
        }
        if state.is_dead(self.process) {
            drop(state);
            let _ = self.end::<()>("wait", &Place::new(""));
        }
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
