//! The tar of a bundle: headers as we write them, and a reader that takes nothing on trust.
//!
//! Written is ustar (POSIX.1-1988) and nothing else. Read is what GNU tar, bsdtar, Python's tarfile
//! and Rust's `tar` make of plain files: ustar, GNU and old headers, and PAX headers (POSIX.1-2001)
//! that change nothing. What one tar program could take for something else is refused.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::model::limits;

/// The unit of a tar: each header, and each file with its padding, is a multiple.
pub const BLOCK: usize = 512;

/// The end of a tar.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The header of a regular file: mode 0644, owner 0, time 0.
pub fn header(name: &str, bytes: u64) -> [u8; BLOCK] {
    let mut header = Header::new_ustar();
    header
        .set_path(name)
        .expect("every name of ours is relative and shorter than 100 bytes");
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    *header.as_bytes()
}

/// How many zeroes follow so many bytes.
pub fn padding(bytes: u64) -> usize {
    (bytes.wrapping_neg() % BLOCK as u64) as usize
}

/// Why a tar is read no further.
#[derive(Debug)]
pub enum Trouble {
    /// The tar is not one that a bundle may be, and why.
    Bad(String),
    /// The body ended before the tar did.
    Short,
    /// The sender did not get to its end.
    Cut(io::Error),
}

/// Refuses the tar, in words for its sender.
pub fn bad<T>(why: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Bad(why.into()))
}

/// A regular file in a tar.
#[derive(Debug, PartialEq, Eq)]
pub struct TarMember {
    pub name: String,
    pub bytes: u64,
}

/// The members of a tar, one after the other.
pub struct Members<'a> {
    from: &'a mut dyn Read,
    buffer: Vec<u8>,
    /// The part of the buffer that is still to be read.
    ready: std::ops::Range<usize>,
    /// How much of the present member's contents is still to be read, and of the zeroes after it.
    left: u64,
    padding: usize,
    /// A PAX header stands before the next member.
    pax: Option<Pax>,
    /// The first block is still to be read: the body may be no tar at all.
    first: bool,
}

/// The records of a PAX header that must agree with the header after it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pax {
    path: Option<Vec<u8>>,
    bytes: Option<u64>,
}

impl<'a> Members<'a> {
    /// The members of the tar that is read from here.
    pub fn new(from: &'a mut dyn Read) -> Self {
        Self {
            from,
            buffer: vec![0; limits::PIECE],
            ready: 0..0,
            left: 0,
            padding: 0,
            pax: None,
            first: true,
        }
    }

    /// The next member, once the one before has been read to its end; `None` after the two zero
    /// blocks, when nothing but zeroes has followed them.
    pub fn next(&mut self) -> Result<Option<TarMember>, Trouble> {
        assert_eq!(self.left, 0, "a member is read to its end");
        self.skip_padding()?;
        loop {
            let block = self.block()?;
            if block == [0; BLOCK] {
                if self.pax.is_some() {
                    return bad("a PAX header stands before the end");
                }
                if self.block()? != [0; BLOCK] {
                    return bad("one zero block does not end a tar");
                }
                return self.trailer().map(|()| None);
            }
            let header = Header::from_byte_slice(&block);
            check_sum(&block)?;
            let bytes = header
                .entry_size()
                .or_else(|_| bad("a size that is no number"))?;
            let name = header.path_bytes();
            match header.entry_type() {
                EntryType::Regular => {
                    let name = self.agreed(&name, bytes)?;
                    self.left = bytes;
                    self.padding = padding(bytes);
                    return Ok(Some(TarMember { name, bytes }));
                }
                EntryType::Directory => {
                    let name = self.agreed(&name, bytes)?;
                    check_directory(&name, bytes)?;
                }
                EntryType::XHeader if self.pax.is_none() => {
                    self.pax = Some(self.pax(bytes)?);
                }
                EntryType::XGlobalHeader => {
                    let global = self.pax(bytes)?;
                    if global != Pax::default() {
                        return bad("a global PAX header that names or sizes members");
                    }
                }
                other => {
                    let name = String::from_utf8_lossy(&name);
                    return bad(format!(
                        "{name:?} is not a regular file (tar type {:?})",
                        char::from(other.as_byte())
                    ));
                }
            }
        }
    }

