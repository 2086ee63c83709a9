//! Who is let in, who is turned away, and what a session's end means.

use rientro_orchestrator::Address;
use rientro_types::{
    Action, AttemptNo, ByteSize, CampaignId, Claim, Level, MAILBOXES_PER_SHARD_MAX, Outcome, Pace, Task,
    TaskEnd, VolumeId,
};
use rientro_wire::bulk::MailboxesPart;
use rientro_wire::session::{AgentMessage, Hello, OrchestratorMessage, RefuseReason};
use rientro_wire::v1;
use rientro_wire::v1::agent_service_client::AgentServiceClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::agent::{Agent, Manner, channel, claim, hello, open, shard, starts, verification, welcome_of};
use crate::cell::{Cell, until, within};

/// Greets and gives the reason and text of the refusal.
pub(crate) async fn refused(address: &Address, first: Vec<AgentMessage>) -> (RefuseReason, String) {
    let channel = channel(address).await;
    let first = first.into_iter().map(v1::SessionRequest::from).collect();
    let (_say, mut answers) = open(&channel, first).await.unwrap();
    let answer = within(answers.message()).await.unwrap().unwrap();
    match OrchestratorMessage::try_from(answer).unwrap() {
        OrchestratorMessage::Refused { reason, text } => {
            assert!(within(answers.message()).await.unwrap().is_none(), "the stream ends after a refusal");
            (reason, text)
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// A later session of the same node and life takes the place of the one before, which is told and ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_session_takes_over() {
    let cell = Cell::start().await;
    let first = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    let second = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    let heard = first.heard_that(|heard| heard.end.is_some()).await;
    assert!(heard.end.unwrap().unwrap().message().contains("took its place"));
    second.report(vec![claim("a")]).await.unwrap();
    cell.operator().await.start("k").await.unwrap();
    second.heard_that(|heard| starts(heard).len() == 1).await;
}

/// A node that greets with another node's name is refused with what to do; the holder is not disturbed.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_under_a_taken_name_is_refused() {
    let cell = Cell::start().await;
    let holder = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    let (reason, text) =
        refused(cell.address(), vec![AgentMessage::Hello(hello("n1", 2)), AgentMessage::HelloDone]).await;
    assert_eq!(reason, RefuseReason::NodeIdTaken);
    assert!(text.contains("another name"), "{text}");
    assert!(holder.heard.borrow().end.is_none());
    holder.report(vec![claim("a")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn greetings_out_of_order_or_of_another_protocol_are_refused() {
    let cell = Cell::start().await;
    let later = Hello { protocol: 99, ..hello("n1", 1) };
    let (reason, text) = refused(cell.address(), vec![AgentMessage::Hello(later)]).await;
    assert_eq!(reason, RefuseReason::Protocol);
    assert!(text.contains("protocol 99"), "{text}");
    let (reason, text) = refused(cell.address(), vec![AgentMessage::HelloDone]).await;
    assert_eq!((reason, text.as_str()), (RefuseReason::Protocol, "the first message of a session is Hello"));
    let early = AgentMessage::TaskStopped { shard: shard("a"), attempt: AttemptNo::from_raw(1) };
    let (_, text) = refused(cell.address(), vec![AgentMessage::Hello(hello("n1", 1)), early]).await;
    assert!(text.contains("only pages"), "{text}");
}

/// A message that breaks a bound ends the session with the path of the field; the node can come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_valid_ends_the_session_alone() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    let stopped = v1::session_request::TaskStopped { shard: "not a name".to_owned(), attempt: 1 };
    let message = Some(v1::session_request::Message::TaskStopped(stopped));
    agent.say.send(v1::SessionRequest { message }).await.unwrap();
    let end = agent.heard_that(|heard| heard.end.is_some()).await.end.unwrap().unwrap();
    assert_eq!(end.code(), Code::InvalidArgument);
    assert!(end.message().contains("task_stopped.shard"), "{end}");
    Agent::connect(cell.address(), "n1", Manner::Slow).await;
}

/// Bulk calls count only beside a session of the same life.
#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_without_a_session_is_refused() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    let stranger = rientro_wire::bulk::InventoryPart::Header {
        node: agent.node,
        incarnation: rientro_types::NodeIncarnation::from_raw(9),
    };
    let mut client = AgentServiceClient::new(channel(cell.address()).await);
    let parts: Vec<v1::ReportInventoryRequest> = vec![stranger.into()];
    let refused = within(client.report_inventory(tokio_stream::iter(parts))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    // An inventory that breaks off does not count, and does not make other shards missing.
    agent.report(vec![claim("a")]).await.unwrap();
    let header =
        rientro_wire::bulk::InventoryPart::Header { node: agent.node, incarnation: agent.incarnation };
    let cut = rientro_wire::bulk::InventoryPart::Page {
        claims: vec![claim("b")],
        complete: false,
        inventory: None,
    };
    let parts: Vec<v1::ReportInventoryRequest> = vec![header.into(), cut.into()];
    let refused = within(client.report_inventory(tokio_stream::iter(parts))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let view = cell.operator().await.cell().await.unwrap().cell.unwrap();
    assert_eq!(view.nodes_connected, 1);
}

/// The end of a connection is noticed at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_agent_is_seen_as_gone() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    assert!(welcome_of(&agent.heard.borrow()).is_some_and(|w| w.mailbox_key != [0; 32]));
    let operator = cell.operator().await;
    drop(agent);
    let gone = |cell: &Result<v1::GetCellResponse, _>| {
        cell.as_ref().is_ok_and(|cell| cell.cell.as_ref().is_some_and(|view| view.nodes_connected == 0))
    };
    until(|| operator.cell(), gone).await.unwrap();
}

/// Anybody can send greetings that make no sense: the log tells of them with a count, and does not fill.
#[tokio::test(flavor = "multi_thread")]
async fn refused_greetings_do_not_fill_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let process = crate::process::Process::start(folder.path(), &[]);
    process.operator().await;
    for _ in 0..30 {
        let (reason, _) = refused(&process.address, vec![AgentMessage::HelloDone]).await;
        assert_eq!(reason, RefuseReason::Protocol);
    }
    let log = process.terminate();
    let told = log.iter().filter(|line| line.contains("greetings refused")).count();
    assert!((1..=3).contains(&told), "{told} of 30: {log:#?}");
}

/// Counts of mailboxes that no shard can have end the call or the session that says them: the agent is told which field it is,
/// and so is whoever reads the orchestrator's log. Nothing of them counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_no_shard_can_have_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let process = crate::process::Process::start(folder.path(), &[]);
    let operator = process.operator().await;
    let agent = Agent::connect(&process.address, "n1", Manner::Slow).await;
    let claims = ["a", "b"].map(|name| Claim { mailboxes: u64::MAX, ..claim(name) });
    let refused = agent.report(claims.to_vec()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("page.claims[0].mailboxes is 18446744073709551615"), "{refused}");

    let task = Task {
        shard: shard("a"),
        attempt: AttemptNo::from_raw(1),
        campaign: CampaignId::new("k").unwrap(),
        volume: VolumeId::new("fs:1").unwrap(),
        action: Action::Verify { level: Level::Structure },
        pace: Pace { bytes_per_second: ByteSize::from_bytes(0), readers: 1 },
    };
    let mut verification = verification(&task, Outcome::Clean);
    verification.verdict.tally.mailboxes = MAILBOXES_PER_SHARD_MAX as u64 + 1;
    let end = TaskEnd::Verified { verification, damaged: Vec::new() };
    agent.say(AgentMessage::TaskResult { shard: task.shard, attempt: task.attempt, end }).await;
    let end = agent.heard_that(|heard| heard.end.is_some()).await.end.unwrap().unwrap();
    assert_eq!(end.code(), Code::InvalidArgument);
    assert!(end.message().contains("verdict.tally.mailboxes is 1048577; at most 1048576"), "{end}");

    let view = operator.cell().await.unwrap().cell.unwrap();
    assert!(view.counts.is_empty(), "nothing of it counts: {view:?}");
    let log = process.terminate();
    let told = |what: &str, field: &str| log.iter().any(|line| line.contains(what) && line.contains(field));
    assert!(told("bulk call refused", "page.claims[0].mailboxes"), "{log:#?}");
    assert!(told("message refused", "tally.mailboxes"), "{log:#?}");
}

