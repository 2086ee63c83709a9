//! Transition tests: what becomes of shards that wait for an answer which does not come (R6, R12).
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::Event;
use rientro_types::*;
use support::*;

/// Why a shard is held, in words.
fn why(cell: &Cell, id: &str) -> String {
    held(cell, id).map(|reason| reason.to_string()).unwrap_or_default()
}

fn stopped(cell: &mut Cell, name: &str, id: ShardId, attempt: AttemptNo) {
    let incarnation = NodeIncarnation::from_raw(1);
    cell.run(Event::Stopped { node: node(name), incarnation, shard: id, attempt });
}

fn limit_per_node(cell: &mut Cell, verifies_per_node: u32) {
    let limits = FleetLimits { verifies_per_node, ..FleetLimits::default() };
    assert!(cell.ask(Verb::SetLimits { limits }).is_ok());
}

/// A plan that stalls early, gives up late and tolerates every loss.
fn tolerant() -> Plan {
    let mut plan = plan("return");
    plan.waves.error_budget_canary = Ppm::ONE;
    plan.tries.stall_timeout = Span::from_secs(20);
    plan.tries.attempts_max = 50;
    plan
}

fn in_state_of(cell: &Cell, state: ShardState) -> u64 {
    cell.campaign("return").counts.shards_in(state)
}

/// R6, R12: a node that is heard, and neither ends the tries that were given up nor says that they have ended, counts as lost at
/// the silence limit; when it frees its places its shards go on by themselves.
#[test]
fn a_node_that_frees_no_place_is_charged_and_goes_on_when_it_does() {
    let mut cell = Cell::with_fleet(1, 6);
    let mut plan = tolerant();
    plan.waves.error_budget_canary = Ppm::ZERO;
    cell.start(plan);
    let tries = cell.ordered();
    assert_eq!(tries.len(), 4);
    cell.pass(79);
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    assert_eq!(in_state_of(&cell, ShardState::Held), 0);
    cell.pass(2);
    assert_eq!(in_state_of(&cell, ShardState::Held), 6);
    assert_eq!(cell.campaign("return").state, canary_over(600, 600, Ppm::ZERO));
    assert!(why(&cell, "a1").contains("4 places of node a"), "{}", why(&cell, "a1"));
    let (_, first) = &tries[0];
    stopped(&mut cell, "a", first.shard, first.attempt);
    cell.pass(1);
    assert_eq!(in_state_of(&cell, ShardState::Held), 0);
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    assert_eq!(cell.ordered().len(), 1, "the place that is free again is used");
    cell.assert_replays();
}

/// T10: as long as one place is answered for, the others of its node hold nobody up.
#[test]
fn one_place_that_is_not_freed_holds_nobody() {
    let mut cell = Cell::with_fleet(1, 6);
    cell.start(tolerant());
    let tries = cell.ordered();
    let stuck = tries[0].1.shard;
    for (_, task) in tries.into_iter().skip(1) {
        cell.result("a", task.shard.as_str(), task.attempt.raw(), verified(Outcome::Clean, "a"));
    }
    let ours = |cell: &mut Cell| {
        for (_, task) in cell.ordered() {
            let end = match task.action {
                Action::Verify { .. } if task.shard == stuck => continue,
                Action::Verify { .. } => verified(Outcome::Clean, "a"),
                Action::Confirm { .. } => TaskEnd::Confirmed,
            };
            cell.result("a", task.shard.as_str(), task.attempt.raw(), end);
        }
        for (_, id, services) in cell.told() {
            cell.seen("a", id.as_str(), services);
        }
    };
    for _ in 0..20 {
        cell.pass(1);
        ours(&mut cell);
    }
    for _ in 0..70 {
        cell.pass(1);
        ours(&mut cell);
        assert_eq!(in_state_of(&cell, ShardState::Held), 0);
    }
    assert!(in_state_of(&cell, ShardState::Open) >= 2, "{:?}", cell.campaign("return").counts);
}

