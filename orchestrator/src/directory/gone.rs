//! Mailboxes that a shard listed and lists no more: the last that is known of them.
//!
//! Two things are made of it. People who ask for such a mailbox are told where it was and until when. And what vanished while
//! its shard served nothing counts against the shard: one mailbox that is gone and another that appeared leave every count as
//! it was, and only the lists tell. That number goes to the engine, which decides and keeps it; what stands here is evidence,
//! and losing it never makes the number smaller.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use rientro_types::{CellTime, MailboxId, ShardId};

use super::{ID_BYTES, LISTS, Listing};

type Id = [u8; ID_BYTES];

/// When it was last listed, when it was first not, and whether it counts.
const GONE: TableDefinition<'_, (&str, &Id), (u64, u64, u8)> = TableDefinition::new("gone");
/// When a shard was listed.
const LISTED: TableDefinition<'_, &str, u64> = TableDefinition::new("listed");
/// Vanished while its shard served nothing, and nobody has settled that.
const COUNTS: u8 = 1;
/// Vanished while its shard was in service: its customer or the provider deleted it.
const SERVED: u8 = 2;

/// Most mailboxes remembered: a hundred shards of some hundred customers, in 8 MiB. When there are more an eighth of them is
/// forgotten, those first that do not count, and of these the ones that are gone longest.
const GONE_MAX: u64 = 1 << 16;

/// A mailbox that a shard listed and lists no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    /// Which shard.
    pub(crate) shard: ShardId,
    /// When the last list with it was told.
    pub(crate) listed: CellTime,
    /// When the first list without it was told.
    pub(crate) missed: CellTime,
    /// Whether the shard was in service then.
    pub(crate) served: bool,
}

/// Makes the tables.
pub(super) fn prepare(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(GONE)?;
    txn.open_table(LISTED)?;
    Ok(())
}

/// How many mailboxes the shard of a list lacks: of those of the list before, and of those that it lacked before when it is
/// held for that. What was missing and is not remembered here goes on missing.
pub(super) fn unlisted(txn: &ReadTransaction, listing: &Listing) -> Result<u64, redb::Error> {
    let mut left = vanished(&txn.open_table(LISTS)?, listing)?;
    let Some(before) = listing.unlisted else { return Ok(left.len() as u64) };
    let mut back = 0;
    for row in txn.open_table(GONE)?.range(of_shard(listing.shard.as_str()))? {
        let (key, value) = row?;
        let (id, (_, _, marks)) = (*key.value().1, value.value());
        if marks & COUNTS == 0 {
            continue;
        }
        if listing.has(&id) {
            back += 1;
        } else {
            left.insert(id);
        }
    }
    let left = left.len() as u64;
    Ok(left + before.saturating_sub(left + back))
}

/// Remembers what a list lacks that the one before had, and forgets what is back. To be called before the list is put.
pub(super) fn note(txn: &WriteTransaction, listing: &Listing) -> Result<(), redb::Error> {
    let vanished = vanished(&txn.open_table(LISTS)?, listing)?;
    let shard = listing.shard.as_str();
    let at = listing.at.unix_ms();
    let mut listed = txn.open_table(LISTED)?;
    let mut gone = txn.open_table(GONE)?;
    let held = listing.unlisted.is_some();
    gone.retain_in(of_shard(shard), |(_, id), _| !listing.has(id))?;
    if !held {
        settle(&mut gone, shard)?;
    }
    let before = listed.get(shard)?.map_or(at, |before| before.value());
    let marks = if listing.served { SERVED } else { COUNTS };
    for id in vanished {
        gone.insert((shard, &id), (before, at, marks))?;
    }
    listed.insert(shard, at)?;
    if gone.len()? > GONE_MAX { forget_some(&mut gone) } else { Ok(()) }
}

/// What a shard lacked, and is not held for, a person has taken as right.
fn settle(
    gone: &mut redb::Table<'_, (&'static str, &'static Id), (u64, u64, u8)>,
    shard: &str,
) -> Result<(), redb::Error> {
    let mut settled = Vec::new();
    for row in gone.range(of_shard(shard))? {
        let (key, value) = row?;
        let (listed, missed, marks) = value.value();
        if marks & COUNTS != 0 {
            settled.push((*key.value().1, (listed, missed, marks & !COUNTS)));
        }
    }
    for (id, value) in settled {
        gone.insert((shard, &id), value)?;
    }
    Ok(())
}

fn forget_some(
    gone: &mut redb::Table<'_, (&'static str, &'static Id), (u64, u64, u8)>,
) -> Result<(), redb::Error> {
    let mut order = Vec::new();
    for row in gone.iter()? {
        let (_, missed, marks) = row?.1.value();
        order.push((marks & COUNTS, missed));
    }
    order.sort_unstable();
    let last = order[order.len() / 8];
    Ok(gone.retain(|_, (_, missed, marks)| (marks & COUNTS, missed) > last)?)
}

/// Shards that listed the mailbox and list it no more; at most `max`.
pub(super) fn find(txn: &ReadTransaction, mailbox: MailboxId, max: usize) -> Result<Vec<Gone>, redb::Error> {
    let mut found = Vec::new();
    for row in txn.open_table(GONE)?.iter()? {
        let (key, value) = row?;
        let ((shard, id), (listed, missed, marks)) = (key.value(), value.value());
        if id != mailbox.raw() {
            continue;
        }
        let [listed, missed] = [listed, missed].map(CellTime::from_unix_ms);
        let served = marks & SERVED != 0;
        found.extend(ShardId::new(shard).map(|shard| Gone { shard, listed, missed, served }));
        if found.len() == max {
            break;
        }
    }
    Ok(found)
}

/// Mailboxes of the list before that this one lacks.
fn vanished(
    lists: &impl ReadableTable<&'static str, &'static [u8]>,
    listing: &Listing,
) -> Result<BTreeSet<Id>, redb::Error> {
    let Some(before) = lists.get(listing.shard.as_str())? else { return Ok(BTreeSet::new()) };
    let (before, _) = before.value().as_chunks::<ID_BYTES>();
    Ok(before.iter().filter(|id| !listing.has(id)).copied().collect())
}

/// Every key of one shard.
fn of_shard(shard: &str) -> std::ops::RangeInclusive<(&str, &'static Id)> {
    (shard, &[0; ID_BYTES])..=(shard, &[u8::MAX; ID_BYTES])
}
