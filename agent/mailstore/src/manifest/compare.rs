//! A mailbox against its baseline: which messages are intact, and what became of the others.
//!
//! Three passes, each over lists in order, so that no mailbox is too large:
//!
//! 1. the same message in the same folder by its GUID: with the same content it is intact, else it was altered;
//! 2. of what is left on both sides, the same content: it was moved, or in the same place got another GUID;
//! 3. what is left of the baseline is gone, and `folders` says what became of it. The folder's index tells whether somebody asked for that, and the log of folders
//!    whether the folder was removed. A message that Dovecot
//!    found without its file is in its log as removed by nobody: it is lost. Where the log does not reach back, nobody knows.
//!
//! What is left of the mailbox came since.

mod folders;

use std::collections::BTreeSet;
use std::io;

use rientro_types::{Digest, FindingKind};

use self::folders::{Fate, Folders};
use super::census::{Gathered, Room};
use super::row::{Order, Row};
use super::section::Section;
use super::sort::{Merge, Sorted, Sorter};
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
    /// Messages that the baseline does not have.
    pub new: u64,
}

impl Comparison {
    /// How many messages of the baseline are in it.
    pub(crate) fn of_baseline(&self) -> u64 {
        let Self { intact, altered, truncated: _, moved, expunged, missing, gone, new: _ } = self;
        intact + altered + moved + expunged + missing + gone
    }

    /// Adds the counts of another mailbox.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { intact, altered, truncated, moved, expunged, missing, gone, new } = other;
        self.intact += intact;
        self.altered += altered;
        self.truncated += truncated;
        self.moved += moved;
        self.expunged += expunged;
        self.missing += missing;
        self.gone += gone;
        self.new += new;
    }
}

/// Messages after which the work can be held or ended.
const STEPS_UNHEARD: u32 = 1_024;

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
    /// Messages whose content the baseline does not have.
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
        steps: 0,
        found: Outcome::default(),
    };
    comparing.folders.note_changed(notes);
    let (old, new) = comparing.match_places(notes)?;
    let gone = comparing.match_contents(&old, &new, notes)?;
    comparing.judge_gone(&gone, notes)?;
    comparing.folders.note_gone(notes);
    comparing.folders.note_renumbered(notes);
    Ok(comparing.found)
}

struct Comparing<'c> {
    section: &'c Section<'c>,
    gathered: &'c Gathered<'c>,
    room: Room<'c>,
    folders: Folders<'c>,
    /// Messages of files with several that were told: each stands in as many folders as refer to it.
    told: BTreeSet<(u64, u64)>,
    steps: u32,
    found: Outcome,
}

