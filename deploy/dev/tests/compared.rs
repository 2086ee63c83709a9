//! A campaign at the level of baselines, with the real programs: what has a flipped bit and what has no baseline is held, and the
//! rest comes back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use rientro_dev::cell::{Cell, NodeSpec, RootSpec, Sharding};
use rientro_dev::{fleet, store, wait};
use serde_json::Value;

const SHAPE: fleet::Shape =
    fleet::Shape { nodes: 2, shards: 6, mailboxes_per_shard: 3, messages: 240, damaged_shards: 0, seed: 7 };
/// Longest wait for anything a campaign does: far above what it takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(180);

const PLAN: &str = "name = \"return\"\n[covers]\nall = true\n[waves]\nlist = [\"rest\"]\nbake = \"1s\"\n\
                    error_budget_canary = \"100%\"\n[verify]\nlevel = \"baseline\"\n";

#[test]
fn shards_are_held_against_their_baselines() {
    let folder = tempfile::tempdir().expect("a folder for the fleet");
    fleet::make(folder.path(), &SHAPE).expect("the fleet is made");
    let mut cell = Cell::start(&folder.path().join("cell"), nodes(folder.path())).expect("the cell starts");
    cell.await_shards(SHAPE.shards).expect("the agents show their shards");
    for node in 0..SHAPE.nodes {
        let written = cell.ask_agent(node, &["manifest", "renew"]).expect("the baselines are written");
        assert_eq!(written.matches(": written, ").count(), SHAPE.shards / SHAPE.nodes, "{written}");
    }
    let again = cell.ask_agent(0, &["manifest", "renew"]).expect("there is nothing to write");
    assert_eq!(again.matches(": unchanged, ").count(), 3, "{again}");
    flip_in(&folder.path().join("node1/shard001"));
    fs::remove_file(folder.path().join("cell/store-2/baselines/shard002.manifest")).expect("it was written");

    let plan = folder.path().join("plan.toml");
    fs::write(&plan, PLAN).expect("the plan is written");
    let plan = plan.to_str().expect("temporary folders have plain names");
    cell.ask(&["campaign", "start", plan, "--yes"]).expect("the campaign starts");
    let ended = || json(&cell, &["campaign", "show", "return"])["state"] == "ended";
    assert!(wait::until(LIMIT, ended), "the campaign does not end: {:?}", states(&cell));
    let states = states(&cell);
    let held: Vec<_> = states.iter().filter(|(_, state)| *state != "open").collect();
    let expected = [("shard001", "held"), ("shard002", "held")]
        .map(|(shard, state)| (shard.to_owned(), state.to_owned()));
    assert_eq!(held, expected.iter().map(|(shard, state)| (shard, state)).collect::<Vec<_>>());
    for (shard, kind) in [("shard001", "message-altered"), ("shard002", "baseline-unreadable")] {
        let found = cell.ask(&["findings", "list", "--shard", shard]).expect("the findings are listed");
        assert!(found.contains(kind), "{shard}: {found}");
    }
    cell.stop().expect("the cell stops");
}

fn nodes(folder: &Path) -> Vec<NodeSpec> {
    let node = |(root, no): (std::path::PathBuf, u32)| {
        rientro_mailstore::volume::enrol(&root, &format!("00000000-0000-4000-8000-{no:012}"))
            .expect("the volume is enrolled");
        let sharding = Sharding::Prefix("{shard}".to_owned());
        NodeSpec {
            name: format!("store-{no}"),
            roots: vec![RootSpec { path: root, layout: "{shard}/{domain}/{user}".to_owned(), sharding }],
            volume: "marker",
            labels: vec![("rack".to_owned(), format!("r{no}"))],
        }
    };
    SHAPE.roots(folder).into_iter().zip(1..).map(node).collect()
}

/// Flips a bit in the body of a message, which no format sees.
fn flip_in(shard: &Path) {
    let root = shard.parent().expect("a shard is below its root").to_owned();
    let mailboxes = store::mailboxes(&[root]).expect("the mailboxes are listed");
    let mailbox =
        mailboxes.iter().find(|mailbox| shard.ends_with(&mailbox.shard)).expect("the shard has one");
    let messages = mailbox.messages(&mailbox.folder()).expect("its messages are listed");
    let path = messages
        .iter()
        .max_by_key(|path| fs::metadata(path).map_or(0, |meta| meta.len()))
        .expect("a message");
    let text = fs::read(path).expect("it can be read");
    let middle = text.len() / 2;
    let letter = text[middle..].iter().position(u8::is_ascii_alphabetic).expect("a letter") + middle;
    let file = File::options().write(true).open(path).expect("it opens");
    file.write_all_at(&[text[letter] ^ 0x20], letter as u64).expect("it can be written");
}

fn json(cell: &Cell, args: &[&str]) -> Value {
    let told = cell.ask(&[args, &["--output", "json"]].concat()).expect("the cell answers");
    serde_json::from_str(&told).expect("it is JSON")
}

fn states(cell: &Cell) -> BTreeMap<String, String> {
    let listed = json(cell, &["shard", "list", "--max", "0"]);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let shards = listed.as_array().expect("a list of shards").iter();
    shards.map(|shard| (text(&shard["shard"]), text(&shard["state"]))).collect()
}
