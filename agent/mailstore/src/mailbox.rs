//! One mailbox: which format it has, and the walk through its directories.
//!
//! The format is told by what stands in the mailbox's own directory. Marks of none or of two are a finding, never a guess.
//! The walk lists and states every directory, and the format looks at those it knows. Other directories (Sieve scripts, spam
//! filters' data) are walked for links and special files only. `sieve` may have links, as the active script is chosen by one, and
//! a dbox one to its alternative storage.

mod log;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rientro_types::{FindingKind, PATH_BYTES_MAX};

use crate::control::Stopped;
use crate::dbox::{self, AttachmentRoot, Mdbox, Sdbox};
use crate::faults::{directory_fault, error_name, open_fault};
use crate::fsys::{self, Entry, Kind, Listed, NAME_BYTES_MAX, Names};
use crate::layout::AlternativePlace;
use crate::maildir::Maildir;
use crate::tools::Tools;
use crate::verify::{Depth, Notes};

/// Deepest nesting of directories in a mailbox. IMAP servers allow about 20 levels of folders.
const DEPTH_MAX: usize = 32;

/// Longest path of a directory that is entered: a message in its `cur` can be named by a path that a finding can have. What is
/// at most one name longer can be named itself.
pub(crate) const DIRECTORY_PATH_BYTES_MAX: usize = PATH_BYTES_MAX - b"/cur/".len() - NAME_BYTES_MAX;

/// A format of mailboxes: what it looks at when the walk comes to it.
pub(crate) trait Format {
    /// Looks at a directory that was listed; gives the names of directories in it that it has looked at itself, into which the
    /// walk does not go.
    fn look(
        &mut self,
        place: &Directory<'_>,
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<&'static [&'static [u8]], Stopped>;

    /// Takes note of a directory that could not be looked into, or not to its end.
    fn pass_over(&mut self) {}

    /// Ends the mailbox.
    fn finish(&mut self, _notes: &mut Notes<'_>) -> Result<(), Stopped> {
        Ok(())
    }
}

/// A directory of a mailbox.
pub(crate) struct Directory<'a> {
    pub(crate) dir: BorrowedFd<'a>,
    /// Its path inside the mailbox; empty for the mailbox's own directory.
    pub(crate) path: &'a [u8],
    /// What is in it, sorted.
    pub(crate) names: &'a Names,
    /// The listing is whole.
    pub(crate) whole: bool,
}

/// A mailbox of no format that is known: nothing is looked at but links and special files.
struct Unrecognised;

impl Format for Unrecognised {
    fn look(
        &mut self,
        _: &Directory<'_>,
        _: &mut Tools,
        _: &mut Notes<'_>,
    ) -> Result<&'static [&'static [u8]], Stopped> {
        Ok(&[])
    }
}

/// The format of the mailbox whose own directory this is; an error says what is there instead.
fn format_of(place: &Directory<'_>) -> Result<Box<dyn Format>, String> {
    let marked = [
        Maildir::is_marked(place).then_some("Maildir"),
        dbox::is_sdbox(place).then_some("sdbox"),
        dbox::is_mdbox(place).then_some("mdbox"),
    ];
    let mut marked = marked.into_iter().flatten();
    match (marked.next(), marked.next()) {
        (Some("Maildir"), None) => Ok(Box::new(Maildir)),
        (Some("sdbox"), None) => Ok(Box::new(Sdbox::default())),
        (Some(_), None) => Ok(Box::new(Mdbox::default())),
        (Some(one), Some(other)) => Err(format!("has marks of {one} and of {other}")),
        (None, _) if place.names.entries().is_empty() => Err("an empty directory".to_owned()),
        (None, _) if place.names.kind(b"dbox-Mails").is_some() => {
            Err("a folder of a dbox, not the mailbox that it is in".to_owned())
        }
        (None, _) => Err("no cur, new and tmp, no mailboxes and no storage".to_owned()),
    }
}

/// Looks into mailboxes, one after the other.
pub(crate) struct Inspector {
    tools: Tools,
    /// The format of the mailbox at hand, once it is known.
    format: Option<Box<dyn Format>>,
}

impl Inspector {
    /// An inspector for a root whose attachments are there.
    pub(crate) fn new(attachments: AttachmentRoot) -> Self {
        Self { tools: Tools::new(attachments), format: None }
    }

