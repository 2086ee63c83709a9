//! Dovecot's own formats: sdbox, one file for each message, and mdbox, files of many messages with a map.
//!
//! Folders stand in `mailboxes`, each with its files in a directory `dbox-Mails`. Flags and UIDs are in the folder's index
//! alone, so that an index that is lost or old is damage here. In an mdbox the messages stand in `storage/m.N`; the map, an
//! index of its own, says where each one is and how many folders refer to it, and the folders' indexes refer to the map.
//!
//! Evidence: the frame of each message and the sizes in its metadata, the folders' indexes, the map and its counts of
//! references. What none of these knows, such as a flipped bit in a body, nothing here sees.
//!
//! Messages that were moved to the alternative storage stand there in files and directories of the same names.

mod alternative;
mod attachment;
mod frame;
mod mdbox;
mod message;
mod sdbox;
mod window;

use std::os::fd::AsFd;

use rientro_types::FindingKind;

pub(crate) use mdbox::Mdbox;
pub(crate) use message::{AttachmentRoot, DboxReader};
pub(crate) use sdbox::Sdbox;

use crate::control::Stopped;
use crate::fsys::{self, Entry, Kind, Names};
use crate::index::place::{FOLDER_INDEX, Place, Witness};
use crate::index::table::Table;
use crate::mailbox::{Directory, join};
use crate::manifest::FileOrder;
use crate::verify::Notes;

/// The directory of folders.
const FOLDERS: &[u8] = b"mailboxes";

/// The directory of a folder's files.
const FILES: &[u8] = b"dbox-Mails";

/// The link to the storage that older messages are moved to (`doveadm altmove`).
const ALTERNATIVE: &[u8] = b"dbox-alt-root";

/// Whether this is the link to the alternative storage of a dbox.
pub(crate) fn is_alternative(path: &[u8], name: &[u8]) -> bool {
    path.is_empty() && name == ALTERNATIVE
}

/// Whether the mailbox with this directory of its own is an mdbox.
pub(crate) fn is_mdbox(place: &Directory<'_>) -> bool {
    let names = place.names;
    names.kind(b"storage") == Some(Kind::Directory)
        && (names.kind(b"mailboxes").is_some() || holds_storage(place))
}

/// Whether the mailbox with this directory of its own is an sdbox, or an mdbox that lost its storage.
pub(crate) fn is_sdbox(place: &Directory<'_>) -> bool {
    place.names.kind(b"mailboxes") == Some(Kind::Directory) && place.names.kind(b"storage").is_none()
}

/// Whether its `storage` looks like that of an mdbox: a mailbox may have a folder of this name.
fn holds_storage(place: &Directory<'_>) -> bool {
    let Ok(dir) = fsys::open_dir(place.dir, c"storage") else { return false };
    let mut names = Names::default();
    names.list(dir.as_fd(), 0, &mut Vec::new()).is_ok()
        && names.entries().iter().any(|entry| {
            let name = names.name(entry);
            name.starts_with(b"dovecot.map.index") || numbered(name, b"m.").is_some()
        })
}

/// The index of the folder with this directory of files.
fn folder_index<'a>(place: &Directory<'a>) -> Place<'a> {
    let Directory { dir, path, names, .. } = *place;
    Place { dir, names, path, index: FOLDER_INDEX, witness: Witness::Alone }
}

/// Begins to gather a folder, of which the extension of this number says the GUID.
fn begin_folder(path: &[u8], known: Option<&Table>, extension: usize, notes: &mut Notes<'_>) {
    if let Some(census) = notes.census() {
        let (uidvalidity, next_uid) = known.map_or((0, 0), |known| (known.uidvalidity, known.next_uid));
        census.begin_place(path, FileOrder::Number);
        let header = known.filter(|known| known.has(extension)).map(|known| known.header(extension));
        let guid = header.and_then(|header| header.get(4..20)?.try_into().ok()).unwrap_or_default();
        census.name_folder(folder_name(path), guid, uidvalidity, next_uid);
    }
}

/// Ends the gathering of a folder with what its index knows.
fn end_folder(index: &Place<'_>, known: Option<Table>, notes: &mut Notes<'_>) -> Result<(), Stopped> {
    if notes.census().is_none() {
        return Ok(());
    }
    let removals = index.removals(notes.control)?;
    if let Some(census) = notes.census() {
        census.know(known, removals);
    }
    Ok(())
}

