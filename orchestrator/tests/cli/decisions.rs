//! Decisions: rehearsed, asked for, made, and refused.

use std::borrow::Cow;

use rientro_types::{
    CampaignId, CampaignState, CampaignView, Exception, FindingKind, FindingKinds, LabelKey, LabelValue,
    PauseCause, Receipt, Refusal, Selector, Seq, Service, ServiceSet, ShardState, Verb, WaveNo,
};

use crate::server::Canned;
use crate::{Cell, fixtures, transcripts};

/// Runs a command and returns the verb that was decided.
async fn decided(args: &[&str]) -> Verb {
    let cell = Cell::new(Canned::default()).await;
    let args: Vec<&str> = ["--yes"].iter().chain(args).copied().collect();
    let run = cell.run(&args).await;
    assert_eq!(run.code, 0, "{}", run.transcript());
    let mut asked = cell.server.asked.lock().expect("not poisoned");
    let decision = asked.acts.pop().expect("a decision");
    let rehearsal = asked.acts.pop().expect("a rehearsal");
    assert!(rehearsal.dry_run && !decision.dry_run);
    assert_eq!((rehearsal.verb, &*decision.actor), (decision.verb.clone(), "anna"));
    decision.verb
}

#[tokio::test]
async fn the_blast_radius_is_shown_and_the_receipt_names_the_record() {
    let commands: &[&[&str]] = &[
        &["--yes", "shard", "close", "vol-01", "vol-02", "--reason", "loops"],
        &["--yes", "shard", "retry", "--campaign", "return-1", "--state", "held"],
        &["--yes", "shard", "accept", "--finding", "zero-block", "--reason", "known"],
        &["campaign", "pause", "return-1"],
        &["--yes", "campaign", "abort", "return-1"],
        &["--yes", "-o", "json", "wave", "promote", "return-1", "1"],
        &["--yes", "cell", "limits", "set", "--verifies-per-node", "2", "--verifies-per-domain", "rack=8"],
    ];
    insta::assert_snapshot!(transcripts(commands).await);
}

/// Without a terminal nothing is decided unless `--yes` says so, and the exit code tells.
#[tokio::test]
async fn without_a_terminal_and_without_yes_nothing_is_decided() {
    let cell = Cell::new(Canned::default()).await;
    let run = cell.run(&["shard", "close", "--all", "--reason", "x"]).await;
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("This would close 2 shards with 1,600 mailboxes"));
    assert!(run.stderr.contains("say --yes to go ahead"));
    let asked = cell.server.asked.lock().expect("not poisoned");
    assert!(asked.acts.iter().all(|act| act.dry_run), "only the rehearsal was asked for");
}

/// Nobody decides without a name, and nobody under one that the journal would not take.
#[tokio::test]
async fn a_name_that_cannot_be_written_down_is_refused() {
    let cell = Cell::new(Canned::default()).await;
    for name in [String::new(), "x".repeat(rientro_types::ACTOR_ID_BYTES_MAX + 1)] {
        let run = cell.run(&["--yes", "--as", &name, "campaign", "pause", "return-1"]).await;
        assert_eq!(run.code, 2, "{}", run.transcript());
        assert!(run.stderr.contains("--as takes a name of 1 to"), "{}", run.stderr);
    }
    assert!(cell.server.asked.lock().expect("not poisoned").acts.is_empty());
}

/// The journal takes no decision without a reason: people are told so in their own words before anything is asked for.
#[tokio::test]
async fn a_reason_that_says_nothing_is_refused() {
    let cell = Cell::new(Canned::default()).await;
    let long = "x".repeat(rientro_types::REASON_BYTES_MAX + 1);
    let except = ["mailbox", "except", "mario@libero.example", "--keep-closed"].as_slice();
    for what in [["shard", "close", "--all"].as_slice(), &["shard", "accept", "vol-1"], except] {
        for (reason, told) in [("", "say why"), (" ", "say why"), (&long, "at most 1024 bytes")] {
            let run = cell.run(&[what, &["--yes", "--reason", reason]].concat()).await;
            let said = run.stderr.contains("--reason") && run.stderr.contains(told);
            assert!(run.code == 2 && said, "{}", run.transcript());
        }
    }
    assert!(cell.server.asked.lock().expect("not poisoned").acts.is_empty());
}

