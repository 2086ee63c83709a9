//! Baselines of what a real Dovecot writes: what its owner does with mail is no loss, what is lost is told, and a baseline
//! holds in another format too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rientro_dev::corpus::{ATTACHMENTS, Corpus, Shape};
use rientro_dev::damage::{self, Damage, Fault, FolderFault, MessageFault};
use rientro_dev::dovecot::{Dovecot, Format, Packing, Storage, User};
use rientro_dev::judge::mailbox_of;
use rientro_dev::servers;
use rientro_mailstore::{
    Baseline, Comparison, Control, Layout, Manifest, Target, Task, Written, verify, verify_against,
    write_baseline,
};
use rientro_types::{Finding, Level, Severity};

const FORMATS: [Format; 3] = [Format::Maildir, Format::Sdbox, Format::Mdbox];

/// The mailbox `d/u` below a root, and where its baseline is.
struct Kept {
    folder: tempfile::TempDir,
    format: Format,
}

impl Kept {
    fn new(format: Format) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for the store"), format }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    fn mailbox(&self) -> PathBuf {
        self.root().join("d/u")
    }

    fn dovecot(&self) -> Dovecot {
        let storage =
            Storage { format: self.format, packing: Packing::Plain, attachments: None, alternative: None };
        let user = User { address: "u@d".to_owned(), mail: self.mailbox(), storage };
        Dovecot::start(&[user]).expect("Dovecot starts")
    }

    /// Delivers messages with these numbers.
    fn deliver(dovecot: &Dovecot, numbers: std::ops::Range<u32>) {
        let mut lmtp = dovecot.lmtp().expect("LMTP answers");
        for number in numbers {
            let lines = format!("line of message {number}, long enough to be changed\n").repeat(40);
            let message = format!("From: a@d\nSubject: {number}\n\n{lines}");
            lmtp.deliver("a@d", "u@d", message.as_bytes()).expect("the message is taken");
        }
    }

    fn write(&self) -> Written {
        write(&self.root(), &whole(), &self.folder.path().join("baseline"))
    }

    fn compare(&self) -> (Comparison, Vec<String>) {
        compare(&self.root(), &whole(), &self.folder.path().join("baseline"))
    }
}

fn whole() -> Layout {
    Layout::whole("{domain}/{user}", "s").expect("the layout parses")
}

fn task<'t>(root: &'t Path, layout: &'t Layout) -> Task<'t> {
    Task { root, layout, shard: b"", volume: None, expected: None }
}

fn write(root: &Path, layout: &Layout, to: &Path) -> Written {
    let target = Target { path: to, previous: None, damaged_too: false, now_ms: 0 };
    write_baseline(&task(root, layout), target, &Control::default(), &mut |_| ())
        .expect("the baseline is written")
}

fn compare(root: &Path, layout: &Layout, with: &Path) -> (Comparison, Vec<String>) {
    let (manifest, mut found) = (Manifest::open(with).expect("the baseline opens"), Vec::new());
    let baseline = Baseline { manifest: &manifest, scratch: with.parent().expect("it is in a folder") };
    let compared = verify_against(&task(root, layout), &baseline, &Control::default(), &mut |finding| {
        let path = String::from_utf8_lossy(&finding.path).into_owned();
        found.push(format!("{} {path}: {}", finding.kind, finding.detail));
    });
    (compared.comparison, found)
}

/// What IMAP and LMTP do between a baseline and the look at it is what a mailbox is for.
#[test]
fn what_is_done_with_mail_is_no_loss() {
    for format in FORMATS {
        let kept = Kept::new(format);
        let dovecot = kept.dovecot();
        Kept::deliver(&dovecot, 1..9);
        let mut imap = dovecot.imap("u@d").expect("IMAP answers");
        imap.create("Archive").expect("the folder is made");
        imap.select("INBOX").expect("INBOX is there");
        imap.copy_to(1, "Archive").expect("the message is copied");
        imap.create("Old").expect("the folder is made");
        imap.copy_to(5, "Old").expect("the message is copied");
        imap.logout().expect("the session ends");
        assert_eq!(kept.write().totals.messages, 10, "{format:?}");

        let mut imap = dovecot.imap("u@d").expect("IMAP answers");
        imap.select("INBOX").expect("INBOX is there");
        imap.flag(1, "\\Flagged $Label1").expect("the flags are set");
        imap.expunge(2).expect("the message is removed");
        imap.move_to(3, "Archive").expect("the message is moved");
        imap.delete("Old").expect("the folder is removed");
        imap.logout().expect("the session ends");
        Kept::deliver(&dovecot, 20..21);
        dovecot.stop().expect("Dovecot stops");
        let (comparison, found) = kept.compare();
        assert_eq!(found, Vec::<String>::new(), "{format:?}");
        let expected = Comparison { intact: 7, moved: 1, expunged: 2, new: 1, ..Comparison::default() };
        assert_eq!(comparison, expected, "{format:?}");
    }
}

