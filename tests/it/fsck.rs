//! What fsck reports, and what it does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use mentat_sync::disk::{
    self, Disk, Grouping, Handle, Held, Listed, Meta, Mode, Place, Real, Room, Target,
};
use mentat_sync::upkeep::fsck::{self, Kind, Severity};

use crate::kit::{Device, Server, binary, chunk, run_with_deadline, transaction_id};
use crate::stock::{Seen, Stock, StopAtEnd, USER, alias, check, check_disk, renames, transaction};

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
    regular_files(&stock.data(), &mut files);
    assert!(files.len() > 15, "{files:?}");
    let mut flips = 0;
    for file in files {
        let sound = fs::read(&file).unwrap();
        for at in (0..sound.len()).filter(|at| at % 5 == 0 || at + 1 == sound.len()) {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << (at % 7);
            fs::write(&file, &bytes).unwrap();
            let said = reported(&stock.data());
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
    struct Deaf;
    impl fsck::Observer for Deaf {
        fn found(&self, _: &fsck::Finding) {}
        fn mended(&self, _: &fsck::Mended) {}
        fn newest_sound(&self, _: &mentat_sync::model::UserId, _: mentat_sync::model::Head) {}
        fn checked(&self, _: u64) {}
    }
    let disk = std::sync::Arc::new(Real::new(directory, Grouping::Auto).unwrap());
    match fsck::check(disk, &fsck::CheckOptions::default(), &Deaf) {
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
    let alone = fsck::CheckOptions {
        threads: 1,
        ..fsck::CheckOptions::default()
    };
    let seen = check(&stock.data(), &alone);
    assert_eq!(seen.kinds(), ["chunk-damaged", "chunk-missing"]);
    let many = fsck::CheckOptions {
        threads: 8,
        ..fsck::CheckOptions::default()
    };
    let all = check(&stock.data(), &many);
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
    let quick = fsck::CheckOptions {
        quick: true,
        ..fsck::CheckOptions::default()
    };
    let seen = check(&stock.data(), &quick);
    seen.is_spotless();
    assert_eq!(seen.summary.bytes, 0);
    let seen = stock.check();
    assert!(seen.summary.bytes > 0);
    let found = seen.one(Kind::ChunkDamaged);
    assert_eq!(found.severity, Severity::Damage);
    assert_eq!(seen.newest_sound.unwrap().seq, 1);
}

/// What becomes of one file or directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Oddity {
    /// It cannot be opened: the error's number.
    Closed(i32),
    /// Nor looked at.
    Dark(i32),
    /// A look tells of another one with the same inode.
    Anew,
}

/// A disk on which something becomes of one file or directory.
struct Odd {
    disk: Real,
    name: String,
    oddity: Oddity,
    /// But the next look finds it as it is.
    spared: AtomicBool,
}

impl Odd {
    fn new(stock: &Stock, name: &str, oddity: Oddity) -> Self {
        Self {
            disk: Real::new(&stock.data(), Grouping::Auto).unwrap(),
            name: name.to_owned(),
            oddity,
            spared: AtomicBool::new(false),
        }
    }

    fn refusal(place: &Place, errno: i32) -> disk::Error {
        disk::Error {
            verb: "open",
            place: place.clone(),
            source: std::io::Error::from_raw_os_error(errno),
        }
    }
}

impl Disk for Odd {
    fn open(&self, place: &Place) -> disk::Result<Handle> {
        match self.oddity {
            Oddity::Closed(errno) | Oddity::Dark(errno) if place.name() == self.name => {
                Err(Self::refusal(place, errno))
            }
            _ => self.disk.open(place),
        }
    }
    fn open_to_write(&self, place: &Place) -> disk::Result<Handle> {
        self.disk.open_to_write(place)
    }
    fn create(&self, place: &Place) -> disk::Result<Handle> {
        self.disk.create(place)
    }
    fn meta(&self, place: &Place) -> disk::Result<Meta> {
        if place.name() != self.name || self.spared.swap(false, Ordering::Relaxed) {
            return self.disk.meta(place);
        }
        match self.oddity {
            Oddity::Closed(_) => self.disk.meta(place),
            Oddity::Dark(errno) => Err(Self::refusal(place, errno)),
            Oddity::Anew => self.disk.meta(place).map(|meta| Meta {
                born: Some(SystemTime::now()),
                ..meta
            }),
        }
    }
    fn list(&self, directory: &Place, each: &mut dyn FnMut(Listed) -> bool) -> disk::Result<()> {
        self.disk.list(directory, each)
    }
    fn make_directory(&self, place: &Place) -> disk::Result<()> {
        self.disk.make_directory(place)
    }
    fn link(&self, from: &Place, to: &Place) -> disk::Result<()> {
        self.disk.link(from, to)
    }
    fn rename_new(&self, from: &Place, to: &Place) -> disk::Result<()> {
        self.disk.rename_new(from, to)
    }
    fn rename_over(&self, from: &Place, to: &Place) -> disk::Result<()> {
        self.disk.rename_over(from, to)
    }
    fn remove_file(&self, place: &Place) -> disk::Result<()> {
        self.disk.remove_file(place)
    }
    fn remove_directory(&self, place: &Place) -> disk::Result<()> {
        self.disk.remove_directory(place)
    }
    fn sync(&self, targets: &[Target]) -> disk::Result<()> {
        self.disk.sync(targets)
    }
    fn sync_everything(&self) -> disk::Result<()> {
        self.disk.sync_everything()
    }
    fn try_lock(&self, place: &Place, mode: Mode) -> disk::Result<Option<Box<dyn Held>>> {
        self.disk.try_lock(place, mode)
    }
    fn room(&self) -> disk::Result<Room> {
        self.disk.room()
    }
    fn now(&self) -> SystemTime {
        self.disk.now()
    }
    fn elapsed(&self) -> Duration {
        self.disk.elapsed()
    }
    fn pause(&self, time: Duration) {
        self.disk.pause(time);
    }
    fn random(&self) -> u64 {
        self.disk.random()
    }
}

#[test]
fn a_file_that_the_disk_cannot_read_is_damage_and_one_that_we_may_not_read_is_not_known() {
    const EIO: i32 = 5;
    const EACCES: i32 = 13;
    let stock = Stock::full(4);
    let chunk = crate::kit::digest(b"chunk 3");
    let transaction = format!("{}.json", transaction(2));
    for name in [chunk.as_str(), &transaction, "HEAD", "log"] {
        for (errno, says) in [(EIO, "damage unreadable"), (EACCES, "unchecked unchecked")] {
            let disk = Odd::new(&stock, name, Oddity::Closed(errno));
            let seen = check_disk(Arc::new(disk), &fsck::CheckOptions::default());
            assert!(seen.words().contains(&says.to_owned()), "{name}: {seen:#?}");
            let of_it = seen.findings.iter().filter(|f| f.place.name() == name);
            assert!(of_it.count() >= 1, "{name}: {seen:#?}");
            assert_eq!(seen.summary.damage > 0, errno == EIO, "{name}: {seen:#?}");
        }
    }
}

/// The same where not even a look is allowed: nothing of it is missing, dead or left over, for all that is known.
#[test]
fn what_cannot_be_looked_at_is_said_to_be_that_and_nothing_else() {
    const EIO: i32 = 5;
    const EACCES: i32 = 13;
    let stock = Stock::full(4);
    let digest = |text: &str| crate::kit::digest(text.as_bytes());
    let pending = |n: u32| format!("{}.json", transaction(n));
    stock.pending(7, transaction(5), &[]);
    let dark = [
        digest("chunk 3"),
        digest("by another name"),
        digest("pending"),
        digest("dead"),
        alias(9).to_string(),
        // On the chain; pending, with a child; its child; the user's folder.
        pending(2),
        pending(5),
        pending(7),
        USER.to_string(),
        "lock".to_owned(),
    ];
    for name in dark {
        for (errno, says) in [(EIO, "damage unreadable"), (EACCES, "unchecked unchecked")] {
            for repair in [false, true] {
                let disk = Odd::new(&stock, &name, Oddity::Dark(errno));
                let options = fsck::CheckOptions {
                    repair,
                    ..fsck::CheckOptions::default()
                };
                let seen = check_disk(Arc::new(disk), &options);
                assert_eq!(seen.words(), [says], "{name}: {seen:#?}");
                let of_it = seen.findings.iter().all(|f| f.place.name() == name);
                assert!(of_it, "{name}: {seen:#?}");
                let mended = seen.mended.iter().filter(|mended| mended.outcome.is_ok());
                assert_eq!(mended.count(), 0, "{name}: {seen:#?}");
            }
        }
    }
    assert_eq!(stock.check().words(), [""; 0]);
}

/// Checks a user who lacks a chunk, and of whose folder this becomes after the first look.
fn check_while_the_folder(becomes: Oddity) -> Seen {
    let stock = Stock::full(4);
    fs::remove_file(stock.chunk_file("", "chunk 3")).unwrap();
    let disk = Odd::new(&stock, &USER.to_string(), becomes);
    disk.spared.store(true, Ordering::Relaxed);
    check_disk(Arc::new(disk), &fsck::CheckOptions::default())
}

#[test]
fn a_folder_that_cannot_be_looked_at_any_more_has_not_gone_away() {
    const EIO: i32 = 5;
    let seen = check_while_the_folder(Oddity::Dark(EIO));
    assert!(
        seen.words().contains(&"damage chunk-missing".to_owned()),
        "{seen:#?}"
    );
    assert_eq!(seen.summary.users, 1);
}

#[test]
fn a_user_who_is_deleted_and_made_anew_with_the_same_inode_is_no_damage() {
    let seen = check_while_the_folder(Oddity::Anew);
    seen.is_spotless();
    assert_eq!(seen.summary.users, 0);
}

#[test]
fn fsck_beside_a_writer_at_full_speed_finds_nothing_but_what_is_there() {
    let stock = Stock::full(3);
    let server = Server::on(Arc::clone(&stock.directory), &[]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut device = Device::new(server.address(), &USER.to_string());
            let mut parent = transaction(3).to_string();
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                let id = transaction_id(&format!("{count}"));
                device.commit(&id, &parent, &[&chunk(format!("bytes {count}"))]);
                parent = id;
            }
            count
        });
        let stop_at_end = StopAtEnd(&stop);
        let mut transactions = 0;
        for round in 0..25 {
            let options = fsck::CheckOptions {
                repair: round % 2 == 1,
                ..fsck::CheckOptions::default()
            };
            let seen = check(&stock.data(), &options);
            seen.is_spotless();
            transactions = seen.summary.transactions;
        }
        drop(stop_at_end);
        let count = writer.join().unwrap();
        assert!(
            transactions > 3 && count > transactions - 3,
            "{transactions} {count}"
        );
    });
    server.stop();
    stock.check().is_spotless();
}

