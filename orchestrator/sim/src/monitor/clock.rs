//! The time in which a leader listened: the only time anyone may be charged for.

use std::collections::BTreeMap;

use rientro_engine::ABSENCE_MIN;
use rientro_types::{CellTime, NodeId};

/// Counts listened time. A longer silence of the leader between two looks is an absence, by the cell's clock.
#[derive(Clone, Debug, Default)]
pub struct Listened {
    ms: u64,
    last: Option<CellTime>,
    /// How often leadership changed or was interrupted.
    pub changes: u64,
    /// When each node was heard last, and the last moment before that one.
    heard: BTreeMap<NodeId, (u64, Option<u64>)>,
    since: u64,
}

impl Listened {
    /// Listened milliseconds so far.
    #[must_use]
    pub fn now(&self) -> (u64, u64) {
        (self.ms, self.changes)
    }

    /// A leader takes over at `cell`.
    pub fn lead(&mut self, cell: CellTime) {
        self.last = Some(cell);
        self.changes += 1;
        self.heard.clear();
        self.since = self.ms;
    }

    /// The leader looks up at `cell`.
    pub fn look(&mut self, cell: CellTime) {
        let gap = self.last.map_or(0, |last| cell.since(last).ms());
        if gap < ABSENCE_MIN.ms() {
            self.ms += gap;
        } else {
            self.changes += 1;
        }
        self.last = Some(self.last.map_or(cell, |last| last.max(cell)));
    }

    /// A node is heard.
    pub fn heard(&mut self, node: NodeId) {
        let (last, before) =
            self.heard.get(&node).map_or((None, None), |(last, before)| (Some(*last), *before));
        let before = if last == Some(self.ms) { before } else { last };
        self.heard.insert(node, (self.ms, before));
    }

    /// Listened milliseconds in which a node was not heard.
    #[must_use]
    pub fn unheard(&self, node: NodeId) -> u64 {
        self.ms - self.heard.get(&node).map_or(self.since, |(last, _)| *last)
    }

    /// The same, up to what was heard at this very moment: the leader handles what comes at once one after the other, and may
    /// call a node silent before it comes to what the node says.
    #[must_use]
    pub fn unheard_before(&self, node: NodeId) -> u64 {
        let last = match self.heard.get(&node) {
            Some((last, before)) if *last == self.ms => *before,
            heard => heard.map(|(last, _)| *last),
        };
        self.ms - last.unwrap_or(self.since)
    }
}
