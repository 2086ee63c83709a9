//! The watch over the world: checks the rules on what was journaled, on what was commanded, and on what is really so.
//!
//! It keeps its own books from the records alone. Where a record speaks of many shards at once (a sweep, an abort, a new
//! revision), a second engine that only follows the journal tells which ones were hit: that is what a standby would know.
//! What a lying agent said is judged as it was said: neither a real orchestrator nor this watch can know better, so the truth
//! behind it is left out; that it was asked, that it fits the attempt, and that the policy passes what was said is not.

mod books;
mod charges;
mod clock;
mod doors;
mod holds;
mod reach;
mod rules;
mod stuck;

use std::collections::{BTreeMap, BTreeSet};

use rientro_engine::{Command, Engine};
use rientro_types::{
    AttemptNo, CampaignId, CellTime, Decision, Entry, Incarnation, NodeId, NodeIncarnation, Record, Seq,
    ShardId, ShardState,
};

pub use books::{Books, ShardBook};
pub use clock::Listened;
pub use reach::{Asked, Stepped};
pub(crate) use rules::is_actionable;

use crate::Make;
use crate::agent::Agent;
use crate::log::Log;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its id, such as `R1`.
    pub rule: String,
    /// On which shard, when it is about one.
    pub shard: Option<ShardId>,
    /// What was found.
    pub found: String,
    /// When.
    pub at: CellTime,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} broken at {}: {}", self.rule, self.at.unix_ms() - crate::world::EPOCH_MS, self.found)
    }
}

/// After so many violations nothing more is learnt.
const VIOLATIONS_MAX: usize = 24;

/// The watch.
pub struct Monitor {
    /// What was found.
    pub violations: Vec<Violation>,
    /// Its books.
    pub books: Books,
    /// Time in which somebody listened.
    pub clock: Listened,
    follower: Engine,
    make: Make,
    now: CellTime,
    /// Whether the run cannot go on.
    pub fatal: bool,
    cancel_sent: BTreeSet<(NodeId, ShardId, AttemptNo)>,
    /// What the present batch has closed, where it was told to be closed, and which sessions began in it.
    closed: BTreeSet<(NodeId, ShardId)>,
    close_sent: BTreeSet<(NodeId, ShardId)>,
    begun: BTreeSet<NodeId>,
    /// Shards that the present batch's verbs and campaigns have decided on.
    decided_on: BTreeSet<ShardId>,
    /// Shards of campaigns that were paused or aborted, until a person sends them on.
    stopped: BTreeSet<(CampaignId, ShardId)>,
    /// Tries that the present batch has ended: what it ordered of them before leaves after that.
    ended: BTreeSet<(ShardId, AttemptNo)>,
    decided: BTreeMap<Seq, &'static str>,
    holds: holds::Holds,
    charges: charges::Charges,
    /// Whether the journal ever went back to a backup, and whether no leader has taken it over since.
    restored: bool,
    restoring: bool,
    orphaned: BTreeSet<NodeId>,
    doors: doors::Doors,
    waits: stuck::Waits,
    /// Pairs of a shard's state and what happened to it.
    pub seen: crate::coverage::Pairs,
}

impl Monitor {
    /// A watch over an empty journal.
    #[must_use]
    pub fn new(make: Make) -> Self {
        Self {
            violations: Vec::new(),
            books: Books::default(),
            clock: Listened::default(),
            follower: make(),
            make,
            now: CellTime::default(),
            fatal: false,
            cancel_sent: BTreeSet::new(),
            closed: BTreeSet::new(),
            close_sent: BTreeSet::new(),
            begun: BTreeSet::new(),
            decided_on: BTreeSet::new(),
            stopped: BTreeSet::new(),
            ended: BTreeSet::new(),
            decided: BTreeMap::new(),
            holds: holds::Holds::new(),
            charges: charges::Charges::new(),
            restored: false,
            restoring: false,
            orphaned: BTreeSet::new(),
            doors: doors::Doors::default(),
            waits: stuck::Waits::default(),
            seen: crate::coverage::Pairs::default(),
        }
    }

    /// Notes a violation.
    pub fn broken(&mut self, rule: &str, shard: Option<ShardId>, found: String) {
        let same = |v: &Violation| v.rule == rule && v.shard == shard;
        if self.violations.len() < VIOLATIONS_MAX && !self.violations.iter().any(same) {
            self.violations.push(Violation { rule: rule.to_owned(), shard, found, at: self.now });
        }
    }

