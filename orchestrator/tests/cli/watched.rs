//! Watching in a pipe, restarts included, and the report at the end.

use rientro_types::{CampaignView, CellTime, Seq};
use rientro_wire::operator::{Decided, Lagged, WatchEvent};

use crate::server::Canned;
use crate::{Cell, fixtures};

fn campaign(view: CampaignView) -> WatchEvent {
    WatchEvent::Campaign(Box::new(view))
}

fn script(end: CampaignView) -> Vec<WatchEvent> {
    vec![
        WatchEvent::Cell(Box::new(fixtures::cell())),
        campaign(fixtures::campaign()),
        WatchEvent::Decided(Decided {
            seq: Seq::from_raw(4_708),
            at: CellTime::from_unix_ms(fixtures::NOW_MS),
            decisions: fixtures::decisions(),
        }),
        WatchEvent::Lagged(Lagged { missed: 3 }),
        campaign(end),
    ]
}

async fn watched(scripts: Vec<Vec<WatchEvent>>, args: &[&str]) -> crate::Run {
    let cell = Cell::new(Canned { watches: scripts.into(), ..Canned::default() }).await;
    cell.run(args).await
}

#[tokio::test]
async fn a_clean_end_is_exit_0_and_a_held_shard_is_exit_1() {
    let clean = watched(vec![script(fixtures::campaign_back())], &["watch"]).await;
    assert_eq!(clean.code, 0, "{}", clean.transcript());
    assert!(clean.stderr.contains("all 6,400 mailboxes are back"), "{}", clean.stderr);
    assert!(clean.stdout.contains("wave 1 of return-1 may open its shards"), "{}", clean.stdout);
    assert!(clean.stdout.contains("some decisions were missed"), "{}", clean.stdout);
    assert!(!clean.stdout.contains('\u{1b}'), "no escapes in a pipe");

    let held = watched(vec![script(fixtures::campaign_partly_back())], &["watch", "return-1"]).await;
    assert_eq!(held.code, 1);
    assert!(held.stderr.contains("1 shard not back, 1 of them held or failed"), "{}", held.stderr);
}

/// T6: the orchestrator restarts while somebody watches.
#[tokio::test]
async fn a_restart_is_said_and_survived() {
    let scripts = vec![vec![campaign(fixtures::campaign())], script(fixtures::campaign_back())];
    let run = watched(scripts, &["watch", "return-1"]).await;
    assert_eq!(run.code, 0, "{}", run.transcript());
    assert!(run.stdout.contains("the orchestrator closed the connection; trying again"), "{}", run.stdout);
    assert!(run.stdout.contains("the orchestrator is back"), "{}", run.stdout);
}

/// A cell that decides nothing looks like a campaign that stands still: whoever watches is told why, as machines are.
#[tokio::test]
async fn a_cell_in_trouble_is_told_of_while_watching() {
    for (args, told) in [
        (&["watch", "return-1"][..], "the cell is in trouble: the disk is full"),
        (&["-o", "json", "watch", "return-1"], "{\"event\":\"trouble\",\"trouble\":\"the disk is full\"}"),
    ] {
        let (trouble, watches) =
            (Some("the disk is full".to_owned()), vec![script(fixtures::campaign_back())]);
        let cell = Cell::new(Canned { watches: watches.into(), trouble, ..Canned::default() }).await;
        let run = cell.run(args).await;
        assert_eq!(run.stdout.matches(told).count(), 1, "{}", run.transcript());
    }
}

#[tokio::test]
async fn json_lines_follow_the_campaign() {
    let run = watched(vec![script(fixtures::campaign_back())], &["-o", "json", "watch"]).await;
    let events: Vec<serde_json::Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    assert!(events.iter().any(|event| event["event"] == "decided" && event["record"] == "closed"));
    let last = events.iter().rfind(|event| event["event"] == "campaign").expect("the campaign");
    assert_eq!(last["campaign"]["state"], "ended");
}

#[tokio::test]
async fn the_report_tells_what_is_back_what_is_held_and_where_to_look() {
    let cell =
        Cell::new(Canned { campaigns: vec![fixtures::campaign_partly_back()], ..Canned::default() }).await;
    let held = cell.run(&["campaign", "report", "return-1"]).await.transcript();
    let cell = Cell::new(Canned { campaigns: vec![fixtures::campaign_back()], ..Canned::default() }).await;
    let back = cell.run(&["campaign", "report", "return-1"]).await.transcript();
    insta::assert_snapshot!(format!("{held}\n{back}"));
}

/// A campaign that runs counts all that is not back, on the way or stuck; the exit code says whether something is held.
#[tokio::test]
async fn the_report_of_a_running_campaign_counts_all_that_is_not_back() {
    let cell = Cell::new(Canned::default()).await;
    let run = cell.run(&["campaign", "report", "return-1"]).await;
    let said = run.stdout.contains("Not back: 7 shards with 5,600 mailboxes");
    assert!(said && run.stdout.contains("  2 shards, 1,600 mailboxes: on the way\n"), "{}", run.stdout);
    assert_eq!(run.code, 1, "something is held");
    let json = cell.run(&["-o", "json", "campaign", "report", "return-1"]).await;
    let report: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((json.code, report["not_back"].as_array().expect("a list").len()), (1, 7));

    let mut campaign = fixtures::campaign();
    campaign.counts = fixtures::counts(fixtures::shards().iter().take(1).chain(&fixtures::shards()[3..5]));
    let cell = Cell::new(Canned { campaigns: vec![campaign], ..Canned::default() }).await;
    let run = cell.run(&["campaign", "report", "return-1"]).await;
    assert!(run.stdout.contains("Not back: 2 shards with 1,600 mailboxes"), "{}", run.stdout);
    assert_eq!(run.code, 0, "it goes on by itself: {}", run.stdout);
}
