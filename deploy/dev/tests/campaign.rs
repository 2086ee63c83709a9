//! The main job on real mail with the real programs: Dovecot's stores, broken in known places, are brought back by a cell of
//! processes. Once in peace, once with the orchestrator and an agent killed in the middle: the outcome is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rientro_dev::cell::{Cell, NodeSpec, RootSpec, Sharding};
use rientro_dev::corpus::{Corpus, Shape};
use rientro_dev::damage::{self, Broken, Fault, FolderFault, MessageFault};
use rientro_dev::judge::{Found, misjudged, unexplained};
use rientro_dev::store::Mailbox;
use rientro_dev::wait;
use rientro_types::Finding;
use serde_json::Value;

/// Shards in which something is broken; the others must come back whole.
const BROKEN: [&str; 5] = ["n1s01", "n1s02", "n1s03", "n1s04", "n2s01"];
/// Shards of the first waves, which are brought forward by their weight. One of each is broken.
const CANARY: [&str; 2] = ["n1s01", "n3s01"];
const SECOND: [&str; 4] = ["n1s02", "n2s02", "n2s03", "n3s02"];
/// Mailboxes of each shard.
const MAILBOXES: u64 = 5;
/// Times each fault of messages is made.
const TIMES: usize = 2;
/// Longest wait for anything a campaign does: far above what it takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(180);

/// What a campaign came to: each shard's state, and every finding.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    states: BTreeMap<String, String>,
    findings: BTreeSet<(String, Finding)>,
}

/// T6, T9, T14: nothing is lost when the orchestrator and an agent are killed in mid-campaign, and nothing opens that should
/// not. A loss inside the error budget changes nothing, one beyond it pauses the campaign, waves open in order (R3), and
/// exactly the damage that can be seen without a baseline is found.
#[test]
fn the_outcome_survives_being_killed() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let corpus = Corpus::deliver(folder.path(), &Shape::default()).expect("the corpus is delivered");
    assert!(corpus.handed_over >= 2_000 && corpus.mailboxes.len() == 60);
    let broken = break_some(&corpus);
    for (root, no) in corpus.roots.iter().zip(1..) {
        let uuid = format!("00000000-0000-4000-8000-{no:012}");
        rientro_mailstore::volume::enrol(root, &uuid).expect("the volume is enrolled");
    }
    let calm = run(&folder.path().join("calm"), &corpus, false);
    judge(&calm, &corpus, &broken);
    let killed = run(&folder.path().join("killed"), &corpus, true);
    assert_eq!(calm, killed);
}

fn break_some(corpus: &Corpus) -> Broken {
    let broken = |mailbox: &&Mailbox| BROKEN.contains(&mailbox.shard.as_str());
    let mailboxes: Vec<_> = corpus.mailboxes.iter().filter(broken).cloned().collect();
    let broken = damage::break_stores(&mailboxes, FolderFault::ALL, MessageFault::ALL, TIMES, 1);
    let broken = broken.expect("stores can be broken");
    // Five shards have too few long compressed messages for every fault of messages; all of those are made in `live.rs`.
    assert!(!broken.never_made().iter().any(|fault| matches!(fault, Fault::Folder(_))), "{:?}", broken.short);
    broken
}

fn run(folder: &Path, corpus: &Corpus, kill: bool) -> Outcome {
    let nodes = corpus.roots.iter().zip(1..).map(|(root, no)| NodeSpec {
        name: format!("store-{no}"),
        roots: vec![RootSpec {
            path: root.clone(),
            layout: "{shard}/{domain}/{user}".to_owned(),
            sharding: Sharding::Prefix("{shard}".to_owned()),
        }],
        volume: "marker",
        labels: vec![("rack".to_owned(), format!("r{no}"))],
    });
    let mut cell = Cell::start(folder, nodes.collect()).expect("the cell starts");
    let shards = corpus.mailboxes.iter().map(|mailbox| &mailbox.shard).collect::<BTreeSet<_>>().len();
    cell.await_shards(shards).expect("the agents show their shards");
    let strict = write_plan(folder, "manual", "50%", "0%");
    cell.ask(&["campaign", "start", &strict, "--yes"]).expect("the campaign starts");
    if kill {
        kill_while_verifying(&mut cell);
    }
    await_baking(&cell);
    if kill {
        cell.kill_orchestrator().expect("the orchestrator is killed while the canary bakes");
        cell.start_orchestrator().expect("the orchestrator comes back again");
        await_baking(&cell);
    }
    cell.ask(&["wave", "promote", "return", "0", "--yes"]).expect("the canary is promoted");
    await_state(&cell, "paused");
    assert_why_paused(&cell);
    let tolerant = write_plan(folder, "automatic", "100%", "100%");
    cell.ask(&["campaign", "revise", &tolerant, "--yes"]).expect("the plan is revised");
    cell.ask(&["campaign", "resume", "return", "--yes"]).expect("the campaign goes on");
    await_state(&cell, "ended");
    assert_waves_in_order(&cell);
    assert_eq!(paused(&cell), 1, "losses inside the budget pause nothing");
    cell.ask(&["journal", "verify"]).expect("the journal is intact");
    let outcome = Outcome { states: states(&cell), findings: findings(&cell) };
    cell.stop().expect("the cell stops");
    outcome
}

