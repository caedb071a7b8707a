//! Errors of a file system that does not let anybody at what a path leads to.

use rustix::io::Errno;

use super::Error;

impl Error {
    /// Why the file system does not let us at what the path leads to, in words: another one is mounted there, the
    /// program that serves it has ended, or it does not answer. What stands there is not known then. `None` for
    /// every other error.
    pub fn out_of_reach(&self) -> Option<&'static str> {
        let errno = Errno::from_raw_os_error(self.source.raw_os_error()?);
        // A write or a sync that fails with such an error says nothing of what is there already.
        let looks = matches!(self.verb, "look at" | "open" | "list" | "read");
        match errno {
            Errno::XDEV => Some("another file system is mounted there"),
            Errno::NOTCONN | Errno::CONNABORTED | Errno::SHUTDOWN => {
                Some("the program that serves the file system there has ended")
            }
            Errno::STALE | Errno::NXIO | Errno::NODEV | Errno::HOSTDOWN => {
                Some("the file system there has gone")
            }
            Errno::IO | Errno::REMOTEIO | Errno::BADMSG | Errno::UCLEAN | Errno::TIMEDOUT
                if looks =>
            {
                Some("the disk does not let it be read")
            }
            _ => None,
        }
    }
}
