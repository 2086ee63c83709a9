//! The alternative storage of a dbox: where `doveadm altmove` brings messages that are seldom read, mostly on slower disks.
//!
//! A mailbox's directory there is known from the layout. Dovecot keeps a link to it in the mailbox, which is not followed, as whoever
//! owns the mailbox can make it lead anywhere: it must lead to that directory, or to nowhere. A mailbox that has no directory there
//! has had nothing moved, unless the whole storage is empty or does not open: then it is not mounted, and what the mailbox lacks is
//! unknown, not lost. So is what a link leads to where no alternative storage is set up.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rientro_types::FindingKind;
use rustix::io::Errno;

use super::ALTERNATIVE;
use crate::faults::{directory_fault, error_name};
use crate::fsys::{self, Entry, Kind, Listed, Names};
use crate::layout::AlternativePlace;
use crate::mailbox::{DIRECTORY_PATH_BYTES_MAX, Directory, join, state};
use crate::verify::Notes;

/// The alternative storage of one dbox.
#[derive(Debug, Default)]
pub(super) enum Alternative {
    /// It has none, or nothing was moved there.
    #[default]
    None,
    /// Its directory.
    At(OwnedFd),
    /// It cannot be looked into, which is noted, for this reason.
    Unknown(&'static str),
}

/// What was moved out of a directory of a dbox.
pub(super) enum Moved {
    /// Nothing.
    Nothing,
    /// What is in the directory of that name in the alternative storage.
    To { dir: OwnedFd, path: Vec<u8>, names: Names, whole: bool },
    /// Nobody knows, for this reason.
    Unknown(&'static str),
}

impl Alternative {
    /// The one of a mailbox that has its directory there, if it is set up.
    pub(super) fn of(
        mailbox: &Directory<'_>,
        place: Option<&AlternativePlace>,
        notes: &mut Notes<'_>,
    ) -> Self {
        let link = match mailbox.names.kind(ALTERNATIVE) {
            Some(Kind::Link) => Some(fsys::link_target(mailbox.dir, c"dbox-alt-root")),
            Some(Kind::File | Kind::Directory | Kind::Special) | None => None,
        };
        let mut unknown = |why: &'static str, detail: &str| {
            notes.add(FindingKind::DirectoryUnreadable, ALTERNATIVE.to_vec(), format!("{why}{detail}"));
            Self::Unknown(why)
        };
        let Some(AlternativePlace { base, below }) = place else {
            return match link {
                Some(_) => unknown("no alternative storage is set up", ""),
                None => Self::None,
            };
        };
        let Some(below) = below else {
            return unknown("its name makes no directory in the alternative storage", "");
        };
        let leads_there = |target: Vec<u8>| {
            Path::new(OsStr::from_bytes(&target)) == base.join(OsStr::from_bytes(below)).as_path()
        };
        if link.is_some_and(|target| !target.is_ok_and(leads_there)) {
            return unknown("its link leads elsewhere than the alternative storage that is set up", "");
        }
        let dir = match fsys::open_root(base) {
            Ok(dir) => dir,
            Err(error) => {
                return unknown("the alternative storage does not open", &format!(": {}", error_name(error)));
            }
        };
        match fsys::is_empty(dir.as_fd()) {
            Ok(false) => {}
            Ok(true) => return unknown("the alternative storage is empty", ": is it mounted?"),
            Err(error) => {
                return unknown(
                    "the alternative storage cannot be listed",
                    &format!(": {}", error_name(error)),
                );
            }
        }
        match fsys::open_path(dir.as_fd(), below) {
            Ok(own) => Self::At(own),
            Err(Errno::NOENT) => Self::None,
            Err(error) => unknown(
                "its directory in the alternative storage does not open",
                &format!(": {}", error_name(error)),
            ),
        }
    }

    /// What was moved out of the dbox's directory at `path`; it is listed, and what is in it stated.
    pub(super) fn list(&self, path: &[u8], listing: &mut Vec<u8>, notes: &mut Notes<'_>) -> Moved {
        let own = match self {
            Self::None => return Moved::Nothing,
            Self::Unknown(why) => return Moved::Unknown(why),
            Self::At(own) => own,
        };
        let unknown = Moved::Unknown("its directory in the alternative storage cannot be listed");
        let at = join(ALTERNATIVE, path);
        if at.len() > DIRECTORY_PATH_BYTES_MAX {
            notes.add(FindingKind::LimitReached, path.to_vec(), "too long a path in the alternative storage");
            return Moved::Unknown("its path in the alternative storage is too long");
        }
        let dir = match fsys::open_path(own.as_fd(), path) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Moved::Nothing,
            Err(error) => {
                notes.add(directory_fault(error), at, error_name(error));
                return unknown;
            }
        };
        let mut names = Names::default();
        let whole = match names.list(dir.as_fd(), 0, listing) {
            Ok(listed) => listed == Listed::Whole,
            Err(error) => {
                notes.add(directory_fault(error), at, error_name(error));
                return unknown;
            }
        };
        if !whole {
            notes.add(FindingKind::LimitReached, at.clone(), "more entries than are looked at");
        }
        names.sort();
        for entry in names.entries() {
            state(dir.as_fd(), &at, &names, entry, notes);
        }
        Moved::To { dir, path: at, names, whole }
    }
}

impl Moved {
    /// The directory, where it was listed.
    pub(super) fn directory(&self) -> Option<Directory<'_>> {
        let Self::To { dir, path, names, whole } = self else { return None };
        Some(Directory { dir: dir.as_fd(), path, names, whole: *whole })
    }

    /// Why what is not found may be there all the same.
    pub(super) fn unknown(&self) -> Option<&'static str> {
        match self {
            Self::Unknown(why) => Some(why),
            Self::To { whole: false, .. } => {
                Some("its directory in the alternative storage is not listed to its end")
            }
            Self::Nothing | Self::To { .. } => None,
        }
    }
}

/// Leaves out files that stand in the dbox itself, by their numbers: Dovecot reads those where both have one.
pub(super) fn without(moved: &mut Vec<(u32, &Entry)>, files: &[(u32, &Entry)]) {
    moved.retain(|(number, _)| files.binary_search_by_key(number, |(number, _)| *number).is_err());
}
