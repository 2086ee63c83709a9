//! What a mailbox holds, gathered while it is looked at: its files, its messages in order, its places.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::record::{Content, FileRecord, MESSAGE_BYTES, MESSAGES_MAX, Place, Stamp};
use super::row::{FolderId, Order, Row};
use super::section::{Files, PLACES_BYTES_MAX, Section};
use super::sort::{Sorted, Sorter};
use super::spool::Spool;
use crate::fsys::Meta;
use crate::index::removals::Removals;
use crate::index::table::Table;

/// How much of a mailbox is kept in memory; the rest of it goes to files without names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room<'d> {
    /// Where those are made.
    pub(crate) scratch: &'d Path,
    /// Bytes of files' records.
    pub(crate) files_bytes: usize,
    /// Rows of each list that is put in order.
    pub(crate) rows: usize,
}

/// Memory that all readers together use for what they gather.
const GATHERED_BYTES: usize = 32 << 20;

/// A reader has one list of files, and while it compares four lists of rows at a time; what it keeps beside them is little.
const LISTS: usize = 5;

/// Most bytes in memory of the messages of one file.
const CONTENTS_BYTES_MAX: usize = 64 << 10;

impl<'d> Room<'d> {
    /// The room of each of so many readers.
    pub(crate) fn of(scratch: &'d Path, readers: usize) -> Self {
        let each = GATHERED_BYTES / readers.max(1) / LISTS;
        Self { scratch, files_bytes: each, rows: each / super::row::ROW_BYTES }
    }
}

/// In which order the files of a place are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileOrder {
    /// By name up to the colon, `new` before `cur`, then by the whole name.
    Maildir,
    /// By the number behind the dot.
    Number,
}

impl FileOrder {
    fn compare(self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        match self {
            Self::Maildir => maildir_key(a).cmp(&maildir_key(b)),
            Self::Number => (a.len(), a).cmp(&(b.len(), b)),
        }
    }
}

fn maildir_key(path: &[u8]) -> (&[u8], bool, &[u8]) {
    let slash = memchr::memrchr(b'/', path).map_or(0, |at| at + 1);
    let name = &path[slash..];
    let stem = &name[..memchr::memchr(b':', name).unwrap_or(name.len())];
    (stem, path[..slash].ends_with(b"cur/"), name)
}

/// What is known of messages of a folder that are not there.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The messages of the index, where it can tell.
    pub(super) index: Option<Table>,
    pub(super) removals: Removals,
    /// UIDs of messages that are lost or damaged, which is told.
    pub(super) told: BTreeSet<u32>,
    /// UIDs of messages that could not be read, which is told; and how many there are of each GUID, where those are known all the same.
    pub(super) unread: (BTreeSet<u32>, BTreeMap<[u8; 16], u64>),
    /// Not all of its messages could be looked at, which is told.
    pub(super) unseen: bool,
}

/// Directories that could not be looked into, or not to their end, which is told.
#[derive(Debug, Default)]
pub(crate) struct Unseen(BTreeSet<Vec<u8>>);

impl Unseen {
    /// Whether what is at this path may be there and not have been seen.
    pub(super) fn hides(&self, path: &[u8]) -> bool {
        let above = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at]);
        !self.0.is_empty() && above.chain([&b""[..], path]).any(|above| self.0.contains(above))
    }
}

/// Gathers one mailbox.
pub(crate) struct Census<'d> {
    files: Spool<'d>,
    rows: Sorter<'d>,
    places: Vec<Place>,
    /// The folder at hand.
    folder: FolderId,
    /// Folders that were named.
    named: BTreeSet<FolderId>,
    indexes: BTreeMap<FolderId, Known>,
    removed: BTreeSet<[u8; 16]>,
    unseen: Unseen,
    apart: u64,
    /// Files are hashed as they are stored.
    lists_files: bool,
    previous: Option<Previous<'d>>,
    /// A file has more messages than a record can have.
    crowded: bool,
    bytes: u64,
    /// A record in the making.
    record: Vec<u8>,
    /// Messages of the file at hand, whose record is not added yet.
    contents: Spool<'d>,
    /// Whether more can be gathered; what failed is told in the end.
    state: io::Result<()>,
}

