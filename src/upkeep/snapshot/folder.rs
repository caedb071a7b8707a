//! One user's folder, copied as far as its HEAD reaches, whatever it is called meanwhile.

use std::sync::Arc;

use super::obstacle::{Obstacle, Stopped};
use crate::disk::{Disk, IfThere, Kind, Real};
use crate::model::{TransactionId, limits};
use crate::store::layout::{self, Area, Dir, Folder, Recognised, Shelf};
use crate::store::{self, Frozen, NameFile, Store, log};

/// The shelves of what HEAD and CHECKPOINT reach.
const REACHED: [Shelf; 4] = [
    Shelf::Chunks(Area::Committed),
    Shelf::Aliases(Area::Committed),
    Shelf::Transactions,
    Shelf::Checkpoint,
];

/// A user's folder, and where its copy is made.
pub(super) struct Linking<'a> {
    /// The folder, by itself: everything is read relative to it, so that no rename leads elsewhere.
    from: &'a Arc<Real>,
    store: Store,
    /// The folder in that.
    folder: Folder,
    target: &'a Real,
    to: &'a Folder,
    linked: &'a dyn Fn(),
    /// Files that got a second name.
    files: u64,
}

/// A folder that has been copied, all but HEAD.
pub(super) struct Copied {
    /// HEAD; `None` for a user who is elsewhere, of whom there is the word alone.
    pub head: Option<TransactionId>,
    pub files: u64,
}

/// Copies a folder, all but HEAD, to a place that is not there yet. The caller looks afterwards whether the folder was
/// still in use at the end: one that is being removed loses its files one by one.
///
/// # Errors
/// [`Stopped::Folder`] where there is no HEAD, or one that cannot be read or leads nowhere, or where anything else of
/// the folder is in the way: others are copied all the same.
pub(super) fn link_folder(
    from: &Arc<Real>,
    target: &Real,
    to: &Folder,
    linked: &dyn Fn(),
) -> Result<Copied, Stopped> {
    let mut linking = Linking {
        from,
        store: Store::examine(from.clone()),
        folder: Folder::at(layout::top()),
        target,
        to,
        linked,
        files: 0,
    };
    let head = linking.copy()?;
    Ok(Copied {
        head,
        files: linking.files,
    })
}

