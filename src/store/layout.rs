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
    directory.join(format_args!("{user}.{random:016x}"))
}

/// A temporary file at the top, for probes and `FORMAT`.
pub fn probe(random: u64) -> Place {
    tmp().join(format_args!("probe.{random:016x}"))
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
    LostAliases,
    LostTransactions,
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
    pub const COUNT: usize = 5 * 256 + 5 + 8;

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
            Dir::LostAliases => 5 * 256 + 11,
            Dir::LostTransactions => 5 * 256 + 12,
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

/// What a member of a bundle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    Chunk(ChunkDigest),
    Alias(Uuid),
    Transaction(TransactionId),
    Head,
}

impl Member {
    /// The name in the tar: the path in a user's folder of what is committed.
    pub fn name(&self) -> String {
        let folder = Folder::at(top());
        let place = match self {
            Member::Chunk(digest) => folder.chunk(Area::Committed, digest),
            Member::Alias(alias) => folder.alias(Area::Committed, alias),
            Member::Transaction(id) => folder.transaction(*id),
            Member::Head => folder.head(),
        };
        place.as_str().to_owned()
    }

    /// What the member of this name stands for; `None` for a name that nothing in a bundle has.
    pub fn parse(name: &str) -> Option<Self> {
        let last = name.rsplit('/').next()?;
        let member = if name == "HEAD" {
            Member::Head
        } else if let Some(id) = parse_transaction(last) {
            Member::Transaction(id)
        } else {
            match parse_chunk(last)? {
                ChunkId::Digest(digest) => Member::Chunk(digest),
                ChunkId::Alias(alias) => Member::Alias(alias),
            }
        };
        (member.name() == name).then_some(member)
    }
}

/// Whether a tar's member of this name holds what a Mac keeps beside a file (AppleDouble: `._` before the
/// file's own name), and nothing of the store.
pub fn is_apple_double(name: &str) -> bool {
    let last = name.rsplit('/').next();
    last.is_some_and(|last| last.starts_with("._"))
}

/// What a name in a user's folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Dir(Dir),
    Head,
    Log,
    /// `lock` or `gate`.
    Lock,
    Thing(Area, Thing),
    /// Anything in `incoming/tmp`.
    Temporary,
    /// Anything in `lost+found` that is no directory of ours.
    Lost,
}

/// Something that clients upload, as it is named on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Thing {
    Chunk(ChunkDigest),
    Alias(Uuid),
    Transaction(TransactionId),
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

/// What this name in this directory of a user's folder stands for; `None` for a stranger. Costs no look.
pub fn recognise(dir: Dir, name: &str) -> Option<Known> {
    let inner = |dir| Some(Known::Dir(dir));
    match (dir, name) {
        (Dir::User, "HEAD") => Some(Known::Head),
        (Dir::User, "log") => Some(Known::Log),
        (Dir::User, "lock" | "gate") => Some(Known::Lock),
        (Dir::User, "incoming") => inner(Dir::Incoming),
        (Dir::User, "lost+found") => inner(Dir::LostFound),
        (Dir::User, "chunks") => inner(Dir::Shelf(Shelf::Chunks(Area::Committed))),
        (Dir::User, "aliases") => inner(Dir::Shelf(Shelf::Aliases(Area::Committed))),
        (Dir::User, "transactions") => inner(Dir::Shelf(Shelf::Transactions)),
        (Dir::Incoming, "chunks") => inner(Dir::Shelf(Shelf::Chunks(Area::Incoming))),
        (Dir::Incoming, "aliases") => inner(Dir::Shelf(Shelf::Aliases(Area::Incoming))),
        (Dir::Incoming, "transactions") => inner(Dir::Pending),
        (Dir::Incoming, "tmp") => inner(Dir::Tmp),
        (Dir::LostFound, "chunks") => inner(Dir::LostChunks),
        (Dir::LostFound, "aliases") => inner(Dir::LostAliases),
        (Dir::LostFound, "transactions") => inner(Dir::LostTransactions),
        (Dir::LostFound | Dir::LostChunks | Dir::LostAliases | Dir::LostTransactions, _) => {
            Some(Known::Lost)
        }
        (Dir::Tmp, _) => Some(Known::Temporary),
        (Dir::Shelf(shelf), _) => parse_fan(name).map(|byte| Known::Dir(Dir::Fan(shelf, byte))),
        (Dir::Pending, _) => {
            let pending = Thing::Transaction(parse_transaction(name)?);
            Some(Known::Thing(Area::Incoming, pending))
        }
        (Dir::Fan(shelf, _), _) => {
            let (area, thing) = match (shelf, parse_chunk(name)) {
                (Shelf::Chunks(area), Some(ChunkId::Digest(digest))) => {
                    (area, Thing::Chunk(digest))
                }
                (Shelf::Aliases(area), Some(ChunkId::Alias(alias))) => (area, Thing::Alias(alias)),
                (Shelf::Transactions, None) => {
                    let id = parse_transaction(name)?;
                    (Area::Committed, Thing::Transaction(id))
                }
                _ => return None,
            };
            // A thing in another one's directory is never looked for there.
            (thing.dir(area) == dir).then_some(Known::Thing(area, thing))
        }
        (Dir::User | Dir::Incoming, _) => None,
    }
}

