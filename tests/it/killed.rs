use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::{
    Answer, Chunk, Client, ROOT, Server, binary, chunk, effort, transaction_id, transaction_json,
    user_id,
};
use crate::linear::{self, Event, Operation};

/// Nobody waits longer than that, for a server that lives or for a test to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// With fewer kills or advances than that it is no test, however long it took.
const ENOUGH: u64 = 8;

/// Who takes part, and for how long.
struct Plan {
    servers: usize,
    clients: usize,
    time: Duration,
    /// Whether servers are killed, and started again.
    kills: bool,
    mistake: Option<&'static str>,
}

/// What came of it.
struct Outcome {
    kills: u64,
    /// The highest number of a checkpoint that was told, and how many were put.
    checkpoint: u64,
    checkpoints: u64,
    history: Vec<Event>,
    /// Answers that should not have come.
    wrong: Vec<Answer>,
    numbers: Numbers,
    chunks: Vec<Chunk>,
    /// Acknowledged transactions: id, parent, chunk.
    transactions: Vec<(String, String, String)>,
    servers: Vec<Server>,
}

/// Numbers for transactions, in the order in which they are named.
#[derive(Default)]
struct Numbers(Mutex<(BTreeMap<String, u64>, Vec<String>)>);

impl Numbers {
    fn of(&self, id: &str) -> u64 {
        let mut numbers = self.0.lock().unwrap();
        if let Some(number) = numbers.0.get(id) {
            return *number;
        }
        let number = numbers.1.len() as u64;
        numbers.1.push(id.to_owned());
        numbers.0.insert(id.to_owned(), number);
        number
    }
}

/// What the clients share.
struct Stage {
    addresses: Mutex<Vec<SocketAddr>>,
    clock: AtomicU64,
    kills: AtomicU64,
    advances: AtomicU64,
    /// The highest number of a checkpoint that was told, and how often one was put.
    checkpoint: AtomicU64,
    checkpoints: AtomicU64,
    /// The servers make no mistake.
    is_sound: bool,
    over: AtomicBool,
    numbers: Numbers,
    /// Answers that should not have come.
    wrong: Mutex<Vec<Answer>>,
}

impl Stage {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn stop(&self, wrong: Answer) {
        self.over.store(true, Ordering::Relaxed);
        self.wrong.lock().unwrap().push(wrong);
    }

    /// Returns when the time is up and enough has happened.
    fn play(&self, plan: &Plan) {
        let start = Instant::now();
        let enough = |count: &AtomicU64| count.load(Ordering::Relaxed) >= ENOUGH;
        let done = || enough(&self.advances) && (!plan.kills || enough(&self.kills));
        while start.elapsed() < plan.time || !(done() || start.elapsed() > PATIENCE) {
            std::thread::sleep(Duration::from_millis(10));
            if self.over.load(Ordering::Relaxed) {
                break;
            }
        }
        self.over.store(true, Ordering::Relaxed);
    }
}

/// One client, and what it has seen and been promised.
struct Actor<'a> {
    stage: &'a Stage,
    name: usize,
    client: Option<Client>,
    requests: usize,
    history: Vec<Event>,
    chunks: Vec<Chunk>,
    transactions: Vec<(String, String, String)>,
}

impl<'a> Actor<'a> {
    fn new(stage: &'a Stage, name: usize) -> Self {
        Self {
            stage,
            name,
            client: None,
            requests: 0,
            history: Vec::new(),
            chunks: Vec::new(),
            transactions: Vec::new(),
        }
    }

    /// Goes on until the play is over, or ends it with an answer that should not have come.
    fn act(&mut self) {
        for round in 0.. {
            if self.stage.over.load(Ordering::Relaxed) {
                break;
            }
            if let Err(answer) = self.round(round) {
                return self.stage.stop(*answer);
            }
        }
        if let Err(answer) = self.head() {
            self.stage.stop(*answer);
        }
    }

