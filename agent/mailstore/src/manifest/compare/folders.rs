//! The folders of a baseline: whether they are there and their UIDs mean the same, and what became of a message that is not.

use std::collections::BTreeMap;

use rientro_types::FindingKind;

use crate::manifest::census::{Gathered, Known};
use crate::manifest::record::Place;
use crate::manifest::row::{FolderId, Row};
use crate::verify::Notes;

/// What became of a message that is nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Somebody asked to remove it, or its folder.
    Removed,
    /// It is known to be lost or damaged, and that was told where it was looked for.
    Told,
    /// It could not be read, and that was told where it stands.
    Unread,
    /// It may be where something was told that could not be looked into. What was told may stand for others too.
    Unseen,
    /// It was found to be gone, and nobody had asked for that.
    Vanished,
    /// Its UID is in the index, and what stands under it is another message.
    Replaced,
    /// Its folder is not there.
    WithFolder,
    /// Nothing tells: the logs do not reach back.
    Unknown,
}

/// A folder of the baseline.
struct Folder<'c> {
    then: Place,
    /// As it is; `None` where there is none of its name.
    now: Option<Place>,
    known: Option<&'c Known>,
    /// It was removed through the mail server; what is there is another one of its name.
    removed: bool,
    /// Where it stood could not be looked into.
    hidden: bool,
    /// Messages whose UID is another one, and the first of those: what it was and is.
    renumbered: (u64, Option<(u32, u32)>),
    /// Messages that went by the GUID of one that could not be read.
    excused: BTreeMap<[u8; 16], u64>,
    /// Messages that are gone with the folder.
    gone: u64,
}

impl Folder<'_> {
    /// UIDs mean the same as then.
    fn is_numbered_alike(&self) -> bool {
        self.now.as_ref().is_some_and(|now| {
            now.uidvalidity == self.then.uidvalidity || now.uidvalidity == 0 || self.then.uidvalidity == 0
        })
    }

    fn fate(&mut self, was: &Row) -> Fate {
        if self.removed {
            return Fate::Removed;
        }
        if self.now.is_none() {
            return if self.hidden { Fate::Unseen } else { Fate::WithFolder };
        }
        let Some(known) = self.known else { return Fate::Unknown };
        let has_uid = was.uid != 0 && self.is_numbered_alike();
        if has_uid && known.removals.is_asked(was.uid, &was.guid) {
            Fate::Removed
        } else if has_uid && known.told.contains(&was.uid) {
            Fate::Told
        } else if has_uid && known.unread.0.contains(&was.uid) {
            // Another one may have gone by its GUID.
            let is_counted = known.unread.1.contains_key(&was.guid);
            if !is_counted || self.excuse(known, &was.guid) { Fate::Unread } else { Fate::Unseen }
        } else if self.excuse(known, &was.guid) {
            Fate::Unread
        } else if known.unseen {
            Fate::Unseen
        } else if !has_uid {
            Fate::Unknown
        } else if known.removals.is_vanished(was.uid, &was.guid) {
            Fate::Vanished
        } else if known.index.as_ref().is_some_and(|index| index.row(was.uid).is_some()) {
            Fate::Replaced
        } else {
            Fate::Unknown
        }
    }

    /// Whether one that could not be read has this GUID, for which no other message went yet.
    fn excuse(&mut self, known: &Known, guid: &[u8; 16]) -> bool {
        let Some(unread) = known.unread.1.get(guid) else { return false };
        let excused = self.excused.entry(*guid).or_default();
        *excused += 1;
        *excused <= *unread
    }
}

/// The folders of a baseline.
pub(super) struct Folders<'c>(BTreeMap<FolderId, Folder<'c>>);

impl<'c> Folders<'c> {
    pub(super) fn new(then: Vec<Place>, gathered: &'c Gathered<'_>) -> Self {
        let named = |place: &&Place| !place.name.is_empty();
        let mut now: BTreeMap<_, _> = gathered
            .places
            .iter()
            .filter(named)
            .map(|place| (FolderId::of(&place.name), place.clone()))
            .collect();
        let folder = |then: Place| {
            let id = FolderId::of(&then.name);
            let now = now.remove(&id);
            let is_same = now.as_ref().is_some_and(|now| now.guid == then.guid);
            let removed = !is_same && gathered.removed.contains(&then.guid);
            let known = gathered.indexes.get(&id);
            let hidden = gathered.unseen.hides(&then.path);
            let (renumbered, excused) = ((0, None), BTreeMap::new());
            (id, Folder { then, now, known, removed, hidden, renumbered, excused, gone: 0 })
        };
        Self(then.into_iter().filter(|place| named(&place)).map(folder).collect())
    }

    /// Notes folders whose UIDs mean nothing any more, or whose index is older than the baseline.
    pub(super) fn note_changed(&self, notes: &mut Notes<'_>) {
        for folder in self.0.values().filter(|folder| !folder.removed) {
            let (then, Some(now)) = (&folder.then, &folder.now) else { continue };
            if !folder.is_numbered_alike() {
                let detail = format!(
                    "UIDVALIDITY was {}, is {}: clients fetch all mail of the folder anew",
                    then.uidvalidity, now.uidvalidity
                );
                notes.add(FindingKind::UidChanged, now.path.clone(), detail);
            } else if now.next_uid < then.next_uid && now.next_uid > 0 {
                let detail = format!(
                    "next UID was {}, is {}: older than the baseline, and new mail gets UIDs that were given before",
                    then.next_uid, now.next_uid
                );
                notes.add(FindingKind::IndexStale, now.path.clone(), detail);
            }
        }
    }

    /// Takes note of the UIDs of a message that is in its folder.
    ///
    /// What was moved out and back, or copied again, has a UID that was not given yet; and what it had was given up when somebody asked
    /// for its removal.
    pub(super) fn count_uid(&mut self, was: &Row, is: &Row) {
        let Some(folder) = self.0.get_mut(&was.folder) else { return };
        let is_another = folder.is_numbered_alike() && was.uid != is.uid && was.uid != 0 && is.uid != 0;
        let was_given = is.uid < folder.then.next_uid || folder.then.next_uid == 0;
        let is_asked = folder.known.is_some_and(|known| known.removals.is_asked(was.uid, &was.guid));
        if is_another && was_given && !is_asked {
            folder.renumbered.0 += 1;
            folder.renumbered.1.get_or_insert((was.uid, is.uid));
        }
    }

    /// What became of a message.
    pub(super) fn fate(&mut self, was: &Row) -> Fate {
        let Some(folder) = self.0.get_mut(&was.folder) else { return Fate::Unknown };
        let fate = folder.fate(was);
        folder.gone += u64::from(fate == Fate::WithFolder);
        fate
    }

    /// Notes folders that are gone, with their messages.
    pub(super) fn note_gone(&self, notes: &mut Notes<'_>) {
        for folder in self.0.values().filter(|folder| folder.gone > 0) {
            let detail = format!(
                "{} messages of the baseline; nothing tells whether its owner removed it",
                folder.gone
            );
            notes.add(FindingKind::FolderGone, folder.then.path.clone(), detail);
            // The finding stands for one.
            notes.add_unseen(folder.gone - 1);
        }
    }

    pub(super) fn note_renumbered(&self, notes: &mut Notes<'_>) {
        for folder in self.0.values() {
            if let (count, Some((was, is))) = folder.renumbered {
                let detail = format!("{count} messages have other UIDs; the first was {was}, is {is}");
                let place = folder.now.as_ref().unwrap_or(&folder.then);
                notes.add(FindingKind::UidChanged, place.path.clone(), detail);
            }
        }
    }
}
