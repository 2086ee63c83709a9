//! Decisions as sentences, for `journal tail` and the latest lines of `watch`.

use rientro_types::{
    Actor, CampaignId, Exception, FindingKinds, FleetLimits, Outcome, PassCause, PauseCause, Record,
    Selector, ShardId, TaskEnd, WaveNo,
};

use crate::foreign::clean;
use crate::human::{plural, span};
use crate::words::{held, services};

/// Most shards of a selector that a sentence names.
const SHARDS_TOLD: usize = 3;

/// Kind of a record for which there are no words; a test sees to it that there is none.
const UNTOLD: &str = "untold";

/// What a record is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The shard.
    pub(crate) shard: Option<ShardId>,
    /// The campaign.
    pub(crate) campaign: Option<CampaignId>,
    /// The wave.
    pub(crate) wave: Option<WaveNo>,
}

/// A record's kind, its sentence and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// One word with hyphens, for machines.
    pub(crate) kind: &'static str,
    /// For people.
    pub(crate) sentence: String,
    /// What it is about.
    pub(crate) about: Subject,
    /// Whether it is worth a line of its own where space is scarce: not the steps every shard goes through.
    pub(crate) notable: bool,
}

/// Tells a record.
pub(crate) fn tell(record: &Record) -> Told {
    match record {
        Record::CellFounded { .. }
        | Record::CellRestored { .. }
        | Record::LeaderTook { .. }
        | Record::Absent { .. }
        | Record::ClockMarked
        | Record::LimitsSet { .. }
        | Record::NodeEnrolled { .. }
        | Record::NodeSilent { .. }
        | Record::NodeHeard { .. } => tell_cell(record),
        Record::CampaignStarted { .. }
        | Record::CampaignReady { .. }
        | Record::CampaignRevised { .. }
        | Record::CampaignPaused { .. }
        | Record::CampaignResumed { .. }
        | Record::CampaignAborted { .. }
        | Record::CampaignEnded { .. } => tell_campaign(record),
        Record::WaveFormed { .. }
        | Record::WaveStarted { .. }
        | Record::WaveSettled { .. }
        | Record::WaveUnsettled { .. }
        | Record::WavePassed { .. } => tell_wave(record),
        Record::ShardMet { .. }
        | Record::ShardMeasured { .. }
        | Record::ShardPlaced { .. }
        | Record::ShardHeld { .. }
        | Record::ShardReleased { .. }
        | Record::ShardUnlisted { .. }
        | Record::ExceptionSet { .. } => tell_shard(record),
        Record::TaskStarted { .. }
        | Record::TaskEnded { .. }
        | Record::TaskReleased { .. }
        | Record::VerificationExpired { .. }
        | Record::StepOpening { .. }
        | Record::OpeningOverdue { .. }
        | Record::ServicesSeen { .. }
        | Record::ShardOpened { .. } => tell_progress(record),
        Record::Settled { .. }
        | Record::Closed { .. }
        | Record::Retried { .. }
        | Record::Accepted { .. }
        | Record::Prioritised { .. }
        | Record::Adopted { .. } => tell_sweep(record),
    }
}

/// A record of the cell and its nodes.
#[allow(clippy::wildcard_enum_match_arm, reason = "`tell` lists every record and sends only these here")]
fn tell_cell(record: &Record) -> Told {
    match record {
        Record::CellFounded { cell, .. } => told("cell-founded", true, format!("cell {cell} was founded")),
        Record::CellRestored { incarnation } => told(
            "cell-restored",
            true,
            format!("the journal was restored from a backup; life {incarnation} begins"),
        ),
        Record::LeaderTook { epoch } => {
            told("leader-took", true, format!("the orchestrator leads, epoch {epoch}"))
        }
        Record::Absent { span: gone } => {
            told("absent", true, format!("nobody led for {}; deadlines moved by as much", span(*gone)))
        }
        Record::ClockMarked => told("clock-marked", false, "time passed"),
        Record::LimitsSet { limits } => told("limits-set", true, limits_sentence(limits)),
        Record::NodeEnrolled { node, .. } => told("node-enrolled", true, format!("node {node} enrolled")),
        Record::NodeSilent { node, silent_for } => {
            told("node-silent", true, format!("node {node} is silent for {}", span(*silent_for)))
        }
        Record::NodeHeard { node } => told("node-heard", true, format!("node {node} is heard again")),
        _ => untold(),
    }
}

