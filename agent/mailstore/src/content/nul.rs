//! Runs of NUL bytes: what a lost block of a disk leaves in a file.
//!
//! A run of at least 512 bytes covers at least one byte whose position is 511 modulo 512, so looking at every 512th byte
//! finds all of them; only around a hit is the run measured. This makes the search free beside reading.

/// Shortest run that is reported. Mail has no NUL at all; binary attachments sent unencoded have short runs.
pub(crate) const RUN_BYTES_MIN: u64 = 512;

/// The unit in which file systems lose content.
pub(crate) const BLOCK_BYTES: u64 = 4096;

/// What was found, over a whole stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NulRuns {
    /// Runs of at least [`RUN_BYTES_MIN`].
    pub(crate) runs: u64,
    /// Position and length of the first such run.
    pub(crate) first: (u64, u64),
    /// Blocks of [`BLOCK_BYTES`], aligned in the stream, that are all zero.
    pub(crate) blocks: u64,
    /// Position of the first such block.
    pub(crate) first_block: u64,
}

/// Finds NUL runs in a stream that comes in pieces of any size.
#[derive(Clone, Debug, Default)]
pub(crate) struct NulScan {
    offset: u64,
    /// Length of the run that ends at `offset`.
    open: u64,
    found: NulRuns,
}

impl NulScan {
    /// Makes ready for a stream that stands at `offset` in its file: positions are those of the file.
    pub(crate) fn begin(&mut self, offset: u64) {
        *self = Self { offset, ..Self::default() };
    }

    pub(crate) fn feed(&mut self, piece: &[u8]) {
        let mut at = 0;
        if self.open > 0 {
            at = leading(piece);
            if at == piece.len() {
                self.open += len(piece);
                self.offset += len(piece);
                return;
            }
            let start = self.offset - self.open;
            self.close(start, self.open + at as u64);
        }
        self.open = 0;
        self.probe(piece, at);
        if self.open == 0 {
            self.open = trailing(piece) as u64;
        }
        self.offset += len(piece);
    }

    /// Looks at every 512th byte of the stream from `at` on; the byte before `at` is not NUL.
    fn probe(&mut self, piece: &[u8], at: usize) {
        let stride = 512_usize;
        let phase = usize::try_from(self.offset % 512).unwrap_or(0);
        let mut next = stride - 1 - phase;
        let mut floor = at;
        while next < piece.len() {
            if next >= floor && piece[next] == 0 {
                let start = next - trailing(&piece[floor..next]);
                let end = next + leading(&piece[next..]);
                // A run that began in an earlier piece was closed before; one that reaches the end stays open.
                if end == piece.len() {
                    self.open = (end - start) as u64;
                    return;
                }
                self.close(self.offset + start as u64, (end - start) as u64);
                floor = end;
            }
            next += stride;
        }
    }

    fn close(&mut self, start: u64, length: u64) {
        if length < RUN_BYTES_MIN {
            return;
        }
        if self.found.runs == 0 {
            self.found.first = (start, length);
        }
        self.found.runs += 1;
        let first_block = start.next_multiple_of(BLOCK_BYTES);
        let blocks = ((start + length).saturating_sub(first_block)) / BLOCK_BYTES;
        if blocks > 0 && self.found.blocks == 0 {
            self.found.first_block = first_block;
        }
        self.found.blocks += blocks;
    }

    /// Ends the stream and makes the scan ready for the next one.
    pub(crate) fn finish(&mut self) -> NulRuns {
        if self.open > 0 {
            self.close(self.offset - self.open, self.open);
        }
        std::mem::take(self).found
    }
}

fn len(piece: &[u8]) -> u64 {
    piece.len() as u64
}

fn leading(piece: &[u8]) -> usize {
    piece.iter().position(|b| *b != 0).unwrap_or(piece.len())
}

fn trailing(piece: &[u8]) -> usize {
    piece.iter().rev().position(|b| *b != 0).unwrap_or(piece.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by looking at every byte.
    fn plainly(bytes: &[u8]) -> NulRuns {
        let mut scan = NulScan::default();
        let mut start = 0;
        for at in 0..=bytes.len() {
            if at == bytes.len() || bytes[at] != 0 {
                scan.close(start as u64, (at - start) as u64);
                start = at + 1;
            }
        }
        scan.found
    }

    #[test]
    fn a_lost_block_is_told_from_a_run() {
        let mut bytes = vec![b'a'; 3 * 4096];
        bytes[4096..8192].fill(0);
        let mut scan = NulScan::default();
        scan.feed(&bytes);
        assert_eq!(scan.finish(), NulRuns { runs: 1, first: (4096, 4096), blocks: 1, first_block: 4096 });
        bytes[5000] = b'b';
        scan.feed(&bytes);
        let found = scan.finish();
        assert_eq!((found.runs, found.blocks), (2, 0));
    }

    proptest! {
        /// Probing finds what looking at every byte finds, however the stream is cut.
        #[test]
        fn probing_finds_every_run(
            parts in prop::collection::vec((0_usize..1500, any::<bool>()), 0..12),
            cuts in prop::collection::vec(1_usize..700, 1..40),
        ) {
            let mut bytes = Vec::new();
            for (len, zero) in parts {
                bytes.extend(std::iter::repeat_n(if zero { 0 } else { b'x' }, len));
            }
            let mut scan = NulScan::default();
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                scan.feed(piece);
                rest = tail;
            }
            prop_assert_eq!(scan.finish(), plainly(&bytes));
        }
    }
}
