//! `rientro fleet`: all shards, summed up.

use std::collections::BTreeMap;

use clap::Subcommand;
use rientro_types::{LabelKey, NodeView, ShardState, StateCounts};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::human::{count, percent};
use crate::json;
use crate::session::Session;
use crate::table::{Field, Grid, Tone};

#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    /// Show how many shards are in which state
    Show {
        /// Sum up by this node label, such as rack, instead of by node
        #[arg(long, value_name = "LABEL")]
        by: Option<LabelKey>,
    },
}

/// Columns that states are summed up in.
const COLUMNS: [(&str, &[ShardState], Tone); 6] = [
    ("#CLOSED", &[ShardState::Closed], Tone::Plain),
    ("#VERIFYING", &[ShardState::Waiting, ShardState::Verifying, ShardState::Backoff], Tone::Plain),
    ("#VERIFIED", &[ShardState::Verified], Tone::Plain),
    ("#OPENING", &[ShardState::Confirming, ShardState::Opening], Tone::Plain),
    ("#OPEN", &[ShardState::Open], Tone::Good),
    ("#HELD", &[ShardState::Held, ShardState::Failed], Tone::Bad),
];

pub(crate) async fn run(session: &Session, command: FleetCommand) -> Result<(), Failure> {
    let FleetCommand::Show { by } = command;
    let nodes = session.connect().await?.nodes().await?;
    let sums = summed(&nodes, by);
    if session.out.is_json() {
        let groups: Map<String, Value> =
            sums.iter().map(|(name, sum)| (name.clone(), json::counts(sum))).collect();
        return session.out.json(&groups.into());
    }
    if sums.is_empty() {
        return session.out.line("No node has enrolled yet; start rientro-agent on the storage servers.");
    }
    session.out.grid(&fleet_grid(&sums, by))
}

fn summed(nodes: &[NodeView], by: Option<LabelKey>) -> BTreeMap<String, StateCounts> {
    let mut sums: BTreeMap<String, StateCounts> = BTreeMap::new();
    for node in nodes {
        let group = match by {
            None => node.node.to_string(),
            Some(label) => node.labels.get(&label).map_or_else(|| "(none)".to_owned(), ToString::to_string),
        };
        add(sums.entry(group).or_default(), &node.counts);
    }
    sums
}

fn add(sum: &mut StateCounts, counts: &StateCounts) {
    for state in ShardState::ALL {
        sum.shards[state as usize] += counts.shards_in(state);
        sum.mailboxes[state as usize] += counts.mailboxes_in(state);
    }
}

fn fleet_grid(sums: &BTreeMap<String, StateCounts>, by: Option<LabelKey>) -> Grid {
    let first = if by.is_some() { "DOMAIN" } else { "NODE" };
    let columns = COLUMNS.iter().map(|(name, _, _)| *name);
    let header = std::iter::once(first).chain(["#SHARDS"]).chain(columns).chain(["#MAILBOXES", "#BACK"]);
    let mut grid = Grid::new(header);
    let mut total = StateCounts::default();
    for (name, counts) in sums {
        grid.row(fleet_row(name, counts));
        add(&mut total, counts);
    }
    if sums.len() > 1 {
        grid.row(fleet_row("total", &total));
    }
    grid
}

fn fleet_row(name: &str, counts: &StateCounts) -> Vec<Field> {
    let mut row = vec![name.into(), count(counts.shards_total()).into()];
    for (_, states, tone) in COLUMNS {
        let shards: u64 = states.iter().map(|state| counts.shards_in(*state)).sum();
        row.push(if shards == 0 {
            Field::toned("-", Tone::Faint)
        } else {
            Field::toned(count(shards), tone)
        });
    }
    row.push(count(counts.mailboxes_total()).into());
    row.push(percent(counts.mailboxes_in(ShardState::Open), counts.mailboxes_total()).into());
    row
}

/// Shards and mailboxes in each state that has any.
pub(crate) fn state_grid(counts: &StateCounts) -> Grid {
    let mut grid = Grid::new(["STATE", "#SHARDS", "#MAILBOXES", "#SHARE"]);
    for state in ShardState::ALL.into_iter().filter(|state| counts.shards_in(*state) > 0) {
        let mailboxes = counts.mailboxes_in(state);
        grid.row([
            Field::toned(state.name(), Tone::of_shard(state)),
            count(counts.shards_in(state)).into(),
            count(mailboxes).into(),
            percent(mailboxes, counts.mailboxes_total()).into(),
        ]);
    }
    grid
}
