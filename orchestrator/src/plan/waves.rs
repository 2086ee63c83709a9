//! How a plan says that waves grow and follow each other.

use rientro_types::{DOMAIN_CAPS_MAX, DomainCap, Ppm, Promotion, Schedule, Share, Span, WAVES_MAX, Waves};
use toml::de::DeValue;

use super::sections::{label_key, span};
use super::table::{Reader, Section, Setting, quote};

/// Size of a wave in percent of the one before: doubling reaches a whole fleet from 1% in seven waves.
const GROWTH_PERCENT: u32 = 200;
/// Largest growth, in percent: a wave a thousand times the one before is no wave.
const GROWTH_PERCENT_MAX: u32 = 100_000;
/// Largest part of the mailboxes in one wave of a growing schedule.
const GROWTH_MAX_PPM: u32 = 250_000;
/// Mailboxes of a wave after the canary that may be lost: one bad shard in fifty does not stop a return.
const ERROR_BUDGET_PPM: u32 = 20_000;
/// How long a wave must have lived: long enough for users to have logged in and complained.
const BAKE: Span = Span::from_secs(1800);

pub(super) fn waves(reader: &mut Reader, section: &Section<'_>) -> Option<Waves> {
    if !section.is_written() {
        reader.fault_in(section, "", "is missing; write [waves] with list = [\"1%\", \"10%\", \"rest\"]");
        return None;
    }
    let keys = [
        "list",
        "first",
        "growth",
        "max",
        "promotion",
        "bake",
        "error_budget",
        "error_budget_canary",
        "domain_caps",
    ];
    reader.check_keys(section, &keys);
    let schedule = schedule(reader, section);
    Some(Waves {
        domain_caps: domain_caps(reader, section),
        promotion: promotion(reader, section),
        bake: span(reader, section, "bake", BAKE),
        error_budget_canary: reader.parsed_or(section, "error_budget_canary", Ppm::ZERO, "\"0%\""),
        error_budget: reader.parsed_or(section, "error_budget", ppm(ERROR_BUDGET_PPM), "\"2%\""),
        schedule: schedule?,
    })
}

fn ppm(raw: u32) -> Ppm {
    Ppm::new(raw).unwrap_or(Ppm::ZERO)
}

fn schedule(reader: &mut Reader, section: &Section<'_>) -> Option<Schedule> {
    let list = reader.get(section, "list");
    let first = reader.get(section, "first");
    let growth = reader.get(section, "growth");
    let max = reader.get(section, "max");
    match (list, first) {
        (Some(list), first) => {
            for other in [first, growth, max].into_iter().flatten() {
                reader.fault(&other, "belongs to growing waves; with a list it has no meaning");
            }
            let entries = reader.elements(&list, WAVES_MAX)?;
            Some(Schedule::List(entries.iter().filter_map(|entry| share(reader, entry)).collect()))
        }
        (None, Some(first)) => {
            let first: Ppm = reader.parsed(&first, "\"1%\"")?;
            let percent = growth.map_or(Some(GROWTH_PERCENT), |growth| percent(reader, &growth))?;
            let widest = first.max(ppm(GROWTH_MAX_PPM));
            let max = max.map_or(Some(widest), |max| reader.parsed(&max, "\"25%\""))?;
            Some(Schedule::Growth { first, percent, max })
        }
        (None, None) => {
            let problem = "needs list = [\"1%\", \"10%\", \"rest\"], or first with growth and max";
            reader.fault_in(section, "", problem);
            None
        }
    }
}

/// `5%`, `3 shards` or `rest`.
fn share(reader: &mut Reader, setting: &Setting<'_>) -> Option<Share> {
    let text = reader.text(setting, "\"5%\"")?;
    let count = text.strip_suffix(" shards").or_else(|| text.strip_suffix(" shard"));
    let share = match count {
        _ if text == "rest" => Some(Share::Rest),
        Some(count) => count.trim_end().parse().ok().map(Share::Shards),
        None => text.parse().ok().map(Share::Mailboxes),
    };
    if share.is_none() {
        let problem = format!("{} is not a wave; write \"5%\", \"3 shards\" or \"rest\"", quote(text));
        reader.fault(setting, problem);
    }
    share
}

/// A factor with at most two decimals, in percent.
fn percent(reader: &mut Reader, setting: &Setting<'_>) -> Option<u32> {
    let written = match setting.value {
        DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str()),
        DeValue::Float(float) => Some(float.as_str()),
        DeValue::Integer(_)
        | DeValue::String(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    };
    let percent = written.and_then(hundredths).filter(|percent| *percent <= GROWTH_PERCENT_MAX);
    if percent.is_none() {
        let most = GROWTH_PERCENT_MAX / 100;
        let problem = format!(
            "must be a number from 1 to {most} with at most two decimals, such as 2 or 1.5: how many times larger each wave is"
        );
        reader.fault(setting, problem);
    }
    percent
}

fn hundredths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str, max| !t.is_empty() && t.len() <= max && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 6) || !digits(part, 2) {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let part: u32 = format!("{part:0<2}").parse().ok()?;
    Some(whole * 100 + part)
}

fn promotion(reader: &mut Reader, section: &Section<'_>) -> Promotion {
    let Some(setting) = reader.get(section, "promotion") else { return Promotion::Automatic };
    match reader.text(&setting, "\"manual\"") {
        Some("automatic") => Promotion::Automatic,
        Some("manual") => Promotion::Manual,
        Some(other) => {
            let problem = format!("{} is not a promotion; write automatic or manual", quote(other));
            reader.fault(&setting, problem);
            Promotion::Manual
        }
        None => Promotion::Manual,
    }
}

fn domain_caps(reader: &mut Reader, section: &Section<'_>) -> Vec<DomainCap> {
    let caps = reader.section(section, "domain_caps");
    let entries = reader.entries(&caps);
    if entries.len() > DOMAIN_CAPS_MAX {
        let problem = format!("caps {} labels; at most {DOMAIN_CAPS_MAX} are possible", entries.len());
        reader.fault_in(&caps, "", problem);
        return Vec::new();
    }
    let mut found = Vec::with_capacity(entries.len());
    for (key, setting) in entries {
        let label = label_key(reader, key, &setting);
        let max = reader.parsed(&setting, "\"25%\"");
        found.extend(label.zip(max).map(|(label, max)| DomainCap { label, max }));
    }
    found
}
