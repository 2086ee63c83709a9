//! Transition tests: what operators ask for, in every state, twice, and on many shards at once.
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::{Command, OrderKind};
use rientro_types::*;
use support::*;

fn waves(list: Vec<Share>) -> Plan {
    let mut plan = plan("return");
    plan.waves.schedule = Schedule::List(list);
    plan
}

fn problems(cell: &mut Cell, plan: Plan) -> Vec<(String, String)> {
    match cell.ask(Verb::Start { plan: Box::new(plan), source: Digest::ZERO }) {
        Err(Refusal::Plan(found)) => found.into_iter().map(|p| (p.field, p.problem)).collect(),
        other => panic!("{other:?}"),
    }
}

/// R3: verification runs ahead of its wave, opening never does.
#[test]
fn waves_open_in_order() {
    let mut cell = Cell::with_fleet(2, 2);
    cell.start(waves(vec![Share::Shards(1), Share::Shards(1), Share::Rest]));
    cell.play();
    let counts = cell.campaign("return").counts;
    assert_eq!((counts.shards_in(ShardState::Open), counts.shards_in(ShardState::Verified)), (1, 3));
    cell.pass(61);
    cell.play();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 2);
    assert_eq!(cell.campaign("return").wave, Some(WaveNo::from_raw(1)));
    cell.pass(61);
    cell.play();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 4);
    cell.assert_replays();
}

#[test]
fn a_manual_promotion_is_waited_for_and_counts_once() {
    let mut cell = Cell::with_fleet(1, 3);
    let mut manual = waves(vec![Share::Shards(1), Share::Shards(1), Share::Rest]);
    manual.waves.promotion = Promotion::Manual;
    cell.start(manual);
    cell.play();
    cell.pass(3_600);
    assert_eq!(cell.campaign("return").wave, Some(WaveNo::from_raw(0)));
    let promote = |wave| Verb::Promote { campaign: campaign("return"), wave: WaveNo::from_raw(wave) };
    assert!(matches!(cell.ask(promote(1)), Err(Refusal::WaveNotCurrent { .. })));
    assert!(cell.ask(promote(0)).unwrap().decided.is_some());
    assert_eq!(cell.ask(promote(0)).unwrap().decided, None, "the second one changes nothing");
    assert_eq!(cell.campaign("return").wave, Some(WaveNo::from_raw(1)));
}

/// T3, R8: pause, abort and close succeed in every state, and a second time.
#[test]
fn pause_abort_and_close_always_succeed() {
    let mut cell = Cell::with_fleet(2, 2);
    cell.start(plan("return"));
    let id = campaign("return");
    for _ in 0..2 {
        cell.commands.clear();
        cell.ask(Verb::Pause { campaign: id }).unwrap();
        let suspended =
            |c: &&Command| matches!(c, Command::Send { order_kind: OrderKind::Suspend { .. }, .. });
        assert_eq!(cell.commands.iter().filter(suspended).count(), 2, "every node is told, each time");
    }
    cell.commands.clear();
    for _ in 0..2 {
        cell.ask(Verb::Abort { campaign: id }).unwrap();
        cell.ask(Verb::Close { selector: all(), reason: "again".to_owned() }).unwrap();
        cell.ask(Verb::Pause { campaign: id }).unwrap();
    }
    let cancelled = |c: &&Command| matches!(c, Command::Send { order_kind: OrderKind::Cancel { .. }, .. });
    assert_eq!(cell.commands.iter().filter(cancelled).count(), 4, "every running try is cancelled once");
    assert_eq!(cell.ask(Verb::Resume { campaign: id }), Err(Refusal::CampaignOver(id)));
    cell.assert_replays();
}

/// T3: pause while a wave is failing.
#[test]
fn pausing_a_campaign_that_paused_itself_succeeds() {
    let mut cell = Cell::with_fleet(1, 2);
    cell.start(plan("return"));
    cell.play_finding(&|_| Outcome::Damaged);
    assert!(matches!(cell.campaign("return").state, CampaignState::Paused(PauseCause::ErrorBudget { .. })));
    assert_eq!(cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap().decided, None);
}

