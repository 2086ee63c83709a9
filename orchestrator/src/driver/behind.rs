//! A journal that is not the one that was led from: a state directory put back from a snapshot or an old copy.
//!
//! Nothing is commanded before it is durable (R4), so no agent ever knows of a record or a term that the newest journal does not
//! hold. One that does is proof that this journal was rolled back, however its orchestrator went down. A journal that has grown
//! past that point since is told by its content: an agent keeps the digest of the entry that its newest order came with, and
//! another entry in that place is another history. That is not known of a record that has gone to the archive meanwhile.
//!
//! The word of an agent opens and closes nothing: the agent is turned away, and people are told, who alone know where the other
//! journal is. The engine has no say in it, as all that it knows is of this journal.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use rientro_engine::Engine;
use rientro_types::{Digest, Incarnation, NodeId, Order, Seq, Witness};
use rientro_wire::limits::NODES_AHEAD_MAX;

use crate::state_dir::LIFE_FLOOR_MAX;

/// What a greeting tells of the journal that its agent was commanded from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// The newest that the agent met of any leader.
    pub(crate) met: Option<Order>,
    /// An order that it obeyed, and the entry that came with it.
    pub(crate) witness: Option<Witness>,
    /// The entry that this journal has in that place, if it can still be read.
    pub(crate) here: Option<Digest>,
}

/// What an agent obeyed and this journal does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Behind {
    /// It goes further than the journal.
    #[error(
        "it knows of life {}, epoch {} and record {}, and this journal is at life {}, epoch {} and record {}",
        met.incarnation, met.epoch, met.seq, holds.incarnation, holds.epoch, holds.seq
    )]
    Older {
        /// What the agent knows of.
        met: Order,
        /// The journal's life and term, and its last record.
        holds: Order,
    },
    /// The journal goes as far and holds something else.
    #[error(
        "record {} of life {}, on which it acted, is another one here, as the cell has been led from this journal since",
        order.seq, order.incarnation
    )]
    Other {
        /// The order it acted on.
        order: Order,
    },
}

impl Behind {
    /// Compares what an agent tells with what the engine has replayed and decided since.
    pub(super) fn of(told: &Told, engine: &Engine) -> Option<Self> {
        let view = engine.cell_view()?;
        let last = Seq::from_raw(engine.seq_next().raw().saturating_sub(1));
        let holds = Order { cell: view.cell, incarnation: view.incarnation, epoch: view.epoch, seq: last };
        // Another cell's agent sees so itself; an earlier life's numbers say nothing about this one's.
        let counts = |order: &Order| order.cell == holds.cell && order.incarnation >= holds.incarnation;
        if let Some(met) = told.met.filter(counts)
            && (met.incarnation > holds.incarnation || met.epoch > holds.epoch || met.seq > holds.seq)
        {
            return Some(Self::Older { met, holds });
        }
        let Witness { order, entry } = told.witness.filter(|witness| counts(&witness.order))?;
        told.here.is_some_and(|here| here != entry).then_some(Self::Other { order })
    }

    /// The life that was met, where it is a newer one than this journal's.
    fn newer_life(&self) -> Option<Incarnation> {
        match self {
            Self::Older { met, holds } => Some(met.incarnation).filter(|life| *life > holds.incarnation),
            Self::Other { .. } => None,
        }
    }

    /// The whole of it, for whoever looks after that node or the cell.
    pub(super) fn of_node(&self, node: NodeId) -> String {
        if let Some(life) = self.newer_life() {
            if life.raw() > LIFE_FLOOR_MAX {
                return format!(
                    "node {node} says that it has obeyed a life of the cell above which none can begin: {self}. Stop its agent, make \
                     it anew by moving its state directory away, and start it again"
                );
            }
            return format!(
                "node {node} has obeyed a newer life of the cell than this journal's: {self}. Either this journal is from before that \
                 life, or it was restored after it while the host's clock was behind. See that no other orchestrator leads the \
                 cell, and stop this one. Then restore the newest backup with `rientro journal restore ... --life-floor {life}`; \
                 or, to go on with this journal, start it once with --restored --life-floor {life}"
            );
        }
        format!(
            "this journal is older than what node {node} has obeyed: {self}; so the state directory was rolled back, and what it \
             shows as open or closed may not be so. Stop the orchestrator, move this journal away and restore the newest backup \
             with `rientro journal restore`; or, without one, start it with --restored"
        )
    }
}

/// Nodes that obeyed what the journal does not hold, at most [`NODES_AHEAD_MAX`] of them. Clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahead(Arc<BTreeMap<NodeId, Behind>>);

impl Ahead {
    /// The nodes, by name.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.0.keys().copied()
    }

    /// What people are told; nothing while there is no such node.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        // A life that begins above the newest one that was met is above all of them.
        let (node, behind) = self.0.iter().min_by_key(|(_, behind)| Reverse(behind.newer_life()))?;
        let others = match self.0.len() - 1 {
            0 => String::new(),
            others => format!(". {others} more nodes say so"),
        };
        Some(behind.of_node(*node) + &others)
    }

    /// A node was turned away; agents come back every few seconds, and each is told of once. True when it is another one.
    pub(super) fn add(&mut self, node: NodeId, behind: Behind) -> bool {
        if self.0.contains_key(&node) || self.0.len() >= NODES_AHEAD_MAX {
            return false;
        }
        if self.0.is_empty() {
            tracing::error!(what = behind.of_node(node), "the journal was rolled back");
        } else {
            tracing::warn!(%node, %behind, "another node obeyed what the journal does not hold");
        }
        Arc::make_mut(&mut self.0).insert(node, behind);
        true
    }

    /// A node was let in: its agent was made anew. True when it was one of them.
    pub(super) fn remove(&mut self, node: NodeId) -> bool {
        self.0.contains_key(&node) && Arc::make_mut(&mut self.0).remove(&node).is_some()
    }
}

#[cfg(test)]
mod tests {
    use rientro_types::{CellId, Epoch};

    use super::*;
    use crate::state_dir::life_floor;

    fn order(life: u32) -> Order {
        Order {
            cell: CellId::new("test").unwrap(),
            incarnation: Incarnation::from_raw(life),
            epoch: Epoch::from_raw(3),
            seq: Seq::from_raw(9),
        }
    }

    #[test]
    fn no_number_is_advised_that_is_refused_then() {
        for life in [1_800_000_000, 4_000_000_001, LIFE_FLOOR_MAX, LIFE_FLOOR_MAX + 1, u32::MAX] {
            let said =
                Behind::Older { met: order(life), holds: order(1) }.of_node(NodeId::new("n1").unwrap());
            let floor = format!("--life-floor {life}");
            assert_eq!(said.contains(&floor), life_floor(&life.to_string()).is_ok(), "{said}");
            assert_ne!(said.contains(&floor), said.contains("moving its state directory away"), "{said}");
        }
    }
}
