//! mdbox: many messages in each file `storage/m.<id>`, a map that says where each is, folders that refer to the map.
//!
//! Files are read from their beginning, message by message. Where no message stands the next header is looked for, so that
//! whole messages behind a damaged place are still looked at. Then each record of the map must have met a message of its size,
//! and must be referred to as often as it says. A message that no record knows may be left over from a delivery that was cut
//! short; where folders refer to records that the map does not have, the map is an old one.

mod file;
mod map;

use std::os::fd::AsFd;

use rientro_types::FindingKind;

use self::file::Found;
use self::map::{Gathered, Map, OF_MAP, Record};
use super::alternative::{Alternative, without};
use super::{
    begin_folder, end_folder, files_of, folder_index, is_files, note_lost_files, note_lost_folders, tell,
};
use crate::content::judge::Spot;
use crate::control::Stopped;
use crate::faults::{directory_fault, error_name};
use crate::fsys::{self, Entry, Listed, Names};
use crate::index::file::u32_at;
use crate::index::place::{IndexName, Place, Witness};
use crate::index::table::{Table, Wanted};
use crate::mailbox::{Directory, Format, join, state};
use crate::manifest::{Content, FileOrder, Row};
use crate::tools::Tools;
use crate::verify::{Depth, Notes};

const STORAGE: &[u8] = b"storage";

const MAP_INDEX: IndexName = IndexName {
    file: c"dovecot.map.index",
    log: c"dovecot.map.index.log",
    older_log: c"dovecot.map.index.log.2",
    cache: c"dovecot.map.index.cache",
};

/// What a folder's index says of each message: its record in the map, and its GUID; and of itself: 4 bytes UIDVALIDITY of the map,
/// its own GUID, flags.
const OF_FOLDER: [Wanted; 3] = [
    Wanted { name: "mdbox", record_bytes: 4, header_bytes: 0 },
    Wanted { name: "guid", record_bytes: 16, header_bytes: 0 },
    Wanted { name: "mdbox-hdr", record_bytes: 0, header_bytes: 24 },
];

/// What an index has where Dovecot did not know the GUID: for a copy of a message that has none in its folder's index.
const NO_GUID: [u8; 16] = [0; 16];

/// An mdbox at which the walk is.
#[derive(Default)]
pub(crate) struct Mdbox {
    map: Option<Map>,
    /// Messages of folders that refer to no record of the map, and the first folder with one.
    unknown: Option<(u64, Vec<u8>)>,
    /// Not all folders could be read, so that their references are not counted.
    uncounted: bool,
    /// Messages may stand in an alternative storage that cannot be looked into.
    elsewhere: bool,
    /// Messages that were gathered, and that no folder has referred to.
    apart: u64,
}

impl Format for Mdbox {
    fn look(
        &mut self,
        place: &Directory<'_>,
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<&'static [&'static [u8]], Stopped> {
        self.uncounted |= !place.whole;
        if place.path.is_empty() {
            self.check_storage(place, tools, notes)?;
            if notes.depth > Depth::Stat {
                note_lost_folders(place, notes);
            }
            return Ok(&[STORAGE]);
        }
        if notes.depth > Depth::Stat {
            note_lost_files(place, notes);
            if is_files(place.path) {
                self.check_folder(place, notes)?;
            }
        }
        Ok(&[])
    }

    fn pass_over(&mut self) {
        self.uncounted = true;
    }

