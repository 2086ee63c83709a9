//! `rientro shard`: the units that open and close.

use clap::{Args, Subcommand};
use rientro_types::{
    CellTime, HeldReason, NodeId, Selector, Service, ServiceSet, ShardId, ShardSnapshot, ShardState,
    ShardView, Verb,
};
use rientro_wire::operator::{ShardAnswer, ShardsQuery};
use serde_json::Value;

use crate::act::{Telling, decide_plainly};
use crate::failure::Failure;
use crate::foreign::clean;
use crate::human::{bytes, count, short_span, span};
use crate::json;
use crate::output::note;
use crate::selector::{SelectorArgs, known, reason};
use crate::session::{Session, now};
use crate::steps;
use crate::table::{Field, Grid, Tone};
use crate::words;

#[derive(Debug, Subcommand)]
pub(crate) enum ShardCommand {
    /// List shards, all of them unless narrowed
    List {
        #[command(flatten)]
        selector: SelectorArgs,
        /// Only shards that two nodes claim, in whatever state they are
        #[arg(long)]
        contested: bool,
        /// Only open shards that something is wrong with: their data is gone, or another volume is mounted
        #[arg(long)]
        impaired: bool,
        /// Most shards shown; 0 for all
        #[arg(long, default_value_t = LIST_MAX, value_name = "N")]
        max: u64,
    },
    /// Show everything about one shard, and what could be done
    Show {
        /// Its name
        shard: ShardId,
    },
    /// Close shards: no service is open, and none opens before they are verified again
    Close(Reasoned),
    /// Verify held, failed or closed shards of a campaign again
    Retry(Selected),
    /// Take held or failed shards as they are: they open without passing their verification
    Accept(Reasoned),
    /// Bring shards forward into the wave that opens next
    #[command(alias = "prioritise")]
    Prioritize(Selected),
    /// Declare closed shards to be in service already
    Adopt {
        #[command(flatten)]
        what: Reasoned,
        /// What is open: all, or names separated by commas
        #[arg(long, value_parser = services, value_name = "SERVICES")]
        services: ServiceSet,
    },
    /// Settle where shards are that two nodes claim, or whose volume is another one; or, by name, what is missing in one
    Settle {
        #[command(flatten)]
        what: Reasoned,
        /// The node that has them; those that it has no claim on stay as they are
        #[arg(long)]
        node: NodeId,
    },
}

/// Shards shown when nothing else is said: some screens full.
const LIST_MAX: u64 = 1_000;

#[derive(Args, Debug)]
pub(crate) struct Selected {
    #[command(flatten)]
    selector: SelectorArgs,
}

#[derive(Args, Debug)]
pub(crate) struct Reasoned {
    #[command(flatten)]
    selector: SelectorArgs,
    /// Why, for the journal
    #[arg(long, value_parser = reason)]
    reason: String,
}

fn services(text: &str) -> Result<ServiceSet, String> {
    if text == "all" {
        return Ok(ServiceSet::ALL);
    }
    text.split(',')
        .map(|name| name.trim().parse::<Service>().map_err(|error| format!("{name} {error}")))
        .collect()
}

const fn telling(verb: &'static str, done: &'static str, warning: &'static str) -> Telling {
    Telling { verb, done, warning, asks: true }
}

const CLOSE: Telling = telling(
    "close {}",
    "Closed {}",
    "Users of open mailboxes among them lose access; each shard is verified again before it reopens.",
);
const RETRY: Telling = telling("verify {} again", "Sent {} to be verified again", "");
const ACCEPT: Telling = telling(
    "accept {} as they are",
    "Accepted {} as they are",
    "They open although their verification did not pass; damaged mail stays damaged.",
);
const PRIORITIZE: Telling = telling("bring {} forward", "Brought {} forward", "");
const ADOPT: Telling = telling(
    "take {} as in service",
    "Took {} as in service",
    "Nothing verifies them; users see them as they are.",
);
const SETTLE: Telling = telling("settle {}", "Settled {}", "");

