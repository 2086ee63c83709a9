//! One message of a dbox file: frame and content, against what its metadata says.
//!
//! A message whose size with CRLF line ends is the one that its metadata has is whole as it was delivered, however odd its
//! header or structure; a gzip stream whose checksum holds is what was compressed.

use std::os::fd::OwnedFd;

use rientro_types::{Digest, FindingKind};
use rustix::io::Errno;

use super::attachment::{AttachmentReader, Parts, Reference, Store, references};
use super::frame::{FileHeader, METADATA_BYTES_MAX, Metadata, MetadataFault, body_bytes};
use super::window::{WINDOW_BYTES, Window};
use crate::content::decode::{Decoder, Encoding};
use crate::content::identity::Hashes;
use crate::content::judge::{Judged, Spot, judge, judge_structure};
use crate::content::plain::PlainScan;
use crate::content::scan::{Pass, Scan};
use crate::content::sizes::Sizes;
use crate::content::stream::PLAIN_BYTES_MAX;
use crate::content::structure::Structure;
use crate::control::{Control, Stopped};
use crate::verify::Notes;

/// Bytes of metadata asked for at once; what attachments need more of is read then.
const METADATA_BYTES: usize = 512;

/// Longest file that is read to its end for its hash alone: a message as long as may be, or far more than an mdbox puts into one.
const STORED_BYTES_MAX: u64 = PLAIN_BYTES_MAX;

/// A dbox file that is open.
pub(super) struct DboxFile<'f> {
    pub(super) file: &'f OwnedFd,
    pub(super) bytes: u64,
    /// Path inside the mailbox.
    pub(super) path: &'f [u8],
    pub(super) header: FileHeader,
    /// It may hold several messages, so that findings say where.
    pub(super) several: bool,
    pub(super) attachments: Attachments<'f>,
}

/// Reads messages of dbox files, one after the other, with buffers that are kept.
pub(crate) struct DboxReader {
    pub(super) window: Window,
    /// On the metadata behind a body that is longer than the window, which then need not be read again.
    tail: Window,
    scan: Scan,
    again: Decoder,
    attachments: AttachmentReader,
}

/// A message that stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) guid: Option<[u8; 16]>,
    /// Position behind its metadata.
    pub(super) end: u64,
    /// All of it was looked at.
    pub(super) covered: bool,
    /// What it is, where that was asked for and could be told.
    pub(super) hashes: Option<Hashes>,
}

/// Where a body begins and ends.
#[derive(Clone, Copy)]
struct Extent {
    start: u64,
    end: u64,
}

/// What the metadata of a message says.
struct Told {
    sizes: Sizes,
    guid: Option<[u8; 16]>,
    /// Attachments that are stored apart.
    references: Result<Vec<Reference>, &'static str>,
    bytes: usize,
}

/// Where the attachments of a file's messages are.
#[derive(Clone, Copy)]
pub(super) enum Attachments<'a> {
    /// In a directory; files end in this suffix.
    In(&'a OwnedFd, &'a [u8]),
    /// Nobody knows, for this reason.
    Unknown(&'static str),
}

/// The directory of attachments of a root.
pub(crate) enum AttachmentRoot {
    /// None is set up.
    NotSetUp,
    /// It is open.
    Open(OwnedFd),
    /// It does not open.
    Closed,
}

impl AttachmentRoot {
    /// The attachments of files whose names end in `suffix`.
    pub(super) fn ending_in<'a>(&'a self, suffix: &'a [u8]) -> Attachments<'a> {
        match self {
            Self::Open(dir) => Attachments::In(dir, suffix),
            Self::NotSetUp => Attachments::Unknown(
                "its attachments are stored apart, and no directory of attachments is set up",
            ),
            Self::Closed => Attachments::Unknown("the directory of attachments does not open"),
        }
    }
}

impl DboxFile<'_> {
    /// The parts that a message is put together from; where they cannot be told, that is noted, and whether all of the message was
    /// looked at is the answer.
    fn parts<'a>(
        &'a self,
        told: &'a Told,
        spot: &dyn Fn() -> Spot,
        notes: &mut Notes<'_>,
    ) -> Result<Parts<'a>, bool> {
        match (&told.references, self.attachments) {
            (Err(what), _) => {
                spot().note(FindingKind::FrameMalformed, what, notes);
                Err(true)
            }
            (Ok(references), Attachments::Unknown(why)) if !references.is_empty() => {
                spot().note(FindingKind::FileUnreadable, why, notes);
                Err(false)
            }
            (Ok(references), Attachments::In(..)) if plain_bytes(references) > PLAIN_BYTES_MAX => {
                let detail = format!("attachments of {} bytes, not read", plain_bytes(references));
                spot().note(FindingKind::LimitReached, &detail, notes);
                Err(false)
            }
            (Ok(references), Attachments::In(dir, suffix)) => {
                Ok(Parts::new(references, Some(Store { dir, suffix })))
            }
            (Ok(references), Attachments::Unknown(_)) => Ok(Parts::new(references, None)),
        }
    }
}

