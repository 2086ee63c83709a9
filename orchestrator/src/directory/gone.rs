//! Mailboxes that a shard listed and lists no more: the last that is known of them.
//!
//! Two things are made of it. People who ask for such a mailbox are told where it was and until when. And what vanished while
//! its shard served nothing counts against the shard: one mailbox that is gone and another that appeared leave every count as
//! it was, and only the lists tell. That number goes to the engine, which decides and keeps it; what stands here is evidence,
//! and losing it never makes the number smaller.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use rientro_types::{CellTime, MailboxId, ShardId};

use super::{ID_BYTES, Id, LISTS, Listing, of_shard, to_keep};

/// When it was last listed, when it was first not, and whether it counts.
const GONE: TableDefinition<'_, (&str, &Id), (u64, u64, u8)> = TableDefinition::new("gone");
/// When a shard was listed; and, while it is held for missing mailboxes, how many of those are not remembered.
const LISTED: TableDefinition<'_, &str, (u64, Option<u64>)> = TableDefinition::new("listed");
/// Vanished while its shard served nothing, and nobody has settled that.
const COUNTS: u8 = 1;
/// Vanished while its shard was in service: its customer or the provider deleted it.
const SERVED: u8 = 2;

/// Most mailboxes remembered: a hundred shards of some hundred customers, in 8 MiB. When there are more they are forgotten down
/// to seven eighths of it, those first that do not count, and of these the ones that are gone longest.
const GONE_MAX: usize = 1 << 16;

/// A mailbox that a shard listed and lists no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    /// Which shard.
    pub(crate) shard: ShardId,
    /// When the last list with it was told. A list is told when it changes: it may have been there until shortly before
    /// `missed`.
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

/// What a list lacks.
struct Lacks {
    /// Mailboxes of the list before.
    vanished: BTreeSet<Id>,
    /// These, and those that it lacked before.
    left: u64,
    /// What it was held for before and is not remembered here: nothing tells whether it is back.
    lost: u64,
}

/// How many mailboxes the shard of a list lacks: of those of the list before, and of those that it lacked before when it is
/// held for that. What was missing and is not remembered here goes on missing.
pub(super) fn unlisted(txn: &ReadTransaction, listing: &Listing) -> Result<u64, redb::Error> {
    let (lists, gone, listed) = (txn.open_table(LISTS)?, txn.open_table(GONE)?, txn.open_table(LISTED)?);
    let Lacks { vanished: _, left, lost } = lacks(&lists, &gone, &listed, listing)?;
    Ok(left + lost)
}

fn lacks(
    lists: &impl ReadableTable<&'static str, &'static [u8]>,
    gone: &impl ReadableTable<(&'static str, &'static Id), (u64, u64, u8)>,
    listed: &impl ReadableTable<&'static str, (u64, Option<u64>)>,
    listing: &Listing,
) -> Result<Lacks, redb::Error> {
    let shard = listing.shard.as_str();
    let vanished = vanished(lists, listing)?;
    let Some(before) = listing.unlisted else {
        return Ok(Lacks { left: vanished.len() as u64, vanished, lost: 0 });
    };
    let (mut left, mut back) = (vanished.clone(), 0);
    for row in gone.range(of_shard(shard))? {
        let (key, value) = row?;
        let (id, (_, _, marks)) = (*key.value().1, value.value());
        match (marks & COUNTS != 0, listing.has(&id)) {
            (false, _) => {}
            (true, true) => back += 1,
            (true, false) => drop(left.insert(id)),
        }
    }
    let left = left.len() as u64;
    // Once it is known what was lost, more that vanishes does not take its place.
    let lost = listed.get(shard)?.and_then(|listed| listed.value().1);
    Ok(Lacks { vanished, left, lost: lost.unwrap_or(before.saturating_sub(left + back)) })
}

/// Remembers what a list lacks that the one before had, and forgets what is back. To be called before the list is put.
pub(super) fn note(txn: &WriteTransaction, listing: &Listing) -> Result<(), redb::Error> {
    let (shard, at) = (listing.shard.as_str(), listing.at.unix_ms());
    let (mut gone, mut listed) = (txn.open_table(GONE)?, txn.open_table(LISTED)?);
    let Lacks { vanished, left: _, lost } = lacks(&txn.open_table(LISTS)?, &gone, &listed, listing)?;
    gone.retain_in(of_shard(shard), |(_, id), _| !listing.has(id))?;
    if listing.unlisted.is_none() {
        settle(&mut gone, shard)?;
    }
    let before = listed.get(shard)?.map_or(at, |before| before.value().0);
    let marks = if listing.served { SERVED } else { COUNTS };
    for id in vanished {
        gone.insert((shard, &id), (before, at, marks))?;
    }
    listed.insert(shard, (at, listing.unlisted.map(|_| lost)))?;
    if gone.len()? > GONE_MAX as u64 { forget_some(&mut gone) } else { Ok(()) }
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
        let (key, value) = row?;
        let ((shard, id), (_, missed, marks)) = (key.value(), value.value());
        order.push((marks & COUNTS, missed, shard.to_owned(), *id));
    }
    order.sort_unstable();
    order.truncate(order.len() - to_keep(GONE_MAX));
    for (_, _, shard, id) in order {
        gone.remove((shard.as_str(), &id))?;
    }
    Ok(())
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

/// Mailboxes that count against a shard: at most `max` of them, ascending, and how many there are.
pub(super) fn missing(
    txn: &ReadTransaction,
    shard: ShardId,
    max: usize,
) -> Result<(Vec<MailboxId>, u64), redb::Error> {
    let (mut named, mut count) = (Vec::new(), 0);
    for row in txn.open_table(GONE)?.range(of_shard(shard.as_str()))? {
        let (key, value) = row?;
        if value.value().2 & COUNTS == 0 {
            continue;
        }
        count += 1;
        if named.len() < max {
            named.push(MailboxId::from_raw(*key.value().1));
        }
    }
    Ok((named, count))
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
