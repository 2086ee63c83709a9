//! A backup: one file with everything a journal holds, archive and snapshot included.
//!
//! It is made while appends go on, from the one source that does not change under the reader: entries up to the head at
//! the beginning, in order, each linked to the one before. Any journal can be backed up, and the file can be restored as an
//! embedded journal. It goes to whoever asked as it is read, page by page, and ends in a frame without which it is not accepted.

use std::fs::File;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::Path;

use bytes::Bytes;
use rientro_types::{Digest, Epoch, Seq};

use super::archive::follows;
use super::frame::{self, FrameError, Kind};
use super::snapshot::{SnapshotHead, SnapshotReader};
use super::{Head, Journal, JournalError, PAGE_BYTES, SealedEntry};

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

/// Takes a backup as it is made, wherever it goes: nothing is written beside the journal, whose disk may be full.
pub trait BackupSink: Send {
    /// Why it takes no more.
    type Error: From<JournalError> + Send;

    /// The backup begins, of everything before `head`. When it begins again, what came before does not count.
    fn begin(&mut self, head: &Head) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The next bytes: a few entries or a chunk of the snapshot, some MiB at most.
    fn put(&mut self, bytes: Vec<u8>) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Gives a backup of `journal` to `sink`. What it has taken is a backup only once this has returned well.
///
/// # Errors
/// [`JournalError::Broken`] when the journal or its archive is damaged (use [`super::verify()`] to see where); storage errors;
/// the sink's own.
///
/// # Cancel safety
/// Safe: nothing is left behind but what the sink has taken.
pub async fn backup<J: Journal, S: BackupSink>(journal: &J, sink: &mut S) -> Result<BackupContent, S::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match copy(journal, sink).await {
            Ok(content) => return Ok(content),
            Err(Stopped::Journal(JournalError::SnapshotReplaced)) if tries < SNAPSHOT_TRIES_MAX => {}
            Err(Stopped::Journal(error)) => return Err(error.into()),
            Err(Stopped::Sink(error)) => return Err(error),
        }
    }
}

/// What stopped a copy.
enum Stopped<E> {
    Journal(JournalError),
    Sink(E),
}

impl<E> From<JournalError> for Stopped<E> {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

async fn copy<J: Journal, S: BackupSink>(
    journal: &J,
    sink: &mut S,
) -> Result<BackupContent, Stopped<S::Error>> {
    let head = journal.head().await?;
    sink.begin(&head).await.map_err(Stopped::Sink)?;
    let header = head_to_stored(&head);
    put(sink, move |out| {
        out.extend_from_slice(&MAGIC);
        frame::write(out, Kind::Header, &header)
    })
    .await?;
    let snapshot = copy_snapshot(journal, &head, sink).await?;
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
        put(sink, move |out| page.iter().try_for_each(|e| frame::write(out, Kind::Entry, &e.to_stored())))
            .await?;
    }
    put(sink, move |out| frame::write(out, Kind::End, &content.entries.to_le_bytes())).await?;
    Ok(content)
}

/// Makes frames where it may take its time, and hands them on.
async fn put<S: BackupSink>(
    sink: &mut S,
    frames: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()> + Send + 'static,
) -> Result<(), Stopped<S::Error>> {
    let made = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        frames(&mut out).map(|()| out)
    });
    let made = made.await.map_err(std::io::Error::other).flatten();
    let made = made.map_err(|e| JournalError::io("put together", Path::new("a backup"), e))?;
    sink.put(made).await.map_err(Stopped::Sink)
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
async fn copy_snapshot<J: Journal, S: BackupSink>(
    journal: &J,
    head: &Head,
    sink: &mut S,
) -> Result<Option<Seq>, Stopped<S::Error>> {
    let Some(snapshot) = journal.snapshot().await? else { return Ok(None) };
    if snapshot.point.seq_next > head.seq_next {
        return Err(JournalError::SnapshotReplaced.into());
    }
    put(sink, move |out| frame::write(out, Kind::Snapshot, &snapshot.to_stored())).await?;
    let mut reader = SnapshotReader::new(snapshot);
    while let Some(chunk) = reader.next(journal).await? {
        put(sink, move |out| frame::write(out, Kind::Chunk, &chunk)).await?;
    }
    Ok(Some(snapshot.point.seq_next))
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