/// T14: after a pause in the middle of a wave, resuming covers exactly what is not done, the never tried included.
#[test]
fn resuming_covers_what_is_not_done() {
    let mut cell = Cell::with_fleet(1, 6);
    cell.ask(Verb::SetLimits { limits: FleetLimits { verifies_per_node: 2, ..FleetLimits::default() } })
        .unwrap();
    cell.start(plan("return"));
    let first = cell.ordered();
    assert_eq!(first.len(), 2);
    let id = first[0].1.shard;
    cell.result("a", id.as_str(), 1, verified(Outcome::Clean, "a"));
    cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap();
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    cell.result("a", first[1].1.shard.as_str(), 1, verified(Outcome::Clean, "a"));
    cell.play();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 6);
    assert_eq!(cell.view(id.as_str()).shard.attempt.raw(), 2, "one verification and one confirmation");
}

/// T33: many shards held for one cause are sent back by one command, as one decision.
#[test]
fn a_sweep_is_one_record() {
    let mut cell = Cell::with_fleet(2, 8);
    let mut generous = plan("return");
    generous.waves.error_budget_canary = Ppm::ONE;
    cell.start(generous);
    cell.play_finding(&|_| Outcome::Unreadable);
    let before = cell.journal.iter().map(|entry| entry.decisions.len()).sum::<usize>();
    let held = Verb::Retry { selector: in_state(ShardState::Held) };
    let told = cell.rehearse(held.clone()).unwrap();
    assert_eq!((told.shards, told.mailboxes, told.decided), (16, 1_600, None));
    assert_eq!(cell.journal.iter().map(|entry| entry.decisions.len()).sum::<usize>(), before);
    let receipt = cell.ask(held).unwrap();
    let decision = &cell.journal.last().unwrap().decisions[0];
    assert!(matches!(decision.record, Record::Retried { .. }));
    assert_eq!(decision.actor, operator());
    assert_eq!(receipt.shards, 16);
    cell.assert_replays();
}

/// T33: four thousand shards held for one cause are accepted by one command, as one decision; others are not touched.
#[test]
fn thousands_are_accepted_as_one_decision() {
    let mut cell = Cell::with_fleet(4, 1_010);
    cell.start(tolerant());
    let spared = |id: ShardId| id.as_str().len() == 2;
    cell.play_finding(&|id| if spared(id) { Outcome::Damaged } else { Outcome::Unreadable });
    let findings =
        Verb::Accept { selector: in_state(ShardState::Held), reason: "checked by hand".to_owned() };
    assert_eq!(cell.rehearse(findings).unwrap().shards, 4_040);
    let unreadable: Vec<ShardId> = cell
        .engine
        .shard_views(&in_state(ShardState::Held), None, usize::MAX)
        .into_iter()
        .map(|view| view.shard.shard)
        .filter(|id| !spared(*id))
        .collect();
    let selector = Selector { shards: unreadable, ..Selector::default() };
    let receipt = cell.ask(Verb::Accept { selector, reason: "checked by hand".to_owned() }).unwrap();
    assert_eq!((receipt.shards, receipt.mailboxes), (4_004, 400_400));
    let entry = cell.journal.last().unwrap();
    let accepted = entry.decisions.iter().filter(|d| matches!(d.record, Record::Accepted { .. })).count();
    assert_eq!(accepted, 1);
    cell.play();
    let counts = cell.campaign("return").counts;
    assert_eq!((counts.shards_in(ShardState::Open), counts.shards_in(ShardState::Held)), (4_004, 36));
}

fn tolerant() -> Plan {
    let mut plan = plan("return");
    plan.waves.error_budget_canary = Ppm::ONE;
    plan
}

