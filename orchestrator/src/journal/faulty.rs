//! A journal whose answers get lost, for tests of whoever writes to one (T26).

use std::collections::VecDeque;

use bytes::Bytes;
use rientro_types::{Digest, Epoch, Seq, SnapshotPoint};

use super::{Append, Head, Journal, JournalError, SealedEntry, SnapshotDraft, SnapshotHead, Trimmed};

/// What happens to one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It is lost on the way there: nothing is stored.
    LostBefore,
    /// It is stored, and the answer is lost.
    LostAfter,
}

/// Wraps a journal; appends meet the given fates in order, and are answered once those are used up.
#[derive(Debug)]
pub struct FaultyJournal<J> {
    inner: J,
    fates: VecDeque<Fate>,
}

impl<J> FaultyJournal<J> {
    /// Wraps `inner`.
    pub fn new(inner: J, fates: impl IntoIterator<Item = Fate>) -> Self {
        Self { inner, fates: fates.into_iter().collect() }
    }

    /// The journal inside.
    pub fn into_inner(self) -> J {
        self.inner
    }
}

impl<J: Journal> Journal for FaultyJournal<J> {
    fn handle(&self) -> Self {
        Self::new(self.inner.handle(), [])
    }

    async fn become_writer(&mut self, epoch: Epoch) -> Result<Head, JournalError> {
        self.inner.become_writer(epoch).await
    }

    async fn append(&mut self, entry: SealedEntry) -> Append {
        match self.fates.pop_front().unwrap_or(Fate::Answered) {
            Fate::Answered => self.inner.append(entry).await,
            Fate::LostBefore => Append::Unknown("the request was lost".to_owned()),
            Fate::LostAfter => {
                let lost = self.inner.append(entry).await;
                Append::Unknown(format!("an answer was lost: {lost:?}"))
            }
        }
    }

    async fn head(&self) -> Result<Head, JournalError> {
        self.inner.head().await
    }

    async fn read(&self, from: Seq, bytes_max: usize) -> Result<Vec<SealedEntry>, JournalError> {
        self.inner.read(from, bytes_max).await
    }

    async fn read_archived(&self, from: Seq, bytes_max: usize) -> Result<Vec<SealedEntry>, JournalError> {
        self.inner.read_archived(from, bytes_max).await
    }

    async fn snapshot_begin(&self, point: SnapshotPoint) -> Result<SnapshotDraft, JournalError> {
        self.inner.snapshot_begin(point).await
    }

    async fn snapshot_add(&self, draft: &mut SnapshotDraft, chunk: Bytes) -> Result<(), JournalError> {
        self.inner.snapshot_add(draft, chunk).await
    }

    async fn snapshot_finish(&self, draft: SnapshotDraft) -> Result<SnapshotHead, JournalError> {
        self.inner.snapshot_finish(draft).await
    }

    async fn snapshot(&self) -> Result<Option<SnapshotHead>, JournalError> {
        self.inner.snapshot().await
    }

    async fn snapshot_chunk(
        &self,
        snapshot: &SnapshotHead,
        index: u32,
    ) -> Result<(Digest, Bytes), JournalError> {
        self.inner.snapshot_chunk(snapshot, index).await
    }

    async fn trim(&self, before: Seq) -> Result<Trimmed, JournalError> {
        self.inner.trim(before).await
    }
}
