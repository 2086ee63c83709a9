//! Content-addressed bytes outside the journal: inventories and other bulky facts, of which the journal holds the digests.
//!
//! A chunk is named by its digest, is never changed, and is checked whenever it is read. Nothing here decides how long a
//! chunk is needed.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rientro_types::Digest;

use super::{JournalError, files};

/// Longest chunk, in bytes: what a caller holds in memory at once, and what one message of a bulk call carries.
pub const CHUNK_FILE_BYTES_MAX: usize = 4 << 20;

/// Numbers the files of this process that have no lasting name yet.
static UNFINISHED: AtomicU64 = AtomicU64::new(0);

/// A chunk could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum ChunksError {
    /// There is no such chunk.
    #[error("no chunk {digest}; ask its source for it again")]
    Missing {
        /// The chunk.
        digest: Digest,
    },
    /// The stored bytes are not those that the digest names.
    #[error("chunk {digest} is damaged; remove {path} and ask its source for it again")]
    Damaged {
        /// The chunk.
        digest: Digest,
        /// Where it is.
        path: PathBuf,
    },
    /// It is longer than the bound.
    #[error("a chunk of {bytes} bytes is more than {CHUNK_FILE_BYTES_MAX}; split it")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The files below failed.
    #[error(transparent)]
    Storage(#[from] JournalError),
}

/// Bytes found again by their digest.
pub trait Chunks: Send + Sync + 'static {
    /// Keeps `bytes` durably and returns their digest. Keeping the same bytes twice is keeping them once.
    ///
    /// # Errors
    /// [`ChunksError::TooLarge`]; storage errors.
    fn put(&self, bytes: Bytes) -> impl Future<Output = Result<Digest, ChunksError>> + Send;

    /// The bytes with this digest.
    ///
    /// # Errors
    /// [`ChunksError::Missing`], [`ChunksError::Damaged`]; storage errors.
    fn get(&self, digest: Digest) -> impl Future<Output = Result<Bytes, ChunksError>> + Send;
}

/// Chunks as files in two levels of folders, so that a million of them makes no large folder.
#[derive(Clone, Debug)]
pub struct FileChunks {
    folder: PathBuf,
}

impl FileChunks {
    /// Chunks in `folder`, which is made when it is first needed.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.folder.join(&name[..2]).join(&name[2..4]).join(name)
    }

    fn store(&self, bytes: &[u8]) -> Result<Digest, ChunksError> {
        if bytes.len() > CHUNK_FILE_BYTES_MAX {
            return Err(ChunksError::TooLarge { bytes: bytes.len() });
        }
        let digest = Digest::of(bytes);
        let path = self.path(digest);
        if self.load(digest).is_ok() {
            return Ok(digest);
        }
        let parent = path.parent().unwrap_or(&self.folder);
        make_folders(parent)?;
        // Two writers of the same bytes must not share a file that one of them renames away.
        let number = UNFINISHED.fetch_add(1, Ordering::Relaxed);
        let unfinished = files::sibling(&path, &format!(".unfinished-{number}"));
        files::remove_leftover(&unfinished)?;
        let mut file = files::create(&unfinished)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|e| JournalError::io("write", &unfinished, e))?;
        files::publish(&unfinished, &path)?;
        Ok(digest)
    }

    fn load(&self, digest: Digest) -> Result<Bytes, ChunksError> {
        let path = self.path(digest);
        let file = File::open(&path).map_err(|e| {
            if e.kind() == io::ErrorKind::NotFound {
                ChunksError::Missing { digest }
            } else {
                JournalError::io("open", &path, e).into()
            }
        })?;
        let mut bytes = Vec::new();
        let read = file.take(CHUNK_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|e| JournalError::io("read", &path, e))?;
        if Digest::of(&bytes) != digest {
            return Err(ChunksError::Damaged { digest, path });
        }
        Ok(bytes.into())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ChunksError> + Send + 'static,
    ) -> Result<T, ChunksError> {
        let chunks = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&chunks)).await;
        done.map_err(|e| JournalError::io("use", &self.folder, io::Error::other(e)))?
    }
}

impl Chunks for FileChunks {
    async fn put(&self, bytes: Bytes) -> Result<Digest, ChunksError> {
        self.run(move |c| c.store(&bytes)).await
    }

    async fn get(&self, digest: Digest) -> Result<Bytes, ChunksError> {
        self.run(move |c| c.load(digest)).await
    }
}

/// Makes the folder and its parents, each one durable in the one above.
fn make_folders(folder: &Path) -> Result<(), JournalError> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folders(parent)?;
    }
    match fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(JournalError::io("create", folder, e)),
        _ => files::sync_folder_of(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept is found by its digest, once, and by another handle.
    #[tokio::test]
    async fn chunks_are_found_by_their_digest() {
        let folder = tempfile::tempdir().unwrap();
        let chunks = FileChunks::new(folder.path().join("chunks"));
        let absent = Digest::of(b"absent");
        assert!(matches!(chunks.get(absent).await, Err(ChunksError::Missing { .. })));
        for bytes in [Bytes::new(), Bytes::from_static(b"one"), vec![1; CHUNK_FILE_BYTES_MAX].into()] {
            let (first, second) = tokio::join!(chunks.put(bytes.clone()), chunks.put(bytes.clone()));
            assert_eq!(first.unwrap(), second.unwrap());
            let again = FileChunks::new(folder.path().join("chunks"));
            assert_eq!(again.get(Digest::of(&bytes)).await.unwrap(), bytes);
        }
        let long = Bytes::from(vec![0; CHUNK_FILE_BYTES_MAX + 1]);
        assert!(matches!(chunks.put(long).await, Err(ChunksError::TooLarge { .. })));
    }

    /// A changed file is never handed out, and putting the right bytes again heals it.
    #[tokio::test]
    async fn a_damaged_chunk_is_found_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let chunks = FileChunks::new(folder.path().to_owned());
        let digest = chunks.put(Bytes::from_static(b"inventory")).await.unwrap();
        fs::write(chunks.path(digest), b"inventorx").unwrap();
        assert!(matches!(chunks.get(digest).await, Err(ChunksError::Damaged { .. })));
        chunks.put(Bytes::from_static(b"inventory")).await.unwrap();
        assert_eq!(chunks.get(digest).await.unwrap(), "inventory");
    }
}
