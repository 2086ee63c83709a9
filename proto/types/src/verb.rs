//! What operators can ask for, and what they are answered.

use std::borrow::Cow;
use std::fmt;

use crate::{
    CampaignId, Digest, Exception, FindingKinds, FleetLimits, MailboxId, NodeId, Plan, PlanProblem, Selector,
    Seq, ServiceSet, ShardId, WaveNo,
};

/// Most problems told of one plan; a sender leaves further ones out.
pub const PLAN_PROBLEMS_MAX: usize = 100;
/// Longest explanation inside a [`Refusal`] or a [`PlanProblem`], in bytes; a sender cuts what is longer.
pub const EXPLANATION_BYTES_MAX: usize = 1_024;

/// One request of an operator. Each accepted one is one decision in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Begin a campaign.
    Start {
        /// The plan.
        plan: Box<Plan>,
        /// Digest of the plan as written.
        source: Digest,
    },
    /// Move a campaign to another revision of its plan.
    Revise {
        /// The plan; its name says which campaign.
        plan: Box<Plan>,
        /// Digest of the plan as written.
        source: Digest,
    },
    /// Stop starting things; suspend what runs.
    Pause {
        /// Which campaign.
        campaign: CampaignId,
    },
    /// Go on.
    Resume {
        /// Which campaign.
        campaign: CampaignId,
    },
    /// Give up: what is open stays open, all else is closed.
    Abort {
        /// Which campaign.
        campaign: CampaignId,
    },
    /// Let the next wave begin, whatever the present one still waits for.
    Promote {
        /// Which campaign.
        campaign: CampaignId,
        /// The wave that shall pass; a request that arrives twice promotes once.
        wave: WaveNo,
    },
    /// Close shards.
    Close {
        /// Which.
        selector: Selector,
        /// Why.
        reason: String,
    },
    /// Verify held, failed or closed shards of a campaign again.
    Retry {
        /// Which.
        selector: Selector,
    },
    /// Take held or failed shards as they are.
    Accept {
        /// Which.
        selector: Selector,
        /// Why.
        reason: String,
    },
    /// Bring shards forward.
    Prioritise {
        /// Which.
        selector: Selector,
    },
    /// Declare closed shards to be in service already.
    Adopt {
        /// Which.
        selector: Selector,
        /// What is open.
        services: ServiceSet,
        /// Why.
        reason: String,
    },
    /// Settle where contested shards are.
    Settle {
        /// Which shards.
        selector: Selector,
        /// The node that has them; one of the two that claim each.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Set or lift an exception.
    Except {
        /// The mailbox's shard.
        shard: ShardId,
        /// The mailbox.
        mailbox: MailboxId,
        /// How it differs; absent to lift the exception.
        exception: Option<Exception>,
        /// Why.
        reason: String,
    },
    /// Change the fleet's limits.
    SetLimits {
        /// The limits.
        limits: FleetLimits,
    },
}

/// What an accepted verb did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Whether it changes anything. What is so already is no error: a verb that is asked for twice changes nothing the second
    /// time.
    pub changes: bool,
    /// The record that decided it; absent when nothing had to change.
    pub decided: Option<Seq>,
    /// Shards it is about.
    pub shards: u64,
    /// Mailboxes in them.
    pub mailboxes: u64,
    /// Shards that were selected but are in a state to which the verb does not apply.
    pub skipped: u64,
    /// Shards that leave their campaign: the plan does not bring them back.
    pub shards_released: u64,
    /// Mailboxes in the shards that leave.
    pub mailboxes_released: u64,
    /// Of the shards that leave, those that were on their way: they are closed, and what was verified of them is discarded.
    pub shards_closed: u64,
    /// Mailboxes lost so far that no longer count against the budget of their wave.
    pub mailboxes_forgiven: u64,
    /// Shards that stay in their wave because they would break a failure domain's cap in an earlier one.
    pub capped: u64,
    /// Shards in the waves they are brought to, with those brought there.
    pub wave_shards: u64,
    /// Mailboxes in those waves.
    pub wave_mailboxes: u64,
    /// Of shards that were selected by what was found and are accepted, those in which something else was found too.
    pub shards_beside: u64,
    /// What else was found in them.
    pub kinds_beside: FindingKinds,
}

