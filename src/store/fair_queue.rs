//! A queue in which users take turns: whoever has put a thousand things into it comes no sooner, and no
//! later, with the next one than who has put in one.

use std::collections::{HashMap, VecDeque};

use crate::model::UserId;

/// Things that wait, each with its user. To put in and to take out costs the same however long it is.
pub(super) struct FairQueue<T> {
    theirs: HashMap<UserId, VecDeque<T>>,
    /// The users for whom something waits, each once.
    turns: VecDeque<UserId>,
    length: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            theirs: HashMap::new(),
            turns: VecDeque::new(),
            length: 0,
        }
    }
}

impl<T> FairQueue<T> {
    /// Adds this, behind what waits for the same user.
    pub fn push(&mut self, user: UserId, one: T) {
        let theirs = self.theirs.entry(user).or_default();
        if theirs.is_empty() {
            self.turns.push_back(user);
        }
        theirs.push_back(one);
        self.length += 1;
    }

    /// The next one, of the user whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let user = self.turns.pop_front()?;
        let theirs = self.theirs.get_mut(&user)?;
        let one = theirs.pop_front()?;
        if theirs.is_empty() {
            self.theirs.remove(&user);
        } else {
            self.turns.push_back(user);
        }
        self.length -= 1;
        Some(one)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_take_turns_and_each_comes_in_order() {
        let [ada, bob, eve] = [1, 2, 3].map(|user| UserId::from_bytes([user; 16]));
        let mut queue = FairQueue::default();
        for number in 0..1000 {
            queue.push(ada, ("ada", number));
        }
        assert_eq!(queue.pop(), Some(("ada", 0)));
        queue.push(bob, ("bob", 0));
        queue.push(bob, ("bob", 1));
        queue.push(eve, ("eve", 0));
        let next: Vec<_> = std::iter::from_fn(|| queue.pop()).take(7).collect();
        let expected = [
            ("ada", 1),
            ("bob", 0),
            ("eve", 0),
            ("ada", 2),
            ("bob", 1),
            ("ada", 3),
            ("ada", 4),
        ];
        assert_eq!(next, expected);
        assert_eq!(queue.len(), 995);
    }

    #[test]
    fn a_user_for_whom_nothing_waits_is_forgotten() {
        let mut queue = FairQueue::default();
        for user in 0..100 {
            queue.push(UserId::from_bytes([user; 16]), user);
        }
        for user in 0..100 {
            assert_eq!(queue.pop(), Some(user));
        }
        assert_eq!(queue.pop(), None);
        assert!(queue.is_empty() && queue.theirs.is_empty() && queue.turns.is_empty());
    }
}
