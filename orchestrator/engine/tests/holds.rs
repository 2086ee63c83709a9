//! Transition tests: what a circumstance holds, since when, and what it costs a wave.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::{Engine, Event, Origin};
use rientro_types::*;
use support::*;

fn generous() -> Plan {
    let mut plan = plan("return");
    plan.waves.error_budget_canary = Ppm::ONE;
    plan
}

/// When the circumstance that holds a shard began.
fn held_since(cell: &Cell, id: &str) -> CellTime {
    cell.view(id).shard.blocked.unwrap().since
}

/// The orchestrator dies and is back after a while; it knows what the journal says.
fn restart(cell: &mut Cell, epoch: u64, after: Span) {
    cell.engine = Engine::new();
    cell.journal.iter().for_each(|entry| cell.engine.replay(entry).unwrap());
    cell.commands.clear();
    cell.now = cell.now + after;
    cell.run(Event::Lead { epoch: Epoch::from_raw(epoch), origin: Origin::Continued });
}

/// T1: a shard that is held is held since its hold began, not since its phase did; when the hold is over its phase counts.
#[test]
fn a_hold_has_a_time_of_its_own() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    let phase = cell.view("a1").shard.since;
    cell.pass(200);
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    let view = cell.view("a1").shard;
    assert_eq!((view.state(), view.since), (ShardState::Held, phase));
    assert!(view.state_since().since(phase) >= Span::from_secs(260), "{view:?}");
    assert_eq!(view.state_since(), held_since(&cell, "a1"));
    let busy = Busy { shard: shard("a1"), attempt: AttemptNo::from_raw(1), kind: TaskKind::Verify };
    cell.connect_with("a", 1, vec![busy], Vec::new());
    assert_eq!((cell.state("a1"), cell.view("a1").shard.state_since()), (ShardState::Verifying, phase));
    cell.assert_replays();
}

/// R4, T27: a restart makes no hold younger, be it with nodes that come back at once or late, from entries or a snapshot.
#[test]
fn a_restart_keeps_the_time_of_a_hold() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    let since = held_since(&cell, "a1");
    for (epoch, gone) in [(2, 1), (3, 30), (4, 7_200)] {
        restart(&mut cell, epoch, Span::from_secs(gone));
        assert_eq!(held_since(&cell, "a1"), since);
        cell.connect("b", 1);
        cell.pass_with(90, &["b"]);
        assert_eq!(held_since(&cell, "a1"), since, "told again by nobody who knows better");
    }
    let mut restored = Engine::new();
    cell.engine.snapshot().for_each(|record| restored.restore(record).unwrap());
    assert_eq!(restored.shard_view(shard("a1")).unwrap().shard.state_since(), since);
    cell.assert_replays();
}

/// T24, T28: a hold whose cause changes begins anew; the same cause told with other numbers keeps its time.
#[test]
fn another_cause_begins_another_hold() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    let wrong = |volume: &str| vec![Claim { volume: volume_of(volume), ..claim("a1", "a") }];
    let mut times = Vec::new();
    for claims in [vec![], vec![], wrong("y"), wrong("y"), wrong("z"), vec![]] {
        cell.pass(5);
        cell.inventory("a", claims);
        times.push((held(&cell, "a1").unwrap(), cell.now.since(held_since(&cell, "a1")).ms() / 1_000));
    }
    let missing = HeldReason::ShardMissing { node: node("a") };
    let wrong = |found| HeldReason::VolumeWrong { expected: volume_of("a"), found: Some(volume_of(found)) };
    let expected = [
        (missing.clone(), 0),
        (missing.clone(), 5),
        (wrong("y"), 0),
        (wrong("y"), 5),
        (wrong("z"), 10),
        (missing, 0),
    ];
    assert_eq!(times, expected);
    cell.assert_replays();
}

