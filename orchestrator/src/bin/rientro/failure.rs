//! How a command ends when it does not end well, and the exit code that scripts see.

use std::process::ExitCode;

use rientro_wire::ConvertError;
use tonic::{Code, Status};

use crate::words::clean;

/// Refused by the cell, found wanting, or failed on this machine.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// The command line makes no sense.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The cell cannot be reached, or was lost on the way.
pub(crate) const EXIT_UNREACHABLE: u8 = 3;
/// Stopped by Ctrl-C, as shells report it.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The cell, or a check on this machine, says no.
    #[error("{0}")]
    Refused(String),
    /// The answer was given, and it is not a good one; everything worth saying has been said.
    #[error("")]
    Unsound,
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// No connection.
    #[error(
        "cannot reach the cell at {endpoint}: {problem}\nIs rientro-orchestrator running, and is --endpoint (or RIENTRO_ENDPOINT) right?"
    )]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What the system says.
        problem: String,
    },
    /// A decision was sent and no answer came.
    #[error(
        "the answer was lost ({problem}); the decision may have been made\nLook at `rientro journal tail` before you try again."
    )]
    AnswerLost {
        /// What the system says.
        problem: String,
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
    pub(crate) fn io(action: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Unsound | Self::Io { .. } => EXIT_REFUSED,
            Self::Usage(_) => EXIT_USAGE,
            Self::Unreachable { .. } | Self::AnswerLost { .. } => EXIT_UNREACHABLE,
            Self::Interrupted => EXIT_INTERRUPTED,
            Self::OutputClosed => 0,
        })
    }

    /// Whether trying again later may help.
    pub(crate) const fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::AnswerLost { .. } => true,
            Self::Refused(_)
            | Self::Unsound
            | Self::Usage(_)
            | Self::Io { .. }
            | Self::OutputClosed
            | Self::Interrupted => false,
        }
    }

    /// The same failure of a call that asked for a decision: no answer does not mean that none was made.
    pub(crate) fn after_a_decision(self) -> Self {
        if let Self::Unreachable { problem, .. } = self { Self::AnswerLost { problem } } else { self }
    }

    /// What a call's status means to an operator.
    pub(crate) fn of_status(endpoint: &str, status: &Status) -> Self {
        let problem = clean(status.message());
        // A status with a source was made on this side, of a connection that broke.
        if std::error::Error::source(status).is_some() {
            let problem = format!("the connection broke ({problem})");
            return Self::Unreachable { endpoint: endpoint.to_owned(), problem };
        }
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled => {
                Self::Unreachable { endpoint: endpoint.to_owned(), problem }
            }
            Code::Unimplemented => Self::Refused(
                "the orchestrator does not know this call; it is older than this rientro".into(),
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
            | Code::Unauthenticated => Self::Refused(problem),
        }
    }
}

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        Self::Refused(format!(
            "the orchestrator's answer cannot be understood ({error}); it may be of another version"
        ))
    }
}
