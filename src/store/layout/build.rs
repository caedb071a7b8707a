//! Paths of the store, built.

use uuid::Uuid;

use crate::disk::Place;
use crate::model::{ChunkDigest, ChunkId, TransactionId, UserId};

/// Names of files and folders at the top of the data directory.
pub const FORMAT: &str = "FORMAT";
pub(super) const USERS: &str = "users";
pub(super) const TMP: &str = "tmp";
pub(super) const TRASH: &str = "trash";
pub(super) const LAST_COPY: &str = "last-copy";
/// The address of the server that serves the store.
pub(super) const SERVING: &str = "serving";
/// The beginning of the names of probes.
pub(super) const PROBE: &str = "probe.";

/// The two areas of a user's folder: what HEAD reaches, and what was uploaded but is not reached yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    Committed,
    Incoming,
}

/// A place at the top of the data directory.
pub fn format() -> Place {
    Place::new(FORMAT)
}

/// The time of the last good copy by `backup`: one line, RFC 3339.
pub fn last_copy() -> Place {
    Place::new(LAST_COPY)
}

/// The data directory itself.
pub fn top() -> Place {
    Place::new("")
}

pub fn users() -> Place {
    Place::new(USERS)
}

pub fn tmp() -> Place {
    Place::new(TMP)
}

pub fn trash() -> Place {
    Place::new(TRASH)
}

/// A place at the top of the data directory, of a name that was listed there.
pub fn at_top(name: &str) -> Place {
    top().join(name)
}

/// The `FORMAT` of the store that a directory of this name may be.
pub fn format_in(directory: &str) -> Place {
    at_top(directory).join(FORMAT)
}

/// The file with the addresses of those who serve the directory.
pub fn serving() -> Place {
    Place::new(SERVING)
}

/// A name in `tmp/` or `trash/` that nobody else has.
pub fn aside(directory: &Place, user: &UserId, random: u64) -> Place {
    directory.join(format_args!("{user}.{random:016x}"))
}

/// A temporary file at the top, for probes and `FORMAT`.
pub fn probe(random: u64) -> Place {
    tmp().join(format_args!("{PROBE}{random:016x}"))
}

/// A directory of a user's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dir {
    /// The user's folder itself.
    User,
    Incoming,
    /// `incoming/transactions`, which is not split up.
    Pending,
    /// `incoming/tmp`
    Tmp,
    /// `chunks`, `aliases`, `transactions`, their like in `incoming`, and `checkpoint`
    Shelf(Shelf),
    /// One of a shelf's 256 directories, by the first byte of the names in it.
    Fan(Shelf, u8),
    LostFound,
    LostChunks,
    LostAliases,
    LostTransactions,
}

/// A directory whose names are split up by their first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shelf {
    Chunks(Area),
    Aliases(Area),
    Transactions,
    /// Chunks that only CHECKPOINT names: neither of the areas, so that nothing but a checkpoint stands on it.
    Checkpoint,
}

impl Shelf {
    pub const ALL: [Shelf; 6] = [
        Shelf::Chunks(Area::Committed),
        Shelf::Chunks(Area::Incoming),
        Shelf::Aliases(Area::Committed),
        Shelf::Aliases(Area::Incoming),
        Shelf::Transactions,
        Shelf::Checkpoint,
    ];

    /// Whether a user's folder has it from the first. The others are made when they are needed, since most users have
    /// neither aliases nor a checkpoint.
    pub fn is_made_at_first(self) -> bool {
        !matches!(self, Shelf::Aliases(_) | Shelf::Checkpoint)
    }

    fn number(self) -> usize {
        match self {
            Shelf::Chunks(Area::Committed) => 0,
            Shelf::Chunks(Area::Incoming) => 1,
            Shelf::Aliases(Area::Committed) => 2,
            Shelf::Aliases(Area::Incoming) => 3,
            Shelf::Transactions => 4,
            Shelf::Checkpoint => 5,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Shelf::Chunks(Area::Committed) => "chunks",
            Shelf::Chunks(Area::Incoming) => "incoming/chunks",
            Shelf::Aliases(Area::Committed) => "aliases",
            Shelf::Aliases(Area::Incoming) => "incoming/aliases",
            Shelf::Transactions => "transactions",
            Shelf::Checkpoint => "checkpoint",
        }
    }
}

impl Dir {
    /// How many directories a user's folder can have.
    pub const COUNT: usize = 6 * 256 + 6 + 8;

