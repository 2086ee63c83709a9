//! What every journal must do, as tests that any implementation runs.
//!
//! An implementation writes a [`Lab`] and calls [`journal_conformance!`](crate::journal_conformance) in a test file of its
//! own: every case becomes one test, on a journal of its own.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a case is a test: it panics when the journal is wrong"
)]

pub mod keeping;
pub mod writing;

use std::fs::{self, File};
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rientro_types::{Digest, Epoch, Seq, SnapshotPoint};

use super::{
    Append, BackupContent, BackupSink, Head, Journal, JournalError, SealedEntry, SnapshotReader, backup,
};

/// Where one journal lives during one case.
pub trait Lab: Send + Sync {
    /// The journal under test.
    type Journal: Journal;

    /// Opens the lab's journal, which is empty the first time. Every earlier handle is dropped.
    fn open(&self) -> impl Future<Output = Self::Journal> + Send;

    /// Makes another journal, of this implementation or another, from a backup file.
    fn restore(
        &self,
        backup: &Path,
        epoch_floor: Option<Epoch>,
    ) -> impl Future<Output = Result<Self::Journal, JournalError>> + Send;

    /// A folder for files of the case.
    fn folder(&self) -> &Path;
}

/// Writes one test per case of the suite; the argument makes a new [`Lab`].
#[macro_export]
macro_rules! journal_conformance {
    ($lab:expr) => {
        $crate::journal_conformance!(@cases $lab, writing:
            an_entry_comes_back_as_it_was, a_wrong_sequence_is_refused, a_wrong_digest_is_refused,
            an_empty_entry_is_refused, the_largest_entry_fits, a_handle_that_is_no_writer_cannot_append,
            an_epoch_never_writes_again, an_older_writer_is_fenced, the_fence_outlives_reopening,
            reopening_loses_nothing, a_lost_answer_is_settled_by_the_head, pages_hold_whole_entries_in_order,
            reading_outside_the_journal_is_refused, reading_inside_an_entry_begins_with_it,
            a_reader_follows_the_writer);
        $crate::journal_conformance!(@cases $lab, keeping:
            a_snapshot_is_replaced_whole, an_unfinished_snapshot_changes_nothing,
            a_snapshot_must_stand_for_this_journal, a_chunk_has_bounds, a_trim_needs_a_snapshot,
            trimmed_entries_are_archived_and_verified, trimming_everything_keeps_the_chain,
            a_backup_holds_everything, a_backup_is_consistent_while_appends_go_on,
            a_restored_journal_is_above_every_epoch, a_cut_or_changed_backup_is_refused);
    };
    (@cases $lab:expr, $group:ident: $($case:ident),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            $crate::journal::conformance::$group::$case(&$lab).await;
        }
    )*};
}

/// Writes a chain of entries.
#[derive(Clone, Copy, Debug)]
pub struct Author {
    /// Term it writes in.
    pub epoch: Epoch,
    /// Record that comes next.
    pub seq: Seq,
    /// Digest of its last entry.
    pub chain: Digest,
}

impl Author {
    /// Goes on where `head` ends, in `epoch`.
    #[must_use]
    pub const fn after(head: &Head, epoch: Epoch) -> Self {
        Self { epoch, seq: head.seq_next, chain: head.chain }
    }

    /// The next entry, of `records` records.
    ///
    /// # Panics
    /// When there is no record or the payload is empty or too long.
    #[must_use]
    pub fn entry(&self, records: u64, payload: impl Into<Bytes>) -> SealedEntry {
        let next = Seq::from_raw(self.seq.raw() + records);
        let entry = SealedEntry::new(self.seq, next, self.epoch, self.chain, payload.into());
        entry.expect("a test asks for possible entries")
    }

    /// Counts `entry` as written.
    pub const fn wrote(&mut self, entry: &SealedEntry) {
        self.seq = entry.seq_next();
        self.chain = entry.digest();
    }

