//! An index where it stands: its file and its logs in one directory, joined into one history.
//!
//! An index says up to where of which log it was written, and a log where the one before it ended, so a gap shows. Dovecot
//! leaves none: it makes a log before the index, and turns a log over (to `.log.2`) before it writes the index anew; it drops
//! `.log.2` after two days, when the index has long been written past it; and a log in the place of a lost one begins where the
//! index ends. So where something is between, or an index has no log, a file was lost or an old one was put back, and nobody can
//! tell which messages there should be.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};

use rientro_types::FindingKind;

use super::file::{self, Index, IndexFault};
use super::log::{self, LogHeader, Position};
use super::table::{Table, Wanted};
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
}

/// The index of a folder.
pub(crate) const FOLDER_INDEX: IndexName =
    IndexName { file: c"dovecot.index", log: c"dovecot.index.log", older_log: c"dovecot.index.log.2" };

/// A directory in which an index may stand.
pub(crate) struct Place<'a> {
    pub(crate) dir: BorrowedFd<'a>,
    /// What is in it, sorted.
    pub(crate) names: &'a Names,
    /// Its path inside the mailbox.
    pub(crate) path: &'a [u8],
    pub(crate) index: IndexName,
}

impl Place<'_> {
    /// Whether the index's file or its log is there.
    pub(crate) fn is_there(&self) -> bool {
        [self.index.file, self.index.log].iter().any(|name| self.names.kind(name.to_bytes()).is_some())
    }

    /// Notes that it is not there, in a format that keeps in it what stands nowhere else.
    pub(crate) fn note_missing(&self, detail: &str, notes: &mut Notes<'_>) {
        notes.add(FindingKind::IndexMissing, join(self.path, self.index.file.to_bytes()), detail);
    }

    /// What the index says; `None` where it is absent, cannot tell, or is damaged, which is noted.
    pub(crate) fn load(&self, wanted: &[Wanted], notes: &mut Notes<'_>) -> Option<Table> {
        let index = match self.names.kind(self.index.file.to_bytes()) {
            Some(Kind::File) => Some(self.read_file(wanted, notes)?),
            Some(_) => return None,
            None => None,
        };
        let path = join(self.path, self.index.log.to_bytes());
        if index.is_some() && self.names.kind(self.index.log.to_bytes()).is_none() {
            notes.add(FindingKind::IndexMalformed, path, "an index without its log");
            return None;
        }
        let log = self.read_log(self.index.log, notes)?;
        match log::header(&log).and_then(|header| self.join_log(index, &log, &header, wanted, notes)) {
            Ok(known) => known.filter(|known| known.unclear.is_none()),
            Err(fault) => {
                notes.add(FindingKind::IndexMalformed, path, fault);
                None
            }
        }
    }

    fn join_log(
        &self,
        index: Option<Index>,
        log: &[u8],
        header: &LogHeader,
        wanted: &[Wanted],
        notes: &mut Notes<'_>,
    ) -> Result<Option<Table>, &'static str> {
        let (mut known, from) = match index {
            Some(index) if index.index_id != header.index_id => {
                return Err("index and log have different ids");
            }
            Some(index) if index.log_seq > header.seq => return Err("log is older than the index"),
            Some(index) => (index.table, Position { seq: index.log_seq, offset: index.log_head_offset }),
            None => (Table::keeping(wanted), Position::default()),
        };
        if go_on(&mut known, from, log, header, wanted)? {
            return Ok(Some(known));
        }
        if self.names.kind(self.index.older_log.to_bytes()).is_none() {
            return Err(GAP);
        }
        let Some(older) = self.read_log(self.index.older_log, notes) else { return Ok(None) };
        let old = log::header(&older).map_err(|_| GAP)?;
        let is_before = old.seq == header.previous.seq && old.index_id == header.index_id;
        if !is_before || !go_on(&mut known, from, &older, &old, wanted)? {
            return Err(GAP);
        }
        log::replay(&mut known, log, header, 0)?;
        Ok(Some(known))
    }

    fn read_file(&self, wanted: &[Wanted], notes: &mut Notes<'_>) -> Option<Index> {
        let path = || join(self.path, self.index.file.to_bytes());
        let (file, meta) = self.open(self.index.file, notes)?;
        match file::read(File::from(file), meta.size_bytes, wanted) {
            Ok(index) => return Some(index),
            Err(IndexFault::Read(error)) => notes.add(FindingKind::FileUnreadable, path(), io_name(&error)),
            Err(IndexFault::Malformed(fault)) => notes.add(FindingKind::IndexMalformed, path(), fault),
            Err(IndexFault::Limit(fault)) => notes.add(FindingKind::LimitReached, path(), fault),
            Err(IndexFault::Foreign(_)) => {}
        }
        None
    }

    fn read_log(&self, name: &CStr, notes: &mut Notes<'_>) -> Option<Vec<u8>> {
        if self.names.kind(name.to_bytes()) != Some(Kind::File) {
            return None;
        }
        let (file, meta) = self.open(name, notes)?;
        let path = join(self.path, name.to_bytes());
        if meta.size_bytes > log::LOG_BYTES_MAX {
            notes.add(FindingKind::LimitReached, path, format!("log of {} bytes", meta.size_bytes));
            return None;
        }
        let mut bytes = Vec::new();
        match File::from(file).take(log::LOG_BYTES_MAX).read_to_end(&mut bytes) {
            Ok(_) => Some(bytes),
            Err(error) => {
                notes.add(FindingKind::FileUnreadable, path, io_name(&error));
                None
            }
        }
    }

    fn open(&self, name: &CStr, notes: &mut Notes<'_>) -> Option<(OwnedFd, fsys::Meta)> {
        match fsys::open_file(self.dir, name) {
            Ok((file, meta)) if meta.kind == Kind::File => return Some((file, meta)),
            Ok(_) => {}
            Err(error) => notes.add(open_fault(error), join(self.path, name.to_bytes()), error_name(error)),
        }
        None
    }
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
