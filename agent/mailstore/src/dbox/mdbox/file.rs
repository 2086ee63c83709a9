//! One file `storage/m.<id>`, read message by message and held against the map.

use std::ffi::CStr;

use rientro_types::FindingKind;
use rustix::io::Errno;

use super::map::{Gathered, OFFSETS_END};
use super::{Mdbox, NO_GUID};
use crate::content::identity::Hashes;
use crate::content::judge::Spot;
use crate::control::{Control, Stopped};
use crate::dbox::frame::{FileHeader, MESSAGE_HEADER_BYTES, find_header};
use crate::dbox::message::{Attachments, DboxFile, DboxReader, Fault, Stored};
use crate::faults::{error_name, open_fault};
use crate::fsys::{self, Kind, Meta};
use crate::mailbox::{Directory, join};
use crate::manifest::{Content, FileRecord, Stamp};
use crate::verify::{Depth, Notes};

/// Most places of a file that are no message and behind which the next one is looked for. Each costs the metadata of the longest
/// kind at most, so all of them eight GiB.
const FAULTS_MAX: u32 = 64 << 10;

/// A file of messages, and the storage that it stands in.
pub(super) struct Found<'a> {
    pub(super) id: u32,
    pub(super) place: &'a Directory<'a>,
    pub(super) name: &'a CStr,
}

/// A file that is being read, and what was met in it.
struct Course<'f> {
    id: u32,
    dbox: DboxFile<'f>,
    /// Messages that the map does not know, and where the first is.
    unmapped: Option<(u64, u64)>,
    /// Places that are no message.
    faults: u32,
}