/// A record of a campaign.
#[allow(clippy::wildcard_enum_match_arm, reason = "`tell` lists every record and sends only these here")]
fn tell_campaign(record: &Record) -> Told {
    match record {
        Record::CampaignStarted { plan, .. } => of_campaign(plan.name, "campaign-started", true, "begins"),
        Record::CampaignReady { campaign } => {
            of_campaign(*campaign, "campaign-ready", false, "has its waves; work may begin")
        }
        Record::CampaignRevised { revision, plan, .. } => of_campaign(
            plan.name,
            "campaign-revised",
            true,
            format!("moves to revision {revision} of its plan"),
        ),
        Record::CampaignPaused { campaign, cause } => {
            of_campaign(*campaign, "campaign-paused", true, format!("pauses: {}", pause_cause(cause)))
        }
        Record::CampaignResumed { campaign } => of_campaign(*campaign, "campaign-resumed", true, "goes on"),
        Record::CampaignAborted { campaign } => {
            of_campaign(*campaign, "campaign-aborted", true, "is given up")
        }
        Record::CampaignEnded { campaign } => of_campaign(*campaign, "campaign-ended", true, "has ended"),
        _ => untold(),
    }
}

/// A record of a wave.
#[allow(clippy::wildcard_enum_match_arm, reason = "`tell` lists every record and sends only these here")]
fn tell_wave(record: &Record) -> Told {
    match record {
        Record::WaveFormed { campaign, wave, shards } => {
            let sentence = format!("gets {}", plural(shards.len() as u64, "shard"));
            Told { notable: false, ..of_wave(*campaign, *wave, "wave-formed", sentence) }
        }
        Record::WaveStarted { campaign, wave } => {
            of_wave(*campaign, *wave, "wave-started", "may open its shards")
        }
        Record::WaveSettled { campaign, wave } => {
            of_wave(*campaign, *wave, "wave-settled", "is settled; it bakes")
        }
        Record::WaveUnsettled { campaign, wave } => {
            of_wave(*campaign, *wave, "wave-unsettled", "moves again")
        }
        Record::WavePassed { campaign, wave, cause } => {
            of_wave(*campaign, *wave, "wave-passed", pass_cause(*cause))
        }
        _ => untold(),
    }
}

/// A record of where a shard is and what holds it.
#[allow(clippy::wildcard_enum_match_arm, reason = "`tell` lists every record and sends only these here")]
fn tell_shard(record: &Record) -> Told {
    match record {
        Record::ShardMet { node, claim } => {
            of_shard(claim.shard, "shard-met", false, format!("was met on node {node}"))
        }
        Record::ShardMeasured { shard, mailboxes } => {
            of_shard(*shard, "shard-measured", false, format!("has {}", plural(*mailboxes, "mailbox")))
        }
        Record::ShardPlaced { shard, placement } => {
            of_shard(*shard, "shard-placed", true, format!("is on node {}", placement.node))
        }
        Record::ShardHeld { shard, reason } => {
            of_shard(*shard, "shard-held", true, format!("is held: {}", held(reason)))
        }
        Record::ShardUnlisted { shard, unlisted: 0 } => {
            of_shard(*shard, "shard-unlisted", false, "lists all of its mailboxes again")
        }
        Record::ShardUnlisted { shard, unlisted } => {
            let what = format!("does not list {} that it had", plural(*unlisted, "mailbox"));
            of_shard(*shard, "shard-unlisted", true, what)
        }
        Record::ShardReleased { shard } => {
            of_shard(*shard, "shard-released", true, "is no longer held by circumstance")
        }
        Record::ExceptionSet { shard, mailbox, exception, reason } => of_shard(
            *shard,
            "exception-set",
            true,
            format!("mailbox {mailbox} {}: {}", exception_words(*exception), clean(reason)),
        ),
        _ => untold(),
    }
}

