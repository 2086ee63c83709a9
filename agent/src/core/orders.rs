//! What the orchestrator says, and what it leads to.

use rientro_types::{AttemptNo, CampaignId, Digest, Order, Pace, ServiceSet, ShardId, TaskEnd, Witness};
use rientro_wire::session::{AgentMessage, OrchestratorMessage};

use super::{Core, Effect, FindingsWanted, Reason, Refusal};
use crate::state::{Fact, fence_of};

impl Core {
    pub(super) fn said(&mut self, message: OrchestratorMessage) {
        use OrchestratorMessage as M;
        match message {
            M::Heartbeat => {}
            M::Welcome(_) | M::Refused { .. } => self.hang_up(Reason::Protocol),
            M::StartTask { order, task, entry } => self.obey(&order, |core| core.start(order, task, entry)),
            M::CancelTask { order, shard, attempt } => self.obey(&order, |core| core.cancel(shard, attempt)),
            M::SuspendCampaign { order, campaign } => self.obey(&order, |core| core.suspend(campaign)),
            M::ContinueCampaign { order, campaign } => self.obey(&order, |core| core.go_on(campaign)),
            M::SetServices { order, shard, services, entry } => {
                self.obey(&order, |core| core.serve(order, shard, services, entry));
            }
            M::SetPace { order, campaign, pace } => self.obey(&order, |core| core.pace(campaign, pace)),
            M::Acknowledge { shard, attempt } => self.acknowledged(shard, attempt),
            M::SendFindings {
                request_id,
                shard,
                attempt,
                max_findings,
                kinds,
                with_addresses,
                or_earlier,
            } => {
                let Some(life) = self.terms.as_ref().map(|terms| terms.fence.incarnation) else { return };
                let wanted = FindingsWanted {
                    request_id,
                    life,
                    shard,
                    attempt,
                    max_findings,
                    kinds,
                    with_addresses,
                    or_earlier,
                };
                self.effects.push(Effect::UploadFindings(wanted));
            }
            M::SendInventory => self.report_inventory(true, true),
        }
    }

    /// Acts on an order of the present life and term, or a newer one; the fence rises before anything the order leads to.
    fn obey(&mut self, order: &Order, act: impl FnOnce(&mut Self)) {
        let fence = fence_of(order);
        let refusal = match (&self.terms, self.fence) {
            (None, _) | (_, None) => Some(Refusal::NoSession),
            (Some(_), Some(held)) if held.cell != fence.cell => Some(Refusal::OtherCell),
            (Some(_), Some(held)) if held > fence => Some(Refusal::PastTerm),
            (Some(_), Some(held)) => {
                if held < fence {
                    self.raise(fence);
                }
                None
            }
        };
        match refusal {
            Some(refusal) => self.refuse(refusal, order),
            None => act(self),
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, order: &Order) {
        *self.refused.entry(refusal).or_default() += 1;
        tracing::warn!(?refusal, cell = %order.cell, epoch = %order.epoch, seq = %order.seq, "order refused");
    }

    fn cancel(&mut self, shard: ShardId, attempt: AttemptNo) {
        if !self.cancel_try((shard, attempt)) {
            self.answer_old((shard, attempt));
        }
    }

    /// Tells a result that is durable, whether or not it was told in this session.
    pub(super) fn tell(&mut self, shard: ShardId, attempt: AttemptNo, end: TaskEnd) {
        if let Some(terms) = &mut self.terms {
            terms.told.insert((shard, attempt));
        }
        self.send(AgentMessage::TaskResult { shard, attempt, end });
    }

    fn suspend(&mut self, campaign: CampaignId) {
        self.suspended.insert(campaign, None);
        self.hold(campaign, true);
    }

    pub(super) fn go_on(&mut self, campaign: CampaignId) {
        self.suspended.remove(&campaign);
        self.hold(campaign, false);
    }

    fn hold(&mut self, campaign: CampaignId, held: bool) {
        let of = self.running_of(campaign);
        self.effects.extend(of.into_iter().map(|run| Effect::Hold(run, held)));
    }

    fn pace(&mut self, campaign: CampaignId, pace: Pace) {
        for try_ in self.tries.values_mut().filter(|try_| try_.task.campaign == campaign) {
            try_.task.pace = pace;
        }
        let of = self.running_of(campaign);
        self.effects.extend(of.into_iter().map(|run| Effect::Pace(run, pace)));
    }

    fn serve(&mut self, order: Order, shard: ShardId, services: ServiceSet, entry: Option<Digest>) {
        let durable = self.facts.shards.get(&shard).and_then(|facts| facts.services);
        let newest = self.serving.get(&shard).copied().max(durable.map(|(held, _)| held));
        if durable == Some((order, services)) && newest == Some(order) {
            self.send(AgentMessage::ServicesSeen { shard, services, order });
        } else if newest.is_some_and(|newest| !order.supersedes(&newest)) {
            self.refuse(Refusal::Overtaken, &order);
        } else {
            self.serving.insert(shard, order);
            self.effects.push(Effect::Write(Fact::Services { shard, services, order }));
            self.bear_witness(order, entry);
        }
    }

    /// Keeps which journal an order came from. Orders of one entry come together, and are witnessed once.
    pub(super) fn bear_witness(&mut self, order: Order, entry: Option<Digest>) {
        if let Some(entry) = entry.filter(|entry| self.entry_last != Some(*entry)) {
            self.entry_last = Some(entry);
            self.effects.push(Effect::Write(Fact::Obeyed(Witness { order, entry })));
        }
    }

    fn acknowledged(&mut self, shard: ShardId, attempt: AttemptNo) {
        let waits = self.facts.shards.get(&shard).is_some_and(|facts| facts.outbox.contains_key(&attempt));
        if waits {
            self.effects.push(Effect::Write(Fact::Settled { shard, attempt }));
        }
    }
}
