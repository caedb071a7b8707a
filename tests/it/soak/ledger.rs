//! What was asked of one folder of a user, and answered: judged at once where one answer says enough, and as a whole by
//! the checker of linearizability.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::kit::ROOT;
use crate::linear::{self, Event, Operation, Value};

use super::verdict::{Told, wrong};

/// A transaction that some device made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub id: String,
    pub parent: String,
    pub seq: u64,
    pub chunks: Vec<String>,
}

/// An advance that has been asked for: where it stands in the history.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(usize);

/// What was asked and answered about one folder, from when it was made until it is deleted, whatever it is called.
#[derive(Default)]
pub struct Ledger {
    inner: Mutex<Inner>,
    /// No request that is begun now may be told a HEAD with a smaller number.
    floor: AtomicU64,
    advances: AtomicU64,
}

#[derive(Default)]
struct Inner {
    numbers: HashMap<String, Value>,
    names: Vec<String>,
    /// An advance without an answer is in it as one that perhaps happened, and is never answered.
    history: Vec<Event>,
    /// Whatever devices have made up for this folder.
    links: HashMap<String, Link>,
    /// Acknowledged: what was moved upon what.
    moved: HashMap<String, String>,
    /// The heads that were acknowledged, for those who want to see one again.
    kept: Vec<String>,
    /// The newest that was seen, its number, and when.
    newest: Option<(String, u64, Instant)>,
    /// Whether it was said that the history is not linearizable.
    judged: bool,
}

impl Inner {
    fn number(&mut self, id: &str) -> Value {
        if self.names.is_empty() {
            self.names.push(ROOT.to_owned());
            self.numbers.insert(ROOT.to_owned(), 0);
        }
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = self.names.len() as Value;
        self.names.push(id.to_owned());
        self.numbers.insert(id.to_owned(), number);
        number
    }

    fn is_new(&mut self, head: &str, seq: u64) {
        if self.newest.as_ref().is_none_or(|newest| seq > newest.1) {
            self.newest = Some((head.to_owned(), seq, Instant::now()));
        }
    }

    fn seq(&self, id: &str) -> Option<u64> {
        if id == ROOT {
            return Some(0);
        }
        self.links.get(id).map(|link| link.seq)
    }

    /// The links from the root to this head.
    fn path_to(&self, head: &str) -> Told<Vec<Link>> {
        let mut path = Vec::new();
        let mut here = head;
        while here != ROOT {
            let Some(link) = self.links.get(here) else {
                return wrong(
                    "HEAD nobody made",
                    format!("{here} is on the chain to {head}"),
                );
            };
            path.push(link.clone());
            here = &link.parent;
        }
        path.reverse();
        Ok(path)
    }
}

impl Ledger {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The least number that a request which is begun now may be told.
    pub fn floor(&self) -> u64 {
        self.floor.load(Ordering::SeqCst)
    }

    /// How many advances were acknowledged.
    pub fn advances(&self) -> u64 {
        self.advances.load(Ordering::SeqCst)
    }

    /// How long the history is.
    pub fn events(&self) -> usize {
        self.inner().history.len()
    }

    /// An advance is about to be asked for: to the last of these, each of which stands upon the one before.
    pub fn open(&self, called: u64, links: &[Link]) -> Ticket {
        let mut inner = self.inner();
        for link in links {
            inner.links.insert(link.id.clone(), link.clone());
        }
        let (first, last) = (&links[0], &links[links.len() - 1]);
        let operation = Operation::Perhaps(inner.number(&first.parent), inner.number(&last.id));
        inner.history.push(Event {
            called,
            answered: u64::MAX,
            operation,
        });
        Ticket(inner.history.len() - 1)
    }

    /// It was refused with an answer that says that nothing happened, and does not say what HEAD is.
    pub fn withdraw(&self, ticket: Ticket) {
        let operation = &mut self.inner().history[ticket.0].operation;
        if let Operation::Perhaps(..) = *operation {
            // Where HEAD was the root, HEAD was the root: nothing is said.
            *operation = Operation::Perhaps(Value::MAX, Value::MAX);
        }
    }

