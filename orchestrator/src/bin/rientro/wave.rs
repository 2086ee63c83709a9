//! `rientro wave`: batches of shards that open together.

use clap::Subcommand;
use rientro_types::{
    CampaignId, CampaignState, CampaignView, CellTime, Selector, ShardState, Verb, WaveNo, WaveState,
    WaveView,
};
use rientro_wire::operator::ShardsQuery;
use serde_json::{Value, json};

use crate::act::{Telling, decide_shown};
use crate::failure::Failure;
use crate::human::{count, percent, plural};
use crate::json;
use crate::selector::wave as parse_wave;
use crate::session::{Session, now};
use crate::shard::shards_grid;
use crate::table::{Field, Grid, Tone};
use crate::words::wave_state;

#[derive(Debug, Subcommand)]
pub(crate) enum WaveCommand {
    /// List the waves of a campaign
    List {
        /// The campaign
        campaign: CampaignId,
    },
    /// Show one wave and its shards
    Show {
        /// The campaign
        campaign: CampaignId,
        /// The wave; the present one unless given
        #[arg(value_parser = parse_wave)]
        wave: Option<WaveNo>,
    },
    /// Let the next wave begin, whatever the present one still waits for
    Promote {
        /// The campaign
        campaign: CampaignId,
        /// The wave that shall pass; the present one unless given. With --yes it must be given, as each call would let one
        /// more wave pass
        #[arg(value_parser = parse_wave)]
        wave: Option<WaveNo>,
    },
}

const PROMOTE: Telling =
    Telling { verb: "let a wave of {} pass", done: "Let a wave of {} pass", warning: "", asks: true };

pub(crate) async fn run(session: &Session, command: WaveCommand) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    match command {
        WaveCommand::List { campaign } => {
            let view = client.campaign(campaign).await?;
            let now = now(&mut client).await?;
            if session.out.is_json() {
                let waves = view.waves.iter().map(|wave| json::wave(&view, wave, now));
                return session.out.json(&waves.collect::<Value>());
            }
            show_waves(session, &view, now)
        }
        WaveCommand::Show { campaign, wave } => {
            let view = client.campaign(campaign).await?;
            let wave = chosen(&view, wave)?;
            let selector =
                Selector { campaign: Some(campaign), wave: Some(wave.wave), ..Selector::default() };
            let shards = client.shards(ShardsQuery { selector, after: None, max: 0 }).await?;
            let now = now(&mut client).await?;
            if session.out.is_json() {
                let shards: Value = shards.iter().map(json::shard).collect();
                return session.out.json(&json!({ "wave": json::wave(&view, wave, now), "shards": shards }));
            }
            session.out.grid(&grid(&view, std::iter::once(wave), now))?;
            session.out.line("")?;
            session.out.grid(&shards_grid(&shards, now))
        }
        WaveCommand::Promote { campaign, wave } => {
            let view = client.campaign(campaign).await?;
            let wave = match wave {
                Some(wave) => wave,
                None => {
                    let present = view.wave;
                    let wave = present
                        .ok_or_else(|| Failure::Refused("every wave has passed already".to_owned().into()))?;
                    if session.yes {
                        return Err(unnamed(campaign, wave));
                    }
                    wave
                }
            };
            let preview = format!("This is about wave {wave} of campaign {campaign}.");
            let telling = Telling { warning: after(&view, wave), ..PROMOTE };
            decide_shown(session, &mut client, Verb::Promote { campaign, wave }, telling, &preview).await
        }
    }
}

/// What follows when a wave passes.
fn after(view: &CampaignView, wave: WaveNo) -> &'static str {
    let is_last = view.waves.last().is_some_and(|last| last.wave == wave);
    match view.state {
        CampaignState::Paused(_) => {
            "The campaign stays paused: nothing opens before it is resumed. What is held in this wave stays held."
        }
        CampaignState::Forming | CampaignState::Running | CampaignState::Ended | CampaignState::Aborted
            if is_last =>
        {
            "No wave comes after it: the campaign ends, and what is held in it stays held."
        }
        CampaignState::Forming | CampaignState::Running | CampaignState::Ended | CampaignState::Aborted => {
            "The next wave may open at once; what is held in this one stays held. Losses after this still count."
        }
    }
}

