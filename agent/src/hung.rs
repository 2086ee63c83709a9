//! Runs that were told to end and do not: a call into a disk that hangs cannot be interrupted.
//!
//! Such a run is left to its threads. Its try ends and its place is free, so that one bad sector does not keep a whole node
//! waiting; its threads press on nothing, and end as soon as the disk answers, for all of them know that they are to end. Only
//! so many runs may hang on one root: with more, tries on that root fail at once and say why, in place of hanging one thread
//! each. The other roots go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rientro_types::{TaskEnd, TaskFailure};
use tokio_util::sync::CancellationToken;

use crate::core::problem;

/// Runs that may hang at once on one root. Each keeps a thread for each of its readers, one that waits for these, and their open
/// files.
pub const HUNG_MAX: usize = 8;

/// How long a run may take to end when it is told to: a healthy one looks between two messages, which takes less than a second
/// on the slowest disk that answers at all.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How many runs hang, by root. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Hung(Arc<Mutex<BTreeMap<PathBuf, usize>>>);

impl Hung {
    /// How many there are on a root.
    #[must_use]
    pub fn count(&self, root: &Path) -> usize {
        self.counts().get(root).copied().unwrap_or(0)
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<PathBuf, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a run ends with, on a thread that may block; it says which root it is about to look at. One that is told to end and
    /// does not is left behind, and counts as cancelled.
    pub async fn outcome(
        &self,
        run: impl FnOnce(&Run) -> TaskEnd + Send + 'static,
        told: &CancellationToken,
    ) -> TaskEnd {
        let held = Arc::new(Run { hung: self.clone(), root: OnceLock::new(), left: AtomicBool::new(false) });
        let ends = Ends(Arc::clone(&held));
        let run = tokio::task::spawn_blocking(move || run(&ends.0));
        let impatient = async {
            told.cancelled().await;
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            end = run => return end.unwrap_or_else(|_| panicked()),
            () = impatient => {}
        }
        held.leave();
        TaskEnd::Failed(TaskFailure::Cancelled)
    }
}

/// One run.
#[derive(Debug)]
pub struct Run {
    hung: Hung,
    root: OnceLock<PathBuf>,
    /// Set by whoever comes first: the run that ends, or the patience that does.
    left: AtomicBool,
}

impl Run {
    /// It is about to look at a root.
    ///
    /// # Errors
    /// What it fails of, when as many hang there as may.
    pub fn look_at(&self, root: &Path) -> Result<(), TaskFailure> {
        let count = self.hung.count(root);
        if count >= HUNG_MAX {
            let why = format!(
                "{count} tries hang in {}, which does not answer, and no more are begun there: look at that disk, then restart \
                 the node's agent",
                root.display()
            );
            return Err(TaskFailure::Agent { problem: problem(&why) });
        }
        // The first one is where it hangs, if it does.
        self.root.get_or_init(|| root.to_owned());
        Ok(())
    }

    /// It was told to end and does not.
    fn leave(&self) {
        // One that has not come to a root yet waits for no disk.
        let Some(root) = self.root.get() else { return };
        let mut counts = self.hung.counts();
        if !self.left.swap(true, Ordering::AcqRel) {
            let hanging = counts.entry(root.clone()).or_default();
            *hanging += 1;
            tracing::warn!(
                root = %root.display(),
                hanging = *hanging,
                "a try that was told to end hangs in a disk that does not answer, and is left behind"
            );
        }
    }

