//! The rooms of the workspace: which package may use which, and what stands at the top level.
//!
//! A package that is needed somewhere it is not listed here is a change of design, not of this list.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};
use rientro_dev::servers::workspace;

/// Left may use right. A package that is not listed uses none of ours.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("rientro-orchestrator", &["rientro-engine", "rientro-wire", "rientro-types"]),
    ("rientro-sim", &["rientro-engine", "rientro-types"]),
    ("rientro-engine", &["rientro-types"]),
    ("rientro-agent", &["rientro-mailstore", "rientro-wire", "rientro-types"]),
    ("rientro-mailstore", &["rientro-types"]),
    ("rientro-wire", &["rientro-types"]),
    (
        "rientro-dev",
        &[
            "rientro-orchestrator",
            "rientro-engine",
            "rientro-sim",
            "rientro-agent",
            "rientro-mailstore",
            "rientro-wire",
            "rientro-types",
        ],
    ),
];

/// Packages the core and the verifier must stay free of, with the reason.
const NEVER_USES: [(&str, &str, &str); 9] = [
    ("rientro-engine", "tokio", "the core is sans-IO"),
    ("rientro-engine", "prost", "the core knows no wire format"),
    ("rientro-engine", "redb", "the core knows no journal"),
    ("rientro-sim", "tokio", "virtual time has no runtime"),
    ("rientro-types", "tokio", "words need no runtime"),
    ("rientro-types", "prost", "words know no wire format"),
    ("rientro-types", "serde", "what is written is converted by hand, never derived from private state"),
    ("rientro-mailstore", "tokio", "the verifier is synchronous"),
    ("rientro-mailstore", "tonic", "the verifier has no network"),
];

/// What may stand at the top level, besides names that begin with a dot.
const TOP_LEVEL: [&str; 12] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "agent",
    "clippy.toml",
    "deny.toml",
    "deploy",
    "orchestrator",
    "proto",
    "rustfmt.toml",
];

/// A dependency of a package of ours: user and used.
type Edge = (String, String);

#[test]
fn only_listed_rooms_are_used() {
    let (edges, others) = edges();
    assert!(!edges.is_empty(), "cargo metadata shows no edge between rooms");
    assert_eq!(forbidden(&edges), Vec::<&Edge>::new(), "edges between rooms that the design does not have");
    for (user, used, reason) in NEVER_USES {
        assert!(!others.contains(&(user.into(), used.into())), "{user} uses {used}, but {reason}");
    }
}

#[test]
fn a_forbidden_edge_is_seen() {
    let edge = |user: &str, used: &str| (user.to_owned(), used.to_owned());
    let bad = [
        edge("rientro-engine", "rientro-wire"),
        edge("rientro-types", "rientro-engine"),
        edge("rientro-x", "rientro-types"),
    ];
    let good = [edge("rientro-engine", "rientro-types"), edge("rientro-dev", "rientro-sim")];
    let all: Vec<Edge> = bad.iter().chain(&good).cloned().collect();
    assert_eq!(forbidden(&all), bad.iter().collect::<Vec<_>>());
}

#[test]
fn the_top_level_holds_what_the_design_lists() {
    let output = Command::new("git").args(["ls-files"]).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let files = String::from_utf8(output.stdout).unwrap();
    assert_eq!(strangers(files.lines()), BTreeSet::new(), "not in the list of the design");
}

#[test]
fn a_stranger_at_the_top_level_is_seen() {
    let files = ["Cargo.toml", ".ci/run", "agent/src/lib.rs", "tools/x.sh", "notes.txt"];
    assert_eq!(strangers(files.into_iter()), BTreeSet::from(["notes.txt", "tools"]));
}

fn strangers<'a>(files: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let entries = files.filter_map(|file| file.split('/').next());
    entries.filter(|entry| !entry.starts_with('.') && !TOP_LEVEL.contains(entry)).collect()
}

fn forbidden(edges: &[Edge]) -> Vec<&Edge> {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    let listed = |user: &str, used: &str| allowed.get(user).is_some_and(|rooms| rooms.contains(&used));
    edges.iter().filter(|(user, used)| !listed(user, used)).collect()
}

/// Edges between rooms, and edges from rooms to packages that are not ours. Tests may use more, so what only tests use is left out.
fn edges() -> (Vec<Edge>, BTreeSet<Edge>) {
    let metadata = MetadataCommand::new()
        .current_dir(workspace())
        .no_deps()
        .exec()
        .expect("cargo metadata describes the workspace");
    let rooms: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let (mut between, mut others) = (Vec::new(), BTreeSet::new());
    for package in &metadata.packages {
        for used in package.dependencies.iter().filter(|used| used.kind != DependencyKind::Development) {
            let edge = (package.name.to_string(), used.name.clone());
            if rooms.contains(used.name.as_str()) {
                between.push(edge);
            } else {
                others.insert(edge);
            }
        }
    }
    (between, others)
}
