//! The JSON that goes over the wire, one type a message.

use serde::{Deserialize, Serialize};

use super::codes::Code;
use super::text::{self, Spelled, SpelledList};
use super::used::UsedMessage;
use crate::model::{
    Checkpoint, ChunkDigest, ChunkId, Head, MalformedId, Transaction, TransactionId, limits,
};

/// The version of the protocol, as `GET /0.1/{user}/` tells it.
pub const API: &str = "0.1";

/// `GET …/head`, and the body of `PUT …/head` without the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadMessage {
    #[serde(with = "text::id")]
    pub head: TransactionId,
    pub seq: u64,
}

impl From<Head> for HeadMessage {
    fn from(Head { id, seq }: Head) -> Self {
        Self { head: id, seq }
    }
}

/// `GET /0.1/{user}/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMessage {
    #[serde(with = "text::id")]
    pub head: TransactionId,
    pub seq: u64,
    pub api: String,
    pub limits: LimitsMessage,
    /// The abilities of this server beyond the first version of the protocol.
    pub features: Vec<String>,
    /// How much the user has, where the server counts that and has done so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UsedMessage>,
    /// The checkpoint that a new device can start from, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointSummary>,
}

/// A checkpoint without its chunks, of which there may be many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointSummary {
    #[serde(with = "text::id")]
    pub transaction: TransactionId,
    pub seq: u64,
}

impl From<Checkpoint> for CheckpointSummary {
    fn from(
        Checkpoint {
            transaction, seq, ..
        }: Checkpoint,
    ) -> Self {
        Self { transaction, seq }
    }
}

/// `GET …/checkpoint`, in the order of the keys that its file has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointMessage {
    #[serde(with = "text::id")]
    pub transaction: TransactionId,
    pub seq: u64,
    #[serde(with = "text::ids")]
    pub chunks: Vec<ChunkDigest>,
}

impl From<Checkpoint> for CheckpointMessage {
    fn from(checkpoint: Checkpoint) -> Self {
        Self {
            transaction: checkpoint.transaction,
            seq: checkpoint.seq,
            chunks: checkpoint.chunks,
        }
    }
}

/// Limits of what the server takes and gives, so that a client can cut its work to fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsMessage {
    pub chunk_bytes: u64,
    pub transaction_bytes: u64,
    pub transaction_chunks: u64,
    pub bundle_transactions: u64,
    pub missing_ids: u64,
    /// The most bytes that a user may have, where the operator chose a limit; and files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_files: Option<u64>,
}

/// `GET …/transactions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingMessage {
    #[serde(with = "text::id")]
    pub from: TransactionId,
    pub limit: u64,
    #[serde(with = "text::ids")]
    pub transactions: Vec<TransactionId>,
}

/// `GET …/transactions/{transaction}`, in the order of the keys that its file has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionMessage {
    #[serde(with = "text::id")]
    pub id: TransactionId,
    pub seq: u64,
    /// Null for the root, and for nothing else.
    #[serde(with = "text::optional_id")]
    pub parent: Option<TransactionId>,
    #[serde(with = "text::ids")]
    pub chunks: Vec<ChunkId>,
}

impl TransactionMessage {
    /// The root, which no store holds a file of.
    pub fn root() -> Self {
        Self {
            id: TransactionId::ROOT,
            seq: 0,
            parent: None,
            chunks: Vec::new(),
        }
    }
}

impl From<Transaction> for TransactionMessage {
    fn from(transaction: Transaction) -> Self {
        Self {
            id: transaction.id,
            seq: transaction.seq,
            parent: Some(transaction.parent),
            chunks: transaction.chunks,
        }
    }
}

/// The answer of `POST …/chunks/missing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingMessage {
    #[serde(with = "text::ids")]
    pub missing: Vec<ChunkId>,
}

/// The answer of `POST …/bundle`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleMessage {
    #[serde(with = "text::id")]
    pub head: TransactionId,
    pub seq: u64,
    /// Members that were new.
    pub stored: CountsMessage,
    /// Members that were there already.
    pub existing: CountsMessage,
}

