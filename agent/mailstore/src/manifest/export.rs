//! The files of a manifest as a list that `b3sum --check` reads.

use std::io::{self, Write};

use rientro_types::Digest;

use super::file::{Manifest, ManifestError};
use super::section::Section;

/// How many files a list has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files in it.
    pub files: u64,
    /// Files left out: the form has no way to write their names, or they were damaged, and have no hash.
    pub left_out: u64,
}

impl Manifest {
    /// Writes hash and path of every file, a line each, as `b3sum` does; paths are relative to the shard's directory. The files
    /// are as they were when the manifest was written: a flag that was set since is another name.
    ///
    /// # Errors
    /// [`ManifestError`] when a section is damaged, cannot be read, or `out` does not take more.
    pub fn export_b3sum(&self, out: &mut dyn Write) -> Result<Exported, ManifestError> {
        let mut exported = Exported::default();
        for entry in &self.entries {
            let section = Section::of(self, entry);
            let read = |source| ManifestError::Io { what: "read", path: self.path.clone(), source };
            if !section.is_intact().map_err(read)? {
                return Err(ManifestError::Malformed {
                    path: self.path.clone(),
                    what: "the section of a mailbox is damaged",
                });
            }
            let mut files = section.all_files();
            while let Some(file) = files.next().map_err(read)? {
                let path = [&entry.mailbox[..], b"/", &file.path].concat();
                let path = path.strip_prefix(b"/").unwrap_or(&path);
                let hash = (file.stored != Digest::ZERO).then(|| file.stored.to_string());
                let written = hash.map_or(Ok(false), |hash| write_line(&hash, path, out));
                let written = written.map_err(|source| ManifestError::Io {
                    what: "write the list of",
                    path: self.path.clone(),
                    source,
                })?;
                exported.files += u64::from(written);
                exported.left_out += u64::from(!written);
            }
        }
        Ok(exported)
    }
}

/// Writes a line; `false` when it cannot be written in this form.
///
/// A name with a line end or a backslash is written with escapes, behind a backslash before the hash. One that is not UTF-8,
/// or has a carriage return or the character that stands for what is no UTF-8, is refused by `b3sum`.
fn write_line(hash: &str, path: &[u8], out: &mut dyn Write) -> io::Result<bool> {
    let Some(path) = std::str::from_utf8(path).ok().filter(|path| !path.contains(['\r', '\u{fffd}'])) else {
        return Ok(false);
    };
    if path.contains(['\n', '\\']) {
        writeln!(out, "\\{hash}  {}", path.replace('\\', "\\\\").replace('\n', "\\n"))?;
    } else {
        writeln!(out, "{hash}  {path}")?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_b3sum_writes_them() {
        let mut out = Vec::new();
        for (path, written) in [
            (&b"a b"[..], true),
            (b"host\\057x", true),
            (b"two\nlines", true),
            (b"\xff", false),
            (b"cr\r", false),
            ("\u{fffd}".as_bytes(), false),
        ] {
            assert_eq!(write_line("00", path, &mut out).unwrap(), written);
        }
        assert_eq!(String::from_utf8(out).unwrap(), "00  a b\n\\00  host\\\\057x\n\\00  two\\nlines\n");
    }
}
