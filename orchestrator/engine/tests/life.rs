//! Transition tests: the way of a shard back into service, and everything that can stop it.
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::{Command, Observation, OrderKind};
use rientro_types::*;
use support::*;

#[test]
fn a_clean_fleet_comes_back_and_the_campaign_ends() {
    let mut cell = Cell::with_fleet(3, 4);
    let receipt = cell.start(plan("return"));
    assert_eq!((receipt.shards, receipt.mailboxes), (12, 1_200));
    cell.play();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 12);
    assert_eq!(cell.campaign("return").state, CampaignState::Running, "the wave bakes");
    cell.pass(61);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    assert_eq!(cell.view("a1").shard.services, ServiceSet::ALL);
    cell.assert_replays();
}

#[test]
fn the_steps_of_one_shard_are_exactly_these() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(plan("return"));
    let [(on, task)] = cell.ordered().try_into().unwrap();
    assert_eq!(
        (on, task.attempt.raw(), task.action),
        (node("a"), 1, Action::Verify { level: Level::Structure })
    );
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    let [(_, task)] = cell.ordered().try_into().unwrap();
    assert_eq!(task.action, Action::Confirm { stat_walk: Some(Digest::of(b"walk")) });
    assert_eq!(cell.told(), vec![], "nothing opens before it is confirmed");
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    assert_eq!(cell.state("a1"), ShardState::Opening);
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::ALL)]);
    cell.seen("a", "a1", ServiceSet::ALL);
    assert_eq!(cell.state("a1"), ShardState::Open);
    assert_eq!(cell.ordered(), vec![]);
}

#[test]
fn services_open_step_by_step() {
    let mut cell = Cell::with_fleet(1, 1);
    let mut steps = plan("return");
    let web = ServiceSet::NONE.with(Service::Webmail);
    let imap = ServiceSet::NONE.with(Service::Imap);
    steps.opening.steps = vec![web, imap];
    cell.start(steps);
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), web)]);
    cell.seen("a", "a1", web);
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), web.union(imap))]);
    assert_eq!(cell.state("a1"), ShardState::Opening);
    cell.seen("a", "a1", web.union(imap));
    assert_eq!(cell.state("a1"), ShardState::Open);
}

/// One shard that is being confirmed: try 2, ordered and not answered.
fn confirming() -> Cell {
    let mut patient = plan("return");
    patient.waves.error_budget_canary = Ppm::ONE;
    patient.tries.confirm_timeout = Span::from_secs(600);
    patient.policy.verified_age_max = Span::from_secs(120);
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(patient);
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    assert_eq!(cell.state("a1"), ShardState::Confirming);
    cell.ordered();
    cell
}

/// What happens to a cell, and how a failure calls it.
type Absence<'a> = (&'a str, &'a dyn Fn(&mut Cell));

/// R1: what a confirmation says was so when it was made. One that was asked for before the node, the leader or the campaign
/// was away is not of now: it is followed by another, and that one opens.
#[test]
fn a_confirmation_from_before_an_absence_opens_nothing() {
    let again = || Busy { shard: shard("a1"), attempt: AttemptNo::from_raw(2), kind: TaskKind::Confirm };
    let reconnected = |cell: &mut Cell| {
        cell.disconnect("a");
        cell.connect_with("a", 1, vec![again()], vec![]);
    };
    let restarted = |cell: &mut Cell| {
        cell.restart(Span::from_secs(2));
        cell.connect_with("a", 1, vec![again()], vec![]);
        cell.inventory("a", vec![claim("a1", "a")]);
    };
    let stood_still = |cell: &mut Cell| {
        cell.now = cell.now + Span::from_secs(73);
        cell.pass(1);
    };
    let silent = |cell: &mut Cell| {
        cell.pass_with(61, &[]);
        cell.pass(2);
    };
    let paused = |cell: &mut Cell| {
        cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap();
        cell.pass(3);
        cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    };
    let absences: [Absence<'_>; 5] = [
        ("its session broke", &reconnected),
        ("the orchestrator died", &restarted),
        ("the orchestrator stood still", &stood_still),
        ("the node was silent", &silent),
        ("the campaign was paused", &paused),
    ];
    for (what, happens) in absences {
        let mut cell = confirming();
        happens(&mut cell);
        cell.ordered();
        cell.result("a", "a1", 2, TaskEnd::Confirmed);
        assert_eq!(cell.state("a1"), ShardState::Confirming, "{what}");
        assert_eq!(cell.view("a1").shard.services, ServiceSet::NONE, "{what}");
        let asked: Vec<_> = cell.ordered().into_iter().map(|(_, task)| task.attempt.raw()).collect();
        assert_eq!(asked, [3], "{what}");
        cell.result("a", "a1", 3, TaskEnd::Confirmed);
        assert_eq!(cell.state("a1"), ShardState::Opening, "{what}");
        cell.assert_replays();
    }
}

