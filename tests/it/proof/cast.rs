//! Who plays in the scenarios: one user, a few chunks, and transactions called as in the model
//! (`A` on the root, `B` on `A`, `S` a sibling of `A`, …).

use std::sync::OnceLock;

use mentat_sync::disk::Place;
use mentat_sync::model::{ChunkDigest, ChunkId, TransactionId, UserId};
use mentat_sync::store::Proposal;
use sha2::{Digest, Sha256};

/// What a chunk is called here. `ua` is an alias (a uuid) of `a`, and `ub` of `b`.
pub type Chunk = &'static str;

/// What a transaction's content is called here: `A*` is other content under the id of `A`.
pub type Content = &'static str;

/// A transaction that the scenarios know.
#[derive(Debug)]
pub struct Known {
    pub name: Content,
    pub id: TransactionId,
    pub parent: TransactionId,
    pub seq: u64,
    pub chunks: &'static [Chunk],
}

type Row = (Content, &'static str, u64, &'static [Chunk]);

/// Name, parent, seq, chunks.
const ROWS: [Row; 13] = [
    ("A", "root", 1, &["a"]),
    ("A*", "root", 1, &[]),
    ("B", "A", 2, &["b"]),
    ("C", "B", 3, &["a"]),
    ("N", "root", 1, &["b"]),
    ("S", "root", 1, &["a"]),
    ("Z", "A", 2, &["a"]),
    ("D", "C", 4, &["c", "a", "c"]),
    ("U", "root", 1, &["ua", "b"]),
    ("V", "U", 2, &["ua", "ub"]),
    ("X", "root", 1, &["x"]),
    ("E", "root", 1, &[]),
    ("W", "B", 3, &["x"]),
];

/// The user of every scenario.
pub fn user() -> UserId {
    UserId::from_bytes([0x11; 16])
}

/// The user's folder.
pub fn folder() -> Place {
    Place::new("users").join(&user().to_string())
}

/// The id of a transaction. `A`, `B` and `C` share a directory once committed.
pub fn id(name: Content) -> TransactionId {
    let letter = name.as_bytes()[0];
    let first = match letter {
        _ if name == "root" => return TransactionId::ROOT,
        b'A'..=b'C' => 0xaa,
        other => other,
    };
    let mut bytes = [letter; 16];
    bytes[0] = first;
    TransactionId::from_bytes(bytes)
}

/// Every transaction that the scenarios know.
pub fn all() -> &'static [Known] {
    static ALL: OnceLock<Vec<Known>> = OnceLock::new();
    ALL.get_or_init(|| {
        let known = |&(name, parent, seq, chunks): &Row| Known {
            name,
            id: id(name),
            parent: id(parent),
            seq,
            chunks,
        };
        ROWS.iter().map(known).collect()
    })
}

/// The transaction with this content.
pub fn known(name: Content) -> &'static Known {
    let found = all().iter().find(|known| known.name == name);
    found.unwrap_or_else(|| panic!("nobody is called {name}"))
}

/// A transaction of this id, whatever its content: all of them have the same parent.
fn any_of(id: TransactionId) -> Option<&'static Known> {
    all().iter().find(|known| known.id == id)
}

/// From the root (excluded) to this transaction; `None` for one that nobody knows.
pub fn line(to: TransactionId) -> Option<Vec<TransactionId>> {
    let (mut line, mut here) = (Vec::new(), to);
    while here != TransactionId::ROOT {
        line.push(here);
        here = any_of(here)?.parent;
    }
    line.reverse();
    Some(line)
}

/// Whether `below` is `of` or one of its ancestors.
pub fn is_on_line(below: TransactionId, of: TransactionId) -> bool {
    below == TransactionId::ROOT || line(of).is_some_and(|line| line.contains(&below))
}

impl Known {
    /// What is put.
    pub fn proposal(&self) -> Proposal {
        Proposal {
            id: self.id,
            parent: self.parent,
            chunks: self.chunks.iter().map(|name| chunk_id(name)).collect(),
            seq: None,
        }
    }

    /// The transaction's file (DESIGN, Files).
    pub fn json(&self) -> String {
        let chunks: Vec<_> = (self.chunks.iter())
            .map(|name| format!("\"{}\"", chunk_id(name)))
            .collect();
        format!(
            "{{\"id\":\"{}\",\"seq\":{},\"parent\":\"{}\",\"chunks\":[{}]}}\n",
            self.id,
            self.seq,
            self.parent,
            chunks.join(",")
        )
    }
}

/// The transaction that a file holds, if it is one that the scenarios know.
pub fn read(bytes: &[u8]) -> Option<&'static Known> {
    static FILES: OnceLock<Vec<String>> = OnceLock::new();
    let files = FILES.get_or_init(|| all().iter().map(Known::json).collect());
    let index = files.iter().position(|file| file.as_bytes() == bytes)?;
    Some(&all()[index])
}