#[test]
fn a_user_who_is_deleted_or_renamed_meanwhile_is_no_damage() {
    let stock = Stock::new();
    stock.chain(300);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| renames(&stock, &stop, Duration::from_millis(7)));
        let _stop = StopAtEnd(&stop);
        for _ in 0..40 {
            check(&stock.data(), &fsck::CheckOptions::default()).is_spotless();
        }
    });
}

#[test]
fn a_second_user_is_checked_apart_from_the_first() {
    let stock = Stock::full(3);
    let copy = stock.path("users/86868686-8686-4686-8686-868686868686");
    let copied = run_with_deadline(Command::new("cp").arg("-a").arg(stock.file("")).arg(&copy));
    assert_eq!(copied.code, Some(0), "{copied:?}");
    fs::remove_file(stock.chunk_file("", "chunk 2")).unwrap();
    let seen = stock.check();
    assert_eq!(seen.summary.users, 2);
    assert_eq!(seen.one(Kind::ChunkMissing).user, Some(USER));
    let other = fsck::CheckOptions {
        user: "86868686-8686-4686-8686-868686868686".parse().ok(),
        ..fsck::CheckOptions::default()
    };
    let seen = check(&stock.data(), &other);
    seen.is_spotless();
    assert_eq!(seen.summary.users, 1);
}

