//! Applies the records of campaigns and waves.

use rientro_types::{
    CampaignState, Charge, CloseCause, HeldReason, PassCause, Pause, PauseCause, Phase, Policy, Record,
    Revision, ServiceSet, ShardId, WAVE_UNASSIGNED, WaveNo, WaveState,
};

use crate::mutant::Mutant;
use crate::state::{Campaign, CampaignIx, Member, RANK_FIRST, Shard, ShardIx, State, Wave};

type Applied = Result<(), String>;

/// What another policy makes of a shard whose verification stands.
pub(crate) enum Rejudged {
    /// Nothing else.
    Stays,
    /// It was held, and goes on.
    Passes,
    /// It was on its way, and is held.
    Fails(Box<HeldReason>),
}

impl State {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the caller's match lists every record and sends only these here"
    )]
    pub(crate) fn apply_campaign(&mut self, record: &Record) -> Applied {
        match record {
            Record::CampaignStarted { plan, source, seed } => {
                if self.campaign_ix.contains_key(&plan.name) {
                    return Err(format!("campaign {} exists", plan.name));
                }
                let ix = CampaignIx::for_len(self.campaigns.len());
                self.campaigns.push(Campaign::new((**plan).clone(), *source, *seed, self.at));
                self.campaign_ix.insert(plan.name, ix);
                Ok(())
            }
            Record::WaveFormed { campaign, wave, shards } => {
                let ix = self.find_campaign(*campaign)?;
                self.form_wave(ix, *wave, shards)
            }
            Record::CampaignReady { campaign } => {
                let ix = self.find_campaign(*campaign)?;
                self.ready(ix);
                Ok(())
            }
            Record::CampaignRevised { revision, plan, source } => {
                let (ix, at) = (self.find_campaign(plan.name)?, self.at);
                self.dissolve_waves(ix);
                let campaign = self.campaign_mut(ix);
                campaign.revision = Revision::max(*revision, campaign.revision);
                campaign.bake_for(plan.waves.bake, at);
                campaign.plan = (**plan).clone();
                campaign.source = *source;
                Ok(())
            }
            Record::CampaignPaused { campaign, cause } => {
                let ix = self.find_campaign(*campaign)?;
                self.pause(ix, *cause);
                Ok(())
            }
            Record::CampaignResumed { campaign } => {
                let ix = self.find_campaign(*campaign)?;
                self.resume(ix);
                Ok(())
            }
            Record::CampaignAborted { campaign } => {
                let ix = self.find_campaign(*campaign)?;
                self.abort(ix);
                Ok(())
            }
            Record::CampaignEnded { campaign } => {
                let ix = self.find_campaign(*campaign)?;
                self.end_campaign(ix);
                Ok(())
            }
            Record::WaveStarted { campaign, wave } => {
                self.set_wave(*campaign, *wave, WaveState::Opening)?;
                self.forgive_returned(*campaign, *wave)
            }
            Record::WaveUnsettled { campaign, wave } => self.set_wave(*campaign, *wave, WaveState::Opening),
            Record::WaveSettled { campaign, wave } => {
                let bake = self.campaign(self.find_campaign(*campaign)?).plan.waves.bake;
                self.set_wave(*campaign, *wave, WaveState::Baking { until: self.at + bake })
            }
            Record::WavePassed { campaign, wave, cause } => {
                self.set_wave(*campaign, *wave, WaveState::Passed)?;
                let ix = self.find_campaign(*campaign)?;
                if *cause == PassCause::Promoted || self.mutant == Mutant::ForgiveUnasked {
                    self.forgive(ix, |no| no == *wave);
                }
                Ok(())
            }
            other => Err(format!("not a record of a campaign: {other:?}")),
        }
    }

    /// The campaign, to be looked at again.
    fn moved(&mut self, ix: CampaignIx) -> &mut Campaign {
        self.dirty_campaigns.insert(ix);
        let campaign = &mut self.campaigns[ix.at()];
        self.dirty_nodes.extend(campaign.verify.keys());
        campaign
    }

    fn set_wave(&mut self, campaign: rientro_types::CampaignId, wave: WaveNo, state: WaveState) -> Applied {
        let campaign = self.moved(self.find_campaign(campaign)?);
        let id = campaign.id;
        campaign.wave_mut(wave).ok_or_else(|| format!("campaign {id} has no wave {wave}"))?.state = state;
        Ok(())
    }

    /// R6: a wave answers for what is lost when it begins and from then on. What was lost before and is on its way again has
    /// dodged no budget: one absence would otherwise pause the campaign once for each later wave.
    fn forgive_returned(&mut self, campaign: rientro_types::CampaignId, wave: WaveNo) -> Applied {
        let campaign = self.find_campaign(campaign)?;
        for ix in self.members(campaign) {
            let shard = self.shard(ix);
            if shard.wave() == Some(wave) && shard.is_returning() {
                self.change(ix, |s| s.charge = Charge::None);
            }
        }
        Ok(())
    }

    /// Takes what these waves have lost so far out of their budgets: a named operator has seen it and goes on.
    fn forgive(&mut self, campaign: CampaignIx, in_wave: impl Fn(WaveNo) -> bool) {
        for ix in self.members(campaign) {
            let shard = self.shard(ix);
            if shard.charge == Charge::Lost && shard.wave().is_some_and(&in_wave) {
                self.change(ix, |s| s.charge = Charge::Forgiven);
            }
        }
    }

    fn form_wave(&mut self, campaign: CampaignIx, wave: WaveNo, shards: &[ShardId]) -> Applied {
        let waves = &mut self.campaign_mut(campaign).waves;
        let at = wave.raw() as usize;
        if at > waves.len() {
            return Err(format!("wave {wave} is formed before the wave below it"));
        }
        if at == waves.len() {
            waves.push(Wave::new());
        }
        // All shards are looked at for the first wave, and not once more for each of a thousand.
        let mut rank = self.campaign(campaign).rank_next.unwrap_or_else(|| self.ranks(campaign).1);
        for id in shards {
            let ix = self.find_shard(*id)?;
            if let Some(other) = self.campaign_of(self.shard(ix))
                && other.state.is_live()
                && other.id != self.campaign(campaign).id
            {
                return Err(format!("shard {id} is in campaign {}", other.id));
            }
            self.join(ix, Member { campaign, wave, rank });
            rank = rank.saturating_add(1);
        }
        self.campaign_mut(campaign).rank_next = Some(rank);
        Ok(())
    }

    /// The least rank of a campaign's members, and the one after the greatest. Follows from durable state alone: an engine
    /// made from a snapshot goes on with the same ranks.
    pub(crate) fn ranks(&self, campaign: CampaignIx) -> (u32, u32) {
        let of_campaign = self.shards.iter().filter_map(|s| s.member.filter(|m| m.campaign == campaign));
        of_campaign.fold((RANK_FIRST, RANK_FIRST), |(least, next), member| {
            (least.min(member.rank), next.max(member.rank.saturating_add(1)))
        })
    }

    fn join(&mut self, ix: ShardIx, member: Member) {
        let at = self.at;
        let before = self.shard(ix).member.map(|member| member.campaign);
        let returning = before == Some(member.campaign);
        if let Some(before) = before.filter(|_| !returning) {
            self.campaign_mut(before).shards_gone += 1;
        }
        self.change(ix, |s| {
            s.member = Some(member);
            if !returning {
                // What was lost to another campaign, and forgiven there, is this one's to lose anew.
                s.charge = Charge::None;
                s.begin_again(at);
            }
        });
    }

    /// Work may begin. Members that no wave of a revised plan took are released, but for what is in service and covered; the
    /// rest is judged by the plan in force.
    fn ready(&mut self, ix: CampaignIx) {
        let at = self.at;
        let covering = self.covering(&self.campaign(ix).plan.covers);
        for shard in self.members(ix) {
            if self.shard(shard).wave().is_none() {
                if self.stays_in_service(&covering, shard) {
                    continue;
                }
                self.change(shard, |s| {
                    let closes = s.is_under_way();
                    s.member = None;
                    s.charge = Charge::None;
                    if closes {
                        s.close(CloseCause::Released, at);
                    }
                });
            } else {
                self.judge_again(shard, ix);
            }
        }
        let campaign = self.moved(ix);
        campaign.rank_next = None;
        // A campaign that was paused when its plan was revised stays so: going on is a decision of its own.
        campaign.state = match campaign.paused {
            Some(pause) => CampaignState::Paused(pause.cause),
            None => CampaignState::Running,
        };
    }

    fn judge_again(&mut self, shard: ShardIx, campaign: CampaignIx) {
        let policy = self.campaign(campaign).plan.policy;
        let at = self.at;
        if self.shard(shard).standing.is_none() {
            return;
        }
        match self.rejudged(shard, &policy) {
            // What is in service stays so, on what it was opened on.
            Rejudged::Stays if self.shard(shard).is_open_or_opening() => {}
            Rejudged::Stays => self.change(shard, |s| s.judged_by(policy)),
            Rejudged::Passes => self.change(shard, |s| {
                s.judged_by(policy);
                s.keep_charge_if_blocked();
                s.enter(Phase::Verified, at);
            }),
            Rejudged::Fails(reason) => self.change(shard, |s| {
                s.judged_by(policy);
                s.lose();
                s.enter(Phase::Held { reason }, at);
            }),
        }
    }

    /// What another policy makes of a shard.
    pub(crate) fn rejudged(&self, shard: ShardIx, policy: &Policy) -> Rejudged {
        let s = self.shard(shard);
        let Some(standing) = &s.standing else { return Rejudged::Stays };
        let verdict = &standing.verification.verdict;
        let breach = policy.judge(verdict).err().filter(|_| s.accepted.is_none());
        match (&s.phase, breach) {
            (Phase::Held { .. }, None) => Rejudged::Passes,
            // What is confirmed or tried again would open next: R1 asks for the plan in force.
            (Phase::Verified | Phase::Confirming { .. } | Phase::Backoff { .. }, Some(breach)) => {
                Rejudged::Fails(crate::progress::held_for(breach, verdict.outcome))
            }
            _ => Rejudged::Stays,
        }
    }

    /// Takes the waves that have not begun apart.
    fn dissolve_waves(&mut self, ix: CampaignIx) {
        for shard in self.members(ix) {
            if self.may_leave(shard) {
                self.change(shard, |s| {
                    if let Some(member) = &mut s.member {
                        member.wave = WAVE_UNASSIGNED;
                    }
                });
            }
        }
        let campaign = self.moved(ix);
        let begun = campaign.waves.iter().take_while(|wave| wave.state != WaveState::Waiting).count();
        campaign.waves.truncate(begun);
        campaign.rank_next = None;
        campaign.state = CampaignState::Forming;
    }

    /// Whether a revision puts a shard into another wave, or out of its campaign: its wave has not begun, or it is in none.
    pub(crate) fn may_leave(&self, shard: ShardIx) -> bool {
        let member = self.shard(shard).member;
        member.is_some_and(|member| !self.campaign(member.campaign).wave_started(member.wave))
    }

    fn pause(&mut self, ix: CampaignIx, cause: PauseCause) {
        let at = self.at;
        let campaign = self.moved(ix);
        campaign.go_on(at);
        campaign.state = CampaignState::Paused(cause);
        let since = campaign.paused.map_or(at, |pause| pause.since);
        campaign.paused = Some(Pause { since, cause });
    }

    fn resume(&mut self, ix: CampaignIx) {
        let at = self.at;
        let campaign = self.moved(ix);
        if let Some(pause) = campaign.paused.take() {
            campaign.clock_behind = campaign.clock_behind.plus(at.since(pause.since));
        }
        campaign.state = CampaignState::Running;
        let upto = campaign.answered_for().len();
        self.forgive(ix, |no| (no.raw() as usize) < upto);
    }

    fn end_campaign(&mut self, ix: CampaignIx) {
        let at = self.at;
        let campaign = self.moved(ix);
        campaign.state = CampaignState::Ended;
        campaign.ended = Some(at);
    }

    fn abort(&mut self, ix: CampaignIx) {
        let at = self.at;
        let campaign = self.moved(ix);
        campaign.state = CampaignState::Aborted;
        campaign.ended = Some(at);
        for shard in self.members(ix) {
            if !matches!(self.shard(shard).phase, Phase::Open { .. } | Phase::Closed { .. }) {
                self.change(shard, |s| s.close(CloseCause::Aborted, at));
            }
        }
    }

    /// Every shard in a campaign.
    pub(crate) fn members(&self, ix: CampaignIx) -> Vec<ShardIx> {
        self.shard_ixs().filter(|s| self.shard(*s).member.is_some_and(|m| m.campaign == ix)).collect()
    }
}