/// R1: a verification that has become too old while it was being confirmed is made anew.
#[test]
fn a_confirmation_does_not_outlast_its_verification() {
    let mut cell = confirming();
    cell.pass(121);
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    assert_eq!((cell.state("a1"), cell.view("a1").shard.standing), (ShardState::Verifying, None));
    cell.assert_replays();
}

/// R1, R7: what is damaged, unreadable or unknown is held, and says why.
#[test]
fn only_a_passing_verdict_opens() {
    for outcome in [Outcome::Damaged, Outcome::Unreadable, Outcome::Unknown(UnknownCause::Empty)] {
        let mut cell = Cell::with_fleet(1, 2);
        let mut generous = plan("return");
        generous.waves.error_budget_canary = Ppm::ONE;
        cell.start(generous);
        cell.play_finding(&|id| if id == shard("a1") { outcome } else { Outcome::Clean });
        assert_eq!(cell.state("a1"), ShardState::Held, "{outcome:?}");
        assert_eq!(cell.state("a2"), ShardState::Open);
        cell.pass(61);
        assert_eq!(cell.campaign("return").state, CampaignState::Ended);
        cell.assert_replays();
    }
}

#[test]
fn a_held_shard_opens_when_an_operator_accepts_it_by_name() {
    let mut cell = Cell::with_fleet(1, 2);
    let mut generous = plan("return");
    generous.waves.error_budget_canary = Ppm::ONE;
    cell.start(generous);
    let damaged = |id| if id == shard("a1") { Outcome::Damaged } else { Outcome::Clean };
    cell.play_finding(&damaged);
    let nameless = Verb::Accept { selector: only("a1"), reason: "  ".to_owned() };
    assert_eq!(cell.ask(nameless), Err(Refusal::ReasonMissing));
    let receipt =
        cell.ask(Verb::Accept { selector: only("a1"), reason: "one newsletter".to_owned() }).unwrap();
    assert_eq!((receipt.shards, receipt.skipped), (1, 0));
    cell.play_finding(&damaged);
    assert_eq!(cell.state("a1"), ShardState::Open);
    assert_eq!(cell.view("a1").shard.accepted.unwrap().reason, "one newsletter");
    cell.assert_replays();
}

/// R1: a shard that is closed again must be verified again before it reopens.
#[test]
fn closing_forgets_the_verification() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(plan("return"));
    cell.play();
    cell.ask(Verb::Close { selector: only("a1"), reason: "array alarm".to_owned() }).unwrap();
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::NONE)]);
    assert_eq!(cell.state("a1"), ShardState::Closed);
    cell.seen("a", "a1", ServiceSet::NONE);
    cell.ask(Verb::Retry { selector: only("a1") }).unwrap();
    assert_eq!(cell.state("a1"), ShardState::Verifying);
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.assert_replays();
}

