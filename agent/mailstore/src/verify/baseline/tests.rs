use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::layout::Layout;

/// A volume with anna, who has one message, and bert, whose folders have this many bytes in their names; and a place for its baseline.
struct Volume {
    dir: tempfile::TempDir,
    layout: Layout,
    manifest: PathBuf,
    apart: tempfile::TempDir,
}

impl Volume {
    fn new() -> Self {
        let (dir, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (layout, manifest) = (Layout::whole("{user}", "vol").unwrap(), apart.path().join("baseline"));
        let volume = Self { dir, layout, manifest, apart };
        for folder in ["anna", "bert"] {
            make(&volume.at(folder));
        }
        volume.deliver("anna", 1);
        volume
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn deliver(&self, mailbox: &str, number: u32) {
        let name = format!("{mailbox}/cur/17000000{number:02}.M{number}P7.mx:2,");
        fs::write(self.at(&name), format!("Subject: {number}\n\ntext\n")).unwrap();
    }

    /// More bytes in names of folders than a manifest can hold of a mailbox.
    fn fill(&self, mailbox: &str) -> PathBuf {
        let deep = (0..7).fold(self.at(mailbox), |path, _| path.join("x".repeat(250)));
        (0..20).for_each(|number| make(&deep.join(number.to_string())));
        self.at(mailbox).join("x".repeat(250))
    }

    fn write(&self, anew: bool) -> (Written, Vec<FindingKind>) {
        let (previous, mut kinds) = (Manifest::open(&self.manifest), Vec::new());
        let previous = previous.ok().filter(|_| !anew);
        let target =
            Target { path: &self.manifest, previous: previous.as_ref(), damaged_too: false, now_ms: 7 };
        let mut sink = |finding: Finding| kinds.push(finding.kind);
        let written = write_baseline(&self.task(), target, &Control::default(), &mut sink).unwrap();
        (written, kinds)
    }

    fn task(&self) -> Task<'_> {
        Task { root: self.dir.path(), layout: &self.layout, shard: b"", volume: None, expected: None }
    }

    fn compare(&self) -> Comparison {
        let manifest = Manifest::open(&self.manifest).unwrap();
        let baseline = Baseline { manifest: &manifest, scratch: self.apart.path() };
        verify_against(&self.task(), &baseline, &Control::default(), &mut |_| ()).comparison
    }
}

/// Makes a folder.
fn make(path: &Path) {
    ["cur", "new", "tmp"].iter().for_each(|place| fs::create_dir_all(path.join(place)).unwrap());
}

/// Names of folders are their owner's, and so is how long they are.
#[test]
fn a_mailbox_that_is_too_much_for_a_manifest_keeps_no_other_out() {
    let volume = Volume::new();
    volume.deliver("bert", 2);
    volume.fill("bert");
    for anew in [true, false] {
        let (written, kinds) = volume.write(anew);
        assert_eq!((kinds, written.withheld), (vec![FindingKind::LimitReached], 0));
        assert_eq!((written.totals.mailboxes, written.totals.messages), (1, 1));
        assert_eq!(written.report.verdict.outcome, rientro_types::Outcome::Unreadable);
        assert_eq!(volume.compare(), Comparison { intact: 1, new: 1, ..Comparison::default() });
    }
    volume.deliver("anna", 3);
    let (written, _) = volume.write(false);
    assert_eq!((written.renewal, written.totals.messages), (Renewal::Written, 2));
}

#[test]
fn a_mailbox_that_became_too_much_keeps_what_the_manifest_has() {
    let volume = Volume::new();
    volume.deliver("bert", 2);
    volume.write(true);
    let folders = volume.fill("bert");
    volume.deliver("bert", 3);
    let (written, kinds) = volume.write(false);
    assert_eq!((kinds, written.withheld), (vec![FindingKind::LimitReached], 1));
    assert_eq!((written.renewal, written.totals.messages), (Renewal::Kept, 2));
    assert_eq!(volume.compare(), Comparison { intact: 2, new: 1, ..Comparison::default() });
    fs::remove_dir_all(folders).unwrap();
    let (written, kinds) = volume.write(false);
    assert_eq!((written.renewal, written.totals.messages, kinds.len()), (Renewal::Written, 3, 0));
}
