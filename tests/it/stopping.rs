use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::kit::{Connection, Server, chunk};

#[test]
fn sigterm_and_ctrl_c_end_it_with_0() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut server = Server::start();
        server.device("ada").put_chunk(&chunk("x")).expect(201);
        server.signal(signal);
        assert_eq!(server.ended().code(), Some(0), "{signal:?}");
    }
}

#[test]
fn what_is_in_flight_is_finished_before_the_end() {
    let mut server = Server::start();
    let chunk = chunk(vec![b'x'; 2 << 20]);
    let device = server.device("ada");
    let mut connection = Connection::open(server.address()).unwrap();
    connection
        .send(format!(
            "PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: 2097152\r\n\r\n",
            device.path(&format!("chunks/{}", chunk.id))
        ))
        .unwrap();
    connection.send(&chunk.bytes[..1 << 20]).unwrap();
    let temporary = server.folder("ada").join("incoming/tmp");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !temporary.is_dir() || fs::read_dir(&temporary).unwrap().next().is_none() {
        assert!(Instant::now() < deadline, "the upload is not under way");
        std::thread::sleep(Duration::from_millis(10));
    }
    server.terminate();
    std::thread::sleep(Duration::from_millis(300));
    connection.send(&chunk.bytes[1 << 20..]).unwrap();
    connection.answer("PUT").unwrap().expect(201);
    assert_eq!(server.ended().code(), Some(0));
    let server = server.another();
    let mut device = server.device("ada");
    device.get(&format!("chunks/{}", chunk.id)).expect(200);
}

#[test]
fn nobody_can_hold_up_the_end_for_ever() {
    let mut server = Server::with(&["--shutdown-timeout", "1s"]);
    let device = server.device("ada");
    let mut connection = Connection::open(server.address()).unwrap();
    connection
        .send(format!(
            "PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nx",
            device.path(&format!("chunks/{}", chunk("x").id))
        ))
        .unwrap();
    let idle = Connection::open(server.address()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10));
    drop((connection, idle));
}

/// What a client of a server that stops has seen.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    /// Requests that were sent, and not answered: what came instead.
    dropped: std::sync::Mutex<Vec<String>>,
    refused: AtomicUsize,
}

/// Asks this again and again on one connection, and on a new one when it is told that it is the last, until
/// no connection is to be had any more. `at_a_time` requests are sent before the first answer is read.
fn asks_until_the_end(address: SocketAddr, request: &str, at_a_time: usize, seen: &Seen) {
    loop {
        let Ok(mut connection) = Connection::open(address) else {
            seen.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        'connection: for round in 0.. {
            if connection.send(request.repeat(at_a_time)).is_err() {
                // It had been told to stay, and was closed while nothing was asked.
                seen.dropped
                    .lock()
                    .unwrap()
                    .push(format!("round {round} could not be sent"));
                return;
            }
            for n in 0..at_a_time {
                match connection.answer("GET") {
                    Ok(answer) => {
                        answer.clone().expect(200);
                        seen.answered.fetch_add(1, Ordering::Relaxed);
                        if answer.header("connection").is_some() {
                            // Whatever was sent behind it had been received by then.
                            if n + 1 < at_a_time {
                                let rest = at_a_time - n - 1;
                                seen.dropped
                                    .lock()
                                    .unwrap()
                                    .push(format!("{rest} behind the last"));
                            }
                            break 'connection;
                        }
                    }
                    Err(error) => {
                        let what = format!("answer {n} of round {round}: {error}");
                        seen.dropped.lock().unwrap().push(what);
                        return;
                    }
                }
            }
        }
    }
}

