//! `rientro-sim`: runs many seeds of the simulated cell and says what broke.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks through them")]

use std::process::ExitCode;
use std::sync::Arc;

use rientro_engine::Engine;
use rientro_sim::coverage::{self, Coverage};
use rientro_sim::run::{self, Outcome};
use rientro_sim::world::Config;

const USAGE: &str = "\
Runs seeds of a simulated Rientro cell under faults; exits with 1 when a rule is broken.

usage: rientro-sim [--seed N] [--iterations M] [--shards K] [--threads T] [--trace]
                   [--show-coverage] [--require-coverage]

  --seed N             the first seed (1)
  --iterations M       how many seeds, one after the other (1)
  --shards K           shards of each cell, at least 230 (230)
  --threads T          seeds at once (2)
  --trace              print everything that happens in the run
  --show-coverage      print every pair of state and event that was met, and how often
  --require-coverage   exit with 1 when a fault or a pair of state and event that can be met was not";

/// Kinds of fault on one line of the summary.
const FAULTS_PER_LINE: usize = 3;

/// Lines of a failing run's trace that are shown.
const TRACE_SHOWN: usize = 60;

struct Args {
    seed: u64,
    iterations: u64,
    shards: usize,
    threads: usize,
    trace: bool,
    show_coverage: bool,
    require_coverage: bool,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => run_all(&args),
        Ok(None) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut args = Args {
        seed: 1,
        iterations: 1,
        shards: run::SHARDS,
        threads: 2,
        trace: false,
        show_coverage: false,
        require_coverage: false,
    };
    while let Some(word) = words.next() {
        let mut number = |least: u64| -> Result<u64, String> {
            let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            let value: u64 = text.parse().map_err(|_| format!("{word} needs a number, not {text:?}"))?;
            if value < least { Err(format!("{word} must be at least {least}")) } else { Ok(value) }
        };
        match word.as_str() {
            "--seed" => args.seed = number(0)?,
            "--iterations" => args.iterations = number(1)?,
            "--shards" => {
                args.shards = usize::try_from(number(run::SHARDS as u64)?).map_err(|e| e.to_string())?;
            }
            "--threads" => args.threads = usize::try_from(number(1)?).map_err(|e| e.to_string())?,
            "--trace" => args.trace = true,
            "--show-coverage" => args.show_coverage = true,
            "--require-coverage" => args.require_coverage = true,
            "--help" | "-h" => return Ok(None),
            unknown => return Err(format!("there is no option {unknown}")),
        }
    }
    Ok(Some(args))
}

fn config(args: &Args, seed: u64, trace: bool) -> Config {
    Config { seed, shards: args.shards, make: Arc::new(Engine::new), trace, scripted: false }
}

fn run_all(args: &Args) -> ExitCode {
    #[allow(clippy::disallowed_methods, reason = "the binary measures its own speed; no run reads a clock")]
    let began = std::time::Instant::now();
    let mut total = Total::default();
    run_seeds(args, 0..args.iterations, &mut total);
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    let Total { coverage, seeds, broken, records, driven } = total;
    let per_second = seeds * 10_000 / ms;
    println!(
        "{seeds} seeds in {}.{} s ({}.{} seeds/s), {driven} shards driven, {records} records, {broken} broken",
        ms / 1000,
        ms % 1000 / 100,
        per_second / 10,
        per_second % 10
    );
    if args.show_coverage {
        coverage.pairs.iter().for_each(|((state, what), count)| println!("{count:>9} {what} while {state}"));
    }
    let missing = tell_coverage(&coverage);
    ExitCode::from(u8::from(broken > 0 || (args.require_coverage && missing)))
}

/// What all seeds have met and broken.
#[derive(Default)]
struct Total {
    coverage: Coverage,
    seeds: u64,
    broken: u64,
    records: u64,
    driven: usize,
}

/// Runs the seeds at these places after the first.
fn run_seeds(args: &Args, places: std::ops::Range<u64>, total: &mut Total) {
    let seeds: Vec<u64> = places.map(|at| args.seed.wrapping_add(at)).collect();
    run::run_many(&seeds, args.threads, &|seed| config(args, seed, args.trace), &mut |outcome: Outcome| {
        outcome.trace.iter().for_each(|line| println!("{line}"));
        if !outcome.violations.is_empty() {
            total.broken += 1;
            tell(args, &outcome);
        }
        total.seeds += 1;
        total.coverage.add(&outcome.coverage);
        total.records += outcome.records;
        total.driven += outcome.driven;
    });
}

/// What was broken, the line that repeats it, and what happened last around it.
fn tell(args: &Args, outcome: &Outcome) {
    let seed = outcome.seed;
    for violation in &outcome.violations {
        println!("seed {seed}: {violation}");
    }
    let shards =
        if args.shards == run::SHARDS { String::new() } else { format!(" --shards {}", args.shards) };
    println!("reproduce: rientro-sim --seed {seed} --iterations 1{shards}");
    if args.trace {
        return;
    }
    let shard = outcome.violations.iter().find_map(|violation| violation.shard);
    let again = run::run(&config(args, seed, true));
    let about = |line: &&String| match shard {
        Some(shard) => line.contains(shard.as_str()) && !line.contains("Inventory"),
        None => !line.contains("Inventory") && !line.contains("ClockMarked"),
    };
    let lines: Vec<&String> = again.trace.iter().filter(about).collect();
    for line in lines.iter().skip(lines.len().saturating_sub(TRACE_SHOWN)) {
        println!("  {}", line.chars().take(240).collect::<String>());
    }
}

/// What was met, and what was not; whether something that can be met is missing.
fn tell_coverage(coverage: &Coverage) -> bool {
    println!("faults:");
    for faults in coverage.faults.iter().collect::<Vec<_>>().chunks(FAULTS_PER_LINE) {
        let line: Vec<String> = faults.iter().map(|(kind, count)| format!("{kind:<28} {count:>8}")).collect();
        println!("  {}", line.join("  "));
    }
    println!("events met in each state, of those that have to be:");
    for (state, (met, all)) in coverage::by_state(coverage) {
        println!("  {:<12} {met:>3} of {all}", state.to_string());
    }
    let impossible = coverage.pairs.iter().filter(|(pair, _)| coverage::is_impossible(*pair));
    impossible
        .for_each(|((state, what), _)| println!("met, and held to be impossible: {what} while {state}"));
    let missing = coverage::missing(coverage);
    for what in &missing {
        println!("never met: {what}");
    }
    !missing.is_empty()
}