#[test]
fn selections_must_be_meant() {
    let mut cell = Cell::with_fleet(1, 1);
    let close = |selector| Verb::Close { selector, reason: "r".to_owned() };
    assert_eq!(cell.ask(close(Selector::default())), Err(Refusal::SelectorUnbounded));
    assert_eq!(cell.ask(close(only("zz"))), Err(Refusal::ShardUnknown(shard("zz"))));
    let wave = Selector { wave: Some(WaveNo::from_raw(0)), ..Selector::default() };
    assert!(matches!(cell.ask(close(wave)), Err(Refusal::SelectorInvalid { .. })));
    let retry = cell.ask(Verb::Retry { selector: all() });
    assert!(matches!(retry, Err(Refusal::NothingToDo { matched: 1, .. })));
}

#[test]
fn prioritised_shards_open_with_the_next_wave() {
    let mut cell = Cell::with_fleet(1, 6);
    cell.start(waves(vec![Share::Shards(1), Share::Shards(1), Share::Rest]));
    let last = cell.rehearse(Verb::Close { selector: all(), reason: "r".to_owned() }).unwrap();
    assert_eq!(last.shards, 6);
    let in_last_wave = Selector {
        campaign: Some(campaign("return")),
        wave: Some(WaveNo::from_raw(2)),
        ..Selector::default()
    };
    let views = cell.engine.shard_views(&in_last_wave, None, 10);
    let id = views.last().unwrap().shard.shard;
    cell.ask(Verb::Prioritise { selector: only(id.as_str()) }).unwrap();
    cell.play();
    assert_eq!(cell.state(id.as_str()), ShardState::Open);
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 2);
    cell.assert_replays();
}

/// T2: what makes no sense, or covers nothing, or overlaps, is refused with the place.
#[test]
fn bad_plans_are_refused() {
    let mut cell = Cell::with_fleet(2, 2);
    let found =
        problems(&mut cell, waves(vec![Share::Mailboxes(percent("60%")), Share::Mailboxes(percent("50%"))]));
    assert_eq!(found[0].0, "waves.list[1]");
    let found = problems(&mut cell, waves(vec![Share::Mailboxes(percent("25%"))]));
    assert!(found[0].1.contains("after 1 wave some shards are left over"), "{found:?}");
    let mut nothing = plan("return");
    nothing.covers = Coverage::Shards(vec![shard("zz")]);
    assert_eq!(problems(&mut cell, nothing)[0].0, "covers.shards");
    let mut unverified = plan("return");
    unverified.policy.coverage_min = Ppm::ZERO;
    assert_eq!(problems(&mut cell, unverified)[0].0, "verify.coverage");
    cell.start(plan("first"));
    let found = problems(&mut cell, plan("second"));
    assert!(found[0].1.contains("is in campaign first"), "{found:?}");
    assert_eq!(
        cell.ask(Verb::Start { plan: Box::new(plan("first")), source: Digest::ZERO }),
        Err(Refusal::CampaignExists(campaign("first")))
    );
}

/// T15: no wave takes more than its part of one rack; a cap that can never be kept refuses the plan.
#[test]
fn waves_keep_the_caps_of_failure_domains() {
    let mut cell = Cell::with_fleet(2, 4);
    let rack = LabelKey::new("rack").unwrap();
    let mut capped = waves(vec![Share::Rest]);
    capped.waves.domain_caps = vec![DomainCap { label: rack, max: percent("25%") }];
    let found = problems(&mut cell, capped.clone());
    assert_eq!(found[0].0, "waves.domain_caps");
    let said = "has 400 mailboxes, of which a wave may take 100 (25%): that needs 4 waves, and there are 1;";
    assert!(found[0].1.contains(said), "{found:?}");
    capped.waves.schedule = Schedule::List(vec![Share::Shards(8); 4]);
    let forecast = cell.engine.forecast(&capped, [1; 32]).unwrap();
    for wave in &forecast {
        let of_a = wave.shards.iter().filter(|id| id.as_str().starts_with('a')).count();
        assert_eq!((of_a, wave.shards.len()), (1, 2));
    }
    capped.waves.domain_caps[0].max = percent("10%");
    assert!(problems(&mut cell, capped)[0].1.contains("can never be taken at once"));
}

