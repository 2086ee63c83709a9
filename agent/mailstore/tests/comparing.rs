//! Shards against their baselines: what became of each message.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::fs::{self, File};
use std::io::Write;

use rientro_mailstore::{Baseline, Comparison, Control, verify_against, verify_without_baseline};
use rientro_types::{FindingKind as Kind, Outcome, Ppm};
use store::dbox::index;
use store::kept::{ASKED, INTACT, Kept, REMOVED, dboxes};
use store::{Store, gzip, log_header, log_record, message, overwrite, stem};

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
fn a_message_that_an_sdbox_lost_is_told_by_its_index() {
    let (kept, sdbox, _) = dboxes();
    fs::remove_file(sdbox.at("u.2")).unwrap();
    let (_, comparison, found) = kept.told();
    assert_eq!(found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [Kind::MessageMissing]);
    assert_eq!((comparison.missing, comparison.gone), (1, 0));
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
    assert_eq!((outcome, comparison.gone, comparison.uncompared), (Outcome::Damaged, 0, 4), "{kinds:?}");
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

/// A Maildir and its `.INBOX`, and folders in both, are written alike, and are folders of their own.
#[test]
fn folders_that_are_written_alike_are_not_mixed_up() {
    let kept = Kept::new();
    for (number, name) in [(5, ".INBOX"), (6, ".INBOX.Sent"), (8, ".INBOX/.Sent"), (9, "INBOX")] {
        let folder = kept.anna.folder(name);
        folder.deliver(number, &message(number));
        folder.write_uids(&[number]);
    }
    kept.write(None);
    assert_eq!(kept.told(), (Outcome::Clean, Comparison { intact: 8, ..INTACT }, vec![]));
    let path = kept.lose(2, &[]);
    let (_, comparison, found) = kept.told();
    assert_eq!(found, [(Kind::MessageGone, path)]);
    assert_eq!(comparison, Comparison { intact: 7, gone: 1, ..INTACT });
    let log = [log_header(1, 0), log_record(ASKED, &[2, 2]), log_record(REMOVED, &[2, 2])].concat();
    fs::write(kept.anna.0.join("dovecot.index.log"), log).unwrap();
    assert_eq!(kept.told(), (Outcome::Clean, Comparison { intact: 7, expunged: 1, ..INTACT }, vec![]));
    fs::remove_dir_all(kept.anna.0.join(".INBOX")).unwrap();
    let (_, comparison, found) = kept.told();
    assert_eq!(comparison, Comparison { intact: 4, moved: 1, expunged: 1, gone: 2, ..INTACT }, "{found:?}");
}

/// An sdbox in whose messages no GUID stands: all have the same, which is none.
#[test]
fn messages_without_a_guid_are_not_altered_into_each_other() {
    let (kept, sdbox, _) = dboxes();
    let forget = |number: u32| {
        let bytes = fs::read(sdbox.at(&format!("u.{number}"))).unwrap();
        let end = bytes.windows(2).rposition(|pair| pair == b"\nG").unwrap() + 1;
        fs::write(sdbox.at(&format!("u.{number}")), [&bytes[..end], b"\n"].concat()).unwrap();
    };
    (1..=3).for_each(forget);
    kept.write(None);
    assert_eq!(kept.told(), (Outcome::Clean, Comparison { intact: 8, ..INTACT }, vec![]));
    fs::remove_file(sdbox.at("u.2")).unwrap();
    sdbox.add(4);
    forget(4);
    fs::write(sdbox.at("dovecot.index"), index(&[1, 3, 4], 5, &[])).unwrap();
    let log = [log_header(1, 0), log_record(ASKED, &[2, 2]), log_record(REMOVED, &[2, 2])].concat();
    fs::write(sdbox.at("dovecot.index.log"), log).unwrap();
    let (outcome, comparison, found) = kept.told();
    assert_eq!((outcome, found), (Outcome::Clean, vec![]));
    assert_eq!(comparison, Comparison { intact: 7, expunged: 1, new: 1, ..INTACT });
}
