//! The connections of one worker, which are told together that the server stops.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::turns::Turns;

/// The open connections of one worker. A clone is the same set.
#[derive(Clone, Default)]
pub struct Open(Rc<OpenTurns>);

#[derive(Default)]
struct OpenTurns {
    turns: RefCell<HashMap<u64, Turns>>,
    /// The number of connections that there have been.
    count: Cell<u64>,
    stopping: Cell<bool>,
}

impl Open {
    /// Tells all connections that the server stops: each answers what it has received, and ends.
    pub fn stop(&self) {
        self.0.stopping.set(true);
        for turns in self.0.turns.borrow().values() {
            turns.stop();
        }
    }

    /// Enters another connection; returns its number, and its turns.
    pub(super) fn enter(&self) -> (u64, Turns) {
        let number = self.0.count.get();
        self.0.count.set(number + 1);
        let turns = Turns::new(self.0.stopping.get());
        self.0.turns.borrow_mut().insert(number, turns.clone());
        (number, turns)
    }

    /// Takes the connection of this number out: it has ended.
    pub(super) fn leave(&self, number: u64) {
        self.0.turns.borrow_mut().remove(&number);
    }
}
