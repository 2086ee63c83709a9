//! `dovecot.index.log`: the changes since the index was written, replayed for the UIDs that exist.
//!
//! A record of which a size byte lacks bit 7 was not committed: the end of what counts. Records of other kinds are passed
//! over. What renumbers messages makes the answer "cannot tell".

use super::index::{Index, u32_at};

/// Size of a log's header.
pub(crate) const HEADER_BYTES: usize = 40;

/// Longest log that is read; Dovecot rotates at 1 MiB, one huge transaction may make it longer.
pub(crate) const LOG_BYTES_MAX: u64 = 16 << 20;

const TYPE_MASK: u32 = 0x0fff_ffff;
const EXTERNAL: u32 = 0x1000_0000;
const APPEND: u32 = 0x2;
const HEADER_UPDATE: u32 = 0x20;
const UID_UPDATE: u32 = 0x1_0000;
const EXPUNGE: u32 = 0xcd90 | 0x1;
const EXPUNGE_GUID: u32 = 0xcd90 | 0x2000;

/// The header of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogHeader {
    pub(crate) index_id: u32,
    pub(crate) seq: u32,
    /// Where the log before this one ended; log 0 when history begins here.
    pub(crate) previous: Position,
    header_bytes: u32,
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

/// UIDs after a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) uidvalidity: u32,
    pub(crate) next_uid: u32,
    /// UIDs that exist, ascending.
    uids: Vec<u32>,
    /// Ranges whose expunge was asked for and may or may not have happened; after a replay ascending, none touching another.
    asked: Vec<(u32, u32)>,
    /// The replay met something after which UIDs cannot be told.
    pub(crate) unclear: bool,
}

impl From<Index> for Replayed {
    fn from(index: Index) -> Self {
        let Index { uidvalidity, next_uid, uids, index_id: _, log_seq: _, log_head_offset: _ } = index;
        Self { uidvalidity, next_uid, uids, asked: Vec::new(), unclear: false }
    }
}

impl Replayed {
    /// The messages that exist and that nobody asked to remove, to be met in the order of their UIDs.
    pub(crate) fn held(&self) -> Held<'_> {
        Held { known: self, at: 0, passed: 0, first: None }
    }

    fn is_asked(&self, uid: u32) -> bool {
        let begun = self.asked.partition_point(|(first, _)| *first <= uid);
        begun.checked_sub(1).is_some_and(|at| uid <= self.asked[at].1)
    }

    /// How many messages exist.
    pub(crate) fn len(&self) -> usize {
        self.uids.len()
    }

    /// Applies the records of `log` from `offset` on; 0 stands for the first record.
    pub(crate) fn replay(&mut self, log: &[u8], header: &LogHeader, offset: u32) -> Result<(), &'static str> {
        let mut at = offset.max(header.header_bytes) as usize;
        if at > log.len() {
            return Err("index is ahead of its log");
        }
        let mut gone = Vec::new();
        while at < log.len() {
            let Some(size) = log.get(at..at + 4).and_then(committed_size) else { break };
            if size < 8 || size > log.len() - at {
                return Err("a record of the log is cut");
            }
            let kind = u32_at(log, at + 4);
            self.apply(kind, &log[at + 8..at + size], &mut gone)?;
            at += size;
        }
        self.remove(&mut gone);
        self.asked = merged(std::mem::take(&mut self.asked));
        Ok(())
    }

    fn apply(&mut self, kind: u32, body: &[u8], gone: &mut Vec<(u32, u32)>) -> Result<(), &'static str> {
        let external = kind & EXTERNAL != 0;
        match kind & TYPE_MASK {
            APPEND => return self.append(body),
            HEADER_UPDATE => self.header_update(body),
            EXPUNGE => {
                let ranges = body.chunks_exact(8).map(|b| (u32_at(b, 0), u32_at(b, 4)));
                if external { gone.extend(ranges) } else { self.asked.extend(ranges) }
            }
            EXPUNGE_GUID => {
                let uids = body.chunks_exact(20).map(|b| (u32_at(b, 0), u32_at(b, 0)));
                if external { gone.extend(uids) } else { self.asked.extend(uids) }
            }
            UID_UPDATE => self.unclear = true,
            _ => {}
        }
        Ok(())
    }

    fn append(&mut self, body: &[u8]) -> Result<(), &'static str> {
        for record in body.chunks_exact(8) {
            let uid = u32_at(record, 0);
            if self.uids.last().is_some_and(|last| uid <= *last) || uid == 0 {
                // An append that the index already holds is seen when the index was written past its own head offset.
                if self.uids.binary_search(&uid).is_ok() {
                    continue;
                }
                return Err("UIDs appended by the log do not ascend");
            }
            self.uids.push(uid);
            self.next_uid = self.next_uid.max(uid.saturating_add(1));
        }
        Ok(())
    }

    /// Takes uidvalidity (offset 24) and next UID (offset 28) from writes into the index header.
    fn header_update(&mut self, mut body: &[u8]) {
        while body.len() >= 4 {
            let at = usize::from(u16::from_le_bytes([body[0], body[1]]));
            let len = usize::from(u16::from_le_bytes([body[2], body[3]]));
            let Some(data) = body.get(4..4 + len) else { return };
            for (field, value) in [(24, &mut self.uidvalidity), (28, &mut self.next_uid)] {
                if at <= field && field + 4 <= at + len {
                    *value = u32_at(data, field - at);
                }
            }
            body = body.get(4 + len.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }

    fn remove(&mut self, gone: &mut [(u32, u32)]) {
        gone.sort_unstable();
        let (mut at, mut reach) = (0, 0);
        self.uids.retain(|uid| {
            while at < gone.len() && gone[at].0 <= *uid {
                reach = reach.max(gone[at].1);
                at += 1;
            }
            *uid > reach
        });
    }
}

/// Messages of an index that a uidlist is held against, line by line.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    known: &'a Replayed,
    at: usize,
    /// Messages that were passed over, and the first of their UIDs.
    passed: usize,
    first: Option<u32>,
}

