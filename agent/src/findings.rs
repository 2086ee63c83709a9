//! Files of findings: one for each verification, the newest few of each shard.
//!
//! A try has its number in one life of the cell: a restored cell counts from its backup, and comes to numbers that were used
//! before it. So a file is of a life and a number, is found by both, and files of earlier lives are the first to go. In a cell
//! that was never restored its name is the number alone.
//!
//! A file is a header, findings one after the other (a length and the message of the bulk call, with id and address of the
//! mailbox), and a trailer with their number and digest. It gets its name when it is whole and durable, so a file that can be
//! found is whole. Findings never leave with an address unless one is asked for.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use prost::Message;
use rientro_types::{AttemptNo, Digest, FindingsHasher, Incarnation, LocatedFinding, ShardId};
use rientro_wire::v1;

use crate::durable;

const HEADER: &[u8] = b"rientro agent findings 1\n";
const TRAILER_BYTES: u64 = 8 + 32;
/// Between life and number in a name.
const OF_LIFE: char = '.';
/// Longest finding in a file: two paths and an address of 4 KiB, and what belongs to them; see the limits of the wire crate.
const FINDING_BYTES_MAX: usize = 16 << 10;

/// All files of findings.
#[derive(Clone, Debug)]
pub struct FindingsStore {
    path: PathBuf,
    /// Files kept of each shard.
    kept: usize,
}

/// A file that is being written; without [`FindingsWriter::finish`] nothing stays of it.
#[derive(Debug)]
pub struct FindingsWriter {
    out: BufWriter<File>,
    path: PathBuf,
    hasher: FindingsHasher,
    count: u64,
    buffer: Vec<u8>,
    finished: bool,
}

/// A file that is being read.
#[derive(Debug)]
pub struct FindingsReader {
    file: BufReader<File>,
    left: u64,
    digest: Digest,
    hasher: FindingsHasher,
    buffer: Vec<u8>,
}

impl FindingsStore {
    /// The store at `path`. What an earlier process left unfinished is removed.
    ///
    /// # Errors
    /// The error of listing the directory.
    pub fn open(path: PathBuf, kept: usize) -> io::Result<Self> {
        for shard in fs::read_dir(&path)? {
            for file in fs::read_dir(shard?.path())? {
                let file = file?.path();
                if file.to_string_lossy().ends_with(durable::TEMPORARY_SUFFIX) {
                    fs::remove_file(file)?;
                }
            }
        }
        Ok(Self { path, kept })
    }

    /// Begins the file of a try of this life of the cell.
    ///
    /// # Errors
    /// The error of creating it.
    pub fn create(
        &self,
        life: Incarnation,
        shard: ShardId,
        attempt: AttemptNo,
    ) -> io::Result<FindingsWriter> {
        let path = self.path_of(shard, Name { life, attempt });
        if let Some(directory) = path.parent().filter(|directory| !directory.is_dir()) {
            durable::create_directory(directory)?;
            durable::sync_directory_of(directory)?;
        }
        let mut out = BufWriter::new(durable::create(&durable::temporary(&path))?);
        out.write_all(HEADER)?;
        let hasher = FindingsHasher::default();
        Ok(FindingsWriter { out, path, hasher, count: 0, buffer: Vec::new(), finished: false })
    }

    /// Opens the file of a try of this life of the cell; `None` when it is no longer, or was never, there.
    ///
    /// # Errors
    /// The error of reading it, [`io::ErrorKind::InvalidData`] when it is no such file.
    pub fn read(
        &self,
        life: Incarnation,
        shard: ShardId,
        attempt: AttemptNo,
    ) -> io::Result<Option<FindingsReader>> {
        match File::open(self.path_of(shard, Name { life, attempt })) {
            Ok(file) => FindingsReader::new(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest try up to this one, in this life of the cell, whose file is kept.
    ///
    /// # Errors
    /// The error of listing them.
    pub fn newest(
        &self,
        life: Incarnation,
        shard: ShardId,
        up_to: AttemptNo,
    ) -> io::Result<Option<AttemptNo>> {
        let names = match self.names(shard) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            names => names?,
        };
        let kept = names.into_iter().filter(|name| name.life == life && name.attempt <= up_to);
        Ok(kept.map(|name| name.attempt).max())
    }

    /// Removes all files of a shard but the newest few.
    ///
    /// # Errors
    /// The error of listing or removing.
    pub fn prune(&self, shard: ShardId) -> io::Result<()> {
        let mut names = self.names(shard)?;
        names.sort_unstable();
        let old = names.len().saturating_sub(self.kept);
        names[..old].iter().try_for_each(|old| fs::remove_file(self.path_of(shard, *old)))
    }

    fn names(&self, shard: ShardId) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for file in fs::read_dir(self.path.join(shard.as_str()))? {
            names.extend(file?.file_name().to_str().and_then(Name::parse));
        }
        Ok(names)
    }

    fn path_of(&self, shard: ShardId, name: Name) -> PathBuf {
        self.path.join(shard.as_str()).join(name.to_string())
    }
}

/// Which try a file is of. Later ones compare as greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    life: Incarnation,
    attempt: AttemptNo,
}

