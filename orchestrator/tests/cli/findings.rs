//! Findings as they are listed: what cannot be shown, what counts no more, and what was not found.

use rientro_wire::operator::{FindingsAnswer, FindingsGap};

use crate::server::Canned;
use crate::{Cell, fixtures, transcripts};

#[tokio::test]
async fn findings_that_cannot_be_shown_are_said_and_fail() {
    let text = transcripts(&[&["findings", "list", "--all", "--kind", "zero-block"]]).await;
    insta::assert_snapshot!(text);
    let findings = vec![
        FindingsAnswer::Missing {
            shard: fixtures::shard_id("vol-11"),
            node: fixtures::node_id("n3"),
            gap: FindingsGap::NodeOffline,
        },
        FindingsAnswer::End { findings_total: 3, findings_shown: 0 },
    ];
    for total in [3, 0] {
        let mut findings = findings.clone();
        findings[1] = FindingsAnswer::End { findings_total: total, findings_shown: 0 };
        let cell = Cell::new(Canned { findings, ..Canned::default() }).await;
        let gap = cell.run(&["findings", "list", "--all"]).await;
        assert_eq!(
            (gap.code, gap.stderr.lines().count()),
            (1, 1),
            "nothing is said to be not found: {}",
            gap.stderr
        );
        assert!(
            gap.stderr.contains(
                "vol-11 cannot be shown: node n3, which keeps any that there are, is not connected"
            )
        );
        let json = cell.run(&["-o", "json", "findings", "list", "--all"]).await;
        let error: serde_json::Value = serde_json::from_str(&json.stderr).expect("one JSON line");
        assert_eq!((json.code, &error["error"]["code"]), (1, &"refused".into()));
        assert!(error["error"]["what"].as_str().expect("a text").contains("vol-11 cannot be shown"));
    }
    let mut altered = findings;
    altered[0] = FindingsAnswer::Missing {
        shard: fixtures::shard_id("vol-11"),
        node: fixtures::node_id("n3"),
        gap: FindingsGap::Altered,
    };
    let cell = Cell::new(Canned { findings: altered, ..Canned::default() }).await;
    let gap = cell.run(&["findings", "list", "--all"]).await;
    assert_eq!(gap.code, 1);
    assert!(gap.stderr.contains("n3 sent others than its verification found"), "{}", gap.stderr);
    let cut = Cell::new(Canned { findings: Vec::new(), ..Canned::default() }).await;
    assert_eq!(
        cut.run(&["findings", "list", "--all"]).await.code,
        1,
        "an answer without its end is not whole"
    );
}

/// What was found before a closing is listed and told as what it is, for people and machines.
#[tokio::test]
async fn findings_of_a_verification_that_counts_no_more_are_told_as_such() {
    let page = FindingsAnswer::Page {
        shard: fixtures::shard_id("vol-07"),
        node: fixtures::node_id("n1"),
        attempt: rientro_types::AttemptNo::from_raw(2),
        findings: fixtures::findings(),
        dropped: true,
    };
    let end = FindingsAnswer::End { findings_total: 2, findings_shown: 2 };
    let cell = Cell::new(Canned { findings: vec![page, end], ..Canned::default() }).await;
    let run = cell.run(&["findings", "list", "--all"]).await;
    let told = "What is listed of 1 shard no longer counts";
    assert!(
        run.code == 0 && run.stdout.contains("zero-block") && run.stderr.contains(told),
        "{}",
        run.stderr
    );
    let json = cell.run(&["-o", "json", "findings", "list", "--all"]).await;
    assert!(
        json.code == 0 && json.stdout.lines().all(|line| line.contains("\"dropped\":true")),
        "{}",
        json.stdout
    );
}

/// What was found in a shard does not select it any more once it is closed: that is no "nothing was found".
#[tokio::test]
async fn a_finding_that_selects_nothing_is_not_told_as_nothing_found() {
    let findings = vec![FindingsAnswer::End { findings_total: 0, findings_shown: 0 }];
    let cell = Cell::new(Canned { findings, ..Canned::default() }).await;
    let run = cell.run(&["findings", "list", "--finding", "zero-block"]).await;
    assert!(run.code == 0 && run.stderr.contains("--all --kind"), "{}", run.stderr);
    assert!(!run.stderr.contains("nothing was found"), "{}", run.stderr);
    let run = cell.run(&["findings", "list", "--all"]).await;
    assert!(run.code == 0 && run.stderr.contains("nothing was found"), "{}", run.stderr);
}

/// A node that is away fills no screen.
#[tokio::test]
async fn shards_that_cannot_be_shown_are_told_up_to_a_bound() {
    let gap = |no| FindingsAnswer::Missing {
        shard: fixtures::shard_id(&format!("vol-{no}")),
        node: fixtures::node_id("n3"),
        gap: FindingsGap::NodeOffline,
    };
    let end = FindingsAnswer::End { findings_total: 0, findings_shown: 0 };
    let findings = (0..1_000).map(gap).chain([end]).collect();
    let run =
        Cell::new(Canned { findings, ..Canned::default() }).await.run(&["findings", "list", "--all"]).await;
    let told = run.stderr.contains("nor can those of 980 more shards");
    assert!(run.code == 1 && told && run.stderr.lines().count() == 21, "{}", run.stderr);
}
