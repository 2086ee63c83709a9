//! sdbox and mdbox: clean mailboxes stay clean, and each way of breaking one is seen as what it is.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rientro_types::{Finding, FindingKind as Kind, Level, Outcome, Ppm};
use sha1::{Digest as _, Sha1};
use store::dbox::{ATTACHMENT, FILE_HEADER, Mdbox, Sdbox, framed};
use store::{Store, gzip, log_header, log_record, message, overwrite};

fn kinds(findings: &[Finding]) -> Vec<Kind> {
    findings.iter().map(|f| f.kind).collect()
}

fn details(findings: &[Finding]) -> Vec<String> {
    let shown = |f: &Finding| format!("{} {}: {}", f.kind, String::from_utf8_lossy(&f.path), f.detail);
    findings.iter().map(shown).collect()
}

/// What a change to an sdbox makes the verifier say.
fn sdbox(change: impl FnOnce(&Sdbox)) -> Vec<Kind> {
    let store = Store::new();
    change(&Sdbox::new(&store.dir.path().join("ex.org/anna")));
    kinds(&store.verify().1)
}

/// What a change to an mdbox makes the verifier say.
fn mdbox(change: impl FnOnce(&Mdbox)) -> Vec<Kind> {
    let store = Store::new();
    change(&Mdbox::new(&store.dir.path().join("ex.org/anna")));
    kinds(&store.verify().1)
}

fn truncate(path: &Path, bytes: u64) {
    File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn clean_mailboxes_have_no_finding_and_are_covered() {
    let store = Store::new();
    Sdbox::new(&store.dir.path().join("ex.org/anna"));
    Mdbox::new(&store.dir.path().join("ex.org/bert"));
    for level in [Level::Presence, Level::Structure] {
        let (report, findings) = store.verify_at(level, &rientro_mailstore::Control::default());
        assert_eq!(details(&findings), Vec::<String>::new());
        assert_eq!((report.verdict.outcome, report.verdict.coverage), (Outcome::Clean, Ppm::ONE));
        assert_eq!((report.verdict.tally.messages, report.verdict.tally.mailboxes), (7, 2));
    }
    let walked = rientro_mailstore::stat_walk(&store.task(), &rientro_mailstore::Control::default()).unwrap();
    assert_eq!(walked, store.verify().0.stat_walk);
}

#[test]
fn a_broken_file_of_an_sdbox_is_seen() {
    let cut = |bytes| sdbox(|s| truncate(&s.at("u.1"), bytes));
    assert_eq!(cut(0), [Kind::EmptyMessage]);
    assert_eq!(cut(10), [Kind::FrameMalformed]);
    assert_eq!(cut(30), [Kind::FrameMalformed]);
    assert_eq!(cut(5_000), [Kind::FrameMalformed]);
    let end = [FILE_HEADER, &framed(1, &message(1))].concat().len() as u64;
    assert_eq!(cut(end - 1), [Kind::FrameMalformed], "the metadata is cut");
    let with = |at, bytes: &[u8]| sdbox(|s| overwrite(&s.at("u.1"), at, bytes));
    assert_eq!(with(0, &[0; 4096]), [Kind::FrameMalformed]);
    assert_eq!(with(8_192, &[0; 4096]), [Kind::VirtualSizeMismatch, Kind::ZeroBlock]);
    assert_eq!(with(29, b"f"), [Kind::FrameMalformed], "another size in the header");
    assert_eq!(with(9_000, b"x"), [], "what a flipped bit makes is seen with a baseline only");
    let behind =
        |s: &Sdbox| fs::write(s.at("u.1"), [FILE_HEADER, &framed(1, &message(1)), b"more"].concat()).unwrap();
    assert_eq!(sdbox(behind), [Kind::FrameMalformed]);
}

#[test]
fn index_and_files_of_an_sdbox_are_compared() {
    assert_eq!(sdbox(|s| fs::remove_file(s.at("u.2")).unwrap()), [Kind::MessageMissing]);
    assert_eq!(sdbox(|s| s.add(9)), [Kind::IndexStale]);
    assert_eq!(sdbox(Sdbox::lose_index), [Kind::IndexMissing]);
    assert_eq!(
        sdbox(|s| fs::create_dir_all(s.0.join("mailboxes/Sent/dbox-Mails")).unwrap()),
        [Kind::IndexMissing]
    );
    assert_eq!(sdbox(|s| fs::remove_file(s.at("dovecot.index.log")).unwrap()), [Kind::IndexMalformed]);
    assert_eq!(sdbox(|s| overwrite(&s.at("dovecot.index"), 0, &[0; 64])), [Kind::IndexMalformed]);
    // A message that was expunged, whose file is still there: nothing is lost.
    let expunged = |s: &Sdbox| {
        let log = [log_header(1, 0), log_record(0x1000_cd91, &[2, 2])].concat();
        fs::write(s.at("dovecot.index.log"), log).unwrap();
    };
    assert_eq!(sdbox(expunged), []);
}

#[test]
fn what_is_elsewhere_is_not_missing() {
    let store = Store::new();
    let anna = Sdbox::new(&store.dir.path().join("ex.org/anna"));
    symlink("/elsewhere", anna.0.join("dbox-alt-root")).unwrap();
    fs::remove_file(anna.at("u.2")).unwrap();
    let (report, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::DirectoryUnreadable, Kind::FileUnreadable]);
    assert_eq!(report.verdict.outcome, Outcome::Unreadable);
    assert!(report.verdict.coverage < Ppm::ONE);
}

