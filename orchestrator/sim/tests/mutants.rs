//! The harness is proven: an engine that breaks a rule on purpose is caught, under the rule's name, and not by itself.
#![allow(missing_docs, reason = "a test binary")]

use std::ops::RangeInclusive;
use std::sync::Arc;

use rientro_engine::{Engine, Mutant};
use rientro_sim::run::{self, Outcome};
use rientro_sim::world::Config;

/// Seeds within which every mutant must be caught, but the one below.
const SEEDS: RangeInclusive<u64> = 1..=12;
/// Seeds for what shows only when a long absence falls between a result and its leader.
const SEEDS_OF_ABSENCE: RangeInclusive<u64> = 1..=200;
/// Seeds for what shows only when every place of a node is kept by tries that nobody answers for.
const SEEDS_OF_PLACES: RangeInclusive<u64> = 1..=48;
/// Seeds for what shows only when an operator stops what has ended while a node is silent.
const SEEDS_OF_ENDS: RangeInclusive<u64> = 1..=48;
/// Seeds for what shows only in a journal that is restored after what is in service has moved.
const SEEDS_OF_RESTORES: RangeInclusive<u64> = 1..=48;

fn run_seed(seed: u64, mutant: Mutant) -> Outcome {
    let make = Arc::new(move || Engine::with_mutant(mutant));
    run::run(&Config { seed, shards: run::SHARDS, make, trace: false, scripted: false })
}

/// Caught under the rule by the watch, not only by the engine's own predicates.
fn caught(mutant: Mutant, rule: &str) {
    caught_within(SEEDS, mutant, rule);
}

fn caught_within(seeds: RangeInclusive<u64>, mutant: Mutant, rule: &str) {
    let mut seen = Vec::new();
    for seed in seeds.clone() {
        let violations = run_seed(seed, mutant).violations;
        let by_watch = |v: &&run::Violation| v.rule == rule && !v.found.starts_with("by the engine's own");
        if violations.iter().any(|v| by_watch(&v)) {
            return;
        }
        seen.extend(violations);
    }
    panic!("{mutant:?} was not caught as {rule} within {seeds:?}; found only {seen:#?}");
}

/// R1
#[test]
fn opening_unverified_shards_is_caught() {
    caught(Mutant::OpenUnverified, "R1");
}

/// R1
#[test]
fn dating_a_result_by_its_arrival_is_caught() {
    caught_within(SEEDS_OF_ABSENCE, Mutant::DateByArrival, "R1");
}

/// R1
#[test]
fn opening_on_an_old_word_is_caught() {
    caught(Mutant::OpenOnOldWord, "R1");
}

/// R2
#[test]
fn ignoring_a_budget_is_caught() {
    caught(Mutant::IgnoreBudget, "R2");
}

/// R2
#[test]
fn opening_more_at_once_is_caught() {
    caught(Mutant::OpenMoreAtOnce, "R2");
}

/// R3
#[test]
fn opening_any_wave_is_caught() {
    caught(Mutant::OpenAnyWave, "R3");
}

/// R4
#[test]
fn forgetting_a_record_is_caught() {
    caught(Mutant::ForgetRecord, "R4");
}

/// T28
#[test]
fn admitting_a_copy_is_caught() {
    caught(Mutant::AdmitTwin, "T28");
}

/// R6
#[test]
fn forgiving_silence_is_caught() {
    caught(Mutant::ForgiveSilence, "R6");
}

/// R6, R12
#[test]
fn waiting_for_ever_is_caught() {
    caught_within(SEEDS_OF_PLACES, Mutant::AwaitForEver, "R6");
}

/// R6
#[test]
fn forgiving_without_being_asked_is_caught() {
    caught(Mutant::ForgiveUnasked, "R6");
}

/// R6
#[test]
fn forgiving_the_next_loss_is_caught() {
    caught(Mutant::ForgiveTwice, "R6");
}

/// R6, T27
#[test]
fn charging_absence_is_caught() {
    caught(Mutant::ChargeAbsence, "R6");
}

/// R7
#[test]
fn passing_the_unknown_is_caught() {
    caught(Mutant::PassUnknown, "R7");
}

/// R7
#[test]
fn forgetting_what_vanished_is_caught() {
    caught(Mutant::ForgetMissing, "R7");
}

/// R7
#[test]
fn counting_alone_is_caught() {
    caught(Mutant::CountOnly, "R7");
}

/// R8
#[test]
fn aborting_quietly_is_caught() {
    caught(Mutant::AbortQuietly, "R8");
}

/// R8
#[test]
fn sparing_what_has_ended_is_caught() {
    caught_within(SEEDS_OF_ENDS, Mutant::SpareEnded, "R8");
}

/// T29
#[test]
fn closing_unasked_is_caught() {
    caught_within(SEEDS_OF_RESTORES, Mutant::CloseUnasked, "T29");
}

/// R11
#[test]
fn naming_nobody_is_caught() {
    caught(Mutant::NamelessActor, "R11");
}

/// R12
#[test]
fn never_retrying_is_caught() {
    caught(Mutant::NeverRetry, "R12");
}

/// R12
#[test]
fn ending_early_is_caught() {
    caught(Mutant::EndEarly, "R12");
}

/// Every mutant is among the tests above, and the engine as it is passes the seeds that catch them.
#[test]
fn the_engine_as_it_is_passes_the_same_seeds() {
    assert_eq!(Mutant::ALL.len(), 22, "a mutant without a test above");
    // The rest of the seeds of an absence are among those that every check of the whole runs.
    for seed in SEEDS_OF_PLACES {
        assert_eq!(run_seed(seed, Mutant::None).violations, vec![], "seed {seed}");
    }
}
