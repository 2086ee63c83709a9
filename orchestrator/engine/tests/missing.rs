//! Transition tests: mailboxes that were known and are not there any more.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_engine::{Event, Origin};
use rientro_types::*;
use support::*;

fn generous() -> Plan {
    let mut plan = plan("return");
    plan.waves.error_budget_canary = Ppm::ONE;
    plan
}

/// `id` as node `a` shows it, with so many mailboxes.
fn showing(id: &str, mailboxes: u64) -> Claim {
    Claim { mailboxes, ..claim(id, "a") }
}

fn missing(known: u64, shown: u64) -> HeldReason {
    HeldReason::MailboxesMissing { known, shown, unlisted: 0 }
}

/// A clean verification that met so many mailboxes.
fn met(mailboxes: u64) -> TaskEnd {
    let mut verification = verification(Outcome::Clean, "a");
    verification.verdict.tally.mailboxes = mailboxes;
    TaskEnd::Verified { verification, damaged: Vec::new() }
}

/// What brings a shard into a phase.
type Lead<'a> = &'a dyn Fn(&mut Cell);

fn settle(id: &str) -> Verb {
    Verb::Settle { selector: only(id), node: node("a"), reason: "the customers asked for it".to_owned() }
}

fn known(cell: &Cell) -> u64 {
    cell.view("a1").shard.mailboxes
}

/// R7: a closed shard that shows fewer mailboxes than were known is held beside its state, keeps the known count, and goes
/// its way when it shows them again.
#[test]
fn what_vanishes_from_a_closed_shard_holds_it_until_it_is_back() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.inventory("a", vec![showing("a1", 99)]);
    assert_eq!((held(&cell, "a1"), known(&cell)), (Some(missing(100, 99)), 100));
    assert_eq!(cell.state("a1"), ShardState::Closed, "nobody has asked for it");
    cell.start(generous());
    cell.play();
    assert_eq!((cell.state("a1"), cell.campaign("return").waves[0].mailboxes_lost), (ShardState::Held, 100));
    cell.inventory("a", vec![showing("a1", 100)]);
    assert_eq!(held(&cell, "a1"), None);
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.assert_replays();
}

/// R7: the hold is as old as the first that vanished; more that vanish and some that return change its numbers.
#[test]
fn the_numbers_follow_and_the_time_stays() {
    let mut cell = Cell::with_fleet(1, 1);
    let mut since = Vec::new();
    for shown in [99, 97, 97, 98, 0] {
        cell.inventory("a", vec![showing("a1", shown)]);
        assert_eq!(held(&cell, "a1"), Some(missing(100, shown)));
        since.push(cell.view("a1").shard.blocked.unwrap().since);
        cell.pass(5);
    }
    assert!(since.iter().all(|at| *at == since[0]), "{since:?}");
    cell.inventory("a", vec![showing("a1", 103)]);
    assert_eq!((held(&cell, "a1"), known(&cell)), (None, 103), "more than were known is as good");
    cell.inventory("a", vec![showing("a1", 102)]);
    assert_eq!(held(&cell, "a1"), Some(missing(103, 102)), "and is known from there on");
    cell.assert_replays();
}

/// In service customers come and go: counts follow, while it opens and while its closing is not confirmed too.
#[test]
fn in_service_the_counts_follow() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.result("a", "a1", 1, met(100));
    cell.result("a", "a1", 2, TaskEnd::Confirmed);
    assert_eq!(cell.state("a1"), ShardState::Opening);
    cell.inventory("a", vec![showing("a1", 99)]);
    assert_eq!((held(&cell, "a1"), known(&cell)), (None, 99));
    cell.play();
    cell.inventory("a", vec![showing("a1", 98)]);
    assert_eq!((cell.state("a1"), held(&cell, "a1"), known(&cell)), (ShardState::Open, None, 98));
    cell.ask(Verb::Close { selector: only("a1"), reason: "again".to_owned() }).unwrap();
    cell.inventory("a", vec![showing("a1", 97)]);
    assert_eq!((held(&cell, "a1"), known(&cell)), (None, 97), "its node has not closed it yet");
    cell.seen("a", "a1", ServiceSet::NONE);
    cell.inventory("a", vec![showing("a1", 96)]);
    assert_eq!((held(&cell, "a1"), known(&cell)), (Some(missing(97, 96)), 97), "closed again");
    cell.assert_replays();
}

