//! One damaged store for each kind of finding, and clean ones that must stay clean.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};

use flate2::Compression;
use flate2::write::GzEncoder;
use rientro_mailstore::{Control, verify};
use rientro_types::{
    Finding, FindingKind as Kind, Level, Outcome, PATH_BYTES_MAX, Ppm, UnknownCause, VolumeId,
};
use store::{Store, changed_midway, gzip, log_header, log_record, message, overwrite, stem, unprivileged};

/// Kind and path of each finding.
fn seen(findings: &[Finding]) -> Vec<(Kind, String)> {
    findings.iter().map(|f| (f.kind, String::from_utf8_lossy(&f.path).into_owned())).collect()
}

fn kinds(findings: &[Finding]) -> Vec<Kind> {
    findings.iter().map(|f| f.kind).collect()
}

/// What a change to anna's mailbox makes the verifier say.
fn after(change: impl FnOnce(&store::Maildir)) -> (Outcome, Vec<Kind>) {
    let (store, anna) = Store::with_anna();
    change(&anna);
    let (report, findings) = store.verify();
    (report.verdict.outcome, kinds(&findings))
}

fn damaged(change: impl FnOnce(&store::Maildir), expected: &[Kind]) {
    assert_eq!(after(change), (Outcome::Damaged, expected.to_vec()));
}

fn clean(change: impl FnOnce(&store::Maildir)) {
    assert_eq!(after(change), (Outcome::Clean, vec![]));
}

fn unreadable(change: impl FnOnce(&store::Maildir), expected: &[Kind]) {
    assert_eq!(after(change), (Outcome::Unreadable, expected.to_vec()));
}

#[test]
fn a_store_as_dovecot_leaves_it_is_clean() {
    let (store, anna) = Store::with_anna();
    let sent = anna.folder(".Sent");
    sent.deliver(7, &message(7));
    sent.write_uids(&[7]);
    for name in ["subscriptions", "dovecot.index.cache", "maildirsize"] {
        fs::write(anna.0.join(name), b"x").unwrap();
    }
    fs::write(anna.0.join("dovecot-keywords"), b"0 $Label1\n1 NonJunk\n").unwrap();
    fs::create_dir_all(anna.0.join("sieve/tmp")).unwrap();
    fs::write(anna.0.join("sieve/main.sieve"), b"keep;").unwrap();
    symlink("sieve/main.sieve", anna.0.join(".dovecot.sieve")).unwrap();
    fs::write(anna.0.join("tmp/1700000000.M1P1.host"), b"a delivery that was given up").unwrap();
    let (report, findings) = store.verify();
    assert_eq!(findings, []);
    assert_eq!((report.verdict.outcome, report.verdict.coverage), (Outcome::Clean, Ppm::ONE));
    assert_eq!((report.verdict.tally.mailboxes, report.verdict.tally.messages), (1, 4));
}

/// A message that was broken when it came, and is as it came, is clean: its sizes vouch for it.
#[test]
fn odd_mail_with_matching_sizes_is_clean() {
    clean(|anna| {
        let odd: [&[u8]; 6] = [
            b"no header at all, just a line\n",
            b"\n\nonly a body",
            b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nnever closed\n",
            b"Subject: \xff\xfe 8 bit\r\n\r\nCRLF kept\r\nand not\n",
            b"From: x\n\nshort run of \0\0\0\0\0\0\0\0 in a body\n",
            &[b'a'; 200_000],
        ];
        for (number, text) in odd.iter().enumerate() {
            anna.deliver(20 + u32::try_from(number).unwrap(), text);
        }
    });
}

/// Mail of servers that write no sizes, and of Dovecot with sizes in the uidlist only.
#[test]
fn names_without_sizes_are_clean() {
    clean(|anna| {
        let text = message(30);
        for name in
            ["cur/1700000030.V801I2M3.host:2,", "new/1700000031.5_1.host,U=7", "cur/1204680122.27c448.host"]
        {
            fs::write(anna.0.join(name), &text).unwrap();
        }
        fs::write(anna.0.join("cur/odd-name:2,"), &text).unwrap();
        let mut list = fs::read_to_string(anna.0.join("dovecot-uidlist")).unwrap();
        list.push_str(&format!("9 S{} Gabc :odd-name\n", text.len()));
        fs::write(anna.0.join("dovecot-uidlist"), list).unwrap();
    });
}

#[test]
fn compressed_mail_is_clean() {
    clean(|anna| {
        let text = message(3);
        fs::write(anna.file(3), gzip(&text)).unwrap();
        fs::write(anna.0.join("cur/1700000031.M31P1.host:2,"), gzip(&message(31))).unwrap();
    });
}