    /// A number of its own, below [`Dir::COUNT`].
    pub fn number(self) -> usize {
        match self {
            Dir::Fan(shelf, byte) => shelf.number() * 256 + usize::from(byte),
            Dir::Shelf(shelf) => 6 * 256 + shelf.number(),
            Dir::User => 6 * 256 + 6,
            Dir::Incoming => 6 * 256 + 7,
            Dir::Pending => 6 * 256 + 8,
            Dir::Tmp => 6 * 256 + 9,
            Dir::LostFound => 6 * 256 + 10,
            Dir::LostChunks => 6 * 256 + 11,
            Dir::LostAliases => 6 * 256 + 12,
            Dir::LostTransactions => 6 * 256 + 13,
        }
    }

    /// The directory that holds this one's name; `None` for the user's folder, which is in `users/`.
    pub fn parent(self) -> Option<Dir> {
        Some(match self {
            Dir::User => return None,
            Dir::Incoming | Dir::LostFound => Dir::User,
            Dir::Pending | Dir::Tmp => Dir::Incoming,
            Dir::LostChunks | Dir::LostAliases | Dir::LostTransactions => Dir::LostFound,
            Dir::Shelf(Shelf::Chunks(Area::Incoming) | Shelf::Aliases(Area::Incoming)) => {
                Dir::Incoming
            }
            Dir::Shelf(_) => Dir::User,
            Dir::Fan(shelf, _) => Dir::Shelf(shelf),
        })
    }

    /// The directory of a chunk's file.
    pub fn of_chunk(area: Area, digest: &ChunkDigest) -> Dir {
        Dir::Fan(Shelf::Chunks(area), digest.as_bytes()[0])
    }

    /// The directory in `checkpoint` of a chunk's file.
    pub fn of_checkpoint_chunk(digest: &ChunkDigest) -> Dir {
        Dir::Fan(Shelf::Checkpoint, digest.as_bytes()[0])
    }

    /// The directory of an alias's file.
    pub fn of_alias(area: Area, alias: &Uuid) -> Dir {
        Dir::Fan(Shelf::Aliases(area), alias.as_bytes()[0])
    }

    /// The directory of a committed transaction's file.
    pub fn of_transaction(id: TransactionId) -> Dir {
        Dir::Fan(Shelf::Transactions, id.as_bytes()[0])
    }
}

/// A user's folder: in `users/`, or on its way there or out.
#[derive(Clone, Debug)]
pub struct Folder(Place);

impl Folder {
    /// The folder of this user.
    pub fn of(user: &UserId) -> Self {
        Self(users().join(user))
    }

    /// A folder at another place.
    pub fn at(place: Place) -> Self {
        Self(place)
    }

    pub fn place(&self) -> &Place {
        &self.0
    }

    pub fn head(&self) -> Place {
        self.0.join("HEAD")
    }

    pub fn checkpoint(&self) -> Place {
        self.0.join("CHECKPOINT")
    }

    pub fn lock(&self) -> Place {
        self.0.join("lock")
    }

    pub fn gate(&self) -> Place {
        self.0.join("gate")
    }

    pub fn log(&self) -> Place {
        self.0.join("log")
    }

    pub fn name(&self) -> Place {
        self.0.join("name")
    }

    /// The file that is there while the user is not served from here, and why.
    pub fn frozen(&self) -> Place {
        self.0.join("frozen")
    }

    /// The name of the move that the folder takes part in, or came by.
    pub fn moving(&self) -> Place {
        self.0.join("move")
    }

    /// The tip of what is pending, in a device's own store.
    pub fn local(&self) -> Place {
        self.0.join("local")
    }

    /// The ids that a rebase replaced, in a device's own store.
    pub fn renamed(&self) -> Place {
        self.0.join("renamed")
    }

    pub fn dir(&self, dir: Dir) -> Place {
        match dir {
            Dir::User => self.0.clone(),
            Dir::Incoming => self.0.join("incoming"),
            Dir::Pending => self.0.join("incoming/transactions"),
            Dir::Tmp => self.0.join("incoming/tmp"),
            Dir::Shelf(shelf) => self.0.join(shelf.path()),
            Dir::Fan(shelf, byte) => self.0.join(format_args!("{}/{byte:02x}", shelf.path())),
            Dir::LostFound => self.0.join("lost+found"),
            Dir::LostChunks => self.0.join("lost+found/chunks"),
            Dir::LostAliases => self.0.join("lost+found/aliases"),
            Dir::LostTransactions => self.0.join("lost+found/transactions"),
        }
    }

