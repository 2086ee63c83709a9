//! Files that a person names: settings and plans.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens one for reading, without waiting for anybody to write into a pipe, and tells what it is: only a regular file has an end.
///
/// # Errors
/// The error of opening it.
pub fn open_named(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}
