//! The verifier against the real thing: mailboxes written by Dovecot, broken in known places.
//!
//! Dovecot is stopped before anything is broken, so that stores are at rest as in an outage. The list of damage is made without the verifier and
//! decides what it must find, what it cannot see without a baseline, and what it must leave alone.

use std::path::{Path, PathBuf};

use rientro_dev::corpus::{Corpus, Shape};
use rientro_dev::damage::{self, Broken, Damage, FolderFault, MessageFault};
use rientro_dev::judge::{Found, mailbox_of, misjudged, place_of, unexplained};
use rientro_dev::{fleet, store};
use rientro_mailstore::{Control, Layout, Report, Task, verify};
use rientro_types::{Level, Outcome, Severity};

/// Times each fault of messages is made.
const TIMES: usize = 4;
/// No finding and no misjudged damage.
const NONE: Vec<String> = Vec::new();

/// Verifies every shard under the roots.
fn verify_all(roots: &[PathBuf]) -> (Vec<Found>, Vec<Report>) {
    let layout = Layout::sharded("{shard}/{domain}/{user}", "{shard}").expect("the layout parses");
    let mailboxes = store::mailboxes(roots).expect("the roots can be listed");
    let mut shards: Vec<_> = mailboxes.into_iter().map(|mailbox| (mailbox.root, mailbox.shard)).collect();
    shards.dedup();
    shards.iter().map(|(root, shard)| verify_one(&layout, root, shard)).unzip()
}

fn verify_one(layout: &Layout, root: &Path, shard: &str) -> (Found, Report) {
    let mut findings = Vec::new();
    let task = Task { root, layout, shard: shard.as_bytes(), volume: None, expected: None };
    let report = verify(&task, Level::Structure, &Control::default(), &mut |finding| findings.push(finding));
    (Found { root: root.to_owned(), shard: shard.to_owned(), findings }, report)
}

/// Precision and recall of the verifier on at least 2,000 real messages in 60 mailboxes: a clean store has no finding, a broken one exactly
/// those that the list of damage calls findable, each verdict fitting its findings, and no finding quotes a message (T25).
/// `RIENTRO_LIVE_ROUNDS` asks for more rounds, each with its own seed.
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
    let corpus =
        Corpus::deliver(folder.path(), &Shape { seed, ..Shape::default() }).expect("the corpus is delivered");
    assert!(corpus.handed_over >= 2_000 && corpus.mailboxes.len() == 60);
    assert_eq!(corpus.ledger.differences().expect("the stores can be read"), []);

    let (found, reports) = verify_all(&corpus.roots);
    assert_eq!(unexplained(&[], &found), NONE, "seed {seed}: a clean store");
    assert!(reports.iter().all(|report| report.verdict.outcome == Outcome::Clean));
    let messages: u64 = reports.iter().map(|report| report.verdict.tally.messages).sum();
    assert_eq!(messages, corpus.ledger.messages() as u64);

    let broken = damage::break_stores(&corpus.mailboxes, FolderFault::ALL, MessageFault::ALL, TIMES, seed);
    let broken = broken.expect("the stores can be broken");
    // What root could read all the same is broken in the verifier's own tests, by a reader without root's power.
    assert_eq!(broken.never_made(), [], "seed {seed}: a fault was not tried");
    let (found, reports) = verify_all(&corpus.roots);
    say(&format!("seed {seed}: {messages} messages, {}", summary(&broken, &found)));
    assert_eq!(unexplained(&broken.damages, &found), NONE, "seed {seed}: findings that nothing explains");
    assert_eq!(misjudged(&broken.damages, &found), NONE, "seed {seed}: damage not seen as it should be");
    found.iter().zip(&reports).for_each(verdict_fits);
    found.iter().for_each(says_nothing_of_contents);
}

fn summary(broken: &Broken, found: &[Found]) -> String {
    let findable = broken.damages.iter().filter(|damage| damage.findable()).count();
    let findings: usize = found.iter().map(|shard| shard.findings.len()).sum();
    let damages = broken.damages.len();
    format!(
        "{damages} damages, {findable} findable, {findings} findings; made less often: {:?}",
        broken.short
    )
}

#[allow(clippy::print_stdout, reason = "a long run says how far it is")]
fn say(text: &str) {
    println!("{text}");
}

fn verdict_fits((found, report): (&Found, &Report)) {
    let has = |severity| found.findings.iter().any(|finding| finding.kind.severity() == severity);
    let expected = match (has(Severity::Damage), has(Severity::Unreadable)) {
        (true, _) => Outcome::Damaged,
        (false, true) => Outcome::Unreadable,
        (false, false) => Outcome::Clean,
    };
    assert_eq!(report.verdict.outcome, expected, "{}: {}", found.shard, report.verdict);
}

/// T25: what a finding says holds nothing of the message it is about.
fn says_nothing_of_contents(found: &Found) {
    // Shorter pieces, such as "header", stand in messages by chance.
    const PIECE_BYTES: usize = 12;
    for finding in &found.findings {
        let place = found.root.join(&found.shard).join(mailbox_of(finding)).join(place_of(finding));
        let Ok(content) = store::read_plain(&place) else { continue };
        for piece in finding.detail.as_bytes().windows(PIECE_BYTES) {
            let repeated = content.windows(PIECE_BYTES).any(|window| window == piece);
            assert!(!repeated, "{} repeats a piece of {}", finding.detail, place.display());
        }
    }
}

/// The generated fleet is as good as a delivered one: nothing but its listed damage is found.
#[test]
fn a_generated_fleet_shows_its_damage_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let shape = fleet::Shape { messages: 2_000, ..fleet::Shape::default() };
    let broken = fleet::make(folder.path(), &shape).unwrap();
    let (found, _) = verify_all(&shape.roots(folder.path()));
    assert_eq!(unexplained(&broken.damages, &found), NONE);
    assert_eq!(misjudged(&broken.damages, &found), NONE);
}

/// The judge is not asleep: damage kept from it shows as unexplained findings, and damage that was never done as misjudged.
#[test]
fn the_judge_sees_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let shape = fleet::Shape { messages: 600, damaged_shards: 1, ..fleet::Shape::default() };
    let mut damages = fleet::make(folder.path(), &shape).unwrap().damages;
    let roots = shape.roots(folder.path());
    let (found, _) = verify_all(&roots);
    let kept_back = damages.pop().unwrap();
    assert!(!unexplained(&damages, &found).is_empty());

    let mailboxes = store::mailboxes(&roots).unwrap();
    let untouched = mailboxes.into_iter().find(|mailbox| mailbox.shard != kept_back.mailbox.shard).unwrap();
    damages.push(Damage { mailbox: untouched, ..kept_back });
    assert_eq!(misjudged(&damages, &found).len(), 1);
}