    /// The name of a header, if the PAX header before it says nothing else.
    fn agreed(&mut self, name: &[u8], bytes: u64) -> Result<String, Trouble> {
        let pax = self.pax.take().unwrap_or_default();
        if pax.path.is_some_and(|path| path != name) || pax.bytes.is_some_and(|size| size != bytes)
        {
            return bad("a PAX header gives a member another name or size");
        }
        match String::from_utf8(name.to_vec()) {
            Ok(name) => Ok(name),
            Err(_) => bad("a name that is no text"),
        }
    }

    /// The next piece of the present member; empty at its end.
    pub fn piece(&mut self) -> Result<&[u8], Trouble> {
        if self.left == 0 {
            return Ok(&[]);
        }
        if self.ready.is_empty() {
            self.fill()?;
        }
        let length = (self.ready.len() as u64).min(self.left) as usize;
        let start = self.ready.start;
        self.ready.start += length;
        self.left -= length as u64;
        Ok(&self.buffer[start..start + length])
    }

    /// All of the present member, which the caller knows to be small.
    pub fn whole(&mut self) -> Result<Vec<u8>, Trouble> {
        let mut whole = Vec::with_capacity(self.left as usize);
        while self.left > 0 {
            whole.extend_from_slice(self.piece()?);
        }
        Ok(whole)
    }

    /// All of the present member, of `bytes`, which is refused where it is longer than `limit`.
    pub fn whole_within(&mut self, bytes: u64, limit: usize) -> Result<Vec<u8>, Trouble> {
        if bytes > limit as u64 {
            return bad(format!("a member that is longer than {limit} bytes"));
        }
        self.whole()
    }

    fn fill(&mut self) -> Result<(), Trouble> {
        if self.try_fill()? {
            return Ok(());
        }
        cut_off()
    }

    /// Reads more; `false` at the end of the body.
    fn try_fill(&mut self) -> Result<bool, Trouble> {
        loop {
            match self.from.read(&mut self.buffer) {
                Ok(read) => {
                    self.ready = 0..read;
                    return Ok(read > 0);
                }
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Trouble::Cut(error)),
            }
        }
    }

    fn block(&mut self) -> Result<[u8; BLOCK], Trouble> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK && (!self.ready.is_empty() || self.try_fill()?) {
            let length = self.ready.len().min(BLOCK - filled);
            let from = &self.buffer[self.ready.start..self.ready.start + length];
            block[filled..filled + length].copy_from_slice(from);
            self.ready.start += length;
            filled += length;
        }
        if std::mem::take(&mut self.first) {
            check_beginning(&block[..filled])?;
        }
        if filled < BLOCK {
            return cut_off();
        }
        Ok(block)
    }

    fn skip_padding(&mut self) -> Result<(), Trouble> {
        while self.padding > 0 {
            if self.ready.is_empty() {
                self.fill()?;
            }
            let length = self.ready.len().min(self.padding);
            let start = self.ready.start;
            self.ready.start += length;
            self.padding -= length;
            if self.buffer[start..start + length].iter().any(|&b| b != 0) {
                return bad("something other than zeroes fills up a member's last block");
            }
        }
        Ok(())
    }

    /// Reads what follows the end: tar programs write in records, which zeroes fill up.
    fn trailer(&mut self) -> Result<(), Trouble> {
        let mut read = 0;
        loop {
            if self.buffer[self.ready.clone()].iter().any(|&b| b != 0) {
                return bad("something follows the end");
            }
            read += self.ready.len();
            if read > limits::BUNDLE_TRAILER {
                return bad("too much follows the end");
            }
            if !self.try_fill()? {
                return Ok(());
            }
        }
    }

    fn pax(&mut self, bytes: u64) -> Result<Pax, Trouble> {
        if bytes > limits::PAX_BYTES {
            return bad("a PAX header that is too long");
        }
        self.left = bytes;
        self.padding = padding(bytes);
        let records = self.whole()?;
        self.skip_padding()?;
        match parse_pax(&records) {
            Ok(pax) => Ok(pax),
            Err(why) => bad(why),
        }
    }
}

/// The words for a body that ended before the tar did.
pub const CUT_OFF: &str = "cut off: a tar ends with two zero blocks";

fn cut_off<T>() -> Result<T, Trouble> {
    Err(Trouble::Short)
}

/// Checks that these first bytes, a block unless the body is shorter, are not those of another format:
/// "cut off" or "a wrong checksum" would send its reader looking in the wrong place.
fn check_beginning(start: &[u8]) -> Result<(), Trouble> {
    if start.is_empty() {
        return bad("the body is empty; a tar ends with two zero blocks");
    }
    let other = OTHER_FORMATS
        .iter()
        .find(|(magic, ..)| start.starts_with(magic));
    match other {
        Some((_, format, mend)) => bad(format!("this is {format}, not a tar: {mend}")),
        None => Ok(()),
    }
}

