//! The journal's bytes.
//!
//! An entry is hashed and kept for ever, so its encoding is *one*: fields in the order of their numbers, maps in the order of
//! their keys, defaults left out. A decoder encodes again what it has read and compares. That is how a field of a later version
//! (which a protobuf decoder would silently drop), a second spelling of a number, or bytes after the end are found: the reader
//! stops with an error, and nothing is ever skipped.

use prost::Message;
use rientro_types::{Entry, SnapshotRecord};

use crate::convert::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::limits::{DECISIONS_PER_ENTRY_MAX, JOURNAL_ENTRY_BYTES_MAX};
use crate::v1;

/// Version of the format of entries and snapshot records. It counts from the first release on; nothing is promised about
/// what builds before that wrote.
pub const JOURNAL_FORMAT: u32 = 1;

/// The bytes of an entry. Equal entries have equal bytes, in every build.
///
/// The caller keeps the result within [`JOURNAL_ENTRY_BYTES_MAX`] by splitting what it appends.
///
/// # Panics
/// In debug builds, when the entry has no record or breaks a bound of `rientro-types`: it could not be read again.
#[must_use]
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    let message = v1::JournalEntry::from(entry.clone());
    debug_assert_eq!(
        Entry::try_from(message.clone()).as_ref(),
        Ok(entry),
        "an entry out of bounds cannot be read again"
    );
    message.encode_to_vec()
}

/// The entry of these bytes.
///
/// # Errors
/// [`ConvertError`] when the bytes are none, are over [`JOURNAL_ENTRY_BYTES_MAX`], or hold anything this version does not know.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, ConvertError> {
    let message: v1::JournalEntry = decode(bytes)?;
    check_format(message.format)?;
    let entry = Entry::try_from(message)?;
    check_canonical(&v1::JournalEntry::from(entry.clone()), bytes)?;
    Ok(entry)
}

/// The bytes of a snapshot record. Equal records have equal bytes, in every build.
///
/// # Panics
/// As [`encode_entry`].
#[must_use]
pub fn encode_snapshot_record(record: &SnapshotRecord) -> Vec<u8> {
    let message = v1::SnapshotRecord::from(record.clone());
    debug_assert_eq!(
        SnapshotRecord::try_from(message.clone()).as_ref(),
        Ok(record),
        "a snapshot record out of bounds cannot be read again"
    );
    message.encode_to_vec()
}

/// The snapshot record of these bytes.
///
/// # Errors
/// As [`decode_entry`].
pub fn decode_snapshot_record(bytes: &[u8]) -> Result<SnapshotRecord, ConvertError> {
    let message: v1::SnapshotRecord = decode(bytes)?;
    check_format(message.format)?;
    let record = SnapshotRecord::try_from(message)?;
    check_canonical(&v1::SnapshotRecord::from(record.clone()), bytes)?;
    Ok(record)
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, ConvertError> {
    if bytes.len() > JOURNAL_ENTRY_BYTES_MAX {
        return Err(Problem::TooLong { bytes: bytes.len(), max: JOURNAL_ENTRY_BYTES_MAX }.into());
    }
    M::decode(bytes).map_err(|error| Problem::Undecodable(error).into())
}

fn check_format(format: u32) -> Result<(), ConvertError> {
    if format == JOURNAL_FORMAT { Ok(()) } else { Err(Problem::FormatUnknown(format)).inside("format") }
}

/// Compares what was read with what it would be written as: from the words, so that a set listed in another order is found too.
fn check_canonical<M: Message>(message: &M, bytes: &[u8]) -> Result<(), ConvertError> {
    let same = message.encoded_len() == bytes.len() && message.encode_to_vec() == bytes;
    if same { Ok(()) } else { Err(Problem::NotCanonical.into()) }
}

impl From<Entry> for v1::JournalEntry {
    fn from(entry: Entry) -> Self {
        let Entry { seq, epoch, at, previous, decisions } = entry;
        Self {
            format: JOURNAL_FORMAT,
            seq: seq.put(),
            epoch: epoch.put(),
            at_unix_ms: at.put(),
            previous: previous.put(),
            decisions: decisions.put(),
        }
    }
}

impl TryFrom<v1::JournalEntry> for Entry {
    type Error = ConvertError;
    fn try_from(message: v1::JournalEntry) -> Result<Self, ConvertError> {
        let v1::JournalEntry { format, seq, epoch, at_unix_ms, previous, decisions } = message;
        check_format(format)?;
        Ok(Self {
            seq: Take::take(seq).inside("seq")?,
            epoch: Take::take(epoch).inside("epoch")?,
            at: Take::take(at_unix_ms).inside("at_unix_ms")?,
            previous: Take::take(previous).inside("previous")?,
            decisions: TakeWithin::take_within(decisions, &(1..=DECISIONS_PER_ENTRY_MAX))
                .inside("decisions")?,
        })
    }
}

part!(v1::JournalEntry => Entry);

impl From<SnapshotRecord> for v1::SnapshotRecord {
    fn from(record: SnapshotRecord) -> Self {
        use v1::snapshot_record::Record;
        let record = match record {
            SnapshotRecord::Cell(cell) => Record::Cell(cell.into()),
            SnapshotRecord::Node(node) => Record::Node(node.into()),
            SnapshotRecord::Campaign(campaign) => Record::Campaign((*campaign).into()),
            SnapshotRecord::Shard(shard) => Record::Shard((*shard).into()),
        };
        Self { format: JOURNAL_FORMAT, record: Some(record) }
    }
}

impl TryFrom<v1::SnapshotRecord> for SnapshotRecord {
    type Error = ConvertError;
    fn try_from(message: v1::SnapshotRecord) -> Result<Self, ConvertError> {
        use v1::snapshot_record::Record;
        check_format(message.format)?;
        match message.record.ok_or(Problem::VariantUnknown)? {
            Record::Cell(cell) => Take::take(cell).inside("cell").map(Self::Cell),
            Record::Node(node) => Take::take(node).inside("node").map(Self::Node),
            Record::Campaign(campaign) => Take::take(campaign).inside("campaign").map(Self::Campaign),
            Record::Shard(shard) => Take::take(shard).inside("shard").map(Self::Shard),
        }
    }
}
