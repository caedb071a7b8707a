//! Group commit: many callers, one `syncfs`.
//!
//! Whoever comes while a round runs takes part in the next one, which the first of them to wake
//! starts for all. A round covers whatever was written before it started, so nothing needs to be
//! handed over. A lone caller waits for nobody.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex};

/// How many failed rounds are remembered for those who took part and have not woken yet. A waiter
/// wakes at the latest when the round after its own ends, and a failing disk is no place for speed.
const FAILURES: usize = 1024;

#[derive(Default)]
struct RoundState {
    started: u64,
    finished: u64,
    running: bool,
    /// The rounds that failed, oldest first, with the system's error number.
    failed: VecDeque<(u64, i32)>,
}

/// The rounds of one disk.
#[derive(Default)]
pub struct Rounds {
    state: Mutex<RoundState>,
    ended: Condvar,
}

impl Rounds {
    /// Takes part in the next round that starts, running it with `sync` if it falls to this caller.
    /// Every caller of a round that fails gets its error.
    pub fn join(&self, sync: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let poisoned = "no code panics while it holds the rounds";
        let mut state = self.state.lock().expect(poisoned);
        let mine = state.started + 1;
        loop {
            if state.finished >= mine {
                return match state.failed.iter().find(|(round, _)| *round == mine) {
                    Some(&(_, number)) => Err(io::Error::from_raw_os_error(number)),
                    None => Ok(()),
                };
            }
            if state.running {
                state = self.ended.wait(state).expect(poisoned);
                continue;
            }
            state.running = true;
            state.started += 1;
            let round = state.started;
            drop(state);
            let result = sync();
            state = self.state.lock().expect(poisoned);
            state.running = false;
            state.finished = round;
            if let Err(error) = result {
                let number = error.raw_os_error().unwrap_or(EIO);
                state.failed.push_back((round, number));
                if state.failed.len() > FAILURES {
                    state.failed.pop_front();
                }
            }
            self.ended.notify_all();
        }
    }
}

/// The number for an error that has none of its own.
const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn a_round_covers_whoever_came_before_it_started() {
        let rounds = Rounds::default();
        let written = AtomicU64::new(0);
        let synced = AtomicU64::new(0);
        let syncs = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mine = written.fetch_add(1, Ordering::SeqCst) + 1;
                        rounds
                            .join(|| {
                                let covered = written.load(Ordering::SeqCst);
                                std::thread::yield_now();
                                synced.fetch_max(covered, Ordering::SeqCst);
                                syncs.fetch_add(1, Ordering::SeqCst);
                                Ok(())
                            })
                            .unwrap();
                        assert!(synced.load(Ordering::SeqCst) >= mine);
                    }
                });
            }
        });
        assert!(syncs.load(Ordering::SeqCst) <= 1600);
    }

    #[test]
    fn everybody_in_a_failed_round_is_told() {
        let rounds = Rounds::default();
        let (told, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let result = rounds.join(|| {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Err(io::Error::from_raw_os_error(28))
                    });
                    told.fetch_add(u64::from(result.is_err()), Ordering::SeqCst);
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(told.into_inner(), ended.into_inner());
        assert!(rounds.join(|| Ok(())).is_ok());
    }
}
