//! A user moves between simulated boxes: the send is killed, and the power of either box cut, at every step of it. Whatever is left, the
//! user is not thawed on two boxes, nothing that was acknowledged is lost, and the same send again has the user there.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mentat_sync::store::{Mistake, MoveName, ThawUser};
use mentat_sync::upkeep::send::{CopyRound, OtherSide, SendError, SentUser, StopSend, send_to};
use rustix::io::Errno;
use simulated_disk::{Fault, Random, Reading, Sim, World};

use super::simulated::{SimulatedSide, Slip};
use crate::kit::effort;
use crate::proof::{Act, Answers, Book, Client, Disks, Files, cast, folder, judge, judge_files};

/// What a test breaks on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wrong {
    pub mistake: Option<Mistake>,
    pub slip: Option<Slip>,
}

/// A moment at which a process is killed, or the power goes.
struct Moment {
    worlds: Vec<World>,
    answers: Answers,
}

/// One box that has a user, and two that have none.
pub struct Boxes {
    pub sims: Vec<Sim>,
    pub book: Book,
    moves: u8,
}

type Moments = Arc<Mutex<Vec<Moment>>>;

impl Boxes {
    pub fn new(reading: Reading) -> Self {
        let boxes = Self {
            sims: (0..3).map(|_| Sim::new(reading)).collect(),
            book: Book::default(),
            moves: 0,
        };
        let client = Client::new(&boxes.sims[0], None);
        for act in [
            Act::PutChunk("a"),
            Act::PutChunk("b"),
            Act::PutTransaction("A"),
            Act::Advance("A"),
            Act::PutTransaction("B"),
            Act::PutCheckpoint("Kb"),
        ] {
            act.perform(&client, &boxes.book, Disks::Sound);
        }
        boxes.expect_right();
        for sim in &boxes.sims {
            drop(Client::new(sim, None));
            sim.with(|world| {
                world.settle();
                world.clock += Duration::from_secs(60);
            });
        }
        boxes
    }

    /// Boxes with these disks, just started, where this was answered.
    pub fn of(worlds: &[World], answers: &Answers, moves: u8) -> Self {
        Self {
            sims: worlds
                .iter()
                .map(|world| Sim::with_world(world.clone()))
                .collect(),
            book: Book::new(answers.clone()),
            moves,
        }
    }

    fn expect_right(&self) {
        let answers = self.book.open();
        assert!(answers.wrong.is_empty(), "{:?}", answers.wrong);
    }

    pub fn worlds(&self) -> Vec<World> {
        self.sims.iter().map(Sim::world).collect()
    }

    /// The name of the next move.
    pub fn next_name(&mut self) -> MoveName {
        self.moves += 1;
        MoveName::of([self.moves; 16])
    }

    /// One send, with clients who write meanwhile where these are served.
    pub fn send(
        &mut self,
        from: usize,
        to: usize,
        wrong: Wrong,
        acts: &[Act],
    ) -> Result<SentUser, SendError> {
        let client = Client::new(&self.sims[from], wrong.mistake);
        self.send_by(&client, from, to, wrong, acts)
    }

    /// The same by this process.
    fn send_by(
        &mut self,
        client: &Client,
        from: usize,
        to: usize,
        wrong: Wrong,
        acts: &[Act],
    ) -> Result<SentUser, SendError> {
        let name = self.next_name();
        let (here, there) = (self.sims[from].process(), self.sims[to].process());
        let mut side = Written {
            side: SimulatedSide::new(here, there, wrong.slip),
            writer: client,
            book: &self.book,
            acts,
        };
        let stop = StopSend::default();
        send_to(&client.store, &cast::user(), &mut side, name, &stop)
    }

    /// Notes every moment from here on.
    fn watch(&self) -> Moments {
        let moments = Moments::default();
        for (at, sim) in self.sims.iter().enumerate() {
            let (seen, book) = (moments.clone(), self.book.clone());
            let others = self.sims.clone();
            sim.watch(move |step, world| {
                if !step.changes {
                    return;
                }
                let worlds = others.iter().enumerate();
                let worlds = worlds.map(|(other, sim)| match other == at {
                    true => world.clone(),
                    false => sim.world(),
                });
                let answers = book.open().clone();
                let moment = Moment {
                    worlds: worlds.collect(),
                    answers,
                };
                seen.lock().expect("nobody panics with it").push(moment);
            });
        }
        moments
    }

