//! Addresses of customers go in, and come out nowhere.

use std::fmt::Debug;
use std::path::Path;

use rientro_types::{Exception, Finding, FindingKind, LocatedFinding, MailboxId, Selector, Verb};
use rientro_wire::bulk::MailboxesPart;
use rientro_wire::operator::{ActAnswer, FindingsQuery, MailboxQuery};
use rientro_wire::v1;
use tokio::sync::watch;

use crate::agent::{Agent, Manner, asked_for_findings, claim, find_damage, shard, welcome_of};
use crate::cell::{Operator, within};
use crate::journal_calls::{records, scrape};
use crate::process::Process;

/// Customers, as their provider writes them.
const ADDRESSES: [&str; 3] =
    ["mario.rossi@libero.example", "annalisa-bianchi@virgilio.example", "g.verdi1901@libero.example"];

/// Everything of our own as finely as it can be told; of others what they say by default.
const LOG: &str = "info,rientro_orchestrator=trace,rientro_engine=trace,rientro_wire=trace";

/// Texts in which a customer must not be found.
#[derive(Default)]
struct Told(Vec<(&'static str, String)>);

impl Told {
    fn add(&mut self, place: &'static str, what: &impl Debug) {
        self.0.push((place, format!("{what:?}")));
    }

    fn assert_nobody_is_named(&self) {
        for (place, text) in &self.0 {
            let text = text.to_ascii_lowercase();
            for address in ADDRESSES {
                let (local, _) = address.split_once('@').unwrap();
                assert!(!names(&text, local), "{local} is named in {place}:\n{text}");
            }
        }
    }
}

/// Whether a text holds a word, as it is or as bytes are printed.
fn names(text: &str, word: &str) -> bool {
    let bytes = format!("{:?}", word.as_bytes());
    text.contains(word) || text.contains(bytes.trim_matches(['[', ']']))
}

/// Every file of the state directory, as text.
fn stored(folder: &Path, told: &mut Told) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            stored(&entry.path(), told);
        } else if entry.file_type().unwrap().is_file() {
            let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
            told.0.push(("a file of the state directory", text));
        }
    }
}

fn find(address: &[u8]) -> v1::FindMailboxRequest {
    MailboxQuery::Address(address.to_vec()).into()
}

/// Follows everything that is shown to watchers, until the cell is gone.
async fn watch_all(operator: &Operator) -> watch::Receiver<Vec<String>> {
    let request = v1::WatchRequest { campaign: None, include_decisions: true };
    let mut events = within(operator.client.clone().watch(request)).await.unwrap().into_inner();
    let (told, watched) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while let Ok(Some(event)) = events.message().await {
            told.send_modify(|all| all.push(format!("{event:?}")));
        }
    });
    watched
}

/// Asks for mailboxes by address, well and badly, and for what was found in them.
async fn ask(operator: &Operator, ids: &[MailboxId], told: &mut Told) {
    let mut client = operator.client.clone();
    for (address, id) in ADDRESSES.iter().zip(ids) {
        let found = within(client.find_mailbox(find(address.as_bytes()))).await.unwrap().into_inner();
        assert_eq!((&found.mailbox[..], found.views.len()), (&id.raw()[..], 1));
        told.add("an answer about a mailbox", &found);
        let nowhere = within(client.find_mailbox(find(format!("x.{address}").as_bytes()))).await.unwrap();
        told.add("an answer about a mailbox that is nowhere", &nowhere.into_inner());
        let long = address.repeat(1_000);
        let refused = within(client.find_mailbox(find(long.as_bytes()))).await.unwrap_err();
        told.add("a refusal of an address", &refused);
        let reason = "asked for by telephone".to_owned();
        let verb =
            Verb::Except { shard: shard("a"), mailbox: *id, exception: Some(Exception::Closed), reason };
        let ActAnswer::Receipt(receipt) = operator.act(verb).await.unwrap() else { panic!("refused") };
        told.add("a receipt", &receipt);
    }
}

/// What is found in the mailboxes.
fn findings(ids: &[MailboxId]) -> Vec<LocatedFinding> {
    let finding = |(address, id): (&&str, &MailboxId)| LocatedFinding {
        mailbox_id: Some(*id),
        address: Some(address.as_bytes().to_vec()),
        finding: Finding {
            kind: FindingKind::SizeMismatch,
            mailbox: address.as_bytes().to_vec(),
            path: b"cur/1".to_vec(),
            detail: "S=8, 7 bytes found".to_owned(),
        },
    };
    ADDRESSES.iter().zip(ids).map(finding).collect()
}

/// Fetches findings with addresses, as an operator may who asks for them by name; what came is not kept.
async fn fetch_findings(operator: &Operator, agent: &Agent, ids: &[MailboxId]) {
    let query =
        FindingsQuery { selector: Selector::default(), with_addresses: true, ..FindingsQuery::default() };
    let request = v1::StreamFindingsRequest::from(query);
    let mut answers = within(operator.client.clone().stream_findings(request)).await.unwrap().into_inner();
    let request_id = asked_for_findings(agent, None).await;
    assert!(agent.upload(request_id, shard("a"), findings(ids)).await.unwrap());
    let mut shown = String::new();
    while let Some(answer) = within(answers.message()).await.unwrap() {
        shown.push_str(&format!("{answer:?}"));
    }
    assert!(ADDRESSES.iter().all(|address| names(&shown, address)), "what was asked for is shown: {shown}");
}

/// T25: addresses that are asked for, damaged, excepted and found are in no metric, log line, error, record, watched event, or
/// file of the orchestrator, not even by their local part.
#[tokio::test(flavor = "multi_thread")]
async fn no_address_is_told_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), &["--log", LOG]);
    let operator = process.operator().await;
    let watched = watch_all(&operator).await;
    let agent = Agent::connect(&process.address, "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let key = welcome_of(&agent.heard.borrow()).unwrap().mailbox_key;
    let ids = ADDRESSES.map(|address| MailboxId::of_address(&key, address.as_bytes()));
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let mut told = Told::default();
    let header = MailboxesPart::Header { node: agent.node, incarnation: agent.incarnation };
    let page =
        |mailboxes: Vec<MailboxId>| MailboxesPart::Page { shard: shard("a"), mailboxes, complete: true };
    let whole = vec![header.clone().into(), page(sorted.clone()).into()];
    assert_eq!(agent.report_mailboxes(whole).await.unwrap(), (1, 3));
    let backwards = page(sorted.iter().rev().copied().collect());
    let refused = agent.report_mailboxes(vec![header.into(), backwards.into()]).await.unwrap_err();
    told.add("a refusal of a list of mailboxes", &refused);

    operator.start("k").await.unwrap();
    find_damage(&agent, &findings(&ids), sorted.clone()).await;
    ask(&operator, &ids, &mut told).await;
    fetch_findings(&operator, &agent, &ids).await;

    let found = records(&operator).await;
    assert!(format!("{found:?}").contains(&ids[0].to_string()), "the journal knows the mailbox by its id");
    told.add("the journal", &found);
    told.add("metrics", &scrape(&process.metrics).await);
    let mut events = watched.clone();
    within(events.wait_for(|all| all.iter().any(|event| event.contains("Decided")))).await.unwrap();
    drop((agent, operator));
    let log = process.terminate();
    assert!(log.iter().any(|line| line.contains("verb accepted")), "the log was caught: {log:?}");
    told.add("the log", &log);
    told.add("watched events", &*watched.borrow());
    stored(&folder.path().join("state"), &mut told);
    told.assert_nobody_is_named();
}
