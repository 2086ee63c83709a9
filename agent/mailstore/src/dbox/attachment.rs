//! Attachments that are stored apart from their messages (`mail_attachment_dir`), and the plain message with them in it.
//!
//! The metadata of a message names each one by where it stood in the plain message, how long it was there, how it was encoded and
//! the path of its file: `398 81052 B76 41/43/<digest>-<guid>`. `B76` means decoded base64 of 76 characters a line, `B76C` the
//! same with CRLF, `-` the bytes as they stood (Dovecot's `index-attachment.c`). The file's name begins with the SHA-1 of what is
//! in it, which every message that shares it can be held against.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rientro_types::FindingKind;
use rustix::io::Errno;
use sha1::{Digest as _, Sha1};

use super::window::{WINDOW_BYTES, Window};
use crate::content::judge::Spot;
use crate::content::plain::PlainScan;
use crate::control::{Control, Stopped};
use crate::faults::{error_name, open_fault};
use crate::fsys::{self, Kind};
use crate::verify::Notes;

/// Most attachments of one message: metadata of the longest kind has room for no more.
const ATTACHMENTS_MAX: usize = 1024;

/// Characters of a line of base64 at most; mail has 76.
const LINE_CHARACTERS_MAX: usize = 1000;

/// Where an attachment belongs, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Position in the plain message.
    pub(super) start: u64,
    /// Bytes it has there.
    pub(super) bytes: u64,
    /// Bytes of its file that make a line of base64; 0 where it stands as it is.
    line_bytes: usize,
    crlf: bool,
    path: Vec<u8>,
}

/// Parses the references of a message.
pub(super) fn references(text: &[u8]) -> Result<Vec<Reference>, &'static str> {
    let words: Vec<&[u8]> = text.split(|b| *b == b' ').collect();
    let (groups, rest) = words.as_chunks::<4>();
    if !rest.is_empty() || groups.len() > ATTACHMENTS_MAX {
        return Err("references of attachments are malformed");
    }
    let mut least = 0;
    let reference = |[start, bytes, options, path]: &[&[u8]; 4]| {
        let (start, bytes) = (decimal(start)?, decimal(bytes)?);
        let (line_bytes, crlf) = parse_options(options)?;
        (start >= least && is_plain(path)).then_some(())?;
        least = start.checked_add(bytes)?;
        Some(Reference { start, bytes, line_bytes, crlf, path: path.to_vec() })
    };
    groups.iter().map(reference).collect::<Option<_>>().ok_or("references of attachments are malformed")
}

fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Bytes of each line, and whether lines end in CRLF.
fn parse_options(mut options: &[u8]) -> Option<(usize, bool)> {
    if options == b"-" {
        return Some((0, false));
    }
    let (mut line_bytes, mut crlf) = (0, false);
    while let [option, rest @ ..] = options {
        options = rest;
        match option {
            b'C' => crlf = true,
            b'B' => {
                let digits = options.iter().take_while(|b| b.is_ascii_digit()).count();
                let characters = usize::try_from(decimal(&options[..digits])?).ok()?;
                let is_line = characters > 0 && characters % 4 == 0 && characters <= LINE_CHARACTERS_MAX;
                is_line.then_some(())?;
                line_bytes = characters / 4 * 3;
                options = &options[digits..];
            }
            _ => return None,
        }
    }
    Some((line_bytes, crlf))
}

/// Whether a path leads down and nowhere else.
fn is_plain(path: &[u8]) -> bool {
    !path.contains(&0)
        && path.split(|b| *b == b'/').all(|part| !part.is_empty() && part != b"." && part != b"..")
}

/// Where attachments are, and how the files of one message end.
pub(super) struct Store<'a> {
    pub(super) dir: &'a OwnedFd,
    /// What an sdbox puts behind the path in the metadata; empty for an mdbox.
    pub(super) suffix: &'a [u8],
}

/// The parts of one message: its body, and attachments where they belong.
pub(super) struct Parts<'a> {
    references: &'a [Reference],
    store: Option<Store<'a>>,
    /// Attachments that were put in.
    done: usize,
    /// Position in the plain message.
    at: u64,
    broken: bool,
    unread: bool,
}

impl<'a> Parts<'a> {
    pub(super) fn new(references: &'a [Reference], store: Option<Store<'a>>) -> Self {
        Self { references, store, done: 0, at: 0, broken: false, unread: false }
    }

    /// Whether there are attachments.
    pub(super) fn any(&self) -> bool {
        !self.references.is_empty()
    }

    /// Whether an attachment could not be put in, so that sizes mean nothing; it was noted.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether one could not be read.
    pub(super) fn is_unread(&self) -> bool {
        self.unread
    }