    fn noted(&self, moments: &Moments) -> Vec<Moment> {
        self.sims.iter().for_each(Sim::unwatch);
        let mut noted = std::mem::take(&mut *moments.lock().expect("nobody panics with it"));
        noted.push(Moment {
            worlds: self.worlds(),
            answers: self.book.open().clone(),
        });
        noted
    }
}

/// Clients write on the side that sends, once the bulk has been copied, and again when that was compared.
struct Written<'a> {
    side: SimulatedSide,
    writer: &'a Client,
    book: &'a Book,
    acts: &'a [Act],
}

impl OtherSide for Written<'_> {
    fn ask(&mut self, step: &str) -> Result<Vec<Vec<u8>>, SendError> {
        self.side.ask(step)
    }

    fn copy(&mut self, what: CopyRound) -> Result<(), SendError> {
        self.side.copy(what)?;
        let now = self.acts.len().div_ceil(2).min(self.acts.len());
        let (now, later) = self.acts.split_at(now);
        self.acts = later;
        if what != CopyRound::Rest {
            for act in now {
                act.perform(self.writer, self.book, Disks::Sound);
            }
        }
        Ok(())
    }
}

const MEANWHILE: [Act; 4] = [
    Act::PutChunk("c"),
    Act::Advance("B"),
    Act::PutTransaction("C"),
    Act::Advance("C"),
];

/// Has the user served on a box if that takes no force.
fn thaws(sim: &Sim, mistake: Option<Mistake>) -> Option<Sim> {
    let sim = Sim::with_world(sim.world());
    sim.with(|world| world.at(&folder()).ok())?;
    let client = Client::new(&sim, mistake);
    let lock = client
        .store
        .user(cast::user())
        .though_frozen()
        .exclusive_blocking();
    let thawed = lock.unwrap()?.thaw(false).unwrap();
    matches!(thawed, ThawUser::Thawed | ThawUser::NotFrozen).then_some(sim)
}

/// The boxes on which it takes no force, each as it is then.
pub fn thawable(boxes: &Boxes, wrong: Wrong) -> Vec<(usize, Sim)> {
    let thawed = boxes.sims.iter().enumerate();
    thawed
        .filter_map(|(at, sim)| Some((at, thaws(sim, wrong.mistake)?)))
        .collect()
}

/// Exactly one box has the user, with all that was acknowledged, once the sends that were begun are repeated.
pub fn comes_back(boxes: &mut Boxes, wrong: Wrong, sends: &[(usize, usize)]) -> Result<(), String> {
    let answers = boxes.book.open().clone();
    check_one(boxes, wrong)?;
    let mut last = String::new();
    for &(from, to) in sends {
        match boxes.send(
            from,
            to,
            Wrong {
                slip: None,
                ..wrong
            },
            &[],
        ) {
            Ok(_) => {}
            Err(error) => last = error.to_string(),
        }
        check_one(boxes, wrong)?;
    }
    let thawed = thawable(boxes, wrong);
    let [(_, one)] = thawed.as_slice() else {
        return Err(format!("nobody has the user for good: {last}"));
    };
    judge(one, &answers, Files::Ours).map_err(|what| format!("where it is thawed: {what}"))
}

/// At most one box may be thawed, and has all that was acknowledged.
fn check_one(boxes: &Boxes, wrong: Wrong) -> Result<(), String> {
    let thawed = thawable(boxes, wrong);
    if thawed.len() > 1 {
        return Err("both thawed".to_owned());
    }
    for (at, sim) in thawed {
        let judged = judge_files(&sim.world(), &boxes.book.open());
        judged.map_err(|what| format!("acknowledged and lost on box {at}: {what}"))?;
    }
    Ok(())
}

/// What was looked at.
#[derive(Debug, Default)]
struct Looked {
    moments: usize,
    states: usize,
}

struct Explorer {
    wrong: Wrong,
    survivors: usize,
    random: Random,
    seen: HashSet<Vec<u64>>,
    looked: Looked,
}

impl Explorer {
    fn new(wrong: Wrong, survivors: usize) -> Self {
        Self {
            wrong,
            survivors,
            random: Random(effort::chosen("MENTAT_SIM_SEED").unwrap_or(1)),
            seen: HashSet::new(),
            looked: Looked::default(),
        }
    }

