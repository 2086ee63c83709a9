//! How a command ends when it does not end well: what people read, what scripts see, and the exit code.
//!
//! What happened and what to do next are kept apart, so that people get two lines and machines two keys. A failure of a
//! connection is told by what was seen of it (a time that ran out, a peer that is something else), never by the text of an error.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

use rientro_types::Advice;
use rientro_wire::limits::{OPERATOR_REQUEST_BYTES_MAX, OPERATOR_RESPONSE_BYTES_MAX};
use rientro_wire::{ConvertError, advice};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::foreign::clean;
use crate::human::bytes;
use crate::session::Target;

/// Refused by the cell, found wanting, or failed on this machine.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// The command line makes no sense.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The cell cannot be reached, or was lost on the way.
pub(crate) const EXIT_UNREACHABLE: u8 = 3;
/// Stopped by Ctrl-C, as shells report it.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// What is wrong, and what to do about it where there is one thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    what: String,
    next: Option<String>,
}

impl Told {
    pub(crate) fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: Some(next.into()) }
    }
}

impl From<String> for Told {
    fn from(what: String) -> Self {
        Self { what, next: None }
    }
}

impl Display for Told {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The cell, or a check on this machine, says no.
    #[error("{0}")]
    Refused(Told),
    /// The answer was given, and it is not a good one; everything worth saying has been said.
    #[error("")]
    Unsound,
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(Told),
    /// The cell answers, and cannot do what it is asked at present; nothing was decided.
    #[error("{0}")]
    Unable(Told),
    /// No connection.
    #[error("cannot reach the cell at {endpoint}: {problem}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the system says.
        problem: String,
    },
    /// Somebody is there and does not answer.
    #[error("the orchestrator at {endpoint} takes connections and has not answered for {} s", waited.as_secs())]
    Silent {
        /// Where.
        endpoint: String,
        /// For how long nothing was heard.
        waited: Duration,
    },
    /// Somebody else is there.
    #[error("what listens at {endpoint} is not a Rientro orchestrator for operators: {found}")]
    Foreign {
        /// Where.
        endpoint: String,
        /// What it is instead.
        found: &'static str,
    },
    /// A decision was sent and no answer came.
    #[error("the answer was lost ({problem}); the decision may have been made")]
    AnswerLost {
        /// What the system says.
        problem: String,
    },
    /// The output cannot be written.
    #[error("cannot write the output: {source}")]
    Output {
        /// What was done all the same, and what to do therefore; nothing after a mere look.
        done: Option<String>,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file or a terminal of this machine.
    #[error("cannot {action}: {source}")]
    Io {
        /// Verb and object.
        action: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Whoever read the output has gone.
    #[error("")]
    OutputClosed,
    /// Ctrl-C.
    #[error("")]
    Interrupted,
}

impl Failure {
    /// The cell, or a check on this machine, says no.
    pub(crate) fn refused(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Refused(Told::new(what, next))
    }

    /// The command line makes no sense.
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Usage(Told::new(what, next))
    }

    /// Refused, with what is to be done about it.
    pub(crate) fn advised(advice: Advice) -> Self {
        Self::Refused(Told { what: clean(&advice.what), next: advice.next.map(|next| clean(&next)) })
    }

    pub(crate) fn io(action: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Unable(_) | Self::Unsound | Self::Output { .. } | Self::Io { .. } => {
                EXIT_REFUSED
            }
            Self::Usage(_) => EXIT_USAGE,
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Foreign { .. }
            | Self::AnswerLost { .. } => EXIT_UNREACHABLE,
            Self::Interrupted => EXIT_INTERRUPTED,
            Self::OutputClosed => 0,
        })
    }

    /// What happened, in one word for scripts; `None` when everything has been said.
    const fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Refused(_) => "refused",
            Self::Unable(_) => "unable",
            Self::Usage(_) => "usage",
            Self::Unreachable { .. } => "unreachable",
            Self::Silent { .. } => "silent",
            Self::Foreign { .. } => "not-an-orchestrator",
            Self::AnswerLost { .. } => "answer-lost",
            Self::Output { .. } => "output",
            Self::Io { .. } => "io",
            Self::Unsound | Self::OutputClosed | Self::Interrupted => return None,
        })
    }

    /// What to do about it, where there is one thing to do.
    fn next(&self, target: Target) -> Option<String> {
        match self {
            Self::Refused(told) | Self::Unable(told) | Self::Usage(told) => told.next.clone(),
            Self::Unreachable { .. } => {
                Some(format!("Is rientro-orchestrator running, and {}", target.question()))
            }
            Self::Silent { .. } => Some(format!(
                "It may be stopped, or out of memory or disk: look at its process and its log; then try again. {}Agents go on with \
                 what they have.",
                target.way_in()
            )),
            Self::Foreign { .. } => Some(format!(
                "The orchestrator logs at its start where it listens for operators; {}",
                target.question()
            )),
            Self::AnswerLost { .. } => {
                Some("Look at `rientro journal tail` before you try again.".to_owned())
            }
            Self::Output { done: Some(done), .. } => Some(done.clone()),
            Self::Output { done: None, .. } => {
                Some("Nothing was done but to look. Mend where the output goes, and run it again.".to_owned())
            }
            Self::Io { source, .. } => Some(after_io(source.kind()).to_owned()),
            Self::Unsound | Self::OutputClosed | Self::Interrupted => None,
        }
    }

    /// What people read; `None` when everything has been said.
    pub(crate) fn told(&self, target: Target) -> Option<String> {
        self.code()?;
        let next = self.next(target).map(|next| format!("\n{next}")).unwrap_or_default();
        Some(format!("rientro: {self}{next}"))
    }

    /// What machines read; `None` when everything has been said.
    pub(crate) fn json(&self, target: Target) -> Option<Value> {
        let code = self.code()?;
        Some(json!({ "error": { "code": code, "what": self.to_string(), "next": self.next(target) } }))
    }

    /// Whether it may pass by itself, so that trying again later helps.
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Unable(_) | Self::Unreachable { .. } | Self::Silent { .. } | Self::AnswerLost { .. } => {
                true
            }
            Self::Refused(_)
            | Self::Unsound
            | Self::Usage(_)
            | Self::Foreign { .. }
            | Self::Output { .. }
            | Self::Io { .. }
            | Self::OutputClosed
            | Self::Interrupted => false,
        }
    }

    /// The same failure of a call that asked for a decision: no answer does not mean that none was made.
    pub(crate) fn after_a_decision(self) -> Self {
        match self {
            Self::Unreachable { problem, .. } => Self::AnswerLost { problem },
            Self::Silent { waited, .. } => {
                Self::AnswerLost { problem: format!("nothing was heard for {} s", waited.as_secs()) }
            }
            other @ (Self::Refused(_)
            | Self::Unable(_)
            | Self::Unsound
            | Self::Usage(_)
            | Self::Foreign { .. }
            | Self::AnswerLost { .. }
            | Self::Output { .. }
            | Self::Io { .. }
            | Self::OutputClosed
            | Self::Interrupted) => other,
        }
    }

    /// The same failure of a command that has done something by then, and says what.
    pub(crate) fn having(self, what: impl FnOnce() -> String) -> Self {
        if let Self::Output { source, .. } = self {
            return Self::Output { done: Some(what()), source };
        }
        self
    }

    /// What a call's status means to an operator.
    pub(crate) fn of_status(endpoint: &str, status: &Status) -> Self {
        let endpoint = endpoint.to_owned();
        let problem = clean(status.message());
        let told = Told { what: problem.clone(), next: advice(status).map(|next| clean(&next)) };
        // A status with a source was made on this side, of a connection that broke.
        if status.source().is_some() {
            return Self::Unreachable { endpoint, problem: format!("the connection broke ({problem})") };
        }
        match status.code() {
            Code::Unavailable => Self::Unable(told),
            Code::DeadlineExceeded | Code::Unknown | Code::Cancelled => {
                Self::Unreachable { endpoint, problem }
            }
            // What is out of a range of the orchestrator's own comes with advice; without any it is gRPC's word on a size.
            Code::OutOfRange if told.next.is_none() => Self::refused(
                format!(
                    "a message is too large: a question may have {}, an answer {}",
                    bytes(OPERATOR_REQUEST_BYTES_MAX as u64),
                    bytes(OPERATOR_RESPONSE_BYTES_MAX as u64)
                ),
                "name less at once; an answer that is too large comes from an orchestrator of another version: compare \
                 `rientro --version` with the version of what runs there",
            ),
            Code::Unimplemented => Self::refused(
                "the orchestrator does not know this call; it is older than this rientro",
                "use the rientro of the orchestrator's version, which `rientro cell show` tells",
            ),
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => Self::Refused(told),
        }
    }
}

