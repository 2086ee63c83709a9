//! The file of a manifest: sections of mailboxes in any order, their directory, and a trailer.
//!
//! | part | bytes |
//! | --- | --- |
//! | mark | `rientro-manifest` |
//! | sections | of each mailbox its files ([`super::record`]), its rows in order ([`super::row`]) and its places |
//! | directory | of each mailbox, in the order of their paths: `u16` length of its path, path, `u64` position of its section, `u64` bytes of its files, `u64` number of rows, `u64` bytes of its places, BLAKE3 of the section, stat-walk digest, root over its rows, `u64` bytes read, `u64` findings |
//! | trailer | `u32` version 2, `u64` position and `u64` bytes of the directory, BLAKE3 of it, `u64` each of mailboxes, messages, bytes read and findings, `u64` milliseconds since 1970 when it was written, root over the mailboxes, BLAKE3 of the shard's path, BLAKE3 of the trailer up to here |
//!
//! Everything that is read is checked first: a manifest stands on a disk like any other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rientro_types::{Digest, MAILBOXES_PER_SHARD_MAX, PATH_BYTES_MAX};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::retry_on_intr;

use super::bytes::Bytes;
use super::merkle::Tree;
use super::record::put_text;
use crate::layout::walk::{is_below, path_order};

/// First bytes of a manifest.
pub(super) const MARK: &[u8; 16] = b"rientro-manifest";

/// The version that is written, and the only one that is read: rows of version 1 are in another order.
const VERSION: u32 = 2;

/// Bytes of the trailer without its own checksum, and with it.
const TRAILER_BODY_BYTES: usize = 4 + 8 + 8 + 32 + 4 * 8 + 8 + 32 + 32;
const TRAILER_BYTES: usize = TRAILER_BODY_BYTES + 32;

/// Bytes of a mailbox in the directory beside its path.
const ENTRY_BYTES: usize = 2 + 4 * 8 + 3 * 32 + 2 * 8;

