//! What is shown of each noun, as tables and as JSON.

use rientro_types::{
    Acceptance, CampaignState, HeldReason, Hold, PauseCause, Phase, Progress, Promotion, ServiceSet, Span,
    VolumeId, WaitingOn, WaveNo, WaveState,
};

use crate::server::Canned;
use crate::{Cell, fixtures, run, transcripts};

#[tokio::test]
async fn nouns_as_tables() {
    let commands: &[&[&str]] = &[
        &["cell", "show"],
        &["cell", "limits", "show"],
        &["fleet", "show"],
        &["fleet", "show", "--by", "rack"],
        &["node", "list"],
        &["node", "show", "n3"],
        &["shard", "list"],
        &["shard", "list", "--state", "held", "--max", "1"],
        &["shard", "show", "vol-07"],
        &["campaign", "list"],
        &["campaign", "show", "return-1"],
        &["wave", "list", "return-1"],
        &["wave", "show", "return-1", "1"],
    ];
    insta::assert_snapshot!(transcripts(commands).await);
}

#[tokio::test]
async fn nouns_as_json() {
    let commands: &[&[&str]] = &[
        &["--output", "json", "cell", "show"],
        &["--output", "json", "fleet", "show", "--by", "rack"],
        &["--output", "json", "node", "show", "n3"],
        &["--output", "json", "shard", "show", "vol-07"],
        &["--output", "json", "wave", "show", "return-1", "0"],
        &["--output", "json", "journal", "tail", "--from", "4709"],
        &["--output", "json", "findings", "list", "--all"],
        &["--output", "json", "journal", "verify"],
    ];
    let cell = Cell::new(Canned::default()).await;
    let mut text = String::new();
    for args in commands {
        let run = cell.run(args).await;
        for document in run.stdout.lines().filter(|line| line.starts_with('{') && line.len() > 1) {
            let parsed: serde_json::Value = serde_json::from_str(document).expect("JSON lines");
            assert!(parsed.is_object());
        }
        text.push_str(&run.transcript());
    }
    insta::assert_snapshot!(text);
}

/// T28: that two agents use one identity is said with the node, since when, and what to do, whichever of the two is let in.
#[tokio::test]
async fn a_node_says_that_two_agents_are_it() {
    let cell = Cell::new(Canned::default()).await;
    let shown = cell.run(&["node", "show", "n2"]).await.stdout;
    assert_eq!(row(&shown, "session"), Some("connected, twin"), "{shown}");
    let twin = row(&shown, "twin").unwrap_or_default();
    for said in ["is refused", "(4s ago)", "(5m ago)", "1,234 tries", "it serves 2 shards"] {
        assert!(twin.contains(said), "{said} is not in {twin}");
    }
    assert!(row(&shown, "next").unwrap_or_default().starts_with("stop one of the two agents"), "{shown}");
    let mut nodes = fixtures::nodes();
    nodes[1].twin = Some(rientro_types::Twin { quiet: true, ..fixtures::twin() });
    let cell = Cell::new(Canned { nodes: nodes.clone(), ..Canned::default() }).await;
    let shown = cell.run(&["node", "show", "n2"]).await.stdout;
    assert_eq!(row(&shown, "session"), Some("connected"), "{shown}");
    let twin = row(&shown, "twin").unwrap_or_default();
    assert!(twin.contains("has not been heard since; last at ") && twin.contains("(4s ago)"), "{shown}");
    assert!(row(&shown, "next").unwrap_or_default().starts_with("nothing, if it was stopped"), "{shown}");
    nodes[1].twin = Some(rientro_types::Twin { inside: true, ..fixtures::twin() });
    let cell = Cell::new(Canned { nodes, ..Canned::default() }).await;
    let shown = cell.run(&["node", "show", "n2"]).await.stdout;
    assert!(row(&shown, "twin").unwrap_or_default().contains("another one than before"), "{shown}");
    assert!(row(&shown, "next").unwrap_or_default().contains("restart its agent"), "{shown}");
}

