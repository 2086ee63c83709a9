//! Files that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::JournalError;

/// Only the orchestrator's user reads decisions.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The path with `suffix` added to its last component.
pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates a file that must not exist.
pub(super) fn create(path: &Path) -> Result<File, JournalError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|e| JournalError::io("create", path, e))
}

/// Creates a folder, and those above it, where there is none.
pub(super) fn create_folder(path: &Path) -> Result<(), JournalError> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
    made.map_err(|e| JournalError::io("create", path, e))
}

/// Removes what a killed process left behind, if anything.
pub(super) fn remove_leftover(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(JournalError::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// Refuses a path at which something is.
pub(super) fn refuse_existing(path: &Path) -> Result<(), JournalError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(JournalError::Exists { path: path.to_owned() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(JournalError::io("look at", path, e)),
    }
}

/// Gives a synced file its lasting name, durably.
pub(super) fn publish(from: &Path, to: &Path) -> Result<(), JournalError> {
    fs::rename(from, to).map_err(|e| JournalError::io("rename", from, e))?;
    sync_folder_of(to)
}

/// Makes the names in the folder that holds `path` durable.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), JournalError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synced = File::open(folder).and_then(|f| f.sync_all());
    synced.map_err(|e| JournalError::io("sync", folder, e))
}
