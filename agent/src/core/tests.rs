//! Given a state and an input: exactly these effects.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; anything else fails it")]

use rientro_types::{
    Action, ByteSize, CellId, Epoch, Incarnation, Level, Seq, Service, Span, TaskFailure, VolumeId, Witness,
};

use super::*;

use std::collections::VecDeque;

fn order_of(incarnation: u32, epoch: u64, seq: u64) -> Order {
    Order {
        cell: CellId::new("cell").unwrap(),
        incarnation: Incarnation::from_raw(incarnation),
        epoch: Epoch::from_raw(epoch),
        seq: Seq::from_raw(seq),
    }
}

fn order(seq: u64) -> Order {
    order_of(1, 1, seq)
}

fn welcome(order: Order) -> Input {
    Input::Connected(Box::new(Welcome {
        cell: order.cell,
        incarnation: order.incarnation,
        epoch: order.epoch,
        heartbeat: Span::from_secs(1),
        silence: Span::from_secs(5),
        mailbox_key: [7; 32],
        session_bytes_max: 0,
        bulk_bytes_max: 0,
        inventory_known: true,
    }))
}

fn shard() -> ShardId {
    ShardId::new("s1").unwrap()
}

fn no(number: u32) -> AttemptNo {
    AttemptNo::from_raw(number)
}

fn task(number: u32) -> Task {
    Task {
        shard: shard(),
        attempt: no(number),
        campaign: CampaignId::new("c").unwrap(),
        volume: VolumeId::new("v").unwrap(),
        action: Action::Verify { level: Level::Structure },
        pace: Pace { bytes_per_second: ByteSize::from_bytes(0), readers: 1 },
    }
}

fn start(order: Order, number: u32) -> Input {
    Input::Said(OrchestratorMessage::StartTask { order, task: task(number), entry: None })
}

/// Hands an input in, and writes what is to be written, as a disk that is never full.
fn settle(core: &mut Core, input: Input) -> Vec<Effect> {
    let mut done = Vec::new();
    let mut inputs = VecDeque::from([input]);
    while let Some(input) = inputs.pop_front() {
        for effect in core.step(input) {
            match effect {
                Effect::Write(fact) => inputs.push_back(Input::Written(vec![fact])),
                other => done.push(other),
            }
        }
    }
    done
}

fn connected() -> Core {
    let mut core = Core::default();
    let effects = settle(&mut core, welcome(order(0)));
    assert_eq!(effects, []);
    core
}

fn run_of(effects: &[Effect]) -> RunNo {
    match effects {
        [Effect::Begin { run, .. }] => *run,
        other => panic!("{other:?}"),
    }
}

fn result(number: u32, end: TaskEnd) -> Effect {
    Effect::Send(AgentMessage::TaskResult { shard: shard(), attempt: no(number), end })
}

fn stopped(number: u32) -> Effect {
    Effect::Send(AgentMessage::TaskStopped { shard: shard(), attempt: no(number) })
}

/// R5: what a leader could act on is told once its term is durable here, so that no older one is listened to after a crash.
#[test]
fn no_result_is_told_before_the_fence_is_durable() {
    let mut facts = Facts::default();
    facts.apply(&Fact::Ended { shard: shard(), attempt: no(1), end: TaskEnd::Confirmed });
    let mut core = Core::new(facts);
    let effects = core.step(welcome(order(0)));
    assert_eq!(effects, [Effect::Write(Fact::Fence(order(0)))]);
    let effects = core.step(Input::Written(vec![Fact::Fence(order(0))]));
    assert_eq!(effects, [result(1, TaskEnd::Confirmed)]);
}

