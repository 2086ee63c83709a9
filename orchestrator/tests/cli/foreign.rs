//! Texts from elsewhere: they steer no terminal, and a machine reads them to the letter.

use rientro_types::{Acceptance, AttemptNo, Phase, PlanProblem, Refusal, Seq, TaskFailure};
use rientro_wire::operator::{FindingsAnswer, JournalCheck};

use crate::server::Canned;
use crate::{Cell, fixtures};

/// What steers a terminal, hides in it, or ends a line: an override of direction, a zero-width space, an escape, a control of
/// the upper half, a line end.
const UNSEEN: &str = "\u{202e}gpj\u{200b}\u{1b}[2J\u{9b}2J\n";

/// T25: what comes from elsewhere cannot steer the terminal, wherever it is shown: in tables and lines, in errors, as JSON.
#[tokio::test]
async fn texts_from_elsewhere_are_spelled_out_everywhere() {
    let mut shards = fixtures::shards();
    let acceptance = Acceptance { by: format!("a{UNSEEN}"), reason: format!("b{UNSEEN}") };
    shards[0].shard.accepted = Some(acceptance);
    let problem = format!("c{UNSEEN}");
    shards[5].shard.phase = Phase::Failed { last: TaskFailure::Agent { problem } };
    let mut found = fixtures::findings();
    found[0].finding.path = format!("cur/d{UNSEEN}").into_bytes();
    found[0].finding.detail = format!("e{UNSEEN}");
    let shard = fixtures::shard_id("vol-07");
    let attempt = AttemptNo::from_raw(2);
    let findings = vec![
        FindingsAnswer::Page {
            shard,
            node: fixtures::node_id("n1"),
            attempt,
            findings: found,
            dropped: false,
        },
        FindingsAnswer::End { findings_total: 2, findings_shown: 2 },
    ];
    let seq = Seq::from_raw(40);
    let check = JournalCheck::Broken { entries: 12, seq, problem: format!("f{UNSEEN}") };
    let trouble = Some(format!("g{UNSEEN}"));
    let act = Err(Refusal::SelectorInvalid { problem: format!("h{UNSEEN}") });
    let forecast =
        Err(Refusal::Plan(vec![PlanProblem { field: "covers".to_owned(), problem: format!("i{UNSEEN}") }]));
    let canned =
        Canned { shards, findings, check, trouble, act, forecast, mailbox_shard: None, ..Canned::default() };
    let dir = tempfile::tempdir().expect("a directory");
    let plan = dir.path().join("plan\u{202e}.toml");
    std::fs::write(&plan, fixtures::PLAN).expect("written");
    let (plan, pasted) = (plan.to_str().expect("UTF-8"), format!("mario{UNSEEN}"));
    let cell = Cell::new(canned).await;
    let commands: [&[&str]; 12] = [
        &["shard", "show", "vol-01"],
        &["shard", "show", "vol-10"],
        &["shard", "list"],
        &["findings", "list", "--all", "--addresses"],
        &["journal", "verify"],
        &["cell", "show"],
        &["--yes", "shard", "close", "--all", "--reason", "x"],
        &["plan", "check", plan],
        &["mailbox", "show", &pasted],
        &["shard", "show", &pasted],
        &["shard", "close", "--all", "--reason", "x", &pasted],
        &["campaign", "start", &pasted],
    ];
    for form in ["table", "json"] {
        for args in commands {
            let run = cell.run(&[&["-o", form], args].concat()).await;
            let shown = run.stdout + &run.stderr;
            let seen = |c: char| c == '\n' || !(c.is_control() || "\u{202e}\u{200b}".contains(c));
            assert!(shown.chars().all(seen), "{args:?}: {shown:?}");
            let spelled = ["\\u{202e}", "\\u202e"].iter().any(|escape| shown.contains(escape));
            assert!(spelled, "{args:?}: {shown}");
            // The line end that came with it ends no line: what follows it would stand at a line's beginning.
            assert!(form == "json" || shown.contains("2J\\n") || !shown.contains("gpj"), "{args:?}: {shown}");
        }
    }
}

/// A machine reads from JSON what was there, to the letter.
#[tokio::test]
async fn json_keeps_what_was_there() {
    let mut found = fixtures::findings();
    found[0].finding.detail = format!("e{UNSEEN}");
    let (shard, node) = (fixtures::shard_id("vol-07"), fixtures::node_id("n1"));
    let attempt = AttemptNo::from_raw(2);
    let findings = vec![
        FindingsAnswer::Page { shard, node, attempt, findings: found, dropped: false },
        FindingsAnswer::End { findings_total: 2, findings_shown: 2 },
    ];
    let cell = Cell::new(Canned { findings, ..Canned::default() }).await;
    let shown = cell.run(&["-o", "json", "findings", "list", "--all"]).await.stdout;
    let first: serde_json::Value =
        serde_json::from_str(shown.lines().next().unwrap_or_default()).expect("JSON");
    assert_eq!(first["detail"], format!("e{UNSEEN}"));
}

