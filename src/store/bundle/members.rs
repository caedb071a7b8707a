//! In: the members of a pushed bundle are read and checked, one by one.
//!
//! Chunks get their names as they come, many at a time: each is checked by itself, and a chunk in
//! `incoming/` that nothing names harms nobody. Transactions wait until all has come, since parents
//! may come after children. `publish` has the second half.

use std::io::Read;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::intake::Intake;
use super::outcome::{PushBundle, Step};
use super::staging::{StagedAlias, StagedChunk};
use super::tar::{Members, bad};
use crate::model::{ChunkDigest, ChunkId, TransactionId, limits};
use crate::store::layout::{self, Area, Dir, Member, Thing};

impl Intake {
    /// Reads all members; returns the HEAD among them.
    pub(super) fn read(&mut self, from: &mut dyn Read) -> Step<Option<TransactionId>> {
        let mut members = Members::new(from);
        let mut head = None;
        while let Some(member) = members.next()? {
            let name = &member.name;
            if layout::is_apple_double(name) {
                while !members.piece()?.is_empty() {}
                continue;
            }
            if head.is_some() {
                return Ok(bad(format!(
                    "{name:?} follows HEAD, which is the last member"
                ))?);
            }
            match Member::parse(name) {
                Some(Member::Chunk(digest)) => {
                    self.read_chunk(digest, member.bytes, &mut members)?
                }
                Some(Member::Alias(alias)) => self.read_alias(alias, member.bytes, &mut members)?,
                Some(Member::Transaction(id)) => {
                    self.read_transaction(id, member.bytes, &mut members)?;
                }
                Some(Member::Head) => head = Some(read_head(member.bytes, &mut members)?),
                None => {
                    return Ok(bad(format!(
                        "{name:?} is not a name in a bundle (tar c -C DIR chunks transactions HEAD)"
                    ))?);
                }
            }
            if self.staging.unsynced >= limits::PUSHED_TOGETHER {
                self.named = None;
                self.publish_chunks()?;
            }
        }
        Ok(head)
    }

    fn read_chunk(
        &mut self,
        digest: ChunkDigest,
        bytes: u64,
        members: &mut Members<'_>,
    ) -> Step<()> {
        let limit = self.user.store.options.chunk_bytes;
        if bytes > limit {
            return Err(PushBundle::TooLarge { limit }.into());
        }
        let id = ChunkId::Digest(digest);
        let thing = Thing::Chunk(digest);
        let mut there = self.recent.has(&id);
        if !there {
            let seen = &mut self.seen;
            let found = seen.look(&self.user, Area::Committed, &thing)?;
            // Of another length it is damaged, and what comes takes its place.
            there = found.is_some_and(|meta| meta.bytes == bytes);
            self.met_damage |= found.is_some() && !there;
            if there {
                self.to_sync.dir(Dir::of_chunk(Area::Committed, &digest));
            }
        }
        if !there {
            self.foresee_room(&thing, bytes)?;
        }
        if bytes <= limits::SMALL_MEMBER as u64 {
            let contents = members.whole()?;
            check_digest(digest, Sha256::digest(&contents).into())?;
            if !there {
                self.staging.write(thing, contents)?;
            }
        } else {
            let file = match there {
                true => None,
                false => self.staging.create(&thing)?,
            };
            let mut hasher = Sha256::new();
            loop {
                let piece = members.piece()?;
                if piece.is_empty() {
                    break;
                }
                hasher.update(piece);
                if let Some(file) = &file {
                    self.staging.append(file, piece)?;
                }
            }
            check_digest(digest, hasher.finalize().into())?;
        }
        match there {
            true => self.existing.chunk(bytes),
            false => self.staging.chunks.push(StagedChunk { digest, bytes }),
        }
        self.recent.insert(id);
        Ok(())
    }

    fn read_alias(&mut self, alias: Uuid, bytes: u64, members: &mut Members<'_>) -> Step<()> {
        if !self.user.store.options.uuid_chunk_ids {
            return Ok(bad("aliases are taken with --uuid-chunk-ids")?);
        }
        let line = members.whole_within(bytes, 65)?;
        let digest = parse_line(&line).map_or_else(
            || bad(format!("the alias {alias} is not one digest and a newline")),
            Ok,
        )?;
        if self.staging.aliases.len() >= limits::PUSHED_TRANSACTIONS {
            return Ok(bad("too many aliases whose chunks have not come")?);
        }
        self.staging.write(Thing::Alias(alias), line)?;
        self.staging.aliases.push(StagedAlias { alias, digest });
        self.recent.insert(ChunkId::Alias(alias));
        Ok(())
    }
}

fn check_digest(named: ChunkDigest, actual: [u8; 32]) -> Step<()> {
    let actual = ChunkDigest::from_bytes(actual);
    if actual == named {
        return Ok(());
    }
    Ok(bad(format!(
        "the SHA-256 of the bytes under the name {named} is {actual}"
    ))?)
}

fn read_head(bytes: u64, members: &mut Members<'_>) -> Step<TransactionId> {
    match parse_line(&members.whole_within(bytes, 37)?) {
        Some(id) => Ok(id),
        None => Ok(bad("HEAD is not one id and a newline")?),
    }
}

fn parse_line<T: std::str::FromStr>(line: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(line).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}
