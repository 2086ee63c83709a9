//! Snapshots, trimming, verification, backup and restore.

use std::fs;

use bytes::Bytes;
use rientro_types::{Digest, Epoch, Seq, SnapshotPoint};

use super::{Author, Lab, backup_to, lead, read_all, read_snapshot, take_snapshot};
use crate::journal::{
    Append, Journal, JournalError, PAGE_BYTES, SNAPSHOT_CHUNK_BYTES_MAX, Verified, check_backup, verify,
};

const FIRST: Seq = Seq::from_raw(1);

async fn verified<J: Journal>(journal: &J) -> Verified {
    let found = verify(journal, |_| Ok(())).await.unwrap();
    assert_eq!(found.broken, None);
    assert_eq!(found.records, found.head.seq_next.raw() - 1);
    found
}

/// A finished snapshot takes the place of the one before, also after reopening.
pub async fn a_snapshot_is_replaced_whole<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    assert_eq!(read_snapshot(&journal).await, None);
    author.write(&mut journal, 3).await;
    take_snapshot(&journal, author.point(), &[b"one", b"two", b"three"]).await;
    let first = journal.snapshot().await.unwrap().unwrap();
    assert_eq!((first.chunks, first.bytes), (3, 11));
    author.write(&mut journal, 3).await;
    take_snapshot(&journal, author.point(), &[b"four"]).await;
    let expected = Some((author.point(), vec![Bytes::from_static(b"four")]));
    assert_eq!(read_snapshot(&journal).await, expected);
    let stale = journal.snapshot_chunk(&first, 0).await;
    assert!(matches!(stale, Err(JournalError::SnapshotReplaced)), "{stale:?}");
    drop(journal);
    assert_eq!(read_snapshot(&lab.open().await).await, expected);
}

/// A draft that is dropped, superseded or cut off by a restart leaves the present snapshot as it is.
pub async fn an_unfinished_snapshot_changes_nothing<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 2).await;
    take_snapshot(&journal, author.point(), &[b"kept"]).await;
    let kept = read_snapshot(&journal).await;
    let mut old = journal.snapshot_begin(author.point()).await.unwrap();
    journal.snapshot_add(&mut old, Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(read_snapshot(&journal).await, kept);
    let mut young = journal.snapshot_begin(author.point()).await.unwrap();
    let refused = journal.snapshot_add(&mut old, Bytes::from_static(b"rest")).await;
    assert!(matches!(refused, Err(JournalError::SnapshotReplaced)), "{refused:?}");
    let refused = journal.snapshot_finish(old).await;
    assert!(matches!(refused, Err(JournalError::SnapshotReplaced)), "{refused:?}");
    journal.snapshot_add(&mut young, Bytes::from_static(b"half")).await.unwrap();
    drop((young, journal));
    let journal = lab.open().await;
    assert_eq!(read_snapshot(&journal).await, kept);
    take_snapshot(&journal, author.point(), &[b"whole"]).await;
    let whole = Some((author.point(), vec![Bytes::from_static(b"whole")]));
    assert_eq!(read_snapshot(&journal).await, whole);
}

/// A snapshot stands for an entry's end of this very chain, never for an older one than the present.
pub async fn a_snapshot_must_stand_for_this_journal<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    let empty = author.point();
    author.write(&mut journal, 1).await;
    let older = author.point();
    author.write(&mut journal, 1).await;
    take_snapshot(&journal, author.point(), &[b"x"]).await;
    let large = author.entry(3, "three records");
    assert!(matches!(journal.append(large.clone()).await, Append::Durable));
    author.wrote(&large);
    let point = |seq: Seq, chain| SnapshotPoint { seq_next: seq, chain };
    let wrong = [
        empty,
        older,
        point(author.seq, Digest::ZERO),
        point(author.seq.next(), author.chain),
        point(large.seq().next(), author.chain),
        point(large.seq(), author.chain),
    ];
    for point in wrong {
        let refused = journal.snapshot_begin(point).await;
        assert!(matches!(refused, Err(JournalError::SnapshotPoint { .. })), "{point:?}: {refused:?}");
    }
    take_snapshot(&journal, author.point(), &[b"y"]).await;
}

