//! What is found of one's own mail, how it is covered, and what is left out.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;

use super::cover::name;
use super::*;

fn maildir(root: &Path, path: impl AsRef<Path>) {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(root.join(path.as_ref()).join(part)).unwrap();
    }
}

fn layouts(mail: &OwnMail) -> Vec<&str> {
    mail.shards.iter().map(|shard| shard.layout.as_str()).collect()
}

fn alien() -> OsString {
    OsString::from_vec(b"ann\xe9".to_vec())
}

#[test]
fn mailboxes_of_any_depth_are_covered_one_by_one() {
    let root = tempfile::tempdir().unwrap();
    for path in ["anna", "ex.org/bert/Maildir", ".hidden/carl", "anna/old", "anna/.Sent", "a/b/c/d"] {
        maildir(root.path(), path);
    }
    fs::create_dir_all(root.path().join("ex.org/no mail/here")).unwrap();
    let mail = look(root.path()).unwrap();
    assert_eq!(layouts(&mail), ["anna", ".hidden/carl", "a/b/c/d", "anna/old", "ex.org/bert/Maildir"]);
    assert_eq!((mail.mailboxes, mail.left_out.len()), (5, 0));
    let nodes = mail.nodes();
    assert_eq!(nodes.iter().map(|node| node.roots.len()).collect::<Vec<_>>(), [2, 2, 1]);
    let again = OwnMail::recall(root.path(), &mail.to_text()).unwrap();
    assert_eq!((again.root, again.shards), (mail.root, mail.shards));
}

#[test]
fn a_maildir_itself_is_one_mailbox() {
    let root = tempfile::tempdir().unwrap();
    maildir(root.path(), ".maildir");
    let mail = look(&root.path().join(".maildir")).unwrap();
    assert_eq!((mail.root.clone(), mail.mailboxes), (root.path().canonicalize().unwrap(), 1));
    assert_eq!(mail.shards, [Shard { name: "maildir".to_owned(), layout: ".maildir".to_owned() }]);
    assert_eq!(mail.nodes().len(), 1);
}

#[test]
fn what_is_left_out_is_counted_by_reason() {
    let root = tempfile::tempdir().unwrap();
    maildir(root.path(), "anna");
    maildir(root.path(), "mixed/b%rt");
    maildir(root.path(), "mixed/c\trl");
    maildir(root.path(), "a/b/c/d/e/deep");
    fs::create_dir(root.path().join("mixed/other")).unwrap();
    symlink("anna", root.path().join("alias")).unwrap();
    let mail = look(root.path()).unwrap();
    assert_eq!(layouts(&mail), ["anna"]);
    let left_out = [(LeftOut::TooDeep, 1), (LeftOut::Links, 1), (LeftOut::Names, 2)];
    assert_eq!(mail.left_out, BTreeMap::from(left_out));
    assert!(mail.to_string().contains("is not UTF-8, or has a control character or one of % { }"), "{mail}");
    assert_eq!(mail.to_string().lines().count(), 4, "{mail}");
}

/// A variable matches any name, so a folder of nothing but mailboxes is covered whole.
#[test]
fn names_that_no_layout_holds_are_covered_by_a_variable() {
    let root = tempfile::tempdir().unwrap();
    maildir(root.path(), Path::new("flat").join(alien()));
    maildir(root.path(), "flat/bert");
    maildir(root.path(), Path::new("nested").join(alien()).join("Maildir"));
    maildir(root.path(), "nested/bert/Maildir");
    fs::create_dir_all(root.path().join("nested/other/notes")).unwrap();
    let mail = look(root.path()).unwrap();
    assert_eq!(layouts(&mail), ["flat/{user}", "nested/{user}/Maildir"]);
    assert_eq!((mail.mailboxes, mail.left_out.len()), (4, 0));
    assert_eq!(mail.shards[0].name, "flat-all");
}

#[test]
fn more_mailboxes_than_shards_are_covered_by_folder() {
    let found: Vec<Below> = (0..=AGENTS * SHARDS_PER_AGENT_MAX)
        .map(|no| ["ex.org".to_owned(), format!("u{no}")].map(OsString::from).to_vec())
        .collect();
    let root = tempfile::tempdir().unwrap();
    for path in &found {
        fs::create_dir_all(path_of(root.path(), path)).unwrap();
    }
    let mut left_out = BTreeMap::new();
    let (shards, mailboxes) = cover(root.path(), found.clone(), &mut left_out);
    assert_eq!((shards.len(), mailboxes, left_out.len()), (1, found.len(), 0));
    assert_eq!(shards[0].layout, "ex.org/{user}");
    fs::create_dir(root.path().join("ex.org/other")).unwrap();
    let (shards, _) = cover(root.path(), found, &mut left_out);
    assert_eq!(shards.len(), AGENTS * SHARDS_PER_AGENT_MAX);
    assert_eq!(left_out, BTreeMap::from([(LeftOut::Shards, 1)]));
}

#[test]
fn names_of_shards_differ() {
    let mut taken = BTreeSet::new();
    let names: Vec<String> =
        ["a/b", "a-b", "è", &"x".repeat(90)].iter().map(|l| name(l, &mut taken)).collect();
    assert_eq!(names[..3], ["a-b", "a-b-2", "mail"]);
    assert!(names.iter().all(|name| rientro_types::ShardId::new(name).is_ok()));
}
