//! `rientro campaign report`: what came back, what is held and why, and where to look further.

use std::collections::BTreeMap;

use rientro_types::{CampaignId, CampaignView, CellTime, Selector, ShardState, ShardView};
use rientro_wire::operator::ShardsQuery;
use serde_json::{Value, json};

use crate::campaign::campaign_grid;
use crate::client::Client;
use crate::failure::Failure;
use crate::human::{count, plural};
use crate::json;
use crate::session::{Session, now};
use crate::shard::{print_steps, shards_grid};
use crate::wave::show_waves;
use crate::words::{self, NextStep, campaign_steps};

/// Shards that are not open and listed one by one; the rest is counted by reason and found with `shard list`.
const LISTED_MAX: u64 = 20;
/// Shards that are not open and looked at for their reasons.
const REASONS_MAX: u64 = 10_000;

pub(crate) async fn run(session: &Session, campaign: CampaignId) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    let view = client.campaign(campaign).await?;
    let now = now(&mut client).await?;
    let stuck = stuck(&mut client, &view).await?;
    if session.out.is_json() {
        return session.out.json(&json!({
            "campaign": json::campaign(&view, now),
            "not_back": stuck.iter().map(json::shard).collect::<Value>(),
        }));
    }
    print(session, &view, &stuck, now)
}

/// Shards that are not open and that nothing moves, or that were closed by decision.
async fn stuck(client: &mut Client, view: &CampaignView) -> Result<Vec<ShardView>, Failure> {
    let states = vec![ShardState::Held, ShardState::Failed, ShardState::Closed];
    let there = states.iter().any(|state| view.counts.shards_in(*state) > 0);
    if !there {
        return Ok(Vec::new());
    }
    let selector = Selector { campaign: Some(view.campaign), states, ..Selector::default() };
    client.shards(ShardsQuery { selector, after: None, max: REASONS_MAX }).await
}

fn print(session: &Session, view: &CampaignView, stuck: &[ShardView], now: CellTime) -> Result<(), Failure> {
    let out = &session.out;
    out.grid(&campaign_grid(view, now))?;
    out.line("")?;
    show_waves(session, view, now)?;
    if stuck.is_empty() {
        let all_open = view.counts.shards_in(ShardState::Open) == view.counts.shards_total();
        out.line(if all_open { "\nEverything is back." } else { "\nNothing is held." })?;
        return print_steps(session, &campaign_steps(view));
    }
    let mailboxes = stuck.iter().map(|view| view.shard.mailboxes).sum();
    let shards = plural(stuck.len() as u64, "shard");
    out.line(format_args!("\nNot back: {shards} with {}", plural(mailboxes, "mailbox")))?;
    for (reason, (shards, mailboxes)) in reasons(stuck) {
        let size = format!("{}, {}", plural(shards, "shard"), plural(mailboxes, "mailbox"));
        out.line(format_args!("  {size}: {reason}"))?;
    }
    out.line("")?;
    let listed = usize::try_from(LISTED_MAX).unwrap_or(usize::MAX).min(stuck.len());
    out.grid(&shards_grid(&stuck[..listed], now))?;
    if listed < stuck.len() {
        out.line(format_args!("... and {} more", count((stuck.len() - listed) as u64)))?;
    }
    print_steps(session, &steps(view, stuck))
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
    let mut steps = campaign_steps(view);
    let first = stuck.iter().find(|view| view.shard.state() != ShardState::Closed);
    steps.extend(
        first.map(|view| (format!("rientro shard show {}", view.shard.shard), "look at one of them")),
    );
    steps.push((format!("rientro shard list --campaign {} --max 0", view.campaign), "see every shard of it"));
    steps
}
