//! Work under way: stopping, holding, slowing down, and getting the same answer however it ran.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rientro_mailstore::{Control, Pace, READERS_MAX, stat_walk};
use rientro_types::{Digest, FindingsHasher, Level, Outcome, UnknownCause};
use rustix::fs::{Advice, AtFlags, CWD, Timespec, Timestamps, fadvise, utimensat};
use store::{Store, message};

/// Longest wait for a condition before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    #[allow(clippy::disallowed_methods, reason = "a bound on waiting")]
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "still waiting until {what}");
        std::thread::yield_now();
    }
}

/// Mailboxes with damage of several kinds in every third.
fn store_with_damage(mailboxes: u32) -> Store {
    let store = Store::new();
    for number in 0..mailboxes {
        let mailbox = store.maildir(&format!("d{}.org/u{number:03}", number % 3));
        (1..=4).for_each(|n| drop(mailbox.deliver(n, &message(n))));
        mailbox.write_uids(&[1, 2, 3, 4]);
        if number % 3 == 0 {
            let file = fs::File::options().write(true).open(mailbox.file(2)).unwrap();
            file.write_all_at(&[0; 4096], 4096).unwrap();
            fs::write(mailbox.file(3), b"").unwrap();
            fs::remove_file(mailbox.file(4)).unwrap();
            fs::write(mailbox.0.join("cur/README"), b"").unwrap();
        }
    }
    store
}

/// Same findings in the same order, same digests, whatever the number of readers.
#[test]
fn the_answer_does_not_depend_on_the_readers() {
    let store = store_with_damage(60);
    let run =
        |readers| store.verify_at(Level::Structure, &Control::new(Pace { readers, bytes_per_second: 0 }));
    let (report, findings) = run(1);
    assert_eq!((report.verdict.outcome, report.damaged.len()), (Outcome::Damaged, 20));
    let mut hasher = FindingsHasher::default();
    findings.iter().for_each(|finding| hasher.add(finding));
    assert_eq!(report.findings_digest, hasher.finish());
    for readers in [2, 7, 64] {
        assert_eq!(run(readers), (report.clone(), findings.clone()));
    }
}

/// Has the kernel forget the content of every file, as far as the file system keeps any on a disk.
fn chill(root: &Path) {
    for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            chill(&entry.path());
        } else {
            let file = fs::File::open(entry.path()).unwrap();
            file.sync_all().unwrap();
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        }
    }
}

/// Messages that come from the disk are opened ahead of their turn, and still each is judged as itself.
#[test]
fn the_answer_does_not_depend_on_the_page_cache() {
    let store = store_with_damage(12);
    let long = store.maildir("d0.org/long");
    for number in 1..=200 {
        long.deliver(number, &message(number));
        if number % 10 == 0 {
            fs::write(long.file(number), b"").unwrap();
            fs::write(long.0.join(format!("cur/{number}-note")), b"x").unwrap();
        }
    }
    let run =
        |readers| store.verify_at(Level::Structure, &Control::new(Pace { readers, bytes_per_second: 0 }));
    let warm = run(3);
    assert!(warm.1.len() >= 40, "{:?}", warm.1.len());
    for readers in [1, 3, 100] {
        chill(store.task().root);
        assert_eq!(run(readers), warm);
    }
}

/// A mailbox full of damage hands its findings on while it is read, in order among the others.
#[test]
fn many_findings_in_one_mailbox_keep_their_order() {
    let store = store_with_damage(6);
    for user in ["d0.org/aaa", "d1.org/mmm", "d2.org/zzz"] {
        let mailbox = store.maildir(user);
        for number in 0..700 {
            fs::write(mailbox.0.join(format!("new/1600000000.M{number:06}P1.host")), b"").unwrap();
        }
    }
    let run =
        |readers| store.verify_at(Level::Structure, &Control::new(Pace { readers, bytes_per_second: 0 })).1;
    let findings = run(1);
    assert!(findings.len() > 2100 && findings.is_sorted_by_key(|finding| finding.mailbox.clone()));
    assert_eq!(run(8), findings);
}

/// Path, access, modification and change time, and digest of the content of each file and directory.
type Portrait = Vec<(PathBuf, [i64; 5], Digest)>;

