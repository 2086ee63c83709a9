//! The parts of a plan, one function each.

use std::collections::{BTreeMap, BTreeSet};

use rientro_types::{
    ByteSize, CLASSES_MAX, CampaignId, CampaignKind, Class, Coverage, Digest, LABELS_MAX, LabelKey,
    LabelValue, Level, LevelError, Opening, Pace, Plan, Policy, Ppm, READERS_MAX, SHARDS_NAMED_MAX,
    STEPS_MAX, Service, ServiceSet, ShardId, Span, Tries,
};
use toml::de::DeTable;

use super::table::{Reader, Section, Setting, quote};
use super::waves;

/// Shards between confirmation and open at once: enough to keep a fleet busy, few enough to stop in time.
const IN_FLIGHT: u32 = 64;
/// Files one task reads at once: hides the latency of one disk without starving live traffic on its node.
const READERS: u32 = 4;
/// Failed tries before an operator is asked: those of verification and confirmation together, and what a remount cut off. A try
/// that succeeds takes none of them back; opening does, and so do an acceptance, a closing, and being sent on its way again.
const ATTEMPTS: u32 = 3;
/// Most of them: more than any repair by waiting takes. With no end to them what never succeeds is tried for years.
const ATTEMPTS_MAX: u32 = 1_000;
/// Shortest wait between tries: a failing one is over in milliseconds, and a fleet of them would keep the journal busy.
const BACKOFF_MIN: Span = Span::from_secs(1);

pub(super) fn plan(reader: &mut Reader, table: &DeTable<'_>) -> Option<Plan> {
    let whole = Section::whole(table);
    let keys = ["name", "kind", "seed", "covers", "class", "waves", "verify", "tries", "open", "pace"];
    reader.check_keys(&whole, &keys);
    let name = name(reader, &whole);
    let seed = reader.get(&whole, "seed");
    let seed = seed.and_then(|seed| reader.parsed::<Digest>(&seed, "64 hexadecimal digits"));
    let kind = kind(reader, &whole);
    let covers = reader.section(&whole, "covers");
    let mut named = 0;
    let covers = if covers.is_written() {
        reader.check_keys(&covers, &["all", "labels", "shards"]);
        coverage(reader, &covers, &mut named, true)
    } else {
        Some(Coverage::All)
    };
    let classes = classes(reader, &whole, &mut named);
    let waves = reader.section(&whole, "waves");
    let waves = waves::waves(reader, &waves);
    let (policy, tries) = (policy(reader, &whole), tries(reader, &whole));
    let (opening, pace) = (opening(reader, &whole), pace(reader, &whole));
    Some(Plan {
        name: name?,
        kind,
        covers: covers?,
        classes: classes?,
        seed: seed.map(|seed| *seed.raw()),
        waves: waves?,
        policy,
        tries,
        opening,
        pace,
    })
}

fn name(reader: &mut Reader, whole: &Section<'_>) -> Option<CampaignId> {
    let Some(setting) = reader.get(whole, "name") else {
        reader.fault_in(whole, "name", "is missing; it names the campaign, such as name = \"return-1\"");
        return None;
    };
    reader.parsed(&setting, "\"return-1\"")
}

fn kind(reader: &mut Reader, whole: &Section<'_>) -> CampaignKind {
    if let Some(setting) = reader.get(whole, "kind")
        && let Some(text) = reader.text(&setting, "\"restore\"")
        && text != "restore"
    {
        let problem = format!("{} is not a kind of campaign; the one kind is restore", quote(text));
        reader.fault(&setting, problem);
    }
    CampaignKind::Restore
}

/// One of `all`, `labels` and `shards`; `named` counts shards over the whole plan.
fn coverage(
    reader: &mut Reader,
    section: &Section<'_>,
    named: &mut usize,
    all_allowed: bool,
) -> Option<Coverage> {
    let all = if all_allowed { reader.get(section, "all") } else { None };
    let labels = reader.get(section, "labels");
    let shards = reader.get(section, "shards");
    match (all, labels, shards) {
        (Some(all), None, None) if all.value.as_bool() == Some(true) => Some(Coverage::All),
        (Some(all), None, None) => {
            reader.fault(&all, "must be true; name labels or shards to cover only some");
            None
        }
        (None, Some(labels), None) => self::labels(reader, &labels).map(Coverage::Labels),
        (None, None, Some(shards)) => self::shards(reader, &shards, named).map(Coverage::Shards),
        _ => {
            let choice = if all_allowed { "all, labels and shards" } else { "labels and shards" };
            reader.fault_in(section, "", format!("needs exactly one of {choice}"));
            None
        }
    }
}

