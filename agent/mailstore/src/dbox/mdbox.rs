//! mdbox: many messages in each file `storage/m.<id>`, a map that says where each is, folders that refer to the map.
//!
//! Files are read from their beginning, message by message. Where no message stands the next header is looked for, so that
//! whole messages behind a damaged place are still looked at. Then each record of the map must have met a message of its size,
//! and must be referred to as often as it says. A message that no record knows may be left over from a delivery that was cut
//! short; where folders refer to records that the map does not have, the map is an old one.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rientro_types::FindingKind;

use super::frame::{FileHeader, MESSAGE_HEADER_BYTES, find_header};
use super::message::{Attachments, DboxFile, DboxReader, Fault, Stored};
use super::{ALTERNATIVE, is_files, numbered};
use crate::content::judge::Spot;
use crate::control::Stopped;
use crate::faults::{directory_fault, error_name, open_fault};
use crate::fsys::{self, Entry, Kind, Listed, Names};
use crate::index::file::u32_at;
use crate::index::place::{FOLDER_INDEX, IndexName, Place, Witness};
use crate::index::table::{Table, Wanted};
use crate::mailbox::{Directory, Format, join, state};
use crate::tools::Tools;
use crate::verify::{Depth, Notes};

const STORAGE: &[u8] = b"storage";

const MAP_INDEX: IndexName = IndexName {
    file: c"dovecot.map.index",
    log: c"dovecot.map.index.log",
    older_log: c"dovecot.map.index.log.2",
    cache: c"dovecot.map.index.cache",
};

/// What the map says of each message: file id, offset and size of 4 bytes each, and the number of references.
const OF_MAP: [Wanted; 2] = [
    Wanted { name: "map", record_bytes: 12, header_bytes: 0 },
    Wanted { name: "ref", record_bytes: 2, header_bytes: 0 },
];

/// What a folder's index says of each message: its record in the map, and its GUID.
const OF_FOLDER: [Wanted; 2] = [
    Wanted { name: "mdbox", record_bytes: 4, header_bytes: 0 },
    Wanted { name: "guid", record_bytes: 16, header_bytes: 0 },
];

/// What an index has where Dovecot did not know the GUID: for a copy of a message that has none in its folder's index.
const NO_GUID: [u8; 16] = [0; 16];

/// An mdbox at which the walk is.
#[derive(Default)]
pub(crate) struct Mdbox {
    map: Option<Map>,
    /// Messages of folders that refer to no record of the map, and the first folder with one.
    unknown: Option<(u64, Vec<u8>)>,
    /// A folder could not be read, so that its references are not counted.
    uncounted: bool,
}

/// A file of messages that stands in the storage.
struct Found<'a> {
    id: u32,
    dir: BorrowedFd<'a>,
    name: &'a CStr,
}

/// The map, and what was met of it.
struct Map {
    table: Table,
    rows: Vec<Row>,
    /// Rows in the order of file and offset.
    by_place: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Row {
    guid: Option<[u8; 16]>,
    /// A message stands where the record says.
    met: bool,
    /// Whether one does is not known.
    unread: bool,
    references: u32,
}

impl Map {
    fn new(table: Table) -> Self {
        let rows = vec![Row::default(); table.len()];
        let count = u32::try_from(table.len()).unwrap_or(u32::MAX);
        let mut by_place: Vec<u32> = (0..count).collect();
        by_place.sort_unstable_by_key(|row| place_of(&table, *row as usize));
        Self { table, rows, by_place }
    }

    /// The record of what stands at `offset` in the file of this id.
    fn find(&self, file: u32, offset: u64) -> Option<usize> {
        let wanted = (file, u32::try_from(offset).ok()?);
        let at = self.by_place.partition_point(|row| place_of(&self.table, *row as usize) < wanted);
        let row = *self.by_place.get(at)? as usize;
        (place_of(&self.table, row) == wanted).then_some(row)
    }

    fn size_of(&self, row: usize) -> u64 {
        u64::from(u32_at(self.table.cell(0, row), 8))
    }

