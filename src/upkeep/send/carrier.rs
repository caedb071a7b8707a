//! The other side of a send as it is: a shell where the user goes to, and rsync.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::side::{CopyRound, OtherSide, SendError};
use super::stop::{Programs, StopSend};
use crate::disk::{Disk, Real};
use crate::model::{UserId, limits};
use crate::store::layout::Folder;
use crate::upkeep::backup::{self, Destination, Ran, SSH, Session, ShellGroup};

/// The program that does there what is to be done there, see [`Session`].
const PROGRAM: &str = include_str!("there.sh");

/// Rules for what stays here: the words of this side, locks, and temporary files.
const STAYS: [&str; 5] = [
    "- /frozen",
    "- /move",
    "- /lock",
    "- /gate",
    "- /incoming/tmp/*",
];

/// Rules for what comes at last.
const HEADS: [&str; 2] = ["- /HEAD", "- /CHECKPOINT"];

/// Shelves of files that never change under their names, each of which was compared before the user was frozen.
const IMMUTABLE: [&str; 6] = [
    "- /chunks/**",
    "- /aliases/**",
    "- /transactions/**",
    "- /checkpoint/**",
    "- /incoming/chunks/**",
    "- /incoming/aliases/**",
];

/// A shell at the destination, and rsync to it. All of it is one group of processes.
pub(super) struct Carrier<'a> {
    session: Session,
    /// After the session, which may end the group's leader.
    _programs: Programs<'a>,
    /// The user's folder, with a slash at the end.
    source: OsString,
    to: &'a Destination,
    /// The directory there that the copy goes into, and those where parts of it may be.
    into: OsString,
    known: Vec<OsString>,
    copied: &'a dyn Fn(u64),
}

impl<'a> Carrier<'a> {
    /// Starts the shell.
    ///
    /// # Errors
    /// Those of [`Session::start`]; or DATA has no path.
    pub fn start(
        disk: &Real,
        user: &UserId,
        to: &'a Destination,
        copied: &'a dyn Fn(u64),
        stop: &'a StopSend,
    ) -> Result<Self, SendError> {
        let source = store_path(disk, user)?;
        let id = user.to_string();
        let variables = [("USER_ID", id.as_str())];
        let group = ShellGroup::Apart(id.clone(), user.short().to_string());
        let session = Session::start(to, disk.gives_to(), PROGRAM, &variables, group)?;
        Ok(Self {
            _programs: stop.runs(session.process()),
            session,
            source,
            to,
            into: OsString::new(),
            known: Vec::new(),
            copied,
        })
    }

    /// One run of rsync. What is taken from the known directories is taken by length and time, also in the place of what was
    /// compared: so that is for the first run alone.
    fn rsync(&self, how: &[&str], without: &[&str], known: &[OsString]) -> Result<Ran, SendError> {
        let mut command = Command::new("rsync");
        command.args([
            "-rlt",
            "--modify-window=-1",
            "--delete",
            "--chmod=D0700,F0600",
        ]);
        command.arg("--out-format=%l").args(how);
        let filters = STAYS.iter().chain(without);
        command.args(filters.map(|rule| format!("--filter={rule}")));
        for known in known {
            let mut link = OsString::from("--link-dest=");
            link.push(known);
            command.arg(link);
        }
        if let Destination::There { .. } = self.to {
            command.arg("-e").arg(SSH.join(" "));
        }
        let mut into = self.into.clone();
        into.push("/");
        command.arg(&self.source).arg(self.to.for_rsync(&into));
        command.process_group(self.session.process() as i32);
        let mut complaints = String::new();
        let ran = backup::carry_out(command, Vec::new(), self.copied, &mut complaints)?;
        if matches!(ran, Ran::Partly) {
            return Err(backup::Error::Rsync(complaints.trim_end().to_owned()).into());
        }
        Ok(ran)
    }
}

impl OtherSide for Carrier<'_> {
    fn ask(&mut self, step: &str) -> Result<Vec<Vec<u8>>, SendError> {
        let said = self.session.ask(&format!("{step}\n"))?;
        for line in &said {
            if let Some(path) = line.strip_prefix(b"into ") {
                self.into = OsString::from_vec(path.to_vec());
            } else if let Some(path) = line.strip_prefix(b"known ") {
                self.known.push(OsString::from_vec(path.to_vec()));
            }
        }
        Ok(said)
    }

    fn copy(&mut self, what: CopyRound) -> Result<(), SendError> {
        match what {
            CopyRound::Bulk => {
                let _ = self.rsync(&[], &HEADS, &self.known)?;
            }
            CopyRound::Compared => {
                let _ = self.rsync(&["--checksum"], &HEADS, &[])?;
            }
            CopyRound::Rest => {
                for _ in 0..limits::BACKUP_TRIES {
                    let first = self.rsync(&[], &HEADS, &[])?;
                    let then = self.rsync(&["--checksum"], &IMMUTABLE, &[])?;
                    if matches!((first, then), (Ran::Whole, Ran::Whole)) {
                        return Ok(());
                    }
                }
                let words = "not all of the user's files can be read, or some go all the time";
                return Err(backup::Error::Rsync(words.to_owned()).into());
            }
        }
        Ok(())
    }
}

/// The path of the user's folder, for rsync.
fn store_path(disk: &Real, user: &UserId) -> Result<OsString, SendError> {
    let path = disk.path(Folder::of(user).place());
    let path = path.ok_or(SendError::NotHere("the data directory has no path"))?;
    let mut path = std::path::absolute(&path).unwrap_or(path).into_os_string();
    path.push("/");
    Ok(path)
}
