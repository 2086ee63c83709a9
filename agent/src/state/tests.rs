//! What the state directory holds after everything that may happen to it: restarts, torn files, orders of other lives.

use std::os::unix::fs::MetadataExt;

use rientro_types::{
    AttemptNo, CellId, Digest, Epoch, Incarnation, Level, MAILBOXES_PER_SHARD_MAX, MailboxId, Order, Outcome,
    Ppm, Seq, Service, Tally, TaskEnd, TaskFailure, TaskKind, Verdict, Verification, VolumeId, Witness,
};
use rientro_wire::session::RunningTask;

use super::*;

fn shard(number: usize) -> ShardId {
    ShardId::new(&format!("s{number}")).unwrap()
}

fn order(seq: u64) -> Order {
    Order {
        cell: CellId::new("cell").unwrap(),
        incarnation: Incarnation::from_raw(1),
        epoch: Epoch::from_raw(1),
        seq: Seq::from_raw(seq),
    }
}

fn witness(seq: u64) -> Witness {
    Witness { order: order(seq), entry: Digest::of(&seq.to_le_bytes()) }
}

fn no(number: u32) -> AttemptNo {
    AttemptNo::from_raw(number)
}

fn begun(shard: ShardId, number: u32) -> Fact {
    let task = RunningTask { shard, attempt: no(number), kind: TaskKind::Verify };
    Fact::Begun { order: order(u64::from(number)), task }
}

/// The largest end of a task there can be.
fn largest_end() -> TaskEnd {
    let (count, mailboxes) = (u64::MAX, MAILBOXES_PER_SHARD_MAX as u64);
    let tally = Tally {
        mailboxes,
        messages: count,
        bytes: count,
        messages_damaged: count,
        messages_unreadable: count,
        mailboxes_damaged: mailboxes,
        mailboxes_broken: mailboxes,
        mailboxes_unreadable: mailboxes,
        findings: count,
        kinds: rientro_types::FindingKind::ALL.iter().fold(
            rientro_types::FindingKinds::NONE,
            |mut all, kind| {
                all.insert(*kind);
                all
            },
        ),
    };
    let verdict = Verdict { outcome: Outcome::Damaged, level: Level::Structure, coverage: Ppm::ONE, tally };
    let digest = Digest::from_raw([9; 32]);
    let volume = VolumeId::new(&"v".repeat(47)).unwrap();
    let verification = Verification { verdict, stat_walk: digest, findings: digest, volume };
    TaskEnd::Verified { verification, damaged: vec![MailboxId::from_raw([1; 16]); 64] }
}

fn facts() -> Vec<Fact> {
    let services = ServiceSet::NONE.with(Service::Imap);
    vec![
        Fact::Fence(order(0)),
        begun(shard(1), 1),
        Fact::Ended { shard: shard(1), attempt: no(1), end: largest_end() },
        begun(shard(1), 2),
        Fact::Settled { shard: shard(1), attempt: no(1) },
        Fact::Services { shard: shard(2), services, order: order(7) },
        Fact::Obeyed(witness(7)),
        begun(shard(3), 4),
        Fact::Ended { shard: shard(3), attempt: no(4), end: TaskEnd::Failed(TaskFailure::ShardMissing) },
    ]
}

/// R5: what a greeting tells is the life and term met last, and the highest record of that life, whatever term it is of.
#[test]
fn the_newest_met_counts_records_of_the_present_life_only() {
    let mut state = Facts::default();
    assert_eq!(state.newest_met(), None);
    facts().iter().for_each(|fact| state.apply(fact));
    assert_eq!(state.newest_met(), Some(order(7)));
    let later = Order { epoch: Epoch::from_raw(2), ..order(0) };
    state.apply(&Fact::Fence(later));
    assert_eq!(state.newest_met(), Some(Order { seq: order(7).seq, ..later }));
    state.apply(&Fact::Obeyed(witness(3)));
    assert_eq!(state.witness(), Some(witness(7)), "an older one that was written late changes nothing");
    let reborn = Order { incarnation: Incarnation::from_raw(2), ..later };
    state.apply(&Fact::Fence(reborn));
    assert_eq!((state.newest_met(), state.witness()), (Some(reborn), None));
}

/// R5: whatever is written late, the life and term met last stay, and with them the results of that life.
#[test]
fn a_fence_never_goes_back() {
    let fence = |incarnation, epoch| Order {
        incarnation: Incarnation::from_raw(incarnation),
        epoch: Epoch::from_raw(epoch),
        ..order(0)
    };
    let ended = Fact::Ended { shard: shard(1), attempt: no(1), end: TaskEnd::Confirmed };
    let mut state = Facts::default();
    [Fact::Fence(fence(2, 6)), ended].iter().for_each(|fact| state.apply(fact));
    let held = state.clone();
    for late in [fence(2, 5), fence(1, 9), fence(2, 6)] {
        state.apply(&Fact::Fence(late));
        assert_eq!(state, held, "{late:?}");
    }
}

