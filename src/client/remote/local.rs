//! A server's store in this process, reached without a network: for tests, and for whoever has both on one box.

use std::io::{self, Read};
use std::time::Duration;

use super::{AnswerBody, Parcel, PushAnswer, Remote, WithChunks};
use crate::client::error::{Error, Result};
use crate::client::file_body::FileBody;
use crate::model::{
    Checkpoint, ChunkDigest, ChunkId, Head, Transaction, TransactionId, UserId, limits,
};
use crate::store::{
    self, AdvanceRefusal, AskedReader, BundleReader, Content, Exclusive, Plan, PullBundle,
    PushBundle, PutCheckpoint, Store, User,
};
use crate::wire::Code;

/// One user of a store in this process, as a server would answer for it.
pub struct LocalRemote {
    user: User,
}

impl LocalRemote {
    /// The user of this store.
    pub fn new(store: &Store, user: UserId) -> Self {
        Self {
            user: store.user(user),
        }
    }

    fn content(&self, digest: &ChunkDigest) -> Result<Option<Content>> {
        self.user.chunk(&ChunkId::Digest(*digest)).map_err(failed)
    }

    fn exclusive(&self) -> Result<Option<Exclusive>> {
        self.user.exclusive_blocking().map_err(failed)
    }

    fn refused(&self, code: Code, detail: impl Into<String>) -> Error {
        let status = match code {
            Code::UnknownUser => 403,
            Code::TooLarge => 413,
            Code::QuotaExceeded | Code::NoSpace => 507,
            Code::Damaged | Code::Internal => 500,
            Code::BadBundle => 400,
            _ => 409,
        };
        Error::Refused {
            status,
            code,
            detail: detail.into(),
        }
    }

    fn answer(&self, outcome: PushBundle) -> Result<PushAnswer> {
        Ok(match outcome {
            PushBundle::Taken { head, .. } => PushAnswer::Taken(head),
            PushBundle::Refused { head, why } => match why {
                AdvanceRefusal::MissingChunks(missing) => PushAnswer::Missing(missing),
                _ => PushAnswer::Lost(head),
            },
            PushBundle::UnknownParent(_) => PushAnswer::UnknownParent,
            PushBundle::MissingChunks(missing) => PushAnswer::Missing(missing),
            PushBundle::Cut(error) => return Err(Error::offline(error)),
            PushBundle::Bad(why) => return Err(self.refused(Code::BadBundle, why)),
            PushBundle::TooLarge { limit } => {
                let detail = format!("a chunk has at most {limit} bytes");
                return Err(self.refused(Code::TooLarge, detail));
            }
            PushBundle::TransactionExists(id) => {
                let detail = format!("{id} stands for another transaction");
                return Err(self.refused(Code::TransactionExists, detail));
            }
            PushBundle::ChunkExists(id) => {
                let detail = format!("{id} stands for other bytes");
                return Err(self.refused(Code::ChunkExists, detail));
            }
            PushBundle::TooManyPending { limit, .. } => {
                let detail = format!("at most {limit} transactions are pending");
                return Err(self.refused(Code::QuotaExceeded, detail));
            }
        })
    }
}

impl Remote for LocalRemote {
    fn head(&self) -> Result<Head> {
        self.user.head().map_err(failed)
    }

    fn wait(&self, seen: TransactionId, timeout: Duration) -> Result<Head> {
        let disk = self.user.store().disk();
        let until = disk.elapsed() + timeout;
        loop {
            let head = self.head()?;
            let left = until.saturating_sub(disk.elapsed());
            if head.id != seen || left.is_zero() {
                return Ok(head);
            }
            disk.pause(left.min(limits::LOCK_PAUSE.1));
        }
    }