/// T33: thousands of shards are chosen by one selection, and decided by one command.
#[tokio::test]
async fn every_part_of_a_selection_arrives() {
    let args = [
        "shard",
        "retry",
        "vol-1",
        "--shard",
        "vol-2",
        "--campaign",
        "return-1",
        "--wave",
        "2",
        "--label",
        "rack=r1",
        "--state",
        "held",
        "--state",
        "failed",
        "--finding",
        "zero-block",
    ];
    let mut findings = FindingKinds::NONE;
    findings.insert(FindingKind::ZeroBlock);
    let selector = Selector {
        all: false,
        campaign: Some(fixtures::campaign_id()),
        wave: Some(WaveNo::from_raw(2)),
        labels: [(LabelKey::new("rack").expect("a name"), LabelValue::new("r1").expect("a name"))].into(),
        states: vec![ShardState::Held, ShardState::Failed],
        findings,
        shards: vec![fixtures::shard_id("vol-1"), fixtures::shard_id("vol-2")],
    };
    assert_eq!(decided(&args).await, Verb::Retry { selector });
    let all = Verb::Retry { selector: Selector { all: true, ..Selector::default() } };
    assert_eq!(decided(&["shard", "retry", "--all"]).await, all);
}

#[tokio::test]
async fn shards_are_read_from_a_file_and_a_bad_line_is_pointed_at() {
    let dir = tempfile::tempdir().expect("a directory");
    let list = dir.path().join("list");
    std::fs::write(&list, "# from the array team\nvol-1\n\n  vol-2  # twice seen\n").expect("written");
    let path = list.to_str().expect("UTF-8");
    let shards = vec![fixtures::shard_id("vol-1"), fixtures::shard_id("vol-2")];
    let verb = decided(&["shard", "prioritize", "--shards-from", path]).await;
    assert_eq!(verb, Verb::Prioritise { selector: Selector { shards, ..Selector::default() } });
    std::fs::write(&list, "\u{feff}vol-1\r\nvol-2\r\n").expect("written");
    assert_eq!(decided(&["shard", "prioritize", "--shards-from", path]).await, verb);

    for (text, said) in [
        (&b"vol-1\na/b\n"[..], "list:2: a/b has '/'"),
        (b"vol-1\n\x1b[2J\n", "list:2: \\u{1b}[2J has"),
        (b"vol-1\nvol-\xff\n", "list:2: is not UTF-8"),
        (&[b'#'; 2 << 20], "is too long"),
    ] {
        std::fs::write(&list, text).expect("written");
        let run = Cell::new(Canned::default()).await.run(&["shard", "retry", "--shards-from", path]).await;
        assert_eq!(run.code, 2);
        assert!(run.stderr.contains(said) && run.stderr.lines().count() == 2, "{}", run.stderr);
    }
}

/// R8: a list that came out empty selects nothing; it does not leave the rest of the selection to match all it can.
#[tokio::test]
async fn an_empty_list_does_not_select_everything() {
    let dir = tempfile::tempdir().expect("a directory");
    let list = dir.path().join("list");
    let path = list.to_str().expect("UTF-8");
    for text in ["", "\n\n", "\u{feff}", "# none was found\n  # really\n"] {
        std::fs::write(&list, text).expect("written");
        for more in [&["--campaign", "return-1"][..], &["--state", "held"], &["--all"], &[]] {
            let cell = Cell::new(Canned::default()).await;
            let accept = ["--yes", "shard", "accept", "--reason", "looked at", "--shards-from", path];
            let run = cell.run(&[&accept[..], more].concat()).await;
            assert!(run.code == 2 && run.stderr.contains("list names no shard"), "{}", run.stderr);
            assert!(cell.server.asked.lock().expect("not poisoned").acts.is_empty(), "nothing is asked for");
        }
    }
}

#[tokio::test]
async fn the_other_verbs_arrive_as_meant() {
    let campaign: CampaignId = fixtures::campaign_id();
    assert_eq!(decided(&["campaign", "resume", "return-1"]).await, Verb::Resume { campaign });
    let wave = WaveNo::from_raw(1);
    assert_eq!(decided(&["wave", "promote", "return-1", "1"]).await, Verb::Promote { campaign, wave });
    let adopt = ["shard", "adopt", "vol-1", "--services", "imap,pop", "--reason", "live"];
    let services = ServiceSet::NONE.with(Service::Imap).with(Service::Pop);
    let selector = Selector { shards: vec![fixtures::shard_id("vol-1")], ..Selector::default() };
    assert_eq!(
        decided(&adopt).await,
        Verb::Adopt { selector: selector.clone(), services, reason: "live".to_owned() }
    );
    let settle = ["shard", "settle", "vol-1", "--node", "n2", "--reason", "moved"];
    let node = fixtures::node_id("n2");
    assert_eq!(decided(&settle).await, Verb::Settle { selector, node, reason: "moved".to_owned() });
    let except = ["mailbox", "except", "mario@libero.example", "--keep-closed", "--reason", "damaged"];
    let verb = Verb::Except {
        shard: fixtures::shard_id("vol-07"),
        mailbox: fixtures::mailbox_id(),
        exception: Some(Exception::Closed),
        reason: "damaged".to_owned(),
    };
    assert_eq!(decided(&except).await, verb);
}

