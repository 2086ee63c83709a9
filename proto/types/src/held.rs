//! Reasons why something may not go on. Not errors: data, with the numbers that decided.

use std::fmt;

use crate::{
    CellTime, LabelKey, LabelValue, NodeId, PolicyBreach, ServiceSet, Span, TaskFailure, UnknownCause,
    VolumeId,
};

/// Why a shard is held until a person or an event releases it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldReason {
    /// Its newest verification does not pass the plan's policy.
    Policy(PolicyBreach),
    /// Nothing was found where mailboxes should be, or the verification could not say anything.
    Unknown(UnknownCause),
    /// Its node has not been heard. Released when the node returns.
    NodeSilent {
        /// The node.
        node: NodeId,
        /// For how long, when it was held.
        silent_for: Span,
    },
    /// Every place it could be worked on in is taken by tries that its node was told to end, and does not answer for.
    /// Released when a place is free.
    NodeStuck {
        /// The node.
        node: NodeId,
        /// Places taken so.
        places: u32,
        /// How long every one of them has been waited for, when it was held.
        unanswered_for: Span,
    },
    /// Every place that its failure domain has for it is taken by tries that nobody answers for: their nodes are silent, or
    /// were told to end them. Released when a place is free.
    DomainStuck {
        /// The domain's label.
        label: LabelKey,
        /// The domain.
        value: LabelValue,
        /// Places taken so.
        places: u32,
        /// How long every one of them has been waited for, when it was held.
        unanswered_for: Span,
    },
    /// Its node has not confirmed in time that services opened. Released when it confirms.
    OpeningOverdue {
        /// The node.
        node: NodeId,
        /// How long ago the step began, when it was held.
        unconfirmed_for: Span,
    },
    /// The volume mounted on its node is another one, or none. Released by a new inventory that shows the right one.
    VolumeWrong {
        /// The volume of its placement.
        expected: VolumeId,
        /// The volume found.
        found: Option<VolumeId>,
    },
    /// Its node no longer has it, or cannot list all of it. Released by an inventory that shows it.
    ShardMissing {
        /// The node.
        node: NodeId,
    },
    /// Its node shows fewer of its mailboxes than were known when it was closed, or others. Released by an inventory that
    /// shows them again, or by `settle`, which takes what is shown as right.
    MailboxesMissing {
        /// How many were known.
        known: u64,
        /// How many the node shows.
        shown: u64,
        /// Known by their ids and not listed any more; zero when only the counts are told.
        unlisted: u64,
    },
    /// Two nodes claim it, or its node shows it on two roots. Released by `settle`, and by an inventory without the other one.
    Contested {
        /// The node of its placement.
        holder: NodeId,
        /// The other node, or the same one.
        claimant: NodeId,
        /// The volume of the other claim.
        volume: VolumeId,
    },
    /// The journal, restored from a backup, and the node disagree about what is open. Released by a person.
    Disagreement {
        /// What the journal says.
        journal: ServiceSet,
        /// What the node serves.
        node: ServiceSet,
    },
}

/// A circumstance that holds a shard, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The circumstance, as it was last told.
    pub reason: HeldReason,
    /// When the hold became durable. Being told again of the same cause, and a restart, leave it as it is; another cause
    /// begins it anew.
    pub since: CellTime,
}

/// How many mailboxes are missing at least: one that vanished and another that appeared leave the counts as they were.
#[must_use]
pub const fn mailboxes_missing(known: u64, shown: u64, unlisted: u64) -> u64 {
    let fewer = known.saturating_sub(shown);
    if fewer > unlisted { fewer } else { unlisted }
}

/// That all places of something are taken by tries that nobody answers for, and for how long.
#[must_use]
pub fn stuck_in(places: u32, of: &str, unanswered_for: &str) -> String {
    let taken = match places {
        1 => format!("the only place of {of} is taken by a try"),
        _ => format!("all {places} places of {of} are taken by tries"),
    };
    format!("{taken} that nobody has answered for in {unanswered_for}")
}

impl HeldReason {
    /// Whether both come from one cause: what ends the one ends the other. The numbers that came with it may differ.
    #[must_use]
    pub fn is_same_cause(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NodeSilent { node, .. }, Self::NodeSilent { node: other, .. })
            | (Self::NodeStuck { node, .. }, Self::NodeStuck { node: other, .. })
            | (Self::OpeningOverdue { node, .. }, Self::OpeningOverdue { node: other, .. })
            | (Self::ShardMissing { node }, Self::ShardMissing { node: other }) => node == other,
            (
                Self::DomainStuck { label, value, .. },
                Self::DomainStuck { label: other_label, value: other_value, .. },
            ) => (label, value) == (other_label, other_value),
            (Self::VolumeWrong { expected, .. }, Self::VolumeWrong { expected: other, .. }) => {
                expected == other
            }
            (
                Self::Contested { holder, claimant, .. },
                Self::Contested { holder: other_holder, claimant: other_claimant, .. },
            ) => (holder, claimant) == (other_holder, other_claimant),
            (Self::MailboxesMissing { .. }, Self::MailboxesMissing { .. })
            | (Self::Disagreement { .. }, Self::Disagreement { .. })
            | (Self::Policy(_), Self::Policy(_))
            | (Self::Unknown(_), Self::Unknown(_)) => true,
            (
                Self::Policy(_)
                | Self::Unknown(_)
                | Self::NodeSilent { .. }
                | Self::NodeStuck { .. }
                | Self::DomainStuck { .. }
                | Self::OpeningOverdue { .. }
                | Self::VolumeWrong { .. }
                | Self::ShardMissing { .. }
                | Self::MailboxesMissing { .. }
                | Self::Contested { .. }
                | Self::Disagreement { .. },
                _,
            ) => false,
        }
    }

    /// Whether an operator may accept the shard as it is. What is not there, or is in two places, cannot be accepted.
    #[must_use]
    pub const fn acceptable(&self) -> bool {
        match self {
            Self::Policy(_) | Self::Unknown(_) => true,
            Self::NodeSilent { .. }
            | Self::NodeStuck { .. }
            | Self::DomainStuck { .. }
            | Self::OpeningOverdue { .. }
            | Self::VolumeWrong { .. }
            | Self::ShardMissing { .. }
            | Self::MailboxesMissing { .. }
            | Self::Contested { .. }
            | Self::Disagreement { .. } => false,
        }
    }

    /// Whether nothing is known to be wrong with the shard: it waits for an answer that does not come. What turns out to be
    /// wrong takes the place of this, and who goes on without the answer has answered for it however often that happens.
    #[must_use]
    pub const fn is_wait(&self) -> bool {
        match self {
            Self::NodeSilent { .. }
            | Self::NodeStuck { .. }
            | Self::DomainStuck { .. }
            | Self::OpeningOverdue { .. } => true,
            Self::Policy(_)
            | Self::Unknown(_)
            | Self::VolumeWrong { .. }
            | Self::ShardMissing { .. }
            | Self::MailboxesMissing { .. }
            | Self::Contested { .. }
            | Self::Disagreement { .. } => false,
        }
    }
}

