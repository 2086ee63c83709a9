//! Rows in order, whatever their number: sorted runs in a file without a name, merged when they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::join::RawRows;
use super::row::{KEY_BYTES, Order, ROW_BYTES, RawRow, Row};

/// Rows of a run that are read at once when runs are merged.
const READ_ROWS: usize = 64;

/// Puts rows in order.
pub(super) struct Sorter<'d> {
    scratch: &'d Path,
    order: Order,
    rows: Vec<RawRow>,
    rows_max: usize,
    file: Option<File>,
    /// Rows in each run of the file.
    runs: Vec<u64>,
}

impl<'d> Sorter<'d> {
    /// An empty one, which keeps so many rows in memory.
    pub(super) fn new(scratch: &'d Path, order: Order, rows_max: usize) -> Self {
        Self { scratch, order, rows: Vec::new(), rows_max: rows_max.max(1), file: None, runs: Vec::new() }
    }

    pub(super) fn push(&mut self, row: &Row) -> io::Result<()> {
        if self.rows.len() >= self.rows_max {
            self.put_run()?;
        }
        self.rows.push(self.order.encode(row));
        Ok(())
    }

    fn put_run(&mut self) -> io::Result<()> {
        let at = self.runs.iter().sum::<u64>() * ROW_BYTES as u64;
        self.sort();
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(self.scratch)?),
        };
        file.write_all_at(self.rows.as_flattened(), at)?;
        self.runs.push(self.rows.len() as u64);
        self.rows.clear();
        Ok(())
    }

    fn sort(&mut self) {
        self.rows.sort_unstable();
    }

    /// The rows in order; they can be read several times.
    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        self.sort();
        Ok(Sorted { order: self.order, rows: self.rows, file: self.file, runs: self.runs })
    }
}

/// Rows in order.
pub(super) struct Sorted {
    order: Order,
    rows: Vec<RawRow>,
    file: Option<File>,
    runs: Vec<u64>,
}

impl Sorted {
    pub(super) fn len(&self) -> u64 {
        self.runs.iter().sum::<u64>() + self.rows.len() as u64
    }

    /// Reads all rows from the first one on.
    pub(super) fn read(&self) -> io::Result<Merge<'_>> {
        let mut at = 0;
        let mut runs = Vec::with_capacity(self.runs.len());
        for rows in &self.runs {
            let end = at + rows * ROW_BYTES as u64;
            runs.push(Run { at, end, buffer: Vec::new(), next: 0 });
            at = end;
        }
        let mut merge = Merge { sorted: self, runs, in_memory: 0, heap: BinaryHeap::new() };
        for run in 0..=merge.runs.len() {
            merge.advance(run)?;
        }
        Ok(merge)
    }
}

/// Where the reading of a run is.
struct Run {
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    next: usize,
}

impl Run {
    fn next(&mut self, file: &File) -> io::Result<Option<RawRow>> {
        if self.next == self.buffer.len() {
            let count =
                (READ_ROWS * ROW_BYTES).min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
            self.buffer.resize(count, 0);
            file.read_exact_at(&mut self.buffer, self.at)?;
            (self.at, self.next) = (self.at + count as u64, 0);
        }
        let row = self.buffer[self.next..].first_chunk().copied();
        self.next += row.map_or(0, |_| ROW_BYTES);
        Ok(row)
    }
}

/// A reading of all rows in order.
pub(super) struct Merge<'s> {
    sorted: &'s Sorted,
    runs: Vec<Run>,
    /// Rows taken of those in memory, which are the last run.
    in_memory: usize,
    heap: BinaryHeap<Reverse<(RawRow, usize)>>,
}

impl Merge<'_> {
    /// The next row.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        Ok(self.next_raw()?.map(|raw| self.sorted.order.decode(&raw)))
    }

    fn advance(&mut self, run: usize) -> io::Result<()> {
        let next = match (self.runs.get_mut(run), &self.sorted.file) {
            (Some(of_file), Some(file)) => of_file.next(file)?,
            (Some(_), None) => None,
            (None, _) => {
                self.in_memory += 1;
                self.sorted.rows.get(self.in_memory - 1).copied()
            }
        };
        self.heap.extend(next.map(|row| Reverse((row, run))));
        Ok(())
    }
}

impl RawRows for Merge<'_> {
    fn next_raw(&mut self) -> io::Result<Option<RawRow>> {
        let Some(Reverse((row, run))) = self.heap.pop() else { return Ok(None) };
        self.advance(run)?;
        Ok(Some(row))
    }
}

/// The part of a row that says which message it is.
pub(super) fn key(row: &RawRow) -> &[u8] {
    &row[..KEY_BYTES]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rientro_types::Digest;

    use crate::manifest::row::FolderId;

    fn row(number: u8) -> Row {
        Row {
            folder: FolderId([number % 3; 16]),
            guid: [number; 16],
            identity: Digest::of(&[number]),
            plain_bytes: u64::from(number),
            file_at: u64::from(number % 5),
            offset: 0,
            uid: u32::from(number),
            marked: false,
            again: false,
        }
    }

    proptest! {
        #[test]
        fn any_number_of_runs_reads_in_order(
            numbers in prop::collection::vec(any::<u8>(), 0..400),
            rows_max in 1_usize..200,
        ) {
            let scratch = tempfile::tempdir().unwrap();
            for order in [Order::Place, Order::Content, Order::Message] {
                let mut sorter = Sorter::new(scratch.path(), order, rows_max);
                numbers.iter().for_each(|number| sorter.push(&row(*number)).unwrap());
                let sorted = sorter.finish().unwrap();
                prop_assert_eq!(sorted.len(), numbers.len() as u64);
                let mut expected: Vec<_> = numbers.iter().map(|number| order.encode(&row(*number))).collect();
                expected.sort_unstable();
                for _ in 0..2 {
                    let mut merge = sorted.read().unwrap();
                    let mut read = Vec::new();
                    while let Some(raw) = merge.next_raw().unwrap() {
                        read.push(raw);
                    }
                    prop_assert_eq!(&read, &expected);
                }
            }
        }
    }
}
