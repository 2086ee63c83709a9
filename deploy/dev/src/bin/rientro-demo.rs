//! The main job of Rientro on one machine: a fleet of closed shards is verified and brought back, wave by wave, live.
//!
//! Generated mail, or one's own, read-only. An interrupted run is resumed by the next one: the journal knows how far it was.
//! Whatever ends it, by itself, an interruption or an error, the processes it started end with it.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rientro_dev::cell::{Cell, NodeSpec, RootSpec, Sharding};
use rientro_dev::fleet::{self, Shape};
use rientro_dev::interrupt::Interrupt;
use rientro_dev::own_mail::{self, DEPTH_MAX, OwnMail};
use rientro_dev::servers::workspace;
use rientro_dev::wait;

/// Exit code of a run that was interrupted, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;
/// Time between two looks at whether somebody still looks around; nothing depends on it.
const LINGER_LOOK: Duration = Duration::from_secs(60);
/// Longest that one process notices a signal after another one did.
const NOTICE_LIMIT: Duration = Duration::from_secs(2);
/// Folder of the cell.
const CELL: &str = "cell";
/// File that says that the campaign has ended.
const FINISHED: &str = "finished";
/// File with the shards of one's own mail.
const SHARDS_LIST: &str = "shards";

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
    /// Shards of the fleet that is generated
    #[arg(long, default_value_t = Shape::default().shards, conflicts_with = "mail")]
    shards: usize,
    /// Messages of the fleet that is generated, about
    #[arg(long, default_value_t = Shape::default().messages, conflicts_with = "mail")]
    messages: usize,
}

/// What a run is about.
struct Prepared {
    folder: PathBuf,
    nodes: Vec<NodeSpec>,
    shards: usize,
    plan: String,
}

fn main() -> Result<ExitCode> {
    let Settings { mail, folder, shards, messages } = Settings::parse();
    let folder = folder.unwrap_or_else(|| workspace().join(".rientro-demo"));
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let folder = folder.canonicalize().context("find the demo's folder")?;
    let Prepared { folder, nodes, shards, plan } = match mail {
        Some(mail) => own_mail(&folder, &mail)?,
        None => generated(&folder, Shape { shards, messages, ..Shape::default() })?,
    };
    let plan_file = folder.join("plan.toml");
    fs::write(&plan_file, plan).context("write the plan")?;
    forget_finished(&folder)?;
    // From here on processes run that must end with this one.
    let interrupt = Interrupt::listen()?;
    say("starting an orchestrator and its agents")?;
    let mut cell = Cell::start(&folder.join(CELL), nodes)?;
    cell.await_shards(shards)?;
    let ended = !interrupt.came() && return_fleet(&cell, &plan_file, &interrupt)?;
    if ended {
        fs::write(folder.join(FINISHED), "").context("note that the campaign has ended")?;
        cell.rientro(&["campaign", "report", "demo"])?.status().context("print the report")?;
        linger(&cell, &interrupt)?;
    } else {
        say("\ninterrupted; run this again and the campaign goes on")?;
    }
    cell.stop()?;
    Ok(if ended { ExitCode::SUCCESS } else { ExitCode::from(INTERRUPTED) })
}

/// Starts the campaign unless an interrupted run has, and watches it; false when this run was interrupted.
fn return_fleet(cell: &Cell, plan: &Path, interrupt: &Interrupt) -> Result<bool> {
    if cell.cli(&["campaign", "show", "demo"])?.status.success() {
        say("the campaign of an interrupted run goes on")?;
    } else {
        let plan = plan.to_str().context("the plan's path is not UTF-8")?;
        let started =
            cell.rientro(&["campaign", "start", plan, "--yes"])?.status().context("start the campaign")?;
        ensure!(started.success(), "the campaign was not started");
    }
    let Some(ended) = cell.follow(&["campaign", "watch", "demo"], || interrupt.came())? else {
        return Ok(false);
    };
    // 1 says that not everything is back.
    if ended.code().is_some_and(|code| code <= 1) {
        return Ok(true);
    }
    // A terminal interrupts all at once, and the watch may be the first to notice.
    if wait::until(NOTICE_LIMIT, || interrupt.came()) {
        return Ok(false);
    }
    bail!("the campaign was not watched to its end; run this again and it goes on")
}

/// Leaves the cell running while somebody looks around.
fn linger(cell: &Cell, interrupt: &Interrupt) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let here = std::env::current_exe().context("find this program")?;
    let folder = here.parent().context("this program is in no folder")?;
    say(&format!(
        "\nThe cell still runs. In another terminal:\n  export RIENTRO_ENDPOINT={} PATH={}:$PATH\nand try the commands above. Press Enter to stop it.",
        cell.endpoint(),
        folder.display()
    ))?;
    // Reading cannot be interrupted; a thread that still reads ends with the process.
    let enter = thread::spawn(|| std::io::stdin().read_line(&mut String::new()));
    while !wait::until(LINGER_LOOK, || enter.is_finished() || interrupt.came()) {}
    Ok(())
}