    fn bundle(
        &self,
        from: TransactionId,
        limit: u64,
        chunks: WithChunks,
    ) -> Result<Option<AnswerBody>> {
        let user = &self.user;
        let plan = match user.mending_log(|| user.bundle(from, None, limit)) {
            Ok(PullBundle::Ready(plan)) => plan,
            Ok(_) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let plan = Plan {
            chunks: chunks == WithChunks::All,
            ..plan
        };
        let reader = user.mending_log(|| user.read_bundle(&plan));
        Ok(Some(Box::new(BundleBody(reader.map_err(failed)?))))
    }

    fn bundle_bytes(&self, from: TransactionId, limit: u64) -> Result<Option<u64>> {
        let user = &self.user;
        match user.mending_log(|| user.bundle(from, None, limit)) {
            Ok(PullBundle::Ready(plan)) => user.bundle_bytes(&plan).map(Some).map_err(failed),
            Ok(_) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn push_bundle(&self, parcel: &dyn Parcel) -> Result<PushAnswer> {
        let (outcome, leftovers) = self.user.push_bundle(&mut parcel.open()?).map_err(failed)?;
        if let Some(leftovers) = leftovers {
            leftovers.clear();
        }
        self.answer(outcome)
    }

    fn missing(&self, chunks: &[ChunkDigest]) -> Result<Vec<ChunkDigest>> {
        let ids: Vec<_> = chunks.iter().map(|chunk| ChunkId::Digest(*chunk)).collect();
        let missing = match self.user.shared_blocking().map_err(failed)? {
            Some(lock) => lock.missing(&ids),
            None => self.user.missing_all(&ids),
        };
        let missing = missing.map_err(failed)?;
        let is_missing = |chunk: &&ChunkDigest| missing.contains(&ChunkId::Digest(**chunk));
        Ok(chunks.iter().filter(is_missing).copied().collect())
    }

    fn transaction(&self, id: TransactionId) -> Result<Option<Transaction>> {
        let found = self.user.mending_log(|| self.user.find_transaction(id));
        let found = match found {
            Err(store::Error::UserGone) => None,
            other => other.map_err(failed)?,
        };
        Ok(found
            .filter(|found| found.on_chain)
            .map(|found| found.transaction))
    }

    fn chunk(&self, id: &ChunkDigest) -> Result<Option<AnswerBody>> {
        let content = self.content(id)?;
        Ok(content.map(|content| Box::new(FileBody::of(content)) as AnswerBody))
    }

    fn chunks(&self, ids: &[ChunkDigest]) -> Result<AnswerBody> {
        let ids = ids.iter().map(|id| ChunkId::Digest(*id)).collect();
        let asked = self.user.read_asked(ids).map_err(failed)?;
        Ok(Box::new(AskedBody(asked)))
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let user = &self.user;
        user.mending_log(|| user.checkpoint()).map_err(failed)
    }

    fn put_checkpoint(
        &self,
        transaction: TransactionId,
        chunks: &[ChunkDigest],
    ) -> Result<PutCheckpoint> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| ChunkId::Digest(*chunk)).collect();
        match self.exclusive()? {
            Some(lock) => lock.put_checkpoint(transaction, &chunks).map_err(failed),
            None => Ok(PutCheckpoint::UnknownTransaction { head: Head::ROOT }),
        }
    }
}

/// A failure of the other store, as a server's answer would tell it.
fn failed(error: store::Error) -> Error {
    let (status, code) = match &error {
        store::Error::Busy => (503, Code::Busy),
        store::Error::Moving => (503, Code::Moving),
        store::Error::UnknownUser => (403, Code::UnknownUser),
        store::Error::QuotaExceeded { .. } => (507, Code::QuotaExceeded),
        error if error.is_no_space() => (507, Code::NoSpace),
        store::Error::Damaged { .. } => (500, Code::Damaged),
        _ => (500, Code::Internal),
    };
    Error::Refused {
        status,
        code,
        detail: error.to_string(),
    }
}

struct BundleBody(BundleReader);

impl Read for BundleBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(io::Error::other)
    }
}

struct AskedBody(AskedReader);

impl Read for AskedBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(io::Error::other)
    }
}