    /// References as the map has them.
    fn counted(&self, row: usize) -> u32 {
        self.table.cell(1, row).iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }
}

fn place_of(table: &Table, row: usize) -> (u32, u32) {
    let cell = table.cell(0, row);
    (u32_at(cell, 0), u32_at(cell, 4))
}

impl Format for Mdbox {
    fn look(
        &mut self,
        place: &Directory<'_>,
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<&'static [&'static [u8]], Stopped> {
        if place.path.is_empty() {
            self.check_storage(place, tools, notes)?;
            if notes.depth > Depth::Stat && place.names.kind(b"mailboxes").is_none() {
                notes.add(FindingKind::DirectoryMissing, b"mailboxes".to_vec(), "");
            }
            return Ok(&[STORAGE]);
        }
        if notes.depth > Depth::Stat && is_files(place.path) {
            self.check_folder(place, notes)?;
        }
        Ok(&[])
    }

    fn finish(&mut self, notes: &mut Notes<'_>) -> Result<(), Stopped> {
        if let Some((count, folder)) = self.unknown.take() {
            let detail =
                format!("{count} messages of folders are not in it, the first of {}", shown(&folder));
            notes.add(FindingKind::IndexStale, join(STORAGE, MAP_INDEX.file.to_bytes()), detail);
        }
        let Some(map) = self.map.take().filter(|_| !self.uncounted) else { return Ok(()) };
        let (mut many, mut few) = (0_u64, 0_u64);
        for (at, row) in map.rows.iter().enumerate() {
            match map.counted(at).cmp(&row.references) {
                std::cmp::Ordering::Greater => many += 1,
                std::cmp::Ordering::Less => few += 1,
                std::cmp::Ordering::Equal => {}
            }
        }
        if many + few > 0 {
            let detail =
                format!("{many} messages have fewer references in folders than in the map, {few} have more");
            notes.add(FindingKind::ReferenceMismatch, join(STORAGE, MAP_INDEX.file.to_bytes()), detail);
        }
        Ok(())
    }
}

impl Mdbox {
    fn check_storage(
        &mut self,
        mailbox: &Directory<'_>,
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let dir = match fsys::open_dir(mailbox.dir, c"storage") {
            Ok(dir) => dir,
            Err(error) => {
                notes.add(directory_fault(error), STORAGE.to_vec(), error_name(error));
                return Ok(());
            }
        };
        let mut names = Names::default();
        let whole = match names.list(dir.as_fd(), 0, &mut tools.listing) {
            Ok(Listed::Whole) => true,
            Ok(Listed::Cut) => {
                notes.add(FindingKind::LimitReached, STORAGE.to_vec(), "more entries than are looked at");
                false
            }
            Err(error) => {
                notes.add(directory_fault(error), STORAGE.to_vec(), error_name(error));
                return Ok(());
            }
        };
        names.sort();
        for entry in names.entries() {
            state(dir.as_fd(), STORAGE, &names, entry, notes);
        }
        if notes.depth == Depth::Stat {
            return Ok(());
        }
        let index = Place {
            dir: dir.as_fd(),
            names: &names,
            path: STORAGE,
            index: MAP_INDEX,
            witness: Witness::Alone,
        };
        self.map = index.load(&OF_MAP, notes)?.map(Map::new);
        let files = files_of(&names);
        if !index.is_there() {
            index.note_missing(&format!("{} files of messages", files.len()), notes);
        }
        for (id, entry) in &files {
            let found = Found { id: *id, dir: dir.as_fd(), name: names.c_name(entry) };
            let (reader, attachments) = tools.dbox();
            self.check_file(&found, attachments.ending_in(b""), reader, notes)?;
        }
        let elsewhere = mailbox.names.kind(ALTERNATIVE).is_some();
        self.note_unmet(&files, whole && !elsewhere, notes)
    }