/// A campaign that ended makes room for another one; one that was interrupted goes on.
fn forget_finished(folder: &Path) -> Result<()> {
    let finished = folder.join(FINISHED);
    if finished.exists() {
        fs::remove_dir_all(folder.join(CELL)).context("remove the cell of an earlier demo")?;
        fs::remove_file(finished).context("forget an earlier demo")?;
    }
    Ok(())
}

fn generated(folder: &Path, shape: Shape) -> Result<Prepared> {
    ensure!(shape.shards >= shape.nodes, "each of {} nodes needs a shard", shape.nodes);
    let folder = folder.join("generated");
    let fleet = folder.join("fleet");
    make_once(&fleet, &shape)?;
    let nodes = shape.roots(&fleet).into_iter().zip(1..).map(|(path, no)| NodeSpec {
        name: format!("store-{no}"),
        roots: vec![RootSpec {
            path,
            layout: "{shard}/{domain}/{user}".to_owned(),
            sharding: Sharding::Prefix("{shard}".to_owned()),
        }],
        volume: "marker",
        labels: vec![("rack".to_owned(), format!("r{no}"))],
    });
    // Slow enough to be watched: each of twelve tasks reads two megabytes a second.
    let plan = plan(r#"["8%", "25%", "rest"]"#, "2 MiB");
    Ok(Prepared { folder, nodes: nodes.collect(), shards: shape.shards, plan })
}

/// Makes the fleet unless an earlier run has.
fn make_once(fleet: &Path, shape: &Shape) -> Result<()> {
    let (complete, made_as) = (fleet.join("complete"), format!("{shape:?}\n"));
    match fs::read_to_string(&complete) {
        Ok(made) if made == made_as => return Ok(()),
        Ok(_) => {
            bail!("{} holds a fleet of another size; remove it, or give another --folder", fleet.display())
        }
        Err(_) if fleet.exists() => {
            fs::remove_dir_all(fleet).context("remove a fleet that was left half made")?;
        }
        Err(_) => {}
    }
    say(&format!(
        "making {} shards with about {} messages, some of them damaged",
        shape.shards, shape.messages
    ))?;
    fs::create_dir_all(fleet).context("make the fleet's folder")?;
    fleet::make(fleet, shape).context("make the fleet")?;
    for (root, no) in shape.roots(fleet).into_iter().zip(1..) {
        rientro_mailstore::volume::enrol(&root, &format!("00000000-0000-4000-8000-{no:012}"))
            .context("enrol a volume")?;
    }
    fs::write(complete, made_as).context("note that the fleet is complete")
}

/// Waves, budget and bake of a demo: short, and forgiving enough to go on past what is damaged.
fn plan(waves: &str, rate: &str) -> String {
    format!(
        "name = \"demo\"\n\n[covers]\nall = true\n\n[waves]\nlist = {waves}\nbake = \"3s\"\nerror_budget_canary = \"100%\"\nerror_budget = \"100%\"\n\n[tries]\nbackoff = \"1s\"\n\n[pace]\nbytes_per_second = {rate:?}\nreaders = 4\n"
    )
}

/// Agents over one's own mail. What an interrupted run was about, this one is about too.
fn own_mail(folder: &Path, mail: &Path) -> Result<Prepared> {
    let named = mail.canonicalize().with_context(|| format!("find {}", mail.display()))?;
    let digest = blake3::hash(named.as_os_str().as_encoded_bytes()).to_hex();
    let folder = folder.join(format!("mail-{}", &digest[..12]));
    let list = folder.join(SHARDS_LIST);
    let goes_on = list.exists() && folder.join(CELL).exists() && !folder.join(FINISHED).exists();
    let found = if goes_on {
        let text = fs::read_to_string(&list).context("read what the interrupted run found")?;
        OwnMail::recall(mail, &text)?
    } else {
        own_mail::look(mail)?
    };
    say(&found.to_string())?;
    ensure!(
        !found.shards.is_empty(),
        "no Maildir (a folder with cur, new and tmp) was found in {} or {DEPTH_MAX} levels below",
        mail.display()
    );
    rientro_mailstore::volume::identify(&found.root)
        .with_context(|| format!("tell which volume {} is on", found.root.display()))?;
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    fs::write(list, found.to_text()).context("note what was found")?;
    let waves = if found.shards.len() > 2 { r#"["1 shards", "25%", "rest"]"# } else { r#"["rest"]"# };
    Ok(Prepared { folder, nodes: found.nodes(), shards: found.shards.len(), plan: plan(waves, "unlimited") })
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stderr().lock(), "{text}").context("write to the terminal")
}
