//! How fast an abort reaches a hundred agents over real connections, while others send in bulk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use rientro_orchestrator::settings::{Flags, Settings};
use rientro_orchestrator::{Address, plan, start};
use rientro_types::{
    BootId, CampaignId, Claim, Digest, MailboxId, NodeId, NodeIncarnation, ServiceSet, ShardId, Verb,
    VolumeId,
};
use rientro_wire::bulk::{InventoryPart, MailboxesPart};
use rientro_wire::operator::Act;
use rientro_wire::session::{AgentMessage, Hello, OrchestratorMessage, PROTOCOL};
use rientro_wire::v1;
use rientro_wire::v1::agent_service_client::AgentServiceClient;
use rientro_wire::v1::operator_service_client::OperatorServiceClient;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

const AGENTS: usize = 100;
/// Agents that send lists of mailboxes without pause.
const SENDERS: usize = 16;
const ROUNDS: usize = 5;
/// Shards of each agent, all of which run when the abort comes.
const SHARDS: usize = 4;
const LIFE: NodeIncarnation = NodeIncarnation::from_raw(1);

/// What an agent was told, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    started: usize,
    cancelled: Option<Instant>,
}

async fn channel(address: &Address) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn node(at: usize) -> NodeId {
    NodeId::new(&format!("node-{at}")).unwrap()
}

fn shard(at: usize, no: usize) -> ShardId {
    ShardId::new(&format!("shard-{at}-{no}")).unwrap()
}

pub(crate) async fn measure(folder: &Path) {
    let state = folder.join("state").display().to_string();
    let any = "127.0.0.1:0";
    let flags = ["bench", "--cell", "bench", "--state-dir", &state, "--listen-metrics", "off"];
    let listen = ["--listen-agents", any, "--listen-operators", any];
    let flags = Flags::parse_from(flags.into_iter().chain(listen));
    let mut running = start(Settings::load(flags).unwrap()).await.unwrap();
    running.leads().await.unwrap();
    let address = running.addresses("agents")[0].clone();
    let mut agents = Vec::new();
    for at in 0..AGENTS {
        agents.push(agent(&address, at).await);
    }
    let (sent, mut senders) = (Arc::new(AtomicU64::new(0)), tokio::task::JoinSet::new());
    for at in 0..SENDERS {
        senders.spawn(send_lists(channel(&address).await, at, Arc::clone(&sent)));
    }
    let operator = OperatorServiceClient::new(channel(&address).await);
    let mut slowest = Vec::new();
    for round in 0..ROUNDS {
        slowest.push(abort(&operator, &agents, round).await);
    }
    slowest.sort_unstable();
    let mebibytes = sent.load(Ordering::Relaxed) >> 20;
    println!(
        "abort to the last of {AGENTS} agents while {SENDERS} of them sent {mebibytes} MiB in bulk: median {:.2?}, most {:.2?} of {ROUNDS} rounds (bound: 1 s)",
        slowest[ROUNDS / 2],
        slowest[ROUNDS - 1]
    );
    senders.shutdown().await;
    running.stop();
    running.ended().await.unwrap();
}

/// Starts a campaign, waits until every agent is busy, aborts it; gives the time until the last agent knew.
async fn abort(
    operator: &OperatorServiceClient<Channel>,
    agents: &[watch::Receiver<Told>],
    round: usize,
) -> Duration {
    let before: Vec<usize> = agents.iter().map(|told| told.borrow().started).collect();
    let text = format!("name = \"k{round}\"\n[covers]\nall = true\n[waves]\nlist = [\"rest\"]\n");
    let file = plan::read(text.as_bytes()).unwrap();
    act(operator, Verb::Start { plan: Box::new(file.plan), source: file.source }).await;
    for (told, before) in agents.iter().zip(before) {
        told.clone().wait_for(|told| told.started == before + SHARDS).await.unwrap();
    }
    let begin = Instant::now();
    act(operator, Verb::Abort { campaign: CampaignId::new(&format!("k{round}")).unwrap() }).await;
    let mut slowest = Duration::ZERO;
    for told in agents {
        let known = told
            .clone()
            .wait_for(|told| told.cancelled.is_some_and(|at| at > begin))
            .await
            .unwrap()
            .cancelled;
        slowest = slowest.max(known.unwrap().duration_since(begin));
    }
    slowest
}