/// How bodies begin that are sent in place of a tar, what they are, and what to do about it. The first
/// byte of each is none that a name in a bundle begins with.
const OTHER_FORMATS: [(&[u8], &str, &str); 9] = [
    (b"\x1f\x8b", "gzip", UNCOMPRESSED),
    (b"\x28\xb5\x2f\xfd", "zstd", UNCOMPRESSED),
    (b"\xfd7zXZ\0", "xz", UNCOMPRESSED),
    (b"BZh", "bzip2", UNCOMPRESSED),
    (b"PK\x03\x04", "a zip archive", "send a tar"),
    (
        b"\xef\xbb\xbf",
        "text (with a byte order mark)",
        "send a tar",
    ),
    (b"{", "JSON", "send a tar"),
    (b"[", "JSON", "send a tar"),
    (
        b"--",
        "a form's upload",
        "send the tar itself as the body (curl --data-binary @FILE)",
    ),
];

const UNCOMPRESSED: &str = "send it uncompressed";

/// Checks a header's checksum, which is spelled in one of the two ways in which tar programs do:
/// six digits, NUL and space (or space and NUL), or seven digits and NUL.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), Trouble> {
    const FIELD: std::ops::Range<usize> = 148..156;
    let spaces = FIELD.len() as u32 * u32::from(b' ');
    let sum = |bytes: &[u8]| bytes.iter().map(|&b| u32::from(b)).sum::<u32>();
    let sum = sum(&block[..FIELD.start]) + sum(&block[FIELD.end..]) + spaces;
    let field = &block[FIELD];
    let spelled = [
        format!("{sum:06o}\0 "),
        format!("{sum:06o} \0"),
        format!("{sum:07o}\0"),
    ];
    if spelled.iter().any(|spelled| spelled.as_bytes() == field) {
        Ok(())
    } else {
        bad("a header's checksum is wrong")
    }
}

/// Directories are passed over, but only such as a store could have.
fn check_directory(name: &str, bytes: u64) -> Result<(), Trouble> {
    let plain = name.strip_suffix('/').unwrap_or(name);
    if plain.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return bad(format!(
            "{name:?}: names are relative and have no dots (tar c -C DIR chunks transactions HEAD)"
        ));
    }
    if bytes > 0 {
        return bad(format!("{name:?} is a directory with contents"));
    }
    Ok(())
}