/// T15, T22: shards that are large beside their caps fit in some orders only; no seed is refused for the order it draws first.
#[test]
fn no_seed_is_refused_for_its_luck() {
    let mut cell = Cell::new();
    cell.connect_in("a", "r1");
    let sizes = [("a1", 30), ("a2", 30), ("a3", 20), ("a4", 20)];
    cell.inventory("a", sizes.map(|(id, mailboxes)| Claim { mailboxes, ..claim(id, "a") }).to_vec());
    let mut capped = waves(vec![Share::Mailboxes(percent("50%")), Share::Rest]);
    capped.seed = None;
    let rack = LabelKey::new("rack").unwrap();
    capped.waves.domain_caps = vec![DomainCap { label: rack, max: percent("50%") }];
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..=255 {
        let forecast = cell.engine.forecast(&capped, [seed; 32]).unwrap();
        let sizes: Vec<_> = forecast.iter().map(|wave| wave.mailboxes).collect();
        assert_eq!(sizes, [50, 50], "seed {seed}");
        firsts.insert(forecast[0].shards.clone());
    }
    assert!(firsts.len() >= 4, "the order is drawn, not chosen: {firsts:?}");
    capped.waves.domain_caps[0].max = percent("45%");
    let refusals = |cell: &Cell, plan: &Plan| -> Vec<Vec<PlanProblem>> {
        (0..=255).map(|seed| cell.engine.forecast(plan, [seed; 32]).unwrap_err()).collect()
    };
    let fits_not = |cell: &Cell, plan: &Plan, said: &str| {
        let refused = refusals(cell, plan);
        assert!(refused[0][0].problem.contains(said), "{:?}", refused[0]);
        assert!(refused.iter().all(|problems| problems == &refused[0]), "the same words for every seed");
    };
    fits_not(&cell, &capped, "that needs 3 waves, and there are 2");
    let sizes = [("a1", 30), ("a2", 30), ("a3", 30), ("a4", 20)];
    cell.inventory("a", sizes.map(|(id, mailboxes)| Claim { mailboxes, ..claim(id, "a") }).to_vec());
    capped.waves.domain_caps[0].max = percent("50%");
    fits_not(&cell, &capped, "has 3 shards of 30 or more mailboxes");
    capped.waves.domain_caps[0].max = percent("20%");
    fits_not(&cell, &capped, "shard a1 alone holds 30 of the 110 mailboxes");
    capped.waves.schedule = Schedule::List(vec![Share::Mailboxes(percent("40%"))]);
    capped.waves.domain_caps.clear();
    fits_not(&cell, &capped, "some shards are left over");
}

/// T3: a revision is shown with the waves that it then makes, without those that have begun.
#[test]
fn a_revision_is_shown_as_it_is_made() {
    let mut cell = Cell::with_fleet(2, 4);
    let smaller = waves(vec![Share::Shards(1), Share::Shards(2), Share::Shards(3), Share::Rest]);
    let names = |found: Vec<PlanProblem>| found.into_iter().map(|p| p.field).collect::<Vec<_>>();
    assert_eq!(names(cell.engine.forecast_revision(&smaller).unwrap_err()), ["name"]);
    cell.start(waves(vec![Share::Shards(1), Share::Rest]));
    let shown = cell.engine.forecast_revision(&smaller).unwrap();
    assert_eq!(shown.iter().map(|wave| wave.wave.raw()).collect::<Vec<_>>(), [1, 2, 3]);
    cell.ask(Verb::Revise { plan: Box::new(smaller.clone()), source: Digest::ZERO }).unwrap();
    for wave in shown {
        for id in wave.shards {
            assert_eq!(cell.view(id.as_str()).shard.member.unwrap().wave, wave.wave, "{id}");
        }
    }
    cell.ask(Verb::Abort { campaign: campaign("return") }).unwrap();
    assert_eq!(names(cell.engine.forecast_revision(&smaller).unwrap_err()), ["name"]);
}

