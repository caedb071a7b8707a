//! What a client asks for, and what must hold of the answer and of the data afterwards.

use serde_json::json;

use super::AFTERWARDS;
use crate::kit::{
    Answer, Chunk, Device, ROOT, Server, chunk, transaction_id, transaction_json, tree, user_id,
};

/// The media type of a version.
const SEGMENT: &str = "application/vnd.taskchampion.history-segment";

/// What a client asks for, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    FirstChunk,
    Chunk,
    /// One that is written and hashed while it comes.
    LargeChunk,
    SameChunk,
    Transaction,
    SameTransaction,
    Advance,
    Bundle,
    Version,
    Missing,
    /// The first one.
    Checkpoint,
    /// Another of the same transaction.
    OtherCheckpoint,
    Delete,
    ReadHead,
    ReadChain,
    ReadTransaction,
    ReadChunk,
    ReadCheckpoint,
}

impl Act {
    pub const ALL: [Act; 18] = [
        Act::FirstChunk,
        Act::Chunk,
        Act::LargeChunk,
        Act::SameChunk,
        Act::Transaction,
        Act::SameTransaction,
        Act::Advance,
        Act::Bundle,
        Act::Version,
        Act::Missing,
        Act::Checkpoint,
        Act::OtherCheckpoint,
        Act::Delete,
        Act::ReadHead,
        Act::ReadChain,
        Act::ReadTransaction,
        Act::ReadChunk,
        Act::ReadCheckpoint,
    ];

    pub fn reads(self) -> bool {
        self >= Act::ReadHead
    }
}

/// One user, prepared for one act.
pub struct Scene {
    pub name: String,
    pub act: Act,
    /// Committed; uploaded; and not there yet.
    chunks: [Chunk; 3],
    /// Not there yet, either.
    large: Chunk,
    /// HEAD; and two more upon it.
    transactions: [String; 3],
}