/// The size that was read outlasts the verification that read it: what is verified again is about as large. Nothing is known of a
/// part that was read, nor of another volume.
#[test]
fn a_size_outlasts_its_verification() {
    let mut cell = Cell::with_fleet(1, 1);
    let bytes = |cell: &Cell| cell.view("a1").shard.bytes;
    let close = || Verb::Close { selector: only("a1"), reason: "array alarm".to_owned() };
    let mut generous = plan("return");
    generous.waves.error_budget_canary = Ppm::ONE;
    cell.start(generous);
    let mut part = verification(Outcome::Clean, "a");
    part.verdict.coverage = percent("99%");
    cell.result("a", "a1", 1, TaskEnd::Verified { verification: part, damaged: vec![] });
    assert_eq!(bytes(&cell), 0);
    cell.ask(Verb::Retry { selector: only("a1") }).unwrap();
    cell.play();
    assert_eq!((cell.state("a1"), bytes(&cell)), (ShardState::Open, 1_000_000));
    cell.ask(close()).unwrap();
    cell.seen("a", "a1", ServiceSet::NONE);
    cell.inventory("a", vec![Claim { mailboxes: 101, ..claim("a1", "a") }]);
    assert_eq!((cell.view("a1").shard.standing, bytes(&cell)), (None, 1_000_000));
    cell.assert_replays();
    cell.inventory("a", vec![Claim { volume: volume_of("z"), ..claim("a1", "a") }]);
    cell.ask(Verb::Settle { selector: only("a1"), node: node("a"), reason: "copied".to_owned() }).unwrap();
    assert_eq!((cell.view("a1").shard.placement.volume, bytes(&cell)), (volume_of("z"), 0));
    cell.assert_replays();
}

#[test]
fn failed_tries_wait_longer_and_then_fail_the_shard() {
    let mut cell = Cell::with_fleet(1, 1);
    let mut generous = plan("return");
    generous.waves.error_budget_canary = Ppm::ONE;
    cell.start(generous);
    let broken = || TaskEnd::Failed(TaskFailure::Agent { problem: "no space".to_owned() });
    cell.result("a", "a1", 1, broken());
    assert_eq!(cell.state("a1"), ShardState::Backoff);
    cell.ordered();
    cell.pass(9);
    assert_eq!(cell.ordered(), vec![], "the first wait is at least ten seconds");
    cell.pass(5);
    assert_eq!(cell.ordered().len(), 1);
    cell.result("a", "a1", 2, broken());
    cell.pass(26);
    assert_eq!(cell.ordered().len(), 1);
    cell.result("a", "a1", 3, broken());
    assert_eq!(cell.state("a1"), ShardState::Failed);
    cell.pass(62);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.ask(Verb::Retry { selector: in_state(ShardState::Failed) }).unwrap();
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.assert_replays();
}

/// T1, R6: an agent that goes silent counts against the budget at its deadline, and is never taken for fine.
#[test]
fn a_silent_node_pauses_its_wave() {
    let mut cell = Cell::with_fleet(2, 2);
    cell.start(plan("return"));
    cell.pass_with(59, &["b"]);
    assert_eq!(cell.state("a1"), ShardState::Verifying);
    cell.pass_with(2, &["b"]);
    assert_eq!(cell.state("a1"), ShardState::Held);
    assert!(matches!(
        cell.campaign("return").state,
        CampaignState::Paused(PauseCause::ErrorBudget { mailboxes_lost: 200, mailboxes: 400, .. })
    ));
    let reason = held(&cell, "a1").unwrap();
    assert!(matches!(reason, HeldReason::NodeSilent { .. }), "{reason}");
    cell.assert_replays();
}

