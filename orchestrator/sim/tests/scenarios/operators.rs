use std::collections::BTreeMap;

use rientro_sim::names::{self, shard};
use rientro_sim::plans::percent;
use rientro_sim::script::{Script, all};
use rientro_sim::truth::Condition;
use rientro_types::{
    CampaignState, Digest, DomainCap, FleetLimits, Promotion, Record, Schedule, Selector, ShardState, Share,
    Span, Verb, WaveNo, WaveState,
};

use crate::{strict, tolerant};

/// T3, R8: pausing and aborting succeed at once in every state and a second time: while a wave is promoted, while one fails.
#[test]
fn pause_and_abort_always_succeed() {
    let campaign = names::campaign(0);
    let mut s = Script::new(2, 4);
    let mut plan = tolerant();
    plan.waves.schedule = Schedule::List(vec![Share::Shards(2), Share::Rest]);
    plan.waves.promotion = Promotion::Manual;
    s.start(plan);
    s.until("the canary bakes", |s| matches!(s.campaign().waves[0].state, WaveState::Baking { .. }));
    let promote = s.world.ask(Verb::Promote { campaign, wave: WaveNo::from_raw(0) }, false);
    let abort = s.world.ask(Verb::Abort { campaign }, false);
    s.pass(1);
    assert!(s.world.answers[&promote].is_ok() && s.world.answers[&abort].is_ok());
    for verb in [Verb::Abort { campaign }, Verb::Pause { campaign }, Verb::Abort { campaign }] {
        assert!(s.ask(verb).is_ok());
    }
    assert_eq!(s.campaign().state, CampaignState::Aborted);
    s.until("no agent is busy any more", |s| s.world.agents.iter().all(|agent| agent.running.is_empty()));
    s.assert_well();
}

/// T3: a pause while a wave is failing, and a second one, succeed; so does resuming twice.
#[test]
fn a_failing_wave_can_be_paused() {
    let campaign = names::campaign(0);
    let mut s = Script::new(1, 4);
    (0..4).for_each(|at| s.make(shard(at), Condition::Damaged(5)));
    s.start(strict());
    s.until("the first is held", |s| s.count(ShardState::Held) > 0);
    for verb in [
        Verb::Pause { campaign },
        Verb::Pause { campaign },
        Verb::Resume { campaign },
        Verb::Resume { campaign },
    ] {
        assert!(s.ask(verb).is_ok());
    }
    s.assert_well();
}

/// T8: undoing and trying again go ahead while everything is unhealthy: one node is gone, what is on the other is damaged.
#[test]
fn undoing_goes_ahead_while_everything_is_unhealthy() {
    let campaign = names::campaign(0);
    let mut s = Script::new(2, 2);
    let mut plan = tolerant();
    // Held shards end a campaign once its bake is over; this one is to be aborted first.
    plan.waves.bake = Span::from_secs(24 * 3600);
    s.start(plan);
    s.until("all are open", |s| s.count(ShardState::Open) == 4);
    s.cut_off(1);
    s.make(shard(0), Condition::Damaged(5));
    s.make(shard(1), Condition::Unreadable(1));
    s.until("the node counts as silent", |s| s.decided("node-silent") == 1);
    let close = Verb::Close { selector: all(), reason: "the storage is bad".to_owned() };
    assert_eq!(s.ask(close).unwrap().shards, 4);
    assert_eq!(s.count(ShardState::Open), 0);
    let serves = |s: &Script, at: usize| !s.world.agents[at / 2].serves(shard(at)).is_empty();
    s.until("who hears has closed", |s| !serves(s, 0) && !serves(s, 1));
    assert!(serves(&s, 2) && serves(&s, 3), "who is gone cannot have heard");
    assert!(s.ask(Verb::Retry { selector: all() }).is_ok());
    s.until("what is damaged is held", |s| (0..2).all(|at| s.state(shard(at)) == ShardState::Held));
    assert_eq!(s.count(ShardState::Held), 4, "what is asked of a silent node is held at once");
    assert!(s.ask(Verb::Abort { campaign }).is_ok());
    assert_eq!(s.count(ShardState::Closed), 4);
    s.join(1);
    s.until("who is back has closed too", |s| !serves(s, 2) && !serves(s, 3));
    s.assert_well();
}

/// T5: the deadlines of a campaign stand still while it waits for people.
#[test]
fn a_pause_stops_the_deadlines() {
    let campaign = names::campaign(0);
    let mut s = Script::new(1, 2);
    let mut plan = tolerant();
    plan.tries.verify_timeout = Span::from_secs(40);
    s.start(plan);
    s.until("both are read", |s| s.count(ShardState::Verifying) == 2);
    s.ask(Verb::Pause { campaign }).unwrap();
    s.pass(3 * 3600);
    assert_eq!(s.count(ShardState::Verifying), 2, "suspended, not given up");
    s.ask(Verb::Resume { campaign }).unwrap();
    s.until("both are open", |s| s.count(ShardState::Open) == 2);
    assert!(
        (0..2).all(|at| s.shard(shard(at)).attempt.raw() == 2),
        "one verification and one confirmation each"
    );
    s.assert_well();
}

/// T14: what is resumed after part of a wave covers exactly the shards not done, those never tried included.
#[test]
fn a_resumed_wave_does_the_rest() {
    let campaign = names::campaign(0);
    let mut s = Script::new(2, 10);
    s.start(tolerant());
    s.until("some are open", |s| s.count(ShardState::Open) >= 5);
    s.ask(Verb::Pause { campaign }).unwrap();
    s.pass(120);
    let done: BTreeMap<_, _> = (0..20)
        .map(|at| s.shard(shard(at)))
        .filter(|snapshot| snapshot.state() == ShardState::Open)
        .map(|snapshot| (snapshot.shard, snapshot.attempt))
        .collect();
    assert!(done.len() >= 5 && done.len() < 20, "{} were done", done.len());
    s.ask(Verb::Resume { campaign }).unwrap();
    s.until("all are open", |s| s.count(ShardState::Open) == 20);
    for (id, attempt) in done {
        assert_eq!(s.shard(id).attempt, attempt, "{id} was done and is left alone");
    }
    s.assert_well();
}