/// A slow pace, so that there is a middle to be killed in; a seed, so that both runs have the same waves.
fn write_plan(folder: &Path, promotion: &str, budget_canary: &str, budget: &str) -> String {
    let path = folder.join("plan.toml");
    let seed = "07".repeat(32);
    let text = format!(
        "name = \"return\"\nseed = \"{seed}\"\n[covers]\nall = true\n\
         [[class]]\nshards = {CANARY:?}\nweight = 30\n[[class]]\nshards = {SECOND:?}\nweight = 20\n\
         [waves]\nlist = [\"2 shards\", \"4 shards\", \"rest\"]\npromotion = {promotion:?}\nbake = \"1s\"\n\
         error_budget_canary = {budget_canary:?}\nerror_budget = {budget:?}\n\
         [tries]\nbackoff = \"1s\"\nattempts = 5\n[pace]\nbytes_per_second = \"512 KiB\"\nreaders = 2\n"
    );
    std::fs::write(&path, text).expect("the plan is written");
    path.to_str().expect("temporary folders have plain names").to_owned()
}

fn kill_while_verifying(cell: &mut Cell) {
    let verifying = |cell: &Cell| states(cell).values().any(|state| state == "verifying");
    assert!(wait::until(LIMIT, || verifying(cell)), "nothing is being verified");
    cell.kill_agent(0).expect("the agent is killed");
    cell.kill_orchestrator().expect("the orchestrator is killed");
    cell.start_orchestrator().expect("the orchestrator comes back");
    cell.start_agent(0).expect("the agent comes back");
    assert!(wait::until(LIMIT, || verifying(cell)), "nothing goes on");
}

/// The canary has lost what its budget allows, is settled and bakes; it waits for its promotion.
fn await_baking(cell: &Cell) {
    let canary = || json(cell, &["campaign", "show", "return"])["waves"][0].clone();
    let baking = || text(&canary()["state"]).starts_with("bak");
    assert!(wait::until(LIMIT, baking), "the canary does not bake: {:?}", states(cell));
    assert_eq!(canary()["mailboxes_lost"], MAILBOXES);
    assert_eq!(canary()["mailboxes_lost_max"], MAILBOXES);
    assert_eq!(text(&json(cell, &["campaign", "show", "return"])["state"]), "running");
}

/// R3: paused for the loss of the second wave, by its number and by what it lost; nothing of the third wave is open.
fn assert_why_paused(cell: &Cell) {
    let campaign = json(cell, &["campaign", "show", "return"]);
    assert_eq!(campaign["wave"], 1);
    let lost = format!("paused: wave 1 lost {MAILBOXES} of {} mailboxes", MAILBOXES * SECOND.len() as u64);
    let why = text(&campaign["state_why"]);
    assert_eq!(why, format!("{lost}, its budget is 0%"));
    assert_eq!(text(&campaign["waves"][0]["state"]), "passed");
    let listed = json(cell, &["shard", "list", "--max", "0"]);
    let states_of = |wave: u64| {
        let shards = listed.as_array().expect("a list of shards").iter();
        shards.filter(|shard| shard["wave"] == wave).map(|shard| text(&shard["state"])).collect::<Vec<_>>()
    };
    assert_eq!(states_of(0).len(), CANARY.len());
    assert!(states_of(0).contains(&"open".to_owned()) && states_of(0).contains(&"held".to_owned()));
    let opening = |state: &String| state == "open" || state == "opening";
    assert!(!states_of(2).iter().any(opening), "{:?}", states_of(2));
    assert_eq!(paused(cell), 1);
}

