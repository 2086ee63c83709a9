//! One pass over a stored message: how it is packed, and what its plain form is.

use super::decode::{Decoder, Encoding};
use super::nul::{NulRuns, NulScan};
use super::plain::{PlainFacts, PlainScan};
use super::stream::StreamFault;

/// What a pass gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    pub(crate) encoding: Encoding,
    /// Runs in the message as it is stored, where that is another form.
    pub(crate) stored_nuls: NulRuns,
    pub(crate) facts: PlainFacts,
    /// What is wrong with its stream.
    pub(crate) fault: Option<StreamFault>,
    /// The plain message came from several files.
    pub(crate) assembled: bool,
}

/// Passes over messages, one after the other, with buffers that are kept.
#[derive(Default)]
pub(crate) struct Scan {
    plain: PlainScan,
    stored: NulScan,
    decoder: Decoder,
}

impl Scan {
    /// Begins a message that stands at `offset` in its file, so that lost blocks show by their place in the file.
    pub(crate) fn begin(&mut self, offset: u64) {
        self.plain.begin(offset);
        self.stored.begin(offset);
    }

    /// Has messages hashed, or not, from the next one on.
    pub(crate) fn hash(&mut self, wanted: bool) {
        self.plain.hash(wanted);
    }

    /// Takes the next piece; gives how the message is stored.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Encoding {
        self.feed_through(piece, &mut |plain, scan| scan.feed(plain))
    }

    /// Takes the next piece, of which plain bytes go through `through` on their way.
    pub(crate) fn feed_through(
        &mut self,
        piece: &[u8],
        through: &mut dyn FnMut(&[u8], &mut PlainScan),
    ) -> Encoding {
        let encoding = self.decoder.encoding(piece);
        if encoding != Encoding::Plain {
            self.stored.feed(piece);
            self.plain.feed_packed(piece);
        }
        self.decoder.feed(piece, &mut |plain| through(plain, &mut self.plain))
    }

    /// Ends the message and makes ready for the next one.
    pub(crate) fn finish(&mut self) -> Pass {
        let (encoding, fault) = self.decoder.finish();
        let (stored_nuls, facts) = (self.stored.finish(), self.plain.finish());
        Pass { encoding, stored_nuls, facts, fault, assembled: false }
    }
}
