//! Which shard lists which mailbox: erasable, and no part of the journal.
//!
//! One value a shard: its mailbox ids, ascending, 16 bytes each. Writing a list is one value, whatever its length. Finding a
//! mailbox looks into every list, which reads 144 MB for nine million mailboxes: well under a second, and asked by people
//! rather than programs. The file holds no addresses; losing it loses nothing that agents will not tell again.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use rientro_types::{MailboxId, ShardId};
use tokio::sync::Semaphore;

const LISTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("lists");
const ID_BYTES: usize = 16;
/// Lookups at once: each reads the whole directory.
const LOOKUPS_MAX: usize = 2;
/// Who may read the file: its owner.
const FILE_MODE: u32 = 0o600;
/// Bytes of the file kept in memory.
const CACHE_BYTES: usize = 16 << 20;

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

/// The directory; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    file: Arc<File>,
    lookups: Arc<Semaphore>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    database: Database,
}

impl Directory {
    /// Opens the directory at `path`, or makes an empty one. Blocks.
    ///
    /// # Errors
    /// [`DirectoryError`] when the file cannot be opened.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let open = || {
            let mut options = OpenOptions::new();
            let file =
                options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
            let database = Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(FileBackend::new(file)?)?;
            let txn = database.begin_write()?;
            txn.open_table(LISTS)?;
            txn.commit()?;
            Ok(database)
        };
        let database = open().map_err(|e| failed("open", path, e))?;
        let file = File { path: path.to_owned(), database };
        Ok(Self { file: Arc::new(file), lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) })
    }

    /// Puts lists in the place of what was told before. Durable after the next [`Directory::sync`].
    pub(crate) async fn put(&self, lists: Vec<(ShardId, Vec<MailboxId>)>) -> Result<(), DirectoryError> {
        if lists.is_empty() {
            return Ok(());
        }
        self.run("write", move |file| file.put(&lists)).await
    }

    /// Makes everything put so far durable.
    pub(crate) async fn sync(&self) -> Result<(), DirectoryError> {
        self.run("sync", |file| file.put_with(&[], Durability::Immediate)).await
    }

    /// Shards that list the mailbox; at most `max`.
    pub(crate) async fn find(&self, mailbox: MailboxId, max: usize) -> Result<Vec<ShardId>, DirectoryError> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        self.run("read", move |file| {
            let _permit = permit;
            file.find(mailbox, max)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&File) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || work(&file)).await;
        let done = done.unwrap_or_else(|e| Err(redb::Error::Io(std::io::Error::other(e))));
        done.map_err(|e| failed(what, &self.file.path, e))
    }
}

fn failed(what: &'static str, path: &Path, source: redb::Error) -> DirectoryError {
    let path = path.to_owned();
    if matches!(source, redb::Error::DatabaseAlreadyOpen) {
        return DirectoryError::InUse { path };
    }
    DirectoryError::Failed { what, path, source: Box::new(source) }
}

impl File {
    fn put(&self, lists: &[(ShardId, Vec<MailboxId>)]) -> Result<(), redb::Error> {
        self.put_with(lists, Durability::None)
    }

    fn put_with(
        &self,
        lists: &[(ShardId, Vec<MailboxId>)],
        durability: Durability,
    ) -> Result<(), redb::Error> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(durability)?;
        {
            let mut table = txn.open_table(LISTS)?;
            for (shard, mailboxes) in lists {
                let ids: Vec<u8> = mailboxes.iter().flat_map(|id| *id.raw()).collect();
                table.insert(shard.as_str(), ids.as_slice())?;
            }
        }
        Ok(txn.commit()?)
    }

    fn find(&self, mailbox: MailboxId, max: usize) -> Result<Vec<ShardId>, redb::Error> {
        let txn = self.database.begin_read()?;
        let mut found = Vec::new();
        for row in txn.open_table(LISTS)?.iter()? {
            let (shard, ids) = row?;
            let (ids, _) = ids.value().as_chunks::<ID_BYTES>();
            if ids.binary_search(mailbox.raw()).is_ok() {
                found.extend(ShardId::new(shard.value()));
            }
            if found.len() == max {
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u8>) -> Vec<MailboxId> {
        range.map(|n| MailboxId::from_raw([n; 16])).collect()
    }

    fn shard(name: &str) -> ShardId {
        ShardId::new(name).unwrap()
    }

    #[tokio::test]
    async fn a_list_replaces_the_one_before_and_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directory.redb");
        let directory = Directory::open(&path).unwrap();
        directory.put(vec![(shard("a"), ids(0..9)), (shard("b"), ids(5..7))]).await.unwrap();
        let five = MailboxId::from_raw([5; 16]);
        assert_eq!(directory.find(five, 16).await.unwrap(), [shard("a"), shard("b")]);
        assert_eq!(directory.find(five, 1).await.unwrap(), [shard("a")]);
        directory.put(vec![(shard("a"), ids(6..9))]).await.unwrap();
        directory.sync().await.unwrap();
        drop(directory);
        let directory = Directory::open(&path).unwrap();
        assert_eq!(directory.find(five, 16).await.unwrap(), [shard("b")]);
        assert!(directory.find(MailboxId::from_raw([200; 16]), 16).await.unwrap().is_empty());
    }
}