/// R7: whatever a shard is waiting for or busy with, one inventory holds it, and none of its results opens it.
#[test]
fn every_closed_phase_is_held() {
    let lead: [(&str, Lead<'_>); 6] = [
        ("verifying", &|_| ()),
        ("backoff", &|cell| cell.result("a", "a1", 1, TaskEnd::Failed(TaskFailure::Interrupted))),
        ("held", &|cell| cell.result("a", "a1", 1, verified(Outcome::Damaged, "a"))),
        ("verified", &|cell| {
            cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap();
            cell.result("a", "a1", 1, met(100));
        }),
        ("confirming", &|cell| cell.result("a", "a1", 1, met(100))),
        ("failed", &|cell| {
            for attempt in 1..=3 {
                cell.result("a", "a1", attempt, TaskEnd::Failed(TaskFailure::Interrupted));
                cell.pass(60);
            }
        }),
    ];
    for (state, lead) in lead {
        let mut cell = Cell::with_fleet(1, 1);
        cell.start(generous());
        lead(&mut cell);
        assert_eq!(cell.state("a1").name(), state);
        cell.inventory("a", vec![showing("a1", 99)]);
        assert_eq!((held(&cell, "a1"), known(&cell)), (Some(missing(100, 99)), 100), "{state}");
        if state == "verified" {
            cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
        }
        cell.play();
        cell.pass(100);
        cell.play();
        assert_eq!(cell.view("a1").shard.services, ServiceSet::NONE, "{state}");
        cell.assert_replays();
    }
}

/// R1, R7: mailboxes that vanish while it is read: the verification met what was left, and opens nothing, whether an
/// inventory told of it or not. When they are back it is verified again.
#[test]
fn a_verification_of_fewer_mailboxes_is_none() {
    for told in [true, false] {
        let mut cell = Cell::with_fleet(1, 1);
        cell.start(generous());
        if told {
            cell.inventory("a", vec![showing("a1", 99)]);
        }
        cell.result("a", "a1", 1, met(99));
        assert_eq!(held(&cell, "a1"), Some(missing(100, 99)));
        cell.ordered();
        cell.pass(30);
        assert_eq!(cell.ordered(), vec![], "not confirmed, not verified again before something changes");
        cell.inventory("a", vec![showing("a1", 100)]);
        let again = cell.ordered().remove(0).1;
        assert!(matches!(again.action, Action::Verify { .. }), "{again:?}");
        cell.result("a", "a1", again.attempt.raw(), met(100));
        cell.play();
        assert_eq!(cell.state("a1"), ShardState::Open);
        cell.assert_replays();
    }
}

/// R7: more mailboxes than its verification met were not verified.
#[test]
fn what_appears_after_a_verification_is_verified_too() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.result("a", "a1", 1, met(100));
    assert_eq!(cell.state("a1"), ShardState::Confirming);
    cell.ordered();
    cell.inventory("a", vec![showing("a1", 101)]);
    let again = cell.ordered().remove(0).1;
    assert!(matches!(again.action, Action::Verify { .. }), "{again:?}");
    cell.assert_replays();
}

