//! A mailbox against its baseline: which messages are intact, and what became of the others.
//!
//! Three passes, each over lists in order, so that no mailbox is too large:
//!
//! 1. the same message in the same folder by its GUID: with the same content it is intact, else it was altered;
//! 2. of what is left on both sides, the same content: it was moved, or in the same place got another GUID;
//! 3. what is left of the baseline is gone. The folder's index tells whether somebody asked for that, and the log of folders
//!    whether the folder was removed. A message that Dovecot
//!    found without its file is in its log as removed by nobody: it is lost. Where the log does not reach back, nobody knows.
//!
//! What is left of the mailbox came since.

use std::collections::BTreeMap;
use std::io;

use rientro_types::{Digest, FindingKind};

use super::census::{Fate, Gathered, Known, Room};
use super::record::Place;
use super::row::{FolderId, Order, Row};
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

/// Compares what was gathered with the section of the baseline, and notes what is not right.
pub(crate) fn compare(
    section: &Section<'_>,
    gathered: &Gathered<'_>,
    room: Room<'_>,
    notes: &mut Notes<'_>,
) -> Result<Comparison> {
    let mut comparing = Comparing {
        section,
        gathered,
        room,
        folders: folders(section, gathered)?,
        found: Comparison::default(),
    };
    comparing.note_folders(notes);
    let (old, new) = comparing.match_places(notes)?;
    let gone = comparing.match_contents(&old, &new, notes)?;
    comparing.judge_gone(&gone, notes)?;
    comparing.note_uids(notes);
    Ok(comparing.found)
}

/// A folder of the baseline.
struct Folder {
    then: Place,
    /// As it is; `None` where there is none of its name.
    now: Option<Place>,
    /// Messages whose UID is another one, and the first of those: what it was and is.
    renumbered: (u64, Option<(u32, u32)>),
    /// Messages that are gone with the folder.
    gone: u64,
}

impl Folder {
    /// UIDs mean the same as then.
    fn is_numbered_alike(&self) -> bool {
        self.now.as_ref().is_some_and(|now| {
            now.uidvalidity == self.then.uidvalidity || now.uidvalidity == 0 || self.then.uidvalidity == 0
        })
    }
}

fn folders(section: &Section<'_>, gathered: &Gathered<'_>) -> io::Result<BTreeMap<FolderId, Folder>> {
    let named = |place: &&Place| !place.name.is_empty();
    let mut now: BTreeMap<_, _> = gathered
        .places
        .iter()
        .filter(named)
        .map(|place| (FolderId::of(&place.name), place.clone()))
        .collect();
    let then = section.places()?.into_iter().filter(|place| named(&place));
    let folder = |then: Place| {
        let id = FolderId::of(&then.name);
        (id, Folder { then, now: now.remove(&id), renumbered: (0, None), gone: 0 })
    };
    Ok(then.map(folder).collect())
}

struct Comparing<'c> {
    section: &'c Section<'c>,
    gathered: &'c Gathered<'c>,
    room: Room<'c>,
    folders: BTreeMap<FolderId, Folder>,
    found: Comparison,
}