/// A block of 4 KiB that reads as zeros: the sizes and the run both tell.
#[test]
fn a_zeroed_block() {
    let (store, anna) = Store::with_anna();
    overwrite(&anna.file(2), 8192, &[0; 4096]);
    let (report, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::VirtualSizeMismatch, Kind::ZeroBlock]);
    assert_eq!(findings[1].detail, "1 of 4096 bytes, the first at 8192");
    assert_eq!(report.verdict.outcome, Outcome::Damaged);
    assert_eq!((report.verdict.tally.messages_damaged, report.verdict.tally.mailboxes_damaged), (1, 1));
    assert_eq!(report.damaged, [b"ex.org/anna"]);
    damaged(
        |anna| overwrite(&anna.file(2), 0, &[0; 4096]),
        &[Kind::VirtualSizeMismatch, Kind::ZeroBlock, Kind::HeaderMalformed],
    );
}

#[test]
fn a_run_of_nul_bytes() {
    damaged(|anna| overwrite(&anna.file(1), 5000, &[0; 600]), &[Kind::VirtualSizeMismatch, Kind::NulRun]);
}

#[test]
fn sizes_that_differ() {
    let cut = |anna: &store::Maildir| {
        let file = File::options().write(true).open(anna.file(1)).unwrap();
        file.set_len(10_000).unwrap();
    };
    damaged(cut, &[Kind::SizeMismatch, Kind::VirtualSizeMismatch, Kind::MimeTruncated]);
    let (store, anna) = Store::with_anna();
    fs::rename(anna.file(1), anna.0.join("cur/1700000001.M000001P77.h,S=5:2,")).unwrap();
    let (_, findings) = store.verify();
    let size = findings.iter().find(|f| f.kind == Kind::SizeMismatch).unwrap();
    assert_eq!(size.detail, format!("S=5, {} bytes found", message(1).len()));
}

/// Line ends that were lost or added leave the size of another message with the same number of bytes.
#[test]
fn line_ends_that_differ() {
    damaged(
        |anna| {
            let text: Vec<u8> = message(1).iter().map(|b| if *b == b'\n' { b' ' } else { *b }).collect();
            let text = [&message(1)[..200], &text[200..]].concat();
            fs::write(anna.file(1), text).unwrap();
        },
        &[Kind::VirtualSizeMismatch, Kind::MimeTruncated],
    );
}

/// A flipped bit, a lost end or a zeroed block of a gzip stream: the stream tells of each.
#[test]
fn a_broken_compressed_stream() {
    for (change, expected) in [
        ((|s| s[300] ^= 4) as fn(&mut Vec<u8>), &[Kind::CompressedStream][..]),
        (|s| s.truncate(s.len() - 20), &[Kind::CompressedStream]),
        (|s| s.extend(b"garbage"), &[Kind::CompressedStream]),
        (|s| s.resize(20_000, 0), &[Kind::CompressedStream, Kind::ZeroBlock]),
    ] {
        damaged(
            |anna| {
                let mut stored = gzip(&message(2));
                change(&mut stored);
                fs::write(anna.file(2), stored).unwrap();
            },
            expected,
        );
    }
    damaged(
        |anna| fs::write(anna.file(2), gzip(b"Subject: another message\n\nx\n")).unwrap(),
        &[Kind::SizeMismatch, Kind::VirtualSizeMismatch],
    );
}

#[test]
fn an_empty_message() {
    damaged(|anna| fs::write(anna.file(1), b"").unwrap(), &[Kind::EmptyMessage]);
}

/// Without sizes to vouch for it, a file without a header is none; with them, only binary bytes there are damage.
#[test]
fn a_header_that_does_not_parse() {
    damaged(
        |anna| fs::write(anna.0.join("cur/1700000040.M40P1.host:2,"), b"\x89PNG junk\n\n").unwrap(),
        &[Kind::HeaderMalformed],
    );
    damaged(
        |anna| {
            anna.deliver(41, b"\0\0\0\0\nbinary where a header should be\n");
        },
        &[Kind::HeaderMalformed],
    );
}

/// Also for a message longer than the read buffer, and for a compressed one, which both are read twice.
#[test]
fn a_multipart_without_its_end() {
    let head = b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\n";
    let long = [&head[..], &b"0123456789abcdef\n".repeat(20_000)].concat();
    for text in [[&head[..], b"cut in the mid"].concat(), long.clone(), gzip(&long)] {
        let expected: &[Kind] = if text.starts_with(b"\x1f") { &[] } else { &[Kind::MimeTruncated] };
        let (_, kinds) = after(|anna| fs::write(anna.0.join("cur/1700000042.M42P1.host:2,"), text).unwrap());
        assert_eq!(kinds, expected);
    }
    damaged(
        |anna| fs::write(anna.0.join("cur/1700000042.M42P1.host,S=7:2,"), gzip(&long)).unwrap(),
        &[Kind::SizeMismatch, Kind::MimeTruncated],
    );
}

