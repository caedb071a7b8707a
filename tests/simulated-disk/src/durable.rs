//! How things become durable: what a sync covers, what it pretends to on a lying disk, and what a
//! failed one dooms.

use std::sync::Arc;

use super::world::{Lie, Node, Object, ROOT, Synced, Unit, World, Write};

impl World {
    fn lies_about(&self, unit: &Unit) -> bool {
        let named_head = || unit.assigns.iter().any(|(_, name, _)| name == "HEAD");
        self.lies.iter().any(|lie| match lie {
            Lie::Names => true,
            Lie::NewDirectories => unit.moves.is_some(),
            Lie::HeadName => named_head(),
            Lie::Contents | Lie::HeadContents => false,
        })
    }

    fn lies_about_file(&self, object: Object) -> bool {
        // HEAD is the only file of 37 bytes: an id and a newline.
        let head = || self.file(object).is_ok_and(|file| file.bytes.len() == 37);
        self.lies.contains(&Lie::Contents) || (self.lies.contains(&Lie::HeadContents) && head())
    }

    pub fn sync(&mut self, what: Synced) {
        match what {
            Synced::File(object) if self.lies_about_file(object) => {}
            Synced::File(object) => {
                let file = self.file_mut(object);
                file.writes.retain(|write| {
                    if !write.doomed {
                        write.apply(Arc::make_mut(&mut file.durable));
                    }
                    write.doomed
                });
                file.durable_modified = file.modified;
            }
            Synced::Directory(object) => {
                self.settle_units(&|unit| {
                    unit.assigns.iter().any(|(parent, ..)| *parent == object)
                });
            }
        }
    }

    pub fn sync_everything(&mut self) {
        let files = (0..self.inodes.len()).filter(|object| self.file(*object).is_ok());
        let files: Vec<Object> = files.collect();
        for object in files {
            self.sync(Synced::File(object));
        }
        self.settle_units(&|_| true);
    }

    /// What is in this directory now and below it, and nothing else: less than `syncfs` does.
    pub fn sync_below(&mut self, top: Object) {
        if top == ROOT {
            return self.sync_everything();
        }
        let mut left = vec![top];
        while let Some(object) = left.pop() {
            match self.directory(object) {
                Ok(directory) => {
                    left.extend(directory.names.values());
                    self.sync(Synced::Directory(object));
                }
                Err(_) => self.sync(Synced::File(object)),
            }
        }
    }

    fn settle_units(&mut self, chosen: &dyn Fn(&Unit) -> bool) {
        let mut rest: Vec<Unit> = Vec::new();
        for unit in std::mem::take(&mut self.units) {
            if unit.doomed || !chosen(&unit) || self.lies_about(&unit) {
                rest.push(unit);
                continue;
            }
            for (parent, name, object) in &unit.assigns {
                let Node::Directory(directory) = &mut self.inode_mut(*parent).node else {
                    unreachable!("units assign in directories");
                };
                match object {
                    Some(object) => directory.durable.insert(name.clone(), *object),
                    None => directory.durable.remove(name),
                };
                // What an older unit says of this name is superseded.
                for older in &mut rest {
                    older.assigns.retain(|(p, n, _)| (p, n) != (parent, name));
                }
            }
        }
        rest.retain(|unit| !unit.assigns.is_empty());
        self.units = rest;
    }

    /// A sync of this failed: whatever was not durable never will be.
    pub fn doom(&mut self, what: Synced) {
        match what {
            Synced::File(object) => {
                for write in &mut self.file_mut(object).writes {
                    write.doomed = true;
                }
            }
            Synced::Directory(object) if self.doom_names => {
                for unit in &mut self.units {
                    unit.doomed |= unit.assigns.iter().any(|(parent, ..)| *parent == object);
                }
            }
            Synced::Directory(_) => {}
        }
    }
}

impl Write {
    pub fn apply(&self, file: &mut Vec<u8>) {
        match &self.bytes {
            Some(bytes) => {
                let end = self.offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[self.offset..end].copy_from_slice(bytes);
            }
            None => file.resize(self.offset, 0),
        }
    }
}
