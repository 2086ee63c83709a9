//! Baselines that are written again: what of them is read, what is taken over, and what stays as it was.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use rientro_mailstore::{
    Comparison, Control, Expected, Manifest, ManifestError, Renewal, Target, Written, write_baseline,
};
use rientro_types::{FindingKind as Kind, Outcome, Ppm};
use store::kept::{ASKED, INTACT, Kept, REMOVED, dboxes};
use store::{Store, message, overwrite, unprivileged};

#[test]
fn an_unchanged_shard_is_neither_read_nor_written_again() {
    let kept = Kept::with_baseline();
    let before = fs::read(kept.path()).unwrap();
    let (written, read) = kept.write_counting(Some(&kept.manifest()));
    assert_eq!((written.renewal, read, written.totals), (Renewal::Unchanged, 0, *kept.manifest().totals()));
    assert_eq!(written.report.verdict.coverage, Ppm::ZERO, "nothing was read, so nothing is said of it");
    assert_eq!(fs::read(kept.path()).unwrap(), before);
    assert_eq!(fs::read_dir(kept.apart.path()).unwrap().count(), 1);
}

#[test]
fn only_what_changed_is_read_and_the_result_is_that_of_a_whole_reading() {
    let kept = Kept::with_baseline();
    let bert = kept.store.maildir("ex.org/bert");
    bert.deliver(5, &message(5));
    bert.write_uids(&[5]);
    let flagged = kept.anna.file(2);
    fs::rename(&flagged, flagged.to_str().unwrap().replace(":2,S", ":2,FS")).unwrap();
    kept.anna.deliver(4, &message(4));
    kept.anna.write_uids(&[1, 2, 3, 4]);
    let (written, read) = kept.write_counting(Some(&kept.manifest()));
    let lengths = [5, 2, 4].map(|number| message(number).len() as u64);
    assert_eq!((written.renewal, read), (Renewal::Written, lengths.iter().sum()));
    let by_parts = *kept.manifest().totals();
    let whole = kept.write(None);
    assert_eq!((by_parts.root, by_parts.messages), (whole.totals.root, 6));
    assert_eq!(kept.told().1, Comparison { intact: 6, ..INTACT });
}

/// A write whose times were put back is seen by the time of change, which nobody sets.
#[test]
fn a_write_that_hides_is_read_again() {
    let kept = Kept::with_baseline();
    let file = kept.anna.file(1);
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    overwrite(&file, 9_000, b"X");
    File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    let (written, read) = kept.write_counting(Some(&kept.manifest()));
    assert_eq!((written.renewal, read), (Renewal::Kept, message(1).len() as u64));
}

#[test]
fn a_cancelled_writing_leaves_the_baseline_before_in_its_place() {
    let kept = Kept::with_baseline();
    let before = fs::read(kept.path()).unwrap();
    kept.anna.deliver(4, &message(4));
    let (control, path) = (Control::default(), kept.path());
    control.cancel();
    let target = Target { path: &path, previous: None, damaged_too: false, now_ms: 0 };
    let refused = write_baseline(&kept.store.task(), target, &control, &mut |_| ()).unwrap_err();
    assert!(matches!(refused, ManifestError::Unfinished(_)), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(kept.apart.path()).unwrap().count(), 1);
}

#[test]
fn files_of_a_dbox_that_did_not_change_are_not_read() {
    let (kept, sdbox, _) = dboxes();
    let whole = *kept.manifest().totals();
    let (written, read) = kept.write_counting(Some(&kept.manifest()));
    assert_eq!((written.renewal, read), (Renewal::Unchanged, 0));
    let touched = fs::read(sdbox.at("u.2")).unwrap();
    fs::write(sdbox.at("u.2"), &touched).unwrap();
    let (written, read) = kept.write_counting(Some(&kept.manifest()));
    assert_eq!((written.renewal, read), (Renewal::Written, touched.len() as u64));
    assert_eq!((written.totals.root, written.totals.messages), (whole.root, whole.messages));
    assert_eq!(kept.told().0, Outcome::Clean);
}

