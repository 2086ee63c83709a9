//! The section of one mailbox, as it is read from a manifest.

use std::io;
use std::os::unix::fs::FileExt;

use rientro_types::Digest;

use super::bytes::Bytes;
use super::file::{Entry, Manifest};
use super::join::RawRows;
use super::record::{FileRecord, Place};
use super::row::{ROW_BYTES, RawRow};

/// Size of the pieces that are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Most bytes of a mailbox's places: they are read at once. The usual folder takes about 100. Tests make few folders.
pub(super) const PLACES_BYTES_MAX: u64 = if cfg!(test) { 64 << 10 } else { 64 << 20 };

/// A mailbox in a manifest.
#[derive(Clone, Copy)]
pub(crate) struct Section<'m> {
    manifest: &'m Manifest,
    pub(crate) entry: &'m Entry,
}

impl<'m> Section<'m> {
    /// What a manifest has of a mailbox; `None` when it has nothing.
    pub(crate) fn find(manifest: &'m Manifest, mailbox: &[u8]) -> Option<Self> {
        manifest.find(mailbox).map(|entry| Self::of(manifest, entry))
    }

    /// The section of an entry.
    pub(super) fn of(manifest: &'m Manifest, entry: &'m Entry) -> Self {
        Self { manifest, entry }
    }

    /// Whether all of it is as it was written, and can be read. What follows is asked of sections that are.
    pub(crate) fn is_usable(&self) -> io::Result<bool> {
        if !self.is_intact()? {
            return Ok(false);
        }
        match self.places() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether all of it is as it was written.
    pub(super) fn is_intact(&self) -> io::Result<bool> {
        let mut hasher = blake3::Hasher::new();
        self.read_through(&mut |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        Ok(*hasher.finalize().as_bytes() == *self.entry.checksum.raw())
    }

    /// Hands all of it to `take`, piece by piece.
    pub(super) fn read_through(&self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let end = self.entry.at + self.entry.section_bytes().ok_or(io::ErrorKind::InvalidData)?;
        let mut window = Window::new(self.entry.at, end);
        while let piece @ [_, ..] = window.fill(self.manifest, 1)? {
            let count = piece.len();
            take(piece)?;
            window.pass(count);
        }
        Ok(())
    }

    /// Its rows, in order.
    pub(crate) fn rows(&self) -> Rows<'m> {
        let at = self.entry.at + self.entry.files_bytes;
        let end = at + self.entry.rows * ROW_BYTES as u64;
        Rows { manifest: self.manifest, window: Window::new(at, end) }
    }

    /// Its places.
    pub(crate) fn places(&self) -> io::Result<Vec<Place>> {
        let at = self.entry.at + self.entry.files_bytes + self.entry.rows * ROW_BYTES as u64;
        let bytes = self.entry.places_bytes;
        let bytes = usize::try_from(bytes).ok().filter(|_| bytes <= PLACES_BYTES_MAX);
        let bytes = bytes.ok_or(io::ErrorKind::InvalidData)?;
        let mut raw = vec![0; bytes];
        self.manifest.file.read_exact_at(&mut raw, at)?;
        let (mut bytes, mut places) = (Bytes(&raw), Vec::new());
        while bytes.left() > 0 {
            places.push(Place::decode(&mut bytes).ok_or(io::ErrorKind::InvalidData)?);
        }
        Ok(places)
    }

    /// The files of one of its places, in the order in which they were read.
    pub(crate) fn files(&self, place: &Place) -> Files<'m> {
        let within = self.entry.files_bytes;
        let at = self.entry.at + place.files_at.min(within);
        let end = at + place.files_bytes.min(within - place.files_at.min(within));
        Files { manifest: self.manifest, window: Window::new(at, end) }
    }

    /// All its files.
    pub(super) fn all_files(&self) -> Files<'m> {
        Files {
            manifest: self.manifest,
            window: Window::new(self.entry.at, self.entry.at + self.entry.files_bytes),
        }
    }

    /// Path of the file whose record stands at `file_at`.
    pub(crate) fn path_at(&self, file_at: u64) -> io::Result<Vec<u8>> {
        if file_at >= self.entry.files_bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let at = self.entry.at + file_at;
        let mut window = Window::new(at, self.entry.at + self.entry.files_bytes);
        let start = window.fill(self.manifest, FileRecord::START_BYTES)?;
        Ok(Bytes(start).text().ok_or(io::ErrorKind::InvalidData)?.to_vec())
    }

    /// BLAKE3 of its bytes.
    pub(super) fn checksum(&self) -> Digest {
        self.entry.checksum
    }
}

/// A stretch of a manifest that is read from its beginning to its end.
struct Window {
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the next byte stands.
    next: usize,
}

impl Window {
    fn new(at: u64, end: u64) -> Self {
        Self { at, end, buffer: Vec::new(), next: 0 }
    }

    /// The next bytes, `want` of them or more; fewer at the end only.
    fn fill(&mut self, manifest: &Manifest, want: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.next < want && self.at < self.end {
            self.buffer.drain(..self.next);
            self.next = 0;
            let kept = self.buffer.len();
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            let more = left.min(want.max(PIECE_BYTES) - kept);
            self.buffer.resize(kept + more, 0);
            manifest.file.read_exact_at(&mut self.buffer[kept..], self.at)?;
            self.at += more as u64;
        }
        Ok(&self.buffer[self.next..])
    }

    /// Goes on behind so many bytes, or behind all that are there.
    fn pass(&mut self, count: usize) {
        self.next = self.next.saturating_add(count).min(self.buffer.len());
    }
}

/// Reads rows.
pub(crate) struct Rows<'m> {
    manifest: &'m Manifest,
    window: Window,
}

impl RawRows for Rows<'_> {
    fn next_raw(&mut self) -> io::Result<Option<RawRow>> {
        let raw = self.window.fill(self.manifest, ROW_BYTES)?.first_chunk().copied();
        self.window.pass(raw.map_or(0, |_| ROW_BYTES));
        Ok(raw)
    }
}

/// Reads files.
pub(crate) struct Files<'m> {
    manifest: &'m Manifest,
    window: Window,
}

impl Files<'_> {
    pub(crate) fn next(&mut self) -> io::Result<Option<FileRecord>> {
        let start = self.window.fill(self.manifest, FileRecord::START_BYTES)?;
        if start.is_empty() {
            return Ok(None);
        }
        let bytes = FileRecord::bytes(start).ok_or(io::ErrorKind::InvalidData)?;
        let raw = self.window.fill(self.manifest, bytes)?.get(..bytes);
        let file = raw.and_then(|raw| FileRecord::decode(&mut Bytes(raw)));
        self.window.pass(bytes);
        file.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}