/// A file that Dovecot finds to be gone is treated by it as removed, without a word: its log has no request for that.
#[test]
fn a_message_that_dovecot_took_for_removed_is_lost() {
    let kept = Kept::new(Format::Maildir);
    let dovecot = kept.dovecot();
    Kept::deliver(&dovecot, 1..6);
    let look = |dovecot: &Dovecot| {
        let mut imap = dovecot.imap("u@d").expect("IMAP answers");
        imap.select("INBOX").expect("INBOX is there");
        let uids = imap.uids().expect("they can be listed");
        imap.logout().expect("the session ends");
        uids
    };
    assert_eq!(look(&dovecot), [1, 2, 3, 4, 5]);
    kept.write();
    let files = fs::read_dir(kept.mailbox().join("cur")).expect("the folder can be listed");
    let lost = files.map(|entry| entry.expect("an entry").path()).max().expect("a message");
    fs::remove_file(&lost).expect("the file can be removed");
    assert_eq!(look(&dovecot), [1, 2, 3, 4], "not a word of the fifth");
    dovecot.stop().expect("Dovecot stops");
    let (comparison, found) = kept.compare();
    assert_eq!(comparison, Comparison { intact: 4, missing: 1, ..Comparison::default() });
    assert!(matches!(&found[..], [one] if one.starts_with("message-missing cur/")), "{found:?}");
}

/// A bit that flipped in a body, which no format sees.
#[test]
fn a_flipped_bit_is_seen_in_every_format() {
    for format in FORMATS {
        let kept = Kept::new(format);
        let dovecot = kept.dovecot();
        Kept::deliver(&dovecot, 1..6);
        dovecot.stop().expect("Dovecot stops");
        kept.write();
        let folder = match format {
            Format::Maildir => "new",
            Format::Sdbox => "mailboxes/INBOX/dbox-Mails",
            Format::Mdbox => "storage",
        };
        let files = fs::read_dir(kept.mailbox().join(folder)).expect("the folder can be listed");
        let mut files: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|path| fs::metadata(path).is_ok_and(|meta| meta.len() > 1_500 && meta.is_file()));
        files.retain(|path| !path.to_string_lossy().contains(".index"));
        let file =
            File::options().read(true).write(true).open(files.first().expect("a message")).expect("it opens");
        let mut byte = [0];
        file.read_exact_at(&mut byte, 1_200).expect("it can be read");
        file.write_all_at(&[byte[0] ^ 1], 1_200).expect("it can be written");
        let (comparison, found) = kept.compare();
        assert_eq!(comparison, Comparison { intact: 4, altered: 1, ..Comparison::default() }, "{format:?}");
        assert!(matches!(&found[..], [one] if one.starts_with("message-altered ")), "{format:?}: {found:?}");
    }
}

/// A baseline says what mail there was, not how it was kept.
#[test]
fn a_baseline_holds_in_another_format() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let place = |name: &str| folder.path().join(name).join("d/u");
    let brought = [(Format::Sdbox, "sdbox"), (Format::Mdbox, "mdbox")];
    let storage = |format| Storage { format, packing: Packing::Plain, attachments: None, alternative: None };
    let user = |name: &str, format| User {
        address: format!("{name}@d"),
        mail: place(name),
        storage: storage(format),
    };
    let mut users = vec![user("maildir", Format::Maildir)];
    users.extend(brought.map(|(format, name)| user(name, format)));
    let dovecot = Dovecot::start(&users).expect("Dovecot starts");
    let mut lmtp = dovecot.lmtp().expect("LMTP answers");
    for number in 0..20 {
        let message = format!("From: a@d\nSubject: {number}\n\nhello {number}\n");
        lmtp.deliver("a@d", "maildir@d", message.as_bytes()).expect("the message is taken");
    }
    let mut imap = dovecot.imap("maildir@d").expect("IMAP answers");
    imap.create("Archive").expect("the folder is made");
    imap.select("INBOX").expect("INBOX is there");
    imap.move_to(3, "Archive").expect("the message is moved");
    imap.logout().expect("the session ends");
    let baseline = folder.path().join("baseline");
    let root = write(&folder.path().join("maildir"), &whole(), &baseline).totals.root;
    for (format, name) in brought {
        dovecot.back_up("maildir@d", format, &place(name)).expect("the mail is copied");
        let (comparison, found) = compare(&folder.path().join(name), &whole(), &baseline);
        assert_eq!((comparison.intact, found), (20, Vec::new()), "{format:?}");
        assert_eq!(comparison, Comparison { intact: 20, ..Comparison::default() }, "{format:?}");
        let other =
            write(&folder.path().join(name), &whole(), &folder.path().join(format!("{name}.baseline")));
        assert_eq!(other.totals.root, root, "{format:?}: the same mail has the same root");
    }
    dovecot.stop().expect("Dovecot stops");
}

