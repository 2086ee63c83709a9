//! The only room that opens anything in a mail store.
//!
//! Every path is reached one component at a time, relative to a directory that is already open, and never through a
//! symbolic link: what a store's owner can put into it must not lead the verifier out of it. Files are opened only after
//! the directory listing called them regular, without blocking, and what was opened is stated before it is read, so a FIFO
//! or device that took the file's place in between does no harm. Nothing is opened for writing, and reading leaves no
//! access time behind where the kernel allows it (the owner of the file and root).

use std::ffi::{CStr, CString};
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    Advice, AtFlags, FileType, Mode, OFlags, RawDir, Stat, fadvise, fstat, open, openat, readlinkat, statat,
};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, retry_on_intr};

/// Size of the buffer a directory is listed through: one `getdents64` call of this size returns about 700 names.
pub(crate) const LISTING_BUFFER_BYTES: usize = 64 << 10;

/// Most entries of one directory that are looked at. A larger directory is reported, not silently cut.
pub(crate) const DIRECTORY_ENTRIES_MAX: usize = 8 << 20;

/// Most bytes of names kept for one folder: positions in the arena are 32 bits.
pub(crate) const NAMES_BYTES_MAX: usize = 1 << 30;

/// Longest name of a directory entry.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// How much of a file is fetched before its turn: most messages, and of a larger one what its first read takes.
const FETCHED_BYTES: Option<NonZeroU64> = NonZeroU64::new(128 << 10);

/// What kind of thing a name stands for. The number is part of the stat-walk digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    File = 1,
    Directory = 2,
    Link = 3,
    Special = 4,
}

impl Kind {
    fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Link,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Self::Special,
        }
    }
}

/// What the file system says about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    pub(crate) size_bytes: u64,
    pub(crate) mtime_secs: i64,
    pub(crate) mtime_ns: u64,
    pub(crate) ctime_secs: i64,
    pub(crate) ctime_ns: u64,
    pub(crate) inode: u64,
}

impl Meta {
    fn of(stat: &Stat) -> Self {
        Self {
            kind: Kind::of(FileType::from_raw_mode(stat.st_mode)),
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_secs: stat.st_mtime,
            mtime_ns: stat.st_mtime_nsec,
            ctime_secs: stat.st_ctime,
            ctime_ns: stat.st_ctime_nsec,
            inode: stat.st_ino,
        }
    }
}

/// Opens a directory by a path the operator gave; links in that path are the operator's own and are followed.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens the directory `name` in `at`.
pub(crate) fn open_dir(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    open_quietly(at, name, OFlags::DIRECTORY)
}

/// Opens the directory at a relative path of plain components; an empty path is `at` itself.
pub(crate) fn open_path(at: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut dir = open_dir(at, c".")?;
    for component in path.split(|b| *b == b'/').filter(|c| !c.is_empty()) {
        let name = CString::new(component).map_err(|_| Errno::INVAL)?;
        dir = open_dir(dir.as_fd(), &name)?;
    }
    Ok(dir)
}

/// Opens the file `name` in `at` for reading. The caller looks at the returned kind before it reads.
pub(crate) fn open_file(at: BorrowedFd<'_>, name: &CStr) -> Result<(OwnedFd, Meta), Errno> {
    let file = open_quietly(at, name, OFlags::NONBLOCK)?;
    let meta = state(&file)?;
    Ok((file, meta))
}

/// Opens the file `name` in `at` and has the kernel fetch its first [`FETCHED_BYTES`], without waiting for them.
pub(crate) fn open_ahead(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let file = open_quietly(at, name, OFlags::NONBLOCK)?;
    // Advice that cannot be followed changes nothing but the time it takes.
    fadvise(&file, 0, FETCHED_BYTES, Advice::WillNeed).ok();
    Ok(file)
}

/// States an open file.
pub(crate) fn state(file: &OwnedFd) -> Result<Meta, Errno> {
    fstat(file).map(|stat| Meta::of(&stat))
}

/// Reads at `offset`; whether that had to wait for the storage, or may have: not every file system tells.
pub(crate) fn read_at(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<(usize, bool), Errno> {
    let at_once = preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT);
    match at_once {
        Ok(count) => Ok((count, false)),
        Err(_) => retry_on_intr(|| pread(file, &mut *buffer, offset)).map(|count| (count, true)),
    }
}

/// States the thing `name` in `at` itself, not what a link points to.
pub(crate) fn stat(at: BorrowedFd<'_>, name: &CStr) -> Result<Meta, Errno> {
    statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Meta::of(&stat))
}

/// Where the link `name` in `at` leads, as it says itself.
pub(crate) fn link_target(at: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    readlinkat(at, name, Vec::new()).map(CString::into_bytes)
}

/// Whether a directory has no entry.
pub(crate) fn is_empty(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut buffer = Vec::with_capacity(LISTING_BUFFER_BYTES);
    let mut listing = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = listing.next() {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens without touching the access time; where only the owner may do so, opens all the same.
fn open_quietly(at: BorrowedFd<'_>, name: &CStr, extra: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | extra;
    match openat(at, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(at, name, flags, Mode::empty()),
        other => other,
    }
}

/// One name of a listing: where it lies in the arena, and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    at: u32,
    len: u16,
    stem: u16,
    /// Which of several directories listed together it stands in.
    pub(crate) source: u8,
    pub(crate) kind: Kind,
}

/// The names of one or more directories, in one arena: name bytes, a NUL and 12 bytes each, whatever their number.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// Whether a listing is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Whole,
    /// [`DIRECTORY_ENTRIES_MAX`] or [`NAMES_BYTES_MAX`] was met.
    Cut,
}

