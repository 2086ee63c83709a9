//! Plans of every shape that is allowed, drawn by chance.

use rientro_types::{
    ByteSize, CampaignId, CampaignKind, Class, Coverage, DomainCap, Level, Opening, Pace, Plan, Policy, Ppm,
    Promotion, Schedule, Service, ServiceSet, ShardId, Share, Span, Tries, Waves,
};

use crate::names;
use crate::rng::Rng;

/// Parts per million from percent.
#[must_use]
pub fn percent(percent: u32) -> Ppm {
    Ppm::new(percent * 10_000).unwrap_or(Ppm::ONE)
}

/// A plan that verifies strictly, opens everything at once and waits for nobody: scripts change what they are about.
#[must_use]
pub fn plain(name: CampaignId) -> Plan {
    Plan {
        name,
        kind: CampaignKind::Restore,
        covers: Coverage::All,
        classes: Vec::new(),
        seed: Some([7; 32]),
        waves: Waves {
            schedule: Schedule::List(vec![Share::Rest]),
            domain_caps: Vec::new(),
            promotion: Promotion::Automatic,
            bake: Span::from_secs(10),
            error_budget_canary: Ppm::ZERO,
            error_budget: percent(10),
        },
        policy: Policy {
            level: Level::Structure,
            coverage_min: Ppm::ONE,
            damaged_per_million_max: 0,
            broken_mailboxes_max: 0,
            unreadable_mailboxes_max: 0,
            verified_age_max: Span::from_secs(3600),
        },
        tries: Tries {
            attempts_max: 3,
            backoff_first: Span::from_secs(5),
            backoff_max: Span::from_secs(60),
            verify_timeout: Span::from_secs(300),
            confirm_timeout: Span::from_secs(60),
            stall_timeout: Span::from_secs(45),
            open_timeout: Span::from_secs(30),
        },
        opening: Opening { steps: vec![ServiceSet::ALL], in_flight_max: 50 },
        pace: Pace { bytes_per_second: ByteSize::from_bytes(0), readers: 2 },
    }
}

/// A plan by chance.
pub fn drawn(name: CampaignId, covers: Coverage, rng: &mut Rng) -> Plan {
    let mut plan = plain(name);
    plan.covers = covers;
    plan.seed = rng.percent(50).then(|| rng.bytes32());
    plan.waves.schedule = schedule(rng);
    plan.waves.bake = Span::from_secs(rng.one_of(&[0, 5, 30, 120]));
    plan.waves.promotion = if rng.percent(25) { Promotion::Manual } else { Promotion::Automatic };
    plan.waves.error_budget_canary = percent(rng.one_of(&[0, 10, 50, 100]));
    plan.waves.error_budget = percent(rng.one_of(&[2, 10, 30, 100]));
    if rng.percent(30) {
        let label = names::label(rng.one_of(&["rack", "array"]));
        plan.waves.domain_caps = vec![DomainCap { label, max: percent(rng.one_of(&[40, 60, 100])) }];
    }
    if rng.percent(40) {
        let labels = [(names::label("rack"), names::value("r1"))].into_iter().collect();
        plan.classes = vec![Class { covers: Coverage::Labels(labels), weight: 10 }];
    }
    policy(&mut plan.policy, rng);
    tries(&mut plan.tries, rng);
    plan.opening.in_flight_max = rng.one_of(&[1, 4, 20, 100]);
    plan.opening.steps = steps(rng);
    plan
}

fn schedule(rng: &mut Rng) -> Schedule {
    match rng.below(4) {
        0 => Schedule::List(vec![Share::Rest]),
        1 => Schedule::List(vec![Share::Shards(5), Share::Mailboxes(percent(20)), Share::Rest]),
        2 => Schedule::List(vec![
            Share::Mailboxes(percent(2)),
            Share::Mailboxes(percent(10)),
            Share::Mailboxes(percent(30)),
            Share::Rest,
        ]),
        _ => Schedule::Growth { first: percent(5), percent: 200, max: percent(40) },
    }
}

fn policy(policy: &mut Policy, rng: &mut Rng) {
    policy.damaged_per_million_max = rng.one_of(&[0, 0, 2_000, 50_000]);
    policy.broken_mailboxes_max = rng.one_of(&[0, 0, 1]);
    policy.unreadable_mailboxes_max = rng.one_of(&[0, 0, 1]);
    policy.verified_age_max = Span::from_secs(rng.one_of(&[60, 120, 600, 7_200]));
    policy.coverage_min = percent(rng.one_of(&[50, 100]));
}

fn tries(tries: &mut Tries, rng: &mut Rng) {
    tries.attempts_max = u32::try_from(rng.between(1, 4)).unwrap_or(1);
    tries.backoff_first = Span::from_secs(rng.one_of(&[0, 2, 10]));
    tries.verify_timeout = Span::from_secs(rng.one_of(&[60, 120, 600]));
    tries.confirm_timeout = Span::from_secs(rng.one_of(&[10, 60]));
    tries.stall_timeout = Span::from_secs(rng.one_of(&[20, 45, 90]));
    tries.open_timeout = Span::from_secs(rng.one_of(&[3, 15, 60]));
}

fn steps(rng: &mut Rng) -> Vec<ServiceSet> {
    let set = |services: &[Service]| services.iter().copied().collect::<ServiceSet>();
    match rng.below(3) {
        0 => vec![ServiceSet::ALL],
        1 => vec![set(&[Service::Delivery]), set(&[Service::Imap, Service::Webmail])],
        _ => vec![
            set(&[Service::Webmail]),
            set(&[Service::Imap, Service::Pop]),
            set(&[Service::Submission, Service::Delivery]),
        ],
    }
}

/// What a campaign covers: everything, a rack, or some shards by name.
pub fn covers(shards: &[ShardId], rng: &mut Rng) -> Coverage {
    match rng.below(4) {
        0 | 1 => Coverage::All,
        2 => {
            let value = names::value(rng.one_of(&["r0", "r1", "r2"]));
            Coverage::Labels([(names::label("rack"), value)].into_iter().collect())
        }
        _ => Coverage::Shards(shards.iter().copied().filter(|_| rng.percent(50)).collect()),
    }
}
