//! A store, and its baselines beside it.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use rientro_mailstore::{
    Baseline, Compared, Comparison, Control, Manifest, ManifestError, Pace, Renewal, Target, Written,
    verify_against, write_baseline,
};
use rientro_types::{Finding, FindingKind as Kind, Outcome};

use super::dbox::{Mdbox, Sdbox};
use super::{Maildir, Store, log_header, log_record, message};

/// Kinds of a log's record: somebody asks for the removal of UIDs, and UIDs are removed.
pub(crate) const ASKED: u32 = 0xcd91;
pub(crate) const REMOVED: u32 = 0x1000_cd91;

/// A store, and where its baselines are.
pub(crate) struct Kept {
    pub(crate) store: Store,
    pub(crate) anna: Maildir,
    pub(crate) apart: tempfile::TempDir,
}

impl Kept {
    /// A store with anna's three messages and a folder `.Sent` with one.
    pub(crate) fn new() -> Self {
        let (store, anna) = Store::with_anna();
        let sent = anna.folder(".Sent");
        sent.deliver(7, &message(7));
        sent.write_uids(&[7]);
        Self { store, anna, apart: tempfile::tempdir().unwrap() }
    }

    /// One of which a baseline was written.
    pub(crate) fn with_baseline() -> Self {
        let kept = Self::new();
        let written = kept.write(None);
        assert!(written.renewal == Renewal::Written && written.totals.messages == 4, "{written:?}");
        kept
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.apart.path().join("baseline")
    }

    pub(crate) fn manifest(&self) -> Manifest {
        Manifest::open(&self.path()).unwrap()
    }

    pub(crate) fn write(&self, previous: Option<&Manifest>) -> Written {
        self.write_counting(previous).0
    }

    /// Writes a baseline; gives how many bytes of mail were read for it too.
    pub(crate) fn write_counting(&self, previous: Option<&Manifest>) -> (Written, u64) {
        let control = Control::new(Pace { readers: 3, bytes_per_second: 0 });
        let written = self.write_with(previous, &control, &mut |_| ()).unwrap();
        (written, control.progress().bytes)
    }

    /// The same; gives what was found.
    pub(crate) fn write_telling(&self, previous: Option<&Manifest>) -> (Written, Vec<Kind>) {
        let mut kinds = Vec::new();
        let written = self.write_with(previous, &Control::default(), &mut |finding| kinds.push(finding.kind));
        (written.unwrap(), kinds)
    }

    pub(crate) fn try_write(&self, previous: Option<&Manifest>) -> Result<Written, ManifestError> {
        self.write_with(previous, &Control::default(), &mut |_| ())
    }

    fn write_with(
        &self,
        previous: Option<&Manifest>,
        control: &Control,
        sink: &mut dyn FnMut(Finding),
    ) -> Result<Written, ManifestError> {
        let path = self.path();
        let target = Target { path: &path, previous, damaged_too: false, now_ms: 1_700_000_000_000 };
        write_baseline(&self.store.task(), target, control, sink)
    }

    pub(crate) fn compare(&self) -> (Compared, Vec<Finding>) {
        let (manifest, mut findings) = (self.manifest(), Vec::new());
        let baseline = Baseline { manifest: &manifest, scratch: self.apart.path() };
        let compared = verify_against(&self.store.task(), &baseline, &Control::default(), &mut |finding| {
            findings.push(finding);
        });
        (compared, findings)
    }

    /// Outcome, comparison, and kind and place of each finding.
    pub(crate) fn told(&self) -> (Outcome, Comparison, Vec<(Kind, String)>) {
        let (compared, findings) = self.compare();
        let seen = findings.iter().map(|f| (f.kind, String::from_utf8_lossy(&f.path).into_owned()));
        (compared.report.verdict.outcome, compared.comparison, seen.collect())
    }

    /// Removes a message's file; its folder's index and log are written anew, with these records in the log.
    pub(crate) fn lose(&self, number: u32, records: &[(u32, &[u32])]) -> String {
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

pub(crate) const INTACT: Comparison = Comparison {
    intact: 4,
    altered: 0,
    truncated: 0,
    moved: 0,
    expunged: 0,
    missing: 0,
    gone: 0,
    uncompared: 0,
    unlisted: 0,
    new: 0,
};

/// An sdbox and an mdbox of which a baseline was written.
pub(crate) fn dboxes() -> (Kept, Sdbox, Mdbox) {
    let (store, apart) = (Store::new(), tempfile::tempdir().unwrap());
    let at = |name: &str| store.dir.path().join("ex.org").join(name);
    let (sdbox, mdbox) = (Sdbox::new(&at("carl")), Mdbox::new(&at("dora")));
    let anna = store.maildir("ex.org/anna");
    let kept = Kept { store, anna, apart };
    kept.write(None);
    (kept, sdbox, mdbox)
}
