//! What an index says in the end: the messages that exist, and what chosen extensions say of each.
//!
//! Kept are 4 bytes for the UID of each message and as many bytes as are asked for of each extension. Everything else of a
//! record (flags, other extensions) is passed over.

/// Most extensions of an index that are told apart. Dovecot and its plugins have some thirty; each that is introduced is looked for
/// among all.
pub(crate) const EXTENSIONS_MAX: usize = 256;

/// An extension that a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    /// Bytes kept of what it says of each message; what a file has less of is zero.
    pub(crate) record_bytes: usize,
    /// Bytes kept of what it says of all.
    pub(crate) header_bytes: usize,
}

/// An extension that the index has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extension {
    pub(super) name: Vec<u8>,
    /// What was written before the reset of this number counts no more.
    pub(super) reset_id: u32,
    /// Which column keeps it, if any.
    pub(super) column: Option<usize>,
}

/// One wanted extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    wanted: Wanted,
    pub(super) present: bool,
    header: Vec<u8>,
    cells: Vec<u8>,
}

impl Column {
    fn cell(&mut self, row: usize) -> &mut [u8] {
        let bytes = self.wanted.record_bytes;
        &mut self.cells[row * bytes..][..bytes]
    }

    /// Writes `data` over the beginning of a cell; the rest of it is zero.
    pub(super) fn set(&mut self, row: usize, data: &[u8]) {
        let cell = self.cell(row);
        let kept = data.len().min(cell.len());
        cell[..kept].copy_from_slice(&data[..kept]);
        cell[kept..].fill(0);
    }

    /// Adds to the little-endian number that a cell is, of at most 4 bytes.
    pub(super) fn increase(&mut self, row: usize, diff: i32) -> Result<(), &'static str> {
        let cell = self.cell(row);
        let mut number = [0; 8];
        let bytes = cell.len().min(4);
        number[..bytes].copy_from_slice(&cell[..bytes]);
        let sum = i64::from_le_bytes(number) + i64::from(diff);
        if sum < 0 || sum >> (8 * bytes) != 0 {
            return Err("a number of an extension leaves its range");
        }
        cell[..bytes].copy_from_slice(&sum.to_le_bytes()[..bytes]);
        Ok(())
    }

    /// Writes into what is kept of the header.
    pub(super) fn set_header(&mut self, at: usize, data: &[u8]) {
        let Some(room) = self.header.get_mut(at..) else { return };
        let kept = data.len().min(room.len());
        room[..kept].copy_from_slice(&data[..kept]);
    }

    pub(super) fn clear(&mut self) {
        self.header.fill(0);
        self.cells.fill(0);
    }

    fn push(&mut self) {
        self.cells.resize(self.cells.len() + self.wanted.record_bytes, 0);
    }
}

/// The messages of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) uidvalidity: u32,
    pub(crate) next_uid: u32,
    /// UIDs that exist, ascending.
    uids: Vec<u32>,
    pub(super) columns: Vec<Column>,
    pub(super) extensions: Vec<Extension>,
    /// Ranges whose expunge was asked for and may or may not have happened; after a replay ascending, none touching another.
    asked: Vec<(u32, u32)>,
    /// Something was met after which nothing of this can be told, and what.
    pub(crate) unclear: Option<&'static str>,
}

impl Table {
    /// An empty table that keeps these extensions.
    pub(crate) fn keeping(wanted: &[Wanted]) -> Self {
        let column = |wanted: &Wanted| Column {
            wanted: *wanted,
            present: false,
            header: vec![0; wanted.header_bytes],
            cells: Vec::new(),
        };
        Self { columns: wanted.iter().map(column).collect(), ..Self::default() }
    }

    /// A table with a message from UID 1 on for each of these cells of the first extension.
    #[cfg(test)]
    pub(crate) fn of_cells(wanted: &[Wanted], cells: &[Vec<u8>]) -> Self {
        let mut table = Self::keeping(wanted);
        for (uid, (row, cell)) in (1..).zip(cells.iter().enumerate()) {
            table.push(uid);
            table.columns[0].set(row, cell);
        }
        table
    }

