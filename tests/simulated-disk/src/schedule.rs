//! Who goes on, where several processes or threads share a simulated box: exactly one at a time, from
//! step to step, in every order that the bounds allow.
//!
//! A schedule is a list of choices. [`Chooser`] walks the tree of them depth first, or draws one. To
//! leave a process that could go on, or to kill it, costs; to go on with another one where one ended
//! or waits for a lock is free, and all are tried.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::machine::{Killed, Sim, SimDisk};
use super::survive::Random;

/// How far a schedule may stray from letting each process run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How often a process is left that could go on.
    pub switches: usize,
    /// How many processes are killed.
    pub kills: usize,
    /// How often either happens.
    pub both: usize,
}

/// Makes the choices of one schedule after the other.
pub struct Chooser {
    path: Vec<(usize, usize)>,
    depth: usize,
    /// Where this schedule parts from the one before.
    parts: usize,
    drawn: Option<Random>,
    /// How likely a drawn schedule is to stray, out of 64.
    likely: usize,
}

impl Chooser {
    /// For walking the tree.
    pub fn walk() -> Self {
        Self {
            path: Vec::new(),
            depth: 0,
            parts: 0,
            drawn: None,
            likely: 0,
        }
    }

    /// For one schedule that follows from a seed.
    pub fn draw(seed: u64) -> Self {
        Self {
            drawn: Some(Random(seed)),
            likely: [1, 2, 4, 16][(seed >> 8) as usize % 4],
            ..Self::walk()
        }
    }

    fn choose(&mut self, options: usize, free: bool) -> usize {
        if options == 1 {
            return 0;
        }
        if let Some(random) = &mut self.drawn {
            let stray = free || random.below(64) < self.likely;
            return if stray { random.below(options) } else { 0 };
        }
        if self.depth == self.path.len() {
            self.path.push((0, options));
        }
        let (taken, known) = self.path[self.depth];
        assert_eq!(known, options, "the same choices lead to the same place");
        self.depth += 1;
        taken
    }

    /// Goes on to the next schedule; false when there is none.
    pub fn advance(&mut self) -> bool {
        self.depth = 0;
        while let Some((taken, options)) = self.path.pop() {
            if taken + 1 < options {
                self.path.push((taken + 1, options));
                self.parts = self.path.len();
                return true;
            }
        }
        false
    }

    fn is_fresh(&self) -> bool {
        self.depth >= self.parts
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Ready,
    /// For a lock that somebody else holds.
    Waiting,
    Done,
}

struct Thread {
    status: Status,
    /// It tried for a lock in vain, and nobody let one go since.
    in_vain: bool,
    /// It changed something since it could last have been killed.
    changed: bool,
}

/// What a process does at a step.
pub enum Turn {
    Go,
    Wait,
    Kill,
}

/// The processes that take turns.
pub struct Schedule {
    threads: Vec<Thread>,
    current: Option<usize>,
    chooser: Chooser,
    left: Bounds,
    deadlock: bool,
    steps: usize,
    departures: usize,
}

/// More steps than any schedule has that ends.
const RUNAWAY: usize = 50_000;

impl Schedule {
    fn new(actors: usize, chooser: Chooser, bounds: Bounds) -> Self {
        let thread = |_| Thread {
            status: Status::Ready,
            in_vain: false,
            changed: false,
        };
        let mut schedule = Self {
            threads: (0..actors).map(thread).collect(),
            current: None,
            chooser,
            left: bounds,
            deadlock: false,
            steps: 0,
            departures: 0,
        };
        schedule.pass_on();
        schedule
    }

    fn others(&self, index: usize) -> Vec<usize> {
        let ready = |other: &usize| *other != index && self.threads[*other].status == Status::Ready;
        (0..self.threads.len()).filter(ready).collect()
    }

    /// Somebody who can goes on next.
    fn pass_on(&mut self) {
        let ready = self.others(usize::MAX);
        self.current = match ready.len() {
            0 => None,
            options => Some(ready[self.chooser.choose(options, true)]),
        };
        let waiting = |thread: &Thread| thread.status == Status::Waiting;
        self.deadlock |= self.current.is_none() && self.threads.iter().any(waiting);
    }

    pub fn is_turn(&self, actor: usize) -> bool {
        // Everybody unwinds where nobody can go on.
        self.deadlock || self.current == Some(actor)
    }