impl Linking<'_> {
    fn copy(&mut self) -> Result<Option<TransactionId>, Stopped> {
        let frozen = self.store.read_frozen(&self.folder);
        let frozen = frozen.map_err(|error| Stopped::of_source(self.from, error))?;
        let frozen = frozen.for_a_copy();
        if frozen.is_some_and(Frozen::is_elsewhere) {
            self.target.make_directory(self.to.place())?;
            self.keep_frozen(frozen)?;
            return Ok(None);
        }
        // Before HEAD, or its transaction might not be on the copy's chain. What it names stays for the grace period from
        // now on, whatever replaces it.
        let checkpoint = self.checkpoint()?;
        let Some(head) = self.head()? else {
            return Err(Obstacle::damage(self.folder.head(), "missing").into());
        };
        let mut seq = 0;
        if head != TransactionId::ROOT {
            let place = self.folder.transaction(head);
            let start = self.store.start_of(&place, head);
            let Some(start) = start.map_err(|error| Stopped::of_source(self.from, error))? else {
                return Err(Obstacle::damage(place, "HEAD names it, and it is not there").into());
            };
            seq = start.seq;
        }
        self.target.make_directory(self.to.place())?;
        self.keep_frozen(frozen)?;
        for shelf in REACHED {
            self.shelf(shelf)?;
        }
        self.log(seq)?;
        // No more than a word for its owner: a copy can do without.
        if let Ok(NameFile::Holds(name)) = self.store.read_name(&self.folder) {
            store::write_name(self.target, &self.to.name(), &name)
                .map_err(|error| Stopped::Snapshot(error.into()))?;
        }
        if let Some(bytes) = checkpoint {
            let to = self.target.create(&self.to.checkpoint())?;
            to.append(&bytes)?;
        }
        // Whoever removes the folder by hand, where it stands, takes HEAD as well.
        match self.head()? {
            Some(_) => Ok(Some(head)),
            None => Err(Obstacle::damage(self.folder.head(), "removed meanwhile").into()),
        }
    }

    /// The copy is frozen where the user is.
    fn keep_frozen(&self, frozen: Option<Frozen>) -> Result<(), Stopped> {
        if let Some(frozen) = frozen {
            let to = self.target.create(&self.to.frozen())?;
            to.append(format!("{frozen}\n").as_bytes())?;
        }
        Ok(())
    }

    /// The bytes of CHECKPOINT, whatever they are: a damaged one is no worse in the copy.
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, Stopped> {
        let read = self.store.bytes_of_checkpoint(&self.folder);
        read.map_err(|error| Stopped::of_source(self.from, error))
    }

    fn head(&self) -> Result<Option<TransactionId>, Stopped> {
        let head = self.store.read_head(&self.folder);
        let head = head.map_err(|error| Stopped::of_source(self.from, error))?;
        Ok(head.map(|(_, id)| id))
    }

    /// Links what is on a shelf. What went away meanwhile was off the chain, or the folder is being removed.
    fn shelf(&mut self, shelf: Shelf) -> Result<(), Stopped> {
        let dir = Dir::Shelf(shelf);
        let mut fans = Vec::new();
        let listed = self.from.list(&self.folder.dir(dir), &mut |entry| {
            if let Some(Recognised::Dir(fan)) = layout::recognise(dir, &entry.name)
                && entry.kind == Kind::Directory
            {
                fans.push(fan);
            }
            true
        });
        let listed = listed.if_there();
        if (listed.map_err(|error| Stopped::of_source(self.from, error))?).is_none() {
            return Ok(());
        }
        self.target.make_directory(&self.to.dir(dir))?;
        for fan in fans {
            self.fan(fan)?;
        }
        Ok(())
    }

    fn fan(&mut self, fan: Dir) -> Result<(), Stopped> {
        let (from, to) = (self.folder.dir(fan), self.to.dir(fan));
        self.target.make_directory(&to)?;
        let (mut files, mut outcome) = (0, Ok(()));
        let listed = self.from.list(&from, &mut |entry| {
            let known = matches!(
                layout::recognise(fan, &entry.name),
                Some(Recognised::Thing(Area::Committed, _) | Recognised::CheckpointChunk(_))
            );
            if !known || entry.kind != Kind::File {
                return true;
            }
            let (from, to) = (from.join(&entry.name), to.join(&entry.name));
            match self.target.link_from(self.from, &from, &to).if_there() {
                Ok(Some(())) => {
                    files += 1;
                    (self.linked)();
                }
                // Off the chain, and taken away by a repair or an advance since it was listed.
                Ok(None) => {}
                Err(other) => outcome = Err(other),
            }
            outcome.is_ok()
        });
        self.files += files;
        outcome
            .and(listed.if_there().map(drop))
            .map_err(|error| Stopped::of_source(self.from, error))
    }

    /// Copies the lines of `log` up to HEAD's, as far as they can be read. A missing or short one is rebuilt by whoever
    /// needs it.
    fn log(&self, seq: u64) -> Result<(), Stopped> {
        let there = self.store.log_to_read(&self.folder);
        let there = there.map_err(|error| Stopped::of_source(self.from, error))?;
        let Some(from) = there else {
            return Ok(());
        };
        let to = self.target.create(&self.to.log())?;
        let mut buffer = vec![0; limits::PIECE];
        let (mut offset, end) = (0, log::LINE * seq);
        while offset < end {
            let piece = buffer.len().min((end - offset) as usize);
            let read = from.read_at(offset, &mut buffer[..piece]);
            let read =
                log::unless_wrong(read).map_err(|error| Stopped::of_source(self.from, error))?;
            let Some(read) = read.filter(|read| *read > 0) else {
                break;
            };
            to.append(&buffer[..read])?;
            offset += read as u64;
        }
        Ok(())
    }
}
