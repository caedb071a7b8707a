//! Whether a disk that survived a power cut holds what was promised before it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::ids::{ROOT, chunk, digest, transaction_json};
use crate::mark::{Deletion, Promised, Promises};
use crate::server::Server;

/// How long a server may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two requests to a busy one.
const PAUSE: Duration = Duration::from_millis(100);

/// What a look at a disk came to.
pub enum Verdict {
    /// All that was promised is there, and the store goes on.
    Right,
    /// A promise is broken; which.
    Wrong(Vec<String>),
    /// The machine was in the way, and nothing is known of the disk; what it was. Whoever asks again, with the
    /// disk as it was, and never learns more, has to take it for wrong: a server that hangs looks the same.
    Untold(String),
}

/// What is not as it should be.
#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
    untold: Vec<String>,
}

impl Findings {
    /// Notes an error. One that a slow machine makes is no violation; anything else is, a connection that the
    /// server breaks off included.
    fn note(&mut self, what: &str, error: &io::Error) {
        let said = format!("{what}: {error}");
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => self.untold.push(said),
            _ => self.wrong.push(said),
        }
    }

    /// What is wrong counts, whatever else is unknown.
    fn verdict(self) -> Verdict {
        if !self.wrong.is_empty() {
            return Verdict::Wrong(self.wrong);
        }
        match self.untold.is_empty() {
            true => Verdict::Right,
            false => Verdict::Untold(self.untold.join("; ")),
        }
    }
}

/// Opens the data directory with the ordinary server and looks for everything.
pub fn verify(binary: &Path, data: &Path, promises: &Promises) -> Verdict {
    let mut findings = Findings::default();
    fsck(binary, data, &mut findings);
    match Server::start(binary, data, None) {
        Ok(server) => {
            for (user, promised) in &promises.users {
                let mut check = Check {
                    client: Client::new(server.address),
                    user,
                    promised,
                    data,
                    findings: &mut findings,
                };
                if let Err(error) = check.user() {
                    findings.note(user, &error);
                }
            }
        }
        Err(error) => findings.note("the server", &error),
    }
    if let Err(error) = names_are_digests(data, &mut findings.wrong) {
        findings.note(&data.display().to_string(), &error);
    }
    findings.verdict()
}

fn fsck(binary: &Path, data: &Path, findings: &mut Findings) {
    let run = Command::new(binary)
        .arg("fsck")
        .arg("--data")
        .arg(data)
        .output();
    match run {
        Ok(run) if run.status.success() => {}
        Ok(run) => findings.wrong.push(format!(
            "fsck: {}: {}{}",
            run.status,
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr)
        )),
        // It did not even start.
        Err(error) => findings.untold.push(format!("fsck: {error}")),
    }
}

struct Check<'a> {
    client: Client,
    user: &'a str,
    promised: &'a Promised,
    data: &'a Path,
    findings: &'a mut Findings,
}

