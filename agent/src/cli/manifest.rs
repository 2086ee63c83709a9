//! `rientro-agent manifest`: baselines of mail on this machine. Mail is only read.

mod renew;

use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use rientro_mailstore::{
    Control, Exported, Manifest, ManifestError, READERS_MAX, Renewal, Target, Task, Totals, Written,
    write_baseline,
};
use rientro_types::{ByteSize, Outcome};
use serde_json::json;

use super::DAMAGED;
use super::report::{Report, Screen, Sink, failed, shown};
use super::source::Source;
use super::verify::Output;
use crate::baselines::is_unusable;

#[derive(Debug, Subcommand)]
pub(super) enum ManifestCommand {
    /// Write the baseline of mail that is healthy. Exit codes: 0 all of it is, 1 something is damaged or could not be read, 2 nothing was
    /// written.
    Write(WriteArgs),
    /// Write the baselines of this node's shards, where the agent finds them. Exit codes as of write.
    Renew(RenewArgs),
    /// Show what a manifest adds up to.
    Show(ShowArgs),
    /// Write the files of a manifest as a list.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct WriteArgs {
    #[command(flatten)]
    source: Source,
    /// Where the manifest is; not below PATH. What is unchanged since the one that is there is not read again. A symbolic link is
    /// replaced, and what it leads to stays.
    #[arg(long, value_name = "MANIFEST")]
    to: PathBuf,
    /// Read everything, and replace whatever file is there: a manifest that is damaged, and what it knew is forgotten.
    #[arg(long, conflicts_with = "damaged")]
    anew: bool,
    /// Take damaged mailboxes, and the loss of missing ones, into the baseline, instead of keeping what it has of them. Those of which
    /// anything could not be looked into keep it all the same.
    #[arg(long)]
    damaged: bool,
    /// How results are written.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct RenewArgs {
    /// The agent's settings file.
    #[arg(long, env = "RIENTRO_AGENT_CONFIG")]
    config: PathBuf,
    /// Shards; without any, all.
    shards: Vec<String>,
    /// Files read at once.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=READERS_MAX as i64))]
    readers: Option<u16>,
    /// Most bytes read a second, such as '50 MiB'.
    #[arg(long)]
    rate: Option<ByteSize>,
    /// Read everything of these shards, whatever is there: a baseline that is damaged is replaced, and what it knew is forgotten.
    #[arg(long, requires = "shards", conflicts_with = "damaged")]
    anew: bool,
    /// Take damaged mailboxes, and the loss of missing ones, into baselines, instead of keeping what they have of them. Those of which
    /// anything could not be looked into keep it all the same.
    #[arg(long)]
    damaged: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// A manifest.
    manifest: PathBuf,
    /// How it is written.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// A manifest.
    manifest: PathBuf,
    /// As 'b3sum --check' reads it, in the directory that the manifest was written of, or, where that is one mailbox, in the directory
    /// that it is in.
    #[arg(long, required = true)]
    b3sum: bool,
}

pub(super) fn run(command: &ManifestCommand) -> ExitCode {
    let (done, output) = match command {
        ManifestCommand::Write(args) => (write(args), args.output),
        ManifestCommand::Renew(args) => (renew::run(args), Output::Table),
        ManifestCommand::Show(args) => (show(args).map(|()| ExitCode::SUCCESS), args.output),
        ManifestCommand::Export(args) => (export(args).map(|()| ExitCode::SUCCESS), Output::Table),
    };
    done.unwrap_or_else(|error| failed(output, &error))
}

fn write(args: &WriteArgs) -> Result<ExitCode> {
    super::raise_file_limit();
    let found = args.source.find()?;
    refuse_inside(&args.to, &found.root)?;
    if let Some(moved) = found.layout.alternative().and_then(|base| base.canonicalize().ok()) {
        refuse_inside(&args.to, &moved)?;
    }
    let previous = match args.to.try_exists() {
        Ok(true) if !args.anew => Some(previous(&args.to)?),
        Ok(_) => None,
        Err(error) => return Err(error).with_context(|| format!("look at {}", args.to.display())),
    };
    let link = fs::read_link(&args.to).ok();
    let control = Control::new(args.source.pace());
    let task = Task { root: &found.root, layout: &found.layout, shard: b"", volume: None, expected: None };
    let screen = Screen::new(args.output == Output::Table, &control);
    let mut report = Report::new(args.output, &screen);
    report.begin("writing the baseline of", &args.source.path, &found.text)?;
    let mut sink = Sink::new(&mut report, &control);
    let target =
        Target { path: &args.to, previous: previous.as_ref(), damaged_too: args.damaged, now_ms: now_ms() };
    let written = write_baseline(&task, target, &control, &mut |finding| sink.take(&finding));
    let told = sink.end();
    screen.end();
    told?;
    let written = written?;
    let replaced = link.filter(|_| written.renewal == Renewal::Written);
    super::print(&match args.output {
        Output::Table => written_in_words(&written, &args.to, control.progress().bytes, replaced.as_deref()),
        Output::Json => {
            let mut json = totals_as_json(&written.totals);
            json["renewal"] = json!(match written.renewal {
                Renewal::Written => "written",
                Renewal::Unchanged => "unchanged",
                Renewal::Kept => "kept",
            });
            json["mailboxes_withheld"] = json!(written.withheld);
            json["bytes_read"] = json!(control.progress().bytes);
            json["link_replaced"] = json!(replaced.map(|link| shown(link.as_os_str().as_bytes())));
            format!("{json}\n")
        }
    })?;
    Ok(exit_code(&written).into())
}

