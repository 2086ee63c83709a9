//! A backup: one file with everything a journal holds, archive and snapshot included.
//!
//! It is written while appends go on, from the one source that does not change under the reader: entries up to the head at
//! the beginning, in order, each linked to the one before. Any journal can be backed up, and the file can be restored as an
//! embedded journal. The file gets its name once it is synced, and ends in a frame without which it is not accepted.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rientro_types::{Digest, Epoch, Seq};

use super::archive::follows;
use super::frame::{self, FrameError, Kind};
use super::snapshot::{SnapshotHead, SnapshotReader};
use super::{Head, Journal, JournalError, PAGE_BYTES, SealedEntry, files};

const MAGIC: [u8; 8] = *b"RNTBAK\x00\x01";
/// A snapshot that is replaced while it is copied is copied again, so many times at most; replacing one takes far longer
/// than copying one.
const SNAPSHOT_TRIES_MAX: u32 = 5;
const BUFFER_BYTES: usize = 1 << 18;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupContent {
    /// The highest epoch that had become writer.
    pub fence: Epoch,
    /// Number of the first record that was not archived.
    pub first: Seq,
    /// Digest of the entry before it.
    pub first_chain: Digest,
    /// Number of the record after the last one.
    pub seq_next: Seq,
    /// Digest of the last entry.
    pub chain: Digest,
    /// Count of the entries, archived ones included.
    pub entries: u64,
    /// What the snapshot in it stands for, if it has one: records before this one.
    pub snapshot: Option<Seq>,
}

/// What a restore made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup held.
    pub content: BackupContent,
    /// The restored journal's fence: only an epoch above it may write.
    pub fence: Epoch,
}

/// Writes a backup of `journal` to `path`, which must not exist.
///
/// # Errors
/// [`JournalError::Exists`] when something is at the path, [`JournalError::Broken`] when the journal or its archive is
/// damaged (use [`super::verify()`] to see where), [`JournalError::Full`] and other storage errors. Nothing is left at the
/// path then.
pub async fn backup<J: Journal>(journal: &J, path: &Path) -> Result<BackupContent, JournalError> {
    files::refuse_existing(path)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let out = Out::begin(path).await?;
        match copy(journal, out).await {
            Err(JournalError::SnapshotReplaced) if tries < SNAPSHOT_TRIES_MAX => {}
            done => {
                files::remove_leftover(&files::sibling(path, ".unfinished"))?;
                return done;
            }
        }
    }
}

async fn copy<J: Journal>(journal: &J, out: Out) -> Result<BackupContent, JournalError> {
    let head = journal.head().await?;
    let header = head_to_stored(&head);
    let out = out.put(move |o| o.frame(Kind::Header, &header)).await?;
    let (mut out, snapshot) = copy_snapshot(journal, &head, out).await?;
    let mut seq = Seq::from_raw(1);
    let mut content = BackupContent {
        fence: head.fence,
        first: head.first,
        first_chain: Digest::ZERO,
        seq_next: head.seq_next,
        chain: head.chain,
        entries: 0,
        snapshot,
    };
    while seq < head.seq_next {
        let mut page = read_anywhere(journal, seq).await?;
        page.truncate(page.partition_point(|e| e.seq() < head.seq_next));
        for entry in &page {
            content.entries += 1;
            if entry.seq_next() == head.first {
                content.first_chain = entry.digest();
            }
        }
        seq = page.last().map_or(head.seq_next, SealedEntry::seq_next);
        out = out.put(move |o| page.iter().try_for_each(|e| o.frame(Kind::Entry, &e.to_stored()))).await?;
    }
    out.finish(content.entries).await?;
    Ok(content)
}

/// The page that begins at `seq`, from the archive when it was trimmed.
pub(super) async fn read_anywhere<J: Journal>(
    journal: &J,
    seq: Seq,
) -> Result<Vec<SealedEntry>, JournalError> {
    match journal.read(seq, PAGE_BYTES).await {
        Err(JournalError::Trimmed { .. }) => journal.read_archived(seq, PAGE_BYTES).await,
        page => page,
    }
}

/// Copies the present snapshot, unless it stands for more than the backup will hold.
async fn copy_snapshot<J: Journal>(
    journal: &J,
    head: &Head,
    mut out: Out,
) -> Result<(Out, Option<Seq>), JournalError> {
    let Some(snapshot) = journal.snapshot().await? else { return Ok((out, None)) };
    if snapshot.point.seq_next > head.seq_next {
        return Err(JournalError::SnapshotReplaced);
    }
    out = out.put(move |o| o.frame(Kind::Snapshot, &snapshot.to_stored())).await?;
    let mut reader = SnapshotReader::new(snapshot);
    while let Some(chunk) = reader.next(journal).await? {
        out = out.put(move |o| o.frame(Kind::Chunk, &chunk)).await?;
    }
    Ok((out, Some(snapshot.point.seq_next)))
}

/// A backup file being written.
struct Out {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
}

