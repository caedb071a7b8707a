use std::collections::BTreeMap;
use std::convert::Infallible;

use mentat_sync::client::{App, Entry, Rebase};
use mentat_sync::model::TransactionId;

/// A line of the ledger: `NUMBER KEY`, where whoever says a key first has it. A number with `?` is not worth saying where
/// the key is somebody's already; one with `!` is said all the same, as `NUMBER KEY late`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub lines: Vec<String>,
    pub holders: BTreeMap<String, String>,
}

/// An application that keeps every line that it was told, in order.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub at: TransactionId,
    pub confirmed: State,
    pub shown: State,
    /// Lines that it did not want said any more.
    pub dropped: Vec<String>,
    /// How often it was asked what becomes of a line.
    pub asked: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            at: TransactionId::ROOT,
            confirmed: State::default(),
            shown: State::default(),
            dropped: Vec::new(),
            asked: 0,
        }
    }
}

fn step(state: &mut State, line: &str) {
    state.lines.push(line.to_owned());
    let mut words = line.split(' ');
    if let (Some(number), Some(key)) = (words.next(), words.next()) {
        let holder = state.holders.entry(key.to_owned());
        holder.or_insert_with(|| number.to_owned());
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

impl App for Ledger {
    type Error = Infallible;

    fn position(&self) -> TransactionId {
        self.at
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Infallible> {
        let line = text(&entry.body);
        step(&mut self.shown, &line);
        if !entry.pending {
            assert_eq!(
                entry.parent, self.at,
                "an entry was left out, or came twice"
            );
            step(&mut self.confirmed, &line);
            self.at = entry.id;
        }
        Ok(())
    }

    fn rewind(&mut self) -> Result<(), Infallible> {
        self.shown = self.confirmed.clone();
        Ok(())
    }

    fn rebase(&mut self, ours: &Entry) -> Result<Rebase, Infallible> {
        self.asked += 1;
        let line = text(&ours.body);
        let (number, key) = line.split_once(' ').unwrap();
        if !self.shown.holders.contains_key(key) {
            return Ok(Rebase::Keep);
        }
        Ok(match number.as_bytes().last() {
            Some(b'?') => {
                self.dropped.push(line);
                Rebase::Drop
            }
            Some(b'!') if !key.ends_with("late") => {
                Rebase::Replace(format!("{line} late").into_bytes(), ours.chunks.clone())
            }
            _ => Rebase::Keep,
        })
    }
}
