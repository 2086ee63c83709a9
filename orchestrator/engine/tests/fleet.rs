//! Transition tests: nodes that come, go, lie and swap volumes.
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::{Command, Engine, Event, OrderKind, Origin, Turnaway};
use rientro_types::*;
use support::*;

fn generous() -> Plan {
    let mut plan = plan("return");
    plan.waves.error_budget_canary = Ppm::ONE;
    plan
}

fn refused(cell: &Cell) -> Option<Turnaway> {
    cell.commands.iter().rev().find_map(|command| match command {
        Command::Refuse { turnaway, .. } => Some(*turnaway),
        _ => None,
    })
}

/// A node that registers with another node's name is turned away while that one is there.
#[test]
fn a_name_belongs_to_one_node() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.connect("a", 2);
    let holder = NodeIncarnation::from_raw(1);
    assert_eq!(refused(&cell), Some(Turnaway::NodeIdTaken { holder }));
    assert_eq!(cell.engine.node_view(node("a")).unwrap().incarnation, holder);
}

/// A reimaged node takes its name over when the old life is gone; the old life is refused for ever, its tries are void.
#[test]
fn a_reimaged_node_voids_its_tries() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.disconnect("a");
    cell.connect("a", 2);
    assert_eq!(refused(&cell), None);
    assert!(matches!(cell.view("a1").shard.phase, Phase::Backoff { last: TaskFailure::Reimaged, .. }));
    cell.disconnect("a");
    cell.connect("a", 1);
    let holder = NodeIncarnation::from_raw(2);
    assert_eq!(refused(&cell), Some(Turnaway::IncarnationRetired { holder }));
    cell.assert_replays();
}

/// T28: a volume remounted on another node is one shard with a new placement; its try on the old node is given up.
#[test]
fn a_remounted_volume_moves_its_shard() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.commands.clear();
    cell.inventory("a", vec![]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::ShardMissing { .. })));
    let moved = Claim { volume: volume_of("a"), ..claim("a1", "a") };
    cell.inventory("b", vec![claim("b1", "b"), moved]);
    let view = cell.view("a1").shard;
    assert_eq!((view.placement.node, view.placement.no.raw(), view.blocked), (node("b"), 2, None));
    let task = cell.ordered().into_iter().find(|(on, task)| *on == node("b") && task.shard == shard("a1"));
    assert_eq!(task.unwrap().1.attempt.raw(), 2);
    cell.assert_replays();
}

/// T4, T28: a volume that moves to and fro under running tries spends them; it does not begin for ever.
#[test]
fn a_flapping_volume_fails_its_shards() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    let b1 = || claim("b1", "b");
    for moves in 1..=3_u32 {
        assert_eq!(cell.state("a1"), ShardState::Verifying, "before move {moves}");
        let (left, right) = if moves % 2 == 1 { ("a", "b") } else { ("b", "a") };
        cell.inventory(left, if left == "b" { vec![b1()] } else { vec![] });
        let there = claim_on("a1", "a");
        cell.inventory(right, if right == "b" { vec![b1(), there] } else { vec![there] });
    }
    let view = cell.view("a1").shard;
    assert_eq!((view.failures, view.placement.node), (3, node("b")));
    assert!(matches!(view.phase, Phase::Failed { last: TaskFailure::ShardMissing }), "{:?}", view.phase);
    cell.play();
    cell.pass(61);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended, "the wave does not wait for it");
    cell.assert_replays();
}

/// R8, T28: a node that serves what nobody had met, and what then shows on another node, is told to stop.
#[test]
fn a_stranger_met_elsewhere_is_closed_where_it_was() {
    let mut cell = Cell::new();
    cell.connect_with("a", 1, Vec::new(), vec![(shard("x1"), ServiceSet::ALL)]);
    cell.inventory("a", vec![]);
    assert_eq!(cell.told(), vec![], "nothing is known of it");
    cell.connect("b", 1);
    cell.inventory("b", vec![claim_on("x1", "b")]);
    assert_eq!(cell.told(), vec![(node("a"), shard("x1"), ServiceSet::NONE)]);
}

