//! `rientro journal backup`: a copy is written beside its place, checked and synced, and then gets its name.
//!
//! No file is ever replaced or removed but what this run made, whoever else writes there meanwhile: what has the name is looked
//! at first, so that nothing is copied in vain, and the name is given in a way that fails where it is taken.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rientro_types::Digest;
use rientro_wire::operator::{BackupEnd, BackupHeader, BackupPart};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde_json::json;

use super::unled;
use crate::client::Client;
use crate::failure::Failure;
use crate::foreign::file_name;
use crate::human::{bytes, plural};
use crate::json;
use crate::output::note;
use crate::session::Session;

/// Who may read a copy of the journal: its owner, as the journal itself.
const FILE_MODE: u32 = 0o600;

/// Ends the name of a copy that is not whole yet.
const PARTIAL_SUFFIX: &str = ".partial";

pub(super) async fn run(session: &Session, path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() {
        return Err(exists(path));
    }
    let mut client = session.connect().await?;
    let mut partial = Partial::begin(path)?;
    let (header, end) = copy(&mut client, &mut partial).await?;
    partial.put(path)?;
    told(session, path, &header, &end).map_err(|failure| {
        failure.having(|| format!("The backup is whole, in {}: it need not be taken again.", file_name(path)))
    })?;
    if end.key_problem.is_none() { Ok(()) } else { Err(Failure::Unsound) }
}

fn told(session: &Session, path: &Path, header: &BackupHeader, end: &BackupEnd) -> Result<(), Failure> {
    if session.out.is_json() {
        return session.out.json(&json!({
            "file": path.display().to_string(),
            "cell": header.cell.as_str(),
            "incarnation": header.incarnation.raw(),
            "seq_next": header.seq_next.raw(),
            "chain": header.chain.to_string(),
            "bytes": end.bytes,
            "digest": end.digest.to_string(),
            "key_problem": end.key_problem.as_ref().map(json::advice),
        }));
    }
    let last = header.seq_next.raw().saturating_sub(1);
    session.out.line(format_args!(
        "Copied the journal of cell {} up to record {last} into {} ({}, {}).",
        header.cell,
        file_name(path),
        bytes(end.bytes),
        plural(end.bytes, "byte")
    ))?;
    match &end.key_problem {
        None => note(
            "It does not hold the cell's mailbox.key: keep a copy of that beside it, from the orchestrator's state directory.",
        ),
        Some(problem) => unled("But NO CELL CAN BE LED FROM IT with the key that is there", problem),
    }
    Ok(())
}

/// Writes the copy and checks that it is whole.
async fn copy(client: &mut Client, partial: &mut Partial) -> Result<(BackupHeader, BackupEnd), Failure> {
    let mut parts = client.backup_journal().await?;
    let mut header = None;
    let mut received = Received::default();
    while let Some(part) = parts.next::<BackupPart>().await? {
        match part {
            BackupPart::Header(begun) => {
                // It may begin anew.
                received = Received::default();
                partial.write(|file| file.set_len(0).and_then(|()| file.rewind()))?;
                header = Some(begun);
            }
            BackupPart::Chunk(chunk) => {
                received.add(&chunk);
                partial.write(|file| file.write_all(&chunk))?;
            }
            BackupPart::End(end) => {
                received.check(&end)?;
                partial.write(|file| file.sync_all())?;
                let header = header.ok_or_else(|| incomplete("it has no beginning"))?;
                return Ok((header, end));
            }
        }
    }
    Err(incomplete("it broke off"))
}

/// The file of a copy that is not whole yet. Removed when dropped: it must not be taken for a backup.
struct Partial {
    path: PathBuf,
    file: File,
    /// Where it is, open before anything is renamed there: that a directory cannot be opened is found out in time.
    directory: File,
}

impl Partial {
    fn begin(of: &Path) -> Result<Self, Failure> {
        let mut path = of.as_os_str().to_owned();
        path.push(PARTIAL_SUFFIX);
        let path = PathBuf::from(path);
        let parent = of.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = File::open(parent)
            .map_err(|source| Failure::io(format!("open the directory {}", file_name(parent)), source))?;
        let made = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path);
        match made {
            Ok(file) => Ok(Self { path, file, directory }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(left_over(&path)),
            Err(source) => Err(Failure::io(format!("create {}", file_name(&path)), source)),
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Failure> {
        write(&mut self.file)
            .map_err(|source| Failure::io(format!("write {}", file_name(&self.path)), source))
    }

    /// Gives the file its name, durably.
    fn put(self, path: &Path) -> Result<(), Failure> {
        if !self.is_own() {
            let what = format!("{} is not the file that this backup wrote", file_name(&self.path));
            return Err(Failure::refused(what, "see that no other backup writes there, and take it again"));
        }
        match rename_anew(&self.path, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(path)),
            Err(source) => return Err(Failure::io(format!("name the backup {}", file_name(path)), source)),
        }
        self.directory
            .sync_all()
            .map_err(|source| Failure::io(format!("make the name {} durable", file_name(path)), source))
    }

    /// Whether the file of this name is still the one that was made.
    fn is_own(&self) -> bool {
        let (made, named) = (self.file.metadata(), self.path.symlink_metadata());
        let id = |of: std::fs::Metadata| (of.dev(), of.ino());
        matches!((made.map(id), named.map(id)), (Ok(made), Ok(named)) if made == named)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.is_own() {
            // That it could not be removed changes nothing.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Renames a file to a name that nothing has.
fn rename_anew(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => claim_and_rename(from, to),
        done => Ok(done?),
    }
}

/// The same where the file system knows no such renaming: takes the name with an empty file, and replaces only that.
fn claim_and_rename(from: &Path, to: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(to)?;
    std::fs::rename(from, to).inspect_err(|_| drop(std::fs::remove_file(to)))
}

fn exists(path: &Path) -> Failure {
    let what = format!("{} exists; a backup never overwrites a file", file_name(path));
    Failure::refused(what, "choose another name")
}

fn left_over(partial: &Path) -> Failure {
    let what = format!("{} is there: a backup still writes it, or one was broken off", file_name(partial));
    Failure::refused(what, "if no backup runs, remove it; then take the backup again, or choose another name")
}

#[derive(Default)]
struct Received {
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Received {
    fn add(&mut self, chunk: &[u8]) {
        self.hasher.update(chunk);
        self.bytes += chunk.len() as u64;
    }

    fn check(&self, end: &BackupEnd) -> Result<(), Failure> {
        let digest = Digest::from_raw(*self.hasher.finalize().as_bytes());
        if self.bytes == end.bytes && digest == end.digest {
            return Ok(());
        }
        Err(incomplete("what arrived is not what was sent"))
    }
}

fn incomplete(why: &str) -> Failure {
    Failure::refused(format!("the copy of the journal is not whole: {why}"), "take it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also where the file system cannot rename without replacing, nothing that has the name is replaced.
    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to, free] = ["from", "to", "free"].map(|name| dir.path().join(name));
        std::fs::write(&to, "own").unwrap();
        for rename in [rename_anew, claim_and_rename] {
            std::fs::write(&from, "copy").unwrap();
            assert_eq!(rename(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(std::fs::read_to_string(&to).unwrap(), "own");
            rename(&from, &free).unwrap();
            assert_eq!((std::fs::read_to_string(&free).unwrap(), from.exists()), ("copy".into(), false));
            std::fs::remove_file(&free).unwrap();
        }
    }
}
