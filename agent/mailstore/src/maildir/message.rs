//! One message file: what its bytes say, against what its name and the uidlist say.
//!
//! A message delivered by Dovecot with matching sizes is whole as it was delivered, however odd its header or structure; a
//! gzip stream whose checksum holds is what was compressed. So header and structure are judged only where neither vouches,
//! and what is judged always is what no delivery leaves behind: runs of NUL bytes, and binary bytes where the header begins.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rientro_types::FindingKind;
use rustix::io::Errno;

use super::ahead::Waits;
use super::name::Sizes;
use crate::content::gzip::{self, Gzip, GzipFault};
use crate::content::nul::{NulRuns, NulScan};
use crate::content::plain::{PlainFacts, PlainScan};
use crate::content::structure::Structure;
use crate::control::{Control, Stopped};
use crate::fsys::{self, Kind, Meta};
use crate::verify::Notes;

/// Size of the buffer files are read through: most messages take one read, and the buffer stays in the core's cache.
const BUFFER_BYTES: usize = 128 << 10;

/// Longest file that is read as a message: as long as a stream may become ([`gzip::PLAIN_BYTES_MAX`]).
const STORED_BYTES_MAX: u64 = gzip::PLAIN_BYTES_MAX;

/// How much longer than its size in the name a stored message may be, beyond twice that size: no compression adds as much.
const STORED_SLACK_BYTES: u64 = 1 << 20;

/// First bytes of compressed streams that are known and not decoded here.
const FOREIGN: [(&[u8], &str); 4] = [
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"Dovecot-LZ4\x0d\x2a\x9b\xc5", "lz4"),
];

/// A message to look at.
pub(crate) struct Message<'a> {
    /// The directory it stands in.
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) name: &'a CStr,
    /// Path of the directory inside the mailbox.
    pub(crate) place: &'a [u8],
    pub(crate) sizes: Sizes,
}

impl Message<'_> {
    fn path(&self) -> Vec<u8> {
        [self.place, b"/", self.name.to_bytes()].concat()
    }
}