pub(crate) async fn run(session: &Session, command: ShardCommand) -> Result<(), Failure> {
    let (verb, telling) = match command {
        ShardCommand::List { selector, contested, impaired, max } => {
            return list(session, selector.selector()?, Only { contested, impaired }, max).await;
        }
        ShardCommand::Show { shard } => return show(session, shard).await,
        ShardCommand::Close(Reasoned { selector, reason }) => {
            (Verb::Close { selector: selector.selector()?, reason }, CLOSE)
        }
        ShardCommand::Retry(Selected { selector }) => (Verb::Retry { selector: selector.selector()? }, RETRY),
        ShardCommand::Accept(Reasoned { selector, reason }) => {
            (Verb::Accept { selector: selector.selector()?, reason }, ACCEPT)
        }
        ShardCommand::Prioritize(Selected { selector }) => {
            (Verb::Prioritise { selector: selector.selector()? }, PRIORITIZE)
        }
        ShardCommand::Adopt { what: Reasoned { selector, reason }, services } => {
            (Verb::Adopt { selector: selector.selector()?, services, reason }, ADOPT)
        }
        ShardCommand::Settle { what: Reasoned { selector, reason }, node } => {
            (Verb::Settle { selector: selector.selector()?, node, reason }, SETTLE)
        }
    };
    let mut client = session.connect().await?;
    decide_plainly(session, &mut client, verb, telling).await
}

/// Shards in a circumstance, of those that the cell selects.
#[derive(Clone, Copy, Debug)]
struct Only {
    contested: bool,
    impaired: bool,
}

impl Only {
    fn shows(self, view: &ShardView) -> bool {
        let impaired = view.shard.blocked.is_some() && view.shard.state() == ShardState::Open;
        (!self.contested || is_contested(view)) && (!self.impaired || impaired)
    }

    fn is_all(self) -> bool {
        !self.contested && !self.impaired
    }
}

async fn list(session: &Session, selector: Selector, only: Only, max: u64) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    known(&mut client, &selector).await?;
    // One more than is shown tells whether there are more. The cell does not select by circumstances: all are asked for, few stay.
    let asked = if max == 0 || !only.is_all() { 0 } else { max.saturating_add(1) };
    let mut shards = client.shards(ShardsQuery { selector, after: None, max: asked }).await?;
    shards.retain(|view| only.shows(view));
    let more = max > 0 && shards.len() as u64 > max;
    if more {
        shards.truncate(usize::try_from(max).unwrap_or(usize::MAX));
    }
    if session.out.is_json() {
        session.out.json(&shards.iter().map(json::shard).collect::<Value>())?;
    } else if shards.is_empty() {
        note("No shard matches.");
    } else {
        let now = now(&mut client).await?;
        session.out.grid(&shards_grid(&shards, now))?;
    }
    if more {
        note(format_args!("These are the first {}; --max 0 shows all.", count(max)));
    }
    Ok(())
}

fn is_contested(view: &ShardView) -> bool {
    let reason = view.shard.blocked.as_ref().map(|hold| &hold.reason);
    matches!(reason, Some(HeldReason::Contested { .. }))
}

/// Shards, one a line.
pub(crate) fn shards_grid(shards: &[ShardView], now: CellTime) -> Grid {
    let mut grid = Grid::new(["SHARD", "STATE", "FOR", "NODE", "#WAVE", "#MAILBOXES", "WHY"]);
    for view in shards {
        let shard = &view.shard;
        let state = shard.state();
        grid.row([
            shard.shard.to_string().into(),
            Field::toned(state.name(), Tone::of_shard(state)),
            short_span(now.since(shard.state_since())).into(),
            shard.placement.node.to_string().into(),
            shard.member.map_or_else(|| "-".to_owned(), |member| member.wave.to_string()).into(),
            count(shard.mailboxes).into(),
            summary(view).into(),
        ]);
    }
    grid
}

