//! The real binary, killed at any moment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rientro_orchestrator::Address;
use rientro_types::{CampaignId, Record, Verb};
use rientro_wire::operator::ActAnswer;
use rientro_wire::session::OrchestratorMessage;

use crate::agent::{Agent, Manner, claim};
use crate::cell::{Operator, flags, until, within};
use crate::journal_calls::records;

/// Lives of the orchestrator; each is killed after another number of answers.
const LIVES: usize = 8;

/// A running binary.
struct Process {
    child: Child,
    /// Where it listens for agents, and for operators too.
    address: Address,
    log: std::thread::JoinHandle<Vec<String>>,
}

impl Process {
    /// Starts it and waits until it listens.
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rientro-orchestrator"))
            .args(flags(folder).into_iter().skip(1))
            .args(["--log-format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find(|line| line.contains("\"whom\":\"agents\""))
            .and_then(|line| {
                let (_, rest) = line.split_once("\"address\":\"")?;
                Some(rest.split_once('"')?.0.parse().unwrap())
            })
            .expect("it tells where it listens");
        let log = std::thread::spawn(move || lines.map_while(Result::ok).collect());
        Self { child, address, log }
    }

    /// An operator, once it leads.
    async fn operator(&self) -> Operator {
        let operator = Operator::connect(&self.address).await;
        until(|| operator.cell(), Result::is_ok).await.unwrap();
        operator
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.join().unwrap();
    }

    /// Asks it to stop; gives its log.
    fn terminate(mut self) -> Vec<String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "it ends well when asked to");
        self.log.join().unwrap()
    }
}

/// Pauses and resumes until the orchestrator is gone; tells which records were acknowledged, and stops after `most`.
async fn decide(operator: &Operator, most: usize, paused: &mut bool, acknowledged: &mut BTreeMap<u64, bool>) {
    let campaign = CampaignId::new("k").unwrap();
    for _ in 0..most {
        let verb = if *paused { Verb::Resume { campaign } } else { Verb::Pause { campaign } };
        match operator.act(verb).await {
            Ok(ActAnswer::Receipt(receipt)) => {
                if let Some(seq) = receipt.decided {
                    acknowledged.insert(seq.raw(), !*paused);
                }
                *paused = !*paused;
            }
            Ok(ActAnswer::Refusal(refusal)) => panic!("refused: {refusal}"),
            Err(_) => return,
        }
    }
}

/// Whether a task was started by a record before the order that commanded it.
fn is_recorded(message: &OrchestratorMessage, records: &BTreeMap<u64, Record>) -> bool {
    let OrchestratorMessage::StartTask { order, task } = message else { return true };
    let started = |record: &Record| matches!(record, Record::TaskStarted { shard, attempt, .. } if (*shard, *attempt) == (task.shard, task.attempt));
    records.range(..=order.seq.raw()).any(|(_, record)| started(record))
}

/// T6, R4: whatever was acknowledged to the operator is in the journal after each kill, and no agent was ever commanded what
/// the journal does not hold.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_decisions_survive_kill_9_and_no_command_lacks_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut paused) = (BTreeMap::new(), false);
    let mut commanded: Vec<OrchestratorMessage> = Vec::new();
    for life in 0..LIVES {
        let process = Process::start(folder.path());
        let operator = process.operator().await;
        let agent = Agent::connect(&process.address, "n1", Manner::Diligent).await;
        let names: Vec<String> = (0..20 * (life + 1)).map(|n| format!("s{n}")).collect();
        agent.report(names.iter().map(|name| claim(name)).collect()).await.unwrap();
        if life == 0 {
            operator.start("k").await.unwrap();
        } else {
            paused = matches!(
                operator.campaign("k").await.unwrap().state,
                rientro_types::CampaignState::Paused(_)
            );
        }
        let found = records(&operator).await;
        check(&acknowledged, &found, &commanded);
        let deciding = decide(&operator, usize::MAX, &mut paused, &mut acknowledged);
        let killing = async {
            agent.heard_that(|heard| heard.messages.len() > 3 + 5 * life).await;
            process.kill();
        };
        tokio::join!(deciding, killing);
        commanded.extend(agent.heard.borrow().messages.iter().cloned());
    }
    let process = Process::start(folder.path());
    let operator = process.operator().await;
    let found = within(records(&operator)).await;
    check(&acknowledged, &found, &commanded);
    assert!(!acknowledged.is_empty());
    drop(operator);
    let log = process.terminate();
    assert!(log.iter().any(|line| line.contains("asked to stop")));
}

fn check(
    acknowledged: &BTreeMap<u64, bool>,
    found: &BTreeMap<u64, Record>,
    commanded: &[OrchestratorMessage],
) {
    for (seq, pause) in acknowledged {
        let right = match &found[seq] {
            Record::CampaignPaused { .. } => *pause,
            Record::CampaignResumed { .. } => !*pause,
            _ => false,
        };
        assert!(right, "record {seq} is not what was acknowledged: {:?}", found[seq]);
    }
    for message in commanded {
        assert!(is_recorded(message, found), "commanded without a record: {message:?}");
    }
}

/// Settings are checked without starting anything; addresses that others can reach are refused.
#[test]
fn settings_are_printed_and_refused_by_name() {
    let check = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_rientro-orchestrator")).args(arguments).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (fine, out, _) = check(&["--check", "--cell", "c", "--state-dir", "/nowhere"]);
    assert!(fine && out.contains("cell = \"c\"") && out.contains("127.0.0.1:7400"), "{out}");
    let open = ["--check", "--cell", "c", "--state-dir", "/nowhere", "--listen-agents", "0.0.0.0:1"];
    let (fine, _, error) = check(&open);
    assert!(!fine && error.contains("other hosts"), "{error}");
    assert!(!Path::new("/nowhere").exists());
}
