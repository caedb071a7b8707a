//! Chunks that are changed, cut, moved or made up: none of them opens.

use mentat_sync::client::{Context, KeyId, Keyring, Keys, Master, OpenError, open, seal};
use mentat_sync::model::{ChunkDigest, TransactionId};

use super::{by_hand, contexts, digest, keys, master};

/// Plaintexts with no padding, with some, and with none in them.
fn plaintexts() -> [Vec<u8>; 3] {
    [Vec::new(), b"milk".to_vec(), (0..99).collect()]
}

#[test]
fn a_chunk_opens_in_its_place_alone_and_no_byte_of_it_may_change() {
    let others = [digest(b"a"), digest(b"b")];
    for context in contexts(&others) {
        for plaintext in plaintexts() {
            let chunk = seal(&keys(), &context, &plaintext).unwrap();
            assert_eq!(open(&keys(), &context, &chunk), Ok(plaintext.clone()));
            for at in 0..chunk.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut changed = chunk.clone();
                    changed[at] ^= flip;
                    let error = open(&keys(), &context, &changed).unwrap_err();
                    let word = match at {
                        0..4 => "magic",
                        4 => "kind",
                        5 => "flags",
                        6..8 => "reserved",
                        8..16 => "wrong-key",
                        _ => "tag",
                    };
                    assert_eq!(error.word(), word, "byte {at} of {context:?}");
                }
            }
        }
    }
}

#[test]
fn a_chunk_that_is_cut_or_goes_on_does_not_open() {
    let others = [digest(b"a"), digest(b"b")];
    for context in contexts(&others) {
        for plaintext in plaintexts() {
            let chunk = seal(&keys(), &context, &plaintext).unwrap();
            for length in 0..chunk.len() {
                let error = open(&keys(), &context, &chunk[..length]).unwrap_err();
                let short = length < 48 + 4 + 16;
                assert_eq!(error == OpenError::Short, short, "{length} of {context:?}");
            }
            for more in 1..200 {
                let longer = [&chunk[..], &vec![0; more]].concat();
                assert!(open(&keys(), &context, &longer).is_err(), "{more} more");
            }
        }
    }
}

/// All that differs in one thing from the place.
fn elsewhere<'a>(context: &Context<'_>, others: &'a [Vec<ChunkDigest>]) -> Vec<Context<'a>> {
    let (place, seq) = match *context {
        Context::Data => return Vec::new(),
        Context::Entry {
            parent: place, seq, ..
        }
        | Context::Checkpoint {
            transaction: place,
            seq,
            ..
        } => (place, seq),
    };
    let same = &others[0][..];
    let mut places: Vec<(TransactionId, u64, &[ChunkDigest])> = Vec::new();
    for at in 0..16 {
        let mut bytes = *place.as_bytes();
        bytes[at] ^= 1;
        places.push((TransactionId::from_bytes(bytes), seq, same));
    }
    places.extend((0..64).map(|bit| (place, seq ^ (1 << bit), same)));
    places.extend(others[1..].iter().map(|others| (place, seq, &others[..])));
    let of = |(place, seq, others)| match context {
        Context::Entry { .. } => Context::Entry {
            parent: place,
            seq,
            others,
        },
        _ => Context::Checkpoint {
            transaction: place,
            seq,
            others,
        },
    };
    places.into_iter().map(of).collect()
}

#[test]
fn nothing_of_its_place_may_change() {
    let [a, b, c] = [digest(b"a"), digest(b"b"), digest(b"c")];
    let mut others = vec![
        vec![a, b],
        vec![b, a],
        vec![a],
        vec![b],
        vec![],
        vec![a, a],
        vec![a, b, b],
        vec![a, b, c],
        vec![a, c],
    ];
    for at in 0..64 {
        let mut both = [*a.as_bytes(), *b.as_bytes()];
        both[at / 32][at % 32] ^= 1;
        others.push(both.map(ChunkDigest::from_bytes).to_vec());
    }
    for context in contexts(&others[0]) {
        let chunk = seal(&keys(), &context, b"milk").unwrap();
        for other in elsewhere(&context, &others) {
            assert_eq!(
                open(&keys(), &other, &chunk),
                Err(OpenError::Tag),
                "{other:?}"
            );
        }
        for other in contexts(&others[0]) {
            let error = OpenError::Kind {
                wanted: other.kind(),
                found: context.kind(),
            };
            let same = other == context;
            assert_eq!(
                open(&keys(), &other, &chunk).err(),
                (!same).then_some(error)
            );
        }
    }
}

