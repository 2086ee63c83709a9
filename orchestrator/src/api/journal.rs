//! The journal: its entries, its check, and copies of it.

use std::sync::Arc;

use rientro_types::{Advice, CellView, Digest, Seq};
use rientro_wire::limits::BACKUP_CHUNK_BYTES_MAX;
use rientro_wire::operator::{BackupEnd, BackupHeader, BackupPart, JournalCheck, TailedEntry};
use rientro_wire::{advised, codec, v1};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Response, Status};

use super::{Answers, Operators, Sink};
use crate::driver::{Handle, NotLent, Shelf};
use crate::journal::{self, BackupSink, Head, Journal, JournalError, PAGE_BYTES, SealedEntry, Verified};
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
    async fn key_problem(&self) -> Result<Option<Advice>, Status> {
        let Some(founded_with) = self.handle.ask(rientro_engine::Engine::mailbox_key).await? else {
            return Ok(None);
        };
        Ok(match self.state.check_key(founded_with) {
            Ok(true) => None,
            Ok(false) => Some(StateDirError::KeyMissing { path: self.state.key_path() }.advice()),
            Err(problem) => Some(problem.advice()),
        })
    }

    pub(super) async fn backup(&self) -> Result<Response<Answers<v1::BackupJournalResponse>>, Status> {
        let place = self.whole_journal_place()?;
        let view = self.handle.ask(rientro_engine::Engine::cell_view).await?;
        let view = view.ok_or_else(status::being_founded)?;
        let (shelf, handle) = (self.shelf.clone(), self.handle.clone());
        let key_problem = self.key_problem().await?;
        self.stream(|sink| async move {
            let _place = place;
            let send = |journal| async move { send_copy(&sink, &journal, &view, key_problem).await };
            let copy = shelf.with(send).await;
            match copy.map_err(|NotLent| handle.why_dropped())? {
                // The reader may have left.
                Ok(()) | Err(Ended::Gone) => Ok(()),
                Err(Ended::Journal(error)) => Err(status::journal(&error)),
            }
        })
    }

    fn whole_journal_place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.whole_journal).try_acquire_owned().map_err(|_| {
            advised(Code::ResourceExhausted, "the journal is being checked or copied already", "try later")
        })
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

fn checked(verified: Verified, key_problem: Option<Advice>) -> JournalCheck {
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

async fn send_copy<J: Journal>(
    sink: &Sink<v1::BackupJournalResponse>,
    journal: &J,
    of: &CellView,
    key_problem: Option<Advice>,
) -> Result<(), Ended> {
    let mut copy = Copy { sink, of, hasher: blake3::Hasher::new(), bytes: 0 };
    journal::backup(journal, &mut copy).await?;
    let digest = Digest::from_raw(*copy.hasher.finalize().as_bytes());
    copy.send(BackupPart::End(BackupEnd { bytes: copy.bytes, digest, key_problem })).await
}

/// A copy of the journal on its way to whoever asked for it.
struct Copy<'s> {
    sink: &'s Sink<v1::BackupJournalResponse>,
    of: &'s CellView,
    hasher: blake3::Hasher,
    bytes: u64,
}

/// What ended a copy.
enum Ended {
    /// The journal could not be read.
    Journal(JournalError),
    /// The reader has left.
    Gone,
}

impl From<JournalError> for Ended {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl Copy<'_> {
    async fn send(&self, part: BackupPart) -> Result<(), Ended> {
        self.sink.send(part).await.map_err(|_| Ended::Gone)
    }
}

impl BackupSink for Copy<'_> {
    type Error = Ended;

    async fn begin(&mut self, head: &Head) -> Result<(), Ended> {
        self.hasher.reset();
        self.bytes = 0;
        let CellView { cell, incarnation, .. } = *self.of;
        let header = BackupHeader { cell, incarnation, seq_next: head.seq_next, chain: head.chain };
        self.send(BackupPart::Header(header)).await
    }

    async fn put(&mut self, bytes: Vec<u8>) -> Result<(), Ended> {
        for chunk in bytes.chunks(BACKUP_CHUNK_BYTES_MAX) {
            self.hasher.update(chunk);
            self.bytes += chunk.len() as u64;
            self.send(BackupPart::Chunk(chunk.to_vec())).await?;
        }
        Ok(())
    }
}
