//! The orchestrator's process: settings, log, signals.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Parser;
use rientro_orchestrator::settings::{Flags, LogFormat, Settings};
use rientro_orchestrator::{raise_file_limit, start};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let check = flags.check;
    match Settings::load(flags).context("read settings") {
        Ok(settings) if check => print(&settings.to_string()),
        Ok(settings) => report(run(settings)),
        Err(error) => report(Err(error)),
    }
}

#[allow(clippy::print_stdout, reason = "what --check was asked for")]
fn print(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr, reason = "the one place where an error is told")]
fn report(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rientro-orchestrator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> anyhow::Result<()> {
    log_to_stderr(&settings)?;
    raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start threads")?;
    let ended = runtime.block_on(serve(settings));
    // A thread that hangs in a write to a dead disk must not keep the process.
    runtime.shutdown_background();
    ended
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for signals")?;
    let asked = async {
        // Cancel-safe: signals are kept by their streams.
        tokio::select! {
            _ = terminate.recv() => tracing::info!("asked to stop"),
            _ = interrupt.recv() => tracing::info!("interrupted"),
        }
    };
    tokio::pin!(asked);
    // Cancel-safe: nothing is led before it has started.
    let mut running = tokio::select! {
        () = &mut asked => return Ok(()),
        started = start(settings) => started.context("start the orchestrator")?,
    };
    // Cancel-safe: waiting for the end stops nothing.
    tokio::select! {
        () = &mut asked => {}
        ended = running.ended() => return ended.context("lead the cell"),
    }
    running.stop();
    running.ended().await.context("stop the orchestrator")
}

fn log_to_stderr(settings: &Settings) -> anyhow::Result<()> {
    // Its error is told whole by its text, which repeats what led to it.
    let filter = EnvFilter::try_new(&settings.log_filter)
        .map_err(|error| anyhow!("cannot read the log filter {:?}: {error}", settings.log_filter))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that cannot be written, its disk being full, must not take down what is logged about.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