    /// The messages that exist and that nobody asked to remove, to be met in the order of their UIDs.
    pub(crate) fn held(&self) -> Held<'_> {
        Held { table: self, at: 0, passed: 0, first: None }
    }

    /// Whether somebody asked to remove the message of this UID.
    pub(crate) fn is_asked(&self, uid: u32) -> bool {
        contains(&self.asked, uid)
    }

    /// The UIDs that exist, ascending, those included whose removal was asked for.
    pub(crate) fn uids(&self) -> &[u32] {
        &self.uids
    }

    /// How many messages exist.
    pub(crate) fn len(&self) -> usize {
        self.uids.len()
    }

    /// Place of a UID among those that exist.
    pub(crate) fn row(&self, uid: u32) -> Option<usize> {
        // Updates mostly are about the message that was appended last.
        match self.uids.last() {
            Some(last) if *last == uid => Some(self.uids.len() - 1),
            _ => self.uids.binary_search(&uid).ok(),
        }
    }

    /// Whether the index has the wanted extension of this number.
    pub(crate) fn has(&self, column: usize) -> bool {
        self.columns[column].present
    }

    /// What the wanted extension of this number says of the message at `row`.
    pub(crate) fn cell(&self, column: usize, row: usize) -> &[u8] {
        let column = &self.columns[column];
        let bytes = column.wanted.record_bytes;
        &column.cells[row * bytes..][..bytes]
    }

    /// What the wanted extension of this number says of all.
    pub(crate) fn header(&self, column: usize) -> &[u8] {
        &self.columns[column].header
    }

    /// Nothing can be told any more of what is asked for of extensions. Whoever asks for none loses nothing by it.
    pub(super) fn lose_extensions(&mut self, why: &'static str) {
        if !self.columns.is_empty() {
            self.unclear.get_or_insert(why);
        }
    }

    /// Adds an extension of the index; gives its number there, unless nobody asks for extensions or there are too many.
    pub(super) fn introduce(&mut self, name: &[u8], reset_id: u32) -> Option<usize> {
        if self.columns.is_empty() || self.extensions.len() == EXTENSIONS_MAX {
            self.lose_extensions("more extensions than are looked at");
            return None;
        }
        let column = self.columns.iter().position(|column| column.wanted.name.as_bytes() == name);
        if let Some(column) = column {
            self.columns[column].present = true;
        }
        self.extensions.push(Extension { name: name.to_vec(), reset_id, column });
        Some(self.extensions.len() - 1)
    }

    /// Adds a message; its UID must be above all others.
    pub(super) fn push(&mut self, uid: u32) {
        self.uids.push(uid);
        self.columns.iter_mut().for_each(Column::push);
        self.next_uid = self.next_uid.max(uid.saturating_add(1));
    }

    /// Notes that somebody asked to remove what is in these ranges.
    pub(super) fn ask(&mut self, ranges: impl Iterator<Item = (u32, u32)>) {
        self.asked.extend(ranges);
    }

    /// Removes what is in these ranges, and puts those that were asked for in order.
    pub(super) fn settle(&mut self, gone: &mut [(u32, u32)]) {
        self.asked = merged(std::mem::take(&mut self.asked));
        if gone.is_empty() {
            return;
        }
        gone.sort_unstable();
        let (mut at, mut reach, mut kept) = (0, 0, 0);
        for row in 0..self.uids.len() {
            let uid = self.uids[row];
            while at < gone.len() && gone[at].0 <= uid {
                reach = reach.max(gone[at].1);
                at += 1;
            }
            if uid > reach {
                self.uids[kept] = uid;
                for column in &mut self.columns {
                    let bytes = column.wanted.record_bytes;
                    column.cells.copy_within(row * bytes..(row + 1) * bytes, kept * bytes);
                }
                kept += 1;
            }
        }
        self.uids.truncate(kept);
        for column in &mut self.columns {
            column.cells.truncate(kept * column.wanted.record_bytes);
        }
    }
}

/// Messages of an index that another list is held against, UID by UID.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    table: &'a Table,
    at: usize,
    /// Messages that were passed over, and the first of their UIDs.
    passed: usize,
    first: Option<u32>,
}

