//! Whatever uploads, replays, advances and sweeps come in whatever order, days apart or at once:
//! everything that can still be reached survives, and what is garbage goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mentat_sync::model::{ChunkId, Head, TransactionId};
use mentat_sync::store::{Advance, AdvanceRefusal, Mistake, PutTransaction, Store};
use mentat_sync::upkeep::gc::{self, collect};

use super::bench::{
    DAY, GRACE, advance, alias, ask, chunk, enter, folder, fresh, is_there, open, pass, put,
    put_alias, put_chunk, sweep, tx, user,
};
use super::oracle::Oracle;
use crate::kit::effort;
use simulated_disk::{Bounds, Chooser, Program, Random, Sim, SimDisk, run};

const ROOT: TransactionId = TransactionId::ROOT;

/// Parent and chunks of each content under each id; parents have smaller ids. A chunk's number
/// above 100 is an alias's.
const CONTENTS: [[(u8, &[u8]); 2]; 6] = [
    [(0, &[1]), (0, &[])],
    [(1, &[2, 101]), (0, &[3])],
    [(2, &[103]), (1, &[1, 2])],
    [(3, &[1]), (0, &[102])],
    [(4, &[3, 2]), (2, &[])],
    [(4, &[101, 103]), (3, &[2])],
];

fn id_of(n: u8) -> TransactionId {
    if n == 0 { ROOT } else { tx(n) }
}

fn chunk_of(n: u8) -> ChunkId {
    if n > 100 { alias(n - 100) } else { chunk(n) }
}

fn upload(store: &Store, n: u8) {
    if n > 100 {
        put_alias(store, n - 100);
    } else {
        put_chunk(store, n);
    }
}

#[derive(Clone, Copy, Debug)]
struct Put {
    content: usize,
    seq: u64,
    time: SystemTime,
    /// HEAD went elsewhere: it promises nothing any more, unless it is put again.
    void: bool,
}

/// What was acknowledged, and when last.
#[derive(Default)]
struct Book {
    chunks: BTreeMap<u8, SystemTime>,
    puts: BTreeMap<u8, Put>,
    head: Option<Head>,
    chain: Vec<TransactionId>,
    wrong: Option<String>,
    /// The right time, where the clock is wrong.
    right: Option<SystemTime>,
}

impl Book {
    fn seq(&self, id: TransactionId) -> Option<u64> {
        if id == ROOT {
            return Some(0);
        }
        let head = self.head.filter(|head| head.id == id).map(|head| head.seq);
        let position = self.chain.iter().position(|on| *on == id);
        let number = id.as_bytes()[0];
        head.or(position.map(|before| before as u64 + 1))
            .or_else(|| self.puts.get(&number).map(|put| put.seq))
    }

    fn is_on_chain(&self, n: u8) -> bool {
        n == 0 || self.chain.contains(&tx(n))
    }

    /// The pending line that ends here, newest first, if it can be committed for all that was
    /// acknowledged.
    fn line(&self, n: u8) -> Option<Vec<u8>> {
        let (mut line, mut here) = (Vec::new(), n);
        let head = self.head.unwrap_or(Head::ROOT);
        loop {
            let put = self.puts.get(&here).filter(|put| !put.void)?;
            line.push(here);
            let parent = CONTENTS[usize::from(here) - 1][put.content].0;
            if id_of(parent) == head.id {
                return (put.seq == head.seq + 1).then_some(line);
            }
            if self.is_on_chain(parent) {
                return None;
            }
            if self.puts.get(&parent)?.seq + 1 != put.seq {
                return None;
            }
            here = parent;
        }
    }

    fn void_the_dead(&mut self) {
        let dead: Vec<u8> = (self.puts.keys().copied())
            .filter(|n| !self.is_on_chain(*n) && self.line(*n).is_none())
            .collect();
        for n in dead {
            self.puts.get_mut(&n).unwrap().void = true;
        }
    }
}

