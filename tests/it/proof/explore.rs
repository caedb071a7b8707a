//! Runs a scenario in many orders, cuts the power at every step of each, and judges what is left.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mentat_sync::model::limits;
use mentat_sync::store::Mistake;

use super::acts::{Act, Client, World as Disks};
use super::answers::{Answers, Book};
use super::verdict::{Files, judge};
use crate::kit::effort;
use simulated_disk::{Bounds, Chooser, Lie, Program, Random, Reading, Sim, World, run};

/// A story: what there is, and then phases, in each of which some processes work side by side.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    /// What was done so long ago that the grace period is over: it promises nothing any more.
    pub old: Vec<Act>,
    /// What was done, and made durable, just before.
    pub before: Vec<Act>,
    /// What was done to the files then, behind the store's back.
    pub meddle: Option<fn(&mut World)>,
    pub phases: Vec<Vec<Vec<Act>>>,
    /// Those of a phase are threads of one process, with one open store.
    pub one_process: bool,
    pub bounds: Bounds,
}

/// How hard to look.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Schedules, at most.
    pub schedules: usize,
    /// Surviving states drawn at each moment, besides the best and the worst.
    pub survivors: u64,
    pub seed: u64,
}

/// What the tests break on purpose.
#[derive(Clone, Debug, Default)]
pub struct Broken {
    pub lie: Option<Lie>,
    pub mistake: Option<Mistake>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    pub schedules: usize,
    /// All that the bounds allow were among them.
    pub all: bool,
    /// Moments at which the power was cut.
    pub cuts: usize,
    /// Surviving states that differ, judged.
    pub states: usize,
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drawn = if self.all {
            "all within the bounds"
        } else {
            "some drawn"
        };
        write!(
            f,
            "{} schedules ({drawn}), {} moments cut, {} states judged",
            self.schedules, self.cuts, self.states
        )
    }
}

impl Effort {
    /// From the environment: `MENTAT_SIM_EFFORT` multiplies, `MENTAT_SIM_SEED` chooses.
    pub fn of(schedules: usize, survivors: u64) -> Self {
        let times: u64 = effort::chosen("MENTAT_SIM_EFFORT").unwrap_or(1);
        Self {
            schedules: schedules * times as usize,
            survivors: survivors * times,
            seed: effort::chosen("MENTAT_SIM_SEED").unwrap_or(1),
        }
    }
}

/// A moment at which the power may go.
struct Moment {
    world: World,
    answers: Answers,
    phase: usize,
}

/// How long after what there was before the processes of the first phase start.
const STARTED_LATER: Duration = Duration::from_secs(60);

/// One exploration under way.
struct Exploration<'a> {
    scenario: &'a Scenario,
    reading: Reading,
    broken: &'a Broken,
    effort: Effort,
    world: World,
    answers: Answers,
    looked: Looked,
    /// Ways to go one step off the schedules of this round.
    departures: usize,
    judged: HashSet<(u64, u64, usize)>,
    /// Moments at which the power was cut already.
    moments: Arc<Mutex<HashSet<(u64, usize)>>>,
}

/// Explores a scenario; the error says what went wrong, and how to see it again.
pub fn explore(
    scenario: &Scenario,
    reading: Reading,
    broken: &Broken,
    effort: Effort,
) -> Result<Looked, String> {
    let (world, answers) = prepare(scenario, reading);
    let mut exploration = Exploration {
        scenario,
        reading,
        broken,
        effort,
        world,
        answers,
        looked: Looked::default(),
        departures: 0,
        judged: HashSet::new(),
        moments: Arc::default(),
    };
    exploration.walk()?;
    Ok(exploration.looked)
}

