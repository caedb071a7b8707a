//! The arguments that commands of both sides have, and how a yes or no is spelled.

use std::path::PathBuf;

use clap::Args;

/// The flag that all subcommands have.
#[derive(Args)]
pub struct DataDirectory {
    /// The data directory.
    #[arg(
        long = "data",
        value_name = "DIR",
        env = "MENTAT_SYNC_DATA",
        default_value = "./data",
        global = true
    )]
    pub path: PathBuf,
}

/// A yes or no that can be given as a flag or, with a value, in the environment.
pub fn is_set(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("not true or false".to_owned()),
    }
}
