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
    drop(cell.step(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } }));
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
        drop(
            cell.step(Event::Lead {
                epoch: Epoch::from_raw(epoch),
                origin: Origin::Restored { above: None },
            }),
        );
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

/// T29: a life begins above every one that was met, whatever the clock and the backup say, and counts its tries from there.
#[test]
fn a_life_begins_above_what_was_met() {
    let mut cell = Cell::with_fleet(1, 1);
    let met = Incarnation::from_raw(3_000_000_000);
    for (epoch, above, expected) in [(9, Some(met), met.next()), (10, None, met.next().next())] {
        cell.disconnect("a");
        cell.run(Event::Lead { epoch: Epoch::from_raw(epoch), origin: Origin::Restored { above } });
        assert_eq!(cell.engine.cell_view().unwrap().incarnation, expected);
        assert_eq!(cell.view("a1").shard.attempt.raw(), expected.raw());
    }
    let now = cell.engine.now().unix_ms() / 1_000;
    assert!(now < u64::from(met.raw()), "the clock is behind it");
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
    assert!(matches!(cell.view("a1").shard.phase, Phase::Opening { .. }));
    assert!(
        cell.view("a1").shard.blocked.is_some_and(|hold| matches!(hold.reason, HeldReason::Contested { .. }))
    );
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.inventory("b", vec![claim("b1", "b")]);
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.assert_replays();
}

/// A cell whose backup has `a1` on node `a`, closed or open, and in which its volume was remounted to node `b` and opened since.
/// Node `a` has nothing mounted.
fn moved_since(journal: ServiceSet) -> Cell {
    let mut cell = Cell::with_fleet(2, 1);
    if !journal.is_empty() {
        let reason = "it is".to_owned();
        let adopted = cell.ask(Verb::Adopt { selector: only("a1"), services: journal, reason });
        assert!(adopted.is_ok(), "{adopted:?}");
    }
    cell.engine = cell.assert_replays();
    cell.commands.clear();
    cell.run(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } });
    cell
}

fn greet_from_b(cell: &mut Cell) {
    cell.connect_with("b", 1, vec![], vec![(shard("a1"), ServiceSet::ALL)]);
}

fn list_from_b(cell: &mut Cell) {
    let moved = Claim { volume: volume_of("a"), services: ServiceSet::ALL, ..claim("a1", "a") };
    cell.inventory("b", vec![claim("b1", "b"), moved]);
}

/// T28, T29: what has moved since the backup and is served where it is now is not closed there, in whatever order the nodes
/// speak: it is held for a person, or agreed on where both say that it is open.
#[test]
fn what_moved_since_the_backup_is_closed_by_nobody() {
    let hello_a: fn(&mut Cell) = |cell| cell.connect("a", 1);
    let list_a: fn(&mut Cell) = |cell| cell.inventory("a", vec![]);
    let stale_a: fn(&mut Cell) =
        |cell| cell.connect_with("a", 1, vec![], vec![(shard("a1"), ServiceSet::ALL)]);
    for journal in [ServiceSet::NONE, ServiceSet::ALL] {
        let mut orders: Vec<[fn(&mut Cell); 4]> = Vec::new();
        for hello_a in [hello_a, stale_a] {
            orders.push([hello_a, list_a, greet_from_b, list_from_b]);
            orders.push([greet_from_b, hello_a, list_a, list_from_b]);
            orders.push([greet_from_b, list_from_b, hello_a, list_a]);
            orders.push([hello_a, greet_from_b, list_from_b, list_a]);
            orders.push([hello_a, greet_from_b, list_a, list_from_b]);
        }
        for (at, order) in orders.into_iter().enumerate() {
            let mut cell = moved_since(journal);
            for (step, says) in order.into_iter().enumerate() {
                let told_from = cell.told();
                says(&mut cell);
                let to_b = cell.told().into_iter().chain(told_from).find(|(to, ..)| *to == node("b"));
                assert_eq!(to_b, None, "{journal}, order {at}, step {step}");
            }
            let view = cell.view("a1").shard;
            assert_eq!(view.placement.node, node("b"), "{journal}, order {at}");
            let expected = HeldReason::Disagreement { journal, node: ServiceSet::ALL };
            let agreed = journal == ServiceSet::ALL;
            assert_eq!(held(&cell, "a1"), (!agreed).then_some(expected), "{journal}, order {at}");
            assert_eq!((view.services, view.doubted), (journal, !agreed), "{journal}, order {at}");
            cell.assert_replays();
            if agreed {
                continue;
            }
            let reason = || "looked at".to_owned();
            cell.ask(Verb::Adopt { selector: only("a1"), services: ServiceSet::ALL, reason: reason() })
                .unwrap();
            assert_eq!((cell.state("a1"), cell.view("a1").shard.doubted), (ShardState::Open, false));
            assert!(!cell.told().iter().any(|(to, _, services)| *to == node("b") && services.is_empty()));
            cell.ask(Verb::Close { selector: only("a1"), reason: reason() }).unwrap();
            assert_eq!(cell.told(), [(node("b"), shard("a1"), ServiceSet::NONE)]);
            cell.assert_replays();
        }
    }
}

