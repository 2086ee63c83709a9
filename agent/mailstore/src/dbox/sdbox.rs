//! sdbox: one message in each file `u.<uid>` of a folder.

use rientro_types::FindingKind;
use rustix::io::Errno;

use super::alternative::{Alternative, Moved, without};
use super::frame::FileHeader;
use super::message::{Attachments, DboxFile, DboxReader, Fault};
use super::{
    begin_folder, end_folder, files_of, folder_index, is_files, leave_unread, note_lost_files, tell,
};
use crate::control::Stopped;
use crate::faults::{error_name, open_fault};
use crate::fsys::{self, Entry, Kind, Meta};
use crate::index::table::{Table, Wanted};
use crate::mailbox::{Directory, Format, join};
use crate::manifest::{Census, Content, FileOrder, FileRecord, Row, Stamp};
use crate::tools::Tools;
use crate::verify::{Depth, Notes};

/// The extension by which the index of an mdbox's folder refers to the map, which in an sdbox nothing has; and what an sdbox
/// says of the folder: a count of rebuilds (4 bytes), the folder's GUID (16), flags.
const WANTED: [Wanted; 2] = [
    Wanted { name: "mdbox", record_bytes: 0, header_bytes: 0 },
    Wanted { name: "dbox-hdr", record_bytes: 0, header_bytes: 24 },
];

/// An sdbox at which the walk is.
#[derive(Default)]
pub(crate) struct Sdbox {
    /// Messages that are not in their folder may be there.
    alternative: Alternative,
    /// It was found to be an mdbox.
    is_mdbox: bool,
}

impl Format for Sdbox {
    fn look(
        &mut self,
        place: &Directory<'_>,
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<&'static [&'static [u8]], Stopped> {
        if place.path.is_empty() {
            self.alternative = Alternative::of(place, tools.alternative.as_ref(), notes);
        }
        if notes.depth > Depth::Stat {
            note_lost_files(place, notes);
        }
        if is_files(place.path) {
            let moved = self.alternative.list(place.path, &mut tools.listing, notes);
            if notes.depth > Depth::Stat {
                self.check(place, &moved, tools, notes)?;
            }
        }
        Ok(&[])
    }
}

impl Sdbox {
    fn check(
        &mut self,
        place: &Directory<'_>,
        moved: &Moved,
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let index = folder_index(place);
        let known = index.load(&WANTED, notes)?;
        if known.as_ref().is_some_and(|known| known.has(0)) {
            if !std::mem::replace(&mut self.is_mdbox, true) {
                let detail = "the folders' indexes are those of an mdbox";
                notes.add(FindingKind::DirectoryMissing, b"storage".to_vec(), detail);
            }
            return Ok(());
        }
        let files = files_of(place, b"u.");
        let mut moved_files = moved.directory().map(|place| (files_of(&place, b"u."), place));
        if let Some((moved_files, _)) = &mut moved_files {
            without(moved_files, &files);
        }
        let of_moved = moved_files.iter().flat_map(|(files, _)| files);
        let mut uids: Vec<u32> = files.iter().chain(of_moved).map(|(uid, _)| *uid).collect();
        uids.sort_unstable();
        if !index.is_there() {
            index.note_missing(&format!("{} messages", uids.len()), notes);
        }
        begin_folder(place.path, known.as_ref(), 1, notes);
        if let Some(census) = notes.census().filter(|_| !place.whole || moved.unknown().is_some()) {
            census.leave_unseen();
        }
        if let Some(known) = &known {
            compare(place, known, &uids, moved.unknown(), notes)?;
        }
        let guid = known.as_ref().filter(|known| known.has(1)).map(|known| hex(&known.header(1)[4..20]));
        check_files(place, files, guid.as_deref(), tools, notes)?;
        if let Some((moved_files, place)) = moved_files {
            if let Some(census) = notes.census() {
                census.begin_place(place.path, FileOrder::Number);
            }
            check_files(&place, moved_files, guid.as_deref(), tools, notes)?;
        }
        end_folder(&index, known, notes)
    }
}

/// Reads files of messages in a folder with this GUID, if it is known.
fn check_files(
    place: &Directory<'_>,
    files: Vec<(u32, &Entry)>,
    guid: Option<&str>,
    tools: &mut Tools,
    notes: &mut Notes<'_>,
) -> Result<(), Stopped> {
    for (uid, entry) in files {
        notes.begin_message();
        if notes.depth < Depth::Structure {
            notes.end_message(0, true)?;
        } else if !is_taken_over(place, uid, entry, notes) {
            let suffix = guid.map(|guid| format!("-{guid}-{uid}"));
            let (reader, attachments) = tools.dbox();
            let attachments = match suffix.as_ref() {
                Some(suffix) => attachments.ending_in(suffix.as_bytes()),
                None => Attachments::Unknown(
                    "the GUID of its folder is unknown, by which its attachments are named",
                ),
            };
            let is_gathered = check_file(place, (uid, entry), attachments, reader, notes)?;
            match (is_gathered, notes.is_marked()) {
                (true, _) => {}
                (false, true) => tell(uid, notes),
                (false, false) => leave_unread(uid, notes),
            }
        } else {
            notes.end_message(0, false)?;
        }
    }
    Ok(())
}

