//! The real agent under a scripted orchestrator: what it reports, runs, confirms and obeys.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; anything else fails it")]

mod support;

use rientro_types::{Action, Outcome, Service, ServiceSet, TaskEnd, TaskFailure, Witness};
use rientro_wire::bulk::{FindingsPart, InventoryPart, MailboxesPart};
use rientro_wire::session::{AgentMessage, OrchestratorMessage};
use support::orchestrator::{Orchestrator, entry_of, within};
use support::volume::damage;
use support::{Node, attempt, order, shard, verify, welcome};

/// The main path: inventory, lists of mailboxes, a verification, its confirmation, services, a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_reported_verified_confirmed_and_served() {
    let node = Node::new();
    node.volume.shard("s1", 3, 4);
    node.volume.shard("s2", 1, 1);
    let mut orchestrator = Orchestrator::start().await;
    let agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, greeting) = orchestrator.greeted(&welcome()).await;
    assert!(greeting.running.is_empty() && greeting.served.is_empty());
    assert_eq!(session.hello.labels.len(), 1);

    let inventory = within(orchestrator.inventories.recv()).await.unwrap();
    let [InventoryPart::Header { .. }, InventoryPart::Page { claims, complete: true, inventory: Some(_) }] =
        &inventory[..]
    else {
        panic!("{inventory:?}");
    };
    let told: Vec<_> = claims.iter().map(|claim| (claim.shard, claim.mailboxes, claim.volume)).collect();
    assert_eq!(told, [(shard("s1"), 3, node.volume.id), (shard("s2"), 1, node.volume.id)]);
    let lists = within(orchestrator.mailboxes.recv()).await.unwrap();
    let Some(MailboxesPart::Page { mailboxes, complete: true, .. }) = lists.get(1) else {
        panic!("{lists:?}")
    };
    assert!(mailboxes.len() == 3 && mailboxes.is_sorted());

    session.start(order(1), verify("s1", 1, node.volume.id)).await;
    let (_, _, end) = session.result().await;
    let TaskEnd::Verified { verification, damaged } = end else { panic!("{end:?}") };
    assert_eq!((verification.verdict.outcome, verification.verdict.tally.messages), (Outcome::Clean, 12));
    assert!(damaged.is_empty());
    session.acknowledge(shard("s1"), attempt(1)).await;

    let action = Action::Confirm { stat_walk: Some(verification.stat_walk) };
    session.start(order(2), rientro_types::Task { action, ..verify("s1", 2, node.volume.id) }).await;
    assert_eq!(session.result().await, (shard("s1"), attempt(2), TaskEnd::Confirmed));
    session.acknowledge(shard("s1"), attempt(2)).await;
    node.volume.mailbox("s1/ex.org/user000", 9);
    session.start(order(3), rientro_types::Task { action, ..verify("s1", 3, node.volume.id) }).await;
    assert_eq!(session.result().await.2, TaskEnd::Failed(TaskFailure::Changed));

    let services = ServiceSet::NONE.with(Service::Imap).with(Service::Pop);
    session.set_services(order(4), shard("s1"), services).await;
    let seen = AgentMessage::ServicesSeen { shard: shard("s1"), services, order: order(4) };
    assert_eq!(session.hear().await, seen);
    let shown = std::fs::read_to_string(node.state().join("services/s1")).unwrap();
    assert_eq!(shown, "imap\npop\n");

    assert!(agent.terminate().success());
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (session, greeting) = orchestrator.greeted(&welcome()).await;
    assert_eq!(session.hello.newest, Some(order(4)));
    assert_eq!(session.hello.witness, Some(Witness { order: order(4), entry: entry_of(order(4)) }));
    assert_eq!(greeting.served.len(), 1);
    assert_eq!(greeting.served[0].services, services);
}

/// T25: damaged mailboxes are named by id; findings tell addresses only when asked for; no log line at INFO has one.
#[tokio::test(flavor = "multi_thread")]
async fn findings_tell_addresses_only_when_asked() {
    let node = Node::new();
    let mailbox = node.volume.mailbox("s1/ex.org/anna.secret", 3);
    damage(&mailbox);
    std::fs::write(node.volume.path.join("s1/ex.org/berta.secret"), b"no directory").unwrap();
    let mut orchestrator = Orchestrator::start().await;
    let agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.start(order(1), verify("s1", 1, node.volume.id)).await;
    let (_, _, end) = session.result().await;
    let TaskEnd::Verified { verification, damaged } = end else { panic!("{end:?}") };
    assert_eq!(verification.verdict.outcome, Outcome::Damaged);
    assert_eq!(damaged, [rientro_types::MailboxId::of_address(&support::KEY, b"anna.secret@ex.org")]);
    for (with_addresses, asked, or_earlier) in [(false, 1, false), (true, 1, false), (true, 7, true)] {
        let ask = OrchestratorMessage::SendFindings {
            request_id: 5,
            shard: shard("s1"),
            attempt: attempt(asked),
            max_findings: 1_000,
            kinds: rientro_types::FindingKinds::NONE,
            with_addresses,
            or_earlier,
        };
        session.say(ask).await;
        let parts = within(orchestrator.findings.recv()).await.unwrap();
        let Some(FindingsPart::Header { available: true, request_id: 5, attempt: found, .. }) = parts.first()
        else {
            panic!("{parts:?}")
        };
        assert_eq!(*found, attempt(1));
        let Some(FindingsPart::End { findings_total }) = parts.last() else { panic!("{parts:?}") };
        assert_eq!(*findings_total, verification.verdict.tally.findings);
        let bytes: Vec<u8> = parts
            .into_iter()
            .flat_map(|part| {
                prost::Message::encode_to_vec(&rientro_wire::v1::UploadFindingsRequest::from(part))
            })
            .collect();
        let tells = bytes.windows(6).any(|window| window == b"secret");
        assert_eq!(tells, with_addresses);
    }
    assert!(agent.log().contains("task ended"));
    assert!(!agent.log().contains("secret"), "{}", agent.log());
}