    pub fn chunk(&self, area: Area, digest: &ChunkDigest) -> Place {
        let fan = Dir::of_chunk(area, digest);
        self.dir(fan).join(digest)
    }

    /// A chunk in `checkpoint`.
    pub fn checkpoint_chunk(&self, digest: &ChunkDigest) -> Place {
        self.dir(Dir::of_checkpoint_chunk(digest)).join(digest)
    }

    pub fn alias(&self, area: Area, alias: &Uuid) -> Place {
        let fan = Dir::of_alias(area, alias);
        self.dir(fan).join(alias.hyphenated())
    }

    /// A committed transaction.
    pub fn transaction(&self, id: TransactionId) -> Place {
        self.dir(Dir::of_transaction(id))
            .join(format_args!("{id}.json"))
    }

    /// A pending transaction.
    pub fn pending(&self, id: TransactionId) -> Place {
        self.dir(Dir::Pending).join(format_args!("{id}.json"))
    }

    /// A temporary file.
    pub fn temporary(&self, random: u64) -> Place {
        self.dir(Dir::Tmp).join(format_args!("{random:016x}"))
    }

    /// An uploaded thing in this area.
    pub fn thing(&self, area: Area, thing: &Thing) -> Place {
        self.dir(thing.dir(area)).join(thing.name())
    }

    /// Where fsck puts a committed chunk that is damaged (or a mark that it is missing).
    pub fn lost_chunk(&self, digest: &ChunkDigest) -> Place {
        self.dir(Dir::LostChunks).join(digest)
    }
}

/// A chunk, alias or transaction, as it is named on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Thing {
    Chunk(ChunkDigest),
    Alias(Uuid),
    Transaction(TransactionId),
}

impl From<ChunkId> for Thing {
    fn from(id: ChunkId) -> Self {
        match id {
            ChunkId::Digest(digest) => Thing::Chunk(digest),
            ChunkId::Alias(alias) => Thing::Alias(alias),
        }
    }
}

impl Thing {
    /// The directory of its file.
    pub fn dir(&self, area: Area) -> Dir {
        match self {
            Thing::Chunk(digest) => Dir::of_chunk(area, digest),
            Thing::Alias(alias) => Dir::of_alias(area, alias),
            Thing::Transaction(id) => match area {
                Area::Committed => Dir::of_transaction(*id),
                Area::Incoming => Dir::Pending,
            },
        }
    }

    /// The directory in `lost+found` where its like is set aside.
    pub fn lost_dir(&self) -> Dir {
        match self {
            Thing::Chunk(_) => Dir::LostChunks,
            Thing::Alias(_) => Dir::LostAliases,
            Thing::Transaction(_) => Dir::LostTransactions,
        }
    }

    /// The name of its file.
    pub fn name(&self) -> String {
        match self {
            Thing::Chunk(digest) => digest.to_string(),
            Thing::Alias(alias) => alias.hyphenated().to_string(),
            Thing::Transaction(id) => format!("{id}.json"),
        }
    }
}

/// A name in a directory of `lost+found` that nobody else has, and that is no thing's.
pub fn spare(directory: &Place, thing: &Thing, random: u64) -> Place {
    directory.join(format_args!("{}.{random:016x}", thing.name()))
}

/// A name in `lost+found` that nobody else has, for what has the name of `log` and is no file.
pub fn spare_log(directory: &Place, random: u64) -> Place {
    directory.join(format_args!("log.{random:016x}"))
}

/// A name in `lost+found` that nobody else has, for a damaged CHECKPOINT.
pub fn spare_checkpoint(directory: &Place, random: u64) -> Place {
    directory.join(format_args!("CHECKPOINT.{random:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_has_a_number_of_its_own() {
        let mut seen = vec![false; Dir::COUNT];
        let fans = Shelf::ALL
            .into_iter()
            .flat_map(|shelf| (0..=255).map(move |byte| Dir::Fan(shelf, byte)));
        let others = [
            Dir::User,
            Dir::Incoming,
            Dir::Pending,
            Dir::Tmp,
            Dir::LostFound,
            Dir::LostChunks,
            Dir::LostAliases,
            Dir::LostTransactions,
        ];
        for dir in fans.chain(Shelf::ALL.map(Dir::Shelf)).chain(others) {
            assert!(!std::mem::replace(&mut seen[dir.number()], true), "{dir:?}");
        }
        assert!(seen.into_iter().all(|seen| seen));
    }
}
