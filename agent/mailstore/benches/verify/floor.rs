//! The least work that reading the same files is.

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FileType, Mode, OFlags, RawDir, fstat, openat};

/// Files and bytes read by the least work there is, and with `hash` hashed too.
pub(super) fn floor(root: &Path, threads: usize, hash: bool) -> (usize, usize) {
    let subdirectories =
        |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mailboxes: Vec<_> = subdirectories(root).iter().flat_map(|hash| subdirectories(hash)).collect();
    let (next, files, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut reader = Floor {
                    buffer: vec![0; 128 << 10],
                    hasher: hash.then(blake3::Hasher::new),
                    files: 0,
                    bytes: 0,
                };
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
    hasher: Option<blake3::Hasher>,
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
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&self.buffer[..count]);
            }
        }
        if let Some(hasher) = &mut self.hasher {
            std::hint::black_box(hasher.finalize());
            hasher.reset();
        }
    }
}

fn open(dir: BorrowedFd<'_>, name: &CStr, extra: OFlags) -> OwnedFd {
    openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC | extra, Mode::empty()).unwrap()
}
