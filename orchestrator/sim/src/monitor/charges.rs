//! Losses that were forgiven: by a person who went on, and each for itself.
//!
//! Kept from what the follower shows after each record, beside the holds, and judged by who decided what: the engine's own
//! counts would excuse themselves.

use std::collections::BTreeMap;

use rientro_types::{
    ActorKind, CampaignId, Charge, Decision, HeldReason, Hold, PassCause, Phase, Record, ShardId,
    ShardSnapshot, ShardState,
};

use super::Monitor;

/// What shards count for, and in which campaign.
pub(super) type Charges = BTreeMap<ShardId, (Option<CampaignId>, Charge)>;

/// Whether a person goes on with this, in spite of what is lost.
fn goes_on(decision: &Decision) -> bool {
    let on = matches!(
        decision.record,
        Record::CampaignResumed { .. } | Record::WavePassed { cause: PassCause::Promoted, .. }
    );
    on && decision.actor.kind == ActorKind::Operator
}

/// Whether a person who goes on has answered for it however often it comes back.
const fn is_wait(hold: &Hold) -> bool {
    matches!(
        hold.reason,
        HeldReason::NodeSilent { .. }
            | HeldReason::NodeStuck { .. }
            | HeldReason::DomainStuck { .. }
            | HeldReason::OpeningOverdue { .. }
    )
}

impl Monitor {
    /// R6: what a shard counts for after a record, with what held it before.
    pub(super) fn note_charge(&mut self, shard: &ShardSnapshot, before: Option<&Hold>, decision: &Decision) {
        let id = shard.shard;
        let present = (shard.member.map(|member| member.campaign), shard.charge);
        let was = self.charges.insert(id, present);
        // What no campaign moves costs none anything, whatever it cost before.
        let rests =
            shard.member.is_none() || matches!(shard.phase, Phase::Closed { .. } | Phase::Open { .. });
        if shard.charge != Charge::Forgiven || rests {
            return;
        }
        if was != Some(present) && !goes_on(decision) {
            let word = crate::transcript::word(&decision.record);
            self.broken(
                "R6",
                Some(id),
                format!("the loss of shard {id} is forgiven by {word}, and nobody went on"),
            );
        }
        let lasts = |hold: &Hold| before.is_some_and(|before| before.reason.is_same_cause(&hold.reason));
        if let Some(hold) = shard.blocked.as_ref().filter(|hold| !is_wait(hold) && !lasts(hold)) {
            let found = format!("shard {id} is lost anew ({}), and that is forgiven already", hold.reason);
            self.broken("R6", Some(id), found);
        }
        let goes = !matches!(shard.state(), ShardState::Held | ShardState::Failed);
        if goes && before.is_some_and(|before| !is_wait(before)) {
            let word = crate::transcript::word(&decision.record);
            self.broken(
                "R6",
                Some(id),
                format!("shard {id} goes on by {word}, and its next loss is forgiven already"),
            );
        }
    }
}
