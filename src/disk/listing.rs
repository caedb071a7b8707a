//! The entries of a directory, as they are at one moment.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{FileType, RawDir};

use super::Kind;
use crate::model::limits;

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Lossy where the name is not UTF-8, which no name of a store is.
    pub name: String,
    pub kind: Kind,
}

/// Calls `each` with each entry of this directory but `.` and `..`, until it says `false`. `kind_of` says what a name
/// is where the file system does not say so in the listing; `None`: it is gone.
///
/// A directory of up to [`limits::LISTING_BYTES`] is read by one `getdents64(2)`, during which Linux holds the directory's
/// lock, so that whatever is renamed meanwhile is there under one of its names. In smaller pieces, as libraries read, an entry whose new
/// name comes earlier than its old one may be in none of them (POSIX, `readdir`: it is unspecified).
pub(super) fn list(
    directory: impl AsFd,
    kind_of: impl Fn(&str) -> io::Result<Option<Kind>>,
    each: &mut dyn FnMut(Listed) -> bool,
) -> io::Result<()> {
    let length = rustix::fs::fstat(&directory)?.st_size;
    let room = usize::try_from(length).unwrap_or(usize::MAX);
    // An entry takes up to three times as much here as on disk: 24 bytes and the name, for 8 and the name; tmpfs counts 20 for any.
    let room =
        (room.saturating_mul(4)).clamp(limits::LISTING_BYTES_AT_LEAST, limits::LISTING_BYTES);
    let mut buffer = Vec::with_capacity(room);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            // It was removed meanwhile.
            Err(rustix::io::Errno::NOENT) => break,
            entry => entry?,
        };
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = match entry.file_type() {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Unknown => match kind_of(&name)? {
                Some(kind) => kind,
                None => continue,
            },
            _ => Kind::Other,
        };
        if !each(Listed { name, kind }) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    /// How often `name` is in each of so many listings of a directory, in which that name becomes another and the same again meanwhile.
    fn seen_amid_renames(list: impl Fn(&File, &mut dyn FnMut(&str)) + Sync) -> Vec<usize> {
        let top = tempfile::tempdir().unwrap();
        let place = |name: &str| top.path().join(name);
        for number in 0..200 {
            fs::create_dir(place(&format!("{number:036}"))).unwrap();
        }
        let (name, other) = ("a user", "the same user by a name that is longer");
        fs::create_dir(place(name)).unwrap();
        let look = |_| {
            let mut seen = 0;
            let directory = File::open(top.path()).unwrap();
            list(&directory, &mut |found| {
                seen += usize::from(found == name || found == other)
            });
            seen
        };
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| (0..3_000).map(look).collect());
            while !looks.is_finished() {
                rustix::fs::rename(place(name), place(other)).unwrap();
                rustix::fs::rename(place(other), place(name)).unwrap();
            }
            looks.join().unwrap()
        })
    }

    /// As users are: a look at all of them sees each, whatever is renamed meanwhile.
    #[test]
    fn what_is_renamed_during_a_listing_is_in_it_once() {
        let looks = seen_amid_renames(|directory, found| {
            let mut each = |entry: Listed| {
                found(&entry.name);
                true
            };
            super::list(directory, |_| Ok(None), &mut each).unwrap();
        });
        assert!(looks.iter().all(|seen| *seen == 1));
    }

    /// So the test above notices.
    #[test]
    fn a_listing_in_small_pieces_does_not_see_all() {
        let looks = seen_amid_renames(|directory, found| {
            for entry in rustix::fs::Dir::read_from(directory).unwrap() {
                found(entry.unwrap().file_name().to_str().unwrap());
            }
        });
        assert!(looks.iter().any(|seen| *seen != 1));
    }
}
