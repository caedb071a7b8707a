//! How far long work is: shown on a terminal, and nowhere else.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Steps between two looks at the bytes, which the bar cannot count by itself.
const STEPS: u64 = 64;

/// Whether anybody sees it.
pub fn is_shown() -> bool {
    std::io::stderr().is_terminal()
}

/// A bar on stderr that counts files, with their rate and the time left.
pub struct FileBar {
    bar: ProgressBar,
    bytes: AtomicU64,
}

impl FileBar {
    /// Of so many files, where that is known; drawn only if [`is_shown`].
    pub fn of(files: Option<u64>) -> Self {
        let template = match files {
            Some(_) => "{wide_bar} {human_pos} of {human_len} files, {per_sec}{msg}, {eta} left",
            None => "{spinner} {human_pos} files, {per_sec}{msg}",
        };
        let bar = match files {
            _ if !is_shown() => ProgressBar::hidden(),
            Some(files) => ProgressBar::new(files),
            None => ProgressBar::new_spinner(),
        };
        let style = ProgressStyle::with_template(template).expect("the template is well formed");
        Self {
            bar: bar.with_style(style),
            bytes: AtomicU64::new(0),
        }
    }

    /// One more file, of which so many bytes were read.
    pub fn step(&self, bytes: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.inc(1);
        if bytes > 0 && self.bar.position().is_multiple_of(STEPS) {
            let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
            let rate = HumanBytes((bytes as f64 / seconds) as u64);
            self.bar.set_message(format!(", {rate}/s"));
        }
    }

    /// Runs something that prints, with the bar out of the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// The work is done.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
