//! Shards against their baselines: what became of each message, and what of a baseline is written again.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rientro_mailstore::{
    Baseline, Compared, Comparison, Control, Manifest, ManifestError, Pace, Renewal, Target, Written,
    verify_against, verify_without_baseline, write_baseline,
};
use rientro_types::{Finding, FindingKind as Kind, Outcome, Ppm};
use store::dbox::{Mdbox, Sdbox};
use store::{Maildir, Store, gzip, log_header, log_record, message, overwrite, stem, unprivileged};

/// Kinds of a log's record: somebody asks for the removal of UIDs, and UIDs are removed.
const ASKED: u32 = 0xcd91;
const REMOVED: u32 = 0x1000_cd91;

/// A store, and where its baselines are.
struct Kept {
    store: Store,
    anna: Maildir,
    apart: tempfile::TempDir,
}

impl Kept {
    /// A store with anna's three messages and a folder `.Sent` with one.
    fn new() -> Self {
        let (store, anna) = Store::with_anna();
        let sent = anna.folder(".Sent");
        sent.deliver(7, &message(7));
        sent.write_uids(&[7]);
        Self { store, anna, apart: tempfile::tempdir().unwrap() }
    }

    /// One of which a baseline was written.
    fn with_baseline() -> Self {
        let kept = Self::new();
        let written = kept.write(None);
        assert!(written.renewal == Renewal::Written && written.totals.messages == 4, "{written:?}");
        kept
    }

    fn path(&self) -> PathBuf {
        self.apart.path().join("baseline")
    }

    fn manifest(&self) -> Manifest {
        Manifest::open(&self.path()).unwrap()
    }

    fn write(&self, previous: Option<&Manifest>) -> Written {
        self.write_counting(previous).0
    }

    /// Writes a baseline; gives how many bytes of mail were read for it too.
    fn write_counting(&self, previous: Option<&Manifest>) -> (Written, u64) {
        let control = Control::new(Pace { readers: 3, bytes_per_second: 0 });
        let path = self.path();
        let target = Target { path: &path, previous, damaged_too: false, now_ms: 1_700_000_000_000 };
        let written = write_baseline(&self.store.task(), target, &control, &mut |_| ()).unwrap();
        (written, control.progress().bytes)
    }

    fn compare(&self) -> (Compared, Vec<Finding>) {
        let (manifest, mut findings) = (self.manifest(), Vec::new());
        let baseline = Baseline { manifest: &manifest, scratch: self.apart.path() };
        let compared = verify_against(&self.store.task(), &baseline, &Control::default(), &mut |finding| {
            findings.push(finding);
        });
        (compared, findings)
    }

    /// Outcome, comparison, and kind and place of each finding.
    fn told(&self) -> (Outcome, Comparison, Vec<(Kind, String)>) {
        let (compared, findings) = self.compare();
        let seen = findings.iter().map(|f| (f.kind, String::from_utf8_lossy(&f.path).into_owned()));
        (compared.report.verdict.outcome, compared.comparison, seen.collect())
    }

    /// Removes a message's file; its folder's index and log are written anew, with these records in the log.
    fn lose(&self, number: u32, records: &[(u32, &[u32])]) -> String {
        let file = self.anna.file(number);
        fs::remove_file(&file).unwrap();
        let left: Vec<_> = (1..=3).filter(|left| *left != number).collect();
        self.anna.write_uids(&left);
        self.anna.write_index(&left, 4);
        let mut log = File::create(self.anna.0.join("dovecot.index.log")).unwrap();
        log.write_all(&log_header(1, 0)).unwrap();
        for (kind, words) in records {
            log.write_all(&log_record(*kind, words)).unwrap();
        }
        format!("cur/{}", file.file_name().unwrap().to_str().unwrap())
    }
}

const INTACT: Comparison = Comparison {
    intact: 4,
    altered: 0,
    truncated: 0,
    moved: 0,
    expunged: 0,
    missing: 0,
    gone: 0,
    uncompared: 0,
    new: 0,
};

