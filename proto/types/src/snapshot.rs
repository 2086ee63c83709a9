//! Durable state as a stream: what a journal holds in place of the entries it has trimmed.
//!
//! A stream is one `Cell`, then nodes, campaigns, then shards, each group in the
//! order of its ids; a shard names its campaign, wave and rank. Two engines have the same durable state exactly when their streams are equal.

use std::collections::BTreeMap;

use crate::{
    ActiveTime, AttemptNo, CampaignId, CellId, CellTime, CloseCause, Digest, Epoch, Exception, FleetLimits,
    HeldReason, Hold, Incarnation, LabelKey, LabelValue, MailboxId, NodeId, NodeIncarnation, PauseCause,
    Placement, Plan, Policy, Revision, Seq, ServiceSet, ShardId, ShardState, Span, TaskFailure, TaskKind,
    Verification, WaveNo,
};

/// Where a shard is in its life. All transitions are listed in the engine's `shard` module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Out of service, and no running campaign is about to change that.
    Closed {
        /// Why.
        cause: CloseCause,
    },
    /// In a campaign, waiting for its verification.
    Waiting,
    /// An agent reads it.
    Verifying {
        /// Which try.
        attempt: AttemptNo,
        /// The try fails when no result came by then.
        deadline: ActiveTime,
    },
    /// A try failed; the next one waits.
    Backoff {
        /// Until then.
        until: ActiveTime,
        /// Why the try failed.
        last: TaskFailure,
    },
    /// Verified; waiting for its wave.
    Verified,
    /// An agent checks that nothing changed since the verification.
    Confirming {
        /// Which try.
        attempt: AttemptNo,
        /// The try fails when no result came by then.
        deadline: ActiveTime,
    },
    /// Services are being opened, one step after the other.
    Opening {
        /// The step under way, from 0.
        step: u8,
        /// The shard is held when the node has not confirmed by then.
        deadline: ActiveTime,
    },
    /// In service.
    Open {
        /// Whether it was taken over in service, without a verification.
        adopted: bool,
    },
    /// Its verification does not allow it to go on.
    Held {
        /// Why. Boxed: most shards are not held, and a phase is kept for each.
        reason: Box<HeldReason>,
    },
    /// All tries are spent; an operator decides.
    Failed {
        /// Why the last try failed.
        last: TaskFailure,
    },
}

impl Phase {
    /// The phase in one word.
    #[must_use]
    pub const fn state(&self) -> ShardState {
        match self {
            Self::Closed { .. } => ShardState::Closed,
            Self::Waiting => ShardState::Waiting,
            Self::Verifying { .. } => ShardState::Verifying,
            Self::Backoff { .. } => ShardState::Backoff,
            Self::Verified => ShardState::Verified,
            Self::Confirming { .. } => ShardState::Confirming,
            Self::Opening { .. } => ShardState::Opening,
            Self::Open { .. } => ShardState::Open,
            Self::Held { .. } => ShardState::Held,
            Self::Failed { .. } => ShardState::Failed,
        }
    }
}

/// A verification that still stands: nothing has closed, moved or changed the shard since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it said.
    pub verification: Verification,
    /// When its result became durable; when the try began, if the result may have waited on its node.
    pub at: CellTime,
    /// Which try it was.
    pub attempt: AttemptNo,
    /// What it was judged by last: the policy of the plan in force then.
    pub policy: Policy,
    /// Mailboxes with damage, as far as the agent named them.
    pub damaged: Vec<MailboxId>,
}

/// What a shard counts for against its wave's error budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charge {
    /// Nothing: it is not lost.
    #[default]
    None,
    /// It is lost, and no person has answered for that.
    Lost,
    /// It is lost, and a named operator went on in spite of it. What it loses after that is a loss of its own.
    Forgiven,
}

/// An operator took the shard as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// Who.
    pub by: String,
    /// Why; never empty.
    pub reason: String,
}

