use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kit::{
    Answer, Chunk, Device, ROOT, Server, binary, chunk, transaction_id, transaction_json, tree,
    user_id,
};

/// How long a killed server may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a thread may go on after its answer: an advance clears up.
const AFTERWARDS: Duration = Duration::from_millis(40);

/// What a client asks for, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    FirstChunk,
    Chunk,
    SameChunk,
    Transaction,
    SameTransaction,
    Advance,
    Bundle,
    Missing,
    Delete,
    ReadHead,
    ReadChain,
    ReadTransaction,
    ReadChunk,
}

impl Act {
    const ALL: [Act; 13] = [
        Act::FirstChunk,
        Act::Chunk,
        Act::SameChunk,
        Act::Transaction,
        Act::SameTransaction,
        Act::Advance,
        Act::Bundle,
        Act::Missing,
        Act::Delete,
        Act::ReadHead,
        Act::ReadChain,
        Act::ReadTransaction,
        Act::ReadChunk,
    ];

    fn reads(self) -> bool {
        self >= Act::ReadHead
    }
}

/// What is done to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// The server is killed as it makes the call.
    Kill,
    /// The call fails, and does nothing.
    Error(&'static str),
    /// The call takes a while.
    Delay,
}

/// One call of an act: the how manieth of its name, and what it was about.
#[derive(Clone, Debug)]
struct Call {
    name: String,
    nth: usize,
    line: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} number {} ({})", self.name, self.nth, self.line)
    }
}