/// Shares are parts of the mailboxes, not of the shards.
#[test]
fn waves_are_cut_by_mailboxes() {
    let mut cell = Cell::new();
    cell.connect("a", 1);
    let sizes = [("a1", 700), ("a2", 100), ("a3", 100), ("a4", 50), ("a5", 50)];
    let claims = sizes.map(|(id, mailboxes)| Claim { mailboxes, ..claim(id, "a") });
    cell.inventory("a", claims.to_vec());
    let mut shares =
        waves(vec![Share::Mailboxes(percent("10%")), Share::Mailboxes(percent("20%")), Share::Rest]);
    shares.classes = (1..=5).map(|no| class(&format!("a{no}"), no)).collect();
    let cut = |plan: &Plan| -> Vec<(u64, Vec<ShardId>)> {
        let waves = cell.engine.forecast(plan, [1; 32]).unwrap();
        waves.into_iter().map(|wave| (wave.mailboxes, wave.shards)).collect()
    };
    let expected = vec![
        (100, vec![shard("a5"), shard("a4")]),
        (200, vec![shard("a3"), shard("a2")]),
        (700, vec![shard("a1")]),
    ];
    assert_eq!(cut(&shares), expected);
}

fn class(id: &str, weight: u32) -> Class {
    Class { covers: Coverage::Shards(vec![shard(id)]), weight }
}

#[test]
fn growing_waves_cover_everything() {
    let cell = Cell::with_fleet(4, 25);
    let mut growing = plan("return");
    growing.waves.schedule = Schedule::Growth { first: percent("1%"), percent: 300, max: percent("25%") };
    let sizes: Vec<usize> =
        cell.engine.forecast(&growing, [1; 32]).unwrap().iter().map(|wave| wave.shards.len()).collect();
    assert_eq!(sizes, [1, 3, 9, 25, 25, 25, 12]);
}

/// T22: the order depends on the seed alone, and weights come first.
#[test]
fn the_order_cannot_be_guessed_from_names() {
    let cell = Cell::with_fleet(2, 20);
    let order = |plan: &Plan, seed: u8| -> Vec<ShardId> {
        let waves = cell.engine.forecast(plan, [seed; 32]).unwrap();
        waves.into_iter().flat_map(|wave| wave.shards).collect()
    };
    let mut drawn = plan("return");
    drawn.seed = None;
    assert_ne!(order(&drawn, 1), order(&drawn, 2));
    assert_eq!(order(&drawn, 1), order(&drawn, 1));
    drawn.classes = vec![Class { covers: Coverage::Shards(vec![shard("b7"), shard("a3")]), weight: 10 }];
    let first: Vec<ShardId> = order(&drawn, 5).into_iter().take(2).collect();
    assert!(first.contains(&shard("b7")) && first.contains(&shard("a3")));
}

/// A revision leaves begun waves alone, forms the rest again, and judges what is held by the new policy.
#[test]
fn a_revised_plan_takes_over() {
    let mut cell = Cell::with_fleet(1, 5);
    cell.start(waves(vec![Share::Shards(1), Share::Shards(1), Share::Rest]));
    cell.play_finding(&|_| Outcome::Damaged);
    let counts = cell.campaign("return").counts;
    let found = (counts.shards_in(ShardState::Held), counts.shards_in(ShardState::Waiting));
    assert_eq!(found, (4, 1), "four run at once; then the canary has lost all it may");
    let mut tolerant = waves(vec![Share::Shards(1), Share::Rest]);
    tolerant.policy.damaged_per_million_max = 10_000;
    cell.ask(Verb::Revise { plan: Box::new(tolerant), source: Digest::ZERO }).unwrap();
    let view = cell.campaign("return");
    assert_eq!((view.revision.raw(), view.waves.len()), (2, 2));
    let lost = canary_over(100, 100, Ppm::ZERO);
    assert_eq!(view.state, lost, "going on is a decision of its own");
    assert_eq!(view.counts.shards_in(ShardState::Verified), 4);
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    cell.play_finding(&|_| Outcome::Damaged);
    cell.pass(61);
    cell.play_finding(&|_| Outcome::Damaged);
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 5);
    cell.assert_replays();
}

