//! What it means that something could not be opened or read, and how findings say it.

use rientro_types::FindingKind;
use rustix::io::Errno;

/// What it means that a listed file does not open.
pub(crate) fn open_fault(error: Errno) -> FindingKind {
    match error {
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::STALE => FindingKind::ChangedWhileRead,
        _ => FindingKind::FileUnreadable,
    }
}

/// What it means that a listed directory does not open, or cannot be listed.
pub(crate) fn directory_fault(error: Errno) -> FindingKind {
    match error {
        Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::STALE => FindingKind::ChangedWhileRead,
        _ => FindingKind::DirectoryUnreadable,
    }
}

/// The error in words, without numbers that differ between machines.
pub(crate) fn error_name(error: Errno) -> String {
    match error {
        Errno::IO => "EIO".to_owned(),
        Errno::ACCESS => "EACCES".to_owned(),
        Errno::PERM => "EPERM".to_owned(),
        Errno::NOENT => "vanished".to_owned(),
        Errno::LOOP => "became a symbolic link".to_owned(),
        Errno::NOTDIR => "is no directory".to_owned(),
        Errno::STALE => "ESTALE".to_owned(),
        Errno::MFILE => "EMFILE: too many files open here; raise LimitNOFILE= or ulimit -n".to_owned(),
        Errno::NFILE => "ENFILE: too many files open on this machine; raise fs.file-max".to_owned(),
        other => other.to_string(),
    }
}

/// The same of an error of the standard library.
pub(crate) fn io_name(error: &std::io::Error) -> String {
    Errno::from_io_error(error).map_or_else(|| error.to_string(), error_name)
}
