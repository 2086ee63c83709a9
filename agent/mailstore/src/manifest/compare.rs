//! A mailbox against its baseline: which messages are intact, and what became of the others.
//!
//! Joins of lists in order, each of what the one before left, so that neither a large mailbox nor many equal messages in one
//! need memory or time beyond their number:
//!
//! 1. the same message in the same folder by its GUID. With the same content it is intact, else it was altered. Of copies each
//!    is first looked for under its UID: one of them may have been removed. Messages that have no GUID are not altered into each
//!    other: nothing says that they are the same;
//! 2. of what is left, the same content: in the same place it got another GUID, else it was moved;
//! 3. what is left of the baseline is gone, and `folders` says what became of it. The folder's index tells whether somebody asked
//!    for that, and the log of folders whether the folder was removed. A message that Dovecot found without its file is in its log
//!    as removed by nobody: it is lost. Where the log does not reach back, nobody knows.
//!
//! What is left of the mailbox came since. In a file with several messages one is compared if any of the folders that refer to it
//! has it in the baseline.

mod folders;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;

use rientro_types::FindingKind;

use self::folders::{Fate, Folders};
use super::census::{Gathered, Room};
use super::join::{Join, Kept, Pair, RawRows};
use super::row::{Order, Row};
use super::section::Section;
use super::sort::{Sorted, Sorter};
use crate::content::judge::Spot;
use crate::control::Stopped;
use crate::verify::Notes;

/// What comparison with a baseline adds up to, in messages of the baseline except where it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The same content in the same folder.
    pub intact: u64,
    /// Other content.
    pub altered: u64,
    /// Of these, the ones that are shorter than they were.
    pub truncated: u64,
    /// The same content in another folder, or put into the same one again.
    pub moved: u64,
    /// Their owner removed them.
    pub expunged: u64,
    /// Lost, or there and not to be read.
    pub missing: u64,
    /// Gone, and nothing tells whether their owner removed them.
    pub gone: u64,
    /// Not compared with anything: what they are in was not looked into, or the baseline could not be read. Each lowers the coverage.
    pub uncompared: u64,
    /// Of mailboxes that are not there, and that the list of those that must be there does not have. The list decides: they are neither
    /// lost nor uncovered.
    pub unlisted: u64,
    /// Messages that the baseline does not have.
    pub new: u64,
}

impl Comparison {
    /// How many messages of the baseline are in it.
    pub(crate) fn of_baseline(&self) -> u64 {
        let Self {
            intact,
            altered,
            truncated: _,
            moved,
            expunged,
            missing,
            gone,
            uncompared,
            unlisted,
            new: _,
        } = self;
        intact + altered + moved + expunged + missing + gone + uncompared + unlisted
    }

    /// Adds the counts of another mailbox.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { intact, altered, truncated, moved, expunged, missing, gone, uncompared, unlisted, new } =
            other;
        self.intact += intact;
        self.altered += altered;
        self.truncated += truncated;
        self.moved += moved;
        self.expunged += expunged;
        self.missing += missing;
        self.gone += gone;
        self.uncompared += uncompared;
        self.unlisted += unlisted;
        self.new += new;
    }
}

/// Rows after which the work can be held or ended.
const STEPS_UNHEARD: u32 = 1_024;

/// Most messages of which it is known that they were told. In a mailbox that has more that are altered and in several folders,
/// some are told once for each folder.
const TOLD_MAX: usize = 64 << 10;

/// In which order rows are, and the bytes at their beginning in which two are alike. Folder and GUID take 32, identity 32, UID 4.
type Alike = (Order, usize);

/// The GUID of messages that have none.
const NO_GUID: [u8; 16] = [0; 16];

const IN_PLACE: Alike = (Order::Place, 68);
const OF_CONTENT_IN_FOLDER: Alike = (Order::Place, 64);
const OF_GUID_IN_FOLDER: Alike = (Order::Place, 32);
const OF_CONTENT_IN_PLACE: Alike = (Order::Content, 52);
const OF_CONTENT: Alike = (Order::Content, 32);
/// Position of the file and in the file, 8 bytes each.
const OF_MESSAGE: Alike = (Order::Message, 16);

/// Why a mailbox was not compared to its end.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The work was cancelled.
    Stopped,
    /// The baseline could not be read, or what was gathered.
    Failed(io::Error),
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Stopped> for Interrupted {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

type Result<T> = std::result::Result<T, Interrupted>;

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) comparison: Comparison,
    /// Messages that were looked at, and not compared with any of the baseline.
    pub(crate) uncovered: u64,
}

