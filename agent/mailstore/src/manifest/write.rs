//! Writes the manifest of a shard while its mailboxes are looked at.
//!
//! It is written beside its place ([`super::beside`]), made durable, and put into its place by a rename: there is a whole one at any
//! moment. Mailboxes whose stat-walk digest is the one of the manifest before are not read: what it has of them is taken over. So is
//! what it has of mailboxes that are damaged, unreadable or gone by now: what is lost while nobody looks must be missed later. Where
//! that is all, nothing is written.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rientro_types::Digest;

use super::beside::{Beside, check_place, directory_of, is_same};
use super::census::Gathered;
use super::file::{Entry, MARK, Manifest, ManifestError, Totals, ending};
use super::join::RawRows;
use super::merkle::Tree;
use super::section::Section;
use super::sort::key;
use crate::layout::walk::path_order;
use crate::verify::{Expected, Renewal};

/// Where a manifest is written, and what is known before.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its place. What gets too large for memory meanwhile is put into files without names in the same directory.
    pub path: &'a Path,
    /// An earlier manifest of the same shard.
    pub previous: Option<&'a Manifest>,
    /// Whether mailboxes in which anything is damaged or gone are written anew as well, and such as are known to be missing are left
    /// out, instead of keeping what that one has of them. One of whose messages any could not be looked for keeps it all the same.
    pub damaged_too: bool,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
}

/// What is put into the manifest of one mailbox.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// A section that was written.
    Written(Entry),
    /// What the manifest before has of it, as nothing has changed.
    Kept(Entry),
    /// What the manifest before has of it, as what is there is damaged or could not be read.
    Withheld(Entry),
}

impl<'a> Before<'a> {
    /// Its section, if that is as it was written.
    pub(crate) fn whole(&self) -> Option<&Section<'a>> {
        match self {
            Self::Whole(section) => Some(section),
            Self::Nothing | Self::Damaged(_) => None,
        }
    }

    /// Its entry, whatever its section is like.
    pub(crate) fn entry(&self) -> Option<&'a Entry> {
        match self {
            Self::Nothing => None,
            Self::Whole(section) => Some(section.entry),
            Self::Damaged(entry) => Some(entry),
        }
    }
}

impl Part {
    fn entry(&self) -> &Entry {
        let (Self::Written(entry) | Self::Kept(entry) | Self::Withheld(entry)) = self;
        entry
    }
}

/// What the manifest before has of a mailbox.
pub(crate) enum Before<'a> {
    Nothing,
    Whole(Section<'a>),
    /// What it has is not what was written.
    Damaged(&'a Entry),
}

/// Takes sections from several readers.
pub(crate) struct Writer<'a> {
    target: Target<'a>,
    beside: Beside,
    end: Mutex<u64>,
    failed: Mutex<Option<io::Error>>,
    /// The directory that it is in.
    pub(crate) scratch: &'a Path,
}

impl<'a> Writer<'a> {
    /// Begins a manifest.
    ///
    /// Fails before anything is read where it could not be put into its place, or where the manifest before is not the one that
    /// stands there: another writer may have put one there between its opening and this claim.
    pub(crate) fn begin(target: Target<'a>) -> Result<Self, ManifestError> {
        let place = target.path;
        check_place(place)?;
        let beside = Beside::claim(place)?;
        let before = target.previous.filter(|before| before.path() == place);
        if !before.is_none_or(|before| is_same(&before.file, fs::metadata(place))) {
            return Err(ManifestError::Replaced { path: place.to_owned() });
        }
        let scratch = directory_of(place);
        beside.file.set_len(0).map_err(|source| beside.error("write", source))?;
        beside.file.write_all_at(MARK, 0).map_err(|source| beside.error("write", source))?;
        let end = Mutex::new(MARK.len() as u64);
        Ok(Self { target, beside, end, failed: Mutex::new(None), scratch })
    }

    /// Whether mailboxes are written also where they are damaged.
    pub(crate) fn takes_damaged(&self) -> bool {
        self.target.damaged_too
    }

