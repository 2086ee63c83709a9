//! The command line, run as a process against a canned cell: what it shows, what it asks, and how it ends.

mod backups;
mod decisions;
mod findings;
mod fixtures;
mod foreign;
mod full;
mod journal;
mod mailbox;
mod plans;
mod redrawn;
mod server;
mod shown;
mod watched;

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use server::{Canned, Server};

/// Longest run of one command: they take milliseconds, unless something hangs.
pub(crate) const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// A canned cell and how to ask it.
pub(crate) struct Cell {
    pub(crate) endpoint: String,
    pub(crate) server: Arc<Server>,
}

/// How a command ended.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    command: String,
}

impl Cell {
    pub(crate) async fn new(canned: Canned) -> Self {
        let (endpoint, server) = server::serve(canned).await;
        Self { endpoint, server }
    }

    /// Runs `rientro` with these arguments, without a terminal.
    pub(crate) async fn run(&self, args: &[&str]) -> Run {
        run(&self.endpoint, args).await
    }

    /// The same, where nothing can be written to stdout.
    pub(crate) async fn run_full(&self, args: &[&str]) -> Run {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("the device");
        run_to(&self.endpoint, args, full.into()).await
    }
}

/// Runs `rientro` against an endpoint.
pub(crate) async fn run(endpoint: &str, args: &[&str]) -> Run {
    run_to(endpoint, args, Stdio::piped()).await
}

async fn run_to(endpoint: &str, args: &[&str], stdout: Stdio) -> Run {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_rientro"));
    command
        .args(args)
        .env_clear()
        .envs([("RIENTRO_ENDPOINT", endpoint), ("TZ", "UTC"), ("LOGNAME", "anna")])
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let running = command.spawn().expect("rientro runs");
    let output =
        tokio::time::timeout(RUN_TIMEOUT, running.wait_with_output()).await.expect("it ends in time");
    let Output { status, stdout, stderr } = output.expect("it can be waited for");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8").replace(endpoint, "http://CELL");
    Run {
        code: status.code().expect("not killed"),
        stdout: text(stdout),
        stderr: text(stderr),
        command: format!("rientro {}", args.join(" ")),
    }
}

impl Run {
    /// The whole run, for a snapshot.
    pub(crate) fn transcript(&self) -> String {
        let Self { code, stdout, stderr, command } = self;
        let stderr = if stderr.is_empty() { String::new() } else { format!("--- stderr\n{stderr}") };
        format!("$ {command}\n{stdout}{stderr}--- exit {code}\n")
    }
}

/// The transcripts of several commands against a fresh default cell.
pub(crate) async fn transcripts(commands: &[&[&str]]) -> String {
    let cell = Cell::new(Canned::default()).await;
    let mut text = String::new();
    for args in commands {
        text.push_str(&cell.run(args).await.transcript());
        text.push('\n');
    }
    text
}
