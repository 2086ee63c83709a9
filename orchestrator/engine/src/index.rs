//! Keeps derived state equal to what durable state implies.
//!
//! A shard is changed in one way only: taken out of every index, edited, and put back. What it left behind where is its
//! footprint, so taking it out needs no guess.

use std::collections::BTreeMap;

use rientro_types::{
    AttemptNo, CampaignState, Charge, HeldReason, LabelKey, LabelValue, Phase, ShardState, TaskKind,
};

use crate::state::{CampaignIx, Footprint, NodeIx, Queue, QueueKey, Shard, ShardIx, State};

fn footprint(shard: &Shard, ix: ShardIx) -> Footprint {
    let blocked = shard.blocked.is_some();
    // T10: what is held is charged to its wave, and does not keep the others from opening.
    let in_flight = matches!(shard.phase, Phase::Confirming { .. } | Phase::Opening { .. }) && !blocked;
    // T29: of a restored journal nothing goes on before what the shard's node serves is agreed on.
    let still = blocked || shard.doubted;
    let steppable = matches!(shard.phase, Phase::Opening { .. }) && shard.seen == shard.services && !still;
    Footprint {
        node: shard.node,
        state: shard.state(),
        mailboxes: shard.mailboxes,
        campaign: shard.member.map(|m| m.campaign),
        wave: shard.wave(),
        lost: if shard.is_charged() { shard.weight() } else { 0 },
        forgiven: shard.charge == Charge::Forgiven,
        moving: is_moving(shard.state()),
        in_flight,
        steppable,
        queue: queue(shard).filter(|_| !still).and_then(|queue| {
            let member = shard.member?;
            Some((queue, (shard.wave()?, member.rank, ix)))
        }),
        timer: timer(shard),
    }
}

/// Whether a shard in this state goes on by itself: its wave waits for it.
pub(crate) const fn is_moving(state: ShardState) -> bool {
    match state {
        ShardState::Closed | ShardState::Open | ShardState::Held | ShardState::Failed => false,
        ShardState::Waiting
        | ShardState::Verifying
        | ShardState::Backoff
        | ShardState::Verified
        | ShardState::Confirming
        | ShardState::Opening => true,
    }
}

fn queue(shard: &Shard) -> Option<Queue> {
    match shard.phase {
        Phase::Waiting => Some(Queue::Verify),
        Phase::Verified => Some(Queue::Open),
        Phase::Backoff { .. } if shard.due && shard.is_vouched() => Some(Queue::Open),
        Phase::Backoff { .. } if shard.due => Some(Queue::Verify),
        Phase::Backoff { .. }
        | Phase::Closed { .. }
        | Phase::Verifying { .. }
        | Phase::Confirming { .. }
        | Phase::Opening { .. }
        | Phase::Open { .. }
        | Phase::Held { .. }
        | Phase::Failed { .. } => None,
    }
}

fn timer(shard: &Shard) -> Option<rientro_types::ActiveTime> {
    match shard.phase {
        Phase::Verifying { deadline, .. } | Phase::Confirming { deadline, .. } => Some(deadline),
        // A step that the node has confirmed in time is not overdue, whatever keeps the next one waiting; what holds it is
        // charged already.
        Phase::Opening { deadline, .. } if shard.awaits_confirmation() && shard.blocked.is_none() => {
            Some(deadline)
        }
        Phase::Backoff { until, .. } if !shard.due => Some(until),
        Phase::Backoff { .. }
        | Phase::Opening { .. }
        | Phase::Closed { .. }
        | Phase::Waiting
        | Phase::Verified
        | Phase::Open { .. }
        | Phase::Held { .. }
        | Phase::Failed { .. } => None,
    }
}

impl Footprint {
    /// Lost mailboxes that are on their way again.
    pub(crate) const fn returning(&self) -> u64 {
        if self.moving { self.lost } else { 0 }
    }

    /// Lost mailboxes that a person has answered for.
    const fn lost_and_forgiven(&self) -> u64 {
        if self.forgiven { self.lost } else { 0 }
    }
}

impl State {
    /// Changes one shard and everything derived from it.
    pub(crate) fn change(&mut self, ix: ShardIx, edit: impl FnOnce(&mut Shard)) {
        self.unindex(ix);
        let (at, shard) = (self.at, &mut self.shards[ix.at()]);
        let services = shard.services;
        edit(shard);
        shard.end_if_confirmed();
        shard.hold_for_unlisted(at);
        shard.redo_if_short(at);
        if shard.services != services {
            shard.services_since = at;
        }
        self.hold_if_silent(ix);
        self.index(ix);
        self.reopen_campaign(ix);
    }

