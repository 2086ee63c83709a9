//! What is done with each mailbox: look at it, compare it with a baseline, or make one of it.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rientro_types::{FindingKind, Tally};

use super::notes::{Depth, Harvest, Notes, Outlet};
use crate::control::{Control, Stopped};
use crate::mailbox::Inspector;
use crate::manifest::{
    Before, Census, ComparedMailbox, Comparison, Interrupted, Manifest, Part, Room, Section, Writer, compare,
};

/// How often a mailbox that changes meanwhile is looked at.
const LOOKS_MAX: usize = 3;

/// What is done with the mailboxes of a shard.
pub(super) enum Job<'j> {
    /// They are looked at, so deep.
    Look(Depth),
    /// They are read, and compared with a baseline; what gets too large for memory goes into this directory.
    Compare(&'j Manifest, &'j Path),
    /// They are read, where they have changed, and put into a baseline.
    Write(&'j Writer<'j>),
}

impl Job<'_> {
    pub(super) fn depth(&self) -> Depth {
        match self {
            Self::Look(depth) => *depth,
            Self::Compare(..) | Self::Write(_) => Depth::Structure,
        }
    }
}

/// What doing it gave.
pub(super) struct Looked {
    pub(super) harvest: Harvest,
    pub(super) comparison: Comparison,
    pub(super) part: Option<Part>,
}

impl From<Harvest> for Looked {
    fn from(harvest: Harvest) -> Self {
        Self { harvest, comparison: Comparison::default(), part: None }
    }
}

/// A mailbox, and whatever is needed to look into it.
pub(super) struct Look<'l> {
    pub(super) shard: BorrowedFd<'l>,
    pub(super) mailbox: &'l [u8],
    pub(super) control: &'l Control,
    pub(super) inspector: &'l mut Inspector,
    pub(super) outlet: &'l mut Outlet<'l>,
}

