//! Disks that fail, lie about nothing, and lose power; files that are locked, missing, cut or changed.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may panic, and its numbers are small"
)]

mod journal_support;

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use journal_support::Seeded;
use redb::StorageBackend;
use rientro_orchestrator::journal::conformance::{Author, lead, read_all, take_snapshot};
use rientro_orchestrator::journal::{
    Append, Journal, JournalError, PAGE_BYTES, Recourse, RedbJournal, RedbOptions, SealedEntry, verify,
};
use rientro_types::Seq;
use tempfile::TempDir;

const FIRST: Seq = Seq::from_raw(1);
const SECTOR_BYTES: usize = 512;

/// A disk in memory with a cache that is lost with the power, sector by sector, unless it was synced.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    /// What survives.
    durable: Vec<u8>,
    /// What is read back while there is power.
    seen: Vec<u8>,
    /// What came since the last sync, in order.
    cached: Vec<Cached>,
    /// Whether it says that it synced, and did not.
    lies: bool,
    /// Writes and syncs until every further one fails, with this error.
    ends: Option<(u64, io::ErrorKind)>,
}

#[derive(Debug)]
enum Cached {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Disk {
    fn with(content: Vec<u8>) -> Self {
        let platter = Platter { durable: content.clone(), seen: content, ..Platter::default() };
        Self(Arc::new(Mutex::new(platter)))
    }

    fn fail_after(&self, operations: u64, with: io::ErrorKind) {
        self.0.lock().unwrap().ends = Some((operations, with));
    }

    fn failed(&self) -> bool {
        matches!(self.0.lock().unwrap().ends, Some((0, _)))
    }