    /// Hands bytes of the body on to `plain`, with attachments between them where they belong.
    pub(super) fn pass(
        &mut self,
        mut body: &[u8],
        reader: &mut AttachmentReader,
        spot: &dyn Fn() -> Spot,
        notes: &mut Notes<'_>,
        plain: &mut PlainScan,
    ) -> Result<(), Stopped> {
        while let (Some(reference), Some(store)) = (self.references.get(self.done), &self.store) {
            let gap = usize::try_from(reference.start - self.at).unwrap_or(usize::MAX);
            let Some((before, behind)) = body.split_at_checked(gap) else { break };
            plain.feed(before);
            let end = reader.insert(reference, store, spot, notes, &mut |bytes| plain.feed(bytes))?;
            self.broken |= end != Inserted::Whole;
            self.unread |= end == Inserted::Unread;
            self.at = reference.start + reference.bytes;
            self.done += 1;
            body = behind;
        }
        plain.feed(body);
        self.at += body.len() as u64;
        Ok(())
    }

    /// Ends the message.
    pub(super) fn end(&mut self, spot: &dyn Fn() -> Spot, notes: &mut Notes<'_>) {
        if self.store.is_some() && self.done < self.references.len() {
            self.broken = true;
            spot().note(
                FindingKind::FrameMalformed,
                "an attachment belongs behind the end of the message",
                notes,
            );
        }
    }
}

/// Reads attachments, one after the other, with buffers that are kept.
pub(super) struct AttachmentReader {
    window: Window,
    encoded: String,
}

/// How putting an attachment in ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inserted {
    Whole,
    Broken,
    Unread,
}

/// Why an attachment cannot be put back into its message.
enum Fault {
    Missing,
    Damaged(String),
    Unread(Errno),
}

impl AttachmentReader {
    pub(super) fn new() -> Self {
        Self { window: Window::new(WINDOW_BYTES), encoded: String::new() }
    }

    /// Hands the attachment to `plain` in the form it had in the message; notes what is wrong with it.
    fn insert(
        &mut self,
        reference: &Reference,
        store: &Store<'_>,
        spot: &dyn Fn() -> Spot,
        notes: &mut Notes<'_>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<Inserted, Stopped> {
        let fault = match self.read(reference, store, notes.control, plain)? {
            Ok(()) => return Ok(Inserted::Whole),
            Err(fault) => fault,
        };
        let path = String::from_utf8_lossy(&reference.path).into_owned();
        Ok(match fault {
            Fault::Missing => {
                spot().note(FindingKind::AttachmentMissing, &path, notes);
                Inserted::Broken
            }
            Fault::Damaged(what) => {
                spot().note(FindingKind::AttachmentDamaged, &format!("{what}: {path}"), notes);
                Inserted::Broken
            }
            Fault::Unread(error) => {
                let detail = format!("attachment: {}: {path}", error_name(error));
                spot().note(open_fault(error), &detail, notes);
                Inserted::Unread
            }
        })
    }

