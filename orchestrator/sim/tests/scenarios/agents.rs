use rientro_sim::agent::Mood;
use rientro_sim::names::{self, shard};
use rientro_sim::plans::percent;
use rientro_sim::script::{Script, only};
use rientro_types::{
    CampaignState, HeldReason, PauseCause, Phase, Selector, ShardState, Span, TaskFailure, Verb,
};

use crate::{strict, tolerant};

/// T1: an agent that goes silent counts against the wave's error budget at its deadline, not before, and is never fine.
#[test]
fn a_silent_agent_is_lost_at_its_deadline() {
    let mut s = Script::new(2, 4);
    s.start(strict());
    s.cut_off(1);
    s.pass(50);
    assert_eq!(s.decided("node-silent"), 0, "its deadline is a minute");
    s.until("the campaign pauses", |s| {
        matches!(s.campaign().state, CampaignState::Paused(PauseCause::ErrorBudget { .. }))
    });
    for at in 4..8 {
        let held = s.held_by(shard(at));
        assert!(matches!(held, Some(HeldReason::NodeSilent { .. })), "{held:?}");
    }
    let wave = s.campaign().waves[0];
    assert_eq!((wave.mailboxes_lost, s.count(ShardState::Open)), (400, 4));
    s.join(1);
    s.until("the node is heard", |s| s.count(ShardState::Held) == 0);
    s.ask(Verb::Resume { campaign: names::campaign(0) }).unwrap();
    s.until("everything is back", |s| s.count(ShardState::Open) == 8);
    s.assert_well();
}

/// R6, R12: an agent that is heard and cannot write to its disk ends no try and frees no place: its shards are lost at the silence
/// limit, and go on when it can.
#[test]
fn an_agent_that_frees_no_place_is_lost() {
    let mut s = Script::new(2, 6);
    s.start(strict());
    s.pass(1);
    s.world.agents[1].mood = Mood::Stuck;
    s.until("the campaign pauses", |s| {
        matches!(s.campaign().state, CampaignState::Paused(PauseCause::ErrorBudget { .. }))
    });
    let held = (6..12).filter_map(|at| s.held_by(shard(at))).next();
    assert!(matches!(held, Some(HeldReason::NodeStuck { .. })), "{held:?}");
    assert_eq!(s.decided("node-silent"), 0);
    s.world.agents[1].mood = Mood::Honest;
    s.until("a place is free", |s| s.count(ShardState::Held) == 0);
    s.ask(Verb::Resume { campaign: names::campaign(0) }).unwrap();
    s.until("everything is back", |s| s.count(ShardState::Open) == 12);
    s.assert_well();
}

/// T4: an agent that crashes again and again does not start its shard's clock anew: the tries are counted, and run out.
#[test]
fn a_crash_loop_comes_to_an_end() {
    let mut s = Script::new(1, 1);
    let mut plan = tolerant();
    plan.tries.attempts_max = 4;
    plan.tries.backoff_first = Span::ZERO;
    s.world.truth.content_mut(names::volume(1), shard(0)).unwrap().messages = 5_000;
    s.start(plan);
    let mut rounds = 0;
    while s.state(shard(0)) != ShardState::Failed {
        rounds += 1;
        assert!(rounds < 40, "{:?}", s.shard(shard(0)));
        s.pass(8);
        s.restart_agent(0, 1);
        s.pass(8);
    }
    assert_eq!((s.shard(shard(0)).attempt.raw(), s.shard(shard(0)).failures), (4, 4));
    s.assert_well();
}

/// T4: an agent that reports without getting anywhere has stalled; only an advance counts.
#[test]
fn an_agent_without_progress_has_stalled() {
    let mut s = Script::new(1, 1);
    s.start(tolerant());
    s.until("it verifies", |s| s.world.agents[0].running.len() == 1);
    s.world.agents[0].mood = Mood::Slow(u64::MAX);
    s.until("the try is given up", |s| s.state(shard(0)) == ShardState::Backoff);
    assert!(matches!(s.shard(shard(0)).phase, Phase::Backoff { last: TaskFailure::Stalled, .. }));
    s.world.agents[0].mood = Mood::Honest;
    s.until("the next try opens it", |s| s.state(shard(0)) == ShardState::Open);
    s.assert_well();
}

/// Whether the orchestrator has a session of the only node.
fn is_connected(s: &Script) -> bool {
    s.world.engine().is_some_and(|engine| engine.node_views().any(|node| node.connected))
}

/// T4: a session that breaks again and again, under a process that goes on, does not begin the clock of a hung try anew.
#[test]
fn a_flapping_session_does_not_keep_a_hung_try_going() {
    let mut s = Script::new(1, 1);
    s.start(tolerant());
    s.until("it verifies", |s| s.world.agents[0].running.len() == 1);
    s.world.agents[0].mood = Mood::Slow(u64::MAX);
    while s.decided("task-ended") == 0 {
        s.cut_off(0);
        s.until("its session is gone", |s| !is_connected(s));
        s.pass(2);
        s.join(0);
        s.until("it has another one", is_connected);
        s.pass(6);
    }
    let ends: Vec<_> = s.decisions().into_iter().filter(|line| line.contains("task-ended")).collect();
    assert!(ends[0].contains(&TaskFailure::Stalled.to_string()), "{ends:?}");
    assert_eq!(s.decided("node-silent"), 0);
    s.world.agents[0].mood = Mood::Honest;
    s.until("the next try opens it", |s| s.state(shard(0)) == ShardState::Open);
    s.assert_well();
}