/// A lost file is listed and in the index. An expunged one is in the uidlist only.
#[test]
fn a_lost_file_is_told_from_an_expunged_one() {
    let expunged = |anna: &store::Maildir| {
        fs::remove_file(anna.file(3)).unwrap();
        let log = [log_header(1, 0), log_record(0x1000_cd91, &[3, 3])].concat();
        fs::write(anna.0.join("dovecot.index.log"), log).unwrap();
    };
    clean(expunged);
    let (store, anna) = Store::with_anna();
    expunged(&anna);
    fs::remove_file(anna.file(1)).unwrap();
    let (report, findings) = store.verify();
    assert_eq!(seen(&findings), [(Kind::MessageMissing, stem(1, &message(1)))]);
    assert_eq!((report.verdict.tally.messages, report.verdict.tally.messages_damaged), (2, 1));
    assert_eq!(report.verdict.coverage, Ppm::ONE, "it was looked for");
}

/// Where the index is absent or cannot tell nobody knows whether a file was lost. What is missing of its history is named
/// where Dovecot never leaves it so.
#[test]
fn nothing_is_missed_on_doubtful_evidence() {
    let lost = |anna: &store::Maildir, gone: &[&str], log: Option<Vec<u8>>| {
        fs::remove_file(anna.file(1)).unwrap();
        gone.iter().for_each(|name| fs::remove_file(anna.0.join(name)).unwrap());
        if let Some(log) = log {
            fs::write(anna.0.join("dovecot.index.log"), log).unwrap();
        }
    };
    clean(|anna| lost(anna, &["dovecot.index", "dovecot.index.log"], None));
    damaged(|anna| lost(anna, &["dovecot.index.log"], None), &[Kind::IndexMalformed]);
    damaged(|anna| lost(anna, &["dovecot.index"], Some(log_header(2, 1))), &[Kind::IndexMalformed]);
    damaged(|anna| lost(anna, &[], Some(log_header(3, 2))), &[Kind::IndexMalformed]);
    damaged(
        |anna| {
            lost(anna, &[], Some(log_header(3, 2)));
            fs::write(anna.0.join("dovecot.index.log.2"), log_header(2, 1)).unwrap();
        },
        &[Kind::IndexMalformed],
    );
}

/// An index may be behind by a whole log, or be nothing but a log.
#[test]
fn logs_are_followed() {
    let lost = |anna: &store::Maildir| fs::remove_file(anna.file(1)).unwrap();
    damaged(
        |anna| {
            lost(anna);
            fs::remove_file(anna.0.join("dovecot.index")).unwrap();
            let uids = log_record(0x1000_0002, &[1, 0, 2, 0, 3, 0]);
            let validity = log_record(0x20, &[24 | 4 << 16, 77]);
            fs::write(anna.0.join("dovecot.index.log"), [log_header(1, 0), uids, validity].concat()).unwrap();
        },
        &[Kind::MessageMissing],
    );
    // The index ends where the log begins, and the log between was dropped for its age.
    damaged(
        |anna| {
            lost(anna);
            let mut log = log_header(2, 1);
            log[16] = 40;
            fs::write(anna.0.join("dovecot.index.log"), log).unwrap();
        },
        &[Kind::MessageMissing],
    );
    // The log was turned over, and the first index was about to be written.
    damaged(
        |anna| {
            lost(anna);
            fs::remove_file(anna.0.join("dovecot.index")).unwrap();
            let uids = log_record(0x1000_0002, &[1, 0, 2, 0, 3, 0]);
            let validity = log_record(0x20, &[24 | 4 << 16, 77]);
            let older = [log_header(1, 0), uids, validity].concat();
            fs::write(anna.0.join("dovecot.index.log.2"), older).unwrap();
            fs::write(anna.0.join("dovecot.index.log"), log_header(2, 1)).unwrap();
        },
        &[Kind::MessageMissing],
    );
    // A log without one before it makes the index anew.
    clean(|anna| {
        lost(anna);
        fs::write(anna.0.join("dovecot.index.log"), log_header(3, 0)).unwrap();
    });
    clean(|anna| {
        lost(anna);
        let older = [log_header(1, 0), log_record(0x1000_cd91, &[1, 1])].concat();
        fs::write(anna.0.join("dovecot.index.log.2"), older).unwrap();
        fs::write(anna.0.join("dovecot.index.log"), log_header(2, 1)).unwrap();
    });
}

#[test]
fn a_lost_or_broken_uidlist() {
    let list = "dovecot-uidlist";
    damaged(|anna| fs::remove_file(anna.0.join(list)).unwrap(), &[Kind::UidlistMissing]);
    damaged(|anna| fs::write(anna.0.join(list), [0; 300]).unwrap(), &[Kind::UidlistMalformed]);
    damaged(
        |anna| fs::write(anna.0.join(list), b"3 V77 N9\n8 :a\n7 :b\n").unwrap(),
        &[Kind::UidlistMalformed],
    );
}

