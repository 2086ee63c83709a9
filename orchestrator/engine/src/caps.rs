//! What one wave may take of a failure domain (T15), and why caps leave shards over.
//!
//! A cap is a part of what the *whole* campaign has of the domain: what is in waves that have begun counts, in service or not.
//! A revision late in its course therefore allows a wave what the campaign allowed from the start, and not a part of the little
//! that is left.
//!
//! Whether shards can be placed under caps at all is bin packing. A refusal says that no order can do it only where that is
//! proven, from the domain's mailboxes, from its large shards, or from what the waves hold; else it says that none was found.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rientro_types::{DomainCap, LabelKey, LabelValue, PlanProblem, Ppm};

use crate::checks::problem;
use crate::forming::{Candidate, WaveSize};
use crate::state::{ShardIx, State};

pub(crate) type Domain = (LabelKey, LabelValue);

/// What a wave has taken of each failure domain.
pub(crate) type Used = BTreeMap<Domain, u64>;

/// A failure domain's allowance.
struct Allowance {
    cap: Ppm,
    /// What the campaign has of it.
    total: u64,
    /// Of these, what is to be placed.
    left: u64,
}

impl Allowance {
    /// Mailboxes that one wave may take.
    fn at_once(&self) -> u64 {
        self.cap.of_ceil(self.total)
    }

    /// What it has to place, in words.
    fn has(&self) -> String {
        match self.total - self.left {
            0 => format!("{} mailboxes", self.total),
            _ => format!("{} of its {} mailboxes to place", self.left, self.total),
        }
    }
}

/// The allowances of all failure domains that a plan caps.
#[derive(Default)]
pub(crate) struct Caps(BTreeMap<Domain, Allowance>);

impl Caps {
    /// Of what is to be placed, and of what the campaign has in its domains besides.
    pub(crate) fn new<'a>(
        caps: &[DomainCap],
        to_place: &[Candidate],
        placed: impl Iterator<Item = &'a Candidate>,
    ) -> Self {
        let mut domains = BTreeMap::new();
        for candidate in to_place {
            for domain in &candidate.domains {
                let cap = caps.iter().find(|cap| cap.label == domain.0).map_or(Ppm::ONE, |cap| cap.max);
                let allowance = domains.entry(*domain).or_insert(Allowance { cap, total: 0, left: 0 });
                allowance.total += candidate.weight;
                allowance.left += candidate.weight;
            }
        }
        for candidate in placed {
            for domain in &candidate.domains {
                if let Some(allowance) = domains.get_mut(domain) {
                    allowance.total += candidate.weight;
                }
            }
        }
        Self(domains)
    }

    /// Whether a wave that has taken `used` may take this one too.
    pub(crate) fn allow(&self, candidate: &Candidate, used: &Used) -> bool {
        candidate.weight <= self.room(&candidate.domains, used)
    }

    /// Mailboxes that a wave that has taken `used` may still take where all these domains are.
    pub(crate) fn room(&self, domains: &[Domain], used: &Used) -> u64 {
        let of_domain =
            |domain| self.0[domain].at_once().saturating_sub(used.get(domain).copied().unwrap_or(0));
        domains.iter().map(of_domain).min().unwrap_or(u64::MAX)
    }

    /// That a cap is less than one shard: no wave could ever keep it.
    pub(crate) fn check(&self, state: &State, to_place: &[Candidate]) -> Result<(), PlanProblem> {
        let pairs =
            to_place.iter().flat_map(|candidate| candidate.domains.iter().map(move |d| (candidate, d)));
        let too_large = pairs.filter(|(candidate, domain)| candidate.weight > self.0[domain].at_once());
        // The same one in whatever order they were drawn.
        let first = too_large.min_by_key(|(candidate, domain)| (state.shard(candidate.ix).id, **domain));
        let Some((candidate, domain @ (label, value))) = first else { return Ok(()) };
        let Allowance { cap, total, left: _ } = &self.0[domain];
        let text = format!(
            "shard {} alone holds {} of the {total} mailboxes of {label} {value}; {cap} of them can never be taken at once",
            state.shard(candidate.ix).id,
            candidate.weight,
        );
        Err(problem(&format!("waves.domain_caps.{label}"), text))
    }

    /// Why no order of the shards fits into waves of these sizes, where that can be proven and it is the caps that are in the
    /// way.
    pub(crate) fn proof(&self, to_place: &[Candidate], sizes: &[WaveSize]) -> Option<String> {
        let all: Vec<u64> = to_place.iter().map(|candidate| candidate.weight).collect();
        if room(&all, sizes, u64::MAX) < all.iter().sum() {
            return None;
        }
        let waves = sizes.len() as u64;
        let shards = self.weights(to_place);
        let needs = self.0.iter().map(|(domain, allowance)| {
            let by_mailboxes = allowance.left.div_ceil(allowance.at_once().max(1));
            (by_mailboxes, Reverse(*domain), allowance)
        });
        if let Some((needed, Reverse((label, value)), allowance)) =
            needs.filter(|(needed, ..)| *needed > waves).max_by_key(|(needed, domain, _)| (*needed, *domain))
        {
            let (has, at_once, cap) = (allowance.has(), allowance.at_once(), allowance.cap);
            return Some(format!(
                "{label} {value} has {has}, of which a wave may take {at_once} ({cap}): that needs {needed} waves, and there \
                 are {waves}"
            ));
        }
        let mut each =
            self.0.iter().filter_map(|(domain, allowance)| Some((domain, allowance, shards.get(domain)?)));
        each.find_map(|(domain, allowance, weights)| {
            too_many_large(domain, allowance, weights, waves)
                .or_else(|| too_little_room(domain, allowance, weights, sizes))
        })
    }

    /// Weights of the shards of each domain, greatest first.
    fn weights(&self, to_place: &[Candidate]) -> BTreeMap<Domain, Vec<u64>> {
        let mut weights: BTreeMap<Domain, Vec<u64>> = BTreeMap::new();
        for candidate in to_place {
            for domain in &candidate.domains {
                weights.entry(*domain).or_default().push(candidate.weight);
            }
        }
        weights.values_mut().for_each(|of_domain| of_domain.sort_unstable_by_key(|weight| Reverse(*weight)));
        weights
    }
}

