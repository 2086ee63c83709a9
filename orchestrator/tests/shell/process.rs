//! The real binary, as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rientro_orchestrator::Address;
use rustix::process::{Pid, Signal, kill_process};

use crate::cell::{Operator, flags, until};
use crate::disk::Disk;

const BINARY: &str = env!("CARGO_BIN_EXE_rientro-orchestrator");

/// A running binary.
pub(crate) struct Process {
    child: Child,
    /// Where it listens for agents, and for operators too.
    pub(crate) address: Address,
    /// Where its metrics are.
    pub(crate) metrics: Address,
    log: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Drop for Process {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Process {
    /// Starts it with more flags, and waits until it listens.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        Self::start_as(Command::new(BINARY), folder, more)
    }

    /// Starts it where no process may have more files open.
    pub(crate) fn start_with_files(files: u32, folder: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), BINARY]);
        Self::start_as(shell, folder, &[])
    }

    /// Starts it where it is to be refused; gives what it says.
    pub(crate) fn refused(folder: &Path) -> String {
        let mut command = Command::new(BINARY);
        let ended = command.args(flags(folder).into_iter().skip(1)).output().unwrap();
        assert!(!ended.status.success(), "it starts");
        String::from_utf8(ended.stderr).unwrap()
    }

    /// Starts it where its state is on a small disk.
    pub(crate) fn start_on(disk: &Disk, more: &[&str]) -> Self {
        let mut command = disk.command();
        command.arg(BINARY);
        Self::start_as(command, &disk.folder, more)
    }

    fn start_as(mut command: Command, folder: &Path, more: &[&str]) -> Self {
        let mut child = command
            .args(flags(folder).into_iter().skip(1))
            .args(["--log-format", "json"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let mut address = |whom: &str| {
            let line =
                lines.by_ref().inspect(|line| said.push(line.clone())).find(|line| line.contains(whom));
            let line = line.expect("it tells where it listens");
            let (_, rest) = line.split_once("\"address\":\"").unwrap();
            rest.split_once('"').unwrap().0.parse().unwrap()
        };
        let (agents, metrics) = (address("\"whom\":\"agents\""), address("\"whom\":\"metrics\""));
        let log = Some(std::thread::spawn(move || said.into_iter().chain(lines).collect()));
        Self { child, address: agents, metrics, log }
    }

    /// An operator, once it leads.
    pub(crate) async fn operator(&self) -> Operator {
        let operator = Operator::connect(&self.address).await;
        until(|| operator.cell(), Result::is_ok).await.unwrap();
        operator
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// kill -9, and wait until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap();
    }

    /// Waits until it gives up by itself; gives its log.
    pub(crate) fn gives_up(mut self) -> Vec<String> {
        assert!(!self.child.wait().unwrap().success(), "it gives up");
        self.log.take().unwrap().join().unwrap()
    }

    /// Asks it to stop; gives its log.
    pub(crate) fn terminate(mut self) -> Vec<String> {
        kill_process(self.pid(), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "it ends well when asked to");
        self.log.take().unwrap().join().unwrap()
    }
}
