//! The only place that reads a clock.
//!
//! Everything else is handed the time: tests drive a clock of their own, and the engine never sees any other.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rientro_types::CellTime;

/// Tells the time of day.
pub trait Clock: Send + Sync + 'static {
    /// The present moment. It may step back; the engine takes that as standing still.
    fn now(&self) -> CellTime;
}

/// The host's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock of the binary")]
    fn now(&self) -> CellTime {
        // Before 1970 is a clock that was never set; the cell's own time does not go back with it.
        let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        CellTime::from_unix_ms(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A moment for measuring how long something takes; it decides nothing.
#[allow(clippy::disallowed_methods, reason = "measures, and decides nothing")]
pub(crate) fn mark() -> Instant {
    Instant::now()
}