/// The errors that such a call may meet; none for one that cannot fail in a way that matters.
fn errors_of(call: &str) -> &'static [&'static str] {
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
fn changes(call: &Call) -> bool {
    match call.name.as_str() {
        "openat2" => call.line.contains("O_CREAT"),
        "write" | "pwrite64" | "renameat" | "renameat2" | "linkat" | "mkdirat" | "fsync"
        | "syncfs" | "ftruncate" | "unlinkat" | "utimensat" => true,
        _ => false,
    }
}

/// strace on the one thread of the server that works on the disk.
struct Tracer {
    child: Child,
    log: PathBuf,
}

impl Tracer {
    fn attach(server: &Server, act: Act, log: &Path, arguments: &[String]) -> Self {
        let mut command = Command::new("strace");
        command
            .args(["-y", "-s", "40", "-o"])
            .arg(log)
            .args(arguments);
        for thread in disk_threads(server, act) {
            command.args(["-p", &thread]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace starts");
        let mut said = String::new();
        let stderr = child.stderr.take().expect("stderr is piped");
        let mut stderr = BufReader::new(stderr);
        while !said.contains("attached") {
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
    fn detach(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        // It has ended already where the server has.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        self.child.wait().unwrap();
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}

/// The calls in a trace, each with its name and the how manieth of its name and thread it is.
fn numbered(lines: &[String]) -> Vec<(String, usize, String)> {
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
fn disk_threads(server: &Server, act: Act) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let works = |name: String| {
        name.starts_with("tokio-rt") || (act.reads() && name.starts_with("actix-rt"))
    };
    tasks
        .map(|task| task.unwrap())
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(works))
        .map(|task| task.file_name().to_string_lossy().into_owned())
        .collect()
}

/// One user, prepared for one act.
struct Scene {
    name: String,
    act: Act,
    /// Committed; uploaded; and not there yet.
    chunks: [Chunk; 3],
    /// HEAD; and two more upon it.
    transactions: [String; 3],
}

impl Scene {
    /// Prepares a user whom nobody else has. All must succeed.
    fn new(server: &Server, act: Act, number: usize) -> Self {
        let name = format!("user {number}");
        let scene = Self {
            chunks: ["a", "b", "c"].map(chunk),
            transactions: ["one", "two", "three"].map(transaction_id),
            act,
            name,
        };
        let mut device = server.device(&scene.name);
        if act != Act::FirstChunk {
            let [a, b, c] = &scene.chunks;
            let [one, two, three] = &scene.transactions;
            device.commit(one, ROOT, &[a]);
            // While its thread clears up, another would be started for the next request.
            std::thread::sleep(AFTERWARDS);
            if matches!(
                act,
                Act::SameChunk
                    | Act::Transaction
                    | Act::SameTransaction
                    | Act::Advance
                    | Act::Missing
            ) {
                device.put_chunk(b).expect(201);
            }
            if matches!(act, Act::SameTransaction | Act::Advance) {
                device
                    .put_transaction(two, one, &[&a.id, &b.id])
                    .expect(201);
            }
            if act == Act::Advance {
                device.put_chunk(c).expect(201);
                device.put_transaction(three, two, &[&c.id]).expect(201);
            }
        } else {
            // So that the thread is there.
            server
                .device("somebody else")
                .put_chunk(&chunk("x"))
                .expect(201);
        }
        scene
    }

    /// The second and the third transaction with what they name, as a tar.
    fn bundle(&self) -> Vec<u8> {
        let [a, b, c] = &self.chunks;
        let [one, two, three] = &self.transactions;
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, contents: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(contents.len() as u64);
            tar.append_data(&mut header, name, contents).unwrap();
        };
        for chunk in [b, c] {
            add(
                &format!("chunks/{}/{}", &chunk.id[..2], chunk.id),
                &chunk.bytes,
            );
        }
        let (first, second) = (vec![&a.id, &b.id], vec![&c.id]);
        for (id, seq, parent, chunks) in [(two, 2, one, first), (three, 3, two, second)] {
            let names = serde_json::to_string(&chunks).unwrap();
            let json = format!(
                "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":{names}}}\n"
            );
            add(
                &format!("transactions/{}/{id}.json", &id[..2]),
                json.as_bytes(),
            );
        }
        add("HEAD", format!("{three}\n").as_bytes());
        tar.into_inner().unwrap()
    }

    fn perform(&self, server: &Server) -> std::io::Result<Answer> {
        let [a, b, c] = &self.chunks;
        let [one, two, three] = &self.transactions;
        let (method, rest, body) = match self.act {
            Act::FirstChunk => ("PUT", format!("chunks/{}", a.id), Some(a.bytes.clone())),
            Act::Chunk => ("PUT", format!("chunks/{}", c.id), Some(c.bytes.clone())),
            Act::SameChunk => ("PUT", format!("chunks/{}", b.id), Some(b.bytes.clone())),
            Act::Transaction | Act::SameTransaction => {
                let body = transaction_json(one, &[&a.id, &b.id]);
                (
                    "PUT",
                    format!("transactions/{two}"),
                    Some(body.into_bytes()),
                )
            }
            Act::Advance => {
                let body = json!({ "head": three }).to_string();
                ("PUT", "head".to_owned(), Some(body.into_bytes()))
            }
            Act::Bundle => ("POST", "bundle".to_owned(), Some(self.bundle())),
            Act::Missing => {
                let body = json!([a.id, b.id, c.id]).to_string();
                ("POST", "chunks/missing".to_owned(), Some(body.into_bytes()))
            }
            Act::Delete => ("DELETE", String::new(), None),
            Act::ReadHead => ("GET", "head".to_owned(), None),
            Act::ReadChain => ("GET", "transactions".to_owned(), None),
            Act::ReadTransaction => ("GET", format!("transactions/{one}"), None),
            Act::ReadChunk => ("GET", format!("chunks/{}", a.id), None),
        };
        let path = format!("/0.1/{}/{rest}", user_id(&self.name));
        server.client().attempt(method, &path, &[], body.as_deref())
    }

    /// Whether this is the answer that tells the whole truth. `again`: the act had been tried before.
    fn is_right(&self, answer: &Answer, again: bool) -> bool {
        let [a, _, c] = &self.chunks;
        let [one, _, three] = &self.transactions;
        match self.act {
            Act::FirstChunk
            | Act::Chunk
            | Act::SameChunk
            | Act::Transaction
            | Act::SameTransaction => answer.status == 201,
            Act::Advance => {
                let got_through =
                    || again && answer.status == 409 && answer.json()["head"] == **three;
                answer.status == 204 || got_through()
            }
            Act::Bundle => {
                let in_time = answer.status == 200 || (again && answer.status == 409);
                in_time && answer.json()["head"] == **three
            }
            Act::Delete => answer.status == 204,
            Act::Missing => answer.status == 200 && answer.json() == json!({ "missing": [c.id] }),
            Act::ReadHead => answer.status == 200 && answer.json()["head"] == **one,
            Act::ReadChain => answer.status == 200 && answer.json()["transactions"] == json!([one]),
            Act::ReadTransaction => {
                let expected = json!({"id": one, "seq": 1, "parent": ROOT, "chunks": [a.id]});
                answer.status == 200 && answer.json() == expected
            }
            Act::ReadChunk => answer.status == 200 && answer.body == a.bytes,
        }
    }

    /// All that was promised before the act is there, and what the act did is all or nothing;
    /// `done`: it was answered, so it is all.
    fn check(&self, server: &Server, done: bool) -> Result<(), String> {
        let [a, b, c] = &self.chunks;
        let [one, two, three] = &self.transactions;
        let mut device = server.device(&self.name);
        let (head, _) = device.head();
        let has = |device: &mut Device, chunk: &Chunk| {
            let answer = device.get(&format!("chunks/{}", chunk.id));
            answer.status == 200 && answer.body == chunk.bytes
        };
        let chain = device.chain_after(ROOT);
        if self.act == Act::FirstChunk {
            return match (head == ROOT, !done || has(&mut device, a)) {
                (true, true) => Ok(()),
                _ => Err(format!("HEAD is {head}, or the chunk is lost")),
            };
        }
        if self.act == Act::Delete && (done || head == ROOT) {
            return match chain.is_empty() && !server.folder(&self.name).exists() {
                true => Ok(()),
                false => Err("half of the user is left".to_owned()),
            };
        }
        let before = [one.clone()];
        let after = [one.clone(), two.clone(), three.clone()];
        let right = match (self.act, done) {
            (Act::Advance | Act::Bundle, true) => chain == after,
            (Act::Advance | Act::Bundle, false) => chain == before || chain == after,
            _ => chain == before,
        };
        if !right || chain.last() != Some(&head) {
            return Err(format!("HEAD is {head}, the chain {chain:?}"));
        }
        let uploaded = match self.act {
            Act::Advance => vec![a, b, c],
            Act::Bundle if done => vec![a, b, c],
            Act::Chunk if done => vec![a, c],
            Act::SameChunk | Act::Transaction | Act::SameTransaction | Act::Missing => vec![a, b],
            _ => vec![a],
        };
        for chunk in uploaded {
            if !has(&mut device, chunk) {
                return Err(format!("the chunk {:?} is lost", chunk.bytes));
            }
        }
        let proposed = self.act == Act::SameTransaction || (self.act == Act::Transaction && done);
        if proposed {
            let other = device.put_transaction(two, one, &[]);
            if other.status != 409 {
                return Err(format!("the transaction is lost: {}", other.status));
            }
        }
        Ok(())
    }

    /// No temporary file is left, neither the user's nor one of a user being made.
    fn is_clean(&self, server: &Server) -> Result<(), String> {
        let mine = server.folder(&self.name).join("incoming/tmp");
        let mut left: Vec<String> = match mine.exists() {
            true => tree(&mine).into_keys().collect(),
            false => Vec::new(),
        };
        // Others were killed, and left theirs.
        let user = user_id(&self.name);
        let made = tree(&server.data().join("tmp")).into_keys();
        left.extend(made.filter(|name| name.starts_with(&user)));
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("left behind: {left:?}")),
        }
    }
}

