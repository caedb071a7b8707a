//! The id that a transaction has by its content: what a device of ours gives it, so that HEAD names the whole past.

use sha2::{Digest, Sha256};

use super::{ChunkDigest, ChunkId, Transaction, TransactionId};

/// The words that are hashed first, so that no other hash of this program can be taken for one of these.
const DOMAIN: &[u8] = b"mentat-sync transaction 1\0";

impl TransactionId {
    /// The id of the transaction with this parent, number and chunks (CLIENT, section 4): the first 16 bytes of the
    /// SHA-256 of all of them, with version 8 and the variant of RFC 9562.
    ///
    /// Costs a hash of 32 bytes a chunk. A list of 2³² chunks and more has none; no transaction is as long.
    pub fn of_content<'a>(
        parent: TransactionId,
        seq: u64,
        chunks: impl ExactSizeIterator<Item = &'a ChunkDigest>,
    ) -> Self {
        let count = u32::try_from(chunks.len()).expect("no transaction names 2^32 chunks");
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(parent.as_bytes());
        hash.update(seq.to_be_bytes());
        hash.update(count.to_be_bytes());
        for chunk in chunks {
            hash.update(chunk.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self::from_bytes(bytes)
    }

    /// Whether this is a uuid of version 8 (RFC 9562), as all ids by content are. Others may make such ids in ways of
    /// their own.
    pub fn is_version_8(&self) -> bool {
        let bytes = self.as_bytes();
        bytes[6] >> 4 == 8 && bytes[8] >> 6 == 0b10
    }
}

impl Transaction {
    /// The id that it has by its content; `None` where it names a chunk by a uuid, as no device of ours does.
    pub fn content_id(&self) -> Option<TransactionId> {
        let digests: Option<Vec<&ChunkDigest>> = (self.chunks.iter())
            .map(|chunk| match chunk {
                ChunkId::Digest(digest) => Some(digest),
                ChunkId::Alias(_) => None,
            })
            .collect();
        Some(TransactionId::of_content(
            self.parent,
            self.seq,
            digests?.into_iter(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_chunks() -> Transaction {
        let chunks = [1, 2].map(|n| ChunkId::Digest(ChunkDigest::from_bytes([n; 32])));
        let mut transaction = Transaction {
            id: TransactionId::ROOT,
            seq: 7,
            parent: TransactionId::from_bytes([3; 16]),
            chunks: chunks.to_vec(),
        };
        transaction.id = transaction.content_id().unwrap();
        transaction
    }

    #[test]
    fn an_id_by_content_is_the_one_that_another_implementation_computes() {
        // hashlib.sha256(b"mentat-sync transaction 1\0" + b"\3"*16 + (7).to_bytes(8, "big") + (2).to_bytes(4, "big")
        //     + b"\1"*32 + b"\2"*32), with the version and the variant set.
        let id = two_chunks().id.to_string();
        assert_eq!(id, "823074f3-134b-8b45-aecd-cc034b4e0a49");
        let none = TransactionId::of_content(TransactionId::ROOT, 1, [].iter());
        assert_eq!(none.to_string(), "c2079ca1-4575-86d1-914a-039c349bc16a");
        assert!(none.is_version_8());
    }

    #[test]
    fn an_id_by_content_stands_for_the_parent_the_number_and_each_chunk_in_its_place() {
        let whole = two_chunks();
        let changes: [fn(&mut Transaction); 6] = [
            |t| t.parent = TransactionId::ROOT,
            |t| t.seq = 8,
            |t| t.chunks.swap(0, 1),
            |t| t.chunks.truncate(1),
            |t| t.chunks.push(t.chunks[0]),
            |t| t.chunks[1] = t.chunks[0],
        ];
        for (at, change) in changes.iter().enumerate() {
            let mut other = whole.clone();
            change(&mut other);
            assert_ne!(other.content_id(), Some(whole.id), "change {at}");
        }
        let mut other = whole;
        let alias = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        other.chunks.push(alias.parse().unwrap());
        assert_eq!(other.content_id(), None);
    }

    #[test]
    fn a_version_is_told_with_its_variant() {
        for (id, is) in [
            ("6ca788b6-d03c-88bb-bbfa-abc371b86e56", true),
            ("67e55044-10b1-426f-9247-bb680e5fe0c8", false),
            ("6ca788b6-d03c-88bb-7bfa-abc371b86e56", false),
            ("6ca788b6-d03c-88bb-dbfa-abc371b86e56", false),
            ("00000000-0000-0000-0000-000000000000", false),
        ] {
            assert_eq!(
                id.parse::<TransactionId>().unwrap().is_version_8(),
                is,
                "{id}"
            );
        }
    }
}
