//! The only place that reads a clock.
//!
//! Everything else is handed the time: tests drive a clock of their own, and the engine never sees any other.
//!
//! A host's time of day is set: by a person, by NTP after a boot with a dead battery, forwards and back. Bakes, deadlines and
//! silences are about time that passes. So a cell takes the time of day once, when it begins to lead, and then counts what
//! passes, which nobody sets; a cell whose journal is from the future goes on from there. Where the two have come apart people
//! are told.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rientro_types::{Advice, CellTime, Span};

/// A host's time of day and the cell's are apart from here on: far more than NTP lets them drift, far less than anyone bakes.
const APART_MIN: Span = Span::from_secs(300);

/// What a host tells of the time.
pub trait Clock: Send + Sync + 'static {
    /// The time of day. It may be set, forwards and back.
    fn time_of_day(&self) -> CellTime;

    /// What has passed since some moment, sleep of the host included. It is never set.
    fn passed(&self) -> Span;
}

/// The host's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock of the binary")]
    fn time_of_day(&self) -> CellTime {
        // Before 1970 is a clock that was never set; the cell's own time does not go back with it.
        let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        CellTime::from_unix_ms(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }

    fn passed(&self) -> Span {
        let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let (secs, nanos) = (u64::try_from(up.tv_sec).unwrap_or(0), u64::try_from(up.tv_nsec).unwrap_or(0));
        Span::from_ms(secs.saturating_mul(1_000).saturating_add(nanos / 1_000_000))
    }
}

/// The time of a cell.
#[derive(Debug)]
pub(crate) struct CellClock<C> {
    clock: C,
    /// A moment of the cell's time, and what had passed then.
    began: Option<(CellTime, Span)>,
}

impl<C: Clock> CellClock<C> {
    pub(crate) const fn new(clock: C) -> Self {
        Self { clock, began: None }
    }

    /// Begins, with the journal's last moment: time does not go back behind it, and goes on from there at once.
    pub(crate) fn begin(&mut self, journal: CellTime) {
        self.began = Some((self.now().max(journal), self.clock.passed()));
    }

    /// The present moment.
    pub(crate) fn now(&self) -> CellTime {
        match self.began {
            Some((at, passed)) => at + Span::from_ms(self.clock.passed().ms().saturating_sub(passed.ms())),
            None => self.clock.time_of_day(),
        }
    }

    /// How far the host's time of day is from the cell's, when they are apart.
    pub(crate) fn apart(&self) -> Option<Apart> {
        let (host, cell) = (self.clock.time_of_day(), self.now());
        let (ahead, behind) = (host.since(cell), cell.since(host));
        if ahead >= APART_MIN {
            Some(Apart::HostAhead(roughly(ahead)))
        } else if behind >= APART_MIN {
            Some(Apart::HostBehind(roughly(behind)))
        } else {
            None
        }
    }
}

/// In whole units of a size, so that it reads well and does not change with every look.
fn roughly(span: Span) -> Span {
    let unit =
        [86_400_000, 3_600_000, 60_000].into_iter().find(|unit| span.ms() >= 2 * unit).unwrap_or(60_000);
    Span::from_ms(span.ms() / unit * unit)
}

/// A host's time of day and the cell's time are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// The host's was set forwards.
    HostAhead(Span),
    /// The host's was set back, or was wrong when the journal was written.
    HostBehind(Span),
}

impl Apart {
    /// What people are told.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::HostAhead(by) => Advice::new(
                format!("the host's clock was set forwards, to about {by} ahead of the cell's time"),
                "bakes and deadlines go by what really passes; if the host's clock is right, restart the orchestrator to take it over, \
                 and before that pause the campaigns: what bakes then has baked for all that time",
            ),
            Self::HostBehind(by) => Advice::new(
                format!(
                    "the host's clock is about {by} behind the cell's time: it was set back, or was wrong when the journal was written"
                ),
                "bakes and deadlines go by what really passes, and moments are shown that much too late; see that the host's clock is right",
            ),
        }
    }

    /// Seconds that the host's clock is ahead; below zero when it is behind.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        let secs = |span: &Span| i64::try_from(span.ms() / 1_000).unwrap_or(i64::MAX);
        match self {
            Self::HostAhead(by) => secs(by),
            Self::HostBehind(by) => -secs(by),
        }
    }
}

/// A moment for measuring how long something takes; it decides nothing.
#[allow(clippy::disallowed_methods, reason = "measures, and decides nothing")]
pub(crate) fn mark() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A clock that is set and passes by hand: seconds of day, seconds passed.
    #[derive(Clone, Debug, Default)]
    struct ByHand(Arc<Mutex<(u64, u64)>>);

    impl ByHand {
        fn set(&self, day: u64, passed: u64) {
            *self.0.lock().unwrap() = (day, passed);
        }
    }

    impl Clock for ByHand {
        fn time_of_day(&self) -> CellTime {
            CellTime::from_unix_ms(self.0.lock().unwrap().0 * 1_000)
        }

        fn passed(&self) -> Span {
            Span::from_secs(self.0.lock().unwrap().1)
        }
    }

    fn secs(clock: &CellClock<ByHand>) -> u64 {
        clock.now().unix_ms() / 1_000
    }

    /// T27: whoever sets the host's clock neither passes a bake nor stops one, and is told of.
    #[test]
    fn only_what_passes_counts() {
        let host = ByHand::default();
        host.set(1_000_000, 50);
        let mut clock = CellClock::new(host.clone());
        assert_eq!(secs(&clock), 1_000_000);
        clock.begin(CellTime::from_unix_ms(999_000_000));
        host.set(1_000_004, 54);
        assert_eq!((secs(&clock), clock.apart()), (1_000_004, None));
        host.set(1_007_260, 60);
        assert_eq!(
            (secs(&clock), clock.apart()),
            (1_000_010, Some(Apart::HostAhead(Span::from_secs(7_200))))
        );
        let told = clock.apart().unwrap().advice().to_string();
        let leaps = "before that pause the campaigns: what bakes then has baked for all that time";
        assert!(told.contains(leaps), "a restart lets bakes leap: {told}");
        host.set(900_011, 61);
        assert_eq!(
            (secs(&clock), clock.apart()),
            (1_000_011, Some(Apart::HostBehind(Span::from_secs(97_200 / 3_600 * 3_600))))
        );
        host.set(1_000_040, 62);
        assert_eq!((secs(&clock), clock.apart()), (1_000_012, None), "less than people would notice");
    }

    /// T27: a journal from the future is gone on with at the pace of what passes, however wrong the clock was that wrote it.
    #[test]
    fn a_journal_from_the_future_does_not_stand_still() {
        let host = ByHand::default();
        host.set(1_000_000, 50);
        let mut clock = CellClock::new(host.clone());
        clock.begin(CellTime::from_unix_ms(316_360_000_000));
        host.set(1_000_066, 116);
        assert_eq!(secs(&clock), 316_360_066);
        assert_eq!(clock.apart().unwrap().seconds(), -(3_650 * 86_400));
        assert!(clock.apart().unwrap().advice().to_string().contains("3650d behind"));
        // The journal goes on from what the cell counted: a term that begins anew in this process leaps nowhere.
        clock.begin(CellTime::from_unix_ms(316_360_060_000));
        assert_eq!(secs(&clock), 316_360_066);
    }
}
