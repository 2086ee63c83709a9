//! Processes of this crate's harness: found beside the running program, and ended with whoever started them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// How long a process may take to end after it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A program of this workspace: beside the running one, or beside the folder of the running test.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("find this program")?;
    let candidates = here.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built; run `cargo build --workspace --bins`"))
}

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it as the command says.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.spawn();
        let name = || format!("start {}", command.get_program().to_string_lossy());
        Ok(Self(child.with_context(name)?))
    }

    /// Starts it with everything it says added to a log.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let log_file = File::options().create(true).append(true).open(log).context("open a log")?;
        command.stdin(Stdio::null()).stdout(log_file.try_clone().context("share a log")?).stderr(log_file);
        Self::spawn(&mut command)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(Some(_)))
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        self.0.wait().context("wait for a process")
    }

    /// Ends it without any warning.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.0.kill().context("kill a process")?;
        self.0.wait().context("wait for a killed process")?;
        Ok(())
    }

    /// Asks it to end and waits until it has; it is killed when it does not in time, which is an error.
    pub(crate) fn end(mut self, signal: Signal) -> Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.0), signal).context("ask a process to end")?;
        let ended = wait::until(STOP_LIMIT, || self.has_ended());
        ensure!(ended, "process {} did not end in time", self.0.id());
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.0.kill().ok();
            self.0.wait().ok();
        }
    }
}
