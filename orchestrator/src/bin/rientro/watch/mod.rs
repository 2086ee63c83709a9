//! `rientro watch`: a campaign, live, until it ends.
//!
//! One loop takes what the cell tells, keeps a [`Picture`] of it, and shows that a few times a second: redrawn in place on
//! a terminal, as lines in a pipe, as JSON lines for machines. When the orchestrator restarts the loop says so, waits with
//! growing pauses and goes on. It only looks; it never decides anything.

pub(crate) mod eta;
mod picture;
mod plain;
mod screen;
mod view;

#[cfg(test)]
pub(crate) mod fixture;

use std::time::Duration;

use backoff::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use clap::Args;
use rientro_types::{CampaignId, CampaignState, CampaignView, Selector, ShardState, Span};
use rientro_wire::operator::{CellAnswer, ShardsQuery, WatchEvent, WatchQuery};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::Client;
use crate::failure::Failure;
use crate::human::plural;
use crate::output::note;
use crate::session::Session;
use crate::words::lost_shards;
use picture::Picture;
use view::View;

/// Pause between two drawings: four a second look alive and cost nothing.
const REDRAW_EVERY: Duration = Duration::from_millis(250);
/// Drawings between two looks at the campaign itself, in case the stream tells nothing of its end: five seconds.
const DRAWINGS_PER_LOOK: u32 = 20;
/// Held shards shown by name.
const NAMED_MAX: u64 = 4;
/// First and longest pause between attempts to connect again.
const RECONNECT_FIRST: Duration = Duration::from_millis(200);
const RECONNECT_LONGEST: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// The campaign; the one that runs, or the latest, unless given
    campaign: Option<CampaignId>,
    /// Give up when the orchestrator cannot be reached for so long
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    patience: Span,
}

pub(crate) async fn run(session: &Session, args: &WatchArgs) -> Result<(), Failure> {
    let mut client = session.connect_quietly().await?;
    let campaign = match args.campaign {
        Some(campaign) => client.campaign(campaign).await?,
        None => chosen(client.campaigns().await?)?,
    };
    let begun = Instant::now();
    let (picture, view) = (Picture::new(campaign), View::new(session.out));
    let mut watch = Watch { session, args, client, picture, view, begun, heard: begun, pauses: pauses() };
    let followed = tokio::select! {
        // Cancel-safe: nothing but the picture is lost, and it is not used after a signal.
        followed = watch.follow() => followed,
        // Cancel-safe: a signal that is not waited for keeps its default.
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
    };
    let Watch { picture, view, .. } = watch;
    view.leave();
    followed.and_then(|()| conclude(session, &picture.campaign))
}

/// The campaign that runs; without one, the latest.
fn chosen(campaigns: Vec<CampaignView>) -> Result<CampaignView, Failure> {
    let live: Vec<_> = campaigns.iter().filter(|campaign| campaign.state.is_live()).collect();
    if live.len() > 1 {
        let names: Vec<_> = live.iter().map(|campaign| campaign.campaign.to_string()).collect();
        let which = format!("say which: {}", names.join(", "));
        return Err(Failure::usage("several campaigns run", which));
    }
    let one = live.first().map(|campaign| campaign.campaign);
    let mut campaigns = campaigns.into_iter();
    let found = match one {
        Some(name) => campaigns.find(|campaign| campaign.campaign == name),
        None => campaigns.next(),
    };
    found.ok_or_else(|| {
        Failure::refused("there is no campaign yet", "rientro campaign start PLAN.toml begins one")
    })
}

/// Says how it ended: well only when every shard is open.
fn conclude(session: &Session, campaign: &CampaignView) -> Result<(), Failure> {
    let id = campaign.campaign;
    let counts = &campaign.counts;
    let away = counts.shards_total() - counts.shards_in(ShardState::Open);
    let aborted = campaign.state == CampaignState::Aborted;
    if !session.out.is_json() {
        let end = if aborted { "was aborted" } else { "has ended" };
        match (away, campaign.shards_gone) {
            (0, 0) => note(format_args!(
                "Campaign {id} {end}: all {} are back.",
                plural(counts.mailboxes_total(), "mailbox")
            )),
            (0, gone) => note(format_args!(
                "Campaign {id} {end}; {} went to other campaigns since: rientro campaign list",
                plural(gone, "shard")
            )),
            _ => note(format_args!(
                "Campaign {id} {end}: {} not back, {} of them held or failed. Look further: rientro campaign report {id}",
                plural(away, "shard"),
                lost_shards(campaign)
            )),
        }
    }
    if away == 0 && campaign.shards_gone == 0 && !aborted { Ok(()) } else { Err(Failure::Unsound) }
}

