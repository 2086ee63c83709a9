//! Which shard lists which mailbox: erasable, and no part of the journal.
//!
//! One value a shard: its mailbox ids, ascending, 16 bytes each. Writing a list is one value, whatever its length. Finding a
//! mailbox looks into every list, which reads 144 MB for nine million mailboxes: well under a second, and asked by people
//! rather than programs. The file holds no addresses; losing it loses nothing that agents will not tell again, but what they
//! told before and do not tell any more, and since when: see [`gone`] and [`newcomer`].

mod gone;
mod newcomer;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use rientro_types::{CellTime, MailboxId, ShardId};
use tokio::sync::Semaphore;

pub(crate) use gone::Gone;

const LISTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("lists");
const ID_BYTES: usize = 16;
type Id = [u8; ID_BYTES];
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

/// A shard's mailboxes, as its node tells them.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// The shard.
    pub(crate) shard: ShardId,
    /// Its mailboxes, ascending.
    pub(crate) mailboxes: Vec<MailboxId>,
    /// When it was told.
    pub(crate) at: CellTime,
    /// Whether the shard was in service: then its customers may have deleted mailboxes.
    pub(crate) served: bool,
    /// How many mailboxes it lacked before, when it is held for missing ones or for what is graver than those.
    pub(crate) unlisted: Option<u64>,
}

impl Listing {
    fn has(&self, id: &Id) -> bool {
        self.mailboxes.binary_search_by(|mailbox| mailbox.raw().cmp(id)).is_ok()
    }
}

/// A shard that lists a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Which shard.
    pub(crate) shard: ShardId,
    /// When the first list with the mailbox was told; absent when the shard's first list has it already.
    pub(crate) since: Option<CellTime>,
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
    /// Opens the directory at `path`, or makes an empty one.
    ///
    /// # Errors
    /// [`DirectoryError`] when the file cannot be opened, or holds what makes no sense.
    pub(crate) async fn open(path: PathBuf) -> Result<Self, DirectoryError> {
        let opened = path.clone();
        let database = blocking(move || open(&opened)).await.map_err(|e| failed("open", &path, e))?;
        let file = Arc::new(File { path, database });
        Ok(Self { file, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) })
    }

    /// For each list, how many mailboxes its shard lacks. Changes nothing: asked again before the lists are put, it answers
    /// the same.
    pub(crate) async fn compare(
        &self,
        lists: Vec<Listing>,
    ) -> Result<(Vec<Listing>, Vec<u64>), DirectoryError> {
        self.run("read", move |file| {
            let txn = file.database.begin_read()?;
            let unlisted = lists.iter().map(|list| gone::unlisted(&txn, list)).collect::<Result<_, _>>()?;
            Ok((lists, unlisted))
        })
        .await
    }

    /// Puts lists in the place of what was told before, and remembers what they lack. Durable after the next
    /// [`Directory::sync`].
    pub(crate) async fn put(&self, lists: Vec<Listing>) -> Result<(), DirectoryError> {
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
    pub(crate) async fn find(&self, mailbox: MailboxId, max: usize) -> Result<Vec<Listed>, DirectoryError> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        self.run("read", move |file| {
            let _permit = permit;
            file.find(mailbox, max)
        })
        .await
    }

    /// Shards that listed the mailbox and list it no more; at most `max`.
    pub(crate) async fn find_gone(
        &self,
        mailbox: MailboxId,
        max: usize,
    ) -> Result<Vec<Gone>, DirectoryError> {
        self.run("read", move |file| gone::find(&file.database.begin_read()?, mailbox, max)).await
    }

    /// Mailboxes that a shard lacks and that count against it: at most `max` of them, and how many there are.
    pub(crate) async fn missing(
        &self,
        shard: ShardId,
        max: usize,
    ) -> Result<(Vec<MailboxId>, u64), DirectoryError> {
        self.run("read", move |file| gone::missing(&file.database.begin_read()?, shard, max)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&File) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let file = Arc::clone(&self.file);
        blocking(move || work(&file)).await.map_err(|e| failed(what, &self.file.path, e))
    }
}