    /// It was made. Two upon one HEAD are a lost write, whatever the chain says later.
    pub fn moved(&self, ticket: Ticket, answered: u64) -> Told<()> {
        let mut inner = self.inner();
        let Operation::Perhaps(from, to) = inner.history[ticket.0].operation else {
            unreachable!("it is answered once");
        };
        inner.history[ticket.0] = Event {
            answered,
            operation: Operation::Advance(from, to),
            ..inner.history[ticket.0]
        };
        let [from, to] = [from, to].map(|number| inner.names[number as usize].clone());
        let seq = inner
            .seq(&to)
            .expect("it is among those that were asked for");
        inner.kept.push(to.clone());
        inner.is_new(&to, seq);
        let before = inner.moved.insert(from.clone(), to.clone());
        drop(inner);
        self.floor.fetch_max(seq, Ordering::SeqCst);
        self.advances.fetch_add(1, Ordering::SeqCst);
        match before {
            Some(other) if other != to => wrong(
                "lost write",
                format!("both {other} and {to} were acknowledged upon {from}"),
            ),
            _ => Ok(()),
        }
    }

    /// It was refused, since HEAD is what is said.
    pub fn refused(&self, ticket: Ticket, answered: u64, told: (&str, u64)) {
        let mut inner = self.inner();
        let Operation::Perhaps(from, to) = inner.history[ticket.0].operation else {
            unreachable!("it is answered once");
        };
        let value = inner.number(told.0);
        inner.history[ticket.0] = Event {
            answered,
            operation: Operation::Refused(from, to, value),
            ..inner.history[ticket.0]
        };
        drop(inner);
        self.floor.fetch_max(told.1, Ordering::SeqCst);
    }

    /// An answer said what HEAD is. `floor` is what it was when the request began.
    pub fn saw(
        &self,
        how: &str,
        (called, answered): (u64, u64),
        floor: u64,
        told: (&str, u64),
    ) -> Told<()> {
        let (head, seq) = told;
        let mut inner = self.inner();
        let known = inner.seq(head);
        // What is wrong by itself is said here, and once.
        if known == Some(seq) && seq >= floor {
            let operation = Operation::Read(inner.number(head));
            inner.history.push(Event {
                called,
                answered,
                operation,
            });
            self.floor.fetch_max(seq, Ordering::SeqCst);
            inner.is_new(head, seq);
        }
        drop(inner);
        match known {
            None => wrong(
                "HEAD nobody made",
                format!("{how} said {head}, number {seq}"),
            ),
            Some(known) if known != seq => wrong(
                "wrong number",
                format!("{how} said that {head} has number {seq}, and it has {known}"),
            ),
            Some(_) if seq < floor => wrong(
                match how {
                    "wait" => "HEAD went back: wait",
                    "events" => "HEAD went back: events",
                    "conflict" => "HEAD went back: 409",
                    "copy" => "copy with an old HEAD",
                    _ => "HEAD went back",
                },
                format!(
                    "{how} said {head}, number {seq}; number {floor} was acknowledged or seen before it was asked"
                ),
            ),
            Some(_) => Ok(()),
        }
    }

    /// The newest head that anybody has seen, its number, and since when; none before the first.
    pub fn newest(&self) -> Option<(String, u64, Instant)> {
        self.inner().newest.clone()
    }

    /// The number of a head, if devices made it up here.
    pub fn seq_of(&self, head: &str) -> Option<u64> {
        self.inner().seq(head)
    }

    /// One that was acknowledged as HEAD, which `draw` chooses; none before the first.
    pub fn any(&self, draw: u64) -> Option<Link> {
        let inner = self.inner();
        let place = draw.checked_rem(inner.kept.len() as u64)?;
        let id = &inner.kept[place as usize];
        inner.links.get(id).cloned()
    }

    /// Whether what was answered until now could be so; it is said once if not.
    pub fn judge(&self) -> Told<()> {
        let history = self.history();
        match linear::is_linearizable(&history) {
            Err(why) if !std::mem::replace(&mut self.inner().judged, true) => {
                wrong("not linearizable", self.in_words(&why))
            }
            _ => Ok(()),
        }
    }