/// Takes times before it reads anything itself.
fn portrait(root: &Path) -> Portrait {
    let (mut all, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let times = [meta.atime(), meta.atime_nsec(), meta.mtime(), meta.ctime(), meta.ctime_nsec()];
        let content = if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Digest::ZERO
        } else {
            Digest::of(&fs::read(&path).unwrap())
        };
        all.push((path, times, content));
    }
    all.sort();
    all
}

/// Makes access times so old that any read that counts would move them, and returns what then stands there.
fn age(root: &Path) -> Portrait {
    let long_ago = Timespec { tv_sec: 1_000_000_000, tv_nsec: 5 };
    let times = Timestamps { last_access: long_ago, last_modification: long_ago };
    let mut all = portrait(root);
    for (path, stamps, _) in &mut all {
        utimensat(CWD, &*path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let meta = fs::symlink_metadata(path).unwrap();
        *stamps = [meta.atime(), meta.atime_nsec(), meta.mtime(), meta.ctime(), meta.ctime_nsec()];
        assert_eq!(stamps[0], 1_000_000_000);
    }
    all
}

/// Verification leaves no trace in a store: no byte, no modification, change or access time.
#[test]
fn a_store_is_left_as_it_was() {
    let store = store_with_damage(6);
    let before = age(store.dir.path());
    store.verify();
    store.verify_at(Level::Presence, &Control::default());
    stat_walk(&store.task(), &Control::default()).unwrap();
    assert_eq!(portrait(store.dir.path()), before);
}

/// A write that leaves size and time as they were is a change all the same.
#[test]
fn a_stat_walk_sees_what_set_its_time_back() {
    let (store, anna) = Store::with_anna();
    let walk = || stat_walk(&store.task(), &Control::default()).unwrap();
    let first = walk();
    let file = fs::File::options().write(true).open(anna.file(1)).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let changed = || file.metadata().map(|meta| (meta.ctime(), meta.ctime_nsec())).unwrap();
    let before = changed();
    wait_for("the file system's clock moves", || {
        file.write_all_at(b"changed", 5_000).unwrap();
        file.set_modified(modified).unwrap();
        changed() != before
    });
    assert_eq!(file.metadata().unwrap().modified().unwrap(), modified);
    assert_ne!(walk(), first);
}

/// The digest of a stat walk is that of a verification, and moves with any change it can see.
#[test]
fn a_stat_walk_tells_whether_anything_changed() {
    let store = store_with_damage(4);
    let walk = || stat_walk(&store.task(), &Control::default()).unwrap();
    let first = walk();
    let (report, _) = store.verify();
    assert_eq!((report.stat_walk, walk()), (first, first));
    assert_eq!(store.verify_at(Level::Presence, &Control::default()).0.stat_walk, first);
    let anna = store.maildir("d1.org/u001");
    let mut digests = vec![first];
    let mut changed = |what: &str| {
        let digest = walk();
        assert!(!digests.contains(&digest), "{what}");
        digests.push(digest);
    };
    fs::write(anna.0.join("tmp/x"), b"").unwrap();
    changed("a file more");
    fs::write(anna.0.join("dovecot.index.cache"), b"1").unwrap();
    changed("a cache");
    fs::File::options().write(true).open(anna.file(1)).unwrap().set_len(100).unwrap();
    changed("a size");
    fs::rename(anna.file(1), anna.0.join("new/1700000001.M000001P77.h")).unwrap();
    changed("a name");
    fs::remove_dir_all(&anna.0).unwrap();
    changed("a mailbox less");
    let control = Control::default();
    control.cancel();
    assert!(stat_walk(&store.task(), &control).is_err());
}

/// Cancelled work says so, and has no digests.
#[test]
fn cancelling_stops_the_work() {
    let store = store_with_damage(30);
    let control = Control::new(Pace { readers: 2, bytes_per_second: 20_000 });
    std::thread::scope(|scope| {
        let work = scope.spawn(|| store.verify_at(Level::Structure, &control));
        wait_for("something was read", || {
            control.progress().mailboxes > 0 || control.progress().messages > 0
        });
        control.cancel();
        let (report, _) = work.join().unwrap();
        assert_eq!(report.verdict.outcome, Outcome::Unknown(UnknownCause::Incomplete));
        assert_eq!((report.stat_walk, report.findings_digest), (Digest::ZERO, Digest::ZERO));
        assert!(report.verdict.tally.mailboxes < 30);
    });
}

/// Held work stands still, also inside a big file, and goes on.
#[test]
fn holding_stops_readers_inside_a_file() {
    let store = Store::new();
    let big = message(1).repeat(200);
    store.maildir("ex.org/anna").deliver(1, &big);
    let control = Control::new(Pace { readers: 2, bytes_per_second: 0 });
    control.pause();
    assert!(control.is_paused());
    std::thread::scope(|scope| {
        let work = scope.spawn(|| store.verify_at(Level::Structure, &control));
        let stands = || wait_for("readers stand still", || control.waiting() > 0);
        stands();
        assert_eq!(control.progress().messages, 0);
        // One byte a second holds the reader after its first piece; then holding takes over from pacing.
        control.set_bytes_per_second(1);
        control.resume();
        stands();
        control.pause();
        control.set_bytes_per_second(0);
        stands();
        assert!(!work.is_finished());
        control.resume();
        assert_eq!(work.join().unwrap().0.verdict.outcome, Outcome::Clean);
    });
    assert_eq!(control.progress().bytes, big.len() as u64);
}

/// T17: a limit that is changed while work runs changes the rate that is measured.
#[test]
fn a_byte_rate_is_kept_and_can_be_lifted() {
    let store = store_with_damage(24);
    let control = Control::new(Pace { readers: 4, bytes_per_second: 1_000_000 });
    #[allow(clippy::disallowed_methods, reason = "the rate is what is measured")]
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| store.verify_at(Level::Structure, &control));
        wait_for("a good part was read", || control.progress().mailboxes >= 10);
        let (spent, bytes) = (begun.elapsed().as_millis(), u128::from(control.progress().bytes));
        // Whatever else the machine does, it cannot have read faster than allowed: rate, burst, and a piece for each reader.
        assert!(
            bytes * 1000 <= 1_000_000 * (spent + 100) + 4 * 1000 * (128 << 10),
            "{bytes} bytes in {spent} ms"
        );
        control.set_bytes_per_second(10);
        assert_eq!(control.pace().bytes_per_second, 10);
        control.set_bytes_per_second(0);
        assert_eq!(work.join().unwrap().0.verdict.tally.mailboxes, 24);
    });
}

