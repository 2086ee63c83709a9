//! What a run of a few hundred seeds has to meet: every fault, and every pair of a shard's state and what can happen in it.
//!
//! The pairs are those of every event with every state, without the ones that the engine's rules exclude, each with its rule,
//! and without the few that take a coincidence which no schedule brings about, each with what it takes. A pair that is missing
//! from a run means that the runs have lost their reach, or that the engine has lost a transition.

use rientro_types::ShardState::{
    self, Backoff, Closed, Confirming, Failed, Held, Open, Opening, Verified, Verifying, Waiting,
};

use super::Happens;

/// Faults that are met as a consequence of others: what becomes of an append, who is turned away, and that an agent refused an
/// order which was not newer.
pub(super) const CONSEQUENCES: [&str; 9] = [
    "agent-turned-away",
    "append-answer-lost-absent",
    "append-answer-lost-committed",
    "append-failed",
    "crash-after-append",
    "crash-before-append",
    "order-refused",
    "twin-at-the-door",
    "twin-let-in",
];

/// Everything that can happen to a shard and is looked at.
const EVENTS: [Happens; 53] = [
    "abort",
    "accept",
    "adopt",
    "circumstance-over",
    "claimed",
    "claimed-elsewhere",
    "claimed-fewer",
    "claimed-other-volume",
    "close",
    "confirmed",
    "contested",
    "disagreement",
    "except",
    "except-asked",
    "expired",
    "failed-agent",
    "failed-changed",
    "failed-interrupted",
    "failed-missing",
    "failed-reimaged",
    "failed-volume-wrong",
    "hello",
    "hello-other-life",
    "leader-took",
    "list-kept",
    "mailboxes-missing",
    "measured",
    "missing",
    "overdue",
    "pause",
    "placed",
    "prioritise",
    "promote",
    "released",
    "result",
    "result-stray",
    "resume",
    "retry",
    "revise",
    "seen",
    "seen-told",
    "settle",
    "settle-asked",
    "stalled",
    "start",
    "stopped",
    "timed-out",
    "unlisted",
    "verified-clean",
    "verified-damaged",
    "verified-unknown",
    "verified-unreadable",
    "volume-wrong",
];

/// Events, states in which they cannot happen or do not, and why.
type Without = (&'static [Happens], &'static [ShardState], &'static str);

const ENDS: &[Happens] = &[
    "confirmed",
    "failed-agent",
    "failed-changed",
    "failed-interrupted",
    "failed-missing",
    "failed-reimaged",
    "failed-volume-wrong",
    "result",
    "stalled",
    "timed-out",
    "verified-clean",
    "verified-damaged",
    "verified-unknown",
    "verified-unreadable",
];
const VERDICTS: &[Happens] =
    &["verified-clean", "verified-damaged", "verified-unknown", "verified-unreadable"];

/// What the engine's rules exclude.
const IMPOSSIBLE: &[Without] = &[
    (
        ENDS,
        &[Closed, Waiting, Backoff, Verified, Opening, Open, Failed],
        "no try is under way there: it ended, or was given up, when the shard came there",
    ),
    (VERDICTS, &[Confirming], "a confirmation says yes, or fails"),
    (&["confirmed"], &[Verifying], "a verification comes to a verdict, or fails"),
    (
        &["circumstance-over", "settle"],
        &[Waiting, Verifying, Backoff, Verified, Confirming, Opening],
        "what is on its way is held while a circumstance stands",
    ),
    (
        &["disagreement"],
        &[Verifying, Backoff, Verified, Confirming],
        "a restored journal sets what was on its way back to waiting, and there it stays until all agree",
    ),
    (
        &["expired"],
        &[Closed, Waiting, Verifying, Confirming, Opening, Open, Held, Failed],
        "the age of a verification is looked at when it is its shard's turn to open",
    ),
    (
        &["overdue"],
        &[Closed, Waiting, Verifying, Backoff, Verified, Confirming, Open, Held, Failed],
        "only a step of an opening has that deadline, and what holds it is charged already",
    ),
    (
        &["list-kept"],
        &[Waiting, Verifying, Backoff, Verified, Confirming],
        "a list is kept beside a circumstance, and what is on its way is held while one stands",
    ),
    (
        &["list-kept", "mailboxes-missing", "unlisted"],
        &[Opening, Open],
        "in service customers come and go: counts and lists follow",
    ),
];

/// What takes a coincidence that no schedule brings about.
const BY_COINCIDENCE: &[Without] = &[
    (
        &["placed"],
        &[Verifying, Backoff, Verified, Confirming, Opening],
        "a shard moves while nothing holds it only when a contest ended over it after its node had listed it no more, and it \
         was claimed again before that node listed once more",
    ),
    (
        &["seen"],
        &[Verifying, Backoff, Verified, Confirming],
        "the word of a closing comes in the session of the try that follows it, and before its end: only an operator who goes \
         on within milliseconds meets it there",
    ),
    (
        &["released"],
        &[Opening],
        "a node answers for an earlier try before it begins the one that led to the opening",
    ),
];

/// Every pair that a run has to meet.
pub fn reachable() -> impl Iterator<Item = (ShardState, Happens)> {
    EVENTS
        .into_iter()
        .flat_map(|what| ShardState::ALL.into_iter().map(move |state| (state, what)))
        .filter(|pair| !is_without(IMPOSSIBLE, *pair) && !is_without(BY_COINCIDENCE, *pair))
}

/// Whether the engine's rules exclude a pair.
#[must_use]
pub fn is_impossible(pair: (ShardState, Happens)) -> bool {
    is_without(IMPOSSIBLE, pair)
}

fn is_without(list: &[Without], (state, what): (ShardState, Happens)) -> bool {
    list.iter().any(|(events, states, _)| events.contains(&what) && states.contains(&state))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// No event and no pair stands there twice, what is left out is an event that is known, and every state is met.
    #[test]
    fn the_lists_are_whole() {
        assert_eq!(EVENTS.iter().collect::<BTreeSet<_>>().len(), EVENTS.len());
        let without = [IMPOSSIBLE, BY_COINCIDENCE].concat();
        let left_out = without.iter().flat_map(|(events, states, _)| {
            events.iter().flat_map(|what| states.iter().map(move |state| (*state, *what)))
        });
        let left_out: Vec<_> = left_out.collect();
        assert_eq!(left_out.iter().collect::<BTreeSet<_>>().len(), left_out.len());
        assert!(left_out.iter().all(|(_, what)| EVENTS.contains(what)));
        assert_eq!(reachable().count(), EVENTS.len() * ShardState::ALL.len() - left_out.len());
        let states: BTreeSet<_> = reachable().map(|(state, _)| state).collect();
        assert_eq!(states, BTreeSet::from(ShardState::ALL));
    }
}
