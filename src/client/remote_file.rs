//! The file `remote` of a replica: all its secrets in one place, and in no other.
//!
//! ```json
//! {"url":"https://sync.example.org","user":"67e5…","key":"…","keys":[]}
//! ```
//!
//! `key` is the master in base64url without padding (RFC 4648, section 5), and null where the store is plain; `keys` are the old
//! ones, the newest first. Mode 0600, as ssh has it with keys.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::beside;
use super::identity::{Identity, Masters};
use super::keys::Master;
use super::url::BadUrl;
use crate::disk::{self, Disk, IfThere, Place};
use crate::model::limits;

/// Bits of a mode that let anybody but the owner at a file.
const OTHERS: u32 = 0o077;

/// The end of the name that a new file has until it takes the old one's place.
const ASIDE: &str = ".new";

/// Why the file is not read or written. None of these has anything of its contents in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteFileError {
    /// The disk refused a verb.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// Others than its owner may read or write it.
    #[error(
        "{place:?} holds the keys, and others than its owner may use it (mode {mode:04o}): chmod 600 it, and think of `mentat-sync \
         rekey` if somebody may have"
    )]
    Loose { place: Place, mode: u32 },
    /// The contents are not what is written there.
    #[error("{place:?} is damaged: {what}")]
    Malformed { place: Place, what: &'static str },
    /// The address in it is none.
    #[error("{place:?} is damaged: {source}")]
    Address { place: Place, source: BadUrl },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    user: &'a str,
    // A file that lost its key is damaged, and not one of a store that has none.
    #[serde(deserialize_with = "Option::deserialize")]
    key: Option<&'a str>,
    keys: Vec<&'a str>,
}

impl Master {
    /// The secret in base64url, as the file and the entry that a `rekey` makes have it.
    pub fn spelled(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(self.secret()))
    }

    /// Reads [`Master::spelled`], and only that.
    pub fn of_spelled(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        if BASE64URL_NOPAD.decode_len(text.len()) != Ok(32) {
            return None;
        }
        let read = BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut *bytes);
        read.ok()?;
        Some(Self::from_bytes(&bytes))
    }
}

impl Identity {
    /// Reads the file.
    ///
    /// # Errors
    /// If it is not there, is damaged, or may be read by others: [`RemoteFileError`].
    pub fn read(disk: &dyn Disk, place: &Place) -> Result<Self, RemoteFileError> {
        let malformed = |what| RemoteFileError::Malformed {
            place: place.clone(),
            what,
        };
        let file = disk.open(place)?;
        let meta = file.meta()?;
        if meta.mode & OTHERS != 0 {
            return Err(RemoteFileError::Loose {
                place: place.clone(),
                mode: meta.mode & 0o7777,
            });
        }
        let bytes = usize::try_from(meta.bytes).unwrap_or(usize::MAX);
        if bytes > limits::REMOTE_FILE_BYTES {
            return Err(malformed("it is larger than it can be"));
        }
        let mut contents = Zeroizing::new(vec![0; bytes]);
        let read = file.read_at(0, &mut contents)?;
        // The words of the parser are not passed on: they may have something of the contents in them.
        let fields: Fields = serde_json::from_slice(&contents[..read])
            .map_err(|_| malformed("it has not the JSON that is written there"))?;
        let server = fields
            .url
            .parse()
            .map_err(|source| RemoteFileError::Address {
                place: place.clone(),
                source,
            })?;
        let user = (fields.user.parse()).map_err(|_| malformed("its user is no uuid"))?;
        let master = |text: &str| Master::of_spelled(text).ok_or(malformed("a key in it is none"));
        let masters = match fields.key {
            Some(key) => Masters::Sealed {
                current: master(key)?,
                old: (fields.keys.iter().copied().map(master)).collect::<Result<_, _>>()?,
            },
            None if fields.keys.is_empty() => Masters::Plain,
            None => return Err(malformed("it has old keys and no present one")),
        };
        Ok(Self {
            server,
            user,
            masters,
        })
    }

    /// Writes the file in place of the one that is there, if any: durable when this returns, and at each moment either the
    /// old one or the new one, which nobody but its owner may read. The caller holds the replica's lock.
    ///
    /// # Errors
    /// If the disk refuses it. Then the old one is there, or the new one, which may not be durable.
    pub fn write(&self, disk: &dyn Disk, place: &Place) -> Result<(), RemoteFileError> {
        let contents = self.contents();
        let aside = place.parent().join(format_args!("{}{ASIDE}", place.name()));
        // Somebody was cut off: nobody else writes it now.
        disk.remove_file(&aside).if_there()?;
        // It has the keys; where it cannot go after a failure, the next writer takes it away.
        Ok(beside::write(disk, &aside, place, &contents)?)
    }

    fn contents(&self) -> Zeroizing<Vec<u8>> {
        let (key, keys) = match &self.masters {
            Masters::Plain => (None, Vec::new()),
            Masters::Sealed { current, old } => (
                Some(current.spelled()),
                old.iter().map(Master::spelled).collect(),
            ),
        };
        let user = Zeroizing::new(self.user.to_string());
        let fields = Fields {
            url: Cow::Borrowed(self.server.as_str()),
            user: &user,
            key: key.as_deref().map(String::as_str),
            keys: keys.iter().map(|key| key.as_str()).collect(),
        };
        // All of it at once: a vector that grows leaves what it held behind. JSON writes one byte of an address as two at
        // the most, since it has no control characters.
        let length = 2 * self.server.as_str().len() + 50 * (keys.len() + 3) + 64;
        let mut contents = Zeroizing::new(Vec::with_capacity(length));
        serde_json::to_writer(&mut *contents, &fields).expect("these fields are JSON");
        contents.push(b'\n');
        debug_assert!(contents.len() <= length);
        contents
    }
}
