//! A small disk that can be filled: a tmpfs in a mount namespace of its own, which outlives the processes that use it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The disk, mounted where the state directory of `folder` is.
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
    holder: Child,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ended = self.holder.kill().and_then(|()| self.holder.wait());
    }
}

impl Disk {
    /// Makes a disk of so many bytes.
    pub(crate) fn mount(folder: &Path, bytes: u64) -> Self {
        let state = folder.join("state");
        fs::create_dir(&state).unwrap();
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let hold = "mount -t tmpfs -o size=$1 tmpfs \"$2\" && echo mounted && exec sleep infinity";
        command.args(["--mount", "sh", "-c", hold, "sh", &bytes.to_string()]).arg(&state);
        let mut holder = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let disk = Self { folder: folder.to_owned(), holder };
        assert_eq!(
            said, "mounted\n",
            "no tmpfs could be mounted in a namespace of its own (needs `unshare` and root or user namespaces)"
        );
        disk
    }

    /// A command that sees the disk, without what is to be run.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.id().to_string()]);
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
    }

    /// A file on it, as this process reaches it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let seen = self.folder.join("state").join(name);
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(seen.strip_prefix("/").unwrap())
    }

    /// Writes a file until not a byte more can be written.
    pub(crate) fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.file("filler")).unwrap();
        for bytes in [1 << 16, 1] {
            while filler.write_all(&vec![7; bytes]).is_ok() {}
        }
    }

    /// Makes room again.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.file("filler")).unwrap();
    }
}
