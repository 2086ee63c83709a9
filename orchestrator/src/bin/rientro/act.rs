//! Decisions: first rehearsed and shown with their blast radius, then asked for, then made.

use std::io::{BufRead, IsTerminal, Write};

use rientro_types::{Receipt, Refusal, Verb};
use serde_json::json;

use crate::client::Client;
use crate::failure::Failure;
use crate::human::{count, plural};
use crate::output::note;
use crate::session::{Session, refused};

/// How a verb is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling {
    /// What would be done, with `{}` for the shards: `close {}`.
    pub(crate) verb: &'static str,
    /// What was done: `Closed {}`.
    pub(crate) done: &'static str,
    /// Consequences worth knowing before saying yes; may be empty.
    pub(crate) warning: &'static str,
    /// Whether to ask. Pausing does not: it is undone with a word, and seconds count.
    pub(crate) asks: bool,
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was made.
    Decided,
    /// The operator said no.
    Declined,
}

/// Rehearses, asks and decides. What would be is shown by `preview`, once the rehearsal has not refused it. Refusals are
/// told by `refuse`, so that a plan's problems can be shown in its text.
pub(crate) async fn decide(
    session: &Session,
    client: &mut Client,
    verb: Verb,
    telling: Telling,
    preview: &str,
    refuse: impl Fn(&Refusal) -> Failure,
) -> Result<Outcome, Failure> {
    let actor = session.actor()?;
    let rehearsed = client.act(&actor, verb.clone(), true).await?.map_err(|refusal| refuse(&refusal))?;
    if rehearsed.changes && !preview.is_empty() {
        note(preview);
    }
    if rehearsed.changes && !agreed(session, telling, &rehearsed)? {
        note("Nothing was done.");
        return Ok(Outcome::Declined);
    }
    let receipt = client.act(&actor, verb, false).await?.map_err(|refusal| refuse(&refusal))?;
    show(session, telling, &receipt)?;
    Ok(Outcome::Decided)
}

/// Tells what would be done, and asks where that is due. What changes nothing is not asked about.
fn agreed(session: &Session, telling: Telling, rehearsed: &Receipt) -> Result<bool, Failure> {
    note(format_args!("This would {}.", scope(telling.verb, rehearsed)));
    if !telling.warning.is_empty() {
        note(telling.warning);
    }
    Ok(!telling.asks || session.yes || confirmed()?)
}

/// [`decide`] for verbs without a text to point into.
pub(crate) async fn decide_plainly(
    session: &Session,
    client: &mut Client,
    verb: Verb,
    telling: Telling,
) -> Result<(), Failure> {
    decide_shown(session, client, verb, telling, "").await
}

/// [`decide_plainly`], with a preview.
pub(crate) async fn decide_shown(
    session: &Session,
    client: &mut Client,
    verb: Verb,
    telling: Telling,
    preview: &str,
) -> Result<(), Failure> {
    match decide(session, client, verb, telling, preview, refused).await? {
        Outcome::Decided => Ok(()),
        Outcome::Declined => Err(Failure::Unsound),
    }
}

fn confirmed() -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::Usage("there is no terminal to ask on; say --yes to go ahead".to_owned()));
    }
    let mut stderr = std::io::stderr().lock();
    let asked = write!(stderr, "Go ahead? [y/N] ").and_then(|()| stderr.flush());
    asked.map_err(|source| Failure::io("ask on the terminal", source))?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|source| Failure::io("read the answer", source))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What a verb touches, in words.
fn scope(verb: &str, receipt: &Receipt) -> String {
    let Receipt { changes: _, decided: _, shards, mailboxes, skipped } = receipt;
    let size = format!("{} with {}", plural(*shards, "shard"), plural(*mailboxes, "mailbox"));
    let text = verb.replace("{}", &size);
    match skipped {
        0 => text,
        1 => format!("{text}; 1 more matches and is left as it is"),
        more => format!("{text}; {} more match and are left as they are", count(*more)),
    }
}

fn show(session: &Session, telling: Telling, receipt: &Receipt) -> Result<(), Failure> {
    if session.out.is_json() {
        return session.out.json(&json!({
            "changed": receipt.changes,
            "decided": receipt.decided.map(rientro_types::Seq::raw),
            "shards": receipt.shards,
            "mailboxes": receipt.mailboxes,
            "skipped": receipt.skipped,
        }));
    }
    match receipt.decided {
        Some(seq) => {
            session.out.line(format_args!("{}: journal record {seq}.", scope(telling.done, receipt)))
        }
        None => session.out.line("It is so already: nothing had to change."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blast_radius_names_shards_mailboxes_and_what_is_left_out() {
        let receipt = Receipt { changes: true, decided: None, shards: 12, mailboxes: 9_812, skipped: 1 };
        assert_eq!(
            scope("close {}", &receipt),
            "close 12 shards with 9,812 mailboxes; 1 more matches and is left as it is"
        );
        assert_eq!(scope("change the limits", &Receipt::default()), "change the limits");
    }
}