    /// Sends from 0 to 1, stopped at every so many-th moment in every way; then that same send again. With `depth`, the one again is
    /// stopped likewise.
    fn explore(
        &mut self,
        boxes: &mut Boxes,
        acts: &[Act],
        every: usize,
        depth: usize,
    ) -> Result<(), String> {
        let moments = boxes.watch();
        let sent = boxes.send(0, 1, self.wrong, acts);
        let noted = boxes.noted(&moments);
        boxes.expect_right();
        sent.map_err(|error| format!("it is not sent: {error}"))?;
        let first = self.random.below(every);
        for moment in noted.iter().skip(first).step_by(every) {
            self.looked.moments += 1;
            // The send is killed, and all else goes on.
            let killed = Boxes::of(&moment.worlds, &moment.answers, boxes.moves);
            self.after(&killed, depth)?;
            for cut in [&[0][..], &[1], &[0, 1]] {
                for _ in 0..self.survivors {
                    let seed = self.random.next() % 8;
                    let seed = if seed < 2 {
                        seed
                    } else {
                        self.random.next() | 2
                    };
                    let mut worlds = moment.worlds.clone();
                    for &at in cut {
                        worlds[at] = worlds[at].survivor(seed);
                    }
                    let left = Boxes::of(&worlds, &moment.answers, boxes.moves);
                    let told = |what| format!("after a cut of {cut:?} (survivor {seed}): {what}");
                    self.after(&left, depth).map_err(told)?;
                }
            }
        }
        Ok(())
    }

    fn after(&mut self, left: &Boxes, depth: usize) -> Result<(), String> {
        let worlds = left.worlds();
        let mut key: Vec<u64> = worlds.iter().map(World::volatile_fingerprint).collect();
        key.push(left.book.open().fingerprint());
        if !self.seen.insert(key) {
            return Ok(());
        }
        self.looked.states += 1;
        let answers = left.book.open().clone();
        let again = || Boxes::of(&worlds, &answers, left.moves);
        comes_back(&mut again(), self.wrong, &[(0, 1)])?;
        if depth > 0 {
            let every = effort::either(29, 7) + self.random.below(7);
            self.explore(&mut again(), &[], every, depth - 1)?;
        }
        Ok(())
    }
}

fn cut_everywhere(
    wrong: Wrong,
    survivors: usize,
    every: usize,
    depth: usize,
) -> Result<Looked, String> {
    let mut all = Looked::default();
    for reading in [Reading::Atomic, Reading::Posix] {
        let mut explorer = Explorer::new(wrong, survivors);
        explorer.explore(&mut Boxes::new(reading), &MEANWHILE, every, depth)?;
        all.moments += explorer.looked.moments;
        all.states += explorer.looked.states;
    }
    Ok(all)
}

#[test]
fn a_send_that_is_cut_at_any_step_on_either_box_leaves_one_who_has_all_and_is_finished_by_the_same_again()
 {
    let survivors = effort::either(1, 8);
    let looked =
        cut_everywhere(Wrong::default(), survivors, 1, 0).unwrap_or_else(|what| panic!("{what}"));
    println!("{looked:?}");
    assert!(looked.moments > 200 && looked.states > 200, "{looked:?}");
}

#[test]
fn so_does_one_that_is_cut_while_it_goes_on_with_one_that_was_stopped() {
    let every = effort::either(47, 9);
    let looked =
        cut_everywhere(Wrong::default(), 1, every, 1).unwrap_or_else(|what| panic!("{what}"));
    println!("{looked:?}");
    assert!(looked.states > 200, "{looked:?}");
}