    /// What the manifest before has of a mailbox. Where it could not be read just now, it may be whole: that is an error.
    pub(crate) fn previous(&self, mailbox: &[u8]) -> io::Result<Before<'a>> {
        let Some(section) = self.target.previous.and_then(|previous| Section::find(previous, mailbox)) else {
            return Ok(Before::Nothing);
        };
        match section.is_usable() {
            Ok(true) => Ok(Before::Whole(section)),
            Ok(false) => Ok(Before::Damaged(section.entry)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Before::Damaged(section.entry)),
            Err(error) => Err(unread(&error)),
        }
    }

    /// Writes the section of a mailbox.
    pub(crate) fn put(
        &self,
        mailbox: &[u8],
        gathered: &Gathered<'_>,
        stat_walk: Digest,
        findings: u64,
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
            root: Digest::ZERO,
            bytes: gathered.bytes,
            findings,
        };
        let mut stretch = self.stretch(&mut entry)?;
        gathered.files.read_through(&mut |piece| stretch.push(piece))?;
        let (mut rows, mut tree) = (gathered.rows.read()?, Tree::default());
        while let Some(row) = rows.next_raw()? {
            tree.push(key(&row));
            stretch.push(&row)?;
        }
        stretch.push(&places)?;
        (entry.root, entry.checksum) = (tree.root(), stretch.finish()?);
        Ok(entry)
    }

    /// Takes a section over. One that is damaged stays so, which its checksum tells.
    fn copy(&self, from: &Section<'_>) -> io::Result<Entry> {
        let mut entry = from.entry.clone();
        let mut stretch = self.stretch(&mut entry)?;
        let mut is_refused = false;
        let read = from.read_through(&mut |piece| {
            let put = stretch.push(piece);
            is_refused |= put.is_err();
            put
        });
        read.map_err(|error| if is_refused { error } else { unread(&error) })?;
        let is_alike = stretch.finish()? == from.checksum();
        if !is_alike && from.is_intact().map_err(|error| unread(&error))? {
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
        Ok(Stretch {
            file: &self.beside.file,
            at: entry.at,
            buffer: Vec::new(),
            hasher: blake3::Hasher::new(),
        })
    }

    /// Takes note of a failure; the first one is told.
    pub(crate) fn fail(&self, error: io::Error) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The first failure, if there was one.
    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), |source| Err(self.beside.error("write", source)))
    }

    /// Ends the manifest, whose mailboxes are these, in order. Mailboxes that are not there keep what the one before has of them, unless
    /// damage is taken and they are lost, or a list of those that must be there does not have them.
    pub(crate) fn finish(
        mut self,
        parts: Vec<Part>,
        shard: &[u8],
        listed: Option<&Expected>,
        lost: &BTreeSet<Vec<u8>>,
    ) -> Result<Ending, ManifestError> {
        let write = |source| self.beside.error("write", source);
        let parts = self.with_missing(parts, listed, lost);
        let withheld = parts.iter().filter(|part| matches!(part, Part::Withheld(_))).count() as u64;
        if let Some(previous) = self.target.previous.filter(|previous| is_unchanged(previous, &parts)) {
            let renewal = if withheld > 0 { Renewal::Kept } else { Renewal::Unchanged };
            return Ok(Ending { totals: *previous.totals(), renewal, withheld });
        }
        let entries: Vec<_> =
            parts.into_iter().map(|part| self.entry(part)).collect::<io::Result<_>>().map_err(write)?;
        let totals = Totals::of(&entries, shard, self.target.now_ms);
        // Mailboxes alone are no evidence that mail was there: a mail server makes them where a volume is not mounted.
        let had_some = self.target.previous.is_some_and(|previous| previous.totals().messages > 0);
        let none_listed = listed.is_some_and(Expected::is_empty);
        if self.target.damaged_too && had_some && totals.messages == 0 && !none_listed {
            return Err(ManifestError::Unfinished(
                "none of the messages that it has is left; is the volume mounted? Only --anew takes that for a baseline",
            ));
        }
        let end = *self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = &self.beside.file;
        file.seek(SeekFrom::Start(end)).map_err(write)?;
        file.write_all(&ending(&entries, totals, end)).map_err(write)?;
        file.sync_all().map_err(write)?;
        self.beside.put_into(self.target.path)?;
        let sync = |source| ManifestError::Io { what: "sync", path: self.scratch.to_owned(), source };
        File::open(self.scratch).and_then(|dir| dir.sync_all()).map_err(sync)?;
        Ok(Ending { totals, renewal: Renewal::Written, withheld })
    }

    /// The parts, and those of mailboxes that the manifest before has and that are not there.
    fn with_missing(
        &self,
        parts: Vec<Part>,
        listed: Option<&Expected>,
        lost: &BTreeSet<Vec<u8>>,
    ) -> Vec<Part> {
        let Some(previous) = self.target.previous else { return parts };
        let mut all = Vec::with_capacity(parts.len());
        let mut before = previous.entries.iter().peekable();
        let is_kept = |entry: &Entry| {
            let is_taken = self.target.damaged_too && lost.contains(&entry.mailbox);
            !is_taken && listed.is_none_or(|listed| listed.contains(&entry.mailbox))
        };
        for part in parts {
            let mailbox = &part.entry().mailbox;
            let is_earlier = |entry: &&Entry| path_order(&entry.mailbox, mailbox).is_lt();
            while let Some(missing) = before.next_if(is_earlier) {
                all.extend(is_kept(missing).then(|| Part::Withheld(missing.clone())));
            }
            before.next_if(|entry| entry.mailbox == *mailbox);
            all.push(part);
        }
        all.extend(before.filter(|entry| is_kept(entry)).map(|missing| Part::Withheld(missing.clone())));
        all
    }

    /// The entry of a part, which is taken over where it is one of the manifest before.
    fn entry(&self, part: Part) -> io::Result<Entry> {
        match part {
            Part::Written(entry) => Ok(entry),
            Part::Kept(entry) | Part::Withheld(entry) => {
                let previous = self.target.previous.ok_or(io::ErrorKind::NotFound)?;
                let section = Section::find(previous, &entry.mailbox).ok_or(io::ErrorKind::NotFound)?;
                self.copy(&section)
            }
        }
    }
}

/// What the writing came to.
pub(crate) struct Ending {
    /// Of the manifest that is in the place then.
    pub(crate) totals: Totals,
    pub(crate) renewal: Renewal,
    /// Mailboxes that keep what the manifest before has of them.
    pub(crate) withheld: u64,
}

/// The manifest before could not be read, which says nothing of what it has.
fn unread(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the manifest before cannot be read: {error}"))
}

fn is_unchanged(previous: &Manifest, parts: &[Part]) -> bool {
    previous.entries.len() == parts.len() && parts.iter().all(|part| !matches!(part, Part::Written(_)))
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
