//! Transitions that need several faults to meet: each of these sequences breaks a rule when one branch of the engine is left out.
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::{Engine, Event, Origin};
use rientro_types::*;
use support::*;

fn generous() -> Plan {
    let mut plan = plan("return");
    plan.waves.error_budget_canary = Ppm::ONE;
    plan.waves.error_budget = Ppm::ONE;
    plan
}

/// R12: a campaign ends while a silent node holds a shard; when the node is back the shard goes on, and the campaign with it.
#[test]
fn a_shard_released_after_the_end_goes_on() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.disconnect("b");
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    for _ in 0..40 {
        cell.pass_with(10, &["a"]);
        cell.play();
    }
    assert_eq!((cell.state("a1"), cell.state("b1")), (ShardState::Open, ShardState::Held));
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.connect("b", 1);
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    for _ in 0..40 {
        cell.pass_with(10, &["a", "b"]);
        cell.play();
    }
    assert_eq!(cell.state("b1"), ShardState::Open);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.assert_replays();
}

/// T29, R12: after a restore a shard that moves to a node whose session has begun is agreed on with its inventory.
#[test]
fn a_doubted_shard_that_moves_is_agreed_on() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.disconnect("a");
    cell.disconnect("b");
    drop(cell.step(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored }));
    cell.connect("b", 1);
    for _ in 0..30 {
        cell.pass_with(5, &["b"]);
    }
    let moved = Claim { volume: volume_of("a"), services: ServiceSet::ALL, ..claim("a1", "a") };
    cell.inventory("b", vec![claim("b1", "b"), moved]);
    cell.inventory("b", vec![claim("b1", "b"), moved]);
    let view = cell.view("a1").shard;
    assert_eq!(view.placement.node, node("b"));
    let expected = HeldReason::Disagreement { journal: ServiceSet::NONE, node: ServiceSet::ALL };
    assert_eq!(held(&cell, "a1"), Some(expected));
    cell.assert_replays();
}

/// T29: a person decides on what the node serves at that moment, and the node is told even if it once served just that.
#[test]
fn a_disagreement_is_told_as_it_is() {
    let mut cell = Cell::with_fleet(1, 1);
    let imap = ServiceSet::NONE.with(Service::Imap);
    for (epoch, served) in [(9, ServiceSet::ALL), (10, imap)] {
        cell.disconnect("a");
        drop(cell.step(Event::Lead { epoch: Epoch::from_raw(epoch), origin: Origin::Restored }));
        cell.connect_with("a", 1, vec![], vec![(shard("a1"), served)]);
        let expected = HeldReason::Disagreement { journal: ServiceSet::NONE, node: served };
        assert_eq!(held(&cell, "a1"), Some(expected));
    }
    cell.commands.clear();
    let reason = "customers need it".to_owned();
    cell.ask(Verb::Adopt { selector: only("a1"), services: ServiceSet::ALL, reason }).unwrap();
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::ALL)]);
    cell.commands.clear();
    cell.ask(Verb::Close { selector: only("a1"), reason: "no".to_owned() }).unwrap();
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::NONE)]);
    cell.assert_replays();
}

/// R1: a plan made stricter holds what is just being confirmed under the old one.
#[test]
fn a_stricter_plan_holds_what_is_being_confirmed() {
    let mut cell = Cell::with_fleet(1, 1);
    let mut tolerant = generous();
    tolerant.policy.damaged_per_million_max = 10_000;
    cell.start(tolerant);
    cell.result("a", "a1", 1, verified(Outcome::Damaged, "a"));
    assert_eq!(cell.state("a1"), ShardState::Confirming);
    cell.ask(Verb::Revise { plan: Box::new(generous()), source: Digest::ZERO }).unwrap();
    assert_eq!(cell.state("a1"), ShardState::Held);
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    assert_eq!(cell.state("a1"), ShardState::Held);
    cell.assert_replays();
}

