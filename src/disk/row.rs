//! Verbs on many names in a row.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;

use super::beneath::Beneath;
use super::{Error, Place, Result, until_refused};

/// Gives files second names, the second of each pair.
pub fn link_all(beneath: &Beneath, names: &[(Place, Place)]) -> (usize, Result<()>) {
    let mut sources = LastDirectory::below(beneath);
    let mut targets = LastDirectory::below(beneath);
    until_refused(names, |(from, to)| {
        let ((source, old), (target, new)) = (from.split(), to.split());
        let link = || -> io::Result<()> {
            let (source, target) = (sources.get(source)?, targets.get(target)?);
            Ok(rustix::fs::linkat(
                source,
                old,
                target,
                new,
                AtFlags::empty(),
            )?)
        };
        link().map_err(|source| Error::new("link", to, source))
    })
}

/// Takes names away from files.
pub fn remove_all(beneath: &Beneath, names: &[Place]) -> (usize, Result<()>) {
    let mut directories = LastDirectory::below(beneath);
    until_refused(names, |place| {
        let (parent, name) = place.split();
        let remove = || -> io::Result<()> {
            let directory = directories.get(parent)?;
            Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
        };
        remove().map_err(|source| Error::new("remove", place, source))
    })
}

/// The directory that was looked up last, for as long as one verb runs: names that stand in it one after the other need no other
/// look. One that gets another name meanwhile is the same directory still.
struct LastDirectory<'a> {
    beneath: &'a Beneath,
    last: Option<(Place, OwnedFd)>,
}

impl<'a> LastDirectory<'a> {
    /// None yet.
    fn below(beneath: &'a Beneath) -> Self {
        Self {
            beneath,
            last: None,
        }
    }

    /// A directory, looked up unless it is the last one.
    fn get(&mut self, place: Place) -> io::Result<&OwnedFd> {
        let is_last = self.last.as_ref().is_some_and(|(last, _)| *last == place);
        let last = match self.last.take().filter(|_| is_last) {
            Some(last) => last,
            None => {
                let found = self.beneath.directory(&place)?;
                (place, found)
            }
        };
        Ok(&self.last.insert(last).1)
    }
}
