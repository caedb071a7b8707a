//! What lies between a client and a server: relays that cut, delay and note, servers that say what they are told, proxies.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Runs this for each connection, on a thread of its own, with the connection's number. It ends with the process.
fn serve(listener: TcpListener, each: impl Fn(usize, TcpStream) + Send + Sync + 'static) {
    let each = Arc::new(each);
    thread::spawn(move || {
        for (number, client) in listener.incoming().flatten().enumerate() {
            let each = Arc::clone(&each);
            thread::spawn(move || each(number, client));
        }
    });
}

/// One head of a message, with its empty line.
fn head(from: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if from.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).ok()
}

/// What a relay does with its first connection; it passes the others on as they are.
#[derive(Clone, Copy)]
pub enum First {
    Pass,
    /// So many bytes of the answers go through, then it breaks off.
    CutAnswer(usize),
    /// So many bytes of the requests go through, then it breaks off.
    CutRequest(usize),
}

/// A relay to a server.
pub struct Relay {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl Relay {
    pub fn to(server: SocketAddr, first: First) -> Self {
        let (listener, address) = listen();
        let (connections, asked) = (
            Arc::<AtomicUsize>::default(),
            Arc::<Mutex<Vec<u8>>>::default(),
        );
        let relay = Self {
            address,
            connections: Arc::clone(&connections),
            asked: Arc::clone(&asked),
        };
        serve(listener, move |number, client| {
            connections.fetch_add(1, Ordering::SeqCst);
            let upstream = TcpStream::connect(server).unwrap();
            let (up, down) = match first {
                First::CutAnswer(most) if number == 0 => (usize::MAX, most),
                First::CutRequest(most) if number == 0 => (most, usize::MAX),
                _ => (usize::MAX, usize::MAX),
            };
            let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let noted = Arc::clone(&asked);
            thread::spawn(move || {
                pass(from, to, up, |bytes| noted.lock().unwrap().extend(bytes));
            });
            pass(upstream, client, down, |_| {});
        });
        relay
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// All that clients have sent.
    pub fn asked(&self) -> String {
        String::from_utf8_lossy(&self.asked.lock().unwrap()).into_owned()
    }
}

/// Passes bytes on until there are no more, or so many; then both connections end.
fn pass(mut from: TcpStream, mut to: TcpStream, most: usize, note: impl Fn(&[u8])) {
    let mut left = most;
    let mut buffer = [0; 1 << 16];
    while left > 0 {
        let Ok(read) = from.read(&mut buffer) else {
            break;
        };
        let read = read.min(left);
        note(&buffer[..read]);
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
        left -= read;
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// A part of what a scripted server says.
#[derive(Clone)]
pub enum Say {
    Bytes(Vec<u8>),
    /// The same bytes so often, each time after a pause.
    Drip(u8, usize, Duration),
    /// Nothing more, with the connection open.
    Hang,
}

/// A server that answers each request, on whatever connection, with the next of its answers; the last one again and again.
pub struct Scripted {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub fn saying(answers: Vec<Vec<Say>>) -> Self {
        let (listener, address) = listen();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let scripted = Self {
            address,
            heads: Arc::clone(&heads),
        };
        serve(listener, move |_, mut client| {
            while let Some(asked) = head(&mut client) {
                let number = {
                    let mut heads = heads.lock().unwrap();
                    heads.push(asked);
                    heads.len() - 1
                };
                for say in &answers[number.min(answers.len() - 1)] {
                    if say_to(&mut client, say).is_none() {
                        return;
                    }
                }
            }
        });
        scripted
    }

    /// Answers in whole, each with the connection kept.
    pub fn answering(answers: &[&str]) -> Self {
        let bytes = |answer: &&str| vec![Say::Bytes(answer.as_bytes().to_vec())];
        Self::saying(answers.iter().map(bytes).collect())
    }

    /// The heads of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn say_to(client: &mut TcpStream, say: &Say) -> Option<()> {
    match say {
        Say::Bytes(bytes) => client.write_all(bytes).ok(),
        Say::Drip(byte, times, pause) => (0..*times).try_for_each(|_| {
            thread::sleep(*pause);
            client.write_all(&[*byte]).ok()
        }),
        Say::Hang => {
            let _ = client.read(&mut [0]);
            None
        }
    }
}

/// An answer in whole, of this status and media type.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// An answer in JSON.
pub fn json(status: &str, body: &str) -> String {
    let media = match status.starts_with('2') {
        true => "application/json",
        false => "application/problem+json",
    };
    answer(status, &format!("content-type: {media}\r\n"), body)
}

/// A proxy that makes tunnels.
pub struct Tunnels {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    passed: Arc<Mutex<Vec<u8>>>,
}

impl Tunnels {
    /// Tunnels that all lead to this server, whatever is asked for; or refusals.
    pub fn to(server: Option<SocketAddr>) -> Self {
        let (listener, address) = listen();
        let (heads, passed) = (
            Arc::<Mutex<Vec<String>>>::default(),
            Arc::<Mutex<Vec<u8>>>::default(),
        );
        let tunnels = Self {
            address,
            heads: Arc::clone(&heads),
            passed: Arc::clone(&passed),
        };
        serve(listener, move |_, mut client| {
            let Some(asked) = head(&mut client) else {
                return;
            };
            heads.lock().unwrap().push(asked);
            let Some(server) = server else {
                let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
                let _ = client.write_all(refusal.as_bytes());
                return;
            };
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let upstream = TcpStream::connect(server).unwrap();
            let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            let noted = Arc::clone(&passed);
            thread::spawn(move || {
                pass(from, to, usize::MAX, |bytes| {
                    noted.lock().unwrap().extend(bytes);
                });
            });
            pass(upstream, client, usize::MAX, |_| {});
        });
        tunnels
    }

    /// The requests for tunnels so far.
    pub fn asked(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// What went through them to the server.
    pub fn passed(&self) -> String {
        String::from_utf8_lossy(&self.passed.lock().unwrap()).into_owned()
    }
}
