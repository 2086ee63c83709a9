//! Verification of one shard: what it concludes, and from what.
//!
//! The verdict follows from the findings in this order, the first that fits:
//!
//! 1. the level cannot be reached here: `unknown`;
//! 2. the work was cancelled: `unknown`, incomplete; its counts are of what was seen, its digests are zero;
//! 3. the volume is wrong or empty where mailboxes were expected: `unreadable`, as whatever else was seen is not this shard;
//! 4. anything is damaged: `damaged`, even where other parts were unreadable. A person has to decide about damage, while
//!    what cannot be read may read at the next attempt; the tally counts both;
//! 5. anything could not be read: `unreadable`;
//! 6. there is no message in it at all and nothing says that there should be no mailbox: `unknown`, empty. A mail server makes
//!    empty mailboxes where a volume is not mounted, so mailboxes alone are no evidence that mail is there;
//! 7. `clean`.
//!
//! Findings come in the order of mailboxes, folders and names, whatever the number of readers, so their digest is the same in
//! every run over an unchanged shard.

mod baseline;
mod job;
mod notes;
mod pool;
mod roll;
mod stat_walk;

use std::path::Path;

use rientro_types::{
    Digest, Finding, FindingKind, FindingsHasher, Level, Outcome, Ppm, Severity, Tally, UnknownCause,
    Verdict, VolumeId,
};

use crate::control::Control;
use crate::layout::Layout;
use crate::manifest::{Comparison, Part};
use crate::volume;

pub use baseline::{
    Baseline, Compared, Renewal, Written, verify_against, verify_without_baseline, write_baseline,
};
use job::Job;
pub(crate) use notes::{Depth, Notes};
pub use roll::Expected;

/// Most paths of damaged mailboxes kept in a report; the findings name them all.
pub const DAMAGED_PATHS_MAX: usize = 64;

/// What to verify.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// Where the volume is mounted.
    pub root: &'a Path,
    /// Where mailboxes stand on it.
    pub layout: &'a Layout,
    /// Path of the shard below the root.
    pub shard: &'a [u8],
    /// Which volume must be mounted, before and after; `None` to take what is there.
    pub volume: Option<VolumeId>,
    /// Which mailboxes there must be; `None` when nobody knows.
    pub expected: Option<&'a Expected>,
}

/// What a verification concluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Conclusion, level, coverage and counts.
    pub verdict: Verdict,
    /// Digest over names, kinds, sizes and times, as [`stat_walk()`] gives it; zero when cancelled.
    pub stat_walk: Digest,
    /// Digest over all findings in order, as [`FindingsHasher`] gives it; zero when cancelled.
    pub findings_digest: Digest,
    /// Paths of the first mailboxes with damage, at most [`DAMAGED_PATHS_MAX`].
    pub damaged: Vec<Vec<u8>>,
}

/// Why a stat walk has no digest.
#[derive(Debug, thiserror::Error)]
pub enum StatWalkError {
    /// The caller cancelled it.
    #[error("stat walk was cancelled")]
    Cancelled,
    /// Another volume is mounted, or none.
    #[error("volume at {root} is not the one expected: {detail}")]
    Volume {
        /// Where it should be mounted.
        root: String,
        /// What was found instead.
        detail: String,
    },
}

/// Verifies a shard and hands every finding to `sink`, in order. Writes nothing into the store.
///
/// Level [`Level::Presence`] lists and states; [`Level::Structure`] reads every message. [`Level::Baseline`] is unknown here:
/// [`verify_against()`] has the baseline it needs.
/// Runs on threads of its own, as many as `control` says; `sink` is called on the caller's thread.
pub fn verify(task: &Task<'_>, level: Level, control: &Control, sink: &mut dyn FnMut(Finding)) -> Report {
    let depth = match level {
        Level::Presence => Depth::Presence,
        Level::Structure => Depth::Structure,
        Level::Baseline => return unavailable(level),
    };
    conduct(task, level, &Job::Look(depth), control, None, sink).report
}

