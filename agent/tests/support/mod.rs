//! The real binary, an orchestrator that does what a test says, and small volumes.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; anything else fails it")]
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

pub(crate) mod orchestrator;
pub(crate) mod volume;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rientro_types::{
    Action, AttemptNo, ByteSize, CampaignId, CellId, Epoch, Incarnation, Level, Order, Pace, Seq, ShardId,
    Span, Task, VolumeId,
};
use rientro_wire::session::Welcome;

/// Key of mailbox ids that the scripted orchestrator gives.
pub(crate) const KEY: [u8; 32] = [7; 32];

const BINARY: &str = env!("CARGO_BIN_EXE_rientro-agent");

/// A node: settings, state directory and a volume, in a folder of their own.
pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) volume: volume::Volume,
    space_min: &'static str,
    /// Lines for the table of the one root.
    root: String,
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    pub(crate) log: PathBuf,
}

impl Node {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let volume = volume::Volume::enrolled(&dir.path().join("mail"), 1);
        Self { dir, volume, space_min: "1 MiB", root: String::new() }
    }

    /// Keeps so much free on the state directory's file system.
    pub(crate) fn keeping_free(self, space_min: &'static str) -> Self {
        Self { space_min, ..self }
    }

    /// From the next start on, expects the mailboxes of this list.
    pub(crate) fn expecting(&mut self, list: &str) {
        let path = self.dir.path().join("list");
        fs::write(&path, list).unwrap();
        self.root = format!("expected = {path:?}\n");
    }

    /// From the next start on, has a second root.
    pub(crate) fn beside(&mut self, other: &volume::Volume) {
        let path = &other.path;
        self.root += &format!(
            "\n[[roots]]\npath = {path:?}\nlayout = \"{{shard}}/{{domain}}/{{user}}\"\nshard = \"{{shard}}\"\nvolume = \"marker\"\n"
        );
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn settings(&self) -> PathBuf {
        let text = format!(
            "node = \"n1\"\nstate = {state:?}\nrescan = \"1s\"\nstate_space_min = {space:?}\n\n[labels]\nrack = \"r1\"\n\n\
             [[roots]]\npath = {path:?}\nlayout = \"{{shard}}/{{domain}}/{{user}}\"\nshard = \"{{shard}}\"\nvolume = \"marker\"\n\
             {root}",
            state = self.state(),
            space = self.space_min,
            path = self.volume.path,
            root = self.root,
        );
        let path = self.dir.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts the agent against these endpoints.
    pub(crate) fn start(&self, endpoints: &[&str]) -> Agent {
        self.start_through(&mut Command::new(BINARY), endpoints)
    }

    /// Starts it in a shell, after this line: what the shell sets up, the agent inherits.
    pub(crate) fn start_after(&self, line: &str, endpoints: &[&str]) -> Agent {
        let script = format!("{line}; exec \"$0\" \"$@\"");
        self.start_through(Command::new("sh").args(["-c", &script, BINARY]), endpoints)
    }

    fn start_through(&self, command: &mut Command, endpoints: &[&str]) -> Agent {
        let log = self.dir.path().join("log");
        let to = fs::File::options().append(true).create(true).open(&log).unwrap();
        let child = command
            .args(["run", "--endpoint", &endpoints.join(","), "--config"])
            .arg(self.settings())
            .env("NO_COLOR", "1")
            .stdout(Stdio::null())
            .stderr(to)
            .spawn()
            .unwrap();
        Agent { child, log }
    }
}

impl Agent {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, and wait until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn shard(name: &str) -> ShardId {
    ShardId::new(name).unwrap()
}

pub(crate) fn attempt(number: u32) -> AttemptNo {
    AttemptNo::from_raw(number)
}

/// An order of the cell's first life and term.
pub(crate) fn order(seq: u64) -> Order {
    order_of("cell", 1, 1, seq)
}

pub(crate) fn order_of(cell: &str, incarnation: u32, epoch: u64, seq: u64) -> Order {
    Order {
        cell: CellId::new(cell).unwrap(),
        incarnation: Incarnation::from_raw(incarnation),
        epoch: Epoch::from_raw(epoch),
        seq: Seq::from_raw(seq),
    }
}

pub(crate) fn welcome() -> Welcome {
    welcome_of(&order(0))
}

pub(crate) fn welcome_of(order: &Order) -> Welcome {
    Welcome {
        cell: order.cell,
        incarnation: order.incarnation,
        epoch: order.epoch,
        heartbeat: Span::from_ms(500),
        silence: Span::from_secs(20),
        mailbox_key: KEY,
        session_bytes_max: 64 << 10,
        bulk_bytes_max: 1 << 20,
        inventory_known: false,
    }
}

pub(crate) fn verify(name: &str, number: u32, volume: VolumeId) -> Task {
    Task {
        shard: shard(name),
        attempt: attempt(number),
        campaign: CampaignId::new("return").unwrap(),
        volume,
        action: Action::Verify { level: Level::Structure },
        pace: Pace { bytes_per_second: ByteSize::from_bytes(0), readers: 2 },
    }
}

/// A verification so slow that a test can do things to it.
pub(crate) fn slow_verify(name: &str, number: u32, volume: VolumeId) -> Task {
    let pace = Pace { bytes_per_second: ByteSize::from_bytes(64 << 10), readers: 2 };
    Task { pace, ..verify(name, number, volume) }
}

pub(crate) fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}

/// The agent as one whom modes shut out: root is not, unless it gives that up.
pub(crate) fn unprivileged() -> Command {
    let binary = env!("CARGO_BIN_EXE_rientro-agent");
    if !rustix::process::geteuid().is_root() {
        return Command::new(binary);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", binary]);
    command
}