/// A shard in service that moves is served by its new node, and no longer by the old one.
#[test]
fn a_remounted_volume_is_served_where_it_is() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.play();
    cell.inventory("a", vec![]);
    assert_eq!(cell.state("a1"), ShardState::Open, "losing sight of a shard closes nothing");
    cell.inventory("b", vec![claim("b1", "b"), claim_on("a1", "a")]);
    let moved = shard("a1");
    assert_eq!(cell.told(), vec![(node("a"), moved, ServiceSet::NONE), (node("b"), moved, ServiceSet::ALL)]);
}

fn claim_on(id: &str, volume: &str) -> Claim {
    Claim { volume: volume_of(volume), ..claim(id, volume) }
}

/// T17: a node that was away learns what it missed: the pace in force, and whether its tries stand still.
#[test]
fn a_returning_node_learns_the_pace() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap();
    cell.disconnect("a");
    let mut slower = generous();
    slower.pace.bytes_per_second = ByteSize::from_bytes(1 << 20);
    cell.ask(Verb::Revise { plan: Box::new(slower.clone()), source: Digest::ZERO }).unwrap();
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    cell.commands.clear();
    cell.connect("a", 1);
    let told = |kind: OrderKind| {
        cell.commands.iter().any(|c| matches!(c, Command::Send { order_kind, .. } if *order_kind == kind))
    };
    assert!(told(OrderKind::Pace { campaign: campaign("return"), pace: slower.pace }));
    assert!(told(OrderKind::Continue { campaign: campaign("return") }));
}

/// T28: a volume shown by two nodes is contested, once, until one lets go or an operator settles it.
#[test]
fn a_second_claim_is_contested() {
    let mut cell = Cell::with_fleet(3, 1);
    cell.start(generous());
    let twice = || vec![claim("b1", "b"), Claim { volume: volume_of("a"), ..claim("a1", "a") }];
    cell.inventory("b", twice());
    let records = cell.journal.len();
    cell.inventory("b", twice());
    assert_eq!(cell.journal.len(), records, "a repeated claim is no news");
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Contested { .. })));
    assert_eq!(cell.state("a1"), ShardState::Held);
    let settle = |on| Verb::Settle { selector: only("a1"), node: node(on), reason: "cable".to_owned() };
    let stranger = Verb::Settle { selector: only("b1"), node: node("a"), reason: "x".into() };
    assert!(
        matches!(cell.ask(stranger), Err(Refusal::NothingToDo { matched: 1, .. })),
        "nothing is in question"
    );
    let third = Verb::Settle { selector: only("a1"), node: node("c"), reason: "x".into() };
    let (shard, claimed_by) = (cell.view("a1").shard.shard, vec![node("a"), node("b")]);
    assert_eq!(cell.ask(third), Err(Refusal::NotClaimed { shard, node: node("c"), claimed_by }));
    let receipt = cell.ask(settle("b")).unwrap();
    assert_eq!((receipt.claims_ended, receipt.volumes_changed, receipt.mailboxes_given_up), (1, 0, 0));
    assert_eq!(cell.view("a1").shard.placement.node, node("b"));
    assert_eq!(cell.view("a1").shard.blocked, None);
    assert!(!cell.ask(settle("b")).unwrap().changes, "it is so already");
    cell.assert_replays();
}

/// T28: the same volume on another node is contested while the old one may still have it, and moves once that one is silent:
/// which of the two was noticed first makes no difference.
#[test]
fn a_remounted_volume_moves_once_its_node_is_silent() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.disconnect("a");
    let twice = vec![claim("b1", "b"), Claim { volume: volume_of("a"), ..claim("a1", "a") }];
    cell.inventory("b", twice);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Contested { .. })));
    cell.pass_with(60, &["b"]);
    let view = cell.view("a1").shard;
    assert_eq!((view.placement.node, view.placement.volume, view.blocked), (node("b"), volume_of("a"), None));
    cell.assert_replays();

    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.disconnect("a");
    cell.inventory("b", vec![claim("b1", "b"), claim("a1", "b")]);
    cell.pass_with(60, &["b"]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Contested { .. })), "another volume is other data");
}

