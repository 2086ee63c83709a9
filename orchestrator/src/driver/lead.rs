//! From a journal to an engine that is about to lead: opening, replay, and where the journal came from.

use std::future::Future;

use bytes::Bytes;
use rientro_engine::{Engine, Inconsistent, Origin};
use rientro_types::{Advice, CellId, Digest, Seq};
use rientro_wire::{ConvertError, codec};

use super::DriverSettings;
use crate::journal::{Head, Journal, JournalError, PAGE_BYTES, Recourse, SealedEntry, SnapshotReader};
use crate::state_dir::{ForeignKey, NewLife};

/// Where a driver gets its journal from, again after each failure.
pub trait Source: Send + Sync + 'static {
    /// The kind of journal.
    type Journal: Journal;

    /// Opens the journal, or makes an empty one where none was.
    ///
    /// # Errors
    /// Storage errors.
    fn open(&self) -> impl Future<Output = Result<Self::Journal, JournalError>> + Send;

    /// The life to begin, when the journal was restored from a backup and no leader has led from it since.
    ///
    /// # Errors
    /// Storage errors.
    fn restored(&self) -> Result<Option<NewLife>, JournalError>;

    /// A leader's first decisions are durable: a restored journal is one like any other from here on.
    ///
    /// # Errors
    /// Storage errors.
    fn led(&mut self, origin: Origin) -> Result<(), JournalError>;
}

/// Why a journal cannot be led from.
#[derive(Debug, thiserror::Error)]
pub enum LeadError {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What it holds cannot be read.
    #[error("the journal cannot be read at record {seq}: {error}")]
    Unreadable {
        /// First record of the entry, or of what the snapshot does not contain.
        seq: Seq,
        /// Why.
        error: ConvertError,
    },
    /// What it holds does not fit together.
    #[error("the journal does not replay: {0}; restore a backup, and keep this journal for analysis")]
    Inconsistent(#[from] Inconsistent),
    /// Its entries do not follow each other.
    #[error(
        "the journal's chain is broken at record {seq}: {what}; restore a backup with `rientro journal restore`"
    )]
    Broken {
        /// First record that does not follow.
        seq: Seq,
        /// What is wrong.
        what: &'static str,
    },
    /// It is another cell's.
    #[error(
        "the journal is of cell {found}, the settings name cell {expected}; correct `cell` or the state directory"
    )]
    ForeignCell {
        /// The cell of the journal.
        found: CellId,
        /// The cell of the settings.
        expected: CellId,
    },
    /// The key of mailbox ids beside it is not the cell's.
    #[error(transparent)]
    ForeignKey(#[from] ForeignKey),
    /// The first append of a term was not answered.
    #[error("the first append of a term was not answered: {0}")]
    InDoubt(String),
    /// Replay ended abnormally.
    #[error("replaying the journal ended abnormally: {0}; this is a bug, keep the journal for analysis")]
    Abnormal(String),
}

impl LeadError {
    /// What is wrong, and what a person does about it.
    pub(super) fn advice(&self) -> Advice {
        match self {
            Self::Journal(error) => error.advice(),
            Self::ForeignKey(foreign) => foreign.advice(),
            Self::Unreadable { .. }
            | Self::Inconsistent(_)
            | Self::Broken { .. }
            | Self::ForeignCell { .. }
            | Self::InDoubt(_)
            | Self::Abnormal(_) => Advice::none(self.to_string()),
        }
    }

    pub(super) fn recourse(&self) -> Recourse {
        match self {
            Self::Journal(error) => error.recourse(),
            Self::InDoubt(_) => Recourse::Reopen,
            Self::Unreadable { .. }
            | Self::Inconsistent(_)
            | Self::Broken { .. }
            | Self::ForeignCell { .. }
            | Self::ForeignKey(_)
            | Self::Abnormal(_) => Recourse::AskOperator,
        }
    }
}

/// A journal and the engine that its content makes.
pub(super) struct Loaded<J> {
    pub(super) engine: Engine,
    pub(super) journal: J,
    pub(super) head: Head,
    /// Digest of the last entry.
    pub(super) chain: Digest,
    /// Records replayed after the snapshot.
    pub(super) replayed: u64,
}

