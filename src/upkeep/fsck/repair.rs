//! Mending, without loss: under the exclusive lock, and looking again once it is held.
//!
//! HEAD never moves. What is taken out of the way is kept in `lost+found/`.

use super::check::{Check, Todo};
use super::files::hash;
use super::finding::Mended;
use super::suspect::Suspect;
use crate::disk::{self, IfThere, Place};
use crate::model::{ChunkDigest, limits};
use crate::store::layout::{Area, Dir, Thing};
use crate::store::{Error, Exclusive, Mistake, Position, Result};

/// The words for a mend: none where nothing was wrong any more, the reason where nothing could be done.
type Done = Result<Option<String>>;

impl Check<'_> {
    /// Mends what was found.
    pub fn repair(&self) {
        let todo = std::mem::take(&mut *self.todo());
        let Todo {
            foreign,
            log,
            damaged,
            missing,
            suspects,
            local,
            checkpoint,
            checkpoint_chunks,
            marks,
            temporaries,
        } = todo;
        // First, so that what is mended can be used.
        self.each(
            foreign.as_slice(),
            |first| first.clone(),
            |_, _| self.give_back(),
        );
        let rebuild: &[()] = if log { &[()] } else { &[] };
        self.each(
            rebuild,
            |()| self.folder.log(),
            |lock, ()| {
                lock.rebuild_log()?;
                Ok(Some("rebuilt from the transactions".to_owned()))
            },
        );
        self.each(
            &damaged,
            |(area, thing)| self.folder.thing(*area, thing),
            |lock, (area, thing)| self.mend_damaged(lock, *area, thing),
        );
        self.each(
            &missing,
            |thing| self.folder.thing(Area::Committed, thing),
            |lock, thing| self.mend_missing(lock, thing),
        );
        self.each(
            &suspects,
            |suspect| self.place_of(suspect),
            |lock, suspect| self.clear(lock, suspect),
        );
        if let Some(tips) = local {
            self.explain_local(&tips);
        }
        self.repair_checkpoint(checkpoint, &checkpoint_chunks);
        self.each(
            &marks,
            |digest| self.folder.lost_chunk(digest),
            |lock, digest| self.clear_mark(lock, digest),
        );
        let tmp = self.folder.dir(Dir::Tmp);
        self.each(
            &temporaries,
            |name| tmp.join(name),
            |lock, name| self.clear_temporary(lock, name),
        );
    }

    /// Does something about each, a batch at a time under the lock, and says what.
    pub(super) fn each<T>(
        &self,
        items: &[T],
        place: impl Fn(&T) -> Place,
        mend: impl Fn(&Exclusive, &T) -> Done,
    ) {
        for batch in items.chunks(limits::FSCK_BATCH) {
            let user = self.store().user(self.user).though_frozen();
            let lock = match user.exclusive_blocking() {
                // Deleted or renamed meanwhile, and what is there now is not what was found wrong.
                Ok(_) if self.has_gone() => return,
                Ok(Some(lock)) => Ok(lock),
                Ok(None) => return,
                Err(error) => Err(error.to_string()),
            };
            for item in batch {
                let outcome = match &lock {
                    Ok(lock) => mend(lock, item).map_err(|error| match error {
                        Error::Damaged { what, .. } => what,
                        other => other.to_string(),
                    }),
                    Err(why) => Err(why.clone()),
                };
                let outcome = match outcome {
                    Ok(None) => continue,
                    Ok(Some(done)) => Ok(done),
                    Err(why) => Err(why),
                };
                self.run.watch.mended(&Mended {
                    user: Some(self.user),
                    place: place(item),
                    outcome,
                });
            }
        }
    }

    /// Whether there is such a chunk in this area, and its bytes are those of its name.
    pub(super) fn is_sound(&self, area: Area, digest: &ChunkDigest) -> Result<bool> {
        let place = self.folder.chunk(area, digest);
        let Some(file) = self.store().disk().open(&place).if_there()? else {
            return Ok(false);
        };
        let mut buffer = vec![0; limits::PIECE];
        Ok(hash(&file, &mut buffer)?.0 == *digest)
    }

    fn mend_damaged(&self, lock: &Exclusive, area: Area, thing: &Thing) -> Done {
        let still = self.is_there(area, thing)?
            && match thing {
                Thing::Chunk(digest) => !self.is_sound(area, digest)?,
                Thing::Alias(_) => match self.store().read_alias(&self.folder.thing(area, thing)) {
                    Ok(_) => false,
                    Err(Error::Damaged { .. }) => true,
                    Err(other) => return Err(other),
                },
                Thing::Transaction(id) => self.is_wrong(*id)?,
            };
        if !still {
            return Ok(None);
        }
        let Thing::Chunk(digest) = thing else {
            let to = lock.set_aside(area, thing, false)?;
            return Ok(Some(format!(
                "moved to {to:?}: a client can upload it again"
            )));
        };
        // A mark says that the chain may name it. Where it certainly does not, none is needed.
        let named = self.catch_up()?.is_none() || self.may_be_named(thing);
        let marks = area == Area::Committed && named;
        let to = lock.set_aside(area, thing, marks)?;
        if marks && self.is_sound(Area::Incoming, digest)? {
            lock.bring_back(thing)?;
            self.forget_damaged(digest);
            return Ok(Some(format!(
                "moved to {to:?}, and replaced by the one in incoming/"
            )));
        }
        Ok(Some(format!(
            "moved to {to:?}: a client can upload it again"
        )))
    }

    fn forget_damaged(&self, digest: &ChunkDigest) {
        let mut damaged = self.damaged.lock().expect("nobody panics with this");
        damaged.remove(digest);
    }

    fn mend_missing(&self, lock: &Exclusive, thing: &Thing) -> Done {
        let there = self.is_there(Area::Committed, thing)?;
        match thing {
            Thing::Chunk(_) if there => Ok(None),
            Thing::Chunk(digest) if self.is_sound(Area::Incoming, digest)? => {
                lock.bring_back(thing)?;
                Ok(Some("linked from incoming/ into its place".to_owned()))
            }
            Thing::Chunk(digest) => {
                let mark = self.folder.lost_chunk(digest);
                if self.store().disk().meta(&mark).if_there()?.is_some() {
                    return Ok(None);
                }
                let mark = lock.mark_missing(digest)?;
                let what = format!("marked as missing by {mark:?}: a client can upload it again");
                Ok(Some(what))
            }
            Thing::Alias(alias) => {
                let place = self.folder.alias(Area::Incoming, alias);
                let Some((_, digest)) = self.store().read_alias(&place)? else {
                    return Err(self.cannot(thing, "which chunk it stands for is lost with it"));
                };
                if !there {
                    lock.bring_back(thing)?;
                }
                self.mend_missing(lock, &Thing::Chunk(digest))?;
                Ok(Some("linked from incoming/ into its place".to_owned()))
            }
            Thing::Transaction(_) => Err(self.cannot(thing, "restore it from a backup")),
        }
    }

    fn cannot(&self, thing: &Thing, why: &str) -> Error {
        Error::Damaged {
            place: self.folder.thing(Area::Committed, thing),
            what: why.to_owned(),
        }
    }

    fn place_of(&self, suspect: &Suspect) -> Place {
        match suspect {
            Suspect::OffChain(thing) => self.folder.thing(Area::Committed, thing),
            Suspect::Leftover(thing) => self.folder.thing(Area::Incoming, thing),
            Suspect::LogTail => self.folder.log(),
        }
    }

    /// Clears a leftover, if it still is one.
    fn clear(&self, lock: &Exclusive, suspect: &Suspect) -> Done {
        let looks = !self.store().mistakes.made(Mistake::NoRepairLook);
        let seen = if looks {
            self.catch_up()?
        } else {
            *self.reached.lock().expect("nobody panics with this")
        };
        let Some(head) = seen else {
            return Ok(None);
        };
        if looks && !self.holds(suspect, head)? {
            return Ok(None);
        }
        let said = |what: &str| Ok(Some(what.to_owned()));
        match suspect {
            // The next advance cuts it.
            Suspect::LogTail => Ok(None),
            Suspect::OffChain(Thing::Transaction(id)) => {
                match lock.position(head, *id)? {
                    Position::OffChain => {}
                    _ => return Ok(None),
                }
                match lock.drop_off_chain(*id)? {
                    Some(to) => Ok(Some(format!("moved to {to:?}"))),
                    None => said("removed: incoming/ has the same file"),
                }
            }
            Suspect::OffChain(thing) => {
                if !self.twins_agree(thing)? {
                    return Err(self.cannot(thing, "the one in incoming/ differs: mend that first"));
                }
                lock.send_back(thing)?;
                said("moved back to incoming/, where gc decides about it")
            }
            Suspect::Leftover(thing) => {
                if !self.twins_agree(thing)? {
                    return Err(self.cannot(thing, "the committed one differs: mend that first"));
                }
                lock.drop_leftover(thing)?;
                said("removed: it is committed")
            }
        }
    }

    /// Whether what the two areas have under this name is the same; also where only one has it.
    fn twins_agree(&self, thing: &Thing) -> Result<bool> {
        let places = [Area::Committed, Area::Incoming].map(|area| self.folder.thing(area, thing));
        let [committed, incoming] = places
            .each_ref()
            .map(|place| self.store().disk().meta(place));
        let Some(incoming) = incoming.if_there()? else {
            return Ok(true);
        };
        if committed?.inode == incoming.inode {
            return Ok(true);
        }
        let [committed, incoming] = &places;
        Ok(match thing {
            Thing::Chunk(digest) => {
                self.is_sound(Area::Committed, digest)? && self.is_sound(Area::Incoming, digest)?
            }
            Thing::Alias(_) => {
                let read = |place| Ok::<_, Error>(self.store().read_alias(place)?.map(|(_, d)| d));
                read(committed)? == read(incoming)?
            }
            Thing::Transaction(id) => {
                let read = |place| {
                    let read = self.store().read_transaction_file(place, *id)?;
                    Ok::<_, Error>(read.map(|(_, transaction)| transaction))
                };
                read(committed)? == read(incoming)?
            }
        })
    }

    fn clear_mark(&self, lock: &Exclusive, digest: &ChunkDigest) -> Done {
        if !self.is_sound(Area::Committed, digest)? {
            return Ok(None);
        }
        let name = Thing::Chunk(*digest).name();
        lock.drop_file(Dir::LostChunks, &name)?;
        Ok(Some(
            "removed: the chunk is there again, and sound".to_owned(),
        ))
    }

    /// Whether whoever made a temporary thing is gone.
    pub(super) fn is_left_behind(&self, place: &Place) -> Result<bool> {
        let dates = self.store().user(self.user).dates()?;
        self.store().is_left_behind(place, &dates)
    }

    fn clear_temporary(&self, lock: &Exclusive, name: &str) -> Done {
        let place = self.folder.dir(Dir::Tmp).join(name);
        if !self.is_left_behind(&place)? {
            return Ok(None);
        }
        match self.store().disk().meta(&place)? {
            meta if meta.kind == disk::Kind::Directory => self.store().remove_tree(&place)?,
            _ => lock.drop_file(Dir::Tmp, name)?,
        }
        Ok(Some("removed".to_owned()))
    }
}
