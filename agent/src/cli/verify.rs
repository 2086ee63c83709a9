//! `rientro-agent verify`: the agent's verification without an orchestrator. Reads only.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use rientro_mailstore::{Control, Expected, Pace, READERS_MAX, Task, verify};
use rientro_types::{ByteSize, Level, Outcome};
use serde_json::json;

use super::report::{Report, Screen};
use super::{COULD_NOT_TELL, detect};
use crate::roots::expected_below;

/// Exit code when something is damaged.
const DAMAGED: u8 = 1;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// One object a line.
    Json,
}

/// Verify mail on this machine. Exit codes: 0 clean, 1 damaged, 2 could not tell.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A mailbox, or a directory with mailboxes below it.
    path: PathBuf,
    /// Where mailboxes stand below the path, such as '{domain}/{user}/Maildir'; seen by itself where that is plain.
    #[arg(long)]
    layout: Option<String>,
    /// How deep to look: presence (everything can be stated) or structure (everything is read).
    #[arg(long, default_value = "structure")]
    level: Level,
    /// How results are written.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// File with a path below PATH for each mailbox that must be there.
    #[arg(long)]
    expected: Option<PathBuf>,
    /// Directory in which attachments are stored apart from their messages (Dovecot's mail_attachment_dir): its path below PATH,
    /// or, where PATH is one mailbox, below the directory that PATH is in.
    #[arg(long)]
    attachments: Option<String>,
    /// Files read at once.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=READERS_MAX as i64))]
    readers: Option<u16>,
    /// Most bytes read a second, such as '50 MiB'.
    #[arg(long)]
    rate: Option<ByteSize>,
}

pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    match outcome(args) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged) => DAMAGED.into(),
        Ok(Outcome::Unreadable | Outcome::Unknown(_)) => COULD_NOT_TELL.into(),
        Err(error) => {
            let what = format!("{error:#}");
            super::say(&match args.output {
                Output::Table => format!("rientro-agent: {what}"),
                Output::Json => json!({ "error": { "code": "could-not-tell", "what": what } }).to_string(),
            });
            COULD_NOT_TELL.into()
        }
    }
}

fn outcome(args: &VerifyArgs) -> Result<Outcome> {
    super::raise_file_limit();
    let mut found = detect::layout(&args.path, args.layout.as_deref())?;
    if let Some(attachments) = &args.attachments {
        found.layout = found.layout.with_attachments(attachments)?;
    }
    let expected =
        args.expected.as_deref().map(|list| expected(list, &args.path, &found.root)).transpose()?;
    let control = Control::new(pace(args));
    let task = Task {
        root: &found.root,
        layout: &found.layout,
        shard: b"",
        volume: None,
        expected: expected.as_ref(),
    };
    let screen = Screen::new(args.output == Output::Table, &control);
    let mut report = Report::new(args.output, &screen);
    report.begin(&args.path, &found.text)?;
    let mut failed = None;
    let verified = verify(&task, args.level, &control, &mut |finding| {
        // A reader that went away, as `head` does, ends the work.
        if failed.is_none()
            && let Err(error) = report.finding(&finding)
        {
            failed = Some(error);
            control.cancel();
        }
    });
    screen.end();
    if let Some(error) = failed {
        return Err(error).context("write a finding");
    }
    super::report::verdict(args.output, &verified.verdict)?;
    Ok(verified.verdict.outcome)
}

fn pace(args: &VerifyArgs) -> Pace {
    let default = Pace::default();
    Pace {
        readers: args.readers.map_or(default.readers, usize::from),
        bytes_per_second: args.rate.map_or(0, ByteSize::bytes),
    }
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