    /// The mailbox that is looked into next has moved older messages there, if it is a dbox.
    pub(crate) fn find_moved(&mut self, alternative: Option<AlternativePlace>) {
        self.tools.alternative = alternative;
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
        self.format = None;
        let dir = match fsys::open_path(shard, path) {
            Ok(dir) => dir,
            Err(error) => {
                self.pass_over(directory_fault(error), b"", error_name(error), notes);
                return Ok(());
            }
        };
        self.visit(&dir, b"", 0, notes)?;
        self.format.take().map_or(Ok(()), |mut format| format.finish(notes))
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
        let whole = match names.list(dir.as_fd(), 0, &mut self.tools.listing) {
            Ok(Listed::Whole) => true,
            Ok(Listed::Cut) => {
                self.pass_over(FindingKind::LimitReached, path, "more entries than are looked at", notes);
                false
            }
            Err(error) => {
                self.pass_over(directory_fault(error), path, error_name(error), notes);
                return Ok(());
            }
        };
        names.sort();
        for entry in names.entries() {
            state(dir.as_fd(), path, &names, entry, notes);
            let name = names.name(entry);
            if entry.kind == Kind::Link
                && !is_usual_link(path, name)
                && let Some(census) = notes.census()
            {
                census.pass_over(&join(path, name));
            }
        }
        let place = Directory { dir: dir.as_fd(), path, names: &names, whole };
        let format = match &mut self.format {
            Some(format) => format,
            None => self.format.insert(format_of(&place).unwrap_or_else(|what| {
                notes.add(FindingKind::MailboxUnrecognised, Vec::new(), what);
                // Mail of an odd mailbox may be there all the same.
                if let Some(census) = notes.census().filter(|_| !names.entries().is_empty()) {
                    census.pass_over(b"");
                }
                Box::new(Unrecognised)
            })),
        };
        if path.is_empty()
            && let Some(census) = notes.census()
        {
            census.know_removed(log::removed_folders(dir.as_fd()));
        }
        let taken = format.look(&place, &mut self.tools, notes)?;
        for entry in names.entries().iter().filter(|entry| entry.kind == Kind::Directory) {
            let name = names.name(entry);
            if !taken.contains(&name) {
                let inside = join(path, name);
                self.descend(dir.as_fd(), names.c_name(entry), &inside, depth + 1, notes)?;
            }
        }
        Ok(())
    }

    /// Notes that a directory could not be looked into, or not to its end.
    fn pass_over(
        &mut self,
        kind: FindingKind,
        path: &[u8],
        detail: impl Into<String>,
        notes: &mut Notes<'_>,
    ) {
        notes.add(kind, path.to_vec(), detail);
        if let Some(census) = notes.census() {
            census.pass_over(path);
        }
        if let Some(format) = &mut self.format {
            format.pass_over();
        }
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
            self.pass_over(FindingKind::LimitReached, path, detail, notes);
            return Ok(());
        }
        match fsys::open_dir(parent, name) {
            Ok(dir) => self.visit(&dir, path, depth, notes),
            Err(error) => {
                self.pass_over(directory_fault(error), path, error_name(error), notes);
                Ok(())
            }
        }
    }
}

/// States an entry, and notes what it is if that is not right.
pub(crate) fn state(dir: BorrowedFd<'_>, path: &[u8], names: &Names, entry: &Entry, notes: &mut Notes<'_>) {
    let name = names.name(entry);
    note_name(path, name, notes);
    match entry.kind {
        Kind::File | Kind::Directory => {}
        Kind::Link if is_usual_link(path, name) => {}
        Kind::Link => notes.add(FindingKind::SymbolicLink, join(path, name), "not followed"),
        Kind::Special => notes.add(FindingKind::SpecialFile, join(path, name), "not opened"),
    }
    state_known(dir, path, names, entry, notes);
}

/// States an entry; whether that was possible.
pub(crate) fn state_known(
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
pub(crate) fn note_name(path: &[u8], name: &[u8], notes: &mut Notes<'_>) {
    if notes.depth > Depth::Stat && std::str::from_utf8(name).is_err() {
        notes.add(FindingKind::NameNotUtf8, join(path, name), "");
    }
}

/// Whether a link may stand there, which is no finding. A folder may have had that name, and is then not there.
fn is_usual_link(path: &[u8], name: &[u8]) -> bool {
    is_sieve(path, name) || dbox::is_alternative(path, name)
}

fn is_sieve(path: &[u8], name: &[u8]) -> bool {
    let in_sieve = path == b"sieve" || path.starts_with(b"sieve/");
    in_sieve || (path.is_empty() && (name.starts_with(b".dovecot.sieve") || name == b"sieve"))
}

/// Path of `name` in the directory at `path`.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
