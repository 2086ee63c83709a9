//! sdbox and mdbox as a real Dovecot writes them: nothing is found in a clean store, every message is looked at, and each way
//! of breaking one is seen as what it is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rientro_dev::corpus::{ATTACHMENTS, Corpus, Shape};
use rientro_dev::dovecot::{Dovecot, Format, Packing, Storage, User};
use rientro_dev::store;
use rientro_mailstore::{Control, Layout, Task, verify};
use rientro_types::{FindingKind as Kind, Level, Outcome, Ppm};

/// Messages and findings of all shards under the roots.
fn verify_all(roots: &[PathBuf]) -> (u64, Vec<String>) {
    let layout = Layout::sharded("{shard}/{domain}/{user}", "{shard}").expect("the layout parses");
    let layout = layout.with_attachments(ATTACHMENTS).expect("it is below the root");
    let (mut messages, mut found) = (0, Vec::new());
    for root in roots {
        for shard in fs::read_dir(root).expect("the root can be listed") {
            let shard = shard.expect("an entry").file_name().into_string().expect("plain names");
            if shard == ATTACHMENTS {
                continue;
            }
            messages += verify_one(&layout, root, &shard, &mut found);
        }
    }
    (messages, found)
}

fn verify_one(layout: &Layout, root: &Path, shard: &str, found: &mut Vec<String>) -> u64 {
    let before = found.len();
    let task = Task { root, layout, shard: shard.as_bytes(), volume: None, expected: None };
    let report = verify(&task, Level::Structure, &Control::default(), &mut |finding| {
        let (mailbox, path) =
            (String::from_utf8_lossy(&finding.mailbox), String::from_utf8_lossy(&finding.path));
        found.push(format!("{} in {shard}/{mailbox} {path}: {}", finding.kind, finding.detail));
    });
    if found.len() == before {
        assert_eq!((report.verdict.outcome, report.verdict.coverage), (Outcome::Clean, Ppm::ONE));
    }
    report.verdict.tally.messages
}

/// A store of this format, and what is in it, with nothing found.
fn delivered(folder: &Path, format: Format) -> Corpus {
    let shape = Shape { mailboxes: 20, format, ..Shape::default() };
    let corpus = Corpus::deliver(folder, &shape).expect("the corpus is delivered");
    let (messages, found) = verify_all(&corpus.roots);
    assert_eq!(found, Vec::<String>::new(), "{format:?}: a clean store");
    // An mdbox keeps what was expunged until it is purged, and has one message for all its copies.
    let expected = match format {
        Format::Mdbox => corpus.handed_over as u64,
        Format::Maildir | Format::Sdbox => corpus.ledger.messages() as u64,
    };
    assert_eq!(messages, expected, "{format:?}");
    corpus
}

/// What is seen in a copy of a mailbox after something was done to it.
fn seen(mailbox: &Path, fault: impl FnOnce(&Path) -> std::io::Result<()>) -> BTreeSet<Kind> {
    let root = tempfile::tempdir().expect("a folder for the copy");
    let copy = root.path().join("d/u");
    store::copy(mailbox, &copy).expect("the mailbox can be copied");
    fault(&copy).expect("the fault can be made");
    let layout = Layout::whole("{domain}/{user}", "s").expect("the layout parses");
    let task = Task { root: root.path(), layout: &layout, shard: b"", volume: None, expected: None };
    let mut kinds = BTreeSet::new();
    verify(&task, Level::Structure, &Control::default(), &mut |finding| {
        kinds.insert(finding.kind);
    });
    kinds
}

fn zero(path: &Path, at: u64, bytes: usize) -> std::io::Result<()> {
    File::options().write(true).open(path)?.write_all_at(&vec![0; bytes], at)
}

fn cut(path: &Path, off: u64) -> std::io::Result<()> {
    let bytes = fs::metadata(path)?.len();
    File::options().write(true).open(path)?.set_len(bytes.saturating_sub(off))
}

fn flip(path: &Path, at: u64) -> std::io::Result<()> {
    let mut byte = [0];
    let file = File::options().read(true).write(true).open(path)?;
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 1], at)
}

