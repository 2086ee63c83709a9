//! The agent is killed, or the orchestrator is, at any moment: nothing is run twice, nothing is lost.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; anything else fails it")]

mod support;

use std::collections::BTreeMap;

use rientro_types::{ServiceSet, TaskEnd, TaskFailure};
use rientro_wire::session::{AgentMessage, OrchestratorMessage};
use support::orchestrator::Orchestrator;
use support::{Node, attempt, order, order_of, shard, slow_verify, verify, welcome, welcome_of};

/// T9: killed in the middle of a verification, the agent comes back, says that the try was interrupted until that is
/// acknowledged, and never runs it again; the next try runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_verification_is_interrupted_once() {
    let node = Node::new();
    node.volume.shard("s1", 4, 200);
    let mut orchestrator = Orchestrator::start().await;
    let agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.start(order(1), slow_verify("s1", 1, node.volume.id)).await;
    let (_, _, progress) = session.progress().await;
    assert!(progress.bytes > 0 || progress.messages > 0);
    agent.kill();

    let interrupted = (shard("s1"), attempt(1), TaskEnd::Failed(TaskFailure::Interrupted));
    for _ in 0..2 {
        // Not acknowledged, it is said again by each life of the process.
        let agent = node.start(&[&orchestrator.endpoint()]);
        let (mut session, greeting) = orchestrator.greeted(&welcome()).await;
        assert!(greeting.running.is_empty());
        assert_eq!(session.result().await, interrupted);
        session.start(order(2), verify("s1", 1, node.volume.id)).await;
        assert_eq!(session.result().await, interrupted);
        agent.kill();
    }
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    assert_eq!(session.result().await, interrupted);
    session.acknowledge(shard("s1"), attempt(1)).await;
    session.start(order(3), verify("s1", 1, node.volume.id)).await;
    // The acknowledgement is durable a moment after it came: until then the result is still the answer.
    let stopped = AgentMessage::TaskStopped { shard: shard("s1"), attempt: attempt(1) };
    while session.hear().await != stopped {
        session.start(order(3), verify("s1", 1, node.volume.id)).await;
    }
    session.start(order(4), verify("s1", 2, node.volume.id)).await;
    loop {
        if let AgentMessage::TaskResult { attempt: of, end, .. } = session.hear().await {
            assert_eq!(of, attempt(2));
            assert!(matches!(end, TaskEnd::Verified { .. }), "{end:?}");
            break;
        }
    }
}

/// T9: while the orchestrator is gone a verification goes on; its result waits, and is told to whoever leads next.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_waits_for_the_orchestrator_to_return() {
    let node = Node::new();
    node.volume.shard("s1", 4, 80);
    let mut orchestrator = Orchestrator::start().await;
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.set_services(order(1), shard("s1"), ServiceSet::ALL).await;
    session.hear().await;
    session.start(order(2), slow_verify("s1", 1, node.volume.id)).await;
    session.progress().await;
    let address = orchestrator.stop().await;
    assert_eq!(std::fs::read_to_string(node.state().join("services/s1")).unwrap().lines().count(), 5);
    drop(session);

    let mut orchestrator = Orchestrator::start_at(address).await;
    let next = order_of("cell", 1, 2, 0);
    let (mut session, greeting) = orchestrator.greeted(&welcome_of(&next)).await;
    assert_eq!(greeting.served.len(), 1);
    if !greeting.running.is_empty() {
        // A pace of its own reaches the try that an earlier term began.
        let pace = verify("s1", 1, node.volume.id).pace;
        let campaign = verify("s1", 1, node.volume.id).campaign;
        session.say(OrchestratorMessage::SetPace { order: order_of("cell", 1, 2, 3), campaign, pace }).await;
    }
    let (_, of, end) = session.result().await;
    assert_eq!(of, attempt(1));
    assert!(matches!(end, TaskEnd::Verified { .. }), "{end:?}");
}