/// Longest directory.
const DIRECTORY_BYTES_MAX: u64 = (MAILBOXES_PER_SHARD_MAX * (ENTRY_BYTES + PATH_BYTES_MAX)) as u64;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file system refuses it.
    #[error("{} {}", .what, .path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It is a damaged one.
    #[error("{} is no whole manifest ({what})", .path.display())]
    Malformed {
        /// Of which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It is something else.
    #[error("{} is no manifest: it does not begin like one", .path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// It is that of another shard.
    #[error("{} is the baseline of another shard; write this one elsewhere", .path.display())]
    OtherShard {
        /// Which file.
        path: PathBuf,
    },
    /// It is of another version.
    #[error("{} is a manifest of version {version}, which this build does not read", .path.display())]
    Version {
        /// Of which file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Another process writes it.
    #[error("{} is being written by another process; wait until that has ended", .path.display())]
    Busy {
        /// Which manifest.
        path: PathBuf,
    },
    /// It is another file than the one that was opened.
    #[error("{} has been removed or written by another process meanwhile; begin again", .path.display())]
    Replaced {
        /// Which file: the manifest, or the one beside it that was to become it.
        path: PathBuf,
    },
    /// Something that no writer of manifests left is where it would be written.
    #[error("{} is in the way: {why}. It stays as it is; remove it if nobody needs it, or write the manifest elsewhere", .path.display())]
    InTheWay {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The mailboxes were not read to their end.
    #[error("no manifest was written: {0}")]
    Unfinished(&'static str),
}

/// Where a mailbox stands in a manifest, and what it adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mailbox: Vec<u8>,
    pub(super) at: u64,
    pub(super) files_bytes: u64,
    pub(super) rows: u64,
    pub(super) places_bytes: u64,
    pub(super) checksum: Digest,
    pub(crate) stat_walk: Digest,
    pub(super) root: Digest,
    /// Bytes of its files that were read.
    pub(super) bytes: u64,
    /// What verification found when it was written, if anything was damaged or unreadable.
    pub(super) findings: u64,
}

impl Entry {
    /// Nothing was damaged or unreadable when it was written.
    pub(crate) fn is_healthy(&self) -> bool {
        self.findings == 0
    }

    /// Messages in its folders.
    pub(crate) fn messages(&self) -> u64 {
        self.rows
    }

    pub(super) fn section_bytes(&self) -> Option<u64> {
        let rows = self.rows.checked_mul(super::row::ROW_BYTES as u64)?;
        self.files_bytes.checked_add(rows)?.checked_add(self.places_bytes)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.mailbox);
        for number in [self.at, self.files_bytes, self.rows, self.places_bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for digest in [&self.checksum, &self.stat_walk, &self.root] {
            out.extend_from_slice(digest.raw());
        }
        for number in [self.bytes, self.findings] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn decode(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self {
            mailbox: bytes.text()?.to_vec(),
            at: bytes.u64()?,
            files_bytes: bytes.u64()?,
            rows: bytes.u64()?,
            places_bytes: bytes.u64()?,
            checksum: bytes.digest()?,
            stat_walk: bytes.digest()?,
            root: bytes.digest()?,
            bytes: bytes.u64()?,
            findings: bytes.u64()?,
        })
    }

    /// What the root over the mailboxes holds of this one.
    fn leaf(&self) -> [u8; 72] {
        let mut leaf = [0; 72];
        leaf[..32].copy_from_slice(Digest::of(&self.mailbox).raw());
        leaf[32..64].copy_from_slice(self.root.raw());
        leaf[64..].copy_from_slice(&self.rows.to_le_bytes());
        leaf
    }
}

/// What a manifest adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Mailboxes in it.
    pub mailboxes: u64,
    /// Messages in their folders; one that stands in two folders counts twice.
    pub messages: u64,
    /// Bytes of message files that it was made from.
    pub bytes: u64,
    /// What verification found in mailboxes of which anything was damaged or unreadable when they were written.
    pub findings: u64,
    /// When it was written, in milliseconds since 1970.
    pub written_ms: u64,
    /// Merkle root over the mailboxes.
    pub root: Digest,
    /// BLAKE3 of the shard's path.
    pub shard: Digest,
}

impl Totals {
    pub(super) fn of(entries: &[Entry], shard: &[u8], written_ms: u64) -> Self {
        let mut tree = Tree::default();
        entries.iter().for_each(|entry| tree.push(&entry.leaf()));
        let sum = |of: fn(&Entry) -> u64| entries.iter().map(of).sum();
        Self {
            mailboxes: entries.len() as u64,
            messages: sum(|entry| entry.rows),
            bytes: sum(|entry| entry.bytes),
            findings: sum(|entry| entry.findings),
            written_ms,
            root: tree.root(),
            shard: Digest::of(shard),
        }
    }
}

/// The baseline of a shard: which messages stood in which folder, and what they were.
#[derive(Debug)]
pub struct Manifest {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// In the order of their paths.
    pub(super) entries: Vec<Entry>,
    totals: Totals,
}

impl Manifest {
    /// Opens one; its directory is read and checked, its sections are checked when they are read.
    ///
    /// # Errors
    /// [`ManifestError`] when the file cannot be read, is no regular one or no manifest, is damaged or of another version.
    pub fn open(path: &Path) -> Result<Self, ManifestError> {
        let fail = |what| move |source| ManifestError::Io { what, path: path.to_owned(), source };
        let malformed = |what| ManifestError::Malformed { path: path.to_owned(), what };
        let file = open_regular(path).map_err(fail("open"))?;
        let bytes = file.metadata().map_err(fail("state"))?.len();
        if !begins_like_one(&file).map_err(fail("read"))? {
            return Err(ManifestError::Foreign { path: path.to_owned() });
        }
        if bytes < (MARK.len() + TRAILER_BYTES) as u64 {
            return Err(malformed("it is too short"));
        }
        let trailer_at = bytes - TRAILER_BYTES as u64;
        let mut trailer = [0; TRAILER_BYTES];
        file.read_exact_at(&mut trailer, trailer_at).map_err(fail("read"))?;
        let (body, checksum) = trailer.split_at(TRAILER_BODY_BYTES);
        if Digest::of(body).raw() != checksum {
            return Err(malformed("its end is cut off or damaged"));
        }
        let trailer = Trailer::decode(body).ok_or_else(|| malformed("its trailer does not parse"))?;
        if trailer.version != VERSION {
            return Err(ManifestError::Version { path: path.to_owned(), version: trailer.version });
        }
        let directory_end = trailer.directory_at.checked_add(trailer.directory_bytes);
        if directory_end != Some(trailer_at) || trailer.directory_bytes > DIRECTORY_BYTES_MAX {
            return Err(malformed("its directory is not where it should be"));
        }
        let mut directory = vec![0; usize::try_from(trailer.directory_bytes).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut directory, trailer.directory_at).map_err(fail("read"))?;
        if Digest::of(&directory) != trailer.directory {
            return Err(malformed("its directory is damaged"));
        }
        let entries = entries(&directory, trailer.directory_at)
            .ok_or_else(|| malformed("its directory does not parse"))?;
        Ok(Self { path: path.to_owned(), file, entries, totals: trailer.totals })
    }

    /// What it adds up to.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Paths of its mailboxes inside the shard, in order.
    pub fn mailboxes(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|entry| &entry.mailbox[..])
    }

    /// Whether it has a mailbox with this path inside its shard.
    #[must_use]
    pub fn has(&self, mailbox: &[u8]) -> bool {
        self.find(mailbox).is_some()
    }

    /// The same as the baseline of a shard that is a whole volume: whoever names it says what it is of.
    #[must_use]
    pub fn of_any_shard(self) -> Self {
        Self { totals: Totals { shard: Digest::of(b""), ..self.totals }, ..self }
    }

    /// What it has of a mailbox.
    pub(crate) fn find(&self, mailbox: &[u8]) -> Option<&Entry> {
        let found = self.entries.binary_search_by(|entry| path_order(&entry.mailbox, mailbox));
        found.ok().map(|at| &self.entries[at])
    }

    /// How many messages it has in mailboxes below a directory; in all for the empty path.
    pub(crate) fn messages_below(&self, directory: &[u8]) -> u64 {
        let is_before = |entry: &Entry| {
            path_order(&entry.mailbox, directory).is_lt() && !is_below(&entry.mailbox, directory)
        };
        let from = &self.entries[self.entries.partition_point(is_before)..];
        from.iter().take_while(|entry| is_below(&entry.mailbox, directory)).map(Entry::messages).sum()
    }
}

