//! Two sends of one user at once, to one box or to two, in every order of their steps that leaves one for the other so many times.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mentat_sync::upkeep::send::{CopyRound, OtherSide, SendError, StopSend, send_to};
use simulated_disk::Reading;

use super::cuts::{Boxes, Wrong, comes_back};
use super::simulated::{SimulatedSide, Slip};
use crate::proof::{Client, cast};

/// A side that waits for its turn before each step.
struct InTurn {
    side: SimulatedSide,
    turn: Receiver<()>,
    done: Sender<bool>,
}

impl InTurn {
    fn waits(&self) {
        let _ = self.done.send(false);
        // Nobody gives turns any more where the test has failed.
        let _ = self.turn.recv();
    }
}

impl OtherSide for InTurn {
    fn ask(&mut self, step: &str) -> Result<Vec<Vec<u8>>, SendError> {
        self.waits();
        self.side.ask(step)
    }

    fn copy(&mut self, what: CopyRound) -> Result<(), SendError> {
        self.waits();
        self.side.copy(what)
    }
}

/// Both sends, the first of which goes so many steps, then the other one so many, and so on in turns; a send that has no turn left
/// to take waits until the other has ended.
fn in_this_order(boxes: &mut Boxes, sends: [(usize, usize); 2], order: &[usize], wrong: Wrong) {
    let mut runs = Vec::new();
    for (from, to) in sends {
        let name = boxes.next_name();
        let client = Client::new(&boxes.sims[from], wrong.mistake);
        let side = SimulatedSide::new(
            boxes.sims[from].process(),
            boxes.sims[to].process(),
            wrong.slip,
        );
        let (give, turn) = channel();
        let (done, given) = channel();
        let thread = thread::spawn(move || {
            let ended = done.clone();
            let mut side = InTurn { side, turn, done };
            let sent = send_to(
                &client.store,
                &cast::user(),
                &mut side,
                name,
                &StopSend::default(),
            );
            drop(side);
            let _ = ended.send(true);
            sent.is_ok()
        });
        let ended = given.recv().expect("it waits or ends");
        runs.push((give, given, ended, thread));
    }
    let mut step = |at: usize| -> bool {
        let (give, given, ended, _) = &mut runs[at];
        if !*ended {
            give.send(()).expect("it waits");
            *ended = given.recv().expect("it waits or ends");
        }
        !*ended
    };
    for (turn, steps) in order.iter().enumerate() {
        for _ in 0..*steps {
            step(turn % 2);
        }
    }
    for at in [order.len() % 2, (order.len() + 1) % 2] {
        while step(at) {}
    }
    for (_, _, _, thread) in runs {
        let _ = thread.join().expect("no send panics");
    }
}

/// More steps than a send has.
const STEPS: usize = 10;

/// Two sends, to one box and to two, left for each other three times.
pub fn any_order(wrong: Wrong) -> Result<usize, String> {
    let start = Boxes::new(Reading::Atomic);
    let (worlds, answers) = (start.worlds(), start.book.open().clone());
    let mut tried = 0;
    for sends in [[(0, 1), (0, 2)], [(0, 1), (0, 1)]] {
        for first in 0..STEPS {
            for second in 1..STEPS {
                for third in 0..STEPS {
                    let order = [first, second, third];
                    let mut boxes = Boxes::of(&worlds, &answers, 0);
                    in_this_order(&mut boxes, sends, &order, wrong);
                    tried += 1;
                    let told = |what| format!("{sends:?} in turns of {order:?}: {what}");
                    let again = [(0, 1), (0, 2)];
                    comes_back(&mut boxes, wrong, &again).map_err(told)?;
                }
            }
        }
    }
    Ok(tried)
}

#[test]
fn two_sends_at_once_to_one_box_or_to_two_leave_the_user_on_one_in_whatever_order() {
    let tried = any_order(Wrong::default()).unwrap_or_else(|what| panic!("{what}"));
    println!("{tried} orders");
}

#[test]
fn another_side_whose_lock_is_not_held() {
    let wrong = Wrong {
        mistake: None,
        slip: Some(Slip::NotHeld),
    };
    let what = any_order(wrong).expect_err("it is not noticed");
    println!("it is noticed: {what}");
}