/// A record of a shard's way from its verification to its opening.
#[allow(clippy::wildcard_enum_match_arm, reason = "`tell` lists every record and sends only these here")]
fn tell_progress(record: &Record) -> Told {
    match record {
        Record::TaskStarted { shard, kind, attempt, node, .. } => of_shard(
            *shard,
            "task-started",
            false,
            format!("{} begins on node {node}, try {attempt}", kind.name()),
        ),
        Record::TaskEnded { shard, end, .. } => tell_end(*shard, end),
        Record::TaskReleased { shard, node, .. } => {
            of_shard(*shard, "task-released", false, format!("no longer busies node {node}"))
        }
        Record::VerificationExpired { shard } => {
            of_shard(*shard, "verification-expired", true, "was verified too long ago; it is verified again")
        }
        Record::StepOpening { shard, services: open, .. } => {
            of_shard(*shard, "step-opening", false, format!("opens {}", services(*open)))
        }
        Record::OpeningOverdue { shard } => of_shard(
            *shard,
            "opening-overdue",
            true,
            "is held: its node has not confirmed the opening in time",
        ),
        Record::ServicesSeen { shard, services: seen } => of_shard(
            *shard,
            "services-seen",
            false,
            format!("is known by its node to serve {}", services(*seen)),
        ),
        Record::ShardOpened { shard } => of_shard(*shard, "shard-opened", false, "is open"),
        _ => untold(),
    }
}

/// A record of an operator's decision about many shards.
#[allow(clippy::wildcard_enum_match_arm, reason = "`tell` lists every record and sends only these here")]
fn tell_sweep(record: &Record) -> Told {
    match record {
        Record::Settled { selector, node, reason } => {
            swept("settled", &format!("take as being on node {node}"), selector, Some(reason))
        }
        Record::Closed { selector, reason } => swept("closed", "close", selector, Some(reason)),
        Record::Retried { selector } => swept("retried", "verify again", selector, None),
        Record::Accepted { selector, reason } => {
            swept("accepted", "accept as they are", selector, Some(reason))
        }
        Record::Prioritised { selector } => swept("prioritised", "bring forward", selector, None),
        Record::Adopted { selector, reason, .. } => {
            swept("adopted", "take as in service", selector, Some(reason))
        }
        _ => untold(),
    }
}

/// A record that its noun's function does not know.
fn untold() -> Told {
    told(UNTOLD, true, "something was decided that this command has no words for")
}

/// An actor, unless it is the orchestrator itself.
pub(crate) fn by(actor: &Actor) -> String {
    if *actor == Actor::orchestrator() {
        String::new()
    } else {
        format!(" (by {})", clean(&actor.to_string()))
    }
}

fn told(kind: &'static str, notable: bool, sentence: impl Into<String>) -> Told {
    Told { kind, sentence: sentence.into(), about: Subject::default(), notable }
}

fn of_shard(shard: ShardId, kind: &'static str, notable: bool, sentence: impl Into<String>) -> Told {
    let about = Subject { shard: Some(shard), ..Subject::default() };
    Told { about, ..told(kind, notable, format!("shard {shard} {}", sentence.into())) }
}

fn of_campaign(campaign: CampaignId, kind: &'static str, notable: bool, sentence: impl Into<String>) -> Told {
    let about = Subject { campaign: Some(campaign), ..Subject::default() };
    Told { about, ..told(kind, notable, format!("campaign {campaign} {}", sentence.into())) }
}

fn of_wave(campaign: CampaignId, wave: WaveNo, kind: &'static str, sentence: impl Into<String>) -> Told {
    let about = Subject { campaign: Some(campaign), wave: Some(wave), ..Subject::default() };
    Told { about, ..told(kind, true, format!("wave {wave} of {campaign} {}", sentence.into())) }
}

fn limits_sentence(limits: &FleetLimits) -> String {
    let FleetLimits { verifies_per_node, confirms_per_node, verifies_per_domain, silence } = limits;
    let mut text = format!(
        "limits: {verifies_per_node} verifications and {confirms_per_node} confirmations on a node, silent after {silence}"
    );
    for (label, max) in verifies_per_domain {
        text.push_str(&format!(", {max} verifications in one {label}"));
    }
    text
}

fn pause_cause(cause: &PauseCause) -> String {
    match cause {
        PauseCause::Operator => "an operator asked for it".to_owned(),
        PauseCause::Restored => "the journal was restored from a backup".to_owned(),
        PauseCause::ErrorBudget { wave, mailboxes_lost, mailboxes, budget } => format!(
            "wave {wave} lost {mailboxes_lost} of {}, more than its budget of {budget}",
            plural(*mailboxes, "mailbox")
        ),
    }
}

