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

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.next.as_ref().map_or(Ok(()), |next| write!(f, "; {next}"))
    }
}
