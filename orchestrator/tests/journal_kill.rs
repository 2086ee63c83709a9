//! Processes that are really killed while they write to a journal (T6, R4, R11).

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test may panic, its numbers are small, and a child talks to its parent"
)]

mod journal_support;

use std::env;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use journal_support::{CHILD, Seeded, Talker};
use rientro_orchestrator::journal::conformance::{Author, backup_to, lead};
use rientro_orchestrator::journal::{
    Append, Journal, JournalError, RedbJournal, RedbOptions, check_backup, verify,
};
use tempfile::TempDir;

const KILLS: u64 = 40;
const KILLS_KEEPING: u64 = 30;
/// The longest entry a child writes, in bytes: from one page of the file to many.
const PAYLOAD_BYTES_MAX: u64 = 40_000;

/// The work of a child: `append FOLDER` or `keep FOLDER`, for ever.
#[tokio::test]
async fn child() {
    let Ok(work) = env::var(CHILD) else { return };
    let (kind, folder) = work.split_once(' ').unwrap();
    let folder = Path::new(folder);
    let path = folder.join("journal.redb");
    let mut journal = RedbJournal::open(&path, RedbOptions::default()).await.unwrap();
    let mut author = lead(&mut journal).await;
    let mut seeded = Seeded(author.seq.raw());
    loop {
        for _ in 0..10 {
            append(&mut journal, &mut author, &mut seeded).await;
        }
        if kind == "keep" {
            keep(&journal, &author, folder).await;
        }
    }
}

async fn append(journal: &mut RedbJournal, author: &mut Author, seeded: &mut Seeded) {
    let payload = vec![7; 1 + seeded.below(PAYLOAD_BYTES_MAX) as usize];
    let entry = author.entry(1 + seeded.below(50), payload);
    let append = journal.append(entry.clone()).await;
    assert!(matches!(append, Append::Durable), "{append:?}");
    author.wrote(&entry);
    println!("\nacknowledged {}", author.seq);
}

async fn keep(journal: &RedbJournal, author: &Author, folder: &Path) {
    let mut draft = journal.snapshot_begin(author.point()).await.unwrap();
    for _ in 0..5 {
        journal.snapshot_add(&mut draft, Bytes::from(vec![9; 100_000])).await.unwrap();
    }
    let head = journal.snapshot_finish(draft).await.unwrap();
    println!("\nsnapshot {}", head.point.seq_next);
    let trimmed = journal.trim(author.seq).await.unwrap();
    println!("\ntrimmed {}", trimmed.first);
    backup_to(journal, &folder.join(format!("backup-{}", author.seq))).await.unwrap();
}

/// Lets a child work on the journal in `folder`, kills it at a seeded moment, and returns what it was told is durable.
fn work_until_killed(kind: &str, folder: &Path, seeded: &mut Seeded) -> Option<u64> {
    let command = Command::new(env::current_exe().unwrap());
    let mut talker = Talker::start(command, &format!("{kind} {}", folder.display()));
    let mut acknowledged = None;
    for _ in 0..seeded.below(40) {
        acknowledged = talker.heard("acknowledged ");
        assert!(acknowledged.is_some(), "the child ended by itself");
    }
    for _ in 0..seeded.below(200_000) {
        std::hint::spin_loop();
    }
    talker.child.kill().unwrap();
    while let Some(later) = talker.heard("acknowledged ") {
        acknowledged = Some(later);
    }
    talker.child.wait().unwrap();
    acknowledged
}

/// Opens the journal, checks all of it, and returns its next sequence and how many entries follow `acknowledged`.
async fn check(path: &Path, acknowledged: u64) -> (u64, u64) {
    let journal = RedbJournal::open(path, RedbOptions::default()).await.unwrap();
    let mut unacknowledged = 0;
    let found = verify(&journal, |entry| {
        unacknowledged += u64::from(entry.seq().raw() >= acknowledged);
        Ok(())
    });
    let found = found.await.unwrap();
    assert_eq!(found.broken, None);
    let seq_next = found.head.seq_next.raw();
    assert!(
        seq_next >= acknowledged,
        "record {acknowledged} was acknowledged, the journal ends at {seq_next}"
    );
    (seq_next, unacknowledged)
}

/// R4: whenever the writer is killed, every acknowledged entry is there, the chain is whole, and at most the one entry
/// that was under way follows.
#[tokio::test]
async fn a_killed_writer_loses_nothing_acknowledged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.redb");
    drop(RedbJournal::create(&path, RedbOptions::default()).await.unwrap());
    let mut seeded = Seeded(29);
    let (mut end, mut under_way) = (1, 0);
    for _ in 0..KILLS {
        let acknowledged = work_until_killed("append", folder.path(), &mut seeded).unwrap_or(end);
        let (seq_next, unacknowledged) = check(&path, acknowledged.max(end)).await;
        assert!(unacknowledged <= 1, "{unacknowledged} entries follow the acknowledged one");
        under_way += unacknowledged;
        end = seq_next;
    }
    println!("{KILLS} kills, {end} records, {under_way} entries were stored and not yet acknowledged");
}

/// R11: killed during snapshots, trims and backups too: nothing is lost between journal and archive, the snapshot is whole,
/// and a backup is whole or not there.
#[tokio::test]
async fn a_kill_while_keeping_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.redb");
    drop(RedbJournal::create(&path, RedbOptions::default()).await.unwrap());
    let mut seeded = Seeded(31);
    let mut end = 1;
    let mut backups = 0;
    for _ in 0..KILLS_KEEPING {
        let acknowledged = work_until_killed("keep", folder.path(), &mut seeded).unwrap_or(end);
        let (seq_next, unacknowledged) = check(&path, acknowledged.max(end)).await;
        assert!(unacknowledged <= 1, "{unacknowledged} entries follow the acknowledged one");
        end = seq_next;
        backups += check_backups(folder.path()).await;
    }
    assert!(backups > 0, "no child lived to finish a backup");
    let target = folder.path().join("restored.redb");
    let journal = RedbJournal::open(&path, RedbOptions::default()).await.unwrap();
    backup_to(&journal, &folder.path().join("last")).await.unwrap();
    RedbJournal::restore(&folder.path().join("last"), &target, None).await.unwrap();
    assert_eq!(check(&target, end).await, (end, 0));
    println!("{KILLS_KEEPING} kills, {end} records, {backups} backups were whole");
}

/// Checks and removes every finished backup.
async fn check_backups(folder: &Path) -> u64 {
    let mut checked = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("backup-") {
            continue;
        }
        if name.ends_with(".unfinished") {
            let refused = check_backup(&path).await;
            assert!(matches!(refused, Ok(_) | Err(JournalError::Corrupt { .. })), "{refused:?}");
        } else {
            check_backup(&path).await.unwrap();
            checked += 1;
        }
        std::fs::remove_file(path).unwrap();
    }
    checked
}