/// What there is before the first phase.
fn prepare(scenario: &Scenario, reading: Reading) -> (World, Answers) {
    let sim = Sim::new(reading);
    let book = Book::default();
    let client = Client::new(&sim, None);
    for act in &scenario.old {
        act.perform(&client, &book, Disks::Sound);
    }
    book.open().facts.clear();
    sim.with(|world| world.clock += 2 * limits::GRACE);
    for act in &scenario.before {
        act.perform(&client, &book, Disks::Sound);
    }
    let answers = book.open().clone();
    assert!(
        answers.wrong.is_empty(),
        "{}: {:?}",
        scenario.name,
        answers.wrong
    );
    let mut world = sim.world();
    if let Some(meddle) = scenario.meddle {
        meddle(&mut world);
    }
    world.settle();
    // A process that starts now has everything synced: none meets the folder for the first time.
    world.clock += STARTED_LATER;
    (world, answers)
}

/// What the processes of a phase do.
fn programs<'a>(clients: &'a [Client], phase: &'a [Vec<Act>], book: &Book) -> Vec<Program<'a>> {
    let both = clients.iter().zip(phase);
    both.map(|(client, acts)| {
        let book = book.clone();
        let program = move || {
            for act in acts {
                act.perform(client, &book, Disks::Sound);
            }
        };
        (
            client.disk.clone(),
            Box::new(program) as Box<dyn FnOnce() + Send + 'a>,
        )
    })
    .collect()
}

