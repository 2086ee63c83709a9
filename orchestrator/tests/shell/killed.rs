//! The real binary, killed at any moment.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rientro_orchestrator::{Address, plan};
use rientro_types::{CampaignId, Record, Verb};
use rientro_wire::operator::ActAnswer;
use rientro_wire::session::OrchestratorMessage;
use tokio::sync::watch;

use crate::agent::{Agent, Manner, claim};
use crate::cell::{Operator, flags, until, within};
use crate::journal_calls::records;

/// Lives of the orchestrator; each is killed after another number of answers.
const LIVES: usize = 8;

/// Shards that each life's campaign is about.
const SHARDS: usize = 20;

/// Records that an operator was told of, and whether they pause.
type Acknowledged = BTreeMap<u64, bool>;

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

/// Begins a campaign that waits for its promotion, then pauses and resumes it until the orchestrator is gone; notes which
/// records were acknowledged, and whether they pause.
async fn decide(
    operator: &Operator,
    name: &str,
    shards: &[String],
    acknowledged: &watch::Sender<Acknowledged>,
) {
    let text = format!(
        "name = \"{name}\"\n[covers]\nshards = {shards:?}\n[waves]\nlist = [\"50%\", \"rest\"]\npromotion = \"manual\"\n"
    );
    let file = plan::read(text.as_bytes()).unwrap();
    let started = operator.act(Verb::Start { plan: Box::new(file.plan), source: file.source }).await;
    assert!(!matches!(started, Ok(ActAnswer::Refusal(_))), "{started:?}");
    let campaign = CampaignId::new(name).unwrap();
    for pause in [true, false].into_iter().cycle() {
        let verb = if pause { Verb::Pause { campaign } } else { Verb::Resume { campaign } };
        match operator.act(verb).await {
            Ok(ActAnswer::Receipt(receipt)) => {
                acknowledged.send_modify(|all| all.extend(receipt.decided.map(|seq| (seq.raw(), pause))));
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
    let acknowledged = watch::channel(Acknowledged::new()).0;
    let mut commanded: Vec<OrchestratorMessage> = Vec::new();
    for life in 0..LIVES {
        let process = Process::start(folder.path());
        let operator = process.operator().await;
        let agent = Agent::connect(&process.address, "n1", Manner::Diligent).await;
        let names = |life: usize| (0..SHARDS).map(move |n| format!("s{life}-{n}"));
        agent.report((0..=life).flat_map(names).map(|name| claim(&name)).collect()).await.unwrap();
        let found = records(&operator).await;
        check(&acknowledged.borrow(), &found, &commanded);
        let shards: Vec<String> = names(life).collect();
        let campaign = format!("k{life}");
        let before = acknowledged.borrow().len();
        let deciding = decide(&operator, &campaign, &shards, &acknowledged);
        let killing = async {
            within(acknowledged.subscribe().wait_for(|all| all.len() > before + 3 * life)).await.unwrap();
            process.kill();
        };
        tokio::join!(deciding, killing);
        commanded.extend(agent.heard.borrow().messages.iter().cloned());
    }
    let process = Process::start(folder.path());
    let operator = process.operator().await;
    let found = within(records(&operator)).await;
    check(&acknowledged.borrow(), &found, &commanded);
    assert!(acknowledged.borrow().len() >= LIVES);
    drop(operator);
    let log = process.terminate();
    assert!(log.iter().any(|line| line.contains("asked to stop")));
}

fn check(acknowledged: &Acknowledged, found: &BTreeMap<u64, Record>, commanded: &[OrchestratorMessage]) {
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
