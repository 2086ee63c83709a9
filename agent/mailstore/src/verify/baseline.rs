//! Verification against a baseline, and the writing of one.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use rientro_types::{Digest, Finding, FindingKind, Level, Ppm};

use super::job::Job;
use super::notes::{Depth, finding};
use super::{Conducted, Expected, Report, Task, conduct};
use crate::control::Control;
use crate::manifest::{Comparison, Ending, Manifest, ManifestError, Target, Totals, Writer};

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
    /// Of level [`Level::Baseline`]: its coverage is the share of messages that were compared with one of the baseline, or are damaged or
    /// lost, among all that are there, were lost, are gone, or were not compared.
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
    /// Mailboxes that keep what the manifest before has of them: they are damaged, unreadable or gone.
    pub withheld: u64,
}

/// What became of the manifest that was in the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// A new one stands there.
    Written,
    /// It stays: nothing has changed.
    Unchanged,
    /// It stays: what has changed is withheld.
    Kept,
}

/// Verifies a shard against its baseline: all that [`Level::Structure`] looks at, and whether every message of the baseline is what
/// and where it was. Writes nothing into the store.
///
/// The mailboxes of the baseline are expected to be there, unless the task says which are: messages of one that is neither there nor
/// among those are counted apart. What came since the baseline is looked at for itself, and is not covered.
pub fn verify_against(
    task: &Task<'_>,
    baseline: &Baseline<'_>,
    control: &Control,
    sink: &mut dyn FnMut(Finding),
) -> Compared {
    let manifest = baseline.manifest;
    if manifest.totals().shard != Digest::of(task.shard) {
        let why = format!("{} is the baseline of another shard", manifest.path().display());
        return Compared {
            report: verify_without_baseline(task, &why, control, sink),
            comparison: Comparison::default(),
        };
    }
    let known = mailboxes_of(manifest);
    let job = Job::Compare(manifest, baseline.scratch);
    let Conducted { report, comparison, .. } =
        conduct(&expecting(task, &known), Level::Baseline, &job, control, None, sink);
    Compared { report, comparison }
}

/// The mailboxes of a manifest, as those that must be there.
fn mailboxes_of(manifest: &Manifest) -> Expected {
    manifest.mailboxes().map(<[u8]>::to_vec).collect()
}

/// The task with these mailboxes expected, if it says of none and these are any.
fn expecting<'t>(task: &Task<'t>, known: &'t Expected) -> Task<'t> {
    Task { expected: task.expected.or((!known.is_empty()).then_some(known)), ..*task }
}

/// Verifies the structure of a shard whose baseline cannot be used, for this reason: a finding says so, nothing is covered at the level
/// of baselines, and what is damaged is damaged.
pub fn verify_without_baseline(
    task: &Task<'_>,
    why: &str,
    control: &Control,
    sink: &mut dyn FnMut(Finding),
) -> Report {
    let first = finding(FindingKind::BaselineUnreadable, b"", Vec::new(), why.to_owned());
    let job = Job::Look(Depth::Structure);
    let mut report = conduct(task, Level::Baseline, &job, control, Some(first), sink).report;
    report.verdict.coverage = Ppm::ZERO;
    report
}

/// Writes the baseline of a shard, and hands out what structure verification finds meanwhile. Writes nothing into the store.
///
/// Where there is a manifest before, mailboxes that have changed are compared with it. Those that are damaged, unreadable or gone keep
/// what it has of them, even if that is damaged itself: what was lost since would not be missed by the next look. Where damage is
/// taken, those keep it of which not every message could be looked for. Without one before, what is damaged by then has a damaged
/// baseline. A mailbox that is more than a manifest can hold keeps what it has, or is left
/// out; a finding says so.
///
/// # Errors
/// [`ManifestError`] when the manifest cannot be written, or the one before not be read; when the work was cancelled, another process
/// writes it, the volume is another one, or there is no mailbox, or no message where there were some. The one before then stays in its
/// place.
pub fn write_baseline(
    task: &Task<'_>,
    target: Target<'_>,
    control: &Control,
    sink: &mut dyn FnMut(Finding),
) -> Result<Written, ManifestError> {
    if let Some(previous) = target.previous.filter(|before| before.totals().shard != Digest::of(task.shard)) {
        return Err(ManifestError::OtherShard { path: previous.path().to_owned() });
    }
    let writer = Writer::begin(target)?;
    let job = Job::Write(&writer);
    let known = target.previous.map(mailboxes_of).unwrap_or_default();
    let (mut volume_wrong, mut lost) = (false, BTreeSet::new());
    let mut see = |finding: Finding| {
        volume_wrong |= matches!(finding.kind, FindingKind::VolumeWrong);
        let is_lost = matches!(finding.kind, FindingKind::MailboxMissing | FindingKind::MailboxUnrecognised);
        if is_lost && finding.path.is_empty() {
            lost.insert(finding.mailbox.clone());
        }
        sink(finding);
    };
    let conducted = conduct(&expecting(task, &known), Level::Structure, &job, control, None, &mut see);
    let Conducted { report, comparison, parts } = conducted;
    writer.check()?;
    if control.is_cancelled() {
        return Err(ManifestError::Unfinished("the work was cancelled"));
    }
    if volume_wrong {
        return Err(ManifestError::Unfinished("another volume is mounted than the one of the shard"));
    }
    let none_expected = task.expected.is_some_and(Expected::is_empty);
    if report.verdict.tally.mailboxes == 0 && !none_expected {
        return Err(ManifestError::Unfinished(
            "there is no mailbox; is the volume mounted, and the layout right?",
        ));
    }
    let Ending { totals, renewal, withheld } = writer.finish(parts, task.shard, task.expected, &lost)?;
    Ok(Written { report, comparison, totals, renewal, withheld })
}
