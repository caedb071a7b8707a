//! A replica whose server is reached over HTTP, as the file with its secrets says.

use std::path::Path;
use std::sync::Arc;

use super::error::Result;
use super::identity::Identity;
use super::progress::Progress;
use super::remote::{HttpOptions, HttpRemote, Remote};
use super::replica::Replica;

impl Replica {
    /// Makes a replica in `DIR/.mentat-sync`, and the file with its secrets. Asks nobody: the server need not know the store
    /// yet. Where there is a replica of this identity already, it is opened.
    ///
    /// Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY` and the like), and authorities those of the system.
    ///
    /// # Errors
    /// As [`Replica::create_with`], and those of [`HttpRemote::new`].
    pub fn create(dir: &Path, identity: &Identity) -> Result<Self> {
        Self::create_with(dir, identity, over_http(identity)?)
    }

    /// Opens the replica in `DIR/.mentat-sync`. Asks nobody.
    ///
    /// # Errors
    /// As [`Replica::open_with`], and those of [`HttpRemote::new`].
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, over_http)
    }

    /// Makes a replica, and pulls all that the server has. Complete when it returns; interrupted, the next call goes on where
    /// it was.
    ///
    /// # Errors
    /// As [`Replica::clone_with`], and those of [`HttpRemote::new`].
    pub fn clone_from(
        dir: &Path,
        identity: &Identity,
        progress: Option<Arc<dyn Progress>>,
    ) -> Result<Self> {
        Self::clone_with(dir, identity, over_http(identity)?, progress)
    }
}

fn over_http(identity: &Identity) -> Result<Arc<dyn Remote>> {
    let options = HttpOptions::of_environment();
    let remote = HttpRemote::new(&identity.server, identity.user, options)?;
    Ok(Arc::new(remote))
}
