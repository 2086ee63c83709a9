//! The map of an mdbox: where each message is and how often folders refer to it, and what was met of that.

use crate::index::file::u32_at;
use crate::index::table::{Table, Wanted};
use crate::manifest::Content;

/// What the map says of each message: file id, offset and size of 4 bytes each, and the number of references.
pub(super) const OF_MAP: [Wanted; 2] = [
    Wanted { name: "map", record_bytes: 12, header_bytes: 0 },
    Wanted { name: "ref", record_bytes: 2, header_bytes: 0 },
];

/// No message begins here or behind: a map has 4 bytes for where it does.
pub(super) const OFFSETS_END: u64 = 1 << 32;

/// The map, and what was met of it.
pub(super) struct Map {
    table: Table,
    rows: Vec<Row>,
    /// Rows in the order of file and offset.
    by_place: Vec<u32>,
    /// What was gathered of each row; empty where nothing is.
    gathered: Vec<Option<Gathered>>,
}

/// A message that was read, or is known from before.
#[derive(Clone, Copy)]
pub(super) struct Gathered {
    pub(super) content: Content,
    /// Where its file stands among those that are gathered.
    pub(super) file_at: u64,
    /// Damage was noted about it.
    pub(super) marked: bool,
}

/// What was met of a record.
#[derive(Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) guid: Option<[u8; 16]>,
    /// A message stands where the record says.
    pub(super) met: bool,
    /// Whether one does is not known.
    pub(super) unread: bool,
    /// References that folders have.
    pub(super) references: u32,
}

/// A message as the map has it.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) uid: u32,
    pub(super) file: u32,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// References as the map has them.
    pub(super) references: u32,
}

impl Map {
    pub(super) fn new(table: Table) -> Self {
        let rows = vec![Row::default(); table.len()];
        let count = u32::try_from(table.len()).unwrap_or(u32::MAX);
        let mut by_place: Vec<u32> = (0..count).collect();
        by_place.sort_unstable_by_key(|row| place_of(&table, *row as usize));
        Self { table, rows, by_place, gathered: Vec::new() }
    }

    /// The row of this UID of the map.
    pub(super) fn row(&self, uid: u32) -> Option<usize> {
        self.table.row(uid)
    }

    /// The row of what stands at `offset` in the file of this id.
    pub(super) fn find(&self, file: u32, offset: u64) -> Option<usize> {
        let wanted = (file, u32::try_from(offset).ok()?);
        let row = *self.by_place.get(self.first(wanted))? as usize;
        (place_of(&self.table, row) == wanted).then_some(row)
    }

    /// The rows, in the order of file and offset.
    pub(super) fn by_place(&self) -> impl Iterator<Item = usize> {
        self.by_place.iter().map(|row| *row as usize)
    }

    /// What the map says at a row.
    pub(super) fn record(&self, row: usize) -> Record {
        let ((file, offset), count) = (place_of(&self.table, row), self.table.cell(1, row));
        Record {
            uid: self.table.uids()[row],
            file,
            offset: u64::from(offset),
            bytes: u64::from(u32_at(self.table.cell(0, row), 8)),
            references: count.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)),
        }
    }

    /// What was met of a row.
    pub(super) fn met(&self, row: usize) -> &Row {
        &self.rows[row]
    }

    /// The same, to be changed.
    pub(super) fn met_mut(&mut self, row: usize) -> &mut Row {
        &mut self.rows[row]
    }

    /// Takes note of what stands in a file.
    pub(super) fn gather(&mut self, file: u32, gathered: Gathered) {
        let Some(row) = self.find(file, gathered.content.offset) else { return };
        self.gathered.resize(self.rows.len(), None);
        self.gathered[row] = Some(gathered);
    }

    /// What was gathered of a row.
    pub(super) fn gathered(&self, row: usize) -> Option<&Gathered> {
        self.gathered.get(row)?.as_ref()
    }

    /// Nothing is known of the messages of a file from `offset` on.
    pub(super) fn leave_unread(&mut self, file: u32, offset: u64) {
        let Ok(offset) = u32::try_from(offset) else { return };
        for row in self.by_place[self.first((file, offset))..].iter().map(|row| *row as usize) {
            if place_of(&self.table, row).0 != file {
                break;
            }
            self.rows[row].unread = true;
        }
    }

    /// Takes the records that lead into a file of this length for met; gives how many they are.
    pub(super) fn trust(&mut self, file: u32, bytes: u64) -> u64 {
        let mut trusted = 0;
        for row in self.by_place[self.first((file, 0))..].iter().map(|row| *row as usize) {
            let ((its, offset), size) = (place_of(&self.table, row), u32_at(self.table.cell(0, row), 8));
            if its != file {
                break;
            }
            if u64::from(offset) + u64::from(size) <= bytes {
                self.rows[row].met = true;
                trusted += 1;
            }
        }
        trusted
    }

    /// How many messages have fewer references in folders than the map says, and how many have more.
    pub(super) fn miscounted(&self) -> (u64, u64) {
        let (mut fewer, mut more) = (0, 0);
        for (row, met) in self.rows.iter().enumerate() {
            match met.references.cmp(&self.record(row).references) {
                std::cmp::Ordering::Less => fewer += 1,
                std::cmp::Ordering::Greater => more += 1,
                std::cmp::Ordering::Equal => {}
            }
        }
        (fewer, more)
    }

    /// Where in the order of places the first stands that is not before this one.
    fn first(&self, place: (u32, u32)) -> usize {
        self.by_place.partition_point(|row| place_of(&self.table, *row as usize) < place)
    }
}

fn place_of(table: &Table, row: usize) -> (u32, u32) {
    let cell = table.cell(0, row);
    (u32_at(cell, 0), u32_at(cell, 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A map with these files and offsets, of messages of ten bytes.
    fn map(places: &[(u32, u32)]) -> Map {
        let cell = |(file, offset): &(u32, u32)| [*file, *offset, 10].map(u32::to_le_bytes).concat();
        Map::new(Table::of_cells(&OF_MAP, &places.iter().map(cell).collect::<Vec<_>>()))
    }

    proptest! {
        /// What is looked up by order is what a look at every row gives.
        #[test]
        fn places_are_found(places in prop::collection::hash_set((1_u32..5, 0_u32..40), 0..20), file in 0_u32..6, at in 0_u32..50) {
            let places: Vec<_> = places.into_iter().collect();
            let mut map = map(&places);
            let row = places.iter().position(|place| *place == (file, at));
            prop_assert_eq!(map.find(file, u64::from(at)), row);
            map.leave_unread(file, u64::from(at));
            let trusted = map.trust(file, u64::from(at));
            let mut expected = 0;
            for (row, (its, offset)) in places.iter().enumerate() {
                let inside = *its == file && offset + 10 <= at;
                expected += u64::from(inside);
                prop_assert_eq!((map.met(row).unread, map.met(row).met), (*its == file && *offset >= at, inside));
            }
            prop_assert_eq!(trusted, expected);
        }
    }
}
