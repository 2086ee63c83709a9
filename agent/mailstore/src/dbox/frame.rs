//! The frame of dbox files: what stands around each message.
//!
//! One line for the file (`2 M1e C6b02634d`), then for each message a header of the length that line names, the body as it is
//! stored, and metadata: a mark, lines of a key letter and a value, and an empty line. A header of 30 bytes is `01 02 N`, ten
//! blanks, the size of the body in 16 hexadecimal digits and a line feed (Dovecot's `dbox-file.h`).

use memchr::memmem::Finder;

use crate::content::guid::guid_128;

/// Longest line at the beginning of a file; Dovecot writes 16 bytes.
pub(crate) const FILE_HEADER_BYTES_MAX: usize = 256;

/// Length of the message header that every Dovecot of version 2 writes.
pub(crate) const MESSAGE_HEADER_BYTES: usize = 30;

/// Longest message header: later fields would stand before its line feed.
const MESSAGE_HEADER_BYTES_MAX: usize = 1024;

/// First bytes of a message header.
const MAGIC_PRE: [u8; 2] = [1, 2];

/// First bytes of metadata.
pub(crate) const MAGIC_POST: [u8; 4] = *b"\n\x01\x03\n";

/// Longest metadata: room for the references of some hundred attachments.
pub(crate) const METADATA_BYTES_MAX: usize = 64 << 10;

/// The line at the beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// Its length, line feed included.
    pub(crate) bytes: usize,
    /// Length of each message header.
    pub(crate) message_header_bytes: usize,
}

impl FileHeader {
    /// What stands in every file that a Dovecot of version 2 began at a time of 8 digits: what to go on with where the line
    /// itself is lost.
    pub(crate) const USUAL: Self = Self { bytes: 16, message_header_bytes: MESSAGE_HEADER_BYTES };

    /// Parses the line at the beginning of `start`.
    pub(crate) fn parse(start: &[u8]) -> Result<Self, &'static str> {
        let line = &start[..start.len().min(FILE_HEADER_BYTES_MAX)];
        let end = memchr::memchr(b'\n', line).ok_or("no file header")?;
        let [b'1' | b'2', b' ', fields @ ..] = &line[..end] else { return Err("no dbox of version 1 or 2") };
        let mut message_header_bytes = None;
        for field in fields.split(|b| *b == b' ') {
            match field {
                [b'M', digits @ ..] => {
                    let size = hex(digits).and_then(|size| usize::try_from(size).ok());
                    message_header_bytes = Some(size.ok_or("message header size is no number")?);
                }
                [b'C', digits @ ..] => {
                    hex(digits).ok_or("time of creation is no number")?;
                }
                _ => {}
            }
        }
        let message_header_bytes = message_header_bytes.ok_or("file header names no message header size")?;
        if !(MESSAGE_HEADER_BYTES..=MESSAGE_HEADER_BYTES_MAX).contains(&message_header_bytes) {
            return Err("message header size is out of range");
        }
        Ok(Self { bytes: end + 1, message_header_bytes })
    }
}

/// The size of the body that a message header names; `header` is as long as the file says.
pub(crate) fn body_bytes(header: &[u8]) -> Result<u64, &'static str> {
    if header.get(..2) != Some(&MAGIC_PRE[..]) {
        return Err("message header has no mark");
    }
    if header.get(2) != Some(&b'N') || header.last() != Some(&b'\n') {
        return Err("message header is malformed");
    }
    header.get(13..29).and_then(hex).ok_or("size in the message header is no number")
}

/// Where the next message header stands in `bytes`, at or behind `from`, whatever stands before it.
///
/// Only a header of the usual length that is whole and malformed in nothing counts: compressed bodies hold anything.
pub(crate) fn find_header(bytes: &[u8], from: usize) -> Option<usize> {
    let finder = Finder::new(b"\x01\x02N          ");
    let mut at = from;
    loop {
        at += finder.find(bytes.get(at..)?)?;
        let header = bytes.get(at..at + MESSAGE_HEADER_BYTES)?;
        if body_bytes(header).is_ok() {
            return Some(at);
        }
        at += 1;
    }
}

/// What the metadata of a message says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata<'a> {
    /// `G`: what identifies the message wherever it is copied to.
    pub(crate) guid: Option<[u8; 16]>,
    /// `V`: bytes with every bare LF counted as CRLF.
    pub(crate) virtual_bytes: Option<u64>,
    /// `Z`: bytes of the plain message, where the body is stored in another form.
    pub(crate) plain_bytes: Option<u64>,
    /// `X`: attachments that are stored apart, as written.
    pub(crate) attachments: Option<&'a [u8]>,
}

/// Why metadata is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetadataFault {
    /// The bytes end before the metadata does; more of the file may hold the rest.
    Cut,
    /// It is something else.
    Malformed(&'static str),
}

