//! The alternative storage of a dbox: where `doveadm altmove` brings messages that are seldom read, mostly on slower disks.
//!
//! A dbox has a link to its own directory there. Whoever owns a mailbox can make that link lead anywhere, so it is followed
//! only into the directory that is set up for the root, and by plain names. A dbox whose directory is not there has had nothing
//! moved yet, or its storage is not mounted: what it lacks is then unknown, not lost.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rientro_types::FindingKind;
use rustix::io::Errno;

use super::ALTERNATIVE;
use crate::faults::{directory_fault, error_name};
use crate::fsys::{self, Kind, Listed, Names};
use crate::mailbox::{Directory, join, state};
use crate::verify::Notes;

/// Where the alternative storages of a root's mailboxes are.
pub(crate) enum AlternativeRoot {
    /// None is set up.
    NotSetUp,
    /// It is open; links lead to paths below this one.
    Open(OwnedFd, PathBuf),
    /// It does not open.
    Closed,
}

/// The alternative storage of one dbox.
#[derive(Debug, Default)]
pub(super) enum Alternative {
    /// It has none.
    #[default]
    None,
    /// Its directory.
    At(OwnedFd),
    /// It has one that cannot be looked into, for this reason.
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
    /// The one that a dbox's link leads to.
    pub(super) fn of(mailbox: &Directory<'_>, root: &AlternativeRoot) -> Self {
        if mailbox.names.kind(ALTERNATIVE) != Some(Kind::Link) {
            return Self::None;
        }
        let (dir, base) = match root {
            AlternativeRoot::Open(dir, base) => (dir, base),
            AlternativeRoot::NotSetUp => return Self::Unknown("no alternative storage is set up"),
            AlternativeRoot::Closed => return Self::Unknown("the alternative storage does not open"),
        };
        let Ok(target) = fsys::link_target(mailbox.dir, c"dbox-alt-root") else {
            return Self::Unknown("the link to the alternative storage cannot be read");
        };
        let Some(below) = below(base, &target) else {
            return Self::Unknown("the link leads out of the alternative storage that is set up");
        };
        match fsys::open_path(dir.as_fd(), &below) {
            Ok(own) => Self::At(own),
            Err(Errno::NOENT) => Self::Unknown("its directory in the alternative storage is not there"),
            Err(_) => Self::Unknown("its directory in the alternative storage does not open"),
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

/// The path of `target` below `base`, if it leads there by plain names.
fn below(base: &Path, target: &[u8]) -> Option<Vec<u8>> {
    let rest = Path::new(OsStr::from_bytes(target)).strip_prefix(base).ok()?;
    let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !rest.as_os_str().is_empty()).then(|| rest.as_os_str().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_down_or_nowhere() {
        let base = Path::new("/srv/alt");
        assert_eq!(below(base, b"/srv/alt/ex.org/anna"), Some(b"ex.org/anna".to_vec()));
        assert_eq!(below(base, b"/srv/alt//anna/"), Some(b"anna".to_vec()));
        for out in [
            "/srv/alt",
            "/srv/alt/",
            "/srv/alternative/anna",
            "/srv/alt/../mail/anna",
            "alt/anna",
            "../alt/anna",
            "",
        ] {
            assert_eq!(below(base, out.as_bytes()), None, "{out}");
        }
    }
}