#[test]
fn what_has_not_changed_is_intact() {
    let kept = Kept::with_baseline();
    let (compared, findings) = kept.compare();
    assert_eq!((compared.comparison, findings.len()), (INTACT, 0));
    assert_eq!(
        compared.report.verdict.to_string().split(' ').take(4).collect::<Vec<_>>(),
        ["clean", "at", "baseline", "level"]
    );
    assert_eq!(compared.report.verdict.coverage, Ppm::ONE);
    assert_eq!(kept.store.verify().0.stat_walk, compared.report.stat_walk);
}

#[test]
fn flags_packing_and_line_ends_are_no_change() {
    let kept = Kept::with_baseline();
    let (flagged, packed, crlf) = (kept.anna.file(1), kept.anna.file(2), kept.anna.file(3));
    fs::rename(&flagged, flagged.to_str().unwrap().replace(":2,S", ":2,FRS")).unwrap();
    fs::write(&packed, gzip(&message(2))).unwrap();
    let text = String::from_utf8(message(3)).unwrap().replace('\n', "\r\n");
    fs::write(&crlf, text).unwrap();
    let (_, comparison, found) = kept.told();
    assert_eq!(comparison, INTACT);
    // Its name has the sizes of another form.
    assert_eq!(found, [(Kind::SizeMismatch, format!("cur/{}", crlf.file_name().unwrap().to_str().unwrap()))]);
}

#[test]
fn content_that_changed_is_altered_and_what_is_shorter_truncated() {
    let kept = Kept::with_baseline();
    overwrite(&kept.anna.file(1), 9_000, b"X");
    let (_, plain) = kept.store.verify();
    assert!(plain.is_empty(), "nothing but the baseline tells: {plain:?}");
    // Its sizes stand in its name alone.
    let cut = kept.anna.file(2);
    File::options().write(true).open(&cut).unwrap().set_len(10_000).unwrap();
    let (outcome, comparison, found) = kept.told();
    let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(outcome, Outcome::Damaged);
    assert_eq!(comparison, Comparison { intact: 2, altered: 2, truncated: 1, ..INTACT });
    assert!(kinds.contains(&Kind::MessageAltered) && kinds.contains(&Kind::MessageTruncated), "{found:?}");
    let (compared, _) = kept.compare();
    assert_eq!(compared.report.verdict.tally.messages_damaged, 2, "once for each message");
}

#[test]
fn two_messages_that_were_swapped_are_both_altered() {
    let kept = Kept::with_baseline();
    let (one, two) = (kept.anna.file(1), kept.anna.file(2));
    fs::write(&one, message(2)).unwrap();
    fs::write(&two, message(1)).unwrap();
    let (_, comparison, found) = kept.told();
    assert_eq!(comparison, Comparison { intact: 2, altered: 2, ..INTACT }, "{found:?}");
}

#[test]
fn removals_that_were_asked_for_are_no_loss() {
    let kept = Kept::with_baseline();
    kept.lose(2, &[(ASKED, &[2, 2]), (REMOVED, &[2, 2])]);
    let (outcome, comparison, found) = kept.told();
    assert_eq!((outcome, found), (Outcome::Clean, vec![]));
    assert_eq!(comparison, Comparison { intact: 3, expunged: 1, ..INTACT });
}

#[test]
fn what_was_removed_and_nobody_asked_for_is_lost() {
    let kept = Kept::with_baseline();
    let path = kept.lose(2, &[(ASKED, &[9, 9]), (REMOVED, &[2, 2])]);
    let (outcome, comparison, found) = kept.told();
    assert_eq!((outcome, found), (Outcome::Damaged, vec![(Kind::MessageMissing, path)]));
    assert_eq!(comparison, Comparison { intact: 3, missing: 1, ..INTACT });
}

/// The record that asked for it may have stood in a log before that is gone.
#[test]
fn where_logs_do_not_reach_back_nothing_is_claimed() {
    for records in [&[][..], &[(REMOVED, &[2_u32, 2][..])]] {
        let kept = Kept::with_baseline();
        let path = kept.lose(2, records);
        let (compared, findings) = kept.compare();
        assert_eq!(compared.report.verdict.outcome, Outcome::Unreadable);
        assert_eq!(
            findings.iter().map(|f| (f.kind, f.path.clone())).collect::<Vec<_>>(),
            [(Kind::MessageGone, path.into_bytes())]
        );
        assert_eq!(compared.comparison, Comparison { intact: 3, gone: 1, ..INTACT });
        assert_eq!(compared.report.verdict.coverage, Ppm::ratio(3, 4));
    }
}

