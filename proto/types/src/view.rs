//! What people and dashboards are shown: durable state, joined with what was last observed.

use std::collections::BTreeMap;

use crate::{
    CampaignId, CampaignState, CellId, CellTime, Digest, Epoch, Exception, FleetLimits, Incarnation,
    LabelKey, LabelValue, MailboxId, NodeId, NodeIncarnation, Plan, Promotion, Revision, Seq, ServiceSet,
    ShardSnapshot, ShardState, Span, WaveNo, WaveState,
};

/// How far a running task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Mailboxes done.
    pub mailboxes: u64,
    /// Messages read.
    pub messages: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Findings so far.
    pub findings: u64,
}

/// Shards and their mailboxes, counted by state; the position is the state's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// Shards.
    pub shards: [u64; ShardState::ALL.len()],
    /// Mailboxes in them.
    pub mailboxes: [u64; ShardState::ALL.len()],
}

impl StateCounts {
    /// Counts one shard.
    pub fn count(&mut self, state: ShardState, mailboxes: u64) {
        self.shards[state as usize] += 1;
        self.mailboxes[state as usize] += mailboxes;
    }

    /// Takes one shard out of the counts.
    pub fn uncount(&mut self, state: ShardState, mailboxes: u64) {
        self.shards[state as usize] -= 1;
        self.mailboxes[state as usize] -= mailboxes;
    }

    /// Shards in a state.
    #[must_use]
    pub const fn shards_in(&self, state: ShardState) -> u64 {
        self.shards[state as usize]
    }

    /// Mailboxes of shards in a state.
    #[must_use]
    pub const fn mailboxes_in(&self, state: ShardState) -> u64 {
        self.mailboxes[state as usize]
    }

    /// Whether a person has closed some and nothing is open or on its way: nothing lives that could tell whether more may open.
    #[must_use]
    pub fn is_called_off(&self) -> bool {
        let [closed, held, failed] =
            [ShardState::Closed, ShardState::Held, ShardState::Failed].map(|state| self.shards_in(state));
        closed > 0 && closed + held + failed == self.shards_total()
    }

    /// Shards in any state.
    #[must_use]
    pub fn shards_total(&self) -> u64 {
        self.shards.iter().sum()
    }

    /// Mailboxes of shards in any state.
    #[must_use]
    pub fn mailboxes_total(&self) -> u64 {
        self.mailboxes.iter().sum()
    }
}

/// What a shard waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// A free place on its node.
    NodeBudget {
        /// The node.
        node: NodeId,
        /// Tasks it may be busy with.
        busy: u32,
        /// Most of them at once.
        max: u32,
    },
    /// A free place in a failure domain.
    DomainBudget {
        /// The dimension.
        label: LabelKey,
        /// The domain.
        value: LabelValue,
        /// Tasks its nodes may be busy with.
        busy: u32,
        /// Of these, on nodes that are silent: they may go on, and count until their nodes are heard.
        silent: u32,
        /// Most of them at once.
        max: u32,
    },
    /// Its node has no session.
    NodeOffline {
        /// The node.
        node: NodeId,
        /// For how long it was not heard; absent when the present leader has not heard it at all.
        unheard_for: Option<Span>,
        /// In how long it counts as silent, which holds the shard.
        silent_in: Span,
    },
    /// Its turn among the shards of its node.
    Turn,
    /// Its wave: an earlier one has not passed.
    Wave {
        /// Its wave.
        wave: WaveNo,
        /// The wave that must pass first.
        current: WaveNo,
        /// Who lets the next wave begin.
        promotion: Promotion,
        /// The wave it could be brought forward to, if there is one.
        earlier: Option<WaveNo>,
    },
    /// A free place among the shards that open at once.
    OpeningBudget {
        /// Shards on their way.
        busy: u32,
        /// Most of them at once.
        max: u32,
    },
    /// The end of a wait between tries.
    Backoff {
        /// How long it still lasts.
        left: Span,
    },
    /// A running task.
    Task {
        /// How long it runs.
        running: Span,
        /// How far it is, when the agent has told.
        progress: Option<Progress>,
    },
    /// The campaign to be resumed.
    Resume {
        /// The campaign.
        campaign: CampaignId,
    },
    /// A decision of an operator.
    Operator,
    /// A campaign that covers it.
    Campaign,
}

/// One shard, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardView {
    /// Its durable state.
    pub shard: ShardSnapshot,
    /// What it waits for; absent when it is open.
    pub waiting_on: Option<WaitingOn>,
}

/// One mailbox, as shown: why it is closed, since when, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxView {
    /// Which.
    pub mailbox: MailboxId,
    /// How it differs from its shard.
    pub exception: Option<Exception>,
    /// Services that are open to it: its shard's. An exception changes that only where a gate enforces it.
    pub open: ServiceSet,
    /// Since when these are open, or nothing is; not before it was listed.
    pub since: CellTime,
    /// When the first list with it was told; absent when the first list of its shard has it already.
    pub listed: Option<CellTime>,
    /// Its shard.
    pub shard: ShardView,
}

