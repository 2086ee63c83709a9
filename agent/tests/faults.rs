//! Volumes that are not what they should be, peers that talk nonsense, disks that are full.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; anything else fails it")]

mod support;

use std::fs;

use rientro_types::{Outcome, ServiceSet, TaskEnd, TaskFailure, UnknownCause};
use rientro_wire::bulk::{InventoryPart, MailboxesPart};
use rientro_wire::session::{AgentMessage, OrchestratorMessage, RefuseReason};
use rientro_wire::v1;
use support::orchestrator::{Orchestrator, Session, within};
use support::volume::Volume;
use support::{Node, attempt, order, shard, slow_verify, verify, welcome};

/// T24, T28: another volume under the root, none at all, and the right one again.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_not_the_one_is_never_clean() {
    let node = Node::new();
    node.volume.shard("s1", 2, 2);
    let mut orchestrator = Orchestrator::start().await;
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    within(orchestrator.inventories.recv()).await.unwrap();

    let aside = node.dir.path().join("aside");
    fs::rename(&node.volume.path, &aside).unwrap();
    let other = Volume::enrolled(&node.volume.path, 2);
    other.shard("s1", 2, 2);
    session.start(order(1), verify("s1", 1, node.volume.id)).await;
    let wrong = |found| TaskEnd::Failed(TaskFailure::VolumeWrong { found });
    assert_eq!(session.result().await.2, wrong(Some(other.id)));
    // The change is seen and told without being asked for.
    let parts = within(orchestrator.inventories.recv()).await.unwrap();
    assert!(format!("{parts:?}").contains(other.id.as_str()), "{parts:?}");

    fs::remove_dir_all(&node.volume.path).unwrap();
    fs::create_dir(&node.volume.path).unwrap();
    session.start(order(2), verify("s1", 2, node.volume.id)).await;
    assert_eq!(session.result().await.2, wrong(None));

    fs::remove_dir(&node.volume.path).unwrap();
    fs::rename(&aside, &node.volume.path).unwrap();
    session.start(order(3), verify("s1", 3, node.volume.id)).await;
    let end = session.result().await.2;
    assert!(matches!(end, TaskEnd::Verified { .. }), "{end:?}");
    session.start(order(4), verify("s9", 1, node.volume.id)).await;
    assert_eq!(session.result().await.2, TaskEnd::Failed(TaskFailure::ShardMissing));
}

/// T28: a shard that two roots show is told as that, with both volumes; what only one of them shows is told as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_on_two_roots_is_told_with_both() {
    let mut node = Node::new();
    node.volume.shard("s1", 2, 2);
    node.volume.shard("s2", 2, 2);
    let snapshot = Volume::enrolled(&node.dir.path().join("snapshot"), 2);
    snapshot.shard("s1", 2, 1);
    node.beside(&snapshot);
    let mut orchestrator = Orchestrator::start().await;
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (_session, _) = orchestrator.greeted(&welcome()).await;
    let mut told = async |second| {
        let parts = within(orchestrator.inventories.recv()).await.unwrap();
        let claims = parts.into_iter().flat_map(|part| match part {
            InventoryPart::Page { claims, .. } => claims,
            InventoryPart::Header { .. } => Vec::new(),
        });
        let seen: Vec<_> = claims.map(|claim| (claim.shard, claim.volume, claim.second)).collect();
        assert_eq!(seen, [(shard("s1"), node.volume.id, second), (shard("s2"), node.volume.id, None)]);
    };
    told(Some(snapshot.id)).await;
    fs::remove_dir_all(snapshot.path.join("s1")).unwrap();
    told(None).await;
}

/// T24: the volume is taken away, or the shard vanishes, while it is being read.
#[tokio::test(flavor = "multi_thread")]
async fn what_vanishes_while_it_is_read_is_no_verdict() {
    let node = Node::new();
    node.volume.shard("s1", 4, 100);
    let mut orchestrator = Orchestrator::start().await;
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    for (number, gone, failure) in [
        (1, node.volume.path.join("s1"), TaskFailure::ShardMissing),
        (2, node.volume.path.clone(), TaskFailure::VolumeWrong { found: None }),
    ] {
        session.start(order(number.into()), slow_verify("s1", number, node.volume.id)).await;
        session.progress().await;
        let aside = node.dir.path().join("aside");
        fs::rename(&gone, &aside).unwrap();
        let hurry = OrchestratorMessage::SetPace {
            order: order(number.into()),
            campaign: verify("s1", 1, node.volume.id).campaign,
            pace: verify("s1", 1, node.volume.id).pace,
        };
        session.say(hurry).await;
        assert_eq!(session.result().await.2, TaskEnd::Failed(failure));
        fs::rename(&aside, &gone).unwrap();
    }
}

