//! Orders that reach running tasks: stop, hold, go on, faster, slower. And many tasks at once.

#![allow(clippy::unwrap_used, reason = "what cannot be set up fails its test")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; anything else fails it")]

mod support;

use std::time::{Duration, Instant};

use rientro_types::{ByteSize, CampaignId, Pace, Progress, Task, TaskEnd, TaskFailure};
use rientro_wire::session::{AgentMessage, OrchestratorMessage};
use support::orchestrator::{Orchestrator, Session};
use support::{Node, attempt, order, shard, slow_verify, verify, welcome};

async fn slow_node() -> (Node, Orchestrator, support::Agent, Session) {
    let node = Node::new();
    node.volume.shard("s1", 4, 400);
    let mut orchestrator = Orchestrator::start().await;
    let agent = node.start(&[&orchestrator.endpoint()]);
    let (session, _) = orchestrator.greeted(&welcome()).await;
    (node, orchestrator, agent, session)
}

fn campaign() -> CampaignId {
    CampaignId::new("return").unwrap()
}

#[allow(clippy::disallowed_methods, reason = "what is asserted is a time")]
fn now() -> Instant {
    Instant::now()
}

/// R8, T3: a cancelled verification ends within a second, whatever it does; so does one that waits for its turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_task_within_a_second() {
    let (node, _orchestrator, _agent, mut session) = slow_node().await;
    session.start(order(1), slow_verify("s1", 1, node.volume.id)).await;
    session.progress().await;
    let began = now();
    session
        .say(OrchestratorMessage::CancelTask { order: order(2), shard: shard("s1"), attempt: attempt(1) })
        .await;
    let (_, _, end) = session.result().await;
    let took = now().duration_since(began);
    println!("from cancel to its result: {took:?}");
    assert_eq!(end, TaskEnd::Failed(TaskFailure::Cancelled));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// T17: suspended, a task stands still; let go on it moves; a pace that is set is the pace that is measured.
#[tokio::test(flavor = "multi_thread")]
async fn suspension_and_pace_reach_a_running_task() {
    let node = Node::new();
    for number in 0..8 {
        node.volume.mailbox_of(&format!("s1/ex.org/user{number}"), 1_000, 300);
    }
    let mut orchestrator = Orchestrator::start().await;
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.start(order(1), Task { pace: mib_a_second(1), ..verify("s1", 1, node.volume.id) }).await;
    session.progress().await;
    session.say(OrchestratorMessage::SuspendCampaign { order: order(2), campaign: campaign() }).await;
    // Progress is told only when there is any: heartbeats alone mean that it stands still.
    let mut quiet = 0;
    while quiet < 6 {
        quiet = match session.hear_any().await.unwrap() {
            AgentMessage::Heartbeat => quiet + 1,
            AgentMessage::TaskProgress { .. } => 0,
            other => panic!("{other:?}"),
        };
    }
    session.say(OrchestratorMessage::ContinueCampaign { order: order(3), campaign: campaign() }).await;
    session.progress().await;
    for mib in [2, 8] {
        let pace = mib_a_second(mib);
        session.say(OrchestratorMessage::SetPace { order: order(mib), campaign: campaign(), pace }).await;
        session.progress().await;
        let rate = measured(&mut session).await;
        println!("set {mib} MiB/s, measured {} KiB/s", rate >> 10);
        assert!(rate > (mib << 20) / 2 && rate < (mib << 20) * 2, "{mib} MiB/s wanted, {rate} B/s measured");
    }
}

fn mib_a_second(mib: u64) -> Pace {
    Pace { bytes_per_second: ByteSize::from_bytes(mib << 20), readers: 2 }
}

/// Bytes a second between two looks some seconds apart.
async fn measured(session: &mut Session) -> u64 {
    let (_, _, Progress { bytes: first, .. }) = session.progress().await;
    let began = now();
    let mut last = first;
    while now().duration_since(began) < Duration::from_secs(4) {
        last = session.progress().await.2.bytes;
    }
    (last - first) * 1000 / u64::try_from(now().duration_since(began).as_millis()).unwrap()
}

/// T12: verifications of 160 shards at once all end, and orders are answered meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_at_once_neither_block_each_other_nor_orders() {
    const SHARDS: u32 = 160;
    let node = Node::new();
    for number in 0..SHARDS {
        node.volume.shard(&format!("s{number}"), 2, 3);
    }
    let mut orchestrator = Orchestrator::start().await;
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    for number in 0..SHARDS {
        session.start(order(1), verify(&format!("s{number}"), 1, node.volume.id)).await;
    }
    session.set_services(order(2), shard("s0"), rientro_types::ServiceSet::ALL).await;
    let (mut ended, mut seen) = (0, false);
    while ended < SHARDS || !seen {
        match session.hear().await {
            AgentMessage::TaskResult { end: TaskEnd::Verified { .. }, shard, attempt } => {
                ended += 1;
                session.acknowledge(shard, attempt).await;
            }
            AgentMessage::ServicesSeen { .. } => seen = true,
            other => panic!("{other:?}"),
        }
    }
}
