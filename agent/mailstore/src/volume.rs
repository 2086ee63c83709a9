//! Which volume is mounted.
//!
//! A volume says who it is by a marker file at its root, written once by an operator, else by the identity the file system
//! gives in `statfs`. The marker survives a copy to another file system; the other does not survive a re-format, and for
//! some file systems not a reboot, so enrolling is the better choice.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rientro_types::VolumeId;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fsync, openat, statat};
use rustix::io::Errno;

use crate::fsys;

/// Name of the marker file at the root of a volume.
pub const MARKER_NAME: &str = ".rientro-volume";

/// Longest marker: `marker:`, a UUID and a line end take 44 bytes.
const MARKER_BYTES_MAX: u64 = 64;

/// Why a volume has no identity, or not the one expected. Each is told whole by its text: findings keep nothing else.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The root or marker could not be read.
    #[error("cannot read {what} of {root}: {why}")]
    Read {
        /// Which of them.
        what: &'static str,
        /// The root of the volume.
        root: String,
        /// The reason.
        why: std::io::Error,
    },
    /// Something else has the marker's name.
    #[error(
        "{root}/{MARKER_NAME} is {kind}, and a marker is a regular file on the volume itself; nothing is followed or read \
         there: remove it, then enrol the volume or put its marker back"
    )]
    NotAFile {
        /// The root of the volume.
        root: String,
        /// What it is.
        kind: &'static str,
    },
    /// The marker is there and is none.
    #[error("{root}/{MARKER_NAME} is no marker; it must hold `marker:` and a UUID, in a regular file")]
    Marker {
        /// The root of the volume.
        root: String,
    },
    /// The file system gives no identity.
    #[error("the file system at {root} gives no identity; enrol the volume")]
    Anonymous {
        /// The root of the volume.
        root: String,
    },
    /// Another volume is mounted.
    #[error("volume {found} is mounted, {expected} is expected")]
    Wrong {
        /// What is there.
        found: VolumeId,
        /// What should be.
        expected: VolumeId,
    },
    /// The volume is enrolled already.
    #[error("{root} is enrolled already")]
    Enrolled {
        /// The root of the volume.
        root: String,
    },
    /// The marker could not be written.
    #[error("cannot write {root}/{MARKER_NAME}: {why}")]
    Write {
        /// The root of the volume.
        root: String,
        /// The reason.
        why: std::io::Error,
    },
}

/// The identity of the volume mounted at `root`.
///
/// # Errors
/// [`VolumeError`] when the root or marker cannot be read, or there is no identity.
pub fn identify(root: &Path) -> Result<VolumeId, VolumeError> {
    let read = |what| move |error: Errno| VolumeError::Read { what, root: shown(root), why: error.into() };
    let dir = fsys::open_root(root).map_err(read("the root"))?;
    match openat(
        &dir,
        MARKER_NAME,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(file) => read_marker(dir.as_fd(), file.into(), root),
        Err(Errno::NOENT) => {
            let stat = rustix::fs::fstatvfs(&dir).map_err(read("the file system"))?;
            let id =
                Some(stat.f_fsid).filter(|id| *id != 0).map(|id| VolumeId::new(&format!("fs:{id:016x}")));
            id.and_then(Result::ok).ok_or_else(|| VolumeError::Anonymous { root: shown(root) })
        }
        // A link is not followed, a socket cannot be opened.
        Err(Errno::LOOP | Errno::NXIO) => Err(not_a_file(dir.as_fd(), root)),
        Err(error) => Err(read("the marker")(error)),
    }
}

/// Checks that the volume mounted at `root` is the one expected.
///
/// # Errors
/// [`VolumeError::Wrong`] when it is another, and whatever [`identify`] refuses.
pub fn check(root: &Path, expected: &VolumeId) -> Result<(), VolumeError> {
    let found = identify(root)?;
    if found == *expected { Ok(()) } else { Err(VolumeError::Wrong { found, expected: *expected }) }
}

/// Writes the marker of a volume that has none: the one write of this crate, meant for an operator's command.
///
/// `uuid` is 32 hexadecimal digits in the usual groups, drawn by the caller.
///
/// # Errors
/// [`VolumeError::Enrolled`] when there is a marker, whatever it holds; [`VolumeError::NotAFile`] when something else has its
/// name; [`VolumeError::Marker`] when `uuid` is none.
pub fn enrol(root: &Path, uuid: &str) -> Result<VolumeId, VolumeError> {
    let id =
        parse_marker(&format!("marker:{uuid}")).ok_or_else(|| VolumeError::Marker { root: shown(root) })?;
    let write = |error: Errno| VolumeError::Write { root: shown(root), why: error.into() };
    let dir = fsys::open_root(root).map_err(write)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(&dir, MARKER_NAME, flags, Mode::from_raw_mode(0o444)) {
        Err(Errno::EXIST) if is_file(dir.as_fd()) => {
            return Err(VolumeError::Enrolled { root: shown(root) });
        }
        Err(Errno::EXIST) => return Err(not_a_file(dir.as_fd(), root)),
        opened => opened.map_err(write)?,
    };
    let mut file = std::fs::File::from(file);
    let written =
        std::io::Write::write_all(&mut file, format!("{id}\n").as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|why| VolumeError::Write { root: shown(root), why })?;
    fsync(&dir).map_err(write)?;
    Ok(id)
}

