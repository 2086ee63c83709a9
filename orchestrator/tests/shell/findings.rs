//! Findings on their way from an agent to a reader.

use rientro_types::{CampaignId, Finding, FindingKind, LocatedFinding, MailboxId, Verb};
use rientro_wire::operator::{FindingsAnswer, FindingsGap, FindingsQuery};
use rientro_wire::v1;
use rientro_wire::v1::agent_service_client::AgentServiceClient;
use tokio::task::JoinSet;
use tonic::Code;

use crate::agent::{Agent, Manner, asked_for_findings, channel, claim, find_damage, shard};
use crate::cell::{Cell, Operator, within};

/// More uploads than the orchestrator takes at once.
const UPLOADS: usize = 100;

fn finding(no: u8) -> LocatedFinding {
    let finding = Finding {
        kind: FindingKind::SizeMismatch,
        mailbox: b"anna".to_vec(),
        path: vec![b'c', no],
        detail: "S=8".to_owned(),
    };
    let address = Some(b"anna@example.org".to_vec());
    LocatedFinding { mailbox_id: Some(MailboxId::from_raw([1; 16])), address, finding }
}

/// A cell in which shard `a` of node `n1` was verified, and what was found in it.
async fn damaged() -> (Cell, Agent, Operator, Vec<LocatedFinding>) {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let operator = cell.operator().await;
    operator.start("k").await.unwrap();
    let found = vec![finding(1), finding(2)];
    find_damage(&agent, &found, Vec::new()).await;
    (cell, agent, operator, found)
}

/// Asks for findings, has the agent answer with these, and reads to the end; gives how many were shown, and what was not.
async fn fetched(
    operator: &Operator,
    agent: &Agent,
    last: &mut Option<u64>,
    query: FindingsQuery,
    findings: Vec<LocatedFinding>,
) -> (u64, Option<FindingsGap>) {
    let request = v1::StreamFindingsRequest::from(query);
    let mut answers = within(operator.client.clone().stream_findings(request)).await.unwrap().into_inner();
    let request_id = asked_for_findings(agent, *last).await;
    *last = Some(request_id);
    assert!(agent.upload(request_id, shard("a"), findings).await.unwrap());
    let mut missing = None;
    loop {
        let answer = within(answers.message()).await.unwrap().expect("the stream has an end");
        match answer.try_into().unwrap() {
            FindingsAnswer::Page { .. } => {}
            FindingsAnswer::Missing { gap, .. } => missing = Some(gap),
            FindingsAnswer::End { findings_shown, .. } => return (findings_shown, missing),
        }
    }
}

/// Findings that pass whole are those whose digest the agent told with its result, or it is told that they are others. The stream
/// goes on to its end, so that those of other shards are shown.
#[tokio::test(flavor = "multi_thread")]
async fn findings_that_are_not_those_of_the_verification_are_a_gap() {
    let (_cell, agent, operator, found) = damaged().await;
    let whole = FindingsQuery { with_addresses: true, ..FindingsQuery::default() };
    let mut last = None;
    let shown = fetched(&operator, &agent, &mut last, whole.clone(), found.clone()).await;
    assert_eq!(shown, (2, None));
    for altered in [vec![finding(1), finding(3)], vec![finding(2), finding(1)], vec![finding(1)], Vec::new()]
    {
        let count = altered.len() as u64;
        let shown = fetched(&operator, &agent, &mut last, whole.clone(), altered).await;
        assert_eq!(shown, (count, Some(FindingsGap::Altered)));
    }
    // What is cut short, or without addresses, cannot be compared.
    let first = FindingsQuery { max: 1, ..whole };
    assert_eq!(fetched(&operator, &agent, &mut last, first, found.clone()).await, (1, None));
    let bare = FindingsQuery::default();
    assert_eq!(fetched(&operator, &agent, &mut last, bare, found).await, (2, None));
}

/// A closing ends what a verification counts for (R1), not what it found: that is asked for by the newest try, and is whatever
/// its node still keeps. A shard that was never tried is not asked about.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_before_a_closing_is_still_shown() {
    let (_cell, agent, operator, found) = damaged().await;
    agent.report(vec![claim("a"), claim("b")]).await.unwrap();
    operator.act(Verb::Abort { campaign: CampaignId::new("k").unwrap() }).await.unwrap();
    let whole = FindingsQuery { with_addresses: true, ..FindingsQuery::default() };
    let mut last = None;
    let shown = fetched(&operator, &agent, &mut last, whole, found).await;
    assert_eq!(shown, (2, None));
}

/// Uploads of findings, which go as fast as people read, take no place of what nodes report.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_do_not_go_on_hold_up_no_report() {
    let cell = Cell::start().await;
    let channel = channel(cell.address()).await;
    let mut uploads = JoinSet::new();
    for _ in 0..UPLOADS {
        let mut client = AgentServiceClient::new(channel.clone());
        uploads.spawn(async move { client.upload_findings(tokio_stream::pending()).await });
    }
    // Those beyond the bound are refused; the others wait for their first message.
    let refused = within(uploads.join_next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    assert_eq!(agent.report(vec![claim("a")]).await.unwrap(), 1);
}
