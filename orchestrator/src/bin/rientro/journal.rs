//! `rientro journal`: every decision, in order and chained.

mod backup;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use rientro_orchestrator::journal::RedbOptions;
use rientro_orchestrator::{Restore, StateDir, StateDirError, life_floor};
use rientro_types::{Advice, Epoch, Incarnation, Seq};
use rientro_wire::operator::{JournalCheck, TailedEntry};
use serde_json::json;

use crate::client::Client;
use crate::failure::Failure;
use crate::foreign::{clean, file_name};
use crate::human::{count, moment};
use crate::json;
use crate::output::note;
use crate::record::{by, tell};
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Read the whole journal and check its chain; exit code 1 when it is broken
    Verify,
    /// Show decisions. JSON is one object a line, as it comes
    Tail {
        /// From this record on
        #[arg(long, value_name = "RECORD", conflicts_with = "last")]
        from: Option<u64>,
        /// The last so many records; 0 for all that are kept
        #[arg(long, default_value_t = TAIL_RECORDS, value_name = "N")]
        last: u64,
        /// Go on with what is yet to be decided, until an orchestrator that is not heard for some seconds ends it with exit code 3:
        /// it does not wait for one to return, as `rientro watch` does
        #[arg(long, short)]
        follow: bool,
    },
    /// Copy the journal into a file, while the cell runs; the copy is checked before the file gets its name
    Backup {
        /// The file; it must not exist
        file: PathBuf,
    },
    /// Make a state directory's journal from a backup, on this machine, while no orchestrator runs there
    ///
    /// The cell begins a new life: agents take it as newer than anything before, and what they serve that the backup does
    /// not know of is held for a person to decide. Put the cell's mailbox.key into the directory first, from the old directory or
    /// from where it is kept with the backups: another one is refused.
    Restore {
        /// The backup file
        file: PathBuf,
        /// The orchestrator's state directory; it must hold no journal
        #[arg(long, value_name = "DIR")]
        state_dir: PathBuf,
        /// The highest epoch that any agent has seen, if it is known to be above the backup's
        #[arg(long, value_name = "N")]
        epoch_floor: Option<u64>,
        /// The newest life of the cell that any agent has met. The life that begins is numbered by the clock; where that was set back
        /// since, it must be told what to be above
        #[arg(long, value_name = "LIFE", value_parser = life_floor)]
        life_floor: Option<Incarnation>,
    },
}

/// Records shown when nothing else is said: one screen.
const TAIL_RECORDS: u64 = 20;

pub(crate) async fn run(session: &Session, command: JournalCommand) -> Result<(), Failure> {
    match command {
        JournalCommand::Verify => verify(session).await,
        JournalCommand::Tail { from, last, follow } => {
            let mut client = session.connect().await?;
            let from = first(&mut client, from, last).await?;
            tokio::select! {
                // Cancel-safe: what was shown stays shown, and nothing else was begun.
                done = tail(session, &mut client, from, follow) => done,
                // Cancel-safe: a signal that is not waited for keeps its default.
                _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
            }
        }
        JournalCommand::Backup { file } => tokio::select! {
            // Cancel-safe: a copy that is not whole is removed.
            done = backup::run(session, &file) => done,
            // Cancel-safe: as above.
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
        },
        JournalCommand::Restore { file, state_dir, epoch_floor, life_floor } => {
            let epoch_floor = epoch_floor.map(Epoch::from_raw);
            restore(session, &state_dir, &Restore { backup: file, epoch_floor, life_floor }).await
        }
    }
}

async fn restore(session: &Session, state_dir: &Path, from: &Restore) -> Result<(), Failure> {
    let refused = |error: &StateDirError| Failure::advised(error.advice());
    let dir = StateDir::open(state_dir, RedbOptions::default(), None).map_err(|error| refused(&error))?;
    let restored = dir.restore(from).await.map_err(|error| refused(&error))?;
    tell_restored(session, state_dir, restored.journal.fence, restored.has_key).map_err(|failure| {
        failure.having(|| format!("The journal was restored, in {}: go on with that.", file_name(state_dir)))
    })
}