/// The server under test, its scenes, and the count of what was done.
struct Rig {
    server: Server,
    log: PathBuf,
    scenes: usize,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    kills: usize,
    delays: usize,
    errors: BTreeMap<&'static str, usize>,
    refused: usize,
    /// Answered as if nothing had happened, truthfully.
    overcome: usize,
    /// The call was not made this time: the threads took turns otherwise.
    missed: usize,
    /// Made the user, or the whole store, read-only until a restart.
    read_only: usize,
}

impl Rig {
    fn new(name: &str, mistake: Option<&str>) -> Option<Self> {
        let tried = Command::new("strace")
            .args(["-o", "/dev/null", "true"])
            .output();
        if !tried.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: strace cannot trace here, so no call is made to fail");
            return None;
        }
        let mut command = binary();
        command.envs(mistake.map(|name| ("MENTAT_SYNC_MISTAKE", name)));
        let data = Arc::new(tempfile::tempdir().unwrap());
        let server = Server::launch(command, data, &["--workers", "1", "--allow-delete"]);
        let log = server.data().with_file_name(name);
        Some(Self {
            server,
            log,
            scenes: 0,
            tally: Tally::default(),
        })
    }

    fn scene(&mut self, act: Act) -> Scene {
        self.scenes += 1;
        Scene::new(&self.server, act, self.scenes)
    }

    fn restart(&mut self) {
        self.server.kill();
        self.server = self.server.another();
    }

    /// The calls on the data directory that an act makes, in order.
    fn calls(&mut self, act: Act) -> Vec<Call> {
        // After a failed syncfs the server would sync otherwise.
        self.restart();
        let scene = self.scene(act);
        let tracer = Tracer::attach(&self.server, act, &self.log, &[]);
        let answer = scene.perform(&self.server).unwrap();
        assert!(scene.is_right(&answer, false), "{act:?}: {answer:?}");
        std::thread::sleep(2 * AFTERWARDS);
        let data = self.server.data().to_string_lossy().into_owned();
        let mut calls = Vec::new();
        for (name, nth, line) in numbered(&tracer.detach()) {
            if line.contains(&data) && !errors_of(&name).is_empty() {
                let line = line.replace(&data, "DATA");
                let line = line.replace(&user_id(&scene.name), "USER");
                calls.push(Call { name, nth, line });
            }
        }
        calls
    }

    /// Performs an act with this fault at this call, and looks what became of it.
    fn inject(&mut self, act: Act, call: &Call, fault: Fault) -> Result<(), String> {
        let scene = self.scene(act);
        let how = match fault {
            Fault::Kill => "signal=KILL".to_owned(),
            Fault::Error(name) => format!("error={name}"),
            Fault::Delay => "delay_enter=60000".to_owned(),
        };
        let inject = format!("inject={}:{how}:when={}", call.name, call.nth);
        let tracer = Tracer::attach(&self.server, act, &self.log, &["-e".to_owned(), inject]);
        let answer = scene.perform(&self.server);
        if fault == Fault::Kill {
            return self.after_a_kill(&scene, call, tracer, answer.ok());
        }
        // It may come after the answer.
        std::thread::sleep(AFTERWARDS);
        let lines = tracer.detach();
        let hit = lines
            .iter()
            .find(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)"));
        let Some(hit) = hit else {
            self.tally.missed += 1;
            return Ok(());
        };
        let answer = answer.map_err(|error| format!("no answer: {error}"))?;
        let done = scene.is_right(&answer, false);
        match fault {
            Fault::Delay => self.tally.delays += 1,
            Fault::Error(name) => *self.tally.errors.entry(name).or_default() += 1,
            Fault::Kill => unreachable!("it was seen to"),
        }
        if fault == Fault::Delay && !done {
            return Err(format!("late, and then {answer:?}"));
        }
        if !done && answer.status < 500 {
            return Err(format!("an error became {answer:?}"));
        }
        if !done && answer.status == 507 && !matches!(fault, Fault::Error("ENOSPC" | "EDQUOT")) {
            return Err(format!("no space, it says: {answer:?}"));
        }
        // A file's own sync is asked for once, before the answer.
        if done && call.name == "fsync" && fault != Fault::Delay {
            return Err("the sync failed, and it was acknowledged".to_owned());
        }
        match done {
            true => self.tally.overcome += 1,
            false => self.tally.refused += 1,
        }
        scene.check(&self.server, done)?;
        // Where the clearing up itself failed, gc does it, a day later.
        let clears = hit.contains("unlinkat(") || hit.contains("incoming/tmp\", {flags=O_RDONLY");
        if !clears {
            scene.is_clean(&self.server)?;
        }
        self.goes_on(&scene)?;
        if call.name == "syncfs" && fault != Fault::Delay {
            self.restart();
        }
        Ok(())
    }

    /// Every sync fails while an act is performed: whatever it is, it was not made durable.
    fn fail_all_syncs(&mut self, act: Act) -> Result<bool, String> {
        let scene = self.scene(act);
        let inject = "inject=fsync,syncfs,fdatasync:error=EIO".to_owned();
        let tracer = Tracer::attach(&self.server, act, &self.log, &["-e".to_owned(), inject]);
        let answer = scene.perform(&self.server);
        std::thread::sleep(AFTERWARDS);
        let lines = tracer.detach();
        if !lines.iter().any(|line| line.contains("(INJECTED)")) {
            return Ok(false);
        }
        let answer = answer.map_err(|error| format!("no answer: {error}"))?;
        *self.tally.errors.entry("EIO").or_default() += 1;
        if answer.status < 500 {
            return Err(format!("nothing was synced, and the answer is {answer:?}"));
        }
        self.tally.refused += 1;
        scene.check(&self.server, false)?;
        self.goes_on(&scene)?;
        Ok(true)
    }

    /// The same works now; for whoever was made read-only, after a restart.
    fn goes_on(&mut self, scene: &Scene) -> Result<(), String> {
        let again = scene
            .perform(&self.server)
            .map_err(|error| format!("no answer: {error}"))?;
        if !scene.is_right(&again, true) {
            if again.status < 500 || scene.act.reads() {
                return Err(format!("tried again: {again:?}"));
            }
            scene.check(&self.server, false)?;
            self.tally.read_only += 1;
            self.restart();
            let again = scene.perform(&self.server).unwrap();
            if !scene.is_right(&again, true) {
                return Err(format!("tried again after a restart: {again:?}"));
            }
        }
        scene.check(&self.server, true)?;
        // And so does the next thing.
        let mut device = self.server.device(&scene.name);
        let (head, _) = device.head();
        device.commit(&transaction_id("next"), &head, &[&chunk("next")]);
        std::thread::sleep(AFTERWARDS);
        Ok(())
    }

    fn after_a_kill(
        &mut self,
        scene: &Scene,
        call: &Call,
        tracer: Tracer,
        answer: Option<Answer>,
    ) -> Result<(), String> {
        let done = answer.is_some();
        if let Some(answer) = answer
            && !scene.is_right(&answer, false)
        {
            return Err(format!("before the kill: {answer:?}"));
        }
        let killed = self.server.ended_within(5 * AFTERWARDS);
        let lines = tracer.detach();
        // A busy machine takes its time to bury it.
        let hit = numbered(&lines)
            .iter()
            .any(|(name, nth, _)| *name == call.name && *nth == call.nth);
        let killed = killed.or_else(|| {
            self.server
                .ended_within(if hit { PATIENCE } else { AFTERWARDS })
        });
        match killed {
            Some(status) if status.signal() == Some(9) => {}
            Some(other) => return Err(format!("it ended by itself: {other:?}")),
            None => {
                self.tally.missed += 1;
                return self.goes_on(scene);
            }
        }
        self.tally.kills += 1;
        self.server = self.server.another();
        scene.check(&self.server, done)?;
        self.goes_on(scene)
    }
}