    fn end(&self) {
        let mut counts = self.hung.counts();
        if !self.left.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some((root, hanging)) = self.root.get().and_then(|root| Some((root, counts.get_mut(root)?))) {
            *hanging = hanging.saturating_sub(1);
            tracing::info!(root = %root.display(), hanging = *hanging, "a try that was left behind has ended");
        }
    }
}

/// Ends the run when it is dropped: a panic ends it too.
struct Ends(Arc<Run>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn panicked() -> TaskEnd {
    TaskEnd::Failed(TaskFailure::Agent { problem: problem("the task panicked; this is a bug") })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use tokio::time::advance;

    use super::*;

    /// A run that looks at a root, says so, and waits for its disk until it is let go.
    fn hangs(
        root: &'static str,
    ) -> (SyncSender<()>, Receiver<()>, impl FnOnce(&Run) -> TaskEnd + Send + 'static) {
        let (go, gate) = sync_channel::<()>(0);
        let (here, came) = sync_channel::<()>(1);
        let run = move |run: &Run| {
            let looked = run.look_at(Path::new(root));
            here.send(()).ok();
            if let Err(failure) = looked {
                return TaskEnd::Failed(failure);
            }
            gate.recv().ok();
            TaskEnd::Confirmed
        };
        (go, came, run)
    }

    fn told() -> CancellationToken {
        let told = CancellationToken::new();
        told.cancel();
        told
    }

    /// Waits until so many are left behind: threads take time that the paused clock does not count.
    fn settles(hung: &Hung, root: &str, count: usize) {
        let settled = (0..10_000_000_u32).any(|_| {
            std::thread::yield_now();
            hung.count(Path::new(root)) == count
        });
        assert!(settled);
    }

    /// Lets a run come to its root before its patience ends.
    async fn left_behind(
        hung: &Hung,
        came: Receiver<()>,
        run: impl FnOnce(&Run) -> TaskEnd + Send + 'static,
    ) {
        let told = told();
        let pass = async {
            tokio::task::yield_now().await;
            came.recv().ok();
            advance(PATIENCE * 2).await;
        };
        let (end, ()) = tokio::join!(hung.outcome(run, &told), pass);
        assert_eq!(end, TaskEnd::Failed(TaskFailure::Cancelled));
    }

    /// R12: a try that hangs ends, and is counted until its thread is gone; what is not told to end may take its time.
    #[tokio::test(start_paused = true)]
    async fn a_try_that_hangs_ends() {
        let hung = Hung::default();
        let (go, came, run) = hangs("/a");
        left_behind(&hung, came, run).await;
        assert_eq!(hung.count(Path::new("/a")), 1);
        drop(go);
        settles(&hung, "/a", 0);

        let (go, _came, run) = hangs("/a");
        let untold = CancellationToken::new();
        let let_go = async {
            advance(PATIENCE * 100).await;
            drop(go);
        };
        let (end, ()) = tokio::join!(hung.outcome(run, &untold), let_go);
        assert_eq!((end, hung.count(Path::new("/a"))), (TaskEnd::Confirmed, 0));
    }

    /// One that is left behind and panics is gone too.
    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_a_try_that_was_left_behind() {
        let hung = Hung::default();
        let (go, came, run) = hangs("/a");
        let run = move |of: &Run| {
            run(of);
            panic!("a bug")
        };
        left_behind(&hung, came, run).await;
        assert_eq!(hung.count(Path::new("/a")), 1);
        drop(go);
        settles(&hung, "/a", 0);
    }

    /// A disk that hangs takes a bounded number of threads, however often it is tried; the last word says where to look, and the
    /// other disks of the node go on.
    #[tokio::test(start_paused = true)]
    async fn only_so_many_may_hang_on_one_root() {
        let hung = Hung::default();
        let mut held = Vec::new();
        for count in 0..HUNG_MAX {
            assert_eq!(hung.count(Path::new("/a")), count);
            let (go, came, run) = hangs("/a");
            left_behind(&hung, came, run).await;
            held.push(go);
        }
        let untold = CancellationToken::new();
        let (_go, _came, run) = hangs("/a");
        let end = hung.outcome(run, &untold).await;
        let TaskEnd::Failed(TaskFailure::Agent { problem }) = end else { panic!("one too many") };
        assert!(problem.starts_with("8 tries hang in /a"), "{problem}");
        let (go, _came, run) = hangs("/b");
        drop(go);
        assert_eq!(hung.outcome(run, &untold).await, TaskEnd::Confirmed);
    }
}
