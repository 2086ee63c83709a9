//! The append-only, hash-chained log of every decision: the only source of truth.
//!
//! A journal keeps *sealed* entries. It knows their sequence numbers, their epochs and the chain of digests that ties each
//! one to the entry before; what is inside the payload is none of its business. It decides three things: whether a handle
//! may still write (the fence: an epoch once passed never writes again), whether an entry is the one that comes next, and
//! whether an append is durable. It never decides time, never repairs a broken chain, and never tries again by itself: a
//! caller that hears anything but [`Append::Durable`] must look at what is stored before it goes on.
//!
//! [`RedbJournal`] is the embedded implementation. What every implementation must do is written down as a test suite in
//! `conformance`.

mod archive;
mod backup;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod entry;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod faulty;
mod files;
mod frame;
mod redb;
mod room;
mod snapshot;
mod verify;

use std::future::Future;

use bytes::Bytes;
use rientro_types::{Digest, Epoch, Seq, SnapshotPoint};

pub(crate) use backup::first_entry;
pub use backup::{BackupContent, BackupSink, Restored, backup, check_backup};
pub use entry::{ENTRY_BYTES_MAX, SealedEntry};
pub use error::{JournalError, Recourse};
pub use redb::{RedbJournal, RedbOptions};
pub use room::Room;
pub(crate) use room::full;
pub use snapshot::{SNAPSHOT_CHUNK_BYTES_MAX, SnapshotDraft, SnapshotHead, SnapshotReader};
pub use verify::{Break, Verified, verify};

/// Most bytes of payload that one call of [`Journal::read`] is asked for by this room's own loops. One page holds a few
/// entries of the largest size, so that paging costs little and memory stays bounded.
pub const PAGE_BYTES: usize = 4 * ENTRY_BYTES_MAX;

/// Where a journal ends, and who may write on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the record that comes next; 1 for an empty journal.
    pub seq_next: Seq,
    /// Digest of the last entry; [`Digest::ZERO`] for an empty journal.
    pub chain: Digest,
    /// The highest epoch that ever became writer. A handle of a lower epoch is fenced.
    pub fence: Epoch,
    /// Number of the first record that is still read with [`Journal::read`]; those before it are archived.
    pub first: Seq,
}

/// What became of an entry whose append was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is the last entry: treat it as durable.
    Stored,
    /// It is not stored and still comes next: append it again.
    NotStored,
    /// The journal went another way: rebuild by replay.
    Superseded,
}

impl Head {
    /// Compares the journal's end, read *after* an append of `entry` answered [`Append::Unknown`], with the entry.
    #[must_use]
    pub fn settle(&self, entry: &SealedEntry) -> Settled {
        if (self.seq_next, self.chain) == (entry.seq_next(), entry.digest()) {
            Settled::Stored
        } else if (self.seq_next, self.chain) == (entry.seq(), entry.previous())
            && self.fence == entry.epoch()
        {
            Settled::NotStored
        } else {
            Settled::Superseded
        }
    }
}

/// What became of an append.
#[must_use]
#[derive(Debug)]
pub enum Append {
    /// The entry is durable.
    Durable,
    /// Somebody else became writer. The entry is not stored, and no later one of this handle will be.
    Fenced {
        /// The epoch that writes.
        by: Epoch,
    },
    /// No answer came: the entry may be stored or not. Read [`Journal::head`] and compare before anything else.
    Unknown(String),
    /// The append failed. When the error came from the storage, the entry may still be found after reopening: drop the
    /// handle, open the journal again and replay.
    Failed(JournalError),
}

/// What a trim has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Entries moved to the archive.
    pub entries: u64,
    /// Number of the first record still in the journal itself.
    pub first: Seq,
}

