//! Transition tests: what a wave may lose, who goes on in spite of it, and what that answers for (R6).
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_types::*;
use support::*;

/// What was lost when an operator resumed is forgiven; what is lost after that pauses again.
#[test]
fn resuming_forgives_what_was_lost() {
    let mut cell = Cell::with_fleet(1, 4);
    let mut slow = plan("return");
    slow.tries.attempts_max = 1;
    cell.ask(Verb::SetLimits { limits: FleetLimits { verifies_per_node: 1, ..FleetLimits::default() } })
        .unwrap();
    cell.start(slow);
    let fail = |cell: &mut Cell| {
        let (_, task) = cell.ordered().remove(0);
        let end = TaskEnd::Failed(TaskFailure::Interrupted);
        cell.result("a", task.shard.as_str(), task.attempt.raw(), end);
    };
    fail(&mut cell);
    assert!(matches!(cell.campaign("return").state, CampaignState::Paused(_)));
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    fail(&mut cell);
    assert!(matches!(
        cell.campaign("return").state,
        CampaignState::Paused(PauseCause::ErrorBudget { mailboxes_lost: 200, .. })
    ));
}

/// R6: a resumption forgives what is lost, not a number: when it comes back, others may not be lost in its place.
#[test]
fn what_was_forgiven_makes_no_room_for_other_losses() {
    let mut cell = Cell::with_fleet(1, 2);
    cell.ask(Verb::SetLimits { limits: FleetLimits { verifies_per_node: 1, ..FleetLimits::default() } })
        .unwrap();
    cell.start(plan("return"));
    let (_, first) = cell.ordered().remove(0);
    cell.result("a", first.shard.as_str(), 1, verified(Outcome::Damaged, "a"));
    assert!(matches!(cell.campaign("return").state, CampaignState::Paused(_)));
    assert_eq!(cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap().mailboxes_forgiven, 100);
    cell.ask(Verb::Retry { selector: only(first.shard.as_str()) }).unwrap();
    cell.play_finding(&|id| if id == first.shard { Outcome::Clean } else { Outcome::Damaged });
    let paused = canary_over(100, 200, Ppm::ZERO);
    assert_eq!(cell.campaign("return").state, paused);
    cell.assert_replays();
}

/// R6: who goes on without a silent node has not answered for the damage that is found when it is back; a node that falls
/// silent again has been answered for.
#[test]
fn an_absence_that_is_forgiven_hides_no_damage() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(plan("return"));
    let id = campaign("return");
    for _ in 0..2 {
        cell.disconnect("a");
        cell.pass_with(61, &["b"]);
        assert_eq!(cell.state("a1"), ShardState::Held);
        cell.ask(Verb::Resume { campaign: id }).unwrap();
        assert_eq!(cell.campaign("return").state, CampaignState::Running);
        let busy = Busy { shard: shard("a1"), attempt: AttemptNo::from_raw(1), kind: TaskKind::Verify };
        cell.connect_with("a", 1, vec![busy], Vec::new());
        assert_eq!(cell.campaign("return").state, CampaignState::Running);
    }
    assert_eq!(
        cell.ask(Verb::Resume { campaign: id }).unwrap(),
        Receipt { shards: 2, mailboxes: 200, ..Receipt::default() }
    );
    cell.result("a", "a1", 1, verified(Outcome::Damaged, "a"));
    assert!(matches!(
        cell.campaign("return").state,
        CampaignState::Paused(PauseCause::ErrorBudget { mailboxes_lost: 100, .. })
    ));
    cell.assert_replays();
}

/// R6: who goes on without a volume has answered for that loss alone: when the volume is back and its shards go on, what they
/// are lost to next is charged.
#[test]
fn a_loss_that_is_over_forgives_no_later_one() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(plan("return"));
    let id = campaign("return");
    let spent = |cell: &Cell| {
        let state = cell.campaign("return").state;
        matches!(state, CampaignState::Paused(PauseCause::ErrorBudget { mailboxes_lost: 100, .. }))
    };
    for _ in 0..2 {
        cell.inventory("a", vec![Claim { volume: volume_of("z"), ..claim("a1", "a") }]);
        assert!(spent(&cell));
        assert_eq!(cell.ask(Verb::Resume { campaign: id }).unwrap().mailboxes_forgiven, 100);
        cell.inventory("a", vec![claim("a1", "a")]);
        let wave = cell.campaign("return").waves[0];
        assert_eq!((held(&cell, "a1"), wave.mailboxes_lost, wave.mailboxes_lost_max), (None, 0, 0));
    }
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    assert!(spent(&cell));
    cell.assert_replays();
}

/// R6: who went on with one campaign has answered for nothing of another.
#[test]
fn what_one_campaign_was_forgiven_counts_in_the_next() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(plan("return"));
    cell.inventory("a", vec![Claim { volume: volume_of("z"), ..claim("a1", "a") }]);
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    cell.ask(Verb::Abort { campaign: campaign("return") }).unwrap();
    cell.start(plan("again"));
    let paused = canary_over(100, 200, Ppm::ZERO);
    assert_eq!(cell.campaign("again").state, paused);
    cell.assert_replays();
}

/// R6: a wave that passes by itself has been answered for by nobody: a smaller budget finds it wanting.
#[test]
fn a_wave_that_baked_forgives_nothing() {
    let mut cell = Cell::with_fleet(1, 4);
    let mut tolerant = plan("return");
    tolerant.waves.schedule = Schedule::List(vec![Share::Shards(2), Share::Rest]);
    tolerant.waves.error_budget_canary = percent("50%");
    cell.start(tolerant.clone());
    let wave = Some(WaveNo::from_raw(0));
    let of_canary = Selector { campaign: Some(campaign("return")), wave, ..Selector::default() };
    let ruined = cell.engine.shard_views(&of_canary, None, 1)[0].shard.shard;
    cell.play_finding(&|id| if id == ruined { Outcome::Damaged } else { Outcome::Clean });
    cell.pass(61);
    let wave = cell.campaign("return").waves[0];
    assert_eq!((wave.state, wave.mailboxes_lost), (WaveState::Passed, 100));
    tolerant.waves.error_budget_canary = percent("2%");
    cell.ask(Verb::Revise { plan: Box::new(tolerant), source: Digest::ZERO }).unwrap();
    let paused = canary_over(100, 200, percent("2%"));
    assert_eq!(cell.campaign("return").state, paused);
    assert_eq!(cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap().mailboxes_forgiven, 100);
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    cell.assert_replays();
}

/// What has gone to another campaign is not counted any more where it was, and not forgotten there either.
#[test]
fn what_another_campaign_took_is_told() {
    let mut cell = Cell::with_fleet(1, 4);
    let mut first = plan("return");
    first.covers = Coverage::Shards(vec![shard("a1"), shard("a2")]);
    cell.start(first);
    cell.ask(Verb::Abort { campaign: campaign("return") }).unwrap();
    assert_eq!(cell.campaign("return").shards_gone, 0);
    cell.start(Plan { covers: Coverage::Shards(vec![shard("a2"), shard("a3")]), ..plan("again") });
    let view = cell.campaign("return");
    assert_eq!((view.counts.shards_total(), view.shards_gone), (1, 1));
    assert_eq!(cell.campaign("again").shards_gone, 0);
    cell.assert_replays();
}