    fn read(
        &mut self,
        reference: &Reference,
        store: &Store<'_>,
        control: &Control,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<Result<(), Fault>, Stopped> {
        match open(reference, store) {
            Ok((file, bytes)) => self.put_back(&file, bytes, reference, control, plain),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// Hands on a file that has `bytes` bytes.
    fn put_back(
        &mut self,
        file: &OwnedFd,
        bytes: u64,
        reference: &Reference,
        control: &Control,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<Result<(), Fault>, Stopped> {
        self.window.reset();
        let mut digest = Sha1::new();
        let mut made = Encoder { line_bytes: reference.line_bytes, crlf: reference.crlf, made: 0 };
        let mut at = 0;
        while at < bytes {
            // Whole lines at a time, so that each piece is encoded on its own.
            let line = made.line_bytes.max(1);
            let piece = match self.window.at(file, at, line) {
                Ok(piece) => piece,
                Err(error) => return Ok(Err(Fault::Unread(error))),
            };
            let is_end = at + piece.len() as u64 >= bytes;
            if piece.len() < line && !is_end {
                // It was as long as that when it was stated.
                return Ok(Err(Fault::Unread(Errno::STALE)));
            }
            let piece = if is_end { piece } else { &piece[..piece.len() / line * line] };
            digest.update(piece);
            made.encode(piece, is_end, &mut self.encoded, plain);
            at += piece.len() as u64;
            control.checkpoint(piece.len() as u64)?;
            if made.made > reference.bytes {
                break;
            }
        }
        let name = reference.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let said = name.split(|b| *b == b'-').next().unwrap_or_default();
        let found = digest.finalize().iter().map(|b| format!("{b:02x}")).collect::<String>();
        // Other digests than SHA-1 can be set up; they are longer.
        if at >= bytes && said.len() == found.len() && said != found.as_bytes() {
            return Ok(Err(Fault::Damaged("its content has another SHA-1 than its name".to_owned())));
        }
        if made.made != reference.bytes {
            let detail = format!("it makes {} bytes of {} in the message", made.made, reference.bytes);
            return Ok(Err(Fault::Damaged(detail)));
        }
        Ok(Ok(()))
    }
}

fn open(reference: &Reference, store: &Store<'_>) -> Result<(OwnedFd, u64), Fault> {
    let fault = |error| match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Fault::Missing,
        other => Fault::Unread(other),
    };
    let at = memchr::memrchr(b'/', &reference.path).map_or(0, |at| at + 1);
    let (parent, name) = reference.path.split_at(at);
    let name = CString::new([name, store.suffix].concat()).map_err(|_| Fault::Missing)?;
    let dir = fsys::open_path(store.dir.as_fd(), parent).map_err(fault)?;
    let (file, meta) = fsys::open_file(dir.as_fd(), &name).map_err(fault)?;
    if meta.kind == Kind::File { Ok((file, meta.size_bytes)) } else { Err(Fault::Missing) }
}

/// Puts bytes into lines of base64, or leaves them as they are.
struct Encoder {
    line_bytes: usize,
    crlf: bool,
    /// Bytes handed on.
    made: u64,
}

impl Encoder {
    /// Encodes whole lines; only the last piece may end inside one. Between lines stands a line end, behind the last none.
    fn encode(&mut self, piece: &[u8], is_end: bool, encoded: &mut String, plain: &mut dyn FnMut(&[u8])) {
        if self.line_bytes == 0 {
            self.made += piece.len() as u64;
            return plain(piece);
        }
        encoded.clear();
        let mut lines = piece.chunks(self.line_bytes).peekable();
        while let Some(line) = lines.next() {
            STANDARD.encode_string(line, encoded);
            if lines.peek().is_some() || !is_end {
                encoded.push_str(if self.crlf { "\r\n" } else { "\n" });
            }
        }
        self.made += encoded.len() as u64;
        plain(encoded.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::File;

    /// A file that lost its end after it was stated, in a line of base64 and where lines are none.
    #[test]
    fn a_file_that_got_shorter_ends() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), [b'x'; 100]).unwrap();
        let file = OwnedFd::from(File::open(dir.path().join("f")).unwrap());
        for line_bytes in [57, 0] {
            let reference =
                Reference { start: 0, bytes: 1_000_000, line_bytes, crlf: false, path: b"a".to_vec() };
            let mut reader = AttachmentReader::new();
            let ended = reader.put_back(&file, 200_000, &reference, &Control::default(), &mut |_| ());
            assert!(matches!(ended, Ok(Err(Fault::Unread(Errno::STALE)))));
        }
    }

    #[test]
    fn references_as_dovecot_writes_them() {
        let found = references(b"398 81052 B76 41/43/4143aa-bb 90000 5 - 0a/0b/0a0b-cc").unwrap();
        assert_eq!(
            (found[0].start, found[0].bytes, found[0].line_bytes, found[0].crlf),
            (398, 81_052, 57, false)
        );
        assert_eq!(
            (found[1].start, found[1].line_bytes, &found[1].path[..]),
            (90_000, 0, &b"0a/0b/0a0b-cc"[..])
        );
        assert_eq!(parse_options(b"CB4"), Some((3, true)));
        for text in [
            &b""[..],
            b"1 2 -",
            b"1 2 - ../x",
            b"1 2 - /x",
            b"1 2 - a/../../x",
            b"9 2 - a 10 1 - b",
            b"1 2 B0 a",
            b"1 2 B75 a",
            b"1 2 X a",
            b"18446744073709551615 2 - a",
        ] {
            assert!(references(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        /// Lines come out as they would of the whole at once, however it is cut into whole lines.
        #[test]
        fn lines_are_those_of_the_whole(bytes in prop::collection::vec(any::<u8>(), 1..400), lines in 1_usize..5, crlf in any::<bool>()) {
            let (mut text, mut encoded) = (Vec::new(), String::new());
            let mut encoder = Encoder { line_bytes: 12, crlf, made: 0 };
            let mut pieces = bytes.chunks(12 * lines).peekable();
            while let Some(piece) = pieces.next() {
                encoder.encode(piece, pieces.peek().is_none(), &mut encoded, &mut |made| text.extend_from_slice(made));
            }
            let end = if crlf { "\r\n" } else { "\n" };
            let whole: Vec<String> = bytes.chunks(12).map(|line| STANDARD.encode(line)).collect();
            prop_assert_eq!(String::from_utf8(text).unwrap(), whole.join(end));
        }

        #[test]
        fn noise_does_no_harm(noise in "[0-9 BC/.a-]{0,60}", raw in prop::collection::vec(any::<u8>(), 0..80)) {
            references(noise.as_bytes()).ok();
            references(&raw).ok();
        }
    }
}