/// T17: readers come and go while work runs, and none that is asked to leave keeps the others waiting.
#[test]
fn readers_come_and_go() {
    let store = store_with_damage(120);
    let control = Control::new(Pace { readers: 16, bytes_per_second: 8_000_000 });
    let (plain, _) = store.verify();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| store.verify_at(Level::Structure, &control));
        for readers in [1, 32, 2, 500, 0, 5] {
            let before = control.progress().mailboxes;
            control.set_readers(readers);
            assert_eq!(control.pace().readers, readers.clamp(1, READERS_MAX));
            wait_for("work goes on", || control.progress().mailboxes > before || work.is_finished());
        }
        control.set_bytes_per_second(0);
        assert_eq!(work.join().unwrap().0, plain);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever stands in a mailbox, verification ends, twice the same, and the stat walk agrees.
    #[test]
    fn any_tree_is_verified(
        names in prop::collection::vec("(cur|new|tmp|\\.A|\\.A/cur|\\.A/new|d/cur)/([a-z.:,=0-9]{1,12}|1\\.M1,S=[0-9]{1,3}(:2,S)?)", 0..12),
        beside in prop::collection::vec("dovecot(-uidlist|\\.index|\\.index\\.log|\\.index\\.log\\.2)", 0..4),
        content in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 16),
    ) {
        let store = Store::new();
        let root = store.dir.path().join("ex.org/anna");
        for (name, text) in names.iter().chain(&beside).zip(&content) {
            let path = root.join(name);
            if !name.contains("/.") || name.starts_with('.') {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).ok();
            }
        }
        let first = store.verify();
        let again = store.verify();
        prop_assert_eq!(&again, &first);
        prop_assert_eq!(stat_walk(&store.task(), &Control::default()).unwrap(), first.0.stat_walk);
    }
}
