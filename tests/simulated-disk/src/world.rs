//! The state of a simulated file system: what programs see, and what of it is durable.
//!
//! A file's bytes and times are durable once the file was synced. A change of names is a *unit*: it
//! is durable once a directory that it touches was synced. What a power cut makes of the rest is
//! decided in `survive`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mentat_sync::disk::{Kind, Mode, Place};
use rustix::io::Errno;

/// A file or directory, for as long as anything may still name it.
pub type Object = usize;

/// The root directory.
pub const ROOT: Object = 0;

/// What a rename from one directory to another is to a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// One thing, kept or lost.
    Atomic,
    /// Two names in two directories, of which each is kept or lost by itself. Directories are still
    /// moved as one: no file system gives a directory two parents.
    Posix,
}

/// Syncs that are answered but not done: the broken disks that the tests must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Bytes and times of files.
    Contents,
    /// Names of whatever kind.
    Names,
    /// Names of directories, as when nobody syncs the parent of a directory just made.
    NewDirectories,
    /// The name HEAD.
    HeadName,
    /// The bytes of what is to become HEAD.
    HeadContents,
}

/// One write (or cut) of a file's bytes since its last sync.
#[derive(Clone, Debug)]
pub struct Write {
    pub offset: usize,
    /// `None`: the file was cut, or filled with zeroes, to `offset`.
    pub bytes: Option<Arc<[u8]>>,
    /// A sync of it failed: no later one makes it durable.
    pub doomed: bool,
}

#[derive(Clone, Debug)]
pub struct File {
    pub bytes: Arc<Vec<u8>>,
    pub modified: SystemTime,
    pub durable: Arc<Vec<u8>>,
    pub durable_modified: SystemTime,
    pub writes: Vec<Write>,
    pub links: u64,
    pub open: u64,
    /// Has, or had, a name that somebody else may know.
    published: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Directory {
    pub names: BTreeMap<String, Object>,
    pub durable: BTreeMap<String, Object>,
}

#[derive(Clone, Debug)]
pub enum Node {
    File(File),
    Directory(Directory),
}

#[derive(Debug)]
pub struct Inode {
    pub node: Node,
    pub number: u64,
    pub changed: SystemTime,
    pub born: SystemTime,
    /// The hash of a file's bytes and time, once asked for; 0 before.
    pub hash: AtomicU64,
}

impl Inode {
    pub fn new(node: Node, number: u64, changed: SystemTime) -> Self {
        Self {
            node,
            number,
            changed,
            born: changed,
            hash: AtomicU64::new(0),
        }
    }
}

impl Clone for Inode {
    fn clone(&self) -> Self {
        Self {
            born: self.born,
            ..Self::new(self.node.clone(), self.number, self.changed)
        }
    }
}

/// A name in a directory that comes to stand for something, or for nothing.
pub type Assign = (Object, String, Option<Object>);

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
pub struct Unit {
    pub assigns: Vec<Assign>,
    /// The directory that is moved, made or removed by this.
    pub moves: Option<Object>,
    pub doomed: bool,
}

/// What is to be synced.
#[derive(Clone, Copy, Debug)]
pub enum Synced {
    File(Object),
    Directory(Object),
}

struct Lock {
    id: u64,
    object: Object,
    process: usize,
    mode: Mode,
}

/// See the module. Cloning one is how a moment is remembered.
pub struct World {
    /// By object; those that nothing names any more stay.
    pub inodes: Vec<Arc<Inode>>,
    pub units: Vec<Unit>,
    pub reading: Reading,
    pub lies: Vec<Lie>,
    /// A directory whose sync failed stays volatile for good, as a file does. Most file systems
    /// turn read-only instead.
    pub doom_names: bool,
    /// What the tests set; every change adds a tick, so that no two look alike.
    pub clock: SystemTime,
    pub ticks: u64,
    locks: Vec<Lock>,
}

impl Clone for World {
    /// Everything but the locks, which are the processes'.
    fn clone(&self) -> Self {
        Self {
            inodes: self.inodes.clone(),
            units: self.units.clone(),
            reading: self.reading,
            lies: self.lies.clone(),
            doom_names: self.doom_names,
            clock: self.clock,
            ticks: self.ticks,
            locks: Vec::new(),
        }
    }
}

/// 2025-01-01, as good a day as any.
pub fn new_year() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_735_689_600)
}