/// Compares the index with the files that there are; why one that is not found may be somewhere all the same.
fn compare(
    place: &Directory<'_>,
    known: &Table,
    files: &[u32],
    elsewhere: Option<&str>,
    notes: &mut Notes<'_>,
) -> Result<(), Stopped> {
    let beyond = files.iter().filter(|uid| **uid >= known.next_uid).count();
    if beyond > 0 {
        let detail = format!("next UID {}, {beyond} files beyond", known.next_uid);
        notes.add(FindingKind::IndexStale, join(place.path, b"dovecot.index"), detail);
    }
    let mut files = files.iter().peekable();
    for uid in known.uids() {
        while files.next_if(|file| *file < uid).is_some() {}
        if files.next_if_eq(&uid).is_some() || known.is_asked(*uid) || !place.whole {
            continue;
        }
        notes.begin_message();
        let path = join(place.path, format!("u.{uid}").as_bytes());
        if let Some(why) = elsewhere {
            notes.add(FindingKind::FileUnreadable, path, format!("may have been moved: {why}"));
            notes.end_message(0, false)?;
            leave_unread(*uid, notes);
        } else {
            notes.add(FindingKind::MessageMissing, path, "in the index, no file");
            notes.end_missing_message()?;
            tell(*uid, notes);
        }
    }
    Ok(())
}

/// Takes over what was known of a file, if nothing of it has changed.
fn is_taken_over(place: &Directory<'_>, uid: u32, entry: &Entry, notes: &mut Notes<'_>) -> bool {
    let Some(census) = notes.census().filter(|census| census.has_previous()) else { return false };
    let path = join(place.path, place.names.name(entry));
    let Ok(meta) = fsys::stat(place.dir, place.names.c_name(entry)) else { return false };
    let Some(known) = census.unchanged(&path, &meta) else { return false };
    add(&known, uid, (0, false), census);
    true
}

/// Adds the message of a file, of which so many bytes were read; and whether damage was noted about it.
fn add(file: &FileRecord, uid: u32, (read_bytes, marked): (u64, bool), census: &mut Census<'_>) {
    let file_at = census.add_file(file, read_bytes);
    for Content { guid, identity, plain_bytes, .. } in file.messages.iter().copied() {
        // It fills its file, whose frame is no part of where it is.
        let (folder, offset, again) = (census.folder(), 0, false);
        census.add_message(&Row { folder, guid, identity, plain_bytes, file_at, offset, uid, marked, again });
    }
}

/// Reads a file and notes what is wrong with it; whether its message is gathered.
fn check_file(
    place: &Directory<'_>,
    (uid, entry): (u32, &Entry),
    attachments: Attachments<'_>,
    reader: &mut DboxReader,
    notes: &mut Notes<'_>,
) -> Result<bool, Stopped> {
    let path = join(place.path, place.names.name(entry));
    let (file, meta) = match fsys::open_file(place.dir, place.names.c_name(entry)) {
        Ok((file, meta)) if meta.kind == Kind::File => (file, meta),
        Ok(_) => {
            notes.add(FindingKind::ChangedWhileRead, path, "no longer a regular file");
            return notes.end_message(0, false).map(|()| false);
        }
        Err(error) => {
            notes.add(open_fault(error), path, error_name(error));
            return notes.end_message(0, false).map(|()| false);
        }
    };
    reader.hash(notes);
    let header = match reader.file_header(&file) {
        Ok(Ok(header)) => header,
        broken => return note_broken(broken, meta.size_bytes, path, reader, notes).map(|()| false),
    };
    let dbox =
        DboxFile { file: &file, bytes: meta.size_bytes, path: &path, header, several: false, attachments };
    let stored = reader.check(&dbox, header.bytes as u64, notes)?;
    let mut is_gathered = false;
    let covered = match stored {
        Ok(stored) => {
            if stored.end != dbox.bytes {
                let detail = format!("{} bytes behind the message", dbox.bytes.saturating_sub(stored.end));
                notes.add(FindingKind::FrameMalformed, path.clone(), detail);
            }
            is_gathered = stored.hashes.is_some();
            if let Some(hashes) = stored.hashes {
                let guid = stored.guid.unwrap_or_default();
                let message =
                    Content { guid, identity: hashes.plain, plain_bytes: hashes.plain_bytes, offset: 0 };
                gather(&dbox, &meta, uid, message, reader, notes)?;
            }
            stored.covered
        }
        Err(Fault::Header(what) | Fault::Body(what)) => {
            notes.add(FindingKind::FrameMalformed, path.clone(), what);
            true
        }
        Err(Fault::Unread(error)) => {
            notes.add(open_fault(error), path.clone(), error_name(error));
            false
        }
    };
    notes.end_message(reader.take_read_bytes(), covered).map(|()| is_gathered)
}

/// Notes what is wrong with a file's header.
fn note_broken(
    header: Result<Result<FileHeader, &'static str>, Errno>,
    bytes: u64,
    path: Vec<u8>,
    reader: &mut DboxReader,
    notes: &mut Notes<'_>,
) -> Result<(), Stopped> {
    match header {
        Err(error) => {
            notes.add(FindingKind::FileUnreadable, path, error_name(error));
            notes.end_message(0, false)
        }
        Ok(Err(what)) if bytes > 0 => {
            notes.add(FindingKind::FrameMalformed, path, what);
            notes.end_message(reader.take_read_bytes(), true)
        }
        Ok(Ok(_) | Err(_)) => {
            notes.add(FindingKind::EmptyMessage, path, "");
            notes.end_message(0, true)
        }
    }
}

/// Adds the message that was read.
fn gather(
    dbox: &DboxFile<'_>,
    meta: &Meta,
    uid: u32,
    message: Content,
    reader: &mut DboxReader,
    notes: &mut Notes<'_>,
) -> Result<(), Stopped> {
    let stored = reader.stored_hash(dbox, notes)?;
    let marked = notes.is_marked();
    if let Some(census) = notes.census() {
        let file =
            FileRecord { path: dbox.path.to_vec(), stamp: Stamp::of(meta), stored, messages: vec![message] };
        add(&file, uid, (dbox.bytes, marked), census);
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
