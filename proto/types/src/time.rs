//! Time as the core sees it: integer milliseconds, always an argument.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// A moment of the cell: milliseconds since the Unix epoch, never going backwards, journaled with every entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellTime(u64);

impl CellTime {
    /// A moment from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for CellTime {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for CellTime {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

/// A moment on a campaign's own clock, which stands still while the campaign is paused and while no leader listens.
/// Deadlines are kept on it, so that nobody is charged for either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActiveTime(u64);

impl ActiveTime {
    /// A moment from milliseconds on the campaign's clock.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds on the campaign's clock.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to this; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for ActiveTime {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A length of time in milliseconds. Text form: a whole number and one of `ms s m h d`, such as `90s` or `6h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// A span of milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// A span of seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Both spans together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The span `times` over.
    #[must_use]
    pub const fn times(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl From<Span> for std::time::Duration {
    fn from(span: Span) -> Self {
        Self::from_millis(span.0)
    }
}

const UNITS: [(&str, u64); 5] = [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];

impl fmt::Display for Span {
    /// The largest unit that needs no fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ZERO {
            return f.pad("0s");
        }
        let (name, ms) = UNITS[1..].iter().find(|(_, ms)| self.0.is_multiple_of(*ms)).unwrap_or(&UNITS[0]);
        f.pad(&format!("{}{name}", self.0 / ms))
    }
}

/// A text is not a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a duration; write a whole number and a unit, such as 500ms, 90s, 5m, 6h or 2d")]
pub struct SpanError;

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let (unit, ms) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or(SpanError)?;
        let count: u64 = text[..text.len() - unit.len()].parse().map_err(|_| SpanError)?;
        count.checked_mul(*ms).map(Self).ok_or(SpanError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write_as_people_do() {
        for text in ["500ms", "90s", "5m", "6h", "2d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!(Span::ZERO.to_string(), "0s");
        assert_eq!("5".parse::<Span>(), Err(SpanError));
        assert_eq!("-5s".parse::<Span>(), Err(SpanError));
        assert_eq!("99999999999999999d".parse::<Span>(), Err(SpanError));
    }
}