/// T15: no wave takes more than its part of one rack.
#[test]
fn no_wave_takes_more_than_its_part_of_a_rack() {
    let mut s = Script::new(4, 10);
    let mut plan = tolerant();
    plan.waves.schedule = Schedule::Growth { first: percent(50), percent: 100, max: percent(50) };
    plan.waves.domain_caps = vec![DomainCap { label: names::label("rack"), max: percent(20) }];
    s.start(plan);
    let mut taken: BTreeMap<(WaveNo, usize), usize> = BTreeMap::new();
    for decision in s.world.journal.entries().iter().flat_map(|entry| &entry.decisions) {
        if let Record::WaveFormed { wave, shards, .. } = &decision.record {
            for id in shards {
                let node: usize = id.as_str()[1..].parse::<usize>().unwrap() / 10;
                *taken.entry((*wave, node % 2)).or_default() += 1;
            }
        }
    }
    assert_eq!(taken.values().sum::<usize>(), 40);
    assert!(taken.values().all(|shards| *shards <= 4), "a fifth of twenty: {taken:?}");
    s.until("the campaign ends", |s| s.campaign().state == CampaignState::Ended);
    s.assert_well();
}

/// T17: a changed limit of a running campaign shows in what really runs.
#[test]
fn a_changed_limit_changes_what_runs() {
    let mut s = Script::new(1, 40);
    let limits = |verifies_per_node| FleetLimits { verifies_per_node, ..FleetLimits::default() };
    let most = |s: &mut Script, secs: u64| {
        (0..secs * 5)
            .map(|_| {
                s.world.run_for(Span::from_ms(200));
                s.world.agents[0].running.values().filter(|work| work.is_verification()).count()
            })
            .max()
            .unwrap()
    };
    s.ask(Verb::SetLimits { limits: limits(2) }).unwrap();
    s.start(tolerant());
    assert_eq!(most(&mut s, 30), 2);
    s.ask(Verb::SetLimits { limits: limits(6) }).unwrap();
    assert_eq!(most(&mut s, 30), 6);
    s.ask(Verb::SetLimits { limits: limits(1) }).unwrap();
    s.until("it has drained", |s| s.world.agents[0].running.len() <= 1);
    assert_eq!(most(&mut s, 20), 1);
    assert!(s.ask(Verb::SetLimits { limits: limits(0) }).is_err(), "an error, not a silent change");
    s.assert_well();
}

/// T22: the order of opening does not follow from names, and differs between campaigns that fix no seed.
#[test]
fn the_order_cannot_be_guessed() {
    let order = |seed| {
        let mut s = Script::with_seed(1, 30, seed);
        let mut plan = tolerant();
        plan.seed = None;
        s.start(plan);
        let formed = s.world.journal.entries().iter().flat_map(|entry| &entry.decisions);
        let mut waves = formed.filter_map(|decision| match &decision.record {
            Record::WaveFormed { shards, .. } => Some(shards.clone()),
            _ => None,
        });
        waves.next().unwrap()
    };
    let (one, other) = (order(1), order(2));
    let mut sorted = one.clone();
    sorted.sort_unstable();
    assert_ne!(one, sorted);
    assert_ne!(one, other);
    assert_eq!(one, order(1), "and everything follows from the seed");
}

/// T33: many shards held for one cause are retried, let go by a new plan, closed or accepted by one command: one decision.
#[test]
fn many_held_shards_are_released_by_one_decision() {
    let held = Selector { states: vec![ShardState::Held], ..Selector::default() };
    let mut s = Script::new(2, 50);
    (0..100).for_each(|at| s.make(shard(at), Condition::Damaged(1)));
    s.start(tolerant());
    s.until("all are held", |s| s.count(ShardState::Held) == 100);
    assert_eq!(s.ask(Verb::Retry { selector: held.clone() }).unwrap().shards, 100);
    s.until("all are held again", |s| s.count(ShardState::Held) == 100);
    assert_eq!((s.decided("retried"), s.shard(shard(0)).attempt.raw()), (1, 2));
    let mut lenient = tolerant();
    lenient.policy.damaged_per_million_max = 10_000;
    s.ask(Verb::Start { plan: Box::new(lenient.clone()), source: Digest::ZERO }).unwrap_err();
    s.ask(Verb::Retry { selector: held.clone() }).unwrap();
    s.ask(Verb::Revise { plan: Box::new(lenient), source: Digest::ZERO }).unwrap();
    s.until("all are open", |s| s.count(ShardState::Open) == 100);
    s.ask(Verb::Close { selector: all(), reason: "once more".to_owned() }).unwrap();
    assert_eq!((s.count(ShardState::Closed), s.decided("closed")), (100, 1));
    s.ask(Verb::Revise { plan: Box::new(tolerant()), source: Digest::ZERO }).unwrap();
    s.ask(Verb::Retry { selector: all() }).unwrap();
    s.until("all are held once more", |s| s.count(ShardState::Held) == 100);
    let accept = Verb::Accept { selector: held, reason: "looked at by hand".to_owned() };
    assert_eq!(s.ask(accept).unwrap().shards, 100);
    assert_eq!(s.decided("accepted"), 1);
    s.until("all are open again", |s| s.count(ShardState::Open) == 100);
    s.assert_well();
}
