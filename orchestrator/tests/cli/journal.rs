//! The journal as it is verified, told and copied.

use std::os::unix::fs::PermissionsExt;

use rientro_types::{Advice, Seq};
use rientro_wire::operator::JournalCheck;

use crate::server::Canned;
use crate::{Cell, transcripts};

#[tokio::test]
async fn the_journal_is_verified_and_told() {
    let text =
        transcripts(&[&["journal", "verify"], &["journal", "tail"], &["journal", "tail", "--from", "4710"]])
            .await;
    insta::assert_snapshot!(text);
    let check = JournalCheck::Broken {
        entries: 12,
        seq: Seq::from_raw(40),
        problem: "the digest does not follow".to_owned(),
    };
    let broken = Cell::new(Canned { check, ..Canned::default() }).await.run(&["journal", "verify"]).await;
    assert_eq!(broken.code, 1);
    assert!(broken.stdout.contains("BROKEN at record 40: the digest does not follow"));
    let mut canned = Canned::default();
    if let JournalCheck::Intact { key_problem, .. } = &mut canned.check {
        *key_problem = Some(Advice::new("/x/mailbox.key is another cell's", "put the own one there"));
    }
    let keyless = Cell::new(canned).await.run(&["journal", "verify"]).await;
    assert_eq!(keyless.code, 1);
    assert!(keyless.stdout.contains("is intact"));
    assert!(keyless.stderr.contains("/x/mailbox.key is another cell's\nput the own one there"));
}

/// The journal is copied whatever the key beside it is, as it is the part that nobody else has; but nobody relies on it unwarned.
#[tokio::test]
async fn a_backup_beside_a_wrong_key_is_taken_and_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let key_problem = Some(Advice::new("/x/mailbox.key is another cell's", "put the own one there"));
    let cell = Cell::new(Canned { backup_key: key_problem, ..Canned::default() }).await;
    for form in ["table", "json"] {
        let file = dir.path().join(form);
        let run = cell.run(&["journal", "backup", file.to_str().expect("UTF-8"), "-o", form]).await;
        assert_eq!((run.code, file.exists()), (1, true), "{}", run.stderr);
        let told = format!("{}{}", run.stdout, run.stderr);
        assert!(told.contains("/x/mailbox.key is another cell's") && told.contains("put the own one there"));
    }
}

#[tokio::test]
async fn a_backup_is_whole_or_not_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("copy.rjb");
    let path = file.to_str().expect("UTF-8");
    let cell = Cell::new(Canned::default()).await;
    let run = cell.run(&["journal", "backup", path]).await;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(std::fs::read(&file).expect("the copy"), b"abcdefghij");
    let mode = std::fs::metadata(&file).expect("the copy").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "it holds what the journal holds");
    let again = cell.run(&["journal", "backup", path]).await;
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("exists; a backup never overwrites a file"));

    let broken = Cell::new(Canned { backup_whole: false, ..Canned::default() }).await;
    let other = dir.path().join("other.rjb");
    let run = broken.run(&["journal", "backup", other.to_str().expect("UTF-8")]).await;
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("it broke off\ntake it again"), "{}", run.stderr);
    assert_eq!(std::fs::read_dir(dir.path()).expect("the directory").count(), 1, "nothing partial is left");
}
