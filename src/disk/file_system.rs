//! The kind of file system that a directory is on, as far as it changes what may be promised about it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// The file system of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// `f_type` of statfs(2).
    magic: u32,
    /// The name of the mount where that number does not tell: `fuse.bindfs`.
    mount: String,
}

/// The number of every file system that a program serves through `/dev/fuse`.
const FUSE: u32 = 0x6573_5546;

/// File systems that several boxes may have at a time (and folders that a virtual machine has of its host),
/// by the numbers of statfs(2) and of their own sources. A lock there may be lost with the network, and its
/// holder does not hear of it.
const NETWORK: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0000_564c, "NCP"),
    (0x0102_1997, "9p"),
    (0x0bd0_0bd0, "Lustre"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x4750_4653, "GPFS"),
    (0xaad7_aaea, "PanFS"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0x6163_6673, "ACFS"),
    (0xbeef_dead, "SNFS"),
    (0x0131_11a8, "IBRIX"),
    (0x786f_4256, "a shared folder of VirtualBox"),
    (0xbacb_acbc, "a shared folder of VMware"),
    (0x7c7c_6673, "a shared folder of Parallels"),
];

/// Network file systems that come through FUSE, by the name of the mount.
const NETWORK_BY_FUSE: &[(&str, &str)] = &[
    ("fuse.glusterfs", "GlusterFS"),
    ("fuse.ceph", "Ceph"),
    ("fuse.ceph-fuse", "Ceph"),
    ("fuse.mfs", "MooseFS"),
    ("fuse.moosefs", "MooseFS"),
    ("fuse.saunafs", "SaunaFS"),
    ("fuse.lizardfs", "LizardFS"),
    ("fuse.juicefs", "JuiceFS"),
    ("fuse.seaweedfs", "SeaweedFS"),
    ("fuse.beegfs", "BeeGFS"),
    ("fuse.orangefs", "OrangeFS"),
    ("fuse.davfs", "WebDAV"),
    ("fuse.s3fs", "an object store"),
    ("fuse.rclone", "an object store"),
    ("fuse.gcsfuse", "an object store"),
    ("fuse.goofys", "an object store"),
    ("fuse.vmhgfs-fuse", "a shared folder of VMware"),
];

impl FileSystem {
    /// The file system of a directory that is to be at this path: of the nearest one above it that is there.
    ///
    /// # Errors
    /// The nearest directory cannot be opened or, where it is through FUSE, `/proc` does not tell what kind.
    pub fn of(path: &Path) -> io::Result<Self> {
        let above = path.ancestors().map(|above| match above.as_os_str() {
            here if here.is_empty() => Path::new("."),
            _ => above,
        });
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for above in above {
            match File::open(above) {
                Ok(directory) => {
                    let mut found = Self::of_directory(&directory)?;
                    if found.is_fuse() {
                        found.mount = mount_of(&directory)?;
                    }
                    return Ok(found);
                }
                Err(absent) if absent.kind() == io::ErrorKind::NotFound => last = absent,
                Err(other) => return Err(other),
            }
        }
        Err(last)
    }

    /// The file system of an open directory, without a look at what kind of FUSE it is.
    pub fn of_directory(directory: &File) -> io::Result<Self> {
        let about = rustix::fs::fstatfs(directory.as_fd())?;
        Ok(Self {
            // A signed number in some systems, and wider than 32 bits in others.
            magic: about.f_type as u32,
            mount: String::new(),
        })
    }

    /// Whether a program serves it, through FUSE.
    pub fn is_fuse(&self) -> bool {
        self.magic == FUSE
    }

    /// The name of the file system, if several boxes may have it at a time.
    pub fn network(&self) -> Option<&'static str> {
        let by_number = NETWORK.iter().find(|(magic, _)| *magic == self.magic);
        let by_name = || {
            let ours = NETWORK_BY_FUSE.iter();
            ours.clone().find(|(mount, _)| *mount == self.mount)
        };
        match by_number {
            Some((_, name)) => Some(name),
            None => by_name().map(|(_, name)| *name),
        }
    }
}

/// The name of the mount that an open directory is on.
fn mount_of(directory: &File) -> io::Result<String> {
    let fdinfo = format!("/proc/self/fdinfo/{}", directory.as_raw_fd());
    let about = std::fs::read_to_string(fdinfo)?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let id = about.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    id.and_then(|id| mount_in(&mounts, id.trim()))
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other("/proc does not tell what is mounted there"))
}

/// The type of the mount with this number: the word after the lone dash (proc(5)).
fn mount_in<'a>(mounts: &'a str, id: &str) -> Option<&'a str> {
    let line = mounts
        .lines()
        .find(|line| line.split(' ').next() == Some(id))?;
    let (_, rest) = line.split_once(" - ")?;
    rest.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(magic: u32, mount: &str) -> FileSystem {
        let mount = mount.to_owned();
        FileSystem { magic, mount }
    }

    /// The numbers as `statfs(2)` and the kernel's `magic.h` have them.
    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        for (magic, name) in [
            (0x6969, "NFS"),
            (0xff53_4d42, "CIFS"),
            (0xfe53_4d42, "SMB"),
            (0x517b, "SMB"),
            (0x00c3_6400, "Ceph"),
            (0x5346_414f, "AFS"),
            (0x0102_1997, "9p"),
            (0x0bd0_0bd0, "Lustre"),
            (0x7461_636f, "OCFS2"),
            (0x0116_1970, "GFS2"),
            (0x4750_4653, "GPFS"),
        ] {
            assert_eq!(seen(magic, "").network(), Some(name), "{magic:x}");
        }
        let local = [
            ("ext4", 0xef53),
            ("XFS", 0x5846_5342),
            ("btrfs", 0x9123_683e),
            ("tmpfs", 0x0102_1994),
            ("ZFS", 0x2fc1_2fc1),
            ("overlay", 0x794c_7630),
            ("f2fs", 0xf2f5_2010),
            ("bcachefs", 0xca45_1a4e),
        ];
        for (name, magic) in local {
            assert_eq!(seen(magic, "").network(), None, "{name}");
            assert!(!seen(magic, "").is_fuse(), "{name}");
        }
    }

    #[test]
    fn what_comes_through_fuse_is_told_by_the_name_of_the_mount() {
        for mount in ["fuse.bindfs", "fuse.sshfs", "fuse.mergerfs", "fuseblk", ""] {
            assert_eq!(seen(FUSE, mount).network(), None, "{mount}");
            assert!(seen(FUSE, mount).is_fuse());
        }
        assert_eq!(seen(FUSE, "fuse.glusterfs").network(), Some("GlusterFS"));
        assert_eq!(seen(FUSE, "fuse.ceph").network(), Some("Ceph"));
    }

    #[test]
    fn a_mount_is_found_by_its_number_alone() {
        let mounts = "22 1 0:21 / / rw shared:1 - ext4 /dev/vda rw\n\
                      122 22 0:50 / /a\\040- rw,nosuid - fuse.glusterfs box:/vol rw\n";
        assert_eq!(mount_in(mounts, "122"), Some("fuse.glusterfs"));
        assert_eq!(mount_in(mounts, "22"), Some("ext4"));
        assert_eq!(mount_in(mounts, "2"), None);
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_on_what_is_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let here = FileSystem::of(directory.path()).unwrap();
        assert_eq!(FileSystem::of(&directory.path().join("a/b")).unwrap(), here);
        assert_eq!(here.network(), None);
        assert!(FileSystem::of(Path::new("not there")).is_ok());
    }
}
