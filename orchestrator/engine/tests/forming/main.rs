//! Transition tests: how a fleet is cut into waves, and what a plan is refused for.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod proofs;
#[path = "../support/mod.rs"]
mod support;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use rientro_engine::Engine;
use rientro_types::*;
use support::*;

/// Nodes `a`, `b`, ... each a rack of its own, with shards of these many mailboxes.
fn fleet(racks: &[Vec<u64>]) -> Cell {
    let mut cell = Cell::new();
    for (at, sizes) in racks.iter().enumerate() {
        let name = char::from(b'a' + u8::try_from(at).unwrap()).to_string();
        cell.connect_in(&name, &name);
        let claims = sizes.iter().enumerate();
        let claims =
            claims.map(|(no, &mailboxes)| Claim { mailboxes, ..claim(&format!("{name}{no}"), &name) });
        cell.inventory(&name, claims.collect());
    }
    cell
}

fn shard_name(rack: usize, no: usize) -> String {
    format!("{}{no}", char::from(b'a' + u8::try_from(rack).unwrap()))
}

fn scheduled(schedule: Schedule, cap: &str) -> Plan {
    let mut plan = plan("return");
    plan.waves.schedule = schedule;
    plan.waves.domain_caps = vec![DomainCap { label: LabelKey::new("rack").unwrap(), max: percent(cap) }];
    plan.waves.promotion = Promotion::Manual;
    plan
}

fn shares(parts: &[&str]) -> Schedule {
    Schedule::List(parts.iter().map(|part| Share::Mailboxes(percent(part))).chain([Share::Rest]).collect())
}

fn shards(counts: &[u32]) -> Schedule {
    Schedule::List(counts.iter().copied().map(Share::Shards).chain([Share::Rest]).collect())
}

fn refused(cell: &Cell, plan: &Plan) -> (String, String) {
    let problems = cell.engine.forecast(plan, [1; 32]).unwrap_err();
    let [PlanProblem { field, problem }] = problems.as_slice() else { panic!("{problems:?}") };
    (field.clone(), problem.clone())
}

fn revise(cell: &mut Cell, plan: &Plan) -> Result<Receipt, Refusal> {
    cell.ask(Verb::Revise { plan: Box::new(plan.clone()), source: Digest::of(b"revised") })
}

fn promote(cell: &mut Cell, wave: usize) {
    let wave = WaveNo::from_raw(u32::try_from(wave).unwrap());
    cell.ask(Verb::Promote { campaign: campaign("return"), wave }).unwrap();
    cell.play();
}

/// An operator puts a shard into service out of its turn.
fn adopt(cell: &mut Cell, id: &str) {
    let reason = || "it answers".to_owned();
    cell.ask(Verb::Close { selector: only(id), reason: reason() }).unwrap();
    let services = ServiceSet::ALL;
    cell.ask(Verb::Adopt { selector: only(id), services, reason: reason() }).unwrap();
}

/// The same plan with another pace: nothing of its waves is changed.
fn paced(mut plan: Plan) -> Plan {
    plan.pace.readers -= 1;
    plan
}

/// T15: the last shard of a rack is all that is left of it, and no more of the campaign than it was at the start.
#[test]
fn little_that_is_left_of_a_rack_is_little_of_the_campaign() {
    let mut cell = fleet(&[vec![100; 5]]);
    let plan = scheduled(shards(&[2, 2]), "40%");
    cell.start(plan.clone());
    cell.play();
    promote(&mut cell, 0);
    revise(&mut cell, &paced(plan)).unwrap();
    cell.assert_replays();
}

/// T15: what an operator has put into service out of its turn is part of the campaign too, and takes nothing of what a later
/// wave is allowed.
#[test]
fn what_is_in_service_already_counts_to_the_whole() {
    let mut cell = fleet(&[vec![100; 5]]);
    let mut plan = scheduled(shards(&[1, 2]), "40%");
    cell.start(plan.clone());
    let last = cell.engine.forecast_revision(&plan).unwrap();
    let adopted: Vec<ShardId> = last.iter().flat_map(|wave| &wave.shards).take(3).copied().collect();
    for id in &adopted {
        adopt(&mut cell, id.as_str());
    }
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 3, "adopted");
    for time in ["the first", "the second", "the third"] {
        plan = paced(plan);
        revise(&mut cell, &plan).unwrap_or_else(|refusal| panic!("{time} revision: {refusal}"));
        assert_eq!(cell.campaign("return").counts.shards_total(), 5, "after {time}");
    }
    let shown = cell.view(adopted[0].as_str()).shard;
    assert_eq!((shown.state(), shown.member), (ShardState::Open, None), "in no wave");
    cell.assert_replays();
}

