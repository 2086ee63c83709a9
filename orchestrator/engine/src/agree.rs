//! What nodes serve: of a restored journal it is agreed on before anything is opened, closed or counted as known (T29).
//!
//! Such a shard is *doubted* until its node has said what it serves, and has shown that it has the shard: a node that the
//! shard has left since the backup has nothing to say about it, and would say that it serves nothing. What differs from the
//! journal is held for a person. Nobody is told to close a doubted shard: a node that serves one of another node is a
//! *stranger* to it, which may have it by now, and is remembered until the doubt is over.

use rientro_types::{HeldReason, Record, ServiceSet, ShardId};

use crate::contract::OrderKind;
use crate::engine::Engine;
use crate::mutant::Mutant;
use crate::state::{NodeIx, ShardIx, State};

impl State {
    /// A node says that it serves a shard that is not known to be there.
    pub(crate) fn note_stranger(&mut self, ix: NodeIx, shard: ShardId, services: ServiceSet) {
        self.node_mut(ix).strangers.insert(shard, services);
        self.strangers.insert((shard, ix));
        self.touched.extend(self.shard_ix.get(&shard));
    }

    /// What a node said is over with its session.
    pub(crate) fn forget_strangers(&mut self, ix: NodeIx) {
        for shard in std::mem::take(&mut self.node_mut(ix).strangers).into_keys() {
            self.strangers.remove(&(shard, ix));
            self.touched.extend(self.shard_ix.get(&shard));
        }
    }

    fn strangers_to(&self, shard: ShardId) -> impl Iterator<Item = NodeIx> {
        let first = (shard, NodeIx::for_len(0));
        self.strangers.range(first..).take_while(move |(of, _)| *of == shard).map(|(_, ix)| *ix)
    }

    /// Whether another node serves a shard and may have it: it shows it, or has not listed yet what it has.
    fn may_be_served_elsewhere(&self, shard: ShardIx) -> bool {
        let s = self.shard(shard);
        let has = |ix: &NodeIx| self.node(*ix).listed.as_ref().is_none_or(|listed| listed.shows(shard));
        self.strangers_to(s.id).filter(|ix| *ix != s.node).any(|ix| has(&ix))
    }
}

impl Engine {
    /// Looks again at what is in doubt and may be so no longer: a node has spoken, or has fallen silent.
    pub(crate) fn agree_on_touched(&mut self) {
        let touched = self.state.touched.iter().copied();
        let mut doubted: Vec<_> = touched.filter(|ix| self.state.shard(*ix).doubted).collect();
        doubted.sort_unstable();
        doubted.dedup();
        doubted.into_iter().for_each(|ix| self.agree(ix));
    }

    /// Ends the doubt about a shard where its node and the journal agree, and holds it for a person where they do not. Until its
    /// node has told and shown it, nothing goes on.
    fn agree(&mut self, shard: ShardIx) {
        let s = self.state.shard(shard);
        let (id, node, journal) = (s.id, s.node, s.services);
        let Some(services) = s.told else { return };
        let shown = self.state.node(node).listed.as_ref().is_some_and(|listed| listed.shows(shard));
        if services != journal {
            self.hold_disagreement(shard, services);
        } else if shown && !s.in_disagreement() && !self.state.may_be_served_elsewhere(shard) {
            self.decide_for(node, Record::ServicesSeen { shard: id, services });
        }
    }

    /// What is held for an older disagreement is held for this one: a person decides on what is so. How many mailboxes a closed
    /// shard has is no question before it is known whether it is closed.
    fn hold_disagreement(&mut self, shard: ShardIx, services: ServiceSet) {
        let s = self.state.shard(shard);
        let reason = HeldReason::Disagreement { journal: s.services, node: services };
        let to_hold = match s.held_by() {
            None | Some(HeldReason::MailboxesMissing { .. }) => true,
            Some(held) if held.is_wait() => true,
            Some(held) => matches!(held, HeldReason::Disagreement { .. }) && *held != reason,
        };
        if to_hold {
            let shard = s.id;
            self.decide(Record::ShardHeld { shard, reason });
        }
    }

    /// A shard has moved, which until then was told to serve so much where it was. What has moved is served by its new node
    /// alone, as soon as it is known what is served; what the new one said of it before counts.
    pub(crate) fn moved(&mut self, from: NodeIx, shard: ShardIx, told: Option<ServiceSet>) {
        let s = self.state.shard(shard);
        let (id, node, doubted) = (s.id, s.node, s.doubted);
        if node == from {
            return;
        }
        if !doubted {
            return self.send(from, OrderKind::Serve { shard: id, services: ServiceSet::NONE });
        }
        if let Some(services) = told.filter(|services| !services.is_empty()) {
            self.state.note_stranger(from, id, services);
        }
        let to = self.state.node(node);
        let claimed = to.listed.as_ref().and_then(|listed| listed.claimed_services(shard));
        self.state.shards[shard.at()].told = claimed.or(to.strangers.get(&id).copied());
    }

    /// A shard is served by its node alone: whoever else serves it is told to stop.
    pub(crate) fn tell_strangers(&mut self, shard: ShardIx) {
        if !self.state.shard(shard).doubted || self.state.mutant == Mutant::CloseUnasked {
            self.dismiss_strangers(shard);
        }
    }

    /// The same by the word of a person, who has said where the shard is.
    pub(crate) fn dismiss_strangers(&mut self, shard: ShardIx) {
        let s = self.state.shard(shard);
        let (id, node) = (s.id, s.node);
        for ix in self.state.strangers_to(id).collect::<Vec<_>>() {
            self.state.strangers.remove(&(id, ix));
            self.state.node_mut(ix).strangers.remove(&id);
            if ix != node {
                self.send(ix, OrderKind::Serve { shard: id, services: ServiceSet::NONE });
            }
        }
    }
}