fn labels(reader: &mut Reader, setting: &Setting<'_>) -> Option<BTreeMap<LabelKey, LabelValue>> {
    let section = reader.as_section(setting);
    if !section.is_written() {
        return None;
    }
    let entries = reader.entries(&section);
    if entries.is_empty() || entries.len() > LABELS_MAX {
        let problem = format!("names {} labels; 1 to {LABELS_MAX} are possible", entries.len());
        reader.fault(setting, problem);
        return None;
    }
    let count = entries.len();
    let mut labels = BTreeMap::new();
    for (key, value) in entries {
        let label = label_key(reader, key, &value);
        let value = reader.parsed(&value, "\"r12\"");
        labels.extend(label.zip(value));
    }
    (labels.len() == count).then_some(labels)
}

/// The name of a label that stands as a key.
pub(super) fn label_key(reader: &mut Reader, key: &str, setting: &Setting<'_>) -> Option<LabelKey> {
    let problem = |error| format!("the label {} {error}", quote(key));
    key.parse().map_err(|error| reader.fault(setting, problem(error))).ok()
}

fn shards(reader: &mut Reader, setting: &Setting<'_>, named: &mut usize) -> Option<Vec<ShardId>> {
    let elements = reader.elements(setting, SHARDS_NAMED_MAX)?;
    if elements.is_empty() {
        reader.fault(setting, "names no shard; nothing would be covered");
        return None;
    }
    *named += elements.len();
    if *named > SHARDS_NAMED_MAX {
        let problem = format!("brings the plan above {SHARDS_NAMED_MAX} named shards; select by label");
        reader.fault(setting, problem);
        return None;
    }
    let count = elements.len();
    let mut seen = BTreeSet::new();
    let mut shards = Vec::with_capacity(count);
    for element in elements {
        let Some(shard) = reader.parsed::<ShardId>(&element, "\"vol-1\"") else { continue };
        if seen.insert(shard) {
            shards.push(shard);
        } else {
            reader.fault(&element, format!("names shard {shard} a second time"));
        }
    }
    (shards.len() == count).then_some(shards)
}

fn classes(reader: &mut Reader, whole: &Section<'_>, named: &mut usize) -> Option<Vec<Class>> {
    let Some(setting) = reader.get(whole, "class") else { return Some(Vec::new()) };
    let elements = reader.elements(&setting, CLASSES_MAX)?;
    let count = elements.len();
    let classes: Vec<Class> = elements.iter().filter_map(|element| class(reader, element, named)).collect();
    (classes.len() == count).then_some(classes)
}

fn class(reader: &mut Reader, setting: &Setting<'_>, named: &mut usize) -> Option<Class> {
    let section = reader.as_section(setting);
    if !section.is_written() {
        return None;
    }
    reader.check_keys(&section, &["labels", "shards", "weight"]);
    let weight = reader.small_or(&section, "weight", 1, &(0..=u32::MAX));
    let covers = coverage(reader, &section, named, false)?;
    Some(Class { covers, weight })
}

fn policy(reader: &mut Reader, whole: &Section<'_>) -> Policy {
    let verify = reader.section(whole, "verify");
    let allowed = ["damaged_per_million", "broken_mailboxes", "unreadable_mailboxes"];
    reader.check_keys(&verify, &[&["level", "coverage", "verified_age_max"], &allowed[..]].concat());
    Policy {
        level: level(reader, &verify),
        coverage_min: reader.parsed_or(&verify, "coverage", Ppm::ONE, "\"100%\""),
        damaged_per_million_max: reader.small_or(&verify, "damaged_per_million", 0, &(0..=999_999)),
        broken_mailboxes_max: reader.number_or(&verify, "broken_mailboxes", 0, &(0..=u64::MAX)),
        unreadable_mailboxes_max: reader.number_or(&verify, "unreadable_mailboxes", 0, &(0..=u64::MAX)),
        verified_age_max: span(reader, &verify, "verified_age_max", Span::from_secs(6 * 3600)),
    }
}

fn level(reader: &mut Reader, verify: &Section<'_>) -> Level {
    let Some(setting) = reader.get(verify, "level") else { return Level::Structure };
    match reader.text(&setting, "\"structure\"").map(|text| (text.parse(), quote(text))) {
        None => {}
        Some((Ok(level), _)) => return level,
        Some((Err(error), text)) => {
            let error: LevelError = error;
            reader.fault(&setting, format!("{text} {error}"));
        }
    }
    Level::Structure
}