#[test]
fn compressed_bodies_are_decoded() {
    let packed = |bytes: &[u8]| {
        let text = message(1);
        let lines = text.iter().filter(|b| **b == b'\n').count();
        let mut file =
            [FILE_HEADER, format!("\x01\x02N          {:016X}\n", bytes.len()).as_bytes(), bytes].concat();
        file.extend(
            format!("\n\x01\x03\nR1\nZ{:x}\nV{:x}\nG{}\n\n", text.len(), text.len() + lines, "ab".repeat(16))
                .bytes(),
        );
        sdbox(|s| fs::write(s.at("u.1"), &file).unwrap())
    };
    let (gz, zst) = (gzip(&message(1)), zstd::encode_all(&message(1)[..], 3).unwrap());
    assert_eq!((packed(&gz), packed(&zst)), (vec![], vec![]));
    assert_eq!(packed(&gz[..gz.len() - 9]), [Kind::CompressedStream]);
    assert_eq!(packed(&zst[..zst.len() - 9]), [Kind::CompressedStream]);
    assert_eq!(packed(&gzip(b"Subject: another\n\n")), [Kind::SizeMismatch, Kind::VirtualSizeMismatch]);
    assert_eq!(packed(b"\xfd7zXZ\0rest"), [Kind::FileUnreadable]);
}

#[test]
fn a_broken_file_of_an_mdbox_costs_what_it_hits() {
    let size = framed(1, &message(1)).len() as u64;
    let with = |at, bytes: &[u8]| mdbox(|m| overwrite(&m.at("m.1"), at, bytes));
    assert_eq!(with(8_192, &[0; 4096]), [Kind::VirtualSizeMismatch, Kind::ZeroBlock]);
    // Over the boundary: the first message loses its end, the second its header.
    assert_eq!(with(16 + size - 100, &[0; 200]), [Kind::FrameMalformed, Kind::MessageMissing]);
    assert_eq!(with(16 + size, &[0; 30]), [Kind::FrameMalformed], "the header of the second message");
    // The file header and the first message; the second is found again.
    assert_eq!(with(0, &[0; 4096]), [Kind::FrameMalformed, Kind::MessageMissing]);
    let cut = |bytes| mdbox(|m| truncate(&m.at("m.1"), bytes));
    assert_eq!(cut(16 + size), [Kind::MessageMissing], "at the boundary");
    assert_eq!(cut(16 + size + 500), [Kind::FrameMalformed], "inside the second message");
    assert_eq!(mdbox(|m| fs::remove_file(m.at("m.2")).unwrap()), [Kind::MessageMissing; 2]);
    let swapped = |m: &Mdbox| {
        fs::rename(m.at("m.1"), m.at("x")).unwrap();
        fs::rename(m.at("m.2"), m.at("m.1")).unwrap();
        fs::rename(m.at("x"), m.at("m.2")).unwrap();
    };
    assert_eq!(mdbox(swapped), [Kind::GuidMismatch; 5], "of the same sizes: told by the GUIDs");
}