/// The index alone tells of a folder that was emptied: how much is missing, and how much is there.
#[test]
fn a_folder_that_lost_its_files_and_its_uidlist() {
    let empty = |anna: &store::Maildir| {
        (1..=3).for_each(|number| fs::remove_file(anna.file(number)).unwrap());
        fs::remove_file(anna.0.join("dovecot-uidlist")).unwrap();
    };
    let (store, anna) = Store::with_anna();
    // Mail elsewhere in the shard, so that it is not empty.
    let bert = store.maildir("ex.org/bert");
    bert.deliver(1, &message(1));
    empty(&anna);
    let (report, findings) = store.verify();
    assert_eq!((report.verdict.outcome, kinds(&findings)), (Outcome::Damaged, vec![Kind::UidlistMissing]));
    assert_eq!(findings[0].detail, "3 in the index, 0 files");
    anna.write_index(&[], 4);
    assert_eq!(store.verify().1, [], "its mail was all removed");
    anna.write_index(&[1, 2, 3], 4);
    let expunges = [log_header(1, 0), log_record(0xcd91, &[1, 3])].concat();
    fs::write(anna.0.join("dovecot.index.log"), expunges).unwrap();
    assert_eq!(store.verify().1, [], "or is about to be");
}

/// Nobody knows of a uidlist that is lost together with the index.
#[test]
fn a_uidlist_is_missed_only_where_an_index_is_left() {
    clean(|anna| {
        for name in ["dovecot-uidlist", "dovecot.index", "dovecot.index.log"] {
            fs::remove_file(anna.0.join(name)).unwrap();
        }
    });
}

#[test]
fn a_uidlist_that_is_no_file() {
    let replaced = |anna: &store::Maildir| {
        let list = anna.0.join("dovecot-uidlist");
        fs::remove_file(&list).unwrap();
        list
    };
    damaged(|anna| fs::create_dir(replaced(anna)).unwrap(), &[Kind::UidlistMalformed]);
    damaged(|anna| symlink("elsewhere", replaced(anna)).unwrap(), &[Kind::SymbolicLink]);
    damaged(
        |anna| rustix::fs::mkfifoat(rustix::fs::CWD, replaced(anna), rustix::fs::Mode::RWXU).unwrap(),
        &[Kind::SpecialFile],
    );
}

/// Dovecot cannot use a folder in which a directory stands in the place of one of its files.
#[test]
fn an_index_or_keywords_that_are_a_directory() {
    for name in [
        "dovecot-keywords",
        "dovecot.index",
        "dovecot.index.cache",
        "dovecot.index.log",
        "dovecot.index.log.2",
    ] {
        let covered = |anna: &store::Maildir| {
            let path = anna.0.join(name);
            // Some of them are there, some are not.
            let _absent = fs::remove_file(&path);
            fs::create_dir(path).unwrap();
        };
        damaged(covered, &[Kind::IndexMalformed]);
    }
}

/// One file has one UID, unless the index knows the earlier one as expunged: then the file was put back.
#[test]
fn a_file_with_two_uids() {
    let again = |anna: &store::Maildir| {
        let list = anna.0.join("dovecot-uidlist");
        let text = fs::read_to_string(&list).unwrap();
        fs::write(list, format!("{text}9 :{}\n", stem(1, &message(1)))).unwrap();
    };
    damaged(again, &[Kind::UidlistMalformed]);
    damaged(
        |anna| {
            again(anna);
            fs::remove_file(anna.0.join("dovecot.index")).unwrap();
            fs::remove_file(anna.0.join("dovecot.index.log")).unwrap();
        },
        &[Kind::UidlistMalformed],
    );
    clean(|anna| {
        again(anna);
        anna.write_index(&[2, 3, 9], 10);
    });
}

#[test]
fn broken_keywords() {
    let keywords = |text: &'static [u8]| {
        move |anna: &store::Maildir| fs::write(anna.0.join("dovecot-keywords"), text).unwrap()
    };
    damaged(keywords(&[0; 64]), &[Kind::IndexMalformed]);
    damaged(keywords(b"0 $Label1\nrubbish\n"), &[Kind::IndexMalformed]);
    clean(keywords(b""));
    clean(keywords(b"0 $Label1\n25 caf\xc3\xa9\n"));
}

/// Without a size in the name, two Content-Type fields leave open where the message ends.
#[test]
fn two_content_types_are_clean() {
    let put = |header: &'static str| {
        move |anna: &store::Maildir| {
            let text = format!("Subject: x\n{header}\n--b\n\ncut");
            fs::write(anna.0.join("cur/1700000044.M44P1.host:2,"), text).unwrap();
        }
    };
    let multipart = "Content-Type: multipart/mixed; boundary=b\n";
    clean(put("Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n"));
    damaged(put(multipart), &[Kind::MimeTruncated]);
}