fn remove_index(folder: &Path, name: &str) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The plain files of messages in a directory with at least so many bytes, smallest first.
fn files(folder: &Path, prefix: &str, bytes_min: u64) -> Vec<(PathBuf, u64)> {
    let listed = fs::read_dir(folder).expect("the folder can be listed").flatten();
    let named = listed.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let mut files: Vec<_> =
        named.map(|entry| (entry.path(), entry.metadata().expect("a file can be stated").len())).collect();
    files.retain(|(_, bytes)| *bytes >= bytes_min);
    files.sort_by_key(|(path, bytes)| (*bytes, path.clone()));
    files
}

/// Where the next message of an mdbox file begins behind this position.
fn next_message(path: &Path, behind: usize) -> u64 {
    let bytes = fs::read(path).expect("the file can be read");
    let mark = b"\n\n\x01\x02N ";
    let at = bytes[behind..].windows(mark.len()).position(|window| window == mark);
    (behind + at.expect("the file has several messages") + 2) as u64
}

#[test]
fn faults_of_an_sdbox_are_seen() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let corpus = delivered(folder.path(), Format::Sdbox);
    let mailbox = corpus.mailboxes[0].folder();
    let inbox = |copy: &Path| copy.join("mailboxes/INBOX/dbox-Mails");
    let found = |fault: &dyn Fn(&Path) -> std::io::Result<()>| seen(&mailbox, |copy| fault(&inbox(copy)));
    let set = |kinds: &[Kind]| kinds.iter().copied().collect::<BTreeSet<_>>();
    let small = |folder: &Path| files(folder, "u.", 0).remove(0).0;
    let large = |folder: &Path| files(folder, "u.", 12_300).remove(0).0;
    assert_eq!(found(&|_| Ok(())), set(&[]));
    assert_eq!(found(&|f| zero(&large(f), 4_096, 4_096)), set(&[Kind::ZeroBlock, Kind::VirtualSizeMismatch]));
    assert_eq!(found(&|f| flip(&large(f), 6_000)), set(&[]), "a flipped bit is seen with a baseline only");
    assert_eq!(found(&|f| zero(&large(f), 0, 4_096)), set(&[Kind::FrameMalformed]));
    assert_eq!(found(&|f| cut(&small(f), u64::MAX)), set(&[Kind::EmptyMessage]));
    assert_eq!(found(&|f| cut(&large(f), 2_000)), set(&[Kind::FrameMalformed]));
    assert_eq!(found(&|f| cut(&small(f), 1)), set(&[Kind::FrameMalformed]), "the metadata is cut");
    assert_eq!(found(&|f| flip(&small(f), 16 + 28)), set(&[Kind::FrameMalformed]), "the size field");
    assert_eq!(found(&|f| fs::remove_file(small(f))), set(&[Kind::MessageMissing]));
    assert_eq!(found(&|f| remove_index(f, "dovecot.index")), set(&[Kind::IndexMissing]));
    assert_eq!(found(&|f| fs::remove_dir_all(f)), set(&[Kind::DirectoryMissing]), "the files of INBOX");
    let newer = |f: &Path| fs::copy(small(f), f.join("u.9999")).map(drop);
    assert_eq!(found(&newer), set(&[Kind::IndexStale]), "an older index");
}

