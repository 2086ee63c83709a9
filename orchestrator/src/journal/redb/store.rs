//! The blocking half: opening, appending, reading and trimming.
//!
//! Only `Store::storage` turns an error of redb into one of the journal, and it poisons the store on the way: no path
//! leads from a failed read, write or sync back to the same open file.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use ::redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, StorageBackend, WriteTransaction,
};
use rientro_types::{Epoch, Seq};

use super::RedbOptions;
use super::errors::{self, corrupt, file_backend, opening};
use super::tables::{BASE, ENTRIES, FACTS, FENCE, base_to_stored, load_head};
use crate::journal::archive::{Archive, Page};
use crate::journal::{Head, JournalError, Room, SealedEntry, Trimmed};

/// The journal file, its archive, and where it ends.
pub(super) struct Store {
    path: PathBuf,
    archive: Archive,
    reserve_bytes: u64,
    database: Database,
    /// Equal to what is stored: the file is locked, so nobody else moves it.
    head: Mutex<Head>,
    /// Held by whoever appends or becomes writer.
    writing: Mutex<()>,
    /// Held by whoever trims.
    trimming: Mutex<()>,
    /// The one draft, if any.
    pub(super) draft: Mutex<Option<u64>>,
    /// The first error of the storage.
    poison: OnceLock<String>,
    /// Device and inode of the file, where there is one.
    identity: Option<(u64, u64)>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the file at `path`, which must exist.
    pub(super) fn open(path: &Path, options: RedbOptions) -> Result<Self, JournalError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|e| JournalError::opening(path, e))?;
        let identity = identity(&file.metadata().map_err(|e| JournalError::opening(path, e))?);
        let store = Self::on_backend(path, file_backend(path, file)?, options)?;
        Ok(Self { identity: Some(identity), ..store })
    }

    /// Opens what `backend` holds, after checking all of it.
    pub(super) fn on_backend(
        path: &Path,
        backend: impl StorageBackend,
        options: RedbOptions,
    ) -> Result<Self, JournalError> {
        if backend.len().map_err(|e| JournalError::io("look at", path, e))? == 0 {
            return Err(corrupt(path, "the file is empty"));
        }
        let database = Builder::new()
            .set_cache_size(options.cache_bytes)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(|e| opening(path, e.into()))?;
        let txn = database.begin_read().map_err(|e| opening(path, e.into()))?;
        let head = load_head(path, &txn)?;
        drop(txn);
        Ok(Self {
            path: path.to_owned(),
            archive: Archive::beside(path),
            reserve_bytes: options.reserve_bytes,
            database,
            head: Mutex::new(head),
            writing: Mutex::new(()),
            trimming: Mutex::new(()),
            draft: Mutex::new(None),
            poison: OnceLock::new(),
            identity: None,
        })
    }

    /// Whoever moves the file away, or another one into its place, has what is written here lost with the process.
    fn require_in_place(&self) -> Result<(), JournalError> {
        let Some(own) = self.identity else { return Ok(()) };
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => Some(identity(&there)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(JournalError::io("look at", &self.path, error)),
        };
        if there == Some(own) {
            return Ok(());
        }
        let why = "the file was moved away or replaced while the orchestrator was using it";
        self.poison(why.to_owned());
        Err(JournalError::poisoned(&self.path, why.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Refuses everything from here on.
    pub(super) fn poison(&self, why: String) {
        self.poison.get_or_init(|| why);
    }

    fn healthy(&self) -> Result<(), JournalError> {
        match self.poison.get() {
            Some(why) => Err(JournalError::poisoned(&self.path, why.clone())),
            None => Ok(()),
        }
    }

    fn storage(&self, error: ::redb::Error) -> JournalError {
        let error = errors::running(&self.path, error);
        self.poison(error.to_string());
        error
    }

    /// Runs `work` in one transaction that is synced before this returns.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, ::redb::Error>,
    ) -> Result<T, JournalError> {
        self.healthy()?;
        let commit = || {
            let mut txn = self.database.begin_write()?;
            txn.set_durability(Durability::Immediate)?;
            let done = work(&txn)?;
            txn.commit()?;
            Ok(done)
        };
        commit().map_err(|e| self.storage(e))
    }

    /// Runs `work` on an unchanging view of everything committed.
    pub(super) fn view<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, ::redb::Error>,
    ) -> Result<T, JournalError> {
        self.healthy()?;
        let look = || work(&self.database.begin_read()?);
        look().map_err(|e| self.storage(e))
    }

    fn end(&self) -> MutexGuard<'_, Head> {
        lock(&self.head)
    }

    pub(super) fn head(&self) -> Result<Head, JournalError> {
        self.healthy()?;
        Ok(*self.end())
    }

    pub(super) fn become_writer(&self, epoch: Epoch) -> Result<Head, JournalError> {
        let _writing = lock(&self.writing);
        let head = self.head()?;
        if epoch <= head.fence {
            return Err(JournalError::Fenced { asked: epoch, by: head.fence });
        }
        self.require_room(0)?;
        self.write(|txn| {
            txn.open_table(FACTS)?.insert(FENCE, epoch.raw().to_le_bytes().as_slice())?;
            Ok(())
        })?;
        self.end().fence = epoch;
        Ok(Head { fence: epoch, ..head })
    }

    pub(super) fn append(&self, writer: Option<Epoch>, entry: &SealedEntry) -> Result<(), JournalError> {
        let _writing = lock(&self.writing);
        admit(&self.head()?, writer, entry)?;
        self.require_in_place()?;
        self.require_room(entry.stored_len())?;
        self.write(|txn| {
            txn.open_table(ENTRIES)?.insert(entry.seq().raw(), entry.to_stored().as_slice())?;
            Ok(())
        })?;
        let mut end = self.end();
        end.seq_next = entry.seq_next();
        end.chain = entry.digest();
        Ok(())
    }

    /// Refuses to write `bytes` more when that would use up the reserve.
    pub(super) fn require_room(&self, bytes: usize) -> Result<(), JournalError> {
        let lacking = Room::lacking(&self.path, self.reserve_bytes, bytes);
        match lacking.map_err(|e| JournalError::io("look at", &self.path, e))? {
            None => Ok(()),
            room => Err(JournalError::Full { path: self.path.clone(), room }),
        }
    }

    pub(super) fn read(&self, from: Seq, bytes_max: usize) -> Result<Vec<SealedEntry>, JournalError> {
        self.page(from, Page::new(bytes_max))
    }

    fn page(&self, from: Seq, mut page: Page) -> Result<Vec<SealedEntry>, JournalError> {
        let head = self.head()?;
        if from > head.seq_next {
            return Err(JournalError::Beyond { from, seq_next: head.seq_next });
        }
        if from == head.seq_next {
            return Ok(Vec::new());
        }
        let stopped = self.view(|txn| {
            let entries = txn.open_table(ENTRIES)?;
            let start = entries.range(..=from.raw())?.next_back().transpose()?;
            let start = start.map_or(from.raw(), |(seq, _)| seq.value());
            for row in entries.range(start..)? {
                match take(&mut page, row?.1.value(), from) {
                    Ok(true) => {}
                    Ok(false) => return Ok(None),
                    Err(what) => return Ok(Some(what)),
                }
            }
            Ok(None)
        })?;
        let first = self.head()?.first;
        match stopped {
            _ if !page.entries.is_empty() => Ok(page.entries),
            _ if from < first => Err(JournalError::Trimmed { from, first }),
            what => Err(self.broken(from, what.unwrap_or("the entry is missing"))),
        }
    }

    fn broken(&self, seq: Seq, what: &str) -> JournalError {
        JournalError::Broken { path: self.path.clone(), seq, what: what.to_owned() }
    }

    pub(super) fn trim(&self, before: Seq) -> Result<Trimmed, JournalError> {
        let _trimming = lock(&self.trimming);
        let covered = self.snapshot()?.map_or(Seq::from_raw(1), |s| s.point.seq_next);
        if before > covered {
            return Err(JournalError::NotCovered { before, covered });
        }
        let head = self.head()?;
        self.archive.remove_repeated(head.first, head.seq_next)?;
        let mut entries = 0;
        loop {
            let first = self.head()?.first;
            let mut page = if first < before { self.page(first, Page::of_one_file())? } else { Vec::new() };
            page.truncate(page.partition_point(|e| e.seq_next() <= before));
            let Some(last) = page.last() else { return Ok(Trimmed { entries, first }) };
            self.require_room(page.iter().map(SealedEntry::stored_len).sum())?;
            self.archive.store(&page)?;
            self.remove(&page, last)?;
            entries += page.len() as u64;
        }
    }

    /// Removes archived entries; `last` is the last of them.
    fn remove(&self, archived: &[SealedEntry], last: &SealedEntry) -> Result<(), JournalError> {
        self.write(|txn| {
            let mut entries = txn.open_table(ENTRIES)?;
            for entry in archived {
                entries.remove(entry.seq().raw())?;
            }
            txn.open_table(FACTS)?.insert(BASE, base_to_stored(last.seq_next(), last.digest()).as_slice())?;
            Ok(())
        })?;
        self.end().first = last.seq_next();
        Ok(())
    }
}