impl Comparing<'_> {
    /// Lets the work be held or ended now and then.
    fn step(&mut self, notes: &Notes<'_>) -> Result<()> {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_UNHEARD) {
            notes.control.checkpoint(0)?;
        }
        Ok(())
    }

    /// The first pass; gives what is left of the baseline and of the mailbox.
    fn match_places(&mut self, notes: &mut Notes<'_>) -> Result<(Sorted, Sorted)> {
        let sorter = || Sorter::new(self.room.scratch, Order::Content, self.room.rows);
        let (mut left_old, mut left_new) = (sorter(), sorter());
        let (mut olds, mut news) = (self.section.rows(), self.gathered.rows.read()?);
        let (mut old, mut new) = (olds.next()?, news.next()?);
        let place = |row: &Row| (row.folder, row.guid);
        while let Some(at) = [&old, &new].into_iter().flatten().map(place).min() {
            self.step(notes)?;
            let (mut of_old, mut of_new) = (Vec::new(), Vec::new());
            while let Some(row) = old.filter(|row| place(row) == at) {
                of_old.push(row);
                old = olds.next()?;
            }
            while let Some(row) = new.filter(|row| place(row) == at) {
                of_new.push(row);
                new = news.next()?;
            }
            self.match_group(&mut of_old, &mut of_new, notes)?;
            of_old.iter().try_for_each(|row| left_old.push(row))?;
            of_new.iter().try_for_each(|row| left_new.push(row))?;
        }
        Ok((left_old.finish()?, left_new.finish()?))
    }

    /// Messages of one GUID in one folder: mostly one on either side, more where a mail was copied. What is matched is taken out.
    fn match_group(&mut self, old: &mut Vec<Row>, new: &mut Vec<Row>, notes: &mut Notes<'_>) -> Result<()> {
        // Of copies each is first looked for under its UID: one of them may have been removed.
        for by_uid in [true, false] {
            old.retain(|was| {
                let is_it = |is: &Row| is.identity == was.identity && (!by_uid || is.uid == was.uid);
                let Some(at) = new.iter().position(is_it) else { return true };
                self.found.comparison.intact += 1;
                self.folders.count_uid(was, &new.remove(at));
                false
            });
        }
        let pairs = old.len().min(new.len());
        for (was, is) in old.drain(..pairs).zip(new.drain(..pairs)) {
            self.note_altered(&was, &is, notes)?;
        }
        Ok(())
    }

    fn note_altered(&mut self, was: &Row, is: &Row, notes: &mut Notes<'_>) -> Result<()> {
        let shorter = is.plain_bytes < was.plain_bytes;
        self.found.comparison.altered += 1;
        self.found.comparison.truncated += u64::from(shorter);
        self.folders.count_uid(was, is);
        if is.offset > 0 && !self.told.insert((is.file_at, is.offset)) {
            return Ok(());
        }
        let (kind, detail) = if shorter {
            (FindingKind::MessageTruncated, format!("{} of {} bytes", is.plain_bytes, was.plain_bytes))
        } else if is.plain_bytes == was.plain_bytes {
            (FindingKind::MessageAltered, format!("as long as it was, {} bytes", is.plain_bytes))
        } else {
            (FindingKind::MessageAltered, format!("{} bytes, was {}", is.plain_bytes, was.plain_bytes))
        };
        spot(self.gathered.path_at(is.file_at)?, is).remark(kind, &detail, is.marked, notes)?;
        Ok(())
    }

    /// The second pass; gives what is left of the baseline, by folder.
    fn match_contents(&mut self, old: &Sorted, new: &Sorted, notes: &mut Notes<'_>) -> Result<Sorted> {
        let mut gone = Sorter::new(self.room.scratch, Order::Place, self.room.rows);
        let (mut olds, mut news) = (old.read()?, new.read()?);
        let (mut old, mut new) = (olds.next()?, news.next()?);
        let content = |row: &Option<Row>| row.map(|row| row.identity);
        while let Some(at) = [content(&old), content(&new)].into_iter().flatten().min() {
            self.step(notes)?;
            let of_old = take_copies(at, &mut olds, &mut old)?;
            let of_new = take_copies(at, &mut news, &mut new)?;
            self.found.uncovered += u64::from(of_old.is_empty());
            self.match_copies(of_old, of_new, &mut gone, notes)?;
        }
        Ok(gone.finish()?)
    }

    /// Messages of one content.
    fn match_copies(
        &mut self,
        mut of_old: Vec<Row>,
        mut of_new: Vec<Row>,
        gone: &mut Sorter<'_>,
        notes: &mut Notes<'_>,
    ) -> Result<()> {
        let mut stayed = Vec::new();
        of_old.retain(|was| {
            let stays = |is: &Row| is.folder == was.folder && is.uid == was.uid && is.uid != 0;
            let at = of_new.iter().position(stays);
            stayed.extend(at.map(|at| of_new.remove(at)));
            at.is_none()
        });
        for is in stayed {
            self.found.comparison.intact += 1;
            let path = self.gathered.path_at(is.file_at)?;
            spot(path, &is).remark(FindingKind::GuidChanged, "", is.marked, notes)?;
        }
        let moved = of_old.len().min(of_new.len());
        self.found.comparison.moved += moved as u64;
        self.found.comparison.new += (of_new.len() - moved) as u64;
        of_old[moved..].iter().try_for_each(|row| gone.push(row))?;
        Ok(())
    }

    /// The third pass: what became of messages that are nowhere.
    fn judge_gone(&mut self, gone: &Sorted, notes: &mut Notes<'_>) -> Result<()> {
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
}

/// Takes the rows of one content.
fn take_copies(identity: Digest, rows: &mut Merge<'_>, next: &mut Option<Row>) -> io::Result<Vec<Row>> {
    let mut copies = Vec::new();
    while let Some(row) = next.filter(|row| row.identity == identity) {
        copies.push(row);
        *next = rows.next()?;
    }
    Ok(copies)
}

/// Where a message stands, for a finding.
fn spot(path: Vec<u8>, row: &Row) -> Spot {
    Spot { path, at: (row.offset > 0).then_some(row.offset) }
}
