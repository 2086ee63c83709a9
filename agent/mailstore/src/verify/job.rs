//! What is done with each mailbox: look at it, compare it with a baseline, or make one of it.

use std::io;
use std::os::fd::BorrowedFd;

use rientro_types::{FindingKind, Tally};

use super::notes::{Depth, Harvest, Notes, Outlet};
use crate::control::{Control, Stopped};
use crate::mailbox::Inspector;
use crate::manifest::{Census, Comparison, Interrupted, Manifest, Part, Room, Section, Writer, compare};

/// What is done with the mailboxes of a shard.
pub(super) enum Job<'j> {
    /// They are looked at, so deep.
    Look(Depth),
    /// They are read, and compared with a baseline.
    Compare(&'j Manifest, Room<'j>),
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
            Job::Compare(manifest, room) => self.compare(manifest, *room),
            Job::Write(writer) => self.write(writer),
        }
    }

    fn look(&mut self, depth: Depth) -> Result<Harvest, Stopped> {
        let mut notes = Notes::new(depth, self.control, self.mailbox, self.outlet);
        self.inspector.inspect(self.shard, self.mailbox, &mut notes)?;
        Ok(notes.finish())
    }

    fn compare(&mut self, manifest: &Manifest, room: Room<'_>) -> Result<Looked, Stopped> {
        let mut notes = Notes::new(Depth::Structure, self.control, self.mailbox, self.outlet);
        notes.gather(Census::new(room, None));
        self.inspector.inspect(self.shard, self.mailbox, &mut notes)?;
        let compared = compare_mailbox(manifest, self.mailbox, room, &mut notes);
        let comparison = match compared {
            Ok(comparison) => comparison,
            Err(Interrupted::Stopped) => return Err(Stopped),
            Err(Interrupted::Failed(error)) => {
                notes.add(FindingKind::BaselineUnreadable, Vec::new(), error.to_string());
                notes.uncover(u64::MAX);
                Comparison::default()
            }
        };
        notes.uncover(comparison.new);
        Ok(Looked { comparison, ..notes.finish().into() })
    }

    fn write(&mut self, writer: &Writer<'_>) -> Result<Looked, Stopped> {
        let fail = |error: io::Error| {
            writer.fail(error);
            self.control.cancel();
            Stopped
        };
        let previous = writer.previous(self.mailbox).map_err(fail)?;
        if let Some(previous) = &previous {
            let harvest = self.look(Depth::Stat)?;
            if harvest.digest == previous.entry.stat_walk {
                return Ok(kept(harvest, previous));
            }
        }
        let mut notes = Notes::new(Depth::Structure, self.control, self.mailbox, self.outlet);
        notes.gather(Census::new(writer.room, previous));
        self.inspector.inspect(self.shard, self.mailbox, &mut notes)?;
        let gathered = notes.take_census().map(Census::finish).transpose().map_err(fail)?;
        let mut comparison = Comparison::default();
        if let (Some(previous), Some(gathered)) = (&previous, &gathered) {
            comparison = match compare(previous, gathered, writer.room, &mut notes) {
                Ok(comparison) => comparison,
                Err(Interrupted::Stopped) => return Err(Stopped),
                Err(Interrupted::Failed(error)) => return Err(fail(error)),
            };
        }
        let harvest = notes.finish();
        let put =
            gathered.map(|gathered| writer.put(self.mailbox, &gathered, harvest.digest, &harvest.tally));
        let part = put.transpose().map_err(fail)?.map(Part::Written);
        Ok(Looked { harvest, comparison, part })
    }
}

fn compare_mailbox(
    manifest: &Manifest,
    mailbox: &[u8],
    room: Room<'_>,
    notes: &mut Notes<'_>,
) -> Result<Comparison, Interrupted> {
    let Some(census) = notes.take_census() else { return Ok(Comparison::default()) };
    let gathered = census.finish()?;
    let Some(section) = Section::find(manifest, mailbox) else {
        return Ok(Comparison { new: gathered.messages(), ..Comparison::default() });
    };
    if !section.is_intact()? {
        return Err(
            io::Error::new(io::ErrorKind::InvalidData, "its section of the baseline is damaged").into()
        );
    }
    compare(&section, &gathered, room, notes)
}

/// A mailbox that has not changed since the manifest before: nothing of it was read.
fn kept(harvest: Harvest, previous: &Section<'_>) -> Looked {
    let tally = Tally { messages: previous.entry.messages(), ..harvest.tally };
    let part = Some(Part::Kept(previous.entry.clone()));
    Looked { part, ..Harvest { tally, covered: 0, ..harvest }.into() }
}
