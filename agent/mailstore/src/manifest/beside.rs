//! The file beside the place of a manifest, in which it is written.
//!
//! It is named by whoever writes the manifest, and may stand where others write too, so whatever stands at that name is looked at
//! before a byte of it is changed: it may be mail by another name.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;

use super::file::{ManifestError, begins_like_one};

/// Nobody else reads which messages a customer has.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The file beside the place, as long as this process alone writes it.
pub(super) struct Beside {
    pub(super) path: PathBuf,
    /// Locked as long as it is open.
    pub(super) file: File,
    /// It was renamed.
    pub(super) in_place: bool,
}

impl Beside {
    /// Claims the one beside this place, whatever a killed writer left in it. Nothing is written into anything else: neither through a
    /// link nor into a file that has another name too, which may be mail, nor into what somebody else put there.
    pub(super) fn claim(place: &Path) -> Result<Self, ManifestError> {
        let mut name = place.file_name().map(OsString::from).unwrap_or_default();
        name.push(".new");
        let path = place.with_file_name(name);
        let create = |source| ManifestError::Io { what: "create", path: path.clone(), source };
        let in_the_way = |why| ManifestError::InTheWay { path: path.clone(), why };
        loop {
            let file = match open_beside(&path) {
                Err(Errno::LOOP) => return Err(in_the_way("it is a symbolic link")),
                Err(Errno::ISDIR) => return Err(in_the_way("it is a directory")),
                opened => opened.map_err(|error| create(error.into()))?,
            };
            let meta = file.metadata().map_err(create)?;
            if !meta.is_file() {
                return Err(in_the_way("it is no regular file"));
            }
            if meta.uid() != geteuid().as_raw() {
                return Err(in_the_way("it belongs to another user"));
            }
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(ManifestError::Busy { path: place.to_owned() }),
                Err(error) => return Err(create(error.into())),
            }
            // The one who had it may have put it into its place meanwhile.
            if !is_same(&file, fs::symlink_metadata(&path)) {
                continue;
            }
            if file.metadata().map_err(create)?.nlink() > 1 {
                return Err(in_the_way("it has another name too"));
            }
            if !begins_like_one(&file).map_err(create)? {
                return Err(in_the_way("no writing of a manifest left it"));
            }
            return Ok(Self { path, file, in_place: false });
        }
    }

    /// The error of doing this with it.
    pub(super) fn error(&self, what: &'static str, source: io::Error) -> ManifestError {
        ManifestError::Io { what, path: self.path.clone(), source }
    }
}

impl Drop for Beside {
    /// What did not come into its place is of no use.
    fn drop(&mut self) {
        if !self.in_place {
            fs::remove_file(&self.path).ok();
        }
    }
}

fn open_beside(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    retry_on_intr(|| open(path, flags, FILE_MODE)).map(File::from)
}

/// Refuses a place that a rename would not come into: it replaces a file, or a link but not what that leads to, and nothing else.
pub(super) fn check_place(place: &Path) -> Result<(), ManifestError> {
    match fs::symlink_metadata(place) {
        Ok(meta) if !meta.is_file() && !meta.is_symlink() => {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
            Err(ManifestError::Io { what: "replace", path: place.to_owned(), source })
        }
        // Whatever hinders this hinders what follows.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether an open file is the one that was found at a path.
pub(super) fn is_same(file: &File, found: io::Result<Metadata>) -> bool {
    let id = |meta: Metadata| (meta.dev(), meta.ino());
    found.is_ok_and(|found| file.metadata().is_ok_and(|own| id(own) == id(found)))
}