/// T15: what is brought forward is measured against the whole too, whatever revisions have left without a wave.
#[test]
fn what_is_in_service_leaves_room_to_come_forward() {
    let mut cell = fleet(&[vec![100; 5]]);
    let plan = scheduled(shards(&[1, 1, 1, 1]), "40%");
    cell.start(plan.clone());
    cell.play();
    let formed = cell.engine.forecast_revision(&plan).unwrap();
    for wave in &formed[..2] {
        adopt(&mut cell, wave.shards[0].as_str());
    }
    revise(&mut cell, &paced(plan)).unwrap();
    let receipt = cell.ask(Verb::Prioritise { selector: only(formed[3].shards[0].as_str()) }).unwrap();
    assert_eq!((receipt.shards, receipt.capped), (1, 0), "200 of 500 at once, and 100 are there");
}

/// R12: what is in service without a wave leaves its campaign when it is closed, as no wave would bring it back; a revision
/// takes it in. So does one whose plan leaves it out let go of it.
#[test]
fn what_is_in_service_without_a_wave_leaves_when_it_is_closed() {
    let mut cell = fleet(&[vec![100; 5]]);
    let mut plan = scheduled(shards(&[1, 2]), "50%");
    cell.start(plan.clone());
    cell.play();
    let later = cell.engine.forecast_revision(&plan).unwrap()[0].shards.clone();
    later.iter().for_each(|id| adopt(&mut cell, id.as_str()));
    plan = paced(plan);
    let receipt = revise(&mut cell, &plan).unwrap();
    assert_eq!((receipt.shards_released, receipt.shards_closed), (0, 0), "what is in service stays");
    let closed = later[0].as_str();
    cell.ask(Verb::Close { selector: only(closed), reason: "again".to_owned() }).unwrap();
    assert_eq!(cell.campaign("return").counts.shards_total(), 4);
    plan = paced(plan);
    revise(&mut cell, &plan).unwrap();
    assert!(cell.view(closed).shard.member.is_some(), "formed again");
    let rest = ["a0", "a1", "a2", "a3", "a4"].map(shard).into_iter().filter(|id| *id != later[1]);
    plan.covers = Coverage::Shards(rest.collect());
    let receipt = revise(&mut cell, &plan).unwrap();
    assert_eq!((receipt.shards_released, receipt.shards_closed), (1, 0), "left out");
    assert_eq!(cell.state(later[1].as_str()), ShardState::Open);
    cell.assert_replays();
}

/// T15: a revision's own caps are parts of the whole as well, and are said in its words when what is left cannot keep them.
#[test]
fn a_cap_that_the_rest_cannot_keep_refuses_the_revision() {
    let mut cell = fleet(&[vec![100; 6]]);
    let mut plan = scheduled(shards(&[2, 2]), "40%");
    cell.start(plan.clone());
    cell.play();
    plan.waves.schedule = shards(&[2]);
    plan.waves.domain_caps[0].max = percent("20%");
    let Err(Refusal::Plan(problems)) = revise(&mut cell, &plan) else { panic!("revised") };
    let said = "rack a has 400 of its 600 mailboxes to place, of which a wave may take 120 (20%): that needs 4 waves, and \
                there are 1; add waves before \"rest\", or let a wave take more";
    assert_eq!((problems[0].field.as_str(), problems[0].problem.as_str()), ("waves.domain_caps", said));
}

/// Where no order can work, the numbers say so; where that is not proven, nothing is claimed.
#[test]
fn what_cannot_be_placed_is_told_from_what_was_not_placed() {
    let field = || "waves.domain_caps".to_owned();
    let advice = "add waves before \"rest\", or let a wave take more";
    let (at, said) = refused(&fleet(&[vec![1; 100]]), &scheduled(shares(&["1%", "5%", "25%"]), "60%"));
    let proven = "rack a has 100 mailboxes, and the 4 waves can take no more than 91 of them: by their own sizes, and 60 \
                  (60%) at once";
    assert_eq!((at, said), (field(), format!("{proven}; {advice}")));
    let (at, said) = refused(&fleet(&[vec![30, 30, 30, 10]]), &scheduled(shards(&[4]), "50%"));
    let proven = "rack a has 3 shards of 30 or more mailboxes, and a wave may take 50 mailboxes (50%), which is 1 of them: \
                  that needs 3 waves, and there are 2";
    assert_eq!((at, said), (field(), format!("{proven}; {advice}")));
    let (at, said) = refused(&fleet(&[vec![30, 30, 12, 12, 12]]), &scheduled(shards(&[5]), "52%"));
    let found = "no order was found in which every shard has a place under the caps, and there may be none";
    assert_eq!((at, said), (field(), format!("{found}; {advice}")));
}

