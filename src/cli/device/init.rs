//! `mentat-sync init`: a new store.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::home::DeviceHome;
use super::opened::{no_replica_yet, remote_of};
use super::told::{DeviceTrouble, Outcome};
use crate::cli::open::private;
use crate::cli::output::{json_line, print};
use crate::client::{Identity, Replica, Url};

/// Make a new store: a new user with a new key, in a directory that becomes its first replica. Asks nobody, so it works
/// offline; the server learns of it by the first sync.
#[derive(Args)]
pub struct InitCommand {
    /// The directory, which is made if it is not there; else the working directory.
    dir: Option<PathBuf>,
    /// The server's address: https://HOST, http://HOST, or unix:/PATH of a socket.
    #[arg(long, value_name = "URL")]
    server: Url,
    /// Encrypt nothing: who has the server reads the store.
    #[arg(long)]
    plain: bool,
    /// The name that this device's entries say they are by; else that of the host.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Begin from this directory instead of the working directory.
    #[arg(short = 'C', value_name = "DIR")]
    pub at: Option<PathBuf>,
    /// Print one JSON object a line, errors too.
    #[arg(long)]
    pub json: bool,
}

impl InitCommand {
    /// Makes the store. Fails where there is one already.
    pub fn run(&self) -> Outcome {
        private();
        let at = self.at.clone().unwrap_or_default();
        let top = match &self.dir {
            Some(dir) => at.join(dir),
            None => at.join("."),
        };
        no_replica_yet(&top)?;
        let identity = match self.plain {
            true => Identity::generate_plain(self.server.clone()),
            false => Identity::generate(self.server.clone()),
        };
        let identity = identity.map_err(|error| {
            DeviceTrouble::failed(format!("the system gives no random numbers: {error}"))
        })?;
        let home = DeviceHome::make(&top)?;
        home.set_device(self.device.as_deref())?;
        let remote = remote_of(&identity)?;
        Replica::create_with(&top, &identity, Arc::from(remote))?;
        let server = identity.server;
        let (json, plain) = (self.json, self.plain);
        print(|out| match json {
            true => json_line(
                out,
                &json!({"server": server.as_str(), "plain": plain, "dir": top}),
            ),
            false => writeln!(
                out,
                "a new store at {server}; add a device: mentat-sync invite --qr"
            ),
        })?;
        Ok(())
    }
}