    /// R6: what gets under way on a node that is silent is held from there on, as what was under way when it fell silent.
    fn hold_if_silent(&mut self, ix: ShardIx) {
        let shard = &self.shards[ix.at()];
        let node = &self.nodes[shard.node.at()];
        let held =
            matches!(shard.held_by(), Some(HeldReason::NodeSilent { .. })) || !shard.is_free_or_waits();
        let Some(silent) = node.silent.filter(|_| !held && shard.is_under_way()) else {
            return;
        };
        let silent_for = self.at.since(silent).plus(self.limits.silence);
        let reason = HeldReason::NodeSilent { node: node.id, silent_for };
        let at = self.at;
        self.shards[ix.at()].hold(reason, at);
    }

    /// R12: a campaign that had ended goes on when one of its shards does, be it that an operator retried it or that what
    /// held it is over. Otherwise it would wait for ever.
    fn reopen_campaign(&mut self, ix: ShardIx) {
        let Some(mark) = self.shards[ix.at()].footprint.filter(|mark| mark.moving) else { return };
        let Some(campaign) = mark.campaign else { return };
        let at = self.at;
        let campaign = self.campaign_mut(campaign);
        if campaign.state == CampaignState::Ended {
            campaign.go_on(at);
        }
    }

    /// Moves a shard to another phase.
    pub(crate) fn enter(&mut self, ix: ShardIx, phase: Phase) {
        let at = self.at;
        self.change(ix, |shard| shard.enter(phase, at));
    }

    /// Puts a shard into every index it belongs in.
    pub(crate) fn index(&mut self, ix: ShardIx) {
        let mark = footprint(self.shard(ix), ix);
        self.shards[ix.at()].footprint = Some(mark);
        self.touched.push(ix);
        self.dirty_nodes.insert(mark.node);
        self.counts.count(mark.state, mark.mailboxes);
        self.contested += u64::from(self.shard(ix).is_contested());
        self.impaired += u64::from(self.shard(ix).is_impaired());
        if self.shard(ix).is_stuck() {
            self.stuck.insert(ix);
        }
        let node = self.node_mut(mark.node);
        node.shards.insert(ix);
        node.counts.count(mark.state, mark.mailboxes);
        if let Some(campaign) = mark.campaign {
            self.index_in_campaign(ix, &mark, campaign);
        }
    }

    fn index_in_campaign(&mut self, ix: ShardIx, mark: &Footprint, campaign: CampaignIx) {
        self.dirty_campaigns.insert(campaign);
        let weight = self.shard(ix).weight();
        let campaign = self.campaign_mut(campaign);
        campaign.counts.count(mark.state, mark.mailboxes);
        campaign.moving += u64::from(mark.moving);
        campaign.in_flight += u32::from(mark.in_flight);
        if let Some((queue, key)) = mark.queue {
            campaign.queue_mut(queue).entry(mark.node).or_default().insert(key);
        }
        if let Some(deadline) = mark.timer {
            campaign.timers.insert((deadline, ix));
        }
        if mark.steppable {
            campaign.steppable.insert(ix);
        }
        if let Some(wave) = mark.wave.and_then(|wave| campaign.wave_mut(wave)) {
            wave.counts.count(mark.state, mark.mailboxes);
            wave.weight += weight;
            wave.lost += mark.lost;
            wave.forgiven += mark.lost_and_forgiven();
            wave.returning += mark.returning();
            wave.moving += u64::from(mark.moving);
        }
        campaign.losing.extend(mark.wave.filter(|_| mark.lost > 0));
    }

    fn unindex(&mut self, ix: ShardIx) {
        let Some(mark) = self.shards[ix.at()].footprint.take() else { return };
        self.counts.uncount(mark.state, mark.mailboxes);
        // Read off the shard, which is as it was indexed until it is edited: a mark in every footprint costs eight bytes.
        self.contested -= u64::from(self.shard(ix).is_contested());
        self.impaired -= u64::from(self.shard(ix).is_impaired());
        self.stuck.remove(&ix);
        let node = self.node_mut(mark.node);
        node.shards.remove(&ix);
        node.counts.uncount(mark.state, mark.mailboxes);
        if let Some(campaign) = mark.campaign {
            self.unindex_in_campaign(ix, &mark, campaign);
        }
    }

    fn unindex_in_campaign(&mut self, ix: ShardIx, mark: &Footprint, campaign: CampaignIx) {
        self.dirty_campaigns.insert(campaign);
        let campaign = self.campaign_mut(campaign);
        campaign.counts.uncount(mark.state, mark.mailboxes);
        campaign.moving -= u64::from(mark.moving);
        campaign.in_flight -= u32::from(mark.in_flight);
        if let Some((queue, key)) = mark.queue {
            let queues = campaign.queue_mut(queue);
            if let Some(of_node) = queues.get_mut(&mark.node) {
                of_node.remove(&key);
                if of_node.is_empty() {
                    queues.remove(&mark.node);
                }
            }
        }
        if let Some(deadline) = mark.timer {
            campaign.timers.remove(&(deadline, ix));
        }
        if mark.steppable {
            campaign.steppable.remove(&ix);
        }
        if let Some(wave) = mark.wave.and_then(|wave| campaign.wave_mut(wave)) {
            wave.counts.uncount(mark.state, mark.mailboxes);
            wave.weight -= mark.mailboxes.max(1);
            wave.lost -= mark.lost;
            wave.forgiven -= mark.lost_and_forgiven();
            wave.returning -= mark.returning();
            wave.moving -= u64::from(mark.moving);
        }
        if let Some(no) = mark.wave.filter(|no| campaign.wave(*no).is_none_or(|wave| wave.lost == 0)) {
            campaign.losing.remove(&no);
        }
    }

