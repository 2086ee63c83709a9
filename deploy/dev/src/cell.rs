//! A whole cell on this machine: an orchestrator and agents, as processes of their own on loopback.
//!
//! Settings, states and logs lie in one folder. Processes are stopped by the process ids they were started with; a cell that
//! is dropped takes its processes with it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// How long a process may take to answer after its start: a loaded machine builds other things at the same time.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a process may take to end after it was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// One storage node of a cell.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Where its volume is mounted.
    pub root: PathBuf,
    /// Path from the root to a mailbox.
    pub layout: String,
    /// What makes a shard.
    pub sharding: Sharding,
    /// `marker` or `fs`: what identifies the volume.
    pub volume: &'static str,
    /// Failure domains.
    pub labels: Vec<(String, String)>,
}

/// What makes a shard.
#[derive(Clone, Debug)]
pub enum Sharding {
    /// Leading components of the layout.
    Prefix(String),
    /// The whole volume is one shard of this name.
    Volume(String),
}

/// A running cell.
pub struct Cell {
    folder: PathBuf,
    port: u16,
    metrics_port: u16,
    orchestrator: Option<Process>,
    agents: Vec<(NodeSpec, Option<Process>)>,
}

impl Cell {
    /// Starts an orchestrator and an agent for each node; what an earlier run left in the folder goes on.
    ///
    /// # Errors
    /// When a process cannot be started, or does not answer; its log is named.
    pub fn start(folder: &Path, nodes: Vec<NodeSpec>) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let mut cell = Self {
            folder: folder.to_owned(),
            port: free_port()?,
            metrics_port: free_port()?,
            orchestrator: None,
            agents: nodes.into_iter().map(|node| (node, None)).collect(),
        };
        cell.start_orchestrator()?;
        for at in 0..cell.agents.len() {
            cell.start_agent(at)?;
        }
        Ok(cell)
    }

    /// Where operators connect.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where metrics are.
    #[must_use]
    pub fn metrics(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics_port)
    }

    /// The cell's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the orchestrator and waits until it answers operators.
    ///
    /// # Errors
    /// When it does not.
    pub fn start_orchestrator(&mut self) -> Result<()> {
        let settings = self.folder.join("orchestrator.toml");
        let text = format!(
            "cell = \"here\"\nstate_dir = {:?}\n[listen]\nagents = [\"127.0.0.1:{port}\"]\noperators = [\"127.0.0.1:{port}\"]\nmetrics = \"127.0.0.1:{}\"\n",
            self.folder.join("orchestrator"),
            self.metrics_port,
            port = self.port,
        );
        fs::write(&settings, text).context("write the orchestrator's settings")?;
        let mut command = Command::new(binary("rientro-orchestrator")?);
        command.arg("--config").arg(&settings);
        let process = Process::start(command, &self.folder.join("orchestrator.log"))?;
        self.orchestrator = Some(process);
        let answers = || self.cli(&["cell", "show"]).is_ok_and(|output| output.status.success());
        ensure!(
            wait::until(START_LIMIT, answers),
            "the orchestrator does not answer; see {}",
            self.log("orchestrator")
        );
        Ok(())
    }

    /// Kills the orchestrator without any warning.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_orchestrator(&mut self) -> Result<()> {
        self.orchestrator.take().context("the orchestrator does not run")?.kill()
    }

    /// Starts the agent of a node, by its position.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&mut self, at: usize) -> Result<()> {
        let (node, process) = &mut self.agents[at];
        let settings = self.folder.join(format!("{}.toml", node.name));
        fs::write(&settings, agent_settings(node, &self.folder, self.port)?)
            .context("write an agent's settings")?;
        let mut command = Command::new(binary("rientro-agent")?);
        command.arg("run").arg("--config").arg(&settings);
        *process = Some(Process::start(command, &self.folder.join(format!("{}.log", node.name)))?);
        Ok(())
    }

    /// Kills the agent of a node without any warning.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_agent(&mut self, at: usize) -> Result<()> {
        self.agents[at].1.take().context("the agent does not run")?.kill()
    }

    /// Runs the `rientro` command against this cell, without a terminal.
    ///
    /// # Errors
    /// When it cannot be run; that it was refused is in its output.
    pub fn cli(&self, args: &[&str]) -> Result<Output> {
        let mut command = self.rientro(args)?;
        command.stdin(Stdio::null()).output().context("run rientro")
    }

    /// The `rientro` command for this cell, with the terminal of this process.
    ///
    /// # Errors
    /// When the program is not beside this one.
    pub fn rientro(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("rientro")?);
        command.env("RIENTRO_ENDPOINT", self.endpoint()).args(args);
        Ok(command)
    }

    /// Runs the `rientro` command and returns what it printed.
    ///
    /// # Errors
    /// When it does not succeed, with what it said.
    pub fn ask(&self, args: &[&str]) -> Result<String> {
        let output = self.cli(args)?;
        if !output.status.success() {
            bail!("rientro {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        String::from_utf8(output.stdout).context("read what rientro printed")
    }

    /// Waits until every agent has shown its shards.
    ///
    /// # Errors
    /// When the number of shards is not reached.
    pub fn await_shards(&self, shards: usize) -> Result<()> {
        let shown = || {
            let listed = self.ask(&["shard", "list", "--output", "json"]).unwrap_or_default();
            let listed: serde_json::Value = serde_json::from_str(&listed).unwrap_or_default();
            listed.as_array().is_some_and(|listed| listed.len() >= shards)
        };
        ensure!(
            wait::until(START_LIMIT, shown),
            "fewer than {shards} shards were shown; see the logs in {}",
            self.folder.display()
        );
        Ok(())
    }

    /// Asks every process to end, and waits for it.
    ///
    /// # Errors
    /// When one does not end in time; it is killed then.
    pub fn stop(mut self) -> Result<()> {
        for (_, process) in &mut self.agents {
            process.take().map_or(Ok(()), Process::stop)?;
        }
        self.orchestrator.take().map_or(Ok(()), Process::stop)
    }

    fn log(&self, name: &str) -> String {
        self.folder.join(format!("{name}.log")).display().to_string()
    }
}

fn agent_settings(node: &NodeSpec, folder: &Path, port: u16) -> Result<String> {
    let NodeSpec { name, root, layout, sharding, volume, labels } = node;
    let mut text = format!(
        "node = {name:?}\nstate = {:?}\nendpoints = [\"http://127.0.0.1:{port}\"]\n\n[labels]\n",
        folder.join(name)
    );
    for (label, value) in labels {
        writeln!(text, "{label} = {value:?}").context("write a label")?;
    }
    let sharding = match sharding {
        Sharding::Prefix(prefix) => format!("shard = {prefix:?}"),
        Sharding::Volume(id) => format!("shard_id = {id:?}"),
    };
    write!(text, "\n[[roots]]\npath = {root:?}\nlayout = {layout:?}\n{sharding}\nvolume = {volume:?}\n")
        .context("write a root")?;
    Ok(text)
}

/// A program of this workspace: beside the running one, or beside the folder of the running test.
fn binary(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("find this program")?;
    let candidates = here.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built; run `cargo build --workspace --bins`"))
}

/// A port nobody listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr().context("read the port")?.port())
}

/// A process that ends with its owner.
struct Process(Child);

impl Process {
    fn start(mut command: Command, log: &Path) -> Result<Self> {
        let log_file = File::options().create(true).append(true).open(log).context("open a log")?;
        command.stdin(Stdio::null()).stdout(log_file.try_clone().context("share a log")?).stderr(log_file);
        let child =
            command.spawn().with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
        Ok(Self(child))
    }

    fn kill(mut self) -> Result<()> {
        self.0.kill().context("kill a process")?;
        self.0.wait().context("wait for a killed process")?;
        Ok(())
    }

    fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, Signal::TERM).context("ask a process to end")?;
        let ended = wait::until(STOP_LIMIT, || matches!(self.0.try_wait(), Ok(Some(_))));
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