/// T29: a disagreement that is told again with other services is the disagreement it was.
#[test]
fn a_disagreement_keeps_its_time() {
    let mut cell = Cell::with_fleet(1, 1);
    let mut since = Vec::new();
    for (epoch, served) in [(9, ServiceSet::ALL), (10, ServiceSet::NONE.with(Service::Imap))] {
        cell.disconnect("a");
        cell.run(Event::Lead { epoch: Epoch::from_raw(epoch), origin: Origin::Restored { above: None } });
        cell.connect_with("a", 1, vec![], vec![(shard("a1"), served)]);
        let view = cell.view("a1").shard;
        assert_eq!(view.state_since(), held_since(&cell, "a1"));
        since.push(view.state_since());
        cell.pass(5);
    }
    assert_eq!(since[0], since[1]);
}

/// R6, T4: what a silent node cost counts until it opens; a node that comes and goes does not dodge the budget, and what is
/// on its way again is told apart.
#[test]
fn what_is_heard_again_counts_until_it_opens() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    let wave = |cell: &Cell| {
        let wave = cell.campaign("return").waves[0];
        (wave.mailboxes_lost, wave.mailboxes_returning)
    };
    for _ in 0..3 {
        cell.disconnect("a");
        cell.pass_with(61, &["b"]);
        assert_eq!(wave(&cell), (100, 0), "silent");
        cell.connect("a", 1);
        assert_eq!(wave(&cell), (100, 100), "heard, and not back yet");
        cell.assert_replays();
    }
    cell.play();
    assert_eq!(wave(&cell), (0, 0));
    cell.assert_replays();
}

/// R6: a campaign that pauses for what it lost pauses although the node is heard before anybody looks.
#[test]
fn a_flap_within_the_silence_limit_costs_nothing_and_one_beyond_it_pauses() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(plan("return"));
    cell.disconnect("a");
    cell.pass_with(50, &["b"]);
    cell.connect("a", 1);
    assert_eq!(cell.campaign("return").waves[0].mailboxes_lost, 0);
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    cell.connect("a", 1);
    assert!(matches!(cell.campaign("return").state, CampaignState::Paused(PauseCause::ErrorBudget { .. })));
}

/// R6, T4: one absence does not pause the campaign again for each wave that had not begun: what is back and verified by then
/// is on its way as the others are. What is away when its wave begins counts.
#[test]
fn an_absence_before_a_wave_has_begun_is_over_when_it_is() {
    for back in [true, false] {
        let mut cell = Cell::with_fleet(2, 2);
        let mut plan = generous();
        plan.waves.schedule = Schedule::List(vec![Share::Shards(2), Share::Rest]);
        plan.covers = Coverage::All;
        plan.waves.error_budget = Ppm::ZERO;
        plan.classes = vec![Class { weight: 9, covers: Coverage::Shards(vec![shard("a1"), shard("a2")]) }];
        cell.start(plan);
        cell.pass_with(60, &["a"]);
        assert_eq!(cell.state("b1"), ShardState::Held);
        assert_eq!(cell.campaign("return").waves[1].mailboxes_lost, 200);
        if back {
            cell.pass(10);
        }
        cell.play();
        cell.pass_with(90, if back { &["a", "b"] } else { &["a"] });
        cell.play();
        let view = cell.campaign("return");
        assert_eq!(view.waves[1].mailboxes_lost, if back { 0 } else { 200 }, "{:?}", view.state);
        assert_eq!(matches!(view.state, CampaignState::Paused(_)), !back, "{:?}", view.state);
        cell.assert_replays();
    }
}

/// What a campaign that has ended brought back, and somebody closed, waits for a person: it can be sent on its way again.
#[test]
fn what_is_closed_after_its_campaign_waits_for_a_person() {
    let mut cell = Cell::with_fleet(1, 2);
    cell.start(generous());
    cell.play();
    cell.pass(3_700);
    cell.ask(Verb::Close { selector: only("a1"), reason: "alarm".to_owned() }).unwrap();
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    assert_eq!(cell.view("a1").waiting_on, Some(WaitingOn::Operator));
    cell.ask(Verb::Retry { selector: only("a1") }).unwrap();
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
}