#[test]
fn the_map_of_an_mdbox_is_compared() {
    let lost = |m: &Mdbox| {
        fs::remove_file(m.at("dovecot.map.index")).unwrap();
        fs::remove_file(m.at("dovecot.map.index.log")).unwrap();
    };
    assert_eq!(mdbox(lost), [Kind::IndexMissing]);
    assert_eq!(mdbox(|m| m.append(5)), [Kind::UnmappedMessage], "left by a delivery that was cut short");
    let stale = |m: &Mdbox| {
        m.append(5);
        m.folder("INBOX", &[1, 2, 3, 4, 5]);
    };
    assert_eq!(mdbox(stale), [Kind::UnmappedMessage, Kind::IndexStale]);
    assert_eq!(
        mdbox(|m| fs::remove_dir_all(m.0.join("mailboxes/Archive")).unwrap()),
        [Kind::ReferenceMismatch]
    );
    let index_lost = |m: &Mdbox| {
        for name in ["dovecot.index", "dovecot.index.log"] {
            fs::remove_file(m.0.join("mailboxes/INBOX/dbox-Mails").join(name)).unwrap();
        }
    };
    assert_eq!(mdbox(index_lost), [Kind::IndexMissing, Kind::ReferenceMismatch]);
    assert_eq!(mdbox(|m| m.folder("INBOX", &[1, 2, 3])), [Kind::ReferenceMismatch], "an old index");
    assert_eq!(mdbox(|m| m.folder("Sent", &[4])), [Kind::ReferenceMismatch], "more than the map says");
    // The log of the map says that a reference is gone, as after an expunge.
    let expunged = |m: &Mdbox| {
        let intro: Vec<u32> = vec![1, 0, 0, 0x0002_0002, 0];
        let log = [log_header(1, 0), log_record(0x40, &intro), log_record(0x1000, &[4, u32::MAX])].concat();
        fs::write(m.at("dovecot.map.index.log"), log).unwrap();
        m.folder("INBOX", &[1, 2, 3]);
    };
    assert_eq!(mdbox(expunged), []);
    assert_eq!(mdbox(|m| fs::remove_dir_all(m.0.join("storage")).unwrap()), [Kind::DirectoryMissing]);
    assert_eq!(
        mdbox(|m| fs::remove_dir_all(m.0.join("mailboxes")).unwrap()),
        [Kind::DirectoryMissing, Kind::ReferenceMismatch]
    );
}

#[test]
fn a_size_that_the_map_has_otherwise_is_seen() {
    let store = Store::new();
    let anna = Mdbox::new(&store.dir.path().join("ex.org/anna"));
    anna.lengthen_last();
    let (_, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::MapMismatch]);
    assert!(findings[0].detail.starts_with("at "), "{}", findings[0].detail);
}

/// A mailbox that was brought from Maildir has the names of its files for GUIDs, and its index the ends of their SHA-1.
#[test]
fn guids_of_other_formats_are_compared_by_what_the_index_has_of_them() {
    let text = |number: u32| format!("1700000000.M{number:0>19}P");
    let hashed = move |number| Sha1::digest(text(number))[4..].try_into().unwrap();
    let brought = |m: &Mdbox| {
        m.rename(text);
        m.folder_with("INBOX", &[1, 2, 3, 4], hashed);
        m.folder_with("Archive", &[1], hashed);
    };
    assert_eq!(mdbox(brought), []);
    let swapped = |m: &Mdbox| {
        brought(m);
        m.folder_with("INBOX", &[1, 2, 3, 4], |number| hashed(if number < 3 { 3 - number } else { number }));
    };
    assert_eq!(mdbox(swapped), [Kind::GuidMismatch; 2]);
    let unknown = |m: &Mdbox| m.folder_with("Archive", &[1], |_| [0; 16]);
    assert_eq!(mdbox(unknown), [], "a copy whose GUID was not known");
}

/// What a change to a mailbox of each format makes the verifier say.
fn outcome(mdbox: bool, change: &dyn Fn(&Path)) -> (Outcome, Vec<Kind>) {
    let store = Store::new();
    let place = store.dir.path().join("ex.org/anna");
    if mdbox {
        Mdbox::new(&place);
    } else {
        Sdbox::new(&place);
    }
    change(&place);
    let (report, findings) = store.verify();
    (report.verdict.outcome, kinds(&findings))
}

/// The places of indexes: whether they are of an mdbox, and their paths without `.index`.
const INDEXES: [(bool, &str); 3] = [
    (false, "mailboxes/INBOX/dbox-Mails/dovecot"),
    (true, "mailboxes/INBOX/dbox-Mails/dovecot"),
    (true, "storage/dovecot.map"),
];