/// A chunk has 1 byte to the bound, and a snapshot at least one chunk.
pub async fn a_chunk_has_bounds<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 1).await;
    let draft = journal.snapshot_begin(author.point()).await.unwrap();
    assert!(matches!(journal.snapshot_finish(draft).await, Err(JournalError::Empty { .. })));
    let mut draft = journal.snapshot_begin(author.point()).await.unwrap();
    let refused = journal.snapshot_add(&mut draft, Bytes::new()).await;
    assert!(matches!(refused, Err(JournalError::Empty { .. })), "{refused:?}");
    let largest = vec![7; SNAPSHOT_CHUNK_BYTES_MAX + 1];
    let refused = journal.snapshot_add(&mut draft, largest.clone().into()).await;
    assert!(matches!(refused, Err(JournalError::TooLarge { .. })), "{refused:?}");
    journal.snapshot_add(&mut draft, largest[1..].to_vec().into()).await.unwrap();
    let head = journal.snapshot_finish(draft).await.unwrap();
    assert_eq!((head.chunks, head.bytes), (1, SNAPSHOT_CHUNK_BYTES_MAX as u64));
    assert_eq!(read_snapshot(&journal).await.unwrap().1[0].len(), SNAPSHOT_CHUNK_BYTES_MAX);
}

/// Nothing leaves the journal before a snapshot stands for it.
pub async fn a_trim_needs_a_snapshot<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 4).await;
    let refused = journal.trim(author.seq).await;
    assert!(matches!(refused, Err(JournalError::NotCovered { covered: FIRST, .. })), "{refused:?}");
    let covered = author.point();
    author.write(&mut journal, 4).await;
    take_snapshot(&journal, covered, &[b"x"]).await;
    let refused = journal.trim(covered.seq_next.next()).await;
    assert!(matches!(refused, Err(JournalError::NotCovered { .. })), "{refused:?}");
    assert_eq!(journal.head().await.unwrap().first, FIRST);
    assert_eq!(journal.trim(covered.seq_next).await.unwrap().entries, 4);
}

/// R11: trimmed entries are found in the archive, and the chain is whole across the border.
pub async fn trimmed_entries_are_archived_and_verified<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    let mut written = author.write(&mut journal, 30).await;
    take_snapshot(&journal, author.point(), &[b"thirty"]).await;
    written.extend(author.write(&mut journal, 10).await);
    // Inside the 20th entry: that entry stays.
    let cut = written[19].seq_next();
    let trimmed = journal.trim(cut).await.unwrap();
    assert_eq!((trimmed.entries, trimmed.first), (20, cut));
    assert_eq!(journal.trim(cut).await.unwrap().entries, 0);
    let refused = journal.read(FIRST, PAGE_BYTES).await;
    assert!(matches!(refused, Err(JournalError::Trimmed { first, .. }) if first == cut), "{refused:?}");
    assert_eq!(read_all(&journal, cut, 200).await, written[20..]);
    assert_eq!(journal.trim(written[29].seq_next()).await.unwrap().entries, 10);
    drop(journal);
    let mut journal = lab.open().await;
    let found = verified(&journal).await;
    assert_eq!((found.entries, found.archived), (40, 30));
    assert_eq!(found.snapshot.unwrap().point.seq_next, written[29].seq_next());
    let mut archived = Vec::new();
    while archived.len() < 30 {
        let next = archived.last().map_or(FIRST, crate::journal::SealedEntry::seq_next);
        archived.extend(journal.read_archived(next, 200).await.unwrap());
    }
    assert_eq!(archived, written[..30]);
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 1).await;
    let odd = verify(&journal, |e| if e.seq() == cut { Err("odd".to_owned()) } else { Ok(()) }).await;
    assert_eq!(odd.unwrap().broken.unwrap().seq, cut);
}

/// With every entry archived the journal still knows what comes next.
pub async fn trimming_everything_keeps_the_chain<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 12).await;
    take_snapshot(&journal, author.point(), &[b"all"]).await;
    let head = journal.head().await.unwrap();
    journal.trim(author.seq).await.unwrap();
    drop(journal);
    let mut journal = lab.open().await;
    let after = journal.head().await.unwrap();
    assert_eq!((after.seq_next, after.chain, after.fence), (head.seq_next, head.chain, head.fence));
    assert_eq!(after.first, head.seq_next);
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 2).await;
    assert_eq!(verified(&journal).await.archived, 12);
}