    fn check_file(
        &mut self,
        found: &Found<'_>,
        attachments: Attachments<'_>,
        reader: &mut DboxReader,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let Found { id, dir, name } = *found;
        let path = join(STORAGE, name.to_bytes());
        let (file, meta) = match fsys::open_file(dir, name) {
            Ok((file, meta)) if meta.kind == Kind::File => (file, meta),
            Ok(_) => {
                notes.add(FindingKind::ChangedWhileRead, path, "no longer a regular file");
                self.leave_unread(id, 0);
                return Ok(());
            }
            Err(error) => {
                notes.add(open_fault(error), path, error_name(error));
                self.leave_unread(id, 0);
                return Ok(());
            }
        };
        if notes.depth < Depth::Structure {
            return self.trust_file(id, meta.size_bytes, notes);
        }
        let header = match reader.file_header(&file) {
            Ok(Ok(header)) => Some(header),
            Ok(Err(what)) => {
                notes.add(FindingKind::FrameMalformed, path.clone(), what);
                None
            }
            Err(error) => {
                notes.add(open_fault(error), path, error_name(error));
                self.leave_unread(id, 0);
                return Ok(());
            }
        };
        let start = header.map(|header| header.bytes as u64);
        let header = header.unwrap_or(FileHeader::USUAL);
        let (bytes, several) = (meta.size_bytes, true);
        let dbox = DboxFile { file: &file, bytes, path: &path, header, several, attachments };
        let start = start.or_else(|| find_message(reader, &dbox, 0)).unwrap_or(dbox.bytes);
        let unmapped = self.check_messages(id, &dbox, start, reader, notes)?;
        if let Some((count, first)) = unmapped.filter(|_| self.map.is_some()) {
            let detail = format!("{count} messages, the first at {first}");
            notes.add(FindingKind::UnmappedMessage, path, detail);
        }
        Ok(())
    }

    /// Reads the messages of a file from `at` on; gives how many the map does not know, and where the first is.
    fn check_messages(
        &mut self,
        id: u32,
        dbox: &DboxFile<'_>,
        mut at: u64,
        reader: &mut DboxReader,
        notes: &mut Notes<'_>,
    ) -> Result<Option<(u64, u64)>, Stopped> {
        let mut unmapped = None;
        let spot = |at| Spot { path: dbox.path.to_vec(), at: Some(at) };
        while at < dbox.bytes {
            notes.begin_message();
            let checked = reader.check(dbox, at, notes)?;
            let bytes = reader.window.take_read_bytes();
            let known = self.knows(id, at);
            if !known {
                unmapped = unmapped.or(Some((0, at))).map(|(count, first)| (count + 1, first));
            }
            let (what, next) = match checked {
                Ok(stored) => {
                    self.meet(id, at, &stored, notes, &spot);
                    notes.end_message(bytes, stored.covered)?;
                    at = stored.end;
                    continue;
                }
                Err(Fault::Unread(error)) => {
                    spot(at).note(open_fault(error), &error_name(error), notes);
                    self.leave_unread(id, at);
                    notes.end_message(bytes, false)?;
                    break;
                }
                Err(Fault::Header(what)) => (what, at + 1),
                Err(Fault::Body(what)) => (what, at + dbox.header.message_header_bytes as u64),
            };
            if known {
                spot(at).note(FindingKind::FrameMalformed, what, notes);
                self.meet_damaged(id, at);
                notes.end_message(bytes, true)?;
            } else {
                // What is left of a delivery that was cut short.
                notes.end_remark()?;
            }
            match find_message(reader, dbox, next) {
                Some(next) => at = next,
                None => break,
            }
            notes.control.checkpoint(0)?;
        }
        Ok(unmapped)
    }

    /// Whether the map has a record of what stands at `at`, or there is no map to ask.
    fn knows(&self, id: u32, at: u64) -> bool {
        self.map.as_ref().is_none_or(|map| map.find(id, at).is_some())
    }

    /// Takes note of a message.
    fn meet(&mut self, id: u32, at: u64, stored: &Stored, notes: &mut Notes<'_>, spot: &dyn Fn(u64) -> Spot) {
        let Some(map) = &mut self.map else { return };
        let Some(row) = map.find(id, at) else { return };
        let (mapped, found) = (map.size_of(row), stored.end - at);
        if mapped != found {
            let detail = format!("the map has {mapped} bytes, {found} found");
            spot(at).note(FindingKind::MapMismatch, &detail, notes);
        }
        map.rows[row] = Row { guid: stored.guid, met: true, ..map.rows[row] };
    }

    /// Takes note of a message whose damage was told.
    fn meet_damaged(&mut self, id: u32, at: u64) {
        if let Some(map) = &mut self.map
            && let Some(row) = map.find(id, at)
        {
            map.rows[row].met = true;
        }
    }

    /// Nothing is known of the messages of a file from `at` on.
    fn leave_unread(&mut self, id: u32, at: u64) {
        if let Some(Map { table, rows, .. }) = &mut self.map {
            for (row, state) in rows.iter_mut().enumerate() {
                let (file, offset) = place_of(table, row);
                state.unread |= file == id && u64::from(offset) >= at;
            }
        }
    }

