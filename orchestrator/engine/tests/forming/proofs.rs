//! What a refusal says that no order of the shards can do, held against every way to place them.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use rientro_types::*;

use crate::{at_once, fleet, scheduled};

/// What a wave has room for: of each rack, and in all.
#[derive(Clone)]
struct Wave {
    racks: Vec<u64>,
    shards: u32,
    mailboxes: u64,
    is_empty: bool,
}

/// Whether there is a way to put these shards, each with its rack and its weight, into these waves: all are tried. A wave that
/// is empty takes one shard, however small it is.
fn packs(left: &[(usize, u64)], waves: &mut [Wave]) -> bool {
    let Some((&(rack, weight), rest)) = left.split_first() else { return true };
    (0..waves.len()).any(|at| {
        let before = waves[at].clone();
        let fits = before.shards > 0 && (before.mailboxes >= weight || before.is_empty);
        let placed = fits && before.racks[rack] >= weight && {
            waves[at].racks[rack] -= weight;
            waves[at].shards -= 1;
            waves[at].mailboxes = before.mailboxes.saturating_sub(weight);
            waves[at].is_empty = false;
            packs(rest, waves)
        };
        waves[at] = before;
        placed
    })
}

/// Whether every way to cut these racks into waves of these sizes breaks the cap.
fn is_impossible(racks: &[Vec<u64>], list: &[Share], cap: Ppm) -> bool {
    let weighed =
        |(rack, sizes): (usize, &Vec<u64>)| sizes.iter().map(|size| (rack, (*size).max(1))).collect();
    let all: Vec<(usize, u64)> = racks.iter().enumerate().flat_map::<Vec<_>, _>(weighed).collect();
    let total = all.iter().map(|(_, weight)| weight).sum();
    let room = Wave {
        racks: racks.iter().map(|sizes| at_once(sizes, cap)).collect(),
        shards: u32::MAX,
        mailboxes: u64::MAX,
        is_empty: true,
    };
    let wave = |share: &Share| match share {
        Share::Mailboxes(part) => Wave { mailboxes: part.of(total), ..room.clone() },
        Share::Shards(count) => Wave { shards: *count, ..room.clone() },
        Share::Rest => room.clone(),
    };
    !packs(&all, &mut list.iter().map(wave).collect::<Vec<_>>())
}

/// Few shards and few waves: every way to place them can be tried.
fn tight() -> impl Strategy<Value = (Vec<Vec<u64>>, Vec<Share>, Ppm)> {
    let sizes =
        prop_oneof![proptest::collection::vec(20_u64..30, 3..6), proptest::collection::vec(1_u64..60, 3..6),];
    let racks = proptest::collection::vec(sizes, 1..3);
    let share = prop_oneof![
        (1_u32..300_000).prop_map(|part| Share::Mailboxes(Ppm::new(part).unwrap())),
        (1_u32..4).prop_map(Share::Shards),
    ];
    let list = proptest::collection::vec(share, 0..3);
    let cap = (300_000_u32..=800_000).prop_map(|cap| Ppm::new(cap).unwrap());
    (racks, list, cap)
        .prop_map(|(racks, list, cap)| (racks, list.into_iter().chain([Share::Rest]).collect(), cap))
}

/// Why no order can do it, where that is what a plan is refused for.
fn proof((racks, list, cap): &(Vec<Vec<u64>>, Vec<Share>, Ppm)) -> Option<String> {
    let mut plan = scheduled(Schedule::List(list.clone()), "100%");
    plan.waves.domain_caps[0].max = *cap;
    let problems = fleet(racks).engine.forecast(&plan, [7; 32]).err()?;
    Some(problems[0].problem.clone()).filter(|said| !said.contains("no order was found"))
}

/// Each kind of proof is among those that are tried.
#[test]
fn proofs_of_every_kind_are_met() {
    let kinds = [
        "alone holds",
        "mailboxes to place, of which|mailboxes, of which",
        "or more mailboxes",
        "can take no more than",
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut met = [0; 4];
    for _ in 0..512 {
        let case = tight().new_tree(&mut runner).unwrap().current();
        let said = proof(&case).unwrap_or_default();
        for (met, kind) in met.iter_mut().zip(kinds) {
            *met += usize::from(kind.split('|').any(|words| said.contains(words)));
        }
    }
    assert!(met.iter().all(|times| *times > 4), "{kinds:?}: {met:?}");
}

proptest! {
    /// What a refusal says no order can do, none can: every way to place the shards is tried.
    #[test]
    fn a_proof_is_one(case in tight()) {
        if let Some(said) = proof(&case) {
            let (racks, list, cap) = &case;
            prop_assert!(is_impossible(racks, list, *cap), "{said}");
        }
    }
}