#[test]
fn what_cannot_be_checked_is_said_with_status_3() {
    let stock = Stock::full(2);
    let fsck = |data: &Path, more: &[&str]| {
        run_with_deadline(binary().arg("fsck").arg("--data").arg(data).args(more))
    };
    let empty = tempfile::tempdir().unwrap();
    let nobody = "99999999-9999-4999-8999-999999999999";
    let three = [
        (fsck(empty.path(), &[]), "there is no store here"),
        (fsck(&empty.path().join("nothing"), &[]), "No such file"),
        (fsck(&stock.data(), &["--user", nobody]), "no such user"),
    ];
    for (finished, words) in three {
        assert_eq!(finished.code, Some(3), "{finished:?}");
        assert!(finished.stderr.contains(words), "{finished:?}");
        assert_eq!(finished.stdout, "");
    }
    fs::write(stock.path("FORMAT"), "mentat-sync 2\n").unwrap();
    let newer = fsck(&stock.data(), &["--repair"]);
    assert_eq!(newer.code, Some(3), "{newer:?}");
    assert!(newer.stderr.contains("use the version"), "{newer:?}");
    let wrong = fsck(&stock.data(), &["--usr"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

#[test]
fn with_json_each_line_is_an_object_that_tells_the_same() {
    let stock = Stock::full(4);
    fs::write(stock.chunk_file("", "chunk 3"), "other").unwrap();
    let mut command = binary();
    let finished = run_with_deadline(
        command
            .args(["fsck", "--json", "--repair", "--data"])
            .arg(stock.data()),
    );
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.stderr, "mentat-sync: 1 piece of damage\n");
    let lines: Vec<serde_json::Value> = finished
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [finding, mended, newest, summary] = &lines[..] else {
        panic!("{lines:#?}");
    };
    let id = crate::kit::digest(b"chunk 3");
    let place = format!("users/{USER}/chunks/{}/{id}", &id[..2]);
    assert_eq!(finding["type"], "finding");
    assert_eq!(finding["severity"], "damage");
    assert_eq!(finding["kind"], "chunk-damaged");
    assert_eq!(finding["user"], USER.to_string());
    assert_eq!(finding["place"], place);
    assert_eq!(mended["type"], "mended");
    assert_eq!(mended["done"], true);
    assert_eq!(mended["place"], place);
    assert_eq!(newest["type"], "newest_sound");
    assert_eq!(newest["head"], transaction(2).to_string());
    assert_eq!(newest["seq"], 2);
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["damage"], 1);
    assert_eq!(summary["transactions"], 4);
}