    /// What is on the disk after the power was lost: of what was not synced, any sectors.
    fn after_power_loss(&self, seeded: &mut Seeded) -> Vec<u8> {
        let platter = self.0.lock().unwrap();
        let mut left = platter.durable.clone();
        for cached in &platter.cached {
            match cached {
                Cached::Length(len) if seeded.coin() => left.resize(*len, 0),
                Cached::Length(_) => {}
                Cached::Bytes(at, bytes) => {
                    for (n, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        let from = at + n * SECTOR_BYTES;
                        if seeded.coin() && from + sector.len() <= left.len() {
                            left[from..from + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        left
    }

    /// What is on the disk after the process ended in order, or was killed.
    fn content(&self) -> Vec<u8> {
        self.0.lock().unwrap().seen.clone()
    }
}

impl Platter {
    fn operation(&mut self) -> io::Result<()> {
        match &mut self.ends {
            Some((0, error)) => Err(io::Error::from(*error)),
            Some((left, error)) => {
                *left -= 1;
                if *left == 0 { Err(io::Error::from(*error)) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock().unwrap();
        let from = offset as usize;
        let found = platter.seen.get(from..from + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.operation()?;
        platter.seen.resize(len as usize, 0);
        platter.cached.push(Cached::Length(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.operation()?;
        if !platter.lies {
            platter.durable = platter.seen.clone();
            platter.cached.clear();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.operation()?;
        let from = offset as usize;
        platter.seen[from..from + data.len()].copy_from_slice(data);
        platter.cached.push(Cached::Bytes(from, data.to_vec()));
        Ok(())
    }
}

/// No question to the disk about room: it is in memory.
const OPTIONS: RedbOptions = RedbOptions { cache_bytes: 4 << 20, reserve_bytes: 0 };

struct Scene {
    _folder: TempDir,
    path: PathBuf,
    /// An empty journal.
    empty: Vec<u8>,
}

impl Scene {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("journal.redb");
        drop(RedbJournal::create(&path, OPTIONS).await.unwrap());
        let empty = fs::read(&path).unwrap();
        Self { _folder: folder, path, empty }
    }

    async fn open(&self, disk: &Disk) -> Result<RedbJournal, JournalError> {
        RedbJournal::open_on(&self.path, disk.clone(), OPTIONS).await
    }
}

/// Appends, and now and then takes a snapshot, until the disk fails; returns what was acknowledged and the error.
async fn work(
    journal: &mut RedbJournal,
    author: &mut Author,
    seeded: &mut Seeded,
) -> (Vec<SealedEntry>, JournalError) {
    let mut acknowledged = Vec::new();
    loop {
        let entry = author.entry(1 + seeded.below(9), vec![3; 1 + seeded.below(30_000) as usize]);
        match journal.append(entry.clone()).await {
            Append::Durable => author.wrote(&entry),
            Append::Failed(e) => return (acknowledged, e),
            other @ (Append::Fenced { .. } | Append::Unknown(_)) => panic!("{other:?}"),
        }
        acknowledged.push(entry);
        if seeded.below(8) == 0
            && let Err(e) = snapshot(journal, author).await
        {
            return (acknowledged, e);
        }
    }
}

async fn snapshot(journal: &RedbJournal, author: &Author) -> Result<(), JournalError> {
    let mut draft = journal.snapshot_begin(author.point()).await?;
    journal.snapshot_add(&mut draft, vec![4; 20_000].into()).await?;
    journal.snapshot_finish(draft).await.map(drop)
}

/// Opens what is left and checks that every acknowledged entry is there and at most one more; then writes on.
async fn check(scene: &Scene, left: Vec<u8>, acknowledged: &[SealedEntry], author: &Author) {
    let mut journal = scene.open(&Disk::with(left)).await.unwrap();
    let all = read_all(&journal, FIRST, PAGE_BYTES).await;
    assert_eq!(all[..acknowledged.len()], *acknowledged);
    assert!(all.len() <= acknowledged.len() + 1);
    assert_eq!(verify(&journal, |_| Ok(())).await.unwrap().broken, None);
    assert_eq!(journal.head().await.unwrap().fence, author.epoch);
    lead(&mut journal).await.write(&mut journal, 2).await;
}

/// R4: when the power goes, at any write or sync and with any sectors of what was not synced lost, every acknowledged entry
/// is there, the chain is whole and at most one more entry follows.
#[tokio::test]
async fn losing_power_loses_nothing_acknowledged() {
    let scene = Scene::new().await;
    for seed in 0..200 {
        let mut seeded = Seeded(seed);
        let disk = Disk::with(scene.empty.clone());
        let mut journal = scene.open(&disk).await.unwrap();
        let mut author = lead(&mut journal).await;
        disk.fail_after(1 + seeded.below(150), io::ErrorKind::Other);
        let (acknowledged, _) = work(&mut journal, &mut author, &mut seeded).await;
        drop(journal);
        check(&scene, disk.after_power_loss(&mut seeded), &acknowledged, &author).await;
    }
}

/// The harness itself: on a disk that says it synced and did not, acknowledged entries are lost, and that shows.
#[tokio::test]
async fn a_disk_that_lies_is_caught() {
    let scene = Scene::new().await;
    let mut lost = 0;
    for seed in 0..20 {
        let mut seeded = Seeded(seed);
        let disk = Disk::with(scene.empty.clone());
        let mut journal = scene.open(&disk).await.unwrap();
        let mut author = lead(&mut journal).await;
        disk.0.lock().unwrap().lies = true;
        disk.fail_after(100, io::ErrorKind::Other);
        let (acknowledged, _) = work(&mut journal, &mut author, &mut seeded).await;
        drop(journal);
        let opened = scene.open(&Disk::with(disk.after_power_loss(&mut seeded))).await;
        let left = match &opened {
            Ok(journal) => journal.head().await.unwrap().seq_next,
            Err(_) => FIRST,
        };
        lost += u32::from(left < acknowledged.last().unwrap().seq_next());
    }
    assert!(lost > 10, "only {lost} of 20 lies were noticed");
}

/// After an error nothing more is done through the handle; opened again, the journal has all that was acknowledged. A full
/// disk is told apart from a failing one.
#[tokio::test]
async fn a_failed_write_or_sync_is_never_tried_again() {
    let scene = Scene::new().await;
    for operations in 1..60 {
        let full = operations % 2 == 0;
        let disk = Disk::with(scene.empty.clone());
        let mut journal = scene.open(&disk).await.unwrap();
        let mut author = lead(&mut journal).await;
        let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        disk.fail_after(operations, kind);
        let mut seeded = Seeded(operations);
        let (acknowledged, error) = work(&mut journal, &mut author, &mut seeded).await;
        assert!(disk.failed());
        let expected = if full { Recourse::WaitForRoom } else { Recourse::Reopen };
        assert_eq!(error.recourse(), expected, "{error:?}");
        // The disk would work again; the handle does not try.
        disk.0.lock().unwrap().ends = None;
        let before = disk.content();
        let again = journal.append(author.entry(1, "again")).await;
        assert!(matches!(again, Append::Failed(JournalError::Poisoned { .. })), "{again:?}");
        assert!(matches!(journal.head().await, Err(JournalError::Poisoned { .. })));
        assert!(matches!(journal.read(FIRST, 1).await, Err(JournalError::Poisoned { .. })));
        drop(journal);
        assert_eq!(disk.content(), before, "a poisoned journal was written to");
        check(&scene, before, &acknowledged, &author).await;
    }
}

async fn written(path: &Path) -> Vec<SealedEntry> {
    let mut journal = RedbJournal::create(path, RedbOptions::default()).await.unwrap();
    let mut author = lead(&mut journal).await;
    let mut all = Vec::new();
    for n in 0..60_usize {
        let entry = author.entry(2, vec![n as u8; 1 + n * 400]);
        assert!(matches!(journal.append(entry.clone()).await, Append::Durable));
        author.wrote(&entry);
        all.push(entry);
    }
    take_snapshot(&journal, author.point(), &[b"a snapshot"]).await;
    all
}

/// R11: a file with changed or missing bytes is refused, or everything read from it is right; it is never believed wrongly,
/// and never brings the process down.
#[tokio::test]
async fn a_damaged_file_is_found() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.redb");
    let all = written(&path).await;
    let whole = fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.redb");
    let mut seeded = Seeded(7);
    let mut refused = 0;
    for round in 0..150 {
        let mut bytes = whole.clone();
        let at = seeded.below(bytes.len() as u64) as usize;
        match round % 3 {
            0 => bytes[at] ^= 1 << seeded.below(8),
            1 => bytes[at..].iter_mut().take(4_096).for_each(|b| *b = 0),
            _ => bytes.truncate(at),
        }
        fs::write(&damaged, &bytes).unwrap();
        refused += u32::from(is_refused(&damaged, &all).await);
    }
    assert!(refused >= 60, "only {refused} of 150 damaged files were refused");
}

/// Whether opening or reading finds the damage; panics when wrong content is believed.
async fn is_refused(path: &Path, all: &[SealedEntry]) -> bool {
    let journal = match RedbJournal::open(path, RedbOptions::default()).await {
        Ok(journal) => journal,
        Err(e) => {
            assert_eq!(e.recourse(), Recourse::AskOperator, "{e:?}");
            assert!(e.to_string().contains("journal restore"), "{e}");
            return true;
        }
    };
    let mut count = 0;
    let found = verify(&journal, |entry| {
        assert_eq!(*entry, all[count], "wrong content was believed");
        count += 1;
        Ok(())
    });
    let whole = matches!(found.await, Ok(found) if found.broken.is_none());
    assert!(!whole || count == all.len(), "only {count} entries are left, and nothing was said");
    !whole
}

/// A journal that is open, missing, empty or something else is refused with a reason.
#[tokio::test]
async fn what_is_not_ours_to_open_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.redb");
    let open = |path: PathBuf| async move { RedbJournal::open(&path, RedbOptions::default()).await };
    assert!(matches!(open(path.clone()).await, Err(JournalError::Missing { .. })));
    let journal = RedbJournal::create(&path, RedbOptions::default()).await.unwrap();
    let locked = open(path.clone()).await.unwrap_err();
    assert!(matches!(locked, JournalError::Locked { .. }), "{locked:?}");
    assert!(locked.to_string().contains(path.to_str().unwrap()));
    let exists = RedbJournal::create(&path, RedbOptions::default()).await;
    assert!(matches!(exists, Err(JournalError::Exists { .. })));
    drop(journal);
    open(path).await.unwrap();
    for content in [&b""[..], b"redb?", &[0; 10_000]] {
        let other = folder.path().join("other");
        fs::write(&other, content).unwrap();
        let refused = open(other.clone()).await;
        assert!(matches!(refused, Err(JournalError::Corrupt { .. })), "{refused:?}");
        assert_eq!(fs::read(&other).unwrap(), content, "what is not a journal was written to");
    }
    let foreign = folder.path().join("foreign.redb");
    drop(redb::Database::create(&foreign).unwrap());
    assert!(matches!(open(foreign).await, Err(JournalError::Corrupt { .. })));
}

/// A damaged or missing archive file is found by a check, with the first record that is affected.
#[tokio::test]
async fn a_damaged_archive_is_found() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.redb");
    let all = written(&path).await;
    let journal = RedbJournal::open(&path, RedbOptions::default()).await.unwrap();
    journal.trim(all[19].seq_next()).await.unwrap();
    journal.trim(all[39].seq_next()).await.unwrap();
    assert_eq!(verify(&journal, |_| Ok(())).await.unwrap().broken, None);
    let archive = folder.path().join("journal.redb.archive");
    let mut files: Vec<_> = fs::read_dir(&archive).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2);
    let second = fs::read(&files[1]).unwrap();
    OpenOptions::new().write(true).open(&files[1]).unwrap().set_len(second.len() as u64 - 1).unwrap();
    let broken = verify(&journal, |_| Ok(())).await.unwrap().broken.unwrap();
    assert_eq!(broken.seq, all[39].seq(), "{broken:?}");
    fs::remove_file(&files[1]).unwrap();
    let broken = verify(&journal, |_| Ok(())).await.unwrap().broken.unwrap();
    assert_eq!(broken.seq, all[20].seq(), "{broken:?}");
}
