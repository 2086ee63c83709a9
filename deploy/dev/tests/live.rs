//! The verifier against the real thing: mailboxes written by Dovecot, broken in known places.
//!
//! Dovecot is stopped before anything is broken, so that stores are at rest as in an outage. The list of damage is made without the verifier and
//! decides what it must find, what it cannot see without a baseline, and what it must leave alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rientro_dev::corpus::{Corpus, Shape};
use rientro_dev::damage::{self, Broken, Damage, FolderFault, MessageFault};
use rientro_dev::store;
use rientro_mailstore::{Control, Layout, Report, Task, verify};
use rientro_types::{Finding, Level, Outcome, Severity};

/// Times each fault of messages is made.
const TIMES: usize = 4;

/// What one shard's verification gave.
struct Verified {
    root: PathBuf,
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

fn verify_one(layout: &Layout, root: PathBuf, shard: String) -> Verified {
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

fn mailbox_path(finding: &Finding) -> PathBuf {
    Path::new(OsStr::from_bytes(&finding.mailbox)).to_owned()
}

fn describe(shard: &str, finding: &Finding) -> String {
    let (mailbox, path) = (String::from_utf8_lossy(&finding.mailbox), String::from_utf8_lossy(&finding.path));
    format!("{} in {shard}/{mailbox} {path}: {}", finding.kind, finding.detail)
}

/// Precision and recall of the verifier on at least 2,000 real messages in 60 mailboxes: a clean store has no finding, a broken one exactly
/// those that the list of damage calls findable, each verdict fitting its findings, and no finding quotes a message (T25). `RIENTRO_LIVE_ROUNDS` asks for more rounds, each with its
/// own seed.
#[test]
fn exactly_the_findable_damage_is_found() {
    let rounds =
        std::env::var("RIENTRO_LIVE_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number of rounds"));
    for seed in 1..=rounds {
        round(seed);
    }
}

fn round(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let shape = Shape { seed, ..Shape::default() };
    let corpus = Corpus::deliver(folder.path(), &shape).expect("the corpus is delivered");
    assert!(corpus.handed_over >= 2_000 && corpus.mailboxes.len() == 60);
    assert_eq!(corpus.ledger.differences().expect("the stores can be read"), []);

    let before = verify_all(&corpus);
    assert_eq!(unexplained(&Broken::default(), &before), Vec::<String>::new(), "seed {seed}: a clean store");
    assert!(before.iter().all(|verified| verified.report.verdict.outcome == Outcome::Clean));
    let messages: u64 = before.iter().map(|verified| verified.report.verdict.tally.messages).sum();
    assert_eq!(messages, corpus.ledger.messages() as u64);

    let broken = damage::break_stores(&corpus.mailboxes, FolderFault::ALL, MessageFault::ALL, TIMES, seed);
    let broken = broken.expect("the stores can be broken");
    let after = verify_all(&corpus);
    #[allow(clippy::print_stdout, reason = "a long run says how far it is")]
    {
        println!("seed {seed}: {messages} messages, {}", summary(&broken, &after));
    }
    assert_eq!(
        unexplained(&broken, &after),
        Vec::<String>::new(),
        "seed {seed}: findings that nothing explains"
    );
    assert_eq!(missed(&broken, &after), Vec::<String>::new(), "seed {seed}: damage not seen as it should be");
    after.iter().for_each(verdict_fits);
    after.iter().for_each(says_nothing_of_contents);
}

fn summary(broken: &Broken, verified: &[Verified]) -> String {
    let findable = broken.damages.iter().filter(|damage| damage.findable()).count();
    let findings: usize = verified.iter().map(|verified| verified.findings.len()).sum();
    format!(
        "{} damages of which {findable} findable, {findings} findings, not made as often as asked: {:?}",
        broken.damages.len(),
        broken.short
    )
}

fn verdict_fits(verified: &Verified) {
    let has = |severity| verified.findings.iter().any(|finding| finding.kind.severity() == severity);
    let expected = match (has(Severity::Damage), has(Severity::Unreadable)) {
        (_, true) => Outcome::Unreadable,
        (true, false) => Outcome::Damaged,
        (false, false) => Outcome::Clean,
    };
    assert_eq!(verified.report.verdict.outcome, expected, "{}: {}", verified.shard, verified.report.verdict);
}

/// T25: what a finding says holds nothing of the message it is about.
fn says_nothing_of_contents(verified: &Verified) {
    // Shorter pieces, such as "header", stand in messages by chance.
    const PIECE_BYTES: usize = 12;
    for finding in &verified.findings {
        let place = verified.root.join(&verified.shard).join(mailbox_path(finding));
        let Ok(content) = store::read_plain(&place.join(OsStr::from_bytes(&finding.path))) else { continue };
        for piece in finding.detail.as_bytes().windows(PIECE_BYTES) {
            let repeated = content.windows(PIECE_BYTES).any(|window| window == piece);
            assert!(!repeated, "{} repeats its message", describe(&verified.shard, finding));
        }
    }
}

/// The judge is not asleep: damage kept from it is reported as unexplained, and damage that was never done as missed.
#[test]
fn the_judge_sees_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape { mailboxes: 12, messages_per_mailbox: 12, ..Shape::default() };
    let corpus = Corpus::deliver(folder.path(), &shape).unwrap();
    let faults = [MessageFault::Truncated, MessageFault::Duplicated];
    let mut broken = damage::break_stores(&corpus.mailboxes, &[], &faults, 1, 3).unwrap();
    let verified = verify_all(&corpus);
    assert_eq!((unexplained(&broken, &verified).len(), missed(&broken, &verified).len()), (0, 0));

    let kept_back = broken.damages.pop().unwrap();
    assert!(!unexplained(&broken, &verified).is_empty());
    let untouched = corpus.mailboxes.iter().find(|mailbox| **mailbox != kept_back.mailbox).unwrap();
    broken.damages.push(Damage { mailbox: untouched.clone(), ..kept_back });
    assert_eq!(missed(&broken, &verified).len(), 1);
}