/// Waves grow however small the first one is, and never past the largest.
#[test]
fn waves_grow_from_one_mailbox() {
    let mut plan = plan("return");
    let growth =
        |percent| Schedule::Growth { first: Ppm::new(1).unwrap(), percent, max: Ppm::new(20_000).unwrap() };
    let cell = fleet(&[vec![1; 300]]);
    let sizes = |plan: &Plan| -> Vec<u64> {
        cell.engine.forecast(plan, [1; 32]).unwrap().iter().map(|wave| wave.mailboxes).collect()
    };
    plan.waves.schedule = growth(101);
    assert_eq!(sizes(&plan)[..8], [1, 2, 3, 4, 5, 6, 6, 6]);
    plan.waves.schedule = growth(200);
    assert_eq!(sizes(&plan)[..5], [1, 2, 4, 6, 6]);
    plan.waves.schedule = growth(100);
    assert_eq!(sizes(&plan), [1; 300], "growth 1 is a size for all");
    plan.waves.schedule = growth(u32::MAX);
    assert_eq!(sizes(&plan)[..3], [1, 6, 6]);
}

/// A cap, and not the waves' size, is named where it makes a growing campaign too long.
#[test]
fn a_cap_that_needs_more_waves_than_there_may_be_is_named() {
    let growth = Schedule::Growth { first: percent("1%"), percent: 200, max: percent("25%") };
    let (field, said) = refused(&fleet(&[vec![1; 2001]]), &scheduled(growth, "0.05%"));
    assert_eq!(field, "waves.domain_caps");
    assert!(said.contains("that needs 1001 waves, and there are 1000; let a wave take more"), "{said}");
    let level = Schedule::Growth { first: Ppm::new(1).unwrap(), percent: 100, max: percent("25%") };
    let (field, said) = refused(&fleet(&[vec![1; 2001]]), &scheduled(level, "25%"));
    assert_eq!(
        (&*field, &*said),
        ("waves", "after 1000 waves some shards are left over; make the waves larger")
    );
}

type Breaks = fn(&mut Plan);

/// T2: an empty selection, which the text of a plan cannot have, is refused from any client: it would match everything, or let
/// go of all that waits. So is a label that is capped twice.
#[test]
fn an_empty_selection_is_refused_whoever_sends_it() {
    let mut cell = fleet(&[vec![100; 4]]);
    let plan = scheduled(shards(&[2]), "50%");
    cell.start(plan.clone());
    let broken: [(&str, Breaks); 5] = [
        ("covers.labels", |plan| plan.covers = Coverage::Labels(std::collections::BTreeMap::new())),
        ("covers.shards", |plan| plan.covers = Coverage::Shards(Vec::new())),
        ("class[0].labels", |plan| {
            let covers = Coverage::Labels(std::collections::BTreeMap::new());
            plan.classes = vec![Class { weight: 9, covers }];
        }),
        ("class[0].shards", |plan| {
            plan.classes = vec![Class { weight: 9, covers: Coverage::Shards(Vec::new()) }];
        }),
        ("waves.domain_caps.rack", |plan| plan.waves.domain_caps.push(plan.waves.domain_caps[0])),
    ];
    for (field, breaks) in broken {
        let mut plan = plan.clone();
        breaks(&mut plan);
        let Err(Refusal::Plan(problems)) = revise(&mut cell, &plan) else { panic!("{field} is taken") };
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, [field]);
        plan.name = campaign("another");
        let verb = Verb::Start { plan: Box::new(plan), source: Digest::ZERO };
        let Err(Refusal::Plan(problems)) = cell.ask(verb) else { panic!("{field} is taken") };
        assert!(problems.iter().any(|problem| problem.field == field), "{problems:?}");
    }
}