/// A session begins with what runs and what is served, in pages that fit.
#[test]
fn the_greeting_tells_all_in_pages() {
    let mut facts = Facts::default();
    for number in 0..1_000 {
        let shard = ShardId::new(&format!("s{number}")).unwrap();
        facts.apply(&Fact::Services { shard, services: ServiceSet::ALL, order: order(1) });
    }
    let pages: Vec<_> = Core::new(facts)
        .greeting()
        .into_iter()
        .map(|message| match message {
            AgentMessage::Served(page) => page.len(),
            AgentMessage::HelloDone => 0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pages, [SESSION_PAGE_MAX, 1_000 - SESSION_PAGE_MAX, 0]);
}

/// T9, R4: a try begins once it is durable, runs once, and its result is told until it is acknowledged.
#[test]
fn a_try_runs_once_and_its_result_is_kept() {
    let mut core = connected();
    let effects = core.step(start(order(1), 1));
    let [Effect::Write(begun @ Fact::Begun { .. })] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(core.step(start(order(1), 1)), []);
    let run = run_of(&core.step(Input::Written(vec![begun.clone()])));
    assert_eq!(core.step(start(order(2), 1)), []);
    assert_eq!(settle(&mut core, Input::Ended(run, TaskEnd::Confirmed)), [result(1, TaskEnd::Confirmed)]);
    assert_eq!(settle(&mut core, start(order(3), 1)), [result(1, TaskEnd::Confirmed)]);

    settle(&mut core, Input::Disconnected);
    let effects = settle(&mut core, welcome(order(0)));
    assert_eq!(effects, [result(1, TaskEnd::Confirmed)]);

    let acknowledge = OrchestratorMessage::Acknowledge { shard: shard(), attempt: no(1) };
    assert_eq!(settle(&mut core, Input::Said(acknowledge)), []);
    assert_eq!(settle(&mut core, start(order(4), 1)), [stopped(1)]);
    run_of(&settle(&mut core, start(order(5), 2)));
}

/// T29: a restored cell counts from its backup; a number that was used before the restore is another try, and results of
/// earlier lives are void.
#[test]
fn a_new_life_of_the_cell_starts_over() {
    let mut core = connected();
    let run = run_of(&settle(&mut core, start(order(1), 5)));
    settle(&mut core, Input::Ended(run, TaskEnd::Confirmed));
    let late = run_of(&settle(&mut core, start(order(2), 6)));
    settle(&mut core, Input::Disconnected);
    let effects = settle(&mut core, welcome(order_of(2, 1, 0)));
    assert_eq!(effects, [Effect::Cancel(late), stopped(6)]);
    let run = run_of(&settle(&mut core, start(order_of(2, 1, 1), 5)));
    assert_eq!(settle(&mut core, Input::Ended(late, TaskEnd::Confirmed)), []);
    let end = TaskEnd::Failed(TaskFailure::Changed);
    assert_eq!(settle(&mut core, Input::Ended(run, end.clone())), [result(5, end)]);
    assert_eq!(settle(&mut core, start(order(9), 9)), []);
    assert_eq!(core.refused()[&Refusal::PastTerm], 1);
}

/// R5, T7: a leader whose term has passed, and another cell, are not obeyed.
#[test]
fn past_terms_and_other_cells_are_refused() {
    let mut core = connected();
    settle(&mut core, start(order_of(1, 3, 1), 1));
    assert_eq!(settle(&mut core, start(order_of(1, 2, 9), 2)), []);
    let other = Order { cell: CellId::new("other").unwrap(), ..order_of(9, 9, 9) };
    assert_eq!(settle(&mut core, start(other, 3)), []);
    assert_eq!((core.refused()[&Refusal::PastTerm], core.refused()[&Refusal::OtherCell]), (1, 1));
    assert_eq!(settle(&mut core, welcome(order_of(1, 2, 0))), [Effect::HangUp(Reason::PastTerm)]);
    assert_eq!(settle(&mut core, welcome(other)), [Effect::HangUp(Reason::OtherCell)]);
}

/// The fence holds from the moment it is met, not from the moment it is durable.
#[test]
fn a_fence_that_is_being_written_holds_already() {
    let mut core = connected();
    assert_eq!(core.step(welcome(order_of(1, 5, 0))), [Effect::Write(Fact::Fence(order_of(1, 5, 0)))]);
    assert_eq!(core.step(Input::Disconnected), []);
    assert_eq!(core.step(welcome(order_of(1, 4, 0))), [Effect::HangUp(Reason::PastTerm)]);
    assert_eq!(core.step(Input::Written(vec![Fact::Fence(order_of(1, 5, 0))])), []);
}

#[test]
fn services_follow_the_newest_order() {
    let mut core = connected();
    let set = |order, services| {
        Input::Said(OrchestratorMessage::SetServices { order, shard: shard(), services, entry: None })
    };
    let seen =
        |order, services| [Effect::Send(AgentMessage::ServicesSeen { shard: shard(), services, order })];
    let imap = ServiceSet::NONE.with(Service::Imap);
    assert_eq!(settle(&mut core, set(order(5), imap)), seen(order(5), imap));
    assert_eq!(settle(&mut core, set(order(5), imap)), seen(order(5), imap));
    assert_eq!(settle(&mut core, set(order(4), ServiceSet::NONE)), []);
    assert_eq!(settle(&mut core, set(order(5), ServiceSet::NONE)), []);
    assert_eq!(core.refused()[&Refusal::Overtaken], 2);
    assert!(matches!(core.step(set(order(7), ServiceSet::ALL))[..], [Effect::Write(_)]));
    assert_eq!(core.step(set(order(6), ServiceSet::NONE)), []);
    assert_eq!(core.facts().served().collect::<Vec<_>>(), [(shard(), imap)]);
}

/// T3: cancelling works at every stage, and twice.
#[test]
fn a_cancel_is_answered_at_every_stage() {
    let mut core = connected();
    let cancel = |number| {
        Input::Said(OrchestratorMessage::CancelTask { order: order(9), shard: shard(), attempt: no(number) })
    };
    let cancelled = TaskEnd::Failed(TaskFailure::Cancelled);
    assert_eq!(settle(&mut core, cancel(1)), [stopped(1)]);
    let begun = core.step(start(order(1), 2));
    assert_eq!(core.step(cancel(2)), []);
    let [Effect::Write(fact)] = &begun[..] else { panic!("{begun:?}") };
    assert_eq!(settle(&mut core, Input::Written(vec![fact.clone()])), [result(2, cancelled.clone())]);
    assert_eq!(settle(&mut core, cancel(2)), [result(2, cancelled.clone())]);
    let run = run_of(&settle(&mut core, start(order(2), 3)));
    assert_eq!(settle(&mut core, cancel(3)), [Effect::Cancel(run)]);
    assert_eq!(settle(&mut core, cancel(3)), [Effect::Cancel(run)]);
    assert_eq!(settle(&mut core, Input::Ended(run, cancelled.clone())), [result(3, cancelled)]);
}

/// T17: pace and suspension reach running tries and those that begin later; a suspension of an earlier session ends unless it
/// is said again.
#[test]
fn campaigns_are_held_and_paced() {
    let mut core = connected();
    let campaign = CampaignId::new("c").unwrap();
    let suspend = || Input::Said(OrchestratorMessage::SuspendCampaign { order: order(3), campaign });
    let run = run_of(&settle(&mut core, start(order(1), 1)));
    assert_eq!(settle(&mut core, suspend()), [Effect::Hold(run, true)]);
    let pace = Pace { bytes_per_second: ByteSize::from_bytes(9), readers: 4 };
    let set = OrchestratorMessage::SetPace { order: order(4), campaign, pace };
    assert_eq!(settle(&mut core, Input::Said(set)), [Effect::Pace(run, pace)]);
    let effects = settle(&mut core, start(order(5), 2));
    let [Effect::Cancel(superseded), Effect::Begin { run: second, paused: true, .. }] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(superseded, run);
    settle(&mut core, Input::Disconnected);
    settle(&mut core, welcome(order(0)));
    assert_eq!(settle(&mut core, Input::Tick(Vec::new())), []);
    assert_eq!(settle(&mut core, Input::Tick(Vec::new())), []);
    let go_on = settle(&mut core, Input::Tick(Vec::new()));
    assert!(go_on.contains(&Effect::Hold(second, false)), "{go_on:?}");
    settle(&mut core, suspend());
    settle(&mut core, welcome(order(0)));
    assert!(settle(&mut core, suspend()).contains(&Effect::Hold(second, true)));
    (0..9).for_each(|_| assert_eq!(settle(&mut core, Input::Tick(Vec::new())), []));
}

#[test]
fn what_cannot_be_written_has_no_effect() {
    let mut core = connected();
    let effects = core.step(start(order(1), 1));
    let [Effect::Write(begun)] = &effects[..] else { panic!("{effects:?}") };
    let refused = core.step(Input::NotWritten(vec![begun.clone()], "no space".to_owned()));
    assert_eq!(refused, [result(1, TaskEnd::Failed(TaskFailure::Agent { problem: "no space".to_owned() }))]);
    let run = run_of(&settle(&mut core, start(order(2), 1)));
    let ended = core.step(Input::Ended(run, TaskEnd::Confirmed));
    let [Effect::Write(fact)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!(core.step(Input::NotWritten(vec![fact.clone()], "no space".to_owned())), []);
    assert_eq!(settle(&mut core, Input::Tick(Vec::new())), [result(1, TaskEnd::Confirmed)]);
}

/// Services that could not be written are written when there is room, unless a newer order came; then they are confirmed.
#[test]
fn services_wait_for_room() {
    let mut core = connected();
    let set = |order, services| {
        Input::Said(OrchestratorMessage::SetServices { order, shard: shard(), services, entry: None })
    };
    let mut refused = Vec::new();
    for (seq, services) in [(5, ServiceSet::ALL), (6, ServiceSet::NONE)] {
        let effects = core.step(set(order(seq), services));
        let [Effect::Write(fact)] = &effects[..] else { panic!("{effects:?}") };
        refused.push(fact.clone());
    }
    assert_eq!(core.step(Input::NotWritten(refused, "no space".to_owned())), []);
    let seen = AgentMessage::ServicesSeen { shard: shard(), services: ServiceSet::NONE, order: order(6) };
    assert_eq!(settle(&mut core, Input::Tick(Vec::new())), [Effect::Send(seen)]);
}

/// A node that comes back after a day tells its results in bites, each acknowledgement making room for the next.
#[test]
fn results_are_told_in_bites() {
    let mut facts = Facts::default();
    facts.apply(&Fact::Fence(order(0)));
    for number in 0..300 {
        facts.apply(&Fact::Ended { shard: shard(), attempt: no(number), end: TaskEnd::Confirmed });
    }
    let mut core = Core::new(facts);
    let told = settle(&mut core, welcome(order(0)));
    assert_eq!(told.len(), RESULTS_UNACKNOWLEDGED_MAX);
    let acknowledge = OrchestratorMessage::Acknowledge { shard: shard(), attempt: no(0) };
    assert_eq!(settle(&mut core, Input::Said(acknowledge)), [result(256, TaskEnd::Confirmed)]);
}

#[test]
fn only_progress_is_told() {
    let mut core = connected();
    let run = run_of(&settle(&mut core, start(order(1), 1)));
    let progress = Progress { messages: 3, ..Progress::default() };
    let tick = || Input::Tick(vec![(run, progress)]);
    let told = Effect::Send(AgentMessage::TaskProgress { shard: shard(), attempt: no(1), progress });
    assert_eq!(settle(&mut core, tick()), [told]);
    assert_eq!(settle(&mut core, tick()), []);
}

/// An inventory that changes between a Hello and its Welcome is told although the one of the Hello is known.
#[test]
fn an_inventory_that_changed_meanwhile_is_told() {
    let mut core = connected();
    settle(&mut core, Input::Disconnected);
    assert_eq!(settle(&mut core, Input::InventoryChanged), []);
    let told =
        |effects: Vec<Effect>| effects.iter().any(|effect| matches!(effect, Effect::ReportInventory { .. }));
    assert!(told(settle(&mut core, welcome(order(0)))));
    assert!(!told(settle(&mut core, welcome(order(0)))));
}

/// R5: which journal an order came from is kept once for all orders of an entry, and kept until it can be written.
#[test]
fn orders_of_one_entry_are_witnessed_once() {
    let mut core = connected();
    let ordered = |seq, number, entry| {
        let entry = Some(Digest::of(entry));
        Input::Said(OrchestratorMessage::StartTask { order: order(seq), task: task(number), entry })
    };
    let witnesses = |effects: &[Effect]| -> Vec<Fact> {
        let written = effects.iter().filter_map(|effect| match effect {
            Effect::Write(fact @ Fact::Obeyed(_)) => Some(fact.clone()),
            _ => None,
        });
        written.collect()
    };
    let of = |seq, entry| Fact::Obeyed(Witness { order: order(seq), entry: Digest::of(entry) });
    let (first, later) = (of(4, b"one"), of(9, b"two"));
    assert_eq!(witnesses(&core.step(ordered(4, 1, b"one"))), std::slice::from_ref(&first));
    assert_eq!(witnesses(&core.step(ordered(5, 2, b"one"))), []);
    assert_eq!(witnesses(&core.step(ordered(9, 3, b"two"))), std::slice::from_ref(&later));
    drop(core.step(Input::NotWritten(vec![first, later.clone()], "no space".to_owned())));
    assert_eq!(witnesses(&core.step(Input::Tick(Vec::new()))), std::slice::from_ref(&later));
    drop(core.step(Input::Written(vec![later])));
    assert_eq!(core.facts().witness().map(|witness| witness.order), Some(order(9)));
}

/// R5: a term that could not be written in its time takes nothing back from a later one that could.
#[test]
fn a_fence_that_was_overtaken_is_not_written_again() {
    let mut core = connected();
    let fence = |epoch| Fact::Fence(order_of(1, epoch, 0));
    assert_eq!(core.step(welcome(order_of(1, 5, 0))), [Effect::Write(fence(5))]);
    assert_eq!(core.step(Input::NotWritten(vec![fence(5)], "no space".to_owned())), []);
    assert_eq!(core.step(Input::Disconnected), []);
    assert_eq!(settle(&mut core, welcome(order_of(1, 6, 0))), []);
    assert_eq!(core.step(Input::Tick(Vec::new())), []);
    assert_eq!(core.facts().fence, Some(order_of(1, 6, 0)));
}

/// T29: what a try of an earlier life comes to once a new life is met is told to nobody, whatever is written when: the new life
/// may begin a try of the same number.
#[test]
fn a_try_of_an_earlier_life_leaves_no_result_however_it_ends() {
    let reborn = order_of(2, 1, 0);
    let begin = || {
        let mut core = connected();
        let run = run_of(&settle(&mut core, start(order(1), 5)));
        settle(&mut core, Input::Disconnected);
        (core, run)
    };
    let no_space = || "no space".to_owned();
    let ended = |number| Fact::Ended { shard: shard(), attempt: no(number), end: TaskEnd::Confirmed };

    // It ends while the new life is being written.
    let (mut core, run) = begin();
    assert_eq!(core.step(welcome(reborn)), [Effect::Write(Fact::Fence(reborn))]);
    assert_eq!(core.step(Input::Ended(run, TaskEnd::Confirmed)), []);
    assert_eq!(settle(&mut core, Input::Written(vec![Fact::Fence(reborn)])), [stopped(5)]);

    // Its result waits for room, and is refused again, while the new life is being written.
    let (mut core, run) = begin();
    let written = Effect::Write(ended(5));
    assert_eq!(core.step(Input::Ended(run, TaskEnd::Confirmed)), std::slice::from_ref(&written));
    drop(core.step(Input::NotWritten(vec![ended(5)], no_space())));
    assert_eq!(core.step(Input::Tick(Vec::new())), [written]);
    assert_eq!(core.step(welcome(reborn)), [Effect::Write(Fact::Fence(reborn))]);
    drop(core.step(Input::NotWritten(vec![ended(5)], no_space())));
    assert_eq!(core.step(Input::Tick(Vec::new())), []);
    assert_eq!(settle(&mut core, Input::Written(vec![Fact::Fence(reborn)])), [stopped(5)]);

    // Its result is durable, and the new life, before it is, cancels a try of that number.
    let (mut core, run) = begin();
    settle(&mut core, Input::Ended(run, TaskEnd::Confirmed));
    drop(core.step(welcome(reborn)));
    let (order, attempt) = (order_of(2, 1, 1), no(5));
    let cancel = OrchestratorMessage::CancelTask { order, shard: shard(), attempt };
    assert_eq!(core.step(Input::Said(cancel)), [stopped(5)]);
}

/// T29: a beginning of an earlier life that is refused after the new life was written is no try of the new one.
#[test]
fn a_refused_beginning_of_an_earlier_life_answers_no_try_of_a_later_one() {
    let mut core = connected();
    let effects = core.step(start(order(1), 5));
    let [Effect::Write(begun)] = &effects[..] else { panic!("{effects:?}") };
    settle(&mut core, Input::Disconnected);
    let reborn = order_of(2, 1, 0);
    drop(core.step(welcome(reborn)));
    assert_eq!(settle(&mut core, Input::Written(vec![Fact::Fence(reborn)])), [stopped(5)]);
    drop(core.step(start(order_of(2, 1, 1), 5)));
    assert_eq!(core.step(Input::NotWritten(vec![begun.clone()], "no space".to_owned())), []);
    assert_eq!(core.greeting().len(), 2, "the later one is still under way");
}

/// R5: what a newer leader ordered is not written without its term, though the term alone could not be written before it.
#[test]
fn an_order_that_is_durable_makes_its_term_so() {
    let mut core = connected();
    let effects = core.step(start(order_of(1, 6, 1), 1));
    let [Effect::Write(fence @ Fact::Fence(_)), Effect::Write(begun @ Fact::Begun { .. })] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    drop(core.step(Input::NotWritten(vec![fence.clone()], "no space".to_owned())));
    run_of(&core.step(Input::Written(vec![begun.clone()])));
    assert_eq!(core.facts().fence, Some(order_of(1, 6, 0)));
    assert_eq!(core.step(Input::Tick(Vec::new())), [], "it needs no word of its own");
}

/// T29: findings are kept and looked for under the life that counts the try.
#[test]
fn findings_are_of_the_life_that_counts_the_try() {
    let mut core = connected();
    for life in [1, 2] {
        settle(&mut core, welcome(order_of(life, 1, 0)));
        let begun = settle(&mut core, start(order_of(life, 1, 1), 5));
        let [Effect::Begin { job, .. }] = &begun[..] else { panic!("{begun:?}") };
        let ask = OrchestratorMessage::SendFindings {
            request_id: 1,
            shard: shard(),
            attempt: no(5),
            max_findings: 1,
            kinds: FindingKinds::NONE,
            with_addresses: false,
            or_earlier: false,
        };
        let asked = settle(&mut core, Input::Said(ask));
        let [Effect::UploadFindings(wanted)] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((job.life, wanted.life), (Incarnation::from_raw(life), Incarnation::from_raw(life)));
    }
}