fn act(sim: &Sim, store: &Store, book: &Mutex<Book>, random: &mut Random) {
    let right = book.lock().unwrap().right;
    let now = || right.unwrap_or_else(|| sim.with(|world| world.now()));
    match random.below(10) {
        0 | 1 => {
            let n = [1, 2, 3, 101, 102, 103][random.below(6)];
            upload(store, n);
            let mut book = book.lock().unwrap();
            book.chunks.insert(n, now());
        }
        2..=5 => {
            let (n, content) = (random.below(6) as u8 + 1, usize::from(random.chance(4)));
            let (parent, chunks) = CONTENTS[usize::from(n) - 1][content];
            if random.chance(8) {
                for n in chunks {
                    upload(store, *n);
                    book.lock().unwrap().chunks.insert(*n, now());
                }
            }
            let names: Vec<_> = chunks.iter().map(|n| chunk_of(*n)).collect();
            let outcome = put(store, n, id_of(parent), &names);
            let mut book = book.lock().unwrap();
            if outcome == PutTransaction::Accepted && !book.is_on_chain(n) {
                let seq = book.seq(id_of(parent)).unwrap() + 1;
                let time = now();
                book.puts.insert(
                    n,
                    Put {
                        content,
                        seq,
                        time,
                        void: false,
                    },
                );
                book.void_the_dead();
            }
        }
        6 => {
            let n = random.below(6) as u8 + 1;
            let outcome = advance(store, n);
            let mut book = book.lock().unwrap();
            let promised =
                (book.line(n)).filter(|line| line.iter().all(|n| is_young(&book, *n, now())));
            match outcome {
                Advance::Advanced(head) => {
                    let mut line = Vec::new();
                    let mut here = n;
                    while id_of(here) != book.head.unwrap_or(Head::ROOT).id {
                        line.push(tx(here));
                        here = CONTENTS[usize::from(here) - 1][book.puts[&here].content].0;
                    }
                    line.reverse();
                    book.chain.extend(line);
                    book.head = Some(head);
                    book.void_the_dead();
                }
                Advance::Refused {
                    why: AdvanceRefusal::HasDescendants(_),
                    ..
                } => {}
                Advance::Refused { why, .. } if promised.is_some() => {
                    book.wrong = Some(format!("the advance to {n} is refused: {why:?}"));
                }
                Advance::Refused { .. } => {}
            }
        }
        7 | 8 => {
            let named = [1, 2, 3, 101, 102, 103];
            let asked: Vec<u8> = named.into_iter().filter(|_| random.chance(8)).collect();
            let ids: Vec<_> = asked.iter().map(|n| chunk_of(*n)).collect();
            let missing = ask(store, &ids);
            let mut book = book.lock().unwrap();
            for (n, id) in asked.iter().zip(&ids) {
                if !missing.contains(id) {
                    book.chunks.insert(*n, now());
                }
            }
        }
        _ => {
            let head = store.user(user()).head().unwrap();
            let mut book = book.lock().unwrap();
            if head != book.head.unwrap_or(Head::ROOT) {
                book.wrong = Some(format!("HEAD is {head:?}"));
            }
        }
    }
}

fn is_young(book: &Book, n: u8, now: SystemTime) -> bool {
    book.puts.get(&n).is_some_and(|put| now < put.time + GRACE)
}

/// What is wrong, if anything.
fn judge(sim: &Sim, store: &Store, book: &mut Book) -> Option<String> {
    if let Some(wrong) = book.wrong.take() {
        return Some(wrong);
    }
    let now = sim.with(|world| world.now());
    for (n, time) in &book.chunks {
        if now < *time + GRACE && !is_there(store, &chunk_of(*n)) {
            return Some(format!("chunk {n} was acknowledged, and is gone"));
        }
    }
    for n in book.chain.iter() {
        if store.user(user()).transaction(*n).unwrap().is_none() {
            return Some(format!("{n} is on the chain, and is gone"));
        }
        let (_, chunks) =
            CONTENTS[usize::from(n.as_bytes()[0]) - 1][book.puts[&n.as_bytes()[0]].content];
        for chunk in chunks {
            if !is_there(store, &chunk_of(*chunk)) {
                return Some(format!("{n} is on the chain, and {chunk} is gone"));
            }
        }
    }
    let young: Vec<u8> = (book.puts.keys().copied())
        .filter(|n| !book.is_on_chain(*n) && is_young(book, *n, now))
        .collect();
    for n in young {
        for needed in book.line(n).into_iter().flatten() {
            let (parent, chunks) = CONTENTS[usize::from(needed) - 1][book.puts[&needed].content];
            let lost =
                |what: &str| Some(format!("{n} was acknowledged; of {needed} {what} is gone"));
            match store.user(user()).needs(tx(needed)).unwrap() {
                None => return lost("the transaction"),
                Some(needs) if needs.parent != id_of(parent) => return lost("the right content"),
                Some(_) => {}
            }
            if !chunks.iter().all(|n| is_there(store, &chunk_of(*n))) {
                return lost("a chunk");
            }
        }
    }
    None
}

