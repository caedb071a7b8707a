//! `mentat-sync invite`: what makes another device one of this store's.

use std::io::{self, IsTerminal};

use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::json;
use zeroize::Zeroizing;

use super::arguments::ReplicaFlags;
use super::opened::OpenReplica;
use super::told::{DeviceTrouble, Outcome};
use crate::cli::output::{json_line, print};

/// Print the invite that makes another device one of this store's: who has it reads and writes the store. To a terminal
/// alone, unless it is forced.
#[derive(Args)]
pub struct InviteCommand {
    /// Print it as a QR code, too, for a camera.
    #[arg(long)]
    qr: bool,
    /// Print it also where stdout is no terminal.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

impl InviteCommand {
    /// Prints it. Fails where stdout is no terminal.
    pub fn run(&self) -> Outcome {
        to_a_terminal(self.force, "the invite")?;
        let opened = OpenReplica::of(&self.replica, None)?;
        let invite = opened.identity.invite();
        let code = match self.qr {
            true => Some(picture(&invite)?),
            false => None,
        };
        let json = self.replica.json;
        print(|out| {
            if json {
                return json_line(out, &json!({"invite": invite.as_str()}));
            }
            if let Some(code) = &code {
                writeln!(out, "{}", code.as_str())?;
            }
            writeln!(out, "{}", invite.as_str())
        })?;
        Ok(())
    }
}

/// Refuses to print a secret where it may end in a file or a log.
pub fn to_a_terminal(force: bool, what: &str) -> Outcome {
    if force || io::stdout().is_terminal() {
        return Ok(());
    }
    Err(
        DeviceTrouble::usage(format!("{what} goes to a terminal, and stdout is none"))
            .hint("--force prints it all the same; whoever reads it reads and writes the store"),
    )
}

fn picture(invite: &str) -> Outcome<Zeroizing<String>> {
    let code = QrCode::new(invite).map_err(|error| {
        DeviceTrouble::failed(format!("no QR code has room for the invite: {error}"))
    })?;
    // Light on dark, as terminals are: a camera reads it with its quiet zone.
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Ok(Zeroizing::new(drawn))
}
