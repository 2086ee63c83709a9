//! The facts about a plain message that one pass over its bytes gives: size, size with CRLF line ends, NUL runs, first bytes.

use memchr::{memchr, memchr_iter};

use super::identity::{Hashes, IdentityHasher};
use super::nul::{NulRuns, NulScan};

/// How many bytes of the beginning are kept to judge whether text stands there.
pub(crate) const HEAD_BYTES: usize = 64;

/// Control bytes in the first [`HEAD_BYTES`] that make it binary. A header written by the worst mailer has fewer.
const HEAD_CONTROLS_MAX: usize = 8;

/// What one pass over a plain message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainFacts {
    /// Bytes.
    pub(crate) size_bytes: u64,
    /// Bytes when every LF without a CR before it counts as two.
    pub(crate) virtual_bytes: u64,
    /// Runs of NUL bytes.
    pub(crate) nuls: NulRuns,
    /// Whether the beginning holds bytes no header can have.
    pub(crate) head_binary: bool,
    /// Its hashes, if they were asked for.
    pub(crate) hashes: Option<Hashes>,
}

/// Gathers [`PlainFacts`] from a stream that comes in pieces.
#[derive(Default)]
pub(crate) struct PlainScan {
    size_bytes: u64,
    bare_lf: u64,
    ends_in_cr: bool,
    head: Vec<u8>,
    nuls: NulScan,
    identity: Option<Box<IdentityHasher>>,
}

impl PlainScan {
    /// Makes ready for a message that stands at `offset` in its file, as far as it is stored as it is.
    pub(crate) fn begin(&mut self, offset: u64) {
        self.nuls.begin(offset);
    }

    /// Has messages hashed, or not, from the next one on.
    pub(crate) fn hash(&mut self, wanted: bool) {
        if wanted != self.identity.is_some() {
            self.identity = wanted.then(Box::default);
        }
    }

    /// Takes a piece of a packed message as it is stored, before the plain bytes that are in it.
    pub(crate) fn feed_packed(&mut self, piece: &[u8]) {
        if let Some(identity) = &mut self.identity {
            identity.feed_packed(piece);
        }
    }

    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if self.head.len() < HEAD_BYTES {
            let take = (HEAD_BYTES - self.head.len()).min(piece.len());
            self.head.extend_from_slice(&piece[..take]);
        }
        self.bare_lf += memchr_iter(b'\n', piece).count() as u64 - self.crlf_in(piece);
        self.size_bytes += piece.len() as u64;
        self.nuls.feed(piece);
        if let Some(identity) = &mut self.identity {
            identity.feed(piece);
        }
    }

    fn crlf_in(&mut self, piece: &[u8]) -> u64 {
        let mut found = u64::from(self.ends_in_cr && piece.first() == Some(&b'\n'));
        if memchr(b'\r', piece).is_some() {
            found += memchr_iter(b'\r', piece).filter(|at| piece.get(at + 1) == Some(&b'\n')).count() as u64;
        }
        if let Some(last) = piece.last() {
            self.ends_in_cr = *last == b'\r';
        }
        found
    }

    /// Ends the stream and makes the scan ready for the next one; the buffer is kept.
    pub(crate) fn finish(&mut self) -> PlainFacts {
        let facts = PlainFacts {
            size_bytes: self.size_bytes,
            virtual_bytes: self.size_bytes + self.bare_lf,
            nuls: self.nuls.finish(),
            head_binary: is_binary(&self.head),
            hashes: self.identity.as_mut().map(|identity| identity.finish()),
        };
        self.head.clear();
        (self.size_bytes, self.bare_lf, self.ends_in_cr) = (0, 0, false);
        facts
    }
}

/// Judges the header part of the first bytes: a body may hold what it likes.
fn is_binary(head: &[u8]) -> bool {
    let end = memchr::memmem::find(head, b"\n\n").or_else(|| memchr::memmem::find(head, b"\n\r\n"));
    let head = &head[..end.unwrap_or(head.len())];
    let control = |b: &&u8| **b < 0x20 && !matches!(**b, b'\t' | b'\n' | b'\r');
    head.contains(&0) || head.iter().filter(control).count() > HEAD_CONTROLS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_bare_line_feeds_grow() {
        let mut scan = PlainScan::default();
        for piece in [&b"a\nb\r"[..], b"\nc\r\n\n", b""] {
            scan.feed(piece);
        }
        let facts = scan.finish();
        assert_eq!((facts.size_bytes, facts.virtual_bytes, facts.head_binary), (9, 11, false));
        scan.feed(b"\0x");
        assert!(scan.finish().head_binary);
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(bytes in prop::collection::vec(prop::sample::select(b"\r\nx\0".to_vec()), 0..300), cut in 0_usize..300) {
            let (mut whole, mut cut_up) = (PlainScan::default(), PlainScan::default());
            whole.feed(&bytes);
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            cut_up.feed(a);
            cut_up.feed(b);
            prop_assert_eq!(whole.finish(), cut_up.finish());
        }
    }
}
