//! The main job on real mail with the real programs: Dovecot's stores, broken in known places, are brought back by a cell of
//! processes. Once in peace, once with the orchestrator and an agent killed in the middle: the outcome is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rientro_dev::cell::{Cell, NodeSpec, RootSpec, Sharding};
use rientro_dev::corpus::{Corpus, Shape};
use rientro_dev::damage::{self, Broken, FolderFault, MessageFault};
use rientro_dev::judge::{Found, misjudged, unexplained};
use rientro_dev::wait;
use rientro_types::Finding;
use serde_json::Value;

/// Shards in which something is broken; the others must come back whole.
const BROKEN_SHARDS: usize = 5;
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
/// not. The error budget pauses the campaign, waves open in order (R3), and exactly the damage that can be seen without a
/// baseline is found.
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
    let shards: BTreeSet<&String> = corpus.mailboxes.iter().map(|mailbox| &mailbox.shard).collect();
    let chosen: BTreeSet<&String> = shards.into_iter().take(BROKEN_SHARDS).collect();
    let mailboxes: Vec<_> =
        corpus.mailboxes.iter().filter(|mailbox| chosen.contains(&mailbox.shard)).cloned().collect();
    damage::break_stores(&mailboxes, FolderFault::ALL, MessageFault::ALL, TIMES, 1)
        .expect("stores can be broken")
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
    let strict = write_plan(folder, "0%");
    cell.ask(&["campaign", "start", &strict, "--yes"]).expect("the campaign starts");
    if kill {
        kill_in_the_middle(&mut cell);
    }
    await_state(&cell, "paused");
    let tolerant = write_plan(folder, "100%");
    cell.ask(&["campaign", "revise", &tolerant, "--yes"]).expect("the plan is revised");
    cell.ask(&["campaign", "resume", "return", "--yes"]).expect("the campaign goes on");
    await_state(&cell, "ended");
    assert_waves_in_order(&cell);
    cell.ask(&["journal", "verify"]).expect("the journal is intact");
    let outcome = Outcome { states: states(&cell), findings: findings(&cell) };
    cell.stop().expect("the cell stops");
    outcome
}

/// A slow pace, so that there is a middle to be killed in; a seed, so that both runs have the same waves.
fn write_plan(folder: &Path, budget: &str) -> String {
    let path = folder.join("plan.toml");
    let seed = "07".repeat(32);
    let text = format!(
        "name = \"return\"\nseed = \"{seed}\"\n[covers]\nall = true\n[waves]\nlist = [\"2 shards\", \"4 shards\", \"rest\"]\nbake = \"1s\"\n\
         error_budget_canary = \"{budget}\"\nerror_budget = \"{budget}\"\n[tries]\nbackoff = \"1s\"\nattempts = 5\n[pace]\nbytes_per_second = \"512 KiB\"\nreaders = 2\n"
    );
    std::fs::write(&path, text).expect("the plan is written");
    path.to_str().expect("temporary folders have plain names").to_owned()
}

fn kill_in_the_middle(cell: &mut Cell) {
    let verifying = |cell: &Cell| states(cell).values().any(|state| state == "verifying");
    assert!(wait::until(LIMIT, || verifying(cell)), "nothing is being verified");
    cell.kill_agent(0).expect("the agent is killed");
    cell.kill_orchestrator().expect("the orchestrator is killed");
    cell.start_orchestrator().expect("the orchestrator comes back");
    cell.start_agent(0).expect("the agent comes back");
    assert!(wait::until(LIMIT, || verifying(cell)), "nothing goes on");
    cell.kill_orchestrator().expect("the orchestrator is killed again");
    cell.start_orchestrator().expect("the orchestrator comes back again");
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
    assert_eq!(opened, waves.len() - BROKEN_SHARDS);
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
    assert_eq!(findable.len(), BROKEN_SHARDS);
    for (shard, state) in &outcome.states {
        let expected = if findable.contains(shard) { "held" } else { "open" };
        assert_eq!(state, expected, "{shard}");
    }
}