/// A node has one turn at telling its lists, whatever it opens: the places that are left are for others.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_its_lists_in_one_call_at_a_time() {
    let cell = Cell::start().await;
    let (one, other) = (
        Agent::connect(cell.address(), "n1", Manner::Slow).await,
        Agent::connect(cell.address(), "n2", Manner::Slow).await,
    );
    let header = |agent: &Agent| {
        let (node, incarnation) = (agent.node, agent.incarnation);
        v1::ReportMailboxesRequest::from(MailboxesPart::Header { node, incarnation })
    };
    let mut calls = JoinSet::new();
    let mut open = Vec::new();
    for _ in 0..2 {
        let (say, parts) = mpsc::channel(1);
        say.send(header(&one)).await.unwrap();
        open.push(say);
        let mut client = AgentServiceClient::new(channel(cell.address()).await);
        calls.spawn(async move { client.report_mailboxes(ReceiverStream::new(parts)).await });
    }
    let refused = within(calls.join_next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused}");
    assert!(refused.message().contains("node n1 tells its lists of mailboxes already"), "{refused}");
    assert_eq!(other.report_mailboxes(vec![header(&other)]).await.unwrap(), (0, 0));
    drop(open);
    within(calls.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(one.report_mailboxes(vec![header(&one)]).await.unwrap(), (0, 0));
}
