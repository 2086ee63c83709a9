//! State directories that lost their journal, or got an old one back.

use std::path::{Path, PathBuf};
use std::process::Command;

use rientro_types::{CellId, Epoch, Incarnation, Order, Seq, Witness};
use rientro_wire::session::{AgentMessage, Hello, OrchestratorMessage, RefuseReason};
use rientro_wire::v1;

use crate::agent::{Agent, Heard, Manner, claim, hello, welcome_of};
use crate::cell::{Operator, until};
use crate::journal_calls::scrape;
use crate::process::Process;
use crate::sessions::refused;

/// The state directory and what is in it.
fn copy(from: &Path, to: &Path) {
    let _absent = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// What an agent that acted on all it heard tells of it in its next greeting.
fn having(heard: &Heard) -> Hello {
    let welcome = welcome_of(heard).unwrap();
    let orders = heard.messages.iter().filter_map(|message| match message {
        OrchestratorMessage::StartTask { order, entry, .. } => {
            Some(Witness { order: *order, entry: (*entry)? })
        }
        _ => None,
    });
    let witness = orders.max_by_key(|witness| witness.order);
    let (cell, incarnation, epoch) = (welcome.cell, welcome.incarnation, welcome.epoch);
    let seq = witness.map(|witness| witness.order.seq).unwrap_or_default();
    Hello { newest: Some(Order { cell, incarnation, epoch, seq }), witness, ..hello("n1", 1) }
}

/// What `rientro` says over the operators' own socket: its exit code, its output and what it tells people.
fn rientro(folder: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let endpoint = format!("unix://{}", folder.join("state/operators.sock").display());
    let mut rientro = Command::new(env!("CARGO_BIN_EXE_rientro"));
    let output = rientro.args(["--endpoint", &endpoint]).args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A state directory, a copy of it from before a node got its orders, and what that node heard. Nothing runs any more.
async fn ahead_of_a_copy(folder: &Path) -> (PathBuf, PathBuf, Heard) {
    let (state, old) = (folder.join("state"), folder.join("old"));
    let process = Process::start(folder, &[]);
    process.operator().await;
    process.kill();
    copy(&state, &old);

    let process = Process::start(folder, &[]);
    let operator = process.operator().await;
    let agent = Agent::connect(&process.address, "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    operator.start("k").await.unwrap();
    let heard = agent.heard_that(|heard| !crate::agent::starts(heard).is_empty()).await;
    process.kill();
    (state, old, heard)
}

async fn trouble(operator: &Operator) -> Option<String> {
    operator.cell().await.unwrap().trouble
}

/// T29: a journal that is gone is not taken for one that never was; whoever put it away can put it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_journal_is_refused_and_no_cell_is_founded() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
    process.kill();
    let (journal, away) = (folder.path().join("state/journal.redb"), folder.path().join("away"));
    std::fs::rename(&journal, &away).unwrap();
    let text = Process::refused(folder.path());
    assert!(text.contains("rientro journal restore") && text.contains("found a new, empty cell"), "{text}");
    assert!(!journal.exists());
    std::fs::rename(&away, &journal).unwrap();
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
}

/// R4: a journal that is moved away under its orchestrator takes nothing more: what would be written there is lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decided_into_a_journal_that_was_moved_away() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
    let (journal, away) = (folder.path().join("state/journal.redb"), folder.path().join("away"));
    let limit =
        |silence: &str| rientro(folder.path(), &["cell", "limits", "set", "--silence", silence, "--yes"]);
    let (code, out, told) = limit("61s");
    assert_eq!(code, Some(0), "{out}{told}");
    std::fs::rename(&journal, &away).unwrap();
    let (code, out, told) = limit("62s");
    assert!(code != Some(0) && !out.contains("journal record"), "{out}{told}");
    let log = process.gives_up();
    assert!(log.iter().any(|line| line.contains("was moved away or replaced")), "{log:?}");
    std::fs::rename(&away, &journal).unwrap();
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
    let (code, out, told) = rientro(folder.path(), &["cell", "limits", "show"]);
    assert!(code == Some(0) && out.contains("61s"), "{out}{told}");
}

/// A key that is not the cell's is refused at a start, told by a verification when it was put there meanwhile, and refused where
/// a backup is restored; with the cell's own everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn another_mailbox_key_is_refused_wherever_it_can_be_known() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("state/mailbox.key");
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
    let own = std::fs::read(&key).unwrap();
    let (code, out, told) = rientro(folder.path(), &["journal", "verify"]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "{out}");
    let backup = folder.path().join("backup").display().to_string();
    let (code, _, told) = rientro(folder.path(), &["journal", "backup", &backup]);
    assert!(code == Some(0) && told.contains("mailbox.key"), "{told}");
    std::fs::write(&key, [9; 32]).unwrap();
    let (code, out, told) = rientro(folder.path(), &["journal", "verify"]);
    assert!(code == Some(1) && out.contains("intact") && told.contains("was founded with"), "{out}{told}");
    let late = folder.path().join("late").display().to_string();
    let (code, _, told) = rientro(folder.path(), &["journal", "backup", &late]);
    assert!(code == Some(1) && told.contains("NO CELL CAN BE LED FROM IT"), "{told}");
    process.kill();

    let text = Process::refused(folder.path());
    assert!(text.contains(&key.display().to_string()) && text.contains("was founded with"), "{text}");
    assert!(text.contains("keep beside the backups (a backup holds none)"), "{text}");
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("mailbox.key"), [9; 32]).unwrap();
    let restore = ["journal", "restore", &backup, "--state-dir", elsewhere.to_str().unwrap()];
    let (code, _, told) = rientro(folder.path(), &restore);
    assert!(code == Some(1) && told.contains("was founded with"), "{told}");
    assert!(!elsewhere.join("journal.redb").exists() && !elsewhere.join("restored").exists());
    std::fs::write(elsewhere.join("mailbox.key"), &own).unwrap();
    let (code, out, told) = rientro(folder.path(), &restore);
    assert!(code == Some(0) && told.contains("is the one that the cell was founded with"), "{out}{told}");

    std::fs::write(&key, &own).unwrap();
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
}

