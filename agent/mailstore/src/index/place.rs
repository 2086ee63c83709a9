//! An index where it stands: its file and its logs in one directory, joined into one history.
//!
//! An index says up to where of which log it was written, and a log where the one before it ended, so a gap shows. Dovecot
//! leaves none: it makes a log before the index, and turns a log over (to `.log.2`) before it writes the index anew; it drops
//! `.log.2` after two days, when the index has long been written past it; and a log in the place of a lost one begins where the
//! index ends. So where something is between, or an index has no log, a file was lost or an old one was put back, and nobody can
//! tell which messages there should be.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};

use rientro_types::FindingKind;

use super::file::{self, Index, IndexFault};
use super::log::{self, LogHeader, Position};
use super::removals::Removals;
use super::table::{Table, Wanted};
use crate::control::{Control, Stopped};
use crate::faults::{error_name, io_name, open_fault};
use crate::fsys::{self, Kind, Names};
use crate::mailbox::join;
use crate::verify::Notes;

/// What is said of a gap.
const GAP: &str = "what came before the log is gone";

/// Names of an index's files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexName {
    pub(crate) file: &'static CStr,
    pub(crate) log: &'static CStr,
    /// The log before that one.
    pub(crate) older_log: &'static CStr,
    /// What it keeps of messages' headers, which says nothing here.
    pub(crate) cache: &'static CStr,
}

/// The index of a folder.
pub(crate) const FOLDER_INDEX: IndexName = IndexName {
    file: c"dovecot.index",
    log: c"dovecot.index.log",
    older_log: c"dovecot.index.log.2",
    cache: c"dovecot.index.cache",
};

/// What an index is to its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    /// One beside others: what it cannot tell is no finding.
    OfSeveral,
    /// The only one, so that what it cannot tell nobody can.
    Alone,
}

/// A directory in which an index may stand.
pub(crate) struct Place<'a> {
    pub(crate) dir: BorrowedFd<'a>,
    /// What is in it, sorted.
    pub(crate) names: &'a Names,
    /// Its path inside the mailbox.
    pub(crate) path: &'a [u8],
    pub(crate) index: IndexName,
    pub(crate) witness: Witness,
}

