//! `rientro plan`: plans, before they run.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use rientro_orchestrator::open_named;
use rientro_orchestrator::plan::{self, PLAN_TEXT_BYTES_MAX, PlanFault, PlanFile};
use rientro_types::{Promotion, Refusal, Schedule, WaveForecast};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::foreign::{clean, file_name};
use crate::human::{count, percent, plural};
use crate::json;
use crate::output::note;
use crate::session::{Session, refused};
use crate::table::{Grid, Tone};
use crate::words::services;

/// What to do about problems in a plan, for people and machines.
const MEND: &str = "Mend the plan at these lines, and try it with `rientro plan check` before it runs.";
/// Stands for stdin in the place of a path.
const STDIN: &str = "-";

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Check a plan and show the waves it would make of the present fleet; changes nothing
    Check {
        /// The plan, in TOML; `-` reads it from stdin
        file: PathBuf,
        /// Check the text alone, without a cell
        #[arg(long)]
        local: bool,
        /// Check it as a revision of the running campaign of its name: shows the waves that have not begun
        #[arg(long, conflicts_with = "local")]
        revision: bool,
    },
}

pub(crate) async fn run(session: &Session, command: PlanCommand) -> Result<(), Failure> {
    let PlanCommand::Check { file, local, revision } = command;
    let plan = match read(&file) {
        Ok(plan) => plan,
        Err(Unreadable::File(failure)) => return Err(failure),
        Err(Unreadable::Faults(faults)) => return Err(reject(session, &file, &faults)),
    };
    if local {
        return show_local(session, &plan);
    }
    let mut client = session.connect().await?;
    match client.forecast(plan.plan.clone(), revision).await? {
        Ok(waves) => show_waves(session, &plan, &waves, revision),
        Err(Refusal::Plan(problems)) => Err(reject(session, &file, &plan.locate(&problems))),
        Err(other) => Err(refused(&other)),
    }
}

/// Why there is no plan.
pub(crate) enum Unreadable {
    /// The file cannot be read.
    File(Failure),
    /// What is wrong in it.
    Faults(Vec<PlanFault>),
}

/// Reads a plan's file.
pub(crate) fn read(path: &Path) -> Result<PlanFile, Unreadable> {
    let failed = |source| Failure::io(format!("read the plan {}", file_name(path)), source);
    let read = if path == Path::new(STDIN) {
        bounded(std::io::stdin().lock()).map_err(failed)
    } else {
        open_regular(path).and_then(|file| bounded(file).map_err(failed))
    };
    plan::read(&read.map_err(Unreadable::File)?).map_err(Unreadable::Faults)
}

/// Opens a file that has an end, and not too far away. Anything else is refused before it is read, and opening a pipe waits for nobody.
fn open_regular(path: &Path) -> Result<File, Failure> {
    let failed = |source| Failure::io(format!("read the plan {}", file_name(path)), source);
    let (file, metadata) = open_named(path).map_err(failed)?;
    let kind = metadata.file_type();
    if kind.is_file() && metadata.len() > PLAN_TEXT_BYTES_MAX as u64 {
        let (name, bytes, bytes_max) =
            (file_name(path), count(metadata.len()), count(PLAN_TEXT_BYTES_MAX as u64));
        let what = format!("the plan {name} has {bytes} bytes, at most {bytes_max} are taken");
        return Err(Failure::refused(what, "select shards by label instead of by name"));
    }
    if kind.is_file() {
        return Ok(file);
    }
    let (what, instead) = match () {
        () if kind.is_dir() => ("a directory", "name the file in it"),
        () if kind.is_fifo() => ("a pipe", "write `-` and let it be stdin"),
        () => ("a device", "name a file"),
    };
    Err(Failure::refused(format!("the plan {} is {what}, not a regular file", file_name(path)), instead))
}