/// Of shards with at least so many mailboxes a wave may take so few that the waves do not suffice.
fn too_many_large(
    (label, value): &Domain,
    allowance: &Allowance,
    weights: &[u64],
    waves: u64,
) -> Option<String> {
    let at_once = allowance.at_once();
    (1_u64..).zip(weights).find_map(|(count, weight)| {
        let in_a_wave = (at_once / weight).max(1);
        let needed = count.div_ceil(in_a_wave);
        (needed > waves).then(|| {
            format!(
                "{label} {value} has {count} shards of {weight} or more mailboxes, and a wave may take {at_once} mailboxes \
                 ({}), which is {in_a_wave} of them: that needs {needed} waves, and there are {waves}",
                allowance.cap
            )
        })
    })
}

/// All waves together, each filled with this domain as far as its size and the cap allow, hold too little.
fn too_little_room(
    (label, value): &Domain,
    allowance: &Allowance,
    weights: &[u64],
    sizes: &[WaveSize],
) -> Option<String> {
    let at_once = allowance.at_once();
    let room = room(weights, sizes, at_once);
    (room < allowance.left).then(|| {
        format!(
            "{label} {value} has {}, and the {} waves can take no more than {room} of them: by their own sizes, and {at_once} \
             ({}) at once",
            allowance.has(),
            sizes.len(),
            allowance.cap
        )
    })
}

/// Mailboxes that waves of these sizes hold at most of shards of these weights, when a wave may take so many.
fn room(weights: &[u64], sizes: &[WaveSize], at_once: u64) -> u64 {
    let largest = weights.iter().copied().max().unwrap_or(0);
    let of_wave = |size: &WaveSize| match size {
        // A wave takes one shard, however small it is.
        WaveSize::Mailboxes(count) => (*count).max(largest).min(at_once),
        WaveSize::Shards(count) => largest.saturating_mul((*count).into()).min(at_once),
        WaveSize::Rest => at_once,
    };
    sizes.iter().map(of_wave).fold(0, u64::saturating_add)
}

impl Candidate {
    /// Counts it to what its wave has taken.
    pub(crate) fn count_in(&self, used: &mut Used) {
        for domain in &self.domains {
            *used.entry(*domain).or_default() += self.weight;
        }
    }
}

impl State {
    /// A shard as the cut sees it.
    pub(crate) fn candidate(&self, ix: ShardIx, caps: &[DomainCap]) -> Candidate {
        Candidate { ix, weight: self.shard(ix).weight(), domains: self.capped_domains(ix, caps) }
    }

    /// The failure domains of a shard that these caps are about.
    fn capped_domains(&self, ix: ShardIx, caps: &[DomainCap]) -> Vec<Domain> {
        let labels = &self.node(self.shard(ix).node).labels;
        caps.iter().filter_map(|cap| labels.get(&cap.label).map(|value| (cap.label, *value))).collect()
    }
}
