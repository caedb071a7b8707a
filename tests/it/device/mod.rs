mod bar;
mod bounds;
mod each_call;
mod examples;
mod killed;
mod leftovers;
mod places;
mod rekeyed;
mod secrets;
mod session;
mod standby;
mod statuses;
mod terminal;

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::kit::{Finished, Server, binary};

/// Directories of devices.
pub struct Desks(TempDir);

impl Desks {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A device with a new store at this server.
    #[track_caller]
    pub fn init(&self, name: &str, server: &str) -> Desk {
        let path = self.path(name);
        let desk = Desk { path };
        let path = desk.path.to_str().unwrap();
        ran_in(
            self.0.path(),
            &["init", path, "--server", server, "--device", name],
            "",
        )
        .good();
        desk
    }

    /// Another device of the store that this one has.
    #[track_caller]
    pub fn clone_of(&self, desk: &Desk, name: &str) -> Desk {
        let invite = desk.run(&["invite", "--force"]).good();
        let path = self.path(name);
        let clone = [
            "clone",
            path.to_str().unwrap(),
            "--invite-file",
            "-",
            "--device",
            name,
        ];
        ran_in(self.0.path(), &clone, &invite).good();
        Desk { path }
    }
}

/// A directory with a replica.
pub struct Desk {
    pub path: PathBuf,
}

impl Desk {
    /// Runs a command in it.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Finished {
        ran_in(&self.path, args, "")
    }

    /// Commits a text, and gives back its id.
    #[track_caller]
    pub fn commit(&self, text: &str) -> String {
        let said = ran_in(&self.path, &["commit", "-"], text).good();
        said.trim_end().to_owned()
    }

    /// What a command says in JSON, and its status.
    #[track_caller]
    pub fn told(&self, args: &[&str]) -> (i32, Value) {
        let ran = self.run(&[args, &["--json"]].concat());
        let line = ran.stdout.lines().last().unwrap_or_default();
        let object = serde_json::from_str(line);
        let object = object.unwrap_or_else(|error| panic!("{args:?}: {error}: {ran:?}"));
        assert_eq!(ran.stderr, "", "{args:?}");
        (ran.code.unwrap(), object)
    }

    /// The texts of the journal, as far as it is here.
    #[track_caller]
    pub fn texts(&self) -> Vec<String> {
        let all = self
            .run(&["follow", "--once", "--offline", "--pending"])
            .good();
        let lines = all
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter_map(|line| line["text"].as_str().map(str::to_owned))
            .collect()
    }

    /// The id of the first entry that is here.
    #[track_caller]
    pub fn first_id(&self) -> String {
        let all = self.run(&["follow", "--once", "--offline"]).good();
        let first: Value = serde_json::from_str(all.lines().next().unwrap()).unwrap();
        first["id"].as_str().unwrap().to_owned()
    }

    /// A file of its `.mentat-sync`.
    pub fn home(&self, name: &str) -> PathBuf {
        self.path.join(".mentat-sync").join(name)
    }

    /// Changes one field of the file `remote`, as a person with an editor does.
    #[track_caller]
    pub fn set(&self, field: &str, value: &str) {
        let text = std::fs::read_to_string(self.home("remote")).unwrap();
        let mut remote: Value = serde_json::from_str(&text).unwrap();
        remote[field] = value.into();
        std::fs::write(self.home("remote"), remote.to_string()).unwrap();
    }
}

impl Finished {
    /// What it said, where it went well.
    #[track_caller]
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }
}

/// The address of a server, as devices have it.
pub fn address(server: &Server) -> String {
    format!("http://{}", server.address())
}

/// Runs a command in this directory, with this on its standard input.
#[track_caller]
pub fn ran_in(directory: &Path, args: &[&str], input: impl AsRef<[u8]>) -> Finished {
    let mut command = binary();
    command.args(args).current_dir(directory);
    ran(&mut command, input.as_ref())
}

#[track_caller]
pub fn ran(command: &mut Command, input: &[u8]) -> Finished {
    let output = command.stdin(stdin(input)).output().unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// These bytes, as a standard input.
pub fn stdin(input: &[u8]) -> Stdio {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    file.rewind().unwrap();
    file.into()
}
