//! What the agent decides: which orders it obeys, which tries it runs, what it tells and when. Without IO, clock or threads.
//!
//! The shell hands in what happened and carries out the effects that come back, in order. A [`Effect::Write`] is answered with
//! [`Input::Written`] once the facts are on disk, in the order of their writing, and what depends on them being durable comes
//! back only then: a try begins, services are confirmed and a result is told after they are durable, never before. What stops
//! or slows work is never behind a write.
//!
//! Which orders are obeyed:
//!
//! - only those of the one cell that this state directory has met, and of its present life and term or a newer one;
//! - a try begins when its number is above every number begun on its shard in this life of the cell. A number that is not is
//!   answered from what is known about it, and never run again;
//! - services are set when the order is newer than the one that set them; the very same order is confirmed again.
//!
//! Nothing here closes or opens anything because the orchestrator is gone, and tries go on without it.

mod orders;
mod tries;

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{
    AttemptNo, CampaignId, Digest, FindingKinds, Incarnation, Order, Pace, Progress, ServiceSet, ShardId,
    Task, TaskEnd,
};
use rientro_wire::limits::SESSION_PAGE_MAX;
use rientro_wire::session::{AgentMessage, OrchestratorMessage, RunningTask, ServedShard, Welcome};

use crate::state::{Fact, Facts};

pub(crate) use tries::problem;

/// Most results told and not acknowledged: a node that was alone for a day does not flood a session.
const RESULTS_UNACKNOWLEDGED_MAX: usize = 256;
/// Most tries under way or waiting for their turn; the orchestrator's own budgets are far below.
pub const TRIES_MAX: usize = 4_096;
/// Ticks after a Welcome until tasks go on that were suspended in an earlier session and are not suspended again.
const DOUBT_TICKS: u8 = 2;

/// Number of one run of a task in this process: two tries of the same number, begun in two lives of the cell, are two runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunNo(u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A session was let in on these terms.
    Connected(Box<Welcome>),
    /// The session is gone.
    Disconnected,
    /// The orchestrator said something.
    Said(OrchestratorMessage),
    /// These facts are durable.
    Written(Vec<Fact>),
    /// These facts could not be written, and are not: there is no space, say.
    NotWritten(Vec<Fact>, String),
    /// A run ended, in this way.
    Ended(RunNo, TaskEnd),
    /// About a second passed; how far runs are.
    Tick(Vec<(RunNo, Progress)>),
    /// The inventory differs from the one before.
    InventoryChanged,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make a fact durable.
    Write(Fact),
    /// Tell the orchestrator; lost without a session.
    Send(AgentMessage),
    /// End the session.
    HangUp(Reason),
    /// Begin a task, held when `paused`.
    Begin {
        /// Names the run.
        run: RunNo,
        /// What.
        job: Box<Job>,
        /// Whether its campaign is suspended.
        paused: bool,
    },
    /// End a run soon; it then ends as any other.
    Cancel(RunNo),
    /// Hold a run where it is, or let it go on.
    Hold(RunNo, bool),
    /// Change how hard a run presses.
    Pace(RunNo, Pace),
    /// Answer a request for findings.
    UploadFindings(FindingsWanted),
    /// Tell the inventory, and lists of mailboxes that were not told.
    ReportInventory {
        /// Look again first.
        rescan: bool,
        /// Forget which lists were told.
        whole: bool,
        /// Key of mailbox ids.
        mailbox_key: [u8; 32],
        /// Shards with open services.
        served: Vec<(ShardId, ServiceSet)>,
    },
}

/// A task, and what it takes of the cell that ordered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What to do.
    pub task: Task,
    /// The life of the cell that counts the task's try.
    pub life: Incarnation,
    /// Key of mailbox ids.
    pub mailbox_key: [u8; 32],
}

/// A request for findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingsWanted {
    /// Names the request in the answer.
    pub request_id: u64,
    /// The life of the cell that asks, and counts the try.
    pub life: Incarnation,
    /// The shard.
    pub shard: ShardId,
    /// Which try.
    pub attempt: AttemptNo,
    /// Most findings.
    pub max_findings: u64,
    /// Kinds; empty for any.
    pub kinds: FindingKinds,
    /// Whether addresses and mailbox paths are wanted.
    pub with_addresses: bool,
    /// Whether the newest kept of that try and those before it is wanted.
    pub or_earlier: bool,
}

/// Why a session is ended from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The orchestrator is of another cell.
    OtherCell,
    /// The orchestrator's term has passed.
    PastTerm,
    /// The order of messages was broken.
    Protocol,
}

/// Why an order was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It is of another cell.
    OtherCell,
    /// Its life or term has passed.
    PastTerm,
    /// A newer one was acted on for that shard.
    Overtaken,
    /// No session was let in.
    NoSession,
}

