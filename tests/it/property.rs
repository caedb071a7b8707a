use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use proptest::{collection, option};
use serde_json::{Value, json};

use crate::kit::{Answer, Chunk, Device, ROOT, Server, chunk, effort, transaction_id, user_id};

/// How many chunks and transactions a history plays with: few, so that they meet.
const CHUNKS: u8 = 5;
const TRANSACTIONS: u8 = 14;
const USERS: usize = 2;
/// Devices 0 and 1 talk to one process, device 2 to another one on the same directory.
const DEVICES: usize = 3;

/// A transaction, as a step names it: so that most steps mean something, whatever came before.
#[derive(Clone, Debug)]
enum Which {
    Root,
    Head,
    /// So many behind HEAD.
    Behind(usize),
    /// The one uploaded so many uploads ago, and not committed.
    Pending(usize),
    Any(u8),
}

#[derive(Clone, Debug)]
enum Step {
    PutChunk(u8),
    /// Other bytes than the digest's.
    PutWrong(u8),
    GetChunk(u8),
    PutTransaction {
        id: u8,
        parent: Which,
        chunks: Vec<u8>,
    },
    /// The one uploaded so many uploads ago, once more as it was.
    Replay(usize),
    GetTransaction(Which),
    PutHead(Which),
    Head,
    List {
        from: Which,
        limit: Option<u64>,
    },
    /// One of the two processes ends, by SIGTERM or by SIGKILL, and another takes its place.
    Restart {
        second: bool,
        kill: bool,
    },
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        1 => Just(Which::Root),
        4 => Just(Which::Head),
        1 => (1_usize..4).prop_map(Which::Behind),
        4 => (0_usize..3).prop_map(Which::Pending),
        1 => (1..=TRANSACTIONS).prop_map(Which::Any),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => (0..CHUNKS).prop_map(Step::PutChunk),
        2 => (0..CHUNKS).prop_map(Step::PutWrong),
        4 => (0..CHUNKS).prop_map(Step::GetChunk),
        32 => (1..=TRANSACTIONS, which(), collection::vec(0..CHUNKS, 0..3))
            .prop_map(|(id, parent, chunks)| Step::PutTransaction { id, parent, chunks }),
        4 => (0_usize..6).prop_map(Step::Replay),
        6 => which().prop_map(Step::GetTransaction),
        24 => which().prop_map(Step::PutHead),
        4 => Just(Step::Head),
        6 => (which(), option::of(1_u64..6)).prop_map(|(from, limit)| Step::List { from, limit }),
        1 => (proptest::bool::ANY, proptest::bool::ANY)
            .prop_map(|(second, kill)| Step::Restart { second, kill }),
    ]
}

/// Who takes a step: mostly the same user, from any device.
fn history() -> impl Strategy<Value = Vec<(usize, usize, Step)>> {
    let user = prop_oneof![4 => Just(0), 1 => Just(1)];
    collection::vec((0..DEVICES, user, step()), 1..60)
}

/// What an answer must be: a status, and a code where it is a refusal.
#[derive(Debug, PartialEq)]
struct Expected {
    status: u16,
    code: Option<&'static str>,
    /// Fields of the answer's JSON.
    fields: Vec<(&'static str, Value)>,
}

fn success(status: u16) -> Expected {
    Expected {
        status,
        code: None,
        fields: Vec::new(),
    }
}

fn refusal(status: u16, code: &'static str) -> Expected {
    Expected {
        status,
        code: Some(code),
        fields: Vec::new(),
    }
}

impl Expected {
    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

/// The transaction with this number; 0 is the root.
fn name(number: u8) -> String {
    match number {
        0 => ROOT.to_owned(),
        _ => transaction_id(&number.to_string()),
    }
}

fn bytes(number: u8) -> Chunk {
    chunk(format!("chunk {number}"))
}

fn names(numbers: &[u8]) -> Value {
    numbers.iter().copied().map(name).collect()
}

/// The protocol's rules, about one user, and nothing else: no files, no time, no failure.
#[derive(Default)]
struct Model {
    chunks: BTreeSet<u8>,
    /// Parent and chunks of everything accepted.
    transactions: BTreeMap<u8, (u8, Vec<u8>)>,
    /// Ids in the order in which they were accepted.
    uploads: Vec<u8>,
    chain: Vec<u8>,
}

impl Model {
    fn head(&self) -> u8 {
        self.chain.last().copied().unwrap_or(0)
    }

    fn on_chain(&self, id: u8) -> bool {
        id == 0 || self.chain.contains(&id)
    }

    fn seq(&self, id: u8) -> u64 {
        match self.transactions.get(&id) {
            Some((parent, _)) => self.seq(*parent) + 1,
            None => 0,
        }
    }

