//! Numbers and texts taken from the beginning of bytes; `None` where there are too few.

use rientro_types::{Digest, PATH_BYTES_MAX};

/// What is left of bytes that are being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'b>(pub(super) &'b [u8]);

impl<'b> Bytes<'b> {
    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk()?;
        self.0 = left;
        Some(*taken)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::from_raw)
    }

    /// A text of at most [`PATH_BYTES_MAX`] bytes behind its length.
    pub(super) fn text(&mut self) -> Option<&'b [u8]> {
        let count = usize::from(self.array().map(u16::from_le_bytes)?);
        self.skip(count).filter(|_| count <= PATH_BYTES_MAX)
    }
}
