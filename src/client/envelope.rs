//! The envelope: what the server stores of a chunk, byte for byte (CLIENT, section 4).
//!
//! ```text
//!  0  4  "MSE1"
//!  4  1  kind: 1 data, 2 entry, 3 checkpoint
//!  5  1  flags: 0
//!  6  2  reserved: 0
//!  8  8  the key's id
//! 16 32  n = HMAC-SHA-256(k_nonce, kind ‖ u64be(len(context)) ‖ context ‖ plaintext)
//! 48  L  AES-256-GCM(HKDF-Expand(k_seal, "chunk" ‖ n, 32), nonce 0, aad = bytes 0..48 ‖ context, body)
//!    16  tag
//! ```
//!
//! The body is `u32be(len) ‖ plaintext ‖ zeros`, padded to `L` by [`padded`]. The cipher is AES-256 in Galois/Counter Mode
//! (NIST SP 800-38D), the one authenticated cipher that every browser has. Each chunk has a key of its own, so that no
//! key meets the cipher's nonce twice. All of it is deterministic: the same plaintext in the same place is the same chunk.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce as GcmNonce, Tag};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::keys::{KeyId, Keys};
use crate::model::{ChunkDigest, TransactionId};

/// How every sealed chunk begins.
pub const MAGIC: [u8; 4] = *b"MSE1";

/// Bytes before the sealed body.
const HEADER: usize = 48;

/// Bytes after it.
const TAG: usize = 16;

/// Bytes of the plaintext's length, before it.
const LENGTH: usize = 4;

/// The place that a chunk is sealed for: it opens in no other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context<'a> {
    /// Bytes that an entry or a checkpoint names: the names bind them, being digests.
    Data,
    /// The first chunk of a transaction, bound to where it stands and to all the others, in their order.
    Entry {
        parent: TransactionId,
        seq: u64,
        others: &'a [ChunkDigest],
    },
    /// The first chunk of a checkpoint, bound to the transaction that it stands for and to all the others.
    Checkpoint {
        transaction: TransactionId,
        seq: u64,
        others: &'a [ChunkDigest],
    },
}

impl Context<'_> {
    /// The byte that says which of the three a chunk is.
    pub const fn kind(&self) -> u8 {
        match self {
            Context::Data => 1,
            Context::Entry { .. } => 2,
            Context::Checkpoint { .. } => 3,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match *self {
            Context::Data => Vec::new(),
            Context::Entry {
                parent: place,
                seq,
                others,
            }
            | Context::Checkpoint {
                transaction: place,
                seq,
                others,
            } => {
                let mut bytes = Vec::with_capacity(28 + 32 * others.len());
                bytes.extend_from_slice(place.as_bytes());
                bytes.extend_from_slice(&seq.to_be_bytes());
                bytes.extend_from_slice(&count(others.len()));
                for other in others {
                    bytes.extend_from_slice(other.as_bytes());
                }
                bytes
            }
        }
    }
}

fn count(chunks: usize) -> [u8; 4] {
    let count = u32::try_from(chunks).expect("a transaction names at most 100,000 chunks");
    count.to_be_bytes()
}

/// The plaintext is longer than an envelope can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are more than one chunk can hold")]
pub struct TooLong {
    pub length: usize,
}

/// Why a chunk does not open. Only [`OpenError::WrongKey`] is no sign of a server that lies or of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Fewer bytes than the shortest envelope has.
    #[error("it is too short")]
    Short,
    /// The chunk does not begin as a sealed one does.
    #[error("it is not sealed, or in a format that this version does not know")]
    Magic,
    /// The chunk was sealed as something else.
    #[error("it is of kind {found}, and should be of kind {wanted}")]
    Kind { wanted: u8, found: u8 },
    /// A flag is set that this version does not know.
    #[error("it has flags that this version does not know")]
    Flags,
    /// Bytes that are kept for later are not 0.
    #[error("it has bytes that this version does not know")]
    Reserved,
    /// The chunk was sealed with another key.
    #[error("it is sealed with the key {theirs}, and ours is {ours}")]
    WrongKey { ours: KeyId, theirs: KeyId },
    /// The chunk's length is none that the padding makes.
    #[error("its length is wrong")]
    Length,
    /// The chunk is not what was sealed with this key, or not in this place.
    #[error("it was changed, or is not in its place")]
    Tag,
    /// The padding is not all zeros.
    #[error("its padding is wrong")]
    Padding,
    /// The `n` of the chunk is not that of what it holds.
    #[error("it does not say what it holds")]
    Nonce,
    /// An entry lacks the random bytes that each has.
    #[error("it is an entry without the random bytes that each has")]
    Entry,
}

