//! What compressed streams have in common: how they end badly, and how much may come out of them.

/// Longest plain message decoded from a stream: four times the largest message any large provider takes in (about 150 MiB),
/// rounded. Longer ones are not decoded to their end.
pub(crate) const PLAIN_BYTES_MAX: u64 = 640 << 20;

/// Plain bytes that may come out of each stored byte, beyond [`RATIO_FREE_BYTES`]. Text reaches 20, repeated lines 200;
/// deflate cannot pass 1032, which only a bomb comes near.
pub(crate) const RATIO_MAX: u64 = 500;

/// Plain bytes for which no ratio is asked for: short messages of one repeated character are real.
pub(crate) const RATIO_FREE_BYTES: u64 = 16 << 20;

/// Why a stream was not decoded to a good end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamFault {
    /// The header of a member or frame is none.
    Header,
    /// A block does not decode.
    Block,
    /// The checksum differs.
    Checksum,
    /// The length differs.
    Length,
    /// The stream ends before its end mark or trailer.
    Truncated,
    /// Something follows the last member or frame.
    TrailingGarbage,
    /// [`PLAIN_BYTES_MAX`] or [`RATIO_MAX`] was met.
    TooLarge,
}

impl StreamFault {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Header => "bad header of the stream",
            Self::Block => "a block does not decode",
            Self::Checksum => "checksum differs",
            Self::Length => "length at the end differs",
            Self::Truncated => "stream ends early",
            Self::TrailingGarbage => "bytes after the end of the stream",
            Self::TooLarge => "decompressed size is over the bound",
        }
    }
}

/// Counts what goes into a stream and what comes out, within bounds. A decompression bomb costs no memory, and no more time
/// than they allow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    stored_bytes: u64,
    plain_bytes: u64,
}

impl Bounds {
    pub(crate) fn stored(&mut self, bytes: usize) {
        self.stored_bytes += bytes as u64;
    }

    /// Whether a piece of so many bytes was the first one.
    pub(crate) fn is_first(&self, bytes: usize) -> bool {
        self.stored_bytes == bytes as u64
    }

    pub(crate) fn plain(&mut self, bytes: usize) -> Result<(), StreamFault> {
        self.plain_bytes += bytes as u64;
        let over_ratio =
            self.plain_bytes > RATIO_FREE_BYTES && self.plain_bytes / RATIO_MAX > self.stored_bytes;
        if self.plain_bytes > PLAIN_BYTES_MAX || over_ratio { Err(StreamFault::TooLarge) } else { Ok(()) }
    }
}