/// R1, R12: an operator who says that the deletion was intended takes what is shown; a verification of more is redone, one
/// of as many counts.
#[test]
fn settling_takes_what_is_shown() {
    for (of, redone) in [(100, true), (99, false)] {
        let mut cell = Cell::with_fleet(1, 1);
        cell.start(generous());
        cell.ask(Verb::Pause { campaign: campaign("return") }).unwrap();
        cell.result("a", "a1", 1, met(of));
        cell.inventory("a", vec![showing("a1", 99)]);
        assert!(cell.ask(Verb::Accept { selector: only("a1"), reason: "so be it".to_owned() }).is_err());
        cell.ask(settle("a1")).unwrap();
        assert_eq!((held(&cell, "a1"), known(&cell)), (None, 99));
        assert_eq!(cell.view("a1").shard.standing.is_none(), redone, "{of}");
        assert!(!cell.ask(settle("a1")).unwrap().changes, "there is nothing left to settle");
        cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
        cell.ordered();
        cell.pass(1);
        cell.inventory("a", vec![showing("a1", 99)]);
        assert_eq!(held(&cell, "a1"), None);
        cell.assert_replays();
    }
}

/// A decision about many claims says nothing of customers' mailboxes: those are settled by the name of their shard.
#[test]
fn missing_mailboxes_are_settled_by_name_only() {
    let mut cell = Cell::with_fleet(1, 2);
    cell.inventory("a", vec![showing("a1", 99), Claim { volume: volume_of("z"), ..claim("a2", "a") }]);
    let every = Verb::Settle { selector: all(), node: node("a"), reason: "that is the volume".to_owned() };
    let receipt = cell.ask(every.clone()).unwrap();
    assert_eq!((receipt.shards, receipt.skipped, receipt.by_name), (1, 1, 1));
    assert_eq!((receipt.claims_ended, receipt.volumes_changed, receipt.mailboxes_given_up), (0, 1, 0));
    assert_eq!((held(&cell, "a1"), held(&cell, "a2")), (Some(missing(100, 99)), None));
    let (a1, total) = (cell.view("a1").shard.shard, 1);
    let refused = Err(Refusal::ByNameOnly { node: node("a"), shards: vec![a1], total });
    assert_eq!(cell.ask(every), refused, "it is not so already");
    let receipt = cell.ask(settle("a1")).unwrap();
    assert!(receipt.changes);
    assert_eq!((receipt.claims_ended, receipt.volumes_changed, receipt.mailboxes_given_up), (0, 0, 1));
    assert_eq!(held(&cell, "a1"), None);
    cell.assert_replays();
}

/// Taking it into service is a person's word too: what is shown is known from there on.
#[test]
fn adopting_takes_what_is_shown() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.inventory("a", vec![showing("a1", 99)]);
    cell.ask(Verb::Adopt { selector: only("a1"), services: ServiceSet::ALL, reason: "it is".to_owned() })
        .unwrap();
    assert_eq!((cell.state("a1"), held(&cell, "a1"), known(&cell)), (ShardState::Open, None, 99));
    cell.assert_replays();
}

/// T24: a shard that is away, or of which another volume is mounted, is held for that first; when the right volume is back
/// with fewer mailboxes it is held for them without a step between.
#[test]
fn a_graver_cause_comes_first_and_leaves_this_one_behind() {
    let other = || vec![Claim { volume: volume_of("z"), ..showing("a1", 50) }];
    for away in [vec![], other()] {
        let mut cell = Cell::with_fleet(1, 1);
        cell.start(generous());
        cell.inventory("a", vec![showing("a1", 99)]);
        cell.inventory("a", away);
        let graver = held(&cell, "a1").unwrap();
        assert!(
            matches!(graver, HeldReason::ShardMissing { .. } | HeldReason::VolumeWrong { .. }),
            "{graver}"
        );
        let before = cell.journal.len();
        cell.inventory("a", vec![showing("a1", 99)]);
        assert_eq!((held(&cell, "a1"), known(&cell)), (Some(missing(100, 99)), 100));
        assert_eq!(cell.journal[before].decisions.len(), 1, "{:?}", cell.journal[before]);
        cell.assert_replays();
    }
}

