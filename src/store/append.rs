//! A chunk and a transaction of it alone, added to the end of the chain as one step.
//!
//! What a push of one line does (`bundle/fast_forward`) is done here for one chunk: nothing is pending first. The
//! bytes of the chunk and of the transaction are durable before the exclusive lock is taken; under it they get their
//! committed names, the chunk before the transaction, and HEAD advances (DESIGN, Advance of HEAD). What a crash leaves
//! before HEAD is replaced are files that nothing reaches.

use std::collections::BTreeSet;

use super::error::damaged;
use super::incoming::Temporary;
use super::layout::{Area, Dir, Thing};
use super::lock::Exclusive;
use super::publish::Unnamed;
use super::staged::{Sealed, Staged};
use super::tally::Amount;
use super::to_sync::ToSync;
use super::walk::Position;
use super::{Error, Leftovers, Result, User, json};
use crate::disk::Target;
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, TransactionId};

/// A chunk that is to follow a transaction, durable together with a transaction of it alone. Dropped, it leaves
/// nothing.
pub struct Addition {
    parent: TransactionId,
    id: TransactionId,
    chunk: Sealed,
    line: NewLine,
}

/// Transactions that would continue the chain from where HEAD was, oldest first; each has a file, durable once it is
/// synced.
struct NewLine {
    after: Head,
    transactions: Vec<NewTransaction>,
}

struct NewTransaction {
    id: TransactionId,
    bytes: u64,
    file: Temporary,
}

/// How an addition to the chain ended.
pub enum Append {
    /// HEAD is the new transaction.
    Appended(Head),
    /// HEAD is this one, and not the parent that was named.
    Refused(Head),
    /// The addition, of which nothing is done: `log` is to be mended first, which is better done without the lock.
    LogIsWrong(Box<Addition>),
}

/// Where the bytes of the chunk are to come from.
enum ChunkFrom {
    /// The committed area has the chunk.
    Committed,
    /// The committed area has a file of its name and of another length.
    Damaged,
    /// `incoming/` has the chunk.
    Incoming,
    /// The addition alone has the chunk.
    Here,
}

impl User {
    /// Makes a chunk that is whole durable, with a transaction of it alone that follows `parent`, under an id that
    /// nobody has used; the other outcome is HEAD, where that is not the parent. Where the chain is empty any parent will do: a transaction of no chunks
    /// is made for it, so that a history which began elsewhere goes on here. One group of syncs.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::NoRoom`], and those of the disk.
    pub fn addition(
        &self,
        parent: TransactionId,
        id: TransactionId,
        staged: Staged,
    ) -> Result<std::result::Result<Addition, Head>> {
        self.state.check_writable()?;
        let head = self.vouched_head()?.ok_or(Error::UserGone)?;
        if !may_follow(parent, head) {
            return Ok(Err(head));
        }
        let line = self.line_after(head, parent, id, staged.digest())?;
        let mut targets = line.targets();
        targets.push(staged.target());
        self.store.disk.sync(&targets)?;
        Ok(Ok(Addition {
            parent,
            id,
            chunk: staged.synced(),
            line,
        }))
    }

    /// Writes the transactions that take the chain from `after` over `parent` to the new one of this chunk.
    fn line_after(
        &self,
        after: Head,
        parent: TransactionId,
        id: TransactionId,
        chunk: ChunkDigest,
    ) -> Result<NewLine> {
        let mut line = NewLine {
            after,
            transactions: Vec::new(),
        };
        if after.id != parent {
            line.transactions.push(self.write_new(Transaction {
                id: parent,
                seq: after.seq + 1,
                parent: after.id,
                chunks: Vec::new(),
            })?);
        }
        line.transactions.push(self.write_new(Transaction {
            id,
            seq: after.seq + 1 + line.transactions.len() as u64,
            parent,
            chunks: vec![ChunkId::Digest(chunk)],
        })?);
        Ok(line)
    }

    fn write_new(&self, transaction: Transaction) -> Result<NewTransaction> {
        let contents = json::encode(&transaction);
        let file = self.temporary()?;
        file.file.append(&contents)?;
        Ok(NewTransaction {
            id: transaction.id,
            bytes: contents.len() as u64,
            file,
        })
    }
}

