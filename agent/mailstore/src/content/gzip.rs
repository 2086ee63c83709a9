//! gzip streams (RFC 1952), decoded piece by piece into one bounded buffer.
//!
//! Checksum and length stand at the end of each member, so any fault in a stream shows. A stream may have several members;
//! what follows the last one is garbage. A decompression bomb costs no memory, and no more time than the bounds allow.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::stream::{Bounds, StreamFault};

/// The first bytes of a gzip stream.
pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Size of the buffer a stream is decoded through.
const PLAIN_BUFFER_BYTES: usize = 64 << 10;

/// Longest member header (name, comment and extra field); Dovecot writes 10 bytes.
const HEADER_BYTES_MAX: u32 = 128 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Fixed header, this many bytes of it seen.
    Fixed(u8),
    /// Low byte of the extra field's length.
    ExtraLow,
    ExtraHigh(u8),
    Extra(u16),
    Name,
    Comment,
    HeaderCrc(u8),
    Body,
    Trailer(u8),
    /// A fault was returned; nothing more is read.
    Failed,
}

/// Decodes one stream after the other, keeping its buffers.
pub(crate) struct Gzip {
    inflate: Decompress,
    crc: Crc,
    out: Vec<u8>,
    place: Place,
    flags: u8,
    header_bytes: u32,
    trailer: [u8; 8],
    members: u32,
    bounds: Bounds,
}

impl Gzip {
    pub(crate) fn new() -> Self {
        Self {
            inflate: Decompress::new(false),
            crc: Crc::new(),
            out: vec![0; PLAIN_BUFFER_BYTES],
            place: Place::Fixed(0),
            flags: 0,
            header_bytes: 0,
            trailer: [0; 8],
            members: 0,
            bounds: Bounds::default(),
        }
    }

    /// Makes ready for another stream.
    pub(crate) fn reset(&mut self) {
        self.begin_member();
        (self.members, self.bounds) = (0, Bounds::default());
    }

    fn begin_member(&mut self) {
        self.inflate.reset(false);
        self.crc.reset();
        self.place = Place::Fixed(0);
        self.header_bytes = 0;
    }