/// T1: a node that falls silent, and one that is heard again, change nothing about what is missing there.
#[test]
fn silence_neither_covers_nor_ends_it() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    cell.inventory("a", vec![showing("a1", 99)]);
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    assert_eq!(held(&cell, "a1"), Some(missing(100, 99)));
    cell.connect("a", 1);
    assert_eq!(held(&cell, "a1"), Some(missing(100, 99)));
    cell.inventory("a", vec![showing("a1", 100)]);
    assert_eq!(held(&cell, "a1"), None);
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::NodeSilent { .. })));
    cell.inventory("a", vec![showing("a1", 99)]);
    assert_eq!(held(&cell, "a1"), Some(missing(100, 99)), "told before the session is");
    cell.inventory("a", vec![showing("a1", 100)]);
    cell.connect("a", 1);
    assert_eq!(held(&cell, "a1"), None);
    cell.assert_replays();
}

/// T28, R7: of a contested shard nothing is measured; when the other claim is gone, a verification that met fewer before
/// opens nothing, and is done again.
#[test]
fn a_contested_shard_is_measured_when_it_is_settled() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    let own = || claim("b1", "b");
    cell.inventory("b", vec![own(), Claim { volume: volume_of("z"), ..claim("a1", "a") }]);
    cell.inventory("a", vec![showing("a1", 99)]);
    cell.result("a", "a1", 1, met(99));
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Contested { .. })));
    assert_eq!(known(&cell), 100);
    cell.ordered();
    cell.inventory("b", vec![own()]);
    assert_eq!(held(&cell, "a1"), None);
    let again = cell.ordered().into_iter().find(|(on, _)| *on == node("a")).unwrap().1;
    assert!(matches!(again.action, Action::Verify { .. }), "{again:?}");
    cell.result("a", "a1", again.attempt.raw(), met(99));
    assert_eq!(held(&cell, "a1"), Some(missing(100, 99)));
    cell.assert_replays();
}

/// T28: a volume that is mounted elsewhere is measured where it shows.
#[test]
fn a_shard_that_moves_is_measured_where_it_shows() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.inventory("a", vec![]);
    cell.inventory("b", vec![claim("b1", "b"), showing("a1", 98)]);
    assert_eq!(cell.view("a1").shard.placement.node, node("b"));
    assert_eq!((held(&cell, "a1"), known(&cell)), (Some(missing(100, 98)), 100));
    cell.assert_replays();
}

/// T29: whether a shard is open is asked before how many mailboxes it has; what a node serves is not closed.
#[test]
fn a_disagreement_comes_first() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.inventory("a", vec![showing("a1", 99)]);
    cell.disconnect("a");
    let origin = Origin::Restored { above: None };
    cell.run(Event::Lead { epoch: Epoch::from_raw(9), origin });
    cell.connect_with("a", 1, vec![], vec![(shard("a1"), ServiceSet::ALL)]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Disagreement { .. })));
    cell.inventory("a", vec![Claim { services: ServiceSet::ALL, ..showing("a1", 97) }]);
    assert_eq!(known(&cell), 97, "its customers are at work in it");
    cell.ask(Verb::Close { selector: only("a1"), reason: "to be sure".to_owned() }).unwrap();
    cell.seen("a", "a1", ServiceSet::NONE);
    cell.inventory("a", vec![showing("a1", 96)]);
    assert_eq!(held(&cell, "a1"), Some(missing(97, 96)));
    cell.assert_replays();
}

/// T29: a closed shard of a restored journal that had it open is judged as every closed one once a person has decided: what the
/// journal had seen of its services is of another time.
#[test]
fn a_disagreement_that_is_over_leaves_a_closed_shard() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.disconnect("a");
    cell.run(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } });
    cell.connect_with("a", 1, vec![], vec![(shard("a1"), ServiceSet::NONE)]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Disagreement { .. })));
    cell.ask(Verb::Close { selector: only("a1"), reason: "it is".to_owned() }).unwrap();
    assert_eq!(cell.view("a1").shard.seen, ServiceSet::NONE);
    cell.inventory("a", vec![showing("a1", 99)]);
    assert_eq!((held(&cell, "a1"), known(&cell)), (Some(missing(100, 99)), 100));
    cell.assert_replays();
}