/// R6: a session that comes and goes does not begin the wait for its answers anew.
#[test]
fn a_node_that_comes_and_goes_answers_for_its_places() {
    let mut cell = Cell::with_fleet(1, 2);
    limit_per_node(&mut cell, 1);
    cell.start(tolerant());
    let (_, task) = cell.ordered().remove(0);
    cell.pass(21);
    let busy = Busy { shard: task.shard, attempt: task.attempt, kind: TaskKind::Verify };
    for _ in 0..6 {
        cell.pass(9);
        assert_eq!(in_state_of(&cell, ShardState::Held), 0);
        cell.disconnect("a");
        cell.connect_with("a", 1, vec![busy], Vec::new());
    }
    cell.pass(6);
    assert_eq!(in_state_of(&cell, ShardState::Held), 2);
    cell.assert_replays();
}

/// T27: a leader that has just taken over has waited for nothing yet.
#[test]
fn a_new_leader_begins_to_wait() {
    let mut cell = Cell::with_fleet(1, 2);
    limit_per_node(&mut cell, 1);
    cell.start(tolerant());
    let (_, task) = cell.ordered().remove(0);
    cell.pass(60);
    cell.restart(Span::from_secs(3_600));
    let busy = Busy { shard: task.shard, attempt: task.attempt, kind: TaskKind::Verify };
    cell.connect_with("a", 1, vec![busy], Vec::new());
    cell.pass(59);
    assert_eq!(in_state_of(&cell, ShardState::Held), 0);
    cell.pass(3);
    assert_eq!(in_state_of(&cell, ShardState::Held), 2);
    cell.assert_replays();
}

/// R6: confirmations have places of their own, and who waits for one of them in an open wave is held the same way.
#[test]
fn confirmations_that_free_no_place_are_charged() {
    let mut cell = Cell::with_fleet(1, 2);
    cell.ask(Verb::SetLimits { limits: FleetLimits { confirms_per_node: 1, ..FleetLimits::default() } })
        .unwrap();
    cell.start(tolerant());
    for (_, task) in cell.ordered() {
        cell.result("a", task.shard.as_str(), task.attempt.raw(), verified(Outcome::Clean, "a"));
    }
    let [(_, confirm)] = cell.ordered().try_into().unwrap();
    cell.pass(82);
    assert_eq!(in_state_of(&cell, ShardState::Held), 2);
    assert!(why(&cell, "a1").contains("the only place of node a"), "{}", why(&cell, "a1"));
    stopped(&mut cell, "a", confirm.shard, confirm.attempt);
    cell.pass(1);
    cell.play();
    cell.pass(60);
    cell.play();
    assert_eq!(in_state_of(&cell, ShardState::Open), 2);
    cell.assert_replays();
}

/// R6, R12: what a dead node keeps of a rack's places holds its neighbours, charges their wave, and lets the wave settle; a
/// raised limit lets them go on.
#[test]
fn who_waits_for_a_dead_neighbour_is_held() {
    let rack = LabelKey::new("rack").unwrap();
    let limit = |max| FleetLimits { verifies_per_domain: [(rack, max)].into(), ..FleetLimits::default() };
    let mut cell = Cell::new();
    cell.ask(Verb::SetLimits { limits: limit(1) }).unwrap();
    for name in ["a", "b"] {
        cell.connect_in(name, "r");
        cell.inventory(name, vec![claim(&format!("{name}1"), name)]);
    }
    cell.start(tolerant());
    let [(busy, _)] = cell.ordered().try_into().unwrap();
    let (gone, kept) = if busy == node("a") { ("a", "b") } else { ("b", "a") };
    let waiting = format!("{kept}1");
    cell.disconnect(gone);
    cell.pass_with(119, &[kept]);
    assert_eq!(cell.state(&waiting), ShardState::Waiting);
    cell.pass_with(3, &[kept]);
    assert_eq!(cell.state(&waiting), ShardState::Held);
    assert!(why(&cell, &waiting).contains("the only place of rack r"), "{}", why(&cell, &waiting));
    let wave = cell.campaign("return").waves[0];
    assert_eq!((wave.mailboxes_lost, cell.campaign("return").state), (200, CampaignState::Running));
    assert!(matches!(wave.state, WaveState::Baking { .. }), "{:?}", wave.state);
    cell.ask(Verb::SetLimits { limits: limit(2) }).unwrap();
    cell.pass_with(1, &[kept]);
    assert_eq!(cell.state(&waiting), ShardState::Verifying);
    cell.assert_replays();
}

