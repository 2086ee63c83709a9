//! `dovecot-uidlist`: which UID each message has.
//!
//! Version 3: `3 V<uidvalidity> N<next uid> G<guid>`, then `<uid> [<key><value> ]:<name>`; version 1: `1 <uidvalidity> <next
//! uid>`, then `<uid> <name>`. UIDs ascend. Lines are appended on delivery, so a last line without its end is a delivery that
//! was cut short, not damage. The file is read line by line; nothing grows with its length.

use std::io::{self, BufRead, BufReader, Read};

use super::name::number;
use crate::content::guid::guid_128;
use crate::content::sizes::Sizes;
use crate::fsys::NAME_BYTES_MAX;

/// Longest line: a name of 255 bytes, and keys each shorter than a name.
const LINE_BYTES_MAX: usize = 4096;

/// Size of the buffer the file is read through.
const BUFFER_BYTES: usize = 32 << 10;

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    version: u8,
    pub(crate) uidvalidity: u32,
    pub(crate) next_uid: u32,
    /// The folder's GUID; zero where it is not said.
    pub(crate) guid: [u8; 16],
}

/// One message's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) uid: u32,
    /// Sizes written here because the name does not hold them.
    pub(crate) sizes: Sizes,
    /// Its GUID, where that is not its name.
    pub(crate) guid: Option<&'a [u8]>,
    /// Name without the colon and what follows it.
    pub(crate) stem: &'a [u8],
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UidlistFault {
    /// The file could not be read.
    #[error("read failed")]
    Read(#[from] io::Error),
    /// A line does not parse; line numbers start at 1.
    #[error("line {line}: {what}")]
    Malformed {
        /// Which line.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Reads a uidlist line by line.
pub(crate) struct Uidlist<R> {
    input: BufReader<R>,
    buffer: Vec<u8>,
    header: Header,
    line: u64,
    last_uid: u32,
}

impl<R: Read> Uidlist<R> {
    /// Reads the first line.
    pub(crate) fn open(input: R) -> Result<Self, UidlistFault> {
        let mut list = Self {
            input: BufReader::with_capacity(BUFFER_BYTES, input),
            buffer: Vec::new(),
            header: Header { version: 3, uidvalidity: 0, next_uid: 0, guid: [0; 16] },
            line: 0,
            last_uid: 0,
        };
        let whole = list.read_line()?;
        list.header = whole
            .then(|| parse_header(&list.buffer))
            .flatten()
            .ok_or(UidlistFault::Malformed { line: 1, what: "no header of version 1 or 3" })?;
        Ok(list)
    }

    pub(crate) fn header(&self) -> Header {
        self.header
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>, UidlistFault> {
        if !self.read_line()? {
            return Ok(None);
        }
        let parsed = parse_line(&self.buffer, self.header.version);
        let line = parsed.map_err(|what| UidlistFault::Malformed { line: self.line, what })?;
        if line.uid <= self.last_uid {
            return Err(UidlistFault::Malformed { line: self.line, what: "UIDs do not ascend" });
        }
        self.last_uid = line.uid;
        Ok(Some(line))
    }

    /// Reads one line without its end; `false` when there is no whole line left.
    fn read_line(&mut self) -> Result<bool, UidlistFault> {
        self.line += 1;
        self.buffer.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        (&mut self.input).take(limit).read_until(b'\n', &mut self.buffer)?;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
            return Ok(true);
        }
        if self.buffer.len() > LINE_BYTES_MAX {
            return Err(UidlistFault::Malformed { line: self.line, what: "line is too long" });
        }
        if self.buffer.contains(&0) {
            return Err(UidlistFault::Malformed { line: self.line, what: "NUL bytes" });
        }
        Ok(false)
    }
}

fn parse_header(line: &[u8]) -> Option<Header> {
    let mut words = line.split(|b| *b == b' ');
    let header = match words.next()? {
        b"1" => {
            let (uidvalidity, next_uid) = (uid(words.next()?)?, uid(words.next()?)?);
            Header { version: 1, uidvalidity, next_uid, guid: [0; 16] }
        }
        b"3" => {
            let (mut uidvalidity, mut next_uid, mut guid) = (None, None, [0; 16]);
            for word in words {
                match word {
                    [b'V', digits @ ..] => uidvalidity = uid(digits),
                    [b'N', digits @ ..] => next_uid = uid(digits),
                    [b'G', text @ ..] => guid = guid_128(text),
                    _ => {}
                }
            }
            Header { version: 3, uidvalidity: uidvalidity?, next_uid: next_uid?, guid }
        }
        _ => return None,
    };
    (header.uidvalidity > 0 && header.next_uid > 0).then_some(header)
}

fn parse_line(line: &[u8], version: u8) -> Result<Line<'_>, &'static str> {
    if line.contains(&0) {
        return Err("NUL bytes");
    }
    let space = memchr::memchr(b' ', line).ok_or("no blank after the UID")?;
    let uid = uid(&line[..space]).filter(|uid| *uid > 0).ok_or("no UID")?;
    let mut rest = &line[space + 1..];
    let (mut sizes, mut guid) = (Sizes::default(), None);
    if version == 3 {
        while rest.first() != Some(&b':') {
            let end = memchr::memchr(b' ', rest).ok_or("no name")?;
            match &rest[..end] {
                [b'S', digits @ ..] => sizes.plain_bytes = number(digits),
                [b'W', digits @ ..] => sizes.virtual_bytes = number(digits),
                [b'G', text @ ..] => guid = Some(text).filter(|text| !text.is_empty()),
                [] => return Err("empty key"),
                _ => {}
            }
            rest = &rest[end + 1..];
        }
        rest = &rest[1..];
    }
    let stem = &rest[..memchr::memchr(b':', rest).unwrap_or(rest.len())];
    if stem.is_empty() || stem.contains(&b'/') {
        return Err("no name");
    }
    if stem.len() > NAME_BYTES_MAX {
        return Err("name is too long");
    }
    Ok(Line { uid, sizes, guid, stem })
}

fn uid(digits: &[u8]) -> Option<u32> {
    number(digits).and_then(|value| u32::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> Result<Vec<(u32, Sizes, Vec<u8>)>, UidlistFault> {
        let mut list = Uidlist::open(text)?;
        let mut lines = Vec::new();
        while let Some(line) = list.next()? {
            lines.push((line.uid, line.sizes, line.stem.to_vec()));
        }
        Ok(lines)
    }

    #[test]
    fn both_versions_are_read() {
        let text = b"3 V1700000000 N9 G0123 X\n1 :a.b.c,S=1,W=2\n4 S5 W6 Gabc :d\n8 :e:2,S\n9 cut";
        let found = read(text).unwrap();
        let sizes = Sizes { plain_bytes: Some(5), virtual_bytes: Some(6) };
        assert_eq!(
            found,
            [
                (1, Sizes::default(), b"a.b.c,S=1,W=2".to_vec()),
                (4, sizes, b"d".to_vec()),
                (8, Sizes::default(), b"e".to_vec())
            ]
        );
        assert_eq!(read(b"1 1700000000 3\n1 x\n2 y:2,\n").unwrap().len(), 2);
        let mut list = Uidlist::open(&b"3 V7 N2\n5 :x\n"[..]).unwrap();
        assert!(list.next().unwrap().is_some() && list.next().unwrap().is_none());
        assert_eq!(list.header().uidvalidity, 7);
    }

    #[test]
    fn faults_name_their_line() {
        for (text, at) in [
            (&b""[..], 1),
            (b"\0\0\0\0", 1),
            (b"2 V1 N1\n", 1),
            (b"3 V0 N1\n", 1),
            (b"3 V1 N5\n2 :a\n2 :b\n", 3),
            (b"3 V1 N5\n0 :a\n", 2),
            (b"3 V1 N5\n1 a\n", 2),
            (b"3 V1 N5\n1 :a/b\n", 2),
            (b"3 V1 N5\n1 :a\n\0\0\0", 3),
            (b"3 V1 N5\n1 :a\0b\n", 2),
        ] {
            let fault = read(text).unwrap_err();
            assert!(matches!(fault, UidlistFault::Malformed { line, .. } if line == at), "{text:?}: {fault}");
        }
        let mut long = b"3 V1 N5\n1 :".to_vec();
        long.extend([b'x'; 5000]);
        assert!(read(&long).is_err());
    }

    proptest! {
        #[test]
        fn noise_does_no_harm(noise in "3 V[0-9]{1,12} N[0-9]{1,12}\n([0-9]{1,11} (S[0-9]{0,20} )?:?[a-z:/\0]{0,5}\n?){0,20}", raw in prop::collection::vec(any::<u8>(), 0..400)) {
            read(noise.as_bytes()).ok();
            read(&raw).ok();
        }
    }
}
