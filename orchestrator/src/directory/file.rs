//! The directory's file, opened again after an error.
//!
//! After any error of the storage nothing is tried again on what is open, as redb refuses everything from there on, and a sync
//! that failed says nothing of what a second one would tell. It is closed, and whoever wants something next opens it again:
//! so the directory goes on by itself once the disk does. What was put and not yet durable may be lost in this; whoever put it
//! is told so, and nobody is told that it is durable.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::Database;
use redb::backends::FileBackend;

use super::{DirectoryError, prepare};
use crate::journal::Room;

/// Who may read the file: its owner.
const FILE_MODE: u32 = 0o600;
/// Bytes of the file kept in memory.
const CACHE_BYTES: usize = 16 << 20;

/// Which opening of the file: what was put in one and is not durable is in no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Opening(u64);

/// The file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    reserve_bytes: u64,
    /// Held by whoever uses it; whoever opens it again waits for them, as the file is locked.
    opened: RwLock<Opened>,
    /// What is open must not be used any more.
    failed: AtomicBool,
}

#[derive(Debug, Default)]
struct Opened {
    database: Option<Database>,
    opening: Opening,
}

impl File {
    /// The file at `path`; opened when it is first used.
    pub(super) fn new(path: PathBuf, reserve_bytes: u64) -> Self {
        Self { path, reserve_bytes, opened: RwLock::default(), failed: AtomicBool::new(false) }
    }

    /// Refuses to write `bytes` more when that would use up what is kept free.
    pub(super) fn require_room(&self, bytes: usize) -> Result<(), DirectoryError> {
        let lacking = Room::lacking(&self.path, self.reserve_bytes, bytes);
        match lacking.map_err(|error| DirectoryError::of("look at", &self.path, error.into()))? {
            None => Ok(()),
            room => Err(DirectoryError::Full { path: self.path.clone(), room }),
        }
    }

    /// Runs `work` on the open file, or refuses unless it is still the opening that is `wanted`; says which one it was.
    pub(super) fn with<T>(
        &self,
        what: &'static str,
        wanted: Option<Opening>,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<(T, Opening), DirectoryError> {
        loop {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(database) = opened.database.as_ref().filter(|_| !self.failed.load(Ordering::Acquire))
            {
                if wanted.is_some_and(|wanted| wanted != opened.opening) {
                    return Err(DirectoryError::Reopened { path: self.path.clone() });
                }
                // Still held when it failed, so that nobody opens it again in between and has that taken for failed.
                let done = work(database).map_err(|error| self.failed(what, error))?;
                return Ok((done, opened.opening));
            }
            drop(opened);
            self.reopen()?;
        }
    }

    /// An error after which what is open is not used any more.
    pub(super) fn failed(&self, what: &'static str, error: redb::Error) -> DirectoryError {
        self.failed.store(true, Ordering::Release);
        DirectoryError::of(what, &self.path, error)
    }

    fn reopen(&self) -> Result<(), DirectoryError> {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.database.is_some() && !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        // Closed first: a file that is open is locked.
        opened.database = None;
        opened.database = Some(self.open()?);
        opened.opening.0 += 1;
        if self.failed.swap(false, Ordering::AcqRel) {
            tracing::warn!(path = %self.path.display(), "the mailbox directory was opened again after an error");
        }
        Ok(())
    }

    fn open(&self) -> Result<Database, DirectoryError> {
        let failed = |error| DirectoryError::of("open", &self.path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = options.open(&self.path).map_err(|error| failed(error.into()))?;
        let is_empty = file.metadata().map_err(|error| failed(error.into()))?.len() == 0;
        if is_empty {
            self.require_room(0)?;
        }
        let opened = on(file);
        // A file that another process has locked is for that one to fill.
        let is_mine = !matches!(opened, Err(redb::Error::DatabaseAlreadyOpen));
        if is_empty && is_mine && opened.is_err() {
            // What was begun is no directory, and would not be taken for an empty file either. The error is the one above.
            let _emptied = options.open(&self.path).and_then(|file| file.set_len(0));
        }
        opened.map_err(failed)
    }
}

fn on(file: std::fs::File) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    let database = builder.set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?;
    prepare(&database)?;
    Ok(database)
}
