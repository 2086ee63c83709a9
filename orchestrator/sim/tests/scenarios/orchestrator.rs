use rientro_sim::driver::Fate;
use rientro_sim::names::{self, shard};
use rientro_sim::script::{Script, all};
use rientro_types::{CampaignState, HeldReason, Schedule, ServiceSet, ShardState, Share, Verb};

use crate::tolerant;

fn two_waves() -> rientro_types::Plan {
    let mut plan = tolerant();
    plan.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Rest]);
    plan
}

/// Whether an append is under way after so many entries.
fn appending_after(s: &Script, entries: usize) -> bool {
    let batch = s.world.driver.process.as_ref().and_then(|process| process.batch.as_ref());
    s.world.journal.entries().len() == entries && batch.is_some_and(|batch| batch.entry.is_some())
}

fn finish(mut s: Script) -> usize {
    s.until("the campaign ends", |s| s.campaign().state == CampaignState::Ended);
    s.pass(60);
    assert_eq!(s.count(ShardState::Open), 4);
    for at in 0..4 {
        assert_eq!(s.world.agents[at / 2].serves(shard(at)), ServiceSet::ALL);
    }
    s.assert_well();
    s.world.journal.entries().len()
}

/// T6: the orchestrator is killed at every single append, before and after it is durable: no decision is lost, no try runs
/// twice, and the outcome is the same.
#[test]
fn killed_at_every_step() {
    let mut whole = Script::new(2, 2);
    let first = whole.world.journal.entries().len();
    whole.start(two_waves());
    let entries = finish(whole);
    assert!(entries >= first + 12, "{entries} entries are too few to mean anything");
    for at in first..entries {
        for durable in [false, true] {
            let mut s = Script::new(2, 2);
            let request = s
                .world
                .ask(Verb::Start { plan: Box::new(two_waves()), source: rientro_types::Digest::ZERO }, false);
            s.until("that append", |s| appending_after(s, at) || s.world.journal.entries().len() > at);
            s.kill_orchestrator(2, durable);
            s.until("a leader", |s| s.engine_leads());
            if s.decided("campaign-started") == 0 {
                assert!(!s.world.answers.contains_key(&request), "nobody was told of what is lost");
                s.start(two_waves());
            }
            finish(s);
        }
    }
}

/// T26: an append whose answer is lost, durable or not, leaves memory, journal and commands in agreement.
#[test]
fn a_lost_answer_is_looked_up() {
    for fate in [Fate::LostAnswer, Fate::LostAppend, Fate::Failed] {
        let mut s = Script::new(2, 2);
        s.start(two_waves());
        for _ in 0..4 {
            s.pass(4);
            s.next_append(fate);
        }
        finish(s);
    }
}

/// T27: the orchestrator was gone for an hour: no deadline fires for time in which nobody listened.
#[test]
fn an_hour_away_is_charged_to_nobody() {
    let mut s = Script::new(2, 2);
    s.start(two_waves());
    s.until("all are read", |s| s.count(ShardState::Verifying) == 4);
    s.kill_orchestrator(3600, false);
    s.pass(3590);
    s.until("a leader", |s| s.engine_leads());
    s.until("the canary opens", |s| s.count(ShardState::Open) > 0);
    assert_eq!((s.decided("absent"), s.decided("node-silent")), (1, 0));
    assert!((0..4).all(|at| s.shard(shard(at)).failures == 0));
    finish(s);
}

/// T27: the next leader's clock is two hours ahead, or behind.
#[test]
fn a_wrong_clock_is_charged_to_nobody() {
    for ahead in [7_200_000, -120_000] {
        let mut s = Script::new(2, 2);
        s.start(two_waves());
        s.until("all are read", |s| s.count(ShardState::Verifying) == 4);
        s.world.driver.clock_ahead_ms = ahead;
        s.kill_orchestrator(1, true);
        s.until("a leader", |s| s.engine_leads());
        s.until("the canary opens", |s| s.count(ShardState::Open) > 0);
        assert_eq!(s.decided("node-silent"), 0);
        assert!((0..4).all(|at| s.shard(shard(at)).failures == 0));
        finish(s);
    }
}

