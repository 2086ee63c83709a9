//! Maildir stores as this crate makes and damages them: where the mailboxes, folders and messages are.
//!
//! Reads only what Dovecot and the fleet generator write, and asks no other question; it is not a verifier and shares no code with one, so that
//! it can be its judge.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Largest plain message read back; the corpus has none of half this size.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// Dovecot's list of UIDs.
pub(crate) const UIDLIST: &str = "dovecot-uidlist";
/// How the names of a folder's index, its logs and its cache begin.
pub(crate) const INDEX: &str = "dovecot.index";

/// One Maildir of a store laid out as `{shard}/{domain}/{user}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mailbox {
    /// Folder of the node.
    pub root: PathBuf,
    /// The shard's folder inside the node's.
    pub shard: String,
    /// Path inside the shard.
    pub path: PathBuf,
}

impl Mailbox {
    /// The Maildir's own folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.root.join(&self.shard).join(&self.path)
    }

    /// Where the index and the uidlist of INBOX at an earlier time are kept, beside the node's folder.
    pub(crate) fn earlier(&self) -> PathBuf {
        self.root.with_extension("earlier").join(&self.shard).join(&self.path)
    }

    /// Keeps the index and the uidlist of INBOX as they are, for a time when they are old.
    ///
    /// # Errors
    /// When a file cannot be copied.
    pub(crate) fn keep_index(&self) -> Result<()> {
        let (folder, earlier) = (self.folder(), self.earlier());
        fs::create_dir_all(&earlier).with_context(|| format!("make {}", earlier.display()))?;
        for name in names(&folder)?.iter().filter(|name| *name == UIDLIST || name.starts_with(INDEX)) {
            fs::copy(folder.join(name), earlier.join(name)).with_context(|| format!("keep {name}"))?;
        }
        Ok(())
    }

    /// Folders with messages, as paths inside the Maildir: the empty path is INBOX.
    ///
    /// # Errors
    /// When the Maildir cannot be listed.
    pub fn folders(&self) -> Result<Vec<PathBuf>> {
        let mut folders = vec![PathBuf::new()];
        let named = names(&self.folder())?.into_iter().filter(|name| name.starts_with('.'));
        folders.extend(named.map(PathBuf::from).filter(|name| self.folder().join(name).join("cur").is_dir()));
        Ok(folders)
    }

    /// Messages of a folder, as paths inside the Maildir, sorted; none where `cur` or `new` is missing.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn messages(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut messages = Vec::new();
        for part in ["cur", "new"] {
            let inside = folder.join(part);
            if !self.folder().join(&inside).exists() {
                continue;
            }
            messages.extend(names(&self.folder().join(&inside))?.into_iter().map(|name| inside.join(name)));
        }
        Ok(messages)
    }
}

/// Mailboxes under the roots of nodes, sorted.
///
/// # Errors
/// When a directory cannot be listed.
pub fn mailboxes(roots: &[PathBuf]) -> Result<Vec<Mailbox>> {
    let mut found = Vec::new();
    for root in roots {
        // A dot file at the root is the volume's marker, not a shard.
        for shard in names(root)?.into_iter().filter(|name| !name.starts_with('.')) {
            for domain in names(&root.join(&shard))? {
                for user in names(&root.join(&shard).join(&domain))? {
                    let path = Path::new(&domain).join(user);
                    found.push(Mailbox { root: root.clone(), shard: shard.clone(), path });
                }
            }
        }
    }
    Ok(found)
}

/// Copies a directory with everything in it, as a cloned machine has it.
///
/// # Errors
/// When something in it cannot be read, or the copy not be written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry.context("list a directory")?;
        let (path, into) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().context("look at an entry")?.is_dir() {
            copy(&path, &into)?;
        } else {
            fs::copy(&path, &into).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// A message in plain form, decompressed if it is a gzip stream.
///
/// # Errors
/// When it is no regular file, cannot be read or the stream is broken.
pub fn read_plain(path: &Path) -> Result<Vec<u8>> {
    let metadata = fs::symlink_metadata(path).with_context(|| format!("stat {}", path.display()))?;
    ensure!(metadata.is_file(), "{} is no regular file", path.display());
    let stored = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    if !is_gzip(&stored) {
        return Ok(stored);
    }
    let mut plain = Vec::new();
    let mut stream = flate2::read::MultiGzDecoder::new(stored.as_slice()).take(MESSAGE_BYTES_MAX);
    stream.read_to_end(&mut plain).with_context(|| format!("decompress {}", path.display()))?;
    Ok(plain)
}

/// Whether the file is a gzip stream.
#[must_use]
pub fn is_gzip(stored: &[u8]) -> bool {
    stored.starts_with(&[0x1f, 0x8b])
}

/// Removes a folder's index, its logs and its cache.
pub(crate) fn remove_index(folder: &Path) -> Result<()> {
    for name in names(folder)?.iter().filter(|name| name.starts_with(INDEX)) {
        fs::remove_file(folder.join(name)).with_context(|| format!("remove {name}"))?;
    }
    Ok(())
}

/// Names in a directory, sorted.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let listed = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut names: Vec<String> =
        listed.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