/// Reads messages, one after the other, with buffers that are kept.
pub(crate) struct MessageReader {
    buffer: Vec<u8>,
    plain: PlainScan,
    stored: NulScan,
    gzip: Option<Box<Gzip>>,
    pub(crate) waits: Waits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Plain,
    Gzip,
    Foreign(&'static str),
}

/// What reading a file once gave.
struct Pass {
    encoding: Encoding,
    stored_bytes: u64,
    /// One read gave all of it, so that it still stands in the buffer.
    in_buffer: bool,
    /// Runs in the file as it stands, for a compressed one.
    stored_nuls: NulRuns,
    facts: PlainFacts,
    fault: Option<GzipFault>,
    end: Result<(), Errno>,
}

impl MessageReader {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES],
            plain: PlainScan::default(),
            stored: NulScan::default(),
            gzip: None,
            waits: Waits::default(),
        }
    }

    /// Reads a message and notes what is wrong with it.
    ///
    /// `opened` is its file, if it was opened ahead.
    pub(crate) fn check(
        &mut self,
        message: &Message<'_>,
        opened: Option<OwnedFd>,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        notes.begin_message();
        let opened = match opened {
            Some(file) => fsys::state(&file).map(|meta| (file, meta)),
            None => fsys::open_file(message.dir, message.name),
        };
        let (file, meta) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                notes.add(open_fault(error), message.path(), error_name(error));
                return notes.end_message(0, false);
            }
        };
        notes.stated(message.place, message.name.to_bytes(), &meta);
        if meta.kind != Kind::File {
            notes.add(FindingKind::ChangedWhileRead, message.path(), "no longer a regular file");
            return notes.end_message(0, false);
        }
        if let Some((kind, detail)) = not_worth_reading(meta.size_bytes, &message.sizes) {
            notes.add(kind, message.path(), detail);
            return notes.end_message(0, false);
        }
        let pass = self.read_through(&file, meta.size_bytes, notes.control)?;
        let covered = self.judge(message, &file, &meta, &pass, notes)?;
        notes.end_message(pass.stored_bytes, covered)
    }

    fn read_through(&mut self, file: &OwnedFd, size_bytes: u64, control: &Control) -> Result<Pass, Stopped> {
        let mut encoding = None;
        let mut stored_bytes = 0;
        let mut in_buffer = true;
        let mut fault = None;
        let end = loop {
            let (count, waited) = match fsys::read_at(file, &mut self.buffer, stored_bytes) {
                Ok((0, _)) => break Ok(()),
                Ok(read) => read,
                Err(error) => break Err(error),
            };
            in_buffer = stored_bytes == 0;
            stored_bytes += count as u64;
            if in_buffer {
                self.waits.note(waited || count < self.buffer.len() && stored_bytes < size_bytes);
            }
            let piece = &self.buffer[..count];
            match *encoding.get_or_insert_with(|| Encoding::of(piece)) {
                Encoding::Plain => self.plain.feed(piece),
                Encoding::Gzip => {
                    self.stored.feed(piece);
                    let gzip = fresh(&mut self.gzip, stored_bytes == count as u64);
                    fault = fault.or(gzip.feed(piece, &mut |plain| self.plain.feed(plain)).err());
                }
                Encoding::Foreign(_) => break Ok(()),
            }
            control.checkpoint(count as u64)?;
            // A file that is exactly as long as stated needs no further read to see its end.
            if stored_bytes == size_bytes {
                break Ok(());
            }
        };
        let encoding = encoding.unwrap_or(Encoding::Plain);
        if let (Encoding::Gzip, None, Some(gzip)) = (encoding, fault, &mut self.gzip) {
            fault = gzip.finish().err();
        }
        Ok(Pass {
            encoding,
            stored_bytes,
            in_buffer,
            stored_nuls: self.stored.finish(),
            facts: self.plain.finish(),
            fault,
            end,
        })
    }

    /// Notes what the pass shows; whether all of the message was looked at.
    fn judge(
        &mut self,
        message: &Message<'_>,
        file: &OwnedFd,
        meta: &Meta,
        pass: &Pass,
        notes: &mut Notes<'_>,
    ) -> Result<bool, Stopped> {
        if let Err(error) = pass.end {
            notes.add(FindingKind::FileUnreadable, message.path(), error_name(error));
            return Ok(false);
        }
        if let Encoding::Foreign(name) = pass.encoding {
            notes.add(FindingKind::FileUnreadable, message.path(), format!("{name} streams are not decoded"));
            return Ok(false);
        }
        if pass.stored_bytes != meta.size_bytes {
            let detail = format!("{} bytes stated, {} read", meta.size_bytes, pass.stored_bytes);
            notes.add(FindingKind::ChangedWhileRead, message.path(), detail);
            return Ok(false);
        }
        if let Some(fault) = pass.fault {
            return Ok(note_gzip_fault(message, fault, pass, notes));
        }
        if pass.facts.size_bytes == 0 && message.sizes.plain_bytes != Some(0) {
            let detail = message.sizes.plain_bytes.map_or(String::new(), |size| format!("S={size}"));
            notes.add(FindingKind::EmptyMessage, message.path(), detail);
            return Ok(true);
        }
        let sizes_fit = note_sizes(message, &pass.facts, notes);
        let whole_stream = pass.encoding == Encoding::Gzip && sizes_fit;
        if !whole_stream {
            note_nuls(message, &pass.facts.nuls, pass.encoding == Encoding::Plain, notes);
        }
        let vouched = whole_stream || (sizes_fit && message.sizes.any());
        if !vouched {
            self.judge_structure(message, file, pass, notes)?;
        } else if pass.facts.head_binary && !whole_stream {
            notes.add(FindingKind::HeaderMalformed, message.path(), "binary bytes where the header begins");
        }
        Ok(true)
    }

    /// Looks at header and structure, from the buffer if the whole message is in it, else by reading it again.
    fn judge_structure(
        &mut self,
        message: &Message<'_>,
        file: &OwnedFd,
        pass: &Pass,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let mut structure = Structure::new();
        let count = usize::try_from(pass.stored_bytes).ok().filter(|_| pass.in_buffer);
        match (pass.encoding, count.and_then(|count| self.buffer.get(..count))) {
            (Encoding::Plain, Some(bytes)) => structure.feed(bytes),
            _ => self.read_again(file, pass.encoding, notes.control, &mut structure)?,
        }
        let facts = structure.finish();
        if let Some(fault) = facts.header_fault {
            notes.add(FindingKind::HeaderMalformed, message.path(), fault);
        }
        if facts.unclosed {
            let detail =
                if facts.ends_in_line { "closing boundary is missing" } else { "ends inside a line" };
            notes.add(FindingKind::MimeTruncated, message.path(), detail);
        }
        Ok(())
    }

    /// The second read. What fails here was read well a moment ago; the structure then is of what could be read.
    fn read_again(
        &mut self,
        file: &OwnedFd,
        encoding: Encoding,
        control: &Control,
        structure: &mut Structure,
    ) -> Result<(), Stopped> {
        let mut offset = 0;
        while let Ok(count @ 1..) = rustix::io::pread(file, &mut self.buffer[..], offset) {
            let piece = &self.buffer[..count];
            if encoding == Encoding::Gzip {
                let gzip = fresh(&mut self.gzip, offset == 0);
                if gzip.feed(piece, &mut |plain| structure.feed(plain)).is_err() {
                    break;
                }
            } else {
                structure.feed(piece);
            }
            offset += count as u64;
            control.checkpoint(count as u64)?;
        }
        Ok(())
    }
}

