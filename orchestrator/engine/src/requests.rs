//! What operators ask for: refused with a reason, rehearsed, or decided.
//!
//! R8: pausing, aborting and closing work in every state, and a second time; they have nothing to wait for.
//!
//! A rehearsal goes the way of the request up to its decision: what it promises is not refused, and what is refused is not
//! promised. Where nothing would change the receipt says so, in a rehearsal too.

use std::collections::BTreeSet;

use rientro_types::{
    Actor, CampaignId, CampaignState, Digest, EXCEPTIONS_MAX, FindingKinds, FleetLimits, PassCause,
    PauseCause, Plan, REASON_BYTES_MAX, Receipt, Record, Refusal, Revision, SHARDS_NAMED_MAX,
    SHARDS_PER_RECORD_MAX, Selector, ServiceSet, Span, Verb, WaveNo, WaveState,
};

use crate::apply_campaign::Rejudged;
use crate::contract::OrderKind;
use crate::engine::Engine;
use crate::mutant::Mutant;
use crate::state::{CampaignIx, ShardIx, Wave};
use crate::sweep::Sweep;

type Answer = Result<Receipt, Refusal>;

/// What no selected shard is when caps keep all of them in their waves.
const CAPPED: &str = "free to come forward: in the wave they would go to, waves.domain_caps leaves no room for their failure domain";

/// Shortest silence limit: three heartbeats of an agent may be lost.
const SILENCE_MIN: Span = Span::from_secs(3);

impl Engine {
    pub(crate) fn request(&mut self, actor: &Actor, verb: Verb, rehearse: bool, seed: [u8; 32]) -> Answer {
        let actor = &self.named(actor);
        let before = self.step.decisions.len();
        let receipt = match verb {
            Verb::Start { plan, source } => self.start_campaign(actor, *plan, source, rehearse, seed),
            Verb::Revise { plan, source } => self.revise(actor, *plan, source, rehearse),
            Verb::Pause { campaign } => self.pause(actor, campaign, rehearse),
            Verb::Resume { campaign } => self.resume(actor, campaign, rehearse),
            Verb::Abort { campaign } => self.abort(actor, campaign, rehearse),
            Verb::Promote { campaign, wave } => self.promote(actor, campaign, wave, rehearse),
            Verb::Close { selector, reason } => {
                check_reason(&reason)?;
                let record = Record::Closed { selector: selector.clone(), reason };
                self.sweep(actor, Sweep::Close, &selector, record, rehearse)
            }
            Verb::Retry { selector } => {
                let record = Record::Retried { selector: selector.clone() };
                self.sweep(actor, Sweep::Retry, &selector, record, rehearse)
            }
            Verb::Accept { selector, reason } => {
                check_reason(&reason)?;
                let record = Record::Accepted { selector: selector.clone(), reason };
                self.sweep(actor, Sweep::Accept, &selector, record, rehearse)
            }
            Verb::Prioritise { selector } => {
                let record = Record::Prioritised { selector: selector.clone() };
                self.sweep(actor, Sweep::Prioritise, &selector, record, rehearse)
            }
            Verb::Adopt { selector, services, reason } => {
                check_reason(&reason)?;
                let record = Record::Adopted { selector: selector.clone(), services, reason };
                self.adopt(actor, &selector, services, record, rehearse)
            }
            Verb::Settle { selector, node, reason } => {
                check_reason(&reason)?;
                self.settle(actor, &selector, node, reason, rehearse)
            }
            Verb::Except { shard, mailbox, exception, reason } => {
                self.except(actor, Record::ExceptionSet { shard, mailbox, exception, reason }, rehearse)
            }
            Verb::SetLimits { limits } => self.set_limits(actor, limits, rehearse),
        }?;
        let decided = (self.step.decisions.len() > before).then(|| self.first_decided(before));
        debug_assert!(rehearse || receipt.changes == decided.is_some(), "{receipt:?}, decided {decided:?}");
        if self.state.mutant == Mutant::ForgetRecord {
            self.step.decisions.truncate(before);
        }
        Ok(Receipt { decided, ..receipt })
    }

    fn named(&self, actor: &Actor) -> Actor {
        let mut actor = actor.clone();
        if self.state.mutant == Mutant::NamelessActor {
            actor.id.clear();
        }
        actor
    }

