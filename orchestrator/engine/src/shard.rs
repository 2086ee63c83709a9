//! The life of a shard: every transition that can happen.
//!
//! ```text
//!  Closed -> Waiting -> Verifying -> Verified -> Confirming -> Opening -> Open
//!               ^           |            |           |
//!               +- Backoff <+            +-> Waiting |   (expired, moved, changed)
//!                     |     |                        |
//!                     |     +-> Held, Failed <-------+
//!                     +-> Verifying, Confirming          Held, Failed -> Waiting (retry) | Verified (accept)
//!  any -> Closed   (operator, abort, release)            Closed -> Open  (adopt)
//! ```
//!
//! What holds a shard from outside (its node is silent, its volume is wrong, two nodes claim it) is not a phase: it is kept
//! beside it, so that a running verification survives a node's short absence.

use rientro_types::{Phase, ShardState};

/// Whether a shard may go from one phase to another.
pub(crate) fn may_follow(from: &Phase, to: &Phase) -> bool {
    use ShardState::{
        Backoff, Closed, Confirming, Failed, Held, Open, Opening, Verified, Verifying, Waiting,
    };
    match (from.state(), to.state()) {
        // An operator or the end of its campaign closes a shard in every state.
        (_, Closed) => true,
        (Closed, Waiting | Open) => true,
        // A shard that is already verified keeps its verification when its campaign's waves are formed again.
        (Waiting, Verifying) => true,
        (Verifying, Verified | Backoff | Held | Failed | Waiting) => true,
        (Backoff, Verifying | Confirming | Waiting | Verified | Held) => true,
        (Verified, Confirming | Opening | Waiting | Held) => true,
        (Confirming, Verified | Backoff | Failed | Waiting | Held) => true,
        (Opening, Opening | Open) => true,
        // A shard is adopted out of any state in which nothing is open, and taken back from service only by closing.
        (Held | Failed, Waiting | Verified) => true,
        (
            Closed | Waiting | Verifying | Backoff | Verified | Confirming | Opening | Open | Held | Failed,
            Waiting | Verifying | Backoff | Verified | Confirming | Opening | Open | Held | Failed,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use rientro_types::{ActiveTime, AttemptNo, CloseCause, HeldReason, TaskFailure, UnknownCause};

    use super::*;

    fn phases() -> Vec<Phase> {
        let attempt = AttemptNo::from_raw(1);
        let deadline = ActiveTime::from_ms(1);
        vec![
            Phase::Closed { cause: CloseCause::Operator },
            Phase::Waiting,
            Phase::Verifying { attempt, deadline },
            Phase::Backoff { until: deadline, last: TaskFailure::TimedOut },
            Phase::Verified,
            Phase::Confirming { attempt, deadline },
            Phase::Opening { step: 0, deadline },
            Phase::Open { adopted: false },
            Phase::Held { reason: Box::new(HeldReason::Unknown(UnknownCause::Empty)) },
            Phase::Failed { last: TaskFailure::TimedOut },
        ]
    }

    /// R1: the only ways into service are out of a confirmation or by adoption.
    #[test]
    fn nothing_opens_unverified() {
        for from in phases() {
            for to in phases() {
                let into_service = matches!(to.state(), ShardState::Opening | ShardState::Open);
                let expected = matches!(
                    (from.state(), to.state()),
                    (ShardState::Verified | ShardState::Opening, ShardState::Opening)
                        | (ShardState::Opening | ShardState::Closed, ShardState::Open)
                );
                if into_service {
                    assert_eq!(may_follow(&from, &to), expected, "{from:?} to {to:?}");
                }
            }
        }
    }

    #[test]
    fn every_state_can_be_closed() {
        for from in phases() {
            assert!(may_follow(&from, &Phase::Closed { cause: CloseCause::Operator }));
        }
    }
}