/// Dates that no file of this store can have: the clock has not been set, is behind by years, or is ahead.
fn wrong_clock(right: SystemTime, random: &mut Random) -> SystemTime {
    match random.below(3) {
        0 => SystemTime::UNIX_EPOCH + DAY,
        1 => right - DAY * 3650,
        _ => right + DAY * 3650,
    }
}

/// Some weeks in the life of a store: what is wrong, if anything.
fn live(seed: u64, mistake: Option<Mistake>) -> Result<usize, String> {
    let mut random = Random(seed);
    let sim = fresh();
    let clients: Vec<(SimDisk, Store)> = (0..2).map(|_| enter(&sim, None)).collect();
    let sweepers: Vec<(SimDisk, Store)> = (0..2).map(|_| enter(&sim, mistake)).collect();
    put_chunk(&clients[0].1, 1);
    let book = Mutex::new(Book::default());
    let mut gone = 0;
    for round in 0..12 {
        let days = [0, 1, 6, 13, 15][random.below(5)];
        pass(&sim, DAY * days + Duration::from_secs(1));
        if random.chance(3) {
            let right = sim.with(|world| world.now());
            let wrong = wrong_clock(right, &mut random);
            let kept = sim.with(|world| std::mem::replace(&mut world.clock, wrong));
            book.lock().unwrap().right = Some(right);
            for _ in 0..1 + random.below(4) {
                act(&sim, &clients[random.below(2)].1, &book, &mut random);
            }
            book.lock().unwrap().right = None;
            sim.with(|world| world.clock = kept + Duration::from_secs(1));
        }
        let (disk, client) = &clients[random.below(2)];
        let mut clients_random = Random(random.next());
        let acts = 1 + random.below(8);
        let book = &book;
        let box_of = &sim;
        let program = move || {
            for _ in 0..acts {
                act(box_of, client, book, &mut clients_random);
            }
        };
        let mut programs: Vec<Program> = vec![(disk.clone(), Box::new(program))];
        let swept = Arc::new(Mutex::new(0));
        for (disk, store) in &sweepers[..random.below(3)] {
            let swept = swept.clone();
            let program = move || {
                collect(store, &user(), &gc::CollectOptions::default(), &mut |_| {
                    *swept.lock().unwrap() += 1;
                })
                .unwrap();
            };
            programs.push((disk.clone(), Box::new(program)));
        }
        let bounds = Bounds {
            switches: 1000,
            kills: 0,
            both: 1000,
        };
        let ran = run(&sim, programs, Chooser::draw(random.next()), bounds);
        gone += *swept.lock().unwrap();
        let failed = ran.panics.first().cloned();
        let failed = failed.or_else(|| ran.deadlock.then(|| "nobody goes on".to_owned()));
        let wrong = failed.or_else(|| judge(&sim, &open(&sim), &mut book.lock().unwrap()));
        if let Some(wrong) = wrong {
            return Err(format!(
                "seed {seed}, round {round}: {wrong}\n{}",
                sim.trace()
            ));
        }
        sim.clear_trace();
    }
    gone += sweep(&open(&sim)).len();
    let wrong = judge(&sim, &open(&sim), &mut book.lock().unwrap());
    let wrong = wrong.or_else(|| not_just_what_is_kept(&sim));
    wrong.map_or(Ok(gone), |wrong| {
        Err(format!("seed {seed}, at last: {wrong}"))
    })
}

fn not_just_what_is_kept(sim: &Sim) -> Option<String> {
    let world = sim.world();
    let kept = Oracle::look(&world).kept();
    let left = world.files_below(&folder().join("incoming")).into_iter();
    let left: BTreeSet<_> = left.map(|(place, ..)| place.name().to_owned()).collect();
    (left != kept).then(|| format!("{left:?} is left where {kept:?} should be"))
}

#[test]
fn everything_reachable_survives_and_garbage_goes() {
    let gone: usize = (0..effort::either(150, 600))
        .map(|seed| live(seed, None).unwrap_or_else(|wrong| panic!("{wrong}")))
        .sum();
    println!("{gone} files went");
    assert!(gone > 500, "{gone}");
}

#[test]
fn a_sweep_that_breaks_a_rule_is_caught() {
    for mistake in [Mistake::NoSecondLook, Mistake::BelieveDates] {
        let caught = (0..300).find_map(|seed| live(seed, Some(mistake)).err());
        let what = caught.unwrap_or_else(|| panic!("{mistake:?}"));
        println!("{mistake:?}: {}", what.lines().next().unwrap());
    }
}
