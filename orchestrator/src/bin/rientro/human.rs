//! Numbers and moments as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rientro_types::{ByteSize, CellTime, Span};

/// A count with thousands separated.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun, which takes an ending unless it is one.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    let ending = match number {
        1 => "",
        _ if noun.ends_with('x') => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", count(number))
}

/// Bytes, or a dash when unknown.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes == 0 { "-".to_owned() } else { ByteSize::from_bytes(bytes).to_string() }
}

/// A share in percent with one decimal, rounded down: 100% is said only when nothing is missing. Of nothing there is none.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    match per_mille(part, whole) {
        1000 => "100%".to_owned(),
        tenths => format!("{}.{}%", tenths / 10, tenths % 10),
    }
}

/// A share in thousandths, rounded down; all of nothing is all.
pub(crate) fn per_mille(part: u64, whole: u64) -> u64 {
    if whole == 0 {
        return 1000;
    }
    u64::try_from(u128::from(part.min(whole)) * 1000 / u128::from(whole)).unwrap_or(1000)
}

/// A length of time in its two largest units.
pub(crate) fn span(span: Span) -> String {
    let secs = span.ms() / 1000;
    let (days, hours, minutes, seconds) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60);
    let pair = |a: u64, a_unit: &str, b: u64, b_unit: &str| {
        if b == 0 { format!("{a}{a_unit}") } else { format!("{a}{a_unit} {b}{b_unit}") }
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => pair(minutes, "m", seconds, "s"),
        (0, _, _) => pair(hours, "h", minutes, "m"),
        _ => pair(days, "d", hours, "h"),
    }
}

/// A length of time in its largest unit: for narrow columns.
pub(crate) fn short_span(length: Span) -> String {
    let text = span(length);
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// A moment in the time zone of this machine.
pub(crate) fn moment(at: CellTime) -> String {
    format_local(at, "%Y-%m-%d %H:%M:%S %Z")
}

/// The time of day of a moment in the time zone of this machine.
pub(crate) fn clock(at: CellTime) -> String {
    format_local(at, "%H:%M:%S")
}

/// A moment for machines: RFC 3339, UTC.
pub(crate) fn rfc3339(at: CellTime) -> String {
    timestamp(at).to_string()
}

fn format_local(at: CellTime, format: &str) -> String {
    timestamp(at).to_zoned(TimeZone::system()).strftime(format).to_string()
}

fn timestamp(at: CellTime) -> Timestamp {
    let ms = i64::try_from(at.unix_ms()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shares_read_well_and_never_round_up_to_all() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(plural(1, "mailbox"), "1 mailbox");
        assert_eq!(plural(2_000, "shard"), "2,000 shards");
        assert_eq!(percent(999_999, 1_000_000), "99.9%");
        assert_eq!(percent(5, 5), "100%");
        assert_eq!(percent(0, 0), "-");
    }

    #[test]
    fn lengths_of_time_keep_two_units() {
        let of = |secs| span(Span::from_secs(secs));
        assert_eq!([of(0), of(59), of(60), of(61)], ["0s", "59s", "1m", "1m 1s"]);
        assert_eq!([of(3600), of(7_265), of(90_000)], ["1h", "2h 1m", "1d 1h"]);
        assert_eq!(short_span(Span::from_secs(7_265)), "2h");
    }
}
