//! A plan that is revised while its campaign runs.

use rientro_orchestrator::plan;
use rientro_types::{ByteSize, CampaignId, Pace, Verb};
use rientro_wire::operator::ActAnswer;
use rientro_wire::session::{AgentMessage, OrchestratorMessage};

use crate::agent::{Agent, Manner, claim, clean, starts, welcome_of};
use crate::cell::Cell;

/// More shards than a node verifies at once.
const SHARDS: usize = 6;

fn plan_with(pace: &str) -> plan::PlanFile {
    let text = format!("name = \"k\"\n[waves]\nlist = [\"rest\"]\n[pace]\n{pace}\n");
    plan::read(text.as_bytes()).unwrap()
}

/// T17: another pace reaches an agent that is connected and busy, as an order of its own, and is the pace of every task after
/// that; the connection and the tasks go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_revised_pace_reaches_a_busy_agent() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report((0..SHARDS).map(|no| claim(&format!("s{no}"))).collect()).await.unwrap();
    let operator = cell.operator().await;
    let first = plan_with("readers = 4");
    operator.act(Verb::Start { plan: Box::new(first.plan), source: first.source }).await.unwrap();
    let begun = starts(&agent.heard_that(|heard| starts(heard).len() >= 2).await);
    assert!(begun.iter().all(|task| task.pace.readers == 4 && task.pace.bytes_per_second.bytes() == 0));

    let second = plan_with("bytes_per_second = \"3 MiB\"\nreaders = 2");
    let revised = operator.act(Verb::Revise { plan: Box::new(second.plan), source: second.source }).await;
    assert!(matches!(revised.unwrap(), ActAnswer::Receipt(_)));
    let wanted = Pace { bytes_per_second: ByteSize::from_bytes(3 << 20), readers: 2 };
    let told = |message: &OrchestratorMessage| {
        matches!(message, OrchestratorMessage::SetPace { campaign, pace, .. }
            if *campaign == CampaignId::new("k").unwrap() && *pace == wanted)
    };
    let heard = agent.heard_that(|heard| heard.messages.iter().any(told)).await;

    let before = starts(&heard).len();
    for task in starts(&heard) {
        let end = clean(&task);
        agent.say(AgentMessage::TaskResult { shard: task.shard, attempt: task.attempt, end }).await;
    }
    let heard = agent.heard_that(|heard| starts(heard).len() > before).await;
    assert!(starts(&heard)[before..].iter().all(|task| task.pace == wanted));
    let told_of_stops = |m: &OrchestratorMessage| matches!(m, OrchestratorMessage::CancelTask { .. });
    assert!(heard.end.is_none() && !heard.messages.iter().any(told_of_stops));
    assert!(welcome_of(&heard).is_some());
}
