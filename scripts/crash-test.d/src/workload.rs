//! What the clients do while the disk is recorded: chunks of all sizes, transactions, advances, checkpoints, bundles,
//! races on one user, the removal of users, gc beside it; through two servers, one of which is killed now and then, so that one
//! finds what the other left unsynced. Each answer is a mark in the recording.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::device::Devices;
use crate::http::{Answer, Client};
use crate::ids::{Chunk, ROOT, chunk, transaction_json, user_id};
use crate::mark::Mark;
use crate::server::Server;

/// How long a client looks for a server that lives.
const ATTEMPTS: usize = 200;

/// Two servers, of which the second is often dead.
struct Servers(Mutex<[Option<SocketAddr>; 2]>);

/// What is done, and by how many.
pub struct Workload<'a> {
    pub binary: &'a Path,
    pub data: &'a Path,
    pub mistake: Option<&'a str>,
    pub clients: usize,
    /// So many answers in all.
    pub answers: usize,
    pub seed: u64,
}

impl Workload<'_> {
    /// Does it. Fails where a server cannot be started, or answers what no server should.
    pub fn run(&self, devices: &Devices) -> io::Result<()> {
        let start = || Server::start(self.binary, self.data, self.mistake);
        let steady = start()?;
        let servers = Servers(Mutex::new([Some(steady.address), None]));
        let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                let mut rng = Rng::with_seed(self.seed);
                while !over.load(Ordering::Relaxed) {
                    let server = start()?;
                    servers.set_second(Some(server.address));
                    std::thread::sleep(Duration::from_millis(rng.u64(50..400)));
                    drop(server);
                    servers.set_second(None);
                    // What an advance would have cleared up is left to it.
                    collect(self.binary, self.data)?;
                }
                io::Result::Ok(())
            });
            let clients: Vec<_> = (0..self.clients)
                .map(|number| {
                    let mut client = Device {
                        devices,
                        servers: &servers,
                        client: None,
                        rng: Rng::with_seed(self.seed ^ (number as u64 + 1)),
                        number,
                        done: &done,
                        chunks: Vec::new(),
                        deleted: 0,
                        late: 0,
                    };
                    scope.spawn(move || {
                        while client.done.load(Ordering::Relaxed) < self.answers {
                            client.round()?;
                        }
                        io::Result::Ok(())
                    })
                })
                .collect();
            let ended: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
            over.store(true, Ordering::Relaxed);
            let killer = killer.join();
            for result in ended.into_iter().chain([killer]) {
                result.expect("a client does not panic")?;
            }
            Ok(())
        })
    }
}

impl Servers {
    fn set_second(&self, address: Option<SocketAddr>) {
        self.0.lock().expect("nobody panics with it")[1] = address;
    }

    fn any(&self, rng: &mut Rng) -> SocketAddr {
        let all = self.0.lock().expect("nobody panics with it");
        let which = usize::from(rng.bool());
        all[which]
            .or(all[0])
            .expect("the first one is never killed")
    }
}

struct Device<'a> {
    devices: &'a Devices,
    servers: &'a Servers,
    client: Option<Client>,
    rng: Rng,
    number: usize,
    done: &'a AtomicUsize,
    chunks: Vec<(String, Chunk)>,
    deleted: usize,
    /// Requests that were given up, of which the server may still do any.
    late: usize,
}