/// Whether the top of the data directory knows this name. `lost+found` there is the file system's own.
pub fn is_top(name: &str) -> bool {
    matches!(name, FORMAT | USERS | TMP | TRASH | "lost+found")
}

/// A name in a directory of `lost+found` that nobody else has, and that is no thing's.
pub fn spare(directory: &Place, thing: &Thing, random: u64) -> Place {
    directory.join(format_args!("{}.{random:016x}", thing.name()))
}

/// The chunk whose mark or damaged bytes have this name in `lost+found/chunks`.
pub fn parse_lost_chunk(name: &str) -> Option<ChunkDigest> {
    name.parse().ok()
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
            Dir::LostAliases,
            Dir::LostTransactions,
        ];
        for dir in fans.chain(Shelf::ALL.map(Dir::Shelf)).chain(others) {
            assert!(!std::mem::replace(&mut seen[dir.number()], true), "{dir:?}");
        }
        assert!(seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn only_the_exact_name_is_a_members() {
        let digest = "ab".repeat(32);
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let good = [
            "HEAD".to_owned(),
            format!("chunks/ab/{digest}"),
            format!("aliases/67/{id}"),
            format!("transactions/67/{id}.json"),
        ];
        for name in good {
            assert_eq!(Member::parse(&name).unwrap().name(), name);
            for (before, after) in [("./", ""), ("/", ""), ("", "/"), ("x/", ""), ("", " ")] {
                let bad = format!("{before}{name}{after}");
                assert_eq!(Member::parse(&bad), None, "{bad}");
            }
        }
        for bad in [
            String::new(),
            "head".to_owned(),
            format!("chunks/ac/{digest}"),
            format!("chunks/AB/{digest}"),
            format!("chunks/ab/../ab/{digest}"),
            format!("chunks/{digest}"),
            format!("incoming/chunks/ab/{digest}"),
            format!("aliases/67/{id}.json"),
            format!("transactions/67/{id}"),
            format!("transactions/67/{}.json", id.to_uppercase()),
            format!("chunks/67/{id}"),
        ] {
            assert_eq!(Member::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn what_the_layout_builds_it_recognises_and_nothing_else() {
        let alias: Uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
        let things = [
            Thing::Chunk(ChunkDigest::from_bytes([0xab; 32])),
            Thing::Alias(alias),
            Thing::Transaction(TransactionId::from_bytes([0xcd; 16])),
        ];
        for thing in things {
            for area in [Area::Committed, Area::Incoming] {
                let dir = thing.dir(area);
                let known = Some(Known::Thing(area, thing));
                assert_eq!(recognise(dir, &thing.name()), known);
                for other in things.iter().filter(|other| **other != thing) {
                    assert_eq!(recognise(dir, &other.name()), None, "{other:?}");
                }
                if let Dir::Fan(shelf, byte) = dir {
                    let elsewhere = Dir::Fan(shelf, byte ^ 1);
                    assert_eq!(recognise(elsewhere, &thing.name()), None);
                }
                let mut dir = dir;
                while let Some(parent) = dir.parent() {
                    let place = Folder::at(Place::new("u")).dir(dir);
                    assert_eq!(recognise(parent, place.name()), Some(Known::Dir(dir)));
                    dir = parent;
                }
            }
        }
        let shelf = Dir::Shelf(Shelf::Transactions);
        for stranger in ["AB", "a", "abc", "+1", "zz"] {
            assert_eq!(recognise(shelf, stranger), None, "{stranger}");
        }
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