/// R5: each fact that comes of an order says that its life and term were met; results of that life outlive a late fence of it.
#[test]
fn a_fact_of_an_order_is_a_fence_too() {
    let reborn =
        |seq| Order { incarnation: Incarnation::from_raw(2), epoch: Epoch::from_raw(3), ..order(seq) };
    let task = RunningTask { shard: shard(1), attempt: no(1), kind: TaskKind::Verify };
    let order = reborn(4);
    for fact in [
        Fact::Begun { order, task },
        Fact::Services { shard: shard(1), services: ServiceSet::ALL, order },
        Fact::Obeyed(Witness { order, ..witness(4) }),
    ] {
        let mut state = Facts::default();
        facts().iter().for_each(|fact| state.apply(fact));
        state.apply(&fact);
        assert_eq!(state.fence, Some(reborn(0)), "{fact:?}");
        assert_eq!(state.outbox().count(), 0, "results of the life before are void");
        state.apply(&Fact::Ended { shard: shard(1), attempt: no(1), end: TaskEnd::Confirmed });
        state.apply(&Fact::Fence(reborn(0)));
        assert_eq!(state.outbox().count(), 1);
    }
}

/// R4: after a power cut at any byte of any write, what was durable is there, and what was being written is there or not.
#[test]
fn a_ledger_cut_at_any_byte_has_all_that_was_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (mut ledger, mut state, _) = Ledger::open(&path).unwrap();
    let mut whole = vec![(fs::metadata(&path).unwrap().len(), state.clone())];
    for fact in facts() {
        ledger.append(std::slice::from_ref(&fact)).unwrap();
        state.apply(&fact);
        whole.push((fs::metadata(&path).unwrap().len(), state.clone()));
    }
    let bytes = fs::read(&path).unwrap();
    for cut in usize::try_from(whole[0].0).unwrap()..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let (_, read, recovered) = Ledger::open(&path).unwrap();
        let (end, expected) = whole.iter().rev().find(|(end, _)| *end <= cut as u64).unwrap();
        assert_eq!((&read, recovered.torn_bytes), (expected, cut as u64 - end), "cut at {cut}");
    }
}

/// Damage to what had been durable is never passed over.
#[test]
fn a_flipped_bit_is_a_torn_end_or_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (mut ledger, _, _) = Ledger::open(&path).unwrap();
    let header = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    for fact in facts() {
        ledger.append(&[fact]).unwrap();
    }
    let bytes = fs::read(&path).unwrap();
    let last = bytes.windows(4).rposition(|window| window == &bytes[header..header + 4]).unwrap();
    for at in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[at] ^= 1;
        fs::write(&path, &broken).unwrap();
        match Ledger::open(&path) {
            Err(LedgerError::Foreign { .. }) => assert!(at < header),
            Err(LedgerError::Damaged { .. }) => assert!((header..last).contains(&at), "flip at {at}"),
            Ok((_, _, recovered)) => assert!(at >= last && recovered.torn_bytes > 0, "flip at {at}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_rewritten_ledger_says_the_same_in_less() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (mut ledger, mut state, _) = Ledger::open(&path).unwrap();
    let mut number = 0;
    while !ledger.wants_rewrite() {
        number += 1;
        for fact in [
            begun(shard(1), number),
            Fact::Ended { shard: shard(1), attempt: no(number), end: largest_end() },
        ] {
            ledger.append(std::slice::from_ref(&fact)).unwrap();
            state.apply(&fact);
        }
        if number > 1 {
            let fact = Fact::Settled { shard: shard(1), attempt: no(number - 1) };
            ledger.append(std::slice::from_ref(&fact)).unwrap();
            state.apply(&fact);
        }
    }
    facts().iter().for_each(|fact| {
        ledger.append(std::slice::from_ref(fact)).unwrap();
        state.apply(fact);
    });
    ledger.rewrite(&state, 0).unwrap();
    let more = Fact::Services { shard: shard(9), services: ServiceSet::ALL, order: order(99) };
    ledger.append(std::slice::from_ref(&more)).unwrap();
    state.apply(&more);
    drop(ledger);
    assert!(fs::metadata(&path).unwrap().len() < 16 << 10);
    assert_eq!(Ledger::open(&path).unwrap().1, state);
}

/// What earlier runs of the agent wrote is history too: one that is started again every day keeps its ledger short.
#[test]
fn a_ledger_that_is_opened_again_and_again_stays_short() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let mut rewritten = 0;
    for day in 0..8 {
        let (mut ledger, mut state, _) = Ledger::open(&path).unwrap();
        for at in 1..=200 {
            let number = day * 200 + at;
            let ended = Fact::Ended { shard: shard(1), attempt: no(number), end: largest_end() };
            let settled = Fact::Settled { shard: shard(1), attempt: no(number) };
            let write = [begun(shard(1), number), ended, settled];
            ledger.append(&write).unwrap();
            write.iter().for_each(|fact| state.apply(fact));
            if ledger.wants_rewrite() {
                ledger.rewrite(&state, 0).unwrap();
                rewritten += 1;
            }
        }
        drop(ledger);
        assert_eq!(Ledger::open(&path).unwrap().1, state);
        // One write longer than what is not worth rewriting.
        let len = fs::metadata(&path).unwrap().len();
        assert!(len < (1 << 20) + (4 << 10), "day {day}: {len} bytes");
    }
    assert!((1..4).contains(&rewritten), "{rewritten} times");
}