#[test]
fn what_another_key_sealed_is_told_as_that_and_opens_with_an_old_key() {
    let [ours, theirs, older] =
        [1, 2, 3].map(|byte| Keys::derive(&Master::from_bytes(&[byte; 32])));
    let [ours_id, theirs_id] = [&ours, &theirs].map(Keys::id);
    let wrong = OpenError::WrongKey {
        ours: ours_id,
        theirs: theirs_id,
    };
    for context in contexts(&[]) {
        let chunk = seal(&theirs, &context, b"milk").unwrap();
        assert_eq!(open(&ours, &context, &chunk), Err(wrong));
        let mut ring = Keyring::Sealed {
            current: ours.clone(),
            old: vec![older.clone()],
        };
        assert_eq!(ring.open(&context, &chunk), Err(wrong));
        if let Keyring::Sealed { old, .. } = &mut ring {
            old.push(theirs.clone());
        }
        assert_eq!(ring.open(&context, &chunk).unwrap(), b"milk");
        // What is new is sealed with the present one.
        let again = ring.seal(&context, b"milk").unwrap();
        assert_eq!(open(&ours, &context, &again).unwrap(), b"milk");
        // Another key's name on what ours sealed is no way in.
        let mut renamed = again.clone();
        renamed[8..16].copy_from_slice(theirs_id.as_bytes());
        assert_eq!(ring.open(&context, &renamed), Err(OpenError::Tag));
        assert_eq!(Keyring::Plain.open(&context, b"milk").unwrap(), b"milk");
    }
    assert_eq!(format!("{ours:?}"), format!("Keys({ours_id})"));
    let written = KeyId::from_bytes([0, 1, 2, 3, 4, 5, 6, 0xff]).to_string();
    assert_eq!(written, "00010203040506ff");
}

/// Chunks that only the key's owner could make, and that break the format: a device that lies, or one with a bug.
#[test]
fn what_is_sealed_with_the_right_key_is_still_checked() {
    let keys_by_hand = by_hand::keys(&master());
    let open = |draft: &by_hand::Draft| {
        let opened = open(&keys(), &Context::Data, &draft.seal(&keys_by_hand));
        opened.map_err(|error| error.word())
    };
    // 4 + 61 is padded to 72: seven zeros.
    let plaintext: Vec<u8> = (0..61).collect();
    let draft = || by_hand::draft(&keys_by_hand, 1, b"", &plaintext);
    assert_eq!(open(&draft()), Ok(plaintext.clone()));
    for at in 65..72 {
        let mut bent = draft();
        bent.body[at] = 1;
        assert_eq!(open(&bent), Err("padding"), "{at}");
    }
    // Lengths that the padding is not for, that are beyond it, and that overflow.
    for length in [0, 1, 60, 69, 0xff, 0xffff, u32::MAX - 4, u32::MAX] {
        let mut bent = draft();
        bent.body[..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(open(&bent), Err("length"), "{length}");
    }
    // A length that the padding would do for as well, of which one byte is taken for padding.
    let mut bent = draft();
    bent.body[3] = 62;
    assert_eq!(open(&bent), Err("nonce"));
    let mut bent = draft();
    bent.body[4] ^= 1;
    assert_eq!(open(&bent), Err("nonce"));
    for at in 16..48 {
        let mut bent = draft();
        bent.header[at] ^= 1;
        assert_eq!(open(&bent), Err("nonce"), "{at}");
    }
    for (at, word) in [
        (0, "magic"),
        (3, "magic"),
        (4, "kind"),
        (5, "flags"),
        (6, "reserved"),
        (7, "reserved"),
    ] {
        let mut bent = draft();
        bent.header[at] ^= 0x10;
        assert_eq!(open(&bent), Err(word), "{at}");
    }
    // Not as long as Padmé makes anything; and as long as it makes something else.
    let mut bent = draft();
    bent.body.push(0);
    assert_eq!(open(&bent), Err("length"));
    let mut bent = draft();
    bent.body.resize(80, 0);
    assert_eq!(open(&bent), Err("length"));
}

#[test]
fn garbage_of_any_length_does_not_open() {
    let mut state = 1_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    let chunk = seal(&keys(), &Context::Data, b"milk").unwrap();
    for length in 0..300 {
        let mut garbage: Vec<u8> = (0..length).map(|_| random()).collect();
        assert!(open(&keys(), &Context::Data, &garbage).is_err());
        // With a header that is right.
        let right = length.min(48);
        garbage[..right].copy_from_slice(&chunk[..right]);
        assert!(open(&keys(), &Context::Data, &garbage).is_err());
    }
}
