//! One node.

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{
    AttemptNo, CellTime, LabelKey, LabelValue, NodeId, NodeIncarnation, ServiceSet, ShardId, Span,
    StateCounts, TaskKind,
};

use crate::claims::Listing;
use crate::contract::SessionNo;
use crate::state::ShardIx;
use crate::twin::Boots;

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) incarnation: NodeIncarnation,
    pub(crate) retired: Vec<NodeIncarnation>,
    pub(crate) labels: BTreeMap<LabelKey, LabelValue>,
    pub(crate) silent: Option<CellTime>,
    pub(crate) busy: BTreeMap<(ShardIx, AttemptNo), TaskKind>,

    pub(crate) verifying: u32,
    pub(crate) confirming: u32,
    pub(crate) shards: BTreeSet<ShardIx>,
    pub(crate) counts: StateCounts,

    /// The session that has reconciled under the present leader.
    pub(crate) session: Option<SessionNo>,
    pub(crate) heard: Option<CellTime>,
    /// Its processes, and whether another one uses its identity.
    pub(crate) boots: Boots,
    pub(crate) cancelled: BTreeSet<(ShardIx, AttemptNo)>,
    /// Tries that were asked for in this session and since it was last heard after a silence, and verifications that went on
    /// when the session began, with how far the clock of their campaign was behind then.
    pub(crate) asked: BTreeMap<(ShardIx, AttemptNo), Span>,
    /// Tries that it is booked with and that nobody waits for any more, or all of them while it is silent, with since when its
    /// answer is waited for.
    pub(crate) unanswered: BTreeMap<(ShardIx, AttemptNo), CellTime>,
    pub(crate) listing: Option<Listing>,
    /// Its newest complete inventory under the present leader.
    pub(crate) listed: Option<Listing>,
    /// What it said it serves of shards that are not here, as far as is known, and was not told to close.
    pub(crate) strangers: BTreeMap<ShardId, ServiceSet>,
}

impl Node {
    pub(crate) fn new(id: NodeId, incarnation: NodeIncarnation) -> Self {
        Self {
            id,
            incarnation,
            retired: Vec::new(),
            labels: BTreeMap::new(),
            silent: None,
            busy: BTreeMap::new(),
            verifying: 0,
            confirming: 0,
            shards: BTreeSet::new(),
            counts: StateCounts::default(),
            session: None,
            heard: None,
            boots: Boots::default(),
            cancelled: BTreeSet::new(),
            asked: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            listing: None,
            listed: None,
            strangers: BTreeMap::new(),
        }
    }

    /// Whether tasks may start here.
    pub(crate) fn is_ready(&self) -> bool {
        self.session.is_some() && self.silent.is_none()
    }
}
