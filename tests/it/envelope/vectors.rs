//! `src/client/vectors.json`, which other implementations are held to: it is read, and it is what this one makes.

use std::path::Path;

use mentat_sync::client::{
    Context, Identity, Keys, Master, Masters, Nonce, OpenError, Said, open, padded, seal,
};
use mentat_sync::model::{ChunkDigest, TransactionId, UserId, limits};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{by_hand, digest, keys, master};

/// A run with this set writes the file anew: after a change of the format, and of nothing else.
const WRITE: &str = "MENTAT_SYNC_WRITE_VECTORS";

const MILK: &[u8] = b"milk";
const NONCE: [u8; 16] = *b" !\"#$%&'()*+,-./";
const JOURNAL: &[u8] = br#"{"v":1,"app":"journal"}"#;
const USER: [u8; 16] = [
    0x67, 0xe5, 0x50, 0x44, 0x10, 0xb1, 0x42, 0x6f, 0x92, 0x47, 0xbb, 0x68, 0x0e, 0x5f, 0xe0, 0xc8,
];

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client/vectors.json")
}

fn read() -> Value {
    serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap()
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a Vec<Value> {
    let list = vectors[name].as_array().unwrap();
    assert!(!list.is_empty(), "{name}");
    list
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// Bytes that are no pattern of 256: a slice has them in the length that no file of the repository should have.
fn counted(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn plaintext(vector: &Value) -> Vec<u8> {
    match vector.get("plaintext") {
        Some(plaintext) => bytes(plaintext),
        None => counted(vector["plaintext_counted"].as_u64().unwrap() as usize),
    }
}

fn place(vector: &Value) -> (TransactionId, u64, Vec<ChunkDigest>) {
    let context = &vector["context"];
    let id = context.get("parent").or(context.get("transaction"));
    let others = context["others"].as_array().unwrap();
    (
        text(id.unwrap()).parse().unwrap(),
        context["seq"].as_u64().unwrap(),
        others
            .iter()
            .map(|other| text(other).parse().unwrap())
            .collect(),
    )
}

fn with_context<T>(vector: &Value, then: impl FnOnce(&Context<'_>) -> T) -> T {
    if vector["kind"] == "data" {
        return then(&Context::Data);
    }
    let (place, seq, others) = place(vector);
    let others = &others[..];
    match text(&vector["kind"]) {
        "entry" => then(&Context::Entry {
            parent: place,
            seq,
            others,
        }),
        "checkpoint" => then(&Context::Checkpoint {
            transaction: place,
            seq,
            others,
        }),
        other => panic!("no kind is called {other}"),
    }
}

#[test]
fn the_vectors_hold() {
    let vectors = read();
    for vector in list(&vectors, "keys") {
        let by_hand = by_hand::keys(&array(&vector["master"]));
        assert_eq!(by_hand.id, array(&vector["key_id"]));
        assert_eq!(by_hand.nonce, array(&vector["k_nonce"]));
        assert_eq!(by_hand.seal, array(&vector["k_seal"]));
        let keys = Keys::derive(&Master::from_bytes(&array(&vector["master"])));
        assert_eq!(keys.id().to_string(), text(&vector["key_id"]));
    }
    for vector in list(&vectors, "padded") {
        let [length, to] = ["length", "padded"].map(|name| vector[name].as_u64().unwrap());
        assert_eq!(padded(length), to);
    }
    let keys = keys();
    for vector in list(&vectors, "sealed") {
        let made = with_context(vector, |context| {
            let made = seal(&keys, context, &plaintext(vector)).unwrap();
            assert_eq!(open(&keys, context, &made).unwrap(), plaintext(vector));
            made
        });
        assert_eq!(digest(&made).to_string(), text(&vector["id"]));
        assert_eq!(made.len() as u64, vector["bytes"].as_u64().unwrap());
        if let Some(chunk) = vector.get("chunk") {
            assert_eq!(made, bytes(chunk));
        }
    }
    for vector in list(&vectors, "refused") {
        let opened = with_context(vector, |context| {
            open(&keys, context, &bytes(&vector["chunk"]))
        });
        // An entry's body is looked at when its envelope is off.
        let opened = match (opened, text(&vector["kind"])) {
            (Ok(body), "entry") => Said::of_body(&body).map(drop),
            (other, _) => other.map(drop),
        };
        let word = opened.map_err(|error| error.word());
        assert_eq!(word, Err(text(&vector["error"])), "{}", vector["comment"]);
    }
}

#[test]
fn the_vectors_of_entries_and_invites_hold() {
    let vectors = read();
    for vector in list(&vectors, "entries") {
        let said = Said {
            nonce: Nonce::from_bytes(array(&vector["nonce"])),
            app: bytes(&vector["app"]),
        };
        assert_eq!(said.body(), bytes(&vector["body"]));
        let plain = text(&vector["plain"]).as_bytes();
        assert_eq!(said.plain(), plain);
        assert_eq!(Said::of_plain(plain), Ok(said));
    }
    for vector in list(&vectors, "transaction_ids") {
        let chunks = vector["chunks"].as_array().unwrap().iter();
        let chunks: Vec<ChunkDigest> = chunks.map(|chunk| text(chunk).parse().unwrap()).collect();
        let parent = text(&vector["parent"]).parse().unwrap();
        let id = TransactionId::of_content(parent, vector["seq"].as_u64().unwrap(), chunks.iter());
        assert_eq!(id.to_string(), text(&vector["id"]));
    }
    for vector in list(&vectors, "invites") {
        let identity = Identity::from_invite(text(&vector["invite"])).unwrap();
        assert_eq!(identity.server.as_str(), text(&vector["url"]));
        assert_eq!(identity.user.to_string(), text(&vector["user"]));
        assert_eq!(identity.masters, masters(&vector["master"]));
        assert_eq!(*identity.invite(), text(&vector["invite"]));
        for copied in list(vector, "read_as_well") {
            assert_eq!(Identity::from_invite(text(copied)).as_ref(), Ok(&identity));
        }
    }
    for vector in list(&vectors, "invites_refused") {
        let error = Identity::from_invite(text(&vector["invite"])).unwrap_err();
        assert_eq!(
            error.word(),
            text(&vector["error"]),
            "{}",
            vector["comment"]
        );
    }
}

fn masters(value: &Value) -> Masters {
    match value {
        Value::Null => Masters::Plain,
        master => Masters::Sealed {
            current: Master::from_bytes(&array(master)),
            old: Vec::new(),
        },
    }
}

#[test]
fn the_file_is_what_this_version_makes() {
    let made = serde_json::to_string_pretty(&vectors()).unwrap() + "\n";
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(file(), &made).unwrap();
    }
    let there = std::fs::read_to_string(file()).unwrap();
    assert!(
        there == made,
        "src/client/vectors.json is not what this makes: if the format changed, run with {WRITE}=1"
    );
}

fn vectors() -> Value {
    json!({
        "about": "Vectors of the envelope, the ids of transactions and the invites of mentat-sync: CLIENT.md, section 4. Bytes are \
                  in hex. A list `refused` says what must not be taken, and the word for why.",
        "version": "MSE1",
        "keys": [
            key("HKDF of the master that all vectors below have", &master()),
            key("a master of zeros alone", &[0; 32]),
        ],
        "padded": padding(),
        "sealed": sealed(),
        "refused": refused(),
        "entries": entries(),
        "transaction_ids": transactions(),
        "invites": invites(),
        "invites_refused": invites_refused(),
    })
}

fn key(comment: &str, master: &[u8; 32]) -> Value {
    let keys = by_hand::keys(master);
    json!({
        "comment": comment,
        "master": hex::encode(master),
        "key_id": hex::encode(keys.id),
        "k_nonce": hex::encode(keys.nonce),
        "k_seal": hex::encode(keys.seal),
    })
}

/// The lengths of plaintexts about each step of the padding.
fn padding() -> Value {
    let mut lengths: Vec<u64> = (0..=16).collect();
    for length in [
        60,
        61,
        124,
        125,
        133,
        1000,
        65532,
        65533,
        1_048_572,
        1_048_573,
        4_294_967_295,
    ] {
        lengths.push(length);
    }
    let vector = |length| json!({"length": length, "padded": padded(length)});
    lengths.into_iter().map(vector).collect()
}

fn spelled(context: &Context<'_>) -> (&'static str, Value) {
    let all = |others: &[ChunkDigest]| others.iter().map(ToString::to_string).collect::<Vec<_>>();
    match *context {
        Context::Data => ("data", Value::Null),
        Context::Entry {
            parent,
            seq,
            others,
        } => {
            let parent = parent.to_string();
            (
                "entry",
                json!({"parent": parent, "seq": seq, "others": all(others)}),
            )
        }
        Context::Checkpoint {
            transaction,
            seq,
            others,
        } => {
            let transaction = transaction.to_string();
            let context = json!({"transaction": transaction, "seq": seq, "others": all(others)});
            ("checkpoint", context)
        }
    }
}

fn chunk(comment: &str, context: &Context<'_>, plaintext: &[u8]) -> Value {
    let (kind, place) = spelled(context);
    let made = seal(&keys(), context, plaintext).unwrap();
    let mut vector = json!({"comment": comment, "kind": kind});
    if place != Value::Null {
        vector["context"] = place;
    }
    vector["bytes"] = made.len().into();
    vector["id"] = digest(&made).to_string().into();
    if plaintext.len() > 1000 {
        vector["plaintext_counted"] = plaintext.len().into();
    } else {
        vector["plaintext"] = hex::encode(plaintext).into();
        vector["chunk"] = hex::encode(&made).into();
    }
    vector
}

fn milk() -> ChunkDigest {
    digest(&seal(&keys(), &Context::Data, MILK).unwrap())
}

fn said(app: &[u8]) -> Said {
    Said {
        nonce: Nonce::from_bytes(NONCE),
        app: app.to_vec(),
    }
}

fn first(others: &[ChunkDigest]) -> Context<'_> {
    Context::Entry {
        parent: TransactionId::ROOT,
        seq: 1,
        others,
    }
}

/// The chunks of a transaction with three parts of a file.
fn three() -> Vec<ChunkDigest> {
    let parts = [&b"one"[..], b"two", b"three"];
    let part = |part: &[u8]| digest(&seal(&keys(), &Context::Data, part).unwrap());
    parts.map(part).to_vec()
}

fn first_id() -> TransactionId {
    let others = [milk()];
    let entry = seal(&keys(), &first(&others), &said(JOURNAL).body()).unwrap();
    TransactionId::of_content(TransactionId::ROOT, 1, [digest(&entry), others[0]].iter())
}

fn sealed() -> Value {
    let one = [milk()];
    let three = three();
    let second = Context::Entry {
        parent: first_id(),
        seq: 2,
        others: &three,
    };
    let checkpoint = |others| Context::Checkpoint {
        transaction: first_id(),
        seq: 1,
        others,
    };
    let data = Context::Data;
    let slice = counted(limits::SLICE_BYTES);
    json!([
        chunk("the word milk", &data, MILK),
        chunk("nothing", &data, b""),
        chunk("one byte", &data, b"m"),
        chunk(
            "the longest body whose padding is nothing for its size",
            &data,
            &counted(60)
        ),
        chunk("one byte more: seven zeros", &data, &counted(61)),
        chunk("zeros, which are not padding", &data, &[0; 9]),
        chunk(
            "a slice of a file, 1 MiB - 4; byte i is i mod 251",
            &data,
            &slice
        ),
        chunk(
            "a byte more than a slice, which no replica writes and each reads",
            &data,
            &counted(slice.len() + 1)
        ),
        chunk(
            "the entry of the first transaction: 16 random bytes, then the application's; it names milk",
            &first(&one),
            &said(JOURNAL).body()
        ),
        chunk(
            "the same bytes as an entry that names nothing",
            &first(&[]),
            &said(JOURNAL).body()
        ),
        chunk(
            "an entry with three other chunks, after the first transaction",
            &second,
            &said(b"three parts").body()
        ),
        chunk(
            "an entry of which the application says nothing",
            &first(&[]),
            &said(b"").body()
        ),
        chunk(
            "a checkpoint of the first transaction with three other chunks",
            &checkpoint(&three),
            b"state"
        ),
        chunk("a checkpoint of one chunk", &checkpoint(&[]), b"state"),
        chunk(
            "the largest number that a transaction can have",
            &Context::Entry {
                parent: TransactionId::from_bytes([0xff; 16]),
                seq: u64::MAX >> 11,
                others: &[],
            },
            &said(b"last").body()
        ),
    ])
}

/// A chunk as it must not be: the place it is opened in, and the word for why not.
fn no(comment: impl Into<String>, context: &Context<'_>, chunk: &[u8], error: &str) -> Value {
    let (kind, place) = spelled(context);
    let mut vector = json!({"comment": comment.into(), "kind": kind});
    if place != Value::Null {
        vector["context"] = place;
    }
    vector["chunk"] = hex::encode(chunk).into();
    vector["error"] = error.into();
    vector
}

fn refused() -> Value {
    let mut all = fields_flipped();
    all.extend(places_changed());
    all.extend(sealed_wrongly());
    all.into()
}

/// The first and the last byte of each field, each with its lowest bit flipped; and the whole cut short.
fn fields_flipped() -> Vec<Value> {
    let others = [milk()];
    let places = [
        (Context::Data, MILK.to_vec()),
        (first(&others), said(JOURNAL).body()),
        (
            Context::Checkpoint {
                transaction: first_id(),
                seq: 1,
                others: &others,
            },
            b"state".to_vec(),
        ),
    ];
    let mut all = Vec::new();
    for (context, plaintext) in places {
        let chunk = seal(&keys(), &context, &plaintext).unwrap();
        let tag = chunk.len() - 16;
        for (field, at, error) in [
            ("magic", [0, 3], "magic"),
            ("kind", [4, 4], "kind"),
            ("flags", [5, 5], "flags"),
            ("reserved", [6, 7], "reserved"),
            ("key_id", [8, 15], "wrong-key"),
            ("n", [16, 47], "tag"),
            ("body", [48, tag - 1], "tag"),
            ("tag", [tag, chunk.len() - 1], "tag"),
        ] {
            let mut places = at.to_vec();
            places.dedup();
            for at in places {
                let mut changed = chunk.clone();
                changed[at] ^= 1;
                all.push(no(
                    format!("{field} flipped at byte {at}"),
                    &context,
                    &changed,
                    error,
                ));
            }
        }
        let left = chunk.len() as u64 - 65;
        let last_off = match by_hand::padme(left) == left {
            true => "tag",
            false => "length",
        };
        all.push(no(
            "its last byte cut off",
            &context,
            &chunk[..chunk.len() - 1],
            last_off,
        ));
        all.push(no(
            "cut to less than the shortest",
            &context,
            &chunk[..67],
            "short",
        ));
        all.push(no("nothing at all", &context, b"", "short"));
        all.push(no(
            "bytes that are not sealed",
            &context,
            &[b'{'; 99],
            "magic",
        ));
    }
    all
}

/// An entry that stands elsewhere, or names other chunks than it did.
fn places_changed() -> Vec<Value> {
    let three = three();
    let swapped = [three[1], three[0], three[2]];
    let replaced = [three[0], three[1], milk()];
    let longer = [&three[..], &three[..1]].concat();
    let chunk = seal(&keys(), &first(&three), &said(JOURNAL).body()).unwrap();
    let place = |parent, seq| Context::Entry {
        parent,
        seq,
        others: &three,
    };
    let mut all = vec![
        no("after another parent", &place(first_id(), 1), &chunk, "tag"),
        no(
            "with another number",
            &place(TransactionId::ROOT, 2),
            &chunk,
            "tag",
        ),
        no("two of its chunks swapped", &first(&swapped), &chunk, "tag"),
        no(
            "one of its chunks replaced",
            &first(&replaced),
            &chunk,
            "tag",
        ),
        no(
            "one of its chunks dropped",
            &first(&three[..2]),
            &chunk,
            "tag",
        ),
        no("one of its chunks twice", &first(&longer), &chunk, "tag"),
        no("an entry taken for data", &Context::Data, &chunk, "kind"),
    ];
    let data = seal(&keys(), &Context::Data, MILK).unwrap();
    all.push(no("data taken for an entry", &first(&[]), &data, "kind"));
    let checkpoint = Context::Checkpoint {
        transaction: TransactionId::ROOT,
        seq: 1,
        others: &three,
    };
    all.push(no(
        "an entry taken for a checkpoint",
        &checkpoint,
        &chunk,
        "kind",
    ));
    let other = Keys::derive(&Master::from_bytes(&[0; 32]));
    let chunk = seal(&other, &Context::Data, MILK).unwrap();
    all.push(no(
        "sealed with the master of zeros",
        &Context::Data,
        &chunk,
        "wrong-key",
    ));
    all
}

/// What the right key sealed against the format.
fn sealed_wrongly() -> Vec<Value> {
    let keys = by_hand::keys(&master());
    let plaintext = counted(61);
    let mut all = Vec::new();
    let mut bent = |comment: &str, error: &str, bend: &dyn Fn(&mut by_hand::Draft)| {
        let mut draft = by_hand::draft(&keys, 1, b"", &plaintext);
        bend(&mut draft);
        all.push(no(comment, &Context::Data, &draft.seal(&keys), error));
    };
    bent(
        "sealed so: its padding is not all zeros",
        "padding",
        &|draft| draft.body[71] = 1,
    );
    bent(
        "sealed so: its length is beyond its end",
        "length",
        &|draft| draft.body[3] = 69,
    );
    bent("sealed so: its length overflows", "length", &|draft| {
        draft.body[..4].fill(0xff)
    });
    bent(
        "sealed so: it is padded for another length",
        "length",
        &|draft| draft.body[3] = 60,
    );
    bent(
        "sealed so: no padding makes this length",
        "length",
        &|draft| draft.body.push(0),
    );
    bent("sealed so: it is padded twice", "length", &|draft| {
        draft.body.resize(80, 0)
    });
    bent("sealed so: n is not its HMAC", "nonce", &|draft| {
        draft.header[16] ^= 1
    });
    bent(
        "sealed so: n is of a shorter plaintext",
        "nonce",
        &|draft| draft.body[3] = 62,
    );
    bent("sealed so: flags that nobody knows", "flags", &|draft| {
        draft.header[5] = 1
    });
    bent("sealed so: a kind that nobody knows", "kind", &|draft| {
        draft.header[4] = 4
    });
    let short = seal(&super::keys(), &first(&[]), &NONCE[..15]).unwrap();
    all.push(no(
        "an entry without its 16 random bytes",
        &first(&[]),
        &short,
        "entry",
    ));
    all
}

fn entries() -> Value {
    let entry = |comment: &str, app: &[u8]| {
        let said = said(app);
        json!({
            "comment": comment,
            "nonce": hex::encode(NONCE),
            "app": hex::encode(app),
            "body": hex::encode(said.body()),
            "plain": String::from_utf8(said.plain()).unwrap(),
        })
    };
    json!([
        entry(
            "`body` is what a sealed store seals, `plain` the chunk itself of a plain one",
            JOURNAL
        ),
        entry("an object without members", b"{}"),
        entry("nothing", b""),
        entry("text", MILK),
        entry("bytes that are no text", b"\0\xff"),
        entry("an object with a nonce of its own", br#"{"nonce":1}"#),
    ])
}

fn transactions() -> Value {
    let one = [milk()];
    let three = three();
    let entry = |context: &Context<'_>, app: &[u8]| {
        digest(&seal(&keys(), context, &said(app).body()).unwrap())
    };
    let second = Context::Entry {
        parent: first_id(),
        seq: 2,
        others: &three,
    };
    let vector = |comment: &str, parent: TransactionId, seq: u64, chunks: &[ChunkDigest]| {
        json!({
            "comment": comment,
            "parent": parent.to_string(),
            "seq": seq,
            "chunks": chunks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "id": TransactionId::of_content(parent, seq, chunks.iter()).to_string(),
        })
    };
    let root = TransactionId::ROOT;
    let alone = [entry(&first(&[]), JOURNAL)];
    json!([
        vector(
            "the first transaction: the entry that names milk, and milk",
            root,
            1,
            &[entry(&first(&one), JOURNAL), one[0]]
        ),
        vector("an entry alone", root, 1, &alone),
        vector(
            "the second transaction: an entry and three chunks",
            first_id(),
            2,
            &[&[entry(&second, b"three parts")], &three[..]].concat()
        ),
        vector(
            "of a plain store, whose entry is as it is",
            root,
            1,
            &[digest(&said(JOURNAL).plain()), digest(MILK)]
        ),
    ])
}

fn identity(url: &str, masters: Masters) -> Identity {
    Identity {
        server: url.parse().unwrap(),
        user: UserId::from_bytes(USER),
        masters,
    }
}

fn invites() -> Value {
    let vector = |comment: &str, url: &str, master: Option<[u8; 32]>| {
        let secret = master.map(hex::encode);
        let identity = identity(url, masters(&json!(secret)));
        let invite = identity.invite();
        let (address, code) = invite.split_once('#').unwrap();
        json!({
            "comment": comment,
            "url": url,
            "user": identity.user.to_string(),
            "master": secret,
            "invite": invite.as_str(),
            "read_as_well": [
                format!("{address}#{}", code.to_lowercase()),
                format!("{address}#{}", code.replace('-', "")),
                format!("{address}#{}", code.replace('0', "O").replace('1', "I")),
                format!("{address}#{}", code.replace('0', "o").replace('1', "l")),
                format!(" {invite}\n", invite = *invite),
            ],
        })
    };
    json!([
        vector(
            "an encrypted store",
            "https://sync.example.org",
            Some(master())
        ),
        vector("a plain one", "https://sync.example.org", None),
        vector(
            "behind a proxy",
            "http://box.local:8080/behind/it",
            Some([0xff; 32])
        ),
        vector("a socket", "unix:/run/mentat-sync.sock", Some(master())),
    ])
}

/// An invite of these bytes, with their checksum.
fn code(bytes: &[u8]) -> String {
    const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let sum = Sha256::digest(bytes);
    let bits: String = (bytes.iter().chain(&sum[..4]))
        .map(|byte| format!("{byte:08b}"))
        .collect();
    let symbol = |bits: &[u8]| {
        let bits = format!("{:0<5}", std::str::from_utf8(bits).unwrap());
        char::from(SYMBOLS[usize::from_str_radix(&bits, 2).unwrap()])
    };
    let symbols: String = bits.as_bytes().chunks(5).map(symbol).collect();
    format!("https://sync.example.org/#ms1{symbols}")
}

fn invites_refused() -> Value {
    let sealed = [&[1, 0][..], &USER, &master()].concat();
    let plain = [&[1, 1][..], &USER].concat();
    let good = code(&sealed);
    assert_eq!(
        Identity::from_invite(&good).unwrap().user,
        UserId::from_bytes(USER)
    );
    assert_eq!(
        Identity::from_invite(&code(&plain)).unwrap().masters,
        Masters::Plain
    );
    let with = |at: usize, value: u8| {
        let mut bytes = sealed.clone();
        bytes[at] = value;
        code(&bytes)
    };
    let cut = |less: usize| good[..good.len() - less].to_owned();
    // The symbol with the next value: the bits of it that stand for no byte are not 0.
    let last = good.chars().next_back().unwrap();
    let next = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
        .split_once(last)
        .unwrap()
        .1;
    let trailing = format!("{}{}", cut(1), &next[..1]);
    let swapped = good.replacen("ms10", "ms1", 1) + "0";
    let no = |comment: &str, invite: String, error: &str| json!({"comment": comment, "invite": invite, "error": error});
    json!([
        no(
            "no code",
            "https://sync.example.org/".into(),
            "not-an-invite"
        ),
        no(
            "another fragment",
            "https://sync.example.org/#top".into(),
            "not-an-invite"
        ),
        no(
            "an empty code",
            "https://sync.example.org/#ms1".into(),
            "typo"
        ),
        no("the last symbol is missing", cut(1), "typo"),
        no("half of it is missing", cut(40), "typo"),
        no("a symbol too many", good.clone() + "0", "typo"),
        no("a symbol moved", swapped, "typo"),
        no("U is no symbol", format!("{}U", cut(1)), "typo"),
        no("bits behind the last byte that are not 0", trailing, "typo"),
        no(
            "another checksum",
            good.replacen("ms108", "ms109", 1)
                .replacen("ms104", "ms105", 1),
            "typo"
        ),
        no("another version, with its checksum", with(0, 2), "newer"),
        no(
            "flags that nobody knows, with their checksum",
            with(1, 2),
            "newer"
        ),
        no(
            "the flag of a plain store, and a master",
            with(1, 1),
            "typo"
        ),
        no(
            "no such flag, and no master",
            code(&[&[1, 0][..], &USER].concat()),
            "typo"
        ),
        no(
            "another alphabet",
            good.replacen("#ms1", "#ms2", 1),
            "newer"
        ),
        no("no scheme", good.replacen("https://", "", 1), "address"),
        no(
            "a password in the address",
            good.replacen("sync", "me:secret@sync", 1),
            "address"
        ),
    ])
}

#[test]
fn each_error_has_a_vector() {
    let vectors = read();
    let words: Vec<&str> = list(&vectors, "refused")
        .iter()
        .map(|vector| text(&vector["error"]))
        .collect();
    let id = keys().id();
    for error in [
        OpenError::Short,
        OpenError::Magic,
        OpenError::Kind {
            wanted: 1,
            found: 2,
        },
        OpenError::Flags,
        OpenError::Reserved,
        OpenError::WrongKey {
            ours: id,
            theirs: id,
        },
        OpenError::Length,
        OpenError::Tag,
        OpenError::Padding,
        OpenError::Nonce,
        OpenError::Entry,
    ] {
        assert!(words.contains(&error.word()), "{error}");
    }
}
