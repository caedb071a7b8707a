//! Log lines on their way to whoever reads them: a queue of bounded size and a thread that empties it.
//!
//! A reader of stderr that is slow, or hangs, holds up that thread and nobody who serves: what does not fit
//! into the queue is dropped and counted, and the count is told as soon as there is room again.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::model::limits;

/// Lines that wait to be written. Clones share them.
#[derive(Clone, Default)]
pub struct LogQueue(Arc<QueueRoom>);

#[derive(Default)]
struct QueueRoom {
    state: Mutex<QueueState>,
    /// There is something to write.
    filled: Condvar,
    /// All that there was is written.
    emptied: Condvar,
    /// How many were dropped in all.
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct QueueState {
    /// Whole lines, one after the other.
    lines: Vec<u8>,
    /// How many were dropped since that was last told.
    dropped: u64,
    /// Some are being written.
    writing: bool,
}

impl QueueState {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0
    }
}

impl LogQueue {
    /// Starts the thread that writes to `out` what comes, until the process ends; and the line of `dropped` for what was
    /// dropped.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(out: impl Write + Send + 'static, dropped: fn(u64) -> String) -> io::Result<Self> {
        let queue = Self::default();
        let writer = queue.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_to(out, dropped))?;
        Ok(queue)
    }

    /// The number of lines that were dropped since the start.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.dropped)
    }

    /// Waits until everything is written, but no longer than this.
    pub fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while state.writing || !state.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.emptied.wait_timeout(state, left);
            (state, _) = waited.expect(POISONED);
        }
    }

    /// Takes a whole line, or drops and counts it. Never waits for who reads them.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let was_empty = state.is_empty();
        if state.lines.len() + line.len() > limits::LOG_QUEUE_BYTES {
            state.dropped += 1;
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            state.lines.extend_from_slice(line);
        }
        // The writer only sleeps while there is nothing.
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    fn write_to(&self, mut out: impl Write, dropped_line: fn(u64) -> String) {
        let mut lines = Vec::new();
        loop {
            let mut state = self.lock();
            while state.is_empty() {
                state.writing = false;
                self.0.emptied.notify_all();
                state = self.0.filled.wait(state).expect(POISONED);
            }
            state.writing = true;
            drop(state);
            // Those that come in the same moment go out with one call.
            std::thread::sleep(limits::LOG_MOMENT);
            let mut state = self.lock();
            std::mem::swap(&mut lines, &mut state.lines);
            let dropped = std::mem::take(&mut state.dropped);
            drop(state);
            if dropped > 0 {
                lines.extend_from_slice(dropped_line(dropped).as_bytes());
            }
            // Where nobody reads any more there is nobody to tell.
            let _ = out.write_all(&lines).and_then(|()| out.flush());
            lines.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.0.state.lock().expect(POISONED)
    }
}

const POISONED: &str = "no code panics while it holds this";

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// Takes one piece, and no other before that one is received.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let sent = self.0.send(bytes.to_vec());
            sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (LogQueue, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        (
            LogQueue::start(Slow(sender), told_dropped).unwrap(),
            receiver,
        )
    }

    fn told_dropped(dropped: u64) -> String {
        format!("now WARN  log {dropped} lines were dropped\n")
    }

    /// How many a line says that were dropped.
    fn dropped_in(line: &str) -> Option<usize> {
        let (_, said) = line.split_once(" WARN  log ")?;
        said.split(' ').next()?.parse().ok()
    }

    #[test]
    fn what_is_not_read_is_dropped_and_counted_and_nobody_waits() {
        let (queue, receiver) = slow();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let most = limits::LOG_QUEUE_BYTES / line.len();
        let started = Instant::now();
        for _ in 0..4 * most {
            queue.push(&line);
        }
        queue.flush(Duration::ZERO);
        assert!(started.elapsed() < Duration::from_secs(20));
        let mut text = String::new();
        let (mut whole, mut told) = (0, 0);
        while whole + told < 4 * most {
            let piece = receiver.recv_timeout(Duration::from_secs(60));
            text += std::str::from_utf8(&piece.expect("all is written or told")).unwrap();
            whole = text.lines().filter(|said| said.starts_with('x')).count();
            told = text.lines().filter_map(dropped_in).sum();
        }
        assert!(told > 0, "the test is to fill the queue");
        assert_eq!(whole + told, 4 * most);
        // And then it goes on.
        queue.push(b"again\n");
        assert_eq!(receiver.recv().unwrap(), b"again\n");
    }

    #[test]
    fn a_flush_waits_until_all_is_written() {
        let (sender, receiver) = sync_channel(1000);
        let queue = LogQueue::start(Slow(sender), told_dropped).unwrap();
        for number in 0..100 {
            queue.push(format!("{number}\n").as_bytes());
        }
        queue.flush(Duration::from_secs(60));
        let lines: Vec<u8> = receiver.try_iter().flatten().collect();
        assert!(lines.ends_with(b"99\n"));
    }

    #[test]
    fn a_reader_that_went_away_is_no_reason_to_stop() {
        let (queue, receiver) = slow();
        drop(receiver);
        for _ in 0..3 {
            queue.push(b"nobody\n");
            queue.flush(Duration::from_secs(60));
            assert!(queue.lock().is_empty());
        }
    }
}