/// A uidlist from before the last deliveries.
#[test]
fn an_old_uidlist() {
    damaged(
        |anna| {
            anna.write_uids(&[1]);
            anna.write_index(&[1, 2, 3], 4);
        },
        &[Kind::UidlistStale],
    );
}

/// A uidlist that was cut off still promises its next UID, so the index alone knows what was listed behind the cut.
#[test]
fn a_truncated_uidlist() {
    let cut = |at: fn(&str) -> usize, change: &dyn Fn(&store::Maildir)| {
        let (store, anna) = Store::with_anna();
        let list = anna.0.join("dovecot-uidlist");
        let text = fs::read_to_string(&list).unwrap();
        fs::write(list, &text[..at(&text)]).unwrap();
        change(&anna);
        let (_, findings) = store.verify();
        findings.iter().map(|f| (f.kind, f.detail.clone())).collect::<Vec<_>>()
    };
    let told = |detail: &str| [(Kind::UidlistStale, detail.to_owned())];
    let two = told("in the index and not listed: 2, the first with UID 2");
    let line_end = |text: &str| text.find("\n2 ").unwrap() + 1;
    assert_eq!(cut(line_end, &|_| ()), two);
    assert_eq!(cut(|text| text.find("\n2 ").unwrap() + 9, &|_| ()), two, "inside a line");
    assert_eq!(cut(line_end, &|anna| fs::remove_file(anna.file(3)).unwrap()), two, "a lost file behind it");
    let all = told("in the index and not listed: 3, the first with UID 1");
    assert_eq!(cut(|text| text.find('\n').unwrap() + 1, &|_| ()), all);
    // Lines of what was expunged, or is about to be, may be gone.
    let expunge = |external: u32, first: u32| {
        move |anna: &store::Maildir| {
            let log = [log_header(1, 0), log_record(0xcd91 | external, &[first, 3])].concat();
            fs::write(anna.0.join("dovecot.index.log"), log).unwrap();
        }
    };
    for external in [0, 0x1000_0000] {
        assert_eq!(cut(line_end, &expunge(external, 2)), []);
        assert_eq!(
            cut(line_end, &expunge(external, 3)),
            told("in the index and not listed: 1, the first with UID 2")
        );
    }
}

/// A line may be ahead of the index: of a delivery that the index does not know yet.
#[test]
fn an_index_behind_its_uidlist_is_clean() {
    clean(|anna| anna.write_index(&[1, 2], 3));
    clean(|anna| anna.write_index(&[3], 4));
}

#[test]
fn an_index_that_does_not_fit() {
    let index = "dovecot.index";
    damaged(|anna| overwrite(&anna.0.join(index), 0, &[0; 64]), &[Kind::IndexMalformed]);
    damaged(|anna| overwrite(&anna.0.join(index), 16, &[9]), &[Kind::IndexMalformed]);
    damaged(|anna| overwrite(&anna.0.join(index), 24, &[78]), &[Kind::IndexMalformed]);
    damaged(|anna| overwrite(&anna.0.join(index), 60, &[2]), &[Kind::IndexMalformed]);
    damaged(|anna| overwrite(&anna.0.join(index), 68, &[200]), &[Kind::IndexMalformed]);
    damaged(|anna| fs::write(anna.0.join("dovecot.index.log"), [0; 40]).unwrap(), &[Kind::IndexMalformed]);
}

#[test]
fn a_duplicate_name() {
    let (store, anna) = Store::with_anna();
    let name = stem(1, &message(1));
    fs::write(anna.0.join("new").join(&name), message(1)).unwrap();
    let (report, findings) = store.verify();
    assert_eq!(seen(&findings), [(Kind::DuplicateName, format!("cur/{name}:2,S"))]);
    assert_eq!(report.verdict.tally.messages_damaged, 1);
}

#[test]
fn stray_files_are_notes() {
    let (store, anna) = Store::with_anna();
    fs::write(anna.0.join("cur/README"), b"not mail").unwrap();
    fs::write(anna.0.join("cur/.nfs0001"), b"x").unwrap();
    fs::create_dir(anna.0.join("new/1.dir")).unwrap();
    let (report, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::StrayFile; 3]);
    assert_eq!((report.verdict.outcome, report.verdict.tally.messages), (Outcome::Clean, 3));
}

