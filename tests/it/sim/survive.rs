//! What a power cut leaves: any subset of the changes of names that were not durable, and of each
//! file's bytes what was synced and anything at all of the rest.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::world::{Directory, File, Node, Object, ROOT, Unit, World};

/// Numbers that look random and follow from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
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

    /// Whether anything could be lost by a cut.
    pub fn is_durable(&self) -> bool {
        let durable = |node: &Node| match node {
            Node::File(file) => file.writes.is_empty() && file.modified == file.durable_modified,
            Node::Directory(_) => true,
        };
        self.units.is_empty() && self.inodes.values().all(|inode| durable(&inode.node))
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
                for earlier in 0..later {
                    kept[earlier] |= self.units[earlier].moves == moved;
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
    fn rebuilt(
        &self,
        kept: &[Unit],
        contents: &mut dyn FnMut(&File) -> (Arc<Vec<u8>>, std::time::SystemTime),
    ) -> World {
        let mut names: BTreeMap<Object, BTreeMap<String, Object>> = BTreeMap::new();
        for (object, inode) in &self.inodes {
            if let Node::Directory(directory) = &inode.node {
                names.insert(*object, directory.durable.clone());
            }
        }
        for (parent, name, object) in kept.iter().flat_map(|unit| &unit.assigns) {
            let names = names.get_mut(parent).expect("units assign in directories");
            match object {
                Some(object) => names.insert(name.clone(), *object),
                None => names.remove(name),
            };
        }
        let mut world = World::new(self.reading);
        world.lies.clone_from(&self.lies);
        world.doom_names = self.doom_names;
        world.clock = self.clock;
        world.ticks = self.ticks;
        world.next = self.next;
        let mut links: BTreeMap<Object, u64> = BTreeMap::new();
        let mut reach = vec![ROOT];
        while let Some(object) = reach.pop() {
            let links = links.entry(object).or_default();
            *links += 1;
            if *links == 1 {
                reach.extend(names.get(&object).into_iter().flat_map(BTreeMap::values));
            } else {
                assert!(!names.contains_key(&object), "a directory has two names");
            }
        }
        for (count, (object, links)) in links.into_iter().enumerate() {
            let mut inode = self.inodes[&object].clone();
            inode.number = 2 + count as u64;
            match &mut inode.node {
                Node::Directory(directory) => {
                    let names = names.remove(&object).expect("each has its names");
                    *directory = Directory {
                        durable: names.clone(),
                        names,
                    };
                }
                Node::File(file) => {
                    (file.bytes, file.modified) = contents(file);
                    file.durable = file.bytes.clone();
                    file.durable_modified = file.modified;
                    file.writes.clear();
                    (file.links, file.open) = (links, 0);
                }
            }
            world.inodes.insert(object, inode);
        }
        world
    }

    /// The same for worlds that look the same to a program that opens them.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash_below(ROOT, &mut hasher);
        hasher.finish()
    }

    fn hash_below(&self, object: Object, hasher: &mut DefaultHasher) {
        match &self.inodes[&object].node {
            Node::File(file) => (&file.bytes, file.modified).hash(hasher),
            Node::Directory(directory) => {
                directory.names.len().hash(hasher);
                for (name, object) in &directory.names {
                    name.hash(hasher);
                    self.hash_below(*object, hasher);
                }
            }
        }
    }
}

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
