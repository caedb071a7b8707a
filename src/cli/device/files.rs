//! The files of a commit: looked at, and then put.
//!
//! An entry names each chunk of each file, in 64 KiB: some 12 GiB of files. More is refused by the sizes of the files before
//! anything is put; of a pipe that is only known on the way.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;

use super::opened::OpenReplica;
use super::told::{DeviceTrouble, Outcome};
use crate::client::{Error, JournalBody, JournalFile};
use crate::model::{ChunkDigest, limits};

/// The name of a file whose bytes came from standard input.
const STDIN_NAME: &str = "stdin";

/// The bytes of a chunk.
const CHUNK: u64 = limits::SLICE_BYTES as u64;

/// More chunks than any entry can name: each takes a digit and a comma.
const MORE_THAN_ANY: u64 = limits::JOURNAL_BYTES as u64 / 2;

/// Files that are put one after the other, with the chunks of all.
struct FilesSoFar<'a> {
    opened: &'a OpenReplica,
    note: Option<&'a str>,
    files: Vec<JournalFile>,
    chunks: Vec<ChunkDigest>,
    places: HashMap<ChunkDigest, u32>,
}

/// A file that is to be put: its bytes are known where it is no pipe.
struct FileToPut<'a> {
    path: &'a Path,
    name: &'a str,
    bytes: Option<u64>,
}

impl FileToPut<'_> {
    /// The chunks that it is known to have.
    fn chunks(&self) -> u64 {
        self.bytes.unwrap_or_default().div_ceil(CHUNK)
    }
}

/// Whether standard input is meant.
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Puts all these files. Looks at all of them first, and puts none where one cannot be named.
pub fn gather(
    opened: &OpenReplica,
    note: Option<&str>,
    files: &[PathBuf],
) -> Outcome<(JournalBody, Vec<ChunkDigest>)> {
    let mut looked: Vec<FileToPut<'_>> = Vec::new();
    for path in files {
        let file = look(path)?;
        if looked.iter().any(|other| other.name == file.name) {
            return Err(DeviceTrouble::usage(format!(
                "two files of one entry are called {:?}",
                file.name
            )));
        }
        looked.push(file);
    }
    let mut gathered = FilesSoFar::none(opened, note);
    gathered.room(&looked)?;
    gathered.tell(&looked);
    for (place, file) in looked.iter().enumerate() {
        let after = &looked[place + 1..];
        match is_stdin(file.path) {
            true => gathered.put(file.name, io::stdin().lock(), after)?,
            false => gathered.put(file.name, open(file.path)?, after)?,
        }
    }
    Ok(gathered.whole())
}

/// Puts what comes from standard input, as one file.
pub fn gather_stream(
    opened: &OpenReplica,
    note: Option<&str>,
    bytes: impl Read,
) -> Outcome<(JournalBody, Vec<ChunkDigest>)> {
    let mut gathered = FilesSoFar::none(opened, note);
    gathered.put(STDIN_NAME, bytes, &[])?;
    Ok(gathered.whole())
}

fn look(path: &Path) -> Outcome<FileToPut<'_>> {
    if is_stdin(path) {
        let (name, bytes) = (STDIN_NAME, None);
        return Ok(FileToPut { path, name, bytes });
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let meta = fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if meta.is_dir() {
        return Err(DeviceTrouble::usage(format!(
            "{} is a directory: name its files, or pack them",
            path.display()
        )));
    }
    let name = name
        .ok_or_else(|| DeviceTrouble::usage(format!("{}: its name is no UTF-8", path.display())))?;
    let bytes = meta.is_file().then_some(meta.len());
    Ok(FileToPut { path, name, bytes })
}

