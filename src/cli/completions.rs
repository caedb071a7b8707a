//! `mentat-sync completions`: what a shell needs to complete this command line.

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::Failure;
use super::output::print;

/// Print what a shell completes this command line with: for bash into
/// /usr/share/bash-completion/completions/mentat-sync, for zsh into a directory of $fpath as _mentat-sync, for fish
/// into ~/.config/fish/completions/mentat-sync.fish.
#[derive(Args)]
pub struct CompletionsCommand {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsCommand {
    /// Prints them for this command line. Fails where stdout takes nothing.
    pub fn run(&self, mut whole: Command) -> Result<(), Failure> {
        let name = whole.get_name().to_owned();
        // Generated into memory: the generator panics where it cannot write.
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut whole, &name, &mut text);
        let mut text =
            String::from_utf8(text).map_err(|error| Failure::failed(error.to_string()))?;
        if self.shell == Shell::Bash {
            // The generator calls a program that has a hyphen in its name by two names, and then completes no flag.
            let (one, other) = (name.replace('-', "__"), name.replace('-', "__subcmd__"));
            text = text.replace(&other, &one);
        }
        print(|out| out.write_all(text.as_bytes()))
    }
}