/// What to do about a file or a terminal that the system refuses; they are asked for before anything is decided.
fn after_io(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::NotFound {
        "Is the path right? A relative one starts at the present directory."
    } else if kind == ErrorKind::PermissionDenied {
        "Run it as a user who may, or change who may."
    } else if kind == ErrorKind::AlreadyExists {
        "Name a file that is not there yet; nothing is overwritten."
    } else if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) {
        "Free some space there, or name another place; then run it again."
    } else if kind == ErrorKind::ReadOnlyFilesystem {
        "Name a place that can be written."
    } else {
        "Nothing was decided. Mend what the system names, and run it again."
    }
}

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        let what = format!("the orchestrator's answer cannot be understood ({error})");
        Self::refused(what, "it may be of another version: `rientro --version`, and `rientro cell show`")
    }
}

#[cfg(test)]
mod tests {
    use rientro_wire::advised;

    use super::*;

    /// A cell whose disk is full answers; nobody is sent to look for a process that runs, or for a decision that was not made.
    #[test]
    fn a_cell_that_answers_is_not_one_that_cannot_be_reached() {
        let status = advised(Code::Unavailable, "no room left", "free some space");
        let failure = Failure::of_status("here", &status).after_a_decision();
        let told = failure.told(Target::Default);
        assert_eq!(told.as_deref(), Some("rientro: no room left\nfree some space"));
        assert_eq!((failure.code(), failure.exit_code()), (Some("unable"), ExitCode::from(EXIT_REFUSED)));
        assert!(failure.may_pass(), "a watch waits for it");
    }

