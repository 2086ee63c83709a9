//! Transition tests: two agents with one identity, of which one has a copy of the other's state directory (T28).
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::{Command, Event, Observation, Origin, QUIET_MIN, TWIN_KEPT, TWIN_QUIET_MIN, Turnaway};
use rientro_types::*;
use support::*;

const FIRST: u64 = 1;
const SECOND: u64 = 2;

fn a_plan() -> Plan {
    let mut plan = plan("return");
    plan.waves.error_budget_canary = Ppm::ONE;
    plan
}

/// Another process knocks; tells whether it is let in.
fn knock(cell: &mut Cell, boot: u64) -> bool {
    knock_serving(cell, boot, Vec::new())
}

fn knock_serving(cell: &mut Cell, boot: u64, served: Vec<(ShardId, ServiceSet)>) -> bool {
    cell.commands.clear();
    cell.connect_as("a", boot, served);
    let twin = Turnaway::Twin { node: node("a") };
    let refused =
        cell.commands.iter().any(|c| matches!(c, Command::Refuse { turnaway, .. } if *turnaway == twin));
    let welcomed = cell.commands.iter().any(|c| matches!(c, Command::Welcome { .. }));
    assert_ne!(refused, welcomed, "{:?}", cell.commands);
    welcomed
}

fn twin(cell: &Cell) -> Option<Twin> {
    let twin = cell.engine.node_view(node("a")).expect("it is known").twin;
    assert_eq!(
        cell.engine.cell_view().expect("it is founded").nodes_twinned,
        u64::from(twin.is_some_and(|twin| !twin.quiet))
    );
    twin
}

/// Seconds in which nobody is heard.
fn quiet(cell: &mut Cell, secs: u64) {
    cell.pass_with(secs, &[]);
}

/// T28: while a process is heard, no other one of its life gets in, however often it knocks; both are told of.
#[test]
fn a_copy_is_refused_while_the_agent_is_heard() {
    let mut cell = Cell::with_fleet(1, 1);
    let began = cell.now;
    let served = vec![(shard("a1"), ServiceSet::ALL)];
    for _ in 0..30 {
        assert!(!knock_serving(&mut cell, SECOND, served.clone()));
        cell.pass(1);
    }
    let last = began + Span::from_secs(29);
    assert_eq!(
        twin(&cell),
        Some(Twin { since: began, last, knocks: 30, serves: 1, inside: false, quiet: false })
    );
    assert!(cell.engine.node_view(node("a")).unwrap().connected);
    cell.assert_replays();
}

/// What a copy says it serves moves nothing: it is not heard.
#[test]
fn a_copy_changes_nothing_that_is_journaled() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(a_plan());
    let records = cell.engine.seq_next();
    assert!(!knock_serving(&mut cell, SECOND, vec![(shard("a1"), ServiceSet::ALL)]));
    assert_eq!(cell.engine.seq_next(), records);
    quiet(&mut cell, 61);
    assert!(
        cell.engine.node_view(node("a")).unwrap().silent.is_some(),
        "a knock is no heartbeat of the other"
    );
}

/// The same process is let in again at once, as ever: its old session may still look alive.
#[test]
fn the_same_process_reconnects_at_once() {
    let mut cell = Cell::with_fleet(1, 1);
    assert!(knock(&mut cell, FIRST));
    assert!(knock(&mut cell, FIRST));
    assert_eq!(twin(&cell), None);
}

/// An agent whose machine lost power comes back while its old session looks alive: let in within the bound, and no twin.
#[test]
fn an_agent_gets_in_when_its_dead_session_is_quiet() {
    let mut cell = Cell::with_fleet(1, 1);
    assert!(!knock(&mut cell, SECOND));
    quiet(&mut cell, QUIET_MIN.ms() / 1_000 - 1);
    assert!(!knock(&mut cell, SECOND));
    quiet(&mut cell, 1);
    assert!(knock(&mut cell, SECOND), "after {QUIET_MIN}");
    cell.pass(30);
    assert_eq!(twin(&cell), None, "the one before was never heard again");
    cell.assert_replays();
}

/// An agent that crashed, and whose session is known to be gone, waits for nothing.
#[test]
fn an_agent_that_starts_again_is_let_in() {
    let mut cell = Cell::with_fleet(1, 1);
    for boot in 2..6 {
        cell.disconnect("a");
        assert!(knock(&mut cell, boot));
    }
    assert_eq!(twin(&cell), None);
}

/// A short silence limit counts in place of the bound.
#[test]
fn a_short_silence_limit_counts_first() {
    let mut cell = Cell::with_fleet(1, 1);
    let limits = FleetLimits { silence: Span::from_secs(3), ..FleetLimits::default() };
    cell.ask(Verb::SetLimits { limits }).unwrap();
    quiet(&mut cell, 3);
    assert!(knock(&mut cell, SECOND));
}