impl Device<'_> {
    /// Uploads one or two transactions upon HEAD, and advances HEAD there.
    fn round(&mut self) -> io::Result<()> {
        if self.rng.u8(..) < 16 {
            return self.come_and_go();
        }
        let user = match self.rng.bool() {
            true => user_id("everybody"),
            false => user_id(&format!("client {}", self.number)),
        };
        let (mut parent, seq) = self.head(&user)?;
        if self.rng.usize(..4) == 0 {
            return self.bundle(&user, parent, seq);
        }
        for _ in 0..self.rng.usize(1..=2) {
            let id = self.new_id();
            let mut chunks = Vec::new();
            for _ in 0..self.rng.usize(0..=3) {
                chunks.push(self.chunk(&user)?);
            }
            if !self.transaction(&user, &id, &parent, &chunks)? {
                return Ok(());
            }
            parent = id;
        }
        let body = json!({ "head": parent }).to_string();
        let answer = self.ask("PUT", &format!("/0.1/{user}/head"), Some(body.as_bytes()))?;
        match answer {
            Some(answer) if answer.status == 204 => {
                self.mark(Mark::Head {
                    user: user.clone(),
                    id: parent.clone(),
                });
                if self.rng.usize(..3) == 0 {
                    return self.checkpoint(user, parent);
                }
            }
            Some(answer) if answer.status == 409 => self.mark(Mark::Head {
                id: text(&answer, "head")?,
                user,
            }),
            other => tolerated(other)?,
        }
        Ok(())
    }

    /// A checkpoint of this transaction, of up to three chunks; or the word that there is a later one.
    fn checkpoint(&mut self, user: String, transaction: String) -> io::Result<()> {
        let mut chunks = Vec::new();
        for _ in 0..self.rng.usize(0..=3) {
            chunks.push(self.chunk(&user)?);
        }
        let body = json!({ "transaction": transaction, "chunks": chunks }).to_string();
        let path = format!("/0.1/{user}/checkpoint");
        match self.ask("PUT", &path, Some(body.as_bytes()))? {
            Some(answer) if answer.status == 204 => {
                self.mark(Mark::Checkpoint { user, transaction });
            }
            Some(answer) if answer.status == 409 => {
                let said: Value = serde_json::from_slice(&answer.body)?;
                let present = said["checkpoint"]["transaction"].as_str();
                let present = present.ok_or_else(|| io::Error::other(format!("a 409: {said}")))?;
                let transaction = present.to_owned();
                self.mark(Mark::Checkpoint { user, transaction });
            }
            // A chunk of it was lost with its server, unanswered.
            Some(answer) if answer.status == 404 => {}
            other => tolerated(other)?,
        }
        Ok(())
    }

    /// A new chunk, or one that may be there already. Its id, whether or not it got there.
    fn chunk(&mut self, user: &str) -> io::Result<String> {
        let again = self.rng.usize(..4) == 0;
        let old: Vec<&Chunk> = self
            .chunks
            .iter()
            .filter(|(whose, _)| again && whose == user)
            .map(|(_, chunk)| chunk)
            .collect();
        let chunk = match self.rng.choice(old) {
            Some(old) => old.clone(),
            None => self.new_chunk(),
        };
        let path = format!("/0.1/{user}/chunks/{}", chunk.id);
        let id = chunk.id.clone();
        match self.ask("PUT", &path, Some(&chunk.bytes))? {
            Some(answer) if answer.status == 201 => {
                self.mark(Mark::Chunk {
                    user: user.to_owned(),
                    id: chunk.id.clone(),
                    bytes: chunk.bytes.clone(),
                });
            }
            other => tolerated(other)?,
        }
        self.chunks.push((user.to_owned(), chunk));
        Ok(id)
    }

    fn transaction(
        &mut self,
        user: &str,
        id: &str,
        parent: &str,
        chunks: &[String],
    ) -> io::Result<bool> {
        let ids: Vec<&str> = chunks.iter().map(String::as_str).collect();
        let body = transaction_json(parent, &ids);
        let path = format!("/0.1/{user}/transactions/{id}");
        match self.ask("PUT", &path, Some(body.as_bytes()))? {
            Some(answer) if answer.status == 201 => {
                self.mark(Mark::Transaction {
                    user: user.to_owned(),
                    id: id.to_owned(),
                    parent: parent.to_owned(),
                    chunks: chunks.to_vec(),
                });
                Ok(true)
            }
            // A chunk of it was lost with its server, unanswered.
            Some(answer) if answer.status == 404 => Ok(false),
            other => tolerated(other).map(|()| false),
        }
    }

    fn new_id(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_le_bytes())
            .into_uuid()
            .to_string()
    }

    fn new_chunk(&mut self) -> Chunk {
        let sizes = [0..2, 1..100, 1..100, 4000..9000, 60_000..200_000];
        let size = self.rng.choice(sizes).expect("there are some");
        let mut bytes = vec![0; self.rng.usize(size)];
        self.rng.fill(&mut bytes);
        chunk(bytes)
    }

    /// A few transactions upon HEAD in one request.
    fn bundle(&mut self, user: &str, head: String, seq: u64) -> io::Result<()> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut marks = Vec::new();
        let mut parent = head;
        for seq in seq + 1..=seq + self.rng.u64(1..=3) {
            let new: Vec<Chunk> = (0..self.rng.usize(..3)).map(|_| self.new_chunk()).collect();
            for Chunk { id, bytes } in &new {
                add(&mut tar, &format!("chunks/{}/{id}", &id[..2]), bytes)?;
            }
            let id = self.new_id();
            let chunks: Vec<String> = new.iter().map(|chunk| chunk.id.clone()).collect();
            let quoted: Vec<String> = chunks.iter().map(|chunk| format!("\"{chunk}\"")).collect();
            let json = format!(
                "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[{}]}}\n",
                quoted.join(",")
            );
            let name = format!("transactions/{}/{id}.json", &id[..2]);
            add(&mut tar, &name, json.as_bytes())?;
            marks.extend(new.into_iter().map(|Chunk { id, bytes }| Mark::Chunk {
                user: user.to_owned(),
                id,
                bytes,
            }));
            marks.push(Mark::Transaction {
                user: user.to_owned(),
                id: id.clone(),
                parent,
                chunks,
            });
            parent = id;
        }
        add(&mut tar, "HEAD", format!("{parent}\n").as_bytes())?;
        let path = format!("/0.1/{user}/bundle");
        match self.ask("POST", &path, Some(&tar.into_inner()?))? {
            Some(answer) if answer.status == 200 => {
                for mark in marks {
                    self.mark(mark);
                }
                self.mark(Mark::Head {
                    user: user.to_owned(),
                    id: parent,
                });
            }
            Some(answer) if answer.status == 409 => self.mark(Mark::Head {
                id: text(&answer, "head")?,
                user: user.to_owned(),
            }),
            other => tolerated(other)?,
        }
        Ok(())
    }

    fn head(&mut self, user: &str) -> io::Result<(String, u64)> {
        loop {
            let Some(answer) = self.ask("GET", &format!("/0.1/{user}/head"), None)? else {
                continue;
            };
            if answer.status != 200 {
                tolerated(Some(answer))?;
                continue;
            }
            let id = text(&answer, "head")?;
            let said: Value = serde_json::from_slice(&answer.body)?;
            let seq = said["seq"].as_u64().unwrap_or_default();
            if id != ROOT {
                self.mark(Mark::Head {
                    user: user.to_owned(),
                    id: id.clone(),
                });
            }
            return Ok((id, seq));
        }
    }

    /// A user who uploads something and is removed.
    fn come_and_go(&mut self) -> io::Result<()> {
        self.deleted += 1;
        let user = user_id(&format!("guest {} of {}", self.deleted, self.number));
        let late = self.late;
        self.chunk(&user)?;
        if self.late > late {
            // It may still make the user, after the removal.
            return Ok(());
        }
        self.mark(Mark::Deleting { user: user.clone() });
        match self.ask("DELETE", &format!("/0.1/{user}/"), None)? {
            Some(answer) if answer.status == 204 => self.mark(Mark::Deleted { user }),
            other => tolerated(other)?,
        }
        Ok(())
    }

    fn mark(&self, mark: Mark) {
        if !matches!(mark, Mark::Deleting { .. }) {
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        self.devices.mark(mark);
    }

    /// Asks any server. `None`: it died, or took too long, and nobody knows what it did.
    fn ask(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> io::Result<Option<Answer>> {
        // Change the server now and then.
        if self.rng.usize(..3) == 0 {
            self.client = None;
        }
        for _ in 0..ATTEMPTS {
            let mut client = match self.client.take() {
                Some(client) => client,
                None => Client::new(self.servers.any(&mut self.rng)),
            };
            match client.attempt(method, path, &[], body) {
                Ok(answer) => {
                    self.client = Some(client);
                    return Ok(Some(answer));
                }
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => {
                    // A killed one does nothing more: its connections are closed when its last thread is gone.
                    let lives = matches!(
                        error.kind(),
                        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
                    );
                    self.late += usize::from(lives);
                    return Ok(None);
                }
            }
        }
        Err(io::Error::other("no server lives"))
    }
}

/// Garbage collection, with the grace period of 14 days: nothing that was promised is garbage.
fn collect(binary: &Path, data: &Path) -> io::Result<()> {
    let run = Command::new(binary)
        .arg("gc")
        .arg("--data")
        .arg(data)
        .output()?;
    if run.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&run.stderr);
    // As a server that is busy, on a slow machine: the next one collects.
    if said.contains("lock is held by somebody else") {
        return Ok(());
    }
    Err(io::Error::other(format!("gc: {} {said}", run.status)))
}

fn add(tar: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, bytes)
}

/// No answer, or one that a client has to take as it comes: the lock is held, or its holder died, or the client
/// itself was too slow.
fn tolerated(answer: Option<Answer>) -> io::Result<()> {
    match answer {
        None => Ok(()),
        Some(answer) if matches!(answer.status, 408 | 503) => Ok(()),
        Some(answer) => Err(io::Error::other(format!(
            "an answer that nobody asked for: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        ))),
    }
}

fn text(answer: &Answer, key: &str) -> io::Result<String> {
    let body: Value = serde_json::from_slice(&answer.body)?;
    match body[key].as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(io::Error::other(format!("no {key} in {body}"))),
    }
}
