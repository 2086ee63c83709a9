//! What really happened on the agents, kept by the world for the monitor. No agent and no engine reads it.

use std::collections::BTreeMap;

use rientro_types::{
    AttemptNo, CellTime, Incarnation, NodeId, ServiceSet, ShardId, Task, TaskEnd, TaskKind, VolumeId,
};

use crate::truth::{Content, Host};

/// A try that an agent really began.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Where.
    pub host: Host,
    /// Under which name.
    pub node: NodeId,
    /// On the word of which life of the cell.
    pub life: Incarnation,
    /// What.
    pub kind: TaskKind,
    /// On which volume.
    pub volume: VolumeId,
}

/// How an agent said a try ended.
#[derive(Clone, Debug)]
pub struct Told {
    /// What it said.
    pub end: TaskEnd,
    /// Whether it said what it found. What a liar said cannot be judged by anyone, so the monitor does not.
    pub honest: bool,
    /// What was really there at that moment.
    pub content: Option<Content>,
    /// That moment.
    pub at: CellTime,
}

/// The log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The time of the world, whatever the clock of the cell says.
    pub now: CellTime,
    begun: BTreeMap<(ShardId, AttemptNo), Begun>,
    told: BTreeMap<(ShardId, AttemptNo), Told>,
    /// Tries begun since the monitor last looked.
    pub fresh: Vec<(ShardId, AttemptNo)>,
    /// Tries that were begun twice: never right.
    pub twice: Vec<String>,
    /// Machines whose agent has lied at some time.
    pub liars: std::collections::BTreeSet<Host>,
    /// Services made durable since the monitor last looked.
    pub serves: Vec<(CellTime, Host, ShardId, ServiceSet)>,
}

impl Log {
    /// A try begins.
    pub fn begun(&mut self, host: Host, node: NodeId, life: Incarnation, task: &Task) {
        let key = (task.shard, task.attempt);
        let begun = Begun { host, node, life, kind: task.action.kind(), volume: task.volume };
        if let Some(before) = self.begun.insert(key, begun) {
            self.twice.push(format!(
                "attempt {} of shard {} ran on {} and again on {node}",
                task.attempt, task.shard, before.node
            ));
        }
        self.told.remove(&key);
        self.fresh.push(key);
    }

    /// A try ended.
    pub fn told(
        &mut self,
        shard: ShardId,
        attempt: AttemptNo,
        end: TaskEnd,
        honest: bool,
        content: Option<Content>,
    ) {
        let at = self.now;
        self.told.insert((shard, attempt), Told { end, honest, content, at });
    }

    /// Services were made durable.
    pub fn served(&mut self, at: CellTime, host: Host, shard: ShardId, services: ServiceSet) {
        self.serves.push((at, host, shard, services));
    }

    /// How a try ended, if an agent really ran it.
    #[must_use]
    pub fn end_of(&self, shard: ShardId, attempt: AttemptNo) -> Option<&Told> {
        self.told.get(&(shard, attempt))
    }

    /// Whether the agent on a machine has ever lied.
    #[must_use]
    pub fn is_liar(&self, host: Host) -> bool {
        self.liars.contains(&host)
    }

    /// Whether any agent has ever lied.
    #[must_use]
    pub fn any_liar(&self) -> bool {
        !self.liars.is_empty()
    }

    /// Where a try really began.
    #[must_use]
    pub fn begin_of(&self, shard: ShardId, attempt: AttemptNo) -> Option<&Begun> {
        self.begun.get(&(shard, attempt))
    }

    /// The volume a try was ordered on.
    #[must_use]
    pub fn volume(&self, shard: ShardId, attempt: AttemptNo) -> VolumeId {
        self.begun.get(&(shard, attempt)).map_or_else(|| crate::names::volume(0), |begun| begun.volume)
    }
}
