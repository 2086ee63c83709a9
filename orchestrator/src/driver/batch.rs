//! Cuts the decisions of a batch into entries and seals them.
//!
//! One entry is one durable write, so a batch is as few entries as its bytes allow. Every prefix of a step's decisions is a
//! legal state: a cut may fall anywhere.

use std::collections::VecDeque;

use bytes::Bytes;
use rientro_types::{CellTime, Decision, Digest, Entry, Epoch, Seq};
use rientro_wire::codec;

use crate::journal::{ENTRY_BYTES_MAX, SealedEntry};

/// Most decisions tried in one entry. A common one takes about 120 bytes, so that these usually fit into
/// [`ENTRY_BYTES_MAX`]; when they do not, the run is halved.
const ENTRY_DECISIONS_MAX: usize = 6_000;

/// Where the next entry goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tip {
    pub(crate) seq: Seq,
    pub(crate) epoch: Epoch,
    pub(crate) chain: Digest,
}

/// An entry ready to be appended, and what it says.
pub(crate) struct Ready {
    pub(crate) entry: Entry,
    pub(crate) sealed: SealedEntry,
}

/// Cuts `decisions`, all made at `at`, into entries that follow `tip`, and moves it to their end.
///
/// # Panics
/// When one decision alone is larger than an entry may be: the bounds of `rientro-types` do not allow that.
pub(crate) fn seal(tip: &mut Tip, at: CellTime, decisions: Vec<Decision>) -> Vec<Ready> {
    let mut sealed = Vec::new();
    let mut runs = VecDeque::from([decisions]);
    while let Some(run) = runs.pop_front() {
        match seal_one(tip, at, run) {
            Ok(None) => {}
            Ok(Some(ready)) => {
                tip.seq = ready.sealed.seq_next();
                tip.chain = ready.sealed.digest();
                sealed.push(ready);
            }
            Err((first, second)) => {
                runs.push_front(second);
                runs.push_front(first);
            }
        }
    }
    sealed
}

/// One entry of all of `run`, or the two halves when it is too long.
fn seal_one(
    tip: &Tip,
    at: CellTime,
    mut run: Vec<Decision>,
) -> Result<Option<Ready>, (Vec<Decision>, Vec<Decision>)> {
    if run.is_empty() {
        return Ok(None);
    }
    if run.len() > ENTRY_DECISIONS_MAX {
        let rest = run.split_off(ENTRY_DECISIONS_MAX);
        return Err((run, rest));
    }
    let Tip { seq, epoch, chain: previous } = *tip;
    let mut entry = Entry { seq, epoch, at, previous, decisions: run };
    let bytes = codec::encode_entry(&entry);
    if bytes.len() > ENTRY_BYTES_MAX {
        let half = entry.decisions.len() / 2;
        assert!(half > 0, "a single decision has {} bytes, more than an entry may have", bytes.len());
        let rest = entry.decisions.split_off(half);
        return Err((entry.decisions, rest));
    }
    let sealed = SealedEntry::new(seq, entry.seq_next(), epoch, previous, Bytes::from(bytes))
        .expect("an entry has a record, and its length was compared with the bound above");
    Ok(Some(Ready { entry, sealed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rientro_types::{Actor, CampaignId, Record, ShardId, WaveNo};

    fn tip() -> Tip {
        Tip { seq: Seq::from_raw(1), epoch: Epoch::from_raw(1), chain: Digest::ZERO }
    }

    fn formed(shards: usize) -> Decision {
        let campaign = CampaignId::new("c").unwrap();
        let long = |at: usize| ShardId::new(&format!("{at:0>47}")).unwrap();
        let record = Record::WaveFormed {
            campaign,
            wave: WaveNo::from_raw(0),
            shards: (0..shards).map(long).collect(),
        };
        Decision { actor: Actor::orchestrator(), record }
    }

    fn at() -> CellTime {
        CellTime::from_unix_ms(5)
    }

    /// R11: entries of one batch follow each other in number and in chain, whatever their sizes.
    #[test]
    fn a_batch_over_the_bound_becomes_entries_that_follow_each_other() {
        let mut tip = tip();
        let decisions: Vec<_> = (0..100).map(|_| formed(1_000)).collect();
        let sealed = seal(&mut tip, at(), decisions.clone());
        assert!(sealed.len() > 4);
        let mut expected = (Seq::from_raw(1), Digest::ZERO);
        for ready in &sealed {
            assert_eq!((ready.sealed.seq(), ready.sealed.previous()), expected);
            assert_eq!(codec::decode_entry(ready.sealed.payload()).unwrap(), ready.entry);
            expected = (ready.sealed.seq_next(), ready.sealed.digest());
        }
        assert_eq!((tip.seq, tip.chain), expected);
        let back: Vec<_> = sealed.into_iter().flat_map(|ready| ready.entry.decisions).collect();
        assert_eq!(back, decisions);
    }

    #[test]
    fn no_decision_is_no_entry() {
        let mut tip = tip();
        assert!(seal(&mut tip, at(), Vec::new()).is_empty());
        assert_eq!(tip.seq, Seq::from_raw(1));
    }
}