#[test]
fn faults_of_an_mdbox_are_seen() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let corpus = delivered(folder.path(), Format::Mdbox);
    let mailbox = corpus.mailboxes[0].folder();
    let found = |fault: &dyn Fn(&Path) -> std::io::Result<()>| seen(&mailbox, |copy| fault(copy));
    let set = |kinds: &[Kind]| kinds.iter().copied().collect::<BTreeSet<_>>();
    let first = |copy: &Path| copy.join("storage/m.1");
    let second = |copy: &Path| next_message(&first(copy), 16);
    let files_of = |copy: &Path, name: &str| copy.join("mailboxes").join(name).join("dbox-Mails");
    assert_eq!(found(&|_| Ok(())), set(&[]));
    assert_eq!(found(&|c| zero(&first(c), 0, 16)), set(&[Kind::FrameMalformed]), "the file header alone");
    let lost = found(&|c| zero(&first(c), 0, 4_096));
    assert!(lost.contains(&Kind::FrameMalformed) && lost.contains(&Kind::MessageMissing), "{lost:?}");
    assert_eq!(
        found(&|c| zero(&first(c), second(c) - 40, 100)),
        set(&[Kind::FrameMalformed, Kind::MessageMissing]),
        "over a boundary: one message loses its end, the next one its header"
    );
    assert_eq!(found(&|c| zero(&first(c), second(c), 30)), set(&[Kind::FrameMalformed]));
    assert_eq!(found(&|c| cut(&first(c), 50)), set(&[Kind::FrameMalformed]), "a torn tail");
    assert_eq!(found(&|c| fs::remove_file(first(c))), set(&[Kind::MessageMissing]));
    assert_eq!(found(&|c| remove_index(&c.join("storage"), "dovecot.map.index")), set(&[Kind::IndexMissing]));
    assert_eq!(
        found(&|c| remove_index(&files_of(c, "INBOX"), "dovecot.index")),
        set(&[Kind::IndexMissing, Kind::ReferenceMismatch])
    );
    assert_eq!(
        found(&|c| fs::remove_dir_all(files_of(c, "INBOX"))),
        set(&[Kind::DirectoryMissing, Kind::ReferenceMismatch])
    );
    let folder_lost = found(&|c| fs::remove_dir_all(c.join("mailboxes/Archive")));
    assert_eq!(folder_lost, set(&[Kind::ReferenceMismatch]));
    assert_eq!(found(&|c| fs::remove_dir_all(c.join("storage"))), set(&[Kind::DirectoryMissing]));
}

fn user(address: &str, mail: PathBuf, format: Format) -> User {
    let storage = Storage { format, packing: Packing::Plain, attachments: None, alternative: None };
    User { address: address.to_owned(), mail, storage }
}

/// Findings in the one mailbox `d/u` below a root, and how many messages it has.
fn found_in(root: &Path) -> (u64, Vec<String>) {
    let layout = Layout::whole("{domain}/{user}", "s").expect("the layout parses");
    let mut found = Vec::new();
    (verify_one(&layout, root, "", &mut found), found)
}

/// Messages that were brought from Maildir keep their GUIDs, which there are the names of files.
#[test]
fn mailboxes_brought_from_maildir_are_clean() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let place = |name: &str| folder.path().join(name).join("d/u");
    let brought = [(Format::Sdbox, "sdbox"), (Format::Mdbox, "mdbox")];
    let mut users = vec![user("old@d", place("maildir"), Format::Maildir)];
    users.extend(brought.map(|(format, name)| user(&format!("{name}@d"), place(name), format)));
    let dovecot = Dovecot::start(&users).expect("Dovecot starts");
    let mut lmtp = dovecot.lmtp().expect("LMTP answers");
    for number in 0..5 {
        let message = format!("From: a@d\nSubject: {number}\n\nhello {number}\n");
        lmtp.deliver("a@d", "old@d", message.as_bytes()).expect("the message is taken");
    }
    for (format, name) in brought {
        dovecot.back_up("old@d", format, &place(name)).expect("the mail is copied");
        assert_eq!(found_in(&folder.path().join(name)), (5, Vec::new()), "{format:?}");
        let mut imap = dovecot.imap(&format!("{name}@d")).expect("IMAP answers");
        imap.create("Archive").expect("the folder is made");
        imap.select("INBOX").expect("INBOX is there");
        imap.copy_to(2, "Archive").expect("the message is copied");
        imap.move_to(3, "Archive").expect("the message is moved");
        imap.logout().expect("the session ends");
    }
    dovecot.stop().expect("Dovecot stops");
    assert_eq!(found_in(&folder.path().join("sdbox")), (6, Vec::new()), "a copy is a file of its own");
    assert_eq!(found_in(&folder.path().join("mdbox")), (5, Vec::new()), "a copy is a reference");
}

