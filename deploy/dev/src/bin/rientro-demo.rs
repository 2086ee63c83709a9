//! The main job of Rientro on one machine: a fleet of closed shards is verified and brought back, wave by wave, live.
//!
//! Generated mail, or one's own, read-only. An interrupted run is resumed by the next one: the journal knows how far it was.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rientro_dev::cell::{Cell, NodeSpec, Sharding};
use rientro_dev::fleet::{self, Shape};
use rientro_dev::servers::workspace;

/// Deepest folder in which a mailbox of one's own is looked for.
const DEPTH_MAX: usize = 4;
/// Folders looked at before the search for mailboxes is content with what it has found.
const FOLDERS_MAX: usize = 20_000;

/// Brings a fleet of mailbox shards back on this machine.
#[derive(Parser)]
#[command(version)]
struct Settings {
    /// A folder of Maildirs of your own, read and never written; without it, mail is generated
    #[arg(long, value_name = "FOLDER")]
    mail: Option<PathBuf>,
    /// Where the demo keeps its fleet, journal and logs
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let settings = Settings::parse();
    let folder = settings.folder.unwrap_or_else(|| workspace().join(".rientro-demo"));
    let (folder, nodes, shards, plan) = match settings.mail {
        Some(mail) => own_mail(&folder, &mail)?,
        None => generated(&folder)?,
    };
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let plan_file = folder.join("plan.toml");
    fs::write(&plan_file, plan).context("write the plan")?;
    forget_finished(&folder)?;
    say("starting an orchestrator and an agent for each node")?;
    let cell = Cell::start(&folder.join("cell"), nodes)?;
    cell.await_shards(shards)?;
    return_fleet(&cell, &plan_file)?;
    let ended = cell.rientro(&["campaign", "watch", "demo"])?.status().context("watch the campaign")?;
    if ended.code().is_none_or(|code| code > 1) {
        bail!("the campaign was not watched to its end; run this again and it goes on");
    }
    fs::write(folder.join("finished"), "").context("note that the campaign has ended")?;
    cell.rientro(&["campaign", "report", "demo"])?.status().context("print the report")?;
    linger(&cell)?;
    cell.stop()?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the campaign, unless an interrupted run has.
fn return_fleet(cell: &Cell, plan: &Path) -> Result<()> {
    let known = cell.cli(&["campaign", "show", "demo"])?.status.success();
    if known {
        return say("the campaign of an interrupted run goes on");
    }
    let plan = plan.to_str().context("the plan's path is not UTF-8")?;
    let started =
        cell.rientro(&["campaign", "start", plan, "--yes"])?.status().context("start the campaign")?;
    ensure!(started.success(), "the campaign was not started");
    Ok(())
}

/// Leaves the cell running while somebody looks around.
fn linger(cell: &Cell) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Ok(());
    }
    say(&format!(
        "\nThe cell still runs. In another terminal:\n  export RIENTRO_ENDPOINT={}\nand try the commands above. Press Enter to stop it.",
        cell.endpoint()
    ))?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("wait for Enter")?;
    Ok(())
}

/// A campaign that ended makes room for another one; one that was interrupted goes on.
fn forget_finished(folder: &Path) -> Result<()> {
    let finished = folder.join("finished");
    if finished.exists() {
        fs::remove_dir_all(folder.join("cell")).context("remove the cell of an earlier demo")?;
        fs::remove_file(finished).context("forget an earlier demo")?;
    }
    Ok(())
}

type Prepared = (PathBuf, Vec<NodeSpec>, usize, String);