/// The wave of a shard whose wave was dissolved by a revision: one that is about to be formed again, or that is in service and
/// needs no wave.
pub const WAVE_UNASSIGNED: WaveNo = WaveNo::from_raw(u32::MAX);

/// A shard's place in a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The campaign.
    pub campaign: CampaignId,
    /// The wave, or [`WAVE_UNASSIGNED`].
    pub wave: WaveNo,
    /// Position in the campaign's order; smaller comes first.
    pub rank: u32,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSnapshot {
    /// Its name.
    pub shard: ShardId,
    /// Where it is.
    pub placement: Placement,
    /// Mailboxes in it.
    pub mailboxes: u64,
    /// Bytes that the last verification of all of it read; zero before one, and on another volume.
    pub bytes: u64,
    /// Services that may be used.
    pub services: ServiceSet,
    /// Since when these are the ones: what opened or closed it then is all that its users saw.
    pub services_since: CellTime,
    /// Services its node has confirmed to know of.
    pub seen: ServiceSet,
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when it is in this phase.
    pub since: CellTime,
    /// A circumstance that holds it, whatever its phase: nothing starts while there is one.
    pub blocked: Option<Hold>,
    /// Mailboxes that its list lacked when it was last held for that, and that nobody has settled: they hold it again when
    /// what is graver is over.
    pub unlisted: u64,
    /// The journal was restored from a backup, and the shard's node has not told since what it serves.
    pub doubted: bool,
    /// The last try made.
    pub attempt: AttemptNo,
    /// Failed tries since it was last open, or sent back by an operator.
    pub failures: u32,
    /// What it counts for against its wave's error budget.
    pub charge: Charge,
    /// Its place in a campaign.
    pub member: Option<Membership>,
    /// The newest verification, while it stands.
    pub standing: Option<Standing>,
    /// Set while an operator's acceptance is in force.
    pub accepted: Option<Acceptance>,
    /// Mailboxes that differ from the shard.
    pub exceptions: BTreeMap<MailboxId, Exception>,
}

impl ShardSnapshot {
    /// Its state as people see it: see [`shard_state`].
    #[must_use]
    pub const fn state(&self) -> ShardState {
        let blocked = match &self.blocked {
            Some(hold) => Some(&hold.reason),
            None => None,
        };
        shard_state(&self.phase, blocked)
    }

    /// The circumstance that makes it held whatever its phase is. None where the phase says more than the circumstance.
    #[must_use]
    pub fn held_by(&self) -> Option<&Hold> {
        let held = self.state() == ShardState::Held && self.phase.state() != ShardState::Held;
        self.blocked.as_ref().filter(|_| held)
    }

    /// Since when it is in the state that people see: its hold's time where a circumstance holds it, else its phase's.
    #[must_use]
    pub fn state_since(&self) -> CellTime {
        self.held_by().map_or(self.since, |hold| hold.since)
    }
}

/// The state of a shard as people see it: one on its way that a circumstance holds is held, and so is one of which the
/// restored journal and its node disagree whether it is open.
#[must_use]
pub const fn shard_state(phase: &Phase, blocked: Option<&HeldReason>) -> ShardState {
    let state = phase.state();
    match (state, blocked) {
        (_, None) => state,
        (_, Some(HeldReason::Disagreement { .. }))
        | (
            ShardState::Waiting
            | ShardState::Verifying
            | ShardState::Backoff
            | ShardState::Verified
            | ShardState::Confirming
            | ShardState::Opening,
            Some(_),
        ) => ShardState::Held,
        (ShardState::Closed | ShardState::Open | ShardState::Held | ShardState::Failed, Some(_)) => state,
    }
}

