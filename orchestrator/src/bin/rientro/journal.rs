//! `rientro journal`: every decision, in order and chained.

use std::fs::{File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use rientro_orchestrator::journal::RedbOptions;
use rientro_orchestrator::{Restore, StateDir, StateDirError};
use rientro_types::{Advice, Digest, Epoch, Seq};
use rientro_wire::operator::{BackupEnd, BackupHeader, BackupPart, JournalCheck, TailedEntry};
use serde_json::json;

use crate::client::Client;
use crate::failure::Failure;
use crate::foreign::{clean, file_name};
use crate::human::{bytes, count, moment, plural};
use crate::json;
use crate::output::note;
use crate::record::{by, tell};
use crate::session::Session;

/// Who may read a copy of the journal: its owner, as the journal itself.
const FILE_MODE: u32 = 0o600;

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
        /// Go on with what is yet to be decided
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
        JournalCommand::Backup { file } => backup(session, &file).await,
        JournalCommand::Restore { file, state_dir, epoch_floor } => {
            let epoch_floor = epoch_floor.map(Epoch::from_raw);
            restore(session, &state_dir, &Restore { backup: file, epoch_floor }).await
        }
    }
}

async fn restore(session: &Session, state_dir: &Path, from: &Restore) -> Result<(), Failure> {
    let refused = |error: &StateDirError| Failure::advised(error.advice());
    let dir = StateDir::open(state_dir, RedbOptions::default(), false).map_err(|error| refused(&error))?;
    let restored = dir.restore(from).await.map_err(|error| refused(&error))?;
    if session.out.is_json() {
        return session.out.json(&json!({
            "state_dir": state_dir.display().to_string(),
            "above_epoch": restored.journal.fence.raw(),
            "has_key": restored.has_key,
        }));
    }
    session.out.line(format_args!(
        "Restored the journal of {}: the next leader begins a new life of the cell, above epoch {}.",
        file_name(state_dir),
        restored.journal.fence
    ))?;
    if restored.has_key {
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

async fn backup(session: &Session, path: &Path) -> Result<(), Failure> {
    if path.exists() {
        let what = format!("{} exists; a backup never overwrites a file", file_name(path));
        return Err(Failure::refused(what, "choose another name"));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut client = session.connect().await?;
    let copied = copy(&mut client, &partial).await;
    let (header, end) = match copied {
        Ok(copied) => copied,
        Err(failure) => {
            // What is not whole must not be taken for a backup; that it could not be removed changes nothing.
            drop(std::fs::remove_file(&partial));
            return Err(failure);
        }
    };
    std::fs::rename(&partial, path)
        .map_err(|source| Failure::io(format!("name the backup {}", file_name(path)), source))?;
    if session.out.is_json() {
        session.out.json(&json!({
            "file": path.display().to_string(),
            "cell": header.cell.as_str(),
            "incarnation": header.incarnation.raw(),
            "seq_next": header.seq_next.raw(),
            "chain": header.chain.to_string(),
            "bytes": end.bytes,
            "digest": end.digest.to_string(),
            "key_problem": end.key_problem.as_ref().map(json::advice),
        }))?;
        return if end.key_problem.is_none() { Ok(()) } else { Err(Failure::Unsound) };
    }
    let last = header.seq_next.raw().saturating_sub(1);
    session.out.line(format_args!(
        "Copied the journal of cell {} up to record {last} into {} ({}, {}).",
        header.cell,
        file_name(path),
        bytes(end.bytes),
        plural(end.bytes, "byte")
    ))?;
    match &end.key_problem {
        None => {
            note(
                "It does not hold the cell's mailbox.key: keep a copy of that beside it, from the orchestrator's state directory.",
            );
            Ok(())
        }
        Some(problem) => {
            unled("But NO CELL CAN BE LED FROM IT with the key that is there", problem);
            Err(Failure::Unsound)
        }
    }
}

/// Tells of a key with which a journal, though it is whole, is of no use.
fn unled(so: &str, Advice { what, next }: &Advice) {
    note(format_args!("{so}: {}", clean(what)));
    next.iter().for_each(|next| note(clean(next)));
}

/// Writes the copy and checks that it is whole.
async fn copy(client: &mut Client, path: &Path) -> Result<(BackupHeader, BackupEnd), Failure> {
    let mut parts = client.backup_journal().await?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|source| Failure::io(format!("create {}", file_name(path)), source))?;
    let mut header = None;
    let mut received = Received::default();
    while let Some(part) = parts.next::<BackupPart>().await? {
        match part {
            BackupPart::Header(begun) => {
                // It may begin anew.
                received = Received::default();
                file.set_len(0)
                    .and_then(|()| file.rewind())
                    .map_err(|source| Failure::io(format!("write {}", file_name(path)), source))?;
                header = Some(begun);
            }
            BackupPart::Chunk(chunk) => received.write(&mut file, &chunk, path)?,
            BackupPart::End(end) => {
                received.check(&end)?;
                file.sync_all()
                    .map_err(|source| Failure::io(format!("write {}", file_name(path)), source))?;
                let header = header.ok_or_else(|| incomplete("it has no beginning"))?;
                return Ok((header, end));
            }
        }
    }
    Err(incomplete("it broke off"))
}

#[derive(Default)]
struct Received {
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Received {
    fn write(&mut self, file: &mut File, chunk: &[u8], path: &Path) -> Result<(), Failure> {
        self.hasher.update(chunk);
        self.bytes += chunk.len() as u64;
        file.write_all(chunk).map_err(|source| Failure::io(format!("write {}", file_name(path)), source))
    }

    fn check(&self, end: &BackupEnd) -> Result<(), Failure> {
        let digest = Digest::from_raw(*self.hasher.finalize().as_bytes());
        if self.bytes == end.bytes && digest == end.digest {
            return Ok(());
        }
        Err(incomplete("what arrived is not what was sent"))
    }
}

fn incomplete(why: &str) -> Failure {
    Failure::refused(format!("the copy of the journal is not whole: {why}"), "take it again")
}
