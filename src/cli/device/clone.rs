//! `mentat-sync clone`: a copy of a store that another device invites to.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::home::DeviceHome;
use super::line::head_words;
use super::opened::remote_of;
use super::told::{DeviceTrouble, Outcome};
use super::transfer::TransferBar;
use super::usage::{INVITE_IN_ARGUMENTS, is_invite};
use crate::cli::open::private;
use crate::cli::output::{counted, json_line, print};
use crate::client::{Error, Identity, Progress, Remote, Replica};
use crate::model::{Head, limits};
use crate::store::layout::DeviceFile;

/// The most bytes that are read of what may be an invite.
const READ: u64 = (limits::ADDRESS_BYTES + limits::INVITE_BYTES) as u64;

/// Make a replica of a store, with an invite of another device: asks for it, and shows none of it while it is typed. Takes
/// the checkpoint first, where there is one: `cat checkpoint` and `follow --from checkpoint` need not wait for the rest.
///
/// Complete when it ends; broken off, the same again goes on, without asking again.
#[derive(Args)]
pub struct CloneCommand {
    /// The directory, which is made if it is not there; else the working directory.
    dir: Option<PathBuf>,
    /// Read the invite from a file, or from standard input if that is -, instead of asking.
    #[arg(long, value_name = "FILE")]
    invite_file: Option<PathBuf>,
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

impl CloneCommand {
    /// Makes the replica, or goes on with it. Fails where there is a whole one.
    pub fn run(&self) -> Outcome {
        private();
        let at = self.at.clone().unwrap_or_default();
        let dir = self.dir.clone().unwrap_or_else(|| ".".into());
        if is_invite(dir.as_os_str()) {
            return Err(DeviceTrouble::usage(INVITE_IN_ARGUMENTS));
        }
        let top = at.join(dir);
        let (home, mut identity) = self.begun(&top)?;
        let remote: Arc<dyn Remote> = Arc::from(remote_of(&identity)?);
        let bar = Arc::new(TransferBar::new());
        let progress = || Arc::clone(&bar) as Arc<dyn Progress>;
        let cloned = Replica::create_with(&top, &identity, Arc::clone(&remote));
        let cloned = cloned
            .map_err(DeviceTrouble::from)?
            .with_progress(progress());
        let mut fetched = fetch(&cloned);
        if let Err(Error::WrongKey { .. }) = fetched
            && identity.find_old_keys(&*remote)?
        {
            home.set_identity(DeviceFile::Remote, &identity)?;
            let again = Replica::open_with(&top, |_| Ok(remote))?.with_progress(progress());
            fetched = fetch(&again);
        }
        bar.end();
        let (head, state) = fetched?;
        home.remove(DeviceFile::Cloning)?;
        home.clear();
        let json = self.json;
        print(|out| match json {
            true => json_line(
                out,
                &json!({
                    "head": head.id.to_string(), "seq": head.seq,
                    "checkpoint": state.map(|at| at.id.to_string()),
                }),
            ),
            false => writeln!(
                out,
                "{}; HEAD {}{}",
                counted((head.seq, "transaction")),
                head_words(head),
                state.map_or_else(String::new, |at| format!("; checkpoint {}", head_words(at)))
            ),
        })?;
        Ok(())
    }

    /// A directory in which a clone is under way.
    fn begun(&self, top: &Path) -> Outcome<(DeviceHome, Identity)> {
        if DeviceHome::is_in(top) {
            let home = DeviceHome::open(top)?;
            let is_begun = home.has(DeviceFile::Cloning)?;
            if home.has(DeviceFile::Remote)? {
                return match is_begun {
                    true => {
                        let identity = home.identity(DeviceFile::Remote)?;
                        Ok((home, identity))
                    }
                    false => Err(DeviceTrouble::usage(format!(
                        "{} has a replica already",
                        top.display()
                    ))
                    .hint("`mentat-sync sync` brings it up to date")),
                };
            }
        }
        let identity = self.asked()?;
        let home = DeviceHome::make(top)?;
        home.write(DeviceFile::Cloning, b"")?;
        home.set_device(self.device.as_deref())?;
        home.set_identity(DeviceFile::Remote, &identity)?;
        Ok((home, identity))
    }

    fn asked(&self) -> Outcome<Identity> {
        let text = match &self.invite_file {
            Some(file) if file.as_os_str() == "-" => read(&mut io::stdin().lock()),
            Some(file) => std::fs::File::open(file).and_then(|mut file| read(&mut file)),
            None if io::stdin().is_terminal() => {
                rpassword::prompt_password("Invite: ").map(Zeroizing::new)
            }
            None => {
                return Err(DeviceTrouble::usage(
                    "there is no terminal to ask for the invite: --invite-file - reads it from standard input",
                ));
            }
        };
        let text = text
            .map_err(|error| DeviceTrouble::failed(format!("cannot read the invite: {error}")))?;
        let identity = Identity::from_invite(&text);
        identity.map_err(|error| DeviceTrouble::usage(error.to_string()))
    }
}

/// First the checkpoint, so that an application has a state while the chain comes; then the chain.
fn fetch(replica: &Replica) -> Result<(Head, Option<Head>), Error> {
    let state = replica.take_checkpoint()?;
    Ok((replica.fetch()?, state.map(|state| state.at)))
}

fn read(from: &mut dyn Read) -> io::Result<Zeroizing<String>> {
    // All of it at once: a string that grows leaves what it held behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * READ as usize));
    from.take(READ).read_to_string(&mut text)?;
    Ok(text)
}
