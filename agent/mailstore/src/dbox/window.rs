//! A part of a file that stands in memory, moved along as the file is read.

use std::os::fd::OwnedFd;

use rientro_types::Digest;
use rustix::io::Errno;

use crate::control::{Control, Stopped};
use crate::fsys;

/// Size of a window on messages: most are whole in it, and it stays in the core's cache.
pub(super) const WINDOW_BYTES: usize = 128 << 10;

/// A window on one file after the other.
pub(crate) struct Window {
    buffer: Vec<u8>,
    /// Bytes read at once where no more are asked for.
    usual: usize,
    /// Position in the file of the first byte in the buffer.
    start: u64,
    len: usize,
    /// Bytes read from the present file.
    read_bytes: u64,
    /// Hashes the present file on the way, if that is wanted.
    course: Option<Box<Course>>,
}

/// How far a file is hashed.
#[derive(Default)]
struct Course {
    hasher: blake3::Hasher,
    /// Where the next byte to be hashed stands.
    next: u64,
    /// Bytes between were not read in their turn.
    gap: bool,
}

impl Course {
    /// Takes what was read at `at`.
    fn pass(&mut self, at: u64, bytes: &[u8]) {
        let hashed = usize::try_from(self.next.saturating_sub(at)).unwrap_or(usize::MAX);
        self.gap |= at > self.next;
        if let Some(more) = bytes.get(hashed..).filter(|_| !self.gap) {
            self.hasher.update(more);
            self.next += more.len() as u64;
        }
    }

    fn begin(&mut self) {
        self.hasher.reset();
        (self.next, self.gap) = (0, false);
    }
}

impl Window {
    /// A window of this size; it grows where more is asked for at once.
    pub(crate) fn new(usual: usize) -> Self {
        Self { buffer: vec![0; usual], usual, start: 0, len: 0, read_bytes: 0, course: None }
    }

    /// Turns to another file.
    pub(crate) fn reset(&mut self) {
        (self.start, self.len, self.read_bytes) = (0, 0, 0);
        if let Some(course) = &mut self.course {
            course.begin();
        }
    }

    /// Has files hashed, or not, from the next one on.
    pub(super) fn hash(&mut self, wanted: bool) {
        if wanted != self.course.is_some() {
            self.course = wanted.then(Box::default);
        }
    }

    /// BLAKE3 of the present file, which is so long. What was not read in its turn is read again.
    pub(super) fn finish_hash(
        &mut self,
        file: &OwnedFd,
        bytes: u64,
        control: &Control,
    ) -> Result<Result<Digest, Errno>, Stopped> {
        if let Some(course) = self.course.as_mut().filter(|course| course.gap) {
            course.begin();
            (self.start, self.len) = (0, 0);
        }
        while let Some(next) = self.course.as_ref().map(|course| course.next).filter(|next| *next < bytes) {
            match self.at(file, next, 1) {
                // It was as long as that when it was stated.
                Ok([]) => return Ok(Err(Errno::STALE)),
                Ok(piece) => control.checkpoint(piece.len() as u64)?,
                Err(error) => return Ok(Err(error)),
            }
        }
        let hash = self.course.as_ref().map(|course| course.hasher.finalize());
        Ok(hash.map(|hash| Digest::from_raw(hash.into())).ok_or(Errno::INVAL))
    }

    /// Bytes read since the last call.
    pub(crate) fn take_read_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.read_bytes)
    }

    /// Whether `want` bytes at `at` are in memory.
    pub(crate) fn holds(&self, at: u64, want: usize) -> bool {
        self.inside(at, want).is_some()
    }

    /// What stands at `at` in `file`: at least `want` bytes, fewer only where the file ends.
    pub(crate) fn at(&mut self, file: &OwnedFd, at: u64, want: usize) -> Result<&[u8], Errno> {
        if let Some(from) = self.inside(at, want) {
            return Ok(&self.buffer[from..self.len]);
        }
        self.fill(file, at, want)?;
        Ok(&self.buffer[..self.len])
    }

    fn inside(&self, at: u64, want: usize) -> Option<usize> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        (from.checked_add(want)? <= self.len).then_some(from)
    }

    fn fill(&mut self, file: &OwnedFd, at: u64, want: usize) -> Result<(), Errno> {
        let room = want.max(self.usual);
        if self.buffer.len() < room {
            self.buffer.resize(room, 0);
        }
        (self.start, self.len) = (at, 0);
        loop {
            let place = at + self.len as u64;
            let (count, _) = fsys::read_at(file, &mut self.buffer[self.len..room], place)?;
            self.len += count;
            self.read_bytes += count as u64;
            if count == 0 || self.len >= want {
                if let Some(course) = &mut self.course {
                    course.pass(at, &self.buffer[..self.len]);
                }
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn any_place_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        std::fs::write(dir.path().join("f"), &bytes).unwrap();
        let file = OwnedFd::from(File::open(dir.path().join("f")).unwrap());
        let mut window = Window::new(WINDOW_BYTES);
        for (at, want) in
            [(0, 16), (16, 30), (100, 200_000), (131_000, 400), (5, 1), (299_990, 100), (400_000, 1)]
        {
            let found = window.at(&file, at, want).unwrap();
            let rest = bytes.get(usize::try_from(at).unwrap()..).unwrap_or(&[]);
            assert!(found.len() >= want.min(rest.len()) && rest.starts_with(found), "{at}");
        }
        assert!(window.take_read_bytes() >= 300_000);
        assert!(window.holds(400_000, 0) && !window.holds(400_000, 1) && !window.holds(16, 1));

        for places in [&[(0, 16), (16, 100_000)][..], &[(0, 16), (250_000, 400), (16, 1)]] {
            window.hash(true);
            window.reset();
            for (at, want) in places {
                window.at(&file, *at, *want).unwrap();
            }
            let hash = window.finish_hash(&file, bytes.len() as u64, &Control::default()).unwrap();
            assert_eq!(hash, Ok(Digest::of(&bytes)), "in whatever order it was read");
        }
        let longer = window.finish_hash(&file, bytes.len() as u64 + 1, &Control::default()).unwrap();
        assert_eq!(longer, Err(Errno::STALE));

        let mut small = Window::new(512);
        small.at(&file, 0, 100_000).unwrap();
        assert_eq!(small.take_read_bytes(), 100_000);
        small.at(&file, 150_000, 1).unwrap();
        assert_eq!(small.take_read_bytes(), 512, "what one place asks for is not read at the next");
    }
}
