//! `rientro-agent inventory`: what the agent would report of a path.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use rientro_mailstore::{Control, Layout, inventory, volume};
use serde_json::json;

use super::report::shown;
use super::verify::Output;
use crate::inventory::unlisted;

/// List shards and mailboxes below a path, without reading any mail.
#[derive(Debug, Args)]
pub(super) struct InventoryArgs {
    /// Root of a volume.
    path: PathBuf,
    /// Where mailboxes stand below it, such as '{shard}/{domain}/{user}'.
    #[arg(long)]
    layout: String,
    /// Leading components of the layout that make a shard, such as '{shard}'; without it the volume is one shard.
    #[arg(long)]
    shard: Option<String>,
    /// List each mailbox, not only how many there are.
    #[arg(long)]
    mailboxes: bool,
    /// How it is written.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

pub(super) fn run(args: &InventoryArgs) -> Result<()> {
    let layout = match &args.shard {
        Some(shard) => Layout::sharded(&args.layout, shard)?,
        None => Layout::whole(&args.layout, super::detect::SHARD)?,
    };
    let volume = volume::identify(&args.path).map_or_else(|_| "none".to_owned(), |id| id.to_string());
    let shards = layout.shards(&args.path).with_context(|| format!("list {}", args.path.display()))?;
    for path in &shards.unreadable {
        super::say(&format!("{} cannot be listed: shards below it are not known", shown(path)));
    }
    let mut is_whole = shards.unreadable.is_empty() && !shards.cut;
    for shard in shards.found {
        let mut text = String::new();
        let mut each = |mailbox: rientro_mailstore::Mailbox<'_>| {
            if args.mailboxes {
                text.push_str(&mailbox_line(args.output, shard.id.as_str(), mailbox.path));
            }
        };
        let counted = inventory(&args.path, &layout, &shard.path, &Control::default(), &mut each)
            .with_context(|| format!("list shard {}", shard.id))?;
        text.push_str(&match args.output {
            Output::Table => format!("{}  {} mailboxes  volume {volume}\n", shard.id, counted.mailboxes),
            Output::Json => {
                let (id, mailboxes) = (shard.id.as_str(), counted.mailboxes);
                format!(
                    "{}\n",
                    json!({
                        "type": "shard", "shard": id, "volume": volume, "mailboxes": mailboxes,
                        "directories_unreadable": counted.unreadable,
                    })
                )
            }
        });
        super::print(&text)?;
        if counted.unreadable > 0 {
            super::say(&format!("shard {}: {}", shard.id, unlisted(counted.unreadable)));
            is_whole = false;
        }
    }
    if !is_whole {
        bail!("not all of {} could be listed: there may be more than is shown", args.path.display());
    }
    Ok(())
}

fn mailbox_line(output: Output, shard: &str, path: &[u8]) -> String {
    match output {
        Output::Table => format!("{shard}  {}\n", shown(path)),
        Output::Json => format!("{}\n", json!({ "type": "mailbox", "shard": shard, "path": shown(path) })),
    }
}
