//! What the directory keeps, and what becomes of it when the disk fails.

use super::*;

async fn open(path: PathBuf) -> Result<Directory, DirectoryError> {
    Directory::open(path, 0).await
}

fn ids(range: std::ops::Range<u8>) -> Vec<MailboxId> {
    range.map(|n| MailboxId::from_raw([n; 16])).collect()
}

fn shard(name: &str) -> ShardId {
    ShardId::new(name).unwrap()
}

fn list(name: &str, mailboxes: Vec<MailboxId>) -> Listing {
    Listing { shard: shard(name), mailboxes, at: CellTime::from_unix_ms(7), served: false, unlisted: None }
}

fn listed(mailboxes: std::ops::Range<u8>, at: u64, unlisted: Option<u64>) -> Listing {
    Listing { at: CellTime::from_unix_ms(at), unlisted, ..list("a", ids(mailboxes)) }
}

async fn listing(directory: &Directory, mailbox: MailboxId, max: usize) -> Vec<ShardId> {
    directory.find(mailbox, max).await.unwrap().into_iter().map(|listed| listed.shard).collect()
}

async fn since(directory: &Directory, id: u8) -> Option<u64> {
    let found = directory.find(MailboxId::from_raw([id; 16]), 16).await.unwrap();
    found[0].since.map(CellTime::unix_ms)
}

async fn gone(directory: &Directory, id: u8) -> Vec<(u64, u64, bool)> {
    let found = directory.find_gone(MailboxId::from_raw([id; 16]), 16).await.unwrap();
    found.into_iter().map(|gone| (gone.listed.unix_ms(), gone.missed.unix_ms(), gone.served)).collect()
}

/// Puts a list as a session does, and tells what it lacks: the same before and after a retry.
async fn told(directory: &Directory, listing: Listing) -> u64 {
    let (lists, lacks) = directory.compare(vec![listing]).await.unwrap();
    let (lists, again) = directory.compare(lists).await.unwrap();
    assert_eq!(lacks, again);
    directory.telling().put(lists).await.unwrap();
    lacks[0]
}

#[tokio::test]
async fn a_list_replaces_the_one_before_and_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.redb");
    let directory = open(path.clone()).await.unwrap();
    let mut telling = directory.telling();
    telling.put(vec![list("a", ids(0..9)), list("b", ids(5..7))]).await.unwrap();
    let five = MailboxId::from_raw([5; 16]);
    assert_eq!(listing(&directory, five, 16).await, [shard("a"), shard("b")]);
    assert_eq!(listing(&directory, five, 1).await, [shard("a")]);
    telling.put(vec![list("a", ids(6..9))]).await.unwrap();
    telling.sync().await.unwrap();
    drop((directory, telling));
    let directory = open(path.clone()).await.unwrap();
    assert_eq!(listing(&directory, five, 16).await, [shard("b")]);
    assert!(directory.find(MailboxId::from_raw([200; 16]), 16).await.unwrap().is_empty());
    assert_eq!(gone(&directory, 5).await, [(7, 7, false)]);
}

/// R7: what vanished is remembered with its times until it is back, and counted while the shard is held for it.
#[tokio::test]
async fn what_vanishes_is_remembered_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path().join("directory.redb")).await.unwrap();
    assert_eq!(told(&directory, listed(0..9, 10, None)).await, 0, "nothing was known");
    assert_eq!(told(&directory, listed(1..10, 20, None)).await, 1, "as many, and others");
    assert_eq!(gone(&directory, 0).await, [(10, 20, false)]);
    assert_eq!(told(&directory, listed(3..12, 30, Some(1))).await, 3);
    assert_eq!(told(&directory, listed(1..12, 40, Some(3))).await, 1, "two are back");
    assert_eq!((gone(&directory, 0).await.len(), gone(&directory, 1).await.len()), (1, 0));
    assert_eq!(told(&directory, listed(0..12, 50, Some(1))).await, 0);
    assert!(gone(&directory, 0).await.is_empty());
}

