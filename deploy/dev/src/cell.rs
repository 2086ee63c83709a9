//! A whole cell on this machine: an orchestrator and agents, as processes of their own on loopback.
//!
//! Settings, states and logs lie in one folder. Processes are stopped by the process ids they were started with; a cell that
//! is dropped takes its processes with it.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::process::{Process, binary};
use crate::{store, wait};

/// How long a process may take to answer after its start: a loaded machine builds other things at the same time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// One storage node of a cell.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Where its shards are; several of them may be one folder, seen through different layouts.
    pub roots: Vec<RootSpec>,
    /// `marker` or `fs`: what identifies volumes.
    pub volume: &'static str,
    /// Failure domains.
    pub labels: Vec<(String, String)>,
}

/// One root of a node.
#[derive(Clone, Debug)]
pub struct RootSpec {
    /// Where its volume is mounted.
    pub path: PathBuf,
    /// Path from there to a mailbox.
    pub layout: String,
    /// What makes a shard.
    pub sharding: Sharding,
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
    copies: Vec<Process>,
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
            copies: Vec::new(),
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
            "cell = \"here\"\nstate_dir = {}\n[listen]\nagents = [\"127.0.0.1:{port}\"]\noperators = [\"127.0.0.1:{port}\"]\nmetrics = \"127.0.0.1:{}\"\n",
            quoted(path_text(&self.folder.join("orchestrator"))?),
            self.metrics_port,
            port = self.port,
        );
        fs::write(&settings, text).context("write the orchestrator's settings")?;
        let mut command = Command::new(binary("rientro-orchestrator")?);
        command.arg("--config").arg(&settings);
        let process = Process::start(command, &self.folder.join("orchestrator.log"))?;
        self.orchestrator = Some(process);
        let answers = |cell: &Self| cell.cli(&["cell", "show"]).is_ok_and(|output| output.status.success());
        ensure!(
            self.lives_until(answers)?,
            "the orchestrator does not answer; see {}",
            self.log("orchestrator")
        );
        Ok(())
    }

    /// Waits for a condition; false when it did not hold in time.
    ///
    /// # Errors
    /// When a process of the cell has ended meanwhile: nothing is left to wait for.
    fn lives_until(&mut self, mut holds: impl FnMut(&Self) -> bool) -> Result<bool> {
        let mut ended = None;
        let met = wait::until(START_LIMIT, || {
            ended = self.ended();
            ended.is_some() || holds(self)
        });
        match ended {
            Some(name) => bail!("{name} has ended; see {}", self.log(&name)),
            None => Ok(met),
        }
    }

    /// The name of a process that was started and runs no longer by itself.
    fn ended(&mut self) -> Option<String> {
        if self.orchestrator.as_mut().is_some_and(Process::has_ended) {
            return Some("orchestrator".to_owned());
        }
        let ended = |process: &mut Option<Process>| process.as_mut().is_some_and(Process::has_ended);
        let name = |(node, process): &mut (NodeSpec, _)| ended(process).then(|| node.name.clone());
        self.agents.iter_mut().find_map(name)
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
        let state = self.folder.join(&node.name);
        fs::write(&settings, agent_settings(node, &state, self.port)?)
            .context("write an agent's settings")?;
        let mut command = Command::new(binary("rientro-agent")?);
        command.arg("run").arg("--config").arg(&settings);
        *process = Some(Process::start(command, &self.folder.join(format!("{}.log", node.name)))?);
        Ok(())
    }

    /// Starts another agent with a copy of a node's state directory and these roots: what a cloned machine is. Settings, state
    /// and log are beside those of the node, with `-copy` after its name.
    ///
    /// # Errors
    /// When the state cannot be copied, or the agent not be started.
    pub fn start_copy(&mut self, at: usize, roots: Vec<RootSpec>) -> Result<()> {
        let node = NodeSpec { roots, ..self.agents[at].0.clone() };
        let copy = format!("{}-copy", node.name);
        let state = self.folder.join(&copy);
        store::copy(&self.folder.join(&node.name), &state)?;
        let settings = self.folder.join(format!("{copy}.toml"));
        fs::write(&settings, agent_settings(&node, &state, self.port)?)
            .context("write an agent's settings")?;
        let mut command = Command::new(binary("rientro-agent")?);
        command.arg("run").arg("--config").arg(&settings);
        self.copies.push(Process::start(command, &self.folder.join(format!("{copy}.log")))?);
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

    /// Runs the `rientro` command with the terminal of this process until it ends, or until it is asked to because of this
    /// condition. Gives its exit; nothing when it was interrupted.
    ///
    /// # Errors
    /// When it cannot be run, or does not end in time after it was asked to.
    pub fn follow(&self, args: &[&str], interrupted: impl Fn() -> bool) -> Result<Option<ExitStatus>> {
        let mut command = self.rientro(args)?;
        let mut process = Process::spawn(command.stdin(Stdio::null()))?;
        while !wait::until(START_LIMIT, || process.has_ended() || interrupted()) {}
        if interrupted() {
            process.end(Signal::INT)?;
            return Ok(None);
        }
        process.wait().map(Some)
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

    /// Runs a command of the agent of a node, by its position, beside the one that runs, and returns what it printed. The
    /// settings of the node are its last argument.
    ///
    /// # Errors
    /// When it does not succeed, with what it said.
    pub fn ask_agent(&self, at: usize, args: &[&str]) -> Result<String> {
        let settings = self.folder.join(format!("{}.toml", self.agents[at].0.name));
        let mut command = Command::new(binary("rientro-agent")?);
        let output =
            command.args(args).arg("--config").arg(settings).output().context("run rientro-agent")?;
        if !output.status.success() {
            bail!("rientro-agent {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        String::from_utf8(output.stdout).context("read what rientro-agent printed")
    }

    /// Waits until every agent has shown its shards.
    ///
    /// # Errors
    /// When the number of shards is not reached.
    pub fn await_shards(&mut self, shards: usize) -> Result<()> {
        let shown = |cell: &Self| {
            let listed = cell.ask(&["shard", "list", "--max", "0", "--output", "json"]).unwrap_or_default();
            let listed: serde_json::Value = serde_json::from_str(&listed).unwrap_or_default();
            listed.as_array().is_some_and(|listed| listed.len() >= shards)
        };
        ensure!(
            self.lives_until(shown)?,
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
            process.take().map_or(Ok(()), |process| process.end(Signal::TERM))?;
        }
        self.copies.drain(..).try_for_each(|copy| copy.end(Signal::TERM))?;
        self.orchestrator.take().map_or(Ok(()), |process| process.end(Signal::TERM))
    }

    fn log(&self, name: &str) -> String {
        self.folder.join(format!("{name}.log")).display().to_string()
    }
}

fn agent_settings(node: &NodeSpec, state: &Path, port: u16) -> Result<String> {
    let NodeSpec { name, roots, volume, labels } = node;
    let state = quoted(path_text(state)?);
    let mut text = format!(
        "node = {}\nstate = {state}\nendpoints = [\"http://127.0.0.1:{port}\"]\n\n[labels]\n",
        quoted(name)
    );
    for (label, value) in labels {
        writeln!(text, "{label} = {}", quoted(value)).context("write a label")?;
    }
    for RootSpec { path, layout, sharding } in roots {
        let sharding = match sharding {
            Sharding::Prefix(prefix) => format!("shard = {}", quoted(prefix)),
            Sharding::Volume(id) => format!("shard_id = {}", quoted(id)),
        };
        let (path, layout) = (quoted(path_text(path)?), quoted(layout));
        write!(text, "\n[[roots]]\npath = {path}\nlayout = {layout}\n{sharding}\nvolume = {volume:?}\n")
            .context("write a root")?;
    }
    Ok(text)
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("the path {} is not UTF-8; settings cannot hold it", path.display()))
}

/// A text as TOML has it: its basic strings know the escapes of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A port nobody listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr().context("read the port")?.port())
}
