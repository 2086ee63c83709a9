//! Orders that reach running tasks: stop, hold, go on, faster, slower. And many tasks at once.

#![allow(clippy::unwrap_used, reason = "what cannot be set up fails its test")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; anything else fails it")]

mod support;

use std::time::Instant;

use rientro_types::{ByteSize, CampaignId, Pace, Progress, Task, TaskEnd, TaskFailure};
use rientro_wire::session::{AgentMessage, OrchestratorMessage};
use support::orchestrator::{Orchestrator, Session, within};
use support::{Node, attempt, order, shard, slow_verify, verify, welcome};

/// Seconds' worth of a pace that are read to measure it.
const SECONDS_READ: u64 = 9;

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

#[allow(clippy::disallowed_methods, reason = "a rate is bytes in a time")]
fn now() -> Instant {
    Instant::now()
}

/// R8, T3: a cancelled verification ends as cancelled, long before it would have ended by itself. How fast an abort is, the
/// benchmark `decisions` of the orchestrator measures.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_task() {
    let (node, _orchestrator, _agent, mut session) = slow_node().await;
    session.start(order(1), slow_verify("s1", 1, node.volume.id)).await;
    session.progress().await;
    session
        .say(OrchestratorMessage::CancelTask { order: order(2), shard: shard("s1"), attempt: attempt(1) })
        .await;
    let (_, _, end) = within(session.result()).await;
    assert_eq!(end, TaskEnd::Failed(TaskFailure::Cancelled));
}

/// T17: suspended, a task stands still; let go on it moves, never faster than the pace that is set; and a pace that is raised
/// is made use of.
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
    let (_, _, mut told) = session.progress().await;
    // Without the raise, a whole minute would not do for the second one.
    for (no, mib) in [(1, 1), (2, 8)] {
        session
            .say(OrchestratorMessage::SuspendCampaign { order: order(no * 3), campaign: campaign() })
            .await;
        let first = standing_still(&mut session, told.bytes).await;
        let pace = mib_a_second(mib);
        session
            .say(OrchestratorMessage::SetPace { order: order(no * 3 + 1), campaign: campaign(), pace })
            .await;
        let began = now();
        let order = order(no * 3 + 2);
        session.say(OrchestratorMessage::ContinueCampaign { order, campaign: campaign() }).await;
        let wanted = SECONDS_READ * (mib << 20);
        told = within(progress_to(&mut session, first + wanted)).await;
        let read = told.bytes - first;
        // Counted from before it was let go: a machine that lags can only make the rate look lower.
        let rate = read * 1000 / u64::try_from(now().duration_since(began).as_millis()).unwrap();
        assert!(rate < (mib << 20) * 2, "{mib} MiB/s wanted, {rate} B/s measured");
    }
}

fn mib_a_second(mib: u64) -> Pace {
    Pace { bytes_per_second: ByteSize::from_bytes(mib << 20), readers: 2 }
}

/// Waits until a suspended task has told all it did; gives the bytes it has read.
async fn standing_still(session: &mut Session, mut bytes: u64) -> u64 {
    // Progress is told only when there is any: heartbeats alone mean that it stands still.
    let mut quiet = 0;
    while quiet < 6 {
        match session.hear_any().await.unwrap() {
            AgentMessage::Heartbeat => quiet += 1,
            AgentMessage::TaskProgress { progress, .. } => (quiet, bytes) = (0, progress.bytes),
            other => panic!("{other:?}"),
        }
    }
    bytes
}

/// Waits until so many bytes are read.
async fn progress_to(session: &mut Session, bytes: u64) -> Progress {
    loop {
        let progress = session.progress().await.2;
        if progress.bytes >= bytes {
            return progress;
        }
    }
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
