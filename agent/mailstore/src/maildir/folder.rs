//! One Maildir folder: its three directories, the uidlist and index beside them, and its messages.
//!
//! What is kept of a folder is its names (14 bytes beside each) and, while the uidlist is compared, 4 bytes for each UID of the
//! index: about 90 MiB for a million messages with names of 70 bytes, and a few KiB for a usual folder. The uidlist and all
//! messages are streamed.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rientro_types::FindingKind;
use rustix::io::Errno;

use super::ahead::Ahead;
use super::keywords;
use super::listing::{Listings, folder_name};
use super::message::Message;
use super::name;
use super::uidlist::{Uidlist, UidlistFault};
use crate::control::Stopped;
use crate::faults::{error_name, io_name, open_fault};
use crate::fsys::{self, Entry, Kind, Listed, Names};
use crate::index::place::{FOLDER_INDEX, Place, Witness};
use crate::index::table::{Held, Table};
use crate::mailbox::{self, join};
use crate::manifest::FileOrder;
use crate::tools::Tools;
use crate::verify::{Depth, Notes};

const NEW: u8 = 0;
const CUR: u8 = 1;

/// The directories of messages, by their number in a listing of both.
const PLACES: [&CStr; 2] = [c"new", c"cur"];

/// Files that Dovecot keeps in a folder beside the uidlist.
const KEPT: [&[u8]; 5] = [
    b"dovecot-keywords",
    b"dovecot.index",
    b"dovecot.index.cache",
    b"dovecot.index.log",
    b"dovecot.index.log.2",
];

/// A folder that is being looked at.
pub(crate) struct Folder<'a> {
    dir: BorrowedFd<'a>,
    /// Path inside the mailbox.
    path: &'a [u8],
    /// What stands in the folder itself, sorted.
    names: &'a Names,
    places: [Option<OwnedFd>; 2],
    paths: [Vec<u8>; 2],
    messages: Names,
    /// Not all messages could be listed, so that none can be called missing.
    partial: bool,
}

impl<'a> Folder<'a> {
    pub(crate) fn new(dir: BorrowedFd<'a>, path: &'a [u8], names: &'a Names) -> Self {
        let paths = PLACES.map(|place| join(path, place.to_bytes()));
        Self { dir, path, names, places: [None, None], paths, messages: Names::default(), partial: false }
    }

    /// Looks at the folder.
    pub(crate) fn check(mut self, tools: &mut Tools, notes: &mut Notes<'_>) -> Result<(), Stopped> {
        for number in [NEW, CUR] {
            self.list(number, tools, notes);
        }
        self.messages.sort();
        self.check_tmp(tools, notes);
        let mut listings = Listings::default();
        if notes.depth > Depth::Stat {
            listings = self.check_uids(notes)?;
            self.check_keywords(notes);
            self.check_covered(notes);
        }
        self.check_messages(&listings, tools, notes)
    }

    /// Opens one of the folder's directories; notes when it is missing or does not open.
    fn open(&self, place: &CStr, notes: &mut Notes<'_>) -> Option<OwnedFd> {
        let path = join(self.path, place.to_bytes());
        match self.find(place.to_bytes()) {
            Some(Kind::Directory) => match fsys::open_dir(self.dir, place) {
                Ok(dir) => return Some(dir),
                Err(Errno::NOENT) => notes.add(FindingKind::ChangedWhileRead, path, "vanished"),
                Err(error) => notes.add(FindingKind::DirectoryUnreadable, path, error_name(error)),
            },
            Some(Kind::File) => notes.add(FindingKind::DirectoryMissing, path, "a file stands in its place"),
            // Named where the folder's own entries are looked at.
            Some(Kind::Link | Kind::Special) => {}
            None => notes.add(FindingKind::DirectoryMissing, path, ""),
        }
        None
    }

    fn find(&self, name: &[u8]) -> Option<Kind> {
        self.names.kind(name)
    }

    fn list(&mut self, number: u8, tools: &mut Tools, notes: &mut Notes<'_>) {
        let at = usize::from(number);
        let absent = self.find(PLACES[at].to_bytes()).is_none();
        let Some(dir) = self.open(PLACES[at], notes) else {
            self.partial |= !absent;
            return;
        };
        self.partial |= !list_into(&mut self.messages, &dir, number, &self.paths[at], tools, notes);
        self.places[at] = Some(dir);
    }

    /// Files in `tmp` are deliveries under way or given up: no messages.
    fn check_tmp(&self, tools: &mut Tools, notes: &mut Notes<'_>) {
        let Some(dir) = self.open(c"tmp", notes) else { return };
        let path = join(self.path, b"tmp");
        let mut names = Names::default();
        list_into(&mut names, &dir, 0, &path, tools, notes);
        names.sort();
        for entry in names.entries() {
            mailbox::state(dir.as_fd(), &path, &names, entry, notes);
        }
    }

