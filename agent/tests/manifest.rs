//! Baselines on the command line.

#![allow(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rientro_mailstore::volume;
use rientro_types::{Digest, VolumeId};
use support::volume::{Volume, damage};

struct Case {
    mail: tempfile::TempDir,
    apart: tempfile::TempDir,
}

impl Case {
    /// Three messages in two mailboxes.
    fn new() -> Self {
        let mail = tempfile::tempdir().unwrap();
        let volume = Volume::enrolled(mail.path(), 1);
        volume.mailbox("ex.org/anna", 2);
        volume.mailbox("ex.org/bert", 1);
        Self { mail, apart: tempfile::tempdir().unwrap() }
    }

    /// Two mailboxes of a message each in the shard `s1`, and the settings of an agent that has it, with baselines in `kept`.
    fn with_shard_s1() -> (Self, String) {
        let case = Self { mail: tempfile::tempdir().unwrap(), apart: tempfile::tempdir().unwrap() };
        Volume::enrolled(case.mail.path(), 1).shard("s1/d", 2, 1);
        let (settings, baselines) = (case.apart.path().join("agent.toml"), case.apart.path().join("kept"));
        let text = format!(
            "node = \"n\"\nstate = \"/s\"\nbaselines = {baselines:?}\nendpoints = [\"http://127.0.0.1:1\"]\n[[roots]]\n\
             path = {:?}\nlayout = \"{{shard}}/{{part}}/{{domain}}/{{user}}\"\nshard = \"{{shard}}\"\n",
            case.mail.path()
        );
        fs::write(&settings, text).unwrap();
        let settings = settings.to_str().unwrap().to_owned();
        (case, settings)
    }

    fn manifest(&self) -> PathBuf {
        self.apart.path().join("baseline")
    }

    /// Runs the agent; exit code, standard output and standard error, with names for the paths.
    fn agent(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let (mail, manifest) =
            (self.mail.path().display().to_string(), self.manifest().display().to_string());
        let args = args.iter().map(|arg| arg.replace("MAIL", &mail).replace("BASE", &manifest));
        let Output { status, stdout, stderr } =
            Command::new(env!("CARGO_BIN_EXE_rientro-agent")).args(args).output().unwrap();
        let text =
            |bytes| String::from_utf8(bytes).unwrap().replace(&mail, "MAIL").replace(&manifest, "BASE");
        (status.code(), text(stdout), text(stderr))
    }

    fn write(&self) -> String {
        let (code, out, err) = self.agent(&["manifest", "write", "MAIL", "--to", "BASE"]);
        assert_eq!(
            (code, &err[..]),
            (Some(0), "writing the baseline of MAIL with layout {domain}/{user}\n"),
            "{out}"
        );
        out
    }

    fn first_message(&self) -> PathBuf {
        first_file(&self.mail.path().join("ex.org/anna/cur"))
    }
}

fn volume_id(path: &Path) -> VolumeId {
    volume::identify(path).unwrap()
}

fn first_file(dir: &Path) -> PathBuf {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).min().unwrap()
}

#[test]
fn a_baseline_is_written_once_and_tells_what_nothing_else_does() {
    let case = Case::new();
    assert!(case.write().starts_with("BASE: written: 3 messages in 2 mailboxes, 5.1 KiB read\nroot "));
    assert!(
        case.write().starts_with(
            "BASE: nothing has changed, it stays as it is: 3 messages in 2 mailboxes, 0 B read\n"
        )
    );
    File::options().write(true).open(case.first_message()).unwrap().write_all_at(b"X", 200).unwrap();
    assert_eq!(case.agent(&["verify", "MAIL"]).0, Some(0), "its structure is whole");
    let (code, out, _) = case.agent(&["verify", "MAIL", "--baseline", "BASE"]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("damage      message-altered ")
            && out.ends_with("of the baseline: 2 intact, 1 altered\n"),
        "{out}"
    );
    let (_, out, _) = case.agent(&["verify", "MAIL", "--baseline", "BASE", "--output", "json"]);
    let verdict: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&verdict["level"], &verdict["comparison"]["altered"]), (&"baseline".into(), &1.into()));
}

