//! Appending, fencing and reading.

use bytes::Bytes;
use rientro_types::{Digest, Epoch, Seq};

use super::{Author, Lab, lead, read_all};
use crate::journal::faulty::{Fate, FaultyJournal};
use crate::journal::{Append, ENTRY_BYTES_MAX, Journal, JournalError, PAGE_BYTES, SealedEntry, Settled};

const FIRST: Seq = Seq::from_raw(1);

/// An empty journal begins at record 1; what is appended is read back the same.
pub async fn an_entry_comes_back_as_it_was<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let head = journal.head().await.unwrap();
    assert_eq!((head.seq_next, head.chain, head.first), (FIRST, Digest::ZERO, FIRST));
    assert_eq!(journal.read(FIRST, PAGE_BYTES).await.unwrap(), []);
    let mut author = lead(&mut journal).await;
    let written = author.write(&mut journal, 20).await;
    assert_eq!(read_all(&journal, FIRST, PAGE_BYTES).await, written);
    let head = journal.head().await.unwrap();
    assert_eq!((head.seq_next, head.chain), (author.seq, author.chain));
}

/// Only the entry that comes next is taken, and a refusal changes nothing.
pub async fn a_wrong_sequence_is_refused<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    let written = author.write(&mut journal, 3).await;
    for seq in [author.seq.raw() - 1, author.seq.raw() + 1] {
        let early = Author { seq: Seq::from_raw(seq), ..author };
        let append = journal.append(early.entry(1, "x")).await;
        assert!(matches!(append, Append::Failed(JournalError::WrongSeq { .. })), "{append:?}");
    }
    let again = journal.append(written[2].clone()).await;
    assert!(matches!(again, Append::Failed(JournalError::WrongSeq { .. })), "{again:?}");
    author.write(&mut journal, 1).await;
}

/// R11: an entry that does not carry the digest of the one before is refused.
pub async fn a_wrong_digest_is_refused<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 2).await;
    let forged = Author { chain: Digest::of(b"another history"), ..author };
    let append = journal.append(forged.entry(1, "x")).await;
    assert!(matches!(append, Append::Failed(JournalError::WrongChain { .. })), "{append:?}");
    author.write(&mut journal, 1).await;
}

/// There is no entry without a record.
pub async fn an_empty_entry_is_refused<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let author = lead(&mut journal).await;
    let seal = |next, payload| SealedEntry::new(author.seq, next, author.epoch, author.chain, payload);
    assert!(matches!(seal(author.seq, Bytes::from_static(b"x")), Err(JournalError::Empty { .. })));
    assert!(matches!(seal(author.seq.next(), Bytes::new()), Err(JournalError::Empty { .. })));
    assert_eq!(journal.head().await.unwrap().seq_next, FIRST);
}

/// Entries up to the bound are taken, several in a row, and one beyond it cannot be made.
pub async fn the_largest_entry_fits<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    for fill in 0..3 {
        let entry = author.entry(13_000, vec![fill; ENTRY_BYTES_MAX]);
        assert!(matches!(journal.append(entry.clone()).await, Append::Durable));
        author.wrote(&entry);
    }
    let all = read_all(&journal, FIRST, 1).await;
    assert_eq!(all.len(), 3);
    assert!(all.iter().zip(0..).all(|(e, fill)| e.payload().iter().all(|b| *b == fill)));
    let beyond = vec![0; ENTRY_BYTES_MAX + 1];
    let beyond = SealedEntry::new(author.seq, author.seq.next(), author.epoch, author.chain, beyond.into());
    assert!(matches!(beyond, Err(JournalError::TooLarge { .. })));
}

/// A handle writes only after it became writer.
pub async fn a_handle_that_is_no_writer_cannot_append<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let author = lead(&mut journal).await;
    let mut reader = journal.handle();
    let append = reader.append(author.entry(1, "x")).await;
    assert!(matches!(append, Append::Failed(JournalError::NotWriter)), "{append:?}");
    let foreign = Author { epoch: author.epoch.next(), ..author };
    let append = journal.append(foreign.entry(1, "x")).await;
    assert!(matches!(append, Append::Failed(JournalError::WrongEpoch { .. })), "{append:?}");
}

/// R5: an epoch that wrote, or one below it, never becomes writer again.
pub async fn an_epoch_never_writes_again<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    journal.become_writer(Epoch::from_raw(7)).await.unwrap();
    let mut other = journal.handle();
    for epoch in [0, 1, 6, 7] {
        let refused = other.become_writer(Epoch::from_raw(epoch)).await;
        let by = Epoch::from_raw(7);
        assert!(matches!(refused, Err(JournalError::Fenced { by: b, .. }) if b == by), "{refused:?}");
    }
    let mut author = Author::after(&journal.head().await.unwrap(), Epoch::from_raw(7));
    author.write(&mut journal, 1).await;
}

