//! Files of HEAD and of transactions as they are on the disk: read and checked, nothing synced.

use super::error::damaged;
use super::json::{self, Start};
use super::layout::{self, Dir, Folder};
use super::{Result, Store};
use crate::disk::{Handle, IfThere, Kind, Meta, Place};
use crate::model::{Transaction, TransactionId, limits};

/// The id that a file of one line holds, as HEAD does.
fn id_in(file: &Handle, place: &Place) -> Result<TransactionId> {
    let mut buffer = [0; 38];
    let read = file.read_at(0, &mut buffer)?;
    std::str::from_utf8(&buffer[..read])
        .ok()
        .and_then(|text| text.strip_suffix('\n')?.parse().ok())
        .ok_or_else(|| damaged(place, "not one id and a newline"))
}

impl Store {
    /// Whether there is a user's folder at this place.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) where something else has its place; [`Error::StoreGone`](super::Error::StoreGone).
    pub(crate) fn has_folder(&self, folder: &Folder) -> Result<bool> {
        match self.disk.meta(folder.place()) {
            Ok(meta) if meta.kind == Kind::Directory => Ok(true),
            Ok(_) => Err(damaged(folder.place(), "not a directory")),
            // Where the store itself is gone, nobody knows who has one.
            Err(absent) if absent.is_absent() => self.is_there().map(|()| false),
            Err(other) => Err(other.into()),
        }
    }

    /// Opens the HEAD of a folder, and reads the id in it; `None` where there is no folder.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) where HEAD is no id, or is missing from the folder.
    pub(crate) fn read_head(&self, folder: &Folder) -> Result<Option<(Handle, TransactionId)>> {
        let place = folder.head();
        // Once more, for a folder that was renamed in between the two looks.
        for _ in 0..2 {
            match self.disk.open(&place) {
                Ok(file) => {
                    let id = id_in(&file, &place)?;
                    return Ok(Some((file, id)));
                }
                Err(absent) if absent.is_absent() => {
                    if !self.has_folder(folder)? {
                        return Ok(None);
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(damaged(&place, "missing: an unfinished copy"))
    }

    /// The tip of what is pending in a device's store, which `local` of the folder names; `None` where there is no such file.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) where it is no id.
    pub(crate) fn read_local(&self, folder: &Folder) -> Result<Option<TransactionId>> {
        let place = folder.local();
        match self.disk.open(&place).if_there()? {
            Some(file) => id_in(&file, &place).map(Some),
            None => Ok(None),
        }
    }

    /// The ids in `incoming/transactions` of a folder.
    pub(crate) fn list_pending(&self, folder: &Folder) -> Result<Vec<TransactionId>> {
        let mut ids = Vec::new();
        self.each_pending(folder, |id| ids.push(id))?;
        Ok(ids)
    }

    /// Calls this for every pending transaction of a folder, in no order.
    pub(super) fn each_pending(
        &self,
        folder: &Folder,
        mut each: impl FnMut(TransactionId),
    ) -> Result<()> {
        let listed = self.disk.list(&folder.dir(Dir::Pending), &mut |entry| {
            layout::parse_transaction(&entry.name).map(&mut each);
            true
        });
        listed.if_there()?;
        Ok(())
    }

    /// Opens the `log` of a folder; `None` where there is none. For whoever tells what is wrong with it: the others
    /// ask [`Store::log_to_read`].
    pub(crate) fn open_log(&self, folder: &Folder) -> Result<Option<Handle>> {
        match self.disk.open(&folder.log()) {
            Ok(log) => Ok(Some(log)),
            Err(absent) if absent.is_absent() => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The start of a transaction's file; `None` where there is no file. It must be of this id.
    pub(crate) fn start_of(&self, place: &Place, id: TransactionId) -> Result<Option<Start>> {
        Ok(self.open_transaction(place, id)?.map(|(_, start)| start))
    }

    /// Opens a transaction's file and reads its start.
    pub(super) fn open_transaction(
        &self,
        place: &Place,
        id: TransactionId,
    ) -> Result<Option<(Handle, Start)>> {
        let file = match self.disk.open(place) {
            Ok(file) => file,
            Err(absent) if absent.is_absent() => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let mut buffer = [0; json::PREFIX];
        let read = file.read_at(0, &mut buffer)?;
        match json::parse_start(&buffer[..read]) {
            Some(start) if start.id == id && start.seq > 0 => Ok(Some((file, start))),
            _ => Err(damaged(place, "not the transaction of its name")),
        }
    }

    /// Reads a whole transaction; `None` where there is no file.
    pub(super) fn read_transaction(
        &self,
        place: &Place,
        id: TransactionId,
    ) -> Result<Option<Transaction>> {
        Ok(self
            .read_transaction_file(place, id)?
            .map(|(_, transaction)| transaction))
    }

    /// Reads a whole transaction, and the metadata of its file; `None` where there is no file.
    pub(crate) fn read_transaction_file(
        &self,
        place: &Place,
        id: TransactionId,
    ) -> Result<Option<(Meta, Transaction)>> {
        let file = match self.disk.open(place) {
            Ok(file) => file,
            Err(absent) if absent.is_absent() => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let meta = file.opened()?;
        if meta.bytes > (limits::TRANSACTION_BYTES + json::PREFIX) as u64 {
            return Err(damaged(place, "larger than any transaction"));
        }
        let mut buffer = vec![0; meta.bytes as usize];
        let read = file.read_at(0, &mut buffer)?;
        match json::decode(&buffer[..read]) {
            Some(there) if there.id == id && there.seq > 0 => Ok(Some((meta, there))),
            _ => Err(damaged(place, "not the transaction of its name")),
        }
    }
}
