//! How the stat-walk digest is made up.
//!
//! A mailbox's digest is the hash of its records in the order of its walk; the shard's is the hash of path and digest of each
//! mailbox in order. Records are gathered before they are hashed: one long hash costs a tenth of many short ones.

use rientro_types::Digest;

use crate::fsys::Meta;

/// Gathered bytes after which they are hashed.
const GATHERED_BYTES: usize = 32 << 10;

/// Appends the record of one name. The size of a directory is the file system's own affair and is left out.
pub(crate) fn record(out: &mut Vec<u8>, place: &[u8], name: &[u8], meta: &Meta) {
    let size = if meta.kind == crate::fsys::Kind::Directory { 0 } else { meta.size_bytes };
    out.push(meta.kind as u8);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&meta.mtime_secs.to_le_bytes());
    out.extend_from_slice(&meta.mtime_ns.to_le_bytes());
    // Nobody sets this one: it tells of a write whose time was put back.
    out.extend_from_slice(&meta.ctime_secs.to_le_bytes());
    out.extend_from_slice(&meta.ctime_ns.to_le_bytes());
    out.extend_from_slice(place);
    out.push(b'/');
    out.extend_from_slice(name);
    out.push(0);
}

/// The digest of one mailbox or shard in the making.
#[derive(Debug, Default)]
pub(crate) struct StatWalk {
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
}

impl StatWalk {
    /// Where records go.
    pub(crate) fn gather(&mut self) -> &mut Vec<u8> {
        if self.gathered.len() >= GATHERED_BYTES {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
        &mut self.gathered
    }

    /// Adds the digest of a part under its path.
    pub(crate) fn add_part(&mut self, path: &[u8], digest: &Digest) {
        let gathered = self.gather();
        gathered.extend_from_slice(path);
        gathered.push(0);
        gathered.extend_from_slice(digest.raw());
    }

    pub(crate) fn finish(mut self) -> Digest {
        self.hasher.update(&self.gathered);
        Digest::from_raw(*self.hasher.finalize().as_bytes())
    }
}