/// T28: what is wrong with a shard that is in service is said beside why it is open, with what can be done.
#[tokio::test]
async fn an_open_shard_shows_the_circumstance_it_is_in() {
    let mut shards = fixtures::shards();
    let missing = HeldReason::ShardMissing { node: fixtures::node_id("n1") };
    let why = format!("it passed its verification and was opened; but {missing}");
    shards[0].shard.blocked = Some(Hold { reason: missing, since: fixtures::at(fixtures::minutes(5)) });
    let cell = Cell::new(Canned { shards, ..Canned::default() }).await;
    let shown = cell.run(&["shard", "show", "vol-01"]).await.stdout;
    assert_eq!(row(&shown, "open for").map(|open| open.contains("2h 21m ago")), Some(true), "{shown}");
    assert_eq!(["state", "why"].map(|name| row(&shown, name)), [Some("open"), Some(&*why)], "{shown}");
    assert!(row(&shown, "since").unwrap_or_default().contains("2h 14m ago"), "{shown}");
    assert!(row(&shown, "but since").unwrap_or_default().contains("5m ago"), "{shown}");
    assert!(shown.contains("rientro node show n1"), "{shown}");
    let listed = cell.run(&["shard", "list"]).await.stdout;
    assert!(listed.contains("was opened; but"), "{listed}");
}

/// A row of what is shown, after its name.
pub(crate) fn row<'a>(shown: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &'a str| line.trim_start().strip_prefix(name)?.strip_prefix("  ");
    shown.lines().find_map(named).map(str::trim)
}

/// What a circumstance holds is held since that began; its silence is said as people say times.
#[tokio::test]
async fn a_held_shard_says_since_when_it_is_held() {
    let cell = Cell::new(Canned { mailbox_shard: Some("vol-11"), ..Canned::default() }).await;
    for args in [["shard", "show", "vol-11"], ["mailbox", "show", "mario@libero.example"]] {
        let shown = cell.run(&args).await.stdout;
        let held = if args[0] == "shard" { "since" } else { "state" };
        assert!(row(&shown, held).unwrap_or_default().contains("(11m ago)"), "{shown}");
        assert_eq!(row(&shown, "why"), Some("node n3 was not heard for 1m 5s"), "{shown}");
    }
    let listed = cell.run(&["shard", "list", "--state", "held"]).await.stdout;
    let line = listed.lines().find(|line| line.starts_with("vol-11")).unwrap_or_default();
    assert_eq!(line.split_whitespace().nth(2), Some("11m"), "{listed}");
    let json = cell.run(&["-o", "json", "shard", "show", "vol-11"]).await.stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["since"], json["held_since"]);
}

/// T28: a shard that two nodes claim can be found and settled whatever state it is in.
#[tokio::test]
async fn a_contested_shard_can_be_settled_in_every_state() {
    let reason = HeldReason::Contested {
        holder: fixtures::node_id("n1"),
        claimant: fixtures::node_id("n3"),
        volume: VolumeId::new("marker:vol-03").expect("a name"),
    };
    for (at, name) in [(0, "vol-01"), (1, "vol-03"), (3, "vol-08")] {
        let mut shards = fixtures::shards();
        let hold = Hold { reason: reason.clone(), since: fixtures::at(fixtures::minutes(5)) };
        shards[at].shard.blocked = Some(hold);
        let cell = Cell::new(Canned { shards, ..Canned::default() }).await;
        let shown = cell.run(&["shard", "show", name]).await.stdout;
        for node in ["n1", "n3"] {
            assert!(shown.contains(&format!("rientro shard settle {name} --node {node}")), "{shown}");
        }
        let listed = cell.run(&["shard", "list", "--contested"]).await.stdout;
        assert_eq!(listed.lines().skip(1).filter_map(|l| l.split(' ').next()).collect::<Vec<_>>(), [name]);
    }
    let shown = Cell::new(Canned::default()).await.run(&["cell", "show"]).await.stdout;
    assert!(row(&shown, "contested").unwrap_or_default().contains("shard list --contested"), "{shown}");
    assert_eq!(row(&shown, "nodes"), Some("3 known: 2 connected, 0 offline, 1 silent"));
}

