//! `rientro-agent run`: the daemon.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use rientro_mailstore::OPEN_FILES_MAX;

use crate::hung::HUNG_MAX;
use crate::roots::Root;
use crate::settings::{Overrides, Settings};

/// Threads for blocking work beyond those of tasks and of what is left behind: looks at roots, lists, findings.
const BLOCKING_SPARE: usize = 64;

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Flags of `run`. Each stands above the environment, which stands above the file.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Settings file.
    #[arg(long, env = "RIENTRO_AGENT_CONFIG")]
    config: Option<PathBuf>,
    /// Name of this node.
    #[arg(long, env = "RIENTRO_AGENT_NODE")]
    node: Option<String>,
    /// State directory.
    #[arg(long, env = "RIENTRO_AGENT_STATE")]
    state: Option<PathBuf>,
    /// Where orchestrators are, tried in turn: http://127.0.0.1:PORT or unix:/PATH.
    #[arg(long = "endpoint", env = "RIENTRO_AGENT_ENDPOINTS", value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Only check the settings, and what they name.
    #[arg(long)]
    check: bool,
    /// What is logged, such as `info` or `rientro_agent=debug`.
    #[arg(long, env = "RIENTRO_AGENT_LOG", default_value = "info")]
    log: String,
    /// How it is logged.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

pub(super) fn run(args: RunArgs) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::say(&format!("rientro-agent: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(args: RunArgs) -> Result<()> {
    let RunArgs { config, node, state, endpoints, check, log, log_format } = args;
    let settings = Settings::load(config.as_deref(), Overrides { node, state, endpoints })?;
    if check {
        return report(&settings);
    }
    log_to_stderr(&log, log_format)?;
    warn_of_few_files(super::raise_file_limit(), settings.tasks_max);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(2 * settings.tasks_max + HUNG_MAX * settings.roots.len() + BLOCKING_SPARE)
        .build()
        .context("start the runtime")?;
    let roots = settings.roots.clone();
    let ended = runtime.block_on(async {
        // Beside everything else: a list on a disk that hangs holds up nothing.
        drop(tokio::task::spawn_blocking(move || warn_of_lists(&roots)));
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let daemon = crate::daemon::run(settings, stop.clone());
        tokio::pin!(daemon);
        // Cancel-safe: the daemon is polled in place, and a signal that is heard ends the waiting.
        tokio::select! {
            ended = &mut daemon => return ended,
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
        }
        daemon.await
    });
    // A thread that hangs in a read of a dead disk must not keep the process.
    runtime.shutdown_background();
    ended
}

/// Says so when a list of expected mailboxes cannot be read: it may be there by the time of the first task.
fn warn_of_lists(roots: &[Root]) {
    for error in roots.iter().filter_map(|root| root.check_expected().err()) {
        tracing::warn!("{error}; every verification there fails until it can be read");
    }
}

/// Says so when tasks at full size would not fit under the limit of open files: what cannot be opened counts as unreadable.
fn warn_of_few_files(files: u64, tasks_max: usize) {
    let needed = u64::try_from(2 * tasks_max * OPEN_FILES_MAX).unwrap_or(u64::MAX);
    if files < needed {
        tracing::warn!(
            files,
            needed,
            "with all tasks at work there may be too few open files, and shards would be told unreadable; raise the limit \
             (LimitNOFILE= of the service, or ulimit -n), or lower tasks_max"
        );
    }
}

/// Says what the settings lead to, root by root.
fn report(settings: &Settings) -> Result<()> {
    let unreadable: Vec<_> = settings.roots.iter().filter_map(|root| root.check_expected().err()).collect();
    if !unreadable.is_empty() {
        let lines: Vec<_> = unreadable.iter().map(ToString::to_string).collect();
        bail!(
            "{}\nmend or name another file in `expected`: without it every verification there fails",
            lines.join("\n")
        );
    }
    let roots = match settings.roots.len() {
        1 => "1 root".to_owned(),
        more => format!("{more} roots"),
    };
    let mut lines = vec![format!("node {} with {roots}: settings are good", settings.node)];
    for root in &settings.roots {
        let path = root.path.display();
        let volume = match root.volume() {
            Some(id) => id.to_string(),
            None if root.marker_only => format!(
                "no volume with a marker; once the right one is mounted, `rientro-agent volume enrol {path}` gives it one"
            ),
            None => format!("no volume that counts; `rientro-agent volume show {path}` tells why"),
        };
        lines.push(format!("{path}: {volume}"));
    }
    super::print(&(lines.join("\n") + "\n"))
}

fn log_to_stderr(filter: &str, format: LogFormat) -> Result<()> {
    // Its error is told whole by its text, which repeats what led to it.
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow!("cannot read the log filter {filter:?}: {error}"))?;
    let to = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that cannot be written, its disk being full, must not take down what is logged about.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => to.init(),
        LogFormat::Json => to.json().init(),
    }
    Ok(())
}
