//! The command line: one file a subcommand. It prints, shows progress and sets the exit status.
//!
//! Here are the commands that any store is looked at with, a server's or a device's; those of whoever runs a server are in
//! `server`, which the feature `serve` builds, and those of a device in `device`, which the feature `client` does.

// Where the server's commands are not built, nobody uses some of what all share.
#![cfg_attr(not(feature = "serve"), allow(dead_code))]

mod arguments;
mod completions;
#[cfg(feature = "client")]
mod device;
mod failure;
mod fsck;
mod headings;
mod log;
mod man;
mod open;
mod output;
mod progress;
#[cfg(feature = "serve")]
mod server;
mod snapshot;
mod whom;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
#[cfg(feature = "client")]
use clap::{ArgMatches, parser::ValueSource};

use failure::Failure;

/// A sync server for one box: a user is a uuid, and knowing it is the access. Devices upload
/// immutable chunks, string them into transactions, and advance HEAD by compare-and-swap. All of it
/// is plain files in one directory.
///
/// A device has a replica of one user's store, for use offline: a journal, encrypted before it leaves the device.
///
/// Exit status: 0; 1 damage found, or failed; 2 wrong usage; 3 could not check, or offline: try later; for a device also
/// 4 others were quicker; 5 the server's history is not ours; 6 another key.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct CommandLine {
    /// The directory of a device's replica, or one in it; else the one that the working directory is in. For a device's
    /// commands, and those for the store of either.
    #[cfg(feature = "client")]
    #[arg(short = 'C', value_name = "DIR")]
    at: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "serve")]
    #[command(flatten)]
    Server(server::ServerCommand),
    #[cfg(feature = "client")]
    #[command(flatten)]
    Device(device::DeviceCommand),
    Fsck(fsck::FsckCommand),
    Snapshot(snapshot::SnapshotCommand),
    Log(log::LogCommand),
    Completions(completions::CompletionsCommand),
    Man(man::ManCommand),
}

#[cfg(feature = "client")]
impl Command {
    /// The data directory of a command that looks at the store of a server or of a device.
    fn data_of_either(&mut self) -> Option<&mut arguments::DataDirectory> {
        match self {
            Self::Fsck(fsck) => Some(&mut fsck.data),
            Self::Snapshot(snapshot) => Some(&mut snapshot.data),
            Self::Log(log) => Some(&mut log.data),
            _ => None,
        }
    }
}

/// The command, for which a variable of the environment that is empty is as one that is not set: what a compose file
/// makes of a variable that nobody has given it.
fn without_empty(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    command
        .mut_args(|arg| match is_empty(&arg) {
            true => arg.env(Resettable::Reset),
            false => arg,
        })
        .mut_subcommands(without_empty)
}

/// Finds the store of a command that looks at one of either kind.
#[cfg(feature = "client")]
fn find_store(parsed: &mut CommandLine, given: &ArgMatches) -> Result<(), Failure> {
    let Some(data) = parsed.command.data_of_either() else {
        return Ok(());
    };
    let source = given
        .subcommand()
        .and_then(|(_, flags)| flags.value_source("path"));
    let is_open = source == Some(ValueSource::DefaultValue);
    device::find_store(data, parsed.at.as_deref(), is_open)
}

/// Runs the command that is meant.
fn dispatch(parsed: CommandLine) -> Result<(), Failure> {
    #[cfg(feature = "client")]
    let CommandLine { at, command } = parsed;
    #[cfg(not(feature = "client"))]
    let CommandLine { command } = parsed;
    match command {
        #[cfg(feature = "client")]
        Command::Device(device) => device.run(at),
        Command::Fsck(fsck) => fsck.run(),
        Command::Snapshot(snapshot) => snapshot.run(),
        Command::Log(log) => log.run(),
        #[cfg(feature = "client")]
        _ if at.is_some() => Err(Failure::usage(
            "-C is for a device's commands: --data names a server's store",
        )),
        #[cfg(feature = "serve")]
        Command::Server(server) => server.run(),
        Command::Completions(completions) => completions.run(CommandLine::command()),
        Command::Man(man) => man.run(CommandLine::command()),
    }
}

/// Reads the arguments of the process. Ends the process where they are only to be answered, or are refused in clap's words.
fn parse() -> Result<CommandLine, Failure> {
    let command = without_empty(headings::under_headings(CommandLine::command()));
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let parsed = command
        .try_get_matches_from(&arguments)
        .and_then(|given| CommandLine::from_arg_matches(&given).map(|parsed| (parsed, given)));
    #[cfg(feature = "client")]
    let parsed = parsed.map_err(|error| {
        let own = arguments.get(1..).unwrap_or_default();
        device::refused(&error, own).unwrap_or_else(|| error.exit())
    });
    #[cfg(not(feature = "client"))]
    let parsed = parsed.map_err(|error| -> Failure { error.exit() });
    #[cfg_attr(not(feature = "client"), allow(unused_variables, unused_mut))]
    let (mut parsed, given) = parsed?;
    #[cfg(feature = "client")]
    find_store(&mut parsed, &given)?;
    Ok(parsed)
}

/// Runs the program with the arguments of the process.
pub fn run() -> ExitCode {
    match parse().and_then(dispatch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { status, words }) => {
            if !words.is_empty() {
                eprintln!("mentat-sync: {words}");
            }
            ExitCode::from(status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    /// Those of a device take nothing from the environment: others may read it, and a wrong replica is soon hit.
    fn is_of_device(name: &str) -> bool {
        headings::DEVICE.contains(&name)
    }

    fn names_its_variables(command: &clap::Command) {
        for flag in command.get_arguments() {
            let Some(long) = flag
                .get_long()
                .filter(|long| !["help", "version"].contains(long))
            else {
                continue;
            };
            let name = format!("MENTAT_SYNC_{}", long.to_uppercase().replace('-', "_"));
            let env = flag.get_env().and_then(|env| env.to_str());
            if is_of_device(command.get_name()) {
                assert_eq!(env, None, "{} --{long}", command.get_name());
                continue;
            }
            assert_eq!(env, Some(name.as_str()), "{} --{long}", command.get_name());
        }
        command.get_subcommands().for_each(names_its_variables);
    }

    #[test]
    fn every_flag_is_also_an_environment_variable_but_for_a_devices() {
        names_its_variables(&CommandLine::command());
    }
}
