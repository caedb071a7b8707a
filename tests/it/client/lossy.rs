use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mentat_sync::client::{
    AnswerBody, Error, LocalRemote, Parcel, PushAnswer, Remote, Result, WithChunks,
};
use mentat_sync::model::{Checkpoint, ChunkDigest, Head, Transaction, TransactionId};
use mentat_sync::store::PutCheckpoint;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    #[default]
    Fine,
    /// It never comes to the server.
    RequestLost,
    /// The server does it, and nobody hears of it.
    AnswerLost,
    /// A body breaks off after so many bytes, going out or coming in.
    CutAfter(u64),
}

/// Called before each request with its name; says what becomes of it.
pub type Decide = Box<dyn FnMut(&'static str) -> Fate + Send>;

/// A network that loses what it is told to.
#[derive(Clone)]
pub struct Lossy {
    inner: Arc<dyn Remote>,
    decide: Arc<Mutex<Decide>>,
    /// The most transactions that one answer has.
    pub most: u64,
    /// The requests that there were, by name.
    pub asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Lossy {
    /// A network that loses nothing.
    pub fn over(inner: LocalRemote) -> Self {
        Self {
            inner: Arc::new(inner),
            decide: Arc::new(Mutex::new(Box::new(|_| Fate::Fine))),
            most: u64::MAX,
            asked: Arc::default(),
        }
    }

    /// From now on this decides what is lost.
    pub fn decide(&self, decide: impl FnMut(&'static str) -> Fate + Send + 'static) {
        *self.decide.lock().unwrap() = Box::new(decide);
    }

    /// The next request with this name has this fate.
    pub fn next(&self, name: &'static str, fate: Fate) {
        let mut done = false;
        self.decide(move |asked| {
            match asked == name && !std::mem::replace(&mut done, asked == name) {
                true => fate,
                false => Fate::Fine,
            }
        });
    }

    /// The requests since the last time that somebody asked.
    pub fn take_asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn ask<T>(
        &self,
        name: &'static str,
        ask: impl FnOnce(&dyn Remote, Option<u64>) -> Result<T>,
    ) -> Result<T> {
        let mut decide =
            std::mem::replace(&mut *self.decide.lock().unwrap(), Box::new(|_| Fate::Fine));
        let fate = decide(name);
        *self.decide.lock().unwrap() = decide;
        self.asked.lock().unwrap().push(name);
        match fate {
            Fate::Fine => ask(&*self.inner, None),
            Fate::RequestLost => Err(lost()),
            Fate::AnswerLost => {
                let _ = ask(&*self.inner, None);
                Err(lost())
            }
            Fate::CutAfter(bytes) => ask(&*self.inner, Some(bytes)),
        }
    }
}

fn lost() -> Error {
    Error::offline(io::Error::from(io::ErrorKind::ConnectionReset))
}

/// A body that breaks off.
struct Cut<R> {
    inner: R,
    left: Option<u64>,
}

impl<R: Read> Read for Cut<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = &mut self.left else {
            return self.inner.read(buffer);
        };
        if *left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let most = buffer.len().min(*left as usize);
        let read = self.inner.read(&mut buffer[..most])?;
        *left -= read as u64;
        Ok(read)
    }
}

struct CutParcel<'a> {
    inner: &'a dyn Parcel,
    left: Option<u64>,
}

impl Parcel for CutParcel<'_> {
    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn open(&self) -> Result<Box<dyn Read + Send + '_>> {
        let (inner, left) = (self.inner.open()?, self.left);
        Ok(Box::new(Cut { inner, left }))
    }
}

fn cut(inner: AnswerBody, left: Option<u64>) -> AnswerBody {
    Box::new(Cut { inner, left })
}

impl Remote for Lossy {
    fn head(&self) -> Result<Head> {
        self.ask("head", |remote, _| remote.head())
    }

    fn wait(&self, seen: TransactionId, timeout: Duration) -> Result<Head> {
        self.ask("wait", |remote, _| remote.wait(seen, timeout))
    }

    fn bundle(
        &self,
        from: TransactionId,
        limit: u64,
        chunks: WithChunks,
    ) -> Result<Option<AnswerBody>> {
        let name = match chunks {
            WithChunks::All => "bundle",
            WithChunks::None => "bundle without chunks",
        };
        self.ask(name, |remote, left| {
            Ok(remote
                .bundle(from, limit.min(self.most), chunks)?
                .map(|body| cut(body, left)))
        })
    }

    fn bundle_bytes(&self, from: TransactionId, limit: u64) -> Result<Option<u64>> {
        self.ask("length", |remote, _| remote.bundle_bytes(from, limit))
    }

    fn push_bundle(&self, parcel: &dyn Parcel) -> Result<PushAnswer> {
        self.ask("push", |remote, left| {
            let cut = CutParcel {
                inner: parcel,
                left,
            };
            remote.push_bundle(&cut)
        })
    }

    fn missing(&self, chunks: &[ChunkDigest]) -> Result<Vec<ChunkDigest>> {
        self.ask("missing", |remote, _| remote.missing(chunks))
    }

    fn transaction(&self, id: TransactionId) -> Result<Option<Transaction>> {
        self.ask("transaction", |remote, _| remote.transaction(id))
    }

    fn chunk(&self, id: &ChunkDigest) -> Result<Option<AnswerBody>> {
        self.ask("chunk", |remote, left| {
            Ok(remote.chunk(id)?.map(|body| cut(body, left)))
        })
    }

    fn chunks(&self, ids: &[ChunkDigest]) -> Result<AnswerBody> {
        self.ask("chunks", |remote, left| Ok(cut(remote.chunks(ids)?, left)))
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        self.ask("checkpoint", |remote, _| remote.checkpoint())
    }

    fn put_checkpoint(
        &self,
        transaction: TransactionId,
        chunks: &[ChunkDigest],
    ) -> Result<PutCheckpoint> {
        self.ask("put checkpoint", |remote, _| {
            remote.put_checkpoint(transaction, chunks)
        })
    }
}
