//! Bundles: pushed upon HEAD or upon what is no more, and pulled.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::kit::{ROOT, digest};

use super::asks::Asking;
use super::device::{Device, Put, code};
use super::ledger::Link;
use super::verdict::{Halt, Told, wrong};

/// Tries of one bundle; what then has not won is litter, for gc.
const PUSHES: usize = 4;

/// A bundle of so many transactions, HEAD with them.
pub fn push(device: &mut Device, count: u64) -> Told<()> {
    let (mut head, mut seq) = device.head()?;
    for _ in 0..PUSHES {
        let since = Instant::now();
        let (links, tar) = bundle(device, (&head, seq), count);
        let last = links.last().expect("it has some");
        let asked = device.asks.ask(Asking {
            method: "POST",
            rest: "bundle",
            body: Some(&tar),
            allowed: &[200, 409],
            moves: &links,
            ..Asking::default()
        })?;
        if asked.answer.status == 200 {
            let (told, number) = asked.told()?;
            if (told.as_str(), number) != (last.id.as_str(), last.seq) && asked.certain {
                let how = format!("{} was pushed, and {}", last.id, asked.answer.text());
                return wrong("unexpected answer", how);
            }
            let verdict = &device.asks.stage.verdict;
            verdict.count("bundles pushed", 1);
            verdict.count("advances", 1);
            return asked.moved();
        }
        if code(&asked) == "unknown-parent" && !device.asks.is_whole() {
            return Err(Halt::Again);
        }
        match device.lost(&asked, &head, since)? {
            Some(winner) => (head, seq) = winner,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// What a bundle after this HEAD would be made of.
fn bundle(device: &mut Device, (head, seq): (&str, u64), count: u64) -> (Vec<Link>, Vec<u8>) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut append = |name: String, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    let (mut parent, mut seq) = (head.to_owned(), seq);
    let mut links = Vec::new();
    for _ in 0..count {
        let put = Put {
            chunk: device.new_chunk(),
            since: Instant::now(),
        };
        let (id, bytes) = (put.chunk.id.clone(), put.chunk.bytes.clone());
        let link = device.link((&parent, seq), &[put]);
        append(format!("chunks/{}/{id}", &id[..2]), &bytes);
        let json = format!(
            "{{\"id\":\"{}\",\"seq\":{},\"parent\":\"{parent}\",\"chunks\":[\"{id}\"]}}\n",
            link.id, link.seq,
        );
        let name = format!("transactions/{}/{}.json", &link.id[..2], link.id);
        append(name, json.as_bytes());
        (parent, seq) = (link.id.clone(), link.seq);
        links.push(link);
    }
    append("HEAD".to_owned(), format!("{parent}\n").as_bytes());
    (links, tar.into_inner().unwrap())
}

/// What is new since the last pull; every chunk of it is what it is called, and its HEAD is one that was.
pub fn pull(device: &mut Device) -> Told<()> {
    // Of another folder since: from the root.
    let ledger = Arc::clone(device.asks.house.now().ledger());
    let (from, number) = match device.pulled.take() {
        Some((of, head, number)) if Arc::ptr_eq(&of, &ledger) => (head, number),
        _ => (ROOT.to_owned(), 0),
    };
    let asked = device
        .asks
        .get(&format!("bundle?from={from}&limit=100"), &[200])?;
    let (members, head) = members(&asked.answer.body)?;
    let is_one = |name: &&String| name.starts_with("transactions/");
    let transactions = members.keys().filter(is_one).count() as u64;
    device.asks.stage.verdict.count("bundles pulled", 1);
    let number = number + transactions;
    if asked.certain {
        device.pulled = Some((Arc::clone(asked.ledger()), head.clone(), number));
    }
    match transactions < 100 {
        true => asked.saw("bundle", &head, number),
        false => Ok(()),
    }
}

/// The members of a bundle but HEAD, by name, and HEAD. Each chunk is what it is called.
fn members(bundle: &[u8]) -> Told<(BTreeMap<String, Vec<u8>>, String)> {
    let mut members = BTreeMap::new();
    let mut last = String::new();
    for entry in tar::Archive::new(bundle).entries().unwrap() {
        let Ok(mut entry) = entry else {
            return wrong("a broken bundle", format!("{:?}", entry.err()));
        };
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        if let Err(error) = entry.read_to_end(&mut bytes) {
            return wrong("a broken bundle", format!("{name}: {error}"));
        }
        if name.starts_with("chunks/") && !name.ends_with(&digest(&bytes)) {
            return wrong(
                "other bytes",
                format!("{name} of a bundle holds other bytes"),
            );
        }
        members.insert(name.clone(), bytes);
        last = name;
    }
    match members.remove("HEAD") {
        Some(head) if last == "HEAD" => Ok((
            members,
            String::from_utf8_lossy(&head).trim_end().to_owned(),
        )),
        _ => wrong("a broken bundle", format!("the last of it is {last:?}")),
    }
}

/// A bundle of the whole chain has all that was acknowledged, as it was.
pub fn holds(bundle: &[u8], links: &[Link]) -> Told<()> {
    let (members, _) = members(bundle)?;
    for link in links {
        let name = format!("transactions/{}/{}.json", &link.id[..2], link.id);
        let told = members
            .get(&name)
            .map(|bytes| String::from_utf8_lossy(bytes));
        let json = told.as_deref().unwrap_or_default();
        let there: Value = serde_json::from_str(json).unwrap_or_default();
        let expected =
            json!({"id": link.id, "seq": link.seq, "parent": link.parent, "chunks": link.chunks});
        if there != expected {
            let how = format!("{expected} was acknowledged, and {told:?} is there");
            return wrong("committed transaction lost", how);
        }
        for id in &link.chunks {
            if !members.contains_key(&format!("chunks/{}/{id}", &id[..2])) {
                return wrong(
                    "committed chunk lost",
                    format!("{id}, which {} names", link.id),
                );
            }
        }
    }
    Ok(())
}