/// T33: what is accepted for one kind of finding is told with what else was found in it, before and after.
#[test]
fn accepting_for_a_finding_tells_what_else_was_found() {
    let mut cell = Cell::with_fleet(1, 3);
    cell.start(Plan {
        waves: Waves { error_budget_canary: percent("100%"), ..generous().waves },
        ..generous()
    });
    let kinds = |kinds: &[FindingKind]| {
        let mut set = FindingKinds::NONE;
        kinds.iter().for_each(|kind| set.insert(*kind));
        set
    };
    let twins = kinds(&[FindingKind::DuplicateName]);
    let found = [("a1", twins), ("a2", kinds(&[FindingKind::DuplicateName, FindingKind::ZeroBlock]))];
    for (id, kinds) in found {
        let mut end = verification(Outcome::Damaged, "a");
        end.verdict.tally.kinds = kinds;
        cell.result("a", id, 1, TaskEnd::Verified { verification: end, damaged: Vec::new() });
    }
    let accept = |findings| {
        let selector = Selector { findings, ..Selector::default() };
        Verb::Accept { selector, reason: "twins are harmless".to_owned() }
    };
    let receipt = cell.ask(accept(twins)).unwrap();
    assert_eq!((receipt.shards, receipt.shards_beside), (2, 1));
    assert_eq!((receipt.kinds_beside, receipt.unread), (kinds(&[FindingKind::ZeroBlock]), 0));
}

/// R1: whoever accepts shards that no try has read is told so.
#[test]
fn accepting_what_nobody_has_read_is_told() {
    let mut cell = Cell::with_fleet(1, 2);
    cell.start(generous());
    cell.result("a", "a1", 1, verified(Outcome::Damaged, "a"));
    for attempt in 1..=3 {
        cell.result("a", "a2", attempt, TaskEnd::Failed(TaskFailure::Interrupted));
        cell.pass(700);
    }
    assert_eq!(cell.state("a2"), ShardState::Failed);
    let accept = Verb::Accept { selector: all(), reason: "enough of it".to_owned() };
    let receipt = cell.ask(accept).unwrap();
    assert_eq!((receipt.shards, receipt.unread), (2, 1));
}

/// R6: who gets under way on a node that is silent already is held and lost from there on, by whatever way it came.
#[test]
fn a_silent_node_charges_what_begins_on_it() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    assert_eq!(cell.view("a1").shard.blocked, None, "nothing was asked of it");
    cell.start(generous());
    assert_eq!((cell.state("a1"), cell.campaign("return").waves[0].mailboxes_lost), (ShardState::Held, 100));
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::NodeSilent { .. })));
    assert_eq!(held_since(&cell, "a1"), cell.now);
    cell.ask(Verb::Close { selector: only("a1"), reason: "later".to_owned() }).unwrap();
    assert_eq!(cell.campaign("return").waves[0].mailboxes_lost, 0, "closed by decision");
    cell.ask(Verb::Retry { selector: only("a1") }).unwrap();
    assert_eq!((cell.state("a1"), cell.campaign("return").waves[0].mailboxes_lost), (ShardState::Held, 100));
    cell.assert_replays();
}

/// R6, T27: a restart charges nobody for the time it took, nor a node before the silence limit has passed in which the
/// leader listened; after that it does.
#[test]
fn a_restart_alone_loses_nothing() {
    let mut cell = Cell::with_fleet(2, 1);
    let mut hasty = generous();
    hasty.tries.verify_timeout = Span::from_secs(70);
    hasty.tries.attempts_max = 1;
    cell.start(hasty);
    for epoch in 2..8 {
        cell.pass(2);
        restart(&mut cell, epoch, Span::from_secs(9));
        let wave = cell.campaign("return").waves[0];
        assert_eq!((wave.mailboxes_lost, wave.counts.shards_in(ShardState::Verifying)), (0, 2), "{epoch}");
    }
    cell.pass_with(55, &[]);
    assert_eq!(cell.campaign("return").waves[0].mailboxes_lost, 0, "nobody had the time to come back");
    cell.pass_with(6, &[]);
    assert_eq!(cell.campaign("return").waves[0].mailboxes_lost, 200);
    cell.assert_replays();
}

