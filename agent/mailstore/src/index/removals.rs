//! Who removed what: the removals in the logs of an index, asked for or not.
//!
//! To remove a mail Dovecot first logs that somebody asked for it, then removes it, and logs that as done. What it finds to be gone
//! it logs as done only. Logs are looked through from their beginning, also before the place up to which the index was written.

use super::file::u32_at;
use super::log::{EXPUNGE, EXPUNGE_GUID, EXTERNAL, LogHeader, Record, TYPE_MASK, records};
use super::table::{contains, merged};

/// Removals of messages, as ranges of UIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removals {
    asked: Vec<(u32, u32)>,
    done: Vec<(u32, u32)>,
    /// The next record is the first of all: who asked for what it did may stand in a log that is gone.
    begun: bool,
}

impl Removals {
    /// Adds those of a log, which comes after those that were added before.
    pub(super) fn add(&mut self, log: &[u8], header: &LogHeader) {
        for Record { kind, body } in records(log, header) {
            let begun = std::mem::replace(&mut self.begun, true);
            let ranges: Vec<_> = match kind & TYPE_MASK {
                EXPUNGE => body.chunks_exact(8).map(|b| (u32_at(b, 0), u32_at(b, 4))).collect(),
                EXPUNGE_GUID => body.chunks_exact(20).map(|b| (u32_at(b, 0), u32_at(b, 0))).collect(),
                _ => continue,
            };
            if kind & EXTERNAL == 0 {
                self.asked.extend(ranges);
            } else if begun {
                self.done.extend(ranges);
            }
        }
    }

    /// Makes ready to be asked.
    pub(super) fn settle(mut self) -> Self {
        self.asked = merged(self.asked);
        self.done = merged(self.done);
        self
    }

    /// Whether somebody asked to remove this one.
    pub(crate) fn is_asked(&self, uid: u32) -> bool {
        contains(&self.asked, uid)
    }

    /// Whether this one was found to be gone.
    pub(crate) fn is_vanished(&self, uid: u32) -> bool {
        contains(&self.done, uid) && !self.is_asked(uid)
    }
}
