//! The vocabulary of plans. A plan is immutable; a change is a new revision.
//!
//! These types say what a plan *means*. Whether it can be carried out on a given fleet is decided by the engine, and how it is
//! written (TOML) by the orchestrator's plan reader.

use std::collections::BTreeMap;

use crate::{
    ByteSize, CampaignId, LabelKey, LabelValue, Level, Outcome, Ppm, ServiceSet, ShardId, Span, Verdict,
};

/// Most shards one plan or selector names one by one. More are selected by label.
pub const SHARDS_NAMED_MAX: usize = 10_000;
/// Most classes of one order.
pub const CLASSES_MAX: usize = 64;
/// Most entries of an explicit wave list, and most waves a growing schedule may come to.
pub const WAVES_MAX: usize = 1_000;
/// Most opening steps: one service each.
pub const STEPS_MAX: usize = 5;
/// Most failure-domain caps of one plan.
pub const DOMAIN_CAPS_MAX: usize = 8;

/// What a campaign does with its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CampaignKind {
    /// Closed shards are verified and brought back online.
    Restore,
}

/// Which shards a plan or an ordering class covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Every shard of the fleet.
    All,
    /// Shards on nodes that carry all of these labels; at least one.
    Labels(BTreeMap<LabelKey, LabelValue>),
    /// Exactly these; at least one, at most [`SHARDS_NAMED_MAX`].
    Shards(Vec<ShardId>),
}

/// Shards that come before others. Inside a class the order is a shuffle nobody can guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Which shards.
    pub covers: Coverage,
    /// Greater weights come first; shards in no class have weight 0. A shard in several classes has the greatest weight.
    pub weight: u32,
}

/// Size of one wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// This part of the campaign's mailboxes.
    Mailboxes(Ppm),
    /// This many shards.
    Shards(u32),
    /// All that is left; only as the last entry.
    Rest,
}

/// How waves grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// One entry a wave; at most [`WAVES_MAX`].
    List(Vec<Share>),
    /// The first wave, and each further one so much larger, until everything is in a wave.
    Growth {
        /// Part of the mailboxes in wave 0.
        first: Ppm,
        /// Size of a wave in percent of the one before; at least 100.
        percent: u32,
        /// Largest part of the mailboxes in one wave.
        max: Ppm,
    },
}

/// Largest part of one failure domain that one wave may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainCap {
    /// The label whose values are the domains, such as `rack`.
    pub label: LabelKey,
    /// Part of the mailboxes of each domain (within the campaign).
    pub max: Ppm,
}

/// Who moves the campaign from one wave to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// The orchestrator, when the bake is over.
    Automatic,
    /// An operator, when the bake is over or before.
    Manual,
}

/// How the waves are cut and when the next may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waves {
    /// Sizes.
    pub schedule: Schedule,
    /// Caps by failure domain; at most [`DOMAIN_CAPS_MAX`].
    pub domain_caps: Vec<DomainCap>,
    /// Who promotes.
    pub promotion: Promotion,
    /// Time a wave must have lived, counted from the moment its last shard settled.
    pub bake: Span,
    /// Part of wave 0's mailboxes that may be held or failed before the campaign pauses.
    pub error_budget_canary: Ppm,
    /// The same for every other wave.
    pub error_budget: Ppm,
}

/// What a verification must show before a shard may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Least depth.
    pub level: Level,
    /// Least share of the shard's messages looked at.
    pub coverage_min: Ppm,
    /// Most damaged or missing messages, per million.
    pub damaged_per_million_max: u32,
    /// Most mailboxes that are missing, or damaged in more than messages.
    pub broken_mailboxes_max: u64,
    /// Most mailboxes that could not be read whole.
    pub unreadable_mailboxes_max: u64,
    /// Oldest verification that a `confirm` may still stand on.
    pub verified_age_max: Span,
}

