//! Why a verb was refused, and what to do about it.
//!
//! Both are told apart, so that people read them as two lines and machines as two values.

use std::borrow::Cow;
use std::fmt;

use crate::{CampaignId, NodeId, PlanProblem, ShardId, WaveNo};

/// Most problems told of one plan; a sender leaves further ones out.
pub const PLAN_PROBLEMS_MAX: usize = 100;
/// Longest explanation inside a [`Refusal`] or a [`PlanProblem`], in bytes; a sender cuts what is longer.
pub const EXPLANATION_BYTES_MAX: usize = 1_024;
/// Most shards that a [`Refusal`] names, for people to begin with: one line of a terminal.
pub const SHARDS_TOLD_MAX: usize = 5;
/// Most nodes that can claim one shard.
pub const CLAIMANTS_MAX: usize = 2;

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
    /// A shard cannot be settled on a node that does not claim it.
    NotClaimed {
        /// The first of the shards.
        shard: ShardId,
        /// The node that was named.
        node: NodeId,
        /// The nodes that claim it.
        claimed_by: Vec<NodeId>,
    },
    /// Shards lack mailboxes, which is settled for each by its name.
    ByNameOnly {
        /// The node that was named.
        node: NodeId,
        /// The first few of the shards.
        shards: Vec<ShardId>,
        /// How many there are.
        total: u64,
    },
}

impl Refusal {
    /// What to do about it, where there is one thing to do.
    #[must_use]
    pub fn next(&self) -> Option<Cow<'static, str>> {
        let settle = |shard: &ShardId, node: &NodeId| {
            format!("rientro shard settle {shard} --node {node} --reason '...'")
        };
        Some(match self {
            Self::CampaignUnknown(_) => "`rientro campaign list` shows all".into(),
            Self::CampaignExists(_) => "give the plan another name, or use `rientro campaign revise`".into(),
            Self::CampaignOver(_) => "start one under another name".into(),
            Self::ShardUnknown(_) => "`rientro shard list` shows all".into(),
            Self::NodeUnknown(_) => "`rientro node list` shows all".into(),
            Self::SelectorUnbounded => "say --all if every shard is meant".into(),
            Self::NothingToDo { matched: 0, .. } => "`rientro shard list` shows all".into(),
            Self::NothingToDo { .. } => {
                "`rientro shard show SHARD` tells how a shard is, and what can be done about it".into()
            }
            Self::WaveNotCurrent { wave, current } if wave == current => {
                "it begins by itself once the campaign runs".into()
            }
            Self::WaveNotCurrent { current, .. } => {
                format!("the campaign is at wave {current}, which must pass first").into()
            }
            Self::ReasonMissing => "give one with --reason".into(),
            Self::NotClaimed { shard, claimed_by, .. } => {
                let mut nodes = claimed_by.iter();
                let command = nodes.next().map_or_else(String::new, |node| settle(shard, node));
                let other = nodes.next().map_or_else(String::new, |node| format!(" (or --node {node})"));
                format!("say where it is: {command}{other}").into()
            }
            Self::ByNameOnly { node, shards, .. } => {
                let shard = shards.first().map_or_else(String::new, |shard| settle(shard, node));
                format!("look for them first; if they were meant to go: {shard}").into()
            }
            Self::Plan(_)
            | Self::SelectorInvalid { .. }
            | Self::TooMany { .. }
            | Self::LimitInvalid { .. } => return None,
        })
    }

    /// What is wrong, without what to do about it.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::CampaignUnknown(id) => format!("there is no campaign {id}"),
            Self::CampaignExists(id) => format!("campaign {id} exists"),
            Self::CampaignOver(id) => format!("campaign {id} is over"),
            Self::ShardUnknown(id) => format!("there is no shard {id}"),
            Self::NodeUnknown(id) => format!("there is no node {id}"),
            Self::Plan(problems) => {
                let lines = problems.iter().map(|p| format!("\n  {}: {}", p.field, p.problem));
                lines.fold("the plan cannot be carried out:".to_owned(), |text, line| text + &line)
            }
            Self::SelectorUnbounded => "nothing narrows the selection".to_owned(),
            Self::SelectorInvalid { problem } => format!("the selection is not valid: {problem}"),
            Self::NothingToDo { matched: 0, .. } => "no shard matches the selection".to_owned(),
            Self::NothingToDo { matched: 1, applies_to } => {
                format!("1 shard matches, and it is not {applies_to}")
            }
            Self::NothingToDo { matched, applies_to } => {
                format!("{matched} shards match, and none of them is {applies_to}")
            }
            Self::WaveNotCurrent { wave, .. } => {
                format!("wave {wave} has not begun, and only a wave that has begun can be promoted")
            }
            Self::ReasonMissing => "a reason is needed".to_owned(),
            Self::TooMany { what, max } => format!("at most {max} {what} are possible"),
            Self::LimitInvalid { problem } => format!("the limit is not valid: {problem}"),
            Self::NotClaimed { shard, node, claimed_by } => not_claimed(*shard, *node, claimed_by),
            Self::ByNameOnly { shards, total, .. } => by_name_only(shards, *total),
        }
    }
}

fn not_claimed(shard: ShardId, node: NodeId, claimed_by: &[NodeId]) -> String {
    match claimed_by {
        [one] => format!("node {node} does not claim shard {shard}: it is on node {one}"),
        several => {
            let several: Vec<_> = several.iter().map(NodeId::to_string).collect();
            format!("node {node} does not claim shard {shard}: nodes {} do", several.join(" and "))
        }
    }
}

fn by_name_only(shards: &[ShardId], total: u64) -> String {
    let mut names = shards.iter().map(ShardId::to_string).collect::<Vec<_>>().join(", ");
    if total > shards.len() as u64 {
        names.push_str(", ...");
    }
    let lack = if total == 1 { "shard lacks" } else { "shards lack" };
    format!("{total} {lack} mailboxes, and such a shard is settled by its name only: {names}")
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        self.next().map_or(Ok(()), |next| write!(f, "; {next}"))
    }
}