    pub fn is_fresh(&self) -> bool {
        self.chooser.is_fresh()
    }

    /// A process is about to take a step.
    pub fn point(&mut self, index: usize, private: bool) -> Turn {
        self.steps += 1;
        if self.deadlock || self.steps > RUNAWAY {
            self.deadlock = true;
            return Turn::Kill;
        }
        if private {
            return Turn::Go;
        }
        let mut others = self.others(index);
        let mut kill = self.threads[index].changed;
        self.departures += usize::from(kill) + others.len();
        if self.left.switches.min(self.left.both) == 0 {
            others.clear();
        }
        kill &= self.left.kills.min(self.left.both) > 0;
        match self
            .chooser
            .choose(1 + others.len() + usize::from(kill), false)
        {
            0 => Turn::Go,
            switch if switch <= others.len() => {
                self.left.both -= 1;
                self.left.switches -= 1;
                self.current = Some(others[switch - 1]);
                Turn::Wait
            }
            _ => {
                self.left.both -= 1;
                self.left.kills -= 1;
                Turn::Kill
            }
        }
    }

    /// A process takes a step.
    pub fn stepped(&mut self, index: usize, changes: bool) {
        self.threads[index].changed = changes;
    }

    pub fn lock_failed(&mut self, index: usize) {
        self.threads[index].in_vain = true;
    }

    pub fn lock_released(&mut self) {
        for thread in &mut self.threads {
            thread.in_vain = false;
            if thread.status == Status::Waiting {
                thread.status = Status::Ready;
            }
        }
    }

    /// A process waits. True when it may go on at once.
    pub fn pause(&mut self, index: usize) -> bool {
        if !std::mem::take(&mut self.threads[index].in_vain) {
            return true;
        }
        self.threads[index].status = Status::Waiting;
        self.pass_on();
        false
    }

    /// A thread waits for another one of its process: those go on who can, and it looks again when it is its
    /// turn. True where there is nobody else.
    pub fn give_way(&mut self, index: usize) -> bool {
        let others = self.others(index);
        if others.is_empty() {
            return true;
        }
        self.current = Some(others[self.chooser.choose(others.len(), true)]);
        false
    }

    fn done(&mut self, index: usize) {
        self.threads[index].status = Status::Done;
        if self.current == Some(index) {
            self.pass_on();
        }
    }
}

/// How a schedule went.
pub struct Ran {
    pub chooser: Chooser,
    /// What is left of the bounds.
    pub left: Bounds,
    /// What processes panicked with; being killed is no panic.
    pub panics: Vec<String>,
    /// Nobody could go on, or nobody ever ended.
    pub deadlock: bool,
    /// How many other ways there were to go, one step off this one.
    pub departures: usize,
}

thread_local! {
    static ACTOR: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Which of those who take turns this thread is.
pub fn actor() -> usize {
    ACTOR.get()
}

/// What a process does; several may be threads of one process.
pub type Program<'a> = (SimDisk, Box<dyn FnOnce() + Send + 'a>);

/// Runs each of these in a process of its own, taking turns.
pub fn run(sim: &Sim, programs: Vec<Program<'_>>, chooser: Chooser, bounds: Bounds) -> Ran {
    sim.shared.state().schedule = Some(Schedule::new(programs.len(), chooser, bounds));
    let mut panics = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (programs.into_iter().enumerate())
            .map(|(index, (disk, program))| {
                scope.spawn(move || {
                    ACTOR.set(index);
                    drop(disk.wait(disk.shared.state()));
                    let result = catch_unwind(AssertUnwindSafe(program));
                    let mut state = disk.shared.state();
                    if let Some(schedule) = &mut state.schedule {
                        schedule.done(index);
                    }
                    drop(state);
                    disk.shared.turned.notify_all();
                    result
                })
            })
            .collect();
        for thread in threads {
            let result = thread.join().expect("its panics are caught");
            let Err(panic) = result else { continue };
            if !panic.is::<Killed>() {
                panics.push(message(&*panic));
            }
        }
    });
    let schedule = sim.shared.state().schedule.take();
    let schedule = schedule.expect("nobody else takes it");
    Ran {
        chooser: schedule.chooser,
        left: schedule.left,
        panics,
        deadlock: schedule.deadlock,
        departures: schedule.departures,
    }
}

/// What a panic says.
pub fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
