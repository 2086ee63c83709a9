//! A mailbox that no shard lists any more: where it was, until when, and what could be done.

use rientro_types::{CellTime, HeldReason, MailboxGone};
use rientro_wire::operator::MailboxAnswer;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::foreign::clean;
use crate::json;
use crate::session::Session;
use crate::steps::{self, NextStep};
use crate::table::Tone;
use crate::words;

/// Shows what is known of it.
pub(super) fn show(
    session: &Session,
    name: &str,
    answer: &MailboxAnswer,
    now: CellTime,
) -> Result<(), Failure> {
    if session.out.is_json() {
        let gone: Value = answer.gone.iter().map(json::mailbox_gone).collect();
        let mailbox = answer.mailbox.to_string();
        return session.out.json(&json!({ "mailbox": mailbox, "shards": [], "gone": gone }));
    }
    let state = Tone::Bad.paint("NOT LISTED", session.out.has_colour());
    session.out.line(format_args!("{} is {state} by any shard\n", clean(name)))?;
    for gone in &answer.gone {
        let row = |key: &str, value: &str| session.out.line(format_args!("  {key:9}  {}", clean(value)));
        let shard = &gone.shard.shard;
        row("was in", &format!("shard {} on node {}", shard.shard, shard.placement.node))?;
        row("listed", &format!("in the list told at {}", words::since(gone.listed, now)))?;
        row("missing", &format!("in the next, told when it changed: {}", words::since(gone.missed, now)))?;
        row("then", then(gone))?;
        row("shard is", &format!("{}: {}", shard.state().name(), words::why(&gone.shard)))?;
        row("id", &answer.mailbox.to_string())?;
        steps::print(session, &steps(gone))?;
    }
    Ok(())
}

fn then(gone: &MailboxGone) -> &'static str {
    if gone.served {
        "its shard was in service: it was deleted there, or moved"
    } else {
        "its shard was closed: nobody can have deleted it there"
    }
}

fn steps(gone: &MailboxGone) -> Vec<NextStep> {
    let node = gone.shard.shard.placement.node;
    let reason = gone.shard.shard.blocked.as_ref().map(|hold| &hold.reason);
    if matches!(reason, Some(HeldReason::MailboxesMissing { .. })) {
        return steps::of_shard(&gone.shard);
    }
    vec![(format!("rientro node show {node}"), "look there for what was moved away or deleted")]
}