/// T28: the silence is found while the session still lives in name, and counts once that is over.
#[test]
fn a_remounted_volume_moves_after_a_short_silence_too() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.inventory("b", vec![claim("b1", "b"), claim_on("a1", "a")]);
    cell.pass_with(70, &["b"]);
    assert!(cell.engine.node_view(node("a")).unwrap().silent.is_some());
    assert_eq!(cell.view("a1").shard.placement.node, node("a"), "its session may still go on");
    cell.disconnect("a");
    cell.pass_with(2, &["b"]);
    assert_eq!((cell.view("a1").shard.placement.node, held(&cell, "a1")), (node("b"), None));
    cell.assert_replays();
}

/// T28: two nodes that show one volume at once have a copy of it. That one of them dies later does not say which one counts:
/// a person does, or the node itself by a listing without the shard.
#[test]
fn a_copy_does_not_take_over_from_a_node_that_dies() {
    let copied = || {
        let mut cell = Cell::with_fleet(2, 1);
        cell.start(generous());
        cell.play();
        let copy = || vec![claim("b1", "b"), claim_on("a1", "a")];
        cell.inventory("b", copy());
        cell.pass(5);
        cell.disconnect("a");
        cell.pass_with(70, &["b"]);
        cell.inventory("b", copy());
        assert!(matches!(held(&cell, "a1"), Some(HeldReason::Contested { .. })));
        assert_eq!(cell.view("a1").shard.placement.node, node("a"));
        cell
    };
    let mut cell = copied();
    cell.restart(Span::from_secs(5));
    cell.connect("b", 1);
    cell.inventory("b", vec![claim("b1", "b"), claim_on("a1", "a")]);
    cell.pass_with(70, &["b"]);
    assert_eq!(cell.view("a1").shard.placement.node, node("a"), "another leader knows no more");
    let settle = Verb::Settle { selector: only("a1"), node: node("b"), reason: "a is gone".to_owned() };
    cell.ask(settle).unwrap();
    assert_eq!((cell.view("a1").shard.placement.node, held(&cell, "a1")), (node("b"), None));
    cell.assert_replays();

    let mut cell = copied();
    cell.connect("a", 1);
    cell.inventory("a", vec![]);
    assert_eq!((cell.view("a1").shard.placement.node, held(&cell, "a1")), (node("b"), None));
    cell.assert_replays();
}

/// T28: a second rival is not forgotten because another one came first: it is looked for when that one lets go, and when the
/// shard has moved.
#[test]
fn the_next_claim_follows_the_one_that_ends() {
    let claimed_by = |cell: &Cell| match held(cell, "a1") {
        Some(HeldReason::Contested { claimant, .. }) => Some(claimant),
        _ => None,
    };
    let contested = || {
        let mut cell = Cell::with_fleet(3, 1);
        cell.start(generous());
        for name in ["b", "c"] {
            cell.inventory(name, vec![claim(&format!("{name}1"), name), claim_on("a1", "a")]);
        }
        assert_eq!(claimed_by(&cell), Some(node("b")));
        cell
    };
    let mut cell = contested();
    cell.inventory("b", vec![claim("b1", "b")]);
    assert_eq!(claimed_by(&cell), Some(node("c")), "it shows the shard as before");
    cell.inventory("c", vec![claim("c1", "c")]);
    assert_eq!(held(&cell, "a1"), None);
    cell.assert_replays();

    let mut cell = contested();
    cell.inventory("a", vec![]);
    assert_eq!(cell.view("a1").shard.placement.node, node("b"), "the same volume was remounted");
    assert_eq!(claimed_by(&cell), Some(node("c")));
    let settle = Verb::Settle { selector: only("a1"), node: node("b"), reason: "cable".to_owned() };
    cell.ask(settle).unwrap();
    cell.inventory("a", vec![claim_on("a1", "a")]);
    assert_eq!(claimed_by(&cell), Some(node("a")));
    cell.inventory("a", vec![]);
    assert_eq!(held(&cell, "a1"), None, "what was settled stays settled");
    cell.assert_replays();
}