/// R5: once a higher epoch is writer, the older one's appends are fenced and store nothing.
pub async fn an_older_writer_is_fenced<L: Lab>(lab: &L) {
    let mut old = lab.open().await;
    let mut first = lead(&mut old).await;
    first.write(&mut old, 2).await;
    let mut young = old.handle();
    let mut second = lead(&mut young).await;
    let append = old.append(first.entry(1, "late")).await;
    assert!(matches!(append, Append::Fenced { by } if by == second.epoch), "{append:?}");
    second.write(&mut young, 2).await;
    let append = old.append(first.entry(1, "later")).await;
    assert!(matches!(append, Append::Fenced { by } if by == second.epoch), "{append:?}");
    assert_eq!(old.head().await.unwrap().chain, second.chain);
}

/// R5: the fence is durable, though the epoch wrote nothing.
pub async fn the_fence_outlives_reopening<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    journal.become_writer(Epoch::from_raw(9)).await.unwrap();
    drop(journal);
    let mut journal = lab.open().await;
    assert_eq!(journal.head().await.unwrap().fence, Epoch::from_raw(9));
    let refused = journal.become_writer(Epoch::from_raw(9)).await;
    assert!(matches!(refused, Err(JournalError::Fenced { .. })), "{refused:?}");
    journal.become_writer(Epoch::from_raw(10)).await.unwrap();
}

/// R4: what was acknowledged is there after every reopening.
pub async fn reopening_loses_nothing<L: Lab>(lab: &L) {
    let mut all = Vec::new();
    for _ in 0..5 {
        let mut journal = lab.open().await;
        assert_eq!(read_all(&journal, FIRST, PAGE_BYTES).await, all);
        let mut author = lead(&mut journal).await;
        all.extend(author.write(&mut journal, 7).await);
    }
}

/// T26: whatever was lost, the head tells whether the entry is stored, and the writer goes on from there.
pub async fn a_lost_answer_is_settled_by_the_head<L: Lab>(lab: &L) {
    let fates = [Fate::LostBefore, Fate::LostAfter, Fate::Answered, Fate::LostAfter, Fate::LostBefore];
    let mut journal = FaultyJournal::new(lab.open().await, fates);
    let mut author = lead(&mut journal).await;
    for fate in fates {
        // After a lost request the same entry is appended again, at the next fate.
        let entry = author.entry(2, format!("records from {}", author.seq));
        let append = journal.append(entry.clone()).await;
        assert_eq!(matches!(append, Append::Unknown(_)), fate != Fate::Answered, "{append:?}");
        let settled = journal.head().await.unwrap().settle(&entry);
        if fate == Fate::LostBefore {
            assert_eq!(settled, Settled::NotStored);
        } else {
            assert_eq!(settled, Settled::Stored);
            author.wrote(&entry);
        }
    }
    let mut journal = journal.into_inner();
    assert_eq!(read_all(&journal, FIRST, PAGE_BYTES).await.len(), 3);
    let lost = author.entry(1, "lost for good");
    let mut young = journal.handle();
    let mut other = lead(&mut young).await;
    assert_eq!(young.head().await.unwrap().settle(&lost), Settled::Superseded);
    other.write(&mut young, 1).await;
    assert_eq!(young.head().await.unwrap().settle(&lost), Settled::Superseded);
    assert!(matches!(journal.append(lost).await, Append::Fenced { .. }));
}

/// A page has at least one entry, and no further one once its bound is reached.
pub async fn pages_hold_whole_entries_in_order<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    let written = author.write(&mut journal, 40).await;
    for bytes_max in [0, 1, 100, 1_000, PAGE_BYTES] {
        assert_eq!(read_all(&journal, FIRST, bytes_max).await, written, "pages of {bytes_max}");
    }
    assert_eq!(journal.read(FIRST, 0).await.unwrap().len(), 1);
    let page = journal.read(FIRST, 500).await.unwrap();
    let bytes = |entries: &[SealedEntry]| entries.iter().map(|e| e.payload().len()).sum::<usize>();
    assert!(bytes(&page) >= 500 && bytes(&page[..page.len() - 1]) < 500);
}

/// A record that is not there yet is an error, and the end is not.
pub async fn reading_outside_the_journal_is_refused<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    author.write(&mut journal, 3).await;
    assert_eq!(journal.read(author.seq, PAGE_BYTES).await.unwrap(), []);
    let beyond = journal.read(author.seq.next(), PAGE_BYTES).await;
    assert!(matches!(beyond, Err(JournalError::Beyond { .. })), "{beyond:?}");
}

/// Any record can be asked for; the entry that holds it comes first.
pub async fn reading_inside_an_entry_begins_with_it<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let mut author = lead(&mut journal).await;
    let written = author.write(&mut journal, 10).await;
    for seq in 1..author.seq.raw() {
        let page = journal.read(Seq::from_raw(seq), PAGE_BYTES).await.unwrap();
        let at = written.iter().position(|e| e.seq_next().raw() > seq).unwrap();
        assert_eq!(page, written[at..]);
    }
}

/// Another handle sees every entry once it is acknowledged.
pub async fn a_reader_follows_the_writer<L: Lab>(lab: &L) {
    let mut journal = lab.open().await;
    let reader = journal.handle();
    let mut author = lead(&mut journal).await;
    for _ in 0..10 {
        let from = author.seq;
        let written = author.write(&mut journal, 1).await;
        assert_eq!(reader.read(from, PAGE_BYTES).await.unwrap(), written);
        assert_eq!(reader.head().await.unwrap(), journal.head().await.unwrap());
    }
}
