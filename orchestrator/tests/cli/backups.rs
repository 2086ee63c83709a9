//! Backups beside files of others: nothing is replaced or removed but what the run itself made.

use std::path::{Path, PathBuf};

use crate::server::Canned;
use crate::{Cell, Run};

struct Place {
    dir: tempfile::TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("copy");
        Self { dir, file }
    }

    /// Takes a backup, while which somebody else does something there.
    async fn backup(&self, meanwhile: Option<fn(&Path)>) -> Run {
        let canned = Canned {
            backup_meanwhile: meanwhile,
            backup_beside: self.dir.path().to_owned(),
            ..Canned::default()
        };
        Cell::new(canned).await.run(&["journal", "backup", self.file.to_str().expect("UTF-8")]).await
    }

    /// What the files there hold, by name.
    fn files(&self) -> Vec<(String, String)> {
        let entries = std::fs::read_dir(self.dir.path()).expect("the directory");
        let mut files: Vec<_> = entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                let content = std::fs::read_to_string(entry.path()).unwrap_or_else(|_| "unreadable".into());
                (entry.file_name().into_string().expect("UTF-8"), content)
            })
            .collect();
        files.sort();
        files
    }
}

fn own(name: &str, content: &str) -> (String, String) {
    (name.to_owned(), content.to_owned())
}

/// What a backup that was killed left behind, or another one writes, is left and named.
#[tokio::test]
async fn a_partial_copy_of_another_run_is_left_and_named() {
    let place = Place::new();
    std::fs::write(place.dir.path().join("copy.partial"), "theirs").expect("written");
    let run = place.backup(None).await;
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("copy.partial is there: a backup still writes it, or one was broken off"));
    assert!(run.stderr.contains("if no backup runs, remove it"), "{}", run.stderr);
    assert_eq!(place.files(), [own("copy.partial", "theirs")]);
}

/// A file, or a link to nowhere, that gets the name meanwhile keeps it.
#[tokio::test]
async fn what_takes_the_name_meanwhile_is_not_replaced() {
    let write = |dir: &Path| std::fs::write(dir.join("copy"), "theirs").expect("written");
    let link = |dir: &Path| std::os::unix::fs::symlink("nowhere", dir.join("copy")).expect("linked");
    for (meanwhile, left) in [(write as fn(&Path), "theirs"), (link, "unreadable")] {
        let place = Place::new();
        let run = place.backup(Some(meanwhile)).await;
        assert_eq!(run.code, 1, "{}", run.stdout);
        assert!(run.stderr.contains("exists; a backup never overwrites a file"), "{}", run.stderr);
        assert_eq!(place.files(), [own("copy", left)]);
        let run = place.backup(None).await;
        assert!(run.stderr.contains("exists; a backup never overwrites a file"), "{}", run.stderr);
        assert_eq!(place.files(), [own("copy", left)]);
    }
}

/// A copy that was taken for a leftover and removed, and begun again by another run, is that run's.
#[tokio::test]
async fn a_partial_copy_that_became_anothers_is_left() {
    let place = Place::new();
    let run = place
        .backup(Some(|dir| {
            std::fs::rename(dir.join("copy.partial"), dir.join("aside")).expect("moved");
            std::fs::write(dir.join("copy.partial"), "theirs").expect("written");
        }))
        .await;
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("is not the file that this backup wrote"), "{}", run.stderr);
    assert_eq!(place.files(), [own("aside", "abcdefghij"), own("copy.partial", "theirs")]);
}
