//! An entry: what the application says in a transaction, with the random bytes that make it one of its own.

use super::envelope::OpenError;

/// The 16 random bytes of an entry, made with it and kept through every rebase: two devices that say the same thing
/// after the same HEAD say two things, and not one transaction of which each takes the other's for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// The random bytes that are these.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// An entry's contents: the application's bytes, and the random ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub nonce: Nonce,
    pub app: Vec<u8>,
}

impl Said {
    /// The plaintext of a sealed entry: the random bytes, then the application's.
    pub fn body(&self) -> Vec<u8> {
        [&self.nonce.0[..], &self.app].concat()
    }

    /// Reads [`Said::body`].
    ///
    /// # Errors
    /// [`OpenError::Entry`] if it is shorter than the random bytes.
    pub fn of_body(body: &[u8]) -> Result<Self, OpenError> {
        let (nonce, app) = body.split_first_chunk().ok_or(OpenError::Entry)?;
        Ok(Self {
            nonce: Nonce(*nonce),
            app: app.to_vec(),
        })
    }

    /// The chunk of an entry of a plain store.
    pub fn plain(&self) -> Vec<u8> {
        self.body()
    }

    /// Reads [`Said::plain`].
    ///
    /// # Errors
    /// [`OpenError::Entry`] if it is none.
    pub fn of_plain(chunk: &[u8]) -> Result<Self, OpenError> {
        Self::of_body(chunk)
    }
}
