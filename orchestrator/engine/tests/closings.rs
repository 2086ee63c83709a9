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
    assert!(cell.ask(Verb::Close { selector: only(id), reason: "array alarm".to_owned() }).is_ok());
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
    let settle = Verb::Settle { selector: only(id), node: node("a"), reason: "copied".to_owned() };
    assert!(cell.ask(settle).is_ok());
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

/// An open shard that was closed and is to be verified again before its node has said a word.
fn closed_and_retried() -> Cell {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.play();
    close(&mut cell, "a1");
    assert!(retry(&mut cell, "a1").is_ok());
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::NONE)]);
    cell
}

fn ordered(cell: &mut Cell) -> Vec<(u32, TaskKind)> {
    cell.ordered().into_iter().map(|(_, task)| (task.attempt.raw(), task.action.kind())).collect()
}

/// R1: what may still be served is not verified, and a confirmation from before its closing opens nothing.
#[test]
fn nothing_is_verified_before_its_closing_is_confirmed() {
    let mut cell = closed_and_retried();
    assert_eq!(ordered(&mut cell), []);
    cell.seen("a", "a1", ServiceSet::NONE);
    assert_eq!(ordered(&mut cell), [(3, TaskKind::Verify)]);
    cell.result("a", "a1", 3, verified(Outcome::Clean, "a"));
    cell.result("a", "a1", 4, TaskEnd::Confirmed);
    assert_eq!(cell.state("a1"), ShardState::Opening, "the node has not confirmed that it serves again");
    cell.seen("a", "a1", ServiceSet::ALL);
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.assert_replays();
}

/// R1: what was told to open and is closed before the node has answered may be served too.
#[test]
fn an_opening_that_is_closed_is_confirmed_before_it_is_verified() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    cell.ordered();
    close(&mut cell, "a1");
    retry(&mut cell, "a1").unwrap();
    assert_eq!(ordered(&mut cell), []);
    cell.seen("a", "a1", ServiceSet::ALL);
    assert_eq!(ordered(&mut cell), [], "the answer to the order before the last");
    cell.seen("a", "a1", ServiceSet::NONE);
    assert_eq!(ordered(&mut cell), [(3, TaskKind::Verify)]);
    cell.assert_replays();
}

/// R1: a session that begins between closing and confirming tells what is served; so does the first one of another leader.
#[test]
fn a_session_tells_what_is_still_served() {
    let restarted = |cell: &mut Cell| cell.restart(Span::from_secs(1));
    let broken = |cell: &mut Cell| cell.disconnect("a");
    let away: [&dyn Fn(&mut Cell); 2] = [&restarted, &broken];
    for away in away {
        for served in [ServiceSet::NONE, ServiceSet::ALL] {
            let mut cell = closed_and_retried();
            away(&mut cell);
            cell.connect_with("a", 1, vec![], vec![(shard("a1"), served)]);
            if served != ServiceSet::NONE {
                assert_eq!(ordered(&mut cell), []);
                assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::NONE)]);
                cell.seen("a", "a1", ServiceSet::NONE);
            }
            assert_eq!(ordered(&mut cell), [(3, TaskKind::Verify)]);
            cell.play();
            cell.result("a", "a1", 3, verified(Outcome::Clean, "a"));
            cell.play();
            assert_eq!(cell.state("a1"), ShardState::Open);
            cell.assert_replays();
        }
    }
}

/// R6, R12: a node that never confirms a closing fails the shard: its tries stall, one after the other.
#[test]
fn a_closing_that_is_never_confirmed_fails_the_shard() {
    let mut cell = closed_and_retried();
    for _ in 0..40 {
        cell.pass(60);
    }
    assert_eq!(ordered(&mut cell), []);
    let phase = cell.view("a1").shard.phase;
    assert!(matches!(phase, Phase::Failed { last: TaskFailure::Stalled }), "{phase:?}");
    assert_eq!(cell.view("a1").shard.charge, Charge::Lost);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.assert_replays();
}

/// R1, T29: a person closes what a restored journal takes for open, and the node is asked although it seems to serve nothing.
#[test]
fn a_closing_of_what_is_in_doubt_is_confirmed() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.play();
    cell.disconnect("a");
    cell.disconnect("b");
    let origin = rientro_engine::Origin::Restored { above: None };
    cell.run(rientro_engine::Event::Lead { epoch: Epoch::from_raw(9), origin });
    let copy = Claim { volume: volume_of("c"), ..claim("a1", "a") };
    cell.connect_with("b", 1, vec![], vec![(shard("b1"), ServiceSet::ALL)]);
    cell.inventory("b", vec![Claim { services: ServiceSet::ALL, ..claim("b1", "b") }, copy]);
    cell.connect("a", 1);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Contested { .. })));
    cell.told();
    close(&mut cell, "a1");
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::NONE)]);
    cell.seen("a", "a1", ServiceSet::NONE);
    assert_eq!(cell.view("a1").shard.seen, ServiceSet::NONE);
    cell.assert_replays();
}