/// What a run over a shard gave.
struct Conducted {
    report: Report,
    comparison: Comparison,
    parts: Vec<Part>,
}

/// Runs a job over a shard; the first finding is known beforehand, if any is.
fn conduct(
    task: &Task<'_>,
    level: Level,
    job: &Job<'_>,
    control: &Control,
    first: Option<Finding>,
    sink: &mut dyn FnMut(Finding),
) -> Conducted {
    let mut summary = Summary::default();
    let mut hasher = FindingsHasher::default();
    let mut take = |finding: Finding, summary: &mut Summary| {
        summary.volume_fault |= matches!(finding.kind, FindingKind::VolumeEmpty | FindingKind::VolumeWrong);
        hasher.add(&finding);
        sink(finding);
    };
    if let Some(finding) = first {
        summary.note(finding.kind);
        take(finding, &mut summary);
    }
    let is_right = volume_is_right(task, &mut summary, &mut take);
    if is_right {
        pool::run(task, job, control, &mut summary, &mut take);
        if !control.is_cancelled() {
            volume_is_right(task, &mut summary, &mut take);
        }
    }
    summary.compare_rest(job.messages_before(), is_right && !control.is_cancelled());
    let expected_empty = task.expected.is_some_and(Expected::is_empty);
    let (comparison, parts) = (summary.comparison, std::mem::take(&mut summary.parts));
    let report = summary.report(level, expected_empty, control.is_cancelled(), hasher.finish());
    Conducted { report, comparison, parts }
}

/// Digest over path, kind, size and times of modification and change of everything in the shard, without reading any file.
///
/// Equal for an unchanged shard, and equal to [`Report::stat_walk`] of a verification of it. Sees what is created, removed,
/// renamed, truncated or written, also where its time was set back; another owner, mode or attribute; and directories whose
/// entries changed. A copy of the shard, file by file, is another one. Does not see content that changes beneath the file
/// system (a lost block, a bit flip), access times, and what stands beside mailboxes outside the layout.
///
/// # Errors
/// [`StatWalkError`] when cancelled or when another volume is mounted.
pub fn stat_walk(task: &Task<'_>, control: &Control) -> Result<Digest, StatWalkError> {
    if let Some(detail) = volume_fault(task) {
        return Err(StatWalkError::Volume { root: task.root.display().to_string(), detail });
    }
    let mut summary = Summary::default();
    pool::run(task, &Job::Look(Depth::Stat), control, &mut summary, &mut |_, _| ());
    if control.is_cancelled() { Err(StatWalkError::Cancelled) } else { Ok(summary.stat_walk) }
}

/// What the parts of a shard add up to.
#[derive(Debug)]
struct Summary {
    tally: Tally,
    covered: u64,
    /// Places of which nobody knows how many messages are there: each counts as one that was not looked at.
    unseen: u64,
    volume_fault: bool,
    damage: bool,
    unreadable: bool,
    stat_walk: Digest,
    damaged: Vec<Vec<u8>>,
    comparison: Comparison,
    /// A directory on the way to mailboxes was listed in part.
    cut: bool,
    /// Parts of a manifest, in the order of mailboxes.
    parts: Vec<Part>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            tally: Tally::default(),
            covered: 0,
            unseen: 0,
            volume_fault: false,
            damage: false,
            unreadable: false,
            stat_walk: Digest::ZERO,
            damaged: Vec::new(),
            comparison: Comparison::default(),
            cut: false,
            parts: Vec::new(),
        }
    }
}

impl Summary {
    fn note(&mut self, kind: FindingKind) {
        self.tally.findings += 1;
        self.tally.kinds.insert(kind);
        self.damage |= kind.severity() == Severity::Damage;
        self.unreadable |= kind.severity() == Severity::Unreadable;
    }