/// T28: shards that two nodes claim are counted whatever state they are in, until the claim is gone or settled.
#[test]
fn contested_shards_are_counted_in_every_state() {
    let mut cell = Cell::with_fleet(2, 3);
    let contested = |cell: &Cell| cell.engine.cell_view().unwrap().shards_contested;
    cell.ask(Verb::Adopt { selector: only("a2"), services: ServiceSet::ALL, reason: "it is".to_owned() })
        .unwrap();
    let own = || (1..=3).map(|no| claim(&format!("b{no}"), "b"));
    let copies = || (1..=2).map(|no| Claim { volume: volume_of("a"), ..claim(&format!("a{no}"), "a") });
    cell.inventory("b", own().chain(copies()).collect());
    assert_eq!(
        (cell.state("a1"), cell.state("a2"), contested(&cell)),
        (ShardState::Closed, ShardState::Open, 2)
    );
    let replayed = cell.assert_replays();
    assert_eq!(replayed.cell_view().unwrap().shards_contested, 2);
    cell.ask(Verb::Settle { selector: only("a1"), node: node("a"), reason: "b is gone".to_owned() }).unwrap();
    assert_eq!(contested(&cell), 1);
    cell.inventory("b", own().collect());
    assert_eq!(contested(&cell), 0);
}

/// Nodes are counted once: connected, offline for a while, or silent, be it with a session.
#[test]
fn a_node_is_counted_once() {
    let mut cell = Cell::with_fleet(3, 1);
    cell.disconnect("c");
    cell.pass_with(30, &["a", "b"]);
    let nodes = |cell: &Cell| {
        let view = cell.engine.cell_view().unwrap();
        (view.nodes_connected, view.nodes_offline(), view.nodes_silent)
    };
    assert_eq!(nodes(&cell), (2, 1, 0));
    cell.pass_with(61, &["a"]);
    assert!(cell.engine.node_view(node("b")).unwrap().connected, "it has a session and says nothing");
    assert_eq!(nodes(&cell), (1, 0, 2));
}

/// T24: another volume holds what waits for its next try, and what has spent all of them, and the right one releases both.
#[test]
fn a_wrong_volume_holds_between_tries_and_after_them() {
    for (attempts_max, state) in [(3, ShardState::Backoff), (1, ShardState::Failed)] {
        let mut cell = Cell::with_fleet(1, 1);
        let mut plan = generous();
        plan.tries.attempts_max = attempts_max;
        cell.start(plan);
        cell.result("a", "a1", 1, TaskEnd::Failed(TaskFailure::Interrupted));
        assert_eq!(cell.state("a1"), state);
        cell.inventory("a", vec![Claim { volume: volume_of("z"), ..claim("a1", "a") }]);
        assert!(matches!(held(&cell, "a1"), Some(HeldReason::VolumeWrong { .. })));
        assert_eq!(cell.campaign("return").waves[0].mailboxes_lost, 100);
        cell.inventory("a", vec![claim("a1", "a")]);
        assert_eq!((cell.state("a1"), held(&cell, "a1")), (state, None));
        cell.assert_replays();
    }
}

/// What users see is counted from when the services became what they are, whatever the shard's own steps are since.
#[test]
fn services_have_a_time_of_their_own() {
    let mut cell = Cell::with_fleet(1, 1);
    let met = cell.view("a1").shard.services_since;
    cell.pass(30);
    cell.start(generous());
    cell.pass(30);
    cell.play();
    let open = cell.view("a1").shard;
    assert_eq!((open.state(), open.services), (ShardState::Open, ServiceSet::ALL));
    assert!(open.services_since.since(met) >= Span::from_secs(60), "{open:?}");
    cell.pass(30);
    let at = cell.now;
    cell.ask(Verb::Close { selector: only("a1"), reason: "users report loops".to_owned() }).unwrap();
    cell.pass(30);
    cell.ask(Verb::Retry { selector: only("a1") }).unwrap();
    let closed = cell.view("a1").shard;
    assert_eq!(
        (closed.services_since, closed.services),
        (at, ServiceSet::NONE),
        "the way back closes nothing again"
    );
    assert!(closed.state_since() > at, "{closed:?}");
    let mut restored = Engine::new();
    cell.engine.snapshot().for_each(|record| restored.restore(record).unwrap());
    assert_eq!(restored.shard_view(shard("a1")).unwrap().shard.services_since, at);
    cell.assert_replays();
}

