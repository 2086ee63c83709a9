//! Scenarios of real outages, directed step by step in the simulated cell. Each test names the scenario it stands for.
#![allow(missing_docs, clippy::wildcard_enum_match_arm, reason = "a test binary")]

mod agents;
mod golden;
mod operators;
mod orchestrator;

use rientro_sim::names;
use rientro_sim::plans;
use rientro_types::{Plan, Ppm};

/// A plan under which a single wave may lose everything.
fn tolerant() -> Plan {
    let mut plan = plans::plain(names::campaign(0));
    plan.waves.error_budget_canary = Ppm::ONE;
    plan.waves.error_budget = Ppm::ONE;
    plan
}

/// A plan under which nothing may be lost.
fn strict() -> Plan {
    plans::plain(names::campaign(0))
}