#[test]
fn directories_that_are_missing() {
    damaged(|anna| fs::remove_dir(anna.0.join("tmp")).unwrap(), &[Kind::DirectoryMissing]);
    damaged(|anna| fs::remove_dir(anna.0.join("new")).unwrap(), &[Kind::DirectoryMissing]);
    damaged(
        |anna| fs::remove_dir_all(anna.0.join("cur")).unwrap(),
        &[Kind::DirectoryMissing, Kind::MessageMissing, Kind::MessageMissing, Kind::MessageMissing],
    );
    damaged(|anna| fs::remove_dir(anna.folder(".Sent").0.join("new")).unwrap(), &[Kind::DirectoryMissing]);
}

/// Of a folder an index and `tmp` are left; `tmp` alone makes none.
#[test]
fn a_folder_that_only_its_index_tells_of() {
    damaged(
        |anna| {
            fs::create_dir_all(anna.0.join(".Archive/tmp")).unwrap();
            for left in ["dovecot.index", "dovecot.index.log"] {
                fs::copy(anna.0.join(left), anna.0.join(".Archive").join(left)).unwrap();
            }
        },
        &[Kind::DirectoryMissing, Kind::DirectoryMissing, Kind::UidlistMissing],
    );
    clean(|anna| fs::create_dir_all(anna.0.join("spam/tmp")).unwrap());
    clean(|anna| {
        fs::create_dir(anna.0.join("virtual")).unwrap();
        fs::write(anna.0.join("virtual/dovecot.index"), b"x").unwrap();
    });
}

#[test]
fn links_and_special_files_are_named_and_left_alone() {
    damaged(
        |anna| {
            let file = anna.file(1);
            fs::rename(&file, anna.0.join("elsewhere")).unwrap();
            symlink("../elsewhere", &file).unwrap();
        },
        &[Kind::SymbolicLink],
    );
    damaged(|anna| symlink("/etc", anna.0.join(".Shared")).unwrap(), &[Kind::SymbolicLink]);
    damaged(
        |anna| {
            let name = anna.0.join("cur/1700000050.M50P1.host,S=5:2,");
            rustix::fs::mkfifoat(rustix::fs::CWD, name, rustix::fs::Mode::RWXU).unwrap();
        },
        &[Kind::SpecialFile],
    );
    let (store, anna) = Store::with_anna();
    symlink(&anna.0, store.dir.path().join("ex.org/alias")).unwrap();
    let (report, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::SymbolicLink]);
    assert_eq!((&findings[0].mailbox[..], report.verdict.tally.mailboxes), (&b"ex.org/alias"[..], 1));
    assert_eq!(report.damaged, [b"ex.org/alias"]);
    symlink("ex.org", store.dir.path().join("alias.org")).unwrap();
    let (_, findings) = store.verify();
    assert_eq!((&findings[0].mailbox[..], &findings[0].path[..]), (&b""[..], &b"alias.org"[..]));
}

#[test]
fn a_name_that_is_not_utf8_is_a_note() {
    let (store, anna) = Store::with_anna();
    let name = [b"1700000060.M60P1.h\xff\xfe".to_vec(), b":2,".to_vec()].concat();
    fs::write(anna.0.join("cur").join(OsStr::from_bytes(&name)), message(60)).unwrap();
    let (report, findings) = store.verify();
    assert_eq!((report.verdict.outcome, kinds(&findings)), (Outcome::Clean, vec![Kind::NameNotUtf8]));
    assert_eq!(findings[0].path, [&b"cur/"[..], &name].concat());
    fs::rename(&anna.0, store.dir.path().join(OsStr::from_bytes(b"ex.org/ann\xe9"))).unwrap();
    assert_eq!(kinds(&store.verify().1), [Kind::NameNotUtf8; 2]);
}

#[test]
fn what_is_no_maildir_is_not_called_clean() {
    for (path, what) in [
        ("ex.org/empty", "an empty directory"),
        ("ex.org/carl/dbox-Mails", "a folder of a dbox, not the mailbox that it is in"),
        ("ex.org/dora/Mail", "no cur, new and tmp, no mailboxes and no storage"),
    ] {
        let (store, _) = Store::with_anna();
        fs::create_dir_all(store.dir.path().join(path)).unwrap();
        let (report, findings) = store.verify();
        assert_eq!(
            (report.verdict.outcome, kinds(&findings)),
            (Outcome::Unreadable, vec![Kind::MailboxUnrecognised])
        );
        assert_eq!(findings[0].detail, what);
    }
    let (store, _) = Store::with_anna();
    fs::write(store.dir.path().join("ex.org/mbox"), b"From x\n").unwrap();
    assert_eq!(kinds(&store.verify().1), [Kind::MailboxUnrecognised]);
}

/// T24: what comes up empty or in part is never clean.
#[test]
fn mailboxes_that_are_missing() {
    let (mut store, _) = Store::with_anna();
    let paths = [&b"ex.org/anna"[..], b"ex.org/bert"];
    store.expected = Some(paths.map(<[u8]>::to_vec).into_iter().collect());
    let (report, findings) = store.verify();
    assert_eq!((report.verdict.outcome, kinds(&findings)), (Outcome::Damaged, vec![Kind::MailboxMissing]));
    assert_eq!((&findings[0].mailbox[..], report.verdict.tally.mailboxes_damaged), (&b"ex.org/bert"[..], 1));
    assert_eq!(report.damaged, [b"ex.org/bert"]);
}

