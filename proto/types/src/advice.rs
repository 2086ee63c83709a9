//! What is wrong, and what to do about it: two things, so that people read two lines and machines two values.

use std::fmt;

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong.
    pub what: String,
    /// What to do about it, where there is one thing to do.
    pub next: Option<String>,
}

impl Advice {
    /// Something with one thing to do about it.
    pub fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: Some(next.into()) }
    }

    /// Something about which nothing is advised.
    pub fn none(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None }
    }
}

/// Whether two texts say the same but for the numbers in them, such as how much is free: whoever was told the one learns nothing
/// from the other. Only words that are numbers count as such; names with digits are names.
#[must_use]
pub fn says_the_same(one: &str, other: &str) -> bool {
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let (mut ones, mut others) = (one.split_whitespace(), other.split_whitespace());
    loop {
        match (ones.next(), others.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || (is_number(one) && is_number(other)) => {}
            _ => return false,
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.next.as_ref().map_or(Ok(()), |next| write!(f, "; {next}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_may_differ() {
        let says = "/srv/1 has 17 MiB free";
        assert!(says_the_same(says, "/srv/1 has 9 MiB free"));
        assert!(!says_the_same(says, "/srv/2 has 17 MiB free"), "another place");
        assert!(!says_the_same(says, "/srv/1 has 17 MiB free, at last"));
        assert!(!says_the_same(says, "/srv/1 has no MiB free"));
    }
}
