//! The embedded journal passes the suite that every journal must pass.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rientro_orchestrator::journal::conformance::Lab;
use rientro_orchestrator::journal::{JournalError, RedbJournal, RedbOptions};
use rientro_orchestrator::journal_conformance;
use rientro_types::Epoch;
use tempfile::TempDir;

struct RedbLab {
    folder: TempDir,
    restored: AtomicU32,
}

impl RedbLab {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), restored: AtomicU32::new(0) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.redb")
    }
}

impl Lab for RedbLab {
    type Journal = RedbJournal;

    async fn open(&self) -> RedbJournal {
        let path = self.path();
        let opened = if path.exists() {
            RedbJournal::open(&path, RedbOptions::default()).await
        } else {
            RedbJournal::create(&path, RedbOptions::default()).await
        };
        opened.unwrap()
    }

    async fn restore(&self, backup: &Path, floor: Option<Epoch>) -> Result<RedbJournal, JournalError> {
        let number = self.restored.fetch_add(1, Ordering::Relaxed);
        let target = self.folder.path().join(format!("restored-{number}.redb"));
        RedbJournal::restore(backup, &target, floor).await?;
        RedbJournal::open(&target, RedbOptions::default()).await
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

journal_conformance!(RedbLab::new());
