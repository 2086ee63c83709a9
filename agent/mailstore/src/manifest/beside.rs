//! The file beside the place of a manifest, in which it is written.
//!
//! It is named by whoever writes the manifest, and may stand where others write too, so whatever stands at that name is looked at
//! before a byte of it is changed: it may be mail by another name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::geteuid;

use super::file::{ManifestError, begins_like_one};

/// Nobody else reads which messages a customer has.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// In a directory with this bit, nobody removes or renames over what is another user's (S_ISVTX, inode(7)).
const STICKY: u32 = 0o1000;

/// The file beside the place, as long as this process alone writes it.
pub(super) struct Beside {
    path: PathBuf,
    /// Locked as long as it is open.
    pub(super) file: File,
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
                // A socket, or a device that nothing drives.
                Err(Errno::NXIO) => return Err(in_the_way("it is no regular file")),
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
            return Ok(Self { path, file });
        }
    }

    /// Puts it into the place, which is in the same directory.
    ///
    /// Where somebody removed it meanwhile, what another writer has half written may stand at its name, from one moment to the next. So
    /// it is looked at under a name that no other writer uses, and goes into the place from there.
    pub(super) fn put_into(&mut self, place: &Path) -> Result<(), ManifestError> {
        let rename = |from: &Path, to: &Path| {
            let error =
                |source| ManifestError::Io { what: "put into its place", path: place.to_owned(), source };
            fs::rename(from, to).map_err(error)
        };
        if !self.is_at_its_name() {
            return Err(ManifestError::Replaced { path: self.path.clone() });
        }
        let apart = self.name_apart()?;
        rename(&self.path, &apart)?;
        let beside = mem::replace(&mut self.path, apart);
        if !self.is_at_its_name() {
            rename(&self.path, &beside)?;
            return Err(ManifestError::Replaced { path: beside });
        }
        rename(&self.path, place)
    }

    /// A name in the same directory that no other writer uses: no two files there have the same inode.
    fn name_apart(&self) -> Result<PathBuf, ManifestError> {
        let inode = self.file.metadata().map_err(|source| self.error("state", source))?.ino();
        let path = self.path.with_file_name(format!("rientro-manifest-{inode}.new"));
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path),
            Err(source) => Err(ManifestError::Io { what: "look at", path, source }),
            Ok(_) => Err(ManifestError::InTheWay { path, why: "no writing of a manifest left it" }),
        }
    }

    fn is_at_its_name(&self) -> bool {
        is_same(&self.file, fs::symlink_metadata(&self.path))
    }

    /// The error of doing this with it.
    pub(super) fn error(&self, what: &'static str, source: io::Error) -> ManifestError {
        ManifestError::Io { what, path: self.path.clone(), source }
    }
}

impl Drop for Beside {
    /// What did not come into its place is of no use; what stands at its name otherwise is another's.
    fn drop(&mut self) {
        if self.is_at_its_name() {
            fs::remove_file(&self.path).ok();
        }
    }
}

fn open_beside(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    retry_on_intr(|| open(path, flags, FILE_MODE)).map(File::from)
}

/// The directory that a place is in.
pub(super) fn directory_of(place: &Path) -> &Path {
    place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a place that a rename would not come into: it needs the name of a file, and replaces a file, or a link but not what that
/// leads to, and nothing else.
pub(super) fn check_place(place: &Path) -> Result<(), ManifestError> {
    let refused = |what, kind, why| {
        let source = io::Error::new(kind, why);
        Err(ManifestError::Io { what, path: place.to_owned(), source })
    };
    // A path has this name also where `/` or `/.` follows.
    let ends_with = |name: &OsStr| place.as_os_str().as_bytes().ends_with(name.as_bytes());
    if !place.file_name().is_some_and(ends_with) {
        return refused("write", io::ErrorKind::InvalidInput, "it is the name of a directory");
    }
    match fs::symlink_metadata(place) {
        Ok(meta) if !meta.is_file() && !meta.is_symlink() => {
            refused("replace", io::ErrorKind::InvalidInput, "it is no regular file")
        }
        Ok(meta) if is_kept_by_another(&meta, directory_of(place)) => refused(
            "replace",
            io::ErrorKind::PermissionDenied,
            "it belongs to another user, and in its directory everybody's files are their own",
        ),
        // Whatever hinders this hinders what follows.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether only another user may remove this from its directory.
fn is_kept_by_another(meta: &Metadata, dir: &Path) -> bool {
    let own = geteuid();
    let is_others = |meta: &Metadata| meta.uid() != own.as_raw();
    let is_kept_in = |dir: Metadata| dir.mode() & STICKY != 0 && is_others(&dir);
    !own.is_root() && is_others(meta) && fs::metadata(dir).is_ok_and(is_kept_in)
}

/// Whether an open file is the one that was found at a path.
pub(super) fn is_same(file: &File, found: io::Result<Metadata>) -> bool {
    let id = |meta: Metadata| (meta.dev(), meta.ino());
    found.is_ok_and(|found| file.metadata().is_ok_and(|own| id(own) == id(found)))
}
