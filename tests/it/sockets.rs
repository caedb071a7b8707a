use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::kit::{Client, Connection, Ending, Server, binary, chunk, run_with_deadline, user_id};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that was handed a socket, as systemd hands one over: from descriptor 3 on, for this process only.
struct Handed {
    child: Child,
    said: BufReader<ChildStdout>,
}

/// Runs the binary with this socket as descriptors 3 and up, `count` of them, and these words of the shell before it.
fn command(socket: OwnedFd, data: &Path, count: usize, before: &str, flags: &[&str]) -> Command {
    let own = binary();
    let copies: String = (3..3 + count)
        .map(|number| format!(" {number}<&0"))
        .collect();
    let script = format!(
        "exec{copies} 0</dev/null; export LISTEN_FDS={count} LISTEN_PID=$$; {before} exec \"$@\""
    );
    let mut shell = Command::new("sh");
    for (name, _) in own.get_envs() {
        shell.env_remove(name);
    }
    shell
        .args(["-c", &script, "sh"])
        .arg(own.get_program())
        .args(["serve", "--data"])
        .arg(data)
        .args(flags)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped());
    shell
}

impl Handed {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// The addresses of its start-up line.
    fn addresses(&mut self) -> Vec<String> {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        let (_, addresses) = line.trim_end().split_once(" at ").unwrap();
        addresses.split(", ").map(str::to_owned).collect()
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn handed(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().unwrap().into()
}

#[test]
fn a_socket_in_the_file_system_is_for_those_whom_the_operator_names() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().metadata().unwrap();
    // Root may give it to any group, others to their own only.
    let group = if own.uid() == 0 { 4321 } else { own.gid() };
    let path = directory.path().join("socket");
    let listen = format!("unix:{}", path.display());
    let flags = [
        "--listen",
        &listen,
        "--socket-mode",
        "0660",
        "--socket-group",
        &group.to_string(),
    ];
    let server = Server::with(&flags);
    let made = path.symlink_metadata().unwrap();
    assert_eq!((made.mode() & 0o7777, made.gid()), (0o660, group));
    UnixStream::connect(&path).unwrap();
    // A stale one of other times is replaced by one that is right as well.
    let keeper = server.keeper();
    let mut server = server;
    server.kill();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let server = Server::on(keeper, &flags);
    assert_eq!(path.symlink_metadata().unwrap().mode() & 0o7777, 0o660);
    assert_eq!(server.stop().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_mode_or_a_group_that_is_none_is_said_at_the_start() {
    for (flag, value) in [
        ("--socket-mode", "rw"),
        ("--socket-mode", "1777"),
        ("--socket-group", "there is no such group"),
    ] {
        let finished = run_with_deadline(binary().args(["serve", flag, value]));
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains(value), "{finished:?}");
    }
}

#[test]
fn what_is_handed_over_replaces_the_default_and_adds_to_what_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (listener, address) = listener();
    let url = format!("http://{address}");
    let mut one = Handed::start(command(handed(&listener), &data, 1, "", &[]));
    assert_eq!(one.addresses(), std::slice::from_ref(&url));
    Client::new(address).get("/").expect(200);
    one.stop();
    let mut two = Handed::start(command(handed(&listener), &data, 2, "", &[]));
    assert_eq!(two.addresses(), [url.clone(), url.clone()]);
    two.stop();
    let flags = ["--listen", "127.0.0.1:0"];
    let mut both = Handed::start(command(handed(&listener), &data, 1, "", &flags));
    let addresses = both.addresses();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    assert!(addresses.contains(&url), "{addresses:?}");
    both.stop();
    // What is for another process is not for this one.
    let others = "export LISTEN_PID=1;";
    let mut none = Handed::start(command(handed(&listener), &data, 1, others, &flags));
    let addresses = none.addresses();
    assert!(
        addresses.len() == 1 && !addresses.contains(&url),
        "{addresses:?}"
    );
    none.stop();
}

#[test]
fn a_socket_in_the_file_system_that_is_handed_over_is_served_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let socket: OwnedFd = listener.try_clone().unwrap().into();
    let mut server = Handed::start(command(socket, &directory.path().join("data"), 1, "", &[]));
    assert_eq!(server.addresses(), [format!("unix:{}", path.display())]);
    let mut stream = UnixStream::connect(&path).unwrap();
    std::io::Write::write_all(
        &mut stream,
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    server.stop();
    assert!(path.exists());
}

#[test]
fn what_is_handed_over_and_is_no_socket_to_listen_at_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let file = fs::File::open("/dev/null").unwrap();
    let finished = command(file.into(), &data, 1, "", &[])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8(finished.stderr).unwrap();
    assert_eq!(finished.status.code(), Some(1), "{said}");
    assert!(said.contains("handed over"), "{said}");
    assert!(!data.exists());
}

