//! The place that a copy goes to, here or on another machine, and the one shell that is kept running there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::outcome::Error;
use crate::disk::Owner;

/// The program that does at DEST what is to be done there. It is a shell's, so that a machine that only keeps copies needs
/// no mentat-sync, and the same one here and there, so that what is tried here is what happens there.
const PROGRAM: &str = include_str!("there.sh");

/// Options of every `ssh`: nobody is there to be asked for a password.
pub(in crate::upkeep) const SSH: [&str; 3] = ["ssh", "-o", "BatchMode=yes"];

/// A place for a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A directory of this machine.
    Here(PathBuf),
    /// A directory of another one, over ssh: the host as ssh takes it, with its user where one is said.
    There { host: String, directory: String },
}

impl Destination {
    /// Reads a place as rsync does: with a colon before the first slash it is on another machine.
    ///
    /// # Errors
    /// Words for a person: it is neither, or a program that is run would take it for something else.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let before = bytes.split(|byte| *byte == b'/').next().unwrap_or_default();
        if bytes.is_empty() {
            return Err("name a directory".to_owned());
        }
        if bytes.contains(&b'\n') {
            return Err("a path with a newline in it is not for a copy".to_owned());
        }
        if !before.contains(&b':') {
            return Ok(Self::Here(text.into()));
        }
        let text =
            (text.to_str()).ok_or("on another machine, only a path in UTF-8 can be named")?;
        // An address of IPv6 stands in brackets.
        let at = match text.find("]:") {
            Some(end) if text.contains('[') => end + 1,
            _ => before.iter().position(|byte| *byte == b':').unwrap_or(0),
        };
        let (host, directory) = (&text[..at], &text[at + 1..]);
        if host.is_empty() || host.starts_with('-') || host.contains(char::is_whitespace) {
            return Err(format!("{host:?} is no host: say host:directory"));
        }
        if directory.is_empty() {
            return Err(format!("say which directory of {host}: {host}:directory"));
        }
        if directory.starts_with(':') || text.starts_with("rsync:") {
            return Err(
                "a copy goes over ssh, as host:directory: rsync's daemon cannot install one"
                    .to_owned(),
            );
        }
        Ok(Self::There {
            host: host.to_owned(),
            directory: directory.to_owned(),
        })
    }

    /// The place as rsync takes it, once its whole path is known there. (By its whole path: rsync 3.2.7, as mended in 2025,
    /// finds no file by a relative one with dots in it.)
    pub(in crate::upkeep) fn for_rsync(&self, path: &OsStr) -> OsString {
        let mut whole = match self {
            Self::Here(_) => OsString::new(),
            Self::There { host, .. } => format!("{host}:").into(),
        };
        whole.push(path);
        whole
    }

    /// A shell where this is, which says nothing yet.
    fn shell(&self, owner: Option<Owner>, program: &str, variables: &[(&str, &str)]) -> Command {
        let owner = owner.map_or(String::new(), |owner| {
            format!("{}:{}", owner.user, owner.group)
        });
        match self {
            Self::Here(path) => {
                let mut command = Command::new("sh");
                command
                    .arg("-c")
                    .arg(program)
                    .envs(variables.iter().copied());
                command.env("DIR", path).env("OWNER", owner);
                command
            }
            Self::There { host, directory } => {
                let variables = variables
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"));
                let words = (variables.chain([format!("DIR={directory}"), "OWNER=".to_owned()]))
                    .chain(["sh", "-c", program].map(str::to_owned));
                let quoted: String = words
                    .map(|word| format!(" '{}'", word.replace('\'', r"'\''")))
                    .collect();
                let mut command = Command::new(SSH[0]);
                command.args(&SSH[1..]);
                command.arg(host.replace(['[', ']'], ""));
                command.arg(format!("env{quoted}"));
                command
            }
        }
    }
}

/// The group of processes that a shell is in.
#[derive(Debug)]
pub(in crate::upkeep) enum ShellGroup {
    /// A key at the terminal ends both, and what the shell says on stderr is said as it is.
    OfThis,
    /// One of its own, which the shell leads. Its words on stderr are said once it has ended, or something is in the way, with the second
    /// text in place of the first, which is a secret.
    Apart(String, String),
}

/// The shell that is kept running where DEST is. It holds the lock on DEST, and gives it back when it ends: once this is dropped, or
/// once the process is no more, and in either case not before it has done what it is at.
pub(in crate::upkeep) struct Session {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    is_far: bool,
    /// The shell's words on stderr, where they are not said yet, and the texts of [`ShellGroup::Apart`].
    aside: Option<(File, String, String)>,
}

impl Session {
    /// Starts the shell, makes DEST ready, and says its whole path, and who is in it by their names.
    ///
    /// # Errors
    /// [`Error::Lacking`] without a shell, ssh or rsync; [`Error::Refused`] where DEST is no place for a copy;
    /// [`Error::Unreachable`] otherwise, and then the matter was said on stderr.
    pub fn open(
        to: &Destination,
        owner: Option<Owner>,
    ) -> Result<(Self, OsString, Vec<String>), Error> {
        let mut session = Self::start(to, owner, PROGRAM, &[], ShellGroup::OfThis)?;
        let mut said = session.ask("prepare\n")?.into_iter();
        let path = said.next().unwrap_or_default();
        let path = path.strip_prefix(b"at ").unwrap_or_default().to_vec();
        let names = said.filter_map(|line| {
            let line = String::from_utf8(line).ok()?;
            Some(line.strip_prefix("has ")?.to_owned())
        });
        Ok((session, OsString::from_vec(path), names.collect()))
    }