/// Mail of every kind: packed or not, with attachments apart, moved and copied; its baseline is that of the same mail, and its list is
/// what the other program makes of the same files.
#[test]
fn all_of_a_corpus_is_intact_and_its_list_is_checked_by_b3sum() {
    for format in FORMATS {
        let folder = tempfile::tempdir().expect("a folder for the stores");
        let shape = Shape { mailboxes: 20, format, ..Shape::default() };
        let corpus = Corpus::deliver(folder.path(), &shape).expect("the corpus is delivered");
        let layout = Layout::whole("{shard}/{domain}/{user}", "s").expect("the layout parses");
        let layout = layout.with_attachments(ATTACHMENTS).expect("it is below the root");
        let mut messages = 0;
        for (number, root) in corpus.roots.iter().enumerate() {
            let baseline = folder.path().join(format!("baseline-{number}"));
            let written = write(root, &layout, &baseline);
            let (comparison, found) = compare(root, &layout, &baseline);
            assert_eq!(found, Vec::<String>::new(), "{format:?}");
            assert_eq!(comparison, Comparison { intact: written.totals.messages, ..Comparison::default() });
            messages += written.totals.messages;
            check_list(&Manifest::open(&baseline).expect("the baseline opens"), root);
        }
        assert_eq!(messages, corpus.ledger.messages() as u64, "{format:?}: every message in every folder");
    }
}

/// Has `b3sum` check the files of a manifest.
fn check_list(manifest: &Manifest, root: &Path) {
    let mut list = tempfile::NamedTempFile::new().expect("a file for the list");
    let exported = manifest.export_b3sum(&mut list).expect("the list is written");
    list.flush().expect("all of it");
    assert_eq!(exported.left_out, 0);
    let mut check = Command::new(servers::b3sum().expect("b3sum is brought"));
    let output = check.arg("--check").arg(list.path()).current_dir(root).output().expect("b3sum runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.lines().filter(|line| line.ends_with(": OK")).count() as u64, exported.files);
}

/// Faults after which nothing is lost: Dovecot makes what is gone anew.
const HARMLESS: [FolderFault; 2] = [FolderFault::IndexLost, FolderFault::Stray];
/// Times each fault of messages is made.
const TIMES: usize = 4;

/// Recall and precision against a baseline: whatever was done to a store is seen at its place, and nothing else is.
#[test]
fn every_damage_is_found_against_a_baseline() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let corpus = Corpus::deliver(folder.path(), &Shape::default()).expect("the corpus is delivered");
    let layout = Layout::whole("{shard}/{domain}/{user}", "s").expect("the layout parses");
    let baseline = |number: usize| folder.path().join(format!("baseline-{number}"));
    for (number, root) in corpus.roots.iter().enumerate() {
        write(root, &layout, &baseline(number));
    }
    let broken = damage::break_stores(&corpus.mailboxes, FolderFault::ALL, MessageFault::ALL, TIMES, 1);
    let broken = broken.expect("the stores can be broken");
    assert_eq!(broken.never_made(), [], "a fault was not tried");
    let mut table: BTreeMap<Fault, [usize; 3]> = BTreeMap::new();
    for (number, root) in corpus.roots.iter().enumerate() {
        let without = findings(root, &layout, None);
        let with = findings(root, &layout, Some(&baseline(number)));
        let here: Vec<_> = broken.damages.iter().filter(|damage| damage.mailbox.root == *root).collect();
        for damage in &here {
            let counts = table.entry(damage.fault).or_default();
            counts[0] += 1;
            for (count, found) in counts[1..].iter_mut().zip([&without, &with]) {
                *count += usize::from(found.iter().any(|finding| is_at(damage, finding)));
            }
        }
        let stray: Vec<_> =
            with.iter().filter(|finding| !here.iter().any(|damage| is_at(damage, finding))).collect();
        assert!(stray.is_empty(), "findings that nothing explains: {stray:?}");
    }
    say(&table);
    for (fault, [made, _, with]) in &table {
        let harmless = HARMLESS.iter().any(|harmless| *fault == Fault::Folder(*harmless));
        assert_eq!(*with, if harmless { 0 } else { *made }, "{fault} against a baseline");
    }
}

/// Findings of damage, and of what could not be read, in the shards of a root, as one.
fn findings(root: &Path, layout: &Layout, baseline: Option<&Path>) -> Vec<Finding> {
    let (mut found, control) = (Vec::new(), Control::default());
    let mut sink = |finding: Finding| {
        found.extend((finding.kind.severity() != Severity::Note).then_some(finding));
    };
    match baseline {
        Some(path) => {
            let manifest = Manifest::open(path).expect("the baseline opens");
            let baseline =
                Baseline { manifest: &manifest, scratch: path.parent().expect("it is in a folder") };
            verify_against(&task(root, layout), &baseline, &control, &mut sink);
        }
        None => drop(verify(&task(root, layout), Level::Structure, &control, &mut sink)),
    }
    found
}

/// Whether a finding of a whole root is about a damage, whose mailbox is named inside its shard.
fn is_at(damage: &Damage, finding: &Finding) -> bool {
    let inside = mailbox_of(finding).strip_prefix(&damage.mailbox.shard);
    inside.is_ok_and(|mailbox| damage.is_at(mailbox, finding))
}

#[allow(clippy::print_stdout, reason = "the table that the README shows")]
fn say(table: &BTreeMap<Fault, [usize; 3]>) {
    println!("{:<28} made  without  with a baseline", "fault");
    for (fault, [made, without, with]) in table {
        println!("{:<28} {made:>4}  {without:>7}  {with:>15}", fault.to_string());
    }
}
