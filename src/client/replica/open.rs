//! How a replica is made, opened, and cloned.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Replica;
use crate::client::error::{Error, Result};
use crate::client::identity::Identity;
use crate::client::progress::Progress;
use crate::client::remote::Remote;
use crate::disk::{Disk, Grouping, IfThere, Real, make_root};
use crate::store::{self, Options, Store, StoreKind, layout};

/// The directory in which a device's working directory has its replica.
pub const HOME: &str = ".mentat-sync";

/// The store, in that.
const STORE: &str = "store";

/// The data directory of the replica that this directory has: what `fsck`, `log` and `snapshot` look at.
pub fn store_in(dir: &Path) -> PathBuf {
    dir.join(HOME).join(STORE)
}

impl Replica {
    /// The choices with which a replica's store is opened: a device's, in which what is pending stays however much it is.
    pub fn options() -> Options {
        Options {
            kind: StoreKind::Replica,
            pending_transactions: usize::MAX,
            ..Options::default()
        }
    }

    /// Makes a replica in `DIR/.mentat-sync`, and the file with its secrets, of a store that the server need not know yet. Asks
    /// nobody. Where there is a replica of this identity already, it is opened.
    ///
    /// # Errors
    /// [`Error::NotThisReplica`] where there is one of another identity; those of the disk.
    pub fn create_with(dir: &Path, identity: &Identity, remote: Arc<dyn Remote>) -> Result<Self> {
        let home_path = dir.join(HOME);
        make_root(&home_path.join(STORE), None)?;
        let home = disk(&home_path)?;
        let place = layout::beside_store(layout::DeviceFile::Remote);
        let is_there = home.meta(&place).if_there()?.is_some();
        if is_there && Identity::read(&*home, &place)? != *identity {
            return Err(another(&home_path));
        }
        let store = store_of(&home_path, identity, Store::open)?;
        if !is_there {
            // Last: where it is, all that a command opens is there, and what was broken off before it is begun anew.
            identity.write(&*home, &place)?;
        }
        let keys = identity.keyring();
        let replica = Self::over(Arc::clone(&home), &store, identity.user, keys, remote);
        if replica.is_err() && !is_there && store.users().is_ok_and(|users| users.is_empty()) {
            // The disk may be full: there is no replica yet, and the next try makes one.
            let _ = home.remove_file(&place);
        }
        Ok(replica?.at(identity))
    }

    /// Opens the replica in `DIR/.mentat-sync`, whose server is reached as `connect` says. Asks nobody.
    ///
    /// # Errors
    /// [`Error::NotThisReplica`] where there is none; [`Error::Secrets`] where its secrets are damaged or others may read them;
    /// those of the disk.
    pub fn open_with(
        dir: &Path,
        connect: impl FnOnce(&Identity) -> Result<Arc<dyn Remote>>,
    ) -> Result<Self> {
        let home_path = dir.join(HOME);
        if !home_path.join(STORE).is_dir() {
            let what = format!("there is no replica in {}", dir.display());
            return Err(Error::NotThisReplica(what));
        }
        let home = disk(&home_path)?;
        let identity = Identity::read(&*home, &layout::beside_store(layout::DeviceFile::Remote))?;
        let remote = connect(&identity)?;
        let store = store_of(&home_path, &identity, Store::open_existing)?;
        let replica = Self::over(home, &store, identity.user, identity.keyring(), remote)?;
        Ok(replica.at(&identity))
    }

    fn at(mut self, identity: &Identity) -> Self {
        self.server = Some(identity.server.to_string());
        self
    }

    /// Makes a replica, takes the server's checkpoint where there is one, and pulls all that the server has. Complete when it returns; interrupted, the next call goes on where
    /// it was.
    ///
    /// # Errors
    /// As [`Replica::create_with`], [`Replica::take_checkpoint`] and [`Replica::fetch`].
    pub fn clone_with(
        dir: &Path,
        identity: &Identity,
        remote: Arc<dyn Remote>,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<Self> {
        let mut replica = Self::create_with(dir, identity, remote)?;
        replica.progress = progress;
        replica.take_checkpoint()?;
        replica.fetch()?;
        Ok(replica)
    }
}

/// The store of a replica, which has no other user than this identity's.
fn store_of(
    home: &Path,
    identity: &Identity,
    open: fn(Arc<dyn Disk>, Options) -> store::Result<Store>,
) -> Result<Store> {
    let store = open(disk(&home.join(STORE))?, Replica::options())?;
    match store.users()?.iter().any(|user| *user != identity.user) {
        true => Err(another(home)),
        false => Ok(store),
    }
}

fn disk(path: &Path) -> Result<Arc<dyn Disk>> {
    Ok(Arc::new(Real::new(path, Grouping::Auto)?))
}

fn another(home: &Path) -> Error {
    Error::NotThisReplica(format!(
        "{} has the replica of another store",
        home.display()
    ))
}
