//! What people and other programs do to whole folders, behind the back of whoever serves them.

use mentat_sync::disk::Place;
use mentat_sync::model::UserId;
use mentat_sync::store::{Error, RenameUser, Result, Store};

use super::answers::{Answers, Book};
use super::cast::{self, Content, folder, user};
use simulated_disk::{Doing, SimDisk, World};

/// The user's other name.
fn other() -> UserId {
    UserId::from_bytes([0x22; 16])
}

/// A place that nobody else uses, and nobody serves.
fn aside(world: &World) -> Place {
    Place::new("tmp").join(format!("{}.{:016x}", user(), world.ticks))
}

/// Moves a folder with this chain in, in place of the one there is. Nothing of it was synced.
pub fn bring(disk: &SimDisk, book: &Book, names: &[Content]) -> Result<()> {
    let kind = Doing::Change(None);
    disk.step(kind, "bring", &folder(), None, |world, _| {
        let new = aside(world);
        let written = write_folder(world, &new, names);
        written.expect("nobody else is there");
        if world.at(&folder()).is_ok() {
            let old = aside(world);
            world.rename(&folder(), &old, false)?;
        }
        world.rename(&new, &folder(), false)
    })?;
    let mut answers = book.open();
    answers.brought = true;
    answers.offered.extend(names);
    answers.aims.extend(names.iter().map(|name| cast::id(name)));
    end(&mut answers);
    Ok(())
}

/// The folder is another one, or has another name: what was answered about it before holds no more.
pub fn begin(answers: &mut Answers) {
    answers.deletions.0 += 1;
    answers.facts.clear();
}

fn end(answers: &mut Answers) {
    answers.deletions.1 += 1;
    if !answers.deleting() {
        answers.facts.clear();
    }
}

fn write_folder(world: &mut World, new: &Place, names: &[Content]) -> std::io::Result<()> {
    world.make_directory(new)?;
    let mut log = String::new();
    for name in names {
        let known = cast::known(name);
        for chunk in known.chunks {
            for place in cast::chunk_files(new, chunk) {
                write(world, &place, cast::chunk_bytes(chunk))?;
            }
        }
        let place = cast::committed_file(known.id);
        let below = place.as_str().strip_prefix(folder().as_str());
        let below = below.expect("it is in the folder").trim_start_matches('/');
        write(world, &new.join(below), known.json().as_bytes())?;
        log += &format!("{:012} {}\n", known.seq, known.id);
    }
    let last = names.last().expect("a chain has a last transaction");
    write(world, &new.join("log"), log.as_bytes())?;
    let head = format!("{}\n", cast::id(last));
    write(world, &new.join("HEAD"), head.as_bytes())
}

fn write(world: &mut World, place: &Place, bytes: &[u8]) -> std::io::Result<()> {
    if world.at(place).is_ok() {
        return Ok(());
    }
    let mut missing = Vec::new();
    let mut above = place.parent();
    while world.at(&above).is_err() {
        missing.push(above.clone());
        above = above.parent();
    }
    for directory in missing.iter().rev() {
        world.make_directory(directory)?;
    }
    let file = world.create(place)?;
    world.write(file, 0, bytes);
    world.close(file);
    Ok(())
}

/// `mentat-sync users mv` to another name.
pub fn rename_away(store: &Store, book: &Book) -> Result<()> {
    rename(store, &user(), &other())?;
    end(&mut book.open());
    Ok(())
}

/// The same back again.
pub fn rename_back(store: &Store) -> Result<()> {
    rename(store, &other(), &user())
}

fn rename(store: &Store, from: &UserId, to: &UserId) -> Result<()> {
    let lock = store.user(*from).exclusive_blocking()?;
    match lock.ok_or(Error::UserGone)?.rename(to)? {
        RenameUser::Renamed => Ok(()),
        RenameUser::NoSuchUser | RenameUser::Taken => Err(Error::Busy),
    }
}