    fn find(&self, which: &Which) -> u8 {
        match *which {
            Which::Root => 0,
            Which::Head => self.head(),
            Which::Behind(steps) => match self.chain.len().checked_sub(steps + 1) {
                Some(place) => self.chain[place],
                None => 0,
            },
            Which::Pending(ago) => {
                let mut pending = self.uploads.iter().rev().filter(|id| !self.on_chain(**id));
                pending.nth(ago).copied().unwrap_or(self.head())
            }
            Which::Any(id) => id,
        }
    }

    fn put_transaction(&mut self, id: u8, parent: u8, chunks: &[u8]) -> Expected {
        if id == 0 || id == parent {
            return refusal(400, "invalid-transaction");
        }
        if parent != 0 && !self.transactions.contains_key(&parent) {
            return refusal(409, "unknown-parent");
        }
        if let Some(known) = self.transactions.get(&id)
            && *known != (parent, chunks.to_vec())
        {
            return refusal(409, "transaction-exists");
        }
        let mut missing: Vec<String> = Vec::new();
        for number in chunks.iter().filter(|number| !self.chunks.contains(number)) {
            let id = bytes(*number).id;
            if !missing.contains(&id) {
                missing.push(id);
            }
        }
        if !missing.is_empty() {
            return refusal(404, "missing-chunks").with("missing", missing);
        }
        if self
            .transactions
            .insert(id, (parent, chunks.to_vec()))
            .is_none()
        {
            self.uploads.push(id);
        }
        success(201)
    }

    fn put_head(&mut self, to: u8) -> Expected {
        let refused = |model: &Self, code| {
            refusal(409, code)
                .with("head", name(model.head()))
                .with("seq", model.seq(model.head()))
        };
        if self.on_chain(to) {
            return refused(self, "not-a-descendant");
        }
        let mut added = Vec::new();
        let mut at = to;
        while !self.on_chain(at) {
            let Some((parent, _)) = self.transactions.get(&at) else {
                return refused(self, "unknown-transaction");
            };
            added.push(at);
            at = *parent;
        }
        if at != self.head() {
            return refused(self, "not-a-descendant");
        }
        let mut children: Vec<String> = (self.transactions.iter())
            .filter(|(_, (parent, _))| *parent == to)
            .map(|(id, _)| name(*id))
            .collect();
        if !children.is_empty() {
            children.sort();
            return refused(self, "has-descendants").with("descendants", children);
        }
        self.chain.extend(added.iter().rev());
        success(204)
    }

    fn get_transaction(&self, id: u8) -> Expected {
        if id == 0 {
            return success(200).with("seq", 0).with("parent", Value::Null);
        }
        if !self.on_chain(id) {
            return refusal(404, "unknown-transaction");
        }
        let (parent, chunks) = &self.transactions[&id];
        let chunks: Value = chunks.iter().map(|number| bytes(*number).id).collect();
        success(200)
            .with("id", name(id))
            .with("seq", self.seq(id))
            .with("parent", name(*parent))
            .with("chunks", chunks)
    }

    fn list(&self, from: u8, limit: Option<u64>) -> Expected {
        if !self.on_chain(from) {
            return refusal(404, "unknown-transaction");
        }
        let after = &self.chain[self.seq(from) as usize..];
        let count = limit.map_or(after.len(), |limit| after.len().min(limit as usize));
        success(200)
            .with("from", name(from))
            .with("limit", limit.unwrap_or(1_000_000))
            .with("transactions", names(&after[..count]))
    }
}

/// Two processes on one directory, kept from history to history: a history has users of its own.
struct Servers {
    pair: [Option<Server>; 2],
    histories: usize,
}

impl Servers {
    fn restart(&mut self, second: bool, kill: bool) {
        let place = &mut self.pair[usize::from(second)];
        let server = place.take().expect("there are always two");
        *place = Some(if kill {
            server.crash()
        } else {
            server.restart()
        });
    }

