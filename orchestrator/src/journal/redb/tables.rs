//! The tables of the file, and what they say about where the journal begins and ends.

use std::path::Path;

use ::redb::{ReadTransaction, ReadableTable, TableDefinition};
use rientro_types::{Digest, Epoch, Seq};

use super::errors::{corrupt, opening};
use crate::journal::{Head, JournalError, SealedEntry};

/// Entries in their stored form, by their first record.
pub(super) const ENTRIES: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("entries");
/// Single facts, by the names below.
pub(super) const FACTS: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("facts");
/// Snapshot chunks by snapshot and index: the digest up to and including the chunk, then its bytes.
pub(super) const CHUNKS: TableDefinition<'static, (u64, u32), &'static [u8]> = TableDefinition::new("chunks");

/// Format of the file: the meaning of these tables.
pub(super) const FORMAT: &str = "format";
/// The format written and read here.
pub(super) const FORMAT_KNOWN: u64 = 1;
/// The highest epoch that became writer.
pub(super) const FENCE: &str = "fence";
/// Number of the first record not trimmed, and the digest of the entry before it.
pub(super) const BASE: &str = "base";
/// Head of the present snapshot.
pub(super) const SNAPSHOT: &str = "snapshot";

/// What the tables say about where the journal begins and ends.
pub(super) fn load_head(path: &Path, txn: &ReadTransaction) -> Result<Head, JournalError> {
    let read = || -> Result<_, ::redb::Error> {
        let facts = txn.open_table(FACTS)?;
        let fact = |name| Ok::<_, ::redb::Error>(facts.get(name)?.map(|v| v.value().to_vec()));
        let last = txn.open_table(ENTRIES)?.last()?.map(|(_, v)| v.value().to_vec());
        Ok((fact(FORMAT)?, fact(FENCE)?, fact(BASE)?, last))
    };
    let (format, fence, base, last) = read().map_err(|e| opening(path, e))?;
    let found = number(format.as_deref()).ok_or_else(|| corrupt(path, "it is not a journal"))?;
    if found != FORMAT_KNOWN {
        return Err(JournalError::Format { path: path.to_owned(), found, known: FORMAT_KNOWN });
    }
    let fence = number(fence.as_deref()).ok_or_else(|| corrupt(path, "its fence is missing"))?;
    let base = base.as_deref().and_then(base_from_stored);
    let (first, chain) = base.ok_or_else(|| corrupt(path, "its beginning is missing"))?;
    let empty = Head { seq_next: first, chain, fence: Epoch::from_raw(fence), first };
    let Some(last) = last else { return Ok(empty) };
    let last = SealedEntry::from_stored(&last).map_err(|what| corrupt(path, what))?;
    Ok(Head { seq_next: last.seq_next(), chain: last.digest(), ..empty })
}

fn number(stored: Option<&[u8]>) -> Option<u64> {
    Some(u64::from_le_bytes(stored?.try_into().ok()?))
}

/// The stored form of where the journal begins.
pub(super) fn base_to_stored(first: Seq, chain: Digest) -> [u8; 40] {
    let mut stored = [0; 40];
    stored[..8].copy_from_slice(&first.raw().to_le_bytes());
    stored[8..].copy_from_slice(chain.raw());
    stored
}

fn base_from_stored(stored: &[u8]) -> Option<(Seq, Digest)> {
    let (first, chain) = stored.split_first_chunk::<8>()?;
    Some((Seq::from_raw(u64::from_le_bytes(*first)), Digest::from_raw(chain.try_into().ok()?)))
}