    /// Starts a shell that runs this program where that is, with these variables.
    ///
    /// # Errors
    /// As [`Session::open`], but that nothing is asked of it yet.
    pub fn start(
        to: &Destination,
        owner: Option<Owner>,
        program: &str,
        variables: &[(&str, &str)],
        group: ShellGroup,
    ) -> Result<Self, Error> {
        let mut command = to.shell(owner, program, variables);
        let mut aside = None;
        if let ShellGroup::Apart(secret, instead) = group {
            let unmade = |error| Error::Unreachable(format!("cannot start a shell: {error}"));
            let file = tempfile::tempfile().map_err(unmade)?;
            command.process_group(0);
            command.stderr(file.try_clone().map_err(unmade)?);
            aside = Some((file, secret, instead));
        }
        // The directory that this was started in may be gone, and most programs mind.
        command.current_dir("/");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let program = command.get_program().to_string_lossy().into_owned();
                Error::Lacking(format!("{program} is not here: install it"))
            }
            _ => Error::Unreachable(format!("cannot start a shell: {error}")),
        })?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Ok(Self {
            from: BufReader::new(output.expect("it was piped")),
            to: input,
            child,
            is_far: matches!(to, Destination::There { .. }),
            aside,
        })
    }

    /// The shell's process here.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Has something done, and returns the lines that were said about it.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn ask(&mut self, command: &str) -> Result<Vec<Vec<u8>>, Error> {
        let input = self.to.as_mut().expect("it is open until the end");
        // Where nobody listens any more, there is no end to be read either.
        let asked = input
            .write_all(command.as_bytes())
            .and_then(|()| input.flush());
        let mut said: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = self.from.read_until(b'\n', &mut line);
            if !read.is_ok_and(|read| read > 0) {
                return Err(self.ended(&said, asked.err()));
            }
            line.pop();
            match line.strip_prefix(b"end ") {
                Some(b"0") => return Ok(said),
                Some(_) => {
                    self.tell_aside();
                    return Err(refusal(&said));
                }
                None => said.push(line),
            }
        }
    }

    /// Passes on to stderr the words that the shell has for it, once.
    fn tell_aside(&mut self) {
        let Some((file, secret, instead)) = &mut self.aside else {
            return;
        };
        let mut said = Vec::new();
        let read = file.rewind().and_then(|()| file.read_to_end(&mut said));
        // The shell has the same place in it, and goes on at its end.
        if read.is_ok() && !said.is_empty() {
            let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
            let said = String::from_utf8_lossy(&said).replace(&**secret, instead);
            let _ = io::stderr().write_all(said.as_bytes());
        }
    }

    /// Words for a shell that ended before its time.
    fn ended(&mut self, said: &[Vec<u8>], asked: Option<io::Error>) -> Error {
        let status = self.child.wait();
        self.tell_aside();
        match said.first().map(Vec::as_slice) {
            Some(b"taken") => return Error::Taken,
            Some(b"lacking") => {
                let place = if self.is_far { "there" } else { "here" };
                return Error::Lacking(format!("rsync is not {place}: install it"));
            }
            _ => {}
        }
        let mut words = match status {
            Ok(status) if status.code() == Some(255) => "ssh does not get there".to_owned(),
            Ok(status) => format!("the shell there ended before its time ({status})"),
            Err(error) => format!("the shell there is lost: {error}"),
        };
        // A pipe that breaks says no more than that.
        if let Some(error) = asked.filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            words = format!("{words}: {error}");
        }
        Error::Unreachable(words)
    }
}

/// The refusal of a command, which says why on stdout if it knows, and otherwise on stderr.
fn refusal(said: &[Vec<u8>]) -> Error {
    let why = said.iter().find_map(|line| line.strip_prefix(b"why "));
    match why {
        Some(why) => Error::Refused(String::from_utf8_lossy(why).into_owned()),
        None => Error::Unreachable("what is said above was in the way".to_owned()),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Without anything more to read it ends. Nothing is asked of how: all that counts was answered.
        drop(self.to.take());
        let _ = self.child.wait();
        self.tell_aside();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_the_first_slash_leads_to_another_machine() {
        let there = |host: &str, directory: &str| Destination::There {
            host: host.to_owned(),
            directory: directory.to_owned(),
        };
        let here = |path: &str| Destination::Here(path.into());
        for (text, place) in [
            ("copy", here("copy")),
            ("./a:b", here("./a:b")),
            ("/a:b", here("/a:b")),
            ("box:copy", there("box", "copy")),
            ("me@box:/srv/a:b c", there("me@box", "/srv/a:b c")),
            ("[::1]:/srv", there("[::1]", "/srv")),
        ] {
            assert_eq!(Destination::parse(text.as_ref()), Ok(place), "{text}");
        }
        for text in [
            "",
            "box:",
            ":copy",
            "box::module",
            "rsync://box/module",
            "-oProxyCommand=sh:copy",
            "a b:c",
            "a\nb",
        ] {
            let place = Destination::parse(text.as_ref());
            assert!(place.is_err(), "{text}: {place:?}");
        }
    }
}