/// What was gathered.
pub(crate) struct Gathered<'d> {
    pub(super) files: Spool<'d>,
    pub(super) rows: Sorted,
    pub(super) places: Vec<Place>,
    /// Of each folder what its index says, where it can tell.
    pub(super) indexes: BTreeMap<FolderId, Known>,
    /// Folders that were removed through the mail server.
    pub(super) removed: BTreeSet<[u8; 16]>,
    pub(super) unseen: Unseen,
    /// Messages that were looked at and are in no folder.
    pub(super) apart: u64,
    crowded: bool,
    pub(super) bytes: u64,
}

impl<'d> Census<'d> {
    /// Begins a mailbox that is compared.
    pub(crate) fn comparing(room: Room<'d>) -> Self {
        Self { lists_files: false, ..Self::new(room, None) }
    }

    /// Begins a mailbox. Files that are unchanged since `previous` need not be read; where that cannot be, they are.
    pub(crate) fn new(room: Room<'d>, previous: Option<Section<'d>>) -> Self {
        let previous = previous.and_then(|section| {
            section.places().ok().map(|places| Previous { section, places, files: None })
        });
        Self {
            files: Spool::new(room.scratch, room.files_bytes),
            rows: Sorter::new(room.scratch, Order::Place, room.rows),
            places: Vec::new(),
            folder: FolderId::of(b""),
            named: BTreeSet::new(),
            indexes: BTreeMap::new(),
            removed: BTreeSet::new(),
            unseen: Unseen::default(),
            apart: 0,
            lists_files: true,
            previous,
            crowded: false,
            bytes: 0,
            record: Vec::new(),
            contents: Spool::new(room.scratch, CONTENTS_BYTES_MAX),
            state: Ok(()),
        }
    }

    /// Begins a place; files that come stand in it, in this order.
    pub(crate) fn begin_place(&mut self, path: &[u8], order: FileOrder) {
        self.end_place();
        self.places.push(Place {
            path: path.to_vec(),
            name: Vec::new(),
            guid: [0; 16],
            uidvalidity: 0,
            next_uid: 0,
            files_at: self.files.bytes(),
            files_bytes: 0,
        });
        if let Some(previous) = &mut self.previous {
            previous.enter(path, order);
        }
    }

    fn end_place(&mut self) {
        if let Some(place) = self.places.last_mut() {
            place.files_bytes = self.files.bytes() - place.files_at;
        }
    }

    /// The place at hand is a folder of this name and GUID.
    ///
    /// Two places can be written as one name, such as a Maildir itself and its `.INBOX`: the first one has it, and others go by
    /// their paths, behind a NUL, which no name has.
    pub(crate) fn name_folder(&mut self, name: &[u8], guid: [u8; 16], uidvalidity: u32, next_uid: u32) {
        self.folder = FolderId::of(name);
        if let Some(place) = self.places.last_mut() {
            let is_first = self.named.insert(self.folder);
            let name = if is_first { name.to_vec() } else { [b"\0", &place.path[..]].concat() };
            if !is_first {
                self.folder = FolderId::of(&name);
                self.named.insert(self.folder);
            }
            (place.name, place.guid) = (name, guid);
            (place.uidvalidity, place.next_uid) = (uidvalidity, next_uid);
        }
    }

    /// Folders that were removed through the mail server, by their GUIDs.
    pub(crate) fn know_removed(&mut self, folders: BTreeSet<[u8; 16]>) {
        self.removed = folders;
    }

    /// What the index of the folder at hand knows.
    pub(crate) fn know(&mut self, index: Option<Table>, removals: Removals) {
        let known = self.indexes.entry(self.folder).or_default();
        (known.index, known.removals) = (index, removals);
    }

    /// A message of the folder at hand is lost or damaged, which is told.
    pub(crate) fn tell(&mut self, uid: u32) {
        self.indexes.entry(self.folder).or_default().told.insert(uid);
    }

    /// A message of the folder at hand could not be read, which is told.
    pub(crate) fn leave_unread(&mut self, uid: u32, guid: Option<[u8; 16]>) {
        let known = self.indexes.entry(self.folder).or_default();
        known.unread.0.insert(uid);
        if let Some(guid) = guid {
            *known.unread.1.entry(guid).or_default() += 1;
        }
    }

    /// Not all messages of the folder at hand could be looked at, which is told.
    pub(crate) fn leave_unseen(&mut self) {
        self.indexes.entry(self.folder).or_default().unseen = true;
    }

    /// The directory at this path could not be looked into, or not to its end, which is told.
    pub(crate) fn pass_over(&mut self, path: &[u8]) {
        self.unseen.0.insert(path.to_vec());
    }

    /// The folder at hand.
    pub(crate) fn folder(&self) -> FolderId {
        self.folder
    }