/// R1: a plan that is revised between two steps closes nothing that is open, and leaves nothing closed that it opens.
#[test]
fn a_revision_between_two_steps_closes_nothing() {
    let set = |services: &[Service]| services.iter().copied().collect::<ServiceSet>();
    let (front, back) = (set(&[Service::Webmail, Service::Imap]), set(&[Service::Pop, Service::Delivery]));
    let submission = set(&[Service::Submission]);
    for (first, then, steps) in [
        (vec![ServiceSet::ALL], vec![front, back, submission], vec![ServiceSet::ALL]),
        (vec![front, back, submission], vec![ServiceSet::ALL], vec![front, ServiceSet::ALL]),
        (
            vec![front, back, submission],
            vec![back, front, submission],
            vec![front, front.union(back), ServiceSet::ALL],
        ),
    ] {
        let mut cell = Cell::with_fleet(1, 1);
        let (mut before, mut after) = (generous(), generous());
        (before.opening.steps, after.opening.steps) = (first, then);
        cell.start(before);
        cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
        cell.result("a", "a1", 2, TaskEnd::Confirmed);
        cell.ask(Verb::Revise { plan: Box::new(after), source: Digest::ZERO }).unwrap();
        for services in steps {
            assert_eq!((cell.state("a1"), cell.view("a1").shard.services), (ShardState::Opening, services));
            cell.seen("a", "a1", services);
        }
        assert_eq!((cell.state("a1"), cell.view("a1").shard.services), (ShardState::Open, ServiceSet::ALL));
        cell.assert_replays();
    }
}

/// R4: an engine made from a snapshot gives the next shard brought forward the same rank, also when the one brought forward
/// before it has left the campaign.
#[test]
fn ranks_follow_from_the_snapshot() {
    let mut cell = Cell::with_fleet(1, 6);
    let mut plan = generous();
    plan.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Shards(1), Share::Rest]);
    cell.start(plan.clone());
    let last_wave = |cell: &Cell| {
        let wave = Some(WaveNo::from_raw(2));
        let selector = Selector { campaign: Some(campaign("return")), wave, ..Selector::default() };
        cell.engine.shard_views(&selector, None, 10)
    };
    let first = last_wave(&cell)[0].shard.shard;
    cell.ask(Verb::Prioritise { selector: only(first.as_str()) }).unwrap();
    let others = (1..=6).map(|at| shard(&format!("a{at}"))).filter(|id| *id != first).collect();
    plan.covers = Coverage::Shards(others);
    cell.ask(Verb::Close { selector: only(first.as_str()), reason: "leaves".to_owned() }).unwrap();
    cell.ask(Verb::Revise { plan: Box::new(plan), source: Digest::ZERO }).unwrap();
    let mut restored = Engine::new();
    cell.engine.snapshot().for_each(|record| restored.restore(record).unwrap());
    let known = cell.journal.len();
    let second = last_wave(&cell)[0].shard.shard;
    cell.ask(Verb::Prioritise { selector: only(second.as_str()) }).unwrap();
    cell.journal[known..].iter().for_each(|entry| restored.replay(entry).unwrap());
    assert_eq!(restored.snapshot().collect::<Vec<_>>(), cell.engine.snapshot().collect::<Vec<_>>());
}

/// R6, R12: a step that was confirmed while a second claim held its shard is not overdue, and goes on when the claim is gone.
#[test]
fn a_confirmed_step_is_never_overdue() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.result("b", "b1", 1, verified(Outcome::Clean, "b"));
    cell.result("b", "b1", 2, TaskEnd::Confirmed);
    cell.seen("b", "b1", ServiceSet::ALL);
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    assert_eq!(cell.state("a1"), ShardState::Opening);
    let copy = Claim { volume: volume_of("c"), ..claim("a1", "a") };
    cell.inventory("b", vec![claim("b1", "b"), copy]);
    cell.seen("a", "a1", ServiceSet::ALL);
    for _ in 0..40 {
        cell.pass_with(10, &["a", "b"]);
    }
    assert_eq!(cell.state("a1"), ShardState::Held);
    assert!(matches!(cell.view("a1").shard.phase, Phase::Opening { overdue: false, .. }));
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.inventory("b", vec![claim("b1", "b")]);
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.assert_replays();
}
