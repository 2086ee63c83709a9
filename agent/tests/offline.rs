//! The commands that need no orchestrator.

#![allow(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use support::volume::{Volume, damage};

fn agent(args: &[&str], path: &Path) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_rientro-agent")).args(args).arg(path).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(&path.display().to_string(), "PATH");
    (status.code(), text(stdout), text(stderr))
}

fn volume() -> (tempfile::TempDir, Volume) {
    let dir = tempfile::tempdir().unwrap();
    let volume = Volume::enrolled(dir.path(), 1);
    (dir, volume)
}

#[test]
fn a_clean_tree_is_clean() {
    let (dir, volume) = volume();
    volume.mailbox("ex.org/anna", 2);
    volume.mailbox("ex.org/bert", 1);
    let (code, out, err) = agent(&["verify"], dir.path());
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(
        out,
        "clean at structure level, 100% covered: 3 messages in 2 mailboxes, 5.1 KiB read, 0 findings\n"
    );
    assert_eq!(err, "verifying PATH with layout {domain}/{user}\n");
    let (code, out, _) = agent(&["verify", "--level", "presence"], dir.path());
    assert_eq!((code, out.starts_with("clean at presence level")), (Some(0), true), "{out}");
}

/// One mailbox, damaged: told as a table and as JSON, exit code 1.
#[test]
fn a_damaged_mailbox_is_damaged() {
    let (_dir, volume) = volume();
    let mailbox = volume.mailbox("ex.org/anna", 1);
    damage(&mailbox);
    let (code, out, _) = agent(&["verify"], &mailbox);
    assert_eq!(code, Some(1));
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("SEVERITY    KIND"), "{out}");
    assert!(lines[1].starts_with("damage      size-mismatch          anna "), "{out}");
    assert!(
        out.ends_with("findings\n")
            && out.contains("damaged at structure level (1 of 1 messages, 1 mailboxes)"),
        "{out}"
    );
    let (code, out, err) = agent(&["verify", "--output", "json"], &mailbox);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    let objects: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdict = objects.last().unwrap();
    assert_eq!(
        (&verdict["outcome"], &verdict["level"], &verdict["coverage_ppm"]),
        (&"damaged".into(), &"structure".into(), &1_000_000.into())
    );
    assert!(objects.iter().any(|object| object["kind"] == "size-mismatch"));
}

/// Attachments stand below a tree of mailboxes, and beside one mailbox that is verified by its own path.
#[test]
fn attachments_are_found_where_the_help_says() {
    let dir = tempfile::tempdir().unwrap();
    let mailbox = dir.path().join("anna");
    fs::create_dir_all(mailbox.join("storage")).unwrap();
    fs::create_dir_all(mailbox.join("mailboxes")).unwrap();
    fs::create_dir_all(dir.path().join("apart/aa/bb")).unwrap();
    fs::write(dir.path().join("apart/aa/bb/kept"), "hello").unwrap();
    // A message of 26 bytes with 5 line ends, of which the attachment is stored apart from the other 21.
    let (body, metadata) = ("Subject: x\n\nsee\n\nend\n", "R1\nZ1a\nV1f\nX16 5 - aa/bb/kept\n\n");
    let message = format!("2 M1e C1\n\x01\x02N          {:016X}\n{body}\n\x01\x03\n{metadata}", body.len());
    fs::write(mailbox.join("storage/m.1"), message).unwrap();
    for path in [dir.path(), &mailbox] {
        let (_, out, err) = agent(&["verify"], path);
        assert!(out.contains("no directory of attachments is set up"), "{out}{err}");
        let (_, out, err) = agent(&["verify", "--attachments", "apart"], path);
        assert!(out.contains("(0 of 1 messages,") && !out.contains("attachment"), "{out}{err}");
    }
    let (_, help, _) = agent(&["verify", "--help"], dir.path());
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("where PATH is one mailbox, below the directory that PATH is in"), "{help}");
}

/// A mailbox is verified by its own path whatever bytes its name has; none of them reaches the terminal as it is.
#[test]
fn a_mailbox_with_an_odd_name_is_verified_by_its_path() {
    let (dir, volume) = volume();
    for name in [&b"tab\there\x1b[2J"[..], b"caf\xe9", b"{user}", b"100%"] {
        let mailbox = dir.path().join(OsStr::from_bytes(name));
        fs::rename(volume.mailbox("anna", 1), &mailbox).unwrap();
        let run = || {
            let program = env!("CARGO_BIN_EXE_rientro-agent");
            let Output { status, stdout, stderr } =
                Command::new(program).arg("verify").arg(&mailbox).output().unwrap();
            let told = String::from_utf8([stdout, stderr].concat()).unwrap();
            assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
            (status.code(), told)
        };
        let (code, told) = run();
        assert!(code == Some(0) && told.contains("1 messages in 1 mailboxes"), "{told}");
        damage(&mailbox);
        let (code, told) = run();
        assert!(code == Some(1) && told.contains("size-mismatch"), "{told}");
    }
}

