//! What a verification concluded, and how deep it looked.

use std::fmt;
use std::str::FromStr;

use crate::{FindingKinds, Ppm};

/// How deep a verification looked. Deeper levels are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Mailboxes and files are there and can be stated.
    Presence,
    /// Every file was read and every rule of the format that needs no baseline holds.
    Structure,
    /// Every message was compared with a baseline.
    Baseline,
}

impl Level {
    /// The word operators and plans use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Structure => "structure",
            Self::Baseline => "baseline",
        }
    }
}

/// A text names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a level; the levels are presence, structure and baseline")]
pub struct LevelError;

impl FromStr for Level {
    type Err = LevelError;
    fn from_str(text: &str) -> Result<Self, LevelError> {
        [Self::Presence, Self::Structure, Self::Baseline]
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or(LevelError)
    }
}

/// Counts of one verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tally {
    /// Mailboxes looked at; like the other counts of mailboxes at most [`crate::MAILBOXES_PER_SHARD_MAX`].
    pub mailboxes: u64,
    /// Messages looked at, and those looked for in vain.
    pub messages: u64,
    /// Bytes of message files read.
    pub bytes: u64,
    /// Messages with at least one finding of severity damage, missing ones included.
    pub messages_damaged: u64,
    /// Messages that could not be read.
    pub messages_unreadable: u64,
    /// Mailboxes with at least one finding of severity damage.
    pub mailboxes_damaged: u64,
    /// Of these, the ones that are missing, or damaged in more than messages: a folder, the uidlist, an index.
    pub mailboxes_broken: u64,
    /// Mailboxes with at least one finding of severity unreadable.
    pub mailboxes_unreadable: u64,
    /// Findings of every severity.
    pub findings: u64,
    /// Kinds of finding seen, notes included.
    pub kinds: FindingKinds,
}

impl Tally {
    /// Whether no count of mailboxes is above what a shard may have.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        let counts =
            [self.mailboxes, self.mailboxes_damaged, self.mailboxes_broken, self.mailboxes_unreadable];
        counts.into_iter().all(|count| count <= crate::MAILBOXES_PER_SHARD_MAX as u64)
    }

    /// Adds the counts of another part of the same shard.
    pub fn add(&mut self, other: &Self) {
        let Self {
            mailboxes,
            messages,
            bytes,
            messages_damaged,
            messages_unreadable,
            mailboxes_damaged,
            mailboxes_broken,
            mailboxes_unreadable,
            findings,
            kinds,
        } = other;
        self.mailboxes += mailboxes;
        self.messages += messages;
        self.bytes += bytes;
        self.messages_damaged += messages_damaged;
        self.messages_unreadable += messages_unreadable;
        self.mailboxes_damaged += mailboxes_damaged;
        self.mailboxes_broken += mailboxes_broken;
        self.mailboxes_unreadable += mailboxes_unreadable;
        self.findings += findings;
        self.kinds = self.kinds.union(*kinds);
    }
}

/// Why nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnknownCause {
    /// The shard holds no message, and nothing says that it should have no mailbox.
    Empty,
    /// The verification stopped before its end.
    Incomplete,
    /// A level was asked for that this store cannot be verified at.
    LevelUnavailable,
}

/// The outcome of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Everything looked at is right, at the verdict's level and coverage.
    Clean,
    /// Something is damaged or lost; the tally counts it.
    Damaged,
    /// The shard or part of it could not be read.
    Unreadable,
    /// Nothing can be said.
    Unknown(UnknownCause),
}

/// What a verification concluded. Never printed without its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verdict {
    /// The conclusion.
    pub outcome: Outcome,
    /// How deep it looked.
    pub level: Level,
    /// Share of the shard's message files that were looked at.
    pub coverage: Ppm,
    /// The counts behind the conclusion.
    pub tally: Tally,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level.name();
        let tally = &self.tally;
        match self.outcome {
            Outcome::Clean => write!(f, "clean at {level} level")?,
            Outcome::Damaged => {
                let (messages, damaged) = (tally.messages, tally.messages_damaged);
                write!(f, "damaged at {level} level ({damaged} of {messages} messages, ")?;
                write!(f, "{} mailboxes", tally.mailboxes_damaged)?;
                if tally.mailboxes_broken > 0 {
                    write!(f, ", {} of them missing or broken", tally.mailboxes_broken)?;
                }
                f.write_str(")")?;
            }
            Outcome::Unreadable => write!(
                f,
                "unreadable at {level} level ({} messages, {} mailboxes)",
                tally.messages_unreadable, tally.mailboxes_unreadable
            )?,
            Outcome::Unknown(UnknownCause::Empty) => {
                write!(f, "unknown at {level} level (no mail is there)")?;
            }
            Outcome::Unknown(UnknownCause::Incomplete) => {
                write!(f, "unknown at {level} level (stopped early)")?;
            }
            Outcome::Unknown(UnknownCause::LevelUnavailable) => {
                write!(f, "unknown ({level} level is not possible here)")?;
            }
        }
        if self.coverage < Ppm::ONE { write!(f, ", {} covered", self.coverage) } else { Ok(()) }
    }
}