    /// Number of the record that stands at a place among this step's decisions.
    fn first_decided(&self, at: usize) -> rientro_types::Seq {
        let after = (self.step.decisions.len() - at) as u64;
        rientro_types::Seq::from_raw(self.state.seq_next.raw() - after)
    }

    fn find(&self, campaign: CampaignId) -> Result<CampaignIx, Refusal> {
        self.state.campaign_ix.get(&campaign).copied().ok_or(Refusal::CampaignUnknown(campaign))
    }

    /// The receipt of a decision about these shards.
    fn receipt(&self, shards: impl IntoIterator<Item = ShardIx>) -> Receipt {
        let changes = Receipt { changes: true, ..Receipt::default() };
        shards.into_iter().fold(changes, |receipt, ix| Receipt {
            shards: receipt.shards + 1,
            mailboxes: receipt.mailboxes + self.state.shard(ix).mailboxes,
            ..receipt
        })
    }

    fn of_campaign(&self, ix: CampaignIx, changes: bool) -> Receipt {
        let counts = self.state.campaign(ix).counts;
        let (shards, mailboxes) = (counts.shards_total(), counts.mailboxes_total());
        Receipt { changes, shards, mailboxes, ..Receipt::default() }
    }

    fn start_campaign(
        &mut self,
        actor: &Actor,
        plan: Plan,
        source: Digest,
        rehearse: bool,
        seed: [u8; 32],
    ) -> Answer {
        let campaign = plan.name;
        if self.state.campaign_ix.contains_key(&campaign) {
            return Err(Refusal::CampaignExists(campaign));
        }
        let seed = plan.seed.unwrap_or(seed);
        self.state.check_names(&plan).map_err(Refusal::Plan)?;
        let waves = self.state.form(&plan, seed, None).map_err(Refusal::Plan)?;
        let receipt = self.receipt(waves.iter().flatten().copied());
        if !rehearse {
            self.decide_as(actor, Record::CampaignStarted { plan: Box::new(plan), source, seed });
            self.form_waves(actor, campaign, &waves, 0);
        }
        Ok(receipt)
    }

    fn form_waves(&mut self, actor: &Actor, campaign: CampaignId, waves: &[Vec<ShardIx>], first: usize) {
        for (wave, shards) in waves.iter().enumerate() {
            let wave = WaveNo::from_raw(u32::try_from(first + wave).unwrap_or(u32::MAX));
            for part in shards.chunks(SHARDS_PER_RECORD_MAX) {
                let shards = part.iter().map(|ix| self.state.shard(*ix).id).collect();
                self.decide_as(actor, Record::WaveFormed { campaign, wave, shards });
            }
        }
        self.decide_as(actor, Record::CampaignReady { campaign });
    }

    /// A campaign whose plan can be changed.
    pub(crate) fn revisable(&self, campaign: CampaignId) -> Result<CampaignIx, Refusal> {
        let ix = self.find(campaign)?;
        if self.state.is_over(ix) { Err(Refusal::CampaignOver(campaign)) } else { Ok(ix) }
    }

    fn revise(&mut self, actor: &Actor, plan: Plan, source: Digest, rehearse: bool) -> Answer {
        let ix = self.revisable(plan.name)?;
        let seed = self.state.campaign(ix).seed;
        self.state.check_names(&plan).map_err(Refusal::Plan)?;
        let waves = self.state.form(&plan, seed, Some(ix)).map_err(Refusal::Plan)?;
        let receipt = self.revised(ix, &plan, &waves);
        if !rehearse && receipt.changes {
            self.reform(actor, ix, plan, source, &waves);
        }
        Ok(receipt)
    }

