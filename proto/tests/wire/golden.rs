//! Bytes of the journal, format 1: they never change, and are read as what they meant.
//!
//! A line of the golden file is the name of a kind of record and the bytes of its fixed entry. A record added to a format that
//! is in use goes into the next format, with a golden file of its own. `RIENTRO_GOLDEN=write` writes the file anew while
//! a format is not yet in use anywhere.

use crate::fixtures;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::discriminant;
use std::path::PathBuf;
use std::sync::LazyLock;

use prost::Message;
use rientro_types::{FindingKind, FindingKinds, Selector};
use rientro_wire::codec::{decode_entry, decode_snapshot_record, encode_entry, encode_snapshot_record};
use rientro_wire::{Problem, v1};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal-1.txt")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn encoded() -> BTreeMap<&'static str, Vec<u8>> {
    let records = fixtures::records();
    let entries = records.into_iter().map(|(name, record)| (name, encode_entry(&fixtures::entry(record))));
    let snapshots = fixtures::snapshots();
    let snapshots = snapshots.into_iter().map(|(name, record)| (name, encode_snapshot_record(&record)));
    entries.chain(snapshots).collect()
}

/// The golden file, written anew first where that is asked for: whichever test comes first writes it for all.
static GOLDEN: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    if std::env::var_os("RIENTRO_GOLDEN").is_some_and(|mode| mode == "write") {
        let lines = encoded().into_iter().map(|(name, bytes)| format!("{name} {}\n", hex(&bytes)));
        std::fs::write(path(), lines.collect::<String>()).unwrap();
    }
    let golden = std::fs::read_to_string(path()).expect("the golden file is in the tree");
    let lines = golden.lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(name, bytes)| (name.to_owned(), bytes.to_owned())).collect()
});

#[test]
fn bytes_stay_the_same() {
    let encoded = encoded();
    assert_eq!(GOLDEN.keys().collect::<Vec<_>>(), encoded.keys().collect::<Vec<_>>());
    for (name, bytes) in &encoded {
        assert_eq!(hex(bytes), GOLDEN[*name], "{name} is written differently");
    }
}

#[test]
fn golden_bytes_mean_what_they_meant() {
    for (name, record) in fixtures::records() {
        assert_eq!(decode_entry(&unhex(&GOLDEN[name])), Ok(fixtures::entry(record)), "{name}");
    }
    for (name, record) in fixtures::snapshots() {
        assert_eq!(decode_snapshot_record(&unhex(&GOLDEN[name])), Ok(record), "{name}");
    }
}

/// Every kind of record on the wire has a fixture, and so a line in the golden file.
#[test]
fn every_kind_is_covered() {
    let on_the_wire = |tag: &u32| {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(*tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
        bytes.push(0);
        v1::Record::decode(bytes.as_slice()).is_ok_and(|message| message.record.is_some())
    };
    let kinds: Vec<_> = (1..1_000).filter(on_the_wire).collect();
    let mut covered: Vec<_> = Vec::new();
    for (name, record) in fixtures::records() {
        assert!(!covered.contains(&discriminant(&record)), "{name} has two fixtures");
        covered.push(discriminant(&record));
    }
    assert_eq!(covered.len(), kinds.len(), "tags on the wire: {kinds:?}");
}

/// What a later version wrote stops the reader: a format, a record, a field, or a second spelling of the same.
#[test]
fn nothing_unknown_is_skipped() {
    let bytes = encode_entry(&fixtures::entry(rientro_types::Record::ClockMarked));
    assert_eq!(bytes[..2], [0x08, 0x01], "the format comes first");

    let mut later_format = bytes.clone();
    later_format[1] = 2;
    let error = decode_entry(&later_format).unwrap_err();
    assert_eq!((error.field.as_str(), error.problem), ("format", Problem::FormatUnknown(2)));

    let mut later_record = v1::JournalEntry::decode(bytes.as_slice()).unwrap();
    later_record.decisions[0].record = Some(v1::Record { record: None });
    let error = decode_entry(&later_record.encode_to_vec()).unwrap_err();
    assert_eq!((error.field.as_str(), error.problem), ("decisions[0].record", Problem::VariantUnknown));

    let mut later_field = bytes.clone();
    later_field.extend([0x98, 0x06, 0x01]);
    assert_eq!(decode_entry(&later_field).unwrap_err().problem, Problem::NotCanonical);

    let mut spelled_out = vec![0x08, 0x81, 0x00];
    spelled_out.extend(&bytes[2..]);
    assert_eq!(decode_entry(&spelled_out).unwrap_err().problem, Problem::NotCanonical);
}

/// A set is written in one order; the same set in another order has another digest, so it is no entry of this journal.
#[test]
fn a_set_in_another_order_is_refused() {
    use v1::record::Record;
    let mut findings = FindingKinds::NONE;
    findings.insert(FindingKind::ZeroBlock);
    findings.insert(FindingKind::SizeMismatch);
    let retried = rientro_types::Record::Retried { selector: Selector { findings, ..Selector::default() } };
    let mut message = v1::JournalEntry::decode(encode_entry(&fixtures::entry(retried)).as_slice()).unwrap();
    let Some(v1::Record { record: Some(Record::Retried(record)) }) = &mut message.decisions[0].record else {
        panic!("it was a retry");
    };
    record.selector.as_mut().unwrap().findings.reverse();
    assert_eq!(decode_entry(&message.encode_to_vec()).unwrap_err().problem, Problem::NotCanonical);
}