impl Mdbox {
    /// Reads a file, or states it where nothing is to be read.
    pub(super) fn check_file(
        &mut self,
        found: &Found<'_>,
        attachments: Attachments<'_>,
        reader: &mut DboxReader,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let Found { id, place, name } = *found;
        let path = join(place.path, name.to_bytes());
        let (file, meta) = match fsys::open_file(place.dir, name) {
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
        if let Some(known) = notes.census().and_then(|census| census.unchanged(&path, &meta)) {
            return self.take_over(id, &known, notes);
        }
        reader.hash(notes);
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
        let mut course = Course { id, dbox, unmapped: None, faults: 0 };
        let mut next = match start {
            Some(start) => Some(start),
            None => self.seek(&course, 0, reader, notes)?,
        };
        while let Some(at) = next.filter(|at| *at < bytes.min(OFFSETS_END)) {
            next = self.check_message(&mut course, at, reader, notes)?;
        }
        gather(&course, &meta, reader, notes)?;
        notes.count_bytes(reader.take_read_bytes());
        if let Some((count, first)) = course.unmapped.filter(|_| self.map.is_some()) {
            let detail = format!("{count} messages, the first at {first}");
            notes.add(FindingKind::UnmappedMessage, path, detail);
        }
        Ok(())
    }

    /// Reads what stands at `at`; gives where to go on.
    fn check_message(
        &mut self,
        course: &mut Course<'_>,
        at: u64,
        reader: &mut DboxReader,
        notes: &mut Notes<'_>,
    ) -> Result<Option<u64>, Stopped> {
        let Course { id, dbox, unmapped, faults } = course;
        notes.begin_message();
        let checked = reader.check(dbox, at, notes)?;
        let bytes = reader.take_read_bytes();
        let known = self.knows(*id, at);
        if !known {
            unmapped.get_or_insert((0, at)).0 += 1;
        }
        let spot = || Spot { path: dbox.path.to_vec(), at: Some(at) };
        let (what, behind) = match checked {
            Ok(stored) => {
                self.meet(*id, at, &stored, &spot, notes);
                if let Some(Hashes { plain, plain_bytes, .. }) = stored.hashes {
                    let guid = stored.guid.unwrap_or_default();
                    let content = Content { guid, identity: plain, plain_bytes, offset: at };
                    self.gather_message(*id, content, notes);
                }
                notes.end_message(bytes, stored.covered)?;
                return Ok(Some(stored.end));
            }
            Err(Fault::Unread(error)) => {
                spot().note(open_fault(error), &error_name(error), notes);
                self.leave_unread(*id, at);
                notes.end_message(bytes, false)?;
                return Ok(None);
            }
            Err(Fault::Header(what)) => (what, at + 1),
            Err(Fault::Body(what)) => (what, at + dbox.header.message_header_bytes as u64),
        };
        if known {
            spot().note(FindingKind::FrameMalformed, what, notes);
            self.meet_damaged(*id, at);
            notes.end_message(bytes, true)?;
        } else {
            // What is left of a delivery that was cut short.
            notes.end_remark()?;
            notes.count_bytes(bytes);
        }
        notes.control.checkpoint(bytes)?;
        *faults += 1;
        if *faults > FAULTS_MAX {
            spot().note(FindingKind::LimitReached, "more damaged places than are looked behind", notes);
            self.leave_unread(*id, behind);
            return Ok(None);
        }
        self.seek(course, behind, reader, notes)
    }

    /// Adds a message of the file that is being read.
    fn gather_message(&mut self, id: u32, content: Content, notes: &mut Notes<'_>) {
        let marked = notes.is_marked();
        let Some(census) = notes.census() else { return };
        let file_at = census.next_file_at();
        census.add_content(&content);
        self.apart += 1;
        if let Some(map) = &mut self.map {
            map.gather(id, Gathered { content, file_at, marked });
        }
    }

    /// Takes over what was known of a file that has not changed.
    fn take_over(&mut self, id: u32, file: &FileRecord, notes: &mut Notes<'_>) -> Result<(), Stopped> {
        let file_at = notes.census().map_or(0, |census| census.add_file(file, 0));
        self.apart += file.messages.len() as u64;
        for &content in &file.messages {
            if let Some(map) = &mut self.map
                && let Some(row) = map.find(id, content.offset)
            {
                let met = map.met_mut(row);
                (met.met, met.guid) = (true, Some(content.guid).filter(|guid| *guid != NO_GUID));
                map.gather(id, Gathered { content, file_at, marked: false });
            }
            notes.begin_message();
            notes.end_message(0, false)?;
        }
        Ok(())
    }

    /// Where the next message header stands at or behind `from`; what cannot be read is noted.
    fn seek(
        &mut self,
        course: &Course<'_>,
        from: u64,
        reader: &mut DboxReader,
        notes: &mut Notes<'_>,
    ) -> Result<Option<u64>, Stopped> {
        let error = match find_message(reader, &course.dbox, from, notes.control)? {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let spot = Spot { path: course.dbox.path.to_vec(), at: Some(from) };
        spot.note(open_fault(error), &error_name(error), notes);
        self.leave_unread(course.id, from);
        Ok(None)
    }

    /// Whether the map has a record of what stands at `at`, or there is no map to ask.
    fn knows(&self, id: u32, at: u64) -> bool {
        self.map.as_ref().is_none_or(|map| map.find(id, at).is_some())
    }

    /// Takes note of a message.
    fn meet(&mut self, id: u32, at: u64, stored: &Stored, spot: &dyn Fn() -> Spot, notes: &mut Notes<'_>) {
        let Some(map) = &mut self.map else { return };
        let Some(row) = map.find(id, at) else { return };
        let (mapped, found) = (map.record(row).bytes, stored.end - at);
        if mapped != found {
            let detail = format!("the map has {mapped} bytes, {found} found");
            spot().note(FindingKind::MapMismatch, &detail, notes);
        }
        let met = map.met_mut(row);
        (met.met, met.guid) = (true, stored.guid);
    }

    /// Takes note of a message whose damage was told.
    fn meet_damaged(&mut self, id: u32, at: u64) {
        if let Some(map) = &mut self.map
            && let Some(row) = map.find(id, at)
        {
            map.met_mut(row).met = true;
        }
    }

    /// Nothing is known of the messages of a file from `at` on.
    fn leave_unread(&mut self, id: u32, at: u64) {
        if let Some(map) = &mut self.map {
            map.leave_unread(id, at);
        }
    }

    /// Takes every record that leads into a file for met: nothing was read.
    fn trust_file(&mut self, id: u32, bytes: u64, notes: &mut Notes<'_>) -> Result<(), Stopped> {
        let trusted = self.map.as_mut().map_or(0, |map| map.trust(id, bytes));
        for _ in 0..trusted {
            notes.begin_message();
            notes.end_message(0, true)?;
        }
        Ok(())
    }
}

/// Adds the file that was read, after its messages.
fn gather(
    course: &Course<'_>,
    meta: &Meta,
    reader: &mut DboxReader,
    notes: &mut Notes<'_>,
) -> Result<(), Stopped> {
    if notes.census().is_none() {
        return Ok(());
    }
    let dbox = &course.dbox;
    let stored = reader.stored_hash(dbox, notes)?;
    let (path, stamp) = (dbox.path.to_vec(), Stamp::of(meta));
    if let Some(census) = notes.census() {
        census.end_file(&FileRecord { path, stamp, stored, messages: Vec::new() }, dbox.bytes);
    }
    Ok(())
}

/// Where the next message header stands in a file, at or behind `from`, where a map can say so.
///
/// A file that lost its length to a fault of the storage can be of any length, most of it a hole.
fn find_message(
    reader: &mut DboxReader,
    dbox: &DboxFile<'_>,
    from: u64,
    control: &Control,
) -> Result<Result<Option<u64>, Errno>, Stopped> {
    let mut at = from;
    while at < OFFSETS_END {
        let bytes = match reader.window.at(dbox.file, at, MESSAGE_HEADER_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(found) = find_header(bytes, 0) {
            return Ok(Ok(Some(at + found as u64)));
        }
        if bytes.len() <= MESSAGE_HEADER_BYTES {
            break;
        }
        let passed = (bytes.len() - MESSAGE_HEADER_BYTES + 1) as u64;
        at += passed;
        control.checkpoint(passed)?;
    }
    Ok(Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::OwnedFd;

    /// Looks for a message from this place on in a file that lost its length, so that most of it is a hole.
    fn sought(from: u64, control: &Control) -> Result<Result<Option<u64>, Errno>, Stopped> {
        let (dir, bytes) = (tempfile::tempdir().unwrap(), 1 << 43);
        let hole = File::create_new(dir.path().join("m.1")).unwrap();
        hole.set_len(bytes).unwrap();
        let file = OwnedFd::from(File::open(dir.path().join("m.1")).unwrap());
        let (header, attachments) = (FileHeader::USUAL, Attachments::Unknown(""));
        let dbox = DboxFile { file: &file, bytes, path: b"m.1", header, several: true, attachments };
        find_message(&mut DboxReader::new(), &dbox, from, control)
    }

    #[test]
    fn the_search_for_a_message_stops_and_ends() {
        let control = Control::default();
        assert_eq!(sought(OFFSETS_END - (1 << 20), &control), Ok(Ok(None)), "it ends where no map leads");
        control.cancel();
        assert_eq!(sought(0, &control), Err(Stopped));
    }
}
