use rientro_sim::names::{self, shard};
use rientro_sim::script::{Script, only};
use rientro_sim::truth::Condition;
use rientro_types::{CampaignState, Schedule, ShardState, Share, Span, Verb};

use crate::tolerant;

/// The whole return of four shards in two waves, one of them damaged and accepted.
#[test]
fn a_small_return() {
    let mut s = Script::new(2, 2);
    s.make(shard(2), Condition::Damaged(4));
    let mut plan = tolerant();
    plan.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Rest]);
    s.start(plan);
    s.until("the damaged one is held", |s| s.state(shard(2)) == ShardState::Held);
    let reason = "four messages; the customers know".to_owned();
    s.ask(Verb::Accept { selector: only(&[shard(2)]), reason }).unwrap();
    s.until("the campaign ends", |s| s.campaign().state == CampaignState::Ended);
    s.assert_well();
    insta::assert_snapshot!(s.decisions().join("\n"));
}

/// A node dies in the middle, and the orchestrator too; the campaign is aborted.
#[test]
fn a_return_given_up() {
    let mut s = Script::new(2, 2);
    let mut plan = tolerant();
    plan.waves.bake = Span::from_secs(600);
    s.start(plan);
    s.pass(3);
    s.restart_agent(1, 100_000);
    s.until("it is silent", |s| s.count(ShardState::Held) == 2);
    s.kill_orchestrator(30, true);
    s.until("a leader", |s| s.engine_leads());
    s.ask(Verb::Abort { campaign: names::campaign(0) }).unwrap();
    s.pass(10);
    s.assert_well();
    insta::assert_snapshot!(s.decisions().join("\n"));
}
