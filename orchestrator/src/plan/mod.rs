//! Reads plans as people write them, and says where each problem is.
//!
//! It decides what a text means, on nothing but the text: the result is a [`Plan`] or every problem found, each with line,
//! column, field and what would be right. Keys it does not know are refused, so that a misspelt safeguard is never a missing
//! one. Whether a plan fits a fleet is decided by the engine; [`PlanFile::locate`] finds the place of such problems in
//! the text. It never guesses, and never reads anything but what it is given.
//!
//! # A complete plan
//!
//! Only `name` and the waves must be written. Every other line shows its default, except the ordering classes, the seed, the
//! caps by failure domain and the order of opening, which are empty or one step when left out.
//!
//! ```
//! # let text = r#"
//! name = "return-of-january"   # names the campaign: letters, digits and . _ - : @ +
//! kind = "restore"             # closed shards are verified and brought back online
//! ## seed = "<64 hex digits>"   # fixes the shuffle; left out, it is drawn, and nobody can guess the order
//!
//! [covers]                     # one of: all, labels, shards
//! all = true
//! ## labels = { site = "milan" }      shards on nodes that carry all of these labels
//! ## shards = ["vol-1", "vol-2"]      exactly these
//!
//! [[class]]                    # who comes first; repeat as needed. Shards in no class have weight 0
//! labels = { tier = "business" }   # or: shards = [...]
//! weight = 10                  # greater comes first
//!
//! [waves]
//! first = "1%"                 # of the mailboxes: the first wave, which is the canary,
//! growth = 3                   # how many times larger each further one is (1.5 is possible),
//! max = "20%"                  # and the largest
//! ## list = ["1%", "5%", "3 shards", "rest"]   instead of these: each wave, in mailboxes or shards
//! promotion = "automatic"      # or "manual": an operator promotes each wave
//! bake = "30m"                 # how long a wave must have lived before the next begins
//! error_budget_canary = "0%"   # mailboxes of wave 0 that may be held or failed before the campaign pauses
//! error_budget = "2%"          # the same for every other wave
//!
//! [waves.domain_caps]          # most of one failure domain that one wave may take
//! rack = "35%"
//!
//! [verify]                     # what a verification must show before a shard may open
//! level = "structure"          # presence, structure or baseline: with every message of the shard's baseline, which its agent has
//! coverage = "100%"            # messages looked at; at level baseline those that came since are not
//! damaged_per_million = 0      # damaged messages allowed
//! broken_mailboxes = 0         # mailboxes of a shard that may be missing, or damaged in more than messages
//! unreadable_mailboxes = 0     # mailboxes of a shard that may be unreadable; what could not be read lowers the coverage too
//! verified_age_max = "6h"      # older verifications are made again before opening
//!
//! [tries]
//! attempts = 3                 # failed tries before a shard has failed
//! backoff = "30s"              # wait before the second try; doubles
//! backoff_max = "10m"
//! verify_timeout = "12h"       # longest run of one verification
//! confirm_timeout = "30m"      # longest check that nothing changed since
//! stall_timeout = "5m"         # longest time without progress
//! open_timeout = "1m"          # longest wait for a node to confirm an opening step
//!
//! [open]
//! steps = [["webmail"], ["imap", "pop"], ["submission", "delivery"]]   # in this order
//! ## services = ["webmail", "imap", "pop", "submission", "delivery"]    # or all at once: the default
//! in_flight = 64               # shards between confirmation and open at once
//!
//! [pace]                       # load of one task on its node
//! bytes_per_second = "unlimited"   # or a size, such as "64 MiB"
//! readers = 4                  # files read at once
//! # "#;
//! # let file = rientro_orchestrator::plan::read(text.as_bytes()).expect("the documented plan is valid");
//! # assert_eq!(file.plan.name.as_str(), "return-of-january");
//! # assert_eq!(file.plan.opening.steps.len(), 3);
//! # assert_eq!(file.plan.classes[0].weight, 10);
//! ```

pub(crate) mod nearest;
mod place;
mod sections;
mod table;
mod waves;

use std::fmt;