/// R7: which mailboxes a shard is held for can be told, while it is held for them.
#[tokio::test]
async fn what_counts_against_a_shard_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path().join("directory.redb")).await.unwrap();
    told(&directory, listed(0..9, 10, None)).await;
    told(&directory, Listing { served: true, ..listed(1..9, 20, None) }).await;
    told(&directory, listed(4..9, 30, None)).await;
    assert_eq!(directory.missing(shard("a"), 2).await.unwrap(), (ids(1..3), 3));
    assert_eq!(directory.missing(shard("b"), 2).await.unwrap(), (vec![], 0));
    told(&directory, listed(3..9, 40, Some(3))).await;
    assert_eq!(directory.missing(shard("a"), 9).await.unwrap(), (ids(1..3), 2));
    told(&directory, listed(3..9, 50, None)).await;
    assert_eq!(directory.missing(shard("a"), 9).await.unwrap(), (vec![], 0), "settled");
}

/// What appears after a shard's first list is known by the time of the list that showed it, until it vanishes.
#[tokio::test]
async fn a_newcomer_is_listed_since_it_appeared() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path().join("directory.redb")).await.unwrap();
    told(&directory, listed(1..4, 10, None)).await;
    told(&directory, listed(1..6, 20, None)).await;
    told(&directory, listed(1..7, 30, None)).await;
    let of = async |id| since(&directory, id).await;
    assert_eq!([of(3).await, of(4).await, of(6).await], [None, Some(20), Some(30)]);
    told(&directory, listed(1..3, 40, None)).await;
    told(&directory, listed(1..6, 50, Some(3))).await;
    assert_eq!([of(2).await, of(3).await, of(5).await], [None, Some(50), Some(50)], "back after a gap");
}

/// What a person has settled, and what was deleted in service, is remembered and counts no more.
#[tokio::test]
async fn what_was_settled_or_deleted_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path().join("directory.redb")).await.unwrap();
    told(&directory, listed(0..9, 10, None)).await;
    told(&directory, listed(1..9, 20, None)).await;
    assert_eq!(told(&directory, listed(2..9, 30, None)).await, 1, "settled between");
    assert_eq!(told(&directory, listed(2..9, 40, Some(1))).await, 1, "only what is missing since");
    assert_eq!(told(&directory, listed(1..9, 50, Some(1))).await, 0);
    told(&directory, Listing { served: true, ..listed(4..9, 60, None) }).await;
    assert_eq!(gone(&directory, 3).await, [(50, 60, true)]);
    assert_eq!(told(&directory, listed(5..9, 70, None)).await, 1);
    assert_eq!(told(&directory, listed(4..9, 80, Some(1))).await, 0);
    assert_eq!(gone(&directory, 0).await, [(10, 20, false)]);
}

/// R7: a directory that was lost makes nothing of what was missing good.
#[tokio::test]
async fn what_is_not_remembered_goes_on_missing() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path().join("directory.redb")).await.unwrap();
    assert_eq!(told(&directory, listed(1..9, 10, Some(2))).await, 2);
    assert_eq!(told(&directory, listed(0..9, 20, Some(2))).await, 2);
    assert_eq!(told(&directory, listed(3..9, 30, Some(2))).await, 5);
}

/// What is remembered has a bound: what does not count goes first, and of that the oldest.
#[tokio::test]
async fn the_oldest_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path().join("directory.redb")).await.unwrap();
    let many: Vec<_> = (0..70_000_u32).map(|no| MailboxId::from_raw(u128::from(no).to_be_bytes())).collect();
    let part = |from: usize, at: u64, served: bool| Listing {
        at: CellTime::from_unix_ms(at),
        served,
        ..list("a", many[from..].to_vec())
    };
    for (from, at, served) in [(0, 1, false), (5_000, 2, false), (40_000, 3, true), (69_000, 4, true)] {
        directory.telling().put(vec![part(from, at, served)]).await.unwrap();
    }
    let found = |no: usize| directory.find_gone(many[no], 1);
    let forgotten = async |no| found(no).await.unwrap().is_empty();
    assert_eq!([forgotten(0).await, forgotten(4_999).await], [true; 2]);
    assert_eq!([forgotten(30_000).await, forgotten(68_999).await], [false; 2]);
}

