//! What becomes of shards that wait for a place which nobody frees.
//!
//! A try that was given up may still run, so it keeps its place in every budget until its node answers for it (R2). A node that
//! is heard and does not answer (its disk is full, it is deaf to a cancel) would keep it for ever, and so would one that is
//! silent. The wait for such an answer therefore has a deadline: the fleet's silence limit, in time in which a leader listened.
//! A session that comes and goes does not begin it anew.
//!
//! Where every place of a node, or of a failure domain, is past that deadline, nothing can begin there. What waits for one of
//! them in a running campaign is held with the numbers, and charged to its wave as for silence (R6): it is as unreachable as what
//! is on a silent node, though nothing is known to be wrong with it. That goes for healthy neighbours in a full domain too: a
//! wave that goes on without them is a wave that lost them. It is over by itself as soon as a place is free, be it that a node
//! answers or that an operator raises the limit. While one place is answered for, the others hold nobody up (T10).
//!
//! With this no wait of a shard on its way is for ever (R12). A place is freed by its try's end, and every try has a deadline; a
//! try that is given up is answered for, or its place counts as above. Every step of an opening has a deadline, and a node that
//! is not heard has one. What is left is a wait for a person: to resume, to promote.

use std::collections::BTreeMap;

use rientro_types::{CellTime, HeldReason, LabelKey, LabelValue, Phase, Record, TaskKind};

use crate::engine::Engine;
use crate::mutant::Mutant;
use crate::state::{CampaignIx, NodeIx, ShardIx, State};

/// Places that nobody answers for.
#[derive(Clone, Copy)]
struct Unanswered {
    places: u32,
    /// Since when the last of them is waited for.
    since: CellTime,
}

impl Unanswered {
    fn add(&mut self, since: CellTime) {
        self.places += 1;
        self.since = self.since.max(since);
    }
}

/// Nodes and failure domains of which no place is answered for.
struct Stuck {
    now: CellTime,
    nodes: BTreeMap<(NodeIx, TaskKind), Unanswered>,
    domains: BTreeMap<(LabelKey, LabelValue), Unanswered>,
}

impl Stuck {
    fn of(state: &State, now: CellTime) -> Self {
        let limits = &state.limits;
        let mut stuck = Self { now, nodes: BTreeMap::new(), domains: BTreeMap::new() };
        for ix in state.node_ixs() {
            let node = state.node(ix);
            for (booked, since) in &node.unanswered {
                let Some(kind) = node.busy.get(booked).filter(|_| now.since(*since) >= limits.silence) else {
                    continue;
                };
                let none = Unanswered { places: 0, since: *since };
                stuck.nodes.entry((ix, *kind)).or_insert(none).add(*since);
                for (label, value) in node.labels.iter().filter(|_| *kind == TaskKind::Verify) {
                    stuck.domains.entry((*label, *value)).or_insert(none).add(*since);
                }
            }
        }
        stuck.nodes.retain(|(_, kind), of| of.places >= limits.per_node(*kind));
        let domains = &limits.verifies_per_domain;
        stuck.domains.retain(|(label, _), of| domains.get(label).is_some_and(|max| of.places >= *max));
        stuck
    }

    /// Why nothing of this kind can begin on a node.
    fn reason(&self, state: &State, ix: NodeIx, kind: TaskKind) -> Option<HeldReason> {
        let node = state.node(ix);
        if let Some(Unanswered { places, since }) = self.nodes.get(&(ix, kind)).copied() {
            let unanswered_for = self.now.since(since);
            return Some(HeldReason::NodeStuck { node: node.id, places, unanswered_for });
        }
        let mut labels = node.labels.iter().filter(|_| kind == TaskKind::Verify);
        labels.find_map(|(label, value)| {
            let Unanswered { places, since } = self.domains.get(&(*label, *value)).copied()?;
            let (label, value, unanswered_for) = (*label, *value, self.now.since(since));
            Some(HeldReason::DomainStuck { label, value, places, unanswered_for })
        })
    }
}

impl Engine {
    /// Holds who waits for places that nobody frees, and lets go who waits for them no more.
    pub(crate) fn find_stuck(&mut self) {
        self.note_unanswered();
        let stuck = Stuck::of(&self.state, self.now);
        let mut held = self.kept_waiting(&stuck);
        for ix in self.state.stuck.clone() {
            let shard = self.state.shard(ix);
            let reason = self.state.awaited(ix).and_then(|kind| stuck.reason(&self.state, shard.node, kind));
            match (reason, shard.held_by()) {
                (Some(reason), Some(by)) if by.is_same_cause(&reason) => {}
                (Some(reason), _) => held.push((ix, reason)),
                (None, _) => {
                    let shard = shard.id;
                    self.decide(Record::ShardReleased { shard });
                }
            }
        }
        for (ix, reason) in held {
            let shard = self.state.shard(ix).id;
            self.decide(Record::ShardHeld { shard, reason });
        }
    }

    fn note_unanswered(&mut self) {
        for ix in self.state.node_ixs() {
            let (state, node) = (&self.state, self.state.node(ix));
            let given_up = |(shard, attempt)| node.silent.is_some() || !state.is_current(ix, shard, attempt);
            let unanswered = node.busy.keys().copied().filter(|booked| given_up(*booked));
            let since = |booked| node.unanswered.get(&booked).copied().unwrap_or(self.now);
            let unanswered = unanswered.map(|booked| (booked, since(booked))).collect();
            self.state.node_mut(ix).unanswered = unanswered;
        }
    }

    /// Who could begin, were it not for the places.
    fn kept_waiting(&self, stuck: &Stuck) -> Vec<(ShardIx, HeldReason)> {
        let idle = stuck.nodes.is_empty() && stuck.domains.is_empty();
        if idle || self.state.mutant == Mutant::AwaitForEver {
            return Vec::new();
        }
        let running = self.state.campaign_ixs().filter(|ix| self.state.campaign(*ix).is_running());
        running.flat_map(|ix| self.kept_waiting_in(ix, stuck)).collect()
    }

    fn kept_waiting_in(&self, ix: CampaignIx, stuck: &Stuck) -> Vec<(ShardIx, HeldReason)> {
        let campaign = self.state.campaign(ix);
        let queues = [(TaskKind::Verify, &campaign.verify), (TaskKind::Confirm, &campaign.open)];
        let mut kept = Vec::new();
        for (kind, queue) in queues {
            for (node, keys) in queue {
                let Some(reason) = stuck.reason(&self.state, *node, kind) else { continue };
                let shards = keys.iter().map(|(_, _, shard)| *shard);
                let waiting = shards.filter(|shard| self.state.awaited(*shard) == Some(kind));
                kept.extend(waiting.map(|shard| (shard, reason.clone())));
            }
        }
        kept
    }
}

impl State {
    /// The kind of place that a shard waits for, if it waits for nothing else.
    fn awaited(&self, ix: ShardIx) -> Option<TaskKind> {
        let shard = self.shard(ix);
        let to_open = || {
            let begun = self.campaign_of(shard)?.wave_started(shard.wave()?);
            begun.then_some(TaskKind::Confirm)
        };
        match shard.phase {
            Phase::Waiting => Some(TaskKind::Verify),
            Phase::Backoff { .. } if !shard.is_vouched() => Some(TaskKind::Verify),
            Phase::Backoff { .. } | Phase::Verified => to_open(),
            Phase::Closed { .. }
            | Phase::Verifying { .. }
            | Phase::Confirming { .. }
            | Phase::Opening { .. }
            | Phase::Open { .. }
            | Phase::Held { .. }
            | Phase::Failed { .. } => None,
        }
    }
}