/// Compares what was gathered with the section of the baseline, and notes what is not right.
pub(crate) fn compare(
    section: &Section<'_>,
    gathered: &Gathered<'_>,
    room: Room<'_>,
    notes: &mut Notes<'_>,
) -> Result<Outcome> {
    let mut comparing = Comparing {
        section,
        gathered,
        room,
        folders: Folders::new(section.places()?, gathered),
        told: BTreeSet::new(),
        compared_again: Sorter::new(room.scratch, Order::Message, room.rows),
        steps: 0,
        found: Outcome { uncovered: gathered.apart, ..Outcome::default() },
    };
    comparing.folders.note_changed(notes);
    let left = comparing.match_places(notes)?;
    let left = comparing.match_contents(&left, notes)?;
    comparing.judge_gone(&left, notes)?;
    comparing.count_new(&left, notes)?;
    comparing.folders.note_gone(notes);
    comparing.folders.note_renumbered(notes);
    Ok(comparing.found)
}

/// What a join left of the baseline and of the mailbox.
struct Left<'d> {
    old: Kept<'d>,
    new: Kept<'d>,
}

/// Takes two rows that are alike; whether they are matched.
type Match<'c> = fn(&mut Comparing<'c>, &Row, &Row, &mut Notes<'_>) -> Result<bool>;

struct Comparing<'c> {
    section: &'c Section<'c>,
    gathered: &'c Gathered<'c>,
    room: Room<'c>,
    folders: Folders<'c>,
    /// Messages of files with several that were told: each stands in as many folders as refer to it.
    told: BTreeSet<(u64, u64)>,
    /// Rows that were matched, and are not the first of their message.
    compared_again: Sorter<'c>,
    steps: u32,
    found: Outcome,
}

