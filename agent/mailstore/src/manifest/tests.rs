//! Manifests as they are read: whole ones, and such as somebody made up.

use proptest::prelude::*;
use rientro_types::Digest;

use super::file::{Entry, MARK, Manifest, ManifestError, Totals, ending};
use super::join::RawRows;
use super::record::tests::file;
use super::record::{Content, FileRecord, Place};
use super::row::{FolderId, Order, RawRow, Row};
use super::section::Section;
use super::write::{Before, Target, Writer};

/// The section of a mailbox with two files of three messages, and its entry.
fn section() -> (Vec<u8>, Entry) {
    let files = [file(b"cur/one", 1), file(b"storage/m.1", 2)];
    let (mut bytes, mut rows) = (Vec::new(), Vec::new());
    for file in &files {
        let file_at = bytes.len() as u64;
        file.encode(&mut bytes);
        rows.extend(file.messages.iter().map(|message| row(message, file_at)));
    }
    let files_bytes = bytes.len() as u64;
    rows.sort_unstable();
    bytes.extend(rows.as_flattened());
    let place = Place {
        path: b"cur".to_vec(),
        name: b"INBOX".to_vec(),
        guid: [5; 16],
        uidvalidity: 1,
        next_uid: 9,
        files_at: 0,
        files_bytes,
    };
    let mut places = Vec::new();
    place.encode(&mut places);
    bytes.extend(&places);
    let entry = Entry {
        mailbox: b"ex.org/anna".to_vec(),
        at: MARK.len() as u64,
        files_bytes,
        rows: 3,
        places_bytes: places.len() as u64,
        checksum: Digest::of(&bytes),
        stat_walk: Digest::ZERO,
        root: Digest::ZERO,
        bytes: 0,
        findings: 0,
    };
    (bytes, entry)
}

fn row(message: &Content, file_at: u64) -> RawRow {
    Order::Place.encode(&Row {
        folder: FolderId::of(b"INBOX"),
        guid: message.guid,
        identity: message.identity,
        plain_bytes: message.plain_bytes,
        file_at,
        offset: message.offset,
        uid: 3,
        marked: false,
        again: false,
    })
}

/// Opens a manifest of one section whose checksums are right, whatever is in it.
fn opened(section: &[u8], entry: &Entry) -> Result<Manifest, ManifestError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifest");
    let entries = [Entry { checksum: Digest::of(section), ..entry.clone() }];
    let totals = Totals::of(&entries, b"", 0);
    let directory_at = (MARK.len() + section.len()) as u64;
    let bytes = [&MARK[..], section, &ending(&entries, totals, directory_at)].concat();
    std::fs::write(&path, bytes).unwrap();
    Manifest::open(&path)
}

/// Reads all of a section, up to what does not parse; gives how many files and rows there were.
fn read(manifest: &Manifest) -> (usize, usize) {
    let section = Section::find(manifest, b"ex.org/anna").unwrap();
    assert!(section.is_intact().unwrap());
    let (mut files, mut records, mut rows, mut count) = (section.all_files(), 0, section.rows(), 0);
    while let Ok(Some(FileRecord { .. })) = files.next() {
        records += 1;
    }
    while let Ok(Some(raw)) = rows.next_raw() {
        let row = Order::Place.decode(&raw);
        section.path_at(row.file_at).ok();
        count += 1;
    }
    for place in section.places().unwrap_or_default() {
        let mut files = section.files(&place);
        while let Ok(Some(_)) = files.next() {}
    }
    (records, count)
}

#[test]
fn a_section_is_read_as_it_was_written() {
    let (bytes, entry) = section();
    let manifest = opened(&bytes, &entry).unwrap();
    assert_eq!(read(&manifest), (2, 3));
    let found = Section::find(&manifest, b"ex.org/anna").unwrap();
    assert_eq!(found.places().unwrap()[0].name, b"INBOX");
    assert_eq!(found.path_at(0).unwrap(), b"cur/one");
    assert!(Section::find(&manifest, b"ex.org/berta").is_none());
    let beyond = Entry { rows: u64::MAX, ..entry };
    assert!(matches!(opened(&bytes, &beyond), Err(ManifestError::Malformed { .. })));
}

/// Rows of the first version are in another order.
#[test]
fn a_manifest_of_an_older_version_is_refused() {
    let (bytes, entry) = section();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifest");
    let totals = Totals::of(std::slice::from_ref(&entry), b"", 0);
    let mut ending = ending(&[entry], totals, (MARK.len() + bytes.len()) as u64);
    let trailer = ending.len() - 188;
    ending[trailer..trailer + 4].copy_from_slice(&1_u32.to_le_bytes());
    let checksum = ending.len() - 32;
    let digest = Digest::of(&ending[trailer..checksum]);
    ending[checksum..].copy_from_slice(digest.raw());
    std::fs::write(&path, [&MARK[..], &bytes, &ending].concat()).unwrap();
    let refused = Manifest::open(&path).unwrap_err();
    assert!(matches!(refused, ManifestError::Version { version: 1, .. }), "{refused}");
    assert!(refused.to_string().ends_with("of version 1, which this build does not read"), "{refused}");
}

/// Whatever the checksum says of it.
#[test]
fn a_section_that_does_not_parse_counts_as_damaged() {
    let (mut bytes, entry) = section();
    let places_at = bytes.len() - usize::try_from(entry.places_bytes).unwrap();
    bytes[places_at..places_at + 2].fill(0xff);
    let mut long = bytes.clone();
    long.resize(bytes.len() + (64 << 10), 0);
    let longer = Entry { places_bytes: entry.places_bytes + (64 << 10), ..entry.clone() };
    for (bytes, entry) in [(&bytes, &entry), (&long, &longer)] {
        let (manifest, dir) = (opened(bytes, entry).unwrap(), tempfile::tempdir().unwrap());
        assert!(Section::find(&manifest, b"ex.org/anna").unwrap().is_intact().unwrap());
        let path = dir.path().join("manifest");
        let target = Target { path: &path, previous: Some(&manifest), damaged_too: false, now_ms: 0 };
        let writer = Writer::begin(target).unwrap();
        assert!(matches!(writer.previous(b"ex.org/anna"), Ok(Before::Damaged(_))));
    }
}

proptest! {
    /// Whoever can write a manifest can give it right checksums.
    #[test]
    fn a_crafted_section_does_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in 0_u64..400,
    ) {
        let (mut bytes, mut entry) = section();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        entry.files_bytes = entry.files_bytes.saturating_sub(cut);
        entry.places_bytes += cut.min(300);
        let is_whole = |manifest: &Manifest| {
            Section::find(manifest, b"ex.org/anna").is_some_and(|section| section.is_intact().unwrap_or(false))
        };
        if let Some(manifest) = opened(&bytes, &entry).ok().filter(is_whole) {
            read(&manifest);
        }
    }
}
