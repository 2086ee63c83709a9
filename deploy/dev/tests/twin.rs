//! A cloned machine: two real agents with one identity (T28).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rientro_dev::cell::{Cell, NodeSpec, RootSpec, Sharding};
use rientro_dev::{fleet, store, wait};
use serde_json::Value;

const SHAPE: fleet::Shape =
    fleet::Shape { nodes: 1, shards: 2, mailboxes_per_shard: 2, messages: 40, damaged_shards: 0, seed: 9 };
/// Longest wait for anything a cell does: far above what it takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

fn root(path: &Path) -> Vec<RootSpec> {
    vec![RootSpec {
        path: path.to_owned(),
        layout: "{shard}/{domain}/{user}".to_owned(),
        sharding: Sharding::Prefix("{shard}".to_owned()),
    }]
}

fn node(cell: &Cell) -> Value {
    let shown = cell.ask(&["node", "show", "store-1", "--output", "json"]).unwrap_or_default();
    serde_json::from_str(&shown).unwrap_or_default()
}

/// How often a log says something.
fn says(cell: &Cell, log: &str, what: &str) -> usize {
    let text = std::fs::read_to_string(cell.folder().join(log)).unwrap_or_default();
    text.matches(what).count()
}

/// What Prometheus reads.
fn metrics(cell: &Cell) -> String {
    let url = cell.metrics();
    let address = url.trim_start_matches("http://").trim_end_matches("/metrics");
    let mut stream = TcpStream::connect(address).expect("metrics are served");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
    let asked = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(asked.as_bytes()).expect("metrics are asked for");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("metrics are text");
    text
}

/// The second of two is refused with what it means, the first one keeps its session, and people are told; when the first one is
/// killed the second one gets in by itself, and that is told too.
#[test]
fn of_two_agents_with_one_state_directory_one_is_let_in() {
    let folder = tempfile::tempdir().expect("a folder for the stores");
    fleet::make(folder.path(), &SHAPE).expect("the fleet is made");
    let original = SHAPE.roots(folder.path()).remove(0);
    rientro_mailstore::volume::enrol(&original, "00000000-0000-4000-8000-000000000001").expect("enrolled");
    let cloned = folder.path().join("cloned");
    store::copy(&original, &cloned).expect("the disks are copied");
    let name = "store-1".to_owned();
    let spec = NodeSpec { name, roots: root(&original), volume: "marker", labels: Vec::new() };
    let mut cell = Cell::start(&folder.path().join("cell"), vec![spec]).expect("the cell starts");
    cell.await_shards(SHAPE.shards).expect("the agent shows its shards");

    cell.start_copy(0, root(&cloned)).expect("the copy starts");
    let knocks = |cell: &Cell| node(cell)["twin"]["tries"].as_u64().unwrap_or(0);
    assert!(wait::until(LIMIT, || knocks(&cell) >= 5), "{}", node(&cell));
    assert_eq!(node(&cell)["twin"]["inside"], false);
    assert!(says(&cell, "store-1-copy.log", "another running agent has the identity of node store-1") >= 5);
    assert_eq!(says(&cell, "store-1-copy.log", "session begins"), 0);
    assert_eq!(says(&cell, "store-1.log", "session begins"), 1, "the first one keeps its session");
    assert_eq!(says(&cell, "orchestrator.log", "agent connected"), 1);
    assert!(says(&cell, "orchestrator.log", "another running agent has the identity") >= 1);
    let shown = cell.ask(&["node", "show", "store-1"]).expect("the node is shown");
    assert!(shown.contains("stop one of the two agents"), "{shown}");
    let shown = cell.ask(&["cell", "show"]).expect("the cell is shown");
    assert!(shown.contains("used by two running agents"), "{shown}");
    assert!(metrics(&cell).contains("rientro_nodes_twinned 1"), "{}", metrics(&cell));

    cell.kill_agent(0).expect("the first one is killed");
    let inside = |cell: &Cell| node(cell)["twin"]["inside"] == true && node(cell)["connected"] == true;
    assert!(wait::until(LIMIT, || inside(&cell)), "{}", node(&cell));
    assert_eq!(says(&cell, "store-1-copy.log", "session begins"), 1);
    let shown = cell.ask(&["node", "show", "store-1"]).expect("the node is shown");
    assert!(shown.contains("another one than before"), "{shown}");
    cell.stop().expect("the cell stops");
}
