//! Comparisons of lists that are made up, against one that looks for each row by itself.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use rientro_types::Digest;

use super::*;
use crate::control::Control;
use crate::manifest::census::{Census, FileOrder};
use crate::manifest::file::Manifest;
use crate::manifest::record::{Content, FileRecord, Stamp};
use crate::manifest::row::FolderId;
use crate::manifest::write::{Part, Target, Writer};
use crate::verify::Depth;

const MAILBOX: &[u8] = b"ex.org/anna";

/// Findings that these mailboxes have.
const TOLD: [FindingKind; 5] = [
    FindingKind::MessageAltered,
    FindingKind::MessageTruncated,
    FindingKind::GuidChanged,
    FindingKind::MessageGone,
    FindingKind::UidChanged,
];

/// Rows are gathered in so little memory that most of them are not in it.
fn room(scratch: &Path) -> Room<'_> {
    Room { scratch, files_bytes: 1 << 10, rows: 7 }
}

fn row(folder: &[u8], guid: u8, content: u8, uid: u32) -> Row {
    Row {
        folder: FolderId::of(folder),
        guid: [guid; 16],
        identity: Digest::of(&[content]),
        plain_bytes: u64::from(content),
        file_at: 0,
        offset: 0,
        uid,
        marked: false,
        again: false,
    }
}

/// Gathers a mailbox of two folders with these messages, all in one file.
fn gathered<'d>(rows: &[Row], room: Room<'d>) -> Gathered<'d> {
    let mut census = Census::new(room, None);
    for folder in [&b"INBOX"[..], b"Sent"] {
        census.begin_place(folder, FileOrder::Maildir);
        census.name_folder(folder, [folder[0]; 16], 77, 0);
    }
    let stamp = Stamp { size_bytes: 9, mtime: (0, 0), ctime: (0, 0), inode: 3 };
    let messages: Vec<Content> = Vec::new();
    census.add_file(&FileRecord { path: b"cur/a".to_vec(), stamp, stored: Digest::ZERO, messages }, 0);
    rows.iter().for_each(|row| census.add_message(row));
    census.finish().unwrap()
}

/// The manifest of a mailbox that was gathered.
fn manifest(gathered: &Gathered<'_>, scratch: &Path) -> Manifest {
    let path = scratch.join("manifest");
    let target = Target { path: &path, previous: None, damaged_too: false, now_ms: 0 };
    let writer = Writer::begin(target).unwrap();
    let entry = writer.put(MAILBOX, gathered, Digest::ZERO, 0).unwrap();
    writer.finish(vec![Part::Written(entry)], b"", None, &BTreeSet::new()).unwrap();
    Manifest::open(&path).unwrap()
}

/// Compares these messages with those; gives how many findings there were of each kind that is told, too.
fn compared(old: &[Row], new: &[Row], room: Room<'_>, control: &Control) -> Result<(Outcome, [u64; 5])> {
    let manifest = manifest(&gathered(old, room), room.scratch);
    let section = Section::find(&manifest, MAILBOX).unwrap();
    let gathered = gathered(new, room);
    let mut kinds = [0; 5];
    let mut count = |findings: Vec<rientro_types::Finding>| {
        for finding in findings {
            let told = TOLD.iter().position(|kind| *kind == finding.kind);
            kinds[told.unwrap()] += 1;
        }
        Ok(())
    };
    let mut notes = Notes::new(Depth::Structure, control, MAILBOX, &mut count);
    let outcome = compare(&section, &gathered, room, &mut notes)?;
    let last = notes.finish().findings;
    count(last).unwrap();
    Ok((outcome, kinds))
}

/// The same by looking for each row by itself.
fn expected(old: &[Row], new: &[Row]) -> (Outcome, [u64; 5]) {
    let (mut old, mut new) = (old.to_vec(), new.to_vec());
    let mut outcome = Outcome::default();
    let (mut kinds, mut met) = ([0; 5], BTreeSet::new());
    let messages: BTreeSet<_> = new.iter().map(|row| (row.file_at, row.offset)).collect();
    let sort = |rows: &mut Vec<Row>, order: Order| rows.sort_by_key(|row| order.encode(row));
    let (mut told, mut renumbered) = (BTreeSet::new(), BTreeSet::new());
    for pass in 0..5 {
        let order = if pass < 3 { Order::Place } else { Order::Content };
        sort(&mut old, order);
        sort(&mut new, order);
        old.retain(|was| {
            let found = new.iter().position(|is| {
                let in_folder = is.folder == was.folder && is.guid == was.guid;
                let (same_uid, same_content) = (is.uid == was.uid, is.identity == was.identity);
                match pass {
                    0 => in_folder && same_content && same_uid,
                    1 => in_folder && same_content,
                    2 => in_folder && was.guid != NO_GUID,
                    3 => same_content && same_uid && is.folder == was.folder && is.uid != 0,
                    _ => same_content,
                }
            });
            let Some(at) = found else { return true };
            let is = new.remove(at);
            met.insert((is.file_at, is.offset));
            if pass < 3 && was.uid != is.uid && was.uid != 0 && is.uid != 0 {
                renumbered.insert(was.folder);
            }
            let found = &mut outcome.comparison;
            match pass {
                0 | 1 => found.intact += 1,
                2 => {
                    let shorter = is.plain_bytes < was.plain_bytes;
                    found.altered += 1;
                    found.truncated += u64::from(shorter);
                    let first = is.offset == 0 || told.insert((is.file_at, is.offset));
                    kinds[usize::from(shorter)] += u64::from(first);
                }
                3 => {
                    found.intact += 1;
                    kinds[2] += 1;
                }
                _ => found.moved += 1,
            }
            false
        });
    }
    kinds[3] = old.len() as u64;
    kinds[4] = renumbered.len() as u64;
    outcome.comparison.gone = old.len() as u64;
    outcome.comparison.new = new.len() as u64;
    let alone = new.iter().filter(|row| row.offset == 0).count();
    let several = messages.iter().filter(|message| message.1 > 0 && !met.contains(message)).count();
    outcome.uncovered = (alone + several) as u64;
    (outcome, kinds)
}

