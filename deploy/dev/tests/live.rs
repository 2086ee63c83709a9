//! The verifier against the real thing: mailboxes written by Dovecot, broken in known places.
//!
//! Dovecot is stopped before anything is broken, so that stores are at rest as in an outage. The list of damage is made without the verifier and
//! decides what it must find, what it cannot see without a baseline, and what it must leave alone.

use std::path::Path;

use rientro_dev::corpus::{Corpus, Shape};
use rientro_dev::damage::{self, Broken, FolderFault, MessageFault};
use rientro_dev::store;
use rientro_mailstore::{Control, Layout, Report, Task, verify};
use rientro_types::{Finding, Level, Outcome, Severity};

/// Times each fault of messages is made.
const TIMES: usize = 4;

/// What one shard's verification gave.
struct Verified {
    root: std::path::PathBuf,
    shard: String,
    report: Report,
    findings: Vec<Finding>,
}

/// Verifies every shard under the roots.
fn verify_all(corpus: &Corpus) -> Vec<Verified> {
    let layout = Layout::sharded("{shard}/{domain}/{user}", "{shard}").expect("the layout parses");
    let mut shards: Vec<_> = store::mailboxes(&corpus.roots)
        .expect("the roots can be listed")
        .into_iter()
        .map(|mailbox| (mailbox.root, mailbox.shard))
        .collect();
    shards.sort();
    shards.dedup();
    shards.into_iter().map(|(root, shard)| verify_one(&layout, root, shard)).collect()
}

fn verify_one(layout: &Layout, root: std::path::PathBuf, shard: String) -> Verified {
    let mut findings = Vec::new();
    let task = Task { root: &root, layout, shard: shard.as_bytes(), volume: None, expected: None };
    let report = verify(&task, Level::Structure, &Control::default(), &mut |finding| findings.push(finding));
    Verified { root, shard, report, findings }
}

/// Findings no damage explains.
fn unexplained(broken: &Broken, verified: &[Verified]) -> Vec<String> {
    let mut left = Vec::new();
    for Verified { root, shard, findings, .. } in verified {
        for finding in findings {
            let explained = broken.damages.iter().any(|damage| {
                damage.mailbox.root == *root
                    && damage.mailbox.shard == *shard
                    && damage.explains(&mailbox_path(finding), finding)
            });
            if !explained {
                left.push(describe(shard, finding));
            }
        }
    }
    left
}

/// Findable damage no finding names, and damage said to be invisible that one does.
fn missed(broken: &Broken, verified: &[Verified]) -> Vec<String> {
    let mut left = Vec::new();
    for damage in &broken.damages {
        let found = verified.iter().any(|verified| {
            damage.mailbox.root == verified.root
                && damage.mailbox.shard == verified.shard
                && verified.findings.iter().any(|finding| {
                    damage.expected.contains(finding.kind) && damage.explains(&mailbox_path(finding), finding)
                })
        });
        if found != damage.findable() {
            let (mailbox, path) = (damage.mailbox.folder(), damage.path.display());
            left.push(format!(
                "{} in {} {path}: expected {:?}",
                damage.fault,
                mailbox.display(),
                damage.expected
            ));
        }
    }
    left
}

fn mailbox_path(finding: &Finding) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(&finding.mailbox)).to_owned()
}

fn describe(shard: &str, finding: &Finding) -> String {
    let (mailbox, path) = (String::from_utf8_lossy(&finding.mailbox), String::from_utf8_lossy(&finding.path));
    format!("{} in {shard}/{mailbox} {path}: {}", finding.kind, finding.detail)
}

/// Precision and recall of the verifier on at least 2,000 real messages in 60 mailboxes: a clean store has no finding, a broken one exactly
/// those that the list of damage calls findable, each verdict fitting its findings.
#[test]
fn exactly_the_findable_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = Corpus::deliver(folder.path(), &Shape::default()).unwrap();
    assert!(corpus.handed_over >= 2_000 && corpus.mailboxes.len() == 60);
    assert_eq!(corpus.ledger.differences().unwrap(), []);

    let before = verify_all(&corpus);
    let nothing = Broken::default();
    assert_eq!(unexplained(&nothing, &before), Vec::<String>::new(), "a clean store");
    assert!(before.iter().all(|verified| verified.report.verdict.outcome == Outcome::Clean));
    let messages: u64 = before.iter().map(|verified| verified.report.verdict.tally.messages).sum();
    assert_eq!(messages, corpus.ledger.messages() as u64);

    let broken =
        damage::break_stores(&corpus.mailboxes, FolderFault::ALL, MessageFault::ALL, TIMES, 11).unwrap();
    let after = verify_all(&corpus);
    assert_eq!(unexplained(&broken, &after), Vec::<String>::new(), "findings that nothing explains");
    assert_eq!(missed(&broken, &after), Vec::<String>::new(), "damage not seen as it should be");
    for Verified { shard, report, findings, .. } in &after {
        let damaged = findings.iter().any(|finding| finding.kind.severity() == Severity::Damage);
        let unreadable = findings.iter().any(|finding| finding.kind.severity() == Severity::Unreadable);
        let expected = match (damaged, unreadable) {
            (_, true) => Outcome::Unreadable,
            (true, false) => Outcome::Damaged,
            (false, false) => Outcome::Clean,
        };
        assert_eq!(report.verdict.outcome, expected, "{shard}: {}", report.verdict);
    }
}