impl Out {
    async fn begin(path: &Path) -> Result<Self, JournalError> {
        let unfinished = files::sibling(path, ".unfinished");
        files::remove_leftover(&unfinished)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, files::create(&unfinished)?);
        let out = Self { path: path.to_owned(), unfinished, file };
        out.put(|o| o.raw(&MAGIC)).await
    }

    /// Writes where it may block.
    async fn put(
        mut self,
        work: impl FnOnce(&mut Self) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<Self, JournalError> {
        let path = self.unfinished.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut self).map(|()| self)).await;
        done.map_err(|e| JournalError::io("write", &path, std::io::Error::other(e)))?
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        self.file.write_all(bytes).map_err(|e| JournalError::io("write", &self.unfinished, e))
    }

    fn frame(&mut self, kind: Kind, body: &[u8]) -> Result<(), JournalError> {
        frame::write(&mut self.file, kind, body).map_err(|e| JournalError::io("write", &self.unfinished, e))
    }

    async fn finish(self, entries: u64) -> Result<(), JournalError> {
        let finished = self.put(move |o| {
            o.frame(Kind::End, &entries.to_le_bytes())?;
            let synced = o.file.flush().and_then(|()| o.file.get_ref().sync_all());
            synced.map_err(|e| JournalError::io("write", &o.unfinished, e))?;
            files::refuse_existing(&o.path)?;
            files::publish(&o.unfinished, &o.path)
        });
        finished.await.map(drop)
    }
}

/// One part of a backup, as [`scan`] meets it.
pub(super) enum Part {
    /// The snapshot's head; its chunks follow.
    Snapshot(SnapshotHead),
    /// A chunk.
    Chunk { of: u64, index: u32, digest: Digest, bytes: Bytes },
    /// An entry.
    Entry(SealedEntry),
}

const HEADER_BYTES: usize = 8 + 8 + 8 + 32;

fn head_to_stored(head: &Head) -> [u8; HEADER_BYTES] {
    let mut stored = [0; HEADER_BYTES];
    stored[..8].copy_from_slice(&head.fence.raw().to_le_bytes());
    stored[8..16].copy_from_slice(&head.first.raw().to_le_bytes());
    stored[16..24].copy_from_slice(&head.seq_next.raw().to_le_bytes());
    stored[24..].copy_from_slice(head.chain.raw());
    stored
}

fn head_from_stored(stored: &[u8]) -> Option<Head> {
    let (fence, rest) = stored.split_first_chunk::<8>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let (seq_next, chain) = rest.split_first_chunk::<8>()?;
    Some(Head {
        seq_next: Seq::from_raw(u64::from_le_bytes(*seq_next)),
        chain: Digest::from_raw(chain.try_into().ok()?),
        fence: Epoch::from_raw(u64::from_le_bytes(*fence)),
        first: Seq::from_raw(u64::from_le_bytes(*first)),
    })
}

/// Reads a backup file from end to end and checks every link of it.
///
/// # Errors
/// [`JournalError::Missing`] when there is none, [`JournalError::Corrupt`] when it is damaged or cut short; storage errors.
pub async fn check_backup(path: &Path) -> Result<BackupContent, JournalError> {
    let path = path.to_owned();
    let unreadable = path.clone();
    let done = tokio::task::spawn_blocking(move || scan(&path, |_| Ok(()))).await;
    done.map_err(|e| JournalError::io("read", &unreadable, std::io::Error::other(e)))?
}

/// The first entry of a backup file, when it has any. What comes after it is not looked at.
///
/// # Errors
/// As [`check_backup`].
pub(crate) async fn first_entry(path: &Path) -> Result<Option<SealedEntry>, JournalError> {
    let path = path.to_owned();
    let unreadable = path.clone();
    let read = move || {
        let mut reader = Reader::open(&path)?;
        loop {
            match reader.next()? {
                Next::Part(Part::Entry(entry)) => return Ok(Some(entry)),
                Next::Part(Part::Snapshot(_) | Part::Chunk { .. }) => {}
                Next::End(_) => return Ok(None),
            }
        }
    };
    let done = tokio::task::spawn_blocking(read).await;
    done.map_err(|e| JournalError::io("read", &unreadable, std::io::Error::other(e)))?
}

/// Reads a backup file, checks it, and shows every part to `visit`.
pub(super) fn scan(
    path: &Path,
    mut visit: impl FnMut(Part) -> Result<(), JournalError>,
) -> Result<BackupContent, JournalError> {
    let mut reader = Reader::open(path)?;
    loop {
        match reader.next()? {
            Next::Part(part) => visit(part)?,
            Next::End(content) => return Ok(content),
        }
    }
}

/// A backup file being read and checked.
struct Reader<'p> {
    path: &'p Path,
    input: BufReader<File>,
    checker: Checker,
}

enum Next {
    Part(Part),
    End(BackupContent),
}

