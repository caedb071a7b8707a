//! The small files that a device has beside its store, in `.mentat-sync`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::told::{DeviceTrouble, Outcome};
use crate::client::{HOME, Identity, beside};
use crate::disk::{self, Disk, Grouping, IfThere, Place, Real, make_root};
use crate::model::{UserId, limits};
use crate::store::layout::{DeviceFile, beside_store, top};

/// The settings of a device, which its person may edit.
#[derive(Deserialize, Serialize)]
pub struct DeviceConfig {
    /// The name that its entries say they are by.
    pub device: String,
}

/// The directory `.mentat-sync` of a replica.
pub struct DeviceHome {
    /// The directory that it is in.
    pub top: PathBuf,
    disk: Arc<Real>,
}

impl DeviceHome {
    /// Opens the one in this directory, which must be there.
    pub fn open(top: &Path) -> Outcome<Self> {
        let path = top.join(HOME);
        let disk = Real::new(&path, Grouping::Off).map_err(|error| {
            DeviceTrouble::failed(format!("cannot open {}: {error}", path.display()))
        })?;
        Ok(Self {
            top: top.to_owned(),
            disk: Arc::new(disk),
        })
    }

    /// Makes one in this directory, which is made too where it is not there.
    pub fn make(top: &Path) -> Outcome<Self> {
        let path = top.join(HOME);
        make_root(&path, None).map_err(|error| {
            DeviceTrouble::failed(format!("cannot make {}: {error}", path.display()))
        })?;
        Self::open(top)
    }

    /// Whether there is one in this directory.
    pub fn is_in(top: &Path) -> bool {
        top.join(HOME).is_dir()
    }

    /// The nearest one from this directory upwards.
    pub fn around(from: &Path) -> Outcome<Self> {
        let absolute = from
            .canonicalize()
            .map_err(|error| DeviceTrouble::usage(format!("{}: {error}", from.display())))?;
        match absolute.ancestors().find(|level| Self::is_in(level)) {
            Some(top) => Self::open(top),
            None => Err(DeviceTrouble::usage(format!(
                "there is no replica in {} or above it",
                from.display()
            ))
            .hint("`mentat-sync init --server URL` makes a store, `mentat-sync clone` a copy of one; or name it with -C")),
        }
    }

    /// Whether this file is there.
    pub fn has(&self, file: DeviceFile) -> Outcome<bool> {
        Ok(self.disk.meta(&beside_store(file)).if_there()?.is_some())
    }

    /// Reads who we are to whom.
    pub fn identity(&self, file: DeviceFile) -> Outcome<Identity> {
        Ok(Identity::read(&*self.disk, &beside_store(file))?)
    }

    /// Writes who we are to whom: durable when this returns.
    pub fn set_identity(&self, file: DeviceFile, identity: &Identity) -> Outcome {
        Ok(identity.write(&*self.disk, &beside_store(file))?)
    }

    /// The device's name: what `config` says, or that of the host.
    pub fn device(&self) -> Outcome<String> {
        let Some(bytes) = self.read(DeviceFile::Config)? else {
            return Ok(host_name());
        };
        let config: DeviceConfig = serde_json::from_slice(&bytes)
            .map_err(|error| DeviceTrouble::damaged(format!(".mentat-sync/config: {error}")))?;
        Ok(config.device)
    }

    /// Writes the device's name into `config`; that of the host where none is given.
    pub fn set_device(&self, name: Option<&str>) -> Outcome {
        let device = name.map_or_else(host_name, str::to_owned);
        let config = serde_json::to_vec(&DeviceConfig { device }).map_err(std::io::Error::from)?;
        self.write(DeviceFile::Config, &[&config, &b"\n"[..]].concat())
    }

    /// Takes away what killed commands left of these files more than a day ago: the aside ones. Best effort.
    pub fn clear(&self) {
        let mut names = Vec::new();
        let listed = self.disk.list(&top(), &mut |entry| {
            names.extend(is_aside(&entry.name).then_some(entry.name));
            true
        });
        if let Err(error) = listed {
            log::debug!("what was left is not seen: {error}");
        }
        for place in names.iter().map(|name| top().join(name)) {
            if let Err(error) = self.clear_one(&place) {
                log::debug!("{} stays for now: {error}", place.name());
            }
        }
    }

    fn clear_one(&self, place: &Place) -> disk::Result<()> {
        let Some(meta) = self.disk.meta(place).if_there()? else {
            return Ok(());
        };
        match SystemTime::now().duration_since(meta.modified) {
            Ok(age) if age > limits::TEMPORARY => self.disk.remove_file(place),
            _ => Ok(()),
        }
    }

    /// Writes one of the small files in place of the one that is there: durable when this returns.
    pub fn write(&self, file: DeviceFile, bytes: &[u8]) -> Outcome {
        Ok(beside::replace(&*self.disk, file, bytes)?)
    }

    /// The user that the server has this store under, as long as it is not known to have been moved after a `rekey`: the first that
    /// the store left.
    pub fn moving_from(&self) -> Outcome<Option<UserId>> {
        let line = self.read(DeviceFile::Moving)?.unwrap_or_default();
        let line = String::from_utf8(line).unwrap_or_default();
        Ok(line.lines().next_back().and_then(|last| last.parse().ok()))
    }

    /// Takes a file away, durably, if it is there.
    pub fn remove(&self, file: DeviceFile) -> Outcome {
        Ok(beside::remove(&*self.disk, file)?)
    }

    /// The first bytes of one of the small files, if it is there.
    pub fn read(&self, file: DeviceFile) -> Outcome<Option<Vec<u8>>> {
        Ok(beside::read(&*self.disk, file, limits::DEVICE_FILE_BYTES)?)
    }
}

/// Whether a file has the name of one that takes the place of another: `config.0123456789abcdef`, or `remote.new`.
fn is_aside(name: &str) -> bool {
    let Some((_, end)) = name.rsplit_once('.') else {
        return false;
    };
    let is_random = end.len() == 16 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_random || end == "new"
}

fn host_name() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    match name.split('.').next() {
        Some(first) if !first.is_empty() => first.to_owned(),
        _ => "device".to_owned(),
    }
}