impl Comparing<'_> {
    /// Notes folders whose UIDs mean nothing any more, or whose index is older than the baseline.
    fn note_folders(&self, notes: &mut Notes<'_>) {
        for folder in self.folders.values() {
            let Some(now) = &folder.now else { continue };
            let then = &folder.then;
            if !folder.is_numbered_alike() {
                let detail = format!(
                    "UIDVALIDITY was {}, is {}: clients fetch all mail of the folder anew",
                    then.uidvalidity, now.uidvalidity
                );
                notes.add(FindingKind::UidChanged, now.path.clone(), detail);
            } else if now.next_uid < then.next_uid && now.next_uid > 0 {
                let detail = format!(
                    "next UID was {}, is {}: older than the baseline, and new mail gets UIDs that were given before",
                    then.next_uid, now.next_uid
                );
                notes.add(FindingKind::IndexStale, now.path.clone(), detail);
            }
        }
    }

    /// The first pass; gives what is left of the baseline and of the mailbox.
    fn match_places(&mut self, notes: &mut Notes<'_>) -> Result<(Sorted, Sorted)> {
        let sorter = || Sorter::new(self.room.scratch, Order::Content, self.room.rows);
        let (mut left_old, mut left_new) = (sorter(), sorter());
        let (mut olds, mut news) = (self.section.rows(), self.gathered.rows.read()?);
        let (mut old, mut new) = (olds.next()?, news.next()?);
        let place = |row: &Row| (row.folder, row.guid);
        while let Some(at) = [&old, &new].into_iter().flatten().map(place).min() {
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
        old.retain(|was| {
            // Among copies the one with the same UID is the same message.
            let same = |is: &Row| is.identity == was.identity;
            let at =
                new.iter().position(|is| same(is) && is.uid == was.uid).or_else(|| new.iter().position(same));
            let is = at.map(|at| new.remove(at));
            if let Some(is) = &is {
                self.found.intact += 1;
                self.count_uid(was, is);
            }
            is.is_none()
        });
        let pairs = old.len().min(new.len());
        for (was, is) in old.drain(..pairs).zip(new.drain(..pairs)) {
            self.note_altered(&was, &is, notes)?;
        }
        Ok(())
    }

    fn note_altered(&mut self, was: &Row, is: &Row, notes: &mut Notes<'_>) -> Result<()> {
        let shorter = is.plain_bytes < was.plain_bytes;
        self.found.altered += 1;
        self.found.truncated += u64::from(shorter);
        let (kind, detail) = if shorter {
            (FindingKind::MessageTruncated, format!("{} of {} bytes", is.plain_bytes, was.plain_bytes))
        } else if is.plain_bytes == was.plain_bytes {
            (FindingKind::MessageAltered, format!("as long as it was, {} bytes", is.plain_bytes))
        } else {
            (FindingKind::MessageAltered, format!("{} bytes, was {}", is.plain_bytes, was.plain_bytes))
        };
        spot(self.gathered.path_at(is.file_at)?, is).remark(kind, &detail, is.marked, notes)?;
        self.count_uid(was, is);
        Ok(())
    }

    fn count_uid(&mut self, was: &Row, is: &Row) {
        let Some(folder) = self.folders.get_mut(&was.folder) else { return };
        if folder.is_numbered_alike() && was.uid != is.uid && was.uid != 0 && is.uid != 0 {
            folder.renumbered.0 += 1;
            folder.renumbered.1.get_or_insert((was.uid, is.uid));
        }
    }

    /// The second pass; gives what is left of the baseline, by folder.
    fn match_contents(&mut self, old: &Sorted, new: &Sorted, notes: &mut Notes<'_>) -> Result<Sorted> {
        let mut gone = Sorter::new(self.room.scratch, Order::Place, self.room.rows);
        let (mut olds, mut news) = (old.read()?, new.read()?);
        let (mut old, mut new) = (olds.next()?, news.next()?);
        loop {
            let content = |row: &Option<Row>| row.map(|row| row.identity);
            match (content(&old), content(&new)) {
                (None, None) => break,
                (Some(was), Some(is)) if was == is => {
                    let of_old = take_copies(was, &mut olds, &mut old)?;
                    let of_new = take_copies(was, &mut news, &mut new)?;
                    self.match_copies(of_old, of_new, &mut gone, notes)?;
                }
                (Some(was), is) if is.is_none_or(|is| was < is) => {
                    old.iter().try_for_each(|row| gone.push(row))?;
                    old = olds.next()?;
                }
                (Some(_) | None, _) => {
                    self.found.new += 1;
                    new = news.next()?;
                }
            }
        }
        Ok(gone.finish()?)
    }

    /// Messages of one content.
    fn match_copies(
        &mut self,
        of_old: Vec<Row>,
        mut of_new: Vec<Row>,
        gone: &mut Sorter<'_>,
        notes: &mut Notes<'_>,
    ) -> Result<()> {
        for was in of_old {
            let stays = |is: &Row| is.folder == was.folder && is.uid == was.uid && is.uid != 0;
            if let Some(at) = of_new.iter().position(stays) {
                let is = of_new.remove(at);
                self.found.intact += 1;
                let path = self.gathered.path_at(is.file_at)?;
                spot(path, &is).remark(FindingKind::GuidChanged, "", is.marked, notes)?;
            } else if of_new.pop().is_some() {
                self.found.moved += 1;
            } else {
                gone.push(&was)?;
            }
        }
        self.found.new += of_new.len() as u64;
        Ok(())
    }

    /// The third pass: what became of messages that are nowhere.
    fn judge_gone(&mut self, gone: &Sorted, notes: &mut Notes<'_>) -> Result<()> {
        let mut rows = gone.read()?;
        while let Some(was) = rows.next()? {
            let folder = self.folders.get_mut(&was.folder);
            if let Some(folder) = folder.filter(|folder| folder.now.is_none()) {
                if self.gathered.removed.contains(&folder.then.guid) {
                    self.found.expunged += 1;
                } else {
                    folder.gone += 1;
                    self.found.gone += 1;
                }
                continue;
            }
            let kept = self.folders.get(&was.folder).is_some_and(Folder::is_numbered_alike) && was.uid != 0;
            let index = self.gathered.indexes.get(&was.folder).filter(|_| kept);
            let path = || self.section.path_at(was.file_at);
            match index.map(|known: &Known| known.fate(was.uid)) {
                Some(Fate::Removed) => self.found.expunged += 1,
                // It was looked for in the index's own turn, and is told.
                Some(Fate::Held) => self.found.missing += 1,
                Some(Fate::Vanished) => {
                    self.found.missing += 1;
                    let detail =
                        format!("UID {}: removed in the index's log, and nobody asked for it", was.uid);
                    notes.begin_message();
                    spot(path()?, &was).note(FindingKind::MessageMissing, &detail, notes);
                    notes.end_missing_message()?;
                }
                Some(Fate::Unknown) | None => {
                    self.found.gone += 1;
                    let detail = "in the baseline; nothing tells whether its owner removed it";
                    notes.begin_message();
                    spot(path()?, &was).note(FindingKind::MessageGone, detail, notes);
                    notes.end_message(0, false)?;
                }
            }
        }
        self.folders.values().filter(|folder| folder.gone > 0).for_each(|folder| {
            let detail = format!(
                "{} messages of the baseline; nothing tells whether its owner removed it",
                folder.gone
            );
            notes.add(FindingKind::FolderGone, folder.then.path.clone(), detail);
        });
        Ok(())
    }

    fn note_uids(&self, notes: &mut Notes<'_>) {
        for folder in self.folders.values() {
            if let (count, Some((was, is))) = folder.renumbered {
                let detail = format!("{count} messages have other UIDs; the first was {was}, is {is}");
                let place = folder.now.as_ref().unwrap_or(&folder.then);
                notes.add(FindingKind::UidChanged, place.path.clone(), detail);
            }
        }
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
