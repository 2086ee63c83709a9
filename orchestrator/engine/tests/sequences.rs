//! Whatever happens in whatever order, no rule breaks (R1-R3, R6, R7, R11) and the journal tells the whole state (R4).
//!
//! The simulator plays plausible agents for long; this plays implausible ones for short: results nobody asked for, listings of
//! other nodes' shards, lives that go back, verbs at any time. What breaks is shrunk to the few events that matter.
#![allow(missing_docs, reason = "a test binary")]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that is surprised fails")]

mod support;

use proptest::prelude::*;
use rientro_engine::Event;
use rientro_types::*;
use support::*;

/// Nodes `a`, `b`, `c`, each with this many shards at the beginning.
const NODES: usize = 3;
const SHARDS_PER_NODE: usize = 3;
const SHARDS: usize = NODES * SHARDS_PER_NODE;

/// Something that happens, in a form that shrinks to the simplest of its kind.
#[derive(Clone, Debug)]
enum Happens {
    /// Every task is answered as clean and every order is followed, until nothing is ordered.
    Plays {
        damaged: u16,
    },
    Passes {
        secs: u16,
        heard: u8,
    },
    Connects {
        node: usize,
        life: u64,
        running: Vec<(usize, u32)>,
        served: Vec<(usize, u8)>,
    },
    /// Another process of its first life.
    Knocks {
        node: usize,
        boot: u64,
        served: Vec<(usize, u8)>,
    },
    Disconnects {
        node: usize,
    },
    Lists {
        node: usize,
        life: u64,
        first: bool,
        last: bool,
        shards: u16,
        elsewhere: bool,
        twice: bool,
        serves: u8,
        mailboxes: u64,
    },
    Lacks {
        node: usize,
        life: u64,
        shard: usize,
        unlisted: u64,
    },
    Ends {
        node: usize,
        life: u64,
        shard: usize,
        attempt: u32,
        end: u8,
    },
    /// Nodes follow what they were told to serve, and do nothing else.
    Follows,
    /// Tasks just ordered end in one way; their nodes do nothing else.
    EndsOrdered {
        end: u8,
    },
    Stops {
        node: usize,
        life: u64,
        shard: usize,
        attempt: u32,
    },
    Sees {
        node: usize,
        life: u64,
        shard: usize,
        services: u8,
    },
    Asks {
        verb: u8,
        shard: usize,
        variant: u8,
    },
    Restarts {
        absent_secs: u16,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    let (node, shard) = (0..NODES, 0..SHARDS);
    let life = prop_oneof![8 => Just(1_u64), 1 => 0..3_u64];
    let attempt = 0..4_u32;
    let mailboxes = prop_oneof![3 => Just(100_u64), 1 => 98..103_u64];
    let running = proptest::collection::vec((shard.clone(), attempt.clone()), 0..3);
    let served = proptest::collection::vec((shard.clone(), any::<u8>()), 0..3);
    prop_oneof![
        4 => any::<u16>().prop_map(|damaged| Happens::Plays { damaged }),
        4 => (0..400_u16, any::<u8>()).prop_map(|(secs, heard)| Happens::Passes { secs, heard }),
        1 => (node.clone(), 1..4_u64, served.clone())
            .prop_map(|(node, boot, served)| Happens::Knocks { node, boot, served }),
        2 => (node.clone(), life.clone(), running, served)
            .prop_map(|(node, life, running, served)| Happens::Connects { node, life, running, served }),
        1 => node.clone().prop_map(|node| Happens::Disconnects { node }),
        2 => (node.clone(), life.clone(), any::<(bool, bool)>(), any::<(u16, bool, bool, u8)>(), mailboxes).prop_map(
            |(node, life, (first, last), (shards, elsewhere, twice, serves), mailboxes)| {
                Happens::Lists { node, life, first, last, shards, elsewhere, twice, serves, mailboxes }
            }
        ),
        1 => (node.clone(), life.clone(), shard.clone(), 0..3_u64)
            .prop_map(|(node, life, shard, unlisted)| Happens::Lacks { node, life, shard, unlisted }),
        2 => (node.clone(), life.clone(), shard.clone(), attempt.clone(), any::<u8>()).prop_map(
            |(node, life, shard, attempt, end)| Happens::Ends { node, life, shard, attempt, end }
        ),
        6 => any::<u8>().prop_map(|end| Happens::EndsOrdered { end }),
        2 => Just(Happens::Follows),
        1 => (node.clone(), life.clone(), shard.clone(), attempt)
            .prop_map(|(node, life, shard, attempt)| Happens::Stops { node, life, shard, attempt }),
        2 => (node, life, shard.clone(), any::<u8>())
            .prop_map(|(node, life, shard, services)| Happens::Sees { node, life, shard, services }),
        6 => (any::<u8>(), shard, any::<u8>())
            .prop_map(|(verb, shard, variant)| Happens::Asks { verb, shard, variant }),
        1 => (0..7_200_u16).prop_map(|absent_secs| Happens::Restarts { absent_secs }),
    ]
}

fn node_name(at: usize) -> &'static str {
    ["a", "b", "c"][at]
}