impl Exploration<'_> {
    /// All schedules with one departure from the plain course, then with two, and so on, as far as the
    /// bounds and the effort go. Where it would be too many the rest is drawn, of twice the bounds.
    fn walk(&mut self) -> Result<(), String> {
        for both in 0..=self.scenario.bounds.both {
            let left = self.effort.schedules.saturating_sub(self.looked.schedules);
            // Each pair of departures is met in one order.
            if both > 0 && self.departures / both > left {
                return self.draw(left);
            }
            self.departures = 0;
            self.walk_all(both)?;
        }
        self.looked.all = true;
        Ok(())
    }

    fn walk_all(&mut self, both: usize) -> Result<(), String> {
        let bounds = Bounds {
            both,
            ..self.scenario.bounds
        };
        let mut chooser = Chooser::walk();
        loop {
            chooser = self.one(chooser, bounds)?;
            if !chooser.advance() {
                return Ok(());
            }
        }
    }

    fn draw(&mut self, count: usize) -> Result<(), String> {
        let mut seeds = Random(self.effort.seed);
        let bounds = Bounds {
            switches: 2 * self.scenario.bounds.switches,
            both: 2 * self.scenario.bounds.both,
            ..self.scenario.bounds
        };
        for _ in 0..count {
            let seed = seeds.next();
            self.one(Chooser::draw(seed), bounds)
                .map_err(|what| format!("{what}\n  drawn with {seed}"))?;
        }
        Ok(())
    }

    /// One schedule of all phases, and every cut in it.
    fn one(&mut self, chooser: Chooser, bounds: Bounds) -> Result<Chooser, String> {
        self.looked.schedules += 1;
        let sim = Sim::with_world(self.world.clone());
        let book = Book::new(self.answers.clone());
        let moments: Arc<Mutex<Vec<Moment>>> = Arc::default();
        // Every process was there before the first phase, so that none has synced the rest.
        let phases: Vec<Vec<Client>> = (self.scenario.phases.iter())
            .map(|phase| self.enter(&sim, phase.len()))
            .collect();
        sim.with(|world| world.lies.extend(self.broken.lie));
        sim.clear_trace();
        let (mut chooser, mut bounds) = (chooser, bounds);
        for (phase, stores) in phases.iter().enumerate() {
            let (book_seen, seen) = (book.clone(), moments.clone());
            let known = self.moments.clone();
            sim.watch(move |step, world| {
                if step.changes {
                    book_seen.watch_head(step, world);
                }
                if step.changes && step.fresh && !world.is_durable() {
                    let answers = book_seen.open().clone();
                    let key = world.volatile_fingerprint() ^ answers.fingerprint();
                    if !known
                        .lock()
                        .expect("nobody panics with it")
                        .insert((key, phase))
                    {
                        return;
                    }
                    seen.lock().expect("nobody panics with it").push(Moment {
                        world: world.clone(),
                        answers,
                        phase,
                    });
                }
            });
            let programs = programs(stores, &self.scenario.phases[phase], &book);
            let ran = run(&sim, programs, chooser, bounds);
            (chooser, bounds) = (ran.chooser, ran.left);
            self.departures += ran.departures;
            sim.unwatch();
            let trouble = ran.panics.first().cloned();
            let trouble = trouble.or_else(|| ran.deadlock.then(|| "nobody can go on".to_owned()));
            if let Some(what) = trouble.or_else(|| book.open().wrong.first().cloned()) {
                return Err(self.told(&what, &sim.trace()));
            }
        }
        let last = self.scenario.phases.len() - 1;
        let mut moments = std::mem::take(&mut *moments.lock().expect("nobody panics with it"));
        let (world, answers) = (sim.world(), book.open().clone());
        let key = world.volatile_fingerprint() ^ answers.fingerprint();
        if (self.moments.lock().expect("nobody panics with it")).insert((key, last)) {
            moments.push(Moment {
                world,
                answers,
                phase: last,
            });
        }
        for moment in moments {
            self.cut(&moment, &sim)?;
        }
        Ok(chooser)
    }

    /// A phase's processes or threads.
    fn enter(&self, sim: &Sim, count: usize) -> Vec<Client> {
        match self.scenario.one_process {
            true => vec![Client::new(sim, self.broken.mistake); count],
            false => (0..count)
                .map(|_| Client::new(sim, self.broken.mistake))
                .collect(),
        }
    }

    /// The power goes at this moment: judges what may be left, and lets the later phases happen.
    fn cut(&mut self, moment: &Moment, sim: &Sim) -> Result<(), String> {
        self.looked.cuts += 1;
        let mut seeds = Random(self.effort.seed ^ moment.world.fingerprint());
        let drawn: Vec<u64> = (0..self.effort.survivors)
            .map(|_| seeds.next() | 2)
            .collect();
        for seed in [0, 1].into_iter().chain(drawn) {
            let left = moment.world.survivor(seed);
            let key = (
                left.fingerprint(),
                moment.answers.fingerprint(),
                moment.phase,
            );
            if !self.judged.insert(key) {
                continue;
            }
            self.looked.states += 1;
            let told = |what: String| {
                self.told(
                    &format!("after a cut (survivor {seed}): {what}"),
                    &sim.trace(),
                )
            };
            judge(
                &Sim::with_world(left.clone()),
                &moment.answers,
                self.files(),
            )
            .map_err(told)?;
            if moment.phase + 1 < self.scenario.phases.len() {
                let order = seeds.next();
                self.go_on(left, moment, order).map_err(told)?;
            }
        }
        Ok(())
    }

    /// The later phases on what a cut left, in some order, and what may be left of that.
    fn go_on(&self, left: World, moment: &Moment, order: u64) -> Result<(), String> {
        let sim = Sim::with_world(left);
        let book = Book::new(moment.answers.clone());
        book.open().advancing.clear();
        for phase in &self.scenario.phases[moment.phase + 1..] {
            let stores = self.enter(&sim, phase.len());
            let programs = programs(&stores, phase, &book);
            let watching = book.clone();
            sim.watch(move |step, world| watching.watch_head(step, world));
            let ran = run(&sim, programs, Chooser::draw(order), self.scenario.bounds);
            sim.unwatch();
            let wrong = ran
                .panics
                .first()
                .cloned()
                .or_else(|| book.open().wrong.first().cloned());
            if let Some(what) = wrong {
                return Err(format!("in a later phase: {what}\n{}", sim.trace()));
            }
        }
        let answers = book.open().clone();
        for seed in [0, 1, order | 2] {
            judge(&sim.survivor(seed), &answers, self.files())
                .map_err(|what| format!("at the end: {what}\n{}", sim.trace()))?;
        }
        Ok(())
    }

    fn files(&self) -> Files {
        match self.scenario.meddle {
            Some(_) => Files::MeddledWith,
            None => Files::Ours,
        }
    }

    fn told(&self, what: &str, trace: &str) -> String {
        format!(
            "{} ({:?}, MENTAT_SIM_SEED={}): {what}\n{trace}",
            self.scenario.name, self.reading, self.effort.seed
        )
    }
}
