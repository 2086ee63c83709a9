//! Nothing is commanded, answered or shown before it is durable.

use std::time::Duration;

use rientro_orchestrator::{ServeError, Status};
use rientro_types::{Actor, CampaignState, FleetLimits, ShardState, Verb};
use rientro_wire::operator::{ActAnswer, TailedEntry};
use rientro_wire::session::OrchestratorMessage;
use rientro_wire::v1;

use crate::agent::{Agent, Manner, claim};
use crate::cell::{Cell, until, within};

/// The main job, small: shards of two nodes are verified, confirmed and opened in waves; then the campaign ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_runs_from_start_to_end() {
    let cell = Cell::start().await;
    let (one, two) = (
        Agent::connect(cell.address(), "n1", Manner::Diligent).await,
        Agent::connect(cell.address(), "n2", Manner::Diligent).await,
    );
    assert_eq!(one.report(vec![claim("a"), claim("b")]).await.unwrap(), 2);
    assert_eq!(two.report(vec![claim("c"), claim("d")]).await.unwrap(), 2);
    let operator = cell.operator().await;
    assert!(matches!(operator.start("k").await.unwrap(), ActAnswer::Receipt(receipt) if receipt.shards == 4));
    let ended =
        until(|| operator.campaign("k"), |view| view.as_ref().unwrap().state == CampaignState::Ended).await;
    let view = ended.unwrap();
    assert_eq!(view.counts.shards_in(ShardState::Open), 4);
    assert_eq!(view.waves.len(), 2);
}

/// R4, T6: while an append is under way no command is sent, no operator answered, and nothing of it shown.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_before_it_is_durable() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let operator = cell.operator().await;
    let watch = v1::WatchRequest { campaign: None, include_decisions: true };
    let mut watched = within(operator.client.clone().watch(watch)).await.unwrap().into_inner();

    cell.script.shut();
    let asked = operator.start("k");
    tokio::pin!(asked);
    // Polls the request and the journal until the append waits at the gate: the request must not be answered by then.
    tokio::select! {
        biased;
        answered = &mut asked => panic!("answered before it was durable: {answered:?}"),
        () = within(cell.script.append_waits()) => {}
    }
    assert!(agent.started().is_empty(), "commanded before it was durable");

    cell.script.open();
    assert!(matches!(asked.await.unwrap(), ActAnswer::Receipt(_)));
    agent.heard_that(|heard| !crate::agent::starts(heard).is_empty()).await;
    let decided = within(async {
        loop {
            let event = watched.message().await.unwrap().unwrap().event.unwrap();
            if let v1::watch_response::Event::Decided(decided) = event {
                return decided;
            }
        }
    });
    assert!(!decided.await.decisions.is_empty());
}

/// What comes while an append is under way becomes one append together: one durable write carries all of it.
#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_wait_for_an_append_share_the_next_one() {
    const WAITING: u64 = 40;
    let cell = Cell::start().await;
    let operator = cell.operator().await;
    let handle = cell.running.handle();
    let act = |verifies_per_node: u64| {
        let limits = FleetLimits { verifies_per_node: verifies_per_node as u32, ..FleetLimits::default() };
        Box::pin(handle.act(Actor::orchestrator(), Verb::SetLimits { limits }, false, [0; 32]))
    };
    cell.script.shut();
    let mut acts: Vec<_> = (0..=WAITING).map(|no| act(10 + no)).collect();
    begin(&mut acts[0]).await;
    within(cell.script.append_waits()).await;
    for act in &mut acts[1..] {
        begin(act).await;
    }
    assert_eq!(cell.script.appends(), 1, "one append at a time");
    cell.script.open();
    for act in acts {
        assert!(within(act).await.unwrap().is_ok());
    }
    assert_eq!(cell.script.appends(), 2);
    let request = v1::TailJournalRequest { from_seq: 0, follow: false };
    let mut entries = within(operator.client.clone().tail_journal(request)).await.unwrap().into_inner();
    let mut sizes = Vec::new();
    while let Some(entry) = within(entries.message()).await.unwrap() {
        sizes.push(TailedEntry::try_from(entry).unwrap().entry.decisions.len() as u64);
    }
    assert!(sizes.ends_with(&[1, WAITING]), "{sizes:?}");
}

