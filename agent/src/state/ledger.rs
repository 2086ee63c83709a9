//! The file of facts: appended to, checked when read, rewritten when most of it is history.
//!
//! One write is one *frame*: a mark, a length, a checksum, and the facts of that write. What was not wholly written when the
//! machine went down is the last frame, and nobody was told of it: it is cut off. A frame that is wrong with right ones behind
//! it is another matter, damage to what had been durable: then nothing is guessed and the ledger is refused.
//!
//! Space for results is taken before the tries begin that will have them: a disk that fills up while they run cannot lose them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rientro_types::{DAMAGED_MAILBOXES_MAX, Digest, NAME_BYTES_MAX, PROBLEM_BYTES_MAX};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::fact::{Fact, FactError};
use super::facts::Facts;
use crate::durable;

/// First bytes of the file: what it is, and in which version of its format.
const HEADER: &[u8] = b"rientro agent ledger 1\n";
/// First bytes of a frame: what a reader looks for behind a broken one.
const MARK: [u8; 4] = [0xa7, b'R', b'f', 0x1e];
/// Bytes of the checksum kept: 128 bits of BLAKE3.
const CHECKSUM_BYTES: usize = 16;
/// Mark, length and checksum.
const FRAME_HEADER_BYTES: usize = MARK.len() + 4 + CHECKSUM_BYTES;
/// Longest payload of a frame: more than one write ever has, far less than memory.
const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Most facts of one frame; each is at most [`RESULT_BYTES_MAX`].
pub const FACTS_PER_WRITE_MAX: usize = PAYLOAD_BYTES_MAX / RESULT_BYTES_MAX;
/// Largest result with its frame: damaged mailboxes of 18 bytes with their tags, an explanation, a few names, digests and counts.
pub const RESULT_BYTES_MAX: usize =
    FRAME_HEADER_BYTES + DAMAGED_MAILBOXES_MAX * 18 + PROBLEM_BYTES_MAX + 4 * (NAME_BYTES_MAX + 4) + 512;
/// Smallest file that is rewritten: below, rewriting saves nothing.
const REWRITE_BYTES_MIN: u64 = 1 << 20;
/// A file is rewritten when it is this many times what its facts need.
const REWRITE_FACTOR: u64 = 4;

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file could not be opened, read, written or synced.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is another one.
    #[error("{path} is no ledger of this version; was the state directory written by a later one?")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing in it, though it never had less than its first line.
    #[error(
        "{path} is empty, and no ledger ever is: its content was lost or cut off, and with it what this node had begun and \
         opened. Put the whole state directory back from a copy, or keep it for inspection and start with an empty one (the \
         node then has a new incarnation)"
    )]
    Emptied {
        /// The file.
        path: PathBuf,
    },
    /// What had been durable is broken.
    #[error(
        "{path} is damaged at byte {at}, before facts that are whole; keep the directory for inspection and start with an \
         empty one (the node then has a new incarnation)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
    /// A whole frame holds something that is no fact.
    #[error("{path} cannot be read on from byte {at}")]
    Fact {
        /// The file.
        path: PathBuf,
        /// Where the frame begins.
        at: u64,
        /// What is wrong.
        source: FactError,
    },
}

/// How an append went wrong.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written, and the ledger can go on: typically there is no space.
    #[error("cannot write facts: {0}")]
    Refused(io::Error),
    /// What is on the disk is not known: only a start over can tell.
    #[error("cannot make facts durable: {0}; the ledger must be read again")]
    Broken(io::Error),
}

/// The open ledger.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Up to where space is taken.
    reserved: u64,
    /// What the facts needed alone, without their history, when it was opened or rewritten.
    needed: u64,
    /// How long it was when it could not be rewritten.
    refused_at: u64,
}

/// What opening found beside the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes of an unfinished write that were cut off.
    pub torn_bytes: u64,
}

impl Ledger {
    /// Opens the ledger at `path`, or makes an empty one, and reads its facts.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be read, is another file, or is damaged.
    pub fn open(path: &Path) -> Result<(Self, Facts, Recovered), LedgerError> {
        let fail = |what| move |source| LedgerError::Io { what, path: path.to_owned(), source };
        if !path.try_exists().map_err(fail("look for"))? {
            durable::replace(path, HEADER).map_err(fail("create"))?;
        }
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(fail("open"))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(fail("read"))?;
        let mut facts = Facts::default();
        let end = read(path, &content, &mut facts)?;
        if end < content.len() {
            file.set_len(end as u64).and_then(|()| file.sync_all()).map_err(fail("cut the torn end of"))?;
        }
        let bytes = end as u64;
        let needed = alone(&facts).len() as u64;
        let ledger = Self { path: path.to_owned(), file, bytes, reserved: bytes, needed, refused_at: 0 };
        Ok((ledger, facts, Recovered { torn_bytes: (content.len() - end) as u64 }))
    }

    /// Makes facts durable, all or none of them.
    ///
    /// # Errors
    /// [`AppendError`], which says whether the ledger can go on.
    pub fn append(&mut self, facts: &[Fact]) -> Result<(), AppendError> {
        let frame = frame(facts);
        self.file.seek(SeekFrom::Start(self.bytes)).map_err(AppendError::Refused)?;
        if let Err(error) = self.file.write_all(&frame) {
            // Nothing counts before it is synced: what was half written is taken back.
            self.file.set_len(self.bytes).map_err(AppendError::Broken)?;
            self.reserved = self.bytes;
            return Err(AppendError::Refused(error));
        }
        self.file.sync_data().map_err(AppendError::Broken)?;
        self.bytes += frame.len() as u64;
        Ok(())
    }