    /// Compares uidlist, index and files.
    fn check_uids(&self, notes: &mut Notes<'_>) -> Result<Listings, Stopped> {
        let index = Place {
            dir: self.dir,
            names: self.names,
            path: self.path,
            index: FOLDER_INDEX,
            witness: Witness::OfSeveral,
        };
        let known = index.load(&[], notes)?;
        let listings = self.check_uidlist(&index, known.as_ref(), notes)?;
        if notes.census().is_none() {
            return Ok(listings);
        }
        let removals = index.removals(notes.control)?;
        if let Some(census) = notes.census() {
            census.begin_place(self.path, FileOrder::Maildir);
            let Listings { folder, uidvalidity, next_uid, .. } = listings;
            census.name_folder(&folder_name(self.path), folder, uidvalidity, next_uid);
            census.know(known, removals);
            listings.lost.iter().for_each(|uid| census.tell(*uid));
            if self.partial {
                census.leave_unseen();
            }
        }
        Ok(listings)
    }

    fn check_uidlist(
        &self,
        index: &Place<'_>,
        known: Option<&Table>,
        notes: &mut Notes<'_>,
    ) -> Result<Listings, Stopped> {
        match self.find(b"dovecot-uidlist") {
            Some(Kind::File) => self.compare(known, notes),
            Some(kind) => {
                // Links and special files are named where the folder's own entries are looked at.
                if kind == Kind::Directory {
                    let path = join(self.path, b"dovecot-uidlist");
                    notes.add(FindingKind::UidlistMalformed, path, "a directory stands in its place");
                }
                Ok(Listings::default())
            }
            None => {
                if index.is_there() {
                    self.note_missing_uidlist(known, notes);
                }
                Ok(Listings::default())
            }
        }
    }

    /// A folder without a uidlist has no messages, by its files and by its index.
    fn note_missing_uidlist(&self, known: Option<&Table>, notes: &mut Notes<'_>) {
        let files = self.messages.entries().len();
        let held = known.and_then(|index| index.held().not_met()).map_or(0, |(count, _)| count);
        // What came before the folder was ever opened is not listed yet.
        let never_listed = known.is_some_and(|index| index.len() == 0);
        if (files > 0 && !never_listed) || (held > 0 && !self.partial) {
            let detail = format!("{held} in the index, {files} files");
            notes.add(FindingKind::UidlistMissing, join(self.path, b"dovecot-uidlist"), detail);
        }
    }

    /// Looks at the names of the keywords, where there are any.
    fn check_keywords(&self, notes: &mut Notes<'_>) {
        if self.find(b"dovecot-keywords") != Some(Kind::File) {
            return;
        }
        let Some((file, _)) = self.open_beside(c"dovecot-keywords", notes) else { return };
        let path = join(self.path, b"dovecot-keywords");
        match keywords::fault(File::from(file)) {
            Ok(None) => {}
            Ok(Some(fault)) => notes.add(FindingKind::IndexMalformed, path, fault),
            Err(error) => notes.add(FindingKind::FileUnreadable, path, io_name(&error)),
        }
    }

    /// Directories in the place of a file that Dovecot keeps, under which it cannot use the folder. Links and special files are
    /// named where the folder's own entries are looked at.
    fn check_covered(&self, notes: &mut Notes<'_>) {
        for name in KEPT.iter().filter(|name| self.find(name) == Some(Kind::Directory)) {
            notes.add(FindingKind::IndexMalformed, join(self.path, name), "a directory stands in its place");
        }
    }

    fn compare(&self, known: Option<&Table>, notes: &mut Notes<'_>) -> Result<Listings, Stopped> {
        let path = join(self.path, b"dovecot-uidlist");
        let mut listings = Listings::default();
        if notes.census().is_some() {
            listings.gather(self.messages.entries().len());
        }
        let opened = fsys::open_file(self.dir, c"dovecot-uidlist");
        let opened = opened.map(|(file, _)| Uidlist::open(File::from(file)));
        let end = match opened {
            Ok(Ok(mut list)) => {
                let header = list.header();
                (listings.folder, listings.uidvalidity, listings.next_uid) =
                    (header.guid, header.uidvalidity, header.next_uid);
                let known = known.filter(|known| self.same_validity(list.header().uidvalidity, known, notes));
                let mut held = known.map(Table::held);
                let end = self.compare_lines(&mut list, held.as_mut(), &mut listings, notes)?;
                // The header's next UID is no evidence: a list that was cut off still has it.
                if let (Ok(()), Some((count, first))) = (&end, held.and_then(Held::not_met)) {
                    let detail = format!("in the index and not listed: {count}, the first with UID {first}");
                    notes.add(FindingKind::UidlistStale, path.clone(), detail);
                }
                end
            }
            Ok(Err(fault)) => Err(fault),
            Err(error) => {
                notes.add(open_fault(error), path, error_name(error));
                return Ok(listings);
            }
        };
        match end {
            Ok(()) => {}
            Err(UidlistFault::Read(error)) => notes.add(FindingKind::FileUnreadable, path, io_name(&error)),
            Err(fault @ UidlistFault::Malformed { .. }) => {
                notes.add(FindingKind::UidlistMalformed, path, fault.to_string());
            }
        }
        Ok(listings)
    }

