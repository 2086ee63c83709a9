//! Every kind of finding has a fixture: a store in which this was broken, and in which it is seen.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rientro_mailstore::{
    Baseline, Control, Manifest, Report, Target, Task, verify, verify_against, write_baseline,
};
use rientro_types::{Finding, FindingKind as Kind, Level, Severity, VolumeId};
use rustix::fs::{CWD, Mode, mkfifoat};
use store::dbox::{ATTACHMENT, Mdbox, Sdbox};
use store::{Maildir, Store, changed_midway, gzip, message, overwrite, stem, unprivileged};

/// Kinds of what was found, and how many mailboxes are broken.
fn told((report, findings): (Report, Vec<Finding>)) -> (Vec<Kind>, u64) {
    (findings.iter().map(|finding| finding.kind).collect(), report.verdict.tally.mailboxes_broken)
}

/// Kinds of damage that is of a message, and breaks no mailbox.
const OF_MESSAGES: [Kind; 18] = [
    Kind::SizeMismatch,
    Kind::VirtualSizeMismatch,
    Kind::CompressedStream,
    Kind::EmptyMessage,
    Kind::HeaderMalformed,
    Kind::NulRun,
    Kind::ZeroBlock,
    Kind::MimeTruncated,
    Kind::MessageMissing,
    Kind::DuplicateName,
    Kind::FrameMalformed,
    Kind::MapMismatch,
    Kind::GuidMismatch,
    Kind::AttachmentMissing,
    Kind::AttachmentDamaged,
    Kind::MessageAltered,
    Kind::MessageTruncated,
    Kind::GuidChanged,
];

/// A store that must hold these mailboxes.
fn expecting(store: &mut Store, mailboxes: [&str; 2]) {
    store.expected = Some(mailboxes.map(|path| path.as_bytes().to_vec()).into_iter().collect());
}

/// Adds a mailbox with an attachment that is stored apart; gives the attachment's file.
fn attachment(store: &mut Store) -> PathBuf {
    store.layout = store.layout.clone().with_attachments("apart").unwrap();
    let apart = store.dir.path().join("apart");
    Mdbox::with_attachment(&store.dir.path().join("ex.org/dora"), &apart);
    apart.join(ATTACHMENT)
}

/// Breaks a store in the way of this kind; gives every kind that is seen then, and how many mailboxes are broken.
fn seen(kind: Kind) -> (Vec<Kind>, u64) {
    let (mut store, anna) = Store::with_anna();
    let (root, at) = (store.dir.path().to_owned(), |path: &str| anna.0.join(path));
    let (sdbox, mdbox) = (|| Sdbox::new(&root.join("ex.org/carl")), || Mdbox::new(&root.join("ex.org/dora")));
    match kind {
        Kind::SizeMismatch | Kind::MimeTruncated => {
            File::options().write(true).open(anna.file(1)).unwrap().set_len(10_000).unwrap();
        }
        Kind::VirtualSizeMismatch | Kind::NulRun => overwrite(&anna.file(1), 5_000, &[0; 600]),
        Kind::ZeroBlock => overwrite(&anna.file(1), 8_192, &[0; 4_096]),
        Kind::CompressedStream => fs::write(anna.file(1), &gzip(&message(1))[..200]).unwrap(),
        Kind::EmptyMessage => fs::write(anna.file(1), b"").unwrap(),
        Kind::HeaderMalformed => fs::write(at("cur/1700000040.M40P1.host:2,"), b"\x89PNG junk\n\n").unwrap(),
        Kind::FileUnreadable => {
            fs::set_permissions(anna.file(1), Permissions::from_mode(0o0)).unwrap();
            return told(unprivileged(|| store.verify()));
        }
        Kind::DirectoryUnreadable => {
            fs::set_permissions(at("cur"), Permissions::from_mode(0o0)).unwrap();
            return told(unprivileged(|| store.verify()));
        }
        Kind::DirectoryMissing => fs::remove_dir(at("tmp")).unwrap(),
        Kind::MailboxMissing => expecting(&mut store, ["ex.org/anna", "ex.org/bert"]),
        Kind::MailboxUnrecognised => fs::create_dir_all(root.join("ex.org/empty")).unwrap(),
        Kind::MessageMissing => fs::remove_file(anna.file(1)).unwrap(),
        Kind::UidlistMissing => fs::remove_file(at("dovecot-uidlist")).unwrap(),
        Kind::UidlistMalformed => fs::write(at("dovecot-uidlist"), [0; 300]).unwrap(),
        Kind::UidlistStale => {
            anna.write_uids(&[1]);
            anna.write_index(&[1, 2, 3], 4);
        }
        Kind::IndexMalformed => overwrite(&at("dovecot.index"), 0, &[0; 64]),
        Kind::DuplicateName => fs::write(at("new").join(stem(1, &message(1))), message(1)).unwrap(),
        Kind::StrayFile => fs::write(at("cur/README"), b"not mail").unwrap(),
        Kind::SymbolicLink => symlink("/etc", at(".Shared")).unwrap(),
        Kind::SpecialFile => {
            mkfifoat(CWD, at("cur/1700000050.M50P1.host,S=5:2,"), Mode::RWXU).unwrap();
        }
        Kind::NameNotUtf8 => {
            let name = OsStr::from_bytes(b"1700000060.M60P1.h\xff\xfe:2,");
            fs::write(at("cur").join(name), message(60)).unwrap();
        }
        Kind::VolumeEmpty => {
            store = Store::new();
            expecting(&mut store, ["ex.org/anna", "ex.org/bert"]);
        }
        Kind::VolumeWrong => {
            let volume = Some(VolumeId::new("marker:6f1c9a52-0b1d-4c61-9d0a-3f1b2c4d5e6f").unwrap());
            let (task, mut findings) = (Task { volume, ..store.task() }, Vec::new());
            let report =
                verify(&task, Level::Structure, &Control::default(), &mut |finding| findings.push(finding));
            return told((report, findings));
        }
        Kind::ChangedWhileRead => {
            let late = root.join("ex.org/aaron/new/1600000000.M000999P1.host");
            let (report, kinds) = changed_midway(&store, || fs::remove_file(&late).unwrap());
            return (kinds, report.verdict.tally.mailboxes_broken);
        }
        Kind::FrameMalformed => overwrite(&sdbox().at("u.1"), 0, &[0; 16]),
        Kind::IndexMissing => sdbox().lose_index(),
        Kind::IndexStale => sdbox().add(4),
        Kind::MapMismatch => mdbox().lengthen_last(),
        Kind::UnmappedMessage => mdbox().append(9),
        Kind::ReferenceMismatch => mdbox().folder("Sent", &[1]),
        Kind::GuidMismatch => mdbox().rename_last(),
        Kind::AttachmentMissing => fs::remove_file(attachment(&mut store)).unwrap(),
        Kind::AttachmentDamaged => overwrite(&attachment(&mut store), 500, b"y"),
        Kind::LimitReached => fs::create_dir_all(at(&"d/".repeat(40))).unwrap(),
        Kind::MessageAltered
        | Kind::MessageTruncated
        | Kind::MessageGone
        | Kind::FolderGone
        | Kind::UidChanged
        | Kind::GuidChanged
        | Kind::BaselineUnreadable => return since_baseline(kind, &store, &anna),
    }
    told(store.verify())
}

