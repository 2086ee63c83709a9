//! A journal that is older than what was led from: a state directory put back from a snapshot or an old copy.
//!
//! Nothing is commanded before it is durable (R4), so no agent ever knows of a record or a term that the newest journal does not
//! hold. One that does is proof that this journal was rolled back, however its orchestrator went down. Its word opens and closes
//! nothing: the agent is turned away, and people are told, who alone know where a newer journal is. The engine has no say in it,
//! as all that it knows is of this journal.

use std::collections::BTreeSet;

use rientro_engine::Engine;
use rientro_types::{NodeId, Order};

/// An agent that knows of more than the journal holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this journal is older than what node {node} has obeyed: it knows of life {}, epoch {} and record {}, and this journal is at \
     life {}, epoch {} and record {}; so the state directory was rolled back, and what it shows as open or closed may not be so. \
     Stop the orchestrator, move this journal away and restore the newest backup with `rientro journal restore`; or, without \
     one, start it with --restored",
    met.incarnation, met.epoch, met.seq, holds.incarnation, holds.epoch, holds.seq
)]
pub struct Behind {
    /// The node.
    pub node: NodeId,
    /// What it knows of.
    pub met: Order,
    /// The journal's life and term, and its last record.
    pub holds: Order,
}

impl Behind {
    /// Compares what an agent met with what the engine has replayed and decided since.
    pub(super) fn of(node: NodeId, met: Option<Order>, engine: &Engine) -> Option<Self> {
        let (met, view) = (met?, engine.cell_view()?);
        let last = rientro_types::Seq::from_raw(engine.seq_next().raw().saturating_sub(1));
        let holds = Order { cell: view.cell, incarnation: view.incarnation, epoch: view.epoch, seq: last };
        // Another cell's agent sees so itself; an earlier life's numbers say nothing about this one's.
        if met.cell != holds.cell || met.incarnation < holds.incarnation {
            return None;
        }
        let ahead = met.incarnation > holds.incarnation || met.epoch > holds.epoch || met.seq > holds.seq;
        ahead.then_some(Self { node, met, holds })
    }
}

/// Tells of each node once a term: agents come back every few seconds.
#[derive(Debug, Default)]
pub(super) struct Ahead(BTreeSet<NodeId>);

impl Ahead {
    pub(super) fn log(&mut self, behind: &Behind) {
        if self.0.is_empty() {
            tracing::error!(%behind, "the journal was rolled back");
        } else if !self.0.contains(&behind.node) {
            tracing::warn!(node = %behind.node, met = ?behind.met, "another agent knows of more than the journal holds");
        }
        self.0.insert(behind.node);
    }
}
