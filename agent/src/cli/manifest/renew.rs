//! `rientro-agent manifest renew`: the baselines of all shards of this node.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use rientro_mailstore::{Control, Pace, Renewal, Task};
use rientro_types::{ByteSize, Outcome};

use super::{DAMAGED, RenewArgs, now_ms};
use crate::baselines::Baselines;
use crate::cli::{COULD_NOT_TELL, print, raise_file_limit, say};
use crate::inventory::{Entry, scan};
use crate::roots::Roots;
use crate::settings::{Overrides, Settings};

pub(super) fn run(args: &RenewArgs) -> Result<ExitCode> {
    raise_file_limit();
    let settings = Settings::load(Some(&args.config), Overrides::default())?;
    let baselines = Baselines::new(settings.baselines);
    let pace = Pace {
        readers: args.readers.map_or(settings.readers, usize::from),
        bytes_per_second: args.rate.map_or(0, ByteSize::bytes),
    };
    let mut shards = scan(&Roots::new(settings.roots)).shards;
    if shards.is_empty() {
        bail!("no root shows a shard; `rientro-agent run --config ... --check` tells what is mounted");
    }
    let mut wanted: BTreeSet<&str> = args.shards.iter().map(String::as_str).collect();
    if !wanted.is_empty() {
        shards.retain(|shard, _| wanted.remove(shard.as_str()));
    }
    if !wanted.is_empty() {
        bail!("no root shows {}", wanted.into_iter().collect::<Vec<_>>().join(", "));
    }
    let mut worst = 0;
    for (shard, entry) in &shards {
        worst = worst.max(match renewed(&baselines, *shard, entry, (pace, args.damaged)) {
            Ok((told, code)) => {
                print(&format!("{shard}: {told}\n"))?;
                code
            }
            Err(error) => {
                say(&format!("{shard}: {error:#}"));
                COULD_NOT_TELL
            }
        });
    }
    Ok(worst.into())
}

/// Renews one; what to say of it, and the exit code that it alone would give.
fn renewed(
    baselines: &Baselines,
    shard: rientro_types::ShardId,
    entry: &Entry,
    (pace, damaged_too): (Pace, bool),
) -> Result<(String, u8)> {
    let Entry { place, volume, second, .. } = entry;
    if second.is_some() {
        bail!("it is on two roots, and nobody knows which is the right one; unmount the other");
    }
    let expected = place.expected()?;
    let task = Task {
        root: &place.root.path,
        layout: &place.root.layout,
        shard: &place.path,
        volume: Some(*volume),
        expected: expected.as_ref(),
    };
    let control = Control::new(pace);
    let written = baselines
        .write(shard, &task, (now_ms(), damaged_too), &control, &mut |_| ())
        .with_context(|| "its baseline stays as it was".to_owned())?;
    let read = ByteSize::from_bytes(control.progress().bytes);
    let what = match written.renewal {
        Renewal::Written => "written",
        Renewal::Unchanged => "unchanged",
        Renewal::Withheld => "DAMAGED, and left as it was; `rientro-agent verify --baseline` tells what is",
    };
    let mut told = format!(
        "{what}, {} messages in {} mailboxes, {read} read",
        written.totals.messages, written.totals.mailboxes
    );
    if written.renewal == Renewal::Written && written.totals.findings > 0 {
        told.push_str(&format!(
            "; {} findings are in what it was written of, `rientro-agent verify` tells them",
            written.totals.findings
        ));
    }
    let code = match written.report.verdict.outcome {
        Outcome::Damaged | Outcome::Unreadable => DAMAGED,
        Outcome::Clean | Outcome::Unknown(_) => 0,
    };
    Ok((told, code))
}
