//! What must hold of everything that is read at the edge, whatever bytes come: ids and paths, the JSON
//! of requests, ranges and queries. Each is held against a second reading, written another way.

use std::fmt;
use std::str::FromStr;

use mentat_sync::http::conditions::{self, Wanted};
use mentat_sync::model::{ChunkDigest, ChunkId, MalformedId, TransactionId, UserId, limits};
use mentat_sync::wire::{
    BadQuery, BundleQuery, ListingQuery, Malformed, NewestQuery, Route, parse_checkpoint,
    parse_chunk_lines, parse_chunks, parse_head, parse_transaction, parse_wait,
};
use serde_json::{Value, json};

/// A uuid in the one spelling that is an id.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// A digest in the one spelling that is an id.
fn is_digest(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_chunk_id(text: &str) -> bool {
    is_uuid(text) || is_digest(text)
}

/// It is read exactly where it should be, and then printed back byte for byte.
fn one_spelling<T: FromStr<Err = MalformedId> + fmt::Display>(text: &str, good: bool) -> Option<T> {
    let read: Option<T> = text.parse().ok();
    assert_eq!(read.is_some(), good, "{text:?}");
    let printed = read.as_ref().map(T::to_string);
    assert!(printed.is_none_or(|printed| printed == text), "{text:?}");
    read
}

/// Ids, and paths with ids in them, have one spelling.
pub fn ids(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(user) = one_spelling::<UserId>(text, is_uuid(text)) {
        assert_eq!(UserId::from_bytes(*user.as_bytes()), user);
        // The one secret there is.
        assert!(!format!("{user:?}").contains(&text[9..]));
    }
    if let Some(id) = one_spelling::<TransactionId>(text, is_uuid(text)) {
        assert_eq!(TransactionId::from_bytes(*id.as_bytes()), id);
    }
    if let Some(digest) = one_spelling::<ChunkDigest>(text, is_digest(text)) {
        assert_eq!(ChunkDigest::from_bytes(*digest.as_bytes()), digest);
    }
    one_spelling::<ChunkId>(text, is_chunk_id(text));
    path(text);
}

/// A path that stands for something is the one that is written for it.
fn path(text: &str) {
    let Ok(route) = Route::parse(text) else {
        return;
    };
    let printed = route.to_string();
    assert!(
        printed == text || matches!(route, Route::Store(_)) && printed == format!("{text}/"),
        "{text:?} is read as {printed:?}"
    );
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        ["", "0.1", user] | ["", "0.1", user, _] => assert!(is_uuid(user), "{text:?}"),
        ["", "0.1", user, "transactions", id] => assert!(is_uuid(user) && is_uuid(id), "{text:?}"),
        ["", "0.1", user, "chunks", id] => {
            assert!(
                is_uuid(user) && (is_chunk_id(id) || id == "missing"),
                "{text:?}"
            );
        }
        ["", "page", file] => {
            let files = ["page.js", "page.css", "mentat-sync.js"];
            assert!(files.contains(&file), "{text:?}");
        }
        ["", page] => {
            let pages = [
                "",
                "openapi.json",
                "mentat-sync.js",
                "__lbheartbeat__",
                "__heartbeat__",
                "__version__",
            ];
            assert!(pages.contains(&page), "{text:?}");
        }
        _ => panic!("{text:?} is read as {printed:?}"),
    }
}

/// The transaction that bodies are uploaded as.
const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

/// Bodies of requests say what a plain JSON reader finds in them, and nothing else.
pub fn request_json(body: &[u8]) {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let is_text = |value: &Value, good: fn(&str) -> bool| value.as_str().is_some_and(good);
    let are_ids = |value: &Value| {
        let list = value.as_array();
        list.is_some_and(|list| list.iter().all(|id| is_text(id, is_chunk_id)))
    };

    let head = |value: &Value| {
        value.as_object().is_some_and(|all| all.len() == 1) && is_text(&value["head"], is_uuid)
    };
    same(
        &value,
        parse_head(body),
        head,
        parse_head,
        |id| json!({ "head": id.to_string() }),
    );

    same(&value, parse_chunks(body), are_ids, parse_chunks, |ids| {
        json!(texts(&ids))
    });

    let checkpoint = |value: &Value| {
        value.as_object().is_some_and(|all| all.len() == 2)
            && is_text(&value["transaction"], is_uuid)
            && are_ids(&value["chunks"])
    };
    same(
        &value,
        parse_checkpoint(body),
        checkpoint,
        parse_checkpoint,
        |read| json!({ "transaction": read.transaction.to_string(), "chunks": texts(&read.chunks) }),
    );

    let id: TransactionId = ID.parse().expect("it is one");
    let transaction = |value: &Value| {
        let known = ["id", "seq", "parent", "chunks"];
        let all = value.as_object();
        all.is_some_and(|all| all.keys().all(|key| known.contains(&&**key)))
            && is_text(&value["parent"], is_uuid)
            && are_ids(&value["chunks"])
            && (value["seq"].is_null() || value["seq"].is_u64())
            && (value["id"].is_null() || value["id"] == ID)
    };
    let parse = |body: &[u8]| parse_transaction(body, id);
    same(
        &value.map(without_nulls),
        parse(body),
        transaction,
        parse,
        |read| {
            let mut said =
                json!({ "parent": read.parent.to_string(), "chunks": texts(&read.chunks) });
            if let Some(seq) = read.seq {
                said["seq"] = json!(seq);
            }
            said
        },
    );
    lines(body);
}

