//! Runs of one seed, and of many.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use rientro_types::Span;

use crate::coverage::Coverage;
pub use crate::monitor::Violation;
use crate::names;
use crate::truth::{Condition, Content, Volume};
use crate::world::{Config, Happening, World};

/// Shards of a run unless told otherwise, and at least.
///
/// Some are in service from the start and never in a campaign: a few in a hundred.
pub const SHARDS: usize = 230;
/// Shards that every run drives through a campaign.
pub const DRIVEN_MIN: usize = 200;
/// Kinds of fault that strike in every run; what they lead to is not counted.
pub const FAULTS_MIN: usize = 3;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Rules that were broken; empty when all is well.
    pub violations: Vec<Violation>,
    /// What it met.
    pub coverage: Coverage,
    /// Journal records.
    pub records: u64,
    /// Shards that were in a campaign.
    pub driven: usize,
    /// The trace, if one was kept.
    pub trace: Vec<String>,
}

/// Runs one seed from beginning to end.
#[must_use]
pub fn run(config: &Config) -> Outcome {
    let whole = catch_unwind(AssertUnwindSafe(|| run_world(config)));
    whole.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        let violation = Violation {
            rule: "panic".to_owned(),
            shard: None,
            found: text,
            at: rientro_types::CellTime::from_unix_ms(crate::world::EPOCH_MS),
        };
        Outcome {
            seed: config.seed,
            violations: vec![violation],
            coverage: Coverage::default(),
            records: 0,
            driven: 0,
            trace: Vec::new(),
        }
    })
}

/// Runs many seeds, so many at once, and hands the outcomes over in the order of the seeds.
pub fn run_many(
    seeds: &[u64],
    threads: usize,
    config: &(dyn Fn(u64) -> Config + Sync),
    each: &mut dyn FnMut(Outcome),
) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(threads * 2);
        for _ in 0..threads {
            let (send, next) = (send.clone(), &next);
            scope.spawn(move || {
                while let Some((at, seed)) = claim(next, seeds) {
                    if send.send((at, run(&config(seed)))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (at, outcome) in receive {
            early.insert(at, outcome);
            while let Some(outcome) = early.remove(&due) {
                each(outcome);
                due += 1;
            }
        }
    });
}

fn claim(next: &AtomicUsize, seeds: &[u64]) -> Option<(usize, u64)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    seeds.get(at).map(|seed| (at, *seed))
}

fn run_world(config: &Config) -> Outcome {
    let mut world = World::new(config);
    populate(&mut world, config.shards);
    world.after(20_000, Happening::Fault);
    world.after(15_000, Happening::Operator);
    let safety = Span::from_secs(world.rng.between(600, 2_400));
    world.run_for(safety);
    if !world.monitor.fatal {
        world.heal();
        world.live_out();
    }
    finish(config, world)
}

fn finish(config: &Config, mut world: World) -> Outcome {
    if let Some(seq) = world.journal.broken_at() {
        world.monitor.broken("R11", None, format!("the chain is broken at record {seq}"));
    }
    let driven = world.driven();
    let kinds = world.coverage.kinds_struck();
    if world.violations().is_empty() && (driven < DRIVEN_MIN || kinds < FAULTS_MIN) {
        world.monitor.broken(
            "harness",
            None,
            format!("{driven} shards were driven, {kinds} kinds of fault struck"),
        );
    }
    let mut coverage = std::mem::take(&mut world.coverage);
    coverage.pairs = std::mem::take(&mut world.monitor.seen);
    Outcome {
        seed: config.seed,
        driven,
        records: world.journal.seq_next().raw() - 1,
        violations: std::mem::take(&mut world.monitor.violations),
        coverage,
        trace: world.trace.take().unwrap_or_default().into(),
    }
}

/// Nodes, volumes and shards of a run.
fn populate(world: &mut World, shards: usize) {
    let nodes = usize::try_from(world.rng.between(3, 8)).unwrap_or(3);
    for at in 0..nodes {
        let (rack, array) = (format!("r{}", at % 3), format!("a{}", at % 2));
        world.add_agent(names::node(at), &[("rack", &rack), ("array", &array)]);
    }
    let volumes = nodes * usize::try_from(world.rng.between(2, 4)).unwrap_or(2);
    for at in 0..volumes {
        world.volumes += 1;
        let volume = Volume { mounted: [at % nodes].into_iter().collect(), ..Volume::default() };
        world.truth.volumes.insert(names::volume(world.volumes), volume);
    }
    for at in 0..shards {
        let content = content(&mut world.rng);
        let volume = names::volume(1 + at % volumes);
        let shard = names::shard(at);
        if world.rng.percent(2) {
            in_service(world, (at % volumes) % nodes, shard);
        }
        if let Some(on) = world.truth.volumes.get_mut(&volume) {
            on.shards.insert(shard, content);
        }
    }
}

/// A shard that was in service before anyone asked.
fn in_service(world: &mut World, host: usize, shard: rientro_types::ShardId) {
    let order = rientro_types::Order {
        cell: names::cell(),
        incarnation: rientro_types::Incarnation::from_raw(0),
        epoch: rientro_types::Epoch::from_raw(0),
        seq: rientro_types::Seq::from_raw(0),
    };
    world.agents[host].disk.served.insert(shard, (rientro_types::ServiceSet::ALL, order));
}

fn content(rng: &mut crate::rng::Rng) -> Content {
    let condition = match rng.below(100) {
        0..=86 => Condition::Clean,
        87..=90 => Condition::Damaged(rng.between(1, 20)),
        91..=92 => Condition::Broken(rng.between(1, 2)),
        93..=96 => Condition::Unreadable(1),
        _ => Condition::Empty,
    };
    Content {
        mailboxes: rng.between(1, 200),
        newcomers: 0,
        messages: rng.between(5, 1_200),
        condition,
        generation: 0,
        present: true,
    }
}
