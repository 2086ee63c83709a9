//! `rientro campaign`: runs of a plan.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use rientro_orchestrator::plan::PlanFile;
use rientro_types::{CampaignId, CampaignView, CellTime, Refusal, ShardState, Verb};
use serde_json::Value;

use crate::act::{Outcome, Telling, decide, decide_plainly};
use crate::client::Client;
use crate::failure::Failure;
use crate::human::{bytes, count, moment, percent, plural, span};
use crate::json;
use crate::output::note;
use crate::plan::{self, read_whole};
use crate::session::{Session, now};
use crate::steps;
use crate::table::{Field, Grid, Tone};
use crate::wave::show_waves;
use crate::words::{campaign_state, lost_shards};
use crate::{report, watch};

#[derive(Debug, Subcommand)]
pub(crate) enum CampaignCommand {
    /// Begin a campaign from a plan
    Start {
        /// The plan, in TOML; its name is the campaign's
        file: PathBuf,
    },
    /// Move a running campaign to a new revision of its plan; waves that have begun stay as they are
    Revise {
        /// The plan, in TOML; its name says which campaign
        file: PathBuf,
    },
    /// List campaigns, the latest first
    List,
    /// Show one campaign and its waves
    Show {
        /// Its name
        campaign: CampaignId,
    },
    /// Start nothing more and suspend what runs; asks nothing, as `resume` undoes it
    Pause {
        /// Its name
        campaign: CampaignId,
    },
    /// Let a paused campaign go on; what its wave has lost so far is forgiven
    Resume {
        /// Its name
        campaign: CampaignId,
    },
    /// Give up: what is open stays open, all else is closed
    Abort {
        /// Its name
        campaign: CampaignId,
    },
    /// Watch it live until it ends
    Watch(watch::WatchArgs),
    /// What came back, what is held and why, and where to look further
    Report {
        /// Its name
        campaign: CampaignId,
    },
}

const START: Telling =
    Telling { verb: "bring back {}", done: "Started to bring back {}", warning: "", asks: true };
const REVISE: Telling = Telling {
    verb: "revise the plan, with another wave for {}",
    done: "Revised the plan, with another wave for {}",
    warning: "Waves that have begun stay as they are.",
    asks: true,
};
const PAUSE: Telling =
    Telling { verb: "pause a campaign of {}", done: "Paused a campaign of {}", warning: "", asks: false };
const RESUME: Telling =
    Telling { verb: "resume a campaign of {}", done: "Resumed a campaign of {}", warning: "", asks: true };
const ABORT: Telling = Telling {
    verb: "abort a campaign of {}",
    done: "Aborted a campaign of {}",
    warning: "What is open stays open; all else is closed and needs another campaign.",
    asks: true,
};

pub(crate) async fn run(session: &Session, command: CampaignCommand) -> Result<(), Failure> {
    match command {
        CampaignCommand::Start { file } => start(session, &file).await,
        CampaignCommand::Revise { file } => revise(session, &file).await,
        CampaignCommand::List => list(session).await,
        CampaignCommand::Show { campaign } => show(session, campaign).await,
        CampaignCommand::Pause { campaign } => act(session, Verb::Pause { campaign }, PAUSE).await,
        CampaignCommand::Resume { campaign } => act(session, Verb::Resume { campaign }, RESUME).await,
        CampaignCommand::Abort { campaign } => act(session, Verb::Abort { campaign }, ABORT).await,
        CampaignCommand::Watch(args) => watch::run(session, &args).await,
        CampaignCommand::Report { campaign } => report::run(session, campaign).await,
    }
}

async fn act(session: &Session, verb: Verb, telling: Telling) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    decide_plainly(session, &mut client, verb, telling).await
}

async fn start(session: &Session, path: &Path) -> Result<(), Failure> {
    let mut file = read_whole(path)?;
    // What is shown is what is started: the order is drawn once, before both.
    file.draw_seed();
    let mut client = session.connect().await?;
    let preview = preview(&mut client, path, &file, false).await?;
    let verb = Verb::Start { plan: Box::new(file.plan.clone()), source: file.source };
    let refuse = |refusal: &Refusal| plan::refusal(path, &file, refusal);
    let outcome = decide(session, &mut client, verb, START, &preview, refuse).await?;
    follow_up(session, file.plan.name, outcome)
}

/// What a plan says, and the waves it makes.
async fn preview(
    client: &mut Client,
    path: &Path,
    file: &PlanFile,
    revision: bool,
) -> Result<String, Failure> {
    let waves = client.forecast(file.plan.clone(), revision).await?;
    let waves = waves.map_err(|refusal| plan::refusal(path, file, &refusal))?;
    let shown = [plan::summary(file), plan::waves_grid(&waves)].map(|grid| grid.render(None, false));
    Ok(format!("{}\n", shown.join("\n\n")))
}

