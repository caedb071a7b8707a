//! Links of an advance: what HEAD is to reach gets its names in the committed area.

use std::collections::BTreeSet;

use super::Result;
use super::aside::Aside;
use super::bundle::Window;
use super::error::damaged;
use super::layout::{Area, Dir, Thing};
use super::line::Line;
use super::lock::Exclusive;
use super::mistake::Mistake;
use crate::disk::{self, Place};
use crate::model::{ChunkId, limits};

impl Exclusive {
    /// Links chunks and aliases, then transactions, into the committed area, replacing an off-chain
    /// file of that transaction's name. Returns the directories that hold them.
    pub(super) fn link_line(
        &self,
        line: &Line,
        aside: &dyn Aside,
        linked: &mut Vec<Thing>,
    ) -> Result<BTreeSet<Dir>> {
        let mut dirs = BTreeSet::new();
        let mut done = Window::default();
        let mut names = Vec::new();
        for (id, chunks) in line.ids.iter().zip(&line.chunks) {
            let read;
            let chunks = match chunks {
                Some(chunks) => chunks,
                None => {
                    read = self.chunks_of(*id, aside)?;
                    &read
                }
            };
            for chunk in chunks {
                if !done.insert(*chunk) {
                    continue;
                }
                let digest = match chunk {
                    ChunkId::Digest(digest) => *digest,
                    ChunkId::Alias(alias) => {
                        let found = self.find_alias(alias)?;
                        let place = self.folder.alias(Area::Incoming, alias);
                        let (_, digest) = found
                            .ok_or_else(|| damaged(&place, "gone, though the lock is held"))?;
                        // The bytes first, so that no alias ever stands for nothing.
                        for name in [Thing::Chunk(digest), Thing::Alias(*alias)] {
                            let from = self.folder.thing(Area::Incoming, &name);
                            dirs.insert(self.link(name, &from, linked)?);
                        }
                        continue;
                    }
                };
                names.push((
                    Thing::Chunk(digest),
                    self.folder.chunk(Area::Incoming, &digest),
                ));
                if names.len() == limits::LINKED_AT_ONCE {
                    self.link_row(&mut names, linked, &mut dirs)?;
                }
            }
        }
        self.link_row(&mut names, linked, &mut dirs)?;
        for ids in line.ids.chunks(limits::LINKED_AT_ONCE) {
            let places = ids
                .iter()
                .map(|id| (Thing::Transaction(*id), self.place_of_new(*id, aside)));
            names.extend(places);
            self.link_row(&mut names, linked, &mut dirs)?;
        }
        Ok(dirs)
    }

    /// Makes these names in the committed area, those of one directory one after the other, and leaves none of them to be made.
    fn link_row(
        &self,
        names: &mut Vec<(Thing, Place)>,
        linked: &mut Vec<Thing>,
        dirs: &mut BTreeSet<Dir>,
    ) -> Result<()> {
        names.sort_by_key(|(name, _)| name.dir(Area::Committed));
        let ends = |(name, from): &(Thing, Place)| {
            (from.clone(), self.folder.thing(Area::Committed, name))
        };
        let ends: Vec<_> = names.iter().map(ends).collect();
        dirs.extend(names.iter().map(|(name, _)| name.dir(Area::Committed)));
        let moves = self.store.mistakes.made(Mistake::RenameInsteadOfLink);
        let mut at = 0;
        while at < names.len() {
            if !moves {
                let (done, _) = self.store.disk.link_all(&ends[at..]);
                let made = names[at..at + done].iter().map(|(name, _)| *name);
                let room = limits::LINKED.saturating_sub(linked.len());
                linked.extend(made.take(room));
                at += done;
            }
            // The one that was refused is tried by itself: its directory is made, or it is there already.
            if let Some((name, from)) = names.get(at) {
                self.link(*name, from, linked)?;
                at += 1;
            }
        }
        names.clear();
        Ok(())
    }

    /// Makes one name in the committed area; says in which directory. What is there already stays,
    /// if it is a chunk or an alias: it is the same then. A transaction's file that is not the pending
    /// one is off the chain, left behind by an advance of other content, and does not exist for any
    /// purpose: it goes.
    fn link(&self, name: Thing, from: &Place, linked: &mut Vec<Thing>) -> Result<Dir> {
        let moves = self.store.mistakes.made(Mistake::RenameInsteadOfLink);
        let to = self.folder.thing(Area::Committed, &name);
        let dir = name.dir(Area::Committed);
        let make = || {
            self.in_dir(dir, || {
                let link = match moves {
                    true => self.store.disk.rename_new(from, &to),
                    false => self.store.disk.link(from, &to),
                };
                match link {
                    Ok(()) => Ok(true),
                    Err(taken) if taken.is_taken() => Ok(false),
                    // Committed before, and not in `incoming/` any more; or the directory is not there.
                    Err(absent) if absent.is_absent() && self.is_at(&to)? => Ok(false),
                    Err(other) => Err(other),
                }
            })
        };
        let mut made = make()?;
        if !made
            && matches!(name, Thing::Transaction(_))
            && self.store.disk.meta(&to)?.inode != self.store.disk.meta(from)?.inode
        {
            self.store.disk.remove_file(&to)?;
            made = make()?;
        }
        if made && linked.len() < limits::LINKED {
            linked.push(name);
        }
        Ok(dir)
    }

    fn is_at(&self, place: &Place) -> disk::Result<bool> {
        match self.store.disk.meta(place) {
            Ok(_) => Ok(true),
            Err(absent) if absent.is_absent() => Ok(false),
            Err(other) => Err(other),
        }
    }
}
