//! What a program sees of the world, and what a test does.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use mentat_sync::disk::{Kind, Listed, Meta, Owner, Place};
use rustix::io::Errno;

use super::world::{Node, Object, ROOT, Synced, World};

impl World {
    /// What stands at this place.
    pub fn at(&self, place: &Place) -> io::Result<Object> {
        let mut here = ROOT;
        for part in place.as_str().split('/').filter(|part| !part.is_empty()) {
            let found = self.directory(here)?.names.get(part);
            here = *found.ok_or(Errno::NOENT)?;
        }
        Ok(here)
    }

    /// The names at this place; none where it is no directory.
    pub fn names(&self, place: &Place) -> Vec<String> {
        self.at(place)
            .and_then(|object| Ok(self.directory(object)?.names.keys().cloned().collect()))
            .unwrap_or_default()
    }

    /// The bytes of the file at this place.
    pub fn read_file(&self, place: &Place) -> Option<Arc<Vec<u8>>> {
        let file = self
            .at(place)
            .and_then(|object| self.file(object).map(|file| file.bytes.clone()));
        file.ok()
    }

    /// Every file below this place, with its bytes and time.
    pub fn files_below(&self, place: &Place) -> Vec<(Place, Arc<Vec<u8>>, SystemTime)> {
        let mut found = Vec::new();
        for name in self.names(place) {
            let inner = place.join(&name);
            match self.at(&inner).map(|object| &self.inodes[object].node) {
                Ok(Node::File(file)) => found.push((inner, file.bytes.clone(), file.modified)),
                _ => found.extend(self.files_below(&inner)),
            }
        }
        found
    }

    /// A directory and all below it, to be synced.
    pub fn below(&self, object: Object) -> Vec<Synced> {
        match &self.inodes[object].node {
            Node::File(_) => vec![Synced::File(object)],
            Node::Directory(directory) => {
                let inner = directory
                    .names
                    .values()
                    .flat_map(|inner| self.below(*inner));
                inner.chain([Synced::Directory(object)]).collect()
            }
        }
    }

    pub fn meta(&self, object: Object) -> Meta {
        let inode = &self.inodes[object];
        let (kind, bytes, links, modified, mode) = match &inode.node {
            Node::File(file) => (
                Kind::File,
                file.bytes.len() as u64,
                file.links,
                file.modified,
                0o600,
            ),
            Node::Directory(_) => (Kind::Directory, 0, 2, inode.changed, 0o700),
        };
        Meta {
            kind,
            bytes,
            inode: inode.number,
            device: 1,
            links,
            modified,
            changed: inode.changed,
            born: Some(inode.born),
            mode,
            owner: Owner { user: 0, group: 0 },
        }
    }

    pub fn list(&self, place: &Place) -> io::Result<Vec<Listed>> {
        let directory = self.directory(self.at(place)?)?;
        let entries = directory.names.iter().map(|(name, object)| Listed {
            name: name.clone(),
            kind: match self.inodes[*object].node {
                Node::File(_) => Kind::File,
                Node::Directory(_) => Kind::Directory,
            },
        });
        Ok(entries.collect())
    }
}
