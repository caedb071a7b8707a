//! A directory for the time of one command, which goes with it: also where the command is ended by Ctrl-C or SIGTERM.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// The directory, for this user of the box alone.
pub struct Scratch {
    path: PathBuf,
    directory: Arc<Mutex<Option<TempDir>>>,
}

impl Scratch {
    /// Takes charge of a directory: from here on those two signals end the process once it is removed.
    ///
    /// # Errors
    /// There can be no thread, or no signal can be listened for.
    pub fn of(directory: TempDir) -> io::Result<Self> {
        let scratch = Self {
            path: directory.path().to_owned(),
            directory: Arc::new(Mutex::new(Some(directory))),
        };
        let system = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let (mut interrupt, mut terminate) = {
            let _within = system.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        let directory = Arc::clone(&scratch.directory);
        std::thread::Builder::new().spawn(move || {
            let signal = system.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                }
            });
            remove(&directory);
            // As a shell says it of whoever a signal ended.
            std::process::exit(128 + signal.as_raw_value());
        })?;
        Ok(scratch)
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

/// Removes the directory, once.
fn remove(directory: &Mutex<Option<TempDir>>) {
    drop(
        directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(),
    );
}
