//! Maildir as Dovecot and other mail servers write it: names, uidlist, index, keywords, folders, mailboxes.
//!
//! Evidence: the file names themselves, `dovecot-uidlist`, and `dovecot.index` with its log. Lines of expunged mail linger
//! in the uidlist, so a listed message without a file is lost only when the index still knows its UID; where the index is
//! absent or cannot tell, nothing is claimed. A uidlist that was lost or cut off shows by the index alone: where both are gone,
//! nothing does.
//!
//! A directory is a folder when it has `cur`, `new`, a uidlist, `maildirfolder`, or `tmp` beside an index in it, which covers
//! Maildir++ (`.Archive`) as well as nested layouts, and folders of which only that is left.

pub(crate) mod ahead;
mod folder;
mod keywords;
mod listing;
pub(crate) mod message;
mod name;
mod uidlist;

use self::folder::Folder;
use crate::control::Stopped;
use crate::fsys::{Entry, Kind, Names};
use crate::mailbox::{Directory, Format};
use crate::tools::Tools;
use crate::verify::Notes;

/// The format.
pub(crate) struct Maildir;

impl Maildir {
    /// Whether the mailbox with this directory of its own is a Maildir.
    pub(crate) fn is_marked(place: &Directory<'_>) -> bool {
        is_folder(place.names, true)
    }
}

impl Format for Maildir {
    fn look(
        &mut self,
        place: &Directory<'_>,
        tools: &mut Tools,
        notes: &mut Notes<'_>,
    ) -> Result<&'static [&'static [u8]], Stopped> {
        if !is_folder(place.names, place.path.is_empty()) {
            return Ok(&[]);
        }
        Folder::new(place.dir, place.path, place.names).check(tools, notes)?;
        Ok(&[b"cur", b"new", b"tmp"])
    }
}

fn is_folder(names: &Names, root: bool) -> bool {
    let index = |entry: &Entry| matches!(names.name(entry), b"dovecot.index" | b"dovecot.index.log");
    // Indexes alone may be kept apart from their folder, and anyone has a `tmp`.
    let has_index = root || names.entries().iter().any(index);
    names.entries().iter().any(|entry| match names.name(entry) {
        b"cur" | b"new" => matches!(entry.kind, Kind::Directory | Kind::Link),
        b"tmp" => has_index && entry.kind == Kind::Directory,
        b"dovecot-uidlist" | b"maildirfolder" => true,
        _ => false,
    })
}
