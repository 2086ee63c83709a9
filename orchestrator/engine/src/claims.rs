//! Which node has a shard, on which volume: what inventories say, and what is held because they contradict each other.
//!
//! T28: one shard is served from one place. Who shows it beside that place is a *rival*: another node, or the same node that
//! has it on two of its roots. While there is a rival the shard is contested; when one lets go the next one is looked for, so
//! that a claim is never forgotten because another one came first. Rivals are what connected nodes show, and are not kept: a
//! node that connects lists anew.

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{Claim, HeldReason, NodeId, Placement, Record, ServiceSet, VolumeId};

use crate::engine::Engine;
use crate::state::{NodeIx, Shard, ShardIx};

/// What a node shows in one inventory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    shown: BTreeSet<ShardIx>,
    /// Those among them that speak against the place a shard has.
    rivals: BTreeMap<ShardIx, Rival>,
}

/// A claim beside the place of a shard.
#[derive(Clone, Copy, Debug)]
struct Rival {
    volume: VolumeId,
    /// What its node serves of it.
    services: ServiceSet,
    /// The node shows the shard on two roots: even when it is the only node that does, it is not known which one counts.
    twice: bool,
}

impl Listing {
    pub(crate) fn shows(&self, shard: ShardIx) -> bool {
        self.shown.contains(&shard)
    }

    /// What the node serves of a shard that was elsewhere when it was shown.
    pub(crate) fn claimed_services(&self, shard: ShardIx) -> Option<ServiceSet> {
        self.rivals.get(&shard).map(|rival| rival.services)
    }

    fn is_twice(&self, shard: ShardIx) -> bool {
        self.rivals.get(&shard).is_some_and(|rival| rival.twice)
    }
}

impl Rival {
    /// Of a claim by `ix`, where it speaks against the place that the shard has.
    fn of(shard: &Shard, ix: NodeIx, claim: &Claim) -> Option<Self> {
        let (twice, services) = (claim.second.is_some(), claim.services);
        match claim.second {
            Some(second) if second != shard.volume => Some(Self { volume: second, services, twice }),
            None if shard.node == ix => None,
            _ => Some(Self { volume: claim.volume, services, twice }),
        }
    }
}

impl Engine {
    pub(crate) fn inventory(&mut self, ix: NodeIx, first: bool, claims: &[Claim], last: bool) {
        let begun = self.state.node_mut(ix).listing.take();
        let mut listing = match begun {
            _ if first => Listing::default(),
            Some(begun) => begun,
            // The rest of a listing whose beginning was told in a session that is over.
            None => {
                self.state.ignored.late += 1;
                return;
            }
        };
        for claim in claims {
            if !self.state.shard_ix.contains_key(&claim.shard) {
                self.meet(ix, claim);
            }
            let shard = self.state.shard_ix[&claim.shard];
            self.claimed(ix, shard, claim);
            listing.shown.insert(shard);
            match Rival::of(self.state.shard(shard), ix, claim) {
                Some(rival) => listing.rivals.insert(shard, rival),
                None => listing.rivals.remove(&shard),
            };
        }
        if last {
            self.miss(ix, &listing);
            // What it has, and what it serves of others and does not have: in doubt until it had listed all.
            let doubted = listing.shown.iter().copied().filter(|shard| self.state.shard(*shard).doubted);
            self.state.touched.extend(doubted.collect::<Vec<_>>());
            let strange = self.state.node(ix).strangers.keys();
            let strange = strange.filter_map(|shard| self.state.shard_ix.get(shard).copied());
            self.state.touched.extend(strange.collect::<Vec<_>>());
            let rivals: Vec<ShardIx> = listing.rivals.keys().copied().collect();
            self.state.node_mut(ix).listed = Some(listing);
            // One that was passed over because another contest was on, which ended before this listing did.
            rivals.into_iter().for_each(|shard| self.contest_again(shard));
        } else {
            self.state.node_mut(ix).listing = Some(listing);
        }
    }