impl Held<'_> {
    /// Whether there is a message of this UID, which is above all that were asked for before. Those between are passed over.
    pub(crate) fn meets(&mut self, uid: u32) -> bool {
        while self.next().is_some_and(|next| next < uid) {
            self.pass();
        }
        let met = self.next() == Some(uid);
        self.at += usize::from(met);
        met && !self.known.is_asked(uid)
    }

    /// How many were not met, and the first UID of them.
    pub(crate) fn not_met(mut self) -> Option<(usize, u32)> {
        while self.next().is_some() {
            self.pass();
        }
        self.first.map(|first| (self.passed, first))
    }

    fn next(&self) -> Option<u32> {
        self.known.uids.get(self.at).copied()
    }

    fn pass(&mut self) {
        let uid = self.known.uids[self.at];
        self.at += 1;
        if !self.known.is_asked(uid) {
            self.passed += 1;
            self.first.get_or_insert(uid);
        }
    }
}

/// The same UIDs in ascending ranges of which none touches another.
fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.retain(|(first, last)| first <= last);
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let touches = next.0 <= kept.1.saturating_add(1);
        if touches {
            kept.1 = kept.1.max(next.1);
        }
        touches
    });
    ranges
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

    fn replayed(log: &[u8], base: Replayed, offset: u32) -> Result<Replayed, &'static str> {
        let mut state = base;
        state.replay(log, &header(log)?, offset)?;
        Ok(state)
    }

    #[test]
    fn appends_and_expunges_are_replayed() {
        let mut log = build_header(5, 1, 0);
        push_header_update(&mut log, 24, 77);
        push_append(&mut log, &[1, 2, 3, 4, 5]);
        push_expunge(&mut log, 2, 3, true);
        push_expunge(&mut log, 5, 5, false);
        push(&mut log, EXPUNGE_GUID | EXTERNAL, &[&4_u32.to_le_bytes()[..], &[0; 16]].concat());
        push(&mut log, 0x40, &[0; 20]);
        let state = replayed(&log, Replayed::default(), 0).unwrap();
        assert_eq!((state.uids.clone(), state.uidvalidity, state.next_uid), (vec![1, 5], 77, 6));
        let mut held = state.held();
        assert_eq!([1, 2, 5, 6].map(|uid| held.meets(uid)), [true, false, false, false]);
        assert_eq!((held.not_met(), state.held().not_met(), state.len()), (None, Some((1, 1)), 2));
        push(&mut log, UID_UPDATE, &[0; 8]);
        assert!(replayed(&log, Replayed::default(), 0).unwrap().unclear);
    }

    #[test]
    fn an_uncommitted_end_is_no_damage_and_a_cut_one_is() {
        let mut log = build_header(5, 1, 0);
        push_append(&mut log, &[1]);
        let whole = log.len();
        push_append(&mut log, &[2]);
        assert_eq!(
            replayed(&log[..log.len() - 3], Replayed::default(), 0),
            Err("a record of the log is cut")
        );
        log[whole] &= 0x7f;
        assert_eq!(replayed(&log, Replayed::default(), 0).unwrap().uids, [1]);
        assert!(replayed(&log, Replayed::default(), 10_000).is_err());
    }

    proptest! {
        #[test]
        fn merged_ranges_hold_the_same_uids(ranges in proptest::collection::vec((0..60_u32, 0..60_u32), 0..20)) {
            let state = Replayed { asked: merged(ranges.clone()), ..Replayed::default() };
            prop_assert!(state.asked.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            for uid in 0..70 {
                let asked = ranges.iter().any(|(first, last)| (*first..=*last).contains(&uid));
                prop_assert_eq!(state.is_asked(uid), asked);
            }
        }
    }

    #[test]
    fn bad_headers_are_named() {
        assert!(header(&[]).is_err() && header(&[0; 40]).is_err());
        assert!(header(&build_header(0, 1, 0)).is_err());
        assert_eq!(header(&build_header(5, 2, 1)).unwrap().previous.seq, 1);
    }

    proptest! {
        #[test]
        fn noise_does_no_harm(kinds in prop::collection::vec((prop::sample::select(vec![APPEND, HEADER_UPDATE, EXPUNGE, EXPUNGE_GUID, 0x40, 0x9999]), prop::collection::vec(any::<u8>(), 0..16), any::<bool>()), 0..10), cut in any::<prop::sample::Index>(), offset in 0_u32..400, raw in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut log = build_header(5, 1, 0);
            for (kind, words, external) in kinds {
                let body: Vec<u8> = words.iter().flat_map(|w| [*w, 0, 0, 0]).collect();
                push(&mut log, if external { kind | EXTERNAL } else { kind }, &body);
            }
            replayed(&log, Replayed::default(), offset).ok();
            log.truncate(40 + cut.index(log.len() - 39));
            replayed(&log, Replayed::default(), 0).ok();
            log.truncate(40);
            log.extend(raw);
            replayed(&log, Replayed::default(), 0).ok();
        }
    }
}
