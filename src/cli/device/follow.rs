//! `mentat-sync follow`: the journal as lines, for ever.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};

use super::arguments::ReplicaFlags;
use super::cat::{CHECKPOINT, find, is_read, kept};
use super::journal_app::Journal;
use super::line::EntryLine;
use super::opened::OpenReplica;
use super::told::{DeviceTrouble, Outcome};
use crate::cli::open::private;
use crate::cli::output::json_line;
use crate::client::Error;
use crate::model::{TransactionId, limits};

/// Print one JSON object a line for each transaction, from the beginning on, and wait for more: id, seq, by, at, text or
/// files, note, pending. Pulls by itself.
#[derive(Args)]
pub struct FollowCommand {
    /// Begin after this transaction: its id, or its first digits; or, with the word checkpoint, after the one that the checkpoint
    /// which is kept here stands for.
    #[arg(long, value_name = "ID")]
    from: Option<String>,
    /// Print what is pending, too. Once it is confirmed it is printed again, perhaps with another id.
    #[arg(long)]
    pending: bool,
    /// End at HEAD.
    #[arg(long)]
    once: bool,
    /// Ask no server: print what is here, and what other commands bring here.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

/// Where the printing is.
struct Followed<'a> {
    opened: &'a OpenReplica,
    at: TransactionId,
    /// The pending ones that were printed.
    pending: Option<HashSet<TransactionId>>,
}

impl FollowCommand {
    /// Prints until nobody reads it, or to HEAD. Fails as `pull` does; one that runs on goes on through a time without a
    /// network.
    pub fn run(&self) -> Outcome {
        private();
        let opened = OpenReplica::of(&self.replica, None)?;
        let from = match &self.from {
            // The chain may not be there yet.
            Some(from) if from == CHECKPOINT => {
                return self.follow(&opened, kept(&opened.replica)?.id);
            }
            Some(from) => find(&opened.replica, from)?,
            None => return self.follow(&opened, TransactionId::ROOT),
        };
        if from.pending {
            return Err(DeviceTrouble::usage(
                "--from is a transaction that is confirmed, and this one is pending",
            ));
        }
        self.follow(&opened, from.id)
    }

    fn follow(&self, opened: &OpenReplica, from: TransactionId) -> Outcome {
        let mut followed = Followed {
            opened,
            at: from,
            pending: self.pending.then(HashSet::new),
        };
        if !self.once {
            end_with_the_reader()?;
        }
        // What is here needs no network.
        if !followed.print()? {
            return Ok(());
        }
        let mut pause = limits::FOLLOW_PAUSE.0;
        let mut is_told = false;
        loop {
            let trouble = match self.offline {
                true => None,
                false => self.pulled(opened)?,
            };
            if !followed.print()? {
                return Ok(());
            }
            match trouble {
                Some(trouble) if self.once => return Err(trouble),
                Some(trouble) => {
                    if !is_told {
                        eprintln!("mentat-sync: {}; it is tried again", trouble.words());
                    }
                    is_told = true;
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(limits::FOLLOW_PAUSE.1);
                }
                None if self.once => return Ok(()),
                None => {
                    (pause, is_told) = (limits::FOLLOW_PAUSE.0, false);
                    self.wait(opened)?;
                }
            }
        }
    }

    /// Pulls; a trouble that may pass is given back.
    fn pulled(&self, opened: &OpenReplica) -> Outcome<Option<DeviceTrouble>> {
        if let Err(trouble) = opened.moved() {
            return match trouble.may_pass() {
                true => Ok(Some(trouble)),
                false => Err(trouble),
            };
        }
        let mut journal = Journal(&opened.replica);
        let pulled = opened.replica.pull(&mut journal);
        opened.bar.end();
        match pulled {
            Ok(_) => {
                opened.home.clear();
                Ok(None)
            }
            Err(error) => match DeviceTrouble::from(error) {
                trouble if trouble.may_pass() => Ok(Some(trouble)),
                trouble => Err(trouble),
            },
        }
    }

    /// Waits until there may be more.
    fn wait(&self, opened: &OpenReplica) -> Outcome {
        if !self.offline {
            return match opened.replica.wait(limits::LONGEST_WAIT) {
                Err(error) if !error.is_transient() => Err(error.into()),
                // The next pull tells it.
                _ => Ok(()),
            };
        }
        let look = || -> Outcome<_> {
            let pending = match self.pending {
                true => Some(opened.replica.status()?.tip),
                false => None,
            };
            Ok((opened.replica.head()?, pending))
        };
        let before = look()?;
        while look()? == before {
            std::thread::sleep(limits::LOOK_FOR_COMMITS);
        }
        Ok(())
    }
}

impl Followed<'_> {
    /// Prints what is new; `false` where nobody reads it any more.
    fn print(&mut self) -> Outcome<bool> {
        for entry in self.opened.replica.entries(self.at) {
            let entry = match entry {
                // A rebase put another line of pending ones in the place of this one.
                Err(Error::Busy) => return Ok(true),
                entry => entry?,
            };
            if entry.pending {
                let printed = self.pending.as_mut();
                if !printed.is_some_and(|printed| printed.insert(entry.id)) {
                    continue;
                }
            } else {
                self.at = entry.id;
            }
            let line = EntryLine::of(&entry);
            if !is_read(|out| json_line(out, &line))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Ends the process when nobody reads stdout any more, also while it waits. It may end at any moment, as by a kill.
fn end_with_the_reader() -> io::Result<()> {
    let watch = || {
        let out = io::stdout();
        loop {
            let mut pipe = [PollFd::from_borrowed_fd(out.as_fd(), PollFlags::empty())];
            let polled = poll(&mut pipe, None);
            let gone = PollFlags::ERR | PollFlags::NVAL;
            match polled {
                Ok(_) if pipe[0].revents().intersects(gone) => std::process::exit(0),
                Ok(_) => std::thread::sleep(Duration::from_secs(1)),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    };
    let thread = std::thread::Builder::new().name("reader".to_owned());
    thread.spawn(watch).map(drop)
}
