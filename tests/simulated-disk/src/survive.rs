//! What a power cut leaves: any subset of the changes of names that were not durable, and of each
//! file's bytes what was synced and anything at all of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::world::{Directory, File, Inode, Node, Object, ROOT, Unit, World};

/// Numbers that look random and follow from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next of them; unlike an iterator's they never end.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below this one, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True so many times out of 16.
    pub fn chance(&mut self, of_16: usize) -> bool {
        self.below(16) < of_16
    }
}

impl World {
    /// Nothing is left to lose: every cut from here on leaves all of this.
    pub fn settle(&mut self) {
        *self = self.rebuilt(&self.units.clone(), &mut |file| {
            (file.bytes.clone(), file.modified)
        });
    }

    /// A state that a power cut at this moment may leave. Seed 0 is the one where all is kept, seed
    /// 1 the one where nothing is that need not be; the others are drawn.
    pub fn survivor(&self, seed: u64) -> World {
        let mut random = Random(seed);
        let kept: Vec<Unit> = match seed {
            0 => self.units.clone(),
            1 => Vec::new(),
            _ => self.draw_units(&mut random),
        };
        let how = match seed {
            0 => Contents::Kept,
            1 => Contents::Lost,
            _ => *[
                Contents::Kept,
                Contents::Lost,
                Contents::Drawn,
                Contents::Drawn,
            ]
            .get(random.below(4))
            .expect("there are four"),
        };
        self.rebuilt(&kept, &mut |file| match how {
            Contents::Kept => (file.bytes.clone(), file.modified),
            Contents::Lost => (file.durable.clone(), file.durable_modified),
            Contents::Drawn => {
                let times = [file.modified, file.durable_modified];
                (torn(file, &mut random), times[random.below(2)])
            }
        })
    }

    /// Whether nothing could be lost by a cut.
    pub fn is_durable(&self) -> bool {
        let durable = |inode: &Arc<Inode>| match &inode.node {
            Node::File(file) => file.is_durable(),
            Node::Directory(_) => true,
        };
        self.units.is_empty() && self.inodes.iter().all(durable)
    }

    fn draw_units(&self, random: &mut Random) -> Vec<Unit> {
        let likely = [2, 8, 14, 15][random.below(4)];
        // Now and then a directory keeps all of its changes or none.
        let whole = random.chance(4);
        let mut coins: BTreeMap<Object, bool> = BTreeMap::new();
        let mut kept: Vec<bool> = (self.units.iter())
            .map(|unit| {
                if whole {
                    let parent = unit.assigns[0].0;
                    *coins.entry(parent).or_insert_with(|| random.chance(8))
                } else {
                    random.chance(likely)
                }
            })
            .collect();
        // A directory that was moved twice cannot have been moved the second time only.
        for later in 0..self.units.len() {
            let moved = self.units[later].moves;
            if kept[later] && moved.is_some() {
                for (kept, earlier) in kept[..later].iter_mut().zip(&self.units) {
                    *kept |= earlier.moves == moved;
                }
            }
        }
        let both = self.units.iter().zip(kept);
        both.filter(|(_, kept)| *kept)
            .map(|(unit, _)| unit.clone())
            .collect()
    }

    /// The world with the durable names and those of these units, and with these bytes and times;
    /// all of it durable, and no process in it.
    fn rebuilt(&self, kept: &[Unit], contents: &mut dyn FnMut(&File) -> Left) -> World {
        let mut world = self.clone();
        world.units.clear();
        for (object, inode) in self.inodes.iter().enumerate() {
            if let Node::Directory(directory) = &inode.node
                && directory.names != directory.durable
            {
                let names = directory.durable.clone();
                world.set_names(object, names);
            }
        }
        for (parent, name, object) in kept.iter().flat_map(|unit| &unit.assigns) {
            let Node::Directory(directory) = &world.inodes[*parent].node else {
                unreachable!("units assign in directories");
            };
            let mut names = directory.names.clone();
            match object {
                Some(object) => names.insert(name.clone(), *object),
                None => names.remove(name),
            };
            world.set_names(*parent, names);
        }
        let links = world.count_links();
        let nothing = Arc::new(Inode::new(
            Node::Directory(Directory::default()),
            0,
            self.clock,
        ));
        let mut numbers = BTreeSet::new();
        for (object, links) in links.into_iter().enumerate() {
            if links == 0 {
                world.inodes[object] = nothing.clone();
                continue;
            }
            let inode = &mut world.inodes[object];
            if let Node::File(file) = &inode.node
                && !(file.is_durable() && (file.links, file.open) == (links, 0))
            {
                let (bytes, modified) = contents(file);
                let inode = Arc::make_mut(inode);
                *inode.hash.get_mut() = 0;
                let Node::File(file) = &mut inode.node else {
                    unreachable!("it was one just now");
                };
                (file.bytes, file.modified) = (bytes, modified);
                file.durable = file.bytes.clone();
                file.durable_modified = file.modified;
                file.writes.clear();
                (file.links, file.open) = (links, 0);
            }
            if !numbers.insert(inode.number) {
                // A file that came back, and one that got its number meanwhile.
                Arc::make_mut(inode).number = 1_000_000 + object as u64;
            }
        }
        world
    }

