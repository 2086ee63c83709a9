//! Bytes that are gathered in memory, and in a file without a name once they are many.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Size of the pieces in which a spool is copied and read through.
const PIECE_BYTES: usize = 64 << 10;

/// Gathers bytes.
pub(super) struct Spool<'d> {
    /// Where the file is made.
    scratch: &'d Path,
    /// What was gathered last, and is not in the file.
    tail: Vec<u8>,
    tail_bytes_max: usize,
    file: Option<File>,
    in_file: u64,
}

impl<'d> Spool<'d> {
    /// An empty one, which keeps so many bytes in memory.
    pub(super) fn new(scratch: &'d Path, bytes_max: usize) -> Self {
        Self { scratch, tail: Vec::new(), tail_bytes_max: bytes_max, file: None, in_file: 0 }
    }

    /// How many bytes were gathered.
    pub(super) fn bytes(&self) -> u64 {
        self.in_file + self.tail.len() as u64
    }

    /// Gathers more.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.tail.len() + bytes.len() > self.tail_bytes_max {
            self.put_tail()?;
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }

    /// Drops what was gathered.
    pub(super) fn clear(&mut self) {
        self.tail.clear();
        self.in_file = 0;
    }

    fn put_tail(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(self.scratch)?),
        };
        file.write_all_at(&self.tail, self.in_file)?;
        self.in_file += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }

    /// Fills `out` with what was gathered at `at`.
    pub(super) fn read_exact_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        let in_file = usize::try_from(self.in_file.saturating_sub(at)).unwrap_or(usize::MAX).min(out.len());
        let (first, rest) = out.split_at_mut(in_file);
        if let Some(file) = self.file.as_ref().filter(|_| !first.is_empty()) {
            file.read_exact_at(first, at)?;
        }
        let from =
            usize::try_from((at + first.len() as u64).saturating_sub(self.in_file)).unwrap_or(usize::MAX);
        let kept = self.tail.get(from..).and_then(|tail| tail.get(..rest.len()));
        rest.copy_from_slice(kept.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Hands all of it to `take`, piece by piece.
    pub(super) fn read_through(&self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < self.bytes() {
            let count = PIECE_BYTES.min(usize::try_from(self.bytes() - at).unwrap_or(PIECE_BYTES));
            self.read_exact_at(&mut piece[..count], at)?;
            take(&piece[..count])?;
            at += count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_gathered_is_read_wherever_it_went() {
        let scratch = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(scratch.path(), 10);
        spool.push(b"what is dropped, in the file").unwrap();
        spool.push(b"and not").unwrap();
        spool.clear();
        for piece in [&b"abcdef"[..], b"ghij", b"kl", b"a piece longer than is kept", b"z"] {
            spool.push(piece).unwrap();
        }
        let all = b"abcdefghijkla piece longer than is keptz";
        assert_eq!(spool.bytes(), all.len() as u64);
        for from in 0..all.len() {
            for to in from..=all.len() {
                let mut out = vec![0; to - from];
                spool.read_exact_at(&mut out, from as u64).unwrap();
                assert_eq!(out, all[from..to]);
            }
        }
        assert!(spool.read_exact_at(&mut [0; 2], all.len() as u64 - 1).is_err());
        let mut read = Vec::new();
        let mut take = |piece: &[u8]| {
            read.extend_from_slice(piece);
            Ok(())
        };
        spool.read_through(&mut take).unwrap();
        assert_eq!(read, all);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "the file has no name");
    }
}
