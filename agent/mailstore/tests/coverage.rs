//! How much of a shard a comparison with its baseline covers, and what it says where it could not compare.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot be built fails its test")]

mod store;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rientro_mailstore::{
    Baseline, Compared, Comparison, Control, Manifest, Pace, READERS_MAX, Target, verify_against,
    write_baseline,
};
use rientro_types::{Finding, FindingKind as Kind, Outcome, Ppm};
use store::dbox::{Mdbox, framed};
use store::{Store, message, overwrite, stem, unprivileged};

/// A store, and where its baseline is.
struct Compare {
    store: Store,
    apart: tempfile::TempDir,
}

impl Compare {
    fn of(store: Store) -> Self {
        Self { store, apart: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.apart.path().join("baseline")
    }

    fn write(&self) {
        let path = self.path();
        let target = Target { path: &path, previous: None, damaged_too: false, now_ms: 0 };
        write_baseline(&self.store.task(), target, &Control::default(), &mut |_| ()).unwrap();
    }

    fn compare_in(&self, scratch: &Path) -> (Compared, Vec<Finding>) {
        let (manifest, mut findings) = (Manifest::open(&self.path()).unwrap(), Vec::new());
        let baseline = Baseline { manifest: &manifest, scratch };
        let control = Control::new(Pace { readers: READERS_MAX, bytes_per_second: 0 });
        let compared =
            verify_against(&self.store.task(), &baseline, &control, &mut |finding| findings.push(finding));
        (compared, findings)
    }

    fn compare(&self) -> Compared {
        self.compare_in(self.apart.path()).0
    }
}

/// An mdbox in a store of its own.
fn mdbox(messages: &[Vec<u8>], each: usize) -> (Compare, Mdbox) {
    let store = Store::new();
    let mdbox = Mdbox::holding(&store.dir.path().join("ex.org/dora"), messages, each);
    (Compare::of(store), mdbox)
}

#[test]
fn equal_messages_that_came_since_are_uncovered_each() {
    let (store, anna) = Store::with_anna();
    let kept = Compare::of(store);
    kept.write();
    for number in 100..1_087 {
        fs::write(anna.0.join(format!("new/{}", stem(number, &message(9)))), message(9)).unwrap();
    }
    let compared = kept.compare();
    assert_eq!((compared.comparison.intact, compared.comparison.new), (3, 987));
    assert_eq!(compared.report.verdict.coverage, Ppm::ratio(3, 990));
}

#[test]
fn a_message_of_an_mdbox_is_covered_once_in_however_many_folders() {
    let messages: Vec<_> = [1, 2, 3, 4].map(|number| framed(number, &message(number))).into();
    let (kept, mdbox) = mdbox(&messages, 2);
    kept.write();
    assert_eq!(kept.compare().report.verdict.coverage, Ppm::ONE);
    // The folder that comes first has another message than then, which is in the other folder as well; and one is there twice.
    mdbox.folder("Archive", &[2, 2, 1]);
    let compared = kept.compare();
    assert_eq!((compared.comparison.intact, compared.comparison.new), (5, 2));
    assert_eq!(compared.report.verdict.coverage, Ppm::ONE, "all are compared in a folder");
}

#[test]
fn messages_of_an_mdbox_that_came_since_are_uncovered_once() {
    let messages: Vec<_> = [1, 2, 3, 4].map(|number| framed(number, &message(number))).into();
    let (kept, mdbox) = mdbox(&messages, 2);
    mdbox.folder("INBOX", &[1]);
    kept.write();
    // All of them are read, and nothing refers to three.
    let compared = kept.compare();
    assert_eq!((compared.comparison.intact, compared.report.verdict.coverage), (2, Ppm::ratio(1, 4)));
    mdbox.folder("INBOX", &[1, 2, 3]);
    mdbox.folder("Archive", &[1, 3, 2, 3]);
    let compared = kept.compare();
    assert_eq!((compared.comparison.intact, compared.comparison.new), (2, 5));
    assert_eq!(compared.report.verdict.coverage, Ppm::ratio(1, 4));
}

/// Without the map nobody knows in which folder a message is.
#[test]
fn messages_that_no_folder_refers_to_are_not_covered() {
    let (kept, mdbox) = mdbox(&[1, 2, 3, 4].map(|number| framed(number, &message(number))), 2);
    fs::remove_file(mdbox.at("dovecot.map.index")).unwrap();
    fs::remove_file(mdbox.at("dovecot.map.index.log")).unwrap();
    kept.write();
    let Compared { report, comparison } = kept.compare();
    assert_eq!((report.verdict.outcome, comparison), (Outcome::Damaged, Comparison::default()));
    assert_eq!((report.verdict.tally.messages, report.verdict.coverage), (4, Ppm::ZERO));
}

/// Not compared is not lost.
#[test]
fn what_could_not_be_compared_is_not_called_lost() {
    const COUNT: u32 = 2_000;
    let (store, anna) = Store::with_anna();
    // More than a reader of so many gathers in memory.
    for number in 0..COUNT {
        let text = format!("Subject: {number}\n\n");
        fs::write(anna.0.join(format!("new/{}", stem(number, text.as_bytes()))), text).unwrap();
    }
    let kept = Compare::of(store);
    kept.write();
    let (compared, findings) = kept.compare_in(Path::new("/nonexistent"));
    assert_eq!(compared.comparison, Comparison { uncompared: 3 + u64::from(COUNT), ..Comparison::default() });
    let verdict = &compared.report.verdict;
    assert_eq!((verdict.outcome, verdict.coverage), (Outcome::Unreadable, Ppm::ZERO));
    let [Finding { kind: Kind::BaselineUnreadable, detail, .. }] = &findings[..] else {
        panic!("{findings:?}")
    };
    assert!(detail.starts_with("not compared: the baseline, or /nonexistent for "), "{detail}");
    let (again, _) = kept.compare_in(Path::new("/nonexistent"));
    assert_eq!(again.report.findings_digest, compared.report.findings_digest, "{detail}");
}

/// A store of anna, who has three messages, and of bert in another domain, who has one; and a baseline of both.
fn two_domains() -> Compare {
    let (store, _) = Store::with_anna();
    let bert = store.maildir("ex.net/bert");
    bert.deliver(5, &message(5));
    bert.write_uids(&[5]);
    let kept = Compare::of(store);
    kept.write();
    kept
}

#[test]
fn messages_of_mailboxes_that_were_not_looked_into_are_uncovered() {
    for hide in [
        (|org: &Path, _: &Path| fs::set_permissions(org, Permissions::from_mode(0o0)).unwrap())
            as fn(&Path, &Path),
        |org, _| fs::set_permissions(org.join("anna"), Permissions::from_mode(0o0)).unwrap(),
        |org, apart| {
            fs::rename(org.join("anna"), apart.join("anna")).unwrap();
            symlink(apart.join("anna"), org.join("anna")).unwrap();
        },
    ] {
        let kept = two_domains();
        hide(&kept.store.dir.path().join("ex.org"), kept.apart.path());
        let Compared { report, comparison } = unprivileged(|| kept.compare());
        assert_eq!(comparison, Comparison { intact: 1, uncompared: 3, ..Comparison::default() });
        assert!(report.verdict.coverage <= Ppm::ratio(1, 4), "{:?}", report.verdict);
    }
}

/// Which mailboxes there must be the list says, and what became of the others is counted apart.
#[test]
fn messages_of_mailboxes_that_nobody_expects_are_counted_apart() {
    let mut kept = two_domains();
    fs::remove_dir_all(kept.store.dir.path().join("ex.org")).unwrap();
    kept.store.expected = Some([b"ex.net/bert".to_vec()].into_iter().collect());
    let Compared { report, comparison } = kept.compare();
    assert_eq!(comparison, Comparison { intact: 1, unlisted: 3, ..Comparison::default() });
    assert_eq!((report.verdict.outcome, report.verdict.coverage), (Outcome::Clean, Ppm::ONE));
}

#[test]
fn messages_whose_section_is_damaged_are_uncovered() {
    let kept = two_domains();
    fs::remove_file(
        kept.store.dir.path().join("ex.net/bert/cur").read_dir().unwrap().next().unwrap().unwrap().path(),
    )
    .unwrap();
    fs::remove_file(kept.store.dir.path().join("ex.net/bert/dovecot-uidlist")).unwrap();
    overwrite(&kept.path(), 40, b"\0\0\0\0");
    let Compared { report, comparison } = kept.compare();
    assert_eq!((comparison.intact, comparison.uncompared), (3, 1));
    assert_eq!(report.verdict.coverage, Ppm::ratio(3, 4));
}
