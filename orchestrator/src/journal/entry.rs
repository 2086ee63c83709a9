//! One sealed entry, and the form in which it is stored.
//!
//! Stored form: `check (32) | seq (8) | seq_next (8) | epoch (8) | previous (32) | payload`, integers little-endian.
//! `check` is the digest of the two sequence numbers, the epoch and the entry's own digest; the latter covers `previous`
//! and the payload. A changed bit anywhere in an entry is found when it is read, with one pass over the payload.

use bytes::Bytes;
use rientro_types::{Digest, Epoch, Seq};

use super::JournalError;

/// Longest payload of an entry, in bytes. Below the 1.5 MiB that etcd takes in one request, with room for keys and
/// comparisons.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Bytes before the payload in the stored form.
const HEADER_BYTES: usize = 32 + 8 + 8 + 8 + 32;

/// Records that become durable together, as opaque bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEntry {
    seq: Seq,
    seq_next: Seq,
    epoch: Epoch,
    previous: Digest,
    payload: Bytes,
    digest: Digest,
}

impl SealedEntry {
    /// Seals `payload`, which holds the records from `seq` up to, not including, `seq_next`.
    ///
    /// # Errors
    /// [`JournalError::Empty`] when there is no record or no payload, [`JournalError::TooLarge`] when the payload is
    /// longer than [`ENTRY_BYTES_MAX`].
    pub fn new(
        seq: Seq,
        seq_next: Seq,
        epoch: Epoch,
        previous: Digest,
        payload: Bytes,
    ) -> Result<Self, JournalError> {
        if seq_next <= seq || payload.is_empty() {
            return Err(JournalError::Empty { what: "an entry" });
        }
        if payload.len() > ENTRY_BYTES_MAX {
            return Err(JournalError::TooLarge {
                what: "an entry",
                bytes: payload.len(),
                bytes_max: ENTRY_BYTES_MAX,
            });
        }
        let digest = previous.chained(&payload);
        Ok(Self { seq, seq_next, epoch, previous, payload, digest })
    }

    /// Number of the first record.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Number of the record after the last one.
    #[must_use]
    pub const fn seq_next(&self) -> Seq {
        self.seq_next
    }

    /// Term of the writer.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Digest of the entry before.
    #[must_use]
    pub const fn previous(&self) -> Digest {
        self.previous
    }

    /// Digest of this entry: what the next one carries as `previous`.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The records.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    fn check(&self) -> Digest {
        let mut text = [0; 8 + 8 + 8 + 32];
        text[..8].copy_from_slice(&self.seq.raw().to_le_bytes());
        text[8..16].copy_from_slice(&self.seq_next.raw().to_le_bytes());
        text[16..24].copy_from_slice(&self.epoch.raw().to_le_bytes());
        text[24..].copy_from_slice(self.digest.raw());
        Digest::of(&text)
    }

    /// Length of the stored form.
    pub(super) fn stored_len(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// The stored form.
    pub(super) fn to_stored(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(self.stored_len());
        stored.extend_from_slice(self.check().raw());
        stored.extend_from_slice(&self.seq.raw().to_le_bytes());
        stored.extend_from_slice(&self.seq_next.raw().to_le_bytes());
        stored.extend_from_slice(&self.epoch.raw().to_le_bytes());
        stored.extend_from_slice(self.previous.raw());
        stored.extend_from_slice(&self.payload);
        stored
    }

    /// Reads the stored form, or says what is wrong with it.
    pub(super) fn from_stored(stored: &[u8]) -> Result<Self, &'static str> {
        let (check, rest) = stored.split_first_chunk::<32>().ok_or("the entry is cut short")?;
        let (seq, rest) = rest.split_first_chunk::<8>().ok_or("the entry is cut short")?;
        let (seq_next, rest) = rest.split_first_chunk::<8>().ok_or("the entry is cut short")?;
        let (epoch, rest) = rest.split_first_chunk::<8>().ok_or("the entry is cut short")?;
        let (previous, payload) = rest.split_first_chunk::<32>().ok_or("the entry is cut short")?;
        let entry = Self::new(
            Seq::from_raw(u64::from_le_bytes(*seq)),
            Seq::from_raw(u64::from_le_bytes(*seq_next)),
            Epoch::from_raw(u64::from_le_bytes(*epoch)),
            Digest::from_raw(*previous),
            Bytes::copy_from_slice(payload),
        )
        .map_err(|_| "the entry has an impossible size")?;
        if entry.check().raw() != check {
            return Err("the entry's bytes do not match their digest");
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(payload: &'static [u8]) -> SealedEntry {
        SealedEntry::new(
            Seq::from_raw(5),
            Seq::from_raw(9),
            Epoch::from_raw(3),
            Digest::of(b"before"),
            Bytes::from_static(payload),
        )
        .unwrap()
    }

    /// R11: any changed bit and any cut is found when the entry is read.
    #[test]
    fn every_changed_bit_and_every_cut_is_found() {
        let stored = entry(b"four records").to_stored();
        assert_eq!(SealedEntry::from_stored(&stored), Ok(entry(b"four records")));
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SealedEntry::from_stored(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..stored.len() {
            assert!(SealedEntry::from_stored(&stored[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn an_entry_without_records_or_beyond_the_bound_is_refused() {
        let new = |next, payload| {
            SealedEntry::new(Seq::from_raw(5), Seq::from_raw(next), Epoch::from_raw(1), Digest::ZERO, payload)
        };
        assert!(matches!(new(5, Bytes::from_static(b"x")), Err(JournalError::Empty { .. })));
        assert!(matches!(new(6, Bytes::new()), Err(JournalError::Empty { .. })));
        let long = Bytes::from(vec![0; ENTRY_BYTES_MAX + 1]);
        assert!(matches!(new(6, long), Err(JournalError::TooLarge { .. })));
    }
}