/// A node that was silent for a while goes on with the try it never stopped.
#[test]
fn a_returning_node_keeps_its_tries() {
    let mut cell = Cell::with_fleet(2, 1);
    let mut generous = plan("return");
    generous.waves.error_budget_canary = Ppm::ONE;
    cell.start(generous);
    cell.commands.clear();
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    assert_eq!(cell.state("a1"), ShardState::Held);
    let busy = Busy { shard: shard("a1"), attempt: AttemptNo::from_raw(1), kind: TaskKind::Verify };
    cell.connect_with("a", 1, vec![busy], Vec::new());
    assert_eq!(cell.state("a1"), ShardState::Verifying);
    let cancels =
        cell.commands.iter().any(|c| matches!(c, Command::Send { order_kind: OrderKind::Cancel { .. }, .. }));
    assert!(!cancels, "its try is still wanted");
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
}

/// T9: a result is acknowledged each time it comes; the second time it changes nothing. A late one is not swallowed into the
/// present try.
#[test]
fn results_answer_their_own_attempt() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(plan("return"));
    cell.commands.clear();
    for _ in 0..2 {
        cell.result("a", "a1", 1, TaskEnd::Failed(TaskFailure::Interrupted));
    }
    let acknowledged = cell.commands.iter().filter(|c| matches!(c, Command::Acknowledge { .. })).count();
    assert_eq!(acknowledged, 2);
    assert_eq!(cell.view("a1").shard.failures, 1);
    cell.pass(15);
    assert_eq!(cell.state("a1"), ShardState::Verifying);
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    assert_eq!(
        cell.state("a1"),
        ShardState::Verifying,
        "attempt 2 is under way, attempt 1 says nothing about it"
    );
    assert_eq!(cell.engine.ignored().duplicate, 2);
}

/// R2: an unanswered command counts as running until its receiver has told that it is not.
#[test]
fn a_cancelled_try_holds_its_place_until_the_node_lets_go() {
    let mut cell = Cell::with_fleet(1, 8);
    let limits = FleetLimits { verifies_per_node: 1, ..FleetLimits::default() };
    cell.ask(Verb::SetLimits { limits }).unwrap();
    cell.start(plan("first"));
    let [(_, task)] = cell.ordered().try_into().unwrap();
    cell.ask(Verb::Abort { campaign: campaign("first") }).unwrap();
    let mut again = plan("second");
    again.covers = Coverage::All;
    cell.start(again);
    assert_eq!(cell.ordered(), vec![], "the node may still be busy with the first campaign's try");
    cell.result("a", task.shard.as_str(), task.attempt.raw(), TaskEnd::Failed(TaskFailure::Cancelled));
    assert_eq!(cell.ordered().len(), 1);
    cell.assert_replays();
}

/// T15, R2: a failure domain's budget holds across its nodes.
#[test]
fn domains_share_their_budget() {
    let mut cell = Cell::new();
    for (name, rack) in [("a", "left"), ("b", "left"), ("c", "right")] {
        cell.connect_in(name, rack);
        cell.inventory(name, (1..=4).map(|no| claim(&format!("{name}{no}"), name)).collect());
    }
    let mut limits = FleetLimits::default();
    limits.verifies_per_domain.insert(LabelKey::new("rack").unwrap(), 2);
    cell.ask(Verb::SetLimits { limits }).unwrap();
    cell.start(plan("return"));
    let started = cell.ordered();
    let in_left = started.iter().filter(|(on, _)| *on != node("c")).count();
    assert_eq!((in_left, started.len()), (2, 4), "two in each rack, however many nodes it has");
}

/// T4: a try that reports no advance stalls, however often it restarts from zero.
#[test]
fn only_progress_moves_the_progress_clock() {
    let mut cell = Cell::with_fleet(1, 1);
    let mut generous = plan("return");
    generous.waves.error_budget_canary = Ppm::ONE;
    cell.start(generous);
    let report = |cell: &mut Cell, bytes| {
        let progress = Progress { bytes, ..Progress::default() };
        let attempt = AttemptNo::from_raw(1);
        cell.observe(Observation::Progress { node: node("a"), shard: shard("a1"), attempt, progress });
    };
    report(&mut cell, 1_000);
    cell.pass(200);
    report(&mut cell, 500);
    cell.pass(101);
    let phase = cell.view("a1").shard.phase;
    assert!(matches!(phase, Phase::Backoff { last: TaskFailure::Stalled, .. }), "{phase:?}");
}

