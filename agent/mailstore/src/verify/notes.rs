//! What one mailbox gave: findings, counts and stat-walk records.

use rientro_types::{DETAIL_BYTES_MAX, Digest, Finding, FindingKind, PATH_BYTES_MAX, Severity, Tally};

use super::stat_walk::{self, StatWalk};
use crate::control::{Control, Progress, Stopped};
use crate::fsys::Meta;
use crate::manifest::Census;

/// Findings gathered before they are handed on; bounds what a mailbox full of damage keeps in memory.
pub(crate) const FINDINGS_GATHERED: usize = 128;

/// Bytes or messages after which progress is made known.
const PROGRESS_BYTES: u64 = 1 << 20;
const PROGRESS_MESSAGES: u64 = 64;

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// List and state; no findings.
    Stat,
    /// List, state, compare names, uidlist and index.
    Presence,
    /// Read every message.
    Structure,
}

/// Takes findings that are due to be handed on.
pub(crate) type Outlet<'a> = dyn FnMut(Vec<Finding>) -> Result<(), Stopped> + 'a;

/// Gathers what one mailbox gives.
pub(crate) struct Notes<'a> {
    pub(crate) depth: Depth,
    pub(crate) control: &'a Control,
    mailbox: &'a [u8],
    outlet: &'a mut Outlet<'a>,
    findings: Vec<Finding>,
    tally: Tally,
    covered: u64,
    /// Directories that could not be listed, or not to their end.
    unseen: u64,
    stat_walk: StatWalk,
    /// Severities seen on the message at hand.
    message: Marks,
    /// Whether findings are about a message.
    in_message: bool,
    /// Damage that is not of a message was seen in the mailbox.
    broken: bool,
    /// Severities seen in the mailbox.
    marks: Marks,
    unpublished: Progress,
    /// Nothing is published.
    silent: bool,
    census: Option<Census<'a>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    damage: bool,
    unreadable: bool,
}

impl Marks {
    fn add(&mut self, severity: Severity) {
        match severity {
            Severity::Note => {}
            Severity::Damage => self.damage = true,
            Severity::Unreadable => self.unreadable = true,
        }
    }
}

/// What a finished mailbox gave; findings that were handed on before are not in it.
pub(crate) struct Harvest {
    pub(crate) findings: Vec<Finding>,
    pub(crate) tally: Tally,
    pub(crate) covered: u64,
    pub(crate) unseen: u64,
    pub(crate) digest: Digest,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(
        depth: Depth,
        control: &'a Control,
        mailbox: &'a [u8],
        outlet: &'a mut Outlet<'a>,
    ) -> Self {
        Self {
            depth,
            control,
            mailbox,
            outlet,
            findings: Vec::new(),
            tally: Tally { mailboxes: 1, ..Tally::default() },
            covered: 0,
            unseen: 0,
            stat_walk: StatWalk::default(),
            message: Marks::default(),
            in_message: false,
            broken: false,
            marks: Marks::default(),
            unpublished: Progress::default(),
            silent: false,
            census: None,
        }
    }

    /// Notes a finding at `path` inside the mailbox.
    pub(crate) fn add(&mut self, kind: FindingKind, path: Vec<u8>, detail: impl Into<String>) {
        if self.depth == Depth::Stat {
            return;
        }
        self.tally.findings += 1;
        self.tally.kinds.insert(kind);
        self.marks.add(kind.severity());
        self.message.add(kind.severity());
        if !self.in_message {
            self.broken |= kind.severity() == Severity::Damage;
            // Of an index or a uidlist no message is unseen.
            self.unseen +=
                u64::from(kind.severity() == Severity::Unreadable && kind != FindingKind::FileUnreadable);
        }
        self.unpublished.findings += 1;
        self.findings.push(finding(kind, self.mailbox, path, detail.into()));
    }

    /// Notes what the file system says about a name.
    pub(crate) fn stated(&mut self, place: &[u8], name: &[u8], meta: &Meta) {
        stat_walk::record(self.stat_walk.gather(), place, name, meta);
    }

    /// Begins a message; findings up to [`Notes::end_message`] are about it.
    pub(crate) fn begin_message(&mut self) {
        self.message = Marks::default();
        self.in_message = true;
    }

    /// Ends a message of which `bytes` were read; `covered` when all of it was looked at, to the depth asked for.
    pub(crate) fn end_message(&mut self, bytes: u64, covered: bool) -> Result<(), Stopped> {
        self.tally.messages += 1;
        self.tally.bytes += bytes;
        self.covered += u64::from(covered);
        self.unpublished.messages += 1;
        self.unpublished.bytes += bytes;
        self.count_marks();
        self.publish_some();
        self.hand_on()
    }