/// Why a verdict does not pass a policy, with the numbers that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyBreach {
    /// Not as deep as asked.
    Level {
        /// Depth reached.
        found: Level,
        /// Depth asked for.
        wanted: Level,
    },
    /// Too little was looked at.
    Coverage {
        /// Share looked at.
        found: Ppm,
        /// Share asked for.
        wanted: Ppm,
    },
    /// Too many damaged messages.
    Damaged {
        /// Damaged or missing messages.
        messages_damaged: u64,
        /// Messages looked at, missing ones included.
        messages: u64,
        /// Most damaged messages allowed, per million.
        per_million_max: u32,
    },
    /// Too many mailboxes that are missing or broken.
    Broken {
        /// Mailboxes that are missing, or damaged in more than messages.
        mailboxes_broken: u64,
        /// Most of them allowed.
        mailboxes_max: u64,
    },
    /// Too many mailboxes that could not be read.
    Unreadable {
        /// Mailboxes that could not be read whole.
        mailboxes_unreadable: u64,
        /// Most of them allowed.
        mailboxes_max: u64,
    },
    /// The verification could say nothing.
    Unknown,
}

impl Policy {
    /// Judges a verdict.
    ///
    /// # Errors
    /// The first [`PolicyBreach`], in the order in which the variants are listed; what is unknown never passes.
    pub fn judge(&self, verdict: &Verdict) -> Result<(), PolicyBreach> {
        let tally = &verdict.tally;
        match verdict.outcome {
            Outcome::Unknown(_) => return Err(PolicyBreach::Unknown),
            Outcome::Clean | Outcome::Damaged | Outcome::Unreadable => {}
        }
        if verdict.level < self.level {
            return Err(PolicyBreach::Level { found: verdict.level, wanted: self.level });
        }
        let allowed = u128::from(self.damaged_per_million_max) * u128::from(tally.messages);
        if u128::from(tally.messages_damaged) * 1_000_000 > allowed {
            return Err(PolicyBreach::Damaged {
                messages_damaged: tally.messages_damaged,
                messages: tally.messages,
                per_million_max: self.damaged_per_million_max,
            });
        }
        let mailboxes_broken = broken(verdict);
        if mailboxes_broken > self.broken_mailboxes_max {
            let mailboxes_max = self.broken_mailboxes_max;
            return Err(PolicyBreach::Broken { mailboxes_broken, mailboxes_max });
        }
        let unreadable = tally.mailboxes_unreadable.max(tally.messages_unreadable.min(1));
        let unreadable = if verdict.outcome == Outcome::Unreadable { unreadable.max(1) } else { unreadable };
        if unreadable > self.unreadable_mailboxes_max {
            return Err(PolicyBreach::Unreadable {
                mailboxes_unreadable: unreadable,
                mailboxes_max: self.unreadable_mailboxes_max,
            });
        }
        if verdict.coverage < self.coverage_min {
            return Err(PolicyBreach::Coverage { found: verdict.coverage, wanted: self.coverage_min });
        }
        Ok(())
    }
}

/// Mailboxes that are broken: harm that no count of messages explains is not believed to be harmless.
fn broken(verdict: &Verdict) -> u64 {
    let tally = &verdict.tally;
    let unexplained = tally.mailboxes_damaged.saturating_sub(tally.messages_damaged);
    let claimed = u64::from(verdict.outcome == Outcome::Damaged && tally.messages_damaged == 0);
    tally.mailboxes_broken.max(unexplained).max(claimed)
}

/// How tries are made and given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Failed tries on the way into service after which a shard has failed. A verification in between does not reset the count.
    pub attempts_max: u32,
    /// Wait before the second try; doubles with each further one.
    pub backoff_first: Span,
    /// Longest wait between tries.
    pub backoff_max: Span,
    /// Longest run of one verification.
    pub verify_timeout: Span,
    /// Longest run of one confirmation.
    pub confirm_timeout: Span,
    /// Longest time without progress within one task.
    pub stall_timeout: Span,
    /// Longest wait for a node to confirm an opening step.
    pub open_timeout: Span,
}

/// How shards open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Services that each step adds, in order; 1 to [`STEPS_MAX`] steps, no service twice.
    pub steps: Vec<ServiceSet>,
    /// Most shards of this campaign between confirmation and open at once.
    pub in_flight_max: u32,
}

impl Opening {
    /// What is to be open after the next step of a shard on which `open` is; `None` when no step adds anything.
    ///
    /// Nothing that is open closes, also where the plan was revised between two steps.
    #[must_use]
    pub fn after(&self, open: ServiceSet) -> Option<ServiceSet> {
        self.steps.iter().map(|step| open.union(*step)).find(|after| *after != open)
    }
}

/// Most readers of one task: four times what the fastest measured array gains from.
pub const READERS_MAX: u32 = 128;