/// R1: of what was settled in the place of something else nobody has read anything yet.
#[test]
fn what_is_settled_in_the_place_of_another_is_verified() {
    let mut cell = Cell::with_fleet(2, 1);
    let mut plan = generous();
    plan.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Rest]);
    plan.classes = vec![Class { weight: 9, covers: Coverage::Shards(vec![shard("b1")]) }];
    cell.start(plan);
    cell.result("a", "a1", 1, verified(Outcome::Clean, "a"));
    assert_eq!(cell.state("a1"), ShardState::Verified);
    unlisted(&mut cell, 1);
    cell.ordered();
    cell.ask(settle("a1")).unwrap();
    assert_eq!((cell.state("a1"), cell.ordered().len()), (ShardState::Verifying, 1));
    cell.assert_replays();
}

fn unlisted(cell: &mut Cell, mailboxes: u64) {
    let incarnation = NodeIncarnation::from_raw(1);
    cell.run(Event::Unlisted { node: node("a"), incarnation, shard: shard("a1"), unlisted: mailboxes });
}

/// R7: one that vanished and another that appeared leave the count as it was: the list holds the shard, and counts alone do
/// not release it.
#[test]
fn others_in_the_same_number_hold_it_until_the_list_is_whole() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    unlisted(&mut cell, 1);
    let lacks = |known, shown, unlisted| Some(HeldReason::MailboxesMissing { known, shown, unlisted });
    assert_eq!((held(&cell, "a1"), cell.state("a1")), (lacks(100, 100, 1), ShardState::Held));
    cell.inventory("a", vec![showing("a1", 100)]);
    assert_eq!(held(&cell, "a1"), lacks(100, 100, 1));
    cell.inventory("a", vec![showing("a1", 101)]);
    assert_eq!(held(&cell, "a1"), lacks(101, 101, 1));
    cell.inventory("a", vec![showing("a1", 99)]);
    unlisted(&mut cell, 0);
    assert_eq!(held(&cell, "a1"), lacks(101, 99, 0), "the counts have their say");
    unlisted(&mut cell, 2);
    cell.inventory("a", vec![showing("a1", 101)]);
    assert_eq!(held(&cell, "a1"), lacks(101, 101, 2));
    unlisted(&mut cell, 0);
    assert_eq!(held(&cell, "a1"), None);
    cell.assert_replays();
}

/// R12: what is settled is settled for the list too.
#[test]
fn settling_ends_what_the_list_lacks() {
    let mut cell = Cell::with_fleet(1, 1);
    unlisted(&mut cell, 1);
    cell.ask(settle("a1")).unwrap();
    cell.inventory("a", vec![showing("a1", 100)]);
    assert_eq!((held(&cell, "a1"), known(&cell)), (None, 100));
    cell.assert_replays();
}

/// A list judges nothing that is in service, away or in question, and nothing on another node.
#[test]
fn a_list_judges_only_what_is_closed_and_there() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.inventory("a", vec![]);
    unlisted(&mut cell, 1);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::ShardMissing { .. })));
    unlisted(&mut cell, 0);
    cell.inventory("a", vec![showing("a1", 100)]);
    let incarnation = NodeIncarnation::from_raw(1);
    cell.run(Event::Unlisted { node: node("b"), incarnation, shard: shard("a1"), unlisted: 1 });
    assert_eq!(held(&cell, "a1"), None);
    cell.ask(Verb::Adopt { selector: only("a1"), services: ServiceSet::ALL, reason: "it is".to_owned() })
        .unwrap();
    unlisted(&mut cell, 1);
    assert_eq!(held(&cell, "a1"), None);
    cell.assert_replays();
}

