//! What of a baseline could not be looked at: it is neither called gone nor lost.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rientro_mailstore::Comparison;
use rientro_types::{FindingKind as Kind, Outcome, Ppm};
use store::kept::{ASKED, INTACT, Kept, REMOVED, dboxes};
use store::{message, unprivileged};

fn close(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o0)).unwrap();
}

/// What a reader says who may not look into this part of anna's mailbox.
fn closed(part: &str) -> (Comparison, Vec<(Kind, String)>) {
    let kept = Kept::with_baseline();
    close(&kept.anna.0.join(part));
    let (outcome, comparison, found) = unprivileged(|| kept.told());
    assert_eq!(outcome, Outcome::Unreadable, "{found:?}");
    (comparison, found)
}

fn unreadable(path: &str) -> Vec<(Kind, String)> {
    vec![(Kind::DirectoryUnreadable, path.to_owned())]
}

#[test]
fn messages_of_a_directory_that_does_not_open_are_told_by_it() {
    assert_eq!(closed("cur"), (Comparison { intact: 1, uncompared: 3, ..INTACT }, unreadable("cur")));
}

#[test]
fn a_folder_that_does_not_open_is_not_called_gone() {
    assert_eq!(closed(".Sent"), (Comparison { intact: 3, uncompared: 1, ..INTACT }, unreadable(".Sent")));
}

#[test]
fn a_mailbox_that_does_not_open_has_lost_nothing_yet() {
    assert_eq!(closed(""), (Comparison { intact: 0, uncompared: 4, ..INTACT }, unreadable("")));
    let kept = Kept::with_baseline();
    close(kept.anna.0.parent().unwrap());
    let (outcome, comparison, found) = unprivileged(|| kept.told());
    assert_eq!((outcome, comparison.uncompared, found.len()), (Outcome::Unreadable, 4, 1), "{found:?}");
}

#[test]
fn a_file_that_does_not_open_is_not_called_lost() {
    let kept = Kept::with_baseline();
    close(&kept.anna.file(2));
    let (outcome, comparison, found) = unprivileged(|| kept.told());
    assert_eq!((outcome, found.len()), (Outcome::Unreadable, 1), "{found:?}");
    assert_eq!(comparison, Comparison { intact: 3, uncompared: 1, ..INTACT });
}

/// A link is not followed, so that what is behind it is not known.
#[test]
fn a_folder_behind_a_link_is_not_called_gone() {
    let kept = Kept::with_baseline();
    let away = kept.apart.path().join("away");
    fs::rename(kept.anna.0.join(".Sent"), &away).unwrap();
    std::os::unix::fs::symlink(&away, kept.anna.0.join(".Sent")).unwrap();
    let (_, comparison, found) = kept.told();
    assert_eq!(found, [(Kind::SymbolicLink, ".Sent".to_owned())]);
    assert_eq!(comparison, Comparison { intact: 3, uncompared: 1, ..INTACT });
}

/// No such folder is below what does not open.
#[test]
fn a_folder_beside_one_that_does_not_open_is_gone() {
    let kept = Kept::new();
    let other = kept.anna.folder(".Sent.2020");
    other.deliver(8, &message(8));
    other.write_uids(&[8]);
    kept.write(None);
    close(&kept.anna.0.join(".Sent"));
    fs::remove_dir_all(&other.0).unwrap();
    let (_, comparison, found) = unprivileged(|| kept.told());
    assert_eq!(comparison, Comparison { intact: 3, uncompared: 1, gone: 1, ..INTACT });
    assert!(found.contains(&(Kind::FolderGone, ".Sent.2020".to_owned())), "{found:?}");
}

/// The log knows of it, whether its directory opens or not.
#[test]
fn removals_are_known_where_the_directory_does_not_open() {
    let kept = Kept::with_baseline();
    kept.lose(2, &[(ASKED, &[2, 2]), (REMOVED, &[2, 2])]);
    close(&kept.anna.0.join("cur"));
    let (_, comparison, found) = unprivileged(|| kept.told());
    assert_eq!(comparison, Comparison { intact: 1, expunged: 1, uncompared: 2, ..INTACT }, "{found:?}");
}

#[test]
fn what_was_uncompared_is_not_covered() {
    let kept = Kept::with_baseline();
    close(&kept.anna.0.join("cur"));
    let coverage = unprivileged(|| kept.compare().0.report.verdict.coverage);
    assert!(coverage <= Ppm::ratio(1, 4), "{coverage}");
}