/// A durable, fenced, hash-chained log with one snapshot beside it.
///
/// One handle may write; any number read at the same time. Methods that take `&self` may be called while an append of another
/// handle is under way.
///
/// # Cancel safety
/// A future that is dropped may or may not have had its effect. After a dropped append, read [`Journal::head`].
pub trait Journal: Send + Sync + Sized + 'static {
    /// Another handle on the same journal, for reading, snapshots, trimming and backup. It is not a writer.
    #[must_use]
    fn handle(&self) -> Self;

    /// Makes this handle the writer at `epoch`, durably: every handle of a lower epoch is fenced from here on.
    ///
    /// # Errors
    /// [`JournalError::Fenced`] unless `epoch` is above the highest one that ever became writer; storage errors.
    fn become_writer(&mut self, epoch: Epoch) -> impl Future<Output = Result<Head, JournalError>> + Send;

    /// Appends one entry, durably, if it is the one that comes next and this handle may write.
    fn append(&mut self, entry: SealedEntry) -> impl Future<Output = Append> + Send;

    /// Where the journal ends.
    ///
    /// # Errors
    /// Storage errors.
    fn head(&self) -> impl Future<Output = Result<Head, JournalError>> + Send;

    /// Entries in order, beginning with the one that holds record `from`: at least one unless `from` is the journal's
    /// end, and no further one once `bytes_max` bytes of payload are reached. Links between the returned entries are checked.
    ///
    /// # Errors
    /// [`JournalError::Trimmed`] when `from` is archived, [`JournalError::Beyond`] when it is after the end,
    /// [`JournalError::Broken`] when the first entry asked for is damaged (the intact ones before a damaged entry are
    /// returned first); storage errors.
    fn read(
        &self,
        from: Seq,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Vec<SealedEntry>, JournalError>> + Send;

    /// As [`Journal::read`], from the archive: entries that were trimmed.
    ///
    /// # Errors
    /// [`JournalError::Broken`] when an archive file is damaged or missing; storage errors.
    fn read_archived(
        &self,
        from: Seq,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Vec<SealedEntry>, JournalError>> + Send;

    /// Begins a snapshot that stands for all entries up to `point`. Only one draft exists at a time: an older one is
    /// given up, and a draft that is never finished changes nothing.
    ///
    /// # Errors
    /// [`JournalError::SnapshotPoint`] unless an entry of this journal ends exactly at `point`, at or after the
    /// present snapshot's; storage errors.
    fn snapshot_begin(
        &self,
        point: SnapshotPoint,
    ) -> impl Future<Output = Result<SnapshotDraft, JournalError>> + Send;

    /// Adds the next chunk, of 1 to [`SNAPSHOT_CHUNK_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`] or [`JournalError::Empty`] for a chunk of the wrong size,
    /// [`JournalError::SnapshotReplaced`] when the draft was given up; storage errors.
    fn snapshot_add(
        &self,
        draft: &mut SnapshotDraft,
        chunk: Bytes,
    ) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Puts the draft in the place of the present snapshot, at once and durably.
    ///
    /// # Errors
    /// [`JournalError::SnapshotReplaced`] when the draft was given up; storage errors.
    fn snapshot_finish(
        &self,
        draft: SnapshotDraft,
    ) -> impl Future<Output = Result<SnapshotHead, JournalError>> + Send;

    /// The present snapshot, if there is one. Its content is read with [`SnapshotReader`].
    ///
    /// # Errors
    /// Storage errors.
    fn snapshot(&self) -> impl Future<Output = Result<Option<SnapshotHead>, JournalError>> + Send;

    /// One chunk of a snapshot, with the digest chained up to and including it.
    ///
    /// # Errors
    /// [`JournalError::SnapshotReplaced`] when another snapshot took its place; storage errors.
    fn snapshot_chunk(
        &self,
        snapshot: &SnapshotHead,
        index: u32,
    ) -> impl Future<Output = Result<(Digest, Bytes), JournalError>> + Send;

    /// Moves whole entries before record `before` to the archive: they are durable there before they leave the journal.
    ///
    /// # Errors
    /// [`JournalError::NotCovered`] unless the present snapshot stands for everything before `before`; storage errors.
    fn trim(&self, before: Seq) -> impl Future<Output = Result<Trimmed, JournalError>> + Send;
}