/// Whether a transaction with this parent may follow HEAD: HEAD is the parent, or the chain is empty.
fn may_follow(parent: TransactionId, head: Head) -> bool {
    head.id == parent || head == Head::ROOT
}

impl NewLine {
    fn ids(&self) -> Vec<TransactionId> {
        self.transactions.iter().map(|new| new.id).collect()
    }

    fn targets(&self) -> Vec<Target> {
        let target = |new: &NewTransaction| Target::File(new.file.file.clone());
        self.transactions.iter().map(target).collect()
    }
}

impl Exclusive {
    /// Adds to the end of the chain. To be run to its end whatever becomes of the client. Costs no more with a longer
    /// chain; where that is empty, in proportion to what is pending.
    ///
    /// An empty chain is not continued from a transaction that is pending: what was put by itself is committed by
    /// whoever names it as HEAD, and by nobody else.
    ///
    /// # Errors
    /// HEAD has not moved, and what was named is named no more; but if the very last sync fails, nobody knows, and the
    /// user is read-only in this process from then on. [`Error::QuotaExceeded`], [`Error::UserGone`].
    pub fn append(self, mut addition: Addition, rebuild: bool) -> Result<Append> {
        self.check_takes()?;
        let head = self.head_under_lock()?.ok_or(Error::UserGone)?;
        if !may_follow(addition.parent, head) || self.is_promised(addition.parent, head)? {
            return Ok(Append::Refused(head));
        }
        if !rebuild && !self.log_reaches(head)? {
            return Ok(Append::LogIsWrong(Box::new(addition)));
        }
        if addition.line.after != head {
            // It moved to the parent, or the user came anew, since the transactions were written.
            let Addition { parent, id, .. } = addition;
            addition.line = self.line_after(head, parent, id, addition.chunk.digest())?;
            self.store.disk.sync(&addition.line.targets())?;
        }
        let from = self.look_for_new(&addition.chunk)?;
        let room = self.reserve_all(addition.room(&from))?;
        let ids = addition.line.ids();
        let (head, linked) = self.or_take_back(
            |named| {
                let place = self.folder.thing(Area::Committed, named);
                self.store.disk.remove_file(&place)
            },
            |named| {
                let dirs = self.name_addition(head, &mut addition, &from, named)?;
                self.move_head(head, &ids, dirs)
            },
        )?;
        room.keep();
        if matches!(from, ChunkFrom::Incoming) {
            Leftovers::of(self, linked).clear();
        }
        Ok(Append::Appended(head))
    }

    /// Whether the parent that an empty chain is to begin with is a pending transaction, of other content perhaps.
    fn is_promised(&self, parent: TransactionId, head: Head) -> Result<bool> {
        if head.id == parent {
            return Ok(false);
        }
        self.look_at_pending(&[parent])?;
        Ok(self.state.known().pending.contains_key(&parent))
    }

    fn look_for_new(&self, chunk: &Sealed) -> Result<ChunkFrom> {
        let thing = Thing::Chunk(chunk.digest());
        if let Some(there) = self.look_for(Area::Committed, &thing)? {
            return Ok(match there.bytes == chunk.bytes() {
                true => ChunkFrom::Committed,
                false => ChunkFrom::Damaged,
            });
        }
        let waiting = self.look_for(Area::Incoming, &thing)?;
        Ok(match waiting {
            Some(there) if there.bytes == chunk.bytes() => ChunkFrom::Incoming,
            _ => ChunkFrom::Here,
        })
    }

    /// Gives the chunk and the transactions their committed names; returns the directories that hold what HEAD is to
    /// rely on.
    fn name_addition(
        &self,
        head: Head,
        addition: &mut Addition,
        from: &ChunkFrom,
        named: &mut Vec<Thing>,
    ) -> Result<BTreeSet<Dir>> {
        let thing = Thing::Chunk(addition.chunk.digest());
        let mut to_sync = ToSync::default();
        to_sync.dir(thing.dir(Area::Committed));
        match from {
            ChunkFrom::Committed => {}
            ChunkFrom::Damaged => {
                self.replace_damaged(&thing, Area::Committed, &mut addition.chunk, &mut to_sync)?;
            }
            ChunkFrom::Incoming => {
                let waiting = self.folder.thing(Area::Incoming, &thing);
                let place = self.folder.thing(Area::Committed, &thing);
                let dir = thing.dir(Area::Committed);
                self.make_name(dir, || self.store.disk.link(&waiting, &place))?;
                named.push(thing);
            }
            ChunkFrom::Here => {
                if !self.name_new(&thing, &mut addition.chunk, named)? {
                    let place = self.folder.thing(Area::Committed, &thing);
                    return Err(damaged(&place, "there, though the lock is held"));
                }
            }
        }
        for new in &mut addition.line.transactions {
            let thing = Thing::Transaction(new.id);
            if !self.name_new(&thing, &mut new.file, named)? {
                self.remove_off_chain(head, new.id)?;
                self.name_new(&thing, &mut new.file, named)?;
            }
            to_sync.dir(thing.dir(Area::Committed));
        }
        Ok(to_sync.take_dirs())
    }

