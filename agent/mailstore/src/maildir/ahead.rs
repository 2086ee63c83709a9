//! Messages opened before their turn, while the disk is what is waited for.
//!
//! Storage that is read for the first time is fast only with many requests in flight, far more than there are readers worth
//! having. So a reader whose messages were not in the page cache opens the next ones of the folder as well, and asks the
//! kernel to fetch their beginning while it waits for the one at hand. Evidence is each read itself, which says whether it
//! had to wait; a warm cache costs nothing more than that, and nothing is opened ahead under a byte rate.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::control::Control;

/// Most messages one reader has open ahead. More gain nothing with 8 readers or more.
const FILES_MAX: usize = 16;

/// Most files that the readers of one verification hold open together: within the usual limit of 1024 for a process, with some
/// left. Several verifications at once need as much each.
pub const OPEN_FILES_MAX: usize = 960;

/// Files a reader holds open beside those: the directories on its way and the message at hand.
const OPEN_FILES_EACH: usize = 7;

/// Messages after the last wait for which reading ahead goes on. While it helps no read waits, so that going on is the only
/// way to find out; a cache that is warm is noticed after as many messages.
const MESSAGES_AFTER_WAIT: u32 = 64;

/// Whether a reader waits for the disk.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    left: u32,
}

impl Waits {
    /// Takes note of a message that was read.
    pub(crate) fn note(&mut self, waited: bool) {
        self.left = if waited { MESSAGES_AFTER_WAIT } else { self.left.saturating_sub(1) };
    }

    /// How many messages to have open ahead.
    pub(crate) fn depth(&self, control: &Control) -> usize {
        if self.left == 0 || !control.at_full_speed() { 0 } else { depth_among(control.pace().readers) }
    }
}

/// How many messages each of so many readers may have open ahead.
fn depth_among(readers: usize) -> usize {
    let room = OPEN_FILES_MAX.saturating_sub(readers * OPEN_FILES_EACH);
    (room / readers.max(1)).min(FILES_MAX)
}

/// The messages of one folder that are open ahead, by their place in its listing.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    files: VecDeque<(usize, OwnedFd)>,
    next: usize,
}

impl Ahead {
    /// Opens what stands at `at` and within `depth` places behind it, of `count` in all; nothing at depth 0. `open` passes over what is no message, or does
    /// not open: that is found out again, and told, when its turn comes.
    pub(crate) fn fill(
        &mut self,
        at: usize,
        depth: usize,
        count: usize,
        open: impl Fn(usize) -> Option<OwnedFd>,
    ) {
        if depth == 0 {
            return;
        }
        self.next = self.next.max(at);
        let end = count.min(at + 1 + depth);
        while self.next < end {
            self.files.extend(open(self.next).map(|file| (self.next, file)));
            self.next += 1;
        }
    }

    /// The file at this place, if it was opened. Places come in order.
    pub(crate) fn take(&mut self, at: usize) -> Option<OwnedFd> {
        while let Some((place, file)) = self.files.pop_front() {
            if place == at {
                return Some(file);
            }
            if place > at {
                self.files.push_front((place, file));
                break;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::fs::File;

    #[test]
    fn each_message_is_opened_once_and_handed_over_in_its_turn() {
        let opened = RefCell::new(Vec::new());
        let open = |at: usize| {
            opened.borrow_mut().push(at);
            (at != 3).then(|| File::open("/dev/null").unwrap().into())
        };
        let mut ahead = Ahead::default();
        assert!(ahead.take(0).is_none());
        ahead.fill(1, 2, 6, open);
        assert_eq!(*opened.borrow(), [1, 2, 3]);
        assert!(ahead.take(1).is_some());
        ahead.fill(2, 2, 6, open);
        ahead.fill(2, 2, 6, open);
        assert!(ahead.take(2).is_some() && ahead.take(3).is_none());
        ahead.fill(3, 16, 6, open);
        assert_eq!(*opened.borrow(), [1, 2, 3, 4, 5]);
        assert!(ahead.take(5).is_some() && ahead.files.is_empty());
    }

    #[test]
    fn all_readers_together_stay_within_the_limit_of_open_files() {
        assert_eq!((depth_among(1), depth_among(32)), (FILES_MAX, FILES_MAX));
        for readers in 1..=crate::READERS_MAX {
            assert!(readers * (OPEN_FILES_EACH + depth_among(readers)) <= OPEN_FILES_MAX);
        }
    }

    #[test]
    fn nothing_is_opened_ahead_in_a_warm_cache_or_under_a_byte_rate() {
        let control = Control::default();
        let mut waits = Waits::default();
        assert_eq!(waits.depth(&control), 0);
        waits.note(true);
        assert!(waits.depth(&control) > 0);
        control.set_bytes_per_second(1 << 20);
        assert_eq!(waits.depth(&control), 0);
        control.set_bytes_per_second(0);
        (1..MESSAGES_AFTER_WAIT).for_each(|_| waits.note(false));
        assert!(waits.depth(&control) > 0);
        waits.note(false);
        assert_eq!(waits.depth(&control), 0);
    }
}