#[test]
fn a_directory_in_the_place_of_an_index_is_no_clean_mailbox() {
    for (mdbox, index) in INDEXES {
        for name in ["index", "index.log", "index.log.2", "index.cache"] {
            let covered = |mailbox: &Path| {
                let path = mailbox.join(format!("{index}.{name}"));
                fs::remove_file(&path).ok();
                fs::create_dir(&path).unwrap();
            };
            let (outcome, kinds) = outcome(mdbox, &covered);
            assert_eq!(
                (outcome, &kinds[..]),
                (Outcome::Damaged, &[Kind::IndexMalformed][..]),
                "{index} {name}"
            );
        }
    }
}

#[test]
fn an_index_that_cannot_tell_is_no_clean_mailbox() {
    let unreadable = (Outcome::Unreadable, vec![Kind::FileUnreadable]);
    for (mdbox, index) in INDEXES {
        let big_endian = |mailbox: &Path| overwrite(&mailbox.join(format!("{index}.index")), 12, &[0]);
        assert_eq!(outcome(mdbox, &big_endian), unreadable, "{index}");
        let log = |record: Vec<u8>| {
            let log = [log_header(1, 0), record].concat();
            move |mailbox: &Path| fs::write(mailbox.join(format!("{index}.index.log")), &log).unwrap()
        };
        assert_eq!(outcome(mdbox, &log(log_record(0x4000, &[1, 9]))), unreadable, "{index}: other UIDs");
        let unknown_extension = log_record(0x40, &[77, 0, 0, 0x0002_0002, 0]);
        assert_eq!(outcome(mdbox, &log(unknown_extension)), unreadable, "{index}: an unknown extension");
    }
}

/// A folder may only hold others; INBOX has files of its own.
#[test]
fn lost_files_of_a_folder_are_seen_where_they_can_be_told() {
    let files_lost = |path: &Path| fs::remove_dir_all(path.join("mailboxes/INBOX/dbox-Mails")).unwrap();
    let covered = |path: &Path| {
        files_lost(path);
        fs::write(path.join("mailboxes/INBOX/dbox-Mails"), "").unwrap();
    };
    let held = |path: &Path| {
        files_lost(path);
        fs::create_dir(path.join("mailboxes/INBOX/Held")).unwrap();
    };
    let bare = |path: &Path| fs::create_dir_all(path.join("mailboxes/Empty/Held")).unwrap();
    let missing = (Outcome::Damaged, vec![Kind::DirectoryMissing]);
    assert_eq!((outcome(false, &files_lost), outcome(false, &covered)), (missing.clone(), missing));
    assert_eq!((outcome(false, &held).1, outcome(false, &bare).1), (vec![], vec![]));
    let both = vec![Kind::DirectoryMissing, Kind::ReferenceMismatch];
    assert_eq!((outcome(true, &files_lost).1, outcome(true, &covered).1), (both.clone(), both.clone()));
    assert_eq!((outcome(true, &held).1, outcome(true, &bare).1), (vec![Kind::ReferenceMismatch], vec![]));
    let no_folders = |path: &Path| {
        fs::remove_dir_all(path.join("mailboxes")).unwrap();
        fs::write(path.join("mailboxes"), "").unwrap();
    };
    assert_eq!(outcome(true, &no_folders).1, both);
}

#[test]
fn a_message_that_is_longer_than_is_looked_at_is_not_called_damaged() {
    let bytes = 700_u64 << 20;
    let long = |path: &Path| {
        let path = path.join("mailboxes/INBOX/dbox-Mails/u.1");
        let start = [FILE_HEADER, format!("\x01\x02N          {bytes:016X}\n").as_bytes()].concat();
        fs::write(&path, &start).unwrap();
        overwrite(&path, start.len() as u64 + bytes, b"\n\x01\x03\nR1\n\n");
    };
    assert_eq!(outcome(false, &long), (Outcome::Unreadable, vec![Kind::LimitReached]));
}

#[test]
fn a_file_of_headers_alone_is_given_up() {
    let headers = |m: &Mdbox| {
        let mut bytes = FILE_HEADER.to_vec();
        (0..70_000).for_each(|_| bytes.extend(b"\x01\x02N          0000000000000000\n"));
        fs::write(m.at("m.3"), bytes).unwrap();
    };
    assert_eq!(mdbox(headers), [Kind::LimitReached, Kind::UnmappedMessage]);
}

#[test]
fn marks_of_two_formats_are_no_guess() {
    let store = Store::new();
    let anna = Sdbox::new(&store.dir.path().join("ex.org/anna"));
    for place in ["cur", "new", "tmp"] {
        fs::create_dir(anna.0.join(place)).unwrap();
    }
    let (report, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::MailboxUnrecognised]);
    assert!(findings[0].detail.contains("Maildir and of sdbox"), "{}", findings[0].detail);
    assert_eq!(report.verdict.outcome, Outcome::Unreadable);
}

