//! What can go wrong with a journal, and what to do then.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rientro_types::{Advice, Epoch, Seq};

use super::room::{Room, full};

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
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something is at the path already, and nothing is ever overwritten.
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// Another process has the journal open.
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// The disk is full. What was acknowledged is safe.
    Full {
        /// What could not be written.
        path: PathBuf,
        /// What there is and what is kept free, where that is what refused.
        room: Option<Room>,
    },
    /// A handle may not write: a higher epoch did.
    Fenced {
        /// The epoch that asked.
        asked: Epoch,
        /// The highest epoch that ever wrote.
        by: Epoch,
    },
    /// The handle never became writer.
    NotWriter,
    /// The entry's epoch is not the writer's.
    WrongEpoch {
        /// First record of the entry.
        seq: Seq,
        /// The writer's epoch.
        expected: Epoch,
        /// The entry's epoch.
        found: Epoch,
    },
    /// The entry is not the one that comes next.
    WrongSeq {
        /// The record that comes next.
        expected: Seq,
        /// The first record of the entry.
        found: Seq,
    },
    /// The entry does not follow the stored one.
    WrongChain {
        /// First record of the entry.
        seq: Seq,
    },
    /// There is nothing in it.
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// It is longer than the bound.
    TooLarge {
        /// What is too long.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The record is in the archive.
    Trimmed {
        /// The record asked for.
        from: Seq,
        /// The first record not archived.
        first: Seq,
    },
    /// The record does not exist yet.
    Beyond {
        /// The record asked for.
        from: Seq,
        /// The record that comes next.
        seq_next: Seq,
    },
    /// No entry ends where a snapshot says it stands, or a newer snapshot exists.
    SnapshotPoint {
        /// Number of the first record it would not contain.
        seq_next: Seq,
        /// Why not.
        why: &'static str,
    },
    /// Another snapshot, or draft, took the place of this one.
    SnapshotReplaced,
    /// No snapshot stands for what was to be trimmed.
    NotCovered {
        /// The trim asked for.
        before: Seq,
        /// What the present snapshot stands for; 1 when there is none.
        covered: Seq,
    },
    /// An entry or snapshot is damaged.
    Broken {
        /// The file.
        path: PathBuf,
        /// First record that cannot be trusted.
        seq: Seq,
        /// What is wrong.
        what: String,
    },
    /// The file as a whole is damaged.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file was written by another version.
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format known here.
        known: u64,
    },
    /// An earlier error left the handle unusable: nothing is tried again on it.
    Poisoned {
        /// The journal.
        path: PathBuf,
        /// The first error.
        why: String,
    },
    /// The operating system refused.
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

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.advice().fmt(f)
    }
}

impl JournalError {
    /// What is wrong, without what the system said, and what a person does about it.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::Missing { path } => Advice::new(
                format!("no journal at {}", path.display()),
                "found a cell there first, or restore one with `rientro journal restore`",
            ),
            Self::Exists { path } => Advice::new(
                format!("{} exists already and is not overwritten", path.display()),
                "move it away or choose another path",
            ),
            Self::Locked { path } => Advice::new(
                format!("the journal {} is open in another process", path.display()),
                format!("stop the orchestrator that uses it (`fuser -v {}` names it)", path.display()),
            ),
            Self::Full { path, room } => full(path, *room),
            Self::Fenced { asked, by } => Advice::new(
                format!("epoch {asked} may not write: epoch {by} did"),
                "only an epoch above it may",
            ),
            Self::NotWriter => Advice::new("this handle is not the writer", "call become_writer first"),
            Self::WrongEpoch { seq, expected, found } => Advice::new(
                format!("the entry at record {seq} is of epoch {found}, its writer of epoch {expected}"),
                "rebuild by replay",
            ),
            Self::WrongSeq { expected, found } => Advice::new(
                format!("the entry begins at record {found}, but record {expected} comes next"),
                "rebuild by replay",
            ),
            Self::WrongChain { seq } => Advice::new(
                format!("the entry at record {seq} does not carry the digest of the entry before"),
                "rebuild by replay",
            ),
            Self::Empty { what } => Advice::new(format!("{what} holds nothing"), "leave it out"),
            Self::TooLarge { what, bytes, bytes_max } => {
                Advice::new(format!("{what} has {bytes} bytes, more than {bytes_max}"), "split it")
            }
            Self::Trimmed { from, first } => Advice::new(
                format!("record {from} is archived"),
                format!("the journal itself begins at record {first}"),
            ),
            Self::Beyond { from, seq_next } => Advice::new(
                format!("record {from} does not exist"),
                format!("the journal ends before record {seq_next}"),
            ),
            Self::SnapshotPoint { seq_next, why } => {
                Advice::none(format!("a snapshot of everything before record {seq_next} is not taken: {why}"))
            }
            Self::SnapshotReplaced => {
                Advice::new("the snapshot was replaced by a newer one meanwhile", "begin again")
            }
            Self::NotCovered { before, covered } => Advice::none(format!(
                "records before {before} are not trimmed: the snapshot stands for those before {covered} only"
            )),
            Self::Broken { path, seq, what } => Advice::new(
                format!("{} is damaged at record {seq}: {what}", path.display()),
                "restore the newest whole backup with `rientro journal restore`",
            ),
            Self::Corrupt { path, what } => Advice::new(
                format!("{} is damaged: {what}", path.display()),
                "keep a copy of it and restore the newest whole backup with `rientro journal restore`",
            ),
            Self::Format { path, found, known } => Advice::new(
                format!("{} has format {found}, this program reads format {known}", path.display()),
                "use the version that wrote it",
            ),
            Self::Poisoned { path, why } => {
                Advice::none(format!("the journal {} must be opened again after: {why}", path.display()))
            }
            Self::Io { what, path, .. } => Advice::new(
                format!("could not {what} {}", path.display()),
                "look at the disk and at the rights on it",
            ),
        }
    }

    /// Whether it was refused before anything was written: what was to be written is not found later either.
    #[must_use]
    pub const fn wrote_nothing(&self) -> bool {
        matches!(self, Self::Full { room: Some(_), .. })
    }

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
            Self::Full { path, room: None }
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
