//! A disk that is really full: a small tmpfs in a mount namespace of its own.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test may panic, its numbers are small, and a child talks to its parent"
)]

mod journal_support;

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use journal_support::{CHILD, Talker};
use rientro_orchestrator::journal::conformance::{Author, backup_to, lead};
use rientro_orchestrator::journal::{
    Append, Journal, JournalError, Recourse, RedbJournal, RedbOptions, check_backup, verify,
};
use tempfile::TempDir;

const DISK_BYTES: u64 = 24 << 20;
const BALLAST_BYTES: usize = 8 << 20;
/// What takes longer than so many tries is broken.
const TRIES_MAX: u32 = 600;
const TRY_AGAIN: Duration = Duration::from_millis(50);
const PAYLOAD_BYTES: usize = 60_000;
/// More entries than the disk can hold.
const ENTRIES_MAX: u64 = 2 * DISK_BYTES / PAYLOAD_BYTES as u64;

/// The work of a child on its own small disk: `FOLDER RESERVE`, or `FOLDER cell ELSEWHERE`.
#[tokio::test]
async fn child() {
    let Ok(work) = env::var(CHILD) else { return };
    let (folder, reserve) = work.split_once(' ').unwrap();
    if let Some(elsewhere) = reserve.strip_prefix("cell ") {
        back_up_a_full_cell(Path::new(folder), Path::new(elsewhere));
        println!("\nfinished 1");
        return;
    }
    let options = RedbOptions { reserve_bytes: reserve.parse().unwrap(), ..RedbOptions::default() };
    fill_and_go_on(Path::new(folder), options).await;
    println!("\nfinished 1");
}

/// Appends until the journal refuses; returns the author and the refusal.
async fn fill(journal: &mut RedbJournal, author: &mut Author) -> JournalError {
    for _ in 0..ENTRIES_MAX {
        let entry = author.entry(3, vec![5; PAYLOAD_BYTES]);
        match journal.append(entry.clone()).await {
            Append::Durable => author.wrote(&entry),
            Append::Failed(e) => return e,
            other @ (Append::Fenced { .. } | Append::Unknown(_)) => panic!("{other:?}"),
        }
    }
    panic!("{ENTRIES_MAX} entries fit on a disk of {DISK_BYTES} bytes");
}

async fn fill_and_go_on(folder: &Path, options: RedbOptions) {
    let (path, ballast) = (folder.join("journal.redb"), folder.join("ballast"));
    fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
    let mut journal = RedbJournal::create(&path, options).await.unwrap();
    let mut author = lead(&mut journal).await;
    let refusal = fill(&mut journal, &mut author).await;
    assert!(matches!(refusal, JournalError::Full { .. }), "{refusal:?}");
    assert_eq!(refusal.recourse(), Recourse::WaitForRoom);
    assert!(author.seq.raw() > 1, "nothing fitted");
    if options.reserve_bytes > 0 {
        refused_in_time(journal, &path, &mut author, options, &ballast).await;
    } else {
        hit_in_the_middle(journal, &path, options, &ballast).await;
    }
    let mut journal = RedbJournal::open(&path, options).await.unwrap();
    let found = verify(&journal, |_| Ok(())).await.unwrap();
    assert_eq!(found.broken, None);
    assert!(found.head.seq_next >= author.seq, "acknowledged entries are lost");
    assert!(found.head.seq_next.raw() <= author.seq.raw() + 3, "more than one unacknowledged entry");
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 20).await;
}

/// With a reserve nothing was begun: the journal can be read, opened again, and written once there is room, or, as the refusal
/// says, out of the reserve.
async fn refused_in_time(
    mut journal: RedbJournal,
    path: &Path,
    author: &mut Author,
    options: RedbOptions,
    ballast: &Path,
) {
    let again = fill(&mut journal, author).await;
    assert!(matches!(again, JournalError::Full { .. }), "{again:?}");
    // Not a byte is left, and a backup needs none.
    let filler = fill_the_disk(path.parent().unwrap());
    let elsewhere = TempDir::new().unwrap();
    let content = backup_to(&journal, &elsewhere.path().join("backup")).await.unwrap();
    assert_eq!((content.seq_next, content.chain), (author.seq, author.chain));
    assert_eq!(check_backup(&elsewhere.path().join("backup")).await.unwrap(), content);
    fs::remove_file(filler).unwrap();
    drop(journal);
    assert!(again.to_string().contains("lower `reserve`"), "{again}");
    let spending = RedbOptions { reserve_bytes: options.reserve_bytes / 2, ..options };
    let mut journal = RedbJournal::open(path, spending).await.unwrap();
    author.epoch = author.epoch.next();
    journal.become_writer(author.epoch).await.unwrap();
    author.write(&mut journal, 2).await;
    drop(journal);
    let mut journal = RedbJournal::open(path, options).await.unwrap();
    assert_eq!(verify(&journal, |_| Ok(())).await.unwrap().broken, None);
    assert_eq!(journal.head().await.unwrap().chain, author.chain);
    fs::remove_file(ballast).unwrap();
    author.epoch = author.epoch.next();
    journal.become_writer(author.epoch).await.unwrap();
    author.write(&mut journal, 2).await;
}

