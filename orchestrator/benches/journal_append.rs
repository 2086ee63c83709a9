//! Durable batches a second: the embedded journal beside a bare file that is appended to and synced.
//!
//! Both write the same bytes, in turns, in the folder given as the first argument (default: the system's temporary
//! folder, which must be on the disk in question). Figures are medians over the rounds; the ratio is the bare file's rate over the journal's.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, prints, and may panic"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rientro_orchestrator::journal::conformance::{Author, lead};
use rientro_orchestrator::journal::{Append, Journal, RedbJournal, RedbOptions};

const RECORD_BYTES: usize = 80;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(400);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let folder = folder.map_or_else(std::env::temp_dir, Into::into);
    let scratch = tempfile::tempdir_in(&folder).unwrap();
    println!("records a batch | file, batches/s | journal, batches/s | journal, records/s | p99 us | ratio");
    for records in [1, 100, 1_000, 10_000] {
        row(scratch.path(), records).await;
    }
}

async fn row(folder: &Path, records: usize) {
    let mut file = File::create(folder.join(format!("file-{records}"))).unwrap();
    let path = folder.join(format!("journal-{records}.redb"));
    let mut journal = RedbJournal::create(&path, RedbOptions::default()).await.unwrap();
    let mut author = lead(&mut journal).await;
    let batch = vec![0xa5; records * RECORD_BYTES];
    let (mut bare, mut ours, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(file_round(&mut file, &batch));
        ours.push(journal_round(&mut journal, &mut author, records, &batch, &mut latencies).await);
    }
    let (bare, ours, p99) = (at(&mut bare, 50), at(&mut ours, 50), at(&mut latencies, 99));
    let (whole, part) = (bare / ours, bare * 100 / ours % 100);
    println!(
        "{records:15} | {bare:15} | {ours:18} | {:18} | {p99:6} | {whole}.{part:02}",
        ours * records as u64
    );
}

fn file_round(file: &mut File, batch: &[u8]) -> u64 {
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < ROUND {
        file.write_all(batch).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    rate(count, begin.elapsed())
}

async fn journal_round(
    journal: &mut RedbJournal,
    author: &mut Author,
    records: usize,
    batch: &[u8],
    latencies: &mut Vec<u64>,
) -> u64 {
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < ROUND {
        let asked = Instant::now();
        let entry = author.entry(records as u64, batch.to_vec());
        assert!(matches!(journal.append(entry.clone()).await, Append::Durable));
        author.wrote(&entry);
        latencies.push(u64::try_from(asked.elapsed().as_micros()).unwrap());
        count += 1;
    }
    rate(count, begin.elapsed())
}

fn rate(count: u64, took: Duration) -> u64 {
    count * 1_000_000 / u64::try_from(took.as_micros()).unwrap()
}

fn at(figures: &mut [u64], percent: usize) -> u64 {
    figures.sort_unstable();
    figures[(figures.len() - 1) * percent / 100]
}