/// How hard a task may press on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes read per second by one task; zero is no limit.
    pub bytes_per_second: ByteSize,
    /// Files one task reads at once.
    pub readers: u32,
}

/// A validated plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Names the campaign.
    pub name: CampaignId,
    /// What the campaign does.
    pub kind: CampaignKind,
    /// Which shards.
    pub covers: Coverage,
    /// Who comes first; at most [`CLASSES_MAX`].
    pub classes: Vec<Class>,
    /// Fixes the shuffle inside the classes; drawn at random when absent, so that the order cannot be guessed.
    pub seed: Option<[u8; 32]>,
    /// Waves.
    pub waves: Waves,
    /// What verification must show.
    pub policy: Policy,
    /// Tries and deadlines.
    pub tries: Tries,
    /// Opening.
    pub opening: Opening,
    /// Load on nodes.
    pub pace: Pace,
}

/// What is wrong with a plan, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanProblem {
    /// Path of the setting as written in TOML, such as `waves.list[2]`; empty for the plan as a whole.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tally, UnknownCause};

    const POLICY: Policy = Policy {
        level: Level::Structure,
        coverage_min: Ppm::ONE,
        damaged_per_million_max: 1_000,
        broken_mailboxes_max: 0,
        unreadable_mailboxes_max: 0,
        verified_age_max: Span::from_secs(3600),
    };

    fn verdict(outcome: Outcome, damaged: u64) -> Verdict {
        let tally = Tally { mailboxes: 10, messages: 10_000, messages_damaged: damaged, ..Tally::default() };
        Verdict { outcome, level: Level::Structure, coverage: Ppm::ONE, tally }
    }

    #[test]
    fn damage_within_the_allowance_passes() {
        assert_eq!(POLICY.judge(&verdict(Outcome::Damaged, 10)), Ok(()));
        assert!(matches!(
            POLICY.judge(&verdict(Outcome::Damaged, 11)),
            Err(PolicyBreach::Damaged { messages_damaged: 11, messages: 10_000, per_million_max: 1_000 })
        ));
    }

    /// R1: what a plan allows of damaged messages says nothing of mailboxes that are missing or broken.
    #[test]
    fn broken_mailboxes_have_an_allowance_of_their_own() {
        let with = |mailboxes_damaged, mailboxes_broken| {
            let clean = verdict(Outcome::Damaged, 2);
            Verdict { tally: Tally { mailboxes_damaged, mailboxes_broken, ..clean.tally }, ..clean }
        };
        let broken =
            |mailboxes_broken, mailboxes_max| Err(PolicyBreach::Broken { mailboxes_broken, mailboxes_max });
        let two = Policy { broken_mailboxes_max: 2, ..POLICY };
        assert_eq!(POLICY.judge(&with(2, 0)), Ok(()));
        assert_eq!(POLICY.judge(&with(2, 1)), broken(1, 0));
        assert_eq!(two.judge(&with(4, 2)), Ok(()));
        assert_eq!(two.judge(&with(5, 3)), broken(3, 2));
        assert_eq!(two.judge(&with(5, 0)), broken(3, 2), "two damaged messages are in two mailboxes at most");
    }

    /// R7: what is unknown holds, and an outcome without the counts to explain it does not pass.
    #[test]
    fn unknown_and_unexplained_harm_never_pass() {
        let strict = Policy { damaged_per_million_max: 0, ..POLICY };
        assert_eq!(
            POLICY.judge(&verdict(Outcome::Unknown(UnknownCause::Empty), 0)),
            Err(PolicyBreach::Unknown)
        );
        assert!(strict.judge(&verdict(Outcome::Damaged, 0)).is_err());
        assert!(POLICY.judge(&verdict(Outcome::Unreadable, 0)).is_err());
        assert_eq!(strict.judge(&verdict(Outcome::Clean, 0)), Ok(()));
    }

    #[test]
    fn depth_and_coverage_must_be_reached() {
        let shallow = Verdict { level: Level::Presence, ..verdict(Outcome::Clean, 0) };
        assert!(matches!(POLICY.judge(&shallow), Err(PolicyBreach::Level { .. })));
        let partial = Verdict { coverage: Ppm::new(999_999).unwrap(), ..verdict(Outcome::Clean, 0) };
        assert!(matches!(POLICY.judge(&partial), Err(PolicyBreach::Coverage { .. })));
    }
}