/// R7: what its list lacks is kept beside what is graver, and holds the shard again in the step that ends that, as long as no
/// list and no person has ended it.
#[test]
fn a_graver_cause_settles_nothing_that_the_list_lacks() {
    let own = || claim("b1", "b");
    let copy = || Claim { volume: volume_of("z"), ..claim("a1", "b") };
    let everything = || Verb::Settle { selector: all(), node: node("a"), reason: "that one".to_owned() };
    let causes: [(Lead<'_>, Lead<'_>); 5] = [
        (&|cell| cell.inventory("a", vec![]), &|_| ()),
        (&|cell| cell.inventory("a", vec![Claim { volume: volume_of("z"), ..showing("a1", 100) }]), &|_| ()),
        (&|cell| cell.inventory("b", vec![own(), copy()]), &|cell| cell.inventory("b", vec![own()])),
        (&|cell| cell.inventory("b", vec![own(), copy()]), &|cell| _ = cell.ask(everything()).unwrap()),
        (&|cell| cell.inventory("b", vec![own(), copy()]), &|cell| _ = cell.ask(settle("a1")).unwrap()),
    ];
    let lacks = Some(HeldReason::MailboxesMissing { known: 100, shown: 100, unlisted: 1 });
    for (begin, end) in causes {
        let mut cell = Cell::with_fleet(2, 1);
        cell.start(generous());
        unlisted(&mut cell, 1);
        assert_eq!(held(&cell, "a1"), lacks);
        begin(&mut cell);
        assert!(held(&cell, "a1").is_some() && held(&cell, "a1") != lacks);
        assert_eq!(cell.view("a1").shard.unlisted, 1);
        end(&mut cell);
        cell.inventory("a", vec![showing("a1", 100)]);
        assert_eq!(held(&cell, "a1"), lacks);
        cell.play();
        assert_eq!(cell.view("a1").shard.services, ServiceSet::NONE);
        cell.assert_replays();
        assert_eq!(cell.ask(settle("a1")).unwrap().mailboxes_given_up, 1);
        assert_eq!((held(&cell, "a1"), cell.view("a1").shard.unlisted), (None, 0));
        cell.inventory("a", vec![showing("a1", 100)]);
        assert_eq!(held(&cell, "a1"), None);
        cell.assert_replays();
    }
}

/// R7: what a list lacks for the first time while something graver holds the shard holds it in the step that ends that: the
/// list is not told again, and nobody has settled what it lacks. A list that is whole again ends it before.
#[test]
fn what_a_list_first_lacks_beside_a_graver_cause_is_kept() {
    let own = || claim("b1", "b");
    let copy = || Claim { volume: volume_of("z"), ..claim("a1", "b") };
    let gone = || TaskEnd::Failed(TaskFailure::ShardMissing);
    let causes: [(Lead<'_>, Lead<'_>); 4] = [
        (&|cell| cell.inventory("a", vec![Claim { volume: volume_of("z"), ..showing("a1", 100) }]), &|_| ()),
        // Between an inventory and its lists a try ends without the shard.
        (&|cell| cell.result("a", "a1", 1, gone()), &|_| ()),
        (&|cell| cell.inventory("b", vec![own(), copy()]), &|cell| cell.inventory("b", vec![own()])),
        (&|cell| cell.inventory("b", vec![own(), copy()]), &|cell| _ = cell.ask(settle("a1")).unwrap()),
    ];
    let lacks = |unlisted| Some(HeldReason::MailboxesMissing { known: 100, shown: 100, unlisted });
    for (begin, end) in causes {
        for (told, kept) in [(vec![1], 1), (vec![3, 3, 2], 2), (vec![2, 0], 0)] {
            let mut cell = Cell::with_fleet(2, 1);
            cell.start(generous());
            begin(&mut cell);
            let graver = held(&cell, "a1");
            assert!(graver.is_some());
            told.iter().for_each(|mailboxes| unlisted(&mut cell, *mailboxes));
            assert_eq!((held(&cell, "a1"), cell.view("a1").shard.unlisted), (graver, kept));
            end(&mut cell);
            cell.inventory("a", vec![showing("a1", 100)]);
            assert_eq!(held(&cell, "a1"), if kept > 0 { lacks(kept) } else { None });
            cell.assert_replays();
            unlisted(&mut cell, 0);
            assert_eq!(held(&cell, "a1"), None);
            cell.assert_replays();
        }
    }
}

