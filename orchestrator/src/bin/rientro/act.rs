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
    /// It was so already.
    Unchanged,
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
    show(session, telling, &receipt).map_err(|failure| failure.having(|| made(&receipt)))?;
    Ok(if receipt.changes { Outcome::Decided } else { Outcome::Unchanged })
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
        Outcome::Decided | Outcome::Unchanged => Ok(()),
        Outcome::Declined => Err(Failure::Unsound),
    }
}

fn confirmed() -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage("there is no terminal to ask on", "say --yes to go ahead"));
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
    let text = verb.replace("{}", &size(receipt.shards, receipt.mailboxes));
    std::iter::once(text).chain(clauses(receipt)).collect::<Vec<_>>().join("; ")
}

fn size(shards: u64, mailboxes: u64) -> String {
    match shards {
        0 => "no shard".to_owned(),
        _ => format!("{} with {}", plural(shards, "shard"), plural(mailboxes, "mailbox")),
    }
}

/// What else comes of it, in words that are right before and after.
fn clauses(receipt: &Receipt) -> Vec<String> {
    let mut clauses = Vec::new();
    if receipt.shards_released > 0 {
        let leaving = size(receipt.shards_released, receipt.mailboxes_released);
        let closed = match receipt.shards_closed {
            0 => "none of them closed by it".to_owned(),
            closed => format!("{} of them closed, their verification discarded", count(closed)),
        };
        clauses.push(format!("out of the campaign: {leaving}, {closed}"));
    }
    if receipt.shards_passing > 0 {
        let passing = size(receipt.shards_passing, receipt.mailboxes_passing);
        clauses.push(format!("held and let through by the plan now: {passing}"));
    }
    if receipt.shards_failing > 0 {
        let failing = size(receipt.shards_failing, receipt.mailboxes_failing);
        clauses.push(format!("on the way and held by the plan now: {failing}"));
    }
    if receipt.mailboxes_forgiven > 0 {
        let lost = plural(receipt.mailboxes_forgiven, "mailbox");
        clauses.push(format!("forgiven: {lost} lost so far, for the error budget of their wave"));
    }
    if receipt.wave_shards > 0 {
        let wave = size(receipt.wave_shards, receipt.wave_mailboxes);
        clauses.push(format!("the wave they go to then has {wave}"));
    }
    if receipt.shards_beside > 0 {
        let kinds: Vec<_> = receipt.kinds_beside.iter().map(|kind| kind.code()).collect();
        clauses.push(format!(
            "with more found in {} of them: {}",
            count(receipt.shards_beside),
            kinds.join(", ")
        ));
    }
    if receipt.unread > 0 {
        clauses.push(format!("{} of them never read to the end", count(receipt.unread)));
    }
    clauses.extend(settled(receipt));
    match receipt.capped {
        0 => {}
        1 => clauses.push("1 more stays in its wave, as waves.domain_caps asks".to_owned()),
        more => clauses.push(format!("{} more stay in their waves, as waves.domain_caps asks", count(more))),
    }
    match receipt.skipped - receipt.by_name.min(receipt.skipped) {
        0 => {}
        1 => clauses.push("1 more matches and is left as it is".to_owned()),
        more => clauses.push(format!("{} more match and are left as they are", count(more))),
    }
    clauses
}

/// What settling comes to, each kind of it where there is any.
fn settled(receipt: &Receipt) -> Vec<String> {
    let mut clauses = Vec::new();
    match receipt.claims_ended {
        0 => {}
        1 => clauses.push("the other claim ends, until the shard is shown there anew".to_owned()),
        more => {
            clauses.push(format!("{} other claims end, until the shards are shown there anew", count(more)));
        }
    }
    if receipt.volumes_changed > 0 {
        let shards = plural(receipt.volumes_changed, "shard");
        clauses.push(format!("{shards} on another volume than before: closed, to be verified again"));
    }
    if receipt.mailboxes_given_up > 0 {
        let mailboxes = plural(receipt.mailboxes_given_up, "mailbox");
        clauses.push(format!("{mailboxes} known before and not there, taken as deleted"));
    }
    if receipt.by_name > 0 {
        let shards = plural(receipt.by_name, "shard");
        clauses.push(format!("{shards} left as lacking mailboxes, which is settled by name only"));
    }
    clauses
}

/// What was done, for whom no more can be shown.
fn made(receipt: &Receipt) -> String {
    match receipt.decided {
        Some(seq) => format!(
            "The decision was made, as journal record {seq}: look at `rientro journal tail` before you try again."
        ),
        None => "It was so already: nothing had to change.".to_owned(),
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
            "shards_released": receipt.shards_released,
            "mailboxes_released": receipt.mailboxes_released,
            "shards_closed": receipt.shards_closed,
            "mailboxes_forgiven": receipt.mailboxes_forgiven,
            "capped": receipt.capped,
            "wave_shards": receipt.wave_shards,
            "wave_mailboxes": receipt.wave_mailboxes,
            "shards_beside": receipt.shards_beside,
            "claims_ended": receipt.claims_ended,
            "volumes_changed": receipt.volumes_changed,
            "mailboxes_given_up": receipt.mailboxes_given_up,
            "by_name": receipt.by_name,
            "unread": receipt.unread,
            "shards_passing": receipt.shards_passing,
            "mailboxes_passing": receipt.mailboxes_passing,
            "shards_failing": receipt.shards_failing,
            "mailboxes_failing": receipt.mailboxes_failing,
            "kinds_beside": receipt.kinds_beside.iter().map(|kind| kind.code()).collect::<Vec<_>>(),
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
        let receipt =
            Receipt { changes: true, shards: 12, mailboxes: 9_812, skipped: 1, ..Receipt::default() };
        assert_eq!(
            scope("close {}", &receipt),
            "close 12 shards with 9,812 mailboxes; 1 more matches and is left as it is"
        );
        assert_eq!(scope("change the limits", &Receipt::default()), "change the limits");
    }

    #[test]
    fn what_is_taken_away_forgiven_or_kept_back_is_said() {
        let none = Receipt::default();
        let revised = Receipt { shards_released: 13, mailboxes_released: 52, shards_closed: 12, ..none };
        assert_eq!(
            scope("cut new waves of {}", &revised),
            "cut new waves of no shard; out of the campaign: 13 shards with 52 mailboxes, 12 of them closed, their verification discarded"
        );
        let brought =
            Receipt { shards: 1, mailboxes: 4, capped: 3, wave_shards: 5, wave_mailboxes: 20, ..none };
        assert_eq!(
            scope("bring {} forward", &brought),
            "bring 1 shard with 4 mailboxes forward; the wave they go to then has 5 shards with 20 mailboxes; 3 more stay in their waves, as waves.domain_caps asks"
        );
        let accepted = Receipt { shards: 3, mailboxes: 12, unread: 2, ..none };
        assert_eq!(
            scope("accept {} as they are", &accepted),
            "accept 3 shards with 12 mailboxes as they are; 2 of them never read to the end"
        );
        let promoted = Receipt { shards: 2, mailboxes: 8, mailboxes_forgiven: 4, ..none };
        assert_eq!(
            scope("let a wave of {} pass", &promoted),
            "let a wave of 2 shards with 8 mailboxes pass; forgiven: 4 mailboxes lost so far, for the error budget of their wave"
        );
    }
}
