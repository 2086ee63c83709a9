//! Frames of the files beside the journal: archives and backups.
//!
//! A file begins with eight bytes that name its kind and version. A frame is
//! `kind (1) | length (4, little-endian) | check (32) | body`; `check` is the digest of kind and body.

use std::io::{self, Read, Write};

use rientro_types::Digest;

/// Longest body: the largest entry or snapshot chunk with its header.
const BODY_BYTES_MAX: usize = super::ENTRY_BYTES_MAX + 1_024;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// What a backup is of.
    Header = 1,
    /// A snapshot's head.
    Snapshot = 2,
    /// One chunk of the snapshot.
    Chunk = 3,
    /// A sealed entry in its stored form.
    Entry = 4,
    /// The end; a file without it is cut short.
    End = 5,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Header, Self::Snapshot, Self::Chunk, Self::Entry, Self::End];
}

/// Why a file of frames cannot be read.
#[derive(Debug)]
pub(super) enum FrameError {
    /// The operating system refused.
    Io(io::Error),
    /// The content is damaged.
    Damaged(&'static str),
}

/// Writes one frame.
pub(super) fn write(out: &mut impl Write, kind: Kind, body: &[u8]) -> io::Result<()> {
    let len = u32::try_from(body.len()).map_err(|_| io::Error::other("a frame is beyond its bound"))?;
    out.write_all(&[kind as u8])?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(check(kind, body).raw())?;
    out.write_all(body)
}

/// Reads the eight bytes that begin a file.
pub(super) fn read_magic(input: &mut impl Read, magic: [u8; 8]) -> Result<(), FrameError> {
    let mut found = [0; 8];
    fill(input, &mut found)?;
    if found == magic { Ok(()) } else { Err(FrameError::Damaged("it does not begin as such a file does")) }
}

/// Reads one frame.
pub(super) fn read(input: &mut impl Read) -> Result<(Kind, Vec<u8>), FrameError> {
    let mut head = [0; 1 + 4 + 32];
    fill(input, &mut head)?;
    let kind = Kind::ALL.into_iter().find(|k| *k as u8 == head[0]);
    let kind = kind.ok_or(FrameError::Damaged("a frame is of no known kind"))?;
    let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if len > BODY_BYTES_MAX {
        return Err(FrameError::Damaged("a frame is longer than its bound"));
    }
    let mut body = vec![0; len];
    fill(input, &mut body)?;
    if check(kind, &body).raw() != &head[5..] {
        return Err(FrameError::Damaged("a frame's bytes do not match their digest"));
    }
    Ok((kind, body))
}

fn check(kind: Kind, body: &[u8]) -> Digest {
    Digest::of(&[kind as u8]).chained(body)
}

fn fill(input: &mut impl Read, out: &mut [u8]) -> Result<(), FrameError> {
    input.read_exact(out).map_err(|e| {
        if e.kind() == io::ErrorKind::UnexpectedEof {
            FrameError::Damaged("it is cut short")
        } else {
            FrameError::Io(e)
        }
    })
}
