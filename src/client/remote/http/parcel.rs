//! A bundle on its way out, held to the length that was announced.

use std::io::{self, Read};

use crate::client::error::Result;
use crate::client::remote::Parcel;

/// The bytes of a parcel, just as many as it says that it has: an end before that would be waited for for ever, and what is
/// beyond it would be taken for another request. An error in reading them is kept for the one who sends.
pub struct SentParcel<'a> {
    bytes: Box<dyn Read + Send + 'a>,
    left: u64,
    failed: Option<io::Error>,
}

impl<'a> SentParcel<'a> {
    /// The parcel from its beginning.
    ///
    /// # Errors
    /// Those of the parcel.
    pub fn of(parcel: &'a dyn Parcel) -> Result<Self> {
        Ok(Self {
            bytes: parcel.open()?,
            left: parcel.bytes(),
            failed: None,
        })
    }

    /// The bytes that are still to be sent.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The error in which reading the parcel ended, if it did.
    pub fn failed(&mut self) -> Option<io::Error> {
        self.failed.take()
    }
}

impl Read for SentParcel<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.left.min(buffer.len() as u64) as usize;
        if most == 0 {
            return Ok(0);
        }
        let read = match self.bytes.read(&mut buffer[..most]) {
            Ok(0) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a bundle is shorter than it was",
            )),
            other => other,
        };
        match read {
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                Err(told)
            }
        }
    }
}