#[test]
fn a_baseline_of_mail_that_is_damaged_by_now_is_not_called_unchanged() {
    let case = Case::new();
    case.write();
    File::options().write(true).open(case.first_message()).unwrap().write_all_at(b"X", 200).unwrap();
    let (code, out, _) = case.agent(&["manifest", "write", "MAIL", "--to", "BASE"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("\nBASE: it stays as it is: 3 messages in 2 mailboxes, "), "{out}");
    assert!(
        out.ends_with(
            "\n1 mailboxes are damaged, unreadable or gone, and keep what it had of them; --damaged takes those that could be looked into as they are\n"
        ),
        "{out}"
    );
    let (_, out, _) = case.agent(&["manifest", "write", "MAIL", "--to", "BASE", "--output", "json"]);
    let told: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&told["renewal"], &told["mailboxes_withheld"]), (&"kept".into(), &1.into()));
}

#[test]
fn a_manifest_is_shown_and_listed() {
    let case = Case::new();
    case.write();
    let (code, out, _) = case.agent(&["manifest", "show", "BASE"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("mailboxes  2\nmessages   3\n") && out.starts_with("written    20"), "{out}");
    let (code, out, err) = case.agent(&["manifest", "export", "--b3sum", "BASE"]);
    assert_eq!((code, &err[..], out.lines().count()), (Some(0), "3 files\n", 3));
    let file = case.first_message();
    let hash = Digest::of(&fs::read(&file).unwrap()).to_string();
    let path = file.strip_prefix(case.mail.path()).unwrap().display().to_string();
    assert!(out.contains(&format!("{hash}  {path}\n")), "{out}");
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let case = Case::new();
    fs::write(case.manifest(), b"rientro-manifest, but not all of it").unwrap();
    fs::write(case.apart.path().join("own"), b"a letter").unwrap();
    let beside = format!("{}/own", case.apart.path().display());
    for (args, said) in [
        (&["manifest", "write", "MAIL", "--to", "MAIL/base"][..], "MAIL/base is below MAIL"),
        (
            &["manifest", "write", "MAIL", "--to", "BASE"],
            "BASE is no whole manifest (it is too short); write a new one with --anew",
        ),
        (
            &["manifest", "write", "MAIL", "--to", &beside],
            "own is no manifest: it does not begin like one; name another place with --to",
        ),
        (&["manifest", "show", "BASE"], "BASE is no whole manifest"),
        (&["verify", "MAIL", "--baseline", "MAIL/none"], "open MAIL/none: No such file"),
        (&["verify", "MAIL", "--level", "baseline"], "name it with --baseline"),
        (&["verify", "MAIL", "--level", "presence", "--baseline", "BASE.none"], "leave one of them out"),
    ] {
        let (code, out, err) = case.agent(args);
        assert_eq!((code, &out[..]), (Some(2), ""), "{args:?}");
        assert!(err.contains(said), "{args:?}: {err}");
        if args.contains(&"--level") || args[0] == "manifest" {
            // The same for programs.
            let (code, out, err) = case.agent(&[args, &["--output", "json"]].concat());
            assert_eq!((code, &out[..]), (Some(2), ""), "{args:?}");
            let told: serde_json::Value = serde_json::from_str(&err).unwrap();
            assert_eq!(told["error"]["code"], "could-not-tell", "{err}");
            assert!(told["error"]["what"].as_str().unwrap().contains(said), "{err}");
        }
    }
    assert_eq!(fs::read(case.apart.path().join("own")).unwrap(), b"a letter");
    let (code, _, _) = case.agent(&["manifest", "write", "MAIL", "--to", "BASE", "--anew"]);
    assert_eq!(code, Some(0));
}

/// T10: whatever a path is made to lead to, mail is only read.
#[test]
fn no_manifest_is_written_into_mail() {
    let case = Case::new();
    let (message, beside) = (case.first_message(), case.apart.path().join("baseline.new"));
    let before = fs::read(&message).unwrap();
    symlink(&message, &beside).unwrap();
    let (code, out, err) = case.agent(&["manifest", "write", "MAIL", "--to", "BASE"]);
    assert_eq!((code, &out[..]), (Some(2), ""));
    assert!(err.contains("BASE.new is in the way: it is a symbolic link. It stays as it is"), "{err}");
    assert!(!case.manifest().exists());
    fs::remove_file(&beside).unwrap();

    symlink(&message, case.manifest()).unwrap();
    let (code, _, err) = case.agent(&["manifest", "write", "MAIL", "--to", "BASE"]);
    assert!(code == Some(2) && err.contains("BASE is no manifest"), "{err}");
    let (code, out, _) = case.agent(&["manifest", "write", "MAIL", "--to", "BASE", "--anew"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("it replaces a symbolic link to MAIL/ex.org/anna/cur/"), "{out}");
    assert!(out.contains(", which stays as it is\n"), "{out}");
    assert_eq!(fs::read(&message).unwrap(), before);

    let old = tempfile::tempdir().unwrap();
    let (alternative, to) = (format!("{}/{{user}}", old.path().display()), old.path().join("base"));
    let to = to.to_str().unwrap();
    let (code, _, err) =
        case.agent(&["manifest", "write", "MAIL", "--alternative", &alternative, "--to", to]);
    assert!(code == Some(2) && err.contains("nothing is written there") && !Path::new(to).exists(), "{err}");
}

/// A disk without room: the failure says where, and nothing is left there.
#[test]
fn a_manifest_that_cannot_be_written_leaves_nothing() {
    let case = Case::new();
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let Output { status, stderr, .. } = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_rientro-agent"), "manifest", "write"])
        .arg(case.mail.path())
        .arg("--to")
        .arg(case.manifest())
        .output()
        .unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert!(
        status.code() == Some(2) && told.contains("write ") && told.contains("baseline.new: File too large"),
        "{told}"
    );
    assert_eq!(fs::read_dir(case.apart.path()).unwrap().count(), 0);
}

/// What came since a baseline was not compared with it, and exit code 0 is for what was.
#[test]
fn mail_that_was_not_compared_is_not_called_clean() {
    let case = Case::new();
    case.write();
    let compare = |more: &[&str]| {
        let (code, out, _) = case.agent(&[&["verify", "MAIL", "--baseline", "BASE"], more].concat());
        (code, out)
    };
    assert_eq!(compare(&[]).0, Some(0));
    Volume { path: case.mail.path().to_owned(), id: volume_id(case.mail.path()) }.mailbox("ex.org/carl", 1);
    let (code, out) = compare(&[]);
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("clean at baseline level, 75% covered"), "{out}");
    assert!(out.contains("75% of the messages were compared, and 100% are asked for"), "{out}");
    let (code, out) = compare(&["--coverage", "75%"]);
    assert!(code == Some(0) && !out.contains("asked for"), "{out}");
    let (code, out) = compare(&["--coverage", "75.1%", "--output", "json"]);
    let verdict: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(
        (code, &verdict["coverage_ppm"], &verdict["coverage_ppm_min"]),
        (Some(2), &750_000.into(), &751_000.into())
    );
    damage(&case.mail.path().join("ex.org/carl"));
    assert_eq!(compare(&[]).0, Some(1), "what is damaged is damaged");
    assert_eq!(
        case.agent(&["verify", "MAIL", "--coverage", "90%"]).0,
        Some(2),
        "there is nothing to compare with"
    );
}

/// That all of it is lost would be a strange thing to say of a tree in which nothing of it ever was.
#[test]
fn a_baseline_of_another_tree_is_told_as_that() {
    let case = Case::new();
    case.write();
    let (code, out, err) = case.agent(&["verify", "MAIL/ex.org/anna", "--baseline", "BASE"]);
    assert_eq!((code, &out[..]), (Some(2), ""));
    let told = "BASE seems to be the baseline of another tree: none of its 2 mailboxes, such as ex.org/anna, is among the 1 of \
                MAIL/ex.org/anna; name the directory that it was written of";
    assert!(err.contains(told), "{err}");
    fs::remove_dir_all(case.mail.path().join("ex.org/bert")).unwrap();
    let (code, out, _) = case.agent(&["verify", "MAIL", "--baseline", "BASE"]);
    assert!(code == Some(1) && out.contains("mailbox-missing"), "{out}");
}

/// What the agent has is compared with where there is no cell; what cannot be renewed says how it is replaced.
#[test]
fn baselines_of_the_agent_are_compared_with_and_replaced() {
    let (case, settings) = Case::with_shard_s1();
    let kept = case.apart.path().join("kept/s1.manifest");
    let renew = |more: &[&str]| case.agent(&[&["manifest", "renew", "--config", &settings], more].concat());
    assert_eq!(renew(&[]).0, Some(0));
    let (code, out, err) = case.agent(&["verify", "MAIL/s1", "--baseline", kept.to_str().unwrap()]);
    assert!(code == Some(0) && out.contains("of the baseline: 2 intact"), "{out}{err}");

    File::options().write(true).open(&kept).unwrap().write_all_at(&[0; 10], 0).unwrap();
    let (code, _, err) = renew(&[]);
    assert_eq!(code, Some(2));
    let (_, advice) = err.split_once("`rientro-agent ").unwrap();
    let (advice, _) = advice.split_once('`').unwrap();
    let advice: Vec<_> = advice.split(' ').map(|word| if word == "..." { &settings } else { word }).collect();
    assert_eq!(advice[advice.len() - 2..], ["--anew", "s1"]);
    let (code, out, err) = case.agent(&advice);
    assert!(code == Some(0) && out.starts_with("s1: written, 2 messages"), "{out}{err}");
    assert_eq!(renew(&[]).0, Some(0));
    assert_eq!(renew(&["--anew"]).0, Some(2), "each shard whose baseline is forgotten is named");
}

/// A name that was mistyped says nothing of the shards that there are.
#[test]
fn a_shard_that_no_root_shows_is_told_as_that() {
    let (case, settings) = Case::with_shard_s1();
    let renew = |more: &[&str]| case.agent(&[&["manifest", "renew", "--config", &settings], more].concat());
    let said = "nope: no root shows it\n";
    assert_eq!(renew(&["nope"]), (Some(2), String::new(), said.to_owned()));
    let (code, out, err) = renew(&["nope", "s1"]);
    assert_eq!((code, &err[..]), (Some(2), said));
    assert!(out.starts_with("s1: written, 2 messages"), "{out}");

    fs::remove_dir_all(case.mail.path().join("s1")).unwrap();
    for more in [&[][..], &["s1"]] {
        let (code, _, err) = renew(more);
        assert_eq!(code, Some(2));
        let said =
            "s1: no root shows it; its baseline stays as it was\nrientro-agent: no root shows a shard; ";
        assert!(err.starts_with(said), "{err}");
    }
}

/// What was damaged when the first baseline was written is in it, and no comparison with it tells.
#[test]
fn damage_in_a_first_baseline_is_told() {
    let (case, settings) = Case::with_shard_s1();
    damage(&case.mail.path().join("s1/d/ex.org/user000"));
    let (code, out, _) = case.agent(&["manifest", "renew", "--config", &settings]);
    assert_eq!(code, Some(1));
    let said = "2 findings are in what it was written of: damage that was there is not seen by it later\n";
    assert!(out.starts_with("s1: written, 2 messages") && out.ends_with(&format!("; {said}")), "{out}");
    let (code, out, _) = case.agent(&["manifest", "write", "MAIL", "--to", "BASE"]);
    assert!(code == Some(1) && out.ends_with(said), "{out}");
}

#[test]
fn the_help_says_where_a_list_is_checked() {
    let (_, help, _) = Case::new().agent(&["manifest", "export", "--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("where that is one mailbox, in the directory that it is in"), "{help}");
}
