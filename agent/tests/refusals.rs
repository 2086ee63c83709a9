//! What the real binary says when it cannot start or cannot look: each cause once, and what to do.

#![allow(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::Node;
use support::orchestrator::{Orchestrator, within};
use support::volume::Volume;
use support::{attempt, order, shard, verify, welcome};

const BINARY: &str = env!("CARGO_BIN_EXE_rientro-agent");

/// The exit code, and what was said on stderr.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = Command::new(BINARY).args(args).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// No part of a chain of causes may be told twice.
fn once(text: &str) {
    for part in text.trim_end().split(": ") {
        assert_eq!(text.matches(part).count(), 1, "{part:?} is told twice in {text:?}");
    }
}

#[test]
fn each_cause_is_told_once() {
    let node = Node::new();
    let dir = node.dir.path();
    let path = |name: &str| dir.join(name).display().to_string();
    let settings = |name: &str, from: &str, to: &str| {
        let text = fs::read_to_string(node.settings()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(dir.join(name), text.replace(from, to)).unwrap();
        path(name)
    };
    fs::write(dir.join("file"), b"").unwrap();
    let state = format!("state = {:?}", node.state());
    let below_file = settings("below.toml", &state, &format!("state = {:?}", dir.join("file/state")));
    let bad_layout = settings("layout.toml", "{domain}", "{domain");
    let bad_name = settings("name.toml", "\"n1\"", "\"n 1\"");
    let good = node.settings().display().to_string();
    let no_toml = settings("toml.toml", "node =", "node");
    let (mail, here) = (node.volume.path.display().to_string(), dir.display().to_string());
    let endpoint = ["--endpoint", "http://127.0.0.1:1"];
    let started = |config: &str| run(&[&["run", "--config", config][..], &endpoint].concat());
    for ((code, text), told) in [
        (started(&here), "it is no regular file"),
        (started(&path("absent.toml")), "No such file"),
        (started(&below_file), "Not a directory"),
        (started(&bad_layout), "layout `{shard}/{domain/{user}`"),
        (started(&bad_name), "`node`: has ' ' at position 1"),
        (started(&no_toml), "line 1, column"),
        (
            run(&["run", "--config", &good, "--endpoint", "http://127.0.0.1:1", "--log", "a=b=c"]),
            "log filter",
        ),
        (run(&["verify", "--layout", "{a", &mail]), "layout `{a`"),
        (run(&["verify", &path("absent")]), "No such file"),
        (run(&["volume", "show", &path("absent")]), "No such file"),
        (run(&["inventory", "--layout", "{a}/{b}", "--shard", "{b}", &mail]), "does not begin the layout"),
    ] {
        assert!(code != Some(0) && text.contains(told), "{told:?} is not in {text:?}");
        once(&text);
    }
}

/// A marker that is a link to nothing is said to be that, by both commands.
#[test]
fn a_marker_that_is_a_link_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    symlink("absent", dir.path().join(".rientro-volume")).unwrap();
    for verb in ["show", "enrol"] {
        let (code, text) = run(&["volume", verb, dir.path().to_str().unwrap()]);
        assert!(code == Some(2) && text.contains(".rientro-volume is a symbolic link to nothing"), "{text}");
        once(&text);
    }
}

/// A ledger that lost its content is not taken for one that never had any.
#[test]
fn an_emptied_ledger_is_refused_with_what_to_do() {
    let node = Node::new();
    let config = node.settings().display().to_string();
    fs::create_dir_all(node.state()).unwrap();
    fs::write(node.state().join("ledger"), b"").unwrap();
    let (code, text) = run(&["run", "--endpoint", "http://127.0.0.1:1", "--config", &config]);
    assert!(code == Some(1) && text.contains("is empty, and no ledger ever is"), "{text}");
    assert!(text.contains("start with an empty one"), "{text}");
    once(&text);
}

/// T24: a folder that cannot be listed is said; the layout is seen from the others, and the verdict is not clean.
#[test]
fn one_unreadable_folder_ends_no_look_at_the_layout() {
    let dir = tempfile::tempdir().unwrap();
    let volume = Volume::enrolled(&dir.path().join("mail"), 1);
    volume.mailbox("ex.org/anna", 2);
    volume.mailbox("shut.org/bert", 2);
    let shut =
        |mode| fs::set_permissions(volume.path.join("shut.org"), fs::Permissions::from_mode(mode)).unwrap();
    shut(0o000);
    let output = support::unprivileged().arg("verify").arg(&volume.path).output().unwrap();
    shut(0o755);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(err.contains("shut.org: Permission denied") && err.contains("layout {domain}/{user}"), "{err}");
    assert_eq!(output.status.code(), Some(2), "{out}{err}");
    assert!(out.contains("2 messages in"), "{out}");
}

fn all_below(path: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { all_below(&path) } else { vec![path] };
    let found = fs::read_dir(path).unwrap().flat_map(|entry| below(entry.unwrap().path()));
    std::iter::once(path.to_owned()).chain(found).collect()
}

/// T25: what is kept names mailboxes, and is the agent's alone, also where its user's files usually are everybody's.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_directory_is_private() {
    let node = Node::new();
    node.volume.shard("s1", 1, 1);
    let mut orchestrator = Orchestrator::start().await;
    let agent = node.start_after("umask 022", &[&orchestrator.endpoint()]);
    let (mut session, _) = orchestrator.greeted(&welcome()).await;
    session.start(order(1), verify("s1", 1, node.volume.id)).await;
    session.result().await;
    session.acknowledge(shard("s1"), attempt(1)).await;
    let services = rientro_types::ServiceSet::NONE.with(rientro_types::Service::Imap);
    session.set_services(order(2), shard("s1"), services).await;
    within(session.hear()).await;
    let kept = all_below(&node.state());
    for name in ["lock", "incarnation", "ledger", "services/s1", "findings/s1/1"] {
        assert!(kept.contains(&node.state().join(name)), "{name} is not in {kept:?}");
    }
    for path in kept {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}: {mode:o}", path.display());
    }
    drop(agent);
}
