//! Verbs that are about many shards at once: which shards they touch, and what they do to them.
//!
//! A sweep is one record, however many shards it touches (T33). Which shards those are is decided over durable state when
//! the record is applied, so a replay finds the same ones.

use rientro_types::{
    Acceptance, CampaignState, Charge, CloseCause, Decision, Exception, FindingKinds, HeldReason, MailboxId,
    Phase, Record, Selector, ServiceSet, ShardId,
};

use crate::forward::{Forward, Size};
use crate::state::{NodeIx, Shard, ShardIx, State};

/// A verb about many shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sweep {
    Close,
    Retry,
    Accept,
    Prioritise,
    Adopt,
    /// On this node.
    Settle(NodeIx),
}

impl Sweep {
    /// States it applies to, in the words of a refusal.
    pub(crate) const fn applies_to(self) -> &'static str {
        match self {
            Self::Close => "in a state that can be closed",
            Self::Retry => "held, failed, waiting for a retry, or closed, in a campaign that was not aborted",
            Self::Accept => "held for what its verification found, or failed",
            Self::Prioritise => "on its way in a wave that has not begun",
            Self::Adopt => {
                "closed and on its volume, shown by its node alone, or in disagreement with a restored journal"
            }
            Self::Settle(_) => {
                "in question on that node (claimed by a second node, another volume mounted, or mailboxes missing)"
            }
        }
    }
}

/// Shards that match a selector, split by whether the sweep applies to them.
pub(crate) struct Targets {
    pub(crate) hit: Vec<ShardIx>,
    pub(crate) skipped: u64,
    /// Some of the others are already as the sweep would leave them.
    pub(crate) so_already: bool,
    /// Those that a failure domain's cap keeps where they are.
    pub(crate) capped: u64,
    /// The waves they are brought to, as they will be.
    pub(crate) waves: Size,
}

impl State {
    /// Shards that match the selector, in the order of their ids where it names some, of their meeting elsewhere.
    pub(crate) fn matching(&self, selector: &Selector) -> Vec<ShardIx> {
        if selector.shards.is_empty() {
            return self.shard_ixs().filter(|ix| self.matches(*ix, selector)).collect();
        }
        let mut named: Vec<ShardIx> =
            selector.shards.iter().filter_map(|id| self.shard_ix.get(id).copied()).collect();
        named.sort_unstable();
        named.dedup();
        named.retain(|ix| self.matches(*ix, selector));
        named
    }

    pub(crate) fn matches(&self, ix: ShardIx, selector: &Selector) -> bool {
        let Selector { all: _, campaign, wave, labels, states, findings, shards: _ } = selector;
        let shard = self.shard(ix);
        let of_node = &self.node(shard.node).labels;
        campaign.is_none_or(|id| self.campaign_of(shard).is_some_and(|c| c.id == id))
            && wave.is_none_or(|wave| shard.wave() == Some(wave))
            && labels.iter().all(|(label, value)| of_node.get(label) == Some(value))
            && (states.is_empty() || states.contains(&shard.state()))
            && (findings.bits() == 0 || findings.bits() & shard.found().bits() != 0)
    }

    /// What was found in shards beside the kinds that they were selected by, for each in which something was.
    pub(crate) fn found_beside(&self, shards: &[ShardIx], selected: FindingKinds) -> Vec<FindingKinds> {
        if selected == FindingKinds::NONE {
            return Vec::new();
        }
        let beside = shards.iter().map(|ix| self.shard(*ix).found().without(selected));
        beside.filter(|kinds| *kinds != FindingKinds::NONE).collect()
    }

    /// What a sweep would touch.
    pub(crate) fn targets(&self, sweep: Sweep, selector: &Selector) -> Targets {
        let matched = self.matching(selector);
        let (hit, others): (Vec<ShardIx>, Vec<ShardIx>) = matched
            .into_iter()
            .partition(|ix| self.applies(sweep, *ix) && self.is_named_enough(sweep, *ix, selector));
        let skipped = others.len() as u64;
        let so_already = others.iter().any(|ix| self.is_so_already(sweep, *ix));
        if sweep == Sweep::Prioritise {
            let Forward { moves, capped, waves } = self.forward(hit);
            return Targets { hit: moves, skipped, so_already, capped, waves };
        }
        Targets { hit, skipped, so_already, capped: 0, waves: Size::default() }
    }

    fn applies(&self, sweep: Sweep, ix: ShardIx) -> bool {
        let shard = self.shard(ix);
        let state = self.campaign_of(shard).map(|campaign| campaign.state);
        match sweep {
            Sweep::Close => {
                !matches!(shard.phase, Phase::Closed { cause: CloseCause::Operator })
                    || shard.in_disagreement()
                    || shard.doubted
            }
            Sweep::Retry => {
                let retriable = match shard.phase {
                    Phase::Closed { .. }
                    | Phase::Held { .. }
                    | Phase::Failed { .. }
                    | Phase::Backoff { .. } => true,
                    Phase::Waiting
                    | Phase::Verifying { .. }
                    | Phase::Verified
                    | Phase::Confirming { .. }
                    | Phase::Opening { .. }
                    | Phase::Open { .. } => false,
                };
                retriable && state.is_some_and(|state| state != CampaignState::Aborted)
            }
            Sweep::Accept => {
                let held = matches!(&shard.phase, Phase::Held { reason } if reason.acceptable());
                let stuck = held || matches!(shard.phase, Phase::Failed { .. });
                stuck
                    && shard.blocked.is_none()
                    && !shard.is_short()
                    && state.is_some_and(|state| state != CampaignState::Aborted)
            }
            Sweep::Prioritise => self.earlier_wave(ix).is_some(),
            Sweep::Adopt => {
                let closed = matches!(shard.phase, Phase::Closed { .. });
                closed && !shard.is_in_question() || shard.in_disagreement()
            }
            Sweep::Settle(node) => self.settled_volume(ix, node).is_some(),
        }
    }