/// A shard in several classes has the greatest weight, whether its label or its name is what puts it there and however often
/// it is named.
#[test]
fn a_shard_has_the_greatest_weight_of_its_classes() {
    let cell = fleet(&[vec![10; 3], vec![10; 3]]);
    let class = |weight, covers| Class { weight, covers };
    let rack =
        std::collections::BTreeMap::from([(LabelKey::new("rack").unwrap(), LabelValue::new("b").unwrap())]);
    let mut plan = scheduled(shards(&[2, 3]), "100%");
    plan.classes = vec![
        class(2, Coverage::Shards(["b2", "a1", "b2"].map(shard).to_vec())),
        class(1, Coverage::Labels(rack)),
        class(1, Coverage::Shards(vec![shard("b2"), shard("a0")])),
    ];
    let forecast = cell.engine.forecast(&plan, [1; 32]).unwrap();
    let mut waves: Vec<Vec<ShardId>> = forecast.into_iter().map(|wave| wave.shards).collect();
    waves.iter_mut().for_each(|shards| shards.sort_unstable());
    let expected: [&[&str]; 3] = [&["a1", "b2"], &["a0", "b0", "b1"], &["a2"]];
    assert_eq!(waves, expected.map(|wave| wave.iter().map(|id| shard(id)).collect::<Vec<_>>()));
}

/// R4: wherever a journal is cut while waves are formed, an engine made from a snapshot there goes on with the same ranks.
#[test]
fn a_snapshot_between_two_waves_goes_on_with_their_ranks() {
    let mut cell = fleet(&[vec![10; 6]]);
    let plan = scheduled(shards(&[1, 2, 2]), "100%");
    cell.start(plan.clone());
    revise(&mut cell, &paced(plan)).unwrap();
    let [before @ .., start, revision] = cell.journal.as_slice() else { panic!("nothing was decided") };
    let mut live = Engine::new();
    before.iter().for_each(|entry| live.replay(entry).unwrap());
    for entry in [start, revision] {
        for decision in &entry.decisions {
            let mut restored = Engine::new();
            live.snapshot().for_each(|record| restored.restore(record).unwrap());
            let part = Entry { seq: live.seq_next(), decisions: vec![decision.clone()], ..entry.clone() };
            live.replay(&part).unwrap();
            restored.replay(&part).unwrap();
            assert!(restored.snapshot().eq(live.snapshot()), "after {decision:?}");
        }
    }
    let ranks = ["a0", "a1", "a2", "a3", "a4", "a5"].map(|id| cell.view(id).shard.member.unwrap());
    let replayed = ["a0", "a1", "a2", "a3", "a4", "a5"]
        .map(|id| live.shard_view(shard(id)).unwrap().shard.member.unwrap());
    assert_eq!(ranks, replayed);
}

fn racks() -> impl Strategy<Value = Vec<Vec<u64>>> {
    proptest::collection::vec(proptest::collection::vec(0_u64..60, 1..7), 1..4)
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let growth = (1_u32..300_000, 100_u32..400).prop_map(|(first, percent)| {
        let first = Ppm::new(first).unwrap();
        Schedule::Growth { first, percent, max: Ppm::new(400_000).unwrap() }
    });
    let shares = proptest::collection::vec(1_u32..200_000, 0..5).prop_map(|parts| {
        let parts = parts.into_iter().map(|ppm| Share::Mailboxes(Ppm::new(ppm).unwrap()));
        Schedule::List(parts.chain([Share::Rest]).collect())
    });
    let counts = proptest::collection::vec(1_u32..9, 0..5).prop_map(|counts| shards(&counts));
    prop_oneof![growth, shares, counts]
}

/// What a wave takes of a rack at most: a part of what the campaign has there, shards without mailboxes counted as one.
fn at_once(sizes: &[u64], cap: Ppm) -> u64 {
    cap.of_ceil(sizes.iter().map(|size| (*size).max(1)).sum())
}

type Moves = (Vec<Vec<u64>>, Schedule, u32, Vec<(usize, usize)>);

fn moves() -> impl Strategy<Value = Moves> {
    let forward = proptest::collection::vec((0_usize..4, 0_usize..7), 1..8);
    (racks(), schedule(), 200_000_u32..=1_000_000, forward)
}

