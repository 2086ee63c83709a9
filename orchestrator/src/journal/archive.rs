//! Trimmed entries, kept for ever in files beside the journal.
//!
//! A file holds the records that its name says, is written under another name, synced, and only then given that name: it is
//! whole or it is not there. Files are never changed. An entry leaves the journal only once its file is there, so after a
//! crash the newest file may repeat entries that are still in the journal; the journal's copy counts then.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use rientro_types::Seq;

use super::frame::{self, FrameError, Kind};
use super::{JournalError, SealedEntry, files};

const MAGIC: [u8; 8] = *b"RNTARC\x00\x01";
const SUFFIX: &str = ".entries";
const UNFINISHED: &str = "unfinished";

/// Most entries in one file. They leave the journal in one commit, and that commit must not hold up appends for long.
const FILE_ENTRIES_MAX: usize = 8_192;
/// Bytes of payload after which a file ends, so that finding a record in it stays quick.
const FILE_BYTES_MAX: usize = 64 << 20;

/// The folder of archive files of one journal.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    folder: PathBuf,
}

/// One archive file: the records from `first` up to, not including, `next`.
#[derive(Clone, Debug)]
struct Range {
    first: Seq,
    next: Seq,
    path: PathBuf,
}

impl Archive {
    /// The archive of the journal at `journal`.
    pub(super) fn beside(journal: &Path) -> Self {
        Self { folder: files::sibling(journal, ".archive") }
    }

    /// The folder, which need not exist.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes files that repeat what the journal holds from `first` up to `end`, left by a crash.
    pub(super) fn remove_repeated(&self, first: Seq, end: Seq) -> Result<(), JournalError> {
        for range in self.ranges()?.into_iter().rev().take_while(|r| r.next > first) {
            if range.first < first || range.next > end {
                let what = "the archive file is not of this journal".to_owned();
                return Err(JournalError::Broken { path: range.path, seq: range.first, what });
            }
            files::remove_leftover(&range.path)?;
        }
        Ok(())
    }

    /// Writes `entries`, which follow each other, into a file of their own.
    pub(super) fn store(&self, entries: &[SealedEntry]) -> Result<(), JournalError> {
        let (Some(head), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        if !self.folder.is_dir() {
            files::create_folder(&self.folder)?;
            files::sync_folder_of(&self.folder)?;
        }
        let unfinished = self.folder.join(UNFINISHED);
        files::remove_leftover(&unfinished)?;
        let file = files::create(&unfinished)?;
        write_all(file, entries).map_err(|e| JournalError::io("write", &unfinished, e))?;
        let name = format!("{:020}-{:020}{SUFFIX}", head.seq().raw(), last.seq_next().raw());
        files::publish(&unfinished, &self.folder.join(name))
    }

    /// Entries in order from the one that holds record `from`, up to the end of its file or `bytes_max` bytes.
    pub(super) fn read(&self, from: Seq, bytes_max: usize) -> Result<Vec<SealedEntry>, JournalError> {
        let range = self.ranges()?.into_iter().find(|r| r.first <= from && from < r.next);
        let range = range.ok_or_else(|| JournalError::Broken {
            path: self.folder.clone(),
            seq: from,
            what: "no archive file holds this record".to_owned(),
        })?;
        let file = File::open(&range.path).map_err(|e| JournalError::io("open", &range.path, e))?;
        let mut input = BufReader::with_capacity(1 << 18, file);
        let mut page = Page::new(bytes_max);
        let read =
            frame::read_magic(&mut input, MAGIC).and_then(|()| page.fill(&mut input, from, range.next));
        match read {
            Err(FrameError::Io(e)) => Err(JournalError::io("read", &range.path, e)),
            Err(FrameError::Damaged(what)) if page.entries.is_empty() => {
                Err(JournalError::Broken { path: range.path, seq: from, what: what.to_owned() })
            }
            Ok(()) | Err(FrameError::Damaged(_)) => Ok(page.entries),
        }
    }

    fn ranges(&self) -> Result<Vec<Range>, JournalError> {
        let error = |e| JournalError::io("list", &self.folder, e);
        let listed = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed.map_err(error)?,
        };
        let mut ranges = Vec::new();
        for file in listed {
            let path = file.map_err(error)?.path();
            ranges.extend(Range::of(path));
        }
        ranges.sort_unstable_by_key(|r| r.first);
        Ok(ranges)
    }
}

impl Range {
    fn of(path: PathBuf) -> Option<Self> {
        let (first, next) = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.split_once('-')?;
        let number = |text: &str| text.parse().ok().map(Seq::from_raw);
        Some(Self { first: number(first)?, next: number(next)?, path })
    }
}

fn write_all(file: File, entries: &[SealedEntry]) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 18, file);
    out.write_all(&MAGIC)?;
    for entry in entries {
        frame::write(&mut out, Kind::Entry, &entry.to_stored())?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}

/// Entries gathered up to a bound, each one linked to the one before.
pub(super) struct Page {
    pub(super) entries: Vec<SealedEntry>,
    bytes: usize,
    bytes_max: usize,
    entries_max: usize,
}

impl Page {
    /// A page that ends once it has `bytes_max` bytes of payload.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { entries: Vec::new(), bytes: 0, bytes_max, entries_max: usize::MAX }
    }

    /// A page that fits into one archive file.
    pub(super) fn of_one_file() -> Self {
        Self { entries_max: FILE_ENTRIES_MAX, ..Self::new(FILE_BYTES_MAX) }
    }

    /// Takes `entry`, or says why it does not follow. `Ok(false)` when no further one is wanted.
    pub(super) fn push(&mut self, entry: SealedEntry) -> Result<bool, &'static str> {
        if let Some(last) = self.entries.last() {
            follows(last, &entry)?;
        }
        self.bytes = self.bytes.saturating_add(entry.payload().len());
        self.entries.push(entry);
        Ok(self.bytes < self.bytes_max && self.entries.len() < self.entries_max)
    }

    fn fill(&mut self, input: &mut impl std::io::Read, from: Seq, end: Seq) -> Result<(), FrameError> {
        loop {
            let (Kind::Entry, stored) = frame::read(input)? else {
                return Err(FrameError::Damaged("a frame is out of place"));
            };
            let entry = SealedEntry::from_stored(&stored).map_err(FrameError::Damaged)?;
            let next = entry.seq_next();
            if next > end {
                return Err(FrameError::Damaged("an entry goes beyond the file's name"));
            }
            if next > from && !self.push(entry).map_err(FrameError::Damaged)? || next == end {
                return Ok(());
            }
        }
    }
}

/// Whether `entry` comes right after `before`.
pub(super) fn follows(before: &SealedEntry, entry: &SealedEntry) -> Result<(), &'static str> {
    if entry.seq() != before.seq_next() {
        return Err("the entry's number does not follow the one before");
    }
    if entry.previous() != before.digest() {
        return Err("the entry does not carry the digest of the one before");
    }
    if entry.epoch() < before.epoch() {
        return Err("the entry's epoch is below that of the one before");
    }
    Ok(())
}