/// What is lost while nobody looks must be missed by the next look, too.
#[test]
fn a_baseline_is_not_replaced_by_one_of_damaged_mail() {
    let kept = Kept::with_baseline();
    kept.lose(2, &[(ASKED, &[9, 9]), (REMOVED, &[2, 2])]);
    let bert = kept.store.maildir("ex.org/bert");
    bert.deliver(5, &message(5));
    let written = kept.write(Some(&kept.manifest()));
    assert_eq!((written.renewal, written.withheld), (Renewal::Written, 1), "another mailbox is new");
    assert_eq!((written.report.verdict.outcome, written.totals.messages), (Outcome::Damaged, 5));
    assert_eq!(written.comparison, Comparison { intact: 3, missing: 1, ..INTACT });
    let again = kept.write(Some(&kept.manifest()));
    assert_eq!((again.renewal, again.withheld), (Renewal::Kept, 1));
    let comparison = kept.told().1;
    assert_eq!((comparison.missing, comparison.intact), (1, 4), "and it is missed by the next look");
    let written = write_damaged_too(&kept).unwrap();
    assert_eq!((written.renewal, written.totals.messages), (Renewal::Written, 4));
}

/// What a killed writer left is in nobody's way, and two writers at once are not in each other's.
#[test]
fn one_process_writes_a_manifest_at_a_time() {
    let kept = Kept::with_baseline();
    let beside = kept.apart.path().join("baseline.new");
    for left in [&b""[..], b"rientro-", b"rientro-manifest and what had come"] {
        fs::write(&beside, left).unwrap();
        assert_eq!(kept.write(None).renewal, Renewal::Written);
        assert!(!beside.exists());
    }

    let (path, other) = (kept.path(), File::create(&beside).unwrap());
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let target = Target { path: &path, previous: None, damaged_too: false, now_ms: 0 };
    let refused = write_baseline(&kept.store.task(), target, &Control::default(), &mut |_| ()).unwrap_err();
    assert!(matches!(refused, ManifestError::Busy { .. }), "{refused}");
    assert!(beside.exists(), "it is the other's");
}

/// Mailboxes that are gone, or could not be read, keep what the baseline has of them.
#[test]
fn a_renewal_forgets_nothing() {
    for lose in [
        (|kept: &Kept| fs::remove_dir_all(&kept.anna.0).unwrap()) as fn(&Kept),
        |kept| fs::remove_dir_all(kept.store.dir.path().join("ex.org")).unwrap(),
        |kept| fs::set_permissions(kept.anna.file(2), fs::Permissions::from_mode(0o0)).unwrap(),
        |kept| fs::set_permissions(&kept.anna.0, fs::Permissions::from_mode(0o0)).unwrap(),
        |kept| fs::set_permissions(kept.anna.0.parent().unwrap(), fs::Permissions::from_mode(0o0)).unwrap(),
    ] {
        let kept = Kept::new();
        kept.store.maildir("ex.net/bert");
        kept.write(None);
        lose(&kept);
        let written = unprivileged(|| kept.write(Some(&kept.manifest())));
        assert_eq!((written.renewal, written.withheld), (Renewal::Kept, 1), "{written:?}");
        assert_eq!(written.totals, *kept.manifest().totals());
    }
}

/// A volume that is not mounted has no first baseline.
#[test]
fn nothing_has_no_baseline() {
    let (store, apart) = (Store::new(), tempfile::tempdir().unwrap());
    let path = apart.path().join("baseline");
    let target = Target { path: &path, previous: None, damaged_too: false, now_ms: 0 };
    let refused = write_baseline(&store.task(), target, &Control::default(), &mut |_| ()).unwrap_err();
    assert!(refused.to_string().contains("is the volume mounted"), "{refused}");
}

