//! What the fuzz targets check, over their corpora and over damage done to them; the bundle's is in
//! `bundles`.

use std::path::Path;

#[path = "../../fuzz/edge.rs"]
mod edge;

#[path = "../../fuzz/sealed.rs"]
mod sealed;

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

/// Checks each file of a corpus, and others that are made of them.
fn run(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut files: Vec<_> = std::fs::read_dir(corpus.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    let sound: Vec<Vec<u8>> = (files.iter())
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    // Bytes that mean something to one of the readers.
    let special = b"0159-=&,\"[]{}:%/ \t\r\nAaFfgx\0\xff";
    for bytes in &sound {
        check(bytes);
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(damaged.len() + 1);
                let byte = special[random.below(special.len())];
                match random.below(6) {
                    0 => damaged.truncate(at),
                    1 => damaged.insert(at, byte),
                    2 if at < damaged.len() => drop(damaged.remove(at)),
                    3 if at < damaged.len() => damaged[at] = byte,
                    4 => {
                        let other = &sound[random.below(sound.len())];
                        let from = random.below(other.len() + 1);
                        damaged.splice(at..at, other[from..].iter().copied());
                    }
                    _ if at < damaged.len() => damaged[at] ^= 1 << random.below(8),
                    _ => {}
                }
            }
            check(&damaged);
        }
    }
}

#[test]
fn an_id_and_a_path_have_one_spelling_whatever_is_done_to_them() {
    run("ids", edge::ids);
}

#[test]
fn a_request_says_what_a_plain_json_reader_finds() {
    run("json", edge::request_json);
}

#[test]
fn a_range_lies_within_what_is_there() {
    run("range", edge::range);
}

#[test]
fn a_query_is_right_or_refused() {
    run("query", edge::query);
}

#[test]
fn a_chunk_that_opens_is_the_one_that_is_made_of_what_was_in_it() {
    run("envelope", sealed::envelope);
}

#[test]
fn what_an_application_says_comes_back_and_an_entry_of_others_is_read_or_refused() {
    run("entry", sealed::entry);
}

#[test]
fn an_invite_that_is_read_is_written_with_the_same_symbols() {
    run("invite", sealed::invite);
}