    /// Whether a shard that the sweep does not touch is what the sweep would make of it.
    fn is_so_already(&self, sweep: Sweep, ix: ShardIx) -> bool {
        match sweep {
            // All but those that an operator has closed can be closed.
            Sweep::Close => true,
            Sweep::Settle(node) => {
                let shard = self.shard(ix);
                shard.node == node && shard.is_free_or_waits()
            }
            Sweep::Retry | Sweep::Accept | Sweep::Prioritise | Sweep::Adopt => false,
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the caller's match lists every record and sends only these here"
    )]
    pub(crate) fn apply_verb(&mut self, decision: &Decision) -> Result<(), String> {
        match &decision.record {
            Record::Closed { selector, reason: _ } => {
                let at = self.at;
                for ix in self.targets(Sweep::Close, selector).hit {
                    self.change(ix, |s| {
                        s.charge = Charge::None;
                        s.end_disagreement();
                        s.close(CloseCause::Operator, at);
                    });
                }
            }
            Record::Retried { selector } => {
                let at = self.at;
                for ix in self.targets(Sweep::Retry, selector).hit {
                    self.change(ix, |s| s.begin_again(at));
                }
            }
            Record::Accepted { selector, reason } => {
                let at = self.at;
                for ix in self.targets(Sweep::Accept, selector).hit {
                    let acceptance = Acceptance { by: decision.actor.id.clone(), reason: reason.clone() };
                    self.change(ix, |s| {
                        s.charge = Charge::None;
                        s.failures = 0;
                        s.accepted = Some(Box::new(acceptance));
                        s.enter(Phase::Verified, at);
                    });
                }
            }
            Record::Prioritised { selector } => {
                let hit = self.targets(Sweep::Prioritise, selector).hit;
                self.bring_forward(hit);
            }
            Record::Adopted { selector, services, reason: _ } => {
                for ix in self.targets(Sweep::Adopt, selector).hit {
                    self.adopt(ix, *services);
                }
            }
            Record::Settled { selector, node, reason: _ } => {
                let on = self.node_ix.get(node).ok_or_else(|| format!("there is no node {node}"))?;
                return self.apply_settled(*on, selector);
            }
            Record::ExceptionSet { shard, mailbox, exception, reason: _ } => {
                return self.except(*shard, *mailbox, *exception);
            }
            other => return Err(format!("not a record of a verb: {other:?}")),
        }
        Ok(())
    }

    fn adopt(&mut self, ix: ShardIx, services: ServiceSet) {
        let at = self.at;
        self.change(ix, |s| {
            if !matches!(s.phase, Phase::Open { .. } | Phase::Closed { .. }) {
                s.close(CloseCause::Operator, at);
            }
            s.settle_missing(at);
            // Whatever covers what its list lacked, a person takes it as it is.
            s.unlisted = 0;
            s.services = services;
            s.charge = Charge::None;
            s.end_disagreement();
            if matches!(s.phase, Phase::Closed { .. }) {
                s.enter(Phase::Open { adopted: true }, at);
            }
        });
    }

    fn except(
        &mut self,
        shard: ShardId,
        mailbox: MailboxId,
        exception: Option<Exception>,
    ) -> Result<(), String> {
        self.edit(shard, |s| {
            match exception {
                Some(exception) => s.exceptions.insert(mailbox, exception),
                None => s.exceptions.remove(&mailbox),
            };
        })
    }
}

impl Shard {
    /// Kinds of what the standing verification found.
    fn found(&self) -> FindingKinds {
        self.standing.as_ref().map(|s| s.verification.verdict.tally.kinds).unwrap_or_default()
    }

    /// Whether it is not known where it is, or that it is there at all: nobody can say that it is in service.
    fn is_in_question(&self) -> bool {
        matches!(
            self.held_by(),
            Some(
                HeldReason::ShardMissing { .. }
                    | HeldReason::VolumeWrong { .. }
                    | HeldReason::Contested { .. }
            )
        )
    }

    /// Whether a restored journal and the shard's node disagree about what is open.
    pub(crate) fn in_disagreement(&self) -> bool {
        matches!(self.held_by(), Some(HeldReason::Disagreement { .. }))
    }

    /// A person has decided what is open, be it before the node was heard after a restore: the node is told, and is believed
    /// about what it serves until it has obeyed. What the restored journal had seen of it is of another time.
    fn end_disagreement(&mut self) {
        if let Some(HeldReason::Disagreement { node, .. }) = self.held_by() {
            self.seen = *node;
            self.unblock();
        }
        self.doubted = false;
    }
}