/// Opens what a person names as a manifest; links are followed. A pipe is not waited for, and a device has no end.
fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(retry_on_intr(|| open(path, flags, Mode::empty()))?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}

/// Whether a file begins with the mark, or ends inside it.
pub(super) fn begins_like_one(file: &File) -> io::Result<bool> {
    let mut mark = [0; MARK.len()];
    let mut read = 0;
    while let count @ 1.. = file.read_at(&mut mark[read..], read as u64)? {
        read += count;
    }
    Ok(mark[..read] == MARK[..read])
}

/// The directory's entries, if they are in order and their sections lie before it.
fn entries(directory: &[u8], sections_end: u64) -> Option<Vec<Entry>> {
    let mut bytes = Bytes(directory);
    let mut entries: Vec<Entry> = Vec::new();
    while bytes.left() > 0 {
        let entry = Entry::decode(&mut bytes)?;
        let in_order =
            entries.last().is_none_or(|before| path_order(&before.mailbox, &entry.mailbox).is_lt());
        let end = entry.section_bytes().and_then(|section| entry.at.checked_add(section));
        if !in_order || entry.at < MARK.len() as u64 || end.is_none_or(|end| end > sections_end) {
            return None;
        }
        entries.push(entry);
    }
    Some(entries)
}

/// The end of the file.
struct Trailer {
    version: u32,
    directory_at: u64,
    directory_bytes: u64,
    directory: Digest,
    totals: Totals,
}

impl Trailer {
    fn decode(body: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(body);
        let (version, directory_at, directory_bytes, directory) =
            (bytes.u32()?, bytes.u64()?, bytes.u64()?, bytes.digest()?);
        let totals = Totals {
            mailboxes: bytes.u64()?,
            messages: bytes.u64()?,
            bytes: bytes.u64()?,
            findings: bytes.u64()?,
            written_ms: bytes.u64()?,
            root: bytes.digest()?,
            shard: bytes.digest()?,
        };
        Some(Self { version, directory_at, directory_bytes, directory, totals })
    }

    fn encode(&self) -> Vec<u8> {
        let Self { version, directory_at, directory_bytes, directory, totals } = self;
        let Totals { mailboxes, messages, bytes, findings, written_ms, root, shard } = totals;
        let mut out = version.to_le_bytes().to_vec();
        for number in [directory_at, directory_bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(directory.raw());
        for number in [mailboxes, messages, bytes, findings, written_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(root.raw());
        out.extend_from_slice(shard.raw());
        let checksum = Digest::of(&out);
        out.extend_from_slice(checksum.raw());
        out
    }
}

/// The bytes of directory and trailer of a manifest whose sections end at `directory_at`.
pub(super) fn ending(entries: &[Entry], totals: Totals, directory_at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    entries.iter().for_each(|entry| entry.encode(&mut out));
    let trailer = Trailer {
        version: VERSION,
        directory_at,
        directory_bytes: out.len() as u64,
        directory: Digest::of(&out),
        totals,
    };
    out.extend(trailer.encode());
    out
}