    /// Asks one of the servers; `None` where it died and nobody knows what it did. Where none can be
    /// reached, another is tried: nothing has happened then.
    fn ask(&mut self, method: &str, rest: &str, body: Option<&[u8]>) -> Option<Answer> {
        let path = format!("/0.1/{}/{rest}", user_id("ada"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.requests += 1;
            if self.requests.is_multiple_of(5) {
                self.client = None;
            }
            let mut client = self.client.take().unwrap_or_else(|| {
                let addresses = self.stage.addresses.lock().unwrap();
                Client::new(addresses[(self.requests / 5 + self.name) % addresses.len()])
            });
            match client.attempt(method, &path, &[], body) {
                // The lock is held: nothing has happened.
                Ok(busy) if busy.status == 503 => {}
                Ok(answer) => {
                    self.client = Some(client);
                    return Some(answer);
                }
                Err(dead) if dead.kind() == std::io::ErrorKind::ConnectionRefused => {
                    std::thread::sleep(Duration::from_millis(3));
                }
                Err(_) => return None,
            }
            assert!(
                Instant::now() < deadline,
                "no server answers {method} {rest}"
            );
        }
    }

    /// The same, until it is answered.
    fn ask_until_told(&mut self, method: &str, rest: &str, body: Option<&[u8]>) -> Answer {
        loop {
            if let Some(answer) = self.ask(method, rest, body) {
                return answer;
            }
        }
    }

    fn note(&mut self, called: u64, operation: Operation) {
        self.history.push(Event {
            called,
            answered: self.stage.tick(),
            operation,
        });
    }

    /// HEAD, noted.
    fn head(&mut self) -> Told<String> {
        let called = self.stage.tick();
        let answer = told(self.ask_until_told("GET", "head", None), 200)?.json();
        let head = answer["head"].as_str().unwrap().to_owned();
        self.note(called, Operation::Read(self.stage.numbers.of(&head)));
        Ok(head)
    }

    /// A chunk, a transaction upon HEAD, an advance; and what came after, by a listing.
    fn round(&mut self, round: usize) -> Told<()> {
        let head = self.head()?;
        let chunk = chunk(format!("{} {round}", self.name));
        let put = format!("chunks/{}", chunk.id);
        told(self.ask_until_told("PUT", &put, Some(&chunk.bytes)), 201)?;
        let id = transaction_id(&format!("{} {round}", self.name));
        let body = transaction_json(&head, &[&chunk.id]);
        let put = format!("transactions/{id}");
        told(self.ask_until_told("PUT", &put, Some(body.as_bytes())), 201)?;
        self.transactions
            .push((id.clone(), head.clone(), chunk.id.clone()));
        self.chunks.push(chunk);

        let (from, to) = (self.stage.numbers.of(&head), self.stage.numbers.of(&id));
        let body = json!({ "head": id }).to_string();
        let called = self.stage.tick();
        let operation = match self.ask("PUT", "head", Some(body.as_bytes())) {
            None => Operation::Perhaps(from, to),
            Some(answer) if answer.status == 204 => {
                self.stage.advances.fetch_add(1, Ordering::Relaxed);
                Operation::Advance(from, to)
            }
            Some(answer) => {
                let told = told(answer, 409)?.expect_refusal(409, "not-a-descendant");
                let seen = told.json()["head"].as_str().unwrap().to_owned();
                Operation::Refused(from, to, self.stage.numbers.of(&seen))
            }
        };
        self.note(called, operation);
        if round.is_multiple_of(2) && self.stage.is_sound {
            self.checkpoint(&head)?;
        }

        if round.is_multiple_of(3) {
            let called = self.stage.tick();
            let rest = format!("transactions?from={head}");
            let listing = told(self.ask_until_told("GET", &rest, None), 200)?.json();
            let last = listing["transactions"].as_array().unwrap().last();
            let last = last.map_or(head.as_str(), |id| id.as_str().unwrap());
            let last = self.stage.numbers.of(last);
            self.note(called, Operation::Read(last));
        }
        Ok(())
    }

    /// A checkpoint of this transaction of the chain, with a chunk of its own; and what is told then.
    fn checkpoint(&mut self, of: &str) -> Told<()> {
        if of == ROOT {
            return Ok(());
        }
        let own = chunk(format!("{} {of}", self.name));
        let put = format!("chunks/{}", own.id);
        told(self.ask_until_told("PUT", &put, Some(&own.bytes)), 201)?;
        let body = json!({ "transaction": of, "chunks": [own.id] }).to_string();
        match self.ask("PUT", "checkpoint", Some(body.as_bytes())) {
            None => {}
            Some(answer) if answer.status == 204 => {
                self.stage.checkpoints.fetch_add(1, Ordering::Relaxed);
            }
            Some(answer) => {
                let older = told(answer, 409)?.expect_refusal(409, "checkpoint-older");
                self.checkpoint_told(&older.json()["checkpoint"], 0);
            }
        }
        let floor = self.stage.checkpoint.load(Ordering::SeqCst);
        let answer = self.ask_until_told("GET", "checkpoint", None);
        if answer.status == 404 && floor == 0 {
            return Ok(());
        }
        let newest = told(answer, 200)?.json();
        self.checkpoint_told(&newest, floor);
        let named = format!("chunks/{}", newest["chunks"][0].as_str().unwrap());
        told(self.ask_until_told("GET", &named, None), 200)?;
        Ok(())
    }

    /// It never goes back.
    fn checkpoint_told(&self, checkpoint: &Value, floor: u64) {
        let seq = checkpoint["seq"].as_u64().unwrap();
        assert!(seq >= floor, "{checkpoint} is told after number {floor}");
        self.stage.checkpoint.fetch_max(seq, Ordering::SeqCst);
    }
}

/// What was asked for, or the answer that should not have come.
type Told<T> = Result<T, Box<Answer>>;

fn told(answer: Answer, status: u16) -> Told<Answer> {
    match answer.status == status {
        true => Ok(answer),
        false => Err(Box::new(answer)),
    }
}

/// Numbers that nobody can foretell, nor needs to.
fn any_below(bound: u64) -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 % bound
}

