//! What the operator does meanwhile: collects garbage, repairs, makes backups.

use std::sync::{Arc, Mutex};

use mentat_sync::disk::{self, Disk, IfThere, Kind, Place};
use mentat_sync::model::Head;
use mentat_sync::store::{Error, Mistake, Result, Store};
use mentat_sync::upkeep::{fsck, gc};

use super::acts::{Act, Client, World as Disks};
use super::answers::{Answers, Book, Fact};
use super::cast::{folder, user};
use super::verdict::judge_files;
use simulated_disk::{Reading, Sim, SimDisk};

pub fn collect(store: &Store) -> Result<()> {
    gc::collect(store, &user(), &gc::CollectOptions::default(), &mut |_| {}).map(drop)
}

/// Notes what fsck finds of damage, and what it could not mend.
#[derive(Default)]
pub struct Findings(pub Mutex<Vec<String>>);

impl Findings {
    fn note(&self, what: String) {
        self.0.lock().expect("nobody panics with it").push(what);
    }
}

impl fsck::Observer for Findings {
    fn found(&self, finding: &fsck::Finding) {
        if finding.severity != fsck::Severity::Harmless {
            self.note(format!(
                "{:?} {:?}: {}",
                finding.kind, finding.place, finding.detail
            ));
        }
    }

    fn mended(&self, mended: &fsck::Mended) {
        if let Err(why) = &mended.outcome {
            self.note(format!("{:?} is not mended: {why}", mended.place));
        }
    }

    fn newest_sound(&self, _: &mentat_sync::model::UserId, _: Head) {}

    fn checked(&self, _: u64) {}
}

/// What fsck finds wrong, or could not mend.
pub fn findings(disk: &SimDisk, repair: bool) -> std::result::Result<Vec<String>, fsck::Error> {
    check(disk, repair, None)
}

fn check(
    disk: &SimDisk,
    repair: bool,
    mistake: Option<Mistake>,
) -> std::result::Result<Vec<String>, fsck::Error> {
    let options = fsck::CheckOptions {
        repair,
        threads: 1,
        ..fsck::CheckOptions::default()
    };
    let findings = Findings::default();
    let disk = Arc::new(disk.clone());
    match mistake {
        Some(mistake) => fsck::check_with_mistake(disk, &options, &findings, mistake)?,
        None => fsck::check(disk, &options, &findings)?,
    };
    Ok(findings.0.into_inner().expect("nobody panics with it"))
}

pub fn repair(disk: &SimDisk, mistake: Option<Mistake>) -> Result<()> {
    match check(disk, true, mistake) {
        // What it could not mend because somebody else was at work is looked at in the end.
        Ok(_) | Err(fsck::Error::NoSuchUser) => Ok(()),
        Err(fsck::Error::Store(error)) => Err(error),
        Err(fsck::Error::NotAStore(what)) => Err(Error::NotAStore(what)),
    }
}

/// Copies CHECKPOINT, HEAD, and then the rest in this order, to another box, and goes on there. Which of the first two is
/// the first is to be said.
pub fn copy(
    disk: &SimDisk,
    book: &Book,
    before: &Answers,
    order: &[&str],
    checkpoint_first: bool,
) -> Result<()> {
    let mut answers = before.clone();
    answers
        .facts
        .retain(|fact| matches!(fact, Fact::Head(_) | Fact::Checkpoint(_)));
    let box_two = Sim::new(Reading::Atomic);
    let target = box_two.process();
    Store::open(Arc::new(target.clone()), Default::default())?;
    target.make_directory(&folder())?;
    let place = folder().join("CHECKPOINT");
    let checkpoint = || read(disk, &place).if_there();
    let first = if checkpoint_first {
        checkpoint()?
    } else {
        None
    };
    let head = read(disk, &folder().join("HEAD"))?;
    let checkpoint = if checkpoint_first {
        first
    } else {
        checkpoint()?
    };
    if let Some(checkpoint) = checkpoint {
        write(&target, &place, &checkpoint)?;
    }
    for name in order {
        copy_tree(disk, &target, &folder().join(name))?;
    }
    write(&target, &folder().join("HEAD"), &head)?;
    box_two.with(|world| world.settle());
    answers.aims.clone_from(&book.open().aims);

    if let Err(what) = judge_files(&box_two.world(), &answers) {
        book.wrong(format!("a copy in the order {order:?}: {what}"));
    }
    let there = Book::new(answers);
    let client = Client::new(&box_two, None);
    for act in [
        Act::GetListing,
        Act::PutChunk("a"),
        Act::PutTransaction("A"),
        Act::PutTransaction("Z"),
        Act::Advance("A"),
        Act::Advance("Z"),
        Act::GetListing,
        Act::GetCheckpoint,
    ] {
        act.perform(&client, &there, Disks::Sound);
    }
    let wrong = there.open().wrong.first().cloned();
    let wrong = wrong.or_else(|| judge_files(&box_two.world(), &there.open()).err());
    if let Some(what) = wrong {
        book.wrong(format!("a copy in the order {order:?} goes on: {what}"));
    }
    Ok(())
}

/// The bytes of a short file.
pub fn read(disk: &SimDisk, place: &Place) -> disk::Result<Vec<u8>> {
    let handle = disk.open(place)?;
    let mut bytes = vec![0; 4096];
    let read = handle.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Makes a file of these bytes.
pub fn write(disk: &SimDisk, place: &Place, bytes: &[u8]) -> disk::Result<()> {
    disk.create(place)?.append(bytes)
}

fn copy_tree(from: &SimDisk, to: &SimDisk, place: &Place) -> disk::Result<()> {
    match from.meta(place) {
        Ok(meta) if meta.kind == Kind::File => return write(to, place, &read(from, place)?),
        Err(absent) if absent.is_absent() => return Ok(()),
        other => drop(other?),
    }
    let mut names = Vec::new();
    from.list(place, &mut |entry| {
        names.push(entry.name);
        true
    })?;
    to.make_directory(place)?;
    for name in names {
        copy_tree(from, to, &place.join(&name))?;
    }
    Ok(())
}