impl Encoding {
    fn of(start: &[u8]) -> Self {
        if start.starts_with(&gzip::MAGIC) {
            return Self::Gzip;
        }
        FOREIGN
            .iter()
            .find(|(magic, _)| start.starts_with(magic))
            .map_or(Self::Plain, |(_, name)| Self::Foreign(name))
    }
}

/// What is wrong with a file of this length, where that shows without reading it.
///
/// A file that lost its length to a fault of the storage can be of any length, most of it a hole: reading terabytes of zeros
/// would hold a reader for hours.
fn not_worth_reading(size_bytes: u64, sizes: &Sizes) -> Option<(FindingKind, String)> {
    let longest = |plain: u64| plain.saturating_mul(2).saturating_add(STORED_SLACK_BYTES);
    if let Some(plain) = sizes.plain_bytes.filter(|plain| size_bytes > longest(*plain)) {
        return Some((
            FindingKind::SizeMismatch,
            format!("S={plain}, a file of {size_bytes} bytes, not read"),
        ));
    }
    let over = size_bytes > STORED_BYTES_MAX;
    over.then(|| (FindingKind::LimitReached, format!("a file of {size_bytes} bytes, not read")))
}

/// The decoder, made on first need, ready for a new stream when `first`.
fn fresh(gzip: &mut Option<Box<Gzip>>, first: bool) -> &mut Gzip {
    let gzip = gzip.get_or_insert_with(|| Box::new(Gzip::new()));
    if first {
        gzip.reset();
    }
    gzip
}

fn note_gzip_fault(message: &Message<'_>, fault: GzipFault, pass: &Pass, notes: &mut Notes<'_>) -> bool {
    if fault == GzipFault::TooLarge {
        let detail = format!("{}: {} bytes stored", fault.text(), pass.stored_bytes);
        notes.add(FindingKind::LimitReached, message.path(), detail);
        return false;
    }
    notes.add(FindingKind::CompressedStream, message.path(), fault.text());
    note_nuls(message, &pass.stored_nuls, true, notes);
    true
}

