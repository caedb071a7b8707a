//! The headings that commands stand under in `--help`: a server's, a device's, and those for the store of either.

use clap::Command;

/// The commands of a device.
pub const DEVICE: [&str; 12] = [
    "init", "clone", "commit", "pull", "push", "sync", "cat", "follow", "status", "invite",
    "rekey", "import",
];

/// The commands of whoever runs a server.
const SERVER: [&str; 7] = [
    "serve", "gc", "backup", "drill", "users", "example", "health",
];

/// The command line, whose `--help` lists its commands by headings.
pub fn under_headings(command: Command) -> Command {
    let of = |name: &str| match name {
        name if SERVER.contains(&name) => 0,
        name if DEVICE.contains(&name) => 1,
        _ => 2,
    };
    let mut lists = [String::new(), String::new(), String::new()];
    let names = command.get_subcommands().map(Command::get_name);
    let width = names.map(str::len).max();
    for one in command.get_subcommands() {
        let name = one.get_name();
        let about = one.get_about().map(ToString::to_string).unwrap_or_default();
        let about = first_sentence(&about);
        let width = width.unwrap_or_default();
        lists[of(name)].push_str(&format!("  {name:width$}  {about}\n"));
    }
    let headings = ["A server", "A device", "The store of either"];
    let lists: String = headings
        .iter()
        .zip(lists)
        .filter(|(_, list)| !list.is_empty())
        .map(|(heading, list)| format!("{heading}:\n{list}\n"))
        .collect();
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{lists}Options:\n{{options}}{{after-help}}"
    );
    command.help_template(template)
}

/// So much of what is said about a command as fits beside its name.
fn first_sentence(about: &str) -> String {
    let end = [". ", ": ", "; "]
        .iter()
        .filter_map(|end| about.find(end))
        .min();
    let about = &about[..end.unwrap_or(about.len())];
    about.trim_end_matches('.').replace(['{', '}'], "")
}