use rientro_types::{Digest, PLAN_PROBLEMS_MAX, Plan, PlanProblem};
use toml::de::DeTable;

use place::Places;
use table::Reader;

/// Largest plan text, in bytes: 10,000 shards named one by one, each on a line of its own with a comment.
pub const PLAN_TEXT_BYTES_MAX: usize = 1 << 20;

/// Longest text whose mistakes of syntax are all looked at, in bytes: each byte may be one.
const MISTAKES_TEXT_BYTES_MAX: usize = 64 << 10;

/// A plan with the places of its settings.
#[derive(Clone, Debug)]
pub struct PlanFile {
    /// What the text means.
    pub plan: Plan,
    /// Digest of the text as written.
    pub source: Digest,
    places: Places,
}

/// One thing that is wrong with a plan's text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanFault {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The setting's path, such as `waves.list[2]`; empty for the plan as a whole.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for PlanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, field, problem } = self;
        let colon = if field.is_empty() { "" } else { ": " };
        write!(f, "{line}:{column}: {field}{colon}{problem}")
    }
}

/// Reads a plan.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text; at most [`PLAN_PROBLEMS_MAX`].
pub fn read(text: &[u8]) -> Result<PlanFile, Vec<PlanFault>> {
    if text.len() > PLAN_TEXT_BYTES_MAX {
        // Whoever read the text may have stopped there, so its length is not told.
        let problem = format!(
            "the text is too long, at most {PLAN_TEXT_BYTES_MAX} bytes are taken; select shards by label instead of by name"
        );
        return Err(vec![PlanFault { line: 1, column: 1, field: String::new(), problem }]);
    }
    let source = Digest::of(text);
    let text = str::from_utf8(text).map_err(|error| vec![not_utf8(text, error.valid_up_to())])?;
    let document = DeTable::parse(text).map_err(|error| vec![syntax(text, error)])?;
    let mut reader = Reader::new(text);
    let plan = sections::plan(&mut reader, document.get_ref());
    let (places, mut faults) = reader.finish();
    match plan {
        Some(plan) if faults.is_empty() => {
            let file = PlanFile { plan, source, places };
            let problems = rientro_engine::check_values(&file.plan);
            if problems.is_empty() { Ok(file) } else { Err(file.locate(&problems)) }
        }
        _ => {
            faults.sort();
            faults.truncate(PLAN_PROBLEMS_MAX);
            Err(faults)
        }
    }
}

impl PlanFile {
    /// Draws the seed of the order, where the text gives none: what is shown of the plan after this is what it does.
    pub fn draw_seed(&mut self) {
        self.plan.seed = Some(self.plan.seed.unwrap_or_else(crate::state_dir::random));
    }

    /// Finds the places of problems that were found in the plan's meaning; those of one place stay in their order.
    #[must_use]
    pub fn locate(&self, problems: &[PlanProblem]) -> Vec<PlanFault> {
        let mut faults: Vec<PlanFault> = problems
            .iter()
            .map(|PlanProblem { field, problem }| {
                let (line, column) = self.places.find(field);
                PlanFault { line, column, field: field.clone(), problem: problem.clone() }
            })
            .collect();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults
    }
}

fn not_utf8(text: &[u8], valid: usize) -> PlanFault {
    let good = str::from_utf8(&text[..valid]).unwrap_or_default();
    let (line, column) = Places::new(good).position(valid);
    PlanFault { line, column, field: String::new(), problem: "is not UTF-8 from here on".to_owned() }
}

/// The first mistake: those after it are often only its consequences.
fn syntax(text: &str, error: toml::de::Error) -> PlanFault {
    let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
    // The parser hands out the last mistake; all of them are held in memory only for a text of ordinary length.
    let all =
        if text.len() <= MISTAKES_TEXT_BYTES_MAX { DeTable::parse_recoverable(text).1 } else { Vec::new() };
    let first = all.into_iter().min_by_key(start).unwrap_or(error);
    let (line, column) = Places::new(text).position(start(&first));
    let problem = format!("is not TOML: {}", first.message().replace('\n', " "));
    PlanFault { line, column, field: String::new(), problem }
}

#[cfg(test)]
mod tests;