/// The most useful half sentence about a shard: why it does not go on, or what it waits for.
fn summary(view: &ShardView) -> String {
    use rientro_types::ShardState as S;
    match view.shard.state() {
        S::Held | S::Failed | S::Backoff | S::Closed | S::Open => words::why(view),
        S::Waiting | S::Verifying | S::Verified | S::Confirming | S::Opening => match &view.waiting_on {
            Some(on) => format!("waits for {}", words::waiting(on)),
            None => words::why(view),
        },
    }
}

async fn show(session: &Session, shard: ShardId) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    let answer = client.shard(shard).await?;
    if session.out.is_json() {
        return session.out.json(&json::shard_answer(&answer));
    }
    let view = &answer.shard;
    let now = now(&mut client).await?;
    let campaign = match view.shard.member {
        Some(member) => client.campaign(member.campaign).await.ok(),
        None => None,
    };
    session.out.grid(&shard_grid(&answer, &words::until(view, campaign.as_ref(), now), now))?;
    steps::print(session, &steps::of_shard(view))
}

fn shard_grid(answer: &ShardAnswer, until: &str, now: CellTime) -> Grid {
    let view = &answer.shard;
    let shard = &view.shard;
    let state = shard.state();
    let mut grid = Grid::new(["", ""]);
    let mut row = |name: &'static str, field: Field| grid.row([name.into(), field]);
    row("shard", shard.shard.to_string().into());
    row("state", Field::toned(state.name(), Tone::of_shard(state)));
    row("why", words::why(view).into());
    row("since", words::since(shard.state_since(), now).into());
    if let Some(beside) = shard.blocked.as_ref().filter(|_| shard.held_by().is_none()) {
        row("but since", words::since(beside.since, now).into());
    }
    if let Some(on) = words::waits_for(view) {
        row("waits for", on.into());
        row("until", until.to_owned().into());
    }
    if let Some(missing) = words::missing(answer) {
        row("missing", missing.into());
    }
    row("node", format!("{}, volume {}", shard.placement.node, shard.placement.volume).into());
    let size = words::size(shard).map_or_else(String::new, |size| format!(", {}", bytes(size)));
    row("size", format!("{} mailboxes{size}", count(shard.mailboxes)).into());
    row("open for", open_for(shard, now).into());
    if let Some(member) = shard.member {
        row("campaign", format!("{}, wave {}", member.campaign, member.wave).into());
    }
    if let Some(standing) = &shard.standing {
        let ago = span(now.since(standing.at));
        row(
            "verified",
            format!("{}, {ago} ago, try {}", standing.verification.verdict, standing.attempt).into(),
        );
        let kinds: Vec<_> =
            standing.verification.verdict.tally.kinds.iter().map(|kind| kind.code()).collect();
        if !kinds.is_empty() {
            row("findings", kinds.join(", ").into());
        }
    }
    if shard.failures > 0 {
        row("failed tries", count(shard.failures.into()).into());
    }
    if let Some(accepted) = &shard.accepted {
        row("accepted", format!("by {}: {}", clean(&accepted.by), clean(&accepted.reason)).into());
    }
    for (mailbox, exception) in &shard.exceptions {
        row("exception", format!("{mailbox} {}", words::exception(*exception)).into());
    }
    grid
}

/// What is open and since when; where the journal and the node disagree, what each of them says.
fn open_for(shard: &ShardSnapshot, now: CellTime) -> String {
    words::disagreement(shard).unwrap_or_else(|| {
        format!("{}, since {}", words::services(shard.services), words::since(shard.services_since, now))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_all_or_named() {
        assert_eq!(services("all"), Ok(ServiceSet::ALL));
        assert_eq!(services("imap, pop").map(|set| set.to_string()), Ok("imap,pop".to_owned()));
        assert!(services("imapp").is_err());
    }
}