#[test]
fn what_cannot_be_told_is_code_2() {
    let (dir, volume) = volume();
    let (code, _, err) = agent(&["verify"], dir.path());
    assert_eq!(code, Some(2));
    assert!(err.contains("no mailbox stands within 5 levels below PATH; say where mailboxes are"), "{err}");
    let (code, out, _) = agent(&["verify", "--layout", "{domain}/{user}"], dir.path());
    assert_eq!(
        (code, out.as_str()),
        (
            Some(2),
            "unknown at structure level (no mail is there), 0% covered: 0 messages in 0 mailboxes, 0 B read, 0 findings\n"
        )
    );
    volume.mailbox("anna", 1);
    volume.mailbox("ex.org/bert", 1);
    let (code, _, err) = agent(&["verify"], dir.path());
    assert_eq!((code, err.contains("different depths")), (Some(2), true), "{err}");
    let (code, _, err) = agent(&["verify", "--layout", "%d/%n"], dir.path());
    assert_eq!((code, err.contains("has a percent sign")), (Some(2), true), "{err}");
    let (code, _, _) = agent(&["verify", "--level", "deep"], dir.path());
    assert_eq!(code, Some(2));
    let (code, _, err) = agent(&["verify"], &dir.path().join("absent"));
    assert_eq!((code, err.contains("No such file")), (Some(2), true), "{err}");
    let (code, out, err) = agent(&["verify", "--output", "json"], &dir.path().join("absent"));
    let failure: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!((code, out.as_str(), &failure["error"]["code"]), (Some(2), "", &"could-not-tell".into()));
}

/// What the agent itself lacks is never called damage, and the finding says what to raise.
#[test]
fn too_few_open_files_are_code_2() {
    let (dir, volume) = volume();
    (0..20).for_each(|number| drop(volume.mailbox(&format!("ex.org/u{number:02}"), 1)));
    let shell = "ulimit -n 8; exec \"$0\" verify --readers 32 \"$1\"";
    let Output { status, stdout, .. } = Command::new("sh")
        .args(["-c", shell, env!("CARGO_BIN_EXE_rientro-agent")])
        .arg(dir.path())
        .output()
        .unwrap();
    let out = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(2), "{out}");
    assert!(out.contains("raise LimitNOFILE=") && !out.contains("damage "), "{out}");
}

#[test]
fn an_expected_mailbox_that_is_missing_is_damage() {
    let (dir, volume) = volume();
    volume.mailbox("ex.org/anna", 1);
    let list = dir.path().join("list");
    fs::write(&list, "ex.org/anna\nex.org/bert\n").unwrap();
    let list = list.display().to_string();
    let (code, out, _) = agent(&["verify", "--expected", &list, "--layout", "{domain}/{user}"], dir.path());
    assert_eq!((code, out.contains("mailbox-missing")), (Some(1), true), "{out}");
}

/// Nothing below the path is another than before, names, times and contents.
#[test]
fn verifying_writes_nothing() {
    let (dir, volume) = volume();
    damage(&volume.mailbox("ex.org/anna", 3));
    let before = listing(dir.path());
    agent(&["verify"], dir.path());
    agent(&["inventory", "--layout", "{domain}/{user}"], dir.path());
    agent(&["volume", "show"], dir.path());
    assert_eq!(listing(dir.path()), before);
}

fn listing(path: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        lines.push(format!("{:?} {:?} {}", entry.path(), meta.modified().unwrap(), meta.len()));
        if meta.is_dir() {
            lines.extend(listing(&entry.path()));
        }
    }
    lines.sort_unstable();
    lines
}

#[test]
fn volumes_are_shown_and_enrolled_once() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = agent(&["volume", "show"], dir.path());
    assert_eq!((code, out.starts_with("fs:")), (Some(0), true), "{out}");
    let (code, id, _) = agent(&["volume", "enrol"], dir.path());
    assert_eq!((code, id.len()), (Some(0), "marker:".len() + 36 + 1), "{id}");
    assert_eq!(agent(&["volume", "show"], dir.path()), (Some(0), id, String::new()));
    let (code, _, err) = agent(&["volume", "enrol"], dir.path());
    assert_eq!((code, err.as_str()), (Some(2), "rientro-agent: PATH is enrolled already\n"));
}

#[test]
fn an_inventory_tells_shards_and_mailboxes() {
    let (dir, volume) = volume();
    volume.shard("s1", 2, 1);
    volume.shard("s2", 1, 1);
    let layout = ["inventory", "--layout", "{shard}/{domain}/{user}", "--shard", "{shard}"];
    let (code, out, _) = agent(&layout, dir.path());
    let told = format!("s1  2 mailboxes  volume {id}\ns2  1 mailboxes  volume {id}\n", id = volume.id);
    assert_eq!((code, out), (Some(0), told));
    let (_, out, _) = agent(&[&layout[..], &["--mailboxes", "--output", "json"]].concat(), dir.path());
    assert_eq!(out.lines().count(), 5);
}

/// What cannot be listed is told, and is no answer.
#[test]
fn an_inventory_of_a_part_is_none() {
    let (dir, volume) = volume();
    volume.shard("s1", 2, 1);
    volume.shard("s2", 1, 1);
    let closed = volume.path.join("s1/ex.net");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o0)).unwrap();
    let layout = ["inventory", "--layout", "{shard}/{domain}/{user}", "--shard", "{shard}"];
    let Output { status, stdout, stderr } =
        support::unprivileged().args(layout).arg(dir.path()).output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!((status.code(), out.lines().count()), (Some(2), 2), "{out}{err}");
    assert!(err.starts_with("shard s1: 1 directory in it cannot be listed to its end"), "{err}");
    assert!(err.contains("there may be more than is shown"), "{err}");
}

#[test]
fn settings_are_checked() {
    let node = support::Node::new();
    let settings = node.settings();
    let (code, out, err) =
        agent(&["run", "--check", "--endpoint", "http://127.0.0.1:1", "--config"], &settings);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("1 root: settings are good") && out.contains(node.volume.id.as_str()), "{out}");
    fs::remove_file(node.volume.path.join(".rientro-volume")).unwrap();
    let (_, out, _) = agent(&["run", "--check", "--endpoint", "http://127.0.0.1:1", "--config"], &settings);
    assert!(out.contains("rientro-agent volume enrol"), "{out}");
    let (code, _, err) = agent(&["run", "--check", "--config"], &settings);
    assert_eq!((code, err.contains("`endpoints` is not set")), (Some(1), true), "{err}");
}