/// A backup restores to the same head, entries, archive and snapshot.
pub async fn a_backup_holds_everything<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let path = lab.folder().join("backup");
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 25).await;
    let covered = author.point();
    take_snapshot(&journal, covered, &[b"first part", b"second part"]).await;
    journal.trim(covered.seq_next).await.unwrap();
    let live = author.write(&mut journal, 15).await;
    let content = backup_to(&journal, &path).await.unwrap();
    assert_eq!((content.entries, content.first), (40, covered.seq_next));
    assert_eq!(check_backup(&path).await.unwrap(), content);
    let mut restored = lab.restore(&path, None).await.unwrap();
    assert_eq!(restored.head().await.unwrap(), journal.head().await.unwrap());
    assert_eq!(read_all(&restored, covered.seq_next, PAGE_BYTES).await, live);
    assert_eq!(read_snapshot(&restored).await, read_snapshot(&journal).await);
    assert_eq!(verified(&restored).await.archived, 25);
    let mut author = lead(&mut restored).await;
    author.write(&mut restored, 3).await;
    verified(&restored).await;
}

/// A backup taken while entries are appended, snapshots replaced and entries trimmed is whole.
pub async fn a_backup_is_consistent_while_appends_go_on<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let reader = journal.handle();
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 50).await;
    let folder = lab.folder().to_owned();
    let writer = async {
        for _ in 0..10 {
            author.write(&mut journal, 20).await;
            take_snapshot(&journal, author.point(), &[b"a chunk", b"another"]).await;
            journal.trim(author.seq).await.unwrap();
        }
    };
    let copier = async {
        let mut contents = Vec::new();
        for n in 0..5 {
            let before = reader.head().await.unwrap();
            let path = folder.join(format!("backup-{n}"));
            let content = backup_to(&reader, &path).await.unwrap();
            assert!(content.seq_next >= before.seq_next);
            contents.push((path, content));
        }
        contents
    };
    let ((), contents) = tokio::join!(writer, copier);
    for (path, content) in &contents {
        assert_eq!(check_backup(path).await.unwrap(), *content);
    }
    let (path, content) = &contents[4];
    let restored = lab.restore(path, None).await.unwrap();
    assert_eq!(verified(&restored).await.head.chain, content.chain);
}

/// T29: a restored journal refuses every epoch that was ever met, told ones included.
pub async fn a_restored_journal_is_above_every_epoch<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let path = lab.folder().join("backup");
    journal.become_writer(Epoch::from_raw(4)).await.unwrap();
    let mut author = Author::after(&journal.head().await.unwrap(), Epoch::from_raw(4));
    author.write(&mut journal, 5).await;
    journal.handle().become_writer(Epoch::from_raw(6)).await.unwrap();
    backup_to(&journal, &path).await.unwrap();
    let mut restored = lab.restore(&path, Some(Epoch::from_raw(40))).await.unwrap();
    assert_eq!(restored.head().await.unwrap().fence, Epoch::from_raw(40));
    for epoch in [4, 6, 40] {
        let refused = restored.become_writer(Epoch::from_raw(epoch)).await;
        assert!(matches!(refused, Err(JournalError::Fenced { .. })), "{refused:?}");
    }
    restored.become_writer(Epoch::from_raw(41)).await.unwrap();
    let lower = lab.restore(&path, Some(Epoch::from_raw(2))).await.unwrap();
    assert_eq!(lower.head().await.unwrap().fence, Epoch::from_raw(6));
}

/// A backup that lost its end, or any byte of it, or to which something was added, is not restored.
pub async fn a_cut_or_changed_backup_is_refused<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let path = lab.folder().join("backup");
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 4).await;
    take_snapshot(&journal, author.point(), &[b"chunk"]).await;
    backup_to(&journal, &path).await.unwrap();
    let whole = fs::read(&path).unwrap();
    let damaged = lab.folder().join("damaged");
    let cuts = (0..whole.len()).step_by(13).map(|len| whole[..len].to_vec());
    let flips = (0..whole.len()).step_by(7).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let longer = [&whole[..], b"x"].concat();
    for bytes in cuts.chain(flips).chain([longer]) {
        fs::write(&damaged, &bytes).unwrap();
        let refused = check_backup(&damaged).await;
        assert!(matches!(refused, Err(JournalError::Corrupt { .. })), "{refused:?}");
    }
    let refused = lab.restore(&damaged, None).await;
    assert!(matches!(refused, Err(JournalError::Corrupt { .. })));
}
