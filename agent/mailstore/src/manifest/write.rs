//! Writes the manifest of a shard while its mailboxes are looked at.
//!
//! It is written beside its place, made durable, and put into its place by a rename: there is a whole one at any moment. Mailboxes
//! whose stat-walk digest is the one of the manifest before are not read: what it has of them is taken over. Where that is
//! all, nothing is written.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rientro_types::{Digest, Tally};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::census::{Gathered, Room};
use super::file::{Entry, MARK, Manifest, ManifestError, Totals, ending};
use super::section::Section;
use crate::verify::Renewal;

/// Nobody else reads which messages a customer has.
const FILE_MODE: u32 = 0o600;

/// Where a manifest is written, and what is known before.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its place. What gets too large for memory meanwhile is put into files without names in the same directory.
    pub path: &'a Path,
    /// An earlier manifest of the same shard.
    pub previous: Option<&'a Manifest>,
    /// Whether that one is replaced also where damage is found.
    pub damaged_too: bool,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
}

/// What is put into the manifest of one mailbox.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// A section that was written.
    Written(Entry),
    /// What the manifest before has of it.
    Kept(Entry),
}

/// Takes sections from several readers.
pub(crate) struct Writer<'a> {
    target: Target<'a>,
    beside: PathBuf,
    /// It was renamed.
    in_place: bool,
    /// Locked as long as it is open.
    file: File,
    end: Mutex<u64>,
    failed: Mutex<Option<io::Error>>,
    pub(crate) room: Room<'a>,
}

impl<'a> Writer<'a> {
    /// Begins a manifest, for so many readers.
    pub(crate) fn begin(target: Target<'a>, readers: usize) -> Result<Self, ManifestError> {
        let mut name = target.path.file_name().map(OsString::from).unwrap_or_default();
        name.push(".new");
        let beside = target.path.with_file_name(name);
        let scratch =
            target.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let create = |source| ManifestError::Io { what: "create", path: beside.clone(), source };
        let file = claim(&beside).map_err(create)?;
        let file = file.ok_or_else(|| ManifestError::Busy { path: target.path.to_owned() })?;
        file.write_all_at(MARK, 0).map_err(create)?;
        let room = Room::of(scratch, readers);
        let end = Mutex::new(MARK.len() as u64);
        Ok(Self { target, beside, in_place: false, file, end, failed: Mutex::new(None), room })
    }

