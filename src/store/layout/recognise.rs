//! Names of the store, recognised.

use uuid::Uuid;

use super::build::{
    Area, Dir, FORMAT, Folder, LAST_COPY, PROBE, SERVING, Shelf, TMP, TRASH, Thing, USERS, tmp, top,
};
use crate::disk::Place;
use crate::model::{ChunkDigest, ChunkId, TransactionId, UserId};

/// A member of a bundle, by what it stands for.
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

    /// The member of this name; `None` for a name that nothing in a bundle has.
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

/// A name in a user's folder, by what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    Dir(Dir),
    Checkpoint,
    Head,
    Log,
    /// `lock` or `gate`.
    Lock,
    Name,
    /// `frozen`, or `move`
    Move,
    /// `local` or `renamed`, of a device's own store.
    Device,
    Thing(Area, Thing),
    /// A chunk in `checkpoint`.
    CheckpointChunk(ChunkDigest),
    /// A name in `incoming/tmp`.
    Temporary,
    /// A name in `lost+found` that is no directory of ours.
    Lost,
}

/// Recognises a name in a directory of a user's folder; `None` for a stranger. Costs no look.
pub fn recognise(dir: Dir, name: &str) -> Option<Recognised> {
    let inner = |dir| Some(Recognised::Dir(dir));
    match (dir, name) {
        (Dir::User, "CHECKPOINT") => Some(Recognised::Checkpoint),
        (Dir::User, "HEAD") => Some(Recognised::Head),
        (Dir::User, "log") => Some(Recognised::Log),
        (Dir::User, "lock" | "gate") => Some(Recognised::Lock),
        (Dir::User, "name") => Some(Recognised::Name),
        (Dir::User, "frozen" | "move") => Some(Recognised::Move),
        (Dir::User, "local" | "renamed") => Some(Recognised::Device),
        (Dir::User, "incoming") => inner(Dir::Incoming),
        (Dir::User, "lost+found") => inner(Dir::LostFound),
        (Dir::User, "chunks") => inner(Dir::Shelf(Shelf::Chunks(Area::Committed))),
        (Dir::User, "checkpoint") => inner(Dir::Shelf(Shelf::Checkpoint)),
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
            Some(Recognised::Lost)
        }
        (Dir::Tmp, _) => Some(Recognised::Temporary),
        (Dir::Shelf(shelf), _) => {
            parse_fan(name).map(|byte| Recognised::Dir(Dir::Fan(shelf, byte)))
        }
        (Dir::Pending, _) => {
            let pending = Thing::Transaction(parse_transaction(name)?);
            Some(Recognised::Thing(Area::Incoming, pending))
        }
        (Dir::Fan(Shelf::Checkpoint, _), _) => match parse_chunk(name) {
            Some(ChunkId::Digest(digest)) if Dir::of_checkpoint_chunk(&digest) == dir => {
                Some(Recognised::CheckpointChunk(digest))
            }
            _ => None,
        },
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
            (thing.dir(area) == dir).then_some(Recognised::Thing(area, thing))
        }
        (Dir::User | Dir::Incoming, _) => None,
    }
}

/// Whether the top of the data directory knows this name.
pub fn is_top(name: &str) -> bool {
    matches!(name, FORMAT | LAST_COPY | SERVING) || is_begun(name) || is_of_file_system(name)
}

/// Whether this is the name of a directory at the top that the making of a store begins with, before `FORMAT`.
pub fn is_begun(name: &str) -> bool {
    matches!(name, USERS | TMP | TRASH)
}

/// Whether a file system has a directory of this name at its top, which is its own.
pub fn is_of_file_system(name: &str) -> bool {
    name == "lost+found"
}

/// Whether this is a temporary file at the top, see [`probe`](super::probe).
pub fn is_probe(place: &Place) -> bool {
    place.parent() == tmp() && place.name().starts_with(PROBE)
}

/// Names that tell a user's folder, or a part of it.
pub const PARTS_OF_USER: [&str; 9] = [
    "CHECKPOINT",
    "HEAD",
    "aliases",
    "checkpoint",
    "chunks",
    "gate",
    "incoming",
    "log",
    "transactions",
];

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
                let known = Some(Recognised::Thing(area, thing));
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
                    assert_eq!(recognise(parent, place.name()), Some(Recognised::Dir(dir)));
                    dir = parent;
                }
            }
        }
        let digest = ChunkDigest::from_bytes([0xab; 32]);
        let dir = Dir::of_checkpoint_chunk(&digest);
        let known = Some(Recognised::CheckpointChunk(digest));
        assert_eq!(recognise(dir, &digest.to_string()), known);
        assert_eq!(recognise(dir, &alias.to_string()), None);
        let elsewhere = Dir::Fan(Shelf::Checkpoint, 0xaa);
        assert_eq!(recognise(elsewhere, &digest.to_string()), None);
        let place = Folder::at(Place::new("u")).checkpoint();
        let known = Some(Recognised::Checkpoint);
        assert_eq!(recognise(Dir::User, place.name()), known);
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