fn generated(folder: &Path) -> Result<Prepared> {
    let shape = Shape::default();
    let folder = folder.join("generated");
    let fleet = folder.join("fleet");
    if !fleet.join("complete").exists() {
        if fleet.exists() {
            fs::remove_dir_all(&fleet).context("remove a fleet that was left half made")?;
        }
        say(&format!(
            "making {} shards with about {} messages, some of them damaged",
            shape.shards, shape.messages
        ))?;
        fs::create_dir_all(&fleet).context("make the fleet's folder")?;
        fleet::make(&fleet, &shape).context("make the fleet")?;
        for (root, no) in shape.roots(&fleet).into_iter().zip(1..) {
            rientro_mailstore::volume::enrol(&root, &format!("00000000-0000-4000-8000-{no:012}"))
                .context("enrol a volume")?;
        }
        fs::write(fleet.join("complete"), "").context("note that the fleet is complete")?;
    }
    let nodes = shape.roots(&fleet).into_iter().zip(1..).map(|(root, no)| NodeSpec {
        name: format!("store-{no}"),
        root,
        layout: "{shard}/{domain}/{user}".to_owned(),
        sharding: Sharding::Prefix("{shard}".to_owned()),
        volume: "marker",
        labels: vec![("rack".to_owned(), format!("r{no}"))],
    });
    // Slow enough to be watched: each of twelve tasks reads two megabytes a second.
    let plan = plan(r#"["8%", "25%", "rest"]"#, "2 MiB");
    Ok((folder, nodes.collect(), shape.shards, plan))
}

/// Waves, budget and bake of a demo: short, and forgiving enough to go on past what is damaged.
fn plan(waves: &str, rate: &str) -> String {
    format!(
        "name = \"demo\"\n\n[covers]\nall = true\n\n[waves]\nlist = {waves}\nbake = \"3s\"\nerror_budget_canary = \"100%\"\nerror_budget = \"100%\"\n\n[tries]\nbackoff = \"1s\"\n\n[pace]\nbytes_per_second = {rate:?}\nreaders = 4\n"
    )
}

/// One node over one's own mail; every mailbox, or every domain where there are many, is a shard.
fn own_mail(folder: &Path, mail: &Path) -> Result<Prepared> {
    let root = mail.canonicalize().with_context(|| format!("find {}", mail.display()))?;
    let found = find_mailboxes(&root)?;
    let Some(first) = found.first() else {
        bail!(
            "no Maildir (a folder with cur, new and tmp) was found in {} or {DEPTH_MAX} levels below",
            root.display()
        );
    };
    let depth = first.len();
    let same: Vec<_> = found.iter().filter(|path| path.len() == depth).collect();
    let (layout, shard) = layout_of(&same)?;
    let shards: std::collections::BTreeSet<_> =
        same.iter().map(|path| &path[..shard.split('/').count()]).collect();
    say(&format!("found {} mailboxes in {}, laid out as {layout}", same.len(), root.display()))?;
    let node = NodeSpec {
        name: "store-1".to_owned(),
        root: root.clone(),
        layout,
        sharding: Sharding::Prefix(shard),
        volume: "fs",
        labels: Vec::new(),
    };
    let waves = if shards.len() > 2 { r#"["1 shards", "25%", "rest"]"# } else { r#"["rest"]"# };
    let name = blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex();
    Ok((folder.join(format!("mail-{}", &name[..12])), vec![node], shards.len(), plan(waves, "unlimited")))
}

/// The layout that mailboxes of one depth have, and the part of it that makes a shard.
fn layout_of(mailboxes: &[&Vec<String>]) -> Result<(String, String)> {
    let depth = mailboxes[0].len();
    ensure!(depth > 0, "the folder is a Maildir itself; name the folder above it");
    let literal = mailboxes.iter().all(|path| path[depth - 1] == mailboxes[0][depth - 1]) && depth > 1;
    let names = ["user", "domain", "group", "volume"];
    let variables = if literal { depth - 1 } else { depth };
    let mut parts: Vec<String> = names[..variables].iter().rev().map(|name| format!("{{{name}}}")).collect();
    let shard = parts.join("/");
    if literal {
        parts.push(mailboxes[0][depth - 1].clone());
    }
    Ok((parts.join("/"), shard))
}

/// Folders with `cur`, `new` and `tmp`, as path components below the root, nearest first.
fn find_mailboxes(root: &Path) -> Result<Vec<Vec<String>>> {
    let mut level = vec![(root.to_owned(), Vec::new())];
    let mut found = Vec::new();
    let mut looked_at = 0;
    for _ in 0..=DEPTH_MAX {
        let mut below = Vec::new();
        for (folder, path) in level {
            looked_at += 1;
            if ["cur", "new", "tmp"].iter().all(|part| folder.join(part).is_dir()) {
                found.push(path);
            } else if looked_at < FOLDERS_MAX {
                below.extend(folders_in(&folder, &path)?);
            }
        }
        level = below;
    }
    Ok(found)
}

fn folders_in(folder: &Path, path: &[String]) -> Result<Vec<(PathBuf, Vec<String>)>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.context("read a folder's entry")?;
        if let (true, Some(name)) =
            (entry.file_type().is_ok_and(|kind| kind.is_dir()), entry.file_name().to_str())
        {
            let below = path.iter().cloned().chain([name.to_owned()]).collect();
            folders.push((entry.path(), below));
        }
    }
    folders.sort();
    Ok(folders)
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stderr().lock(), "{text}").context("write to the terminal")
}