    /// Gives a file its name in the committed area; `false` where another one has it.
    fn name_new(
        &self,
        thing: &Thing,
        file: &mut dyn Unnamed,
        named: &mut Vec<Thing>,
    ) -> Result<bool> {
        let place = self.folder.thing(Area::Committed, thing);
        let is_new = self.make_name(thing.dir(Area::Committed), || file.give_name(&place))?;
        named.extend(is_new.then_some(*thing));
        Ok(is_new)
    }

    /// Removes a transaction's file that is off the chain: a crash left it there when the same parent was tried
    /// before, and it does not exist for any purpose.
    fn remove_off_chain(&self, head: Head, id: TransactionId) -> Result<()> {
        let place = self.folder.transaction(id);
        match self.position(head, id)? {
            Position::OffChain => Ok(self.store.disk.remove_file(&place)?),
            _ => Err(damaged(&place, "on the chain, and its id is given again")),
        }
    }
}

impl Addition {
    /// The room that it takes, beyond what is there.
    fn room(&self, from: &ChunkFrom) -> Amount {
        let mut amount = Amount::default();
        if matches!(from, ChunkFrom::Here) {
            amount.add(Amount::file(self.chunk.bytes()));
        }
        for new in &self.line.transactions {
            amount.add(Amount::file(new.bytes));
        }
        amount
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Grouping, Real};
    use crate::model::UserId;
    use crate::store::{Options, Store};
    use std::sync::Arc;

    fn id(number: u8) -> TransactionId {
        TransactionId::from_bytes([number; 16])
    }

    fn addition(user: &User, parent: u8, number: u8) -> std::result::Result<Addition, Head> {
        let mut staged = user.stage().unwrap();
        staged.write(&[number]).unwrap();
        let parent = match parent {
            0 => TransactionId::ROOT,
            other => id(other),
        };
        user.addition(parent, id(number), staged).unwrap()
    }

    fn append(user: &User, addition: Addition) -> std::result::Result<Head, Head> {
        let lock = user.exclusive_blocking().unwrap().unwrap();
        match lock.append(addition, false).unwrap() {
            Append::Appended(head) => Ok(head),
            Append::Refused(head) => Err(head),
            Append::LogIsWrong(_) => panic!("the log is right"),
        }
    }

    #[test]
    fn an_addition_goes_by_head_as_it_is_under_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Real::new(directory.path(), Grouping::Auto).unwrap());
        let store = Store::open(disk, Options::default()).unwrap();
        let user = store.user(UserId::from_bytes([9; 16]));
        // All are prepared while the chain is empty: one of them on a parent that comes meanwhile.
        let [first, next, other, elsewhere] =
            [(0, 1), (1, 2), (0, 3), (8, 4)].map(|(parent, n)| addition(&user, parent, n).unwrap());
        let at = |number, seq| Head {
            id: id(number),
            seq,
        };
        assert_eq!(append(&user, first), Ok(at(1, 1)));
        assert_eq!(append(&user, next), Ok(at(2, 2)));
        assert_eq!(append(&user, other), Err(at(2, 2)));
        assert_eq!(append(&user, elsewhere), Err(at(2, 2)));
        assert_eq!(addition(&user, 1, 5).err(), Some(at(2, 2)));
        let mut chain = user.listing(TransactionId::ROOT, 9).unwrap().unwrap();
        assert_eq!(chain.read(9).unwrap(), [id(1), id(2)]);
        // What was refused left nothing.
        let left = directory.path().join(user.folder.dir(Dir::Tmp).as_str());
        assert_eq!(std::fs::read_dir(left).unwrap().count(), 0);
    }
}
