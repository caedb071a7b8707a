use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::kit::{Client, Connection, ROOT, Server, chunk, effort, transaction_id, user_id};
use crate::scale::make_chain::Chain;

/// How many connections she hammers with.
const CONNECTIONS: u64 = 300;

/// How long her chain is, where she has one.
const CHAIN: u64 = 4_000;

/// The same where the disk is small.
const SHORT_CHAIN: u64 = 1_000;

/// How many transactions she pushes in one bundle, unless `MENTAT_SYNC_TEST_PUSHED` says otherwise.
const PUSHED: u64 = 20_000;

/// The user who may do, or suffer, whatever it is.
pub struct Mallory {
    address: SocketAddr,
    folder: PathBuf,
    /// For her to end.
    pub over: AtomicBool,
    /// She has done what she does.
    pub done: AtomicBool,
    /// How often she has done any of it.
    pub acts: AtomicU64,
    /// How often she was answered with which status.
    told: Mutex<BTreeMap<u16, u64>>,
}

/// What the server finds of hers.
pub mod lays {
    use super::*;
    use std::path::Path;

    /// A chain of this length, and a log of it.
    fn chain(data: &Path, transactions: u64) -> Chain {
        let chain = Chain {
            data: data.to_owned(),
            transactions,
            user: user_id("mallory").parse().expect("a user is a uuid"),
            chunks: 1,
        };
        chain.make().expect("a store is made");
        chain
    }

    fn folder(data: &Path) -> std::path::PathBuf {
        data.join("users").join(user_id("mallory"))
    }

    pub fn whole(data: &Path) {
        chain(data, CHAIN);
    }

    pub fn without_log(data: &Path) {
        chain(data, CHAIN);
        std::fs::remove_file(folder(data).join("log")).unwrap();
    }

    pub fn small_without_log(data: &Path) {
        chain(data, SHORT_CHAIN);
        std::fs::remove_file(folder(data).join("log")).unwrap();
    }

    pub fn damaged(data: &Path) {
        let id = chain(data, CHAIN).id(CHAIN / 2).to_string();
        let folder = folder(data);
        std::fs::remove_file(folder.join("log")).unwrap();
        std::fs::remove_file(folder.join(format!("transactions/{}/{id}.json", &id[..2]))).unwrap();
    }
}

/// Adds a transaction without chunks to a bundle.
pub fn member(tar: &mut Vec<u8>, id: &str, seq: u64, parent: &str) {
    let json = format!("{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[]}}\n");
    file(tar, &format!("transactions/{}/{id}.json", &id[..2]), &json);
}

/// Ends a bundle.
pub fn end(tar: &mut Vec<u8>, head: &str) {
    file(tar, "HEAD", &format!("{head}\n"));
    tar.extend([0; 1024]);
}

fn file(tar: &mut Vec<u8>, name: &str, contents: &str) {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_mode(0o644);
    header.set_size(contents.len() as u64);
    header.set_cksum();
    tar.extend(header.as_bytes());
    tar.extend(contents.as_bytes());
    tar.resize(tar.len().next_multiple_of(512), 0);
}