fn tell_restored(session: &Session, state_dir: &Path, fence: Epoch, has_key: bool) -> Result<(), Failure> {
    if session.out.is_json() {
        return session.out.json(&json!({
            "state_dir": state_dir.display().to_string(),
            "above_epoch": fence.raw(),
            "has_key": has_key,
        }));
    }
    session.out.line(format_args!(
        "Restored the journal of {}: the next leader begins a new life of the cell, above epoch {}.",
        file_name(state_dir),
        fence
    ))?;
    if has_key {
        note("The mailbox.key in it is the one that the cell was founded with.");
    } else {
        note(format_args!(
            "Put the old state directory's mailbox.key into {} first: a backup does not hold it, mailboxes are known by it, and with \
             another one the orchestrator does not start.",
            file_name(state_dir)
        ));
    }
    note("Start rientro-orchestrator; then look at what is held: rientro shard list --state held");
    Ok(())
}

async fn verify(session: &Session) -> Result<(), Failure> {
    let check = session.connect().await?.verify_journal().await?;
    let sound = matches!(check, JournalCheck::Intact { key_problem: None, .. });
    match &check {
        JournalCheck::Intact { entries, records, seq_first, seq_last, chain, key_problem }
            if session.out.is_json() =>
        {
            session.out.json(&json!({
                "intact": true,
                "entries": entries,
                "records": records,
                "seq_first": seq_first.raw(),
                "seq_last": seq_last.raw(),
                "chain": chain.to_string(),
                "key_problem": key_problem.as_ref().map(json::advice),
            }))?;
        }
        JournalCheck::Broken { entries, seq, problem } if session.out.is_json() => {
            session.out.json(&json!({
                "intact": false, "entries": entries, "seq": seq.raw(), "problem": problem,
            }))?;
        }
        JournalCheck::Intact { entries, records, seq_first, seq_last, chain, key_problem } => {
            session.out.line(format_args!(
                "The journal is intact: {} records {seq_first} to {seq_last} in {} entries, chain {chain}.",
                count(*records),
                count(*entries)
            ))?;
            if let Some(problem) = key_problem {
                unled("But no later start would lead from it", problem);
            }
        }
        JournalCheck::Broken { entries, seq, problem } => {
            session.out.line(format_args!(
                "The journal is BROKEN at record {seq}: {}\n{} entries before it are right.",
                clean(problem),
                count(*entries)
            ))?;
            note("Restore the newest backup that verifies; nothing is repaired in place.");
        }
    }
    if sound { Ok(()) } else { Err(Failure::Unsound) }
}

async fn first(client: &mut Client, from: Option<u64>, last: u64) -> Result<Seq, Failure> {
    match (from, last) {
        (Some(from), _) => Ok(Seq::from_raw(from)),
        (None, 0) => Ok(Seq::from_raw(0)),
        (None, last) => {
            let next = client.cell().await?.cell.seq_next.raw();
            Ok(Seq::from_raw(next.saturating_sub(last).max(1)))
        }
    }
}

async fn tail(session: &Session, client: &mut Client, from: Seq, follow: bool) -> Result<(), Failure> {
    let mut entries = client.tail(from, follow).await?;
    while let Some(tailed) = entries.next::<TailedEntry>().await? {
        show(session, &tailed, from)?;
    }
    Ok(())
}

/// The records of one entry, from `from` on.
fn show(session: &Session, tailed: &TailedEntry, from: Seq) -> Result<(), Failure> {
    let entry = &tailed.entry;
    let mut seq = entry.seq;
    for decision in &entry.decisions {
        if seq >= from && session.out.is_json() {
            session.out.json_line(&json::decision(seq, entry.at, decision))?;
        } else if seq >= from {
            let told = tell(&decision.record);
            let who = by(&decision.actor);
            session.out.line(format_args!("{seq:>8}  {}  {}{who}", moment(entry.at), told.sentence))?;
        }
        seq = seq.next();
    }
    Ok(())
}

/// Tells of a key with which a journal, though it is whole, is of no use.
fn unled(so: &str, Advice { what, next }: &Advice) {
    note(format_args!("{so}: {}", clean(what)));
    next.iter().for_each(|next| note(clean(next)));
}
