//! Runs that were told to end and do not: a call into a disk that hangs cannot be interrupted.
//!
//! Such a run is left to its threads. Its try ends and its place is free, so that one bad sector does not keep a whole node
//! waiting; its threads press on nothing, and end as soon as the disk answers, for all of them know that they are to end. Only
//! so many runs may hang: with more, tries fail at once and say why, in place of hanging one thread each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rientro_types::{TaskEnd, TaskFailure};
use tokio_util::sync::CancellationToken;

use crate::core::problem;

/// Runs that may hang at once: with the most readers each, about five hundred threads.
pub const HUNG_MAX: usize = 16;

/// How long a run may take to end when it is told to: a healthy one looks between two messages, which takes less than a second
/// on the slowest disk that answers at all.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How many runs hang. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Hung(Arc<AtomicUsize>);

impl Hung {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Why nothing more begins, when as many hang as may.
    ///
    /// # Errors
    /// What a try fails of that would be one too many.
    pub fn admit(&self) -> Result<(), TaskFailure> {
        let count = self.count();
        if count < HUNG_MAX {
            return Ok(());
        }
        let why = format!(
            "{count} tries hang in disks that do not answer, and no more are begun: look at the node's disks, then restart its agent"
        );
        Err(TaskFailure::Agent { problem: problem(&why) })
    }

    /// What a run ends with, on a thread that may block. One that is told to end and does not is left behind, and counts as
    /// cancelled.
    pub async fn outcome(
        &self,
        run: impl FnOnce() -> TaskEnd + Send + 'static,
        told: &CancellationToken,
    ) -> TaskEnd {
        let leash = Arc::new(Leash::default());
        let (hung, held) = (self.clone(), Arc::clone(&leash));
        let run = tokio::task::spawn_blocking(move || {
            let end = run();
            if held.0.swap(true, Ordering::AcqRel) {
                let hanging = hung.0.fetch_sub(1, Ordering::Relaxed) - 1;
                tracing::info!(hanging, "a try that was left behind has ended");
            }
            end
        });
        let impatient = async {
            told.cancelled().await;
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            end = run => return end.unwrap_or_else(|_| panicked()),
            () = impatient => {}
        }
        if !leash.0.swap(true, Ordering::AcqRel) {
            let hanging = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(
                hanging,
                "a try that was told to end hangs in a disk that does not answer, and is left behind"
            );
        }
        TaskEnd::Failed(TaskFailure::Cancelled)
    }
}

/// Set by whoever comes first: the run that ends, or the patience that does.
#[derive(Debug, Default)]
struct Leash(AtomicBool);

fn panicked() -> TaskEnd {
    TaskEnd::Failed(TaskFailure::Agent { problem: problem("the task panicked; this is a bug") })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};

    use tokio::time::advance;

    use super::*;

    /// A run that waits for a disk until it is let go.
    fn hangs() -> (SyncSender<()>, impl FnOnce() -> TaskEnd + Send + 'static) {
        let (go, gate) = sync_channel::<()>(0);
        let run = move || {
            gate.recv().ok();
            TaskEnd::Confirmed
        };
        (go, run)
    }

    fn told() -> CancellationToken {
        let told = CancellationToken::new();
        told.cancel();
        told
    }

    /// R12: a try that hangs ends, and is counted until its thread is gone; what is not told to end may take its time.
    #[tokio::test(start_paused = true)]
    async fn a_try_that_hangs_ends() {
        let (hung, told) = (Hung::default(), told());
        let (go, run) = hangs();
        let (end, ()) = tokio::join!(hung.outcome(run, &told), advance(PATIENCE * 2));
        assert_eq!(end, TaskEnd::Failed(TaskFailure::Cancelled));
        assert_eq!(hung.count(), 1);
        drop(go);
        let gone = (0..u32::MAX).find(|_| {
            std::thread::yield_now();
            hung.count() == 0
        });
        assert!(gone.is_some());

        let (go, run) = hangs();
        let untold = CancellationToken::new();
        let let_go = async {
            advance(PATIENCE * 100).await;
            drop(go);
        };
        let (end, ()) = tokio::join!(hung.outcome(run, &untold), let_go);
        assert_eq!(end, TaskEnd::Confirmed);
        assert_eq!(hung.count(), 0);
    }

    /// A disk that hangs takes a bounded number of threads, however often it is tried, and the last word says where to look.
    #[tokio::test(start_paused = true)]
    async fn only_so_many_may_hang() {
        let (hung, told) = (Hung::default(), told());
        let mut held = Vec::new();
        for count in 0..HUNG_MAX {
            assert_eq!(hung.count(), count);
            assert_eq!(hung.admit(), Ok(()));
            let (go, run) = hangs();
            held.push(go);
            tokio::join!(hung.outcome(run, &told), advance(PATIENCE * 2));
        }
        let Err(TaskFailure::Agent { problem }) = hung.admit() else { panic!("one too many") };
        assert!(problem.contains("look at the node's disks"), "{problem}");
    }
}