impl<'c> Comparing<'c> {
    /// Lets the work be held or ended now and then.
    fn step(&mut self, notes: &Notes<'_>) -> Result<()> {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_UNHEARD) {
            notes.control.checkpoint(0)?;
        }
        Ok(())
    }

    /// Matches rows that are alike; gives what is left, in the same order.
    fn join(
        &mut self,
        (order, alike_bytes): Alike,
        olds: impl RawRows,
        news: impl RawRows,
        matches: Match<'c>,
        notes: &mut Notes<'_>,
    ) -> Result<Left<'c>> {
        let mut left = Left { old: Kept::new(self.room.scratch), new: Kept::new(self.room.scratch) };
        let mut join = Join::new(olds, news, alike_bytes)?;
        while let Some(pair) = join.next()? {
            self.step(notes)?;
            match pair {
                Pair::Old(old) => left.old.push(&old)?,
                Pair::New(new) => left.new.push(&new)?,
                Pair::Both(old, new) => {
                    let (was, is) = (order.decode(&old), order.decode(&new));
                    if !matches(self, &was, &is, notes)? {
                        left.old.push(&old)?;
                        left.new.push(&new)?;
                    } else if is.again {
                        self.compared_again.push(&is)?;
                    }
                }
            }
        }
        Ok(left)
    }

    fn join_left(
        &mut self,
        alike: Alike,
        left: &Left<'_>,
        matches: Match<'c>,
        notes: &mut Notes<'_>,
    ) -> Result<Left<'c>> {
        self.join(alike, left.old.read(), left.new.read(), matches, notes)
    }

    /// Puts rows into another order.
    fn sort(&mut self, rows: &Kept<'_>, from: Order, to: Order, notes: &Notes<'_>) -> Result<Sorted> {
        let (mut rows, mut sorter) = (rows.read(), Sorter::new(self.room.scratch, to, self.room.rows));
        while let Some(row) = rows.next_raw()? {
            self.step(notes)?;
            sorter.push(&from.decode(&row))?;
        }
        Ok(sorter.finish()?)
    }

    /// Messages that are in their folder.
    fn match_places(&mut self, notes: &mut Notes<'_>) -> Result<Left<'c>> {
        let (olds, news) = (self.section.rows(), self.gathered.rows.read()?);
        let left = self.join(IN_PLACE, olds, news, Self::find_intact, notes)?;
        let left = self.join_left(OF_CONTENT_IN_FOLDER, &left, Self::find_intact, notes)?;
        self.join_left(OF_GUID_IN_FOLDER, &left, Self::find_altered, notes)
    }

    /// Messages whose content is somewhere, by their content.
    fn match_contents(&mut self, left: &Left<'_>, notes: &mut Notes<'_>) -> Result<Left<'c>> {
        let old = self.sort(&left.old, Order::Place, Order::Content, notes)?;
        let new = self.sort(&left.new, Order::Place, Order::Content, notes)?;
        let left = self.join(OF_CONTENT_IN_PLACE, old.read()?, new.read()?, Self::find_renamed, notes)?;
        self.join_left(OF_CONTENT, &left, Self::find_moved, notes)
    }

    fn find_intact(&mut self, was: &Row, is: &Row, _: &mut Notes<'_>) -> Result<bool> {
        self.found.comparison.intact += 1;
        self.folders.count_uid(was, is);
        Ok(true)
    }

    /// A message under its UID with another GUID.
    fn find_renamed(&mut self, was: &Row, is: &Row, notes: &mut Notes<'_>) -> Result<bool> {
        debug_assert_eq!(was.uid, is.uid, "they are alike");
        if is.uid == 0 {
            return Ok(false);
        }
        self.found.comparison.intact += 1;
        let path = self.gathered.path_at(is.file_at)?;
        spot(path, is).remark(FindingKind::GuidChanged, "", is.marked, notes)?;
        Ok(true)
    }

    fn find_moved(&mut self, _: &Row, _: &Row, _: &mut Notes<'_>) -> Result<bool> {
        self.found.comparison.moved += 1;
        Ok(true)
    }

    fn find_altered(&mut self, was: &Row, is: &Row, notes: &mut Notes<'_>) -> Result<bool> {
        if was.guid == NO_GUID {
            return Ok(false);
        }
        let shorter = is.plain_bytes < was.plain_bytes;
        self.found.comparison.altered += 1;
        self.found.comparison.truncated += u64::from(shorter);
        self.folders.count_uid(was, is);
        if is.offset > 0 && !self.tell((is.file_at, is.offset)) {
            return Ok(true);
        }
        let (kind, detail) = if shorter {
            (FindingKind::MessageTruncated, format!("{} of {} bytes", is.plain_bytes, was.plain_bytes))
        } else if is.plain_bytes == was.plain_bytes {
            (FindingKind::MessageAltered, format!("as long as it was, {} bytes", is.plain_bytes))
        } else {
            (FindingKind::MessageAltered, format!("{} bytes, was {}", is.plain_bytes, was.plain_bytes))
        };
        spot(self.gathered.path_at(is.file_at)?, is).remark(kind, &detail, is.marked, notes)?;
        Ok(true)
    }

    /// Takes note that a message is told; whether it was not yet.
    fn tell(&mut self, message: (u64, u64)) -> bool {
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        self.told.insert(message)
    }

    /// What became of messages that are nowhere.
    fn judge_gone(&mut self, left: &Left<'_>, notes: &mut Notes<'_>) -> Result<()> {
        let gone = self.sort(&left.old, Order::Content, Order::Place, notes)?;
        let mut rows = gone.read()?;
        while let Some(was) = rows.next()? {
            self.step(notes)?;
            let found = &mut self.found.comparison;
            let detail = match self.folders.fate(&was) {
                Fate::Removed => {
                    found.expunged += 1;
                    continue;
                }
                Fate::Told => {
                    found.missing += 1;
                    continue;
                }
                Fate::Unread => {
                    found.uncompared += 1;
                    continue;
                }
                Fate::Unseen => {
                    found.uncompared += 1;
                    notes.add_unseen(1);
                    continue;
                }
                Fate::WithFolder => {
                    found.gone += 1;
                    continue;
                }
                Fate::Unknown => {
                    found.gone += 1;
                    let detail = "in the baseline; nothing tells whether its owner removed it";
                    notes.begin_message();
                    spot(self.section.path_at(was.file_at)?, &was).note(
                        FindingKind::MessageGone,
                        detail,
                        notes,
                    );
                    notes.end_message(0, false)?;
                    continue;
                }
                Fate::Vanished => {
                    format!("UID {}: removed in the index's log, and nobody asked for it", was.uid)
                }
                Fate::Replaced => format!("UID {}: in the index, and no such message", was.uid),
            };
            found.missing += 1;
            notes.begin_message();
            spot(self.section.path_at(was.file_at)?, &was).note(FindingKind::MessageMissing, &detail, notes);
            notes.end_missing_message()?;
        }
        Ok(())
    }

    /// Counts what came since, and the messages of it: to one in a file with several other rows may lead that were matched.
    fn count_new(&mut self, left: &Left<'_>, notes: &mut Notes<'_>) -> Result<()> {
        let (order, alike_bytes) = OF_MESSAGE;
        let (mut rows, mut firsts) = (left.new.read(), Sorter::new(self.room.scratch, order, self.room.rows));
        while let Some(row) = rows.next_raw()? {
            self.step(notes)?;
            let row = Order::Content.decode(&row);
            self.found.comparison.new += 1;
            if row.offset == 0 {
                self.found.uncovered += 1;
            } else if !row.again {
                firsts.push(&row)?;
            }
        }
        let empty = Sorter::new(self.room.scratch, order, self.room.rows);
        let again = std::mem::replace(&mut self.compared_again, empty).finish()?;
        let firsts = firsts.finish()?;
        let mut join = Join::new(firsts.read()?, again.read()?, alike_bytes)?;
        while let Some(pair) = join.next()? {
            self.step(notes)?;
            self.found.uncovered += u64::from(matches!(pair, Pair::Old(_)));
        }
        Ok(())
    }
}

/// Where a message stands, for a finding.
fn spot(path: Vec<u8>, row: &Row) -> Spot {
    Spot { path, at: (row.offset > 0).then_some(row.offset) }
}