impl World {
    /// An empty directory.
    pub fn new(reading: Reading) -> Self {
        let root = Inode::new(Node::Directory(Directory::default()), 2, new_year());
        Self {
            inodes: vec![Arc::new(root)],
            units: Vec::new(),
            reading,
            lies: Vec::new(),
            doom_names: false,
            clock: new_year(),
            ticks: 0,
            locks: Vec::new(),
        }
    }

    pub fn now(&self) -> SystemTime {
        self.clock + Duration::from_micros(self.ticks)
    }

    fn tick(&mut self) -> SystemTime {
        self.ticks += 1;
        self.now()
    }

    pub fn directory(&self, object: Object) -> io::Result<&Directory> {
        match &self.inodes[object].node {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    pub fn file(&self, object: Object) -> io::Result<&File> {
        match &self.inodes[object].node {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(Errno::ISDIR.into()),
        }
    }

    pub fn inode_mut(&mut self, object: Object) -> &mut Inode {
        let inode = Arc::make_mut(&mut self.inodes[object]);
        *inode.hash.get_mut() = 0;
        inode
    }

    pub fn file_mut(&mut self, object: Object) -> &mut File {
        match &mut self.inode_mut(object).node {
            Node::File(file) => file,
            Node::Directory(_) => panic!("only files are opened"),
        }
    }

    /// A file that only its maker can know of: what happens to it is nobody else's business.
    pub fn is_private(&self, object: Object) -> bool {
        matches!(&self.inodes[object].node, Node::File(file) if !file.published)
    }

    pub fn open(&mut self, place: &Place) -> io::Result<Object> {
        let object = self.at(place)?;
        if self.file(object).is_err() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file_mut(object).open += 1;
        Ok(object)
    }

    pub fn close(&mut self, object: Object) {
        self.file_mut(object).open -= 1;
    }

    /// As ext4 does it: the lowest number that nothing uses, so that numbers come back soon.
    fn free_number(&self) -> u64 {
        let mut used = vec![false; self.inodes.len() + 4];
        for inode in &self.inodes {
            let free = matches!(&inode.node, Node::File(file) if file.links + file.open == 0);
            if let (false, Some(used)) = (free, used.get_mut(inode.number as usize)) {
                *used = true;
            }
        }
        let free = (3..).find(|number| !used[*number]);
        free.expect("there are more numbers than inodes") as u64
    }

    fn free_name(&self, place: &Place) -> io::Result<(Object, String)> {
        let (parent, name) = place.split();
        let parent = self.at(&parent)?;
        if self.directory(parent)?.names.contains_key(name) {
            return Err(Errno::EXIST.into());
        }
        Ok((parent, name.to_owned()))
    }

    fn add(&mut self, node: Node) -> Object {
        let (number, changed) = (self.free_number(), self.tick());
        self.inodes
            .push(Arc::new(Inode::new(node, number, changed)));
        self.inodes.len() - 1
    }

    pub fn create(&mut self, place: &Place) -> io::Result<Object> {
        let (parent, name) = self.free_name(place)?;
        let now = self.now();
        let object = self.add(Node::File(File {
            bytes: Arc::default(),
            modified: now,
            durable: Arc::default(),
            durable_modified: now,
            writes: Vec::new(),
            links: 0,
            open: 1,
            // Names in a tmp/ are random: nobody else asks for them.
            published: place.parent().name() != "tmp",
        }));
        self.assign(vec![(parent, name, Some(object))], None);
        Ok(object)
    }

    pub fn make_directory(&mut self, place: &Place) -> io::Result<()> {
        let (parent, name) = self.free_name(place)?;
        let object = self.add(Node::Directory(Directory::default()));
        self.assign(vec![(parent, name, Some(object))], Some(object));
        Ok(())
    }

    pub fn link(&mut self, from: &Place, to: &Place) -> io::Result<()> {
        let object = self.at(from)?;
        self.file(object).map_err(|_| Errno::PERM)?;
        let (parent, name) = self.free_name(to)?;
        self.file_mut(object).published = true;
        self.assign(vec![(parent, name, Some(object))], None);
        Ok(())
    }

    pub fn rename(&mut self, from: &Place, to: &Place, replace: bool) -> io::Result<()> {
        let object = self.at(from)?;
        let (source, target) = (from.split(), to.split());
        let target_directory = self.at(&target.0)?;
        if let Some(&there) = self.directory(target_directory)?.names.get(target.1) {
            if !replace {
                return Err(Errno::EXIST.into());
            }
            self.file(there)?;
            if there == object {
                return Ok(()); // rename(2): two names of one file stay as they are
            }
        }
        let source_directory = self.at(&source.0)?;
        let put = (target_directory, target.1.to_owned(), Some(object));
        let take = (source_directory, source.1.to_owned(), None);
        if self.file(object).is_ok() {
            self.file_mut(object).published = true;
            if self.reading == Reading::Posix && source_directory != target_directory {
                self.assign(vec![put], None);
                self.assign(vec![take], None);
            } else {
                self.assign(vec![put, take], None);
            }
        } else {
            self.assign(vec![put, take], Some(object));
        }
        Ok(())
    }

    pub fn remove(&mut self, place: &Place, kind: Kind) -> io::Result<()> {
        let object = self.at(place)?;
        let (parent, name) = place.split();
        let parent = self.at(&parent)?;
        match (&self.inodes[object].node, kind) {
            (Node::File(_), Kind::File) => {}
            (Node::Directory(directory), Kind::Directory) if directory.names.is_empty() => {}
            (Node::Directory(_), Kind::Directory) => return Err(Errno::NOTEMPTY.into()),
            (Node::Directory(_), _) => return Err(Errno::ISDIR.into()),
            (Node::File(_), _) => return Err(Errno::NOTDIR.into()),
        }
        let moves = (kind == Kind::Directory).then_some(object);
        self.assign(vec![(parent, name.to_owned(), None)], moves);
        Ok(())
    }

    /// Makes a change of names, and notes that it is not durable.
    fn assign(&mut self, assigns: Vec<Assign>, moves: Option<Object>) {
        let now = self.tick();
        for (parent, name, object) in &assigns {
            let inode = self.inode_mut(*parent);
            inode.changed = now;
            let Node::Directory(directory) = &mut inode.node else {
                unreachable!("it was looked up as a directory");
            };
            let old = match object {
                Some(object) => directory.names.insert(name.clone(), *object),
                None => directory.names.remove(name),
            };
            for (object, links) in [(old, -1), (*object, 1)] {
                let Some(object) = object else { continue };
                let inode = self.inode_mut(object);
                inode.changed = now;
                if let Node::File(file) = &mut inode.node {
                    file.links = file
                        .links
                        .checked_add_signed(links)
                        .expect("links are counted");
                }
            }
        }
        self.units.push(Unit {
            assigns,
            moves,
            doomed: false,
        });
    }

    pub fn write(&mut self, object: Object, offset: usize, bytes: &[u8]) {
        let now = self.tick();
        let write = Write {
            offset,
            bytes: Some(bytes.into()),
            doomed: false,
        };
        self.change(object, write, now);
    }

    pub fn set_len(&mut self, object: Object, length: usize) {
        let now = self.tick();
        let write = Write {
            offset: length,
            bytes: None,
            doomed: false,
        };
        self.change(object, write, now);
    }

    fn change(&mut self, object: Object, write: Write, now: SystemTime) {
        self.inode_mut(object).changed = now;
        let file = self.file_mut(object);
        write.apply(Arc::make_mut(&mut file.bytes));
        file.modified = now;
        file.writes.push(write);
    }

    pub fn touch(&mut self, object: Object, time: SystemTime) {
        let now = self.tick();
        self.inode_mut(object).changed = now;
        self.file_mut(object).modified = time;
    }

    /// Takes a lock, unless somebody else's is in the way.
    pub fn lock(&mut self, object: Object, process: usize, mode: Mode) -> Option<u64> {
        let in_the_way = |lock: &Lock| {
            lock.object == object && (mode == Mode::Exclusive || lock.mode == Mode::Exclusive)
        };
        if self.locks.iter().any(in_the_way) {
            return None;
        }
        let id = self
            .tick()
            .duration_since(UNIX_EPOCH)
            .expect("clocks are later")
            .as_nanos() as u64;
        self.locks.push(Lock {
            id,
            object,
            process,
            mode,
        });
        Some(id)
    }

    pub fn unlock(&mut self, id: u64) {
        self.locks.retain(|lock| lock.id != id);
    }

    /// A process is gone, and its locks with it.
    pub fn unlock_all(&mut self, process: usize) {
        self.locks.retain(|lock| lock.process != process);
    }
}
