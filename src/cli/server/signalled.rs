//! The signals that have a send stop while that leaves the user served here.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::model::limits;
use crate::upkeep::send::StopSend;

/// The first signal that came.
pub struct Signalled(Arc<OnceLock<SignalKind>>);

impl Signalled {
    /// Listens from here on for SIGINT, SIGTERM and SIGHUP, but for those that were ignored when this process began, as `nohup` has it:
    /// the first has the send stop, or is told that it is too late. Another one within [`limits::SAME_SIGNAL`] is the same; a later one
    /// ends the process at once.
    ///
    /// # Errors
    /// There can be no thread, or no signal can be listened for.
    pub fn stops(stop: Arc<StopSend>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let ignored = ignored();
        let mut listening = Vec::new();
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ] {
            if ignored >> (kind.as_raw_value() - 1) & 1 == 0 {
                let _within = runtime.enter();
                listening.push((kind, signal(kind)?));
            }
        }
        let first: Arc<OnceLock<SignalKind>> = Arc::default();
        if !listening.is_empty() {
            let first = first.clone();
            std::thread::Builder::new().spawn(move || {
                runtime.block_on(async {
                    let kind = any(&mut listening).await;
                    let since = Instant::now();
                    let _ = first.set(kind);
                    if stop.ask() {
                        say("stopping; once more ends it at once, and may leave the user frozen");
                    } else {
                        say("the user is gone here already: this goes on to its end");
                    }
                    loop {
                        let kind = any(&mut listening).await;
                        if since.elapsed() >= limits::SAME_SIGNAL {
                            say("ended at once: the same command again goes on, whatever was done");
                            std::process::exit(128 + kind.as_raw_value());
                        }
                    }
                })
            })?;
        }
        Ok(Self(first))
    }

    /// The first one, whether it came in time or not.
    pub fn first(&self) -> Option<SignalKind> {
        self.0.get().copied()
    }
}

/// Prints words on stderr, where anybody is left to read them.
fn say(words: &str) {
    let _ = writeln!(io::stderr(), "mentat-sync: {words}");
}

async fn any(listening: &mut [(SignalKind, Signal)]) -> SignalKind {
    std::future::poll_fn(|context| {
        for (kind, signal) in &mut *listening {
            if signal.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(*kind);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// The signals that this process ignores, a bit each; none where that cannot be told.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
