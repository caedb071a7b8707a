//! What must hold of chunks, entries and invites, whatever bytes a server or a person has for them.

use mentat_sync::client::{
    Context, Identity, Keys, Master, Nonce, OpenError, Said, Url, open, padded, seal,
};
use mentat_sync::model::{ChunkDigest, TransactionId};

// The integration tests have it as well as these targets.
#[allow(dead_code, clippy::duplicate_mod)]
#[path = "../it/envelope/by_hand.rs"]
mod by_hand;

const MASTER: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [9; 32];

/// A chunk that opens is the one that is made of what was in it, and no other: no second chunk says the same in the same
/// place. The first byte says which place, and whether the rest is a chunk or a body that the right key seals; that
/// is the one way past the tag. The second byte of such a one bends its `n`.
pub fn envelope(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else {
        return;
    };
    let others = [ChunkDigest::from_bytes(OTHER)];
    let place = TransactionId::from_bytes([6; 16]);
    let context = match how & 3 {
        0 => Context::Entry {
            parent: place,
            seq: 5,
            others: &others,
        },
        1 => Context::Checkpoint {
            transaction: place,
            seq: 5,
            others: &others,
        },
        _ => Context::Data,
    };
    let chunk = match how & 4 {
        0 => rest.to_vec(),
        _ => sealed(&context, rest),
    };
    let keys = Keys::derive(&Master::from_bytes(&MASTER));
    match open(&keys, &context, &chunk) {
        Ok(plaintext) => {
            assert_eq!(chunk.len() as u64, 64 + padded(plaintext.len() as u64));
            let again = seal(&keys, &context, &plaintext).expect("it was in a chunk");
            assert_eq!(again, chunk);
        }
        Err(error) => {
            let forged = matches!(error, OpenError::Tag);
            assert!(!forged || how & 4 == 0, "{error}");
        }
    }
    // In no other place, and with no other key.
    for elsewhere in [
        Context::Data,
        Context::Entry {
            parent: place,
            seq: 6,
            others: &[],
        },
    ] {
        if elsewhere != context {
            assert!(open(&keys, &elsewhere, &chunk).is_err());
        }
    }
    let theirs = Keys::derive(&Master::from_bytes(&OTHER));
    assert!(open(&theirs, &context, &chunk).is_err());
}

/// Any body, sealed with the right key; its `n` is right where the body says what it is of, and is not bent.
fn sealed(context: &Context<'_>, rest: &[u8]) -> Vec<u8> {
    let (bend, body) = rest.split_first().unwrap_or((&0, &[]));
    let keys = by_hand::keys(&MASTER);
    let place = match context {
        Context::Data => Vec::new(),
        _ => by_hand::context(&[6; 16], 5, &[OTHER]),
    };
    let said = body.split_first_chunk().and_then(|(length, rest)| {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        rest.get(..length)
    });
    let mut draft = by_hand::draft(&keys, context.kind(), &place, said.unwrap_or(&[]));
    draft.body = body.to_vec();
    draft.header[16] ^= bend;
    draft.seal(&keys)
}

/// What an application says comes back byte for byte, sealed or plain, and a plain entry is JSON; an entry that another
/// program wrote is read or refused.
pub fn entry(bytes: &[u8]) {
    let nonce = Nonce::from_bytes([5; 16]);
    let said = Said {
        nonce,
        app: bytes.to_vec(),
    };
    assert_eq!(Said::of_body(&said.body()).as_ref(), Ok(&said));
    let plain = said.plain();
    let json: serde_json::Value = serde_json::from_slice(&plain).expect("a plain entry is JSON");
    assert_eq!(json["nonce"], "BQUFBQUFBQUFBQUFBQUFBQ");
    assert_eq!(Said::of_plain(&plain).as_ref(), Ok(&said));
    if let Ok(read) = Said::of_plain(bytes) {
        assert_eq!(Said::of_plain(&read.plain()), Ok(read));
    }
    if let Ok(read) = Said::of_body(bytes) {
        assert_eq!(read.body(), bytes);
    }
}

/// An invite that is read is written again with the same symbols; an address has one spelling.
pub fn invite(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(url) = text.parse::<Url>() {
        assert_eq!(url.as_str().parse().as_ref(), Ok(&url));
        let authority = url.as_str().split('/').nth(2);
        assert!(url.socket().is_some() || authority.is_some_and(|host| !host.contains('@')));
        assert!(!url.as_str().contains([' ', '#']));
    }
    if let Some(master) = Master::of_spelled(text) {
        assert_eq!(*master.spelled(), text);
    }
    let symbols = |text: &str| {
        let code = text
            .split_once('#')
            .map(|(_, code)| code.to_ascii_uppercase());
        let code = code.unwrap_or_default().replace('O', "0");
        let code = code.replace(['I', 'L'], "1");
        code.replace(
            |symbol: char| symbol == '-' || symbol.is_ascii_whitespace(),
            "",
        )
    };
    if let Ok(identity) = Identity::from_invite(text) {
        let again = identity.invite();
        assert_eq!(symbols(&again), symbols(text.trim()));
        assert_eq!(Identity::from_invite(&again).as_ref(), Ok(&identity));
    }
}