/// Kills and starts one server, again and again, if it is to be. On a busy machine, where it starts late, it lives
/// longer too: otherwise no request would ever come to its end.
fn live_and_die(mut server: Server, n: usize, plan: &Plan, stage: &Stage) -> Server {
    let mut start = Duration::ZERO;
    while plan.kills && !stage.over.load(Ordering::Relaxed) {
        let more = any_below(8 * start.as_millis() as u64 + 1);
        std::thread::sleep(Duration::from_millis(50 + any_below(250) + more));
        let since = Instant::now();
        server = server.crash();
        start = since.elapsed();
        stage.kills.fetch_add(1, Ordering::Relaxed);
        stage.addresses.lock().unwrap()[n] = server.address();
    }
    server
}

fn act(plan: &Plan) -> Outcome {
    let data = Arc::new(tempfile::tempdir().unwrap());
    // Where a killed one listened, another test's server may listen a moment later; but not at this address.
    let byte = || any_below(254) as u8 + 1;
    let host = Ipv4Addr::new(127, byte(), byte(), byte());
    let servers: Vec<Server> = (0..plan.servers)
        .map(|_| {
            let mut command = binary();
            command.envs(plan.mistake.map(|name| ("MENTAT_SYNC_MISTAKE", name)));
            Server::launch_at(host, command, Arc::clone(&data), &[])
        })
        .collect();
    let stage = Stage {
        addresses: Mutex::new(servers.iter().map(Server::address).collect()),
        clock: AtomicU64::new(1),
        kills: AtomicU64::new(0),
        advances: AtomicU64::new(0),
        checkpoint: AtomicU64::new(0),
        checkpoints: AtomicU64::new(0),
        is_sound: plan.mistake.is_none(),
        over: AtomicBool::new(false),
        numbers: Numbers::default(),
        wrong: Mutex::default(),
    };
    assert_eq!(stage.numbers.of(ROOT), 0);
    let (actors, servers) = std::thread::scope(|scope| {
        let stage = &stage;
        let lives: Vec<_> = servers
            .into_iter()
            .enumerate()
            .map(|(n, server)| scope.spawn(move || live_and_die(server, n, plan, stage)))
            .collect();
        let actors: Vec<_> = (0..plan.clients)
            .map(|name| {
                scope.spawn(move || {
                    let mut actor = Actor::new(stage, name);
                    actor.act();
                    (actor.history, actor.chunks, actor.transactions)
                })
            })
            .collect();
        stage.play(plan);
        let actors: Vec<_> = actors
            .into_iter()
            .map(|actor| actor.join().unwrap())
            .collect();
        let servers = lives.into_iter().map(|life| life.join().unwrap()).collect();
        (actors, servers)
    });
    let mut outcome = Outcome {
        kills: stage.kills.into_inner(),
        checkpoint: stage.checkpoint.into_inner(),
        checkpoints: stage.checkpoints.into_inner(),
        history: Vec::new(),
        wrong: stage.wrong.into_inner().unwrap(),
        numbers: stage.numbers,
        chunks: Vec::new(),
        transactions: Vec::new(),
        servers,
    };
    for (history, chunks, transactions) in actors {
        outcome.history.extend(history);
        outcome.chunks.extend(chunks);
        outcome.transactions.extend(transactions);
    }
    outcome
}

