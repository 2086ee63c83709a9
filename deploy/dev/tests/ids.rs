//! Every invariant (R) and scenario (T) that is built is named where it is proven.
//!
//! An id that no source names is a promise nobody keeps.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use rientro_dev::servers::workspace;

/// Invariants that have meaning without gates and several leaders.
const INVARIANTS: [&str; 9] = ["R1", "R2", "R3", "R4", "R6", "R7", "R8", "R11", "R12"];
/// Scenarios that are tests.
const SCENARIOS: [&str; 19] = [
    "T1", "T2", "T3", "T4", "T5", "T6", "T9", "T10", "T14", "T15", "T17", "T22", "T24", "T25", "T26", "T27",
    "T28", "T29", "T33",
];

#[test]
fn every_id_is_named_in_the_sources() {
    let output = Command::new("git").args(["ls-files", "*.rs"]).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let files = String::from_utf8(output.stdout).unwrap();
    let others = files.lines().filter(|file| Path::new(file).file_name() != Path::new(file!()).file_name());
    let named: BTreeSet<String> = others
        .filter_map(|file| fs::read_to_string(workspace().join(file)).ok())
        .flat_map(|text| ids(&text))
        .collect();
    let missing: Vec<&str> =
        INVARIANTS.into_iter().chain(SCENARIOS).filter(|id| !named.contains(*id)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "named in no source");
}

#[test]
fn an_id_is_a_whole_word() {
    assert_eq!(ids("/// T24, R11: x T2x AT4 R"), BTreeSet::from(["T24".into(), "R11".into()]));
}

/// Words that are an R or T and a number.
fn ids(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| is_id(word)).map(str::to_owned).collect()
}

fn is_id(word: &str) -> bool {
    let number = word.strip_prefix(['R', 'T']);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}
