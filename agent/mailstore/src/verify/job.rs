//! What is done with each mailbox: look at it, compare it with a baseline, or make one of it.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rientro_types::{Finding, FindingKind, Tally};

use super::notes::{Depth, Harvest, Notes, Outlet};
use crate::control::{Control, Stopped};
use crate::mailbox::Inspector;
use crate::manifest::{
    Before, Census, ComparedMailbox, Comparison, Entry, Interrupted, Manifest, Part, Room, Section, Writer,
    compare,
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

    /// Messages that the baseline has which is compared with.
    pub(super) fn messages_before(&self) -> u64 {
        match self {
            Self::Compare(manifest, _) => manifest.totals().messages,
            Self::Look(_) | Self::Write(_) => 0,
        }
    }

    /// What a finding aside says of messages of the baseline, in mailboxes that are not looked into because of it. Nobody knows which
    /// ones a directory hides that was listed in part, and those behind a link are told one by one.
    pub(super) fn compare_aside(&self, Finding { kind, mailbox, path, .. }: &Finding) -> Comparison {
        let Self::Compare(manifest, _) = self else { return Comparison::default() };
        let messages = if !mailbox.is_empty() {
            manifest.find(mailbox).map_or(0, Entry::messages)
        } else if matches!(kind, FindingKind::DirectoryUnreadable | FindingKind::VolumeEmpty) {
            manifest.messages_below(path)
        } else {
            0
        };
        if *kind == FindingKind::MailboxMissing {
            Comparison { missing: messages, ..Comparison::default() }
        } else {
            Comparison { uncompared: messages, ..Comparison::default() }
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
                notes.add(FindingKind::BaselineUnreadable, Vec::new(), unusable(&error, scratch));
                let uncompared = manifest.find(self.mailbox).map_or(0, Entry::messages);
                let comparison = Comparison { uncompared, ..Comparison::default() };
                notes.uncover(u64::MAX);
                ComparedMailbox { comparison, uncovered: 0 }
            }
        };
        let ComparedMailbox { comparison, uncovered } = compared;
        // Those that came since stand for none of the baseline.
        notes.uncover_at_least(comparison.uncompared + comparison.gone);
        notes.uncover(uncovered);
        Ok(Looked { comparison, ..notes.finish().into() })
    }

    fn write(&mut self, writer: &Writer<'_>) -> Result<Looked, Stopped> {
        let (control, mailbox) = (self.control, self.mailbox);
        let previous = writer.previous(mailbox).map_err(|error| fail(control, writer, error))?;
        if let Before::Whole(section) = &previous
            && section.entry.is_healthy()
        {
            let harvest = state(self.shard, mailbox, control, self.inspector)?;
            if harvest.digest == section.entry.stat_walk {
                return Ok(kept(harvest, section));
            }
        }
        let mut looks = 1;
        loop {
            if let Some(looked) = self.attempt(writer, &previous, looks == LOOKS_MAX)? {
                return Ok(looked);
            }
            looks += 1;
        }
    }

    /// Looks at a mailbox and puts what it holds into the manifest; `None` where it changed meanwhile and is to be looked at again.
    fn attempt(
        &mut self,
        writer: &Writer<'_>,
        previous: &Before<'_>,
        is_last: bool,
    ) -> Result<Option<Looked>, Stopped> {
        let (room, control) = (self.room(writer.scratch), self.control);
        let fail = |error| fail(control, writer, error);
        let handed_on = Cell::new(false);
        let mut outlet = |findings| {
            handed_on.set(true);
            (self.outlet)(findings)
        };
        let mut notes = Notes::new(Depth::Structure, control, self.mailbox, &mut outlet);
        let before = previous.whole();
        notes.gather(Census::new(room, before.filter(|section| section.entry.is_healthy()).copied()));
        self.inspector.inspect(self.shard, self.mailbox, &mut notes)?;
        let gathered = notes.take_census().finish().map_err(fail)?;
        let compared = before.map(|before| compare(before, &gathered, room, &mut notes)).transpose();
        let mut is_unusable = matches!(previous, Before::Damaged(_));
        let comparison = match compared {
            Ok(compared) => compared.unwrap_or_default().comparison,
            Err(Interrupted::Stopped) => return Err(Stopped),
            Err(Interrupted::Failed(error)) if error.kind() == io::ErrorKind::InvalidData => {
                is_unusable = true;
                Comparison::default()
            }
            Err(Interrupted::Failed(error)) => return Err(fail(error)),
        };
        let in_trouble = notes.is_in_trouble();
        let excess = gathered.excess();
        // What could not be looked into is not known to be lost, whatever is taken.
        let is_withheld =
            excess.is_some() || comparison.uncompared > 0 || (in_trouble && !writer.takes_damaged());
        if is_unusable {
            note_unusable(is_withheld, &mut notes);
        }
        if let Some(what) = &excess {
            let detail = format!("{what}: more than a manifest can hold of a mailbox");
            notes.add(FindingKind::LimitReached, Vec::new(), detail);
        }
        let harvest = notes.finish();
        // What looks like damage may be mail that comes in and goes out meanwhile. What was handed on cannot be taken back.
        if in_trouble && !is_last && !handed_on.get() {
            let stated = state(self.shard, self.mailbox, control, self.inspector)?;
            if stated.digest != harvest.digest {
                return Ok(None);
            }
        }
        let part = match previous.entry().filter(|_| is_withheld) {
            Some(entry) => Some(Part::Withheld(entry.clone())),
            None if excess.is_some() => None,
            None => {
                let findings = if in_trouble { harvest.tally.findings } else { 0 };
                let put = writer.put(self.mailbox, &gathered, harvest.digest, findings);
                Some(Part::Written(put.map_err(fail)?))
            }
        };
        Ok(Some(Looked { harvest, comparison, part }))
    }
}