    /// What to do is a key of its own, whoever said it.
    #[test]
    fn machines_are_told_apart_what_is_wrong_and_what_to_do() {
        let failure =
            Failure::of_status("here", &advised(Code::NotFound, "no shard x", "`rientro shard list`"));
        let json = failure.json(Target::Default).expect("told");
        assert_eq!(
            (&json["error"]["what"], &json["error"]["next"]),
            (&json!("no shard x"), &json!("`rientro shard list`"))
        );
    }

    /// A record that does not exist is told in the orchestrator's words; a size in ours, as gRPC has its own.
    #[test]
    fn a_message_that_is_too_large_is_told_in_words() {
        let told = |status| Failure::of_status("here", &status).told(Target::Default).expect("told");
        let beyond =
            told(advised(Code::OutOfRange, "record 9 does not exist", "the journal ends before record 5"));
        assert_eq!(beyond, "rientro: record 9 does not exist\nthe journal ends before record 5");
        let large = told(Status::out_of_range("decoded message length too large: found 9 bytes"));
        assert!(
            large
                .starts_with("rientro: a message is too large: a question may have 1 MiB, an answer 4 MiB\n"),
            "{large}"
        );
    }

    /// A file that cannot be used says what to do, to people and machines alike.
    #[test]
    fn a_file_that_cannot_be_used_says_what_to_do() {
        let kinds = [
            (ErrorKind::NotFound, "Is the path right?"),
            (ErrorKind::PermissionDenied, "a user who may"),
            (ErrorKind::AlreadyExists, "not there yet"),
            (ErrorKind::StorageFull, "Free some space"),
            (ErrorKind::ReadOnlyFilesystem, "can be written"),
            (ErrorKind::Other, "Mend what the system names"),
        ];
        for (kind, said) in kinds {
            let failure = Failure::io("read the plan p.toml", kind.into());
            let json = failure.json(Target::Default).expect("told");
            let next = json["error"]["next"].as_str().expect("advice");
            assert!(next.contains(said), "{next}");
            let told = failure.told(Target::Default).expect("told");
            assert_eq!(told.split_once('\n').map(|(_, last)| last), Some(next));
        }
    }

    /// Whoever set where the cell is finds the name of that setting in the hint.
    #[test]
    fn the_hint_names_what_was_set() {
        let failure = Failure::Unreachable { endpoint: "here".to_owned(), problem: "refused".to_owned() };
        for (target, named) in [
            (Target::Flag, "is --endpoint (or RIENTRO_ENDPOINT) right"),
            (Target::StateDir, "is RIENTRO_STATE_DIR right"),
            (Target::Default, "does it listen there"),
        ] {
            let told = failure.told(target).expect("told");
            assert!(told.contains(named), "{told}");
        }
    }
}
