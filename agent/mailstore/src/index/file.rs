//! The file of an index: header, extensions and records (version 7.x, little-endian), as `dovecot.index` is.

use std::io::{self, Read};

use super::table::{Table, Wanted};

/// Size of the fixed part of the header.
const BASE_BYTES: usize = 120;

/// Longest header with its extensions: sixteen times what thirty extensions of 2 KiB need.
const HEADER_BYTES_MAX: u32 = 1 << 20;

/// Longest record: a UID, flags and the fields of thirty extensions.
const RECORD_BYTES_MAX: u32 = 4096;

/// Most messages of one folder whose UIDs are kept (4 bytes each).
pub(crate) const MESSAGES_MAX: u32 = 16 << 20;

/// Size of the buffer records are read through.
const BUFFER_BYTES: usize = 32 << 10;

/// An index as its file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) index_id: u32,
    /// The log file this index was written from, and how much of it is in the index.
    pub(crate) log_seq: u32,
    pub(crate) log_head_offset: u32,
    pub(crate) table: Table,
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexFault {
    /// The file could not be read.
    #[error("read failed")]
    Read(#[from] io::Error),
    /// It does not parse or does not fit together.
    #[error("{0}")]
    Malformed(&'static str),
    /// It is well formed as far as can be told, and says nothing this reader can use.
    #[error("{0}")]
    Foreign(&'static str),
    /// A bound was met.
    #[error("{0}")]
    Limit(&'static str),
}

/// Reads an index of `file_bytes` bytes; its table keeps the wanted extensions.
pub(crate) fn read(mut input: impl Read, file_bytes: u64, wanted: &[Wanted]) -> Result<Index, IndexFault> {
    let mut base = [0; BASE_BYTES];
    fill(&mut input, &mut base)?;
    let layout = Layout::of(&base, file_bytes)?;
    let mut table = Table::keeping(wanted);
    (table.uidvalidity, table.next_uid) = (u32_at(&base, 24), u32_at(&base, 28));
    let mut index = Index {
        index_id: u32_at(&base, 16),
        log_seq: u32_at(&base, 60),
        log_head_offset: u32_at(&base, 68),
        table,
    };
    if index.index_id == 0 {
        return Err(IndexFault::Malformed("marked corrupt"));
    }
    let mut rest = vec![0; layout.header_bytes as usize - BASE_BYTES];
    fill(&mut input, &mut rest)?;
    let fields = extensions(&rest, &layout, &mut index.table).map_err(IndexFault::Malformed)?;
    read_records(&mut input, &layout, &fields, &mut index.table)?;
    Ok(index)
}

/// Where a wanted extension stands in each record.
struct Field {
    column: usize,
    at: usize,
    bytes: usize,
}

/// Takes the extensions from the part of the header behind [`BASE_BYTES`]. Each begins at a multiple of 8 bytes: sizes and
/// places (16 bytes), its name, and at the next multiple of 8 what it says of all messages.
fn extensions(rest: &[u8], layout: &Layout, table: &mut Table) -> Result<Vec<Field>, &'static str> {
    const BROKEN: &str = "an extension does not fit into the header";
    let mut fields = Vec::new();
    let mut at = layout.base_bytes.next_multiple_of(8) - BASE_BYTES;
    while at < rest.len() {
        let intro = rest.get(at..at + 16).ok_or(BROKEN)?;
        let header_bytes = u32_at(intro, 0) as usize;
        let (offset, bytes) = (usize::from(u16_at(intro, 8)), usize::from(u16_at(intro, 10)));
        let name_bytes = usize::from(u16_at(intro, 14));
        let name = rest.get(at + 16..at + 16 + name_bytes).filter(|name| !name.is_empty()).ok_or(BROKEN)?;
        let data_at = (at + 16 + name_bytes + BASE_BYTES).next_multiple_of(8) - BASE_BYTES;
        let data = rest.get(data_at..).and_then(|data| data.get(..header_bytes)).ok_or(BROKEN)?;
        if bytes > 0 && (offset < 5 || offset + bytes > layout.record_bytes as usize) {
            return Err("an extension does not fit into the records");
        }
        let extension = table.introduce(name, u32_at(intro, 4));
        if let Some(column) = extension.and_then(|extension| table.extensions[extension].column) {
            table.columns[column].set_header(0, data);
            // Where nothing is said of each message the place may be anything.
            fields.push(Field { column, at: if bytes == 0 { 0 } else { offset }, bytes });
        }
        at = (data_at + header_bytes + BASE_BYTES).next_multiple_of(8) - BASE_BYTES;
    }
    Ok(fields)
}

struct Layout {
    base_bytes: usize,
    header_bytes: u32,
    record_bytes: u32,
    messages: u32,
}

impl Layout {
    fn of(base: &[u8; BASE_BYTES], file_bytes: u64) -> Result<Self, IndexFault> {
        if base[0] != 7 {
            return Err(IndexFault::Malformed("not an index of version 7"));
        }
        if base[12] & 1 == 0 {
            return Err(IndexFault::Foreign("written by a big-endian host"));
        }
        let layout = Self {
            base_bytes: usize::from(u16_at(base, 2)),
            header_bytes: u32_at(base, 4),
            record_bytes: u32_at(base, 8),
            messages: u32_at(base, 32),
        };
        if layout.base_bytes < BASE_BYTES || (layout.header_bytes as usize) < layout.base_bytes {
            return Err(IndexFault::Malformed("header sizes do not fit"));
        }
        if layout.record_bytes < 5
            || layout.record_bytes > RECORD_BYTES_MAX
            || layout.header_bytes > HEADER_BYTES_MAX
        {
            return Err(IndexFault::Malformed("header or record size is out of range"));
        }
        let expected =
            u64::from(layout.header_bytes) + u64::from(layout.record_bytes) * u64::from(layout.messages);
        if expected != file_bytes {
            return Err(IndexFault::Malformed("file size differs from header and records"));
        }
        if layout.messages > MESSAGES_MAX {
            return Err(IndexFault::Limit("more messages than are looked at"));
        }
        Ok(layout)
    }
}

fn read_records(
    input: &mut impl Read,
    layout: &Layout,
    fields: &[Field],
    table: &mut Table,
) -> Result<(), IndexFault> {
    let record = layout.record_bytes as usize;
    let per_read = (BUFFER_BYTES / record).max(1);
    let mut buffer = vec![0; per_read * record];
    let mut left = layout.messages as usize;
    let (mut last, next_uid) = (0, table.next_uid);
    while left > 0 {
        let count = left.min(per_read);
        fill(input, &mut buffer[..count * record])?;
        for bytes in buffer[..count * record].chunks_exact(record) {
            let uid = u32_at(bytes, 0);
            if uid <= last || uid >= next_uid {
                return Err(IndexFault::Malformed("UIDs of the records do not ascend below the next UID"));
            }
            table.push(uid);
            let row = table.len() - 1;
            for field in fields {
                table.columns[field.column].set(row, &bytes[field.at..][..field.bytes]);
            }
            last = uid;
        }
        left -= count;
    }
    Ok(())
}

fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<(), IndexFault> {
    input.read_exact(buffer).map_err(|error| {
        let early = error.kind() == io::ErrorKind::UnexpectedEof;
        if early { IndexFault::Malformed("ends early") } else { IndexFault::Read(error) }
    })
}

/// The little-endian number at `at`; callers have checked the length.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

/// The little-endian number at `at`; callers have checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WANTED: [Wanted; 2] = [
        Wanted { name: "mdbox", record_bytes: 4, header_bytes: 0 },
        Wanted { name: "mdbox-hdr", record_bytes: 0, header_bytes: 8 },
    ];

    /// An index with UIDs 1, 3 and 8 and with two extensions, as Dovecot lays it out; the first record stands at 208.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; 120];
        bytes[..4].copy_from_slice(&[7, 3, 120, 0]);
        bytes[12] = 1;
        for (at, value) in [(4, 208), (8, 16), (16, 5), (24, 6), (28, 9), (32, 3), (60, 2), (68, 40)] {
            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        push_extension(&mut bytes, b"mdbox", &[], (8, 8));
        push_extension(&mut bytes, b"mdbox-hdr", b"validity", (0, 0));
        push_extension(&mut bytes, b"cache", &[], (5, 3));
        for uid in [1, 3, 8] {
            bytes.extend(u32::to_le_bytes(uid));
            bytes.extend([8, 0, 0, 0]);
            bytes.extend(u32::to_le_bytes(100 + uid));
            bytes.extend([0xff; 4]);
        }
        bytes
    }

    fn push_extension(bytes: &mut Vec<u8>, name: &[u8], data: &[u8], (offset, size): (u16, u16)) {
        bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend([offset, size, 4, u16::try_from(name.len()).unwrap()].map(u16::to_le_bytes).concat());
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }

    fn read_bytes(bytes: &[u8]) -> Result<Index, IndexFault> {
        read(bytes, bytes.len() as u64, &WANTED)
    }

    #[test]
    fn messages_and_wanted_extensions_are_read() {
        let index = read_bytes(&sample()).unwrap();
        assert_eq!((index.index_id, index.log_seq, index.log_head_offset), (5, 2, 40));
        let table = index.table;
        assert_eq!((table.uidvalidity, table.next_uid, table.uids()), (6, 9, &[1, 3, 8][..]));
        assert!(table.has(0) && table.has(1));
        let cells: Vec<_> = (0..3).map(|row| table.cell(0, row)[0]).collect();
        assert_eq!((cells, table.header(1)), (vec![101, 103, 108], &b"validity"[..]));
        assert_eq!(table.extensions.len(), 3);
    }

    #[test]
    fn damage_is_named() {
        let good = sample();
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            read_bytes(&bytes).unwrap_err()
        };
        let malformed = |fault| matches!(fault, IndexFault::Malformed(_));
        assert!(malformed(with(&|b| b.fill(0))));
        assert!(malformed(with(&|b| b.truncate(100))));
        assert!(malformed(with(&|b| b.truncate(230))));
        assert!(malformed(with(&|b| b[208] = 4)));
        assert!(malformed(with(&|b| b[28] = 8)));
        assert!(
            malformed(with(&|b| b[120] = 200)),
            "the header of an extension leads beyond that of the index"
        );
        assert!(malformed(with(&|b| b[130] = 9)), "an extension leads beyond the records");
        assert!(malformed(with(&|b| b[134] = 0)), "an extension has no name");
        assert!(malformed(with(&|b| b[16] = 0)));
        assert!(matches!(with(&|b| b[12] = 0), IndexFault::Foreign(_)));
        let many = |b: &mut Vec<u8>| b[32..36].copy_from_slice(&(MESSAGES_MAX + 1).to_le_bytes());
        let mut bytes = good.clone();
        many(&mut bytes);
        let size = 208 + 16 * (u64::from(MESSAGES_MAX) + 1);
        assert!(matches!(read(&bytes[..], size, &[]), Err(IndexFault::Limit(_))));
    }

    proptest! {
        #[test]
        fn noise_does_no_harm(raw in prop::collection::vec(any::<u8>(), 0..300), changes in prop::collection::vec((0_usize..256, any::<u8>()), 0..6)) {
            read_bytes(&raw).ok();
            let mut bytes = sample();
            for (at, value) in changes {
                bytes[at] = value;
            }
            read_bytes(&bytes).ok();
        }
    }
}