#[test]
fn a_file_that_the_index_still_has_is_told_once() {
    let kept = Kept::with_baseline();
    fs::remove_file(kept.anna.file(2)).unwrap();
    let (_, comparison, found) = kept.told();
    assert_eq!(found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::MessageMissing]);
    assert_eq!(comparison, Comparison { intact: 3, missing: 1, ..INTACT });
}

#[test]
fn a_message_in_another_folder_was_moved() {
    let kept = Kept::with_baseline();
    let file = kept.anna.file(3);
    let sent = kept.anna.0.join(".Sent/cur").join(file.file_name().unwrap());
    fs::rename(&file, sent).unwrap();
    kept.anna.write_uids(&[1, 2]);
    let uidlist = fs::read_to_string(kept.anna.0.join("dovecot-uidlist")).unwrap();
    fs::write(kept.anna.0.join("dovecot-uidlist"), uidlist.replace(" N3 ", " N4 ")).unwrap();
    let (outcome, comparison, found) = kept.told();
    assert_eq!(
        (outcome, comparison),
        (Outcome::Clean, Comparison { intact: 3, moved: 1, ..INTACT }),
        "{found:?}"
    );
}

#[test]
fn what_came_since_is_not_covered() {
    let kept = Kept::with_baseline();
    kept.anna.deliver(4, &message(4));
    kept.anna.write_uids(&[1, 2, 3, 4]);
    let (compared, findings) = kept.compare();
    assert_eq!((compared.comparison, findings.len()), (Comparison { new: 1, ..INTACT }, 0));
    assert_eq!(compared.report.verdict.coverage, Ppm::ratio(4, 5));
}

#[test]
fn other_uids_are_told_once_for_each_folder() {
    let kept = Kept::new();
    let uidlist = kept.anna.0.join("dovecot-uidlist");
    // Some that were given are gone again.
    let text = fs::read_to_string(&uidlist).unwrap().replace(" N4 ", " N10 ");
    fs::write(&uidlist, &text).unwrap();
    kept.write(None);
    for (from, to, said) in [
        ("3 V77 N10", "3 V78 N10", "UIDVALIDITY was 77, is 78"),
        ("\n3 :", "\n9 :", "1 messages have other UIDs; the first was 3, is 9"),
    ] {
        for index in ["dovecot.index", "dovecot.index.log"] {
            fs::remove_file(kept.anna.0.join(index)).ok();
        }
        fs::write(&uidlist, text.replace(from, to)).unwrap();
        let (_, findings) = kept.compare();
        let found: Vec<_> = findings.iter().map(|f| (f.kind, &f.detail[..])).collect();
        assert!(matches!(found[..], [(Kind::UidChanged, detail)] if detail.starts_with(said)), "{found:?}");
    }
    fs::write(&uidlist, text.replace("3 V77 N10", "3 V77 N9")).unwrap();
    let (_, _, found) = kept.told();
    assert_eq!(found, [(Kind::IndexStale, String::new())], "a next UID that was given before");
}

#[test]
fn a_guid_that_changed_in_its_place_is_told() {
    let kept = Kept::with_baseline();
    let uidlist = kept.anna.0.join("dovecot-uidlist");
    let text = fs::read_to_string(&uidlist).unwrap();
    fs::write(&uidlist, text.replace("\n2 :", "\n2 G00112233445566778899aabbccddeeff :")).unwrap();
    let (_, comparison, found) = kept.told();
    assert_eq!((comparison, found.len()), (INTACT, 1), "{found:?}");
    assert_eq!(found[0].0, Kind::GuidChanged);
}

#[test]
fn a_folder_that_is_not_there_is_one_finding() {
    let kept = Kept::with_baseline();
    fs::remove_dir_all(kept.anna.0.join(".Sent")).unwrap();
    let (outcome, comparison, found) = kept.told();
    assert_eq!((outcome, found), (Outcome::Unreadable, vec![(Kind::FolderGone, ".Sent".to_owned())]));
    assert_eq!(comparison, Comparison { intact: 3, gone: 1, ..INTACT });
}