/// Writes a file until nothing more can be written.
fn fill_the_disk(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).unwrap();
    for bytes in [1 << 16, 1] {
        while file.write_all(&vec![7; bytes]).is_ok() {}
    }
    path
}

/// A cell whose disk is full decides nothing, and is copied all the same, by the real programs; with room it goes on.
fn back_up_a_full_cell(folder: &Path, elsewhere: &Path) {
    let socket = |name: &str| format!("unix://{}", elsewhere.join(name).display());
    let settings = elsewhere.join("settings.toml");
    fs::write(&settings, "[journal]\nreserve = \"1 MiB\"\n").unwrap();
    let orchestrator = Command::new(env!("CARGO_BIN_EXE_rientro-orchestrator"))
        .args(["--cell", "full", "--listen-metrics", "off", "--config"])
        .args([&settings, Path::new("--state-dir"), &folder.join("state")])
        .args(["--listen-agents", &socket("agents.sock"), "--listen-operators", &socket("operators.sock")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _killed = Killed(orchestrator);
    let rientro = |words: &[&str]| {
        let mut rientro = Command::new(env!("CARGO_BIN_EXE_rientro"));
        let output = rientro.args(["--endpoint", &socket("operators.sock"), "--yes"]).args(words).output();
        let output = output.unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let limits = ["cell", "limits", "set", "--verifies-per-node", "9"];
    until(|| rientro(&["cell", "show"]));
    let filler = fill_the_disk(folder);
    until(|| {
        let (_, said) = rientro(&limits);
        (said.contains("free some space"), said)
    });
    let backup = elsewhere.join("backup").display().to_string();
    let (copied, said) = rientro(&["journal", "backup", &backup]);
    assert!(copied, "{said}");
    let (restored, said) =
        rientro(&["journal", "restore", &backup, "--state-dir", elsewhere.join("again").to_str().unwrap()]);
    assert!(restored, "{said}");
    assert!(!rientro(&["cell", "show"]).0, "it is full as before");
    fs::remove_file(filler).unwrap();
    until(|| rientro(&limits));
}

/// A process that does not outlive the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Asks until it is so.
fn until(ask: impl Fn() -> (bool, String)) {
    let mut said = String::new();
    for _ in 0..TRIES_MAX {
        let is_so;
        (is_so, said) = ask();
        if is_so {
            return;
        }
        std::thread::sleep(TRY_AGAIN);
    }
    panic!("this takes far less time unless it is broken; at last: {said}");
}

/// Without a reserve a write broke off: the handle is unusable, and the file opens once there is room.
async fn hit_in_the_middle(journal: RedbJournal, path: &Path, options: RedbOptions, ballast: &Path) {
    let poisoned = journal.head().await;
    assert!(matches!(poisoned, Err(JournalError::Poisoned { .. })), "{poisoned:?}");
    drop(journal);
    match RedbJournal::open(path, options).await {
        Ok(_) | Err(JournalError::Full { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
    fs::remove_file(ballast).unwrap();
}

/// Runs the child with a small disk mounted at a folder of its own.
fn on_a_small_disk(work: &str) {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    let mount = "mount -t tmpfs -o size=$1 tmpfs \"$2\" && shift 2 && exec \"$@\"";
    command.args(["--mount", "sh", "-c", mount, "sh", &DISK_BYTES.to_string()]);
    command.arg(folder.path()).arg(env::current_exe().unwrap());
    let mut talker = Talker::start(command, &format!("{} {work}", folder.path().display()));
    let finished = talker.heard("finished ");
    let status = talker.child.wait().unwrap();
    assert!(
        finished.is_some() && status.success(),
        "the child failed, or no tmpfs could be mounted in a namespace of its own (needs `unshare` and root or user \
         namespaces): {status}"
    );
}

/// A full disk is met before anything is written; nothing is lost, and it goes on when there is room.
#[test]
fn a_full_disk_is_refused_before_it_is_hit() {
    on_a_small_disk("1048576");
}

/// Even when the reserve is used up by somebody else, what was acknowledged survives.
#[test]
fn a_disk_that_fills_in_the_middle_of_a_write_loses_nothing() {
    on_a_small_disk("0");
}

/// A backup is what may be needed when the disk is full: it takes no room there.
#[test]
fn a_cell_on_a_full_disk_is_backed_up() {
    let elsewhere = TempDir::new().unwrap();
    on_a_small_disk(&format!("cell {}", elsewhere.path().display()));
}