/// T28: a node that shows a shard on two of its roots does not know which one counts, and nobody else does.
#[test]
fn a_shard_on_two_roots_of_one_node_is_contested() {
    let twice =
        |volume: &str, second: &str| Claim { second: Some(volume_of(second)), ..claim_on("a1", volume) };
    let within = |volume: &str| HeldReason::Contested {
        holder: node("a"),
        claimant: node("a"),
        volume: volume_of(volume),
    };
    let mut cell = Cell::new();
    cell.connect("a", 1);
    cell.inventory("a", vec![twice("a", "z")]);
    assert_eq!(held(&cell, "a1"), Some(within("z")), "when it is met");
    cell.start(generous());
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Held);
    let records = cell.journal.len();
    cell.inventory("a", vec![twice("z", "a")]);
    assert_eq!(cell.journal.len(), records, "the order of its roots makes no difference");
    cell.inventory("a", vec![claim_on("a1", "z")]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::VolumeWrong { .. })), "the other one is left");
    cell.inventory("a", vec![twice("a", "a")]);
    assert_eq!(held(&cell, "a1"), Some(within("a")), "two folders of one volume");
    cell.inventory("a", vec![]);
    assert_eq!(held(&cell, "a1"), Some(HeldReason::ShardMissing { node: node("a") }));
    cell.inventory("a", vec![claim("a1", "a")]);
    assert_eq!(held(&cell, "a1"), None);
    cell.assert_replays();
}

/// T28: a volume that another node shows beside a copy of its shard does not move there by itself.
#[test]
fn a_remounted_volume_beside_a_copy_does_not_move() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.disconnect("a");
    let twice = Claim { second: Some(volume_of("b")), ..claim_on("a1", "a") };
    cell.inventory("b", vec![claim("b1", "b"), twice]);
    cell.pass_with(60, &["b"]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Contested { .. })));
    assert_eq!(cell.view("a1").shard.placement.node, node("a"));
    cell.inventory("b", vec![claim("b1", "b"), claim_on("a1", "a")]);
    assert_eq!(cell.view("a1").shard.placement.node, node("b"), "the copy is gone");
    cell.assert_replays();
}

/// The last page of a listing that was begun in a session before says nothing about what its first pages showed.
#[test]
fn the_rest_of_an_old_listing_is_no_listing() {
    let mut cell = Cell::with_fleet(1, 2);
    let page = |cell: &mut Cell, id: &str, first, last| {
        let (node, incarnation, claims) = (node("a"), NodeIncarnation::from_raw(1), vec![claim(id, "a")]);
        cell.run(Event::Inventory { node, incarnation, first, claims, last });
    };
    page(&mut cell, "a1", true, false);
    cell.connect("a", 1);
    page(&mut cell, "a2", false, true);
    assert_eq!(held(&cell, "a1"), None);
    page(&mut cell, "a1", true, false);
    page(&mut cell, "a2", false, true);
    assert_eq!((held(&cell, "a1"), held(&cell, "a2")), (None, None));
    cell.assert_replays();
}

