//! Verification against a baseline, and the writing of one.

use std::path::Path;

use rientro_types::{Digest, Finding, FindingKind, FindingsHasher, Level, Outcome};

use super::job::Job;
use super::notes::finding;
use super::{Conducted, Expected, Report, Task, conduct};
use crate::control::Control;
use crate::manifest::{Comparison, Manifest, ManifestError, Room, Target, Totals, Writer};

/// What to compare with.
#[derive(Clone, Copy, Debug)]
pub struct Baseline<'a> {
    /// The baseline of the shard.
    pub manifest: &'a Manifest,
    /// A directory for what gets too large for memory, in files without names.
    pub scratch: &'a Path,
}

/// What a verification against a baseline concluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Of level [`Level::Baseline`]: its coverage is of messages that the baseline has, or that were there in vain.
    pub report: Report,
    /// What became of the messages of the baseline.
    pub comparison: Comparison,
}

/// What the writing of a baseline gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What was found in the mailboxes that were read; its coverage is of messages that were.
    pub report: Report,
    /// What became of the messages of the manifest before, in mailboxes that have changed.
    pub comparison: Comparison,
    /// What the manifest in the place adds up to.
    pub totals: Totals,
    /// Whether it was written.
    pub renewal: Renewal,
}

/// What became of the manifest that was in the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// A new one stands there.
    Written,
    /// It stays: nothing has changed.
    Unchanged,
    /// It stays: damage was found in what is there now.
    Withheld,
}

/// Verifies a shard against its baseline: all that [`Level::Structure`] looks at, and whether every message of the baseline is what
/// and where it was. Writes nothing into the store.
///
/// The mailboxes of the baseline are expected to be there, unless the task says which are. What came since the baseline is
/// looked at for itself, and is not covered.
pub fn verify_against(
    task: &Task<'_>,
    baseline: &Baseline<'_>,
    control: &Control,
    sink: &mut dyn FnMut(Finding),
) -> Compared {
    let manifest = baseline.manifest;
    if manifest.totals().shard != Digest::of(task.shard) {
        let why = format!("{} is the baseline of another shard", manifest.path().display());
        return Compared { report: without_baseline(&why, sink), comparison: Comparison::default() };
    }
    let known: Expected = match task.expected {
        Some(_) => Expected::default(),
        None => manifest.mailboxes().map(<[u8]>::to_vec).collect(),
    };
    let task = Task { expected: task.expected.or((!known.is_empty()).then_some(&known)), ..*task };
    let job = Job::Compare(manifest, Room::of(baseline.scratch, control.pace().readers));
    let Conducted { report, comparison, .. } = conduct(&task, Level::Baseline, &job, control, sink);
    Compared { report, comparison }
}

/// The report of a shard whose baseline cannot be used, and the finding that says why: nothing is known at this level.
pub fn without_baseline(why: &str, sink: &mut dyn FnMut(Finding)) -> Report {
    let unusable = finding(FindingKind::BaselineUnreadable, b"", Vec::new(), why.to_owned());
    let mut hasher = FindingsHasher::default();
    hasher.add(&unusable);
    let mut report = super::unavailable(Level::Baseline);
    report.findings_digest = hasher.finish();
    report.verdict.tally.findings = 1;
    report.verdict.tally.kinds.insert(unusable.kind);
    sink(unusable);
    report
}

/// Writes the baseline of a shard, and hands out what structure verification finds meanwhile. Writes nothing into the store.
///
/// Where there is a manifest before, mailboxes that have changed are compared with it, and it is not replaced where anything is
/// damaged: what was lost since would not be missed by the next one. Without one before, what is damaged by then has a damaged
/// baseline.
///
/// # Errors
/// [`ManifestError`] when the manifest cannot be written, or the one before not be read; when the work was cancelled, or the volume
/// is another one. The one before then stays in its place.
pub fn write_baseline(
    task: &Task<'_>,
    target: Target<'_>,
    control: &Control,
    sink: &mut dyn FnMut(Finding),
) -> Result<Written, ManifestError> {
    let writer = Writer::begin(target, control.pace().readers)?;
    let job = Job::Write(&writer);
    let mut volume_wrong = false;
    let Conducted { report, comparison, parts } =
        conduct(task, Level::Structure, &job, control, &mut |finding| {
            volume_wrong |= matches!(finding.kind, FindingKind::VolumeWrong);
            sink(finding);
        });
    writer.check()?;
    if control.is_cancelled() {
        return Err(ManifestError::Unfinished("the work was cancelled"));
    }
    if volume_wrong {
        return Err(ManifestError::Unfinished("another volume is mounted than the one of the shard"));
    }
    let before = target.previous.filter(|_| !target.damaged_too);
    let (totals, renewal) = match before.filter(|_| report.verdict.outcome == Outcome::Damaged) {
        Some(before) => (*before.totals(), Renewal::Withheld),
        None => writer.finish(parts, task.shard)?,
    };
    Ok(Written { report, comparison, totals, renewal })
}
