//! `rientro findings`: what verification found, fetched from the agents that keep it.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use rientro_types::{FindingKind, FindingKinds, LocatedFinding, Severity, ShardId};
use rientro_wire::operator::{FindingsAnswer, FindingsGap, FindingsQuery};

use crate::failure::Failure;
use crate::foreign::{clean, path};
use crate::human::{count, plural};
use crate::json;
use crate::output::note;
use crate::selector::{SelectorArgs, kind, known};
use crate::session::Session;
use crate::table::{Field, Grid, Tone};

#[derive(Debug, Subcommand)]
pub(crate) enum FindingsCommand {
    /// List findings. JSON is one object a line, as it comes
    List(ListArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    selector: SelectorArgs,
    /// Only this kind, or several: zero-block,nul-run
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    kinds: Vec<FindingKind>,
    /// Show addresses and paths of mailboxes; without it they stay on the nodes
    #[arg(long)]
    addresses: bool,
    /// Most findings shown; 0 for all
    #[arg(long, default_value_t = FINDINGS_MAX, value_name = "N")]
    max: u64,
}

/// Shards without their findings that are named in a failure for machines.
const MISSING_NAMED_MAX: usize = 4;
/// Shards without their findings that are told to people, a line each: a node that is away may have thousands.
const MISSING_TOLD_MAX: usize = 20;
/// Findings shown when nothing else is said: more are for a file.
const FINDINGS_MAX: u64 = 1_000;

pub(crate) async fn run(session: &Session, command: FindingsCommand) -> Result<(), Failure> {
    let FindingsCommand::List(args) = command;
    let mut kinds = FindingKinds::NONE;
    args.kinds.iter().for_each(|kind| kinds.insert(*kind));
    let query = FindingsQuery {
        selector: args.selector.selector()?,
        kinds,
        max: args.max,
        with_addresses: args.addresses,
    };
    let mut client = session.connect().await?;
    known(&mut client, &query.selector).await?;
    let mut list = List::new(session, query.selector.findings != FindingKinds::NONE);
    let mut answers = client.findings(query).await?;
    while let Some(answer) = answers.next::<FindingsAnswer>().await? {
        list.take(answer)?;
    }
    list.finish()
}

/// Findings on their way to stdout: at once as JSON, as one table at the end otherwise.
struct List<'a> {
    session: &'a Session,
    grid: Grid,
    /// What cannot be shown, a sentence a shard.
    missing: Vec<String>,
    /// Shards whose verification no longer counts.
    dropped: BTreeSet<ShardId>,
    /// The shards were selected by what was found in them.
    by_finding: bool,
    end: Option<(u64, u64)>,
}

impl<'a> List<'a> {
    fn new(session: &'a Session, by_finding: bool) -> Self {
        let grid = Grid::new(["SHARD", "KIND", "MAILBOX", "PATH", "DETAIL"]);
        Self { session, grid, missing: Vec::new(), dropped: BTreeSet::new(), by_finding, end: None }
    }

    fn take(&mut self, answer: FindingsAnswer) -> Result<(), Failure> {
        match answer {
            FindingsAnswer::Page { shard, node, attempt: _, findings, dropped }
                if self.session.out.is_json() =>
            {
                let line = |finding| json::finding(shard.as_str(), node.as_str(), dropped, finding);
                findings.iter().try_for_each(|finding| self.session.out.json_line(&line(finding)))?;
            }
            FindingsAnswer::Page { shard, node: _, attempt: _, findings, dropped } => {
                self.dropped.extend(dropped.then_some(shard));
                findings.iter().for_each(|finding| self.grid.row(row(shard.as_str(), finding)));
            }
            FindingsAnswer::Missing { shard, node, gap } => {
                let problem = gap_words(gap, node);
                let sentence = format!("the findings of shard {shard} cannot be shown: {problem}");
                if !self.session.out.is_json() && self.missing.len() < MISSING_TOLD_MAX {
                    note(format_args!("rientro: {sentence}"));
                }
                self.missing.push(sentence);
            }
            FindingsAnswer::End { findings_total, findings_shown } => {
                self.end = Some((findings_total, findings_shown));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        self.session.out.grid(&self.grid)?;
        let Some((total, shown)) = self.end else {
            return Err(Failure::refused("the list broke off before its end", "ask again"));
        };
        if !self.dropped.is_empty() {
            note(format_args!(
                "What is listed of {} no longer counts: closed or sent back since it was verified, a shard is verified again before it opens.",
                plural(self.dropped.len() as u64, "shard")
            ));
        }
        if !self.missing.is_empty() {
            return Err(self.incomplete());
        }
        if total == 0 && self.by_finding {
            note(
                "There are no findings in shards of which a verification that still counts found this. --finding does not select what was closed or sent back since: `rientro findings list --all --kind KIND` lists that too.",
            );
        } else if total == 0 {
            note(
                "There are no findings: nothing was found, nothing has been verified, or the nodes keep nothing of it (rientro shard list).",
            );
        } else if shown < total {
            note(format_args!("{} of {} findings are shown; --max 0 shows all.", count(shown), count(total)));
        }
        Ok(())
    }

    /// What is not there is never told as nothing found: people have read it as it came, machines get it in one line.
    fn incomplete(&self) -> Failure {
        if !self.session.out.is_json() {
            let more = self.missing.len().saturating_sub(MISSING_TOLD_MAX) as u64;
            if more > 0 {
                note(format_args!("rientro: nor can those of {}", plural(more, "more shard")));
            }
            return Failure::Unsound;
        }
        let named: Vec<&str> = self.missing.iter().take(MISSING_NAMED_MAX).map(String::as_str).collect();
        let more = self.missing.len() - named.len();
        let more = if more > 0 {
            format!("; and those of {}", plural(more as u64, "more shard"))
        } else {
            String::new()
        };
        Failure::Refused(format!("{}{more}", named.join("; ")).into())
    }
}

fn gap_words(gap: FindingsGap, node: rientro_types::NodeId) -> String {
    match gap {
        FindingsGap::NodeOffline => format!("node {node}, which keeps any that there are, is not connected"),
        FindingsGap::Forgotten => {
            format!("node {node} no longer keeps them; retry the shard to find them again")
        }
        FindingsGap::TimedOut => format!("node {node} did not answer in time"),
        FindingsGap::Altered => format!(
            "node {node} sent others than its verification found, so that those listed of it cannot be relied on; look at the state directory of its agent, and retry the shard"
        ),
    }
}

fn row(shard: &str, located: &LocatedFinding) -> Vec<Field> {
    let finding = &located.finding;
    let tone = match finding.kind.severity() {
        Severity::Note => Tone::Faint,
        Severity::Damage => Tone::Bad,
        Severity::Unreadable => Tone::Warn,
    };
    let mailbox = match (&located.address, &located.mailbox_id) {
        (Some(address), _) => path(address),
        (None, Some(id)) => id.to_string(),
        (None, None) => "(the shard)".to_owned(),
    };
    vec![
        shard.into(),
        Field::toned(finding.kind.code(), tone),
        mailbox.into(),
        path(&finding.path).into(),
        clean(&finding.detail).into(),
    ]
}