#[test]
fn a_manifest_that_lost_bytes_is_refused_and_a_damaged_section_says_nothing() {
    let kept = Kept::with_baseline();
    let (whole, root) = (fs::read(kept.path()).unwrap(), kept.manifest().totals().root);
    for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(kept.path(), &whole[..cut]).unwrap();
        let refused = Manifest::open(&kept.path()).unwrap_err();
        assert!(matches!(refused, ManifestError::Malformed { .. }), "{refused}");
    }
    fs::write(kept.path(), &whole).unwrap();
    overwrite(&kept.path(), 40, b"\0\0\0\0");
    let (outcome, comparison, found) = kept.told();
    assert_eq!((outcome, found), (Outcome::Unreadable, vec![(Kind::BaselineUnreadable, String::new())]));
    assert_eq!(comparison, Comparison { intact: 0, uncompared: 4, ..INTACT }, "nobody knows of any");
    assert_eq!(kept.compare().0.report.verdict.coverage, Ppm::ZERO);
    // What is damaged is not taken over.
    let (written, read) = kept.write_counting(Some(&kept.manifest()));
    assert_eq!(
        (written.renewal, read),
        (Renewal::Written, [1, 2, 3, 7].map(|n| message(n).len() as u64).iter().sum())
    );
    assert_eq!(kept.manifest().totals().root, root);
}

/// What is written anew also where mailboxes are damaged or missing.
fn write_damaged_too(kept: &Kept) -> Result<Written, ManifestError> {
    let (path, manifest) = (kept.path(), kept.manifest());
    let target = Target { path: &path, previous: Some(&manifest), damaged_too: true, now_ms: 0 };
    write_baseline(&kept.store.task(), target, &Control::default(), &mut |_| ())
}

/// T24: what shows no mailbox is no shard that lost all of them, whatever is asked for.
#[test]
fn an_empty_volume_takes_no_baseline() {
    let mut kept = Kept::with_baseline();
    let before = fs::read(kept.path()).unwrap();
    fs::remove_dir_all(kept.store.dir.path().join("ex.org")).unwrap();
    for refused in [kept.try_write(Some(&kept.manifest())), kept.try_write(None), write_damaged_too(&kept)] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("is the volume mounted"), "{refused}");
    }
    assert_eq!(fs::read(kept.path()).unwrap(), before);
    kept.store.expected = Some(Expected::default());
    let written = kept.write(Some(&kept.manifest()));
    assert_eq!((written.renewal, written.totals.mailboxes), (Renewal::Written, 0), "the list says so");
}

/// A mail server makes mailboxes where a volume is not mounted.
#[test]
fn empty_mailboxes_take_no_baseline_of_full_ones() {
    let kept = Kept::with_baseline();
    let before = fs::read(kept.path()).unwrap();
    fs::remove_dir_all(&kept.anna.0).unwrap();
    kept.store.maildir("ex.org/anna");
    assert_eq!(kept.write(Some(&kept.manifest())).renewal, Renewal::Kept);
    let refused = write_damaged_too(&kept).unwrap_err().to_string();
    assert!(refused.contains("is the volume mounted"), "{refused}");
    assert_eq!(fs::read(kept.path()).unwrap(), before);
    assert_eq!(kept.write(None).totals.messages, 0, "anew");
}

/// What cannot be looked into is not known to be lost.
#[test]
fn only_mailboxes_that_are_missing_are_taken_for_lost() {
    let kept = Kept::new();
    for (mailbox, number) in [("ex.net/bert", 5), ("ex.org/carl", 6)] {
        let mailbox = kept.store.maildir(mailbox);
        mailbox.deliver(number, &message(number));
        mailbox.write_uids(&[number]);
    }
    kept.write(None);
    fs::remove_dir_all(kept.store.dir.path().join("ex.org/carl")).unwrap();
    let hidden = kept.store.dir.path().join("ex.net");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o0)).unwrap();
    let written = unprivileged(|| write_damaged_too(&kept)).unwrap();
    assert_eq!((written.renewal, written.withheld), (Renewal::Written, 1), "{written:?}");
    assert_eq!((written.totals.mailboxes, written.totals.messages), (2, 5));
}

