//! Names are resolved below a directory.
//!
//! Every path is resolved with `openat2(2)` below the root, through no symlink and no mount point;
//! where the kernel (or a sandbox) has no `openat2`, component by component with `O_NOFOLLOW`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode as Bits, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Error, Place, Result};

/// An open directory, and the way from it to what is below.
pub struct Beneath {
    root: OwnedFd,
    /// There is no `openat2` here.
    walks: AtomicBool,
}

impl Beneath {
    /// The names below this directory.
    pub fn new(root: OwnedFd) -> Self {
        Self {
            root,
            walks: AtomicBool::new(false),
        }
    }

    /// The names below a directory of this one, which stays the same directory when its name changes.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn below(&self, place: &Place) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = self
            .resolve(place, flags, Bits::empty())
            .map_err(|source| Error::new("open", place, source))?;
        Ok(Self {
            root,
            walks: AtomicBool::new(self.walks.load(Ordering::Relaxed)),
        })
    }

    /// Opens what stands at a place. Costs one system call where there is `openat2`, else one for each
    /// component of the path.
    ///
    /// # Errors
    /// The system's; `ELOOP` for a symlink anywhere on the path, `EXDEV` for a mount point.
    pub fn resolve(&self, place: &Place, flags: OFlags, mode: Bits) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = match place.as_str() {
            "" => ".",
            path => path,
        };
        if !self.walks.load(Ordering::Relaxed) {
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            loop {
                match rustix::fs::openat2(&self.root, path, flags, mode, beneath) {
                    Err(Errno::NOSYS | Errno::PERM) => {
                        self.walks.store(true, Ordering::Relaxed);
                        break;
                    }
                    // The kernel could not tell whether a rename elsewhere led the walk astray.
                    Err(Errno::AGAIN | Errno::INTR) => continue,
                    other => return Ok(other?),
                }
            }
        }
        self.walk(path, flags, mode)
    }

    fn walk(&self, path: &str, flags: OFlags, mode: Bits) -> io::Result<OwnedFd> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut parts = path.split('/').peekable();
        let mut here: Option<OwnedFd> = None;
        loop {
            let part = parts.next().expect("a path has a last component");
            let at = here.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            if parts.peek().is_none() {
                return Ok(rustix::fs::openat(at, part, flags, mode)?);
            }
            here = Some(rustix::fs::openat(at, part, step, Bits::empty())?);
        }
    }

    /// Opens a directory, to look names up in it and for nothing else.
    pub fn directory(&self, place: &Place) -> io::Result<OwnedFd> {
        self.resolve(place, OFlags::PATH | OFlags::DIRECTORY, Bits::empty())
    }

    /// Runs a verb that takes a directory and a name in it.
    pub fn at<T>(
        &self,
        verb: &'static str,
        place: &Place,
        run: impl FnOnce(OwnedFd, &str) -> io::Result<T>,
    ) -> Result<T> {
        let (parent, name) = place.split();
        self.directory(&parent)
            .and_then(|directory| run(directory, name))
            .map_err(|source| Error::new(verb, place, source))
    }

    /// Runs a verb that takes two directories, each with a name in it. An error names the second place.
    pub fn at_two(
        &self,
        verb: &'static str,
        from: &Place,
        to: &Place,
        run: impl FnOnce(&OwnedFd, &str, &OwnedFd, &str) -> rustix::io::Result<()>,
    ) -> Result<()> {
        self.at(verb, from, |source, old| {
            let (parent, new) = to.split();
            let target = self.directory(&parent)?;
            Ok(run(&source, old, &target, new)?)
        })
        .map_err(|mut error| {
            error.place = to.clone();
            error
        })
    }

    /// Looks names up component by component from here on, as where there is no `openat2`.
    #[cfg(test)]
    pub fn walk_always(&self) {
        self.walks.store(true, Ordering::Relaxed);
    }
}

impl AsFd for Beneath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}