impl fmt::Display for PolicyBreach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level { found, wanted } => {
                write!(f, "verified at {} level, the plan wants {}", found.name(), wanted.name())
            }
            Self::Coverage { found, wanted } => {
                write!(f, "{found} of it was looked at, the plan wants {wanted}")
            }
            Self::Damaged { messages_damaged, messages, per_million_max } => write!(
                f,
                "{messages_damaged} of {messages} messages are damaged, the plan allows {per_million_max} per million"
            ),
            Self::Broken { mailboxes_broken: 1, mailboxes_max } => {
                write!(f, "1 mailbox is missing or broken, the plan allows {mailboxes_max}")
            }
            Self::Broken { mailboxes_broken, mailboxes_max } => {
                write!(
                    f,
                    "{mailboxes_broken} mailboxes are missing or broken, the plan allows {mailboxes_max}"
                )
            }
            Self::Unreadable { mailboxes_unreadable: 1, mailboxes_max } => {
                write!(f, "1 mailbox could not be read whole, the plan allows {mailboxes_max}")
            }
            Self::Unreadable { mailboxes_unreadable, mailboxes_max } => write!(
                f,
                "{mailboxes_unreadable} mailboxes could not be read whole, the plan allows {mailboxes_max}"
            ),
            Self::Unknown => f.write_str("the verification could say nothing"),
        }
    }
}

impl fmt::Display for HeldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(breach) => breach.fmt(f),
            Self::Unknown(UnknownCause::Empty) => f.write_str(
                "no mail was found where mailboxes should be, and no list says that it should be empty",
            ),
            Self::Unknown(UnknownCause::Incomplete) => f.write_str("the verification stopped before its end"),
            Self::Unknown(UnknownCause::LevelUnavailable) => {
                f.write_str("this store cannot be verified at the level the plan wants")
            }
            Self::NodeSilent { node, silent_for } => write!(f, "node {node} was not heard for {silent_for}"),
            Self::NodeStuck { node, places, unanswered_for } => {
                f.write_str(&stuck_in(*places, &format!("node {node}"), &unanswered_for.to_string()))
            }
            Self::DomainStuck { label, value, places, unanswered_for } => {
                f.write_str(&stuck_in(*places, &format!("{label} {value}"), &unanswered_for.to_string()))
            }
            Self::OpeningOverdue { node, unconfirmed_for } => {
                write!(f, "node {node} has not confirmed for {unconfirmed_for} that services opened")
            }
            Self::VolumeWrong { expected, found: Some(found) } => {
                write!(f, "volume {found} is mounted where {expected} should be")
            }
            Self::VolumeWrong { expected, found: None } => write!(f, "volume {expected} is not mounted"),
            Self::ShardMissing { node } => write!(f, "node {node} no longer has it, or cannot list it"),
            Self::MailboxesMissing { known, shown, unlisted } => {
                let missing = mailboxes_missing(*known, *shown, *unlisted);
                write!(f, "{missing} of {known} mailboxes that were known are not there any more")
            }
            Self::Contested { holder, claimant, volume } if holder == claimant => {
                write!(f, "node {holder} shows it twice, the second time on volume {volume}")
            }
            Self::Contested { holder, claimant, volume } => {
                write!(f, "node {claimant} (volume {volume}) claims it too, beside {holder}")
            }
            Self::Disagreement { journal, node } => {
                write!(f, "the node serves {node}, the restored journal says {journal}")
            }
        }
    }
}

impl fmt::Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VolumeWrong { found: Some(found) } => write!(f, "another volume is mounted ({found})"),
            Self::VolumeWrong { found: None } => f.write_str("the volume is not mounted"),
            Self::ShardMissing => f.write_str("the shard's directory is missing"),
            Self::Changed => f.write_str("the shard changed since it was verified"),
            Self::Interrupted => f.write_str("the agent stopped in the middle"),
            Self::Cancelled => f.write_str("it was cancelled"),
            Self::TimedOut => f.write_str("no result before the deadline"),
            Self::Stalled => f.write_str("no progress within the stall time-out"),
            Self::Reimaged => f.write_str("the node was reimaged"),
            Self::Agent { problem } => write!(f, "the agent could not run it: {problem}"),
        }
    }
}