/// A try that is under way, from the decision to begin it until its result is durable.
#[derive(Clone, Debug)]
struct Try {
    task: Task,
    order: Order,
    /// Key of mailbox ids in the session that began it: it goes on when that session is gone.
    mailbox_key: [u8; 32],
    stage: Stage,
    /// Told last.
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its beginning is being made durable.
    Accepted {
        /// It was cancelled meanwhile.
        cancelled: bool,
    },
    /// It runs, or waits for its turn.
    Running(RunNo),
    /// Its result is being made durable.
    Ended,
}

/// The terms of the session there is.
#[derive(Clone, Debug)]
struct Terms {
    fence: Order,
    mailbox_key: [u8; 32],
    inventory_known: bool,
    /// Its life and term are durable here: results may be told.
    greeted: bool,
    /// Results told and not acknowledged.
    told: BTreeSet<(ShardId, AttemptNo)>,
}

/// The state.
#[derive(Debug, Default)]
pub struct Core {
    facts: Facts,
    /// The newest life and term met; durable in the facts once it is written.
    fence: Option<Order>,
    terms: Option<Terms>,
    tries: BTreeMap<(ShardId, AttemptNo), Try>,
    /// Tries that run.
    runs: BTreeMap<RunNo, (ShardId, AttemptNo)>,
    run_last: RunNo,
    /// Newest orders for services that are being made durable.
    serving: BTreeMap<ShardId, Order>,
    /// Campaigns whose tries are held. After a Welcome they are in doubt for so many ticks.
    suspended: BTreeMap<CampaignId, Option<u8>>,
    /// The inventory changed while nobody could be told.
    inventory_untold: bool,
    /// The journal entry of the order obeyed last: one witness of it is enough.
    entry_last: Option<Digest>,
    /// Facts that could not be written and are tried again.
    unwritten: Vec<Fact>,
    refused: BTreeMap<Refusal, u64>,
    effects: Vec<Effect>,
}

impl Core {
    /// The core over these facts.
    #[must_use]
    pub fn new(facts: Facts) -> Self {
        Self { fence: facts.fence, facts, ..Self::default() }
    }

