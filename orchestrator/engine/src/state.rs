//! What the engine holds, and which part of it is durable.
//!
//! Every struct has three parts, in this order: *durable* fields, changed only while a record is applied; *derived* fields,
//! kept equal to what the durable ones imply (see `index`); *observed* fields, lost on restart.

mod campaign;
mod node;
mod shard;

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{
    AttemptNo, CampaignId, CampaignState, CellId, CellTime, Digest, FleetLimits, Incarnation, LabelKey,
    LabelValue, NodeId, Progress, Seq, ShardId, StateCounts, TaskKind,
};

use crate::contract::Ignored;
use crate::mutant::Mutant;

pub(crate) use campaign::{Campaign, RANK_FIRST, Wave};
pub(crate) use node::Node;
pub(crate) use shard::{Footprint, Member, Queue, QueueKey, Shard};

macro_rules! indices {
    ($($(#[$doc:meta])* $ix:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $ix(u32);

        impl $ix {
            /// The index of the element about to be pushed.
            pub(crate) fn for_len(len: usize) -> Self {
                Self(u32::try_from(len).expect("fewer than 2^32 elements fit in memory"))
            }

            pub(crate) const fn at(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

indices! {
    /// Position of a shard in the engine. Shards are never removed.
    ShardIx;
    /// Position of a node.
    NodeIx;
    /// Position of a campaign, in order of starting.
    CampaignIx;
}

/// A failure domain: nodes that share a label.
#[derive(Clone, Debug, Default)]
pub(crate) struct Domain {
    pub(crate) verifying: u32,
    pub(crate) nodes: BTreeSet<NodeIx>,
}

/// How far a running try was last seen, and when it last advanced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub(crate) attempt: AttemptNo,
    pub(crate) progress: Progress,
    pub(crate) advanced: CellTime,
}

/// The cell's own durable facts.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) id: CellId,
    pub(crate) incarnation: Incarnation,
    /// Digest of the key of its mailbox ids.
    pub(crate) mailbox_key: Digest,
    pub(crate) epoch: rientro_types::Epoch,
}

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) cell: Option<Cell>,
    pub(crate) seq_next: Seq,
    pub(crate) at: CellTime,
    pub(crate) limits: FleetLimits,
    pub(crate) nodes: Vec<Node>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) campaigns: Vec<Campaign>,

    pub(crate) node_ix: BTreeMap<NodeId, NodeIx>,
    pub(crate) shard_ix: BTreeMap<ShardId, ShardIx>,
    pub(crate) campaign_ix: BTreeMap<CampaignId, CampaignIx>,
    pub(crate) domains: BTreeMap<(LabelKey, LabelValue), Domain>,
    pub(crate) counts: StateCounts,
    /// Shards that two nodes claim.
    pub(crate) contested: u64,
    /// Shards that are open and wrong.
    pub(crate) impaired: u64,
    /// Shards that are held because nobody frees a place for them.
    pub(crate) stuck: BTreeSet<ShardIx>,
    /// Every try that a node is booked with, by its shard.
    pub(crate) booked: BTreeSet<(ShardIx, AttemptNo, NodeIx)>,

    /// While a snapshot is taken in: what nodes are busy with on shards that have not come yet.
    pub(crate) to_book: BTreeMap<ShardId, Vec<(NodeIx, AttemptNo, TaskKind)>>,

    pub(crate) mutant: Mutant,
    pub(crate) watches: BTreeMap<ShardIx, Watch>,
    /// Nodes that serve what is not theirs, by shard.
    pub(crate) strangers: BTreeSet<(ShardId, NodeIx)>,
    pub(crate) ignored: Ignored,
    /// What this step has touched; decides what is looked at again, and what the invariants are checked on.
    pub(crate) touched: Vec<ShardIx>,
    pub(crate) dirty_nodes: BTreeSet<NodeIx>,
    pub(crate) dirty_campaigns: BTreeSet<CampaignIx>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            cell: None,
            seq_next: Seq::from_raw(1),
            at: CellTime::default(),
            limits: FleetLimits::default(),
            nodes: Vec::new(),
            shards: Vec::new(),
            campaigns: Vec::new(),
            node_ix: BTreeMap::new(),
            shard_ix: BTreeMap::new(),
            campaign_ix: BTreeMap::new(),
            domains: BTreeMap::new(),
            counts: StateCounts::default(),
            contested: 0,
            impaired: 0,
            stuck: BTreeSet::new(),
            booked: BTreeSet::new(),
            to_book: BTreeMap::new(),
            mutant: Mutant::None,
            watches: BTreeMap::new(),
            strangers: BTreeSet::new(),
            ignored: Ignored::default(),
            touched: Vec::new(),
            dirty_nodes: BTreeSet::new(),
            dirty_campaigns: BTreeSet::new(),
        }
    }

    pub(crate) fn shard(&self, ix: ShardIx) -> &Shard {
        &self.shards[ix.at()]
    }

    pub(crate) fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[ix.at()]
    }

    pub(crate) fn node_mut(&mut self, ix: NodeIx) -> &mut Node {
        &mut self.nodes[ix.at()]
    }

    pub(crate) fn campaign(&self, ix: CampaignIx) -> &Campaign {
        &self.campaigns[ix.at()]
    }

    pub(crate) fn campaign_mut(&mut self, ix: CampaignIx) -> &mut Campaign {
        &mut self.campaigns[ix.at()]
    }

    /// The campaign a shard is in, whatever the campaign's state.
    pub(crate) fn campaign_of(&self, shard: &Shard) -> Option<&Campaign> {
        shard.member.map(|member| self.campaign(member.campaign))
    }

    /// Whether a campaign does things unless it is told not to: it runs, or has ended and would go on by itself where what kept
    /// its last shards is over.
    pub(crate) fn goes_on(&self, ix: CampaignIx) -> bool {
        match self.campaign(ix).state {
            CampaignState::Running => true,
            CampaignState::Ended => self.members(ix).iter().any(|s| self.shard(*s).is_on_its_way()),
            CampaignState::Forming | CampaignState::Paused(_) | CampaignState::Aborted => false,
        }
    }

    pub(crate) fn shard_ixs(&self) -> impl Iterator<Item = ShardIx> + use<> {
        (0..self.shards.len()).map(ShardIx::for_len)
    }

    pub(crate) fn node_ixs(&self) -> impl Iterator<Item = NodeIx> + use<> {
        (0..self.nodes.len()).map(NodeIx::for_len)
    }

    pub(crate) fn campaign_ixs(&self) -> impl Iterator<Item = CampaignIx> + use<> {
        (0..self.campaigns.len()).map(CampaignIx::for_len)
    }

    /// Whether a try is the one its shard waits for, on the node its data is on.
    pub(crate) fn is_current(&self, node: NodeIx, shard: ShardIx, attempt: AttemptNo) -> bool {
        let shard = self.shard(shard);
        shard.node == node && shard.current_attempt() == Some(attempt)
    }
}
