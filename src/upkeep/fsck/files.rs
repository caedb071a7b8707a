//! The files of a user's folder: every name is looked at, every chunk is read.

use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::access::{ENTER, NONE, READ, READ_WRITE};
use super::check::{Check, remember};
use super::crew::share_out;
use super::finding::Kind;
use super::pending::LOOKS;
use super::suspect::Suspect;
use crate::disk::{self, Handle, IfThere, Listed, Place};
use crate::model::{ChunkDigest, UserId};
use crate::store::layout::{self, Area, Dir, Folder, Recognised, Shelf, Thing};
use crate::store::{self, NameFile, Store, StoreKind, log};

/// A file for a worker to read.
enum ReadJob {
    Chunk(Area, ChunkDigest),
    Alias(Area, Uuid),
    CheckpointChunk(ChunkDigest),
}

type Give<'a> = &'a mut dyn FnMut(ReadJob);

/// How many chunks and transactions of the chain a user has.
pub(super) fn count(store: &Store, user: &UserId) -> u64 {
    let folder = Folder::of(user);
    let log = store.open_log(&folder).ok().flatten();
    let mut count = log
        .and_then(|log| log.meta().ok())
        .map_or(0, |meta| meta.bytes / log::LINE);
    let areas = [Area::Incoming, Area::Committed].map(Shelf::Chunks);
    for shelf in areas.into_iter().chain([Shelf::Checkpoint]) {
        for byte in 0..=255 {
            let fan = folder.dir(Dir::Fan(shelf, byte));
            // One that is not there has none in it.
            let _ = store.disk().list(&fan, &mut |_| {
                count += 1;
                true
            });
        }
    }
    count
}

/// A chunk's file, once it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadChunk {
    Sound,
    /// The bytes are not those of the name.
    Damaged,
    /// The disk does not give its bytes.
    Unread,
}

/// The SHA-256 of a file's bytes, and how many there are.
pub(super) fn hash(file: &Handle, buffer: &mut [u8]) -> disk::Result<(ChunkDigest, u64)> {
    let bytes = file.meta()?.bytes;
    let mut hasher = Sha256::new();
    let mut offset = 0;
    while offset < bytes {
        let piece = buffer.len().min((bytes - offset) as usize);
        let read = file.read_at(offset, &mut buffer[..piece])?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        offset += read as u64;
    }
    Ok((ChunkDigest::from_bytes(hasher.finalize().into()), offset))
}

