//! `dovecot.index`: header and records (version 7.x, little-endian), read only for the UIDs it holds.

use std::io::{self, Read};

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

/// What an index says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) index_id: u32,
    pub(crate) uidvalidity: u32,
    pub(crate) next_uid: u32,
    /// The log file this index was written from, and how much of it is in the index.
    pub(crate) log_seq: u32,
    pub(crate) log_head_offset: u32,
    /// UIDs of all messages, ascending.
    pub(crate) uids: Vec<u32>,
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

/// Reads an index of `file_bytes` bytes.
pub(crate) fn read(mut input: impl Read, file_bytes: u64) -> Result<Index, IndexFault> {
    let mut base = [0; BASE_BYTES];
    fill(&mut input, &mut base)?;
    let layout = Layout::of(&base, file_bytes)?;
    skip(&mut input, u64::from(layout.header_bytes) - BASE_BYTES as u64)?;
    let mut index = Index {
        index_id: u32_at(&base, 16),
        uidvalidity: u32_at(&base, 24),
        next_uid: u32_at(&base, 28),
        log_seq: u32_at(&base, 60),
        log_head_offset: u32_at(&base, 68),
        uids: Vec::new(),
    };
    if index.index_id == 0 {
        return Err(IndexFault::Malformed("marked corrupt"));
    }
    read_uids(&mut input, &layout, &mut index)?;
    Ok(index)
}

struct Layout {
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
        let layout =
            Self { header_bytes: u32_at(base, 4), record_bytes: u32_at(base, 8), messages: u32_at(base, 32) };
        let base_bytes = u16::from_le_bytes([base[2], base[3]]);
        if usize::from(base_bytes) < BASE_BYTES || layout.header_bytes < u32::from(base_bytes) {
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

fn read_uids(input: &mut impl Read, layout: &Layout, index: &mut Index) -> Result<(), IndexFault> {
    let record = layout.record_bytes as usize;
    let per_read = (BUFFER_BYTES / record).max(1);
    let mut buffer = vec![0; per_read * record];
    let mut left = layout.messages as usize;
    let mut last = 0;
    while left > 0 {
        let count = left.min(per_read);
        fill(input, &mut buffer[..count * record])?;
        for bytes in buffer[..count * record].chunks_exact(record) {
            let uid = u32_at(bytes, 0);
            if uid <= last || uid >= index.next_uid {
                return Err(IndexFault::Malformed("UIDs of the records do not ascend below the next UID"));
            }
            index.uids.push(uid);
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

fn skip(input: &mut impl Read, bytes: u64) -> Result<(), IndexFault> {
    let passed = io::copy(&mut input.take(bytes), &mut io::sink())?;
    if passed == bytes { Ok(()) } else { Err(IndexFault::Malformed("ends early")) }
}

/// The little-endian number at `at`; callers have checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An index with the given UIDs, as Dovecot lays it out.
    pub(crate) fn build(index: &Index) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes[..4].copy_from_slice(&[7, 3, 120, 0]);
        bytes[12] = 1;
        let count = u32::try_from(index.uids.len()).unwrap();
        for (at, value) in [
            (4, 128),
            (8, 8),
            (16, index.index_id),
            (24, index.uidvalidity),
            (28, index.next_uid),
            (32, count),
            (60, index.log_seq),
            (68, index.log_head_offset),
        ] {
            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        }
        for uid in &index.uids {
            bytes.extend(uid.to_le_bytes());
            bytes.extend([8, 0, 0, 0]);
        }
        bytes
    }

    fn sample() -> Index {
        Index {
            index_id: 5,
            uidvalidity: 6,
            next_uid: 9,
            log_seq: 2,
            log_head_offset: 40,
            uids: vec![1, 3, 8],
        }
    }

    fn read_bytes(bytes: &[u8]) -> Result<Index, IndexFault> {
        read(bytes, bytes.len() as u64)
    }

    #[test]
    fn an_index_reads_back() {
        assert_eq!(read_bytes(&build(&sample())).unwrap(), sample());
    }

    #[test]
    fn damage_is_named() {
        let good = build(&sample());
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            read_bytes(&bytes).unwrap_err()
        };
        let malformed = |fault| matches!(fault, IndexFault::Malformed(_));
        assert!(malformed(with(&|b| b.fill(0))));
        assert!(malformed(with(&|b| b.truncate(100))));
        assert!(malformed(with(&|b| b.truncate(140))));
        assert!(malformed(with(&|b| b[128] = 4)));
        assert!(malformed(with(&|b| b[28] = 8)));
        assert!(malformed(with(&|b| b[16] = 0)));
        assert!(matches!(with(&|b| b[12] = 0), IndexFault::Foreign(_)));
        let many = |b: &mut Vec<u8>| b[32..36].copy_from_slice(&(MESSAGES_MAX + 1).to_le_bytes());
        let mut bytes = good.clone();
        many(&mut bytes);
        let size = 128 + 8 * (u64::from(MESSAGES_MAX) + 1);
        assert!(matches!(read(&bytes[..], size), Err(IndexFault::Limit(_))));
    }

    proptest! {
        #[test]
        fn noise_does_no_harm(raw in prop::collection::vec(any::<u8>(), 0..300), changes in prop::collection::vec((0_usize..152, any::<u8>()), 0..6)) {
            read_bytes(&raw).ok();
            let mut bytes = build(&sample());
            for (at, value) in changes {
                bytes[at] = value;
            }
            read_bytes(&bytes).ok();
        }
    }
}