/// The copy gets in when the agent is gone, and that is told until it ends: it is not the one that was there.
#[test]
fn a_copy_that_got_in_is_told_of() {
    let mut cell = Cell::with_fleet(1, 1);
    assert!(!knock(&mut cell, SECOND));
    cell.pass(10);
    cell.disconnect("a");
    assert!(knock(&mut cell, SECOND));
    cell.pass(2 * TWIN_KEPT.ms() / 1_000);
    assert_eq!(twin(&cell).map(|twin| twin.inside), Some(true), "as long as it is inside");
    cell.disconnect("a");
    assert!(knock(&mut cell, 3), "a person looked, and started it again");
    assert_eq!(twin(&cell), None);
}

/// Two that get in by turns are told of, though neither was ever refused.
#[test]
fn two_that_get_in_by_turns_are_told_of() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.disconnect("a");
    assert!(knock(&mut cell, SECOND));
    assert_eq!(twin(&cell), None, "it may have started again");
    cell.disconnect("a");
    assert!(knock(&mut cell, FIRST));
    assert_eq!(twin(&cell).map(|twin| twin.inside), Some(true));
}

/// A twin that was stopped is forgotten after a time, and one that knocks again begins anew.
#[test]
fn a_copy_that_was_stopped_is_forgotten() {
    let mut cell = Cell::with_fleet(1, 1);
    assert!(!knock(&mut cell, SECOND));
    cell.pass(TWIN_KEPT.ms() / 1_000 - 1);
    assert!(twin(&cell).is_some());
    cell.pass(1);
    assert_eq!(twin(&cell), None);
    assert!(!knock(&mut cell, SECOND));
    cell.pass(1);
    assert_eq!(twin(&cell).map(|twin| twin.knocks), Some(1));
}

/// Once it has not knocked for the silence limit, and for three of its longest waits, it counts as quiet; one that is inside
/// never does.
#[test]
fn a_copy_that_was_stopped_is_told_as_quiet() {
    let mut cell = Cell::with_fleet(1, 1);
    assert!(!knock(&mut cell, SECOND));
    let is_quiet = |cell: &Cell| twin(cell).map(|twin| twin.quiet);
    let silence = FleetLimits::default().silence.ms() / 1_000;
    cell.pass(silence - 1);
    assert_eq!(is_quiet(&cell), Some(false));
    cell.pass(1);
    assert_eq!(is_quiet(&cell), Some(true));
    assert!(!knock(&mut cell, SECOND));
    cell.pass(1);
    assert_eq!(is_quiet(&cell), Some(false), "it is back");
    let limits = FleetLimits { silence: Span::from_secs(3), ..FleetLimits::default() };
    cell.ask(Verb::SetLimits { limits }).unwrap();
    cell.pass(TWIN_QUIET_MIN.ms() / 1_000 - 2);
    assert_eq!(is_quiet(&cell), Some(false));
    cell.disconnect("a");
    assert!(knock(&mut cell, SECOND));
    cell.pass(2 * silence);
    assert_eq!(is_quiet(&cell), Some(false), "it is inside");
}

/// Processes are observed, never journaled: the next leader lets in who comes first, and learns of the other.
#[test]
fn the_next_leader_meets_them_anew() {
    let mut cell = Cell::with_fleet(1, 1);
    assert!(!knock(&mut cell, SECOND));
    cell.pass(1);
    cell.run(Event::Lead { epoch: Epoch::from_raw(2), origin: Origin::Continued });
    assert_eq!(twin(&cell), None);
    assert!(knock(&mut cell, SECOND));
    assert!(!knock(&mut cell, FIRST));
    cell.observe(Observation::Heard { node: node("a") });
    assert_eq!(twin(&cell).map(|twin| twin.inside), Some(false));
}

/// A reimaged node has no processes of its earlier life.
#[test]
fn a_reimaged_node_has_no_twin() {
    let mut cell = Cell::with_fleet(1, 1);
    assert!(!knock(&mut cell, SECOND));
    cell.pass(1);
    cell.disconnect("a");
    cell.connect("a", 7);
    assert_eq!(twin(&cell), None);
}

/// R1: what was verified before a copy took the agent's place is verified again before it opens; what is open stays open.
#[test]
fn a_copy_opens_nothing_on_the_other_machines_verification() {
    let mut cell = Cell::with_fleet(1, 2);
    let mut plan = a_plan();
    plan.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Rest]);
    cell.start(plan);
    cell.play();
    let states = |cell: &Cell| (cell.state("a1"), cell.state("a2"));
    let (open, verified) = (ShardState::Open, ShardState::Verified);
    let first_opened = states(&cell) == (open, verified);
    assert!(first_opened || states(&cell) == (verified, open), "{:?}", states(&cell));
    let (first, second) = if first_opened { ("a1", "a2") } else { ("a2", "a1") };
    assert!(!knock(&mut cell, SECOND));
    cell.pass(1);
    cell.disconnect("a");
    assert!(knock_serving(&mut cell, SECOND, vec![(shard(first), ServiceSet::ALL)]));
    cell.inventory("a", vec![claim("a1", "a"), claim("a2", "a")]);
    let attempt = cell.view(second).shard.attempt;
    cell.pass(61);
    assert_eq!((cell.state(first), cell.state(second)), (open, ShardState::Verifying));
    assert_eq!(cell.view(second).shard.attempt, attempt.next());
    cell.play();
    assert_eq!(cell.state(second), open);
    cell.assert_replays();
}