impl Shard {
    fn judged_by(&mut self, policy: Policy) {
        if let Some(standing) = &mut self.standing {
            standing.policy = policy;
        }
    }

    /// Nothing but what holds it from outside is a loss any more; that is as lost, and as forgiven, as before.
    fn keep_charge_if_blocked(&mut self) {
        if self.blocked.is_none() || !self.is_under_way() {
            self.charge = Charge::None;
        } else if !self.is_charged() {
            self.lose();
        }
    }

    /// Closes: nothing is open, and what was known of the data no longer counts. R12: what was in service without a wave leaves
    /// its campaign, as no wave would bring it back.
    pub(crate) fn close(&mut self, cause: CloseCause, at: rientro_types::CellTime) {
        if matches!(self.phase, Phase::Open { .. }) && self.wave().is_none() {
            self.member = None;
        }
        self.services = ServiceSet::NONE;
        self.standing = None;
        self.accepted = None;
        self.failures = 0;
        if self.seen != ServiceSet::NONE {
            // Its node is asked to confirm, whatever it was told before.
            self.told = None;
        }
        self.enter(Phase::Closed { cause }, at);
    }

    /// Goes back to the start of the way: to be verified, with all tries ahead. What is in service or being opened stays so.
    /// What a circumstance holds is as lost as before.
    pub(crate) fn begin_again(&mut self, at: rientro_types::CellTime) {
        self.failures = 0;
        match self.phase {
            Phase::Closed { .. }
            | Phase::Held { .. }
            | Phase::Failed { .. }
            | Phase::Backoff { .. }
            | Phase::Verifying { .. }
            | Phase::Verified
            | Phase::Confirming { .. } => {
                self.standing = None;
                self.accepted = None;
                self.enter(Phase::Waiting, at);
            }
            Phase::Waiting | Phase::Opening { .. } | Phase::Open { .. } => {}
        }
        self.keep_charge_if_blocked();
    }

    /// T29: what is closed may have been opened, found damaged and closed again after the backup was made: nothing that the
    /// restored journal knows of its data counts, and what was on its way begins again.
    pub(crate) fn forget_before(&mut self, at: rientro_types::CellTime) {
        match self.phase {
            Phase::Verifying { .. } | Phase::Verified | Phase::Confirming { .. } | Phase::Backoff { .. } => {
                self.enter(Phase::Waiting, at);
            }
            Phase::Closed { .. } | Phase::Waiting => {}
            // What is held or failed goes on by a person's word alone.
            Phase::Held { .. } | Phase::Failed { .. } | Phase::Opening { .. } | Phase::Open { .. } => return,
        }
        (self.standing, self.accepted) = (None, None);
    }
}
