//! In: a transaction among the members, spelt as the store spells it or as `PUT` takes it.

use super::intake::Intake;
use super::outcome::Step;
use super::staging::StagedTransaction;
use super::tar::{Members, bad};
use crate::model::{ChunkId, Transaction, TransactionId, limits};
use crate::store::layout::{Area, Dir, Thing};
use crate::store::walk::Position;
use crate::store::{Result, json};

impl Intake {
    /// Takes a transaction in that is well-formed in itself; one that was on the chain when the push began is
    /// only counted.
    pub(super) fn read_transaction(
        &mut self,
        id: TransactionId,
        bytes: u64,
        members: &mut Members<'_>,
    ) -> Step<()> {
        if self.staging.transactions.len() >= limits::PUSHED_TRANSACTIONS {
            return Ok(bad(format!(
                "more than {} transactions",
                limits::PUSHED_TRANSACTIONS
            ))?);
        }
        let sent = members.whole_within(bytes, limits::TRANSACTION_BYTES + json::PREFIX)?;
        let (transaction, contents) = match json::decode(&sent).filter(|read| read.id == id) {
            Some(transaction) => (transaction, sent),
            None => {
                let transaction = self.respell(id, &sent)?;
                let contents = json::encode(&transaction);
                (transaction, contents)
            }
        };
        let aliases = self.user.store.options.uuid_chunk_ids;
        let chunks = &transaction.chunks;
        if id == TransactionId::ROOT
            || transaction.parent == id
            || transaction.seq == 0
            || chunks.len() > limits::TRANSACTION_CHUNKS
            || !aliases && chunks.iter().any(|id| matches!(id, ChunkId::Alias(_)))
        {
            return Ok(bad(format!("{id} is not a transaction that can be"))?);
        }
        if self.is_committed(id, transaction.seq, &contents)? {
            self.note_lost(&transaction.chunks)?;
            self.existing.transaction(contents.len() as u32);
            return Ok(());
        }
        self.note_chunks(chunks);
        let bytes = contents.len() as u32;
        self.foresee_room(&Thing::Transaction(id), bytes.into())?;
        self.staging.write(Thing::Transaction(id), contents)?;
        self.staging.transactions.push(StagedTransaction {
            id,
            parent: transaction.parent,
            seq: transaction.seq,
            bytes,
            has_chunks: chunks.iter().all(|chunk| self.recent.has(chunk)),
            is_outside: false,
            on_chain: false,
        });
        self.foresee_transactions()
    }

    /// Remembers what the transactions name, for as long as the bundle may be a fast-forward.
    fn note_chunks(&mut self, chunks: &[ChunkId]) {
        for chunk in chunks {
            let Some(named) = &mut self.named else {
                return;
            };
            match chunk {
                ChunkId::Digest(digest) if named.len() < limits::FAST_FORWARD_CHUNKS => {
                    named.insert(*digest);
                }
                _ => self.named = None,
            }
        }
    }

    /// Remembers which of those that a transaction of the chain names came just now and are not committed.
    fn note_lost(&mut self, chunks: &[ChunkId]) -> Result<()> {
        // With nothing staged, all that came is there.
        if self.staging.chunks.is_empty() && self.staging.aliases.is_empty() {
            return Ok(());
        }
        for chunk in chunks.iter().filter(|chunk| self.recent.has(chunk)) {
            let thing = match chunk {
                ChunkId::Digest(digest) => Thing::Chunk(*digest),
                ChunkId::Alias(alias) => Thing::Alias(*alias),
            };
            let place = self.user.folder.thing(Area::Committed, &thing);
            if self.user.store.meta_if_there(&place)?.is_none() {
                self.lost.insert(*chunk);
            }
        }
        Ok(())
    }

    /// Reads a transaction that is not spelt as the store spells it, but as `PUT` takes it.
    fn respell(&mut self, id: TransactionId, sent: &[u8]) -> Step<Transaction> {
        let spelt = match json::read(sent) {
            Ok(spelt) => spelt,
            Err(why) => return Ok(bad(format!("the transaction {id}: {why}"))?),
        };
        if let Some(other) = spelt.id.filter(|other| *other != id) {
            let why = format!("the transaction {id} has the id {other} inside");
            return Ok(bad(why)?);
        }
        let seq = match spelt.seq {
            Some(seq) => seq,
            None => self.seq_after(id, spelt.parent)?,
        };
        Ok(Transaction {
            id,
            seq,
            parent: spelt.parent,
            chunks: spelt.chunks,
        })
    }

    /// The number of a transaction that does not say it: its parent's and one, where the parent came
    /// before it or is here.
    fn seq_after(&mut self, id: TransactionId, parent: TransactionId) -> Step<u64> {
        if parent == TransactionId::ROOT {
            return Ok(1);
        }
        // Those that came since the last time that somebody asked.
        let known = std::mem::replace(&mut self.numbered, self.staging.transactions.len());
        for staged in &self.staging.transactions[known..] {
            self.numbers.insert(staged.id, staged.seq);
        }
        let mut seq = self.numbers.get(&parent).copied();
        for place in [
            self.user.folder.transaction(parent),
            self.user.folder.pending(parent),
        ] {
            if seq.is_none() {
                seq = self
                    .user
                    .store
                    .start_of(&place, parent)?
                    .map(|start| start.seq);
            }
        }
        match seq {
            Some(seq) => Ok(seq.saturating_add(1)),
            None => Ok(bad(format!(
                "the transaction {id} says no seq, and its parent {parent} has not come before it"
            ))?),
        }
    }

    /// Whether this very transaction was on the chain when the push began: whoever pushes all of its
    /// history again has nothing written for it.
    fn is_committed(&mut self, id: TransactionId, seq: u64, contents: &[u8]) -> Result<bool> {
        let head = self.began_at;
        if seq > head.seq {
            return Ok(false);
        }
        let place = self.user.folder.transaction(id);
        if self.user.store.read_file(&place, usize::MAX)?.as_deref() != Some(contents) {
            return Ok(false);
        }
        // Where `log` cannot tell, it is looked at again when all has come.
        let position = self.user.position_at(head, id, seq)?;
        self.to_sync.dir(Dir::of_transaction(id));
        Ok(position == Position::OnChain(seq))
    }
}
