//! Cuts a fleet into waves, or says why a plan cannot be carried out.
//!
//! The order: greater weight first, and inside a weight a shuffle keyed with the campaign's seed (BLAKE3 of the shard's name
//! under the seed), which nobody can guess from addresses or names (T22). Waves are then filled in that order up to their
//! share of the *mailboxes*; a shard that would take more of a failure domain than one wave may is left for a later wave.
//! Shares are of the whole campaign, also for what a revision forms of its rest.
//!
//! Where shards are large beside their waves, an order can leave some over that another one would place. The seed then gives
//! another order, and the first that places all is taken: whether a plan is refused is no matter of luck.

use std::cmp::Reverse;

use rientro_types::{
    CampaignState, Phase, Plan, PlanProblem, Refusal, Schedule, Share, WAVES_MAX, WaveForecast, WaveNo,
};

use crate::caps::{Caps, Domain};
use crate::checks::{and_more, check_values, problem};
use crate::covering::Covering;
use crate::engine::Engine;
use crate::fill::Line;
use crate::state::{CampaignIx, ShardIx, State};

/// Most orders that are tried for one plan.
const DRAWS_MAX: usize = 64;
/// Most shards that are put in order for one plan, over all its draws: a fleet whose many shards are small beside its waves
/// needs one draw, and the driver waits for it.
const DRAWN_MAX: usize = 400_000;
/// What the next draw's seed is derived from, under the seed of the draw before.
const NEXT_DRAW: &[u8] = b"rientro next draw";

/// A shard as the cut sees it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) ix: ShardIx,
    pub(crate) weight: u64,
    pub(crate) domains: Vec<Domain>,
}

/// What a wave may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WaveSize {
    Mailboxes(u64),
    Shards(u32),
    Rest,
}

/// What a revision leaves as it is.
#[derive(Default)]
struct Kept {
    /// Waves that have begun.
    waves: usize,
    /// What the campaign has besides the shards that are formed: parts of a campaign are parts of these too.
    placed: Vec<Candidate>,
}

impl Engine {
    /// The waves a campaign would have that starts with this plan on the present fleet. `seed` orders the shards inside their
    /// classes.
    ///
    /// # Errors
    /// Everything that is wrong with the plan, with the path of each setting; a name under which a campaign exists already,
    /// in the words in which it could not be started.
    pub fn forecast(&self, plan: &Plan, seed: [u8; 32]) -> Result<Vec<WaveForecast>, Vec<PlanProblem>> {
        if self.state.campaign_ix.contains_key(&plan.name) {
            return Err(vec![problem("name", Refusal::CampaignExists(plan.name).to_string())]);
        }
        self.state.check_names(plan)?;
        let waves = self.state.form(plan, plan.seed.unwrap_or(seed), None)?;
        Ok(self.forecast_waves(&waves, 0))
    }

    /// The waves that a campaign would get if it were moved to this plan: those that have not begun.
    ///
    /// # Errors
    /// Everything that is wrong with the plan, with the path of each setting; a name under which no campaign can be revised,
    /// in the words in which it could not be.
    pub fn forecast_revision(&self, plan: &Plan) -> Result<Vec<WaveForecast>, Vec<PlanProblem>> {
        let ix = self.revisable(plan.name).map_err(|refusal| vec![problem("name", refusal.to_string())])?;
        self.state.check_names(plan)?;
        let waves = self.state.form(plan, self.state.campaign(ix).seed, Some(ix))?;
        Ok(self.forecast_waves(&waves, self.state.begun(ix)))
    }

    fn forecast_waves(&self, waves: &[Vec<ShardIx>], first: usize) -> Vec<WaveForecast> {
        waves.iter().zip(first..).map(|(shards, no)| self.forecast_wave(shards, no)).collect()
    }

    fn forecast_wave(&self, shards: &[ShardIx], no: usize) -> WaveForecast {
        // What agents say they read has no bound.
        let sum = |f: fn(&crate::state::Shard) -> u64| {
            shards.iter().map(|ix| f(self.state.shard(*ix))).fold(0, u64::saturating_add)
        };
        WaveForecast {
            wave: WaveNo::from_raw(u32::try_from(no).unwrap_or(u32::MAX)),
            mailboxes: sum(|shard| shard.mailboxes),
            bytes: sum(|shard| shard.bytes),
            shards: shards.iter().map(|ix| self.state.shard(*ix).id).collect(),
        }
    }
}

impl State {
    /// Waves of a campaign that have begun: a revision leaves them as they are.
    pub(crate) fn begun(&self, ix: CampaignIx) -> usize {
        let waiting = rientro_types::WaveState::Waiting;
        self.campaign(ix).waves.iter().take_while(|wave| wave.state != waiting).count()
    }

