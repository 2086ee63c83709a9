//! The log of an index: the changes since its file was written, replayed into a table.
//!
//! A record of which a size byte lacks bit 7 was not committed: the end of what counts. Records of other kinds are passed
//! over. What renumbers messages makes the answer "cannot tell". Updates of an extension are for the one that was introduced
//! last before them; those of a writer that had not seen the extension's reset count no more.

use super::file::{u16_at, u32_at};
use super::table::Table;

/// Size of a log's header.
pub(crate) const HEADER_BYTES: usize = 40;

/// Longest log that is read; Dovecot rotates at 1 MiB, one huge transaction may make it longer.
pub(crate) const LOG_BYTES_MAX: u64 = 16 << 20;

/// Most resets of what is asked for that are followed in one log. Dovecot makes one with each rebuild, and each touches every
/// message.
const RESETS_MAX: u32 = 256;

/// Kinds of record (Dovecot's `mail-transaction-log.h`).
pub(super) const TYPE_MASK: u32 = 0x0fff_ffff;
pub(super) const EXTERNAL: u32 = 0x1000_0000;
const APPEND: u32 = 0x2;
const HEADER_UPDATE: u32 = 0x20;
const EXTENSION_INTRO: u32 = 0x40;
const EXTENSION_RESET: u32 = 0x80;
const EXTENSION_HEADER: u32 = 0x100;
const EXTENSION_RECORD: u32 = 0x200;
const KEYWORD_UPDATE: u32 = 0x400;
const EXTENSION_INCREASE: u32 = 0x1000;
const UID_UPDATE: u32 = 0x4000;
const EXTENSION_HEADER_32: u32 = 0x1_0000;
pub(super) const EXPUNGE: u32 = 0xcd90 | 0x1;
pub(super) const EXPUNGE_GUID: u32 = 0xcd90 | 0x2000;

/// The header of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogHeader {
    pub(crate) index_id: u32,
    pub(crate) seq: u32,
    /// Where the log before this one ended; log 0 when history begins here.
    pub(crate) previous: Position,
    header_bytes: u32,
}

impl LogHeader {
    /// Where the first record begins.
    pub(super) fn end(&self) -> u32 {
        self.header_bytes
    }
}

/// A place in the logs of an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) seq: u32,
    pub(crate) offset: u32,
}

/// Reads the header of a log.
pub(crate) fn header(log: &[u8]) -> Result<LogHeader, &'static str> {
    if log.len() < HEADER_BYTES {
        return Err("log is shorter than its header");
    }
    let header = LogHeader {
        index_id: u32_at(log, 4),
        seq: u32_at(log, 8),
        previous: Position { seq: u32_at(log, 12), offset: u32_at(log, 16) },
        header_bytes: u32::from(u16::from_le_bytes([log[2], log[3]])),
    };
    if log[0] != 1 {
        return Err("log is not of version 1");
    }
    if (header.header_bytes as usize) < HEADER_BYTES || header.header_bytes as usize > log.len() {
        return Err("log header size is out of range");
    }
    if header.index_id == 0 {
        return Err("log is marked corrupt");
    }
    Ok(header)
}

/// Applies the records of `log` from `offset` on to `table`; 0 stands for the first record.
pub(crate) fn replay(
    table: &mut Table,
    log: &[u8],
    header: &LogHeader,
    offset: u32,
) -> Result<(), &'static str> {
    let mut at = offset.max(header.header_bytes) as usize;
    if at > log.len() {
        return Err("index is ahead of its log");
    }
    let mut replay = Replay { table, extension: None, resets: 0, gone: Vec::new() };
    while let Some(record) = record_at(log, at)? {
        replay.apply(record.kind, record.body)?;
        at = record.end as usize;
    }
    replay.table.settle(&mut replay.gone);
    Ok(())
}

/// A record of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'l> {
    pub(super) kind: u32,
    pub(super) body: &'l [u8],
    /// Where the next one begins.
    pub(super) end: u32,
}

/// The records of a log, up to the first one that was not committed or is cut.
pub(super) fn records<'l>(log: &'l [u8], header: &LogHeader) -> impl Iterator<Item = Record<'l>> {
    let mut at = header.header_bytes as usize;
    std::iter::from_fn(move || {
        let record = record_at(log, at).ok()??;
        at = record.end as usize;
        Some(record)
    })
}