/// Why a verb was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such campaign.
    CampaignUnknown(CampaignId),
    /// A campaign of that name exists.
    CampaignExists(CampaignId),
    /// The campaign has ended or was aborted.
    CampaignOver(CampaignId),
    /// No such shard.
    ShardUnknown(ShardId),
    /// No such node.
    NodeUnknown(NodeId),
    /// The plan cannot be carried out on this fleet.
    Plan(Vec<PlanProblem>),
    /// The selector names nothing that narrows it, and does not say `all`.
    SelectorUnbounded,
    /// The selector contradicts itself: a wave without its campaign, or too many names.
    SelectorInvalid {
        /// What is wrong.
        problem: String,
    },
    /// No shard matches, or the verb applies to none of those that do.
    NothingToDo {
        /// Shards that matched.
        matched: u64,
        /// States to which the verb applies.
        applies_to: Cow<'static, str>,
    },
    /// That wave has not begun, so it cannot be let pass.
    WaveNotCurrent {
        /// The wave asked for.
        wave: WaveNo,
        /// The first wave that has not passed.
        current: WaveNo,
    },
    /// A reason was asked for and not given.
    ReasonMissing,
    /// A bound would be passed.
    TooMany {
        /// Of what.
        what: Cow<'static, str>,
        /// The bound.
        max: u64,
    },
    /// A limit has a value nothing could run under.
    LimitInvalid {
        /// Which, and what would be right.
        problem: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CampaignUnknown(id) => {
                write!(f, "there is no campaign {id}; `rientro campaign list` shows all")
            }
            Self::CampaignExists(id) => {
                write!(
                    f,
                    "campaign {id} exists; give the plan another name, or use `rientro campaign revise`"
                )
            }
            Self::CampaignOver(id) => write!(f, "campaign {id} is over; start one under another name"),
            Self::ShardUnknown(id) => write!(f, "there is no shard {id}; `rientro shard list` shows all"),
            Self::NodeUnknown(id) => write!(f, "there is no node {id}; `rientro node list` shows all"),
            Self::Plan(problems) => {
                f.write_str("the plan cannot be carried out:")?;
                problems.iter().try_for_each(|p| write!(f, "\n  {}: {}", p.field, p.problem))
            }
            Self::SelectorUnbounded => {
                f.write_str("nothing narrows the selection; say --all if every shard is meant")
            }
            Self::SelectorInvalid { problem } => write!(f, "the selection is not valid: {problem}"),
            Self::NothingToDo { matched: 0, .. } => f.write_str("no shard matches the selection"),
            Self::NothingToDo { matched: 1, applies_to } => {
                write!(f, "1 shard matches, and it is not {applies_to}")
            }
            Self::NothingToDo { matched, applies_to } => {
                write!(f, "{matched} shards match, and none of them is {applies_to}")
            }
            Self::WaveNotCurrent { wave, current } if wave == current => write!(
                f,
                "wave {wave} has not begun, and only a wave that has begun can be promoted; it begins by itself once the campaign runs"
            ),
            Self::WaveNotCurrent { wave, current } => write!(
                f,
                "wave {wave} has not begun, and only a wave that has begun can be promoted; the campaign is at wave {current}, which must pass first"
            ),
            Self::ReasonMissing => f.write_str("a reason is needed; give one with --reason"),
            Self::TooMany { what, max } => write!(f, "at most {max} {what} are possible"),
            Self::LimitInvalid { problem } => write!(f, "the limit is not valid: {problem}"),
        }
    }
}