/// Opens the source's journal and replays it.
pub(super) async fn open<S: Source>(source: &S) -> Result<Loaded<S::Journal>, LeadError> {
    let journal = source.open().await?;
    let Replay { engine, chain, replayed } = load(&journal).await?;
    let head = journal.head().await?;
    Ok(Loaded { engine, journal, head, chain, replayed })
}

/// Where the journal comes from.
pub(super) fn origin<J, S: Source>(
    loaded: &Loaded<J>,
    source: &S,
    settings: &DriverSettings,
) -> Result<Origin, LeadError> {
    let DriverSettings { cell, mailbox_key_path, .. } = settings;
    let mailbox_key = Digest::of_mailbox_key(&settings.mailbox_key);
    let Some(view) = loaded.engine.cell_view() else {
        return Ok(Origin::Founded { cell: *cell, mailbox_key });
    };
    if view.cell != *cell {
        return Err(LeadError::ForeignCell { found: view.cell, expected: *cell });
    }
    if loaded.engine.mailbox_key() != Some(mailbox_key) {
        return Err(ForeignKey { path: mailbox_key_path.clone() }.into());
    }
    Ok(match source.restored()? {
        Some(NewLife { above }) => Origin::Restored { above },
        None => Origin::Continued,
    })
}

/// What a journal's content makes.
pub(super) struct Replay {
    /// The engine; it follows, and does not lead.
    pub(super) engine: Engine,
    /// Digest of the last entry in it.
    pub(super) chain: Digest,
    /// Records replayed after the snapshot.
    pub(super) replayed: u64,
}

/// Restores the snapshot, if there is one, and replays what comes after it. The work is done where it may block.
pub(super) async fn load<J: Journal>(journal: &J) -> Result<Replay, LeadError> {
    let mut replay = Replay { engine: Engine::new(), chain: Digest::ZERO, replayed: 0 };
    if let Some(head) = journal.snapshot().await? {
        replay.chain = head.point.chain;
        let mut reader = SnapshotReader::new(head);
        while let Some(chunk) = reader.next(journal).await? {
            replay = aside(replay, move |replay| replay.restore(chunk)).await?;
        }
        let seq = replay.engine.seq_next();
        if seq != head.point.seq_next {
            return Err(LeadError::Broken { seq, what: "the snapshot ends elsewhere than its head says" });
        }
    }
    loop {
        let page = journal.read(replay.engine.seq_next(), PAGE_BYTES).await?;
        if page.is_empty() {
            return Ok(replay);
        }
        replay = aside(replay, move |replay| page.iter().try_for_each(|entry| replay.entry(entry))).await?;
    }
}

async fn aside(
    mut replay: Replay,
    work: impl FnOnce(&mut Replay) -> Result<(), LeadError> + Send + 'static,
) -> Result<Replay, LeadError> {
    let done = tokio::task::spawn_blocking(move || work(&mut replay).map(|()| replay)).await;
    done.map_err(|error| LeadError::Abnormal(error.to_string()))?
}

impl Replay {
    /// Takes in one chunk: records, each after its length in four bytes, little-endian.
    fn restore(&mut self, chunk: Bytes) -> Result<(), LeadError> {
        let seq = self.engine.seq_next();
        let cut = LeadError::Broken { seq, what: "a snapshot record is cut short" };
        let mut rest = chunk;
        while !rest.is_empty() {
            let Some(len) = rest.first_chunk::<4>().map(|len| u32::from_le_bytes(*len) as usize) else {
                return Err(cut);
            };
            if rest.len() - 4 < len {
                return Err(cut);
            }
            let record = rest.split_to(4 + len).split_off(4);
            let record = codec::decode_snapshot_record(&record)
                .map_err(|error| LeadError::Unreadable { seq, error })?;
            self.engine.restore(record)?;
        }
        Ok(())
    }

    fn entry(&mut self, sealed: &SealedEntry) -> Result<(), LeadError> {
        let seq = sealed.seq();
        let entry =
            codec::decode_entry(sealed.payload()).map_err(|error| LeadError::Unreadable { seq, error })?;
        let fits = (entry.seq, entry.epoch, entry.seq_next()) == (seq, sealed.epoch(), sealed.seq_next());
        if !fits || entry.previous != sealed.previous() || entry.previous != self.chain {
            return Err(LeadError::Broken { seq, what: "an entry does not follow the one before" });
        }
        self.replayed += entry.decisions.len() as u64;
        self.engine.replay(&entry)?;
        self.chain = sealed.digest();
        Ok(())
    }
}
