//! Transition tests for what the simulator has found: each stands for a seed that once broke a rule.
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::{Event, Origin};
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
    assert_eq!(view.blocked, Some(expected));
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
        assert_eq!(cell.view("a1").shard.blocked, Some(expected));
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
