//! A server reached over HTTP: `http://`, `https://`, or `unix:` and the path of its socket.
//!
//! - `agent`: the way to one server: TLS, proxies, times, no redirects
//! - `proxies`: those that the environment names
//! - `unix`: sockets in the file system, for the library
//! - `ask`: one question
//! - `answer`: what an answer must be, and what a refusal says
//! - `ahead`: a long answer, read beside the work on it
//! - `again`: when a request is tried again
//! - `unreached`: why there is no answer

mod again;
mod agent;
mod ahead;
mod answer;
mod ask;
mod parcel;
mod proxies;
mod unix;
mod unreached;

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::json;
use ureq::http::{Method, header};

pub use self::again::{Pauses, SystemPauses, Tries};
pub use self::agent::HttpOptions;
pub use self::proxies::Proxies;
pub use self::unreached::{Lookup, ServerName, Unreached};

use self::ahead::ReadAhead;
use self::answer::{Declined, Replied, length_of};
use self::ask::{Ask, Caller, SentBody};
use self::parcel::SentParcel;
use super::{AnswerBody, Parcel, PushAnswer, Remote, WithChunks};
use crate::client::error::Result;
use crate::client::url::Url;
use crate::model::{Checkpoint, ChunkDigest, Head, Transaction, TransactionId, UserId, limits};
use crate::store::PutCheckpoint;
use crate::wire::{
    BundleMessage, CheckpointMessage, Code, HeadMessage, JSON, MissingMessage, OCTETS,
    StoreMessage, TAR, TransactionMessage,
};

/// One user of a server that is reached over HTTP. The user's id is in the header `Authorization` of each request and
/// nowhere else; `Debug`, errors and log lines do not have it.
///
/// Each method is one request, tried again as the options say where the server was not reached: all of them may be. The
/// connection is kept for the next one.
pub struct HttpRemote(Caller);

impl HttpRemote {
    /// A remote for this user of this server, which is not asked yet.
    ///
    /// # Errors
    /// [`Error::Offline`](crate::client::Error::Offline) where the address, that of a proxy, or the file of authorities
    /// cannot be used.
    pub fn new(server: &Url, user: UserId, options: HttpOptions) -> Result<Self> {
        Caller::new(server, user, options).map(Self)
    }

    /// `GET …/`: where HEAD is, the server's limits, and what it can do beyond the first version of the protocol.
    ///
    /// # Errors
    /// Those of [`Remote`].
    pub fn about(&self) -> Result<StoreMessage> {
        self.0
            .told(&Ask::get("", JSON), None)?
            .map_err(Declined::into_error)
    }

    /// HEAD, if it is another than `seen` within so many seconds.
    fn moved(&self, seen: TransactionId, seconds: u64) -> Result<Option<Head>> {
        let path = format!("head?wait={seconds}");
        let ask = Ask {
            header: Some((header::IF_NONE_MATCH, format!("\"{seen}\""))),
            more: Duration::from_secs(seconds),
            ..Ask::get(&path, JSON)
        };
        match self.0.send(&ask, SentBody::None)? {
            Replied::Good(response) => {
                let HeadMessage { head: id, seq } = self.0.answers.json(response)?;
                Ok(Some(Head { id, seq }))
            }
            Replied::Unchanged => Ok(None),
            Replied::Refused(refusal) => Err(refusal.into_error()),
        }
    }
}

/// Ids as a list in JSON.
fn list(ids: &[ChunkDigest]) -> Vec<u8> {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    json!(ids).to_string().into_bytes()
}

impl Remote for HttpRemote {
    fn head(&self) -> Result<Head> {
        let HeadMessage { head: id, seq } = self
            .0
            .told(&Ask::get("head", JSON), None)?
            .map_err(Declined::into_error)?;
        Ok(Head { id, seq })
    }

    fn wait(&self, seen: TransactionId, timeout: Duration) -> Result<Head> {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let slice = left.min(limits::POLL).as_secs();
            let began = Instant::now();
            if let Some(head) = self.0.again(|| self.moved(seen, slice))? {
                return Ok(head);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left < Duration::from_secs(1) {
                self.0.options.pauses.pause(left);
                return self.head();
            }
            // A server that does not wait is not asked all the time.
            if began.elapsed() < Duration::from_secs(slice) / 2 {
                self.0.options.pauses.pause(left.min(limits::POLL_PAUSE));
            }
        }
    }

    fn bundle(
        &self,
        from: TransactionId,
        limit: u64,
        chunks: WithChunks,
    ) -> Result<Option<AnswerBody>> {
        let chunks = match chunks {
            WithChunks::All => "",
            WithChunks::None => "&chunks=none",
        };
        let path = format!("bundle?from={from}&limit={limit}{chunks}");
        self.0
            .bytes(&Ask::get(&path, TAR), None, Code::UnknownTransaction)
    }

    fn bundle_bytes(&self, from: TransactionId, limit: u64) -> Result<Option<u64>> {
        let path = format!("bundle?from={from}&limit={limit}");
        let ask = Ask::of(Method::HEAD, &path, TAR);
        Ok(match self.0.send(&ask, SentBody::None)? {
            Replied::Good(response) => length_of(&response),
            _ => None,
        })
    }

