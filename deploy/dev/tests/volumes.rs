//! Volumes that are not what they should be (T24): empty or wrong, and never clean.

use std::path::{Path, PathBuf};

use rientro_dev::damage::{empty_volume, swap_volumes};
use rientro_dev::{fleet, store};
use rientro_mailstore::{Control, Expected, Layout, Report, Task, verify, volume};
use rientro_types::{FindingKind, Level, Outcome, VolumeId};

const SHAPE: fleet::Shape =
    fleet::Shape { nodes: 2, shards: 4, mailboxes_per_shard: 3, messages: 120, damaged_shards: 0, seed: 4 };
const UUIDS: [&str; 2] = ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"];

fn made(folder: &Path) -> Vec<PathBuf> {
    fleet::make(folder, &SHAPE).expect("the fleet is made");
    SHAPE.roots(folder)
}

fn report(root: &Path, shard: &str, volume: Option<VolumeId>, expected: Option<&Expected>) -> Report {
    let layout = Layout::sharded("{shard}/{domain}/{user}", "{shard}").expect("the layout parses");
    let task = Task { root, layout: &layout, shard: shard.as_bytes(), volume, expected };
    verify(&task, Level::Structure, &Control::default(), &mut |_| ())
}

/// T24: a shard that comes up empty is unknown when nobody says what should be in it, and unreadable or damaged when somebody does.
#[test]
fn an_empty_shard_is_never_clean() {
    let folder = tempfile::tempdir().unwrap();
    let roots = made(folder.path());
    let first = store::mailboxes(&roots).unwrap().remove(0);
    let users: Expected = [first.path.to_str().unwrap().as_bytes().to_vec()].into_iter().collect();
    assert_eq!(report(&first.root, &first.shard, None, None).verdict.outcome, Outcome::Clean);

    empty_volume(&first.root.join(&first.shard)).unwrap();
    let unasked = report(&first.root, &first.shard, None, None).verdict;
    assert!(matches!(unasked.outcome, Outcome::Unknown(_) | Outcome::Unreadable), "{unasked}");
    let asked = report(&first.root, &first.shard, None, Some(&users)).verdict;
    assert!(matches!(asked.outcome, Outcome::Damaged | Outcome::Unreadable), "{asked}");
}

/// T24: with another volume in its place a shard is unreadable, even where that volume holds a shard of the same name.
#[test]
fn a_wrong_volume_is_never_clean() {
    let folder = tempfile::tempdir().unwrap();
    let roots = made(folder.path());
    let right = volume::enrol(&roots[0], UUIDS[0]).unwrap();
    volume::enrol(&roots[1], UUIDS[1]).unwrap();
    let shard = store::mailboxes(&roots).unwrap().remove(0).shard;
    assert_eq!(report(&roots[0], &shard, Some(right), None).verdict.outcome, Outcome::Clean);

    swap_volumes(&roots[0], &roots[1]).unwrap();
    let wrong = report(&roots[0], &shard, Some(right), None).verdict;
    assert_eq!(wrong.outcome, Outcome::Unreadable);
    assert!(wrong.tally.kinds.contains(FindingKind::VolumeWrong));
}