/// Runs `work` where it may block. A panic in there means that the file's content made no sense to redb.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, redb::Error> + Send + 'static,
) -> Result<T, redb::Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(redb::Error::Io(std::io::Error::other(e))))
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
    let database =
        Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?;
    let txn = database.begin_write()?;
    txn.open_table(LISTS)?;
    gone::prepare(&txn)?;
    newcomer::prepare(&txn)?;
    txn.commit()?;
    Ok(database)
}

fn failed(what: &'static str, path: &Path, source: redb::Error) -> DirectoryError {
    let path = path.to_owned();
    if matches!(source, redb::Error::DatabaseAlreadyOpen) {
        return DirectoryError::InUse { path };
    }
    DirectoryError::Failed { what, path, source: Box::new(source) }
}

impl File {
    fn put(&self, lists: &[Listing]) -> Result<(), redb::Error> {
        self.put_with(lists, Durability::None)
    }

    fn put_with(&self, lists: &[Listing], durability: Durability) -> Result<(), redb::Error> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(durability)?;
        for listing in lists {
            gone::note(&txn, listing)?;
            newcomer::note(&txn, listing)?;
            let ids: Vec<u8> = listing.mailboxes.iter().flat_map(|id| *id.raw()).collect();
            txn.open_table(LISTS)?.insert(listing.shard.as_str(), ids.as_slice())?;
        }
        Ok(txn.commit()?)
    }

    fn find(&self, mailbox: MailboxId, max: usize) -> Result<Vec<Listed>, redb::Error> {
        let txn = self.database.begin_read()?;
        let mut found = Vec::new();
        for row in txn.open_table(LISTS)?.iter()? {
            let (shard, ids) = row?;
            let (ids, _) = ids.value().as_chunks::<ID_BYTES>();
            if ids.binary_search(mailbox.raw()).is_ok() {
                let Ok(shard) = ShardId::new(shard.value()) else { continue };
                found.push(Listed { shard, since: newcomer::since(&txn, shard, mailbox)? });
            }
            if found.len() == max {
                break;
            }
        }
        Ok(found)
    }
}

/// Rows left where there were more than `max`: some fewer, so that not every list that comes has to forget.
const fn to_keep(max: usize) -> usize {
    max - max / 8
}