    /// Ends what is said about a message that has no file. It counts: it was looked for.
    pub(crate) fn end_missing_message(&mut self) -> Result<(), Stopped> {
        self.tally.messages += 1;
        self.covered += 1;
        self.count_marks();
        self.hand_on()
    }

    /// Ends what is said beforehand about a message that is counted when it is looked at.
    pub(crate) fn end_remark(&mut self) -> Result<(), Stopped> {
        self.count_marks();
        self.hand_on()
    }

    /// Counts bytes that were read for no message in particular.
    pub(crate) fn count_bytes(&mut self, bytes: u64) {
        self.tally.bytes += bytes;
        self.unpublished.bytes += bytes;
        self.publish_some();
    }

    /// Ends what is said about a message whose damage is counted already.
    pub(crate) fn end_repeated_remark(&mut self) -> Result<(), Stopped> {
        self.in_message = false;
        self.hand_on()
    }

    /// Whether damage was noted about the message at hand.
    pub(crate) fn is_marked(&self) -> bool {
        self.message.damage
    }

    /// Whether anything of the mailbox is damaged or could not be read.
    pub(crate) fn is_in_trouble(&self) -> bool {
        self.marks.damage || self.marks.unreadable
    }

    /// Publishes no progress.
    pub(crate) fn be_silent(&mut self) {
        self.silent = true;
    }

    /// So many messages more were not seen than findings say.
    pub(crate) fn add_unseen(&mut self, messages: u64) {
        self.unseen += messages;
    }

    /// Takes back that so many messages were looked at to the depth asked for.
    pub(crate) fn uncover(&mut self, messages: u64) {
        self.covered = self.covered.saturating_sub(messages);
    }

    /// At least so many messages were not looked at to the depth asked for, whatever findings say.
    pub(crate) fn uncover_at_least(&mut self, messages: u64) {
        let uncovered = (self.tally.messages + self.unseen).saturating_sub(self.covered);
        self.unseen += messages.saturating_sub(uncovered);
    }

    /// Where what the mailbox holds is gathered, if it is.
    pub(crate) fn census(&mut self) -> Option<&mut Census<'a>> {
        self.census.as_mut()
    }

    /// Gathers what the mailbox holds.
    pub(crate) fn gather(&mut self, census: Census<'a>) {
        self.census = Some(census);
    }

    /// Ends the gathering that was begun.
    ///
    /// # Panics
    /// When none was.
    pub(crate) fn take_census(&mut self) -> Census<'a> {
        self.census.take().expect("it was begun")
    }

    /// Ends the message.
    fn count_marks(&mut self) {
        self.tally.messages_damaged += u64::from(self.message.damage);
        self.tally.messages_unreadable += u64::from(self.message.unreadable);
        self.in_message = false;
    }

    fn publish_some(&mut self) {
        let is_due =
            self.unpublished.bytes >= PROGRESS_BYTES || self.unpublished.messages >= PROGRESS_MESSAGES;
        if is_due && !self.silent {
            self.control.count(std::mem::take(&mut self.unpublished));
        }
    }

    fn hand_on(&mut self) -> Result<(), Stopped> {
        if self.findings.len() < FINDINGS_GATHERED {
            return Ok(());
        }
        (self.outlet)(std::mem::take(&mut self.findings))
    }

    pub(crate) fn finish(mut self) -> Harvest {
        self.tally.mailboxes_damaged = u64::from(self.marks.damage);
        self.tally.mailboxes_broken = u64::from(self.broken);
        self.tally.mailboxes_unreadable = u64::from(self.marks.unreadable);
        self.unpublished.mailboxes = 1;
        if !self.silent {
            self.control.count(self.unpublished);
        }
        Harvest {
            findings: self.findings,
            tally: self.tally,
            covered: self.covered,
            unseen: self.unseen,
            digest: self.stat_walk.finish(),
        }
    }
}

/// A finding whose detail is cut to its bound. Paths are within theirs: what has a longer one is not looked at.
pub(crate) fn finding(kind: FindingKind, mailbox: &[u8], path: Vec<u8>, mut detail: String) -> Finding {
    debug_assert!(
        mailbox.len() <= PATH_BYTES_MAX && path.len() <= PATH_BYTES_MAX,
        "no finding has such a path"
    );
    let end = (0..=DETAIL_BYTES_MAX.min(detail.len())).rev().find(|at| detail.is_char_boundary(*at));
    detail.truncate(end.unwrap_or(0));
    Finding { kind, mailbox: mailbox.to_vec(), path, detail }
}
