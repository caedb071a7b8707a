//! In: what is pushed, taken apart and checked, member by member.
//!
//! Chunks get their names as they come, many at a time: each is checked by itself, and a chunk in
//! `incoming/` that nothing names harms nobody. Transactions wait until all has come, since parents
//! may come after children. `publish` has the second half.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Window;
use super::staging::{StagedAlias, StagedChunk, StagedTransaction, Staging};
use super::tar::{Members, Trouble, bad};
use crate::disk;
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, TransactionId, UserId, limits};
use crate::store::head::Position;
use crate::store::layout::{self, Area, Dir, Folder, Member, Thing};
use crate::store::lock::Stamp;
use crate::store::quota::Amount;
use crate::store::user::UserState;
use crate::store::{AdvanceRefusal, Error, Leftovers, Result, Store, json};

/// What became of a push.
#[derive(Debug)]
pub enum PushBundle {
    /// All of it is there and durable, and HEAD is where the bundle's HEAD wants it (or where it was,
    /// if the bundle has none).
    Taken {
        head: Head,
        stored: Counts,
        existing: Counts,
    },
    /// All of it is there and durable, but pending: HEAD may not go there.
    Refused { head: Head, why: AdvanceRefusal },
    /// It is no bundle, and why.
    Bad(String),
    /// Reading it failed.
    Cut(io::Error),
    /// A chunk is longer than chunks may be.
    TooLarge { limit: u64 },
    /// The parent of this transaction is neither in the bundle nor in the store.
    UnknownParent(TransactionId),
    /// The id stands for other content.
    TransactionExists(TransactionId),
    /// These chunks are neither in the bundle nor in the store; the first of them, if they are many.
    MissingChunks(Vec<ChunkId>),
    /// The alias stands for other bytes.
    ChunkExists(Uuid),
    /// There would be more pending transactions than there may be.
    TooManyPending { limit: usize, used: usize },
}

/// How much was in a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub chunks: u64,
    pub transactions: u64,
    /// Those of the files of both.
    pub bytes: u64,
}

/// Why a push goes no further.
pub(super) enum Stop {
    /// What it is answered with.
    Outcome(Box<PushBundle>),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

impl From<disk::Error> for Stop {
    fn from(error: disk::Error) -> Self {
        Stop::Error(error.into())
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Bad(why) => PushBundle::Bad(why),
            Trouble::Cut(error) => PushBundle::Cut(error),
        }
        .into()
    }
}

impl From<PushBundle> for Stop {
    fn from(outcome: PushBundle) -> Self {
        Stop::Outcome(Box::new(outcome))
    }
}

/// Which directories are there: nothing is in one that is not, which saves a look at each thing.
#[derive(Default)]
pub(super) struct DirsSeen(HashMap<Dir, bool>);

impl DirsSeen {
    /// Whether the user of this folder has this in this area.
    pub fn holds(
        &mut self,
        store: &Store,
        folder: &Folder,
        area: Area,
        thing: &Thing,
    ) -> Result<bool> {
        let is_there = |place| Ok::<_, Error>(store.meta_if_there(&place)?.is_some());
        let dir = thing.dir(area);
        let is_dir = match self.0.entry(dir) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(is_there(folder.dir(dir))?),
        };
        Ok(is_dir && is_there(folder.thing(area, thing))?)
    }
}

pub(super) type Step<T> = std::result::Result<T, Stop>;

/// A push under way.
pub(super) struct Intake<'a> {
    pub store: &'a Store,
    pub user: UserId,
    pub state: Arc<UserState>,
    pub folder: Folder,
    /// The folder in which the first lock was taken: if it becomes another, all is lost.
    pub stamp: Option<Stamp>,
    /// HEAD at the beginning.
    pub began_at: Head,
    pub staging: Staging<'a>,
    /// Which chunks the transactions name, for as long as the bundle may go straight (see `straight`).
    pub named: Option<HashSet<ChunkDigest>>,
    /// Chunks and aliases that came with the push and that the chain names, though it has them no more.
    pub lost: HashSet<ChunkId>,
    /// Chunks and aliases that came last.
    pub recent: Window,
    /// The numbers of the first [`Intake::numbered`] transactions that came, for those that do not say theirs.
    pub numbers: HashMap<TransactionId, u64>,
    pub numbered: usize,
    /// Which of the user's directories were there when they were looked for first.
    pub seen: DirsSeen,
    /// What has come and has no name yet, and will take room if it gets one; where there are quotas.
    pub expected: Amount,
    /// Directories that hold what is relied on, not synced since.
    pub dirs: BTreeSet<Dir>,
    /// Something in `incoming/` was made young, and not synced since.
    pub touched: bool,
    pub stored: Counts,
    pub existing: Counts,
}

