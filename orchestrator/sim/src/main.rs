//! `rientro-sim`: runs many seeds and says what broke.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks through them")]

use std::sync::Arc;

use rientro_engine::Engine;
use rientro_sim::run;
use rientro_sim::world::Config;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let get = |name: &str, default: u64| {
        args.iter().position(|a| a == name).and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (seed, iterations) = (get("--seed", 1), get("--iterations", 1));
    let trace = args.iter().any(|a| a == "--trace");
    let mut bad = 0;
    let mut all = rientro_sim::coverage::Coverage::default();
    for seed in seed..seed + iterations {
        let config = Config {
            seed,
            shards: usize::try_from(get("--shards", 200)).unwrap_or(200),
            make: Arc::new(Engine::new),
            trace,
            scripted: false,
        };
        let outcome = run::run(&config);
        for line in &outcome.trace {
            println!("{line}");
        }
        for violation in &outcome.violations {
            println!("seed {seed}: {violation}");
        }
        bad += u64::from(!outcome.violations.is_empty());
        if iterations < 5 {
            println!(
                "seed {seed}: records {} driven {} faults {:?}",
                outcome.records, outcome.driven, outcome.coverage.faults
            );
        }
        all.add(&outcome.coverage);
    }
    println!("{bad} bad of {iterations}; pairs {}, faults {:?}", all.pairs.count(), all.faults);
}