/// T24: an empty shard is unknown, unless a list says what should be there.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_shard_is_never_clean() {
    let mut node = Node::new();
    fs::create_dir_all(node.volume.path.join("s1/ex.org")).unwrap();
    let mut orchestrator = Orchestrator::start().await;
    let agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.start(order(1), verify("s1", 1, node.volume.id)).await;
    let TaskEnd::Verified { verification, .. } = session.result().await.2 else { panic!("no verdict") };
    assert_eq!(verification.verdict.outcome, Outcome::Unknown(UnknownCause::Empty));
    session.acknowledge(shard("s1"), attempt(1)).await;
    agent.terminate();

    node.expecting("# users\ns1/ex.org/anna\ns2/ex.org/bert\n");
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.start(order(2), verify("s1", 2, node.volume.id)).await;
    let end = loop {
        match session.result().await {
            (_, of, end) if of == attempt(2) => break end,
            _ => {}
        }
    };
    let TaskEnd::Verified { verification, .. } = end else { panic!("{end:?}") };
    assert_eq!(verification.verdict.outcome, Outcome::Unreadable);
}

/// Lists that were refused, or could not be made, are told after a later look, though nothing changed on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn lists_that_were_not_told_are_told_later() {
    let node = Node::new();
    node.volume.shard("s1", 2, 1);
    let mut orchestrator = Orchestrator::start().await;
    orchestrator.lists_refused.store(2, std::sync::atomic::Ordering::SeqCst);
    let agent = node.start(&[&orchestrator.endpoint()]);
    let (_session, _) = orchestrator.greeted(&welcome()).await;
    let parts = within(orchestrator.mailboxes.recv()).await.unwrap();
    assert!(matches!(&parts[1], MailboxesPart::Page { shard: of, mailboxes, complete: true }
        if *of == shard("s1") && mailboxes.len() == 2));
    assert!(
        agent.log().contains("lists of mailboxes not told; they are told after the next look at the roots")
    );
    let before = orchestrator.lists_refused.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(before, 0, "each was told of");
}

/// A list of expected mailboxes that is gone keeps no agent from starting; it is warned of then, and named by what fails of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_gone_is_named() {
    let mut node = Node::new();
    node.volume.shard("s1", 1, 1);
    node.expecting("s1/ex.org/anna\n");
    let list = node.dir.path().join("list");
    fs::remove_file(&list).unwrap();
    let mut orchestrator = Orchestrator::start().await;
    let agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.start(order(1), verify("s1", 1, node.volume.id)).await;
    let TaskEnd::Failed(TaskFailure::Agent { problem }) = session.result().await.2 else {
        panic!("verified without its list")
    };
    let named = format!("cannot read the list of expected mailboxes {}: No such file", list.display());
    assert!(problem.starts_with(&named), "{problem}");
    let warned = format!("{named} or directory (os error 2); every verification there fails");
    within(async {
        while !agent.log().contains(&warned) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// R7: a verification of other mailboxes than were listed is none, however many there are: the new list is told first.
#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_mailbox_is_listed_before_its_shard_is_verified() {
    let node = Node::new();
    node.volume.shard("s1", 3, 2);
    let mut orchestrator = Orchestrator::start().await;
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    within(orchestrator.inventories.recv()).await.unwrap();
    let listed = within(orchestrator.mailboxes.recv()).await.unwrap();
    let domain = node.volume.path.join("s1/ex.org");
    fs::rename(domain.join("user000"), domain.join("stranger")).unwrap();
    session.start(order(1), verify("s1", 1, node.volume.id)).await;
    assert_eq!(session.result().await.2, TaskEnd::Failed(TaskFailure::Changed));
    within(orchestrator.inventories.recv()).await.unwrap();
    let listed_again = within(orchestrator.mailboxes.recv()).await.unwrap();
    assert_ne!(listed, listed_again);
    session.acknowledge(shard("s1"), attempt(1)).await;
    session.start(order(2), verify("s1", 2, node.volume.id)).await;
    let end = session.result().await.2;
    assert!(matches!(end, TaskEnd::Verified { .. }), "{end:?}");
}

/// Garbage ends a session and nothing else: a message that is none of ours, a second Welcome, one of 100 MB.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_the_session_and_nothing_else() {
    let node = Node::new();
    node.volume.shard("s1", 4, 200);
    let mut orchestrator = Orchestrator::start().await;
    let agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.start(order(1), slow_verify("s1", 1, node.volume.id)).await;
    session.progress().await;
    let huge = v1::session_response::Refused { reason: 1, text: "x".repeat(100 << 20) };
    let raw = |message| v1::SessionResponse { message: Some(message) };
    use v1::session_response::Message as M;
    for nonsense in [
        v1::SessionResponse { message: None },
        raw(M::StartTask(v1::session_response::StartTask::default())),
        raw(M::Welcome(v1::session_response::Welcome::default())),
        OrchestratorMessage::Welcome(welcome()).into(),
        raw(M::Refused(huge)),
    ] {
        session.say_raw(nonsense).await;
        session.hear_end().await;
        let (next, greeting) = orchestrator.greeted(&welcome()).await;
        assert_eq!(greeting.running.len(), 1, "{}", agent.log());
        session = next;
    }
    let resident = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let peak = resident.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    let kib: u64 = peak.trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 100 << 10, "the 100 MB message was taken into memory: {peak}");
}