/// Notes sizes that differ; whether those that are known fit.
fn note_sizes(message: &Message<'_>, facts: &PlainFacts, notes: &mut Notes<'_>) -> bool {
    let mut fit = true;
    for (letter, known, found, kind) in [
        ('S', message.sizes.plain_bytes, facts.size_bytes, FindingKind::SizeMismatch),
        ('W', message.sizes.virtual_bytes, facts.virtual_bytes, FindingKind::VirtualSizeMismatch),
    ] {
        if let Some(known) = known.filter(|known| *known != found) {
            notes.add(kind, message.path(), format!("{letter}={known}, {found} bytes found"));
            fit = false;
        }
    }
    fit
}

/// Notes NUL runs. Lost blocks show by their alignment, which means something in the stored file only.
fn note_nuls(message: &Message<'_>, nuls: &NulRuns, stored: bool, notes: &mut Notes<'_>) {
    if stored && nuls.blocks > 0 {
        let detail = format!("{} of 4096 bytes, the first at {}", nuls.blocks, nuls.first_block);
        notes.add(FindingKind::ZeroBlock, message.path(), detail);
    } else if nuls.runs > 0 {
        let (at, length) = nuls.first;
        notes.add(
            FindingKind::NulRun,
            message.path(),
            format!("{} runs, the first of {length} at {at}", nuls.runs),
        );
    }
}

/// What it means that a listed file does not open.
pub(crate) fn open_fault(error: Errno) -> FindingKind {
    match error {
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::STALE => FindingKind::ChangedWhileRead,
        _ => FindingKind::FileUnreadable,
    }
}

/// The error in words, without numbers that differ between machines.
pub(crate) fn error_name(error: Errno) -> String {
    match error {
        Errno::IO => "EIO".to_owned(),
        Errno::ACCESS => "EACCES".to_owned(),
        Errno::PERM => "EPERM".to_owned(),
        Errno::NOENT => "vanished".to_owned(),
        Errno::LOOP => "became a symbolic link".to_owned(),
        Errno::NOTDIR => "is no directory".to_owned(),
        Errno::STALE => "ESTALE".to_owned(),
        Errno::MFILE => "EMFILE: too many files open here; raise LimitNOFILE= or ulimit -n".to_owned(),
        Errno::NFILE => "ENFILE: too many files open on this machine; raise fs.file-max".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    use crate::verify::Depth;

    /// What the reader notes about a file of `/proc/self`: real ones that fail or lie about their size.
    fn noted(name: &CStr) -> Vec<(FindingKind, String)> {
        let dir = fsys::open_root(std::path::Path::new("/proc/self")).unwrap();
        let control = Control::default();
        let mut outlet = |_| Ok(());
        let mut notes = Notes::new(Depth::Structure, &control, b"box", &mut outlet);
        let message = Message { dir: dir.as_fd(), name, place: b"cur", sizes: Sizes::default() };
        MessageReader::new().check(&message, None, &mut notes).unwrap();
        let harvest = notes.finish();
        assert_eq!((harvest.covered, harvest.tally.messages_unreadable), (0, 1));
        harvest.findings.into_iter().map(|finding| (finding.kind, finding.detail)).collect()
    }

    #[test]
    fn a_read_error_is_named() {
        assert_eq!(noted(c"mem"), [(FindingKind::FileUnreadable, "EIO".to_owned())]);
    }

    #[test]
    fn a_file_that_is_not_as_long_as_stated_has_changed() {
        let found = noted(c"status");
        assert!(
            matches!(&found[..], [(FindingKind::ChangedWhileRead, detail)] if detail.starts_with("0 bytes stated"))
        );
        assert_eq!(noted(c"absent"), [(FindingKind::ChangedWhileRead, "vanished".to_owned())]);
    }

    #[test]
    fn a_directory_or_link_in_a_files_place_has_changed() {
        assert_eq!(noted(c"task")[0].0, FindingKind::ChangedWhileRead);
        assert_eq!(noted(c"exe"), [(FindingKind::ChangedWhileRead, "became a symbolic link".to_owned())]);
    }
}
