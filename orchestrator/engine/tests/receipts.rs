//! Transition tests: what revising, promoting and bringing forward take away, forgive and leave, and what they are told as.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_types::*;
use support::*;

fn in_waves(list: Vec<Share>) -> Plan {
    let mut plan = plan("return");
    plan.waves.schedule = Schedule::List(list);
    plan
}

fn revise(plan: Plan) -> Verb {
    Verb::Revise { plan: Box::new(plan), source: Digest::ZERO }
}

fn promote(wave: u32) -> Verb {
    Verb::Promote { campaign: campaign("return"), wave: WaveNo::from_raw(wave) }
}

fn of_wave(cell: &Cell, wave: u32) -> Vec<ShardId> {
    let wave = Some(WaveNo::from_raw(wave));
    let selector = Selector { campaign: Some(campaign("return")), wave, ..Selector::default() };
    cell.engine.shard_views(&selector, None, 100).iter().map(|view| view.shard.shard).collect()
}

fn named(shards: Vec<ShardId>) -> Selector {
    Selector { shards, ..Selector::default() }
}

/// What a revision takes out of its campaign, and closes, is in its receipt; so is what gets another wave.
#[test]
fn a_revision_tells_what_it_takes_away() {
    let mut cell = Cell::with_fleet(2, 4);
    cell.start(in_waves(vec![Share::Shards(2), Share::Shards(2), Share::Rest]));
    cell.play();
    let last = of_wave(&cell, 2);
    let mut narrow = in_waves(vec![Share::Shards(2), Share::Rest]);
    narrow.covers = Coverage::Shards(vec![last[0]]);
    let receipt = cell.ask(revise(narrow.clone())).unwrap();
    assert_eq!((receipt.shards, receipt.mailboxes), (1, 100), "it comes one wave sooner");
    assert_eq!((receipt.shards_released, receipt.mailboxes_released, receipt.shards_closed), (5, 500, 5));
    assert_eq!(cell.campaign("return").counts.shards_total(), 3);
    assert_eq!(cell.engine.cell_view().unwrap().counts.shards_in(ShardState::Closed), 5);
    assert_eq!(cell.ask(revise(narrow)).unwrap(), Receipt::default(), "the same plan again changes nothing");
    assert_eq!(cell.campaign("return").revision.raw(), 2);
    cell.assert_replays();
}

/// T17: a revision of the pace alone moves no shard and says so; what was brought forward stays so under the same plan.
#[test]
fn a_revision_of_the_pace_moves_nothing() {
    let mut cell = Cell::with_fleet(1, 6);
    let first = in_waves(vec![Share::Shards(1), Share::Shards(1), Share::Rest]);
    cell.start(first.clone());
    let mut slower = first;
    slower.pace.readers = 1;
    let receipt = cell.ask(revise(slower.clone())).unwrap();
    assert_eq!(Receipt { decided: None, ..receipt }, Receipt { changes: true, ..Receipt::default() });
    assert_eq!(cell.campaign("return").plan.pace.readers, 1);
    let last = of_wave(&cell, 2)[0];
    cell.ask(Verb::Prioritise { selector: named(vec![last]) }).unwrap();
    slower.seed = None;
    assert_eq!(cell.ask(revise(slower)).unwrap(), Receipt::default());
    assert!(of_wave(&cell, 0).contains(&last));
    cell.assert_replays();
}

fn manual(cell: &mut Cell, tries: u32) {
    let mut plan = in_waves(vec![Share::Shards(2), Share::Shards(1), Share::Rest]);
    plan.waves.promotion = Promotion::Manual;
    plan.tries.attempts_max = tries;
    cell.start(plan);
}

/// R3: only a wave that has begun is promoted, and one that has passed stays so; a wave that is not there is named as such.
#[test]
fn only_a_wave_that_has_begun_is_promoted() {
    let mut cell = Cell::with_fleet(1, 4);
    manual(&mut cell, 3);
    cell.play();
    let early = cell.ask(promote(1)).unwrap_err();
    assert!(early.to_string().contains("wave 1 has not begun"), "{early}");
    assert!(matches!(cell.ask(promote(9)), Err(Refusal::SelectorInvalid { .. })));
    cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap();
    assert!(cell.ask(promote(0)).unwrap().changes);
    let waiting = cell.ask(promote(1)).unwrap_err();
    assert_eq!(waiting, Refusal::WaveNotCurrent { wave: WaveNo::from_raw(1), current: WaveNo::from_raw(1) });
    assert!(!cell.ask(promote(0)).unwrap().changes);
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    assert!(cell.ask(promote(1)).unwrap().changes);
}