/// Reads the records of a PAX header, `LENGTH KEY=VALUE\n` each.
fn parse_pax(mut records: &[u8]) -> Result<Pax, String> {
    let mut pax = Pax::default();
    while !records.is_empty() {
        let broken = || "a PAX header that cannot be read".to_owned();
        let space = records.iter().position(|&b| b == b' ').ok_or_else(broken)?;
        let length = number(&records[..space]).ok_or_else(broken)? as usize;
        if length <= space + 1 || length > records.len() {
            return Err(broken());
        }
        let (record, rest) = records.split_at(length);
        let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(broken)?;
        let equals = record.iter().position(|&b| b == b'=').ok_or_else(broken)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match std::str::from_utf8(key).unwrap_or_default() {
            "path" => pax.path = Some(value.to_vec()),
            "size" => pax.bytes = Some(number(value).ok_or_else(broken)?),
            "mtime" | "atime" | "ctime" | "uid" | "gid" | "uname" | "gname" | "comment" => {}
            "SCHILY.realsize" => return Err("a sparse member".to_owned()),
            key if key.starts_with("SCHILY.") || key.starts_with("LIBARCHIVE.") => {}
            key => return Err(format!("a PAX header with {key:?}")),
        }
        records = rest;
    }
    Ok(pax)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
        let mut members = Members::new(&mut bytes);
        let mut found = Vec::new();
        while let Some(member) = members.next()? {
            found.push((member.name, members.whole()?));
        }
        Ok(found)
    }

    fn made(edit: impl FnOnce(&mut Header), contents: &[u8]) -> Vec<u8> {
        let mut block = Header::from_byte_slice(&header("HEAD", contents.len() as u64)).clone();
        edit(&mut block);
        block.set_cksum();
        let mut bytes = block.as_bytes().to_vec();
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len() + padding(contents.len() as u64), 0);
        bytes
    }

    fn pax(records: &str, kind: EntryType) -> Vec<u8> {
        made(|header| header.set_entry_type(kind), records.as_bytes())
    }

    #[test]
    fn what_is_written_is_ustar_and_is_read_back() {
        let bytes = header("chunks/ab/cd", 5);
        assert_eq!(&bytes[257..265], b"ustar\x0000");
        assert_eq!(&bytes[100..108], b"0000644\0");
        let tar = [made(|_| (), b"hello"), END.to_vec()].concat();
        assert_eq!(
            read(&tar).unwrap(),
            [("HEAD".to_owned(), b"hello".to_vec())]
        );
        assert_eq!([padding(0), padding(1), padding(512)], [0, 511, 0]);
    }

    #[test]
    fn an_end_is_two_zero_blocks_and_only_zeroes_after() {
        let tar = [made(|_| (), b"hello"), END.to_vec()].concat();
        for cut in 0..tar.len() {
            // Nothing at all may be no tar in the first place; anything else has ended too early.
            let told = match read(&tar[..cut]) {
                Err(Trouble::Bad(_)) => cut == 0,
                Err(Trouble::Short) => cut > 0,
                _ => false,
            };
            assert!(told, "{cut}");
        }
        let mut record = tar.clone();
        record.resize(10_240, 0);
        assert!(read(&record).is_ok());
        record.push(1);
        assert!(read(&record).is_err());
        record.pop();
        record.resize(limits::BUNDLE_TRAILER * 2, 0);
        assert!(read(&record).is_err());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed_but_in_contents() {
        let tar = [made(|_| (), b"hello"), END.to_vec()].concat();
        for at in (0..tar.len()).filter(|at| !(512..517).contains(at)) {
            for bit in 0..8 {
                let mut flipped = tar.clone();
                flipped[at] ^= 1 << bit;
                assert!(read(&flipped).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn pax_headers_that_change_nothing_are_tolerated() {
        let file = made(|_| (), b"hello");
        let tar = |records, kind| [pax(records, kind), file.clone(), END.to_vec()].concat();
        for records in [
            "20 mtime=1700000.25\n",
            "13 path=HEAD\n",
            "10 size=5\n",
            "27 LIBARCHIVE.creationtime\n",
            "",
        ] {
            let result = read(&tar(records, EntryType::XHeader));
            let sound = !records.contains("creationtime");
            assert_eq!(result.is_ok(), sound, "{records:?}");
        }
        for records in [
            "13 path=HEAd\n",
            "10 size=6\n",
            "14 linkpath=x\n",
            "22 GNU.sparse.major=1\n",
            "19 hdrcharset=BINARY\n",
            "9 mtime=1\n",
            "x",
            "0 a=b\n",
        ] {
            assert!(
                read(&tar(records, EntryType::XHeader)).is_err(),
                "{records:?}"
            );
        }
        assert!(read(&tar("15 comment=abc\n", EntryType::XGlobalHeader)).is_ok());
        assert!(read(&tar("13 path=HEAD\n", EntryType::XGlobalHeader)).is_err());
        let dangling = [pax("", EntryType::XHeader), END.to_vec()].concat();
        assert!(read(&dangling).is_err());
    }

    #[test]
    fn nothing_but_files_and_plain_directories_is_passed_over() {
        for (kind, name, sound) in [
            (EntryType::Directory, "chunks/", true),
            (EntryType::Directory, "chunks/ab", true),
            (EntryType::Directory, "./", false),
            (EntryType::Directory, "chunks/../x", false),
            (EntryType::Directory, "/chunks", false),
            (EntryType::Symlink, "chunks", false),
            (EntryType::Link, "chunks", false),
            (EntryType::Char, "chunks", false),
            (EntryType::Block, "chunks", false),
            (EntryType::Fifo, "chunks", false),
            (EntryType::Continuous, "chunks", false),
            (EntryType::GNULongName, "chunks", false),
            (EntryType::GNULongLink, "chunks", false),
            (EntryType::GNUSparse, "chunks", false),
            (EntryType::new(b'V'), "chunks", false),
        ] {
            let member = made(
                |header| {
                    header.set_entry_type(kind);
                    let field = &mut header.as_old_mut().name;
                    field.fill(0);
                    field[..name.len()].copy_from_slice(name.as_bytes());
                },
                b"",
            );
            let result = read(&[member, END.to_vec()].concat());
            assert_eq!(result.is_ok(), sound, "{kind:?} {name}");
        }
    }
}