/// R4, T9: killed again and again at moments of its own, with tasks, services and acknowledgements under way. Each try that was
/// begun ends exactly one way, whatever was told is told again alike, and services that were confirmed stay.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_forgets_nothing_it_said() {
    const KILLS: u32 = 12;
    let node = Node::new();
    for number in 0..4 {
        node.volume.shard(&format!("s{number}"), 2, 10);
    }
    let mut orchestrator = Orchestrator::start().await;
    let mut ends: BTreeMap<(String, u32), TaskEnd> = BTreeMap::new();
    let mut confirmed: BTreeMap<String, ServiceSet> = BTreeMap::new();
    for round in 1..=KILLS {
        let agent = node.start(&[&orchestrator.endpoint()]);
        let (mut session, greeting) = orchestrator.greeted(&welcome()).await;
        let served: BTreeMap<_, _> =
            greeting.served.iter().map(|served| (served.shard.to_string(), served.services)).collect();
        for (name, services) in &confirmed {
            // The set of the round before may have become durable without being confirmed.
            assert!(served.get(name) == Some(services) || served.contains_key(name), "round {round}: {name}");
        }
        for number in 0..4 {
            let name = format!("s{number}");
            let seq = u64::from(round) * 100 + number;
            let services = if (u64::from(round) + number).is_multiple_of(2) {
                ServiceSet::ALL
            } else {
                ServiceSet::ALL.intersection(ServiceSet::from_bits(3).unwrap())
            };
            session.set_services(order(seq), shard(&name), services).await;
            session.start(order(seq), verify(&name, round, node.volume.id)).await;
        }
        // Each round hears a few more messages before the kill.
        for _ in 0..round {
            match session.hear().await {
                AgentMessage::TaskResult { shard: of, attempt, end } => {
                    let key = (of.to_string(), attempt.raw());
                    let before = ends.insert(key.clone(), end.clone());
                    assert!(before.is_none() || before == Some(end), "round {round}: {key:?} ended twice");
                    if round % 3 == 0 {
                        session.acknowledge(of, attempt).await;
                    }
                }
                AgentMessage::ServicesSeen { shard, services, .. } => {
                    confirmed.insert(shard.to_string(), services);
                }
                other => panic!("round {round}: {other:?}"),
            }
        }
        agent.kill();
    }
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    // Every try is answered: with the end that was told, or one that nobody heard yet.
    for number in 0..4 {
        session.start(order(9_999), verify(&format!("s{number}"), KILLS + 1, node.volume.id)).await;
    }
    let mut last = 0;
    while last < 4 {
        if let AgentMessage::TaskResult { shard: of, attempt, end } = session.hear().await {
            if attempt.raw() == KILLS + 1 {
                assert!(matches!(end, TaskEnd::Verified { .. }), "{of}: {end:?}");
                last += 1;
            } else if let Some(before) = ends.get(&(of.to_string(), attempt.raw())) {
                assert_eq!(*before, end);
            }
            session.acknowledge(of, attempt).await;
        }
    }
}

/// R5, T7, T29: across restarts an order of a past term, and a welcome of one, are refused; a restored cell starts over.
#[tokio::test(flavor = "multi_thread")]
async fn the_fence_survives() {
    let node = Node::new();
    node.volume.shard("s1", 1, 2);
    let mut orchestrator = Orchestrator::start().await;
    let agent = node.start(&[&orchestrator.endpoint()]);
    let newer = order_of("cell", 1, 7, 0);
    let (mut session, _) = orchestrator.greeted(&welcome_of(&newer)).await;
    session.set_services(order_of("cell", 1, 6, 99), shard("s1"), ServiceSet::ALL).await;
    session.start(order_of("cell", 1, 7, 1), verify("s1", 1, node.volume.id)).await;
    session.result().await;
    agent.kill();

    let _agent = node.start(&[&orchestrator.endpoint()]);
    for past in [order_of("cell", 1, 6, 0), order_of("elsewhere", 9, 9, 0)] {
        let mut session = orchestrator.session().await;
        session.say(OrchestratorMessage::Welcome(welcome_of(&past))).await;
        session.hear_end().await;
    }
    let restored = order_of("cell", 2, 1, 0);
    let (mut session, greeting) = orchestrator.greeted(&welcome_of(&restored)).await;
    assert!(greeting.served.is_empty());
    session.start(order_of("cell", 2, 1, 5), verify("s1", 1, node.volume.id)).await;
    let (_, of, end) = session.result().await;
    assert_eq!(of, attempt(1));
    assert!(matches!(end, TaskEnd::Verified { .. }), "{end:?}");
}
