//! `rientro campaign report`: what came back, what is held and why, and where to look further.

use std::collections::BTreeMap;

use rientro_types::{CampaignId, CampaignView, CellTime, Selector, ShardState, ShardView, StateCounts};
use rientro_wire::operator::ShardsQuery;
use serde_json::{Value, json};

use crate::campaign::campaign_grid;
use crate::client::Client;
use crate::failure::Failure;
use crate::human::{count, plural};
use crate::json;
use crate::session::{Session, now};
use crate::shard::shards_grid;
use crate::steps::{self, NextStep};
use crate::wave::show_waves;
use crate::words::{self, lost_shards};

/// Shards that are not open and listed one by one; the rest is counted by reason and found with `shard list`.
const LISTED_MAX: u64 = 20;
/// States that nothing moves, or that an operator decided.
const STUCK: [ShardState; 3] = [ShardState::Closed, ShardState::Held, ShardState::Failed];
/// States on the way back.
const MOVING: [ShardState; 6] = [
    ShardState::Waiting,
    ShardState::Verifying,
    ShardState::Backoff,
    ShardState::Verified,
    ShardState::Confirming,
    ShardState::Opening,
];
/// Shards that are not open and looked at for their reasons.
const REASONS_MAX: u64 = 10_000;

/// Every state but open.
fn away() -> Vec<ShardState> {
    ShardState::ALL.into_iter().filter(|state| *state != ShardState::Open).collect()
}

pub(crate) async fn run(session: &Session, campaign: CampaignId) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    let view = client.campaign(campaign).await?;
    let now = now(&mut client).await?;
    if session.out.is_json() {
        let away = shards_in(&mut client, &view, &away()).await?;
        session.out.json(&json!({
            "campaign": json::campaign(&view, now),
            "not_back": away.iter().map(json::shard).collect::<Value>(),
        }))?;
    } else {
        let stuck = shards_in(&mut client, &view, &STUCK).await?;
        print(session, &view, &stuck, now)?;
    }
    verdict(&view)
}

/// Something is held, or the campaign is over and not everything is back.
fn verdict(view: &CampaignView) -> Result<(), Failure> {
    let all_back =
        view.counts.shards_in(ShardState::Open) == view.counts.shards_total() && view.shards_gone == 0;
    let sound = lost_shards(view) == 0 && (all_back || view.state.is_live());
    if sound { Ok(()) } else { Err(Failure::Unsound) }
}

/// Shards of a campaign in some states.
async fn shards_in(
    client: &mut Client,
    view: &CampaignView,
    states: &[ShardState],
) -> Result<Vec<ShardView>, Failure> {
    let there = states.iter().any(|state| view.counts.shards_in(*state) > 0);
    if !there {
        return Ok(Vec::new());
    }
    let selector = Selector { campaign: Some(view.campaign), states: states.to_vec(), ..Selector::default() };
    client.shards(ShardsQuery { selector, after: None, max: REASONS_MAX }).await
}

/// Shards and mailboxes in some states.
fn sum(counts: &StateCounts, states: &[ShardState]) -> (u64, u64) {
    let shards = states.iter().map(|state| counts.shards_in(*state)).sum();
    (shards, states.iter().map(|state| counts.mailboxes_in(*state)).sum())
}

fn print(session: &Session, view: &CampaignView, stuck: &[ShardView], now: CellTime) -> Result<(), Failure> {
    let out = &session.out;
    out.grid(&campaign_grid(view, now))?;
    out.line("")?;
    show_waves(session, view, now)?;
    let (shards, mailboxes) = sum(&view.counts, &away());
    if shards == 0 {
        out.line(match view.shards_gone {
            0 => "\nEverything is back.",
            _ => "\nWhat is still in this campaign is back; of what has gone to others, see their reports: rientro campaign list",
        })?;
        return steps::print(session, &steps::of_campaign(view));
    }
    let size = |shards, mailboxes| (plural(shards, "shard"), plural(mailboxes, "mailbox"));
    let (shards, mailboxes) = size(shards, mailboxes);
    out.line(format_args!("\nNot back: {shards} with {mailboxes}"))?;
    let (moving, held) = (sum(&view.counts, &MOVING), reasons(stuck));
    let moving = (moving.0 > 0).then(|| ("on the way".to_owned(), moving));
    for (reason, (shards, mailboxes)) in held.into_iter().chain(moving) {
        let (shards, mailboxes) = size(shards, mailboxes);
        out.line(format_args!("  {shards}, {mailboxes}: {reason}"))?;
    }
    if !stuck.is_empty() {
        out.line("")?;
        let listed = usize::try_from(LISTED_MAX).unwrap_or(usize::MAX).min(stuck.len());
        out.grid(&shards_grid(&stuck[..listed], now))?;
        if listed < stuck.len() {
            out.line(format_args!("... and {} more", count((stuck.len() - listed) as u64)))?;
        }
    }
    steps::print(session, &steps(view, stuck))
}

/// Shards and mailboxes by the sort of reason, without its numbers.
fn reasons(stuck: &[ShardView]) -> BTreeMap<String, (u64, u64)> {
    let mut reasons: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for view in stuck {
        let reason = words::sort_of_reason(&view.shard);
        let sum = reasons.entry(reason.to_owned()).or_default();
        *sum = (sum.0 + 1, sum.1 + view.shard.mailboxes);
    }
    reasons
}

/// The campaign's steps, and what the first shard of those that are not back asks for.
fn steps(view: &CampaignView, stuck: &[ShardView]) -> Vec<NextStep> {
    let mut steps = steps::of_campaign(view);
    let first = stuck.iter().find(|view| view.shard.state() != ShardState::Closed);
    steps.extend(
        first.map(|view| (format!("rientro shard show {}", view.shard.shard), "look at one of them")),
    );
    steps.push((format!("rientro shard list --campaign {} --max 0", view.campaign), "see every shard of it"));
    steps
}
