//! A cell with agents in this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rientro_engine::{Event, Hello};
use rientro_orchestrator::journal::RedbOptions;
use rientro_orchestrator::rig::{LocalAgent, Rig};
use rientro_orchestrator::{DriverSettings, StateDir, plan};
use rientro_types::{
    Action, Actor, ActorKind, AttemptNo, Authentication, BootId, CampaignId, CampaignState, CellId, Claim,
    Digest, FleetLimits, NodeId, NodeIncarnation, Outcome, Ppm, ServiceSet, ShardId, Tally, Task, TaskEnd,
    TaskKind, Verb, Verdict, Verification, VolumeId,
};
use rientro_wire::session::OrchestratorMessage;

use crate::process;

/// Storage nodes of the cell.
const NODES: usize = 16;
/// Tasks of each kind at once on one node: enough to keep the journal busy, few enough to see its latency.
const TASKS_PER_NODE: u32 = 16;
/// How long an idle cell is looked at.
const IDLE: Duration = Duration::from_secs(20);
const MAILBOXES: u64 = 1_000;

pub(crate) fn state(folder: &Path) -> StateDir {
    let state = StateDir::open(&folder.join("state"), RedbOptions::default(), None).unwrap();
    state.prepare().unwrap();
    state
}

pub(crate) fn settings(snapshot_every_records: u64) -> DriverSettings {
    DriverSettings {
        cell: CellId::new("bench").unwrap(),
        mailbox_key: [7; 32],
        mailbox_key_path: "mailbox.key".into(),
        snapshot_every_records,
    }
}

fn node(at: usize) -> NodeId {
    NodeId::new(&format!("node-{at}")).unwrap()
}

fn volume(at: usize) -> VolumeId {
    VolumeId::new(&format!("fs:{at:036}")).unwrap()
}

const LIFE: NodeIncarnation = NodeIncarnation::from_raw(1);
const BOOT: BootId = BootId::from_raw(1).expect("it is not 0");

async fn agent(rig: &Rig, at: usize) -> LocalAgent {
    let hello = |session| Hello {
        session,
        node: node(at),
        incarnation: LIFE,
        boot: BOOT,
        labels: BTreeMap::new(),
        running: Vec::new(),
        served: Vec::new(),
    };
    let mut agent = LocalAgent::greet(&rig.handle, hello).await;
    assert!(matches!(agent.next().await, Some(OrchestratorMessage::Welcome(_))));
    agent
}

pub(crate) fn operator() -> Actor {
    Actor { kind: ActorKind::Operator, id: "bench".to_owned(), authentication: Authentication::Loopback }
}

async fn act(rig: &Rig, verb: Verb) {
    rig.handle.act(operator(), verb, false, [3; 32]).await.unwrap().unwrap();
}

/// Records in the journal.
pub(crate) async fn records(rig: &Rig) -> u64 {
    rig.handle.ask(|engine| engine.seq_next().raw()).await.unwrap() - 1
}

/// Shards known.
pub(crate) async fn shards(rig: &Rig) -> u64 {
    rig.handle.ask(|engine| engine.cell_view().unwrap().counts.shards_total()).await.unwrap()
}

/// Lets every node tell its shards.
pub(crate) async fn enrol(rig: &Rig, shards: usize) {
    let limits = FleetLimits {
        verifies_per_node: TASKS_PER_NODE,
        confirms_per_node: TASKS_PER_NODE,
        ..FleetLimits::default()
    };
    act(rig, Verb::SetLimits { limits }).await;
    for at in 0..NODES {
        let agent = agent(rig, at).await;
        let mine: Vec<usize> = (at..shards).step_by(NODES).collect();
        let pages: Vec<_> = mine.chunks(4_096).collect();
        for (page, names) in pages.iter().enumerate() {
            let claims = names.iter().map(|name| claim(*name, at)).collect();
            let (first, last) = (page == 0, page + 1 == pages.len());
            agent.say(Event::Inventory { node: node(at), incarnation: LIFE, first, claims, last }).await;
        }
        rig.handle.ask(|_| ()).await.unwrap();
        agent.leave();
    }
}

fn claim(name: usize, at: usize) -> Claim {
    let shard = ShardId::new(&format!("shard-{name:07}")).unwrap();
    let (volume, services) = (volume(at), ServiceSet::NONE);
    Claim { shard, volume, second: None, mailboxes: MAILBOXES, services }
}