impl Place<'_> {
    /// Whether the index's file or its log is there.
    pub(crate) fn is_there(&self) -> bool {
        [self.index.file, self.index.log].iter().any(|name| self.kind(name).is_some())
    }

    /// Notes that it is not there, in a format that keeps in it what stands nowhere else.
    pub(crate) fn note_missing(&self, detail: &str, notes: &mut Notes<'_>) {
        notes.add(FindingKind::IndexMissing, join(self.path, self.index.file.to_bytes()), detail);
    }

    /// What the index says; `None` where it is absent or damaged, which is noted, or cannot tell, which is noted where it is the only
    /// witness.
    pub(crate) fn load(&self, wanted: &[Wanted], notes: &mut Notes<'_>) -> Result<Option<Table>, Stopped> {
        self.note_covered(notes);
        let index = match self.kind(self.index.file) {
            Some(Kind::File) => match self.read_file(wanted, notes)? {
                Some(index) => Some(index),
                None => return Ok(None),
            },
            Some(Kind::Directory | Kind::Link | Kind::Special) => return Ok(None),
            None => None,
        };
        let path = join(self.path, self.index.log.to_bytes());
        if index.is_some() && self.kind(self.index.log).is_none() {
            notes.add(FindingKind::IndexMalformed, path, "an index without its log");
            return Ok(None);
        }
        let Some(log) = self.read_log(self.index.log, notes)? else { return Ok(None) };
        let joined = match log::header(&log) {
            Ok(header) => self.join_log(index, &log, &header, wanted, notes)?,
            Err(fault) => Err(fault),
        };
        match joined {
            Ok(Some(Table { unclear: Some(why), .. })) => self.note_unclear(self.index.log, why, notes),
            Ok(known) => return Ok(known),
            Err(fault) => notes.add(FindingKind::IndexMalformed, path, fault),
        }
        Ok(None)
    }

    fn kind(&self, name: &CStr) -> Option<Kind> {
        self.names.kind(name.to_bytes())
    }

    /// Notes directories in the place of the only witness's files. Links and special files are named where the entries of the
    /// directory are looked at.
    fn note_covered(&self, notes: &mut Notes<'_>) {
        if self.witness == Witness::OfSeveral {
            return;
        }
        let IndexName { file, log, older_log, cache } = self.index;
        for name in [file, log, older_log, cache] {
            if self.kind(name) == Some(Kind::Directory) {
                let path = join(self.path, name.to_bytes());
                notes.add(FindingKind::IndexMalformed, path, "a directory stands in its place");
            }
        }
    }

    /// Notes that the only witness cannot tell.
    fn note_unclear(&self, name: &CStr, why: &str, notes: &mut Notes<'_>) {
        if self.witness == Witness::Alone {
            notes.add(FindingKind::FileUnreadable, join(self.path, name.to_bytes()), why);
        }
    }

    /// The removals in its logs, as far back as they reach. What is wrong with a log is told where the index is loaded.
    pub(crate) fn removals(&self, control: &Control) -> Result<Removals, Stopped> {
        let older = self.read_quietly(self.index.older_log, control)?;
        let log = self.read_quietly(self.index.log, control)?;
        Ok(log.map_or_else(Removals::default, |log| Removals::of(older.as_deref(), &log)))
    }

    /// Reads a log of which all that is wrong is told elsewhere.
    fn read_quietly(&self, name: &CStr, control: &Control) -> Result<Option<Vec<u8>>, Stopped> {
        let opened = fsys::open_file(self.dir, name).ok().filter(|(_, meta)| meta.kind == Kind::File);
        let Some((file, _)) = opened else { return Ok(None) };
        let (mut bytes, mut input) = (Vec::new(), Paced::new(file, control));
        let read = (&mut input).take(log::LOG_BYTES_MAX).read_to_end(&mut bytes);
        input.end()?;
        Ok(read.is_ok().then_some(bytes))
    }

    fn join_log(
        &self,
        index: Option<Index>,
        log: &[u8],
        header: &LogHeader,
        wanted: &[Wanted],
        notes: &mut Notes<'_>,
    ) -> Result<Result<Option<Table>, &'static str>, Stopped> {
        let (mut known, from) = match index {
            Some(index) if index.index_id != header.index_id => {
                return Ok(Err("index and log have different ids"));
            }
            Some(index) if index.log_seq > header.seq => return Ok(Err("log is older than the index")),
            Some(index) => (index.table, Position { seq: index.log_seq, offset: index.log_head_offset }),
            None => (Table::keeping(wanted), Position::default()),
        };
        match go_on(&mut known, from, log, header, wanted) {
            Ok(true) => return Ok(Ok(Some(known))),
            Ok(false) => {}
            Err(fault) => return Ok(Err(fault)),
        }
        if self.kind(self.index.older_log).is_none() {
            return Ok(Err(GAP));
        }
        let Some(older) = self.read_log(self.index.older_log, notes)? else { return Ok(Ok(None)) };
        Ok(join_older(known, from, &older, (log, header), wanted).map(Some))
    }

    fn read_file(&self, wanted: &[Wanted], notes: &mut Notes<'_>) -> Result<Option<Index>, Stopped> {
        let Some((file, meta)) = self.open(self.index.file, notes) else { return Ok(None) };
        let path = || join(self.path, self.index.file.to_bytes());
        let mut input = Paced::new(file, notes.control);
        let read = file::read(&mut input, meta.size_bytes, wanted);
        input.end()?;
        match read {
            Ok(index) => return Ok(Some(index)),
            Err(IndexFault::Read(error)) => notes.add(FindingKind::FileUnreadable, path(), io_name(&error)),
            Err(IndexFault::Malformed(fault)) => notes.add(FindingKind::IndexMalformed, path(), fault),
            Err(IndexFault::Limit(fault)) => notes.add(FindingKind::LimitReached, path(), fault),
            Err(IndexFault::Foreign(fault)) => self.note_unclear(self.index.file, fault, notes),
        }
        Ok(None)
    }

    fn read_log(&self, name: &CStr, notes: &mut Notes<'_>) -> Result<Option<Vec<u8>>, Stopped> {
        if self.kind(name) != Some(Kind::File) {
            return Ok(None);
        }
        let Some((file, meta)) = self.open(name, notes) else { return Ok(None) };
        let path = join(self.path, name.to_bytes());
        if meta.size_bytes > log::LOG_BYTES_MAX {
            notes.add(FindingKind::LimitReached, path, format!("log of {} bytes", meta.size_bytes));
            return Ok(None);
        }
        let (mut bytes, mut input) = (Vec::new(), Paced::new(file, notes.control));
        let read = (&mut input).take(log::LOG_BYTES_MAX).read_to_end(&mut bytes);
        input.end()?;
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) => {
                notes.add(FindingKind::FileUnreadable, path, io_name(&error));
                Ok(None)
            }
        }
    }

    fn open(&self, name: &CStr, notes: &mut Notes<'_>) -> Option<(OwnedFd, fsys::Meta)> {
        let path = || join(self.path, name.to_bytes());
        match fsys::open_file(self.dir, name) {
            Ok((file, meta)) if meta.kind == Kind::File => return Some((file, meta)),
            Ok(_) => notes.add(FindingKind::ChangedWhileRead, path(), "no longer a regular file"),
            Err(error) => notes.add(open_fault(error), path(), error_name(error)),
        }
        None
    }
}

/// A file that is read at the pace asked for.
struct Paced<'a> {
    file: File,
    control: &'a Control,
    stopped: Result<(), Stopped>,
}

impl<'a> Paced<'a> {
    fn new(file: OwnedFd, control: &'a Control) -> Self {
        Self { file: File::from(file), control, stopped: Ok(()) }
    }

    /// Whether the reading was stopped, so that its error is none of the file.
    fn end(self) -> Result<(), Stopped> {
        self.stopped
    }
}

impl Read for Paced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.stopped = self.control.checkpoint(count as u64);
        self.stopped.map(|()| count).map_err(|Stopped| io::Error::other("stopped"))
    }
}

/// Puts the log before the one at hand between that and what is known.
fn join_older(
    mut known: Table,
    from: Position,
    older: &[u8],
    (log, header): (&[u8], &LogHeader),
    wanted: &[Wanted],
) -> Result<Table, &'static str> {
    let old = log::header(older).map_err(|_| GAP)?;
    let is_before = old.seq == header.previous.seq && old.index_id == header.index_id;
    if !is_before || !go_on(&mut known, from, older, &old, wanted)? {
        return Err(GAP);
    }
    log::replay(&mut known, log, header, 0)?;
    Ok(known)
}

/// Applies a log to what is known up to `from`; whether it goes on from there.
fn go_on(
    known: &mut Table,
    from: Position,
    log: &[u8],
    header: &LogHeader,
    wanted: &[Wanted],
) -> Result<bool, &'static str> {
    let offset = if header.seq == from.seq {
        from.offset
    } else if header.previous.seq == 0 {
        // With a log that has none before it history begins, whatever there was.
        *known = Table::keeping(wanted);
        0
    } else if header.previous == from {
        0
    } else {
        return Ok(false);
    };
    log::replay(known, log, header, offset)?;
    Ok(true)
}