/// Locks; a panic of another holder left nothing half done that the storage would not know of.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Device and inode.
fn identity(meta: &std::fs::Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Whether `entry` may be written by `writer` and comes next.
fn admit(head: &Head, writer: Option<Epoch>, entry: &SealedEntry) -> Result<(), JournalError> {
    let writer = writer.ok_or(JournalError::NotWriter)?;
    if writer < head.fence {
        return Err(JournalError::Fenced { asked: writer, by: head.fence });
    }
    let seq = entry.seq();
    if entry.epoch() != writer {
        return Err(JournalError::WrongEpoch { seq, expected: writer, found: entry.epoch() });
    }
    if seq != head.seq_next {
        return Err(JournalError::WrongSeq { expected: head.seq_next, found: seq });
    }
    if entry.previous() != head.chain {
        return Err(JournalError::WrongChain { seq });
    }
    Ok(())
}

/// Takes a stored entry into the page; the first one must hold record `from`.
fn take(page: &mut Page, stored: &[u8], from: Seq) -> Result<bool, &'static str> {
    let entry = SealedEntry::from_stored(stored)?;
    let holds = entry.seq() <= from && from < entry.seq_next();
    if page.entries.is_empty() && !holds {
        return Err("the entry is missing");
    }
    page.push(entry)
}