/// T1: while its node has no session, nobody can say that a task goes on: the shard waits for its node, and is told how long.
#[test]
fn a_task_on_a_node_without_a_session_waits_for_the_node() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    assert!(matches!(cell.view("a1").waiting_on, Some(WaitingOn::Task { .. })));
    cell.disconnect("a");
    cell.pass_with(6, &["b"]);
    let Some(WaitingOn::NodeOffline { node: away, unheard_for: Some(unheard_for), silent_in }) =
        cell.view("a1").waiting_on
    else {
        panic!("{:?}", cell.view("a1"));
    };
    assert_eq!(away, node("a"));
    assert!(unheard_for >= Span::from_secs(6), "{unheard_for:?}");
    assert_eq!(unheard_for.plus(silent_in), FleetLimits::default().silence);
    cell.pass_with(silent_in.ms() / 1_000 + 1, &["b"]);
    assert_eq!(cell.state("a1"), ShardState::Held);
}

/// T28: an open shard whose data is gone is counted while it is so.
#[test]
fn open_shards_with_something_wrong_are_counted() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.play();
    let impaired = |cell: &Cell| cell.engine.cell_view().unwrap().shards_impaired;
    assert_eq!((cell.state("a1"), impaired(&cell)), (ShardState::Open, 0));
    cell.inventory("a", vec![]);
    assert_eq!((cell.state("a1"), impaired(&cell)), (ShardState::Open, 1));
    cell.inventory("a", vec![claim("a1", "a")]);
    assert_eq!(impaired(&cell), 0);
    cell.assert_replays();
}

/// A shard is offered an earlier wave only where bringing it forward would not be refused.
#[test]
fn only_a_wave_that_can_be_reached_is_offered() {
    let mut cell = Cell::with_fleet(1, 4);
    let mut plan = generous();
    plan.waves.promotion = Promotion::Manual;
    let quarter = Share::Mailboxes(percent("25%"));
    plan.waves.schedule = Schedule::List(vec![quarter, quarter, Share::Rest]);
    cell.start(plan);
    cell.play();
    for id in ["a1", "a2", "a3", "a4"] {
        let Some(WaitingOn::Wave { earlier, promotion, .. }) = cell.view(id).waiting_on else { continue };
        let tried = cell.rehearse(Verb::Prioritise { selector: only(id) });
        assert_eq!((tried.is_ok(), promotion), (earlier.is_some(), Promotion::Manual), "{id}: {tried:?}");
    }
}

/// T29, R8: what a person closes after a restore is closed, be its node heard before or after: it is told to serve nothing, and
/// nobody is asked again.
#[test]
fn a_closing_before_the_node_is_heard_ends_the_doubt() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.run(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } });
    let close = || Verb::Close { selector: only("a1"), reason: "the array is gone".to_owned() };
    assert!(cell.ask(close()).unwrap().changes);
    assert!(!cell.ask(close()).unwrap().changes, "it is so already");
    cell.told();
    cell.connect_with("a", 1, vec![], vec![(shard("a1"), ServiceSet::ALL)]);
    cell.inventory("a", vec![Claim { services: ServiceSet::ALL, ..claim("a1", "a") }]);
    assert_eq!(cell.told(), [(node("a"), shard("a1"), ServiceSet::NONE)]);
    assert_eq!(held(&cell, "a1"), None, "a person has decided");
    cell.assert_replays();
}

/// A cell whose restored journal has `a1` closed while its node serves it, and of which node `b` shows a copy, or the volume.
fn disagreed_and_contested(volume: &str) -> Cell {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.ordered();
    restored(&mut cell);
    cell.connect_with("a", 1, vec![], vec![(shard("a1"), ServiceSet::ALL)]);
    assert_eq!(held(&cell, "a1"), Some(disagreement(ServiceSet::ALL)));
    cell.connect("b", 1);
    cell.inventory("b", vec![claim("b1", "b"), Claim { volume: volume_of(volume), ..claim("a1", "b") }]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Contested { .. })));
    cell
}

fn restored(cell: &mut Cell) {
    cell.engine = cell.assert_replays();
    cell.commands.clear();
    cell.run(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } });
}

const fn disagreement(node: ServiceSet) -> HeldReason {
    HeldReason::Disagreement { journal: ServiceSet::NONE, node }
}

fn settle_on(node: NodeId, selector: Selector) -> Verb {
    Verb::Settle { selector, node, reason: "that one".to_owned() }
}

