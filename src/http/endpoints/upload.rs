//! Bytes on their way from a request into a chunk.

use crate::http::answer::error::Error;
use crate::http::answer::problem::Problem;
use crate::http::request::body::Body;
use crate::http::request::limiters::Permit;
use crate::http::site::Site;
use crate::http::threads::{Begun, begin};
use crate::http::work::outcome;
use crate::model::{UserId, limits};
use crate::store::{self, Staged, User};

/// A chunk that is being uploaded. Dropped, it leaves nothing: a write that is under way ends, and its file
/// goes with it.
pub(super) struct LongUpload {
    user: UserId,
    writing: Option<Begun<store::Result<Staged>>>,
    /// The permit for large pieces in memory.
    permit: Option<Permit>,
}

impl LongUpload {
    /// An upload of which nothing has come.
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            writing: None,
            permit: None,
        }
    }

    /// Reads the body, and has all but its last piece written; returns that piece. What is short is one piece alone.
    ///
    /// # Errors
    /// 413 `too-large` for more than a chunk may have; those of [`Body::next`], and of the store.
    pub async fn read(&mut self, site: &Site, body: &mut Body) -> Result<Vec<u8>, Error> {
        let limit = site.store.options().chunk_bytes;
        let mut piece = Vec::new();
        while let Some(bytes) = body.next().await? {
            if body.received() > limit {
                return Err(Problem::too_large(limit).into());
            }
            piece.extend_from_slice(&bytes);
            if piece.len() >= self.piece(body) {
                self.hand_over(site, std::mem::take(&mut piece)).await?;
            }
        }
        Ok(piece)
    }

    /// Whether nothing of it was handed over yet.
    pub fn is_short(&self) -> bool {
        self.writing.is_none()
    }

    /// The number of bytes that are gathered before they are handed over: few at first, since most chunks are
    /// small and a thousand slow clients must not hold a thousand large pieces.
    fn piece(&mut self, body: &Body) -> usize {
        if self.writing.is_none() {
            return limits::SMALL + 1;
        }
        // One piece is gathered while another is written.
        if self.permit.is_none() {
            self.permit = body.permit(2 * limits::PIECE).ok();
        }
        match self.permit {
            None => limits::SMALL,
            Some(_) => limits::PIECE,
        }
    }

    /// Writes and hashes a piece on a thread, and returns when the one before it is done.
    async fn hand_over(&mut self, site: &Site, piece: Vec<u8>) -> Result<(), Error> {
        let staged = self.written().await?;
        let user = site.store.user(self.user);
        self.writing = Some(begin(&self.user, move || {
            let mut staged = or_new(&user, staged)?;
            staged.write(&piece)?;
            Ok(staged)
        }));
        Ok(())
    }

    /// The chunk as far as it was handed over, once that is written; `None` of a short one.
    pub async fn written(&mut self) -> Result<Option<Staged>, Error> {
        let Some(writing) = self.writing.take() else {
            return Ok(None);
        };
        Ok(Some(outcome(writing).await??))
    }
}

impl Drop for LongUpload {
    fn drop(&mut self) {
        // Unlinking a long file takes its time, which is not this thread's.
        if let Some(writing) = self.writing.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(writing));
        }
    }
}

/// The chunk so far, or a new one.
pub(super) fn or_new(user: &User, staged: Option<Staged>) -> store::Result<Staged> {
    match staged {
        Some(staged) => Ok(staged),
        None => user.stage(),
    }
}
