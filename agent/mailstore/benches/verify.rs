//! How fast verification is, against two others on the same files in the same run: the bare floor (open, fstat, read and
//! close), and `xargs -0 -P2 b3sum`, which only hashes them.
//!
//! `cargo bench -p rientro-mailstore --bench verify` makes a corpus of its own. Without `b3sum` (`cargo install b3sum`) or `xargs`
//! the second comparison says so and is left out. Settings by environment:
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `RIENTRO_BENCH_MESSAGES` | messages of the corpus that is made | 20000 |
//! | `RIENTRO_BENCH_MAILBOXES` | mailboxes of it | 200 |
//! | `RIENTRO_BENCH_ROOT` | a corpus that is there, laid out `{hash}/{user}/Maildir`; read only | none |
//! | `RIENTRO_BENCH_READERS` | readers, floor's threads and processes of `xargs` | 2 |
//! | `RIENTRO_BENCH_ROUNDS` | rounds, of which medians are told | 5 |
//! | `RIENTRO_BENCH_COLD` | `1` drops the page cache before each run (root only) | 0 |
//! | `RIENTRO_BENCH_ONLY` | `verify` leaves the others out, so that the peak memory is verification's own | all |

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first error"
)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::ffi::CStr;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rientro_mailstore::{Control, Layout, Pace, Task, stat_walk, verify};
use rientro_types::Level;
use rustix::fs::{FileType, Mode, OFlags, RawDir, fstat, openat};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let made = tempfile::tempdir().unwrap();
    let root = std::env::var_os("RIENTRO_BENCH_ROOT").map_or_else(
        || {
            let (mailboxes, messages) =
                (setting("RIENTRO_BENCH_MAILBOXES", 200), setting("RIENTRO_BENCH_MESSAGES", 20_000));
            make_corpus(made.path(), mailboxes, messages);
            made.path().to_owned()
        },
        PathBuf::from,
    );
    let readers = setting("RIENTRO_BENCH_READERS", 2);
    let cold = setting("RIENTRO_BENCH_COLD", 0) == 1;
    let only_verify = std::env::var("RIENTRO_BENCH_ONLY").is_ok_and(|only| only == "verify");
    let layout = Layout::whole("{hash}/{user}/Maildir", "bench").unwrap();
    let task = Task { root: &root, layout: &layout, shard: b"", volume: None, expected: None };
    let hasher = Hasher::find(&root, readers).filter(|_| !only_verify);
    let (mut floors, mut verifies, mut walks, mut hashes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..setting("RIENTRO_BENCH_ROUNDS", 5) + usize::from(!cold) {
        let counted = cold || round > 0;
        if !only_verify {
            let spent = timed(cold, || println!("floor:  {:?}", floor(&root, readers)));
            floors.extend(counted.then_some(spent));
        }
        let spent = timed(cold, || {
            let control = Control::new(Pace { readers, bytes_per_second: 0 });
            let report = verify(&task, Level::Structure, &control, &mut |_| ());
            println!("verify: {}, {:?}", report.verdict, control.progress());
        });
        verifies.extend(counted.then_some(spent));
        if let Some(hasher) = &hasher {
            let spent = timed(cold, || hasher.run());
            hashes.extend(counted.then_some(spent));
        }
        let control = Control::new(Pace { readers, bytes_per_second: 0 });
        let spent = timed(cold, || println!("stat walk: {}", stat_walk(&task, &control).unwrap()));
        walks.extend(counted.then_some(spent));
    }
    let (verified, walked) = (median(&mut verifies), median(&mut walks));
    println!("verify, {readers} readers: {verified:?}; stat walk: {walked:?}");
    if !only_verify {
        let floor = median(&mut floors);
        println!(
            "floor, {readers} threads: {floor:?}; ratio {}%",
            verified.as_micros() * 100 / floor.as_micros()
        );
    }
    if hasher.is_some() {
        let hashed = median(&mut hashes);
        println!(
            "xargs -0 -P{readers} b3sum: {hashed:?}; verification takes {}% of it",
            verified.as_micros() * 100 / hashed.as_micros()
        );
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
}

fn timed(cold: bool, run: impl FnOnce()) -> Duration {
    if cold {
        rustix::fs::sync();
        fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    }
    let begun = Instant::now();
    run();
    begun.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// `b3sum` over the list of files that verification reads, by as many processes as it has readers.
struct Hasher {
    list: tempfile::NamedTempFile,
    processes: usize,
    files: usize,
}

impl Hasher {
    /// Makes the list; nothing, with a message, when a program is missing.
    fn find(root: &Path, processes: usize) -> Option<Self> {
        for program in ["b3sum", "xargs"] {
            let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            if !found.is_ok_and(|status| status.success()) {
                println!(
                    "{program} is not installed: the comparison with `xargs -0 -P{processes} b3sum` is left out"
                );
                return None;
            }
        }
        let mut list = tempfile::NamedTempFile::new().unwrap();
        let (mut folders, mut files) = (vec![root.to_owned()], 0);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    list.write_all(entry.path().as_os_str().as_encoded_bytes()).unwrap();
                    list.write_all(b"\0").unwrap();
                    files += 1;
                }
            }
        }
        list.flush().unwrap();
        Some(Self { list, processes, files })
    }

    /// One thread for each process, and batches so large that starting processes costs next to nothing, yet enough of them
    /// that all are busy.
    fn run(&self) {
        let batch = (self.files / self.processes / 4).clamp(1, 2_000).to_string();
        let mut hash = Command::new("xargs");
        hash.args(["-0", &format!("-P{}", self.processes), "-n", &batch, "b3sum", "--num-threads", "1"]);
        hash.stdin(self.list.reopen().unwrap()).stdout(Stdio::null());
        assert!(hash.status().unwrap().success(), "b3sum failed");
    }
}

