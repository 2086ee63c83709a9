//! Several operators at once, and plans at their widest, with the real binaries: one decision is made, and all are told so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rientro_types::{CampaignState, CampaignView, Record, WaveState};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::Status;

use crate::agent::{Agent, Manner, claim};
use crate::cell::{until, within};
use crate::journal_calls::records;
use crate::process::Process;

const CLI: &str = env!("CARGO_BIN_EXE_rientro");

/// Operators that ask for the same at the same moment.
const OPERATORS: usize = 6;

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    said: String,
}

async fn rientro(endpoint: String, args: Vec<String>) -> Ended {
    let mut command = tokio::process::Command::new(CLI);
    command.args(["--endpoint", &endpoint, "--yes"]).args(args).stdin(Stdio::null());
    let output = within(command.kill_on_drop(true).output()).await.unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Ended { code: output.status.code(), said: said.concat() }
}

/// Runs all of these at once. None of them panics, and none is left without an answer.
async fn race(endpoint: &str, commands: Vec<Vec<String>>) -> Vec<Ended> {
    let mut racing: JoinSet<_> =
        commands.into_iter().map(|args| rientro(endpoint.to_owned(), args)).collect();
    let mut ended = Vec::new();
    while let Some(one) = racing.join_next().await {
        let one = one.unwrap();
        assert!(matches!(one.code, Some(0 | 1)) && !one.said.contains("panicked"), "{one:?}");
        ended.push(one);
    }
    ended
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// A plan whose waves and bake are as wide as they may be written.
fn plan(folder: &Path, no: usize) -> PathBuf {
    let path = folder.join(format!("plan-{no}.toml"));
    let waves = format!("list = [\"{} shards\", \"rest\"]", no + 1);
    let text = format!(
        "name = \"race\"\n[waves]\n{waves}\nbake = \"18446744073709551615ms\"\n[tries]\nattempts = 1000\n\
         backoff_max = \"213503982334d\"\nverify_timeout = \"18446744073709551615ms\"\n[open]\nin_flight = 4294967295\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn count(records: &BTreeMap<u64, Record>, wanted: fn(&Record) -> bool) -> usize {
    records.values().filter(|record| wanted(record)).count()
}

/// R4, T17: of operators who start the same campaign one starts it; revisions that meet are all made, one after the other; what
/// is asked for after an abort is refused; and the journal has each decision once.
#[tokio::test(flavor = "multi_thread")]
async fn operators_that_race_are_told_what_was_decided() {
    let folder = TempDir::new().unwrap();
    let cell = Process::start(folder.path(), &[]);
    let operator = cell.operator().await;
    let agent = Agent::connect(&cell.address, "n1", Manner::Diligent).await;
    agent.report((0..OPERATORS + 2).map(|no| claim(&format!("s{no}"))).collect()).await.unwrap();
    let endpoint = format!("http://{}", cell.address);
    let plans: Vec<String> = (0..OPERATORS).map(|no| plan(folder.path(), no).display().to_string()).collect();

    let starts = plans.iter().map(|plan| words(&format!("campaign start {plan}"))).collect();
    let (started, refused): (Vec<_>, Vec<_>) =
        race(&endpoint, starts).await.into_iter().partition(|one| one.code == Some(0));
    assert_eq!((started.len(), refused.len()), (1, OPERATORS - 1), "{started:?} {refused:?}");
    assert!(refused.iter().all(|one| one.said.contains("campaign race exists")), "{refused:?}");

    let revisions = plans.iter().map(|plan| words(&format!("campaign revise {plan}")));
    let pauses =
        ["campaign pause race", "campaign resume race", "shard prioritize --all", "campaign show race"];
    let ended = race(&endpoint, revisions.chain(pauses.map(words)).collect()).await;
    assert!(ended.iter().filter(|one| one.code == Some(0)).count() >= OPERATORS, "{ended:?}");
    let view = operator.campaign("race").await.unwrap();
    let made = count(&records(&operator).await, |r| matches!(r, Record::CampaignRevised { .. }));
    assert_eq!(usize::try_from(view.revision.raw()).unwrap(), made + 1);

    let verbs = ["campaign abort race", "campaign pause race", "campaign resume race", "wave promote race 0"];
    let aborts = (0..OPERATORS)
        .flat_map(|at| [words(&format!("campaign revise {}", plans[at])), words(verbs[at % 4])]);
    race(&endpoint, aborts.collect()).await;
    assert_eq!(operator.campaign("race").await.unwrap().state, CampaignState::Aborted);
    let aborted = count(&records(&operator).await, |r| matches!(r, Record::CampaignAborted { .. }));
    assert_eq!(aborted, 1);
    let late = race(&endpoint, vec![words(&format!("campaign revise {}", plans[0]))]).await;
    assert!(late[0].code == Some(1) && late[0].said.contains("is over"), "{late:?}");
    let verified = race(&endpoint, vec![words("journal verify")]).await;
    assert_eq!(verified[0].code, Some(0), "{verified:?}");
    let log = cell.terminate();
    assert!(!log.iter().any(|line| line.contains("panicked")), "{log:?}");
}

/// What a plan says at its widest is carried out and shown: a bake without end holds the next wave, and no clock overflows.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_at_its_widest_is_carried_out() {
    let folder = TempDir::new().unwrap();
    let cell = Process::start(folder.path(), &[]);
    let operator = cell.operator().await;
    let agent = Agent::connect(&cell.address, "n1", Manner::Diligent).await;
    agent.report((0..3).map(|no| claim(&format!("s{no}"))).collect()).await.unwrap();
    let endpoint = format!("http://{}", cell.address);
    let start = words(&format!("campaign start {}", plan(folder.path(), 0).display()));
    let started = race(&endpoint, vec![start]).await;
    assert_eq!(started[0].code, Some(0), "{started:?}");
    let baking = |view: &Result<CampaignView, Status>| {
        view.as_ref().is_ok_and(|view| matches!(view.waves[0].state, WaveState::Baking { .. }))
    };
    until(|| operator.campaign("race"), baking).await.unwrap();
    for show in ["campaign show race", "wave show race 0", "campaign report race"] {
        let shown = race(&endpoint, vec![words(show)]).await;
        assert!(shown[0].said.contains("baking, 2135"), "{shown:?}");
        let json = race(&endpoint, vec![words(&format!("-o json {show}"))]).await;
        assert!(json[0].said.contains("\"9999-12-30T"), "{json:?}");
    }
    let waiting = race(&endpoint, vec![words("shard list --state verified")]).await;
    assert!(waiting[0].said.contains("waits for its wave 1"), "{waiting:?}");
    let promoted = race(&endpoint, vec![words("wave promote race 0")]).await;
    assert_eq!(promoted[0].code, Some(0), "{promoted:?}");
    let log = cell.terminate();
    assert!(!log.iter().any(|line| line.contains("panicked")), "{log:?}");
}