impl Mallory {
    pub fn new(server: &Server) -> Self {
        Self {
            address: server.address(),
            folder: server.folder("mallory"),
            over: AtomicBool::new(false),
            done: AtomicBool::new(false),
            acts: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// What she was told.
    pub fn told(&self) -> String {
        format!("she was told {:?}", self.told.lock().unwrap())
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn is_told(&self, status: u16) {
        *self.told.lock().unwrap().entry(status).or_default() += 1;
    }

    fn has_acted(&self) {
        self.acts.fetch_add(1, Ordering::Relaxed);
    }

    fn path(&self, rest: &str) -> String {
        format!("/0.1/{}/{rest}", user_id("mallory"))
    }

    /// A request whose body is as long as this, of which this much is sent.
    fn begins(&self, line: &str, length: u64, body: &[u8]) -> io::Result<Connection> {
        let mut connection = Connection::open(self.address)?;
        let head = format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        connection.send(head)?;
        connection.send(body)?;
        Ok(connection)
    }

    /// Many connections that ask for everything again and again, as soon as they are answered.
    pub fn hammers(&self) {
        std::thread::scope(|scope| {
            for number in 0..CONNECTIONS {
                scope.spawn(move || {
                    let mut client = Client::new(self.address);
                    for round in 0.. {
                        if !self.goes_on() {
                            break;
                        }
                        match self.asks(&mut client, number, round) {
                            Ok(status) => self.is_told(status),
                            // The server ends: to come again at once would only take its time.
                            Err(_) => {
                                client = Client::new(self.address);
                                std::thread::sleep(Duration::from_millis(100));
                            }
                        }
                        self.has_acted();
                    }
                });
            }
        });
    }

    fn asks(&self, client: &mut Client, number: u64, round: u64) -> io::Result<u16> {
        let one = chunk(format!("{number} {round}"));
        let id = transaction_id(&format!("{number} {round}"));
        let (body, what) = match (number + round) % 6 {
            0 => (None, "head".to_owned()),
            1 => (None, "transactions?limit=100".to_owned()),
            2 => (None, format!("transactions/{id}")),
            3 => (Some(one.bytes), format!("chunks/{}", one.id)),
            4 => {
                let body = json!({"parent": ROOT, "chunks": [one.id]});
                (Some(body.to_string().into()), format!("transactions/{id}"))
            }
            _ => (
                Some(json!({ "head": id }).to_string().into()),
                "head".into(),
            ),
        };
        let method = if body.is_some() { "PUT" } else { "GET" };
        let answer = client.attempt(method, &self.path(&what), &[], body.as_deref())?;
        Ok(answer.status)
    }

    /// The same while another process has the lock.
    pub fn is_locked(&self) {
        let lock = self.folder.join("lock");
        let lock = std::fs::File::open(lock).unwrap();
        let how = rustix::fs::FlockOperation::LockExclusive;
        rustix::fs::flock(&lock, how).unwrap();
        self.hammers();
    }

    /// A bundle as long as may be, once to its end, and then once more until it is over.
    pub fn pushes(&self) {
        let many =
            effort::chosen("MENTAT_SYNC_TEST_PUSHED").unwrap_or(PUSHED / effort::either(4, 1));
        self.has_acted();
        self.pushes_one("once", many).expect("a push is taken in");
        self.done.store(true, Ordering::Relaxed);
        while self.goes_on() {
            let _ = self.pushes_one("again", many);
        }
    }

    fn pushes_one(&self, series: &str, many: u64) -> io::Result<()> {
        let line = format!("POST {}", self.path("bundle"));
        let chain = Chain {
            data: Default::default(),
            transactions: many,
            user: user_id(series).parse().expect("a user is a uuid"),
            chunks: 0,
        };
        // A transaction has a header and a block; HEAD too, and two blocks end it all.
        let mut connection = self.begins(&line, (many + 1) * 1024 + 1024, b"")?;
        let mut tar = Vec::new();
        for seq in 1..=many {
            let [id, parent] = [seq, seq - 1].map(|seq| chain.id(seq).to_string());
            member(&mut tar, &id, seq, &parent);
            if tar.len() > 64 << 10 || seq == many {
                connection.send(&tar)?;
                tar.clear();
            }
        }
        end(&mut tar, &chain.id(many).to_string());
        connection.send(&tar)?;
        let answer = connection.answer("POST")?;
        self.is_told(answer.status);
        if series == "once" {
            answer.expect(200);
        }
        Ok(())
    }

    /// Pushes that send a byte a second.
    pub fn dribbles(&self) {
        let line = format!("POST {}", self.path("bundle"));
        let begin = || self.begins(&line, 1 << 30, b"t");
        let mut pushes: Vec<_> = (0..40).map(|_| begin()).collect();
        while self.goes_on() {
            for push in &mut pushes {
                let dribbled = push.as_mut().is_ok_and(|push| push.send("t").is_ok());
                if !dribbled && self.goes_on() {
                    *push = begin();
                }
            }
            self.has_acted();
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// As many who wait as may.
    pub fn waits(&self) {
        let head = format!("\"{ROOT}\"");
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    while self.goes_on() {
                        let mut client = Client::new(self.address);
                        let headers = [("if-none-match", head.as_str())];
                        let path = self.path("head?wait=300");
                        self.has_acted();
                        if let Ok(answer) = client.attempt("GET", &path, &headers, None) {
                            self.is_told(answer.status);
                        }
                        std::thread::sleep(Duration::from_millis(200));
                    }
                });
            }
        });
    }

    /// Large transactions that do not come to their end; those that are refused are begun again.
    pub fn stops_half_way(&self) {
        let length = 16 << 20;
        let most = vec![b' '; length - 1];
        std::thread::scope(|scope| {
            for number in 0..8 {
                let most = &most;
                scope.spawn(move || {
                    let id = transaction_id(&format!("half {number}"));
                    let line = format!("PUT {}", self.path(&format!("transactions/{id}")));
                    while self.goes_on() {
                        if let Ok(mut connection) = self.begins(&line, length as u64, most) {
                            self.has_acted();
                            // Whoever has sent as much as there was room for waits for its answer.
                            if let Ok(answer) = connection.answer("PUT") {
                                self.is_told(answer.status);
                            }
                        }
                        std::thread::sleep(Duration::from_millis(100));
                    }
                });
            }
        });
    }

    /// As many connections as she gets, from an address of her own; and more, again and again.
    pub fn connects(&self) {
        let mut open = Vec::new();
        for _ in 0..200 {
            open.extend(connect_from(Ipv4Addr::new(127, 0, 0, 2), self.address));
        }
        self.has_acted();
        while self.goes_on() {
            for stream in &mut open {
                stream.set_nonblocking(true).unwrap();
                let mut answer = [0; 12];
                match stream.read(&mut answer) {
                    Err(waits) if waits.kind() == io::ErrorKind::WouldBlock => continue,
                    // What she was told before, if she cannot come again, has no status here.
                    Ok(_) => {
                        let status = String::from_utf8_lossy(&answer[9..]).parse();
                        status.into_iter().for_each(|status| self.is_told(status));
                    }
                    Err(_) => {}
                }
                if let Ok(another) = connect_from(Ipv4Addr::new(127, 0, 0, 2), self.address) {
                    *stream = another;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A connection from this address of ours.
pub fn connect_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}