    /// The engine that follows the journal.
    #[must_use]
    pub fn follower(&self) -> &Engine {
        &self.follower
    }

    /// State of a shard as the journal has it.
    #[must_use]
    pub fn state_of(&self, shard: ShardId) -> Option<ShardState> {
        self.follower.shard_view(shard).map(|view| view.shard.state())
    }

    /// An entry has become durable at the real moment `now`.
    pub fn entry(&mut self, now: CellTime, entry: &Entry, log: &Log) {
        self.now = now;
        for (seq, decision) in (entry.seq.raw()..).zip(&entry.decisions) {
            let seq = Seq::from_raw(seq);
            self.record(seq, entry, decision, log);
            if self.fatal {
                return;
            }
        }
    }

    fn record(&mut self, seq: Seq, entry: &Entry, decision: &Decision, log: &Log) {
        self.decided.insert(seq, crate::transcript::word(&decision.record));
        if decision.actor.id.is_empty() {
            self.broken("R11", None, format!("record {seq} names nobody"));
        }
        self.before(decision, entry.at, log);
        let wide = is_wide(&decision.record);
        let before = if wide { self.all_shards() } else { Vec::new() };
        let single = Entry { seq, decisions: vec![decision.clone()], ..entry.clone() };
        if let Err(error) = self.follower.replay(&single) {
            self.broken("R4", None, error.to_string());
            self.fatal = true;
            return;
        }
        self.books.apply(&decision.record, entry.at, self.clock.now());
        match &decision.record {
            Record::NodeEnrolled { node, .. } => self.clock.heard(*node),
            Record::CellRestored { .. } => self.restoring = false,
            Record::CampaignResumed { campaign } => self.stopped.retain(|(of, _)| of != campaign),
            Record::TaskEnded { shard, attempt, .. } | Record::TaskReleased { shard, attempt, .. } => {
                self.ended.insert((*shard, *attempt));
            }
            Record::ShardMeasured { shard, .. } | Record::ShardReleased { shard }
                if self.state_of(*shard) == Some(ShardState::Waiting) =>
            {
                self.books.give_up_short(*shard);
            }
            _ => {}
        }
        let after = wide.then(|| self.all_shards());
        self.note_holds(decision, entry.at, after.as_deref());
        if let Some(after) = after {
            self.swept(decision, &before, &after);
        }
    }

    fn all_shards(&self) -> Vec<rientro_types::ShardSnapshot> {
        let all = rientro_types::Selector { all: true, ..Default::default() };
        let views = self.follower.shard_views(&all, None, usize::MAX);
        views.into_iter().map(|view| view.shard).collect()
    }

    /// The journal went back to an older backup: the books go back with it.
    pub fn restored(&mut self, now: CellTime, entries: &[Entry], log: &Log) {
        let fresh = Self::new(self.make.clone());
        let old = std::mem::replace(self, fresh);
        for entry in entries {
            self.entry(now, entry, log);
        }
        // Rules about time and truth were checked when these entries were first made durable.
        self.books.forget_starts();
        self.violations = old.violations;
        self.fatal |= old.fatal;
        self.clock = old.clock;
        self.orphaned = old.orphaned;
        self.seen = old.seen;
        self.restored = true;
        self.restoring = true;
        self.now = now;
    }

    /// R4: `other` has the durable state that the journal gives.
    pub fn same(&mut self, what: &str, other: &Engine) {
        if let Some(found) = crate::transcript::parted(&self.follower, other) {
            self.broken("R4", None, format!("{what} differs from what the journal gives: {found}"));
        }
    }

    /// The engine's own rules, in full, and what it noticed itself.
    pub fn audit(&mut self, engine: &Engine) {
        for violation in engine.audit().into_iter().chain(engine.broken().iter().cloned()) {
            self.broken(violation.rule, None, format!("by the engine's own rules: {}", violation.found));
        }
    }

    /// A node's name was taken by another agent: its earlier holder runs on and nobody can know.
    pub fn orphan(&mut self, node: NodeId) {
        self.orphaned.insert(node);
    }