    fn set_names(&mut self, object: Object, names: BTreeMap<String, Object>) {
        let inode = Arc::make_mut(&mut self.inodes[object]);
        let durable = names.clone();
        inode.node = Node::Directory(Directory { names, durable });
    }

    /// How many names each object has, seen from the root.
    fn count_links(&self) -> Vec<u64> {
        let mut links = vec![0; self.inodes.len()];
        let mut reach = vec![ROOT];
        while let Some(object) = reach.pop() {
            links[object] += 1;
            if let Node::Directory(directory) = &self.inodes[object].node {
                assert_eq!(links[object], 1, "a directory has two names");
                reach.extend(directory.names.values());
            }
        }
        links
    }

    /// The same for worlds that look the same to a program that opens them now: names but those of
    /// temporary things, bytes, and times by the hour; of `trash/` only whether it is there.
    pub fn fingerprint(&self) -> u64 {
        self.hash_below(ROOT, false)
    }

    /// The same for worlds that look the same and of which the same may be lost, as far as a quick look
    /// tells.
    pub fn volatile_fingerprint(&self) -> u64 {
        let mut hash = self.fingerprint();
        for unit in &self.units {
            // In any order: the sum.
            let mut one = Fast(unit.assigns.len() as u64);
            for (_, name, object) in &unit.assigns {
                if !is_random(name) {
                    name.hash(&mut one);
                }
                object
                    .map(|object| self.hash_below(object, true))
                    .hash(&mut one);
            }
            hash = hash.wrapping_add(one.finish());
        }
        for inode in &self.inodes {
            if let Node::File(file) = &inode.node
                && !file.is_durable()
            {
                let mut one = Fast(file.writes.len() as u64);
                (&file.bytes, &file.durable).hash(&mut one);
                hash = hash.wrapping_add(one.finish());
            }
        }
        hash
    }

    fn hash_below(&self, object: Object, shallow: bool) -> u64 {
        let inode = &self.inodes[object];
        match &inode.node {
            Node::File(file) => {
                let known = inode.hash.load(Ordering::Relaxed);
                if known != 0 {
                    return known;
                }
                let mut hasher = Fast(1);
                let since = file.modified.duration_since(UNIX_EPOCH);
                (&file.bytes, since.map_or(0, |since| since.as_secs() / 3600)).hash(&mut hasher);
                inode.hash.store(hasher.finish(), Ordering::Relaxed);
                hasher.finish()
            }
            Node::Directory(_) if shallow => 2,
            Node::Directory(directory) => {
                let mut hash = directory.names.len() as u64;
                for (name, object) in &directory.names {
                    let mut one = Fast(self.hash_below(*object, name == "trash"));
                    if !is_random(name) {
                        name.hash(&mut one);
                    }
                    hash = hash.wrapping_add(one.finish());
                }
                hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            }
        }
    }
}

/// Whether a name ends in a random number: 16 hex digits alone, or after a point.
fn is_random(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.len() == 16 && last.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A hash that is quick in a debug build (FNV-1a, eight bytes at a time).
struct Fast(u64);

impl Hasher for Fast {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x0100_0000_01b3_0d4f);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

impl File {
    /// Nothing of it can be lost.
    fn is_durable(&self) -> bool {
        self.writes.is_empty() && self.modified == self.durable_modified
    }
}

/// The bytes and the time that a file has afterwards.
type Left = (Arc<Vec<u8>>, SystemTime);

#[derive(Clone, Copy)]
enum Contents {
    Kept,
    Lost,
    Drawn,
}

/// What may be left of a file's bytes: all, or what was synced with some of the later writes, or
/// the new length without the new bytes.
fn torn(file: &File, random: &mut Random) -> Arc<Vec<u8>> {
    let mut bytes = Vec::clone(&file.durable);
    match random.below(5) {
        0 => return file.bytes.clone(),
        1 => return file.durable.clone(),
        2 => {
            // The first writes, the last of them torn.
            let kept = random.below(file.writes.len() + 1);
            for (index, write) in file.writes.iter().take(kept).enumerate() {
                let mut write = write.clone();
                if let (true, Some(all)) = (index + 1 == kept, &write.bytes) {
                    write.bytes = Some(all[..random.below(all.len() + 1)].into());
                }
                write.apply(&mut bytes);
            }
        }
        3 => {
            // Any of the writes.
            for write in &file.writes {
                if random.chance(8) {
                    write.apply(&mut bytes);
                }
            }
        }
        _ => {
            // The length alone: zeroes, or what was on the disk before.
            let stale = if random.chance(8) { 0 } else { b'%' };
            bytes.resize(file.bytes.len(), stale);
        }
    }
    Arc::new(bytes)
}