/// Files and bytes read by the least work there is.
fn floor(root: &Path, threads: usize) -> (usize, usize) {
    let subdirectories =
        |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mailboxes: Vec<_> = subdirectories(root).iter().flat_map(|hash| subdirectories(hash)).collect();
    let (next, files, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut reader = Floor { buffer: vec![0; 128 << 10], files: 0, bytes: 0 };
                while let Some(mailbox) = mailboxes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let dir =
                        rustix::fs::open(mailbox, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
                    reader.directory(dir.as_fd());
                }
                files.fetch_add(reader.files, Ordering::Relaxed);
                bytes.fetch_add(reader.bytes, Ordering::Relaxed);
            });
        }
    });
    (files.into_inner(), bytes.into_inner())
}

struct Floor {
    buffer: Vec<u8>,
    files: usize,
    bytes: usize,
}

impl Floor {
    fn directory(&mut self, dir: BorrowedFd<'_>) {
        let mut listing = Vec::with_capacity(64 << 10);
        let mut entries = RawDir::new(dir, listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if entry.file_type() == FileType::Directory {
                if name != c"." && name != c".." {
                    self.directory(open(dir, name, OFlags::DIRECTORY).as_fd());
                }
            } else {
                self.file(&open(dir, name, OFlags::NOATIME));
            }
        }
    }

    fn file(&mut self, file: &OwnedFd) {
        let mut left = usize::try_from(fstat(file).unwrap().st_size).unwrap();
        self.files += 1;
        self.bytes += left;
        while left > 0 {
            let count = rustix::io::read(file, &mut self.buffer[..]).unwrap();
            assert!(count > 0, "a file of the corpus changed");
            left = left.saturating_sub(count);
        }
    }
}

fn open(dir: BorrowedFd<'_>, name: &CStr, extra: OFlags) -> OwnedFd {
    openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC | extra, Mode::empty()).unwrap()
}

/// Maildirs with messages of 1 to 128 KiB (12 KiB in the middle), delivered across mailboxes as a live server does.
fn make_corpus(root: &Path, mailboxes: usize, messages: usize) {
    let place = |number: usize| root.join(format!("{:02x}/u{number:06}/Maildir", number % 256));
    for number in 0..mailboxes {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(place(number).join(part)).unwrap();
        }
    }
    let mut lists = vec![String::new(); mailboxes];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..messages {
        random = random.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        let to = usize::try_from(random >> 33).unwrap() % mailboxes;
        let lines = (12 << (random >> 20 & 7)) + usize::try_from(random >> 40 & 15).unwrap();
        let mut text = format!("From: a{number}@example.org\nSubject: {random:x}\n\n");
        for line in 0..lines {
            text.push_str(&format!(
                "{line} {random:016x} the quick brown fox jumps over the lazy dog, twice\n"
            ));
        }
        let ends = text.bytes().filter(|b| *b == b'\n').count();
        let stem = format!(
            "{}.M{number:06}P1.host,S={},W={}",
            1_700_000_000 + number,
            text.len(),
            text.len() + ends
        );
        fs::write(place(to).join(format!("cur/{stem}:2,S")), text).unwrap();
        lists[to].push_str(&format!("{} :{stem}\n", number + 1));
    }
    for (number, list) in lists.iter().enumerate() {
        let text = format!("3 V1700000000 N{} G0123456789abcdef0123456789abcdef\n{list}", messages + 1);
        fs::write(place(number).join("dovecot-uidlist"), text).unwrap();
    }
}