/// T29, R5: a node that obeyed what the journal does not hold is turned away, and people are told how to go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_rolled_back_is_told_by_the_first_node_that_knows_more() {
    let folder = tempfile::tempdir().unwrap();
    let (state, old, heard) = ahead_of_a_copy(folder.path()).await;

    // After a crash of the orchestrator alone no node is ahead of the journal.
    let process = Process::start(folder.path(), &[]);
    let operator = process.operator().await;
    let agent = Agent::connect_as(&process.address, having(&heard), Vec::new(), Manner::Slow).await;
    assert_eq!(trouble(&operator).await, None);
    let heard_later = agent.heard_that(|heard| welcome_of(heard).is_some()).await;
    process.kill();

    // The same epoch, and fewer records; then the epoch alone, of a node that obeyed nothing in it.
    copy(&old, &state);
    let process = Process::start(folder.path(), &[]);
    let operator = process.operator().await;
    for greeting in [having(&heard), having(&heard_later)] {
        let greeting = vec![AgentMessage::Hello(greeting), AgentMessage::HelloDone];
        let (reason, text) = refused(&process.address, greeting).await;
        assert_eq!(reason, RefuseReason::JournalBehind, "{text}");
        assert!(text.contains("node n1") && text.contains("--restored"), "{text}");
    }
    let told = until(|| trouble(&operator), Option::is_some).await.unwrap();
    assert!(told.contains("older than what node n1 has obeyed"), "{told}");
    assert!(told.contains("rientro journal restore"), "{told}");
    let view = operator.cell().await.unwrap().cell.unwrap();
    assert_eq!((view.nodes, view.nodes_connected), (0, 0));
    let log = process.terminate();
    let errors = log.iter().filter(|line| line.contains("the journal was rolled back")).count();
    assert_eq!(errors, 1, "{log:?}");

    let process = Process::start(folder.path(), &["--restored"]);
    let operator = process.operator().await;
    Agent::connect_as(&process.address, having(&heard), Vec::new(), Manner::Slow).await;
    assert_eq!(trouble(&operator).await, None);
}

