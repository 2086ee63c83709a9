//! The real binary, killed at any moment.

use std::collections::BTreeMap;

use rientro_orchestrator::plan;
use rientro_types::{CampaignId, Record, Verb};
use rientro_wire::operator::ActAnswer;
use rientro_wire::session::OrchestratorMessage;
use tokio::sync::watch;

use crate::agent::{Agent, Heard, Manner, claim};
use crate::cell::{Operator, within};
use crate::journal_calls::records;
use crate::process::Process;

/// Decides at which moment each life ends; another seed gives other moments.
const SEED: u64 = 1;

/// Lives of the orchestrator: three for each thing that a kill may fall into.
const LIVES: usize = 12;

/// Shards that each life's campaign is about.
const SHARDS: usize = 20;

/// Records that an operator was told of, and whether they pause.
type Acknowledged = BTreeMap<u64, bool>;

/// When a life ends: as soon as so many of these were heard or acknowledged.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Tasks commanded: at none, the start of the campaign is still on its way.
    Tasks(usize),
    /// Openings commanded.
    Openings(usize),
    /// Messages of any kind.
    Messages(usize),
    /// Pauses and resumptions acknowledged.
    Acknowledged(usize),
}

impl Moment {
    /// Each life has another kind of moment; the seed says how many.
    fn of(life: usize) -> Self {
        // SplitMix64: every life its own number.
        let mut bits = (SEED ^ life as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let below = |most: u64| usize::try_from((bits ^ bits >> 31) % most).unwrap();
        match life % 4 {
            0 => Self::Tasks(below(4)),
            1 => Self::Openings(1 + below(SHARDS as u64 / 2)),
            2 => Self::Messages(1 + below(80)),
            _ => Self::Acknowledged(1 + below(20)),
        }
    }

    fn has_come(self, heard: &Heard, acknowledged: usize) -> bool {
        let count = |wanted: fn(&OrchestratorMessage) -> bool| {
            heard.messages.iter().filter(|message| wanted(message)).count()
        };
        match self {
            Self::Tasks(most) => count(|m| matches!(m, OrchestratorMessage::StartTask { .. })) >= most,
            Self::Openings(most) => count(|m| matches!(m, OrchestratorMessage::SetServices { .. })) >= most,
            Self::Messages(most) => heard.messages.len() >= most,
            Self::Acknowledged(most) => acknowledged >= most,
        }
    }

    /// Waits for it, whatever the agent hears and the operator is told meanwhile.
    async fn come(self, agent: &Agent, acknowledged: &watch::Sender<Acknowledged>) {
        let before = acknowledged.borrow().len();
        let (mut heard, mut told) = (agent.heard.clone(), acknowledged.subscribe());
        let waiting = async {
            while !self.has_come(&heard.borrow_and_update(), told.borrow_and_update().len() - before) {
                // Cancel-safe: what changed is looked at again from the start.
                tokio::select! {
                    changed = heard.changed() => changed.unwrap(),
                    changed = told.changed() => changed.unwrap(),
                }
            }
        };
        within(waiting).await;
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

/// Whether a task was started, or services opened, by a record before the order that commanded it.
fn is_recorded(message: &OrchestratorMessage, records: &BTreeMap<u64, Record>) -> bool {
    let until = |seq: u64| records.range(..=seq).map(|(_, record)| record);
    match message {
        OrchestratorMessage::StartTask { order, task, .. } => until(order.seq.raw()).any(|record| {
            matches!(record, Record::TaskStarted { shard, attempt, .. } if (*shard, *attempt) == (task.shard, task.attempt))
        }),
        OrchestratorMessage::SetServices { order, shard: told, services: open, .. } => {
            until(order.seq.raw()).any(|record| {
                matches!(record, Record::StepOpening { shard, services, .. } if (shard, services) == (told, open))
            })
        }
        _ => true,
    }
}

/// T6, R4: whatever was acknowledged to the operator is in the journal after each kill, and no agent was ever commanded what
/// the journal does not hold. Kills fall into starts of campaigns, tasks, openings, pauses and resumptions.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_decisions_survive_kill_9_and_no_command_lacks_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let acknowledged = watch::channel(Acknowledged::new()).0;
    let mut commanded: Vec<OrchestratorMessage> = Vec::new();
    for life in 0..LIVES {
        let process = Process::start(folder.path(), &[]);
        let operator = process.operator().await;
        let agent = Agent::connect(&process.address, "n1", Manner::Diligent).await;
        let names = |life: usize| (0..SHARDS).map(move |n| format!("s{life}-{n}"));
        agent.report((0..=life).flat_map(names).map(|name| claim(&name)).collect()).await.unwrap();
        let found = records(&operator).await;
        check(&acknowledged.borrow(), &found, &commanded);
        let shards: Vec<String> = names(life).collect();
        let campaign = format!("k{life}");
        let deciding = decide(&operator, &campaign, &shards, &acknowledged);
        let moment = Moment::of(life);
        let killing = async {
            moment.come(&agent, &acknowledged).await;
            process.kill();
        };
        tokio::join!(deciding, killing);
        commanded.extend(agent.heard.borrow().messages.iter().cloned());
    }
    let process = Process::start(folder.path(), &[]);
    let operator = process.operator().await;
    let found = within(records(&operator)).await;
    check(&acknowledged.borrow(), &found, &commanded);
    assert!(!acknowledged.borrow().is_empty());
    let openings = commanded.iter().filter(|m| matches!(m, OrchestratorMessage::SetServices { .. })).count();
    assert!(openings >= LIVES / 4, "{openings} openings were commanded");
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
