//! What must hold of a store on a disk, by what was answered: looked at as files first, in the terms of
//! the document (DESIGN, Files), and then through the ordinary code, which must be able to go on.

use mentat_sync::disk::Place;
use mentat_sync::model::TransactionId;

use super::acts::{Act, Client, World as Disks};
use super::answers::{Answers, Book, Fact};
use super::cast::{self, Content, Known, folder};
use super::upkeep::findings;
use super::{checkpoints, moves};
use simulated_disk::{Sim, World};

/// What is wrong with a store.
pub type Verdict = Result<(), String>;

fn fail<T>(what: impl Into<String>) -> Result<T, String> {
    Err(what.into())
}

/// Whose doing the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// The store's alone: fsck finds no damage, whatever was cut.
    Ours,
    /// Somebody changed `log` behind its back: fsck finds no damage once the store went on.
    MeddledWith,
}

/// Looks at a store that is not being written, and that the ordinary code has not touched, and then
/// works with it. Changes it.
pub fn judge(sim: &Sim, answers: &Answers, files: Files) -> Verdict {
    sim.clear_trace();
    if answers.brought && answers.facts.is_empty() {
        return Ok(());
    }
    judge_files(&sim.world(), answers).map_err(|what| format!("as files: {what}"))?;
    if files == Files::Ours {
        judge_by_fsck(sim).map_err(|what| format!("as files: {what}"))?;
    }
    let book = Book::new(answers.clone());
    let sound = |step: &str| match book.open().wrong.first() {
        Some(wrong) => fail(format!("{step}: {wrong}")),
        None => Ok(()),
    };
    let client = Client::new(sim, None);
    let act = |act: Act| act.perform(&client, &book, Disks::Sound);

    if sim.with(|world| world.at(&folder().join("frozen")).is_ok()) {
        act(Act::Thaw);
    }

    for look in [Act::GetHead, Act::GetListing] {
        act(look);
    }
    for fact in &answers.facts {
        match fact {
            Fact::Chunk(name) => act(Act::GetChunk(name)),
            Fact::Transaction(name) => act(Act::GetTransaction(name)),
            Fact::Checkpoint(_) => act(Act::GetCheckpoint),
            Fact::Head(_) => None,
        };
    }
    sound("reading")?;

    // What was acknowledged and is not visible is put again, and becomes visible.
    let pending: Vec<Content> = (answers.facts.iter())
        .filter_map(|fact| match fact {
            Fact::Transaction(name) if is_pending(&sim.world(), answers, name) => Some(*name),
            _ => None,
        })
        .collect();
    for name in &pending {
        act(Act::PutTransaction(name));
        sound("putting again what was acknowledged")?;
    }
    if let Some(leaf) = pending.iter().find(|name| is_leaf(&sim.world(), name)) {
        act(Act::Advance(leaf));
        sound("advancing to what was acknowledged")?;
        if !book.open().has(Fact::Head(cast::id(leaf))) {
            return fail(format!(
                "the advance to {leaf}, which was acknowledged, was refused"
            ));
        }
    }
    act(Act::PutChunk("fresh"));
    act(Act::PutChunk("a"));
    act(Act::Pull);
    sound("going on")?;
    judge_files(&sim.world(), &book.open())
        .and_then(|()| judge_by_fsck(sim))
        .map_err(|what| format!("after going on: {what}"))
}

fn judge_by_fsck(sim: &Sim) -> Verdict {
    match findings(&sim.process(), false) {
        Ok(found) if found.is_empty() => Ok(()),
        Ok(found) => fail(format!("fsck finds {found:?}")),
        Err(error) => fail(format!("fsck fails: {error}")),
    }
}

/// The transactions that HEAD reaches, newest first, by the files alone.
fn chain(world: &World, head: TransactionId) -> Result<Vec<&'static Known>, String> {
    let mut chain = Vec::new();
    let mut here = head;
    while here != TransactionId::ROOT {
        let place = cast::committed_file(here);
        let Some(bytes) = world.read_file(&place) else {
            return fail(format!("the chain is broken: {place:?} is not there"));
        };
        match cast::read(&bytes) {
            Some(known) if known.id == here => {
                chain.push(known);
                here = known.parent;
            }
            _ => return fail(format!("{place:?} is not the transaction of its name")),
        }
    }
    Ok(chain)
}

fn read_head(world: &World) -> Result<Option<TransactionId>, String> {
    let Some(bytes) = world.read_file(&folder().join("HEAD")) else {
        return match world.at(&folder()) {
            Ok(_) => fail("a user's folder has no HEAD"),
            Err(_) => Ok(None),
        };
    };
    let text = String::from_utf8_lossy(&bytes);
    match text.strip_suffix('\n').map(str::parse) {
        Some(Ok(id)) => Ok(Some(id)),
        _ => fail(format!("HEAD is {text:?}")),
    }
}

