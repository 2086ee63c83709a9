//! Files that a person names: settings, and lists of mailboxes.
//!
//! Links to them are the operator's own and are followed, unlike those in a mail store, which this opens nothing in.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens one for reading.
///
/// # Errors
/// The error of opening it; invalid input when it is no regular file. A pipe is not waited for, and a device has no end.
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
    }
}
