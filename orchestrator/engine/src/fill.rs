//! Fills waves with shards, in their order.
//!
//! A wave takes each shard in turn that its domains have room for and passes over the others; it ends at the first shard that
//! is too large for it, so that small shards do not overtake the order. Walking through all that is left for every wave would
//! cost seconds where racks are small beside waves, in one step through which no abort gets. So shards queue by their failure
//! domains, and a queue is asked for its first shard there is room for: a wave costs what it takes, and one look at each
//! queue that has no room.

mod first_fit;

use std::collections::{BTreeMap, BTreeSet};

use crate::caps::{Caps, Domain, Used};
use crate::fill::first_fit::FirstFit;
use crate::forming::{Candidate, WaveSize};
use crate::state::ShardIx;

/// What is left to be placed.
pub(crate) struct Line<'a> {
    ordered: &'a [Candidate],
    /// What the weight of each leaves of the largest number: a shard that is too large for a wave is a small one here.
    rests: FirstFit,
    queues: Vec<Queue<'a>>,
    /// The first shard of each queue that is not empty.
    heads: BTreeSet<Head>,
}

/// The shards with the same failure domains.
struct Queue<'a> {
    domains: &'a [Domain],
    /// Their places in the order.
    places: Vec<usize>,
    weights: FirstFit,
}

/// A shard that a queue has next: its place in the order, the queue, its place in that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    place: usize,
    queue: usize,
    at: usize,
}

/// What a wave has taken.
#[derive(Default)]
struct Taken {
    shards: Vec<ShardIx>,
    weight: u64,
    used: Used,
    /// The place after the last one.
    next: usize,
}

