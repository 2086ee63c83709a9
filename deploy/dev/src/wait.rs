//! Waiting for a condition with a bound: the only place of this crate that reads a clock or sleeps.

use std::time::{Duration, Instant};

/// Between two looks at a condition: short beside anything waited for here, long enough to leave the core to others.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A point in time after which waiting is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline this long from here.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(now() + limit)
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        now() >= self.0
    }
}

/// Waits until the condition holds; false when it did not within the limit.
pub fn until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Deadline::after(limit);
    loop {
        if holds() {
            return true;
        }
        if deadline.passed() {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[allow(clippy::disallowed_methods, reason = "tests and demos run in real time")]
fn now() -> Instant {
    Instant::now()
}