/// Bytes that attachments have in their message.
fn plain_bytes(references: &[Reference]) -> u64 {
    references.iter().fold(0, |sum, reference| sum.saturating_add(reference.bytes))
}

/// Why no whole message stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No header stands there.
    Header(&'static str),
    /// Its header is well formed, and what follows is not what it says.
    Body(&'static str),
    /// It could not be read.
    Unread(Errno),
}

impl DboxReader {
    pub(crate) fn new() -> Self {
        Self {
            window: Window::new(WINDOW_BYTES),
            tail: Window::new(METADATA_BYTES),
            scan: Scan::default(),
            again: Decoder::default(),
            attachments: AttachmentReader::new(),
        }
    }

    /// Has files and messages hashed as they are gathered, from the next file on.
    pub(super) fn hash(&mut self, notes: &mut Notes<'_>) {
        let census = notes.census();
        self.scan.hash(census.is_some());
        self.window.hash(census.is_some_and(|census| census.lists_files()));
    }

    /// BLAKE3 of a file for those who gather; zero where it is not asked for, or cannot be told: of a file that is damaged or longer
    /// than any message.
    pub(super) fn stored_hash(
        &mut self,
        dbox: &DboxFile<'_>,
        notes: &mut Notes<'_>,
    ) -> Result<Digest, Stopped> {
        let is_wanted = notes.census().is_some_and(|census| census.lists_files());
        if !is_wanted || notes.is_marked() || dbox.bytes > STORED_BYTES_MAX {
            return Ok(Digest::ZERO);
        }
        let hash = self.window.finish_hash(dbox.file, dbox.bytes, notes.control)?;
        Ok(hash.unwrap_or(Digest::ZERO))
    }

    /// Reads the file header.
    pub(super) fn file_header(&mut self, file: &OwnedFd) -> Result<Result<FileHeader, &'static str>, Errno> {
        self.window.reset();
        self.tail.reset();
        // What is asked for holds the header of the first message too.
        self.window.at(file, 0, super::frame::FILE_HEADER_BYTES_MAX).map(FileHeader::parse)
    }

    /// Bytes read since the last call.
    pub(super) fn take_read_bytes(&mut self) -> u64 {
        self.window.take_read_bytes() + self.tail.take_read_bytes()
    }

    /// Reads the message at `at` and notes what is wrong with its content; what is wrong with its frame is the answer.
    pub(super) fn check(
        &mut self,
        dbox: &DboxFile<'_>,
        at: u64,
        notes: &mut Notes<'_>,
    ) -> Result<Result<Stored, Fault>, Stopped> {
        let extent = match self.extent(dbox, at) {
            Ok(extent) => extent,
            Err(fault) => return Ok(Err(fault)),
        };
        let told = match self.metadata(dbox, extent.end) {
            Ok(told) => told,
            Err(fault) => return Ok(Err(fault)),
        };
        let spot = || Spot { path: dbox.path.to_vec(), at: dbox.several.then_some(at) };
        let (guid, end) = (told.guid, extent.end + told.bytes as u64);
        let body_bytes = extent.end - extent.start;
        if body_bytes > PLAIN_BYTES_MAX {
            spot().note(FindingKind::LimitReached, &format!("a body of {body_bytes} bytes, not read"), notes);
            return Ok(Ok(Stored { guid, end, covered: false, hashes: None }));
        }
        let mut parts = match dbox.parts(&told, &spot, notes) {
            Ok(parts) => parts,
            Err(covered) => return Ok(Ok(Stored { guid, end, covered, hashes: None })),
        };
        let pass = match self.read_body(dbox, extent, &mut parts, &spot, notes)? {
            Ok(pass) => pass,
            Err(error) => return Ok(Err(Fault::Unread(error))),
        };
        let covered = if parts.is_broken() {
            !parts.is_unread()
        } else {
            match judge(&spot, told.sizes, &pass, notes) {
                Judged::Partly => false,
                Judged::Whole => true,
                Judged::Unvouched => {
                    let structure = self.structure(dbox.file, extent, notes.control)?;
                    judge_structure(&spot, &structure.finish(), notes);
                    true
                }
            }
        };
        let hashes = pass.facts.hashes.filter(|_| covered && !parts.is_broken());
        Ok(Ok(Stored { guid, end, covered, hashes }))
    }

    /// Where the body of the message at `at` is, by its header.
    fn extent(&mut self, dbox: &DboxFile<'_>, at: u64) -> Result<Extent, Fault> {
        let header_bytes = dbox.header.message_header_bytes;
        let bytes = self.window.at(dbox.file, at, header_bytes).map_err(Fault::Unread)?;
        let header = bytes.get(..header_bytes).ok_or(Fault::Header("message header is cut"))?;
        let body = body_bytes(header).map_err(Fault::Header)?;
        let start = at + header_bytes as u64;
        let end = start.checked_add(body).filter(|end| *end <= dbox.bytes);
        let end = end.ok_or(Fault::Body("the body leads beyond the end of the file"))?;
        Ok(Extent { start, end })
    }

    /// The second read. What fails here was read well a moment ago; the structure then is of what could be read.
    fn structure(&mut self, file: &OwnedFd, extent: Extent, control: &Control) -> Result<Structure, Stopped> {
        let mut structure = Structure::new();
        let mut at = extent.start;
        while at < extent.end {
            let Ok(piece @ [_, ..]) = self.window.at(file, at, 1) else { break };
            let piece = part(piece, extent.end - at);
            self.again.feed(piece, &mut |plain| structure.feed(plain));
            at += piece.len() as u64;
            control.checkpoint(piece.len() as u64)?;
        }
        self.again.finish();
        Ok(structure)
    }

    fn read_body(
        &mut self,
        dbox: &DboxFile<'_>,
        extent: Extent,
        parts: &mut Parts<'_>,
        spot: &dyn Fn() -> Spot,
        notes: &mut Notes<'_>,
    ) -> Result<Result<Pass, Errno>, Stopped> {
        self.scan.begin(extent.start);
        let (mut at, mut read) = (extent.start, Ok(()));
        loop {
            let piece = if at == extent.end { Ok(&[][..]) } else { self.window.at(dbox.file, at, 1) };
            let piece = match piece {
                // It was as long as that when it was stated.
                Ok([]) if at < extent.end => {
                    read = Err(Errno::STALE);
                    break;
                }
                Ok(piece) => part(piece, extent.end - at),
                Err(error) => {
                    read = Err(error);
                    break;
                }
            };
            let mut stopped = Ok(());
            let mut through = |plain: &[u8], scan: &mut PlainScan| {
                if stopped.is_ok() {
                    stopped = parts.pass(plain, &mut self.attachments, spot, notes, scan);
                }
            };
            let encoding = self.scan.feed_through(piece, &mut through);
            stopped?;
            at += piece.len() as u64;
            notes.control.checkpoint(piece.len() as u64)?;
            if at == extent.end || matches!(encoding, Encoding::Foreign(_)) {
                break;
            }
        }
        let pass = self.scan.finish();
        parts.end(spot, notes);
        Ok(read.map(|()| Pass { assembled: parts.any(), ..pass }))
    }

    fn metadata(&mut self, dbox: &DboxFile<'_>, at: u64) -> Result<Told, Fault> {
        let left = usize::try_from(dbox.bytes - at).unwrap_or(usize::MAX);
        let mut want = METADATA_BYTES.min(left);
        loop {
            let window = if self.window.holds(at, want) { &mut self.window } else { &mut self.tail };
            let bytes = window.at(dbox.file, at, want).map_err(Fault::Unread)?;
            let is_all = want == left || bytes.len() < want;
            match Metadata::parse(bytes) {
                Ok((metadata, bytes)) => {
                    let Metadata { guid, virtual_bytes, plain_bytes, attachments } = metadata;
                    let sizes = Sizes { plain_bytes, virtual_bytes };
                    let references = attachments.map_or(Ok(Vec::new()), references);
                    return Ok(Told { sizes, guid, references, bytes });
                }
                Err(MetadataFault::Malformed(what)) => return Err(Fault::Body(what)),
                Err(MetadataFault::Cut) if is_all => return Err(Fault::Body("the metadata is cut")),
                Err(MetadataFault::Cut) => want = (METADATA_BYTES_MAX + 1).min(left),
            }
        }
    }
}

/// The beginning of a piece, at most so many bytes.
fn part(piece: &[u8], bytes_max: u64) -> &[u8] {
    let left = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    &piece[..piece.len().min(left)]
}
