//! One customer's mailbox: where it is, why it is closed, until when, and what is missing.

use rientro_types::{CloseCause, Exception, HeldReason, Hold, MailboxGone, Phase, ServiceSet, ShardView};

use crate::server::Canned;
use crate::shown::row;
use crate::{Cell, fixtures};

/// The question asked most at 3 a.m.
#[tokio::test]
async fn why_a_mailbox_is_closed_and_until_when() {
    let mut text = String::new();
    for shard in ["vol-01", "vol-03", "vol-07", "vol-08", "vol-09", "vol-10", "vol-11", "vol-12"] {
        let cell = Cell::new(Canned { mailbox_shard: Some(shard), ..Canned::default() }).await;
        text.push_str(&cell.run(&["mailbox", "show", "mario@libero.example"]).await.transcript());
        text.push('\n');
    }
    let paused = Canned {
        mailbox_shard: Some("vol-09"),
        campaigns: vec![fixtures::campaign_paused()],
        ..Canned::default()
    };
    text.push_str(
        &Cell::new(paused).await.run(&["mailbox", "show", "mario@libero.example"]).await.transcript(),
    );
    let unknown = Cell::new(Canned { mailbox_shard: None, ..Canned::default() }).await;
    text.push_str(&unknown.run(&["mailbox", "show", "nobody@libero.example"]).await.transcript());
    insta::assert_snapshot!(text);
}

/// An exception changes nothing where no gate enforces it: the heading says what is so.
#[tokio::test]
async fn an_excepted_mailbox_of_an_open_shard_is_open() {
    for (shard, heading) in [("vol-01", "is OPEN"), ("vol-03", "is CLOSED")] {
        let exception = Some(Exception::Closed);
        let cell = Cell::new(Canned { mailbox_shard: Some(shard), exception, ..Canned::default() }).await;
        let shown = cell.run(&["mailbox", "show", "mario@libero.example"]).await.stdout;
        assert!(shown.lines().next().unwrap_or_default().ends_with(heading), "{shown}");
        let said = row(&shown, "exception").unwrap_or_default();
        assert!(
            said.starts_with("is to stay closed alone") && said.contains("no gate is registered"),
            "{shown}"
        );
        assert!(shown.contains("--lift"), "{shown}");
    }
}

/// Nothing promises what only a gate does.
#[tokio::test]
async fn an_exception_says_that_a_gate_enforces_it() {
    let cell = Cell::new(Canned::default()).await;
    for (how, done) in [("--keep-closed", "is to stay closed"), ("--accept", "is accepted as it is")] {
        let args = ["--yes", "mailbox", "except", "mario@libero.example", how, "--reason", "asked"];
        let run = cell.run(&args).await;
        let said = run.stdout + &run.stderr;
        assert!(said.contains("Recorded that this mailbox") && said.contains(done), "{said}");
        assert!(said.contains("only a gate enforces it, and no gate is registered"), "{said}");
    }
}

#[tokio::test]
async fn a_mailbox_as_json_says_until_when() {
    let run = Cell::new(Canned::default())
        .await
        .run(&["-o", "json", "mailbox", "show", "mario@libero.example"])
        .await;
    let json: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(json["shards"][0]["shard"]["state"], "held");
    assert!(json["shards"][0]["until"].as_str().expect("a text").contains("until an operator decides"));
}

/// R7: what is missing of a closed shard is said with how many were known, where to look, and how to say that it was intended;
/// in a campaign as before one.
#[tokio::test]
async fn missing_mailboxes_are_said_with_what_to_do() {
    for (at, name) in [(0, "vol-01"), (4, "vol-11")] {
        let mut shards = fixtures::shards();
        let reason = HeldReason::MailboxesMissing { known: 800, shown: 799, unlisted: 2 };
        let view =
            shards.iter_mut().find(|view| view.shard.shard == fixtures::shard_id(name)).expect("it is there");
        view.shard.blocked = Some(Hold { reason, since: fixtures::at(fixtures::minutes(5)) });
        if at == 0 {
            view.shard.phase = Phase::Closed { cause: CloseCause::FirstMet };
            view.shard.services = ServiceSet::NONE;
        }
        let node = view.shard.placement.node;
        let cell = Cell::new(Canned { shards, mailbox_shard: Some(name), ..Canned::default() }).await;
        for args in [["shard", "show", name], ["mailbox", "show", "mario@libero.example"]] {
            let shown = cell.run(&args).await.stdout;
            let why = row(&shown, "why").unwrap_or_default();
            assert!(why.contains("2 of 800 mailboxes that were known are not there any more"), "{shown}");
            assert!(shown.contains(&format!("rientro node show {node}")), "{shown}");
            assert!(
                shown.contains(&format!("rientro shard settle {name} --node {node} --reason")),
                "{shown}"
            );
            assert!(shown.contains("say that the deletion was intended"), "{shown}");
        }
        if at > 0 {
            let shown = cell.run(&["shard", "show", name]).await.stdout;
            assert!(shown.contains(&format!("node {node} to show all 800 mailboxes again")), "{shown}");
        }
    }
}