#[test]
fn whatever_was_sent_to_a_server_that_stops_is_answered() {
    let request = |headers: &str| format!("GET /__version__ HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let (stays, goes) = (request(""), request("connection: close\r\n"));
    let mut answered = 0;
    for stop in 0..20 {
        let mut server = Server::start();
        let (address, seen) = (server.address(), Seen::default());
        let status = std::thread::scope(|scope| {
            for client in 0..12 {
                let (request, at_a_time) = match client % 3 {
                    0 => (&stays, 1),
                    1 => (&stays, 3),
                    _ => (&goes, 1),
                };
                let seen = &seen;
                scope.spawn(move || asks_until_the_end(address, request, at_a_time, seen));
            }
            std::thread::sleep(Duration::from_millis(100 + 7 * stop));
            server.terminate();
            server.ended()
        });
        assert_eq!(status.code(), Some(0));
        let dropped = seen.dropped.into_inner().unwrap();
        // A connection that the system had and never handed over is reset, with what was said on it.
        let (fresh, others): (Vec<_>, Vec<_>) = dropped
            .into_iter()
            .partition(|what| what.contains("of round 0: Connection reset"));
        assert!(others.is_empty(), "stop {stop}: {others:?}");
        assert!(fresh.len() < 3, "stop {stop}: {fresh:?}");
        answered += seen.answered.into_inner();
        let said = server.said();
        assert!(
            !said.iter().any(|line| line.contains("workers")),
            "{said:?}"
        );
    }
    assert!(answered > 1000, "{answered} is no load");
}

#[test]
fn connections_that_were_made_are_served_although_nobody_has_looked_at_them_yet() {
    // The server does nothing for a while, and is told to stop before it can do anything.
    for kind in ["tcp", "unix"] {
        let top = Arc::new(tempfile::tempdir().unwrap());
        let socket = top.path().join("socket");
        let listen = format!("unix:{}", socket.display());
        let mut server = Server::on(top, &["--listen", &listen]);
        server.client().get("/__version__").expect(200);
        let mut idle = Connection::open(server.address()).unwrap();
        let request = "GET /__version__ HTTP/1.1\r\nhost: x\r\n\r\n";
        idle.send(request).unwrap();
        idle.answer("GET").unwrap().expect(200);
        server.signal(Signal::STOP);
        idle.send(request).unwrap();
        let mut clients: Vec<Box<dyn ReadWrite>> = (0..100)
            .map(|_| -> Box<dyn ReadWrite> {
                match kind {
                    "tcp" => Box::new(TcpStream::connect(server.address()).unwrap()),
                    _ => Box::new(UnixStream::connect(&socket).unwrap()),
                }
            })
            .collect();
        for client in &mut clients {
            client.write_all(request.as_bytes()).unwrap();
        }
        server.terminate();
        server.signal(Signal::CONT);
        for (n, client) in clients.iter_mut().enumerate() {
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{kind} {n}: {answer}");
        }
        idle.answer("GET").unwrap().expect(200);
        assert_eq!(server.ended().code(), Some(0));
        assert!(!socket.exists());
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn whoever_was_told_that_the_connection_stays_may_ask_once_more() {
    // Its request may be on its way when the server is told to stop: some time is given to that.
    let request = "GET /__version__ HTTP/1.1\r\nhost: x\r\n\r\n";
    for _ in 0..10 {
        let mut server = Server::start();
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send(request).unwrap();
        connection.answer("GET").unwrap().expect(200);
        let since = Instant::now();
        server.terminate();
        server.has_said(|line| line.contains("stopping"));
        std::thread::sleep(Duration::from_millis(100));
        let sent = connection.send(request);
        if since.elapsed() > Duration::from_millis(300) {
            // On a box as busy as this it may have been late.
            continue;
        }
        sent.unwrap();
        let answer = connection.answer("GET").unwrap().expect(200);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.is_closed().unwrap());
        assert_eq!(server.ended().code(), Some(0));
        return;
    }
    panic!("the box is too busy to tell");
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let mut server = Server::start();
    let mut idle: Vec<Connection> = (0..50)
        .map(|n| {
            let mut connection = Connection::open(server.address()).unwrap();
            if n % 2 == 0 {
                let request = "GET /__version__ HTTP/1.1\r\nhost: x\r\n\r\n";
                connection.send(request).unwrap();
                connection.answer("GET").unwrap().expect(200);
            }
            connection
        })
        .collect();
    let asked = Instant::now();
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    for connection in &mut idle {
        assert!(connection.is_closed().unwrap());
    }
}

#[test]
fn the_half_of_a_request_that_has_come_is_given_its_time() {
    let mut server = Server::start();
    let mut connection = Connection::open(server.address()).unwrap();
    connection.send("GET /__version__ HTTP/1.1\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    server.terminate();
    std::thread::sleep(Duration::from_millis(1500));
    connection.send("host: x\r\n\r\n").unwrap();
    let answer = connection.answer("GET").unwrap().expect(200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(server.ended().code(), Some(0));
}

/// An upload of which the server has the half.
fn uploads_half(server: &Server) -> (Connection, Vec<u8>) {
    let chunk = chunk(vec![b'x'; 2 << 20]);
    let path = server.device("ada").path(&format!("chunks/{}", chunk.id));
    let mut connection = Connection::open(server.address()).unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2097152\r\n\r\n");
    connection.send(head).unwrap();
    connection.send(&chunk.bytes[..1 << 20]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    (connection, chunk.bytes[1 << 20..].to_vec())
}

#[test]
fn a_second_signal_within_a_second_is_the_first() {
    for second in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        let (mut connection, rest) = uploads_half(&server);
        server.terminate();
        std::thread::sleep(Duration::from_millis(200));
        server.signal(second);
        std::thread::sleep(Duration::from_millis(300));
        server.signal(second);
        std::thread::sleep(Duration::from_millis(300));
        connection.send(rest).unwrap();
        connection.answer("PUT").unwrap().expect(201);
        assert_eq!(server.ended().code(), Some(0), "{second:?}");
    }
}

#[test]
fn a_later_second_signal_ends_it_at_once() {
    let mut server = Server::start();
    let (_connection, _) = uploads_half(&server);
    server.terminate();
    std::thread::sleep(Duration::from_millis(1300));
    let since = Instant::now();
    server.terminate();
    assert_eq!(server.ended().code(), Some(1));
    assert!(since.elapsed() < Duration::from_secs(10));
    server.has_said(|line| line.contains("stopped at once"));
}

#[test]
fn a_hangup_does_not_end_it() {
    let server = Server::start();
    for _ in 0..3 {
        server.signal(Signal::HUP);
        std::thread::sleep(Duration::from_millis(100));
    }
    server.client().get("/__version__").expect(200);
    server.has_said(|line| line.contains("SIGHUP"));
    assert_eq!(server.stop().code(), Some(0));
}