/// What is there already.
fn previous(path: &Path) -> Result<Manifest> {
    Manifest::open(path).map_err(|error| {
        if matches!(error, ManifestError::Foreign { .. }) {
            anyhow!("{error}; name another place with --to")
        } else if is_unusable(&error) {
            anyhow!("{error}; write a new one with --anew")
        } else {
            error.into()
        }
    })
}

/// The exit code of a writing.
fn exit_code(written: &Written) -> u8 {
    let is_healthy = match written.report.verdict.outcome {
        Outcome::Damaged | Outcome::Unreadable => false,
        Outcome::Clean | Outcome::Unknown(_) => written.withheld == 0,
    };
    if is_healthy { 0 } else { DAMAGED }
}

/// A baseline in the store that it is of would be lost with it.
fn refuse_inside(to: &Path, root: &Path) -> Result<()> {
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
    if dir.starts_with(root) {
        bail!(
            "{} is below {}, which it is to be the baseline of, and nothing is written there; name another place with --to",
            to.display(),
            root.display()
        );
    }
    Ok(())
}

fn written_in_words(written: &Written, to: &Path, read: u64, replaced: Option<&Path>) -> String {
    let Totals { mailboxes, messages, .. } = written.totals;
    let read = ByteSize::from_bytes(read);
    let what = match written.renewal {
        Renewal::Written => "written",
        Renewal::Unchanged => "nothing has changed, it stays as it is",
        Renewal::Kept => "it stays as it is",
    };
    let mut text = format!(
        "{}: {what}: {messages} messages in {mailboxes} mailboxes, {read} read\nroot {}\n",
        to.display(),
        written.totals.root
    );
    if let Some(link) = replaced {
        text.push_str(&format!(
            "it replaces a symbolic link to {}, which stays as it is\n",
            shown(link.as_os_str().as_bytes())
        ));
    }
    if written.withheld > 0 {
        text.push_str(&format!(
            "{} mailboxes are damaged, unreadable or gone, and keep what it had of them; --damaged takes those that could be looked into as they are\n",
            written.withheld
        ));
    }
    if let Some(damage) = kept_damage(written) {
        text.push_str(&damage);
        text.push('\n');
    }
    text
}

/// That the manifest in the place is of damaged mail, if it is.
fn kept_damage(written: &Written) -> Option<String> {
    let findings = written.totals.findings;
    (findings > 0).then(|| {
        format!(
            "{findings} findings are in what it was written of: damage that was there is not seen by it later"
        )
    })
}

fn show(args: &ShowArgs) -> Result<()> {
    let manifest = Manifest::open(&args.manifest)?;
    let totals = manifest.totals();
    super::print(&match args.output {
        Output::Json => format!("{}\n", totals_as_json(totals)),
        Output::Table => {
            let Totals { mailboxes, messages, bytes, findings, written_ms, root, .. } = totals;
            let (bytes, written) = (ByteSize::from_bytes(*bytes), moment(*written_ms));
            format!(
                "written    {written}\nmailboxes  {mailboxes}\nmessages   {messages}\nread       {bytes}\nfindings   {findings}\nroot       {root}\n"
            )
        }
    })
}

fn export(args: &ExportArgs) -> Result<()> {
    let manifest = Manifest::open(&args.manifest)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let Exported { files, left_out } = manifest.export_b3sum(&mut out)?;
    out.flush().context("write the list")?;
    super::say(&format!("{files} files"));
    if left_out > 0 {
        super::say(&format!("{left_out} files are left out: b3sum has no way to write their names"));
    }
    Ok(())
}

fn totals_as_json(totals: &Totals) -> serde_json::Value {
    let Totals { mailboxes, messages, bytes, findings, written_ms, root, shard: _ } = totals;
    json!({
        "type": "manifest",
        "mailboxes": mailboxes,
        "messages": messages,
        "bytes": bytes,
        "findings": findings,
        "written_ms": written_ms,
        "root": root.to_string(),
    })
}

/// A time as people write it.
fn moment(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| format!("{ms} ms after 1970"), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

#[allow(clippy::disallowed_methods, reason = "a baseline says when it was written")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