/// R1: a mailbox that came into the list after its shard was verified is not told of with the words of that verification, and
/// is closed or open since it is there.
#[tokio::test]
async fn a_newcomer_is_not_told_as_verified() {
    let show = ["mailbox", "show", "mario@libero.example"];
    for (name, minutes, then) in
        [("vol-09", 1, "verified again before it opens"), ("vol-01", 5, "nothing says that it was read; its")]
    {
        let listed = Some(fixtures::at(fixtures::minutes(minutes)));
        let canned = || Canned { mailbox_shard: Some(name), mailbox_listed: listed, ..Canned::default() };
        let shown = Cell::new(canned()).await.run(&show).await.stdout;
        assert!(row(&shown, "since").unwrap_or_default().contains(&format!("({minutes}m ago)")), "{shown}");
        let why = row(&shown, "why").unwrap_or_default();
        assert!(why.starts_with("it came into the list after its shard was verified"), "{shown}");
        assert!(why.contains(then) && why.contains("its shard: "), "{shown}");
        let verified = row(&shown, "verified").unwrap_or_default();
        assert!(verified.starts_with("its shard, before it was listed at "), "{shown}");
        let json = Cell::new(canned()).await.run(&[&show[..], &["--output", "json"]].concat()).await.stdout;
        assert!(json.contains("\"listed_after_verification\": true"), "{json}");
        let earlier = Canned { mailbox_listed: Some(fixtures::at(fixtures::minutes(900))), ..canned() };
        let shown = Cell::new(earlier).await.run(&show).await.stdout;
        assert!(!shown.contains("came into the list"), "{shown}");
    }
}

/// R12: a shard that is held for missing mailboxes names them, as many as can be compared by eye.
#[tokio::test]
async fn a_shard_names_the_mailboxes_it_misses() {
    let id = |n: u8| rientro_types::MailboxId::from_raw([n; 16]);
    let mut shards = fixtures::shards();
    let reason = HeldReason::MailboxesMissing { known: 800, shown: 791, unlisted: 8 };
    shards[5].shard.blocked = Some(Hold { reason, since: fixtures::at(fixtures::minutes(5)) });
    let show = ["shard", "show", shards[5].shard.shard.as_str()];
    for (missing, said) in [
        ((vec![id(1), id(2)], 8), format!("{}, {}, 6 more and 1 whose ids are not known", id(1), id(2))),
        ((vec![id(1)], 9), format!("{} and 8 more", id(1))),
        ((vec![id(1)], 1), format!("{} and 8 whose ids are not known", id(1))),
        ((vec![], 0), "9 whose ids are not known".to_owned()),
    ] {
        let canned = || Canned { shards: shards.clone(), missing: missing.clone(), ..Canned::default() };
        let shown = Cell::new(canned()).await.run(&show).await.stdout;
        assert_eq!(row(&shown, "missing"), Some(&*said), "{shown}");
        assert!(shown.contains("rientro shard settle"), "{shown}");
        let json = Cell::new(canned()).await.run(&[&show[..], &["--output", "json"]].concat()).await.stdout;
        let known = serde_json::from_str::<serde_json::Value>(&json).expect("it is JSON");
        assert_eq!(known["missing_known"], missing.1);
        assert_eq!(known["missing"].as_array().map(Vec::len), Some(missing.0.len()));
    }
}

/// R7: of a mailbox that no shard lists any more it is said where it was, until when, and what to do: settle or put back where
/// its closed shard is held for it; look, where its shard was in service.
#[tokio::test]
async fn a_mailbox_that_is_gone_says_where_it_was() {
    let mut text = String::new();
    for (name, served) in [("vol-09", false), ("vol-01", true)] {
        let named = |view: &ShardView| view.shard.shard == fixtures::shard_id(name);
        let mut shard = fixtures::shards().into_iter().find(named).expect("it is there");
        if !served {
            let reason = HeldReason::MailboxesMissing { known: 800, shown: 800, unlisted: 1 };
            shard.shard.blocked = Some(Hold { reason, since: fixtures::at(fixtures::minutes(5)) });
        }
        let [listed, missed] = [300, 5].map(|before| fixtures::at(fixtures::minutes(before)));
        let mailbox_gone = vec![MailboxGone { listed, missed, served, shard }];
        let cell = Cell::new(Canned { mailbox_shard: None, mailbox_gone, ..Canned::default() }).await;
        for args in [
            &["mailbox", "show", "mario@libero.example"][..],
            &["mailbox", "show", "mario@libero.example", "--output", "json"],
            &["mailbox", "except", "mario@libero.example", "--accept", "--reason", "asked", "--yes"],
        ] {
            text.push_str(&cell.run(args).await.transcript());
        }
    }
    insta::assert_snapshot!(text);
}
