//! A person's word about where a shard is, and what is in it.
//!
//! Three things are settled: which of two nodes has a shard, whether another volume is the right one, and whether mailboxes
//! that were known are gone for good. The receipt tells them apart, as each has consequences of its own. Whoever settles many
//! claims at once has mounts in mind: that customers' mailboxes are gone is said of a shard by its name, never of many.

use rientro_types::{
    Actor, HeldReason, NodeId, Placement, Receipt, Record, Refusal, SHARDS_TOLD_MAX, Selector, VolumeId,
    mailboxes_missing,
};

use crate::engine::Engine;
use crate::state::{NodeIx, ShardIx, State};
use crate::sweep::Sweep;

impl Engine {
    /// What moves is withdrawn from the node it was on.
    pub(crate) fn settle(
        &mut self,
        actor: &Actor,
        selector: &Selector,
        node: NodeId,
        reason: String,
        rehearse: bool,
    ) -> Result<Receipt, Refusal> {
        let on = self.state.node_ix.get(&node).copied().ok_or(Refusal::NodeUnknown(node))?;
        self.check_selector(selector)?;
        let sweep = Sweep::Settle(on);
        let hit = self.state.targets(sweep, selector).hit;
        let unnamed = self.state.unnamed(on, selector);
        if hit.is_empty() {
            self.state.check_settled(on, selector, &unnamed)?;
        }
        let settled = self.state.settling(on, &hit);
        let before = |ix: ShardIx| (self.state.shard(ix).node, self.state.shard(ix).told, ix);
        let from: Vec<_> = hit.into_iter().map(before).collect();
        let record = Record::Settled { selector: selector.clone(), node, reason };
        let receipt = self.sweep(actor, sweep, selector, record, rehearse)?;
        if !rehearse {
            for (before, told, ix) in from {
                self.moved(before, ix, told);
                self.dismiss_strangers(ix);
                self.forget_rivals(ix);
            }
        }
        let Receipt { claims_ended, volumes_changed, mailboxes_given_up, .. } = settled;
        let by_name = unnamed.len() as u64;
        Ok(Receipt { claims_ended, volumes_changed, mailboxes_given_up, by_name, ..receipt })
    }
}

impl State {
    /// Whether a shard that is to be settled is named as plainly as its question asks for.
    pub(crate) fn is_named_enough(&self, sweep: Sweep, ix: ShardIx, selector: &Selector) -> bool {
        let missing = matches!(sweep, Sweep::Settle(_)) && self.shard(ix).missing_mailboxes().is_some();
        !missing || !selector.shards.is_empty()
    }

    /// Shards on the node that the selector matches, and that are left as they are until they are named.
    fn unnamed(&self, on: NodeIx, selector: &Selector) -> Vec<ShardIx> {
        let sweep = Sweep::Settle(on);
        let mut matched = self.matching(selector);
        matched.retain(|ix| {
            self.settled_volume(*ix, on).is_some() && !self.is_named_enough(sweep, *ix, selector)
        });
        matched
    }

    /// Refuses what settles nothing, where more can be said than that.
    fn check_settled(&self, on: NodeIx, selector: &Selector, unnamed: &[ShardIx]) -> Result<(), Refusal> {
        let node = self.node(on).id;
        if !unnamed.is_empty() {
            let mut shards: Vec<_> = unnamed.iter().map(|ix| self.shard(*ix).id).collect();
            shards.sort_unstable();
            shards.truncate(SHARDS_TOLD_MAX);
            return Err(Refusal::ByNameOnly { node, shards, total: unnamed.len() as u64 });
        }
        let elsewhere =
            |ix: ShardIx| self.claimants(ix).filter(|nodes| !nodes.contains(&node)).map(|n| (ix, n));
        let named = !selector.shards.is_empty();
        match self.matching(selector).into_iter().find_map(elsewhere).filter(|_| named) {
            Some((ix, claimed_by)) => Err(Refusal::NotClaimed { shard: self.shard(ix).id, node, claimed_by }),
            None => Ok(()),
        }
    }

    /// The nodes on one of which a shard can be settled, when something about it is in question.
    fn claimants(&self, ix: ShardIx) -> Option<Vec<NodeId>> {
        let shard = self.shard(ix);
        match shard.held_by()? {
            HeldReason::Contested { holder, claimant, .. } if holder == claimant => Some(vec![*holder]),
            HeldReason::Contested { holder, claimant, .. } => Some(vec![*holder, *claimant]),
            HeldReason::VolumeWrong { found: Some(_), .. } | HeldReason::MailboxesMissing { .. } => {
                Some(vec![self.node(shard.node).id])
            }
            HeldReason::Policy(_)
            | HeldReason::Unknown(_)
            | HeldReason::NodeSilent { .. }
            | HeldReason::NodeStuck { .. }
            | HeldReason::DomainStuck { .. }
            | HeldReason::OpeningOverdue { .. }
            | HeldReason::VolumeWrong { found: None, .. }
            | HeldReason::ShardMissing { .. }
            | HeldReason::Disagreement { .. } => None,
        }
    }

    /// What settling these shards comes to, as a receipt.
    fn settling(&self, on: NodeIx, shards: &[ShardIx]) -> Receipt {
        let mut receipt = Receipt::default();
        for ix in shards {
            let shard = self.shard(*ix);
            receipt.claims_ended += u64::from(matches!(shard.held_by(), Some(HeldReason::Contested { .. })));
            let moves = self.settled_volume(*ix, on).is_some_and(|volume| volume != shard.volume);
            receipt.volumes_changed += u64::from(moves);
            if let Some(HeldReason::MailboxesMissing { known, shown, unlisted }) = shard.held_by() {
                receipt.mailboxes_given_up += mailboxes_missing(*known, *shown, *unlisted);
            }
        }
        receipt
    }

    /// The volume of a shard that is said to be on this node, where that is in question.
    pub(crate) fn settled_volume(&self, ix: ShardIx, on: NodeIx) -> Option<VolumeId> {
        let (shard, node) = (self.shard(ix), self.node(on).id);
        match shard.held_by()? {
            HeldReason::Contested { holder, .. } if *holder == node => Some(shard.volume),
            HeldReason::Contested { claimant, volume, .. } if *claimant == node => Some(*volume),
            HeldReason::VolumeWrong { found, .. } if shard.node == on => *found,
            HeldReason::MailboxesMissing { .. } if shard.node == on => Some(shard.volume),
            HeldReason::Policy(_)
            | HeldReason::Unknown(_)
            | HeldReason::NodeSilent { .. }
            | HeldReason::NodeStuck { .. }
            | HeldReason::DomainStuck { .. }
            | HeldReason::OpeningOverdue { .. }
            | HeldReason::VolumeWrong { .. }
            | HeldReason::ShardMissing { .. }
            | HeldReason::MailboxesMissing { .. }
            | HeldReason::Contested { .. }
            | HeldReason::Disagreement { .. } => None,
        }
    }

    /// Applies what was settled.
    pub(crate) fn apply_settled(&mut self, on: NodeIx, selector: &Selector) -> Result<(), String> {
        let node = self.node(on).id;
        for ix in self.targets(Sweep::Settle(on), selector).hit {
            let Some(volume) = self.settled_volume(ix, on) else { continue };
            let shard = self.shard(ix);
            if shard.node == on && shard.volume == volume {
                let at = self.at;
                self.change(ix, |s| {
                    s.settle_missing(at);
                    s.unblock();
                });
            } else {
                let (id, no) = (shard.id, shard.placement_no.next());
                self.place(id, Placement { no, node, volume })?;
            }
        }
        Ok(())
    }
}