/// R6: a promotion forgives what its wave has lost until then, and says how much; what the wave loses after that pauses the
/// campaign as it would have before.
#[test]
fn what_a_promoted_wave_loses_later_still_pauses() {
    let mut cell = Cell::with_fleet(1, 4);
    cell.ask(Verb::SetLimits { limits: FleetLimits { verifies_per_node: 1, ..FleetLimits::default() } })
        .unwrap();
    manual(&mut cell, 1);
    let id = campaign("return");
    let fail = |cell: &mut Cell| {
        let (_, task) = cell.ordered().remove(0);
        let end = TaskEnd::Failed(TaskFailure::Interrupted);
        cell.result("a", task.shard.as_str(), task.attempt.raw(), end);
        task.shard
    };
    let canary = of_wave(&cell, 0);
    assert!(canary.contains(&fail(&mut cell)));
    assert_eq!(cell.ask(promote(0)).unwrap().mailboxes_forgiven, 100);
    let resumed = cell.ask(Verb::Resume { campaign: id }).unwrap();
    assert_eq!(resumed.mailboxes_forgiven, 0, "the promotion has forgiven it");
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    assert_eq!(cell.campaign("return").wave, Some(WaveNo::from_raw(1)));
    assert!(canary.contains(&fail(&mut cell)));
    let paused = canary_over(200, 200, Ppm::ZERO);
    assert_eq!(cell.campaign("return").state, paused);
    assert_eq!(cell.ask(Verb::Resume { campaign: id }).unwrap().mailboxes_forgiven, 100);
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    cell.assert_replays();
}

/// T15: bringing forward keeps the caps of failure domains, counts what they keep back, and is refused when nothing fits.
#[test]
fn bringing_forward_keeps_the_caps_of_failure_domains() {
    let mut cell = Cell::with_fleet(2, 4);
    let mut capped = in_waves(vec![Share::Shards(2), Share::Shards(8), Share::Shards(8), Share::Rest]);
    capped.waves.domain_caps = vec![DomainCap { label: LabelKey::new("rack").unwrap(), max: percent("50%") }];
    cell.start(capped);
    let canary_of =
        |cell: &Cell, rack: char| of_wave(cell, 0).iter().filter(|id| id.as_str().starts_with(rack)).count();
    let before = [canary_of(&cell, 'a'), canary_of(&cell, 'b')];
    let later: Vec<ShardId> = (1..4).flat_map(|wave| of_wave(&cell, wave)).collect();
    assert_eq!((before[0] + before[1], later.len()), (2, 6));
    let receipt = cell.ask(Verb::Prioritise { selector: named(later.clone()) }).unwrap();
    assert_eq!((receipt.shards, receipt.capped, receipt.skipped), (2, 4, 0));
    assert_eq!((receipt.wave_shards, receipt.wave_mailboxes), (4, 400), "the wave as it will be");
    assert_eq!([canary_of(&cell, 'a'), canary_of(&cell, 'b')], [2, 2]);
    let refused = cell.ask(Verb::Prioritise { selector: named(later) }).unwrap_err();
    assert!(refused.to_string().contains("waves.domain_caps leaves no room"), "{refused}");
    cell.assert_replays();
}

/// T2: a cap on a label that no node has, a class of shards that are not there, and more readers than agents run are told.
#[test]
fn names_that_nothing_has_are_refused() {
    let mut cell = Cell::with_fleet(1, 2);
    let mut wrong = plan("return");
    wrong.waves.domain_caps = vec![DomainCap { label: LabelKey::new("rakc").unwrap(), max: percent("50%") }];
    wrong.classes = vec![
        Class { covers: Coverage::Shards(vec![shard("a1")]), weight: 2 },
        Class { covers: Coverage::Shards(vec![shard("a2"), shard("zz")]), weight: 1 },
    ];
    let fields = |answer: Result<Receipt, Refusal>| match answer {
        Err(Refusal::Plan(found)) => found.into_iter().map(|p| p.field).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let start = |plan: &Plan| Verb::Start { plan: Box::new(plan.clone()), source: Digest::ZERO };
    let expected = ["class[1].shards", "waves.domain_caps.rakc"];
    assert_eq!(fields(cell.ask(start(&wrong))), expected);
    cell.start(plan("return"));
    assert_eq!(fields(cell.ask(revise(wrong))), expected);
    let mut greedy = plan("another");
    greedy.pace.readers = READERS_MAX + 1;
    assert_eq!(fields(cell.ask(start(&greedy)))[0], "pace.readers");
}

/// R1: a revision of what is asked of verifications says whom it lets through and whom it holds, before it does.
#[test]
fn a_revision_tells_whom_it_lets_through() {
    let mut cell = Cell::with_fleet(1, 2);
    let mut strict = in_waves(vec![Share::Shards(1), Share::Rest]);
    (strict.waves.error_budget_canary, strict.waves.error_budget) = (Ppm::ONE, Ppm::ONE);
    strict.waves.bake = Span::from_secs(600);
    cell.start(strict.clone());
    let (_, task) = cell.ordered().remove(0);
    cell.result("a", task.shard.as_str(), task.attempt.raw(), verified(Outcome::Damaged, "a"));
    assert_eq!(cell.state(task.shard.as_str()), ShardState::Held);
    let mut loose = strict;
    loose.policy.damaged_per_million_max = 999_999;
    let rehearsed = cell.rehearse(revise(loose.clone())).unwrap();
    assert_eq!(
        (rehearsed.shards_passing, rehearsed.mailboxes_passing, rehearsed.shards_failing),
        (1, 100, 0)
    );
    let decided = cell.ask(revise(loose)).unwrap();
    assert_eq!(decided.shards_passing, 1);
    assert_ne!(cell.state(task.shard.as_str()), ShardState::Held);
}
