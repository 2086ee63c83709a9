//! Calls about the journal, mailboxes, findings and metrics.

use std::collections::BTreeMap;

use rientro_orchestrator::{Address, Restore};
use rientro_types::{
    AttemptNo, Digest, Finding, FindingKind, LocatedFinding, MailboxId, Outcome, Record, Selector, TaskEnd,
};
use rientro_wire::bulk::MailboxesPart;
use rientro_wire::operator::{
    BackupEnd, BackupHeader, BackupPart, FindingsAnswer, FindingsGap, FindingsQuery, MailboxQuery,
    TailedEntry,
};
use rientro_wire::session::{AgentMessage, OrchestratorMessage};
use rientro_wire::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::agent::{Agent, Manner, claim, shard, starts, verification, welcome_of};
use crate::cell::{Cell, Operator, until, within};

/// Everything the journal holds, by number.
pub(crate) async fn records(operator: &Operator) -> BTreeMap<u64, Record> {
    let request = v1::TailJournalRequest { from_seq: 0, follow: false };
    let mut entries = within(operator.client.clone().tail_journal(request)).await.unwrap().into_inner();
    let (mut records, mut chain) = (BTreeMap::new(), Digest::ZERO);
    while let Some(entry) = within(entries.message()).await.unwrap() {
        let TailedEntry { entry, digest } = entry.try_into().unwrap();
        assert_eq!(entry.previous, chain, "each entry follows the one before");
        chain = digest;
        let numbered = (entry.seq.raw()..).zip(entry.decisions).map(|(seq, decision)| (seq, decision.record));
        records.extend(numbered);
    }
    records
}

async fn backup(operator: &Operator) -> (BackupHeader, Vec<u8>, BackupEnd) {
    let mut parts = within(operator.client.clone().backup_journal(v1::BackupJournalRequest {}))
        .await
        .unwrap()
        .into_inner();
    let (mut copy, mut header, mut end) = (Vec::new(), None, None);
    while let Some(part) = within(parts.message()).await.unwrap() {
        match part.try_into().unwrap() {
            BackupPart::Header(found) => header = Some(found),
            BackupPart::Chunk(chunk) => copy.extend(chunk),
            BackupPart::End(found) => end = Some(found),
        }
    }
    (header.unwrap(), copy, end.unwrap())
}

/// A copy is told to be of no use while the key beside the journal is not the cell's, in whatever way it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_tells_of_a_wrong_key() {
    let cell = Cell::start().await;
    let operator = cell.operator().await;
    let key = cell.folder.path().join("state/mailbox.key");
    for (write, named) in
        [(Some(&[9; 32][..]), "is not the key"), (Some(b"short"), "has 5 bytes"), (None, "is missing")]
    {
        match write {
            Some(bytes) => std::fs::write(&key, bytes).unwrap(),
            None => std::fs::remove_file(&key).unwrap(),
        }
        let problem = backup(&operator).await.2.key_problem.unwrap();
        assert!(problem.what.contains(named), "{problem}");
        assert!(problem.next.is_some_and(|next| next.contains("a backup holds none")));
    }
    std::fs::create_dir(&key).unwrap();
    let problem = backup(&operator).await.2.key_problem.unwrap();
    assert!(problem.what.contains("it is a directory"), "{problem}");
}

/// T29: a copy taken while the cell runs is restored elsewhere, and begins a new life there.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_into_a_new_life() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let operator = cell.operator().await;
    operator.start("k").await.unwrap();
    let (header, copy, end) = backup(&operator).await;
    assert_eq!((end.bytes, end.digest), (copy.len() as u64, Digest::of(&copy)));
    assert_eq!(end.key_problem, None);

    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("copy");
    std::fs::write(&backup, copy).unwrap();
    let path = folder.path().join("state");
    let state = rientro_orchestrator::StateDir::open(&path, Default::default(), None).unwrap();
    let key = cell.folder.path().join("state/mailbox.key");
    std::fs::copy(key, path.join("mailbox.key")).unwrap();
    state.restore(&Restore { backup, epoch_floor: None, life_floor: None }).await.unwrap();
    let restored = Cell::start_in(folder).await;
    within(restored.running.leads()).await.unwrap();
    let view = restored.operator().await.cell().await.unwrap().cell.unwrap();
    assert!(view.incarnation > header.incarnation.raw(), "a newer life than any before");
    let again = restored.restart().await.operator().await.cell().await.unwrap().cell.unwrap();
    assert_eq!(again.incarnation, view.incarnation, "only the first leader begins a new life");
}