impl Check<'_> {
    /// Looks at every name in the folder, and reads the chunks and the aliases.
    ///
    /// `incoming/` comes first: what moves to the committed area meanwhile is then seen twice rather
    /// than never.
    pub fn read_files(&self) {
        share_out(
            self.threads(),
            |give| self.directory(Dir::User, give),
            |buffer, job| match job {
                ReadJob::Chunk(area, digest) => self.chunk(area, digest, buffer),
                ReadJob::Alias(area, alias) => self.alias(area, alias),
                ReadJob::CheckpointChunk(digest) => self.checkpoint_chunk(digest, buffer),
            },
        );
    }

    fn directory(&self, dir: Dir, give: Give) {
        if self.is_gone() {
            return;
        }
        let place = self.folder.dir(dir);
        match self.store().disk().meta(&place).if_there() {
            Ok(Some(meta)) => self.mode(&place, &meta, ENTER),
            Ok(None) => return,
            // It cannot be listed either, which says why.
            Err(_) => {}
        }
        let mut inner = Vec::new();
        let listed = self.store().disk().list(&place, &mut |entry| {
            match layout::recognise(dir, &entry.name) {
                Some(Recognised::Dir(dir)) if entry.kind == disk::Kind::Directory => {
                    inner.push(dir)
                }
                Some(known) => self.entry(dir, &entry, known, give),
                None => self.stranger(&place, &entry),
            }
            !self.is_gone()
        });
        if let Err(error) = listed {
            self.trouble_with_directory(&place, error);
        }
        inner.sort_unstable();
        inner.sort_by_key(|dir| *dir != Dir::Incoming);
        for dir in inner {
            self.directory(dir, give);
        }
    }

    fn trouble_with_directory(&self, place: &Place, error: disk::Error) {
        // It is a directory, so that "not a file" is not what is wrong with it.
        if !error.is_absent() {
            self.unread(place, &error);
        }
    }

    fn stranger(&self, directory: &Place, entry: &Listed) {
        let what = match entry.kind {
            disk::Kind::File => "no file of a store has this name here",
            disk::Kind::Directory => "no directory of a store has this name here",
            disk::Kind::Other => "a symlink or device: never followed",
        };
        let place = directory.join(&entry.name);
        // A temporary name of somebody's may be gone again by now.
        let there = self.store().disk().meta(&place).if_there();
        if let Some(Some(_)) = self.seen(&place, there) {
            self.harmless(Kind::Stranger, place, what);
        }
    }

    /// A name that the layout knows.
    fn entry(&self, dir: Dir, entry: &Listed, known: Recognised, give: Give) {
        let place = || self.folder.dir(dir).join(&entry.name);
        if known == Recognised::Name {
            return self.name(&place());
        }
        if entry.kind != disk::Kind::File
            && !matches!(known, Recognised::Temporary | Recognised::Lost)
        {
            let there = self.store().disk().meta(&place()).if_there();
            if let Some(Some(meta)) = self.seen(&place(), there)
                && meta.kind != disk::Kind::File
            {
                self.not_a_file(place());
            }
            return;
        }
        match known {
            Recognised::Dir(_) => {
                let what = "a file where a directory should be";
                self.damage(Kind::NotAFile, place(), what);
            }
            // Read with the chain.
            Recognised::Head | Recognised::Log | Recognised::Name => {}
            Recognised::Device if self.store().options().kind == StoreKind::Server => {
                self.stranger(&self.folder.dir(dir), entry);
            }
            Recognised::Checkpoint | Recognised::Device | Recognised::Move => {
                let there = self.store().disk().meta(&place()).if_there();
                if let Some(Some(meta)) = self.seen(&place(), there) {
                    self.mode(&place(), &meta, READ);
                }
            }
            Recognised::CheckpointChunk(digest) => give(ReadJob::CheckpointChunk(digest)),
            Recognised::Lock => {
                let there = self.store().disk().meta(&place()).if_there();
                if let Some(Some(meta)) = self.seen(&place(), there) {
                    self.mode(&place(), &meta, READ_WRITE);
                }
            }
            Recognised::Thing(area, Thing::Chunk(digest)) => give(ReadJob::Chunk(area, digest)),
            Recognised::Thing(area, Thing::Alias(alias)) => give(ReadJob::Alias(area, alias)),
            Recognised::Thing(Area::Committed, thing @ Thing::Transaction(_)) => {
                if self.chain.whole && !self.may_be_named(&thing) {
                    self.suspect(Suspect::OffChain(thing));
                }
            }
            // Read with the pending.
            Recognised::Thing(Area::Incoming, Thing::Transaction(_)) => {}
            Recognised::Temporary => {
                let left = self.is_left_behind(&place());
                if self.seen(&place(), left) == Some(true) {
                    let what = "older than a day: whoever made it is gone";
                    self.harmless(Kind::Temporary, place(), what);
                    remember(&mut self.todo().temporaries, entry.name.clone());
                }
            }
            Recognised::Lost => self.lost(dir, entry),
        }
    }

    /// Looks at what the user is called. No request needs it, so that nothing about it is damage.
    fn name(&self, place: &Place) {
        let there = self.store().disk().meta(place).if_there();
        if let Some(Some(meta)) = self.seen(place, there)
            && meta.kind == disk::Kind::File
        {
            self.mode(place, &meta, NONE);
        }
        match self.store().read_name(&self.folder) {
            Ok(NameFile::Absent | NameFile::Holds(_)) => {}
            Ok(NameFile::Damaged(why)) => {
                let what = format!(
                    "this is no name of a user: {why}; `mentat-sync users name` gives another"
                );
                self.harmless(Kind::Name, place.clone(), what);
            }
            Err(error) => self.trouble(place, &error, Kind::Unreadable),
        }
    }

    /// Looks at an entry of `lost+found/`: the operator's, but for marks that have done their work.
    fn lost(&self, dir: Dir, entry: &Listed) {
        let place = self.folder.dir(dir).join(&entry.name);
        let there = self.store().disk().meta(&place).if_there();
        if let Some(Some(meta)) = self.seen(&place, there) {
            self.owner(&place, &meta);
        }
        let marked = (dir == Dir::LostChunks)
            .then(|| layout::parse_lost_chunk(&entry.name))
            .flatten();
        let Some(digest) = marked else {
            return;
        };
        let mark = self.folder.lost_chunk(&digest);
        let again = self.is_there(Area::Committed, &Thing::Chunk(digest));
        if self.seen(&mark, again) == Some(true) {
            self.harmless(Kind::Mark, mark, "the chunk is there again");
            remember(&mut self.todo().marks, digest);
        }
    }

    /// Opens a file, also where it has moved from `incoming/` to the committed area.
    fn open(&self, area: Area, thing: &Thing, damaged: Kind) -> Option<(Area, Handle)> {
        let areas = match area {
            Area::Incoming => [Area::Incoming, Area::Committed].as_slice(),
            Area::Committed => &[Area::Committed],
        };
        for area in areas {
            let place = self.folder.thing(*area, thing);
            match self.store().disk().open(&place).if_there() {
                Ok(Some(file)) => return Some((*area, file)),
                Ok(None) => {}
                Err(error) => {
                    self.trouble(&place, &error.into(), damaged);
                    return None;
                }
            }
        }
        None
    }

    fn chunk(&self, area: Area, digest: ChunkDigest, buffer: &mut [u8]) {
        let thing = Thing::Chunk(digest);
        let Some((area, file)) = self.open(area, &thing, Kind::ChunkDamaged) else {
            return;
        };
        let place = self.folder.thing(area, &thing);
        if let Some(meta) = self.seen(&place, file.opened()) {
            self.mode(&place, &meta, READ);
        }
        Self::count(&self.run.tally.chunks, 1);
        let mut bytes = 0;
        if !self.run.options.quick {
            let (length, read) = self.read_chunk(digest, &place, &file, buffer);
            match read {
                ReadChunk::Sound => {}
                ReadChunk::Damaged => self.note_damaged(area, thing),
                ReadChunk::Unread if area == Area::Committed => self.is_damaged(digest),
                ReadChunk::Unread => {}
            }
            bytes = length;
            self.run.tally.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        self.run.watch.checked(bytes);
        self.suspect_thing(area, thing);
    }

    /// Reads a chunk's file, and reports what is wrong with it; says how many bytes were read as well.
    pub fn read_chunk(
        &self,
        digest: ChunkDigest,
        place: &Place,
        file: &Handle,
        buffer: &mut [u8],
    ) -> (u64, ReadChunk) {
        // Twice, if need be: what was read first may be what went wrong.
        let read = match hash(file, buffer) {
            Ok((actual, bytes)) if actual == digest => return (bytes, ReadChunk::Sound),
            _ => hash(file, buffer),
        };
        match read {
            Ok((actual, bytes)) if actual == digest => (bytes, ReadChunk::Sound),
            Ok((actual, bytes)) => {
                let what = format!("its {bytes} bytes are those of {actual}");
                self.damage(Kind::ChunkDamaged, place.clone(), what);
                (bytes, ReadChunk::Damaged)
            }
            Err(error) => {
                self.trouble(place, &error.into(), Kind::ChunkDamaged);
                (0, ReadChunk::Unread)
            }
        }
    }

    /// Remembers a committed chunk as damaged.
    fn is_damaged(&self, digest: ChunkDigest) {
        let mut damaged = self.damaged.lock().expect("nobody panics with this");
        damaged.insert(digest);
    }

    /// Leaves a damaged file to a repair, and remembers a committed chunk as damaged.
    pub fn note_damaged(&self, area: Area, thing: Thing) {
        if let (Area::Committed, Thing::Chunk(digest)) = (area, thing) {
            self.is_damaged(digest);
        }
        remember(&mut self.todo().damaged, (area, thing));
    }

    fn alias(&self, area: Area, alias: Uuid) {
        let thing = Thing::Alias(alias);
        let Some((area, _)) = self.open(area, &thing, Kind::AliasDamaged) else {
            return;
        };
        let place = self.folder.thing(area, &thing);
        let (meta, digest) = match self.store().read_alias(&place) {
            Ok(Some(read)) => read,
            Ok(None) => return,
            Err(error) => {
                self.trouble(&place, &error, Kind::AliasDamaged);
                if matches!(error, store::Error::Damaged { .. }) && area == Area::Incoming {
                    self.note_damaged(area, thing);
                }
                return;
            }
        };
        self.mode(&place, &meta, READ);
        let chunk = Thing::Chunk(digest);
        let there = match area {
            Area::Committed => self.is_there(Area::Committed, &chunk),
            Area::Incoming => self.is_in(&LOOKS, &chunk),
        };
        let dangles = there.and_then(|there| Ok(!there && self.is_there(area, &thing)?));
        if self.seen(&self.folder.thing(area, &chunk), dangles) == Some(true) {
            let what = format!("it stands for chunk {digest}, which is not there");
            if area == Area::Committed && (!self.chain.whole || self.may_be_named(&thing)) {
                self.damage(Kind::AliasDangling, place, what);
            } else {
                self.harmless(Kind::AliasDangling, place, what);
            }
        }
        self.suspect_thing(area, thing);
    }

    /// Takes note where a chunk or alias seems to be in an area where it should not be.
    fn suspect_thing(&self, area: Area, thing: Thing) {
        if !self.chain.whole {
            return;
        }
        match area {
            Area::Committed if !self.may_be_named(&thing) => self.suspect(Suspect::OffChain(thing)),
            Area::Incoming if self.seems_named(&thing) => {
                let place = self.folder.thing(Area::Committed, &thing);
                let there = self.is_there(Area::Committed, &thing);
                if self.seen(&place, there) == Some(true) {
                    self.suspect(Suspect::Leftover(thing));
                }
            }
            _ => {}
        }
    }
}
