//! Keys: one random master, and what is derived from it (CLIENT, section 4).
//!
//! The derivation is HKDF with SHA-256 (RFC 5869). Nothing here or in what uses it depends on a clock, or on a random
//! number after the master was made.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// The salt of the first step of the derivation: it names the format, so that no other use of a master has its keys.
const SALT: &[u8] = b"mentat-sync envelope 1";

/// A secret in one place in memory, so that no copy of it is left where it was moved from.
type Secret = Box<Zeroizing<[u8; 32]>>;

fn secret() -> Secret {
    Box::new(Zeroizing::new([0; 32]))
}

/// The secret that all keys of a store are derived from: 32 random bytes, made once. It is wiped from memory when
/// it goes, and `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Master(Secret);

impl Master {
    /// A new master, of the system's random numbers.
    ///
    /// # Errors
    /// If the system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = secret();
        getrandom::fill(&mut bytes[..])?;
        Ok(Self(bytes))
    }

    /// The master with these bytes, which must have been random once.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut secret = secret();
        secret.copy_from_slice(bytes);
        Self(secret)
    }

    /// The secret itself, for an invite or a file.
    pub fn secret(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(…)")
    }
}

/// The public name of a key, which every sealed chunk says in clear: so that another key is told as that, and not as
/// something that cannot be decrypted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The id with these 8 bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The keys that one master gives: the one that names a chunk's contents, and the one that seals them. They are wiped
/// from memory when they go, and `Debug` shows the id alone.
#[derive(Clone)]
pub struct Keys {
    id: KeyId,
    pub(super) nonce: Secret,
    pub(super) seal: Secret,
}

impl Keys {
    /// Derives the keys: `HKDF-Expand(HKDF-Extract(salt, master), "key id" | "nonce" | "seal")`.
    pub fn derive(master: &Master) -> Self {
        let (mut extracted, root) = Hkdf::<Sha256>::extract(Some(SALT), master.secret());
        extracted.as_mut_slice().zeroize();
        let mut id = [0; 8];
        let mut nonce = secret();
        let mut seal = secret();
        for (label, key) in [
            (&b"key id"[..], &mut id[..]),
            (b"nonce", &mut nonce[..]),
            (b"seal", &mut seal[..]),
        ] {
            root.expand(label, key).expect("HKDF gives 8160 bytes");
        }
        Self {
            id: KeyId(id),
            nonce,
            seal,
        }
    }

    /// The name that chunks sealed with these keys say.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key that seals the one chunk with this `n` and no other: `HKDF-Expand(k_seal, "chunk" ‖ n, 32)`.
    pub(super) fn of_chunk(&self, n: &[u8; 32]) -> Secret {
        let mut key = secret();
        let seal =
            Hkdf::<Sha256>::from_prk(&self.seal[..]).expect("32 bytes are enough for SHA-256");
        seal.expand_multi_info(&[b"chunk", n], &mut key[..])
            .expect("HKDF gives 8160 bytes");
        key
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.id)
    }
}