/// The present wave moves on with each promotion, so a script that is run twice would promote two.
fn unnamed(campaign: CampaignId, present: WaveNo) -> Failure {
    Failure::usage(
        "with --yes the wave must be named",
        format!("the present one is wave {present}: rientro --yes wave promote {campaign} {present}"),
    )
}

fn chosen(view: &CampaignView, wave: Option<WaveNo>) -> Result<&WaveView, Failure> {
    let last = view.waves.last().map(|wave| wave.wave);
    let wanted = wave.or(view.wave).or(last).unwrap_or_default();
    view.waves.iter().find(|wave| wave.wave == wanted).ok_or_else(|| {
        let waves = view.waves.len();
        let what = format!("campaign {} has no wave {wanted}", view.campaign);
        Failure::refused(what, format!("it has {}, from 0", plural(waves as u64, "wave")))
    })
}

/// Shows all waves of a campaign.
pub(crate) fn show_waves(session: &Session, view: &CampaignView, now: CellTime) -> Result<(), Failure> {
    session.out.grid(&waves_grid(view, now))?;
    returning(view).iter().try_for_each(|line| session.out.line(line))
}

/// All waves of a campaign.
fn waves_grid(view: &CampaignView, now: CellTime) -> Grid {
    grid(view, view.waves.iter(), now)
}

fn grid<'a>(campaign: &CampaignView, waves: impl Iterator<Item = &'a WaveView>, now: CellTime) -> Grid {
    let mut grid =
        Grid::new(["WAVE", "STATE", "#SHARDS", "#OPEN", "#HELD", "#MAILBOXES", "#BACK", "#LOST", "#BUDGET"]);
    for wave in waves {
        let counts = &wave.counts;
        let held = counts.shards_in(ShardState::Held) + counts.shards_in(ShardState::Failed);
        let name = if wave.wave.raw() == 0 { "0 (canary)".to_owned() } else { wave.wave.to_string() };
        grid.row([
            name.into(),
            Field::toned(wave_state(campaign, wave, now), tone(wave.state)),
            count(counts.shards_total()).into(),
            count(counts.shards_in(ShardState::Open)).into(),
            Field::toned(count(held), if held > 0 { Tone::Bad } else { Tone::Faint }),
            count(counts.mailboxes_total()).into(),
            percent(counts.mailboxes_in(ShardState::Open), counts.mailboxes_total()).into(),
            Field::toned(count(wave.mailboxes_lost), lost_tone(wave)),
            count(wave.mailboxes_lost_max).into(),
        ]);
    }
    grid
}

/// What the column of what is lost does not say: what of it is on its way again.
fn returning(view: &CampaignView) -> Vec<String> {
    let some = view.waves.iter().filter(|wave| wave.mailboxes_returning > 0);
    some.map(|wave| {
        format!(
            "Wave {} counts {} as lost; {} of them on their way again, and counted until they open.",
            wave.wave,
            plural(wave.mailboxes_lost, "mailbox"),
            count(wave.mailboxes_returning)
        )
    })
    .collect()
}

/// The tone of a wave's state.
pub(crate) const fn tone(state: WaveState) -> Tone {
    match state {
        WaveState::Waiting => Tone::Faint,
        WaveState::Opening | WaveState::Baking { .. } => Tone::Busy,
        WaveState::Passed => Tone::Good,
    }
}

/// The tone of what a wave has lost.
pub(crate) const fn lost_tone(wave: &WaveView) -> Tone {
    if wave.mailboxes_lost > wave.mailboxes_lost_max {
        Tone::Bad
    } else if wave.mailboxes_lost > 0 {
        Tone::Warn
    } else {
        Tone::Faint
    }
}