    /// What a snapshot of everything written so far stands for.
    #[must_use]
    pub const fn point(&self) -> SnapshotPoint {
        SnapshotPoint { seq_next: self.seq, chain: self.chain }
    }

    /// Appends `count` entries of 1 to 5 records and returns them.
    ///
    /// # Panics
    /// When one is not durable.
    pub async fn write<J: Journal>(&mut self, journal: &mut J, count: u64) -> Vec<SealedEntry> {
        let mut written = Vec::new();
        for _ in 0..count {
            let n = self.seq.raw();
            let text = format!("records from {n} in epoch {} ", self.epoch);
            let entry = self.entry(1 + n % 5, text.repeat(1 + (n % 7) as usize));
            let append = journal.append(entry.clone()).await;
            assert!(matches!(append, Append::Durable), "append at {n}: {append:?}");
            self.wrote(&entry);
            written.push(entry);
        }
        written
    }
}

/// Becomes writer one epoch above the fence.
///
/// # Panics
/// When the journal refuses.
pub async fn lead<J: Journal>(journal: &mut J) -> Author {
    let fence = journal.head().await.expect("a healthy journal has a head").fence;
    let head = journal.become_writer(fence.next()).await.expect("an epoch above the fence may write");
    assert_eq!(head.fence, fence.next());
    Author::after(&head, head.fence)
}

/// Everything that is not archived, from record `from` on, read in pages of `bytes_max`.
///
/// # Panics
/// When a page cannot be read.
pub async fn read_all<J: Journal>(journal: &J, from: Seq, bytes_max: usize) -> Vec<SealedEntry> {
    let mut all: Vec<SealedEntry> = Vec::new();
    loop {
        let next = all.last().map_or(from, SealedEntry::seq_next);
        let page = journal.read(next, bytes_max).await.expect("a page is read");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Takes a snapshot at `point` with these chunks.
///
/// # Panics
/// When the journal refuses.
pub async fn take_snapshot<J: Journal>(journal: &J, point: SnapshotPoint, chunks: &[&'static [u8]]) {
    let mut draft = journal.snapshot_begin(point).await.expect("a snapshot begins");
    for chunk in chunks {
        journal.snapshot_add(&mut draft, Bytes::from_static(chunk)).await.expect("a chunk is taken");
    }
    journal.snapshot_finish(draft).await.expect("a snapshot is finished");
}

/// The present snapshot's point and content.
///
/// # Panics
/// When it is damaged.
pub async fn read_snapshot<J: Journal>(journal: &J) -> Option<(SnapshotPoint, Vec<Bytes>)> {
    let head = journal.snapshot().await.expect("the snapshot's head is read")?;
    let mut reader = SnapshotReader::new(head);
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next(journal).await.expect("the snapshot is intact") {
        chunks.push(chunk);
    }
    Some((head.point, chunks))
}

/// Puts a backup into a file, which gets its name when the backup is whole.
///
/// # Errors
/// What [`backup`] returns.
pub async fn backup_to<J: Journal>(journal: &J, path: &Path) -> Result<BackupContent, JournalError> {
    let unfinished = PathBuf::from(format!("{}.unfinished", path.display()));
    let mut sink = BackupFile(File::create(&unfinished).unwrap());
    let content = backup(journal, &mut sink).await?;
    sink.0.sync_all().unwrap();
    fs::rename(unfinished, path).unwrap();
    Ok(content)
}

struct BackupFile(File);

impl BackupSink for BackupFile {
    type Error = JournalError;

    async fn begin(&mut self, _head: &Head) -> Result<(), JournalError> {
        self.0.set_len(0).and_then(|()| std::io::Seek::rewind(&mut self.0)).unwrap();
        Ok(())
    }

    async fn put(&mut self, bytes: Vec<u8>) -> Result<(), JournalError> {
        self.0.write_all(&bytes).unwrap();
        Ok(())
    }
}