impl<'p> Reader<'p> {
    fn open(path: &'p Path) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(|e| JournalError::opening(path, e))?;
        let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
        frame::read_magic(&mut input, MAGIC).map_err(|e| unread(path, e))?;
        let (Kind::Header, header) = frame::read(&mut input).map_err(|e| unread(path, e))? else {
            return Err(damaged(path, "its header is missing"));
        };
        let head = head_from_stored(&header).ok_or_else(|| damaged(path, "its header makes no sense"))?;
        Ok(Self { path, input, checker: Checker::new(head) })
    }

    fn next(&mut self) -> Result<Next, JournalError> {
        let path = self.path;
        let (kind, body) = frame::read(&mut self.input).map_err(|e| unread(path, e))?;
        if kind != Kind::End {
            return self.checker.part(kind, body).map(Next::Part).map_err(|what| damaged(path, what));
        }
        let rest = self.input.fill_buf().map_err(|e| JournalError::io("read", path, e))?;
        if !rest.is_empty() {
            return Err(damaged(path, "something follows its end"));
        }
        self.checker.end(&body).map(Next::End).map_err(|what| damaged(path, what))
    }
}

fn damaged(path: &Path, what: &str) -> JournalError {
    JournalError::Corrupt { path: path.to_owned(), what: what.to_owned() }
}

fn unread(path: &Path, error: FrameError) -> JournalError {
    match error {
        FrameError::Io(e) => JournalError::io("read", path, e),
        FrameError::Damaged(what) => damaged(path, what),
    }
}

/// Follows the chain through a backup.
struct Checker {
    head: Head,
    last: Option<SealedEntry>,
    first_chain: Option<Digest>,
    entries: u64,
    snapshot: Option<SnapshotHead>,
    chunk: u32,
    chunk_digest: Digest,
    snapshot_linked: bool,
}

impl Checker {
    fn new(head: Head) -> Self {
        Self {
            head,
            last: None,
            first_chain: (head.first == Seq::from_raw(1)).then_some(Digest::ZERO),
            entries: 0,
            snapshot: None,
            chunk: 0,
            chunk_digest: Digest::ZERO,
            snapshot_linked: false,
        }
    }

    fn part(&mut self, kind: Kind, body: Vec<u8>) -> Result<Part, &'static str> {
        match (kind, self.snapshot) {
            (Kind::Snapshot, None) => {
                let head = SnapshotHead::from_stored(&body).ok_or("its snapshot makes no sense")?;
                self.snapshot = Some(head);
                Ok(Part::Snapshot(head))
            }
            (Kind::Chunk, Some(head)) => {
                let (index, bytes) = (self.chunk, Bytes::from(body));
                self.chunk_digest = self.chunk_digest.chained(&bytes);
                self.chunk = index.saturating_add(1);
                Ok(Part::Chunk { of: head.id, index, digest: self.chunk_digest, bytes })
            }
            (Kind::Entry, _) => {
                let entry = SealedEntry::from_stored(&body)?;
                self.entry(&entry)?;
                Ok(Part::Entry(entry))
            }
            (Kind::Header | Kind::Snapshot | Kind::Chunk | Kind::End, _) => Err("a frame is out of place"),
        }
    }

    fn entry(&mut self, entry: &SealedEntry) -> Result<(), &'static str> {
        match &self.last {
            Some(last) => follows(last, entry)?,
            None if entry.seq() != Seq::from_raw(1) || entry.previous() != Digest::ZERO => {
                return Err("its first entry is not the first of a journal");
            }
            None => {}
        }
        if entry.seq_next() == self.head.first {
            self.first_chain = Some(entry.digest());
        }
        let point = self.snapshot.map(|s| s.point);
        self.snapshot_linked |=
            point.is_some_and(|p| p.seq_next == entry.seq_next() && p.chain == entry.digest());
        self.entries += 1;
        self.last = Some(entry.clone());
        Ok(())
    }

    fn end(&self, body: &[u8]) -> Result<BackupContent, &'static str> {
        let end = self.last.as_ref().map_or((Seq::from_raw(1), Digest::ZERO), |e| (e.seq_next(), e.digest()));
        if end != (self.head.seq_next, self.head.chain) || body != self.entries.to_le_bytes() {
            return Err("its entries end elsewhere than its header says");
        }
        let whole = |s: &SnapshotHead| (s.chunks, s.digest) == (self.chunk, self.chunk_digest);
        if !self.snapshot.as_ref().is_none_or(whole) {
            return Err("its snapshot does not match its digest");
        }
        if self.snapshot.is_some() && !self.snapshot_linked {
            return Err("its snapshot is not of this journal");
        }
        Ok(BackupContent {
            fence: self.head.fence,
            first: self.head.first,
            first_chain: self.first_chain.ok_or("no entry ends where its header says the archive ends")?,
            seq_next: self.head.seq_next,
            chain: self.head.chain,
            entries: self.entries,
            snapshot: self.snapshot.map(|s| s.point.seq_next),
        })
    }
}
