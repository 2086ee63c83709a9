//! `rientro`: what operators see of a cell and ask of it.
//!
//! One file per noun. Each command connects, asks through [`client`], and shows the answer as a table or as JSON; what is
//! shown is computed by pure functions ([`words`], [`table`], `watch::screen`), so that it can be tested without a cell.
//! Data goes to stdout, everything else to stderr. Every decision is rehearsed first ([`act`]) and shown with its blast
//! radius; it is made only after a yes, or with `--yes`.

mod act;
mod campaign;
mod cell;
mod client;
mod failure;
mod findings;
mod fleet;
mod foreign;
mod human;
mod journal;
mod json;
mod mailbox;
mod node;
mod output;
mod plan;
mod record;
mod report;
mod selector;
mod session;
mod shard;
mod steps;
mod table;
mod watch;
mod wave;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use failure::Failure;
use foreign::clean;
use output::{Output, note, note_json};
use session::{GlobalArgs, Session, Target};

/// Bring closed mailbox shards back, in verified waves
#[derive(Debug, Parser)]
#[command(name = "rientro", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    noun: Noun,
}

const AFTER_HELP: &str = "\
Exit codes:
  0    done, or everything is as it should be
  1    refused, failed, declined, or something is held
  2    the command line makes no sense, or there was no terminal to ask on
  3    the cell cannot be reached
  130  stopped with Ctrl-C

Data goes to stdout, everything else to stderr. NO_COLOR is respected. With
--output json a failure is the last line on stderr, `next` being null or what to do:
{\"error\": {\"code\": ..., \"what\": ..., \"next\": ...}}
Other lines may come before it: while the cell is in trouble {\"trouble\": ...},
whatever follows, and what a decision would do, in words.

Why is a mailbox still closed, and until when?   rientro mailbox show ADDRESS
What comes back, how fast, what is held?         rientro watch";

/// How the parser ends its complaints.
const MORE_HELP: &str = "For more information, try '--help'.";

#[derive(Debug, Subcommand)]
enum Noun {
    /// The cell: its state and its limits
    #[command(subcommand)]
    Cell(cell::CellCommand),
    /// All shards, summed up by node or by label
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    /// Storage nodes and whether they are heard
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Shards: the units that open and close
    #[command(subcommand)]
    Shard(shard::ShardCommand),
    /// One customer's mailbox: why is it closed, since when, until when
    #[command(subcommand)]
    Mailbox(mailbox::MailboxCommand),
    /// Plans, before they run
    #[command(subcommand)]
    Plan(plan::PlanCommand),
    /// Campaigns: runs of a plan
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Waves of a campaign
    #[command(subcommand)]
    Wave(wave::WaveCommand),
    /// What verification found
    #[command(subcommand)]
    Findings(findings::FindingsCommand),
    /// The journal: every decision, chained
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Watch a campaign live; the same as `campaign watch`
    Watch(watch::WatchArgs),
    /// Print completions for a shell
    Completions {
        /// Which
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let Cli { global, noun } = Cli::try_parse().unwrap_or_else(|error| misused(error));
    let session = Session::new(global);
    let (out, target) = (session.out, session.target);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return end(out, target, &Failure::io("start the runtime", source)),
    };
    match runtime.block_on(run(session, noun)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(out, target, &failure),
    }
}

fn end(out: Output, target: Target, failure: &Failure) -> ExitCode {
    if out.is_json() {
        failure.json(target).iter().for_each(note_json);
    } else {
        failure.told(target).into_iter().for_each(note);
    }
    failure.exit_code()
}

/// A command line that makes no sense, or asks for help. Which form is wanted is then known from its words alone.
fn misused(error: clap::Error) -> ! {
    let words: Vec<String> = std::env::args_os().map(|word| clean(&word.to_string_lossy())).collect();
    // The parser quotes what was typed, or pasted, as it is: it is asked again with that spelled out.
    let error = Cli::try_parse_from(&words).err().unwrap_or(error);
    let pair = |pair: &[String]| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == "json";
    let json = words.windows(2).any(pair)
        || words.iter().any(|word| matches!(word.as_str(), "-ojson" | "-o=json" | "--output=json"));
    if json && error.use_stderr() {
        let what = error.to_string();
        let what = what.trim_start_matches("error: ").trim_end();
        let what = what.strip_suffix(MORE_HELP).unwrap_or(what).trim_end();
        Failure::usage(what, MORE_HELP).json(Target::Default).iter().for_each(note_json);
        std::process::exit(error.exit_code());
    }
    error.exit()
}

async fn run(session: Session, noun: Noun) -> Result<(), Failure> {
    match noun {
        Noun::Cell(command) => cell::run(&session, command).await,
        Noun::Fleet(command) => fleet::run(&session, command).await,
        Noun::Node(command) => node::run(&session, command).await,
        Noun::Shard(command) => shard::run(&session, command).await,
        Noun::Mailbox(command) => mailbox::run(&session, command).await,
        Noun::Plan(command) => plan::run(&session, command).await,
        Noun::Campaign(command) => campaign::run(&session, command).await,
        Noun::Wave(command) => wave::run(&session, command).await,
        Noun::Findings(command) => findings::run(&session, command).await,
        Noun::Journal(command) => journal::run(&session, command).await,
        Noun::Watch(args) => watch::run(&session, &args).await,
        Noun::Completions { shell } => completions(&session, shell),
    }
}

fn completions(session: &Session, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rientro", &mut script);
    session.out.raw(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