/// One byte more than allowed is enough for the reader to refuse it.
fn bounded(input: impl Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    input.take(PLAN_TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// A plan's file for a command that needs it whole.
pub(crate) fn read_whole(path: &Path) -> Result<PlanFile, Failure> {
    read(path).map_err(|unreadable| match unreadable {
        Unreadable::File(failure) => failure,
        Unreadable::Faults(faults) => rejected(path, &faults),
    })
}

/// A refusal of a decision about a plan: problems are shown in its text.
pub(crate) fn refusal(path: &Path, plan: &PlanFile, refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::Plan(problems) => rejected(path, &plan.locate(problems)),
        Refusal::CampaignUnknown(_)
        | Refusal::CampaignExists(_)
        | Refusal::CampaignOver(_)
        | Refusal::ShardUnknown(_)
        | Refusal::NodeUnknown(_)
        | Refusal::SelectorUnbounded
        | Refusal::SelectorInvalid { .. }
        | Refusal::NothingToDo { .. }
        | Refusal::WaveNotCurrent { .. }
        | Refusal::ReasonMissing
        | Refusal::TooMany { .. }
        | Refusal::LimitInvalid { .. }
        | Refusal::NotClaimed { .. }
        | Refusal::ByNameOnly { .. } => refused(refusal),
    }
}

/// Problems of a plan, each as `FILE:LINE:COLUMN: FIELD: PROBLEM`, which editors can jump to.
fn rejected(path: &Path, faults: &[PlanFault]) -> Failure {
    let mut text = format!("the plan has {}:", plural(faults.len() as u64, "problem"));
    for fault in faults {
        text.push_str(&format!("\n{}:{}", file_name(path), clean(&fault.to_string())));
    }
    Failure::refused(text, MEND)
}

fn reject(session: &Session, path: &Path, faults: &[PlanFault]) -> Failure {
    if !session.out.is_json() {
        return rejected(path, faults);
    }
    let problems: Value = faults
        .iter()
        .map(|PlanFault { line, column, field, problem }| {
            json!({ "line": line, "column": column, "field": field, "problem": problem })
        })
        .collect();
    match session.out.json(&json!({ "valid": false, "problems": problems, "next": MEND })) {
        Ok(()) => Failure::Unsound,
        Err(failure) => failure,
    }
}

fn show_local(session: &Session, plan: &PlanFile) -> Result<(), Failure> {
    if session.out.is_json() {
        return session.out.json(&json!({ "valid": true, "source": plan.source.to_string() }));
    }
    session.out.grid(&summary(plan))?;
    note("The text is valid. Whether it fits the fleet is checked without --local.");
    Ok(())
}

fn show_waves(
    session: &Session,
    plan: &PlanFile,
    waves: &[WaveForecast],
    revision: bool,
) -> Result<(), Failure> {
    if session.out.is_json() {
        let waves: Value = waves.iter().map(json::forecast).collect();
        let source = plan.source.to_string();
        return session.out.json(&json!({ "valid": true, "source": source, "waves": waves }));
    }
    session.out.grid(&summary(plan))?;
    session.out.line("")?;
    session.out.grid(&waves_grid(waves))?;
    if plan.plan.seed.is_none() && !revision {
        note("Without a seed the order inside a class is drawn anew when the campaign starts.");
    }
    Ok(())
}

/// What a plan says, where it decides how careful the return is.
pub(crate) fn summary(file: &PlanFile) -> Grid {
    let plan = &file.plan;
    let mut grid = Grid::new(["", ""]);
    let mut row = |name: &'static str, text: String| grid.row([name.into(), text.into()]);
    row("plan", format!("{} ({})", plan.name, &file.source.to_string()[..12]));
    let policy = &plan.policy;
    row(
        "verify",
        format!(
            "{} level, {} covered; {} damaged messages per million, {} and {} allowed",
            policy.level.name(),
            policy.coverage_min,
            policy.damaged_per_million_max,
            plural(policy.broken_mailboxes_max, "broken mailbox"),
            plural(policy.unreadable_mailboxes_max, "unreadable mailbox")
        ),
    );
    let waves = &plan.waves;
    row(
        "error budget",
        format!("{} of the canary, {} of other waves", waves.error_budget_canary, waves.error_budget),
    );
    let by = match waves.promotion {
        Promotion::Automatic => "the next wave begins by itself",
        Promotion::Manual => "an operator promotes each wave",
    };
    row("bake", format!("{}, then {by}", waves.bake));
    if let Schedule::Growth { first, percent, max } = waves.schedule {
        row("growth", format!("from {first}, each wave {percent}% of the one before, to at most {max}"));
    }
    let steps: Vec<_> = plan.opening.steps.iter().map(|step| services(*step)).collect();
    row(
        "opens",
        format!("{}; {} at once", steps.join(", then "), plural(plan.opening.in_flight_max.into(), "shard")),
    );
    grid
}

/// The waves a plan would make.
pub(crate) fn waves_grid(waves: &[WaveForecast]) -> Grid {
    let total: u64 = waves.iter().map(|wave| wave.mailboxes).sum();
    let mut grid = Grid::new(["WAVE", "#SHARDS", "#MAILBOXES", "#SHARE", "#SO FAR"]);
    let mut so_far = 0;
    for wave in waves {
        so_far += wave.mailboxes;
        let name = if wave.wave.raw() == 0 { "0 (canary)".to_owned() } else { wave.wave.to_string() };
        grid.row([
            name.into(),
            count(wave.shards.len() as u64).into(),
            count(wave.mailboxes).into(),
            percent(wave.mailboxes, total).into(),
            percent(so_far, total).into(),
        ]);
    }
    let shards: u64 = waves.iter().map(|wave| wave.shards.len() as u64).sum();
    grid.row([
        crate::table::Field::toned("total", Tone::Faint),
        count(shards).into(),
        count(total).into(),
        "".into(),
        "".into(),
    ]);
    grid
}