/// T28, T29: a contest covers a disagreement and decides nothing about it: it stands again when the contest is over, be it
/// that the claim was let go or that a person has settled where the shard is.
#[test]
fn a_contest_leaves_a_disagreement_behind() {
    let ends: [&dyn Fn(&mut Cell); 3] = [
        &|cell| cell.inventory("b", vec![claim("b1", "b")]),
        &|cell| _ = cell.ask(settle_on(node("a"), only("a1"))).unwrap(),
        &|cell| _ = cell.ask(settle_on(node("a"), all())).unwrap(),
    ];
    for end in ends {
        let mut cell = disagreed_and_contested("z");
        end(&mut cell);
        assert_eq!(held(&cell, "a1"), Some(disagreement(ServiceSet::ALL)));
        cell.play();
        assert_eq!(cell.view("a1").shard.services, ServiceSet::NONE, "no person has decided");
        cell.ask(Verb::Adopt { selector: only("a1"), services: ServiceSet::ALL, reason: "it is".to_owned() })
            .unwrap();
        assert_eq!((cell.state("a1"), cell.view("a1").shard.doubted), (ShardState::Open, false));
        cell.assert_replays();
    }
}

/// T28, T29: what is settled on another node is agreed on with that one.
#[test]
fn what_moves_is_agreed_on_where_it_is() {
    let imap = ServiceSet::NONE.with(Service::Imap);
    for (services, reason) in [(imap, Some(disagreement(imap))), (ServiceSet::NONE, None)] {
        let mut cell = disagreed_and_contested("z");
        let copy = Claim { volume: volume_of("z"), services, ..claim("a1", "b") };
        cell.inventory("b", vec![claim("b1", "b"), copy]);
        cell.ask(settle_on(node("b"), only("a1"))).unwrap();
        assert_eq!(cell.view("a1").shard.placement.node, node("b"));
        assert_eq!((held(&cell, "a1"), cell.view("a1").shard.doubted), (reason.clone(), reason.is_some()));
        cell.assert_replays();
    }
}

/// T28, T29: nothing starts while the node of a restored shard has not told what it serves, whatever held the shard before and
/// though the node is there and the campaign runs.
#[test]
fn nothing_goes_on_before_it_is_agreed_on() {
    let resume = || Verb::Resume { campaign: campaign("return") };
    for services in [ServiceSet::ALL, ServiceSet::NONE] {
        let mut cell = disagreed_and_contested("a");
        cell.ask(resume()).unwrap();
        // Its new session has shown nothing yet.
        cell.connect("b", 1);
        cell.ask(settle_on(node("b"), only("a1"))).unwrap();
        let shard_view = cell.view("a1").shard;
        assert_eq!((shard_view.placement.node, shard_view.doubted), (node("b"), true));
        assert_eq!((cell.state("a1"), held(&cell, "a1")), (ShardState::Waiting, None));
        cell.told();
        cell.pass_with(5, &["a", "b"]);
        assert_eq!(cell.told(), [], "nobody says yet what it is to serve");
        let tasks = cell.ordered();
        assert!(tasks.iter().any(|(_, task)| task.shard == shard("b1")), "b has a place for tasks");
        assert!(tasks.iter().all(|(_, task)| task.shard != shard("a1")), "{tasks:?}");
        let shown = Claim { volume: volume_of("a"), services, ..claim("a1", "b") };
        cell.inventory("b", vec![claim("b1", "b"), shown]);
        let agreed = services == ServiceSet::NONE;
        assert_eq!(held(&cell, "a1"), (!agreed).then(|| disagreement(ServiceSet::ALL)));
        assert_eq!(cell.ordered().iter().any(|(_, task)| task.shard == shard("a1")), agreed);
        cell.assert_replays();
    }
}