/// Each call of the side that sends fails once, and the same process sends again. Whenever the user is ready over there it is durable
/// here that it is gone.
fn each_failure(wrong: Wrong) -> Result<usize, String> {
    let start = Boxes::new(Reading::Atomic);
    let (worlds, answers) = (start.worlds(), start.book.open().clone());
    let mut failed = 0;
    for step in 1.. {
        let mut boxes = Boxes::of(&worlds, &answers, 0);
        let client = Client::new(&boxes.sims[0], wrong.mistake);
        client.disk.set_fault(Fault::At(step, Errno::IO));
        let first = boxes.send_by(&client, 0, 1, wrong, &[]);
        if client.disk.steps() < step {
            break;
        }
        client.disk.set_fault(Fault::None);
        let told = |what| format!("call {step} fails ({first:?}): {what}");
        check_one(&boxes, wrong).map_err(told)?;
        failed += usize::from(first.is_err());
        let moments = boxes.watch();
        let again = boxes.send_by(&client, 0, 1, wrong, &[]);
        let noted = boxes.noted(&moments);
        again.map_err(|error| told(format!("it is not sent again: {error}")))?;
        for moment in noted {
            let word = moment.worlds[1].read_file(&folder().join("frozen"));
            if moment.worlds[0].is_durable() || word.is_none_or(|word| *word != b"ready\n") {
                continue;
            }
            for seed in 0..6 {
                let mut worlds = moment.worlds.clone();
                worlds[0] = worlds[0].survivor(seed);
                let left = Boxes::of(&worlds, &moment.answers, 0);
                check_one(&left, wrong).map_err(told)?;
            }
        }
        comes_back(&mut boxes, wrong, &[(0, 1)]).map_err(told)?;
    }
    Ok(failed)
}

#[test]
fn a_send_of_which_any_call_fails_is_finished_by_the_same_process() {
    let failed = each_failure(Wrong::default()).unwrap_or_else(|what| panic!("{what}"));
    println!("{failed} sends failed");
    assert!(failed > 20, "{failed}");
}

/// Killed at any step; then sent to another box; then the first again, as somebody does who does not know of the second.
fn elsewhere(wrong: Wrong) -> Result<usize, String> {
    let mut boxes = Boxes::new(Reading::Atomic);
    let moments = boxes.watch();
    boxes
        .send(0, 1, wrong, &MEANWHILE)
        .map_err(|error| error.to_string())?;
    let noted = boxes.noted(&moments);
    for moment in &noted {
        let mut left = Boxes::of(&moment.worlds, &moment.answers, boxes.moves);
        comes_back(&mut left, wrong, &[(0, 2), (0, 1), (0, 2)])?;
    }
    Ok(noted.len())
}

#[test]
fn a_send_that_was_stopped_and_then_one_elsewhere_leave_the_user_on_one_box() {
    let looked = elsewhere(Wrong::default()).unwrap_or_else(|what| panic!("{what}"));
    assert!(looked > 100, "{looked}");
}

#[track_caller]
fn is_noticed(mistake: Mistake, by: fn(Wrong) -> Result<(), String>) {
    let wrong = Wrong {
        mistake: Some(mistake),
        slip: None,
    };
    let what = by(wrong).expect_err("it is not noticed");
    println!("{mistake:?} is noticed: {what}");
}

#[test]
fn a_user_who_is_gone_before_that_is_durable() {
    is_noticed(Mistake::NoGoneSync, |wrong| {
        cut_everywhere(wrong, 3, 1, 0).map(drop)
    });
}

#[test]
fn a_user_who_was_found_gone_and_not_synced_again() {
    is_noticed(Mistake::NoGoneResync, |wrong| each_failure(wrong).map(drop));
}

#[test]
fn a_user_who_is_ready_there_before_it_is_gone_here() {
    is_noticed(Mistake::ReadyBeforeGone, |wrong| {
        cut_everywhere(wrong, 1, 1, 0).map(drop)
    });
}

#[test]
fn a_user_who_is_gone_by_whatever_move() {
    is_noticed(Mistake::NoMoveName, |wrong| {
        super::together::any_order(wrong).map(drop)
    });
}

#[test]
fn a_send_that_goes_by_the_name_of_an_earlier_one() {
    is_noticed(Mistake::SameMoveAgain, |wrong| elsewhere(wrong).map(drop));
}

#[test]
fn a_thaw_that_asks_for_no_force() {
    is_noticed(Mistake::ThawedAnyway, |wrong| {
        cut_everywhere(wrong, 1, 1, 0).map(drop)
    });
}

#[test]
fn another_side_that_does_not_sync_what_came_or_lacks_what_came_since() {
    for slip in [Slip::NoSync, Slip::NoRest] {
        let wrong = Wrong {
            mistake: None,
            slip: Some(slip),
        };
        let what = cut_everywhere(wrong, 3, 1, 0)
            .map(drop)
            .expect_err("it is not noticed");
        println!("{slip:?} is noticed: {what}");
    }
}
