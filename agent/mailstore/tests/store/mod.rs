//! Builds Maildirs the way Dovecot leaves them, for tests to damage.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

pub(crate) mod dbox;
pub(crate) mod kept;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rientro_mailstore::{Control, Expected, Layout, Pace, Report, Task, verify};
use rientro_types::{Finding, FindingKind, Level};

/// A volume in a temporary directory, with the layout `{domain}/{user}`.
pub(crate) struct Store {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) layout: Layout,
    pub(crate) expected: Option<Expected>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let layout = Layout::whole("{domain}/{user}", "vol").unwrap();
        Self { dir: tempfile::tempdir().unwrap(), layout, expected: None }
    }

    /// A store with one mailbox of three messages, uidlist, index and log.
    pub(crate) fn with_anna() -> (Self, Maildir) {
        let store = Self::new();
        let anna = store.maildir("ex.org/anna");
        for number in 1..=3 {
            anna.deliver(number, &message(number));
        }
        anna.write_uids(&[1, 2, 3]);
        (store, anna)
    }

    pub(crate) fn maildir(&self, path: &str) -> Maildir {
        Maildir::new(&self.dir.path().join(path))
    }

    pub(crate) fn task(&self) -> Task<'_> {
        Task {
            root: self.dir.path(),
            layout: &self.layout,
            shard: b"",
            volume: None,
            expected: self.expected.as_ref(),
        }
    }

    pub(crate) fn verify(&self) -> (Report, Vec<Finding>) {
        self.verify_at(Level::Structure, &Control::default())
    }

    pub(crate) fn verify_at(&self, level: Level, control: &Control) -> (Report, Vec<Finding>) {
        let mut findings = Vec::new();
        let report = verify(&self.task(), level, control, &mut |finding| findings.push(finding));
        (report, findings)
    }
}

/// One Maildir folder.
pub(crate) struct Maildir(pub(crate) PathBuf);

impl Maildir {
    fn new(path: &Path) -> Self {
        for place in ["cur", "new", "tmp"] {
            fs::create_dir_all(path.join(place)).unwrap();
        }
        Self(path.to_owned())
    }

    pub(crate) fn folder(&self, name: &str) -> Self {
        let folder = Self::new(&self.0.join(name));
        fs::write(folder.0.join("maildirfolder"), b"").unwrap();
        folder
    }

    /// Puts a message into `cur` under a name with both sizes; returns its path.
    pub(crate) fn deliver(&self, number: u32, text: &[u8]) -> PathBuf {
        let path = self.0.join(format!("cur/{}:2,S", stem(number, text)));
        fs::write(&path, text).unwrap();
        path
    }

    /// The only file in `cur` and `new` whose name holds this message's number.
    pub(crate) fn file(&self, number: u32) -> PathBuf {
        let mark = format!(".M{number:06}P");
        let list = |place| fs::read_dir(self.0.join(place)).unwrap().map(|e| e.unwrap().path());
        let mut found = list("cur").chain(list("new")).filter(|p| p.to_string_lossy().contains(&mark));
        found.next().unwrap()
    }

    /// Writes uidlist, index and log that know these messages, by their numbers as UIDs.
    pub(crate) fn write_uids(&self, numbers: &[u32]) {
        let next = numbers.iter().max().map_or(1, |n| n + 1);
        let mut list = format!("3 V77 N{next} G0123456789abcdef0123456789abcdef\n");
        for number in numbers {
            let file = self.file(*number);
            let name = file.file_name().unwrap().as_bytes();
            let stem = name.split(|b| *b == b':').next().unwrap();
            list.push_str(&format!("{number} :{}\n", String::from_utf8_lossy(stem)));
        }
        fs::write(self.0.join("dovecot-uidlist"), list).unwrap();
        self.write_index(numbers, next);
        fs::write(self.0.join("dovecot.index.log"), log_header(1, 0)).unwrap();
    }