    /// The receipt of a revision: what gets another wave, and what leaves. The plan in force, over the shards it has, changes
    /// nothing: what was brought forward under it stays so. The campaign keeps its seed, whatever the plan says of one.
    fn revised(&self, ix: CampaignIx, plan: &Plan, waves: &[Vec<ShardIx>]) -> Receipt {
        let campaign = self.state.campaign(ix);
        let first = self.state.begun(ix);
        let mut formed = std::collections::BTreeMap::new();
        for (wave, shards) in waves.iter().enumerate() {
            formed.extend(shards.iter().map(|shard| (*shard, first + wave)));
        }
        let covering = self.state.covering(&plan.covers);
        let may_leave = |s: &ShardIx| self.state.may_leave(*s) && !self.state.stays_in_service(&covering, *s);
        let waiting: Vec<ShardIx> = self.state.members(ix).into_iter().filter(may_leave).collect();
        let kept = waiting.iter().filter(|shard| formed.contains_key(shard)).count();
        let same_plan = Plan { seed: campaign.plan.seed, ..plan.clone() } == campaign.plan;
        if same_plan && kept == waiting.len() && kept == formed.len() {
            return Receipt::default();
        }
        let here = |s: ShardIx| {
            self.state.shard(s).member.filter(|m| m.campaign == ix).map(|m| m.wave.raw() as usize)
        };
        let moved =
            formed.iter().filter(|(shard, wave)| here(**shard) != Some(**wave)).map(|(shard, _)| *shard);
        let leaving = waiting.iter().copied().filter(|shard| !formed.contains_key(shard));
        let closing = leaving.clone().filter(|shard| self.state.shard(*shard).is_under_way());
        let released = self.receipt(leaving.clone());
        let (passing, failing) = self.rejudged(ix, plan, &leaving.collect());
        Receipt {
            shards_released: released.shards,
            mailboxes_released: released.mailboxes,
            shards_closed: closing.count() as u64,
            shards_passing: passing.shards,
            mailboxes_passing: passing.mailboxes,
            shards_failing: failing.shards,
            mailboxes_failing: failing.mailboxes,
            ..self.receipt(moved)
        }
    }

    /// Which shards of the campaign pass another plan's policy and did not before, and the other way round.
    fn rejudged(&self, ix: CampaignIx, plan: &Plan, leaving: &BTreeSet<ShardIx>) -> (Receipt, Receipt) {
        let (mut passing, mut failing) = (Vec::new(), Vec::new());
        for shard in self.state.members(ix).into_iter().filter(|shard| !leaving.contains(shard)) {
            match self.state.rejudged(shard, &plan.policy) {
                Rejudged::Stays => {}
                Rejudged::Passes => passing.push(shard),
                Rejudged::Fails(_) => failing.push(shard),
            }
        }
        (self.receipt(passing), self.receipt(failing))
    }

    fn reform(&mut self, actor: &Actor, ix: CampaignIx, plan: Plan, source: Digest, waves: &[Vec<ShardIx>]) {
        let campaign = self.state.campaign(ix);
        let (id, revision) = (campaign.id, campaign.revision.next());
        let (pace, first) = (plan.pace, self.state.begun(ix));
        self.decide_as(actor, Record::CampaignRevised { revision, plan: Box::new(plan), source });
        self.form_waves(actor, id, waves, first);
        self.broadcast(&OrderKind::Pace { campaign: id, pace });
    }

    /// A leader that died while it formed waves left them half done: they are formed again, under the same plan.
    pub(crate) fn finish_forming(&mut self) {
        for ix in self.state.campaign_ixs() {
            if self.state.campaign(ix).state != CampaignState::Forming {
                continue;
            }
            let campaign = self.state.campaign(ix);
            let (plan, source, revision, seed) =
                (campaign.plan.clone(), campaign.source, campaign.revision, campaign.seed);
            let actor = Actor::orchestrator();
            let record = Record::CampaignRevised {
                revision: Revision::next(revision),
                plan: Box::new(plan.clone()),
                source,
            };
            self.decide_as(&actor, record);
            match self.state.form(&plan, seed, Some(ix)) {
                Ok(waves) => self.form_waves(&actor, plan.name, &waves, self.state.begun(ix)),
                // The fleet changed under it: what cannot be carried out is given up, and closed.
                Err(_) => self.decide_as(&actor, Record::CampaignAborted { campaign: plan.name }),
            }
        }
    }

    fn pause(&mut self, actor: &Actor, campaign: CampaignId, rehearse: bool) -> Answer {
        let ix = self.find(campaign)?;
        let changes = self.is_to_stop(ix) && self.state.goes_on(ix);
        if !rehearse {
            if changes {
                let cause = PauseCause::Operator;
                self.decide_as(actor, Record::CampaignPaused { campaign, cause });
            }
            if matches!(self.campaign_state(ix), CampaignState::Paused(_)) {
                self.broadcast(&OrderKind::Suspend { campaign });
            }
        }
        Ok(self.of_campaign(ix, changes))
    }