    /// A shard is met on one node. Others that said they serve it, when nobody knew it, hold it no more.
    fn meet(&mut self, ix: NodeIx, claim: &Claim) {
        let node = self.state.node(ix).id;
        self.decide_for(ix, Record::ShardMet { node, claim: *claim });
    }

    /// A node shows a shard that is known.
    fn claimed(&mut self, ix: NodeIx, shard: ShardIx, claim: &Claim) {
        let s = self.state.shard(shard);
        let node = self.state.node(ix).id;
        if let Some(rival) = Rival::of(s, ix, claim) {
            if s.node != ix && !rival.twice && s.volume == claim.volume && self.has_let_go(shard) {
                // The same volume, on a node while the old one no longer shows it, was remounted.
                let placement = Placement { no: s.placement_no.next(), node, volume: claim.volume };
                self.place(ix, shard, placement);
                self.count(ix, shard, claim);
                self.take_word(ix, shard, claim);
            } else {
                self.contest(ix, shard, rival.volume);
            }
            return;
        }
        if s.held_by().is_some_and(|held| is_contest_within(held, node)) {
            self.let_go(ix, shard);
        }
        let s = self.state.shard(shard);
        let id = s.id;
        if s.volume != claim.volume {
            let reason = HeldReason::VolumeWrong { expected: s.volume, found: Some(claim.volume) };
            let to_hold = match s.held_by() {
                None | Some(HeldReason::ShardMissing { .. } | HeldReason::MailboxesMissing { .. }) => true,
                Some(held) if held.is_wait() => true,
                Some(held) => matches!(held, HeldReason::VolumeWrong { .. }) && *held != reason,
            };
            if to_hold {
                self.decide_for(ix, Record::ShardHeld { shard: id, reason });
            }
            return;
        }
        self.count(ix, shard, claim);
        self.take_word(ix, shard, claim);
    }

    /// T29: what a claim says of services counts for what nobody has agreed on yet.
    fn take_word(&mut self, ix: NodeIx, shard: ShardIx, claim: &Claim) {
        if self.state.shard(shard).doubted {
            self.reconcile_service(ix, shard, claim.services);
        }
    }

    /// Anything but a remounted volume is contested, once.
    fn contest(&mut self, by: NodeIx, shard: ShardIx, volume: VolumeId) {
        let s = self.state.shard(shard);
        if !s.is_contested() {
            let (holder, claimant) = (self.state.node(s.node).id, self.state.node(by).id);
            let reason = HeldReason::Contested { holder, claimant, volume };
            self.decide_for(by, Record::ShardHeld { shard: s.id, reason });
        }
    }

    /// A rival shows the shard no more.
    fn let_go(&mut self, by: NodeIx, shard: ShardIx) {
        if let Some(listed) = &mut self.state.node_mut(by).listed {
            listed.rivals.remove(&shard);
        }
        let id = self.state.shard(shard).id;
        self.decide_for(by, Record::ShardReleased { shard: id });
        self.contest_again(shard);
    }

    /// Looks for a rival of a shard that is not contested, or not any more.
    fn contest_again(&mut self, shard: ShardIx) {
        let s = self.state.shard(shard);
        if s.is_contested() {
            return;
        }
        let holder = s.node;
        let rival = self.state.node_ixs().find_map(|ix| {
            let rival = self.state.node(ix).listed.as_ref()?.rivals.get(&shard)?;
            (ix != holder || rival.twice).then_some((ix, rival.volume))
        });
        if let Some((claimant, volume)) = rival {
            self.contest(claimant, shard, volume);
        }
    }

    /// An operator has said where the shard is: what was shown beside it counts no more, until it is shown anew.
    pub(crate) fn forget_rivals(&mut self, shard: ShardIx) {
        for ix in self.state.node_ixs() {
            if let Some(listed) = &mut self.state.node_mut(ix).listed {
                listed.rivals.remove(&shard);
            }
        }
    }

