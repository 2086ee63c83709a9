//! An agent that speaks the protocol over a real socket, and does what a test wants.

use std::collections::BTreeMap;

use rientro_orchestrator::Address;
use rientro_types::{
    Action, AttemptNo, BootId, Claim, Digest, FindingsHasher, Level, LocatedFinding, MailboxId, NodeId,
    NodeIncarnation, Outcome, Ppm, ServiceSet, ShardId, Tally, Task, TaskEnd, TaskKind, Verdict,
    Verification, VolumeId,
};
use rientro_wire::bulk::{FindingsPart, InventoryPart};
use rientro_wire::session::{AgentMessage, Hello, OrchestratorMessage, PROTOCOL, RunningTask, Welcome};
use rientro_wire::v1;
use rientro_wire::v1::agent_service_client::AgentServiceClient;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::cell::within;

/// A connection to an address of the orchestrator.
pub(crate) async fn channel(address: &Address) -> Channel {
    let Address::Loopback(address) = address else { panic!("agents of these tests use TCP") };
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    within(endpoint.connect()).await.unwrap()
}

/// What an agent does with its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Does them at once, and finds everything clean.
    Diligent,
    /// Begins them and never ends.
    Slow,
}

/// Everything an agent was told, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) messages: Vec<OrchestratorMessage>,
    /// How the stream ended.
    pub(crate) end: Option<Option<Status>>,
}

/// A connected agent.
pub(crate) struct Agent {
    pub(crate) node: NodeId,
    pub(crate) incarnation: NodeIncarnation,
    pub(crate) say: mpsc::Sender<v1::SessionRequest>,
    pub(crate) heard: watch::Receiver<Heard>,
    channel: Channel,
    task: AbortHandle,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(crate) fn shard(name: &str) -> ShardId {
    ShardId::new(name).unwrap()
}

fn volume() -> VolumeId {
    VolumeId::new("fs:1").unwrap()
}

/// A claim of a shard with ten mailboxes.
pub(crate) fn claim(name: &str) -> Claim {
    let (volume, services) = (volume(), ServiceSet::NONE);
    Claim { shard: shard(name), volume, second: None, mailboxes: 10, services }
}

pub(crate) fn hello(name: &str, incarnation: u64) -> Hello {
    Hello {
        protocol: PROTOCOL,
        build: "scripted".to_owned(),
        node: node(name),
        incarnation: NodeIncarnation::from_raw(incarnation),
        labels: BTreeMap::new(),
        newest: None,
        witness: None,
        inventory: None,
        boot: BootId::from_raw(1).expect("it is not 0"),
    }
}

/// Opens a session and says these things; gives what is answered.
pub(crate) async fn open(
    channel: &Channel,
    first: Vec<v1::SessionRequest>,
) -> Result<(mpsc::Sender<v1::SessionRequest>, Streaming<v1::SessionResponse>), Status> {
    let (say, said) = mpsc::channel(1_024);
    for message in first {
        say.send(message).await.unwrap();
    }
    let mut client = AgentServiceClient::new(channel.clone());
    let answered = within(client.session(ReceiverStream::new(said))).await?;
    Ok((say, answered.into_inner()))
}

impl Agent {
    /// Connects, greets, and waits for the welcome.
    pub(crate) async fn connect(address: &Address, name: &str, manner: Manner) -> Self {
        Self::connect_as(address, hello(name, 1), Vec::new(), manner).await
    }

    pub(crate) async fn connect_as(
        address: &Address,
        hello: Hello,
        running: Vec<RunningTask>,
        manner: Manner,
    ) -> Self {
        let channel = channel(address).await;
        let (node, incarnation) = (hello.node, hello.incarnation);
        let first = [AgentMessage::Hello(hello), AgentMessage::Running(running), AgentMessage::HelloDone];
        let (say, inbound) = open(&channel, first.map(Into::into).to_vec()).await.unwrap();
        let (heard_in, heard) = watch::channel(Heard::default());
        let speaker = say.clone();
        let task = tokio::spawn(listen(inbound, speaker, heard_in, manner)).abort_handle();
        let agent = Self { node, incarnation, say, heard, channel, task };
        agent.heard_that(|heard| welcome_of(heard).is_some()).await;
        agent
    }