/// T24: empty is unknown, or unreadable when mailboxes were expected; clean only when none were.
#[test]
fn an_empty_volume() {
    let mut store = Store::new();
    let (report, findings) = store.verify();
    assert_eq!((report.verdict.outcome, findings), (Outcome::Unknown(UnknownCause::Empty), vec![]));
    store.expected = Some([b"ex.org/anna".to_vec()].into_iter().collect());
    let (report, findings) = store.verify();
    assert_eq!((report.verdict.outcome, kinds(&findings)), (Outcome::Unreadable, vec![Kind::VolumeEmpty]));
    store.expected = Some(std::iter::empty().collect());
    assert_eq!(store.verify().0.verdict.outcome, Outcome::Clean);
    let gone = rientro_mailstore::Task { shard: b"gone", ..store.task() };
    let report = verify(&gone, Level::Structure, &Control::default(), &mut |_| ());
    assert_eq!(report.verdict.outcome, Outcome::Unreadable);
}

/// T24: mailboxes without any mail are what a mail server makes where a volume is not mounted; one empty mailbox among others
/// is a customer without mail.
#[test]
fn mailboxes_without_any_mail() {
    let mut store = Store::new();
    let anna = store.maildir("ex.org/anna");
    store.maildir("ex.org/bert");
    let unknown = (Outcome::Unknown(UnknownCause::Empty), Ppm::ZERO);
    let told = |store: &Store| {
        let verdict = store.verify().0.verdict;
        (verdict.outcome, verdict.coverage)
    };
    assert_eq!(told(&store), unknown);
    store.expected = Some([b"ex.org/anna".to_vec(), b"ex.org/bert".to_vec()].into_iter().collect());
    assert_eq!(told(&store), unknown, "a list of mailboxes does not say that they have no mail");
    anna.deliver(1, &message(1));
    anna.write_uids(&[1]);
    assert_eq!(told(&store), (Outcome::Clean, Ppm::ONE));
}

/// T24, T28: nothing is said about a shard whose volume is another one.
#[test]
fn a_wrong_volume() {
    let (store, _) = Store::with_anna();
    let volume = Some(VolumeId::new("marker:6f1c9a52-0b1d-4c61-9d0a-3f1b2c4d5e6f").unwrap());
    let task = rientro_mailstore::Task { volume, ..store.task() };
    let mut findings = Vec::new();
    let report = verify(&task, Level::Structure, &Control::default(), &mut |f| findings.push(f));
    assert_eq!((report.verdict.outcome, kinds(&findings)), (Outcome::Unreadable, vec![Kind::VolumeWrong]));
    assert_eq!(report.verdict.tally.mailboxes, 0);
    assert!(rientro_mailstore::stat_walk(&task, &Control::default()).is_err());
}

#[test]
fn streams_that_are_not_decoded_and_bombs() {
    unreadable(|anna| fs::write(anna.file(1), b"\xfd7zXZ\0rest").unwrap(), &[Kind::FileUnreadable]);
    unreadable(
        |anna| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            (0..40).for_each(|_| encoder.write_all(&[b'a'; 1 << 20]).unwrap());
            fs::write(anna.file(1), encoder.finish().unwrap()).unwrap();
        },
        &[Kind::LimitReached],
    );
    unreadable(|anna| fs::create_dir_all(anna.0.join("d/".repeat(40))).unwrap(), &[Kind::LimitReached]);
}

/// Whatever paths a store has, a finding can be put on the wire.
#[test]
fn paths_that_are_too_long_to_name() {
    let long = |deepest: usize| {
        let (store, anna) = Store::with_anna();
        let mut dir = File::open(&anna.0).unwrap();
        for level in 0..deepest {
            let name = OsString::from_vec(vec![b'a' + u8::try_from(level).unwrap(); 255]);
            rustix::fs::mkdirat(&dir, &name, rustix::fs::Mode::RWXU).unwrap();
            let next =
                rustix::fs::openat(&dir, &name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty());
            dir = next.unwrap().into();
            rustix::fs::symlinkat("x", &dir, "x".repeat(255)).unwrap();
        }
        let (report, findings) = store.verify();
        assert!(findings.iter().all(|f| f.path.len() <= PATH_BYTES_MAX && f.mailbox.len() <= PATH_BYTES_MAX));
        (report, kinds(&findings))
    };
    // A directory at 3,839 bytes has no room below it for a place and a name.
    assert_eq!(long(14).1, [Kind::SymbolicLink; 14]);
    let (report, found) = long(20);
    assert_eq!((found.len(), found[14]), (15, Kind::LimitReached));
    assert_eq!(report.verdict.coverage, Ppm::ratio(3, 4), "a directory was not looked at");
    damaged(
        |anna| {
            let name = "9".repeat(4_000);
            fs::write(anna.0.join("dovecot-uidlist"), format!("3 V77 N4\n1 :{name}\n")).unwrap();
        },
        &[Kind::UidlistMalformed],
    );
}

