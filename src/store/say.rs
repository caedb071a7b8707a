//! An entry is said in a device's own store: its chunk, its transaction and the tip that names that, as one step.
//!
//! What three PUTs would do is done with three groups of syncs: the bytes of all three files; the names of the chunk and of the
//! transaction; and the tip, which is renamed over last and alone makes the rest count. What a crash leaves before that is
//! reached by nothing.

use super::layout::{Dir, Thing};
use super::lock::Exclusive;
use super::publish::Published;
use super::to_sync::ToSync;
use super::{Error, Proposal, Result, Staged, json};
use crate::disk::Target;
use crate::model::{ChunkId, Transaction};

impl Exclusive {
    /// A transaction whose first chunk is this one is said after the tip, which is its parent, and is the tip then: durable when
    /// it returns. Returns the other chunks that it names and that are not here; nothing is said then.
    ///
    /// # Errors
    /// Those of the disk: the tip is as it was; but if the very last sync fails, nobody knows.
    pub fn say(&self, chunk: Staged, transaction: &Transaction) -> Result<Vec<ChunkId>> {
        self.check_takes()?;
        let thing = Thing::Chunk(chunk.digest());
        let mut others = transaction.chunks.clone();
        others.retain(|other| Thing::from(*other) != thing);
        let missing = self.check_named(&Proposal {
            id: transaction.id,
            parent: transaction.parent,
            chunks: others,
            seq: Some(transaction.seq),
        })?;
        if !missing.is_empty() {
            return Ok(missing);
        }
        let (mut said, mut tip) = (self.temporary()?, self.temporary()?);
        said.file.append(&json::encode(transaction))?;
        (tip.file).append(format!("{}\n", transaction.id).as_bytes())?;
        let files = [&said, &tip].map(|temporary| Target::File(temporary.file.clone()));
        let [said_file, tip_file] = files;
        self.store
            .disk
            .sync(&[chunk.target(), said_file, tip_file])?;

        // The chunk's name before the transaction's, and both before the tip.
        let mut to_sync = ToSync::default();
        let is_same = |_: &_| Ok(true);
        self.publish(&thing, &mut chunk.synced(), &is_same, &mut to_sync)?;
        let is_same = |place: &_| {
            let there = self.store.read_transaction(place, transaction.id)?;
            Ok(there.as_ref() == Some(transaction))
        };
        let thing = Thing::Transaction(transaction.id);
        to_sync.dir(Dir::Pending);
        match self.publish(&thing, &mut said, &is_same, &mut to_sync)? {
            Published::New | Published::There => {}
            // Its id is that of its contents.
            Published::Other => return Err(Error::BrokeOff),
        }
        self.sync(to_sync)?;
        self.replace_in_folder(&mut tip, &self.folder.local())?;
        Ok(Vec::new())
    }
}
