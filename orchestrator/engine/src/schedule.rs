//! Starts what may start: verifications ahead of their waves, confirmations and openings in them.
//!
//! Work is looked for only where something changed: on nodes and in campaigns that a step has touched. Each start is one
//! decision, checked against every budget in force at that moment (R2), so that what is running never exceeds one.

use rientro_types::{
    AttemptNo, CampaignState, LabelKey, LabelValue, Phase, Record, Span, TaskEnd, TaskFailure, TaskKind,
    WaveState,
};

use crate::contract::OrderKind;
use crate::engine::{ABSENCE_MIN, CLOCK_MARK_EVERY, Engine, HOUSEKEEPING_EVERY};
use crate::mutant::Mutant;
use crate::state::{CampaignIx, NodeIx, QueueKey, Shard, ShardIx};

// A leader that is called at every housekeeping is never taken for an absent one.
const _: () = assert!(HOUSEKEEPING_EVERY.ms() < ABSENCE_MIN.ms());

impl Engine {
    /// Goes on until nothing changes any more.
    pub(crate) fn run(&mut self) {
        self.expire();
        self.agree_on_touched();
        loop {
            let campaigns = std::mem::take(&mut self.state.dirty_campaigns);
            let nodes = std::mem::take(&mut self.state.dirty_nodes);
            if campaigns.is_empty() && nodes.is_empty() {
                break;
            }
            for ix in campaigns {
                self.advance_waves(ix);
                self.advance_openings(ix);
                self.start_confirmations(ix);
            }
            for ix in nodes {
                self.start_verifications(ix);
            }
        }
        self.tell();
    }

    /// Deadlines and waits that are over.
    fn expire(&mut self) {
        for campaign in self.state.campaign_ixs() {
            while let Some(shard) = self.expired(campaign) {
                self.expire_shard(shard);
            }
            if self.is_baked(campaign) {
                self.state.dirty_campaigns.insert(campaign);
            }
        }
    }

    fn is_baked(&self, campaign: CampaignIx) -> bool {
        let campaign = self.state.campaign(campaign);
        let wave = campaign.current_wave().and_then(|wave| campaign.wave(wave));
        wave.is_some_and(|wave| matches!(wave.state, WaveState::Baking { until } if until <= self.now))
    }

    fn expired(&self, campaign: CampaignIx) -> Option<ShardIx> {
        let campaign = self.state.campaign(campaign);
        let (at, shard) = campaign.timers.first().filter(|_| campaign.is_running())?;
        (*at <= campaign.active(self.now)).then_some(*shard)
    }

    fn expire_shard(&mut self, shard: ShardIx) {
        let s = self.state.shard(shard);
        let id = s.id;
        match s.phase {
            Phase::Verifying { attempt, .. } | Phase::Confirming { attempt, .. } => {
                self.end_task(shard, attempt, TaskEnd::Failed(TaskFailure::TimedOut));
            }
            Phase::Opening { .. } => self.decide(Record::OpeningOverdue { shard: id }),
            Phase::Backoff { .. } => {
                let retry = self.state.mutant != Mutant::NeverRetry;
                self.state.change(shard, |s| s.due = true);
                if !retry {
                    self.state.change(shard, |s| s.member = None);
                }
            }
            Phase::Closed { .. }
            | Phase::Waiting
            | Phase::Verified
            | Phase::Open { .. }
            | Phase::Held { .. }
            | Phase::Failed { .. } => debug_assert!(false, "shard {id} has a timer in a phase without one"),
        }
    }

    /// The wait before the next try: doubling, capped, and up to a quarter longer by a spread that differs between shards,
    /// so that shards that failed together do not come back together.
    pub(crate) fn backoff(&self, shard: ShardIx) -> Span {
        let s = self.state.shard(shard);
        let Some(campaign) = self.state.campaign_of(s) else { return Span::ZERO };
        let tries = campaign.plan.tries;
        let doubled = tries.backoff_first.times(1 << s.failures.min(30)).min(tries.backoff_max);
        let hash = blake3::hash(s.id.as_str().as_bytes());
        let spread = u64::from(hash.as_bytes()[0]) ^ u64::from(s.attempt.raw() & 0xff);
        doubled.plus(Span::from_ms((doubled.ms() / 4).saturating_mul(spread) / 255))
    }