/// A store with an sdbox and an mdbox, of each of which half has moved to the alternative storage at `.alt`.
fn with_moved() -> (Store, [PathBuf; 2]) {
    let mut store = Store::new();
    let alternative = store.dir.path().join(".alt");
    store.layout =
        store.layout.with_alternative(&format!("{}/{{domain}}/{{user}}", alternative.display())).unwrap();
    let sdbox = Sdbox::new(&store.dir.path().join("ex.org/anna"));
    Mdbox::new(&store.dir.path().join("ex.org/bert"));
    let moved = [("ex.org/anna", "mailboxes/INBOX/dbox-Mails/u.2"), ("ex.org/bert", "storage/m.2")].map(
        |(mailbox, file)| {
            let (from, to) = (store.dir.path().join(mailbox), alternative.join(mailbox));
            fs::create_dir_all(to.join(file).parent().unwrap()).unwrap();
            fs::rename(from.join(file), to.join(file)).unwrap();
            symlink(&to, from.join("dbox-alt-root")).unwrap();
            to.join(file)
        },
    );
    assert!(sdbox.at("u.1").exists());
    (store, moved)
}

#[test]
fn moved_messages_are_read_where_they_are() {
    let (store, moved) = with_moved();
    let (report, findings) = store.verify();
    assert_eq!(details(&findings), Vec::<String>::new());
    assert_eq!((report.verdict.outcome, report.verdict.coverage), (Outcome::Clean, Ppm::ONE));
    let walk =
        || rientro_mailstore::stat_walk(&store.task(), &rientro_mailstore::Control::default()).unwrap();
    assert_eq!(walk(), report.stat_walk);
    for file in &moved {
        overwrite(file, 40, &[0; 64]);
    }
    assert_ne!(walk(), report.stat_walk, "what changes there is seen before anything opens");
    let (report, findings) = store.verify();
    assert_eq!(report.verdict.tally.messages_damaged, 2, "{:?}", details(&findings));
    let there = |f: &Finding| f.path.starts_with(b"dbox-alt-root/");
    assert!(findings.iter().all(there), "{:?}", details(&findings));
}

#[test]
fn what_is_lost_in_the_alternative_storage_is_lost_only_where_that_can_be_told() {
    let (store, moved) = with_moved();
    moved.iter().for_each(|file| fs::remove_file(file).unwrap());
    let (report, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::MessageMissing; 3], "{:?}", details(&findings));
    assert_eq!(report.verdict.outcome, Outcome::Damaged);
    let unknown = |spoil: &dyn Fn(&mut Store, &Path)| {
        let (mut store, _) = with_moved();
        let alternative = store.dir.path().join(".alt");
        spoil(&mut store, &alternative);
        let (report, findings) = store.verify();
        let (place, message) = (Kind::DirectoryUnreadable, Kind::FileUnreadable);
        assert_eq!(kinds(&findings), [place, message, place, message, message], "{:?}", details(&findings));
        assert_eq!(report.verdict.outcome, Outcome::Unreadable);
    };
    unknown(&|store, alternative| fs::rename(alternative, store.dir.path().join(".away")).unwrap());
    unknown(&|_, alternative| {
        fs::remove_dir_all(alternative).unwrap();
        fs::create_dir(alternative).unwrap();
    });
    unknown(&|store, _| store.layout = Store::new().layout);
    // A mailbox's owner has the link lead to another mailbox's messages.
    unknown(&|store, alternative| {
        for (mailbox, other) in [("ex.org/anna", "ex.org/bert"), ("ex.org/bert", "ex.org/anna")] {
            let link = store.dir.path().join(mailbox).join("dbox-alt-root");
            fs::remove_file(&link).unwrap();
            symlink(alternative.join(other), link).unwrap();
        }
    });
}

/// A mailbox without a link, which Dovecot makes when it is opened, or without anything moved is as good as any other.
#[test]
fn the_alternative_storage_is_found_without_a_link() {
    let (store, _) = with_moved();
    for mailbox in ["ex.org/anna", "ex.org/bert"] {
        fs::remove_file(store.dir.path().join(mailbox).join("dbox-alt-root")).unwrap();
    }
    Sdbox::new(&store.dir.path().join("ex.org/carl"));
    let (report, findings) = store.verify();
    assert_eq!(details(&findings), Vec::<String>::new());
    assert_eq!((report.verdict.outcome, report.verdict.tally.messages), (Outcome::Clean, 10));
}

