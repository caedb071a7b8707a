//! The commands of whoever runs a server.

mod any_certificate;
mod backup;
mod drill;
mod example;
mod gc;
mod health;
mod heartbeat;
mod listening;
mod log_flags;
mod log_queue;
mod logging;
mod metrics;
mod scratch;
mod serve;
mod service;
mod serving;
mod signalled;
mod signals;
mod user_changes;
mod user_moves;
mod users;
mod values;

use clap::Subcommand;

use crate::cli::failure::Failure;

/// A command of whoever runs a server: the feature `serve` builds them.
#[derive(Subcommand)]
pub enum ServerCommand {
    Serve(Box<serve::ServeCommand>),
    Gc(gc::GcCommand),
    Backup(backup::BackupCommand),
    Drill(drill::DrillCommand),
    Users(users::UsersCommand),
    Example(example::ExampleCommand),
    Health(health::HealthCommand),
}

impl ServerCommand {
    /// Runs the command, and fails as it does.
    pub fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Serve(serve) => serve.run(),
            Self::Gc(gc) => gc.run(),
            Self::Backup(backup) => backup.run(),
            Self::Drill(drill) => drill.run(),
            Self::Users(users) => users.run(),
            Self::Example(example) => example.run(),
            Self::Health(health) => health.run(),
        }
    }
}