/// The bound holds however many vanish or appear at once.
#[tokio::test]
async fn what_is_remembered_stays_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path().join("directory.redb")).await.unwrap();
    let of = |from: u32, to: u32| {
        let ids = (from..to).map(|no| MailboxId::from_raw(u128::from(no).to_be_bytes())).collect();
        list("a", ids)
    };
    for listing in [of(0, 1), of(0, 200_000), of(199_999, 200_000)] {
        directory.telling().put(vec![listing]).await.unwrap();
    }
    let (_, missing) = directory.missing(shard("a"), 1).await.unwrap();
    assert_eq!(missing, 7 << 13);
}

/// A file whose pages make no sense is an error with a way out, whatever redb does about them.
#[tokio::test]
async fn a_broken_file_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.redb");
    let directory = open(path.clone()).await.unwrap();
    let mut telling = directory.telling();
    telling.put(vec![list("a", ids(0..9))]).await.unwrap();
    telling.sync().await.unwrap();
    drop((directory, telling));
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for page in 0..whole.len() / 4_096 {
        let mut broken = whole.clone();
        broken[page * 4_096..][..4_096].fill(0);
        std::fs::write(&path, &broken).unwrap();
        if let Err(error) = open(path.clone()).await {
            assert!(error.to_string().contains("remove the file"), "page {page}: {error}");
            refused += 1;
        }
    }
    assert!(refused > 0);
}

/// What was put before an error and is not durable is not called durable after it; everything else goes on by itself.
#[tokio::test]
async fn after_an_error_it_is_opened_again_and_nothing_is_called_durable_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let directory = open(folder.path().join("directory.redb")).await.unwrap();
    let (mut before, mut across) = (directory.telling(), directory.telling());
    before.put(vec![list("a", ids(0..9))]).await.unwrap();
    before.sync().await.unwrap();
    across.put(vec![list("b", ids(0..9))]).await.unwrap();
    let full = |_: &Database| Err::<(), _>(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
    let failed = directory.read(full).await.unwrap_err();
    assert!(matches!(failed, DirectoryError::Full { room: None, .. }), "{failed}");
    let lost = across.sync().await.unwrap_err();
    assert!(matches!(lost, DirectoryError::Reopened { .. }), "{lost}");
    let mut again = directory.telling();
    again.put(vec![list("b", ids(0..9))]).await.unwrap();
    again.sync().await.unwrap();
    assert_eq!(listing(&directory, MailboxId::from_raw([5; 16]), 16).await, [shard("a"), shard("b")]);
}

/// Nothing is written out of what is kept free for the journal; what is there is read, and a start waits for no room.
#[tokio::test]
async fn below_the_reserve_it_is_read_and_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.redb");
    let directory = open(path.clone()).await.unwrap();
    let mut telling = directory.telling();
    telling.put(vec![list("a", ids(0..9))]).await.unwrap();
    telling.sync().await.unwrap();
    drop((directory, telling));
    let directory = Directory::open(path.clone(), u64::MAX).await.unwrap();
    let refused = directory.telling().put(vec![list("a", ids(3..9))]).await.unwrap_err();
    assert!(matches!(refused, DirectoryError::Full { room: Some(_), .. }), "{refused}");
    assert_eq!(since(&directory, 2).await, None);
    drop(directory);
    std::fs::remove_file(&path).unwrap();
    let directory = Directory::open(path, u64::MAX).await.unwrap();
    let refused = directory.find(MailboxId::from_raw([5; 16]), 16).await.unwrap_err();
    assert!(refused.to_string().contains("free some space"), "{refused}");
}
