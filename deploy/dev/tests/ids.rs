//! Every invariant (R) and scenario (T) that is built is named by a test.
//!
//! An id that no test names is a promise nobody keeps. It counts only where it proves something: in the doc comment of a test function, with
//! nothing but attributes between. What comments, strings and other items say proves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use rientro_dev::servers::workspace;

/// Invariants that have meaning without gates and several leaders.
const INVARIANTS: [&str; 9] = ["R1", "R2", "R3", "R4", "R6", "R7", "R8", "R11", "R12"];
/// Scenarios that are tests.
const SCENARIOS: [&str; 20] = [
    "T1", "T2", "T3", "T4", "T5", "T6", "T8", "T9", "T10", "T14", "T15", "T17", "T22", "T24", "T25", "T26",
    "T27", "T28", "T29", "T33",
];
/// Attributes that make a function a test; arguments may follow.
const TESTS: [&str; 2] = ["#[test", "#[tokio::test"];

#[test]
fn every_id_is_named_by_a_test() {
    let output = Command::new("git").args(["ls-files", "*.rs"]).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let files = String::from_utf8(output.stdout).unwrap();
    let texts = files.lines().filter_map(|file| fs::read_to_string(workspace().join(file)).ok());
    let named: BTreeSet<String> = texts.flat_map(|text| ids_of_tests(&text)).collect();
    let missing: Vec<&str> =
        INVARIANTS.into_iter().chain(SCENARIOS).filter(|id| !named.contains(*id)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "named by no test");
}

#[test]
fn only_the_doc_comment_of_a_test_counts() {
    let text = r#"
        /// T901: a doc comment of a test.
        /// And R902 on its second line.
        #[allow(
            clippy::all,
            reason = "an attribute of several lines"
        )]
        #[tokio::test(flavor = "multi_thread")]
        async fn one() {
            // T903 in a comment, "T904" in a string
        }
        /// T905: parted from the test by a line of code.
        const X: u32 = 1;
        #[test]
        fn two() {}
        /// T906: no test.
        #[test_only]
        fn helper() {}
        /// T907: parted by an empty line.

        #[test]
        fn three() {}
    "#;
    assert_eq!(ids_of_tests(text), BTreeSet::from(["T901".into(), "R902".into()]));
}

#[test]
fn an_id_is_a_whole_word() {
    assert_eq!(ids("/// T24, R11: x T2x AT4 R"), BTreeSet::from(["T24".into(), "R11".into()]));
}

/// Ids in the doc comments of test functions.
fn ids_of_tests(text: &str) -> BTreeSet<String> {
    let (mut found, mut above, mut test, mut within) = (BTreeSet::new(), BTreeSet::new(), false, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("///") {
            above.extend(ids(line));
        } else if line.starts_with("#[") || within {
            // An attribute that is broken into lines ends where its bracket does.
            within = !line.ends_with(']');
            test |= TESTS.iter().any(|attribute| {
                line.strip_prefix(attribute).is_some_and(|rest| rest.starts_with([']', '(']))
            });
        } else {
            if test {
                found.append(&mut above);
            }
            above.clear();
            test = false;
        }
    }
    found
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