impl OpenError {
    /// The one word for it, in the vectors that other implementations are held to.
    pub const fn word(&self) -> &'static str {
        match self {
            OpenError::Short => "short",
            OpenError::Magic => "magic",
            OpenError::Kind { .. } => "kind",
            OpenError::Flags => "flags",
            OpenError::Reserved => "reserved",
            OpenError::WrongKey { .. } => "wrong-key",
            OpenError::Length => "length",
            OpenError::Tag => "tag",
            OpenError::Padding => "padding",
            OpenError::Nonce => "nonce",
            OpenError::Entry => "entry",
        }
    }
}

/// How long the body is whose plaintext has this length: Padmé of it and its 4 bytes of length, which is at most 12 %
/// more and leaves an onlooker O(log log L) bits of the length (Nikitin et al., "Reducing Metadata Leakage from Encrypted
/// Files and Communication with PURBs", PoPETs 2019, section 4).
pub fn padded(length: u64) -> u64 {
    padme(length.saturating_add(LENGTH as u64))
}

fn padme(length: u64) -> u64 {
    // Of a length with exponent E, all but the first bits(E) bits after the leading one are zero.
    let Some(exponent) = length.checked_ilog2().filter(|exponent| *exponent > 0) else {
        return length;
    };
    let free = exponent - (exponent.ilog2() + 1);
    let mask = (1_u64 << free) - 1;
    length.saturating_add(mask) & !mask
}

/// Seals a plaintext for its place. Deterministic. Costs an HMAC, a cipher and a copy of it.
///
/// ```
/// use mentat_sync::client::{Context, Keys, Master, open, seal};
///
/// let keys = Keys::derive(&Master::from_bytes(&[7; 32]));
/// let chunk = seal(&keys, &Context::Data, b"milk")?;
/// assert_eq!(open(&keys, &Context::Data, &chunk)?, b"milk");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the plaintext has 4 GiB or more.
pub fn seal(keys: &Keys, context: &Context<'_>, plaintext: &[u8]) -> Result<Vec<u8>, TooLong> {
    let too_long = TooLong {
        length: plaintext.len(),
    };
    let length = u32::try_from(plaintext.len()).map_err(|_| too_long)?;
    let body = usize::try_from(padded(length.into())).map_err(|_| too_long)?;
    let place = context.bytes();
    let n: [u8; 32] = name(keys, context.kind(), &place, plaintext)
        .finalize()
        .into_bytes()
        .into();
    let mut chunk = Vec::with_capacity(HEADER + body + TAG);
    chunk.extend_from_slice(&MAGIC);
    chunk.extend_from_slice(&[context.kind(), 0, 0, 0]);
    chunk.extend_from_slice(keys.id().as_bytes());
    chunk.extend_from_slice(&n);
    chunk.extend_from_slice(&length.to_be_bytes());
    chunk.extend_from_slice(plaintext);
    chunk.resize(HEADER + body, 0);
    let bound = [&chunk[..HEADER], &place].concat();
    let tag = cipher(keys, &n)
        .encrypt_inout_detached(&GcmNonce::default(), &bound, (&mut chunk[HEADER..]).into())
        .map_err(|_| too_long)?;
    chunk.extend_from_slice(&tag);
    Ok(chunk)
}

