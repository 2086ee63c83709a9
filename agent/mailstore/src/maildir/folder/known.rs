//! What the index of a folder knows: `dovecot.index` and its logs, joined into one history.
//!
//! An index says up to where of which log it was written, and a log where the one before it ended, so a gap shows. Dovecot
//! leaves none: it makes a log before the index, and turns a log over (to `.log.2`) before it writes the index anew; it drops
//! `.log.2` after two days, when the index has long been written past it; and a log in the place of a lost one begins where the
//! index ends. So where something is between, or an index has no log, a file was lost or an old one was put back, and nobody can
//! tell which messages there should be.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;

use rientro_types::FindingKind;

use super::{Folder, io_name, join};
use crate::fsys::Kind;
use crate::maildir::index::{self, IndexFault};
use crate::maildir::log::{self, LogHeader, Position, Replayed};
use crate::verify::Notes;

/// What is said of a gap.
const GAP: &str = "what came before the log is gone";

impl Folder<'_> {
    /// The UIDs the index knows; `None` where it is absent, cannot tell, or is damaged.
    pub(super) fn replayed_index(&self, notes: &mut Notes<'_>) -> Option<Replayed> {
        let index = match self.find(b"dovecot.index") {
            Some(Kind::File) => Some(self.read_index(notes)?),
            Some(_) => return None,
            None => None,
        };
        let path = join(self.path, b"dovecot.index.log");
        if index.is_some() && self.find(b"dovecot.index.log").is_none() {
            notes.add(FindingKind::IndexMalformed, path, "an index without its log");
            return None;
        }
        let log = self.read_log(c"dovecot.index.log", notes)?;
        match log::header(&log).and_then(|header| self.join_log(index, &log, &header, notes)) {
            Ok(known) => known.filter(|known| !known.unclear),
            Err(fault) => {
                notes.add(FindingKind::IndexMalformed, path, fault);
                None
            }
        }
    }

    fn join_log(
        &self,
        index: Option<index::Index>,
        log: &[u8],
        header: &LogHeader,
        notes: &mut Notes<'_>,
    ) -> Result<Option<Replayed>, &'static str> {
        let (mut known, from) = match index {
            Some(index) if index.index_id != header.index_id => {
                return Err("index and log have different ids");
            }
            Some(index) if index.log_seq > header.seq => return Err("log is older than the index"),
            Some(index) => {
                let from = Position { seq: index.log_seq, offset: index.log_head_offset };
                (Replayed::from(index), from)
            }
            None => (Replayed::default(), Position::default()),
        };
        if go_on(&mut known, from, log, header)? {
            return Ok(Some(known));
        }
        if self.find(b"dovecot.index.log.2").is_none() {
            return Err(GAP);
        }
        let Some(older) = self.read_log(c"dovecot.index.log.2", notes) else { return Ok(None) };
        let old = log::header(&older).map_err(|_| GAP)?;
        let is_before = old.seq == header.previous.seq && old.index_id == header.index_id;
        if !is_before || !go_on(&mut known, from, &older, &old)? {
            return Err(GAP);
        }
        known.replay(log, header, 0)?;
        Ok(Some(known))
    }

    fn read_index(&self, notes: &mut Notes<'_>) -> Option<index::Index> {
        let path = || join(self.path, b"dovecot.index");
        let (file, meta) = self.open_beside(c"dovecot.index", notes)?;
        match index::read(File::from(file), meta.size_bytes) {
            Ok(index) => return Some(index),
            Err(IndexFault::Read(error)) => notes.add(FindingKind::FileUnreadable, path(), io_name(&error)),
            Err(IndexFault::Malformed(fault)) => notes.add(FindingKind::IndexMalformed, path(), fault),
            Err(IndexFault::Limit(fault)) => notes.add(FindingKind::LimitReached, path(), fault),
            Err(IndexFault::Foreign(_)) => {}
        }
        None
    }

    fn read_log(&self, name: &CStr, notes: &mut Notes<'_>) -> Option<Vec<u8>> {
        if self.find(name.to_bytes()) != Some(Kind::File) {
            return None;
        }
        let (file, meta) = self.open_beside(name, notes)?;
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
}

/// Applies a log to what is known up to `from`; whether it goes on from there.
fn go_on(known: &mut Replayed, from: Position, log: &[u8], header: &LogHeader) -> Result<bool, &'static str> {
    let offset = if header.seq == from.seq {
        from.offset
    } else if header.previous.seq == 0 {
        // With a log that has none before it history begins, whatever there was.
        *known = Replayed::default();
        0
    } else if header.previous == from {
        0
    } else {
        return Ok(false);
    };
    known.replay(log, header, offset)?;
    Ok(true)
}
