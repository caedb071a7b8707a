//! The connections of one worker, which are told together that the server stops.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::turn::Turn;

/// All that are open.
#[derive(Clone, Default)]
pub struct Open(Rc<Inner>);

#[derive(Default)]
struct Inner {
    turns: RefCell<HashMap<u64, Turn>>,
    /// How many there have been.
    count: Cell<u64>,
    stopping: Cell<bool>,
}

impl Open {
    /// The server stops: each answers what it has received, and ends.
    pub fn stop(&self) {
        self.0.stopping.set(true);
        for turn in self.0.turns.borrow().values() {
            turn.stop();
        }
    }

    /// Another one, with its number and its turn.
    pub(crate) fn enter(&self) -> (u64, Turn) {
        let number = self.0.count.get();
        self.0.count.set(number + 1);
        let turn = Turn::new(self.0.stopping.get());
        self.0.turns.borrow_mut().insert(number, turn.clone());
        (number, turn)
    }

    /// The one of this number has ended.
    pub(crate) fn leave(&self, number: u64) {
        self.0.turns.borrow_mut().remove(&number);
    }
}