/// T28, T29: a shard that stayed where it was in the backup is not agreed on while another node that serves it may have it
/// too; who served it beside its node is told to stop once the doubt is over, be it that it lists without it or is gone.
#[test]
fn whoever_serves_what_it_does_not_have_is_told_to_stop_after_the_doubt() {
    let mut cell = moved_since(ServiceSet::NONE);
    greet_from_b(&mut cell);
    cell.connect("a", 1);
    cell.inventory("a", vec![claim("a1", "a")]);
    assert!(cell.view("a1").shard.doubted && cell.told().is_empty(), "b has not listed what it has");
    cell.inventory("b", vec![claim("b1", "b")]);
    assert_eq!(cell.told(), [(node("b"), shard("a1"), ServiceSet::NONE)]);
    assert_eq!((held(&cell, "a1"), cell.view("a1").shard.doubted), (None, false));
    cell.assert_replays();

    let mut cell = moved_since(ServiceSet::NONE);
    greet_from_b(&mut cell);
    cell.connect("a", 1);
    cell.inventory("a", vec![claim("a1", "a")]);
    cell.disconnect("b");
    cell.pass_with(1, &["a"]);
    assert_eq!((held(&cell, "a1"), cell.view("a1").shard.doubted), (None, false));
    greet_from_b(&mut cell);
    assert_eq!(cell.told(), [(node("b"), shard("a1"), ServiceSet::NONE)]);
    cell.assert_replays();
}

/// T28, T29: a copy that is served beside the place the backup has for a shard is a question for a person, and so is what is
/// open; who is settled against is told to stop.
#[test]
fn a_copy_that_was_settled_on_since_the_backup_is_closed_by_nobody() {
    for settled in ["a", "b"] {
        let mut cell = moved_since(ServiceSet::NONE);
        greet_from_b(&mut cell);
        cell.connect("a", 1);
        cell.inventory("a", vec![claim("a1", "a")]);
        let copy = Claim { volume: volume_of("z"), services: ServiceSet::ALL, ..claim("a1", "b") };
        cell.inventory("b", vec![claim("b1", "b"), copy]);
        assert!(matches!(held(&cell, "a1"), Some(HeldReason::Contested { .. })));
        assert_eq!(cell.told(), []);
        let reason = "that one".to_owned();
        cell.ask(Verb::Settle { selector: only("a1"), node: node(settled), reason }).unwrap();
        let on_a = settled == "a";
        let stopped = (node("b"), shard("a1"), ServiceSet::NONE);
        assert_eq!(cell.told(), if on_a { vec![stopped] } else { vec![] });
        let open_there = HeldReason::Disagreement { journal: ServiceSet::NONE, node: ServiceSet::ALL };
        assert_eq!(held(&cell, "a1"), (!on_a).then_some(open_there));
        assert_eq!(cell.view("a1").shard.doubted, !on_a);
        cell.assert_replays();
    }
}

/// T29: what a node that does not show a shard serves of it ends no doubt; it is missing there.
#[test]
fn silence_about_what_is_not_shown_is_no_word() {
    for journal in [ServiceSet::NONE, ServiceSet::ALL] {
        let mut cell = moved_since(journal);
        cell.connect("a", 1);
        let expected = HeldReason::Disagreement { journal, node: ServiceSet::NONE };
        let agreed = journal.is_empty();
        let differs = (!agreed).then_some(expected);
        assert_eq!((held(&cell, "a1"), cell.view("a1").shard.doubted), (differs.clone(), true));
        cell.inventory("a", vec![]);
        let missing = HeldReason::ShardMissing { node: node("a") };
        assert_eq!((held(&cell, "a1"), cell.view("a1").shard.doubted), (Some(missing), true));
        cell.inventory("a", vec![claim("a1", "a")]);
        assert_eq!(held(&cell, "a1"), differs);
        assert_eq!(cell.view("a1").shard.doubted, !agreed);
        cell.assert_replays();
    }
}
