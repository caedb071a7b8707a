//! The only place that builds or parses a path of the store. `FORMAT.md` is its document.

use uuid::Uuid;

use crate::disk::Place;
use crate::model::{ChunkDigest, ChunkId, TransactionId, UserId};

/// What a file or folder is called at the top of the data directory.
pub const FORMAT: &str = "FORMAT";
const USERS: &str = "users";
const TMP: &str = "tmp";
const TRASH: &str = "trash";

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

/// A name in `tmp/` or `trash/` that nobody else has.
pub fn aside(directory: &Place, user: &UserId, random: u64) -> Place {
    directory.join(&format!("{user}.{random:016x}"))
}

/// A temporary file at the top, for probes and `FORMAT`.
pub fn probe(random: u64) -> Place {
    tmp().join(&format!("probe.{random:016x}"))
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
    /// `chunks`, `aliases`, `transactions`, and their like in `incoming`
    Shelf(Shelf),
    /// One of a shelf's 256 directories, by the first byte of the names in it.
    Fan(Shelf, u8),
    LostFound,
    LostChunks,
}

/// A directory whose names are split up by their first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shelf {
    Chunks(Area),
    Aliases(Area),
    Transactions,
}

impl Shelf {
    pub const ALL: [Shelf; 5] = [
        Shelf::Chunks(Area::Committed),
        Shelf::Chunks(Area::Incoming),
        Shelf::Aliases(Area::Committed),
        Shelf::Aliases(Area::Incoming),
        Shelf::Transactions,
    ];

    fn number(self) -> usize {
        match self {
            Shelf::Chunks(Area::Committed) => 0,
            Shelf::Chunks(Area::Incoming) => 1,
            Shelf::Aliases(Area::Committed) => 2,
            Shelf::Aliases(Area::Incoming) => 3,
            Shelf::Transactions => 4,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Shelf::Chunks(Area::Committed) => "chunks",
            Shelf::Chunks(Area::Incoming) => "incoming/chunks",
            Shelf::Aliases(Area::Committed) => "aliases",
            Shelf::Aliases(Area::Incoming) => "incoming/aliases",
            Shelf::Transactions => "transactions",
        }
    }
}

impl Dir {
    /// How many directories a user's folder can have.
    pub const COUNT: usize = 5 * 256 + 5 + 6;

    /// A number of its own, below [`Dir::COUNT`].
    pub fn number(self) -> usize {
        match self {
            Dir::Fan(shelf, byte) => shelf.number() * 256 + usize::from(byte),
            Dir::Shelf(shelf) => 5 * 256 + shelf.number(),
            Dir::User => 5 * 256 + 5,
            Dir::Incoming => 5 * 256 + 6,
            Dir::Pending => 5 * 256 + 7,
            Dir::Tmp => 5 * 256 + 8,
            Dir::LostFound => 5 * 256 + 9,
            Dir::LostChunks => 5 * 256 + 10,
        }
    }

    /// The directory that holds this one's name; `None` for the user's folder, which is in `users/`.
    pub fn parent(self) -> Option<Dir> {
        Some(match self {
            Dir::User => return None,
            Dir::Incoming | Dir::LostFound => Dir::User,
            Dir::Pending | Dir::Tmp => Dir::Incoming,
            Dir::LostChunks => Dir::LostFound,
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
        Self(users().join(&user.to_string()))
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

    pub fn lock(&self) -> Place {
        self.0.join("lock")
    }

    pub fn gate(&self) -> Place {
        self.0.join("gate")
    }

    pub fn log(&self) -> Place {
        self.0.join("log")
    }

    pub fn dir(&self, dir: Dir) -> Place {
        match dir {
            Dir::User => self.0.clone(),
            Dir::Incoming => self.0.join("incoming"),
            Dir::Pending => self.0.join("incoming/transactions"),
            Dir::Tmp => self.0.join("incoming/tmp"),
            Dir::Shelf(shelf) => self.0.join(shelf.path()),
            Dir::Fan(shelf, byte) => self.0.join(&format!("{}/{byte:02x}", shelf.path())),
            Dir::LostFound => self.0.join("lost+found"),
            Dir::LostChunks => self.0.join("lost+found/chunks"),
        }
    }

    pub fn chunk(&self, area: Area, digest: &ChunkDigest) -> Place {
        let fan = Dir::of_chunk(area, digest);
        self.dir(fan).join(&digest.to_string())
    }

    pub fn alias(&self, area: Area, alias: &Uuid) -> Place {
        let fan = Dir::of_alias(area, alias);
        self.dir(fan).join(&alias.hyphenated().to_string())
    }

    /// A committed transaction.
    pub fn transaction(&self, id: TransactionId) -> Place {
        self.dir(Dir::of_transaction(id))
            .join(&format!("{id}.json"))
    }

    /// A pending transaction.
    pub fn pending(&self, id: TransactionId) -> Place {
        self.dir(Dir::Pending).join(&format!("{id}.json"))
    }

    /// A temporary file.
    pub fn temporary(&self, random: u64) -> Place {
        self.dir(Dir::Tmp).join(&format!("{random:016x}"))
    }

    /// Where fsck puts a committed chunk that is damaged (or a mark that it is missing).
    pub fn lost_chunk(&self, digest: &ChunkDigest) -> Place {
        self.dir(Dir::LostChunks).join(&digest.to_string())
    }
}

/// The user whose folder has this name in `users/`.
pub fn parse_user(name: &str) -> Option<UserId> {
    name.parse().ok()
}

/// The transaction whose file has this name.
pub fn parse_transaction(name: &str) -> Option<TransactionId> {
    name.strip_suffix(".json")?.parse().ok()
}

/// The first byte of the names in the directory of this name on a shelf.
pub fn parse_fan(name: &str) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(name, &mut byte).ok()?;
    (format!("{:02x}", byte[0]) == name).then_some(byte[0])
}

/// The chunk or alias whose file has this name.
pub fn parse_chunk(name: &str) -> Option<ChunkId> {
    name.parse().ok()
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
        ];
        for dir in fans.chain(Shelf::ALL.map(Dir::Shelf)).chain(others) {
            assert!(!std::mem::replace(&mut seen[dir.number()], true), "{dir:?}");
        }
        assert!(seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn a_directory_is_named_in_its_parent() {
        let folder = Folder::at(Place::new("u"));
        let fan = Dir::Fan(Shelf::Aliases(Area::Incoming), 0xab);
        assert_eq!(folder.dir(fan).as_str(), "u/incoming/aliases/ab");
        let mut dir = fan;
        while let Some(parent) = dir.parent() {
            assert_eq!(folder.dir(dir).parent(), folder.dir(parent));
            dir = parent;
        }
        assert_eq!(dir, Dir::User);
    }
}