fn shard_name(at: usize) -> String {
    format!("{}{}", node_name(at / SHARDS_PER_NODE), at % SHARDS_PER_NODE + 1)
}

fn services(bits: u8) -> ServiceSet {
    ServiceSet::from_bits(bits & ServiceSet::ALL.bits()).unwrap()
}

fn all_served(served: &[(usize, u8)]) -> Vec<(ShardId, ServiceSet)> {
    served.iter().map(|(at, bits)| (shard(&shard_name(*at)), services(*bits))).collect()
}

fn end(kind: u8, on: &str) -> TaskEnd {
    match kind % 12 {
        0..=2 => verified(Outcome::Clean, on),
        3 => verified(Outcome::Damaged, on),
        4 => verified(Outcome::Unreadable, on),
        5 => verified(Outcome::Unknown(UnknownCause::Incomplete), on),
        6 => TaskEnd::Confirmed,
        7 => TaskEnd::Failed(TaskFailure::VolumeWrong { found: Some(volume_of("z")) }),
        8 => TaskEnd::Failed(TaskFailure::ShardMissing),
        9 => TaskEnd::Failed(TaskFailure::Changed),
        10 => TaskEnd::Failed(TaskFailure::Interrupted),
        _ => TaskEnd::Failed(TaskFailure::Agent { problem: "broken".to_owned() }),
    }
}

/// A plan whose variant decides its waves and its allowance for damage.
fn planned(variant: u8) -> Plan {
    let mut plan = plan(if variant & 1 == 0 { "even" } else { "odd" });
    if variant & 2 != 0 {
        plan.waves.schedule = Schedule::List(vec![Share::Mailboxes(percent("30%")), Share::Rest]);
    }
    if variant & 4 != 0 {
        plan.waves.promotion = Promotion::Manual;
    }
    if variant & 8 != 0 {
        plan.waves.error_budget = percent("50%");
        plan.waves.error_budget_canary = percent("50%");
    }
    if variant & 32 != 0 {
        plan.tries.attempts_max = 1;
        plan.opening.in_flight_max = 1;
    }
    if variant & 64 != 0 {
        plan.opening.steps = vec![services(1), services(2)];
    }
    if variant & 16 != 0 {
        plan.covers = Coverage::Shards((0..SHARDS / 2).map(|at| shard(&shard_name(at))).collect());
    }
    plan
}

fn verb(kind: u8, id: &str, variant: u8) -> Verb {
    let selector = if variant & 1 == 0 { only(id) } else { all() };
    let campaign = campaign(if variant & 2 == 0 { "even" } else { "odd" });
    let (reason, source) = ("tried".to_owned(), Digest::of(b"plan"));
    match kind % 13 {
        0 | 1 => Verb::Start { plan: Box::new(planned(variant)), source },
        2 => Verb::Revise { plan: Box::new(planned(variant)), source },
        3 => Verb::Pause { campaign },
        4 => Verb::Resume { campaign },
        5 => Verb::Abort { campaign },
        6 => Verb::Promote { campaign, wave: WaveNo::from_raw(u32::from(variant >> 4)) },
        7 => Verb::Close { selector, reason },
        8 => Verb::Retry { selector },
        9 => Verb::Accept { selector, reason },
        10 => Verb::Prioritise { selector },
        11 => Verb::Adopt { selector, services: services(variant), reason },
        _ => Verb::Settle { selector, node: node(node_name(usize::from(variant) % NODES)), reason },
    }
}

fn lives(life: u64) -> NodeIncarnation {
    NodeIncarnation::from_raw(life)
}

fn play(cell: &mut Cell, damaged: u16) {
    cell.play_finding(&|id| {
        let at = (0..SHARDS).position(|at| shard(&shard_name(at)) == id);
        let harmed = at.is_some_and(|at| damaged & (1 << at) != 0);
        if harmed { Outcome::Damaged } else { Outcome::Clean }
    });
}

/// What a node says it is at.
fn busy((at, attempt): &(usize, u32)) -> Busy {
    Busy {
        shard: shard(&shard_name(*at)),
        attempt: AttemptNo::from_raw(*attempt),
        kind: if attempt % 2 == 0 { TaskKind::Verify } else { TaskKind::Confirm },
    }
}