    /// What is durable.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Orders refused so far, by reason.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<Refusal, u64> {
        &self.refused
    }

    /// Takes one input; returns what to do, in order.
    #[must_use]
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Connected(welcome) => self.connected(&welcome),
            Input::Disconnected => self.terms = None,
            Input::Said(message) => self.said(message),
            Input::Written(facts) => facts.iter().for_each(|fact| self.written(fact)),
            Input::NotWritten(facts, why) => facts.into_iter().for_each(|fact| self.not_written(fact, &why)),
            Input::Ended(run, end) => self.run_ended(run, end),
            Input::Tick(progress) => self.tick(progress),
            Input::InventoryChanged => {
                self.inventory_untold = true;
                self.report_inventory(false, false);
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// A life or term that is newer than any before is made durable before any result is told.
    fn connected(&mut self, welcome: &Welcome) {
        let Welcome { cell, incarnation, epoch, mailbox_key, inventory_known, .. } = *welcome;
        let seq = rientro_types::Seq::default();
        let fence = Order { cell, incarnation, epoch, seq };
        self.terms = None;
        match self.fence {
            Some(held) if held.cell != fence.cell => return self.hang_up(Reason::OtherCell),
            Some(held) if held > fence => return self.hang_up(Reason::PastTerm),
            Some(_) | None => {}
        }
        self.terms =
            Some(Terms { fence, mailbox_key, inventory_known, greeted: false, told: BTreeSet::new() });
        if self.facts.fence == Some(fence) { self.greet() } else { self.raise(fence) }
    }

    fn raise(&mut self, fence: Order) {
        self.fence = Some(fence);
        self.effects.push(Effect::Write(Fact::Fence(fence)));
    }

    fn hang_up(&mut self, reason: Reason) {
        self.terms = None;
        self.effects.push(Effect::HangUp(reason));
    }

    /// All that runs and is served, as a session begins with it: the orchestrator reconciles from this.
    #[must_use]
    pub fn greeting(&self) -> Vec<AgentMessage> {
        let running: Vec<_> = self.tries.values().map(|try_| running_task(&try_.task)).collect();
        let served: Vec<_> =
            self.facts.served().map(|(shard, services)| ServedShard { shard, services }).collect();
        let pages = running.chunks(SESSION_PAGE_MAX).map(|page| AgentMessage::Running(page.to_vec()));
        let pages =
            pages.chain(served.chunks(SESSION_PAGE_MAX).map(|page| AgentMessage::Served(page.to_vec())));
        pages.chain([AgentMessage::HelloDone]).collect()
    }

    /// Tells results and the inventory.
    fn greet(&mut self) {
        let Some(terms) = &mut self.terms else { return };
        terms.greeted = true;
        let known = terms.inventory_known;
        self.suspended.values_mut().for_each(|doubt| *doubt = Some(DOUBT_TICKS));
        self.tell_results();
        // What the Hello told may be known, and the inventory another one since.
        if !known || self.inventory_untold {
            self.report_inventory(false, !known);
        }
    }

    fn tell_results(&mut self) {
        let Some(terms) = self.terms.as_mut().filter(|terms| terms.greeted) else { return };
        for (shard, attempt, end) in self.facts.outbox() {
            if terms.told.len() >= RESULTS_UNACKNOWLEDGED_MAX {
                break;
            }
            if terms.told.insert((shard, attempt)) {
                let end = end.clone();
                self.effects.push(Effect::Send(AgentMessage::TaskResult { shard, attempt, end }));
            }
        }
    }

    fn report_inventory(&mut self, rescan: bool, whole: bool) {
        let Some(terms) = self.terms.as_ref().filter(|terms| terms.greeted) else { return };
        let mailbox_key = terms.mailbox_key;
        self.inventory_untold = false;
        let served = self.facts.served().collect();
        self.effects.push(Effect::ReportInventory { rescan, whole, mailbox_key, served });
    }

    /// What becomes true once a fact is durable.
    fn written(&mut self, fact: &Fact) {
        let before = self.facts.fence;
        self.facts.apply(fact);
        if self.facts.fence > before {
            self.fence_rose(before);
        }
        match *fact {
            Fact::Fence(_) | Fact::Obeyed(_) => {}
            Fact::Begun { order, task } => self.begin((task.shard, task.attempt), &order),
            Fact::Ended { shard, attempt, .. } => {
                self.tries.remove(&(shard, attempt));
                self.tell_results();
            }
            Fact::Settled { shard, attempt } => {
                if let Some(terms) = &mut self.terms {
                    terms.told.remove(&(shard, attempt));
                }
                self.tell_results();
            }
            Fact::Services { shard, services, order } => {
                self.no_longer_serving(shard, &order);
                self.send(AgentMessage::ServicesSeen { shard, services, order });
            }
        }
    }

    /// A newer life or term than this one is durable.
    fn fence_rose(&mut self, before: Option<Order>) {
        let durable = self.facts.fence;
        if before.map(|fence| fence.incarnation) < durable.map(|fence| fence.incarnation) {
            self.void_tries();
        }
        if self.terms.as_ref().is_some_and(|terms| !terms.greeted && durable >= Some(terms.fence)) {
            self.greet();
        }
    }

    /// Whether a new life of the cell was met that is not durable yet: once it is, all tries of this one are void.
    fn is_life_over(&self) -> bool {
        let life = |fence: Option<Order>| fence.map(|fence| fence.incarnation);
        life(self.facts.fence) < life(self.fence)
    }

    fn not_written(&mut self, fact: Fact, why: &str) {
        match fact {
            Fact::Begun { order, task } => self.not_begun((task.shard, task.attempt), &order, why),
            // Tried again until there is room: results are not lost, and what is not confirmed yet is confirmed then.
            Fact::Fence(_) | Fact::Ended { .. } | Fact::Settled { .. } | Fact::Services { .. } => {
                self.unwritten.push(fact);
            }
            // The last one is as good as all of them.
            Fact::Obeyed(_) => {
                self.unwritten.retain(|waiting| !matches!(waiting, Fact::Obeyed(_)));
                self.unwritten.push(fact);
            }
        }
    }

    /// Facts that could not be written, but for what a newer order, term or life has overtaken.
    fn write_again(&mut self) {
        for fact in std::mem::take(&mut self.unwritten) {
            let overtaken = match &fact {
                Fact::Services { shard, order, .. } => self.serving.get(shard) != Some(order),
                Fact::Fence(fence) => self.fence != Some(*fence) || self.facts.fence >= Some(*fence),
                // They tell no life, and would be written behind the new one.
                Fact::Ended { .. } | Fact::Settled { .. } => self.is_life_over(),
                Fact::Begun { .. } | Fact::Obeyed(_) => false,
            };
            if !overtaken {
                self.effects.push(Effect::Write(fact));
            }
        }
    }

    fn no_longer_serving(&mut self, shard: ShardId, order: &Order) {
        if self.serving.get(&shard) == Some(order) {
            self.serving.remove(&shard);
        }
    }

    fn send(&mut self, message: AgentMessage) {
        if self.terms.is_some() {
            self.effects.push(Effect::Send(message));
        }
    }
}

fn running_task(task: &Task) -> RunningTask {
    RunningTask { shard: task.shard, attempt: task.attempt, kind: task.action.kind() }
}

#[cfg(test)]
mod tests;
