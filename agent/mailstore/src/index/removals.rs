//! Who removed what: the removals in the logs of an index, asked for or not.
//!
//! To remove a mail Dovecot first logs that somebody asked for it, then removes it, and logs that as done. What it finds to be gone
//! it logs as done only. Logs are looked through from their beginning, also before the place up to which the index was written.

use std::collections::BTreeMap;

use super::file::u32_at;
use super::log::{self, EXPUNGE, EXPUNGE_GUID, EXTERNAL, LogHeader, Position, TYPE_MASK, records};
use super::table::{contains, merged};

/// Removals of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removals {
    asked: Removed,
    done: Removed,
}

/// UIDs of messages, as ranges, and those of which the GUID was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Removed {
    ranges: Vec<(u32, u32)>,
    named: BTreeMap<u32, [u8; 16]>,
}

impl Removed {
    /// A GUID of zero is none.
    fn has(&self, uid: u32, guid: &[u8; 16]) -> bool {
        let named = self.named.get(&uid);
        named.is_some_and(|named| named == guid || *named == [0; 16]) || contains(&self.ranges, uid)
    }

    fn add(&mut self, kind: u32, body: &[u8]) {
        if kind & TYPE_MASK == EXPUNGE_GUID {
            for record in body.as_chunks::<20>().0 {
                let mut guid = [0; 16];
                guid.copy_from_slice(&record[4..]);
                self.named.insert(u32_at(record, 0), guid);
            }
        } else {
            self.ranges.extend(body.as_chunks::<8>().0.iter().map(|b| (u32_at(b, 0), u32_at(b, 4))));
        }
    }
}

impl Removals {
    /// Those of a log, and of the one before it, if that goes up to where this one begins.
    pub(super) fn of(older: Option<&[u8]>, log: &[u8]) -> Self {
        let mut removals = Self::default();
        let Ok(header) = log::header(log) else { return removals };
        let before = older.and_then(|older| log::header(older).ok().map(|header| (header, older)));
        let mut begun = false;
        if let Some((before, older)) = before.filter(|(before, _)| before.index_id == header.index_id) {
            let end = removals.add(older, &before, &mut begun);
            let is_before = header.previous == Position { seq: before.seq, offset: end };
            if !is_before {
                (removals, begun) = (Self::default(), false);
            }
        }
        removals.add(log, &header, &mut begun);
        removals.asked.ranges = merged(std::mem::take(&mut removals.asked.ranges));
        removals.done.ranges = merged(std::mem::take(&mut removals.done.ranges));
        removals
    }

    /// Adds those of a log; gives where it ends. Who asked for what the first record of all did may stand in a log that is gone.
    fn add(&mut self, log: &[u8], header: &LogHeader, begun: &mut bool) -> u32 {
        let mut end = header.end();
        for record in records(log, header) {
            let is_first = !std::mem::replace(begun, true);
            end = record.end;
            let kind = record.kind;
            if matches!(kind & TYPE_MASK, EXPUNGE | EXPUNGE_GUID) {
                if kind & EXTERNAL == 0 {
                    self.asked.add(kind, record.body);
                } else if !is_first {
                    self.done.add(kind, record.body);
                }
            }
        }
        end
    }

    /// Whether somebody asked to remove the message of this UID and GUID.
    pub(crate) fn is_asked(&self, uid: u32, guid: &[u8; 16]) -> bool {
        self.asked.has(uid, guid)
    }

    /// Whether this one was found to be gone, and nobody had asked for that.
    pub(crate) fn is_vanished(&self, uid: u32, guid: &[u8; 16]) -> bool {
        self.done.has(uid, guid) && !self.is_asked(uid, guid)
    }
}
