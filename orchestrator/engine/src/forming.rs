//! Cuts a fleet into waves, or says why a plan cannot be carried out.
//!
//! The order: greater weight first, and inside a weight a shuffle keyed with the campaign's seed (BLAKE3 of the shard's name
//! under the seed), which nobody can guess from addresses or names (T22). Waves are then filled in that order up to their
//! share of the *mailboxes*; a shard that would take more of a failure domain than one wave may is left for a later wave.
//!
//! Where shards are large beside their waves, an order can leave some over that another one would place. The seed then gives
//! another order, and the first that places all is taken: whether a plan is refused is no matter of luck.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rientro_types::{
    CampaignState, Coverage, DomainCap, LabelKey, LabelValue, Phase, Plan, PlanProblem, Ppm, Refusal,
    Schedule, Share, WAVES_MAX, WaveForecast, WaveNo,
};

use crate::checks::{and_more, check_values, problem};
use crate::engine::Engine;
use crate::state::{CampaignIx, ShardIx, State};

/// Most orders that are tried for one plan.
const DRAWS_MAX: usize = 64;
/// Most shards that are put in order for one plan, over all its draws: a fleet whose many shards are small beside its waves
/// needs one draw, and the driver waits for it.
const DRAWN_MAX: usize = 400_000;
/// What the next draw's seed is derived from, under the seed of the draw before.
const NEXT_DRAW: &[u8] = b"rientro next draw";

pub(crate) type Domain = (LabelKey, LabelValue);

/// A shard as the cut sees it.
struct Candidate {
    ix: ShardIx,
    weight: u64,
    domains: Vec<Domain>,
}

/// A failure domain's allowance.
struct Allowance {
    cap: Ppm,
    total: u64,
}