    fn device(&self, device: usize, user: &str) -> Device {
        let server = self.pair[usize::from(device == 2)].as_ref();
        Device::new(server.expect("there are always two").address(), user)
    }
}

/// The user ids of this history, and a connection per device and user.
struct Players {
    users: [String; USERS],
    devices: Vec<Option<Device>>,
}

impl Players {
    fn device(&mut self, servers: &Servers, device: usize, user: usize) -> &mut Device {
        self.devices[device * USERS + user]
            .get_or_insert_with(|| servers.device(device, &self.users[user]))
    }
}

fn check(what: &str, answer: Answer, expected: &Expected) -> Result<(), TestCaseError> {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let fail = |why: String| Err(TestCaseError::fail(format!("{what}: {why}: {body}")));
    if answer.status != expected.status {
        return fail(format!("{} instead of {expected:?}", answer.status));
    }
    if expected.code.is_none() && expected.fields.is_empty() {
        return Ok(());
    }
    let mut said = answer.json();
    if let Some(code) = expected.code
        && said["code"] != code
    {
        return fail(format!("not {code}"));
    }
    if let Some(children) = said["descendants"].as_array_mut() {
        // Which of them comes first is not promised.
        children.sort_by_key(|id| id.as_str().map(str::to_owned));
    }
    for (field, value) in &expected.fields {
        if said[field] != *value {
            return fail(format!("{field} is not {value}"));
        }
    }
    Ok(())
}

fn replay(servers: &mut Servers, history: &[(usize, usize, Step)]) -> Result<(), TestCaseError> {
    servers.histories += 1;
    let users = [0, 1].map(|user| user_id(&format!("{} {user}", servers.histories)));
    let mut players = Players {
        users,
        devices: (0..DEVICES * USERS).map(|_| None).collect(),
    };
    let mut models: [Model; USERS] = Default::default();
    for (number, (device, user, step)) in history.iter().enumerate() {
        let what = format!("step {number}, {step:?}");
        let model = &mut models[*user];
        if let Step::Restart { second, kill } = step {
            servers.restart(*second, *kill);
            players.devices.fill_with(|| None);
            continue;
        }
        let device = players.device(servers, *device, *user);
        let (answer, expected) = match step {
            Step::PutChunk(number) => {
                model.chunks.insert(*number);
                (device.put_chunk(&bytes(*number)), success(201))
            }
            Step::PutWrong(number) => {
                let path = format!("chunks/{}", bytes(*number).id);
                (device.put(&path, "wrong"), refusal(400, "digest-mismatch"))
            }
            Step::GetChunk(number) => {
                let wanted = bytes(*number);
                let answer = device.get(&format!("chunks/{}", wanted.id));
                if !model.chunks.contains(number) {
                    (answer, refusal(404, "unknown-chunk"))
                } else if answer.body == wanted.bytes {
                    (answer, success(200))
                } else {
                    return Err(TestCaseError::fail(format!("{what}: other bytes")));
                }
            }
            Step::PutTransaction { id, parent, chunks } => {
                let parent = model.find(parent);
                put_transaction(device, model, *id, parent, chunks)
            }
            Step::Replay(ago) => {
                let Some(id) = model.uploads.iter().rev().nth(*ago).copied() else {
                    continue;
                };
                let (parent, chunks) = model.transactions[&id].clone();
                put_transaction(device, model, id, parent, &chunks)
            }
            Step::GetTransaction(which) => {
                let id = model.find(which);
                let answer = device.get(&format!("transactions/{}", name(id)));
                (answer, model.get_transaction(id))
            }
            Step::PutHead(which) => {
                let id = model.find(which);
                (device.put_head(&name(id)), model.put_head(id))
            }
            Step::Head => (
                device.get("head"),
                success(200)
                    .with("head", name(model.head()))
                    .with("seq", model.seq(model.head())),
            ),
            Step::List { from, limit } => {
                let from = model.find(from);
                let limited = limit.map_or(String::new(), |limit| format!("&limit={limit}"));
                let path = format!("transactions?from={}{limited}", name(from));
                (device.get(&path), model.list(from, *limit))
            }
            Step::Restart { .. } => unreachable!("done above"),
        };
        check(&what, answer, &expected)?;
    }

    // At the end both processes say of everything what the model says.
    for (user, model) in models.iter().enumerate() {
        for device in [0, 2] {
            let device = players.device(servers, device, user);
            check(
                "the chain",
                device.get("transactions"),
                &model.list(0, None),
            )?;
            for id in 0..=TRANSACTIONS {
                let answer = device.get(&format!("transactions/{}", name(id)));
                check("a transaction", answer, &model.get_transaction(id))?;
            }
            for number in 0..CHUNKS {
                let answer = device.get(&format!("chunks/{}", bytes(number).id));
                let there = model.chunks.contains(&number);
                assert_eq!(answer.status, if there { 200 } else { 404 });
            }
        }
    }
    Ok(())
}

fn put_transaction(
    device: &mut Device,
    model: &mut Model,
    id: u8,
    parent: u8,
    chunks: &[u8],
) -> (Answer, Expected) {
    let ids: Vec<String> = chunks.iter().map(|number| bytes(*number).id).collect();
    let body = json!({ "parent": name(parent), "chunks": ids });
    let answer = device.put(&format!("transactions/{}", name(id)), body.to_string());
    (answer, model.put_transaction(id, parent, chunks))
}

/// `PROPTEST_CASES` says how many histories; a failure prints the shortest one that was found.
#[test]
fn any_history_goes_as_the_rules_say() {
    let first = Server::start();
    let second = first.another();
    let servers = RefCell::new(Servers {
        pair: [Some(first), Some(second)],
        histories: 0,
    });
    let cases = effort::chosen("PROPTEST_CASES").unwrap_or(effort::either(32, 128));
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    });
    let outcome = runner.run(&history(), |history| {
        replay(&mut servers.borrow_mut(), &history)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
