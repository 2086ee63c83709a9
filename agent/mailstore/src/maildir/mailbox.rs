//! One mailbox: a Maildir with its subfolders, found wherever they nest.
//!
//! A directory is a folder when it has `cur`, `new`, a uidlist, `maildirfolder`, or `tmp` beside an index in it, which covers
//! Maildir++ (`.Archive`) as well as nested layouts, and folders of which only that is left. Other directories (Sieve scripts,
//! spam filters' data) are walked for links and special files only, and `sieve` may have links: that is how the active script
//! is chosen.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rientro_types::{FindingKind, PATH_BYTES_MAX};
use rustix::io::Errno;

use super::folder::Folder;
use super::message::{MessageReader, error_name, open_fault};
use crate::control::Stopped;
use crate::fsys::{self, Entry, Kind, Listed, NAME_BYTES_MAX, Names};
use crate::verify::{Depth, Notes};

/// Deepest nesting of directories in a mailbox. IMAP servers allow about 20 levels of folders.
const DEPTH_MAX: usize = 32;

/// Longest path of a directory that is entered: a message in its `cur` can be named by a path that a finding can have. What is
/// at most one name longer can be named itself.
const DIRECTORY_PATH_BYTES_MAX: usize = PATH_BYTES_MAX - b"/cur/".len() - NAME_BYTES_MAX;

/// Names that make the format of a mailbox known although it is no Maildir.
const OTHER_FORMATS: [(&[u8], &str); 4] =
    [(b"dbox-Mails", "sdbox"), (b"mailboxes", "dbox"), (b"storage", "mdbox"), (b"mdbox", "mdbox")];

/// Buffers a reader keeps from mailbox to mailbox.
pub(crate) struct Tools {
    pub(crate) listing: Vec<u8>,
    pub(crate) reader: MessageReader,
}

/// Looks into mailboxes, one after the other.
pub(crate) struct Inspector {
    tools: Tools,
}

impl Inspector {
    pub(crate) fn new() -> Self {
        Self { tools: Tools { listing: Vec::new(), reader: MessageReader::new() } }
    }

    /// Looks into the mailbox at `path` below `shard`.
    pub(crate) fn inspect(
        &mut self,
        shard: BorrowedFd<'_>,
        path: &[u8],
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        if notes.depth > Depth::Stat && std::str::from_utf8(path).is_err() {
            notes.add(FindingKind::NameNotUtf8, Vec::new(), "");
        }
        match fsys::open_path(shard, path) {
            Ok(dir) => self.visit(&dir, b"", 0, notes),
            Err(error) => {
                notes.add(directory_fault(error), Vec::new(), error_name(error));
                Ok(())
            }
        }
    }

    fn visit(
        &mut self,
        dir: &OwnedFd,
        path: &[u8],
        depth: usize,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        notes.control.checkpoint(0)?;
        let mut names = Names::default();
        match names.list(dir.as_fd(), 0, &mut self.tools.listing) {
            Ok(Listed::Whole) => {}
            Ok(Listed::Cut) => {
                notes.add(FindingKind::LimitReached, path.to_vec(), "more entries than are looked at");
            }
            Err(error) => {
                notes.add(directory_fault(error), path.to_vec(), error_name(error));
                return Ok(());
            }
        }
        names.sort();
        for entry in names.entries() {
            state(dir.as_fd(), path, &names, entry, notes);
        }
        let is_folder = is_folder(&names, depth == 0);
        if is_folder {
            Folder::new(dir.as_fd(), path, &names).check(&mut self.tools, notes)?;
        } else if depth == 0 {
            notes.add(FindingKind::MailboxUnrecognised, Vec::new(), what_is_there(&names));
        }
        for entry in names.entries().iter().filter(|entry| entry.kind == Kind::Directory) {
            let name = names.name(entry);
            if !(is_folder && matches!(name, b"cur" | b"new" | b"tmp")) {
                self.descend(dir.as_fd(), names.c_name(entry), &join(path, name), depth + 1, notes)?;
            }
        }
        Ok(())
    }

