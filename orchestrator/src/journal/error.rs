//! What can go wrong with a journal, and what to do then.

use std::io;
use std::path::{Path, PathBuf};

use rientro_types::{Epoch, Seq};

/// What the caller of a failed operation does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recourse {
    /// Wait until there is room on the disk, open the journal again and go on.
    WaitForRoom,
    /// Drop every handle, open the journal again and replay.
    Reopen,
    /// Give up leadership: somebody else writes.
    StepDown,
    /// Stop: a person must act.
    AskOperator,
    /// The request was wrong; the journal is as it was.
    FixRequest,
}

/// A journal could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no journal at the path.
    #[error("no journal at {path}; found a cell there first, or restore one with `rientro journal restore`")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something is at the path already, and nothing is ever overwritten.
    #[error("{path} exists already and is not overwritten; move it away or choose another path")]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// Another process has the journal open.
    #[error(
        "the journal {path} is open in another process; stop the orchestrator that uses it (`fuser -v {path}` names it)"
    )]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// The disk is full. What was acknowledged is safe.
    #[error("no room left for {path}; free some space on its file system, and the cell goes on by itself")]
    Full {
        /// What could not be written.
        path: PathBuf,
    },
    /// A handle may not write: a higher epoch did.
    #[error("epoch {asked} may not write: epoch {by} did; only an epoch above it may")]
    Fenced {
        /// The epoch that asked.
        asked: Epoch,
        /// The highest epoch that ever wrote.
        by: Epoch,
    },
    /// The handle never became writer.
    #[error("this handle is not the writer; call become_writer first")]
    NotWriter,
    /// The entry's epoch is not the writer's.
    #[error(
        "the entry at record {seq} is of epoch {found}, its writer of epoch {expected}; rebuild by replay"
    )]
    WrongEpoch {
        /// First record of the entry.
        seq: Seq,
        /// The writer's epoch.
        expected: Epoch,
        /// The entry's epoch.
        found: Epoch,
    },
    /// The entry is not the one that comes next.
    #[error("the entry begins at record {found}, but record {expected} comes next; rebuild by replay")]
    WrongSeq {
        /// The record that comes next.
        expected: Seq,
        /// The first record of the entry.
        found: Seq,
    },
    /// The entry does not follow the stored one.
    #[error("the entry at record {seq} does not carry the digest of the entry before; rebuild by replay")]
    WrongChain {
        /// First record of the entry.
        seq: Seq,
    },
    /// There is nothing in it.
    #[error("{what} holds nothing; leave it out")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// It is longer than the bound.
    #[error("{what} has {bytes} bytes, more than {bytes_max}; split it")]
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The record is in the archive.
    #[error("record {from} is archived; the journal itself begins at record {first}")]
    Trimmed {
        /// The record asked for.
        from: Seq,
        /// The first record not archived.
        first: Seq,
    },
    /// The record does not exist yet.
    #[error("record {from} does not exist; the journal ends before record {seq_next}")]
    Beyond {
        /// The record asked for.
        from: Seq,
        /// The record that comes next.
        seq_next: Seq,
    },
    /// No entry ends where a snapshot says it stands, or a newer snapshot exists.
    #[error("a snapshot of everything before record {seq_next} is not taken: {why}")]
    SnapshotPoint {
        /// Number of the first record it would not contain.
        seq_next: Seq,
        /// Why not.
        why: &'static str,
    },
    /// Another snapshot, or draft, took the place of this one.
    #[error("the snapshot was replaced by a newer one meanwhile; begin again")]
    SnapshotReplaced,
    /// No snapshot stands for what was to be trimmed.
    #[error("records before {before} are not trimmed: the snapshot stands for those before {covered} only")]
    NotCovered {
        /// The trim asked for.
        before: Seq,
        /// What the present snapshot stands for; 1 when there is none.
        covered: Seq,
    },
    /// An entry or snapshot is damaged.
    #[error(
        "{path} is damaged at record {seq}: {what}; restore the newest whole backup with `rientro journal restore`"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// First record that cannot be trusted.
        seq: Seq,
        /// What is wrong.
        what: String,
    },
    /// The file as a whole is damaged.
    #[error(
        "{path} is damaged: {what}; keep a copy of it and restore the newest whole backup with `rientro journal restore`"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file was written by another version.
    #[error("{path} has format {found}, this program reads format {known}; use the version that wrote it")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format known here.
        known: u64,
    },
    /// An earlier error left the handle unusable: nothing is tried again on it.
    #[error("the journal {path} must be opened again after: {why}")]
    Poisoned {
        /// The journal.
        path: PathBuf,
        /// The first error.
        why: String,
    },
    /// The operating system refused.
    #[error("could not {what} {path}; look at the disk and at the rights on it")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl JournalError {
    /// What to do next.
    #[must_use]
    pub const fn recourse(&self) -> Recourse {
        match self {
            Self::Full { .. } => Recourse::WaitForRoom,
            Self::Fenced { .. } => Recourse::StepDown,
            Self::Poisoned { .. }
            | Self::Io { .. }
            | Self::WrongEpoch { .. }
            | Self::WrongSeq { .. }
            | Self::WrongChain { .. } => Recourse::Reopen,
            Self::Missing { .. }
            | Self::Exists { .. }
            | Self::Locked { .. }
            | Self::Broken { .. }
            | Self::Corrupt { .. }
            | Self::Format { .. } => Recourse::AskOperator,
            Self::NotWriter
            | Self::Empty { .. }
            | Self::TooLarge { .. }
            | Self::Trimmed { .. }
            | Self::Beyond { .. }
            | Self::SnapshotPoint { .. }
            | Self::SnapshotReplaced
            | Self::NotCovered { .. } => Recourse::FixRequest,
        }
    }

    /// An error of the operating system; a full disk or an exhausted quota is [`JournalError::Full`].
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::Full { path }
        } else {
            Self::Io { what, path, source }
        }
    }

    /// The operating system would not open a file that should exist.
    pub(super) fn opening(path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing { path: path.to_owned() }
        } else {
            Self::io("open", path, source)
        }
    }

    /// The same error again, for a caller that is refused because of it.
    pub(super) fn poisoned(path: &Path, why: String) -> Self {
        Self::Poisoned { path: path.to_owned(), why }
    }
}