fn read_marker(dir: BorrowedFd<'_>, file: std::fs::File, root: &Path) -> Result<VolumeId, VolumeError> {
    let read = |why| VolumeError::Read { what: "the marker", root: shown(root), why };
    let bad = || VolumeError::Marker { root: shown(root) };
    if !file.metadata().map_err(read)?.is_file() {
        return Err(not_a_file(dir, root));
    }
    let mut text = Vec::new();
    file.take(MARKER_BYTES_MAX + 1).read_to_end(&mut text).map_err(read)?;
    let text = std::str::from_utf8(&text).ok().ok_or_else(bad)?;
    parse_marker(text.trim_end()).ok_or_else(bad)
}

/// What has the marker's name, itself and not what it may point to.
fn marker_type(dir: BorrowedFd<'_>) -> Option<FileType> {
    let stat = statat(dir, MARKER_NAME, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn is_file(dir: BorrowedFd<'_>) -> bool {
    marker_type(dir) == Some(FileType::RegularFile)
}

fn not_a_file(dir: BorrowedFd<'_>, root: &Path) -> VolumeError {
    let points = || statat(dir, MARKER_NAME, AtFlags::empty()).is_ok();
    let kind = match marker_type(dir) {
        Some(FileType::Symlink) if points() => "a symbolic link",
        Some(FileType::Symlink) => "a symbolic link to nothing",
        Some(FileType::Directory) => "a directory",
        Some(FileType::Fifo) => "a named pipe",
        Some(FileType::Socket) => "a socket",
        Some(FileType::CharacterDevice | FileType::BlockDevice) => "a device",
        Some(FileType::RegularFile | FileType::Unknown) | None => "not what it was a moment ago",
    };
    VolumeError::NotAFile { root: shown(root), kind }
}

fn parse_marker(text: &str) -> Option<VolumeId> {
    let uuid = text.strip_prefix("marker:")?;
    let group = |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<_> = uuid.split('-').collect();
    let good = parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, len)| group(part, len));
    good.then(|| VolumeId::new(&text.to_ascii_lowercase()).ok()).flatten()
}

fn shown(root: &Path) -> String {
    root.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const UUID: &str = "6f1c9a52-0b1d-4c61-9d0a-3f1b2c4d5e6f";

    /// T24, T28: a volume is known by its marker wherever it is mounted, and another one is refused.
    #[test]
    fn a_marker_names_the_volume() {
        let root = tempfile::tempdir().unwrap();
        let unmarked = identify(root.path()).unwrap();
        assert!(unmarked.as_str().starts_with("fs:"), "{unmarked}");
        let id = enrol(root.path(), UUID).unwrap();
        assert_eq!(id.as_str(), format!("marker:{UUID}"));
        assert_eq!(identify(root.path()).unwrap(), id);
        assert!(check(root.path(), &id).is_ok());
        assert!(matches!(check(root.path(), &unmarked), Err(VolumeError::Wrong { .. })));
    }

    #[test]
    fn enrolling_never_overwrites() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(enrol(root.path(), "no uuid"), Err(VolumeError::Marker { .. })));
        fs::write(root.path().join(MARKER_NAME), b"something").unwrap();
        assert!(matches!(enrol(root.path(), UUID), Err(VolumeError::Enrolled { .. })));
        assert_eq!(fs::read(root.path().join(MARKER_NAME)).unwrap(), b"something");
        assert!(matches!(identify(root.path()), Err(VolumeError::Marker { .. })));
    }

    /// What has the marker's name and is none is said to be what it is; it is never opened through, and never overwritten.
    #[test]
    fn a_marker_that_is_no_file_is_told_as_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        let marker = root.path().join(MARKER_NAME);
        let told = |kind| {
            for refused in [identify(root.path()), enrol(root.path(), UUID)] {
                let text = refused.unwrap_err().to_string();
                assert!(
                    text.contains(&format!("{MARKER_NAME} is {kind}, and a marker is a regular file")),
                    "{text}"
                );
            }
        };
        std::os::unix::fs::symlink("/dev/zero", &marker).unwrap();
        told("a symbolic link");
        fs::remove_file(&marker).unwrap();
        std::os::unix::fs::symlink("absent", &marker).unwrap();
        told("a symbolic link to nothing");
        fs::remove_file(&marker).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &marker, Mode::RWXU).unwrap();
        told("a named pipe");
        fs::remove_file(&marker).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&marker).unwrap();
        told("a socket");
        fs::remove_file(&marker).unwrap();
        fs::create_dir(&marker).unwrap();
        told("a directory");
    }

    #[test]
    fn a_marker_that_is_none_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(MARKER_NAME), vec![b'a'; 100_000]).unwrap();
        assert!(matches!(identify(root.path()), Err(VolumeError::Marker { .. })));
        assert!(matches!(identify(&root.path().join("absent")), Err(VolumeError::Read { .. })));
    }

    proptest! {
        #[test]
        fn any_marker_text_is_read_or_refused(text in "(marker:)?[0-9a-fA-F-]{0,50}") {
            parse_marker(&text);
        }
    }
}