/// Every key of one shard.
fn of_shard(shard: &str) -> std::ops::RangeInclusive<(&str, &'static Id)> {
    (shard, &[0; ID_BYTES])..=(shard, &[u8::MAX; ID_BYTES])
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

    fn list(name: &str, mailboxes: Vec<MailboxId>) -> Listing {
        Listing {
            shard: shard(name),
            mailboxes,
            at: CellTime::from_unix_ms(7),
            served: false,
            unlisted: None,
        }
    }

    fn listed(mailboxes: std::ops::Range<u8>, at: u64, unlisted: Option<u64>) -> Listing {
        Listing { at: CellTime::from_unix_ms(at), unlisted, ..list("a", ids(mailboxes)) }
    }

    async fn listing(directory: &Directory, mailbox: MailboxId, max: usize) -> Vec<ShardId> {
        directory.find(mailbox, max).await.unwrap().into_iter().map(|listed| listed.shard).collect()
    }

    async fn since(directory: &Directory, id: u8) -> Option<u64> {
        let found = directory.find(MailboxId::from_raw([id; 16]), 16).await.unwrap();
        found[0].since.map(CellTime::unix_ms)
    }

    async fn gone(directory: &Directory, id: u8) -> Vec<(u64, u64, bool)> {
        let found = directory.find_gone(MailboxId::from_raw([id; 16]), 16).await.unwrap();
        found.into_iter().map(|gone| (gone.listed.unix_ms(), gone.missed.unix_ms(), gone.served)).collect()
    }

    /// Puts a list as a session does, and tells what it lacks: the same before and after a retry.
    async fn told(directory: &Directory, listing: Listing) -> u64 {
        let (lists, lacks) = directory.compare(vec![listing]).await.unwrap();
        let (lists, again) = directory.compare(lists).await.unwrap();
        assert_eq!(lacks, again);
        directory.put(lists).await.unwrap();
        lacks[0]
    }

    #[tokio::test]
    async fn a_list_replaces_the_one_before_and_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directory.redb");
        let directory = Directory::open(path.clone()).await.unwrap();
        directory.put(vec![list("a", ids(0..9)), list("b", ids(5..7))]).await.unwrap();
        let five = MailboxId::from_raw([5; 16]);
        assert_eq!(listing(&directory, five, 16).await, [shard("a"), shard("b")]);
        assert_eq!(listing(&directory, five, 1).await, [shard("a")]);
        directory.put(vec![list("a", ids(6..9))]).await.unwrap();
        directory.sync().await.unwrap();
        drop(directory);
        let directory = Directory::open(path.clone()).await.unwrap();
        assert_eq!(listing(&directory, five, 16).await, [shard("b")]);
        assert!(directory.find(MailboxId::from_raw([200; 16]), 16).await.unwrap().is_empty());
        assert_eq!(gone(&directory, 5).await, [(7, 7, false)]);
    }

    /// R7: what vanished is remembered with its times until it is back, and counted while the shard is held for it.
    #[tokio::test]
    async fn what_vanishes_is_remembered_until_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("directory.redb")).await.unwrap();
        assert_eq!(told(&directory, listed(0..9, 10, None)).await, 0, "nothing was known");
        assert_eq!(told(&directory, listed(1..10, 20, None)).await, 1, "as many, and others");
        assert_eq!(gone(&directory, 0).await, [(10, 20, false)]);
        assert_eq!(told(&directory, listed(3..12, 30, Some(1))).await, 3);
        assert_eq!(told(&directory, listed(1..12, 40, Some(3))).await, 1, "two are back");
        assert_eq!((gone(&directory, 0).await.len(), gone(&directory, 1).await.len()), (1, 0));
        assert_eq!(told(&directory, listed(0..12, 50, Some(1))).await, 0);
        assert!(gone(&directory, 0).await.is_empty());
    }

    /// R7: which mailboxes a shard is held for can be told, while it is held for them.
    #[tokio::test]
    async fn what_counts_against_a_shard_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("directory.redb")).await.unwrap();
        told(&directory, listed(0..9, 10, None)).await;
        told(&directory, Listing { served: true, ..listed(1..9, 20, None) }).await;
        told(&directory, listed(4..9, 30, None)).await;
        assert_eq!(directory.missing(shard("a"), 2).await.unwrap(), (ids(1..3), 3));
        assert_eq!(directory.missing(shard("b"), 2).await.unwrap(), (vec![], 0));
        told(&directory, listed(3..9, 40, Some(3))).await;
        assert_eq!(directory.missing(shard("a"), 9).await.unwrap(), (ids(1..3), 2));
        told(&directory, listed(3..9, 50, None)).await;
        assert_eq!(directory.missing(shard("a"), 9).await.unwrap(), (vec![], 0), "settled");
    }

    /// What appears after a shard's first list is known by the time of the list that showed it, until it vanishes.
    #[tokio::test]
    async fn a_newcomer_is_listed_since_it_appeared() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("directory.redb")).await.unwrap();
        told(&directory, listed(1..4, 10, None)).await;
        told(&directory, listed(1..6, 20, None)).await;
        told(&directory, listed(1..7, 30, None)).await;
        let of = async |id| since(&directory, id).await;
        assert_eq!([of(3).await, of(4).await, of(6).await], [None, Some(20), Some(30)]);
        told(&directory, listed(1..3, 40, None)).await;
        told(&directory, listed(1..6, 50, Some(3))).await;
        assert_eq!([of(2).await, of(3).await, of(5).await], [None, Some(50), Some(50)], "back after a gap");
    }

    /// What a person has settled, and what was deleted in service, is remembered and counts no more.
    #[tokio::test]
    async fn what_was_settled_or_deleted_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("directory.redb")).await.unwrap();
        told(&directory, listed(0..9, 10, None)).await;
        told(&directory, listed(1..9, 20, None)).await;
        assert_eq!(told(&directory, listed(2..9, 30, None)).await, 1, "settled between");
        assert_eq!(told(&directory, listed(2..9, 40, Some(1))).await, 1, "only what is missing since");
        assert_eq!(told(&directory, listed(1..9, 50, Some(1))).await, 0);
        told(&directory, Listing { served: true, ..listed(4..9, 60, None) }).await;
        assert_eq!(gone(&directory, 3).await, [(50, 60, true)]);
        assert_eq!(told(&directory, listed(5..9, 70, None)).await, 1);
        assert_eq!(told(&directory, listed(4..9, 80, Some(1))).await, 0);
        assert_eq!(gone(&directory, 0).await, [(10, 20, false)]);
    }

    /// R7: a directory that was lost makes nothing of what was missing good.
    #[tokio::test]
    async fn what_is_not_remembered_goes_on_missing() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("directory.redb")).await.unwrap();
        assert_eq!(told(&directory, listed(1..9, 10, Some(2))).await, 2);
        assert_eq!(told(&directory, listed(0..9, 20, Some(2))).await, 2);
        assert_eq!(told(&directory, listed(3..9, 30, Some(2))).await, 5);
    }

    /// What is remembered has a bound: what does not count goes first, and of that the oldest.
    #[tokio::test]
    async fn the_oldest_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("directory.redb")).await.unwrap();
        let many: Vec<_> =
            (0..70_000_u32).map(|no| MailboxId::from_raw(u128::from(no).to_be_bytes())).collect();
        let part = |from: usize, at: u64, served: bool| Listing {
            at: CellTime::from_unix_ms(at),
            served,
            ..list("a", many[from..].to_vec())
        };
        for (from, at, served) in [(0, 1, false), (5_000, 2, false), (40_000, 3, true), (69_000, 4, true)] {
            directory.put(vec![part(from, at, served)]).await.unwrap();
        }
        let found = |no: usize| directory.find_gone(many[no], 1);
        let forgotten = async |no| found(no).await.unwrap().is_empty();
        assert_eq!([forgotten(0).await, forgotten(4_999).await], [true; 2]);
        assert_eq!([forgotten(30_000).await, forgotten(68_999).await], [false; 2]);
    }

    /// The bound holds however many vanish or appear at once.
    #[tokio::test]
    async fn what_is_remembered_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path().join("directory.redb")).await.unwrap();
        let of = |from: u32, to: u32| {
            let ids = (from..to).map(|no| MailboxId::from_raw(u128::from(no).to_be_bytes())).collect();
            list("a", ids)
        };
        for listing in [of(0, 1), of(0, 200_000), of(199_999, 200_000)] {
            directory.put(vec![listing]).await.unwrap();
        }
        let (_, missing) = directory.missing(shard("a"), 1).await.unwrap();
        assert_eq!(missing, 7 << 13);
    }

    /// A file whose pages make no sense is an error with a way out, whatever redb does about them.
    #[tokio::test]
    async fn a_broken_file_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("directory.redb");
        let directory = Directory::open(path.clone()).await.unwrap();
        directory.put(vec![list("a", ids(0..9))]).await.unwrap();
        directory.sync().await.unwrap();
        drop(directory);
        let whole = std::fs::read(&path).unwrap();
        let mut refused = 0;
        for page in 0..whole.len() / 4_096 {
            let mut broken = whole.clone();
            broken[page * 4_096..][..4_096].fill(0);
            std::fs::write(&path, &broken).unwrap();
            if let Err(error) = Directory::open(path.clone()).await {
                assert!(error.to_string().contains("remove the file"), "page {page}: {error}");
                refused += 1;
            }
        }
        assert!(refused > 0);
    }
}