    fn finish(&mut self, notes: &mut Notes<'_>) -> Result<(), Stopped> {
        if let Some(census) = notes.census() {
            census.leave_apart(self.apart);
        }
        if let Some((count, folder)) = self.unknown.take() {
            let detail =
                format!("{count} messages of folders are not in it, the first of {}", shown(&folder));
            notes.add(FindingKind::IndexStale, join(STORAGE, MAP_INDEX.file.to_bytes()), detail);
        }
        let Some(map) = self.map.take().filter(|_| !self.uncounted) else { return Ok(()) };
        let (fewer, more) = map.miscounted();
        if fewer + more > 0 {
            let detail = format!(
                "{fewer} messages have fewer references in folders than in the map, {more} have more"
            );
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
        let alternative = Alternative::of(mailbox, tools.alternative.as_ref(), notes);
        let moved = alternative.list(STORAGE, &mut tools.listing, notes);
        self.elsewhere = moved.unknown().is_some();
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
        let here = Directory { dir: dir.as_fd(), path: STORAGE, names: &names, whole };
        let mut files = files_of(&here, b"m.");
        let moved_files = moved.directory().map(|place| (files_of(&place, b"m."), place));
        if !index.is_there() {
            let count = files.len() + moved_files.as_ref().map_or(0, |(files, _)| files.len());
            index.note_missing(&format!("{count} files of messages"), notes);
        }
        self.check_files(&here, &files, tools, notes)?;
        if let Some((mut moved_files, place)) = moved_files {
            without(&mut moved_files, &files);
            self.check_files(&place, &moved_files, tools, notes)?;
            files.extend(moved_files);
            files.sort_unstable_by_key(|(id, _)| *id);
        }
        self.note_unmet(&files, whole && !self.elsewhere, notes)
    }

    fn check_files(
        &mut self,
        place: &Directory<'_>,
        files: &[(u32, &Entry)],
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        if let Some(census) = notes.census() {
            census.begin_place(place.path, FileOrder::Number);
        }
        for (id, entry) in files {
            let found = Found { id: *id, place, name: place.names.c_name(entry) };
            let (reader, attachments) = tools.dbox();
            self.check_file(&found, attachments.ending_in(b""), reader, notes)?;
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
        let Some(map) = &mut self.map else { return Ok(()) };
        let mut unread = Vec::new();
        for row in map.by_place() {
            let Record { uid, file, offset, references, .. } = map.record(row);
            if map.met(row).met || references == 0 {
                continue;
            }
            let is_there = files.binary_search_by_key(&file, |(id, _)| *id).is_ok();
            notes.begin_message();
            let spot = Spot { path: join(STORAGE, format!("m.{file}").as_bytes()), at: Some(offset) };
            if map.met(row).unread || !(is_there || whole) {
                let detail = format!("message {uid} of the map: not looked at");
                spot.note(FindingKind::FileUnreadable, &detail, notes);
                notes.end_message(0, false)?;
                unread.push(row);
            } else {
                let what = if is_there { "no message there" } else { "no file" };
                let detail = format!("message {uid} of the map: {what}");
                spot.note(FindingKind::MessageMissing, &detail, notes);
                notes.end_missing_message()?;
            }
        }
        unread.into_iter().for_each(|row| map.met_mut(row).unread = true);
        Ok(())
    }

    fn check_folder(&mut self, place: &Directory<'_>, notes: &mut Notes<'_>) -> Result<(), Stopped> {
        let index = folder_index(place);
        let is_there = index.is_there();
        let known = if is_there { index.load(&OF_FOLDER, notes)? } else { None };
        begin_folder(place.path, known.as_ref(), 2, notes);
        if !is_there {
            index.note_missing("nobody knows which messages are in it", notes);
        }
        if let Some(census) = notes.census().filter(|_| self.elsewhere) {
            census.leave_unseen();
        }
        match (&known, self.map.is_some()) {
            (Some(known), true) => self.check_references(place, known, notes)?,
            (None, _) | (_, false) => {
                self.uncounted |= is_there && known.is_none();
                if let Some(census) = notes.census() {
                    census.leave_unseen();
                }
            }
        }
        end_folder(&index, known, notes)
    }

    /// Looks at the records of the map that a folder refers to.
    fn check_references(
        &mut self,
        place: &Directory<'_>,
        known: &Table,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let Some(map) = &mut self.map else { return Ok(()) };
        let mut unknown = 0;
        for row in 0..known.len() {
            let map_uid = u32_at(known.cell(0, row), 0);
            let uid = known.uids()[row];
            let Some(at) = map.row(map_uid) else {
                unknown += u64::from(!known.is_asked(uid));
                tell(uid, notes);
                continue;
            };
            let references = &mut map.met_mut(at).references;
            *references += 1;
            let again = *references > 1;
            match (map.gathered(at), notes.census()) {
                (Some(gathered), Some(census)) => {
                    let Gathered { content, file_at, marked } = *gathered;
                    let Content { guid, identity, plain_bytes, offset } = content;
                    let folder = census.folder();
                    let row =
                        Row { folder, guid, identity, plain_bytes, file_at, offset, uid, marked, again };
                    census.add_message(&row);
                    self.apart -= u64::from(!again);
                }
                (None, Some(census)) if map.met(at).unread => census.leave_unread(uid, None),
                (None, Some(census)) => census.tell(uid),
                (_, None) => {}
            }
            let guid = known.cell(1, row);
            if map.met(at).guid.is_some_and(|stored| guid != stored && guid != NO_GUID) {
                notes.begin_message();
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

/// A folder's path as findings show it.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