    /// Books a try on a node.
    pub(crate) fn book(&mut self, node: NodeIx, shard: ShardIx, attempt: AttemptNo, kind: TaskKind) {
        if self.node_mut(node).busy.insert((shard, attempt), kind).is_none() {
            self.booked.insert((shard, attempt, node));
            self.shift_load(node, kind, 1);
        }
    }

    /// Frees what a try took on a node; false when nothing was booked.
    pub(crate) fn unbook(&mut self, node: NodeIx, shard: ShardIx, attempt: AttemptNo) -> bool {
        let Some(kind) = self.node_mut(node).busy.remove(&(shard, attempt)) else { return false };
        self.booked.remove(&(shard, attempt, node));
        self.node_mut(node).cancelled.remove(&(shard, attempt));
        self.shift_load(node, kind, -1);
        self.wake_neighbours(node);
        true
    }

    fn shift_load(&mut self, ix: NodeIx, kind: TaskKind, by: i32) {
        let node = &mut self.nodes[ix.at()];
        match kind {
            TaskKind::Confirm => node.confirming = node.confirming.saturating_add_signed(by),
            TaskKind::Verify => {
                node.verifying = node.verifying.saturating_add_signed(by);
                for (label, value) in &node.labels {
                    let domain = self.domains.entry((*label, *value)).or_default();
                    domain.verifying = domain.verifying.saturating_add_signed(by);
                }
            }
        }
    }

    /// Verifications booked in a failure domain on nodes that are silent.
    pub(crate) fn verifying_on_silent(&self, domain: (LabelKey, LabelValue)) -> u32 {
        let nodes = self.domains.get(&domain).into_iter().flat_map(|domain| &domain.nodes);
        nodes.map(|ix| self.node(*ix)).filter(|node| node.silent.is_some()).map(|node| node.verifying).sum()
    }

    /// A place became free on a node: it, its domains and the campaigns may go on.
    fn wake_neighbours(&mut self, ix: NodeIx) {
        self.dirty_nodes.insert(ix);
        let limits = &self.limits.verifies_per_domain;
        for label in self.nodes[ix.at()].labels.iter().filter(|(label, _)| limits.contains_key(label)) {
            if let Some(domain) = self.domains.get(&(*label.0, *label.1)) {
                self.dirty_nodes.extend(&domain.nodes);
            }
        }
        let campaigns = &self.campaigns;
        let waiting = |c: &CampaignIx| campaigns[c.at()].open.contains_key(&ix);
        self.dirty_campaigns.extend((0..campaigns.len()).map(CampaignIx::for_len).filter(waiting));
    }

    /// Moves a node into other failure domains.
    pub(crate) fn relabel(&mut self, ix: NodeIx, labels: BTreeMap<LabelKey, LabelValue>) {
        let verifying = self.node(ix).verifying;
        for label in std::mem::replace(&mut self.node_mut(ix).labels, labels) {
            if let Some(domain) = self.domains.get_mut(&label) {
                domain.nodes.remove(&ix);
                domain.verifying -= verifying;
            }
        }
        for (label, value) in &self.nodes[ix.at()].labels {
            let domain = self.domains.entry((*label, *value)).or_default();
            domain.nodes.insert(ix);
            domain.verifying += verifying;
        }
        self.dirty_nodes.insert(ix);
    }
}

impl Shard {
    /// Whether services were opened and its node has not said that it knows.
    fn awaits_confirmation(&self) -> bool {
        matches!(self.phase, Phase::Opening { .. }) && self.seen != self.services
    }

    /// What is confirmed, or is not being opened any more, is not overdue.
    fn end_if_confirmed(&mut self) {
        let overdue = matches!(self.held_by(), Some(HeldReason::OpeningOverdue { .. }));
        if overdue && !self.awaits_confirmation() {
            self.end_wait();
        }
    }

    /// Moves the shard to another phase; to be called inside [`State::change`].
    pub(crate) fn enter(&mut self, phase: Phase, at: rientro_types::CellTime) {
        debug_assert!(
            crate::shard::may_follow(&self.phase, &phase),
            "shard {} cannot go from {:?} to {phase:?}",
            self.id,
            self.phase
        );
        self.phase = phase;
        self.since = at;
        self.due = false;
    }
}

impl crate::state::Campaign {
    pub(crate) fn queue_mut(
        &mut self,
        queue: Queue,
    ) -> &mut BTreeMap<NodeIx, std::collections::BTreeSet<QueueKey>> {
        match queue {
            Queue::Verify => &mut self.verify,
            Queue::Open => &mut self.open,
        }
    }
}
