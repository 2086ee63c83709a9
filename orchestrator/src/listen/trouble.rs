//! What anybody can cause as often as they like, and nobody needs to read as often: told once in a while, with a count.

use std::time::Duration;

use tokio::time::Instant;

/// A trouble that meets every caller is logged at most so often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Something that may happen to every caller, told once in a while.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    told: Option<Instant>,
    times: u64,
}

impl Trouble {
    /// It happened again. How often it has, since it was told last, when it is to be told.
    pub(crate) fn happened(&mut self) -> Option<u64> {
        self.happened_at(Instant::now())
    }

    fn happened_at(&mut self, now: Instant) -> Option<u64> {
        self.times += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < LOG_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_once_in_a_while() {
        let (mut trouble, now) = (Trouble::default(), Instant::now());
        let told = [0, 0, 1].map(|passed| trouble.happened_at(now + passed * LOG_EVERY));
        assert_eq!(told, [Some(1), None, Some(2)]);
    }
}
