//! One damaged store for each kind of finding, and clean ones that must stay clean.

mod store;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};

use rientro_types::{Finding, FindingKind as Kind, Outcome, Ppm, UnknownCause};
use store::{Store, log_header, log_record, message};

/// Kind and path of each finding.
fn seen(findings: &[Finding]) -> Vec<(Kind, String)> {
    findings.iter().map(|f| (f.kind, String::from_utf8_lossy(&f.path).into_owned())).collect()
}

fn kinds(findings: &[Finding]) -> Vec<Kind> {
    findings.iter().map(|f| f.kind).collect()
}

#[test]
fn a_store_as_dovecot_leaves_it_is_clean() {
    let (store, anna) = Store::with_anna();
    let sent = anna.folder(".Sent");
    sent.deliver(7, &message(7));
    sent.write_uids(&[7]);
    for name in ["subscriptions", "dovecot-keywords", "dovecot.index.cache", "maildirsize"] {
        fs::write(anna.0.join(name), b"x").unwrap();
    }
    fs::create_dir_all(anna.0.join("sieve/tmp")).unwrap();
    fs::write(anna.0.join("sieve/main.sieve"), b"keep;").unwrap();
    symlink("sieve/main.sieve", anna.0.join(".dovecot.sieve")).unwrap();
    fs::write(anna.0.join("tmp/1700000000.M1P1.host"), b"a delivery that was given up").unwrap();
    let (report, findings) = store.verify();
    assert_eq!(findings, []);
    assert_eq!((report.verdict.outcome, report.verdict.coverage), (Outcome::Clean, Ppm::ONE));
    assert_eq!((report.verdict.tally.mailboxes, report.verdict.tally.messages), (1, 4));
}

#[test]
fn a_zeroed_block_is_found() {
    let (store, anna) = Store::with_anna();
    let file = File::options().write(true).open(anna.file(2)).unwrap();
    file.write_all_at(&[0; 4096], 8192).unwrap();
    let (report, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::VirtualSizeMismatch, Kind::ZeroBlock]);
    assert_eq!(report.verdict.outcome, Outcome::Damaged);
    assert_eq!((report.verdict.tally.messages_damaged, report.verdict.tally.mailboxes_damaged), (1, 1));
    assert_eq!(report.damaged, [b"ex.org/anna"]);
}

#[test]
fn an_empty_shard_is_unknown() {
    let (report, findings) = Store::new().verify();
    assert_eq!(report.verdict.outcome, Outcome::Unknown(UnknownCause::Empty));
    assert_eq!(seen(&findings), []);
}

#[test]
fn a_lost_file_is_told_from_an_expunged_one() {
    let (store, anna) = Store::with_anna();
    let lost = anna.file(1);
    fs::remove_file(&lost).unwrap();
    fs::remove_file(anna.file(3)).unwrap();
    let log = [log_header(1, 0), log_record(0x1000_cd91, &[3, 3])].concat();
    fs::write(anna.0.join("dovecot.index.log"), log).unwrap();
    let (_, findings) = store.verify();
    assert_eq!(kinds(&findings), [Kind::MessageMissing]);
}
