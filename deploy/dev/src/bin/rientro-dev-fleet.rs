//! Makes a fleet of Maildir shards for demos and benchmarks, and says what is broken in it.
//!
//! Run again with the same settings on the same folder it does nothing, so that an interrupted demo finds its fleet again.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rientro_dev::damage::Broken;
use rientro_dev::fleet::{self, Shape};

/// Makes a fleet of Maildir shards under `<FOLDER>/node1` and so on.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// Where to; made if it is not there.
    folder: PathBuf,
    /// Storage nodes, each with a folder of its own.
    #[arg(long, default_value_t = Shape::default().nodes)]
    nodes: usize,
    /// Shards of the fleet.
    #[arg(long, default_value_t = Shape::default().shards)]
    shards: usize,
    /// Mailboxes of each shard.
    #[arg(long, default_value_t = Shape::default().mailboxes_per_shard)]
    mailboxes: usize,
    /// Messages of the fleet, about.
    #[arg(long, default_value_t = Shape::default().messages)]
    messages: usize,
    /// Shards in which messages are broken.
    #[arg(long, default_value_t = Shape::default().damaged_shards)]
    damaged: usize,
    /// Decides sizes, contents and damage.
    #[arg(long, default_value_t = Shape::default().seed)]
    seed: u64,
}

fn main() -> Result<()> {
    let Settings { folder, nodes, shards, mailboxes, messages, damaged, seed } = Settings::parse();
    ensure!(nodes > 0 && shards >= nodes, "a fleet needs a node, and a shard for each node");
    let shape =
        Shape { nodes, shards, mailboxes_per_shard: mailboxes, messages, damaged_shards: damaged, seed };
    let stamp = folder.join("fleet.made");
    let settings = format!("{shape:?}\n");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == settings) {
        return Ok(());
    }
    for root in shape.roots(&folder) {
        ensure!(!root.exists(), "{} is from another run; remove it or choose another folder", root.display());
    }
    let broken = fleet::make(&folder, &shape).context("make the fleet")?;
    fs::write(folder.join("fleet.damage"), list(&broken)).context("write the list of damage")?;
    fs::write(&stamp, settings).context("note that the fleet is complete")?;
    io::stdout().write_all(list(&broken).as_bytes()).context("print the list of damage")
}

/// One damage a line: fault, shard, mailbox, message.
fn list(broken: &Broken) -> String {
    let line = |damage: &rientro_dev::damage::Damage| {
        let (mailbox, path) = (damage.mailbox.path.display(), damage.path.display());
        format!("{}\t{}\t{mailbox}\t{path}\n", damage.fault, damage.mailbox.shard)
    };
    broken.damages.iter().map(line).collect()
}
