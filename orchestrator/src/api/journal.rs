//! The journal: its entries, its check, and copies of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rientro_types::{Digest, Seq};
use rientro_wire::limits::BACKUP_CHUNK_BYTES_MAX;
use rientro_wire::operator::{BackupEnd, BackupHeader, BackupPart, JournalCheck, TailedEntry};
use rientro_wire::{codec, v1};
use tokio::io::AsyncReadExt;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Response, Status};

use super::{Answers, Operators, Sink};
use crate::driver::{Handle, NotLent, Shelf};
use crate::journal::{self, BackupContent, Journal, JournalError, PAGE_BYTES, SealedEntry, Verified};
use crate::state_dir::StateDirError;
use crate::status;

impl<J: Journal> Operators<J> {
    pub(super) fn tail(
        &self,
        from_seq: u64,
        follow: bool,
    ) -> Result<Response<Answers<v1::TailJournalResponse>>, Status> {
        let (shelf, handle) = (self.shelf.clone(), self.handle.clone());
        let mut changes = self.published.seq_changes();
        self.stream(|sink| async move {
            let mut seq = Seq::from_raw(from_seq.max(1));
            loop {
                changes.mark_unchanged();
                for entry in page(&shelf, &handle, seq).await? {
                    seq = entry.seq_next();
                    if sink.send(tailed(&entry)?).await.is_err() {
                        return Ok(());
                    }
                }
                if seq < *changes.borrow() {
                    continue;
                }
                if !follow || changes.changed().await.is_err() {
                    return Ok(());
                }
            }
        })
    }

    pub(super) async fn verify(&self) -> Result<v1::VerifyJournalResponse, Status> {
        let _place = self.whole_journal_place()?;
        let check = |journal: J| async move { journal::verify(&journal, inspect).await };
        let verified = self.shelf.with(check).await.map_err(|NotLent| self.handle.why_dropped())?;
        let verified = verified.map_err(|error| status::journal(&error))?;
        Ok(checked(verified, self.key_problem().await?).into())
    }

    /// What is wrong with the key file at present: it may have been replaced since the start.
    async fn key_problem(&self) -> Result<Option<String>, Status> {
        let Some(founded_with) = self.handle.ask(rientro_engine::Engine::mailbox_key).await? else {
            return Ok(None);
        };
        Ok(match self.state.check_key(founded_with) {
            Ok(true) => None,
            Ok(false) => Some(StateDirError::KeyMissing { path: self.state.key_path() }.to_string()),
            Err(problem) => Some(problem.to_string()),
        })
    }

    pub(super) async fn backup(&self) -> Result<Response<Answers<v1::BackupJournalResponse>>, Status> {
        let place = self.whole_journal_place()?;
        let view = self.handle.ask(rientro_engine::Engine::cell_view).await?;
        let view =
            view.ok_or_else(|| Status::unavailable("the cell is being founded; try again in a moment"))?;
        let copy = Copy(self.state.outgoing_backup(self.backups.fetch_add(1, Ordering::Relaxed)));
        let (shelf, handle) = (self.shelf.clone(), self.handle.clone());
        self.stream(|sink| async move {
            let _place = place;
            let path = copy.0.clone();
            let content = shelf.with(|journal| async move { journal::backup(&journal, &path).await }).await;
            let content = content.map_err(|NotLent| handle.why_dropped())?;
            let BackupContent { seq_next, chain, .. } = content.map_err(|error| status::journal(&error))?;
            let header = BackupHeader { cell: view.cell, incarnation: view.incarnation, seq_next, chain };
            if sink.send(BackupPart::Header(header)).await.is_ok() {
                send_copy(&sink, &copy.0).await?;
            }
            Ok(())
        })
    }

    fn whole_journal_place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.whole_journal).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted("the journal is being checked or copied already; try later")
        })
    }
}

/// A copy of the journal that is removed once it was sent.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "copy of the journal not removed");
        }
    }
}

async fn page<J: Journal>(shelf: &Shelf<J>, handle: &Handle, seq: Seq) -> Result<Vec<SealedEntry>, Status> {
    let read = shelf.with(|journal| async move {
        match journal.read(seq, PAGE_BYTES).await {
            Err(JournalError::Trimmed { .. }) => journal.read_archived(seq, PAGE_BYTES).await,
            page => page,
        }
    });
    let read = read.await.map_err(|NotLent| handle.why_dropped())?;
    read.map_err(|error| status::journal(&error))
}

fn tailed(sealed: &SealedEntry) -> Result<TailedEntry, Status> {
    let entry = codec::decode_entry(sealed.payload());
    let entry =
        entry.map_err(|error| Status::data_loss(format!("the entry at record {}: {error}", sealed.seq())))?;
    Ok(TailedEntry { entry, digest: sealed.digest() })
}

/// Whether an entry says what its seal says.
fn inspect(sealed: &SealedEntry) -> Result<(), String> {
    let entry = codec::decode_entry(sealed.payload()).map_err(|error| error.to_string())?;
    let says = (entry.seq, entry.seq_next(), entry.epoch, entry.previous);
    let sealed = (sealed.seq(), sealed.seq_next(), sealed.epoch(), sealed.previous());
    if says == sealed { Ok(()) } else { Err("the entry says other numbers than its seal".to_owned()) }
}

fn checked(verified: Verified, key_problem: Option<String>) -> JournalCheck {
    let Verified { head, entries, records, broken, archived: _, snapshot: _ } = verified;
    if let Some(journal::Break { seq, what }) = broken {
        return JournalCheck::Broken { entries, seq, problem: what };
    }
    let some = entries > 0;
    JournalCheck::Intact {
        entries,
        records,
        seq_first: Seq::from_raw(u64::from(some)),
        seq_last: Seq::from_raw(head.seq_next.raw() - 1),
        chain: head.chain,
        key_problem,
    }
}

async fn send_copy(sink: &Sink<v1::BackupJournalResponse>, path: &Path) -> Result<(), Status> {
    let failed = |error| Status::internal(format!("could not read the copy {}: {error}", path.display()));
    let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    loop {
        let mut chunk = Vec::with_capacity(BACKUP_CHUNK_BYTES_MAX);
        let wanted = BACKUP_CHUNK_BYTES_MAX as u64;
        (&mut file).take(wanted).read_to_end(&mut chunk).await.map_err(failed)?;
        if chunk.is_empty() {
            let digest = Digest::from_raw(*hasher.finalize().as_bytes());
            // The reader may have left.
            let _gone = sink.send(BackupPart::End(BackupEnd { bytes, digest })).await;
            return Ok(());
        }
        hasher.update(&chunk);
        bytes += chunk.len() as u64;
        if sink.send(BackupPart::Chunk(chunk)).await.is_err() {
            return Ok(());
        }
    }
}