impl<'a> Line<'a> {
    pub(crate) fn new(ordered: &'a [Candidate]) -> Self {
        let mut by_domains: BTreeMap<&[Domain], Vec<usize>> = BTreeMap::new();
        for (place, candidate) in ordered.iter().enumerate() {
            by_domains.entry(&candidate.domains).or_default().push(place);
        }
        let queue = |(domains, places): (&'a [Domain], Vec<usize>)| {
            let weights = FirstFit::new(places.iter().map(|place| ordered[*place].weight));
            Queue { domains, places, weights }
        };
        let queues: Vec<_> = by_domains.into_iter().map(queue).collect();
        let rests = FirstFit::new(ordered.iter().map(|candidate| u64::MAX - candidate.weight));
        let mut line = Self { ordered, rests, queues, heads: BTreeSet::new() };
        line.heads = (0..line.queues.len()).filter_map(|queue| line.head(queue, 0, u64::MAX)).collect();
        line
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Fills one wave. It takes at least one shard, however small it is.
    pub(crate) fn fill(&mut self, size: WaveSize, caps: &Caps) -> Vec<ShardIx> {
        let mut taken = Taken::default();
        let mut looked_at = Vec::new();
        // What the queues that were looked at have next, where there is room for it.
        let mut next = BTreeSet::new();
        while let Some(&head) = self.heads.first().into_iter().chain(next.first()).min() {
            let Head { place, queue, at } = head;
            if self.is_full(&taken, size, place) {
                break;
            }
            if !next.remove(&head) {
                self.heads.remove(&head);
                looked_at.push(queue);
            }
            let candidate = &self.ordered[place];
            if caps.allow(candidate, &taken.used) {
                taken.take(candidate, place);
                self.rests.remove(place);
                self.queues[queue].weights.remove(at);
            }
            let room = caps.room(self.queues[queue].domains, &taken.used);
            next.extend(self.head(queue, at + 1, room));
        }
        let heads: Vec<_> = looked_at.into_iter().filter_map(|queue| self.head(queue, 0, u64::MAX)).collect();
        self.heads.extend(heads);
        taken.shards
    }

    /// The first shard of a queue, from its place `from` on, with no more than so many mailboxes.
    fn head(&self, queue: usize, from: usize, most: u64) -> Option<Head> {
        let Queue { domains: _, places, weights } = &self.queues[queue];
        weights.first(from, most).map(|at| Head { place: places[at], queue, at })
    }

    /// Whether the wave ends at this place in the order or before: there, or passed over on the way there, is a shard that is
    /// too large for what is left of the wave.
    fn is_full(&self, taken: &Taken, size: WaveSize, place: usize) -> bool {
        match size {
            WaveSize::Mailboxes(most) if !taken.shards.is_empty() => {
                let rest = u64::MAX - most.saturating_sub(taken.weight);
                let too_large = rest.checked_sub(1).and_then(|rest| self.rests.first(taken.next, rest));
                too_large.is_some_and(|too_large| too_large <= place)
            }
            WaveSize::Shards(count) => taken.shards.len() >= count as usize,
            WaveSize::Mailboxes(_) | WaveSize::Rest => false,
        }
    }
}

impl Taken {
    fn take(&mut self, candidate: &Candidate, place: usize) {
        self.weight += candidate.weight;
        candidate.count_in(&mut self.used);
        self.shards.push(candidate.ix);
        self.next = place + 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;
    use rientro_types::{DomainCap, LabelKey, LabelValue, Ppm};

    use super::*;

    /// The law in so many words: every shard that is left is looked at in its turn.
    fn one_by_one(left: &mut VecDeque<&Candidate>, size: WaveSize, caps: &Caps) -> Vec<ShardIx> {
        let mut taken = Taken::default();
        let mut passed_over = VecDeque::new();
        while let Some(candidate) = left.pop_front() {
            let fits = match size {
                WaveSize::Mailboxes(most) => {
                    taken.weight + candidate.weight <= most || taken.shards.is_empty()
                }
                WaveSize::Shards(count) => taken.shards.len() < count as usize,
                WaveSize::Rest => true,
            };
            if !fits {
                left.push_front(candidate);
                break;
            }
            if caps.allow(candidate, &taken.used) {
                taken.take(candidate, 0);
            } else {
                passed_over.push_back(candidate);
            }
        }
        passed_over.append(left);
        *left = passed_over;
        taken.shards
    }

    fn domain(label: &str, no: u8) -> Domain {
        (LabelKey::new(label).unwrap(), LabelValue::new(&format!("{label}{no}")).unwrap())
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        // Racks are in sites, or in none; some shards are in no rack.
        let shard = (1_u64..40, 0_u8..5, any::<bool>());
        proptest::collection::vec(shard, 1..60).prop_map(|shards| {
            let candidate = |(at, (weight, rack, in_site)): (usize, (u64, u8, bool))| {
                let domains =
                    [(rack > 0).then(|| domain("rack", rack)), in_site.then(|| domain("site", rack % 2))];
                let domains = domains.into_iter().flatten().collect();
                Candidate { ix: ShardIx::for_len(at), weight, domains }
            };
            shards.into_iter().enumerate().map(candidate).collect()
        })
    }

    fn sizes() -> impl Strategy<Value = Vec<WaveSize>> {
        let size = prop_oneof![
            (0_u64..300).prop_map(WaveSize::Mailboxes),
            (1_u32..30).prop_map(WaveSize::Shards),
            Just(WaveSize::Rest),
        ];
        proptest::collection::vec(size, 1..20)
    }

    proptest! {
        /// T15: the waves are those that walking through all that is left would fill.
        #[test]
        fn waves_are_as_if_filled_one_by_one(
            ordered in candidates(),
            sizes in sizes(),
            of_rack in 1_u32..=1_000_000,
            of_site in 1_u32..=1_000_000,
        ) {
            let cap = |label, max| DomainCap { label: LabelKey::new(label).unwrap(), max: Ppm::new(max).unwrap() };
            let caps = Caps::new(&[cap("rack", of_rack), cap("site", of_site)], &ordered, std::iter::empty());
            let (mut line, mut left) = (Line::new(&ordered), ordered.iter().collect());
            for size in sizes {
                prop_assert_eq!(line.fill(size, &caps), one_by_one(&mut left, size, &caps));
                prop_assert_eq!(line.is_empty(), left.is_empty());
            }
        }
    }
}