    /// Cuts what the plan covers into waves; for a campaign that exists, what is not in a wave that has begun.
    pub(crate) fn form(
        &self,
        plan: &Plan,
        seed: [u8; 32],
        campaign: Option<CampaignIx>,
    ) -> Result<Vec<Vec<ShardIx>>, Vec<PlanProblem>> {
        let mut problems = check_values(plan);
        let covered = self.covered(&plan.covers, &mut problems);
        let free = self.free(covered, campaign, &mut problems);
        if free.is_empty() && problems.is_empty() && campaign.is_none() {
            problems.push(problem(
                "covers",
                "no shard that is out of service matches; there is nothing to bring back",
            ));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let kept = campaign.map(|ix| self.kept(ix, plan)).unwrap_or_default();
        self.draw(plan, seed, &free, &kept).map_err(|problem| vec![problem])
    }

    /// What stays as it is when a campaign is formed again: what is in waves that have begun, and what is in service already,
    /// which no wave has to open.
    fn kept(&self, ix: CampaignIx, plan: &Plan) -> Kept {
        let covering = self.covering(&plan.covers);
        let stays = |shard: &ShardIx| {
            let member = self.shard(*shard).member;
            member.is_some_and(|member| self.campaign(ix).wave_started(member.wave))
                || self.stays_in_service(&covering, *shard)
        };
        let members = self.members(ix).into_iter().filter(stays);
        let placed = members.map(|shard| self.candidate(shard, &plan.waves.domain_caps)).collect();
        Kept { waves: self.begun(ix), placed }
    }

    /// Whether a shard of a wave that is taken apart goes on being part of the campaign, in no wave: no wave has to open it,
    /// and the parts that waves take are parts of it too.
    pub(crate) fn stays_in_service(&self, covering: &Covering, shard: ShardIx) -> bool {
        matches!(self.shard(shard).phase, Phase::Open { .. }) && self.covers(covering, shard)
    }

    /// The waves of the first order that leaves nothing over.
    fn draw(
        &self,
        plan: &Plan,
        seed: [u8; 32],
        shards: &[ShardIx],
        kept: &Kept,
    ) -> Result<Vec<Vec<ShardIx>>, PlanProblem> {
        let draws = match plan.waves.schedule {
            Schedule::List(_) => (DRAWN_MAX / shards.len().max(1)).clamp(1, DRAWS_MAX),
            // Its waves are as many as it takes.
            Schedule::Growth { .. } => 1,
        };
        let weights = self.class_weights(plan, shards);
        let cut = |seed| self.cut(plan, &self.ordered(plan, seed, &weights), kept);
        let later = |last: &[u8; 32]| Some(*blake3::keyed_hash(last, NEXT_DRAW).as_bytes());
        let first = cut(seed);
        if first.is_ok() {
            return first;
        }
        let others = std::iter::successors(later(&seed), later).take(draws - 1);
        others.map(cut).find(Result::is_ok).unwrap_or(first)
    }

    /// Shards that may join: not in service, not in another live campaign, not in a wave of this one that has begun.
    fn free(
        &self,
        covered: Vec<ShardIx>,
        campaign: Option<CampaignIx>,
        problems: &mut Vec<PlanProblem>,
    ) -> Vec<ShardIx> {
        let mut taken = Vec::new();
        let mut free = Vec::new();
        for ix in covered {
            let shard = self.shard(ix);
            let own = shard.member.filter(|member| Some(member.campaign) == campaign);
            let other = shard.member.filter(|member| Some(member.campaign) != campaign);
            if own.is_some_and(|m| self.campaign(m.campaign).wave_started(m.wave)) {
                continue;
            }
            if other.is_some_and(|m| self.campaign(m.campaign).state.is_live()) {
                taken.push(ix);
            } else if !matches!(shard.phase, Phase::Open { .. } | Phase::Opening { .. }) {
                free.push(ix);
            }
        }
        if let Some(first) = taken.first() {
            let holder = self.campaign_of(self.shard(*first)).map(|c| c.id.to_string()).unwrap_or_default();
            let (first, more) = (self.shard(*first).id, taken.len() - 1);
            let more = and_more(more, "taken");
            let text = format!("shard {first} is in campaign {holder}, which is not over{more}");
            problems.push(problem("covers", text));
        }
        free
    }

    /// The weight of each shard: the greatest of the classes it is in.
    fn class_weights(&self, plan: &Plan, shards: &[ShardIx]) -> Vec<(ShardIx, u32)> {
        let classes: Vec<_> =
            plan.classes.iter().map(|class| (self.covering(&class.covers), class.weight)).collect();
        let weight = |ix| {
            let of_shard = classes.iter().filter(|(covering, _)| self.covers(covering, ix));
            of_shard.map(|(_, weight)| *weight).max().unwrap_or(0)
        };
        shards.iter().map(|ix| (*ix, weight(*ix))).collect()
    }

    fn ordered(&self, plan: &Plan, seed: [u8; 32], shards: &[(ShardIx, u32)]) -> Vec<Candidate> {
        let mut keyed: Vec<_> = shards
            .iter()
            .map(|&(ix, weight)| {
                let id = self.shard(ix).id;
                let shuffle = *blake3::keyed_hash(&seed, id.as_str().as_bytes()).as_bytes();
                (Reverse(weight), shuffle, id, ix)
            })
            .collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, _, _, ix)| self.candidate(ix, &plan.waves.domain_caps)).collect()
    }

    fn cut(&self, plan: &Plan, ordered: &[Candidate], kept: &Kept) -> Result<Vec<Vec<ShardIx>>, PlanProblem> {
        let total = ordered.iter().chain(&kept.placed).map(|c| c.weight).sum();
        let caps = Caps::new(&plan.waves.domain_caps, ordered, kept.placed.iter());
        caps.check(self, ordered)?;
        let mut left = Line::new(ordered);
        let mut waves = Vec::new();
        for size in sizes(&plan.waves.schedule, kept.waves, total) {
            if left.is_empty() || waves.len() + kept.waves >= WAVES_MAX {
                break;
            }
            waves.push(left.fill(size, &caps));
        }
        if left.is_empty() {
            return Ok(waves);
        }
        let used: Vec<_> = sizes(&plan.waves.schedule, kept.waves, total).take(waves.len()).collect();
        Err(uncovered(plan, caps.proof(ordered, &used), waves.len() + kept.waves))
    }

    /// Whether a campaign has ended, or was aborted.
    pub(crate) fn is_over(&self, ix: CampaignIx) -> bool {
        matches!(self.campaign(ix).state, CampaignState::Ended | CampaignState::Aborted)
    }
}