/// A message is lost or damaged, which is told.
fn tell(uid: u32, notes: &mut Notes<'_>) {
    if let Some(census) = notes.census() {
        census.tell(uid);
    }
}

/// A message could not be read, which is told.
fn leave_unread(uid: u32, notes: &mut Notes<'_>) {
    if let Some(census) = notes.census() {
        census.leave_unread(uid, None);
    }
}

/// Name of the folder whose files are in the directory at `path`.
fn folder_name(path: &[u8]) -> &[u8] {
    let name = path.strip_prefix(b"mailboxes/").unwrap_or(path);
    name.strip_suffix(FILES).and_then(|name| name.strip_suffix(b"/")).unwrap_or(name)
}

/// The number in a name such as `u.12`.
fn numbered(name: &[u8], prefix: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    let canonical = !digits.is_empty() && digits.len() <= 10 && digits[0] != b'0';
    let digit = |value: u32, b: &u8| {
        b.is_ascii_digit().then_some(())?;
        value.checked_mul(10)?.checked_add(u32::from(b - b'0'))
    };
    if canonical { digits.iter().try_fold(0, digit) } else { None }
}

/// The files of messages, by the number behind this prefix.
fn files_of<'n>(place: &Directory<'n>, prefix: &[u8]) -> Vec<(u32, &'n Entry)> {
    let entries = place.names.entries().iter().filter(|entry| entry.kind == Kind::File);
    let numbered = entries.filter_map(|entry| Some((numbered(place.names.name(entry), prefix)?, entry)));
    let mut files: Vec<_> = numbered.collect();
    files.sort_unstable_by_key(|(number, _)| *number);
    files
}

/// Notes that a folder's files are gone, where that can be told.
///
/// A folder without files may only hold others, or have held some that were removed since. INBOX always has files and cannot be
/// removed; it is not there before it is first opened, and a folder in it may be made before that.
fn note_lost_files(place: &Directory<'_>, notes: &mut Notes<'_>) {
    let in_folder = place.path.starts_with(b"mailboxes/") && !place.path.ends_with(FILES);
    let is_alone = || place.whole && place.names.entries().iter().all(|entry| entry.kind != Kind::Directory);
    let detail = match place.names.kind(FILES) {
        Some(Kind::File) if in_folder => "a file stands in its place",
        None if place.path == b"mailboxes/INBOX" && is_alone() => "",
        // Links and special files are named where the folder's own entries are looked at.
        Some(Kind::File | Kind::Directory | Kind::Link | Kind::Special) | None => return,
    };
    notes.add(FindingKind::DirectoryMissing, join(place.path, FILES), detail);
}

/// Notes that there is no directory of folders.
fn note_lost_folders(place: &Directory<'_>, notes: &mut Notes<'_>) {
    let detail = match place.names.kind(FOLDERS) {
        Some(Kind::File) => "a file stands in its place",
        None => "",
        Some(Kind::Directory | Kind::Link | Kind::Special) => return,
    };
    notes.add(FindingKind::DirectoryMissing, FOLDERS.to_vec(), detail);
}

/// Whether this is the directory of a folder's files.
fn is_files(path: &[u8]) -> bool {
    path.strip_prefix(b"mailboxes/")
        .and_then(|rest| rest.strip_suffix(FILES))
        .is_some_and(|rest| rest.last() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(numbered(b"u.12", b"u."), Some(12));
        for name in [&b"u."[..], b"u.0", b"u.01", b"u.1x", b"u.4294967296", b"m.1"] {
            assert_eq!(numbered(name, b"u."), None, "{name:?}");
        }
        assert_eq!(folder_name(b"mailboxes/Archive/2020/dbox-Mails"), b"Archive/2020");
        assert!(is_files(b"mailboxes/INBOX/dbox-Mails") && is_files(b"mailboxes/a/b/dbox-Mails"));
        assert!(
            !is_files(b"dbox-Mails")
                && !is_files(b"mailboxes/dbox-Mails")
                && !is_files(b"mailboxes/xdbox-Mails")
        );
    }
}
