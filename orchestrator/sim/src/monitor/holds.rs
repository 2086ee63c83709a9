//! What holds shards, and since when: a hold lasts as long as its cause does, and begins when that does.
//!
//! Kept from what the follower shows after each record, so that neither a record nor a restart can make a hold younger than
//! the cause that stood before and stands after.

use std::collections::BTreeMap;

use rientro_types::{CellTime, Decision, Hold, Record, ShardId, ShardSnapshot};

use super::Monitor;

/// Holds by shard.
pub(super) type Holds = BTreeMap<ShardId, Hold>;

/// Whether a record may change what holds shards that it does not name, or what those count for.
const fn may_hold_any(record: &Record) -> bool {
    matches!(
        record,
        Record::NodeSilent { .. }
            | Record::NodeHeard { .. }
            | Record::NodeEnrolled { .. }
            | Record::CampaignResumed { .. }
            | Record::WaveStarted { .. }
            | Record::WavePassed { .. }
    )
}

impl Monitor {
    /// After a record: holds of the shards it may have touched.
    pub(super) fn note_holds(
        &mut self,
        decision: &Decision,
        at: CellTime,
        touched: Option<&[ShardSnapshot]>,
    ) {
        let record = &decision.record;
        if let Some(shards) = touched {
            shards.iter().for_each(|shard| self.note_hold(shard, decision, at));
        } else if may_hold_any(record) {
            self.all_shards().iter().for_each(|shard| self.note_hold(shard, decision, at));
        } else if let Some((shard, _)) = crate::coverage::of_record(record)
            && let Some(view) = self.follower.shard_view(shard)
        {
            self.note_hold(&view.shard, decision, at);
        }
    }

    fn note_hold(&mut self, shard: &ShardSnapshot, decision: &Decision, at: CellTime) {
        let id = shard.shard;
        let before = self.holds.get(&id).cloned();
        self.note_charge(shard, before.as_ref(), decision);
        let Some(hold) = &shard.blocked else {
            self.holds.remove(&id);
            return;
        };
        self.holds.insert(id, hold.clone());
        let lasting = before.filter(|before| before.reason.is_same_cause(&hold.reason));
        let wanted = lasting.as_ref().map_or(at, |before| before.since);
        if hold.since != wanted {
            let found = format!(
                "shard {id} is held ({}) since {:?}, and the cause stands since {wanted:?}",
                hold.reason, hold.since
            );
            self.broken("R6", Some(id), found);
        }
    }
}
