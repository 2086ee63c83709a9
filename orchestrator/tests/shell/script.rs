//! A journal that does what a test tells it to, around a real one.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rientro_engine::Origin;
use rientro_orchestrator::journal::{
    Append, Head, Journal, JournalError, RedbJournal, Room, SealedEntry, SnapshotDraft, SnapshotHead, Trimmed,
};
use rientro_orchestrator::{NewLife, Source, StateDir};
use rientro_types::{Digest, Epoch, Seq, SnapshotPoint};
use tokio::sync::watch;

/// Where errors say that the journal is.
const PATH: &str = "/state/journal.redb";

fn full(room: Option<Room>) -> JournalError {
    JournalError::Full { path: PathBuf::from(PATH), room }
}

/// What happens to one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is lost on the way there.
    LostBefore,
    /// It is stored, and the answer is lost.
    LostAfter,
    /// The disk fails.
    Failed,
    /// The disk fills up meanwhile: it is not stored.
    FullBefore,
    /// The disk fills up meanwhile: it is stored.
    FullAfter,
}

/// What a test tells the journal.
#[derive(Debug)]
pub(crate) struct Script {
    fates: Mutex<VecDeque<Fate>>,
    full: AtomicBool,
    open: watch::Sender<bool>,
    waiting: watch::Sender<u64>,
    opened: AtomicU64,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            fates: Mutex::default(),
            full: AtomicBool::new(false),
            open: watch::channel(true).0,
            waiting: watch::channel(0).0,
            opened: AtomicU64::new(0),
        }
    }
}

impl Script {
    /// The next appends meet these fates.
    pub(crate) fn meet(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates.lock().unwrap().extend(fates);
    }

    /// Whether every fate was met.
    pub(crate) fn all_met(&self) -> bool {
        self.fates.lock().unwrap().is_empty()
    }

    /// The disk is full, or has room again: it is looked at before anything is written.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Appends wait until the gate is open again.
    pub(crate) fn shut(&self) {
        self.waiting.send_replace(0);
        self.open.send_replace(false);
    }

    /// Lets appends go on.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until an append waits at the gate.
    pub(crate) async fn append_waits(&self) {
        self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.unwrap();
    }

    /// Appends begun since the gate was shut.
    pub(crate) fn appends(&self) -> u64 {
        *self.waiting.borrow()
    }

    /// How often the journal was opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    fn check_room(&self) -> Result<(), JournalError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(full(Some(Room { free: 0, kept: 16 << 20 })));
        }
        Ok(())
    }
}

/// Opens the real journal of a state directory, with the script around it.
pub(crate) struct Scripted {
    pub(crate) state: StateDir,
    pub(crate) script: Arc<Script>,
}

impl Source for Scripted {
    type Journal = ScriptedJournal;

    async fn open(&self) -> Result<ScriptedJournal, JournalError> {
        let inner = self.state.open().await?;
        self.script.opened.fetch_add(1, Ordering::SeqCst);
        Ok(ScriptedJournal { inner, script: Arc::clone(&self.script) })
    }

    fn restored(&self) -> Result<Option<NewLife>, JournalError> {
        self.state.restored()
    }

    fn led(&mut self, origin: Origin) -> Result<(), JournalError> {
        self.state.led(origin)
    }
}

/// The journal.
#[derive(Debug)]
pub(crate) struct ScriptedJournal {
    inner: RedbJournal,
    script: Arc<Script>,
}

impl Journal for ScriptedJournal {
    fn handle(&self) -> Self {
        Self { inner: self.inner.handle(), script: Arc::clone(&self.script) }
    }

    async fn become_writer(&mut self, epoch: Epoch) -> Result<Head, JournalError> {
        self.script.check_room()?;
        self.inner.become_writer(epoch).await
    }

    async fn append(&mut self, entry: SealedEntry) -> Append {
        self.script.waiting.send_modify(|waiting| *waiting += 1);
        self.script.open.subscribe().wait_for(|open| *open).await.unwrap();
        if let Err(full) = self.script.check_room() {
            return Append::Failed(full);
        }
        let fate = self.script.fates.lock().unwrap().pop_front();
        match fate {
            None => self.inner.append(entry).await,
            Some(Fate::LostBefore) => Append::Unknown("the request was lost".to_owned()),
            Some(Fate::LostAfter) => {
                assert!(matches!(self.inner.append(entry).await, Append::Durable));
                Append::Unknown("the answer was lost".to_owned())
            }
            Some(Fate::Failed) => {
                let path = PathBuf::from(PATH);
                Append::Failed(JournalError::Poisoned { path, why: "the disk failed".to_owned() })
            }
            Some(Fate::FullBefore) => Append::Failed(full(None)),
            Some(Fate::FullAfter) => {
                assert!(matches!(self.inner.append(entry).await, Append::Durable));
                Append::Failed(full(None))
            }
        }
    }

    async fn head(&self) -> Result<Head, JournalError> {
        self.inner.head().await
    }

    async fn read(&self, from: Seq, bytes_max: usize) -> Result<Vec<SealedEntry>, JournalError> {
        self.inner.read(from, bytes_max).await
    }

    async fn read_archived(&self, from: Seq, bytes_max: usize) -> Result<Vec<SealedEntry>, JournalError> {
        self.inner.read_archived(from, bytes_max).await
    }

    async fn snapshot_begin(&self, point: SnapshotPoint) -> Result<SnapshotDraft, JournalError> {
        self.inner.snapshot_begin(point).await
    }

    async fn snapshot_add(&self, draft: &mut SnapshotDraft, chunk: Bytes) -> Result<(), JournalError> {
        self.inner.snapshot_add(draft, chunk).await
    }

    async fn snapshot_finish(&self, draft: SnapshotDraft) -> Result<SnapshotHead, JournalError> {
        self.inner.snapshot_finish(draft).await
    }

    async fn snapshot(&self) -> Result<Option<SnapshotHead>, JournalError> {
        self.inner.snapshot().await
    }

    async fn snapshot_chunk(
        &self,
        snapshot: &SnapshotHead,
        index: u32,
    ) -> Result<(Digest, Bytes), JournalError> {
        self.inner.snapshot_chunk(snapshot, index).await
    }

    async fn trim(&self, before: Seq) -> Result<Trimmed, JournalError> {
        self.inner.trim(before).await
    }
}
