//! Writing so that it is still there after the power fails.
//!
//! A file is written under a temporary name beside its place, synced, renamed, and its directory synced: a reader sees the old
//! content or the new, and after [`replace`] has returned, the new. Everything is its owner's alone: findings name mailboxes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Ends the names of files that are being written. No name of a fact ends so.
pub const TEMPORARY_SUFFIX: &str = ".writing~";

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Opens an empty file for writing, for its owner alone.
///
/// # Errors
/// The error of creating it.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}

/// Makes a directory where there is none, and those above it, for their owner alone.
///
/// # Errors
/// The error of creating one of them.
pub fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

/// Makes `content` the content of the file at `path`, durably.
///
/// # Errors
/// The error of writing, syncing or renaming; the file then has its old content, or is absent if it was, unless it was only the
/// directory that could not be synced.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let mut file = create(&temporary)?;
    file.write_all(content)?;
    commit(&file, &temporary, path)
}

/// Makes the written file at `temporary` the one at `path`, durably.
///
/// # Errors
/// The error of syncing or renaming.
pub fn commit(file: &File, temporary: &Path, path: &Path) -> io::Result<()> {
    stage(file, path)?.put(temporary, path)
}

/// Syncs the written file that is to take the place at `path`. Until it does, everything is as it was.
///
/// # Errors
/// The error of syncing it, or of opening the directory of `path`.
pub fn stage(file: &File, path: &Path) -> io::Result<Staged> {
    file.sync_all()?;
    let directory = path.parent().map(File::open).transpose()?;
    Ok(Staged { directory })
}

/// A file whose content is durable, under another name than it is to have.
#[derive(Debug)]
pub struct Staged {
    directory: Option<File>,
}

impl Staged {
    /// Gives it its place.
    ///
    /// # Errors
    /// The error of renaming it or of syncing the directory. Which content is in the place after a crash is not known then.
    pub fn put(self, temporary: &Path, path: &Path) -> io::Result<()> {
        fs::rename(temporary, path)?;
        self.directory.map_or(Ok(()), |directory| directory.sync_all())
    }
}

/// The name under which the file at `path` is written.
#[must_use]
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    name.into()
}

/// Syncs the directory that holds `path`, so that its name survives.
///
/// # Errors
/// The error of opening or syncing the directory.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Fresh random bytes of the operating system.
///
/// # Errors
/// The error of reading them.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fact");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
