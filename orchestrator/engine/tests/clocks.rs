//! Transition tests: what moves the clocks of tries, bakes and deadlines, and what they stand still for.
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::Observation;
use rientro_types::*;
use support::*;

fn generous() -> Plan {
    let mut plan = plan("return");
    plan.waves.error_budget_canary = Ppm::ONE;
    plan.waves.error_budget = Ppm::ONE;
    plan
}

fn report(cell: &mut Cell, bytes: u64) {
    let progress = Progress { bytes, ..Progress::default() };
    let attempt = AttemptNo::from_raw(1);
    cell.observe(Observation::Progress { node: node("a"), shard: shard("a1"), attempt, progress });
}

/// The session of node `a` is gone for some seconds; its process, and its try, go on.
fn flap(cell: &mut Cell, secs: u64) {
    cell.disconnect("a");
    cell.pass_with(secs, &[]);
    let busy = Busy { shard: shard("a1"), attempt: AttemptNo::from_raw(1), kind: TaskKind::Verify };
    cell.connect_with("a", 1, vec![busy], Vec::new());
}

fn failure(cell: &Cell) -> Option<TaskFailure> {
    match cell.view("a1").shard.phase {
        Phase::Backoff { last, .. } => Some(last),
        _ => None,
    }
}

/// T4, R6: a session that flaps does not begin the progress clock of a hung try anew; nobody is charged for the seconds without
/// one, in which no advance could have been heard.
#[test]
fn a_flapping_session_does_not_move_the_progress_clock() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    let round = |cell: &mut Cell| {
        report(cell, 1_000);
        cell.pass(4);
        flap(cell, 2);
    };
    (0..74).for_each(|_| round(&mut cell));
    cell.pass(3);
    assert_eq!(cell.state("a1"), ShardState::Verifying, "it was heard for less than its stall timeout");
    cell.pass(2);
    assert_eq!(failure(&cell), Some(TaskFailure::Stalled));
    cell.assert_replays();
}

/// T4: what advances between two breaks of its session goes on, however often that breaks.
#[test]
fn an_advance_counts_on_a_flapping_session() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    for round in 1..100 {
        report(&mut cell, round);
        cell.pass(20);
        flap(&mut cell, 2);
    }
    assert_eq!(cell.state("a1"), ShardState::Verifying);
}

/// T27: an absence within the gap of a session is given back once, not twice.
#[test]
fn an_absence_without_a_session_is_given_back_once() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.pass(250);
    cell.disconnect("a");
    cell.pass_with(1, &[]);
    cell.now = cell.now + Span::from_secs(200);
    flap(&mut cell, 1);
    cell.pass(49);
    assert_eq!(cell.state("a1"), ShardState::Verifying);
    cell.pass(2);
    assert_eq!(failure(&cell), Some(TaskFailure::Stalled));
}

/// Two waves: the first bakes.
fn baking(bake: Span) -> (Cell, Plan) {
    let mut cell = Cell::with_fleet(1, 2);
    let mut plan = generous();
    plan.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Rest]);
    plan.waves.bake = bake;
    cell.start(plan.clone());
    cell.play();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 1);
    (cell, plan)
}

fn revise(cell: &mut Cell, plan: &Plan, bake: Span) {
    let mut plan = plan.clone();
    plan.waves.bake = bake;
    let revised = cell.ask(Verb::Revise { plan: Box::new(plan), source: Digest::ZERO });
    assert!(revised.is_ok_and(|receipt| receipt.changes));
}

/// The end of the first wave's bake.
fn bakes_until(cell: &Cell) -> Option<CellTime> {
    match cell.campaign("return").waves[0].state {
        WaveState::Baking { until } => Some(until),
        _ => None,
    }
}

const HALF: Span = Span::from_secs(1_800);

/// R3: a bake that a revision makes longer holds for the wave that bakes, from when that settled; so does one made shorter.
#[test]
fn a_revised_bake_holds_for_the_wave_that_bakes() {
    let (mut cell, plan) = baking(HALF);
    let settled = cell.now;
    cell.pass(600);
    revise(&mut cell, &plan, HALF.times(4));
    assert_eq!(bakes_until(&cell), Some(settled + HALF.times(4)));
    cell.pass(6_599);
    cell.play();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 1, "the next wave waits");
    cell.assert_replays();
    revise(&mut cell, &plan, HALF.times(5));
    cell.pass(2);
    assert_eq!(bakes_until(&cell), Some(settled + HALF.times(5)));
    revise(&mut cell, &plan, HALF.times(3));
    cell.play();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 2);
    cell.assert_replays();
}

/// R3: a bake beyond all time, made a bake that ends, counts at the latest from the revision, and never from the beginning of time.
#[test]
fn a_bake_without_end_can_be_given_one() {
    let (mut cell, plan) = baking(Span::from_ms(u64::MAX));
    cell.pass(600);
    revise(&mut cell, &plan, HALF);
    cell.pass(1_199);
    assert!(bakes_until(&cell).is_some());
    cell.pass(601);
    assert_eq!(bakes_until(&cell), None);
    cell.assert_replays();
}

/// T5, R6: waiting for an operator's promotion stops the deadline clocks. Whatever waits behind it is as it was, days later; what
/// has become too old to open on is verified again, and nobody is charged for that.
#[test]
fn waiting_for_a_promotion_stops_the_deadlines() {
    let mut cell = Cell::with_fleet(1, 3);
    let mut strict = plan("return");
    strict.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Rest]);
    strict.waves.promotion = Promotion::Manual;
    cell.start(strict);
    cell.play();
    cell.pass(61);
    let shards = |cell: &Cell| ["a1", "a2", "a3"].map(|id| cell.view(id).shard);
    let before = shards(&cell);
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Verified), 2);
    // Days in which the leader is never away: each step is just no absence.
    for _ in 0..4 * 24 * 400 {
        cell.now = cell.now + Span::from_secs(8);
        cell.pass(1);
    }
    assert_eq!(shards(&cell), before, "nothing fell due");
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    let wave = WaveNo::from_raw(0);
    cell.ask(Verb::Promote { campaign: campaign("return"), wave }).unwrap();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Verifying), 2, "too old to open on");
    cell.play();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 3);
    for shard in shards(&cell) {
        assert_eq!((shard.failures, shard.charge), (0, Charge::None), "{}", shard.shard);
    }
    cell.assert_replays();
}