fn paused(cell: &Cell) -> usize {
    let records = json_lines(cell, &["journal", "tail", "--last", "0"]);
    records.iter().filter(|record| record["record"] == "campaign-paused").count()
}

fn json(cell: &Cell, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
    serde_json::from_str(&cell.ask(&args).expect("the cell answers")).expect("the answer is JSON")
}

fn json_lines(cell: &Cell, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
    let text = cell.ask(&args).expect("the cell answers");
    text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn await_state(cell: &Cell, state: &str) {
    let reached = || text(&json(cell, &["campaign", "show", "return"])["state"]) == state;
    let logs = cell.folder().display().to_string();
    assert!(wait::until(LIMIT, reached), "the campaign is not {state}: {:?}; logs in {logs}", states(cell));
}

fn states(cell: &Cell) -> BTreeMap<String, String> {
    let listed = json(cell, &["shard", "list", "--max", "0"]);
    let shards = listed.as_array().expect("a list of shards").iter();
    shards.map(|shard| (text(&shard["shard"]), text(&shard["state"]))).collect()
}

fn findings(cell: &Cell) -> BTreeSet<(String, Finding)> {
    let found = json_lines(cell, &["findings", "list", "--campaign", "return", "--addresses", "--max", "0"]);
    found.iter().map(|line| (text(&line["shard"]), finding(line))).collect()
}

fn finding(line: &Value) -> Finding {
    Finding {
        kind: text(&line["kind"]).parse().expect("a kind of finding"),
        mailbox: text(&line["mailbox_path"]).into_bytes(),
        path: text(&line["path"]).into_bytes(),
        detail: text(&line["detail"]),
    }
}

/// R3: a wave starts after the one below it has passed, and none of its shards opens before that.
fn assert_waves_in_order(cell: &Cell) {
    let listed = json(cell, &["shard", "list", "--max", "0"]);
    let waves: BTreeMap<String, u64> = listed
        .as_array()
        .expect("a list of shards")
        .iter()
        .map(|shard| (text(&shard["shard"]), shard["wave"].as_u64().expect("every shard is in a wave")))
        .collect();
    let mut passed = 0;
    let mut started = BTreeSet::new();
    let mut opened = 0;
    for record in json_lines(cell, &["journal", "tail", "--last", "0"]) {
        match text(&record["record"]).as_str() {
            "wave-started" => {
                let wave = record["wave"].as_u64().expect("a wave");
                assert_eq!(wave, passed, "wave {wave} starts after {passed} have passed");
                started.insert(wave);
            }
            "wave-passed" => passed += 1,
            "step-opening" => {
                opened += 1;
                let shard = text(&record["shard"]);
                assert!(started.contains(&waves[&shard]), "{shard} opens before its wave");
            }
            _ => {}
        }
    }
    assert_eq!((passed, started.len()), (3, 3));
    assert_eq!(opened, waves.len() - BROKEN.len());
}

/// Exactly the damage that can be found without a baseline is found, nothing whole is reported, and what is damaged is held.
fn judge(outcome: &Outcome, corpus: &Corpus, broken: &Broken) {
    let root_of: BTreeMap<&String, &std::path::PathBuf> =
        corpus.mailboxes.iter().map(|mailbox| (&mailbox.shard, &mailbox.root)).collect();
    let found: Vec<Found> = outcome
        .states
        .keys()
        .map(|shard| Found {
            root: root_of[shard].clone(),
            shard: shard.clone(),
            findings: outcome.findings.iter().filter(|(of, _)| of == shard).map(|(_, f)| f.clone()).collect(),
        })
        .collect();
    assert_eq!(unexplained(&broken.damages, &found), Vec::<String>::new(), "findings that nothing explains");
    assert_eq!(misjudged(&broken.damages, &found), Vec::<String>::new(), "damage not seen as it should be");
    let findable: BTreeSet<&String> = broken
        .damages
        .iter()
        .filter(|damage| damage.findable())
        .map(|damage| &damage.mailbox.shard)
        .collect();
    assert_eq!(findable.len(), BROKEN.len());
    for (shard, state) in &outcome.states {
        let expected = if findable.contains(shard) { "held" } else { "open" };
        assert_eq!(state, expected, "{shard}");
    }
}
