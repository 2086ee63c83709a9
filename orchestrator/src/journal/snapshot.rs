//! A snapshot is a run of bounded chunks with one digest over all of them.
//!
//! The digest is chained chunk by chunk, and each chunk is stored with the digest up to and including it: a reader finds
//! damage at the chunk that has it, and a reader that stops early knows that it has.

use bytes::Bytes;
use rientro_types::{Digest, Seq, SnapshotPoint};

use super::{Journal, JournalError};

/// Longest chunk of a snapshot, in bytes; bounded like an entry, and for the same reason.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = super::ENTRY_BYTES_MAX;

/// A snapshot being written.
#[derive(Debug)]
pub struct SnapshotDraft {
    head: SnapshotHead,
}

/// A finished snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// Tells this snapshot from all others of the journal.
    pub id: u64,
    /// What it stands for.
    pub point: SnapshotPoint,
    /// Count of its chunks.
    pub chunks: u32,
    /// Bytes in all of them.
    pub bytes: u64,
    /// Digest chained over the chunks.
    pub digest: Digest,
}

const STORED_BYTES: usize = 8 + 8 + 32 + 4 + 8 + 32;

impl SnapshotHead {
    pub(super) fn to_stored(self) -> [u8; STORED_BYTES] {
        let mut stored = [0; STORED_BYTES];
        stored[..8].copy_from_slice(&self.id.to_le_bytes());
        stored[8..16].copy_from_slice(&self.point.seq_next.raw().to_le_bytes());
        stored[16..48].copy_from_slice(self.point.chain.raw());
        stored[48..52].copy_from_slice(&self.chunks.to_le_bytes());
        stored[52..60].copy_from_slice(&self.bytes.to_le_bytes());
        stored[60..].copy_from_slice(self.digest.raw());
        stored
    }

    pub(super) fn from_stored(stored: &[u8]) -> Option<Self> {
        let (id, rest) = stored.split_first_chunk::<8>()?;
        let (seq_next, rest) = rest.split_first_chunk::<8>()?;
        let (chain, rest) = rest.split_first_chunk::<32>()?;
        let (chunks, rest) = rest.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_first_chunk::<8>()?;
        let digest = <[u8; 32]>::try_from(rest).ok()?;
        Some(Self {
            id: u64::from_le_bytes(*id),
            point: SnapshotPoint {
                seq_next: Seq::from_raw(u64::from_le_bytes(*seq_next)),
                chain: Digest::from_raw(*chain),
            },
            chunks: u32::from_le_bytes(*chunks),
            bytes: u64::from_le_bytes(*bytes),
            digest: Digest::from_raw(digest),
        })
    }
}

impl SnapshotDraft {
    pub(super) fn new(id: u64, point: SnapshotPoint) -> Self {
        Self { head: SnapshotHead { id, point, chunks: 0, bytes: 0, digest: Digest::ZERO } }
    }

    /// What it would be if it were finished.
    pub(super) const fn head(&self) -> &SnapshotHead {
        &self.head
    }

    /// The digest after `chunk`, once its size is found right.
    pub(super) fn digest_after(&self, chunk: &Bytes) -> Result<Digest, JournalError> {
        let bytes = chunk.len();
        if bytes == 0 {
            return Err(JournalError::Empty { what: "a snapshot chunk" });
        }
        if bytes > SNAPSHOT_CHUNK_BYTES_MAX {
            let bytes_max = SNAPSHOT_CHUNK_BYTES_MAX;
            return Err(JournalError::TooLarge { what: "a snapshot chunk", bytes, bytes_max });
        }
        Ok(self.head.digest.chained(chunk))
    }

    /// Counts a chunk that is stored.
    pub(super) fn advance(&mut self, digest: Digest, bytes: u64) {
        self.head.chunks = self.head.chunks.saturating_add(1);
        self.head.bytes = self.head.bytes.saturating_add(bytes);
        self.head.digest = digest;
    }
}

/// Reads a snapshot chunk by chunk and checks every one.
#[derive(Debug)]
pub struct SnapshotReader {
    head: SnapshotHead,
    index: u32,
    digest: Digest,
}

impl SnapshotReader {
    /// Begins at the first chunk.
    #[must_use]
    pub const fn new(head: SnapshotHead) -> Self {
        Self { head, index: 0, digest: Digest::ZERO }
    }

    /// The next chunk; `None` after the last one, when the whole was found intact.
    ///
    /// # Errors
    /// [`JournalError::Broken`] when a chunk is damaged, and what [`Journal::snapshot_chunk`] returns.
    pub async fn next<J: Journal>(&mut self, journal: &J) -> Result<Option<Bytes>, JournalError> {
        if self.index == self.head.chunks {
            return self.end();
        }
        let (stored, chunk) = journal.snapshot_chunk(&self.head, self.index).await?;
        self.digest = self.digest.chained(&chunk);
        if self.digest != stored {
            return Err(self.broken(format!("chunk {} of the snapshot is damaged", self.index)));
        }
        self.index += 1;
        Ok(Some(chunk))
    }

    fn end(&self) -> Result<Option<Bytes>, JournalError> {
        if self.digest == self.head.digest {
            return Ok(None);
        }
        Err(self.broken("the snapshot's chunks do not match its digest".to_owned()))
    }

    fn broken(&self, what: String) -> JournalError {
        JournalError::Broken { path: "the snapshot".into(), seq: self.head.point.seq_next, what }
    }
}
