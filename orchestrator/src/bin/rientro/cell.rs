//! `rientro cell`: the cell and the limits of its fleet.

use clap::{Args, Subcommand};
use rientro_types::{FleetLimits, LabelKey, NodeId, Span, Verb};
use rientro_wire::operator::CellAnswer;

use crate::act::{Telling, decide_shown};
use crate::failure::Failure;
use crate::foreign::clean;
use crate::human::{moment, plural};
use crate::json;
use crate::output::note;
use crate::session::Session;
use crate::table::{Field, Grid, Tone};

/// Nodes named in one row.
const AHEAD_NAMED_MAX: usize = 8;

#[derive(Debug, Subcommand)]
pub(crate) enum CellCommand {
    /// Show the cell
    Show,
    /// Limits that hold across campaigns
    #[command(subcommand)]
    Limits(LimitsCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// Show the limits in force
    Show,
    /// Change limits; those not given stay as they are. Lowering one lets what runs finish
    Set(LimitsArgs),
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(crate) struct LimitsArgs {
    /// Verifications at once on one node
    #[arg(long, value_name = "N")]
    verifies_per_node: Option<u32>,
    /// Confirmations at once on one node
    #[arg(long, value_name = "N")]
    confirms_per_node: Option<u32>,
    /// Verifications at once in each domain of a label, such as rack=8; rack=none lifts it
    #[arg(long = "verifies-per-domain", value_name = "LABEL=N", value_parser = domain)]
    domains: Vec<(LabelKey, Option<u32>)>,
    /// A node not heard for this long is silent, such as 60s
    #[arg(long, value_name = "DURATION")]
    silence: Option<Span>,
}

fn domain(text: &str) -> Result<(LabelKey, Option<u32>), String> {
    let (label, max) = text.split_once('=').ok_or("write it as LABEL=N, such as rack=8")?;
    let label = label.parse().map_err(|error| format!("the label {error}"))?;
    match max {
        "none" => Ok((label, None)),
        max => max.parse().map(|max| (label, Some(max))).map_err(|_| format!("{max} is not a whole number")),
    }
}

impl LimitsArgs {
    fn applied_to(self, mut limits: FleetLimits) -> FleetLimits {
        let Self { verifies_per_node, confirms_per_node, domains, silence } = self;
        limits.verifies_per_node = verifies_per_node.unwrap_or(limits.verifies_per_node);
        limits.confirms_per_node = confirms_per_node.unwrap_or(limits.confirms_per_node);
        limits.silence = silence.unwrap_or(limits.silence);
        for (label, max) in domains {
            match max {
                Some(max) => limits.verifies_per_domain.insert(label, max),
                None => limits.verifies_per_domain.remove(&label),
            };
        }
        limits
    }
}

pub(crate) async fn run(session: &Session, command: CellCommand) -> Result<(), Failure> {
    let mut client = match command {
        CellCommand::Show => session.connect_quietly().await?,
        CellCommand::Limits(_) => session.connect().await?,
    };
    let answer = client.cell().await?;
    match command {
        CellCommand::Show => show(session, &answer),
        CellCommand::Limits(LimitsCommand::Show) if session.out.is_json() => {
            session.out.json(&json::limits(&answer.cell.limits))
        }
        CellCommand::Limits(LimitsCommand::Show) => session.out.grid(&limits_grid(&answer.cell.limits)),
        CellCommand::Limits(LimitsCommand::Set(args)) => {
            let limits = args.applied_to(answer.cell.limits);
            let telling =
                Telling { verb: "set these limits", done: "Set these limits", warning: "", asks: true };
            let preview = limits_grid(&limits).render(None, false);
            decide_shown(session, &mut client, Verb::SetLimits { limits }, telling, &preview).await
        }
    }
}

fn show(session: &Session, answer: &CellAnswer) -> Result<(), Failure> {
    if session.out.is_json() {
        session.out.json(&json::cell(answer, session.endpoint()))?;
    } else {
        session.out.grid(&cell_grid(answer, session.endpoint()))?;
        session.out.line("")?;
        session.out.grid(&crate::fleet::state_grid(&answer.cell.counts))?;
    }
    let Some(trouble) = &answer.trouble else { return Ok(()) };
    if !session.out.is_json() {
        note(format_args!("\nThe cell is in trouble: {}", clean(trouble)));
    }
    Err(Failure::Unsound)
}

fn cell_grid(answer: &CellAnswer, endpoint: &str) -> Grid {
    let cell = &answer.cell;
    let mut grid = Grid::new(["", ""]);
    let silent = if cell.nodes_silent > 0 { Tone::Bad } else { Tone::Plain };
    let nodes = format!(
        "{} known: {} connected, {} offline, {} silent",
        cell.nodes,
        cell.nodes_connected,
        cell.nodes_offline(),
        cell.nodes_silent
    );
    grid.row(["cell".into(), cell.cell.to_string().into()]);
    grid.row(["reached at".into(), clean(endpoint).into()]);
    grid.row(["time".into(), moment(cell.at).into()]);
    grid.row(["nodes".into(), Field::toned(nodes, silent)]);
    grid.row(["campaigns".into(), format!("{} running or paused", cell.campaigns_live).into()]);
    let shards = plural(cell.counts.shards_total(), "shard");
    grid.row([
        "fleet".into(),
        format!("{shards}, {}", plural(cell.counts.mailboxes_total(), "mailbox")).into(),
    ]);
    if cell.nodes_twinned > 0 {
        let text = format!(
            "{} used by two running agents; rientro node list",
            plural(cell.nodes_twinned, "node name")
        );
        grid.row(["twins".into(), Field::toned(text, Tone::Bad)]);
    }
    if cell.shards_contested > 0 {
        let shards = plural(cell.shards_contested, "shard");
        let text = format!("{shards} shown in two places; rientro shard list --contested");
        grid.row(["contested".into(), Field::toned(text, Tone::Bad)]);
    }
    if cell.shards_impaired > 0 {
        let shards = plural(cell.shards_impaired, "shard");
        let text = format!("{shards} open with something wrong; rientro shard list --impaired");
        grid.row(["impaired".into(), Field::toned(text, Tone::Bad)]);
    }
    grid.row([
        "journal".into(),
        format!("next record {}, life {}, epoch {}", cell.seq_next, cell.incarnation, cell.epoch).into(),
    ]);
    grid.row(["build".into(), clean(&answer.build).into()]);
    if !answer.nodes_ahead.is_empty() {
        grid.row(["ahead".into(), Field::toned(ahead(&answer.nodes_ahead), Tone::Bad)]);
    }
    if let Some(trouble) = &answer.trouble {
        grid.row(["trouble".into(), Field::toned(clean(trouble), Tone::Bad)]);
    }
    grid
}

/// Nodes that obeyed what the journal does not hold, as many as fit a line or two.
fn ahead(nodes: &[NodeId]) -> String {
    let named: Vec<&str> = nodes.iter().take(AHEAD_NAMED_MAX).map(NodeId::as_str).collect();
    let more = nodes.len().saturating_sub(AHEAD_NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more (--output json names them)") } else { String::new() };
    format!("{}{more}: the journal does not hold what they obeyed", named.join(", "))
}

fn limits_grid(limits: &FleetLimits) -> Grid {
    let FleetLimits { verifies_per_node, confirms_per_node, verifies_per_domain, silence } = limits;
    let mut grid = Grid::new(["LIMIT", "#VALUE"]);
    grid.row(["verifies-per-node".into(), verifies_per_node.to_string().into()]);
    grid.row(["confirms-per-node".into(), confirms_per_node.to_string().into()]);
    for (label, max) in verifies_per_domain {
        grid.row([format!("verifies-per-domain {label}").into(), max.to_string().into()]);
    }
    grid.row(["silence".into(), silence.to_string().into()]);
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_not_given_stay_and_domains_can_be_lifted() {
        let rack = LabelKey::new("rack").expect("a name");
        let mut before = FleetLimits::default();
        before.verifies_per_domain.insert(rack, 8);
        let args = LimitsArgs {
            verifies_per_node: Some(2),
            confirms_per_node: None,
            domains: vec![domain("rack=none").expect("valid")],
            silence: None,
        };
        let after = args.applied_to(before);
        assert_eq!(after, FleetLimits { verifies_per_node: 2, ..FleetLimits::default() });
        assert!(domain("rack").is_err() && domain("rack=x").is_err());
    }
}
