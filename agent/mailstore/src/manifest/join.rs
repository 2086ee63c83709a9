//! Two lists in order, joined by the beginning of their rows: what is alike is paired one by one, and what is left of either
//! side is kept in its order for the next join. Of any number of rows that are all alike no more than two are in memory.

use std::cmp::Ordering;
use std::io;
use std::path::Path;

use super::row::{ROW_BYTES, RawRow};
use super::spool::Spool;

/// Rows that come one by one, in order.
pub(super) trait RawRows {
    /// The next row in bytes.
    fn next_raw(&mut self) -> io::Result<Option<RawRow>>;
}

/// A row of one side, or one of each side that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    Both(RawRow, RawRow),
    Old(RawRow),
    New(RawRow),
}

/// A join.
pub(super) struct Join<O, N> {
    olds: O,
    news: N,
    old: Option<RawRow>,
    new: Option<RawRow>,
    /// Rows are alike whose beginnings of so many bytes are equal.
    alike_bytes: usize,
}

impl<O: RawRows, N: RawRows> Join<O, N> {
    pub(super) fn new(mut olds: O, mut news: N, alike_bytes: usize) -> io::Result<Self> {
        let (old, new) = (olds.next_raw()?, news.next_raw()?);
        Ok(Self { olds, news, old, new, alike_bytes })
    }

    /// The next pair. Every row comes once, whatever the order in which they are.
    pub(super) fn next(&mut self) -> io::Result<Option<Pair>> {
        let order = match (&self.old, &self.new) {
            (Some(old), Some(new)) => old[..self.alike_bytes].cmp(&new[..self.alike_bytes]),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(None),
        };
        let old = if order.is_le() { std::mem::replace(&mut self.old, self.olds.next_raw()?) } else { None };
        let new = if order.is_ge() { std::mem::replace(&mut self.new, self.news.next_raw()?) } else { None };
        Ok(match (old, new) {
            (Some(old), Some(new)) => Some(Pair::Both(old, new)),
            (old, new) => old.map(Pair::Old).or(new.map(Pair::New)),
        })
    }
}

/// Bytes of kept rows in memory, and those that are read at once.
const KEPT_BYTES_MAX: usize = 512 * ROW_BYTES;
const READ_BYTES: usize = 64 * ROW_BYTES;

/// Rows that are kept in the order in which they come.
pub(super) struct Kept<'d>(Spool<'d>);

impl<'d> Kept<'d> {
    /// None; many are put into a file without a name in this directory.
    pub(super) fn new(scratch: &'d Path) -> Self {
        Self(Spool::new(scratch, KEPT_BYTES_MAX))
    }

    pub(super) fn push(&mut self, row: &RawRow) -> io::Result<()> {
        self.0.push(row)
    }

    /// Reads all of them.
    pub(super) fn read(&self) -> KeptRows<'_> {
        KeptRows { spool: &self.0, at: 0, buffer: Vec::new(), next: 0 }
    }
}

/// A reading of kept rows.
pub(super) struct KeptRows<'k> {
    spool: &'k Spool<'k>,
    /// Where what is not yet in the buffer begins.
    at: u64,
    buffer: Vec<u8>,
    next: usize,
}

impl RawRows for KeptRows<'_> {
    fn next_raw(&mut self) -> io::Result<Option<RawRow>> {
        if self.next == self.buffer.len() {
            let left = usize::try_from(self.spool.bytes() - self.at).unwrap_or(usize::MAX);
            self.buffer.resize(left.min(READ_BYTES), 0);
            self.spool.read_exact_at(&mut self.buffer, self.at)?;
            (self.at, self.next) = (self.at + self.buffer.len() as u64, 0);
        }
        let row = self.buffer[self.next..].first_chunk().copied();
        self.next += row.map_or(0, |_| ROW_BYTES);
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows whose first two bytes are these, in order.
    fn rows(numbers: &[(u8, u8)]) -> Vec<RawRow> {
        let row = |(one, two): &(u8, u8)| {
            let mut row = [0; ROW_BYTES];
            (row[0], row[1]) = (*one, *two);
            row
        };
        let mut rows: Vec<_> = numbers.iter().map(row).collect();
        rows.sort_unstable();
        rows
    }

    fn kept<'d>(rows: &[RawRow], scratch: &'d Path) -> Kept<'d> {
        let mut kept = Kept(Spool::new(scratch, 3 * ROW_BYTES));
        rows.iter().for_each(|row| kept.push(row).unwrap());
        kept
    }

    proptest! {
        /// A join gives what searching for each row by itself gives.
        #[test]
        fn rows_are_paired_one_by_one(
            old in prop::collection::vec((0_u8..4, 0_u8..3), 0..200),
            new in prop::collection::vec((0_u8..4, 0_u8..3), 0..200),
            alike_bytes in 1_usize..3,
        ) {
            let (old, new) = (rows(&old), rows(&new));
            let (mut left, mut paired) = (new.clone(), Vec::new());
            let mut gone = old.clone();
            gone.retain(|was| {
                let found = left.iter().position(|is| is[..alike_bytes] == was[..alike_bytes]);
                paired.extend(found.map(|at| (*was, left.remove(at))));
                found.is_none()
            });

            let scratch = tempfile::tempdir().unwrap();
            let (olds, news) = (kept(&old, scratch.path()), kept(&new, scratch.path()));
            let mut join = Join::new(olds.read(), news.read(), alike_bytes).unwrap();
            let (mut both, mut of_old, mut of_new) = (Vec::new(), Vec::new(), Vec::new());
            while let Some(pair) = join.next().unwrap() {
                match pair {
                    Pair::Both(was, is) => both.push((was, is)),
                    Pair::Old(was) => of_old.push(was),
                    Pair::New(is) => of_new.push(is),
                }
            }
            prop_assert_eq!((both, of_old, of_new), (paired, gone, left));
        }
    }
}
