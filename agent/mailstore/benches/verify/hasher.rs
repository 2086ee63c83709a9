//! The other program that reads and hashes the same files.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// `b3sum` over the list of files that verification reads, by as many processes as it has readers.
pub(super) struct Hasher {
    list: tempfile::NamedTempFile,
    processes: usize,
    files: usize,
}

impl Hasher {
    /// Makes the list; nothing, with a message, when a program is missing.
    pub(super) fn find(root: &Path, processes: usize) -> Option<Self> {
        for program in ["b3sum", "xargs"] {
            let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            if !found.is_ok_and(|status| status.success()) {
                println!(
                    "{program} is not installed: the comparison with `xargs -0 -P{processes} b3sum` is left out"
                );
                return None;
            }
        }
        let mut list = tempfile::NamedTempFile::new().unwrap();
        let (mut folders, mut files) = (vec![root.to_owned()], 0);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    list.write_all(entry.path().as_os_str().as_encoded_bytes()).unwrap();
                    list.write_all(b"\0").unwrap();
                    files += 1;
                }
            }
        }
        list.flush().unwrap();
        Some(Self { list, processes, files })
    }

    /// One thread for each process, and batches so large that starting processes costs next to nothing, yet enough of them
    /// that all are busy.
    pub(super) fn run(&self) -> String {
        let batch = (self.files / self.processes / 4).clamp(1, 2_000).to_string();
        let mut hash = Command::new("xargs");
        hash.args(["-0", &format!("-P{}", self.processes), "-n", &batch, "b3sum", "--num-threads", "1"]);
        hash.stdin(self.list.reopen().unwrap()).stdout(Stdio::null());
        assert!(hash.status().unwrap().success(), "b3sum failed");
        format!("{} files", self.files)
    }
}