/// A ledger that cannot be rewritten goes on as it is, and is not written out again after every write.
#[test]
fn a_ledger_that_cannot_be_rewritten_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (mut ledger, mut state, _) = Ledger::open(&path).unwrap();
    fs::create_dir(durable::temporary(&path)).unwrap();
    let (mut number, mut tried) = (0, 0);
    while fs::metadata(&path).unwrap().len() < 5 << 20 {
        number += 1;
        let ended = Fact::Ended { shard: shard(1), attempt: no(number), end: largest_end() };
        let write = [begun(shard(1), number), ended, Fact::Settled { shard: shard(1), attempt: no(number) }];
        ledger.append(&write).unwrap();
        write.iter().for_each(|fact| state.apply(fact));
        if ledger.wants_rewrite() {
            assert!(matches!(ledger.rewrite(&state, 1), Err(AppendError::Refused(_))));
            tried += 1;
        }
    }
    assert_eq!(tried, 4, "once for each MiB");
    drop(ledger);
    assert_eq!(Ledger::open(&path).unwrap().1, state);
}

/// A file that takes the ledger's place has the space that open tries are promised.
#[test]
fn a_rewritten_ledger_keeps_space_for_results() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let (mut ledger, mut state, _) = Ledger::open(&path).unwrap();
    ledger.reserve(64).unwrap();
    let held = || fs::metadata(&path).unwrap().blocks() * 512;
    assert!(held() >= (64 * RESULT_BYTES_MAX) as u64);
    let fact = begun(shard(1), 1);
    ledger.append(std::slice::from_ref(&fact)).unwrap();
    state.apply(&fact);
    ledger.rewrite(&state, 16).unwrap();
    assert!(held() >= (16 * RESULT_BYTES_MAX) as u64, "{} bytes", held());
    let ended = Fact::Ended { shard: shard(1), attempt: no(1), end: largest_end() };
    ledger.append(std::slice::from_ref(&ended)).unwrap();
    state.apply(&ended);
    drop(ledger);
    assert_eq!(Ledger::open(&path).unwrap().1, state);
}

#[test]
fn reserved_space_holds_the_largest_result() {
    let mut bytes = Vec::new();
    let shard = ShardId::new(&"s".repeat(47)).unwrap();
    Fact::Ended { shard, attempt: no(u32::MAX), end: largest_end() }.encode(&mut bytes);
    assert!(bytes.len() + 64 < RESULT_BYTES_MAX, "{} of {RESULT_BYTES_MAX}", bytes.len());
    let problem = "p".repeat(256);
    bytes.clear();
    Fact::Ended { shard, attempt: no(1), end: TaskEnd::Failed(TaskFailure::Agent { problem }) }
        .encode(&mut bytes);
    assert!(bytes.len() + 64 < RESULT_BYTES_MAX);
}

#[test]
fn a_directory_has_one_life_and_one_agent() {
    let dir = tempfile::tempdir().unwrap();
    let (first, mut ledger, _) = StateDir::open(dir.path()).unwrap();
    let life = first.incarnation;
    assert!(matches!(StateDir::open(dir.path()), Err(StateError::Locked { .. })));
    ledger.append(&facts()).unwrap();
    drop((first, ledger));
    let (second, _, facts) = StateDir::open(dir.path()).unwrap();
    assert_eq!(second.incarnation, life);
    assert_eq!(facts.shards[&shard(1)].outbox[&no(2)], TaskEnd::Failed(TaskFailure::Interrupted));
    assert_eq!(fs::read_to_string(dir.path().join("services/s2")).unwrap(), "imap\n");
    drop(second);
    fs::write(dir.path().join("incarnation"), "nonsense").unwrap();
    assert!(matches!(StateDir::open(dir.path()), Err(StateError::Incarnation { .. })));
}
