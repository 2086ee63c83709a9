//! The embedded journal: one redb file with an exclusive lock, and its archive beside it.
//!
//! One entry is one value and one commit that is synced before it is acknowledged. After any error of the storage the
//! journal is *poisoned*: nothing more is read or written through it, and a sync that failed is never tried again. The
//! caller drops every handle, opens the file again and replays; what was acknowledged is there, and what failed may be.
//!
//! An append is refused with [`JournalError::Full`] while the disk has less than [`RedbOptions::reserve_bytes`] left. So the
//! common case of a full disk is met before anything is written, and the file can still be opened, repaired and read.

mod build;
mod errors;
mod snapshots;
mod store;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rientro_types::{Digest, Epoch, Seq, SnapshotPoint};

use self::store::Store;
use super::{
    Append, Head, Journal, JournalError, Restored, SealedEntry, SnapshotDraft, SnapshotHead, Trimmed,
};

/// Settings of the embedded journal.
#[derive(Clone, Copy, Debug)]
pub struct RedbOptions {
    /// Bytes of the file kept in memory.
    pub cache_bytes: usize,
    /// Nothing is written while the disk has less than this left, in bytes; zero asks nothing of the disk.
    pub reserve_bytes: u64,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 16 << 20, reserve_bytes: 16 << 20 }
    }
}

/// A handle on an embedded journal. The file is closed and unlocked when the last handle is dropped.
#[derive(Debug)]
pub struct RedbJournal {
    store: Arc<Store>,
    writer: Option<Epoch>,
}

impl RedbJournal {
    /// Makes a new, empty journal. A crash leaves either none or a whole one.
    ///
    /// # Errors
    /// [`JournalError::Exists`] when something is at the path or at its archive; storage errors.
    pub async fn create(path: &Path, options: RedbOptions) -> Result<Self, JournalError> {
        let path = path.to_owned();
        Self::opened(path.clone(), move || build::create(&path, options)).await
    }

    /// Opens an existing journal and checks every page of it.
    ///
    /// # Errors
    /// [`JournalError::Missing`], [`JournalError::Locked`] when another process or handle has it open,
    /// [`JournalError::Corrupt`] when it is damaged, [`JournalError::Format`] when another version wrote it,
    /// [`JournalError::Full`] when a repair after a crash needs more room; other storage errors.
    pub async fn open(path: &Path, options: RedbOptions) -> Result<Self, JournalError> {
        let path = path.to_owned();
        Self::opened(path.clone(), move || Store::open(&path, options)).await
    }

    /// Makes a new journal at `target` from a backup file, after checking the whole of it. Its fence is the highest epoch the
    /// backup met, or `epoch_floor` when that is higher: pass the highest epoch that any agent or gate has seen. The
    /// caller then becomes writer above the fence and appends the record that begins the cell's next life.
    ///
    /// # Errors
    /// [`JournalError::Exists`] when something is at the target or at its archive, [`JournalError::Corrupt`] or
    /// [`JournalError::Broken`] when the backup is damaged or cut short; storage errors.
    pub async fn restore(
        backup: &Path,
        target: &Path,
        epoch_floor: Option<Epoch>,
    ) -> Result<Restored, JournalError> {
        let (backup, target) = (backup.to_owned(), target.to_owned());
        blocking(target.clone(), move || build::restore(&backup, &target, epoch_floor)).await
    }

    /// Opens the journal that `backend` holds, as if it were the file at `path`.
    ///
    /// # Errors
    /// As [`RedbJournal::open`].
    #[cfg(any(test, feature = "testing"))]
    pub async fn open_on(
        path: &Path,
        backend: impl ::redb::StorageBackend,
        options: RedbOptions,
    ) -> Result<Self, JournalError> {
        let path = path.to_owned();
        Self::opened(path.clone(), move || Store::on_backend(&path, backend, options)).await
    }

    /// Where the journal is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    async fn opened(
        path: PathBuf,
        open: impl FnOnce() -> Result<Store, JournalError> + Send + 'static,
    ) -> Result<Self, JournalError> {
        let store = match blocking(path, open).await {
            Err(JournalError::Poisoned { path, why: what }) => Err(JournalError::Corrupt { path, what }),
            opened => opened,
        }?;
        Ok(Self { store: Arc::new(store), writer: None })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let store = Arc::clone(&self.store);
        let done = blocking(self.path().to_owned(), move || work(&store)).await;
        if let Err(JournalError::Poisoned { why, .. }) = &done {
            self.store.poison(why.clone());
        }
        done
    }
}

/// Runs `work` where it may block. A panic in there means that the file's content made no sense to redb.
async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(JournalError::Poisoned { path, why: format!("an operation ended abnormally: {e}") }),
    }
}

impl Journal for RedbJournal {
    fn handle(&self) -> Self {
        Self { store: Arc::clone(&self.store), writer: None }
    }

    async fn become_writer(&mut self, epoch: Epoch) -> Result<Head, JournalError> {
        let head = self.run(move |s| s.become_writer(epoch)).await?;
        self.writer = Some(epoch);
        Ok(head)
    }

    async fn append(&mut self, entry: SealedEntry) -> Append {
        let writer = self.writer;
        match self.run(move |s| s.append(writer, &entry)).await {
            Ok(()) => Append::Durable,
            Err(JournalError::Fenced { by, .. }) => Append::Fenced { by },
            Err(e) => Append::Failed(e),
        }
    }

    async fn head(&self) -> Result<Head, JournalError> {
        self.run(Store::head).await
    }

    async fn read(&self, from: Seq, bytes_max: usize) -> Result<Vec<SealedEntry>, JournalError> {
        self.run(move |s| s.read(from, bytes_max)).await
    }

    async fn read_archived(&self, from: Seq, bytes_max: usize) -> Result<Vec<SealedEntry>, JournalError> {
        self.run(move |s| s.archive().read(from, bytes_max)).await
    }

    async fn snapshot_begin(&self, point: SnapshotPoint) -> Result<SnapshotDraft, JournalError> {
        self.run(move |s| s.snapshot_begin(point)).await
    }

    async fn snapshot_add(&self, draft: &mut SnapshotDraft, chunk: Bytes) -> Result<(), JournalError> {
        let digest = draft.digest_after(&chunk)?;
        let (head, bytes) = (*draft.head(), chunk.len() as u64);
        self.run(move |s| s.snapshot_add(&head, digest, &chunk)).await?;
        draft.advance(digest, bytes);
        Ok(())
    }

    async fn snapshot_finish(&self, draft: SnapshotDraft) -> Result<SnapshotHead, JournalError> {
        let head = *draft.head();
        self.run(move |s| s.snapshot_finish(head)).await
    }

    async fn snapshot(&self) -> Result<Option<SnapshotHead>, JournalError> {
        self.run(Store::snapshot).await
    }

    async fn snapshot_chunk(
        &self,
        snapshot: &SnapshotHead,
        index: u32,
    ) -> Result<(Digest, Bytes), JournalError> {
        let id = snapshot.id;
        self.run(move |s| s.snapshot_chunk(id, index)).await
    }

    async fn trim(&self, before: Seq) -> Result<Trimmed, JournalError> {
        self.run(move |s| s.trim(before)).await
    }
}
