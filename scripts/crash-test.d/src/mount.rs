//! The file systems under test, made and mounted with the system's own tools.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::device::Device;

/// A file system to try.
pub struct FileSystem {
    pub name: &'static str,
    pub megabytes: u64,
    mkfs: &'static [&'static str],
    /// Beside another mount of the same file system, too.
    options: &'static str,
}

const MKFS_EXT4: [&str; 4] = [
    "mkfs.ext4",
    "-q",
    "-E",
    "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
];

pub const FILE_SYSTEMS: [FileSystem; 3] = [
    FileSystem {
        name: "ext4",
        megabytes: 64,
        mkfs: &MKFS_EXT4,
        options: "loop",
    },
    FileSystem {
        name: "ext4 noauto_da_alloc",
        megabytes: 64,
        mkfs: &MKFS_EXT4,
        options: "loop,noauto_da_alloc",
    },
    FileSystem {
        name: "xfs",
        megabytes: 300,
        mkfs: &["mkfs.xfs", "-q", "-K"],
        options: "loop,nouuid",
    },
];

/// How often a loop device is asked for: others of the box take the free one that was just found.
const LOOP_TRIES: usize = 50;

/// How often an unmount is tried: a process that another thread is starting holds our open files for a moment,
/// and on a busy box a moment is long.
const UNMOUNT_TRIES: usize = 1500;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

impl FileSystem {
    /// Makes an empty one.
    pub fn make(&self, device: &Device) -> io::Result<()> {
        let (program, flags) = self.mkfs.split_first().expect("a program");
        succeed(Command::new(program).args(flags).arg(device.path()))
    }
}

/// A mounted block file. Dropped, it is unmounted.
pub struct Mount(tempfile::TempDir);

impl Mount {
    /// Mounts it somewhere below `top`; fails with what the system says of it.
    pub fn new(device: &Device, top: &Path, file_system: &FileSystem) -> io::Result<Self> {
        let point = tempfile::Builder::new().prefix("mount").tempdir_in(top)?;
        let mut tries = 0;
        loop {
            let mounted = succeed(
                Command::new("mount")
                    .args(["-o", file_system.options])
                    .arg(device.path())
                    .arg(point.path()),
            );
            tries += 1;
            match mounted {
                Ok(()) => return Ok(Self(point)),
                Err(error) if wants_loop_device(&error) && tries < LOOP_TRIES => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Whether no loop device was to be had, which says nothing of what is on the disk.
fn wants_loop_device(error: &io::Error) -> bool {
    error.to_string().contains("loop device")
}

impl Drop for Mount {
    fn drop(&mut self) {
        for _ in 0..UNMOUNT_TRIES {
            if succeed(Command::new("umount").arg(self.path())).is_ok() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        eprintln!("crash-test: {} stays mounted", self.path().display());
    }
}

/// Runs it to its end.
pub fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.env("LC_ALL", "C").output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!(
        "{command:?}: {} {said}",
        output.status
    )))
}