    fn push_bundle(&self, parcel: &dyn Parcel) -> Result<PushAnswer> {
        let ask = Ask::of(Method::POST, "bundle", JSON);
        let told = self.0.again(|| {
            let mut sending = SentParcel::of(parcel)?;
            let reply = self.0.send(&ask, SentBody::Parcel(&mut sending));
            // The failure of the device's own files is none of the server's.
            if let Some(own) = sending.failed() {
                return Err(own.into());
            }
            match reply? {
                Replied::Good(response) => self.0.answers.json(response).map(Ok),
                Replied::Refused(refusal) => Ok(Err(refusal)),
                Replied::Unchanged => Err(self.0.not_asked_for()),
            }
        })?;
        let refusal = match told {
            Ok(BundleMessage { head: id, seq, .. }) => {
                return Ok(PushAnswer::Taken(Head { id, seq }));
            }
            Err(refusal) => refusal,
        };
        match (refusal.code, refusal.head(), &refusal.message.missing) {
            (Code::UnknownParent, ..) => Ok(PushAnswer::UnknownParent),
            (Code::MissingChunks, _, Some(missing)) => Ok(PushAnswer::Missing(missing.clone())),
            (
                Code::UnknownTransaction | Code::NotADescendant | Code::HasDescendants,
                Some(head),
                _,
            ) => Ok(PushAnswer::Lost(head)),
            _ => Err(refusal.into_error()),
        }
    }

    fn missing(&self, chunks: &[ChunkDigest]) -> Result<Vec<ChunkDigest>> {
        let ask = Ask::of(Method::POST, "chunks/missing", JSON);
        let told: std::result::Result<MissingMessage, Declined> =
            self.0.told(&ask, Some(&list(chunks)))?;
        let MissingMessage { missing } = told.map_err(Declined::into_error)?;
        // Of what else the server names nobody asked.
        let is_missing: HashSet<_> = missing.iter().map(ToString::to_string).collect();
        let asked = chunks.iter().copied();
        Ok(asked
            .filter(|chunk| is_missing.contains(&chunk.to_string()))
            .collect())
    }

    fn transaction(&self, id: TransactionId) -> Result<Option<Transaction>> {
        let path = format!("transactions/{id}");
        let told: std::result::Result<TransactionMessage, Declined> =
            self.0.told(&Ask::get(&path, JSON), None)?;
        let message = match told {
            Ok(message) => message,
            Err(refusal) if refusal.code == Code::UnknownTransaction => return Ok(None),
            Err(refusal) => return Err(refusal.into_error()),
        };
        match message.parent {
            Some(parent) if message.id == id => Ok(Some(Transaction {
                id,
                seq: message.seq,
                parent,
                chunks: message.chunks,
            })),
            _ => Err(self
                .0
                .answers
                .garbage(200, "it answers with another transaction".to_owned())),
        }
    }

    fn chunk(&self, id: &ChunkDigest) -> Result<Option<AnswerBody>> {
        let path = format!("chunks/{id}");
        self.0
            .bytes(&Ask::get(&path, OCTETS), None, Code::UnknownChunk)
    }

    fn chunks(&self, ids: &[ChunkDigest]) -> Result<AnswerBody> {
        let ask = Ask::of(Method::POST, "chunks/get", TAR);
        match self.0.ask(&ask, Some(&list(ids)))? {
            Replied::Good(response) => Ok(ReadAhead::of(self.0.answers.body(response))),
            Replied::Refused(refusal) => Err(refusal.into_error()),
            Replied::Unchanged => Err(self.0.not_asked_for()),
        }
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let told: std::result::Result<CheckpointMessage, Declined> =
            self.0.told(&Ask::get("checkpoint", JSON), None)?;
        match told {
            Ok(message) => Ok(Some(checkpoint(message))),
            Err(refusal) if refusal.code == Code::NoCheckpoint => Ok(None),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    fn put_checkpoint(
        &self,
        transaction: TransactionId,
        chunks: &[ChunkDigest],
    ) -> Result<PutCheckpoint> {
        let chunks: Vec<_> = chunks.iter().map(ToString::to_string).collect();
        let json = json!({"transaction": transaction.to_string(), "chunks": chunks}).to_string();
        let ask = Ask::of(Method::PUT, "checkpoint", JSON);
        let mut refusal = match self.0.ask(&ask, Some(json.as_bytes()))? {
            Replied::Good(_) => return Ok(PutCheckpoint::Stored),
            Replied::Refused(refusal) => refusal,
            Replied::Unchanged => return Err(self.0.not_asked_for()),
        };
        let present = refusal.message.checkpoint.take().map(checkpoint);
        match (
            refusal.code,
            refusal.head(),
            present,
            &refusal.message.missing,
        ) {
            (Code::UnknownTransaction, Some(head), ..) => {
                Ok(PutCheckpoint::UnknownTransaction { head })
            }
            (Code::CheckpointOlder, Some(head), Some(present), _) => {
                Ok(PutCheckpoint::Older { head, present })
            }
            (Code::MissingChunks, _, _, Some(missing)) => {
                Ok(PutCheckpoint::MissingChunks(missing.clone()))
            }
            _ => Err(refusal.into_error()),
        }
    }
}

fn checkpoint(message: CheckpointMessage) -> Checkpoint {
    Checkpoint {
        transaction: message.transaction,
        seq: message.seq,
        chunks: message.chunks,
    }
}

impl fmt::Debug for HttpRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpRemote({})", self.0.answers.server)
    }
}
