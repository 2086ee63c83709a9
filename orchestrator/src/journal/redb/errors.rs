//! What an error of redb means for a journal.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use ::redb::Error;
use ::redb::backends::FileBackend;

use crate::journal::JournalError;

/// The file as redb wants it; its exclusive lock is taken when redb opens it.
pub(super) fn file_backend(path: &Path, file: File) -> Result<FileBackend, JournalError> {
    FileBackend::new(file).map_err(|e| opening(path, e.into()))
}

/// A journal whose content as a whole makes no sense.
pub(super) fn corrupt(path: &Path, what: &str) -> JournalError {
    JournalError::Corrupt { path: path.to_owned(), what: what.to_owned() }
}

/// An error met while opening: content that redb does not recognise is damage, not a failing disk.
pub(super) fn opening(path: &Path, error: Error) -> JournalError {
    if let Error::Io(e) = &error
        && matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
    {
        return corrupt(path, &e.to_string());
    }
    if let Error::TableDoesNotExist(_) = &error {
        return corrupt(path, "it is not a journal");
    }
    running(path, error)
}

/// An error of an open journal.
pub(super) fn running(path: &Path, error: Error) -> JournalError {
    if let Error::Io(e) = error {
        return JournalError::io("read or write", path, e);
    }
    if let Error::Corrupted(what) = &error {
        return corrupt(path, what);
    }
    if matches!(error, Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch) {
        return JournalError::Locked { path: path.to_owned() };
    }
    JournalError::poisoned(path, error.to_string())
}
