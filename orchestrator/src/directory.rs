//! Which shard lists which mailbox: erasable, and no part of the journal.
//!
//! One value a shard: its mailbox ids, ascending, 16 bytes each. Writing a list is one value, whatever its length. Finding a
//! mailbox looks into every list, which reads 144 MB for nine million mailboxes: well under a second, and asked by people
//! rather than programs. The file holds no addresses; losing it loses nothing that agents will not tell again, but what they
//! told before and do not tell any more, and since when: see [`gone`] and [`newcomer`].
//!
//! A disk that is full or fails takes nothing but what was being told, which agents tell again, and only for as long as it is
//! so: see [`mod@file`].

mod error;
mod file;
mod gone;
mod newcomer;

use std::path::PathBuf;
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use rientro_types::{CellTime, MailboxId, ShardId};
use tokio::sync::Semaphore;

pub(crate) use error::DirectoryError;
use file::{File, Opening};
pub(crate) use gone::Gone;

const LISTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("lists");
const ID_BYTES: usize = 16;
type Id = [u8; ID_BYTES];
/// The lists, two tables of what is gone, one of newcomers.
const TABLES: usize = 4;
/// Lookups at once: each reads the whole directory.
const LOOKUPS_MAX: usize = 2;

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

/// Lists that are put one after the other and become durable together.
#[derive(Debug)]
pub(crate) struct Telling {
    directory: Directory,
    /// Where the first of them was put. What waits to become durable is lost when the file has to be opened again.
    put_in: Option<Opening>,
}

impl Directory {
    /// Opens the directory at `path`, or makes an empty one. Where the disk is full it is opened later, by whoever uses it first
    /// when there is room.
    ///
    /// Nothing is written while the disk has less than `reserve_bytes` left.
    ///
    /// # Errors
    /// [`DirectoryError`] when the file cannot be opened, or holds what makes no sense.
    pub(crate) async fn open(path: PathBuf, reserve_bytes: u64) -> Result<Self, DirectoryError> {
        let file = Arc::new(File::new(path, reserve_bytes));
        let directory = Self { file, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) };
        match directory.read(|_| Ok(())).await {
            Err(error @ DirectoryError::Full { .. }) => {
                tracing::error!(%error, "lists of mailboxes are neither taken nor shown until there is room");
            }
            opened => opened?,
        }
        Ok(directory)
    }

    /// For each list, how many mailboxes its shard lacks. Changes nothing: asked again before the lists are put, it answers
    /// the same.
    pub(crate) async fn compare(
        &self,
        lists: Vec<Listing>,
    ) -> Result<(Vec<Listing>, Vec<u64>), DirectoryError> {
        self.read(move |database| {
            let txn = database.begin_read()?;
            let unlisted = lists.iter().map(|list| gone::unlisted(&txn, list)).collect::<Result<_, _>>()?;
            Ok((lists, unlisted))
        })
        .await
    }

    /// Begins to put lists.
    pub(crate) fn telling(&self) -> Telling {
        Telling { directory: self.clone(), put_in: None }
    }

    /// Shards that list the mailbox; at most `max`.
    pub(crate) async fn find(&self, mailbox: MailboxId, max: usize) -> Result<Vec<Listed>, DirectoryError> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        self.read(move |database| {
            let _permit = permit;
            find(database, mailbox, max)
        })
        .await
    }

    /// Shards that listed the mailbox and list it no more; at most `max`.
    pub(crate) async fn find_gone(
        &self,
        mailbox: MailboxId,
        max: usize,
    ) -> Result<Vec<Gone>, DirectoryError> {
        self.read(move |database| gone::find(&database.begin_read()?, mailbox, max)).await
    }

    /// Mailboxes that a shard lacks and that count against it: at most `max` of them, and how many there are.
    pub(crate) async fn missing(
        &self,
        shard: ShardId,
        max: usize,
    ) -> Result<(Vec<MailboxId>, u64), DirectoryError> {
        self.read(move |database| gone::missing(&database.begin_read()?, shard, max)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        self.run("read", move |file| file.with("read", None, work).map(|(read, _)| read)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&File) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || work(&file)).await;
        // A panic in there means that the file's content made no sense to redb.
        done.unwrap_or_else(|panic| Err(self.file.failed(what, std::io::Error::other(panic).into())))
    }
}

impl Telling {
    /// Puts lists in the place of what was told before, and remembers what they lack. Durable after the next
    /// [`Telling::sync`].
    ///
    /// # Errors
    /// [`DirectoryError`]: nothing of this telling counts, and it is to be told again.
    pub(crate) async fn put(&mut self, lists: Vec<Listing>) -> Result<(), DirectoryError> {
        if lists.is_empty() {
            return Ok(());
        }
        self.write("write", lists, Durability::None).await
    }

    /// Makes everything put so far durable.
    ///
    /// # Errors
    /// As [`Telling::put`].
    pub(crate) async fn sync(&mut self) -> Result<(), DirectoryError> {
        self.write("sync", Vec::new(), Durability::Immediate).await
    }

    async fn write(
        &mut self,
        what: &'static str,
        lists: Vec<Listing>,
        durability: Durability,
    ) -> Result<(), DirectoryError> {
        let put_in = self.put_in;
        let bytes = lists.iter().map(|list| list.mailboxes.len() * ID_BYTES).sum();
        let write = move |file: &File| {
            file.require_room(bytes)?;
            file.with(what, put_in, |database| put(database, &lists, durability))
        };
        let ((), opening) = self.directory.run(what, write).await?;
        self.put_in = Some(opening);
        Ok(())
    }
}

/// Makes the tables, unless they are there: then nothing is written.
fn prepare(database: &Database) -> Result<(), redb::Error> {
    if database.begin_read()?.list_tables()?.count() == TABLES {
        return Ok(());
    }
    let txn = database.begin_write()?;
    txn.open_table(LISTS)?;
    gone::prepare(&txn)?;
    newcomer::prepare(&txn)?;
    Ok(txn.commit()?)
}

fn put(database: &Database, lists: &[Listing], durability: Durability) -> Result<(), redb::Error> {
    let mut txn = database.begin_write()?;
    txn.set_durability(durability)?;
    for listing in lists {
        gone::note(&txn, listing)?;
        newcomer::note(&txn, listing)?;
        let ids: Vec<u8> = listing.mailboxes.iter().flat_map(|id| *id.raw()).collect();
        txn.open_table(LISTS)?.insert(listing.shard.as_str(), ids.as_slice())?;
    }
    Ok(txn.commit()?)
}

fn find(database: &Database, mailbox: MailboxId, max: usize) -> Result<Vec<Listed>, redb::Error> {
    let txn = database.begin_read()?;
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

/// Rows left where there were more than `max`: some fewer, so that not every list that comes has to forget.
const fn to_keep(max: usize) -> usize {
    max - max / 8
}

/// Every key of one shard.
fn of_shard(shard: &str) -> std::ops::RangeInclusive<(&str, &'static Id)> {
    (shard, &[0; ID_BYTES])..=(shard, &[u8::MAX; ID_BYTES])
}

#[cfg(test)]
mod tests;
