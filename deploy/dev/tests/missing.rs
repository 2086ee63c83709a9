//! A mailbox that is taken away from a closed shard, with a real agent: nothing opens before it is back.

use std::path::Path;
use std::time::Duration;

use rientro_dev::cell::{Cell, NodeSpec, RootSpec, Sharding};
use rientro_dev::{fleet, store, wait};
use serde_json::Value;

const SHAPE: fleet::Shape =
    fleet::Shape { nodes: 1, shards: 3, mailboxes_per_shard: 4, messages: 120, damaged_shards: 0, seed: 7 };
/// Longest wait for anything a cell does: far above what it takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

fn json(cell: &Cell, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
    serde_json::from_str(&cell.ask(&args).expect("the cell answers")).expect("the answer is JSON")
}

fn shard(cell: &Cell, name: &str) -> (String, String) {
    let shown = json(cell, &["shard", "show", name]);
    let text = |key: &str| shown[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("held_by"))
}

/// The agent looks at its roots when it starts.
fn look_again(cell: &mut Cell) {
    cell.kill_agent(0).expect("the agent is killed");
    cell.start_agent(0).expect("the agent comes back");
}

fn start_cell(folder: &Path, root: &Path) -> Cell {
    rientro_mailstore::volume::enrol(root, "00000000-0000-4000-8000-000000000001").expect("it is enrolled");
    let node = NodeSpec {
        name: "store-1".to_owned(),
        roots: vec![RootSpec {
            path: root.to_owned(),
            layout: "{shard}/{domain}/{user}".to_owned(),
            sharding: Sharding::Prefix("{shard}".to_owned()),
        }],
        volume: "marker",
        labels: Vec::new(),
    };
    Cell::start(&folder.join("cell"), vec![node]).expect("the cell starts")
}

fn start_campaign(cell: &Cell, folder: &Path) {
    let plan = folder.join("plan.toml");
    let text = "name = \"return\"\n[covers]\nall = true\n[waves]\nlist = [\"rest\"]\nbake = \"1s\"\n\
                error_budget_canary = \"100%\"\nerror_budget = \"100%\"\n";
    std::fs::write(&plan, text).expect("the plan is written");
    let plan = plan.to_str().expect("temporary folders have plain names");
    cell.ask(&["campaign", "start", plan, "--yes"]).expect("the campaign starts");
}

/// R7: a mailbox's directory vanishes from a closed shard before its campaign. Without any list of the provider the shard is
/// held for it while the others open; the mailbox is found as gone; put back, it opens with its shard.
#[test]
fn a_mailbox_that_vanished_keeps_its_shard_closed_until_it_is_back() {
    vanish_and_return(false);
}

/// R7: the same when another mailbox appears in its place, so that the counts are as they were.
#[test]
fn a_mailbox_in_the_place_of_another_hides_nothing() {
    vanish_and_return(true);
}

fn vanish_and_return(replaced: bool) {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    fleet::make(folder.path(), &SHAPE).expect("the fleet is made");
    let root = SHAPE.roots(folder.path()).remove(0);
    let victim = store::mailboxes(std::slice::from_ref(&root)).expect("the root can be listed").remove(0);
    let (domain, user) = victim.path.to_str().and_then(|path| path.split_once('/')).expect("domain and user");
    let other = victim.folder().with_file_name("nobody");
    let address = format!("{user}@{domain}");
    let mut cell = start_cell(folder.path(), &root);
    cell.await_shards(SHAPE.shards).expect("the agent shows its shards");
    let listed = |cell: &Cell| cell.ask(&["mailbox", "show", &address]).is_ok();
    assert!(wait::until(LIMIT, || listed(&cell)), "{address} is never listed");

    let away = folder.path().join("away");
    std::fs::rename(victim.folder(), &away).expect("the mailbox is taken away");
    if replaced {
        std::fs::create_dir_all(other.join("cur")).expect("another one appears");
        std::fs::create_dir_all(other.join("new")).expect("another one appears");
        std::fs::create_dir_all(other.join("tmp")).expect("another one appears");
    }
    look_again(&mut cell);
    let missing =
        format!("1 of {} mailboxes that were known are not there any more", SHAPE.mailboxes_per_shard);
    let told = |cell: &Cell| {
        let gone =
            json(cell, &["mailbox", "show", &address])["gone"].as_array().is_some_and(|g| g.len() == 1);
        gone && shard(cell, &victim.shard) == ("closed".to_owned(), missing.clone())
    };
    assert!(wait::until(LIMIT, || told(&cell)), "{:?}", shard(&cell, &victim.shard));
    let shown = cell.ask(&["mailbox", "show", &address]).expect("it is told where it was");
    for wanted in
        [&*format!("shard {}", victim.shard), "nobody can have deleted it there", "rientro shard settle"]
    {
        assert!(shown.contains(wanted), "{wanted} is not in {shown}");
    }
    start_campaign(&cell, folder.path());
    let over = |cell: &Cell| json(cell, &["campaign", "show", "return"])["state"] == "ended";
    assert!(wait::until(LIMIT, || over(&cell)), "the campaign does not end");
    assert_eq!(shard(&cell, &victim.shard), ("held".to_owned(), missing.clone()));
    let open = json(&cell, &["shard", "list", "--state", "open"]);
    assert_eq!(open.as_array().map(Vec::len), Some(SHAPE.shards - 1), "{open}");

    std::fs::rename(&away, victim.folder()).expect("the mailbox is put back");
    look_again(&mut cell);
    let back = |cell: &Cell| shard(cell, &victim.shard).0 == "open";
    assert!(wait::until(LIMIT, || back(&cell)), "{:?}", shard(&cell, &victim.shard));
    assert_eq!(json(&cell, &["mailbox", "show", &address])["shards"].as_array().map(Vec::len), Some(1));
    cell.ask(&["journal", "verify"]).expect("the journal is intact");
    cell.stop().expect("the cell stops");
}
