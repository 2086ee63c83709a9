//! Places that nobody frees: whoever waits for one of them is held, and charged, when the silence limit is over.
//!
//! Kept from the books alone: what is booked and under way no more, or booked on a node that is silent, waits for its node's
//! word. The engine's own clocks would excuse themselves.

use std::collections::BTreeMap;

use rientro_types::{AttemptNo, CampaignState, NodeId, ShardId, ShardSnapshot, ShardState, TaskKind};

use super::Monitor;
use super::rules::LATE_MS;

/// Listened time, and changes of leadership before it.
type Moment = (u64, u64);

/// What is waited for.
#[derive(Default)]
pub(super) struct Waits {
    /// Since when nobody answers for a booked try.
    unanswered: BTreeMap<(NodeId, ShardId, AttemptNo), Moment>,
    /// Since when a shard waits for a place of which none is answered for.
    in_vain: BTreeMap<ShardId, Moment>,
}

impl Monitor {
    /// R6, R12: nothing waits for a place that is kept by tries alone that nobody has answered for in so long.
    pub fn stuck(&mut self) {
        self.note_unanswered();
        let now = self.clock.now();
        let limit = self.books.limits.silence.ms();
        let late = |since: &Moment| now.0 - since.0 > limit;
        let before = std::mem::take(&mut self.waits.in_vain);
        if now.0 < self.books.limits_since + LATE_MS || !self.waits.unanswered.values().any(late) {
            return;
        }
        let shards = self.all_shards();
        let in_vain = shards.iter().filter(|shard| self.waits_in_vain(shard, &late)).map(|shard| shard.shard);
        let since =
            |shard| before.get(&shard).filter(|(_, changes)| *changes == now.1).copied().unwrap_or(now);
        self.waits.in_vain = in_vain.map(|shard| (shard, since(shard))).collect();
        let forgotten = self.waits.in_vain.iter().find(|(_, since)| now.0 - since.0 > LATE_MS);
        if let Some(shard) = forgotten.map(|(shard, _)| *shard) {
            let found =
                format!("shard {shard} waits for a place, and none of them was answered for in {limit} ms");
            self.broken("R6", Some(shard), found);
        }
    }

    /// A new leader, and one that was away, begins to wait anew.
    fn note_unanswered(&mut self) {
        let now = self.clock.now();
        let mut unanswered = BTreeMap::new();
        for node in self.books.nodes() {
            let silent = self.books.silent.contains(&node);
            for (shard, attempt, _) in self.books.booked(node) {
                let under_way = self.books.shard(shard).and_then(|book| book.under_way);
                let current = under_way.is_some_and(|of| of.attempt == attempt && of.node == node);
                if silent || !current {
                    let key = (node, shard, attempt);
                    let before = self.waits.unanswered.get(&key).filter(|(_, changes)| *changes == now.1);
                    unanswered.insert(key, before.copied().unwrap_or(now));
                }
            }
        }
        self.waits.unanswered = unanswered;
    }

    fn waits_in_vain(&self, shard: &ShardSnapshot, late: &impl Fn(&Moment) -> bool) -> bool {
        let Some(member) = shard.member.filter(|_| !shard.doubted) else { return false };
        let mut states = self.follower.campaign_states();
        let running = states.any(|(id, state)| id == member.campaign && state == CampaignState::Running);
        let kind = match shard.state() {
            ShardState::Waiting => TaskKind::Verify,
            ShardState::Verified => TaskKind::Confirm,
            _ => return false,
        };
        let begun = self.books.wave_of(member.campaign, member.wave).is_some_and(|wave| wave.started);
        if !begun || !running {
            return false;
        }
        let node = shard.placement.node;
        let of_node = self.kept(&[node], kind, late) >= self.books.limits.per_node(kind) as usize;
        of_node || kind == TaskKind::Verify && self.is_domain_stuck(node, late)
    }

    fn is_domain_stuck(&self, node: NodeId, late: &impl Fn(&Moment) -> bool) -> bool {
        self.books.domains(node).any(|(label, value, _, max)| {
            let sharing: Vec<_> = self.books.sharing(label, value).collect();
            self.kept(&sharing, TaskKind::Verify, late) >= max as usize
        })
    }

    /// Places of a kind on these nodes that nobody has answered for in so long.
    fn kept(&self, nodes: &[NodeId], kind: TaskKind, late: &impl Fn(&Moment) -> bool) -> usize {
        let booked = nodes.iter().flat_map(|node| self.books.booked(*node).map(move |of| (*node, of)));
        let kept = booked.filter(|(node, (shard, attempt, of))| {
            *of == kind && self.waits.unanswered.get(&(*node, *shard, *attempt)).is_some_and(late)
        });
        kept.count()
    }
}
