//! What holds of the envelope whatever is sealed, and wherever.

use std::collections::BTreeSet;

use mentat_sync::client::{Context, Keyring, Keys, Master, Nonce, Said, open, padded, seal};
use mentat_sync::model::{ChunkDigest, TransactionId};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::by_hand;

#[derive(Clone, Debug)]
struct Place {
    kind: u8,
    id: [u8; 16],
    seq: u64,
    others: Vec<ChunkDigest>,
}

impl Place {
    fn context(&self) -> Context<'_> {
        let (id, seq, others) = (
            TransactionId::from_bytes(self.id),
            self.seq,
            &self.others[..],
        );
        match self.kind {
            1 => Context::Data,
            2 => Context::Entry {
                parent: id,
                seq,
                others,
            },
            _ => Context::Checkpoint {
                transaction: id,
                seq,
                others,
            },
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let others: Vec<_> = self.others.iter().map(|other| *other.as_bytes()).collect();
        match self.kind {
            1 => Vec::new(),
            _ => by_hand::context(&self.id, self.seq, &others),
        }
    }
}

fn digests() -> impl Strategy<Value = Vec<ChunkDigest>> {
    vec(any::<[u8; 32]>().prop_map(ChunkDigest::from_bytes), 0..5)
}

fn place() -> impl Strategy<Value = Place> {
    let numbers = prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)];
    (1..=3_u8, any::<[u8; 16]>(), numbers, digests()).prop_map(|(kind, id, seq, others)| Place {
        kind,
        id,
        seq,
        others,
    })
}

fn plaintext() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..64), vec(any::<u8>(), 0..5000)]
}

proptest! {
    #[test]
    fn what_is_sealed_opens_again_and_is_the_same_chunk_each_time_as_by_hand(
        secret in any::<[u8; 32]>(),
        place in place(),
        plaintext in plaintext(),
    ) {
        let keys = Keys::derive(&Master::from_bytes(&secret));
        let chunk = seal(&keys, &place.context(), &plaintext).unwrap();
        prop_assert_eq!(chunk.len() as u64, 64 + padded(plaintext.len() as u64));
        let again = Keys::derive(&Master::from_bytes(&secret));
        prop_assert_eq!(&seal(&again, &place.context(), &plaintext).unwrap(), &chunk);
        let by_hand_keys = by_hand::keys(&secret);
        let draft = by_hand::draft(&by_hand_keys, place.kind, &place.bytes(), &plaintext);
        prop_assert_eq!(&draft.seal(&by_hand_keys), &chunk);
        prop_assert_eq!(open(&keys, &place.context(), &chunk).unwrap(), plaintext);
    }

    #[test]
    fn another_place_another_kind_another_text_or_another_key_is_another_chunk_in_every_part(
        secrets in any::<[[u8; 32]; 2]>(),
        places in [place(), place()],
        texts in [plaintext(), plaintext()],
    ) {
        let keys = secrets.map(|secret| Keys::derive(&Master::from_bytes(&secret)));
        let made = BTreeSet::from([0, 1].map(|at| (secrets[at], places[at].kind, places[at].bytes(), &texts[at])));
        let [one, two] = [0, 1].map(|at| seal(&keys[at], &places[at].context(), &texts[at]).unwrap());
        if made.len() == 2 {
            prop_assert!(one[16..48] != two[16..48]);
            prop_assert!(one[one.len() - 16..] != two[two.len() - 16..]);
            prop_assert!(open(&keys[1], &places[1].context(), &one).is_err());
        }
        // One of the four differs.
        let mut other = places[0].clone();
        other.kind = other.kind % 3 + 1;
        let three = seal(&keys[0], &other.context(), &texts[0]).unwrap();
        prop_assert!(one[16..48] != three[16..48]);
        prop_assert!(open(&keys[0], &other.context(), &one).is_err());
    }

    #[test]
    fn padding_is_as_the_paper_has_it_costs_an_eighth_at_most(
        length in prop_oneof![0..5000_u64, 0..u64::from(u32::MAX)],
    ) {
        let padded_to = padded(length);
        prop_assert_eq!(padded_to, by_hand::padme(length + 4));
        prop_assert!(padded_to >= length + 4);
        prop_assert!((padded_to - length - 4) * 100 <= 12 * (length + 4));
        // It is the shortest of those that are padded, so that padding twice adds nothing.
        prop_assert_eq!(padded(padded_to - 4), padded_to);
        prop_assert!(padded(length + 1) >= padded_to);
    }

    #[test]
    fn an_id_names_its_parent_its_number_and_each_chunk_in_its_place(
        parent in any::<[u8; 16]>(),
        seq in any::<u64>(),
        chunks in digests(),
        other in any::<[u8; 32]>(),
    ) {
        let id = |parent: [u8; 16], seq, chunks: &[ChunkDigest]| {
            TransactionId::of_content(TransactionId::from_bytes(parent), seq, chunks.iter())
        };
        let mut ids = vec![id(parent, seq, &chunks)];
        prop_assert_eq!(ids[0], id(parent, seq, &chunks));
        prop_assert_eq!(ids[0].as_bytes()[6] >> 4, 8);
        prop_assert_eq!(ids[0].as_bytes()[8] >> 6, 2);
        let mut another = parent;
        another[3] ^= 1;
        ids.push(id(another, seq, &chunks));
        ids.push(id(parent, seq ^ 1, &chunks));
        ids.push(id(parent, seq, &[&chunks[..], &[ChunkDigest::from_bytes(other)]].concat()));
        if let [first, .., last] = chunks[..] && first != last {
            let mut swapped = chunks.clone();
            swapped.reverse();
            ids.push(id(parent, seq, &swapped));
        }
        let count = ids.len();
        prop_assert_eq!(ids.into_iter().collect::<BTreeSet<_>>().len(), count);
    }

    #[test]
    fn an_entry_comes_back_with_its_random_bytes_from_a_sealed_store_and_from_a_plain_one(
        nonce in any::<[u8; 16]>(),
        app in prop_oneof![
            vec(any::<u8>(), 0..99),
            r#"\{ ?("(nonce|bytes|a)" ?: ?"?[A-Za-z0-9\\{}]{0,22}"?,?){0,3} ?\}?"#.prop_map(String::into_bytes),
        ],
        others in digests(),
    ) {
        let keys = Keys::derive(&Master::from_bytes(&[7; 32]));
        let sealed = Keyring::Sealed { current: keys, old: Vec::new() };
        let said = Said { nonce: Nonce::from_bytes(nonce), app };
        for ring in [sealed, Keyring::Plain] {
            let chunk = ring.seal_entry(TransactionId::ROOT, 1, &others, &said).unwrap();
            let read = ring.open_entry(TransactionId::ROOT, 1, &others, &chunk);
            prop_assert_eq!(read, Ok(said.clone()));
            let other = Said { nonce: Nonce::from_bytes([!nonce[0]; 16]), ..said.clone() };
            prop_assert!(ring.seal_entry(TransactionId::ROOT, 1, &others, &other).unwrap() != chunk);
        }
    }
}

#[test]
fn padding_of_the_first_lengths_is_this() {
    let lengths: Vec<_> = (0..24).map(padded).collect();
    let expected = [
        4, 5, 6, 7, 8, 10, 10, 12, 12, 14, 14, 16, 16, 18, 18, 20, 20, 22, 22, 24, 24, 26, 26, 28,
    ];
    assert_eq!(lengths, expected);
    // What a file is cut into needs none.
    let slice = mentat_sync::model::limits::SLICE_BYTES as u64;
    assert_eq!(padded(slice), slice + 4);
}
