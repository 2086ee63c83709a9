//! Mailboxes that appeared in a shard that was listed before: since when they are listed.
//!
//! A verification that passed before says nothing of them, so they must not be told of with its words. What the first list of a
//! shard holds is not noted: nobody knows since when it is there.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use rientro_types::{CellTime, MailboxId, ShardId};

use super::{ID_BYTES, Id, LISTS, Listing, of_shard, to_keep};

/// When the first list with it was told, of those lists that all have it.
const NEWCOMERS: TableDefinition<'_, (&str, &Id), u64> = TableDefinition::new("newcomers");

/// Most newcomers noted: those of years, in 8 MiB. When there are more they are forgotten down to seven eighths of it, those
/// first that are listed longest.
const NEWCOMERS_MAX: usize = 1 << 16;

/// Makes the table.
pub(super) fn prepare(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(NEWCOMERS)?;
    Ok(())
}

/// Notes what a list has that the one before had not, and forgets what it lacks. To be called before the list is put.
pub(super) fn note(txn: &WriteTransaction, listing: &Listing) -> Result<(), redb::Error> {
    let shard = listing.shard.as_str();
    let (lists, mut newcomers) = (txn.open_table(LISTS)?, txn.open_table(NEWCOMERS)?);
    let Some(before) = lists.get(shard)? else { return Ok(()) };
    let (before, _) = before.value().as_chunks::<ID_BYTES>();
    newcomers.retain_in(of_shard(shard), |(_, id), _| listing.has(id))?;
    for id in listing.mailboxes.iter().filter(|id| before.binary_search(id.raw()).is_err()) {
        newcomers.insert((shard, id.raw()), listing.at.unix_ms())?;
    }
    if newcomers.len()? > NEWCOMERS_MAX as u64 { forget_some(&mut newcomers) } else { Ok(()) }
}

fn forget_some(newcomers: &mut redb::Table<'_, (&'static str, &'static Id), u64>) -> Result<(), redb::Error> {
    let mut order = Vec::new();
    for row in newcomers.iter()? {
        let (key, at) = row?;
        let (shard, id) = key.value();
        order.push((at.value(), shard.to_owned(), *id));
    }
    order.sort_unstable();
    order.truncate(order.len() - to_keep(NEWCOMERS_MAX));
    for (_, shard, id) in order {
        newcomers.remove((shard.as_str(), &id))?;
    }
    Ok(())
}

/// Since when a shard lists the mailbox, if it appeared after the shard's first list.
pub(super) fn since(
    txn: &ReadTransaction,
    shard: ShardId,
    mailbox: MailboxId,
) -> Result<Option<CellTime>, redb::Error> {
    let since = txn.open_table(NEWCOMERS)?.get((shard.as_str(), mailbox.raw()))?;
    Ok(since.map(|at| CellTime::from_unix_ms(at.value())))
}
