//! Transition tests: what a closing undoes, and what waits until the shard's node has confirmed it.
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

fn close(cell: &mut Cell, id: &str) {
    cell.ask(Verb::Close { selector: only(id), reason: "array alarm".to_owned() }).unwrap();
}

fn retry(cell: &mut Cell, id: &str) -> Result<Receipt, Refusal> {
    cell.ask(Verb::Retry { selector: only(id) })
}

/// Another volume is mounted where the shard is, and an operator says that it is the right one.
fn settle_on(cell: &mut Cell, id: &str, volume: &str, others: &[&str]) {
    let shown = Claim { volume: volume_of(volume), ..claim(id, "a") };
    let others = others.iter().map(|id| claim(id, "a"));
    cell.inventory("a", others.chain([shown]).collect());
    assert!(matches!(held(cell, id), Some(HeldReason::VolumeWrong { .. })));
    cell.ask(Verb::Settle { selector: only(id), node: node("a"), reason: "copied".to_owned() }).unwrap();
    assert_eq!(cell.view(id).shard.placement.volume, volume_of(volume));
}

/// R12: what is in service without a wave leaves its campaign when another volume closes it: no wave would bring it back.
#[test]
fn another_volume_closes_out_of_a_campaign_without_a_wave() {
    let mut cell = Cell::with_fleet(1, 2);
    let mut plan = generous();
    plan.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Rest]);
    cell.start(plan.clone());
    let second = |id: &&str| cell.view(id).shard.member.unwrap().wave == WaveNo::from_raw(1);
    let [late, early] = if second(&"a1") { ["a1", "a2"] } else { ["a2", "a1"] };
    close(&mut cell, late);
    let reason = "customers are in".to_owned();
    cell.ask(Verb::Adopt { selector: only(late), services: ServiceSet::ALL, reason }).unwrap();
    plan.waves.bake = Span::from_secs(61);
    cell.ask(Verb::Revise { plan: Box::new(plan), source: Digest::ZERO }).unwrap();
    let members = |cell: &Cell| cell.campaign("return").counts.shards_total();
    assert_eq!((members(&cell), cell.view(late).shard.member), (2, None), "in no wave of its campaign");
    settle_on(&mut cell, late, "z", &[early]);
    assert_eq!((cell.state(late), members(&cell)), (ShardState::Closed, 1));
    assert!(matches!(retry(&mut cell, late), Err(Refusal::NothingToDo { .. })));
    cell.play();
    cell.pass(62);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.assert_replays();
}

/// R6: what another volume closes is closed by decision, and no loss of its wave any more.
#[test]
fn another_volume_closes_without_a_charge() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    assert_eq!(cell.state("a1"), ShardState::Opening);
    settle_on(&mut cell, "a1", "z", &[]);
    assert_eq!((cell.state("a1"), cell.view("a1").shard.charge), (ShardState::Closed, Charge::None));
    assert_eq!(cell.campaign("return").waves[0].mailboxes_lost, 0);
    cell.assert_replays();
}