/// Runs a campaign over everything, from its start until every shard is open; gives the sorted times from each result's
/// arrival to its acknowledgement.
pub(crate) async fn campaign(rig: &Rig) -> Vec<Duration> {
    let text = "name = \"bench\"\n[covers]\nall = true\n[waves]\nlist = [\"5%\", \"rest\"]\nbake = \"0s\"\n[open]\nin_flight = 512\n";
    let file = plan::read(text.as_bytes()).unwrap();
    let mut agents = tokio::task::JoinSet::new();
    for at in 0..NODES {
        let agent = agent(rig, at).await;
        agents.spawn(work(agent, at));
    }
    act(rig, Verb::Start { plan: Box::new(file.plan), source: file.source }).await;
    let id = CampaignId::new("bench").unwrap();
    let over = move |engine: &rientro_engine::Engine| {
        engine.campaign_states().any(|(campaign, state)| campaign == id && state == CampaignState::Ended)
    };
    while !rig.handle.ask(over).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let leaving = rig.handle.clone();
    for at in 0..NODES {
        // A later session of the same node ends the one that works.
        LocalAgent::greet(&leaving, |session| Hello {
            session,
            node: node(at),
            incarnation: LIFE,
            boot: BOOT,
            labels: BTreeMap::new(),
            running: Vec::new(),
            served: Vec::new(),
        })
        .await
        .leave();
    }
    let mut latencies: Vec<Duration> = agents.join_all().await.into_iter().flatten().collect();
    latencies.sort_unstable();
    latencies
}

/// An agent that does everything at once and finds everything clean, until its session ends.
async fn work(mut agent: LocalAgent, at: usize) -> Vec<Duration> {
    let (mut latencies, mut sent) = (Vec::new(), BTreeMap::<(ShardId, AttemptNo), Instant>::new());
    while let Some(message) = agent.next().await {
        match message {
            OrchestratorMessage::StartTask { task, .. } => {
                sent.insert((task.shard, task.attempt), Instant::now());
                let (shard, attempt, end) = (task.shard, task.attempt, end(&task));
                agent.say(Event::Result { node: node(at), incarnation: LIFE, shard, attempt, end }).await;
            }
            OrchestratorMessage::Acknowledge { shard, attempt } => {
                latencies.extend(sent.remove(&(shard, attempt)).map(|sent| sent.elapsed()));
            }
            OrchestratorMessage::SetServices { shard, services, .. } => {
                agent.say(Event::Seen { node: node(at), incarnation: LIFE, shard, services }).await;
            }
            _ => {}
        }
    }
    latencies
}

fn end(task: &Task) -> TaskEnd {
    let level = match (task.action, task.action.kind()) {
        (Action::Verify { level }, _) => level,
        (Action::Confirm { .. }, TaskKind::Verify | TaskKind::Confirm) => return TaskEnd::Confirmed,
    };
    let tally = Tally { mailboxes: MAILBOXES, messages: 500_000, bytes: 1 << 30, ..Tally::default() };
    let verdict = Verdict { outcome: Outcome::Clean, level, coverage: Ppm::ONE, tally };
    let digest = Digest::of(task.shard.as_str().as_bytes());
    let verification = Verification { verdict, stat_walk: digest, findings: digest, volume: task.volume };
    TaskEnd::Verified { verification, damaged: Vec::new() }
}

/// Decides a little, so that a snapshot is begun, and waits until it is there.
pub(crate) async fn snapshot(rig: &Rig) {
    let limits = FleetLimits { verifies_per_node: 5, ..FleetLimits::default() };
    act(rig, Verb::SetLimits { limits }).await;
    while rig.measured().contains("rientro_snapshots_total 0") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Looks at a cell in which every node has a session and nothing happens.
pub(crate) async fn idle(rig: &Rig, shards: u64) {
    let mut agents = Vec::new();
    for at in 0..NODES {
        agents.push(agent(rig, at).await);
    }
    let (before, begin) = (process::busy(), Instant::now());
    tokio::time::sleep(IDLE).await;
    let (busy, passed) = (process::busy().saturating_sub(before), begin.elapsed());
    let permille = busy.as_micros() * 100_000 / passed.as_micros();
    println!(
        "idle cell of {shards} shards: {}.{:03}% of one core (bound: 1%)",
        permille / 1_000,
        permille % 1_000
    );
    agents.into_iter().for_each(LocalAgent::leave);
}

/// What the appends of a run were like.
pub(crate) fn append_figures(measured: &str) -> String {
    let wanted = ["rientro_append_seconds_sum", "rientro_append_seconds_count"];
    measured
        .lines()
        .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
        .collect::<Vec<_>>()
        .join(", ")
}