/// R1: nobody can say that a shard is in service of which its node says that it is not there, or not on its volume, or that two
/// nodes show.
#[test]
fn what_is_not_there_is_not_adopted() {
    let adopt =
        || Verb::Adopt { selector: only("a1"), services: ServiceSet::ALL, reason: "it is".to_owned() };
    let shown: [&dyn Fn(&mut Cell); 3] = [
        &|cell| cell.inventory("a", vec![]),
        &|cell| cell.inventory("a", vec![claim_on("a1", "z")]),
        &|cell| cell.inventory("b", vec![claim("b1", "b"), claim_on("a1", "a")]),
    ];
    for show in shown {
        let mut cell = Cell::with_fleet(2, 1);
        show(&mut cell);
        assert!(matches!(cell.ask(adopt()), Err(Refusal::NothingToDo { matched: 1, .. })));
        cell.inventory("b", vec![claim("b1", "b")]);
        cell.inventory("a", vec![claim("a1", "a")]);
        assert_eq!(cell.ask(adopt()).unwrap().shards, 1, "it is there again");
        cell.assert_replays();
    }
}

/// T33, T28: what a wrong mount has put into question is settled as one decision, for the node that is named.
#[test]
fn every_claim_of_a_node_is_settled_at_once() {
    let mut cell = Cell::with_fleet(3, 3);
    let own = || (1..=3).map(|no| claim(&format!("b{no}"), "b"));
    let copies = || (1..=2).map(|no| Claim { volume: volume_of("a"), ..claim(&format!("a{no}"), "a") });
    let strays = || std::iter::once(Claim { volume: volume_of("c"), ..claim("c1", "c") });
    cell.inventory("b", own().chain(copies()).chain(strays()).collect());
    cell.told();
    let records = cell.journal.len();
    let settle = |on| Verb::Settle { selector: all(), node: node(on), reason: "double mount".to_owned() };
    let receipt = cell.ask(settle("a")).unwrap();
    assert_eq!((receipt.shards, receipt.skipped, cell.journal.len()), (2, 7, records + 1));
    assert_eq!(cell.view("a1").shard.placement.node, node("a"));
    assert!(matches!(held(&cell, "c1"), Some(HeldReason::Contested { .. })), "node a has no claim on it");
    let receipt = cell.ask(settle("b")).unwrap();
    assert_eq!((receipt.shards, cell.view("c1").shard.placement.node), (1, node("b")));
    assert_eq!(
        cell.told(),
        [(node("c"), shard("c1"), ServiceSet::NONE)],
        "it is withdrawn from where it was"
    );
    assert!(!cell.ask(settle("b")).unwrap().changes);
    cell.assert_replays();
}

/// A copy on another volume is other data: settled on, it is closed and verified from the start.
#[test]
fn another_copy_is_not_the_same_shard() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.inventory("b", vec![claim("b1", "b"), claim("a1", "b")]);
    cell.ask(Verb::Settle { selector: only("a1"), node: node("b"), reason: "array lost".to_owned() })
        .unwrap();
    let view = cell.view("a1").shard;
    assert_eq!((view.state(), view.services, view.standing), (ShardState::Closed, ServiceSet::NONE, None));
    cell.assert_replays();
}

/// R8: another copy on the same node is other data too: what was open is closed, and the node is told.
#[test]
fn another_copy_on_the_same_node_is_closed_there() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.play();
    cell.inventory("a", vec![claim_on("a1", "z")]);
    assert_eq!(cell.state("a1"), ShardState::Open, "nobody has decided yet");
    let settle = Verb::Settle { selector: only("a1"), node: node("a"), reason: "restored".to_owned() };
    cell.ask(settle).unwrap();
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::NONE)]);
    assert_eq!(cell.view("a1").shard.placement.volume, volume_of("z"));
    cell.assert_replays();
}

/// T24: the wrong volume holds the shard, and the right one releases it.
#[test]
fn a_wrong_volume_holds_until_the_right_one_is_back() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.result("a", "a1", 1, TaskEnd::Failed(TaskFailure::VolumeWrong { found: None }));
    assert_eq!(cell.state("a1"), ShardState::Held);
    assert!(cell.ask(Verb::Accept { selector: only("a1"), reason: "so be it".to_owned() }).is_err());
    cell.ordered();
    cell.inventory("a", vec![claim("a1", "a")]);
    cell.pass(20);
    assert_eq!(cell.ordered().len(), 1);
    cell.assert_replays();
}

