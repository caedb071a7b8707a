//! Whether a history of HEAD is linearizable: whether each operation could have happened at one moment
//! between its call and its answer, all of them one after the other.
//!
//! In general that is a search. Here each head is set once at most, upon one other, so what was seen
//! tells the order of the advances, and only their moments are to be found: each as early as it can be.
//! Who was not answered may ask for the same advance again; one of the tries made it, then.
//! [`is_linearizable`] does that in the time it takes to sort; the tests below hold it to a checker of
//! the general kind.

use std::collections::{BTreeMap, HashMap, HashSet};

/// A head; 0 is the root.
pub type Value = u64;

/// What was asked, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// HEAD was seen to be this.
    Read(Value),
    /// HEAD was moved from one to the other.
    Advance(Value, Value),
    /// It was refused, since HEAD was what is named last.
    Refused(Value, Value, Value),
    /// Nobody knows whether it happened, and it may happen after its caller is gone.
    Perhaps(Value, Value),
}

/// An operation, and when it was called and answered: numbers of which none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub called: u64,
    pub answered: u64,
    pub operation: Operation,
}

/// What HEAD was for a time, and what bounds that time.
struct Reign {
    /// It did not begin before.
    earliest: u64,
    /// Whoever made it was told so.
    acknowledged: bool,
    /// It began by then.
    latest: u64,
    /// It had not ended by then.
    seen_until: u64,
}

/// The chain of heads that the history tells, oldest first, or what is wrong with it.
pub fn chain(history: &[Event]) -> Result<Vec<Value>, String> {
    // Which advances must have happened: those answered, those seen, and what they stand upon.
    let mut from = HashMap::new();
    let mut seen = Vec::new();
    let mut made = HashSet::new();
    for event in history {
        match event.operation {
            Operation::Read(value) => seen.push(value),
            Operation::Refused(base, to, value) => {
                if value == base {
                    return Err(format!("{to} upon {base} was refused, and {base} was HEAD"));
                }
                seen.push(value);
            }
            Operation::Advance(base, to) => {
                seen.push(to);
                from.insert(to, base);
                if !made.insert(to) {
                    return Err(format!("HEAD was moved to {to} twice"));
                }
            }
            Operation::Perhaps(base, to) => {
                from.entry(to).or_insert(base);
            }
        }
    }
    let mut next: HashMap<Value, Value> = HashMap::new();
    for mut value in seen {
        while value != 0 {
            let Some(&base) = from.get(&value) else {
                return Err(format!("{value} was HEAD, and nobody moved it there"));
            };
            match next.insert(base, value) {
                Some(same) if same == value => break,
                Some(other) => return Err(format!("both {other} and {value} follow {base}")),
                None => value = base,
            }
        }
    }
    let mut chain = vec![0];
    while let Some(&value) = next.get(chain.last().expect("it has the root")) {
        chain.push(value);
    }
    match chain.len() == next.len() + 1 {
        true => Ok(chain),
        false => Err("the heads follow each other in a ring".to_owned()),
    }
}

/// Whether the history is linearizable; if not, why not.
pub fn is_linearizable(history: &[Event]) -> Result<(), String> {
    let chain = chain(history)?;
    let mut reigns: BTreeMap<Value, Reign> = BTreeMap::new();
    for value in &chain {
        let reign = Reign {
            earliest: u64::MAX,
            acknowledged: false,
            latest: u64::MAX,
            seen_until: 0,
        };
        reigns.insert(*value, reign);
    }
    for event in history {
        match event.operation {
            Operation::Read(value) | Operation::Refused(_, _, value) => {
                let reign = reigns
                    .get_mut(&value)
                    .expect("what was seen is on the chain");
                reign.latest = reign.latest.min(event.answered);
                reign.seen_until = reign.seen_until.max(event.called);
            }
            Operation::Advance(_, to) => {
                let reign = reigns.get_mut(&to).expect("what was made is on the chain");
                reign.acknowledged = true;
                reign.earliest = event.called;
                reign.latest = reign.latest.min(event.answered);
            }
            Operation::Perhaps(_, to) => {
                // One that nobody saw need not have happened. Of several tries it was any, but for one that was
                // acknowledged.
                if let Some(reign) = reigns.get_mut(&to).filter(|reign| !reign.acknowledged) {
                    reign.earliest = reign.earliest.min(event.called);
                }
            }
        }
    }
    let mut moment = 0;
    for pair in chain.windows(2) {
        let (before, after) = (&reigns[&pair[0]], &reigns[&pair[1]]);
        moment = moment.max(before.seen_until).max(after.earliest);
        if moment > after.latest {
            return Err(format!(
                "HEAD moved from {} to {} at {moment} at the earliest, and by {} at the latest",
                pair[0], pair[1], after.latest
            ));
        }
    }
    Ok(())
}

