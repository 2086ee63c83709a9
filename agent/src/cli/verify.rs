//! `rientro-agent verify`: the agent's verification without an orchestrator. Reads only.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use rientro_mailstore::{
    Baseline, Control, Expected, Inventory, Mailbox, Manifest, Task, inventory, verify, verify_against,
};
use rientro_types::{Level, Outcome, Ppm, Verdict};

use super::detect::Found;
use super::report::{Compared, Report, Screen, Sink, failed, shown};
use super::source::Source;
use super::{COULD_NOT_TELL, DAMAGED};
use crate::roots::expected_below;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// One object a line.
    Json,
}

/// Verify mail on this machine. Exit codes: 0 clean, 1 damaged, 2 could not tell (also when less of it than --coverage was compared with
/// --baseline).
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    source: Source,
    /// How deep to look: presence (everything can be stated), structure (everything is read) or baseline (and compared with
    /// --baseline). Without it as deep as can be.
    #[arg(long)]
    level: Option<Level>,
    /// A manifest to compare with, as 'manifest write' makes it, or 'manifest renew' of the shard whose directory PATH is. What is too
    /// large for memory is put into TMPDIR (or /tmp).
    #[arg(long, value_name = "MANIFEST")]
    baseline: Option<PathBuf>,
    /// Least share of messages that must have been compared for exit code 0. Mail that came since the baseline was written is looked at
    /// for its structure alone, so that a baseline of yesterday covers a little less than all, such as 97%.
    #[arg(long, value_name = "PERCENT", default_value = "100%", requires = "baseline")]
    coverage: Ppm,
    /// How results are written.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// File with a path below PATH for each mailbox that must be there.
    #[arg(long)]
    expected: Option<PathBuf>,
}

pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    exit_code(args).unwrap_or_else(|error| failed(args.output, &error))
}

fn exit_code(args: &VerifyArgs) -> Result<ExitCode> {
    let Verdict { outcome, coverage, .. } = verified(args)?;
    Ok(match outcome {
        Outcome::Clean if args.baseline.is_some() && coverage < args.coverage => COULD_NOT_TELL.into(),
        Outcome::Clean => ExitCode::SUCCESS,
        Outcome::Damaged => DAMAGED.into(),
        Outcome::Unreadable | Outcome::Unknown(_) => COULD_NOT_TELL.into(),
    })
}

fn verified(args: &VerifyArgs) -> Result<Verdict> {
    super::raise_file_limit();
    let level = level(args.level, args.baseline.is_some())?;
    let manifest = args.baseline.as_deref().map(Manifest::open).transpose()?.map(Manifest::of_any_shard);
    let path = &args.source.path;
    let found = args.source.find()?;
    if let Some(manifest) = &manifest {
        refuse_another_tree(manifest, path, &found)?;
    }
    let expected = args.expected.as_deref().map(|list| expected(list, path, &found.root)).transpose()?;
    let control = Control::new(args.source.pace());
    let task = Task {
        root: &found.root,
        layout: &found.layout,
        shard: b"",
        volume: None,
        expected: expected.as_ref(),
    };
    let screen = Screen::new(args.output == Output::Table, &control);
    let mut report = Report::new(args.output, &screen);
    report.begin("verifying", path, &found.text)?;
    let mut sink = Sink::new(&mut report, &control);
    let (verified, comparison) = match manifest.as_ref().filter(|_| level == Level::Baseline) {
        Some(manifest) => {
            let baseline = Baseline { manifest, scratch: &std::env::temp_dir() };
            let compared = verify_against(&task, &baseline, &control, &mut |finding| sink.take(&finding));
            (compared.report, Some(compared.comparison))
        }
        None => (verify(&task, level, &control, &mut |finding| sink.take(&finding)), None),
    };
    let written = sink.end();
    screen.end();
    written?;
    let compared = comparison.map(|comparison| Compared { comparison, coverage_min: args.coverage });
    super::report::verdict(args.output, &verified.verdict, compared.as_ref())?;
    Ok(verified.verdict)
}

/// The level that was asked for, or the deepest that there is.
fn level(asked: Option<Level>, has_baseline: bool) -> Result<Level> {
    match asked {
        Some(Level::Baseline) if !has_baseline => {
            bail!("level baseline needs the manifest to compare with; name it with --baseline")
        }
        Some(level @ (Level::Presence | Level::Structure)) if has_baseline => {
            bail!(
                "--baseline is compared at level baseline, and --level asks for {}; leave one of them out",
                level.name()
            )
        }
        Some(level) => Ok(level),
        None => Ok(if has_baseline { Level::Baseline } else { Level::Structure }),
    }
}

/// A tree in which not one mailbox of the baseline is has not lost them all: it is another one. One in which no mailbox is says nothing.
fn refuse_another_tree(manifest: &Manifest, path: &Path, found: &Found) -> Result<()> {
    let (control, mut there, mut known) = (Control::default(), 0_u64, false);
    let mut each = |mailbox: Mailbox<'_>| {
        there += 1;
        if manifest.has(mailbox.path) {
            known = true;
            control.cancel();
        }
    };
    // What cannot be listed is told by the verification.
    let listed = inventory(&found.root, &found.layout, b"", &control, &mut each);
    if let (Ok(Inventory { unreadable: 0, .. }), 1.., false, Some(first)) =
        (listed, there, known, manifest.mailboxes().next())
    {
        bail!(
            "{} seems to be the baseline of another tree: none of its {} mailboxes, such as {}, is among the {there} of {}; name the \
             directory that it was written of",
            manifest.path().display(),
            manifest.totals().mailboxes,
            shown(first),
            path.display()
        );
    }
    Ok(())
}

/// Reads a list of mailboxes: one path a line.
fn expected(list: &Path, path: &Path, root: &Path) -> Result<Expected> {
    if path.canonicalize()? != root {
        bail!("--expected needs a directory with mailboxes below it, and {} is one mailbox", path.display());
    }
    let expected = expected_below(list, b"").with_context(|| format!("read {}", list.display()))?;
    expected.with_context(|| {
        format!("{} names no mailbox; a line with a dot alone says that there should be none", list.display())
    })
}