async fn revise(session: &Session, path: &Path) -> Result<(), Failure> {
    let file = read_whole(path)?;
    let mut client = session.connect().await?;
    let preview = preview(&mut client, path, &file, true).await?;
    let verb = Verb::Revise { plan: Box::new(file.plan.clone()), source: file.source };
    let refuse = |refusal: &Refusal| plan::refusal(path, &file, refusal);
    let outcome = decide(session, &mut client, verb, REVISE, &preview, refuse).await?;
    follow_up(session, file.plan.name, outcome)
}

fn follow_up(session: &Session, campaign: CampaignId, outcome: Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Unchanged => Ok(()),
        Outcome::Decided if session.out.is_json() => Ok(()),
        Outcome::Decided => {
            note(format_args!("Watch it with: rientro watch {campaign}"));
            Ok(())
        }
        Outcome::Declined => Err(Failure::Unsound),
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    let campaigns = client.campaigns().await?;
    let now = now(&mut client).await?;
    if session.out.is_json() {
        let campaigns = campaigns.iter().map(|campaign| json::campaign(campaign, now));
        return session.out.json(&campaigns.collect::<Value>());
    }
    if campaigns.is_empty() {
        return session
            .out
            .line("No campaign has been started; rientro campaign start PLAN.toml begins one.");
    }
    session.out.grid(&campaigns_grid(&campaigns, now))
}

fn campaigns_grid(campaigns: &[CampaignView], now: CellTime) -> Grid {
    let mut grid =
        Grid::new(["CAMPAIGN", "STATE", "#WAVE", "#SHARDS", "#MAILBOXES", "#BACK", "#HELD", "STARTED"]);
    for campaign in campaigns {
        let counts = &campaign.counts;
        let lost = lost_shards(campaign);
        grid.row([
            campaign.campaign.to_string().into(),
            Field::toned(campaign.state.name(), Tone::of_campaign(&campaign.state)),
            campaign
                .wave
                .map_or_else(|| "-".to_owned(), |wave| format!("{wave}/{}", campaign.waves.len()))
                .into(),
            count(counts.shards_total()).into(),
            count(counts.mailboxes_total()).into(),
            percent(counts.mailboxes_in(ShardState::Open), counts.mailboxes_total()).into(),
            Field::toned(count(lost), if lost > 0 { Tone::Bad } else { Tone::Faint }),
            format!("{} ago", span(now.since(campaign.started))).into(),
        ]);
    }
    grid
}

async fn show(session: &Session, campaign: CampaignId) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    let view = client.campaign(campaign).await?;
    let now = now(&mut client).await?;
    if session.out.is_json() {
        return session.out.json(&json::campaign(&view, now));
    }
    session.out.grid(&campaign_grid(&view, now))?;
    session.out.line("")?;
    show_waves(session, &view, now)?;
    steps::print(session, &steps::of_campaign(&view))
}

/// A campaign, one fact a line.
pub(crate) fn campaign_grid(view: &CampaignView, now: CellTime) -> Grid {
    let counts = &view.counts;
    let mut grid = Grid::new(["", ""]);
    let mut row = |name: &'static str, field: Field| grid.row([name.into(), field]);
    row("campaign", format!("{}, revision {} of its plan", view.campaign, view.revision).into());
    row("state", Field::toned(campaign_state(&view.state), Tone::of_campaign(&view.state)));
    let until = view.ended.unwrap_or(now);
    row("began", format!("{} ({} ago)", moment(view.started), span(now.since(view.started))).into());
    if let Some(ended) = view.ended {
        row("over", format!("{}, after {}", moment(ended), span(until.since(view.started))).into());
    }
    let back = counts.mailboxes_in(ShardState::Open);
    let total = plural(counts.mailboxes_total(), "mailbox");
    row("back", format!("{} of {total} ({})", count(back), percent(back, counts.mailboxes_total())).into());
    row("shards", state_line(view).into());
    if view.shards_gone > 0 {
        row("gone", format!("{} to other campaigns since", plural(view.shards_gone, "shard")).into());
    }
    row("verified", bytes(view.bytes_verified).into());
    grid
}

/// Shards by state, in one line.
pub(crate) fn state_line(view: &CampaignView) -> String {
    let there = ShardState::ALL.into_iter().filter(|state| view.counts.shards_in(*state) > 0);
    let parts: Vec<_> =
        there.map(|state| format!("{} {}", count(view.counts.shards_in(state)), state.name())).collect();
    parts.join(", ")
}
