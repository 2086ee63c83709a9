//! The orchestrator's directory of mailboxes, as far as the engine hears of it: what shards have listed, and how much of that
//! they list no more.
//!
//! Of a model shard's mailboxes those that were there from the start are numbered; a list is told as how many of them it has.
//! A list takes the place of the one before once what it lacks is durable, as in the real directory: one that comes to a
//! process that dies is told again.

use std::collections::BTreeMap;

use rientro_engine::Event;
use rientro_types::{HeldReason, NodeId, NodeIncarnation, ShardId, ShardSnapshot};

use crate::world::World;

/// Numbered mailboxes of one shard.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// That its last list had.
    listed: u64,
    /// That it had before it began to lack some, which nobody has settled.
    counts: u64,
}

/// Lists by shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    known: BTreeMap<ShardId, Known>,
    /// Lists that were taken and are not written.
    waiting: Vec<(ShardId, Known)>,
}

impl Lists {
    /// What is known of a shard, and how many mailboxes a list lacks of it; of one that is held for that, of all it had.
    fn lacks(&self, shard: ShardId, listed: u64, held: bool) -> (u64, u64) {
        let known = self.known.get(&shard).copied().unwrap_or_default();
        let before = if held { known.listed.max(known.counts) } else { known.listed };
        (before, before.saturating_sub(listed))
    }

    /// What was decided about the lists is durable: every shard that a list was taken of, and how many it has.
    pub(crate) fn write(&mut self) -> Vec<(ShardId, u64)> {
        self.known.extend(self.waiting.iter().copied());
        self.waiting.drain(..).map(|(shard, known)| (shard, known.listed)).collect()
    }

    /// The process died.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
    }
}

/// What the shard is known to lack already.
fn unlisted(shard: &ShardSnapshot) -> Option<u64> {
    match shard.blocked.as_ref().map(|hold| &hold.reason) {
        Some(HeldReason::MailboxesMissing { unlisted, .. }) => Some(*unlisted),
        _ => Some(shard.unlisted).filter(|unlisted| *unlisted > 0),
    }
}

impl World {
    /// Takes the list of a shard; what the engine is told of it. A list counts only from the node that has the shard, in the
    /// life that its name belongs to.
    pub(crate) fn take_list(
        &mut self,
        node: NodeId,
        incarnation: NodeIncarnation,
        (shard, listed): (ShardId, u64),
    ) -> Option<Event> {
        let view = self.monitor.follower().shard_view(shard)?.shard;
        if view.placement.node != node || self.monitor.incarnation(node) != Some(incarnation) {
            return None;
        }
        let served = !(view.services.is_empty() && view.seen.is_empty());
        let held = unlisted(&view).is_some();
        let (before, lacks) = self.lists.lacks(shard, listed, held);
        let counts = if served { listed } else { before.max(listed) };
        self.lists.waiting.push((shard, Known { listed, counts }));
        let told = !served && (lacks > 0 || held);
        told.then_some(Event::Unlisted { node, incarnation, shard, unlisted: lacks })
    }
}