/// A chunk that the scenarios know.
struct Piece {
    name: Chunk,
    bytes: Vec<u8>,
    id: ChunkId,
    /// The path of its bytes in an area, and of its alias if it is called by one.
    files: Vec<String>,
}

impl Piece {
    fn new(name: Chunk, bytes: Vec<u8>) -> Self {
        let digest = digest(&bytes);
        let fan = |shelf: &str, id: &str| format!("{shelf}/{}/{id}", &id[..2]);
        let mut files = vec![fan("chunks", &digest.to_string())];
        let mut id = ChunkId::Digest(digest);
        if let "ua" | "ub" = name {
            let uuid = format!("0{}000000-0000-4000-8000-000000000000", &name[1..]);
            files.push(fan("aliases", &uuid));
            id = uuid.parse().expect("it is a uuid");
        }
        Self {
            name,
            bytes,
            id,
            files,
        }
    }
}

fn piece(name: Chunk) -> &'static Piece {
    static PIECES: OnceLock<Vec<Piece>> = OnceLock::new();
    let pieces = PIECES.get_or_init(|| {
        let a = b"chunk a ".repeat(5);
        // In the same directory as `a`: one in 256 is.
        let first = |bytes: &[u8]| digest(bytes).as_bytes()[0];
        let b = |n: u32| format!("chunk b {n} ").repeat(7).into_bytes();
        let b = (0..).map(b).find(|b| first(b) == first(&a));
        let b = b.expect("numbers do not end");
        let other = |name| Piece::new(name, format!("chunk {name} ").repeat(9).into_bytes());
        vec![
            Piece::new("a", a.clone()),
            Piece::new("b", b.clone()),
            Piece::new("ua", a),
            Piece::new("ub", b),
            Piece::new("empty", Vec::new()),
            other("c"),
            other("x"),
            other("fresh"),
        ]
    });
    let found = pieces.iter().find(|piece| piece.name == name);
    found.unwrap_or_else(|| panic!("no chunk is called {name}"))
}

/// The bytes of a chunk. Those of `a`, `b` and their aliases share a directory.
pub fn chunk_bytes(name: Chunk) -> &'static [u8] {
    &piece(name).bytes
}

/// What a chunk is called on the wire.
pub fn chunk_id(name: Chunk) -> ChunkId {
    piece(name).id
}

/// The file of a chunk's bytes, and of its alias if it is called by one, in this area.
pub fn chunk_files(area: &Place, name: Chunk) -> Vec<Place> {
    let files = piece(name).files.iter();
    files.map(|file| area.join(file)).collect()
}

/// The SHA-256 of these bytes.
pub fn digest(bytes: &[u8]) -> ChunkDigest {
    ChunkDigest::from_bytes(Sha256::digest(bytes).into())
}

/// A bundle of these transactions and their chunks; HEAD, where it has one, is the last.
pub fn bundle(names: &[Content], with_head: bool, spare: &[Chunk]) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut add = |name: &str, contents: &[u8]| tar.add(name, contents);
    for name in names {
        let known = known(name);
        for chunk in known.chunks {
            let bytes = chunk_bytes(chunk);
            let digest = digest(bytes).to_string();
            add(&format!("chunks/{}/{digest}", &digest[..2]), bytes);
            if let ChunkId::Alias(alias) = chunk_id(chunk) {
                let alias = alias.to_string();
                let line = format!("{digest}\n");
                add(&format!("aliases/{}/{alias}", &alias[..2]), line.as_bytes());
            }
        }
        let id = known.id.to_string();
        add(
            &format!("transactions/{}/{id}.json", &id[..2]),
            known.json().as_bytes(),
        );
    }
    for chunk in spare {
        let digest = digest(chunk_bytes(chunk)).to_string();
        let name = format!("chunks/{}/{digest}", &digest[..2]);
        add(&name, chunk_bytes(chunk));
    }
    if let Some(last) = names.last().filter(|_| with_head) {
        add("HEAD", format!("{}\n", id(last)).as_bytes());
    }
    tar.end()
}

/// A bundle in the making.
pub struct Tar(tar::Builder<Vec<u8>>);

impl Default for Tar {
    fn default() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }
}

impl Tar {
    /// One more member.
    pub fn add(&mut self, name: &str, contents: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        (self.0.append_data(&mut header, name, contents)).expect("a Vec takes whatever is written");
    }

    /// The whole of it.
    pub fn end(self) -> Vec<u8> {
        (self.0.into_inner()).expect("a Vec takes whatever is written")
    }
}

/// The committed file of a transaction.
pub fn committed_file(id: TransactionId) -> Place {
    let id = id.to_string();
    folder()
        .join("transactions")
        .join(&id[..2])
        .join(&format!("{id}.json"))
}

/// The pending file of a transaction.
pub fn pending_file(id: TransactionId) -> Place {
    folder()
        .join("incoming/transactions")
        .join(&format!("{id}.json"))
}
