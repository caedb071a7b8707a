//! System calls that are made to fail, to be late, or to be the last one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::scene::Act;
use crate::kit::Server;

/// What is done to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The server is killed as it makes the call.
    Kill,
    /// The call fails, and does nothing.
    Error(&'static str),
    /// The call takes a while.
    Delay,
}

/// One call of an act: the how manieth of its name, and what it was about.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    pub nth: usize,
    pub line: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} number {} ({})", self.name, self.nth, self.line)
    }
}

/// The errors that such a call may meet; none for one that cannot fail in a way that matters.
pub fn errors_of(call: &str) -> &'static [&'static str] {
    match call {
        "openat2" => &["EMFILE", "EIO", "ENOSPC", "EDQUOT"],
        "write" | "pwrite64" | "renameat" | "renameat2" | "linkat" | "mkdirat" => {
            &["ENOSPC", "EIO", "EDQUOT"]
        }
        "fsync" | "syncfs" => &["EIO", "ENOSPC", "EDQUOT"],
        "ftruncate" => &["EIO", "ENOSPC"],
        "unlinkat" | "utimensat" | "getdents64" | "pread64" | "preadv2" | "read" | "statx" => {
            &["EIO"]
        }
        "flock" => &["ENOLCK"],
        _ => &[],
    }
}

/// A call that leaves a trace on the disk, or makes one last.
pub fn changes(call: &Call) -> bool {
    match call.name.as_str() {
        "openat2" => call.line.contains("O_CREAT"),
        "write" | "pwrite64" | "renameat" | "renameat2" | "linkat" | "mkdirat" | "fsync"
        | "syncfs" | "ftruncate" | "unlinkat" | "utimensat" => true,
        _ => false,
    }
}

/// strace on the one thread of the server that works on the disk.
pub struct Tracer {
    child: Child,
    log: PathBuf,
}

/// Whether a process that runs already can be traced here: not everywhere by everybody (ptrace_scope).
pub fn works() -> bool {
    let Ok(mut sleeper) = Command::new("sleep").arg("60").spawn() else {
        return false;
    };
    let tracer = Command::new("strace")
        .args(["-o", "/dev/null", "-p", &sleeper.id().to_string()])
        .stderr(Stdio::piped())
        .spawn();
    let mut said = String::new();
    if let Ok(mut tracer) = tracer {
        let stderr = tracer.stderr.take().expect("stderr is piped");
        // It says so at once, or that it must not, and ends.
        let _ = BufReader::new(stderr).read_line(&mut said);
        let _ = tracer.kill();
        let _ = tracer.wait();
    }
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    said.contains("attached")
}

impl Tracer {
    pub fn attach(server: &Server, act: Act, log: &Path, arguments: &[String]) -> Self {
        Self::attach_to(&disk_threads(server, act), log, arguments)
    }

    /// The same to other threads, or, with `-f` and its own number, to all of a process.
    pub fn attach_to(threads: &[String], log: &Path, arguments: &[String]) -> Self {
        let mut command = Command::new("strace");
        command
            .args(["-y", "-s", "40", "-o"])
            .arg(log)
            .args(arguments);
        for thread in threads {
            command.args(["-p", thread]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace starts");
        let mut said = String::new();
        let stderr = child.stderr.take().expect("stderr is piped");
        let mut stderr = BufReader::new(stderr);
        // Of each thread it says one line: a thread that had nothing to do may be gone by now.
        while said.matches("attach").count() < threads.len() {
            let read = stderr.read_line(&mut said).unwrap();
            assert!(read > 0, "strace does not attach: {said}");
        }
        // What else it says must not stop it.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Lets go; what was seen.
    pub fn detach(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It has ended already where the server has.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        self.child.wait().unwrap();
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}

/// The calls in a trace, each with its name and the how manieth of its name and thread it is.
pub fn numbered(lines: &[String]) -> Vec<(String, usize, String)> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in lines {
        // With several threads, each line begins with whose it is.
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let (thread, line) = (&line[..line.len() - rest.len()], rest.trim_start());
        if let Some((name, _)) = line.split_once('(') {
            let nth = counts.entry((thread, name)).or_default();
            *nth += 1;
            calls.push((name.to_owned(), *nth, line.to_owned()));
        }
    }
    calls
}

/// The threads that wait for the disk: one, since only one request is asked at a time. What can be
/// read at once is read by the thread that serves.
pub fn disk_threads(server: &Server, act: Act) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let works =
        |name: String| name.starts_with("tokio-rt") || (act.reads() && name.starts_with("worker "));
    tasks
        .map(|task| task.unwrap())
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(works))
        .map(|task| task.file_name().to_string_lossy().into_owned())
        .collect()
}