/// Snapshots are taken behind the leader's back, trimmed entries stay readable, and a restart begins at the snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_trim_the_journal_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("state")).unwrap();
    let config = folder.path().join("settings.toml");
    std::fs::write(&config, "[journal]\nsnapshot_every_records = 1000\n").unwrap();
    let cell = Cell::start_with_config(folder, &config).await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Diligent).await;
    let names: Vec<String> = (0..700).map(|n| format!("s{n}")).collect();
    agent.report(names.iter().map(|name| claim(name)).collect()).await.unwrap();
    let operator = cell.operator().await;
    operator.start("k").await.unwrap();
    let ended = |view: &Result<rientro_types::CampaignView, _>| {
        view.as_ref().is_ok_and(|view| view.state == rientro_types::CampaignState::Ended)
    };
    until(|| operator.campaign("k"), ended).await.unwrap();
    let metrics = until(|| scrape(cell.metrics()), |text| !text.contains("rientro_snapshots_total 0")).await;
    assert!(metrics.contains("rientro_records_total"), "{metrics}");
    let archive = cell.folder.path().join("state/journal.redb.archive");
    assert!(std::fs::read_dir(archive).unwrap().next().is_some(), "trimmed entries are archived");
    let records_before = records(&operator).await;
    drop(agent);
    // The founding record is in the archive, and the key is known by the snapshot.
    let key = cell.folder.path().join("state/mailbox.key");
    let own = std::fs::read(&key).unwrap();
    std::fs::write(&key, [9; 32]).unwrap();
    let mut refused = cell.stop_and_start_again().await;
    let told = within(refused.running.ended()).await.unwrap_err().to_string();
    assert!(told.contains("was founded with"), "{told}");
    std::fs::write(&key, own).unwrap();
    let Cell { folder, .. } = refused;
    let cell = Cell::start_with_config(folder, &config).await;
    let operator = cell.operator().await;
    let view = operator.campaign("k").await.unwrap();
    assert_eq!(view.counts.shards_in(rientro_types::ShardState::Open), 700);
    let records_after = records(&operator).await;
    assert!(records_before.iter().all(|(seq, record)| records_after.get(seq) == Some(record)));
}