/// T24: a verification of another volume than the shard's is no verification.
#[test]
fn a_verdict_about_another_volume_does_not_count() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.result("a", "a1", 1, verified(Outcome::Clean, "elsewhere"));
    assert_eq!(cell.view("a1").shard.standing, None);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::VolumeWrong { .. })));
}

/// A shard first met in service is adopted by a journaled decision.
#[test]
fn a_shard_met_in_service_is_adopted() {
    let mut cell = Cell::new();
    cell.connect("a", 1);
    cell.inventory("a", vec![Claim { services: ServiceSet::ALL, ..claim("a1", "a") }]);
    assert_eq!(cell.view("a1").shard.phase, Phase::Open { adopted: true });
}

/// A node that serves what the journal has not opened is told to stop.
#[test]
fn an_unordered_service_is_closed() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.disconnect("a");
    cell.connect_with("a", 1, vec![], vec![(shard("a1"), ServiceSet::ALL)]);
    assert_eq!(cell.told(), vec![(node("a"), shard("a1"), ServiceSet::NONE)]);
    cell.seen("a", "a1", ServiceSet::NONE);
    assert_eq!(cell.view("a1").shard.seen, ServiceSet::NONE);
}

/// T16: several nodes that fall silent at once still lead to a decision.
#[test]
fn many_silent_nodes_are_decided_on() {
    let mut cell = Cell::with_fleet(4, 2);
    cell.start(plan("return"));
    cell.pass_with(62, &["d"]);
    assert!(matches!(
        cell.campaign("return").state,
        CampaignState::Paused(PauseCause::ErrorBudget { mailboxes_lost: 600, mailboxes: 800, .. })
    ));
}

/// T10: a shard that is stuck blocks none of the others.
#[test]
fn a_stuck_shard_blocks_no_other() {
    let mut cell = Cell::with_fleet(1, 8);
    cell.start(generous());
    let stuck = cell.ordered().remove(0).1.shard;
    for id in (1..=8).map(|no| format!("a{no}")).filter(|id| id != stuck.as_str()) {
        let attempt = cell.view(&id).shard.attempt.raw().max(1);
        cell.result("a", &id, attempt, verified(Outcome::Clean, "a"));
    }
    cell.play();
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 7);
}

/// T10, R6: an opening its node never confirms is overdue and lost to its wave; the others open, even one at a time.
#[test]
fn a_stuck_opening_blocks_no_other() {
    let mut cell = Cell::with_fleet(1, 4);
    let mut one_at_a_time = generous();
    one_at_a_time.opening.in_flight_max = 1;
    cell.start(one_at_a_time);
    let verifications = cell.ordered();
    for (_, task) in verifications {
        cell.result("a", task.shard.as_str(), 1, verified(Outcome::Clean, "a"));
    }
    let [(_, confirm)] = cell.ordered().try_into().unwrap();
    let stuck = confirm.shard;
    cell.result("a", stuck.as_str(), confirm.attempt.raw(), TaskEnd::Confirmed);
    assert_eq!(cell.told(), vec![(node("a"), stuck, ServiceSet::ALL)]);
    cell.pass(29);
    assert_eq!(cell.ordered(), vec![], "one opening at a time");
    cell.pass(2);
    assert_eq!(cell.state(stuck.as_str()), ShardState::Held);
    assert!(matches!(held(&cell, stuck.as_str()), Some(HeldReason::OpeningOverdue { .. })));
    cell.play();
    let view = cell.campaign("return");
    assert_eq!(view.counts.shards_in(ShardState::Open), 3);
    assert_eq!(view.waves[0].mailboxes_lost, 100);
    cell.seen("a", stuck.as_str(), ServiceSet::ALL);
    assert_eq!(cell.campaign("return").counts.shards_in(ShardState::Open), 4, "late is not never");
    cell.assert_replays();
}