/// T27: hours without an orchestrator fire no deadline.
#[test]
fn absence_is_charged_to_nobody() {
    let mut cell = Cell::with_fleet(2, 2);
    cell.start(plan("return"));
    cell.restart(Span::from_secs(7_200));
    cell.connect_with("a", 1, busy_with(&["a1", "a2"]), Vec::new());
    cell.connect_with("b", 1, busy_with(&["b1", "b2"]), Vec::new());
    cell.pass(5);
    assert_eq!(cell.state("a1"), ShardState::Verifying);
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    assert_eq!(cell.view("a1").shard.failures, 0);
}

/// A canary of one shard bakes for ten minutes; another shard waits for that.
fn baking() -> Cell {
    let mut cell = Cell::with_fleet(1, 2);
    let mut baking = plan("return");
    baking.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Rest]);
    baking.waves.bake = Span::from_secs(600);
    cell.start(baking);
    cell.play();
    cell
}

/// T27: a bake is a time of the world outside, and passes while nobody listens.
#[test]
fn a_bake_keeps_real_time() {
    let mut cell = baking();
    let wave = |cell: &Cell| cell.campaign("return").wave;
    assert_eq!(wave(&cell), Some(WaveNo::from_raw(0)));
    cell.restart(Span::from_secs(300));
    cell.connect("a", 1);
    assert_eq!(wave(&cell), Some(WaveNo::from_raw(0)), "half of it has passed");
    cell.restart(Span::from_secs(301));
    cell.connect("a", 1);
    assert_eq!(wave(&cell), Some(WaveNo::from_raw(1)));
}

/// R3: a wave that was called off shows nothing: what comes after it waits for a person, or for something that lives.
#[test]
fn a_wave_that_was_closed_passes_by_promotion_alone() {
    let mut cell = baking();
    let close =
        Verb::Close { selector: Selector { all: true, ..Selector::default() }, reason: "alarm".to_owned() };
    cell.ask(close).unwrap();
    cell.pass_with(700, &["a"]);
    let view = cell.campaign("return");
    assert_eq!((view.state, view.wave), (CampaignState::Running, Some(WaveNo::from_raw(0))));
    let (canary, other) = (view.waves[0].counts, view.waves[1].counts);
    assert!(canary.is_called_off() && other.is_called_off());
    cell.ask(Verb::Retry { selector: Selector { all: true, ..Selector::default() } }).unwrap();
    cell.play();
    let open =
        |cell: &Cell, wave: usize| cell.campaign("return").waves[wave].counts.shards_in(ShardState::Open);
    assert_eq!((open(&cell, 0), open(&cell, 1)), (1, 0), "the canary comes first again");
    let waiting = cell.state("a1") == ShardState::Verified || cell.state("a2") == ShardState::Verified;
    assert!(waiting, "the other one waits for the bake");
    cell.pass_with(700, &["a"]);
    cell.play();
    assert_eq!(open(&cell, 1), 1);
    cell.assert_replays();
}

fn busy_with(shards: &[&str]) -> Vec<Busy> {
    let busy = |id: &&str| Busy { shard: shard(id), attempt: AttemptNo::from_raw(1), kind: TaskKind::Verify };
    shards.iter().map(busy).collect()
}

/// T6: a command that was lost with its sender is sent again, as the same attempt.
#[test]
fn a_lost_order_is_sent_again() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(plan("return"));
    cell.commands.clear();
    cell.restart(Span::from_secs(1));
    assert_eq!(cell.ordered(), vec![], "nothing is sent to a node that has not reconciled");
    cell.connect("a", 1);
    let [(_, task)] = cell.ordered().try_into().unwrap();
    assert_eq!(task.attempt.raw(), 1);
}

