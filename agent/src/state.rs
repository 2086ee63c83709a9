//! The state directory: what outlives the process.
//!
//! ```text
//! lock            held by the one agent that runs on this directory
//! incarnation     16 hexadecimal digits, drawn when the directory was made
//! ledger          every durable fact; see `ledger`
//! services/SHARD  what is open, one service a line: for people and scripts; follows from the ledger
//! findings/       what verifications saw; see `findings`
//! ```
//!
//! Losing the directory is losing the node's life: it comes back with another incarnation, and its tries are void.

mod fact;
mod facts;
mod ledger;

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rientro_types::{NodeIncarnation, ServiceSet, ShardId};

use crate::durable;

pub use fact::{Fact, FactError};
pub use facts::{Facts, ShardFacts, fence_of};
pub use ledger::{AppendError, FACTS_PER_WRITE_MAX, Ledger, LedgerError, RESULT_BYTES_MAX, Recovered};

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Something in it could not be read or written.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another agent runs on it.
    #[error(
        "another agent runs on the state directory {path}; stop it, or give this one a directory of its own"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The incarnation is no number.
    #[error("{path} does not hold 16 hexadecimal digits; start with an empty state directory")]
    Incarnation {
        /// The file.
        path: PathBuf,
    },
    /// The ledger cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The open state directory. Holds its lock until dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
    /// Life of this directory.
    pub incarnation: NodeIncarnation,
}

impl StateDir {
    /// Opens the directory at `path`, making it where there is none, and reads its facts. Tries that were begun and not ended
    /// are durably ended as interrupted.
    ///
    /// # Errors
    /// [`StateError`] when it is in use, cannot be read or written, or is damaged.
    pub fn open(path: &Path) -> Result<(Self, Ledger, Facts), StateError> {
        for directory in [path.to_owned(), services_dir(path), findings_dir(path)] {
            durable::create_directory(&directory).map_err(fail("create", &directory))?;
        }
        let lock = lock(path)?;
        let incarnation = incarnation(&path.join("incarnation"))?;
        let (mut ledger, mut facts, recovered) = Ledger::open(&path.join("ledger"))?;
        if recovered.torn_bytes > 0 {
            tracing::info!(bytes = recovered.torn_bytes, "unfinished write at the end of the ledger cut off");
        }
        end_interrupted(path, &mut ledger, &mut facts)?;
        let state = Self { path: path.to_owned(), _lock: lock, incarnation };
        state.show_all(&facts)?;
        Ok((state, ledger, facts))
    }

    /// Where findings are kept.
    #[must_use]
    pub fn findings(&self) -> PathBuf {
        findings_dir(&self.path)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where open services are shown.
    #[must_use]
    pub fn services(&self) -> ServicesShown {
        ServicesShown(services_dir(&self.path))
    }

    /// Brings the readable files to what the ledger says: the last start may have ended between the two.
    fn show_all(&self, facts: &Facts) -> Result<(), StateError> {
        let shown = self.services();
        for (shard, services) in
            facts.shards.iter().filter_map(|(id, s)| s.services.map(|(_, open)| (id, open)))
        {
            let path = shown.path(*shard);
            if fs::read(&path).ok().as_deref() != Some(text(services).as_bytes()) {
                shown.show(*shard, services).map_err(fail("write", &path))?;
            }
        }
        Ok(())
    }
}

/// The readable files of open services.
#[derive(Clone, Debug)]
pub struct ServicesShown(PathBuf);

impl ServicesShown {
    /// Shows what is open. Readers see the old set or the new, never a part. Not synced: a start makes it agree with the ledger.
    ///
    /// # Errors
    /// The error of writing.
    pub fn show(&self, shard: ShardId, services: ServiceSet) -> io::Result<()> {
        let path = self.path(shard);
        let temporary = durable::temporary(&path);
        durable::create(&temporary)?.write_all(text(services).as_bytes())?;
        fs::rename(temporary, path)
    }

    fn path(&self, shard: ShardId) -> PathBuf {
        self.0.join(shard.as_str())
    }
}

/// One service a line; an empty file is a closed shard.
fn text(services: ServiceSet) -> String {
    services.iter().fold(String::new(), |text, service| text + service.name() + "\n")
}

fn services_dir(path: &Path) -> PathBuf {
    path.join("services")
}

fn findings_dir(path: &Path) -> PathBuf {
    path.join("findings")
}

fn lock(path: &Path) -> Result<File, StateError> {
    let file = path.join("lock");
    let lock = durable::create(&file).map_err(fail("create", &file))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StateError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(StateError::Io { what: "lock", path: file, source }),
    }
}

fn incarnation(path: &Path) -> Result<NodeIncarnation, StateError> {
    match fs::read_to_string(path) {
        Ok(text) => u64::from_str_radix(text.trim_end(), 16)
            .map(NodeIncarnation::from_raw)
            .map_err(|_| StateError::Incarnation { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let drawn = durable::random().map_err(fail("draw", path))?;
            let drawn = NodeIncarnation::from_raw(u64::from_le_bytes(drawn));
            durable::replace(path, format!("{drawn}\n").as_bytes()).map_err(fail("write", path))?;
            Ok(drawn)
        }
        Err(source) => Err(StateError::Io { what: "read", path: path.to_owned(), source }),
    }
}

fn end_interrupted(path: &Path, ledger: &mut Ledger, facts: &mut Facts) -> Result<(), StateError> {
    for part in facts.interrupted().chunks(FACTS_PER_WRITE_MAX) {
        ledger.append(part).map_err(|error| StateError::Io {
            what: "end interrupted tries in",
            path: path.join("ledger"),
            source: io::Error::other(error),
        })?;
        part.iter().for_each(|fact| facts.apply(fact));
    }
    Ok(())
}

fn fail<'p>(what: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> StateError + use<'p> {
    move |source| StateError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
