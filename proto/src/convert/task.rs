//! Tasks, their ends, and what verification concluded.

use rientro_types::{
    Action, DAMAGED_MAILBOXES_MAX, Level, MAILBOXES_PER_SHARD_MAX, Outcome, PROBLEM_BYTES_MAX, Pace, Tally,
    Task, TaskEnd, TaskFailure, TaskKind, UnknownCause, Verdict, Verification,
};

use super::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::v1;

choices!(v1::Level => Level { Presence, Structure, Baseline });
choices!(v1::TaskKind => TaskKind { Verify, Confirm });
choices!(v1::UnknownCause => UnknownCause { Empty, Incomplete, LevelUnavailable });

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Clean => Self::Clean,
            Outcome::Damaged => Self::Damaged,
            Outcome::Unreadable => Self::Unreadable,
            Outcome::Unknown(UnknownCause::Empty) => Self::UnknownEmpty,
            Outcome::Unknown(UnknownCause::Incomplete) => Self::UnknownIncomplete,
            Outcome::Unknown(UnknownCause::LevelUnavailable) => Self::UnknownLevelUnavailable,
        }
    }
}

impl TryFrom<v1::Outcome> for Outcome {
    type Error = ConvertError;
    fn try_from(wire: v1::Outcome) -> Result<Self, ConvertError> {
        match wire {
            v1::Outcome::Unspecified => Err(Problem::Unspecified.into()),
            v1::Outcome::Clean => Ok(Self::Clean),
            v1::Outcome::Damaged => Ok(Self::Damaged),
            v1::Outcome::Unreadable => Ok(Self::Unreadable),
            v1::Outcome::UnknownEmpty => Ok(Self::Unknown(UnknownCause::Empty)),
            v1::Outcome::UnknownIncomplete => Ok(Self::Unknown(UnknownCause::Incomplete)),
            v1::Outcome::UnknownLevelUnavailable => Ok(Self::Unknown(UnknownCause::LevelUnavailable)),
        }
    }
}

number!(v1::Outcome => Outcome);

message!(v1::Pace => Pace { bytes_per_second, readers });
message!(v1::Task => Task { shard, attempt, campaign, volume, action, pace });
message!(v1::Verdict => Verdict { outcome, level, coverage as coverage_ppm, tally });
message!(v1::Verification => Verification { verdict, stat_walk, findings, volume });

message!(v1::Tally => Tally {
    mailboxes in 0..=MAILBOXES_PER_SHARD_MAX,
    messages,
    bytes,
    messages_damaged,
    messages_unreadable,
    mailboxes_damaged in 0..=MAILBOXES_PER_SHARD_MAX,
    mailboxes_broken in 0..=MAILBOXES_PER_SHARD_MAX,
    mailboxes_unreadable in 0..=MAILBOXES_PER_SHARD_MAX,
    findings,
    kinds,
});

oneof!(Action in action, action: Action => Action {
    Verify { level },
    Confirm { stat_walk },
});

oneof!(TaskFailure in task_failure, failure: Failure => TaskFailure {
    VolumeWrong { found },
    ShardMissing,
    Changed,
    Interrupted,
    Cancelled,
    TimedOut,
    Stalled,
    Reimaged,
    Agent { problem in 0..=PROBLEM_BYTES_MAX },
});

oneof!(TaskEnd in task_end, end: End => TaskEnd {
    Verified { verification, damaged in 0..=DAMAGED_MAILBOXES_MAX },
    Confirmed,
    Failed(failure),
});
