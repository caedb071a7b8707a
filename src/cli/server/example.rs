//! `mentat-sync example`: texts to run the server with, as they stand under `scripts/examples/`.

use clap::{Args, ValueEnum};

use crate::cli::failure::Failure;
use crate::cli::output::print;

/// Print a text to run the server with, to look at, change, and put where its first comment says: units of systemd (the
/// service, and a backup by a timer), a proxy's configuration (`shards` is nginx before several boxes), a compose file, lines for cron.
///
/// Of several files in one text each begins at a comment with its path. As root this writes them:
/// `mentat-sync example systemd | awk '/^# \/etc\//{f=$2} {print > f}'`
#[derive(Args)]
pub struct ExampleCommand {
    /// The text to print.
    #[arg(value_enum)]
    name: Example,
}

/// The texts that there are.
#[derive(Clone, Copy, ValueEnum)]
enum Example {
    Systemd,
    Nginx,
    Caddy,
    Haproxy,
    Compose,
    Cron,
    Shards,
    ShardsHaproxy,
}

impl Example {
    fn text(self) -> &'static str {
        match self {
            Self::Systemd => include_str!("../../../scripts/examples/systemd"),
            Self::Nginx => include_str!("../../../scripts/examples/nginx"),
            Self::Caddy => include_str!("../../../scripts/examples/caddy"),
            Self::Haproxy => include_str!("../../../scripts/examples/haproxy"),
            Self::Compose => include_str!("../../../scripts/examples/compose"),
            Self::Cron => include_str!("../../../scripts/examples/cron"),
            Self::Shards => include_str!("../../../scripts/examples/shards"),
            Self::ShardsHaproxy => include_str!("../../../scripts/examples/shards-haproxy"),
        }
    }
}

impl ExampleCommand {
    /// Prints the text. Fails where stdout takes nothing.
    pub fn run(&self) -> Result<(), Failure> {
        print(|out| out.write_all(self.name.text().as_bytes()))
    }
}