    /// Takes disk space for so many results, beyond what is written.
    ///
    /// # Errors
    /// The error of the file system, which is usually that it is full.
    pub fn reserve(&mut self, results: usize) -> io::Result<()> {
        let wanted = (results * RESULT_BYTES_MAX) as u64;
        if self.bytes + wanted <= self.reserved {
            return Ok(());
        }
        // Twice as much, so that the next tries need no call of their own.
        self.reserved = take(&self.file, self.bytes, wanted * 2)?;
        Ok(())
    }

    /// Whether so much of the file is history that it should be rewritten.
    #[must_use]
    pub fn wants_rewrite(&self) -> bool {
        let history = self.bytes > REWRITE_BYTES_MIN && self.bytes > self.needed * REWRITE_FACTOR;
        history && self.bytes > self.refused_at
    }

    /// Writes the facts as they stand into a file of their own that takes this one's place, with space for so many results.
    ///
    /// # Errors
    /// [`AppendError::Refused`] when the file could not be written: this one goes on, keeps its space, and is not to be rewritten
    /// before it has grown a good deal. [`AppendError::Broken`] when it is not known which of the two is in place.
    pub fn rewrite(&mut self, facts: &Facts, results: usize) -> Result<(), AppendError> {
        let content = alone(facts);
        let temporary = durable::temporary(&self.path);
        let bytes = content.len() as u64;
        let wanted = (results * RESULT_BYTES_MAX) as u64;
        let written = || {
            let mut file = durable::create(&temporary)?;
            file.write_all(&content)?;
            let reserved = take(&file, bytes, wanted)?;
            let staged = durable::stage(&file, &self.path)?;
            Ok((file, reserved, staged))
        };
        let (file, reserved, staged) = match written() {
            Ok(written) => written,
            Err(error) => {
                // What it took is needed elsewhere. Where it cannot be removed, the next try writes over it.
                fs::remove_file(&temporary).ok();
                self.refused_at = self.bytes + REWRITE_BYTES_MIN;
                return Err(AppendError::Refused(error));
            }
        };
        staged.put(&temporary, &self.path).map_err(AppendError::Broken)?;
        (self.file, self.bytes, self.reserved) = (file, bytes, reserved);
        (self.needed, self.refused_at) = (bytes, 0);
        Ok(())
    }
}

/// Takes disk space for so many bytes from there on; up to where space is taken.
fn take(file: &File, from: u64, bytes: u64) -> io::Result<u64> {
    if bytes == 0 {
        return Ok(from);
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, from, bytes) {
        Ok(()) => Ok(from + bytes),
        // Some network file systems cannot; the look at free space has to do there.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(from),
        Err(error) => Err(error.into()),
    }
}

/// A ledger of these facts, without their history.
fn alone(facts: &Facts) -> Vec<u8> {
    let mut content = HEADER.to_vec();
    for part in facts.snapshot().chunks(FACTS_PER_WRITE_MAX) {
        content.extend(frame(part));
    }
    content
}

fn frame(facts: &[Fact]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut one = Vec::new();
    for fact in facts {
        one.clear();
        fact.encode(&mut one);
        payload.extend(length(&one));
        payload.extend_from_slice(&one);
    }
    let mut frame = MARK.to_vec();
    frame.extend(length(&payload));
    frame.extend(checksum(&payload));
    frame.append(&mut payload);
    frame
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("a write is bounded by FACTS_PER_WRITE_MAX").to_le_bytes()
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&Digest::of(payload).raw()[..CHECKSUM_BYTES]);
    sum
}

/// Applies all whole frames; returns where the last one ends.
fn read(path: &Path, content: &[u8], facts: &mut Facts) -> Result<usize, LedgerError> {
    if content.is_empty() {
        return Err(LedgerError::Emptied { path: path.to_owned() });
    }
    if !content.starts_with(HEADER) {
        return Err(LedgerError::Foreign { path: path.to_owned() });
    }
    let mut at = HEADER.len();
    while let Some(payload) = payload_at(content, at) {
        apply(payload, facts).map_err(|source| LedgerError::Fact {
            path: path.to_owned(),
            at: at as u64,
            source,
        })?;
        at += FRAME_HEADER_BYTES + payload.len();
    }
    let whole_behind = (at + 1..content.len()).any(|later| payload_at(content, later).is_some());
    if whole_behind { Err(LedgerError::Damaged { path: path.to_owned(), at: at as u64 }) } else { Ok(at) }
}

/// The payload of the frame at `at`, if a whole one stands there.
fn payload_at(content: &[u8], at: usize) -> Option<&[u8]> {
    let rest = content.get(at..)?.strip_prefix(&MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<CHECKSUM_BYTES>()?;
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    (payload.len() <= PAYLOAD_BYTES_MAX && checksum(payload) == *sum).then_some(payload)
}

fn apply(mut payload: &[u8], facts: &mut Facts) -> Result<(), FactError> {
    while let Some((length, rest)) = payload.split_first_chunk::<4>() {
        let (fact, rest) =
            rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(FactError::Empty)?;
        facts.apply(&Fact::decode(fact)?);
        payload = rest;
    }
    if payload.is_empty() { Ok(()) } else { Err(FactError::Empty) }
}