/// T29: a life that began by a clock set back is older than one that its nodes have met. They are turned away, nothing is decided
/// by that, and people are told the number above which a life must begin for this journal to be the one that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_older_than_one_that_was_met_begins_again_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let newest = 3_000_000_000;
    let met = |seq| Order {
        cell: CellId::new("test").unwrap(),
        incarnation: Incarnation::from_raw(newest),
        epoch: Epoch::from_raw(3),
        seq: Seq::from_raw(seq),
    };
    let knows = Hello { newest: Some(met(900)), ..hello("n1", 1) };
    let floor = format!("--life-floor {newest}");
    for flags in [[].as_slice(), &["--restored"]] {
        let process = Process::start(folder.path(), flags);
        let operator = process.operator().await;
        let greeting = vec![AgentMessage::Hello(knows.clone()), AgentMessage::HelloDone];
        let (reason, text) = refused(&process.address, greeting).await;
        assert_eq!(reason, RefuseReason::JournalBehind, "{text}");
        assert!(text.contains("node n1") && text.contains(&floor), "{text}");
        let told = until(|| trouble(&operator), Option::is_some).await.unwrap();
        assert!(told.contains(&floor) && told.contains("clock"), "{told}");
        process.kill();
    }
    let process = Process::start(folder.path(), &["--restored", "--life-floor", &newest.to_string()]);
    let operator = process.operator().await;
    let agent = Agent::connect_as(&process.address, knows, Vec::new(), Manner::Slow).await;
    let welcome = welcome_of(&agent.heard_that(|heard| welcome_of(heard).is_some()).await).unwrap();
    assert_eq!(welcome.incarnation.raw(), newest + 1);
    assert_eq!(trouble(&operator).await, None);
    process.kill();
    let process = Process::start(folder.path(), &[]);
    let view = process.operator().await.cell().await.unwrap().cell.unwrap();
    assert_eq!(view.incarnation, newest + 1, "it begins once");
}

/// T29, R5: a journal that was rolled back and has been led from since, past what its nodes knew, is told by its content. Every
/// such node is named, counted by the metric, and forgotten when its agent is made anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_grew_again_after_it_was_rolled_back_is_told_by_its_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let (state, old, heard) = ahead_of_a_copy(folder.path()).await;
    let knows = having(&heard);
    assert!(knows.witness.is_some(), "an order comes with its entry");

    // Another node is given enough to do that the numbers of the first one are passed.
    copy(&old, &state);
    let process = Process::start(folder.path(), &[]);
    let operator = process.operator().await;
    let other = Agent::connect(&process.address, "n2", Manner::Diligent).await;
    other.report((0..20).map(|n| claim(&format!("b{n}"))).collect()).await.unwrap();
    operator.start("other").await.unwrap();
    let passed = knows.newest.unwrap().seq.raw() + 1;
    let grown = |cell: &Result<v1::GetCellResponse, _>| {
        cell.as_ref().is_ok_and(|cell| cell.cell.as_ref().is_some_and(|view| view.seq_next > passed))
    };
    until(|| operator.cell(), grown).await.unwrap();

    let named = |n: &str| Hello { node: hello(n, 1).node, ..knows.clone() };
    for node in ["n1", "n3"] {
        let greeting = vec![AgentMessage::Hello(named(node)), AgentMessage::HelloDone];
        let (reason, text) = refused(&process.address, greeting).await;
        assert_eq!(reason, RefuseReason::JournalBehind, "{text}");
        assert!(text.contains("is another one here") && text.contains("--restored"), "{text}");
    }
    let both = |cell: &Result<v1::GetCellResponse, _>| {
        cell.as_ref().is_ok_and(|cell| cell.nodes_ahead == ["n1", "n3"])
    };
    let told = until(|| operator.cell(), both).await.unwrap();
    assert!(told.trouble.unwrap().contains("1 more nodes say so"));
    assert!(scrape(&process.metrics).await.contains("rientro_nodes_ahead 2"));
    let (code, out, _) = rientro(folder.path(), &["cell", "show"]);
    assert!(code == Some(1) && out.contains("n1, n3: the journal does not hold what they obeyed"), "{out}");

    Agent::connect(&process.address, "n1", Manner::Slow).await;
    let one =
        |cell: &Result<v1::GetCellResponse, _>| cell.as_ref().is_ok_and(|cell| cell.nodes_ahead == ["n3"]);
    until(|| operator.cell(), one).await.unwrap();
    assert!(other.heard.borrow().end.is_none(), "a node of this history is left alone");
}