fn folder(number: u8) -> &'static [u8] {
    if number == 0 { b"INBOX" } else { b"Sent" }
}

/// Messages in files of their own: folder, GUID, content, UID.
fn alone() -> impl Strategy<Value = Vec<Row>> {
    let one = (0_u8..2, 0_u8..3, 0_u8..3, 0_u32..4)
        .prop_map(|(f, guid, content, uid)| row(folder(f), guid, content, uid));
    prop::collection::vec(one, 0..40)
}

/// Messages of one file, to each of which any number of folders refers: folder, message, UID.
fn several() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0_u8..2, 0_u8..12, 0_u32..4), 0..40).prop_map(|references| {
        let mut seen = BTreeSet::new();
        let row = |(f, message, uid): (u8, u8, u32)| Row {
            offset: u64::from(message) + 1,
            again: !seen.insert(message),
            ..row(folder(f), message / 4, message % 3, uid)
        };
        references.into_iter().map(row).collect()
    })
}

proptest! {
    #[test]
    fn a_comparison_finds_what_a_search_for_each_finds(
        (old, new) in prop_oneof![(alone(), alone()), (alone(), several()), (several(), several())],
    ) {
        let scratch = tempfile::tempdir().unwrap();
        let (outcome, kinds) = compared(&old, &new, room(scratch.path()), &Control::default()).unwrap();
        let (looked_for, looked_for_kinds) = expected(&old, &new);
        prop_assert_eq!(outcome.comparison, looked_for.comparison);
        prop_assert_eq!(outcome.uncovered, looked_for.uncovered);
        prop_assert_eq!(kinds, looked_for_kinds);
    }
}

/// So many messages of one content.
fn equal(in_folder: &[u8], guid: u8, count: u32, first_uid: u32) -> Vec<Row> {
    (first_uid..).take(count as usize).map(|uid| row(in_folder, guid, 1, uid)).collect()
}

/// What looks for each among all others does not end within the hour.
#[test]
fn equal_messages_are_compared_in_time_that_grows_with_their_number() {
    const COUNT: u32 = 200_000;
    let scratch = tempfile::tempdir().unwrap();
    let room = Room { rows: 10_000, ..room(scratch.path()) };
    let old = equal(b"INBOX", 5, COUNT, 1);
    let count = u64::from(COUNT);
    let found = Comparison::default();
    for (new, found) in [
        (old.clone(), Comparison { intact: count, ..found }),
        (equal(b"INBOX", 5, COUNT, COUNT + 1), Comparison { intact: count, ..found }),
        (equal(b"Sent", 6, COUNT, 1), Comparison { moved: count, ..found }),
    ] {
        let (outcome, _) = compared(&old, &new, room, &Control::default()).unwrap();
        assert_eq!((outcome.comparison, outcome.uncovered), (found, 0));
    }
}

#[test]
fn a_comparison_of_equal_messages_can_be_ended() {
    let scratch = tempfile::tempdir().unwrap();
    let control = Control::default();
    control.cancel();
    let old = equal(b"INBOX", 5, 2 * STEPS_UNHEARD, 1);
    for new in [old.clone(), equal(b"Sent", 6, 2 * STEPS_UNHEARD, 1)] {
        let ended = compared(&old, &new, room(scratch.path()), &control).map(|(outcome, _)| outcome);
        assert!(matches!(ended, Err(Interrupted::Stopped)), "{ended:?}");
    }
}

/// More than are remembered are told again at worst.
#[test]
fn altered_messages_are_told_once_in_however_many_folders() {
    let scratch = tempfile::tempdir().unwrap();
    let rows = |content| {
        let of = |(again, in_folder): (bool, &'static [u8])| {
            (1..=9_u8).map(move |guid| Row {
                offset: guid.into(),
                again,
                ..row(in_folder, guid, content, guid.into())
            })
        };
        [(false, &b"INBOX"[..]), (true, b"Sent")].into_iter().flat_map(of).collect::<Vec<_>>()
    };
    let (outcome, kinds) = compared(&rows(1), &rows(2), room(scratch.path()), &Control::default()).unwrap();
    assert_eq!((outcome.comparison.altered, kinds), (18, [9, 0, 0, 0, 0]));
}