#[test]
fn a_revision_releases_what_it_no_longer_covers() {
    let mut cell = Cell::with_fleet(1, 3);
    cell.start(waves(vec![Share::Shards(1), Share::Rest]));
    let in_first = Selector {
        campaign: Some(campaign("return")),
        wave: Some(WaveNo::from_raw(0)),
        ..Selector::default()
    };
    let first = cell.engine.shard_views(&in_first, None, 10)[0].shard.shard;
    let mut narrow = waves(vec![Share::Shards(1), Share::Rest]);
    narrow.covers = Coverage::Shards(vec![first]);
    cell.ask(Verb::Revise { plan: Box::new(narrow), source: Digest::ZERO }).unwrap();
    let counts = cell.engine.cell_view().unwrap().counts;
    assert_eq!((counts.shards_in(ShardState::Closed), counts.shards_in(ShardState::Verifying)), (2, 1));
    cell.assert_replays();
}

/// R8: an operator adopts what is already in service; it is never verified, and says so.
#[test]
fn adoption_is_a_decision() {
    let mut cell = Cell::with_fleet(1, 2);
    let adopt = |services| Verb::Adopt { selector: only("a1"), services, reason: "never closed".to_owned() };
    assert!(matches!(cell.ask(adopt(ServiceSet::NONE)), Err(Refusal::SelectorInvalid { .. })));
    cell.ask(adopt(ServiceSet::ALL)).unwrap();
    assert_eq!(cell.view("a1").shard.phase, Phase::Open { adopted: true });
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::ALL)]);
    assert_eq!(cell.start(plan("return")).shards, 1, "a restore leaves what is in service alone");
}

#[test]
fn exceptions_are_kept_and_bounded() {
    let mut cell = Cell::with_fleet(1, 1);
    let except = |no: u8, exception| Verb::Except {
        shard: shard("a1"),
        mailbox: MailboxId::from_raw([no; 16]),
        exception,
        reason: "court order".to_owned(),
    };
    for no in 0..64 {
        cell.ask(except(no, Some(Exception::Closed))).unwrap();
    }
    assert!(matches!(cell.ask(except(64, Some(Exception::Closed))), Err(Refusal::TooMany { max: 64, .. })));
    cell.ask(except(0, None)).unwrap();
    assert_eq!(cell.view("a1").shard.exceptions.len(), 63);
    assert_eq!(cell.ask(except(0, None)).unwrap().decided, None);
    cell.assert_replays();
}

/// R2, R12: what a silent node may still read counts in its failure domain; who waits for that is told so, and a raised limit
/// lets it go on.
#[test]
fn who_waits_for_a_silent_neighbour_is_told() {
    let rack = LabelKey::new("rack").unwrap();
    let mut cell = Cell::new();
    let limit = |max| FleetLimits { verifies_per_domain: [(rack, max)].into(), ..FleetLimits::default() };
    cell.ask(Verb::SetLimits { limits: limit(1) }).unwrap();
    cell.connect_in("a", "r");
    cell.inventory("a", vec![claim("a1", "a")]);
    let mut forgiving = plan("return");
    forgiving.waves.error_budget_canary = Ppm::ONE;
    cell.connect_in("b", "r");
    cell.inventory("b", vec![claim("b1", "b")]);
    cell.start(forgiving);
    let [(busy, _)] = cell.ordered().try_into().unwrap();
    let (gone, kept) = if busy == node("a") { ("a", "b") } else { ("b", "a") };
    let waits = |cell: &Cell| cell.view(&format!("{kept}1")).waiting_on;
    let on = |silent| {
        let value = LabelValue::new("r").unwrap();
        Some(WaitingOn::DomainBudget { label: rack, value, busy: 1, max: 1, silent })
    };
    assert_eq!(waits(&cell), on(0));
    cell.disconnect(gone);
    cell.pass_with(61, &[kept]);
    assert_eq!(waits(&cell), on(1));
    cell.ask(Verb::SetLimits { limits: limit(2) }).unwrap();
    assert_eq!(cell.state(&format!("{kept}1")), ShardState::Verifying);
    cell.assert_replays();
}