impl Names {
    /// Adds the entries of `dir`, marked as coming from `source`.
    pub(crate) fn list(
        &mut self,
        dir: BorrowedFd<'_>,
        source: u8,
        buffer: &mut Vec<u8>,
    ) -> Result<Listed, Errno> {
        buffer.clear();
        buffer.reserve(LISTING_BUFFER_BYTES);
        let mut listing = RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if self.entries.len() >= DIRECTORY_ENTRIES_MAX || self.bytes.len() >= NAMES_BYTES_MAX {
                return Ok(Listed::Cut);
            }
            let kind = if entry.file_type() == FileType::Unknown {
                stat(dir, name).map_or(Kind::Special, |meta| meta.kind)
            } else {
                Kind::of(entry.file_type())
            };
            self.push(name, source, kind);
        }
        Ok(Listed::Whole)
    }

    /// Adds one name that is known without listing.
    pub(crate) fn push_one(&mut self, name: &CStr, kind: Kind) {
        self.push(name, 0, kind);
    }

    fn push(&mut self, name: &CStr, source: u8, kind: Kind) {
        let bytes = name.to_bytes();
        let stem = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
        let fits = "names of a directory entry are at most 255 bytes, the arena is bounded";
        self.entries.push(Entry {
            at: u32::try_from(self.bytes.len()).expect(fits),
            len: u16::try_from(bytes.len()).expect(fits),
            stem: u16::try_from(stem).expect(fits),
            source,
            kind,
        });
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
    }

    /// Sorts by the part before the first colon, then by directory, then by the whole name.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |e: &Entry| {
            let at = e.at as usize;
            (&bytes[at..at + usize::from(e.stem)], e.source, &bytes[at..at + usize::from(e.len)])
        };
        self.entries.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    }

    /// Sorts by the whole name, as paths are ordered.
    pub(crate) fn sort_by_name(&mut self) {
        let bytes = &self.bytes;
        let name = |e: &Entry| &bytes[e.at as usize..e.at as usize + usize::from(e.len)];
        self.entries.sort_unstable_by(|a, b| name(a).cmp(name(b)));
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn name(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.at as usize..entry.at as usize + usize::from(entry.len)]
    }

    /// The name up to its first colon.
    pub(crate) fn stem(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.at as usize..entry.at as usize + usize::from(entry.stem)]
    }

    pub(crate) fn c_name(&self, entry: &Entry) -> &CStr {
        let at = entry.at as usize;
        CStr::from_bytes_with_nul(&self.bytes[at..=at + usize::from(entry.len)])
            .expect("names are stored with the NUL they came with")
    }

    /// What stands under this name; the listing must be sorted.
    pub(crate) fn kind(&self, name: &[u8]) -> Option<Kind> {
        let at = self.lower_bound(name);
        self.entries.get(at).filter(|entry| self.name(entry) == name).map(|entry| entry.kind)
    }

    /// The first entry whose stem is not less than `stem`; the listing must be sorted.
    pub(crate) fn lower_bound(&self, stem: &[u8]) -> usize {
        self.entries.partition_point(|entry| self.stem(entry) < stem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_neither_followed_nor_opened() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::write(dir.path().join("real/file"), b"x").unwrap();
        symlink("real", dir.path().join("alias")).unwrap();
        symlink("real/file", dir.path().join("shortcut")).unwrap();
        let root = open_root(dir.path()).unwrap();
        assert!(open_path(root.as_fd(), b"real").is_ok());
        assert_eq!(open_path(root.as_fd(), b"alias").unwrap_err(), Errno::NOTDIR);
        assert_eq!(open_file(root.as_fd(), c"shortcut").unwrap_err(), Errno::LOOP);
        assert_eq!(stat(root.as_fd(), c"shortcut").unwrap().kind, Kind::Link);
    }

    #[test]
    fn a_fifo_without_a_writer_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let root = open_root(dir.path()).unwrap();
        rustix::fs::mkfifoat(&root, c"pipe", Mode::RWXU).unwrap();
        assert_eq!(open_file(root.as_fd(), c"pipe").unwrap().1.kind, Kind::Special);
    }

    #[test]
    fn listings_of_two_directories_sort_by_stem() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b:2,S", "b,S=1:2,", "a"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        let root = open_root(dir.path()).unwrap();
        let (mut names, mut buffer) = (Names::default(), Vec::new());
        for source in [1, 0] {
            assert_eq!(
                names.list(open_dir(root.as_fd(), c".").unwrap().as_fd(), source, &mut buffer),
                Ok(Listed::Whole)
            );
        }
        names.sort();
        let stems: Vec<_> = names.entries().iter().map(|e| (names.stem(e), e.source)).collect();
        let expected: [(&[u8], u8); 6] =
            [(b"a", 0), (b"a", 1), (b"b", 0), (b"b", 1), (b"b,S=1", 0), (b"b,S=1", 1)];
        assert_eq!(stems, expected);
        assert_eq!(names.lower_bound(b"b"), 2);
    }
}