/// T9: a result is kept and sent again until it is durable; it counts once, and a retry is a try of its own.
#[test]
fn a_result_survives_until_it_is_durable() {
    let mut s = Script::new(1, 1);
    s.make(shard(0), rientro_sim::truth::Condition::Damaged(3));
    s.start(tolerant());
    s.until("its result is being appended", |s| {
        let batch = s.world.driver.process.as_ref().and_then(|p| p.batch.as_ref());
        !s.world.agents[0].disk.outbox.is_empty() && batch.is_some_and(|batch| batch.entry.is_some())
    });
    s.kill_orchestrator(5, false);
    assert_eq!(s.decided("task-ended"), 0);
    s.until("it is durable and forgotten", |s| {
        s.decided("task-ended") == 1 && s.world.agents[0].disk.outbox.is_empty()
    });
    assert_eq!(s.state(shard(0)), ShardState::Held);
    s.make(shard(0), rientro_sim::truth::Condition::Clean);
    s.ask(Verb::Retry { selector: only(&[shard(0)]) }).unwrap();
    s.until("the retry ran and opened it", |s| s.state(shard(0)) == ShardState::Open);
    s.assert_well();
}

/// T10: one shard that takes for ever never blocks the others inside the budget.
#[test]
fn a_stuck_shard_blocks_no_other() {
    let mut s = Script::new(1, 9);
    let mut plan = tolerant();
    plan.tries.verify_timeout = Span::from_secs(100_000);
    s.world.truth.content_mut(names::volume(1), shard(4)).unwrap().messages = 4_000_000;
    s.start(plan);
    s.until("the others are open", |s| s.count(ShardState::Open) == 8);
    assert_eq!(s.state(shard(4)), ShardState::Verifying);
    s.assert_well();
}

/// T16: several slow nodes at once still lead to a decision on every shard.
#[test]
fn many_slow_nodes_are_decided_on() {
    let mut s = Script::new(5, 3);
    let mut plan = tolerant();
    plan.tries.attempts_max = 2;
    plan.tries.verify_timeout = Span::from_secs(60);
    s.start(plan);
    for host in 0..4 {
        s.world.agents[host].mood = Mood::Slow(50);
    }
    s.until("the campaign ends", |s| s.campaign().state == CampaignState::Ended);
    assert_eq!((s.count(ShardState::Failed), s.count(ShardState::Open)), (12, 3));
    s.assert_well();
}

/// T28: a volume mounted on another node takes its shards along, what they serve included: never two shards, no error storm.
#[test]
fn a_remounted_volume_is_the_same_shards() {
    let mut s = Script::new(2, 4);
    s.start(tolerant());
    s.until("everything is open", |s| s.count(ShardState::Open) == 8);
    let records = s.world.journal.seq_next().raw();
    s.world.truth.volumes.get_mut(&names::volume(1)).unwrap().mounted = [1].into_iter().collect();
    s.world.agents.iter_mut().for_each(|agent| agent.relist = true);
    s.until("they are placed on the other node", |s| {
        (0..4).all(|at| {
            s.shard(shard(at)).placement.node == names::node(1) && s.shard(shard(at)).blocked.is_none()
        })
    });
    s.pass(30);
    assert_eq!(s.count(ShardState::Open), 8, "they stay in service");
    for at in 0..4 {
        assert_eq!(s.world.agents[1].serves(shard(at)), rientro_types::ServiceSet::ALL);
        assert!(s.world.agents[0].serves(shard(at)).is_empty());
    }
    assert!(s.world.journal.seq_next().raw() - records < 30, "a handful of records for each shard");
    s.assert_well();
}

/// T28: a volume that shows on two nodes is contested until somebody settles it.
#[test]
fn a_doubly_claimed_volume_is_contested() {
    let mut s = Script::new(2, 2);
    s.world.truth.volumes.get_mut(&names::volume(1)).unwrap().mounted = [0, 1].into_iter().collect();
    s.world.agents[1].relist = true;
    let contested = |s: &Script, at| matches!(s.held_by(shard(at)), Some(HeldReason::Contested { .. }));
    s.until("both are contested", |s| contested(s, 0) && contested(s, 1));
    let mut plan = tolerant();
    plan.waves.error_budget = percent(100);
    s.start(plan);
    s.until("the others are open", |s| s.count(ShardState::Open) == 2);
    s.world.truth.volumes.get_mut(&names::volume(1)).unwrap().mounted = [1].into_iter().collect();
    let reason = "it is mounted there alone".to_owned();
    let selector = Selector { all: true, ..Selector::default() };
    s.ask(Verb::Settle { selector, node: names::node(1), reason }).unwrap();
    s.until("everything is open", |s| s.count(ShardState::Open) == 4);
    assert_eq!(s.shard(shard(0)).placement.node, names::node(1));
    s.assert_well();
}
