//! What a message is known by: the hash of its plain form, and the hash of the file that it is stored in.
//!
//! The plain form is what a reader of the mail gets, whatever is done with it on disk: decompressed, attachments put back, and
//! every CRLF an LF, as servers store either and mean the same. Most messages are stored in just this form, and are hashed once:
//! a second hash is begun with the first CRLF only.

use memchr::{memchr, memmem};
use rientro_types::Digest;

/// The hashes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashes {
    /// Of the plain form.
    pub(crate) plain: Digest,
    /// Bytes of the plain form.
    pub(crate) plain_bytes: u64,
    /// Of what is stored.
    pub(crate) stored: Digest,
}

/// What is known of the stored form while a message passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stored {
    /// It is the plain form so far.
    #[default]
    Same,
    /// It was, up to the first CRLF; what comes belongs to both.
    Forked,
    /// It is packed, and comes apart from the plain form.
    Packed,
}

/// Hashes messages, one after the other.
#[derive(Default)]
pub(crate) struct IdentityHasher {
    plain: blake3::Hasher,
    plain_bytes: u64,
    stored: blake3::Hasher,
    state: Stored,
    /// A CR that came last and may belong to a CRLF; in no hash of the plain form yet.
    carriage_return: bool,
}

impl IdentityHasher {
    /// Takes a piece of a packed message as it is stored; comes before the plain bytes that are in it.
    pub(crate) fn feed_packed(&mut self, piece: &[u8]) {
        self.state = Stored::Packed;
        self.stored.update(piece);
    }

    /// Takes a piece of the plain message.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        match self.state {
            Stored::Same => match self.first_crlf(piece) {
                Some(at) => self.fork(piece, at),
                None => self.feed_as_it_is(piece),
            },
            Stored::Forked => {
                self.stored.update(piece);
                self.feed_plain(piece);
            }
            Stored::Packed => self.feed_plain(piece),
        }
    }

    /// Goes on with two hashes from `at` on.
    fn fork(&mut self, piece: &[u8], at: usize) {
        self.feed_as_it_is(&piece[..at]);
        self.state = Stored::Forked;
        self.stored.clone_from(&self.plain);
        if self.carriage_return {
            self.stored.update(b"\r");
        }
        self.stored.update(&piece[at..]);
        self.feed_plain(&piece[at..]);
    }

    fn feed_plain(&mut self, mut piece: &[u8]) {
        while let Some(at) = self.first_crlf(piece) {
            let line_end = if piece[at] == b'\n' {
                self.carriage_return = false;
                at
            } else {
                self.feed_as_it_is(&piece[..at]);
                self.end_carriage_return();
                at + 1
            };
            self.add(b"\n");
            piece = &piece[line_end + 1..];
        }
        self.feed_as_it_is(piece);
    }

    /// Where the first CRLF stands, or the LF of it when its CR came before.
    fn first_crlf(&self, piece: &[u8]) -> Option<usize> {
        if self.carriage_return && piece.first() == Some(&b'\n') {
            return Some(0);
        }
        // Few messages have any CR, and one byte is found faster than two.
        let first = memchr(b'\r', piece)?;
        memmem::find(&piece[first..], b"\r\n").map(|at| first + at)
    }

    /// Takes what has no CRLF in it.
    fn feed_as_it_is(&mut self, piece: &[u8]) {
        let Some(last) = piece.last() else { return };
        self.end_carriage_return();
        self.carriage_return = *last == b'\r';
        self.add(&piece[..piece.len() - usize::from(self.carriage_return)]);
    }

    /// The CR that came last was no part of a CRLF.
    fn end_carriage_return(&mut self) {
        if std::mem::take(&mut self.carriage_return) {
            self.add(b"\r");
        }
    }

    fn add(&mut self, piece: &[u8]) {
        self.plain.update(piece);
        self.plain_bytes += piece.len() as u64;
    }

    /// Ends the message and makes ready for the next one.
    pub(crate) fn finish(&mut self) -> Hashes {
        self.end_carriage_return();
        let plain = Digest::from_raw(self.plain.finalize().into());
        let stored = match std::mem::take(&mut self.state) {
            Stored::Same => plain,
            Stored::Forked | Stored::Packed => Digest::from_raw(self.stored.finalize().into()),
        };
        self.plain.reset();
        self.stored.reset();
        Hashes { plain, plain_bytes: std::mem::take(&mut self.plain_bytes), stored }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, written in the plainest way.
    fn expected(text: &[u8]) -> Hashes {
        let mut plain = Vec::new();
        for (at, byte) in text.iter().enumerate() {
            if *byte != b'\r' || text.get(at + 1) != Some(&b'\n') {
                plain.push(*byte);
            }
        }
        Hashes { plain: Digest::of(&plain), plain_bytes: plain.len() as u64, stored: Digest::of(text) }
    }

    #[test]
    fn line_ends_make_no_difference() {
        let mut hasher = IdentityHasher::default();
        hasher.feed(b"a\r\nb\r");
        hasher.feed(b"\n");
        let crlf = hasher.finish();
        hasher.feed(b"a\nb\n");
        let lf = hasher.finish();
        assert_eq!((crlf.plain, crlf.plain_bytes), (lf.plain, 4));
        assert_ne!(crlf.stored, lf.stored);
        assert_eq!(lf.stored, lf.plain);
    }

    #[test]
    fn a_packed_message_has_its_plain_form_and_the_hash_of_its_file() {
        let mut hasher = IdentityHasher::default();
        hasher.feed_packed(b"packed");
        hasher.feed(b"x\r\n");
        let hashes = hasher.finish();
        assert_eq!((hashes.stored, hashes.plain), (Digest::of(b"packed"), Digest::of(b"x\n")));
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(
            text in prop::collection::vec(prop::sample::select(b"\r\nx".to_vec()), 0..60),
            cuts in prop::collection::vec(0_usize..60, 0..5),
        ) {
            let mut hasher = IdentityHasher::default();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                hasher.feed(&text[pair[0]..pair[1]]);
            }
            prop_assert_eq!(hasher.finish(), expected(&text));
        }
    }
}
