//! How far a transfer is, on a terminal: its rate, and the time that is left, by bytes where those are known.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::progress::is_shown;
use crate::client::Progress;

/// The bar of a device's command: what the replica tells of its work, drawn where anybody sees it.
pub struct TransferBar {
    bar: ProgressBar,
    is_shown: bool,
    is_drawn: AtomicBool,
    amounts: Mutex<Amounts>,
    /// The bytes that went out, drawn or not.
    sent: AtomicU64,
}

/// The amounts that were done, and those that there are to do in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amounts {
    transactions: u64,
    bytes: u64,
    all_transactions: Option<u64>,
    all_bytes: Option<u64>,
}

impl Amounts {
    /// So much is left, after what was done.
    fn left(&mut self, transactions: Option<u64>, bytes: Option<u64>) {
        self.all_transactions = transactions.map(|left| self.transactions.saturating_add(left));
        self.all_bytes = bytes.map(|left| self.bytes.saturating_add(left));
    }

    /// So much more was done. What was said before is no less than what was done.
    fn done(&mut self, transactions: u64, bytes: u64) {
        self.transactions = self.transactions.saturating_add(transactions);
        self.bytes = self.bytes.saturating_add(bytes);
        self.all_transactions = (self.all_transactions).map(|all| all.max(self.transactions));
        self.all_bytes = self.all_bytes.map(|all| all.max(self.bytes));
    }

    /// Where the bar is, and where it ends. Transactions are of all lengths, so that bytes count where both are known.
    fn position(&self) -> (u64, Option<u64>) {
        match (self.all_bytes, self.all_transactions) {
            (Some(all), _) => (self.bytes, Some(all)),
            (None, Some(all)) => (self.transactions, Some(all)),
            (None, None) => (self.bytes, None),
        }
    }

    /// The bar, without what is counted by its position.
    fn template(&self) -> &'static str {
        match (self.all_bytes, self.all_transactions) {
            (Some(_), _) => "{wide_bar} {msg}{bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            (None, Some(_)) => {
                "{wide_bar} {human_pos} of {human_len} transactions, {msg}{per_sec}, {eta} left"
            }
            (None, None) => "{spinner} {msg}{bytes}, {bytes_per_sec}",
        }
    }

    /// The words for what its position does not count.
    fn words(&self) -> String {
        match (self.all_bytes, self.all_transactions) {
            (Some(_), Some(all)) if all > 0 => {
                let done = HumanCount(self.transactions);
                format!("{done} of {} transactions, ", HumanCount(all))
            }
            (None, Some(_)) => format!("{}, ", HumanBytes(self.bytes)),
            _ => String::new(),
        }
    }
}

impl TransferBar {
    /// A bar that nothing was told yet, and that is not drawn before something is.
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            is_shown: is_shown(),
            is_drawn: AtomicBool::new(false),
            amounts: Mutex::default(),
            sent: AtomicU64::new(0),
        }
    }

    /// Tells that so many bytes are to be put, where that is known.
    pub fn will_put(&self, bytes: Option<u64>) {
        self.begin(None, bytes);
    }

    /// The bytes that were sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The work is done: nothing is drawn until more is told.
    pub fn end(&self) {
        if self.is_drawn.swap(false, Ordering::Relaxed) {
            self.bar.finish_and_clear();
        }
    }

    fn amounts(&self) -> MutexGuard<'_, Amounts> {
        let amounts = self.amounts.lock();
        amounts.unwrap_or_else(|broken| broken.into_inner())
    }

    /// So much is to be done from now on.
    fn begin(&self, transactions: Option<u64>, bytes: Option<u64>) {
        let mut amounts = self.amounts();
        amounts.left(transactions, bytes);
        if !self.is_shown {
            return;
        }
        let style = ProgressStyle::with_template(amounts.template());
        self.bar
            .set_style(style.expect("the template is well formed"));
        if !self.is_drawn.swap(true, Ordering::Relaxed) {
            self.bar.reset();
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.set(&amounts);
    }

    fn step(&self, transactions: u64, bytes: u64) {
        let mut amounts = self.amounts();
        amounts.done(transactions, bytes);
        if self.is_drawn.load(Ordering::Relaxed) {
            self.set(&amounts);
        }
    }

    fn set(&self, amounts: &Amounts) {
        let (position, length) = amounts.position();
        match length {
            Some(length) => self.bar.set_length(length),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(position);
        self.bar.set_message(amounts.words());
    }
}

impl Progress for TransferBar {
    fn is_watched(&self) -> bool {
        self.is_shown
    }

    fn will_come(&self, transactions: u64, bytes: Option<u64>) {
        self.begin(Some(transactions), bytes);
    }

    fn came(&self, transactions: u64, bytes: u64) {
        self.step(transactions, bytes);
    }

    fn will_go(&self, transactions: u64, bytes: u64) {
        self.begin(Some(transactions), Some(bytes));
    }

    fn went(&self, transactions: u64, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.step(transactions, bytes);
    }

    fn put(&self, bytes: u64) {
        self.step(0, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_never_passes_its_end_whatever_it_was_told() {
        for (transactions, bytes) in [(Some(2), Some(100)), (Some(2), None), (None, Some(100))] {
            let mut amounts = Amounts::default();
            amounts.left(transactions, bytes);
            for _ in 0..5 {
                amounts.done(1, 60);
                let (position, length) = amounts.position();
                assert!(position <= length.unwrap(), "{amounts:?}");
            }
            // A pull after a push, a connection that broke: what is left counts after what was done.
            amounts.left(transactions, bytes);
            let (position, length) = amounts.position();
            let (all_bytes, all) = (
                bytes.map(|left| 300 + left),
                transactions.map(|left| 5 + left),
            );
            assert_eq!(length, all_bytes.or(all));
            assert_eq!(position, if bytes.is_some() { 300 } else { 5 });
            amounts.done(u64::MAX, u64::MAX);
            let (position, length) = amounts.position();
            assert_eq!((position, length), (u64::MAX, Some(u64::MAX)));
        }
    }

    #[test]
    fn a_bar_counts_bytes_where_they_are_known_and_says_the_transactions_beside_them() {
        let mut amounts = Amounts::default();
        amounts.left(Some(2000), Some(1 << 30));
        amounts.done(1234, 1 << 20);
        assert_eq!(amounts.position(), (1 << 20, Some(1 << 30)));
        assert_eq!(amounts.words(), "1,234 of 2,000 transactions, ");
        amounts.left(Some(766), None);
        assert_eq!(amounts.position(), (1234, Some(2000)));
        assert_eq!(amounts.words(), "1.00 MiB, ");
        amounts.left(None, None);
        assert_eq!(amounts.position(), (1 << 20, None));
        for (transactions, bytes) in [(None, None), (Some(1), None), (Some(1), Some(1))] {
            amounts.left(transactions, bytes);
            ProgressStyle::with_template(amounts.template()).unwrap();
        }
    }
}
