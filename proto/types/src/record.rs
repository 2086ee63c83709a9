//! What the journal holds: decisions, one record each.
//!
//! Durable state changes only by applying these, live and in replay alike. Every prefix of a decision's records is a legal
//! state. An unknown record stops a reader; none is ever skipped.

use crate::{
    Actor, AttemptNo, CampaignId, CellId, CellTime, Claim, Digest, Epoch, HeldReason, Incarnation, LabelKey,
    LabelValue, MailboxId, NodeId, NodeIncarnation, Placement, Plan, Ppm, Revision, Selector, Seq,
    ServiceSet, ShardId, Span, TaskEnd, TaskKind, WaveNo,
};
use std::collections::BTreeMap;

/// Longest reason an operator gives, in bytes.
pub const REASON_BYTES_MAX: usize = 1_024;
/// Most exceptions of one shard.
pub const EXCEPTIONS_MAX: usize = 64;
/// Most labels of one node.
pub const LABELS_MAX: usize = 16;
/// Most shards named in one record; a longer list is split over several.
pub const SHARDS_PER_RECORD_MAX: usize = 1_000;

/// Limits that belong to the fleet and hold across campaigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetLimits {
    /// Verifications at once on one node.
    pub verifies_per_node: u32,
    /// Confirmations at once on one node.
    pub confirms_per_node: u32,
    /// Verifications at once in one failure domain, by label; the label's values are the domains.
    pub verifies_per_domain: BTreeMap<LabelKey, u32>,
    /// A node not heard for this long is silent.
    pub silence: Span,
}

impl FleetLimits {
    /// Tasks of a kind at once on one node.
    #[must_use]
    pub const fn per_node(&self, kind: TaskKind) -> u32 {
        match kind {
            TaskKind::Verify => self.verifies_per_node,
            TaskKind::Confirm => self.confirms_per_node,
        }
    }
}

impl Default for FleetLimits {
    fn default() -> Self {
        Self {
            verifies_per_node: 4,
            confirms_per_node: 16,
            verifies_per_domain: BTreeMap::new(),
            silence: Span::from_secs(60),
        }
    }
}

/// Why a shard was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// It was out of service when it was first met.
    FirstMet,
    /// An operator closed it.
    Operator,
    /// Its campaign was aborted.
    Aborted,
    /// Its campaign moved to a plan that does not cover it.
    Released,
}

/// Why a campaign paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// An operator paused it.
    Operator,
    /// The journal was restored from a backup: a person looks at what it does not know before anything goes on.
    Restored,
    /// A wave lost more than its error budget.
    ErrorBudget {
        /// The wave.
        wave: WaveNo,
        /// Mailboxes of its shards that are held or failed.
        mailboxes_lost: u64,
        /// Mailboxes of the wave.
        mailboxes: u64,
        /// The part that may be lost.
        budget: Ppm,
    },
}

/// Why a wave passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassCause {
    /// Its bake is over, and the plan promotes by itself.
    Baked,
    /// An operator promoted it.
    Promoted,
}

