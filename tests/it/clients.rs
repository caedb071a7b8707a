use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::documents::WRITE_A_CLIENT;
use crate::kit::{Finished, Server, run_with_deadline, user_id};
use crate::readme::has;

/// One of the page's clients.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Language {
    Python,
    Shell,
}

impl Language {
    /// The whole client, as the page has it.
    fn program(self) -> &'static str {
        let name = match self {
            Self::Python => "python",
            Self::Shell => "bash",
        };
        let (_, rest) = (WRITE_A_CLIENT.text)
            .split_once(&format!("\n```{name}\n"))
            .expect("the page has it");
        rest.split_once("\n```").expect("a block ends").0
    }

    fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["python3", "timeout"],
            Self::Shell => &["bash", "curl", "jq", "sha256sum", "timeout"],
        }
    }
}

/// A device that runs one of the page's clients.
struct Notes {
    language: Language,
    folder: TempDir,
    address: SocketAddr,
}

impl Notes {
    fn new(language: Language, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("client"), language.program()).unwrap();
        Self {
            language,
            folder,
            address,
        }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("client")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = match self.language {
            Language::Python => "python3",
            Language::Shell => "bash",
        };
        let mut command = Command::new(program);
        command
            .arg(self.program())
            .arg(format!("http://{}/0.1/{}", self.address, user_id("ada")))
            .arg(self.folder.path().join("kept"))
            .args(arguments)
            .env("no_proxy", "*")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn finished(&self, arguments: &[&str]) -> Finished {
        run_with_deadline(&mut self.command(arguments))
    }