/// Opens a chunk in its place: the plaintext, and nothing unless every byte of the chunk and of the place is as it was
/// when it was sealed. Costs a cipher, an HMAC and a copy.
///
/// # Errors
/// Each way in which it may not be what was sealed has its name in [`OpenError`]. Of two, the one that stands first in
/// the chunk is told.
pub fn open(keys: &Keys, context: &Context<'_>, chunk: &[u8]) -> Result<Vec<u8>, OpenError> {
    let header = Header::read(chunk)?;
    header.check(keys.id(), context.kind())?;
    let (sealed, tag) = chunk[HEADER..]
        .split_last_chunk::<TAG>()
        .ok_or(OpenError::Short)?;
    let room = sealed.len() as u64;
    if padme(room) != room {
        return Err(OpenError::Length);
    }
    let place = context.bytes();
    let bound = [&chunk[..HEADER], &place].concat();
    let mut body = sealed.to_vec();
    cipher(keys, header.n)
        .decrypt_inout_detached(
            &GcmNonce::default(),
            &bound,
            body.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .map_err(|_| OpenError::Tag)?;
    let (length, rest) = body
        .split_first_chunk::<LENGTH>()
        .ok_or(OpenError::Length)?;
    let length = u32::from_be_bytes(*length);
    if padded(length.into()) != room {
        return Err(OpenError::Length);
    }
    let (plaintext, padding) = rest
        .split_at_checked(length as usize)
        .ok_or(OpenError::Length)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(OpenError::Padding);
    }
    // The cipher alone binds no chunk to one key (it has keys under which it opens otherwise): this does. In constant time.
    name(keys, context.kind(), &place, plaintext)
        .verify(header.n.into())
        .map_err(|_| OpenError::Nonce)?;
    let end = LENGTH + plaintext.len();
    body.truncate(end);
    body.drain(..LENGTH);
    Ok(body)
}

/// The id of the key that a chunk says it is sealed with.
///
/// # Errors
/// If it is no sealed chunk.
pub fn key_id(chunk: &[u8]) -> Result<KeyId, OpenError> {
    Ok(Header::read(chunk)?.key)
}

/// The part of a chunk before its sealed body.
struct Header<'a> {
    kind: u8,
    flags: u8,
    reserved: [u8; 2],
    key: KeyId,
    n: &'a [u8; 32],
}

impl<'a> Header<'a> {
    fn read(chunk: &'a [u8]) -> Result<Self, OpenError> {
        if chunk.len() < HEADER + LENGTH + TAG {
            return Err(OpenError::Short);
        }
        let (magic, rest) = chunk.split_first_chunk().ok_or(OpenError::Short)?;
        let (&[kind, flags, r0, r1], rest) = rest.split_first_chunk().ok_or(OpenError::Short)?;
        let (key, rest) = rest.split_first_chunk().ok_or(OpenError::Short)?;
        let (n, _) = rest.split_first_chunk().ok_or(OpenError::Short)?;
        if *magic != MAGIC {
            return Err(OpenError::Magic);
        }
        Ok(Self {
            kind,
            flags,
            reserved: [r0, r1],
            key: KeyId::from_bytes(*key),
            n,
        })
    }

    fn check(&self, ours: KeyId, wanted: u8) -> Result<(), OpenError> {
        let found = self.kind;
        if found != wanted {
            return Err(OpenError::Kind { wanted, found });
        }
        if self.flags != 0 {
            return Err(OpenError::Flags);
        }
        if self.reserved != [0; 2] {
            return Err(OpenError::Reserved);
        }
        let theirs = self.key;
        if theirs != ours {
            return Err(OpenError::WrongKey { ours, theirs });
        }
        Ok(())
    }
}

/// The HMAC that names a plaintext in its place, and is what its key is made of.
fn name(keys: &Keys, kind: u8, place: &[u8], plaintext: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&keys.nonce[..])
        .expect("HMAC takes a key of any length");
    mac.update(&[kind]);
    mac.update(&(place.len() as u64).to_be_bytes());
    mac.update(place);
    mac.update(plaintext);
    mac
}

fn cipher(keys: &Keys, n: &[u8; 32]) -> Aes256Gcm {
    let key = keys.of_chunk(n);
    Aes256Gcm::new((&**key).into())
}