/// All that was promised is there, and the chain is the one that the history tells.
fn keep_all_promises(outcome: &Outcome) {
    let heads = linear::chain(&outcome.history).unwrap();
    let names = &outcome.numbers.0.lock().unwrap().1;
    let expected: Vec<&String> = heads.iter().skip(1).map(|n| &names[*n as usize]).collect();
    for server in &outcome.servers {
        let mut device = server.device("ada");
        assert_eq!(
            device.chain_after(ROOT).iter().collect::<Vec<_>>(),
            expected
        );
    }
    let mut device = outcome.servers[0].device("ada");
    if outcome.checkpoint > 0 {
        let newest = device.get("checkpoint").expect(200).json();
        assert!(
            newest["seq"].as_u64() >= Some(outcome.checkpoint),
            "{newest}"
        );
    }
    let seqs: BTreeMap<&String, u64> = expected.into_iter().zip(1..).collect();
    for chunk in &outcome.chunks {
        let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
        assert_eq!(got.body, chunk.bytes);
    }
    for (id, parent, chunk) in &outcome.transactions {
        match seqs.get(id) {
            Some(seq) => {
                let there = device.get(&format!("transactions/{id}")).expect(200).json();
                let expected: Value =
                    json!({"id": id, "seq": seq, "parent": parent, "chunks": [chunk]});
                assert_eq!(there, expected);
            }
            // One that is not visible is there if its id is taken.
            None => {
                device
                    .put_transaction(id, parent, &[])
                    .expect_refusal(409, "transaction-exists");
            }
        }
    }
}

/// How long servers are killed: `scripts/kill-test` takes its time.
fn time() -> Duration {
    let seconds = effort::chosen("KILL_TEST_SECONDS");
    Duration::from_secs(seconds.unwrap_or(effort::either(2, 8)))
}

#[test]
fn head_is_linearizable_while_its_servers_are_killed() {
    let (mut kills, mut operations, mut found) = (0, 0, 0);
    for (servers, clients) in [(2, 8), (4, 16)] {
        let plan = Plan {
            servers,
            clients,
            time: time(),
            kills: true,
            mistake: None,
        };
        let outcome = act(&plan);
        assert!(outcome.wrong.is_empty(), "{:?}", outcome.wrong);
        let start = Instant::now();
        linear::is_linearizable(&outcome.history).unwrap();
        let checked = start.elapsed();
        keep_all_promises(&outcome);
        let count = |wanted: fn(&Operation) -> bool| {
            let matching = |event: &&Event| wanted(&event.operation);
            outcome.history.iter().filter(matching).count()
        };
        println!(
            "{servers} servers, {clients} clients, {} kills: {} operations on HEAD ({} advances, {} refused, \
             {} never answered) are linearizable, decided in {:.1} ms; {} chunks and {} transactions found",
            outcome.kills,
            outcome.history.len(),
            count(|operation| matches!(operation, Operation::Advance(..))),
            count(|operation| matches!(operation, Operation::Refused(..))),
            count(|operation| matches!(operation, Operation::Perhaps(..))),
            checked.as_secs_f64() * 1000.0,
            outcome.chunks.len(),
            outcome.transactions.len(),
        );
        assert!(
            outcome.kills >= ENOUGH,
            "{} kills are no test",
            outcome.kills
        );
        let advances = count(|operation| matches!(operation, Operation::Advance(..)));
        assert!(advances as u64 >= ENOUGH, "{advances} advances are no test");
        assert!(outcome.checkpoints > 0, "no checkpoint was put");
        kills += outcome.kills;
        operations += outcome.history.len();
        found += outcome.chunks.len() + outcome.transactions.len();
    }
    println!(
        "kill-test: {kills} kills, {operations} operations on HEAD linearizable, {found} acknowledged chunks and \
         transactions found; 0 violations"
    );
}

#[test]
fn servers_that_take_no_lock_are_caught() {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let plan = Plan {
            servers: 3,
            clients: 8,
            time: Duration::from_secs(1),
            kills: false,
            mistake: Some("NoLock"),
        };
        if let Err(how) = linear::is_linearizable(&act(&plan).history) {
            return println!("no lock: caught, {how}");
        }
        assert!(Instant::now() < deadline, "nobody noticed");
    }
}