/// How much of a bundle it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsMessage {
    pub chunks: u64,
    pub transactions: u64,
    pub bytes: u64,
}

/// `GET /__version__`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionMessage {
    pub name: String,
    pub version: String,
}

/// Every refusal: RFC 9457 with our `code`, and what the code needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemMessage {
    /// `about:blank`: the status says it, and the code says it better.
    pub r#type: String,
    pub status: u16,
    pub title: String,
    pub detail: String,
    pub code: Code,
    /// The current head, in every 409 of an advance; and its number.
    #[serde(
        with = "text::optional_id",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub head: Option<TransactionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The chunks that are not there, each once.
    #[serde(
        with = "text::optional_ids",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub missing: Option<Vec<ChunkId>>,
    /// The pending transactions that name the proposed head as their parent.
    #[serde(
        with = "text::optional_ids",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub descendants: Option<Vec<TransactionId>>,
    /// The present checkpoint, in `checkpoint-older`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointMessage>,
    /// The limit that was met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How much of it is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// Why a body could not be taken for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The body is not JSON, or not of the form asked for.
    Json(String),
    /// An id in the body is not spelled as ids are.
    Id(MalformedId),
    /// Lines of ids in another encoding than UTF-8.
    Encoding(&'static str),
    /// A transaction that names more chunks than one may.
    TooManyChunks,
    /// More ids than one may ask about.
    TooManyIds,
    /// The `id` sent along is not the one of the path.
    OtherId,
}

impl From<MalformedId> for Malformed {
    fn from(malformed: MalformedId) -> Self {
        Malformed::Id(malformed)
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], form: &str) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // The parser's own words may quote the body, which is the client's to keep.
        Malformed::Json(match encoding_trouble(body) {
            Some(trouble) => trouble.to_owned(),
            None if error.is_data() => {
                format!("not of the form {form}: see line {line}, column {column}")
            }
            None if body.trim_ascii().is_empty() => {
                format!("the body is empty; it takes the form {form}")
            }
            None => format!("not JSON: see line {line}, column {column}"),
        })
    })
}

/// Looks for a byte order mark, as some editors and shells write: an error at its first column would show nothing
/// to a person who looks there.
fn encoding_trouble(body: &[u8]) -> Option<&'static str> {
    if body.starts_with(b"\xef\xbb\xbf") {
        Some("the body begins with a byte order mark: send UTF-8 without one")
    } else if body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff") {
        Some("the body is UTF-16: send UTF-8, without a byte order mark")
    } else {
        None
    }
}

/// Parses a message that is an object: to serde a list of its values, in order, would do too.
fn parse_object<'a, T: Deserialize<'a>>(body: &'a [u8], form: &str) -> Result<T, Malformed> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Malformed::Json(format!("not of the form {form}: a list")));
    }
    parse(body, form)
}

/// Reads the body of `PUT …/head`: `{"head":id}`, and nothing else.
pub fn parse_head(body: &[u8]) -> Result<TransactionId, Malformed> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        head: Spelled<TransactionId>,
    }
    let Form { head } = parse_object(body, r#"{"head":id}"#)?;
    Ok(head.0?)
}

/// A transaction as a client proposes it; `id` and `seq` may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedTransaction {
    pub parent: TransactionId,
    pub chunks: Vec<ChunkId>,
    pub seq: Option<u64>,
}

/// Reads the body of `PUT …/transactions/{id}`: `{"parent":id,"chunks":[id…]}`, with `id` and `seq`
/// allowed beside them. An `id` must be the one of the path.
pub fn parse_transaction(body: &[u8], id: TransactionId) -> Result<ProposedTransaction, Malformed> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        id: Option<Spelled<TransactionId>>,
        seq: Option<u64>,
        parent: Spelled<TransactionId>,
        chunks: SpelledList<ChunkId, { limits::TRANSACTION_CHUNKS }>,
    }
    let form: Form = parse_object(body, r#"{"parent":id,"chunks":[id…]}"#)?;
    if let Some(Spelled(given)) = form.id
        && given? != id
    {
        return Err(Malformed::OtherId);
    }
    let chunks = match form.chunks {
        SpelledList::All(chunks) => chunks,
        SpelledList::Malformed(malformed) => return Err(malformed.into()),
        SpelledList::TooLong => return Err(Malformed::TooManyChunks),
    };
    Ok(ProposedTransaction {
        parent: form.parent.0?,
        chunks,
        seq: form.seq,
    })
}