#[test]
fn files_and_directories_that_may_not_be_read() {
    let (mut store, anna) = Store::with_anna();
    fs::set_permissions(anna.file(2), fs::Permissions::from_mode(0o0)).unwrap();
    let (report, findings) = unprivileged(|| store.verify());
    assert_eq!((report.verdict.outcome, kinds(&findings)), (Outcome::Unreadable, vec![Kind::FileUnreadable]));
    assert_eq!((&findings[0].detail[..], report.verdict.tally.messages_unreadable), ("EACCES", 1));
    assert_eq!(report.verdict.coverage.raw(), 666_666);

    let bert = store.maildir("ex.org/bert");
    fs::set_permissions(bert.0.join("cur"), fs::Permissions::from_mode(0o0)).unwrap();
    let carl = store.maildir("closed.org/carl");
    fs::set_permissions(carl.0.parent().unwrap(), fs::Permissions::from_mode(0o0)).unwrap();
    let (report, findings) = unprivileged(|| store.verify());
    assert_eq!(
        kinds(&findings),
        [Kind::DirectoryUnreadable, Kind::FileUnreadable, Kind::DirectoryUnreadable]
    );
    assert_eq!(report.verdict.tally.mailboxes_unreadable, 3, "one is below what cannot be listed, or more");
    assert_eq!(
        report.verdict.coverage,
        Ppm::ratio(2, 3 + 2),
        "one message and two directories were not looked at"
    );
    // A list tells how many that are.
    let listed = ["ex.org/anna", "ex.org/bert", "closed.org/carl", "closed.org/dora", "closed.org/emma"];
    store.expected = Some(listed.map(|path| path.as_bytes().to_vec()).into_iter().collect());
    let (report, _) = unprivileged(|| store.verify());
    assert_eq!(report.verdict.tally.mailboxes_unreadable, 5);
    fs::set_permissions(carl.0.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
}

/// What vanishes while it is read is named, and ends in no panic.
#[test]
fn a_shard_that_vanishes() {
    let (store, anna) = Store::with_anna();
    let domain = anna.0.parent().unwrap().to_owned();
    let (report, kinds) = changed_midway(&store, || fs::remove_dir_all(&domain).unwrap());
    assert_eq!(report.verdict.outcome, Outcome::Damaged);
    let last_two = &kinds[kinds.len() - 2..];
    assert!(kinds[..kinds.len() - 1].iter().all(|kind| *kind == Kind::ChangedWhileRead), "{kinds:?}");
    assert_eq!(last_two, [Kind::ChangedWhileRead, Kind::ChangedWhileRead]);
    let (store, _) = Store::with_anna();
    let late = store.dir.path().join("ex.org/aaron/new/1600000000.M000999P1.host");
    let (_, kinds) = changed_midway(&store, || fs::remove_file(&late).unwrap());
    assert_eq!(kinds, [Kind::ChangedWhileRead]);
}

#[test]
fn levels() {
    let (store, anna) = Store::with_anna();
    overwrite(&anna.file(1), 0, &[0; 5000]);
    let (report, findings) = store.verify_at(Level::Presence, &Control::default());
    assert_eq!((report.verdict.outcome, findings.len()), (Outcome::Clean, 0));
    assert_eq!((report.verdict.tally.messages, report.verdict.tally.bytes), (3, 0));
    fs::remove_file(anna.file(2)).unwrap();
    let (_, findings) = store.verify_at(Level::Presence, &Control::default());
    assert_eq!(kinds(&findings), [Kind::MessageMissing]);
    let (report, _) = store.verify_at(Level::Baseline, &Control::default());
    assert_eq!(report.verdict.outcome, Outcome::Unknown(UnknownCause::LevelUnavailable));
}

/// A file whose length is nonsense is found out by its length: nobody reads two terabytes of hole.
#[test]
fn a_file_of_absurd_length() {
    let grow = |anna: &store::Maildir, stem: &str, bytes: u64| {
        let path = anna.0.join("cur").join(stem);
        fs::write(&path, message(9)).unwrap();
        File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
    };
    damaged(|anna| grow(anna, &stem(9, &message(9)), 2 << 40), &[Kind::SizeMismatch]);
    unreadable(|anna| grow(anna, "1700000009.M9P1.host", 2 << 40), &[Kind::LimitReached]);
}
