//! Questions to a file system that may never answer them.
//!
//! A call into a disk that hangs does not come back and cannot be interrupted. It is left to a thread of its own, and whoever
//! asks waits only so long. While one question is open no other is asked, so that each disk that hangs costs one thread,
//! however often it is asked. An answer that came too late is about a moment that is over: it is thrown away.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Nothing was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The wait is over, or there is no thread to ask with: something to tell of.
    InTime,
    /// An earlier question is still open.
    StillOpen,
}

/// One kind of question to one disk; clones ask as one.
#[derive(Debug)]
pub struct Question<T> {
    open: Arc<Mutex<Option<Receiver<T>>>>,
}

impl<T> Clone for Question<T> {
    fn clone(&self) -> Self {
        Self { open: Arc::clone(&self.open) }
    }
}

impl<T> Default for Question<T> {
    fn default() -> Self {
        Self { open: Arc::default() }
    }
}

impl<T: Send + 'static> Question<T> {
    /// What `answer` says within `patience`.
    ///
    /// # Errors
    /// [`Unanswered`] when it does not say so in time, and as long as an earlier question is open.
    pub fn ask(
        &self,
        patience: Duration,
        answer: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(TryRecvError::Empty)) = open.as_ref().map(Receiver::try_recv) {
            return Err(Unanswered::StillOpen);
        }
        *open = None;
        let (to, answers) = sync_channel(1);
        // Nobody listens any more when the question was given up.
        let ask = move || drop(to.send(answer()));
        if let Err(error) = thread::Builder::new().name("question".to_owned()).spawn(ask) {
            tracing::warn!(%error, "no thread to ask a disk with");
            return Err(Unanswered::InTime);
        }
        let said = answers.recv_timeout(patience);
        if said.is_err() {
            *open = Some(answers);
        }
        said.map_err(|_| Unanswered::InTime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that hangs costs one thread and one wait; what it says later is not taken for the present.
    #[test]
    fn a_disk_that_hangs_is_asked_once() {
        let question = Question::default();
        let (go, gate) = sync_channel::<()>(0);
        let hangs = move || {
            gate.recv().ok();
            1
        };
        assert_eq!(question.ask(Duration::from_millis(1), hangs), Err(Unanswered::InTime));
        for _ in 0..3 {
            let again = question.clone().ask(Duration::from_secs(60), || 2);
            assert_eq!(again, Err(Unanswered::StillOpen));
        }
        go.send(()).expect("the thread waits");
        let (_open, nothing) = sync_channel::<()>(0);
        let answered = (0..60_000).find_map(|_| {
            nothing.recv_timeout(Duration::from_millis(1)).ok();
            question.ask(Duration::from_secs(60), || 3).ok()
        });
        assert_eq!(answered, Some(3), "the late answer is about another moment");
    }
}