/// A checkpoint as a client proposes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedCheckpoint {
    pub transaction: TransactionId,
    pub chunks: Vec<ChunkId>,
}

/// Reads the body of `PUT …/checkpoint`: `{"transaction":id,"chunks":[id…]}`, and nothing else.
pub fn parse_checkpoint(body: &[u8]) -> Result<ProposedCheckpoint, Malformed> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        transaction: Spelled<TransactionId>,
        chunks: SpelledList<ChunkId, { limits::TRANSACTION_CHUNKS }>,
    }
    let form: Form = parse_object(body, r#"{"transaction":id,"chunks":[id…]}"#)?;
    let chunks = match form.chunks {
        SpelledList::All(chunks) => chunks,
        SpelledList::Malformed(malformed) => return Err(malformed.into()),
        SpelledList::TooLong => return Err(Malformed::TooManyChunks),
    };
    Ok(ProposedCheckpoint {
        transaction: form.transaction.0?,
        chunks,
    })
}

/// Reads the body of `POST …/chunks/missing`: a list of chunk ids.
pub fn parse_chunks(body: &[u8]) -> Result<Vec<ChunkId>, Malformed> {
    let parsed = parse(body, "[id…]");
    let list: SpelledList<ChunkId, { limits::MISSING_IDS }> = parsed.map_err(|malformed| {
        let first = body.trim_ascii_start().split(|&byte| byte == b'\n').next();
        let first = first.unwrap_or_default().trim_ascii_end();
        match std::str::from_utf8(first).ok().map(str::parse::<ChunkId>) {
            Some(Ok(_)) => Malformed::Json(
                "these are ids one a line, not a list in JSON: say so with Content-Type: text/plain"
                    .to_owned(),
            ),
            _ => malformed,
        }
    })?;
    match list {
        SpelledList::All(ids) => Ok(ids),
        SpelledList::Malformed(malformed) => Err(malformed.into()),
        SpelledList::TooLong => Err(Malformed::TooManyIds),
    }
}

