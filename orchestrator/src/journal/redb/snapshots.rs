//! Snapshots in the file: chunks under the draft's number, and one fact that says which number counts.

use bytes::Bytes;
use rientro_types::{Digest, Seq, SnapshotPoint};

use super::errors::corrupt;
use super::store::{Store, lock};
use super::tables::{CHUNKS, ENTRIES, FACTS, SNAPSHOT};
use crate::journal::{JournalError, SealedEntry, SnapshotDraft, SnapshotHead};

impl Store {
    pub(super) fn snapshot_begin(&self, point: SnapshotPoint) -> Result<SnapshotDraft, JournalError> {
        let mut draft = lock(&self.draft);
        let present = self.snapshot()?;
        self.check_point(point, present.as_ref())?;
        let kept = present.map(|s| s.id);
        let id = draft.or(kept).map_or(1, |id| id.saturating_add(1));
        self.write(|txn| {
            // Chunks of drafts that were given up, by this process or by one that was killed.
            txn.open_table(CHUNKS)?.retain(|(of, _), _| Some(of) == kept)?;
            Ok(())
        })?;
        *draft = Some(id);
        Ok(SnapshotDraft::new(id, point))
    }

    pub(super) fn snapshot_add(
        &self,
        head: &SnapshotHead,
        digest: Digest,
        chunk: &Bytes,
    ) -> Result<(), JournalError> {
        let draft = lock(&self.draft);
        if *draft != Some(head.id) {
            return Err(JournalError::SnapshotReplaced);
        }
        self.require_room(chunk.len())?;
        let mut stored = Vec::with_capacity(32 + chunk.len());
        stored.extend_from_slice(digest.raw());
        stored.extend_from_slice(chunk);
        self.write(|txn| {
            txn.open_table(CHUNKS)?.insert((head.id, head.chunks), stored.as_slice())?;
            Ok(())
        })
    }

    pub(super) fn snapshot_finish(&self, head: SnapshotHead) -> Result<SnapshotHead, JournalError> {
        let mut draft = lock(&self.draft);
        if *draft != Some(head.id) {
            return Err(JournalError::SnapshotReplaced);
        }
        if head.chunks == 0 {
            return Err(JournalError::Empty { what: "a snapshot" });
        }
        self.write(|txn| {
            txn.open_table(CHUNKS)?.retain(|(of, _), _| of == head.id)?;
            txn.open_table(FACTS)?.insert(SNAPSHOT, head.to_stored().as_slice())?;
            Ok(())
        })?;
        *draft = None;
        Ok(head)
    }

    pub(super) fn snapshot(&self) -> Result<Option<SnapshotHead>, JournalError> {
        let stored =
            self.view(|txn| Ok(txn.open_table(FACTS)?.get(SNAPSHOT)?.map(|v| v.value().to_vec())))?;
        let Some(stored) = stored else { return Ok(None) };
        let head = SnapshotHead::from_stored(&stored);
        head.map(Some).ok_or_else(|| corrupt(self.path(), "the snapshot's head is damaged"))
    }

    pub(super) fn snapshot_chunk(&self, id: u64, index: u32) -> Result<(Digest, Bytes), JournalError> {
        let stored = self.view(|txn| {
            let chunk = txn.open_table(CHUNKS)?.get((id, index))?;
            Ok(chunk.map(|v| Bytes::copy_from_slice(v.value())))
        })?;
        let Some(mut stored) = stored else { return Err(self.missing_chunk(id, index)) };
        let digest = stored.first_chunk::<32>().copied().map(Digest::from_raw);
        let digest = digest.ok_or_else(|| corrupt(self.path(), "a snapshot chunk is damaged"))?;
        Ok((digest, stored.split_off(32)))
    }

    fn missing_chunk(&self, id: u64, index: u32) -> JournalError {
        match self.snapshot() {
            Err(e) => e,
            Ok(Some(present)) if present.id == id => {
                corrupt(self.path(), &format!("chunk {index} of the snapshot is missing"))
            }
            Ok(_) => JournalError::SnapshotReplaced,
        }
    }

    /// Whether an entry ends exactly at `point`, not before the present snapshot's.
    fn check_point(&self, point: SnapshotPoint, present: Option<&SnapshotHead>) -> Result<(), JournalError> {
        let refuse = |why| Err(JournalError::SnapshotPoint { seq_next: point.seq_next, why });
        if present.is_some_and(|s| point.seq_next < s.point.seq_next) {
            return refuse("the present snapshot is newer");
        }
        let head = self.head()?;
        if point.seq_next == Seq::from_raw(1) {
            return refuse("there is nothing before it");
        }
        let chain = if point.seq_next == head.seq_next {
            Some(head.chain)
        } else {
            self.chain_before(point.seq_next)?
        };
        match chain {
            Some(chain) if chain == point.chain => Ok(()),
            Some(_) => refuse("the journal's digest there is another one"),
            None => refuse("no entry ends there"),
        }
    }

    /// Digest of the entry before the one that begins at `seq`, if one does.
    fn chain_before(&self, seq: Seq) -> Result<Option<Digest>, JournalError> {
        let stored =
            self.view(|txn| Ok(txn.open_table(ENTRIES)?.get(seq.raw())?.map(|v| v.value().to_vec())))?;
        let Some(stored) = stored else { return Ok(None) };
        let entry = SealedEntry::from_stored(&stored).map_err(|what| corrupt(self.path(), what))?;
        Ok(Some(entry.previous()))
    }
}
