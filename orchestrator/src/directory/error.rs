//! What can go wrong with the directory.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rientro_types::Advice;

use crate::journal::{Room, full};

/// The directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it open.
    #[error(
        "another orchestrator runs on this state directory: it holds {path}; stop that one, or give this one a directory of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("{}", full(path, *room))]
    Full {
        /// The file.
        path: PathBuf,
        /// What there is and what is kept free, where that is what refused.
        room: Option<Room>,
    },
    /// The storage failed meanwhile: what was not durable is lost.
    #[error(
        "the mailbox directory {path} had to be opened again, and what was being told is lost; tell it anew"
    )]
    Reopened {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error(
        "could not {what} the mailbox directory {path}; if it stays so, stop the orchestrator and remove the file: agents tell it anew"
    )]
    Failed {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
}

impl DirectoryError {
    /// An error of redb; a full disk or an exhausted quota is [`DirectoryError::Full`].
    pub(super) fn of(what: &'static str, path: &Path, source: redb::Error) -> Self {
        let path = path.to_owned();
        if matches!(source, redb::Error::DatabaseAlreadyOpen) {
            return Self::InUse { path };
        }
        if let redb::Error::Io(error) = &source
            && matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        {
            return Self::Full { path, room: None };
        }
        Self::Failed { what, path, source: Box::new(source) }
    }

    /// What is wrong, and what a person does about it.
    pub(crate) fn advice(&self) -> Advice {
        match self {
            Self::Full { path, room } => full(path, *room),
            Self::InUse { .. } | Self::Reopened { .. } | Self::Failed { .. } => {
                Advice::none(self.to_string())
            }
        }
    }
}