const fn pass_cause(cause: PassCause) -> &'static str {
    match cause {
        PassCause::Baked => "has passed: its bake is over",
        PassCause::Promoted => "has passed: an operator promoted it",
    }
}

const fn exception_words(exception: Option<Exception>) -> &'static str {
    match exception {
        Some(Exception::Closed) => "is to stay closed alone",
        Some(Exception::Accepted) => "is to open with it, though damaged",
        None => "is to differ from it no longer",
    }
}

fn tell_end(shard: ShardId, end: &TaskEnd) -> Told {
    match end {
        TaskEnd::Verified { verification, .. } => {
            let notable = verification.verdict.outcome != Outcome::Clean;
            of_shard(shard, "task-ended", notable, format!("is verified: {}", verification.verdict))
        }
        TaskEnd::Confirmed => of_shard(shard, "task-ended", false, "is unchanged since its verification"),
        TaskEnd::Failed(failure) => {
            of_shard(shard, "task-ended", true, format!("try failed: {}", clean(&failure.to_string())))
        }
    }
}

fn swept(kind: &'static str, verb: &str, selector: &Selector, reason: Option<&String>) -> Told {
    let reason = reason.map(|reason| format!(": {}", clean(reason))).unwrap_or_default();
    let about = Subject { shard: None, campaign: selector.campaign, wave: selector.wave };
    Told { about, ..told(kind, true, format!("{verb} {}{reason}", selection(selector))) }
}

/// A selector in words.
pub(crate) fn selection(selector: &Selector) -> String {
    let Selector { all: _, campaign, wave, labels, states, findings, shards } = selector;
    let mut parts = Vec::new();
    if !shards.is_empty() {
        let named: Vec<_> = shards.iter().take(SHARDS_TOLD).map(ToString::to_string).collect();
        let more = shards.len() - named.len();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        parts.push(format!("{}{more}", named.join(", ")));
    }
    if !states.is_empty() {
        parts.push(states.iter().map(|state| state.name()).collect::<Vec<_>>().join(" or "));
    }
    if *findings != FindingKinds::NONE {
        let codes: Vec<_> = findings.iter().map(|kind| kind.code()).collect();
        parts.push(format!("with {}", codes.join(" or ")));
    }
    parts.extend(labels.iter().map(|(key, value)| format!("on {key}={value}")));
    parts.extend(wave.map(|wave| format!("of wave {wave}")));
    parts.extend(campaign.map(|campaign| format!("of campaign {campaign}")));
    if parts.is_empty() { "every shard".to_owned() } else { format!("shards: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_says_every_part_and_names_few_shards() {
        let mut selector = Selector { all: true, ..Selector::default() };
        assert_eq!(selection(&selector), "every shard");
        selector.shards = (0..5).map(|n| ShardId::new(&format!("v{n}")).expect("a name")).collect();
        selector.campaign = Some(CampaignId::new("r").expect("a name"));
        selector.wave = Some(WaveNo::from_raw(2));
        assert_eq!(selection(&selector), "shards: v0, v1, v2 and 2 more, of wave 2, of campaign r");
    }

    /// The golden journal holds a record of every kind.
    #[test]
    fn every_record_is_told_by_its_noun() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/tests/golden/journal-1.txt");
        let text = std::fs::read_to_string(golden).expect("the golden journal is in the tree");
        let byte = |hex: &str, at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        let mut kinds = std::collections::BTreeSet::new();
        for hex in text.lines().filter_map(|line| line.split(' ').next_back()) {
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|at| byte(hex, at)).collect();
            let entry = rientro_wire::codec::decode_entry(&bytes).into_iter();
            kinds.extend(entry.flat_map(|entry| entry.decisions).map(|decision| tell(&decision.record).kind));
        }
        assert!(kinds.len() > 30 && !kinds.contains(UNTOLD), "{kinds:?}");
    }

    /// T25: what an operator or an agent wrote cannot steer the terminal that shows it.
    #[test]
    fn reasons_are_shown_without_control_characters() {
        let selector = Selector { all: true, ..Selector::default() };
        let told = tell(&Record::Closed { selector, reason: "x\u{1b}[2Jy".to_owned() });
        assert_eq!(told.sentence, "close every shard: x\\u{1b}[2Jy");
    }
}
