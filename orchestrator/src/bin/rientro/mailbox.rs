//! `rientro mailbox`: why is it closed, since when, until when, and what could be done.

mod gone;

use clap::{ArgGroup, Args, Subcommand};
use rientro_types::{CampaignView, CellTime, Exception, MailboxId, MailboxView, ServiceSet, Verb};
use rientro_wire::operator::{MailboxAnswer, MailboxQuery};
use serde_json::{Value, json};

use crate::act::{Telling, decide_plainly};
use crate::client::Client;
use crate::failure::Failure;
use crate::foreign::clean;
use crate::human::span;
use crate::json;
use crate::selector::reason;
use crate::session::{Session, now};
use crate::steps::{self, NextStep};
use crate::table::Tone;
use crate::words;

#[derive(Debug, Subcommand)]
pub(crate) enum MailboxCommand {
    /// Say why a mailbox is closed, since when, until when, and what could be done
    Show {
        /// Its address as the provider writes it, or its id (mb- and 32 hexadecimal digits)
        mailbox: String,
    },
    /// Record that one mailbox is to differ from its shard; a gate is what enforces it, and this cell has none
    Except(ExceptArgs),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("how").required(true))]
pub(crate) struct ExceptArgs {
    /// Its address or its id
    mailbox: String,
    /// It is to stay closed when its shard opens
    #[arg(long, group = "how")]
    keep_closed: bool,
    /// It is to open with its shard, though it is damaged
    #[arg(long, group = "how")]
    accept: bool,
    /// It is to be like its shard again
    #[arg(long, group = "how")]
    lift: bool,
    /// Why, for the journal
    #[arg(long, value_parser = reason)]
    reason: String,
}

/// What an exception does not do by itself.
const UNENFORCED: &str =
    "The journal holds it and it is shown; only a gate enforces it, and no gate is registered.";

pub(crate) async fn run(session: &Session, command: MailboxCommand) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    match command {
        MailboxCommand::Show { mailbox } => show(session, &mut client, &mailbox).await,
        MailboxCommand::Except(args) => except(session, &mut client, args).await,
    }
}

async fn find(client: &mut Client, mailbox: &str) -> Result<MailboxAnswer, Failure> {
    let query = match mailbox.parse::<MailboxId>() {
        Ok(id) => MailboxQuery::Mailbox(id),
        Err(_) if mailbox.is_empty() => {
            return Err(Failure::Usage("an address has at least one letter".to_owned().into()));
        }
        Err(_) => MailboxQuery::Address(mailbox.as_bytes().to_vec()),
    };
    let answer = client.mailbox(query).await?;
    if answer.views.is_empty() && answer.gone.is_empty() {
        return Err(Failure::refused(
            format!("no shard lists the mailbox {} ({})", clean(mailbox), answer.mailbox),
            "Is the address spelled as the provider writes it? Has the node that holds it enrolled (rientro node list)?",
        ));
    }
    Ok(answer)
}

async fn except(session: &Session, client: &mut Client, args: ExceptArgs) -> Result<(), Failure> {
    let ExceptArgs { mailbox, keep_closed, accept, lift: _, reason } = args;
    let answer = find(client, &mailbox).await?;
    if answer.views.is_empty() {
        let next = format!("rientro mailbox show {} tells where it was", answer.mailbox);
        return Err(Failure::refused("no shard lists it any more", next));
    }
    let [view] = answer.views.as_slice() else {
        let shards: Vec<_> = answer.views.iter().map(|view| view.shard.shard.shard.to_string()).collect();
        let problem = format!("more than one shard lists it: {}", shards.join(", "));
        let next =
            format!("rientro shard show {} tells what is in question, and what can be done", shards[0]);
        return Err(Failure::refused(problem, next));
    };
    let exception = match (keep_closed, accept) {
        (true, _) => Some(Exception::Closed),
        (_, true) => Some(Exception::Accepted),
        (false, false) => None,
    };
    let (verb, done) = match exception {
        Some(Exception::Closed) => {
            ("record that this mailbox is to stay closed", "Recorded that this mailbox is to stay closed")
        }
        Some(Exception::Accepted) => (
            "record that this mailbox is accepted as it is",
            "Recorded that this mailbox is accepted as it is",
        ),
        None => ("lift the exception", "Lifted the exception"),
    };
    let warning = if exception.is_some() { UNENFORCED } else { "" };
    let decision = Verb::Except { shard: view.shard.shard.shard, mailbox: answer.mailbox, exception, reason };
    decide_plainly(session, client, decision, Telling { verb, done, warning, asks: true }).await
}