    /// Decodes the next piece and hands each run of plain bytes to `plain`.
    pub(crate) fn feed(&mut self, mut piece: &[u8], plain: &mut dyn FnMut(&[u8])) -> Result<(), StreamFault> {
        self.bounds.stored(piece.len());
        while !piece.is_empty() {
            let step = match self.place {
                Place::Failed => return Ok(()),
                Place::Body => self.body(piece, plain),
                Place::Fixed(_)
                | Place::ExtraLow
                | Place::ExtraHigh(_)
                | Place::Extra(_)
                | Place::Name
                | Place::Comment
                | Place::HeaderCrc(_)
                | Place::Trailer(_) => self.frame(piece[0]).map(|()| 1),
            };
            match step {
                Ok(used) => piece = &piece[used..],
                Err(fault) => {
                    self.place = Place::Failed;
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self) -> Result<(), StreamFault> {
        let ended = self.place == Place::Failed || (self.place == Place::Fixed(0) && self.members > 0);
        if ended { Ok(()) } else { Err(StreamFault::Truncated) }
    }

    fn body(&mut self, piece: &[u8], plain: &mut dyn FnMut(&[u8])) -> Result<usize, StreamFault> {
        let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(piece, &mut self.out, FlushDecompress::None)
            .map_err(|_| StreamFault::Block)?;
        let used = usize::try_from(self.inflate.total_in() - in_before).map_err(|_| StreamFault::Block)?;
        let made = usize::try_from(self.inflate.total_out() - out_before).map_err(|_| StreamFault::Block)?;
        let made_bytes = &self.out[..made];
        self.crc.update(made_bytes);
        plain(made_bytes);
        self.bounds.plain(made)?;
        match status {
            Status::StreamEnd => self.place = Place::Trailer(0),
            Status::Ok | Status::BufError if used == 0 && made == 0 => return Err(StreamFault::Block),
            Status::Ok | Status::BufError => {}
        }
        Ok(used)
    }

    /// Takes one byte of the header or trailer.
    fn frame(&mut self, byte: u8) -> Result<(), StreamFault> {
        self.header_bytes += 1;
        if self.header_bytes > HEADER_BYTES_MAX {
            return Err(StreamFault::Header);
        }
        self.place = match self.place {
            Place::Fixed(seen) => self.fixed(seen, byte)?,
            Place::ExtraLow => Place::ExtraHigh(byte),
            Place::ExtraHigh(low) => match u16::from_le_bytes([low, byte]) {
                0 => self.after(Place::ExtraLow),
                left => Place::Extra(left),
            },
            Place::Extra(1) => self.after(Place::ExtraLow),
            Place::Extra(left) => Place::Extra(left - 1),
            Place::Name if byte == 0 => self.after(Place::Name),
            Place::Comment if byte == 0 => self.after(Place::Comment),
            Place::HeaderCrc(0) => Place::HeaderCrc(1),
            Place::HeaderCrc(_) => Place::Body,
            Place::Trailer(seen) => self.trailer(seen, byte)?,
            same @ (Place::Name | Place::Comment | Place::Body | Place::Failed) => same,
        };
        Ok(())
    }

    fn fixed(&mut self, seen: u8, byte: u8) -> Result<Place, StreamFault> {
        let wrong = match seen {
            0 => byte != MAGIC[0],
            1 => byte != MAGIC[1],
            2 => byte != 8,
            3 => byte & 0xe0 != 0,
            _ => false,
        };
        if wrong {
            return Err(if self.members > 0 { StreamFault::TrailingGarbage } else { StreamFault::Header });
        }
        if seen == 3 {
            self.flags = byte;
        }
        Ok(if seen == 9 { self.after(Place::Fixed(9)) } else { Place::Fixed(seen + 1) })
    }

    /// The next optional header field after `done`.
    fn after(&self, done: Place) -> Place {
        let (crc, extra, name, comment) = (2, 4, 8, 16);
        let order = [
            (extra, Place::ExtraLow),
            (name, Place::Name),
            (comment, Place::Comment),
            (crc, Place::HeaderCrc(0)),
        ];
        let from = order.iter().position(|(_, place)| *place == done).map_or(0, |at| at + 1);
        order[from..].iter().find(|(flag, _)| self.flags & flag != 0).map_or(Place::Body, |(_, place)| *place)
    }

    fn trailer(&mut self, seen: u8, byte: u8) -> Result<Place, StreamFault> {
        self.trailer[usize::from(seen)] = byte;
        if seen < 7 {
            return Ok(Place::Trailer(seen + 1));
        }
        let [a, b, c, d, e, f, g, h] = self.trailer;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum() {
            return Err(StreamFault::Checksum);
        }
        if u32::from_le_bytes([e, f, g, h]) != self.crc.amount() {
            return Err(StreamFault::Length);
        }
        self.members += 1;
        self.begin_member();
        Ok(Place::Fixed(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::stream::{PLAIN_BYTES_MAX, RATIO_FREE_BYTES, RATIO_MAX};
    use flate2::write::GzEncoder;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;
    use std::io::Write;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(stored: &[u8], cut: usize) -> (Vec<u8>, Result<(), StreamFault>) {
        let mut gzip = Gzip::new();
        let mut plain = Vec::new();
        for piece in stored.chunks(cut.max(1)) {
            if let Err(fault) = gzip.feed(piece, &mut |bytes| plain.extend_from_slice(bytes)) {
                return (plain, Err(fault));
            }
        }
        let end = gzip.finish();
        (plain, end)
    }

    #[test]
    fn every_fault_has_its_name() {
        let text = b"Subject: x\n\nbody\n".repeat(50);
        let good = packed(&text);
        assert_eq!(decode(&good, 7), (text, Ok(())));
        let end = good.len();
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut stored = good.clone();
            change(&mut stored);
            decode(&stored, 1000).1
        };
        assert_eq!(with(&|s| s[2] = 9), Err(StreamFault::Header));
        assert_eq!(with(&|s| s[end - 8] ^= 1), Err(StreamFault::Checksum));
        assert_eq!(with(&|s| s[end - 1] ^= 1), Err(StreamFault::Length));
        assert_eq!(with(&|s| s.truncate(end - 1)), Err(StreamFault::Truncated));
        assert_eq!(with(&|s| s.truncate(20)), Err(StreamFault::Truncated));
        assert_eq!(with(&|s| s.extend([0; 9])), Err(StreamFault::TrailingGarbage));
        assert_eq!(with(&|s| s[10] = 0xff), Err(StreamFault::Block));
        assert_eq!(with(&|s| s.extend(packed(b"more"))), Ok(()));
    }

    #[test]
    fn optional_header_fields_are_passed_over() {
        let mut encoder = GzBuilder::new()
            .filename("a name")
            .comment("a comment")
            .extra(vec![1, 2, 3])
            .write(Vec::new(), Compression::fast());
        encoder.write_all(b"text").unwrap();
        let stored = encoder.finish().unwrap();
        assert_eq!(decode(&stored, 1), (b"text".to_vec(), Ok(())));
    }

    #[test]
    fn a_bomb_is_cut_short() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..64 {
            encoder.write_all(&[0; 1 << 20]).unwrap();
        }
        let stored = encoder.finish().unwrap();
        let mut made = 0;
        let mut gzip = Gzip::new();
        let end = gzip.feed(&stored, &mut |bytes| made += bytes.len() as u64);
        assert_eq!(end, Err(StreamFault::TooLarge));
        assert!(made <= stored.len() as u64 * RATIO_MAX + PLAIN_BUFFER_BYTES as u64 + RATIO_FREE_BYTES);
    }

    proptest! {
        #[test]
        fn text_comes_back_however_it_is_cut(bytes in prop::collection::vec(any::<u8>(), 0..5000), cut in 1_usize..600) {
            prop_assert_eq!(decode(&packed(&bytes), cut), (bytes, Ok(())));
        }

        /// Nothing in the stream makes it panic, and an altered stream that decodes gives the same text.
        #[test]
        fn altered_streams_are_found(
            bytes in prop::collection::vec(any::<u8>(), 1..2000), at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in 1_usize..300,
        ) {
            let mut stored = packed(&bytes);
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            let (plain, end) = decode(&stored, cut);
            prop_assert!(end.is_err() || plain == bytes);
        }

        #[test]
        fn noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..2000), cut in 1_usize..300) {
            let mut stored = vec![0x1f, 0x8b, 8, 0];
            stored.extend(noise);
            let (plain, _) = decode(&stored, cut);
            prop_assert!(plain.len() as u64 <= PLAIN_BYTES_MAX);
        }
    }
}