/// The faults to try at this call, which is the how manieth of its act. `scripts/fault-test` tries more of
/// them than `cargo test` does.
fn faults(call: &Call, index: usize) -> Vec<Fault> {
    let errors = errors_of(&call.name).iter().copied().map(Fault::Error);
    let both = errors.clone().take(1).chain([Fault::Kill]);
    match std::env::var("FAULT_TEST").as_deref() {
        Ok("full") => [Fault::Kill, Fault::Delay]
            .into_iter()
            .chain(errors)
            .collect(),
        _ if !changes(call) => Vec::new(),
        Ok("quick") => both.collect(),
        _ => both.skip(index % 2).take(1).collect(),
    }
}

#[test]
fn a_kill_or_an_error_at_any_call_loses_nothing() {
    let Some(mut rig) = Rig::new("strace.log", None) else {
        return;
    };
    let mut wrong = Vec::new();
    let start = Instant::now();
    for act in Act::ALL {
        let calls = rig.calls(act);
        println!("{act:?}: {} calls", calls.len());
        for (index, call) in calls.iter().enumerate() {
            for fault in faults(call, index) {
                if let Err(what) = rig.inject(act, call, fault) {
                    wrong.push(format!("{act:?}, {fault:?} at {call}: {what}"));
                    rig.restart();
                }
            }
        }
        match rig.fail_all_syncs(act) {
            Ok(true) => {}
            Ok(false) => assert!(act.reads(), "{act:?} syncs nothing"),
            Err(what) => wrong.push(format!("{act:?}, no sync works: {what}")),
        }
    }
    let Tally {
        kills,
        delays,
        errors,
        refused,
        overcome,
        missed,
        read_only,
    } = &rig.tally;
    let failed: usize = errors.values().sum();
    println!(
        "{} faults injected into {} operations in {:.0} s: {kills} kills, {delays} delays, {failed} errors \
         ({errors:?}), of which {refused} were refusals, {overcome} did not matter, {read_only} needed a restart; \
         {missed} missed their call; {} violations",
        kills + delays + failed,
        Act::ALL.len(),
        start.elapsed().as_secs_f64(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(kills + failed > 50, "too few to be a test");
}

#[test]
fn a_server_that_does_not_ask_whether_a_sync_failed_is_caught() {
    for act in [
        Act::Chunk,
        Act::Transaction,
        Act::Advance,
        Act::Bundle,
        Act::Missing,
        Act::Delete,
    ] {
        let Some(mut rig) = Rig::new("strace.log", Some("SyncErrorIgnored")) else {
            return;
        };
        let caught = rig.fail_all_syncs(act).unwrap_err();
        assert!(caught.contains("nothing was synced"), "{act:?}: {caught}");
    }
}
