//! Positions of transactions on the chain, as HEAD and `log` tell them.

use super::log;
use super::walk::Position;
use super::{Result, User};
use crate::model::{Head, TransactionId};

impl User {
    /// Whether the transaction is on the chain that ends at `head`, and where. Costs two looks.
    pub(crate) fn position(&self, head: Head, id: TransactionId) -> Result<Position> {
        if id == TransactionId::ROOT {
            return Ok(Position::OnChain(0));
        }
        if id == head.id {
            return Ok(Position::OnChain(head.seq));
        }
        match self.store.start_of(&self.folder.transaction(id), id)? {
            Some(start) => self.position_at(head, id, start.seq),
            None => Ok(Position::OffChain),
        }
    }

    /// The position of a transaction whose number, if it is on the chain, is known.
    pub(super) fn position_at(&self, head: Head, id: TransactionId, seq: u64) -> Result<Position> {
        if seq >= head.seq {
            return Ok(if id == head.id {
                Position::OnChain(seq)
            } else {
                Position::OffChain
            });
        }
        match self.position_in_log(head, id, seq)? {
            Position::LogIsWrong => self.by_walking(head, id, seq),
            found => Ok(found),
        }
    }

    /// The position of a transaction below HEAD, as `log` tells it.
    fn position_in_log(&self, head: Head, id: TransactionId, seq: u64) -> Result<Position> {
        let Some(log) = self.log_to_read()? else {
            return Ok(Position::LogIsWrong);
        };
        if log::look_up(&log, head.seq)? != Some(head.id) {
            return Ok(Position::LogIsWrong);
        }
        let Some(on_chain) = log::look_up(&log, seq)? else {
            return Ok(Position::LogIsWrong);
        };
        if on_chain == id {
            return Ok(Position::OnChain(seq));
        }
        // Somebody else stands there. Believe it only of one who is what the log says.
        match self
            .store
            .start_of(&self.folder.transaction(on_chain), on_chain)?
        {
            Some(start) if start.seq == seq => Ok(Position::OffChain),
            _ => Ok(Position::LogIsWrong),
        }
    }

    /// Whether a transaction of this number is on the chain, where `log` cannot tell.
    pub(super) fn by_walking(&self, head: Head, id: TransactionId, seq: u64) -> Result<Position> {
        match self.store.walks.of(&self.folder, head) {
            Some(walk) => walk.position(&|here| self.below(here), id, seq),
            None => Ok(Position::LogIsWrong),
        }
    }
}