    fn start_verifications(&mut self, ix: NodeIx) {
        while let Some(shard) = self.next_verification(ix) {
            self.start_task(ix, shard, TaskKind::Verify);
        }
    }

    fn next_verification(&self, ix: NodeIx) -> Option<ShardIx> {
        let node = self.state.node(ix);
        let full = node.verifying >= self.state.limits.verifies_per_node
            && self.state.mutant != Mutant::IgnoreBudget;
        if !node.is_ready() || full || self.domains_at_limit(ix).next().is_some() {
            return None;
        }
        let campaigns = self.state.campaigns.iter().filter(|campaign| campaign.is_running());
        let first = campaigns.filter_map(|campaign| campaign.verify.get(&ix)?.first()).min();
        first.map(|(_, _, shard)| *shard)
    }

    /// Failure domains of the node that have no free place, with how many verifications they have and may have.
    pub(crate) fn domains_at_limit(
        &self,
        ix: NodeIx,
    ) -> impl Iterator<Item = (LabelKey, LabelValue, u32, u32)> + '_ {
        let limits = &self.state.limits.verifies_per_domain;
        self.state.node(ix).labels.iter().filter_map(|(label, value)| {
            let max = *limits.get(label)?;
            let busy = self.state.domains.get(&(*label, *value)).map_or(0, |domain| domain.verifying);
            (busy >= max).then_some((*label, *value, busy, max))
        })
    }

    fn start_task(&mut self, ix: NodeIx, shard: ShardIx, kind: TaskKind) {
        let s = self.state.shard(shard);
        let Some(campaign) = self.state.campaign_of(s) else { return };
        let tries = campaign.plan.tries;
        let timeout = match kind {
            TaskKind::Verify => tries.verify_timeout,
            TaskKind::Confirm => tries.confirm_timeout,
        };
        let (id, attempt, node) = (s.id, s.attempt.next(), self.state.node(ix).id);
        self.decide(Record::TaskStarted { shard: id, kind, attempt, node, timeout });
        self.watch(shard);
        self.send_task(ix, shard);
        self.note_asked(ix, shard, attempt);
    }

    /// An answer says what is so when it is made, which is now when it was asked for in this session, or went on when that
    /// began, and neither the node nor the leader has been away since. Of any other one nobody knows how long it waited: it is
    /// taken for as old as its question.
    pub(crate) fn note_asked(&mut self, ix: NodeIx, shard: ShardIx, attempt: AttemptNo) {
        if let Some(behind) = self.clock_behind(shard) {
            self.state.node_mut(ix).asked.insert((shard, attempt), behind);
        }
    }

    /// Whether a confirmation stands for the moment of opening: it was asked for as [`Self::note_asked`] says, and its campaign
    /// has not been away since either.
    pub(crate) fn is_of_now(&self, shard: ShardIx, asked: Option<Span>) -> bool {
        asked.is_some() && asked == self.clock_behind(shard) || self.state.mutant == Mutant::OpenOnOldWord
    }

    fn clock_behind(&self, shard: ShardIx) -> Option<Span> {
        self.state.campaign_of(self.state.shard(shard)).map(|campaign| campaign.clock_behind)
    }

    /// Starts the progress clock of a try.
    fn watch(&mut self, shard: ShardIx) {
        let Some(attempt) = self.state.shard(shard).current_attempt() else { return };
        let watch =
            crate::state::Watch { attempt, progress: rientro_types::Progress::default(), advanced: self.now };
        self.state.watches.insert(shard, watch);
    }

    fn start_confirmations(&mut self, ix: CampaignIx) {
        while let Some((node, shard)) = self.next_confirmation(ix) {
            if self.is_expired(shard) {
                let shard = self.state.shard(shard).id;
                self.decide(Record::VerificationExpired { shard });
            } else {
                self.start_task(node, shard, TaskKind::Confirm);
            }
        }
    }

    fn next_confirmation(&self, ix: CampaignIx) -> Option<(NodeIx, ShardIx)> {
        let campaign = self.state.campaign(ix);
        let full = campaign.in_flight >= campaign.plan.opening.in_flight_max
            && self.state.mutant != Mutant::OpenMoreAtOnce;
        if !campaign.is_running() || full {
            return None;
        }
        let max = self.state.limits.confirms_per_node;
        let started =
            |key: &&QueueKey| campaign.wave_started(key.0) || self.state.mutant == Mutant::OpenAnyWave;
        campaign
            .open
            .iter()
            .filter(|(node, _)| {
                self.state.node(**node).is_ready() && self.state.node(**node).confirming < max
            })
            .filter_map(|(node, queue)| queue.first().filter(started).map(|key| (key, *node)))
            .min()
            .map(|((_, _, shard), node)| (node, *shard))
    }

    /// Whether a verification is too old to be confirmed, or perhaps one of other disks.
    fn is_expired(&self, shard: ShardIx) -> bool {
        let s = self.state.shard(shard);
        let age = s.standing.as_ref().map(|standing| self.now.since(standing.at));
        let age_max = self.state.campaign_of(s).map(|campaign| campaign.plan.policy.verified_age_max);
        let old = age.zip(age_max).is_some_and(|(age, max)| age > max);
        s.accepted.is_none() && old || self.is_of_another(shard)
    }

    /// The first step of opening, straight after its confirmation. R1, R3: looked at once more where it counts; what is
    /// expired is found by the next look.
    pub(crate) fn begin_opening(&mut self, shard: ShardIx) {
        let s = self.state.shard(shard);
        let Some(campaign) = self.state.campaign_of(s) else { return };
        let wave_open = s.wave().is_some_and(|wave| campaign.wave_started(wave))
            || self.state.mutant == Mutant::OpenAnyWave;
        let vouched = s.is_vouched() && !self.is_expired(shard);
        let closed = !s.doubted && !s.may_be_served();
        if campaign.is_running() && wave_open && s.blocked.is_none() && closed && vouched {
            self.open_step(shard);
        }
    }

    /// The next step, or service when there is none.
    fn open_step(&mut self, shard: ShardIx) {
        let s = self.state.shard(shard);
        let Some(campaign) = self.state.campaign_of(s) else { return };
        let timeout = campaign.plan.tries.open_timeout;
        let (shard, next) = (s.id, campaign.plan.opening.after(s.services));
        self.decide(match next {
            Some(services) => Record::StepOpening { shard, services, timeout },
            None => Record::ShardOpened { shard },
        });
    }

    /// Steps that the nodes have confirmed lead to the next step, or into service.
    fn advance_openings(&mut self, ix: CampaignIx) {
        while let Some(shard) = self.next_opening(ix) {
            self.open_step(shard);
        }
    }

    fn next_opening(&self, ix: CampaignIx) -> Option<ShardIx> {
        let campaign = self.state.campaign(ix);
        campaign.steppable.first().copied().filter(|_| campaign.is_running())
    }

    /// Tells nodes what changed for them: services to serve, tries nobody waits for any more.
    fn tell(&mut self) {
        let mut touched = std::mem::take(&mut self.state.touched);
        touched.sort_unstable();
        touched.dedup();
        for shard in &touched {
            self.tell_services(*shard);
            self.tell_strangers(*shard);
            self.cancel_strays(*shard);
        }
        self.state.touched = touched;
    }

    fn tell_services(&mut self, ix: ShardIx) {
        let s = self.state.shard(ix);
        let Shard { id, services, node, told, doubted, .. } = *s;
        let node_state = self.state.node(node);
        if doubted || node_state.session.is_none() || told.unwrap_or(s.seen) == services {
            return;
        }
        let shard = &mut self.state.shards[ix.at()];
        (shard.told, shard.unanswered) = (Some(services), true);
        self.send(node, OrderKind::Serve { shard: id, services });
    }

    fn cancel_strays(&mut self, shard: ShardIx) {
        let first = (shard, AttemptNo::from_raw(0), NodeIx::for_len(0));
        let of_shard = self.state.booked.range(first..).take_while(|(of, _, _)| *of == shard);
        let strays: Vec<_> = of_shard
            .map(|(_, attempt, node)| (*attempt, *node))
            .filter(|(attempt, node)| {
                let state = self.state.node(*node);
                state.session.is_some()
                    && !state.cancelled.contains(&(shard, *attempt))
                    && !self.state.is_current(*node, shard, *attempt)
            })
            .collect();
        for (attempt, node) in strays {
            self.cancel(node, shard, attempt);
        }
    }

    /// The regular look at what no event tells of.
    pub(crate) fn housekeep(&mut self) {
        if self.now < self.housekeeping_at {
            return;
        }
        self.housekeeping_at = self.now + HOUSEKEEPING_EVERY;
        self.find_silent();
        self.find_stalled();
        self.find_stuck();
        self.audit_sample();
        let live = self.state.campaigns.iter().any(|campaign| campaign.state.is_live());
        if live && self.now.since(self.marked_at) >= CLOCK_MARK_EVERY {
            self.marked_at = self.now;
            self.decide(Record::ClockMarked);
        }
    }

    /// T1: a node not heard for the fleet's silence limit is silent, whether it has a session or not.
    fn find_silent(&mut self) {
        for ix in self.state.node_ixs() {
            let node = self.state.node(ix);
            let silent_for = self.now.since(node.heard.unwrap_or(self.listening_since));
            let over = silent_for >= self.state.limits.silence && self.state.mutant != Mutant::ForgiveSilence;
            if over && node.silent.is_none() {
                let node = node.id;
                self.decide(Record::NodeSilent { node, silent_for });
                self.state.node_mut(ix).asked.clear();
            }
            // Later than the silence, where its session went on in name.
            if self.state.node(ix).silent.is_some() && self.state.contested > 0 {
                self.yield_claims(ix);
            }
            let node = self.state.node(ix);
            if !over && node.silent.is_some() && node.session.is_some() {
                let node = node.id;
                self.decide(Record::NodeHeard { node });
            }
        }
    }

    /// A try that does not advance is given up. Tries of paused campaigns and of nodes without a session are not judged:
    /// the former are told to stand still, of the latter nobody hears. T4: that time alone is given back to them, so that a
    /// session that flaps does not keep a hung try going.
    fn find_stalled(&mut self) {
        let looked = self.now.since(self.judged_at);
        self.judged_at = self.now;
        let mut stalled = Vec::new();
        for node in self.state.node_ixs() {
            let tries: Vec<_> = self.state.node(node).busy.keys().copied().collect();
            for (shard, attempt) in tries {
                if self.state.is_current(node, shard, attempt) && self.is_stalled(shard, node, looked) {
                    stalled.push((shard, attempt));
                }
            }
        }
        for (shard, attempt) in stalled {
            self.end_task(shard, attempt, TaskEnd::Failed(TaskFailure::Stalled));
        }
    }

    /// Whether it has not advanced for its time; `looked` ago it was last asked.
    fn is_stalled(&mut self, shard: ShardIx, node: NodeIx, looked: Span) -> bool {
        let s = self.state.shard(shard);
        let (Some(campaign), Some(attempt)) = (self.state.campaign_of(s), s.current_attempt()) else {
            return false;
        };
        let judged = campaign.state == CampaignState::Running && self.state.node(node).is_ready();
        let timeout = campaign.plan.tries.stall_timeout;
        match self.state.watches.get_mut(&shard).filter(|watch| watch.attempt == attempt) {
            Some(watch) if judged => return self.now.since(watch.advanced) >= timeout,
            Some(watch) => watch.advanced = (watch.advanced + looked).min(self.now),
            // It began under another leader.
            None => self.watch(shard),
        }
        false
    }
}
