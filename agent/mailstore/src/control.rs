//! A handle on work that is running: stop it, hold it, slow it down, give it more or fewer readers, see how far it is.
//!
//! Readers pass a checkpoint before each file and after each piece of at most 128 KiB. While nothing is asked of them that
//! costs one relaxed load; a change therefore takes effect within the time of one read, also in the middle of a big file.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most readers in flight, as in a plan. Each holds about seven files open, so that all of them stay within the usual limit of
/// 1024.
pub const READERS_MAX: usize = rientro_types::READERS_MAX as usize;

/// Readers per core where nothing is set. A warm cache wants as many as cores and loses nothing by more; a cold disk is kept busy
/// by the messages that each has open ahead.
const READERS_PER_CORE: usize = 4;

/// Bytes that may be read at once after a quiet time, as a share of a second: long enough that pacing is no timer storm.
const BURST_MS: u64 = 100;

/// How often a waiting reader looks again, should a wake-up have been missed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const CANCEL: u8 = 1;
const PAUSE: u8 = 2;
const LIMIT: u8 = 4;
const CROWD: u8 = 8;

/// How fast the work may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Readers in flight, 1 to [`READERS_MAX`].
    pub readers: usize,
    /// Bytes read a second, over all readers; 0 for no limit.
    pub bytes_per_second: u64,
}

impl Default for Pace {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { readers: (cores * READERS_PER_CORE).min(READERS_MAX), bytes_per_second: 0 }
    }
}

/// How far the work is. Every count only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Mailboxes finished.
    pub mailboxes: u64,
    /// Messages looked at.
    pub messages: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Findings so far.
    pub findings: u64,
}

/// The work was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Shared between the caller and one run of work; clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    asked: AtomicU8,
    state: Mutex<State>,
    changed: Condvar,
    mailboxes: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    findings: AtomicU64,
}

#[derive(Debug)]
struct State {
    cancelled: bool,
    paused: bool,
    pace: Pace,
    /// Reader threads that exist, and those of them that are not waiting for anything.
    alive: usize,
    running: usize,
    /// Those that stand at a checkpoint.
    waiting: usize,
    /// Bytes that may be read; negative after a piece larger than what was left.
    balance: i64,
    refilled: Instant,
}

impl Default for Control {
    fn default() -> Self {
        Self::new(Pace::default())
    }
}