/// T10, T1: an opening on a node that fell silent does not keep other nodes from opening.
#[test]
fn an_opening_on_a_silent_node_blocks_no_other() {
    let mut cell = Cell::with_fleet(2, 1);
    let mut one_at_a_time = generous();
    one_at_a_time.opening.in_flight_max = 1;
    cell.start(one_at_a_time);
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    cell.result("b", "b1", 1, verified(Outcome::Clean, "b"));
    assert_eq!((cell.state("a1"), cell.state("b1")), (ShardState::Opening, ShardState::Verified));
    cell.disconnect("a");
    cell.commands.clear();
    for _ in 0..30 {
        cell.pass_with(5, &["b"]);
        cell.play();
    }
    assert_eq!((cell.state("a1"), cell.state("b1")), (ShardState::Held, ShardState::Open));
    cell.assert_replays();
}

/// T29: a journal restored from a backup begins a new life, believes nothing it does not agree on with the nodes, and never
/// uses an attempt again.
#[test]
fn a_restored_journal_holds_every_disagreement() {
    let mut cell = Cell::with_fleet(1, 2);
    let backup = cell.journal.clone();
    cell.start(generous());
    cell.play();
    let mut restored = Engine::new();
    backup.iter().for_each(|entry| restored.replay(entry).unwrap());
    cell.engine = restored;
    cell.journal = backup;
    cell.commands.clear();
    drop(cell.step(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } }));
    cell.connect_with("a", 1, vec![], vec![(shard("a1"), ServiceSet::ALL)]);
    assert_eq!(cell.told(), vec![], "what the node serves is neither believed nor undone");
    let expected = HeldReason::Disagreement { journal: ServiceSet::NONE, node: ServiceSet::ALL };
    assert_eq!(held(&cell, "a1"), Some(expected));
    assert_eq!(cell.state("a1"), ShardState::Held, "a person is shown that it is neither open nor closed");
    assert!(cell.view("a2").shard.doubted, "nobody has shown it yet");
    let open = Claim { services: ServiceSet::ALL, ..claim("a1", "a") };
    cell.inventory("a", vec![open, claim("a2", "a")]);
    assert!(!cell.view("a2").shard.doubted, "both say closed");
    let adopt =
        Verb::Adopt { selector: only("a1"), services: ServiceSet::ALL, reason: "it was open".to_owned() };
    cell.ask(adopt).unwrap();
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.start(generous());
    let [(_, task)] = cell.ordered().try_into().unwrap();
    let life = cell.engine.cell_view().unwrap().incarnation;
    assert_eq!(u64::from(life.raw()), cell.now.unix_ms() / 1_000, "the second in which it began");
    assert!(task.attempt.raw() > life.raw());
    cell.assert_replays();
}

/// T29, R5: two lives that begin from one backup are two, and share no attempt: nothing in it tells of the first.
#[test]
fn a_backup_that_is_restored_again_begins_another_life() {
    let mut cell = Cell::with_fleet(1, 2);
    let backup = cell.journal.clone();
    let mut restored = |after: u64| {
        let mut engine = Engine::new();
        backup.iter().for_each(|entry| engine.replay(entry).unwrap());
        cell.engine = engine;
        cell.journal.clone_from(&backup);
        cell.commands.clear();
        cell.now = cell.now + Span::from_secs(after);
        drop(cell.step(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } }));
        cell.connect("a", 1);
        cell.inventory("a", vec![claim("a1", "a"), claim("a2", "a")]);
        cell.start(generous());
        let attempts: Vec<_> = cell.ordered().into_iter().map(|(_, task)| task.attempt).collect();
        (cell.engine.cell_view().unwrap().incarnation, attempts)
    };
    let (first, tried) = restored(60);
    let (second, tried_again) = restored(60);
    assert!(first < second, "{first} {second}");
    assert!(!tried.is_empty() && tried.iter().max() < tried_again.iter().min(), "{tried:?} {tried_again:?}");
}