/// Endpoints are tried in turn: one is dead, one does not lead, the third lets the agent in.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_found() {
    let node = Node::new();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut follower = Orchestrator::start().await;
    let mut leader = Orchestrator::start().await;
    let _agent = node.start(&[&format!("http://{dead}"), &follower.endpoint(), &leader.endpoint()]);
    let session = follower.session().await;
    let text = "ask the others".to_owned();
    session.say(OrchestratorMessage::Refused { reason: RefuseReason::NotLeader, text }).await;
    drop(session);
    leader.greeted(&welcome()).await;
}

/// Without space for a result no try begins: it is refused with the reason, and what runs and is served goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_tries() {
    let node = Node::new().keeping_free("1000000 TiB");
    node.volume.shard("s1", 1, 1);
    let mut orchestrator = Orchestrator::start().await;
    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.start(order(1), verify("s1", 1, node.volume.id)).await;
    let TaskEnd::Failed(TaskFailure::Agent { problem }) = session.result().await.2 else {
        panic!("not refused")
    };
    assert!(problem.contains("MiB free"), "{problem}");
    session.set_services(order(2), shard("s1"), ServiceSet::ALL).await;
    assert!(matches!(session.hear().await, AgentMessage::ServicesSeen { .. }));
}

/// The disk fills up while the agent works: nothing is confirmed that could not be written, no try begins, the session goes on;
/// with room again all of it goes on by itself, and nothing that was confirmed is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_loses_nothing() {
    let node = Node::new();
    node.volume.shard("s1", 1, 1);
    let mut orchestrator = Orchestrator::start().await;
    // No file of the agent may pass 16 KiB (32 blocks of 512 bytes), until that is lifted.
    let agent = node.start_after("trap '' XFSZ; ulimit -S -f 32", &[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    let mut last = 0;
    while confirmed(&mut session, last + 1).await {
        last += 1;
        assert!(last < 1_000, "the ledger never met its limit");
    }
    assert!(last > 50, "{last} orders in 16 KiB");
    session.start(order(5_000), verify("s1", 1, node.volume.id)).await;
    let TaskEnd::Failed(TaskFailure::Agent { problem }) = session.result().await.2 else {
        panic!("not refused")
    };
    assert!(problem.starts_with("cannot write to the state directory: File too large"), "{problem}");

    let pid = rustix::process::Pid::from_raw(agent.pid().try_into().unwrap());
    let lifted = rustix::process::Rlimit { current: None, maximum: None };
    rustix::process::prlimit(pid, rustix::process::Resource::Fsize, lifted).unwrap();
    assert!(
        matches!(session.hear().await, AgentMessage::ServicesSeen { order: of, .. } if of == order(last + 1))
    );
    session.start(order(5_000), verify("s1", 1, node.volume.id)).await;
    let (_, _, end) = session.result().await;
    assert!(matches!(end, TaskEnd::Verified { .. }), "{end:?}");
    agent.kill();

    let _agent = node.start(&[&orchestrator.endpoint()]);
    let (mut session, greeting) = orchestrator.greeted(&welcome()).await;
    let told = greeting.served.first().map_or(ServiceSet::NONE, |served| served.services);
    assert_eq!(told, services_of(last + 1));
    assert_eq!(session.result().await.2, end);
}

fn services_of(seq: u64) -> ServiceSet {
    if seq.is_multiple_of(2) { ServiceSet::ALL } else { ServiceSet::NONE }
}

/// Sets services; false when that is not confirmed while six heartbeats pass, which is three seconds.
async fn confirmed(session: &mut Session, seq: u64) -> bool {
    session.set_services(order(seq), shard("s1"), services_of(seq)).await;
    for _ in 0..6 {
        match session.hear_any().await.expect("the session goes on") {
            AgentMessage::ServicesSeen { order: of, .. } => {
                assert_eq!(of, order(seq));
                return true;
            }
            AgentMessage::Heartbeat => {}
            other => panic!("{other:?}"),
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agent_to_a_state_directory() {
    let node = Node::new();
    let mut orchestrator = Orchestrator::start().await;
    let first = node.start(&[&orchestrator.endpoint()]);
    orchestrator.greeted(&welcome()).await;
    let second = node.start(&[&orchestrator.endpoint()]);
    let log = second.log.clone();
    assert!(!second.wait().success());
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("another agent runs on the state directory"), "{log}");
    assert!(first.terminate().success());
}
