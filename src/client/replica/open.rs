//! How a replica is made, opened, and cloned.

use std::path::Path;
use std::sync::Arc;

use super::Replica;
use crate::client::error::{Error, Result};
use crate::client::identity::Identity;
use crate::client::remote::Remote;
use crate::disk::{Disk, Grouping, Real, make_root};
use crate::store::{Options, Store, StoreKind};

/// The directory in which a device's working directory has its replica.
pub const HOME: &str = ".mentat-sync";

/// The store, in that.
const STORE: &str = "store";

impl Replica {
    /// How a replica's store is opened: a device's, in which what is pending stays however much it is.
    pub fn options() -> Options {
        Options {
            kind: StoreKind::Replica,
            pending_transactions: usize::MAX,
            ..Options::default()
        }
    }

    /// Makes a replica in `DIR/.mentat-sync`, of a store that the server need not know yet. Asks nobody. Where there is one of the
    /// same user, it is opened.
    ///
    /// # Errors
    /// [`Error::NotThisReplica`] where there is one of another user; those of the disk.
    pub fn create(dir: &Path, identity: &Identity, remote: Arc<dyn Remote>) -> Result<Self> {
        make_root(&dir.join(HOME).join(STORE), None)?;
        Self::in_home(&dir.join(HOME), identity, remote, Store::open)
    }

    /// Opens the replica in `DIR/.mentat-sync`. Asks nobody.
    ///
    /// # Errors
    /// [`Error::NotThisReplica`] where there is none, or one of another user; those of the disk.
    pub fn open(dir: &Path, identity: &Identity, remote: Arc<dyn Remote>) -> Result<Self> {
        let home = dir.join(HOME);
        if !home.join(STORE).is_dir() {
            return Err(Error::NotThisReplica(format!(
                "there is no replica in {}",
                dir.display()
            )));
        }
        Self::in_home(&home, identity, remote, Store::open_existing)
    }

    /// Makes a replica, and pulls all that the server has. Complete when it returns; interrupted, the next call goes on where
    /// it was.
    ///
    /// # Errors
    /// As [`Replica::create`] and [`Replica::fetch`].
    pub fn clone_from(dir: &Path, identity: &Identity, remote: Arc<dyn Remote>) -> Result<Self> {
        let replica = Self::create(dir, identity, remote)?;
        replica.fetch()?;
        Ok(replica)
    }

    fn in_home(
        home: &Path,
        identity: &Identity,
        remote: Arc<dyn Remote>,
        open: fn(Arc<dyn Disk>, Options) -> crate::store::Result<Store>,
    ) -> Result<Self> {
        let disk = |path: &Path| -> Result<Arc<dyn Disk>> {
            Ok(Arc::new(Real::new(path, Grouping::Auto)?))
        };
        let store = open(disk(&home.join(STORE))?, Self::options())?;
        let others = store.users()?;
        if others.iter().any(|user| *user != identity.user) {
            return Err(Error::NotThisReplica(format!(
                "{} has the replica of another store",
                home.display()
            )));
        }
        Self::over(
            disk(home)?,
            &store,
            identity.user,
            identity.keyring(),
            remote,
        )
    }
}