    /// Runs the client, which does not end by itself, and kills it with all that it started as soon as this is so.
    #[track_caller]
    fn killed_once(&self, arguments: &[&str], is_so: impl Fn() -> bool) {
        let mut command = self.command(arguments);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut client = quiet.process_group(0).spawn().unwrap();
        let begun = Instant::now();
        while !is_so() {
            assert_eq!(client.try_wait().unwrap(), None, "it ended by itself");
            assert!(begun.elapsed() < Duration::from_secs(60), "it is not so");
            thread::sleep(Duration::from_millis(10));
        }
        kill_process_group(Pid::from_child(&client), Signal::KILL).unwrap();
        assert_eq!(client.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let ran = self.finished(arguments);
        assert_eq!(
            ran.code,
            Some(0),
            "{:?} {arguments:?}: {ran:?}",
            self.language
        );
        ran.stdout
    }

    #[track_caller]
    fn shows(&self, notes: &[&str]) {
        let shown = self.run(&["show"]);
        assert_eq!(
            shown.lines().collect::<Vec<_>>(),
            notes,
            "{:?}",
            self.language
        );
    }
}

/// What becomes of an answer on its way back.
type Change = dyn FnMut(&str, Vec<u8>) -> Option<Vec<u8>> + Send;

/// The length that the head of a message says that its body has.
fn length_said(head: &str) -> usize {
    let of = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(of).unwrap_or(0)
}

/// Passes one request on, and back what is made of its answer; nothing of it where that is `None`.
fn pass(mut client: TcpStream, server: SocketAddr, change: &Mutex<Box<Change>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 65536];
    let end = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut buffer) {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    };
    let head = String::from_utf8(request[..end].to_vec()).unwrap();
    while request.len() < end + length_said(&head) {
        match client.read(&mut buffer) {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let line = head.lines().next().unwrap().to_owned();
    let mut upstream = TcpStream::connect(server).unwrap();
    // One request a connection, whatever the client asked for.
    let rest: String = (head.lines().skip(1))
        .filter(|line| !line.to_lowercase().starts_with("connection:") && !line.is_empty())
        .map(|line| format!("{line}\r\n"))
        .collect();
    let asked = format!("{line}\r\n{rest}Connection: close\r\n\r\n");
    let _ = upstream.write_all(asked.as_bytes());
    let _ = upstream.write_all(&request[end..]);
    let mut answer = Vec::new();
    let _ = upstream.read_to_end(&mut answer);
    let changed = (change.lock().unwrap())(&line, answer);
    if let Some(answer) = changed {
        let _ = client.write_all(&answer);
    }
    let _ = client.shutdown(Shutdown::Both);
}

/// A place in front of the server that changes answers.
fn before(
    server: SocketAddr,
    change: impl FnMut(&str, Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let change: Arc<Mutex<Box<Change>>> = Arc::new(Mutex::new(Box::new(change)));
    thread::spawn(move || {
        for client in listener.incoming() {
            let change = Arc::clone(&change);
            thread::spawn(move || pass(client.unwrap(), server, &change));
        }
    });
    address
}

/// Every pair of languages that can be run here.
fn pairs() -> Vec<(Language, Language)> {
    let all = [Language::Python, Language::Shell];
    let here: Vec<_> = all.into_iter().filter(|one| has(one.tools())).collect();
    let pair = |&one: &Language| {
        here.iter()
            .map(move |&other| (one, other))
            .collect::<Vec<_>>()
    };
    here.iter().flat_map(pair).collect()
}

/// Each of the languages that can be run here.
fn each() -> Vec<Language> {
    pairs()
        .into_iter()
        .filter(|(one, other)| one == other)
        .map(|(one, _)| one)
        .collect()
}

#[test]
fn two_devices_that_write_at_once_end_with_the_same_notes_whatever_they_run() {
    for (one, other) in pairs() {
        let server = Server::start();
        let phone = Notes::new(one, server.address());
        let laptop = Notes::new(other, server.address());
        phone.run(&["add", "milk"]);
        phone.run(&["add", "bread"]);
        phone.run(&["sync"]);
        laptop.run(&["sync"]);
        // Both go on from there; the laptop is too late, with two of its own. The same words twice are two notes.
        laptop.run(&["add", "eggs"]);
        laptop.run(&["add", "milk"]);
        phone.run(&["add", "tea"]);
        phone.run(&["sync"]);
        laptop.run(&["sync"]);
        phone.run(&["sync"]);
        for device in [&phone, &laptop] {
            device.shows(&["milk", "bread", "tea", "eggs", "milk"]);
        }
        assert_eq!(server.device("ada").head().1, 5);
    }
}

/// Another device is quicker between the pull and the push: the first one's 409 is of a race that is really lost.
#[test]
fn a_race_that_is_lost_between_pull_and_push_is_said_again_under_new_ids() {
    for language in each() {
        let server = Server::start();
        let quick = Notes::new(language, server.address());
        quick.run(&["add", "quick"]);
        let mut quick = Some(quick);
        let address = before(server.address(), move |line, answer| {
            // After the late one's first pull.
            if line.starts_with("GET ")
                && let Some(quick) = quick.take()
            {
                quick.run(&["sync"]);
            }
            Some(answer)
        });
        let late = Notes::new(language, address);
        late.run(&["add", "late"]);
        late.run(&["add", "later"]);
        late.run(&["sync"]);
        late.shows(&["quick", "late", "later"]);
        assert_eq!(server.device("ada").head().1, 3);
    }
}

/// Whether this is the request that moves HEAD.
fn moves_head(line: &str) -> bool {
    line.starts_with("POST ") || line.starts_with("PUT ") && line.contains("/head ")
}

#[test]
fn a_note_whose_answer_was_lost_is_there_once() {
    for language in each() {
        let server = Server::start();
        let mut lost = false;
        let address = before(server.address(), move |line, answer| {
            let lose = moves_head(line) && !lost;
            lost |= lose;
            (!lose).then_some(answer)
        });
        let phone = Notes::new(language, address);
        phone.run(&["add", "milk"]);
        phone.run(&["sync"]);
        phone.shows(&["milk"]);
        assert_eq!(server.device("ada").head().1, 1, "{language:?}");
    }
}

#[test]
fn a_note_that_got_through_before_a_kill_is_known_again_behind_what_others_said_since() {
    for language in each() {
        let server = Server::start();
        let deaf = before(server.address(), |line, answer| {
            (!moves_head(line)).then_some(answer)
        });
        let mut phone = Notes::new(language, deaf);
        phone.run(&["add", "milk"]);
        // It is killed while it asks again and again.
        phone.killed_once(&["sync"], || server.device("ada").head().1 == 1);
        let laptop = Notes::new(language, server.address());
        laptop.run(&["add", "eggs"]);
        laptop.run(&["sync"]);
        phone.address = server.address();
        phone.run(&["add", "tea"]);
        phone.run(&["sync"]);
        phone.shows(&["milk", "eggs", "tea"]);
        assert_eq!(server.device("ada").head().1, 3);
    }
}

/// The body of an answer, whose length its head does not say, as the server closes after it.
fn body_of(answer: &[u8]) -> Vec<u8> {
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    if !head.contains("transfer-encoding: chunked") {
        return answer[end..].to_vec();
    }
    let (mut body, mut rest) = (Vec::new(), &answer[end..]);
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 4 + size..];
    }
}

