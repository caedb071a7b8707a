//! The flags of `serve` that say how it logs.

use clap::{Args, ValueEnum};

use crate::cli::arguments::is_set;
use crate::http::{Clients, TrustedProxy};

/// How the log is written, and whether clients' addresses are in it.
#[derive(Args)]
pub struct LogFlags {
    /// How log lines are written: for people, or one JSON object a line for programs.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "MENTAT_SYNC_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,

    /// Tell in the access log the address that each request came from.
    #[arg(long, env = "MENTAT_SYNC_LOG_CLIENT", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    log_client: bool,

    /// A proxy that is believed in X-Forwarded-For whom it asks for: a network (10.0.0.0/8), an address, or `unix` for
    /// whoever connects to a socket in the file system. May be given several times (in the environment with commas).
    #[arg(
        long,
        value_name = "CIDR",
        env = "MENTAT_SYNC_TRUSTED_PROXY",
        value_delimiter = ','
    )]
    trusted_proxy: Vec<TrustedProxy>,
}

/// The ways to write a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFlags {
    /// The choices about addresses in the access log.
    pub fn clients(&self) -> Clients {
        Clients {
            logged: self.log_client,
            proxies: self.trusted_proxy.clone(),
        }
    }
}
