//! zstd streams (RFC 8878), decoded piece by piece into one bounded buffer.
//!
//! Dovecot writes frames without a checksum and without their size, so a flipped bit inside a block decodes to other text
//! and no fault: only a size that is known from elsewhere can differ. What shows is a frame that does not parse or end.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::stream::{Bounds, StreamFault};

/// The first bytes of a zstd frame.
pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Size of the buffer a stream is decoded through: the largest block (RFC 8878 section 3.1.1.2.3).
const PLAIN_BUFFER_BYTES: usize = 128 << 10;

/// Largest window, as a power of two: what decoders are asked to support (RFC 8878 section 3.1.1.1.2) and all that levels up
/// to 19 ask for. A frame may name a window of gigabytes, which would be memory in each reader.
const WINDOW_LOG_MAX: u32 = 23;

/// Decodes one stream after the other, keeping its buffers.
pub(crate) struct Zstd {
    decoder: Decoder<'static>,
    out: Vec<u8>,
    /// The last frame has ended, so that another may begin.
    between: bool,
    frames: u32,
    failed: bool,
    bounds: Bounds,
}

impl Zstd {
    /// A decoder; `None` when there is no memory for one.
    pub(crate) fn new() -> Option<Self> {
        let mut decoder = Decoder::new().ok()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).ok()?;
        Some(Self {
            decoder,
            out: vec![0; PLAIN_BUFFER_BYTES],
            between: true,
            frames: 0,
            failed: false,
            bounds: Bounds::default(),
        })
    }

    /// Makes ready for another stream.
    pub(crate) fn reset(&mut self) {
        // Fails only without memory, and then the next frame does not decode either.
        self.failed = self.decoder.reinit().is_err();
        (self.between, self.frames, self.bounds) = (true, 0, Bounds::default());
    }

    /// Decodes the next piece and hands each run of plain bytes to `plain`.
    pub(crate) fn feed(&mut self, piece: &[u8], plain: &mut dyn FnMut(&[u8])) -> Result<(), StreamFault> {
        if self.failed {
            return Ok(());
        }
        let end = self.decode(piece, plain);
        self.failed = end.is_err();
        end
    }

    fn decode(&mut self, piece: &[u8], plain: &mut dyn FnMut(&[u8])) -> Result<(), StreamFault> {
        self.bounds.stored(piece.len());
        let mut input = InBuffer::around(piece);
        // A full buffer may hide more that is made from what was taken already.
        let mut full = false;
        while input.pos < piece.len() || full {
            let begins = self.between;
            let mut output = OutBuffer::around(&mut self.out[..]);
            let left = match self.decoder.run(&mut input, &mut output) {
                Ok(left) => left,
                Err(_) if begins && self.frames > 0 => return Err(StreamFault::TrailingGarbage),
                Err(_) if begins && self.bounds.is_first(piece.len()) => return Err(StreamFault::Header),
                Err(_) => return Err(StreamFault::Block),
            };
            let made = output.pos();
            plain(&self.out[..made]);
            self.bounds.plain(made)?;
            full = made == self.out.len();
            self.between = left == 0;
            self.frames += u32::from(self.between);
            if self.between {
                full = false;
            }
        }
        Ok(())
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self) -> Result<(), StreamFault> {
        if self.failed || (self.between && self.frames > 0) { Ok(()) } else { Err(StreamFault::Truncated) }
    }
}
