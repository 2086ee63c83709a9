//! Which shards a plan or a class is about.
//!
//! A coverage that names its shards may name tens of thousands, and each shard of the fleet is asked after: it is resolved
//! once, to a sorted list, and never searched by name.

use std::collections::BTreeMap;

use rientro_types::{Coverage, LabelKey, LabelValue, PlanProblem};

use crate::state::{ShardIx, State};

/// A coverage resolved against the fleet.
pub(crate) enum Covering {
    All,
    Labels(BTreeMap<LabelKey, LabelValue>),
    /// In their order, each once.
    Shards(Vec<ShardIx>),
}

impl State {
    pub(crate) fn covering(&self, covers: &Coverage) -> Covering {
        match covers {
            Coverage::All => Covering::All,
            Coverage::Labels(labels) => Covering::Labels(labels.clone()),
            Coverage::Shards(named) => {
                let mut found: Vec<_> =
                    named.iter().filter_map(|id| self.shard_ix.get(id).copied()).collect();
                found.sort_unstable();
                found.dedup();
                Covering::Shards(found)
            }
        }
    }

    /// Whether it is about this shard, where its node is at present.
    pub(crate) fn covers(&self, covering: &Covering, ix: ShardIx) -> bool {
        match covering {
            Covering::All => true,
            Covering::Labels(labels) => {
                let of_node = &self.node(self.shard(ix).node).labels;
                labels.iter().all(|(label, value)| of_node.get(label) == Some(value))
            }
            Covering::Shards(shards) => shards.binary_search(&ix).is_ok(),
        }
    }

    /// Everything that a plan covers, and the names among it that nothing in the fleet has.
    pub(crate) fn covered(&self, covers: &Coverage, problems: &mut Vec<PlanProblem>) -> Vec<ShardIx> {
        if let Coverage::Shards(named) = covers {
            self.check_shards(named, "covers.shards", problems);
        }
        match self.covering(covers) {
            Covering::Shards(shards) => shards,
            covering @ (Covering::All | Covering::Labels(_)) => {
                self.shard_ixs().filter(|ix| self.covers(&covering, *ix)).collect()
            }
        }
    }
}
