//! Transition tests for what the simulator has found: each stands for a seed that once broke a rule.
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

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