/// R7: a contest that is settled in favour of another volume settles nothing of what was missing; the list of that one tells.
#[test]
fn what_is_missing_goes_with_a_shard_that_moves() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(generous());
    unlisted(&mut cell, 2);
    cell.inventory("b", vec![claim("b1", "b"), Claim { volume: volume_of("z"), ..claim("a1", "b") }]);
    let there = Verb::Settle { selector: all(), node: node("b"), reason: "it is there".to_owned() };
    assert_eq!(cell.ask(there).unwrap().mailboxes_given_up, 0);
    let lacks = HeldReason::MailboxesMissing { known: 100, shown: 100, unlisted: 2 };
    assert_eq!((held(&cell, "a1"), cell.view("a1").shard.placement.node), (Some(lacks), node("b")));
    let (incarnation, shard) = (NodeIncarnation::from_raw(1), shard("a1"));
    cell.run(Event::Unlisted { node: node("b"), incarnation, shard, unlisted: 0 });
    assert_eq!((held(&cell, "a1"), cell.view("a1").shard.unlisted), (None, 0));
    cell.assert_replays();
}

/// R6, R7: a volume that is mounted on another node takes along what its list lacks, since when, and who answered for that.
#[test]
fn what_a_list_lacks_is_no_younger_after_a_move() {
    let mut cell = Cell::with_fleet(2, 1);
    cell.start(plan("return"));
    unlisted(&mut cell, 2);
    cell.ask(Verb::Resume { campaign: campaign("return") }).unwrap();
    let hold = cell.view("a1").shard.blocked.unwrap();
    cell.disconnect("a");
    cell.pass_with(61, &["b"]);
    cell.inventory("b", vec![claim("b1", "b"), Claim { volume: volume_of("a"), ..claim("a1", "b") }]);
    let moved = cell.view("a1").shard;
    assert_eq!((moved.placement.node, moved.blocked), (node("b"), Some(hold)));
    assert_eq!(cell.campaign("return").state, CampaignState::Running);
    cell.assert_replays();
}

/// A shard whose list lacks a mailbox, and whose node serves it while a restored journal says that it is closed.
fn lacking_and_disagreed() -> Cell {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    unlisted(&mut cell, 1);
    cell.disconnect("a");
    cell.run(Event::Lead { epoch: Epoch::from_raw(9), origin: Origin::Restored { above: None } });
    cell.connect_with("a", 1, vec![], vec![(shard("a1"), ServiceSet::ALL)]);
    cell.inventory("a", vec![Claim { services: ServiceSet::ALL, ..showing("a1", 100) }]);
    assert!(matches!(held(&cell, "a1"), Some(HeldReason::Disagreement { .. })));
    cell
}

/// T29, R7: who decides that a shard is closed decides nothing of what it lacks; it counts once its node has closed it.
#[test]
fn a_disagreement_settles_nothing_that_the_list_lacks() {
    let mut cell = lacking_and_disagreed();
    cell.ask(Verb::Close { selector: only("a1"), reason: "to be sure".to_owned() }).unwrap();
    assert_eq!(held(&cell, "a1"), None, "its customers are at work in it");
    cell.seen("a", "a1", ServiceSet::NONE);
    let lacks = HeldReason::MailboxesMissing { known: 100, shown: 100, unlisted: 1 };
    assert_eq!(held(&cell, "a1"), Some(lacks));
    cell.assert_replays();
}

