//! What a manifest says of one file of a mailbox, and of one of its places, in bytes.
//!
//! All numbers are little-endian. A file: `u16` length of its path, path, `u64` size, `i64` and `u32` seconds and nanoseconds of
//! its last modification, the same of its last change, `u64` inode, 32 bytes BLAKE3 of it, `u32` number of messages, and for each
//! of those 16 bytes GUID, 32 bytes identity, `u64` plain size, `u64` position in the file. A place: `u16` length of its path,
//! path, `u16` length of its name, name, 16 bytes GUID, `u32` UIDVALIDITY, `u32` next UID, `u64` position and `u64` bytes of its files.

use rientro_types::{Digest, PATH_BYTES_MAX};

use super::bytes::Bytes;
use crate::fsys::Meta;

/// Longest record of a file without its messages.
const FILE_BYTES_MAX: usize = 2 + PATH_BYTES_MAX + 40 + 32 + 4;

/// Bytes of a message in the record of its file.
pub(super) const MESSAGE_BYTES: usize = 64;

/// Bytes of a place beside its path and its name.
const PLACE_BYTES: u64 = 2 + 2 + 16 + 2 * 4 + 2 * 8;

/// Most messages of one file: those of half a GiB, were each as short as a message with its frame can be. An mdbox turns its
/// files over at 10 MiB; what is larger was set up to be. Tests make small files.
pub(super) const MESSAGES_MAX: u32 = if cfg!(test) { 1 << 12 } else { 1 << 24 };

/// What of a file's state tells that it was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size_bytes: u64,
    pub(crate) mtime: (i64, u32),
    pub(crate) ctime: (i64, u32),
    pub(crate) inode: u64,
}

impl Stamp {
    /// The stamp of a file of which this was stated.
    pub(crate) fn of(meta: &Meta) -> Self {
        let ns = |ns: u64| u32::try_from(ns).unwrap_or(u32::MAX);
        Self {
            size_bytes: meta.size_bytes,
            mtime: (meta.mtime_secs, ns(meta.mtime_ns)),
            ctime: (meta.ctime_secs, ns(meta.ctime_ns)),
            inode: meta.inode,
        }
    }
}

/// A message in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) guid: [u8; 16],
    pub(crate) identity: Digest,
    pub(crate) plain_bytes: u64,
    /// Where it stands in the file.
    pub(crate) offset: u64,
}

impl Content {
    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Self { guid, identity, plain_bytes, offset } = self;
        out.extend_from_slice(guid);
        out.extend_from_slice(identity.raw());
        out.extend_from_slice(&plain_bytes.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
    }
}

/// A file with messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRecord {
    /// Path inside the mailbox.
    pub(crate) path: Vec<u8>,
    pub(crate) stamp: Stamp,
    /// BLAKE3 of the file.
    pub(crate) stored: Digest,
    pub(crate) messages: Vec<Content>,
}

impl FileRecord {
    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(self.messages.len() as u64, out);
        self.messages.iter().for_each(|message| message.encode(out));
    }

    /// Appends its bytes up to its messages, which are so many and follow.
    pub(super) fn encode_head(&self, messages: u64, out: &mut Vec<u8>) {
        put_text(out, &self.path);
        let Stamp { size_bytes, mtime, ctime, inode } = self.stamp;
        out.extend_from_slice(&size_bytes.to_le_bytes());
        for (secs, ns) in [mtime, ctime] {
            out.extend_from_slice(&secs.to_le_bytes());
            out.extend_from_slice(&ns.to_le_bytes());
        }
        out.extend_from_slice(&inode.to_le_bytes());
        out.extend_from_slice(self.stored.raw());
        out.extend_from_slice(&u32::try_from(messages).unwrap_or(u32::MAX).to_le_bytes());
    }

    /// Reads one; `None` when the bytes are none.
    pub(super) fn decode(bytes: &mut Bytes<'_>) -> Option<Self> {
        let path = bytes.text()?.to_vec();
        let stamp = Stamp {
            size_bytes: bytes.u64()?,
            mtime: (bytes.i64()?, bytes.u32()?),
            ctime: (bytes.i64()?, bytes.u32()?),
            inode: bytes.u64()?,
        };
        let stored = bytes.digest()?;
        let count = bytes.u32().filter(|count| *count <= MESSAGES_MAX)? as usize;
        // No more room is made than there are bytes for.
        let mut messages = Vec::with_capacity(count.min(bytes.left() / MESSAGE_BYTES));
        for _ in 0..count {
            let (guid, identity) = (bytes.array()?, bytes.digest()?);
            messages.push(Content { guid, identity, plain_bytes: bytes.u64()?, offset: bytes.u64()? });
        }
        Some(Self { path, stamp, stored, messages })
    }

    /// How many bytes a record takes that begins with these; `None` when they do not tell.
    pub(super) fn bytes(start: &[u8]) -> Option<usize> {
        let mut bytes = Bytes(start);
        let path = bytes.text()?.len();
        bytes.skip(40 + 32)?;
        let count = bytes.u32().filter(|count| *count <= MESSAGES_MAX)? as usize;
        Some(2 + path + 40 + 32 + 4 + count * MESSAGE_BYTES)
    }

    /// Bytes that tell how long a record is.
    pub(super) const START_BYTES: usize = FILE_BYTES_MAX;
}

