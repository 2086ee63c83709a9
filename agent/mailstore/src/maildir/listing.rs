//! What the uidlist adds to the files of a folder, and how they are gathered with it.

use std::collections::BTreeMap;

use super::message::Seen;
use crate::content::guid::guid_128;
use crate::content::identity::Hashes;
use crate::content::sizes::Sizes;
use crate::manifest::{Census, Content, FileRecord, Row, Stamp};
use crate::verify::Notes;

/// What the uidlist says of messages, by their place in the listing of the folder.
#[derive(Default)]
pub(super) struct Listings {
    /// Sizes that names do not hold, or that an odd name is a message all the same.
    pub(super) sizes: BTreeMap<usize, Sizes>,
    pub(super) uidvalidity: u32,
    pub(super) next_uid: u32,
    /// The folder's GUID; zero where nothing tells.
    pub(super) folder: [u8; 16],
    /// UIDs of messages that have no file, which is told, where that is gathered.
    pub(super) lost: Vec<u32>,
    /// Of every message, where that is gathered; 0 where it has none.
    uids: Vec<u32>,
    /// GUIDs that are not names.
    guids: BTreeMap<usize, [u8; 16]>,
}

impl Listings {
    /// Makes room for what is gathered of so many messages.
    pub(super) fn gather(&mut self, messages: usize) {
        self.uids = vec![0; messages];
    }

    /// Takes note of the UID and GUID of a message, where that is gathered.
    pub(super) fn note(&mut self, at: usize, uid: u32, guid: Option<&[u8]>) {
        if let Some(noted) = self.uids.get_mut(at) {
            *noted = uid;
            self.guids.extend(guid.map(|text| (at, guid_128(text))));
        }
    }

    /// Takes note of a message that has no file, where that is gathered.
    pub(super) fn tell(&mut self, uid: u32, notes: &mut Notes<'_>) {
        self.lost.extend(notes.census().map(|_| uid));
    }

    /// The UID of a message; 0 where it has none.
    pub(super) fn uid(&self, at: usize) -> u32 {
        self.uids.get(at).copied().unwrap_or(0)
    }

    /// The mail's GUID: what the uidlist says, or else its name up to the colon.
    pub(super) fn guid(&self, at: usize, stem: &[u8]) -> [u8; 16] {
        self.guids.get(&at).copied().unwrap_or_else(|| guid_128(stem))
    }

    /// The record of a message that was read.
    pub(super) fn record(&self, at: usize, stem: &[u8], path: Vec<u8>, seen: &Seen) -> FileRecord {
        let Hashes { plain, plain_bytes, stored } = seen.hashes;
        let content = Content { guid: self.guid(at, stem), identity: plain, plain_bytes, offset: 0 };
        FileRecord { path, stamp: Stamp::of(&seen.meta), stored, messages: vec![content] }
    }

    /// Adds a message: one that was seen, or one that is known from before.
    pub(super) fn add(
        &self,
        at: usize,
        stem: &[u8],
        file: &FileRecord,
        seen: Option<&Seen>,
        census: &mut Census<'_>,
    ) {
        let file_at = census.add_file(file, seen.map_or(0, |seen| seen.read_bytes));
        for &Content { guid, identity, plain_bytes, offset } in &file.messages {
            census.add_message(&Row {
                folder: census.folder(),
                // The uidlist may say another one by now than when the record was made.
                guid: if seen.is_some() { guid } else { self.guid(at, stem) },
                identity,
                plain_bytes,
                file_at,
                offset,
                uid: self.uid(at),
                marked: seen.is_some_and(|seen| seen.marked),
                again: false,
            });
        }
    }
}

/// Name of the folder at `path` with `/` between its levels, whichever way they are written.
pub(super) fn folder_name(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b"INBOX".to_vec();
    }
    let mut name = Vec::with_capacity(path.len());
    for component in path.split(|b| *b == b'/') {
        if !name.is_empty() {
            name.push(b'/');
        }
        match component.strip_prefix(b".") {
            Some(levels) => name.extend(levels.iter().map(|b| if *b == b'.' { b'/' } else { *b })),
            None => name.extend_from_slice(component),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_levels_give_one_name() {
        for path in [&b".Archive.2020"[..], b"Archive/2020"] {
            assert_eq!(folder_name(path), b"Archive/2020");
        }
        assert_eq!(folder_name(b""), b"INBOX");
    }
}