/// R7: who adopts a shard takes it as the node shows it, whatever covers what its list lacked.
#[test]
fn what_a_list_lacked_is_settled_by_an_adoption() {
    let mut cell = lacking_and_disagreed();
    let reason = || "it answers".to_owned();
    cell.ask(Verb::Adopt { selector: only("a1"), services: ServiceSet::ALL, reason: reason() }).unwrap();
    assert_eq!((cell.state("a1"), cell.view("a1").shard.unlisted), (ShardState::Open, 0));
    cell.ask(Verb::Close { selector: only("a1"), reason: reason() }).unwrap();
    cell.seen("a", "a1", ServiceSet::NONE);
    assert_eq!((cell.state("a1"), held(&cell, "a1")), (ShardState::Closed, None));
    cell.assert_replays();
}

/// A verification that found damage in so many mailboxes.
fn damaged(mailboxes: u64) -> TaskEnd {
    let mut verification = verification(Outcome::Damaged, "a");
    verification.verdict.tally.mailboxes = mailboxes;
    TaskEnd::Verified { verification, damaged: Vec::new() }
}

fn accept(selector: Selector) -> Verb {
    Verb::Accept { selector, reason: "one bad message".to_owned() }
}

/// R1, R7: who accepts damage says nothing of the mailboxes that were not met: they hold the shard beside it, and are settled
/// by its name before the damage can be accepted.
#[test]
fn accepting_damage_accepts_no_missing_mailboxes() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.result("a", "a1", 1, damaged(50));
    assert_eq!((held(&cell, "a1"), cell.state("a1")), (Some(missing(100, 50)), ShardState::Held));
    for selector in [all(), only("a1")] {
        assert!(cell.ask(accept(selector)).is_err());
    }
    assert_eq!(cell.ask(settle("a1")).unwrap().mailboxes_given_up, 50);
    assert_eq!((held(&cell, "a1"), known(&cell), cell.state("a1")), (None, 50, ShardState::Held));
    cell.ordered();
    cell.ask(accept(only("a1"))).unwrap();
    cell.play();
    assert_eq!(cell.state("a1"), ShardState::Open);
    cell.assert_replays();
}

/// R7: mailboxes that are back were not verified: what was found in the others cannot be accepted for them.
#[test]
fn what_was_found_in_some_is_not_accepted_for_all() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    cell.result("a", "a1", 1, damaged(50));
    cell.inventory("a", vec![showing("a1", 100)]);
    assert_eq!((held(&cell, "a1"), cell.state("a1")), (None, ShardState::Held));
    assert!(cell.ask(accept(all())).is_err());
    cell.ordered();
    cell.ask(Verb::Retry { selector: only("a1") }).unwrap();
    let again = cell.ordered().remove(0).1;
    assert!(matches!(again.action, Action::Verify { .. }), "{again:?}");
    cell.result("a", "a1", again.attempt.raw(), damaged(100));
    cell.ask(accept(only("a1"))).unwrap();
    assert_eq!(cell.state("a1"), ShardState::Confirming);
    cell.ordered();
    cell.inventory("a", vec![showing("a1", 101)]);
    assert_eq!(cell.view("a1").shard.accepted, None, "one more is there than was accepted");
    let again = cell.ordered().remove(0).1;
    assert!(matches!(again.action, Action::Verify { .. }), "{again:?}");
    cell.assert_replays();
}

/// A verification that broke off tells nothing of how many mailboxes there are; the inventory does.
#[test]
fn a_verification_that_broke_off_counts_nothing() {
    let mut cell = Cell::with_fleet(1, 1);
    cell.start(generous());
    let mut verification = verification(Outcome::Unknown(UnknownCause::Incomplete), "a");
    verification.verdict.tally.mailboxes = 10;
    cell.result("a", "a1", 1, TaskEnd::Verified { verification, damaged: Vec::new() });
    assert_eq!((held(&cell, "a1"), cell.state("a1")), (None, ShardState::Held));
    cell.ask(accept(only("a1"))).unwrap();
    assert_eq!(cell.state("a1"), ShardState::Confirming);
    cell.assert_replays();
}