/// Why shards are left over after all waves. Says nothing that depends on the order drawn: asked again, a plan is refused in the
/// same words.
fn uncovered(plan: &Plan, proof: Option<String>, waves: usize) -> PlanProblem {
    match (&plan.waves.schedule, proof) {
        (Schedule::List(list), proof) if list.last() == Some(&Share::Rest) => {
            let found =
                "no order was found in which every shard has a place under the caps, and there may be none";
            let why = proof.unwrap_or_else(|| found.to_owned());
            let text = format!("{why}; add waves before \"rest\", or let a wave take more");
            problem("waves.domain_caps", text)
        }
        (Schedule::List(_), _) => {
            let ending = if waves == 1 { "" } else { "s" };
            let text =
                format!("after {waves} wave{ending} some shards are left over; end the list with \"rest\"");
            problem("waves.list", text)
        }
        (Schedule::Growth { .. }, Some(why)) => {
            problem("waves.domain_caps", format!("{why}; let a wave take more"))
        }
        (Schedule::Growth { .. }, None) => {
            let text = format!("after {WAVES_MAX} waves some shards are left over; make the waves larger");
            problem("waves", text)
        }
    }
}

/// The sizes of the waves after the first `begun`, of a campaign with `total` mailboxes; a growing schedule never ends by
/// itself. A list that is no longer than what has begun goes on with its last entry.
fn sizes(schedule: &Schedule, begun: usize, total: u64) -> Box<dyn Iterator<Item = WaveSize> + '_> {
    match schedule {
        Schedule::List(list) => {
            let ahead = list.iter().skip(begun.min(list.len().saturating_sub(1)));
            Box::new(ahead.map(move |share| match share {
                Share::Mailboxes(part) => WaveSize::Mailboxes(part.of(total)),
                Share::Shards(count) => WaveSize::Shards(*count),
                Share::Rest => WaveSize::Rest,
            }))
        }
        Schedule::Growth { first, percent, max } => {
            let max = max.of(total).max(1);
            let first = first.of(total).max(1);
            let sizes = std::iter::successors(Some(first), move |size| Some(grown(*size, *percent).min(max)));
            Box::new(sizes.skip(begun).map(WaveSize::Mailboxes))
        }
    }
}

/// So many percent of a wave's mailboxes, rounded up: a wave that is to grow has at least one mailbox more, however small the
/// one before is.
fn grown(mailboxes: u64, percent: u32) -> u64 {
    let grown = (u128::from(mailboxes) * u128::from(percent)).div_ceil(100);
    u64::try_from(grown).unwrap_or(u64::MAX)
}