/// What follows a promotion is told as it is: a paused campaign opens nothing, and after the last wave none comes.
#[tokio::test]
async fn a_promotion_tells_what_follows() {
    let paused = CampaignState::Paused(PauseCause::Operator);
    for (state, wave, told) in [
        (CampaignState::Running, "1", "The next wave may open at once"),
        (CampaignState::Running, "2", "No wave comes after it"),
        (paused, "1", "nothing opens before it is resumed"),
    ] {
        let campaigns = vec![CampaignView { state, ..fixtures::campaign() }];
        let cell = Cell::new(Canned { campaigns, ..Canned::default() }).await;
        let run = cell.run(&["--yes", "wave", "promote", "return-1", wave]).await;
        assert!(run.code == 0 && run.stderr.contains(told), "{}", run.stderr);
    }
}

/// R3: the present wave moves on with each promotion; a script names the one it means, so that running it twice promotes one.
#[tokio::test]
async fn a_script_names_the_wave_it_promotes() {
    let cell = Cell::new(Canned::default()).await;
    let run = cell.run(&["--yes", "wave", "promote", "return-1"]).await;
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("the present one is wave 1: rientro --yes wave promote return-1 1"),
        "{}",
        run.stderr
    );
    assert!(cell.server.asked.lock().expect("not poisoned").acts.is_empty());
}

#[tokio::test]
async fn refusals_say_what_to_do_and_exit_with_1() {
    let refusals = [
        Refusal::SelectorUnbounded,
        Refusal::NothingToDo { matched: 3, applies_to: Cow::Borrowed("held") },
        Refusal::CampaignUnknown(fixtures::campaign_id()),
        Refusal::ReasonMissing,
        Refusal::NotClaimed {
            shard: fixtures::shard_id("vol-1"),
            node: fixtures::node_id("n9"),
            claimed_by: ["n1", "n2"].map(fixtures::node_id).to_vec(),
        },
        Refusal::ByNameOnly {
            node: fixtures::node_id("n1"),
            shards: ["vol-1", "vol-2"].map(fixtures::shard_id).to_vec(),
            total: 12,
        },
    ];
    let mut text = String::new();
    for refusal in refusals {
        let cell = Cell::new(Canned { act: Err(refusal), ..Canned::default() }).await;
        let retry = ["--yes", "shard", "retry", "--state", "open"];
        text.push_str(&cell.run(&retry).await.transcript());
        let as_json: Vec<&str> = ["-o", "json"].into_iter().chain(retry).collect();
        text.push_str(&cell.run(&as_json).await.stderr);
    }
    insta::assert_snapshot!(text);
}

/// A decision about two claims says nothing of mailboxes, and one about mailboxes nothing of claims.
#[tokio::test]
async fn settling_tells_what_is_true_of_each_kind() {
    let decided = Some(Seq::from_raw(4_712));
    let of = Receipt { changes: true, decided, shards: 1, mailboxes: 800, ..Receipt::default() };
    let claims = Receipt { claims_ended: 1, volumes_changed: 1, ..of };
    let mailboxes = Receipt { mailboxes_given_up: 2, ..of };
    let some_by_name = Receipt { volumes_changed: 1, skipped: 3, by_name: 2, ..of };
    let mut text = String::new();
    for receipt in [claims, mailboxes, some_by_name] {
        let cell = Cell::new(Canned { act: Ok(receipt), ..Canned::default() }).await;
        let settle = ["--yes", "shard", "settle", "vol-1", "--node", "n1", "--reason", "x"];
        text.push_str(&cell.run(&settle).await.transcript());
    }
    insta::assert_snapshot!(text);
}

/// What is so already is told as such: no blast radius of what will not happen, and no question about it.
#[tokio::test]
async fn what_changes_nothing_is_not_asked_about() {
    let idle = Receipt { shards: 2, mailboxes: 1_600, ..Receipt::default() };
    let cell = Cell::new(Canned { act: Ok(idle), ..Canned::default() }).await;
    for args in [&["wave", "promote", "return-1", "0"][..], &["campaign", "abort", "return-1"]] {
        let run = cell.run(args).await;
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(
            (run.stdout.trim(), run.stderr.as_str()),
            ("It is so already: nothing had to change.", "")
        );
    }
}
