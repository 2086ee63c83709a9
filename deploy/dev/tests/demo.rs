//! The demo as a person runs it: interrupted in the middle, run again, and on mail of one's own that must stay as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rientro_dev::cell::Cell;
use rientro_dev::fleet::{self, Shape};
use rientro_dev::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longest wait for a process to be gone: far above what it takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A running demo.
struct Demo {
    child: Child,
    told: thread::JoinHandle<String>,
}

/// How a demo ended.
struct Ended {
    code: Option<i32>,
    out: String,
    told: String,
}

impl Demo {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rientro-demo"))
            .arg("--folder")
            .arg(folder)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let mut stderr = child.stderr.take().expect("it is piped");
        let told = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("it is UTF-8");
            text
        });
        Self { child, told }
    }

    /// Asks this process, and no other, to end as soon as it has printed a line with these words.
    fn interrupted_at(mut self, words: &str) -> Ended {
        let mut out = String::new();
        let mut lines = BufReader::new(self.child.stdout.take().expect("it is piped"));
        while !out.contains(words) {
            let read = lines.read_line(&mut out).expect("it is UTF-8");
            assert!(read > 0, "it ended before it said {words:?}:\n{out}");
        }
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        lines.read_to_string(&mut out).expect("it is UTF-8");
        self.ended(out)
    }

    fn run(mut self) -> Ended {
        let mut out = String::new();
        self.child.stdout.take().expect("it is piped").read_to_string(&mut out).expect("it is UTF-8");
        self.ended(out)
    }

    fn ended(mut self, out: String) -> Ended {
        let code = self.child.wait().expect("it ends").code();
        let told = self.told.join().expect("its words were read");
        Ended { code, out, told }
    }
}

/// Command lines of processes that were told of the folder.
fn left_running(folder: &Path) -> Vec<String> {
    let name = folder.to_str().expect("temporary folders have plain names");
    let processes = fs::read_dir("/proc").expect("processes are listed").flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(name)).collect()
}

fn assert_nothing_runs(folder: &Path) {
    assert!(wait::until(LIMIT, || left_running(folder).is_empty()), "{:?}", left_running(folder));
}

fn json_lines(cell: &Cell, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
    let text = cell.ask(&args).expect("the cell answers");
    text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

/// R4, T14: interrupted in the middle it leaves nothing running, and run again it ends the same campaign with a report that
/// names what is held and what to do next.
#[test]
fn an_interrupted_demo_goes_on() {
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let small = ["--shards", "9", "--messages", "900"];
    let first = Demo::start(folder.path(), &small).interrupted_at("may open its shards");
    assert_eq!(first.code, Some(130), "{}", first.told);
    assert!(first.told.contains("run this again"), "{}", first.told);
    assert_nothing_runs(folder.path());

    let second = Demo::start(folder.path(), &small).run();
    assert_eq!(second.code, Some(0), "{}", second.told);
    assert!(second.told.contains("the campaign of an interrupted run goes on"), "{}", second.told);
    assert_nothing_runs(folder.path());

    // What the journal says of it, asked of an orchestrator without agents.
    let cell = Cell::start(&folder.path().join("generated/cell"), Vec::new()).expect("the cell starts");
    let records = json_lines(&cell, &["journal", "tail", "--last", "0"]);
    let count = |kind: &str| records.iter().filter(|record| record["record"] == kind).count();
    assert_eq!((count("campaign-started"), count("campaign-ended")), (1, 1));
    assert_eq!(count("leader-took"), 3, "two runs, and this one");
    let held = cell.ask(&["shard", "list", "--state", "held", "--output", "json"]).expect("it answers");
    let held: Value = serde_json::from_str(&held).expect("JSON");
    let held: BTreeSet<&str> =
        held.as_array().expect("a list").iter().filter_map(|s| s["shard"].as_str()).collect();
    assert_eq!(held.len(), Shape::default().damaged_shards);
    for wanted in held.into_iter().chain([
        "Not back: 3 shards",
        "What can be done:",
        "rientro shard list --campaign demo --state held,failed",
        "rientro findings list --campaign demo",
    ]) {
        assert!(second.out.contains(wanted), "{wanted:?} is not in\n{}", second.out);
    }
    cell.stop().expect("the cell stops");
}

/// Everything about a tree that a reader must not change.
fn state_of(root: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut state = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let content = if meta.is_dir() {
            left.extend(fs::read_dir(&path).expect("it is listed").flatten().map(|entry| entry.path()));
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).expect("it is read").into_os_string().into_encoded_bytes()
        } else {
            fs::read(&path).expect("it is read")
        };
        state.insert(path, (meta.mode(), meta.mtime(), meta.mtime_nsec(), content));
    }
    state
}

fn make_read_only(state: &BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>) {
    for (path, (mode, ..)) in state.iter().filter(|(path, _)| !path.is_symlink()) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o555)).expect("it is ours");
    }
}

/// One's own mail comes back and is as it was: every byte, time and name. What cannot be brought back is said.
#[test]
fn mail_of_ones_own_is_read_and_never_written() {
    let folder = tempfile::tempdir().expect("a folder for the demo");
    let mail = tempfile::tempdir().expect("a folder for the mail");
    let shape = Shape {
        nodes: 1,
        shards: 2,
        mailboxes_per_shard: 3,
        messages: 60,
        damaged_shards: 1,
        ..Shape::default()
    };
    fleet::make(mail.path(), &shape).expect("mail is made");
    // A mailbox at another depth, and one behind a link, which is not followed.
    fs::rename(mail.path().join("node1/shard001/example.test/u000x000"), mail.path().join("anna"))
        .expect("a mailbox is moved");
    std::os::unix::fs::symlink("anna", mail.path().join("alias")).expect("a link is made");
    let before = state_of(mail.path());
    make_read_only(&before);
    let before = state_of(mail.path());

    let text = mail.path().to_str().expect("temporary folders have plain names");
    let ended = Demo::start(folder.path(), &["--mail", text]).run();
    assert_eq!(ended.code, Some(0), "{}", ended.told);
    assert!(ended.told.contains("6 mailboxes in"), "{}", ended.told);
    assert!(ended.told.contains("6 shards on 3 agents"), "{}", ended.told);
    assert!(ended.told.contains("left out: 1 symbolic link to a folder"), "{}", ended.told);
    assert!(ended.out.contains("Not back:"), "something is damaged");
    assert_nothing_runs(folder.path());
    assert!(state_of(mail.path()) == before, "the mail has changed");

    // One Maildir is a fleet too.
    let one = mail.path().join("anna");
    let ended = Demo::start(folder.path(), &["--mail", one.to_str().expect("plain")]).run();
    assert_eq!(ended.code, Some(0), "{}", ended.told);
    assert!(ended.told.contains("1 mailbox in"), "{}", ended.told);
    assert_nothing_runs(folder.path());
    assert!(state_of(mail.path()) == before, "the mail has changed");
}