/// T24: the mailboxes of the baseline are those that must be there.
#[test]
fn a_mailbox_of_the_baseline_that_is_not_there_is_missing() {
    let kept = Kept::with_baseline();
    fs::rename(&kept.anna.0, kept.store.dir.path().join("ex.org/berta")).unwrap();
    let (outcome, comparison, found) = kept.told();
    assert_eq!((outcome, found), (Outcome::Damaged, vec![(Kind::MailboxMissing, String::new())]));
    assert_eq!(comparison, Comparison { intact: 0, missing: 4, new: 4, ..INTACT });
    fs::remove_dir_all(kept.store.dir.path().join("ex.org")).unwrap();
    let (outcome, comparison, found) = kept.told();
    assert_eq!((outcome, found), (Outcome::Unreadable, vec![(Kind::VolumeEmpty, String::new())]));
    assert_eq!(comparison, Comparison { intact: 0, uncompared: 4, ..INTACT }, "it may be on another volume");
}

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
    assert_eq!((written.renewal, read), (Renewal::Unchanged, message(1).len() as u64));
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
fn the_baseline_of_another_shard_is_not_compared_with() {
    let kept = Kept::with_baseline();
    let (manifest, mut kinds) = (kept.manifest(), Vec::new());
    let baseline = Baseline { manifest: &manifest, scratch: kept.apart.path() };
    let task = rientro_mailstore::Task { shard: b"ex.org", ..kept.store.task() };
    let compared =
        verify_against(&task, &baseline, &Control::default(), &mut |finding| kinds.push(finding.kind));
    assert_eq!(kinds[0], Kind::BaselineUnreadable);
    assert_eq!(
        (compared.report.verdict.outcome, compared.report.verdict.coverage),
        (Outcome::Unreadable, Ppm::ZERO)
    );
}

/// A mail that was copied within its folder has one GUID twice.
#[test]
fn copies_are_matched_one_by_one() {
    let kept = Kept::new();
    let copy = kept.anna.0.join(format!("cur/{}:2,", stem(8, &message(1))));
    fs::copy(kept.anna.file(1), copy).unwrap();
    kept.anna.write_uids(&[1, 2, 3, 8]);
    kept.write(None);
    assert_eq!(kept.told().1, Comparison { intact: 5, ..INTACT });
    fs::remove_file(kept.anna.file(8)).unwrap();
    kept.anna.write_uids(&[1, 2, 3]);
    assert_eq!(kept.told().1, Comparison { intact: 4, gone: 1, ..INTACT });
}