/// How one mailbox differs from its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// It stays closed alone.
    Closed,
    /// It opens with its shard, though it is damaged.
    Accepted,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The first record: a cell begins.
    CellFounded {
        /// Its name.
        cell: CellId,
        /// Its first life.
        incarnation: Incarnation,
        /// Digest of the key of its mailbox ids, as [`Digest::of_mailbox_key`] makes it; the key itself is never journaled.
        mailbox_key: Digest,
    },
    /// The journal was restored from a backup; a new life begins, above every epoch met.
    CellRestored {
        /// The new life.
        incarnation: Incarnation,
    },
    /// A leader took over.
    LeaderTook {
        /// Its term.
        epoch: Epoch,
    },
    /// Nobody led for so long: liveness deadlines move by it.
    Absent {
        /// For how long.
        span: Span,
    },
    /// Nothing happened, and time passed: bounds what a crash makes look like absence.
    ClockMarked,
    /// The fleet's limits changed.
    LimitsSet {
        /// The limits in force from here on.
        limits: FleetLimits,
    },

    /// A node was met for the first time, or came back reimaged, or with other labels.
    NodeEnrolled {
        /// The node.
        node: NodeId,
        /// Life of its state directory; another one voids its attempts.
        incarnation: NodeIncarnation,
        /// Its failure domains; at most [`LABELS_MAX`].
        labels: BTreeMap<LabelKey, LabelValue>,
    },
    /// A node was not heard for the fleet's silence limit.
    NodeSilent {
        /// The node.
        node: NodeId,
        /// For how long.
        silent_for: Span,
    },
    /// A silent node is heard again.
    NodeHeard {
        /// The node.
        node: NodeId,
    },
    /// A shard was met for the first time. With services it was in service already, and is adopted.
    ShardMet {
        /// Who holds it.
        node: NodeId,
        /// What the node says of it.
        claim: Claim,
    },
    /// A shard has another number of mailboxes.
    ShardMeasured {
        /// The shard.
        shard: ShardId,
        /// Mailboxes in it.
        mailboxes: u64,
    },
    /// A shard's data is somewhere else.
    ShardPlaced {
        /// The shard.
        shard: ShardId,
        /// Where it is.
        placement: Placement,
    },
    /// A circumstance holds a shard: its node, its volume, a second claim. What runs goes on, nothing else starts.
    ShardHeld {
        /// The shard.
        shard: ShardId,
        /// Why.
        reason: HeldReason,
    },
    /// The circumstance that held a shard is over.
    ShardReleased {
        /// The shard.
        shard: ShardId,
    },
    /// A list lacks mailboxes of a shard that something graver holds: they hold it when that is over.
    ShardUnlisted {
        /// The shard.
        shard: ShardId,
        /// How many mailboxes, in all; zero when the list is whole.
        unlisted: u64,
    },

    /// A campaign begins; its waves follow.
    CampaignStarted {
        /// Its plan.
        plan: Box<Plan>,
        /// Digest of the plan as the operator wrote it.
        source: Digest,
        /// Seed of the order inside the classes.
        seed: [u8; 32],
    },
    /// Shards join a wave, in their order; at most [`SHARDS_PER_RECORD_MAX`] in one record.
    WaveFormed {
        /// The campaign.
        campaign: CampaignId,
        /// The wave.
        wave: WaveNo,
        /// The shards.
        shards: Vec<ShardId>,
    },
    /// All waves are formed: work may begin.
    CampaignReady {
        /// The campaign.
        campaign: CampaignId,
    },
    /// A campaign moves to another revision of its plan. Waves not yet begun are dissolved; new ones follow.
    CampaignRevised {
        /// The revision.
        revision: Revision,
        /// The plan; its name is the campaign's.
        plan: Box<Plan>,
        /// Digest of the plan as the operator wrote it.
        source: Digest,
    },
    /// A campaign pauses: nothing starts, what runs is suspended, its deadlines stand still.
    CampaignPaused {
        /// The campaign.
        campaign: CampaignId,
        /// Why.
        cause: PauseCause,
    },
    /// A campaign goes on. What its current wave has lost so far is forgiven.
    CampaignResumed {
        /// The campaign.
        campaign: CampaignId,
    },
    /// A campaign is given up. What is open stays open; all else is closed.
    CampaignAborted {
        /// The campaign.
        campaign: CampaignId,
    },
    /// Every wave has passed and nothing moves any more.
    CampaignEnded {
        /// The campaign.
        campaign: CampaignId,
    },
    /// A wave may open its shards.
    WaveStarted {
        /// The campaign.
        campaign: CampaignId,
        /// The wave.
        wave: WaveNo,
    },
    /// Every shard of the wave is open, held, failed or closed by decision: its bake begins.
    WaveSettled {
        /// The campaign.
        campaign: CampaignId,
        /// The wave.
        wave: WaveNo,
    },
    /// A settled wave moves again: one of its shards was retried or closed.
    WaveUnsettled {
        /// The campaign.
        campaign: CampaignId,
        /// The wave.
        wave: WaveNo,
    },
    /// The next wave may start.
    WavePassed {
        /// The campaign.
        campaign: CampaignId,
        /// The wave.
        wave: WaveNo,
        /// Why.
        cause: PassCause,
    },

    /// A try of a task begins.
    TaskStarted {
        /// On which shard.
        shard: ShardId,
        /// What.
        kind: TaskKind,
        /// Which try.
        attempt: AttemptNo,
        /// Where.
        node: NodeId,
        /// It must end within this time.
        timeout: Span,
    },
    /// A try of a task ended. Its node may still be busy with it: see [`Record::TaskReleased`].
    TaskEnded {
        /// On which shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
        /// How.
        end: TaskEnd,
        /// Wait before the next try; zero when there is none or it may begin at once.
        backoff: Span,
        /// Whether the result may have lain on its node, or on the way, before it was heard: a verification is then taken for
        /// as old as the beginning of its try. Says nothing about other ends.
        waited: bool,
    },
    /// The node is known to be no longer busy with a try: its place in the budgets is free.
    TaskReleased {
        /// Where.
        node: NodeId,
        /// On which shard.
        shard: ShardId,
        /// Which try.
        attempt: AttemptNo,
    },
    /// A verification has grown older than the plan allows: the shard is verified again.
    VerificationExpired {
        /// The shard.
        shard: ShardId,
    },
    /// A step of opening: these services may be used from here on.
    StepOpening {
        /// The shard.
        shard: ShardId,
        /// All services open after this step; at least one.
        services: ServiceSet,
        /// The node must confirm within this time.
        timeout: Span,
    },
    /// A node did not confirm an opening step in time. It counts against the wave's error budget; the step goes on.
    OpeningOverdue {
        /// The shard.
        shard: ShardId,
    },
    /// A node confirmed that it durably knows what is open.
    ServicesSeen {
        /// The shard.
        shard: ShardId,
        /// What it knows to be open.
        services: ServiceSet,
    },
    /// All steps are done.
    ShardOpened {
        /// The shard.
        shard: ShardId,
    },

    /// An operator settled where contested shards are.
    Settled {
        /// Which.
        selector: Selector,
        /// The node that has them: of two that claim a shard the one that is right, or the node of a shard whose volume
        /// is another one.
        node: NodeId,
        /// Why; never empty.
        reason: String,
    },
    /// An operator closed shards: no service is open, and none opens before they are verified again.
    Closed {
        /// Which.
        selector: Selector,
        /// Why; never empty.
        reason: String,
    },
    /// An operator sends held, failed or closed shards of a campaign back to be verified, with all tries ahead.
    Retried {
        /// Which.
        selector: Selector,
    },
    /// An operator takes held or failed shards as they are.
    Accepted {
        /// Which.
        selector: Selector,
        /// Why; never empty.
        reason: String,
    },
    /// An operator brings shards forward: into the wave that opens next.
    Prioritised {
        /// Which.
        selector: Selector,
    },
    /// An operator declares shards to be in service already.
    Adopted {
        /// Which.
        selector: Selector,
        /// What is open; at least one.
        services: ServiceSet,
        /// Why; never empty.
        reason: String,
    },
    /// An operator sets or lifts an exception.
    ExceptionSet {
        /// The shard.
        shard: ShardId,
        /// The mailbox.
        mailbox: MailboxId,
        /// How it differs; absent when it no longer does.
        exception: Option<Exception>,
        /// Why; never empty.
        reason: String,
    },
}

/// A record with who decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who.
    pub actor: Actor,
    /// What.
    pub record: Record,
}

/// One journal entry: records that became durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the first record; the next entry's is this plus the count of records.
    pub seq: Seq,
    /// Term of the leader that wrote it.
    pub epoch: Epoch,
    /// When it was decided.
    pub at: CellTime,
    /// Digest of the entry before; [`Digest::ZERO`] for the first.
    pub previous: Digest,
    /// The records, at least one.
    pub decisions: Vec<Decision>,
}

impl Entry {
    /// Number of the record after this entry's last one.
    #[must_use]
    pub fn seq_next(&self) -> Seq {
        Seq::from_raw(self.seq.raw().saturating_add(self.decisions.len() as u64))
    }
}