/// T29: no step of opening follows, and nothing counts as in service, while the node of a restored shard is not heard.
#[test]
fn no_step_follows_before_it_is_agreed_on() {
    let imap = ServiceSet::NONE.with(Service::Imap);
    for steps in [vec![imap, ServiceSet::NONE.with(Service::Pop)], vec![imap]] {
        let mut cell = Cell::with_fleet(1, 1);
        let mut plan = generous();
        plan.opening.steps = steps;
        cell.start(plan);
        for end in [verified(Outcome::Clean, "a"), TaskEnd::Confirmed] {
            let [(_, task)] = cell.ordered().try_into().unwrap();
            cell.result("a", "a1", task.attempt.raw(), end);
        }
        cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap();
        cell.seen("a", "a1", imap);
        restored(&mut cell);
        cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
        cell.pass_with(5, &[]);
        let shard_view = cell.view("a1").shard;
        assert_eq!(
            (cell.state("a1"), shard_view.services, shard_view.doubted),
            (ShardState::Opening, imap, true)
        );
        cell.connect_with("a", 1, vec![], vec![(shard("a1"), imap)]);
        assert!(cell.view("a1").shard.doubted, "the node has not shown it");
        cell.inventory("a", vec![Claim { services: imap, ..claim("a1", "a") }]);
        assert!(!cell.view("a1").shard.doubted && cell.view("a1").shard.services != ServiceSet::NONE);
        cell.play();
        assert_eq!(cell.state("a1"), ShardState::Open);
        cell.assert_replays();
    }
}

/// T29, R1: what is closed in a restored journal may have been opened and found damaged since: nothing goes on before a person
/// resumes, and then it is verified, not confirmed.
#[test]
fn a_restored_journal_opens_nothing_on_what_it_knew() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.ordered();
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    let backup = cell.journal.clone();
    cell.play();
    cell.ask(Verb::Close { selector: only("a1"), reason: "controller alarm".to_owned() }).unwrap();
    let mut restored = Engine::new();
    backup.iter().for_each(|entry| restored.replay(entry).unwrap());
    (cell.engine, cell.journal) = (restored, backup);
    cell.commands.clear();
    cell.run(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } });
    assert_eq!(cell.campaign("return").state, CampaignState::Paused(PauseCause::Restored));
    cell.connect("a", 1);
    cell.inventory("a", vec![claim("a1", "a")]);
    assert_eq!((cell.ordered(), cell.view("a1").shard.standing), (vec![], None), "it waits for a person");
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    let [(_, task)] = cell.ordered().try_into().unwrap();
    assert!(matches!(task.action, Action::Verify { .. }), "{task:?}");
    cell.assert_replays();
}

/// T29, R1: what had ended before the backup goes on by itself where the node it waited for is heard: not after a restore,
/// before a person resumes.
#[test]
fn a_restored_journal_reopens_no_campaign_by_itself() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    cell.play();
    for _ in 0..80 {
        cell.pass_with(5, &["b"]);
    }
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    restored(&mut cell);
    assert_eq!(cell.campaign("return").state, CampaignState::Paused(PauseCause::Restored));
    cell.connect_with("b", 1, vec![], vec![(shard("b1"), ServiceSet::ALL)]);
    cell.connect("a", 1);
    cell.inventory("a", vec![claim("a1", "a")]);
    cell.pass_with(5, &["a", "b"]);
    assert_eq!((cell.state("a1"), cell.ordered()), (ShardState::Waiting, vec![]));
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.pass_with(5, &["a", "b"]);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell.assert_replays();
}

/// T29: a campaign whose waves were half formed in the backup is formed to its end, and waits for a person.
#[test]
fn a_restored_journal_starts_no_campaign_by_itself() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    let mut backup = cell.journal.clone();
    let started = |entry: &Entry| {
        entry.decisions.iter().position(|d| matches!(d.record, Record::CampaignStarted { .. }))
    };
    let (at, decision) = backup.iter().enumerate().find_map(|(at, e)| Some((at, started(e)?))).unwrap();
    backup.truncate(at + 1);
    backup[at].decisions.truncate(decision + 1);
    let mut engine = Engine::new();
    backup.iter().for_each(|entry| engine.replay(entry).unwrap());
    (cell.engine, cell.journal) = (engine, backup);
    assert_eq!(cell.campaign("return").state, CampaignState::Forming);
    cell.commands.clear();
    cell.run(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } });
    assert_eq!(cell.campaign("return").state, CampaignState::Paused(PauseCause::Restored));
    cell.connect("a", 1);
    assert_eq!(cell.ordered(), vec![]);
}