/// Messages that were moved to the alternative storage are read there, and are what they were.
#[test]
fn messages_in_the_alternative_storage_are_looked_at() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    for (format, name) in [(Format::Sdbox, "sdbox"), (Format::Mdbox, "mdbox")] {
        let place = folder.path().join(name).join("d/u");
        let alternative = folder.path().join(format!("{name}-alt"));
        let mut user = user("u@d", place.clone(), format);
        user.storage.alternative = Some(alternative.join("d/u"));
        let dovecot = Dovecot::start(&[user]).expect("Dovecot starts");
        let mut lmtp = dovecot.lmtp().expect("LMTP answers");
        for number in 0..6 {
            let text = "a line of text\n".repeat(100 * number);
            let message = format!("From: a@d\nSubject: {number}\n\n{text}\n");
            lmtp.deliver("a@d", "u@d", message.as_bytes()).expect("the message is taken");
        }
        let layout = || Layout::whole("{domain}/{user}", "s").expect("the layout parses");
        let moved = layout()
            .with_alternative(&format!("{}/{{domain}}/{{user}}", alternative.display()))
            .expect("each mailbox has its own");
        let look = |layout: &Layout| {
            let mut found = Vec::new();
            (verify_one(layout, &folder.path().join(name), "", &mut found), found)
        };
        assert_eq!(look(&moved), (6, Vec::new()), "{format:?}: nothing is moved yet");
        dovecot.move_to_alternative("u@d", &["mailbox", "INBOX", "uid", "2:4"]).expect("they are moved");
        let mut imap = dovecot.imap("u@d").expect("IMAP answers");
        imap.create("Archive").expect("the folder is made");
        imap.select("INBOX").expect("INBOX is there");
        imap.copy_to(3, "Archive").expect("the message is copied");
        imap.move_to(6, "Archive").expect("the message is moved");
        imap.logout().expect("the session ends");
        dovecot.stop().expect("Dovecot stops");
        let files = store_files(&alternative);
        assert!(!files.is_empty(), "{format:?}: something was moved");
        let copies = if format == Format::Sdbox { 7 } else { 6 };
        assert_eq!(look(&moved), (copies, Vec::new()), "{format:?}: a clean store");
        let (_, found) = look(&layout());
        assert!(
            !found.is_empty() && found.iter().all(|f| f.contains("-unreadable in")),
            "{format:?}: {found:?}"
        );
        let at = fs::metadata(&files[0]).expect("the file is there").len() / 2;
        zero(&files[0], at, 64).expect("the file can be written");
        let (_, found) = look(&moved);
        assert!(
            !found.is_empty() && found.iter().all(|f| f.contains("dbox-alt-root/")),
            "{format:?}: {found:?}"
        );
    }
}

/// Files of messages below a folder.
fn store_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be listed") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("plain names");
            if entry.file_type().expect("it can be stated").is_dir() {
                folders.push(entry.path());
            } else if name.starts_with("u.") || name.starts_with("m.") {
                files.push(entry.path());
            }
        }
    }
    files.sort_unstable();
    files
}

/// Folders that only hold others have no files of their own, also when those they held are gone.
#[test]
fn folders_without_files_of_their_own_are_clean() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    for (format, name) in [(Format::Sdbox, "sdbox"), (Format::Mdbox, "mdbox")] {
        let place = folder.path().join(name).join("d/u");
        let users = [user("u@d", place.clone(), format), user("v@d", place.with_file_name("v"), format)];
        let dovecot = Dovecot::start(&users).expect("Dovecot starts");
        let deliver = |to: &str| {
            let message = b"From: a@d\nSubject: x\n\nhello\n";
            dovecot.lmtp().expect("LMTP answers").deliver("a@d", to, message).expect("the message is taken");
        };
        // A shard without any message would not be called clean.
        deliver("v@d");
        let mut imap = dovecot.imap("u@d").expect("IMAP answers");
        let check = |at: &str| {
            assert_eq!(found_in(&folder.path().join(name)).1, Vec::<String>::new(), "{format:?} {at}");
        };
        imap.create("INBOX/Held").expect("the folder is made");
        check("a folder in INBOX");
        imap.delete("INBOX/Held").expect("the folder is removed");
        check("none in it");
        deliver("u@d");
        for made in
            ["Empty/", "Holder/", "Holder/Held", "Gone", "Gone/Held", "Left", "Left/Held", "INBOX/Held"]
        {
            imap.create(made).expect("the folder is made");
        }
        for gone in ["Gone", "Gone/Held", "Left"] {
            imap.delete(gone).expect("the folder is removed");
        }
        imap.rename("INBOX", "Moved").expect("the messages are moved");
        check("INBOX was renamed");
        imap.select("INBOX").expect("INBOX is there again");
        check("and made again");
        imap.logout().expect("the session ends");
        dovecot.stop().expect("Dovecot stops");
        let files = |name: &str| place.join("mailboxes").join(name).join("dbox-Mails").exists();
        assert_eq!(["Moved", "Empty", "Gone", "Left"].map(files), [true, false, false, false]);
        assert_eq!(found_in(&folder.path().join(name)), (2, Vec::new()), "{format:?}");
    }
}