/// T25: what comes from elsewhere cannot steer the terminal.
#[tokio::test]
async fn trouble_is_shown_and_cleaned() {
    let trouble = Some("disk full\u{1b}[31m".to_owned());
    let nodes_ahead = (1..=10).map(|n| fixtures::node_id(&format!("n{n}"))).collect();
    let run =
        Cell::new(Canned { trouble, nodes_ahead, ..Canned::default() }).await.run(&["cell", "show"]).await;
    assert!(run.stdout.contains("n1, n2, n3, n4, n5, n6, n7, n8 and 2 more"), "{}", run.stdout);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("is in trouble: disk full\\u{1b}[31m"));
    assert!(!run.stdout.contains('\u{1b}'), "no colour and no escapes in a pipe");
}

/// A cell in trouble is told of by every command, before it does anything, and costs a script its good end in either form.
#[tokio::test]
async fn trouble_is_told_whatever_is_asked() {
    let cell = Cell::new(Canned { trouble: Some("disk full".to_owned()), ..Canned::default() }).await;
    for args in [&["node", "list"][..], &["shard", "list"], &["campaign", "list"]] {
        let run = cell.run(args).await;
        assert!(run.stderr.starts_with("The cell is in trouble: disk full\n"), "{args:?}: {}", run.stderr);
        assert_eq!(run.code, 0, "{args:?}");
        let run = cell.run(&[&["-o", "json"][..], args].concat()).await;
        assert_eq!(run.stderr, "{\"trouble\":\"disk full\"}\n", "{args:?}");
    }
    let run = cell.run(&["-o", "json", "cell", "show"]).await;
    assert_eq!((run.code, run.stderr.as_str()), (1, ""), "its answer holds the trouble");

    let run = cell.run(&["-o", "json", "shard", "show", "nobody"]).await;
    let lines: Vec<serde_json::Value> =
        run.stderr.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines[0]["trouble"].is_string() && lines[1]["error"]["code"] == "refused", "{lines:?}");
    assert_eq!((run.code, lines.len()), (1, 2), "the failure is the last line");
    let help = cell.run(&["--help"]).await.stdout;
    assert!(
        help.contains("a failure is the last line on stderr") && help.contains("{\"trouble\": ...}"),
        "{help}"
    );
}

/// An answer above the limit is told in words that say what to do, and not in those of a library.
#[tokio::test]
async fn an_answer_that_is_too_large_is_told() {
    let cell = Cell::new(Canned { trouble: Some("x".repeat(5 << 20)), ..Canned::default() }).await;
    let run = cell.run(&["cell", "show"]).await;
    let told =
        "rientro: a message is too large: a question may have 1 MiB, an answer 4 MiB\nname less at once;";
    assert!(run.code == 1 && run.stderr.starts_with(told), "{}", run.stderr);
}

/// A port that cannot be is refused, before another one is called in its place.
#[tokio::test]
async fn a_port_that_cannot_be_is_refused() {
    let cell = Cell::new(Canned::default()).await;
    for endpoint in [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:",
        "http://127.0.0.1:7x",
        "http://[::1]:65536",
    ] {
        let run = cell.run(&["--endpoint", endpoint, "cell", "show"]).await;
        assert_eq!(run.code, 2, "{endpoint}: {}", run.stderr);
    }
    let run = cell.run(&["--endpoint", "http://127.0.0.1:99999", "cell", "show"]).await;
    assert!(
        run.stderr.contains("\"http://127.0.0.1:99999\" names no port that can be: 1 to 65535"),
        "{}",
        run.stderr
    );
    let help = cell.run(&["journal", "tail", "--help"]).await.stdout;
    assert!(help.contains("exit code 3"), "{help}");
}

/// A socket's path that is too long is named as that, with a way out.
#[tokio::test]
async fn a_socket_path_that_is_too_long_is_told() {
    let cell = Cell::new(Canned::default()).await;
    let endpoint = format!("unix:///{}", "d".repeat(120));
    let run = cell.run(&["--endpoint", &endpoint, "cell", "show"]).await;
    assert!(run.stderr.contains("121 bytes") && run.stderr.contains("--endpoint"), "{}", run.stderr);
    assert_eq!(run.code, 2);
}
