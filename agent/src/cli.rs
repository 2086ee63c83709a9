//! The command line: the daemon, and its work offline.

mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(args),
    }
}

/// Data: to standard output. A reader that went away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Everything else: to standard error.
fn say(text: &str) {
    use std::io::Write;
    writeln!(std::io::stderr().lock(), "{text}").ok();
}
