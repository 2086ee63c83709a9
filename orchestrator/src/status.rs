//! How failures are answered over gRPC: one place maps each kind to a code.

use rientro_types::Refusal;
use rientro_wire::{advised, advising};
use tonic::{Code, Status};

use crate::directory::DirectoryError;
use crate::driver::Unavailable;
use crate::journal::JournalError;

/// Nothing was decided, or nobody knows whether it was. Only the former may be tried again without looking.
pub(crate) fn unavailable(why: &Unavailable) -> Status {
    let code = match why {
        Unavailable::Starting | Unavailable::Stalled(_) | Unavailable::Stopped | Unavailable::Interrupted => {
            Code::Unavailable
        }
        Unavailable::InDoubt(_) => Code::Unknown,
    };
    advising(code, why.advice())
}

/// What is asked for is not there, in the words of a decision about it.
pub(crate) fn refused(why: &Refusal) -> Status {
    match why.next() {
        Some(next) => advised(Code::NotFound, why.what(), next),
        None => Status::not_found(why.what()),
    }
}

/// The first leader has not led yet.
pub(crate) fn being_founded() -> Status {
    advised(Code::Unavailable, "the cell is being founded", "try again in a moment")
}

impl From<Unavailable> for Status {
    fn from(why: Unavailable) -> Self {
        unavailable(&why)
    }
}

/// A reader of the journal failed.
pub(crate) fn journal(error: &JournalError) -> Status {
    let code = match error {
        JournalError::Beyond { .. } | JournalError::Trimmed { .. } => Code::OutOfRange,
        JournalError::Full { .. } => Code::ResourceExhausted,
        JournalError::Broken { .. } | JournalError::Corrupt { .. } | JournalError::Format { .. } => {
            Code::DataLoss
        }
        JournalError::SnapshotReplaced => Code::Aborted,
        JournalError::Missing { .. }
        | JournalError::Exists { .. }
        | JournalError::Locked { .. }
        | JournalError::Fenced { .. }
        | JournalError::NotWriter
        | JournalError::WrongEpoch { .. }
        | JournalError::WrongSeq { .. }
        | JournalError::WrongChain { .. }
        | JournalError::Empty { .. }
        | JournalError::TooLarge { .. }
        | JournalError::SnapshotPoint { .. }
        | JournalError::NotCovered { .. }
        | JournalError::Poisoned { .. }
        | JournalError::Io { .. } => Code::Internal,
    };
    advising(code, error.advice())
}

/// The directory failed.
pub(crate) fn directory(error: &DirectoryError) -> Status {
    let code = match error {
        DirectoryError::Full { .. } => Code::ResourceExhausted,
        DirectoryError::Reopened { .. } => Code::Aborted,
        DirectoryError::InUse { .. } | DirectoryError::Failed { .. } => Code::Internal,
    };
    advising(code, error.advice())
}