impl MailboxView {
    /// Since when it is listed, when that is after the verification that stands for its shard: nothing says that it was read.
    #[must_use]
    pub fn listed_after_verification(&self) -> Option<CellTime> {
        let verified = self.shard.shard.standing.as_ref()?.at;
        self.listed.filter(|listed| *listed >= verified)
    }
}

/// A mailbox that a shard listed and lists no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxGone {
    /// When the last list with it was told. Nodes tell a list when it changes: it may have been there until shortly before
    /// `missed`.
    pub listed: CellTime,
    /// When the first list without it was told.
    pub missed: CellTime,
    /// Whether the shard was in service then.
    pub served: bool,
    /// The shard.
    pub shard: ShardView,
}

/// Another running agent that says it is a node, with that node's own state directory: one of the two has a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// When it first knocked.
    pub since: CellTime,
    /// When it last knocked.
    pub last: CellTime,
    /// How often it knocked.
    pub knocks: u64,
    /// Shards that it said it serves, when it last knocked.
    pub serves: u64,
    /// Whether it is the one that is let in: the other one was not heard.
    pub inside: bool,
    /// Whether it was refused and has not knocked for so long that it is not running any more, or is cut off.
    pub quiet: bool,
}

/// One node, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub node: NodeId,
    /// Life of its state directory.
    pub incarnation: NodeIncarnation,
    /// Its failure domains.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Whether it has a session.
    pub connected: bool,
    /// Time since it was last heard, as far as the present leader knows.
    pub heard_ago: Option<Span>,
    /// Since when it is silent, if it is.
    pub silent: Option<CellTime>,
    /// Verifications it may be busy with.
    pub verifying: u32,
    /// Confirmations it may be busy with.
    pub confirming: u32,
    /// Its shards by state.
    pub counts: StateCounts,
    /// Another running agent that uses its identity, if one was met of late.
    pub twin: Option<Twin>,
}

/// One wave, as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaveView {
    /// Which.
    pub wave: WaveNo,
    /// Where it is in its life.
    pub state: WaveState,
    /// Its shards by state.
    pub counts: StateCounts,
    /// Mailboxes of shards that count against its error budget.
    pub mailboxes_lost: u64,
    /// Of those, mailboxes of shards that are on their way again, such as those of a silent node that was heard. They count
    /// until they open: what comes and goes does not dodge the budget.
    pub mailboxes_returning: u64,
    /// Mailboxes that may be lost before the campaign pauses.
    pub mailboxes_lost_max: u64,
}

/// One campaign, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignView {
    /// Its name.
    pub campaign: CampaignId,
    /// Revision of its plan.
    pub revision: Revision,
    /// Its plan.
    pub plan: Plan,
    /// Digest of the plan as written.
    pub source: Digest,
    /// Where it is in its life.
    pub state: CampaignState,
    /// When it began.
    pub started: CellTime,
    /// When it ended.
    pub ended: Option<CellTime>,
    /// The first wave that has not passed; absent when all have.
    pub wave: Option<WaveNo>,
    /// Its shards by state.
    pub counts: StateCounts,
    /// Bytes of shards whose verification stands or runs, as far as read.
    pub bytes_verified: u64,
    /// Shards that have gone to other campaigns since it was over: nothing else here counts them.
    pub shards_gone: u64,
    /// Its waves.
    pub waves: Vec<WaveView>,
}

/// The cell, as shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellView {
    /// Its name.
    pub cell: CellId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The leader's term.
    pub epoch: Epoch,
    /// Number of the next record.
    pub seq_next: Seq,
    /// The cell's time.
    pub at: CellTime,
    /// The fleet's limits.
    pub limits: FleetLimits,
    /// Nodes known.
    pub nodes: u64,
    /// Nodes with a session that are heard. What is neither connected nor silent is offline, and not for long enough yet.
    pub nodes_connected: u64,
    /// Nodes that are silent, with a session or without.
    pub nodes_silent: u64,
    /// Nodes whose identity two running agents use.
    pub nodes_twinned: u64,
    /// All shards by state.
    pub counts: StateCounts,
    /// Shards that two nodes claim, in whatever state.
    pub shards_contested: u64,
    /// Open shards in a circumstance that would hold them if they were on their way: their data is gone, or in two places.
    pub shards_impaired: u64,
    /// Live campaigns.
    pub campaigns_live: u64,
    /// Since when the present leader leads: it has heard no node before.
    pub leading_since: CellTime,
}

impl CellView {
    /// Nodes that are neither connected nor silent: without a session, and not for long enough to be silent.
    #[must_use]
    pub const fn nodes_offline(&self) -> u64 {
        self.nodes.saturating_sub(self.nodes_connected).saturating_sub(self.nodes_silent)
    }
}

/// One wave as a plan would cut it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveForecast {
    /// Which.
    pub wave: WaveNo,
    /// Its shards, in order.
    pub shards: Vec<crate::ShardId>,
    /// Mailboxes in them.
    pub mailboxes: u64,
    /// Bytes in them, as far as known.
    pub bytes: u64,
}