/// Asks without a pause until it is told to stop, and says how often it was answered; whatever goes wrong is a panic.
fn ask_without_a_pause(address: SocketAddr, end: &AtomicBool, answered: &AtomicUsize, stay: bool) {
    let chunk = chunk("milk");
    let path = format!("/0.1/{}/chunks/{}", user_id("ada"), chunk.id);
    let mut client = Client::new(address);
    while !end.load(Ordering::Relaxed) {
        if !stay {
            client = Client::new(address);
        }
        let put = client.attempt("PUT", &path, &[], Some(b"milk"));
        assert_eq!(put.expect("no request is lost").status, 201);
        let get = client.attempt("GET", &path, &[], None);
        assert_eq!(get.expect("no request is lost").status, 200);
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_upgrade_with_a_socket_that_is_handed_over_refuses_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (listener, address) = listener();
    let start = || {
        let mut server = Handed::start(command(handed(&listener), &data, 1, "", &[]));
        server.addresses();
        server
    };
    let (end, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let wait_for_more = || {
        let (before, deadline) = (answered.load(Ordering::Relaxed), Instant::now() + PATIENCE);
        while answered.load(Ordering::Relaxed) < before + 20 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        answered.load(Ordering::Relaxed) >= before + 20
    };
    let mut are_answered = true;
    let _last = std::thread::scope(|scope| {
        let mut server = start();
        let _ending = Ending(&end);
        for stay in [false, true, false] {
            let (end, answered) = (&end, &answered);
            scope.spawn(move || ask_without_a_pause(address, end, answered, stay));
        }
        for _ in 0..4 {
            are_answered &= wait_for_more();
            // As systemd restarts a service: the old one ends before the new one begins.
            server.stop();
            server = start();
        }
        are_answered &= wait_for_more();
        // It ends after those who ask.
        server
    });
    assert!(are_answered);
}

#[test]
fn the_manager_of_services_is_told_when_it_serves_and_that_it_still_does_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 1024];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let (listener, address) = listener();
    let before = format!(
        "export NOTIFY_SOCKET={} WATCHDOG_USEC=200000 WATCHDOG_PID=$$;",
        path.display()
    );
    let data = directory.path().join("data");
    let server = Handed::start(command(handed(&listener), &data, 1, &before, &[]));
    assert_eq!(told(), "READY=1\n");
    Client::new(address).get("/").expect(200);
    let started = Instant::now();
    for _ in 0..5 {
        assert_eq!(told(), "WATCHDOG=1\n");
    }
    // Within the time that the manager waits, with room to spare, and no more often.
    assert!(
        started.elapsed() >= Duration::from_millis(200),
        "{:?}",
        started.elapsed()
    );
    // Somebody who waits does not keep it from stopping, nor from saying so.
    let mut waits = Connection::open(address).unwrap();
    waits
        .send(format!(
            "GET /0.1/{}/events HTTP/1.1\r\nhost: x\r\n\r\n",
            user_id("ada")
        ))
        .unwrap();
    waits.answer("HEAD").unwrap();
    // Nor does a manager that does not listen, for longer than what it is told fits anywhere.
    std::thread::sleep(Duration::from_secs(3));
    Client::new(address).get("/").expect(200);
    let told = std::thread::scope(|scope| {
        let all = scope.spawn(|| std::iter::repeat_with(&told).find(|told| told != "WATCHDOG=1\n"));
        // It has listened up before the last word comes.
        std::thread::sleep(Duration::from_millis(300));
        server.stop();
        all.join().unwrap()
    });
    assert_eq!(told.as_deref(), Some("STOPPING=1\n"));
}