#[test]
fn a_bundle_that_ends_well_but_without_head_is_asked_for_again() {
    if !has(Language::Python.tools()) {
        return;
    }
    let server = Server::start();
    let laptop = Notes::new(Language::Python, server.address());
    laptop.run(&["add", "milk"]);
    laptop.run(&["add", "eggs"]);
    laptop.run(&["sync"]);
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let address = before(server.address(), move |line, answer| {
        let mut asked = counted.lock().unwrap();
        *asked += usize::from(line.contains("/bundle?"));
        if *asked > 3 {
            return Some(answer);
        }
        // Within a header, before HEAD but with the end of an archive, and after the first of two transactions.
        let body = body_of(&answer);
        let head = body.windows(5).rposition(|five| five == b"HEAD\0").unwrap();
        let cut = match *asked {
            1 => body[..700].to_vec(),
            2 => [&body[..head], &[0; 1024]].concat(),
            _ => body[..2048].to_vec(),
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", cut.len());
        Some([head.into_bytes(), cut].concat())
    });
    let phone = Notes::new(Language::Python, address);
    phone.run(&["sync"]);
    phone.shows(&["milk", "eggs"]);
    assert!(*asked.lock().unwrap() > 3);
}

#[test]
fn a_client_refuses_bytes_that_are_not_the_chunk() {
    for language in each() {
        let server = Server::start();
        let laptop = Notes::new(language, server.address());
        laptop.run(&["add", "milk"]);
        laptop.run(&["sync"]);
        let address = before(server.address(), |_, answer| {
            let text: Vec<u8> = answer;
            let at = text.windows(4).rposition(|four| four == b"milk");
            Some(match at {
                Some(at) => [&text[..at], b"mulk", &text[at + 4..]].concat(),
                None => text,
            })
        });
        let phone = Notes::new(language, address);
        let refused = phone.finished(&["sync"]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("has other bytes"), "{refused:?}");
        phone.shows(&[]);
    }
}

#[test]
fn a_client_waits_below_a_minute_at_a_time_and_ends_when_another_device_says_something() {
    for language in each() {
        let server = Server::start();
        let asked = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&asked);
        let mut first = true;
        let address = before(server.address(), move |line, answer| {
            written.lock().unwrap().push_str(line);
            // As if the time was up once.
            let up = line.contains("wait=") && first;
            first &= !up;
            Some(if up {
                b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()
            } else {
                answer
            })
        });
        let phone = Notes::new(language, address);
        let laptop = Notes::new(language, server.address());
        for note in ["milk", "eggs"] {
            laptop.run(&["add", note]);
            thread::scope(|scope| {
                let waiting = scope.spawn(|| phone.run(&["wait"]));
                thread::sleep(Duration::from_millis(700));
                assert!(!waiting.is_finished());
                laptop.run(&["sync"]);
                waiting.join().unwrap();
            });
            phone.run(&["sync"]);
        }
        phone.shows(&["milk", "eggs"]);
        let asked = asked.lock().unwrap();
        let mut waits = 0;
        for rest in asked.split("wait=").skip(1) {
            let seconds: u64 = rest.split(' ').next().unwrap().parse().unwrap();
            assert!((30..60).contains(&seconds), "{seconds}");
            waits += 1;
        }
        assert!(waits > 2, "{asked}");
    }
}

#[test]
fn a_server_that_was_restored_from_an_older_copy_is_said_to_be_one() {
    for language in each() {
        let server = Server::start();
        let mut phone = Notes::new(language, server.address());
        phone.run(&["add", "milk"]);
        phone.run(&["sync"]);
        let empty = Server::start();
        phone.address = empty.address();
        let refused = phone.finished(&["sync"]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.stderr.contains("does not know what we have"),
            "{refused:?}"
        );
    }
}

#[test]
fn the_configuration_that_the_page_shows_is_the_one_that_clients_are_made_with() {
    let used = include_str!("../../scripts/openapi-test.d/config.yml");
    let (_, shown) = WRITE_A_CLIENT.text.split_once("\n```yaml\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert!(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scripts/openapi-test")
            .exists()
    );
    assert!(used.ends_with(shown), "{shown}");
}