/// What Prometheus would read.
pub(crate) async fn scrape(metrics: &Address) -> String {
    let Address::Loopback(address) = metrics else { panic!("metrics are on TCP") };
    let mut stream = within(tokio::net::TcpStream::connect(address)).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    within(stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// Metrics tell counts and durations.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_count() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let text = scrape(cell.metrics()).await;
    for wanted in [
        "rientro_shards{state=\"closed\"} 1",
        "rientro_mailboxes{state=\"closed\"} 10",
        "rientro_nodes_connected 1",
        "rientro_stalled 0",
        "rientro_invariants_broken_total 0",
        "rientro_append_seconds_count",
        "rientro_decision_seconds_bucket",
        "rientro_events_ignored_total{reason=\"late\"} 0",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
}

/// A mailbox is found by its address under the cell's key, wherever its shard is.
#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_found_by_address() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let key = welcome_of(&agent.heard.borrow()).unwrap().mailbox_key;
    let mario = MailboxId::of_address(&key, b"mario@example.org");
    let mut mailboxes = vec![mario, MailboxId::of_address(&key, b"anna@example.org")];
    mailboxes.sort_unstable();
    let header = MailboxesPart::Header { node: agent.node, incarnation: agent.incarnation };
    let page =
        |name: &str| MailboxesPart::Page { shard: shard(name), mailboxes: mailboxes.clone(), complete: true };
    let parts = [header.clone(), page("a"), page("not-its-own")].map(Into::into).to_vec();
    assert_eq!(agent.report_mailboxes(parts).await.unwrap(), (1, 2));
    let mut descending = mailboxes.clone();
    descending.reverse();
    let wrong = MailboxesPart::Page { shard: shard("a"), mailboxes: descending, complete: true };
    assert!(agent.report_mailboxes(vec![header.into(), wrong.into()]).await.is_err());

    let operator = cell.operator().await;
    let find = |address: &[u8]| v1::FindMailboxRequest::from(MailboxQuery::Address(address.to_vec()));
    let found =
        within(operator.client.clone().find_mailbox(find(b"Mario@Example.org"))).await.unwrap().into_inner();
    assert_eq!((found.mailbox, found.views.len()), (mario.raw().to_vec(), 1));
    let nobody =
        within(operator.client.clone().find_mailbox(find(b"x@example.org"))).await.unwrap().into_inner();
    assert!(nobody.views.is_empty());
}

/// Findings go from the agent to whoever asked; what cannot be had is named.
#[tokio::test(flavor = "multi_thread")]
async fn findings_are_fetched_from_the_agent_that_keeps_them() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let operator = cell.operator().await;
    operator.start("k").await.unwrap();
    let task = starts(&agent.heard_that(|heard| !starts(heard).is_empty()).await).remove(0);
    let end = TaskEnd::Verified { verification: verification(&task, Outcome::Damaged), damaged: Vec::new() };
    agent.say(AgentMessage::TaskResult { shard: task.shard, attempt: task.attempt, end }).await;
    let acknowledged = |heard: &crate::agent::Heard| {
        heard.messages.iter().any(|m| matches!(m, OrchestratorMessage::Acknowledge { .. }))
    };
    agent.heard_that(acknowledged).await;

    let query = FindingsQuery { selector: Selector::default(), ..FindingsQuery::default() };
    let request = v1::StreamFindingsRequest::from(query.clone());
    let mut answers = within(operator.client.clone().stream_findings(request)).await.unwrap().into_inner();
    let wanted = |heard: &crate::agent::Heard| {
        heard.messages.iter().find_map(|m| match m {
            OrchestratorMessage::SendFindings { request_id, attempt, .. } => Some((*request_id, *attempt)),
            _ => None,
        })
    };
    let (request_id, attempt) = wanted(&agent.heard_that(|heard| wanted(heard).is_some()).await).unwrap();
    assert_eq!(attempt, AttemptNo::from_raw(1));
    let finding = Finding {
        kind: FindingKind::ALL[0],
        mailbox: b"anna".to_vec(),
        path: b"cur/1".to_vec(),
        detail: "S=8".to_owned(),
    };
    let mailbox_id = Some(MailboxId::from_raw([1; 16]));
    let told = LocatedFinding { mailbox_id, address: Some(b"anna@example.org".to_vec()), finding };
    assert!(agent.upload(request_id, task.shard, vec![told.clone()]).await.unwrap());
    assert!(!agent.upload(request_id, task.shard, vec![told.clone()]).await.unwrap(), "answered once");
    // T25: an agent that tells more than it was asked for is not passed on.
    let finding = told.without_address();
    let mut next =
        async || FindingsAnswer::try_from(within(answers.message()).await.unwrap().unwrap()).unwrap();
    assert!(matches!(next().await, FindingsAnswer::Page { findings, .. } if findings == [finding]));
    assert_eq!(next().await, FindingsAnswer::End { findings_total: 1, findings_shown: 1 });

    drop(agent);
    let offline = |cell: &Result<v1::GetCellResponse, _>| {
        cell.as_ref().is_ok_and(|cell| cell.cell.as_ref().is_some_and(|view| view.nodes_connected == 0))
    };
    until(|| operator.cell(), offline).await.unwrap();
    let request = v1::StreamFindingsRequest::from(query);
    let mut answers = within(operator.client.clone().stream_findings(request)).await.unwrap().into_inner();
    let first = FindingsAnswer::try_from(within(answers.message()).await.unwrap().unwrap()).unwrap();
    assert!(matches!(first, FindingsAnswer::Missing { gap: FindingsGap::NodeOffline, .. }));
}

/// R11: on the Unix socket the kernel says who decides.
#[tokio::test(flavor = "multi_thread")]
async fn the_unix_socket_knows_who_asks() {
    let cell = Cell::start().await;
    let socket = cell.running.sockets().remove(0);
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
    let client = within(endpoint.connect()).await.unwrap();
    let operator = Operator { client: v1::operator_service_client::OperatorServiceClient::new(client) };
    let limits = rientro_types::FleetLimits { verifies_per_node: 9, ..Default::default() };
    operator.act(rientro_types::Verb::SetLimits { limits }).await.unwrap();
    let request = v1::TailJournalRequest { from_seq: 0, follow: false };
    let mut entries = within(operator.client.clone().tail_journal(request)).await.unwrap().into_inner();
    let mut actors = Vec::new();
    while let Some(entry) = within(entries.message()).await.unwrap() {
        let TailedEntry { entry, .. } = entry.try_into().unwrap();
        actors.extend(entry.decisions.into_iter().map(|decision| decision.actor));
    }
    let by_person = actors.iter().find(|actor| actor.kind == rientro_types::ActorKind::Operator).unwrap();
    assert_eq!(by_person.authentication, rientro_types::Authentication::UnixPeer);
    assert_ne!(by_person.id, "anna", "what the caller says of itself does not count");
}