/// An sdbox and an mdbox of which a baseline was written.
fn dboxes() -> (Kept, Sdbox, Mdbox) {
    let (store, apart) = (Store::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| store.dir.path().join("ex.org").join(name);
    let (sdbox, mdbox) = (Sdbox::new(&at("carl")), Mdbox::new(&at("dora")));
    let anna = store.maildir("ex.org/anna");
    let kept = Kept { store, anna, apart };
    kept.write(None);
    (kept, sdbox, mdbox)
}

#[test]
fn messages_of_a_dbox_are_intact_or_altered() {
    let (kept, sdbox, mdbox) = dboxes();
    let (outcome, comparison, found) = kept.told();
    assert_eq!((outcome, found), (Outcome::Clean, vec![]));
    // Four messages of the mdbox stand in INBOX, and the first in another folder too.
    assert_eq!(comparison, Comparison { intact: 8, ..INTACT });
    overwrite(&sdbox.at("u.1"), 9_000, b"X");
    overwrite(&mdbox.at("m.1"), 9_000, b"X");
    let (outcome, comparison, found) = kept.told();
    let altered = |path: &str| (Kind::MessageAltered, path.to_owned());
    let (of_sdbox, of_mdbox) = (altered("mailboxes/INBOX/dbox-Mails/u.1"), altered("storage/m.1"));
    assert_eq!(
        (outcome, found),
        (Outcome::Damaged, vec![of_sdbox, of_mdbox]),
        "once, in however many folders"
    );
    assert_eq!(comparison, Comparison { intact: 5, altered: 3, ..INTACT });
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

#[test]
fn a_message_that_an_sdbox_lost_is_told_by_its_index() {
    let (kept, sdbox, _) = dboxes();
    fs::remove_file(sdbox.at("u.2")).unwrap();
    let (_, comparison, found) = kept.told();
    assert_eq!(found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::MessageMissing]);
    assert_eq!((comparison.missing, comparison.gone), (1, 0));
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
    assert_eq!((again.renewal, again.withheld), (Renewal::Unchanged, 1));
    let comparison = kept.told().1;
    assert_eq!((comparison.missing, comparison.intact), (1, 4), "and it is missed by the next look");
    let (path, manifest) = (kept.path(), kept.manifest());
    let target = Target { path: &path, previous: Some(&manifest), damaged_too: true, now_ms: 0 };
    let written = write_baseline(&kept.store.task(), target, &Control::default(), &mut |_| ()).unwrap();
    assert_eq!((written.renewal, written.totals.messages), (Renewal::Written, 4));
}

/// What a killed writer left is in nobody's way, and two writers at once are not in each other's.
#[test]
fn one_process_writes_a_manifest_at_a_time() {
    let kept = Kept::with_baseline();
    let beside = kept.apart.path().join("baseline.new");
    fs::write(&beside, b"what was left").unwrap();
    assert_eq!(kept.write(None).renewal, Renewal::Written);
    assert!(!beside.exists());

    let (path, other) = (kept.path(), File::create(&beside).unwrap());
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let target = Target { path: &path, previous: None, damaged_too: false, now_ms: 0 };
    let refused = write_baseline(&kept.store.task(), target, &Control::default(), &mut |_| ()).unwrap_err();
    assert!(matches!(refused, ManifestError::Busy { .. }), "{refused}");
    assert!(beside.exists(), "it is the other's");
}

/// What was rolled back gets its UIDs a second time.
#[test]
fn a_lost_message_whose_uid_another_one_has_is_told() {
    let kept = Kept::with_baseline();
    let lost = kept.anna.file(3);
    fs::remove_file(&lost).unwrap();
    kept.anna.deliver(4, &message(4));
    kept.anna.write_uids(&[1, 2]);
    let other = kept.anna.file(4);
    let stem = other.file_name().unwrap().to_str().unwrap().split(':').next().unwrap();
    let mut uidlist = File::options().append(true).open(kept.anna.0.join("dovecot-uidlist")).unwrap();
    writeln!(uidlist, "3 :{stem}").unwrap();
    kept.anna.write_index(&[1, 2, 3], 4);
    let (outcome, comparison, found) = kept.told();
    assert_eq!(outcome, Outcome::Damaged);
    assert_eq!(comparison, Comparison { intact: 3, missing: 1, new: 1, ..INTACT });
    assert!(
        found.iter().any(|(kind, path)| *kind == Kind::MessageMissing && lost.ends_with(path)),
        "{found:?}"
    );
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
        let kept = Kept::with_baseline();
        lose(&kept);
        let written = unprivileged(|| kept.write(Some(&kept.manifest())));
        assert_eq!((written.withheld, written.totals.messages), (1, 4), "{written:?}");
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

/// Out of the folder and back again: the same mail with a new UID, and no damage.
#[test]
fn a_message_that_was_moved_out_and_back_is_intact() {
    let kept = Kept::with_baseline();
    let uidlist = kept.anna.0.join("dovecot-uidlist");
    let text = fs::read_to_string(&uidlist).unwrap();
    let line = text.lines().find(|line| line.starts_with("2 :")).unwrap();
    let moved =
        text.replace(&format!("{line}\n"), "").replace(" N4 ", " N10 ") + &line.replace("2 :", "9 :") + "\n";
    fs::write(&uidlist, moved).unwrap();
    kept.anna.write_index(&[1, 3, 9], 10);
    assert_eq!(kept.told(), (Outcome::Clean, INTACT, vec![]));
}

/// One of two copies in a folder was removed by its owner.
#[test]
fn the_other_copy_stays_when_one_is_removed() {
    let kept = Kept::new();
    let copy = kept.anna.0.join(format!("cur/{}:2,", stem(8, &message(1))));
    fs::copy(kept.anna.file(1), copy).unwrap();
    kept.anna.write_uids(&[1, 2, 3, 8]);
    let uidlist = kept.anna.0.join("dovecot-uidlist");
    let one_guid = |text: String| text.replace("\n1 :", "\n1 G77 :").replace("\n8 :", "\n8 G77 :");
    fs::write(&uidlist, one_guid(fs::read_to_string(&uidlist).unwrap())).unwrap();
    kept.write(None);
    fs::remove_file(kept.anna.file(1)).unwrap();
    kept.anna.write_uids(&[2, 3, 8]);
    fs::write(&uidlist, one_guid(fs::read_to_string(&uidlist).unwrap())).unwrap();
    let log = [log_header(1, 0), log_record(ASKED, &[1, 1]), log_record(REMOVED, &[1, 1])].concat();
    fs::write(kept.anna.0.join("dovecot.index.log"), log).unwrap();
    assert_eq!(kept.told(), (Outcome::Clean, Comparison { expunged: 1, ..INTACT }, vec![]));
}

/// A log before the one at hand that does not lead up to it says nothing.
#[test]
fn removals_of_another_history_are_no_evidence() {
    for (id, seq, end) in [(6_u32, 1, 64_u32), (5, 7, 64), (5, 1, 999)] {
        let kept = Kept::with_baseline();
        kept.lose(2, &[]);
        let mut older =
            [log_header(seq, 0), log_record(ASKED, &[2, 2]), log_record(REMOVED, &[9, 9])].concat();
        older[4..8].copy_from_slice(&id.to_le_bytes());
        let mut log = log_header(2, 1);
        log[16..20].copy_from_slice(&end.to_le_bytes());
        fs::write(kept.anna.0.join("dovecot.index.log.2"), older).unwrap();
        fs::write(kept.anna.0.join("dovecot.index.log"), log).unwrap();
        let (_, comparison, _) = kept.told();
        assert_eq!((comparison.expunged, comparison.gone), (0, 1), "{id} {seq} {end}");
    }
}

/// A shard whose baseline cannot be used is verified for its structure all the same.
#[test]
fn without_a_baseline_structure_is_looked_at() {
    let (store, anna) = Store::with_anna();
    let look = || {
        let mut kinds = Vec::new();
        let report = verify_without_baseline(&store.task(), "none", &Control::default(), &mut |finding| {
            kinds.push(finding.kind);
        });
        (report, kinds)
    };
    let (report, kinds) = look();
    assert_eq!((report.verdict.outcome, &kinds[..]), (Outcome::Unreadable, &[Kind::BaselineUnreadable][..]));
    assert_eq!((report.verdict.coverage, report.stat_walk), (Ppm::ZERO, store.verify().0.stat_walk));
    fs::write(anna.file(1), b"").unwrap();
    let (report, kinds) = look();
    assert_eq!(report.verdict.outcome, Outcome::Damaged);
    assert_eq!(kinds, [Kind::BaselineUnreadable, Kind::EmptyMessage]);
}

/// A folder that cannot be read in its index is told once, and not as gone.
#[test]
fn a_folder_of_an_mdbox_without_its_index_is_not_called_gone() {
    let (kept, _, mdbox) = dboxes();
    for file in ["dovecot.index", "dovecot.index.log"] {
        fs::remove_file(mdbox.0.join("mailboxes/INBOX/dbox-Mails").join(file)).unwrap();
    }
    let (outcome, comparison, found) = kept.told();
    let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
    assert_eq!((outcome, comparison.gone, comparison.missing), (Outcome::Damaged, 0, 4), "{kinds:?}");
    assert!(!kinds.contains(&Kind::FolderGone) && kinds.contains(&Kind::IndexMissing), "{kinds:?}");
}

/// Of a file that lost its length only what a message takes is read.
#[test]
fn a_hole_behind_a_message_is_not_read() {
    let (kept, sdbox, _) = dboxes();
    File::options().write(true).open(sdbox.at("u.1")).unwrap().set_len(1 << 40).unwrap();
    let (compared, _) = kept.compare();
    assert!(compared.report.verdict.tally.bytes < 1 << 20, "{}", compared.report.verdict.tally.bytes);
}
