//! The command line: the daemon, and its work offline.

mod detect;
mod inventory;
mod manifest;
mod report;
mod run;
mod source;
mod verify;
mod volume;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Exit code of the offline commands when what they read is damaged.
const DAMAGED: u8 = 1;
/// Exit code of the offline commands when they cannot answer.
const COULD_NOT_TELL: u8 = 2;

/// The agent of a storage node.
#[derive(Debug, Parser)]
#[command(name = "rientro-agent", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent.
    Run(run::RunArgs),
    /// Verify mail on this machine. Exit codes: 0 clean, 1 damaged, 2 could not tell.
    Verify(verify::VerifyArgs),
    /// Write, show or export baselines.
    #[command(subcommand)]
    Manifest(manifest::ManifestCommand),
    /// Show or enrol volumes.
    #[command(subcommand)]
    Volume(volume::VolumeCommand),
    /// List shards and mailboxes below a path, without reading any mail.
    Inventory(inventory::InventoryArgs),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Verify(args) => verify::run(&args),
        Command::Manifest(command) => manifest::run(&command),
        Command::Volume(command) => answer(volume::run(&command)),
        Command::Inventory(args) => answer(inventory::run(&args)),
    }
}

/// Lets this process open as many files as the system allows it, and returns how many that are: each reader holds several.
fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let files = if raised.is_ok() { limit.maximum } else { limit.current };
    files.unwrap_or(u64::MAX)
}

fn answer(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("rientro-agent: {error:#}"));
            COULD_NOT_TELL.into()
        }
    }
}

/// Data: to standard output. A reader that went away has seen what it wanted.
fn print(text: &str) -> Result<()> {
    match write_out(text) {
        Err(error)
            if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Data: to standard output.
fn write_out(text: &str) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// Everything else: to standard error.
fn say(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}
