//! What is wrong with a plan: values that make no sense anywhere, and names that nothing in the fleet has.

use std::collections::BTreeSet;

use rientro_types::{
    Coverage, LabelKey, Plan, PlanProblem, Ppm, READERS_MAX, Schedule, ShardId, Share, Span,
};

use crate::state::State;

/// Shortest `verified_age_max`: under it, a verification could expire before its confirmation begins.
const VERIFIED_AGE_MIN: Span = Span::from_secs(60);

pub(crate) fn problem(field: &str, problem: impl Into<String>) -> PlanProblem {
    PlanProblem { field: field.to_owned(), problem: problem.into() }
}

impl State {
    /// Names in the plan that nothing in the fleet has: a class of shards that are not there orders nothing, and a cap on a
    /// label that no node has keeps nothing back. Asked when a plan comes in only; a campaign that runs outlives its labels.
    pub(crate) fn check_names(&self, plan: &Plan) -> Result<(), Vec<PlanProblem>> {
        let mut problems = Vec::new();
        for (at, class) in plan.classes.iter().enumerate() {
            if let Coverage::Shards(named) = &class.covers {
                self.check_shards(named, &format!("class[{at}].shards"), &mut problems);
            }
        }
        for cap in &plan.waves.domain_caps {
            let known =
                |label: &LabelKey| self.domains.iter().any(|(d, at)| d.0 == *label && !at.nodes.is_empty());
            if !known(&cap.label) {
                let text = format!(
                    "no node of the fleet has the label {}; `rientro node list` shows labels",
                    cap.label
                );
                problems.push(problem(&format!("waves.domain_caps.{}", cap.label), text));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    pub(crate) fn check_shards(&self, named: &[ShardId], field: &str, problems: &mut Vec<PlanProblem>) {
        let unknown: Vec<_> = named.iter().filter(|id| !self.shard_ix.contains_key(id)).collect();
        if let Some(first) = unknown.first() {
            let more = and_more(unknown.len() - 1, "not known either");
            problems.push(problem(field, format!("there is no shard {first}{more}")));
        }
    }
}

/// What is said of those that are not named: nothing when there are none.
pub(crate) fn and_more(count: usize, what: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!(" (and 1 more is {what})"),
        more => format!(" (and {more} more are {what})"),
    }
}

/// Values that make no sense on any fleet. T2: a malformed threshold refuses the plan.
pub fn check_values(plan: &Plan) -> Vec<PlanProblem> {
    let mut found = Vec::new();
    let mut check = |good: bool, field: &str, text: &str| {
        if !good {
            found.push(problem(field, text));
        }
    };
    check_schedule(&plan.waves.schedule, &mut check);
    let policy = &plan.policy;
    check(policy.coverage_min > Ppm::ZERO, "verify.coverage", "must be above 0%: nothing opens unverified");
    check(policy.verified_age_max >= VERIFIED_AGE_MIN, "verify.verified_age_max", "must be at least 1m");
    check(policy.damaged_per_million_max < 1_000_000, "verify.damaged_per_million", "must be below 1000000");
    let tries = &plan.tries;
    check(tries.attempts_max >= 1, "tries.attempts", "must be at least 1");
    for (span, field) in [
        (tries.verify_timeout, "tries.verify_timeout"),
        (tries.confirm_timeout, "tries.confirm_timeout"),
        (tries.stall_timeout, "tries.stall_timeout"),
        (tries.open_timeout, "tries.open_timeout"),
    ] {
        check(span > Span::ZERO, field, "must be longer than 0s");
    }
    check(tries.backoff_first <= tries.backoff_max, "tries.backoff_max", "must not be shorter than backoff");
    check(plan.opening.in_flight_max >= 1, "open.in_flight", "must be at least 1");
    check(plan.pace.readers >= 1, "pace.readers", "must be at least 1");
    let text = format!("must be at most {READERS_MAX}, which is all an agent reads with");
    check(plan.pace.readers <= READERS_MAX, "pace.readers", &text);
    check_steps(plan, &mut check);
    check_coverage(&plan.covers, "covers", &mut check);
    for (at, class) in plan.classes.iter().enumerate() {
        check_coverage(&class.covers, &format!("class[{at}]"), &mut check);
    }
    let mut capped = BTreeSet::new();
    for cap in &plan.waves.domain_caps {
        let field = format!("waves.domain_caps.{}", cap.label);
        check(cap.max > Ppm::ZERO, &field, "must be above 0%");
        check(capped.insert(cap.label), &field, "is capped a second time; write each label once");
    }
    found
}

/// An empty selection is a mistake of whoever wrote it: no label would match everything, and a revision that names no shard
/// would release all that waits.
fn check_coverage(covers: &Coverage, field: &str, check: &mut impl FnMut(bool, &str, &str)) {
    match covers {
        Coverage::All => {}
        Coverage::Labels(labels) => {
            check(
                !labels.is_empty(),
                &format!("{field}.labels"),
                "names no label, and would match everything",
            );
        }
        Coverage::Shards(shards) => {
            check(!shards.is_empty(), &format!("{field}.shards"), "names no shard; nothing would be covered");
        }
    }
}

fn check_schedule(schedule: &Schedule, check: &mut impl FnMut(bool, &str, &str)) {
    match schedule {
        Schedule::List(list) => {
            check(!list.is_empty(), "waves.list", "needs at least one wave");
            let mut sum = 0;
            for (at, share) in list.iter().enumerate() {
                let field = format!("waves.list[{at}]");
                match share {
                    Share::Mailboxes(ppm) => {
                        sum += u64::from(ppm.raw());
                        check(*ppm > Ppm::ZERO, &field, "must be above 0%");
                        check(sum <= 1_000_000, &field, "brings the waves above 100% of the mailboxes");
                    }
                    Share::Shards(count) => check(*count > 0, &field, "must be at least one shard"),
                    Share::Rest => check(at + 1 == list.len(), &field, "\"rest\" must be the last wave"),
                }
            }
        }
        Schedule::Growth { first, percent, max } => {
            check(*first > Ppm::ZERO, "waves.first", "must be above 0%");
            check(*percent >= 100, "waves.growth", "must be at least 1: waves never shrink");
            check(max >= first, "waves.max", "must not be smaller than first");
        }
    }
}

fn check_steps(plan: &Plan, check: &mut impl FnMut(bool, &str, &str)) {
    let steps = &plan.opening.steps;
    check(!steps.is_empty(), "open.steps", "needs at least one step");
    let mut seen = rientro_types::ServiceSet::NONE;
    for (at, step) in steps.iter().enumerate() {
        let field = format!("open.steps[{at}]");
        check(!step.is_empty(), &field, "opens no service");
        check(seen.intersection(*step).is_empty(), &field, "opens a service that an earlier step has opened");
        seen = seen.union(*step);
    }
}
