//! One user pulled as a device would, and compared with the files of the copy.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::disk::Place;
use crate::model::{TransactionId, UserId, limits};
use crate::store::layout::{Folder, Member};
use crate::wire::{HeadMessage, ListingMessage};

/// The contents of what was pulled of a user, in numbers.
pub struct Pulled {
    pub head: TransactionId,
    pub transactions: u64,
    pub chunks: u64,
    pub bytes: u64,
}

/// Pulls HEAD, the list of transactions and the bundle, and compares each with the data directory at `origin`: byte for byte what is a
/// file there. Calls `step` for each member of the bundle.
///
/// # Errors
/// Words for the first thing that is not as in the copy.
pub fn pull(
    address: &str,
    user: &UserId,
    origin: &Path,
    step: &dyn Fn(u64),
) -> Result<Pulled, String> {
    let folder = Folder::of(user);
    let kept = |place: &Place| origin.join(place.as_str());
    let get = |rest: &str| get(address, &format!("/0.1/{user}/{rest}"));

    let head: HeadMessage = json(get("head")?)?;
    let held = fs::read_to_string(kept(&folder.head())).map_err(|e| format!("HEAD: {e}"))?;
    if held != format!("{}\n", head.head) {
        return Err(format!("the head that is served is {}", head.head));
    }

    let mut listed = HashSet::new();
    let mut last = TransactionId::ROOT;
    while last != head.head {
        let piece: ListingMessage = json(get(&format!("transactions?from={last}"))?)?;
        last =
            *(piece.transactions.last()).ok_or("the list of transactions does not reach HEAD")?;
        listed.extend(piece.transactions);
    }
    let transactions = listed.len() as u64;
    if transactions != head.seq {
        let seq = head.seq;
        return Err(format!(
            "{transactions} transactions are listed, and HEAD is the {seq}th"
        ));
    }

    let (mut chunks, mut bytes, mut newest) = (0, 0, None);
    let mut bundle = tar::Archive::new(get("bundle")?);
    let broken = |error: io::Error| format!("the bundle: {error}");
    for entry in bundle.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let member = Member::parse(&name);
        let length = compare(&mut entry, &kept(&folder.place().join(&name)))
            .map_err(|why| format!("{name} of the bundle {why}"))?;
        bytes += length;
        step(length);
        match member {
            Some(Member::Transaction(id)) if !listed.remove(&id) => {
                return Err(format!("transaction {id} of the bundle is not listed"));
            }
            Some(Member::Chunk(_)) => chunks += 1,
            Some(Member::Head) => newest = Some(head.head),
            Some(Member::Transaction(_) | Member::Alias(_)) => {}
            None => return Err(format!("{name} of the bundle is nothing of a store")),
        }
    }
    if let Some(id) = listed.iter().next() {
        return Err(format!("transaction {id} is listed, and not in the bundle"));
    }
    if newest.is_none() {
        return Err("the bundle ends before HEAD".to_owned());
    }
    Ok(Pulled {
        head: head.head,
        transactions,
        chunks,
        bytes,
    })
}

/// Compares what is read with a file, and returns how long both are.
fn compare(pulled: &mut dyn Read, file: &Path) -> Result<u64, String> {
    let mut file = File::open(file).map_err(|error| format!("is not in the copy: {error}"))?;
    let (mut length, mut one, mut other) = (0, vec![0; limits::PIECE], vec![0; limits::PIECE]);
    loop {
        let read = pulled
            .read(&mut one)
            .map_err(|error| format!("breaks off: {error}"))?;
        if read == 0 {
            let rest = file.read(&mut other).map_err(|error| error.to_string())?;
            return match rest {
                0 => Ok(length),
                _ => Err("is shorter than in the copy".to_owned()),
            };
        }
        let held = file.read_exact(&mut other[..read]);
        if held.is_err() || one[..read] != other[..read] {
            return Err("differs from the copy".to_owned());
        }
        length += read as u64;
    }
}

fn json<T: serde::de::DeserializeOwned>(body: impl Read) -> Result<T, String> {
    serde_json::from_reader(body).map_err(|error| format!("the answer is not as promised: {error}"))
}

/// The body of an answer of status 200, which ends when the connection does.
fn get(address: &str, path: &str) -> Result<BufReader<TcpStream>, String> {
    let failed = |error: io::Error| format!("GET {path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream
        .set_read_timeout(Some(limits::DRILL_PATIENCE))
        .map_err(failed)?;
    let asked = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(asked.as_bytes()).map_err(failed)?;
    let mut answer = BufReader::with_capacity(limits::PIECE, stream);
    let mut line = String::new();
    answer.read_line(&mut line).map_err(failed)?;
    let status = line.trim_end().to_owned();
    while !matches!(line.as_str(), "" | "\r\n") {
        line.clear();
        answer.read_line(&mut line).map_err(failed)?;
    }
    match status.split(' ').nth(1) {
        Some("200") => Ok(answer),
        _ => Err(format!("GET {path}: {status}")),
    }
}