/// The record at `at`; `None` at the end of what counts.
fn record_at(log: &[u8], at: usize) -> Result<Option<Record<'_>>, &'static str> {
    let Some(size) = log.get(at..at + 4).and_then(committed_size) else { return Ok(None) };
    if size < 8 || size > log.len() - at {
        return Err("a record of the log is cut");
    }
    let end = u32::try_from(at + size).map_err(|_| "the log is too long")?;
    Ok(Some(Record { kind: u32_at(log, at + 4), body: &log[at + 8..at + size], end }))
}

/// A replay under way.
struct Replay<'t> {
    table: &'t mut Table,
    /// The extension that updates are for; `None` where what was introduced is not to be changed.
    extension: Option<Current>,
    /// Resets of what is asked for.
    resets: u32,
    /// Ranges that were removed.
    gone: Vec<(u32, u32)>,
}

/// The extension that was introduced last.
struct Current {
    /// Its number in the index.
    number: usize,
    record_bytes: usize,
    /// The writer had not seen that it was reset.
    outdated: bool,
}

impl Replay<'_> {
    fn apply(&mut self, kind: u32, body: &[u8]) -> Result<(), &'static str> {
        let external = kind & EXTERNAL != 0;
        match kind & TYPE_MASK {
            APPEND => return self.append(body),
            HEADER_UPDATE => self.update_header(body),
            EXTENSION_INTRO => return self.introduce(body),
            EXTENSION_RESET => self.reset(body),
            EXTENSION_HEADER => self.update_extension(body, 2),
            EXTENSION_HEADER_32 => self.update_extension(body, 4),
            EXTENSION_RECORD => self.update_records(body),
            EXTENSION_INCREASE => return self.increase(body),
            KEYWORD_UPDATE => self.have_keywords(),
            EXPUNGE => self.expunge(body.chunks_exact(8).map(|b| (u32_at(b, 0), u32_at(b, 4))), external),
            EXPUNGE_GUID => {
                self.expunge(body.chunks_exact(20).map(|b| (u32_at(b, 0), u32_at(b, 0))), external);
            }
            UID_UPDATE => {
                self.table.unclear = Some("its log gives messages other UIDs, which is not followed");
            }
            _ => {}
        }
        Ok(())
    }

    fn append(&mut self, body: &[u8]) -> Result<(), &'static str> {
        for record in body.chunks_exact(8) {
            let uid = u32_at(record, 0);
            if self.table.uids().last().is_some_and(|last| uid <= *last) || uid == 0 {
                // An append that the index already holds is seen when the index was written past its own head offset.
                if self.table.row(uid).is_some() {
                    continue;
                }
                return Err("UIDs appended by the log do not ascend");
            }
            self.table.push(uid);
        }
        Ok(())
    }

    fn expunge(&mut self, ranges: impl Iterator<Item = (u32, u32)>, external: bool) {
        if external { self.gone.extend(ranges) } else { self.table.ask(ranges) }
    }

    /// Takes uidvalidity (offset 24) and next UID (offset 28) from writes into the index header.
    fn update_header(&mut self, mut body: &[u8]) {
        while body.len() >= 4 {
            let (at, len) = (usize::from(u16_at(body, 0)), usize::from(u16_at(body, 2)));
            let Some(data) = body.get(4..4 + len) else { return };
            for (field, value) in [(24, &mut self.table.uidvalidity), (28, &mut self.table.next_uid)] {
                if at <= field && field + 4 <= at + len {
                    *value = u32_at(data, field - at);
                }
            }
            body = body.get(4 + len.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }

    /// An extension by its number in the index, or by its name where it may not have one yet.
    fn introduce(&mut self, mut body: &[u8]) -> Result<(), &'static str> {
        const INTRO_BYTES: usize = 20;
        while let Some(intro) = body.get(..INTRO_BYTES) {
            let (id, reset_id) = (u32_at(intro, 0), u32_at(intro, 4));
            let name_bytes = usize::from(u16_at(intro, 18));
            let name = body.get(INTRO_BYTES..INTRO_BYTES + name_bytes).ok_or("an extension's name is cut")?;
            let known = self.table.extensions.iter().position(|extension| extension.name == name);
            let number = match (id, known) {
                (u32::MAX, Some(number)) => Some(number),
                (u32::MAX, None) if name.is_empty() => return Err("an extension without a name"),
                (u32::MAX, None) => self.table.introduce(name, reset_id),
                (id, _) if (id as usize) < self.table.extensions.len() => Some(id as usize),
                _ => {
                    self.table.lose_extensions("its log speaks of an extension that is not there");
                    None
                }
            };
            self.extension = number.map(|number| Current {
                number,
                record_bytes: usize::from(u16_at(intro, 12)),
                outdated: self.table.extensions[number].reset_id != reset_id,
            });
            body = body.get((INTRO_BYTES + name_bytes).next_multiple_of(4)..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// The first keyword makes an extension of their own, which the log introduces nowhere.
    fn have_keywords(&mut self) {
        const KEYWORDS: &[u8] = b"keywords";
        if self.table.extensions.iter().all(|extension| extension.name != KEYWORDS) {
            self.table.introduce(KEYWORDS, 0);
        }
    }

    fn reset(&mut self, body: &[u8]) {
        let Some(current) = &mut self.extension else { return };
        let (reset_id, preserve) = (u32_at(body, 0), body.get(4).is_some_and(|flag| *flag != 0));
        let extension = &mut self.table.extensions[current.number];
        extension.reset_id = reset_id;
        current.outdated = false;
        let Some(column) = extension.column.filter(|_| !preserve) else { return };
        self.resets += 1;
        if self.resets > RESETS_MAX {
            return self.table.lose_extensions("more resets of extensions than are looked at");
        }
        self.table.columns[column].clear();
    }

    /// The wanted column of the extension that was introduced last, and the size of its records.
    fn current(&self) -> Option<(usize, usize)> {
        let current = self.extension.as_ref().filter(|current| !current.outdated)?;
        Some((self.table.extensions[current.number].column?, current.record_bytes))
    }

    /// Writes into an extension's header: place and length, of so many bytes each, and data padded to 4 bytes.
    fn update_extension(&mut self, mut body: &[u8], width: usize) {
        let Some((column, _)) = self.current() else { return };
        let number = |bytes: &[u8], at: usize| match width {
            2 => usize::from(u16_at(bytes, at)),
            _ => u32_at(bytes, at) as usize,
        };
        while body.len() >= 2 * width {
            let (at, len) = (number(body, 0), number(body, width));
            let Some(data) = body[2 * width..].get(..len) else { return };
            self.table.columns[column].set_header(at, data);
            body = body.get((2 * width + len).next_multiple_of(4)..).unwrap_or(&[]);
        }
    }

    fn update_records(&mut self, body: &[u8]) {
        let Some((column, record_bytes)) = self.current() else { return };
        for record in body.chunks((4 + record_bytes).next_multiple_of(4)) {
            let (Some(data), Some(row)) =
                (record.get(4..4 + record_bytes), self.table.row(u32_at(record, 0)))
            else {
                continue;
            };
            self.table.columns[column].set(row, data);
        }
    }

    fn increase(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let Some((column, _)) = self.current() else { return Ok(()) };
        for record in body.chunks_exact(8) {
            if let Some(row) = self.table.row(u32_at(record, 0)) {
                self.table.columns[column].increase(row, u32_at(record, 4).cast_signed())?;
            }
        }
        Ok(())
    }
}

/// The size of a record: 7 bits a byte, big-endian, each byte marked when committed; counted in units of 4 bytes.
fn committed_size(bytes: &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for byte in bytes {
        if byte & 0x80 == 0 {
            return None;
        }
        value = value << 7 | usize::from(byte & 0x7f);
    }
    Some(value << 2)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::index::table::Wanted;
    use proptest::prelude::*;

    /// A log file's header, as Dovecot lays it out.
    pub(crate) fn build_header(index_id: u32, seq: u32, previous_seq: u32) -> Vec<u8> {
        let mut log = vec![1, 3, 40, 0];
        for value in [index_id, seq, previous_seq] {
            log.extend(value.to_le_bytes());
        }
        log.resize(HEADER_BYTES, 0);
        log
    }

    /// Appends a committed record.
    pub(crate) fn push(log: &mut Vec<u8>, kind: u32, body: &[u8]) {
        let size = u32::try_from((8 + body.len()) / 4).unwrap();
        for shift in [21, 14, 7, 0] {
            log.push(0x80 | u8::try_from(size >> shift & 0x7f).unwrap());
        }
        log.extend(kind.to_le_bytes());
        log.extend(body);
    }

    pub(crate) fn push_append(log: &mut Vec<u8>, uids: &[u32]) {
        let body: Vec<u8> = uids.iter().flat_map(|uid| [uid.to_le_bytes(), [0; 4]].concat()).collect();
        push(log, APPEND | EXTERNAL, &body);
    }

    pub(crate) fn push_expunge(log: &mut Vec<u8>, from: u32, to: u32, external: bool) {
        let kind = if external { EXPUNGE | EXTERNAL } else { EXPUNGE };
        push(log, kind, &[from.to_le_bytes(), to.to_le_bytes()].concat());
    }

    pub(crate) fn push_header_update(log: &mut Vec<u8>, at: u16, value: u32) {
        push(
            log,
            HEADER_UPDATE,
            &[&at.to_le_bytes()[..], &4_u16.to_le_bytes(), &value.to_le_bytes()].concat(),
        );
    }

    fn replayed(log: &[u8], offset: u32) -> Result<Table, &'static str> {
        let mut table = Table::keeping(&[REFERENCES]);
        replay(&mut table, log, &header(log)?, offset)?;
        Ok(table)
    }

    const REFERENCES: Wanted = Wanted { name: "ref", record_bytes: 2, header_bytes: 4 };

    fn push_intro(log: &mut Vec<u8>, id: u32, reset_id: u32, name: &[u8]) {
        let mut body = [id, reset_id, 0].map(u32::to_le_bytes).concat();
        body.extend([2, 2, 0, u16::try_from(name.len()).unwrap()].map(u16::to_le_bytes).concat());
        body.extend(name);
        body.resize(body.len().next_multiple_of(4), 0);
        push(log, EXTENSION_INTRO, &body);
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn extensions_are_replayed() {
        let mut log = build_header(5, 1, 0);
        push_append(&mut log, &[1, 2, 3]);
        push_intro(&mut log, u32::MAX, 0, b"cache");
        push(&mut log, EXTENSION_RECORD, &words(&[1, 9]));
        push_intro(&mut log, u32::MAX, 0, b"ref");
        push(&mut log, EXTENSION_RECORD, &words(&[1, 1, 2, 1, 3, 1]));
        push(&mut log, EXTENSION_HEADER, &words(&[0x0002_0001, 0xbbaa]));
        push_intro(&mut log, 1, 0, b"");
        push(&mut log, EXTENSION_INCREASE, &words(&[2, 4, 3, u32::MAX, 77, 1]));
        push_expunge(&mut log, 1, 1, true);
        let table = replayed(&log, 0).unwrap();
        assert_eq!(table.uids(), [2, 3]);
        assert_eq!((table.cell(0, 0), table.cell(0, 1)), (&[5, 0][..], &[0, 0][..]));
        assert_eq!(table.header(0), [0, 0xaa, 0xbb, 0]);

        // Another writer resets the extension; one that has not seen it changes nothing.
        push(&mut log, EXTENSION_RESET, &words(&[7, 0]));
        push(&mut log, EXTENSION_RECORD, &words(&[2, 8]));
        push_intro(&mut log, 1, 0, b"");
        push(&mut log, EXTENSION_RECORD, &words(&[3, 9]));
        let table = replayed(&log, 0).unwrap();
        assert_eq!(
            (table.cell(0, 0), table.cell(0, 1), table.header(0)),
            (&[8, 0][..], &[0, 0][..], &[0; 4][..])
        );

        let mut later = log.clone();
        push_intro(&mut later, 5, 0, b"");
        assert!(replayed(&later, 0).unwrap().unclear.is_some(), "an extension that is not there");
        let mut nothing_wanted = Table::default();
        replay(&mut nothing_wanted, &later, &header(&later).unwrap(), 0).unwrap();
        assert_eq!(nothing_wanted.unclear, None);

        // A keyword makes an extension that is introduced nowhere, and takes the next number.
        push(&mut log, KEYWORD_UPDATE, &[0; 12]);
        push_intro(&mut log, u32::MAX, 0, b"late");
        push_intro(&mut log, 3, 0, b"");
        let table = replayed(&log, 0).unwrap();
        let names: Vec<_> = table.extensions.iter().map(|extension| &extension.name[..]).collect();
        assert_eq!((names, table.unclear), (vec![&b"cache"[..], b"ref", b"keywords", b"late"], None));
    }

    /// However much a log introduces and resets, no more is looked at than what Dovecot could have written.
    #[test]
    fn extensions_and_resets_are_bounded() {
        let mut log = build_header(5, 1, 0);
        let body: Vec<u8> = (0..500_000_u32)
            .flat_map(|name| {
                let fixed = [u32::MAX, 0, 0, 0x0002_0002, 0x0004_0000].map(u32::to_le_bytes).concat();
                [fixed, name.to_le_bytes().to_vec()].concat()
            })
            .collect();
        push(&mut log, EXTENSION_INTRO, &body);
        assert!(replayed(&log, 0).unwrap().unclear.is_some());
        let mut nothing_wanted = Table::default();
        replay(&mut nothing_wanted, &log, &header(&log).unwrap(), 0).unwrap();
        assert_eq!((nothing_wanted.extensions.len(), nothing_wanted.unclear), (0, None));

        let mut log = build_header(5, 1, 0);
        push_append(&mut log, &(1..=100_000).collect::<Vec<_>>());
        push_intro(&mut log, u32::MAX, 0, b"ref");
        (0..RESETS_MAX).for_each(|id| push(&mut log, EXTENSION_RESET, &words(&[id, 0])));
        assert_eq!(replayed(&log, 0).unwrap().unclear, None);
        (0..500_000).for_each(|id| push(&mut log, EXTENSION_RESET, &words(&[id, 0])));
        assert!(replayed(&log, 0).unwrap().unclear.is_some());
    }

    #[test]
    fn appends_and_expunges_are_replayed() {
        let mut log = build_header(5, 1, 0);
        push_header_update(&mut log, 24, 77);
        push_append(&mut log, &[1, 2, 3, 4, 5]);
        push_expunge(&mut log, 2, 3, true);
        push_expunge(&mut log, 5, 5, false);
        push(&mut log, EXPUNGE_GUID | EXTERNAL, &[&4_u32.to_le_bytes()[..], &[0; 16]].concat());
        let state = replayed(&log, 0).unwrap();
        assert_eq!((state.uids(), state.uidvalidity, state.next_uid), (&[1, 5][..], 77, 6));
        let mut held = state.held();
        assert_eq!([1, 2, 5, 6].map(|uid| held.meets(uid)), [true, false, false, false]);
        assert_eq!((held.not_met(), state.held().not_met(), state.len()), (None, Some((1, 1)), 2));
        push(&mut log, UID_UPDATE, &[0; 8]);
        assert!(replayed(&log, 0).unwrap().unclear.is_some());
    }

    #[test]
    fn an_uncommitted_end_is_no_damage_and_a_cut_one_is() {
        let mut log = build_header(5, 1, 0);
        push_append(&mut log, &[1]);
        let whole = log.len();
        push_append(&mut log, &[2]);
        assert_eq!(replayed(&log[..log.len() - 3], 0), Err("a record of the log is cut"));
        log[whole] &= 0x7f;
        assert_eq!(replayed(&log, 0).unwrap().uids(), [1]);
        assert!(replayed(&log, 10_000).is_err());
    }

    #[test]
    fn bad_headers_are_named() {
        assert!(header(&[]).is_err() && header(&[0; 40]).is_err());
        assert!(header(&build_header(0, 1, 0)).is_err());
        assert_eq!(header(&build_header(5, 2, 1)).unwrap().previous.seq, 1);
    }

    proptest! {
        #[test]
        fn noise_does_no_harm(kinds in prop::collection::vec((prop::sample::select(vec![APPEND, HEADER_UPDATE, EXPUNGE, EXPUNGE_GUID, EXTENSION_INTRO, EXTENSION_RESET, EXTENSION_HEADER, EXTENSION_HEADER_32, EXTENSION_RECORD, EXTENSION_INCREASE, 0x9999]), prop::collection::vec(prop_oneof![Just(0), Just(1), Just(255), any::<u8>()], 0..16), any::<bool>()), 0..10), cut in any::<prop::sample::Index>(), offset in 0_u32..400, raw in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut log = build_header(5, 1, 0);
            for (kind, words, external) in kinds {
                let body: Vec<u8> = words.iter().flat_map(|w| [*w, 0, 0, 0]).collect();
                push(&mut log, if external { kind | EXTERNAL } else { kind }, &body);
            }
            replayed(&log, offset).ok();
            log.truncate(40 + cut.index(log.len() - 39));
            replayed(&log, 0).ok();
            log.truncate(40);
            log.extend(raw);
            replayed(&log, 0).ok();
        }
    }
}
