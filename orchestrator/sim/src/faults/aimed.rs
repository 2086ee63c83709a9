//! Faults that are aimed at a shard where it stays for a moment only.

use rientro_types::{Entry, Record, ShardId, TaskKind};

use crate::agent::Mood;
use crate::world::World;

/// Kinds that strike a shard when its confirmation begins, as often in ten thousand.
const AT_CONFIRMING: [(&str, u64); 3] =
    [("volume-copied", 30), ("mailboxes-added", 15), ("shard-vanished", 15)];
/// When a step of its opening begins: for a few milliseconds.
const AT_OPENING: [(&str, u64); 3] =
    [("volume-copied", 40), ("mailboxes-added", 20), ("mailboxes-vanished", 20)];
/// When a circumstance begins to hold it.
const AT_HOLD: [(&str, u64); 1] = [("mailboxes-swapped", 600)];
/// When one does over a try.
const AT_HOLD_OVER_TRY: [(&str, u64); 2] = [("mailboxes-swapped", 600), ("agent-hung", 2_000)];

impl World {
    /// What was journaled brings a shard where it stays for a moment only: what strikes by the clock would hardly ever meet it
    /// there. Its node tells at once what it shows then.
    pub(crate) fn aim(&mut self, entry: &Entry) {
        for decision in &entry.decisions {
            let (shard, kinds): (_, &[(&'static str, u64)]) = match &decision.record {
                Record::TaskStarted { shard, kind: TaskKind::Confirm, .. } => (*shard, &AT_CONFIRMING),
                Record::StepOpening { shard, .. } => (*shard, &AT_OPENING),
                Record::ShardHeld { shard, .. } if self.is_tried(*shard) => (*shard, &AT_HOLD_OVER_TRY),
                Record::ShardHeld { shard, .. } => (*shard, &AT_HOLD),
                _ => continue,
            };
            if let Some((kind, _)) = kinds.iter().find(|(kind, share)| self.draws(kind, *share)) {
                self.strike_shard(kind, shard);
            }
        }
    }

    fn is_tried(&self, shard: ShardId) -> bool {
        self.monitor.books.shard(shard).is_some_and(|book| book.under_way.is_some())
    }

    fn strike_shard(&mut self, kind: &'static str, shard: ShardId) {
        let Some(volume) = self.monitor.books.shard(shard).map(|book| book.volume) else { return };
        let on = self.truth.volumes.get(&volume).filter(|on| on.shards.contains_key(&shard));
        let Some(host) = on.and_then(|on| on.mounted.first().copied()) else { return };
        let lasts = self.rng.between(10_000, 240_000);
        let struck = match kind {
            "volume-copied" => {
                self.copy_volume(volume, shard, host, lasts, true);
                true
            }
            "agent-hung" => self.behave_badly(host, Mood::Hung, lasts),
            _ => self.harm(kind, volume, shard),
        };
        if !struck {
            return;
        }
        self.relist();
        self.note(Some(shard), || format!("fault: {kind}"));
        self.coverage.fault(kind);
        // What has vanished the try that looks for it notices first.
        if self.agents[host].is_talking() && kind != "shard-vanished" {
            self.with_agent(host, |agent, scene| agent.list(scene));
        }
    }
}