/// A campaign that has ended while a node is silent, and a shard of it is held for that alone.
fn ended_with_one_on_its_way() -> Cell {
    let mut cell = Cell::with_fleet(2, 1);
    let mut generous = plan("return");
    (generous.waves.error_budget_canary, generous.waves.error_budget) = (Ppm::ONE, Ppm::ONE);
    cell.start(generous);
    cell.disconnect("b");
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    for _ in 0..40 {
        cell.pass_with(10, &["a"]);
        cell.play();
    }
    assert_eq!((cell.state("a1"), cell.state("b1")), (ShardState::Open, ShardState::Held));
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.commands.clear();
    cell
}

/// T3, R8: what has ended and would go on by itself is aborted, and stays so when what kept its last shards is over.
#[test]
fn an_ended_campaign_that_would_go_on_is_aborted() {
    let mut cell = ended_with_one_on_its_way();
    let abort = || Verb::Abort { campaign: campaign("return") };
    assert!(cell.ask(abort()).unwrap().changes);
    assert!(!cell.ask(abort()).unwrap().changes, "it is so already");
    assert_eq!(cell.campaign("return").state, CampaignState::Aborted);
    cell.connect("b", 1);
    cell.inventory("b", vec![claim("b1", "b")]);
    cell.pass(400);
    assert_eq!((cell.ordered(), cell.told()), (vec![], vec![]));
    assert_eq!((cell.state("a1"), cell.state("b1")), (ShardState::Open, ShardState::Closed));
    cell.assert_replays();
}

/// T3, R8: the same is paused, and goes on when a person resumes it.
#[test]
fn an_ended_campaign_that_would_go_on_is_paused() {
    let mut cell = ended_with_one_on_its_way();
    let id = campaign("return");
    assert!(cell.ask(Verb::Pause { campaign: id }).unwrap().changes);
    assert_eq!(cell.campaign("return").state, CampaignState::Paused(PauseCause::Operator));
    let suspended = |c: &Command| matches!(c, Command::Send { order_kind: OrderKind::Suspend { .. }, .. });
    assert!(cell.commands.iter().any(suspended), "who is there is told");
    cell.connect("b", 1);
    cell.inventory("b", vec![claim("b1", "b")]);
    cell.pass(400);
    let started = |cell: &mut Cell| cell.ordered().iter().filter(|(_, task)| task.attempt.raw() > 1).count();
    assert_eq!((started(&mut cell), cell.told()), (0, vec![]));
    cell.ask(Verb::Resume { campaign: id }).unwrap();
    for _ in 0..40 {
        cell.play();
        cell.pass(10);
    }
    assert_eq!((cell.state("b1"), cell.campaign("return").state), (ShardState::Open, CampaignState::Ended));
    cell.assert_replays();
}

/// R8: what has ended for good is left as it is, and the receipt says so.
#[test]
fn an_ended_campaign_that_is_over_is_neither_paused_nor_aborted() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(plan("return"));
    cell.play();
    cell.pass(61);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    for verb in [Verb::Pause { campaign: campaign("return") }, Verb::Abort { campaign: campaign("return") }] {
        assert!(!cell.ask(verb).unwrap().changes);
        assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    }
}