    /// Counts mailboxes that were not looked into: one that is not there or is none, or what a directory hides.
    fn note_mailboxes(&mut self, count: u64, mailbox: &[u8], severity: Severity) {
        match severity {
            Severity::Note => {}
            Severity::Unreadable => {
                self.tally.mailboxes_unreadable += count;
                self.unseen += count;
            }
            Severity::Damage => {
                self.tally.mailboxes_damaged += count;
                self.tally.mailboxes_broken += count;
                if !mailbox.is_empty() {
                    self.note_damaged(mailbox.to_vec());
                }
            }
        }
    }

    /// Takes note of a finding aside, which keeps so many mailboxes from being looked into.
    fn note_aside(&mut self, job: &Job<'_>, finding: &Finding, mailboxes: u64) {
        let (unseen, compared) = (self.unseen, job.compare_aside(finding));
        self.note(finding.kind);
        self.note_mailboxes(mailboxes, &finding.mailbox, finding.kind.severity());
        self.unseen = self.unseen.max(unseen + compared.uncompared);
        self.comparison.add(&compared);
        self.cut |= finding.kind == FindingKind::LimitReached;
    }

    /// Counts those of a baseline's messages of which nothing was said. Where all of the shard was walked, they are of mailboxes that
    /// nobody expects.
    fn compare_rest(&mut self, messages_before: u64, is_walked: bool) {
        let rest = messages_before.saturating_sub(self.comparison.of_baseline());
        if is_walked && !self.cut {
            self.comparison.unlisted += rest;
        } else {
            self.comparison.uncompared += rest;
            self.unseen += rest;
        }
    }

    fn note_damaged(&mut self, mailbox: Vec<u8>) {
        if self.damaged.len() < DAMAGED_PATHS_MAX {
            self.damaged.push(mailbox);
        }
    }

    fn outcome(&self, expected_empty: bool, cancelled: bool) -> Outcome {
        if cancelled {
            Outcome::Unknown(UnknownCause::Incomplete)
        } else if self.volume_fault {
            Outcome::Unreadable
        } else if self.damage {
            Outcome::Damaged
        } else if self.unreadable {
            Outcome::Unreadable
        } else if self.tally.messages == 0 && !expected_empty {
            Outcome::Unknown(UnknownCause::Empty)
        } else {
            Outcome::Clean
        }
    }

    /// The share of messages that was looked at; all of none only where none is what there should be, and none of a volume that
    /// is another one.
    fn coverage(&self, outcome: Outcome) -> Ppm {
        if self.volume_fault || (self.tally.messages == 0 && outcome != Outcome::Clean) {
            return Ppm::ZERO;
        }
        Ppm::ratio(self.covered, self.tally.messages + self.unseen)
    }

    fn report(self, level: Level, expected_empty: bool, cancelled: bool, findings: Digest) -> Report {
        let outcome = self.outcome(expected_empty, cancelled);
        let verdict = Verdict { outcome, level, coverage: self.coverage(outcome), tally: self.tally };
        let digest = |digest| if cancelled { Digest::ZERO } else { digest };
        Report {
            verdict,
            stat_walk: digest(self.stat_walk),
            findings_digest: digest(findings),
            damaged: self.damaged,
        }
    }
}

fn unavailable(level: Level) -> Report {
    let verdict = Verdict {
        outcome: Outcome::Unknown(UnknownCause::LevelUnavailable),
        level,
        coverage: Ppm::ZERO,
        tally: Tally::default(),
    };
    Report { verdict, stat_walk: Digest::ZERO, findings_digest: Digest::ZERO, damaged: Vec::new() }
}

fn volume_fault(task: &Task<'_>) -> Option<String> {
    volume::check(task.root, &task.volume?).err().map(|error| error.to_string())
}

fn volume_is_right(
    task: &Task<'_>,
    summary: &mut Summary,
    take: &mut dyn FnMut(Finding, &mut Summary),
) -> bool {
    let Some(detail) = volume_fault(task) else { return true };
    summary.note(FindingKind::VolumeWrong);
    take(notes::finding(FindingKind::VolumeWrong, b"", Vec::new(), detail), summary);
    false
}