/// Brings shards forward and revises the plan, with the caps looked at after each; says how often one came forward, and how
/// often a cap kept one back.
fn bring_forward((racks, schedule, cap, forward): Moves) -> (usize, usize) {
    let (mut moved, mut capped) = (0, 0);
    let mut cell = fleet(&racks);
    let cap = Ppm::new(cap).unwrap();
    let mut plan = scheduled(schedule, "100%");
    plan.waves.domain_caps[0].max = cap;
    if cell.engine.forecast(&plan, [7; 32]).is_err() {
        return (0, 0);
    }
    cell.start(plan.clone());
    cell.play();
    for (at, (rack, no)) in forward.into_iter().enumerate() {
        if at % 3 == 2 {
            plan.tries.attempts_max += 1;
            revise(&mut cell, &plan).unwrap();
        }
        let rack = rack % racks.len();
        let id = shard_name(rack, no % racks[rack].len());
        match cell.ask(Verb::Prioritise { selector: only(&id) }) {
            Ok(_) => moved += 1,
            Err(refusal) => capped += usize::from(refusal.to_string().contains("leaves no room")),
        }
        keeps_caps(&cell, &racks, cap);
    }
    cell.assert_replays();
    (moved, capped)
}

/// T15: no wave has more of a rack than it may.
fn keeps_caps(cell: &Cell, racks: &[Vec<u64>], cap: Ppm) {
    let mut taken = std::collections::BTreeMap::<(u32, usize), u64>::new();
    for (rack, sizes) in racks.iter().enumerate() {
        for no in 0..sizes.len() {
            let shard = cell.view(&shard_name(rack, no)).shard;
            let wave = shard.member.unwrap().wave.raw();
            let of_wave = taken.entry((wave, rack)).or_default();
            *of_wave += shard.mailboxes.max(1);
            assert!(*of_wave <= at_once(sizes, cap), "{of_wave} of rack {rack} in wave {wave}");
        }
    }
}

/// What is to keep the caps when it comes forward does come forward, and is kept back.
#[test]
fn some_come_forward_and_some_are_kept_back() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let each = (0..128).map(|_| bring_forward(moves().new_tree(&mut runner).unwrap().current()));
    let (moved, capped) = each.fold((0, 0), |sum, (moved, capped)| (sum.0 + moved, sum.1 + capped));
    assert!(moved > 16 && capped > 16, "{moved} came forward and {capped} were kept back");
}

proptest! {
    /// T15: on any fleet, a plan that a campaign was started with can be revised in what is not about its waves, whenever in
    /// its course and whatever of it is put into service out of its turn; and its waves keep the caps of the whole.
    #[test]
    fn a_campaign_can_be_revised_throughout(
        racks in racks(),
        schedule in schedule(),
        cap in 200_000_u32..=1_000_000,
        adopts in proptest::collection::vec(proptest::option::of((0_usize..4, 0_usize..7)), 0..6),
    ) {
        let mut cell = fleet(&racks);
        let cap = Ppm::new(cap).unwrap();
        let mut plan = scheduled(schedule, "100%");
        plan.waves.domain_caps[0].max = cap;
        plan.waves.error_budget_canary = Ppm::ONE;
        plan.policy.verified_age_max = Span::from_secs(1_000_000);
        if cell.engine.forecast(&plan, [7; 32]).is_err() {
            return Ok(());
        }
        cell.start(plan.clone());
        cell.play();
        let mut adopted = 0;
        for wave in 0.. {
            if let Some((rack, no)) = adopts.get(wave).copied().flatten()
                && racks.get(rack).is_some_and(|sizes| no < sizes.len())
            {
                adopt(&mut cell, &shard_name(rack, no));
                adopted += 1;
            }
            plan.tries.attempts_max += 1;
            let receipt = revise(&mut cell, &plan);
            // What is left of an order may pack worse than the whole did: that none was found is said, and is no matter of caps.
            let is_unlucky = adopted > 0 && receipt.as_ref().is_err_and(|it| it.to_string().contains("no order was found"));
            if is_unlucky {
                break;
            }
            prop_assert!(receipt.is_ok(), "wave {wave}, {adopted} adopted: {receipt:?}");
            for formed in cell.engine.forecast_revision(&plan).unwrap() {
                for (rack, sizes) in (b'a'..).map(char::from).zip(&racks) {
                    let of_rack = formed.shards.iter().filter(|id| id.as_str().starts_with(rack));
                    let taken: u64 = of_rack.map(|id| cell.view(id.as_str()).shard.mailboxes.max(1)).sum();
                    prop_assert!(taken <= at_once(sizes, cap), "{taken} of rack {rack} at once");
                }
            }
            if wave >= cell.campaign("return").waves.len() {
                break;
            }
            promote(&mut cell, wave);
            if cell.campaign("return").state == CampaignState::Ended {
                break;
            }
        }
    }

    /// T15: whatever is brought forward, and however the plan is revised after it, no wave takes more of a rack than it may.
    #[test]
    fn what_comes_forward_keeps_the_caps(moves in moves()) {
        bring_forward(moves);
    }
}