fn tries(reader: &mut Reader, whole: &Section<'_>) -> Tries {
    let tries = reader.section(whole, "tries");
    let keys = [
        "attempts",
        "backoff",
        "backoff_max",
        "verify_timeout",
        "confirm_timeout",
        "stall_timeout",
        "open_timeout",
    ];
    reader.check_keys(&tries, &keys);
    let backoff_first = backoff(reader, &tries);
    // A longer first wait moves the default of the longest one with it.
    let backoff_max = backoff_first.max(Span::from_secs(600));
    Tries {
        attempts_max: attempts(reader, &tries),
        backoff_first,
        backoff_max: span(reader, &tries, "backoff_max", backoff_max),
        verify_timeout: span(reader, &tries, "verify_timeout", Span::from_secs(12 * 3600)),
        confirm_timeout: span(reader, &tries, "confirm_timeout", Span::from_secs(1800)),
        stall_timeout: span(reader, &tries, "stall_timeout", Span::from_secs(300)),
        open_timeout: span(reader, &tries, "open_timeout", Span::from_secs(60)),
    }
}

fn attempts(reader: &mut Reader, tries: &Section<'_>) -> u32 {
    let attempts = reader.small_or(tries, "attempts", ATTEMPTS, &(1..=ATTEMPTS_MAX));
    if attempts > ATTEMPTS_MAX
        && let Some(setting) = reader.get(tries, "attempts")
    {
        reader.fault(&setting, format!("must be at most {ATTEMPTS_MAX}"));
    }
    attempts
}

/// The first wait; those after it are longer.
fn backoff(reader: &mut Reader, tries: &Section<'_>) -> Span {
    let first = span(reader, tries, "backoff", Span::from_secs(30));
    if first < BACKOFF_MIN
        && let Some(setting) = reader.get(tries, "backoff")
    {
        reader.fault(
            &setting,
            format!("must be at least {BACKOFF_MIN}: what fails at once is tried again and again"),
        );
    }
    first
}

/// The duration of this key, or the default.
pub(super) fn span(reader: &mut Reader, section: &Section<'_>, key: &str, default: Span) -> Span {
    reader.parsed_or(section, key, default, "\"30m\"")
}

fn opening(reader: &mut Reader, whole: &Section<'_>) -> Opening {
    let open = reader.section(whole, "open");
    reader.check_keys(&open, &["steps", "services", "in_flight"]);
    let in_flight_max = reader.small_or(&open, "in_flight", IN_FLIGHT, &(1..=u32::MAX));
    let steps = match (reader.get(&open, "steps"), reader.get(&open, "services")) {
        (Some(steps), None) => self::steps(reader, &steps),
        (None, Some(set)) => vec![services(reader, &set)],
        (None, None) => vec![ServiceSet::ALL],
        (Some(_), Some(both)) => {
            reader.fault(&both, "is the same as steps with one step; write one of the two");
            Vec::new()
        }
    };
    Opening { steps, in_flight_max }
}

fn steps(reader: &mut Reader, setting: &Setting<'_>) -> Vec<ServiceSet> {
    let elements = reader.elements(setting, STEPS_MAX).unwrap_or_default();
    elements.iter().map(|element| services(reader, element)).collect()
}

fn services(reader: &mut Reader, setting: &Setting<'_>) -> ServiceSet {
    let mut services = ServiceSet::NONE;
    for element in reader.elements(setting, Service::ALL.len()).unwrap_or_default() {
        let Some(service) = reader.parsed::<Service>(&element, "\"imap\"") else { continue };
        if services.contains(service) {
            reader.fault(&element, format!("names {} a second time", service.name()));
        }
        services = services.with(service);
    }
    services
}

fn pace(reader: &mut Reader, whole: &Section<'_>) -> Pace {
    let pace = reader.section(whole, "pace");
    reader.check_keys(&pace, &["bytes_per_second", "readers"]);
    let rate = reader.get(&pace, "bytes_per_second");
    let unlimited = rate.as_ref().is_some_and(|rate| rate.value.as_str() == Some("unlimited"));
    let rate = rate.filter(|_| !unlimited);
    let bytes_per_second = rate.and_then(|rate| self::rate(reader, &rate)).unwrap_or_default();
    Pace { bytes_per_second, readers: reader.small_or(&pace, "readers", READERS, &(1..=READERS_MAX)) }
}

/// A rate above zero: zero would mean no limit, and nobody who writes it means that.
fn rate(reader: &mut Reader, setting: &Setting<'_>) -> Option<ByteSize> {
    let rate: ByteSize = reader.parsed(setting, "\"64 MiB\" or \"unlimited\"")?;
    if rate.bytes() == 0 {
        reader.fault(setting, "must be above 0 B; write \"unlimited\" for no limit");
    }
    Some(rate)
}
