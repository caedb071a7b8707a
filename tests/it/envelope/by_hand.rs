//! The envelope once more, written from CLIENT.md's table with nothing of the library: it can also be bent, into chunks
//! that are sealed with the right key and are not what the format says.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

pub struct Keys {
    pub id: [u8; 8],
    pub nonce: [u8; 32],
    pub seal: [u8; 32],
}

pub fn keys(master: &[u8; 32]) -> Keys {
    let (_, root) = Hkdf::<Sha256>::extract(Some(b"mentat-sync envelope 1"), master);
    let mut keys = Keys {
        id: [0; 8],
        nonce: [0; 32],
        seal: [0; 32],
    };
    root.expand(b"key id", &mut keys.id).unwrap();
    root.expand(b"nonce", &mut keys.nonce).unwrap();
    root.expand(b"seal", &mut keys.seal).unwrap();
    keys
}

/// A chunk that is about to be sealed, to be bent in any part.
pub struct Draft {
    pub header: Vec<u8>,
    pub body: Vec<u8>,
    pub context: Vec<u8>,
}

/// Padmé, as the paper has it in Algorithm 1.
pub fn padme(length: u64) -> u64 {
    if length < 2 {
        return length;
    }
    let e = (length as f64).log2().floor() as u32;
    let s = (f64::from(e)).log2().floor() as u32 + 1;
    let last = e - s.min(e);
    let mask = (1 << last) - 1;
    (length + mask) & !mask
}

pub fn draft(keys: &Keys, kind: u8, context: &[u8], plaintext: &[u8]) -> Draft {
    let mut mac = Hmac::<Sha256>::new_from_slice(&keys.nonce).unwrap();
    mac.update(
        &[
            &[kind][..],
            &(context.len() as u64).to_be_bytes(),
            context,
            plaintext,
        ]
        .concat(),
    );
    let n = mac.finalize().into_bytes();
    let mut body = [&(plaintext.len() as u32).to_be_bytes()[..], plaintext].concat();
    body.resize(padme(body.len() as u64) as usize, 0);
    Draft {
        header: [b"MSE1", &[kind, 0, 0, 0][..], &keys.id, &n].concat(),
        body,
        context: context.to_vec(),
    }
}

impl Draft {
    pub fn seal(&self, keys: &Keys) -> Vec<u8> {
        let mut key = [0; 32];
        let info = [b"chunk", &self.header[16..48]].concat();
        let seal = Hkdf::<Sha256>::from_prk(&keys.seal).unwrap();
        seal.expand(&info, &mut key).unwrap();
        let payload = Payload {
            msg: &self.body,
            aad: &[&self.header[..], &self.context].concat(),
        };
        let sealed = Aes256Gcm::new_from_slice(&key)
            .unwrap()
            .encrypt(&Nonce::default(), payload)
            .unwrap();
        [&self.header[..], &sealed].concat()
    }
}

/// A place, and the bytes of its context.
pub fn context(place: &[u8; 16], seq: u64, others: &[[u8; 32]]) -> Vec<u8> {
    let mut bytes = [
        &place[..],
        &seq.to_be_bytes(),
        &(others.len() as u32).to_be_bytes(),
    ]
    .concat();
    others.iter().for_each(|other| bytes.extend(other));
    bytes
}