/// R6: who goes on without a node that frees no place has answered for it, however often it does that.
#[test]
fn a_stuck_node_is_answered_for_once() {
    let mut cell = Cell::with_fleet(1, 2);
    limit_per_node(&mut cell, 1);
    let mut plan = tolerant();
    plan.waves.error_budget_canary = Ppm::ZERO;
    cell.start(plan);
    let id = campaign("return");
    let (_, task) = cell.ordered().remove(0);
    cell.pass(82);
    assert_eq!(cell.campaign("return").state, canary_over(200, 200, Ppm::ZERO));
    cell.ask(Verb::Resume { campaign: id }).unwrap();
    stopped(&mut cell, "a", task.shard, task.attempt);
    cell.pass(1);
    assert_eq!(cell.ordered().len(), 1);
    cell.pass(82);
    assert_eq!(in_state_of(&cell, ShardState::Held), 2);
    assert!(!matches!(cell.campaign("return").state, CampaignState::Paused(_)));
    cell.assert_replays();
}

/// R6: what is graver takes the place of a wait for a place, and so does the node's silence.
#[test]
fn what_is_graver_takes_the_place_of_a_wait() {
    let mut cell = Cell::with_fleet(1, 2);
    limit_per_node(&mut cell, 1);
    cell.start(tolerant());
    cell.pass(82);
    assert!(why(&cell, "a1").contains("the only place of node a"), "{}", why(&cell, "a1"));
    cell.inventory("a", vec![Claim { volume: volume_of("z"), ..claim("a1", "a") }]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::VolumeWrong { .. })));
    assert!(matches!(held(&cell, "a2"), Some(HeldReason::ShardMissing { .. })));
    cell.inventory("a", vec![claim("a1", "a"), claim("a2", "a")]);
    cell.pass(1);
    assert!(why(&cell, "a1").contains("the only place of node a"), "{}", why(&cell, "a1"));
    cell.disconnect("a");
    cell.pass_with(61, &[]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::NodeSilent { .. })));
    cell.connect("a", 1);
    assert_eq!(in_state_of(&cell, ShardState::Held), 0, "what it does not run has ended");
    cell.assert_replays();
}

/// R12: a shard whose node does not confirm an opening is held, with the node's name and for how long it was asked, when its
/// campaign ends; closing it ends the hold.
#[test]
fn an_overdue_opening_is_held_with_its_reason() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(tolerant());
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    cell.pass(31);
    assert_eq!(cell.state("a1"), ShardState::Held);
    assert!(why(&cell, "a1").contains("node a has not confirmed"), "{}", why(&cell, "a1"));
    assert_eq!(cell.campaign("return").waves[0].mailboxes_lost, 100);
    cell.pass(61);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.seen("a", "a1", ServiceSet::ALL);
    assert_eq!((cell.state("a1"), held(&cell, "a1")), (ShardState::Open, None));
    cell.assert_replays();
}

/// What is closed by a person waits for no confirmation of an opening.
#[test]
fn an_overdue_opening_can_be_closed() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(tolerant());
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    cell.pass(31);
    cell.ask(Verb::Close { selector: only("a1"), reason: "a test".to_owned() }).unwrap();
    assert_eq!((cell.state("a1"), held(&cell, "a1")), (ShardState::Closed, None));
    cell.assert_replays();
}
