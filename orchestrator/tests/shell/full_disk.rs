//! The real binary on a disk that is really full, with an agent, a campaign and lists of mailboxes.

use rientro_types::{CampaignState, Exception, MailboxId, Verb};
use rientro_wire::bulk::MailboxesPart;
use rientro_wire::limits::MAILBOXES_PER_PAGE_MAX;
use rientro_wire::operator::MailboxQuery;
use rientro_wire::v1::verify_journal_response::Result as Checked;
use rientro_wire::{advice, v1};
use tonic::{Code, Status};

use crate::agent::{Agent, Manner, claim, shard};
use crate::cell::{Operator, until, within};
use crate::disk::Disk;
use crate::process::Process;

const DISK_BYTES: u64 = 32 << 20;
/// Mailboxes of a list that fits into no page that a file has already.
const MANY: u32 = 60_000;

fn mailbox(no: u32) -> MailboxId {
    let mut raw = [0; 16];
    raw[..4].copy_from_slice(&no.to_be_bytes());
    MailboxId::from_raw(raw)
}

/// Tells the list of a shard: so many mailboxes, from this one on.
async fn tell(agent: &Agent, name: &str, first: u32, count: u32) -> Result<(u64, u64), Status> {
    let header = MailboxesPart::Header { node: agent.node, incarnation: agent.incarnation };
    let all: Vec<_> = (first..first + count).map(mailbox).collect();
    let pages = all.chunks(MAILBOXES_PER_PAGE_MAX);
    let last = pages.len() - 1;
    let pages = pages.enumerate().map(|(at, page)| {
        let (shard, mailboxes) = (shard(name), page.to_vec());
        MailboxesPart::Page { shard, mailboxes, complete: at == last }
    });
    agent.report_mailboxes(std::iter::once(header).chain(pages).map(Into::into).collect()).await
}

/// How many shards list the mailbox.
async fn found(operator: &Operator, no: u32) -> Result<usize, Status> {
    let query = v1::FindMailboxRequest::from(MailboxQuery::Mailbox(mailbox(no)));
    Ok(within(operator.client.clone().find_mailbox(query)).await?.into_inner().views.len())
}

/// Decides something of this number; the reason is long, so that not many of them fit into the room that the journal has.
async fn decide(operator: &Operator, no: u32) -> Result<(), Status> {
    let reason = format!("decision {no} {}", "r".repeat(900));
    let verb = Verb::Except {
        shard: shard("a"),
        mailbox: mailbox(1),
        exception: no.is_multiple_of(2).then_some(Exception::Closed),
        reason,
    };
    operator.act(verb).await.map(drop)
}

/// Decides on until that is refused; tells how many were acknowledged.
async fn decide_until_refused(operator: &Operator, first: u32) -> (u32, Status) {
    let mut no = first;
    loop {
        match decide(operator, no).await {
            Ok(()) => no += 1,
            Err(refused) => return (no, refused),
        }
    }
}

/// Connects until it is let in, tells its shards, and does its tasks.
async fn agent(process: &Process) -> Agent {
    leads(&process.operator().await).await;
    let agent = Agent::connect(&process.address, "n1", Manner::Diligent).await;
    agent.report(vec![claim("a"), claim("b")]).await.unwrap();
    agent
}

async fn leads(operator: &Operator) {
    until(|| operator.cell(), |cell| matches!(cell, Ok(cell) if cell.trouble.is_none())).await.unwrap();
}

async fn is_full(operator: &Operator) {
    let says_so = |cell: &Result<v1::GetCellResponse, Status>| {
        let trouble = cell.as_ref().ok().and_then(|cell| cell.trouble.clone());
        trouble.is_some_and(|trouble| trouble.contains("free some space"))
    };
    until(|| operator.cell(), says_so).await.unwrap();
}

/// Every decision that was acknowledged is in the journal, and the journal is whole.
async fn nothing_is_lost(operator: &Operator, acknowledged: u32) {
    let records = format!("{:?}", crate::journal_calls::records(operator).await);
    for no in 0..acknowledged {
        assert!(records.contains(&format!("decision {no} ")), "decision {no} was acknowledged");
    }
    let checked = within(operator.client.clone().verify_journal(v1::VerifyJournalRequest {})).await.unwrap();
    assert!(matches!(checked.into_inner().result, Some(Checked::Intact(_))));
}

/// Fills the disk under a cell and under one that starts. With a reserve that is met before anything is written.
async fn filled_and_emptied(reserve: &str, met_before: bool) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path(), DISK_BYTES);
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, format!("[journal]\nreserve = \"{reserve}\"\n")).unwrap();
    let more = ["--config", settings.to_str().unwrap()];
    let process = Process::start_on(&disk, &more);
    let operator = process.operator().await;
    let told_before = agent(&process).await;
    tell(&told_before, "a", 0, 10).await.unwrap();
    decide(&operator, 0).await.unwrap();

    // Full: a list cannot be kept, which says so; those that were told before are found; nothing is decided.
    disk.fill();
    let refused = tell(&told_before, "a", 0, MANY).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(advice(&refused).unwrap().contains("free some space"), "{refused}");
    let (acknowledged, refused) = decide_until_refused(&operator, 1).await;
    if met_before {
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        is_full(&operator).await;
    } else {
        // What the disk took of it is not known; less may still fit, and then it goes on.
        assert_eq!(refused.code(), Code::Unknown, "{refused}");
    }
    assert_eq!(until(|| found(&operator, 5), Result::is_ok).await.unwrap(), 1);

    // With room it goes on by itself, lists included.
    disk.empty();
    leads(&operator).await;
    let told_again = agent(&process).await;
    tell(&told_again, "a", 0, MANY).await.unwrap();
    assert_eq!(found(&operator, MANY - 1).await.unwrap(), 1);
    drop((told_before, told_again, operator));
    process.kill();

    // A start on a full disk, also without a directory of mailboxes: it comes up, says so, and goes on when there is room.
    std::fs::remove_file(disk.file("directory.redb")).unwrap();
    disk.fill();
    let process = Process::start_on(&disk, &more);
    let operator = Operator::connect(&process.address).await;
    let unread = until(|| found(&operator, 5), |found| found.is_err()).await.unwrap_err();
    assert_eq!(unread.code(), Code::ResourceExhausted, "{unread}");
    if met_before {
        is_full(&operator).await;
    }
    disk.empty();
    leads(&operator).await;
    let agent = agent(&process).await;
    tell(&agent, "b", 0, MANY).await.unwrap();
    assert_eq!(found(&operator, MANY - 1).await.unwrap(), 1);
    nothing_is_lost(&operator, acknowledged).await;
    operator.start("k").await.unwrap();
    let ended =
        until(|| operator.campaign("k"), |view| view.as_ref().unwrap().state == CampaignState::Ended).await;
    ended.unwrap();
    process.terminate();
}

/// With a reserve, which is met before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_nothing_and_all_goes_on_with_room() {
    filled_and_emptied("1 MiB", true).await;
}

/// Without one, so that writes break off in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_mid_write_takes_nothing_and_all_goes_on_with_room() {
    filled_and_emptied("0 B", false).await;
}