/// Acknowledged, and neither visible nor dead.
fn is_pending(world: &World, answers: &Answers, name: Content) -> bool {
    let head = read_head(world)
        .ok()
        .flatten()
        .unwrap_or(TransactionId::ROOT);
    let id = cast::id(name);
    answers.has(Fact::Transaction(name)) && id != head && cast::is_on_line(head, id)
}

/// Nothing pending has it as its parent.
fn is_leaf(world: &World, name: Content) -> bool {
    let pending = world.files_below(&folder().join("incoming/transactions"));
    let child =
        |bytes: &[u8]| cast::read(bytes).is_some_and(|known| known.parent == cast::id(name));
    !pending.iter().any(|(_, bytes, _)| child(bytes))
}

/// The promises, on the files alone.
pub fn judge_files(world: &World, answers: &Answers) -> Verdict {
    let (committed, incoming) = (folder(), folder().join("incoming"));
    for area in [&committed, &incoming] {
        judge_names(world, area)?;
    }
    let Some(head) = read_head(world)? else {
        return match answers
            .facts
            .iter()
            .find(|fact| **fact != Fact::Head(TransactionId::ROOT))
        {
            Some(fact) => fail(format!("the user is gone, and {fact:?} was answered")),
            None => Ok(()),
        };
    };
    if head != TransactionId::ROOT && !answers.aims.contains(&head) {
        return fail(format!("HEAD is {head}, which nobody asked for"));
    }
    moves::judge(world, answers.ice, head)?;
    let chain = chain(world, head)?;
    checkpoints::judge(world, answers, |id| chain.iter().any(|on| on.id == id))?;
    for known in &chain {
        for name in known.chunks {
            for place in cast::chunk_files(&committed, name) {
                if world.at(&place).is_err() {
                    return fail(format!("{} is visible without {place:?}", known.name));
                }
            }
        }
    }
    for fact in &answers.facts {
        match fact {
            Fact::Head(passed) if !cast::is_on_line(*passed, head) => {
                return fail(format!("HEAD is {head}, and {passed} was answered"));
            }
            Fact::Head(_) | Fact::Checkpoint(_) => {}
            Fact::Chunk(name) => judge_chunk(world, name)?,
            Fact::Transaction(name) => match chain.iter().find(|on| on.id == cast::id(name)) {
                Some(on) if on.name != *name => {
                    return fail(format!(
                        "{name} was acknowledged, and {} is visible",
                        on.name
                    ));
                }
                Some(_) => {}
                None if cast::is_on_line(head, cast::id(name)) => judge_pending(world, head, name)?,
                None => {} // it does not descend from HEAD: dead
            },
        }
    }
    Ok(())
}

/// No file has a name that its content does not fit.
fn judge_names(world: &World, area: &Place) -> Verdict {
    for (place, bytes, _) in world.files_below(&area.join("chunks")) {
        if place.name() != cast::digest(&bytes).to_string() {
            return fail(format!(
                "{place:?} holds something else, {} bytes",
                bytes.len()
            ));
        }
    }
    for (place, bytes, _) in world.files_below(&area.join("aliases")) {
        let fits = ["ua", "ub"].into_iter().any(|name| {
            let digest = cast::digest(cast::chunk_bytes(name));
            place.name() == cast::chunk_id(name).to_string()
                && *bytes == format!("{digest}\n").as_bytes()
        });
        if !fits {
            return fail(format!("{place:?} holds something else"));
        }
    }
    for (place, bytes, _) in world.files_below(&area.join("transactions")) {
        let fits =
            cast::read(&bytes).is_some_and(|known| place.name() == format!("{}.json", known.id));
        if !fits {
            return fail(format!("{place:?} holds something else"));
        }
    }
    Ok(())
}

fn judge_chunk(world: &World, name: &'static str) -> Verdict {
    let areas = [folder(), folder().join("incoming")];
    let files = areas.map(|area| cast::chunk_files(&area, name));
    for (committed, incoming) in files[0].iter().zip(&files[1]) {
        if world.at(committed).is_err() && world.at(incoming).is_err() {
            return fail(format!(
                "chunk {name} was acknowledged, and {incoming:?} is gone"
            ));
        }
    }
    Ok(())
}

/// An acknowledged transaction that may still become visible is there, with all that it needs.
fn judge_pending(world: &World, head: TransactionId, name: Content) -> Verdict {
    let line = cast::line(cast::id(name)).expect("it is known");
    for id in line.into_iter().rev().take_while(|id| *id != head) {
        let place = cast::pending_file(id);
        let Some(bytes) = world.read_file(&place) else {
            return fail(format!("{name} was acknowledged, and {place:?} is gone"));
        };
        let Some(known) = cast::read(&bytes) else {
            return fail(format!("{place:?} holds something else"));
        };
        if id == cast::id(name) && known.name != name {
            return fail(format!(
                "{name} was acknowledged, and {} is in its place",
                known.name
            ));
        }
        for chunk in known.chunks {
            judge_chunk(world, chunk)?;
        }
    }
    Ok(())
}