impl<'a> Metadata<'a> {
    /// Parses the metadata at the beginning of `bytes`; gives its length too, its empty line included.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<(Self, usize), MetadataFault> {
        let known = bytes.len().min(MAGIC_POST.len());
        if bytes[..known] != MAGIC_POST[..known] {
            return Err(MetadataFault::Malformed("no metadata where the body ends"));
        }
        let mut metadata = Self::default();
        let mut at = MAGIC_POST.len();
        loop {
            let rest = bytes.get(at..).ok_or(MetadataFault::Cut)?;
            let Some(end) = memchr::memchr(b'\n', rest) else {
                let over = bytes.len() > METADATA_BYTES_MAX;
                return Err(if over {
                    MetadataFault::Malformed("metadata has no end")
                } else {
                    MetadataFault::Cut
                });
            };
            let line = &rest[..end];
            at += end + 1;
            match line {
                [] => return Ok((metadata, at)),
                // Version 1 padded its metadata with blanks.
                [b' ', ..] => {}
                [key, value @ ..] => metadata.take(*key, value).map_err(MetadataFault::Malformed)?,
            }
        }
    }

    fn take(&mut self, key: u8, value: &'a [u8]) -> Result<(), &'static str> {
        match key {
            b'G' => self.guid = Some(guid(value)?),
            b'V' => self.virtual_bytes = Some(hex(value).ok_or("V in the metadata is no number")?),
            b'Z' => self.plain_bytes = Some(hex(value).ok_or("Z in the metadata is no number")?),
            b'R' => {
                hex(value).ok_or("R in the metadata is no number")?;
            }
            b'X' => self.attachments = Some(value),
            b'A'..=b'Z' => {}
            _ => return Err("a line of the metadata has no key"),
        }
        Ok(())
    }
}

fn guid(text: &[u8]) -> Result<[u8; 16], &'static str> {
    if text.is_empty() { Err("the GUID in the metadata is none") } else { Ok(guid_128(text)) }
}

/// A hexadecimal number of 1 to 16 digits.
fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let digit = |value: u64, b: &u8| Some(value << 4 | u64::from((*b as char).to_digit(16)?));
    digits.iter().try_fold(0, digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &[u8] = b"\x01\x02N          00000000000001E1\n";
    const METADATA: &[u8] =
        b"\n\x01\x03\nR6b02634d\nV1f4\nZ1ab\nG6a0d5e2f00000000aabbccdd00112233\nBINBOX\n\n";

    #[test]
    fn the_frame_as_dovecot_writes_it() {
        let header = FileHeader::parse(b"2 M1e C6b02634d\n\x01\x02N").unwrap();
        assert_eq!(header, FileHeader::USUAL);
        assert_eq!(body_bytes(HEADER), Ok(0x1e1));
        let more = [METADATA, b"\x01\x02"].concat();
        let (metadata, bytes) = Metadata::parse(&more).unwrap();
        assert_eq!(bytes, METADATA.len());
        assert_eq!((metadata.virtual_bytes, metadata.plain_bytes), (Some(0x1f4), Some(0x1ab)));
        assert_eq!(metadata.guid.unwrap()[..5], [0x6a, 0x0d, 0x5e, 0x2f, 0]);
        assert_eq!(metadata.attachments, None);
    }

    #[test]
    fn what_is_malformed_is_named() {
        for start in
            [&b""[..], b"\0\0\0\0", b"3 M1e C1\n", b"2 C1\n", b"2 Mxx C1\n", b"2 M1 C1\n", b"2 M1e Cz\n"]
        {
            assert!(FileHeader::parse(start).is_err(), "{start:?}");
        }
        assert!(FileHeader::parse(&[b'2'; 1000]).is_err());
        for (at, byte) in [(0, 0), (1, 3), (2, b'X'), (13, b'g'), (29, b' ')] {
            let mut header = HEADER.to_vec();
            header[at] = byte;
            assert!(body_bytes(&header).is_err(), "{at}");
        }
        assert_eq!(Metadata::parse(&METADATA[..METADATA.len() - 1]), Err(MetadataFault::Cut));
        assert_eq!(Metadata::parse(b"\n\x01"), Err(MetadataFault::Cut));
        for text in
            [&b"\n\x01\x03x"[..], b"\n\x01\x03\nVxyz\n\n", b"\n\x01\x03\n\x01\n\n", b"\n\x01\x03\nG\n\n"]
        {
            assert!(matches!(Metadata::parse(text), Err(MetadataFault::Malformed(_))), "{text:?}");
        }
        let endless = [&MAGIC_POST[..], &vec![b'B'; METADATA_BYTES_MAX + 1]].concat();
        assert!(matches!(Metadata::parse(&endless), Err(MetadataFault::Malformed(_))));
    }

    #[test]
    fn headers_are_found_again_behind_rubble() {
        let bytes = [b"\x01\x02N          zz\n", &[0; 40][..], b"\n", HEADER, b"body"].concat();
        let at = bytes.len() - 4 - HEADER.len();
        assert_eq!(find_header(&bytes, 0), Some(at));
        assert_eq!(find_header(&bytes, at), Some(at));
        assert_eq!(find_header(&bytes, at + 1), None);
        assert_eq!(find_header(&[b"\0", HEADER].concat(), 0), Some(1));
    }

    proptest! {
        #[test]
        fn noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..80) {
            FileHeader::parse(&noise).ok();
            body_bytes(&noise).ok();
            Metadata::parse(&noise).ok();
            find_header(&noise, cut);
            Metadata::parse(&METADATA[..cut.min(METADATA.len())]).ok();
            Metadata::parse(&[&METADATA[..cut.min(METADATA.len())], &noise].concat()).ok();
        }
    }
}