    /// Whether files are hashed as they are stored.
    pub(crate) fn lists_files(&self) -> bool {
        self.lists_files
    }

    /// Whether files need not be read that have not changed.
    pub(crate) fn has_previous(&self) -> bool {
        self.previous.is_some()
    }

    /// What was known of a file before, if nothing of it has changed. Files are asked for in the order of their place.
    pub(crate) fn unchanged(&mut self, path: &[u8], meta: &Meta) -> Option<FileRecord> {
        let previous = self.previous.as_mut()?;
        let found = previous.find(path, Stamp::of(meta));
        if found.is_err() {
            self.previous = None;
        }
        found.ok().flatten()
    }

    /// Adds a file of which so many bytes were read; gives where it stands.
    pub(crate) fn add_file(&mut self, file: &FileRecord, read_bytes: u64) -> u64 {
        let at = self.files.bytes();
        self.record.clear();
        if u32::try_from(file.messages.len()).is_ok_and(|count| count <= MESSAGES_MAX) {
            file.encode(&mut self.record);
        } else {
            self.crowded = true;
            FileRecord { messages: Vec::new(), path: file.path.clone(), ..*file }.encode(&mut self.record);
        }
        self.bytes += read_bytes;
        if let Err(error) = self.files.push(&self.record) {
            self.fail(error);
        }
        at
    }

    /// Where the record of the file stands that is added next.
    pub(crate) fn next_file_at(&self) -> u64 {
        self.files.bytes()
    }

    /// Adds a message to the file that is added next, by [`Census::end_file`].
    pub(crate) fn add_content(&mut self, content: &Content) {
        if !self.lists_files {
            return;
        }
        if self.contents.bytes() >= u64::from(MESSAGES_MAX) * MESSAGE_BYTES as u64 {
            self.crowded = true;
            return;
        }
        self.record.clear();
        content.encode(&mut self.record);
        if let Err(error) = self.contents.push(&self.record) {
            self.fail(error);
        }
    }

    /// Adds a file, which has the messages that were added to it, of which so many bytes were read.
    pub(crate) fn end_file(&mut self, file: &FileRecord, read_bytes: u64) {
        debug_assert!(file.messages.is_empty(), "its messages were added one by one");
        self.record.clear();
        file.encode_head(self.contents.bytes() / MESSAGE_BYTES as u64, &mut self.record);
        self.bytes += read_bytes;
        let put = self.files.push(&self.record);
        let put = put.and_then(|()| self.contents.read_through(&mut |piece| self.files.push(piece)));
        self.contents.clear();
        if let Err(error) = put {
            self.fail(error);
        }
    }

    /// Adds a message in a folder.
    pub(crate) fn add_message(&mut self, row: &Row) {
        if let Err(error) = self.rows.push(row) {
            self.fail(error);
        }
    }

    /// So many messages that were looked at are in no folder.
    pub(crate) fn leave_apart(&mut self, messages: u64) {
        self.apart += messages;
    }

    fn fail(&mut self, error: io::Error) {
        if self.state.is_ok() {
            self.state = Err(error);
        }
    }

    /// Ends the mailbox.
    pub(crate) fn finish(mut self) -> io::Result<Gathered<'d>> {
        self.end_place();
        self.state?;
        let Self { files, rows, places, indexes, removed, unseen, apart, crowded, bytes, .. } = self;
        Ok(Gathered { files, rows: rows.finish()?, places, indexes, removed, unseen, apart, crowded, bytes })
    }
}

impl Gathered<'_> {
    /// Messages in its folders.
    pub(crate) fn messages(&self) -> u64 {
        self.rows.len()
    }

    /// What of it is more than a section can have, if anything is.
    pub(crate) fn excess(&self) -> Option<String> {
        let places_bytes: u64 = self.places.iter().map(Place::bytes).sum();
        if places_bytes > PLACES_BYTES_MAX {
            let places = self.places.len();
            return Some(format!("{places} folders, whose names take {} MiB", places_bytes >> 20));
        }
        self.crowded.then(|| format!("more than {MESSAGES_MAX} messages in a file"))
    }

    /// Path of the file whose record stands at `file_at`.
    pub(super) fn path_at(&self, file_at: u64) -> io::Result<Vec<u8>> {
        let mut length = [0; 2];
        self.files.read_exact_at(&mut length, file_at)?;
        let mut path = vec![0; usize::from(u16::from_le_bytes(length))];
        self.files.read_exact_at(&mut path, file_at + 2)?;
        Ok(path)
    }
}

