//! Settings as the real binary takes them.

use std::path::Path;
use std::process::Command;

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