    pub(crate) fn write_index(&self, uids: &[u32], next: u32) {
        fs::write(self.0.join("dovecot.index"), index(uids, next)).unwrap();
    }
}

/// A name as Dovecot gives it, up to the flags.
pub(crate) fn stem(number: u32, text: &[u8]) -> String {
    let crlf = text.windows(2).filter(|w| w == b"\r\n").count();
    let lines = text.iter().filter(|b| **b == b'\n').count();
    let virt = text.len() + lines - crlf;
    format!("17000000{:02}.M{number:06}P77.mx\\057a,S={},W={virt}", number % 100, text.len())
}

/// A multipart message of about 30 KiB.
pub(crate) fn message(number: u32) -> Vec<u8> {
    let mut text = format!(
        "Return-Path: <a@ex.org>\nSubject: number {number}\nContent-Type: multipart/mixed;\n\tboundary=\"=_{number}\"\n\n\
         --=_{number}\nContent-Type: text/plain\n\n"
    );
    for line in 0..600 {
        text.push_str(&format!("line {line} of message {number}, long enough to be text\n"));
    }
    text.push_str(&format!("--=_{number}--\n"));
    text.into_bytes()
}

/// `dovecot.index` with these UIDs, written from log 1 to its first record.
pub(crate) fn index(uids: &[u32], next: u32) -> Vec<u8> {
    let mut bytes = vec![0; 120];
    bytes[..4].copy_from_slice(&[7, 3, 120, 0]);
    bytes[12] = 1;
    let count = u32::try_from(uids.len()).unwrap();
    for (at, value) in [(4, 120), (8, 8), (16, 5), (24, 77), (28, next), (32, count), (60, 1), (68, 40)] {
        bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    for uid in uids {
        bytes.extend(uid.to_le_bytes());
        bytes.extend([8, 0, 0, 0]);
    }
    bytes
}

/// The header of `dovecot.index.log`.
pub(crate) fn log_header(seq: u32, previous: u32) -> Vec<u8> {
    let mut log = vec![1, 3, 40, 0];
    for value in [5, seq, previous] {
        log.extend(u32::to_le_bytes(value));
    }
    log.resize(40, 0);
    log
}

/// A committed record of a log.
pub(crate) fn log_record(kind: u32, words: &[u32]) -> Vec<u8> {
    let size = u32::try_from(2 + words.len()).unwrap();
    let mut record: Vec<u8> =
        [21, 14, 7, 0].iter().map(|shift| 0x80 | u8::try_from(size >> shift & 0x7f).unwrap()).collect();
    record.extend(kind.to_le_bytes());
    record.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    record
}

/// A gzip stream of the text.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Puts bytes into a file, whose length stays.
pub(crate) fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Runs as a reader without root's power to read what it may not: threads inherit capabilities.
pub(crate) fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective = rustix::thread::CapabilitySet::empty();
            rustix::thread::set_capabilities(None, sets).unwrap();
            work()
        };
        scope.spawn(run).join().unwrap()
    })
}

/// Verifies with one reader, which is still inside the first mailbox when the first finding is handed out.
///
/// More findings than are gathered, handed on and waiting together keep it there until `change` is done.
pub(crate) fn changed_midway(store: &Store, change: impl Fn()) -> (Report, Vec<FindingKind>) {
    let first = store.maildir("ex.org/aaron");
    for number in 0..1000 {
        fs::write(first.0.join(format!("new/1600000000.M{number:06}P1.host")), b"").unwrap();
    }
    let mut kinds = Vec::new();
    let control = Control::new(Pace { readers: 1, bytes_per_second: 0 });
    let report = verify(&store.task(), Level::Structure, &control, &mut |finding| {
        if kinds.is_empty() {
            change();
        }
        kinds.push(finding.kind);
    });
    kinds.retain(|kind| *kind != FindingKind::EmptyMessage);
    (report, kinds)
}