/// T5: nothing is charged for the time of a pause.
#[test]
fn a_pause_stops_the_clocks() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(plan("return"));
    cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap();
    cell.pass(7_200);
    assert_eq!(cell.state("a1"), ShardState::Verifying);
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    cell.pass(200);
    assert_eq!(cell.state("a1"), ShardState::Verifying, "its progress clock stood still too");
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
}

/// A verification that has grown too old is made again before the shard opens.
#[test]
fn an_old_verification_expires() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(plan("return"));
    cell.ordered();
    cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap();
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    assert_eq!(cell.state("a1"), ShardState::Verified);
    cell.pass(7 * 3_600);
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    let [(_, task)] = cell.ordered().try_into().unwrap();
    assert!(matches!(task.action, Action::Verify { .. }));
}

/// What changed since its verification is verified again, and does not go round for ever.
#[test]
fn a_changed_shard_is_verified_again() {
    let mut cell = Cell::with_fleet(1, 1);
    let mut generous = plan("return");
    generous.waves.error_budget_canary = Ppm::ONE;
    cell.start(generous);
    for round in 0..3 {
        cell.result("a", "a1", 2 * round + 1, verified(Outcome::Clean, "a"));
        cell.result("a", "a1", 2 * round + 2, TaskEnd::Failed(TaskFailure::Changed));
        assert_eq!(cell.view("a1").shard.standing, None);
        cell.pass(120);
    }
    assert_eq!(cell.state("a1"), ShardState::Failed);
}

/// A result that may have waited on its node is as old as the try: nobody knows when it was made. One that came at once, from a
/// node that was in sight all the while or still at work when it came back, is of that moment, however long the try took.
#[test]
fn a_result_that_may_have_waited_is_as_old_as_its_try() {
    let made = |cell: &Cell| cell.view("a1").shard.standing.unwrap().at;
    let verifying = |cell: &Cell| (cell.state("a1"), cell.view("a1").shard.attempt.raw());
    let mut hasty = plan("return");
    hasty.waves.error_budget_canary = Ppm::ONE;
    hasty.policy.verified_age_max = Span::from_secs(120);
    let back = |cell: &mut Cell| {
        cell.connect("a", 1);
        cell.inventory("a", vec![claim("a1", "a")]);
    };
    let away: [&dyn Fn(&mut Cell); 4] = [
        // The leader sleeps, and wakes with the result in its hands.
        &|cell| cell.now = cell.now + Span::from_secs(60 * 60),
        &|cell| {
            cell.disconnect("a");
            back(cell);
        },
        &|cell| {
            cell.restart(Span::from_secs(1));
            back(cell);
        },
        &|cell| cell.pass_with(61, &[]),
    ];
    for away in away {
        let mut cell = Cell::with_fleet(1, 1);
        cell.start(hasty.clone());
        cell.pass(100);
        away(&mut cell);
        cell.pass(100);
        cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
        cell.pass(1);
        assert_eq!(verifying(&cell), (ShardState::Verifying, 2), "too old to be confirmed");
        let began = cell.view("a1").shard.since;
        cell.pass(30);
        cell.disconnect("a");
        back(&mut cell);
        cell.result("a", "a1", 2, verified(Outcome::Clean, "a"));
        assert_eq!((cell.state("a1"), made(&cell)), (ShardState::Confirming, began));
        cell.assert_replays();
    }
    let running = || Busy { shard: shard("a1"), attempt: AttemptNo::from_raw(1), kind: TaskKind::Verify };
    let in_sight: [&dyn Fn(&mut Cell); 2] = [&|_| (), &|cell| {
        cell.disconnect("a");
        cell.connect_with("a", 1, vec![running()], vec![]);
    }];
    for in_sight in in_sight {
        let mut cell = Cell::with_fleet(1, 1);
        cell.start(hasty.clone());
        cell.pass(200);
        in_sight(&mut cell);
        cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
        assert_eq!((cell.state("a1"), made(&cell)), (ShardState::Confirming, cell.now));
    }
}
