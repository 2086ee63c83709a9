//! What a run of a few hundred seeds has to meet: every fault, and every pair of a shard's state and what can happen in it.
//!
//! The list is what a thousand seeds meet at least five times; a pair that is missing from a run means that the runs have
//! lost their reach, or that the engine has lost a transition. What is rarer is not asked for: chance would decide. The
//! engine's own tests of event sequences go there.

use rientro_types::ShardState::{
    self, Backoff, Closed, Confirming, Failed, Held, Open, Opening, Verified, Verifying, Waiting,
};

use super::Happens;

/// Faults that are met as a consequence of others: what becomes of an append, and who is turned away.
pub(super) const CONSEQUENCES: [&str; 8] = [
    "agent-turned-away",
    "append-answer-lost-absent",
    "append-answer-lost-committed",
    "append-failed",
    "crash-after-append",
    "crash-before-append",
    "twin-at-the-door",
    "twin-let-in",
];

const PAIRS: [(Happens, &[ShardState]); 53] = [
    ("abort", &ShardState::ALL),
    ("accept", &ShardState::ALL),
    ("adopt", &ShardState::ALL),
    ("circumstance-over", &[Closed, Open, Held, Failed]),
    ("claimed", &ShardState::ALL),
    ("claimed-elsewhere", &ShardState::ALL),
    ("claimed-fewer", &ShardState::ALL),
    ("claimed-other-volume", &[Closed, Waiting, Verifying, Backoff, Verified, Open, Held, Failed]),
    ("close", &ShardState::ALL),
    ("confirmed", &[Confirming, Held]),
    ("contested", &ShardState::ALL),
    // Only what a restored journal doubts is disagreed on: what was on its way waits then, and goes no further before. Of
    // what had failed too little is in service.
    ("disagreement", &[Closed, Waiting, Opening, Open, Held]),
    ("except", &ShardState::ALL),
    ("except-asked", &ShardState::ALL),
    ("expired", &[Backoff, Verified]),
    ("failed-agent", &[Verifying, Confirming, Held]),
    ("failed-changed", &[Verifying, Confirming, Held]),
    ("failed-interrupted", &[Verifying, Confirming, Held]),
    ("failed-missing", &[Verifying, Confirming, Held]),
    ("failed-reimaged", &[Verifying, Confirming, Held]),
    ("failed-volume-wrong", &[Verifying, Confirming, Held]),
    ("hello", &ShardState::ALL),
    ("hello-other-life", &ShardState::ALL),
    ("leader-took", &ShardState::ALL),
    ("list-kept", &[Closed, Held]),
    ("mailboxes-missing", &[Closed, Waiting, Verifying, Backoff, Verified, Confirming, Held, Failed]),
    ("measured", &[Closed, Waiting, Verifying, Backoff, Verified, Open, Held, Failed]),
    ("missing", &ShardState::ALL),
    ("overdue", &[Opening]),
    ("pause", &ShardState::ALL),
    ("placed", &[Closed, Waiting, Verified, Open, Held, Failed]),
    ("prioritise", &ShardState::ALL),
    ("promote", &ShardState::ALL),
    ("released", &[Closed, Waiting, Verifying, Backoff, Verified, Confirming, Open, Held, Failed]),
    ("result", &[Verifying, Confirming, Held]),
    ("result-stray", &ShardState::ALL),
    ("resume", &ShardState::ALL),
    ("retry", &ShardState::ALL),
    ("revise", &ShardState::ALL),
    ("seen", &[Closed, Waiting, Verifying, Verified, Opening, Open, Held, Failed]),
    ("seen-told", &ShardState::ALL),
    ("settle", &[Closed, Open, Held, Failed]),
    ("settle-asked", &[Closed, Open, Held, Failed]),
    ("stalled", &[Verifying, Confirming, Held]),
    ("start", &ShardState::ALL),
    ("stopped", &[Closed, Waiting, Verifying, Backoff, Verified, Confirming, Open, Held, Failed]),
    ("timed-out", &[Verifying, Confirming, Held]),
    ("unlisted", &[Closed, Waiting, Verifying, Backoff, Verified, Confirming, Held, Failed]),
    ("verified-clean", &[Verifying, Held]),
    ("verified-damaged", &[Verifying, Held]),
    ("verified-unknown", &[Verifying, Held]),
    ("verified-unreadable", &[Verifying, Held]),
    ("volume-wrong", &[Closed, Waiting, Verifying, Backoff, Verified, Open, Held, Failed]),
];

/// Every pair that a run has to meet.
pub fn reachable() -> impl Iterator<Item = (ShardState, Happens)> {
    PAIRS.iter().flat_map(|(what, states)| states.iter().map(move |state| (*state, *what)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// No state and no pair stands there twice or is forgotten.
    #[test]
    fn the_list_is_whole() {
        let pairs: Vec<_> = reachable().collect();
        assert_eq!(pairs.iter().collect::<BTreeSet<_>>().len(), pairs.len());
        let states: BTreeSet<_> = pairs.iter().map(|(state, _)| *state).collect();
        assert_eq!(states, BTreeSet::from(ShardState::ALL));
    }
}