impl Allowance {
    /// Mailboxes that one wave may take.
    fn at_once(&self) -> u64 {
        self.cap.of_ceil(self.total)
    }
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
        let sum = |f: fn(&crate::state::Shard) -> u64| shards.iter().map(|ix| f(self.state.shard(*ix))).sum();
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
        let begun = campaign.map_or(0, |ix| self.begun(ix));
        let done = campaign
            .map_or(0, |ix| self.campaign(ix).waves[..begun].iter().map(|wave| wave.weight).sum::<u64>());
        self.draw(plan, seed, &free, (begun, done)).map_err(|problem| vec![problem])
    }

    /// The waves of the first order that leaves nothing over.
    fn draw(
        &self,
        plan: &Plan,
        seed: [u8; 32],
        shards: &[ShardIx],
        (begun, done): (usize, u64),
    ) -> Result<Vec<Vec<ShardIx>>, PlanProblem> {
        let draws = match plan.waves.schedule {
            Schedule::List(_) => (DRAWN_MAX / shards.len().max(1)).clamp(1, DRAWS_MAX),
            // Its waves are as many as it takes.
            Schedule::Growth { .. } => 1,
        };
        let cut = |seed| self.cut(plan, &self.ordered(plan, seed, shards), begun, done);
        let later = |last: &[u8; 32]| Some(*blake3::keyed_hash(last, NEXT_DRAW).as_bytes());
        let first = cut(seed);
        if first.is_ok() {
            return first;
        }
        let others = std::iter::successors(later(&seed), later).take(draws - 1);
        others.map(cut).find(Result::is_ok).unwrap_or(first)
    }

    fn covered(&self, covers: &Coverage, problems: &mut Vec<PlanProblem>) -> Vec<ShardIx> {
        match covers {
            Coverage::All => self.shard_ixs().collect(),
            Coverage::Labels(_) => self.shard_ixs().filter(|ix| self.covers(covers, *ix)).collect(),
            Coverage::Shards(named) => {
                self.check_shards(named, "covers.shards", problems);
                let mut found: Vec<_> =
                    named.iter().filter_map(|id| self.shard_ix.get(id).copied()).collect();
                found.sort_unstable();
                found.dedup();
                found
            }
        }
    }

    fn covers(&self, covers: &Coverage, ix: ShardIx) -> bool {
        let shard = self.shard(ix);
        match covers {
            Coverage::All => true,
            Coverage::Labels(labels) => {
                let of_node = &self.node(shard.node).labels;
                labels.iter().all(|(label, value)| of_node.get(label) == Some(value))
            }
            Coverage::Shards(named) => named.contains(&shard.id),
        }
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

    fn ordered(&self, plan: &Plan, seed: [u8; 32], shards: &[ShardIx]) -> Vec<Candidate> {
        let mut keyed: Vec<_> = shards
            .iter()
            .map(|&ix| {
                let classes = plan.classes.iter().filter(|class| self.covers(&class.covers, ix));
                let weight = classes.map(|class| class.weight).max().unwrap_or(0);
                let id = self.shard(ix).id;
                let shuffle = *blake3::keyed_hash(&seed, id.as_str().as_bytes()).as_bytes();
                (Reverse(weight), shuffle, id, ix)
            })
            .collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, _, _, ix)| self.candidate(ix, &plan.waves.domain_caps)).collect()
    }

    fn candidate(&self, ix: ShardIx, caps: &[DomainCap]) -> Candidate {
        Candidate { ix, weight: self.shard(ix).weight(), domains: self.capped_domains(ix, caps) }
    }

    /// The failure domains of a shard that these caps are about.
    pub(crate) fn capped_domains(&self, ix: ShardIx, caps: &[DomainCap]) -> Vec<Domain> {
        let labels = &self.node(self.shard(ix).node).labels;
        caps.iter().filter_map(|cap| labels.get(&cap.label).map(|value| (cap.label, *value))).collect()
    }

    fn cut(
        &self,
        plan: &Plan,
        ordered: &[Candidate],
        begun: usize,
        done: u64,
    ) -> Result<Vec<Vec<ShardIx>>, PlanProblem> {
        let total: u64 = done + ordered.iter().map(|c| c.weight).sum::<u64>();
        let allowances = allowances(&plan.waves.domain_caps, ordered);
        self.check_caps(ordered, &allowances)?;
        let mut left: Vec<&Candidate> = ordered.iter().collect();
        let mut waves = Vec::new();
        for share in shares(&plan.waves.schedule, begun) {
            if left.is_empty() || waves.len() + begun >= WAVES_MAX {
                break;
            }
            let (taken, rest) = fill(left, share, total, &allowances);
            waves.push(taken);
            left = rest;
        }
        if left.is_empty() { Ok(waves) } else { Err(uncovered(plan, &allowances, waves.len(), begun)) }
    }

    /// T15: a domain's cap that no wave could keep is a mistake in the plan, not a reason to pass it.
    fn check_caps(
        &self,
        ordered: &[Candidate],
        allowances: &BTreeMap<Domain, Allowance>,
    ) -> Result<(), PlanProblem> {
        let too_large =
            |candidate: &Candidate, domain: &Domain| candidate.weight > allowances[domain].at_once();
        let found =
            ordered.iter().flat_map(|candidate| candidate.domains.iter().map(move |d| (candidate, d)));
        let found = found.filter(|(candidate, domain)| too_large(candidate, domain));
        // The same one in whatever order they were drawn.
        let first = found.min_by_key(|(candidate, domain)| (self.shard(candidate.ix).id, **domain));
        let Some((candidate, domain @ (label, value))) = first else { return Ok(()) };
        let Allowance { cap, total } = &allowances[domain];
        let text = format!(
            "shard {} alone holds {} of the {total} mailboxes of {label} {value}; {cap} of them can never be taken at once",
            self.shard(candidate.ix).id,
            candidate.weight,
        );
        Err(problem(&format!("waves.domain_caps.{label}"), text))
    }

    /// Whether a campaign exists under the plan's name and can still be changed.
    pub(crate) fn is_over(&self, ix: CampaignIx) -> bool {
        matches!(self.campaign(ix).state, CampaignState::Ended | CampaignState::Aborted)
    }
}

/// Why shards are left over after all waves. Says nothing that depends on the order drawn: asked again, a plan is refused in the
/// same words.
fn uncovered(
    plan: &Plan,
    allowances: &BTreeMap<Domain, Allowance>,
    waves: usize,
    begun: usize,
) -> PlanProblem {
    match plan.waves.schedule {
        Schedule::List(ref list) if list.last() == Some(&Share::Rest) => {
            problem("waves.domain_caps", over_caps(allowances, waves))
        }
        Schedule::List(_) => {
            let waves = waves + begun;
            let ending = if waves == 1 { "" } else { "s" };
            let text =
                format!("after {waves} wave{ending} some shards are left over; end the list with \"rest\"");
            problem("waves.list", text)
        }
        Schedule::Growth { .. } => {
            let text = format!("after {WAVES_MAX} waves some shards are left over; make the waves larger");
            problem("waves", text)
        }
    }
}