#[test]
fn folders_of_a_dbox_that_do_not_open_are_not_called_gone() {
    for part in ["mailboxes", "mailboxes/INBOX", "mailboxes/INBOX/dbox-Mails"] {
        let (kept, sdbox, mdbox) = dboxes();
        close(&sdbox.0.join(part));
        let (outcome, comparison, found) = unprivileged(|| kept.told());
        assert_eq!((outcome, &found[..]), (Outcome::Unreadable, &unreadable(part)[..]));
        assert_eq!(comparison, Comparison { intact: 5, uncompared: 3, ..INTACT });
        close(&mdbox.0.join(part));
        let (outcome, comparison, found) = unprivileged(|| kept.told());
        // Nobody knows how many references the folders have that do not open.
        assert_eq!(
            (outcome, &found[..]),
            (Outcome::Unreadable, &[unreadable(part), unreadable(part)].concat()[..])
        );
        assert_eq!((comparison.gone, comparison.missing), (0, 0), "{comparison:?}");
    }
}

#[test]
fn messages_in_files_of_an_mdbox_that_do_not_open_are_not_called_lost() {
    for part in ["storage", "storage/m.1"] {
        let (kept, _, mdbox) = dboxes();
        close(&mdbox.0.join(part));
        let (outcome, comparison, found) = unprivileged(|| kept.told());
        assert_eq!(outcome, Outcome::Unreadable, "{found:?}");
        assert_eq!((comparison.gone, comparison.missing), (0, 0), "{part}: {comparison:?} {found:?}");
        assert!(comparison.uncompared > 0, "{comparison:?}");
    }
}

/// A link may have such a name, and a folder may: that one is gone then, and nothing else tells of it.
#[test]
fn a_folder_in_whose_place_is_a_link_that_may_stand_there_is_gone() {
    for name in ["sieve", ".dovecot.sieve", "dbox-alt-root"] {
        let kept = Kept::new();
        let folder = kept.anna.folder(name);
        folder.deliver(8, &message(8));
        folder.write_uids(&[8]);
        kept.write(None);
        fs::rename(&folder.0, kept.apart.path().join("away")).unwrap();
        std::os::unix::fs::symlink("/nowhere", &folder.0).unwrap();
        let (outcome, comparison, found) = kept.told();
        assert_eq!((outcome, found), (Outcome::Unreadable, vec![(Kind::FolderGone, name.to_owned())]));
        assert_eq!(comparison, Comparison { gone: 1, ..INTACT });
        let written = kept.write(Some(&kept.manifest()));
        assert_eq!((written.withheld, written.totals.messages), (1, 5), "{name}");
    }
}

/// One that cannot be read stands for itself, and not for all that have its GUID.
#[test]
fn one_file_that_does_not_open_hides_one_message() {
    let kept = Kept::new();
    let uidlist = kept.anna.0.join("dovecot-uidlist");
    let one_guid = || {
        let text = fs::read_to_string(&uidlist).unwrap();
        fs::write(&uidlist, text.replace(" :", " G77 :")).unwrap();
    };
    one_guid();
    kept.write(None);
    for number in [1, 2] {
        fs::remove_file(kept.anna.file(number)).unwrap();
    }
    kept.anna.write_uids(&[3]);
    one_guid();
    close(&kept.anna.file(3));
    let (compared, findings) = unprivileged(|| kept.compare());
    let Comparison { intact, gone, uncompared, .. } = compared.comparison;
    assert!((intact, gone + uncompared) == (1, 3) && gone > 0, "{:?}", compared.comparison);
    assert!(compared.report.verdict.coverage <= Ppm::ratio(1, 4), "{findings:?}");
}

#[test]
fn many_messages_in_a_file_that_does_not_open_are_each_uncovered() {
    let (kept, _, mdbox) = dboxes();
    close(&mdbox.0.join("storage"));
    let compared = unprivileged(|| kept.compare().0);
    let uncompared = compared.comparison.uncompared;
    assert!(uncompared >= 4, "{:?}", compared.comparison);
    let coverage = compared.report.verdict.coverage;
    assert!(coverage <= Ppm::ratio(3, 3 + uncompared), "{coverage} {:?}", compared.comparison);
}