    fn same_validity(&self, uidvalidity: u32, known: &Table, notes: &mut Notes<'_>) -> bool {
        if known.uidvalidity == uidvalidity {
            return true;
        }
        // An index that was only just made has none yet.
        if known.uidvalidity != 0 {
            let detail = format!("UIDVALIDITY {}, the uidlist has {uidvalidity}", known.uidvalidity);
            notes.add(FindingKind::IndexMalformed, join(self.path, b"dovecot.index"), detail);
        }
        false
    }

    fn compare_lines<R: Read>(
        &self,
        list: &mut Uidlist<R>,
        mut held: Option<&mut Held<'_>>,
        listings: &mut Listings,
        notes: &mut Notes<'_>,
    ) -> Result<Result<(), UidlistFault>, Stopped> {
        // Deliveries come in the order of their names, so the next line mostly is the next file.
        let mut guess = 0;
        let mut listed = vec![false; self.messages.entries().len()];
        let mut twice = false;
        loop {
            notes.control.checkpoint(0)?;
            let line = match list.next() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(Ok(())),
                Err(fault) => return Ok(Err(fault)),
            };
            let is_held = held.as_mut().map(|held| held.meets(line.uid));
            let is_it = |at: usize| {
                self.messages.entries().get(at).is_some_and(|e| self.messages.stem(e) == line.stem)
            };
            let at = if is_it(guess) { guess } else { self.messages.lower_bound(line.stem) };
            if is_it(at) {
                guess = at + 1;
                if listed[at] && !twice {
                    twice = true;
                    let detail = format!("UID {}: its file has an earlier UID too", line.uid);
                    notes.add(FindingKind::UidlistMalformed, join(self.path, b"dovecot-uidlist"), detail);
                }
                // An expunged file that was put back rightly has a later UID as well.
                listed[at] |= is_held.unwrap_or(true);
                if line.sizes.any() || !name::is_delivered(line.stem) {
                    listings.sizes.insert(at, line.sizes);
                }
                listings.note(at, line.uid, line.guid);
            } else if !self.partial && is_held == Some(true) {
                notes.begin_message();
                let detail = format!("UID {}: in uidlist and index, no file", line.uid);
                notes.add(FindingKind::MessageMissing, join(self.path, line.stem), detail);
                notes.end_missing_message()?;
                listings.tell(line.uid, notes);
            }
        }
    }

    fn open_beside(&self, name: &CStr, notes: &mut Notes<'_>) -> Option<(OwnedFd, fsys::Meta)> {
        match fsys::open_file(self.dir, name) {
            Ok((file, meta)) if meta.kind == Kind::File => return Some((file, meta)),
            Ok(_) => {}
            Err(error) => notes.add(open_fault(error), join(self.path, name.to_bytes()), error_name(error)),
        }
        None
    }

    fn check_messages(
        &self,
        listings: &Listings,
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let entries = self.messages.entries();
        let mut ahead = Ahead::default();
        for (at, entry) in entries.iter().enumerate() {
            if !self.is_message(at, listings) {
                self.check_stray(entry, notes);
                continue;
            }
            let depth = tools.maildir.waits.depth(notes.control);
            ahead.fill(at, depth, entries.len(), |at| self.open_ahead(at, listings));
            self.note_twin(at, notes)?;
            self.check_message(at, listings, ahead.take(at), tools, notes)?;
        }
        Ok(())
    }

    /// Notes when the name before is the same message in the other directory, or with other flags.
    fn note_twin(&self, at: usize, notes: &mut Notes<'_>) -> Result<(), Stopped> {
        let entries = self.messages.entries();
        let entry = &entries[at];
        let before = at.checked_sub(1).map(|before| &entries[before]);
        let is_twin = |e: &&Entry| e.kind == Kind::File && self.messages.stem(e) == self.messages.stem(entry);
        let Some(twin) = before.filter(is_twin) else { return Ok(()) };
        let path = join(&self.paths[usize::from(entry.source)], self.messages.name(entry));
        let place = PLACES[usize::from(twin.source)].to_string_lossy();
        notes.begin_message();
        notes.add(FindingKind::DuplicateName, path, format!("also in {place}"));
        notes.end_remark()
    }

    fn is_message(&self, at: usize, listings: &Listings) -> bool {
        let entry = &self.messages.entries()[at];
        entry.kind == Kind::File
            && (listings.sizes.contains_key(&at) || name::is_delivered(self.messages.stem(entry)))
    }

    fn open_ahead(&self, at: usize, listings: &Listings) -> Option<OwnedFd> {
        let entry = &self.messages.entries()[at];
        if !self.is_message(at, listings) {
            return None;
        }
        let dir = self.places[usize::from(entry.source)].as_ref()?;
        fsys::open_ahead(dir.as_fd(), self.messages.c_name(entry)).ok()
    }

    fn check_stray(&self, entry: &Entry, notes: &mut Notes<'_>) {
        let at = usize::from(entry.source);
        let Some(dir) = &self.places[at] else { return };
        mailbox::state(dir.as_fd(), &self.paths[at], &self.messages, entry, notes);
        if matches!(entry.kind, Kind::File | Kind::Directory) {
            let what = if entry.kind == Kind::File { "no message's name" } else { "a directory" };
            notes.add(FindingKind::StrayFile, join(&self.paths[at], self.messages.name(entry)), what);
        }
    }

    fn check_message(
        &self,
        at: usize,
        listings: &Listings,
        opened: Option<OwnedFd>,
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<(), Stopped> {
        let entry = &self.messages.entries()[at];
        let source = usize::from(entry.source);
        let Some(dir) = &self.places[source] else { return Ok(()) };
        let (name, place) = (self.messages.name(entry), &self.paths[source][..]);
        mailbox::note_name(place, name, notes);
        if notes.depth < Depth::Structure {
            notes.begin_message();
            let stated = mailbox::state_known(dir.as_fd(), place, &self.messages, entry, notes);
            notes.control.checkpoint(0)?;
            return notes.end_message(0, stated);
        }
        if self.is_taken_over(at, dir, listings, notes)? {
            return Ok(());
        }
        let sizes = listings.sizes.get(&at).copied().unwrap_or_default();
        let sizes = name::sizes(self.messages.stem(entry)).or(sizes);
        let message = Message { dir: dir.as_fd(), name: self.messages.c_name(entry), place, sizes };
        let seen = tools.maildir.check(&message, opened, notes)?;
        let stem = self.messages.stem(entry);
        let is_damaged = notes.is_marked();
        match (seen, notes.census()) {
            (Some(seen), Some(census)) => {
                let file = listings.record(at, stem, join(place, name), &seen);
                listings.add(at, stem, &file, Some(&seen), census);
            }
            (None, Some(census)) if is_damaged => census.tell(listings.uid(at)),
            (None, Some(census)) => {
                census.leave_unread(listings.uid(at), Some(listings.guid(at, stem)));
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// Takes over what was known of a file, if nothing of it has changed.
    fn is_taken_over(
        &self,
        at: usize,
        dir: &OwnedFd,
        listings: &Listings,
        notes: &mut Notes<'_>,
    ) -> Result<bool, Stopped> {
        let entry = &self.messages.entries()[at];
        let (name, place) = (self.messages.name(entry), &self.paths[usize::from(entry.source)][..]);
        let Some(census) = notes.census().filter(|census| census.has_previous()) else { return Ok(false) };
        let Ok(meta) = fsys::stat(dir.as_fd(), self.messages.c_name(entry)) else { return Ok(false) };
        let Some(file) = census.unchanged(&join(place, name), &meta) else { return Ok(false) };
        listings.add(at, self.messages.stem(entry), &file, None, census);
        notes.begin_message();
        notes.stated(place, name, &meta);
        notes.control.checkpoint(0)?;
        notes.end_message(0, false)?;
        Ok(true)
    }
}

/// Lists a directory; whether the listing is whole.
fn list_into(
    names: &mut Names,
    dir: &OwnedFd,
    number: u8,
    path: &[u8],
    tools: &mut Tools,
    notes: &mut Notes<'_>,
) -> bool {
    match names.list(dir.as_fd(), number, &mut tools.listing) {
        Ok(Listed::Whole) => return true,
        Ok(Listed::Cut) => {
            notes.add(FindingKind::LimitReached, path.to_vec(), "more entries than are looked at");
        }
        Err(error) => notes.add(FindingKind::DirectoryUnreadable, path.to_vec(), error_name(error)),
    }
    false
}