impl Name {
    /// The life that a cell is founded with.
    const FIRST_LIFE: Incarnation = Incarnation::from_raw(1);

    fn parse(name: &str) -> Option<Self> {
        let (life, attempt) = match name.split_once(OF_LIFE) {
            Some((life, attempt)) => (Incarnation::from_raw(life.parse().ok()?), attempt),
            None => (Self::FIRST_LIFE, name),
        };
        Some(Self { life, attempt: AttemptNo::from_raw(attempt.parse().ok()?) })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { life, attempt } = self;
        if *life == Self::FIRST_LIFE { write!(f, "{attempt}") } else { write!(f, "{life}{OF_LIFE}{attempt}") }
    }
}

impl FindingsWriter {
    /// Appends a finding.
    ///
    /// # Errors
    /// The error of writing.
    pub fn add(&mut self, located: LocatedFinding) -> io::Result<()> {
        self.hasher.add(&located.finding);
        self.count += 1;
        self.buffer.clear();
        let message = v1::LocatedFinding::from(located);
        message.encode_length_delimited(&mut self.buffer).map_err(io::Error::other)?;
        self.out.write_all(&self.buffer)
    }

    /// Makes the file durable under its name; returns the digest of its findings.
    ///
    /// # Errors
    /// The error of writing; nothing is left then.
    pub fn finish(mut self) -> io::Result<Digest> {
        let digest = self.hasher.finish();
        self.out.write_all(&self.count.to_le_bytes())?;
        self.out.write_all(digest.raw())?;
        self.out.flush()?;
        durable::commit(self.out.get_ref(), &durable::temporary(&self.path), &self.path)?;
        self.finished = true;
        Ok(digest)
    }
}

impl Drop for FindingsWriter {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = fs::remove_file(durable::temporary(&self.path))
        {
            tracing::debug!(%error, "unfinished findings not removed; the next start does it");
        }
    }
}

impl FindingsReader {
    fn new(mut file: File) -> io::Result<Self> {
        let mut header = [0; HEADER.len()];
        file.read_exact(&mut header)?;
        let end = file.seek(SeekFrom::End(0))?;
        if header != HEADER || end < HEADER.len() as u64 + TRAILER_BYTES {
            return Err(invalid("is no file of findings of this version"));
        }
        file.seek(SeekFrom::Start(end - TRAILER_BYTES))?;
        let (mut count, mut digest) = ([0; 8], [0; 32]);
        file.read_exact(&mut count)?;
        file.read_exact(&mut digest)?;
        file.seek(SeekFrom::Start(HEADER.len() as u64))?;
        let hasher = FindingsHasher::default();
        let (left, digest) = (u64::from_le_bytes(count), Digest::from_raw(digest));
        Ok(Self { file: BufReader::new(file), left, digest, hasher, buffer: Vec::new() })
    }

    /// The next finding; `None` after the last. The last one is handed out only when all together have the digest.
    ///
    /// # Errors
    /// The error of reading, [`io::ErrorKind::InvalidData`] when the file is damaged.
    pub fn read(&mut self) -> io::Result<Option<LocatedFinding>> {
        if self.left == 0 {
            return Ok(None);
        }
        let bytes = self.length()?;
        self.buffer.resize(bytes, 0);
        self.file.read_exact(&mut self.buffer)?;
        let message =
            v1::LocatedFinding::decode(&self.buffer[..]).map_err(|error| invalid(&error.to_string()))?;
        let located = LocatedFinding::try_from(message).map_err(|error| invalid(&error.to_string()))?;
        self.hasher.add(&located.finding);
        self.left -= 1;
        if self.left == 0 && self.hasher.finish() != self.digest {
            return Err(invalid("does not have the digest it was written with"));
        }
        Ok(Some(located))
    }

