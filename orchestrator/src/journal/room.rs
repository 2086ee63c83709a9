//! Room on the disk, looked at before anything is written.

use std::io;
use std::path::Path;

use rientro_types::Advice;

const MIB: u64 = 1 << 20;
/// A commit writes the pages on the way to what is stored too: this many bytes more.
const COMMIT_BYTES_EXTRA: u64 = MIB;

/// Room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What is free.
    pub free: u64,
    /// What is not used up by what is written.
    pub kept: u64,
}

impl Room {
    /// What there is where `path` is, unless it is enough to write `bytes` more and keep `reserve_bytes`; zero keeps nothing and
    /// asks nothing of the disk.
    pub(crate) fn lacking(path: &Path, reserve_bytes: u64, bytes: usize) -> io::Result<Option<Self>> {
        if reserve_bytes == 0 {
            return Ok(None);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let disk = rustix::fs::statvfs(folder.unwrap_or(Path::new(".")))?;
        let kept = reserve_bytes.saturating_add(COMMIT_BYTES_EXTRA).saturating_add(bytes as u64);
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok((free < kept).then_some(Self { free, kept }))
    }
}

/// A disk that is full, and what a person does about it.
pub(crate) fn full(path: &Path, room: Option<Room>) -> Advice {
    let Some(Room { free, kept }) = room else {
        return Advice::new(
            format!("no room left for {}", path.display()),
            "free some space on its file system, and the cell goes on by itself",
        );
    };
    // Rounded apart, so that what is too little never looks like enough.
    let (free, kept) = (free / MIB, kept.div_ceil(MIB));
    Advice::new(
        format!(
            "the file system of {} has {free} MiB free, and {kept} MiB are needed: its `reserve` and one write",
            path.display(),
        ),
        "free some space, and the cell goes on by itself; to close or abort before that, lower `reserve` under [journal] in its \
         settings and restart it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is short by less than a MiB is told as short.
    #[test]
    fn too_little_room_never_looks_like_enough() {
        let room = Room { free: 17 * MIB + 5, kept: 17 * MIB + 6 };
        let told = full(Path::new("/j"), Some(room)).what;
        assert!(told.contains("has 17 MiB free, and 18 MiB are needed"), "{told}");
    }
}