impl Store {
    /// Takes a bundle in and advances HEAD to its HEAD. Reads it to its end, with no lock held while
    /// it is waited for; takes the locks it needs, waiting in place; and makes the user's folder if
    /// there is none. Once all has come it is to be run to its end whatever becomes of the client.
    ///
    /// Memory does not depend on the size of the bundle, but for the 60 bytes that are remembered of
    /// each transaction, of which there are [`limits::PUSHED_TRANSACTIONS`] at most.
    ///
    /// # Errors
    /// HEAD has not moved (but see [`Store::advance`]); chunks and transactions that were verified
    /// before may have become pending.
    pub fn push_bundle(
        &self,
        user: &UserId,
        from: &mut dyn Read,
    ) -> Result<(PushBundle, Option<Leftovers>)> {
        match self.try_push(user, from) {
            Ok(taken) => Ok(taken),
            Err(Stop::Outcome(outcome)) => Ok((*outcome, None)),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    fn try_push(
        &self,
        user: &UserId,
        from: &mut dyn Read,
    ) -> Step<(PushBundle, Option<Leftovers>)> {
        let state = self.users.state(user);
        state.check_writable()?;
        let folder = Folder::of(user);
        let began_at = match self.vouched_head(&state, &folder)? {
            Some(head) => head,
            None => {
                self.admit(user)?;
                Head::ROOT
            }
        };
        let mut intake = Intake {
            store: self,
            user: *user,
            staging: Staging::new(self, Arc::clone(&state), folder.clone()),
            state,
            folder,
            stamp: None,
            began_at,
            named: Some(HashSet::new()),
            lost: HashSet::new(),
            recent: Window::default(),
            numbers: HashMap::new(),
            numbered: 0,
            seen: DirsSeen::default(),
            expected: Amount::default(),
            dirs: BTreeSet::new(),
            touched: false,
            stored: Counts::default(),
            existing: Counts::default(),
        };
        let head = intake.read(from)?;
        if let Some((taken, leftovers)) = intake.commit_straight(head)? {
            return Ok((taken, Some(leftovers)));
        }
        intake.publish_chunks()?;
        intake.publish_waiting_aliases()?;
        intake.take_transactions(head)
    }
}

impl Intake<'_> {
    /// Reads all members; says what HEAD is among them.
    fn read(&mut self, from: &mut dyn Read) -> Step<Option<TransactionId>> {
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
        let limit = self.store.options.chunk_bytes;
        if bytes > limit {
            return Err(PushBundle::TooLarge { limit }.into());
        }
        let id = ChunkId::Digest(digest);
        let thing = Thing::Chunk(digest);
        let mut there = self.recent.has(&id);
        if !there {
            let seen = &mut self.seen;
            there = seen.holds(self.store, &self.folder, Area::Committed, &thing)?;
            if there {
                self.dirs.insert(Dir::of_chunk(Area::Committed, &digest));
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
        if !self.store.options.uuid_chunk_ids {
            return Ok(bad("aliases are taken with --uuid-chunk-ids")?);
        }
        let line = small(bytes, 65, members)?;
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

    fn read_transaction(
        &mut self,
        id: TransactionId,
        bytes: u64,
        members: &mut Members<'_>,
    ) -> Step<()> {
        if self.staging.transactions.len() >= limits::PUSHED_TRANSACTIONS {
            return Ok(bad(format!(
                "more than {} transactions",
                limits::PUSHED_TRANSACTIONS
            ))?);
        }
        let sent = small(bytes, limits::TRANSACTION_BYTES + json::PREFIX, members)?;
        let (transaction, contents) = match json::decode(&sent).filter(|read| read.id == id) {
            Some(transaction) => (transaction, sent),
            None => {
                let transaction = self.respell(id, &sent)?;
                let contents = json::encode(&transaction);
                (transaction, contents)
            }
        };
        let aliases = self.store.options.uuid_chunk_ids;
        let chunks = &transaction.chunks;
        if id == TransactionId::ROOT
            || transaction.parent == id
            || transaction.seq == 0
            || chunks.len() > limits::TRANSACTION_CHUNKS
            || !aliases && chunks.iter().any(|id| matches!(id, ChunkId::Alias(_)))
        {
            return Ok(bad(format!("{id} is not a transaction that can be"))?);
        }
        if self.is_committed(id, transaction.seq, &contents)? {
            self.note_lost(&transaction.chunks)?;
            self.existing.transaction(contents.len() as u32);
            return Ok(());
        }
        self.note_chunks(chunks);
        let bytes = contents.len() as u32;
        self.foresee_room(&Thing::Transaction(id), bytes.into())?;
        self.staging.write(Thing::Transaction(id), contents)?;
        self.staging.transactions.push(StagedTransaction {
            id,
            parent: transaction.parent,
            seq: transaction.seq,
            bytes,
            has_chunks: chunks.iter().all(|chunk| self.recent.has(chunk)),
            is_outside: false,
            on_chain: false,
        });
        self.foresee_transactions()
    }
}

impl Intake<'_> {
    /// Refuses a member that there is no room for as soon as it begins, and not when all has come.
    fn foresee_room(&mut self, thing: &Thing, bytes: u64) -> Result<()> {
        let store = self.store;
        // What is there takes no room.
        if !store.has_quotas() || self.is_there(&self.folder.thing(Area::Incoming, thing))? {
            return Ok(());
        }
        self.expected.add(Amount::file(bytes));
        store.foresee(&self.user, self.expected)
    }

    /// Remembers what the transactions name, for as long as the bundle may go straight.
    fn note_chunks(&mut self, chunks: &[ChunkId]) {
        for chunk in chunks {
            let Some(named) = &mut self.named else {
                return;
            };
            match chunk {
                ChunkId::Digest(digest) if named.len() < limits::PUSHED_STRAIGHT => {
                    named.insert(*digest);
                }
                _ => self.named = None,
            }
        }
    }

    /// Remembers which of those that a transaction of the chain names came just now and are not committed.
    fn note_lost(&mut self, chunks: &[ChunkId]) -> Result<()> {
        // With nothing staged, all that came is there.
        if self.staging.chunks.is_empty() && self.staging.aliases.is_empty() {
            return Ok(());
        }
        for chunk in chunks.iter().filter(|chunk| self.recent.has(chunk)) {
            let thing = match chunk {
                ChunkId::Digest(digest) => Thing::Chunk(*digest),
                ChunkId::Alias(alias) => Thing::Alias(*alias),
            };
            let place = self.folder.thing(Area::Committed, &thing);
            if self.store.meta_if_there(&place)?.is_none() {
                self.lost.insert(*chunk);
            }
        }
        Ok(())
    }

    /// Reads a transaction that is not spelt as the store spells it, but as `PUT` takes it.
    fn respell(&mut self, id: TransactionId, sent: &[u8]) -> Step<Transaction> {
        let spelt = match json::read(sent) {
            Ok(spelt) => spelt,
            Err(why) => return Ok(bad(format!("the transaction {id}: {why}"))?),
        };
        if let Some(other) = spelt.id.filter(|other| *other != id) {
            let why = format!("the transaction {id} has the id {other} inside");
            return Ok(bad(why)?);
        }
        let seq = match spelt.seq {
            Some(seq) => seq,
            None => self.seq_after(id, spelt.parent)?,
        };
        Ok(Transaction {
            id,
            seq,
            parent: spelt.parent,
            chunks: spelt.chunks,
        })
    }

    /// The number of a transaction that does not say it: its parent's and one, where the parent came
    /// before it or is here.
    fn seq_after(&mut self, id: TransactionId, parent: TransactionId) -> Step<u64> {
        if parent == TransactionId::ROOT {
            return Ok(1);
        }
        // Those that came since the last time that somebody asked.
        let known = std::mem::replace(&mut self.numbered, self.staging.transactions.len());
        for staged in &self.staging.transactions[known..] {
            self.numbers.insert(staged.id, staged.seq);
        }
        let mut seq = self.numbers.get(&parent).copied();
        for place in [self.folder.transaction(parent), self.folder.pending(parent)] {
            if seq.is_none() {
                seq = self.store.start_of(&place, parent)?.map(|start| start.seq);
            }
        }
        match seq {
            Some(seq) => Ok(seq.saturating_add(1)),
            None => Ok(bad(format!(
                "the transaction {id} says no seq, and its parent {parent} has not come before it"
            ))?),
        }
    }

    /// Whether this very transaction was on the chain when the push began: whoever pushes all of its
    /// history again has nothing written for it.
    fn is_committed(&mut self, id: TransactionId, seq: u64, contents: &[u8]) -> Result<bool> {
        let head = self.began_at;
        if seq > head.seq {
            return Ok(false);
        }
        let place = self.folder.transaction(id);
        if self.store.read_file(&place, usize::MAX)?.as_deref() != Some(contents) {
            return Ok(false);
        }
        // Where `log` cannot tell, it is looked at again when all has come.
        let position = self.store.position_at(&self.folder, head, id, seq)?;
        self.dirs.insert(Dir::of_transaction(id));
        Ok(position == Position::OnChain(seq))
    }
}

impl Counts {
    pub(super) fn chunk(&mut self, bytes: u64) {
        self.chunks += 1;
        self.bytes += bytes;
    }

    pub(super) fn transaction(&mut self, bytes: u32) {
        self.transactions += 1;
        self.bytes += u64::from(bytes);
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

/// The contents of a member that may not be long.
fn small(bytes: u64, limit: usize, members: &mut Members<'_>) -> Step<Vec<u8>> {
    if bytes > limit as u64 {
        return Ok(bad(format!("a member that is longer than {limit} bytes"))?);
    }
    Ok(members.whole()?)
}

fn read_head(bytes: u64, members: &mut Members<'_>) -> Step<TransactionId> {
    match parse_line(&small(bytes, 37, members)?) {
        Some(id) => Ok(id),
        None => Ok(bad("HEAD is not one id and a newline")?),
    }
}

fn parse_line<T: std::str::FromStr>(line: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(line).ok()?;
    text.strip_suffix('\n')?.parse().ok()
}
