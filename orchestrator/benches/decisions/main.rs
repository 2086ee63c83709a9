//! What a cell can decide, keep and forget: durable decisions a second, start from a snapshot, memory, an idle cell, and
//! how fast an abort reaches a hundred agents.
//!
//! `decisions [FOLDER] [SHARDS]`: FOLDER (default: the system's temporary folder) must be on the disk in question; SHARDS
//! is 100,000 unless given. Each figure is printed with the bound it is held against. Parts that measure a whole process run
//! in a process of their own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark measures time, prints, may panic, and looks at the variants that it is about"
)]

mod abort;
mod cell;
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rientro_orchestrator::rig::Rig;

const SHARDS: usize = 100_000;
/// Shards of a run that shows that the benchmark works, and measures nothing: `cargo test` starts it without `--bench`.
const SHARDS_TRIED: usize = 500;

fn main() {
    let (flags, arguments): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    let measured = flags.iter().any(|flag| flag == "--bench");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    match argument(0) {
        Some("start-part") => runtime.block_on(start_part(Path::new(argument(1).unwrap()))),
        Some("abort-part") => runtime.block_on(abort::measure(Path::new(argument(1).unwrap()))),
        folder => {
            let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
            let shards = argument(1)
                .map_or(if measured { SHARDS } else { SHARDS_TRIED }, |shards| shards.parse().unwrap());
            let scratch = tempfile::tempdir_in(folder).unwrap();
            runtime.block_on(throughput(scratch.path(), shards));
            part("start-part", scratch.path());
            let other = tempfile::tempdir_in(scratch.path()).unwrap();
            part("abort-part", other.path());
        }
    }
}

/// Runs a part in a process of its own.
fn part(name: &str, folder: &Path) {
    let status = Command::new(std::env::current_exe().unwrap()).arg(name).arg(folder).status().unwrap();
    assert!(status.success(), "{name} failed");
}

/// A whole campaign by agents in this process, on a real journal; ends with a snapshot of the result.
async fn throughput(folder: &Path, shards: usize) {
    let rig = Rig::start(cell::state(folder), cell::settings(u64::MAX)).await;
    let before = cell::records(&rig).await;
    cell::enrol(&rig, shards).await;
    let met = cell::records(&rig).await;
    let begin = Instant::now();
    let latencies = cell::campaign(&rig).await;
    let took = begin.elapsed();
    let records = cell::records(&rig).await - met;
    let rate = u128::from(records) * 1_000_000 / took.as_micros();
    println!("inventory: {} records", met - before);
    println!(
        "campaign of {shards} shards: {records} durable decisions in {took:.2?}: {rate}/s (bound: at least 50000/s)"
    );
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    println!(
        "from a result's arrival until its outcome is durable and acknowledged: p50 {:.2?}, p99 {:.2?}, most {:.2?} (bound: p99 50 ms)",
        at(50),
        at(99),
        at(100)
    );
    println!("{}", cell::append_figures(&rig.measured()));
    rig.stop().await;
    // A restart that keeps a snapshot of what was decided.
    let rig = Rig::start(cell::state(folder), cell::settings(1)).await;
    cell::snapshot(&rig).await;
    rig.stop().await;
}

/// Start from the snapshot, memory a shard, and an idle cell, in a fresh process.
async fn start_part(folder: &Path) {
    let empty = process::resident_bytes();
    let begin = Instant::now();
    let rig = Rig::start(cell::state(folder), cell::settings(u64::MAX)).await;
    let took = begin.elapsed();
    let shards = cell::shards(&rig).await;
    let grown = process::resident_bytes().saturating_sub(empty);
    println!("start of {shards} shards from a snapshot: {took:.2?} (bound: 2 s)");
    println!(
        "resident memory a shard after the start, journal cache included: {} bytes (bound: 1024)",
        grown / shards
    );
    cell::idle(&rig, shards).await;
    rig.stop().await;
}