impl Check<'_> {
    fn user(&mut self) -> io::Result<()> {
        let folder = self.data.join("users").join(self.user);
        match self.promised.deletion {
            Deletion::No => self.content(&folder)?,
            Deletion::Asked => {}
            Deletion::Done => {
                if folder.exists() {
                    self.complain("was removed, and is back");
                }
                return Ok(());
            }
        }
        self.goes_on()
    }

    fn content(&mut self, folder: &Path) -> io::Result<()> {
        let chain = self.chain()?;
        for id in &self.promised.heads {
            if !chain.contains_key(id) {
                self.complain(&format!("{id} was HEAD, and is not on the chain"));
            }
        }
        self.checkpoint(&chain)?;
        for (id, bytes) in &self.promised.chunks {
            let answer = self.get(&format!("chunks/{id}"))?;
            if answer.status != 200 || answer.body != *bytes {
                let (status, length) = (answer.status, answer.body.len());
                self.complain(&format!(
                    "chunk {id} of {} bytes: {status}, {length} bytes",
                    bytes.len()
                ));
            }
        }
        for (id, (parent, chunks)) in &self.promised.transactions {
            let json = match chain.get(id) {
                Some(_) => self.get(&format!("transactions/{id}"))?.body,
                None => fs::read(folder.join(format!("incoming/transactions/{id}.json")))
                    .unwrap_or_default(),
            };
            let found: Value = serde_json::from_slice(&json).unwrap_or_default();
            let same = found["id"] == **id
                && found["parent"] == **parent
                && found["chunks"] == json!(chunks)
                && chain.get(id).is_none_or(|seq| found["seq"] == *seq);
            if !same {
                self.complain(&format!("transaction {id} is {found}"));
            }
        }
        Ok(())
    }

    /// The checkpoint is no older than any that was told, and whole.
    fn checkpoint(&mut self, chain: &BTreeMap<String, u64>) -> io::Result<()> {
        let answer = self.get("checkpoint")?;
        let there: Value = match answer.status {
            200 => serde_json::from_slice(&answer.body)?,
            _ => Value::Null,
        };
        let said = there["transaction"].as_str().unwrap_or_default();
        if there["seq"].as_u64() != chain.get(said).copied() {
            self.complain(&format!("the checkpoint is {there}: {}", answer.status));
        }
        for id in &self.promised.checkpoints {
            if chain.get(said) < chain.get(id) {
                self.complain(&format!("the checkpoint was of {id}, and is {there}"));
            }
        }
        for chunk in there["chunks"].as_array().into_iter().flatten() {
            let chunk = chunk.as_str().unwrap_or_default();
            let answer = self.get(&format!("chunks/{chunk}"))?;
            if answer.status != 200 || digest(&answer.body) != chunk {
                self.complain(&format!(
                    "chunk {chunk} of the checkpoint: {}",
                    answer.status
                ));
            }
        }
        Ok(())
    }

    /// The whole chain, each transaction with its number; each must be there with its chunks.
    fn chain(&mut self) -> io::Result<BTreeMap<String, u64>> {
        let head = self.json("head")?;
        let listing = self.json("transactions")?;
        let ids: Vec<String> = listing["transactions"]
            .as_array()
            .map(|ids| {
                ids.iter()
                    .filter_map(|id| Some(id.as_str()?.to_owned()))
                    .collect()
            })
            .unwrap_or_default();
        let last = ids.last().map_or(ROOT, String::as_str);
        if head["head"] != *last || head["seq"] != ids.len() {
            self.complain(&format!("HEAD is {head}, and the chain has {}", ids.len()));
        }
        let mut chain = BTreeMap::new();
        let mut parent = ROOT;
        for (seq, id) in (1..).zip(&ids) {
            let transaction = self.json(&format!("transactions/{id}"))?;
            if transaction["parent"] != *parent || transaction["seq"] != seq {
                self.complain(&format!("on the chain {seq} after {parent}: {transaction}"));
            }
            for chunk in transaction["chunks"].as_array().into_iter().flatten() {
                let chunk = chunk.as_str().unwrap_or_default();
                let answer = self.get(&format!("chunks/{chunk}"))?;
                if answer.status != 200 || digest(&answer.body) != chunk {
                    self.complain(&format!("chunk {chunk} of {id}: {}", answer.status));
                }
            }
            chain.insert(id.clone(), seq);
            parent = id;
        }
        Ok(chain)
    }

    /// The next upload and the next advance work.
    fn goes_on(&mut self) -> io::Result<()> {
        let head = self.json("head")?;
        let parent = head["head"].as_str().unwrap_or_default().to_owned();
        let next = chunk("after the power cut");
        let id = uuid::Uuid::new_v4().to_string();
        let steps = [
            (format!("chunks/{}", next.id), next.bytes, 201),
            (
                format!("transactions/{id}"),
                transaction_json(&parent, &[&next.id]).into_bytes(),
                201,
            ),
            (
                "head".to_owned(),
                json!({ "head": id }).to_string().into_bytes(),
                204,
            ),
        ];
        for (rest, body, status) in steps {
            let path = format!("/0.1/{}/{rest}", self.user);
            let answer = self.ask("PUT", &path, Some(&body))?;
            if answer.status != status {
                let said = String::from_utf8_lossy(&answer.body).into_owned();
                self.complain(&format!("PUT {rest} afterwards: {} {said}", answer.status));
                return Ok(());
            }
        }
        if self.json("head")?["head"] != *id {
            self.complain("HEAD does not go on");
        }
        Ok(())
    }

    fn get(&mut self, rest: &str) -> io::Result<Answer> {
        let path = format!("/0.1/{}/{rest}", self.user);
        self.ask("GET", &path, None)
    }

    /// One request and its answer; the same again while the server says that it is busy.
    fn ask(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> io::Result<Answer> {
        let start = Instant::now();
        loop {
            let answer = self.client.attempt(method, path, &[], body)?;
            let busy =
                answer.status == 503 && String::from_utf8_lossy(&answer.body).contains("\"busy\"");
            if !busy || start.elapsed() > PATIENCE {
                return Ok(answer);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn json(&mut self, rest: &str) -> io::Result<Value> {
        let answer = self.get(rest)?;
        if answer.status != 200 {
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            self.complain(&format!("GET {rest}: {} {said}", answer.status));
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    fn complain(&mut self, what: &str) {
        self.findings.wrong.push(format!("{}: {what}", self.user));
    }
}

/// No file under a chunk's name is anything but that chunk. What is in `incoming/tmp` has no name in the store
/// yet, though the members of a bundle are already called in its folder there as they are to be.
fn names_are_digests(directory: &Path, wrong: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.ends_with("incoming/tmp") {
            continue;
        }
        if path.is_dir() {
            names_are_digests(&path, wrong)?;
            continue;
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let is_digest = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest && digest(&fs::read(&path)?) != name {
            wrong.push(format!("{} is not what its name says", path.display()));
        }
    }
    Ok(())
}