/// The mailbox as it was before, read along.
struct Previous<'m> {
    section: Section<'m>,
    places: Vec<Place>,
    files: Option<Along<'m>>,
}

/// The files of a place, read along.
struct Along<'m> {
    order: FileOrder,
    files: Files<'m>,
    next: Option<FileRecord>,
}

impl Previous<'_> {
    fn enter(&mut self, path: &[u8], order: FileOrder) {
        let place = self.places.iter().find(|place| place.path == path);
        self.files = place.map(|place| Along { order, files: self.section.files(place), next: None });
    }

    fn find(&mut self, path: &[u8], stamp: Stamp) -> io::Result<Option<FileRecord>> {
        let Some(Along { order, files, next }) = &mut self.files else { return Ok(None) };
        loop {
            let Some(file) = next.take().map_or_else(|| files.next(), |file| Ok(Some(file)))? else {
                return Ok(None);
            };
            match order.compare(&file.path, path) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    return Ok(Some(file).filter(|file| file.path == path && file.stamp == stamp));
                }
                std::cmp::Ordering::Greater => {
                    *next = Some(file);
                    return Ok(None);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::record::tests::file;
    use rientro_types::Digest;

    /// Messages that are added one by one, and are more than fit memory.
    #[test]
    fn a_file_of_many_messages_has_the_record_of_all_of_them() {
        let scratch = tempfile::tempdir().unwrap();
        let room = Room { scratch: scratch.path(), files_bytes: 1 << 10, rows: 9 };
        let mut census = Census::new(room, None);
        let mut expected = Vec::new();
        for messages in [2_000_u64, 0, 3] {
            let content = |number: u64| Content {
                guid: [1; 16],
                identity: Digest::of(&number.to_le_bytes()),
                plain_bytes: number,
                offset: 40 * number,
            };
            let file = FileRecord { messages: Vec::new(), ..file(b"storage/m.1", 0) };
            assert_eq!(census.next_file_at(), expected.len() as u64);
            (0..messages).for_each(|number| census.add_content(&content(number)));
            census.end_file(&file, 7);
            FileRecord { messages: (0..messages).map(content).collect(), ..file }.encode(&mut expected);
        }
        let mut gathered = Vec::new();
        let mut take = |piece: &[u8]| {
            gathered.extend_from_slice(piece);
            Ok(())
        };
        census.finish().unwrap().files.read_through(&mut take).unwrap();
        assert!(gathered == expected, "{} bytes, {} expected", gathered.len(), expected.len());
    }

    #[test]
    fn a_file_with_more_messages_than_a_record_can_have_is_too_much() {
        let scratch = tempfile::tempdir().unwrap();
        let message = file(b"storage/m.1", 1).messages[0];
        for (count, is_too_much) in [(MESSAGES_MAX, false), (MESSAGES_MAX + 1, true)] {
            let mut census = Census::new(Room::of(scratch.path(), 1), None);
            census.begin_place(b"storage", FileOrder::Number);
            (0..count).for_each(|_| census.add_content(&message));
            census.end_file(&file(b"storage/m.1", 0), 0);
            assert_eq!(census.finish().unwrap().excess().is_some(), is_too_much);
        }
    }

    #[test]
    fn files_come_in_the_order_of_their_listing() {
        let order = FileOrder::Maildir;
        let paths: [&[u8]; 5] = [b"new/a", b"cur/a:2,S", b"x/new/b:1", b"x/new/b:2,", b"x/cur/b"];
        assert!(paths.windows(2).all(|pair| order.compare(pair[0], pair[1]).is_lt()));
        assert!(FileOrder::Number.compare(b"u.9", b"u.10").is_lt());
    }

    #[test]
    fn what_is_below_an_unseen_directory_is_hidden() {
        let unseen = |path: &[u8]| Unseen(BTreeSet::from([path.to_vec()]));
        let folder = &b"mailboxes/INBOX/dbox-Mails"[..];
        for above in [&b""[..], b"mailboxes", b"mailboxes/INBOX", folder] {
            assert!(unseen(above).hides(folder), "{above:?}");
        }
        for other in [&b"mail"[..], b"mailboxes/IN", b"mailboxes/INBOX/dbox-Mails/x"] {
            assert!(!unseen(other).hides(folder), "{other:?}");
        }
        assert!(unseen(b"").hides(b"") && !Unseen::default().hides(b""));
    }
}