impl Control {
    /// A handle for one run at this pace.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        let state = State {
            cancelled: false,
            paused: false,
            pace: Pace { readers: pace.readers.clamp(1, READERS_MAX), ..pace },
            alive: 0,
            running: 0,
            waiting: 0,
            balance: 0,
            refilled: now(),
        };
        let control = Self(Arc::new(Inner {
            asked: AtomicU8::new(0),
            state: Mutex::new(state),
            changed: Condvar::new(),
            mailboxes: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            findings: AtomicU64::new(0),
        }));
        control.change(|_| ());
        control
    }

    /// Stops the work for good.
    pub fn cancel(&self) {
        self.change(|state| state.cancelled = true);
    }

    /// Holds the work until [`Control::resume`].
    pub fn pause(&self) {
        self.change(|state| state.paused = true);
    }

    /// Lets held work go on.
    pub fn resume(&self) {
        self.change(|state| state.paused = false);
    }

    /// Sets the number of readers in flight, held between 1 and [`READERS_MAX`].
    pub fn set_readers(&self, readers: usize) {
        self.change(|state| state.pace.readers = readers.clamp(1, READERS_MAX));
    }

    /// Sets the bytes a second read by all readers together; 0 for no limit.
    pub fn set_bytes_per_second(&self, bytes: u64) {
        self.change(|state| {
            state.pace.bytes_per_second = bytes;
            state.balance = 0;
            state.refilled = now();
        });
    }

    /// The pace in force.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.state().pace
    }

    /// Whether the work was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed) & CANCEL != 0
    }

    /// Whether the work is held.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed) & PAUSE != 0
    }

    /// Readers that stand still because they are held, slowed down or too many; soon after a pause that is all of them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// How far the work is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            mailboxes: self.0.mailboxes.load(Ordering::Relaxed),
            messages: self.0.messages.load(Ordering::Relaxed),
            bytes: self.0.bytes.load(Ordering::Relaxed),
            findings: self.0.findings.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn count(&self, done: Progress) {
        let Progress { mailboxes, messages, bytes, findings } = done;
        for (counter, by) in [
            (&self.0.mailboxes, mailboxes),
            (&self.0.messages, messages),
            (&self.0.bytes, bytes),
            (&self.0.findings, findings),
        ] {
            if by > 0 {
                counter.fetch_add(by, Ordering::Relaxed);
            }
        }
    }

    /// Whether nothing is asked of the readers but to read as fast as they can.
    pub(crate) fn at_full_speed(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed) == 0
    }

    /// Where readers stop, wait and are slowed down; `bytes` were read since the last time.
    pub(crate) fn checkpoint(&self, bytes: u64) -> Result<(), Stopped> {
        if self.at_full_speed() { Ok(()) } else { self.obey(bytes) }
    }

    #[cold]
    fn obey(&self, bytes: u64) -> Result<(), Stopped> {
        let mut state = self.state();
        if state.pace.bytes_per_second > 0 {
            state.balance = state.balance.saturating_sub_unsigned(bytes);
        }
        loop {
            if state.cancelled {
                return Err(Stopped);
            }
            if state.paused {
                state = self.wait(state, LOOK_AGAIN);
            } else if state.running > state.pace.readers {
                state = self.park(state);
            } else if let Some(pause) = state.owed() {
                state = self.wait(state, pause.min(LOOK_AGAIN));
            } else {
                return Ok(());
            }
        }
    }

    /// Waits as a reader too many until there is room.
    fn park<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.running -= 1;
        self.publish(&state);
        while state.running >= state.pace.readers && !state.cancelled {
            state = self.wait(state, LOOK_AGAIN);
        }
        state.running += 1;
        self.publish(&state);
        state
    }

    /// Runs `wait`, during which the reader takes no place among those in flight.
    pub(crate) fn aside<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.change(|state| state.running -= 1);
        let result = wait();
        self.change(|state| state.running += 1);
        result
    }

    /// Takes the place of a further reader, if the pace asks for one.
    pub(crate) fn enlist(&self) -> bool {
        let mut state = self.state();
        let wanted = state.alive < state.pace.readers && !state.cancelled;
        if wanted {
            state.alive += 1;
            state.running += 1;
            self.publish(&state);
        }
        wanted
    }

    /// Whether there are more readers than the pace asks for, so that this one should leave when its mailbox is done.
    pub(crate) fn surplus(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed) != 0 && {
            let state = self.state();
            state.alive > state.pace.readers
        }
    }

    /// Gives a reader's place back.
    pub(crate) fn leave(&self) {
        self.change(|state| {
            state.alive -= 1;
            state.running -= 1;
        });
    }

    /// Readers that exist.
    pub(crate) fn alive(&self) -> usize {
        self.state().alive
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        self.publish(&state);
        self.0.changed.notify_all();
    }

    fn publish(&self, state: &State) {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let crowd = state.alive > state.pace.readers || state.running > state.pace.readers;
        let asked = flag(state.cancelled, CANCEL)
            | flag(state.paused, PAUSE)
            | flag(state.pace.bytes_per_second > 0, LIMIT)
            | flag(crowd, CROWD);
        self.0.asked.store(asked, Ordering::Relaxed);
    }

    fn wait<'s>(&'s self, mut state: MutexGuard<'s, State>, longest: Duration) -> MutexGuard<'s, State> {
        state.waiting += 1;
        let mut state = self.0.changed.wait_timeout(state, longest).unwrap_or_else(PoisonError::into_inner).0;
        state.waiting -= 1;
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long to wait until the balance is even; `None` when it is.
    fn owed(&mut self) -> Option<Duration> {
        let rate = self.pace.bytes_per_second;
        if rate == 0 {
            return None;
        }
        let passed = now();
        let earned = passed.duration_since(self.refilled).as_micros() * u128::from(rate) / 1_000_000;
        if earned > 0 {
            let burst = i64::try_from(rate.saturating_mul(BURST_MS) / 1000).unwrap_or(i64::MAX);
            let earned = i64::try_from(earned).unwrap_or(i64::MAX);
            self.balance = self.balance.saturating_add(earned).min(burst);
            self.refilled = passed;
        }
        let missing = u64::try_from(-self.balance).ok().filter(|missing| *missing > 0)?;
        Some(Duration::from_micros(missing.saturating_mul(1_000_000) / rate + 1))
    }
}

#[allow(clippy::disallowed_methods, reason = "pacing reads against real time is what a byte rate means")]
fn now() -> Instant {
    Instant::now()
}