/// What may be left out may be null, and the id is the one that stands in the path anyway.
fn without_nulls(mut value: Value) -> Value {
    if let Some(all) = value.as_object_mut() {
        if all.get("id").is_some_and(|id| id.is_null() || id == ID) {
            all.remove("id");
        }
        if all.get("seq").is_some_and(Value::is_null) {
            all.remove("seq");
        }
    }
    value
}

fn texts(ids: &[ChunkId]) -> Vec<String> {
    ids.iter().map(ChunkId::to_string).collect()
}

/// What was read of a body is what it says; what is written for that reads the same; and a body that
/// says what it should is read, if it says nothing twice.
fn same<T: Clone + fmt::Debug + PartialEq>(
    value: &Option<Value>,
    read: Result<T, Malformed>,
    good: impl Fn(&Value) -> bool,
    parse: impl Fn(&[u8]) -> Result<T, Malformed>,
    write: impl Fn(T) -> Value,
) {
    match read {
        Ok(read) => {
            let value = value.as_ref().expect("what is read is JSON");
            assert!(good(value), "{value} is read as {read:?}");
            let canonical = write(read.clone());
            assert_eq!(&canonical, value);
            assert_eq!(parse(canonical.to_string().as_bytes()), Ok(read));
        }
        Err(Malformed::Json(words)) => {
            let plain = |c: char| c.is_ascii_alphabetic() || c.is_ascii_digit();
            assert!(
                !words.split(|c| !plain(c)).any(|word| word.len() > 12),
                "it quotes the body: {words}"
            );
        }
        Err(_) => {}
    }
    if let Some(value) = value.as_ref().filter(|value| good(value)) {
        // Written anew, nothing stands there twice.
        assert!(parse(value.to_string().as_bytes()).is_ok(), "{value}");
    }
}

/// Ids a line: all that stand there, or none.
fn lines(body: &[u8]) {
    let lines = body.split(|&byte| byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    let good = lines.len() <= limits::MISSING_IDS
        && (lines.iter()).all(|line| std::str::from_utf8(line).is_ok_and(is_chunk_id));
    match parse_chunk_lines(body) {
        Ok(ids) => {
            assert!(good, "{ids:?}");
            let texts = texts(&ids);
            assert!(texts.iter().map(String::as_bytes).eq(lines));
        }
        Err(_) => assert!(!good),
    }
}

/// A length, a space and the value of a `Range`.
pub fn range(bytes: &[u8]) {
    // No other byte gets so far: a header's value is text.
    if !bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return;
    }
    let text = std::str::from_utf8(bytes).expect("it is ASCII");
    let Some((length, range)) = text.split_once(' ') else {
        return;
    };
    let Ok(length) = length.parse::<u64>() else {
        return;
    };
    let wanted = conditions::range(range, length);
    if let Wanted::Part { first, last } = wanted {
        assert!(first <= last && last < length, "{text:?}: {wanted:?}");
    }
    if length <= 100 {
        assert_eq!(wanted, by_bytes(range, length), "{text:?}");
    }
}

