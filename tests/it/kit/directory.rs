//! A directory as `find` and `stat` show it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What is known of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// `d`, `f` or `l`.
    pub kind: char,
    pub mode: u32,
    pub bytes: u64,
    pub inode: u64,
}

/// What stands under this name itself; a symlink is not followed.
#[track_caller]
pub fn look(path: &Path) -> Look {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Look {
        kind: match meta.file_type() {
            kind if kind.is_dir() => 'd',
            kind if kind.is_symlink() => 'l',
            _ => 'f',
        },
        mode: meta.permissions().mode() & 0o7777,
        bytes: meta.len(),
        inode: meta.ino(),
    }
}

/// Everything below a directory, by its path from there, in order.
#[track_caller]
pub fn tree(top: &Path) -> BTreeMap<String, Look> {
    let mut found = BTreeMap::new();
    let mut left = vec![top.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a directory that can be read") {
            let path = entry.expect("an entry that can be read").path();
            let seen = look(&path);
            if seen.kind == 'd' {
                left.push(path.clone());
            }
            let below = path.strip_prefix(top).expect("it is below the top");
            found.insert(below.to_str().expect("names are UTF-8").to_owned(), seen);
        }
    }
    found
}