/// A section that is damaged says of no message whether it is lost.
#[test]
fn a_damaged_section_is_replaced_where_the_mailbox_is_healthy_or_damage_is_taken() {
    let kept = Kept::with_baseline();
    overwrite(&kept.path(), 40, b"\0\0\0\0");
    fs::remove_file(kept.anna.file(2)).unwrap();
    for _ in 0..2 {
        let (written, kinds) = kept.write_telling(Some(&kept.manifest()));
        assert_eq!((written.renewal, written.withheld), (Renewal::Kept, 1));
        assert!(kinds.contains(&Kind::BaselineUnreadable), "{kinds:?}");
    }
    // Another mailbox does not wait for it, and the section is as damaged as it was.
    let bert = kept.store.maildir("ex.org/bert");
    bert.deliver(5, &message(5));
    bert.write_uids(&[5]);
    let written = kept.write(Some(&kept.manifest()));
    assert_eq!((written.renewal, written.withheld), (Renewal::Written, 1));
    assert_eq!(kept.told().1, Comparison { intact: 1, uncompared: 4, ..INTACT });
    let written = write_damaged_too(&kept).unwrap();
    assert_eq!((written.renewal, written.withheld), (Renewal::Written, 0));
    assert_eq!(kept.told().1, Comparison { intact: 4, ..INTACT });
}

#[test]
fn a_damaged_section_of_a_mailbox_that_is_gone_is_in_nobodys_way() {
    let kept = Kept::with_baseline();
    overwrite(&kept.path(), 40, b"\0\0\0\0");
    fs::remove_dir_all(&kept.anna.0).unwrap();
    let bert = kept.store.maildir("ex.org/bert");
    bert.deliver(5, &message(5));
    bert.write_uids(&[5]);
    let written = kept.write(Some(&kept.manifest()));
    assert_eq!((written.renewal, written.withheld), (Renewal::Written, 1));
    assert_eq!(kept.told().1, Comparison { intact: 1, missing: 4, ..INTACT });
}

/// Damage is taken; what could not be looked into may be whole.
#[test]
fn what_could_not_be_looked_into_is_not_taken_for_damage() {
    for closed in ["", "cur", ".Sent"] {
        let kept = Kept::new();
        let bert = kept.store.maildir("ex.net/bert");
        bert.deliver(5, &message(5));
        bert.write_uids(&[5]);
        kept.write(None);
        fs::remove_file(bert.file(5)).unwrap();
        fs::set_permissions(kept.anna.0.join(closed), fs::Permissions::from_mode(0o0)).unwrap();
        let written = unprivileged(|| write_damaged_too(&kept)).unwrap();
        assert_eq!((written.renewal, written.withheld), (Renewal::Written, 1), "{closed}");
        assert_eq!(written.totals.messages, 4, "anna's are kept, and bert's loss is taken");
    }
}

#[test]
fn a_file_that_does_not_open_is_not_taken_for_damage() {
    let kept = Kept::with_baseline();
    fs::set_permissions(kept.anna.file(2), fs::Permissions::from_mode(0o0)).unwrap();
    let written = unprivileged(|| write_damaged_too(&kept)).unwrap();
    assert_eq!((written.renewal, written.withheld, written.totals.messages), (Renewal::Kept, 1, 4));
}

/// What cannot be read at this moment may be whole: nothing is written anew because of it.
#[test]
fn a_manifest_that_cannot_be_read_is_not_forgotten() {
    let kept = Kept::with_baseline();
    fs::remove_file(kept.anna.file(2)).unwrap();
    kept.anna.write_uids(&[1, 3]);
    let manifest = kept.manifest();
    let whole = fs::read(kept.path()).unwrap();
    File::options().write(true).open(kept.path()).unwrap().set_len(20).unwrap();
    let refused = kept.try_write(Some(&manifest)).unwrap_err();
    let ManifestError::Io { source, .. } = &refused else { panic!("{refused}") };
    assert!(source.to_string().starts_with("the manifest before cannot be read"), "{source}");
    fs::write(kept.path(), whole).unwrap();
    assert_eq!(kept.told().1, Comparison { intact: 3, gone: 1, ..INTACT });
}
