//! One message file: what its bytes say, against what its name and the uidlist say.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rientro_types::FindingKind;
use rustix::io::Errno;

use super::ahead::Waits;
use crate::content::decode::{Decoder, Encoding};
use crate::content::identity::Hashes;
use crate::content::judge::{Judged, Spot, judge, judge_structure};
use crate::content::scan::{Pass, Scan};
use crate::content::sizes::Sizes;
use crate::content::stream::PLAIN_BYTES_MAX;
use crate::content::structure::Structure;
use crate::control::{Control, Stopped};
use crate::faults::{error_name, open_fault};
use crate::fsys::{self, Kind, Meta};
use crate::verify::Notes;

/// Size of the buffer files are read through: most messages take one read, and the buffer stays in the core's cache.
const BUFFER_BYTES: usize = 128 << 10;

/// Longest file that is read as a message: as long as a stream may become.
const STORED_BYTES_MAX: u64 = PLAIN_BYTES_MAX;

/// How much longer than its size in the name a stored message may be, beyond twice that size: no compression adds as much.
const STORED_SLACK_BYTES: u64 = 1 << 20;

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
    scan: Scan,
    again: Decoder,
    pub(crate) waits: Waits,
}

/// What a message is.
pub(crate) struct Seen {
    pub(crate) meta: Meta,
    pub(crate) hashes: Hashes,
    pub(crate) read_bytes: u64,
    /// Damage was noted about it.
    pub(crate) marked: bool,
}

/// What reading a file once gave.
struct Read {
    stored_bytes: u64,
    /// One read gave all of it, so that it still stands in the buffer.
    in_buffer: bool,
    pass: Pass,
    end: Result<(), Errno>,
}

impl MessageReader {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES],
            scan: Scan::default(),
            again: Decoder::default(),
            waits: Waits::default(),
        }
    }

    /// Reads a message and notes what is wrong with it; gives what it is, where that is gathered and could be told.
    ///
    /// `opened` is its file, if it was opened ahead.
    pub(crate) fn check(
        &mut self,
        message: &Message<'_>,
        opened: Option<OwnedFd>,
        notes: &mut Notes<'_>,
    ) -> Result<Option<Seen>, Stopped> {
        notes.begin_message();
        let opened = match opened {
            Some(file) => fsys::state(&file).map(|meta| (file, meta)),
            None => fsys::open_file(message.dir, message.name),
        };
        let (file, meta) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                notes.add(open_fault(error), message.path(), error_name(error));
                return notes.end_message(0, false).map(|()| None);
            }
        };
        notes.stated(message.place, message.name.to_bytes(), &meta);
        if meta.kind != Kind::File {
            notes.add(FindingKind::ChangedWhileRead, message.path(), "no longer a regular file");
            return notes.end_message(0, false).map(|()| None);
        }
        if let Some((kind, detail)) = not_worth_reading(meta.size_bytes, &message.sizes) {
            notes.add(kind, message.path(), detail);
            return notes.end_message(0, false).map(|()| None);
        }
        self.scan.hash(notes.census().is_some());
        let read = self.read_through(&file, meta.size_bytes, notes.control)?;
        let covered = self.judge(message, &file, &meta, &read, notes)?;
        let hashes = read.pass.facts.hashes.filter(|_| covered);
        let marked = notes.is_marked();
        notes.end_message(read.stored_bytes, covered)?;
        Ok(hashes.map(|hashes| Seen { meta, hashes, read_bytes: read.stored_bytes, marked }))
    }

    fn read_through(&mut self, file: &OwnedFd, size_bytes: u64, control: &Control) -> Result<Read, Stopped> {
        let (mut stored_bytes, mut in_buffer) = (0, true);
        self.scan.begin(0);
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
            if let Encoding::Foreign(_) = self.scan.feed(&self.buffer[..count]) {
                break Ok(());
            }
            control.checkpoint(count as u64)?;
            // A file that is exactly as long as stated needs no further read to see its end.
            if stored_bytes == size_bytes {
                break Ok(());
            }
        };
        Ok(Read { stored_bytes, in_buffer, pass: self.scan.finish(), end })
    }

    /// Notes what was read; whether all of the message was looked at.
    fn judge(
        &mut self,
        message: &Message<'_>,
        file: &OwnedFd,
        meta: &Meta,
        read: &Read,
        notes: &mut Notes<'_>,
    ) -> Result<bool, Stopped> {
        if let Err(error) = read.end {
            notes.add(FindingKind::FileUnreadable, message.path(), error_name(error));
            return Ok(false);
        }
        let foreign = matches!(read.pass.encoding, Encoding::Foreign(_));
        if !foreign && read.stored_bytes != meta.size_bytes {
            let detail = format!("{} bytes stated, {} read", meta.size_bytes, read.stored_bytes);
            notes.add(FindingKind::ChangedWhileRead, message.path(), detail);
            return Ok(false);
        }
        let spot = || Spot { path: message.path(), at: None };
        match judge(&spot, message.sizes, &read.pass, notes) {
            Judged::Whole => Ok(true),
            Judged::Partly => Ok(false),
            Judged::Unvouched => {
                let structure = self.structure(file, read, notes.control)?;
                judge_structure(&spot, &structure.finish(), notes);
                Ok(true)
            }
        }
    }

    /// Header and structure, from the buffer if the whole message is in it, else by reading it again. What fails there was read
    /// well a moment ago; the structure then is of what could be read.
    fn structure(&mut self, file: &OwnedFd, read: &Read, control: &Control) -> Result<Structure, Stopped> {
        let mut structure = Structure::new();
        let count = usize::try_from(read.stored_bytes).ok().filter(|_| read.in_buffer);
        if let Some(bytes) = count.and_then(|count| self.buffer.get(..count)) {
            self.again.feed(bytes, &mut |plain| structure.feed(plain));
        } else {
            let mut offset = 0;
            while let Ok(count @ 1..) = rustix::io::pread(file, &mut self.buffer[..], offset) {
                self.again.feed(&self.buffer[..count], &mut |plain| structure.feed(plain));
                offset += count as u64;
                control.checkpoint(count as u64)?;
            }
        }
        self.again.finish();
        Ok(structure)
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