struct Watch<'a> {
    session: &'a Session,
    args: &'a WatchArgs,
    client: Client,
    picture: Picture,
    view: View,
    begun: Instant,
    /// When the stream last told something.
    heard: Instant,
    pauses: ExponentialBackoff,
}

impl Watch<'_> {
    /// Follows the campaign to its end, over restarts of the orchestrator.
    async fn follow(&mut self) -> Result<(), Failure> {
        loop {
            let failure = match self.attend().await {
                Err(failure) if failure.may_pass() => failure,
                done => return done,
            };
            if !self.picture.campaign.state.is_live() {
                return self.view.show_last(&mut self.picture);
            }
            if self.heard.elapsed() > self.args.patience.into() {
                return Err(failure);
            }
            self.wait_for_return(&failure).await?;
        }
    }

    /// Follows the campaign over one connection.
    async fn attend(&mut self) -> Result<(), Failure> {
        self.look(true).await?;
        if self.picture.lost.take().is_some() {
            self.picture.returned = true;
            self.picture.pace.forget();
        }
        let query = WatchQuery { campaign: Some(self.picture.campaign.campaign), include_decisions: true };
        let mut events = self.client.watch(query).await?;
        let mut ticks = interval(REDRAW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drawings: u32 = 0;
        loop {
            let event = tokio::select! {
                // Cancel-safe: a message that is not taken stays in the stream.
                event = events.next::<WatchEvent>() => Some(event?),
                // Cancel-safe: a tick that is not taken is taken next time.
                _ = ticks.tick() => None,
            };
            match event {
                Some(Some(event)) => {
                    self.heard = Instant::now();
                    self.pauses = pauses();
                    self.picture.take(event, self.elapsed_ms());
                }
                Some(None) => return Err(self.closed()),
                None => {
                    drawings = drawings.wrapping_add(1);
                    self.look(drawings.is_multiple_of(DRAWINGS_PER_LOOK)).await?;
                    if !self.picture.campaign.state.is_live() {
                        return self.view.show_last(&mut self.picture);
                    }
                    self.view.show(&mut self.picture)?;
                }
            }
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn closed(&self) -> Failure {
        let problem = "the orchestrator closed the connection".to_owned();
        Failure::Unreachable { endpoint: self.session.endpoint().to_owned(), problem }
    }

    /// Fetches what the stream does not tell: names of held shards and of nodes that are away, and now and then the cell's
    /// trouble and the campaign.
    async fn look(&mut self, whole: bool) -> Result<(), Failure> {
        let picture = &mut self.picture;
        if whole {
            let CellAnswer { cell, trouble, .. } = self.client.cell().await?;
            (picture.cell, picture.trouble) = (Some(cell), trouble);
            picture.campaign = self.client.campaign(picture.campaign.campaign).await?;
        }
        let lost = lost_shards(&picture.campaign);
        if picture.stuck_of != lost || (whole && lost > 0) {
            let states = vec![ShardState::Held, ShardState::Failed];
            let selector =
                Selector { campaign: Some(picture.campaign.campaign), states, ..Selector::default() };
            let query = ShardsQuery { selector, after: None, max: NAMED_MAX };
            picture.stuck = if lost == 0 { Vec::new() } else { self.client.shards(query).await? };
            picture.stuck_of = lost;
        }
        let away = picture.cell.as_ref().map_or(0, |cell| cell.nodes_silent + cell.nodes_offline());
        if picture.away.len() as u64 != away || (whole && away > 0) {
            picture.away = self.client.nodes().await?;
            picture.away.retain(|node| node.silent.is_some() || !node.connected);
        }
        Ok(())
    }

    /// Says that the connection is lost, waits a little, and connects again if that is possible.
    async fn wait_for_return(&mut self, failure: &Failure) -> Result<(), Failure> {
        let why = failure.to_string();
        self.picture.lost = why.lines().next().map(ToOwned::to_owned);
        self.view.show(&mut self.picture)?;
        tokio::time::sleep(self.pauses.next().unwrap_or(RECONNECT_LONGEST)).await;
        match self.session.connect_quietly().await {
            Ok(client) => self.client = client,
            // The old connection fails again, and so the loop comes back here.
            Err(failure) if failure.may_pass() => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}

/// Growing pauses between attempts to connect.
fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(RECONNECT_FIRST)
        .with_max_delay(RECONNECT_LONGEST)
        .without_max_times()
        .build()
}