    /// What a node that has fallen silent held, another one shows on the same volume: it was remounted there, be it before
    /// the silence was noticed.
    pub(crate) fn yield_claims(&mut self, from: NodeIx) {
        for shard in self.state.node(from).shards.clone() {
            let s = self.state.shard(shard);
            let Some(HeldReason::Contested { claimant, volume, .. }) = s.held_by() else { continue };
            let Some(to) = self.state.node_ix.get(claimant).copied().filter(|to| *to != from) else {
                continue;
            };
            let listed = self.state.node(to).listed.as_ref();
            let shown = listed.is_some_and(|listed| listed.shows(shard) && !listed.is_twice(shard));
            if *volume == s.volume && shown && self.has_let_go(shard) {
                let placement = Placement { no: s.placement_no.next(), node: *claimant, volume: *volume };
                self.place(to, shard, placement);
            }
        }
    }

    /// Whether the node of a shard has it no more: it has listed its shards without it, or has listed none, is silent, and was
    /// so before anybody else showed the shard. Two nodes that showed one volume at once have a copy of it, or mounted it
    /// twice: that one of them is silent then says nothing about which of the two counts.
    fn has_let_go(&self, shard: ShardIx) -> bool {
        let s = self.state.shard(shard);
        let holder = self.state.node(s.node);
        match (&holder.listed, &s.blocked) {
            (Some(listed), _) => !listed.shows(shard),
            (None, Some(hold)) if s.is_contested() => {
                let there = holder.heard.map_or(hold.since < self.leading_since, |heard| heard > hold.since);
                holder.silent.is_some() && !there
            }
            (None, _) => holder.silent.is_some(),
        }
    }

    fn place(&mut self, by: NodeIx, shard: ShardIx, placement: Placement) {
        let from = self.state.shard(shard).node;
        let shard_id = self.state.shard(shard).id;
        let told = self.state.shard(shard).told;
        self.decide_for(by, Record::ShardPlaced { shard: shard_id, placement });
        self.moved(from, shard, told);
        self.contest_again(shard);
    }

    /// A listing is complete: what this node held and does not show is missing; what it claimed and shows no more is no
    /// longer contested.
    fn miss(&mut self, ix: NodeIx, listing: &Listing) {
        let node = self.state.node(ix).id;
        for shard in self.state.shard_ixs() {
            if listing.shows(shard) {
                continue;
            }
            let s = self.state.shard(shard);
            let id = s.id;
            match s.held_by() {
                Some(HeldReason::Contested { claimant, .. }) if s.node != ix && *claimant == node => {
                    self.let_go(ix, shard);
                }
                Some(HeldReason::Contested { claimant, volume, .. })
                    if s.node == ix
                        && *claimant != node
                        && *volume == s.volume
                        && !self.is_twice_on(*claimant, shard) =>
                {
                    let placement = Placement { no: s.placement_no.next(), node: *claimant, volume: *volume };
                    self.place(ix, shard, placement);
                }
                held if s.node == ix && held.is_none_or(|held| held.is_wait() || is_gone_too(held, node)) => {
                    let reason = HeldReason::ShardMissing { node };
                    self.decide_for(ix, Record::ShardHeld { shard: id, reason });
                }
                _ => {}
            }
        }
    }

    fn is_twice_on(&self, node: NodeId, shard: ShardIx) -> bool {
        let ix = self.state.node_ix.get(&node).copied();
        ix.and_then(|ix| self.state.node(ix).listed.as_ref()).is_some_and(|listed| listed.is_twice(shard))
    }
}

/// Whether a node contradicts itself about a shard: it is there on two roots.
fn is_contest_within(held: &HeldReason, node: NodeId) -> bool {
    matches!(held, HeldReason::Contested { holder, claimant, .. } if *holder == node && *claimant == node)
}

/// Whether what holds a shard is over when its node does not show it at all: the wrong volume that was there is gone too, and
/// so are the mailboxes that were left, and both of two copies; that it serves nothing of the shard is no word about it.
fn is_gone_too(held: &HeldReason, node: NodeId) -> bool {
    let silent = matches!(held, HeldReason::Disagreement { node: services, .. } if services.is_empty());
    matches!(held, HeldReason::VolumeWrong { found: Some(_), .. } | HeldReason::MailboxesMissing { .. })
        || silent
        || is_contest_within(held, node)
}