impl Held<'_> {
    /// Whether there is a message of this UID, which is above all that were asked for before. Those between are passed over.
    pub(crate) fn meets(&mut self, uid: u32) -> bool {
        while self.next().is_some_and(|next| next < uid) {
            self.pass();
        }
        let met = self.next() == Some(uid);
        self.at += usize::from(met);
        met && !self.table.is_asked(uid)
    }

    /// How many were not met, and the first UID of them.
    pub(crate) fn not_met(mut self) -> Option<(usize, u32)> {
        while self.next().is_some() {
            self.pass();
        }
        self.first.map(|first| (self.passed, first))
    }

    fn next(&self) -> Option<u32> {
        self.table.uids.get(self.at).copied()
    }

    fn pass(&mut self) {
        let uid = self.table.uids[self.at];
        self.at += 1;
        if !self.table.is_asked(uid) {
            self.passed += 1;
            self.first.get_or_insert(uid);
        }
    }
}

/// The same UIDs in ascending ranges of which none touches another.
pub(super) fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.retain(|(first, last)| first <= last);
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let touches = next.0 <= kept.1.saturating_add(1);
        if touches {
            kept.1 = kept.1.max(next.1);
        }
        touches
    });
    ranges
}

/// Whether one of these ranges, which are in order, has this UID.
pub(super) fn contains(ranges: &[(u32, u32)], uid: u32) -> bool {
    let begun = ranges.partition_point(|(first, _)| *first <= uid);
    begun.checked_sub(1).is_some_and(|at| uid <= ranges[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NUMBER: Wanted = Wanted { name: "ref", record_bytes: 2, header_bytes: 4 };

    #[test]
    fn rows_keep_their_cells_when_others_go() {
        let mut table = Table::keeping(&[NUMBER]);
        let extension = table.introduce(b"ref", 0);
        assert_eq!((extension, table.introduce(b"cache", 0), table.has(0)), (Some(0), Some(1), true));
        for uid in 1..=6 {
            table.push(uid);
            table.columns[0].set(usize::try_from(uid).unwrap() - 1, &[u8::try_from(uid).unwrap(); 4]);
        }
        table.settle(&mut [(5, 5), (2, 3), (2, 2)]);
        assert_eq!((table.uids(), table.next_uid), (&[1, 4, 6][..], 7));
        let cells: Vec<_> = (0..table.len()).map(|row| table.cell(0, row)).collect();
        assert_eq!(cells, [[1, 1], [4, 4], [6, 6]]);
        assert_eq!((table.row(4), table.row(5)), (Some(1), None));
    }

    #[test]
    fn extensions_are_bounded() {
        let mut table = Table::keeping(&[NUMBER]);
        for number in 0..EXTENSIONS_MAX {
            assert_eq!(table.introduce(format!("x{number}").as_bytes(), 0), Some(number));
        }
        assert_eq!((table.unclear, table.introduce(b"ref", 0)), (None, None));
        assert!(table.unclear.is_some());
        let mut nothing_wanted = Table { extensions: table.extensions, ..Table::default() };
        assert_eq!((nothing_wanted.introduce(b"ref", 0), nothing_wanted.unclear), (None, None));
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut table = Table::keeping(&[NUMBER]);
        table.push(1);
        let column = &mut table.columns[0];
        assert!(column.increase(0, 3).is_ok() && column.increase(0, -2).is_ok());
        assert!(column.increase(0, -2).is_err() && column.increase(0, 65_535).is_err());
        assert_eq!(table.cell(0, 0), [1, 0]);
        table.columns[0].set_header(2, &[7; 9]);
        assert_eq!(table.header(0), [0, 0, 7, 7]);
        table.columns[0].clear();
        assert_eq!((table.cell(0, 0), table.header(0)), (&[0, 0][..], &[0; 4][..]));
    }

    proptest! {
        #[test]
        fn merged_ranges_hold_the_same_uids(ranges in proptest::collection::vec((0..60_u32, 0..60_u32), 0..20)) {
            let table = Table { asked: merged(ranges.clone()), ..Table::default() };
            prop_assert!(table.asked.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            for uid in 0..70 {
                let asked = ranges.iter().any(|(first, last)| (*first..=*last).contains(&uid));
                prop_assert_eq!(table.is_asked(uid), asked);
            }
        }
    }
}