/// A try that a node may still be busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Busy {
    /// The shard.
    pub shard: ShardId,
    /// The try.
    pub attempt: AttemptNo,
    /// What.
    pub kind: TaskKind,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSnapshot {
    /// Its name.
    pub node: NodeId,
    /// Life of its state directory.
    pub incarnation: NodeIncarnation,
    /// Earlier lives, newest last; never to be met again.
    pub retired: Vec<NodeIncarnation>,
    /// Its failure domains.
    pub labels: BTreeMap<LabelKey, LabelValue>,
    /// Since when it is silent, if it is.
    pub silent: Option<CellTime>,
    /// What it may be busy with.
    pub busy: Vec<Busy>,
}

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Since when; a second pause does not begin it anew.
    pub since: CellTime,
    /// Why; of several causes the newest.
    pub cause: PauseCause,
}

/// Where a campaign is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignState {
    /// Its waves are being formed.
    Forming,
    /// Shards are verified and opened.
    Running,
    /// Nothing starts.
    Paused(PauseCause),
    /// Every wave has passed and nothing moves.
    Ended,
    /// Given up.
    Aborted,
}

impl CampaignState {
    /// Whether the campaign has a claim on its shards: no other campaign may take them.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        match self {
            Self::Forming | Self::Running | Self::Paused(_) => true,
            Self::Ended | Self::Aborted => false,
        }
    }

    /// The state in one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Forming => "forming",
            Self::Running => "running",
            Self::Paused(_) => "paused",
            Self::Ended => "ended",
            Self::Aborted => "aborted",
        }
    }
}

/// Where a wave is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaveState {
    /// The waves before it have not passed.
    Waiting,
    /// Its shards open.
    Opening,
    /// All its shards are settled; its bake is over at this moment.
    Baking {
        /// End of the bake, in real time.
        until: CellTime,
    },
    /// The next wave may open.
    Passed,
}

impl WaveState {
    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Opening => "opening",
            Self::Baking { .. } => "baking",
            Self::Passed => "passed",
        }
    }
}

/// One wave, without its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaveSnapshot {
    /// Where it is in its life.
    pub state: WaveState,
}

/// One campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignSnapshot {
    /// Its plan; the name is in it.
    pub plan: Plan,
    /// Digest of the plan as written.
    pub source: Digest,
    /// Revision of the plan.
    pub revision: Revision,
    /// Seed of the order.
    pub seed: [u8; 32],
    /// Where it is in its life.
    pub state: CampaignState,
    /// When it began.
    pub started: CellTime,
    /// When it ended or was aborted.
    pub ended: Option<CellTime>,
    /// Its pause, if it is paused; kept while a revised plan's waves are formed.
    pub paused: Option<Pause>,
    /// How far its own clock is behind real time, pauses and absences together, the present pause not yet counted.
    pub clock_behind: Span,
    /// Shards that have gone to other campaigns since it was over.
    pub shards_gone: u64,
    /// Its waves, in order.
    pub waves: Vec<WaveSnapshot>,
}

/// The cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellSnapshot {
    /// Its name.
    pub cell: CellId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Digest of the key of its mailbox ids.
    pub mailbox_key: Digest,
    /// The last leader's term.
    pub epoch: Epoch,
    /// Number of the next record.
    pub seq_next: Seq,
    /// When the last applied entry was decided.
    pub at: CellTime,
    /// The fleet's limits.
    pub limits: FleetLimits,
}

/// One element of a snapshot stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotRecord {
    /// The cell; exactly one, first.
    Cell(CellSnapshot),
    /// A node.
    Node(NodeSnapshot),
    /// A campaign; its shards follow as `Shard` records.
    Campaign(Box<CampaignSnapshot>),
    /// A shard.
    Shard(Box<ShardSnapshot>),
}

/// Newest records that a snapshot stands for, so that the journal can go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// Number of the first record that the snapshot does not contain.
    pub seq_next: Seq,
    /// Digest of the last entry it contains.
    pub chain: Digest,
}

impl CampaignSnapshot {
    /// The campaign's name, which is its plan's.
    #[must_use]
    pub const fn campaign(&self) -> CampaignId {
        self.plan.name
    }
}