    fn history(&self) -> Vec<Event> {
        let withdrawn =
            |event: &&Event| event.operation != Operation::Perhaps(Value::MAX, Value::MAX);
        self.inner()
            .history
            .iter()
            .filter(withdrawn)
            .copied()
            .collect()
    }

    /// The heads that a verdict names are numbers; which they are.
    fn in_words(&self, why: &str) -> String {
        let inner = self.inner();
        let mut words = why.to_owned();
        let numbers: HashSet<usize> = why
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        for number in numbers {
            if let Some(name) = inner.names.get(number) {
                words.push_str(&format!("; {number} is {name}"));
            }
        }
        words
    }

    /// The chain that the answers tell of, oldest first. Nobody writes meanwhile.
    pub fn chain(&self, last: &str) -> Told<Vec<Link>> {
        let heads = match linear::chain(&self.history()) {
            Ok(heads) => heads,
            Err(why) => return wrong("not linearizable", self.in_words(&why)),
        };
        let inner = self.inner();
        let path = inner.path_to(last)?;
        // Heads of one chain, in its order; between them may be what a bundle brought.
        let mut ids = path.iter().map(|link| link.id.as_str());
        for head in heads.iter().skip(1) {
            let head = &inner.names[*head as usize];
            if !ids.any(|id| id == head) {
                return wrong(
                    "acknowledged advance lost",
                    format!("{head} was HEAD, and the chain to {last} does not go over it"),
                );
            }
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::transaction_id;

    /// A ledger in which the first of two is acknowledged as HEAD.
    fn moved_once() -> (Ledger, [Link; 2]) {
        let ledger = Ledger::default();
        let ids = ["first", "second"].map(transaction_id);
        let link = |id: &str, parent: &str, seq| Link {
            id: id.to_owned(),
            parent: parent.to_owned(),
            seq,
            chunks: Vec::new(),
        };
        let links = [link(&ids[0], ROOT, 1), link(&ids[1], &ids[0], 2)];
        let ticket = ledger.open(1, &links[..1]);
        ledger.moved(ticket, 2).unwrap();
        (ledger, links)
    }

    #[test]
    fn a_head_that_goes_back_is_wrong_at_once() {
        let (ledger, links) = moved_once();
        let floor = ledger.floor();
        ledger.saw("GET", (3, 4), floor, (&links[0].id, 1)).unwrap();
        ledger.saw("wait", (5, 6), floor, (ROOT, 0)).unwrap_err();
        // Whoever was told it cannot have known better: only all of it together shows.
        ledger.saw("wait", (7, 8), 0, (ROOT, 0)).unwrap();
        ledger.judge().unwrap_err();
    }

    #[test]
    fn a_head_that_nobody_made_is_wrong_at_once() {
        let (ledger, _) = moved_once();
        let other = transaction_id("other");
        ledger.saw("GET", (3, 4), 1, (&other, 2)).unwrap_err();
    }

    #[test]
    fn two_moves_from_one_head_are_wrong_at_once() {
        let (ledger, links) = moved_once();
        let upon_root = Link {
            parent: ROOT.to_owned(),
            seq: 1,
            ..links[1].clone()
        };
        let ticket = ledger.open(3, &[upon_root]);
        ledger.moved(ticket, 4).unwrap_err();
    }

    #[test]
    fn a_refused_move_that_happened_is_wrong() {
        let (ledger, links) = moved_once();
        let ticket = ledger.open(3, &links[1..]);
        ledger.withdraw(ticket);
        ledger.saw("GET", (5, 6), 1, (&links[1].id, 2)).unwrap();
        ledger.judge().unwrap_err();
    }

    #[test]
    fn a_move_without_an_answer_may_have_happened() {
        let (ledger, links) = moved_once();
        ledger.open(3, &links[1..]);
        ledger.judge().unwrap();
        ledger.saw("GET", (5, 6), 1, (&links[1].id, 2)).unwrap();
        ledger.judge().unwrap();
        assert_eq!(ledger.chain(&links[1].id).unwrap().len(), 2);
        ledger.chain(&links[0].id).unwrap_err();
    }
}
