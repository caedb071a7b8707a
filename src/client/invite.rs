//! The invite: server, user and key in one string, which a person copies or a camera reads (CLIENT, section 4).
//!
//! ```text
//! https://sync.example.org/#ms1XXXXX-XXXXX-…
//! ```
//!
//! Behind `ms1` stand, in Crockford's base 32 (<https://www.crockford.com/base32.html>) and in groups of five: version 1 (1 byte),
//! flags (1; 1: plain), the user (16), the master (32, none where plain), and the first 4 bytes of the SHA-256 of all of
//! these. A fragment is never sent to a server (RFC 3986, section 3.5).

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::identity::{Identity, Masters};
use super::keys::Master;
use super::url::{BadUrl, Url};
use crate::model::{UserId, limits};

/// How the secret part begins, behind the `#`: the letters, and the digit of the alphabet's version.
const MARK: &str = "ms1";

const VERSION: u8 = 1;

/// The flag of an invite to a store that is not encrypted.
const PLAIN: u8 = 1;

const USER: usize = 16;
const MASTER: usize = 32;
const CHECKSUM: usize = 4;

/// The bytes of an invite without a master.
const SHORT: usize = 2 + USER + CHECKSUM;

/// The bytes of an invite with one.
const LONG: usize = SHORT + MASTER;

/// Symbols in a group: what a person keeps in mind while writing it down.
const GROUP: usize = 5;

/// Crockford's alphabet. Upper case is written, either is read, and so are the letters that look like a digit. `U` is none.
static SYMBOLS: LazyLock<Encoding> = LazyLock::new(|| {
    let mut alphabet = Specification::new();
    alphabet
        .symbols
        .push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    alphabet
        .translate
        .from
        .push_str("abcdefghjkmnpqrstvwxyzOoIiLl");
    alphabet
        .translate
        .to
        .push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    alphabet.encoding().expect("32 symbols, each of them once")
});

/// Why a text is no invite. None of these has anything of the text in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The text has no `#ms1`, so it is something else.
    #[error(
        "this is no invite: one is an address with #ms1 behind it, and {GROUP} letters and digits a group after that"
    )]
    NotAnInvite,
    /// The text before the `#` is no address of a server.
    #[error("the invite's address is wrong: {0}")]
    Address(#[from] BadUrl),
    /// The code is not whole, or a symbol of it is not the one that was printed.
    #[error("there is a typo in the invite, or a part of it is missing")]
    Typo,
    /// A newer version of this program made it.
    #[error("the invite was made by a newer version of mentat-sync: this one cannot read it")]
    Newer,
}

impl InviteError {
    /// The one word for it, in the vectors that other implementations are held to.
    pub const fn word(&self) -> &'static str {
        match self {
            InviteError::NotAnInvite => "not-an-invite",
            InviteError::Address(_) => "address",
            InviteError::Typo => "typo",
            InviteError::Newer => "newer",
        }
    }
}

impl Identity {
    /// The invite that makes another device one of this store. Whoever has it reads and writes the store, so it is to be shown
    /// to a person alone, and is wiped from memory when it goes. Old keys are not in it.
    pub fn invite(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONG));
        let flags = match self.masters {
            Masters::Plain => PLAIN,
            Masters::Sealed { .. } => 0,
        };
        bytes.extend_from_slice(&[VERSION, flags]);
        bytes.extend_from_slice(self.user.as_bytes());
        if let Masters::Sealed { current, .. } = &self.masters {
            bytes.extend_from_slice(current.secret());
        }
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        let symbols = Zeroizing::new(SYMBOLS.encode(&bytes));
        let server = self.server.as_str();
        // All of it at once: a string that grows leaves what it held behind.
        let length = server.len() + 2 + MARK.len() + symbols.len() * (GROUP + 1) / GROUP;
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(server);
        text.push_str(match self.server.socket() {
            Some(_) => "#",
            None => "/#",
        });
        text.push_str(MARK);
        for (at, symbol) in symbols.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            text.push(symbol);
        }
        debug_assert!(text.len() <= length);
        text
    }

    /// Reads an invite: in upper or lower case, its hyphens and any white space in it left out, and with `O` for 0 and `I` or
    /// `L` for 1.
    ///
    /// # Errors
    /// If it is none, and what is wrong with it: [`InviteError`]. A typo is told as one, not where.
    pub fn from_invite(text: &str) -> Result<Self, InviteError> {
        let text = text.trim();
        let (address, code) = text.split_once('#').ok_or(InviteError::NotAnInvite)?;
        let symbols = symbols(code)?;
        let bytes = decoded(&symbols)?;
        let (body, sum) = bytes
            .split_last_chunk::<CHECKSUM>()
            .ok_or(InviteError::Typo)?;
        if checksum(body) != *sum {
            return Err(InviteError::Typo);
        }
        let [VERSION, flags @ (0 | PLAIN), rest @ ..] = body else {
            return Err(InviteError::Newer);
        };
        let (user, secret) = rest.split_first_chunk().ok_or(InviteError::Typo)?;
        let masters = match (*flags, <&[u8; MASTER]>::try_from(secret)) {
            (0, Ok(secret)) => Masters::Sealed {
                current: Master::from_bytes(secret),
                old: Vec::new(),
            },
            (PLAIN, _) if secret.is_empty() => Masters::Plain,
            _ => return Err(InviteError::Typo),
        };
        Ok(Self {
            server: address.parse::<Url>()?,
            user: UserId::from_bytes(*user),
            masters,
        })
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::digest(bytes);
    std::array::from_fn(|at| digest[at])
}

/// The symbols of the code behind the `#`, without the mark, hyphens and white space.
fn symbols(code: &str) -> Result<Zeroizing<Vec<u8>>, InviteError> {
    if code.len() > limits::INVITE_BYTES {
        return Err(InviteError::Typo);
    }
    let mut symbols = Zeroizing::new(Vec::with_capacity(code.len()));
    symbols.extend(
        code.bytes()
            .filter(|byte| *byte != b'-' && !byte.is_ascii_whitespace()),
    );
    match symbols.get(..MARK.len()) {
        Some([b'm' | b'M', b's' | b'S', b'1' | b'i' | b'I' | b'l' | b'L']) => {
            symbols.drain(..MARK.len());
            Ok(symbols)
        }
        Some([b'm' | b'M', b's' | b'S', b'2'..=b'9']) => Err(InviteError::Newer),
        _ => Err(InviteError::NotAnInvite),
    }
}

/// The bytes that the symbols spell; only in the one way in which they are written.
fn decoded(symbols: &[u8]) -> Result<Zeroizing<Vec<u8>>, InviteError> {
    let length = SYMBOLS
        .decode_len(symbols.len())
        .map_err(|_| InviteError::Typo)?;
    let mut bytes = Zeroizing::new(vec![0; length]);
    let read = SYMBOLS
        .decode_mut(symbols, &mut bytes)
        .map_err(|_| InviteError::Typo)?;
    bytes.truncate(read);
    Ok(bytes)
}