/// A directory in which files with messages stand, or a folder of mail, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Path inside the mailbox.
    pub(crate) path: Vec<u8>,
    /// Its name as a folder, with `/` between its levels; empty where it is none.
    pub(crate) name: Vec<u8>,
    /// The folder's GUID; zero where nothing tells.
    pub(crate) guid: [u8; 16],
    /// 0 where nothing tells.
    pub(crate) uidvalidity: u32,
    pub(crate) next_uid: u32,
    /// Where its files begin among those of the section, and how many bytes their records take.
    pub(crate) files_at: u64,
    pub(crate) files_bytes: u64,
}

impl Place {
    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        let texts = self.path.len() + self.name.len();
        texts as u64 + PLACE_BYTES
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Self { path, name, guid, uidvalidity, next_uid, files_at, files_bytes } = self;
        put_text(out, path);
        put_text(out, name);
        out.extend_from_slice(guid);
        out.extend_from_slice(&uidvalidity.to_le_bytes());
        out.extend_from_slice(&next_uid.to_le_bytes());
        out.extend_from_slice(&files_at.to_le_bytes());
        out.extend_from_slice(&files_bytes.to_le_bytes());
    }

    pub(super) fn decode(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self {
            path: bytes.text()?.to_vec(),
            name: bytes.text()?.to_vec(),
            guid: bytes.array()?,
            uidvalidity: bytes.u32()?,
            next_uid: bytes.u32()?,
            files_at: bytes.u64()?,
            files_bytes: bytes.u64()?,
        })
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    debug_assert!(text.len() <= PATH_BYTES_MAX, "what has a longer path is not looked at");
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(text);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn file(path: &[u8], messages: u8) -> FileRecord {
        let content = |number| Content {
            guid: [number; 16],
            identity: Digest::of(&[number]),
            plain_bytes: 7,
            offset: u64::from(number) * 100,
        };
        FileRecord {
            path: path.to_vec(),
            stamp: Stamp { size_bytes: 9, mtime: (-1, 5), ctime: (1 << 40, 6), inode: 3 },
            stored: Digest::of(path),
            messages: (0..messages).map(content).collect(),
        }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        let files = [file(b"cur/a", 1), file(b"storage/m.1", 40), file(b"", 0)];
        files.iter().for_each(|file| file.encode(&mut bytes));
        let mut left = Bytes(&bytes);
        for file in &files {
            let before = left.left();
            let length = FileRecord::bytes(left.0);
            assert_eq!(FileRecord::decode(&mut left).as_ref(), Some(file));
            assert_eq!(length, Some(before - left.left()));
        }
        let place = Place {
            path: b".Sent".to_vec(),
            name: b"Sent".to_vec(),
            guid: [5; 16],
            uidvalidity: 1,
            next_uid: 2,
            files_at: 3,
            files_bytes: 4,
        };
        let mut bytes = Vec::new();
        place.encode(&mut bytes);
        assert_eq!(place.bytes(), bytes.len() as u64);
        assert_eq!(Place::decode(&mut Bytes(&bytes)), Some(place));
        assert_eq!(Place::decode(&mut Bytes(&bytes[..bytes.len() - 1])), None);
    }

    proptest! {
        #[test]
        fn noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            FileRecord::decode(&mut Bytes(&noise));
            FileRecord::bytes(&noise);
            Place::decode(&mut Bytes(&noise));
        }
    }
}
