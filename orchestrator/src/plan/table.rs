//! Takes settings out of tables, collecting what is wrong instead of stopping at it.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::PlanFault;
use super::nearest::nearest;
use super::place::Places;

/// Longest piece of the text that is repeated in a problem, in characters.
const QUOTE_CHARS_MAX: usize = 60;

/// Collects places and problems while a text is read.
pub(super) struct Reader {
    places: Places,
    faults: Vec<PlanFault>,
}

/// A table of the text; empty when it is not written.
pub(super) struct Section<'a> {
    /// Its path; empty for the whole plan.
    pub(super) path: String,
    at: usize,
    table: Option<&'a DeTable<'a>>,
}

/// One value of the text.
pub(super) struct Setting<'a> {
    /// Its path.
    pub(super) path: String,
    at: usize,
    /// What is written.
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Section<'a> {
    pub(super) fn whole(table: &'a DeTable<'a>) -> Self {
        Self { path: String::new(), at: 0, table: Some(table) }
    }

    pub(super) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl<'a> Setting<'a> {
    fn of(path: String, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { path, at: value.span().start, value: value.get_ref() }
    }
}

impl Reader {
    pub(super) fn new(text: &str) -> Self {
        Self { places: Places::new(text), faults: Vec::new() }
    }

    pub(super) fn finish(self) -> (Places, Vec<PlanFault>) {
        (self.places, self.faults)
    }

    fn fault_at(&mut self, at: usize, field: &str, problem: impl Into<String>) {
        let (line, column) = self.places.position(at);
        self.faults.push(PlanFault { line, column, field: field.to_owned(), problem: problem.into() });
    }

    /// Something is wrong with a setting.
    pub(super) fn fault(&mut self, setting: &Setting<'_>, problem: impl Into<String>) {
        self.fault_at(setting.at, &setting.path, problem);
    }

    /// Something is wrong with a table as a whole, or a key of it is missing.
    pub(super) fn fault_in(&mut self, section: &Section<'_>, key: &str, problem: impl Into<String>) {
        let field = if key.is_empty() { section.path.clone() } else { section.path_of(key) };
        self.fault_at(section.at, &field, problem);
    }

    /// Refuses keys that are not known.
    pub(super) fn check_keys(&mut self, section: &Section<'_>, known: &[&str]) {
        for key in section.table.into_iter().flat_map(|table| table.keys()) {
            let word = key.get_ref().as_ref();
            if known.contains(&word) {
                continue;
            }
            let advice = match nearest(word, known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let field = section.path_of(&quote(word));
            self.fault_at(key.span().start, &field, format!("is not a setting; {advice}"));
        }
    }

    /// The setting of this key, if it is written.
    pub(super) fn get<'a>(&mut self, section: &Section<'a>, key: &str) -> Option<Setting<'a>> {
        let setting = Setting::of(section.path_of(key), section.table?.get(key)?);
        self.places.note(&setting.path, setting.at);
        Some(setting)
    }

    /// The table of this key; empty when it is not written or is no table.
    pub(super) fn section<'a>(&mut self, parent: &Section<'a>, key: &str) -> Section<'a> {
        match self.get(parent, key) {
            Some(setting) => self.as_section(&setting),
            None => Section { path: parent.path_of(key), at: parent.at, table: None },
        }
    }

    /// The table that a setting is.
    pub(super) fn as_section<'a>(&mut self, setting: &Setting<'a>) -> Section<'a> {
        let table = setting.value.as_table();
        if table.is_none() {
            self.fault(setting, format!("must be a table, not {}", article(setting.value)));
        }
        Section { path: setting.path.clone(), at: setting.at, table }
    }

    /// Keys and values of a table whose keys are names.
    pub(super) fn entries<'a>(&mut self, section: &Section<'a>) -> Vec<(&'a str, Setting<'a>)> {
        let mut entries = Vec::new();
        for (key, value) in section.table.into_iter().flatten() {
            let setting = Setting::of(section.path_of(key.get_ref()), value);
            self.places.note(&setting.path, setting.at);
            entries.push((key.get_ref().as_ref(), setting));
        }
        entries
    }

    /// The elements of a list, at most `max`; none when it is no list.
    pub(super) fn elements<'a>(&mut self, setting: &Setting<'a>, max: usize) -> Option<Vec<Setting<'a>>> {
        let Some(array) = setting.value.as_array() else {
            self.fault(setting, format!("must be a list, not {}", article(setting.value)));
            return None;
        };
        if array.len() > max {
            self.fault(setting, format!("has {} elements; at most {max} are possible", array.len()));
            return None;
        }
        let element = |(at, value)| Setting::of(format!("{}[{at}]", setting.path), value);
        let elements: Vec<_> = array.iter().enumerate().map(element).collect();
        elements.iter().for_each(|element| self.places.note(&element.path, element.at));
        Some(elements)
    }

    /// A text that a setting must be.
    pub(super) fn text<'a>(&mut self, setting: &Setting<'a>, example: &str) -> Option<&'a str> {
        let text = setting.value.as_str();
        if text.is_none() {
            let problem =
                format!("must be a text in quotes, such as {example}, not {}", article(setting.value));
            self.fault(setting, problem);
        }
        text
    }

    /// What a text means.
    pub(super) fn parsed<T>(&mut self, setting: &Setting<'_>, example: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text(setting, example)?;
        text.parse().map_err(|error| self.fault(setting, format!("{} {error}", quote(text)))).ok()
    }

    /// What the text of this key means, or the default.
    pub(super) fn parsed_or<T>(&mut self, section: &Section<'_>, key: &str, default: T, example: &str) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.get(section, key) {
            Some(setting) => self.parsed(&setting, example).unwrap_or(default),
            None => default,
        }
    }

    /// The whole number of this key, or the default. What makes no sense though it is a number is found with all else that
    /// makes none, when the text is read: `sense` is what a number that is none is told to be.
    pub(super) fn number_or(
        &mut self,
        section: &Section<'_>,
        key: &str,
        default: u64,
        sense: &RangeInclusive<u64>,
    ) -> u64 {
        self.whole_or(section, key, default, sense, u64::MAX)
    }

    /// The same, of what fits in 32 bits.
    pub(super) fn small_or(
        &mut self,
        section: &Section<'_>,
        key: &str,
        default: u32,
        sense: &RangeInclusive<u32>,
    ) -> u32 {
        let sense = (*sense.start()).into()..=(*sense.end()).into();
        let number = self.whole_or(section, key, default.into(), &sense, u32::MAX.into());
        u32::try_from(number).unwrap_or(default)
    }

    fn whole_or(
        &mut self,
        section: &Section<'_>,
        key: &str,
        default: u64,
        sense: &RangeInclusive<u64>,
        most: u64,
    ) -> u64 {
        let Some(setting) = self.get(section, key) else { return default };
        let integer = setting.value.as_integer();
        let number = integer.and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok());
        number.filter(|number| *number <= most).unwrap_or_else(|| {
            let (least, most) = (sense.start(), sense.end());
            self.fault(&setting, format!("must be a whole number from {least} to {most}, without quotes"));
            default
        })
    }
}

/// A piece of the text, cut and made visible: every word of a plan is ASCII, so a letter that only looks like one is spelled
/// out, and nothing or a space at an end is shown in quotes.
pub(super) fn quote(text: &str) -> String {
    let cut: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    let around = if text.is_empty() || text.trim() != text { "\"" } else { "" };
    format!("{around}{}{more}{around}", cut.escape_default())
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
