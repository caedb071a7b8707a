//! A device's command that was asked for wrongly, before it is known what was meant.

use std::ffi::{OsStr, OsString};

use clap::Error;

use super::told::{DeviceTrouble, tell};
use crate::cli::failure::Failure;
use crate::cli::headings::DEVICE;

/// The words for whoever gave an invite as an argument.
pub const INVITE_IN_ARGUMENTS: &str =
    "an invite is no argument, which others on this box can see: `mentat-sync clone` asks for it";

/// The refusal of these arguments of the process, its own name not among them: an object on stdout where a device's command
/// was to speak JSON, and words without the secret where there is one among them. `None` where the words of the refusal
/// itself are right; also for `--help` and `--version`, which are none.
pub fn refused(error: &Error, arguments: &[OsString]) -> Option<Failure> {
    if !error.use_stderr() {
        return None;
    }
    let has_invite = arguments.iter().any(|argument| is_invite(argument));
    let json = is_of_device(arguments) && speaks_json(arguments);
    let rendered = error.to_string();
    let words = match has_invite {
        true => INVITE_IN_ARGUMENTS,
        false if json => rendered.trim_start_matches("error: ").trim_end(),
        false => return None,
    };
    Some(tell(json, DeviceTrouble::usage(words)))
}

/// Whether an argument has an invite in it, or what is nearly one.
pub fn is_invite(argument: &OsStr) -> bool {
    argument.to_string_lossy().to_lowercase().contains("#ms1")
}

/// Whether the command, the first that is neither a flag nor the directory of a `-C`, is one of a device.
fn is_of_device(arguments: &[OsString]) -> bool {
    let mut rest = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = rest.next() {
        match &*argument {
            "-C" => drop(rest.next()),
            flag if flag.starts_with('-') => {}
            command => return DEVICE.contains(&command),
        }
    }
    false
}

/// Whether `--json` is among the flags: what stands behind `--` is none.
fn speaks_json(arguments: &[OsString]) -> bool {
    let flags = arguments.iter().take_while(|argument| *argument != "--");
    { flags }.any(|argument| argument == "--json")
}