    /// Takes every record that leads into a file for met: nothing was read.
    fn trust_file(&mut self, id: u32, bytes: u64, notes: &mut Notes<'_>) -> Result<(), Stopped> {
        let Some(Map { table, rows, .. }) = &mut self.map else { return Ok(()) };
        for (row, state) in rows.iter_mut().enumerate() {
            let (file, offset) = place_of(table, row);
            let end = u64::from(offset) + u64::from(u32_at(table.cell(0, row), 8));
            if file == id && end <= bytes {
                state.met = true;
                notes.begin_message();
                notes.end_message(0, true)?;
            }
        }
        Ok(())
    }

    /// Notes records that met no message, unless nothing refers to them any more.
    fn note_unmet(
        &mut self,
        files: &[(u32, &Entry)],
        whole: bool,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let Some(map) = &self.map else { return Ok(()) };
        for row in &map.by_place {
            let row = *row as usize;
            if map.rows[row].met || map.counted(row) == 0 {
                continue;
            }
            let (file, offset) = place_of(&map.table, row);
            let is_there = files.iter().any(|(id, _)| *id == file);
            let uid = map.table.uids()[row];
            notes.begin_message();
            let spot =
                Spot { path: join(STORAGE, format!("m.{file}").as_bytes()), at: Some(u64::from(offset)) };
            if map.rows[row].unread || !(is_there || whole) {
                let detail = format!("message {uid} of the map: not looked at");
                spot.note(FindingKind::FileUnreadable, &detail, notes);
                notes.end_message(0, false)?;
            } else {
                let what = if is_there { "no message there" } else { "no file" };
                let detail = format!("message {uid} of the map: {what}");
                spot.note(FindingKind::MessageMissing, &detail, notes);
                notes.end_missing_message()?;
            }
        }
        Ok(())
    }

    fn check_folder(&mut self, place: &Directory<'_>, notes: &mut Notes<'_>) -> Result<(), Stopped> {
        let index = Place {
            dir: place.dir,
            names: place.names,
            path: place.path,
            index: FOLDER_INDEX,
            witness: Witness::Alone,
        };
        if !index.is_there() {
            index.note_missing("nobody knows which messages are in it", notes);
            return Ok(());
        }
        let Some(known) = index.load(&OF_FOLDER, notes)? else {
            self.uncounted = true;
            return Ok(());
        };
        let Some(map) = &mut self.map else { return Ok(()) };
        let mut unknown = 0;
        for row in 0..known.len() {
            let map_uid = u32_at(known.cell(0, row), 0);
            let Some(at) = map.table.row(map_uid) else {
                unknown += u64::from(!known.is_asked(known.uids()[row]));
                continue;
            };
            map.rows[at].references += 1;
            let guid = known.cell(1, row);
            if map.rows[at].guid.is_some_and(|stored| guid != stored && guid != NO_GUID) {
                notes.begin_message();
                let uid = known.uids()[row];
                let detail =
                    format!("UID {uid} refers to message {map_uid} of the map, which has another GUID");
                notes.add(FindingKind::GuidMismatch, join(place.path, b"dovecot.index"), detail);
                notes.end_remark()?;
            }
        }
        if unknown > 0 {
            let (count, first) = self.unknown.take().unwrap_or_else(|| (0, place.path.to_vec()));
            self.unknown = Some((count + unknown, first));
        }
        Ok(())
    }
}

/// The files of messages, by id.
fn files_of(names: &Names) -> Vec<(u32, &Entry)> {
    let entries = names.entries().iter().filter(|entry| entry.kind == Kind::File);
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some((numbered(names.name(entry), b"m.")?, entry))).collect();
    files.sort_unstable_by_key(|(id, _)| *id);
    files
}

/// Where the next message header stands in a file, at or behind `from`.
fn find_message(reader: &mut DboxReader, dbox: &DboxFile<'_>, from: u64) -> Option<u64> {
    let mut at = from;
    loop {
        let bytes = reader.window.at(dbox.file, at, MESSAGE_HEADER_BYTES).ok()?;
        if let Some(found) = find_header(bytes, 0) {
            return Some(at + found as u64);
        }
        if bytes.len() <= MESSAGE_HEADER_BYTES {
            return None;
        }
        at += (bytes.len() - MESSAGE_HEADER_BYTES + 1) as u64;
    }
}

/// A folder's path as findings show it.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