fn open(path: &Path) -> Outcome<File> {
    File::open(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: io::Error) -> DeviceTrouble {
    DeviceTrouble::failed(format!("cannot read {}: {error}", path.display()))
}

impl<'a> FilesSoFar<'a> {
    fn none(opened: &'a OpenReplica, note: Option<&'a str>) -> Self {
        Self {
            opened,
            note,
            files: Vec::new(),
            chunks: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Puts the bytes of one file, as many as leave room for the files after it.
    fn put(&mut self, name: &str, bytes: impl Read, after: &[FileToPut<'_>]) -> Outcome {
        let room = self.room_for(name, after)?;
        let mut bounded = BoundedReader {
            bytes,
            size: 0,
            most: room * CHUNK,
        };
        let put = self.opened.replica.put(&mut bounded);
        if bounded.size > bounded.most {
            return Err(too_many(room));
        }
        let places = put?.into_iter().map(|chunk| {
            *self.places.entry(chunk).or_insert_with(|| {
                self.chunks.push(chunk);
                self.chunks.len() as u32
            })
        });
        self.files.push(JournalFile {
            name: name.to_owned(),
            size: bounded.size,
            chunks: places.collect(),
        });
        Ok(())
    }

    /// Tells how much there is to put, where no file is a pipe.
    fn tell(&self, files: &[FileToPut<'_>]) {
        let bytes = files.iter().map(|file| file.bytes);
        self.opened.bar.will_put(bytes.sum::<Option<u64>>());
    }

    /// Refuses files that are more than the entry can name beside what it has.
    fn room(&self, files: &[FileToPut<'_>]) -> Outcome {
        let Some((last, before)) = files.split_last() else {
            return Ok(());
        };
        let others: u64 = before
            .iter()
            .map(FileToPut::chunks)
            .fold(0, u64::saturating_add);
        let empty = before.iter().map(|file| FileToPut {
            bytes: None,
            ..*file
        });
        let room = self.room_for(last.name, &empty.collect::<Vec<_>>())?;
        match others.saturating_add(last.chunks()) > room {
            true => Err(too_many(room)),
            false => Ok(()),
        }
    }

    /// The most chunks that a file of this name may have, beside what the entry has and these other files.
    fn room_for(&self, name: &str, others: &[FileToPut<'_>]) -> Outcome<u64> {
        let fits = |chunks: u64| -> Outcome<bool> {
            let this = (name, chunks);
            let others = others.iter().map(|file| (file.name, file.chunks()));
            self.fits(&others.chain([this]).collect::<Vec<_>>())
        };
        if !fits(0)? {
            return Err(too_many(0));
        }
        let (mut most, mut too_many) = (0, MORE_THAN_ANY);
        while too_many - most > 1 {
            let middle = most.midpoint(too_many);
            match fits(middle)? {
                true => most = middle,
                false => too_many = middle,
            }
        }
        Ok(most)
    }

    /// Whether an entry can name so many chunks of files of these names beside what it has, where no two are the same.
    fn fits(&self, more: &[(&str, u64)]) -> Outcome<bool> {
        let sum = more.iter().map(|(_, chunks)| chunks);
        if sum.fold(0, |sum: u64, chunks| sum.saturating_add(*chunks)) > MORE_THAN_ANY {
            return Ok(false);
        }
        let mut files = self.files.clone();
        let mut place = self.chunks.len() as u32;
        for (name, chunks) in more {
            let chunks = (0..*chunks).map(|_| {
                place += 1;
                place
            });
            files.push(JournalFile {
                name: (*name).to_owned(),
                chunks: chunks.collect(),
                size: u64::MAX,
            });
        }
        let what = JournalBody::Files(files);
        let entry = self.opened.entry(self.note.map(str::to_owned), what)?;
        match entry.encode() {
            Ok(_) => Ok(true),
            Err(Error::TooLong { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn whole(self) -> (JournalBody, Vec<ChunkDigest>) {
        (JournalBody::Files(self.files), self.chunks)
    }
}

/// The refusal of files of which the last may have so many chunks, and has more.
fn too_many(room: u64) -> DeviceTrouble {
    DeviceTrouble::failed(format!(
        "more than one entry can name, with its note in {} bytes: beside the rest of it there is room for {room} chunks of 1 MiB, \
         {}; nothing is committed",
        limits::JOURNAL_BYTES,
        HumanBytes(room * CHUNK),
    ))
    .hint("cut it into parts (`split`), and commit each")
}

/// A reader that counts, and fails where there is more than there may be.
struct BoundedReader<R> {
    bytes: R,
    size: u64,
    most: u64,
}

impl<R: Read> Read for BoundedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.size += read as u64;
        match self.size > self.most {
            true => Err(io::Error::other("it is longer than its entry can name")),
            false => Ok(read),
        }
    }
}