/// Reads the body of `POST …/chunks/missing` as text: an id a line, empty lines ignored.
pub fn parse_chunk_lines(body: &[u8]) -> Result<Vec<ChunkId>, Malformed> {
    if let Some(trouble) = encoding_trouble(body) {
        return Err(Malformed::Encoding(trouble));
    }
    let mut ids = Vec::new();
    for line in body.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if ids.len() == limits::MISSING_IDS {
            return Err(Malformed::TooManyIds);
        }
        // What is no text is no id either, and is refused as one.
        ids.push(std::str::from_utf8(line).unwrap_or_default().parse()?);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn is_json(result: Result<impl Sized, Malformed>) -> bool {
        matches!(result, Err(Malformed::Json(_)))
    }

    fn is_id(result: Result<impl Sized, Malformed>) -> bool {
        matches!(result, Err(Malformed::Id(_)))
    }

    #[test]
    fn a_head_is_an_id_and_nothing_else() {
        let id: TransactionId = ID.parse().unwrap();
        let good = format!(r#" {{ "head" : "{ID}" }} "#);
        assert_eq!(parse_head(good.as_bytes()), Ok(id));
        for bad in [
            "".to_owned(),
            "{}".to_owned(),
            format!(r#"{{"head":"{ID}"}}x"#),
            format!(r#"{{"head":"{ID}","head":"{ID}"}}"#),
            format!(r#"{{"head":"{ID}","seq":1}}"#),
            r#"{"head":null}"#.to_owned(),
            r#"{"head":1}"#.to_owned(),
            format!(r#""{ID}""#),
            format!(r#"["{ID}"]"#),
        ] {
            assert!(is_json(parse_head(bad.as_bytes())), "{bad}");
        }
        assert!(is_json(parse_head(b"{\"head\":\"\xff\"}")));
        for bad in [ID.to_uppercase(), format!("{{{ID}}}"), String::new()] {
            assert!(
                is_id(parse_head(format!(r#"{{"head":"{bad}"}}"#).as_bytes())),
                "{bad}"
            );
        }
    }

    #[test]
    fn ids_to_ask_about_are_a_list_or_lines() {
        let ids: Vec<ChunkId> = vec![DIGEST.parse().unwrap(), ID.parse().unwrap()];
        let list = format!(r#"["{DIGEST}","{ID}"]"#);
        assert_eq!(parse_chunks(list.as_bytes()).as_ref(), Ok(&ids));
        for lines in [
            format!("{DIGEST}\n{ID}\n"),
            format!("\r\n{DIGEST}\r\n\n{ID}"),
        ] {
            assert_eq!(parse_chunk_lines(lines.as_bytes()).as_ref(), Ok(&ids));
        }
        assert_eq!(parse_chunk_lines(b""), Ok(Vec::new()));
        assert!(is_id(parse_chunk_lines(format!(" {DIGEST}").as_bytes())));
        assert!(is_id(parse_chunk_lines(b"\xff")));
        assert!(is_id(parse_chunks(br#"["x"]"#)));
        assert!(is_json(parse_chunks(b"{}")));
        let most = format!("{DIGEST}\n").repeat(limits::MISSING_IDS);
        assert!(parse_chunk_lines(most.as_bytes()).is_ok());
        let more = most + DIGEST;
        assert_eq!(
            parse_chunk_lines(more.as_bytes()),
            Err(Malformed::TooManyIds)
        );
    }

    #[test]
    fn an_id_may_be_escaped_in_json() {
        let escaped = format!(r#"{{"head":"\u0036{}"}}"#, &ID[1..]);
        assert_eq!(parse_head(escaped.as_bytes()), Ok(ID.parse().unwrap()));
    }

    #[test]
    fn a_transaction_is_a_parent_and_chunks() {
        let id: TransactionId = ID.parse().unwrap();
        let root = TransactionId::ROOT;
        let parse = |text: &str| parse_transaction(text.as_bytes(), id);
        let good = format!(r#"{{"parent":"{root}","chunks":["{DIGEST}","{ID}","{DIGEST}"]}}"#);
        let read = parse(&good).unwrap();
        assert_eq!((read.parent, read.chunks.len(), read.seq), (root, 3, None));
        let full = format!(r#"{{"id":"{ID}","seq":1,"parent":"{root}","chunks":[]}}"#);
        assert_eq!(parse(&full).unwrap().seq, Some(1));
        let other = full.replace(ID, &root.to_string());
        assert_eq!(parse(&other), Err(Malformed::OtherId));
        for bad in [
            format!(r#"{{"parent":"{root}"}}"#),
            r#"{"chunks":[]}"#.to_owned(),
            format!(r#"{{"parent":"{root}","chunks":null}}"#),
            format!(r#"{{"parent":"{root}","chunks":[1]}}"#),
            format!(r#"{{"parent":"{root}","chunks":[],"more":1}}"#),
            format!(r#"{{"parent":"{root}","chunks":[],"seq":-1}}"#),
            format!(r#"{{"parent":"{root}","chunks":[],"seq":1.5}}"#),
            format!(r#"{{"parent":"{root}","chunks":[]"#),
            format!(r#" ["{ID}",1,"{root}",[]]"#),
        ] {
            assert!(is_json(parse(&bad)), "{bad}");
        }
        assert!(is_id(parse(r#"{"parent":"x","chunks":[]}"#)));
        let upper = good.replace(DIGEST, &DIGEST.to_uppercase());
        assert!(is_id(parse(&upper)));
    }

    #[test]
    fn a_checkpoint_is_a_transaction_and_chunks_and_nothing_else() {
        let parse = |text: &str| parse_checkpoint(text.as_bytes());
        let good = format!(r#"{{"chunks":["{DIGEST}","{ID}","{DIGEST}"],"transaction":"{ID}"}}"#);
        let read = parse(&good).unwrap();
        assert_eq!(
            (read.transaction, read.chunks.len()),
            (ID.parse().unwrap(), 3)
        );
        for bad in [
            "".to_owned(),
            format!(r#"{{"transaction":"{ID}"}}"#),
            r#"{"chunks":[]}"#.to_owned(),
            format!(r#"{{"transaction":"{ID}","chunks":null}}"#),
            format!(r#"{{"transaction":"{ID}","chunks":[1]}}"#),
            format!(r#"{{"transaction":"{ID}","chunks":[],"seq":1}}"#),
            format!(r#"{{"transaction":"{ID}","chunks":[],"chunks":[]}}"#),
            r#"{"transaction":null,"chunks":[]}"#.to_owned(),
            format!(r#"["{ID}",[]]"#),
        ] {
            assert!(is_json(parse(&bad)), "{bad}");
        }
        assert!(is_id(parse(r#"{"transaction":"x","chunks":[]}"#)));
        assert!(is_id(parse(&good.replace(DIGEST, &DIGEST.to_uppercase()))));
        let of = |count: usize| {
            let chunks = vec![format!("\"{DIGEST}\""); count].join(",");
            parse(&format!(r#"{{"transaction":"{ID}","chunks":[{chunks}]}}"#))
        };
        assert!(of(limits::TRANSACTION_CHUNKS).is_ok());
        assert_eq!(
            of(limits::TRANSACTION_CHUNKS + 1),
            Err(Malformed::TooManyChunks)
        );
    }

    #[test]
    fn a_transaction_names_so_many_chunks_and_no_more() {
        let id: TransactionId = ID.parse().unwrap();
        let of = |count: usize| {
            let chunks = vec![format!("\"{DIGEST}\""); count].join(",");
            let body = format!(
                r#"{{"parent":"{}","chunks":[{chunks}]}}"#,
                TransactionId::ROOT
            );
            parse_transaction(body.as_bytes(), id).map(|read| read.chunks.len())
        };
        assert_eq!(
            of(limits::TRANSACTION_CHUNKS),
            Ok(limits::TRANSACTION_CHUNKS)
        );
        assert_eq!(
            of(limits::TRANSACTION_CHUNKS + 1),
            Err(Malformed::TooManyChunks)
        );
    }

    #[test]
    fn what_is_wrong_with_a_body_does_not_quote_it() {
        let body = format!(r#"{{"head":"{ID}","{ID}":1}}"#);
        let Err(Malformed::Json(words)) = parse_head(body.as_bytes()) else {
            panic!("taken");
        };
        assert!(!words.contains(&ID[..8]), "{words}");
    }

    #[test]
    fn the_root_reads_as_the_design_has_it() {
        let json = serde_json::to_string(&TransactionMessage::root()).unwrap();
        let root = TransactionId::ROOT;
        assert_eq!(
            json,
            format!(r#"{{"id":"{root}","seq":0,"parent":null,"chunks":[]}}"#)
        );
        let back: TransactionMessage = serde_json::from_str(&json).unwrap();
        assert_eq!(back, TransactionMessage::root());
    }

    #[test]
    fn a_problem_has_only_what_its_code_needs() {
        let problem = ProblemMessage {
            r#type: "about:blank".into(),
            status: 404,
            title: "Not Found".into(),
            detail: "no such chunk".into(),
            code: Code::UnknownChunk,
            head: None,
            seq: None,
            missing: None,
            descendants: None,
            checkpoint: None,
            limit: None,
            used: None,
        };
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 5, "{json}");
        assert_eq!(json["type"], "about:blank");
        assert_eq!(
            serde_json::from_value::<ProblemMessage>(json).unwrap(),
            problem
        );
    }
}