/// The same, byte by byte: each is in the range or not.
fn by_bytes(range: &str, length: u64) -> Wanted {
    let blank = |c| c == ' ' || c == '\t';
    let unit_and_spec = range.split_once('=');
    let Some((unit, spec)) =
        unit_and_spec.map(|(a, b)| (a.trim_matches(blank), b.trim_matches(blank)))
    else {
        return Wanted::Whole;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let ends: Vec<&str> = spec.split('-').collect();
    let ([first, last], true) = (&ends[..], unit.to_lowercase() == "bytes") else {
        return Wanted::Whole;
    };
    if !digits(first) || !digits(last) || spec == "-" {
        return Wanted::Whole;
    }
    // As far as any length goes.
    let number = |text: &str| {
        text.bytes().fold(0_u64, |number, byte| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(byte - b'0'))
        })
    };
    let is_in = |at: u64| match (*first, *last) {
        ("", suffix) => length - at <= number(suffix),
        (first, "") => number(first) <= at,
        (first, last) => number(first) <= at && at <= number(last),
    };
    let backwards = !first.is_empty() && !last.is_empty() && number(last) < number(first);
    // Of nothing, its last bytes are all there is.
    let all_of_nothing = length == 0 && first.is_empty() && number(last) > 0;
    if backwards || all_of_nothing {
        return Wanted::Whole;
    }
    let mut all = (0..length).filter(|&at| is_in(at));
    match (all.next(), all.next_back()) {
        (None, _) => Wanted::Unsatisfiable,
        (Some(first), last) => Wanted::Part {
            first,
            last: last.unwrap_or(first),
        },
    }
}

/// Queries: each parameter once, and right, or refused.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let all = |name: &str| -> Vec<&str> {
        let pairs = text.split('&');
        let values = pairs.filter_map(|pair| match pair.strip_prefix(name)? {
            "" => Some(""),
            rest => rest.strip_prefix('='),
        });
        values.collect()
    };
    let id = |name, default: Option<&str>| match all(name)[..] {
        [] => Ok(default.map(str::to_owned)),
        [id] if is_uuid(id) => Ok(Some(id.to_owned())),
        _ => Err(()),
    };
    let number = |name, bounds: std::ops::RangeInclusive<u64>, default| match all(name)[..] {
        [] => Ok(default),
        [""] => Err(()),
        [text] if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = text.trim_start_matches('0');
            // What is longer is beyond all bounds.
            let number = match number.len() {
                0 => 0,
                1..=9 => number.parse().expect("nine digits are a number"),
                _ => u64::MAX,
            };
            bounds.contains(&number).then_some(number).ok_or(())
        }
        _ => Err(()),
    };
    let root = Some("00000000-0000-0000-0000-000000000000");
    let both =
        |one: Result<Option<String>, ()>, other: Result<u64, ()>| Ok::<_, ()>((one?, other?));

    let expected = both(id("from", root), number("limit", 1..=1_000_000, 1_000_000));
    let read = ListingQuery::parse(Some(text));
    agree(text, &read, &["from", "limit"], all);
    let read = read.map(|read| (Some(read.from.to_string()), read.limit));
    assert_eq!(read.map_err(drop), expected, "{text:?}");

    let chunks = match all("chunks")[..] {
        [] => Ok(true),
        ["none"] => Ok(false),
        _ => Err(()),
    };
    let expected = both(id("from", root), number("limit", 1..=100_000, 100_000))
        .and_then(|bundle| Ok((bundle, id("to", None)?, chunks?)));
    let read = BundleQuery::parse(Some(text));
    agree(text, &read, &["from", "to", "limit", "chunks"], all);
    let read = read.map(|read| {
        let to = read.to.map(|to| to.to_string());
        ((Some(read.from.to_string()), read.limit), to, read.chunks)
    });
    assert_eq!(read.map_err(drop), expected, "{text:?}");

    // Without `last` the list is another one, and nothing beside it is looked at.
    let newest = !all("last").is_empty();
    let alone = all("from").is_empty() && all("limit").is_empty();
    let expected = both(id("to", None), number("last", 1..=1_000_000, 0));
    let expected = expected.and_then(|both| alone.then_some(both).ok_or(()));
    let read = NewestQuery::parse(Some(text));
    let named: &[&str] = if newest { &["last", "to"] } else { &[] };
    agree(text, &read, named, all);
    assert!(matches!(read, Ok(None)) != newest, "{text:?}");
    if newest {
        let read = read.map_err(drop).map(|read| {
            let read = read.expect("it has a last");
            (read.to.map(|to| to.to_string()), read.last)
        });
        assert_eq!(read, expected, "{text:?}");
    }

    let read = parse_wait(Some(text));
    agree(text, &read, &["wait"], all);
    let read = read.map(|wait| wait.as_secs()).map_err(drop);
    assert_eq!(read, number("wait", 0..=300, 0), "{text:?}");
}

/// It is called repeated only where a parameter is, and none that is repeated is taken.
fn agree<'a, T>(
    text: &str,
    read: &Result<T, BadQuery>,
    names: &[&str],
    all: impl Fn(&str) -> Vec<&'a str>,
) {
    let repeated = names.iter().any(|name| all(name).len() > 1);
    match read {
        Ok(_) => assert!(!repeated, "{text:?} is taken"),
        Err(BadQuery::Repeated(name)) => assert!(all(name).len() > 1, "{text:?}: {name}"),
        Err(_) => {}
    }
}