    /// What the manifest before has of a mailbox, if it is whole.
    pub(crate) fn previous(&self, mailbox: &[u8]) -> io::Result<Option<Section<'a>>> {
        let Some(section) = self.target.previous.and_then(|previous| Section::find(previous, mailbox)) else {
            return Ok(None);
        };
        Ok(section.is_intact()?.then_some(section))
    }

    /// Writes the section of a mailbox.
    pub(crate) fn put(
        &self,
        mailbox: &[u8],
        gathered: &Gathered<'_>,
        stat_walk: Digest,
        tally: &Tally,
    ) -> io::Result<Entry> {
        let mut places = Vec::new();
        gathered.places.iter().for_each(|place| place.encode(&mut places));
        let mut entry = Entry {
            mailbox: mailbox.to_vec(),
            at: 0,
            files_bytes: gathered.files.bytes(),
            rows: gathered.rows.len(),
            places_bytes: places.len() as u64,
            checksum: Digest::ZERO,
            stat_walk,
            root: gathered.root()?,
            bytes: gathered.bytes,
            findings: tally.findings,
        };
        let mut stretch = self.stretch(&mut entry)?;
        gathered.files.read_through(&mut |piece| stretch.push(piece))?;
        let mut rows = gathered.rows.read()?;
        while let Some(row) = rows.next_raw()? {
            stretch.push(&row)?;
        }
        stretch.push(&places)?;
        entry.checksum = stretch.finish()?;
        Ok(entry)
    }

    /// Takes a section over.
    fn copy(&self, from: &Section<'_>) -> io::Result<Entry> {
        let mut entry = from.entry.clone();
        let mut stretch = self.stretch(&mut entry)?;
        from.read_through(&mut |piece| stretch.push(piece))?;
        if stretch.finish()? != from.checksum() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the manifest before changed while it was read",
            ));
        }
        Ok(entry)
    }

    /// A stretch of the file for a section, whose place is put into its entry.
    fn stretch(&self, entry: &mut Entry) -> io::Result<Stretch<'_>> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        entry.at = *end;
        *end += entry.section_bytes().ok_or(io::ErrorKind::InvalidData)?;
        Ok(Stretch { file: &self.file, at: entry.at, buffer: Vec::new(), hasher: blake3::Hasher::new() })
    }

    /// Takes note of a failure; the first one is told.
    pub(crate) fn fail(&self, error: io::Error) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The first failure, if there was one.
    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), |source| {
            Err(ManifestError::Io { what: "write", path: self.beside.clone(), source })
        })
    }

    /// Ends the manifest, whose mailboxes are these, in order.
    pub(crate) fn finish(
        mut self,
        parts: Vec<Part>,
        shard: &[u8],
    ) -> Result<(Totals, Renewal), ManifestError> {
        let write = |source| ManifestError::Io { what: "write", path: self.beside.clone(), source };
        if let Some(previous) = self.target.previous.filter(|previous| is_unchanged(previous, &parts, shard))
        {
            return Ok((*previous.totals(), Renewal::Unchanged));
        }
        let mut entries = Vec::with_capacity(parts.len());
        for part in parts {
            entries.push(match part {
                Part::Written(entry) => entry,
                Part::Kept(entry) => {
                    let section =
                        self.target.previous.and_then(|previous| Section::find(previous, &entry.mailbox));
                    match section {
                        Some(section) => self.copy(&section).map_err(write)?,
                        None => entry,
                    }
                }
            });
        }
        let totals = Totals::of(&entries, shard, self.target.now_ms);
        let end = *self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(end)).map_err(write)?;
        file.write_all(&ending(&entries, totals, end)).map_err(write)?;
        file.sync_all().map_err(write)?;
        let place = self.target.path;
        let rename =
            |source| ManifestError::Io { what: "put into its place", path: place.to_owned(), source };
        fs::rename(&self.beside, place).map_err(rename)?;
        self.in_place = true;
        File::open(self.room.scratch).and_then(|dir| dir.sync_all()).map_err(rename)?;
        Ok((totals, Renewal::Written))
    }
}

impl Drop for Writer<'_> {
    /// What did not come into its place is of no use.
    fn drop(&mut self) {
        if !self.in_place {
            fs::remove_file(&self.beside).ok();
        }
    }
}

/// Opens an empty file at this path that nobody else writes; `None` where somebody does. What a killed writer left is taken over.
fn claim(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file =
            File::options().create(true).truncate(false).read(true).write(true).mode(FILE_MODE).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // The one who had it may have put it into its place meanwhile.
        let is_there =
            fs::metadata(path).is_ok_and(|there| file.metadata().is_ok_and(|own| own.ino() == there.ino()));
        if is_there {
            file.set_len(0)?;
            return Ok(Some(file));
        }
    }
}

fn is_unchanged(previous: &Manifest, parts: &[Part], shard: &[u8]) -> bool {
    previous.totals().mailboxes == parts.len() as u64
        && previous.totals().shard == Digest::of(shard)
        && parts.iter().all(|part| matches!(part, Part::Kept(_)))
}

/// Size of the pieces that are written at once.
const PIECE_BYTES: usize = 128 << 10;

/// A stretch of the file that is being written.
struct Stretch<'f> {
    file: &'f File,
    at: u64,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
}

impl Stretch<'_> {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES { self.put() } else { Ok(()) }
    }

    fn put(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file.write_all_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<Digest> {
        self.put()?;
        Ok(Digest::from_raw(self.hasher.finalize().into()))
    }
}
