//! Why a state directory cannot be used, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use rientro_types::Advice;

use crate::journal::JournalError;

/// Where the cell's key may come from.
const KEY_NEXT: &str = "put the cell's own mailbox.key there: the copy that you keep beside the backups (a backup holds none), or \
                        the one in the state directory in which the cell was led before";

/// The key beside a journal is another cell's, or of another founding of this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.advice())]
pub struct ForeignKey {
    /// The key file.
    pub path: PathBuf,
}

impl ForeignKey {
    /// What is wrong, and what to do about it.
    #[must_use]
    pub fn advice(&self) -> Advice {
        let path = self.path.display();
        Advice::new(
            format!(
                "{path} is not the key that this journal's cell was founded with: under it every mailbox would have another \
                 id, and what was decided about single mailboxes would be lost from sight"
            ),
            KEY_NEXT,
        )
    }
}

/// The state directory could not be used.
#[derive(Debug)]
pub enum StateDirError {
    /// The operating system refused.
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Something stands where the key should be, and cannot be read.
    KeyUnreadable {
        /// Where.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The key is damaged.
    KeyDamaged {
        /// The key file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The key is not the cell's.
    ForeignKey(ForeignKey),
    /// There is a journal and no key.
    KeyMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is something of a cell and no journal.
    JournalMissing {
        /// Where it was looked for.
        journal: PathBuf,
        /// What is there of the cell.
        beside: PathBuf,
    },
    /// An orchestrator is using it.
    InUse {
        /// The file that it holds.
        path: PathBuf,
    },
    /// There is no backup to restore from.
    BackupMissing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The journal could not be restored.
    Journal(JournalError),
}

impl StateDirError {
    /// What is wrong, with what the system said, and what to do about it.
    #[must_use]
    pub fn advice(&self) -> Advice {
        let mut advice = self.advice_without_source();
        if let Some(source) = self.source() {
            advice.what = format!("{}: {source}", advice.what);
        }
        advice
    }

    fn advice_without_source(&self) -> Advice {
        match self {
            Self::Io { what, path, source: _ } => {
                Advice::none(format!("could not {what} {}", path.display()))
            }
            Self::KeyUnreadable { path, why } => {
                Advice::new(format!("{} cannot be read as a mailbox key: {why}", path.display()), KEY_NEXT)
            }
            Self::KeyDamaged { path, bytes } => {
                let path = path.display();
                Advice::new(format!("{path} has {bytes} bytes and a mailbox key has 32"), KEY_NEXT)
            }
            Self::ForeignKey(foreign) => foreign.advice(),
            Self::KeyMissing { path } => {
                let what = format!("{} is missing beside a journal that has begun", path.display());
                Advice::new(what, KEY_NEXT)
            }
            Self::JournalMissing { journal, beside } => Advice::new(
                format!(
                    "{} is missing beside {}: this is a cell's state directory without its journal",
                    journal.display(),
                    beside.display()
                ),
                "restore the newest backup with `rientro journal restore`, or move the whole directory away to found a new, \
                 empty cell",
            ),
            Self::InUse { path } => Advice::new(
                format!("an orchestrator runs on this state directory: it holds {}", path.display()),
                "stop that orchestrator first: what it decides meanwhile would be lost",
            ),
            Self::BackupMissing { path } => Advice::new(
                format!("there is no file {}", path.display()),
                "name the file that `rientro journal backup` wrote",
            ),
            Self::Journal(error) => error.advice(),
        }
    }
}

impl fmt::Display for StateDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.advice_without_source().fmt(f)
    }
}

impl Error for StateDirError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Journal(error) => error.source(),
            Self::KeyUnreadable { .. }
            | Self::KeyDamaged { .. }
            | Self::ForeignKey(_)
            | Self::KeyMissing { .. }
            | Self::JournalMissing { .. }
            | Self::InUse { .. }
            | Self::BackupMissing { .. } => None,
        }
    }
}

impl From<JournalError> for StateDirError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<ForeignKey> for StateDirError {
    fn from(foreign: ForeignKey) -> Self {
        Self::ForeignKey(foreign)
    }
}