/// Has a request handed in; it must not be answered by that.
async fn begin(act: &mut (impl Future + Unpin)) {
    // A request is handed in when it is first looked at, unless its task has had its turn.
    tokio::task::yield_now().await;
    tokio::select! {
        biased;
        _ = act => panic!("answered before it was durable"),
        () = std::future::ready(()) => {}
    }
}

/// A disk that hangs does not keep the orchestrator for ever: it ends, and says that the last write did not.
#[tokio::test]
async fn an_append_that_hangs_does_not_hold_up_the_end_for_ever() {
    let mut cell = Cell::start().await;
    let operator = cell.operator().await;
    cell.script.shut();
    let limits = FleetLimits { verifies_per_node: 9, ..FleetLimits::default() };
    let asked = tokio::spawn(async move { operator.act(Verb::SetLimits { limits }).await });
    within(cell.script.append_waits()).await;
    cell.running.stop();
    // Nothing else is waited for from here on.
    tokio::time::pause();
    let ended = tokio::time::timeout(Duration::from_secs(3_600), cell.running.ended()).await;
    let ended = ended.expect("it ends").unwrap_err();
    assert!(matches!(ended, ServeError::Unfinished), "{ended}");
    assert!(ended.to_string().contains("did not end within"), "{ended}");
    asked.abort();
}

/// R4, T6: after a restart the state is the one that was acknowledged, and the journal checks out.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_was_acknowledged() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a"), claim("b")]).await.unwrap();
    let operator = cell.operator().await;
    operator.start("k").await.unwrap();
    let campaign = rientro_types::CampaignId::new("k").unwrap();
    operator.act(Verb::Pause { campaign }).await.unwrap();
    let before = operator.campaign("k").await.unwrap();
    drop(agent);

    let cell = cell.restart().await;
    let operator = cell.operator().await;
    let after = operator.campaign("k").await.unwrap();
    assert_eq!((after.state, after.counts), (before.state, before.counts));
    let checked = within(operator.client.clone().verify_journal(v1::VerifyJournalRequest {})).await.unwrap();
    assert!(matches!(checked.into_inner().result, Some(v1::verify_journal_response::Result::Intact(_))));
    let Status::Leading { epoch, .. } = cell.running.handle().status() else { panic!("it leads") };
    assert_eq!(epoch.raw(), 2);
}

/// R8: a pause reaches an agent that runs a task, and an abort cancels it.
#[tokio::test(flavor = "multi_thread")]
async fn pause_and_abort_reach_a_busy_agent() {
    let cell = Cell::start().await;
    let agent = Agent::connect(cell.address(), "n1", Manner::Slow).await;
    agent.report(vec![claim("a")]).await.unwrap();
    let operator = cell.operator().await;
    operator.start("k").await.unwrap();
    agent.heard_that(|heard| !crate::agent::starts(heard).is_empty()).await;
    let campaign = rientro_types::CampaignId::new("k").unwrap();
    for _ in 0..2 {
        operator.act(Verb::Pause { campaign }).await.unwrap();
        operator.act(Verb::Abort { campaign }).await.unwrap();
    }
    let told = |wanted: fn(&OrchestratorMessage) -> bool| {
        move |heard: &crate::agent::Heard| heard.messages.iter().any(wanted)
    };
    agent.heard_that(told(|message| matches!(message, OrchestratorMessage::SuspendCampaign { .. }))).await;
    agent.heard_that(told(|message| matches!(message, OrchestratorMessage::CancelTask { .. }))).await;
}
