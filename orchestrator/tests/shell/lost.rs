//! Appends that fail, answers that get lost, disks that fill up.

use rientro_orchestrator::Status;
use rientro_types::{CampaignId, CampaignState, Verb};
use rientro_wire::advice;
use rientro_wire::operator::ActAnswer;
use tonic::Code;

use crate::agent::{Agent, Manner, claim, starts};
use crate::cell::{Cell, until, within};
use crate::script::Fate;

async fn leads(cell: &Cell, epoch: u64) {
    let mut changes = cell.running.handle().status_changes();
    within(changes.wait_for(|s| matches!(s, Status::Leading { epoch: e, .. } if e.raw() == epoch)))
        .await
        .unwrap();
}

fn pause() -> Verb {
    Verb::Pause { campaign: CampaignId::new("k").unwrap() }
}

/// T26: an entry whose answer was lost is found in the journal, and everything goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_a_stored_entry_changes_nothing() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    cell.script.meet([Fate::LostAfter]);
    let operator = cell.operator().await;
    assert!(matches!(operator.start("k").await.unwrap(), ActAnswer::Receipt(_)));
    assert!(cell.script.all_met());
    agent.heard_that(|heard| !starts(heard).is_empty()).await;
    leads(&cell, 1).await;
    assert_eq!(cell.script.opened(), 1, "nothing had to be rebuilt");
}

/// T26: an entry that was not stored is given up with the engine that made it; the operator is told that nobody knows, and
/// memory, journal and commands agree afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_append_is_given_up_and_everything_agrees() {
    for fate in [Fate::LostBefore, Fate::Failed, Fate::FullBefore] {
        let cell = Cell::start().await;
        let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
        agent.report(vec![claim("a")]).await.unwrap();
        cell.script.meet([fate]);
        let operator = cell.operator().await;
        let refused = operator.start("k").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unknown, "{refused}");
        let next = advice(&refused).unwrap();
        assert!(next.contains("look at the campaign"), "{next}");
        leads(&cell, 2).await;
        assert_eq!(operator.campaign("k").await.unwrap_err().code(), Code::NotFound);
        let heard = agent.heard_that(|heard| heard.end.is_some()).await;
        assert!(starts(&heard).is_empty(), "commanded what was never decided");

        // The agent comes back, the operator asks again.
        let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
        assert!(matches!(operator.start("k").await.unwrap(), ActAnswer::Receipt(_)));
        agent.heard_that(|heard| starts(heard).len() == 1).await;
    }
}

/// T26: a disk that fills up in the middle of a write may have taken it. Nobody is told that nothing was decided, and what is
/// found after reopening goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_a_full_disk_took_all_the_same_is_in_doubt_and_goes_on() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    cell.script.meet([Fate::FullAfter]);
    let operator = cell.operator().await;
    let refused = operator.start("k").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unknown, "{refused}");
    leads(&cell, 2).await;
    assert_eq!(operator.campaign("k").await.unwrap().state, CampaignState::Running);
}

/// A full disk stalls the cell with a clear message; questions are answered; nothing is lost; it goes on when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_stalls_the_cell_until_there_is_room() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let operator = cell.operator().await;
    operator.start("k").await.unwrap();
    let task = starts(&agent.heard_that(|heard| !starts(heard).is_empty()).await).remove(0);

    cell.script.set_full(true);
    let refused = operator.act(pause()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(advice(&refused).unwrap().contains("free some space"), "{refused}");
    agent.heard_that(|heard| heard.end.is_some()).await;
    let stalled = until(|| operator.cell(), |cell| matches!(cell, Ok(cell) if cell.trouble.is_some())).await;
    assert!(stalled.unwrap().trouble.unwrap().contains("free some space"));
    assert_eq!(operator.campaign("k").await.unwrap().state, CampaignState::Running);
    let again = operator.act(pause()).await.unwrap_err();
    assert!(advice(&again).unwrap().contains("free some space"), "{again}");

    cell.script.set_full(false);
    let mut changes = cell.running.handle().status_changes();
    within(changes.wait_for(|status| matches!(status, Status::Leading { .. }))).await.unwrap();
    // The agent ran its task all the while, and tells so.
    let kind = task.action.kind();
    let running = vec![rientro_wire::session::RunningTask { shard: task.shard, attempt: task.attempt, kind }];
    let agent =
        Agent::connect_as(cell.address(), crate::agent::hello("n1", 1), running, Manner::Diligent).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let end = crate::agent::clean(&task);
    let (shard, attempt) = (task.shard, task.attempt);
    agent.say(rientro_wire::session::AgentMessage::TaskResult { shard, attempt, end }).await;
    until(|| operator.campaign("k"), |view| view.as_ref().unwrap().state == CampaignState::Ended)
        .await
        .unwrap();
}