/// T29: an older journal begins a new life of the cell and holds every disagreement with what agents serve for a person.
#[test]
fn a_restored_journal_waits_for_a_person() {
    let mut s = Script::new(2, 2);
    let backup = s.world.journal.entries().len();
    s.start(tolerant());
    s.until("all are open", |s| s.count(ShardState::Open) == 4);
    s.restore(backup);
    s.until("a leader", |s| s.engine_leads());
    let held = |s: &Script, at| {
        let expected = HeldReason::Disagreement { journal: ServiceSet::NONE, node: ServiceSet::ALL };
        s.held_by(shard(at)) == Some(expected)
    };
    s.until("every shard is held", |s| (0..4).all(|at| held(s, at)));
    s.pass(120);
    for at in 0..4 {
        assert_eq!(s.world.agents[at / 2].serves(shard(at)), ServiceSet::ALL, "nothing is closed unasked");
    }
    let cell = s.world.engine().unwrap().cell_view().unwrap();
    assert!(cell.incarnation.raw() > 1 && cell.epoch.raw() > 1);
    let life = cell.incarnation.raw();
    let first = rientro_sim::script::only(&[shard(0), shard(1)]);
    let reason = || "looked at by hand".to_owned();
    s.ask(Verb::Adopt { selector: first, services: ServiceSet::ALL, reason: reason() }).unwrap();
    s.ask(Verb::Close { selector: rientro_sim::script::only(&[shard(2), shard(3)]), reason: reason() })
        .unwrap();
    s.until("agents do what was decided", |s| s.world.agents[1].serves(shard(2)).is_empty());
    s.pass(5);
    assert_eq!((s.count(ShardState::Open), s.count(ShardState::Closed)), (2, 2));
    s.ask(Verb::Start { plan: Box::new(tolerant()), source: rientro_types::Digest::ZERO }).unwrap();
    s.until("the rest is open", |s| s.count(ShardState::Open) == 4);
    assert!(s.shard(shard(2)).attempt.raw() > life, "no attempt of the lost time is used again");
    drop(s.ask(Verb::Close { selector: all(), reason: reason() }));
    s.assert_well();
}

/// T29: one backup is restored twice, and the clock is set back in between: the second life is above the first one, of which the
/// backup does not tell, and agents obey it.
#[test]
fn a_second_life_is_above_the_first_by_any_clock() {
    let mut s = Script::new(2, 2);
    let backup = s.world.journal.entries().len();
    let mut lives = Vec::new();
    for ahead in [0, -120_000] {
        s.world.driver.clock_ahead_ms = ahead;
        s.restore(backup);
        s.until("a leader", |s| s.engine_leads());
        s.pass(30);
        lives.push(s.world.engine().unwrap().cell_view().unwrap().incarnation);
    }
    assert!(lives[0] < lives[1], "{lives:?}");
    s.start(tolerant());
    s.until("all are open", |s| s.count(ShardState::Open) == 4);
    finish(s);
}

/// T6, R5: what a dead leader sent late is refused: its term is over.
#[test]
fn a_late_order_of_a_dead_leader_is_refused() {
    let mut s = Script::new(1, 1);
    s.start(tolerant());
    s.until("it is open", |s| s.count(ShardState::Open) == 1);
    let served = s.world.agents[0].disk.served[&shard(0)];
    s.kill_orchestrator(1, true);
    s.until("a leader", |s| s.engine_leads());
    s.ask(Verb::Pause { campaign: names::campaign(0) }).unwrap();
    s.ask(Verb::Close { selector: all(), reason: "again".to_owned() }).unwrap();
    s.until("it is closed there", |s| s.world.agents[0].serves(shard(0)).is_empty());
    s.deliver_late(
        0,
        served.1,
        rientro_engine::OrderKind::Serve { shard: shard(0), services: ServiceSet::ALL },
    );
    assert!(s.world.agents[0].serves(shard(0)).is_empty());
    assert_eq!(s.world.agents[0].refused, 1);
    s.assert_well();
}