    fn resume(&mut self, actor: &Actor, campaign: CampaignId, rehearse: bool) -> Answer {
        let ix = self.find(campaign)?;
        if self.state.is_over(ix) {
            return Err(Refusal::CampaignOver(campaign));
        }
        let changes = matches!(self.campaign_state(ix), CampaignState::Paused(_));
        let lost = self.state.campaign(ix).answered_for().iter().map(Wave::unforgiven).sum();
        if !rehearse {
            if changes {
                self.decide_as(actor, Record::CampaignResumed { campaign });
            }
            self.broadcast(&OrderKind::Continue { campaign });
        }
        let mailboxes_forgiven = if changes { lost } else { 0 };
        Ok(Receipt { mailboxes_forgiven, ..self.of_campaign(ix, changes) })
    }

    fn abort(&mut self, actor: &Actor, campaign: CampaignId, rehearse: bool) -> Answer {
        let ix = self.find(campaign)?;
        let changes = self.campaign_state(ix).is_live() || self.is_to_stop(ix) && self.state.goes_on(ix);
        if !rehearse && changes {
            self.decide_as(actor, Record::CampaignAborted { campaign });
        }
        Ok(self.of_campaign(ix, changes))
    }

    /// R8: what has ended is paused and aborted too, while a shard of it would go on by itself.
    fn is_to_stop(&self, ix: CampaignIx) -> bool {
        self.campaign_state(ix) != CampaignState::Ended || self.state.mutant != Mutant::SpareEnded
    }

    /// Only what has begun can pass: a promotion that is sent twice, or too early, never lets a wave pass that nobody has seen.
    fn promote(&mut self, actor: &Actor, campaign: CampaignId, wave: WaveNo, rehearse: bool) -> Answer {
        let ix = self.find(campaign)?;
        let state = self.state.campaign(ix);
        if state.state == CampaignState::Aborted {
            return Err(Refusal::CampaignOver(campaign));
        }
        let Some(target) = state.wave(wave) else {
            let problem =
                format!("campaign {campaign} has no wave {wave}; it has {}, from 0", state.waves.len());
            return Err(Refusal::SelectorInvalid { problem });
        };
        let lost = target.unforgiven();
        let receipt = self.receipt(
            self.state.members(ix).into_iter().filter(|s| self.state.shard(*s).wave() == Some(wave)),
        );
        match (target.state, state.current_wave()) {
            // It has passed already: asking twice promotes once.
            (WaveState::Passed, _) => return Ok(Receipt { changes: false, ..receipt }),
            _ if self.state.is_over(ix) => return Err(Refusal::CampaignOver(campaign)),
            (WaveState::Waiting, current) => {
                return Err(Refusal::WaveNotCurrent { wave, current: current.unwrap_or(wave) });
            }
            (WaveState::Opening | WaveState::Baking { .. }, _) => {}
        }
        let receipt = Receipt { mailboxes_forgiven: lost, ..receipt };
        if !rehearse {
            self.decide_as(actor, Record::WavePassed { campaign, wave, cause: PassCause::Promoted });
        }
        Ok(receipt)
    }

    pub(crate) fn sweep(
        &mut self,
        actor: &Actor,
        sweep: Sweep,
        selector: &Selector,
        record: Record,
        rehearse: bool,
    ) -> Answer {
        self.check_selector(selector)?;
        let targets = self.state.targets(sweep, selector);
        let matched = targets.hit.len() as u64 + targets.skipped + targets.capped;
        // Asking for what is so already succeeds; for anything else there must be something to do.
        if targets.hit.is_empty() && !targets.so_already {
            let applies_to = if targets.capped > 0 { CAPPED } else { sweep.applies_to() };
            return Err(Refusal::NothingToDo { matched, applies_to: applies_to.into() });
        }
        let changes = !targets.hit.is_empty();
        let beside = match sweep {
            Sweep::Accept => self.state.found_beside(&targets.hit, selector.findings),
            Sweep::Close | Sweep::Retry | Sweep::Prioritise | Sweep::Adopt | Sweep::Settle(_) => Vec::new(),
        };
        let unread = |ix: &&ShardIx| self.state.shard(**ix).standing.is_none();
        let unread = if sweep == Sweep::Accept { targets.hit.iter().filter(unread).count() } else { 0 };
        let receipt = Receipt {
            changes,
            unread: unread as u64,
            shards_beside: beside.len() as u64,
            kinds_beside: beside.into_iter().fold(FindingKinds::NONE, FindingKinds::union),
            skipped: targets.skipped,
            capped: targets.capped,
            wave_shards: targets.waves.shards,
            wave_mailboxes: targets.waves.mailboxes,
            ..self.receipt(targets.hit.iter().copied())
        };
        if !rehearse && changes {
            self.decide_as(actor, record);
        }
        Ok(receipt)
    }