    /// Waits until what was heard fulfils a condition.
    pub(crate) async fn heard_that(&self, condition: impl FnMut(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.clone();
        within(heard.wait_for(condition)).await.unwrap().clone()
    }

    /// Tasks it was told to begin.
    pub(crate) fn started(&self) -> Vec<Task> {
        starts(&self.heard.borrow())
    }

    pub(crate) async fn say(&self, message: AgentMessage) {
        self.say.send(message.into()).await.unwrap();
    }

    /// Tells its inventory, whole.
    pub(crate) async fn report(&self, claims: Vec<Claim>) -> Result<u64, Status> {
        let header = InventoryPart::Header { node: self.node, incarnation: self.incarnation };
        let page = InventoryPart::Page { claims, complete: true, inventory: Some(Digest::of(b"all")) };
        let parts: Vec<v1::ReportInventoryRequest> = vec![header.into(), page.into()];
        let mut client = AgentServiceClient::new(self.channel.clone());
        let answer = within(client.report_inventory(tokio_stream::iter(parts))).await?;
        Ok(answer.into_inner().taken)
    }

    /// Uploads an answer to a request for findings.
    pub(crate) async fn upload(
        &self,
        request_id: u64,
        shard: ShardId,
        findings: Vec<LocatedFinding>,
    ) -> Result<bool, Status> {
        let header = FindingsPart::Header {
            node: self.node,
            incarnation: self.incarnation,
            request_id,
            shard,
            attempt: AttemptNo::from_raw(1),
            available: true,
        };
        let total = findings.len() as u64;
        let parts = [header, FindingsPart::Page(findings), FindingsPart::End { findings_total: total }];
        let parts = parts.map(v1::UploadFindingsRequest::from);
        let mut client = AgentServiceClient::new(self.channel.clone());
        Ok(within(client.upload_findings(tokio_stream::iter(parts))).await?.into_inner().wanted)
    }

    /// Tells lists of mailboxes, whole.
    pub(crate) async fn report_mailboxes(
        &self,
        parts: Vec<v1::ReportMailboxesRequest>,
    ) -> Result<(u64, u64), Status> {
        let mut client = AgentServiceClient::new(self.channel.clone());
        let answer = within(client.report_mailboxes(tokio_stream::iter(parts))).await?.into_inner();
        Ok((answer.shards, answer.mailboxes))
    }
}

pub(crate) fn welcome_of(heard: &Heard) -> Option<Welcome> {
    heard.messages.iter().find_map(|message| match message {
        OrchestratorMessage::Welcome(welcome) => Some(welcome.clone()),
        _ => None,
    })
}

pub(crate) fn starts(heard: &Heard) -> Vec<Task> {
    let tasks = heard.messages.iter().filter_map(|message| match message {
        OrchestratorMessage::StartTask { task, .. } => Some(task.clone()),
        _ => None,
    });
    tasks.collect()
}

async fn listen(
    mut inbound: Streaming<v1::SessionResponse>,
    say: mpsc::Sender<v1::SessionRequest>,
    heard: watch::Sender<Heard>,
    manner: Manner,
) {
    loop {
        let message = match inbound.message().await {
            Ok(Some(message)) => OrchestratorMessage::try_from(message).unwrap(),
            Ok(None) => return heard.send_modify(|heard| heard.end = Some(None)),
            Err(status) => return heard.send_modify(|heard| heard.end = Some(Some(status))),
        };
        if let Some(answer) = answer(&message, manner) {
            // The orchestrator may be gone; the next message tells.
            let _gone = say.send(answer.into()).await;
        }
        heard.send_modify(|heard| heard.messages.push(message));
    }
}

/// What an agent of this manner says to a message.
fn answer(message: &OrchestratorMessage, manner: Manner) -> Option<AgentMessage> {
    match message {
        OrchestratorMessage::Heartbeat => Some(AgentMessage::Heartbeat),
        OrchestratorMessage::StartTask { task, .. } if manner == Manner::Diligent => {
            Some(AgentMessage::TaskResult { shard: task.shard, attempt: task.attempt, end: clean(task) })
        }
        OrchestratorMessage::SetServices { order, shard, services, .. } => {
            Some(AgentMessage::ServicesSeen { shard: *shard, services: *services, order: *order })
        }
        OrchestratorMessage::CancelTask { shard, attempt, .. } => {
            Some(AgentMessage::TaskStopped { shard: *shard, attempt: *attempt })
        }
        _ => None,
    }
}

/// The best end of a task.
pub(crate) fn clean(task: &Task) -> TaskEnd {
    match task.action.kind() {
        TaskKind::Confirm => TaskEnd::Confirmed,
        TaskKind::Verify => {
            TaskEnd::Verified { verification: verification(task, Outcome::Clean), damaged: Vec::new() }
        }
    }
}

/// Runs its first task into damage with these findings.
pub(crate) async fn find_damage(agent: &Agent, findings: &[LocatedFinding], damaged: Vec<MailboxId>) {
    let task = starts(&agent.heard_that(|heard| !starts(heard).is_empty()).await).remove(0);
    let mut hasher = FindingsHasher::default();
    findings.iter().for_each(|located| hasher.add(&located.finding));
    let verification = Verification { findings: hasher.finish(), ..verification(&task, Outcome::Damaged) };
    let end = TaskEnd::Verified { verification, damaged };
    agent.say(AgentMessage::TaskResult { shard: task.shard, attempt: task.attempt, end }).await;
    let acknowledged =
        |heard: &Heard| heard.messages.iter().any(|m| matches!(m, OrchestratorMessage::Acknowledge { .. }));
    agent.heard_that(acknowledged).await;
}

/// The newest request for findings, once it is another one than the last.
pub(crate) async fn asked_for_findings(agent: &Agent, last: Option<u64>) -> u64 {
    let asked = |heard: &Heard| {
        heard.messages.iter().rev().find_map(|message| match message {
            OrchestratorMessage::SendFindings { request_id, .. } => Some(*request_id),
            _ => None,
        })
    };
    asked(&agent.heard_that(|heard| asked(heard) > last).await).unwrap()
}

pub(crate) fn verification(task: &Task, outcome: Outcome) -> Verification {
    let level = match task.action {
        Action::Verify { level } => level,
        Action::Confirm { .. } => Level::Presence,
    };
    let mut tally = Tally { mailboxes: 10, messages: 100, bytes: 1_000, ..Tally::default() };
    if outcome == Outcome::Damaged {
        tally.messages_damaged = 1;
        tally.mailboxes_damaged = 1;
        tally.findings = 1;
        tally.kinds.insert(rientro_types::FindingKind::ALL[0]);
    }
    let verdict = Verdict { outcome, level, coverage: Ppm::ONE, tally };
    let digest = Digest::of(task.shard.as_str().as_bytes());
    Verification { verdict, stat_walk: digest, findings: digest, volume: task.volume }
}