/// In a mailbox whose messages are compressed, what the streams show is seen as well.
#[test]
fn faults_of_compressed_messages_are_seen() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let corpus = delivered(folder.path(), Format::Sdbox);
    let set = |kinds: &[Kind]| kinds.iter().copied().collect::<BTreeSet<_>>();
    for (number, magic, flipped) in
        [(2, &b"\x1f\x8b"[..], Some(Kind::CompressedStream)), (7, b"\x28\xb5\x2f\xfd", None)]
    {
        let mailbox = corpus.mailboxes[number].folder();
        let large = |copy: &Path| files(&copy.join("mailboxes/INBOX/dbox-Mails"), "u.", 2_000).remove(0);
        let (path, bytes) = large(&mailbox);
        let stored = fs::read(path).expect("the file can be read");
        assert!(stored[16 + 30..].starts_with(magic));
        // A zstd frame of Dovecot has no checksum: another text, or a block that does not decode.
        let kinds = seen(&mailbox, |copy| flip(&large(copy).0, bytes / 2));
        match flipped {
            Some(kind) => assert_eq!(kinds, set(&[kind])),
            None => assert!(
                kinds.is_subset(&set(&[
                    Kind::CompressedStream,
                    Kind::SizeMismatch,
                    Kind::VirtualSizeMismatch,
                    Kind::HeaderMalformed,
                    Kind::MimeTruncated,
                    Kind::NulRun,
                ])),
                "{kinds:?}"
            ),
        }
    }
}

/// Attachments that are stored apart are looked at with every message that they belong to.
#[test]
fn faults_of_attachments_are_seen() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let corpus = delivered(folder.path(), Format::Mdbox);
    let (root, mailbox) = (&corpus.roots[5 % corpus.roots.len()], corpus.mailboxes[5].folder());
    let layout = Layout::whole("d/u", "s").expect("the layout parses");
    let layout = layout.with_attachments(ATTACHMENTS).expect("it is below the root");
    let found = |fault: &dyn Fn(&Path) -> std::io::Result<()>| {
        let copy = tempfile::tempdir().expect("a folder for the copy");
        store::copy(&mailbox, &copy.path().join("d/u")).expect("the mailbox can be copied");
        store::copy(&root.join(ATTACHMENTS), &copy.path().join(ATTACHMENTS)).expect("and its attachments");
        for (path, _) in attachments(&copy.path().join(ATTACHMENTS)) {
            fault(&path).expect("the fault can be made");
        }
        let task = Task { root: copy.path(), layout: &layout, shard: b"", volume: None, expected: None };
        let mut kinds = BTreeSet::new();
        let report = verify(&task, Level::Structure, &Control::default(), &mut |finding| {
            kinds.insert(finding.kind);
        });
        (report.verdict.tally.messages_damaged > 0, kinds.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(found(&|_| Ok(())), (false, vec![]));
    assert_eq!(found(&|path| fs::remove_file(path)), (true, vec![Kind::AttachmentMissing]));
    assert_eq!(found(&|path| flip(path, 100)), (true, vec![Kind::AttachmentDamaged]));
    assert_eq!(found(&|path| cut(path, 1)), (true, vec![Kind::AttachmentDamaged]));
}

/// The files of attachments, without the links by which contents are found again.
fn attachments(folder: &Path) -> Vec<(PathBuf, u64)> {
    let list = |folder: &Path| {
        let listed = fs::read_dir(folder).expect("the folder can be listed").flatten();
        listed.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let deepest = list(folder).into_iter().flat_map(|first| list(&first));
    let found: Vec<_> = deepest.flat_map(|folder| files(&folder, "", 200)).collect();
    found.into_iter().filter(|(path, _)| path.is_file()).collect()
}
