//! Transition tests: what operators are told before they decide is what comes of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod support;

use rientro_types::*;
use support::*;

fn in_three_waves(name: &str) -> Plan {
    let mut plan = plan(name);
    plan.waves.schedule = Schedule::List(vec![Share::Shards(1), Share::Shards(1), Share::Rest]);
    plan.waves.promotion = Promotion::Manual;
    plan
}

/// A campaign in its second wave, and then what is asked for.
fn in_its_second_wave(then: &[Verb]) -> Cell {
    let mut cell = Cell::with_fleet(2, 2);
    cell.start(in_three_waves("return"));
    cell.play();
    cell.ask(Verb::Promote { campaign: campaign("return"), wave: WaveNo::from_raw(0) }).unwrap();
    for verb in then {
        cell.ask(verb.clone()).unwrap();
    }
    cell
}

fn an_ended_campaign() -> Cell {
    let mut cell = Cell::with_fleet(2, 2);
    cell.start(plan("return"));
    cell.play();
    cell.pass(61);
    assert_eq!(cell.campaign("return").state, CampaignState::Ended);
    cell
}

fn a_contested_shard() -> Cell {
    let mut cell = in_its_second_wave(&[]);
    cell.inventory("b", vec![claim("b1", "b"), claim("b2", "b"), claim("a1", "a")]);
    cell
}

fn every_verb() -> Vec<Verb> {
    let id = campaign("return");
    let reason = || "why not".to_owned();
    let source = Digest::ZERO;
    let mut verbs = vec![
        Verb::Start { plan: Box::new(in_three_waves("return")), source },
        Verb::Start { plan: Box::new(in_three_waves("another")), source },
        Verb::Revise { plan: Box::new(in_three_waves("return")), source },
        Verb::Revise { plan: Box::new(in_three_waves("another")), source },
        Verb::Pause { campaign: id },
        Verb::Resume { campaign: id },
        Verb::Abort { campaign: id },
        Verb::SetLimits { limits: FleetLimits::default() },
        Verb::SetLimits { limits: FleetLimits { verifies_per_node: 1, ..FleetLimits::default() } },
    ];
    verbs.extend((0..5).map(|wave| Verb::Promote { campaign: id, wave: WaveNo::from_raw(wave) }));
    for name in ["a1", "a2", "b1", "b2"] {
        verbs.extend([
            Verb::Close { selector: only(name), reason: reason() },
            Verb::Retry { selector: only(name) },
            Verb::Accept { selector: only(name), reason: reason() },
            Verb::Prioritise { selector: only(name) },
            Verb::Adopt { selector: only(name), services: ServiceSet::ALL, reason: reason() },
        ]);
        let (id, mailbox) = (shard(name), MailboxId::from_raw([1; 16]));
        verbs.extend(["a", "b", "z"].map(|on| Verb::Settle {
            selector: only(name),
            node: node(on),
            reason: reason(),
        }));
        verbs.extend([Some(Exception::Closed), None].map(|exception| {
            let reason = reason();
            Verb::Except { shard: id, mailbox, exception, reason }
        }));
    }
    verbs
}

/// T3, R8: in every state of a campaign a rehearsal tells what the decision is answered: refused in the same words, or the
/// same shards, and whether anything changes. `Cell::ask` compares the two.
#[test]
fn a_rehearsal_promises_what_is_done() {
    let id = campaign("return");
    let states: [&dyn Fn() -> Cell; 6] = [
        &|| in_its_second_wave(&[]),
        &|| in_its_second_wave(&[Verb::Pause { campaign: id }]),
        &|| in_its_second_wave(&[Verb::Abort { campaign: id }]),
        &|| in_its_second_wave(&[Verb::Close { selector: all(), reason: "again".to_owned() }]),
        &an_ended_campaign,
        &a_contested_shard,
    ];
    for verb in every_verb() {
        for state in states {
            let mut cell = state();
            let _first = cell.ask(verb.clone());
            let second = cell.ask(verb.clone());
            let again = matches!(verb, Verb::Prioritise { .. } | Verb::Adopt { .. });
            assert!(again || second.is_err() || !second.unwrap().changes, "{verb:?} does something twice");
        }
    }
}

/// Nothing of an aborted campaign is promoted, not even what was before; what has passed in one that ended is passed.
#[test]
fn nothing_passes_in_an_aborted_campaign() {
    let id = campaign("return");
    let mut cell = in_its_second_wave(&[Verb::Abort { campaign: id }]);
    for wave in 0..5 {
        let promote = Verb::Promote { campaign: id, wave: WaveNo::from_raw(wave) };
        assert_eq!(cell.rehearse(promote.clone()), Err(Refusal::CampaignOver(id)), "wave {wave}");
        assert_eq!(cell.ask(promote), Err(Refusal::CampaignOver(id)), "wave {wave}");
    }
    let mut cell = an_ended_campaign();
    let passed = cell.ask(Verb::Promote { campaign: id, wave: WaveNo::from_raw(0) }).unwrap();
    assert!(!passed.changes);
}

/// A plan whose name is taken has no waves to show, whatever became of the campaign; it is refused as its start is.
#[test]
fn a_name_that_is_taken_has_no_forecast() {
    for cell in [in_its_second_wave(&[]), an_ended_campaign()] {
        let problems = cell.engine.forecast(&in_three_waves("return"), [1; 32]).unwrap_err();
        let [PlanProblem { field, problem }] = problems.as_slice() else { panic!("{problems:?}") };
        let refusal = Refusal::CampaignExists(campaign("return")).to_string();
        assert_eq!((field.as_str(), problem.as_str()), ("name", refusal.as_str()));
        assert!(problem.contains("another name") && problem.contains("campaign revise"), "{problem}");
    }
}