async fn show(session: &Session, client: &mut Client, mailbox: &str) -> Result<(), Failure> {
    let answer = find(client, mailbox).await?;
    let now = now(client).await?;
    if answer.views.is_empty() {
        return gone::show(session, mailbox, &answer, now);
    }
    let mut shown = Vec::new();
    for view in &answer.views {
        let campaign = match view.shard.shard.member {
            Some(member) => client.campaign(member.campaign).await.ok(),
            None => None,
        };
        shown.push((view, Story::of(view, campaign.as_ref(), now)));
    }
    if session.out.is_json() {
        let views: Value = shown.iter().map(|(view, story)| json::mailbox(view, &story.until)).collect();
        return session
            .out
            .json(&json!({ "mailbox": answer.mailbox.to_string(), "shards": views, "gone": [] }));
    }
    if shown.len() > 1 {
        session.out.line(format_args!(
            "{} shards list this mailbox: a volume shows up twice. All are shown.\n",
            shown.len()
        ))?;
    }
    for (at, (_, story)) in shown.iter().enumerate() {
        if at > 0 {
            session.out.line("")?;
        }
        session.out.raw(&story.text(&clean(mailbox), answer.mailbox, session.out.has_colour()))?;
        steps::print(session, &story.steps)?;
    }
    Ok(())
}

/// What is told about one mailbox.
struct Story {
    open: ServiceSet,
    since: String,
    state: String,
    in_doubt: Option<String>,
    why: String,
    until: String,
    waits_for: Option<String>,
    place: String,
    more: Vec<(&'static str, String)>,
    steps: Vec<NextStep>,
}

impl Story {
    fn of(view: &MailboxView, campaign: Option<&CampaignView>, now: CellTime) -> Self {
        let shard = &view.shard.shard;
        let mut more = Vec::new();
        let newcomer = view.listed_after_verification();
        if let Some(standing) = &shard.standing {
            let ago = span(now.since(standing.at));
            let verified = format!("{}, {ago} ago", standing.verification.verdict);
            more.push(match newcomer {
                None => ("verified", verified),
                Some(listed) => {
                    let listed = words::since(listed, now);
                    ("verified", format!("its shard, before it was listed at {listed}: {verified}"))
                }
            });
            if standing.damaged.contains(&view.mailbox) {
                more.push(("damage", "this mailbox is one of those with damage".to_owned()));
            }
        }
        if let Some(campaign) = campaign {
            let wave = shard.member.map(|member| member.wave.to_string()).unwrap_or_default();
            let state = words::campaign_state(&campaign.state);
            more.push(("campaign", format!("{}, wave {wave}; {state}", campaign.campaign)));
        }
        if let Some(exception) = view.exception {
            more.push(("exception", format!("{}. {UNENFORCED}", words::exception(exception))));
        }
        Self {
            open: view.open,
            since: words::since(view.since, now),
            state: format!("{} since {}", shard.state().name(), words::since(shard.state_since(), now)),
            in_doubt: words::disagreement(shard),
            why: match newcomer {
                None => words::why(&view.shard),
                Some(_) => format!("{}; its shard: {}", not_covered(view.open), words::why(&view.shard)),
            },
            until: words::until(&view.shard, campaign, now),
            waits_for: words::waits_for(&view.shard),
            place: format!("{} on node {}", shard.shard, shard.placement.node),
            more,
            steps: steps(view),
        }
    }

    fn text(&self, name: &str, id: MailboxId, colour: bool) -> String {
        let (state, tone) = match self.open {
            _ if self.in_doubt.is_some() => ("IN DOUBT".to_owned(), Tone::Bad),
            ServiceSet::NONE => ("CLOSED".to_owned(), Tone::Bad),
            ServiceSet::ALL => ("OPEN".to_owned(), Tone::Good),
            some => (format!("OPEN for {}", words::services(some)), Tone::Warn),
        };
        let mut text = format!("{name} is {}\n\n", tone.paint(&state, colour));
        let mut line = |key: &str, value: &str| text.push_str(&format!("  {key:9}  {}\n", clean(value)));
        if self.in_doubt.is_none() {
            line("since", &self.since);
        }
        line("why", self.in_doubt.as_ref().unwrap_or(&self.why));
        if self.open != ServiceSet::ALL || self.in_doubt.is_some() {
            line("until", &self.until);
        }
        if let Some(on) = &self.waits_for {
            line("waits for", on);
        }
        line("shard", &self.place);
        line("state", &self.state);
        self.more.iter().for_each(|(key, value)| line(key, value));
        line("id", &id.to_string());
        text
    }
}

/// What is known of a mailbox that came into the list after its shard was verified. Before a shard opens it is compared with
/// what its verification read, and what differs is verified again; what comes into an open shard nobody has verified.
const fn not_covered(open: ServiceSet) -> &'static str {
    if open.is_empty() {
        "it came into the list after its shard was verified, so nothing says that it was read; if it was not, the shard is \
         verified again before it opens"
    } else {
        "it came into the list after its shard was verified, so nothing says that it was read"
    }
}

fn steps(view: &MailboxView) -> Vec<NextStep> {
    let mut steps = steps::of_shard(&view.shard);
    if view.exception.is_some() {
        let command = format!("rientro mailbox except {} --lift --reason '...'", view.mailbox);
        steps.push((command, "let it be like its shard again"));
    }
    steps
}
