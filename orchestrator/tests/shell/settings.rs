//! Settings as the real binary takes them.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;

/// Whether settings are taken, what is printed of them, and why they are refused.
fn check(environment: &[(&str, &str)], flags: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rientro-orchestrator"));
    for name in ["CONFIG", "CELL", "STATE_DIR", "LISTEN_AGENTS", "LISTEN_OPERATORS", "LISTEN_METRICS", "LOG"]
    {
        command.env_remove(format!("RIENTRO_{name}"));
    }
    let output = command.envs(environment.iter().copied()).arg("--check").args(flags).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Settings are checked without starting anything; addresses that others can reach are refused.
#[test]
fn settings_are_printed_and_refused_by_name() {
    let (fine, out, _) = check(&[], &["--cell", "c", "--state-dir", "/nowhere"]);
    assert!(fine && out.contains("cell = \"c\"") && out.contains("127.0.0.1:7400"), "{out}");
    let open = ["--cell", "c", "--state-dir", "/nowhere", "--listen-agents", "0.0.0.0:1"];
    let (fine, _, error) = check(&[], &open);
    assert!(!fine && error.contains("other hosts"), "{error}");
    assert!(!Path::new("/nowhere").exists());
}

/// The file, the environment above it, flags above both; each setting by itself.
#[test]
fn flags_stand_above_the_environment_and_that_above_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orchestrator.toml");
    let text = "cell = \"of-file\"\nstate_dir = \"/of-file\"\n[listen]\nagents = [\"127.0.0.1:1\"]\nmetrics = \"127.0.0.1:4\"\n\
                [log]\nfilter = \"warn\"\n";
    std::fs::write(&file, text).unwrap();
    let shows = |environment: &[(&str, &str)], flags: &[&str], wanted: &[&str]| {
        let file = ("RIENTRO_CONFIG", file.to_str().unwrap());
        let (fine, out, error) = check(&[&[file], environment].concat(), flags);
        assert!(fine, "{error}");
        wanted.iter().for_each(|wanted| assert!(out.contains(wanted), "{wanted} is not in\n{out}"));
    };
    let of_file = ["cell = \"of-file\"", "state_dir = \"/of-file\"", "agents = [\"127.0.0.1:1\"]"];
    shows(&[], &[], &of_file);
    let environment = [
        ("RIENTRO_CELL", "of-environment"),
        ("RIENTRO_LISTEN_AGENTS", "127.0.0.1:2"),
        ("RIENTRO_LISTEN_METRICS", "off"),
        ("RIENTRO_LOG", "debug"),
    ];
    let of_environment = [
        "cell = \"of-environment\"",
        "state_dir = \"/of-file\"",
        "agents = [\"127.0.0.1:2\"]",
        "metrics = \"off\"",
        "filter = \"debug\"",
    ];
    shows(&environment, &[], &of_environment);
    let flags = ["--cell", "of-flag", "--listen-agents", "127.0.0.1:3", "--log", "error"];
    let of_flags = [
        "cell = \"of-flag\"",
        "state_dir = \"/of-file\"",
        "agents = [\"127.0.0.1:3\"]",
        "metrics = \"off\"",
        "filter = \"error\"",
    ];
    shows(&environment, &flags, &of_flags);
}

/// Why a start is refused, as the real binary tells it.
fn refused(flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rientro-orchestrator"));
    command.args(["--cell", "c", "--listen-metrics", "off", "--listen-operators", "127.0.0.1:0"]);
    let output = command.env("RIENTRO_LOG", "off").args(flags).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.starts_with("rientro-orchestrator: "), "{text}");
    text
}

/// The parts of a chain of causes; none of them may be told twice.
fn once(text: &str) {
    for part in text.trim_end().split(": ") {
        assert_eq!(text.matches(part).count(), 1, "{part:?} is told twice in {text:?}");
    }
}

#[test]
fn a_refused_start_tells_each_cause_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    std::fs::write(dir.path().join("file"), b"").unwrap();
    std::fs::create_dir_all(dir.path().join("odd/directory.redb")).unwrap();
    std::fs::write(dir.path().join("odd/founding"), b"").unwrap();
    std::fs::create_dir_all(dir.path().join("bare")).unwrap();
    std::fs::write(dir.path().join("bare/mailbox.key"), [1; 32]).unwrap();
    std::fs::create_dir_all(dir.path().join("odder/journal.redb")).unwrap();
    std::fs::write(dir.path().join("odder/mailbox.key"), [1; 32]).unwrap();
    let (state, below_file) = (path("state"), path("file/state"));
    let (odd, odder, bare) = (path("odd"), path("odder"), path("bare"));
    let socket = format!("unix:{}", path("absent/agents.sock"));
    let [file, directory, link, served] =
        ["file", "bare", "link", "served"].map(|name| format!("unix:{}", path(name)));
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
    let _served = std::os::unix::net::UnixListener::bind(dir.path().join("served")).unwrap();
    for (flags, told) in [
        (&["--config", dir.path().to_str().unwrap()][..], "it is no regular file"),
        (&["--config", &path("absent.toml")], "No such file"),
        (&["--state-dir", &below_file, "--listen-agents", "127.0.0.1:0"], "Not a directory"),
        (&["--state-dir", "/proc/rientro", "--listen-agents", "127.0.0.1:0"], "could not make /proc/rientro"),
        (&["--state-dir", &odd, "--listen-agents", "127.0.0.1:0"], "Is a directory"),
        (&["--state-dir", &odder, "--listen-agents", "127.0.0.1:0"], "Is a directory"),
        (&["--state-dir", &bare, "--listen-agents", "127.0.0.1:0"], "without its journal"),
        (&["--state-dir", &state, "--listen-agents", &busy], "another process does; `ss -lntxp` names it"),
        (&["--state-dir", &state, "--listen-agents", &socket], "No such file"),
        (&["--state-dir", &state, "--listen-agents", &file], "a plain file is in the way"),
        (&["--state-dir", &state, "--listen-agents", &directory], "a directory is in the way"),
        (&["--state-dir", &state, "--listen-agents", &link], "a symbolic link is in the way"),
        (&["--state-dir", &state, "--listen-agents", &served], "another process does; `ss -lntxp` names it"),
        (&["--state-dir", &state, "--listen-agents", "0.0.0.0:1"], "other hosts"),
        (
            &["--state-dir", &state, "--listen-agents", "127.0.0.1:0", "--log", "a=b=c"],
            "cannot read the log filter \"a=b=c\"",
        ),
    ] {
        let text = refused(flags);
        assert!(text.contains(told), "{told:?} is not in {text:?}");
        once(&text);
    }
}

fn all_below(path: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { all_below(&path) } else { vec![path] };
    let found = std::fs::read_dir(path).unwrap().flat_map(|entry| below(entry.unwrap().path()));
    std::iter::once(path.to_owned()).chain(found).collect()
}

/// What is kept is the orchestrator's alone, also where its user's files usually are everybody's.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_directory_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &[]);
    process.operator().await;
    let kept = all_below(&folder.path().join("state"));
    assert!(kept.len() >= 4, "{kept:?}");
    for path in kept {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}: {mode:o}", path.display());
    }
}