/// Notes that the manifest before says nothing of the mailbox, and what becomes of that.
fn note_unusable(is_withheld: bool, notes: &mut Notes<'_>) {
    let what = if is_withheld {
        "it stays so, as the mailbox is damaged, unreadable or too much for a manifest"
    } else {
        "it is written anew, and what was lost by then is not missed"
    };
    let detail = format!("its section of the manifest before is damaged; {what}");
    notes.add(FindingKind::BaselineUnreadable, Vec::new(), detail);
}

/// The stat walk of a mailbox alone, which is no progress of the work at hand.
fn state(
    shard: BorrowedFd<'_>,
    mailbox: &[u8],
    control: &Control,
    inspector: &mut Inspector,
) -> Result<Harvest, Stopped> {
    // It has no findings.
    let mut outlet = |_| Ok(());
    let mut notes = Notes::new(Depth::Stat, control, mailbox, &mut outlet);
    notes.be_silent();
    inspector.inspect(shard, mailbox, &mut notes)?;
    Ok(notes.finish())
}

/// Ends the work because of an error that the writer tells.
fn fail(control: &Control, writer: &Writer<'_>, error: io::Error) -> Stopped {
    writer.fail(error);
    control.cancel();
    Stopped
}

fn compare_mailbox(
    manifest: &Manifest,
    mailbox: &[u8],
    room: Room<'_>,
    notes: &mut Notes<'_>,
) -> Result<ComparedMailbox, Interrupted> {
    let gathered = notes.take_census().finish()?;
    let Some(section) = Section::find(manifest, mailbox) else {
        let comparison = Comparison { new: gathered.messages(), ..Comparison::default() };
        return Ok(ComparedMailbox { comparison, uncovered: u64::MAX });
    };
    if !section.is_usable()? {
        let what = "its section of the baseline is damaged; a copy of the manifest may be whole";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
    }
    compare(&section, &gathered, room, notes)
}

/// Why a mailbox could not be compared, for a finding.
fn unusable(error: &io::Error, scratch: &Path) -> String {
    if error.kind() == io::ErrorKind::InvalidData {
        return error.to_string();
    }
    let room = scratch.display();
    format!("not compared: the baseline, or {room} for what is too large for memory, cannot be used: {error}")
}

/// A mailbox that has not changed since the manifest before: nothing of it was read.
fn kept(harvest: Harvest, previous: &Section<'_>) -> Looked {
    let tally = Tally { messages: previous.entry.messages(), ..harvest.tally };
    let part = Some(Part::Kept(previous.entry.clone()));
    Looked { part, ..Harvest { tally, covered: 0, ..harvest }.into() }
}
