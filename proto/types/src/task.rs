//! What agents are asked to do to one shard, and what they answer.

use crate::{AttemptNo, CampaignId, Digest, Level, MailboxId, Pace, PlacementNo, ShardId, Verdict, VolumeId};

/// Most damaged mailboxes named in one result; further ones are only counted.
pub const DAMAGED_MAILBOXES_MAX: usize = 64;
/// Most mailboxes of one shard: a thousand times what a shard should have, whose ids are 16 MiB. Mailboxes are added up over
/// the shards of a cell, which are counted in 32 bits: no sum of so many comes near what 64 bits hold.
pub const MAILBOXES_PER_SHARD_MAX: usize = 1 << 20;

/// One thing an agent does to one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskKind {
    /// Reads the whole shard and judges it.
    Verify,
    /// Checks that nothing changed since a verification: volume identity and stat-walk digest.
    Confirm,
}

impl TaskKind {
    /// The word operators see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Confirm => "confirm",
        }
    }
}

/// A task as sent to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// On which shard.
    pub shard: ShardId,
    /// Which try; unique over the shard's life.
    pub attempt: AttemptNo,
    /// For which campaign.
    pub campaign: CampaignId,
    /// The volume that must be mounted, before and after.
    pub volume: VolumeId,
    /// What to do.
    pub action: Action,
    /// How hard to press.
    pub pace: Pace,
}

/// The work of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Verify at this level.
    Verify {
        /// How deep to look.
        level: Level,
    },
    /// Confirm against this stat-walk digest; without one only the volume is checked (an accepted shard has none).
    Confirm {
        /// Digest of the verification to confirm.
        stat_walk: Option<Digest>,
    },
}

impl Action {
    /// The kind of this action.
    #[must_use]
    pub const fn kind(&self) -> TaskKind {
        match self {
            Self::Verify { .. } => TaskKind::Verify,
            Self::Confirm { .. } => TaskKind::Confirm,
        }
    }
}

/// What a finished verification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The conclusion.
    pub verdict: Verdict,
    /// Digest over names, sizes and times of everything in the shard; see the mail store's `stat_walk`.
    pub stat_walk: Digest,
    /// Digest of the findings file kept by the agent.
    pub findings: Digest,
    /// The volume that was read.
    pub volume: VolumeId,
}

/// Why a try came to no conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskFailure {
    /// Another volume is mounted, or none.
    VolumeWrong {
        /// The volume found; absent when none is mounted or it has no identity.
        found: Option<VolumeId>,
    },
    /// The shard's directory is not there.
    ShardMissing,
    /// Names, sizes or times differ from the verification that was to be confirmed.
    Changed,
    /// The agent stopped in the middle of it.
    Interrupted,
    /// It was cancelled.
    Cancelled,
    /// No result before the deadline.
    TimedOut,
    /// No progress for the plan's `stall_timeout`.
    Stalled,
    /// The node was reimaged: its earlier attempts are void.
    Reimaged,
    /// The agent could not run it (no space for its result, a setting, a bug); at most 256 bytes of explanation.
    Agent {
        /// What failed, on what.
        problem: String,
    },
}

impl TaskFailure {
    /// Whether the node may still be busy with the try: the orchestrator gave it up without hearing from the node.
    #[must_use]
    pub const fn leaves_node_busy(&self) -> bool {
        match self {
            Self::TimedOut | Self::Stalled => true,
            Self::VolumeWrong { .. }
            | Self::ShardMissing
            | Self::Changed
            | Self::Interrupted
            | Self::Cancelled
            | Self::Reimaged
            | Self::Agent { .. } => false,
        }
    }
}

/// Longest [`TaskFailure::Agent`] explanation, in bytes.
pub const PROBLEM_BYTES_MAX: usize = 256;

/// The end of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// A verification came to a conclusion.
    Verified {
        /// The conclusion.
        verification: Verification,
        /// Mailboxes with damage; at most [`DAMAGED_MAILBOXES_MAX`].
        damaged: Vec<MailboxId>,
    },
    /// Nothing changed since the verification.
    Confirmed,
    /// No conclusion.
    Failed(TaskFailure),
}

/// Where a shard's data is: which node holds which volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Counts the placements of this shard.
    pub no: PlacementNo,
    /// The node.
    pub node: crate::NodeId,
    /// The volume on it.
    pub volume: VolumeId,
}

/// What a node says of one shard it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The shard.
    pub shard: ShardId,
    /// The volume it is on.
    pub volume: VolumeId,
    /// The volume of another of the node's roots that shows it too; it may be the same one.
    pub second: Option<VolumeId>,
    /// Mailboxes in it; at most [`MAILBOXES_PER_SHARD_MAX`].
    pub mailboxes: u64,
    /// Services the node durably knows to be open.
    pub services: crate::ServiceSet,
}