/// What is known of an alternative storage that cannot be looked into is that it is there, also where no message is known to be in it.
#[test]
fn an_alternative_storage_that_is_not_there_is_never_passed_over() {
    let (store, moved) = with_moved();
    let anna = Sdbox::new(&store.dir.path().join("ex.org/berta"));
    symlink("/nowhere", anna.0.join("dbox-alt-root")).unwrap();
    let (report, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::DirectoryUnreadable], "{:?}", details(&findings));
    assert_eq!(report.verdict.outcome, Outcome::Unreadable);
    assert!(moved[0].exists());
}

/// Names that are longer where they were moved to than any finding can show.
#[test]
fn the_longest_paths_do_no_harm() {
    let (store, _) = with_moved();
    let anna = store.dir.path().join("ex.org/anna");
    let (mut path, mut parts) = (String::from("mailboxes"), 0);
    while path.len() + 1 + 250 + "/dbox-Mails".len() <= 3_835 {
        path = format!("{path}/{}", "x".repeat(250 - (parts % 2)));
        parts += 1;
    }
    let left = 3_835 - path.len() - "/dbox-Mails".len() - 1;
    path = format!("{path}/{}/dbox-Mails", "y".repeat(left));
    let made = |root: &Path| {
        let mut dir = rustix::fs::open(root, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        for part in path.split('/') {
            rustix::fs::mkdirat(&dir, part, rustix::fs::Mode::RWXU).ok();
            dir =
                rustix::fs::openat(&dir, part, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        }
        dir
    };
    made(&anna);
    let there = made(&store.dir.path().join(".alt/ex.org/anna"));
    rustix::fs::symlinkat("x", &there, "z".repeat(255)).unwrap();
    let (_, findings) = store.verify();
    assert!(findings.iter().all(|f| f.path.len() <= rientro_types::PATH_BYTES_MAX));
    assert!(kinds(&findings).contains(&Kind::LimitReached), "{:?}", kinds(&findings));
}

/// What an interrupted move left behind twice is read where Dovecot reads it.
#[test]
fn a_message_that_is_in_both_storages_counts_once() {
    let (store, moved) = with_moved();
    fs::copy(&moved[0], store.dir.path().join("ex.org/anna/mailboxes/INBOX/dbox-Mails/u.2")).unwrap();
    fs::copy(&moved[1], store.dir.path().join("ex.org/bert/storage/m.2")).unwrap();
    moved.iter().for_each(|file| overwrite(file, 40, &[0; 64]));
    let (report, findings) = store.verify();
    assert_eq!(details(&findings), Vec::<String>::new());
    assert_eq!((report.verdict.outcome, report.verdict.tally.messages), (Outcome::Clean, 7));
}

/// What a change to an attachment that is stored apart makes the verifier say; `None` leaves its directory unnamed.
fn attachment(change: Option<&dyn Fn(&Path)>) -> (Outcome, Vec<Kind>) {
    let mut store = Store::new();
    let apart = store.dir.path().join("apart");
    Mdbox::with_attachment(&store.dir.path().join("ex.org/anna"), &apart);
    if let Some(change) = change {
        store.layout = store.layout.with_attachments("apart").unwrap();
        change(&apart.join(ATTACHMENT));
    } else {
        fs::rename(&apart, store.dir.path().join(".apart")).unwrap();
    }
    let (report, findings) = store.verify();
    (report.verdict.outcome, kinds(&findings))
}

#[test]
fn attachments_are_put_back_and_compared() {
    let damaged = |kind| (Outcome::Damaged, vec![kind]);
    assert_eq!(attachment(Some(&|_| ())), (Outcome::Clean, vec![]));
    assert_eq!(attachment(Some(&|file| fs::remove_file(file).unwrap())), damaged(Kind::AttachmentMissing));
    assert_eq!(attachment(Some(&|file| overwrite(file, 1, b"y"))), damaged(Kind::AttachmentDamaged));
    assert_eq!(attachment(Some(&|file| truncate(file, 999))), damaged(Kind::AttachmentDamaged));
    assert_eq!(
        attachment(Some(&|file| truncate(file, 1 << 40))),
        damaged(Kind::AttachmentDamaged),
        "most of it a hole"
    );
    assert_eq!(attachment(None), (Outcome::Unreadable, vec![Kind::FileUnreadable]));
}