impl Scene {
    /// Prepares a user whom nobody else has. All must succeed.
    pub fn new(server: &Server, act: Act, number: usize) -> Self {
        let name = format!("user {number}");
        let scene = Self {
            chunks: ["a", "b", "c"].map(chunk),
            large: chunk("large ".repeat(100_000)),
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
                    | Act::Checkpoint
                    | Act::OtherCheckpoint
                    | Act::ReadCheckpoint
            ) {
                device.put_chunk(b).expect(201);
            }
            if matches!(act, Act::OtherCheckpoint | Act::ReadCheckpoint) {
                let body = scene.checkpoint(&[b]);
                device.put("checkpoint", body).expect(204);
                device.put_chunk(c).expect(201);
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

    /// A checkpoint of HEAD.
    fn checkpoint(&self, chunks: &[&Chunk]) -> String {
        let chunks: Vec<_> = chunks.iter().map(|chunk| &chunk.id).collect();
        json!({ "transaction": self.transactions[0], "chunks": chunks }).to_string()
    }

    /// The second and the third transaction with what they name, as a tar.
    pub fn bundle(&self) -> Vec<u8> {
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

    pub fn perform(&self, server: &Server) -> std::io::Result<Answer> {
        let [a, b, c] = &self.chunks;
        let [one, two, three] = &self.transactions;
        let (method, rest, body) = match self.act {
            Act::FirstChunk => ("PUT", format!("chunks/{}", a.id), Some(a.bytes.clone())),
            Act::Chunk => ("PUT", format!("chunks/{}", c.id), Some(c.bytes.clone())),
            Act::LargeChunk => {
                let Chunk { id, bytes } = &self.large;
                ("PUT", format!("chunks/{id}"), Some(bytes.clone()))
            }
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
            Act::Version => {
                let (user, media) = (user_id(&self.name), SEGMENT);
                let headers = [("x-client-id", user.as_str()), ("content-type", media)];
                let path = format!("/v1/client/add-version/{one}");
                let mut client = server.client();
                return client.attempt("POST", &path, &headers, Some(&c.bytes));
            }
            Act::Missing => {
                let body = json!([a.id, b.id, c.id]).to_string();
                ("POST", "chunks/missing".to_owned(), Some(body.into_bytes()))
            }
            Act::Checkpoint | Act::OtherCheckpoint => {
                let chunks = match self.act {
                    Act::Checkpoint => [a, b],
                    _ => [c, a],
                };
                let body = self.checkpoint(&chunks);
                ("PUT", "checkpoint".to_owned(), Some(body.into_bytes()))
            }
            Act::Delete => ("DELETE", String::new(), None),
            Act::ReadHead => ("GET", "head".to_owned(), None),
            Act::ReadChain => ("GET", "transactions".to_owned(), None),
            Act::ReadTransaction => ("GET", format!("transactions/{one}"), None),
            Act::ReadChunk => ("GET", format!("chunks/{}", a.id), None),
            Act::ReadCheckpoint => ("GET", "checkpoint".to_owned(), None),
        };
        let path = format!("/0.1/{}/{rest}", user_id(&self.name));
        server.client().attempt(method, &path, &[], body.as_deref())
    }

    /// Whether this is the answer that tells the whole truth. `again`: the act had been tried before.
    pub fn is_right(&self, answer: &Answer, again: bool) -> bool {
        let [a, b, c] = &self.chunks;
        let [one, _, three] = &self.transactions;
        match self.act {
            Act::FirstChunk
            | Act::Chunk
            | Act::LargeChunk
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
            // Of a try before, nobody was told the id.
            Act::Version => {
                answer.status == 200 || (again && answer.status == 409 && answer.json()["seq"] == 2)
            }
            Act::Delete | Act::Checkpoint | Act::OtherCheckpoint => answer.status == 204,
            Act::Missing => answer.status == 200 && answer.json() == json!({ "missing": [c.id] }),
            Act::ReadHead => answer.status == 200 && answer.json()["head"] == **one,
            Act::ReadChain => answer.status == 200 && answer.json()["transactions"] == json!([one]),
            Act::ReadTransaction => {
                let expected = json!({"id": one, "seq": 1, "parent": ROOT, "chunks": [a.id]});
                answer.status == 200 && answer.json() == expected
            }
            Act::ReadChunk => answer.status == 200 && answer.body == a.bytes,
            Act::ReadCheckpoint => answer.status == 200 && answer.json()["chunks"] == json!([b.id]),
        }
    }

    /// All that was promised before the act is there, and what the act did is all or nothing;
    /// `done`: it was answered, so it is all.
    pub fn check(&self, server: &Server, done: bool) -> Result<(), String> {
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
            (Act::Version, true) => chain.len() == 2 && chain[..1] == before,
            (Act::Version, false) => chain.len() <= 2 && chain[..1] == before,
            _ => chain == before,
        };
        if !right || chain.last() != Some(&head) {
            return Err(format!("HEAD is {head}, the chain {chain:?}"));
        }
        let uploaded = match self.act {
            Act::Advance => vec![a, b, c],
            Act::Bundle if done => vec![a, b, c],
            Act::Chunk if done => vec![a, c],
            Act::Version if done || chain.len() == 2 => vec![a, c],
            Act::LargeChunk if done => vec![a, &self.large],
            Act::SameChunk | Act::Transaction | Act::SameTransaction | Act::Missing => vec![a, b],
            Act::Checkpoint => vec![a, b],
            Act::OtherCheckpoint | Act::ReadCheckpoint => vec![a, b, c],
            _ => vec![a],
        };
        for chunk in uploaded {
            if !has(&mut device, chunk) {
                return Err(format!("the chunk {} is lost", chunk.id));
            }
        }
        self.check_checkpoint(&mut device, done)?;
        let proposed = self.act == Act::SameTransaction || (self.act == Act::Transaction && done);
        if proposed {
            let other = device.put_transaction(two, one, &[]);
            if other.status != 409 {
                return Err(format!("the transaction is lost: {}", other.status));
            }
        }
        Ok(())
    }

    /// The checkpoint is the one before or the new one, whole; `done`: it is the new one.
    fn check_checkpoint(&self, device: &mut Device, done: bool) -> Result<(), String> {
        let [a, b, c] = &self.chunks;
        let ids =
            |chunks: &[&Chunk]| json!(chunks.iter().map(|chunk| &chunk.id).collect::<Vec<_>>());
        let (before, after) = match self.act {
            Act::Checkpoint => (None, Some(ids(&[a, b]))),
            Act::OtherCheckpoint => (Some(ids(&[b])), Some(ids(&[c, a]))),
            Act::ReadCheckpoint => (Some(ids(&[b])), Some(ids(&[b]))),
            _ => (None, None),
        };
        let answer = device.get("checkpoint");
        let told = match answer.status {
            404 => None,
            200 => Some(answer.json()["chunks"].clone()),
            other => return Err(format!("the checkpoint is answered {other}")),
        };
        match told == after || !done && told == before {
            true => Ok(()),
            false => Err(format!("the checkpoint is {told:?}")),
        }
    }

    /// No temporary file is left, neither the user's nor one of a user being made.
    pub fn is_clean(&self, server: &Server) -> Result<(), String> {
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
