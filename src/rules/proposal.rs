//! Whether a proposed transaction can be taken at all, whatever is stored.

use crate::model::{ChunkId, TransactionId};

/// A flaw for which a proposed transaction is never taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The transaction names a chunk by a uuid, where only digests are chunk ids.
    NotAChunkId,
    /// The transaction has the id of the root, which is there from the start.
    IsTheRoot,
    /// The transaction is its own parent.
    OwnParent,
}

/// Whether a store takes this for the id of a chunk; uuids are taken where the operator says so.
pub fn is_chunk_id(id: &ChunkId, uuids: bool) -> bool {
    match id {
        ChunkId::Digest(_) => true,
        ChunkId::Alias(_) => uuids,
    }
}

/// The first flaw of a proposed transaction, by its id, its parent and its chunks. Costs a look at each chunk.
pub fn flaw(
    id: TransactionId,
    parent: TransactionId,
    chunks: &[ChunkId],
    uuids: bool,
) -> Option<Flaw> {
    if !chunks.iter().all(|chunk| is_chunk_id(chunk, uuids)) {
        return Some(Flaw::NotAChunkId);
    }
    if id == TransactionId::ROOT {
        return Some(Flaw::IsTheRoot);
    }
    (id == parent).then_some(Flaw::OwnParent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> TransactionId {
        TransactionId::from_bytes([number; 16])
    }

    #[test]
    fn a_uuid_names_a_chunk_only_where_that_is_allowed() {
        let digest: ChunkId = "ab".repeat(32).parse().unwrap();
        let uuid: ChunkId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
        for (chunks, uuids, expected) in [
            (vec![], false, None),
            (vec![digest], false, None),
            (vec![digest, uuid], false, Some(Flaw::NotAChunkId)),
            (vec![digest, uuid], true, None),
        ] {
            assert_eq!(flaw(id(1), id(2), &chunks, uuids), expected);
            let all = chunks.iter().all(|chunk| is_chunk_id(chunk, uuids));
            assert_eq!(all, expected.is_none());
        }
    }

    #[test]
    fn nobody_proposes_the_root_or_a_transaction_after_itself() {
        let root = TransactionId::ROOT;
        assert_eq!(flaw(root, id(1), &[], true), Some(Flaw::IsTheRoot));
        assert_eq!(flaw(root, root, &[], true), Some(Flaw::IsTheRoot));
        assert_eq!(flaw(id(1), id(1), &[], true), Some(Flaw::OwnParent));
        assert_eq!(flaw(id(1), root, &[], true), None);
    }
}