    /// Reads a length as protobuf writes it: seven bits a byte, the lowest first.
    fn length(&mut self) -> io::Result<usize> {
        let mut length = 0;
        for shift in [0, 7, 14] {
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        if length > FINDING_BYTES_MAX { Err(invalid("has a finding that is too long")) } else { Ok(length) }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rientro_types::{Finding, FindingKind, MailboxId};
    use std::path::Path;

    fn names(path: &Path) -> Vec<String> {
        let files = fs::read_dir(path).unwrap();
        let mut names: Vec<_> =
            files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    fn life(number: u32) -> Incarnation {
        Incarnation::from_raw(number)
    }

    fn located(number: u8) -> LocatedFinding {
        let finding = Finding {
            kind: FindingKind::SizeMismatch,
            mailbox: b"ex.org/anna".to_vec(),
            path: vec![b'c', number],
            detail: format!("S={number}"),
        };
        let mailbox_id = Some(MailboxId::from_raw([number; 16]));
        LocatedFinding { mailbox_id, address: Some(b"anna@ex.org".to_vec()), finding }
    }

    fn store() -> (tempfile::TempDir, FindingsStore, ShardId) {
        let dir = tempfile::tempdir().unwrap();
        let store = FindingsStore::open(dir.path().to_owned(), 2).unwrap();
        (dir, store, ShardId::new("s1").unwrap())
    }

    #[test]
    fn findings_come_back_as_they_were_and_old_files_go() {
        let (dir, store, shard) = store();
        for attempt in [1, 2, 10] {
            let mut file = store.create(life(1), shard, AttemptNo::from_raw(attempt)).unwrap();
            (0..3).for_each(|number| file.add(located(number)).unwrap());
            file.finish().unwrap();
            store.prune(shard).unwrap();
        }
        let mut reader = store.read(life(1), shard, AttemptNo::from_raw(10)).unwrap().unwrap();
        let read: Vec<_> = std::iter::from_fn(|| reader.read().unwrap()).collect();
        assert_eq!(read, (0..3).map(located).collect::<Vec<_>>());
        assert!(store.read(life(1), shard, AttemptNo::from_raw(1)).unwrap().is_none());
        assert_eq!(names(&dir.path().join("s1")), ["10", "2"]);
        let newest = |of, up_to| {
            let attempt = store.newest(life(of), shard, AttemptNo::from_raw(up_to)).unwrap();
            attempt.map(AttemptNo::raw)
        };
        assert_eq!(
            [newest(1, 12), newest(1, 10), newest(1, 9), newest(1, 1)],
            [Some(10), Some(10), Some(2), None]
        );
        assert_eq!(newest(2, 12), None, "of another life");
        assert_eq!(store.newest(life(1), ShardId::new("s2").unwrap(), AttemptNo::from_raw(9)).unwrap(), None);
    }

    /// T29: a restored cell comes to numbers that were used before it, and finds what it saw itself; what was seen before goes
    /// first.
    #[test]
    fn a_new_life_finds_its_own_files() {
        const RESTORED: u32 = 1_764_000_000;
        let (dir, store, shard) = store();
        let seen = |of, attempt, number| {
            let mut file = store.create(life(of), shard, AttemptNo::from_raw(attempt)).unwrap();
            file.add(located(number)).unwrap();
            file.finish().unwrap();
            store.prune(shard).unwrap();
        };
        let read = |of, attempt| {
            let reader = store.read(life(of), shard, AttemptNo::from_raw(attempt)).unwrap();
            reader.map(|mut reader| reader.read().unwrap().unwrap())
        };
        (6..=8).for_each(|attempt| seen(1, attempt, 0));
        seen(RESTORED, 6, 6);
        assert_eq!(read(RESTORED, 6), Some(located(6)));
        assert_eq!((read(1, 8), read(RESTORED, 8)), (Some(located(0)), None));
        seen(RESTORED, 7, 7);
        seen(RESTORED + 1, 7, 8);
        assert_eq!(names(&dir.path().join("s1")), ["1764000000.7", "1764000001.7"]);
        assert_eq!((read(RESTORED, 7), read(RESTORED + 1, 7)), (Some(located(7)), Some(located(8))));
    }

    #[test]
    fn an_unfinished_file_is_not_found_and_a_damaged_one_is_refused() {
        let (dir, store, shard) = store();
        let mut file = store.create(life(1), shard, AttemptNo::from_raw(1)).unwrap();
        file.add(located(1)).unwrap();
        drop(file);
        assert!(store.read(life(1), shard, AttemptNo::from_raw(1)).unwrap().is_none());
        let mut file = store.create(life(1), shard, AttemptNo::from_raw(2)).unwrap();
        file.add(located(1)).unwrap();
        file.finish().unwrap();
        let path = dir.path().join("s1/2");
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(3).position(|w| w == b"S=1").unwrap();
        bytes[at] = b'X';
        fs::write(&path, bytes).unwrap();
        let mut reader = store.read(life(1), shard, AttemptNo::from_raw(2)).unwrap().unwrap();
        assert_eq!(reader.read().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