/// Writes a baseline, and breaks it or what it was written of in the way of this kind; gives what is seen then.
fn since_baseline(kind: Kind, store: &Store, anna: &Maildir) -> (Vec<Kind>, u64) {
    let (apart, control) = (tempfile::tempdir().unwrap(), Control::default());
    let (path, uidlist) = (apart.path().join("baseline"), anna.0.join("dovecot-uidlist"));
    let sent = anna.folder(".Sent");
    sent.deliver(7, &message(7));
    let target = Target { path: &path, previous: None, damaged_too: false, now_ms: 0 };
    write_baseline(&store.task(), target, &control, &mut |_| ()).unwrap();
    if kind == Kind::MessageAltered {
        overwrite(&anna.file(1), 9_000, b"X");
    } else if kind == Kind::MessageTruncated {
        File::options().write(true).open(anna.file(1)).unwrap().set_len(10_000).unwrap();
    } else if kind == Kind::MessageGone {
        fs::remove_file(anna.file(3)).unwrap();
        anna.write_uids(&[1, 2]);
        edit(&uidlist, " N3 ", " N4 ");
    } else if kind == Kind::FolderGone {
        fs::remove_dir_all(&sent.0).unwrap();
    } else if kind == Kind::BaselineUnreadable {
        overwrite(&path, 40, &[0; 8]);
    } else {
        fs::remove_file(anna.0.join("dovecot.index")).unwrap();
        fs::remove_file(anna.0.join("dovecot.index.log")).unwrap();
        let (uids, guid) = (("3 V77", "3 V78"), ("\n2 :", "\n2 G00112233445566778899aabbccddeeff :"));
        let (from, to) = if kind == Kind::UidChanged { uids } else { guid };
        edit(&uidlist, from, to);
    }
    let (manifest, mut findings) = (Manifest::open(&path).unwrap(), Vec::new());
    let baseline = Baseline { manifest: &manifest, scratch: apart.path() };
    let compared = verify_against(&store.task(), &baseline, &control, &mut |finding| findings.push(finding));
    told((compared.report, findings))
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// A kind that is added without a way to break a store for it does not compile; one that is not seen fails here.
#[test]
fn every_kind_of_finding_has_a_fixture() {
    assert_eq!(told(Store::with_anna().0.verify()), (vec![], 0));
    for kind in Kind::ALL {
        let (seen, broken) = seen(*kind);
        assert!(seen.contains(kind), "{kind}: {seen:?}");
        let breaks = kind.severity() == Severity::Damage && !OF_MESSAGES.contains(kind);
        assert_eq!(broken, u64::from(breaks), "{kind}: {seen:?}");
    }
}
