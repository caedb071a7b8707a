//! What fsck reports, and what it does not.

use std::fs;
use std::path::{Path, PathBuf};

use mentat_sync::upkeep::fsck::{self, Kind, Severity};

use crate::stock::{Stock, check, transaction};

#[test]
fn a_sound_store_has_nothing_to_be_said_of_it() {
    let stock = Stock::full(5);
    let seen = stock.check();
    seen.is_spotless();
    assert_eq!(seen.summary.users, 1);
    assert_eq!(seen.summary.transactions, 5);
    // One each, the shared one, the alias's, the pending one's, the dead one's.
    assert_eq!(seen.summary.chunks, 5 + 1 + 1 + 1 + 1);
    assert_eq!(seen.checked, 5 + seen.summary.chunks);
}

#[test]
fn a_store_with_one_flipped_byte_in_any_file_is_reported() {
    let stock = Stock::full(4);
    stock.check().is_spotless();
    let mut files = Vec::new();
    regular_files(stock.directory.path(), &mut files);
    assert!(files.len() > 15, "{files:?}");
    let mut flips = 0;
    for file in files {
        let sound = fs::read(&file).unwrap();
        for at in (0..sound.len()).filter(|at| at % 5 == 0 || at + 1 == sound.len()) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 7);
            fs::write(&file, &bytes).unwrap();
            let said = reported(stock.directory.path());
            assert!(said, "{} at {at}", file.display());
            flips += 1;
        }
        fs::write(&file, &sound).unwrap();
    }
    stock.check().is_spotless();
    assert!(flips > 200, "{flips}");
}

/// Whether fsck has anything to say.
fn reported(directory: &Path) -> bool {
    use mentat_sync::disk::{Grouping, Real};
    struct Deaf;
    impl fsck::Watch for Deaf {
        fn found(&self, _: &fsck::Finding) {}
        fn mended(&self, _: &fsck::Mended) {}
        fn newest_sound(&self, _: &mentat_sync::model::UserId, _: mentat_sync::model::Head) {}
        fn checked(&self, _: u64) {}
    }
    let disk = std::sync::Arc::new(Real::new(directory, Grouping::Auto).unwrap());
    match fsck::check(disk, &fsck::Options::default(), &Deaf) {
        Ok(summary) => summary.damage + summary.harmless > 0,
        Err(fsck::Error::NotAStore(_)) => true,
        Err(other) => panic!("{other}"),
    }
}

fn regular_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            regular_files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn one_thread_finds_what_many_find() {
    let stock = Stock::full(5);
    fs::write(stock.chunk_file("", "chunk 2"), "other").unwrap();
    fs::remove_file(stock.chunk_file("", "chunk 3")).unwrap();
    let alone = fsck::Options {
        threads: 1,
        ..fsck::Options::default()
    };
    let seen = check(stock.directory.path(), &alone);
    assert_eq!(seen.kinds(), ["chunk-damaged", "chunk-missing"]);
    let many = fsck::Options {
        threads: 8,
        ..fsck::Options::default()
    };
    let all = check(stock.directory.path(), &many);
    assert_eq!(seen.findings, all.findings);
    assert_eq!(seen.summary, all.summary);
}

#[test]
fn it_never_stops_at_the_first_and_names_the_newest_transaction_with_a_sound_past() {
    let stock = Stock::full(9);
    fs::write(stock.chunk_file("", "chunk 8"), "other").unwrap();
    fs::remove_file(stock.transaction_file(6)).unwrap();
    fs::remove_file(stock.chunk_file("", "chunk 3")).unwrap();
    let seen = stock.check();
    assert_eq!(
        seen.kinds(),
        ["chunk-damaged", "chunk-missing", "transaction-missing"]
    );
    let newest = seen.newest_sound.unwrap();
    assert_eq!((newest.id, newest.seq), (transaction(2), 2));
    assert_eq!(seen.summary.damage, 3);
}

#[test]
fn without_quick_every_byte_is_read_and_with_it_none() {
    let stock = Stock::full(3);
    fs::write(stock.chunk_file("", "chunk 2"), "other").unwrap();
    let quick = fsck::Options {
        quick: true,
        ..fsck::Options::default()
    };
    let seen = check(stock.directory.path(), &quick);
    seen.is_spotless();
    assert_eq!(seen.summary.bytes, 0);
    let seen = stock.check();
    assert!(seen.summary.bytes > 0);
    let found = seen.one(Kind::ChunkDamaged);
    assert_eq!(found.severity, Severity::Damage);
    assert_eq!(seen.newest_sound.unwrap().seq, 1);
}
