//! Keeps the journal short: snapshots, and entries moved to the archive.
//!
//! A snapshot is made by a second engine that loads the journal exactly as a restart would, beside the one that leads. It
//! costs the leader nothing but the disk, and every snapshot proves that a restart works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use rientro_engine::Engine;
use rientro_types::SnapshotPoint;
use rientro_wire::codec;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{DriverSettings, LeadError, lead};
use crate::journal::{Journal, SNAPSHOT_CHUNK_BYTES_MAX};
use crate::metrics::Metrics;

/// Snapshot bytes gathered before they are written: far below the largest chunk, so that a record that is larger than the
/// rest still fits, and an append never waits long behind one.
const CHUNK_BYTES: usize = SNAPSHOT_CHUNK_BYTES_MAX / 4;

/// Begins a snapshot when enough has happened since the last one.
pub(super) struct Keeper<J> {
    every: u64,
    since: u64,
    busy: Arc<AtomicBool>,
    metrics: Metrics,
    journal: std::marker::PhantomData<fn() -> J>,
}

impl<J: Journal> Keeper<J> {
    pub(super) fn new(settings: &DriverSettings, replayed: u64, metrics: Metrics) -> Self {
        Self {
            every: settings.snapshot_every_records,
            since: replayed,
            busy: Arc::default(),
            metrics,
            journal: std::marker::PhantomData,
        }
    }

    /// Counts durable records.
    pub(super) fn count(
        &mut self,
        records: u64,
        journal: &J,
        tracker: &TaskTracker,
        over: &CancellationToken,
    ) {
        self.since += records;
        if self.since < self.every || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        self.since = 0;
        let (journal, over, busy) = (journal.handle(), over.clone(), Arc::clone(&self.busy));
        let metrics = self.metrics.clone();
        tracker.spawn(async move {
            // Cancel-safe: a draft that is never finished changes nothing, and a trim is done file by file.
            tokio::select! {
                () = over.cancelled() => {}
                kept = keep(&journal) => match kept {
                    Ok(()) => { metrics.snapshots.inc(); }
                    Err(error) => tracing::warn!(%error, "no snapshot was made; the journal grows until one is"),
                },
            }
            busy.store(false, Ordering::Release);
        });
    }
}

/// Makes a snapshot of everything in the journal and moves what it stands for to the archive.
async fn keep<J: Journal>(journal: &J) -> Result<(), LeadError> {
    let lead::Replay { engine, chain, .. } = lead::load(journal).await?;
    let point = SnapshotPoint { seq_next: engine.seq_next(), chain };
    let mut draft = journal.snapshot_begin(point).await?;
    let (chunks_in, mut chunks) = tokio::sync::mpsc::channel(2);
    let cutting = tokio::task::spawn_blocking(move || cut(&engine, &chunks_in));
    while let Some(chunk) = chunks.recv().await {
        journal.snapshot_add(&mut draft, chunk).await?;
    }
    cutting.await.map_err(|error| LeadError::Abnormal(error.to_string()))?;
    journal.snapshot_finish(draft).await?;
    let trimmed = journal.trim(point.seq_next).await?;
    tracing::info!(seq = %point.seq_next, archived_entries = trimmed.entries, "snapshot taken");
    Ok(())
}

/// Cuts the engine's durable state into chunks; stops when nobody takes them.
fn cut(engine: &Engine, chunks: &tokio::sync::mpsc::Sender<Bytes>) {
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES * 2);
    for record in engine.snapshot() {
        let bytes = codec::encode_snapshot_record(&record);
        let len = u32::try_from(bytes.len()).expect("a snapshot record is bounded far below 4 GiB");
        let full = !chunk.is_empty() && chunk.len() + 4 + bytes.len() > SNAPSHOT_CHUNK_BYTES_MAX;
        if full && chunks.blocking_send(chunk.split().freeze()).is_err() {
            return;
        }
        chunk.extend_from_slice(&len.to_le_bytes());
        chunk.extend_from_slice(&bytes);
        if chunk.len() >= CHUNK_BYTES && chunks.blocking_send(chunk.split().freeze()).is_err() {
            return;
        }
    }
    if !chunk.is_empty() {
        // Whoever takes the chunks has failed, and says so.
        let _gone = chunks.blocking_send(chunk.freeze());
    }
}