/// The same question, put to a Wing–Gong–Lowe checker.
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
    use todc_utils::linearizability::WGLChecker;
    use todc_utils::linearizability::history::{Action, History};
    use todc_utils::specifications::Specification;

    use super::*;

    /// HEAD, as the protocol has it.
    struct Head;

    impl Specification for Head {
        type State = Value;
        type Operation = Operation;

        fn init() -> Value {
            0
        }

        fn apply(operation: &Operation, head: &Value) -> (bool, Value) {
            match *operation {
                Operation::Read(value) => (value == *head, *head),
                Operation::Advance(from, to) if from == *head => (true, to),
                Operation::Advance(..) => (false, *head),
                Operation::Refused(from, _, value) => (value == *head && from != *head, *head),
                Operation::Perhaps(..) => unreachable!("it is decided before"),
            }
        }
    }

    /// Whether there is an order, tried for each choice of what happened of all that may have. No head is set twice.
    fn searched(history: &[Event]) -> bool {
        let made = history.iter().filter_map(|event| match event.operation {
            Operation::Advance(_, to) => Some(to),
            _ => None,
        });
        let mut heads = HashSet::from([0]);
        if !made.into_iter().all(|to| heads.insert(to)) {
            return false;
        }
        let unknown = |event: &&Event| matches!(event.operation, Operation::Perhaps(..));
        let open: Vec<Event> = history.iter().filter(unknown).copied().collect();
        (0..1_u32 << open.len()).any(|choice| {
            let mut events: Vec<Event> = history.iter().filter(|e| !unknown(e)).copied().collect();
            for (n, event) in open.iter().enumerate() {
                if let (true, Operation::Perhaps(from, to)) =
                    (choice >> n & 1 == 1, event.operation)
                {
                    events.push(Event {
                        answered: u64::MAX - n as u64,
                        operation: Operation::Advance(from, to),
                        ..*event
                    });
                }
            }
            let mut actions = BTreeMap::new();
            for (process, event) in events.iter().enumerate() {
                actions.insert(event.called, (process, Action::Call(event.operation)));
                actions.insert(event.answered, (process, Action::Response(event.operation)));
            }
            let actions: Vec<_> = actions.into_values().collect();
            actions.is_empty()
                || WGLChecker::<Head>::is_linearizable(History::from_actions(actions))
        })
    }

    fn tries(events: &[Event], of: Value) -> usize {
        let tried = |event: &&Event| match event.operation {
            Operation::Read(_) => false,
            Operation::Advance(_, to)
            | Operation::Refused(_, to, _)
            | Operation::Perhaps(_, to) => to == of,
        };
        events.iter().filter(tried).count()
    }

    /// A few operations that overlap at random on a HEAD that does what it should, each at one moment;
    /// then, `lies` times, something is told otherwise than it was.
    fn history(draws: &[u32], lies: usize) -> Vec<Event> {
        let mut draws = draws.iter().copied().cycle();
        let mut draw = |below: u32| draws.next().expect("it goes on for ever") % below;
        let count = 3 + draw(6) as usize;
        // Each is called, happens and is answered, in this order, at places of one line.
        let mut line: Vec<usize> = (0..count).flat_map(|n| [n, n, n]).collect();
        let mut moved = 0;
        for place in 0..line.len() {
            // Near its place, so that not everything overlaps with everything.
            let other = (place + draw(7) as usize).min(line.len() - 1);
            line.swap(place, other);
        }
        let mut head = 0;
        let mut heads = vec![0];
        let mut open: Vec<(Value, Value)> = Vec::new();
        let mut events: Vec<Event> = Vec::new();
        let mut calls = vec![None; count];
        let mut outcomes = vec![None; count];
        for (time, n) in (1..).zip(line) {
            match (calls[n], outcomes[n]) {
                (None, _) => calls[n] = Some((time, heads[draw(heads.len() as u32) as usize])),
                (Some((_, known)), None) => {
                    outcomes[n] = Some(match draw(8) {
                        0..3 => Operation::Read(head),
                        kind => {
                            // Mostly upon HEAD, or nothing would ever move; now and then what was not answered,
                            // again.
                            let again = open.pop().filter(|_| draw(2) == 0);
                            let (from, to) = again.unwrap_or_else(|| {
                                moved += 1;
                                (if draw(4) > 0 { head } else { known }, moved)
                            });
                            if kind == 7 {
                                open.push((from, to));
                            }
                            if kind == 7 && draw(2) == 0 {
                                Operation::Perhaps(from, to)
                            } else if from == head {
                                head = to;
                                heads.push(to);
                                match kind {
                                    7 => Operation::Perhaps(from, to),
                                    _ => Operation::Advance(from, to),
                                }
                            } else {
                                Operation::Refused(from, to, head)
                            }
                        }
                    });
                }
                (Some((called, _)), Some(operation)) => events.push(Event {
                    called,
                    answered: time,
                    operation,
                }),
            }
        }
        for _ in 0..lies {
            let victim = draw(events.len() as u32) as usize;
            let value = heads[draw(heads.len() as u32) as usize];
            events[victim].operation = match events[victim].operation {
                Operation::Read(_) => Operation::Read(value),
                Operation::Advance(from, to) if draw(2) == 0 => Operation::Refused(from, to, value),
                // Several tries of one name one base.
                Operation::Advance(from, to) if tries(&events, to) > 1 => {
                    Operation::Advance(from, to)
                }
                Operation::Advance(_, to) => Operation::Advance(value, to),
                Operation::Refused(from, to, _) => Operation::Advance(from, to),
                Operation::Perhaps(from, to) => Operation::Advance(from, to),
            };
        }
        events
    }

    #[test]
    fn the_chain_checker_agrees_with_the_search() {
        let (mut right, mut wrong) = (0, 0);
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
        let config = ProptestConfig {
            cases: 6000,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let mut runner = TestRunner::new_with_rng(config, rng);
        let drawn = (prop::collection::vec(any::<u32>(), 97), 0..3_usize);
        let counts = std::cell::RefCell::new((&mut right, &mut wrong));
        runner
            .run(&drawn, |(draws, lies)| {
                let history = history(&draws, lies);
                let (mine, found) = (is_linearizable(&history), searched(&history));
                prop_assert_eq!(mine.is_ok(), found, "{:?} of {:#?}", mine, history);
                prop_assert!(found || lies > 0, "it was made at one moment each");
                let (right, wrong) = &mut *counts.borrow_mut();
                **(if found { right } else { wrong }) += 1;
                Ok(())
            })
            .unwrap();
        println!(
            "{right} histories that are linearizable, {wrong} that are not: both checkers agree"
        );
        assert!(right > 1500 && wrong > 1500, "{right} right, {wrong} wrong");
    }

    #[test]
    fn a_long_history_is_decided_at_once() {
        let mut history: Vec<Event> = (0..100_000)
            .flat_map(|n| {
                let event = |at, operation| Event {
                    called: at,
                    answered: at + 7,
                    operation,
                };
                [
                    event(8 * n + 1, Operation::Advance(n, n + 1)),
                    event(8 * n + 2, Operation::Read(n + 1)),
                ]
            })
            .collect();
        is_linearizable(&history).unwrap();
        // A head that comes back.
        history.push(Event {
            called: 800_009,
            answered: 800_010,
            operation: Operation::Read(80_000),
        });
        is_linearizable(&history).unwrap_err();
    }
}
