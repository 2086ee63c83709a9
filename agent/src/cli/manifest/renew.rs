//! `rientro-agent manifest renew`: the baselines of all shards of this node.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use rientro_mailstore::{Control, Pace, Renewal, Task};
use rientro_types::{ByteSize, Finding, Severity, ShardId};

use super::{RenewArgs, exit_code, kept_damage, now_ms};
use crate::baselines::{Baselines, Manner, told};
use crate::cli::report::shown;
use crate::cli::{COULD_NOT_TELL, print, raise_file_limit, say};
use crate::inventory::{Entry, scan};
use crate::roots::Roots;
use crate::settings::{Overrides, Settings};

/// Findings of a shard that are shown.
const SHOWN_MAX: usize = 5;

pub(super) fn run(args: &RenewArgs) -> Result<ExitCode> {
    raise_file_limit();
    let settings = Settings::load(Some(&args.config), Overrides::default())?;
    let baselines = Baselines::new(settings.baselines);
    let pace = Pace {
        readers: args.readers.map_or(settings.readers, usize::from),
        bytes_per_second: args.rate.map_or(0, ByteSize::bytes),
    };
    let unmounted: Vec<_> = settings.roots.iter().filter(|root| root.volume().is_none()).collect();
    for root in &unmounted {
        say(&format!(
            "{}: no volume that counts is mounted; its shards are passed over",
            root.path.display()
        ));
    }
    let mut worst = if unmounted.is_empty() { 0 } else { COULD_NOT_TELL };
    let mut shards = scan(&Roots::new(settings.roots)).shards;
    let is_any_shown = !shards.is_empty();
    let with_baseline = baselines.shards().context("list the baselines")?;
    // Those that had a baseline and are not shown are as much in question as those that are.
    let named: BTreeSet<String> = args.shards.iter().cloned().collect();
    let wanted = if named.is_empty() { &with_baseline } else { &named };
    for name in wanted.iter().filter(|name| !shards.keys().any(|shard| shard.as_str() == **name)) {
        let stays = if with_baseline.contains(name) { "; its baseline stays as it was" } else { "" };
        say(&format!("{}: no root shows it{stays}", shown(name.as_bytes())));
        worst = COULD_NOT_TELL;
    }
    if !is_any_shown {
        bail!("no root shows a shard; `rientro-agent run --config ... --check` tells what is mounted");
    }
    shards.retain(|shard, _| named.is_empty() || named.contains(shard.as_str()));
    for (shard, entry) in &shards {
        let manner = Manner { now_ms: now_ms(), damaged_too: args.damaged, anew: args.anew };
        worst = worst.max(renewed(&baselines, *shard, entry, (pace, manner)).unwrap_or_else(|error| {
            say(&format!("{shard}: {error:#}"));
            COULD_NOT_TELL
        }));
    }
    Ok(worst.into())
}

/// Renews one, and says so; gives the exit code that it alone would give.
fn renewed(
    baselines: &Baselines,
    shard: ShardId,
    entry: &Entry,
    (pace, manner): (Pace, Manner),
) -> Result<u8> {
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
    let (control, mut found) = (Control::new(pace), 0);
    let mut sink = |finding: Finding| {
        if finding.kind.severity() != Severity::Note {
            found += 1;
            if found <= SHOWN_MAX {
                tell(shard, &finding);
            }
        }
    };
    let written = baselines
        .write(shard, &task, manner, &control, &mut sink)
        .map_err(|error| anyhow!("its baseline stays as it was: {}", told(shard, &error)))?;
    if found > SHOWN_MAX {
        say(&format!("{shard}: and {} findings more", found - SHOWN_MAX));
    }
    let read = ByteSize::from_bytes(control.progress().bytes);
    let what = match written.renewal {
        Renewal::Written => "written",
        Renewal::Unchanged => "unchanged",
        Renewal::Kept => "kept as it was",
    };
    let (messages, mailboxes) = (written.totals.messages, written.totals.mailboxes);
    let mut told = format!("{shard}: {what}, {messages} messages in {mailboxes} mailboxes, {read} read");
    if written.withheld > 0 {
        told.push_str(&format!(
            "; {} mailboxes are damaged, unreadable or gone, and keep what it had of them",
            written.withheld
        ));
    }
    if let Some(damage) = kept_damage(&written) {
        told.push_str("; ");
        told.push_str(&damage);
    }
    print(&(told + "\n"))?;
    Ok(exit_code(&written))
}

fn tell(shard: ShardId, finding: &Finding) {
    let (mailbox, path) = (shown(&finding.mailbox), shown(&finding.path));
    say(&format!("{shard}: {} in {mailbox} {path}: {}", finding.kind, finding.detail));
}