impl Look<'_> {
    /// Does what is to be done.
    pub(super) fn act(&mut self, job: &Job<'_>) -> Result<Looked, Stopped> {
        match job {
            Job::Look(depth) => Ok(self.look(*depth)?.into()),
            Job::Compare(manifest, scratch) => self.compare(manifest, scratch),
            Job::Write(writer) => self.write(writer),
        }
    }

    fn look(&mut self, depth: Depth) -> Result<Harvest, Stopped> {
        let mut notes = Notes::new(depth, self.control, self.mailbox, self.outlet);
        self.inspector.inspect(self.shard, self.mailbox, &mut notes)?;
        Ok(notes.finish())
    }

    /// The stat walk alone, which is no progress of the work at hand.
    fn state(&mut self) -> Result<Harvest, Stopped> {
        let mut notes = Notes::new(Depth::Stat, self.control, self.mailbox, self.outlet);
        notes.be_silent();
        self.inspector.inspect(self.shard, self.mailbox, &mut notes)?;
        Ok(notes.finish())
    }

    fn room<'d>(&self, scratch: &'d Path) -> Room<'d> {
        Room::of(scratch, self.control.pace().readers)
    }

    fn compare(&mut self, manifest: &Manifest, scratch: &Path) -> Result<Looked, Stopped> {
        let room = self.room(scratch);
        let mut notes = Notes::new(Depth::Structure, self.control, self.mailbox, self.outlet);
        notes.gather(Census::comparing(room));
        self.inspector.inspect(self.shard, self.mailbox, &mut notes)?;
        let compared = match compare_mailbox(manifest, self.mailbox, room, &mut notes) {
            Ok(compared) => compared,
            Err(Interrupted::Stopped) => return Err(Stopped),
            Err(Interrupted::Failed(error)) => {
                notes.add(FindingKind::BaselineUnreadable, Vec::new(), unusable(&error));
                ComparedMailbox { uncovered: u64::MAX, ..ComparedMailbox::default() }
            }
        };
        notes.uncover(compared.uncovered);
        Ok(Looked { comparison: compared.comparison, ..notes.finish().into() })
    }

    fn write(&mut self, writer: &Writer<'_>) -> Result<Looked, Stopped> {
        let previous = writer.previous(self.mailbox).map_err(|error| self.fail(writer, error))?;
        if let Before::Whole(section) = &previous
            && section.entry.is_healthy()
        {
            let harvest = self.state()?;
            if harvest.digest == section.entry.stat_walk {
                return Ok(kept(harvest, section));
            }
        }
        for _ in 1..LOOKS_MAX {
            let (looked, handed_on) = self.look_and_put(writer, &previous)?;
            // What looks like damage may be mail that comes in and goes out meanwhile. What was handed on cannot be taken back.
            if !is_in_trouble(&looked.harvest) || handed_on || self.state()?.digest == looked.harvest.digest {
                return Ok(looked);
            }
        }
        Ok(self.look_and_put(writer, &previous)?.0)
    }

    /// Looks at a mailbox and puts what it holds into the manifest; whether findings were handed on.
    fn look_and_put(
        &mut self,
        writer: &Writer<'_>,
        previous: &Before<'_>,
    ) -> Result<(Looked, bool), Stopped> {
        let (room, control, mailbox) = (self.room(writer.scratch), self.control, self.mailbox);
        let fail = |error| fail(control, writer, error);
        let mut handed_on = false;
        let mut outlet = |findings| {
            handed_on = true;
            (self.outlet)(findings)
        };
        let mut notes = Notes::new(Depth::Structure, control, mailbox, &mut outlet);
        let before = match previous {
            Before::Whole(section) => Some(section),
            Before::Nothing => None,
            Before::Damaged => {
                let detail = "its section of the manifest before is damaged; it is written anew";
                notes.add(FindingKind::BaselineUnreadable, Vec::new(), detail);
                None
            }
        };
        notes.gather(Census::new(room, before.filter(|section| section.entry.is_healthy()).copied()));
        self.inspector.inspect(self.shard, mailbox, &mut notes)?;
        let Some(gathered) = notes.take_census().map(Census::finish).transpose().map_err(fail)? else {
            return Ok((notes.finish().into(), handed_on));
        };
        let mut comparison = Comparison::default();
        if let Some(before) = before {
            comparison = match compare(before, &gathered, room, &mut notes) {
                Ok(compared) => compared.comparison,
                Err(Interrupted::Stopped) => return Err(Stopped),
                Err(Interrupted::Failed(error)) => return Err(fail(error)),
            };
        }
        let harvest = notes.finish();
        let in_trouble = is_in_trouble(&harvest);
        let part = match before.filter(|_| in_trouble && !writer.takes_damaged()) {
            Some(before) => Part::Withheld(before.entry.clone()),
            None => {
                let findings = if in_trouble { harvest.tally.findings } else { 0 };
                let put = writer.put(mailbox, &gathered, harvest.digest, findings);
                Part::Written(put.map_err(fail)?)
            }
        };
        Ok((Looked { harvest, comparison, part: Some(part) }, handed_on))
    }

    fn fail(&self, writer: &Writer<'_>, error: io::Error) -> Stopped {
        fail(self.control, writer, error)
    }
}

/// Ends the work because of an error that the writer tells.
fn fail(control: &Control, writer: &Writer<'_>, error: io::Error) -> Stopped {
    writer.fail(error);
    control.cancel();
    Stopped
}

/// Whether anything is damaged or could not be read.
fn is_in_trouble(harvest: &Harvest) -> bool {
    harvest.tally.mailboxes_damaged > 0 || harvest.tally.mailboxes_unreadable > 0
}

fn compare_mailbox(
    manifest: &Manifest,
    mailbox: &[u8],
    room: Room<'_>,
    notes: &mut Notes<'_>,
) -> Result<ComparedMailbox, Interrupted> {
    let Some(census) = notes.take_census() else { return Ok(ComparedMailbox::default()) };
    let gathered = census.finish()?;
    let Some(section) = Section::find(manifest, mailbox) else {
        let comparison = Comparison { new: gathered.messages(), ..Comparison::default() };
        return Ok(ComparedMailbox { comparison, uncovered: u64::MAX });
    };
    if !section.is_intact()? {
        let what = "its section of the baseline is damaged; a copy of the manifest may be whole";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
    }
    compare(&section, &gathered, room, notes)
}

/// Why a mailbox could not be compared, for a finding.
fn unusable(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::InvalidData {
        return error.to_string();
    }
    format!("not compared, as the baseline or room beside it could not be used: {error}")
}

/// A mailbox that has not changed since the manifest before: nothing of it was read.
fn kept(harvest: Harvest, previous: &Section<'_>) -> Looked {
    let tally = Tally { messages: previous.entry.messages(), ..harvest.tally };
    let part = Some(Part::Kept(previous.entry.clone()));
    Looked { part, ..Harvest { tally, covered: 0, ..harvest }.into() }
}