    fn descend(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        depth: usize,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let limit = if depth > DEPTH_MAX {
            Some(format!("more than {DEPTH_MAX} directories deep"))
        } else if path.len() > DIRECTORY_PATH_BYTES_MAX {
            Some(format!("a path of {} bytes", path.len()))
        } else {
            None
        };
        if let Some(detail) = limit {
            notes.add(FindingKind::LimitReached, path.to_vec(), detail);
            return Ok(());
        }
        match fsys::open_dir(parent, name) {
            Ok(dir) => self.visit(&dir, path, depth, notes),
            Err(error) => {
                notes.add(directory_fault(error), path.to_vec(), error_name(error));
                Ok(())
            }
        }
    }
}

fn is_folder(names: &Names, root: bool) -> bool {
    let index = |entry: &Entry| matches!(names.name(entry), b"dovecot.index" | b"dovecot.index.log");
    // Indexes alone may be kept apart from their folder, and anyone has a `tmp`.
    let has_index = root || names.entries().iter().any(index);
    names.entries().iter().any(|entry| match names.name(entry) {
        b"cur" | b"new" => matches!(entry.kind, Kind::Directory | Kind::Link),
        b"tmp" => has_index && entry.kind == Kind::Directory,
        b"dovecot-uidlist" | b"maildirfolder" => true,
        _ => false,
    })
}

fn what_is_there(names: &Names) -> String {
    if names.entries().is_empty() {
        return "an empty directory".to_owned();
    }
    let known = |name: &[u8]| OTHER_FORMATS.iter().find(|(mark, _)| *mark == name).map(|(_, format)| *format);
    match names.entries().iter().find_map(|entry| known(names.name(entry))) {
        Some(format) => format!("looks like {format}"),
        None => "no cur, new and tmp".to_owned(),
    }
}

/// States an entry, and notes what it is if that is not right.
pub(super) fn state(dir: BorrowedFd<'_>, path: &[u8], names: &Names, entry: &Entry, notes: &mut Notes<'_>) {
    let name = names.name(entry);
    note_name(path, name, notes);
    match entry.kind {
        Kind::File | Kind::Directory => {}
        Kind::Link if is_sieve(path, name) => {}
        Kind::Link => notes.add(FindingKind::SymbolicLink, join(path, name), "not followed"),
        Kind::Special => notes.add(FindingKind::SpecialFile, join(path, name), "not opened"),
    }
    state_known(dir, path, names, entry, notes);
}

/// States an entry; whether that was possible.
pub(super) fn state_known(
    dir: BorrowedFd<'_>,
    path: &[u8],
    names: &Names,
    entry: &Entry,
    notes: &mut Notes<'_>,
) -> bool {
    match fsys::stat(dir, names.c_name(entry)) {
        Ok(meta) => {
            notes.stated(path, names.name(entry), &meta);
            if meta.kind != entry.kind {
                notes.add(
                    FindingKind::ChangedWhileRead,
                    join(path, names.name(entry)),
                    "became another kind of file",
                );
            }
            meta.kind == entry.kind
        }
        Err(error) => {
            notes.add(open_fault(error), join(path, names.name(entry)), error_name(error));
            false
        }
    }
}

/// Notes a name that is not UTF-8.
pub(super) fn note_name(path: &[u8], name: &[u8], notes: &mut Notes<'_>) {
    if notes.depth > Depth::Stat && std::str::from_utf8(name).is_err() {
        notes.add(FindingKind::NameNotUtf8, join(path, name), "");
    }
}

fn is_sieve(path: &[u8], name: &[u8]) -> bool {
    let in_sieve = path == b"sieve" || path.starts_with(b"sieve/");
    in_sieve || (path.is_empty() && (name.starts_with(b".dovecot.sieve") || name == b"sieve"))
}

fn directory_fault(error: Errno) -> FindingKind {
    match error {
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::STALE => FindingKind::ChangedWhileRead,
        _ => FindingKind::DirectoryUnreadable,
    }
}

/// Path of `name` in the directory at `path`.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
