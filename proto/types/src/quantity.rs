//! Whole-number ratios and byte counts, as the core computes with them and as people write them.

use std::fmt;
use std::str::FromStr;

/// Parts per million. Text form: a percentage with at most four decimals, such as `12.5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppm(u32);

impl Ppm {
    /// All of it.
    pub const ONE: Self = Self(1_000_000);
    /// None of it.
    pub const ZERO: Self = Self(0);

    /// Parts per million; `None` above one million.
    #[must_use]
    pub const fn new(ppm: u32) -> Option<Self> {
        if ppm <= 1_000_000 { Some(Self(ppm)) } else { None }
    }

    /// The bare number, 0 to 1,000,000.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// `part` of `whole`, rounded down; one when `whole` is zero, as nothing is missing of nothing.
    #[must_use]
    pub fn ratio(part: u64, whole: u64) -> Self {
        if whole == 0 {
            return Self::ONE;
        }
        let ppm = u128::from(part.min(whole)) * 1_000_000 / u128::from(whole);
        Self(u32::try_from(ppm).unwrap_or(1_000_000))
    }

    /// This share of `whole`, rounded down.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * u128::from(self.0) / 1_000_000).unwrap_or(u64::MAX)
    }

    /// This share of `whole`, rounded up.
    #[must_use]
    pub fn of_ceil(self, whole: u64) -> u64 {
        u64::try_from((u128::from(whole) * u128::from(self.0)).div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        if part == 0 {
            return f.pad(&format!("{whole}%"));
        }
        let digits = format!("{whole}.{part:04}");
        f.pad(&format!("{}%", digits.trim_end_matches('0')))
    }
}

/// A text is not a percentage between 0% and 100%.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a percentage; write 0% to 100%, with at most four decimals")]
pub struct PpmError;

impl FromStr for Ppm {
    type Err = PpmError;
    fn from_str(text: &str) -> Result<Self, PpmError> {
        let number = text.strip_suffix('%').ok_or(PpmError)?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |t: &str| !t.is_empty() && t.len() <= 4 && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) {
            return Err(PpmError);
        }
        let whole: u32 = whole.parse().map_err(|_| PpmError)?;
        let part: u32 = format!("{part:0<4}").parse().map_err(|_| PpmError)?;
        Self::new(whole * 10_000 + part).ok_or(PpmError)
    }
}

/// A number of bytes. Text form: a whole number and one of `B KiB MiB GiB TiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A number of bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The bare number.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl fmt::Display for ByteSize {
    /// At most one decimal, rounded down.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = SIZES.iter().find(|(_, size)| self.0 >= *size).unwrap_or(&SIZES[4]);
        let tenths = self.0 % size * 10 / size;
        if tenths == 0 {
            f.pad(&format!("{} {unit}", self.0 / size))
        } else {
            f.pad(&format!("{}.{tenths} {unit}", self.0 / size))
        }
    }
}

/// A text is not a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a size; write a whole number and a unit, such as 64 MiB")]
pub struct ByteSizeError;

impl FromStr for ByteSize {
    type Err = ByteSizeError;
    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let (unit, size) = SIZES.iter().find(|(unit, _)| text.ends_with(unit)).ok_or(ByteSizeError)?;
        let count: u64 = text[..text.len() - unit.len()].trim_end().parse().map_err(|_| ByteSizeError)?;
        count.checked_mul(*size).map(Self).ok_or(ByteSizeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_keep_four_decimals() {
        for text in ["0%", "12.5%", "100%", "0.0001%", "33.3333%"] {
            assert_eq!(text.parse::<Ppm>().unwrap().to_string(), text);
        }
        for text in ["", "5", "100.0001%", "-1%", "1.00001%", ".5%", "1.%"] {
            assert_eq!(text.parse::<Ppm>(), Err(PpmError), "{text}");
        }
    }

    #[test]
    fn shares_round_the_way_their_name_says() {
        let third: Ppm = "33.3333%".parse().unwrap();
        assert_eq!((third.of(10), third.of_ceil(10)), (3, 4));
        assert_eq!(Ppm::ratio(1, 3).raw(), 333_333);
        assert_eq!(Ppm::ratio(0, 0), Ppm::ONE);
    }

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!("64 MiB".parse::<ByteSize>().unwrap().bytes(), 64 << 20);
        assert_eq!(ByteSize::from_bytes(3 << 29).to_string(), "1.5 GiB");
        assert_eq!("64".parse::<ByteSize>(), Err(ByteSizeError));
    }
}
