//! Plans.

use rientro_types::{
    CLASSES_MAX, CampaignKind, Class, Coverage, DOMAIN_CAPS_MAX, DomainCap, EXPLANATION_BYTES_MAX,
    LABELS_MAX, Opening, Plan, PlanProblem, Policy, Promotion, SHARDS_NAMED_MAX, STEPS_MAX, Schedule,
    Service, ServiceSet, Share, Tries, WAVES_MAX, Waves,
};

use super::{ConvertError, Inside, Problem, Put, Take, TakeWithin};
use crate::v1;

choices!(v1::CampaignKind => CampaignKind { Restore });
choices!(v1::Promotion => Promotion { Automatic, Manual });

oneof!(Coverage in coverage, covers: Covers => Coverage {
    All,
    Labels(labels in 1..=LABELS_MAX),
    Shards(shards in 1..=SHARDS_NAMED_MAX),
});

oneof!(Share in share, share: Share => Share {
    Mailboxes(ppm),
    Shards(shards),
    Rest,
});

oneof!(Schedule in schedule, schedule: Schedule => Schedule {
    List(shares in 1..=WAVES_MAX),
    Growth { first as first_ppm, percent, max as max_ppm },
});

message!(v1::Class => Class { covers, weight });
message!(v1::DomainCap => DomainCap { label, max as max_ppm });

message!(v1::Waves => Waves {
    schedule,
    domain_caps in 0..=DOMAIN_CAPS_MAX,
    promotion,
    bake as bake_ms,
    error_budget_canary as error_budget_canary_ppm,
    error_budget as error_budget_ppm,
});

message!(v1::Policy => Policy {
    level,
    coverage_min as coverage_min_ppm,
    damaged_per_million_max,
    broken_mailboxes_max,
    unreadable_mailboxes_max,
    verified_age_max as verified_age_max_ms,
});

message!(v1::Tries => Tries {
    attempts_max,
    backoff_first as backoff_first_ms,
    backoff_max as backoff_max_ms,
    verify_timeout as verify_timeout_ms,
    confirm_timeout as confirm_timeout_ms,
    stall_timeout as stall_timeout_ms,
    open_timeout as open_timeout_ms,
});

message!(v1::Opening => Opening { steps in 1..=STEPS_MAX, in_flight_max });

impl Put<v1::opening::Step> for ServiceSet {
    fn put(self) -> v1::opening::Step {
        v1::opening::Step { services: self.put() }
    }
}

impl Take<v1::opening::Step> for ServiceSet {
    fn take(wire: v1::opening::Step) -> Result<Self, ConvertError> {
        Self::take_within(wire.services, &(1..=Service::ALL.len())).inside("services")
    }
}

message!(v1::Plan => Plan {
    name,
    kind,
    covers,
    classes in 0..=CLASSES_MAX,
    seed,
    waves,
    policy,
    tries,
    opening,
    pace,
} checked by named_within_bounds);

message!(v1::PlanProblem => PlanProblem {
    field in 0..=EXPLANATION_BYTES_MAX,
    problem in 0..=EXPLANATION_BYTES_MAX,
});

/// The bound on shards named one by one is the whole plan's, so that every plan fits into one request and one journal entry.
fn named_within_bounds(plan: &Plan) -> Result<(), ConvertError> {
    let named = |covers: &Coverage| match covers {
        Coverage::Shards(shards) => shards.len(),
        Coverage::All | Coverage::Labels(_) => 0,
    };
    let count = named(&plan.covers) + plan.classes.iter().map(|class| named(&class.covers)).sum::<usize>();
    if count > SHARDS_NAMED_MAX {
        return Err(Problem::TooMany { count, max: SHARDS_NAMED_MAX }).inside("classes");
    }
    Ok(())
}