    fn adopt(
        &mut self,
        actor: &Actor,
        selector: &Selector,
        services: ServiceSet,
        record: Record,
        rehearse: bool,
    ) -> Answer {
        if services.is_empty() {
            let problem =
                "an adopted shard serves something; use close for one that serves nothing".to_owned();
            return Err(Refusal::SelectorInvalid { problem });
        }
        self.sweep(actor, Sweep::Adopt, selector, record, rehearse)
    }

    pub(crate) fn check_selector(&self, selector: &Selector) -> Result<(), Refusal> {
        let invalid = |problem: &str| Err(Refusal::SelectorInvalid { problem: problem.to_owned() });
        if selector.is_unbounded() && !selector.all {
            return Err(Refusal::SelectorUnbounded);
        }
        if selector.all && !selector.is_unbounded() {
            return invalid("it says all, and narrows it too");
        }
        if selector.wave.is_some() && selector.campaign.is_none() {
            return invalid("a wave needs its campaign");
        }
        if selector.shards.len() > SHARDS_NAMED_MAX {
            return Err(Refusal::TooMany { what: "named shards".into(), max: SHARDS_NAMED_MAX as u64 });
        }
        if let Some(campaign) = selector.campaign {
            self.find(campaign)?;
        }
        match selector.shards.iter().find(|id| !self.state.shard_ix.contains_key(id)) {
            Some(unknown) => Err(Refusal::ShardUnknown(*unknown)),
            None => Ok(()),
        }
    }

    fn except(&mut self, actor: &Actor, record: Record, rehearse: bool) -> Answer {
        let Record::ExceptionSet { shard, mailbox, exception, reason } = &record else {
            unreachable!("called with an exception only")
        };
        check_reason(reason)?;
        let ix = self.state.shard_ix.get(shard).copied().ok_or(Refusal::ShardUnknown(*shard))?;
        let known = &self.state.shard(ix).exceptions;
        let more = exception.is_some() && !known.contains_key(mailbox);
        if more && known.len() >= EXCEPTIONS_MAX {
            return Err(Refusal::TooMany {
                what: "exceptions in one shard".into(),
                max: EXCEPTIONS_MAX as u64,
            });
        }
        let changes = known.get(mailbox) != exception.as_ref();
        if !rehearse && changes {
            self.decide_as(actor, record);
        }
        Ok(Receipt { changes, shards: 1, mailboxes: 1, ..Receipt::default() })
    }

    fn set_limits(&mut self, actor: &Actor, limits: FleetLimits, rehearse: bool) -> Answer {
        let invalid = |problem: &str| Err(Refusal::LimitInvalid { problem: problem.to_owned() });
        if limits.verifies_per_node == 0 || limits.confirms_per_node == 0 {
            return invalid("at least one task of each kind must be possible on a node; pause to stop all");
        }
        if limits.verifies_per_domain.values().any(|max| *max == 0) {
            return invalid("at least one task must be possible in a failure domain; pause to stop all");
        }
        if limits.silence < SILENCE_MIN {
            return invalid("a node cannot be called silent after less than 3s");
        }
        let changes = limits != self.state.limits;
        if !rehearse && changes {
            self.decide_as(actor, Record::LimitsSet { limits });
        }
        Ok(Receipt { changes, ..Receipt::default() })
    }
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    match reason.trim().len() {
        0 => Err(Refusal::ReasonMissing),
        bytes if bytes > REASON_BYTES_MAX => {
            Err(Refusal::TooMany { what: "bytes in a reason".into(), max: REASON_BYTES_MAX as u64 })
        }
        _ => Ok(()),
    }
}