async fn act(operator: &OperatorServiceClient<Channel>, verb: Verb) {
    let act = Act { actor: "bench".to_owned(), verb, dry_run: false };
    let answer = operator.clone().act(v1::ActRequest::from(act)).await.unwrap().into_inner();
    assert!(matches!(answer.answer, Some(v1::act_response::Answer::Receipt(_))), "{answer:?}");
}

/// An agent that begins its tasks and does not end them.
async fn agent(address: &Address, at: usize) -> watch::Receiver<Told> {
    let hello = Hello {
        protocol: PROTOCOL,
        build: "bench".to_owned(),
        node: node(at),
        incarnation: LIFE,
        labels: BTreeMap::new(),
        newest: None,
        witness: None,
        inventory: None,
        boot: BootId::from_raw(1).expect("it is not 0"),
    };
    let (say, said) = mpsc::channel(64);
    for message in [AgentMessage::Hello(hello), AgentMessage::HelloDone] {
        say.send(v1::SessionRequest::from(message)).await.unwrap();
    }
    let connection = channel(address).await;
    let mut client = AgentServiceClient::new(connection.clone());
    let mut inbound = client.session(ReceiverStream::new(said)).await.unwrap().into_inner();
    inbound.message().await.unwrap().unwrap();
    let claims = (0..SHARDS).map(|no| Claim {
        second: None,
        shard: shard(at, no),
        volume: VolumeId::new("fs:1").unwrap(),
        mailboxes: 1_000,
        services: ServiceSet::NONE,
    });
    let header = InventoryPart::Header { node: node(at), incarnation: LIFE };
    let page =
        InventoryPart::Page { claims: claims.collect(), complete: true, inventory: Some(Digest::ZERO) };
    let parts = [header, page].map(v1::ReportInventoryRequest::from);
    client.report_inventory(tokio_stream::iter(parts)).await.unwrap();
    let (told_in, told) = watch::channel(Told::default());
    tokio::spawn(async move {
        while let Ok(Some(message)) = inbound.message().await {
            let answer = match OrchestratorMessage::try_from(message).unwrap() {
                OrchestratorMessage::StartTask { .. } => {
                    told_in.send_modify(|told| told.started += 1);
                    continue;
                }
                OrchestratorMessage::CancelTask { shard, attempt, .. } => {
                    told_in.send_modify(|told| told.cancelled = Some(Instant::now()));
                    AgentMessage::TaskStopped { shard, attempt }
                }
                OrchestratorMessage::Heartbeat => AgentMessage::Heartbeat,
                _ => continue,
            };
            if say.send(answer.into()).await.is_err() {
                return;
            }
        }
    });
    told
}

/// Sends lists of mailboxes, call after call.
async fn send_lists(connection: Channel, at: usize, sent: Arc<AtomicU64>) {
    let mut client = AgentServiceClient::new(connection);
    let ids: Vec<MailboxId> =
        (0..50_000_u64).map(|n| MailboxId::from_raw((u128::from(n) << 64).to_be_bytes())).collect();
    loop {
        let header = MailboxesPart::Header { node: node(at), incarnation: LIFE };
        let pages = (0..SHARDS).map(|no| MailboxesPart::Page {
            shard: shard(at, no),
            mailboxes: ids.clone(),
            complete: true,
        });
        let parts: Vec<_> =
            std::iter::once(header).chain(pages).map(v1::ReportMailboxesRequest::from).collect();
        client.report_mailboxes(tokio_stream::iter(parts)).await.unwrap();
        sent.fetch_add((ids.len() * 16 * SHARDS) as u64, Ordering::Relaxed);
    }
}
