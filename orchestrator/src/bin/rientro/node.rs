//! `rientro node`: storage nodes, and whether they are heard.

use clap::Subcommand;
use rientro_types::{CellTime, CellView, NodeId, NodeView, ShardState, Twin};
use serde_json::Value;

use crate::failure::Failure;
use crate::fleet::state_grid;
use crate::human::{clock, count, moment, plural, span};
use crate::json;
use crate::session::{Session, refused};
use crate::table::{Field, Grid, Tone};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List all nodes
    List,
    /// Show one node
    Show {
        /// Its name
        node: NodeId,
    },
}

pub(crate) async fn run(session: &Session, command: NodeCommand) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    let nodes = client.nodes().await?;
    let cell = client.cell().await?.cell;
    match command {
        NodeCommand::List if session.out.is_json() => {
            session.out.json(&nodes.iter().map(json::node).collect::<Value>())
        }
        NodeCommand::List if nodes.is_empty() => {
            session.out.line("No node has enrolled yet; start rientro-agent on the storage servers.")
        }
        NodeCommand::List => session.out.grid(&nodes_grid(&nodes, &cell)),
        NodeCommand::Show { node } => {
            let found = nodes.iter().find(|view| view.node == node);
            let view = found.ok_or_else(|| refused(&rientro_types::Refusal::NodeUnknown(node)))?;
            if session.out.is_json() {
                return session.out.json(&json::node(view));
            }
            session.out.grid(&node_grid(view, &cell))?;
            session.out.line("")?;
            session.out.grid(&state_grid(&view.counts))
        }
    }
}

fn session_field(node: &NodeView) -> Field {
    match (node.silent, node.connected) {
        (Some(_), _) => Field::toned("silent", Tone::Bad),
        (None, true) if node.twin.is_some_and(|twin| !twin.quiet) => {
            Field::toned("connected, twin", Tone::Bad)
        }
        (None, true) => Field::toned("connected", Tone::Good),
        (None, false) => Field::toned("offline", Tone::Warn),
    }
}

/// When a node was last heard. A leader knows of nothing before its own time, and that begins when it leads.
fn heard(node: &NodeView, cell: &CellView) -> String {
    match node.heard_ago {
        Some(ago) => format!("{} ago", span(ago)),
        None if cell.leading_since == CellTime::default() => {
            "not yet; the orchestrator is starting".to_owned()
        }
        None => format!("not since the orchestrator started, at {}", moment(cell.leading_since)),
    }
}

/// The same in a column.
fn heard_short(node: &NodeView, cell: &CellView) -> String {
    match node.heard_ago {
        Some(ago) => format!("{} ago", span(ago)),
        None if cell.leading_since == CellTime::default() => "not yet".to_owned(),
        None => format!("not since {}", clock(cell.leading_since)),
    }
}

fn labels(node: &NodeView) -> String {
    let labels: Vec<_> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(" ")
}

fn nodes_grid(nodes: &[NodeView], cell: &CellView) -> Grid {
    let mut grid = Grid::new(["NODE", "SESSION", "HEARD", "#TASKS", "#SHARDS", "#OPEN", "#HELD", "LABELS"]);
    for node in nodes {
        let held = node.counts.shards_in(ShardState::Held) + node.counts.shards_in(ShardState::Failed);
        grid.row([
            node.node.to_string().into(),
            session_field(node),
            heard_short(node, cell).into(),
            count(u64::from(node.verifying) + u64::from(node.confirming)).into(),
            count(node.counts.shards_total()).into(),
            count(node.counts.shards_in(ShardState::Open)).into(),
            Field::toned(count(held), if held > 0 { Tone::Bad } else { Tone::Faint }),
            labels(node).into(),
        ]);
    }
    grid
}

fn twin_text(twin: &Twin, cell: &CellView) -> String {
    let Twin { since, last, knocks, serves, inside, quiet } = *twin;
    let ago = |moment_of| format!("{} ({} ago)", moment(moment_of), span(cell.at.since(moment_of)));
    let what = if inside {
        "the connected agent is another one than before, with the same state directory; let in"
    } else if quiet {
        "another agent had this node's identity, was refused, and has not been heard since; last"
    } else {
        "another running agent has this node's identity and is refused; last"
    };
    let tries = if knocks == 1 { "try".to_owned() } else { format!("{} tries", count(knocks)) };
    format!(
        "{what} at {}, first seen {}, {tries}; it said it serves {}",
        ago(last),
        ago(since),
        plural(serves, "shard")
    )
}

const fn twin_next(twin: &Twin) -> &'static str {
    if twin.inside {
        "if this is not the machine to keep, stop its agent; if it is, close and verify what it serves, then restart its agent"
    } else if twin.quiet {
        "nothing, if it was stopped; if it is only cut off, keep users away from what it serves"
    } else {
        "stop one of the two agents; a copy that shall stay needs a node name and a state directory of its own"
    }
}

fn node_grid(node: &NodeView, cell: &CellView) -> Grid {
    let mut grid = Grid::new(["", ""]);
    grid.row(["node".into(), node.node.to_string().into()]);
    grid.row(["session".into(), session_field(node)]);
    grid.row(["last heard".into(), heard(node, cell).into()]);
    if let Some(since) = node.silent {
        let text = format!("since {} ({} ago)", moment(since), span(cell.at.since(since)));
        grid.row(["silent".into(), Field::toned(text, Tone::Bad)]);
    }
    if let Some(twin) = node.twin {
        let tone = if twin.quiet { Tone::Faint } else { Tone::Bad };
        grid.row(["twin".into(), Field::toned(twin_text(&twin, cell), tone)]);
        grid.row(["next".into(), twin_next(&twin).into()]);
    }
    let tasks = format!("{} verifications, {} confirmations", node.verifying, node.confirming);
    grid.row(["tasks".into(), tasks.into()]);
    grid.row(["labels".into(), labels(node).into()]);
    grid.row(["incarnation".into(), node.incarnation.to_string().into()]);
    grid
}