/// R6: what is heard again counts until it opens, and is told apart from what is gone.
#[tokio::test]
async fn what_is_on_its_way_again_is_told_apart() {
    let mut campaign = fixtures::campaign();
    campaign.waves[1].mailboxes_lost = 2_400;
    campaign.waves[1].mailboxes_returning = 1_600;
    let cell = Cell::new(Canned { campaigns: vec![campaign], ..Canned::default() }).await;
    let line = "Wave 1 counts 2,400 mailboxes as lost; 1,600 of them on their way again, and counted until they open.";
    for args in [
        &["campaign", "show", "return-1"],
        &["wave", "list", "return-1"],
        &["campaign", "report", "return-1"],
    ] {
        let shown = cell.run(args).await.stdout;
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
}

/// A size is what a verification read of the whole shard; before that nobody knows it, and no zero says otherwise.
#[tokio::test]
async fn a_size_is_null_until_a_verification_has_read_it() {
    for (shard, size) in [("vol-08", None), ("vol-09", Some(64_u64 << 30))] {
        let cell = Cell::new(Canned { mailbox_shard: Some(shard), ..Canned::default() }).await;
        let run = cell.run(&["-o", "json", "mailbox", "show", "mario@libero.example"]).await;
        let json: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!(json["shards"][0]["shard"]["bytes"], serde_json::json!(size), "{shard}");
    }
}

/// What is verified again is about as large as before: how long the rest takes is said before its first mailbox is done.
#[tokio::test]
async fn a_verification_of_a_known_size_says_how_long_it_takes() {
    let mut shards = fixtures::shards();
    let progress = Some(Progress { mailboxes: 0, bytes: 1 << 30, ..Progress::default() });
    for (bytes, said) in [
        (61_u64 << 30, "this task needs about 30s to 2m more"),
        (0, "no time can be said: how far the task is"),
    ] {
        shards[3].shard.bytes = bytes;
        shards[3].waiting_on = Some(WaitingOn::Task { running: Span::from_secs(1), progress });
        let cell = Cell::new(Canned { shards: shards.clone(), ..Canned::default() }).await;
        let shown = cell.run(&["shard", "show", "vol-08"]).await.stdout;
        assert!(row(&shown, "until").unwrap_or_default().starts_with(said), "{shown}");
    }
}

/// A wave whose bake is over waits for its checks or for a person: JSON says so as the table does.
#[tokio::test]
async fn a_bake_that_is_over_is_told_alike_in_table_and_json() {
    let mut campaign = fixtures::campaign();
    campaign.waves[1].state = WaveState::Baking { until: fixtures::at(fixtures::minutes(1)) };
    let cell = Cell::new(Canned { campaigns: vec![campaign], ..Canned::default() }).await;
    assert!(cell.run(&["wave", "list", "return-1"]).await.stdout.contains(" baked "));
    for command in [
        &["wave", "list", "return-1"][..],
        &["campaign", "show", "return-1"],
        &["wave", "show", "return-1", "1"],
    ] {
        let args: Vec<&str> = command.iter().chain(&["-o", "json"]).copied().collect();
        let run = cell.run(&args).await;
        let told: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        let wave = match command[0] {
            "campaign" => &told["waves"][1],
            _ if command[1] == "show" => &told["wave"],
            _ => &told[1],
        };
        assert_eq!((&wave["state"], &wave["bakes_until"]), (&"baked".into(), &serde_json::Value::Null));
    }
}

#[tokio::test]
async fn exit_codes_tell_what_happened() {
    let cell = Cell::new(Canned::default()).await;
    assert_eq!(cell.run(&["cell", "show"]).await.code, 0);
    assert_eq!(cell.run(&["shard", "show", "nowhere"]).await.code, 1);
    assert_eq!(cell.run(&["shard", "show", "a/b"]).await.code, 2);
    assert_eq!(cell.run(&["node", "show", "n9"]).await.code, 1);
    assert_eq!(cell.run(&["shard", "list", "--wave", "1"]).await.code, 2);
    assert_eq!(cell.run(&["shard", "list", "--label", "rack=a", "--label", "rack=b"]).await.code, 2);
    let gone = run("http://127.0.0.1:1", &["cell", "show"]).await;
    assert_eq!(gone.code, 3);
    assert!(gone.stderr.contains("cannot reach the cell at http://CELL"), "{}", gone.stderr);
    assert_eq!(run("ftp://x", &["cell", "show"]).await.code, 2);
    assert_eq!(run("unix:///nonexistent/rientro.sock", &["cell", "show"]).await.code, 3);
}

#[tokio::test]
async fn completions_need_no_cell() {
    let completions = run("http://127.0.0.1:1", &["completions", "bash"]).await;
    assert_eq!(completions.code, 0);
    assert!(completions.stdout.contains("_rientro()"));
}

/// A name that the cell does not know is refused; an empty answer would read as nothing found.
#[tokio::test]
async fn unknown_names_are_refused() {
    let cell = Cell::new(Canned::default()).await;
    for (args, problem) in [
        (["findings", "list", "vol-99"], "there is no shard vol-99"),
        (["findings", "list", "--label=rack=r9"], "no node has the label rack=r9"),
        (["findings", "list", "--campaign=return-9"], "there is no campaign return-9"),
        (["shard", "list", "vol-99"], "there is no shard vol-99"),
    ] {
        let run = cell.run(&args).await;
        assert_eq!((run.code, &*run.stdout), (1, ""), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(problem), "{args:?}: {}", run.stderr);
    }
    let wave = cell.run(&["findings", "list", "--campaign", "return-1", "--wave", "9"]).await;
    assert!(wave.code == 1 && wave.stderr.contains("campaign return-1 has no wave 9"), "{}", wave.stderr);
}

/// What was taken as it is did not pass: who took it, and why, is said wherever it is shown.
#[tokio::test]
async fn an_accepted_shard_says_by_whom_and_why() {
    let mut shards = fixtures::shards();
    let reason = "the users need their mail".to_owned();
    shards[2].shard.accepted = Some(Acceptance { by: "anna".to_owned(), reason });
    let phases =
        [(Phase::Open { adopted: false }, "so it was opened"), (Phase::Verified, "it waits to open")];
    for (phase, end) in phases {
        shards[2].shard.phase = phase;
        let canned = Canned { shards: shards.clone(), mailbox_shard: Some("vol-07"), ..Canned::default() };
        let cell = Cell::new(canned).await;
        for args in [["shard", "show", "vol-07"], ["mailbox", "show", "mario@libero.example"]] {
            let shown = cell.run(&args).await.stdout;
            let why = row(&shown, "why").unwrap_or_default();
            assert!(
                why.starts_with("it was accepted by anna: the users need their mail (its verif"),
                "{shown}"
            );
            assert!(why.contains("damaged at structure level") && why.ends_with(end), "{shown}");
        }
    }
}

/// Who closed a shard, and why, is in the journal: the command shows what was decided then.
#[tokio::test]
async fn an_operators_closing_is_found_in_the_journal() {
    let cell = Cell::new(Canned { mailbox_shard: Some("vol-03"), ..Canned::default() }).await;
    let command = "rientro journal tail --last 0 | grep '2026-01-23 01:58:00 UTC'";
    for args in [["shard", "show", "vol-03"], ["mailbox", "show", "mario@libero.example"]] {
        let shown = cell.run(&args).await.stdout;
        assert!(shown.lines().any(|line| line.trim() == command), "{shown}");
    }
}

/// T1: nobody claims that an agent reads while its node has no connection.
#[tokio::test]
async fn a_task_on_a_node_that_is_away_says_so() {
    let mut shards = fixtures::shards();
    shards[3].waiting_on = Some(WaitingOn::NodeOffline {
        node: fixtures::node_id("n2"),
        unheard_for: Some(Span::from_secs(6)),
        silent_in: Span::from_secs(54),
    });
    let cell = Cell::new(Canned { shards, ..Canned::default() }).await;
    let shown = cell.run(&["shard", "show", "vol-08"]).await.stdout;
    let why = "its agent was reading it, but node n2 is not connected; it was last heard 6s ago";
    assert_eq!(row(&shown, "why"), Some(why), "{shown}");
    assert!(shown.contains("counts as silent in 54s: then it is held"), "{shown}");
    assert!(shown.contains("rientro node show n2"), "{shown}");
}

/// Where an operator promotes, the promotion is what is offered; bringing forward only where it would not be refused.
#[tokio::test]
async fn a_wave_that_an_operator_promotes_says_how() {
    let promote = "rientro wave promote return-1 1";
    let prioritize = "rientro shard prioritize vol-09";
    for (promotion, earlier, offered) in [
        (Promotion::Manual, None, vec![promote]),
        (Promotion::Manual, Some(WaveNo::from_raw(1)), vec![promote, prioritize]),
        (Promotion::Automatic, Some(WaveNo::from_raw(1)), vec![prioritize]),
        (Promotion::Automatic, None, vec!["rientro watch return-1"]),
    ] {
        let mut shards = fixtures::shards();
        let (wave, current) = (WaveNo::from_raw(2), WaveNo::from_raw(1));
        shards[4].waiting_on = Some(WaitingOn::Wave { wave, current, promotion, earlier });
        let cell = Cell::new(Canned { shards, ..Canned::default() }).await;
        let shown = cell.run(&["-o", "json", "shard", "show", "vol-09"]).await.stdout;
        let json: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        let next = json["next"].as_array().expect("commands").iter();
        assert_eq!(next.map(|step| step["command"].clone()).collect::<Vec<_>>(), offered);
    }
}

/// T29: where the restored journal and the node disagree, neither is told as the truth.
#[tokio::test]
async fn a_disagreement_is_neither_open_nor_closed() {
    let mut shards = fixtures::shards();
    let reason = HeldReason::Disagreement { journal: ServiceSet::ALL, node: ServiceSet::NONE };
    shards[0].shard.blocked = Some(Hold { reason, since: fixtures::at(fixtures::minutes(5)) });
    shards[0].waiting_on = Some(WaitingOn::Operator);
    let cell = Cell::new(Canned { shards, mailbox_shard: Some("vol-01"), ..Canned::default() }).await;
    let both = "the restored journal says all services, its node serves nothing";
    let shown = cell.run(&["shard", "show", "vol-01"]).await.stdout;
    assert_eq!(row(&shown, "open for"), Some(both), "{shown}");
    assert!(!shown.contains("stays closed"), "{shown}");
    let shown = cell.run(&["mailbox", "show", "mario@libero.example"]).await.stdout;
    assert!(shown.starts_with("mario@libero.example is IN DOUBT\n"), "{shown}");
    assert_eq!(row(&shown, "why"), Some(both), "{shown}");
    assert!(!shown.contains("stays closed"), "{shown}");
}

/// T29: a campaign that a restored journal has paused says how disagreements are decided, and in JSON too.
#[tokio::test]
async fn a_campaign_after_a_restore_says_how_to_decide() {
    let mut campaign = fixtures::campaign_paused();
    campaign.state = CampaignState::Paused(PauseCause::Restored);
    let cell = Cell::new(Canned { campaigns: vec![campaign], ..Canned::default() }).await;
    let next = [
        "rientro shard list --campaign return-1 --state held,failed",
        "rientro shard adopt NAME --services SERVICES --reason '...'",
        "rientro shard close NAME --reason '...'",
        "rientro campaign resume return-1",
        "rientro campaign abort return-1",
    ];
    let shown = cell.run(&["campaign", "show", "return-1"]).await.stdout;
    let offered = shown.split_once("What can be done:").expect("steps").1;
    let commands = offered.lines().map(str::trim).filter(|line| line.starts_with("rientro"));
    assert_eq!(commands.collect::<Vec<_>>(), next);
    let json = cell.run(&["-o", "json", "campaign", "show", "return-1"]).await.stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let steps = json["next"].as_array().expect("steps");
    assert_eq!(steps.iter().map(|step| step["command"].clone()).collect::<Vec<_>>(), next);
}

/// R7: a shard that is not there though its node is says where to look for it, in a table and as JSON.
#[tokio::test]
async fn a_shard_that_is_not_there_says_where_to_look() {
    let mut shards = fixtures::shards();
    let reason = HeldReason::ShardMissing { node: fixtures::node_id("n1") };
    shards[4].shard.phase = Phase::Waiting;
    shards[4].shard.blocked = Some(Hold { reason, since: fixtures::at(fixtures::minutes(5)) });
    let name = shards[4].shard.shard.to_string();
    let cell = Cell::new(Canned { shards, ..Canned::default() }).await;
    let shown = cell.run(&["shard", "show", &name]).await.stdout;
    let json = cell.run(&["-o", "json", "shard", "show", &name]).await.stdout;
    for said in ["rientro node show n1", "moved away or deleted", "rientro-agent volume show PATH"] {
        assert!(shown.contains(said) && json.contains(said), "{said} is not in {shown}{json}");
    }
}

/// T28: open shards with something wrong are counted where people look first, with the command that lists them.
#[tokio::test]
async fn open_shards_with_something_wrong_are_in_the_overview() {
    let mut shards = fixtures::shards();
    let reason = HeldReason::ShardMissing { node: fixtures::node_id("n1") };
    shards[0].shard.blocked = Some(Hold { reason, since: fixtures::at(fixtures::minutes(5)) });
    let cell = Cell::new(Canned { shards, ..Canned::default() }).await;
    let shown = cell.run(&["cell", "show"]).await.stdout;
    let counted = "1 shard open with something wrong; rientro shard list --impaired";
    assert_eq!(row(&shown, "impaired"), Some(counted), "{shown}");
    let listed = cell.run(&["shard", "list", "--impaired"]).await.stdout;
    assert_eq!(listed.lines().skip(1).filter_map(|l| l.split(' ').next()).collect::<Vec<_>>(), ["vol-01"]);
}

/// A leader says of a node it has not heard from when on it would have.
#[tokio::test]
async fn a_node_not_heard_says_since_when() {
    let mut nodes = fixtures::nodes();
    nodes[2].heard_ago = None;
    let cell = Cell::new(Canned { nodes, ..Canned::default() }).await;
    let shown = cell.run(&["node", "show", "n3"]).await.stdout;
    let heard = "not since the orchestrator started, at 2026-01-22 23:12:00 UTC";
    assert_eq!(row(&shown, "last heard"), Some(heard), "{shown}");
}
