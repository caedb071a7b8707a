//! A simulated box: one file system, and processes that each see it as a disk (see `disk`).
//!
//! Every verb is a step. At a step a process may be made to fail or to die, a test may look at the
//! world, and another process may get its turn (see `schedule`).

use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use mentat_sync::disk::{Error, Place, Result};
use rustix::io::Errno;

use super::schedule::{Schedule, Turn, actor};
use super::survive::Random;
use super::world::{Object, Reading, World};

/// What a verb is about to do.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
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
    /// The next sync of everything is refused, and none after it.
    NextSync(Errno),
    /// The process ends instead of doing this step.
    Death(u64),
}

/// The verb that syncs all there is in a directory.
pub const SYNC_BELOW: &str = "sync below";

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
    pub random: Random,
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
    pub fn end<T>(&self, verb: &'static str, place: &Place) -> Result<T> {
        if !std::thread::panicking() {
            resume_unwind(Box::new(Killed));
        }
        Err(error(verb, place, Errno::IO.into()))
    }

    /// One step: waits for its turn, and then does it unless it is to fail.
    pub fn step<T>(
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
                Doing::Create => place.parent().name() == "tmp" || is_a_pushs(place),
                // A rename out of it is not.
                Doing::Change(None) => to.is_none() && is_a_pushs(place),
                Doing::Read(None) => false,
            };
            let turn = match &mut state.schedule {
                Some(schedule) => schedule.point(actor(), private),
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
            verb,
            place,
            to,
            changes,
            fresh,
        };
        if let Some(schedule) = &mut state.schedule {
            schedule.stepped(actor(), changes);
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
            Fault::NextSync(errno) if verb == SYNC_BELOW => {
                process.fault = Fault::None;
                Some(errno)
            }
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
            && (state.schedule.as_ref()).is_some_and(|schedule| !schedule.is_turn(actor()))
        {
            state = (self.shared.turned.wait(state)).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

/// What a step does, and to which open file.
#[derive(Clone, Copy)]
pub enum Doing {
    Read(Option<Object>),
    Change(Option<Object>),
    Create,
}

/// In the folder of a pushed bundle, where nobody else looks.
fn is_a_pushs(place: &Place) -> bool {
    let below = place.as_str().split_once("/incoming/tmp/");
    below.is_some_and(|(_, rest)| rest.contains('/'))
}

/// The error, if the system could give it for this verb.
fn plausible(errno: Errno, verb: &str) -> Option<Errno> {
    let takes_room = matches!(
        verb,
        "create" | "make" | "link" | "rename" | "write" | "cut" | "sync" | SYNC_BELOW
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