/// Claims on the shards whose bits are set, each like this one.
fn claims(shards: u16, like: Claim) -> Vec<Claim> {
    let shown = (0..SHARDS).filter(|at| shards & (1 << at) != 0);
    shown.map(|no| Claim { shard: shard(&shard_name(no)), ..like }).collect()
}

/// All that was ordered ends, well or not.
fn end_ordered(cell: &mut Cell, kind: u8) {
    for (on, task) in cell.ordered() {
        let well = match task.action {
            Action::Verify { .. } => verified(Outcome::Clean, on.as_str()),
            Action::Confirm { .. } => TaskEnd::Confirmed,
        };
        let end = if kind.is_multiple_of(2) { well } else { end(kind, on.as_str()) };
        cell.result(on.as_str(), task.shard.as_str(), task.attempt.raw(), end);
    }
}

fn happen(cell: &mut Cell, what: &Happens) {
    match what {
        Happens::Plays { damaged } => play(cell, *damaged),
        Happens::Passes { secs, heard } => {
            let heard: Vec<&str> = (0..NODES).filter(|at| heard & (1 << at) == 0).map(node_name).collect();
            cell.pass_with(u64::from(*secs), &heard);
        }
        Happens::Connects { node, life, running, served } => {
            cell.connect_with(
                node_name(*node),
                *life,
                running.iter().map(busy).collect(),
                all_served(served),
            );
        }
        Happens::Knocks { node, boot, served } => {
            cell.connect_as(node_name(*node), *boot, all_served(served));
        }
        Happens::Disconnects { node } => cell.disconnect(node_name(*node)),
        Happens::Lists { node: at, life, first, last, shards, elsewhere, twice, serves, mailboxes } => {
            let volume = volume_of(if *elsewhere { "z" } else { node_name(*at) });
            let (second, services) = (twice.then(|| volume_of("y")), services(*serves));
            let like = Claim { volume, second, mailboxes: *mailboxes, services, ..claim("a1", "a") };
            let (node, incarnation, claims) = (node(node_name(*at)), lives(*life), claims(*shards, like));
            cell.run(Event::Inventory { node, incarnation, first: *first, claims, last: *last });
        }
        Happens::Lacks { node: at, life, shard: no, unlisted } => {
            let (node, incarnation) = (node(node_name(*at)), lives(*life));
            let shard = shard(&shard_name(*no));
            cell.run(Event::Unlisted { node, incarnation, shard, unlisted: *unlisted });
        }
        Happens::Ends { node: at, life, shard: no, attempt, end: kind } => {
            cell.run(Event::Result {
                node: node(node_name(*at)),
                incarnation: lives(*life),
                shard: shard(&shard_name(*no)),
                attempt: AttemptNo::from_raw(*attempt),
                end: end(*kind, node_name(*at)),
            });
        }
        Happens::EndsOrdered { end } => end_ordered(cell, *end),
        Happens::Follows => {
            for (on, id, services) in cell.told() {
                cell.seen(on.as_str(), id.as_str(), services);
            }
        }
        Happens::Stops { node: at, life, shard: no, attempt } => {
            cell.run(Event::Stopped {
                node: node(node_name(*at)),
                incarnation: lives(*life),
                shard: shard(&shard_name(*no)),
                attempt: AttemptNo::from_raw(*attempt),
            });
        }
        Happens::Sees { node: at, life, shard: no, services: bits } => {
            cell.run(Event::Seen {
                node: node(node_name(*at)),
                incarnation: lives(*life),
                shard: shard(&shard_name(*no)),
                services: services(*bits),
            });
        }
        // A refusal is as good an answer as any.
        Happens::Asks { verb: kind, shard, variant } => {
            drop(cell.ask(verb(*kind, &shard_name(*shard), *variant)));
        }
        Happens::Restarts { absent_secs } => cell.restart(Span::from_secs(u64::from(*absent_secs))),
    }
}

proptest! {
    #[test]
    fn no_sequence_of_events_breaks_a_rule(events in proptest::collection::vec(happens(), 1..60)) {
        let mut cell = Cell::with_fleet(NODES, SHARDS_PER_NODE);
        for event in &events {
            happen(&mut cell, event);
        }
        cell.assert_replays();
    }
}

/// The sequences reach what they are about: shards open, are held and wait, in campaigns.
#[test]
fn sequences_reach_every_corner() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sequences = proptest::collection::vec(happens(), 1..60);
    let mut met = std::collections::BTreeSet::new();
    for _ in 0..128 {
        let mut cell = Cell::with_fleet(NODES, SHARDS_PER_NODE);
        for event in sequences.new_tree(&mut runner).unwrap().current() {
            happen(&mut cell, &event);
            met.extend((0..SHARDS).map(|at| cell.state(&shard_name(at))));
        }
    }
    let missing: Vec<_> = ShardState::ALL.iter().filter(|state| !met.contains(state)).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}