    /// What the agents really do, against the books. R2: whatever runs is booked.
    pub fn really(&mut self, agents: &[Agent], log: &mut Log) {
        for found in std::mem::take(&mut log.twice) {
            if !self.restored {
                self.broken("R4", None, found);
            }
        }
        for key in std::mem::take(&mut log.fresh) {
            self.really_begun(key, agents, log);
        }
        for (at, host, shard, services) in std::mem::take(&mut log.serves) {
            let book = self.books.shard(shard).map(|book| (book.services, book.ever));
            let allowed = book.is_some_and(|(_, ever)| services.intersection(ever) == services);
            if !allowed && !self.restored {
                let found = format!("shard {shard} serves {services} on machine {host}, never opened");
                self.now = self.now.max(at);
                self.broken("R1", Some(shard), found);
            }
        }
    }

    fn really_begun(&mut self, (shard, attempt): (ShardId, AttemptNo), agents: &[Agent], log: &Log) {
        let Some(begun) = log.begin_of(shard, attempt) else { return };
        let (node, host, kind) = (begun.node, begun.host, begun.kind);
        if !self.is_known(&agents[host], log) || self.is_lost_life(begun.life) {
            return;
        }
        let Some(max) = self.books.booked_under(node, shard, attempt) else {
            let found = format!("attempt {attempt} of shard {shard} runs on {node} and is not booked there");
            return self.broken("R2", Some(shard), found);
        };
        let running = agents[host].running.values().filter(|work| work.task.action.kind() == kind).count();
        if running as u64 > u64::from(max) {
            let found = format!("{running} tasks of one kind run on {node}; {max} were allowed");
            self.broken("R2", Some(shard), found);
        }
    }

    /// Whether it was decided in an earlier life of the cell: the restored journal may not know of it until the agent tells.
    fn is_lost_life(&self, life: Incarnation) -> bool {
        self.restoring || self.follower.cell_view().is_some_and(|cell| life < cell.incarnation)
    }

    /// Whether the orchestrator can know what an agent runs: it holds its name alone, and has never lied.
    fn is_known(&self, agent: &Agent, log: &Log) -> bool {
        self.books.incarnation(agent.node) == Some(agent.incarnation)
            && !self.orphaned.contains(&agent.node)
            && !log.is_liar(agent.host)
    }

    /// What still runs is booked, on every agent that holds its name.
    pub fn running(&mut self, agents: &[Agent], log: &Log) {
        for agent in agents.iter().filter(|agent| agent.up) {
            if !self.is_known(agent, log) {
                continue;
            }
            for (shard, attempt) in agent.running.keys() {
                let old = log.begin_of(*shard, *attempt).is_some_and(|begun| self.is_lost_life(begun.life));
                if !old && self.books.booked_under(agent.node, *shard, *attempt).is_none() {
                    let node = agent.node;
                    let found =
                        format!("attempt {attempt} of shard {shard} still runs on {node} and is not booked");
                    self.broken("R2", Some(*shard), found);
                }
            }
        }
    }

    /// Commands of a step whose records are durable.
    pub fn commands(&mut self, now: CellTime, stepped: &Stepped) {
        self.now = now;
        for command in &stepped.commands {
            self.command(command);
        }
        self.reached(stepped);
    }

    fn command(&mut self, command: &Command) {
        if let Err((rule, shard, found)) = self.allowed(command) {
            self.broken(rule, shard, found);
        }
        if let Command::Welcome { node, .. } = command {
            self.cancel_sent.retain(|(n, _, _)| n != node);
            self.begun.insert(*node);
        }
    }

    /// The life a node's name belongs to.
    #[must_use]
    pub fn incarnation(&self, node: NodeId) -> Option<NodeIncarnation> {
        self.books.incarnation(node)
    }

    /// Whether a campaign is paused, as the journal has it.
    #[must_use]
    pub fn is_paused(&self, campaign: CampaignId) -> bool {
        self.follower
            .campaign_view(campaign)
            .is_some_and(|view| matches!(view.state, rientro_types::CampaignState::Paused(_)))
    }
}

/// Whether a record may touch shards that it does not name.
fn is_wide(record: &Record) -> bool {
    matches!(
        record,
        Record::CellRestored { .. }
            | Record::Closed { .. }
            | Record::Retried { .. }
            | Record::Accepted { .. }
            | Record::Adopted { .. }
            | Record::Prioritised { .. }
            | Record::CampaignAborted { .. }
            | Record::CampaignReady { .. }
            | Record::CampaignRevised { .. }
            | Record::ShardPlaced { .. }
            | Record::Settled { .. }
            | Record::WaveFormed { .. }
    )
}
