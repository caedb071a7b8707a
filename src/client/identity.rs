//! Identities: the server's address, the user, and the masters of the keys.

use std::fmt;

use uuid::Uuid;

use super::keyring::Keyring;
use super::keys::{Keys, Master};
use super::url::Url;
use crate::model::UserId;

/// The masters of a store: the present one, and those from before a `rekey`; or the word that it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Masters {
    /// Chunks are not sealed.
    Plain,
    /// The present master, and the old ones, the newest first.
    Sealed { current: Master, old: Vec<Master> },
}

/// An identity says who we are to whom: the server's address, the user, the keys. Whoever has it reads and writes the store, so that
/// `Debug` and `Display` show the first 8 digits of the user alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub server: Url,
    pub user: UserId,
    pub masters: Masters,
}

impl Identity {
    /// A new user with a new key at this server, which is not asked.
    ///
    /// # Errors
    /// If the system has no random numbers to give.
    pub fn generate(server: Url) -> Result<Self, getrandom::Error> {
        let current = Master::generate()?;
        let old = Vec::new();
        Ok(Self {
            masters: Masters::Sealed { current, old },
            ..Self::generate_plain(server)?
        })
    }

    /// A new user at this server whose chunks are not sealed.
    ///
    /// # Errors
    /// If the system has no random numbers to give.
    pub fn generate_plain(server: Url) -> Result<Self, getrandom::Error> {
        let mut user = [0; 16];
        getrandom::fill(&mut user)?;
        let user = uuid::Builder::from_random_bytes(user).into_uuid();
        Ok(Self {
            server,
            user: UserId::from_bytes(*Uuid::as_bytes(&user)),
            masters: Masters::Plain,
        })
    }

    /// The identity after a device was lost: another user with another key, which has the present key among its old ones. A
    /// plain one stays plain.
    ///
    /// # Errors
    /// If the system has no random numbers to give.
    pub fn rekeyed(&self) -> Result<Self, getrandom::Error> {
        let server = self.server.clone();
        let Masters::Sealed { current, old } = &self.masters else {
            return Self::generate_plain(server);
        };
        let old = std::iter::once(current).chain(old).cloned().collect();
        Ok(Self {
            masters: Masters::Sealed {
                current: Master::generate()?,
                old,
            },
            ..Self::generate_plain(server)?
        })
    }

    /// The keys of all masters.
    pub fn keyring(&self) -> Keyring {
        match &self.masters {
            Masters::Plain => Keyring::Plain,
            Masters::Sealed { current, old } => Keyring::Sealed {
                current: Keys::derive(current),
                old: old.iter().map(Keys::derive).collect(),
            },
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}… at {}", self.user.short(), self.server)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}