/// Why caps leave shards over: the domain that needs most waves, where no order could do with these; else that none was found.
fn over_caps(allowances: &BTreeMap<Domain, Allowance>, waves: usize) -> String {
    let needed = |allowance: &Allowance| allowance.total.div_ceil(allowance.at_once().max(1));
    let most = allowances.iter().max_by_key(|(domain, allowance)| (needed(allowance), Reverse(**domain)));
    match most.filter(|(_, allowance)| needed(allowance) > waves as u64) {
        Some(((label, value), allowance)) => format!(
            "{label} {value} has {} mailboxes, of which a wave may take {} ({}): that needs {} waves, and there are {waves}; \
             add waves before \"rest\"",
            allowance.total,
            allowance.at_once(),
            allowance.cap,
            needed(allowance)
        ),
        None => "no order was found in which every shard has a place under the caps; add waves before \"rest\", or let a \
                 wave take more"
            .to_owned(),
    }
}

fn allowances(caps: &[DomainCap], ordered: &[Candidate]) -> BTreeMap<Domain, Allowance> {
    let mut allowances = BTreeMap::new();
    for candidate in ordered {
        for domain in &candidate.domains {
            let cap = caps.iter().find(|cap| cap.label == domain.0).map_or(Ppm::ONE, |cap| cap.max);
            allowances.entry(*domain).or_insert(Allowance { cap, total: 0 }).total += candidate.weight;
        }
    }
    allowances
}

/// The sizes of the waves after the first `begun`; a growing schedule never ends by itself. A list that is no longer than
/// what has begun goes on with its last entry.
fn shares(schedule: &Schedule, begun: usize) -> Box<dyn Iterator<Item = Share> + '_> {
    match schedule {
        Schedule::List(list) => Box::new(list.iter().copied().skip(begun.min(list.len().saturating_sub(1)))),
        Schedule::Growth { first, percent, max } => {
            let next = |ppm: &u64| Some((*ppm).saturating_mul(u64::from(*percent)) / 100);
            let sizes = std::iter::successors(Some(u64::from(first.raw())), next);
            Box::new(sizes.skip(begun).map(|ppm| {
                let ppm = u32::try_from(ppm).unwrap_or(u32::MAX).min(max.raw());
                Share::Mailboxes(Ppm::new(ppm).unwrap_or(Ppm::ONE))
            }))
        }
    }
}

/// Fills one wave: shards in order, as long as they fit into its share and their domains' caps. A wave takes at least one
/// shard, however small its share is.
fn fill<'a>(
    left: Vec<&'a Candidate>,
    share: Share,
    total: u64,
    allowances: &BTreeMap<Domain, Allowance>,
) -> (Vec<ShardIx>, Vec<&'a Candidate>) {
    let mut used: BTreeMap<Domain, u64> = BTreeMap::new();
    let mut weight = 0;
    let mut taken = Vec::new();
    let mut rest = Vec::new();
    let mut full = false;
    for candidate in left {
        let fits = match share {
            Share::Mailboxes(ppm) => weight + candidate.weight <= ppm.of(total) || taken.is_empty(),
            Share::Shards(count) => taken.len() < count as usize,
            Share::Rest => true,
        };
        // A wave ends at the first shard that does not fit, so that small shards do not overtake the order.
        full |= !fits;
        if full || !within_caps(candidate, &used, allowances) {
            rest.push(candidate);
            continue;
        }
        weight += candidate.weight;
        for domain in &candidate.domains {
            *used.entry(*domain).or_default() += candidate.weight;
        }
        taken.push(candidate.ix);
    }
    (taken, rest)
}

fn within_caps(
    candidate: &Candidate,
    used: &BTreeMap<Domain, u64>,
    allowances: &BTreeMap<Domain, Allowance>,
) -> bool {
    candidate.domains.iter().all(|domain| {
        let allowance = &allowances[domain];
        let used = used.get(domain).copied().unwrap_or(0);
        used + candidate.weight <= allowance.at_once()
    })
}
